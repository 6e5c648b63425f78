//! The journal on disk: mapped logs that a killed process loses nothing of.
//!
//! A worker appends to a file it has mapped; once a record is there the kernel has it. Space is reserved
//! before a file is mapped, so a full disk is an error of the keeper, never a fault in a worker. The keeper is
//! a thread that keeps a spare log ready for each worker, tries again while the disk is full, and deletes
//! what is older than the setting says. While no log can be had, calls go on, and what is lost is counted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use journal::{HEADER_LEN, Log, RECORD_LEN, Record, Records, used_len};
use memmap2::MmapMut;
use screening::Basis;

use crate::config::Journal;

/// A log in use: its file is neither cut nor deleted while this lives.
struct Mapped {
    log: Log<MmapMut>,
    created_ms: i64,
    file: File,
    _in_use: Arc<()>,
}

impl Mapped {
    /// Gives back what was reserved and not used.
    fn close(self) {
        let used = self.log.len() as u64;
        drop(self.log);
        let _ = self.file.set_len(used);
    }
}

/// How long a worker waits for the keeper when its log is full and the disk is not: seldom at all.
const PATIENCE: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_millis(500);
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// A log is closed after a day at most, so that what is in it can be deleted in time.
const LOG_LIFE_MS: i64 = 86_400_000;

/// The journal directory of a running node, and its keeper.
pub struct Store {
    shared: Arc<Shared>,
    wanted: Sender<Want>,
    keeper: Option<JoinHandle<()>>,
    _lock: File,
    /// Logs of earlier runs with slots that hold no whole record, and how many.
    pub damaged: Vec<(PathBuf, usize)>,
}

struct Shared {
    directory: PathBuf,
    segment_bytes: usize,
    keep_days: AtomicU64,
    /// No log can be had; workers do not wait.
    failing: AtomicBool,
    why: Mutex<String>,
    /// Versions not written down yet.
    bases: Mutex<Vec<Basis>>,
    sequence: AtomicU64,
    in_use: Mutex<Vec<(PathBuf, Weak<()>)>>,
}

enum Want {
    Log(SyncSender<Mapped>),
    /// A full log: unmapping it takes a millisecond that no call should wait.
    Close(Mapped),
    Basis,
    Stop,
}

/// One worker's end of the journal.
pub struct Writer {
    current: Option<Mapped>,
    spare: Receiver<Mapped>,
    give: SyncSender<Mapped>,
    asked: bool,
    wanted: Sender<Want>,
    shared: Arc<Shared>,
}

impl Store {
    /// Opens a directory for this process alone; logs of earlier runs give back what they did not use.
    pub fn open(settings: &Journal) -> io::Result<Store> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.directory)?;
        let lock = OpenOptions::new().create(true).append(true).open(settings.directory.join("lock"))?;
        if lock.try_lock().is_err() {
            return Err(io::Error::other(
                "another node is writing there: give each its own journal directory",
            ));
        }
        let damaged = trim(&settings.directory, &[])?;
        let shared = Arc::new(Shared {
            directory: settings.directory.clone(),
            segment_bytes: settings.segment_bytes,
            keep_days: AtomicU64::new(u64::from(settings.keep_days)),
            failing: AtomicBool::new(false),
            why: Mutex::default(),
            bases: Mutex::default(),
            sequence: AtomicU64::new(0),
            in_use: Mutex::default(),
        });
        let (wanted, wants) = channel();
        let keeper = {
            let shared = shared.clone();
            std::thread::Builder::new().name("journal".into()).spawn(move || keep(&shared, &wants))?
        };
        Ok(Store { shared, wanted, keeper: Some(keeper), _lock: lock, damaged })
    }

    pub fn writer(&self) -> Writer {
        let (give, spare) = sync_channel(1);
        let mut writer = Writer {
            current: None,
            spare,
            give,
            asked: false,
            wanted: self.wanted.clone(),
            shared: self.shared.clone(),
        };
        writer.ask();
        writer
    }

    /// Writes down what verdicts from now on stand on.
    pub fn keep_basis(&self, basis: &Basis) {
        self.shared.bases.lock().expect("keeper alive").push(basis.clone());
        let _ = self.wanted.send(Want::Basis);
    }

    pub fn set_keep_days(&self, days: u32) {
        self.shared.keep_days.store(u64::from(days), Ordering::Relaxed);
    }

    /// Why the journal cannot be written now, if it cannot.
    pub fn failing(&self) -> Option<String> {
        let failing = self.shared.failing.load(Ordering::Relaxed);
        failing.then(|| self.shared.why.lock().expect("keeper alive").clone())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.wanted.send(Want::Stop);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        // Every writer is gone by now: give back the space that was reserved.
        let _ = trim(&self.shared.directory, &[]);
    }
}

