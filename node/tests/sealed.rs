//! Sealed segments: read by programs that know nothing of us, and checked with the public key alone.

use crate::rig;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rig::{INTERNATIONAL, Invite, NATIONAL, Site, Switch, wait};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/segments.py");
pub const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin/python");

/// Runs a part of the script with DuckDB, pandas, pyarrow and PyJWT; `./test` installs them.
#[track_caller]
pub fn python(arguments: &[&str]) -> String {
    let output =
        Command::new(PYTHON).arg(SCRIPT).args(arguments).output().expect("target/tools: ./test makes it");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a node for some calls of several rules and stops it, which seals them into one segment.
pub fn some_calls(site: &Site, round: usize) {
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    let home = Switch::on(NATIONAL, &node);
    for n in 0..40 {
        let call_id = format!("r{round}-{n:02}");
        let from = format!("sip:+1415555{:04}@x", 100 * round + n);
        let asserted = "P-Asserted-Identity: <sip:+77272501234@x>\r\n";
        let invite = Invite { call_id: &call_id, ..Invite::default() };
        match n % 8 {
            0 => abroad.invite(&Invite { from: "sip:+77272501234@x", ..invite }),
            1 => abroad.invite(&Invite { from: "sip:anonymous@anonymous.invalid", ..invite }),
            2 => abroad.invite(&Invite { from: &from, more: asserted, ..invite }),
            4 => abroad.invite(&Invite { from: "sip:alice@x", ..invite }),
            5 => home.invite(&Invite { to: "112", ..invite }),
            6 => home.invite(&Invite { from: "sip:+77272501234@x", ..invite }),
            _ => abroad.invite(&Invite { from: &from, ..invite }),
        };
    }
    stop(node);
}

fn stop(mut node: rig::Node) {
    node.signal("-TERM");
    wait(|| !node.is_running(), || "the node stops".to_owned());
}

pub fn sealed(numbers: &str, rounds: usize) -> Site {
    let site = Site::new(&format!("[journal]\nsegment-mb = 1\nnumbers = \"{numbers}\""));
    (0..rounds).for_each(|round| some_calls(&site, round));
    site
}

fn verify(site: &Site) -> Result<String, String> {
    let output = site.run(&["journal", "verify", "--public-key", "keys/first.pub.pem"]);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!error.contains("panicked"), "{error}");
    if output.status.success() { Ok(out) } else { Err(out + &error) }
}

