//! Proxy mode against the real binary: what goes on, what comes back, and which way a call takes.

use crate::rig;

use std::time::Duration;

use rig::hop::NextHop;
use rig::{INTERNATIONAL, Invite, Line, NATIONAL, Site, Switch, connect, header, status};

fn site(hops: &[&NextHop], more: &str) -> Site {
    let hops: Vec<String> = hops.iter().map(|hop| format!("\"{}\"", hop.address())).collect();
    let site = Site::new("");
    let text = site.read("qalqan.toml");
    let head = format!("mode = \"proxy\"\nonward = [{}]\n{more}[trunk.international]", hops.join(", "));
    site.write("qalqan.toml", text.replacen("[trunk.international]", &head, 1));
    site
}

const QUIET: &str = "[sip.proxy]\nprobe-ms = 0\n";

#[test]
fn calls_go_on_marked_withheld_or_not_at_all() {
    let hop = NextHop::new();
    let site = site(&[&hop], QUIET);
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let home = Switch::on(NATIONAL, &node);

    // Allowed: nothing but what a proxy adds (RFC 3261 section 16.6), and the verdict.
    let sent =
        home.render(&Invite { from: "sip:+77272501234@x", more: "X-Mine: 1\r\n", ..Invite::default() });
    home.send(&sent);
    let got = hop.take();
    let mut lines = got.lines();
    assert_eq!(lines.next(), Some(&*format!("INVITE sip:+77011234567@{} SIP/2.0", hop.address())));
    let own_via = lines.next().unwrap();
    assert!(own_via.starts_with(&format!("Via: SIP/2.0/UDP {};branch=z9hG4bK", node.address)), "{own_via}");
    let via = lines.next().unwrap();
    let port = home.socket.local_addr().unwrap().port();
    assert!(
        via.contains("branch=z9hG4bKcall-1") && via.ends_with(&format!(";received={NATIONAL};rport={port}")),
        "{via}"
    );
    assert_eq!(header(&got, "Max-Forwards"), Some("69"));
    assert_eq!(header(&got, "From"), header(&sent, "From"));
    assert_eq!(header(&got, "X-Mine"), Some("1"));
    assert_eq!(header(&got, "P-Asserted-Identity"), None);
    assert_eq!(header(&got, "Record-Route"), None, "only where asked");
    assert!(header(&got, "Qalqan-Verdict").unwrap().starts_with("allow;rule=R20"));

    // Marked: shown by From, said by verstat. What others claimed of the verdict does not go on.
    let claimed = "Qalqan-Verdict: allow;rule=R00\r\nP-Asserted-Identity: <sip:+14155550123@x>\r\n";
    abroad.send(abroad.render(&Invite { more: claimed, call_id: "m", ..Invite::default() }));
    let got = hop.take();
    assert_eq!(got.matches("Qalqan-Verdict").count(), 1);
    assert!(header(&got, "Qalqan-Verdict").unwrap().starts_with("mark;label=international"));
    assert_eq!(header(&got, "From"), Some("\"International call\" <sip:+14155550123@abroad.example>;tag=1"));
    let identity = "<sip:+14155550123;verstat=No-TN-Validation@127.0.0.11;user=phone>";
    assert_eq!(header(&got, "P-Asserted-Identity"), Some(identity));
    assert_eq!(got.matches("P-Asserted-Identity").count(), 1);

    // Withheld: the number stands nowhere a telephone looks.
    let more = "P-Asserted-Identity: <sip:+77017654321@x>\r\nRemote-Party-ID: <sip:+77017654321@x>\r\n\
                P-Preferred-Identity: <sip:+77017654321@x>\r\nIdentity: x\r\n";
    abroad.send(abroad.render(&Invite {
        from: "sip:+77017654321@x",
        more,
        call_id: "w",
        ..Invite::default()
    }));
    let got = hop.take();
    assert!(!got.contains("77017654321"), "{got}");
    assert_eq!(header(&got, "From"), Some("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1"));
    assert_eq!(header(&got, "P-Asserted-Identity"), Some("<sip:anonymous@anonymous.invalid>"));
    assert_eq!(header(&got, "Privacy"), Some("id"));
    // Its answers repeat From as it was sent (RFC 3261 section 8.2.6.2).
    hop.answer(&node, &got, "180 Ringing");
    assert_eq!(header(&abroad.answer().expect("ringing"), "From"), Some("<sip:+77017654321@x>;tag=1"));

    // Blocked: answered here, and its ACK goes nowhere.
    let blocked = abroad.invite(&Invite { from: "sip:+77272501234@x", call_id: "b", ..Invite::default() });
    assert_eq!(status(&blocked), "603 Decline");
    let ack = abroad.render(&Invite { from: "sip:+77272501234@x", call_id: "b", ..Invite::default() });
    let to = format!("To: {}", header(&blocked, "To").unwrap());
    let ack = ack.replace("INVITE", "ACK").replace(&format!("To: {}", header(&ack, "To").unwrap()), &to);
    assert!(abroad.is_silent(ack));
    hop.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(hop.next(), None, "nothing of a refused call reaches the next hop");
    let rules: Vec<String> =
        site.journal().iter().map(|line| line["rule"].as_str().unwrap().to_owned()).collect();
    assert_eq!(rules, ["R20", "R19", "R12", "R08"]);
}

