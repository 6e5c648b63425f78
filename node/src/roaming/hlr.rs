//! An Osmocom HLR asked over its control interface (osmo-hlr 1.5, TCP port 4259), as it knows its subscribers.
//!
//! One connection stands open and carries many questions at a time, each with an id that its answer bears. When it
//! breaks it is made anew at once, then after pauses that double; during a pause questions fail without waiting. A peer
//! that owes an answer and is silent for [`SILENCE`] counts as gone. `info` is asked for, never `info-all`: that
//! would bring the subscriber's keys too.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange::{Method, Status, WhyUnknown};
use numbering::Number;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Whereabouts;
use super::control::{self, Frames, Incoming};
use super::networks::Networks;

/// Questions on the connection at a time: osmo-hlr queues 100 answers and drops the rest.
const PIPELINED: usize = 64;
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may be owed without a word from the peer before the connection is given up.
const SILENCE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Which HLR, and what its answers mean.
#[derive(Clone)]
pub struct Settings {
    /// Host and port.
    pub address: String,
    pub networks: Networks,
    /// Whether the last place counts for a subscriber whom his VLR gave up.
    pub last_known: bool,
}

/// A connection to an HLR that keeps itself up; it ends when this is dropped.
pub struct Hlr {
    shared: Rc<Shared>,
    driver: JoinHandle<()>,
}

struct Shared {
    settings: Settings,
    line: Cell<Line>,
    waiting: RefCell<HashMap<u32, Waiting>>,
    last_id: Cell<u32>,
    /// Since when an answer is owed and nothing came.
    owed_since: Cell<Option<Instant>>,
    out: RefCell<Vec<u8>>,
    more_out: Notify,
    places: Arc<Semaphore>,
    fault: RefCell<Option<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Being made: questions queue.
    Connecting,
    Up,
    /// Pausing after a failure: questions fail at once.
    Down,
}

struct Waiting {
    answer: oneshot::Sender<Incoming>,
    _place: OwnedSemaphorePermit,
}

impl Hlr {
    /// Begins to connect. Call it within a `LocalSet`.
    pub fn start(settings: Settings) -> Hlr {
        let shared = Rc::new(Shared {
            settings,
            line: Cell::new(Line::Connecting),
            waiting: RefCell::default(),
            last_id: Cell::new(0),
            owed_since: Cell::new(None),
            out: RefCell::default(),
            more_out: Notify::new(),
            places: Arc::new(Semaphore::new(PIPELINED)),
            fault: RefCell::default(),
        });
        let driver = tokio::task::spawn_local(drive(shared.clone()));
        Hlr { shared, driver }
    }

    /// Where the subscriber is, as the HLR has it now.
    pub async fn ask(&self, number: Number, deadline: Duration) -> Whereabouts {
        let (digits, count) = number.reveal().digits();
        let digits = std::str::from_utf8(&digits[..count]).expect("ASCII digits");
        let variable = format!("subscriber.by-msisdn-{digits}.info");
        let failed = |words: String| {
            *self.shared.fault.borrow_mut() = Some(words);
            Whereabouts::unknown(Method::Hlr, WhyUnknown::SourceFailed)
        };
        match timeout(deadline, self.shared.put(&variable)).await {
            Err(_) => Whereabouts::unknown(Method::Hlr, WhyUnknown::Timeout),
            Ok(None) => Whereabouts::unknown(Method::Hlr, WhyUnknown::SourceFailed),
            Ok(Some(Incoming::Reply { variable: answered, value, .. })) if answered == variable => {
                let Settings { networks, last_known, .. } = &self.shared.settings;
                networks.read(&value, digits, *last_known).unwrap_or_else(|fault| failed(fault.to_owned()))
            }
            Ok(Some(Incoming::Failed { words, .. })) if words.starts_with("No such subscriber") => {
                Whereabouts::new(Method::Hlr, Status::NotAssigned)
            }
            Ok(Some(Incoming::Failed { words, .. })) => failed(words),
            Ok(Some(_)) => failed("a reply to another question".to_owned()),
        }
    }

    pub fn last_fault(&self) -> Option<String> {
        self.shared.fault.borrow().clone()
    }
}

