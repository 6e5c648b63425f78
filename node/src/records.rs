//! Recorded calls from files: CSV and Parquet, row after row in the order of the file.

mod csv_file;
mod parquet_file;
mod time;
pub use time::{from_integer as time_of_integer, parse as parse_time};

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use crate::capture::is_capture;
use crate::config::explain_io;

pub use parquet_file::{CallWriter, READER, VerdictWriter};

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

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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

/// One recorded call, its fields as text; its trunk as the reader's caller knows it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a, Trunk = &'a str> {
    pub time_ms: i64,
    pub trunk: Trunk,
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

/// How calls were recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Csv,
    Parquet,
    /// pcap or pcapng: for [`crate::capture`].
    Capture,
}

/// An opened file, its form known by its first bytes and its name.
pub struct Recording {
    pub form: Form,
    /// In bytes; 0 for a pipe.
    pub length: u64,
    head: Vec<u8>,
    file: File,
}

impl Recording {
    pub fn open(path: &Path) -> Result<Recording, String> {
        let mut file = File::open(path).map_err(|error| explain_io(&error))?;
        let meta = file.metadata().map_err(|error| explain_io(&error))?;
        if meta.is_dir() {
            return Err("is a directory: name a file".to_owned());
        }
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        let extension = extension.as_ref().and_then(|extension| extension.to_str()).unwrap_or("");
        let mut head = Vec::new();
        let read = file.by_ref().take(4).read_to_end(&mut head);
        read.map_err(|error| explain_io(&error))?;
        for (magic, packer) in [(&[0x1f, 0x8b][..], "gzip"), (&[0x28, 0xb5, 0x2f, 0xfd], "zstd")] {
            if head.starts_with(magic) {
                return Err(format!("packed with {packer}: {packer} -dc FILE | qalqan replay /dev/stdin"));
            }
        }
        let form = match extension {
            "parquet" => Form::Parquet,
            "pcap" | "pcapng" | "cap" => Form::Capture,
            _ if is_capture(&head) => Form::Capture,
            _ if head == b"PAR1" => Form::Parquet,
            _ => Form::Csv,
        };
        Ok(Recording { form, length: meta.len(), head, file })
    }

    /// For what seeks by itself.
    pub fn into_file(self) -> File {
        self.file
    }

    /// All of it from its beginning.
    pub fn reader(self) -> impl Read {
        Cursor::new(self.head).chain(self.file)
    }
}

/// SHA-256 of a file's bytes, in hex, and how many they are.
pub fn fingerprint(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes) = (Context::new(&SHA256), 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((journal::hex(hash.finish().as_ref()), bytes)),
            n => {
                hash.update(&piece[..n]);
                bytes += n as u64;
            }
        }
    }
}

/// Hands over every row of records; the error of a row stops the reading and gets its place. `trunk` finds what a
/// trunk's name stands for: where a file keeps names apart from rows, it is asked once a name, not once a row.
pub fn read<Trunk: Copy>(
    recording: Recording,
    mapping: &Mapping,
    progress: &mut dyn Progress,
    trunk: impl Fn(&str) -> Result<Trunk, String>,
    each: impl FnMut(Row<Trunk>) -> Result<(), String>,
) -> Result<(), String> {
    match recording.form {
        Form::Parquet => parquet_file::read(recording, mapping, progress, trunk, each),
        Form::Csv => csv_file::read(recording, mapping, progress, trunk, each),
        Form::Capture => Err("a capture has packets, not rows".to_owned()),
    }
}
