//! Who may ask by HTTP, and peers that are slow, too many or gone: against the real binary.

use crate::rig;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rig::http::{Client, site, wait_for_metric};
use rig::{Site, wait};

const CALL: &str = r#"{"trunk":"international","calling":"+77272501234","called":"+77011234567"}"#;

#[test]
fn a_key_is_made_once_and_taken_until_it_is_taken_away() {
    let (site, address) = site("api-keys = \"keys/api.csv\"\n");
    let key = site.ok(&["http", "key", "switch-1"]).trim().to_owned();
    let file = site.read("keys/api.csv");
    assert!(!file.contains(&key), "only the hash is kept");
    assert!(site.refused(&["http", "key", "switch-1"]).contains("stands there already"));
    assert!(site.refused(&["http", "key", "a,b"]).contains("no name of a key"));
    assert!(site.refused(&["http", "key", "b", "--expires", "soon"]).contains("is not a date"));
    let mode = std::fs::metadata(site.path("keys/api.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let node = site.serve();
    let mut http = Client::new(address);
    let mut status = |header: String| http.screen_with(&header, CALL).status;
    assert_eq!(status(format!("\r\nAuthorization: Bearer {key}")), 200);
    assert_eq!(status(format!("\r\nauthorization: bEARER  {key}")), 200);
    assert_eq!(status(format!("\r\nX-Api-Key: {key}")), 200);
    assert_eq!(status(String::new()), 401);
    assert_eq!(status(format!("\r\nAuthorization: Basic {key}")), 401);
    assert_eq!(status(format!("\r\nX-Api-Key: {key}0")), 401);
    let refused = http.screen(CALL);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"qalqan\""), "RFC 6750 section 3");
    for open in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(http.get(open).status, 200, "{open} needs no key");
    }

    // Another key in its place; the first is taken no more.
    std::fs::remove_file(site.path("keys/api.csv")).unwrap();
    let other = site.ok(&["http", "key", "switch-2"]).trim().to_owned();
    node.signal("-HUP");
    node.wait_for("is in force");
    assert_eq!(http.screen_with(&format!("\r\nX-Api-Key: {key}"), CALL).status, 401);
    assert_eq!(http.screen_with(&format!("\r\nX-Api-Key: {other}"), CALL).status, 200);
}

