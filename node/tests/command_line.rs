//! The command line as a new user meets it: what works, and what bad input is told.

use crate::rig;

use std::process::{Command, Stdio};
use std::time::Duration;

use rig::{Site, qalqan};

const HEADER: &str = "time,trunk,calling,presentation,called,redirecting\n";

#[test]
fn check_works_without_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let output = qalqan(directory.path())
        .args(["check", "+77272501234", "+77011234567", "--trunk", "international"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(
        text.contains("blocked") && text.contains("R08") && text.contains("fixed lines do not roam"),
        "{text}"
    );
    assert!(text.contains("plan says of +77272****34"), "the facts: {text}");
    for (language, word) in [("ru", "заблокирован"), ("kk", "бұғатталды")] {
        let output = qalqan(directory.path())
            .args(["check", "+77272501234", "112", "--trunk", "international", "--language", language])
            .args(["--presentation", "", "--json"])
            .output()
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&json["rule"], &json["verdict"]), (&"R00".into(), &"allow".into()));
        let table = qalqan(directory.path())
            .args([
                "check",
                "+77272501234",
                "+77011234567",
                "--trunk",
                "international",
                "--language",
                language,
            ])
            .output()
            .unwrap();
        let table = String::from_utf8(table.stdout).unwrap();
        assert!(table.to_lowercase().contains(word), "{table}");
    }
}

