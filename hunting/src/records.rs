//! Call records, and how a number behaves in a window of 24 h.
//!
//! Nothing here depends on the order of records, and a record that comes twice counts once. What a number keeps is bounded: beyond
//! [`SAMPLE`] called numbers an evenly drawn sample stands for all of them (bottom-k by hash: Bar-Yossef and others, 2002).

use std::collections::{HashMap, HashSet};

use crate::chance::mixed;
use crate::signals::Thresholds;

pub(crate) const DAY_MS: i64 = 86_400_000;
const WEEK_DAYS: i64 = 7;
/// Called numbers that are kept whole.
pub const SAMPLE: usize = 1024;
/// Places, telephones and trunks of one number that are told apart; more are as good as many.
const FEW: usize = 16;
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
    pub trunk: Option<u32>,
    pub cell: Option<u32>,
    /// First 14 digits: 3GPP TS 23.003 section 6.2.
    pub imei: Option<u64>,
    pub imsi: Option<u64>,
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
    fn settle(&mut self) {
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
    fn add(&mut self, value: u64) {
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
    once: HashSet<u64>,
    /// Records of its calls, with those that came twice.
    seen: u32,
}

impl Behaviour {
    fn new(number: u64, day: i64) -> Behaviour {
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
            seen: 0,
        }
    }

    fn is_new(&mut self, record: &CallRecord) -> bool {
        let key = mixed(record.calling ^ mixed(record.called ^ mixed(record.start_ms as u64)));
        self.once.len() >= ONCE || self.once.insert(key)
    }

    fn call_out(&mut self, record: &CallRecord, quarter: usize, thresholds: &Thresholds) {
        self.outgoing = self.outgoing.saturating_add(1);
        self.called.add(record.called);
        // A call that lasted was answered.
        let is_answered = record.is_answered.or(record.duration_s.map(|seconds| seconds > 0));
        self.known += u32::from(is_answered.is_some());
        self.answered += u32::from(is_answered == Some(true));
        if let Some(seconds) = record.duration_s.filter(|_| is_answered == Some(true)) {
            self.timed += 1;
            self.short += u32::from(seconds < thresholds.short_s);
            self.long += u32::from(seconds > thresholds.long_s);
        }
        if let Some(cell) = record.cell {
            self.placed += 1;
            self.cells.add(u64::from(cell));
        }
        record.imei.into_iter().for_each(|imei| self.imeis.add(imei));
        record.trunk.into_iter().for_each(|trunk| self.trunks.add(u64::from(trunk)));
        self.quarters[quarter] = self.quarters[quarter].saturating_add(1);
    }

    /// Different numbers called for each call, 0 to 1.
    pub fn spread(&self) -> f64 {
        (self.called.count() / f64::from(self.outgoing.max(1))).min(1.0)
    }

    /// The share of called numbers with another called one at most `gap` away.
    pub fn in_runs(&self, gap: u64) -> f64 {
        let mut called = self.called.values().to_vec();
        called.sort_unstable();
        let near = |a: usize, b: usize| called[b] - called[a] <= gap;
        let is_in = |n: usize| (n > 0 && near(n - 1, n)) || (n + 1 < called.len() && near(n, n + 1));
        (0..called.len()).filter(|n| is_in(*n)).count() as f64 / called.len().max(1) as f64
    }

    pub(crate) fn shares_trunk(&self, other: &Behaviour) -> bool {
        self.trunks.values().iter().any(|trunk| other.trunks.values().contains(trunk))
    }

    /// Quarters of an hour without a call between the first and the last, a bit each.
    pub(crate) fn pauses(&self) -> u128 {
        let first = self.quarters.iter().position(|calls| *calls > 0).unwrap_or(0);
        let last = self.quarters.iter().rposition(|calls| *calls > 0).unwrap_or(0);
        (first..last).filter(|n| self.quarters[*n] == 0).fold(0, |bits, n| bits | 1 << n)
    }
}

/// Counts of calls by number and window that never come out too small (count-min: Cormode and Muthukrishnan, 2005), in memory
/// that does not grow.
struct Counts {
    cells: Vec<u8>,
    mask: u64,
}

impl Counts {
    fn new(cells: usize) -> Counts {
        let cells = cells.next_power_of_two();
        Counts { cells: vec![0; cells], mask: cells as u64 - 1 }
    }

