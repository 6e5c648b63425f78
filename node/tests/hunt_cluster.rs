//! `qalqan hunt --on`: what is found with DataFusion, here or on a cluster, is what is found without it, byte for byte.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::rig::http::Client;
use crate::rig::{Node, Site, free_port, qalqan, wait};

/// A scheduler and two executors, each a process of the binary.
struct Cluster {
    scheduler: Node,
    executors: Vec<Node>,
}

impl Cluster {
    fn new(site: &Site) -> Cluster {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let asked = ["hunt", "scheduler", "--executors", "2", "--listen", &address];
        let scheduler = Node::start(qalqan(site.directory.path()).args(asked), port);
        let executors = ["one", "two"].map(|name| {
            let port = free_port();
            let own = format!("127.0.0.1:{port}");
            let asked = ["hunt", "executor", "--cores", "1", "--memory", "256", "--work-dir", name];
            let asked = [&asked[..], &["--scheduler", &address, "--listen", &own]].concat();
            Node::start(qalqan(site.directory.path()).args(asked), port)
        });
        let cluster = Cluster { scheduler, executors: executors.into() };
        let is_ready = || {
            std::net::TcpStream::connect(cluster.scheduler.address).is_ok()
                && Client::new(cluster.scheduler.address).get("/readyz").status == 200
        };
        wait(is_ready, || "two executors".to_owned());
        cluster
    }

    fn url(&self) -> String {
        format!("df://{}", self.scheduler.address)
    }
}

