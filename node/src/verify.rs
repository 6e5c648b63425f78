//! `qalqan journal verify`: whether a journal is what was sealed, with nothing but the first public key.
//!
//! The chain is read first: signatures, keys, links. Then every Parquet file against its seal: the hash of the file,
//! then every row against its check and every column against its digest. What is found is named, a line each.

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::Duration;

use journal::{Cell, Chain, PublicKey, Sealed, Seen, Tally, differences, file_hash};

use crate::progress::Bar;
use crate::records::{Progress, READER};
use crate::store::rows;
use crate::store::shelf::{Shelf, name, number};

/// Findings that are named of one segment; more of them are counted.
const MOST_NAMED: usize = 100;

/// What a whole journal comes to.
#[derive(Default)]
pub struct Verified {
    pub findings: Vec<String>,
    pub segments: u64,
    pub records: u64,
    pub first_ms: Option<i64>,
    pub last_ms: Option<i64>,
    /// Segments and records that were deleted because they were old.
    pub removed: u64,
    pub removed_records: u64,
    /// Slots of logs that held no whole record when they were sealed.
    pub damaged_slots: u64,
    pub journal: String,
    pub entries: u64,
    pub head: String,
}

/// Reads and checks everything on a shelf. Where a node seals or deletes meanwhile, what looked wrong is looked at again.
pub fn verify(shelf: &Shelf, first: PublicKey, head: Option<&str>) -> io::Result<Verified> {
    const LOOKS: usize = 3;
    for _ in 1..LOOKS {
        let names = settled_names(shelf)?;
        let verified = verify_once(shelf, &names, first, head, None)?;
        if verified.findings.is_empty() || shelf.names()? == names {
            return Ok(verified);
        }
    }
    verify_once(shelf, &settled_names(shelf)?, first, head, None)
}

/// Checks a chain of which only some segments are at hand, in a place where nothing is written any more.
pub fn verify_part(
    shelf: &Shelf,
    first: PublicKey,
    head: &str,
    which: &BTreeSet<u64>,
) -> io::Result<Verified> {
    verify_once(shelf, &shelf.names()?, first, Some(head), Some(which))
}

fn verify_once(
    shelf: &Shelf,
    names: &[(String, u64)],
    first: PublicKey,
    head: Option<&str>,
    which: Option<&BTreeSet<u64>>,
) -> io::Result<Verified> {
    let seals: Vec<String> =
        names.iter().map(|(name, _)| name).filter(|name| number(name, "seal").is_some()).cloned().collect();
    if seals.is_empty() {
        return Err(io::Error::other(format!(
            "{}: there is no seal in it: no sealed journal",
            shelf.shown()
        )));
    }
    let files = shelf.read_all(&seals)?;
    let numbered = seals.iter().filter_map(|name| number(name, "seal"));
    let files = numbered.zip(files).map(|(n, file)| (n, file.to_vec())).collect();
    let mut chain = Chain::read(files, first, head);
    let removed = chain.removed();
    let there: BTreeSet<u64> = names.iter().filter_map(|(name, _)| number(name, "parquet")).collect();

    let mut verified = Verified {
        journal: chain.entries.values().next().map_or(String::new(), |entry| entry.journal.clone()),
        entries: chain.entries.len() as u64,
        head: chain.head().unwrap_or_default().to_owned(),
        ..Verified::default()
    };
    let mut bar = Bar::on_terminal();
    bar.total(
        names.iter().filter(|(name, _)| number(name, "parquet").is_some()).map(|(_, length)| length).sum(),
    );
    let mut done = 0;
    let mut found: Vec<(u64, String)> = Vec::new();
    for finding in &chain.findings {
        found.push((finding.n.unwrap_or(u64::MAX), finding.to_string()));
    }
    for (n, sealed) in chain.segments() {
        if which.is_some_and(|which| !which.contains(&n)) && !there.contains(&n) {
            continue;
        }
        verified.damaged_slots += sealed.logs.iter().map(|log| log.damaged).sum::<u64>();
        if !there.contains(&n) {
            if removed.contains(&n) {
                verified.removed += 1;
                verified.removed_records += sealed.records;
            } else {
                found.push((
                    n,
                    format!("segment {n}: {} is missing: {} records", sealed.file, sealed.records),
                ));
            }
            continue;
        }
        let bytes = match shelf.read(&name(n, "parquet")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.push((
                    n,
                    format!("segment {n}: {} is missing: {} records", sealed.file, sealed.records),
                ));
                continue;
            }
            read => read?,
        };
        // A file made to trip its reader is a finding like any other.
        let findings = unless_stumbling(|| check(n, sealed, &bytes))
            .unwrap_or_else(|| vec!["the file cannot be read: its reader stumbled over it".to_owned()]);
        let more = findings.len().saturating_sub(MOST_NAMED);
        found.extend(findings.into_iter().take(MOST_NAMED).map(|what| (n, format!("segment {n}: {what}"))));
        if more > 0 {
            found.push((n, format!("segment {n}: and {more} findings more")));
        }
        verified.segments += 1;
        verified.records += sealed.records;
        verified.first_ms = [verified.first_ms, sealed.first_ms].into_iter().flatten().min();
        verified.last_ms = verified.last_ms.max(sealed.last_ms);
        done += sealed.bytes;
        bar.done(done);
    }
    bar.clear();
    for n in there.iter().filter(|n| chain.entries.get(n).and_then(|entry| entry.segment()).is_none()) {
        // Where the seal is there and bad, that is said already.
        if !names.iter().any(|(file, _)| number(file, "seal") == Some(*n)) {
            found.push((
                *n,
                format!(
                    "segment {n}: {} has no seal: it was added, or its seal is missing",
                    name(*n, "parquet")
                ),
            ));
        } else if chain.entries.contains_key(n) {
            found.push((
                *n,
                format!("segment {n}: {} was added: the chain has no segment there", name(*n, "parquet")),
            ));
        }
    }
    found.sort_by_key(|(n, _)| *n);
    found.dedup();
    verified.findings = found.into_iter().map(|(_, what)| what).collect();
    Ok(verified)
}