impl Writer {
    /// Keeps a record; false when it is lost.
    #[inline]
    pub fn append(&mut self, record: &Record) -> bool {
        if let Some(current) = &mut self.current
            && current.log.append(record)
        {
            return true;
        }
        self.turn_over(record)
    }

    #[cold]
    fn turn_over(&mut self, record: &Record) -> bool {
        self.close();
        self.ask();
        let fresh = match self.spare.try_recv() {
            Ok(log) => Some(log),
            Err(_) if self.shared.failing.load(Ordering::Relaxed) => None,
            Err(_) => self.spare.recv_timeout(PATIENCE).ok(),
        };
        let Some(mut fresh) = fresh else { return false };
        self.asked = false;
        self.ask();
        let kept = fresh.log.append(record);
        self.current = Some(fresh);
        kept
    }

    /// Closes a log that is a day old; asked now and then, also while no call comes.
    pub fn tick(&mut self, now_ms: i64) {
        if self.current.as_ref().is_some_and(|current| (now_ms - current.created_ms).abs() >= LOG_LIFE_MS) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(full) = self.current.take() {
            let _ = self.wanted.send(Want::Close(full));
        }
    }

    /// The disk takes no more; what is judged meanwhile is lost to the journal.
    pub fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    fn ask(&mut self) {
        if !self.asked {
            self.asked = self.wanted.send(Want::Log(self.give.clone())).is_ok();
        }
    }
}

/// The keeper's life.
fn keep(shared: &Shared, wants: &Receiver<Want>) {
    let mut waiting: Vec<SyncSender<Mapped>> = Vec::new();
    let mut swept = SystemTime::now();
    loop {
        let patience = if waiting.is_empty() && shared.bases.lock().expect("workers alive").is_empty() {
            SWEEP_EVERY
        } else {
            RETRY
        };
        match wants.recv_timeout(patience) {
            Ok(Want::Log(give)) => waiting.push(give),
            Ok(Want::Close(full)) => full.close(),
            Ok(Want::Basis) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Want::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let outcome = serve_wants(shared, &mut waiting);
        let failing = outcome.is_err();
        if let Err(error) = outcome {
            *shared.why.lock().expect("workers alive") = error.to_string();
        }
        shared.failing.store(failing, Ordering::Relaxed);
        let now = SystemTime::now();
        if now.duration_since(swept).is_ok_and(|age| age >= SWEEP_EVERY) {
            swept = now;
            sweep(shared, now);
        }
    }
}

fn serve_wants(shared: &Shared, waiting: &mut Vec<SyncSender<Mapped>>) -> io::Result<()> {
    let mut bases = shared.bases.lock().expect("workers alive");
    while let Some(basis) = bases.last() {
        write_basis(&shared.directory, basis)?;
        bases.pop();
    }
    drop(bases);
    while let Some(give) = waiting.last() {
        let log = create(shared)?;
        // A writer that is gone wants nothing any more; its empty log is trimmed away at the end.
        let _ = give.try_send(log);
        waiting.pop();
    }
    Ok(())
}

fn create(shared: &Shared) -> io::Result<Mapped> {
    let created_ms = now_ms();
    let sequence = shared.sequence.fetch_add(1, Ordering::Relaxed);
    let name = format!("{created_ms:013}-{}-{sequence:06}.log", std::process::id());
    let path = shared.directory.join(name);
    // Numbers are personal data: for this user's eyes.
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    // SAFETY: the file is open for writing. Reserved space makes a full disk an error here, not a SIGBUS later.
    let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, shared.segment_bytes as libc::off_t) };
    if code != 0 {
        let _ = fs::remove_file(&path);
        return Err(io::Error::from_raw_os_error(code));
    }
    // SAFETY: the directory is locked for this process, and nothing in it shortens a log that is in use.
    let map = unsafe { MmapMut::map_mut(&file)? };
    let in_use = Arc::new(());
    shared.in_use.lock().expect("one keeper").push((path, Arc::downgrade(&in_use)));
    Ok(Mapped { log: Log::begin(map, created_ms), created_ms, file, _in_use: in_use })
}

