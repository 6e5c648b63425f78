//! Back to the front: a number that a head confirms is blocked within a minute and counts against whom it called; taken back, it is
//! not. On the block list that the operator keeps himself.

use crate::rig;

use rig::http::Client;
use rig::loans::{Gate, gate, iin, loan};
use rig::wait;
use serde_json::{Value, json};

const FRAUDSTER: &str = "+77272501230";
const VICTIM: &str = "+77015550001";
const OWN: &str = "number,owner,expires,note\n+14155550101,Fraud desk,2099-12-31,\"robocalls, of today\"\n";

struct Front {
    gate: Gate,
    chief: String,
}

impl Front {
    fn new(own: &str) -> Front {
        let mut gate = Gate::new(None, "", "");
        let site = &gate.site;
        site.ok(&["case", "key", "case.keys"]);
        let said = site.ok(&[
            "case", "client", "case.csv", "chief", "--name", "Chief", "--role", "head", "--units", "*",
        ]);
        let chief = said.lines().find_map(|line| line.strip_prefix("client_secret ")).unwrap().to_owned();
        site.write("public.txt", "+77272500300\n");
        let more = "[casework]\nstore = \"case.db\"\nkeys = \"case.keys\"\nclients = \"case.csv\"\npublic = \"public.txt\"\n\
                    feed-list = \"block\"\n[lists]\nblock = \"block.csv\"\n";
        site.write("qalqan.toml", format!("{}\n{more}", site.read("qalqan.toml")));
        if !own.is_empty() {
            site.write("block.csv", own);
        }
        gate.crash();
        gate.start(0);
        Front { gate, chief }
    }

    #[track_caller]
    fn say(&self, what: &str, phone: &str) {
        self.say_of(what, "phone", phone);
    }

    #[track_caller]
    fn say_of(&self, what: &str, kind: &str, value: &str) {
        let token = self.gate.token("chief", &self.chief);
        let body = json!({"identifier": {"kind": kind, "value": value}, "why": "called twelve victims"});
        let answer = self.gate.ask_as(&token, &format!("POST /v1/case/{what}"), "", &body.to_string());
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    fn call(&self, calling: &str, called: &str) -> Value {
        let call = json!({"trunk": "national", "calling": calling, "called": called});
        Client::new(self.gate.address).screen(call.to_string()).json()
    }

    fn wait_for(&self, calling: &str, verdict: &str) {
        // To somebody else each time: these calls are no victim's.
        wait(
            || self.call(calling, "+77019990000")["verdict"] == verdict,
            || format!("{calling} is {verdict}"),
        );
    }

    /// Opens a loan for goods that names identifiers, and gives its id and phone.
    fn opened(&self, n: u32, identifiers: Value) -> (String, String) {
        let phone = format!("+770155560{n:02}");
        let mut asked = loan(&iin(960 + n), &phone, "1000");
        (asked["kind"], asked["identifiers"]) = (json!("goods"), identifiers);
        (self.gate.open(&format!("loan-{n}"), asked), phone)
    }

    fn consent(&self, id: &str, phone: &str) {
        let code = self.gate.code(id, phone);
        assert_eq!(self.gate.enter(id, "confirm", &code).status, 200);
    }

    /// What the gate for confirmed identifiers says, and the state.
    fn held(&self, id: &str) -> (String, String) {
        let seen = self.gate.look(id);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&gate(&seen, "confirmed-identifier")["reason"]), text(&seen["state"]))
    }

    fn signal(&self, phone: &str) -> Value {
        self.gate.bank("POST /v1/signals/scam", "", json!({"phone": phone})).json()["suspicious_call"].clone()
    }
}

