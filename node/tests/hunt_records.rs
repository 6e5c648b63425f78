//! `qalqan hunt RECORDS…`: who is found in a country's call records, who is not, and what bad records are told.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::rig::{INTERNATIONAL, Invite, Node, Site, Switch, wait};

/// What every number of generated records is, by their last column.
fn truth(records: &str) -> HashMap<String, String> {
    let mut reader = csv::Reader::from_reader(records.as_bytes());
    reader.records().map(Result::unwrap).map(|row| (row[0].to_owned(), row[10].to_owned())).collect()
}

#[test]
fn swindlers_are_found_and_those_who_look_like_them_are_not() {
    let site = Site::new("");
    let made = site.ok(&[
        "simulate",
        "--seed",
        "7",
        "--call-records",
        "r.csv",
        "--subscribers",
        "40000",
        "--days",
        "15",
    ]);
    assert!(made.contains("40000 numbers, 40 of them bad"), "{made}");
    let shown = site.ok(&["hunt", "r.csv", "--out", "found.jsonl"]);
    let roles = truth(&site.read("r.csv"));
    let mut alarms: BTreeMap<&str, usize> = BTreeMap::new();
    for line in site.read("found.jsonl").lines() {
        let cluster: serde_json::Value = serde_json::from_str(line).unwrap();
        for number in cluster["numbers"].as_array().unwrap() {
            if number["is_alarm"] == true {
                *alarms.entry(roles[number["number"].as_str().unwrap()].as_str()).or_default() += 1;
                // The telephones and trunks it was seen on.
                let imeis = number["imeis"].as_array().unwrap();
                assert!(imeis.iter().all(|imei| imei.as_str().unwrap().len() == 14), "{number}");
                let role = roles[number["number"].as_str().unwrap()].as_str();
                let is_on_trunk = ["trunk-call-centre", "autodialler"].contains(&role);
                assert_eq!(number["trunks"].as_array().unwrap().is_empty(), !is_on_trunk, "{number}");
                // Two kinds of evidence at least, each with what gave it.
                assert!(
                    number["evidence"].as_u64().unwrap() >= 2
                        && number["signals"][1]["threshold"].is_number()
                );
            }
        }
    }
    let bad = ["sim-box", "hiding-sim-box", "call-centre", "trunk-call-centre"];
    let of = |role: &str| alarms.get(role).copied().unwrap_or(0);
    // One in a thousand is bad; whoever looks like them, new honest SIMs above all, is left alone. Of companies whose
    // machines call few who answer, one is taken for bad where few customers called back that day.
    let all = |role: &str| roles.values().filter(|known| *known == role).count();
    assert!(of("autodialler") * 10 <= all("autodialler"), "{alarms:?}");
    let left_alone = |role: &str| !bad.contains(&role) && role != "autodialler";
    let honest: usize = alarms.iter().filter(|(role, _)| left_alone(role)).map(|(_, n)| n).sum();
    assert_eq!(honest, 0, "{alarms:?}");
    for role in bad {
        assert!(of(role) * 4 >= all(role) * 3, "{role}: {} of {}: {alarms:?}", of(role), all(role));
    }
    // Numbers are masked where people look.
    assert!(shown.contains("****") && !shown.contains("+7701000"), "{shown}");
    assert!(shown.contains("alarms in"), "{shown}");
}

