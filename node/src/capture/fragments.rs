//! IP packets put together again from their fragments (RFC 791, RFC 8200 section 4.5).
//!
//! Bounded: pieces wait 30 seconds for the others, and no more than 32 MiB of them wait at once.

use std::collections::HashMap;
use std::net::IpAddr;

use etherparse::IpNumber;
use etherparse::defrag::IpDefragBuf;

use super::frame::Ip;

const PATIENCE_MS: u64 = 30_000;
/// The same packet seen on two interfaces comes twice within this time, and is whole already.
const ECHO_MS: u64 = 1_000;
const MOST_BYTES: usize = 32 << 20;
const MOST_PACKETS: usize = 65_536;

#[derive(Default)]
pub struct Fragments {
    waiting: HashMap<Key, Waiting>,
    bytes: usize,
    /// Packets of which not every piece was seen in time.
    pub lost: u64,
}

type Key = (IpAddr, IpAddr, u32, u8);

struct Waiting {
    /// None once the packet was whole.
    pieces: Option<IpDefragBuf>,
    at_ms: i64,
}

impl Fragments {
    /// Takes a fragment; gives protocol and payload of the packet that it makes whole.
    pub fn add(&mut self, ip: &Ip, time_ms: i64) -> Option<(IpNumber, Vec<u8>)> {
        let fragment = ip.fragment?;
        if self.bytes > MOST_BYTES || self.waiting.len() >= MOST_PACKETS {
            self.shed(time_ms);
        }
        // IPv6 tells packets apart without the protocol, which only the first piece is sure to say.
        let protocol = if ip.source.is_ipv4() { ip.protocol.0 } else { 0 };
        let key = (ip.source, ip.destination, fragment.id, protocol);
        let fresh = || Waiting {
            pieces: Some(IpDefragBuf::new(ip.protocol, Vec::new(), Vec::new())),
            at_ms: time_ms,
        };
        let waiting = self.waiting.entry(key).or_insert_with(fresh);
        let life = if waiting.pieces.is_some() { PATIENCE_MS } else { ECHO_MS };
        if time_ms.abs_diff(waiting.at_ms) > life {
            self.lost += u64::from(waiting.pieces.is_some());
            self.bytes -= waiting.pieces.as_ref().map_or(0, |pieces| pieces.data().len());
            *waiting = fresh();
        }
        let pieces = waiting.pieces.as_mut()?;
        let before = pieces.data().len();
        // A piece that contradicts the others is passed over, as a receiver would.
        let _ = pieces.add(fragment.offset, fragment.has_more, ip.payload);
        self.bytes = self.bytes + pieces.data().len() - before;
        if !pieces.is_complete() {
            return None;
        }
        let pieces = waiting.pieces.take()?;
        self.bytes -= pieces.data().len();
        waiting.at_ms = time_ms;
        Some((pieces.ip_number(), pieces.take_bufs().0))
    }

    /// Forgets what waited too long, or, where all is young, everything.
    fn shed(&mut self, time_ms: i64) {
        let before = self.waiting.len();
        let mut lost = 0;
        self.waiting.retain(|_, waiting| {
            let life = if waiting.pieces.is_some() { PATIENCE_MS } else { ECHO_MS };
            let stays = time_ms.abs_diff(waiting.at_ms) <= life;
            lost += u64::from(!stays && waiting.pieces.is_some());
            stays
        });
        self.lost += lost;
        if self.waiting.len() > before / 2 {
            self.end();
        }
        self.bytes =
            self.waiting.values().flat_map(|waiting| &waiting.pieces).map(|pieces| pieces.data().len()).sum();
    }

    /// Nothing comes any more.
    pub fn end(&mut self) {
        self.lost += self.waiting.values().filter(|waiting| waiting.pieces.is_some()).count() as u64;
        self.waiting.clear();
    }
}
