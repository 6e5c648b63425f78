//! The thread's own desk: SIP calls that wait for other operators, and what it remembers between questions.
//!
//! Such a call has an INVITE server transaction (RFC 3261 section 17.2.1): 100 Trying went out when it was handed over;
//! a repeated INVITE gets the last answer again, a CANCEL ends it with 487, and the final answer is repeated over UDP
//! until its ACK comes. In proxy mode there is no 100, and what goes on is the INVITE itself.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use call::{Call, Reason, Rule, Treatment, Verdict};
use exchange::{CallKey, Calls, RoamingCache};
use screening::Screening;
use socket2::Socket;
use tokio::time::{Instant, sleep};

use super::answering::Sources;
use super::counts::Counts;
use super::registering::Registering;
use super::remote::Remote;
use super::server::{Crowd, Guest};
use super::shared::Shared;
use super::{HandedOver, Ids, Job, about, register};
use crate::config::Setup;
use crate::connections::Connections;
use crate::door::{Destination, Peer};
use crate::letters::Keeper;
use crate::retransmission::Transaction;
use crate::roaming::feed::Locations;
use crate::udp::Outbox;
use crate::worker::Desk;

/// Roaming answers kept.
const CACHED: usize = 1_000_000;
/// Timers of RFC 3261 section 17.1.1.1: T1, T2 and 64 times T1.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(32);

/// All that the thread has; its tasks share it, and none holds a borrow while it waits.
pub struct Office {
    pub setup: Arc<ArcSwap<Setup>>,
    pub counts: Arc<Counts>,
    pub calls: Arc<Calls>,
    pub cache: RefCell<RoamingCache>,
    pub remotes: RefCell<HashMap<String, Rc<Remote>>>,
    pub guests: RefCell<HashMap<String, Guest>>,
    pub crowd: Crowd,
    pub started: Instant,
    pub sources: RefCell<Option<Rc<Sources>>>,
    /// What the feed said of own subscribers.
    pub locations: RefCell<Option<Locations>>,
    pub keeper: Keeper,
    /// Calls on their way to the member that keeps them.
    pub registering: Registering,
    /// What other nodes of this operator know.
    pub shared: Option<Rc<Shared>>,
    desk: RefCell<Desk>,
    connections: Arc<Connections>,
    pending: RefCell<HashMap<Transaction, Rc<Pending>>>,
    /// Datagrams that leave together once the tasks that are ready now have run, by socket.
    outboxes: RefCell<Vec<(Arc<Socket>, Outbox)>>,
    /// Of letters of answers.
    pub ids: Ids,
}

/// A call that waits for answers, or its final answer for an ACK.
struct Pending {
    message: Box<[u8]>,
    peer: Peer,
    datagrams: Option<Arc<Socket>>,
    /// The last answer sent, and where to.
    answer: RefCell<Option<(Vec<u8>, Destination)>>,
    is_cancelled: Cell<bool>,
    is_acknowledged: Cell<bool>,
}

impl Office {
    pub fn new(
        setup: Arc<ArcSwap<Setup>>,
        desk: Desk,
        connections: Arc<Connections>,
        counts: Arc<Counts>,
        calls: Arc<Calls>,
        keeper: Keeper,
    ) -> Rc<Office> {
        let loaded = setup.load_full();
        let exchange = loaded.exchange.as_ref().filter(|exchange| !exchange.shared.is_empty());
        let shared = exchange.map(|exchange| Shared::start(exchange.shared.clone(), &exchange.shared_secret));
        Rc::new(Office {
            setup,
            counts,
            calls,
            cache: RefCell::new(RoamingCache::new(CACHED)),
            remotes: RefCell::default(),
            guests: RefCell::default(),
            crowd: Crowd::default(),
            started: Instant::now(),
            sources: RefCell::default(),
            locations: RefCell::default(),
            keeper,
            registering: Registering::default(),
            shared,
            desk: RefCell::new(desk),
            connections,
            pending: RefCell::default(),
            outboxes: RefCell::default(),
            ids: Ids::new(),
        })
    }

    /// Notes a call here and for other nodes of this operator.
    pub fn note(&self, key: CallKey, now_ms: i64, ttl_s: u32) {
        self.calls.register(key, now_ms, ttl_s);
        self.share(key, now_ms, ttl_s);
    }

    fn share(&self, key: CallKey, now_ms: i64, ttl_s: u32) {
        if let Some(shared) = self.shared.clone() {
            tokio::task::spawn_local(async move { shared.register(key, now_ms, ttl_s).await });
        }
    }

    pub fn tick(&self) {
        if let Some(shared) = &self.shared {
            self.counts.shared_failures.store(shared.failures(), Ordering::Relaxed);
        }
        self.desk.borrow_mut().tick();
    }