impl Drop for Hlr {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Shared {
    /// Puts a question and waits for what answers it; None where the HLR cannot be reached. A question that was on a
    /// connection as it broke is put once more.
    async fn put(&self, variable: &str) -> Option<Incoming> {
        for _ in 0..2 {
            let place = self.places.clone().acquire_owned().await.expect("never closed");
            if self.line.get() == Line::Down {
                return None;
            }
            let (answer, answered) = oneshot::channel();
            let id = self.last_id.get() % i32::MAX as u32 + 1;
            self.last_id.set(id);
            self.waiting.borrow_mut().insert(id, Waiting { answer, _place: place });
            if self.owed_since.get().is_none() {
                self.owed_since.set(Some(Instant::now()));
            }
            self.send(&control::get(id, variable));
            if let Ok(incoming) = answered.await {
                return Some(incoming);
            }
        }
        None
    }

    fn send(&self, frame: &[u8]) {
        self.out.borrow_mut().extend_from_slice(frame);
        self.more_out.notify_one();
    }

    fn take(&self, incoming: Incoming) {
        match incoming {
            Incoming::Reply { id, .. } | Incoming::Failed { id, .. } => {
                // Nobody may wait for it any more; the place is free again all the same.
                if let Some(waiting) = self.waiting.borrow_mut().remove(&id) {
                    let _ = waiting.answer.send(incoming);
                }
            }
            Incoming::Ping => self.send(&control::PONG),
            Incoming::Other => {}
        }
        self.heard();
    }

    /// The peer lives: what it owes it owes from now on.
    fn heard(&self) {
        let owes = !self.waiting.borrow().is_empty();
        self.owed_since.set(owes.then(Instant::now));
    }

    /// The connection is gone, and with it what was on it.
    fn lose(&self, line: Line, words: String) {
        self.line.set(line);
        *self.fault.borrow_mut() = Some(words);
        self.out.borrow_mut().clear();
        self.owed_since.set(None);
        let lost = std::mem::take(&mut *self.waiting.borrow_mut());
        drop(lost);
    }
}

/// Keeps a connection up.
async fn drive(shared: Rc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        shared.line.set(Line::Connecting);
        let address = &shared.settings.address;
        let (heard, fault) = match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                shared.line.set(Line::Up);
                shared.heard();
                let mut heard = false;
                let fault = converse(&shared, stream, &mut heard).await;
                (heard, fault)
            }
            Ok(Err(error)) => (false, error),
            Err(_) => (false, io::ErrorKind::TimedOut.into()),
        };
        let words = format!("{address}: {fault}");
        if heard {
            // It was a good connection: the next may be, too.
            pause = FIRST_PAUSE;
            shared.lose(Line::Connecting, words);
        } else {
            shared.lose(Line::Down, words);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Carries questions and answers until the connection breaks, and says why it did.
async fn converse(shared: &Shared, stream: TcpStream, heard: &mut bool) -> io::Error {
    let _ = stream.set_nodelay(true);
    let alive = TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(3));
    let _ = SockRef::from(&stream).set_tcp_keepalive(&alive.with_retries(3));
    let (mut reader, mut writer) = stream.into_split();
    let reading = async {
        let mut frames = Frames::default();
        let mut bytes = [0; 4096];
        loop {
            match reader.read(&mut bytes).await {
                Ok(0) => return io::Error::from(io::ErrorKind::UnexpectedEof),
                Ok(count) => frames.push(&bytes[..count]),
                Err(error) => return error,
            }
            while let Some(incoming) = frames.take() {
                *heard |= matches!(incoming, Incoming::Reply { .. } | Incoming::Failed { .. });
                shared.take(incoming);
            }
        }
    };
    let writing = async {
        loop {
            let out = std::mem::take(&mut *shared.out.borrow_mut());
            if out.is_empty() {
                shared.more_out.notified().await;
            } else if let Err(error) = writer.write_all(&out).await {
                return error;
            }
        }
    };
    let watching = async {
        loop {
            sleep(SILENCE / 6).await;
            if shared.owed_since.get().is_some_and(|since| since.elapsed() > SILENCE) {
                return io::Error::new(io::ErrorKind::TimedOut, "no answer comes");
            }
        }
    };
    tokio::select! {
        error = reading => error,
        error = writing => error,
        error = watching => error,
    }
}

#[cfg(test)]
mod tests;