#[test]
fn a_configuration_that_lets_anybody_ask_is_refused() {
    let complaint = |http: &str| {
        let site = Site::new(http);
        site.refused(&["config", "check"])
    };
    let open = complaint("[http]\nlisten = [\"0.0.0.0:8080\"]\n");
    assert!(open.contains("qalqan.toml:5:11: listen \"0.0.0.0:8080\" lets anybody ask"), "{open}");
    assert!(complaint("[http]\nlisten = [\"8080\"]\n").contains("is not an address and port"));
    assert!(complaint("[http]\nbody-kb = 0\n").contains("body-kb is not between 1 and 65536"));
    assert!(complaint("[http]\nporst = 1\n").contains("unknown field"));
    assert!(complaint("[tracing]\nurl = \"collector:4318\"\n").contains("is not a URL"));
    assert!(complaint("[tracing]\nurl = \"http://c:4318\"\nsample = 2.0\n").contains("between 0"));
    let site = Site::new("[http]\napi-keys = \"keys.csv\"\n");
    assert!(site.refused(&["config", "check"]).contains("keys.csv: no such file"));
    site.write("keys.csv", "name,sha256,trunks,expires\n");
    std::fs::set_permissions(site.path("keys.csv"), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(site.refused(&["config", "check"]).contains("others may read it (mode 0644)"));
    std::fs::set_permissions(site.path("keys.csv"), PermissionsExt::from_mode(0o600)).unwrap();
    site.ok(&["config", "check"]);
    let hash = "0".repeat(64);
    site.write(
        "keys.csv",
        format!(
            "name,sha256,trunks,expires\na,{hash},nowhere,\na b,{hash},,\nc,12,,\nd,{hash},,soon\ne,{hash}\n"
        ),
    );
    let faults = site.refused(&["config", "check"]);
    for (line, what) in
        [(2, "no trunk"), (3, "no name"), (4, "64 hex"), (5, "not a date"), (6, "four fields")]
    {
        let found = faults.lines().find(|fault| fault.contains(&format!("keys.csv:{line}:")));
        assert!(found.is_some_and(|fault| fault.contains(what)), "line {line}: {faults}");
    }
}

/// An authority, and certificates made by it: for the server, a client, and a client whose time is over.
fn certificates(site: &Site) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    site.write("ca.pem", authority.self_signed(&authority_key).unwrap().pem());
    let issuer = Issuer::new(authority, authority_key);
    for (name, purpose, is_over) in [
        ("server", ExtendedKeyUsagePurpose::ServerAuth, false),
        ("client", ExtendedKeyUsagePurpose::ClientAuth, false),
        ("old", ExtendedKeyUsagePurpose::ClientAuth, true),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        if is_over {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        site.write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        let path = format!("{name}.key");
        site.write(&path, key.serialize_pem());
        std::fs::set_permissions(site.path(&path), PermissionsExt::from_mode(0o600)).unwrap();
    }
}

/// curl's exit code, and the status it got.
fn curl(site: &Site, port: u16, more: &[&str]) -> (i32, String) {
    let url = format!("https://localhost:{port}/v1/screen");
    let output = Command::new("curl")
        .current_dir(site.directory.path())
        .args(["-s", "-o", "body", "-w", "%{http_code}", "--cacert", "ca.pem", "--max-time", "20"])
        .args(["-H", "Content-Type: application/json", "-d", CALL, &url])
        .args(more)
        .output()
        .expect("curl runs");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn client_certificates_are_checked_by_curl_against_the_node() {
    let tls = "[http.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient-ca = \"ca.pem\"\n";
    let (site, address) = site(&format!("{tls}clients = \"optional\"\n"));
    certificates(&site);
    let node = site.serve();
    let port = address.port();
    let with =
        |name: &str| ["--cert".to_owned(), format!("{name}.pem"), "--key".to_owned(), format!("{name}.key")];
    let ask = |name: &str| {
        let more = with(name);
        curl(&site, port, &more.each_ref().map(String::as_str))
    };
    assert_eq!(ask("client"), (0, "200".to_owned()));
    assert!(site.read("body").contains("\"rule\":\"R08\""));
    assert_eq!(curl(&site, port, &[]), (0, "401".to_owned()), "optional: a connection, but no verdict");
    let (code, status) = ask("old");
    assert!(code != 0 && status == "000", "an expired certificate: {code} {status}");
    assert_ne!(ask("server").0, 0, "a certificate for servers only");
    let url = format!("http://{address}/healthz");
    let plain = Command::new("curl").args(["-s", "--max-time", "5", &url]).status();
    assert!(!plain.unwrap().success(), "no HTTP without TLS");

    // Required: who has none gets no connection. The listener stays, what it asks for changes with a reload.
    site.write("qalqan.toml", site.read("qalqan.toml").replace("\"optional\"", "\"required\""));
    node.signal("-HUP");
    node.wait_for("is in force");
    assert_eq!(ask("client"), (0, "200".to_owned()));
    assert_ne!(curl(&site, port, &[]).0, 0);

    // A key that others can read refuses the reload whole.
    std::fs::set_permissions(site.path("server.key"), PermissionsExt::from_mode(0o644)).unwrap();
    node.signal("-HUP");
    node.wait_for("reload refused");
    assert_eq!(ask("client"), (0, "200".to_owned()));
}

#[test]
fn slow_peers_are_ended_and_counted() {
    let (site, address) = site("header-s = 1\nbody-s = 1\nidle-s = 2\n");
    let _node = site.serve();
    let mut idle = Client::new(address);
    let mut drips = Client::new(address);
    let head = b"GET /healthz HTTP/1.1\r\nHost: q\r\nX-Long: ";
    // One byte now and then: it never comes to its end.
    let end = head.iter().cycle().take_while(|byte| {
        std::thread::sleep(Duration::from_millis(100));
        drips.send([**byte])
    });
    assert!(end.take(300).count() < 300, "the node ends it");
    assert!(idle.answer().is_none(), "nothing asked, nothing answered, and ended");
    let mut slow = Client::new(address);
    slow.send("POST /v1/screen HTTP/1.1\r\nHost: q\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{");
    let answer = slow.answer().unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (408, "body-too-slow"));
    wait_for_metric(address, "qalqan_http_connections_timed_out_total", 2.0);
    // Who asks now and then keeps his connection.
    let mut lively = Client::new(address);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(lively.screen(CALL).status, 200);
    }
}

