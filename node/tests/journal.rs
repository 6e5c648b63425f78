//! The journal of the real binary: nothing answered is lost on a kill, and nothing stops calls.

use crate::rig;

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rig::{INTERNATIONAL, Invite, NATIONAL, Node, Site, Switch, header, status, wait};

/// Kills a node in the middle of traffic: every call that was answered is in the journal.
#[test]
fn kill_9_loses_no_answered_call() {
    let site = Site::new("[journal]\nsegment-mb = 1");
    for round in 0..3 {
        let node = site.serve();
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..3)
            .map(|caller| {
                let switch = Switch::on(INTERNATIONAL, &node);
                switch.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let stop = stop.clone();
                std::thread::spawn(move || {
                    let mut answered = Vec::new();
                    let mut n = 0;
                    while !stop.load(Ordering::Relaxed) {
                        n += 1;
                        let call_id = format!("k{round}-{caller}-{n}");
                        let message = switch.render(&Invite { call_id: &call_id, ..Invite::default() });
                        // A dead node's port answers with a refusal of the kernel's.
                        if switch.try_send(&message) && switch.answer().is_some() {
                            answered.push(call_id);
                        }
                    }
                    answered
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(700));
        node.kill();
        stop.store(true, Ordering::Relaxed);
        let answered: Vec<String> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        assert!(answered.len() > 500, "only {} calls answered", answered.len());
        let kept: HashSet<String> =
            site.journal().iter().map(|line| line["call_id"].as_str().unwrap().to_owned()).collect();
        let lost: Vec<_> = answered.iter().filter(|call| !kept.contains(*call)).collect();
        let few = &lost[..lost.len().min(5)];
        assert!(lost.is_empty(), "{} answered and not in the journal: {few:?}", lost.len());
    }
    // The next start cuts the logs of the dead back, and keeps what is in them.
    let before = site.journal().len();
    let node = site.serve();
    assert_eq!(site.journal().len(), before);
    drop(node);
}

/// Unmounts at the end of the test, whatever happened.
struct Mount(std::path::PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_no_call_and_is_counted() {
    let site = Site::new("[journal]\ndirectory = \"small/journal\"\nsegment-mb = 1");
    let small = site.path("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=5m", "tmpfs"]).arg(&small).status();
    if !mounted.is_ok_and(|status| status.success()) {
        panic!("this test mounts a small disk of its own: run it as root");
    }
    let _mount = Mount(small.clone());
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let ask = |n: usize| {
        let call_id = format!("d{n}");
        let answer =
            abroad.invite(&Invite { from: "sip:+77272501234@x", call_id: &call_id, ..Invite::default() });
        assert_eq!(status(&answer), "603 Decline", "call {n}");
    };
    // Fill what is left of the disk, then more calls than the logs at hand can hold: 8,191 each.
    std::fs::write(small.join("filler"), vec![1; 1 << 20]).unwrap();
    let mut filler = std::fs::OpenOptions::new().append(true).open(small.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    (0..17_500).for_each(ask);
    node.wait_for("journal failing: No space left on device");
    let health =
        abroad.ask(abroad.render(&Invite { call_id: "h", ..Invite::default() }).replace("INVITE", "OPTIONS"));
    assert_eq!(header(&health, "Qalqan-Node"), Some("ready;journal=failing"));
    let kept = site.journal_len();
    assert!(kept < 17_500, "{kept} kept: the disk was not full");
    let refused = site.refused(&["journal", "query", "--reveal"]);
    assert!(refused.contains("this look cannot be written down"), "{refused}");
    // Room again: the journal goes on by itself, and what was lost is said.
    drop(filler);
    std::fs::remove_file(small.join("filler")).unwrap();
    let recovered = || {
        let health = abroad
            .ask(abroad.render(&Invite { call_id: "h2", ..Invite::default() }).replace("INVITE", "OPTIONS"));
        header(&health, "Qalqan-Node") == Some("ready;journal=ok")
    };
    wait(recovered, || node.log());
    std::thread::sleep(Duration::from_millis(200));
    (20_000..20_010).for_each(ask);
    assert!(site.journal_len() >= kept + 10);
    node.signal("-TERM");
    node.wait_for("verdicts the journal lost");
    node.wait_for("stopping");
}

#[test]
fn a_clock_that_jumps_back_changes_no_verdict_and_locks_no_cap() {
    let site = Site::new("");
    site.write(
        "qalqan.toml",
        format!("{}\n[trunk.international.caps]\nR07 = \"1/h\"\n", site.read("qalqan.toml")),
    );
    site.write("clock", "@2026-03-02 12:00:00");
    // The program `faketime` fixes its time at the start; the library by itself reads it from the file each time.
    let library = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ]
    .into_iter()
    .find(|path| std::path::Path::new(path).exists())
    .expect("the package faketime");
    let mut command = rig::qalqan(site.directory.path());
    command
        .arg("serve")
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", site.path("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("TZ", "UTC");
    let node = Node::start(&mut command, site.port);
    let abroad = Switch::on(INTERNATIONAL, &node);
    let ask = |call_id: &str| {
        let more = "Diversion: <sip:+14155550199@x>\r\n";
        let answer =
            abroad.invite(&Invite { from: "sip:+77272501234@x", more, call_id, ..Invite::default() });
        header(&answer, "Qalqan-Verdict").unwrap().split(';').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask("1"), "rule=R07");
    assert_eq!(ask("2"), "rule=R08", "the cap of one an hour is used up");
    site.write("clock", "@2026-03-02 08:00:00");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(ask("3"), "rule=R07", "four hours earlier the cap starts anew");
    assert_eq!(ask("4"), "rule=R08");
    assert_eq!(ask("1"), "rule=R07", "a retransmission from before the jump is still known");
    let times: Vec<String> =
        site.journal().iter().map(|line| line["time"].as_str().unwrap()[..13].to_owned()).collect();
    assert_eq!(times, ["2026-03-02T08", "2026-03-02T08", "2026-03-02T12", "2026-03-02T12"]);
}

#[test]
fn query_finds_by_time_number_rule_and_trunk_and_notes_who_looked() {
    let site = Site::new("");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let home = Switch::on(NATIONAL, &node);
    abroad.invite(&Invite { from: "sip:+77272501234@x", call_id: "q1", ..Invite::default() });
    abroad.invite(&Invite { call_id: "q2", ..Invite::default() });
    home.invite(&Invite { from: "sip:+77272501234@x", call_id: "q3", ..Invite::default() });
    let ids = |arguments: &[&str]| -> Vec<String> {
        let mut all = vec!["journal", "query", "--format", "jsonl"];
        all.extend(arguments);
        let lines = site.ok(&all);
        lines
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["call_id"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(ids(&[]).len(), 3);
    assert_eq!(ids(&["--rule", "R08"]), ["q1"]);
    assert_eq!(ids(&["--trunk", "national"]), ["q3"]);
    assert_eq!(ids(&["--verdict", "mark"]), ["q2"]);
    assert_eq!(ids(&["--number", "+77272501234", "--trunk", "international"]), ["q1"]);
    assert_eq!(ids(&["--until", "2020-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(ids(&["--from", "2020-01-01T00:00:00Z"]).len(), 3);
    assert_eq!(ids(&["--limit", "1"]), ["q3"]);

    let table = site.ok(&["journal", "query"]);
    assert!(table.contains("+77272****34") && !table.contains("+77272501234"), "{table}");
    let csv = site.ok(&["journal", "query", "--format", "csv", "--reveal"]);
    assert!(csv.starts_with("time,trunk,calling,") && csv.contains("+77272501234"), "{csv}");
    let looks = site.read("journal/looks.jsonl");
    let looks: Vec<serde_json::Value> =
        looks.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 2, "one search by number, one look at every digit");
    assert_eq!((looks[0]["revealed"].as_bool(), looks[1]["revealed"].as_bool()), (Some(false), Some(true)));
    assert_eq!(looks[0]["number"], "+77272****34");

    assert!(site.refused(&["journal", "query", "--number", "8727"]).contains("E.164"));
    assert!(site.refused(&["journal", "query", "--rule", "R99"]).contains("no such rule"));
    assert!(site.refused(&["journal", "query", "--from", "noon"]).contains("2026-03-02T12:00:00Z"));
    assert!(site.refused(&["journal", "query", "--directory", "nowhere"]).contains("no such directory"));
}

#[test]
fn a_journal_belongs_to_one_node() {
    let site = Site::new("");
    let _node = site.serve();
    let other = Site::new(&format!("[journal]\ndirectory = \"{}\"", site.path("journal").display()));
    assert!(other.refused(&["serve"]).contains("another node is writing there"));
}

#[test]
fn a_verdict_can_be_given_again_from_the_journal() {
    let site = Site::new("");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    for (n, from) in
        ["+77272501234", "+14155550123", "+77011234567", "+78301234567", "102"].iter().enumerate()
    {
        let from = format!("sip:{from}@x");
        abroad.invite(&Invite { from: &from, call_id: &format!("a{n}"), ..Invite::default() });
    }
    let journal = site.journal();
    site.write("again.csv", site.ok(&["journal", "query", "--format", "csv", "--reveal"]));
    site.ok(&["replay", "again.csv", "--out", "again.jsonl"]);
    let again = site.read("again.jsonl");
    assert_eq!(again.lines().count(), 5);
    for (line, kept) in again.lines().zip(&journal) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["verdict"], &line["rule"]), (&kept["verdict"], &kept["rule"]));
    }
}
