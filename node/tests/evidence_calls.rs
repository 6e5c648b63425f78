//! Call centres and call records in evidence packages: of what hunting read, the centre's own calls, each held to what was packed.

use crate::evidence::{elsewhere, json_lines, moved, python};
use crate::evidence_report::{flat, read};
use crate::rig;
use crate::sealed::{PYTHON, sealed};

use std::fs;
use std::path::Path;
use std::process::Command;

use rig::Site;
use rig::postgres::on_each_store;
use rig::register::Register;
use serde_json::{Value, json};

/// Records that a hunt finds a call centre of two numbers in, and what of them belongs to it: lines of the file, and what stands there.
fn records() -> (String, Vec<(u64, [String; 3])>) {
    let mut text = "calling,called,start,duration,cell,imei,note\n".to_owned();
    let (mut line, mut own) = (1, Vec::new());
    let mut add = |calling: &str, called: &str, start: &str, note: &str, is_own: bool| {
        line += 1;
        text += &format!("{calling},{called},{start},0,c1,35693803564380{},{note}\n", line % 10);
        if is_own {
            own.push((line, [calling, called, start].map(str::to_owned)));
        }
        line += note.matches('\n').count() as u64;
        // Empty lines count too.
        if note == "called back" {
            text += "\n";
            line += 1;
        }
    };
    let one = "+77010000001";
    // By the clock of the register, five hours east, the second of March begins at 19:00 of the first.
    add(one, "+77020000500", "2026-03-01T18:59:59Z", "the day before", false);
    add(one, "+77020000500", "2026-03-01T19:00:00Z", "\"of two\nlines\"", true);
    for n in 0..400 {
        let who = format!("+7701000000{}", n % 2);
        let start = format!("2026-03-02T{:02}:{:02}:00Z", 3 + n / 60, n % 60);
        add(&who, &format!("+7702{:07}", n / 2 * 31), &start, "", true);
        let bystander = format!("+7705{n:07}");
        add(&bystander, "+77059999999", &start, "", false);
    }
    add("+77020000031", one, "2026-03-02T15:00:00Z", "called back", true);
    add(one, "+77020000500", "2026-03-02T18:59:59Z", "", true);
    add(one, "+77020000500", "2026-03-02T19:00:00Z", "the day after", false);
    (text, own)
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// The one file of calls in a package.
fn packed(package: &Path) -> (String, String) {
    let mut files = fs::read_dir(package.join("records")).unwrap().map(|entry| entry.unwrap().path());
    let (path, none) = (files.next().unwrap(), files.next());
    assert_eq!(none, None);
    (format!("records/{}", path.file_name().unwrap().to_str().unwrap()), fs::read_to_string(path).unwrap())
}

/// What a hunt finds in the records, in the register and judged; the number of its lines.
fn found(register: &Register, text: &str) {
    register.site.write("monday.csv", text);
    register.site.ok(&["hunt", "monday.csv", "--out", "found.jsonl"]);
    let line = &json_lines(&register.site.read("found.jsonl"))[0];
    assert_eq!(line["records"], json!([sha256(&register.site.path("monday.csv"))]), "{line}");
    let said = register.site.ok(&["case", "centres", "import", "found.jsonl", "--unit", "almaty"]);
    assert!(said.starts_with("1 call centres are new"), "{said}");
    let why = json!({"state": "confirmed", "why": "телефоны изъяты"});
    assert_eq!(register.post("aigul", "centres/1/judge", why).status, 200);
}

#[test]
fn a_centre_goes_with_its_calls_and_each_is_held_to_what_was_packed() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        let (text, own) = records();
        found(&register, &text);
        let shown = register.get("aigul", "centres/1").json();
        let hash = sha256(&register.site.path("monday.csv"));
        assert_eq!(shown["records"], json!([hash]), "{shown}");
        let looks = register.looks().len();
        let pack = |out: &str, who: &str, more: &[&str]| {
            let all = ["evidence", "pack", "--out", out, "--why", "court", "--centre", "1", "--as", who];
            register.site.run(&[&all[..], more].concat())
        };
        let refused = pack("no", "ivan", &["--records", "monday.csv"]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("you may not see-centre here"));
        assert!(!register.site.path("no").exists());
        // One more row: it is not what hunting read.
        register
            .site
            .write("tuesday.csv", format!("{text}+77010000001,+77020000500,2026-03-02T12:00:00Z,0,c1,,\n"));
        let refused = pack("no", "aigul", &["--records", "monday.csv", "--records", "tuesday.csv"]);
        let (said, other) =
            (String::from_utf8(refused.stderr).unwrap(), sha256(&register.site.path("tuesday.csv")));
        let line = format!(
            "tuesday.csv: call centre 1 was not found in this file: its SHA-256 is {other}, and hunting read {hash}\n"
        );
        assert!(refused.status.code() == Some(1) && said.ends_with(&line), "{said}");
        assert!(!register.site.path("no").exists());

        for (out, more) in [("masked", &[][..]), ("open", &["--reveal"])] {
            let packed = pack(out, "aigul", &[&["--records", "monday.csv"], more].concat());
            let said = String::from_utf8_lossy(&packed.stderr).into_owned();
            assert!(packed.status.success(), "{said}");
        }
        let kept = register.looks();
        let of = |who: &str, what: &str, refused: bool| {
            kept[looks..].iter().filter(|look| look.0 == who && look.1 == what && look.3 == refused).count()
        };
        assert_eq!((of("ivan", "see-centre", true), of("aigul", "pack-evidence", false)), (1, 3));
        assert_eq!(of("aigul", "see-centre", false), 3);
        let look = json_lines(&register.site.read("journal/looks.jsonl")).pop().unwrap();
        assert_eq!((&look["calls"], &look["revealed"]), (&json!(own.len()), &json!(true)), "{look}");

        // Each of the centre's calls on its days, made and taken, as its line says; nobody else's.
        let (name, calls) = packed(&register.site.path("open"));
        assert_eq!(name, format!("records/{}-monday.csv.jsonl", &hash[..8]));
        let told: Vec<(u64, [String; 3])> = (json_lines(&calls).iter())
            .map(|call| {
                let text = |name: &str| call[name].as_str().unwrap().to_owned();
                (call["line"].as_u64().unwrap(), ["calling", "called", "start"].map(text))
            })
            .collect();
        assert_eq!(told, own);
        let lines: Vec<&str> = text.split('\n').collect();
        for call in json_lines(&calls) {
            let line = lines[call["line"].as_u64().unwrap() as usize - 1];
            assert!(line.contains(&format!(
                ",0,{},{}",
                call["cell"].as_str().unwrap(),
                call["imei"].as_str().unwrap()
            )));
        }
        let manifest: Value = serde_json::from_str(&register.site.read("open/manifest.json")).unwrap();
        let source = &manifest["records"][0];
        assert_eq!(
            (&source["name"], &source["sha256"], &source["bytes"]),
            (&json!("monday.csv"), &json!(hash), &json!(text.len()))
        );
        // Masked as numbers are everywhere; where somebody was is nobody's here.
        let (_, masked) = packed(&register.site.path("masked"));
        assert_eq!(masked.lines().count(), own.len());
        let centre = register.site.read("masked/register/centre-1.json");
        for personal in ["7701000000", "7702000", "\"c1\"", "35693803", "изъяты"] {
            assert!(!masked.contains(personal) && !centre.contains(personal), "{personal}: {centre}");
            let open = register.site.read("open/register/centre-1.json");
            assert!(calls.contains(personal) || open.contains(personal), "{personal}");
        }
        let first = &json_lines(&masked)[0];
        assert_eq!((&first["calling"], &first["line"]), (&json!("+77010****01"), &json!(3)), "{first}");

        let machine = moved(&register.site, &["masked", "open"]);
        let proved = elsewhere(machine.path(), &["masked", "open"]).unwrap();
        let counted = format!("calls          {} of 1 files of records\n", own.len());
        assert_eq!((proved.matches(&counted).count(), proved.matches("OK\n").count()), (2, 2), "{proved}");
        let signing = register.site.path("keys/signing.pem").display().to_string();
        type Damage<'d> = (&'d str, &'d dyn Fn(&mut Vec<String>), String);
        let another = own.last().unwrap().0 + 1;
        let cases: &[Damage] = &[
            (
                "changed",
                &|lines| lines[2] = lines[2].replacen("0\"", "5\"", 1),
                format!("line 3: source line {}: changed", own[2].0),
            ),
            ("removed", &|lines| drop(lines.remove(7)), format!("source line {}: missing", own[7].0)),
            (
                "added",
                &|lines| {
                    let line = own.last().unwrap().0;
                    let more = lines
                        .last()
                        .unwrap()
                        .replace(&format!("\"line\":{line}"), &format!("\"line\":{another}"));
                    lines.push(more);
                },
                format!("line {}: source line {another}: added", own.len() + 1),
            ),
            (
                "twice",
                &|lines| lines.push(lines[0].clone()),
                format!("line {}: source line {}: added", own.len() + 1, own[0].0),
            ),
            ("broken", &|lines| lines[0].truncate(9), "line 1: changed: it is no call".to_owned()),
        ];
        for (what, damage, named) in cases {
            for is_insider in [false, true] {
                let machine = moved(&register.site, &["open"]);
                let path = machine.path().join("open").join(&name);
                let mut lines: Vec<String> = calls.lines().map(str::to_owned).collect();
                damage(&mut lines);
                fs::write(path, lines.join("\n") + "\n").unwrap();
                if is_insider {
                    python(&["resign", &machine.path().join("open").display().to_string(), &signing, ""]);
                }
                let found = elsewhere(machine.path(), &["open"]).expect_err(what);
                assert!(found.contains(&format!("open: {name}: {named}\n")), "{what}: {named}: {found}");
                let whole = format!("open: {name}: changed: it is not the file that was packed\n");
                assert_eq!(found.contains(&whole), !is_insider, "{what}: {found}");
                // And no other call.
                let named = found.lines().filter(|line| line.contains("source line")).count();
                assert_eq!(named, 1, "{what}: {found}");
            }
        }
        let path = machine.path().join("open/register/centre-1.json");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("confirmed", "dismissed")).unwrap();
        let found = elsewhere(machine.path(), &["open"]).unwrap_err();
        assert!(found.starts_with("open: register/centre-1.json: changed"), "{found}");
        register.node.take();
    });
}

