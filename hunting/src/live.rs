//! The same signals while calls last: who behaves like a call centre now, in memory that never grows.
//!
//! Everybody's calls are counted in a [`Sketch`]; who makes so many that it is worth looking closer is [`Watched`], a number by a
//! trunk. So what somebody else does with a number on another trunk says nothing of its owner on his. Who answered, how long they
//! talked, cells and telephones are known as far as records of those calls come. A score is made of signals and of how long the
//! number has been silent.
//! No clock: hours come with the calls, and one that jumps makes nothing negative.

mod company;
mod sketch;
mod telephones;
mod watched;

use std::collections::HashMap;

use crate::chance::mixed;
use crate::records::CallRecord;
use crate::signals::{
    Evidence, Given, Signal, Thresholds, kinds_of_evidence, many_sims, number_runs, one_place, outbound,
    talks,
};
use company::keep_company;
use sketch::Sketch;
use telephones::Telephones;
use watched::{HOURS, Watched};

const HOUR_MS: i64 = 3_600_000;
/// Of the memory, the share of the sketch.
const SKETCH_SHARE: usize = 4;
/// And those of telephones, and of what tells records that come twice.
const TELEPHONES_SHARE: usize = 16;
const ONCE_SHARE: usize = 32;
/// Records that share a place.
const TOGETHER: usize = 8;
/// Numbers that are looked at for who gives way to one that calls more.
const LOOKED_AT: usize = 16;
const NONE: u32 = u32::MAX;
/// Calls that a number took are counted apart from those it made.
const TAKEN: u64 = 0x7461_6b65_6e00_0000;
/// What one kind of evidence is worth at its threshold, and far beyond it: two at theirs are 84 of 100, one alone is never above 80.
const AT_THRESHOLD: f64 = 0.6;
const BEYOND: f64 = 0.8;

/// A call that passed by or was refused for what its caller is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Digits of E.164 as integers.
    pub calling: u64,
    pub called: u64,
    pub trunk: u16,
    /// Ms since 1970.
    pub at_ms: i64,
}

/// What is thought of a number by a trunk.
#[derive(Clone, PartialEq, Debug)]
pub struct Judged {
    pub number: u64,
    pub trunk: u16,
    /// In the last 24 hours, since it is watched.
    pub outgoing: u32,
    pub incoming: u32,
    pub last_ms: i64,
    pub signals: Vec<Given>,
    /// Kinds of evidence.
    pub evidence: usize,
    /// 0 to 100.
    pub score: u8,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Counted,
    /// Its caller is not watched: it calls too little.
    Unwatched,
    /// Of an hour that is over.
    Late,
    Repeated,
}

/// How figures become scores.
#[derive(Clone, PartialEq, Debug)]
pub struct Scale {
    pub thresholds: Thresholds,
    /// A score is half of what it was after so long a silence.
    pub half_life_ms: i64,
}

/// Numbers that are watched.
pub struct Live {
    looked_at: u32,
    /// The newest hour since 1970; none before the first.
    hour: Option<i64>,
    sketch: Sketch,
    telephones: Telephones,
    /// Hashes of records that came lately, the newest of a place first.
    once: Vec<[u64; TOGETHER]>,
    watched: Vec<Watched>,
    most: usize,
    /// The first place of each number.
    first: HashMap<u64, u32>,
    free: Vec<u32>,
    hand: usize,
    /// Numbers that gave way to others that call more.
    pub evicted: u64,
    /// Calls of numbers that found no place, and calls of hours that are over.
    pub unwatched: u64,
    pub late: u64,
}

impl Live {
    /// In about so many bytes; `looked_at` calls in 24 hours make a number watched.
    pub fn new(bytes: usize, looked_at: u32) -> Live {
        let sketch = Sketch::new(bytes / SKETCH_SHARE);
        let once = 1usize << (bytes / ONCE_SHARE / size_of::<[u64; TOGETHER]>()).max(1).ilog2();
        let rest = bytes - bytes / TELEPHONES_SHARE - bytes / ONCE_SHARE;
        // A place of the index is a key and a value, and there are up to four for each number.
        let most = (rest.saturating_sub(sketch.bytes()) / (size_of::<Watched>() + 80)).max(LOOKED_AT);
        Live {
            looked_at: looked_at.clamp(1, 255),
            hour: None,
            sketch,
            telephones: Telephones::new(bytes / TELEPHONES_SHARE),
            once: vec![[0; TOGETHER]; once],
            watched: Vec::with_capacity(most),
            most,
            first: HashMap::with_capacity(most),
            free: Vec::with_capacity(most),
            hand: 0,
            evicted: 0,
            unwatched: 0,
            late: 0,
        }
    }

    /// How many are watched, and how many may be.
    pub fn watched(&self) -> (usize, usize) {
        (self.watched.len() - self.free.len(), self.most)
    }

