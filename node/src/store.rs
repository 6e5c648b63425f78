//! The journal on disk: mapped logs that a killed process loses nothing of, sealed into segments.
//!
//! A worker appends to a file it has mapped; once a record is there the kernel has it. Three threads stand behind it.
//! The keeper reserves space before a file is mapped, so a full disk is an error of the keeper, never a fault in a
//! worker; while no log can be had, calls go on, and what is lost is counted. The flusher asks the kernel to put what
//! was appended onto the disk, several times a second. The [`seal`]er turns closed logs into signed segments.

pub mod bases;
mod chunk;
mod flush;
mod keeper;
pub mod keys;
pub mod logs;
mod pages;
pub mod reading;
pub mod rows;
pub mod seal;
pub mod segment;
pub mod shelf;
mod upload;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use journal::{Log, NumbersKey, Record};
use memmap2::MmapMut;
use screening::Basis;

use crate::config::Journal;
use crate::loans::Suspects;
use seal::Sealer;

/// A log in use: its file is neither cut nor sealed while this lives.
struct Mapped {
    log: Log<MmapMut>,
    file: Arc<File>,
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
/// And how long a node that starts waits for the first.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
const SEAL_EVERY: Duration = Duration::from_millis(500);

/// The journal directory of a running node, and the threads behind it.
pub struct Store {
    shared: Arc<Shared>,
    wanted: Sender<Want>,
    keeper: Option<JoinHandle<()>>,
    flusher: Option<JoinHandle<()>>,
    sealer: Option<JoinHandle<()>>,
    /// Who was called by a number that screening marked or blocked; none: nobody asks.
    pub suspects: Option<Arc<Suspects>>,
    _lock: File,
}

struct Shared {
    directory: PathBuf,
    segment_bytes: usize,
    seal_ms: i64,
    keep_days: AtomicU64,
    /// The key that hides numbers in new logs; none: they are clear.
    numbers: Mutex<Option<Arc<NumbersKey>>>,
    /// No log can be had; workers do not wait.
    failing: AtomicBool,
    why: Mutex<String>,
    /// Versions not written down yet.
    bases: Mutex<Vec<Basis>>,
    sequence: AtomicU64,
    in_use: Mutex<Vec<InUse>>,
    stop: AtomicBool,
    /// The flusher has flushed for the last time.
    flushed: AtomicBool,
    /// Lines for the log of the node.
    news: Mutex<Vec<String>>,
}

/// A log that somebody writes to, or wrote to since it was last flushed.
struct InUse {
    path: PathBuf,
    alive: Weak<()>,
    /// None while it is being made.
    file: Option<Arc<File>>,
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
    /// The log to begin with.
    first: Option<Mapped>,
    current: Option<Mapped>,
    /// When the first record of the current log was.
    since_ms: i64,
    spare: Receiver<Mapped>,
    give: SyncSender<Mapped>,
    asked: bool,
    wanted: Sender<Want>,
    shared: Arc<Shared>,
    suspects: Option<Arc<Suspects>>,
}

impl Store {
    /// Opens a directory for this process alone; logs of earlier runs are sealed as the first thing.
    pub fn open(settings: &Journal) -> io::Result<Store> {
        let lock = lock(&settings.directory)?;
        let shared = Arc::new(Shared {
            directory: settings.directory.clone(),
            segment_bytes: settings.segment_bytes,
            seal_ms: settings.seal_ms,
            keep_days: AtomicU64::new(u64::from(settings.keep_days)),
            numbers: Mutex::default(),
            failing: AtomicBool::new(false),
            why: Mutex::default(),
            bases: Mutex::default(),
            sequence: AtomicU64::new(0),
            in_use: Mutex::default(),
            stop: AtomicBool::new(false),
            flushed: AtomicBool::new(false),
            news: Mutex::default(),
        });
        let sealer = Sealer::open(settings).map_err(io::Error::other)?;
        *shared.numbers.lock().expect("nobody else yet") = sealer.numbers_of_logs();
        let (wanted, wants) = channel();
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let own = shared.clone();
        let keeper = thread("journal").spawn(move || keeper::keep(&own, &wants))?;
        let own = shared.clone();
        let flusher = thread("journal-flush").spawn(move || flush::flush(&own))?;
        let own = shared.clone();
        let sealer = thread("journal-seal").spawn(move || seal_on(&own, sealer))?;
        let (keeper, flusher, sealer) = (Some(keeper), Some(flusher), Some(sealer));
        Ok(Store { shared, wanted, keeper, flusher, sealer, suspects: None, _lock: lock })
    }

    pub fn writer(&self) -> Writer {
        let (give, spare) = sync_channel(1);
        let mut writer = Writer {
            first: None,
            current: None,
            since_ms: 0,
            spare,
            give,
            asked: false,
            wanted: self.wanted.clone(),
            shared: self.shared.clone(),
            suspects: self.suspects.clone(),
        };
        writer.ask();
        // The first call waits for no disk.
        let started = Instant::now();
        while writer.first.is_none() && self.failing().is_none() && started.elapsed() < FIRST_PATIENCE {
            writer.first = writer.spare.recv_timeout(PATIENCE).ok();
        }
        // A spare is asked for once the first is in use: a door that nobody uses reserves one log, not two.
        writer.asked = writer.first.is_none();
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

    /// What the sealer and the flusher have to say since the last call.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.news.lock().expect("threads alive"))
    }