#[test]
fn check_says_the_facts_and_the_versions_they_stood_on() {
    let site = Site::new("[lists]\nexempt = \"exempt.csv\"");
    site.write("exempt.csv", "number,owner,expires,note\n+77272501234,Embassy,2099-01-01,R08\n");
    let arguments = ["check", "+77272501234", "+77011234567", "--trunk", "international", "--json"];
    let json: serde_json::Value = serde_json::from_str(&site.ok(&arguments)).unwrap();
    assert_eq!((&json["rule"], &json["label"]), (&"R19".into(), &"international".into()));
    let facts = json["facts"].as_array().unwrap();
    assert!(
        facts
            .iter()
            .any(|fact| fact["fact"] == "on list exempt" && fact["found"] == "yes, owner Embassy, note R08")
    );
    let sum = Command::new("sha256sum").arg(site.path("exempt.csv")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert_eq!(json["versions"]["lists"]["exempt"], sum.split(' ').next().unwrap());
    let error = site.refused(&["check", "1", "2", "--trunk", "nowhere"]);
    assert!(
        error.contains(
            "trunk \"nowhere\" is not in the configuration: it has access, international, national"
        ),
        "{error}"
    );
}

/// Every fault of a configuration is named with its place, all in one run.
#[test]
fn config_check_names_every_fault() {
    let site = Site::new("");
    let fault = |text: &str, expected: &str| {
        site.write("qalqan.toml", text);
        for command in [["config", "check"], ["lists", "check"]] {
            let error = site.refused(&command);
            assert!(error.contains(expected), "{text}\nwanted {expected}\ngot {error}");
        }
    };
    let trunk = "[trunk.a]\nclass = \"international\"\nsource = [\"127.0.0.11\"]\n";
    fault("[trunk.a]\nclas = \"international\"\n", "qalqan.toml:2:1: unknown field `clas`");
    fault("nonsense = 1\n", "qalqan.toml:1:1: unknown field `nonsense`");
    fault("[sip]\nlisten = 5060\n", "qalqan.toml:2:10: invalid type");
    fault("[trunk.a\n", "qalqan.toml:1:");
    fault("", "no trunk: write [trunk.NAME]");
    fault(
        &trunk.replace("international", "intl"),
        "qalqan.toml:2:9: no trunk class \"intl\": international, ",
    );
    fault(&trunk.replace("127.0.0.11", "127.0.0.11/40"), "qalqan.toml:3:11: source \"127.0.0.11/40\" is not");
    fault(&trunk.replace("127.0.0.11", "10.0.0.1/8"), "write 10.0.0.0/8 for the network");
    let two = format!("{trunk}[trunk.b]\nclass = \"national\"\nsource = [\"127.0.0.0/24\"]\n");
    fault(&two, "qalqan.toml:6:11: trunk b claims 127.0.0.0/24, and trunk a claims 127.0.0.11/32");
    fault(&format!("{trunk}[trunk.a.rules]\nR99 = \"off\"\n"), "no rule \"R99\"");
    fault(&format!("{trunk}[trunk.a.rules]\nR08 = \"maybe\"\n"), "no mode \"maybe\"");
    fault(&format!("{trunk}[trunk.a.rules]\nR00 = \"off\"\n"), "R00 always passes emergency calls");
    fault(&format!("{trunk}[trunk.a.caps]\nR07 = \"many\"\n"), "\"many\" is not a cap");
    fault(&format!("{trunk}[trunk.a.caps]\nR08 = \"1/s\"\n"), "R08 has no cap");
    fault(&format!("[sip]\nlisten = [\"5060\"]\n{trunk}"), "listen \"5060\" is not an address and port");
    fault(&format!("[sip]\nblock = \"200\"\n{trunk}"), "no answer \"200\"");
    fault(
        &format!("[sip]\nallow = \"404\"\n[sip.answers]\nR05 = \"404\"\n{trunk}"),
        "could not tell a block from it",
    );
    fault(&format!("plan = \"xx\"\n{trunk}"), "plan \"xx\" is not a shipped one (kz, gb)");
    fault(&format!("{trunk}numbers = \"x.csv\"\n"), "only an international-dedicated trunk has numbers");
    fault(&trunk.replace("international", "international-dedicated"), "numbers = ");
    fault(&format!("[journal]\nsegment-mb = 0\n{trunk}"), "segment-mb is not between 1 and 4096");
    // Two faults, two lines.
    site.write("qalqan.toml", format!("[sip]\nblock = \"200\"\nlisten = [\"x\"]\n{trunk}"));
    assert_eq!(site.refused(&["config", "check"]).lines().count(), 2);
    assert!(site.refused(&["config", "check", "--config", "none.toml"]).contains("none.toml: no such file"));
    assert!(site.refused(&["config", "check", "--config", "."]).contains("is a directory"));
    site.write("qalqan.toml", trunk);
    assert!(site.ok(&["config", "check"]).contains("ok: 1 trunks"));
}

#[test]
fn lists_check_names_every_bad_line_of_every_list() {
    let site = Site::new(
        "[lists]\nblock = \"block.csv\"\nallow = \"allow.csv\"\nexempt = \"exempt.csv\"\nunallocated = \"dir\"\nno-international = \"empty.csv\"\ndo-not-originate = \"gone.csv\"",
    );
    site.write(
        "block.csv",
        "number,owner,expires,note\r\n+77272501234,a,,\r\n8727250,a,,\r\n+77272501235,a,soon,\r\n",
    );
    site.write("allow.csv", "number,owner,note\n");
    site.write("exempt.csv", "number,owner,expires,note\n+77272501234,a,,R08 R77\n+77272501235,a,,\n");
    site.write("empty.csv", "");
    site.write("dir/x", "");
    let error = site.refused(&["lists", "check"]);
    for expected in [
        "block.csv:3: \"8727250\" is not a number in E.164",
        "block.csv:4: expires \"soon\" is not a date",
        "allow.csv:1: column \"expires\" is missing",
        "exempt.csv:2: note \"R08 R77\": \"R77\" is not a rule",
        "exempt.csv:3: the note must name the rules",
        "list dir: is a directory",
        "empty.csv:1: the file is empty",
        "list gone.csv: no such file",
    ] {
        assert!(error.contains(expected), "wanted {expected}\ngot {error}");
    }
    assert_eq!(error.lines().count(), 8, "{error}");
    let good = Site::new("[lists]\nblock = \"block.csv\"");
    good.write("block.csv", "number,owner,expires,note\n+77272501234,a,2020-01-01,\n+7727*,,,\n");
    let table = good.ok(&["lists", "check"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..7], ["block", "2", "1", "1", "1", "1", "0"], "{table}");
}

#[test]
fn replay_takes_any_column_order_quotes_windows_line_ends_and_other_names() {
    let site = Site::new("");
    let verdicts = |name: &str, more: &[&str]| -> Vec<String> {
        let mut arguments = vec!["replay", name, "--out", "out.jsonl"];
        arguments.extend(more);
        let summary = site.ok(&arguments);
        assert!(summary.contains("international"), "{summary}");
        site.read("out.jsonl").lines().map(str::to_owned).collect()
    };
    site.write("a.csv", format!("{HEADER}2026-03-02T12:00:00Z,international,+77272501234,,+77011234567,\n"));
    let plain = verdicts("a.csv", &[]);
    let first: serde_json::Value = serde_json::from_str(&plain[0]).unwrap();
    assert_eq!(
        (&first["n"], &first["verdict"], &first["rule"], &first["name"]),
        (&1.into(), &"block".into(), &"R08".into(), &"fixed-from-abroad".into())
    );
    assert!(plain[0].starts_with(
        "{\"n\":1,\"verdict\":\"block\",\"rule\":\"R08\",\"name\":\"fixed-from-abroad\",\"reason\":\""
    ));

    site.write("b.csv", "\u{feff}called,duration,note,redirecting,trunk,time,presentation,calling\r\n+77011234567,3,\"two\nlines, and \"\"quotes\"\"\",,international,1772452800,,+77272501234\r\n");
    assert_eq!(verdicts("b.csv", &[]), plain);
    site.write("c.csv", "start,in,a,b\n2026-03-02 12:00:00,international,+77272501234,+77011234567\n");
    let maps = [
        "--map",
        "start=time",
        "--map",
        "in=trunk",
        "--map",
        "a=calling",
        "--map",
        "b=called",
        "--map",
        "=presentation",
        "--map",
        "=redirecting",
    ];
    assert_eq!(verdicts("c.csv", &maps), plain);
}

#[test]
fn replay_tells_what_is_wrong_with_a_file() {
    let site = Site::new("");
    let good = "2026-03-02T12:00:00Z,international,+77272501234,,+77011234567,\n";
    let refused = |name: &str, text: &[u8], expected: &str| {
        site.write(name, text);
        let error = site.refused(&["replay", name, "--out", "out.jsonl"]);
        assert!(error.contains(expected) && error.contains(name), "wanted {expected}\ngot {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!site.path("out.jsonl").exists() && !site.path("out.jsonl.draft").exists(), "all or nothing");
    };
    refused("missing.csv", b"time,trunk,calling,presentation,redirecting\n", "column \"called\" is missing");
    refused("empty.csv", b"", "the file is empty");
    refused(
        "trunk.csv",
        format!("{HEADER}{good}{}", good.replace("international", "moon")).as_bytes(),
        "line 3: trunk \"moon\" is not in the configuration",
    );
    refused(
        "time.csv",
        format!("{HEADER}{}", good.replace("2026-03-02T12:00:00Z", "noon")).as_bytes(),
        "line 2: time \"noon\" is not a time",
    );
    let windows = format!("{HEADER}{good}\n{}", good.replace("12:00:00Z", "noon")).replace('\n', "\r\n");
    refused("windows.csv", windows.as_bytes(), "line 4: time ");
    refused("fields.csv", format!("{HEADER}a,b\n").as_bytes(), "line 2: 2 fields where the header has 6");
    refused(
        "bytes.csv",
        [HEADER.as_bytes(), b"2026-03-02T12:00:00Z,international,\xff\xfe,,+7,\n"].concat().as_slice(),
        "column \"calling\" is not UTF-8",
    );
    refused("empty.parquet", b"", "the file is empty");
    refused("text.parquet", b"PAR1 and then nothing", "not a whole Parquet file");
    site.ok(&["simulate", "--calls", "20000", "--records", "day.parquet", "--country", "country"]);
    let whole = std::fs::read(site.path("day.parquet")).unwrap();
    refused("cut.parquet", &whole[..whole.len() / 2], "not a whole Parquet file");
    let mut holed = whole.clone();
    holed[1000..1400].fill(0xff);
    site.write("holed.parquet", &holed);
    let error = site.refused(&["replay", "holed.parquet", "--config", "country/qalqan.toml"]);
    assert!(error.contains("holed.parquet: "), "{error}");
    assert!(site.refused(&["replay", "none.csv"]).contains("none.csv: no such file"));
    assert!(site.refused(&["replay", "."]).contains("is a directory"));
    site.write("good.csv", format!("{HEADER}{good}"));
    assert!(
        site.refused(&["replay", "good.csv", "--out", "x.txt"]).contains("must end in .jsonl or .parquet")
    );
    assert!(site.refused(&["replay", "good.csv", "--out", "no/where.jsonl"]).contains("no such file"));
    assert!(site.refused(&["replay", "good.csv", "--map", "x"]).contains("--map THEIRS=OURS"));
    assert!(site.refused(&["replay", "good.csv", "--map", "x=colour"]).contains("no column \"colour\""));
}

/// Parquet in, both forms out: one verdict per call, in input order, the same by every way.
#[test]
fn simulated_records_replay_to_the_verdicts_the_simulator_saw() {
    let site = Site::new("");
    let told = site.ok(&[
        "simulate",
        "--seed",
        "5",
        "--calls",
        "30000",
        "--records",
        "day.parquet",
        "--country",
        "country",
    ]);
    assert!(
        told.contains("honest calls cut: 0 of") && told.contains("verdicts against the law: 0"),
        "{told}"
    );
    let replay =
        |out: &str| site.ok(&["replay", "day.parquet", "--config", "country/qalqan.toml", "--out", out]);
    let summary = replay("v.jsonl");
    replay("v.parquet");
    let lines = site.read("v.jsonl");
    assert_eq!(lines.lines().count(), 30_000);
    let blocked = |verdict: &str| lines.matches(&format!("\"verdict\":\"{verdict}\"")).count();
    // What the simulator counted with the policy in memory, replay counts with the files it wrote.
    let column = |place: usize| -> usize {
        told.lines()
            .filter(|line| {
                !line.contains(':') && line.split_whitespace().count() == 8 && !line.contains("calls")
            })
            .map(|line| line.split_whitespace().nth(place).unwrap().parse::<usize>().unwrap_or(0))
            .sum()
    };
    assert_eq!(blocked("allow"), column(2), "{told}");
    assert_eq!(blocked("mark"), column(3));
    assert_eq!(blocked("withhold"), column(4));
    assert_eq!(blocked("block"), column(5) + column(6));
    assert!(
        summary.contains("total") && summary.contains("carrier-west") && summary.contains("2026-03-02 "),
        "{summary}"
    );
    // The Parquet of verdicts is Parquet: replay reads its head and misses its own columns.
    let error = site.refused(&["replay", "v.parquet", "--config", "country/qalqan.toml"]);
    assert!(error.contains("the file has n, verdict, rule, name, reason, label, would"), "{error}");
}

#[test]
fn demo_without_a_terminal_tells_its_calls_and_ends() {
    let site = Site::new("");
    let output = site.run(&["demo", "--for", "4s", "--seed", "3", "--directory", "kept"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("calls per second") && text.contains("honest calls cut: 0 of"), "{text}");
    let kept =
        site.ok(&["journal", "query", "--config", "kept/qalqan.toml", "--verdict", "block", "--limit", "5"]);
    assert!(kept.lines().count() > 2, "{kept}");
}

/// The live view in a real terminal: tmux shows what a person would see.
#[test]
fn demo_on_a_terminal_shows_the_live_view_and_quits_on_q() {
    let site = Site::new("");
    let socket = site.path("tmux");
    let tmux = |arguments: &[&str]| -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&socket)
            .args(arguments)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let command =
        format!("{} demo --language ru; echo ended with $?; sleep 60", env!("CARGO_BIN_EXE_qalqan"));
    // tmux needs a UTF-8 locale to keep what is not ASCII.
    tmux(&[
        "-u",
        "new-session",
        "-d",
        "-x",
        "150",
        "-y",
        "45",
        "-s",
        "demo",
        &format!("LC_ALL=C.UTF-8 sh -c '{command}'"),
    ]);
    let mut screen = String::new();
    let mut is_full = || {
        screen = tmux(&["-u", "capture-pane", "-p", "-t", "demo"]);
        screen.contains("R08")
            && screen.contains("carrier-west")
            && screen.contains("честных вызовов оборвано: 0")
    };
    rig::wait(&mut is_full, || "the live view".to_owned());
    std::thread::sleep(Duration::from_millis(300));
    tmux(&["send-keys", "-t", "demo", "q"]);
    rig::wait(
        || tmux(&["-u", "capture-pane", "-p", "-S", "-200", "-t", "demo"]).contains("ended with 0"),
        || "the demo to end".to_owned(),
    );
    tmux(&["kill-server"]);
    assert!(screen.contains("вызов") || screen.contains("звон"), "{screen}");
}
