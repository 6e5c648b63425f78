//! Keeps a window of calls open: each answer opens the next call.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::corpus::{self, Invite, SEQUENCE_DIGITS};
use crate::wire::{Datagrams, Streams, Wire};

/// What a load is.
#[derive(Clone, Copy)]
pub struct Load {
    pub target: SocketAddr,
    pub by: By,
    /// Calls open at a time.
    pub window: usize,
    pub warm_up: Duration,
    pub measured: Duration,
    pub seed: u64,
}

/// What a load is carried by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    Udp,
    /// Connections that stay open, some a trunk.
    Tcp,
    Tls,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub answered: u64,
    pub lost: u64,
    pub calls_per_s: f64,
    /// Microseconds from sent to answered.
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// Answers by the first digit of their status: 3xx, 6xx, others.
    pub redirected: u64,
    pub refused: u64,
    pub other: u64,
}

/// A call without an answer for so long is lost.
const PATIENCE: Duration = Duration::from_millis(500);

struct Slot {
    sequence: u64,
    sent: Instant,
}

/// Runs a load; `mark` is called when measuring begins and again when it ends.
pub fn run(load: &Load, mut mark: impl FnMut()) -> io::Result<Outcome> {
    let target = load.target.to_string();
    let pairs = corpus::pairs(load.seed);
    let invites: Vec<(usize, Invite)> =
        pairs.iter().map(|pair| (pair.trunk, Invite::new(pair, &target))).collect();
    let mut wire: Box<dyn Wire> = match load.by {
        By::Udp => Box::new(Datagrams::open(load.target, PATIENCE)?),
        By::Tcp | By::Tls => Box::new(Streams::open(load.target, load.by == By::Tls)?),
    };
    let mut slots: Vec<Slot> = (0..load.window).map(|_| Slot { sequence: 0, sent: Instant::now() }).collect();
    let mut round = 0u64;
    // A sequence number says its slot, so an answer finds its call without a search.
    let mut open = |slot: usize, slots: &mut [Slot], wire: &mut dyn Wire, now: Instant| {
        round += 1;
        let sequence = round * load.window as u64 + slot as u64;
        slots[slot] = Slot { sequence, sent: now };
        let (trunk, invite) = &invites[round as usize % invites.len()];
        wire.write(*trunk, &mut |out| invite.write(sequence, out));
    };
    let start = Instant::now();
    for slot in 0..load.window {
        open(slot, &mut slots, &mut *wire, start);
    }
    let (begin, end) = (start + load.warm_up, start + load.warm_up + load.measured);
    let mut measuring = false;
    let mut latencies_ns: Vec<u32> = Vec::with_capacity(4_000_000);
    let (mut lost, mut redirected, mut refused, mut other) = (0, 0, 0, 0);
    let mut looked_for_losses = start;
    let mut answered: Vec<(u64, u8)> = Vec::new();
    loop {
        wire.send()?;
        answered.clear();
        wire.receive(&mut |answer| answered.extend(read(answer)))?;
        let idle = answered.is_empty();
        let now = Instant::now();
        for &(sequence, class) in &answered {
            let slot = (sequence % load.window as u64) as usize;
            if slots[slot].sequence != sequence {
                continue; // A call already given up.
            }
            if measuring {
                latencies_ns.push((now - slots[slot].sent).as_nanos().min(u128::from(u32::MAX)) as u32);
                match class {
                    b'3' => redirected += 1,
                    b'6' => refused += 1,
                    _ => other += 1,
                }
            }
            open(slot, &mut slots, &mut *wire, now);
        }
        let now = Instant::now();
        if !measuring && now >= begin {
            measuring = true;
            mark();
        }
        if now >= end {
            break;
        }
        if now - looked_for_losses > Duration::from_millis(50) {
            looked_for_losses = now;
            for slot in 0..load.window {
                if now - slots[slot].sent > PATIENCE {
                    lost += u64::from(measuring);
                    open(slot, &mut slots, &mut *wire, now);
                }
            }
        }
        if idle {
            std::thread::yield_now();
        }
    }
    mark();
    let [p50_us, p99_us, p999_us] = percentiles(&mut latencies_ns);
    Ok(Outcome {
        answered: latencies_ns.len() as u64,
        lost,
        calls_per_s: latencies_ns.len() as f64 / load.measured.as_secs_f64(),
        p50_us,
        p99_us,
        p999_us,
        redirected,
        refused,
        other,
    })
}

/// The 50th, 99th and 99.9th percentile in microseconds.
pub fn percentiles(latencies_ns: &mut [u32]) -> [f64; 3] {
    latencies_ns.sort_unstable();
    let last = latencies_ns.len().saturating_sub(1);
    [0.5, 0.99, 0.999].map(|share| {
        let index = ((latencies_ns.len() as f64 * share) as usize).min(last);
        latencies_ns.get(index).map_or(0.0, |&ns| f64::from(ns) / 1000.0)
    })
}

/// Sequence number and status class of a final answer.
pub fn read(answer: &[u8]) -> Option<(u64, u8)> {
    let class = *answer.strip_prefix(b"SIP/2.0 ")?.first()?;
    if class == b'1' {
        return None;
    }
    let at = answer.windows(9).position(|window| window.eq_ignore_ascii_case(b"\nCall-ID:"))? + 9;
    let digits = answer[at..].trim_ascii_start().get(..SEQUENCE_DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(|sequence| (sequence, class))
}
