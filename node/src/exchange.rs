//! This node among other operators: asks them about calls, answers what they ask (docs/exchange.md).
//!
//! One thread does all of it, on a runtime of its own. Doors reach it by a [`Line`]: a SIP door hands a call over with its
//! message and never hears of it again, the HTTP door waits for the answer. A call that nobody has to be asked about never
//! comes here; but each call that passes is noted in `Calls`, which threads share without a lock, so that others can ask.

mod answering;
mod asker;
mod counts;
mod pending;
mod registering;
mod remote;
mod server;
mod shared;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use call::{Answer, Call, Question, Treatment, Verdict};
use exchange::{CallKey, Calls, TokenKey, WireNumber, days_around};
use numbering::{Number, Party};
use socket2::Socket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::config::Setup;
use crate::connections::Connections;
use crate::door::{Moment, Peer};
use crate::letters::Keeper;
use crate::retransmission::Transaction;
use crate::roaming::Whereabouts;
use crate::roaming::feed::Update;
use crate::worker::Desk;

pub use asker::outcome_name;
pub use counts::Counts;
use pending::Office;
pub use pending::until;

/// Jobs that may wait for the thread; doors judge what comes beyond without asking.
const JOBS: usize = 16_384;
/// How often the thread looks whether it shall stop, and after the journal.
const LOOK: Duration = Duration::from_millis(100);

/// A door's line to the thread that asks other operators.
#[derive(Clone)]
pub struct Line {
    jobs: mpsc::Sender<Job>,
    calls: Arc<Calls>,
    counts: Arc<Counts>,
    /// Whether other nodes of this operator are told of calls.
    is_shared: bool,
    /// Answers over UDP leave by the door's own socket.
    datagrams: Option<Arc<Socket>>,
}

/// A call that came by SIP and has to wait for other operators.
pub struct HandedOver {
    /// Its INVITE.
    pub message: Box<[u8]>,
    pub peer: Peer,
    pub transaction: Transaction,
    pub call: Call,
    pub moment: Moment,
    /// What it is judged by.
    pub setup: Arc<Setup>,
}

enum Job {
    Call(HandedOver, Option<Arc<Socket>>),
    /// Something more came for a transaction that was handed over.
    Again {
        message: Box<[u8]>,
        peer: Peer,
        transaction: Transaction,
        datagrams: Option<Arc<Socket>>,
    },
    Ask {
        setup: Arc<Setup>,
        call: Call,
        question: Question,
        until: Instant,
        reply: oneshot::Sender<Told>,
    },
    /// A call for other nodes of this operator.
    Share(CallKey, i64, u32),
    /// A call for the member that keeps this operator's.
    Register(Call),
    /// Location updates of own subscribers.
    Locate {
        updates: Vec<(Number, Update)>,
        reply: oneshot::Sender<usize>,
    },
    /// Where an own subscriber is.
    Whereabouts {
        setup: Arc<Setup>,
        number: Number,
        until: Instant,
        reply: oneshot::Sender<Whereabouts>,
    },
}

/// What came of a question, for those who judge and those who ask why.
#[derive(Clone, Debug)]
pub struct Told {
    pub answer: Answer,
    /// Who answered: a member, or this operator itself; empty: nobody holds the number.
    pub by: String,
    /// How old the knowledge is, ms.
    pub age_ms: Option<u64>,
    /// Where it comes from: an HLR, a cache.
    pub method: Option<exchange::Method>,
    /// ISO 3166-1 alpha-2 code of the country visited.
    pub visited: Option<[u8; 2]>,
}

impl Line {
    /// The same line for another door, whose answers leave by `datagrams`.
    pub fn of(&self, datagrams: Option<Arc<Socket>>) -> Line {
        Line { datagrams, ..self.clone() }
    }

    /// Hands a call over; false when too many wait already.
    pub fn hand_over(&self, call: HandedOver) -> bool {
        self.jobs.try_send(Job::Call(call, self.datagrams.clone())).is_ok()
    }

