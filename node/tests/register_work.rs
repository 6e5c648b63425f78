//! What is done with cases: persons, seized things and who had them, requests to operators and banks with their clocks, reports, and
//! identifiers that a head confirms.

use crate::rig;

use rig::http::Client;
use rig::loans::iin;
use rig::postgres::on_each_store;
use rig::register::Register;
use serde_json::{Value, json};

const HEAD: &str = "number,type,when,unit,phone\n";

fn phone(value: &str) -> Value {
    json!({"kind": "phone", "value": value})
}

#[test]
fn persons_are_found_by_number_and_identifier_within_the_unit() {
    on_each_store(|postgres| {
        let register = Register::new(postgres);
        let drop = json!({"kind": "drop", "name": "Сергей Дроп", "iin": iin(7), "note": "lends cards",
                          "identifiers": [phone("8 701 123 45 67"), phone("+77011234567")]});
        let kept = register.post("aigul", "persons", drop.clone());
        assert_eq!(kept.status, 201, "{kept:?}");
        let kept = kept.json();
        assert_eq!((&kept["iin"], &kept["unit"]), (&json!(iin(7)), &json!("almaty")));
        assert_eq!(kept["identifiers"], json!([phone("+77011234567")]));
        let path = format!("persons/{}", kept["id"]);
        let slip = json!({"kind": "drop", "name": "x", "iin": "123456789012"});
        assert!(register.post("aigul", "persons", slip).body.contains("look for a slip"));
        assert_eq!(register.post("aigul", "persons", json!({"kind": "friend", "name": "x"})).status, 422);
        assert_eq!(register.post("chief", "persons", json!({"kind": "drop", "name": "x"})).status, 422);
        assert_eq!(
            register.post("aigul", "persons", json!({"kind": "drop", "name": "x", "unit": "astana"})).status,
            403
        );
        assert_eq!(register.post("bank", "persons", drop).status, 403);
        let more = json!({"identifiers": [{"kind": "messenger", "value": "https://t.me/Drop_1"}], "why": "from his phone"});
        assert_eq!(register.post("ivan", &format!("{path}/identifiers"), more.clone()).status, 403);
        assert_eq!(register.post("aigul", &format!("{path}/identifiers"), more).status, 200);
        for by in [
            json!({"iin": iin(7)}),
            json!({"identifier": {"kind": "messenger", "value": "telegram:@drop_1"}}),
        ] {
            let found = |who: &str| {
                register.post(who, "persons/search", by.clone()).json()["persons"].as_array().unwrap().len()
            };
            assert_eq!((found("aigul"), found("chief"), found("ivan")), (1, 1, 0), "{by}");
        }
        assert_eq!(register.post("aigul", "persons/search", json!({})).status, 422);
        let seen = register.get("aigul", &path).json();
        let events: Vec<&str> =
            seen["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["person_kept", "identifiers_added"]);
        assert_eq!(
            (register.get("ivan", &path).status, register.get("ivan", "persons/99").status),
            (403, 404)
        );
        let looks = register.looks();
        assert!(
            looks.contains(&("ivan".to_owned(), "see-person".to_owned(), "person 1".to_owned(), true)),
            "{looks:?}"
        );
        assert!(
            !looks.iter().any(|(_, _, subject, _)| subject.contains(&iin(7)) || subject.contains("drop_1")),
            "{looks:?}"
        );
    });
}

#[test]
fn a_changed_entry_of_the_chain_of_custody_shows() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        let laptop = json!({"item": "laptop", "serials": ["C02XG1"], "place": "Astana, Mangilik El 1", "by": "Lt. Serik",
                            "time": "2026-01-10T09:00:00Z", "unit": "astana"});
        let kept = register.post("ivan", "seizures", laptop.clone());
        assert_eq!(kept.status, 201, "{kept:?}");
        let path = format!("seizures/{}", kept.json()["id"]);
        assert_eq!((register.get("aigul", &path).status, register.get("bank", &path).status), (403, 403));
        assert_eq!(register.post("aigul", "seizures", laptop).status, 403);
        let over = |from: &str, to: &str, time: &str| {
            let entry = json!({"from": from, "to": to, "place": "store", "why": "examination", "time": time});
            register.post("ivan", &format!("{path}/custody"), entry)
        };
        let first = over("Lt. Serik", "store keeper", "2026-01-10T12:00:00Z");
        assert_eq!(first.status, 200, "{first:?}");
        assert!(
            over("Lt. Serik", "examiner", "2026-01-11T12:00:00Z").body.contains("from is not who has it")
        );
        assert!(over("store keeper", "examiner", "2026-01-09T12:00:00Z").body.contains("time is before"));
        assert!(over("store keeper", "examiner", "2099-01-09T12:00:00Z").body.contains("yet to come"));
        assert_eq!(over("store keeper", "examiner", "2026-01-12T12:00:00Z").status, 200);
        let seen = register.get("ivan", &path).json();
        assert_eq!((&seen["holder"], &seen["changed"]), (&json!("examiner"), &Value::Null));
        // The hash that was answered then is the one that stands there now.
        assert_eq!(seen["custody"][0]["hash"], first.json()["custody"][0]["hash"]);
        let hashes: Vec<&str> =
            seen["custody"].as_array().unwrap().iter().map(|entry| entry["hash"].as_str().unwrap()).collect();
        assert!(hashes.len() == 2 && hashes.iter().all(|hash| hash.len() == 64) && hashes[0] != hashes[1]);

        // Somebody with the store in hand takes the first entry away and makes the second the first.
        register.crash();
        let sql = "DELETE FROM custody WHERE n = 1";
        match &register.postgres {
            None => {
                let said = std::process::Command::new("sqlite3")
                    .arg(register.site.path("case.db"))
                    .arg(sql)
                    .output();
                assert!(said.expect("sqlite3 runs: ./test installs it").status.success());
            }
            Some(postgres) => {
                let said = std::process::Command::new("psql").args([&postgres.url, "-c", sql]).output();
                assert!(said.expect("psql runs").status.success());
            }
        }
        register.start();
        let seen = register.get("ivan", &path).json();
        assert_eq!(seen["changed"], 1, "{seen}");
        let entry =
            json!({"from": "examiner", "to": "x", "place": "p", "why": "w", "time": "2026-01-13T12:00:00Z"});
        assert_eq!(register.post("ivan", &format!("{path}/custody"), entry).problem(), "wrong-state");
    });
}

