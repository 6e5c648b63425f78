//! The investigators' register through its doors: facts in, who may see them, who looked, a node killed in mid-import. On SQLite
//! and on a real PostgreSQL.

use crate::rig;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use rig::http::Client;
use rig::loans::iin;
use rig::postgres::on_each_store;
use rig::register::Register;
use rig::{Site, repository};
use serde_json::{Value, json};

const HEAD: &str = "number,type,when,region,unit,damage,recovered,victim_iin,victim_phone,phone,card\n";

fn numbers(found: &[Value]) -> Vec<&str> {
    found.iter().map(|fact| fact["number"].as_str().unwrap()).collect()
}

/// Three facts of two units, and somebody's number and card in them.
fn three() -> String {
    let victim = iin(1);
    format!(
        "{HEAD}23-1,bank-call,2023-11-15 14:30,Almaty,almaty,150000.50,,{victim},87051112233,8 701 123 45 67,4111 1111 1111 1111\n\
         23-2,loan-in-name,2023-12-01,Almaty,almaty,90000,1000,,,+77011234567,\n\
         23-3,other,2024-01-10,Astana,astana,5000,,,,+77029998877,\n"
    )
}

#[test]
fn a_file_is_taken_whole_or_not_at_all() {
    on_each_store(|postgres| {
        let register = Register::new(postgres);
        let wrong = format!(
            "{HEAD}1,bank-call,2023-11-15,,,,,,,call me,\n2,theft,yesterday,,,,,,,,\n3,other,2023-11-15,,,,,,,,"
        );
        let refused = register.import("chief", "", &wrong);
        assert_eq!((refused.status, refused.problem().as_str()), (422, "bad-rows"), "{refused:?}");
        let faults: Vec<String> = serde_json::from_value(refused.json()["faults"].clone()).unwrap();
        for told in ["line 2: phone: ", "line 3: type: is one of", "line 3: when: is no time"] {
            assert!(faults.iter().any(|fault| fault.starts_with(told)), "{told}: {faults:?}");
        }
        assert!(!refused.body.contains("call me"), "{refused:?}");
        // Whoever works in several units has to say whose facts they are; whoever in one, may add to that one only.
        let none = register.import("chief", "", "number,type,when\n1,other,2023-11-15\n");
        assert!(none.body.contains("fact 1: unit: it names none"), "{none:?}");
        let foreign = register.import("aigul", "", &three());
        assert!(foreign.body.contains("fact 23-3: unit: \\\"astana\\\" is none of yours"), "{foreign:?}");
        assert!(register.found("chief", json!({})).is_empty());

        let taken = register.import("chief", "first", &three());
        assert_eq!((taken.status, taken.json()), (201, json!({"registered": 3, "already_there": 0})));
        // Sent again with its key it is answered the same, and without it said to be there already.
        assert_eq!(register.import("chief", "first", &three()).body, taken.body);
        let again = register.import("chief", "", &three());
        assert_eq!((again.status, again.json()), (201, json!({"registered": 0, "already_there": 3})));
        // However the identifiers are written, it is the same content.
        let other_way = three().replace("8 701 123 45 67", "+7 (701) 123-45-67");
        assert_eq!(register.import("chief", "", &other_way).json()["already_there"], 3);
        // The same number with another content is refused, and what stands beside it.
        let other = three().replace("150000.50", "999999") + "23-4,other,2024-01-11,,almaty,,,,,,\n";
        let refused = register.import("chief", "", &other);
        assert!(
            refused.body.contains("fact 23-1: number: the register has it with another content"),
            "{refused:?}"
        );
        assert_eq!(register.import("chief", "first", &other).problem(), "idempotency-key-reused");
        assert_eq!(numbers(&register.found("chief", json!({}))), ["23-1", "23-2", "23-3"]);

        // By the command line, while the node runs.
        register.site.write("more.csv", "number,type,when,phone\n23-5,other,2023-11-15,+77011234567\n");
        let command = |unit: &[&'static str]| [&["case", "import", "more.csv"], unit].concat();
        assert!(register.site.refused(&command(&[])).contains("more.csv: fact 23-5: unit: it names none"));
        assert_eq!(
            register.site.ok(&command(&["--unit", "astana"])),
            "1 facts are new, 0 were there already\n"
        );
        assert_eq!(numbers(&register.found("ivan", json!({}))), ["23-3", "23-5"]);
        register.site.write("bad.csv", format!("{HEAD}6,theft,yesterday,,,,,,,,\n"));
        let error = register.site.refused(&["case", "import", "bad.csv", "--unit", "astana"]);
        assert!(
            error.contains("bad.csv: line 2: type: ") && error.contains("bad.csv: nothing was taken"),
            "{error}"
        );
    });
}

#[test]
fn facts_are_found_however_an_identifier_is_written() {
    on_each_store(|postgres| {
        let register = Register::new(postgres);
        assert_eq!(register.import("chief", "", &three()).status, 201);
        let by = |search: Value| {
            let found = register.found("chief", search);
            numbers(&found).into_iter().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        for way in [
            "+77011234567",
            "77011234567",
            "87011234567",
            "7011234567",
            "8 (701) 123-45-67",
            "+7 701 123 45 67",
            "tel:+77011234567",
            "0077011234567",
            "8–701–123–45–67",
            "+７７０１１２３４５６７",
        ] {
            assert_eq!(by(json!({"identifier": {"kind": "phone", "value": way}})), "23-1 23-2", "{way}");
        }
        assert_eq!(by(json!({"identifier": {"kind": "card", "value": "4111-1111-1111-1111"}})), "23-1");
        assert_eq!(by(json!({"identifier": {"kind": "phone", "value": "8 705 111 22 33"}})), "23-1");
        assert_eq!(by(json!({"identifier": {"kind": "phone", "value": "+77770000000"}})), "");
        assert_eq!(by(json!({"victim_iin": iin(1)})), "23-1");
        assert_eq!(by(json!({"type": "loan-in-name"})), "23-2");
        assert_eq!(by(json!({"region": "Astana"})), "23-3");
        assert_eq!(by(json!({"number": "23-2", "unit": "almaty", "state": "registered"})), "23-2");
        assert_eq!(by(json!({"state": "in-court"})), "");
        // 14:30 in Almaty is 09:30 in UTC: from that moment on, and before midnight of the first of January there.
        let period = json!({"from": "2023-11-15T09:30:00Z", "until": "2023-12-31T19:00:00Z"});
        assert_eq!(by(period), "23-1 23-2");
        assert_eq!(by(json!({"from": "2023-11-15T09:30:01Z", "until": "2023-12-31T19:00:00Z"})), "23-2");
        assert_eq!(by(json!({"limit": 1})), "23-1 23-2 23-3");
        // What is searched for makes no line of its own among looks.
        assert_eq!(by(json!({"region": "x\n2026-01-01T00:00:00.000Z aigul see-fact allowed fact 1"})), "");
        let looks = register.site.ok(&["case", "looks"]);
        assert!(
            !looks.contains("\n2026-01-01T00:00:00.000Z") && looks.contains("region x 2026-01-01"),
            "{looks}"
        );
        for wrong in [
            json!({"identifier": {"kind": "card", "value": "4111111111111112"}}),
            json!({"victim_iin": "1"}),
            json!({"from": "yesterday"}),
            json!({"limit": 0}),
            json!({"colour": "red"}),
            json!({"type": "theft"}),
        ] {
            let answer = register.post("chief", "facts/search", wrong);
            assert_eq!((answer.status, answer.problem().as_str()), (422, "invalid-request"), "{answer:?}");
            assert!(!answer.body.contains("4111111111111112"), "{answer:?}");
        }
    });
}

#[test]
fn each_sees_what_is_his_and_every_look_is_recorded() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        assert_eq!(register.import("chief", "", &three()).status, 201);
        let all = register.found("chief", json!({}));
        let id = |n: usize| all[n]["id"].as_i64().unwrap();
        let (almaty, astana) = (format!("facts/{}", id(0)), format!("facts/{}", id(2)));
        let seen = register.get("aigul", &almaty);
        assert_eq!(seen.status, 200, "{seen:?}");
        let seen = seen.json();
        assert_eq!(seen["victim_iin"], iin(1));
        assert_eq!(
            (&seen["victim_phone"], &seen["damage"], &seen["time"]),
            (&json!("+77051112233"), &json!("150000.50"), &json!("2023-11-15T09:30:00.000Z"))
        );
        assert_eq!(
            seen["identifiers"],
            json!([{"kind": "phone", "value": "+77011234567"}, {"kind": "card", "value": "4111111111111111"}])
        );
        assert_eq!(seen["events"][0]["event"], "fact_registered");
        assert_eq!(seen["events"][0]["who"], "chief");

        // Another unit's is refused, not hidden; what is not there is not there; for those outside nothing is.
        let status = |who: &str, path: &str| register.get(who, path).status;
        assert_eq!(register.get("aigul", &astana).problem(), "not-allowed");
        assert_eq!(
            (status("aigul", &astana), status("aigul", "facts/999"), status("bank", &almaty)),
            (403, 404, 403)
        );
        assert_eq!(
            (status("bank", "facts/999"), status("alpha", &almaty), status("auditor", &almaty)),
            (403, 403, 403)
        );
        for who in ["bank", "alpha", "auditor"] {
            assert_eq!(register.post(who, "facts/search", json!({})).status, 403, "{who}");
            assert_eq!(register.import(who, "", &three()).status, 403, "{who}");
        }
        assert_eq!(numbers(&register.found("aigul", json!({}))), ["23-1", "23-2"]);
        assert!(
            register
                .found("ivan", json!({"identifier": {"kind": "phone", "value": "+77011234567"}}))
                .is_empty()
        );

        // Only a head assigns, and only in his units; then the investigator sees it.
        let assign = json!({"investigator": "ivan"});
        assert_eq!(register.post("aigul", &format!("{almaty}/assign"), assign.clone()).status, 403);
        assert_eq!(register.post("head", &format!("{astana}/assign"), assign.clone()).status, 403);
        assert_eq!(
            register.post("head", &format!("{almaty}/assign"), json!({"investigator": "bank"})).status,
            422
        );
        assert_eq!(status("ivan", &almaty), 403);
        assert_eq!(register.post("head", &format!("{almaty}/assign"), assign).json()["assigned"], "ivan");
        assert_eq!(status("ivan", &almaty), 200);
        assert_eq!(numbers(&register.found("ivan", json!({}))), ["23-1", "23-3"]);

        // Who looks is for the auditor alone.
        for who in ["chief", "aigul", "bank", "alpha"] {
            assert_eq!(register.get(who, "looks").status, 403, "{who}");
        }
        let looks = register.looks();
        let has = |who: &str, what: &str, subject: &str, refused: bool| {
            let it = (who.to_owned(), what.to_owned(), subject.to_owned(), refused);
            assert!(looks.contains(&it), "{it:?}: {looks:?}");
        };
        has("chief", "import-facts", "3 facts", false);
        has("aigul", "see-fact", &format!("fact {}", id(0)), false);
        has("aigul", "see-fact", &format!("fact {}", id(2)), true);
        has("aigul", "see-fact", "fact 999", true);
        has("bank", "see-fact", &format!("fact {}", id(0)), true);
        has("auditor", "see-fact", &format!("fact {}", id(0)), true);
        has("bank", "search-facts", "facts", true);
        has("aigul", "search-facts", &format!("fact {}", id(1)), false);
        has("aigul", "assign-fact", &format!("fact {}", id(0)), true);
        has("head", "assign-fact", &format!("fact {}", id(0)), false);
        has("chief", "see-looks", "looks", true);
        let said = register.site.ok(&["case", "looks", "--since", "2020-01-01"]);
        assert!(said.contains(&format!(" aigul see-fact refused fact {}\n", id(2))), "{said}");
        assert!(!said.contains("7011234567") && !said.contains(&iin(1)), "{said}");
        assert_eq!(register.site.ok(&["case", "looks", "--since", "2099-01-01"]), "");
        // Nothing personal stands in the store in clear.
        register.crash();
        if register.postgres.is_none() {
            for file in ["case.db", "case.db-wal"] {
                let bytes = std::fs::read(register.site.path(file)).unwrap_or_default();
                for secret in ["7011234567", "4111111111111111", "7051112233", &iin(1)] {
                    assert!(
                        !bytes.windows(secret.len()).any(|part| part == secret.as_bytes()),
                        "{file}: {secret}"
                    );
                }
            }
        }
    });
}

