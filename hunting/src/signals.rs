//! Signals: what is unusual about how a number behaves, each with a name and a threshold.
//!
//! Signals of one kind of evidence often come together for honest reasons: who calls many strangers is seldom called back. So two
//! signals of different [`Evidence`] are asked for before a number is an alarm, and youth is no evidence: every honest SIM was new.

use serde::{Deserialize, Serialize};

use crate::records::Behaviour;

/// A kind of evidence that can be there without the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// It calls many, and few call it.
    Outbound,
    /// It does not move.
    Place,
    /// Many SIMs in one telephone.
    Device,
    /// How calls go: unanswered, very short, very long.
    Talk,
    /// Whom it calls: one number after the other.
    Targets,
    /// Other numbers do the same.
    Company,
    /// Not counted.
    Age,
}

macro_rules! signals {
    ($($(#[$doc:meta])* $variant:ident = $name:literal of $evidence:ident,)*) => {
        /// What is unusual.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        pub enum Signal { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl Signal {
            pub const ALL: &[Signal] = &[$(Signal::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Signal::$variant => $name,)* }
            }

            pub fn evidence(self) -> Evidence {
                match self { $(Signal::$variant => Evidence::$evidence,)* }
            }
        }
    };
}

signals! {
    /// Many calls, nearly each to another number.
    ManyCalled = "many-called" of Outbound,
    /// It is hardly ever called.
    SeldomCalled = "seldom-called" of Outbound,
    /// All its calls come from one or two cells.
    OnePlace = "one-place" of Place,
    /// A telephone of its had many SIMs within a week.
    ManySims = "many-sims" of Device,
    Unanswered = "unanswered" of Talk,
    /// Most talks are very short or very long.
    ShortOrLong = "short-or-long" of Talk,
    /// Called numbers follow each other.
    NumberRuns = "number-runs" of Targets,
    /// Others call the same numbers.
    SameCalled = "same-called" of Company,
    /// Others on the same trunk go through the same list.
    SamePool = "same-pool" of Company,
    /// Others at the same place or trunk pause at the same times.
    SamePauses = "same-pauses" of Company,
    /// Others in the same cell call strangers without moving.
    CrowdedPlace = "crowded-place" of Company,
    /// First seen a few days before.
    Young = "young" of Age,
}

/// From where on something is unusual: to be tuned for each network.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Thresholds {
    /// Outgoing calls in 24 h from which on a number is looked at, at most 255.
    pub looked_at: u32,
    /// Outgoing calls in 24 h, and different called numbers a call.
    pub many_calls: u32,
    pub spread: f64,
    /// Who is called more than so often, incoming calls an outgoing one, is known to somebody: a shop, a hospital, a
    /// company whose customers call back.
    pub known: f64,
    /// Incoming calls an outgoing one.
    pub seldom: f64,
    pub cells: u32,
    /// IMSIs in one IMEI within 7 days.
    pub sims: u32,
    /// Answered calls a call.
    pub answered: f64,
    /// Seconds, and the share of answered calls beyond them.
    pub short_s: u32,
    pub long_s: u32,
    pub short_or_long: f64,
    /// The share of called numbers in runs, and how far neighbours in one are apart at most.
    pub in_runs: f64,
    pub gap: u64,
    /// Called numbers that both called, of those that either did.
    pub same_called: f64,
    /// The same, of two on one trunk, and in how many numbers there: chance alone gives a few hundredths, even in a small town.
    pub same_pool: f64,
    pub hopping: usize,
    /// Pauses that both made, of those that either did, and in how many numbers at one place.
    pub same_pauses: f64,
    pub pausing: usize,
    /// Numbers in one cell.
    pub crowd: usize,
    pub young_days: u32,
    /// Kinds of evidence for an alarm.
    pub evidence: usize,
}

impl Thresholds {
    /// Shares of fewer calls are chance.
    fn enough(&self) -> u32 {
        self.looked_at.max(1)
    }
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            looked_at: 40,
            many_calls: 150,
            spread: 0.9,
            known: 0.1,
            seldom: 0.02,
            cells: 2,
            sims: 5,
            answered: 0.3,
            short_s: 15,
            long_s: 300,
            short_or_long: 0.7,
            in_runs: 0.3,
            gap: 2,
            same_called: 0.3,
            same_pool: 0.1,
            hopping: 4,
            same_pauses: 0.8,
            pausing: 3,
            crowd: 4,
            young_days: 7,
            evidence: 2,
        }
    }
}

/// A signal and what gave it: a figure of the behaviour and the threshold it passed.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Given {
    pub signal: Signal,
    pub figure: f64,
    pub threshold: f64,
}

/// Calls to it for each of its own.
fn called_back(behaviour: &Behaviour) -> f64 {
    f64::from(behaviour.incoming) / f64::from(behaviour.outgoing.max(1))
}

/// It is called so much that somebody knows it.
pub(crate) fn is_known(behaviour: &Behaviour, thresholds: &Thresholds) -> bool {
    called_back(behaviour) > thresholds.known
}

/// Nearly each call goes to another number, and few call back.
pub(crate) fn are_strangers(spread: f64, called_back: f64, thresholds: &Thresholds) -> bool {
    spread >= thresholds.spread && called_back <= thresholds.known
}

