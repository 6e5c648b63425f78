//! From numbers to those who stand behind them: alarms, and clusters of numbers that act as one.
//!
//! Numbers that call the same people are found by MinHash in bands (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets,
//! section 3.4), never by comparing all with all; then they are compared.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use crate::chance::mixed;
use crate::records::Behaviour;
use crate::signals::{
    Evidence, Given, Signal, Thresholds, calls_strangers, is_known, kinds_of_evidence, own_signals,
};

/// 32 bands of two rows: pairs that share 0.3 of their called numbers meet with a chance of 0.95, 0.05 with one of 0.08.
const BANDS: usize = 32;
/// Of those who meet in one place no more are compared than so many neighbours each.
const NEIGHBOURS: usize = 24;
/// A list is gone through: most calls go to another number.
const LIST_SPREAD: f64 = 0.5;
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
    crowds(&mut suspects, thresholds);
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
        // Too few to share anything but by chance; and who calls the same few over and over is a probe or a machine.
        let is_list = called.len() >= 20 && suspect.behaviour.spread() >= LIST_SPREAD;
        // A company goes through its customers with many numbers, and they call back.
        if !is_list || is_known(&suspect.behaviour, thresholds) {
            continue;
        }
        for band in 0..BANDS {
            let least = |row: usize| {
                let salt = mixed((2 * band + row + 1) as u64);
                called.iter().map(|number| mixed(number ^ salt)).min().unwrap_or(0)
            };
            let mut meet = |key: (usize, u64)| meetings.entry(key).or_default().push(place as u32);
            let first = mixed(least(0));
            meet((band, first ^ least(1)));
            // On one trunk a looser likeness counts: one row, where pairs that share 0.1 meet with a chance of 0.97.
            for &trunk in suspect.behaviour.trunks.values() {
                meet((BANDS + band, mixed(first ^ trunk)));
            }
        }
    }
    let mut compared: HashSet<(u32, u32)> = HashSet::new();
    let mut most: HashMap<u32, f64> = HashMap::new();
    let mut pooled: Vec<(u32, u32, f64)> = Vec::new();
    for met in meetings.values().filter(|met| met.len() > 1) {
        for (n, &a) in met.iter().enumerate() {
            for &b in met[n + 1..].iter().take(NEIGHBOURS) {
                if !compared.insert((a, b)) {
                    continue;
                }
                let (one, two) = (&suspects[a as usize].behaviour, &suspects[b as usize].behaviour);
                let same = one.called.jaccard(&two.called);
                let talks_oddly = |place: u32| {
                    let mut signals = suspects[place as usize].signals.iter();
                    signals.any(|given| given.signal.evidence() == Evidence::Talk)
                };
                // An honest company's numbers go through its customers too, but its talks are talks.
                if same >= thresholds.same_pool && one.shares_trunk(two) && talks_oddly(a) && talks_oddly(b) {
                    pooled.push((a, b, same));
                }
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
    pools(&pooled, suspects, ties, thresholds);
}

/// Two numbers of one trunk may call some of the same people; several that do so two by two go through one list, turn by turn.
fn pools(pairs: &[(u32, u32, f64)], suspects: &mut [Suspect], ties: &mut Ties, thresholds: &Thresholds) {
    let mut company: BTreeMap<u32, (usize, f64)> = BTreeMap::new();
    for &(a, b, same) in pairs {
        for place in [a, b] {
            let known = company.entry(place).or_default();
            *known = (known.0 + 1, known.1.max(same));
        }
    }
    company.retain(|_, (others, _)| *others + 1 >= thresholds.hopping);
    for &(a, b, _) in pairs {
        if company.contains_key(&a) && company.contains_key(&b) {
            ties.tie(a, b, Tie::CalledNumbers);
        }
    }
    for (place, (_, figure)) in company {
        let given = Given { signal: Signal::SamePool, figure, threshold: thresholds.same_pool };
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

/// One that calls strangers from where it stays may be a shop; several in one cell are a gateway or a room of people.
fn crowds(suspects: &mut [Suspect], thresholds: &Thresholds) {
    let mut there: HashMap<u64, usize> = HashMap::new();
    let is_candidate = |suspect: &Suspect| {
        let stays = suspect.signals.iter().any(|given| given.signal == Signal::OnePlace);
        stays && calls_strangers(&suspect.behaviour, thresholds)
    };
    for suspect in suspects.iter().filter(|suspect| is_candidate(suspect)) {
        // Between two cells a telephone changes from one to the other and back.
        suspect.behaviour.cells.values().iter().for_each(|cell| *there.entry(*cell).or_default() += 1);
    }
    for suspect in suspects.iter_mut().filter(|suspect| is_candidate(suspect)) {
        let most = suspect.behaviour.cells.values().iter().map(|cell| there[cell]).max().unwrap_or(0);
        if most >= thresholds.crowd {
            let (figure, threshold) = (most as f64, thresholds.crowd as f64);
            suspect.signals.push(Given { signal: Signal::CrowdedPlace, figure, threshold });
        }
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
                let calls: u64 =
                    one.suspects.iter().map(|suspect| u64::from(suspect.behaviour.outgoing)).sum();
                (one.evidence, one.alarms(), calls)
            };
            rank(b).cmp(&rank(a)).then(a.suspects[0].behaviour.number.cmp(&b.suspects[0].behaviour.number))
        });
        clusters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::CallRecord;
    use crate::sieve::Sieve;

    fn find(records: &[CallRecord]) -> Vec<Cluster> {
        let thresholds = Thresholds::default();
        let sieve = Sieve::new(&thresholds, 0, records.len());
        records.iter().for_each(|record| sieve.see(record));
        let closer = sieve.closer(&thresholds);
        records.iter().for_each(|record| closer.see(record));
        hunt(closer.behaviours().0, &thresholds)
    }

    /// `calls` of a number to strangers, through a day.
    fn calls(calling: u64, calls: u64, cell: impl Fn(u64) -> u64) -> Vec<CallRecord> {
        let call = |n: u64| CallRecord {
            calling,
            called: 70_000_000_000 + mixed(calling << 20 | n) % 1_000_000_000,
            start_ms: (n * 86_400_000 / calls) as i64,
            duration_s: Some(60),
            is_answered: Some(true),
            cell: Some(cell(n)),
            imei: Some(calling),
            imsi: Some(calling),
            ..CallRecord::default()
        };
        (0..calls).map(call).collect()
    }

    #[test]
    fn one_kind_of_evidence_is_no_alarm() {
        // A courier: many strangers, everywhere. A gateway's SIM: the same from one cell.
        assert!(find(&calls(1, 200, |n| n)).is_empty());
        let clusters = find(&calls(1, 200, |_| 7));
        assert_eq!((clusters.len(), clusters[0].alarms(), clusters[0].evidence), (1, 1, 2));
        let signals: Vec<Signal> = clusters[0].suspects[0].signals.iter().map(|given| given.signal).collect();
        assert_eq!(signals, [Signal::ManyCalled, Signal::SeldomCalled, Signal::OnePlace]);
    }

    /// Numbers that each make 200 calls by a trunk of theirs, loosely through one list of 500.
    fn through_a_list(numbers: u64, trunk: impl Fn(u64) -> u64, seconds: u32) -> Vec<CallRecord> {
        let one = |calling: u64| {
            let trunk = trunk(calling);
            calls(calling, 200, |_| 0).into_iter().enumerate().map(move |(n, call)| CallRecord {
                called: 70_000_000_000 + mixed(calling << 20 | n as u64) % 500 * 97,
                duration_s: Some(seconds),
                trunk: Some(trunk),
                cell: None,
                imei: None,
                imsi: None,
                ..call
            })
        };
        (1..=numbers).flat_map(one).collect()
    }

    #[test]
    fn numbers_that_hop_on_one_trunk_over_one_list_are_one_hand() {
        let short = 5;
        let clusters = find(&through_a_list(8, |_| 3, short));
        assert_eq!((clusters.len(), clusters[0].alarms()), (1, 8));
        assert_eq!(clusters[0].ties, BTreeSet::from([Tie::CalledNumbers, Tie::NumberRun]));
        let has_pool =
            |suspect: &Suspect| suspect.signals.iter().any(|given| given.signal == Signal::SamePool);
        assert!(clusters[0].suspects.iter().all(has_pool));
        // The list of an honest company, whose talks are as long as talks are; three numbers; a trunk each.
        assert!(find(&through_a_list(8, |_| 3, 60)).is_empty());
        assert!(find(&through_a_list(3, |_| 3, short)).is_empty());
        assert!(find(&through_a_list(8, |calling| calling, short)).is_empty());
    }

    #[test]
    fn who_is_called_is_known_to_somebody() {
        let mut records = calls(1, 200, |_| 7);
        for n in 0..80 {
            records.push(CallRecord {
                calling: 500 + n,
                called: 1,
                start_ms: n as i64 * 60_000,
                ..CallRecord::default()
            });
        }
        assert!(find(&records).is_empty());
    }

    #[test]
    fn small_ones_in_one_cell_are_seen_together() {
        // Sixty calls a day each, and six to each: alone none gives a signal but that it stays.
        let few = |n: u64, is_called_by: &dyn Fn(u64) -> u64| -> Vec<CallRecord> {
            let mut records: Vec<CallRecord> = (0..n).flat_map(|sim| calls(10 + sim, 60, |_| 7)).collect();
            records.extend((0..n * 6).map(|call| CallRecord {
                calling: is_called_by(call),
                called: 10 + call % n,
                start_ms: call as i64 * 7777,
                ..CallRecord::default()
            }));
            records
        };
        let by_others = |call: u64| 900 + call;
        assert!(find(&few(3, &by_others)).is_empty());
        let clusters = find(&few(4, &by_others));
        assert_eq!((clusters.len(), clusters[0].alarms()), (1, 4), "{clusters:?}");
        assert!(clusters[0].ties.contains(&Tie::Cell));
        // Calls among themselves are no sign that anybody knows them.
        let clusters = find(&few(3, &|call| 10 + (call + 1) % 3));
        assert_eq!((clusters.len(), clusters[0].alarms()), (1, 3), "{clusters:?}");
        assert!(clusters[0].suspects[0].signals.iter().any(|given| given.signal == Signal::SeldomCalled));
    }

    #[test]
    fn numbers_on_one_list_are_tied_and_probes_are_not() {
        let on_list = |calling: u64, step: u64, times: u64| -> Vec<CallRecord> {
            let call = |n: u64| CallRecord {
                calling,
                called: 71_000_000_000 + (n % (200 / times)) * step,
                start_ms: (n * 60_000) as i64,
                duration_s: Some(5),
                is_answered: Some(true),
                ..CallRecord::default()
            };
            (0..200).map(call).collect()
        };
        // Short talks are one kind of evidence, the list another.
        let clusters = find(&[on_list(1, 5000, 1), on_list(9, 5000, 1)].concat());
        assert_eq!((clusters.len(), clusters[0].alarms()), (1, 2));
        assert_eq!(clusters[0].ties, BTreeSet::from([Tie::CalledNumbers]));
        assert!(find(&[on_list(1, 5000, 10), on_list(9, 5000, 10)].concat()).is_empty());
        // A run of numbers, one after the other.
        let clusters = find(&on_list(1, 1, 1));
        assert!(clusters[0].suspects[0].signals.iter().any(|given| given.signal == Signal::NumberRuns));
    }
}
