//! Call records, and how a number behaves in a window of 24 h.
//!
//! Nothing here depends on the order of records, and a record that comes twice counts once. What a number keeps is bounded: beyond
//! [`SAMPLE`] called numbers an evenly drawn sample stands for all of them (bottom-k by hash: Bar-Yossef and others, 2002).

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

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
    pub trunk: Option<u64>,
    pub cell: Option<u64>,
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
    once: HashSet<u64>,
    /// Outgoing ones with those that came twice.
    recorded: u32,
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
            recorded: 0,
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
/// that does not grow, by any number of threads. Both counters of a key are bytes of one word, so that it is one access of memory.
struct Counts {
    words: Vec<AtomicU64>,
    mask: u64,
}

impl Counts {
    fn new(counters: usize) -> Counts {
        let words = (counters / 8).next_power_of_two();
        Counts { words: (0..words).map(|_| AtomicU64::new(0)).collect(), mask: words as u64 - 1 }
    }

    /// Counts one more, and says how many there are at most; 255 is many.
    fn add(&self, key: u64) -> u8 {
        let hash = mixed(key);
        let first = hash >> 61;
        let second = (first + 1 + (hash >> 48) % 7) % 8;
        let [first, second] = [8 * first, 8 * second];
        let word = &self.words[(hash & self.mask) as usize];
        let mut known = word.load(Ordering::Relaxed);
        loop {
            let (one, two) = ((known >> first) as u8, (known >> second) as u8);
            let least = one.min(two).saturating_add(1);
            // Only the least is raised: fewer are taken for many that are not.
            let raised = known & !(255 << first | 255 << second)
                | u64::from(one.max(least)) << first
                | u64::from(two.max(least)) << second;
            match word.compare_exchange_weak(known, raised, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return least,
                Err(now) => known = now,
            }
        }
    }
}

/// Hashes of a telephone's SIMs: nearly always one.
#[derive(Debug)]
enum Sims {
    One(u64),
    More(Few),
}

impl Sims {
    fn add(&mut self, sim: u64) {
        match self {
            Sims::One(known) if *known == sim => {}
            Sims::One(known) => {
                let mut few = Few::default();
                [*known, sim].into_iter().for_each(|sim| few.add(sim));
                *self = Sims::More(few);
            }
            Sims::More(few) => few.add(sim),
        }
    }

    fn count(&self) -> u32 {
        match self {
            Sims::One(_) => 1,
            Sims::More(few) => few.values().len() as u32,
        }
    }
}

/// What the first reading keeps of some numbers and telephones.
#[derive(Default)]
struct Shard {
    candidates: HashSet<(u64, i64)>,
    /// By telephone and 7 days.
    devices: HashMap<(u64, i64), Sims>,
}

/// So many threads may well look at calls at once.
const SHARDS: usize = 64;

fn shard(key: u64) -> usize {
    (mixed(key) >> 32) as usize % SHARDS
}

/// The first time through the records, in any order and by any number of threads: who makes so many calls in a window that it is
/// worth looking closer, and which telephones had how many SIMs.
pub struct Sieve {
    clock: Clock,
    looked_at: u32,
    counts: Counts,
    shards: Vec<Mutex<Shard>>,
    first_day: AtomicI64,
}

/// The clock of the place, by its distance from UTC in ms.
#[derive(Clone, Copy)]
struct Clock(i64);

impl Clock {
    fn day(self, record: &CallRecord) -> i64 {
        (record.start_ms + self.0).div_euclid(DAY_MS)
    }

    fn quarter(self, record: &CallRecord) -> usize {
        ((record.start_ms + self.0).rem_euclid(DAY_MS) / (DAY_MS / 96)) as usize
    }
}

impl Sieve {
    /// `offset_ms` is the local clock's distance from UTC; `counters` of a byte: about one for each record and more.
    pub fn new(thresholds: &Thresholds, offset_ms: i64, counters: usize) -> Sieve {
        Sieve {
            clock: Clock(offset_ms),
            looked_at: thresholds.looked_at.min(255),
            counts: Counts::new(counters.max(1 << 16)),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            first_day: AtomicI64::new(i64::MAX),
        }
    }

    pub fn see(&self, record: &CallRecord) {
        let day = self.clock.day(record);
        if day < self.first_day.load(Ordering::Relaxed) {
            self.first_day.fetch_min(day, Ordering::Relaxed);
        }
        let key = record.calling ^ mixed(day as u64);
        let shard = |key| self.shards[shard(key)].lock().expect("no panic inside");
        if u32::from(self.counts.add(key)) >= self.looked_at {
            shard(record.calling).candidates.insert((record.calling, day));
        }
        if let (Some(imei), Some(imsi)) = (record.imei, record.imsi) {
            let mut shard = shard(imei);
            let sims = shard.devices.entry((imei, day.div_euclid(WEEK_DAYS)));
            sims.and_modify(|sims| sims.add(mixed(imsi))).or_insert(Sims::One(mixed(imsi)));
        }
    }

