//! Verdicts through a real nats-server: exactly what the sealed journal says, whatever is killed meanwhile.

use crate::rig;

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rig::http::{Client, wait_for_metric};
use rig::nats::{Server, Stored};
use rig::{INTERNATIONAL, Invite, NATIONAL, Node, Site, Switch, repository, status, wait};
use serde_json::{Value, json};

const STREAM: &str = "QALQAN_VERDICTS";

/// A site that sends to a server; `more` follows the url in `[nats]`.
fn site(server: &Server, more: &str) -> Site {
    let url = server.url();
    Site::new(&format!("[journal]\nsegment-mb = 1\n[nats]\nurl = \"{url}\"\nnode = \"almaty-1\"\n{more}"))
}

/// Calls of every kind.
fn calls(node: &Node, names: &str, rounds: usize) {
    let (abroad, home) = (Switch::on(INTERNATIONAL, node), Switch::on(NATIONAL, node));
    for n in 0..rounds {
        let ids: [String; 3] = std::array::from_fn(|kind| format!("{names}-{n}-{kind}"));
        let of = |from, call_id| Invite { from, call_id, ..Invite::default() };
        assert_eq!(status(&abroad.invite(&of("sip:+77272501234@x", &ids[0]))), "603 Decline");
        abroad.invite(&of("sip:+14155550123@x", &ids[1]));
        home.invite(&of("sip:+77051234567@x", &ids[2]));
    }
}

fn stop(mut node: Node) {
    node.signal("-TERM");
    wait(|| !node.is_running(), || "the node stops".to_owned());
}

