//! The way of calls from a worker to the thread that watches: a ring with one writer and one reader, no lock and no allocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use call::{Decided, Label, Reason, Rule, Treatment, TrunkClass, Verdict};
use journal::Record;
use numbering::{Key, Party};

/// Calls that wait in a ring: 2 MiB a worker.
const CALLS: usize = 1 << 16;
/// Words of a call: calling and called as keys, when, by which trunk and how.
const WORDS: usize = 4;
const DOUBTFUL: u64 = 1 << 16;

/// A call as it is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noted {
    /// Digits of E.164 as integers.
    pub calling: u64,
    pub called: u64,
    pub at_ms: i64,
    pub trunk: u16,
    /// A home number may be another's.
    pub is_doubtful: bool,
}

/// Whether a call was its caller's own doing, as far as the verdict says: refused by any other rule, its number was another's.
pub fn is_callers_own(verdict: &Verdict) -> bool {
    let Verdict { treatment, rule, reason, .. } = *verdict;
    treatment != Treatment::Block || rule == Rule::R18 || reason == Reason::OnBlockList
}

/// Whether a home number is its caller's, as far as anybody can know: from abroad its operator says so, or the trunk was brought in
/// for it; and no operator that was asked whether it made the call left it open.
pub fn is_vouched_for(class: TrunkClass, verdict: &Verdict) -> bool {
    let is_known = verdict.treatment == Treatment::Mark(Label::Verified) || verdict.rule == Rule::R06;
    verdict.rule != Rule::R15 && (is_known || !class.is_from_abroad())
}

#[inline]
fn key(party: Party) -> Option<u64> {
    Some(party.number()?.key().0)
}

pub struct Ring {
    words: Box<[AtomicU64]>,
    /// How many calls were ever written and read.
    written: AtomicUsize,
    read: AtomicUsize,
}

/// A worker's end of a ring; nobody else writes there.
pub struct Tail(Arc<Ring>);

impl Tail {
    /// Notes a call that counts; false where it finds no room.
    #[inline]
    pub fn note(&self, place: u16, record: &Record) -> bool {
        let Record { call, verdict, .. } = record;
        let judged = match verdict.decided {
            Decided::ByNetworkNumber => call.calling,
            Decided::ByPresentationNumber => call.presentation,
        };
        let (Some(calling), Some(called)) = (key(judged), key(call.called)) else { return true };
        if !is_callers_own(verdict) {
            return true;
        }
        let doubt = if is_vouched_for(call.class, verdict) { 0 } else { DOUBTFUL };
        self.0.push([calling, called, call.time_ms as u64, u64::from(place) | doubt])
    }
}

impl Ring {
    pub fn new() -> (Tail, Arc<Ring>) {
        let words = (0..CALLS * WORDS).map(|_| AtomicU64::new(0)).collect();
        let ring = Arc::new(Ring { words, written: AtomicUsize::new(0), read: AtomicUsize::new(0) });
        (Tail(ring.clone()), ring)
    }

    #[inline]
    fn push(&self, call: [u64; WORDS]) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        // Acquire: the reader is done with the place.
        if written.wrapping_sub(self.read.load(Ordering::Acquire)) >= CALLS {
            return false;
        }
        let start = (written & (CALLS - 1)) * WORDS;
        for (place, word) in self.words[start..start + WORDS].iter().zip(call) {
            place.store(word, Ordering::Relaxed);
        }
        // Release: who sees the count sees the words.
        self.written.store(written.wrapping_add(1), Ordering::Release);
        true
    }

    /// Takes what waits; called by one thread.
    pub fn take(&self, mut each: impl FnMut(Noted)) {
        let (first, written) = (self.read.load(Ordering::Relaxed), self.written.load(Ordering::Acquire));
        for n in 0..written.wrapping_sub(first) {
            let start = (first.wrapping_add(n) & (CALLS - 1)) * WORDS;
            let [calling, called, at_ms, how] =
                std::array::from_fn(|word| self.words[start + word].load(Ordering::Relaxed));
            // Numbers alone are noted, and each has its integer.
            let [calling, called] = [calling, called].map(|key| Key(key).integer().unwrap_or_default());
            let is_doubtful = how & DOUBTFUL != 0;
            each(Noted { calling, called, at_ms: at_ms as i64, trunk: how as u16, is_doubtful });
        }
        self.read.store(written, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use numbering::Number;

    use super::*;

    fn key(n: u64) -> u64 {
        Number::from_digits((77_000_000_000 + n).to_string().as_bytes()).unwrap().key().0
    }

    #[test]
    fn nothing_is_lost_or_torn_between_two_threads() {
        let (tail, ring) = Ring::new();
        let writer = std::thread::spawn(move || {
            let mut dropped = 0u64;
            for n in 0..400_000u64 {
                dropped += u64::from(!tail.0.push([key(n), key(n ^ 7), n, 3]));
            }
            dropped
        });
        let (mut taken, mut last) = (0u64, None);
        let mut take = || {
            ring.take(|call| {
                let n = call.at_ms as u64;
                let numbers = [n, n ^ 7].map(|n| 77_000_000_000 + n);
                assert_eq!(([call.calling, call.called], call.trunk), (numbers, 3));
                assert!(last.is_none_or(|last| last < call.calling) && !call.is_doubtful);
                (taken, last) = (taken + 1, Some(call.calling));
            });
        };
        while !writer.is_finished() {
            take();
        }
        take();
        assert_eq!(taken + writer.join().unwrap(), 400_000);
        // Nobody reads: a ring takes what it holds, and no more.
        let (tail, _ring) = Ring::new();
        assert_eq!((0..CALLS as u64 + 9).filter(|n| tail.0.push([*n, 0, 0, 0])).count(), CALLS);
    }
}