#[test]
fn its_report_says_what_a_centre_is_and_who_judged_it() {
    let mut register = Register::new(None);
    let facts = "number,type,when,unit,victim_phone,phone\nf1,bank-call,2026-03-02,almaty,+77020000031,+77010000001\n";
    assert_eq!(register.import("aigul", "", facts).status, 201);
    let (text, own) = records();
    register.site.write("facts.csv", facts);
    found(&register, &text);
    // A fact whose victim it called, as case called --out says it.
    let called = register.site.read("found.jsonl").replacen('{', "{\"called\":[\"f1\"],", 1);
    register.site.write("found.jsonl", called);
    register.site.ok(&["case", "centres", "import", "found.jsonl", "--unit", "almaty"]);
    let pack = |out: &str, more: &[&str]| {
        let all = [
            "evidence", "pack", "--out", out, "--why", "court", "--centre", "1", "--fact", "1", "--as",
            "aigul",
        ];
        register.site.ok(&[&all[..], &["--records", "monday.csv"], more].concat());
    };
    pack("open", &["--reveal"]);
    pack("masked", &[]);
    let hash = sha256(&register.site.path("monday.csv"));
    let count = own.len().to_string();
    for (language, said) in [
        (
            "ru",
            [
                "Колл-центры",
                "подтверждён человеком",
                "звонит многим, почти каждому по разу",
                "Факты, чьим жертвам он звонил",
                "факт f1",
                "Записи вызовов",
                "2026-03-02 – 2026-03-02",
                "колл-центр #1",
            ],
        ),
        (
            "kk",
            [
                "Колл-орталықтар",
                "адам растаған",
                "көп адамға, әрқайсысына дерлік бір рет қоңырау шалады",
                "Жәбірленушілеріне қоңырау шалған фактілер",
                "факт f1",
                "Қоңырау жазбалары",
                "2026-03-02 – 2026-03-02",
                "колл-орталық #1",
            ],
        ),
        (
            "en",
            [
                "Call centres",
                "confirmed by a person",
                "calls many, nearly each once",
                "Facts whose victims it called",
                "fact f1",
                "Call records",
                "2026-03-02 – 2026-03-02",
                "call centre #1",
            ],
        ),
    ] {
        let (raw, _) = read(&register.site.path(&format!("open/report.{language}.pdf")));
        let pages = flat(&raw);
        for said in
            said.into_iter().chain(["+77010000000, +77010000001", "aigul", "изъяты", "monday.csv", &count])
        {
            // Cells stand beside each other: what is broken over lines is looked for word by word.
            let is_said = said.split(' ').all(|word| pages.contains(word));
            assert!(is_said, "{language}: {said}: {raw}");
        }
        assert!(raw.contains(&hash[..16]), "{language}: {hash}: {raw}");
        let (masked, _) = read(&register.site.path(&format!("masked/report.{language}.pdf")));
        for personal in ["7701000000", "изъяты", "35693803"] {
            assert!(!masked.contains(personal), "{language}: {personal}: {masked}");
        }
        assert!(masked.contains("aigul") && masked.contains("+770… (×2)"), "{language}: {masked}");
        for package in ["open", "masked"] {
            register.site.ok(&["--language", language, "evidence", "report", package, "--out", "again.pdf"]);
            let packed = fs::read(register.site.path(&format!("{package}/report.{language}.pdf"))).unwrap();
            assert!(fs::read(register.site.path("again.pdf")).unwrap() == packed, "{package}: {language}");
        }
    }
    // One that is kept from before, or was found in a journal, names no file: any will do.
    let numbers =
        ["+77059990001", "+77059990002"].map(|number| json!({"number": number, "day": "2026-03-02"}));
    register.site.write("old.jsonl", json!({"numbers": numbers}).to_string());
    register.site.ok(&["case", "centres", "import", "old.jsonl", "--unit", "almaty"]);
    register.site.write("old.csv", "calling,called,start\n+77059990002,+77020000000,2026-03-02T12:00:00Z\n");
    let all = ["evidence", "pack", "--out", "old", "--why", "x", "--as", "aigul", "--centre", "2"];
    register.site.ok(&[&all[..], &["--records", "old.csv"]].concat());
    assert_eq!(json_lines(&packed(&register.site.path("old")).1)[0]["line"], 2);
    register.site.write("bad.jsonl", json!({"numbers": numbers, "records": ["monday.csv"]}).to_string());
    let refused = register.site.refused(&["case", "centres", "import", "bad.jsonl", "--unit", "almaty"]);
    assert!(refused.contains("line 1: records: \"monday.csv\" is no SHA-256 in 64 hex digits"), "{refused}");
    register.node.take();
}

