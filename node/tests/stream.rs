//! SIP over TCP and TLS against the real binary: several calls on a connection, and peers that misbehave.

use crate::rig;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rig::{INTERNATIONAL, Invite, Line, NATIONAL, Node, Site, Switch, connect, header, status, wait};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn invite(node: &Node, from: &str, call_id: &str) -> String {
    Switch::on(NATIONAL, node)
        .render(&Invite { from, call_id, ..Invite::default() })
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP")
}

#[test]
fn calls_come_in_any_pieces_and_answers_in_order() {
    let site = Site::new("");
    let node = site.serve();
    let mut line = Line::new(connect(INTERNATIONAL, node.address));
    // Several messages in one segment, a keep-alive and empty lines between them (RFC 5626, RFC 3261 section 7.5).
    let (one, two, three) = (
        invite(&node, "sip:+14155550123@x", "one"),
        invite(&node, "sip:+77272501234@x", "two"),
        invite(&node, "sip:+77011234567@x", "three")
            .replace("Content-Length: 0\r\n\r\n", "l: 9\r\n\r\nv=0\r\n\r\n\r\n"),
    );
    line.send(format!("{one}\r\n{two}{three}"));
    let answers: Vec<String> = (0..3).map(|_| line.answer().expect("an answer")).collect();
    assert_eq!(
        answers.iter().map(|a| header(a, "Call-ID").unwrap()).collect::<Vec<_>>(),
        ["one", "two", "three"]
    );
    assert_eq!(
        answers.iter().map(|a| status(a)).collect::<Vec<_>>(),
        ["302 Moved Temporarily", "603 Decline", "302 Moved Temporarily"]
    );
    // One message in pieces of one byte.
    for byte in invite(&node, "sip:+14155550123@x", "bytes").as_bytes() {
        line.stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(header(&line.answer().expect("an answer"), "Call-ID"), Some("bytes"));
    // A ping of four bytes wants two back (RFC 5626 section 3.5.1).
    line.send("\r\n\r\n");
    let mut pong = [0; 2];
    line.stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    // The same call over UDP is another transaction by its Via, and judged the same.
    let udp = Switch::on(INTERNATIONAL, &node).invite(&Invite { call_id: "udp", ..Invite::default() });
    assert_eq!(header(&udp, "Qalqan-Verdict"), header(&answers[0], "Qalqan-Verdict"));
    assert_eq!(site.journal_len(), 5);
}

#[test]
fn both_transports_over_ipv6() {
    let site = Site::new("");
    let text = site.read("qalqan.toml").replace("listen = [\"127.0.0.1:", "listen = [\"[::1]:");
    site.write("qalqan.toml", text.replace("source = [\"127.0.0.11\"]", "source = [\"::1\"]"));
    let mut node = site.serve();
    node.address = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], site.port));
    let mut line = Line::new(connect("::1", node.address));
    let message = Switch::on("::1", &node).render(&Invite::default());
    for answer in [line.ask(&message), Switch::on("::1", &node).ask(message.replace("call-1", "call-2"))] {
        assert_eq!(status(&answer), "302 Moved Temporarily");
        assert!(header(&answer, "P-Asserted-Identity").unwrap().contains("@[::1];user=phone"), "{answer}");
        assert!(header(&answer, "Via").unwrap().contains(";received=::1;rport="), "{answer}");
    }
}

