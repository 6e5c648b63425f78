//! Logs as files: found, read, followed. Read, not mapped: a node may seal and remove one at any moment.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use journal::{HEADER_LEN, LogHead, NumbersKey, Opening, RECORD_LEN, Record, Records};

/// The logs of a directory, in the order they were begun.
pub fn logs(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    Ok(paths)
}

/// The name of a log in seals.
pub fn log_name(path: &Path) -> String {
    path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

/// A log that is open: it can be read to its end even when it is removed meanwhile.
pub struct LogFile {
    file: File,
}

/// What was read of a log.
#[derive(Default)]
pub struct Slots {
    /// Slots that hold no whole record, by place.
    pub damaged: Vec<u64>,
    /// After the last slot that holds anything.
    pub end: u64,
    /// Where to read on: `end`, or after the last slot asked for where something stands behind it.
    pub next: u64,
    /// Whether the log goes on behind the last slot asked for.
    pub more: bool,
    /// Its numbers are encrypted and their key is not at hand.
    pub closed: bool,
}

/// Slots read at a time.
const PIECE: u64 = 512;

impl LogFile {
    pub fn open(path: &Path) -> io::Result<LogFile> {
        Ok(LogFile { file: File::open(path)? })
    }

    /// None: it has no header yet, its node is just making it.
    pub fn head(&self) -> io::Result<Option<LogHead>> {
        let mut header = [0; HEADER_LEN];
        let n = read_at(&self.file, &mut header, 0)?;
        if header[..n].iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        LogHead::read(&header[..n]).map(Some).map_err(io::Error::other)
    }

    /// Hands over the records from slot `from` on, at most `limit` slots.
    pub fn read(
        &self,
        keys: &[NumbersKey],
        from: u64,
        limit: u64,
        mut each: impl FnMut(Record),
    ) -> io::Result<Slots> {
        let mut slots = Slots { end: from, next: from, ..Slots::default() };
        let Some(head) = self.head()? else {
            return match self.is_empty_from(0)? {
                true => Ok(slots),
                false => Err(io::Error::other("its header is gone: not a journal log")),
            };
        };
        let mut opening = head.opening(keys);
        slots.closed = opening.is_closed();
        let mut piece = vec![0; PIECE as usize * RECORD_LEN];
        let mut at = from;
        let stop = from.saturating_add(limit);
        while at < stop {
            let wanted = PIECE.min(stop - at) as usize * RECORD_LEN;
            let n = read_at(&self.file, &mut piece[..wanted], offset(at))?;
            // A slot cut in two by the end of the file is damaged: read it as one with zeros behind.
            let whole = n.next_multiple_of(RECORD_LEN);
            piece[n..whole].fill(0);
            let used = journal::used_len(&piece[..whole]) / RECORD_LEN;
            let mut records = Records::of_slots(&piece[..used * RECORD_LEN], at, &mut opening);
            records.by_ref().for_each(&mut each);
            slots.damaged.extend(records.damaged());
            if used > 0 {
                slots.end = at + used as u64;
                slots.next = slots.end;
            }
            at += (whole / RECORD_LEN) as u64;
            if n < wanted {
                return Ok(slots);
            }
        }
        match self.is_empty_from(at)? {
            true => Ok(slots),
            false => Ok(Slots { more: true, next: at, ..slots }),
        }
    }

    /// Whether nothing but reserved space comes from this slot on.
    fn is_empty_from(&self, mut slot: u64) -> io::Result<bool> {
        let mut piece = vec![0; PIECE as usize * RECORD_LEN];
        loop {
            let n = read_at(&self.file, &mut piece, offset(slot))?;
            if piece[..n].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            if n < piece.len() {
                return Ok(true);
            }
            slot += PIECE;
        }
    }
}

fn offset(slot: u64) -> u64 {
    (HEADER_LEN as u64) + slot * RECORD_LEN as u64
}

/// Fills the buffer as far as the file goes.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads on in the logs of a directory that are being written.
pub struct Follow {
    directory: PathBuf,
    keys: Vec<NumbersKey>,
    open: HashMap<PathBuf, Followed>,
}

struct Followed {
    log: LogFile,
    opening: Option<Opening>,
    slot: u64,
}

impl Follow {
    pub fn new(directory: PathBuf, keys: Vec<NumbersKey>) -> Follow {
        Follow { directory, keys, open: HashMap::new() }
    }

    /// Hands over every record appended since the last call.
    pub fn read(&mut self, mut each: impl FnMut(Record)) {
        let paths = logs(&self.directory).unwrap_or_default();
        for path in &paths {
            if !self.open.contains_key(path)
                && let Ok(log) = LogFile::open(path)
            {
                self.open.insert(path.clone(), Followed { log, opening: None, slot: 0 });
            }
        }
        let mut following: Vec<&PathBuf> = self.open.keys().collect();
        following.sort();
        let following: Vec<PathBuf> = following.into_iter().cloned().collect();
        for path in following {
            let followed = self.open.get_mut(&path).expect("its key was there");
            let outcome = followed.read(&self.keys, &mut each);
            // A log that was sealed and removed is read to its end once more, through the open file.
            if outcome.is_err() || !paths.contains(&path) {
                self.open.remove(&path);
            }
        }
    }
}

impl Followed {
    fn read(&mut self, keys: &[NumbersKey], each: &mut impl FnMut(Record)) -> io::Result<()> {
        let opening = match &mut self.opening {
            Some(opening) => opening,
            None => match self.log.head()? {
                Some(head) => self.opening.insert(head.opening(keys)),
                None => return Ok(()),
            },
        };
        let mut piece = vec![0; 1024 * RECORD_LEN];
        loop {
            let n = read_at(&self.log.file, &mut piece, offset(self.slot))?;
            let mut records = Records::resume(&piece[..n], self.slot, opening);
            records.by_ref().for_each(&mut *each);
            self.slot += (records.position() / RECORD_LEN) as u64;
            if records.position() < piece.len() {
                return Ok(());
            }
        }
    }
}
