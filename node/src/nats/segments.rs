//! Rows of sealed segments as events, in the journal's order, read on a thread of its own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use journal::{Cell, Cells, Entry, NAMES, Sealed, file_hash};
use serde::ser::{Serialize, SerializeMap, Serializer};
use tokio::sync::mpsc;

use super::Shared;
use crate::config::Verdicts;
use crate::store::shelf::{Shelf, name, number};
use crate::store::{give_way, rows, stand_back};

/// Events that are on their way at once.
pub const MOST: usize = 1024;
/// Rows after which a position is told where none of them is wanted.
const MOST_ROWS: u64 = 65_536;
/// Between looks for the next segment.
const LOOK: Duration = Duration::from_millis(200);

/// An event, ready to go.
pub struct Message {
    pub subject: String,
    pub id: String,
    pub json: Vec<u8>,
}

/// Events, and where the journal is read on after them.
pub struct Batch {
    pub messages: Vec<Message>,
    pub segment: u64,
    pub record: u64,
    /// There is no more, and there will be none: the node stops.
    pub is_last: bool,
}

pub struct Reading {
    shared: Arc<Shared>,
    local: Shelf,
    directory: PathBuf,
    store: Option<String>,
    /// Opened when the first segment is not here any more.
    remote: Option<Shelf>,
    batches: mpsc::Sender<Batch>,
}

/// Whoever took the batches has gone.
struct Gone;

enum Failed {
    Gone,
    Told(String),
}

impl From<Gone> for Failed {
    fn from(_: Gone) -> Failed {
        Failed::Gone
    }
}

impl Reading {
    pub fn new(shared: Arc<Shared>, batches: mpsc::Sender<Batch>) -> Reading {
        let setup = shared.setup.load();
        let directory = setup.journal.directory.join("segments");
        let (local, store) = (Shelf::Directory(directory.clone()), setup.journal.segments.clone());
        drop(setup);
        Reading { shared, local, directory, store, remote: None, batches }
    }

    /// Reads on from a place until nobody takes what it reads, or something fails.
    pub fn run(mut self, mut segment: u64, mut record: u64) -> Result<(), String> {
        stand_back();
        loop {
            // Looked at before the journal is: what is sealed by then is all.
            let is_last = self.shared.is_stopping();
            let next = self.end().map_err(|error| format!("{}: {error}", self.directory.display()))?;
            let waiting = next.saturating_sub(segment);
            self.shared.counts.waiting_segments.store(waiting, Ordering::Relaxed);
            if waiting == 0 {
                let none = Batch { messages: Vec::new(), segment, record, is_last };
                if is_last {
                    let _ = self.batches.blocking_send(none);
                }
                if is_last || self.batches.is_closed() {
                    return Ok(());
                }
                std::thread::sleep(LOOK);
                continue;
            }
            match self.segment(segment, record) {
                Ok(()) => (segment, record) = (segment + 1, 0),
                Err(Failed::Gone) => return Ok(()),
                Err(Failed::Told(what)) => return Err(what),
            }
            if self
                .batches
                .blocking_send(Batch { messages: Vec::new(), segment, record, is_last: false })
                .is_err()
            {
                return Ok(());
            }
        }
    }

