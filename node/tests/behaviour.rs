//! R18 while calls last: a call centre is refused, honest callers who call as much are not, and what is thought of a number fades,
//! is told, and outlives a restart.

use crate::rig;

use std::net::SocketAddr;

use jiff::{SignedDuration, Timestamp};
use rig::http::{Answer, Client, site, wait_for_metric};
use rig::{ACCESS, INTERNATIONAL, Invite, Node, Site, Switch, header, status, wait};
use serde_json::{Value, json};

const LIVE: &str = "[hunting.live]\nevery-s = 1\nmemory-mb = 8\n";
const BLOCKING: &str = "[rules]\nR18 = \"block\"\n";
const SCORED: &str = "qalqan_behaviour_scored_numbers";

/// A call some minutes ago, as it is asked about.
fn call(trunk: &str, calling: &str, called: &str, minutes_ago: i64) -> Value {
    let time = Timestamp::now() - SignedDuration::from_mins(minutes_ago);
    json!({"trunk": trunk, "calling": calling, "called": called, "time": time.to_string()})
}

/// Asks about calls, a thousand at a time, the oldest first, and gives the rules that answered.
fn screen(address: SocketAddr, mut calls: Vec<Value>) -> Vec<Value> {
    calls.sort_by_key(|call| call["time"].as_str().unwrap().to_owned());
    let mut http = Client::new(address);
    let answers = calls.chunks(1000).flat_map(|calls| {
        let answer = http.screen(serde_json::to_vec(calls).unwrap());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json().as_array().unwrap().clone()
    });
    answers.collect()
}

fn centre(n: u64) -> String {
    format!("+7701100{:04}", n * 50)
}

fn person(n: u64) -> String {
    format!("+7702{:07}", n * 31 % 10_000_000)
}

/// Whom of a list of 700 a number calls next: like chance (SplitMix64's last step).
fn listed(n: u64, i: u64) -> u64 {
    let word = (n * 1000 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) % 700
}

/// Eight numbers on a trunk that go loosely through a list of 700, the last call so many minutes ago.
fn call_centre(trunk: &str, minutes_ago: i64) -> Vec<Value> {
    let one =
        |n: u64, i: u64| call(trunk, &centre(n), &person(listed(n, i)), minutes_ago + (249 - i as i64) * 2);
    (0..8).flat_map(|n| (0..250).map(move |i| one(n, i))).collect()
}

/// What the node says of one more call.
fn verdict(address: SocketAddr, trunk: &str, calling: &str) -> Value {
    let asked = json!({"trunk": trunk, "calling": calling, "called": "+77019999999"});
    Client::new(address).screen(asked.to_string()).json()
}

fn is_refused(address: SocketAddr, trunk: &str, calling: &str) -> bool {
    let said = verdict(address, trunk, calling);
    said["verdict"] == "block" && said["rule"] == "R18" && said["sub_reason"] == "behaviour-score"
}

fn behaviour(address: SocketAddr, number: &str) -> Value {
    let head = "POST /v1/behaviour HTTP/1.1\r\nContent-Type: application/json";
    Client::new(address).ask(head, json!({ "number": number }).to_string()).json()
}

/// Waits until scores were written that know all calls of before.
fn wait_for_scores(address: SocketAddr) {
    for _ in 0..2 {
        let before = behaviour(address, &centre(0))["evaluated"].clone();
        wait(|| behaviour(address, &centre(0))["evaluated"] != before, || "scores written anew".to_owned());
    }
}

fn stop(mut node: Node) {
    node.signal("-TERM");
    wait(|| !node.is_running(), || "the node stops".to_owned());
}

