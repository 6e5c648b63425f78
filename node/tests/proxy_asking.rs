//! Proxy mode with questions: a call waits in the node while others are asked, and what follows within its dialog does not.

use std::time::Duration;

use serde_json::json;

use crate::exchange::{OF_ALPHA, OF_BETA, Operator};
use crate::rig::hop::NextHop;
use crate::rig::http::Client;
use crate::rig::{INTERNATIONAL, Invite, NATIONAL, Switch, header, status, wait};

/// alpha as a proxy before `hop`; `more` are settings of its exchange.
fn behind(alpha: &Operator, others: &[&Operator], more: &str, hop: &NextHop) {
    alpha.join(others, more);
    let text = alpha.site.read("qalqan.toml");
    let proxy = format!(
        "mode = \"proxy\"\nonward = [\"{}\"]\n[sip.proxy]\nprobe-ms = 0\nrecord-route = true\n[http]",
        hop.address()
    );
    alpha.site.write("qalqan.toml", text.replacen("[http]", &proxy, 1));
}

fn is_quiet(hop: &NextHop) -> bool {
    hop.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let is_quiet = hop.next().is_none();
    hop.0.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    is_quiet
}

/// The same request later in its dialog: another transaction, with a tag in To.
fn later(message: &str, cseq: u32, route: Option<&str>) -> String {
    let to = header(message, "To").unwrap();
    let route = route.map_or(String::new(), |route| format!("Route: {route}\r\n"));
    message
        .replace(&format!("To: {to}"), &format!("{route}To: {to};tag=far"))
        .replace("CSeq: 1 ", &format!("CSeq: {cseq} "))
        .replace("branch=z9hG4bK", &format!("branch=z9hG4bK{cseq}"))
}