/// The names on a shelf; a node that is just sealing has a Parquet file for a moment whose seal is to come.
fn settled_names(shelf: &Shelf) -> io::Result<Vec<(String, u64)>> {
    let mut names = shelf.names()?;
    for _ in 0..20 {
        let last = |extension: &str| names.iter().filter_map(|(name, _)| number(name, extension)).max();
        if last("parquet") <= last("seal") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        names = shelf.names()?;
    }
    Ok(names)
}

/// Runs what reads a file that may be made to trip its reader; none: it did. The name of the thread keeps it quiet.
pub fn unless_stumbling<T: Send>(read: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let reading = thread::Builder::new().name(READER.to_owned()).spawn_scoped(scope, read);
        reading.expect("a thread can be started").join().ok()
    })
}

/// Compares a Parquet file with its seal.
fn check(n: u64, sealed: &Sealed, bytes: &bytes::Bytes) -> Vec<String> {
    let same_file = file_hash(bytes) == sealed.sha256;
    let mut tally = Tally::new(n);
    let mut rows: Vec<Seen> = Vec::new();
    let mut times: Vec<i64> = Vec::new();
    let outcome = rows::read(bytes, &mut |cells, check| {
        times.push(match cells[0] {
            Cell::Integer(ms) => ms,
            _ => 0,
        });
        let misfit = tally.compare(cells, check);
        rows.push(Seen { check, misfit });
        true
    });
    let mut findings = Vec::new();
    match outcome {
        Ok(()) => {
            for difference in differences(n, sealed.records, &rows, &tally.finish(), &sealed.digests()) {
                let time =
                    difference.row().and_then(|row| times.get(row)).map_or(String::new(), |&ms| time(ms));
                let text = difference.to_string();
                findings.push(match (time.is_empty(), text.split_once(": ")) {
                    (false, Some((record, what))) => format!("{record} (time {time}): {what}"),
                    _ => text,
                });
            }
        }
        Err(unreadable) => {
            let what = |unreadable: rows::Unreadable| match unreadable.column {
                Some(_) => unreadable.to_string(),
                None => format!("{unreadable}; it held {} records", sealed.records),
            };
            findings.extend(unreadable.into_iter().map(what));
        }
    }
    if !same_file && findings.is_empty() {
        let what =
            "the file is not the one that was sealed, though every record in it is: it was written anew";
        findings.push(what.to_owned());
    }
    findings
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or(String::new(), |time| format!("{time:.3}"))
}

impl Verified {
    /// The summary of a journal that is whole.
    pub fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        let moment = |ms: Option<i64>| ms.map_or("-".to_owned(), time);
        writeln!(out, "journal        {}", self.journal)?;
        writeln!(out, "entries        {}, every one signed and in its place", self.entries)?;
        writeln!(out, "segments       {}", self.segments)?;
        writeln!(out, "records        {}", self.records)?;
        writeln!(out, "first          {}", moment(self.first_ms))?;
        writeln!(out, "last           {}", moment(self.last_ms))?;
        writeln!(out, "by retention   {} segments, {} records deleted", self.removed, self.removed_records)?;
        writeln!(out, "damaged slots  {}", self.damaged_slots)?;
        writeln!(out, "head           {}", self.head)
    }
}