/// A country's calls; and calls of one who is written three ways, beside what is left out.
fn records(site: &Site) {
    let asked = ["simulate", "--seed", "11", "--subscribers", "4000", "--days", "10"];
    site.ok(&[&asked[..], &["--call-records", "r.csv"]].concat());
    let mut text = "\u{feff}Start,called,CALLING,cell,imei,imsi,duration\n".to_owned();
    for n in 0..200 {
        let who = ["8 701 000 00 01", "+77010000001", " 77010000001"][n % 3];
        let time = format!("2026-03-02T{:02}:{:02}:00+05:00", 8 + n / 60, n % 60);
        text += &format!(
            "{time},+7702{:07},{who}, c1 ,35000000000001{},{},{}.5\n",
            n * 31,
            n % 10,
            7 + n % 6,
            n % 400
        );
    }
    // The same telephone with one more SIM, of a number that calls once.
    text += "2026-03-03T08:00:00Z,+77020000000,+77010000002,c9,350000000000019,99,5\n";
    text += "2126-03-02T08:00:00Z,+77020000000,+77010000001,,,,\nsoon,+77020000000,+77010000001,,,,\n";
    text += "2026-03-02T08:00:00Z,,anonymous,,,,\n2025-01-02T08:00:00Z,+77020000000,+77010000001,,,,\n";
    site.write("odd.csv", text);
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin/python");
    let script = "import duckdb; duckdb.sql(\"COPY (FROM 'r.csv') TO 'r.parquet' (FORMAT parquet)\")";
    let output = Command::new(python).args(["-c", script]).current_dir(site.directory.path()).output();
    let output = output.expect("./test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// All that a hunt says and writes.
#[track_caller]
fn found(site: &Site, asked: &[&str]) -> [String; 3] {
    let _ = fs::remove_file(site.path("found.jsonl"));
    let output = site.run(&[&["hunt", "--out", "found.jsonl"], asked].concat());
    let [out, told] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{asked:?}: {told}");
    [site.read("found.jsonl"), out, told]
}

#[test]
fn the_same_is_found_wherever_records_are_sifted() {
    let site = Site::new("");
    records(&site);
    let cluster = Cluster::new(&site);
    for files in [
        &["odd.csv"][..],
        &["r.csv", "odd.csv", "--since", "2026-01-01T00:00:00Z"],
        &["r.parquet", "odd.csv"],
    ] {
        let own = found(&site, files);
        let [lines, _, told] = &own;
        assert!(lines.contains("+77010000001") && told.contains("2 records start in the future"), "{told}");
        assert!(told.contains("1 records have no number calling or called"), "{told}");
        for on in ["datafusion", &cluster.url()] {
            let sifted = found(&site, &[files, &["--on", on]].concat());
            for (what, (own, sifted)) in ["found", "shown", "told"].iter().zip(own.iter().zip(&sifted)) {
                assert_eq!(own, sifted, "{what} of {files:?} on {on}");
            }
        }
    }
}

#[test]
fn a_hunt_goes_on_when_an_executor_is_killed() {
    let site = Site::new("");
    records(&site);
    // Again and again the same calls: longer to read, and no more to find.
    let files = ["r.csv", "r.parquet", "odd.csv", "r.csv"];
    let own = found(&site, &files);
    let mut cluster = Cluster::new(&site);
    let url = cluster.url();
    let sifted = std::thread::scope(|scope| {
        let hunt = scope.spawn(|| found(&site, &[&files[..], &["--on", &url]].concat()));
        // It has done a part, which goes with it.
        let has_worked =
            |directory: &Path| fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
        wait(|| has_worked(&site.path("one")), || "a task of an executor".to_owned());
        cluster.executors.remove(0).kill();
        hunt.join().unwrap()
    });
    assert_eq!(own, sifted);
}

#[test]
fn a_hunt_ends_in_a_line_when_the_scheduler_is_killed() {
    let site = Site::new("");
    records(&site);
    let Cluster { scheduler, executors: _executors } = Cluster::new(&site);
    let url = format!("df://{}", scheduler.address);
    let asked = ["hunt", "r.csv", "r.parquet", "odd.csv", "r.csv", "--out", "found.jsonl", "--on", &url];
    let output = std::thread::scope(|scope| {
        let hunt = scope.spawn(|| site.run(&asked));
        let has_worked = || fs::read_dir(site.path("one")).is_ok_and(|mut entries| entries.next().is_some());
        wait(has_worked, || "a task of an executor".to_owned());
        assert!(!hunt.is_finished());
        scheduler.kill();
        wait(|| hunt.is_finished(), || "the hunt's end".to_owned());
        hunt.join().unwrap()
    });
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let line = format!("{url}: the scheduler went away during the hunt");
    assert!(told.contains(&line) && told.lines().count() == 1, "{told}");
    assert!(output.stdout.is_empty() && !site.path("found.jsonl").exists());
    assert!(!site.path("found.jsonl.part").exists());
}

#[test]
fn a_hunt_ends_in_a_line_when_no_executor_is_left() {
    let site = Site::new("");
    records(&site);
    let Cluster { scheduler, executors } = Cluster::new(&site);
    let url = format!("df://{}", scheduler.address);
    let asked = ["hunt", "r.csv", "r.parquet", "odd.csv", "r.csv", "--out", "found.jsonl", "--on", &url];
    let output = std::thread::scope(|scope| {
        let hunt = scope.spawn(|| site.run(&asked));
        let has_worked = || fs::read_dir(site.path("one")).is_ok_and(|mut entries| entries.next().is_some());
        wait(has_worked, || "a task of an executor".to_owned());
        assert!(!hunt.is_finished());
        executors.into_iter().for_each(Node::kill);
        let killed = Instant::now();
        let output = hunt.join().unwrap();
        // They are missed after 15 s, and as long is waited for others.
        assert!(killed.elapsed() < Duration::from_secs(60), "{:?}", killed.elapsed());
        output
    });
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let is_said = told.contains("no executors remain") && told.lines().count() == 1;
    assert!(told.contains(&url) && is_said, "{told}");
    assert!(output.stdout.is_empty() && !site.path("found.jsonl").exists());
}

#[test]
fn with_little_memory_datafusion_goes_by_way_of_the_disk() {
    let site = Site::new("");
    let asked = ["simulate", "--seed", "5", "--subscribers", "20000", "--days", "12"];
    site.ok(&[&asked[..], &["--call-records", "r.csv"]].concat());
    let own = found(&site, &["r.csv"]);
    assert!(own[1].contains("alarms in 5 clusters"), "{}", own[1]);
    fs::remove_file(site.path("found.jsonl")).unwrap();
    fs::create_dir(site.path("spilled")).unwrap();
    let with = |temporary: &str| {
        let asked = ["hunt", "r.csv", "--out", "found.jsonl", "--on", "datafusion", "--memory", "32"];
        let mut command = qalqan(site.directory.path());
        command.args(asked).env("TMPDIR", site.path(temporary)).output().unwrap()
    };
    // Where there is no disk to go to, it cannot be done.
    let refused = with("nowhere");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && told.contains("nowhere/"), "{told}");
    assert!(!site.path("found.jsonl").exists());
    let spilled = with("spilled");
    let [out, told] = [spilled.stdout, spilled.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(spilled.status.success(), "{told}");
    assert_eq!([site.read("found.jsonl"), out, told], own);
    // And nothing is left there.
    assert_eq!(fs::read_dir(site.path("spilled")).unwrap().count(), 0);
}

#[test]
fn where_no_plan_can_run_is_said_in_a_line() {
    let site = Site::new("");
    site.write("r.csv", "calling,called,start\n+77010000001,+77020000000,1772420400\n");
    let nobody = format!("127.0.0.1:{}", free_port());
    let says = |asked: &[&str], line: &str| {
        let told = site.refused(&[&["hunt"], asked].concat());
        assert!(told.contains(line) && told.lines().count() == 1, "{line}: {told}");
    };
    let line = format!(
        "df://{nobody}: no scheduler answers: start one with qalqan hunt scheduler --listen {nobody}"
    );
    says(&["r.csv", "--on", &format!("df://{nobody}")], &line);
    fs::create_dir(site.path("journal")).unwrap();
    says(&["journal", "--on", "datafusion"], "is a directory: journals are hunted in without --on");
    says(&["gone.csv", "--on", "datafusion"], "gone.csv: no such file");
    site.write("short.csv", "calling,called,start\n+77010000001,+77020000000\n");
    says(&["short.csv", "--on", "datafusion"], "short.csv: ");
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let scheduler =
        Node::start(qalqan(site.directory.path()).args(["hunt", "scheduler", "--listen", &listen]), port);
    wait(|| std::net::TcpStream::connect(scheduler.address).is_ok(), || "the scheduler".to_owned());
    says(
        &["r.csv", "--on", &format!("df://{listen}")],
        &format!("df://{listen}: too few executors: start more with"),
    );
    let on = format!("df://{listen}");
    says(&["r.csv", "--on", &on, "--memory", "64"], "--memory: is for --on datafusion; an executor");
    says(&["scheduler", "--listen", &listen], &format!("--listen {listen}: Address already in use"));
    says(
        &["executor", "--listen", "0.0.0.0:1", "--work-dir", "w"],
        "--listen 0.0.0.0:1: write the address that hunts and other executors reach",
    );
}