#[test]
fn duckdb_pandas_and_query_count_the_same() {
    for numbers in ["encrypted", "hashed", "clear"] {
        let site = sealed(numbers, 2);
        let files = site.path("journal/segments/*.parquet").display().to_string();
        let duckdb: BTreeMap<String, u64> = serde_json::from_str(&python(&["counts", &files])).unwrap();
        let pandas: BTreeMap<String, u64> =
            serde_json::from_str(&python(&["pandas_counts", &files])).unwrap();
        let mut ours: BTreeMap<String, u64> = BTreeMap::new();
        for line in site.journal() {
            *ours.entry(line["rule"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(duckdb, ours, "{numbers}");
        assert_eq!(pandas, ours, "{numbers}");
        assert!(ours.len() >= 4 && ours.values().sum::<u64>() == 80, "{ours:?}");

        // What each setting shows to who has no key.
        let rows: Vec<[Option<String>; 5]> =
            python(&["rows", &files]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let column = |n: usize, column: usize| rows[n][column].as_deref();
        assert_eq!(column(5, 3), Some("112"), "short codes are nobody's numbers");
        assert_eq!((column(1, 1), column(0, 2), column(2, 2).is_some()), (None, None, true));
        let (first, again) = (column(0, 1).unwrap(), column(8, 1).unwrap());
        let digits = rows.iter().flatten().flatten().any(|text| text.contains("2501234"));
        match numbers {
            "clear" => assert_eq!((first, column(2, 1)), ("+77272501234", Some("+77272501234"))),
            "hashed" => assert!(first == again && Some(first) == column(2, 1) && !digits, "{first} {again}"),
            _ => assert!(first != again && !digits, "{first} {again}"),
        }
        // Our own reader has the keys.
        let found = site.ok(&["journal", "query", "--format", "jsonl", "--number", "+77272501234"]);
        assert_eq!(found.lines().count(), 30, "{numbers}");
        let masked = site.ok(&["journal", "query", "--format", "csv"]);
        assert_eq!(masked.contains("+77272****34"), numbers != "hashed", "{masked}");
        let bare = site.ok(&["journal", "query", "--format", "csv", "--directory", "journal"]);
        assert_eq!(bare.contains("+77272****34"), numbers == "clear", "{bare}");
        if numbers != "clear" {
            let blind =
                site.refused(&["journal", "query", "--directory", "journal", "--number", "+77272501234"]);
            assert!(blind.contains("--keys DIR"), "{blind}");
            let keyed =
                ["journal", "query", "--directory", "journal", "--keys", "keys", "--number", "+77272501234"];
            assert_eq!(site.ok(&keyed).lines().count(), 31, "a heading and 30 calls");
        }
    }
}

#[test]
fn a_seal_is_a_jws_that_others_check() {
    let site = sealed("encrypted", 1);
    let key = site.path("keys/first.pub.pem").display().to_string();
    let seal = site.path("journal/segments/0000000001.seal").display().to_string();
    let payload: serde_json::Value = serde_json::from_str(&python(&["seal", &seal, &key])).unwrap();
    let hash = |file: &str| {
        let output =
            Command::new("sha256sum").arg(site.path("journal/segments").join(file)).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    assert_eq!(payload["kind"], "segment");
    assert_eq!(payload["sha256"], hash("0000000001.parquet"));
    assert_eq!(payload["previous"], hash("0000000000.seal"));
    assert_eq!((&payload["records"], &payload["n"]), (&40.into(), &1.into()));
    let summary = verify(&site).unwrap();
    assert!(summary.contains(&hash("0000000001.seal")) && summary.contains("records        40"), "{summary}");
}

/// Copies of one journal, each damaged in its way; verify names the damage.
#[test]
fn verify_names_whatever_was_done_to_a_segment() {
    let site = sealed("encrypted", 3);
    let whole = verify(&site).unwrap();
    assert!(whole.contains("segments       3") && whole.contains("records        120"), "{whole}");
    let segments = site.path("journal/segments");
    let file = |directory: &Path, name: &str| directory.join(name);
    let flip = |path: PathBuf, at: usize| {
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0x40;
        fs::write(path, bytes).unwrap();
    };
    let rewrite = |directory: &Path, what: &str| {
        python(&["rewrite", &file(directory, "0000000002.parquet").display().to_string(), what]);
    };
    let swap = |directory: &Path, a: &str, b: &str| {
        let path = |name: &str| directory.join(name);
        fs::rename(path(a), path("swap")).unwrap();
        fs::rename(path(b), path(a)).unwrap();
        fs::rename(path("swap"), path(b)).unwrap();
    };
    type Damage<'d> = (&'d str, &'d dyn Fn(&Path), &'d [&'d str]);
    let cases: &[Damage] = &[
        ("changed", &|d| rewrite(d, "change"), &["segment 2: record 21 (time 20", "): changed: calling\n"]),
        (
            "two changed",
            &|d| rewrite(d, "change-two"),
            &["record 4 (", "record 10 (", "changed: rule, took_ns\n"],
        ),
        ("dropped", &|d| rewrite(d, "drop"), &["segment 2: record 8: dropped\n"]),
        ("added", &|d| rewrite(d, "add"), &["segment 2: record 6 (time ", "added, it was never sealed"]),
        ("copied", &|d| rewrite(d, "copy"), &["segment 2: record 6 (time ", "added, a copy of record 31"]),
        ("reordered", &|d| rewrite(d, "reorder"), &["record 3 (", "reordered, it now stands as record 13"]),
        ("its check", &|d| rewrite(d, "check"), &["segment 2: record 5 (", "changed: check\n"]),
        (
            "rewritten",
            &|d| rewrite(d, "same"),
            &["segment 2: the file is not the one that was sealed, though every"],
        ),
        (
            "missing",
            &|d| fs::remove_file(file(d, "0000000002.parquet")).unwrap(),
            &["segment 2: 0000000002.parquet is missing: 40"],
        ),
        (
            "no seal",
            &|d| fs::remove_file(file(d, "0000000002.seal")).unwrap(),
            &["segment 2: the seal is missing", "segment 2: 0000000002.parquet has no seal"],
        ),
        (
            "swapped seals",
            &|d| swap(d, "0000000001.seal", "0000000002.seal"),
            &[
                "segment 1: the seal is that of segment 2 under",
                "segment 2: the seal is that of segment 1 under",
            ],
        ),
        (
            "replayed",
            &|d| {
                for end in ["seal", "parquet"] {
                    fs::copy(d.join(format!("0000000001.{end}")), d.join(format!("0000000002.{end}")))
                        .unwrap();
                }
            },
            &["segment 2: the seal is that of segment 1 under another name"],
        ),
        (
            "swapped files",
            &|d| swap(d, "0000000001.parquet", "0000000002.parquet"),
            &["segment 1: record", "segment 2: record"],
        ),
        (
            "forged",
            &|d| {
                let path = file(d, "0000000003.seal");
                let seal = fs::read_to_string(&path).unwrap();
                let parts: Vec<&str> = seal.trim().split('.').collect();
                let other = fs::read_to_string(file(d, "0000000002.seal")).unwrap();
                let signature = other.trim().split('.').nth(2).unwrap();
                fs::write(path, format!("{}.{}.{signature}", parts[0], parts[1])).unwrap();
            },
            &["segment 3: the seal is forged: key "],
        ),
        (
            "added file",
            &|d| {
                fs::copy(file(d, "0000000002.parquet"), file(d, "0000000004.parquet")).unwrap();
            },
            &["segment 4: 0000000004.parquet has no seal"],
        ),
        (
            "cut short",
            &|d| {
                let path = file(d, "0000000002.parquet");
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            },
            &["segment 2: not a whole Parquet file", "it held 40 records"],
        ),
    ];
    let check = |name: &str, damage: &dyn Fn(&Path), expected: &[&str]| {
        let copy = site.path(&format!("copy-{}", name.replace(' ', "-")));
        assert!(Command::new("cp").arg("-r").args([&segments, &copy]).status().unwrap().success());
        damage(&copy);
        let place = copy.display().to_string();
        let output = site.run(&["journal", "verify", &place, "--public-key", "keys/first.pub.pem"]);
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {found}");
        assert!(expected.iter().all(|expected| found.contains(expected)), "{name}: {found}");
        found
    };
    for (name, damage, expected) in cases {
        check(name, damage, expected);
    }
    // A flipped byte, wherever it is: always found, and named by record or by column and range.
    let length = fs::metadata(file(&segments, "0000000002.parquet")).unwrap().len() as usize;
    let mut decoded = 0;
    for at in (4..length - 8).step_by(length / 40) {
        let found =
            check(&format!("flip {at}"), &|d| flip(file(d, "0000000002.parquet"), at), &["segment 2: "]);
        decoded += usize::from(found.contains("cannot be decoded"));
    }
    assert!(decoded > 0, "no flip hit a page that cannot be decoded");
    // The public key of somebody else, the end cut off, no journal at all.
    let other = sealed("clear", 1);
    fs::copy(other.path("keys/first.pub.pem"), site.path("other.pem")).unwrap();
    let stranger = site.run(&["journal", "verify", "--public-key", "other.pem"]);
    assert!(String::from_utf8_lossy(&stranger.stdout).contains("signed by an unknown key"));
    let head = whole.lines().find_map(|line| line.strip_prefix("head           ")).unwrap();
    fs::remove_file(file(&segments, "0000000003.seal")).unwrap();
    fs::remove_file(file(&segments, "0000000003.parquet")).unwrap();
    verify(&site).expect("a chain that was cut at its end looks whole");
    let cut = site.run(&["journal", "verify", "--public-key", "keys/first.pub.pem", "--head", head]);
    assert!(String::from_utf8_lossy(&cut.stdout).contains("its end was cut off"));
    assert!(
        site.refused(&["journal", "verify", "keys", "--public-key", "keys/first.pub.pem"])
            .contains("no seal")
    );
    assert!(
        site.refused(&["journal", "verify", "--public-key", "qalqan.toml"]).contains("no Ed25519 public key")
    );
}

#[test]
fn keys_that_others_can_read_or_that_do_not_fit_are_refused() {
    let wrong = Site::new("[journal]\nseal-minutes = 0\nsegments = \"s3:calls\"");
    let faults = wrong.refused(&["config", "check"]);
    assert!(faults.contains("seal-minutes is not between 1 and 1440"), "{faults}");
    assert!(
        faults.contains("segments \"s3:calls\" is not an address such as s3://bucket/prefix"),
        "{faults}"
    );
    wrong.configure("[journal]\nnumbers = \"plain\"");
    assert!(wrong.refused(&["serve"]).contains("unknown variant `plain`, expected one of `encrypted`"));

    let site = sealed("encrypted", 1);
    let mode = |path: &str| fs::metadata(site.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys"), mode("keys/signing.pem"), mode("keys/numbers.key")), (0o700, 0o600, 0o600));
    for file in ["keys/signing.pem", "keys/numbers.key"] {
        fs::set_permissions(site.path(file), fs::Permissions::from_mode(0o644)).unwrap();
        let refused = site.refused(&["serve"]);
        assert!(
            refused.lines().count() == 1 && refused.contains("others may read it (mode 0644): chmod 600"),
            "{refused}"
        );
        fs::set_permissions(site.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::rename(site.path("keys"), site.path("lost")).unwrap();
    let refused = site.refused(&["serve"]);
    assert!(refused.contains("put its keys back"), "{refused}");
    fs::write(site.path("lost/signing.pem"), "no key").unwrap();
    fs::remove_dir_all(site.path("keys")).unwrap();
    fs::rename(site.path("lost"), site.path("keys")).unwrap();
    let refused = site.refused(&["serve"]);
    assert!(refused.contains("signing.pem: no Ed25519 private key in PEM form"), "{refused}");
}

#[test]
fn after_keys_rotate_the_first_public_key_still_verifies() {
    let site = sealed("encrypted", 1);
    let said = site.ok(&["journal", "rotate-keys"]);
    assert!(said.contains("seals are signed by key") && said.contains("numbers are hidden by key"), "{said}");
    some_calls(&site, 1);
    // And while a node runs: it takes the keys up itself.
    let node = site.serve();
    assert!(site.ok(&["journal", "rotate-keys"]).contains("the running node takes them up"));
    node.wait_for("seals are signed by key");
    stop(node);
    some_calls(&site, 2);
    let summary = verify(&site).unwrap();
    assert!(summary.contains("records        120") && summary.contains("entries        6"), "{summary}");
    assert_ne!(site.read("keys/first.pub.pem"), site.read("keys/signing.pub.pem"));
    let found = site.ok(&["journal", "query", "--format", "jsonl", "--number", "+77272501234"]);
    assert_eq!(found.lines().count(), 45, "under three numbers keys");
    let second = site.run(&["journal", "verify", "--public-key", "keys/signing.pub.pem"]);
    assert!(String::from_utf8_lossy(&second.stdout).contains("signed by an unknown key"));
}
