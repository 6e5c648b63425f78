//! Call records for hunting: CSV and Parquet with the columns that a file has, each known by its name or by `--map`, and the
//! calls of a journal.

mod groups;
mod lines;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use call::Decided;
use hunting::CallRecord;
use journal::{NumbersKey, Shown};
use numbering::Plan;

use super::fields::{DIALLING, integer, name, number, of_party, start_ms, telephone, truth};
use crate::query::{self, Found as Screened};
use crate::records::{Form, Progress, Recording};
use crate::watching::is_callers_own;

pub use super::fields::Cell;

/// The columns of call records. `time` may stand for `start`, as in files for replay and in segments of the journal.
pub const COLUMNS: [&str; 10] =
    ["calling", "called", "start", "duration", "answered", "cause", "trunk", "imei", "imsi", "cell"];
pub(super) const CALLING: usize = 0;
pub(super) const CALLED: usize = 1;
pub(super) const START: usize = 2;
const TRUNK: usize = 6;
pub(super) const IMEI: usize = 7;
/// What a journal has of these.
const OF_A_JOURNAL: [usize; 4] = [CALLING, CALLED, START, TRUNK];
/// A journal is guessed to have no more calls than this; counting them would be to read it.
const CALLS_OF_A_JOURNAL: usize = 1 << 27;
/// Q.850 clause 2.2.5: normal call clearing, what ends calls that were answered.
const NORMAL_CLEARING: i64 = 16;

/// So many read and look at once.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get())
}

/// Where our columns are among theirs.
#[derive(Clone, Debug)]
pub(super) struct Places(pub(super) [Option<usize>; COLUMNS.len()]);

/// What reading found beside calls.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub records: u64,
    /// Rows with no number in a number's place: withheld, short codes, what cannot be read.
    pub without_number: u64,
    /// Rows that start after now, or at no time that can be read.
    pub future: u64,
    pub earlier: u64,
    /// Calls that were refused because the calling number is not the caller's.
    pub forged: u64,
    /// Columns that no file had.
    pub missing: Vec<&'static str>,
    /// Names of the trunks of some calls that were looked for, by their numbers in records.
    pub trunks: HashMap<u64, String>,
}

impl Found {
    fn add(&mut self, other: &Found) {
        self.records += other.records;
        self.without_number += other.without_number;
        self.future += other.future;
        self.earlier += other.earlier;
        self.forged += other.forged;
        self.trunks.extend(other.trunks.iter().map(|(trunk, name)| (*trunk, name.clone())));
    }
}

/// What is read, and how.
pub struct Source<'s> {
    pub files: &'s [PathBuf],
    /// Those that open a journal's numbers, where a directory among the files may be a journal.
    pub keys: Option<&'s [NumbersKey]>,
    /// `(theirs, ours)`.
    pub map: &'s [(String, String)],
    pub plan: &'s Plan,
    pub since_ms: Option<i64>,
    pub now_ms: i64,
}

/// Reads `--map THEIRS=OURS`.
pub fn mapping(texts: &[String]) -> Result<Vec<(String, String)>, String> {
    texts
        .iter()
        .map(|text| {
            let (theirs, ours) =
                text.split_once('=').ok_or_else(|| format!("--map {text}: write --map THEIRS=OURS"))?;
            match COLUMNS.contains(&ours) {
                true => Ok((theirs.to_owned(), ours.to_owned())),
                false => Err(format!("--map {text}: no column \"{ours}\": {}", COLUMNS.join(", "))),
            }
        })
        .collect()
}

/// The fields of a row, in the order of [`COLUMNS`]; those that are not read are none.
pub type Cells<'c> = [Cell<'c>; COLUMNS.len()];

/// Who looks.
enum Each<'l> {
    Calls(&'l (dyn Fn(&CallRecord) + Sync)),
    Rows(&'l (dyn Fn(u64, &CallRecord, &Cells) + Sync)),
}

/// What a reading looks for. Calls come in no order, from several threads at once.
pub struct Look<'l> {
    /// What is needed beside calling, called and start; other columns are not read. None: all.
    columns: Option<&'l [&'l str]>,
    /// Whether a call between these two is looked at; of others nothing is counted. None: all are.
    concerns: Option<&'l (dyn Fn(u64, u64) -> bool + Sync)>,
    each: Each<'l>,
}

impl<'l> Look<'l> {
    /// At some columns of every call.
    pub fn at_all(columns: &'l [&'l str], each: &'l (dyn Fn(&CallRecord) + Sync)) -> Look<'l> {
        Look { columns: Some(columns), concerns: None, each: Each::Calls(each) }
    }

