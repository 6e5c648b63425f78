//! Call centres in the register: found once however often they are found, tied to facts, judged by persons, and fed to the front.

use crate::rig;

use rig::http::{Answer, Client};
use rig::postgres::on_each_store;
use rig::register::Register;
use serde_json::{Value, json};

/// A cluster as docs/hunting.md says a line is: so many numbers of a hundred, from one on.
fn line(from: u32, count: u32, day: &str, called: &[&str]) -> String {
    let numbers: Vec<Value> = (from..from + count)
        .map(|n| {
            json!({"number": format!("+7705123{n:04}"), "is_alarm": true, "evidence": 2, "day": day, "outgoing": 300,
                   "incoming": 0, "answered": 40, "imeis": ["35693803564380"], "trunks": ["astana-1"],
                   "signals": [{"signal": "number-runs", "figure": 0.9, "threshold": 0.3}]})
        })
        .collect();
    let line = json!({"cluster": 1, "evidence": 3, "alarms": count, "ties": ["telephone"], "numbers": numbers, "called": called});
    format!("{line}\n")
}

#[track_caller]
fn import(register: &Register, who: &str, body: &str) -> Answer {
    let head = format!(
        "POST /v1/case/centres HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/x-ndjson",
        register.token(who)
    );
    Client::new(register.address).ask(&head, body)
}

#[track_caller]
fn imported(register: &Register, who: &str, body: &str) -> (usize, usize, u64) {
    let answer = import(register, who, body);
    assert_eq!(answer.status, 201, "{answer:?}");
    let said = answer.json();
    let count = |name: &str| said[name].as_array().unwrap().len();
    (count("new"), count("grown"), said["already_there"].as_u64().unwrap())
}

const FACTS: &str = "number,type,when,unit,victim_phone,phone\n\
                     f1,bank-call,2023-12-04,almaty,+77015550001,+77011230001\n\
                     f2,bank-call,2023-12-05,almaty,+77015550002,+77011230002\n\
                     f3,bank-call,2023-12-05,astana,+77015550003,+77011230003\n";

#[test]
fn a_cluster_found_again_is_the_same_centre_grown() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        assert_eq!(register.import("chief", "", FACTS).status, 201);
        let one = line(1, 5, "2023-12-04", &["f1"]);
        // Alone it is no centre, and is left out.
        assert_eq!(
            imported(&register, "aigul", &(one.clone() + &line(900, 1, "2023-12-04", &[]))),
            (1, 0, 0)
        );
        assert_eq!(imported(&register, "aigul", &one), (0, 0, 1), "the same again");
        // Two numbers more, a day later, another fact; one is another unit's and one nobody's.
        let more = line(2, 6, "2023-12-06", &["f1", "f2", "f3", "f9"]);
        let answer = import(&register, "aigul", &more).json();
        assert_eq!((&answer["grown"], &answer["facts_not_known"]), (&json!([1]), &json!(2)), "{answer}");
        // Who shares one number of many is another.
        assert_eq!(imported(&register, "aigul", &line(7, 4, "2023-12-06", &[])), (1, 0, 0));
        // Another unit's are its own.
        assert_eq!(imported(&register, "ivan", &one), (1, 0, 0));

        let centre = register.get("aigul", "centres/1").json();
        let ids: Vec<i64> = ["f1", "f2"]
            .iter()
            .map(|number| register.found("aigul", json!({"number": number}))[0]["id"].as_i64().unwrap())
            .collect();
        assert_eq!(
            (&centre["state"], &centre["from"], &centre["until"], &centre["facts"]),
            (&json!("proposed"), &json!("2023-12-04"), &json!("2023-12-06"), &json!(ids)),
            "{centre}"
        );
        assert_eq!(
            (&centre["trunks"], &centre["evidence"]),
            (&json!(["astana-1"]), &json!(["number-runs", "telephone"]))
        );
        let identifiers = centre["identifiers"].as_array().unwrap();
        let phones: Vec<&Value> = identifiers.iter().filter(|one| one["kind"] == "phone").collect();
        assert_eq!((phones.len(), &phones[0]["value"]), (7, &json!("+77051230001")));
        // Of an IMEI the first 14 digits, as TS 23.003 says who a telephone is.
        assert!(identifiers.contains(&json!({"kind": "imei", "value": "35693803564380"})), "{centre}");
        let events: Vec<&Value> =
            centre["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
        assert_eq!(events, ["centre_found", "centre_grown"]);
        assert_eq!(centre["sources"].as_array().unwrap().len(), 2);

        // A group that a person confirmed, of a fact of it, is the centre's too.
        let group = json!({"name": "g", "facts": ids, "why": "one centre"});
        let group = register.post("aigul", "groups/confirm", group).json()["id"].clone();
        assert_eq!(register.get("aigul", "centres/1").json()["groups"], json!([group]));

        // Whole or not at all.
        let bad = import(
            &register,
            "aigul",
            &(line(50, 3, "2023-12-04", &[]) + "{\"cluster\":2}\n{\"numbers\":[{\"number\":\"x\"}]}"),
        );
        assert_eq!((bad.status, bad.json()["faults"].as_array().unwrap().len()), (422, 2), "{bad:?}");
        assert_eq!(register.get("aigul", "centres").json()["centres"].as_array().unwrap().len(), 2);
        register.node.take();
    });
}

