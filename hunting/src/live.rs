//! The same signals while calls last: who behaves like a call centre now, in memory that never grows.
//!
//! Everybody's calls are counted in a [`Sketch`]; who makes so many that it is worth looking closer is [`Watched`], a number by a
//! trunk. So what somebody else does with a number on another trunk says nothing of its owner on his. A score is made of the
//! signals that a node can see without knowing who answered and how long they talked, and of how long the number has been silent.
//! No clock: hours come with the calls, and one that jumps makes nothing negative.

mod company;
mod sketch;
mod watched;

use std::collections::HashMap;

use crate::chance::mixed;
use crate::signals::{Evidence, Given, Signal, Thresholds, kinds_of_evidence, number_runs, outbound};
use company::keep_company;
use sketch::Sketch;
use watched::{HOURS, Watched};

const HOUR_MS: i64 = 3_600_000;
/// Of the memory, the share of the sketch.
const SKETCH_SHARE: usize = 4;
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
        // A place of the index is a key and a value, and there are up to four for each number.
        let most = ((bytes - sketch.bytes().min(bytes)) / (size_of::<Watched>() + 80)).max(LOOKED_AT);
        Live {
            looked_at: looked_at.clamp(1, 255),
            hour: None,
            sketch,
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

    pub fn see(&mut self, call: &Seen) {
        let Some(newest) = self.hour else { return };
        // Clocks of two threads: what is ahead is of now.
        let hour = call.at_ms.div_euclid(HOUR_MS).min(newest);
        if hour <= newest - HOURS as i64 {
            self.late = self.late.saturating_add(1);
            return;
        }
        if call.called != call.calling {
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
    given.extend(number_runs(outgoing, watched.called(), thresholds));
    given
}

fn judge(watched: &Watched, scale: &Scale, now_ms: i64) -> Judged {
    let thresholds = &scale.thresholds;
    let mut signals = own_signals(watched, thresholds);
    for (signal, figure, threshold) in [
        (Signal::SameCalled, watched.same_called, thresholds.same_called),
        (Signal::SamePool, watched.same_pool, thresholds.same_pool),
    ] {
        if figure > 0.0 {
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
    let beyond = if given.signal == Signal::SeldomCalled { 1.0 - share } else { share - 1.0 };
    beyond.clamp(0.0, 1.0)
}

/// 100 times what is left of doubt when each kind of evidence takes its share of it, less for the time since the last call.
fn score(signals: &[Given], silent_ms: i64, half_life_ms: i64) -> u8 {
    let kinds = [Evidence::Outbound, Evidence::Targets, Evidence::Company];
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
