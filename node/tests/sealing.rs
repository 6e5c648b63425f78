//! Sealing while things go wrong: kills, power loss, full disks, and segments that grow old.

use crate::rig;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rig::{INTERNATIONAL, Invite, Node, Site, Switch, status, wait};

/// Calls until it is told to stop; gives the Call-IDs that were answered, each with when.
fn call_on(node: &Node, names: &str, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Vec<(String, Instant)>>> {
    (0..3)
        .map(|caller| {
            let switch = Switch::on(INTERNATIONAL, node);
            switch.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let (stop, names) = (stop.clone(), names.to_owned());
            std::thread::spawn(move || {
                let mut answered = Vec::new();
                let mut n = 0;
                // Not all that the machine can do: the disk has a part in these tests too.
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let call_id = format!("{names}-{caller}-{n}");
                    let message = switch.render(&Invite { call_id: &call_id, ..Invite::default() });
                    if switch.try_send(&message) && switch.answer().is_some() {
                        answered.push((call_id, Instant::now()));
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                answered
            })
        })
        .collect()
}

fn answered(callers: Vec<JoinHandle<Vec<(String, Instant)>>>) -> Vec<(String, Instant)> {
    callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
}

/// How often each Call-ID stands in the journal.
fn kept(site: &Site, directory: &str) -> HashMap<String, usize> {
    let lines =
        site.ok(&["journal", "query", "--format", "jsonl", "--limit", "1000000", "--directory", directory]);
    let mut kept = HashMap::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        *kept.entry(line["call_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    kept
}

fn verify(site: &Site) -> String {
    let output = site.run(&["journal", "verify", "--public-key", "keys/first.pub.pem"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn stop(mut node: Node) {
    node.signal("-TERM");
    wait(|| !node.is_running(), || "the node stops".to_owned());
}

/// Starts a node again and again over the logs that the kill before left, and kills it at another moment of its
/// sealing each time, under traffic.
#[test]
fn kill_9_while_sealing_loses_and_doubles_nothing() {
    let site = Site::new("[journal]\nsegment-mb = 1");
    let mut all = Vec::new();
    let mut seals_seen = HashSet::new();
    // A busy machine takes and seals fewer calls: then it is killed more often.
    for round in 0..40 {
        if round >= 10 && all.len() > 1000 && seals_seen.len() > 2 {
            break;
        }
        let node = site.serve();
        let stop_calls = Arc::new(AtomicBool::new(false));
        let callers = call_on(&node, &format!("k{round}"), &stop_calls);
        std::thread::sleep(Duration::from_millis(60 + 70 * (round % 20)));
        node.kill();
        stop_calls.store(true, Ordering::Relaxed);
        all.extend(answered(callers));
        let segments = fs::read_dir(site.path("journal/segments")).unwrap().flatten();
        seals_seen.insert(
            segments.filter(|entry| entry.path().extension().is_some_and(|end| end == "seal")).count(),
        );
        let kept = kept(&site, "journal");
        assert!(kept.values().all(|&times| times == 1), "round {round}: something is there twice");
        let lost = all.iter().filter(|(call, _)| !kept.contains_key(call)).count();
        assert_eq!(lost, 0, "round {round}: of {} calls", all.len());
    }
    assert!(all.len() > 1000 && seals_seen.len() > 2, "{} calls, seals {seals_seen:?}", all.len());
    let before = kept(&site, "journal");
    stop(site.serve());
    verify(&site);
    assert_eq!(kept(&site, "journal"), before);
}

/// Unmounts at the end of the test, whatever happened.
struct Mount(PathBuf);

impl Mount {
    fn new(what: &[&str], place: &Path) -> Mount {
        fs::create_dir_all(place).unwrap();
        let mounted = Command::new("mount").args(what).arg(place).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test mounts disks of its own: run it as root"
        );
        Mount(place.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_while_sealing_stops_no_call() {
    let site = Site::new("[journal]\ndirectory = \"small/journal\"\nsegment-mb = 1");
    let small = site.path("small");
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=6m", "tmpfs"], &small);
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let ask = |n: usize| {
        let call_id = format!("d{n}");
        let answer =
            abroad.invite(&Invite { from: "sip:+77272501234@x", call_id: &call_id, ..Invite::default() });
        assert_eq!(status(&answer), "603 Decline", "call {n}");
    };
    (0..10).for_each(ask);
    // The log in use, its spare, and the one that waits for calls over TCP have their room before the disk is full.
    let has_room = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|meta| meta.len() == 1 << 20);
    let reserved = || fs::read_dir(small.join("journal")).unwrap().flatten().filter(has_room).count();
    wait(|| reserved() == 3, || format!("three logs: {}", reserved()));
    let mut filler = fs::File::create(small.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    (10..8_300).for_each(ask);
    node.wait_for("journal: sealing: ");
    assert!(node.log().contains("No space left on device"), "{}", node.log());
    (8_300..8_400).for_each(ask);
    drop(filler);
    fs::remove_file(small.join("filler")).unwrap();
    node.wait_for("journal: sealing goes on");
    wait(|| node.log().contains("is sealed: 8191 records"), || node.log());
    (8_400..8_500).for_each(ask);
    stop(node);
    assert_eq!(kept(&site, "small/journal").len(), 8_500);
    assert!(verify(&site).contains("records        8500"));
}

/// A disk of its own, and a copy of it in the middle of traffic: what a power loss leaves. Everything that was
/// answered up to a second before is in the copy.
#[test]
fn power_loss_costs_at_most_a_second() {
    let site = Site::new("[journal]\ndirectory = \"disk/journal\"\nsegment-mb = 8");
    let run = |program: &str, arguments: &[&str]| {
        let output =
            Command::new(program).args(arguments).current_dir(site.directory.path()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    // Copying a file in memory takes no time to speak of.
    let _memory = Mount::new(&["-t", "tmpfs", "-o", "size=256m", "tmpfs"], &site.path("memory"));
    run("truncate", &["-s", "96M", "memory/image"]);
    run("mkfs.ext4", &["-q", "memory/image"]);
    let image = site.path("memory/image").display().to_string();
    let _disk = Mount::new(&["-o", "loop", &image], &site.path("disk"));
    let node = site.serve();
    let stop_calls = Arc::new(AtomicBool::new(false));
    let callers = call_on(&node, "p", &stop_calls);
    std::thread::sleep(Duration::from_millis(4000));
    // From here on nothing more is asked of the disk by the node.
    let lost_power = Instant::now();
    node.signal("-STOP");
    run("cp", &["memory/image", "memory/copy"]);
    stop_calls.store(true, Ordering::Relaxed);
    let answered = answered(callers);
    node.kill();
    let copy = site.path("memory/copy").display().to_string();
    let _copied = Mount::new(&["-o", "loop", &copy], &site.path("after"));
    let kept = kept(&site, "after/journal");
    let due: Vec<_> = answered
        .iter()
        .filter(|(_, at)| lost_power.saturating_duration_since(*at) >= Duration::from_secs(1))
        .collect();
    assert!(due.len() > 1000, "only {} calls", due.len());
    let lost = due.iter().filter(|(call, _)| !kept.contains_key(call)).count();
    assert_eq!(lost, 0, "of {} calls answered a second before", due.len());
    assert!(kept.values().all(|&times| times == 1));
    // A node starts on what is left, and what it seals is whole.
    site.configure("[journal]\ndirectory = \"after/journal\"\nsegment-mb = 8");
    stop(site.serve());
    verify(&site);
}

#[test]
fn segments_that_are_old_are_deleted_and_the_chain_says_so() {
    let site = Site::new("[journal]\nkeep-days = 30");
    let library = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists())
    .expect("the package faketime");
    for (round, days) in [45, 44, 20, 18].into_iter().enumerate() {
        let mut command = rig::qalqan(site.directory.path());
        command
            .arg("serve")
            .env("LD_PRELOAD", library)
            .env("FAKETIME", format!("-{days}d"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let node = Node::start(&mut command, site.port);
        let abroad = Switch::on(INTERNATIONAL, &node);
        for n in 0..5 {
            abroad.invite(&Invite { call_id: &format!("o{round}-{n}"), ..Invite::default() });
        }
        stop(node);
    }
    assert!(verify(&site).contains("segments       4"));
    let node = site.serve();
    node.wait_for("journal: 2 segments older than 30 days are deleted");
    stop(node);
    let segments = site.path("journal/segments");
    let has = |name: &str| segments.join(name).exists();
    assert!(!has("0000000001.parquet") && has("0000000001.seal") && !has("0000000002.parquet"));
    let summary = verify(&site);
    assert!(
        summary.contains("segments       2") && summary.contains("2 segments, 10 records deleted"),
        "{summary}"
    );
    assert_eq!(site.journal_len(), 10);
    // What nobody deleted by the rules is missing.
    fs::remove_file(segments.join("0000000003.parquet")).unwrap();
    let output = site.run(&["journal", "verify", "--public-key", "keys/first.pub.pem"]);
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), found.lines().count()), (Some(1), 1), "{found}");
    assert!(found.contains("segment 3: 0000000003.parquet is missing: 5 records"), "{found}");
}

/// A page that never reached the disk, and a torn tail: cut back, said in the log and in the seal.
#[test]
fn damaged_slots_are_reported_and_cost_nobody_else() {
    let site = Site::new("[journal]\nsegment-mb = 1");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    for n in 0..100 {
        abroad.invite(&Invite { call_id: &format!("t{n}"), ..Invite::default() });
    }
    node.kill();
    let mut logs: Vec<PathBuf> = fs::read_dir(site.path("journal"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    let mut bytes = fs::read(&logs[0]).unwrap();
    bytes[128 * 11 + 70] ^= 1; // in the 11th record
    bytes[128 * 100 + 73..].fill(0); // the last one is torn
    fs::write(&logs[0], bytes).unwrap();
    let node = site.serve();
    node.wait_for("2 slots hold no whole record");
    stop(node);
    let summary = verify(&site);
    assert!(summary.contains("records        98") && summary.contains("damaged slots  2"), "{summary}");
    let kept = kept(&site, "journal");
    assert!(!kept.contains_key("t10") && !kept.contains_key("t99") && kept.len() == 98);
}

/// A log whose key was taken away stays as it is, and the others go on; it is sealed once the key is back.
#[test]
fn a_log_whose_key_is_gone_waits_for_it() {
    let site = Site::new("[journal]\nsegment-mb = 1");
    let call = |node: &Node, call_id: &str| {
        Switch::on(INTERNATIONAL, node).invite(&Invite { call_id, ..Invite::default() });
    };
    let node = site.serve();
    call(&node, "before");
    node.kill();
    fs::rename(site.path("keys/numbers.key"), site.path("taken")).unwrap();
    assert!(site.refused(&["serve"]).contains("numbers.key: no such file"));
    fs::copy(site.path("taken"), site.path("keys/numbers.key")).unwrap();
    let other = site.read("taken").replace(['0', '1', '2'], "3");
    site.write("keys/numbers.key", other);
    let node = site.serve();
    node.wait_for("the key that hides its numbers is not among the keys: it is not sealed");
    call(&node, "after");
    stop(node);
    assert!(verify(&site).contains("records        1\n"));
    assert_eq!(kept(&site, "journal").len(), 2, "both are found all the same");
    fs::rename(site.path("taken"), site.path("keys/numbers-found.key")).unwrap();
    stop(site.serve());
    assert!(verify(&site).contains("records        2\n"));
    let found = site.ok(&["journal", "query", "--format", "jsonl", "--number", "+77011234567"]);
    assert_eq!(found.lines().count(), 2);
}