/// Numbers that call as much as a call centre, each with the trunk that it calls by; and their calls.
fn look_alikes() -> (Vec<(&'static str, String)>, Vec<Value>) {
    let (mut numbers, mut calls) = (Vec::new(), Vec::new());
    let mut works = |trunk: &'static str, n: u64, many: u64, back: u64, whom: &dyn Fn(u64) -> u64| {
        let number = format!("+7701200{:04}", n * 50);
        for i in 0..many {
            let minutes_ago = (many - 1 - i) as i64 % 500;
            calls.push(call(trunk, &number, &person(whom(i)), minutes_ago));
            if i % 100 < back {
                calls.push(call("national", &person(whom(i)), &number, minutes_ago));
            }
        }
        numbers.push((trunk, number));
    };
    // Couriers and taxis; new honest SIMs do the same. Pollsters, and a school that calls each parent once.
    (0..10).for_each(|n| works("access", n, 250, 15, &move |i| 1000 + n * 5000 + i * 3));
    (10..18).for_each(|n| works("pbx", n, 250, 1, &move |i| 200_000 + n * 7000 + i * 7));
    works("access", 20, 400, 0, &|i| 60_000 + i * 11);
    // A new shop and a hospital, called as well as calling; a bank's hotline, six numbers through one list of customers.
    works("access", 21, 200, 60, &|i| 70_000 + i * 5);
    works("pbx", 22, 300, 40, &|i| 80_000 + i * 5);
    (24..30).for_each(|n| works("pbx", n, 300, 90, &move |i| 90_000 + listed(n, i)));
    // A probe, a doorbell, a family's one telephone.
    works("access", 31, 500, 0, &|i| 95_000 + i % 20);
    works("access", 32, 100, 0, &|_| 96_000);
    works("access", 33, 60, 20, &|i| 97_000 + i % 8);
    (numbers, calls)
}

#[test]
fn a_call_centre_is_refused_and_those_who_call_as_much_are_not() {
    let trunks = "[trunk.pbx]\nclass = \"access\"\n[lists]\nexempt = \"exempt.csv\"\n";
    let (site, address) = site(&format!("{LIVE}{BLOCKING}{trunks}"));
    site.write("exempt.csv", format!("number,owner,expires,note\n{},ops,,R18\n", centre(7)));
    let node = site.serve();
    let (honest, calls) = look_alikes();
    let said = screen(address, [calls, call_centre("access", 0)].concat());
    assert!(said.iter().all(|said| said["verdict"] == "allow"), "{said:?}");
    wait_for_metric(address, SCORED, 8.0);
    // By the wire, with what shows why; and the emergency call of the same number passes.
    let switch = Switch::on(ACCESS, &node);
    let from = format!("sip:{}@x", centre(0));
    let refused = switch.invite(&Invite { from: &from, call_id: "a", ..Invite::default() });
    assert_eq!(status(&refused), "603 Network Blocked", "{refused}");
    assert!(header(&refused, "Qalqan-Verdict").unwrap().contains("R18"), "{refused}");
    let emergency = switch.invite(&Invite { from: &from, to: "112", call_id: "b", ..Invite::default() });
    assert!(status(&emergency).starts_with("302"), "{emergency}");
    for n in 0..7 {
        assert!(is_refused(address, "access", &centre(n)), "{}", verdict(address, "access", &centre(n)));
    }
    assert_eq!(verdict(address, "access", &centre(7))["verdict"], "allow", "exempt");
    for (trunk, number) in &honest {
        let said = verdict(address, trunk, number);
        assert_eq!((&said["verdict"], &said["rule"]), (&json!("allow"), &json!("R20")), "{number}: {said}");
    }
    // What is done with a number elsewhere says nothing of its owner here.
    assert_eq!(verdict(address, "pbx", &centre(0))["verdict"], "allow");
    // The facts of a call say the score; who asks sees the signals with their figures, and the look is written down.
    let head = "POST /v1/screen/explain HTTP/1.1\r\nContent-Type: application/json";
    let asked = json!({"trunk": "access", "calling": centre(0), "called": "+77019999999"});
    let facts = Client::new(address).ask(head, asked.to_string()).body;
    assert!(
        facts.contains("behaviour score of +77011****00") && facts.contains("kinds of evidence: 2"),
        "{facts}"
    );
    let told = behaviour(address, &centre(0));
    let by = &told["trunks"][0];
    assert_eq!((&by["trunk"], &by["evidence"], &by["threshold"]), (&json!("access"), &json!(2), &json!(80)));
    assert!(by["score"].as_u64().unwrap() > 80, "{told}");
    for (signal, threshold) in [("many-called", 150.0), ("same-pool", 0.1)] {
        let given = by["signals"].as_array().unwrap().iter().find(|given| given["signal"] == signal).unwrap();
        assert_eq!(given["threshold"], threshold, "{told}");
        assert!(given["figure"].as_f64().unwrap() >= threshold, "{told}");
    }
    assert!(!told.to_string().contains(&centre(0)), "masked: {told}");
    let looks = site.read("journal/looks.jsonl");
    assert!(looks.contains("\"behaviour\":\"+77011****00\""), "{looks}");
    assert_eq!(behaviour(address, "+77029999999")["trunks"], json!([]));
    // A courier is called back, so nothing speaks against him; a pollster is told what does, and that it is one kind.
    let evidence = |n: usize| behaviour(address, &honest[n].1)["trunks"][0]["evidence"].clone();
    assert_eq!((evidence(0), evidence(10)), (json!(0), json!(1)));
    assert_eq!(Client::new(address).metric("qalqan_behaviour_unseen_calls_total"), 0.0);
}

