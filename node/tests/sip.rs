//! SIP over UDP against the real binary: what each request is answered, and that nothing stops a node.

use crate::rig;

use std::time::Duration;

use rig::{ACCESS, INTERNATIONAL, Invite, NATIONAL, Site, Switch, header, status, wait};

#[test]
fn every_verdict_has_its_answer() {
    let site = Site::new("onward = \"192.0.2.10:5080\"");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);

    let marked = abroad.invite(&Invite::default());
    assert_eq!(status(&marked), "302 Moved Temporarily");
    assert_eq!(header(&marked, "Contact"), Some("<sip:+77011234567@192.0.2.10:5080>"));
    let verdict = "mark;label=international;rule=R19;name=international;reason=from-abroad";
    assert_eq!(header(&marked, "Qalqan-Verdict"), Some(verdict));
    let identity = "<sip:+14155550123;verstat=No-TN-Validation@127.0.0.11;user=phone>";
    assert_eq!(header(&marked, "P-Asserted-Identity"), Some(identity));
    assert_eq!(header(&marked, "Privacy"), None);

    let blocked = abroad.invite(&Invite { from: "sip:+77272501234@x", call_id: "b", ..Invite::default() });
    assert_eq!(status(&blocked), "603 Decline");
    assert!(header(&blocked, "Qalqan-Verdict").unwrap().starts_with("block;rule=R08;name=fixed-from-abroad"));
    assert!(header(&blocked, "Reason").unwrap().starts_with("Q.850;cause=21;text=\""));
    assert_eq!(header(&blocked, "Contact"), None);

    let withheld = abroad.invite(&Invite { from: "sip:+77011234567@x", call_id: "w", ..Invite::default() });
    assert_eq!(status(&withheld), "302 Moved Temporarily");
    assert_eq!(header(&withheld, "Privacy"), Some("id"));
    assert_eq!(header(&withheld, "P-Asserted-Identity"), Some("<sip:anonymous@anonymous.invalid>"));

    let home = Switch::on(NATIONAL, &node);
    let allowed = home.invite(&Invite { from: "sip:7272501234@x", ..Invite::default() });
    assert_eq!(status(&allowed), "302 Moved Temporarily");
    assert_eq!(header(&allowed, "P-Asserted-Identity"), None, "an allowed call is unchanged");
    assert!(header(&allowed, "Qalqan-Verdict").unwrap().starts_with("allow;rule=R20"));
    assert_eq!(header(&allowed, "Call-ID"), Some("call-1"));
    assert_eq!(header(&allowed, "CSeq"), Some("1 INVITE"));
}

#[test]
fn answers_follow_the_configuration() {
    let site = Site::new(
        "allow = \"503\"\nblock = \"603+\"\nredress = \"https://example.kz/why\"\n\
         [sip.answers]\nR02 = \"433\"\nR03 = \"608\"\nR04 = \"607\"\nR05 = \"404\"",
    );
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let answer = |from: &str, call_id: &str| abroad.invite(&Invite { from, call_id, ..Invite::default() });

    let allowed = answer("sip:+14155550123@x", "1");
    assert_eq!(status(&allowed), "503 Service Unavailable");
    assert!(
        header(&allowed, "Qalqan-Verdict").unwrap().starts_with("mark;"),
        "503 with a verdict is no dead node"
    );
    assert_eq!(header(&allowed, "Contact"), None);

    let blocked = answer("sip:+77272501234@x", "2");
    assert_eq!(status(&blocked), "603 Network Blocked");
    let reason = header(&blocked, "Reason").unwrap();
    assert!(reason == "Q.850;cause=21;text=\"v=analytics1;url=https://example.kz/why\"", "{reason}");
    assert_eq!(status(&answer("sip:anonymous@anonymous.invalid", "3")), "433 Anonymity Disallowed");
    let malformed = answer("sip:+78301234567@x", "4");
    assert_eq!(status(&malformed), "608 Rejected");
    assert!(header(&malformed, "Reason").unwrap().contains("cause=28"));
    assert_eq!(status(&answer("sip:102@x", "5")), "607 Unwanted");
    let unallocated = answer("sip:+77031234567@x", "6");
    assert_eq!(status(&unallocated), "404 Not Found");
    assert!(header(&unallocated, "Reason").unwrap().contains("cause=1;"));
}

