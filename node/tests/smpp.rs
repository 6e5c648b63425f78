//! Texts over SMPP to an SMSC by another hand: parts, receipts in any order, throttling, links that drop in mid-submit, and
//! a node that is killed there.

use crate::rig;

use std::process::Command;

use rig::http::Client;
use rig::loans::{Gate, iin, loan};
use rig::postgres::{Postgres, on_each_store};
use rig::smsc::{Smsc, Submitted};
use rig::wait;
use serde_json::{Value, json};

pub fn table(port: u64, more: &str) -> String {
    format!(
        "[loans.smpp]\naddress = \"127.0.0.1:{port}\"\ncredentials = \"smpp.toml\"\nsource = \"Qalqan\"\nenquire-link-s = 1\n{more}"
    )
}

pub fn gate(postgres: Option<Postgres>, smsc: &Smsc, more: &str) -> Gate {
    let gate = Gate::sending(postgres, "", "", &table(smsc.port, more));
    assert_eq!(smsc.next("bind_transceiver")["known"], true);
    gate
}

/// Asks for a code.
#[track_caller]
pub fn ask(gate: &Gate, id: &str) {
    let answer = gate.bank(&format!("POST /v1/loans/{id}/code"), "", Value::Null);
    assert_eq!(answer.status, 202, "{answer:?}");
}

pub fn code(text: &str) -> String {
    let digits = |word: &&str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit());
    text.split(|c: char| !c.is_ascii_digit()).rfind(digits).expect("a code").to_owned()
}