    /// Hands over what else came for a transaction: a repeated INVITE, a CANCEL, an ACK.
    pub fn again(&self, message: &[u8], peer: Peer, transaction: Transaction) {
        let (message, datagrams) = (message.into(), self.datagrams.clone());
        // Where the queue is full it is lost like a datagram on the wire: it comes again.
        let _ = self.jobs.try_send(Job::Again { message, peer, transaction, datagrams });
    }

    /// Asks; none where too much waits already.
    pub fn ask(
        &self,
        setup: &Arc<Setup>,
        call: &Call,
        question: Question,
        until: Instant,
    ) -> Option<oneshot::Receiver<Told>> {
        let (reply, told) = oneshot::channel();
        let job = Job::Ask { setup: setup.clone(), call: *call, question, until, reply };
        self.jobs.try_send(job).ok().map(|()| told)
    }

    /// Takes location updates; gives how many were news, none where too much waits already.
    pub async fn locate(&self, updates: Vec<(Number, Update)>) -> Option<usize> {
        let (reply, kept) = oneshot::channel();
        self.jobs.try_send(Job::Locate { updates, reply }).ok()?;
        kept.await.ok()
    }

    /// Where an own subscriber is; none where too much waits already.
    pub async fn whereabouts(
        &self,
        setup: &Arc<Setup>,
        number: Number,
        until: Instant,
    ) -> Option<Whereabouts> {
        let (reply, found) = oneshot::channel();
        let job = Job::Whereabouts { setup: setup.clone(), number, until, reply };
        self.jobs.try_send(job).ok()?;
        found.await.ok()
    }

    /// Notes a call that passes, so that others can ask whether it came from here.
    #[inline]
    pub fn register(&self, setup: &Setup, call: &Call, verdict: &Verdict) {
        if verdict.treatment != Treatment::Block {
            self.note(setup, call);
        }
    }

    /// Notes a call, whoever judged it.
    pub fn note(&self, setup: &Setup, call: &Call) {
        register(setup, call, |key, now_ms, ttl_s| {
            self.calls.register(key, now_ms, ttl_s);
            if self.is_shared {
                let _ = self.jobs.try_send(Job::Share(key, now_ms, ttl_s));
            }
        });
        let is_registered = setup.exchange.as_ref().is_some_and(|exchange| exchange.register_at.is_some());
        if is_registered && self.jobs.try_send(Job::Register(*call)).is_err() {
            self.counts.registrations_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The calls that others can ask about.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }
}

fn register(setup: &Setup, call: &Call, mut note: impl FnMut(CallKey, i64, u32)) {
    let Some(exchange) = &setup.exchange else { return };
    for calling in [call.calling, call.presentation] {
        let Some(calling) = calling.number() else { continue };
        let redirecting = call.redirecting.number();
        // Hashes are of a day, and near midnight others may ask by that of another; digits are of none.
        let days = if exchange.token_key.is_some() { days_around(call.time_ms) } else { 0..=0 };
        for day in days {
            let key = call_key(exchange.token_key.as_ref(), calling, call.called, redirecting, day);
            note(key, call.time_ms, exchange.ttl_s);
        }
    }
}

/// The key of a call as members of this exchange name it: by digits, or by the day's hashes.
fn call_key(
    token_key: Option<&TokenKey>,
    calling: Number,
    called: Party,
    redirecting: Option<Number>,
    day: i64,
) -> CallKey {
    match token_key.zip(called.number()) {
        None => CallKey::of_numbers(calling, called, redirecting),
        Some((key, called)) => {
            let redirecting = redirecting.map(|number| key.token(number, day));
            CallKey::of_wire(&key.token(calling, day), &key.token(called, day), redirecting.as_ref())
        }
    }
}

/// A number as it travels in checks.
fn on_the_wire(token_key: Option<&TokenKey>, number: Number, day: i64) -> WireNumber {
    match token_key {
        Some(key) => key.token(number, day),
        None => WireNumber::clear(number),
    }
}

/// Ids of letters and questions, never used twice, also not by the process before.
struct Ids {
    prefix: u64,
    next: Cell<u64>,
}

impl Ids {
    fn new() -> Ids {
        let mut prefix = [0; 8];
        aws_lc_rs::rand::fill(&mut prefix).expect("the system gives random bytes");
        Ids { prefix: u64::from_ne_bytes(prefix), next: Cell::new(0) }
    }