#[test]
fn marks_can_stand_in_the_contact() {
    let site = Site::new("marks = \"contact\"\nonward = \"192.0.2.10\"");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let withheld = abroad.invite(&Invite { from: "sip:+77011234567@x", ..Invite::default() });
    assert_eq!(
        header(&withheld, "Contact"),
        Some(
            "<sip:+77011234567@192.0.2.10?P-Asserted-Identity=%3Csip%3Aanonymous%40anonymous.invalid%3E&Privacy=id>"
        )
    );
    assert_eq!(header(&withheld, "Privacy"), None);
    assert_eq!(header(&withheld, "P-Asserted-Identity"), None);
}

#[test]
fn numbers_are_found_where_switches_put_them() {
    let site = Site::new("");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let mut n = 0;
    let mut verdict = |from: &str, to: &str, more: &str| -> String {
        n += 1;
        let answer = abroad.invite(&Invite { from, to, more, call_id: &format!("n{n}") });
        let verdict = header(&answer, "Qalqan-Verdict").unwrap_or_else(|| panic!("{answer}"));
        verdict
            .split(';')
            .filter(|part| !part.starts_with("name") && !part.starts_with("label"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let foreign = "sip:+14155550123@x";
    let fixed = "block rule=R08 reason=fixed-from-abroad";
    let fine = "mark rule=R19 reason=from-abroad";
    let to = "+77011234567";
    // P-Asserted-Identity before From; both are judged.
    assert_eq!(verdict(foreign, to, "P-Asserted-Identity: <sip:+77272501234@x>\r\n"), fixed);
    assert_eq!(verdict("sip:+77272501234@x", to, "P-Asserted-Identity: <sip:+14155550123@x>\r\n"), fixed);
    assert_eq!(verdict("sip:alice@x", to, "P-Asserted-Identity: <sip:+14155550123@x>\r\n"), fine);
    assert_eq!(verdict(foreign, to, "P-Asserted-Identity: <sip:alice@x>\r\n"), fine, "a name is no number");
    // Two values: a name and a number; sip and tel.
    assert_eq!(
        verdict(foreign, to, "P-Asserted-Identity: \"B, C\" <sip:bank@x>, <tel:+7-727-250-12-34>\r\n"),
        fixed
    );
    assert_eq!(
        verdict(
            foreign,
            to,
            "P-Asserted-Identity: <sip:bank@x>\r\nP-Asserted-Identity: <tel:+77272501234>\r\n"
        ),
        fixed
    );
    // Other forms of one number.
    assert_eq!(verdict("tel:+77272501234", to, ""), fixed);
    assert_eq!(verdict("tel:2501234;phone-context=+7727", to, ""), fixed);
    assert_eq!(verdict("sip:%2B77272501234@x;user=phone", to, ""), fixed);
    assert_eq!(verdict("sip:7272501234@x", to, ""), fixed);
    assert_eq!(verdict("sip:+77272501234:secret@x", to, ""), fixed);
    assert_eq!(verdict("sip:+1415@x", to, ""), "block rule=R03 reason=too-short");
    assert_eq!(verdict("sip:alice@x", to, ""), "block rule=R03 reason=not-a-number");
    // No number at all, and a hidden one.
    assert_eq!(
        verdict("sip:anonymous@anonymous.invalid", to, ""),
        "block rule=R02 reason=no-number-from-abroad"
    );
    assert_eq!(
        verdict(
            "sip:anonymous@anonymous.invalid",
            to,
            "P-Asserted-Identity: <sip:+14155550123@x>\r\nPrivacy: id\r\n"
        ),
        fine
    );
    // Diverted by a foreign number.
    let diverted = "withhold rule=R07 reason=diverted-abroad";
    assert_eq!(
        verdict("sip:+77272501234@x", to, "Diversion: <sip:+14155550199@x>;reason=no-answer\r\n"),
        diverted
    );
    let history = "History-Info: <sip:+14155550199@x>;index=1, <sip:+77011234567@x;cause=302>;index=1.1\r\n";
    assert_eq!(verdict("sip:+77272501234@x", to, history), diverted);
    assert_eq!(
        verdict("sip:+77272501234@x", to, "Diversion: <sip:+77015550199@x>\r\n"),
        fixed,
        "a home number diverted"
    );
    // Emergency, by number and by service, whoever calls.
    let emergency = "allow rule=R00 reason=emergency-number";
    assert_eq!(verdict("sip:anonymous@anonymous.invalid", "112", ""), emergency);
    let message = abroad.render(&Invite { from: "sip:x@y", call_id: "sos", ..Invite::default() });
    let message =
        message.replacen(&format!("sip:+77011234567@{}", node.address), "urn:service:sos.ambulance", 1);
    let answer = abroad.ask(message);
    assert!(header(&answer, "Qalqan-Verdict").unwrap().contains("R00"), "{answer}");
    assert_eq!(header(&answer, "Contact"), Some("<urn:service:sos.ambulance>"));
}

#[test]
fn compact_and_folded_headers_read_the_same() {
    let site = Site::new("");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let host = abroad.socket.local_addr().unwrap();
    let answer = abroad.ask(format!(
        "INVITE sip:+77011234567@{} SIP/2.0\r\nv: SIP/2.0/UDP {host};rport\r\n ;branch=z9hG4bKc\r\nf: \"Bank\"\r\n\t<sip:+77272501234@x>;tag=1\r\n\
         t: <sip:+77011234567@x>\r\ni: compact\r\nCSEQ: 7   INVITE\r\nl: 0\r\n\r\n",
        node.address
    ));
    assert_eq!(status(&answer), "603 Decline");
    assert!(header(&answer, "Qalqan-Verdict").unwrap().contains("R08"));
}

#[test]
fn other_requests_get_what_their_rfc_asks_for() {
    let site = Site::new("");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let invite = abroad.render(&Invite { call_id: "m", ..Invite::default() });
    let as_method = |method: &str| invite.replace("INVITE", method);

    let health = abroad.ask(as_method("OPTIONS"));
    assert_eq!(status(&health), "200 OK");
    assert_eq!(header(&health, "Qalqan-Node"), Some("ready;journal=ok"));
    assert!(header(&health, "Allow").unwrap().contains("INVITE"));
    assert_eq!(status(&abroad.ask(as_method("CANCEL"))), "481 Call/Transaction Does Not Exist");
    let first = abroad.ask(&invite);
    assert_eq!(status(&abroad.ask(as_method("CANCEL"))), "200 OK");
    assert!(abroad.is_silent(as_method("ACK")), "ACK is absorbed");
    let refused = abroad.ask(as_method("REGISTER"));
    assert_eq!(status(&refused), "405 Method Not Allowed");
    assert!(header(&refused, "Allow").is_some());
    assert_eq!(status(&abroad.ask(as_method("BREW"))), "501 Not Implemented");
    assert_eq!(
        status(&abroad.ask(invite.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"))),
        "505 Version Not Supported"
    );
    assert_eq!(
        status(&abroad.ask(invite.replace("INVITE sip:", "INVITE http:"))),
        "416 Unsupported URI Scheme"
    );
    assert_eq!(status(&abroad.ask(invite.replace("CSeq: 1", "CSeq: x"))), "400 Bad Request");
    assert_eq!(
        status(&abroad.ask(invite.replace("Content-Length: 0", "Content-Length: 99"))),
        "400 Bad Request"
    );
    let in_dialog = invite.replace("Call-ID", "X: y\r\nCall-ID").replacen(
        &format!("@{}>\r\nX", node.address),
        &format!("@{}>;tag=9\r\nX", node.address),
        1,
    );
    assert_eq!(status(&abroad.ask(in_dialog)), "481 Call/Transaction Does Not Exist");
    assert_eq!(header(&first, "To").unwrap().matches(";tag=").count(), 1);
}

#[test]
fn a_retransmission_gets_the_same_answer_and_is_written_once() {
    let site = Site::new("");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let first = abroad.invite(&Invite::default());
    for _ in 0..3 {
        assert_eq!(abroad.invite(&Invite::default()), first);
    }
    abroad.invite(&Invite { call_id: "another", ..Invite::default() });
    assert_eq!(site.journal().len(), 2);
}

#[test]
fn an_unknown_source_is_refused_or_met_with_silence() {
    let site = Site::new("");
    let node = site.serve();
    let stranger = Switch::on("127.0.0.99", &node);
    assert_eq!(status(&stranger.invite(&Invite::default())), "403 Forbidden");
    drop(node);
    site.configure("unknown-source = \"silent\"");
    let node = site.serve();
    let stranger = Switch::on("127.0.0.99", &node);
    assert!(stranger.is_silent(stranger.render(&Invite::default())));
    assert!(site.journal().is_empty());
    // An emergency call passes whoever sends it.
    let emergency = stranger.invite(&Invite { to: "112", call_id: "sos", ..Invite::default() });
    assert_eq!(status(&emergency), "302 Moved Temporarily");
    assert!(header(&emergency, "Qalqan-Verdict").unwrap().starts_with("allow;rule=R00"));
    assert_eq!(stranger.invite(&Invite { to: "112", call_id: "sos", ..Invite::default() }), emergency);
    let journal = site.journal();
    assert_eq!((journal.len(), &journal[0]["trunk"]), (1, &"unknown-source".into()));
}

#[test]
fn garbage_never_stops_a_node() {
    let site = Site::new("");
    let mut node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let invite = abroad.render(&Invite::default()).into_bytes();
    // The largest datagrams there are: bytes of one kind, and an INVITE with a header field of 64 KB.
    abroad.send(vec![b'A'; 65_507]);
    abroad.send(vec![0; 65_507]);
    let long = abroad.render(&Invite {
        call_id: "long",
        more: &format!("X: {}\r\n", "y".repeat(64_000)),
        ..Invite::default()
    });
    assert_eq!(status(&abroad.ask(long)), "302 Moved Temporarily");
    // Random bytes, and an INVITE cut, repeated and with bytes changed at random; the seed is fixed.
    let mut state = 0x9e37_79b9_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..4000 {
        let mut message = invite.clone();
        match round % 4 {
            0 => message = (0..random(600)).map(|_| random(256) as u8).collect(),
            1 => message.truncate(random(invite.len())),
            2 => {
                for _ in 0..1 + random(8) {
                    let at = random(message.len());
                    message[at] = random(256) as u8;
                }
            }
            _ => {
                let at = random(message.len());
                let piece = message[at..].to_vec();
                message.extend_from_slice(&piece);
            }
        }
        abroad.send(&message);
        if round % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // Drain what came back, then ask something sane.
    abroad.socket.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    while abroad.answer().is_some() {}
    let sane = Switch::on(ACCESS, &node);
    let answer = sane.invite(&Invite { from: "sip:+77272501234@x", call_id: "after", ..Invite::default() });
    assert!(header(&answer, "Qalqan-Verdict").unwrap().starts_with("allow"), "{answer}");
    assert!(node.is_running());
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn sighup_swaps_lists_and_a_broken_file_changes_nothing() {
    let site = Site::new("[lists]\nblock = \"block.csv\"");
    site.write("block.csv", "number,owner,expires,note\n");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let verdict = |call_id: &str| {
        let answer = abroad.invite(&Invite { call_id, ..Invite::default() });
        header(&answer, "Qalqan-Verdict").unwrap().split(';').next().unwrap().to_owned()
    };
    assert_eq!(verdict("1"), "mark");
    site.write("block.csv", "number,owner,expires,note\n+14155550123,us,,caught\n");
    node.signal("-HUP");
    node.wait_for("is in force");
    assert_eq!(verdict("2"), "block");
    site.write("block.csv", "number,owner,expires,note\n+14155550999,us,,\nnonsense,us,,\n");
    node.signal("-HUP");
    node.wait_for("reload refused");
    assert!(node.log().contains("block.csv:3: \"nonsense\""), "{}", node.log());
    assert_eq!(verdict("3"), "block");
    // Calls of before and after stand on different versions, both kept.
    let bases: Vec<String> =
        site.journal().iter().map(|line| line["basis"].as_str().unwrap().to_owned()).collect();
    assert_ne!(bases[0], bases[1]);
    assert_eq!(bases[1], bases[2]);
    for basis in &bases {
        let text = site.read(&format!("journal/basis-{basis}.json"));
        assert!(text.contains("\"block\":"), "{text}");
    }
}

#[test]
fn no_call_is_dropped_while_lists_are_swapped() {
    let site = Site::new("[lists]\nblock = \"block.csv\"");
    let list: String = (0..200_000).map(|n| format!("+1415555{n:07},us,,\n")).collect();
    site.write("block.csv", format!("number,owner,expires,note\n{list}"));
    let node = site.serve();
    let home = Switch::on(NATIONAL, &node);
    for round in 0..600 {
        if round % 150 == 0 {
            node.signal("-HUP");
        }
        let call_id = format!("s{round}");
        let answer =
            home.invite(&Invite { from: "sip:+77272501234@x", call_id: &call_id, ..Invite::default() });
        assert_eq!(status(&answer), "302 Moved Temporarily");
        std::thread::sleep(Duration::from_millis(1));
    }
    wait(|| node.log().matches("is in force").count() >= 1, || node.log());
}

/// What a caller writes into its Request-URI never leaves the brackets of the Contact.
#[test]
fn a_request_uri_cannot_add_a_contact() {
    let site = Site::new("onward = \"192.0.2.10\"");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let plain = format!("sip:+77011234567@{}", node.address);
    for uri in ["urn:service:sos.x>,<sip:+88@203.0.113.66", "tel:+77012345678;x=@evil.example"] {
        let message =
            abroad.render(&Invite { call_id: &uri[..5], ..Invite::default() }).replacen(&plain, uri, 1);
        let answer = abroad.ask(message);
        let contact = header(&answer, "Contact").unwrap_or("");
        assert!(contact.matches('<').count() <= 1 && contact.matches('@').count() <= 1, "{contact}");
    }
}

/// Another call under the names of one before it is judged by itself.
#[test]
fn a_verdict_is_reused_for_the_same_call_only() {
    let site = Site::new("");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    abroad.invite(&Invite::default());
    let spoofed =
        abroad.invite(&Invite { more: "P-Asserted-Identity: <sip:+77272501234@x>\r\n", ..Invite::default() });
    assert_eq!(status(&spoofed), "603 Decline");
}

/// Workers share the address; the kernel spreads switches over them by their addresses and ports.
#[test]
fn several_workers_share_the_calls_and_the_journal() {
    let site = Site::new("");
    site.write("qalqan.toml", site.read("qalqan.toml").replace("workers = 1", "workers = 3"));
    let node = site.serve();
    let switches: Vec<Switch> = (0..24).map(|_| Switch::on(INTERNATIONAL, &node)).collect();
    for (n, switch) in switches.iter().enumerate() {
        for round in 0..5 {
            let call_id = format!("w{n}-{round}");
            let first = switch.invite(&Invite { call_id: &call_id, ..Invite::default() });
            assert_eq!(switch.invite(&Invite { call_id: &call_id, ..Invite::default() }), first);
        }
    }
    let calls: std::collections::HashSet<String> =
        site.journal().iter().map(|line| line["call_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((calls.len(), site.journal_len()), (120, 120));
    let threads = std::fs::read_dir(format!("/proc/{}/task", node.child.id())).unwrap();
    let names = threads.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    assert_eq!(names.filter(|name| name.starts_with("sip-")).count(), 3);
}

#[test]
fn a_taken_port_is_said_in_a_line() {
    let site = Site::new("");
    let _node = site.serve();
    let other = Site::new("");
    other.write("qalqan.toml", site.read("qalqan.toml"));
    let error = other.refused(&["serve"]);
    assert!(error.contains("listening on 127.0.0.1:") && error.contains("in use"), "{error}");
}