    pub fn take(self: &Rc<Self>, job: Job) {
        match job {
            Job::Ask { setup, call, question, until, reply } => {
                let office = self.clone();
                tokio::task::spawn_local(async move {
                    let _ = reply.send(office.tell(&setup, &call, question, until).await);
                });
            }
            Job::Share(key, now_ms, ttl_s) => self.share(key, now_ms, ttl_s),
            Job::Register(call) => self.register_elsewhere(&self.setup.load_full(), &call),
            Job::Locate { updates, reply } => drop(reply.send(self.locate(updates))),
            Job::Whereabouts { setup, number, until, reply } => {
                let office = self.clone();
                tokio::task::spawn_local(async move {
                    let _ = reply.send(office.whereabouts(&setup, number, until).await);
                });
            }
            Job::Call(call, datagrams) => {
                let HandedOver { message, peer, transaction, call, moment, setup } = call;
                if self.pending.borrow().contains_key(&transaction) {
                    // Its worker forgot it for another call: it is a repeated INVITE.
                    return self.again(&message, peer, transaction, datagrams.as_ref());
                }
                let pending = Rc::new(Pending {
                    message,
                    peer,
                    datagrams,
                    answer: RefCell::default(),
                    is_cancelled: Cell::new(false),
                    is_acknowledged: Cell::new(false),
                });
                self.pending.borrow_mut().insert(transaction, pending.clone());
                let office = self.clone();
                tokio::task::spawn_local(async move {
                    let verdict = office.judge_or_pass(&setup, &call, moment.now_ms).await;
                    office.conclude_or_fail(&setup, &pending, &call, moment, verdict);
                    // A stateless proxy repeats nothing, and a stream loses nothing.
                    if setup.sip.proxy.is_some() || pending.peer.connection.is_some() {
                        office.pending.borrow_mut().remove(&transaction);
                        return;
                    }
                    // A task of its own: it waits long, and is a tenth of what judging holds.
                    tokio::task::spawn_local(async move {
                        office.repeat(&pending).await;
                        office.pending.borrow_mut().remove(&transaction);
                    });
                });
            }
            Job::Again { message, peer, transaction, datagrams } => {
                self.again(&message, peer, transaction, datagrams.as_ref());
            }
        }
    }

