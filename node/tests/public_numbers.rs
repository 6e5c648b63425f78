//! Public numbers: what is in the register and the journal comes out, and each question is answered the same by another hand.

use crate::rig;

use std::fmt::Write;
use std::process::Command;

use rig::http::Client;
use rig::postgres::on_each_store;
use rig::register::Register;
use serde_json::{Value, json};

/// The table that the cybercrime centre gave for 2023, a twentieth of it; and 2016, a tenth of 2023.
const TYPES: [(&str, usize); 5] =
    [("advance-payment", 350), ("bank-call", 125), ("loan-in-name", 100), ("phishing", 325), ("other", 100)];

fn facts() -> String {
    let mut csv = String::from("number,type,when,region,unit,damage,recovered,state\n");
    let mut add = |number: &str, kind: &str, when: &str, region: &str, state: &str| {
        let _ = writeln!(csv, "{number},{kind},{when},{region},{region},875000.00,1000.50,{state}");
    };
    for (kind, count) in TYPES {
        for n in 0..count {
            let (month, day) = (n % 12 + 1, n % 28 + 1);
            let region = if n % 5 == 0 { "astana" } else { "almaty" };
            let state = if n % 20 == 0 { "in-court" } else { "registered" };
            add(&format!("23-{kind}-{n}"), kind, &format!("2023-{month:02}-{day:02}"), region, state);
        }
    }
    for n in 0..100 {
        add(&format!("16-{n}"), "other", "2016-06-01", "almaty", "sentenced");
    }
    // The first and the last minute of the year by the clock of the register, five hours ahead of UTC; and those beside.
    add("edge-1", "other", "2022-12-31T19:00:00Z", "almaty", "registered");
    add("edge-2", "other", "2023-12-31T18:59:59Z", "almaty", "registered");
    add("beside-1", "other", "2022-12-31T18:59:59Z", "almaty", "registered");
    add("beside-2", "other", "2023-12-31T19:00:00Z", "almaty", "registered");
    csv
}

fn figure<'f>(of: &'f Value, measure: &str, name: &str) -> &'f Value {
    let figures = of["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["measure"] == measure && figure["of"] == name);
    &found.unwrap_or_else(|| panic!("{measure} {name}: {of}"))["value"]
}