#[test]
fn a_centre_is_seen_in_its_unit_judged_with_a_reason_and_its_numbers_fed_by_a_head() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        assert_eq!(imported(&register, "aigul", &line(1, 5, "2023-12-04", &[])), (1, 0, 0));
        let looks = register.looks().len();
        for (who, status) in
            [("aigul", 200), ("head", 200), ("chief", 200), ("ivan", 403), ("bank", 403), ("auditor", 403)]
        {
            assert_eq!(register.get(who, "centres/1").status, status, "{who}");
        }
        assert_eq!(register.get("chief", "centres/99").status, 404);
        assert_eq!(register.get("ivan", "centres").json()["centres"], json!([]));
        let kept = register.looks();
        let seen = |who: &str| {
            let mut of = kept[looks..].iter().filter(|look| look.0 == who && look.2 == "centre 1");
            of.next().map(|look| (look.1.clone(), look.3))
        };
        assert_eq!(seen("aigul"), Some(("see-centre".to_owned(), false)));
        assert_eq!(seen("ivan"), Some(("see-centre".to_owned(), true)));

        let numbers = |who: &str, is: bool| {
            register.post(who, "centres/1/numbers", json!({"confirmed": is, "why": "raided"}))
        };
        let judge = |who: &str, state: &str, why: &str| {
            register.post(who, "centres/1/judge", json!({"state": state, "why": why}))
        };
        assert_eq!(numbers("head", true).status, 409, "nobody confirmed the centre");
        assert_eq!(judge("ivan", "confirmed", "x").status, 403);
        assert_eq!(judge("aigul", "confirmed", " ").status, 422);
        assert_eq!(judge("aigul", "proposed", "x").status, 422);
        assert_eq!(judge("aigul", "confirmed", "seized there").json()["state"], "confirmed");
        assert_eq!(judge("aigul", "confirmed", "again").status, 409);
        assert_eq!(numbers("aigul", true).status, 403, "a head says so");
        let fed = numbers("head", true);
        assert_eq!((fed.status, &fed.json()["changed"]), (200, &json!(5)), "{fed:?}");
        assert_eq!(numbers("head", true).json()["as_before"], 5);
        let confirmed = register.get("head", "confirmed").json();
        let confirmed = confirmed["confirmations"].as_array().unwrap();
        assert!(
            confirmed.len() == 5 && confirmed.iter().all(|one| one["confirmed"] == true),
            "{confirmed:?}"
        );
        assert_eq!(confirmed[0]["identifier"], json!({"kind": "phone", "value": "+77051230001"}));
        // What feeds the front is taken back before the centre is dismissed.
        assert_eq!(judge("head", "dismissed", "a bank's own").status, 409);
        assert_eq!(numbers("head", false).json()["changed"], 5);
        let judged = judge("head", "dismissed", "a bank's own").json();
        let events: Vec<&Value> =
            judged["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
        assert_eq!(
            events,
            [
                "centre_found",
                "centre_confirmed",
                "numbers_confirmed",
                "numbers_confirmed",
                "numbers_retracted",
                "centre_dismissed"
            ]
        );
        assert_eq!(judged["events"][5]["why"], "a bank's own");
        // Found again it stays dismissed; and public numbers count what is confirmed.
        assert_eq!(imported(&register, "aigul", &line(1, 9, "2023-12-05", &[])), (0, 1, 0));
        assert_eq!(register.get("aigul", "centres?state=dismissed").json()["centres"][0]["id"], 1);
        let found = |register: &Register| {
            let stats = register.stats("auditor", "from=2026-01-01&until=2099-01-01&years=0").json();
            let figures = stats["figures"].as_array().unwrap().clone();
            figures.iter().find(|figure| figure["measure"] == "call-centres").unwrap()["value"].clone()
        };
        assert_eq!(found(&register), 0);
        assert_eq!(judge("aigul", "confirmed", "after all").status, 200);
        assert_eq!(found(&register), 1);

        // By the command line, while a node runs; the numbers stand sealed in the file.
        register.site.write("found.jsonl", line(100, 3, "2023-12-04", &[]) + &line(1, 9, "2023-12-05", &[]));
        let said = register.site.ok(&["case", "centres", "import", "found.jsonl", "--unit", "almaty"]);
        assert_eq!(said, "1 call centres are new, 0 have grown, 1 were there already\n");
        register.site.write("found.jsonl", "{}\n");
        let refused =
            register.site.refused(&["case", "centres", "import", "found.jsonl", "--unit", "almaty"]);
        assert!(
            refused.contains("found.jsonl: line 1: ") && refused.contains("nothing was taken"),
            "{refused}"
        );
        assert!(register.looks().iter().any(|look| look.0 == "command-line" && look.1 == "import-centres"));
        register.node.take();
        // Another key: what is sealed of centres goes over too.
        register.site.ok(&["case", "key", "case.keys"]);
        register.site.ok(&["case", "rotate-keys"]);
        register.start();
        assert_eq!(register.get("aigul", "centres/1").json()["trunks"], json!(["astana-1"]));
        if register.postgres.is_none() {
            register.node.take();
            let file = std::fs::read(register.site.path("case.db")).unwrap();
            let is_in = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!is_in("77051230001") && !is_in("35693803564380") && !is_in("raided"));
        }
        register.node.take();
    });
}
