//! The torture messages of RFC 4475 and RFC 5118, sent to a real node over UDP: every one gets what its RFC asks for.

#[path = "../../conformance/notation.rs"]
mod notation;
use crate::rig;

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use notation::{Case, cases};
use rig::{INTERNATIONAL, Invite, Node, Site, Switch, header, status, wait};

/// A peer on the ports that the messages name.
struct Peer {
    sockets: Vec<(u16, UdpSocket)>,
    node: SocketAddr,
    asked: std::cell::Cell<u32>,
}

impl Peer {
    fn on(ip: IpAddr, node: SocketAddr) -> Peer {
        let open = |port: u16| {
            let mut socket = None;
            let is_open = || {
                socket = UdpSocket::bind((ip, port)).ok();
                socket.is_some()
            };
            wait(is_open, || format!("{ip} port {port}"));
            (port, socket.unwrap())
        };
        Peer { sockets: [5060, 5050, 6050, 19_823].map(open).into(), node, asked: 0.into() }
    }

    /// Sends a message, then an OPTIONS. One worker answers in order, so what came before the answer to the OPTIONS is
    /// all that came: nothing has to be waited for to know that there was silence.
    fn ask(&self, message: &[u8]) -> Vec<(u16, String)> {
        let (_, socket) = &self.sockets[0];
        let call_id = format!("probe-{}", self.asked.replace(self.asked.get() + 1));
        let host = socket.local_addr().unwrap();
        socket.send_to(message, self.node).unwrap();
        let probe = format!(
            "OPTIONS sip:{} SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{call_id}\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:c@d>\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n\r\n",
            self.node
        );
        socket.send_to(probe.as_bytes(), self.node).unwrap();
        let mut answers = Vec::new();
        let receive = |socket: &UdpSocket| {
            let mut buffer = [0; 65_536];
            let n = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
        };
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        loop {
            let answer = receive(socket).expect("an answer to OPTIONS");
            if header(&answer, "Call-ID") == Some(&call_id) {
                break;
            }
            answers.push((5060, answer));
        }
        for (port, socket) in &self.sockets {
            socket.set_nonblocking(true).unwrap();
            answers.extend(std::iter::from_fn(|| receive(socket)).map(|answer| (*port, answer)));
        }
        answers
    }
}

/// A node on both IP versions, all rules in monitor mode: every call that is judged goes on.
fn serve(site: &Site, ip: &str) -> (Node, SocketAddr) {
    let port = site.port;
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let listen = if UdpSocket::bind(v6).is_ok() { format!(", \"{v6}\"") } else { String::new() };
    site.write(
        "qalqan.toml",
        format!(
            "[sip]\nlisten = [\"127.0.0.1:{port}\"{listen}]\nworkers = 1\nonward = \"192.0.2.10\"\n[rules]\nall = \"monitor\"\n\
             [trunk.peer]\nclass = \"international\"\nsource = [\"{ip}\", \"::1\"]\n"
        ),
    );
    (site.serve(), v6)
}

/// An address of this process's own, so that the usual port is free on it.
fn own_address() -> String {
    let id = std::process::id();
    format!("127.75.{}.{}", id / 200 % 200, 1 + id % 200)
}

/// Names and values of header fields, folded lines as they came.
fn fields(message: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(message).into_owned();
    let head = text.split("\r\n\r\n").next().unwrap();
    let marked = head.replace("\r\n ", "\n ").replace("\r\n\t", "\n\t");
    let lines = marked.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| {
            let name = match name.trim().to_ascii_lowercase().as_str() {
                "v" => "via".to_owned(),
                "f" => "from".to_owned(),
                "t" => "to".to_owned(),
                "i" => "call-id".to_owned(),
                other => other.to_owned(),
            };
            (name, value.trim().to_owned())
        })
        .collect()
}

/// What every answer takes from its request (RFC 3261 section 8.2.6), and what its code brings with it.
fn check_form(case: &Case, answer: &str, source: IpAddr) {
    let (asked, got) = (fields(&case.message), fields(answer.as_bytes()));
    let values = |of: &[(String, String)], wanted: &str| -> Vec<String> {
        of.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect()
    };
    let name = &case.name;
    for same in ["from", "call-id", "cseq"] {
        assert_eq!(values(&got, same), values(&asked, same), "{name}: {same} in\n{answer}");
    }
    let (asked_to, got_to) = (values(&asked, "to"), values(&got, "to"));
    assert_eq!(got_to.len(), asked_to.len(), "{name}");
    for (asked, got) in asked_to.iter().zip(&got_to) {
        assert!(got.starts_with(asked.as_str()) && got.contains("tag"), "{name}: {got}");
    }
    let (asked_via, got_via) = (values(&asked, "via"), values(&got, "via"));
    assert_eq!(got_via[1..], asked_via[1..], "{name}: the Vias below the first");
    assert!(got_via[0].contains(&format!(";received={source}")), "{name}: {}", got_via[0]);
    assert_eq!(got_via[0].matches("received").count(), 1, "{name}: {}", got_via[0]);
    let needs: &[&str] = match &status(answer)[..3] {
        "302" => &["Contact", "Qalqan-Verdict"],
        "400" => &["Warning"],
        "405" | "501" => &["Allow"],
        "420" => &["Unsupported"],
        _ => &[],
    };
    for need in needs {
        assert!(header(answer, need).is_some(), "{name}: no {need} in\n{answer}");
    }
}

