//! A worker: one thread that answers SIP, with its own end of the journal.
//!
//! Over UDP: receive a batch, answer each message, send the batch. No lock, no log line, and after the first
//! calls no allocation. The configuration is one pointer that is looked at once a batch. Connections have the
//! same [`Desk`] ([`crate::stream`]).

use std::hash::RandomState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use call::Verdict;
use sip::{Parser, stretch};
use socket2::Socket;

use crate::config::Setup;
use crate::connections::Connections;
use crate::door::{Destination, Door, Moment, Peer};
use crate::exchange::Line;
use crate::retransmission::Recent;
use crate::stats::WorkerStats;
use crate::store::{Writer, now_ms};
use crate::udp::{self, CROWD, Inbox, Outbox};

/// What answering takes, whatever a message came by.
pub struct Desk {
    setup: arc_swap::Cache<Arc<ArcSwap<Setup>>, Arc<Setup>>,
    journal: Writer,
    pub stats: Arc<WorkerStats>,
    recent: Recent,
    parser: Parser,
    /// To those who ask other operators.
    line: Option<Line>,
}

impl Desk {
    pub fn new(
        setup: Arc<ArcSwap<Setup>>,
        journal: Writer,
        stats: Arc<WorkerStats>,
        state: RandomState,
        line: Option<Line>,
    ) -> Desk {
        let setup = arc_swap::Cache::new(setup);
        Desk { setup, journal, stats, recent: Recent::new(state), parser: Parser::new(), line }
    }

    /// The configuration in force.
    pub fn setup(&self) -> Arc<Setup> {
        self.setup.arc_swap().load_full()
    }

    /// All that is sent is of this node's own making.
    fn only_answers(&mut self) -> bool {
        self.setup.load().sip.proxy.is_none()
    }

    /// Looks after the journal; called now and then, also while no call comes.
    pub fn tick(&mut self) {
        self.journal.tick(now_ms());
    }

    /// Answers one message; `out` stays as it is where nothing is to be sent.
    pub fn answer(&mut self, message: &[u8], peer: Peer, out: &mut Vec<u8>) -> Destination {
        self.answer_at(message, peer, Moment { now_ms: now_ms(), started: Instant::now() }, None, out)
    }

    /// The same, with what came of a call that others were asked about, and when it came.
    pub fn conclude(
        &mut self,
        message: &[u8],
        peer: Peer,
        moment: Moment,
        verdict: Verdict,
        out: &mut Vec<u8>,
    ) -> Destination {
        self.answer_at(message, peer, moment, Some(verdict), out)
    }

    fn answer_at(
        &mut self,
        message: &[u8],
        peer: Peer,
        moment: Moment,
        settled: Option<Verdict>,
        out: &mut Vec<u8>,
    ) -> Destination {
        let start = out.len();
        let answered = catch_unwind(AssertUnwindSafe(|| {
            let (mut door, parser) = self.door(settled);
            door.handle(parser, message, peer, moment, out)
        }));
        answered.unwrap_or_else(|_| {
            // A bug: this call goes on unjudged by the switch's own time-out, the node goes on.
            out.truncate(start);
            self.stats.panics.add(1);
            peer.destination()
        })
    }

    /// Answers a message that cannot be taken, as far as it can be read.
    pub fn refuse(&mut self, message: &[u8], peer: Peer, status: &str, what: &str, out: &mut Vec<u8>) {
        let (mut door, parser) = self.door(None);
        door.refuse(parser, message, peer, status, what, out);
    }

    /// Answers a request by its status alone.
    pub fn answer_plainly(
        &mut self,
        message: &[u8],
        peer: Peer,
        status: &str,
        out: &mut Vec<u8>,
    ) -> Destination {
        let (mut door, parser) = self.door(None);
        door.answer_plainly(parser, message, peer, status, out)
    }

    fn door(&mut self, settled: Option<Verdict>) -> (Door<'_>, &mut Parser) {
        let Desk { setup, journal, stats, recent, parser, line } = self;
        let (setup, line, journal_failing) = (setup.load(), line.as_ref(), journal.is_failing());
        (Door { setup, recent, journal, stats, journal_failing, line, settled }, parser)
    }
}

/// How often the kernel is asked what it dropped, in milliseconds.
const LOOK_EVERY_MS: u64 = 100;
/// Of a crowd, answers are made as long as each other, in steps of so many bytes, to leave together.
const STEP: usize = 128;

/// What a UDP worker is given.
pub struct Worker {
    pub socket: Socket,
    pub desk: Desk,
    pub connections: Arc<Connections>,
    pub stop: Arc<AtomicBool>,
}

impl Worker {
    /// Runs until `stop` is set; the socket's patience bounds how long that takes.
    pub fn run(mut self) {
        let mut inbox = Inbox::new();
        let mut outbox = Outbox::default();
        let (mut dropped, mut looked_ms) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let received = match inbox.receive(&self.socket) {
                Ok(n) => n,
                Err(error) => {
                    // The socket itself is ill, not a message: do not spin on it.
                    eprintln!("receiving: {error}");
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    continue;
                }
            };
            let now_ms = now_ms();
            self.desk.journal.tick(now_ms);
            if now_ms.abs_diff(looked_ms) >= LOOK_EVERY_MS {
                looked_ms = now_ms;
                let drops = udp::dropped(&self.socket).unwrap_or(dropped);
                self.desk.stats.shed.add(drops.wrapping_sub(dropped).into());
                dropped = drops;
            }
            let stretches = received >= CROWD && self.desk.only_answers();
            for index in 0..received {
                let (message, source) = inbox.message(index);
                let peer = Peer { address: source, connection: None };
                let moment = Moment { now_ms, started: Instant::now() };
                match self.desk.answer_at(message, peer, moment, None, outbox.buffer()) {
                    Destination::Datagram(to) => {
                        if stretches {
                            let start = outbox.start();
                            stretch(outbox.buffer(), start, STEP);
                        }
                        outbox.commit(to);
                    }
                    Destination::Connection(id) => {
                        if !outbox.uncommitted().is_empty()
                            && !self.connections.send(id, outbox.uncommitted())
                        {
                            self.desk.stats.unsent.add(1);
                        }
                        outbox.discard();
                    }
                }
            }
            if !outbox.is_empty() {
                self.desk.stats.unsent.add(outbox.send(&self.socket) as u64);
            }
        }
    }
}