    fn next(&self) -> String {
        let n = self.next.get();
        self.next.set(n + 1);
        format!("{:016x}-{n:x}", self.prefix)
    }
}

/// The number that a question is about.
pub fn about(question: Question) -> Number {
    match question {
        Question::Roaming(number) => number,
        Question::Initiation { asked, .. } => asked,
    }
}

/// What the thread is given.
pub struct Exchange {
    pub setup: Arc<ArcSwap<Setup>>,
    pub desk: Desk,
    pub connections: Arc<Connections>,
    pub counts: Arc<Counts>,
    pub stop: Arc<AtomicBool>,
    listeners: Vec<std::net::TcpListener>,
    jobs: mpsc::Receiver<Job>,
    calls: Arc<Calls>,
    keeper: Keeper,
}

/// Listening sockets, and the line that doors are given, before the thread runs.
pub struct Opened {
    pub line: Line,
    listeners: Vec<std::net::TcpListener>,
    jobs: mpsc::Receiver<Job>,
}

/// Opens the sockets of `[exchange]`.
pub fn open(setup: &crate::config::Exchange, counts: Arc<Counts>) -> io::Result<Opened> {
    let mut listeners = Vec::new();
    for &address in &setup.listen {
        let placed = |error: io::Error| {
            io::Error::new(error.kind(), format!("listening on {address} (exchange): {error}"))
        };
        std::net::TcpListener::bind(address).map_err(placed)?;
        listeners.push(crate::stream::listen(address).map_err(placed)?);
    }
    let (give, jobs) = mpsc::channel(JOBS);
    // Half full at most: registrations find a place of their own.
    let calls = Arc::new(Calls::new(setup.open_calls * 2));
    Ok(Opened {
        line: Line { jobs: give, calls, counts, is_shared: !setup.shared.is_empty(), datagrams: None },
        listeners,
        jobs,
    })
}

impl Opened {
    /// Starts the thread.
    pub fn start(
        self,
        setup: Arc<ArcSwap<Setup>>,
        desk: Desk,
        connections: Arc<Connections>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<JoinHandle<()>> {
        let Opened { line, listeners, jobs } = self;
        let journal = setup.load().journal.clone();
        let lost = line.counts.letters_lost.clone();
        let (keeper, writing) = Keeper::start(&journal.directory, &journal.keys, journal.keep_days, lost)?;
        let (calls, counts) = (line.calls, line.counts);
        let exchange = Exchange { setup, desk, connections, counts, stop, listeners, jobs, calls, keeper };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("exchange".to_owned()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, exchange.run());
            // With the last task its keeper is gone: what waits is written, and the thread ends.
            drop(runtime);
            let _ = writing.join();
        })
    }
}

impl Exchange {
    async fn run(self) {
        let Exchange { setup, desk, connections, counts, stop, listeners, mut jobs, calls, keeper } = self;
        let office = Office::new(setup, desk, connections, counts, calls, keeper);
        for listener in listeners {
            tokio::task::spawn_local(server::accept(office.clone(), listener));
        }
        let mut look = tokio::time::interval(LOOK);
        while !stop.load(Ordering::Relaxed) {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => office.take(job),
                    None => break,
                },
                _ = look.tick() => office.tick(),
            }
        }
        office.finish().await;
    }
}
