//! The TCP and TLS connections that are open: how many from where, and how to reach one from another thread.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::config::Limits;

/// Names a connection as long as the node runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Messages that may wait for one connection; a peer that reads no faster loses what comes after.
const WAITING: usize = 1024;

/// Every open connection of a node.
#[derive(Default)]
pub struct Connections {
    open: Mutex<Open>,
    next: AtomicU64,
    /// Connections turned away because there were too many, in all or from one source.
    pub refused: AtomicU64,
    /// TLS handshakes that failed, and why the last did.
    pub failed_handshakes: AtomicU64,
    last_failure: Mutex<String>,
    /// Closed because a message, or reading an answer, took too long.
    pub too_slow: AtomicU64,
    /// Closed because what they sent cannot be cut into messages.
    pub unframed: AtomicU64,
}

#[derive(Default)]
struct Open {
    by_id: HashMap<u64, Sender<Vec<u8>>>,
    by_source: HashMap<IpAddr, usize>,
}

/// A connection's place among those that are open; given up when dropped.
pub struct Place<'c> {
    connections: &'c Connections,
    pub id: ConnectionId,
    source: IpAddr,
    /// What other threads want sent.
    pub outside: Receiver<Vec<u8>>,
}

impl Connections {
    /// A place for a new connection; none when there are too many.
    pub fn admit(&self, source: IpAddr, limits: &Limits) -> Option<Place<'_>> {
        let mut open = self.open.lock().expect("no panic inside");
        let of_source = open.by_source.get(&source).copied().unwrap_or(0);
        if open.by_id.len() >= limits.connections || of_source >= limits.connections_per_source {
            drop(open);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let id = ConnectionId(self.next.fetch_add(1, Ordering::Relaxed));
        let (give, outside) = channel(WAITING);
        open.by_id.insert(id.0, give);
        open.by_source.insert(source, of_source + 1);
        Some(Place { connections: self, id, source, outside })
    }

    /// Hands a message to a connection; false when it is gone or does not read.
    pub fn send(&self, to: ConnectionId, message: &[u8]) -> bool {
        let open = self.open.lock().expect("no panic inside");
        open.by_id.get(&to.0).is_some_and(|give| give.try_send(message.to_vec()).is_ok())
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.lock().expect("no panic inside").by_id.len()
    }

    pub fn last_failure(&self) -> String {
        self.last_failure.lock().expect("no panic inside").clone()
    }

    pub fn handshake_failed(&self, why: String) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock().expect("no panic inside") = why;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().expect("no panic inside");
        open.by_id.remove(&self.id.0);
        if let Some(n) = open.by_source.get_mut(&self.source) {
            *n -= 1;
            if *n == 0 {
                open.by_source.remove(&self.source);
            }
        }
    }
}
