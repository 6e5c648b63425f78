//! From numbers to those who stand behind them: alarms, and clusters of numbers that act as one.
//!
//! Numbers that call the same people are found by MinHash in bands (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets,
//! section 3.4), never by comparing all with all; then they are compared.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use crate::records::{Behaviour, mixed};
use crate::signals::{Evidence, Given, Signal, Thresholds, kinds_of_evidence, own_signals};

/// 32 bands of two rows: pairs that share 0.3 of their called numbers meet with a chance of 0.95, 0.05 with one of 0.08.
const BANDS: usize = 32;
/// Of those who meet in one place no more are compared than so many neighbours each.
const NEIGHBOURS: usize = 24;
/// Calling numbers so near each other count as one run.
const NUMBERS_APART: u64 = 2;

/// Why two numbers are taken for one hand's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tie {
    /// SIMs of both were in one telephone.
    Telephone,
    CalledNumbers,
    Pauses,
    /// Both alarms, from one cell.
    Cell,
    /// Both alarms, one number after the other.
    NumberRun,
}

/// A number that gave signals.
#[derive(Clone, Debug)]
pub struct Suspect {
    pub behaviour: Behaviour,
    pub signals: Vec<Given>,
    pub evidence: usize,
    pub is_alarm: bool,
}

/// Numbers that act as one, or one that acts alone.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The one with most evidence first.
    pub suspects: Vec<Suspect>,
    pub ties: BTreeSet<Tie>,
    /// Kinds of evidence that its numbers have together.
    pub evidence: usize,
}

impl Cluster {
    pub fn alarms(&self) -> usize {
        self.suspects.iter().filter(|suspect| suspect.is_alarm).count()
    }
}

/// Ranks clusters with at least one alarm, the surest first.
pub fn hunt(behaviours: Vec<Behaviour>, thresholds: &Thresholds) -> Vec<Cluster> {
    let mut suspects: Vec<Suspect> = behaviours
        .into_iter()
        .map(|behaviour| {
            let signals = own_signals(&behaviour, thresholds);
            Suspect { behaviour, signals, evidence: 0, is_alarm: false }
        })
        .collect();
    let mut ties = Ties::new(suspects.len());
    called_alike(&mut suspects, &mut ties, thresholds);
    pausing_alike(&mut suspects, &mut ties, thresholds);
    for suspect in &mut suspects {
        suspect.evidence = kinds_of_evidence(&suspect.signals);
        suspect.is_alarm = suspect.evidence >= thresholds.evidence;
    }
    telephones(&suspects, &mut ties);
    cells_and_runs(&suspects, &mut ties);
    ties.clusters(suspects)
}

fn called_alike(suspects: &mut [Suspect], ties: &mut Ties, thresholds: &Thresholds) {
    let mut meetings: HashMap<(usize, u64), Vec<u32>> = HashMap::new();
    for (place, suspect) in suspects.iter().enumerate() {
        let called = suspect.behaviour.called.values();
        // Too few to share anything but by chance.
        if called.len() < 20 {
            continue;
        }
        for band in 0..BANDS {
            let least = |row: usize| {
                let salt = mixed((2 * band + row + 1) as u64);
                called.iter().map(|number| mixed(number ^ salt)).min().unwrap_or(0)
            };
            meetings.entry((band, mixed(least(0)) ^ least(1))).or_default().push(place as u32);
        }
    }
    let mut compared: HashSet<(u32, u32)> = HashSet::new();
    let mut most: HashMap<u32, f64> = HashMap::new();
    for met in meetings.values().filter(|met| met.len() > 1) {
        for (n, &a) in met.iter().enumerate() {
            for &b in met[n + 1..].iter().take(NEIGHBOURS) {
                if !compared.insert((a, b)) {
                    continue;
                }
                let (one, two) = (&suspects[a as usize].behaviour, &suspects[b as usize].behaviour);
                let same = one.called.jaccard(&two.called);
                if same >= thresholds.same_called {
                    ties.tie(a, b, Tie::CalledNumbers);
                    for place in [a, b] {
                        most.entry(place).and_modify(|known| *known = same.max(*known)).or_insert(same);
                    }
                }
            }
        }
    }
    for (place, figure) in most {
        let given = Given { signal: Signal::SameCalled, figure, threshold: thresholds.same_called };
        suspects[place as usize].signals.push(given);
    }
}