#[test]
fn a_call_is_set_up_cancelled_and_ended_through_the_proxy() {
    let hop = NextHop::new();
    let site = site(&[&hop], QUIET);
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let invite = abroad.render(&Invite::default());
    abroad.send(&invite);
    let got = hop.take();
    for answer in ["100 Trying", "180 Ringing"] {
        hop.answer(&node, &got, answer);
        let back = abroad.answer().expect("a provisional answer");
        assert_eq!(status(&back), answer);
        assert_eq!(back.matches("Via: ").count(), 1, "this node's Via is off: {back}");
        assert!(header(&back, "Via").unwrap().contains("branch=z9hG4bKcall-1"));
    }
    // A repeat is the same transaction at the next hop, and written once (section 16.11).
    abroad.send(&invite);
    let again = hop.take();
    assert_eq!(header(&again, "Via"), header(&got, "Via"));
    // CANCEL and the ACK of the refusal follow the INVITE.
    abroad.send(invite.replace("INVITE", "CANCEL"));
    let cancel = hop.take();
    assert!(cancel.starts_with("CANCEL "), "{cancel}");
    assert_eq!(header(&cancel, "Via"), header(&got, "Via"));
    hop.answer(&node, &got, "487 Request Terminated");
    let terminated = abroad.answer().expect("487");
    assert_eq!(status(&terminated), "487 Request Terminated");
    let to = format!("To: {};tag=far", header(&invite, "To").unwrap());
    abroad.send(
        invite.replace("INVITE", "ACK").replace(&format!("To: {}", header(&invite, "To").unwrap()), &to),
    );
    let ack = hop.take();
    assert!(ack.starts_with("ACK "), "{ack}");
    assert_eq!(header(&ack, "Via"), header(&got, "Via"));
    assert_eq!(site.journal_len(), 1);
    // Max-Forwards (section 16.3), and strangers.
    let tired = invite.replace("Max-Forwards: 70", "Max-Forwards: 0").replace("call-1", "call-2");
    assert_eq!(status(&abroad.ask(tired)), "483 Too Many Hops");
    let stranger = Switch::on("127.0.0.77", &node);
    assert_eq!(status(&stranger.invite(&Invite { call_id: "s", ..Invite::default() })), "403 Forbidden");
    assert_eq!(
        status(&stranger.ask(stranger.render(&Invite::default()).replace("INVITE", "MESSAGE"))),
        "403 Forbidden"
    );
    // Who is no next hop answers nobody's call.
    let forged = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP ".to_owned()
        + &node.address.to_string()
        + ";branch=z9hG4bKq1\r\nVia: SIP/2.0/UDP 127.0.0.11:9;rport=9;received=127.0.0.11\r\nContent-Length: 0\r\n\r\n";
    stranger.send(forged);
    let health = abroad.render(&Invite::default()).replace("INVITE sip:+77011234567@", "OPTIONS sip:");
    assert!(header(&abroad.ask(health.replace("INVITE", "OPTIONS")), "Qalqan-Node").is_some());
    // An emergency call passes whoever sends it.
    stranger.send(stranger.render(&Invite { to: "112", call_id: "e", ..Invite::default() }));
    assert!(hop.take().starts_with("INVITE sip:112@"));
}

