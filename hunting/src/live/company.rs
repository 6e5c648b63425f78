//! Who of those who call much goes through one list: pairs that called the same numbers, never all with all. And who of them stays
//! in one cell with others.

use std::collections::{BTreeMap, HashMap};

use super::own_signals;
use super::watched::Watched;
use crate::signals::{Evidence, Thresholds, are_strangers, one_place};

/// Those who call most are compared, no more of them.
const COMPARED: usize = 2048;
/// Of those who called one number each is paired with so many behind it.
const NEIGHBOURS: usize = 8;
/// Fewer called numbers share something by chance.
const FEWEST: usize = 20;
/// A list is gone through: most calls go to another number.
const LIST_SPREAD: f64 = 0.5;
/// Numbers that both called, for a pair to be looked at.
const SHARED: u32 = 3;

/// Writes down of everybody what company it keeps.
pub fn keep_company(watched: &mut [Watched], thresholds: &Thresholds) {
    crowds(watched, thresholds);
    let mut candidates: Vec<(u32, usize, bool)> = Vec::new();
    for (place, one) in watched.iter_mut().enumerate() {
        (one.same_called, one.same_pool) = (0.0, 0.0);
        let is_list = one.called().count() >= FEWEST && one.spread() >= LIST_SPREAD;
        if one.number == 0 || !is_list {
            continue;
        }
        // Who calls nobody strange needs no company: that would be one kind of evidence all the same.
        let own = own_signals(one, thresholds);
        let is_outbound = own.iter().any(|given| given.signal.evidence() == Evidence::Outbound);
        if !own.is_empty() {
            candidates.push((one.outgoing(), place, is_outbound));
        }
    }
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    candidates.truncate(COMPARED);
    let mut pools: BTreeMap<usize, (usize, f64)> = BTreeMap::new();
    for (a, b) in pairs(watched, &candidates) {
        let ((_, a, a_calls_strangers), (_, b, b_calls_strangers)) = (candidates[a], candidates[b]);
        if watched[a].number == watched[b].number {
            continue;
        }
        let same = watched[a].jaccard(&watched[b]);
        if same >= thresholds.same_called {
            for place in [a, b] {
                watched[place].same_called = watched[place].same_called.max(same);
            }
        }
        let is_one_trunk = watched[a].trunk == watched[b].trunk;
        // Talks are not seen here: several whom nobody calls back stand for several who talk oddly.
        if same >= thresholds.same_pool && is_one_trunk && a_calls_strangers && b_calls_strangers {
            for place in [a, b] {
                let known = pools.entry(place).or_default();
                *known = (known.0 + 1, known.1.max(same));
            }
        }
    }
    for (place, (others, same)) in pools {
        if others + 1 >= thresholds.hopping {
            watched[place].same_pool = same;
        }
    }
}

/// One that calls strangers from where it stays may be a shop; several in one cell are a gateway or a room of people.
fn crowds(watched: &mut [Watched], thresholds: &Thresholds) {
    let mut there: HashMap<u64, usize> = HashMap::new();
    let calls_strangers = |one: &Watched| are_strangers(one.spread(), one.called_back(), thresholds);
    for one in watched.iter_mut() {
        let stays = one_place(one.outgoing(), one.placed(), one.number_of_cells(), thresholds).is_some();
        one.crowd = usize::from(one.number != 0 && stays && calls_strangers(one));
        if one.crowd > 0 {
            one.cells().for_each(|cell| *there.entry(cell).or_default() += 1);
        }
    }
    for one in watched.iter_mut().filter(|one| one.crowd > 0) {
        one.crowd = one.cells().map(|cell| there[&cell]).max().unwrap_or(0);
    }
}

/// Pairs of candidates, by their places, that called some of the same numbers.
fn pairs(watched: &[Watched], candidates: &[(u32, usize, bool)]) -> Vec<(usize, usize)> {
    let mut calls: Vec<(u64, u32)> = Vec::new();
    for (n, (_, place, _)) in candidates.iter().enumerate() {
        calls.extend(watched[*place].called().map(|called| (called, n as u32)));
    }
    calls.sort_unstable();
    let mut met: Vec<(u32, u32)> = Vec::new();
    for callers in calls.chunk_by(|a, b| a.0 == b.0) {
        for (n, (_, a)) in callers.iter().enumerate() {
            met.extend(callers[n + 1..].iter().take(NEIGHBOURS).map(|(_, b)| (*a, *b)));
        }
    }
    met.sort_unstable();
    let often = met.chunk_by(|a, b| a == b).filter(|same| same.len() as u32 >= SHARED);
    often.map(|same| (same[0].0 as usize, same[0].1 as usize)).collect()
}