    /// At all that is known of every call.
    fn at_everything(each: &'l (dyn Fn(&CallRecord) + Sync)) -> Look<'l> {
        Look { columns: None, concerns: None, each: Each::Calls(each) }
    }

    /// At all that is known of some calls.
    pub fn at_some(
        concerns: &'l (dyn Fn(u64, u64) -> bool + Sync),
        each: &'l (dyn Fn(&CallRecord) + Sync),
    ) -> Look<'l> {
        Look { columns: None, concerns: Some(concerns), each: Each::Calls(each) }
    }

    /// At some calls with all fields as they stand in a file, and where: the line of CSV, the row of Parquet, from 1.
    pub fn at_rows(
        concerns: &'l (dyn Fn(u64, u64) -> bool + Sync),
        each: &'l (dyn Fn(u64, &CallRecord, &Cells) + Sync),
    ) -> Look<'l> {
        Look { columns: None, concerns: Some(concerns), each: Each::Rows(each) }
    }

    /// The places that are read.
    fn of(&self, places: &Places) -> Places {
        let is_read =
            |n: usize| n <= START || self.columns.is_none_or(|columns| columns.contains(&COLUMNS[n]));
        Places(std::array::from_fn(|n| places.0[n].filter(|_| is_read(n))))
    }
}

/// Turns fields into records.
struct Intake<'i> {
    source: &'i Source<'i>,
    look: &'i Look<'i>,
    found: Found,
}

impl<'i> Intake<'i> {
    fn new(source: &'i Source, look: &'i Look) -> Intake<'i> {
        Intake { source, look, found: Found::default() }
    }

    fn number(&self, cell: &Cell) -> Option<u64> {
        number(cell, self.source.plan, &DIALLING)
    }

    /// Where some calls are looked at, their trunks' names are kept.
    fn trunk(&mut self, cell: &Cell) -> Option<u64> {
        let trunk = name(cell)?;
        if let (Some(_), Cell::Text(text)) = (self.look.concerns, cell) {
            self.found.trunks.entry(trunk).or_insert_with(|| (*text).to_owned());
        }
        Some(trunk)
    }

    /// A start that is asked for; what is not is counted.
    fn in_time(&mut self, start_ms: Option<i64>) -> Option<i64> {
        let Some(start_ms) = start_ms.filter(|start_ms| *start_ms <= self.source.now_ms) else {
            self.found.future += 1;
            return None;
        };
        let is_earlier = self.source.since_ms.is_some_and(|since_ms| start_ms < since_ms);
        self.found.earlier += u64::from(is_earlier);
        (!is_earlier).then_some(start_ms)
    }

    /// A call that was screened. Whether it was answered the journal does not say, and that it was refused is no evidence: it is
    /// what we did, not what the caller did.
    fn take_screened(&mut self, call: &Screened) -> Result<(), &'static str> {
        let Some(start_ms) = self.in_time(Some(call.time_ms)) else { return Ok(()) };
        if !is_callers_own(&call.verdict) {
            self.found.forged += 1;
            return Ok(());
        }
        let [calling, presentation, called, _] = &call.numbers;
        let judged = match call.verdict.decided {
            Decided::ByNetworkNumber => calling,
            Decided::ByPresentationNumber => presentation,
        };
        let number = |shown: &Shown| match shown {
            Shown::Party(party) => Ok(of_party(party)),
            Shown::Token(_) => Err("its numbers are hashed, and a hash names nobody"),
            Shown::Closed => {
                Err("its numbers are hidden, and their key is not at hand: name its directory, --keys DIR")
            }
        };
        let (Some(calling), Some(called)) = (number(judged)?, number(called)?) else {
            self.found.without_number += 1;
            return Ok(());
        };
        self.found.records += 1;
        let trunk = self.trunk(&Cell::Text(&call.trunk));
        if let Each::Calls(each) = self.look.each {
            each(&CallRecord { calling, called, start_ms, trunk, ..CallRecord::default() });
        }
        Ok(())
    }

    /// Whether what is to be looked at is between other numbers than these.
    fn passes_over(&self, calling: &Cell, called: &Cell) -> bool {
        self.look.concerns.is_some_and(|concerns| match (self.number(calling), self.number(called)) {
            (Some(calling), Some(called)) => !concerns(calling, called),
            _ => false,
        })
    }

    fn take(&mut self, line: u64, cells: &Cells) {
        let [calling, called, start, duration, answered, cause, trunk, imei, imsi, cell] = cells;
        let Some(start_ms) = self.in_time(start_ms(start)) else { return };
        let (Some(calling), Some(called)) = (self.number(calling), self.number(called)) else {
            self.found.without_number += 1;
            return;
        };
        self.found.records += 1;
        let duration_s = integer(duration).and_then(|seconds| u32::try_from(seconds).ok());
        let by_cause = || {
            // 16 ends what was answered, and what the caller gave up too: then no second passed.
            integer(cause)
                .map(|cause| cause == NORMAL_CLEARING && duration_s.is_none_or(|seconds| seconds > 0))
        };
        let record = CallRecord {
            calling,
            called,
            start_ms,
            duration_s,
            is_answered: truth(answered).or_else(by_cause),
            trunk: self.trunk(trunk),
            cell: name(cell),
            imei: telephone(imei),
            imsi: integer(imsi).and_then(|imsi| u64::try_from(imsi).ok()),
        };
        match self.look.each {
            Each::Calls(each) => each(&record),
            Each::Rows(each) => each(line, &record, cells),
        }
    }
}