    /// Ends the threads once every writer is gone: what was appended is flushed and sealed. Gives the last news.
    pub fn close(&mut self) -> Vec<String> {
        let _ = self.wanted.send(Want::Stop);
        let join = |thread: &mut Option<JoinHandle<()>>| {
            if let Some(thread) = thread.take() {
                thread.thread().unpark();
                let _ = thread.join();
            }
        };
        join(&mut self.keeper);
        self.shared.stop.store(true, Ordering::Relaxed);
        join(&mut self.flusher);
        join(&mut self.sealer);
        self.news()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes a journal directory for this process alone; held while the file lives.
pub fn lock(directory: &Path) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let lock = OpenOptions::new().create(true).append(true).open(directory.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(_) => Err(io::Error::other("another node is writing there: give each its own journal directory")),
    }
}

impl Shared {
    fn say(&self, line: String) {
        let mut news = self.news.lock().expect("threads alive");
        // What goes on going wrong is said once, and nobody may be listening.
        if news.last() != Some(&line) && news.len() < 1000 {
            news.push(line);
        }
    }

    /// Logs that are not to be sealed yet.
    fn in_use(&self) -> Vec<PathBuf> {
        self.in_use.lock().expect("threads alive").iter().map(|log| log.path.clone()).collect()
    }
}

impl Writer {
    /// Keeps a record; false when it is lost.
    #[inline]
    pub fn append(&mut self, record: &Record) -> bool {
        if let Some(suspects) = &self.suspects {
            suspects.note(record);
        }
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
        let mut fresh = match self.first.take() {
            Some(first) => first,
            None => {
                let fresh = match self.spare.try_recv() {
                    Ok(log) => Some(log),
                    Err(_) if self.shared.failing.load(Ordering::Relaxed) => None,
                    Err(_) => self.spare.recv_timeout(PATIENCE).ok(),
                };
                let Some(fresh) = fresh else { return false };
                self.asked = false;
                self.ask();
                fresh
            }
        };
        self.since_ms = record.call.time_ms;
        let kept = fresh.log.append(record);
        self.current = Some(fresh);
        kept
    }

    /// Closes a log when its time is up; asked now and then, also while no call comes. All workers' times are up at
    /// the same moments of the clock, so their logs become one segment.
    pub fn tick(&mut self, now_ms: i64) {
        let seal_ms = self.shared.seal_ms;
        if self.current.is_some() && now_ms.div_euclid(seal_ms) != self.since_ms.div_euclid(seal_ms) {
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

/// A writer that goes, goes with its log: what is in it is sealed like any other.
impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// How far the sealer stands back behind workers: on a core they never leave it has a tenth of the time, and with that
/// seals about as many calls as such a worker answers; on one that is idle now and then it takes what is left. Weaker
/// (19, SCHED_IDLE) would leave logs lying for as long as the rush lasts.
const SEALER_NICE: libc::c_int = 10;

/// Logs that may wait to be sealed before sealing is urgent: some seconds of a worker that never rests.
const RUSH: usize = 8;
/// So many do, as far as keeper and sealer know.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Lets whoever waits for this core have it: called by the threads behind workers after some fifty microseconds of
/// work each. Left to itself the kernel lets a thread that has the core finish its turn, of several milliseconds, and
/// a call that has come meanwhile waits. Where logs pile up, sealing gives way no more.
#[inline]
pub fn give_way() {
    if WAITING.load(Ordering::Relaxed) < RUSH {
        std::thread::yield_now();
    }
}

/// Lets calls go before what this thread does.
pub fn stand_back() {
    // SAFETY: plain numbers in. On Linux 0 is this thread alone. Where it may not be, it is as urgent as calls.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, SEALER_NICE) };
}

/// The sealer's life.
fn seal_on(shared: &Shared, mut sealer: Sealer) {
    stand_back();
    loop {
        // Looked at before the work: at the end everything closed is sealed once more.
        let is_last = shared.flushed.load(Ordering::Relaxed);
        let keep_days = shared.keep_days.load(Ordering::Relaxed) as u32;
        let round = || sealer.round(&|| shared.in_use(), keep_days, now_ms());
        if catch_unwind(AssertUnwindSafe(round)).is_err() {
            // A bug: logs stay where they are, and the next round tries again.
            shared.say("journal: sealing stumbled; what is there stays".to_owned());
        }
        sealer.take_news().into_iter().for_each(|line| shared.say(line));
        *shared.numbers.lock().expect("keeper alive") = sealer.numbers_of_logs();
        if is_last {
            return;
        }
        std::thread::park_timeout(SEAL_EVERY);
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