    /// The number of the entry that is still to come.
    fn end(&self) -> io::Result<u64> {
        let names = match self.local.names() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            names => names?,
        };
        Ok(names.iter().filter_map(|(file, _)| number(file, "seal")).max().map_or(0, |n| n + 1))
    }

    /// A file here or on the store; none where it is in neither.
    fn read(&mut self, file: &str) -> Result<Option<Bytes>, String> {
        let place = |shelf: &Shelf, error: io::Error| format!("{}/{file}: {error}", shelf.shown());
        match self.local.read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome.map(Some).map_err(|error| place(&self.local, error)),
        }
        let Some(url) = &self.store else { return Ok(None) };
        let remote = match &mut self.remote {
            Some(remote) => remote,
            none => none.insert(Shelf::open(url)?),
        };
        match remote.read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            outcome => outcome.map(Some).map_err(|error| place(remote, error)),
        }
    }

    fn miss(&self, n: u64, records: u64, why: &str) {
        self.shared.counts.missed.fetch_add(records, Ordering::Relaxed);
        self.shared.say(format!("nats: segment {n}: {why}: its {records} verdicts do not become events"));
    }

    /// Tells the rows of one segment from `from` on.
    fn segment(&mut self, n: u64, from: u64) -> Result<(), Failed> {
        let Some(seal) = self.read(&name(n, "seal")).map_err(Failed::Told)? else {
            self.miss(n, 0, "its seal is missing");
            return Ok(());
        };
        let entry = match Entry::read(&seal) {
            Ok(entry) => entry,
            Err(what) => {
                self.miss(n, 0, &format!("its seal is damaged: {what}"));
                return Ok(());
            }
        };
        let Some(sealed) = entry.segment() else { return Ok(()) };
        let Some(bytes) = self.read(&sealed.file).map_err(Failed::Told)? else {
            self.miss(n, sealed.records.saturating_sub(from), "it is deleted already");
            return Ok(());
        };
        if file_hash(&bytes) != sealed.sha256 {
            self.miss(n, sealed.records.saturating_sub(from), "it is not the file that was sealed");
            return Ok(());
        }
        self.rows(&entry, sealed, &bytes, from)
    }

    fn rows(&self, entry: &Entry, sealed: &Sealed, bytes: &Bytes, from: u64) -> Result<(), Failed> {
        let nats = &self.shared.nats;
        let place = |name: &str| NAMES.iter().position(|own| *own == name).expect("a column");
        let (verdict, monitored) = (place("verdict"), place("monitored"));
        let (mut at, mut told) = (0, from);
        let mut messages = Vec::with_capacity(MOST);
        let mut outcome = Ok(());
        let read = rows::read(bytes, &mut |cells, _| {
            at += 1;
            if at <= from {
                return true;
            }
            let treatment = cells[verdict].text().unwrap_or("unknown");
            if nats.verdicts == Verdicts::All || treatment != "allow" || cells[monitored] != Cell::Null {
                let event = CallScreened { node: &nats.node, entry, sealed, record: at, cells };
                messages.push(Message {
                    subject: format!("qalqan.verdict.{}.{treatment}", nats.node),
                    id: format!("{}.{}.{at}", entry.journal, entry.n),
                    json: serde_json::to_vec(&event).expect("plain values"),
                });
            }
            if messages.len() == MOST || at - told >= MOST_ROWS {
                told = at;
                let messages = std::mem::replace(&mut messages, Vec::with_capacity(MOST));
                outcome = self.tell(Batch { messages, segment: entry.n, record: at, is_last: false });
                give_way();
            }
            outcome.is_ok()
        });
        outcome?;
        if let Err(unreadable) = read {
            let what = unreadable.first().map_or(String::new(), ToString::to_string);
            self.miss(entry.n, sealed.records.saturating_sub(told), &what);
            return Ok(());
        }
        if !messages.is_empty() {
            self.tell(Batch { messages, segment: entry.n, record: at, is_last: false })?;
        }
        Ok(())
    }

    fn tell(&self, batch: Batch) -> Result<(), Gone> {
        self.batches.blocking_send(batch).map_err(|_| Gone)
    }
}

/// The event: `schema/call-screened.schema.json`. Its members are the columns of a segment, in their form there.
struct CallScreened<'a> {
    node: &'a str,
    entry: &'a Entry,
    sealed: &'a Sealed,
    /// Counted from 1, as `journal verify` does.
    record: u64,
    cells: &'a Cells<'a>,
}

impl Serialize for CallScreened<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", "call_screened")?;
        map.serialize_entry("schema", &1)?;
        map.serialize_entry("node", self.node)?;
        map.serialize_entry("journal", &self.entry.journal)?;
        map.serialize_entry("segment", &self.entry.n)?;
        map.serialize_entry("record", &self.record)?;
        map.serialize_entry("numbers", &self.sealed.numbers)?;
        map.serialize_entry("numbers_key", &self.sealed.numbers_key)?;
        for (name, cell) in NAMES.iter().zip(self.cells) {
            match cell {
                Cell::Null => map.serialize_entry(name, &())?,
                Cell::Integer(ms) if *name == "time" => {
                    let time = jiff::Timestamp::from_millisecond(*ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
                    map.serialize_entry(name, &format_args!("{time:.3}"))?;
                }
                Cell::Integer(value) => map.serialize_entry(name, value)?,
                Cell::Bool(value) => map.serialize_entry(name, value)?,
                Cell::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}
