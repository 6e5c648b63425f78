//! Call records, and how a number behaves in a window of 24 h.
//!
//! Nothing here depends on the order of records, and a record that comes twice counts once. What a number keeps is bounded: beyond
//! [`SAMPLE`] called numbers an evenly drawn sample stands for all of them (bottom-k by hash: Bar-Yossef and others, 2002).

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use crate::chance::mixed;
use crate::signals::Thresholds;

pub(crate) const DAY_MS: i64 = 86_400_000;
/// Called numbers that are kept whole.
pub const SAMPLE: usize = 1024;
/// Places, telephones and trunks of one number that are told apart; more are as good as many.
const FEW: usize = 16;
/// Quarters of an hour: longer than any pause at work.
const NIGHT: usize = 20;
/// Calls of a number in a window that are looked at for coming twice.
const ONCE: usize = 1 << 16;

/// A call as it was recorded; what a record does not say is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallRecord {
    /// Digits of E.164 as an integer.
    pub calling: u64,
    pub called: u64,
    /// Ms since 1970.
    pub start_ms: i64,
    pub duration_s: Option<u32>,
    pub is_answered: Option<bool>,
    /// Trunks and cells by a number that the reader gave each name.
    pub trunk: Option<u64>,
    pub cell: Option<u64>,
    /// First 14 digits: 3GPP TS 23.003 section 6.2.
    pub imei: Option<u64>,
    pub imsi: Option<u64>,
}

impl CallRecord {
    /// A call that lasted was answered.
    pub(crate) fn whether_answered(&self) -> Option<bool> {
        self.is_answered.or(self.duration_s.map(|seconds| seconds > 0))
    }
}

/// Different values: all of them up to [`SAMPLE`], then those with the least hashes.
#[derive(Clone, Debug, Default)]
pub struct Distinct {
    values: Vec<u64>,
    /// How many at the front are in the order of their hashes, each once.
    sorted: usize,
    /// Hashes from here on are not in the sample.
    bar: Option<u64>,
}

impl Distinct {
    pub fn add(&mut self, value: u64) {
        if self.bar.is_some_and(|bar| mixed(value) >= bar) {
            return;
        }
        self.values.push(value);
        if self.values.len() >= 2 * SAMPLE {
            self.settle();
        }
    }

    /// Sorts, and keeps no more than the sample.
    pub(crate) fn settle(&mut self) {
        self.values.sort_unstable_by_key(|value| mixed(*value));
        self.values.dedup();
        if self.values.len() > SAMPLE {
            self.bar = Some(mixed(self.values[SAMPLE]));
            self.values.truncate(SAMPLE);
        }
        self.sorted = self.values.len();
    }

    /// How many there were; beyond the sample with an error of about 3 %.
    fn count(&self) -> f64 {
        debug_assert_eq!(self.sorted, self.values.len());
        match self.bar {
            None => self.values.len() as f64,
            Some(bar) => self.values.len() as f64 * (u64::MAX as f64 / bar.max(1) as f64),
        }
    }

    pub(crate) fn values(&self) -> &[u64] {
        &self.values
    }

    /// The share of all values of either that both have.
    pub(crate) fn jaccard(&self, other: &Distinct) -> f64 {
        let bar = self.bar.unwrap_or(u64::MAX).min(other.bar.unwrap_or(u64::MAX));
        let below = |values: &[u64]| values.iter().take_while(|value| mixed(**value) < bar).count();
        let (a, b) = (&self.values[..below(&self.values)], &other.values[..below(&other.values)]);
        let (mut i, mut j, mut both) = (0, 0, 0usize);
        while i < a.len() && j < b.len() {
            match mixed(a[i]).cmp(&mixed(b[j])) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => (i, j, both) = (i + 1, j + 1, both + 1),
            }
        }
        both as f64 / (a.len() + b.len() - both).max(1) as f64
    }
}

/// A few values told apart, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Few(Vec<u64>);

impl Few {
    pub(crate) fn add(&mut self, value: u64) {
        // The least ones stay, so the order in which they come does not matter.
        if let Err(place) = self.0.binary_search(&value) {
            self.0.insert(place, value);
            self.0.truncate(FEW);
        }
    }

    pub fn values(&self) -> &[u64] {
        &self.0
    }
}