/// States of the newest text's parts, once they are so.
#[track_caller]
pub fn wait_for_texts(gate: &Gate, expected: &[&str]) {
    let mut seen = String::new();
    let mut look = || {
        seen = gate.site.ok(&["loan", "texts"]);
        let states: Vec<&str> = seen.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap()).collect();
        states == expected
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !look() {
        assert!(
            std::time::Instant::now() < end,
            "waited for {expected:?}:\n{}",
            gate.site.ok(&["loan", "texts"])
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

pub fn metric(gate: &Gate, name: &str) -> f64 {
    Client::new(gate.address).metric(name)
}

/// A ban, so that each loan asked for sends a warning to this phone.
fn banned(gate: &Gate, n: u32, phone: &str) -> String {
    let iin = iin(n);
    assert_eq!(gate.portal("POST /v1/bans/set", json!({"iin": iin, "phone": phone})).status, 200);
    iin
}

#[test]
fn a_code_comes_in_parts_and_its_receipts_in_any_order() {
    on_each_store(|postgres| {
        let mut smsc = Smsc::start(&[]);
        // Ids in hex in the answers, in decimal in the receipts, as many SMSCs have them.
        smsc.tell(json!({"ids": "hex"}));
        let mut gate = gate(postgres, &smsc, "system-type = \"loans\"\n");
        let (phone, digits) = ("+77011234567", "77011234567");
        let id = gate.open("one", loan(&iin(100), phone, "900000.00"));
        ask(&gate, &id);
        let (parts, text) = smsc.text();
        assert!(parts.len() > 1 && text.contains("Банк Один") && text.contains("KZT"), "{text}");
        let reference = parts[0].message[3];
        for (n, part) in parts.iter().enumerate() {
            assert_eq!(part.source, (5, 0, "Qalqan".to_owned()));
            assert_eq!(part.destination, (1, 1, digits.to_owned()));
            assert_eq!((part.esm_class, part.data_coding, part.registered_delivery), (0x40, 8, 1));
            assert_eq!((part.place(), part.message[3]), ((parts.len(), n + 1), reference));
            assert!(part.message.len() <= 140);
            // Three minutes at most, as the code counts.
            assert!(
                matches!(
                    part.validity.as_str(),
                    "000000000300000R" | "000000000259000R" | "000000000258000R"
                ),
                "{}",
                part.validity
            );
        }
        tshark_agrees(&gate, &parts);
        let submitted = vec!["submitted"; parts.len()].join(", ");
        wait_for_texts(&gate, &[&submitted]);
        for n in (0..parts.len()).rev() {
            let form = if n % 2 == 0 { "tlv" } else { "text" };
            smsc.tell(json!({"receipt": n, "stat": "DELIVRD", "form": form}));
            assert_eq!(smsc.next("deliver_sm_resp")["status"], 0);
        }
        let delivered = vec!["delivered"; parts.len()].join(", ");
        wait_for_texts(&gate, &[&delivered]);
        // The same once more, and one that comes late, change nothing; both are answered.
        for stat in ["DELIVRD", "ENROUTE"] {
            smsc.tell(json!({"receipt": 0, "stat": stat}));
            assert_eq!(smsc.next("deliver_sm_resp")["status"], 0);
        }
        wait_for_texts(&gate, &[&delivered]);
        assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "cooling");
        assert_eq!(metric(&gate, "qalqan_smpp_bound"), 1.0);
        assert_eq!(
            metric(&gate, "qalqan_smpp_receipts_total{state=\"delivered\"}"),
            parts.len() as f64 + 1.0
        );
        assert_eq!(metric(&gate, "qalqan_loans_sms_sent_total"), 1.0);
        // The link is kept alive from both ends.
        smsc.next("enquire_link");
        smsc.tell(json!({"enquire": true}));
        smsc.next("enquire_link_resp");
        let seen = gate.site.ok(&["loan", "texts"]);
        assert!(!seen.contains(digits), "{seen}");

        // Receipts before the answers to their submits, the ids spelled the other way round; then the node stops.
        smsc.tell(json!({"ids": "decimal", "early": true}));
        let id = gate.open("two", loan(&iin(120), phone, "1000.00"));
        ask(&gate, &id);
        let (parts, _) = smsc.text();
        let early = vec!["delivered"; parts.len()].join(", ");
        wait_for_texts(&gate, &[&delivered, &early]);
        gate.node.as_ref().unwrap().signal("-TERM");
        smsc.next("unbind");
        gate.node.take();
    });
}

/// By another hand: Wireshark's dissector reads what a part says.
fn tshark_agrees(gate: &Gate, parts: &[Submitted]) {
    let lines: String = parts
        .iter()
        .map(|part| {
            let bytes: Vec<&str> = (0..part.raw.len()).step_by(2).map(|at| &part.raw[at..at + 2]).collect();
            format!("000000 {}\n", bytes.join(" "))
        })
        .collect();
    gate.site.write("parts.txt", lines);
    let run = |name: &str, arguments: &[&str]| {
        let output =
            Command::new(name).current_dir(gate.site.directory.path()).args(arguments).output().expect(name);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run("text2pcap", &["-q", "-T", "1000,2775", "parts.txt", "parts.pcap"]);
    let fields = [
        "smpp.destination_addr",
        "smpp.data_coding",
        "gsm_sms.udh.mm.msg_parts",
        "gsm_sms.udh.mm.msg_part",
        "_ws.malformed",
    ];
    let mut arguments = vec!["-r", "parts.pcap", "-d", "tcp.port==2775,smpp", "-T", "fields"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let said = run("tshark", &arguments);
    for (n, line) in said.lines().enumerate() {
        let found: Vec<&str> = line.split('\t').collect();
        let (total, place) = (parts.len().to_string(), (n + 1).to_string());
        assert_eq!(found[0], parts[n].destination.2, "{said}");
        assert!(matches!(found[1], "0x08" | "8"), "{said}");
        assert_eq!((found[2], found[3], found[4]), (total.as_str(), place.as_str(), ""), "{said}");
    }
    assert_eq!(said.lines().count(), parts.len(), "{said}");
}

#[test]
fn an_smsc_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let mut smsc = Smsc::start(&[]);
    let gate = gate(None, &smsc, "long-texts = \"payload\"\n");
    let iin = banned(&gate, 200, "+77015550001");
    smsc.tell(json!({"answers": ["throttled", "full", "system", "vendor"]}));
    gate.open("first", loan(&iin, "+77015550009", "1000"));
    let tries: Vec<Submitted> = (0..5).map(|_| smsc.submitted()).collect();
    assert!(tries[0].text().contains("1000.00") && tries[0].tlvs.contains_key(&0x0424), "message_payload");
    for (n, again) in tries.iter().enumerate() {
        assert_eq!(
            (again.text(), &again.tlvs[&0x0204]),
            (tries[0].text(), &tries[0].tlvs[&0x0204]),
            "try {n}"
        );
    }
    wait_for_texts(&gate, &["submitted"]);
    smsc.tell(json!({"answers": ["refused"]}));
    gate.open("second", loan(&iin, "+77015550009", "2000"));
    assert!(smsc.submitted().text().contains("2000.00"));
    wait_for_texts(&gate, &["submitted", "failed (ESME_RINVDSTADR)"]);
    for (stat, state) in [("EXPIRED", "expired"), ("UNDELIV", "expired"), ("DELIVRD", "delivered")] {
        smsc.tell(json!({"receipt": 4, "stat": stat}));
        smsc.next("deliver_sm_resp");
        wait_for_texts(&gate, &[state, "failed (ESME_RINVDSTADR)"]);
    }
    for (name, count) in [
        ("qalqan_smpp_parts_total{answer=\"submitted\"}", 1.0),
        ("qalqan_smpp_parts_total{answer=\"throttled\"}", 2.0),
        ("qalqan_smpp_parts_total{answer=\"later\"}", 2.0),
        ("qalqan_smpp_parts_total{answer=\"failed\"}", 1.0),
        ("qalqan_smpp_parts_total{answer=\"unknown\"}", 0.0),
        ("qalqan_smpp_receipts_total{state=\"undeliverable\"}", 1.0),
    ] {
        assert_eq!(metric(&gate, name), count, "{name}");
    }
    assert_eq!(smsc.count(), 6);
    let page = Client::new(gate.address).get("/metrics").body;
    let docs = std::fs::read_to_string(rig::repository().join("docs/lending.md")).unwrap();
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE qalqan_smpp")?.split(' ').next());
    let names: Vec<&str> = names.collect();
    assert!(
        names.len() > 5 && names.iter().all(|name| docs.contains(&format!("`qalqan_smpp{name}`"))),
        "{names:?}"
    );
}

#[test]
fn a_code_whose_answer_was_lost_is_not_sent_twice() {
    on_each_store(|postgres| {
        let mut smsc = Smsc::start(&[]);
        let mut gate = gate(postgres, &smsc, "long-texts = \"payload\"\n");
        let phone = "+77015550002";
        let id = gate.open("one", loan(&iin(300), phone, "1000"));
        smsc.tell(json!({"answers": ["drop"]}));
        ask(&gate, &id);
        let lost = smsc.submitted();
        smsc.next("bind_transceiver");
        wait_for_texts(&gate, &["unknown"]);
        // The SMSC had it all the same: it came, and may be entered; its receipt, by the reference, says so.
        smsc.tell(json!({"receipt": 0, "form": "reference"}));
        assert_eq!(smsc.next("deliver_sm_resp")["status"], 0);
        wait_for_texts(&gate, &["delivered"]);
        assert_eq!(gate.enter(&id, "confirm", &code(&lost.text())).json()["state"], "approved");

        // Killed between writing and the answer. An hour later the code counts no longer; a minute would be no different.
        let id = gate.open("two", loan(&iin(301), phone, "1000"));
        smsc.tell(json!({"answers": ["silent"]}));
        ask(&gate, &id);
        smsc.submitted();
        gate.crash();
        gate.start(1);
        smsc.next("bind_transceiver");
        wait_for_texts(&gate, &["delivered", "unknown"]);
        // Another code is another text.
        ask(&gate, &id);
        let other = smsc.submitted();
        assert_eq!(gate.enter(&id, "confirm", &code(&other.text())).json()["state"], "approved");
        wait_for_texts(&gate, &["delivered", "unknown", "submitted"]);
        assert_eq!(smsc.count(), 3, "each code once");
    });
}

#[test]
fn a_warning_whose_answer_was_lost_comes_once_more_and_no_more() {
    let mut smsc = Smsc::start(&[]);
    let mut gate = gate(None, &smsc, "long-texts = \"payload\"\n");
    let iin = banned(&gate, 400, "+77015550003");
    smsc.tell(json!({"answers": ["silent"]}));
    gate.open("one", loan(&iin, "+77015550009", "1000"));
    let first = smsc.submitted();
    gate.crash();
    // It is not known whether the SMSC has it; the lease of who died is over an hour later.
    smsc.tell(json!({"answers": ["drop"]}));
    gate.start(1);
    let again = smsc.submitted();
    assert_eq!((again.text(), &again.tlvs[&0x0204]), (first.text(), &first.tlvs[&0x0204]));
    wait_for_texts(&gate, &["unknown"]);
    gate.crash();
    gate.start(2);
    // What comes next shows that nothing came in between.
    gate.open("two", loan(&iin, "+77015550009", "2000"));
    assert!(smsc.submitted().text().contains("2000.00"));
    wait_for_texts(&gate, &["unknown", "submitted"]);
    assert_eq!(smsc.count(), 3);
    // Two receipts may come of it; the part that is known by no id takes the first by its reference.
    smsc.tell(json!({"receipt": 0, "form": "reference", "stat": "DELIVRD"}));
    smsc.next("deliver_sm_resp");
    wait_for_texts(&gate, &["delivered", "submitted"]);
    // A part with an id, too, of whose reference the SMSC kept the low octet; not where another phone's has the same.
    for (from, states) in
        [(Some("77015550008"), ["delivered", "submitted"]), (None, ["delivered", "delivered"])]
    {
        smsc.tell(json!({"receipt": 2, "form": "octet", "from": from}));
        smsc.next("deliver_sm_resp");
        wait_for_texts(&gate, &states);
    }
    assert_eq!(metric(&gate, "qalqan_smpp_receipts_unmatched_total"), 1.0);
}

#[test]
fn the_link_is_taken_up_again_and_a_new_smsc_by_sighup() {
    let mut smsc = Smsc::start(&[]);
    let gate = gate(None, &smsc, "per-second = 0\nwindow = 2\n");
    // Whatever a peer does, the next connection works.
    for what in [
        json!({"drop": true}),
        json!({"unbind": true}),
        json!({"raw": "0000000f00000015"}),
        json!({"raw": "ffffffff"}),
        json!({"raw": "485454502f312e31203430300d0a0d0a"}),
    ] {
        smsc.tell(what);
        smsc.next("bind_transceiver");
        wait(|| metric(&gate, "qalqan_smpp_bound") == 1.0, || "bound".to_owned());
    }
    // A body that cannot be read costs that PDU alone; a text from somebody is answered and not read.
    smsc.tell(json!({"raw": "000000140000000500000000000000090102ffff"}));
    assert_eq!(smsc.next("deliver_sm_resp")["status"], 2);
    smsc.tell(json!({"text": "hello"}));
    assert_eq!(smsc.next("deliver_sm_resp")["status"], 0);
    smsc.tell(json!({"raw": "00000010000000030000000000000007"}));
    assert_eq!(smsc.next("generic_nack")["sequence"], 7);
    assert_eq!(metric(&gate, "qalqan_smpp_incoming_total"), 1.0);

    // Another SMSC, over TLS.
    let certificate = rcgen::generate_simple_self_signed(vec!["smsc.example".to_owned()]).unwrap();
    gate.site.write("smsc.pem", certificate.cert.pem());
    gate.site.write("smsc.key", certificate.signing_key.serialize_pem());
    let path = |name: &str| gate.site.path(name).display().to_string();
    let secure = Smsc::start(&["0", &path("smsc.pem"), &path("smsc.key")]);
    let text = gate.site.read("qalqan.toml");
    let port = |smsc: &Smsc| format!("127.0.0.1:{}\"", smsc.port);
    let more = format!("{}\nca = \"smsc.pem\"\ntls-name = \"smsc.example\"", port(&secure));
    gate.site.write("qalqan.toml", text.replace(&port(&smsc), &more));
    gate.node.as_ref().unwrap().signal("-HUP");
    smsc.next("unbind");
    secure.next("bind_transceiver");
    let id = gate.open("one", loan(&iin(500), "+77015550004", "1000"));
    ask(&gate, &id);
    let (parts, text) = secure.text();
    assert!(parts.len() > 1);
    assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "approved");
    // A name that its certificate does not have.
    let text = gate.site.read("qalqan.toml");
    gate.site.write("qalqan.toml", text.replace("smsc.example", "other.example"));
    gate.node.as_ref().unwrap().signal("-HUP");
    secure.next("unbind");
    gate.node.as_ref().unwrap().wait_for("certificate");
    assert_eq!(metric(&gate, "qalqan_smpp_bound"), 0.0);
    // And a password that is not the right one.
    gate.site
        .write("qalqan.toml", text.replace("credentials = \"smpp.toml\"", "credentials = \"wrong.toml\""));
    gate.site.write("wrong.toml", "system-id = \"qalqan\"\npassword = \"wrong\"\n");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(gate.site.path("wrong.toml"), private).unwrap();
    gate.node.as_ref().unwrap().signal("-HUP");
    assert_eq!(secure.next("bind_transceiver")["known"], false);
    gate.node.as_ref().unwrap().wait_for("refuses the bind: ESME_RINVPASWD");
    assert!(!gate.node.as_ref().unwrap().log().contains("secret"));
}

#[test]
fn a_wrong_setting_is_named() {
    for (texts, said) in [
        ("", "set sms-spool, or [loans.smpp]"),
        (
            "sms-spool = \"sms\"\n[loans.smpp]\naddress = \"a:1\"\ncredentials = \"smpp.toml\"\nsource = \"Q\"",
            "by one of them",
        ),
        ("[loans.smpp]\naddress = \"a\"\ncredentials = \"smpp.toml\"\nsource = \"Q\"", "host:port"),
        ("[loans.smpp]\naddress = \"a:1\"\ncredentials = \"none\"\nsource = \"Q\"", "no such file"),
        ("[loans.smpp]\naddress = \"a:1\"\ncredentials = \"open.toml\"\nsource = \"Q\"", "chmod 600"),
        (
            "[loans.smpp]\naddress = \"a:1\"\ncredentials = \"env:QALQAN_NO_SUCH\"\nsource = \"Q\"",
            "no environment variable",
        ),
        ("[loans.smpp]\naddress = \"a:1\"\ncredentials = \"long.toml\"\nsource = \"Q\"", "at most 8"),
        (
            "[loans.smpp]\naddress = \"a:1\"\ncredentials = \"smpp.toml\"\nsource = \"Longer than eleven\"",
            "1 to 11 letters",
        ),
        (
            "[loans.smpp]\naddress = \"a:1\"\ncredentials = \"smpp.toml\"\nsource = \"Q\"\nwindow = 0",
            "window",
        ),
        (
            "[loans.smpp]\naddress = \"a:1\"\ncredentials = \"smpp.toml\"\nsource = \"Q\"\nlong-texts = \"x\"",
            "udh8",
        ),
        (
            "[loans.smpp]\naddress = \"a:1\"\ncredentials = \"smpp.toml\"\nsource = \"Q\"\ntls-name = \"x\"",
            "without ca",
        ),
    ] {
        let (site, _) = rig::http::site(&format!(
            "[loans]\nkeys = \"k\"\nsigning-key = \"s\"\nclients = \"c\"\n{texts}\n"
        ));
        for (name, text) in [("smpp.toml", "secret"), ("open.toml", "secret"), ("long.toml", "longer-than-8")]
        {
            site.write(name, format!("system-id = \"q\"\npassword = \"{text}\"\n"));
            let mode = if name == "open.toml" { 0o644 } else { 0o600 };
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(site.path(name), mode).unwrap();
        }
        let error = site.refused(&["config", "check"]);
        assert!(error.contains(said) && !error.contains("longer-than-8"), "{texts}: {error}");
    }
}