pub(crate) fn calls_strangers(behaviour: &Behaviour, thresholds: &Thresholds) -> bool {
    are_strangers(behaviour.spread(), called_back(behaviour), thresholds)
}

/// What calls to many strangers give: `many-called` and `seldom-called`.
pub(crate) fn outbound(outgoing: u32, spread: f64, called_back: f64, thresholds: &Thresholds) -> Vec<Given> {
    let mut given = Vec::new();
    if !are_strangers(spread, called_back, thresholds) {
        return given;
    }
    if outgoing >= thresholds.many_calls {
        let (figure, threshold) = (f64::from(outgoing), f64::from(thresholds.many_calls));
        given.push(Given { signal: Signal::ManyCalled, figure, threshold });
    }
    if outgoing >= thresholds.enough() && called_back <= thresholds.seldom {
        let signal = Signal::SeldomCalled;
        given.push(Given { signal, figure: called_back, threshold: thresholds.seldom });
    }
    given
}

/// `number-runs`, where enough was called.
pub(crate) fn number_runs(
    outgoing: u32,
    called: impl Iterator<Item = u64>,
    thresholds: &Thresholds,
) -> Option<Given> {
    let figure = if outgoing >= thresholds.enough() { in_runs(called, thresholds.gap) } else { return None };
    let given = Given { signal: Signal::NumberRuns, figure, threshold: thresholds.in_runs };
    (figure >= thresholds.in_runs).then_some(given)
}

/// The share of called numbers with another called one at most `gap` away.
pub(crate) fn in_runs(called: impl Iterator<Item = u64>, gap: u64) -> f64 {
    let mut called: Vec<u64> = called.collect();
    called.sort_unstable();
    let near = |a: usize, b: usize| called[b] - called[a] <= gap;
    let is_in = |n: usize| (n > 0 && near(n - 1, n)) || (n + 1 < called.len() && near(n, n + 1));
    (0..called.len()).filter(|n| is_in(*n)).count() as f64 / called.len().max(1) as f64
}

/// `one-place`: of nearly all its calls the cell is known.
pub(crate) fn one_place(outgoing: u32, placed: u32, cells: u32, thresholds: &Thresholds) -> Option<Given> {
    let is_placed = placed >= thresholds.enough() && f64::from(placed) >= 0.9 * f64::from(outgoing.max(1));
    let (figure, threshold) = (f64::from(cells), f64::from(thresholds.cells));
    let given = Given { signal: Signal::OnePlace, figure, threshold };
    (is_placed && cells <= thresholds.cells).then_some(given)
}

/// `many-sims`, of the telephone that had most.
pub(crate) fn many_sims(sims: u32, thresholds: &Thresholds) -> Option<Given> {
    let (figure, threshold) = (f64::from(sims), f64::from(thresholds.sims));
    (sims >= thresholds.sims).then_some(Given { signal: Signal::ManySims, figure, threshold })
}

/// How calls went, as far as records say.
#[derive(Clone, Copy, Default)]
pub(crate) struct Talks {
    /// Whether they were answered is known, they were, and how long is known.
    pub known: u32,
    pub answered: u32,
    pub timed: u32,
    /// Very short or very long.
    pub odd: u32,
}

/// `unanswered` and `short-or-long`.
pub(crate) fn talks(talks: &Talks, thresholds: &Thresholds) -> Vec<Given> {
    let mut given = Vec::new();
    let answered = f64::from(talks.answered) / f64::from(talks.known.max(1));
    if talks.known >= thresholds.enough() && answered <= thresholds.answered {
        given.push(Given { signal: Signal::Unanswered, figure: answered, threshold: thresholds.answered });
    }
    let odd = f64::from(talks.odd) / f64::from(talks.timed.max(1));
    if talks.timed >= thresholds.enough() / 2 && odd >= thresholds.short_or_long {
        given.push(Given { signal: Signal::ShortOrLong, figure: odd, threshold: thresholds.short_or_long });
    }
    given
}

/// The signals that a number's own behaviour gives; those of company come from [`crate::Hunt`].
pub fn own_signals(behaviour: &Behaviour, thresholds: &Thresholds) -> Vec<Given> {
    let Behaviour { outgoing, placed, known, answered, timed, short, long, .. } = *behaviour;
    let mut given = outbound(outgoing, behaviour.spread(), called_back(behaviour), thresholds);
    given.extend(one_place(outgoing, placed, behaviour.cells.values().len() as u32, thresholds));
    given.extend(many_sims(behaviour.imsis, thresholds));
    given.extend(talks(&Talks { known, answered, timed, odd: short + long }, thresholds));
    given.extend(number_runs(outgoing, behaviour.called.values().iter().copied(), thresholds));
    if let Some(days) = behaviour.age_days.filter(|days| *days <= thresholds.young_days) {
        let (figure, threshold) = (f64::from(days), f64::from(thresholds.young_days));
        given.push(Given { signal: Signal::Young, figure, threshold });
    }
    given
}

/// How many kinds of evidence signals are; youth is none.
pub fn kinds_of_evidence(given: &[Given]) -> usize {
    let mut kinds: Vec<Evidence> = given.iter().map(|given| given.signal.evidence()).collect();
    kinds.retain(|evidence| *evidence != Evidence::Age);
    kinds.sort_unstable();
    kinds.dedup();
    kinds.len()
}