#[test]
fn what_is_changed_says_who_and_when_and_why() {
    on_each_store(|postgres| {
        let register = Register::new(postgres);
        assert_eq!(register.import("chief", "", &three()).status, 201);
        let fact = format!("facts/{}", register.found("aigul", json!({}))[0]["id"]);
        let state = |who: &str, state: &str, why: &str| {
            register.post(who, &format!("{fact}/state"), json!({"state": state, "why": why}))
        };
        assert_eq!(state("ivan", "investigated", "mine").status, 403);
        assert_eq!(state("aigul", "investigated", " ").status, 422);
        assert_eq!(state("aigul", "solved", "done").status, 422);
        assert_eq!(state("aigul", "investigated", "a suspect is known").json()["state"], "investigated");
        assert_eq!(state("aigul", "investigated", "again").problem(), "wrong-state");
        let recovered =
            |sum: &str| register.post("head", &format!("{fact}/recovered"), json!({"recovered": sum}));
        assert_eq!(recovered("150000.51").status, 422);
        assert_eq!(recovered("100000").json()["recovered"], "100000.00");
        let events = register.get("aigul", &fact).json()["events"].clone();
        let told: Vec<(&str, &str)> = events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| (event["event"].as_str().unwrap(), event["who"].as_str().unwrap()))
            .collect();
        assert_eq!(
            told,
            [("fact_registered", "chief"), ("state_changed", "aigul"), ("sum_recovered", "head")]
        );
        assert_eq!(
            (&events[1]["from"], &events[1]["to"], &events[1]["why"]),
            (&json!("registered"), &json!("investigated"), &json!("a suspect is known"))
        );
        assert_eq!((&events[2]["from"], &events[2]["to"]), (&json!("0.00"), &json!("100000.00")));
        // Who was told that it is so already, or that a body is wrong, has looked too.
        let looked =
            register.looks().iter().filter(|(who, what, ..)| who == "aigul" && what == "change-fact").count();
        assert_eq!(looked, 3, "a change, one that is none, and one without a reason");
        // What was changed here does not make the file another one.
        assert_eq!(register.import("chief", "", &three()).json()["already_there"], 3);
    });
}