/// Runs a check in Python.
fn peer(arguments: &[&str]) -> String {
    let output = Command::new(repository().join("target/tools/bin/python"))
        .arg(repository().join("node/tests/peers/events.py"))
        .args(arguments)
        .output()
        .expect("target/tools: ./test makes it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Holds what the stream has against the schema and the segments; gives the events.
fn compare(site: &Site, stored: &[Stored]) -> Vec<Value> {
    let lines: Vec<String> =
        stored.iter().map(|stored| String::from_utf8(stored.data.clone()).unwrap() + "\n").collect();
    site.write("events.jsonl", lines.concat());
    let file = site.path("events.jsonl").display().to_string();
    let schema = repository().join("schema/call-screened.schema.json").display().to_string();
    peer(&["valid", &schema, &file]);
    peer(&["compare", &site.path("journal/segments/*.parquet").display().to_string(), &file]);
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (event, stored) in events.iter().zip(stored) {
        let [journal, segment, record] = ["journal", "segment", "record"].map(|name| event[name].to_string());
        assert_eq!(stored.id, format!("{}.{segment}.{record}", journal.trim_matches('"')));
        assert_eq!(stored.subject, format!("qalqan.verdict.almaty-1.{}", event["verdict"].as_str().unwrap()));
    }
    events
}

#[test]
fn events_are_the_rows_of_the_journal_and_no_clearer() {
    let mut server = Server::new();
    for numbers in ["encrypted", "hashed", "clear"] {
        let site = site(&server, &format!("[trunk.x]\nclass = \"transit\"\n# {numbers}\n"));
        let text = site.read("qalqan.toml");
        site.write(
            "qalqan.toml",
            text.replace("[journal]\n", &format!("[journal]\nnumbers = \"{numbers}\"\n")),
        );
        server.start(&site);
        let node = site.serve();
        calls(&node, numbers, 20);
        // What the last logs hold is sealed, and sent, before the node ends.
        stop(node);
        let stored = server.client().stored(STREAM);
        assert_eq!(stored.len(), 60);
        let events = compare(&site, &stored);
        let blocked: Vec<&Value> = events.iter().filter(|event| event["verdict"] == "block").collect();
        assert_eq!(blocked.len(), 20);
        for event in &blocked {
            assert_eq!((&event["rule"], &event["numbers"]), (&json!("R08"), &json!(numbers)));
        }
        let calling: HashSet<&str> = blocked.iter().map(|event| event["calling"].as_str().unwrap()).collect();
        let is_clear = stored.iter().any(|event| String::from_utf8_lossy(&event.data).contains("2501234"));
        match numbers {
            "encrypted" => assert_eq!((calling.len(), is_clear), (20, false)),
            "hashed" => assert_eq!((calling.len(), is_clear), (1, false)),
            _ => assert_eq!(calling, HashSet::from(["+77272501234"])),
        }
        server.kill();
    }
}

#[test]
fn kill_9_of_node_and_server_loses_doubles_and_disorders_nothing() {
    let mut server = Server::new();
    let site = site(&server, "");
    server.start(&site);
    // A window in which nothing is known by its id any more once somebody was killed.
    let config = json!({"name": STREAM, "subjects": ["qalqan.verdict.>"], "storage": "file", "retention": "limits",
        "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_consumers": -1, "num_replicas": 1, "discard": "old",
        "duplicate_window": 100_000_000});
    let made = server.client().api(&format!("STREAM.CREATE.{STREAM}"), &config);
    assert_eq!(made["error"], Value::Null, "{made}");
    let mut answered = 0;
    for (round, names) in ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().enumerate() {
        let node = site.serve();
        let stopped = Arc::new(AtomicBool::new(false));
        let switch = Switch::on(INTERNATIONAL, &node);
        switch.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let stop_calls = stopped.clone();
        let caller = std::thread::spawn(move || {
            let mut answered = 0;
            for n in 0.. {
                let call_id = format!("{names}-{n}");
                let message = switch.render(&Invite { call_id: &call_id, ..Invite::default() });
                answered += usize::from(switch.try_send(&message) && switch.answer().is_some());
                if stop_calls.load(Ordering::Relaxed) {
                    return answered;
                }
                std::thread::sleep(Duration::from_micros(400));
            }
            answered
        });
        std::thread::sleep(Duration::from_millis(700));
        // Killed while what the round before left is being sent: the one, the other, or both.
        if round % 3 != 0 {
            server.kill();
            std::thread::sleep(Duration::from_millis(300));
        }
        if round % 3 != 1 {
            node.kill();
        } else {
            std::thread::sleep(Duration::from_millis(300));
            server.start(&site);
            std::thread::sleep(Duration::from_millis(1500));
            node.kill();
        }
        if round % 3 == 2 {
            server.start(&site);
        }
        stopped.store(true, Ordering::Relaxed);
        answered += caller.join().unwrap();
    }
    let node = site.serve();
    node.wait_for("connected");
    stop(node);
    // A node that stopped before all was sent goes on when it starts again.
    let node = site.serve();
    let kept = site.journal_len() as u64;
    let mut client = server.client();
    wait(|| client.count(STREAM) >= kept, || format!("{kept} events: {}", node.log()));
    stop(node);
    let stored = client.stored(STREAM);
    compare(&site, &stored);
    assert!(stored.len() >= answered && answered > 1000, "{} events of {answered} calls", stored.len());
}

#[test]
fn a_server_that_is_away_stops_no_start_and_no_call() {
    let mut server = Server::new();
    let (site, address) = rig::http::site(&format!(
        "[journal]\nsegment-mb = 1\n[nats]\nurl = [\"{}\", \"nats://127.0.0.1:1\"]\nnode = \"almaty-1\"\n",
        server.url()
    ));
    let node = site.serve();
    calls(&node, "alone", 5);
    wait_for_metric(address, "qalqan_nats_broken_connections_total", 4.0);
    assert_eq!(Client::new(address).metric("qalqan_nats_connected"), 0.0);
    let complaints =
        |node: &Node| node.log().lines().filter(|line| line.contains("calls go on, and")).count();
    assert_eq!(complaints(&node), 2, "each server once, however often they are tried: {}", node.log());
    node.kill();
    let node = site.serve();
    server.start(&site);
    node.wait_for(&format!("connected to {}", server.url()));
    let mut client = server.client();
    wait(|| client.count(STREAM) == 15, || format!("15 events: {}", node.log()));
    wait_for_metric(address, "qalqan_nats_connected", 1.0);
    wait_for_metric(address, "qalqan_nats_verdicts_total", 15.0);
    wait_for_metric(address, "qalqan_nats_waiting_segments", 0.0);
    server.kill();
    wait_for_metric(address, "qalqan_nats_connected", 0.0);
    calls(&node, "again", 5);
    // The docs explain every metric of NATS and no other.
    let page = Client::new(address).get("/metrics").body;
    let docs = std::fs::read_to_string(repository().join("docs/nats.md")).unwrap();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE qalqan_nats_")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(
            docs.contains(&format!("| `qalqan_nats_{name}` | {kind} |")),
            "docs/nats.md: qalqan_nats_{name}"
        );
    }
}

#[test]
fn the_operator_chooses_which_verdicts_go() {
    let mut server = Server::new();
    let site = site(&server, "verdicts = \"not-allowed\"\nverdict-stream = \"REFUSED\"\n");
    site.write("qalqan.toml", site.read("qalqan.toml") + "[trunk.national.rules]\nall = \"monitor\"\n");
    server.start(&site);
    let node = site.serve();
    calls(&node, "some", 10);
    // Allowed, though a rule in monitor mode would have refused it: that one goes too.
    let home = Switch::on(NATIONAL, &node);
    home.invite(&Invite { from: "sip:+7727@x", call_id: "watched", ..Invite::default() });
    stop(node);
    let stored = server.client().stored("REFUSED");
    let events: Vec<Value> =
        stored.iter().map(|event| serde_json::from_slice(&event.data).unwrap()).collect();
    assert!(events.iter().all(|event| event["verdict"] != "allow" || event["monitored"] != Value::Null));
    assert_eq!(events.iter().filter(|event| event["verdict"] == "block").count(), 10);
    let watched = events.iter().find(|event| event["call_id"] == "watched").expect("the watched call");
    assert_eq!((&watched["verdict"], &watched["would_verdict"]), (&json!("allow"), &json!("block")));
    assert_eq!(server.client().count(STREAM), 0);
}

