//! Turns closed logs into sealed segments, and keeps the chain: rotations, retention.
//!
//! A segment is two files, first `NNNNNNNNNN.parquet`, then `NNNNNNNNNN.seal`, each written as a draft, made durable and
//! renamed. The seal decides: a Parquet file without one is made anew, and logs that a seal names are done with. So a
//! kill at any moment loses nothing and doubles nothing.

mod retention;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use journal::{
    Entry, Event, Numbers, NumbersKey, PublicKey, Record, Sealed, SealedLog, SigningKey, file_hash, hex,
};

use super::bases::TrunkNames;
use super::keys::{Keys, own_like_directory, random, sync_directory};
use super::logs::{LogFile, Slots, log_name, logs};
use super::segment::{self, Hiding};
use super::shelf::{Shelf, name, number};
use super::upload::Upload;
use super::{WAITING, give_way};
use crate::config::Journal;

/// Slots of logs that make one segment at most.
const MOST: u64 = 1 << 18;
/// After something went wrong.
/// Records after which whoever waits for the core may have it: some fifty microseconds of work.
const A_WHILE: usize = 64;
const PAUSE_MS: i64 = 5_000;
const SWEEP_EVERY_MS: i64 = 600_000;

pub struct Sealer {
    logs_in: PathBuf,
    segments: PathBuf,
    numbers: Numbers,
    keys: Keys,
    chain: Option<End>,
    /// How far logs that are still there were sealed.
    sealed_to: HashMap<String, SealedLog>,
    /// Segments whose Parquet file was not deleted, and their last times.
    kept: Option<BTreeMap<u64, i64>>,
    upload: Option<Upload>,
    swept_ms: Option<i64>,
    not_before_ms: i64,
    trouble: String,
    /// What was said once and for all.
    told: HashSet<String>,
    news: Vec<String>,
}

/// The end of the chain, where the next entry follows.
struct End {
    journal: String,
    next: u64,
    /// SHA-256 of the last seal.
    head: String,
}