    /// The verdict; a mistake of ours lets the call pass, and is counted.
    async fn judge_or_pass(&self, setup: &Arc<Setup>, call: &Call, now_ms: i64) -> Verdict {
        let mut judging = pin!(self.judge(setup, call, now_ms));
        let caught =
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| judging.as_mut().poll(context))) {
                Ok(polled) => polled.map(Some),
                Err(_) => Poll::Ready(None),
            });
        caught.await.unwrap_or_else(|| {
            self.desk.borrow().stats.panics.add(1);
            Verdict::of_rule(Rule::R20, Treatment::Allow, Reason::NothingAgainst)
        })
    }

    /// Concludes; after a mistake of ours 500 lets the switch go on, which would wait for ever after 100 Trying.
    fn conclude_or_fail(
        self: &Rc<Self>,
        setup: &Arc<Setup>,
        pending: &Pending,
        call: &Call,
        moment: crate::door::Moment,
        verdict: Verdict,
    ) {
        let concluded = || self.conclude(setup, pending, call, moment, verdict);
        if catch_unwind(AssertUnwindSafe(concluded)).is_err() {
            self.desk.borrow().stats.panics.add(1);
            self.end_by(pending, "500 Server Internal Error");
        }
    }

    /// The verdict on a call, with what others say by the deadline of all its questions.
    async fn judge(&self, setup: &Arc<Setup>, call: &Call, now_ms: i64) -> Verdict {
        let mut screening = Screening::start(&setup.policy, *call, now_ms);
        let until = until(&screening, now_ms);
        while let Some(question) = screening.poll_question() {
            let told = self.tell(setup, call, question, until).await;
            screening.handle_answer(about(question), told.answer);
        }
        screening.close()
    }

    /// Answers, keeps and counts a call whose verdict is there.
    fn conclude(
        self: &Rc<Self>,
        setup: &Arc<Setup>,
        pending: &Pending,
        call: &Call,
        moment: crate::door::Moment,
        verdict: Verdict,
    ) {
        let mut out = Vec::new();
        let to = self.desk.borrow_mut().conclude(&pending.message, pending.peer, moment, verdict, &mut out);
        if !pending.is_cancelled.get() {
            if verdict.treatment != Treatment::Block {
                register(setup, call, |key, now_ms, ttl_s| self.note(key, now_ms, ttl_s));
                self.register_elsewhere(setup, call);
            }
            self.send(&out, to, pending.datagrams.as_ref());
            *pending.answer.borrow_mut() = Some((out, to));
        }
    }

    /// Repeats the answer until it is acknowledged: timers G and H.
    async fn repeat(self: &Rc<Self>, pending: &Pending) {
        let end = Instant::now() + TIMEOUT;
        let mut wait = T1;
        loop {
            sleep(wait).await;
            if pending.is_acknowledged.get() || Instant::now() >= end {
                return;
            }
            if let Some((answer, to)) = &*pending.answer.borrow() {
                self.send(answer, *to, pending.datagrams.as_ref());
            }
            wait = (wait * 2).min(T2);
        }
    }

    fn again(
        self: &Rc<Self>,
        message: &[u8],
        peer: Peer,
        transaction: Transaction,
        datagrams: Option<&Arc<Socket>>,
    ) {
        let mut out = Vec::new();
        let pending = self.pending.borrow().get(&transaction).cloned();
        let is_proxy = self.setup.load().sip.proxy.is_some();
        let Some(pending) = pending else {
            // Its answer was acknowledged, or given up: the desk remembers it.
            let to = self.desk.borrow_mut().answer(message, peer, &mut out);
            return self.send(&out, to, datagrams);
        };
        let last = pending.answer.borrow().clone();
        let is_cancelled = pending.is_cancelled.get();
        let to = match message {
            [b'A', ..] if !is_proxy => return pending.is_acknowledged.set(last.is_some()),
            [b'C', ..] if is_cancelled || last.is_none() => {
                if !pending.is_cancelled.replace(true) {
                    // RFC 3261 section 9.2.
                    self.end_by(&pending, "487 Request Terminated");
                }
                self.desk.borrow_mut().answer_plainly(message, peer, "200 OK", &mut out)
            }
            // Still asking, or cancelled: what was said last is said again, where anything was.
            [b'I', ..] if is_cancelled || last.is_none() => match last {
                Some((answer, to)) => return self.send(&answer, to, datagrams),
                None if is_proxy => return,
                None => self.desk.borrow_mut().answer_plainly(message, peer, "100 Trying", &mut out),
            },
            _ => self.desk.borrow_mut().answer(message, peer, &mut out),
        };
        self.send(&out, to, datagrams);
    }

    /// A final answer that is no verdict.
    fn end_by(self: &Rc<Self>, pending: &Pending, status: &str) {
        let mut out = Vec::new();
        let to = self.desk.borrow_mut().answer_plainly(&pending.message, pending.peer, status, &mut out);
        self.send(&out, to, pending.datagrams.as_ref());
        *pending.answer.borrow_mut() = Some((out, to));
    }

    fn send(self: &Rc<Self>, message: &[u8], to: Destination, datagrams: Option<&Arc<Socket>>) {
        if message.is_empty() {
            return;
        }
        let sent = match to {
            Destination::Connection(id) => self.connections.send(id, message),
            Destination::Datagram(to) => {
                datagrams.map(|socket| self.send_together(message, to, socket)).is_some()
            }
        };
        if !sent {
            self.desk.borrow().stats.unsent.add(1);
        }
    }

    /// A letter answers many calls: their answers leave in one system call.
    fn send_together(self: &Rc<Self>, message: &[u8], to: SocketAddr, socket: &Arc<Socket>) {
        let mut outboxes = self.outboxes.borrow_mut();
        let place = outboxes.iter().position(|(own, _)| Arc::ptr_eq(own, socket)).unwrap_or_else(|| {
            outboxes.push((socket.clone(), Outbox::default()));
            outboxes.len() - 1
        });
        let (_, outbox) = &mut outboxes[place];
        outbox.buffer().extend_from_slice(message);
        outbox.commit(to);
        if outbox.len() == 1 {
            let office = self.clone();
            // It runs after the tasks that are ready by now.
            tokio::task::spawn_local(async move { office.send_all() });
        }
    }

    fn send_all(&self) {
        for (socket, outbox) in self.outboxes.borrow_mut().iter_mut() {
            self.desk.borrow().stats.unsent.add(outbox.send(socket) as u64);
        }
    }

    /// What still waits is answered without the answers that are missing.
    pub async fn finish(&self) {
        let end = Instant::now() + Duration::from_secs(1);
        let waits = || self.pending.borrow().values().any(|pending| pending.answer.borrow().is_none());
        while waits() && Instant::now() < end {
            sleep(Duration::from_millis(10)).await;
        }
        // What was made last.
        self.send_all();
    }
}

/// When all of a call's questions have to be answered.
pub fn until(screening: &Screening, now_ms: i64) -> Instant {
    let left = screening.poll_timeout().map_or(0, |deadline| (deadline - now_ms).max(0));
    Instant::now() + Duration::from_millis(left as u64)
}