#[test]
fn a_node_killed_in_mid_import_has_taken_all_or_nothing() {
    const FACTS: usize = 5000;
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        let csv = |round: u32| {
            let row = |n: usize| {
                format!("{round}-{n},other,2023-11-15,Almaty,almaty,1000,,,,+7701{n:07};+7702{round:07},\n")
            };
            (0..FACTS).fold(HEAD.to_owned(), |csv, n| csv + &row(n))
        };
        let began = Instant::now();
        assert_eq!(register.import("chief", "", &csv(0)).status, 201);
        let whole = began.elapsed();
        let (mut taken, mut left) = (1, 0);
        for round in 1..8 {
            let (csv, token, address) = (csv(round), register.token("chief"), register.address);
            let asking = std::thread::spawn(move || {
                let mut client = Client::new(address);
                let head = format!(
                    "POST /v1/case/facts HTTP/1.1\r\nHost: qalqan\r\nAuthorization: Bearer {token}\r\n\
                     Content-Type: text/csv\r\nContent-Length: {}\r\n\r\n",
                    csv.len()
                );
                client.send([head.as_bytes(), csv.as_bytes()].concat());
                client.answer().map(|answer| answer.status)
            });
            // Another moment each round, from the beginning of an import to behind its end.
            std::thread::sleep(whole * (2 * round - 1) / 7);
            register.crash();
            let answered = asking.join().unwrap();
            register.start();
            let found = register.found("chief", json!({"limit": 1000})).len();
            let is_taken = found == (taken + 1) * FACTS;
            assert!(is_taken || found == taken * FACTS, "{found} facts in round {round}");
            // What was answered is there.
            assert!(answered.is_none() || is_taken, "{answered:?}, {found} facts in round {round}");
            // And with all that its facts hold.
            let phone = format!("+7702{round:07}");
            let held = json!({"identifier": {"kind": "phone", "value": phone}, "limit": 1000});
            assert_eq!(register.found("chief", held).len(), if is_taken { FACTS } else { 0 });
            taken += usize::from(is_taken);
            left += usize::from(!is_taken);
        }
        eprintln!("killed: {taken} imports were taken, {left} were not");
        assert!(left > 0, "it was killed in the middle");
        let phone = json!({"identifier": {"kind": "phone", "value": format!("+7701{:07}", FACTS - 1)}});
        assert_eq!(register.found("chief", phone).len(), taken);
    });
}

