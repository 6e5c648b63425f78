//! What one number did by one trunk in the last 24 hours, in memory that does not grow, and how its calls went as far as their
//! records have come.
//!
//! Called numbers are kept whole up to [`SAMPLE`]; beyond it every second, fourth … block of four neighbours (sampling by levels:
//! Gibbons, 2001), so runs stay runs, and two numbers keep the same blocks. A called number bears the hour of its last call and
//! goes when that leaves the window.

use crate::chance::mixed;
use crate::records::CallRecord;
use crate::signals::{Talks, Thresholds};

/// The window, and the steps in which it slides.
pub const HOURS: usize = 24;
/// Called numbers kept of one number.
pub const SAMPLE: usize = 256;
/// An hour in a sampled word: 14 bits, more than a year and a half.
const HOUR_BITS: u32 = 14;
const HOUR_MASK: u64 = (1 << HOUR_BITS) - 1;
/// Cells and telephones that are told apart; more are as good as many.
const FEW: usize = 6;

/// The place of an hour since 1970 in a ring of the window.
fn place(hour: i64) -> usize {
    hour.rem_euclid(HOURS as i64) as usize
}

fn sum(hours: &[u32; HOURS]) -> u32 {
    hours.iter().fold(0, |sum, calls| sum.saturating_add(*calls))
}

fn stamped(value: u64, hour: i64) -> u64 {
    value << HOUR_BITS | hour as u64 & HOUR_MASK
}

/// Whether the hour of a stamped word is one of the window that ends with `hour`.
fn is_within(word: u64, hour: i64) -> bool {
    (hour as u64).wrapping_sub(word) & HOUR_MASK < HOURS as u64
}

/// The last of different values, each with the hour of its last call; 0: none.
#[derive(Clone, Copy, Debug, Default)]
struct Few([u64; FEW]);

impl Few {
    /// Whoever has room for no more forgets the oldest: there are many all the same.
    fn add(&mut self, value: u64, hour: i64) {
        let word = stamped(value, hour);
        let age = |word: &u64| (hour as u64).wrapping_sub(*word) & HOUR_MASK;
        if let Some(known) = self.0.iter_mut().find(|known| **known >> HOUR_BITS == word >> HOUR_BITS) {
            *known = if is_within(*known, hour) { word } else { *known };
            return;
        }
        let place = (0..FEW).max_by_key(|place| match self.0[*place] {
            0 => u64::MAX,
            known => age(&known),
        });
        self.0[place.expect("several")] = word;
    }

    fn values(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().filter(|word| **word != 0).map(|word| word >> HOUR_BITS)
    }

    fn keep(&mut self, keeps: impl Fn(u64) -> bool) {
        self.0.iter_mut().filter(|word| !keeps(**word)).for_each(|word| *word = 0);
    }
}

/// What records said of the calls of an hour.
#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    known: u16,
    answered: u16,
    timed: u16,
    odd: u16,
    placed: u16,
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
    /// How many of these there were at least, and the hour from which on it is watched.
    unseen: u32,
    since: i64,
    outgoing: [u32; HOURS],
    incoming: [u32; HOURS],
    /// When it last called; ms since 1970.
    pub last_ms: i64,
    /// The most that another number called of the same, and that several on its trunk did; 0: none.
    pub same_called: f64,
    pub same_pool: f64,
    /// How many that stay where it stays call strangers; 0: it does not stay.
    pub crowd: usize,
    /// The most SIMs that one of its telephones had.
    pub sims: u32,
    told: [Hour; HOURS],
    cells: Few,
    telephones: Few,
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
            unseen: 0,
            since: 0,
            outgoing: [0; HOURS],
            incoming: [0; HOURS],
            last_ms: i64::MIN,
            same_called: 0.0,
            same_pool: 0.0,
            crowd: 0,
            sims: 0,
            told: [Hour::default(); HOURS],
            cells: Few::default(),
            telephones: Few::default(),
            level: 0,
            len: 0,
            sample: [0; SAMPLE],
        }
    }

    /// It is watched from this hour on; it had made so many calls.
    pub fn begins(&mut self, unseen: u32, hour: i64) {
        (self.unseen, self.since) = (unseen, hour);
    }

    /// It called.
    pub fn calls(&mut self, called: u64, hour: i64, at_ms: i64) {
        let calls = &mut self.outgoing[place(hour)];
        *calls = calls.saturating_add(1);
        self.last_ms = self.last_ms.max(at_ms);
        if !is_sampled(called, self.level) {
            return;
        }
        let stamped = stamped(called, hour);
        if let Some(known) =
            self.sample[..usize::from(self.len)].iter_mut().find(|word| **word >> HOUR_BITS == called)
        {
            // What came late does not make it older.
            *known = if is_within(*known, hour) { stamped } else { *known };
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

    /// How one of its calls went.
    pub fn told(&mut self, record: &CallRecord, hour: i64, thresholds: &Thresholds) {
        let told = &mut self.told[place(hour)];
        let count = |count: &mut u16, is: bool| *count = count.saturating_add(u16::from(is));
        let is_answered = record.whether_answered();
        count(&mut told.known, is_answered.is_some());
        count(&mut told.answered, is_answered == Some(true));
        if let Some(seconds) = record.duration_s.filter(|_| is_answered == Some(true)) {
            count(&mut told.timed, true);
            count(&mut told.odd, seconds < thresholds.short_s || seconds > thresholds.long_s);
        }
        if let Some(cell) = record.cell {
            count(&mut told.placed, true);
            self.cells.add(mixed(cell) >> HOUR_BITS, hour);
        }
        if let Some(imei) = record.imei.filter(|imei| *imei > 0) {
            self.telephones.add(imei << HOUR_BITS >> HOUR_BITS, hour);
        }
    }

    pub fn talks(&self) -> Talks {
        let sum = |of: fn(&Hour) -> u16| self.told.iter().map(|told| u32::from(of(told))).sum();
        Talks {
            known: sum(|told| told.known),
            answered: sum(|told| told.answered),
            timed: sum(|told| told.timed),
            odd: sum(|told| told.odd),
        }
    }

    /// Calls of which the cell is known.
    pub fn placed(&self) -> u32 {
        self.told.iter().map(|told| u32::from(told.placed)).sum()
    }

    /// Hashes of the cells that it called from; many where there is no room for more.
    pub fn cells(&self) -> impl Iterator<Item = u64> + '_ {
        self.cells.values()
    }

    pub fn number_of_cells(&self) -> u32 {
        match self.cells().count() {
            FEW => u32::MAX,
            few => few as u32,
        }
    }

    /// First 14 digits of IMEIs.
    pub fn telephones(&self) -> impl Iterator<Item = u64> + '_ {
        self.telephones.values()
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
            self.told[place(passed)] = Hour::default();
        }
        if hour - self.since >= HOURS as i64 {
            self.unseen = 0;
        }
        self.keep(|word| is_within(word, hour));
        self.cells.keep(|word| is_within(word, hour));
        self.telephones.keep(|word| is_within(word, hour));
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

    /// Incoming calls for each outgoing one: of before it was watched both count.
    pub fn called_back(&self) -> f64 {
        f64::from(self.incoming()) / f64::from(self.outgoing().saturating_add(self.unseen).max(1))
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