#[test]
fn requests_reach_their_addressee_alone_and_have_a_clock() {
    on_each_store(|postgres| {
        let register = Register::new(postgres);
        assert_eq!(register.import("chief", "", &format!("{HEAD}1,other,2023-11-15,almaty,\n")).status, 201);
        let freeze = json!({"to": "bank", "kind": "freeze", "fact": 1, "text": "please freeze",
                            "identifier": {"kind": "account", "value": "KZ86 125K ZT50 0410 0100"}});
        let made = register.post("aigul", "requests", freeze.clone());
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        assert_eq!(
            (&made["state"], &made["fact"], &made["identifier"]["value"]),
            (&json!("open"), &json!(1), &json!("KZ86125KZT5004100100"))
        );
        for (who, body) in [("ivan", freeze.clone()), ("bank", freeze)] {
            assert_eq!(register.post(who, "requests", body).status, 403, "{who}");
        }
        let to_nobody = json!({"to": "ivan", "kind": "freeze", "text": "x"});
        assert_eq!(register.post("aigul", "requests", to_nobody).status, 422);
        let path = format!("requests/{}", made["id"]);
        let seen = register.get("bank", &path).json();
        // What the bank needs, and not whose case it is.
        assert_eq!(
            (&seen["text"], &seen["fact"], &seen["who"]),
            (&json!("please freeze"), &Value::Null, &Value::Null)
        );
        assert_eq!(register.get("other-bank", &path).problem(), "not-found");
        assert_eq!(register.get("other-bank", &path).body, register.get("other-bank", "requests/99").body);
        assert_eq!(register.get("ivan", &path).status, 403);
        let list = |who: &str| register.get(who, "requests").json()["requests"].as_array().unwrap().len();
        assert_eq!(
            (list("bank"), list("other-bank"), list("alpha"), list("aigul"), list("ivan")),
            (1, 0, 0, 1, 0)
        );
        let answer = |who: &str| register.post(who, &format!("{path}/answer"), json!({"text": "frozen"}));
        assert_eq!((answer("other-bank").status, answer("aigul").status), (404, 403));
        assert_eq!(answer("bank").json()["state"], "answered");
        assert_eq!(answer("bank").problem(), "wrong-state");
        assert_eq!(register.get("aigul", &path).json()["answer"], "frozen");
        let looks = register.looks();
        let look = |who: &str, what: &str| (who.to_owned(), what.to_owned(), "request 1".to_owned(), true);
        for look in [
            look("other-bank", "see-request"),
            look("other-bank", "answer-request"),
            look("ivan", "see-request"),
        ] {
            assert!(looks.contains(&look), "{look:?}: {looks:?}");
        }
    });
}

