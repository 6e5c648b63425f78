//! The call stories of `scenarios/`, told to the real binary. How a story is written: `scenarios/README.md`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

#[test]
fn every_call_of_every_story_gets_the_verdict_it_expects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no stories in {}", folder.display());
    let network = fs::read_to_string(folder.join("network/qalqan.toml")).unwrap();

    let mut calls = 0;
    let mut mismatches = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let story = toml::from_str::<Story>(&fs::read_to_string(file).unwrap());
        calls +=
            check(&network, name, &story.unwrap_or_else(|error| panic!("{name}: {error}")), &mut mismatches);
    }
    assert!(
        mismatches.is_empty(),
        "{} of {calls} calls in {} stories went otherwise:\n{}",
        mismatches.len(),
        files.len(),
        mismatches.join("\n")
    );
    println!("{calls} calls in {} stories", files.len());
}

/// The check itself is checked: each of these calls goes otherwise in one way.
#[test]
fn a_call_that_goes_otherwise_is_reported() {
    let network = "[trunk.international]\nclass = \"international\"\n\
        [trunk.trial]\nclass = \"international\"\nrules.R08 = \"monitor\"\n";
    let landline = "calling = \"+77272501234\"\ncalled = \"+77011234567\"";
    let foreigner = "calling = \"+442079460018\"\ncalled = \"+77011234567\"";
    let mismatches = |trunk: &str, numbers: &str, expected: &str| {
        let scene = format!("[[call]]\nsays = \"it\"\ntrunk = \"{trunk}\"\n{numbers}\n{expected}\n");
        let story = toml::from_str(&format!("story = \"told\"\n{scene}")).unwrap();
        let mut mismatches = Vec::new();
        assert_eq!(check(network, "told.toml", &story, &mut mismatches), 1);
        mismatches.join("")
    };
    let right = [
        ("international", landline, "expect = \"block R08 fixed-from-abroad\"\nnational-form = false"),
        ("international", landline, "expect = \"block\""),
        ("international", foreigner, "expect = \"mark:international R19 international\""),
        ("international", foreigner, "expect = \"mark R19\""),
        ("trial", landline, "expect = \"mark R19\"\nwould = \"block R08\""),
    ];
    for (trunk, numbers, expected) in right {
        assert_eq!(mismatches(trunk, numbers, expected), "", "{expected}");
    }
    let wrong = [
        ("international", landline, "expect = \"\""),
        ("international", landline, "expect = \"withhold R08\""),
        ("international", landline, "expect = \"block R0\""),
        ("international", landline, "expect = \"block R07 fixed-from-abroad\""),
        ("international", landline, "expect = \"block R08 fixed\""),
        ("international", landline, "expect = \"block R08 fixed-from-abroad too\""),
        ("international", landline, "expect = \"block R08\"\nnational-form = true"),
        ("international", landline, "expect = \"block R08\"\nwould = \"block R08\""),
        ("international", foreigner, "expect = \"mark:suspected R19\""),
        ("trial", landline, "expect = \"mark R19\""),
        ("trial", landline, "expect = \"mark R19\"\nwould = \"block R07\""),
    ];
    for (trunk, numbers, expected) in wrong {
        let told = mismatches(trunk, numbers, expected);
        assert!(told.starts_with("told.toml: told: it: \"+"), "{expected}: {told}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    story: String,
    #[serde(default = "kz")]
    plan: String,
    #[serde(default)]
    config: String,
    #[serde(default)]
    lists: BTreeMap<String, String>,
    call: Vec<Scene>,
}

/// A call, or several that differ in one field and end the same way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Scene {
    says: String,
    #[serde(default = "summer")]
    time: String,
    trunk: OneOrMany,
    calling: OneOrMany,
    called: OneOrMany,
    #[serde(default)]
    presentation: OneOrMany,
    #[serde(default)]
    redirecting: OneOrMany,
    expect: String,
    would: Option<String>,
    national_form: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

struct Call<'a> {
    time: &'a str,
    trunk: &'a str,
    calling: &'a str,
    presentation: &'a str,
    called: &'a str,
    redirecting: &'a str,
}

/// Plays one story: all its calls through `qalqan replay`, and some of them through `qalqan check` too.
/// Returns how many calls it has; adds a line for each that went otherwise.
fn check(network: &str, name: &str, story: &Story, mismatches: &mut Vec<String>) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("qalqan.toml");
    set_the_stage(network, story, folder.path(), &config);

    let calls: Vec<(&Scene, Call)> = story
        .call
        .iter()
        .flat_map(|scene| scene.calls().into_iter().map(move |call| (scene, call)))
        .collect();
    let verdicts = replay(name, &config, folder.path(), &calls);
    assert_eq!(verdicts.len(), calls.len(), "{name}: one verdict per call");

    for (index, ((scene, call), verdict)) in calls.iter().zip(&verdicts).enumerate() {
        let mut differences = scene.differences(verdict);
        if verdict["n"] != index + 1 {
            differences.push(format!("expected line {}, got {}", index + 1, verdict["n"]));
        }
        // A call without a time is judged the same now, and before the first nothing has been counted.
        if scene.time == summer() && (index == 0 || scene.national_form.is_some()) {
            let verdict = ask(name, &config, call);
            differences.extend(scene.differences(&verdict).into_iter().map(|it| format!("check: {it}")));
            let form = &verdict["national_form"];
            if scene.national_form.is_some_and(|expected| form != expected) {
                differences.push(format!("check: national-form is {form}"));
            }
        }
        if !differences.is_empty() {
            let (story, says, differences) = (&story.story, &scene.says, differences.join("; "));
            mismatches.push(format!("{name}: {story}: {says}: {call}: {differences}"));
        }
    }
    calls.len()
}

