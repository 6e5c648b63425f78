//! Call records in a package: of files as hunting reads them, the calls of certain numbers, a line each.
//!
//! The manifest names each file they were taken of by SHA-256, and each line by its own, under its place in that file: so the very
//! call that was changed, taken away or added can be named.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;

use ::casework::{Identifier, IdentifierKind};
use ::hunting::CallRecord;
use jiff::Timestamp;
use journal::file_hash;
use numbering::{Number, Plan};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::at;
use crate::hunt::calls::{COLUMNS, Cell, Cells, Look, Source, mapping};
use crate::progress::Bar;
use crate::records::fingerprint;
use crate::store::now_ms;

pub(super) const DIRECTORY: &str = "records";

/// Whose calls are packed, and of what time.
pub struct Sought {
    /// Of this call centre of the register.
    pub centre: Option<i64>,
    pub numbers: Vec<Number>,
    /// From this moment, and before that one; ms since 1970.
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// SHA-256 of the files it was found in; none: nobody said.
    pub files: BTreeSet<String>,
}

impl Sought {
    /// Calls of a number, of whatever file.
    pub fn of_number(number: Number, from_ms: Option<i64>, until_ms: Option<i64>) -> Sought {
        Sought { centre: None, numbers: vec![number], from_ms, until_ms, files: BTreeSet::new() }
    }
}

/// Files of records, and which of their calls are packed.
pub struct Records<'r> {
    pub files: &'r [PathBuf],
    /// Columns with other names, as `THEIRS=OURS`.
    pub map: &'r [String],
    pub plan: &'r Plan,
    pub sought: Vec<Sought>,
}

/// A file that calls were taken of, in the manifest.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The package's file that has them.
    pub file: String,
    /// Of the file of records: its name, SHA-256 and size.
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
    /// SHA-256 of each line by the line of the file of records, or the row where that is Parquet, from 1.
    pub calls: BTreeMap<u64, String>,
}

impl Records<'_> {
    /// The calls of each file, as lines.
    pub(super) fn take(&self, is_revealed: bool) -> Result<Vec<(Taken, String)>, String> {
        let mut all: Vec<(Taken, String)> = Vec::new();
        for path in self.files {
            let (sha256, bytes) = at(path, fingerprint(path))?;
            self.is_of_a_centre(&sha256).map_err(|what| format!("{}: {what}", path.display()))?;
            if all.iter().any(|(taken, _)| taken.sha256 == sha256) {
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file").to_owned();
            let mut calls = BTreeMap::new();
            let mut text = String::new();
            for (line, call) in self.calls(path, is_revealed)? {
                calls.insert(line, file_hash(call.as_bytes()));
                text += &call;
                text.push('\n');
            }
            let file = format!("{DIRECTORY}/{}-{name}.jsonl", &sha256[..8]);
            all.push((Taken { file, name, sha256, bytes, calls }, text));
        }
        match all.iter().all(|(taken, _)| taken.calls.is_empty()) {
            true => Err("--records: no call of these numbers and days is in the files".to_owned()),
            false => Ok(all),
        }
    }

    /// Centres say which files they were found in: evidence of one is in no other.
    fn is_of_a_centre(&self, sha256: &str) -> Result<(), String> {
        let is_open = self.sought.iter().any(|sought| sought.files.is_empty());
        if is_open || self.sought.iter().any(|sought| sought.files.contains(sha256)) {
            return Ok(());
        }
        let centres: Vec<String> =
            self.sought.iter().filter_map(|sought| Some(sought.centre?.to_string())).collect();
        let files: BTreeSet<&str> =
            self.sought.iter().flat_map(|sought| &sought.files).map(String::as_str).collect();
        let files: Vec<&str> = files.into_iter().collect();
        Err(format!(
            "call centre {} was not found in this file: its SHA-256 is {sha256}, and hunting read {}",
            centres.join(", "),
            files.join(", ")
        ))
    }

    /// In the order of the file.
    fn calls(&self, path: &PathBuf, is_revealed: bool) -> Result<BTreeMap<u64, String>, String> {
        let key = |number: &Number| number.key().integer();
        let sought: Vec<(HashSet<u64>, &Sought)> = (self.sought.iter())
            .map(|sought| (sought.numbers.iter().filter_map(key).collect(), sought))
            .collect();
        let concerns = |calling: u64, called: u64| {
            sought.iter().any(|(numbers, _)| numbers.contains(&calling) || numbers.contains(&called))
        };
        let is_sought = |call: &CallRecord| {
            sought.iter().any(|(numbers, sought)| {
                (numbers.contains(&call.calling) || numbers.contains(&call.called))
                    && sought.from_ms.is_none_or(|from| call.start_ms >= from)
                    && sought.until_ms.is_none_or(|until| call.start_ms < until)
            })
        };
        let found = Mutex::new(BTreeMap::new());
        let each = |line: u64, call: &CallRecord, cells: &Cells| {
            if is_sought(call) {
                let shown = shown(line, call, cells, is_revealed).to_string();
                found.lock().expect("no panic inside").insert(line, shown);
            }
        };
        let map = mapping(self.map)?;
        let source = Source {
            files: std::slice::from_ref(path),
            keys: None,
            map: &map,
            plan: self.plan,
            since_ms: None,
            now_ms: now_ms(),
        };
        let mut bar = Bar::on_terminal();
        source.read(&mut bar, &Look::at_rows(&concerns, &each))?;
        bar.clear();
        Ok(found.into_inner().expect("no panic inside"))
    }
}

