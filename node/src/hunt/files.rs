//! Tables, calls and ids from text files, models and scores to and from files.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use hunting::{Graph, GraphDraft, Model, Scored, Table, TableDraft};

use crate::config::explain_io;
use crate::progress::Bar;
use crate::records::Progress;

/// First bytes of a model file; what follows is JSON, packed with zstd.
const MAGIC: &[u8] = b"qalqan hunt model 1\n";
/// A model unpacks to this much at most.
const MOST_BYTES: u64 = 8 << 30;
/// So much of a file's beginning tells its separator.
const HEAD: usize = 1 << 16;

/// A table without the columns it was read without, and the label's cells as they stand.
pub struct Sheet {
    pub table: Table,
    pub label: LabelCells,
}

pub struct LabelCells {
    /// The names of all columns.
    pub names: Vec<String>,
    pub cells: Vec<String>,
}

fn at(path: &Path, what: impl std::fmt::Display) -> String {
    format!("{}: {what}", path.display())
}

fn open(path: &Path) -> Result<(BufReader<File>, u64), String> {
    let file = File::open(path).map_err(|error| at(path, explain_io(&error)))?;
    let length = file.metadata().map_err(|error| at(path, explain_io(&error)))?.len();
    Ok((BufReader::with_capacity(HEAD, file), length))
}

type Reader = csv::Reader<BufReader<File>>;

/// Fields are parted by what the first line has most of: comma, semicolon, tab, bar, or else blanks.
fn reader(path: &Path, has_blanks: bool) -> Result<(Reader, u64), String> {
    let (mut file, length) = open(path)?;
    let head = file.fill_buf().map_err(|error| at(path, explain_io(&error)))?;
    if head.starts_with(b"PAR1") || head.starts_with(&[0x1f, 0x8b]) {
        return Err(at(path, "is no CSV: write it as CSV, unpacked"));
    }
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let count = |separator: u8| first.iter().filter(|byte| **byte == separator).count();
    let mut separator = *b",;\t|".iter().rev().max_by_key(|separator| count(**separator)).unwrap_or(&b',');
    if has_blanks && count(separator) == 0 {
        separator = b' ';
    }
    let reader = csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(false)
        .delimiter(separator)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(file);
    Ok((reader, length))
}

fn text<'r>(record: &'r csv::ByteRecord, place: usize, path: &Path, line: u64) -> Result<&'r str, String> {
    let cell = std::str::from_utf8(&record[place])
        .map_err(|_| at(path, format!("line {line}: field {} is not UTF-8", place + 1)))?;
    Ok(cell.trim())
}

/// A table whose ids are each there once.
pub fn sheet(path: &Path, id: &str, label: Option<&str>, without: &[&str]) -> Result<Sheet, String> {
    let (mut reader, length) = reader(path, false)?;
    let mut record = csv::ByteRecord::new();
    let next = |record: &mut csv::ByteRecord, reader: &mut Reader| {
        reader.read_byte_record(record).map_err(|error| at(path, error))
    };
    if !next(&mut record, &mut reader)? {
        return Err(at(path, "the file is empty: its first line must name the columns"));
    }
    let names: Vec<String> = record
        .iter()
        .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let mut seen = HashSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(at(path, format!("two columns are named \"{name}\"")));
    }
    let place = |name: &str| {
        names
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| at(path, format!("no column \"{name}\": the first line has {}", names.join(", "))))
    };
    let id_place = place(id)?;
    let label_place = label.map(place).transpose()?;
    let kept: Vec<usize> =
        (0..names.len()).filter(|&at| at != id_place && !without.contains(&names[at].as_str())).collect();
    let mut draft = TableDraft::new(kept.iter().map(|&at| names[at].clone()));
    let (mut cells, mut lines) = (Vec::new(), HashMap::new());
    let mut bar = Bar::on_terminal();
    bar.total(length);
    while next(&mut record, &mut reader)? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue;
        }
        if record.len() != names.len() {
            let what =
                format!("line {line}: {} fields where the first line has {}", record.len(), names.len());
            return Err(at(path, what));
        }
        let own = text(&record, id_place, path, line)?;
        if own.is_empty() {
            return Err(at(path, format!("line {line}: no id in column \"{id}\"")));
        }
        if let Some(first) = lines.insert(own.to_owned(), line) {
            // The id may be a telephone number: its lines name it well enough.
            let what = format!("line {line}: the id of line {first} again; one row a subscriber is needed");
            return Err(at(path, what));
        }
        let fields: Result<Vec<&str>, String> =
            kept.iter().map(|&at| text(&record, at, path, line)).collect();
        draft.push(own, fields?.into_iter());
        if let Some(place) = label_place {
            cells.push(text(&record, place, path, line)?.to_owned());
        }
        if lines.len().is_multiple_of(8192) {
            bar.done(reader.position().byte());
        }
    }
    bar.clear();
    if lines.is_empty() {
        return Err(at(path, "the file has no row after its first line"));
    }
    Ok(Sheet { table: draft.finish(), label: LabelCells { names, cells } })
}