/// Parquet made by another hand.
#[track_caller]
fn parquet(site: &Site, csv: &str, out: &str) {
    let script = "import duckdb, sys; duckdb.sql(f\"COPY (FROM read_csv('{sys.argv[1]}')) TO '{sys.argv[2]}' \
                  (FORMAT parquet, ROW_GROUP_SIZE 2048)\")";
    let output =
        Command::new(PYTHON).args(["-c", script, csv, out]).current_dir(site.directory.path()).output();
    let output = output.expect("./test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn calls_of_a_number_are_taken_out_of_parquet_by_their_rows() {
    let site = sealed("encrypted", 1);
    let mut text = "a,called,start,answered\n".to_owned();
    let number = "+77272501234";
    let of = |n: u64| n % 1000 == 7;
    for n in 1..=5000u64 {
        let calling = if of(n) { number.to_owned() } else { format!("+7705{n:07}") };
        text += &format!("{calling},+77021234567,2026-03-0{}T10:00:00Z,{}\n", 1 + n / 2500, n % 2 == 0);
    }
    site.write("r.csv", &text);
    parquet(&site, "r.csv", "r.parquet");
    let pack = |out: &str, more: &[&str]| {
        let all =
            ["evidence", "pack", "--out", out, "--why", "x", "--records", "r.parquet", "--map", "a=calling"];
        site.run(&[&all[..], more].concat())
    };
    let packed_rows = |out: &str| -> Vec<u64> {
        json_lines(&packed(&site.path(out)).1).iter().map(|call| call["line"].as_u64().unwrap()).collect()
    };
    let all = pack("all", &["--number", number, "--reveal"]);
    assert!(all.status.success(), "{}", String::from_utf8_lossy(&all.stderr));
    assert_eq!(packed_rows("all"), [7, 1007, 2007, 3007, 4007]);
    assert!(!site.read("all/decisions.jsonl").is_empty(), "its decisions are there too");
    // Where nothing was decided in a time, there are calls all the same; and the time is the question's.
    let period = ["--from", "2026-03-02T00:00:00Z", "--until", "2026-03-03T00:00:00Z"];
    let some = pack("some", &[&["--number", number][..], &period].concat());
    assert!(some.status.success(), "{}", String::from_utf8_lossy(&some.stderr));
    assert_eq!((packed_rows("some"), site.read("some/decisions.jsonl")), (vec![3007, 4007], String::new()));
    // A file that is given twice goes in once; the header is the first line of CSV.
    let twice = ["--number", number, "--records", "r.csv", "--records", "r.parquet", "--records", "r.csv"];
    let twice = pack("twice", &twice);
    assert!(twice.status.success(), "{}", String::from_utf8_lossy(&twice.stderr));
    let manifest: Value = serde_json::from_str(&site.read("twice/manifest.json")).unwrap();
    let taken: Vec<(&Value, Vec<&String>)> = (manifest["records"].as_array().unwrap().iter())
        .map(|taken| (&taken["name"], taken["calls"].as_object().unwrap().keys().collect()))
        .collect();
    assert_eq!((taken.len(), taken[0].0, taken[1].0), (2, &json!("r.parquet"), &json!("r.csv")));
    let csv = site.read(&format!("twice/{}", manifest["records"][1]["file"].as_str().unwrap()));
    let lines: Vec<u64> = json_lines(&csv).iter().map(|call| call["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [8, 1008, 2008, 3008, 4008]);
    let machine = moved(&site, &["all", "some", "twice"]);
    elsewhere(machine.path(), &["all", "some", "twice"]).unwrap();

    for (arguments, named) in [
        (&["--rule", "R08"][..], "--records: say whose calls are packed: --centre or --number"),
        (&["--number", "+77019999999"], "--records: no call of these numbers and days is in the files"),
        (&["--number", number, "--map", "b=imei"], "r.parquet: no column \"b\""),
        (&["--number", number, "--records", "gone.csv"], "gone.csv: no such file"),
        (&["--number", number, "--records", "journal"], "journal: "),
    ] {
        let refused = pack("no", arguments);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && said.contains(named), "{named}: {said}");
        assert!(!site.path("no").exists() && !site.path(".no.draft").exists());
    }
}
