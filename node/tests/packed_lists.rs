//! Compact lists through the command line and a running node.

use std::process::Command;

use crate::rig;
use rig::{INTERNATIONAL, Invite, NATIONAL, Site, Switch, header, status};

const HEADER: &str = "number,owner,expires,note\n";

fn block(numbers: impl Iterator<Item = u64>) -> String {
    format!("{HEADER}{}", numbers.map(|number| format!("+{number},us,,caught\n")).collect::<String>())
}

#[test]
fn a_packed_list_is_the_list_it_was_packed_from() {
    let site = Site::new("[lists]\nblock = \"block.csv\"");
    let odd = "+77272501235,\"Bank, A\",2020-01-01,\n+77272501235,,2019-01-01,\n+7727*,,,\n112,Centre,,\n";
    site.write("block.csv", block((0..3000).map(|n| 77_272_000_000 + n * 7)) + odd);
    let plain = site.ok(&["lists", "check"]);
    let said = site.ok(&["lists", "pack", "block.csv"]);
    let sum = Command::new("sha256sum").arg(site.path("block.csv")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert!(
        said.contains("block.list: 3003 entries") && said.contains(sum.split(' ').next().unwrap()),
        "{said}"
    );
    assert!(!site.path("block.list.draft").exists());
    let checks = |site: &Site| {
        ["+77272000014", "+77272501235", "+77273500000", "+14155550123"].map(|calling| {
            // The configuration is another, and so are the versions a verdict names.
            let judged = site.ok(&["check", calling, "+77011234567", "--trunk", "national", "--json"]);
            judged.split("\"versions\"").next().unwrap().to_owned()
        })
    };
    let from_csv = checks(&site);
    site.configure("[lists]\nblock = \"block.list\"");
    assert_eq!(site.ok(&["lists", "check"]), plain, "entries, prefixes, audit, duplicates, version");
    assert_eq!(checks(&site), from_csv);
    assert!(from_csv[0].contains("block") && !from_csv[3].contains("\"verdict\":\"block\""), "{from_csv:?}");
}

#[test]
fn what_is_wrong_with_a_compact_file_is_said_in_a_line() {
    let site = Site::new("[lists]\nexempt = \"exempt.list\"");
    site.write("exempt.csv", format!("{HEADER}+77272501234,Embassy,2099-01-01,R08\n112,Centre,,R04\n"));
    site.write("bad.csv", format!("{HEADER}+77272501234,a,,\n8727250,a,,\n"));
    let refused = |arguments: &[&str], expected: &str| {
        let error = site.refused(arguments);
        assert!(error.contains(expected), "wanted {expected}\ngot {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    };
    refused(&["lists", "pack", "bad.csv"], "bad.csv:3: \"8727250\" is not a number in E.164");
    assert!(!site.path("bad.list").exists() && !site.path("bad.list.draft").exists());
    refused(&["lists", "pack", "none.csv"], "none.csv: no such file");
    refused(&["lists", "pack", "exempt.csv", "--out", "no/where.list"], "no/where.list: no such file");
    refused(&["lists", "pack", "exempt.csv", "--out", "exempt.csv"], "exempt.csv: is the CSV file itself");
    refused(&["lists", "check"], "list exempt.list: no such file");
    site.ok(&["lists", "pack", "exempt.csv"]);
    refused(&["lists", "check"], "exempt.list: was packed for a list whose notes mean something else");
    site.write("wrong.csv", format!("{HEADER}+77272501234,Embassy,,R77\n"));
    refused(
        &["lists", "pack", "wrong.csv", "--name", "exempt"],
        "wrong.csv:2: note \"R77\": \"R77\" is not a rule",
    );
    site.ok(&["lists", "pack", "exempt.csv", "--name", "exempt"]);
    assert!(site.ok(&["lists", "check"]).contains("exempt"));
    refused(&["lists", "pack", "exempt.list"], "exempt.list: is a compact list already");
    let whole = std::fs::read(site.path("exempt.list")).unwrap();
    site.write("exempt.list", &whole[..whole.len() - 64]);
    refused(&["config", "check"], "exempt.list: is a compact list that was cut short or changed");
    let mut changed = whole.clone();
    let owner = whole.windows(7).position(|bytes| bytes == b"Embassy").unwrap();
    changed[owner] = b'X';
    site.write("exempt.list", &changed);
    refused(&["lists", "check"], "exempt.list: is not what was packed, its checksum differs");
    changed = whole.clone();
    changed[8] = 9;
    site.write("exempt.list", &changed);
    refused(&["config", "check"], "is a compact list of form 9");
    // 112 is a short code by the plan of Kazakhstan; under another plan the line has to be read again.
    site.write("exempt.list", &whole);
    let text = site.read("qalqan.toml");
    site.write("qalqan.toml", format!("plan = \"gb\"\n{text}"));
    refused(&["config", "check"], "exempt.list: was packed under another numbering plan");
}

#[test]
fn a_node_serves_a_compact_list_and_takes_the_next_one_without_losing_a_call() {
    let site = Site::new("[lists]\nblock = \"lists/block.list\"");
    site.write("lists/block.csv", block((0..100_000).map(|n| 77_010_000_000 + n * 9)));
    site.ok(&["lists", "pack", "lists/block.csv"]);
    let node = site.serve();
    let (abroad, home) = (Switch::on(INTERNATIONAL, &node), Switch::on(NATIONAL, &node));
    let verdict = |call_id: &str, from: &str| {
        let answer = abroad.invite(&Invite { from, call_id, ..Invite::default() });
        header(&answer, "Qalqan-Verdict").unwrap().split(';').next().unwrap().to_owned()
    };
    assert_eq!(verdict("1", "sip:+77010899991@x"), "block");
    assert_eq!(verdict("2", "sip:+14155550123@x"), "mark");
    // The next version: other numbers, packed over the one in force while calls go on.
    site.write("lists/block.csv", block((0..100_000).map(|n| 14_155_550_123 + n * 3)));
    for round in 0..400 {
        if round == 100 {
            site.ok(&["lists", "pack", "lists/block.csv"]);
            node.signal("-HUP");
        }
        let call_id = format!("s{round}");
        let from = "sip:+77272501234@x";
        let answer = home.invite(&Invite { from, call_id: &call_id, ..Invite::default() });
        assert_eq!(status(&answer), "302 Moved Temporarily");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    node.wait_for("is in force");
    assert_eq!(verdict("3", "sip:+14155550123@x"), "block");
    assert_ne!(verdict("4", "sip:+77010899991@x"), "block");
    // One that is damaged changes nothing.
    let whole = std::fs::read(site.path("lists/block.list")).unwrap();
    site.write("lists/next", &whole[..whole.len() / 2]);
    std::fs::rename(site.path("lists/next"), site.path("lists/block.list")).unwrap();
    node.signal("-HUP");
    node.wait_for("reload refused");
    assert_eq!(verdict("5", "sip:+14155550123@x"), "block");
}