#[test]
fn a_term_that_is_over_is_said() {
    let mut register = Register::new(None);
    let ask = json!({"to": "alpha", "kind": "subscriber-data", "text": "whose is it", "identifier": phone("+77011234567"), "days": 2});
    assert_eq!(register.post("aigul", "requests", ask).status, 201);
    let complaint = json!({"kind": "number", "identifier": phone("+77015556677"), "text": "calls as a bank"});
    let told = register.post("alpha", "reports", complaint.clone());
    assert_eq!((told.status, &told.json()["state"]), (201, &json!("to-check")), "{told:?}");
    assert_eq!(register.post("bank", "reports", complaint).status, 201);
    // Two working days never take more than six days.
    register.crash();
    register.start_ahead("+6d");
    assert_eq!(register.get("alpha", "requests").json()["requests"][0]["state"], "overdue");
    let seen = register.get("aigul", "reports/1");
    assert_eq!(seen.json()["state"], "check-overdue", "{seen:?}");
    let late = register.post("alpha", "requests/1/answer", json!({"text": "A. B."}));
    assert_eq!(late.json()["state"], "answered-late");
    let check = |id: u32, confirmed: bool| {
        register.post(
            "aigul",
            &format!("reports/{id}/check"),
            json!({"confirmed": confirmed, "why": "three victims"}),
        )
    };
    assert_eq!(check(1, true).json()["state"], "confirmed");
    assert_eq!(check(1, true).problem(), "wrong-state");
    assert_eq!(check(2, false).json()["state"], "unfounded");
    let pass_on =
        |id: u32| register.post("aigul", &format!("reports/{id}/pass-on"), json!({"to": "the regulator"}));
    assert_eq!(pass_on(2).problem(), "wrong-state");
    register.crash();
    register.start_ahead("+12d");
    assert_eq!(register.get("alpha", "reports/1").json()["state"], "passing-on-overdue");
    let pass_on =
        |id: u32| register.post("aigul", &format!("reports/{id}/pass-on"), json!({"to": "the regulator"}));
    assert_eq!(pass_on(1).json()["state"], "passed-on");
    // Who reported sees how far it is, and neither another's nor why.
    let seen = register.get("alpha", "reports/1").json();
    assert_eq!((&seen["state"], &seen["events"]), (&json!("passed-on"), &Value::Null));
    assert_eq!(register.get("alpha", "reports/2").status, 404);
    assert_eq!(register.post("alpha", "reports/1/check", json!({"confirmed": true, "why": "x"})).status, 403);
}