    /// Counts one more, and says how many there are at most; 255 is many.
    fn add(&mut self, key: u64) -> u8 {
        let (first, second) = (mixed(key), mixed(key ^ 0x9e37_79b9_7f4a_7c15));
        let places = [(first & self.mask) as usize, (second & self.mask) as usize];
        let least = self.cells[places[0]].min(self.cells[places[1]]).saturating_add(1);
        // Only the least is raised: fewer are taken for many that are not.
        places.into_iter().for_each(|place| self.cells[place] = self.cells[place].max(least));
        least
    }
}

/// The first time through the records: who makes so many calls in a window that it is worth looking closer, and which
/// telephones had how many SIMs.
pub struct Sieve {
    thresholds: Thresholds,
    offset_ms: i64,
    counts: Counts,
    candidates: HashSet<(u64, i64)>,
    numbers: HashSet<u64>,
    /// By telephone and 7 days: hashes of its SIMs, so many as can matter.
    devices: HashMap<(u64, i64), Few>,
    days: Option<(i64, i64)>,
    pub records: u64,
}

impl Sieve {
    /// `offset_ms` is the local clock's distance from UTC; `cells` counters of a byte: about one for each record and more.
    pub fn new(thresholds: &Thresholds, offset_ms: i64, cells: usize) -> Sieve {
        Sieve {
            thresholds: thresholds.clone(),
            offset_ms,
            counts: Counts::new(cells.max(1 << 16)),
            candidates: HashSet::new(),
            numbers: HashSet::new(),
            devices: HashMap::new(),
            days: None,
            records: 0,
        }
    }

    fn day(&self, record: &CallRecord) -> i64 {
        (record.start_ms + self.offset_ms).div_euclid(DAY_MS)
    }

    pub fn see(&mut self, record: &CallRecord) {
        self.records += 1;
        let day = self.day(record);
        let (first, last) = self.days.unwrap_or((day, day));
        self.days = Some((first.min(day), last.max(day)));
        let key = record.calling ^ mixed(day as u64);
        if u32::from(self.counts.add(key)) >= self.thresholds.looked_at.min(255)
            && self.candidates.insert((record.calling, day))
        {
            self.numbers.insert(record.calling);
        }
        if let (Some(imei), Some(imsi)) = (record.imei, record.imsi) {
            self.devices.entry((imei, day.div_euclid(WEEK_DAYS))).or_default().add(mixed(imsi));
        }
    }

    /// The second time through has to see the same records.
    pub fn closer(self) -> Closer {
        let behaviours = HashMap::with_capacity(self.candidates.len());
        Closer { sieve: self, behaviours, first_seen: HashMap::new(), repeated: 0 }
    }
}

/// The second time through the records: what the few did.
pub struct Closer {
    sieve: Sieve,
    behaviours: HashMap<(u64, i64), Behaviour>,
    first_seen: HashMap<u64, i64>,
    /// Records that came twice.
    pub repeated: u64,
}

impl Closer {
    pub fn see(&mut self, record: &CallRecord) {
        let day = self.sieve.day(record);
        for number in [record.calling, record.called] {
            if self.sieve.numbers.contains(&number) {
                self.first_seen.entry(number).and_modify(|first| *first = day.min(*first)).or_insert(day);
            }
        }
        let is_candidate = |key: &(u64, i64)| self.sieve.candidates.contains(key);
        let key = (record.calling, day);
        if is_candidate(&key) {
            let quarter = (record.start_ms + self.sieve.offset_ms).rem_euclid(DAY_MS) / (DAY_MS / 96);
            let behaviour = self.behaviours.entry(key).or_insert_with(|| Behaviour::new(key.0, day));
            behaviour.seen = behaviour.seen.saturating_add(1);
            match behaviour.is_new(record) {
                true => behaviour.call_out(record, quarter as usize, &self.sieve.thresholds),
                false => self.repeated += 1,
            }
        }
        let key = (record.called, day);
        if is_candidate(&key) && record.called != record.calling {
            let behaviour = self.behaviours.entry(key).or_insert_with(|| Behaviour::new(key.0, day));
            if behaviour.is_new(record) {
                behaviour.incoming = behaviour.incoming.saturating_add(1);
            }
        }
    }