/// What a number did in a window.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub number: u64,
    /// Days since 1970, of the clock that the hunt is told.
    pub day: i64,
    pub outgoing: u32,
    /// From numbers that are not looked at themselves: SIMs of one gateway call each other, to look like those of people.
    pub incoming: u32,
    pub(crate) called: Distinct,
    /// Of `outgoing`: whether they were answered is known, they were, and how long is known.
    pub known: u32,
    pub answered: u32,
    pub timed: u32,
    /// Answered calls under [`Thresholds::short_s`] and over [`Thresholds::long_s`].
    pub short: u32,
    pub long: u32,
    /// Calls with a cell.
    pub placed: u32,
    pub cells: Few,
    pub imeis: Few,
    pub trunks: Few,
    /// Calls in each quarter of an hour.
    pub quarters: [u16; 96],
    /// Days since it was first seen, where records reach far enough back to say so.
    pub age_days: Option<u32>,
    /// Most IMSIs that one of its telephones had within 7 days.
    pub imsis: u32,
    pub(crate) once: HashSet<u64>,
    /// Incoming ones from numbers that may be looked at themselves.
    pub(crate) from_busy: HashMap<u64, u32>,
    /// Outgoing ones with those that came twice.
    pub(crate) recorded: u32,
}

impl Behaviour {
    pub(crate) fn new(number: u64, day: i64) -> Behaviour {
        Behaviour {
            number,
            day,
            outgoing: 0,
            incoming: 0,
            called: Distinct::default(),
            known: 0,
            answered: 0,
            timed: 0,
            short: 0,
            long: 0,
            placed: 0,
            cells: Few::default(),
            imeis: Few::default(),
            trunks: Few::default(),
            quarters: [0; 96],
            age_days: None,
            imsis: 0,
            once: HashSet::new(),
            from_busy: HashMap::new(),
            recorded: 0,
        }
    }

    pub(crate) fn is_new(&mut self, record: &CallRecord) -> bool {
        let key = mixed(record.calling ^ mixed(record.called ^ mixed(record.start_ms as u64)));
        self.once.len() >= ONCE || self.once.insert(key)
    }

    pub(crate) fn call_out(&mut self, record: &CallRecord, quarter: usize, thresholds: &Thresholds) {
        self.outgoing = self.outgoing.saturating_add(1);
        self.called.add(record.called);
        let is_answered = record.whether_answered();
        self.known += u32::from(is_answered.is_some());
        self.answered += u32::from(is_answered == Some(true));
        if let Some(seconds) = record.duration_s.filter(|_| is_answered == Some(true)) {
            self.timed += 1;
            self.short += u32::from(seconds < thresholds.short_s);
            self.long += u32::from(seconds > thresholds.long_s);
        }
        if let Some(cell) = record.cell {
            self.placed += 1;
            self.cells.add(cell);
        }
        record.imei.into_iter().for_each(|imei| self.imeis.add(imei));
        record.trunk.into_iter().for_each(|trunk| self.trunks.add(trunk));
        self.quarters[quarter] = self.quarters[quarter].saturating_add(1);
    }

    /// Different numbers called for each call, 0 to 1.
    pub fn spread(&self) -> f64 {
        (self.called.count() / f64::from(self.outgoing.max(1))).min(1.0)
    }

    pub(crate) fn shares_trunk(&self, other: &Behaviour) -> bool {
        self.trunks.values().iter().any(|trunk| other.trunks.values().contains(trunk))
    }

    /// Quarters of an hour without a call between the first and the last, a bit each; a night is no pause, for all have it.
    pub(crate) fn pauses(&self) -> u128 {
        let busy: Vec<usize> = (0..self.quarters.len()).filter(|n| self.quarters[*n] > 0).collect();
        let gaps = busy.windows(2).map(|pair| pair[0] + 1..pair[1]).filter(|gap| gap.len() <= NIGHT);
        gaps.flatten().fold(0, |bits, n| bits | 1 << n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_share_is_counted_from_samples() {
        let mut one = Distinct::default();
        let mut two = Distinct::default();
        (0..9000).for_each(|n| one.add(n));
        (4500..13_500).for_each(|n| two.add(n));
        one.settle();
        two.settle();
        // 4,500 of 13,500.
        assert!((one.jaccard(&two) - 1.0 / 3.0).abs() < 0.05, "{}", one.jaccard(&two));
    }
}