#[test]
fn a_head_confirms_an_identifier_and_takes_it_back() {
    on_each_store(|postgres| {
        let register = Register::new(postgres);
        let asked = |why: &str| json!({"identifier": phone("8 701 555 66 77"), "why": why});
        for who in ["aigul", "bank", "alpha", "auditor"] {
            assert_eq!(register.post(who, "confirmed", asked("x")).status, 403, "{who}");
        }
        assert_eq!(register.post("head", "confirmed/retract", asked("x")).problem(), "wrong-state");
        let confirmed = register.post("head", "confirmed", asked("four victims"));
        assert_eq!(confirmed.status, 201, "{confirmed:?}");
        let again = json!({"identifier": phone("+77015556677"), "why": "the same"});
        assert_eq!(register.post("chief", "confirmed", again).problem(), "wrong-state");
        assert_eq!(register.post("chief", "confirmed/retract", asked("a spoofed number")).status, 201);
        let events = register.get("aigul", "confirmed").json()["confirmations"].clone();
        let told: Vec<(i64, bool, &str, &str)> = events
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let text = |name: &str| one[name].as_str().unwrap();
                (one["n"].as_i64().unwrap(), one["confirmed"] == true, text("who"), text("why"))
            })
            .collect();
        assert_eq!(told, [(1, true, "head", "four victims"), (2, false, "chief", "a spoofed number")]);
        assert_eq!(events[0]["identifier"], phone("+77015556677"));
        let after = register.get("aigul", "confirmed?after=1").json()["confirmations"].clone();
        assert_eq!((after.as_array().unwrap().len(), &after[0]["n"]), (1, &json!(2)));
        assert_eq!(register.get("bank", "confirmed").status, 403);
    });
}

#[test]
fn keys_are_replaced_and_nothing_is_lost() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        let facts = format!("{HEAD}1,other,2023-11-15,almaty,+77011234567\n2,other,2023-11-16,almaty,\n");
        assert_eq!(register.import("chief", "once", &facts).status, 201);
        let person =
            json!({"kind": "suspect", "name": "S", "iin": iin(9), "identifiers": [phone("+77011234567")]});
        assert_eq!(register.post("aigul", "persons", person).status, 201);
        let ask = json!({"to": "bank", "kind": "freeze", "fact": 1, "text": "please"});
        assert_eq!(register.post("aigul", "requests", ask).status, 201);
        assert_eq!(register.post("bank", "requests/1/answer", json!({"text": "done"})).status, 200);
        let taken = json!({"item": "sim", "place": "p", "time": "2026-01-10T09:00:00Z", "by": "a"});
        assert_eq!(register.post("aigul", "seizures", taken).status, 201);
        let over = json!({"from": "a", "to": "b", "place": "p", "why": "w", "time": "2026-01-11T09:00:00Z"});
        assert_eq!(register.post("aigul", "seizures/1/custody", over).status, 200);
        let why = |body: Value| register.post("head", "confirmed", body).status;
        assert_eq!(why(json!({"identifier": phone("+77011234567"), "why": "w"})), 201);
        let report = json!({"kind": "drop", "identifier": phone("+77019999999"), "text": "t"});
        assert_eq!(register.post("bank", "reports", report).status, 201);
        let cut = json!({"of": {"fact": 1}, "from": {"fact": 2}, "why": "w"});
        assert_eq!(register.post("aigul", "cuts", cut).status, 201);
        let group = json!({"name": "g", "why": "w", "facts": [1, 2]});
        assert_eq!(register.post("aigul", "groups/confirm", group).status, 201);

        let paths = [
            "facts/1",
            "persons/1",
            "requests",
            "seizures/1",
            "confirmed",
            "reports",
            "groups",
            "facts/1/links",
        ];
        let seen = |register: &Register| paths.map(|path| register.get("aigul", path).json());
        let before = seen(&register);
        let old = register.site.read("case.keys");
        register.site.ok(&["case", "key", "case.keys"]);
        let said = register.site.ok(&["case", "rotate-keys"]);
        assert!(!said.starts_with("0 rows"), "{said}");
        assert!(register.site.ok(&["case", "rotate-keys"]).starts_with("0 rows are now sealed under key "));
        // Then the older key is of no more use.
        register.crash();
        let keys = register.site.read("case.keys").replace(&old, "");
        register.site.write("case.keys", keys);
        register.start();
        assert_eq!(seen(&register), before);
        for search in [json!({"victim_iin": iin(1)}), json!({"identifier": phone("8 701 123 45 67")})] {
            let expected = if search["victim_iin"].is_null() { 1 } else { 0 };
            assert_eq!(register.found("aigul", search).len(), expected);
        }
        let found = register.post("aigul", "persons/search", json!({"iin": iin(9)})).json();
        assert_eq!(found["persons"][0]["id"], 1);
        // The same file is the same yet, by its content and by its key.
        assert_eq!(register.import("chief", "", &facts).json()["already_there"], 2);
        assert_eq!(register.import("chief", "once", &facts).json()["registered"], 2);
    });
}

