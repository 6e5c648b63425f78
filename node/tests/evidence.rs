//! Evidence packages: what was chosen and nothing else, checked on another machine, and every way to change one named.

use crate::rig;
use crate::sealed::{PYTHON, sealed, some_calls};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rig::postgres::on_each_store;
use rig::register::Register;
use rig::{Site, qalqan};
use serde_json::{Value, json};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/evidence.py");

/// Checks or signs by Python, with cryptography and pyarrow.
#[track_caller]
pub fn python(arguments: &[&str]) -> String {
    let output =
        Command::new(PYTHON).arg(SCRIPT).args(arguments).output().expect("target/tools: ./test makes it");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// Runs verify where there is nothing but packages and the first public key.
pub fn elsewhere(directory: &Path, more: &[&str]) -> Result<String, String> {
    let mut command = qalqan(directory);
    command.args(["evidence", "verify", "--public-key", "first.pub.pem"]).args(more);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, error) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(!error.contains("panicked"), "{error}");
    if status.success() { Ok(out) } else { Err(out + &error) }
}

fn copy(from: &Path, to: &Path) {
    let output = Command::new("cp").arg("-r").args([from, to]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Another machine: a directory with the package and the key.
pub fn moved(site: &Site, packages: &[&str]) -> tempfile::TempDir {
    let machine = tempfile::tempdir().unwrap();
    fs::copy(site.path("keys/first.pub.pem"), machine.path().join("first.pub.pem")).unwrap();
    packages.iter().for_each(|package| copy(&site.path(package), &machine.path().join(package)));
    machine
}

#[test]
fn holds_what_was_chosen_and_proves_it_with_one_public_key() {
    for numbers in ["encrypted", "hashed", "clear"] {
        let site = sealed(numbers, 2);
        let pack =
            ["evidence", "pack", "--out", "p1", "--why", "case 7", "--rule", "R08", "--with", "qalqan.toml"];
        let said = site.ok(&pack);
        let asked = json_lines(&site.ok(&["journal", "query", "--rule", "R08", "--format", "jsonl"]));
        let mut packed = json_lines(&site.read("p1/decisions.jsonl"));
        let key = |line: &Value| format!("{} {}", line["time"], line["call_id"]);
        for line in &mut packed {
            let line = line.as_object_mut().unwrap();
            assert!(line.remove("segment").is_some() && line.remove("record").is_some());
        }
        let sorted = |mut lines: Vec<Value>| {
            lines.sort_by_key(key);
            lines
        };
        assert!(asked.len() >= 10, "{numbers}: {}", asked.len());
        assert_eq!(sorted(packed), sorted(asked.clone()), "{numbers}");
        let machine = moved(&site, &["p1"]);
        let proved = elsewhere(machine.path(), &["p1"]).unwrap();
        assert_eq!(proved, said);
        assert!(
            proved.ends_with("OK\n") && proved.contains(&format!("decisions      {}", asked.len())),
            "{proved}"
        );
        let public = site.path("keys/first.pub.pem").display().to_string();
        let package = machine.path().join("p1").display().to_string();
        assert_eq!(python(&["check", &package, &public]), asked.len().to_string());
        // The look is written down; the digits are not.
        let look = json_lines(&site.read("journal/looks.jsonl")).pop().unwrap();
        assert_eq!(
            (&look["evidence"], &look["why"], &look["revealed"]),
            (&json!(1), &json!("case 7"), &json!(false))
        );
        assert!(!site.read("p1/decisions.jsonl").contains("77272501234"));

        // A number, in full: who has the key of numbers checks the digits too.
        site.ok(&["evidence", "pack", "--out", "p2", "--why", "x", "--number", "+77272501234", "--reveal"]);
        let machine = moved(&site, &["p2"]);
        elsewhere(machine.path(), &["p2"]).unwrap();
        let keys = site.path("keys").display().to_string();
        elsewhere(machine.path(), &["p2", "--keys", &keys]).unwrap();
        let looks = site.read("journal/looks.jsonl");
        let look: Value = serde_json::from_str(looks.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&look["question"]["decisions"]["number"], &look["revealed"]),
            (&json!("+77272****34"), &json!(true))
        );
        if numbers == "encrypted" {
            let file = machine.path().join("p2/decisions.jsonl");
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains("77272501234"));
            fs::write(&file, text.replacen("77272501234", "77272501235", 1)).unwrap();
            let package = machine.path().join("p2").display().to_string();
            let signing = site.path("keys/signing.pem").display().to_string();
            python(&["resign", &package, &signing]);
            let found = elsewhere(machine.path(), &["p2", "--keys", &keys]).unwrap_err();
            assert!(
                found.contains("decisions.jsonl: line 1: segment 1, record 1: changed: calling is"),
                "{found}"
            );
        }
    }
}

