//! Back to the front: a number that a head confirms is blocked within a minute and counts against whom it called; taken back, it is
//! not. On the block list that the operator keeps himself.

use crate::rig;

use rig::http::Client;
use rig::loans::Gate;
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
        let token = self.gate.token("chief", &self.chief);
        let body = json!({"identifier": {"kind": "phone", "value": phone}, "why": "called twelve victims"});
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