#[test]
fn metrics_say_how_much_is_in_the_register_and_looks_are_kept_as_long_as_is_said() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        let csv = "number,type,when,unit,card\n1,bank-call,2023-11-15,almaty,4111111111111111\n\
                   2,bank-call,2023-11-15,almaty,4111111111111111\n3,bank-call,2023-11-15,almaty,\n";
        assert_eq!(register.import("aigul", "", csv).status, 201);
        let found = "{\"numbers\":[{\"number\":\"+77051230001\"},{\"number\":\"+77051230002\"}]}\n";
        register.site.write("found.jsonl", found);
        register.site.ok(&["case", "centres", "import", "found.jsonl", "--unit", "almaty"]);
        assert_eq!(register.get("ivan", "facts/1").status, 403);
        assert_eq!(register.get("bank", "facts/1").status, 403);
        let metric = |register: &Register, name: &str| Client::new(register.address).metric(name);
        assert_eq!(metric(&register, "qalqan_case_looks_refused_total"), 2.0);
        register.crash();
        let configuration = register.site.read("qalqan.toml");
        let kept = configuration.replace("[casework]\n", "[casework]\nkeep-looks-days = 30\n");
        let fed = kept.replace("[casework]\n", "[casework]\nfeed-list = \"block\"\n")
            + "\n[lists]\nblock = \"block.csv\"\n";
        register.site.write("qalqan.toml", fed);
        register.start();
        for (name, value) in [
            ("qalqan_case_facts", 3.0),
            ("qalqan_case_groups{state=\"proposed\"}", 1.0),
            ("qalqan_case_groups{state=\"confirmed\"}", 0.0),
            ("qalqan_case_call_centres{state=\"proposed\"}", 1.0),
        ] {
            rig::wait(|| metric(&register, name) == value, || format!("{name} is {value}"));
        }
        let now = jiff::Timestamp::now().as_second() as f64;
        rig::wait(
            || metric(&register, "qalqan_case_fed_timestamp_seconds") > now - 60.0,
            || "it is fed".to_owned(),
        );
        // What docs/casework.md explains is there, and nothing else.
        let page = Client::new(register.address).get("/metrics").body;
        let docs = std::fs::read_to_string("../docs/casework.md").unwrap();
        let rows = docs.lines().filter_map(|line| line.strip_prefix("| `qalqan_case_")?.split('`').next());
        let mut explained: Vec<&str> = rows.collect();
        let types =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE qalqan_case_")?.split(' ').next());
        let mut there: Vec<&str> = types.collect();
        explained.sort_unstable();
        there.sort_unstable();
        assert_eq!(explained, there);

        // A month and a day later they are gone, and that is on record.
        assert!(register.looks().iter().any(|look| look.0 == "ivan"));
        register.crash();
        register.start_ahead("+31d");
        let gone = || register.looks();
        rig::wait(|| gone().iter().any(|look| look.1 == "forget-looks"), || "looks are forgotten".to_owned());
        let left = gone();
        assert!(!left.iter().any(|look| look.0 == "ivan" || look.0 == "aigul"), "{left:?}");
        assert!(left.iter().any(|look| look.0 == "qalqan" && look.2.contains(" looks before ")), "{left:?}");
        register.node.take();
    });
}