#[test]
fn connections_beyond_the_limit_are_turned_away_and_the_rest_go_on() {
    let (site, address) = site("connections = 50\n");
    let _node = site.serve();
    let mut clients: Vec<Client> = (0..50).map(|_| Client::new(address)).collect();
    assert_eq!(clients[49].screen(CALL).status, 200);
    let mut refused = Client::new(address);
    let answer = refused.answer().unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (503, "too-many-connections"));
    assert_eq!(clients[0].screen(CALL).status, 200);
    assert_eq!(clients[0].metric("qalqan_http_connections"), 50.0);
    assert_eq!(clients[0].metric("qalqan_http_connections_refused_total"), 1.0);
    clients.truncate(10);
    wait_for_metric(address, "qalqan_http_connections", 11.0);
    // A peer that goes away in the middle of a request costs nobody anything.
    let mut gone = Client::new(address);
    gone.send("POST /v1/screen HTTP/1.1\r\nHost: q\r\nContent-Type: application/json\r\nContent-Length: 4294967295\r\n\r\n{");
    assert_eq!(gone.answer().unwrap().status, 413);
    drop(gone);
    assert_eq!(clients[0].screen(CALL).status, 200);
}

/// Opens connections, says so, and holds them until its input ends.
const IDLERS: &str = "
import socket, sys
n, port = int(sys.argv[1]), int(sys.argv[2])
held = [socket.create_connection(('127.0.0.1', port)) for _ in range(n)]
print('open', flush=True)
sys.stdin.read()
";

#[test]
fn ten_thousand_idle_connections_keep_nobody_waiting() {
    let (site, address) = site("connections = 10001\n");
    let binary = env!("CARGO_BIN_EXE_qalqan");
    let mut command = Command::new("prlimit");
    command.current_dir(site.directory.path()).args(["--nofile=12000", binary, "serve"]);
    let _node = rig::Node::start(&mut command, site.port);
    let mut idlers = Command::new("prlimit")
        .args(["--nofile=12000", "python3", "-c", IDLERS, "10000", &address.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut line = String::new();
    BufReader::new(idlers.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "open\n");
    let mut http = Client::new(address);
    wait(|| http.metric("qalqan_http_connections") == 10_001.0, || "10,001 connections".to_owned());
    assert_eq!(http.screen(CALL).status, 200);
    assert_eq!(Client::new(address).answer().unwrap().status, 503, "one more than there may be");
    drop(idlers.stdin.take());
    assert!(idlers.wait().unwrap().success());
    wait(|| http.metric("qalqan_http_connections") == 1.0, || "they are gone".to_owned());
    assert_eq!(http.screen(CALL).status, 200);
}

/// Unmounts at the end of the test, whatever happened.
struct Mount(std::path::PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_no_question_and_is_said() {
    let (site, address) = site("[journal]\ndirectory = \"small/journal\"\nsegment-mb = 1\n");
    let small = site.path("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&small).status();
    assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a small disk: run it as root");
    let _mount = Mount(small.clone());
    let _node = site.serve();
    let mut http = Client::new(address);
    assert_eq!(http.screen(CALL).status, 200);
    let mut filler = std::fs::File::create(small.join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    let calls = format!("[{}]", vec![CALL; 1000].join(","));
    let is_failing = |http: &mut Client| {
        let answer = http.screen(&calls);
        assert_eq!(answer.json().as_array().unwrap().len(), 1000, "every call is judged");
        http.get("/readyz").json()["journal"] == "failing"
    };
    wait(|| is_failing(&mut http), || "a failing journal".to_owned());
    assert_eq!(http.get("/readyz").status, 200, "calls need not go elsewhere");
    assert_eq!(http.metric("qalqan_journal_failing"), 1.0);
    // What is open still takes some; then they are lost, and counted.
    let lost = |http: &mut Client| {
        is_failing(http);
        http.metric("qalqan_journal_lost_verdicts_total") > 0.0
    };
    wait(|| lost(&mut http), || "lost verdicts to be counted".to_owned());
    drop(filler);
    std::fs::remove_file(small.join("filler")).unwrap();
    wait(|| http.metric("qalqan_journal_failing") == 0.0, || "a journal that goes on".to_owned());
}

#[test]
fn a_stopping_node_says_so_and_answers_what_it_was_asked() {
    let (site, address) = site("");
    let node = site.serve();
    let mut http = Client::new(address);
    assert_eq!(http.get("/readyz").json()["status"], "ready");
    node.signal("-TERM");
    let mut stopping = None;
    wait(
        || {
            let answer = Client::new(address).get("/readyz");
            let is_stopping = answer.status == 503;
            stopping = Some(answer);
            is_stopping
        },
        || "503".to_owned(),
    );
    assert_eq!(stopping.unwrap().problem(), "stopping");
    let last = http.screen(CALL);
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    node.wait_for("stopping");
    let mut node = node;
    wait(|| !node.is_running(), || "the node to end".to_owned());
    assert_eq!(site.journal_len(), 1);
}