/// Hands over the calls of a CSV file that lies in memory; the error says which line.
pub fn read_csv(
    csv: &[u8],
    plan: &Plan,
    since_ms: i64,
    now_ms: i64,
    each: &(dyn Fn(&CallRecord) + Sync),
) -> Result<Found, String> {
    let source = Source { files: &[], keys: None, map: &[], plan, since_ms: Some(since_ms), now_ms };
    lines::read_whole(&source, csv, &Look::at_everything(each))
}

/// What a trunk of this name is called in records.
pub fn trunk(trunk: &str) -> Option<u64> {
    name(&Cell::Text(trunk))
}

impl Source<'_> {
    /// About how many records there are: exact of Parquet, by size of CSV.
    pub fn guess(&self) -> Result<usize, String> {
        let mut guess = 0;
        for path in self.files {
            if self.keys.is_some() && path.is_dir() {
                guess += CALLS_OF_A_JOURNAL;
                continue;
            }
            let recording = open(path)?;
            guess += match recording.form {
                Form::Parquet => groups::rows(path).map_err(|what| at(path, what))?,
                _ => recording.length as usize / 48,
            };
        }
        Ok(guess)
    }

    /// Hands over the calls of every file that are looked for.
    pub fn read(&self, progress: &mut (dyn Progress + Send), look: &Look) -> Result<Found, String> {
        let mut found = Found::default();
        let mut had = [false; COLUMNS.len()];
        for path in self.files {
            if let Some(keys) = self.keys.filter(|_| path.is_dir()) {
                let mut intake = Intake::new(self, look);
                self.journal(path, keys, progress, &mut intake).map_err(|what| at(path, what))?;
                found.add(&intake.found);
                OF_A_JOURNAL.into_iter().for_each(|place| had[place] = true);
                continue;
            }
            let recording = open(path)?;
            let read = match recording.form {
                Form::Parquet => groups::read(self, path, progress, look),
                Form::Csv => lines::read(self, recording, progress, look),
                Form::Capture => Err("a capture has packets, not call records".to_owned()),
            };
            let (places, of_file) = read.map_err(|what| at(path, what))?;
            found.add(&of_file);
            had.iter_mut().zip(places.0).for_each(|(had, place)| *had |= place.is_some());
        }
        found.missing = COLUMNS.iter().zip(had).filter(|(_, had)| !had).map(|(name, _)| *name).collect();
        Ok(found)
    }

    fn journal(
        &self,
        directory: &Path,
        keys: &[NumbersKey],
        progress: &mut dyn Progress,
        intake: &mut Intake,
    ) -> Result<(), String> {
        let journal = query::Source::of_directory(directory, None, keys.to_vec())?;
        let mut outcome = Ok(());
        let mut take = |call: &Screened| {
            if outcome.is_ok() {
                outcome = intake.take_screened(call);
            }
        };
        query::calls(journal, (self.since_ms, self.now_ms), progress, &mut take)
            .map_err(|error| error.to_string())?;
        outcome.map_err(str::to_owned)
    }

    pub(super) fn places(&self, names: &[String]) -> Result<Places, String> {
        let mut places = [None; COLUMNS.len()];
        for (n, ours) in COLUMNS.iter().enumerate() {
            let mapped = self.map.iter().rev().find(|(_, to)| to == ours).map(|(from, _)| from.as_str());
            let find = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
            places[n] = match mapped {
                Some(theirs) => find(theirs),
                None => find(ours).or_else(|| (n == START).then(|| find("time")).flatten()),
            };
            if places[n].is_none() && (mapped.is_some() || n <= START) {
                let name = mapped.unwrap_or(ours);
                return Err(format!(
                    "no column \"{name}\": the file has {}; name it with --map THEIRS={ours}",
                    names.join(", ")
                ));
            }
        }
        debug_assert!(places[CALLING].is_some() && places[CALLED].is_some());
        Ok(Places(places))
    }
}

fn open(path: &Path) -> Result<Recording, String> {
    Recording::open(path).map_err(|what| at(path, what))
}

pub(super) fn at(path: &Path, what: impl std::fmt::Display) -> String {
    format!("{}: {what}", path.display())
}