/// Hands over call records with a key or none.
fn send_records(address: SocketAddr, key: &str, query: &str, csv: &str) -> Answer {
    let head = format!(
        "POST /v1/call-records{query} HTTP/1.1\r\nContent-Type: text/csv; charset=utf-8\r\nX-Api-Key: {key}"
    );
    Client::new(address).ask(&head, csv)
}

fn recorded(address: SocketAddr, outcome: &str) -> f64 {
    Client::new(address).metric(&format!("qalqan_behaviour_call_records_total{{outcome=\"{outcome}\"}}"))
}

#[test]
fn records_of_calls_tell_a_sim_box_from_couriers() {
    let (site, address) = site(&format!("{LIVE}{BLOCKING}"));
    let _node = site.serve();
    // Four SIMs and four couriers: 220 calls to strangers each, and nobody calls back.
    let numbers: Vec<String> = (0..8).map(|n| format!("+7701300{:04}", n * 50)).collect();
    let mut calls = Vec::new();
    for (n, number) in numbers.iter().enumerate() {
        for i in 0..220 {
            let called = person(300_000 + n as u64 * 5000 + i * 11);
            calls.push(call("access", number, &called, (219 - i as i64) * 2));
        }
    }
    screen(address, calls.clone());
    wait_for_scores(address);
    for number in &numbers {
        assert!(!is_refused(address, "access", number));
        assert_eq!(behaviour(address, number)["trunks"][0]["evidence"], 1);
    }
    // The SIMs are in one telephone of one cell, the couriers go about.
    let mut csv = "start,calling,called,duration,cell,imei,imsi\n".to_owned();
    for (n, call) in calls.iter().enumerate() {
        let text = |name: &str| call[name].as_str().unwrap();
        let place = numbers.iter().position(|number| number == text("calling")).unwrap();
        let (cell, imei) = if place < 4 { (7, 0) } else { (100 + n % 30, place) };
        csv += &format!(
            "{},{},{},60,401-1-{cell},3528011100{imei:04}0,40101000000000{place}\n",
            text("time"),
            text("calling"),
            text("called")
        );
    }
    let told = send_records(address, "", "?trunk=access", &csv);
    assert_eq!(told.status, 202, "{told:?}");
    let nothing_left_out =
        json!({"records": 1760, "without_number": 0, "trunk_not_known": 0, "future": 0, "late": 0});
    assert_eq!(told.json(), nothing_left_out);
    wait(|| recorded(address, "counted") == 1760.0, || "all records are of watched numbers".to_owned());
    wait_for_scores(address);
    for (place, number) in numbers.iter().enumerate() {
        assert_eq!(is_refused(address, "access", number), place < 4, "{}", behaviour(address, number));
    }
    let signals = behaviour(address, &numbers[0])["trunks"][0]["signals"].clone();
    let figure = |name: &str| {
        let found = signals.as_array().unwrap().iter().find(|given| given["signal"] == name);
        found.unwrap_or_else(|| panic!("{name}: {signals}"))["figure"].clone()
    };
    assert_eq!((figure("one-place"), figure("crowded-place")), (json!(1.0), json!(4.0)));
    // Handed over again they count no more.
    assert_eq!(send_records(address, "", "?trunk=access", &csv).status, 202);
    wait(|| recorded(address, "repeated") == 1760.0, || "each is known".to_owned());
    assert_eq!(recorded(address, "counted"), 1760.0);
}

