//! Texts over SMPP where something breaks or is another way: a text half sent, a store that fails, two nodes on one store, the
//! GSM alphabet.

use std::process::Command;

use serde_json::json;

use crate::rig;
use crate::smpp::{ask, code, gate, metric, wait_for_texts};
use rig::loans::{Gate, iin, loan};
use rig::postgres::{Postgres, on_each_store};
use rig::smsc::{Smsc, Submitted};
use rig::wait;

#[test]
fn a_text_that_breaks_in_the_middle_goes_on_behind_the_break() {
    on_each_store(|postgres| {
        let mut smsc = Smsc::start(&[]);
        let gate = gate(postgres, &smsc, "window = 1\n");
        let id = gate.open("one", loan(&iin(600), "+77015550006", "900000.00"));
        // Of a code, the part whose answer was lost is not sent again; what was never written is.
        smsc.tell(json!({"answers": ["ok", "drop"]}));
        ask(&gate, &id);
        let parts: Vec<Submitted> = (0..3).map(|_| smsc.submitted()).collect();
        let places: Vec<_> = parts.iter().map(Submitted::place).collect();
        assert_eq!(places, [(3, 1), (3, 2), (3, 3)]);
        wait_for_texts(&gate, &["submitted, unknown, submitted"]);
        // The SMSC had it: the telephone joins three parts, and the receipts of all come.
        for n in 0..3 {
            smsc.tell(json!({"receipt": n, "form": if n == 1 { "reference" } else { "text" }}));
            assert_eq!(smsc.next("deliver_sm_resp")["status"], 0);
        }
        wait_for_texts(&gate, &["delivered, delivered, delivered"]);
        let text: String = parts.iter().map(Submitted::text).collect();
        assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "cooling");
        assert_eq!(smsc.count(), 3);
    });
}

#[test]
fn a_text_in_latin_letters_goes_in_the_gsm_alphabet() {
    let smsc = Smsc::start(&[]);
    let mut gate = gate(None, &smsc, "long-texts = \"udh16\"\n");
    let name = "First {Savings} Bank of Almaty [€]";
    let made = gate.site.ok(&["loan", "client", "clients.csv", "latin", "--name", name, "--class", "bank"]);
    let secret = made.lines().find_map(|line| line.strip_prefix("client_secret ")).expect("a secret");
    gate.bank = ("latin".to_owned(), secret.to_owned());
    gate.node.as_ref().unwrap().signal("-HUP");
    gate.node.as_ref().unwrap().wait_for("reload: ");
    let mut body = loan(&iin(610), "+77015550007", "1000");
    body["language"] = json!("en");
    let id = gate.open("one", body);
    ask(&gate, &id);
    let (parts, _) = smsc.text();
    let octets: Vec<u8> = parts.iter().flat_map(|part| part.message[7..].to_vec()).collect();
    for (n, part) in parts.iter().enumerate() {
        assert_eq!((part.place(), part.esm_class, part.data_coding), ((2, n + 1), 0x40, 0));
        assert_eq!(part.message[..3], [6, 8, 4], "a reference of 16 bits (23.040 section 9.2.3.24.8)");
        assert_eq!(part.message[3..5], parts[0].message[3..5]);
        // 140 octets hold the header of seven and 152 septets; the gateway packs them.
        assert!(part.message.len() - 7 <= 152);
    }
    // By another hand: python-smpplib in the same alphabet.
    let digits = code(&octets.iter().map(|octet| char::from(*octet)).collect::<String>());
    let text = format!(
        "{name} asks to confirm a loan of 1000.00 KZT in your name. Code {digits}, valid 3 min. Not you, or somebody on the phone \
         dictates? Tell nobody the code."
    );
    let python = Command::new(rig::repository().join("target/tools/bin/python"))
        .args(["-c", "import sys; from smpplib import gsm; print(gsm.gsm_encode(sys.argv[1]).hex())", &text])
        .output()
        .expect("Python of ./test");
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(String::from_utf8_lossy(&python.stdout).trim(), hex, "{python:?}");
    assert_eq!(gate.enter(&id, "confirm", &digits).json()["state"], "approved");
}

