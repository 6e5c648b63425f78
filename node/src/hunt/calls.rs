//! Call records for hunting: CSV and Parquet with the columns that a file has, each known by its name or by `--map`, and the
//! calls of a journal.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use call::{Decided, Reason, Rule, Treatment, Verdict};
use hunting::CallRecord;
use journal::{NumbersKey, Shown};
use numbering::{Dialling, Plan};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fields::{Cell, Column, DIALLING, integer, name, number, of_party, start_ms, telephone, truth};
use crate::query::{self, Found as Screened};
use crate::records::{Form, Progress, Recording};

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
const ROWS: usize = 8192;
/// Batches of calls that wait to be looked at.
const BATCHES: usize = 8;

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

/// Turns fields into records.
struct Intake<'i> {
    source: &'i Source<'i>,
    dialling: Dialling,
    found: Found,
}

impl Intake<'_> {
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
    fn take_screened(
        &mut self,
        call: &Screened,
        each: &mut dyn FnMut(&CallRecord),
    ) -> Result<(), &'static str> {
        let Some(start_ms) = self.in_time(Some(call.time_ms)) else { return Ok(()) };
        let Verdict { treatment, rule, reason, decided, .. } = call.verdict;
        let is_own = rule == Rule::R18 || reason == Reason::OnBlockList;
        if treatment == Treatment::Block && !is_own {
            self.found.forged += 1;
            return Ok(());
        }
        let [calling, presentation, called, _] = &call.numbers;
        let judged = match decided {
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
        let trunk = name(&Cell::Text(&call.trunk));
        each(&CallRecord { calling, called, start_ms, trunk, ..CallRecord::default() });
        Ok(())
    }

    fn take(&mut self, cells: &[Cell; COLUMNS.len()], each: &mut dyn FnMut(&CallRecord)) {
        let [calling, called, start, duration, answered, cause, trunk, imei, imsi, cell] = cells;
        let Some(start_ms) = self.in_time(start_ms(start)) else { return };
        let number = |cell| number(cell, self.source.plan, &self.dialling);
        let (Some(calling), Some(called)) = (number(calling), number(called)) else {
            self.found.without_number += 1;
            return;
        };
        let duration_s = integer(duration).and_then(|seconds| u32::try_from(seconds).ok());
        let by_cause = || {
            // 16 ends what was answered, and what the caller gave up too: then no second passed.
            integer(cause)
                .map(|cause| cause == NORMAL_CLEARING && duration_s.is_none_or(|seconds| seconds > 0))
        };
        self.found.records += 1;
        each(&CallRecord {
            calling,
            called,
            start_ms,
            duration_s,
            is_answered: truth(answered).or_else(by_cause),
            trunk: name(trunk),
            cell: name(cell),
            imei: telephone(imei),
            imsi: integer(imsi).and_then(|imsi| u64::try_from(imsi).ok()),
        });
    }
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
                Form::Parquet => {
                    let builder = ParquetRecordBatchReaderBuilder::try_new(recording.into_file());
                    builder
                        .map_err(|error| at(path, broken(error.to_string())))?
                        .metadata()
                        .file_metadata()
                        .num_rows()
                        .max(0) as usize
                }
                _ => recording.length as usize / 48,
            };
        }
        Ok(guess)
    }

    /// Hands over every call of every file.
    pub fn read(
        &self,
        progress: &mut dyn Progress,
        each: &mut dyn FnMut(&CallRecord),
    ) -> Result<Found, String> {
        let mut intake = Intake { source: self, dialling: DIALLING, found: Found::default() };
        let mut had = [false; COLUMNS.len()];
        for path in self.files {
            if let Some(keys) = self.keys.filter(|_| path.is_dir()) {
                self.journal(path, keys, &mut intake, each).map_err(|what| at(path, what))?;
                OF_A_JOURNAL.into_iter().for_each(|place| had[place] = true);
                continue;
            }
            let recording = open(path)?;
            let places = match recording.form {
                Form::Parquet => self.parquet(recording, progress, &mut intake, each),
                Form::Csv => self.csv(recording, progress, &mut intake, each),
                Form::Capture => Err("a capture has packets, not call records".to_owned()),
            };
            let places = places.map_err(|what| at(path, what))?;
            had.iter_mut().zip(places.0).for_each(|(had, place)| *had |= place.is_some());
        }
        intake.found.missing =
            COLUMNS.iter().zip(had).filter(|(_, had)| !had).map(|(name, _)| *name).collect();
        Ok(intake.found)
    }

    /// The same, to a thread of its own: reading and looking at calls take a core each.
    pub fn read_beside(
        &self,
        progress: &mut dyn Progress,
        mut each: impl FnMut(&CallRecord) + Send,
    ) -> Result<Found, String> {
        std::thread::scope(|scope| {
            let (send, batches) = sync_channel::<Vec<CallRecord>>(BATCHES);
            scope.spawn(move || batches.iter().flatten().for_each(|record| each(&record)));
            let mut batch = Vec::with_capacity(ROWS);
            let pass = |batch: &mut Vec<CallRecord>| {
                // Only a thread that panicked takes none, and its panic is passed on.
                let _ = send.send(std::mem::replace(batch, Vec::with_capacity(ROWS)));
            };
            let found = self.read(progress, &mut |record| {
                batch.push(*record);
                if batch.len() == ROWS {
                    pass(&mut batch);
                }
            });
            pass(&mut batch);
            found
        })
    }

    fn journal(
        &self,
        directory: &Path,
        keys: &[NumbersKey],
        intake: &mut Intake,
        each: &mut dyn FnMut(&CallRecord),
    ) -> Result<(), String> {
        let journal = query::Source::of_directory(directory, None, keys.to_vec())?;
        let mut outcome = Ok(());
        let mut take = |call: &Screened| {
            if outcome.is_ok() {
                outcome = intake.take_screened(call, each);
            }
        };
        query::calls(journal, (self.since_ms, self.now_ms), &mut take).map_err(|error| error.to_string())?;
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

    fn csv(
        &self,
        recording: Recording,
        progress: &mut dyn Progress,
        intake: &mut Intake,
        each: &mut dyn FnMut(&CallRecord),
    ) -> Result<Places, String> {
        progress.total(recording.length);
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .buffer_capacity(1 << 18)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(recording.reader());
        let header = reader.byte_headers().map_err(|error| error.to_string())?;
        let names: Vec<String> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned())
            .collect();
        let places = self.places(&names)?;
        let mut record = csv::ByteRecord::new();
        let mut rows = 0u64;
        while reader.read_byte_record(&mut record).map_err(|error| error.to_string())? {
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() == 1 && record[0].trim_ascii().is_empty() {
                continue;
            }
            if record.len() != names.len() {
                return Err(format!(
                    "line {line}: {} fields where the header has {}",
                    record.len(),
                    names.len()
                ));
            }
            let cells = places.0.map(|place| match place.map(|place| std::str::from_utf8(&record[place])) {
                Some(Ok(text)) => Cell::Text(text.trim()),
                _ => Cell::None,
            });
            intake.take(&cells, each);
            rows += 1;
            if rows.is_multiple_of(8192) {
                progress.done(reader.position().byte());
            }
        }
        Ok(places)
    }

    fn parquet(
        &self,
        recording: Recording,
        progress: &mut dyn Progress,
        intake: &mut Intake,
        each: &mut dyn FnMut(&CallRecord),
    ) -> Result<Places, String> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(recording.into_file());
        let builder = builder.map_err(|error| broken(error.to_string()))?;
        let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let places = self.places(&names)?;
        let mut wanted: Vec<usize> = places.0.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        progress.total(builder.metadata().file_metadata().num_rows().max(0) as u64);
        let projection = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
        let reader = builder.with_projection(projection).with_batch_size(ROWS).build();
        let mut rows = 0u64;
        for batch in reader.map_err(|error| broken(error.to_string()))? {
            let batch = batch.map_err(|error| broken(error.to_string()))?;
            let columns: Vec<Option<Column>> = (places.0.iter())
                .map(|place| {
                    let index = wanted.iter().position(|wanted| Some(*wanted) == *place)?;
                    Some(Column::of(batch.column(index)).ok_or_else(|| names[place.expect("found")].clone()))
                })
                .map(|column| column.transpose())
                .collect::<Result<_, String>>()
                .map_err(|name| format!("column \"{name}\" holds neither texts nor numbers nor times"))?;
            for row in 0..batch.num_rows() {
                let cells =
                    std::array::from_fn(|n| columns[n].as_ref().map_or(Cell::None, |column| column.get(row)));
                intake.take(&cells, each);
            }
            rows += batch.num_rows() as u64;
            progress.done(rows);
        }
        Ok(places)
    }
}

fn open(path: &Path) -> Result<Recording, String> {
    Recording::open(path).map_err(|what| at(path, what))
}

fn broken(error: String) -> String {
    format!("not a whole Parquet file: {}", error.replace('\n', " "))
}

pub(super) fn at(path: &Path, what: impl std::fmt::Display) -> String {
    format!("{}: {what}", path.display())
}