#[test]
fn servers_may_ask_for_tls_certificates_and_a_password() {
    let server_port = Server::new();
    let url = server_port.url().replace("nats://127.0.0.1", "tls://localhost");
    let site = Site::new(&format!(
        "[nats]\nurl = \"{url}\"\nnode = \"almaty-1\"\ncredentials = \"nats.toml\"\nca = \"ca.pem\"\n\
         certificate = \"node.pem\"\nkey = \"node.key\"\n"
    ));
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    site.write("ca.pem", params.self_signed(&authority).unwrap().pem());
    let issuer = Issuer::new(params, authority);
    for name in ["server", "node"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        site.write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        site.write(&format!("{name}.key"), key.serialize_pem());
    }
    site.write("nats.toml", "user = \"qalqan\"\npassword = \"wrong\"\n");
    for secret in ["node.key", "nats.toml"] {
        assert!(Command::new("chmod").arg("600").arg(site.path(secret)).status().unwrap().success());
    }
    site.write(
        "nats-server.conf",
        "tls { cert_file: \"server.pem\", key_file: \"server.key\", ca_file: \"ca.pem\", verify: true }\n\
         authorization { user: qalqan, password: right }\n",
    );
    let mut server = server_port;
    server.start(&site);
    let node = site.serve();
    node.wait_for("authorization violation");
    assert!(!node.log().contains("wrong"), "a password in the log");
    calls(&node, "secret", 2);
    node.kill();
    site.write("nats.toml", "user = \"qalqan\"\npassword = \"right\"\n");
    let node = site.serve();
    node.wait_for(&format!("connected to {url}"));
    stop(node);
    // All are in the stream: a journal that has nothing more to send says so.
    let position: Value = serde_json::from_str(&site.read("journal/nats-verdicts.json")).unwrap();
    assert_eq!(position["sequence"], 6, "{position}");
}

#[test]
fn without_nats_nothing_of_it_is_there_and_faults_are_named() {
    let (site, address) = rig::http::site("");
    let node = site.serve();
    calls(&node, "plain", 1);
    assert!(!Client::new(address).get("/metrics").body.contains("qalqan_nats"));
    assert!(!node.log().contains("nats") && !site.path("journal/nats-verdicts.json").exists());
    drop(node);
    site.write("lists/block.csv", "number,owner,expires,note\n");
    site.write("open.toml", "token = \"x\"\n");
    let refuses = |nats: &str, what: &str| {
        site.configure(nats);
        let said = site.refused(&["config", "check"]);
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        assert!(said.contains("qalqan.toml:") && said.contains(what), "{said}");
    };
    refuses("[nats]\n", "missing field `url`");
    refuses("[nats]\nurl = \"127.0.0.1:4222\"\n", "not of the form nats://host:port");
    refuses("[nats]\nurl = \"nats://user:secret@host\"\n", "file of credentials");
    refuses("[nats]\nurl = []\n", "names no server");
    refuses("[nats]\nurl = 7\n", "a URL such as nats://127.0.0.1:4222, or a list of them");
    refuses("[nats]\nurl = \"nats://x\"\nnode = \"a.b\"\n", "node \"a.b\" is not");
    refuses("[nats]\nurl = \"nats://x\"\nverdicts = \"some\"\n", "unknown variant `some`");
    refuses("[nats]\nurl = \"nats://x\"\nnot-a-key = 1\n", "unknown field `not-a-key`");
    refuses("[nats]\nurl = \"nats://x\"\nreplicas = 6\n", "replicas is not between 1 and 5");
    refuses("[nats]\nurl = \"nats://x\"\ncredentials = \"open.toml\"\n", "chmod 600");
    refuses("[nats]\nurl = \"nats://x\"\ncertificate = \"a.pem\"\n", "name both");
    refuses(
        "[nats]\nurl = \"nats://x\"\nfollow-lists = [\"block\"]\nlist-publishers = []\n[lists]\nblock = \"lists/block.csv\"\n",
        "follow-lists without list-publishers",
    );
    refuses("[nats]\nurl = \"nats://x\"\nlist-publishers = [\"nobody.pem\"]\n", "nobody.pem");
}