    /// The second time through has to see the same records.
    pub fn closer(self, thresholds: &Thresholds) -> Closer {
        let shards = self.shards.into_iter().map(|shard| shard.into_inner().expect("no panic inside"));
        let (mut candidates, mut devices) = (HashSet::new(), Vec::with_capacity(SHARDS));
        for shard in shards {
            candidates.extend(shard.candidates);
            devices.push(shard.devices);
        }
        Closer {
            thresholds: thresholds.clone(),
            clock: self.clock,
            numbers: candidates.iter().map(|(number, _)| *number).collect(),
            candidates,
            devices,
            first_day: self.first_day.into_inner(),
            seen: Mutex::default(),
        }
    }
}

/// The second time through the records, again in any order and by any number of threads: what the few did.
pub struct Closer {
    thresholds: Thresholds,
    clock: Clock,
    candidates: HashSet<(u64, i64)>,
    numbers: HashSet<u64>,
    devices: Vec<HashMap<(u64, i64), Sims>>,
    first_day: i64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    behaviours: HashMap<(u64, i64), Behaviour>,
    first_days: HashMap<u64, i64>,
    repeated: u64,
}

impl Closer {
    /// Whether a call between these is looked at.
    pub fn concerns(&self, calling: u64, called: u64) -> bool {
        self.numbers.contains(&calling) || self.numbers.contains(&called)
    }

    pub fn see(&self, record: &CallRecord) {
        if !self.concerns(record.calling, record.called) {
            return;
        }
        let day = self.clock.day(record);
        let Seen { behaviours, first_days, repeated } = &mut *self.seen.lock().expect("no panic inside");
        for number in [record.calling, record.called] {
            if self.numbers.contains(&number) {
                first_days.entry(number).and_modify(|first| *first = day.min(*first)).or_insert(day);
            }
        }
        let key = (record.calling, day);
        if self.candidates.contains(&key) {
            let behaviour = behaviours.entry(key).or_insert_with(|| Behaviour::new(key.0, day));
            behaviour.recorded = behaviour.recorded.saturating_add(1);
            match behaviour.is_new(record) {
                true => behaviour.call_out(record, self.clock.quarter(record), &self.thresholds),
                false => *repeated += 1,
            }
        }
        let key = (record.called, day);
        if self.candidates.contains(&key) && !self.numbers.contains(&record.calling) {
            let behaviour = behaviours.entry(key).or_insert_with(|| Behaviour::new(key.0, day));
            if behaviour.is_new(record) {
                behaviour.incoming = behaviour.incoming.saturating_add(1);
            }
        }
    }

    /// What each did in its busiest window, in the order of numbers, and how many of these calls came twice.
    pub fn behaviours(self) -> (Vec<Behaviour>, u64) {
        let Seen { behaviours, first_days, repeated } = self.seen.into_inner().expect("no panic inside");
        let mut busiest: HashMap<u64, Behaviour> = HashMap::new();
        // Whom the counters took for many and is not, depends on the order of the records.
        let looked_at = self.thresholds.looked_at;
        for mut behaviour in behaviours.into_values().filter(|known| known.recorded >= looked_at) {
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
            let seen = first_days.get(&behaviour.number).copied().unwrap_or(behaviour.day);
            // Seen on the first days of the records it may be any age.
            if seen - self.first_day >= WEEK_DAYS {
                behaviour.age_days = u32::try_from(behaviour.day - seen).ok();
            }
            let week = behaviour.day.div_euclid(WEEK_DAYS);
            let sims = |imei: &u64| self.devices[shard(*imei)].get(&(*imei, week)).map(Sims::count);
            behaviour.imsis = behaviour.imeis.values().iter().filter_map(sims).max().unwrap_or(0);
        }
        (behaviours, repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(records: &[CallRecord]) -> (Vec<Behaviour>, u64) {
        let thresholds = Thresholds { looked_at: 10, ..Thresholds::default() };
        let sieve = Sieve::new(&thresholds, 0, records.len());
        records.iter().for_each(|record| sieve.see(record));
        let closer = sieve.closer(&thresholds);
        records.iter().for_each(|record| closer.see(record));
        closer.behaviours()
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