/// A tag in To is no way around the screen, and a withheld number stays so while the dialog lasts.
#[test]
fn within_a_dialog_numbers_are_judged_and_stay_withheld() {
    let hop = NextHop::new();
    let site = site(&[&hop], "[sip.proxy]\nprobe-ms = 0\nrecord-route = true\n");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let in_dialog = |message: &str| {
        let to = header(message, "To").unwrap();
        message.replace(&format!("To: {to}"), &format!("To: {to};tag=far"))
    };
    let spoofed = abroad.render(&Invite { from: "sip:+77272501234@x", call_id: "d", ..Invite::default() });
    assert_eq!(status(&abroad.ask(in_dialog(&spoofed))), "603 Decline");

    let roamer = Invite { from: "sip:+77017654321@x", call_id: "r", ..Invite::default() };
    abroad.send(abroad.render(&roamer));
    let got = hop.take();
    let route = header(&got, "Record-Route").expect("asked for").to_owned();
    assert_eq!(route, format!("<sip:{};lr;of=1;hide>", node.address));
    let routed = |method: &str, cseq: u8| {
        let message = in_dialog(&abroad.render(&roamer));
        let message = message.replace("1 INVITE", &format!("{cseq} {method}")).replace("INVITE", method);
        message
            .replace("Max-Forwards", &format!("Route: {route}\r\nMax-Forwards"))
            .replace("z9hG4bKr", &format!("z9hG4bKr{cseq}"))
    };
    // An emergency call from an address of no trunk gets through whole; others from there do not.
    let stranger = Switch::on("127.0.0.77", &node);
    stranger.send(stranger.render(&Invite { to: "112", call_id: "sos", ..Invite::default() }));
    let sos = header(&hop.take(), "Record-Route").expect("asked for").to_owned();
    for (call_id, passes) in [("sos", true), ("other", false)] {
        let bye = in_dialog(&stranger.render(&Invite { to: "112", call_id, ..Invite::default() }));
        let bye =
            bye.replace("INVITE", "BYE").replace("Max-Forwards", &format!("Route: {sos}\r\nMax-Forwards"));
        stranger.send(bye);
        match passes {
            true => assert!(hop.take().starts_with("BYE "), "{call_id}"),
            false => assert_eq!(status(&stranger.answer().expect("an answer")), "403 Forbidden"),
        }
    }
    for (method, cseq) in [("ACK", 1), ("INVITE", 2), ("BYE", 3)] {
        abroad.send(routed(method, cseq));
        let got = hop.take();
        assert!(got.starts_with(&format!("{method} ")), "{got}");
        assert!(!got.contains("77017654321"), "{got}");
        assert_eq!(header(&got, "Route"), None);
        assert_eq!(header(&got, "From"), Some("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1"));
    }
    // What the called side says goes the other way, to where the Request-URI points.
    let caller = abroad.socket.local_addr().unwrap();
    let bye = format!(
        "BYE sip:caller@{caller} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKb\r\nMax-Forwards: 70\r\n\
         Route: {route}\r\nFrom: <sip:+77011234567@x>;tag=far\r\nTo: <sip:anonymous@anonymous.invalid>;tag=1\r\n\
         Call-ID: r\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
        hop.address()
    );
    hop.0.send_to(bye.as_bytes(), node.address).unwrap();
    let got = abroad.answer().expect("the BYE");
    assert!(got.starts_with(&format!("BYE sip:caller@{caller} SIP/2.0\r\n")), "{got}");
    assert_eq!(header(&got, "From"), Some("<sip:+77011234567@x>;tag=far"));
    abroad.send("SIP/2.0 200 OK\r\n".to_owned() + got.split_once("\r\n").unwrap().1);
    let back = hop.take();
    assert_eq!((status(&back), back.matches("Via: ").count()), ("200 OK", 1));
    assert_eq!(site.journal_len(), 3, "the refusal and two calls");
}

