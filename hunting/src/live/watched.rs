//! What one number did by one trunk in the last 24 hours, in memory that does not grow.
//!
//! Called numbers are kept whole up to [`SAMPLE`]; beyond it every second, fourth … block of four neighbours (sampling by levels:
//! Gibbons, 2001), so runs stay runs, and two numbers keep the same blocks. A called number bears the hour of its last call and
//! goes when that leaves the window.

use crate::chance::mixed;

/// The window, and the steps in which it slides.
pub const HOURS: usize = 24;
/// Called numbers kept of one number.
pub const SAMPLE: usize = 256;
/// An hour in a sampled word: 14 bits, more than a year and a half.
const HOUR_BITS: u32 = 14;
const HOUR_MASK: u64 = (1 << HOUR_BITS) - 1;

/// The place of an hour since 1970 in a ring of the window.
fn place(hour: i64) -> usize {
    hour.rem_euclid(HOURS as i64) as usize
}

fn sum(hours: &[u32; HOURS]) -> u32 {
    hours.iter().fold(0, |sum, calls| sum.saturating_add(*calls))
}

/// Whether a called number is in samples of this level.
fn is_sampled(called: u64, level: u8) -> bool {
    // Neighbours are kept together.
    mixed(called >> 2).trailing_zeros() >= u32::from(level)
}

#[derive(Clone, Debug)]
pub struct Watched {
    /// Digits of E.164 as an integer; 0: nobody, the place is free.
    pub number: u64,
    pub trunk: u16,
    /// The next of the same number, by another trunk.
    pub next: u32,
    /// Calls it made before it was watched, at most: only who gives way to whom depends on it.
    pub before: u32,
    outgoing: [u32; HOURS],
    incoming: [u32; HOURS],
    /// When it last called; ms since 1970.
    pub last_ms: i64,
    /// The most that another number called of the same, and that several on its trunk did; 0: none.
    pub same_called: f64,
    pub same_pool: f64,
    level: u8,
    len: u16,
    sample: [u64; SAMPLE],
}

impl Watched {
    pub fn new(number: u64, trunk: u16) -> Watched {
        Watched {
            number,
            trunk,
            next: u32::MAX,
            before: 0,
            outgoing: [0; HOURS],
            incoming: [0; HOURS],
            last_ms: i64::MIN,
            same_called: 0.0,
            same_pool: 0.0,
            level: 0,
            len: 0,
            sample: [0; SAMPLE],
        }
    }

    /// It called.
    pub fn calls(&mut self, called: u64, hour: i64, at_ms: i64) {
        let calls = &mut self.outgoing[place(hour)];
        *calls = calls.saturating_add(1);
        self.last_ms = self.last_ms.max(at_ms);
        if !is_sampled(called, self.level) {
            return;
        }
        let stamped = called << HOUR_BITS | hour as u64 & HOUR_MASK;
        if let Some(known) =
            self.sample[..usize::from(self.len)].iter_mut().find(|word| **word >> HOUR_BITS == called)
        {
            // What came late does not make it older.
            let is_later = (hour as u64).wrapping_sub(*known) & HOUR_MASK < HOURS as u64;
            *known = if is_later { stamped } else { *known };
            return;
        }
        while usize::from(self.len) == SAMPLE {
            self.level += 1;
            let level = self.level;
            self.keep(|word| is_sampled(word >> HOUR_BITS, level));
        }
        if is_sampled(called, self.level) {
            self.sample[usize::from(self.len)] = stamped;
            self.len += 1;
        }
    }

    /// It was called, so many times.
    pub fn is_called(&mut self, times: u32, hour: i64) {
        let calls = &mut self.incoming[place(hour)];
        *calls = calls.saturating_add(times);
    }

    fn keep(&mut self, keeps: impl Fn(u64) -> bool) {
        let mut kept = 0;
        for n in 0..usize::from(self.len) {
            if keeps(self.sample[n]) {
                self.sample[kept] = self.sample[n];
                kept += 1;
            }
        }
        self.len = kept as u16;
    }

    /// The window slides to `hour`, the hours between are empty; `hour` is at most a window ahead.
    pub fn slide(&mut self, from: i64, hour: i64) {
        for passed in from + 1..=hour {
            self.outgoing[place(passed)] = 0;
            self.incoming[place(passed)] = 0;
        }
        self.keep(|word| (hour as u64).wrapping_sub(word) & HOUR_MASK < HOURS as u64);
        // Few are left: take every second block again. Those passed over are missing for a while, which makes no suspect.
        if self.level > 0 && usize::from(self.len) < SAMPLE / 8 {
            self.level -= 1;
        }
    }

    pub fn outgoing(&self) -> u32 {
        sum(&self.outgoing)
    }

    pub fn incoming(&self) -> u32 {
        sum(&self.incoming)
    }

    /// Different numbers called; beyond the sample with an error of about 10 %.
    pub fn distinct(&self) -> f64 {
        f64::from(self.len) * (1u64 << self.level.min(63)) as f64
    }

    /// Different numbers called for each call, 0 to 1.
    pub fn spread(&self) -> f64 {
        (self.distinct() / f64::from(self.outgoing().max(1))).min(1.0)
    }

    /// Incoming calls for each outgoing one.
    pub fn called_back(&self) -> f64 {
        f64::from(self.incoming()) / f64::from(self.outgoing().max(1))
    }

    /// Called numbers of the sample, in no order.
    pub fn called(&self) -> impl Iterator<Item = u64> + '_ {
        self.sample[..usize::from(self.len)].iter().map(|word| word >> HOUR_BITS)
    }

    /// The share of all numbers called by either that both called, as far as both samples reach.
    pub fn jaccard(&self, other: &Watched) -> f64 {
        let level = self.level.max(other.level);
        let of = |watched: &Watched| {
            let mut called: Vec<u64> = watched.called().filter(|called| is_sampled(*called, level)).collect();
            called.sort_unstable();
            called
        };
        let (a, b) = (of(self), of(other));
        let both = a.iter().filter(|called| b.binary_search(called).is_ok()).count();
        both as f64 / (a.len() + b.len() - both).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billions_of_calls_are_many_and_never_few() {
        let mut watched = Watched::new(1, 0);
        for hour in 100..100 + HOURS as i64 {
            (0..3).for_each(|_| watched.is_called(u32::MAX, hour));
        }
        assert_eq!(watched.incoming(), u32::MAX);
        watched.calls(2, 123, 0);
        assert_eq!((watched.outgoing(), watched.called_back()), (1, f64::from(u32::MAX)));
        watched.slide(123, 147);
        assert_eq!((watched.outgoing(), watched.incoming(), watched.distinct()), (0, 0, 0.0));
    }
}