#[test]
fn records_that_cannot_be_taken_are_said() {
    let (site, address) = site(&format!("api-keys = \"keys.csv\"\n{LIVE}"));
    let key = site.ok(&["http", "key", "--trunks", "access", "ops"]).trim().to_owned();
    let node = site.serve();
    let send = |query: &str, csv: &str| send_records(address, &key, query, csv);
    let now = Timestamp::now();
    let at = |hours: i64| now + SignedDuration::from_hours(hours);
    let rows = format!(
        "start,calling,called,trunk\n{0},87011234567,+77021234567,access\n{0},anonymous,+77021234567,access\n{0},+77011234567,\
         +77021234567,national\n{0},+77011234567,+77021234567,\n{1},+77011234567,+77021234567,access\n{2},+77011234567,\
         +77021234567,access\n",
        at(-1),
        at(1),
        at(-25)
    );
    let counts = json!({"records": 1, "without_number": 1, "trunk_not_known": 2, "future": 1, "late": 1});
    assert_eq!(send("", &rows).json(), counts);
    wait(|| recorded(address, "not-watched") == 1.0, || "he made no call".to_owned());
    let told = |answer: Answer, problem: &str, detail: &str| {
        assert_eq!(answer.problem(), problem);
        let said = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(said.contains(detail), "{detail}: {said}");
        assert!(!said.contains("77011234567"), "{said}");
    };
    told(send("", "start,calling,called\n1,2\n"), "bad-rows", "line 2: 2 fields where the header has 3");
    told(send("", "+77011234567,+77021234567,1\n"), "bad-rows", "no column \"calling\"");
    told(send("", ""), "bad-rows", "no column \"calling\"");
    told(send("?trunk=nowhere", &rows), "trunk-not-known", "?trunk=");
    told(send("?trunk=national", &rows), "trunk-not-known", "?trunk=");
    told(send_records(address, "wrong", "", &rows), "wrong-key", "key");
    let head =
        format!("POST /v1/call-records HTTP/1.1\r\nContent-Type: application/json\r\nX-Api-Key: {key}");
    told(Client::new(address).ask(&head, "{}"), "unsupported-media-type", "text/csv");
    stop(node);
    site.write("qalqan.toml", site.read("qalqan.toml").replace(LIVE, ""));
    let _node = site.serve();
    told(send("", &rows), "not-configured", "[hunting.live]");
}

#[test]
fn as_shipped_a_score_only_says_what_it_would_do() {
    let (site, address) = site(LIVE);
    let node = site.serve();
    screen(address, call_centre("access", 0));
    wait_for_metric(address, SCORED, 8.0);
    let said = verdict(address, "access", &centre(0));
    assert_eq!((&said["verdict"], &said["would"]["rule"]), (&json!("allow"), &json!("R18")), "{said}");
    // One trunk's rules put it in force there; a reload keeps what is thought.
    let text = site
        .read("qalqan.toml")
        .replace("[trunk.access]\n", "[trunk.access]\nrules = { R18 = \"catalogue\" }\n");
    site.write("qalqan.toml", &text);
    node.signal("-HUP");
    wait_for_metric(address, "qalqan_configuration_reloads_total{outcome=\"in-force\"}", 1.0);
    assert!(is_refused(address, "access", &centre(0)));
    // A threshold above all scores, and watching switched off.
    site.write(
        "qalqan.toml",
        text.replace("[trunk.access]\n", "[trunk.access]\nbehaviour-threshold = 100\n"),
    );
    node.signal("-HUP");
    wait_for_metric(address, "qalqan_configuration_reloads_total{outcome=\"in-force\"}", 2.0);
    assert!(!is_refused(address, "access", &centre(0)));
    site.write("qalqan.toml", text.replace(LIVE, ""));
    node.signal("-HUP");
    wait_for_metric(address, "qalqan_configuration_reloads_total{outcome=\"in-force\"}", 3.0);
    wait(|| !is_refused(address, "access", &centre(0)), || "nobody watches".to_owned());
}

#[test]
fn a_score_fades_outlives_a_restart_and_ends_with_the_day() {
    let (site, address) = site(&format!("{LIVE}{BLOCKING}"));
    let node = site.serve();
    // Silent for three hours: a score of at most 100 is at most 36.
    screen(address, call_centre("access", 180));
    wait_for_metric(address, SCORED, 8.0);
    let told = behaviour(address, &centre(0));
    let score = told["trunks"][0]["score"].as_u64().unwrap();
    assert!((20..=36).contains(&score) && told["trunks"][0]["evidence"] == 2, "{told}");
    // They call again: the first calls pass, and a second later no more.
    for n in 0..8 {
        assert_eq!(verdict(address, "access", &centre(n))["verdict"], "allow");
    }
    wait_for_scores(address);
    assert!((0..8).all(|n| is_refused(address, "access", &centre(n))));
    // What was refused for its behaviour was called all the same: two calls each since.
    let outgoing = |n| behaviour(address, &centre(n))["trunks"][0]["outgoing"].as_u64().unwrap();
    assert_eq!((0..8).map(outgoing).collect::<Vec<_>>(), [213; 8]);
    stop(node);
    let node = site.serve();
    wait_for_metric(address, SCORED, 8.0);
    assert_eq!((0..8).map(outgoing).collect::<Vec<_>>(), [213; 8]);
    // One call, and a score knows that it calls.
    (0..8).for_each(|n| drop(verdict(address, "access", &centre(n))));
    wait_for_scores(address);
    assert!((0..8).all(|n| is_refused(address, "access", &centre(n))));
    stop(node);
    // A day and an hour later, none of it counts.
    let _ahead = site.serve_ahead("+25h");
    wait_for_scores(address);
    assert_eq!(verdict(address, "access", &centre(0))["verdict"], "allow");
    assert_eq!(behaviour(address, &centre(0))["trunks"], json!([]));
    assert_eq!(Client::new(address).metric("qalqan_behaviour_watched_numbers"), 0.0);
}