#[test]
fn a_store_that_fails_loses_no_answer_and_no_receipt() {
    on_each_store(|postgres| {
        let mut smsc = Smsc::start(&[]);
        let gate = gate(postgres, &smsc, "long-texts = \"payload\"\n");
        let node = gate.node.as_ref().unwrap();
        let away =
            |gate: &Gate, from: &str, to: &str| gate.sql(&format!("ALTER TABLE {from} RENAME TO {to}"));
        // It fails before anything is written to the SMSC: nothing goes, and it goes at once when the store is back.
        let id = gate.open("one", loan(&iin(620), "+77015550008", "1000"));
        away(&gate, "text_part", "away");
        ask(&gate, &id);
        node.wait_for("the store: ");
        assert_eq!(smsc.count(), 0);
        smsc.tell(json!({"answers": ["hold"]}));
        away(&gate, "away", "text_part");
        let sent = smsc.submitted();
        // It fails before the answer can be kept: the answer is kept when it is back.
        away(&gate, "text_part", "away");
        smsc.tell(json!({"release": true}));
        wait(
            || metric(&gate, "qalqan_smpp_parts_total{answer=\"submitted\"}") == 1.0,
            || "answered".to_owned(),
        );
        away(&gate, "away", "text_part");
        wait_for_texts(&gate, &["submitted"]);
        // A receipt that cannot be kept is not taken (ESME_RX_T_APPN), so the SMSC sends it again.
        away(&gate, "text_receipt", "away");
        smsc.tell(json!({"receipt": 0}));
        assert_eq!(smsc.next("deliver_sm_resp")["status"], 0x64);
        away(&gate, "away", "text_receipt");
        smsc.tell(json!({"receipt": 0}));
        assert_eq!(smsc.next("deliver_sm_resp")["status"], 0);
        wait_for_texts(&gate, &["delivered"]);
        assert_eq!(gate.enter(&id, "confirm", &code(&sent.text())).json()["state"], "approved");
        assert_eq!(smsc.count(), 1);
    });
}

#[test]
fn two_nodes_on_one_store_send_each_text_once_and_keep_receipts_of_each_other() {
    let mut smscs = [Smsc::start(&[]), Smsc::start(&[])];
    let a = gate(Some(Postgres::start()), &smscs[0], "long-texts = \"payload\"\n");
    let port = |smsc: &Smsc| format!("127.0.0.1:{}\"", smsc.port);
    let b = a.beside();
    let moved = b.site.read("qalqan.toml").replace(&port(&smscs[0]), &port(&smscs[1]));
    b.site.write("qalqan.toml", moved);
    b.node.as_ref().unwrap().signal("-HUP");
    assert_eq!(smscs[1].next("bind_transceiver")["known"], true);
    // Asked for at one of them; both look for what is to be sent.
    let ids: Vec<String> = (0..40)
        .map(|n| {
            let phone = format!("+7701666{n:04}");
            let id = a.open(&format!("two-{n}"), loan(&iin(700 + n), &phone, "1000"));
            ask(&a, &id);
            id
        })
        .collect();
    let texts = || a.site.ok(&["loan", "texts"]);
    wait(|| texts().lines().filter(|line| line.ends_with(" submitted")).count() == ids.len(), texts);
    let counts = smscs.each_mut().map(Smsc::count);
    assert_eq!(counts.iter().sum::<u64>(), ids.len() as u64, "{counts:?}: each once");
    // The first of each SMSC have the same message id; their receipts find the right one by the phone, at either node.
    for n in 0..2 {
        if counts[n] > 0 {
            smscs[n].tell(json!({"receipt": 0}));
            assert_eq!(smscs[n].next("deliver_sm_resp")["status"], 0);
        }
    }
    let sending = counts.iter().filter(|count| **count > 0).count();
    wait(|| texts().lines().filter(|line| line.ends_with(" delivered")).count() == sending, texts);
}
