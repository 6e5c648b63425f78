//! Recorded calls from files: CSV and Parquet, row after row in the order of the file.

mod csv_file;
mod parquet_file;
mod time;
pub use time::parse as parse_time;

use std::fs::File;
use std::path::Path;

use crate::config::explain_io;

pub use parquet_file::{CallWriter, VerdictWriter};

/// The columns of recorded calls.
pub const COLUMNS: [&str; 6] = ["time", "trunk", "calling", "presentation", "called", "redirecting"];

/// Which of their columns stands for which of ours: `--map THEIRS=OURS`. An empty THEIRS: there is none.
#[derive(Clone, Default, Debug)]
pub struct Mapping(Vec<(String, String)>);

impl Mapping {
    pub fn parse(texts: &[String]) -> Result<Mapping, String> {
        let mut mapping = Mapping::default();
        for text in texts {
            let (theirs, ours) =
                text.split_once('=').ok_or_else(|| format!("--map {text}: write --map THEIRS=OURS"))?;
            if !COLUMNS.contains(&ours) {
                return Err(format!("--map {text}: no column \"{ours}\": {}", COLUMNS.join(", ")));
            }
            if theirs.is_empty() && matches!(ours, "time" | "trunk" | "called") {
                return Err(format!("--map {text}: {ours} cannot be left out"));
            }
            mapping.0.push((theirs.to_owned(), ours.to_owned()));
        }
        Ok(mapping)
    }

    /// Where each of our columns stands among theirs; none for those said to be missing.
    fn places(&self, theirs: &[String]) -> Result<[Option<usize>; 6], String> {
        let mut places = [None; 6];
        for (place, ours) in places.iter_mut().zip(COLUMNS) {
            let mapped = self.0.iter().rev().find(|(_, to)| to == ours).map(|(from, _)| from.as_str());
            if mapped == Some("") {
                continue;
            }
            let name = mapped.unwrap_or(ours);
            *place = Some(theirs.iter().position(|column| column == name).ok_or_else(|| {
                format!(
                    "column \"{name}\" is missing: the file has {}; name it with --map THEIRS={ours}{}",
                    theirs.join(", "),
                    if matches!(ours, "time" | "trunk" | "called") {
                        String::new()
                    } else {
                        format!(", or say that there is none with --map ={ours}")
                    }
                )
            })?);
        }
        Ok(places)
    }
}

/// One recorded call, its fields as text.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub time_ms: i64,
    pub trunk: &'a str,
    pub calling: &'a str,
    pub presentation: &'a str,
    pub called: &'a str,
    pub redirecting: &'a str,
}

/// What reading reports as it goes: rows or bytes done, and how many there are.
pub trait Progress {
    fn total(&mut self, total: u64);
    fn done(&mut self, done: u64);
}

/// Opens a file of records; gives its length in bytes too.
fn open(path: &Path) -> Result<(File, u64), String> {
    let file = File::open(path).map_err(|error| explain_io(&error))?;
    let meta = file.metadata().map_err(|error| explain_io(&error))?;
    match meta.is_dir() {
        true => Err("is a directory: name a file".to_owned()),
        false => Ok((file, meta.len())),
    }
}

/// Reads a file and hands over every row; the error of a row stops the reading and gets its place.
pub fn read(
    path: &Path,
    mapping: &Mapping,
    progress: &mut dyn Progress,
    mut each: impl FnMut(Row) -> Result<(), String>,
) -> Result<(), String> {
    let shown = path.display();
    let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    let outcome = if is_parquet {
        parquet_file::read(path, mapping, progress, &mut each)
    } else {
        csv_file::read(path, mapping, progress, &mut each)
    };
    outcome.map_err(|what| format!("{shown}: {what}"))
}
