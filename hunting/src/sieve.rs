//! Two readings of call records: who is worth a closer look, then what these few did.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use crate::chance::mixed;
use crate::records::{Behaviour, CallRecord, DAY_MS, Few};
use crate::signals::Thresholds;

const WEEK_DAYS: i64 = 7;

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
        let Seen { behaviours, first_days } = &mut *self.seen.lock().expect("no panic inside");
        for number in [record.calling, record.called] {
            if self.numbers.contains(&number) {
                first_days.entry(number).and_modify(|first| *first = day.min(*first)).or_insert(day);
            }
        }
        let key = (record.calling, day);
        if self.candidates.contains(&key) {
            let behaviour = behaviours.entry(key).or_insert_with(|| Behaviour::new(key.0, day));
            behaviour.recorded = behaviour.recorded.saturating_add(1);
            if behaviour.is_new(record) {
                behaviour.call_out(record, self.clock.quarter(record), &self.thresholds);
            }
        }
        let key = (record.called, day);
        if self.candidates.contains(&key) && record.called != record.calling {
            let behaviour = behaviours.entry(key).or_insert_with(|| Behaviour::new(key.0, day));
            if behaviour.is_new(record) {
                let incoming = match self.numbers.contains(&record.calling) {
                    true => behaviour.from_busy.entry(record.calling).or_default(),
                    false => &mut behaviour.incoming,
                };
                *incoming = incoming.saturating_add(1);
            }
        }
    }

    /// What each did in its busiest window, in the order of numbers, and how many of these calls came twice.
    pub fn behaviours(self) -> (Vec<Behaviour>, u64) {
        let Seen { behaviours, first_days } = self.seen.into_inner().expect("no panic inside");
        let (mut busiest, mut repeated): (HashMap<u64, Behaviour>, u64) = (HashMap::new(), 0);
        // Whom the counters took for many and is not, depends on the order of the records.
        let kept: Vec<Behaviour> =
            behaviours.into_values().filter(|known| known.recorded >= self.thresholds.looked_at).collect();
        let busy: HashSet<u64> = kept.iter().map(|behaviour| behaviour.number).collect();
        for mut behaviour in kept {
            behaviour.once = HashSet::new();
            let others =
                std::mem::take(&mut behaviour.from_busy).into_iter().filter(|(from, _)| !busy.contains(from));
            behaviour.incoming += others.map(|(_, calls)| calls).sum::<u32>();
            repeated += u64::from(behaviour.recorded - behaviour.outgoing);
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
    use crate::records::SAMPLE;
    use crate::signals::in_runs;

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
        assert!(behaviours[0].called.values().len() <= SAMPLE);
        // Half a million different ones in a million calls.
        assert!((behaviours[0].spread() - 0.5).abs() < 0.06, "{}", behaviours[0].spread());
    }

    #[test]
    fn runs_and_pauses_are_seen() {
        let mut records: Vec<CallRecord> =
            (0..50).map(|n| call(1, 7000 + n, 32_400 + 60 * n as i64)).collect();
        records.extend((0..50).map(|n| call(1, 1_000_000 * (n + 1), 50_400 + 60 * n as i64)));
        let (behaviours, _) = look(&records);
        assert!((in_runs(behaviours[0].called.values().iter().copied(), 2) - 0.5).abs() < 1e-9);
        // Calls from 9:00 to 9:49 and from 14:00: silent are the quarters 10:00 to 13:45.
        assert_eq!(behaviours[0].pauses(), (40..56).fold(0, |bits, n| bits | 1 << n));
        // An evening and a morning in one window: between them is a night.
        let mut records: Vec<CallRecord> = (0..12).map(|n| call(2, n, 900 * n as i64)).collect();
        records.extend((0..12).map(|n| call(2, 100 + n, 900 * (n as i64 + 84))));
        assert_eq!(look(&records).0[0].pauses(), 0);
    }
}
