//! `qalqan case`: facts from a file, groups of them, and who called the victims.

use crate::rig::Site;

const HEAD: &str = "number,type,when,damage,victim_phone,phone,card,account,imei\n";

#[test]
fn facts_that_share_something_rare_are_one_group_however_it_was_written() {
    let site = Site::new("");
    let mut facts = HEAD.to_owned();
    // The hotline of a bank stands in every fact; it links nobody, whether rare or said to be public.
    let forms = ["+77011234567", "8 701 123 45 67", "8(701)123-45-67", "77011234567", "7011234567"];
    for (n, form) in forms.iter().enumerate() {
        facts += &format!("g{n},bank-call,2023-11-0{},100000,,{form};+77272999999,,,\n", n + 1);
    }
    for n in 0..200 {
        facts += &format!("f{n},other,2023-06-01,5000,,+7705{n:07};+77272999999,,,\n");
    }
    // One more fact by the card of another of the gang.
    facts += "g5,bank-call,2023-11-10,100000,,8-701-123-45-67,4111 1111 1111 1111,,\ng6,bank-call,2023-11-11,50000.50,,,4111-1111-1111-1111,,\n";
    site.write("facts.csv", &facts);
    site.write("public.txt", "8 7272 99-99-99\n");
    let shown = site.ok(&["case", "link", "facts.csv", "--public", "public.txt"]);
    assert!(shown.contains("1. 7 facts, damage 650000.50"), "{shown}");
    assert!(shown.contains("facts g0, g1, g2, g3, g4, g5, g6\n"), "{shown}");
    assert!(shown.contains("207 facts, 7 of them in 1 groups"), "{shown}");
    // Identifiers are masked where people look.
    assert!(!shown.contains("1234567") && shown.contains("phone +770… in 6"), "{shown}");
}

#[test]
fn every_bad_row_is_told_and_nothing_is_taken() {
    let site = Site::new("");
    site.write(
        "facts.csv",
        format!("{HEAD}1,bank-call,2023-11-01,,,call me,,KZ00,\n1,theft,yesterday,-5,,,4111111111111112,,\n"),
    );
    let error = site.refused(&["case", "link", "facts.csv"]);
    for told in [
        "facts.csv: line 2: phone: it is no phone number",
        "facts.csv: line 2: account: an account has 5 to 34 letters and digits",
        "facts.csv: line 3: type: is one of advance-payment, bank-call",
        "facts.csv: line 3: when: is no time",
        "facts.csv: line 3: damage: is no sum",
        "facts.csv: line 3: card: the last digit of this card does not fit",
        "facts.csv: line 3: number: stands in line 2 too",
        "facts.csv: nothing was taken",
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
    assert!(site.refused(&["case", "link", "none.csv"]).contains("none.csv: no such file"));
}

/// Facts of thirty victims, and records in which many call anybody.
fn thirty_victims(site: &Site) -> String {
    let victims = (0..30).map(|n| format!("{n},bank-call,2026-03-02 18:00,,+7702{n:07},,,,\n"));
    site.write("facts.csv", HEAD.to_owned() + &victims.collect::<String>());
    let call = |n| format!("+7705{:07},+7703{:07},2026-03-02T09:00:00Z\n", n % 500, n * 7);
    "calling,called,start\n".to_owned() + &(0..5000).map(call).collect::<String>()
}

#[test]
fn who_called_the_victims_is_found() {
    let site = Site::new("");
    let mut calls = thirty_victims(&site);
    // One calls twelve of the victims that afternoon, another the day after.
    for n in 0..40 {
        let called = if n < 12 { format!("+7702{n:07}") } else { format!("+7703{n:07}") };
        calls += &format!(
            "+77060000001,{called},2026-03-02T08:30:00Z\n+77060000002,{called},2026-03-03T20:30:00Z\n"
        );
    }
    site.write("calls.csv", &calls);
    let shown = site.ok(&["case", "called", "facts.csv", "calls.csv"]);
    assert!(shown.contains("40 calls, victims of 12 facts"), "{shown}");
    assert!(shown.contains("5080 calls, 30 victims with a phone, 1 numbers called more of them"), "{shown}");
}

#[test]
fn a_cluster_whose_numbers_call_a_victim_each_is_found_as_one() {
    let site = Site::new("");
    let mut calls = thirty_victims(&site);
    // A call centre of a dozen numbers, each of which calls one victim among forty.
    for n in 0..12 {
        calls += &format!("+7706{n:07},+7702{n:07},2026-03-02T08:30:00Z\n");
        for other in 0..39 {
            calls += &format!("+7706{n:07},+7703{:07},2026-03-02T08:30:00Z\n", n * 100 + other);
        }
    }
    site.write("calls.csv", &calls);
    let alone = site.ok(&["case", "called", "facts.csv", "calls.csv"]);
    assert!(alone.contains(", 0 numbers called more of them"), "{alone}");
    let numbers = |from: u32| {
        let numbers: Vec<String> =
            (from..from + 12).map(|n| format!("{{\"number\":\"+770{n:08}\"}}")).collect();
        numbers.join(",")
    };
    site.write(
        "found.jsonl",
        format!(
            "{{\"cluster\":1,\"numbers\":[{}]}}\n{{\"cluster\":2,\"numbers\":[{}]}}\n",
            numbers(50_000_000),
            numbers(60_000_000)
        ),
    );
    let shown = site.ok(&[
        "case",
        "called",
        "facts.csv",
        "calls.csv",
        "--clusters",
        "found.jsonl",
        "--out",
        "tied.jsonl",
    ]);
    // Each cluster again, with the facts whose victims it called.
    let tied: Vec<serde_json::Value> =
        site.read("tied.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (tied.len(), &tied[0]["called"], &tied[1]["cluster"]),
        (2, &serde_json::json!([]), &serde_json::json!(2))
    );
    assert_eq!(tied[1]["called"].as_array().unwrap().len(), 12);
    assert_eq!(tied[1]["numbers"][0]["number"], "+77060000000");
    assert!(shown.starts_with("cluster 2, 12 numbers  480 calls, victims of 12 facts, "), "{shown}");
    assert!(shown.contains(", 1 numbers and clusters called more of them"), "{shown}");
    site.write("found.jsonl", "{\"cluster\":1,\"numbers\":[]}\n{\"cluster\":2}\n");
    let error = site.refused(&["case", "called", "facts.csv", "calls.csv", "--clusters", "found.jsonl"]);
    assert!(error.contains("found.jsonl: line 2: missing field"), "{error}");
}