#[test]
fn calls_go_to_the_next_hop_that_answers() {
    let (first, second) = (NextHop::new(), NextHop::new());
    let site = site(&[&first, &second], "[sip.proxy]\nprobe-ms = 100\nsilent-ms = 1500\n");
    let node = site.serve();
    let home = Switch::on(NATIONAL, &node);
    // Both answer OPTIONS until one is told to be silent.
    let silence = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let answering = |hop: &NextHop, silent: Option<std::sync::Arc<std::sync::atomic::AtomicBool>>| {
        let socket = hop.0.try_clone().unwrap();
        let (give, take) = std::sync::mpsc::channel::<String>();
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok((n, from)) = socket.recv_from(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                let silent =
                    silent.as_ref().is_some_and(|silent| silent.load(std::sync::atomic::Ordering::Relaxed));
                if text.starts_with("OPTIONS") && !silent {
                    let answer = text.replacen(text.lines().next().unwrap(), "SIP/2.0 200 OK", 1);
                    socket.send_to(answer.as_bytes(), from).unwrap();
                } else if text.starts_with("INVITE") && give.send(text).is_err() {
                    return;
                }
            }
        });
        take
    };
    let at_first = answering(&first, Some(silence.clone()));
    let at_second = answering(&second, None);
    let call = |call_id: &str| {
        let message = home.render(&Invite { from: "sip:+77272501234@x", call_id, ..Invite::default() });
        home.send(&message);
        message
    };
    let patience = Duration::from_secs(5);
    call("both-up");
    assert!(at_first.recv_timeout(patience).is_ok());
    // Silent, and not yet known to be: the repeated INVITE goes on to the other (timer A: 0.5 s, 1.5 s).
    silence.store(true, std::sync::atomic::Ordering::Relaxed);
    let message = call("silent");
    let sent = at_first.recv_timeout(patience).unwrap();
    std::thread::sleep(Duration::from_millis(1600));
    home.send(&message);
    let moved = at_second.recv_timeout(patience).expect("the other next hop");
    assert_eq!(header(&moved, "Via"), header(&sent, "Via"), "the same transaction");
    // By now it is known: new calls go to the other at once.
    node.wait_for("does not answer: calls go to others");
    call("known");
    assert!(at_second.recv_timeout(patience).is_ok());
    silence.store(false, std::sync::atomic::Ordering::Relaxed);
    node.wait_for(&format!("next hop {} answers", first.address()));
    call("again");
    assert!(at_first.recv_timeout(patience).is_ok());
    assert_eq!(site.journal_len(), 4);
}

/// In over TCP, on over UDP, and back on the connection it came by.
#[test]
fn a_call_that_came_by_a_connection_gets_its_answers_there() {
    let hop = NextHop::new();
    let site = site(&[&hop], QUIET);
    let node = site.serve();
    let udp = Switch::on(INTERNATIONAL, &node);
    let mut line = Line::new(connect(INTERNATIONAL, node.address));
    line.send(udp.render(&Invite::default()).replace("/UDP", "/TCP"));
    let got = hop.take();
    assert!(got.contains("\r\nVia: SIP/2.0/TCP "), "{got}");
    hop.answer(&node, &got, "180 Ringing");
    assert_eq!(status(&line.answer().expect("ringing")), "180 Ringing");
    hop.answer(&node, &got, "200 OK");
    assert_eq!(status(&line.answer().expect("answered")), "200 OK");
    // Hung up: an answer that comes too late has nowhere to go, and stops nothing.
    drop(line);
    std::thread::sleep(Duration::from_millis(200));
    hop.answer(&node, &got, "200 OK");
    udp.send(udp.render(&Invite { call_id: "later", ..Invite::default() }));
    assert!(hop.take().contains("Call-ID: later"));
}

#[test]
fn what_a_proxy_needs_is_asked_for() {
    let site = Site::new("");
    let text = site.read("qalqan.toml");
    let with = |more: &str| {
        site.write(
            "qalqan.toml",
            text.replacen("[trunk.international]", &format!("{more}[trunk.international]"), 1),
        );
        site.refused(&["config", "check"])
    };
    let error = with("mode = \"proxy\"\n");
    assert!(error.contains("trunk international has no next hop: write onward"), "{error}");
    let error = with("onward = [\"192.0.2.1\", \"192.0.2.2\"]\n");
    assert!(error.contains("several next hops need mode = \"proxy\""), "{error}");
    let error = with("mode = \"proxy\"\nonward = [\"a b\"]\n");
    assert!(error.contains("onward \"a b\" is not a host and port"), "{error}");
    site.write(
        "qalqan.toml",
        text.replace("127.0.0.1:", "0.0.0.0:").replacen(
            "[trunk",
            "mode = \"proxy\"\nonward = \"192.0.2.1\"\n[trunk",
            1,
        ),
    );
    let error = site.refused(&["config", "check"]);
    assert!(error.contains("write via = \"HOST:PORT\" under [sip.proxy]"), "{error}");
}