/// Calls between ids. A first line with no id of the table is taken for names of columns.
pub fn edges(path: &Path, table: &Table) -> Result<Graph, String> {
    let (mut reader, length) = reader(path, true)?;
    let mut record = csv::ByteRecord::new();
    let mut draft = GraphDraft::new(table);
    let (mut rows, mut known) = (0u64, 0u64);
    let mut bar = Bar::on_terminal();
    bar.total(length);
    while reader.read_byte_record(&mut record).map_err(|error| at(path, error))? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue;
        }
        if record.len() < 2 {
            return Err(at(path, format!("line {line}: one field where two ids are needed")));
        }
        let calling = text(&record, 0, path, line)?.trim_start_matches('\u{feff}');
        let called = text(&record, 1, path, line)?;
        rows += 1;
        let are_known = [draft.is_known(calling), draft.is_known(called)];
        if rows == 1 && are_known == [false, false] {
            continue;
        }
        if calling.is_empty() || called.is_empty() {
            return Err(at(path, format!("line {line}: an id is empty")));
        }
        known += u64::from(are_known.contains(&true));
        draft.push(calling, called);
        if rows.is_multiple_of(8192) {
            bar.done(reader.position().byte());
        }
    }
    bar.clear();
    match (rows, known) {
        (0, _) => Err(at(path, "the file is empty: two ids a line are needed")),
        (_, 0) => Err(at(path, "no line names an id of the table in its first two columns")),
        _ => Ok(draft.finish()),
    }
}

/// Ids, one a line; a first column of a CSV file will do.
pub fn ids(path: &Path) -> Result<HashSet<String>, String> {
    let (file, _) = open(path)?;
    let mut ids = HashSet::new();
    for line in file.lines() {
        let line = line.map_err(|error| at(path, explain_io(&error)))?;
        let id = line.trim_start_matches('\u{feff}').trim().trim_matches('"');
        if !id.is_empty() {
            ids.insert(id.to_owned());
        }
    }
    match ids.is_empty() {
        true => Err(at(path, "the file is empty: one id a line is needed")),
        false => Ok(ids),
    }
}

/// What a file will hold is written beside it and put in its place whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| at(path, explain_io(&error)))
}

pub fn write_model(model: &Model, path: &Path) -> Result<(), String> {
    let mut packed = zstd::Encoder::new(MAGIC.to_vec(), 3).map_err(|error| at(path, explain_io(&error)))?;
    let json = serde_json::to_vec(model).map_err(|error| at(path, error))?;
    let bytes = packed.write_all(&json).and_then(|()| packed.finish());
    replace(path, &bytes.map_err(|error| at(path, explain_io(&error)))?)
}

pub fn read_model(path: &Path) -> Result<Model, String> {
    let bytes = fs::read(path).map_err(|error| at(path, explain_io(&error)))?;
    let packed = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| at(path, "is no model of this version: qalqan hunt train writes one"))?;
    let broken = |what: &dyn std::fmt::Display| at(path, format!("the model is broken: {what}"));
    let mut json = Vec::new();
    let unpacked = zstd::Decoder::new(packed).map_err(|error| broken(&error))?;
    unpacked.take(MOST_BYTES).read_to_end(&mut json).map_err(|error| broken(&error))?;
    let model: Model = serde_json::from_slice(&json).map_err(|error| broken(&error))?;
    match model.is_sound() {
        true => Ok(model),
        false => Err(broken(&"its parts do not fit together")),
    }
}

pub fn write_scores(path: &Path, id_column: &str, ids: &[String], scored: &[Scored]) -> Result<(), String> {
    let wrong = |error: csv::Error| at(path, error);
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([id_column, "probability", "reasons"]).map_err(wrong)?;
    for (id, scored) in ids.iter().zip(scored) {
        let reasons: Vec<String> = scored
            .reasons
            .iter()
            .map(|reason| format!("{} = {} ({:+.2})", reason.column, reason.value, reason.weight))
            .collect();
        let probability = format!("{:.9}", scored.probability);
        out.write_record([id.as_str(), &probability, &reasons.join("; ")]).map_err(wrong)?;
    }
    let bytes = out.into_inner().map_err(|error| at(path, error))?;
    replace(path, &bytes)
}