#[test]
fn a_call_is_asked_about_and_its_dialog_goes_on_as_it_was_set_up() {
    let hop = NextHop::new();
    let alpha = Operator::new("alpha", "\"7701\"");
    let beta = Operator::new("beta", "\"7702\"");
    behind(&alpha, &[&beta], "", &hop);
    beta.join(&[&alpha], "ttl-s = 30\n[roaming]\nfeed-numbers = 1000");
    let (a, b) = (alpha.site.serve(), beta.site.serve());
    let locate = |number: &str, roaming: bool| {
        let update =
            json!({"number": number, "roaming": roaming, "time": jiff::Timestamp::now().to_string()});
        let head = "POST /v1/locations HTTP/1.1\r\nContent-Type: application/json";
        assert_eq!(Client::new(beta.http).ask(head, update.to_string()).status, 200);
    };
    locate(OF_BETA, true);
    locate("+77021110000", false);
    std::thread::sleep(Duration::from_secs(31));

    // A roamer: his operator is asked, the call goes on with its number, and answers come back.
    let abroad = Switch::on(INTERNATIONAL, &a);
    let roamer =
        abroad.render(&Invite { from: "sip:+77021112233@x", call_id: "roamer", ..Invite::default() });
    abroad.send(&roamer);
    let got = hop.take();
    assert!(header(&got, "Qalqan-Verdict").unwrap().contains("rule=R10"), "{got}");
    assert!(header(&got, "From").unwrap().contains("+77021112233"), "{got}");
    for answer in ["100 Trying", "200 OK"] {
        hop.answer(&a, &got, answer);
        assert_eq!(status(&abroad.answer().expect("an answer")), answer);
    }
    let route = header(&got, "Record-Route").expect("asked for").to_owned();
    // Spoofed from abroad, and on a national trunk: refused, and never seen by the next hop.
    let spoofed = Invite { from: "sip:+77021110000@x", call_id: "spoofed", ..Invite::default() };
    assert_eq!(status(&abroad.invite(&spoofed)), "603 Decline");
    let national = Switch::on(NATIONAL, &a);
    assert_eq!(status(&national.invite(&spoofed)), "603 Decline");
    // Made by beta's customer a moment ago.
    beta.screen("access", "+77021110001", OF_ALPHA);
    let call = Invite { from: "sip:+77021110001@x", call_id: "made", ..Invite::default() };
    let made = national.render(&call);
    national.send(&made);
    let got = hop.take();
    assert!(header(&got, "Qalqan-Verdict").unwrap().starts_with("allow;rule=R20"), "{got}");
    let made_route = header(&got, "Record-Route").expect("asked for").to_owned();

    // Nobody answers any more, and nobody knows of the calls: what follows within them goes on as they were set up.
    b.kill();
    std::thread::sleep(Duration::from_secs(31));
    let asked = || {
        let page = Client::new(alpha.http).get("/metrics").body;
        let lines = page.lines().filter(|line| line.starts_with("qalqan_exchange_questions_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let before = asked();
    abroad.send(later(&roamer, 2, Some(&route)));
    let got = hop.take();
    assert!(got.starts_with("INVITE ") && header(&got, "From").unwrap().contains("+77021112233"), "{got}");
    assert_eq!((header(&got, "Privacy"), header(&got, "Route")), (None, None), "{got}");
    hop.answer(&a, &got, "200 OK");
    assert_eq!(status(&abroad.answer().expect("an answer")), "200 OK");
    national.send(later(&made, 2, Some(&made_route)));
    assert!(header(&hop.take(), "From").unwrap().contains("+77021110001"));
    // From the called side, back to who called.
    let caller = abroad.socket.local_addr().unwrap();
    let back = format!(
        "INVITE sip:caller@{caller} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKback\r\nMax-Forwards: 70\r\n\
         Route: {route}\r\nFrom: <sip:+77011234567@x>;tag=far\r\nTo: <sip:+77021112233@x>;tag=1\r\n\
         Call-ID: roamer\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
        hop.address()
    );
    hop.0.send_to(back.as_bytes(), a.address).unwrap();
    assert!(abroad.answer().expect("the INVITE").starts_with("INVITE sip:caller@"));
    assert_eq!(asked(), before, "nobody is asked in the middle of a call");

    // No way around: each of these is a new call, and asked about anew.
    let other = roamer.replace("+77021112233", "+77021110000");
    let tricks = [
        ("no mark", later(&roamer, 3, None)),
        ("a made-up mark", later(&roamer, 4, Some(&route.replacen(";known=", ";known=0", 1)))),
        ("the mark of another number", later(&other, 5, Some(&route))),
        ("the mark of another dialog", later(&roamer, 6, Some(&made_route))),
        ("another Call-ID", later(&roamer.replace("Call-ID: roamer", "Call-ID: other"), 7, Some(&route))),
        ("no tag in To", later(&roamer, 8, Some(&route)).replace(";tag=far", "")),
    ];
    for (what, trick) in tricks {
        let before = asked();
        abroad.send(trick);
        let got = hop.take();
        // Where the roamer is was heard before, and is remembered; of the other one nobody knows any more.
        let (rule, privacy) = if what.contains("number") { ("R12", Some("id")) } else { ("R10", None) };
        let verdict =
            header(&got, "Qalqan-Verdict").unwrap_or_else(|| panic!("{what} was not judged: {got}"));
        assert!(verdict.contains(rule), "{what}: {got}");
        assert_eq!((header(&got, "Privacy"), asked()), (privacy, before + 1.0), "{what}");
    }
}

#[test]
fn a_withheld_number_stays_so_and_an_emergency_call_vouches_for_no_number() {
    let hop = NextHop::new();
    let alpha = Operator::new("alpha", "\"7701\"");
    let beta = Operator::new("beta", "\"7702\"");
    behind(&alpha, &[&beta], "", &hop);
    let node = alpha.site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let hidden =
        abroad.render(&Invite { from: "sip:+77021110000@x", call_id: "hidden", ..Invite::default() });
    abroad.send(&hidden);
    let route = header(&hop.take(), "Record-Route").expect("asked for").to_owned();
    assert!(route.contains(";hide"), "{route}");
    abroad.send(later(&hidden, 2, Some(&route)));
    let got = hop.take();
    assert!(!got.contains("77021110000") && header(&got, "Qalqan-Verdict").is_none(), "{got}");
    // Who takes that word out of Route is judged again.
    abroad.send(later(&hidden, 3, Some(&route.replace(";hide", ""))));
    let got = hop.take();
    assert!(!got.contains("77021110000") && header(&got, "Qalqan-Verdict").unwrap().contains("R12"), "{got}");
    // 112 passes with any number; the number is not judged by that.
    let spoofed = Invite { from: "sip:+77272501234@x", to: "112", call_id: "sos", ..Invite::default() };
    let sos = abroad.render(&spoofed);
    abroad.send(&sos);
    let route = header(&hop.take(), "Record-Route").expect("asked for").to_owned();
    let elsewhere = later(&sos, 2, Some(&route)).replace("INVITE sip:112@", "INVITE sip:+77011234567@");
    assert_eq!(status(&abroad.ask(elsewhere)), "603 Decline");
}

#[test]
fn a_call_that_waits_for_a_slow_member_is_cancelled_or_goes_on_at_its_deadline() {
    // Nobody answers there: the connection hangs.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hop = NextHop::new();
    let alpha = Operator::new("alpha", "\"7701\"");
    let mut beta = Operator::new("beta", "\"7702\"");
    beta.exchange = silent.local_addr().unwrap().port();
    behind(&alpha, &[&beta], "question-ms = 1000\ndeadline-ms = 1000", &hop);
    let node = alpha.site.serve();
    let switch = Switch::on(NATIONAL, &node);
    let render =
        |call_id: &str| switch.render(&Invite { from: "sip:+77021112233@x", call_id, ..Invite::default() });
    let cancelled = render("cancelled");
    switch.send(&cancelled);
    switch.send(cancelled.replace("INVITE", "CANCEL"));
    let mut answers = [(); 2].map(|()| switch.answer().expect("an answer"));
    answers.sort();
    assert_eq!(answers.each_ref().map(|answer| status(answer)), ["200 OK", "487 Request Terminated"]);
    let (to, of_answer) = (header(&cancelled, "To").unwrap(), header(&answers[1], "To").unwrap());
    let ack = cancelled.replace(&format!("To: {to}"), &format!("To: {of_answer}"));
    switch.send(ack.replace("INVITE", "ACK"));
    wait(|| alpha.site.journal_len() == 1, || "the verdict in the journal".to_owned());
    assert!(is_quiet(&hop), "a call that was cancelled goes nowhere");
    // The next one waits until its deadline; a repeat meanwhile is one call.
    let late = render("late");
    switch.send(&late);
    switch.send(&late);
    let got = hop.take();
    let verdict = header(&got, "Qalqan-Verdict").unwrap();
    assert!(verdict.contains("rule=R15") && verdict.contains("initiation-timeout"), "{verdict}");
    assert!(is_quiet(&hop), "one call goes on once");
    hop.answer(&node, &got, "180 Ringing");
    assert_eq!(status(&switch.answer().expect("ringing")), "180 Ringing");
    // CANCEL follows it where it went.
    switch.send(late.replace("INVITE", "CANCEL"));
    let cancel = hop.take();
    assert!(cancel.starts_with("CANCEL ") && header(&cancel, "Via") == header(&got, "Via"), "{cancel}");
    // An emergency call waits for nobody.
    let emergency = Invite { from: "sip:+77021112233@x", to: "112", call_id: "sos", ..Invite::default() };
    switch.send(switch.render(&emergency));
    assert!(header(&hop.take(), "Qalqan-Verdict").unwrap().contains("R00"));
}