/// Asks a question of the register's own database, by psql or sqlite3; rows of a name and numbers.
fn asked(register: &Register, query: &str) -> Vec<Vec<String>> {
    let mut command = match &register.postgres {
        Some(postgres) => {
            let mut psql = Command::new("psql");
            psql.args(["-tA", "-v", "ON_ERROR_STOP=1", "-d", &postgres.url, "-c", query]);
            psql
        }
        None => {
            let script = "import sqlite3, sys\nfor row in sqlite3.connect('case.db').execute(sys.argv[1]): print(*row, sep='|')";
            let mut python = Command::new("python3");
            python.args(["-c", script, query]);
            python
        }
    };
    let output = command.current_dir(register.site.directory.path()).output().expect("psql, python3");
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

#[test]
fn the_table_of_a_year_comes_out_of_the_register() {
    on_each_store(|postgres| {
        let register = Register::new(postgres);
        assert_eq!(register.import("chief", "", &facts()).status, 201);
        let ids = |search: Value| -> Vec<i64> {
            register.found("chief", search).iter().map(|fact| fact["id"].as_i64().unwrap()).collect()
        };
        // Of a confirmed group of three with a fact in court, two are brought to account; a group with none brings nobody.
        let person = |kind: &str, name: &str| {
            let body = json!({"kind": kind, "name": name, "unit": "almaty"});
            let kept = register.post("chief", "persons", body);
            assert_eq!(kept.status, 201, "{kept:?}");
            kept.json()["id"].as_i64().unwrap()
        };
        let ring = [person("suspect", "A"), person("drop", "B"), person("victim", "C")];
        let court = ids(json!({"type": "bank-call", "state": "in-court"}));
        assert_eq!(court.len(), 7);
        let idle = ids(json!({"type": "phishing", "state": "registered", "limit": 5}));
        for (name, facts, persons) in
            [("ring", &court[..], &ring[..]), ("idle", &idle[..3], &[person("suspect", "D")][..])]
        {
            let group = json!({"name": name, "why": "one handwriting", "facts": facts, "persons": persons});
            let confirmed = register.post("chief", "groups/confirm", group);
            assert_eq!(confirmed.status, 201, "{confirmed:?}");
        }
        for (item, time, fact) in [
            ("laptop", "2023-12-10T10:00:00Z", Some(court[0])),
            ("laptop", "2023-12-10T10:00:00Z", None),
            ("sim", "2023-01-01T00:00:00+05:00", None),
            ("phone", "2022-12-31T23:59:59+05:00", None),
        ] {
            let thing = json!({"item": item, "serials": ["X"], "place": "a flat", "time": time, "by": "Lt. Serik",
                               "unit": "almaty", "fact": fact});
            let kept = register.post("chief", "seizures", thing);
            assert_eq!(kept.status, 201, "{kept:?}");
        }

        let stats = register.stats("auditor", "year=2023").json();
        assert_eq!(
            (&stats["from"], &stats["until"], &stats["cumulative"]),
            (&json!("2023-01-01"), &json!("2024-01-01"), &json!(false))
        );
        // 1,000 and the two at the edges.
        assert_eq!(*figure(&stats, "facts", ""), 1002);
        for (kind, count) in TYPES {
            let edges = if kind == "other" { 2 } else { 0 };
            assert_eq!(*figure(&stats, "facts", kind), count + edges, "{kind}");
        }
        assert_eq!(*figure(&stats, "damage", ""), "876750000.00");
        assert_eq!(*figure(&stats, "recovered", "bank-call"), "125062.50");
        assert_eq!(*figure(&stats, "facts-in-court", ""), 18 + 7 + 5 + 17 + 5);
        assert_eq!(*figure(&stats, "persons-brought-to-account", ""), 2);
        assert_eq!(*figure(&stats, "persons-brought-to-account", "drop"), 1);
        assert_eq!(
            (figure(&stats, "groups", ""), figure(&stats, "largest-group", "")),
            (&json!(2), &json!(7))
        );
        assert_eq!(
            (figure(&stats, "seizures", ""), figure(&stats, "seizures", "laptop")),
            (&json!(3), &json!(2))
        );
        // Seven years before: 2,000 of 20,000.
        let years = stats["years"].as_array().unwrap();
        assert_eq!(
            (years.len(), &years[0]["from"], &years[0]["facts"]),
            (8, &json!("2016-01-01"), &json!(100))
        );
        assert_eq!((&years[1]["facts"], &years[1]["growth"]), (&json!(0), &json!(-1.0)));
        assert_eq!((&years[6]["facts"], &years[7]["growth"]), (&json!(1), &json!(1001.0)));

        // Every question, asked by another hand, is answered the same.
        for shown in stats["figures"].as_array().unwrap() {
            let (measure, of) = (shown["measure"].as_str().unwrap(), shown["of"].as_str().unwrap());
            let rows = asked(&register, shown["query"].as_str().unwrap());
            let column = match measure {
                "damage" => 2,
                "recovered" => 3,
                "call-centres" => 0,
                _ => 1,
            };
            let rows: Vec<&Vec<String>> = rows.iter().filter(|row| of.is_empty() || row[0] == of).collect();
            let sum: i64 = rows.iter().map(|row| row[column].parse::<i64>().unwrap_or(0)).sum();
            match measure {
                "groups" => assert_eq!(shown["value"], rows.len()),
                "largest-group" => assert_eq!(shown["value"].to_string(), rows[0][1]),
                "damage" | "recovered" => {
                    assert_eq!(shown["value"], format!("{}.{:02}", sum / 100, sum % 100), "{measure} {of}");
                }
                _ => assert_eq!(shown["value"], sum, "{measure} {of}"),
            }
        }

        let of = |query: &str| register.stats("bank", query).json();
        let astana = of("year=2023&region=astana&type=advance-payment&years=0");
        assert_eq!((figure(&astana, "facts", ""), figure(&astana, "seizures", "")), (&json!(70), &json!(0)));
        assert_eq!(*figure(&of("year=2023&type=bank-call"), "seizures", ""), 1, "the laptop of one of these");
        assert_eq!(*figure(&of("from=2023-01-01&until=2023-02-01"), "facts", "bank-call"), 11);
        assert_eq!(*figure(&of("year=2023&cumulative=true"), "facts", ""), 1103);
        // Somebody's quotation mark is no SQL.
        assert_eq!(*figure(&of("year=2023&region=x%27%20OR%201=1%20--"), "facts", ""), 0);
        for (wrong, said) in [
            ("", "say year, or from and until"),
            ("year=23x", "year 23x: write one such as 2023"),
            ("year=2023&from=2023-01-01", "say year, or from and until"),
            ("from=2023-02-01&until=2023-02-01", "is not behind"),
            ("from=2023-02-30&until=2023-03-01", "write a day such as"),
            ("year=2023&type=theft", "type theft: is none of advance-payment"),
            ("year=2023&years=51", "is no number up to 50"),
            ("year=2023&form=xls", "form is none of json, csv and svg"),
        ] {
            let answer = register.stats("chief", wrong);
            assert_eq!(answer.status, 422, "{wrong}: {answer:?}");
            assert!(answer.body.contains(said), "{wrong}: {answer:?}");
        }
        assert!(
            register
                .looks()
                .iter()
                .any(|look| (look.0.as_str(), look.1.as_str()) == ("auditor", "see-statistics"))
        );
    });
}

#[test]
fn the_command_gives_tables_csv_and_pictures_in_three_languages() {
    let register = Register::new(None);
    assert_eq!(register.import("chief", "", &facts()).status, 201);
    let command = |more: &[&'static str]| register.site.ok(&[&["stats", "--year", "2023"], more].concat());
    let line = |text: &str, name: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(name));
        found.unwrap_or_else(|| panic!("{name}: {text}")).split_whitespace().last().unwrap().to_owned()
    };
    for (language, title, bank) in [
        ("kk", "Алаяқтық фактілері, 2023", "банк атынан қоңыраулар"),
        ("ru", "Факты мошенничества, 2023", "звонки от имени банка"),
        ("en", "Facts of fraud, 2023", "calls in a bank's name"),
    ] {
        let text = command(&["--language", language]);
        assert_eq!(text.lines().next(), Some(title));
        assert_eq!(line(&text, bank), "125", "{text}");
    }
    let text = command(&["--csv", "stats.csv", "--svg", "stats.svg", "--language", "ru"]);
    assert!(text.contains("Факты по годам"), "{text}");
    let table = register.site.read("stats.csv");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(head, ["measure", "of", "value", "from", "until", "cumulative", "query"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let all = rows.iter().find(|row| &row[0] == "facts" && row[1].is_empty()).unwrap();
    assert_eq!((&all[2], &all[3], &all[5]), ("1002", "2023-01-01", "false"));
    // By HTTP the same.
    assert_eq!(register.stats("bank", "year=2023&form=csv").body, table);
    let drawn = register.stats("bank", "year=2023&form=svg");
    assert_eq!(drawn.header("content-type"), Some("image/svg+xml"));
    let svg = register.site.read("stats.svg");
    assert!(
        svg.contains("Факты мошенничества, 2023") && svg.contains(">1002<") && svg.contains(">2016<"),
        "{svg}"
    );
    let parsed = Command::new("python3")
        .args(["-c", "import sys, xml.dom.minidom as dom; print(len(dom.parse(sys.argv[1]).getElementsByTagName('rect')))", "stats.svg"])
        .current_dir(register.site.directory.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&parsed.stdout).trim(), "8", "{parsed:?}");

    // Calls come from the journal: a fixed number from abroad, three times, and one that passes.
    let mut http = Client::new(register.address);
    for calling in ["+77272501234", "+77272501235", "+77272501236", "+442071838750"] {
        let call = json!({"trunk": "international", "calling": calling, "called": "+77011234567"});
        assert_eq!(http.screen(call.to_string()).status, 200);
    }
    let all = register.site.ok(&[
        "stats",
        "--from",
        "2026-01-01",
        "--until",
        "2100-01-01",
        "--years",
        "0",
        "--calls",
        "--language",
        "en",
    ]);
    assert_eq!(
        (line(&all, "Calls judged"), line(&all, "Calls blocked")),
        ("4".to_owned(), "3".to_owned()),
        "{all}"
    );
    assert_eq!(line(&all, "fixed-from-abroad"), "3", "{all}");
    assert!(
        register
            .site
            .refused(&["stats", "--year", "2023", "--calls", "--type", "other"])
            .contains("--calls: ")
    );
    assert!(
        register.site.refused(&["stats", "--year", "2O23"]).contains("year 2O23: write one such as 2023")
    );
}