/// Writes the configuration and the lists of a story.
fn set_the_stage(network: &str, story: &Story, folder: &Path, config: &Path) {
    // Not lists of the configuration: sets that trunks name.
    let set_of_a_trunk = |list: &str| {
        network.contains(&format!("{list}.csv")) || story.config.contains(&format!("{list}.csv"))
    };
    let mut text = format!("plan = \"{}\"\n\n[lists]\n", story.plan);
    fs::write(folder.join("dedicated.csv"), "number,owner,expires,note\n").unwrap();
    for (list, lines) in &story.lists {
        fs::write(folder.join(format!("{list}.csv")), lines).unwrap();
        if !set_of_a_trunk(list) {
            text += &format!("{list} = \"{list}.csv\"\n");
        }
    }
    fs::write(config, format!("{text}\n{network}\n{}", story.config)).unwrap();
}

fn replay(name: &str, config: &Path, folder: &Path, calls: &[(&Scene, Call)]) -> Vec<Value> {
    let (records, verdicts) = (folder.join("calls.csv"), folder.join("verdicts.jsonl"));
    let mut csv = csv::Writer::from_path(&records).unwrap();
    csv.write_record(["time", "trunk", "calling", "presentation", "called", "redirecting"]).unwrap();
    for (_, it) in calls {
        csv.write_record([it.time, it.trunk, it.calling, it.presentation, it.called, it.redirecting])
            .unwrap();
    }
    csv.flush().unwrap();
    let mut replay = qalqan(config);
    run(name, replay.arg("replay").arg(&records).arg("--out").arg(&verdicts));
    fs::read_to_string(verdicts).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(name: &str, config: &Path, call: &Call) -> Value {
    let mut check = qalqan(config);
    check.args(["check", "--json", "--trunk", call.trunk]);
    for (option, number) in [("--presentation", call.presentation), ("--redirecting", call.redirecting)] {
        if !number.is_empty() {
            check.args([option, number]);
        }
    }
    serde_json::from_slice(&run(name, check.args(["--", call.calling, call.called]))).unwrap()
}

fn qalqan(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qalqan"));
    command.arg("--config").arg(config).current_dir(config.parent().unwrap());
    command
}

fn run(name: &str, command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {command:?}: {}\n{said}", output.status);
    output.stdout
}

impl Scene {
    fn calls(&self) -> Vec<Call<'_>> {
        let mut calls = Vec::new();
        for trunk in self.trunk.each() {
            for calling in self.calling.each() {
                for presentation in self.presentation.each() {
                    for called in self.called.each() {
                        for redirecting in self.redirecting.each() {
                            let time = &self.time;
                            calls.push(Call { time, trunk, calling, presentation, called, redirecting });
                        }
                    }
                }
            }
        }
        calls
    }

    fn differences(&self, verdict: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        let got = words(verdict);
        if !fits(&self.expect, &got) {
            differences.push(format!("expected {}, got {got}", self.expect));
        }
        match (&self.would, &verdict["would"]) {
            (None, Value::Null) => {}
            (None, would) => differences.push(format!("expected no record, got one of {}", words(would))),
            (Some(expected), would) if !fits(expected, &words(would)) => {
                differences.push(format!("expected a record of {expected}, got {}", words(would)));
            }
            (Some(_), _) => {}
        }
        if verdict["reason"].as_str().is_none_or(str::is_empty) {
            differences.push("expected a reason that can be read, got none".to_owned());
        }
        differences
    }
}

/// A verdict as stories write it: `mark:international R19 international`.
fn words(verdict: &Value) -> String {
    let text = |key: &str| verdict[key].as_str().unwrap_or("nothing");
    let label = verdict["label"].as_str().map_or(String::new(), |label| format!(":{label}"));
    format!("{}{label} {} {}", text("verdict"), text("rule"), text("name"))
}

/// Words at the end may be missing from what a story expects, and so may a mark's label.
fn fits(expected: &str, got: &str) -> bool {
    let mut got = got.split(' ');
    expected.split_whitespace().enumerate().all(|(place, word)| {
        let Some(got) = got.next() else { return false };
        word == got || (place == 0 && word == "mark" && got.starts_with("mark:"))
    }) && !expected.is_empty()
}

impl Display for Call<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{:?} calls {:?} on {}", self.calling, self.called, self.trunk)?;
        for (word, number) in [("showing", self.presentation), ("diverted by", self.redirecting)] {
            if !number.is_empty() {
                write!(f, ", {word} {number:?}")?;
            }
        }
        if self.time != summer() {
            write!(f, ", at {}", self.time)?;
        }
        Ok(())
    }
}

impl OneOrMany {
    fn each(&self) -> &[String] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

impl Default for OneOrMany {
    fn default() -> OneOrMany {
        OneOrMany::One(String::new())
    }
}

fn kz() -> String {
    "kz".to_owned()
}

fn summer() -> String {
    "2026-06-01T12:00:00Z".to_owned()
}