/// A call as its file has it: numbers in E.164, its start in UTC, all else as it stands there. Masked, numbers and telephones are,
/// and where somebody was is left out.
fn shown(line: u64, call: &CallRecord, cells: &Cells, is_revealed: bool) -> Value {
    let number = |digits: u64| {
        let number = Number::from_digits(digits.to_string().as_bytes()).ok()?;
        Some(if is_revealed { number.reveal().to_string() } else { number.to_string() })
    };
    let mut shown = Map::new();
    shown.insert("line".to_owned(), json!(line));
    for (name, cell) in COLUMNS.iter().zip(cells) {
        let text = match cell {
            Cell::None | Cell::Text("") => continue,
            Cell::Text(text) => (*text).to_owned(),
            Cell::Integer(value) => value.to_string(),
        };
        let masked = |kind| {
            let masked = Identifier::kept(kind, text.clone()).to_string();
            masked.split_once(' ').map_or("…".to_owned(), |(_, value)| value.to_owned())
        };
        let value = match *name {
            "calling" => json!(number(call.calling)),
            "called" => json!(number(call.called)),
            "start" => json!(Timestamp::from_millisecond(call.start_ms).unwrap_or_default().to_string()),
            "imei" if !is_revealed => json!(masked(IdentifierKind::Imei)),
            "imsi" if !is_revealed => json!(masked(IdentifierKind::Imsi)),
            "cell" if !is_revealed => continue,
            _ => json!(text),
        };
        shown.insert((*name).to_owned(), value);
    }
    Value::Object(shown)
}

impl Taken {
    /// How the lines of the package's file differ from what was packed.
    pub(super) fn differences(&self, text: &str) -> Vec<String> {
        let mut differences = Vec::new();
        let mut seen = BTreeSet::new();
        for (n, line) in text.lines().enumerate() {
            let said = |what: &str| format!("{}: line {}: {what}", self.file, n + 1);
            let call: Option<Value> = serde_json::from_str(line).ok();
            let Some(place) = call.and_then(|call| call["line"].as_u64()) else {
                differences.push(said("changed: it is no call"));
                continue;
            };
            match self.calls.get(&place) {
                Some(hash) if seen.insert(place) => {
                    if *hash != file_hash(line.as_bytes()) {
                        differences.push(said(&format!("source line {place}: changed")));
                    }
                }
                _ => differences.push(said(&format!("source line {place}: added"))),
            }
        }
        let missing = self.calls.keys().filter(|place| !seen.contains(place));
        differences.extend(missing.map(|place| format!("{}: source line {place}: missing", self.file)));
        differences
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(place: &u64) -> String {
        json!({"line": place, "calling": "+7701****01"}).to_string()
    }

    proptest! {
        /// What is left out is named, and nothing else; whatever else stands there is a difference too, and no stumbling block.
        #[test]
        fn each_call_is_held_to_its_hash(places in proptest::collection::btree_set(0..60u64, 1..20), left in 0..60u64, other in ".{1,40}") {
            let calls = places.iter().map(|place| (*place, file_hash(line(place).as_bytes()))).collect();
            let taken = Taken { file: "f".into(), name: "n".into(), sha256: String::new(), bytes: 0, calls };
            let rest = places.iter().filter(|place| **place != left);
            let text: String = rest.map(|place| line(place) + "\n").collect();
            let missing = places.contains(&left).then(|| format!("f: source line {left}: missing"));
            let missing: Vec<String> = missing.into_iter().collect();
            prop_assert_eq!(&taken.differences(&text), &missing);
            prop_assert!(taken.differences(&(text + &other)).len() > missing.len());
        }
    }
}