/// Everybody has lunch: so at one place, with calls enough to see pauses, and several at once.
fn pausing_alike(suspects: &mut [Suspect], ties: &mut Ties, thresholds: &Thresholds) {
    let mut places: BTreeMap<(bool, u64), Vec<u32>> = BTreeMap::new();
    for (place, suspect) in suspects.iter().enumerate() {
        let behaviour = &suspect.behaviour;
        let is_seen = behaviour.outgoing >= thresholds.many_calls / 2 && behaviour.pauses().count_ones() >= 2;
        let has_outbound = suspect.signals.iter().any(|given| given.signal.evidence() == Evidence::Outbound);
        if !is_seen || !has_outbound {
            continue;
        }
        // One that moves is nowhere.
        let of = |values: &[u64], is_cell: bool| (values.len() == 1).then(|| (is_cell, values[0]));
        let at = of(behaviour.cells.values(), true).or_else(|| of(behaviour.trunks.values(), false));
        if let Some(at) = at {
            places.entry(at).or_default().push(place as u32);
        }
    }
    let mut company: HashMap<u32, (usize, f64)> = HashMap::new();
    let mut pairs = Vec::new();
    for there in places.values() {
        for (n, &a) in there.iter().enumerate() {
            for &b in there[n + 1..].iter().take(NEIGHBOURS) {
                let pauses = [a, b].map(|place| suspects[place as usize].behaviour.pauses());
                let both = (pauses[0] & pauses[1]).count_ones();
                let same = f64::from(both) / f64::from((pauses[0] | pauses[1]).count_ones().max(1));
                if same >= thresholds.same_pauses {
                    pairs.push((a, b));
                    for place in [a, b] {
                        let known = company.entry(place).or_default();
                        *known = (known.0 + 1, known.1.max(same));
                    }
                }
            }
        }
    }
    let is_company = |place: &u32| company.get(place).is_some_and(|(n, _)| n + 1 >= thresholds.pausing);
    for (a, b) in pairs {
        if is_company(&a) && is_company(&b) {
            ties.tie(a, b, Tie::Pauses);
        }
    }
    for (place, (_, figure)) in company.iter().filter(|(place, _)| is_company(place)) {
        let given = Given { signal: Signal::SamePauses, figure: *figure, threshold: thresholds.same_pauses };
        suspects[*place as usize].signals.push(given);
    }
}

fn telephones(suspects: &[Suspect], ties: &mut Ties) {
    let mut first: HashMap<u64, u32> = HashMap::new();
    for (place, suspect) in suspects.iter().enumerate() {
        for &imei in suspect.behaviour.imeis.values() {
            let other = *first.entry(imei).or_insert(place as u32);
            if other != place as u32 {
                ties.tie(other, place as u32, Tie::Telephone);
            }
        }
    }
}

/// Neighbours alone are no reason: only alarms are tied by where they are and what they are called.
fn cells_and_runs(suspects: &[Suspect], ties: &mut Ties) {
    let mut first: HashMap<u64, u32> = HashMap::new();
    let mut last: Option<(u64, u32)> = None;
    for (place, suspect) in suspects.iter().enumerate().filter(|(_, suspect)| suspect.is_alarm) {
        let place = place as u32;
        let is_at = suspect.signals.iter().any(|given| given.signal == Signal::OnePlace);
        for &cell in suspect.behaviour.cells.values().iter().filter(|_| is_at) {
            let other = *first.entry(cell).or_insert(place);
            if other != place {
                ties.tie(other, place, Tie::Cell);
            }
        }
        // They come in the order of their numbers.
        let number = suspect.behaviour.number;
        if let Some((_, other)) = last.filter(|(known, _)| number - known <= NUMBERS_APART) {
            ties.tie(other, place, Tie::NumberRun);
        }
        last = Some((number, place));
    }
}

/// Disjoint sets of suspects and why they were joined.
struct Ties {
    roots: Vec<u32>,
    ties: Vec<(u32, Tie)>,
}

impl Ties {
    fn new(n: usize) -> Ties {
        Ties { roots: (0..n as u32).collect(), ties: Vec::new() }
    }

    fn root(&mut self, mut place: u32) -> u32 {
        while self.roots[place as usize] != place {
            self.roots[place as usize] = self.roots[self.roots[place as usize] as usize];
            place = self.roots[place as usize];
        }
        place
    }

    fn tie(&mut self, a: u32, b: u32, tie: Tie) {
        let (one, two) = (self.root(a), self.root(b));
        self.roots[one.max(two) as usize] = one.min(two);
        self.ties.push((a, tie));
    }

    fn clusters(mut self, suspects: Vec<Suspect>) -> Vec<Cluster> {
        let mut clusters: HashMap<u32, Cluster> = HashMap::new();
        for (place, suspect) in suspects.into_iter().enumerate() {
            let root = self.root(place as u32);
            let empty = || Cluster { suspects: Vec::new(), ties: BTreeSet::new(), evidence: 0 };
            clusters.entry(root).or_insert_with(empty).suspects.push(suspect);
        }
        for (place, tie) in std::mem::take(&mut self.ties) {
            let root = self.root(place);
            clusters.get_mut(&root).expect("each is in one").ties.insert(tie);
        }
        let mut clusters: Vec<Cluster> =
            clusters.into_values().filter(|cluster| cluster.alarms() > 0).collect();
        for cluster in &mut clusters {
            let all: Vec<Given> =
                cluster.suspects.iter().flat_map(|suspect| suspect.signals.iter().copied()).collect();
            cluster.evidence = kinds_of_evidence(&all);
            cluster.suspects.sort_by(|a, b| {
                let rank = |one: &Suspect| (one.is_alarm, one.evidence, one.behaviour.outgoing);
                rank(b).cmp(&rank(a)).then(a.behaviour.number.cmp(&b.behaviour.number))
            });
        }
        clusters.sort_by(|a, b| {
            let rank = |one: &Cluster| {
                let calls: u64 = one.suspects.iter().map(|suspect| u64::from(suspect.behaviour.outgoing)).sum();
                (one.evidence, one.alarms(), calls)
            };
            rank(b)
                .cmp(&rank(a))
                .then(a.suspects[0].behaviour.number.cmp(&b.suspects[0].behaviour.number))
        });
        clusters
    }
}
