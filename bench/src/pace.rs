//! A load at a pace of its own: calls come when they come, answered or not, as they do at a switch.
//!
//! A call waits from the moment it was due, so what stalls the load itself counts too, but in a flood.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::corpus::{self, Invite};
use crate::load::{percentiles, read};
use crate::wire::{Datagrams, Wire};

pub struct Pace {
    pub target: SocketAddr,
    pub calls_per_s: f64,
    /// More than can be kept to: calls that are late come when they can, and wait from then on.
    pub flood: bool,
    pub warm_up: Duration,
    pub measured: Duration,
    pub seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Waited {
    pub sent: u64,
    pub answered: u64,
    /// Calls a second that really came and that were answered.
    pub offered_per_s: f64,
    pub answered_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
}

/// Sequence numbers that are remembered: as many calls as can be on their way.
const OPEN: usize = 1 << 20;
/// Calls that are sent before answers are looked for.
const BURST: usize = 192;
/// An answer is waited for so long after the last call.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the load sleeps where there is nothing to do: a core that never rests is one that a host takes away now and
/// then, for milliseconds, and with it the node's.
const IDLE: Duration = Duration::from_micros(10);

/// Runs a load; `mark` is called when measuring begins and again when it ends.
pub fn run(pace: &Pace, mut mark: impl FnMut()) -> io::Result<Waited> {
    let target = pace.target.to_string();
    let pairs = corpus::pairs(pace.seed);
    let invites: Vec<(usize, Invite)> =
        pairs.iter().map(|pair| (pair.trunk, Invite::new(pair, &target))).collect();
    let mut wire = Datagrams::open(pace.target, PATIENCE)?;
    let start = Instant::now();
    let due = |call: u64| Duration::from_secs_f64(call as f64 / pace.calls_per_s);
    let (begin, end) = (pace.warm_up, pace.warm_up + pace.measured);
    let mut waited = Waited::default();
    let mut latencies_ns: Vec<u32> = Vec::with_capacity(1 << 22);
    // What each call that is on its way was due at; 0: answered.
    let mut open = vec![0u64; OPEN];
    let (mut next, mut marks) = (1u64, 0);
    loop {
        let now = start.elapsed();
        if marks == 0 && now >= begin {
            marks = 1;
            mark();
        }
        if now >= end && marks == 1 {
            marks = 2;
            mark();
        }
        if now >= end + PATIENCE {
            break;
        }
        let mut burst = 0;
        while now < end && burst < BURST && due(next) <= now {
            let at = if pace.flood { now } else { due(next) };
            open[next as usize % OPEN] = at.as_nanos() as u64;
            let (trunk, invite) = &invites[next as usize % invites.len()];
            wire.write(*trunk, &mut |out| invite.write(next, out));
            waited.sent += u64::from(at >= begin);
            burst += 1;
            next += 1;
        }
        wire.send()?;
        let mut answers = 0;
        wire.receive(&mut |answer| {
            let Some((sequence, _)) = read(answer) else { return };
            answers += 1;
            let due_ns = std::mem::take(&mut open[sequence as usize % OPEN]);
            if due_ns >= begin.as_nanos() as u64 && due_ns > 0 {
                let late = (start.elapsed().as_nanos() as u64).saturating_sub(due_ns);
                latencies_ns.push(late.min(u64::from(u32::MAX)) as u32);
            }
        })?;
        if burst == 0 && answers == 0 {
            std::thread::sleep(IDLE);
        }
    }
    waited.answered = latencies_ns.len() as u64;
    let seconds = pace.measured.as_secs_f64();
    waited.offered_per_s = waited.sent as f64 / seconds;
    waited.answered_per_s = waited.answered as f64 / seconds;
    [waited.p50_us, waited.p99_us, waited.p999_us] = percentiles(&mut latencies_ns);
    Ok(waited)
}