    /// It is so late: hours that are over leave the window. Call it before calls are seen, and every now and then.
    pub fn tick(&mut self, now_ms: i64) {
        let now = now_ms.div_euclid(HOUR_MS);
        let window = HOURS as i64;
        let Some(hour) = self.hour else {
            self.hour = Some(now);
            return;
        };
        // A little back, and those hours are still here; far back or far ahead, and nothing of before is of these 24 hours.
        if now <= hour && now > hour.saturating_sub(window) {
            return;
        }
        self.hour = Some(now);
        if now < hour || now >= hour.saturating_add(window) {
            self.sketch.clear();
            self.telephones.clear();
            self.watched.clear();
            self.first.clear();
            self.free.clear();
            return;
        }
        self.sketch.slide(hour, now);
        for place in 0..self.watched.len() {
            self.watched[place].slide(hour, now);
            if self.watched[place].number != 0 && self.watched[place].outgoing() == 0 {
                self.release(place as u32);
            }
        }
    }

    /// The newest hour, and the one that a moment is of; none: it is over.
    fn hours(&self, at_ms: i64) -> Option<(i64, i64)> {
        let newest = self.hour?;
        // Clocks of two threads: what is ahead is of now.
        let hour = at_ms.div_euclid(HOUR_MS).min(newest);
        (hour > newest - HOURS as i64).then_some((newest, hour))
    }

    pub fn see(&mut self, call: &Seen) {
        let Some((newest, hour)) = self.hours(call.at_ms) else {
            self.late = self.late.saturating_add(u64::from(self.hour.is_some()));
            return;
        };
        // SIMs of one gateway call each other, to look like those of people: who is watched himself makes nobody known.
        if call.called != call.calling && self.first_of(call.calling) == NONE {
            self.sketch.add(call.called ^ TAKEN, hour);
            let mut place = self.first_of(call.called);
            while place != NONE {
                let watched = &mut self.watched[place as usize];
                watched.is_called(1, hour);
                place = watched.next;
            }
        }
        if let Some(place) = self.find(call.calling, call.trunk) {
            self.watched[place as usize].calls(call.called, hour, call.at_ms);
            return;
        }
        let key = mixed(call.calling) ^ u64::from(call.trunk);
        self.sketch.add(key, hour);
        let calls = self.sketch.most(key, newest);
        if calls >= self.looked_at {
            match self.admit(call.calling, call.trunk, calls, newest) {
                Some(place) => self.watched[place as usize].calls(call.called, hour, call.at_ms),
                None => self.unwatched = self.unwatched.saturating_add(1),
            }
        }
    }

    /// How a call went, by the record of it that came after. It is not counted as a call: that it was when it was seen.
    pub fn tell(&mut self, record: &CallRecord, trunk: u16, thresholds: &Thresholds) -> Told {
        let Some((_, hour)) = self.hours(record.start_ms) else { return Told::Late };
        let Some(place) = self.find(record.calling, trunk) else { return Told::Unwatched };
        let seen = record.called ^ mixed(record.start_ms as u64 ^ mixed(u64::from(trunk)));
        let key = mixed(record.calling ^ mixed(seen));
        let once = key as usize & (self.once.len() - 1);
        let together = &mut self.once[once];
        if together.contains(&key) {
            return Told::Repeated;
        }
        together.rotate_right(1);
        together[0] = key;
        self.watched[place as usize].told(record, hour, thresholds);
        if let (Some(imei), Some(imsi)) = (record.imei, record.imsi) {
            self.telephones.see(imei, imsi, record.start_ms);
        }
        Told::Counted
    }

    fn first_of(&self, number: u64) -> u32 {
        self.first.get(&number).copied().unwrap_or(NONE)
    }

    fn find(&self, number: u64, trunk: u16) -> Option<u32> {
        let mut place = self.first_of(number);
        while place != NONE && self.watched[place as usize].trunk != trunk {
            place = self.watched[place as usize].next;
        }
        (place != NONE).then_some(place)
    }

