//! Versions of lists through a real nats-server: published, followed, refused, taken back.

use crate::rig;

use std::net::SocketAddr;
use std::process::Command;

use rig::http::{Client, wait_for_metric};
use rig::nats::Server;
use rig::{INTERNATIONAL, Invite, Node, Site, Switch, status, wait};
use serde_json::json;

const HEAD: &str = "number,owner,expires,note\n";
const PUBLISHED: &str = "qalqan_nats_list_versions_total{list=\"block\",outcome=\"taken\"}";
const REFUSED: &str = "qalqan_nats_list_versions_total{list=\"block\",outcome=\"refused\"}";

/// A pair of keys as openssl makes them.
fn keys(site: &Site, name: &str) {
    let run = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).current_dir(site.directory.path()).status();
        assert!(done.expect("openssl runs: ./test installs it").success());
    };
    let (key, public) = (format!("{name}.pem"), format!("{name}.pub.pem"));
    run(&["genpkey", "-algorithm", "ed25519", "-out", &key]);
    run(&["pkey", "-in", &key, "-pubout", "-out", &public]);
    assert!(Command::new("chmod").arg("600").arg(site.path(&key)).status().unwrap().success());
}

/// A site that follows the list block, and the address of its metrics.
fn follower(server: &Server) -> (Site, SocketAddr) {
    let (site, address) = rig::http::site(&format!(
        "[nats]\nurl = \"{}\"\nverdicts = \"none\"\nfollow-lists = [\"block\"]\n\
         list-publishers = [\"office.pub.pem\"]\n[lists]\nblock = \"lists/block.csv\"\n",
        server.url()
    ));
    keys(&site, "office");
    (site, address)
}

fn publish(site: &Site, text: &str, reason: &str) -> String {
    site.write("new.csv", text);
    let said = site.ok(&[
        "lists",
        "publish",
        "block",
        "new.csv",
        "--key",
        "office.pem",
        "--author",
        "Aigerim",
        "--reason",
        reason,
    ]);
    let version = said.split("version ").nth(1).unwrap()[..64].to_owned();
    let sum = Command::new("sha256sum").arg(site.path("new.csv")).output().unwrap().stdout;
    assert_eq!(version, String::from_utf8_lossy(&sum)[..64]);
    version
}