#[test]
fn a_forged_number_says_nothing_of_its_owner() {
    let (site, address) = site(&format!("{LIVE}{BLOCKING}"));
    let _node = site.serve();
    // Home numbers shown from abroad: fixed ones are refused, of mobile ones nobody knows.
    let mut calls = call_centre("international", 0);
    for (n, forged) in call_centre("international", 0).iter().enumerate() {
        let mut fixed = forged.clone();
        fixed["calling"] = json!(format!("+77272{:06}", n % 8 * 100));
        calls.push(fixed);
    }
    // Foreign ones are who they say, as far as anybody can tell.
    for foreign in call_centre("international", 0) {
        let mut foreign = foreign;
        foreign["calling"] = json!(foreign["calling"].as_str().unwrap().replace("+7701", "+4420"));
        calls.push(foreign);
    }
    screen(address, calls);
    wait_for_metric(address, SCORED, 8.0);
    assert_eq!(Client::new(address).metric("qalqan_behaviour_watched_numbers"), 8.0);
    assert_eq!(behaviour(address, &centre(0))["trunks"], json!([]));
    assert_eq!(verdict(address, "access", &centre(0))["verdict"], "allow");
    let foreign = centre(0).replace("+7701", "+4420");
    assert!(
        is_refused(address, "international", &foreign),
        "{}",
        verdict(address, "international", &foreign)
    );
}

#[test]
fn what_cannot_be_asked_is_said() {
    let (site, address) = site("api-keys = \"keys.csv\"\n[hunting.live]\nmemory-mb = 8\n");
    let key = site.ok(&["http", "key", "--trunks", "national", "ops"]).trim().to_owned();
    let node = site.serve();
    let ask = |key: &str, body: &str| {
        let head =
            format!("POST /v1/behaviour HTTP/1.1\r\nContent-Type: application/json\r\nX-Api-Key: {key}");
        Client::new(address).ask(&head, body)
    };
    assert_eq!(ask("wrong", "{\"number\":\"+77011234567\"}").problem(), "wrong-key");
    assert_eq!(ask(&key, "{").problem(), "invalid-json");
    assert_eq!(ask(&key, "{\"number\":\"me\"}").problem(), "invalid-request");
    assert_eq!(ask(&key, "{\"number\":\"+77011234567\"}").json()["trunks"], json!([]));
    assert!(site.read("journal/looks.jsonl").contains("\"key\":\"ops\""));
    stop(node);
    site.write("qalqan.toml", site.read("qalqan.toml").replace("[hunting.live]\nmemory-mb = 8\n", ""));
    let _node = site.serve();
    assert_eq!(ask(&key, "{\"number\":\"+77011234567\"}").problem(), "not-configured");
    for (wrong, told) in [
        ("memory-mb = 1", "memory-mb is between 4 and 65536"),
        ("every-s = 61", "every-s is between 1 and 60"),
        ("half-life-min = 0", "half-life-min is between 1 and 1440"),
        ("spread = 2.0", "spread is between 0.5 and 1"),
        ("colour = 1", "unknown field `colour`"),
    ] {
        let bad = Site::new(&format!("[hunting.live]\n{wrong}\n"));
        let error = bad.refused(&["config", "check"]);
        assert!(error.contains(told), "{told}: {error}");
    }
}

#[test]
fn calls_by_the_wire_are_watched_too() {
    let (site, address) = site(&format!("{LIVE}[hunting.thresholds]\nlooked-at = 5\nmany-calls = 10\n"));
    let node = site.serve();
    let switch = Switch::on(INTERNATIONAL, &node);
    for n in 0..16 {
        let (to, call_id) = (person(n), format!("call-{n}"));
        switch.invite(&Invite { to: &to, call_id: &call_id, ..Invite::default() });
    }
    wait_for_metric(address, "qalqan_behaviour_watched_numbers", 1.0);
    let told = behaviour(address, "+14155550123");
    assert_eq!(told["trunks"][0]["outgoing"], 12, "{told}");
}