#[test]
fn names_whatever_was_done_to_a_package() {
    let site = sealed("encrypted", 3);
    site.ok(&["journal", "rotate-keys"]);
    some_calls(&site, 3);
    let pack =
        ["evidence", "pack", "--out", "p", "--why", "x", "--verdict", "block", "--with", "qalqan.toml"];
    site.ok(&pack);
    let machine = moved(&site, &["p"]);
    let whole = elsewhere(machine.path(), &["p"]).unwrap();
    assert!(whole.contains("in 4 segments"), "{whole}");
    let signing = site.path("keys/signing.pem").display().to_string();
    let flip = |path: PathBuf, from: &str| {
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let middle = |path: PathBuf| {
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let resign =
        |d: &Path, key: &str, why: &str| drop(python(&["resign", &d.display().to_string(), key, why]));
    let file = |d: &Path, starts: &str| {
        let (within, starts) = starts.rsplit_once('/').unwrap();
        let mut there = fs::read_dir(d.join(within)).unwrap().map(|entry| entry.unwrap().path());
        there.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(starts)).unwrap()
    };
    let lines = |d: &Path, change: &dyn Fn(&mut Vec<String>)| {
        let path = d.join("decisions.jsonl");
        let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(path, lines.join("\n") + "\n").unwrap();
    };
    let swap = |d: &Path, end: &str| {
        let path = |n: u32| d.join(format!("journal/segments/000000000{n}.{end}"));
        fs::rename(path(1), path(9)).unwrap();
        fs::rename(path(2), path(1)).unwrap();
        fs::rename(path(9), path(2)).unwrap();
    };
    type Damage<'d> = (&'d str, &'d dyn Fn(&Path), &'d [&'d str]);
    let cases: &[Damage] = &[
        // One byte in each kind of file.
        (
            "segment",
            &|d| middle(d.join("journal/segments/0000000002.parquet")),
            &["p: journal/segments/0000000002.parquet: changed", "p: journal/segments: segment 2: "],
        ),
        (
            "seal",
            &|d| middle(d.join("journal/segments/0000000002.seal")),
            &["p: journal/segments/0000000002.seal: changed", "p: journal/segments: segment 2: the seal is "],
        ),
        (
            "basis",
            &|d| flip(file(d, "journal/basis-"), "KZ"),
            &[
                "p: journal/basis-",
                ".json: changed: it is not the file",
                "changed: what is in it has the id ",
            ],
        ),
        ("key", &|d| middle(d.join("keys/first.pub.pem")), &["p: keys/first.pub.pem: changed"]),
        (
            "configuration",
            &|d| flip(file(d, "in-force/"), "workers"),
            &["-qalqan.toml: changed", "-qalqan.toml: no decision of the package stood on this version"],
        ),
        (
            "decision",
            &|d| lines(d, &|lines| lines[2] = lines[2].replace("R08", "R09")),
            &[
                "p: decisions.jsonl: changed",
                "p: decisions.jsonl: line 3: segment 1, record ",
                "changed: rule is \"R09\", \"R08\" was sealed",
            ],
        ),
        (
            "manifest",
            &|d| flip(d.join("manifest.json"), "\"x\""),
            &["p/manifest.json: no manifest", "it is not what key "],
        ),
        ("why", &|d| flip(d.join("manifest.json"), "x\","), &["p: manifest.json: it is not what key "]),
        (
            "signature",
            &|d| {
                let path = d.join("manifest.jws");
                let mut bytes = fs::read(&path).unwrap();
                let at = bytes.len() - 20;
                bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                fs::write(path, bytes).unwrap();
            },
            &["manifest.json: it is not what key "],
        ),
        // Records and files removed and added.
        (
            "record removed",
            &|d| lines(d, &|lines| drop(lines.remove(2))),
            &["p: decisions.jsonl: changed", "p: decisions.jsonl: segment 1, record ", ": missing"],
        ),
        (
            "record added",
            &|d| lines(d, &|lines| lines.push(lines[2].replace("\"segment\":1", "\"segment\":2"))),
            &["p: decisions.jsonl: changed", ": added"],
        ),
        (
            "record twice",
            &|d| lines(d, &|lines| lines.push(lines[0].clone())),
            &[": segment 1, record ", ": added"],
        ),
        (
            "file added",
            &|d| fs::write(d.join("register.json"), "{}").unwrap(),
            &["p: register.json: added: the manifest does not list it"],
        ),
        (
            "link added",
            &|d| std::os::unix::fs::symlink("/etc/passwd", d.join("keys/x")).unwrap(),
            &["p: keys/x: added: it is no plain file"],
        ),
        (
            "file removed",
            &|d| fs::remove_file(d.join("journal/segments/0000000001.parquet")).unwrap(),
            &["p: journal/segments/0000000001.parquet: missing", "segment 1: 0000000001.parquet is missing"],
        ),
        (
            "swapped segments",
            &|d| swap(d, "parquet"),
            &[
                "p: journal/segments/0000000001.parquet: changed",
                "p: journal/segments/0000000002.parquet: changed",
                "p: journal/segments: segment 1: ",
                "p: journal/segments: segment 2: ",
            ],
        ),
        (
            "swapped seals",
            &|d| swap(d, "seal"),
            &["segment 1: the seal is that of segment 2 under another name"],
        ),
        // By who can sign: with a key of his own, a retired one, the journal's.
        (
            "own key",
            &|d| resign(d, "", "y"),
            &["p: manifest.jws: signed by key ", "the journal's key at its head, is expected"],
        ),
        (
            "insider: record",
            &|d| {
                lines(d, &|lines| lines[2] = lines[2].replace("R08", "R09"));
                resign(d, &signing, "");
            },
            &[
                "p: decisions.jsonl: line 3: segment 1, record ",
                "changed: rule is \"R09\", \"R08\" was sealed",
            ],
        ),
        (
            "insider: record removed",
            &|d| {
                lines(d, &|lines| drop(lines.remove(2)));
                resign(d, &signing, "");
            },
            &["p: decisions.jsonl: segment 1, record ", ": missing"],
        ),
        (
            "insider: segment",
            &|d| {
                middle(d.join("journal/segments/0000000002.parquet"));
                resign(d, &signing, "");
            },
            &["p: journal/segments: segment 2: "],
        ),
        (
            "insider: basis",
            &|d| {
                flip(file(d, "journal/basis-"), "KZ");
                resign(d, &signing, "");
            },
            &["changed: what is in it has the id "],
        ),
        (
            "stale chain",
            &|d| {
                let last =
                    fs::read_dir(d.join("journal/segments")).unwrap().map(|entry| entry.unwrap().path());
                let last = last.filter(|path| path.extension().unwrap() == "seal").max().unwrap();
                fs::remove_file(last).unwrap();
                resign(d, &signing, "");
            },
            &["is not in the chain: its end was cut off"],
        ),
    ];
    for (what, damage, named) in cases {
        let machine = moved(&site, &["p"]);
        damage(&machine.path().join("p"));
        let found = elsewhere(machine.path(), &["p"]).expect_err(what);
        for name in *named {
            assert!(found.contains(name), "{what}: {name} is not in:\n{found}");
        }
        if !what.starts_with("insider") && !["own key", "stale chain"].contains(what) {
            continue;
        }
        assert!(!found.contains("it is not the file that was packed"), "{what}: {found}");
    }
    // A key that is not the journal's proves nothing.
    fs::copy(site.path("keys/signing.pub.pem"), machine.path().join("first.pub.pem")).unwrap();
    assert!(
        elsewhere(machine.path(), &["p"]).unwrap_err().contains("first.pub.pem: it is not the public key")
    );
}

#[test]
fn a_package_that_is_left_out_shows() {
    let site = sealed("encrypted", 1);
    let pack = |name: &str, rule: &str| {
        site.ok(&["evidence", "pack", "--out", name, "--why", name, "--rule", rule]);
    };
    pack("p1", "R08");
    pack("p2", "R08");
    pack("p3", "R08");
    let machine = moved(&site, &["p1", "p2", "p3"]);
    assert_eq!(elsewhere(machine.path(), &["p3", "p1", "p2"]).unwrap().matches("OK\n").count(), 3);
    let found = elsewhere(machine.path(), &["p1", "p3"]).unwrap_err();
    assert!(found.starts_with("packages 2 to 2 are left out\n"), "{found}");
    let package = machine.path().join("p2").display().to_string();
    python(&["resign", &package, &site.path("keys/signing.pem").display().to_string(), "another"]);
    elsewhere(machine.path(), &["p2"]).unwrap();
    let found = elsewhere(machine.path(), &["p1", "p2", "p3"]).unwrap_err();
    assert!(found.starts_with("package 3 does not follow package 2: one of them was replaced\n"), "{found}");
    // The log of packages is no place to take a line out of, either.
    let log = site.read("journal/evidence.jsonl");
    let without: Vec<&str> = log.lines().enumerate().filter(|(n, _)| *n != 1).map(|(_, line)| line).collect();
    site.write("journal/evidence.jsonl", without.join("\n") + "\n");
    let refused = site.refused(&["evidence", "pack", "--out", "p4", "--why", "x", "--rule", "R08"]);
    assert!(refused.contains("evidence.jsonl: line 2: it does not follow the line before"), "{refused}");
    site.write("journal/evidence.jsonl", log);

    let bad = [
        (&["--rule", "R08", "--out", "p1"][..], "p1: it is there already"),
        (&["--out", "p4"], "say which decisions"),
        (&["--rule", "R20", "--trunk", "nowhere", "--out", "p4"], "no decision matches"),
        (&["--rule", "R08", "--with", "journal/evidence.jsonl", "--out", "p4"], "stood on this version"),
        (&["--fact", "1", "--out", "p4"], "--as: name the client"),
    ];
    for (arguments, named) in bad {
        let refused = site.refused(&[&["evidence", "pack", "--why", "x"], arguments].concat());
        assert!(refused.contains(named), "{arguments:?}: {refused}");
        assert!(!site.path("p4").exists() && !site.path(".p4.draft").exists());
    }
    // Damage that is there already is not passed on under a signature.
    let segment = site.path("journal/segments/0000000001.parquet");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() - 9;
    bytes[at] ^= 1;
    fs::write(segment, bytes).unwrap();
    let _ = site.refused(&["evidence", "pack", "--out", "p4", "--why", "x", "--rule", "R08"]);
    assert!(!site.path("p4").exists());
}

#[test]
fn cases_go_with_the_rights_of_a_client_and_without_names_unless_asked() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        let facts = "number,type,when,unit,method,victim_phone,phone\n\
                     f1,bank-call,2023-11-15,almaty,posed as the bank,+77015550001,+77011234567\n\
                     f2,bank-call,2023-11-16,almaty,posed as the bank,+77015550002,+77011234567\n";
        assert_eq!(register.import("aigul", "", facts).status, 201);
        let id = register.found("aigul", json!({"number": "f1"}))[0]["id"].clone();
        let other = register.found("aigul", json!({"number": "f2"}))[0]["id"].clone();
        let person = json!({"kind": "drop", "name": "Сергей Дроп", "note": "lends cards"});
        let person = register.post("aigul", "persons", person).json()["id"].clone();
        let group = json!({"name": "Дроперы", "facts": [id, other], "persons": [person], "why": "one phone"});
        let group = register.post("aigul", "groups/confirm", group).json()["id"].to_string();
        let bystander = register.import("aigul", "", &facts.replace("f1", "f8").replace("f2", "f9"));
        assert_eq!(bystander.status, 201);
        let beside: Vec<Value> = ["f8", "f9"]
            .iter()
            .map(|number| register.found("aigul", json!({"number": number}))[0]["id"].clone())
            .collect();
        let beside = json!({"name": "beside", "facts": beside, "why": "x"});
        let beside = register.post("aigul", "groups/confirm", beside).json()["id"].to_string();
        let seizure = json!({"item": "gsm-gateway", "serials": ["SER-1"], "place": "Astana", "by": "Lt Ospan",
                             "time": "2023-11-17T09:00:00Z"});
        let seizure = register.post("aigul", "seizures", seizure).json()["id"].to_string();
        let looks = register.looks().len();
        let pack = |site: &Site, out: &str, who: &str, more: &[&str]| {
            let all = [
                "evidence",
                "pack",
                "--out",
                out,
                "--why",
                "court",
                "--as",
                who,
                "--group",
                &group,
                "--seizure",
                &seizure,
            ];
            site.run(&[&all[..], more].concat())
        };
        // Nothing is sealed while the node runs: there is a chain, for it begins with its key.
        let refused = pack(&register.site, "no", "ivan", &[]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && said.contains("you may not see-groups here"), "{said}");
        let fact =
            ["evidence", "pack", "--out", "no", "--why", "x", "--as", "ivan", "--fact", &id.to_string()];
        assert!(register.site.refused(&fact).contains("you may not see-fact here"));
        assert!(!register.site.path("no").exists());
        assert!(register.looks().contains(&("ivan".into(), "see-fact".into(), format!("fact {id}"), true)));

        let masked = pack(&register.site, "masked", "aigul", &[]);
        assert!(masked.status.success(), "{}", String::from_utf8_lossy(&masked.stderr));
        let open = pack(&register.site, "open", "aigul", &["--reveal"]);
        assert!(open.status.success(), "{}", String::from_utf8_lossy(&open.stderr));
        let personal = [
            "Сергей",
            "lends cards",
            "Дроперы",
            "one phone",
            "posed as",
            "7015550001",
            "7011234567",
            "SER-1",
            "Lt Ospan",
        ];
        let text = |package: &str| {
            let output = Command::new("cat")
                .arg(register.site.path(package).join("manifest.json"))
                .args(
                    fs::read_dir(register.site.path(package).join("register"))
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                )
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for name in personal {
            assert!(!text("masked").contains(name), "{name}: {}", text("masked"));
            // Why somebody joined a group is the group's own event.
            assert!(name == "one phone" || text("open").contains(name), "{name}: {}", text("open"));
        }
        let told: Value =
            serde_json::from_str(&register.site.read(&format!("masked/register/fact-{id}.json"))).unwrap();
        assert_eq!((&told["number"], &told["identifiers"][0]["kind"]), (&json!("f1"), &json!("phone")));
        let kept = register.looks();
        let packed: Vec<_> = kept[looks..].iter().filter(|look| look.1 == "pack-evidence").collect();
        assert!(
            packed.len() == 2
                && packed[0].2.contains("masked: court")
                && packed[1].2.contains("revealed: court")
        );
        let of = |what: &str, subject: String| {
            kept[looks..].iter().any(|look| look.1 == what && look.2 == subject)
        };
        // Another group was not looked at.
        assert!(of("see-groups", format!("group {group}")));
        assert!(!kept[looks..].iter().any(|look| look.2 == format!("group {beside}") || look.2 == "groups"));
        assert!(of("see-person", format!("person {person}")) && of("see-fact", format!("fact {other}")));

        let machine = moved(&register.site, &["masked", "open"]);
        let proved = elsewhere(machine.path(), &["masked", "open"]).unwrap();
        assert!(proved.contains("cases          5\n"), "{proved}");
        let path = machine.path().join(format!("open/register/person-{person}.json"));
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("Сергей", "Андрей")).unwrap();
        let found = elsewhere(machine.path(), &["open"]).unwrap_err();
        assert!(found.starts_with(&format!("open: register/person-{person}.json: changed")), "{found}");
        register.node.take();
    });
}