fn is_blocked(node: &Node, number: &str) -> bool {
    static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let call_id = format!("list-{}", CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let from = format!("sip:{number}@abroad.example");
    let answer = Switch::on(INTERNATIONAL, node).invite(&Invite {
        from: &from,
        call_id: &call_id,
        ..Invite::default()
    });
    status(&answer) == "603 Decline"
}

#[track_caller]
fn wait_until(node: &Node, number: &str, blocked: bool) {
    wait(|| is_blocked(node, number) == blocked, || format!("{number} blocked: {blocked}: {}", node.log()));
}

#[test]
fn a_version_comes_into_force_without_a_restart_and_is_taken_back() {
    let mut server = Server::new();
    let (site, address) = follower(&server);
    server.start(&site);
    // The first version is still to come: that stops nothing.
    assert!(site.ok(&["config", "check"]).contains("0 lists"));
    let node = site.serve();
    assert!(!is_blocked(&node, "+14155550101"));
    let first = publish(&site, &format!("{HEAD}+14155550101,ops,,\n"), "robocalls of today");
    wait_until(&node, "+14155550101", true);
    wait_for_metric(
        address,
        &format!("qalqan_list_info{{list=\"block\",version=\"{}\"}}", &first[..16]),
        1.0,
    );
    node.wait_for("list block: in force, basis ");
    node.wait_for(&format!(": version {first}, 1 entries, published"));
    assert!(node.log().contains("by Aigerim: robocalls of today"));
    assert_eq!(site.read("lists/block.csv"), format!("{HEAD}+14155550101,ops,,\n"));

    publish(&site, &format!("{HEAD}+14155550101,ops,,\n+14155550102,ops,,\n"), "one more");
    wait_until(&node, "+14155550102", true);
    assert!(is_blocked(&node, "+14155550101"));
    // Verdicts name the version that they stood on.
    let basis = site.journal().pop().unwrap()["basis"].as_str().unwrap().to_owned();
    assert!(site.read(&format!("journal/basis-{basis}.json")).contains("\"block\""));

    let said = site.ok(&[
        "lists",
        "publish",
        "block",
        "--earlier",
        &first[..12],
        "--key",
        "office.pem",
        "--author",
        "Daniyar",
        "--reason",
        "0102 is a hospital",
    ]);
    assert!(said.contains(&first) && said.contains("by Daniyar: 0102 is a hospital"), "{said}");
    wait_until(&node, "+14155550102", false);
    assert!(is_blocked(&node, "+14155550101"));
    wait_for_metric(address, PUBLISHED, 3.0);
    let history = site.ok(&["lists", "history", "block"]);
    assert_eq!(history.lines().filter(|line| line.starts_with(&first)).count(), 2, "{history}");

    // Without the server a node has the version that it had last, also after a crash.
    node.kill();
    server.kill();
    let node = site.serve();
    assert!(is_blocked(&node, "+14155550101") && !is_blocked(&node, "+14155550102"));
    // What an operator did by hand meanwhile gives way to what is published.
    node.kill();
    site.write("lists/block.csv", format!("{HEAD}+14155550103,ops,,\n"));
    let node = site.serve();
    assert!(is_blocked(&node, "+14155550103"));
    server.start(&site);
    wait_until(&node, "+14155550103", false);
    assert!(is_blocked(&node, "+14155550101"));
    // A reload keeps it, also where somebody changed the file before.
    site.write("lists/block.csv", format!("{HEAD}+14155550104,ops,,\n"));
    node.signal("-HUP");
    node.wait_for("reload: ");
    wait_until(&node, "+14155550101", true);
    assert!(!is_blocked(&node, "+14155550104"));
}

#[test]
fn forged_broken_and_replayed_versions_change_nothing_and_are_counted() {
    let server_port = Server::new();
    let (site, address) = follower(&server_port);
    let mut server = server_port;
    server.start(&site);
    let node = site.serve();
    publish(&site, &format!("{HEAD}+14155550101,ops,,\n"), "first");
    wait_until(&node, "+14155550101", true);
    let mut client = server.client();
    let announced = client.stored("QALQAN_LISTS").pop().unwrap().data;
    let mut refused = 0.0;
    let mut refuse = |jws: &[u8], what: &str| {
        let ack = client.request("qalqan.list.block", jws);
        assert_eq!(ack["stream"], "QALQAN_LISTS", "{ack}");
        refused += 1.0;
        wait_for_metric(address, REFUSED, refused);
        node.wait_for(&format!("version refused: {what}"));
        assert!(is_blocked(&node, "+14155550101"), "{what}");
        // What is forged stands in front of what is in force no longer than it takes to see it.
        assert_eq!(Client::new(address).metric(PUBLISHED), 1.0);
    };
    refuse(b"nonsense", "not a JWS");
    // Another payload under the same signature.
    let text = String::from_utf8(announced.clone()).unwrap();
    let parts: Vec<&str> = text.split('.').collect();
    let turned: String = parts[1]
        .char_indices()
        .map(|(n, c)| if n == 40 { if c == 'A' { 'B' } else { 'A' } } else { c })
        .collect();
    refuse(format!("{}.{turned}.{}", parts[0], parts[2]).as_bytes(), "forged");
    refuse(&announced, "it is not newer than the one before it");

    // Somebody with a key of his own.
    keys(&site, "thief");
    site.write("theirs.csv", format!("{HEAD}+14155550109,ops,,\n"));
    let theirs =
        ["lists", "publish", "block", "theirs.csv", "--reason", "x", "--author", "x", "--key", "thief.pem"];
    site.ok(&theirs);
    wait_for_metric(address, REFUSED, 4.0);
    node.wait_for("is none of list-publishers");
    assert!(is_blocked(&node, "+14155550101") && !is_blocked(&node, "+14155550109"));

    // A file that is not the one that was signed: the chunk of the object is another.
    server.kill();
    node.kill();
    server.start(&site);
    let second = publish(&site, &format!("{HEAD}+14155550101,ops,,\n+14155550102,ops,,\n"), "second");
    let mut client = server.client();
    let bucket = client.stored("OBJ_qalqan-lists");
    let meta = bucket.iter().rfind(|stored| stored.subject.contains(".M.")).unwrap();
    let mut info: serde_json::Value = serde_json::from_slice(&meta.data).unwrap();
    let forged = format!("{HEAD}+14155550101,ops,,\n+14155550109,ops,,\n");
    client.request("$O.qalqan-lists.C.forged", forged.as_bytes());
    info["nuid"] = json!("forged");
    info["chunks"] = json!(1);
    // With a digest that fits what is there now: only the signed hash tells.
    let sum = Command::new("sh")
        .args(["-c", "printf '%s' \"$0\" | openssl dgst -sha256 -binary | basenc --base64url"])
        .arg(&forged)
        .output()
        .unwrap();
    info["digest"] = json!(format!("SHA-256={}", String::from_utf8_lossy(&sum.stdout).trim()));
    client.request(&meta.subject.clone(), info.to_string().as_bytes());
    let node = site.serve();
    node.wait_for("version refused: its file is not the one that was signed");
    assert!(is_blocked(&node, "+14155550101") && !is_blocked(&node, "+14155550109"));
    assert!(!is_blocked(&node, "+14155550102"));
    assert_eq!(site.read("lists/block.csv"), format!("{HEAD}+14155550101,ops,,\n"));
    drop(node);
    assert!(!second.is_empty());

    // Nothing goes out that nodes would refuse, or that nobody stands for.
    site.write("bad.csv", format!("{HEAD}87272501234,ops,,\n"));
    let bad = |more: &[&str]| site.refused(&[&["lists", "publish", "block"], more].concat());
    let says = bad(&["bad.csv", "--key", "office.pem", "--reason", "x", "--author", "x"]);
    assert!(says.contains("bad.csv") && says.contains("line 2") | says.contains(":2"), "{says}");
    assert!(
        bad(&["new.csv", "--key", "office.pub.pem", "--reason", "x", "--author", "x"])
            .contains("office.pub.pem")
    );
    assert!(bad(&["new.csv", "--key", "office.pem", "--reason", " ", "--author", "x"]).contains("--reason"));
    assert!(
        bad(&["--earlier", "abcdef", "--key", "office.pem", "--reason", "x", "--author", "x"])
            .contains("no version abcdef")
    );
    server.kill();
    let away = bad(&["new.csv", "--key", "office.pem", "--reason", "x", "--author", "x"]);
    assert!(away.contains(&server.url()) && away.trim().lines().count() == 1, "{away}");
}

/// A list of a million numbers, packed: it travels in pieces and is opened as it is.
#[test]
fn a_large_list_travels_in_pieces() {
    let mut server = Server::new();
    let (site, address) = follower(&server);
    server.start(&site);
    let node = site.serve();
    let mut text = HEAD.to_owned();
    // One number in seven of a range: nothing that a compact file could leave out.
    for n in 0..1_000_000u64 {
        text += &format!("+1415{:07},,,\n", n * 7);
    }
    site.write("large.csv", &text);
    site.ok(&["lists", "pack", "large.csv", "--name", "block"]);
    site.ok(&[
        "lists",
        "publish",
        "block",
        "large.list",
        "--key",
        "office.pem",
        "--author",
        "x",
        "--reason",
        "all",
    ]);
    wait_for_metric(address, "qalqan_list_entries{list=\"block\"}", 1_000_000.0);
    let pieces = server
        .client()
        .stored("OBJ_qalqan-lists")
        .into_iter()
        .filter(|stored| stored.subject.contains(".C."));
    assert!(pieces.count() > 4);
    assert!(is_blocked(&node, "+14150000007") && is_blocked(&node, "+14156999993"));
    assert!(!is_blocked(&node, "+14150000008"));
    assert_eq!(
        std::fs::read(site.path("large.list")).unwrap(),
        std::fs::read(site.path("lists/block.csv")).unwrap()
    );
}