fn write_basis(directory: &Path, basis: &Basis) -> io::Result<()> {
    let path = basis_path(directory, basis.id());
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(basis)?)?;
    fs::rename(draft, path)
}

fn basis_path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("basis-{id:016x}.json"))
}

/// Deletes logs that nobody wrote to for longer than they are kept.
fn sweep(shared: &Shared, now: SystemTime) {
    let in_use: Vec<PathBuf> = {
        let mut in_use = shared.in_use.lock().expect("one keeper");
        in_use.retain(|(_, alive)| alive.strong_count() > 0);
        in_use.iter().map(|(path, _)| path.clone()).collect()
    };
    let days = shared.keep_days.load(Ordering::Relaxed);
    if days == 0 {
        return;
    }
    let oldest = now - Duration::from_secs(days * 86_400);
    for path in logs(&shared.directory).unwrap_or_default() {
        let modified = fs::metadata(&path).and_then(|meta| meta.modified());
        if !in_use.contains(&path) && modified.is_ok_and(|modified| modified < oldest) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The logs of a directory, in the order they were begun.
pub fn logs(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    Ok(paths)
}

/// Reads a log whole, hands over its records, and says how many slots hold none.
///
/// Read, not mapped: a node that closes the log may cut it short at any moment.
pub fn read_log(path: &Path, each: impl FnMut(Record)) -> io::Result<usize> {
    records_of(&fs::read(path)?, each)
}

fn records_of(bytes: &[u8], each: impl FnMut(Record)) -> io::Result<usize> {
    // A file that has no header yet: its node is just making it.
    if bytes.len() < HEADER_LEN || bytes[..HEADER_LEN].iter().all(|&byte| byte == 0) {
        return Ok(0);
    }
    let mut records = Records::open(bytes).map_err(io::Error::other)?;
    records.by_ref().for_each(each);
    Ok(records.damaged())
}

/// Reads on in a log that is being written; gives where to go on next time. Begin at 0.
pub fn follow_log(path: &Path, from: usize, mut each: impl FnMut(Record)) -> io::Result<usize> {
    let file = File::open(path)?;
    let mut position = from.max(HEADER_LEN);
    let mut piece = vec![0; 1024 * RECORD_LEN];
    loop {
        let n = file.read_at(&mut piece, position as u64)?;
        let mut records = Records::resume(&piece[..n]);
        records.by_ref().for_each(&mut each);
        position += records.position();
        if records.position() < piece.len() {
            return Ok(position);
        }
    }
}

/// The basis that records of a journal name.
pub fn read_basis(directory: &Path, id: u64) -> Option<Basis> {
    serde_json::from_slice(&fs::read(basis_path(directory, id)).ok()?).ok()
}

/// Cuts the empty space that was reserved off logs that nobody writes to; gives those with damaged slots.
fn trim(directory: &Path, in_use: &[PathBuf]) -> io::Result<Vec<(PathBuf, usize)>> {
    let mut found = Vec::new();
    for path in logs(directory)?.into_iter().filter(|path| !in_use.contains(path)) {
        let mut records = 0usize;
        let Ok(bytes) = fs::read(&path) else { continue };
        let Ok(damaged) = records_of(&bytes, |_| records += 1) else { continue };
        if damaged > 0 {
            found.push((path.clone(), damaged));
        }
        let end = used_len(&bytes) as u64;
        let meta = fs::metadata(&path)?;
        if records == 0 && damaged == 0 {
            fs::remove_file(&path)?;
        } else if end < meta.len() {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(end)?;
            // Cutting is no writing: how long the log is kept counts from its last record.
            file.set_modified(meta.modified()?)?;
        }
    }
    Ok(found)
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