#[test]
fn columns_may_be_missing_named_otherwise_and_in_any_order() {
    let site = Site::new("");
    let mut text = "Cell;B;A;when\n".replace(';', ",");
    for n in 0..200 {
        text += &format!(
            "c1,+7702{:07},8 701 000 00 01,2026-03-02T{:02}:{:02}:00+05:00\n",
            n * 31,
            8 + n / 60,
            n % 60
        );
    }
    // Tomorrow's calls, none's calls, and one with a number withheld.
    text += "c1,+77020000000,+77010000001,2126-03-02T08:00:00Z\nc1,+77020000000,+77010000001,soon\nc1,,anonymous,2026-03-02T08:00:00Z\n";
    site.write("r.csv", &text);
    let map = ["--map", "A=calling", "--map", "B=called", "--map", "when=start"];
    let output = site.run(&[&["hunt", "r.csv"], &map[..]].concat());
    let (out, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{told}");
    assert!(out.contains("many-called 200 (150), seldom-called 0 (0.02), one-place 1 (2)"), "{out}");
    assert!(out.contains("200 calls, 1 numbers looked at closer, 1 alarms in 1 clusters"), "{out}");
    for line in [
        "2 records start in the future or at no time that can be read",
        "1 records have no number calling or called",
        "no column imei: without it there is no many-sims",
        "no column answered, cause or duration: without one there is no unanswered",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

/// What another reader of Parquet sees, as JSON.
#[track_caller]
fn duckdb(query: &str) -> serde_json::Value {
    let script = "import duckdb, json, sys; cells = duckdb.execute(sys.argv[1]).fetchall(); print(json.dumps(cells, default=str))";
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin/python");
    let output = Command::new(python).args(["-c", script, query]).output().expect("./test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_table_of_what_was_found_says_what_the_lines_say() {
    let site = Site::new("");
    let mut text = "calling,called,start,duration,cell\n".to_owned();
    for n in 0..400 {
        // Two that call the same people from one cell, turn by turn, and are not answered.
        let (who, whom) = (n % 2, n / 2 * 31);
        text += &format!("+7701000000{who},+7702{whom:07},{},0,c1\n", 1_772_420_400 + n * 60);
    }
    // One who is called as often as he calls, and is nothing.
    (0..60).for_each(|n| text += &format!("+7702{:07},+77010000009,{},9,c{n}\n", n * 31, 1_772_420_400 + n));
    site.write("r.csv", &text);
    site.write("found.parquet.part", "left by one that was killed");
    std::fs::set_permissions(site.path("found.parquet.part"), Permissions::from_mode(0o644)).unwrap();
    site.ok(&["hunt", "r.csv", "--out", "found.parquet"]);
    site.ok(&["hunt", "r.csv", "--out", "found.jsonl"]);
    assert_eq!(std::fs::metadata(site.path("found.parquet")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!site.path("found.parquet.part").exists());
    let table = site.path("found.parquet").display().to_string();
    let rows = duckdb(&format!(
        "SELECT cluster, number, is_alarm, evidence, day, outgoing, incoming, answered, \
         signals, ties FROM '{table}' ORDER BY number"
    ));
    let mut lines = Vec::new();
    for line in site.read("found.jsonl").lines() {
        let cluster: serde_json::Value = serde_json::from_str(line).unwrap();
        for number in cluster["numbers"].as_array().unwrap() {
            let of = |name: &str| number[name].clone();
            let counts = ["evidence", "day", "outgoing", "incoming", "answered"].map(of);
            let mut row = vec![cluster["cluster"].clone(), of("number"), of("is_alarm")];
            row.extend(counts);
            row.extend([of("signals"), cluster["ties"].clone()]);
            lines.push(json!(row));
        }
    }
    lines.sort_by_key(|row| row[1].to_string());
    assert_eq!(rows, json!(lines));
    let of = |n: usize| json!([rows[n][1], rows[n][2], rows[n][4], rows[n][5], rows[n][7]]);
    assert_eq!(of(0), json!(["+77010000000", true, "2026-03-02", 200, 0]));
    assert_eq!(of(1), json!(["+77010000001", true, "2026-03-02", 200, 0]));
    assert_eq!((rows.as_array().unwrap().len(), &rows[0][9][0]), (2, &json!("called-numbers")));
    // A hunt without an alarm is a table without rows; what cannot be written leaves nothing behind.
    site.write("none.csv", "calling,called,start\n+77010000009,+77020000000,1772420400\n");
    site.ok(&["hunt", "none.csv", "--out", "found.parquet"]);
    assert_eq!(duckdb(&format!("SELECT count(*), count(signals) FROM '{table}'")), json!([[0, 0]]));
    std::fs::create_dir(site.path("taken.parquet")).unwrap();
    assert!(site.refused(&["hunt", "r.csv", "--out", "taken.parquet"]).contains("taken.parquet: "));
    assert!(!site.path("taken.parquet.part").exists());
}

fn stop(mut node: Node) {
    node.signal("-TERM");
    wait(|| !node.is_running(), || "the node stops".to_owned());
}

/// Two numbers from abroad call the same home numbers one after the other; somebody shows a home number that is not his.
fn screened(node: &Node, called: std::ops::Range<usize>) {
    let abroad = Switch::on(INTERNATIONAL, node);
    for n in called {
        let to = format!("+7701{:07}", n * 31);
        for from in ["+14155550001", "+14155550002", "+77272501234"] {
            let call_id = format!("{from}-{n}");
            let from = format!("sip:{from}@x");
            abroad.invite(&Invite { from: &from, to: &to, call_id: &call_id, ..Invite::default() });
        }
    }
}

#[test]
fn a_journal_is_hunted_through() {
    let settings = |numbers: &str| {
        format!("[journal]\nnumbers = \"{numbers}\"\n[hunting.thresholds]\nlooked-at = 20\nmany-calls = 30\n")
    };
    let site = Site::new(&settings("encrypted"));
    let node = site.serve();
    screened(&node, 0..20);
    // Sealed into a segment; what follows is in logs.
    stop(node);
    let node = site.serve();
    screened(&node, 20..40);
    wait(|| site.journal_len() == 120, || "120 calls are written down".to_owned());
    let output = site.run(&["hunt", "journal", "--out", "found.jsonl"]);
    let (out, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{told}");
    assert!(out.contains("80 calls, 2 numbers looked at closer, 2 alarms in 1 clusters"), "{out} {told}");
    for line in [
        "40 records were refused for a calling number that is not the caller's",
        "no column cell: without it there is no one-place",
        "no column imei: without it there is no many-sims",
        "no column answered, cause or duration: without one there is no unanswered",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains("no same-pauses"), "trunks are there: {told}");
    let found = site.read("found.jsonl");
    assert!(found.contains("+14155550001") && found.contains("+14155550002"), "{found}");
    assert!(!found.contains("2501234"), "whose number was shown has not called: {found}");
    assert!(out.contains("****") && !out.contains("+14155550001"), "{out}");
    let looks = site.read("journal/looks.jsonl");
    let looks: Vec<serde_json::Value> =
        looks.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((looks.len(), &looks[0]["hunt"], &looks[0]["revealed"]), (1, &json!(80), &json!(true)));
    // What a journal lacks a file beside it may have.
    site.write("r.csv", "calling,called,start,cell\n+14155550001,+77020000000,1772420400,c1\n");
    let output = site.run(&["hunt", "journal", "r.csv"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("81 calls,") && !told.contains("no column cell")
    );
    stop(node);

    std::fs::rename(site.path("keys"), site.path("elsewhere")).unwrap();
    let error = site.refused(&["hunt", "journal"]);
    assert!(error.contains("journal: ") && error.contains("their key is not at hand"), "{error}");
    assert!(site.refused(&["hunt", "journal", "--keys", "journal"]).contains("no numbers key is there"));
    assert!(site.ok(&["hunt", "journal", "--keys", "elsewhere"]).contains("80 calls, 2 numbers"));
    assert_eq!(site.read("journal/looks.jsonl").lines().count(), 3, "what was refused showed nothing");
    std::fs::remove_file(site.path("journal/looks.jsonl")).unwrap();
    std::fs::create_dir(site.path("journal/looks.jsonl")).unwrap();
    let error = site.refused(&["hunt", "journal", "--keys", "elsewhere", "--out", "again.jsonl"]);
    assert!(error.contains("cannot be written down, so nothing is shown"), "{error}");
    assert!(!site.path("again.jsonl").exists());

    let site = Site::new(&settings("hashed"));
    let node = site.serve();
    screened(&node, 0..1);
    stop(node);
    assert!(site.refused(&["hunt", "journal"]).contains("hashed, and a hash names nobody"));
}

/// What a command shows on a terminal.
#[track_caller]
fn on_terminal(site: &Site, asked: &str) -> String {
    let command = format!("stty cols 100 rows 30; exec '{}' {asked}", env!("CARGO_BIN_EXE_qalqan"));
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .current_dir(site.directory.path())
        .output()
        .expect("script of bsdutils, which every Debian has");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    shown
}

#[test]
fn how_far_it_has_come_is_shown_of_a_journal_as_of_files() {
    let site = Site::new("");
    let node = site.serve();
    screened(&node, 0..20);
    stop(node);
    site.write("r.csv", "calling,called,start\n+77010000001,+77020000000,1772420400\n");
    for records in ["r.csv", "journal", "journal r.csv"] {
        let shown = on_terminal(&site, &format!("hunt {records}"));
        assert!(shown.contains("] 100 %, 0s left"), "{records}: {shown}");
        // Elsewhere nothing is.
        let output = site.run(&[&["hunt"], &records.split(' ').collect::<Vec<_>>()[..]].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !told.contains(" %"), "{records}: {told}");
    }
}

/// What was found in a file, but for which file it was.
fn found(site: &Site) -> String {
    let text = site.read("found.jsonl");
    let lines = text.lines().map(|line| {
        let (before, rest) = line.split_once("\"records\":[").unwrap();
        let (hash, after) = rest.split_once(']').unwrap();
        assert_eq!(hash.len(), 66, "one SHA-256: {line}");
        format!("{before}{after}\n")
    });
    lines.collect()
}

#[test]
fn order_repeats_and_time_zones_change_nothing() {
    let site = Site::new("");
    let head = "calling,called,start,duration,trunk\n";
    // Half past one at night in Almaty is the day before in UTC: all is one day of the configured clock.
    let lines = |zones: &[&str]| -> Vec<String> {
        let mut lines = Vec::new();
        for n in 0..300u32 {
            let (who, whom, minute) = (n % 3, n / 3 * 31, n % 60);
            for zone in zones {
                let (day, hour) = if *zone == "Z" { (1, 20 + n / 100) } else { (2, 1 + n / 100) };
                let at = format!("2026-03-{day:02}T{hour:02}:{minute:02}:00{zone}");
                lines.push(format!("+7701000000{who},+7702{whom:07},{at},0,t{who}\n"));
            }
        }
        lines
    };
    let settings = "[hunting]\nutc-offset-min = 300\n";
    site.configure(settings);
    site.write("r.csv", head.to_owned() + &lines(&["+05:00"]).concat());
    site.ok(&["hunt", "r.csv", "--out", "found.jsonl"]);
    let plain = found(&site);
    assert_eq!(plain.matches("\"is_alarm\":true").count(), 3, "{plain}");
    assert_eq!(plain.matches("\"outgoing\":100").count(), 3, "{plain}");
    assert_eq!(plain.matches("\"day\":\"2026-03-02\"").count(), 3, "{plain}");
    // Each call twice, once by another clock, from the last to the first, and some of tomorrow's years.
    let mut twice = lines(&["+05:00", "Z"]);
    twice.push("+77010000009,+77020000000,2126-03-02T08:00:00Z,0,t9\n".to_owned());
    twice.reverse();
    site.write("r.csv", head.to_owned() + &twice.concat());
    let output = site.run(&["hunt", "r.csv", "--out", "found.jsonl"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("300 calls of those looked at closer came twice, and count once"), "{told}");
    assert!(told.contains("1 records start in the future"), "{told}");
    assert_eq!(found(&site), plain);
}

#[test]
fn several_readers_of_one_file_see_what_one_would() {
    let site = Site::new("");
    // Some megabytes: blocks and row groups for every core.
    site.ok(&["simulate", "--seed", "3", "--call-records", "r.csv", "--subscribers", "10000", "--days", "2"]);
    let mut records = site.read("r.csv");
    for n in 0..400 {
        // Two that call the same people from one cell, and are not answered.
        let (who, whom, at) = (n % 2, n / 2 * 31, 1_772_420_400 + n * 60);
        let line = format!("+7701999990{who},+7702{whom:07},{at},0,0,19,77,,,4242,call-centre\n");
        // In the middle and at the end.
        let place = if n < 200 { records.len() / 2 } else { records.len() };
        let place = place + records[place..].find('\n').map_or(0, |end| end + 1);
        records.insert_str(place, &line);
    }
    site.write("r.csv", &records);
    let out = |file: &str| {
        site.ok(&["hunt", file, "--out", "found.jsonl"]);
        found(&site)
    };
    let plain = out("r.csv");
    assert_eq!(plain.matches("\"outgoing\":200").count(), 2, "{plain}");
    // Every field in quotes; remarks with a comma, a quote, and as many lines as there may be in one.
    let quoted: Vec<String> = records
        .lines()
        .enumerate()
        .map(|(n, line)| {
            let fields: Vec<String> = line.split(',').map(|field| format!("\"{field}\"")).collect();
            format!("\"said, \"\"{n}\"\"{}\",{}\r\n", "\n+77010000001,now".repeat(n % 3), fields.join(","))
        })
        .collect();
    site.write("quoted.csv", quoted.concat());
    assert_eq!(out("quoted.csv"), plain);
    // Inches and seconds are no quotes.
    let inches: String = records.lines().map(|line| format!("5\",{line}\n")).collect();
    site.write("inches.csv", inches);
    assert_eq!(out("inches.csv"), plain);
    let (csv, parquet) = (site.path("r.csv"), site.path("r.parquet"));
    duckdb(&format!(
        "COPY (FROM '{}') TO '{}' (FORMAT parquet, ROW_GROUP_SIZE 4096)",
        csv.display(),
        parquet.display()
    ));
    assert_eq!(out("r.parquet"), plain);
    // The first bad line is told, whoever came upon another.
    let mut lines: Vec<&str> = records.lines().collect();
    let last = lines.len() - 1;
    (lines[last], lines[last / 2], lines[last / 2 + 1]) = ("late", "1,2", "1,2,3");
    site.write("bad.csv", lines.join("\n"));
    let line = last / 2 + 1;
    let told = format!("bad.csv: line {line}: 2 fields where the header has 11");
    let error = site.refused(&["hunt", "bad.csv"]);
    assert!(error.contains(&told), "{told}: {error}");
    let endless = format!("calling,called,start\n\"+77010000001{}", ",\n".repeat(40 << 20));
    site.write("endless.csv", endless);
    let error = site.refused(&["hunt", "endless.csv"]);
    assert!(error.contains("endless.csv: line 2: a line or a quoted field is longer than 64 MiB"), "{error}");
}

/// The most memory that a hunt held, KiB, and what it printed.
fn peak(site: &Site, file: &str) -> (u64, String) {
    // A child of another small program: one of this would begin with what this holds.
    let script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); \
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let program = env!("CARGO_BIN_EXE_qalqan");
    let mut python = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin/python"));
    let output =
        python.args(["-c", script, program, "hunt", file]).current_dir(site.directory.path()).output();
    let output = output.expect("./test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    (shown.lines().last().unwrap().parse().unwrap(), shown)
}

#[test]
fn a_number_that_never_stops_calling_costs_no_more_memory() {
    let site = Site::new("");
    let write = |file: &str, calls: u64| {
        let mut out = BufWriter::new(File::create(site.path(file)).unwrap());
        writeln!(out, "calling,called,start,cell").unwrap();
        for n in 0..calls {
            // Each call to another number, all in one day.
            writeln!(out, "+77010000001,+7702{:07},{},c1", n * 7919 % 10_000_000, 1_772_420_400 + n % 30_000)
                .unwrap();
        }
        out.flush().unwrap();
    };
    write("few.csv", 150_000);
    write("many.csv", 1_500_000);
    let ((few, _), (many, shown)) = (peak(&site, "few.csv"), peak(&site, "many.csv"));
    assert!(shown.contains("many-called 1500000 (150)"), "{shown}");
    // A byte or two a call that is guessed at are counters; called numbers kept whole would be tens of MiB.
    assert!(many < few + 8 * 1024, "{few} KiB of 150,000 calls, {many} KiB of 1,500,000");
}

#[test]
fn bad_records_are_told_in_a_line() {
    let site = Site::new("");
    for (text, arguments, told) in [
        ("", &["hunt", "r.csv"][..], "r.csv: no column \"calling\""),
        (
            "a,b\n1,2\n",
            &["hunt", "r.csv"],
            "no column \"calling\": the file has a, b; name it with --map THEIRS=calling",
        ),
        ("calling,called,start\n1,2\n", &["hunt", "r.csv"], "r.csv: line 2: 2 fields where the header has 3"),
        ("calling,called,start\n", &["hunt", "r.csv"], "no call to look at"),
        ("calling,called,start\n", &["hunt", "r.csv", "--since", "noon"], "--since noon: is no time"),
        (
            "calling,called,start\n",
            &["hunt", "r.csv", "--map", "x=colour"],
            "--map x=colour: no column \"colour\"",
        ),
        ("PAR1PAR1PAR1", &["hunt", "r.parquet"], "r.parquet: not a whole Parquet file"),
    ] {
        site.write("r.csv", text);
        site.write("r.parquet", text);
        let error = site.refused(arguments);
        assert!(error.contains(told), "{told}: {error}");
    }
}