    /// What each did in its busiest window, in the order of numbers.
    pub fn behaviours(self) -> Vec<Behaviour> {
        let first_day = self.sieve.days.map_or(0, |(first, _)| first);
        let mut busiest: HashMap<u64, Behaviour> = HashMap::new();
        // The sieve counts too much where numbers share a counter: by now it is known exactly.
        let least = self.sieve.thresholds.looked_at.min(255);
        for (_, mut behaviour) in self.behaviours.into_iter().filter(|(_, one)| one.seen >= least) {
            behaviour.once = HashSet::new();
            match busiest.get_mut(&behaviour.number) {
                Some(known) if (known.outgoing, known.day) >= (behaviour.outgoing, behaviour.day) => {}
                Some(known) => *known = behaviour,
                None => {
                    busiest.insert(behaviour.number, behaviour);
                }
            }
        }
        let mut behaviours: Vec<Behaviour> = busiest.into_values().collect();
        behaviours.sort_by_key(|behaviour| behaviour.number);
        for behaviour in &mut behaviours {
            behaviour.called.settle();
            let seen = self.first_seen.get(&behaviour.number).copied().unwrap_or(behaviour.day);
            // Seen on the first days of the records it may be any age.
            if seen - first_day >= WEEK_DAYS {
                behaviour.age_days = u32::try_from(behaviour.day - seen).ok();
            }
            let week = behaviour.day.div_euclid(WEEK_DAYS);
            let imsis =
                behaviour.imeis.values().iter().filter_map(|imei| self.sieve.devices.get(&(*imei, week)));
            behaviour.imsis = imsis.map(|imsis| imsis.values().len() as u32).max().unwrap_or(0);
        }
        behaviours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(records: &[CallRecord]) -> (Vec<Behaviour>, u64) {
        let thresholds = Thresholds { looked_at: 10, ..Thresholds::default() };
        let mut sieve = Sieve::new(&thresholds, 0, records.len());
        records.iter().for_each(|record| sieve.see(record));
        let mut closer = sieve.closer();
        records.iter().for_each(|record| closer.see(record));
        let repeated = closer.repeated;
        (closer.behaviours(), repeated)
    }

    fn call(calling: u64, called: u64, start_s: i64) -> CallRecord {
        CallRecord { calling, called, start_ms: start_s * 1000, ..CallRecord::default() }
    }

    #[test]
    fn order_and_repeats_change_nothing() {
        let mut records: Vec<CallRecord> = (0..20)
            .map(|n| call(1, 100 + n % 7, 60 * n as i64))
            .chain((0..3).map(|n| call(50, 1, 7000 + n)))
            .collect();
        let (forward, repeated) = look(&records);
        assert_eq!((forward.len(), repeated), (1, 0));
        assert_eq!((forward[0].outgoing, forward[0].incoming), (20, 3));
        assert_eq!(forward[0].spread(), 7.0 / 20.0);
        records.reverse();
        records.extend(records.clone());
        let (backward, repeated) = look(&records);
        assert_eq!(repeated, 20);
        assert_eq!((backward[0].outgoing, backward[0].incoming, backward[0].spread()), (20, 3, 7.0 / 20.0));
    }

    #[test]
    fn a_number_with_a_million_calls_keeps_little() {
        let records: Vec<CallRecord> = (0..1_000_000).map(|n| call(1, n % 500_000, n as i64 / 100)).collect();
        let (behaviours, _) = look(&records);
        assert!(behaviours[0].called.values.len() <= SAMPLE);
        // Half a million different ones in a million calls.
        assert!((behaviours[0].spread() - 0.5).abs() < 0.06, "{}", behaviours[0].spread());
    }

    #[test]
    fn runs_and_pauses_are_seen() {
        let mut records: Vec<CallRecord> =
            (0..50).map(|n| call(1, 7000 + n, 32_400 + 60 * n as i64)).collect();
        records.extend((0..50).map(|n| call(1, 1_000_000 * (n + 1), 50_400 + 60 * n as i64)));
        let (behaviours, _) = look(&records);
        assert!((behaviours[0].in_runs(2) - 0.5).abs() < 1e-9);
        // Calls from 9:00 to 9:49 and from 14:00: silent are the quarters 10:00 to 13:45.
        assert_eq!(behaviours[0].pauses(), (40..56).fold(0, |bits, n| bits | 1 << n));
    }

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
