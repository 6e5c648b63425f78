//! A worker: one thread, one UDP socket, one end of the journal.
//!
//! Receive a batch, answer each message, send the batch. No lock, no log line, and after the first calls no
//! allocation. The configuration is one pointer that is looked at once a batch.

use std::hash::RandomState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use sip::Parser;
use socket2::Socket;

use crate::config::Setup;
use crate::door::{Door, Moment};
use crate::retransmission::Recent;
use crate::stats::WorkerStats;
use crate::store::{Writer, now_ms};
use crate::udp::{Inbox, Outbox};

/// What a worker is given.
pub struct Worker {
    pub socket: Socket,
    pub setup: Arc<ArcSwap<Setup>>,
    pub journal: Writer,
    pub stats: Arc<WorkerStats>,
    pub state: RandomState,
    pub stop: Arc<AtomicBool>,
}

impl Worker {
    /// Runs until `stop` is set; the socket's patience bounds how long that takes.
    pub fn run(mut self) {
        let mut inbox = Inbox::new();
        let mut outbox = Outbox::default();
        let mut parser = Parser::new();
        let mut recent = Recent::new(self.state.clone());
        let mut setup = arc_swap::Cache::new(self.setup.clone());
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
            self.journal.tick(now_ms);
            let mut door = Door {
                setup: setup.load(),
                recent: &mut recent,
                journal_failing: self.journal.is_failing(),
                journal: &mut self.journal,
                stats: &self.stats,
            };
            for index in 0..received {
                let (message, source) = inbox.message(index);
                let moment = Moment { now_ms, started: Instant::now() };
                let answered = catch_unwind(AssertUnwindSafe(|| {
                    door.handle(&mut parser, message, source, moment, outbox.buffer())
                }));
                match answered {
                    Ok(target) => outbox.commit(target),
                    // A bug: this call goes on unjudged by the switch's own time-out, the node goes on.
                    Err(_) => {
                        outbox.discard();
                        self.stats.panics.add(1);
                    }
                }
            }
            if !outbox.is_empty() {
                self.stats.unsent.add(outbox.send(&self.socket) as u64);
            }
        }
    }
}