#[test]
fn what_is_wrong_with_its_configuration_is_said() {
    let site = Site::new(
        "[loans]\nstore = \"one.db\"\nkeys = \"loans.keys\"\nsigning-key = \"signing.pem\"\nclients = \"clients.csv\"\n\
         [casework]\nstore = \"one.db\"\nkeys = \"case.keys\"\nclients = \"case.csv\"\npublic = \"public.txt\"\n\
         weekend = [\"caturday\"]\nholidays = [\"yesterday\"]\nrequest-days = 0\n",
    );
    let client = |role: &str, units: &[&'static str]| {
        let command = ["case", "client", "case.csv", "x", "--name", "X", "--role", role];
        site.refused(&[&command, units].concat())
    };
    assert!(client("friend", &[]).contains("role \"friend\" is one of investigator, head"));
    assert!(client("head", &[]).contains("units: name those he works in"));
    assert!(client("bank", &["--units", "almaty"]).contains("a client of role bank has none"));
    site.ok(&["case", "key", "case.keys"]);
    site.write("case.csv", "id,secret_sha256,name,role,units\nx,00,X,head,*\n");
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(site.path("case.csv"), closed).unwrap();
    site.write("public.txt", "+77272999999\ncall me\n");
    let error = site.refused(&["config", "check"]);
    for told in [
        "store is that of [loans]: give the register one of its own",
        "case.csv:2: secret_sha256 is not 64 hex digits",
        "public.txt:2: it is no phone number",
        "weekend: no day \"caturday\"",
        "holidays: \"yesterday\" is no day",
        "request-days is not between 1 and 60",
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
    assert!(!error.contains("call me"), "{error}");
    let none = Site::new("");
    assert!(none.refused(&["case", "looks"]).contains("no [casework]"));
}

/// By another hand: whatever the description allows and forbids.
#[test]
fn schemathesis_finds_nothing_in_the_register() {
    let register = Register::new(None);
    assert_eq!(register.import("chief", "", &three()).status, 201);
    let output = Command::new(repository().join("target/tools/bin/schemathesis"))
        .current_dir(register.site.directory.path())
        .env("SCHEMATHESIS_HOOKS", repository().join("node/tests/schemathesis/lines.py"))
        .arg("--config-file")
        .arg(repository().join("node/tests/schemathesis/register.toml"))
        .args(["run", &format!("http://{}/openapi.json", register.address)])
        .args(["--include-path-regex", "^/v1/case", "--checks", "all", "--seed", "1", "--no-color"])
        .args(["--max-examples", "50", "--max-time", "40"])
        .args(["--header", &format!("Authorization: Bearer {}", register.token("chief"))])
        .output()
        .expect("schemathesis of target/tools runs: ./test installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let mut http = Client::new(register.address);
    assert!(http.metric("qalqan_http_requests_total{route=\"/v1/case\",code=\"200\"}") > 20.0, "{said}");
    assert!(!register.node.as_ref().unwrap().log().contains("panicked"));
}