/// SIPp, a peer by another hand, with its calls on one connection and on one each.
#[test]
fn sipp_calls_over_tcp() {
    let site = Site::new("");
    let node = site.serve();
    for (mode, calls) in [("t1", 200), ("tn", 100)] {
        let sipp = Command::new("sipp")
            .current_dir(site.directory.path())
            .arg(node.address.to_string())
            .arg("-sf")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sipp/switch_refused.xml"))
            .args([
                "-t",
                mode,
                "-i",
                INTERNATIONAL,
                "-p",
                "0",
                "-s",
                "+77011234567",
                "-nostdin",
                "-timeout",
                "20",
            ])
            .args([
                "-key",
                "calling",
                "+77272501234",
                "-key",
                "more",
                "",
                "-m",
                &calls.to_string(),
                "-r",
                "200",
            ])
            .args(["-max_socket", "400"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("sipp runs");
        assert!(sipp.success(), "{mode}: {sipp}");
    }
    assert_eq!(site.journal_len(), 300);
}

#[test]
fn a_message_that_is_too_large_or_has_no_end_is_refused_and_the_connection_closed() {
    let site = Site::new("");
    let node = site.serve();
    let whole = invite(&node, "sip:+14155550123@x", "large");
    let field = |more: &str| whole.replacen("Content-Length: 0\r\n", more, 1);
    for (what, message, answer) in [
        ("a Content-Length of 4 GB", field("Content-Length: 4294967296\r\n"), "513 Message Too Large"),
        ("one of 2^70", field("Content-Length: 1180591620717411303424\r\n"), "513 Message Too Large"),
        (
            "a header of 64 KB",
            field(&format!("X: {}\r\nl: 0\r\n", "y".repeat(65_536))),
            "513 Message Too Large",
        ),
        (
            "a head without end",
            format!("{}X: {}", field("").trim_end(), "y".repeat(70_000)),
            "513 Message Too Large",
        ),
        ("no Content-Length", field(""), "400 Bad Request"),
        ("two of them", field("Content-Length: 0\r\nl: 4\r\n"), "400 Bad Request"),
        ("a negative one", field("Content-Length: -1\r\n"), "400 Bad Request"),
    ] {
        let mut line = Line::new(connect(INTERNATIONAL, node.address));
        // The node may close before all of it is written.
        let _ = line.stream.write_all(message.as_bytes());
        let got = line.answer().unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(status(&got), answer, "{what}");
        assert!(line.is_closed(), "{what}: still open");
    }
    // A thousand Via fields and a field of nearly 64 KB are large, and whole: such a call is judged.
    let mut line = Line::new(connect(INTERNATIONAL, node.address));
    let vias: String =
        (0..1000).map(|n| format!("Via: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK{n}\r\n")).collect();
    let answer = line.ask(field(&format!("{vias}Content-Length: 0\r\n")));
    assert_eq!((status(&answer), answer.matches("Via: ").count()), ("302 Moved Temporarily", 1001));
    let answer = line.ask(field(&format!("X: {}\r\nl: 0\r\n", "y".repeat(60_000))).replace("large", "long"));
    assert_eq!(status(&answer), "302 Moved Temporarily");
    // Bytes that are no SIP at all.
    let mut noise = Line::new(connect(INTERNATIONAL, node.address));
    noise.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(noise.is_closed());
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn slow_and_idle_peers_hold_nobody_up() {
    let site = Site::new("");
    let limits = "[sip.connections]\nmessage-s = 2\nidle-s = 3\n";
    site.write("qalqan.toml", format!("{}{limits}", site.read("qalqan.toml")));
    let node = site.serve();
    // One byte a second: the message is not whole in time.
    let mut slow = connect(INTERNATIONAL, node.address);
    let message = invite(&node, "sip:+14155550123@x", "slow");
    let drip = std::thread::spawn(move || {
        for byte in message.as_bytes() {
            std::thread::sleep(Duration::from_secs(1));
            if slow.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    let mut idle = Line::new(connect(INTERNATIONAL, node.address));
    let mut busy = Line::new(connect(NATIONAL, node.address));
    for n in 0..50 {
        let answer = busy.ask(invite(&node, "sip:+77272501234@x", &format!("busy{n}")));
        assert_eq!(status(&answer), "302 Moved Temporarily");
        std::thread::sleep(Duration::from_millis(100));
    }
    drip.join().unwrap();
    assert!(idle.is_closed(), "an idle connection is closed after idle-s");
    node.wait_for("connections closed, too slow: 1");
}

#[test]
fn ten_thousand_idle_connections_cost_no_call() {
    raise_file_limit();
    let site = Site::new("");
    let limits = "[sip.connections]\nmost = 9500\nmost-per-source = 2000\n";
    site.write("qalqan.toml", format!("{}{limits}", site.read("qalqan.toml")));
    let node = site.serve();
    let before = resident_kb(&node);
    // From five sources of 2,000 each; the last 500 are too many.
    let idle: Vec<TcpStream> =
        (0..10_000).map(|n| connect(&format!("127.0.1.{}", n / 2000 + 1), node.address)).collect();
    node.wait_for("connections turned away, there were too many: 500");
    let each_kb = (resident_kb(&node) - before) / 9500;
    assert!(each_kb < 16, "{each_kb} kB for an idle connection");
    // Over UDP calls go on, and so they do over TCP once somebody hangs up.
    let switch = Switch::on(INTERNATIONAL, &node);
    assert_eq!(status(&switch.invite(&Invite::default())), "302 Moved Temporarily");
    drop(idle);
    wait(
        || {
            let mut line = Line::new(connect(INTERNATIONAL, node.address));
            line.send(invite(&node, "sip:+14155550123@x", "after"));
            line.answer().is_some_and(|answer| status(&answer) == "302 Moved Temporarily")
        },
        || node.log(),
    );
}

fn resident_kb(node: &Node) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn raise_file_limit() {
    // SAFETY: plain numbers in, plain numbers out.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

/// An authority, and what it certifies.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for a name, valid from and until the years given.
    fn certify(&self, name: &str, years: (i32, i32)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

fn secret(site: &Site, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    site.write(name, text);
    std::fs::set_permissions(site.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

type TlsLine = Line<StreamOwned<ClientConnection, TcpStream>>;

/// Connects over TLS; the handshake happens with the first bytes.
fn tls(to: SocketAddr, authority: &Authority, own: Option<&(String, String)>) -> TlsLine {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let name = ServerName::try_from("qalqan.example").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    Line::new(StreamOwned::new(connection, connect(INTERNATIONAL, to)))
}

/// A site that listens over TLS too, on the port after its own.
fn tls_site(more: &str) -> (Site, SocketAddr) {
    let port = rig::free_port();
    let site = Site::new("");
    let listen = format!("listen = [\"127.0.0.1:{}\", \"tls:127.0.0.1:{port}\"]", site.port);
    let text = site.read("qalqan.toml");
    let text = text.replace(&format!("listen = [\"127.0.0.1:{}\"]", site.port), &listen);
    site.write(
        "qalqan.toml",
        format!("{text}\n[sip.tls]\ncertificate = \"node.pem\"\nkey = \"node.key\"\n{more}"),
    );
    (site, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[test]
fn tls_asks_for_certificates_and_reloads_its_own() {
    let (site, address) = tls_site("client-ca = \"peers.pem\"\n");
    let (authority, peers, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let own = authority.certify("qalqan.example", (2024, 2199));
    site.write("node.pem", &own.0);
    secret(&site, "node.key", &own.1);
    site.write("peers.pem", peers.pem());
    let node = site.serve();
    let ask = |line: &mut TlsLine, call_id: &str| -> Option<String> {
        let message = invite(&node, "sip:+14155550123@x", call_id).replace("/TCP", "/TLS");
        line.stream.write_all(message.as_bytes()).ok()?;
        line.answer().map(|answer| status(&answer).to_owned())
    };
    let good = peers.certify("switch.example", (2024, 2199));
    let mut first = tls(address, &authority, Some(&good));
    assert_eq!(ask(&mut first, "tls-1").as_deref(), Some("302 Moved Temporarily"));
    // Nobody without a certificate, with one of another authority's, or with one that has expired.
    assert_eq!(ask(&mut tls(address, &authority, None), "none"), None);
    let foreign = stranger.certify("switch.example", (2024, 2199));
    assert_eq!(ask(&mut tls(address, &authority, Some(&foreign)), "foreign"), None);
    node.wait_for("TLS handshakes failed: 2");
    let expired = peers.certify("switch.example", (2020, 2021));
    assert_eq!(ask(&mut tls(address, &authority, Some(&expired)), "expired"), None);
    node.wait_for("TLS handshakes failed: 3");
    wait(|| node.log().to_lowercase().contains("expired"), || node.log());

    // Another certificate by another authority, without dropping a connection.
    let successor = Authority::new();
    let next = successor.certify("qalqan.example", (2024, 2199));
    site.write("node.pem", &next.0);
    secret(&site, "node.key", &next.1);
    node.signal("-HUP");
    node.wait_for("is in force");
    assert_eq!(ask(&mut first, "tls-2").as_deref(), Some("302 Moved Temporarily"));
    assert_eq!(
        ask(&mut tls(address, &authority, Some(&good)), "old"),
        None,
        "the old authority vouches no more"
    );
    assert_eq!(
        ask(&mut tls(address, &successor, Some(&good)), "tls-3").as_deref(),
        Some("302 Moved Temporarily")
    );
    // A broken one is refused whole.
    site.write("node.pem", "no certificate");
    node.signal("-HUP");
    node.wait_for("reload refused: ");
    assert!(node.log().contains("node.pem: no certificate in PEM form"), "{}", node.log());
    assert_eq!(
        ask(&mut tls(address, &successor, Some(&good)), "tls-4").as_deref(),
        Some("302 Moved Temporarily")
    );
    assert_eq!(site.journal_len(), 4);
}

/// openssl, a peer by another hand.
#[test]
fn openssl_asks_over_tls() {
    let (site, address) = tls_site("");
    let authority = Authority::new();
    let own = authority.certify("qalqan.example", (2024, 2199));
    site.write("node.pem", &own.0);
    secret(&site, "node.key", &own.1);
    site.write("authority.pem", authority.pem());
    let node = site.serve();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut openssl = Command::new("timeout")
            .current_dir(site.directory.path())
            .args([
                "20",
                "openssl",
                "s_client",
                "-connect",
                &address.to_string(),
                "-bind",
                INTERNATIONAL,
                "-quiet",
                version,
            ])
            .args(["-CAfile", "authority.pem", "-verify_return_error", "-servername", "qalqan.example"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let message = invite(&node, "sip:+77272501234@x", version);
        openssl.stdin.as_mut().unwrap().write_all(message.as_bytes()).unwrap();
        let mut answer = [0; 1024];
        let n = openssl.stdout.as_mut().unwrap().read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        assert_eq!(status(&answer), "603 Decline", "{version}: {answer}");
        let _ = openssl.kill();
        let _ = openssl.wait();
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (site, _) = tls_site("");
    let own = Authority::new().certify("qalqan.example", (2024, 2199));
    site.write("node.pem", &own.0);
    site.write("node.key", &own.1);
    std::fs::set_permissions(site.path("node.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = site.refused(&["serve"]);
    assert!(
        error.contains("qalqan.toml:") && error.contains("others may read it (mode 0644): chmod 600"),
        "{error}"
    );
    secret(&site, "node.key", "no key");
    assert!(site.refused(&["config", "check"]).contains("node.key: no private key in PEM form"));
    let other = Authority::new().certify("qalqan.example", (2024, 2199));
    secret(&site, "node.key", &other.1);
    assert!(site.refused(&["config", "check"]).contains("does not go with its key"));
}