#[test]
fn a_confirmed_number_reaches_the_block_list_and_the_loan_gate_and_leaves_them() {
    let mut front = Front::new(OWN);
    // Nobody knows yet: it passes, and whom it called is suspected of nothing.
    assert_eq!(front.call(FRAUDSTER, VICTIM)["verdict"], "allow");
    assert_eq!(front.call("+14155550101", VICTIM)["sub_reason"], "on-block-list");
    assert_eq!(front.signal("+77015550009"), "none");
    front.say("confirmed", "8 (7272) 50-12-30");
    front.wait_for(FRAUDSTER, "block");
    let verdict = front.call(FRAUDSTER, "+77019990000");
    assert_eq!(
        (&verdict["rule"], &verdict["sub_reason"]),
        (&json!("R04"), &json!("on-block-list")),
        "{verdict}"
    );
    let list = front.gate.site.read("block.csv");
    assert_eq!(list, format!("{OWN}{FRAUDSTER},register,,confirmation 1\n"));
    let note = "list block: in force, basis ";
    front.gate.node.as_ref().unwrap().wait_for(note);
    assert!(!front.gate.node.as_ref().unwrap().log().contains(FRAUDSTER));

    // Whom it called before it stood there is warned of, too. (The victim was called by a blocked number besides.)
    assert_eq!(front.call("+77272501231", "+77015550002")["verdict"], "allow");
    assert_eq!(front.signal("+77015550002"), "none");
    front.say("confirmed", "+77272501231");
    wait(|| front.signal("+77015550002") != "none", || "the called one is known".to_owned());

    // Killed before it gets there, it gets there after.
    front.say("confirmed", "+77272501232");
    front.gate.crash();
    front.gate.start(0);
    front.wait_for("+77272501232", "block");
    front.wait_for(FRAUDSTER, "block");

    // Taken back: off the list, the operator's own line stays, and those it called are not warned of any more.
    front.call(FRAUDSTER, "+77015550003");
    wait(|| front.signal("+77015550003") != "none", || "a blocked call counts".to_owned());
    for number in [FRAUDSTER, "+77272501231", "+77272501232"] {
        front.say("confirmed/retract", number);
    }
    front.wait_for(FRAUDSTER, "allow");
    wait(|| front.gate.site.read("block.csv") == OWN, || front.gate.site.read("block.csv"));
    wait(|| front.signal("+77015550003") == "none", || "nobody is warned of it".to_owned());
    assert_eq!(front.call("+14155550101", "+77015550004")["verdict"], "block");
    assert_ne!(front.signal(VICTIM), "none", "another number on the list called it");
}

#[test]
fn a_list_that_is_not_there_is_made_a_public_number_stays_off_it_and_a_bad_setting_is_named() {
    let front = Front::new("");
    front.gate.node.as_ref().unwrap().wait_for("list block: in force");
    assert_eq!(front.gate.site.read("block.csv"), "number,owner,expires,note\n");
    // A bank's hotline, whoever confirmed it; and what is no phone is on no list.
    front.say("confirmed", "+77272500300");
    front.say("confirmed", FRAUDSTER);
    front.wait_for(FRAUDSTER, "block");
    assert_eq!(
        front.gate.site.read("block.csv"),
        format!("number,owner,expires,note\n{FRAUDSTER},register,,confirmation 2\n")
    );
    let text = front.gate.site.read("qalqan.toml");
    for (from, to, said) in [
        ("feed-list = \"block\"", "feed-list = \"allow\"", "to the list block, to no other"),
        ("block = \"block.csv\"", "allow = \"block.csv\"", "name a file for it"),
    ] {
        front.gate.site.write("qalqan.toml", text.replace(from, to));
        let error = front.gate.site.refused(&["config", "check"]);
        assert!(error.contains(said), "{error}");
    }
}

const ACCOUNT: &str = "KZ86125KZT5004100100";

