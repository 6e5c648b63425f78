//! What a hunt found, as files: JSON lines with a cluster each, or Parquet with a number each.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{ArrayRef, BooleanArray, Date32Array, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Fields};
use hunting::{Cluster, Given, Suspect};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use super::calls::at;
use crate::config::explain_io;
use crate::records::fingerprint;

/// Names of trunks by the numbers that the reader gave them.
pub type Trunks = std::collections::HashMap<u64, String>;

/// SHA-256 of the files of records.
pub type Hashes = BTreeSet<String>;

/// Whether a file of this name is Parquet, and no JSON lines.
fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// The files of records by their SHA-256, as far as a file of this name says it.
pub fn hashes(records: &[PathBuf], path: &Path) -> Result<Hashes, String> {
    // A journal is no file: its seals say what it was.
    let files = records.iter().filter(|records| !is_table(path) && !records.is_dir());
    let hash = |path: &PathBuf| {
        fingerprint(path).map(|(hash, _)| hash).map_err(|error| at(path, explain_io(&error)))
    };
    files.map(hash).collect()
}

/// Writes all clusters, with whole numbers; in JSON lines also which files of records they were found in.
pub fn write(clusters: &[Cluster], trunks: &Trunks, files: &Hashes, path: &Path) -> Result<(), String> {
    let is_table = is_table(path);
    let fill = |file| if is_table { table(clusters, file) } else { lines(clusters, trunks, files, file) };
    private(path, fill).map_err(|error| at(path, explain_io(&error)))
}

/// Writes a file whole or not at all, and nobody else's to read.
pub fn private(path: &Path, fill: impl FnOnce(File) -> io::Result<File>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // One that was left there may be readable to others.
    let left = fs::remove_file(&part).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    left?;
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&part)?;
    let written = fill(file).and_then(|file| file.sync_all());
    written.and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}

#[derive(Serialize)]
struct ClusterLine<'c> {
    cluster: usize,
    evidence: usize,
    alarms: usize,
    ties: &'c BTreeSet<hunting::Tie>,
    /// SHA-256 of the files that were hunted in.
    records: &'c Hashes,
    numbers: Vec<SuspectLine<'c>>,
}

#[derive(Serialize)]
struct SuspectLine<'c> {
    number: String,
    is_alarm: bool,
    evidence: usize,
    /// The busiest 24 h.
    day: String,
    outgoing: u32,
    incoming: u32,
    answered: u32,
    /// Telephones and trunks of that day.
    imeis: Vec<String>,
    trunks: Vec<String>,
    signals: &'c [Given],
}

impl<'c> SuspectLine<'c> {
    fn of(suspect: &'c Suspect, trunks: &Trunks) -> SuspectLine<'c> {
        let behaviour = &suspect.behaviour;
        let day = jiff::Timestamp::from_second(behaviour.day * 86_400).unwrap_or_default();
        SuspectLine {
            number: e164(suspect),
            is_alarm: suspect.is_alarm,
            evidence: suspect.evidence,
            day: day.strftime("%Y-%m-%d").to_string(),
            outgoing: behaviour.outgoing,
            incoming: behaviour.incoming,
            answered: behaviour.answered,
            imeis: behaviour.imeis.values().iter().map(|imei| format!("{imei:014}")).collect(),
            // A name that is a number in the records is that number.
            trunks: behaviour
                .trunks
                .values()
                .iter()
                .map(|trunk| trunks.get(trunk).cloned().unwrap_or_else(|| trunk.to_string()))
                .collect(),
            signals: &suspect.signals,
        }
    }
}

fn e164(suspect: &Suspect) -> String {
    format!("+{}", suspect.behaviour.number)
}

fn lines(clusters: &[Cluster], trunks: &Trunks, records: &Hashes, file: File) -> io::Result<File> {
    let mut file = BufWriter::new(file);
    for (n, cluster) in clusters.iter().enumerate() {
        let line = ClusterLine {
            cluster: n + 1,
            evidence: cluster.evidence,
            alarms: cluster.alarms(),
            ties: &cluster.ties,
            records,
            numbers: cluster.suspects.iter().map(|suspect| SuspectLine::of(suspect, trunks)).collect(),
        };
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)
}

/// A row a number; ties are its cluster's.
fn table(clusters: &[Cluster], file: File) -> io::Result<File> {
    let rows: Vec<(u32, &Cluster, &Suspect)> = (1..)
        .zip(clusters)
        .flat_map(|(n, cluster)| cluster.suspects.iter().map(move |suspect| (n, cluster, suspect)))
        .collect();
    let count = |of: &dyn Fn(&Suspect) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| of(row.2))))
    };
    let numbers = StringArray::from_iter_values(rows.iter().map(|(_, _, suspect)| e164(suspect)));
    let days = rows.iter().map(|(_, _, suspect)| i32::try_from(suspect.behaviour.day).unwrap_or_default());
    let columns: [(&str, ArrayRef); 10] = [
        ("cluster", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("number", Arc::new(numbers)),
        ("is_alarm", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.2.is_alarm))))),
        ("evidence", count(&|suspect| suspect.evidence as u32)),
        ("day", Arc::new(Date32Array::from_iter_values(days))),
        ("outgoing", count(&|suspect| suspect.behaviour.outgoing)),
        ("incoming", count(&|suspect| suspect.behaviour.incoming)),
        ("answered", count(&|suspect| suspect.behaviour.answered)),
        ("signals", signals(&rows)),
        ("ties", ties(&rows)),
    ];
    let wrong = |error: parquet::errors::ParquetError| io::Error::other(error.to_string());
    let batch = RecordBatch::try_from_iter(columns).map_err(|error| io::Error::other(error.to_string()))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).map_err(wrong)?;
    writer.write(&batch).map_err(wrong)?;
    writer.into_inner().map_err(wrong)
}

/// Of each number its signals: name, figure, and the threshold that it passed.
fn signals(rows: &[(u32, &Cluster, &Suspect)]) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("signal", DataType::Utf8, false),
        Field::new("figure", DataType::Float64, false),
        Field::new("threshold", DataType::Float64, false),
    ]);
    let mut list = ListBuilder::new(StructBuilder::from_fields(fields, rows.len()));
    for (_, _, suspect) in rows {
        for given in &suspect.signals {
            let one = list.values();
            one.field_builder::<StringBuilder>(0).expect("of texts").append_value(given.signal.name());
            for (place, value) in [(1, given.figure), (2, given.threshold)] {
                one.field_builder::<Float64Builder>(place).expect("of numbers").append_value(value);
            }
            one.append(true);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

fn ties(rows: &[(u32, &Cluster, &Suspect)]) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for (_, cluster, _) in rows {
        cluster.ties.iter().for_each(|tie| list.values().append_value(name_of(tie)));
        list.append(true);
    }
    Arc::new(list.finish())
}

/// An enum as JSON names it.
pub fn name_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