/// What each message is answered: a code or `silence`, in the order of the cases.
fn answers(peer: &Peer, cases: &[Case]) -> Vec<String> {
    let source = peer.sockets[0].1.local_addr().unwrap().ip();
    let answered = cases.iter().map(|case| match &peer.ask(&case.message)[..] {
        [] => "silence".to_owned(),
        [(port, answer)] => {
            assert_eq!(*port, case.port, "{}: the port of its Via", case.name);
            check_form(case, answer, source);
            status(answer)[..3].to_owned()
        }
        more => panic!("{}: {} answers to one request", case.name, more.len()),
    });
    answered.collect()
}

#[test]
fn every_message_gets_what_its_rfc_asks_for() {
    let (site, ip, cases) = (Site::new(""), own_address(), cases());
    assert_eq!(cases.len(), 61, "49 messages of RFC 4475, 12 of RFC 5118");
    let (node, _) = serve(&site, &ip);
    let peer = Peer::on(ip.parse().unwrap(), node.address);
    let answered = answers(&peer, &cases);
    assert!(!node.log().contains("panicked"), "{}", node.log());
    let mut table = String::new();
    for (case, answer) in cases.iter().zip(&answered) {
        let Case { rfc, section, name, title, expect, kamailio, gap, .. } = case;
        let state = match (expect.contains(answer), gap) {
            (true, None) => "pass".to_owned(),
            (false, Some(why)) => format!("gap: {why}"),
            (true, Some(why)) => panic!("{name}: no gap any more, take \"gap: {why}\" out"),
            (false, None) => {
                panic!("{name} ({section}): expected {}, answered {answer}", expect.join(" or "))
            }
        };
        let number = &rfc[3..];
        let expect = expect.join(" or ");
        let link = format!("[{name}]({rfc}/{name}.txt)");
        let title = title.replace('<', "\\<");
        table += &format!(
            "| {number} {section} | {link} | {title} | {expect} | {answer} | {kamailio} | {state} |\n"
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/STATUS.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let head = "| --- | --- | --- | --- | --- | --- | --- |\n";
    let (before, _) = text.split_once(head).expect("a table");
    let wanted = format!("{before}{head}{table}");
    if std::env::var_os("UPDATE_STATUS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else if text != wanted {
        let differing: Vec<&str> =
            wanted.lines().filter(|line| !text.lines().any(|old| old == *line)).collect();
        panic!(
            "conformance/STATUS.md is not what comes back; UPDATE_STATUS=1 writes it anew:\n{}",
            differing.join("\n")
        );
    }
}

#[test]
fn the_same_over_ipv6() {
    let (site, cases) = (Site::new(""), cases());
    let (_node, v6) = serve(&site, &own_address());
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("no IPv6 here");
        return;
    }
    let peer = Peer::on(Ipv6Addr::LOCALHOST.into(), v6);
    for (case, answer) in cases.iter().zip(answers(&peer, &cases)) {
        assert!(case.expect.contains(&answer) || case.gap.is_some(), "{}: {answer}", case.name);
    }
}

/// The bytes that others made of the same pages, where they are at hand.
#[test]
fn typed_as_others_typed_it() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/sip");
    for Case { rfc, name, kamailio, message, .. } in cases() {
        let Ok(mut theirs) = std::fs::read(shared.join(&rfc).join(format!("{name}.dat"))) else { continue };
        let mut ours = message;
        if rfc == "rfc5118" {
            // Their copy has white space in one message, and ends three bodies without a line end.
            let clean = |bytes: &[u8]| {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let lines = text.trim_end().lines().filter(|line| !line.starts_with("Content-Length"));
                lines.collect::<Vec<_>>().join("\n").replace(" @", "@").replace("; tag", ";tag").into_bytes()
            };
            (ours, theirs) = (clean(&ours), clean(&theirs));
        }
        assert!(ours == theirs, "{name}: {}", String::from_utf8_lossy(&ours));
        let replies = std::fs::read_to_string(shared.join(&rfc).join("KAMAILIO_5.6.3_replies.json")).unwrap();
        let replies: serde_json::Value = serde_json::from_str(&replies).unwrap();
        let reply = replies[format!("{name}.dat")].as_str().unwrap();
        let reply = if reply == "(none)" { "silence" } else { &reply[8..11] };
        assert_eq!(kamailio, reply, "{name}");
    }
}