impl Sealer {
    /// Opens keys and chain; begins them where there are none.
    pub fn open(settings: &Journal) -> Result<Sealer, String> {
        let segments = settings.directory.join("segments");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&segments);
        made.map_err(|error| format!("{}: {error}", segments.display()))?;
        let keys = Keys::open(&settings.keys).map_err(|what| format!("keys: {what}"))?;
        let upload = settings.segments.as_deref().map(Upload::open).transpose()?;
        let mut sealer = Sealer {
            logs_in: settings.directory.clone(),
            segments,
            numbers: settings.numbers,
            keys,
            chain: None,
            sealed_to: HashMap::new(),
            kept: None,
            upload,
            swept_ms: None,
            not_before_ms: i64::MIN,
            trouble: String::new(),
            told: HashSet::new(),
            news: Vec::new(),
        };
        match sealer.find_end() {
            // A store that is down keeps no node from starting; keys that do not fit do.
            Err(Trouble::Store(what)) => sealer.fail(what, super::now_ms()),
            Err(Trouble::Keys(what)) => return Err(what),
            Ok(()) => {}
        }
        Ok(sealer)
    }

    /// What new logs hide their numbers with.
    pub fn numbers_of_logs(&self) -> Option<Arc<NumbersKey>> {
        (self.numbers != Numbers::Clear).then(|| Arc::new(self.keys.numbers.clone()))
    }

    pub fn take_news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// One look at everything that there may be to do; what goes wrong is said once and tried again.
    pub fn round(&mut self, in_use: &dyn Fn() -> Vec<PathBuf>, keep_days: u32, now_ms: i64) {
        if now_ms < self.not_before_ms && self.not_before_ms - now_ms <= PAUSE_MS {
            return;
        }
        match self.work(in_use, keep_days, now_ms) {
            Ok(()) if !self.trouble.is_empty() => {
                self.trouble.clear();
                self.news.push("journal: sealing goes on".to_owned());
            }
            Ok(()) => {}
            Err(what) => self.fail(what, now_ms),
        }
    }

    /// Says something once that may go on being so.
    fn tell(&mut self, what: String) {
        if self.told.insert(what.clone()) {
            self.news.push(format!("journal: {what}"));
        }
    }

    fn fail(&mut self, what: String, now_ms: i64) {
        if what != self.trouble {
            self.news.push(format!("journal: sealing: {what}; what is there stays until it can be done"));
        }
        self.trouble = what;
        self.not_before_ms = now_ms + PAUSE_MS;
    }

    fn work(&mut self, in_use: &dyn Fn() -> Vec<PathBuf>, keep_days: u32, now_ms: i64) -> Result<(), String> {
        if self.chain.is_none() {
            self.find_end().map_err(|trouble| trouble.what())?;
        }
        match self.rotate(now_ms) {
            // Old keys serve as long as the chain has not handed over.
            Err(what) if self.chain.is_some() => self.tell(format!("keys: {what}")),
            outcome => outcome?,
        }
        // Room for the records of a segment, used again for the next: the kernel is slow to give so much.
        let mut records = Vec::new();
        while self.seal_some(&mut records, in_use, now_ms)? {}
        drop(records);
        let due = self.swept_ms.is_none_or(|swept| (now_ms - swept).abs() >= SWEEP_EVERY_MS);
        if due && keep_days > 0 {
            self.sweep(keep_days, now_ms)?;
            self.swept_ms = Some(now_ms);
        }
        match &mut self.upload {
            Some(upload) => upload.round(&self.segments, &mut self.news),
            None => Ok(()),
        }
    }

    /// Finds where the chain ends, here or on the store, and whether our key may go on with it.
    fn find_end(&mut self) -> Result<(), Trouble> {
        let local = Shelf::Directory(self.segments.clone());
        let last = |shelf: &Shelf| -> Result<Option<(u64, Vec<u8>)>, Trouble> {
            let place = |error: io::Error| Trouble::Store(format!("{}: {error}", shelf.shown()));
            let names = shelf.names().map_err(place)?;
            match names.iter().filter_map(|(name, _)| number(name, "seal")).max() {
                Some(n) => Ok(Some((n, shelf.read(&name(n, "seal")).map_err(place)?.to_vec()))),
                None => Ok(None),
            }
        };
        let mut found = last(&local)?;
        if found.is_none()
            && let Some(upload) = &self.upload
        {
            found = last(upload.shelf())?;
        }
        let Some((n, file)) = found else {
            self.chain = Some(End {
                journal: hex(&random::<16>().map_err(Trouble::Keys)?),
                next: 0,
                head: String::new(),
            });
            return self
                .add(Event::Start { key: self.keys.signing.public() }, super::now_ms())
                .map_err(Trouble::Store);
        };
        let wrong = |what: String| Trouble::Keys(format!("{}: {what}", name(n, "seal")));
        let entry = Entry::read(&file).map_err(wrong)?;
        self.complete_rotation(&entry).map_err(Trouble::Keys)?;
        let expected = match &entry.event {
            Event::Rotation { key } => key.id(),
            _ => Entry::key_id(&file).map_err(wrong)?,
        };
        let ours = self.keys.signing.public().id();
        if ours != expected {
            return Err(Trouble::Keys(format!(
                "keys: the journal is signed by key {expected}, and signing.pem is {ours}: put its keys back, or begin \
                 another journal directory"
            )));
        }
        self.chain = Some(End { journal: entry.journal, next: n + 1, head: file_hash(&file) });
        self.clean(n)?;
        Ok(())
    }

    /// Removes what a kill left halfway, and learns which logs the latest seals name.
    fn clean(&mut self, last: u64) -> Result<(), Trouble> {
        let place = |error: io::Error| Trouble::Store(error.to_string());
        for entry in fs::read_dir(&self.segments).map_err(place)?.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let unsealed = number(&file, "parquet").is_some_and(|n| n > last);
            if unsealed || file.ends_with(".draft") {
                fs::remove_file(entry.path()).map_err(place)?;
            }
        }
        let waiting: Vec<String> =
            logs(&self.logs_in).map_err(place)?.iter().map(|path| log_name(path)).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        // A log is removed right after its seal: only the latest seals can name one that is still there.
        for n in (0..=last).rev().take(64) {
            let Ok(file) = fs::read(self.segments.join(name(n, "seal"))) else { continue };
            let Ok(entry) = Entry::read(&file) else { continue };
            for log in entry.segment().map_or(&[][..], |sealed| &sealed.logs) {
                if waiting.contains(&log.name) {
                    self.sealed_to.entry(log.name.clone()).or_insert_with(|| log.clone());
                }
            }
        }
        Ok(())
    }

    /// Seals the next logs that nobody writes to; false when there are none.
    fn seal_some(
        &mut self,
        records: &mut Vec<Record>,
        in_use: &dyn Fn() -> Vec<PathBuf>,
        now_ms: i64,
    ) -> Result<bool, String> {
        let place = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        let keys = self.keys.all_numbers()?;
        records.clear();
        let mut parts: Vec<SealedLog> = Vec::new();
        let mut room = MOST;
        // Asked after the logs are listed: one that is begun in between is in neither or in both.
        let waiting = logs(&self.logs_in).map_err(|error| place(&self.logs_in, error))?;
        let in_use = in_use();
        WAITING.store(waiting.len().saturating_sub(in_use.len()), Ordering::Relaxed);
        for path in waiting {
            if in_use.contains(&path) || room == 0 {
                continue;
            }
            let log = log_name(&path);
            let from = match self.sealed_to.get(&log) {
                Some(done) if done.whole => {
                    fs::remove_file(&path).map_err(|error| place(&path, error))?;
                    self.sealed_to.remove(&log);
                    continue;
                }
                Some(done) => done.to,
                None => 0,
            };
            let before = records.len();
            let read = LogFile::open(&path).and_then(|file| {
                file.read(&keys, from, room, |record| {
                    records.push(record);
                    if records.len().is_multiple_of(A_WHILE) {
                        give_way();
                    }
                })
            });
            let slots: Slots = match read {
                Ok(slots) if !slots.closed => slots,
                // These stay until somebody helps; the others go on.
                Ok(_) => {
                    records.truncate(before);
                    let what = "the key that hides its numbers is not among the keys: it is not sealed";
                    self.tell(format!("{}: {what}", path.display()));
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Other => {
                    self.tell(format!("{}: {error}: it is not sealed", path.display()));
                    continue;
                }
                Err(error) => return Err(place(&path, error)),
            };
            if slots.end == from && slots.damaged.is_empty() && !slots.more {
                fs::remove_file(&path).map_err(|error| place(&path, error))?;
                continue;
            }
            room -= (slots.next - from).min(room);
            if !slots.damaged.is_empty() {
                let count = slots.damaged.len();
                self.news.push(format!("journal: {}: {count} slots hold no whole record", path.display()));
            }
            parts.push(SealedLog {
                name: log,
                from,
                to: slots.next,
                whole: !slots.more,
                damaged: slots.damaged.len() as u64,
                damaged_slots: slots.damaged.into_iter().take(16).collect(),
            });
        }
        if parts.is_empty() {
            return Ok(false);
        }
        self.seal(records, parts, now_ms)?;
        Ok(true)
    }

    fn seal(&mut self, records: &[Record], parts: Vec<SealedLog>, now_ms: i64) -> Result<(), String> {
        let n = self.chain.as_ref().expect("found before").next;
        let mut names = TrunkNames::new(self.logs_in.clone());
        let hiding = Hiding { numbers: self.numbers, key: &self.keys.numbers, nonce: random()? };
        // The records of several workers overlap in time; a clock that went back leaves order to the log. Places are
        // sorted, not records: they are smaller.
        let mut order: Vec<(i64, u32)> = records.iter().map(|record| record.call.time_ms).zip(0..).collect();
        if !order.is_sorted() {
            order.sort();
        }
        let ordered = order.iter().enumerate().map(|(n, &(_, at))| {
            if n.is_multiple_of(A_WHILE) {
                give_way();
            }
            &records[at as usize]
        });
        let (bytes, sealed) = segment::make(n, ordered, &mut |record| names.of(record), &hiding)?;
        let sealed = Sealed { logs: parts.clone(), ..sealed };
        let path = self.segments.join(name(n, "parquet"));
        durable(&path, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let line = format!(
            "journal: segment {n} is sealed: {} records of {} logs in {} bytes",
            sealed.records,
            parts.len(),
            sealed.bytes
        );
        let last_ms = sealed.last_ms.unwrap_or(now_ms);
        self.add(Event::Segment(Box::new(sealed)), now_ms)?;
        if let Some(kept) = &mut self.kept {
            kept.insert(n, last_ms);
        }
        self.news.push(line);
        for part in parts {
            let path = self.logs_in.join(&part.name);
            if part.whole && fs::remove_file(&path).is_ok() {
                self.sealed_to.remove(&part.name);
            } else {
                self.sealed_to.insert(part.name.clone(), part);
            }
        }
        sync_directory(&self.logs_in).map_err(|error| error.to_string())
    }

    /// Writes the next entry of the chain.
    fn add(&mut self, event: Event, now_ms: i64) -> Result<(), String> {
        let end = self.chain.as_mut().ok_or("the end of the chain is not found yet")?;
        let entry = Entry::new(&end.journal, end.next, end.head.clone(), now_ms, event);
        let file = entry.sign(&self.keys.signing);
        let path = self.segments.join(name(end.next, "seal"));
        durable(&path, file.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?;
        end.next += 1;
        end.head = file_hash(file.as_bytes());
        Ok(())
    }

    /// Takes up keys that `rotate-keys` laid ready.
    pub fn rotate(&mut self, now_ms: i64) -> Result<(), String> {
        if self.keys.take_numbers()? {
            self.news
                .push(format!("journal: numbers are hidden by key {} now", hex(&self.keys.numbers.id())));
        }
        let Some(next) = self.keys.next_signing()? else { return Ok(()) };
        let public = next.public();
        self.add(Event::Rotation { key: public }, now_ms)?;
        // From here on the old key may sign nothing: where the new one cannot be taken, the end is looked for again.
        self.take_signing(next, public).inspect_err(|_| self.chain = None)
    }

    fn take_signing(&mut self, next: SigningKey, public: PublicKey) -> Result<(), String> {
        self.keys.take_signing(next)?;
        self.news.push(format!("journal: seals are signed by key {} now", public.id()));
        Ok(())
    }

    /// A kill between the entry and the files: the chain has handed over already.
    fn complete_rotation(&mut self, entry: &Entry) -> Result<(), String> {
        let Event::Rotation { key } = &entry.event else { return Ok(()) };
        match self.keys.next_signing()? {
            Some(next) if next.public() == *key => self.take_signing(next, *key),
            _ => Ok(()),
        }
    }
}

enum Trouble {
    Store(String),
    Keys(String),
}

impl Trouble {
    fn what(self) -> String {
        match self {
            Trouble::Store(what) | Trouble::Keys(what) => what,
        }
    }
}

/// Writes a file whole and durable: after a power loss it is there as it is, or not at all.
fn durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_added_extension("draft");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        own_like_directory(path, &file)?;
        for piece in bytes.chunks(64 << 10) {
            file.write_all(piece)?;
            give_way();
        }
        file.sync_all()?;
        fs::rename(&draft, path)?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}