    /// A place for a number that made so many calls; none where all who are watched call more.
    fn admit(&mut self, number: u64, trunk: u16, calls: u32, hour: i64) -> Option<u32> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.watched.len() < self.most => {
                self.watched.push(Watched::new(0, 0));
                self.watched.len() as u32 - 1
            }
            None => {
                let rank = |place: &usize| {
                    let watched = &self.watched[*place];
                    watched.before.saturating_add(watched.outgoing())
                };
                let around = (self.hand..self.hand + LOOKED_AT).map(|place| place % self.watched.len());
                let least = around.min_by_key(rank)?;
                self.hand = (self.hand + LOOKED_AT) % self.watched.len();
                if rank(&least) >= calls {
                    return None;
                }
                self.release(least as u32);
                self.evicted = self.evicted.saturating_add(1);
                self.free.pop()?
            }
        };
        let mut watched = Watched::new(number, trunk);
        watched.before = calls;
        // The sketch never says too few, so they may have been fewer than it says, but not than it takes to be watched.
        watched.begins(calls.min(self.looked_at) - 1, hour);
        watched.next = self.first_of(number);
        // Who was called before it was watched is known to somebody all the same: at most so often.
        watched.is_called(self.sketch.most(number ^ TAKEN, hour), hour);
        self.watched[place as usize] = watched;
        self.first.insert(number, place);
        Some(place)
    }

    fn release(&mut self, place: u32) {
        let Watched { number, next, .. } = self.watched[place as usize];
        let mut before = self.first_of(number);
        if before == place {
            match next {
                NONE => self.first.remove(&number),
                next => self.first.insert(number, next),
            };
        } else {
            while self.watched[before as usize].next != place {
                before = self.watched[before as usize].next;
            }
            self.watched[before as usize].next = next;
        }
        self.watched[place as usize].number = 0;
        self.free.push(place);
    }

    /// Looks who calls the same numbers, and gives all who have two kinds of evidence and more. Takes a while: not for each call.
    pub fn evaluate(&mut self, scale: &Scale, now_ms: i64) -> Vec<Judged> {
        for watched in &mut self.watched {
            let sims = watched.telephones().map(|imei| self.telephones.sims(imei, now_ms));
            watched.sims = sims.max().unwrap_or(0);
        }
        keep_company(&mut self.watched, &scale.thresholds);
        let in_use = self.watched.iter().filter(|watched| watched.number != 0);
        in_use.map(|watched| judge(watched, scale, now_ms)).filter(|judged| judged.evidence >= 2).collect()
    }

    /// What is thought of a number, trunk by trunk; of one that calls little there is nothing.
    pub fn of(&self, number: u64, scale: &Scale, now_ms: i64) -> Vec<Judged> {
        let mut judged = Vec::new();
        let mut place = self.first_of(number);
        while place != NONE {
            let watched = &self.watched[place as usize];
            judged.push(judge(watched, scale, now_ms));
            place = watched.next;
        }
        judged
    }
}

/// Signals of what a number does by itself.
fn own_signals(watched: &Watched, thresholds: &Thresholds) -> Vec<Given> {
    let outgoing = watched.outgoing();
    let mut given = outbound(outgoing, watched.spread(), watched.called_back(), thresholds);
    given.extend(one_place(outgoing, watched.placed(), watched.number_of_cells(), thresholds));
    given.extend(many_sims(watched.sims, thresholds));
    given.extend(talks(&watched.talks(), thresholds));
    given.extend(number_runs(outgoing, watched.called(), thresholds));
    given
}

fn judge(watched: &Watched, scale: &Scale, now_ms: i64) -> Judged {
    let thresholds = &scale.thresholds;
    let mut signals = own_signals(watched, thresholds);
    let is_crowd = watched.crowd >= thresholds.crowd.max(1);
    for (signal, is_given, figure, threshold) in [
        (Signal::SameCalled, watched.same_called > 0.0, watched.same_called, thresholds.same_called),
        (Signal::SamePool, watched.same_pool > 0.0, watched.same_pool, thresholds.same_pool),
        (Signal::CrowdedPlace, is_crowd, watched.crowd as f64, thresholds.crowd as f64),
    ] {
        if is_given {
            signals.push(Given { signal, figure, threshold });
        }
    }
    Judged {
        number: watched.number,
        trunk: watched.trunk,
        outgoing: watched.outgoing(),
        incoming: watched.incoming(),
        last_ms: watched.last_ms,
        evidence: kinds_of_evidence(&signals),
        score: score(&signals, now_ms.saturating_sub(watched.last_ms), scale.half_life_ms),
        signals,
    }
}

/// How far a figure is beyond its threshold, 0 to 1: at twice a least one it is 1, at none of a most one.
fn beyond(given: &Given) -> f64 {
    let share = given.figure / given.threshold.max(f64::MIN_POSITIVE);
    let is_most = matches!(given.signal, Signal::SeldomCalled | Signal::OnePlace | Signal::Unanswered);
    let beyond = if is_most { 1.0 - share } else { share - 1.0 };
    beyond.clamp(0.0, 1.0)
}

/// 100 times what is left of doubt when each kind of evidence takes its share of it, less for the time since the last call.
fn score(signals: &[Given], silent_ms: i64, half_life_ms: i64) -> u8 {
    let kinds = [
        Evidence::Outbound,
        Evidence::Place,
        Evidence::Device,
        Evidence::Talk,
        Evidence::Targets,
        Evidence::Company,
    ];
    let doubt: f64 = kinds
        .into_iter()
        .map(|kind| {
            let of_kind = signals.iter().filter(|given| given.signal.evidence() == kind);
            let strength = of_kind.map(|given| AT_THRESHOLD + (BEYOND - AT_THRESHOLD) * beyond(given));
            1.0 - strength.fold(0.0, f64::max)
        })
        .product();
    let halves = silent_ms.max(0) as f64 / half_life_ms.max(1) as f64;
    (100.0 * (1.0 - doubt) * 0.5f64.powf(halves)).round().clamp(0.0, 100.0) as u8
}