#[test]
fn a_loan_that_names_what_is_a_fraudsters_waits_until_that_is_taken_back() {
    let mut front = Front::new("");
    let is = |front: &Front, id: &str, reason: &str, state: &str| {
        wait(
            || front.held(id) == (reason.to_owned(), state.to_owned()),
            || format!("{reason}, {state}: {:?}", front.held(id)),
        );
    };
    let confirmed = [
        ("account", ACCOUNT, "kz86 125k zt50 0410 0100"),
        ("card", "4111111111111111", "4111-1111-1111-1111"),
        ("imei", "35280111000000", "3528011100000000"),
        ("ip", "198.51.100.7", "::ffff:198.51.100.7"),
        ("email", "drop@shop.example", "Drop@Shop.example"),
    ];
    for (kind, kept, _) in confirmed {
        front.say_of("confirmed", kind, kept);
    }
    // However it is written; and the money waits though the consent is given.
    let mut loans = Vec::new();
    for (n, (kind, _, written)) in confirmed.into_iter().enumerate() {
        let wallet = json!({"kind": "wallet", "value": "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"});
        let (id, phone) = front.opened(n as u32, json!([wallet, {"kind": kind, "value": written}]));
        is(&front, &id, "fraudsters-identifier", "confirming");
        front.consent(&id, &phone);
        is(&front, &id, "fraudsters-identifier", "confirming");
        loans.push(id);
    }
    // The applicant's own phone; a public number is nobody's; others pass.
    let (own, phone) = front.opened(10, json!([]));
    is(&front, &own, "no-fraudsters-identifier", "confirming");
    front.say("confirmed", &phone);
    is(&front, &own, "fraudsters-identifier", "confirming");
    front.say("confirmed", "+77272500300");
    let (public, phone) = front.opened(11, json!([{"kind": "phone", "value": "8 7272 50 03 00"}]));
    front.consent(&public, &phone);
    is(&front, &public, "no-fraudsters-identifier", "approved");
    // Neither shown nor legible at rest.
    let shown = front.gate.look(&loans[0]).to_string().to_lowercase();
    assert!(!shown.contains("kz86") && !shown.contains("t9yd14"), "{shown}");
    for file in ["loans.db", "loans.db-wal"] {
        let bytes = std::fs::read(front.gate.site.path(file)).unwrap_or_default();
        assert!(!bytes.windows(ACCOUNT.len()).any(|window| window == ACCOUNT.as_bytes()), "{file}");
    }
    // Killed, it lets nothing through before it knows again.
    front.gate.crash();
    front.gate.start(0);
    assert_eq!(front.held(&loans[0]).1, "confirming");
    is(&front, &loans[0], "fraudsters-identifier", "confirming");
    // Taken back, the loan goes on though nobody asks.
    let approved = || Client::new(front.gate.address).metric("qalqan_loans_ended_total{how=\"approved\"}");
    let before = approved();
    front.say_of("confirmed/retract", "account", ACCOUNT);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while approved() == before {
        assert!(std::time::Instant::now() < end, "a minute has gone by");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    is(&front, &loans[0], "no-fraudsters-identifier", "approved");
    is(&front, &loans[1], "fraudsters-identifier", "confirming");
    let log = front.gate.node.as_ref().unwrap().log();
    assert!(!log.contains("KZ86") && !log.contains("shop.example"), "{log}");
}

#[test]
fn identifiers_that_are_none_are_refused_and_without_a_register_nobody_asks() {
    let gate_ = Gate::new(None, "", "");
    let asked = |identifiers: Value| {
        let mut asked = loan(&iin(990), "+77015556099", "1000");
        asked["identifiers"] = identifiers;
        asked
    };
    let many = vec![json!({"kind": "ip", "value": "198.51.100.7"}); 17];
    for (identifiers, said) in [
        (
            json!([{"kind": "ip", "value": "198.51.100.7"}, {"kind": "account", "value": "KZ87125KZT5004100100"}]),
            "identifiers[1]: the check digits of this IBAN",
        ),
        (json!([{"kind": "colour", "value": "red"}]), "identifiers[0]: kind is phone, imei"),
        (json!([{"kind": "card"}]), "value"),
        (json!(many), "at most 16"),
    ] {
        let answer = gate_.bank("POST /v1/loans", "bad", asked(identifiers));
        assert_eq!(answer.problem(), "invalid-request");
        assert!(answer.body.contains(said) && !answer.body.contains("KZ87"), "{said}: {answer:?}");
    }
    let id = gate_.open("good", asked(json!([{"kind": "account", "value": ACCOUNT}])));
    let seen = gate_.look(&id);
    let answered = gate(&seen, "confirmed-identifier");
    assert_eq!((&answered["answer"], &answered["reason"]), (&json!("not-asked"), &json!("not-configured")));
}