/// RFC 3261 section 8.2.2.3, and what the endpoint names is what it lacks.
#[test]
fn options_that_nobody_has_are_named() {
    let site = Site::new("");
    let node = site.serve();
    let peer = Switch::on(INTERNATIONAL, &node);
    let more = "Require: nothingSupportsThis,\r\n nothingSupportsThisEither\r\nRequire: 100rel\r\n";
    let invite = peer.render(&Invite { more, ..Invite::default() });
    let refused = peer.ask(invite.replace("INVITE", "OPTIONS"));
    assert_eq!(status(&refused), "420 Bad Extension");
    let named = "nothingSupportsThis, nothingSupportsThisEither, 100rel";
    assert_eq!(header(&refused, "Unsupported"), Some(named));
    // A redirect makes no dialog: the options are for whoever the call goes on to.
    assert!(header(&peer.ask(invite), "Qalqan-Verdict").is_some());
}

/// A call that can be read is judged, whatever else is wrong with its INVITE; its CANCEL is known by the same form.
#[test]
fn a_slip_costs_no_call_its_verdict() {
    let site = Site::new("");
    let node = site.serve();
    let peer = Switch::on(INTERNATIONAL, &node);
    let invite = peer.render(&Invite::default());
    let slips = [
        (
            "From: <sip:+14155550123@abroad.example>;tag=1",
            "From: Doe, John < sip:+14155550123@abroad.example >;tag=1",
        ),
        ("Max-Forwards: 70", "Max-Forwards: many"),
        ("Max-Forwards: 70", "Date: Fri, 01 Jan 2010 16:00:00 EST"),
        ("Max-Forwards: 70", "Contact: sip:a@b?Route=%3Csip:c%3E"),
    ];
    for (n, (right, wrong)) in slips.into_iter().enumerate() {
        let message = invite.replacen(right, wrong, 1).replace("call-1", &format!("slip-{n}"));
        assert!(message.contains(wrong), "{wrong}");
        let answer = peer.ask(&message);
        assert!(header(&answer, "Qalqan-Verdict").unwrap().starts_with("mark;"), "{wrong}: {answer}");
        assert_eq!(status(&peer.ask(message.replace("INVITE", "CANCEL"))), "200 OK", "{wrong}");
        if !wrong.starts_with("Date") {
            assert_eq!(status(&peer.ask(message.replace("INVITE", "OPTIONS"))), "400 Bad Request", "{wrong}");
        }
    }
}

#[test]
fn hops_used_up_are_said() {
    let site = Site::new("");
    let node = site.serve();
    let peer = Switch::on(INTERNATIONAL, &node);
    let invite = peer.render(&Invite::default()).replace("Max-Forwards: 70", "Max-Forwards: 0");
    for method in ["INVITE", "OPTIONS", "REGISTER", "BREW"] {
        assert_eq!(status(&peer.ask(invite.replace("INVITE", method))), "483 Too Many Hops", "{method}");
    }
    assert_eq!(status(&peer.ask(invite.replace("INVITE", "CANCEL"))), "481 Call/Transaction Does Not Exist");
    assert!(site.journal().is_empty());
}

/// Whatever is wrong with it: an emergency call that says where it wants to go passes.
#[test]
fn a_broken_emergency_call_passes() {
    let site = Site::new("");
    let node = site.serve();
    let peer = Switch::on(INTERNATIONAL, &node);
    let invite = peer.render(&Invite { to: "112", call_id: "sos", ..Invite::default() });
    for (right, wrong) in [
        ("Max-Forwards: 70", "Max-Forwards: 0"),
        ("To: <sip:112", "To: \"Help <sip:112"),
        ("CSeq: 1 INVITE", "CSeq: 4294967296 INVITE"),
        ("Content-Length: 0", "Content-Length: 1000"),
        (" SIP/2.0\r\nVia", ";a b SIP/2.0\r\nVia"),
        ("CSeq: 1 INVITE\r\n", "CSeq: 1 INVITE\r\nno colon\r\n"),
    ] {
        let message = invite.replacen(right, wrong, 1);
        assert!(message.contains(wrong), "{wrong}");
        let answer = peer.ask(&message);
        let verdict = header(&answer, "Qalqan-Verdict").unwrap_or_else(|| panic!("{wrong}: {answer}"));
        assert!(verdict.starts_with("allow;rule=R00"), "{wrong}: {answer}");
        // Another call with the same fault is refused.
        let other = message.replace("112", "+77011234567").replace("sos", "other");
        assert!(header(&peer.ask(other), "Qalqan-Verdict").is_none(), "{wrong}");
    }
}
