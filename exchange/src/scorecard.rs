//! What each neighbour handed over, by day: the share of calls whose number was not the caller's.
//!
//! It advises, a human decides.

use std::collections::BTreeMap;

use call::{Reason, Rule, Treatment, Verdict};
use serde::{Deserialize, Serialize};

use crate::day;

/// Calls of one trunk on one day.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Debug)]
pub struct Tally {
    /// All that came.
    pub calls: u64,
    /// Refused, by whatever rule.
    pub blocked: u64,
    /// Refused because the number is not the caller's.
    pub spoofed: u64,
    /// Denied by the operator of the number (R11, R14).
    pub denied: u64,
    /// Its operator did not say (R12, R15).
    pub unknown: u64,
}

/// Tallies by day (UTC, counted from 1970-01-01) and trunk.
#[derive(Clone, Default, Debug)]
pub struct Scorecard {
    days: BTreeMap<i64, BTreeMap<String, Tally>>,
}

/// What a tally suggests to do about a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    None,
    Warn,
    Throttle,
    Cut,
}

/// From which share of spoofed calls on, in thousandths of a day's calls, something is advised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    pub warn_permille: u64,
    pub throttle_permille: u64,
    pub cut_permille: u64,
    /// Of fewer calls in a day nothing is concluded.
    pub least_calls: u64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { warn_permille: 10, throttle_permille: 50, cut_permille: 200, least_calls: 1000 }
    }
}

impl Tally {
    /// Counts calls that a rule treated so. Blocks by the operator's own list, which is judged with R04 and says only that
    /// he does not want the call, count as spoofed here: who counts them takes them off.
    pub fn count(&mut self, rule: Rule, treatment: Treatment, calls: u64) {
        let is_blocked = treatment == Treatment::Block;
        let add = |to: &mut u64, counts: bool| *to += if counts { calls } else { 0 };
        add(&mut self.calls, true);
        add(&mut self.blocked, is_blocked);
        add(&mut self.spoofed, is_blocked && says_not_the_callers(rule));
        add(&mut self.denied, matches!(rule, Rule::R11 | Rule::R14));
        add(&mut self.unknown, matches!(rule, Rule::R12 | Rule::R15));
    }
}

impl Advice {
    /// `none`, `warn`, `throttle` or `cut`.
    pub fn name(self) -> &'static str {
        match self {
            Advice::None => "none",
            Advice::Warn => "warn",
            Advice::Throttle => "throttle",
            Advice::Cut => "cut",
        }
    }
}

impl Scorecard {
    /// Counts a call that came by `trunk` at `time_ms`, milliseconds since 1970-01-01 UTC.
    pub fn count(&mut self, time_ms: i64, trunk: &str, verdict: &Verdict) {
        let tally = self.tally(day(time_ms), trunk);
        tally.count(verdict.rule, verdict.treatment, 1);
        if verdict.reason == Reason::OnBlockList {
            tally.spoofed -= 1;
        }
    }

    /// Adds what another scorecard, or this one before a restart, counted for a day and trunk.
    pub fn add(&mut self, day: i64, trunk: &str, more: &Tally) {
        let tally = self.tally(day, trunk);
        tally.calls += more.calls;
        tally.blocked += more.blocked;
        tally.spoofed += more.spoofed;
        tally.denied += more.denied;
        tally.unknown += more.unknown;
    }

    /// Every tally with its day and trunk, in their order.
    pub fn rows(&self) -> impl Iterator<Item = (i64, &str, &Tally)> {
        self.days
            .iter()
            .flat_map(|(&day, trunks)| trunks.iter().map(move |(trunk, tally)| (day, trunk.as_str(), tally)))
    }

    /// Drops the days before this one.
    pub fn forget_before(&mut self, day: i64) {
        self.days = self.days.split_off(&day);
    }

    /// What the tally suggests: the hardest whose threshold it reaches.
    pub fn advice(tally: &Tally, thresholds: &Thresholds) -> Advice {
        let reaches = |permille: u64| {
            u128::from(tally.spoofed) * 1000 >= u128::from(tally.calls) * u128::from(permille)
        };
        match () {
            () if tally.calls < thresholds.least_calls.max(1) => Advice::None,
            () if reaches(thresholds.cut_permille) => Advice::Cut,
            () if reaches(thresholds.throttle_permille) => Advice::Throttle,
            () if reaches(thresholds.warn_permille) => Advice::Warn,
            () => Advice::None,
        }
    }

    fn tally(&mut self, day: i64, trunk: &str) -> &mut Tally {
        let trunks = self.days.entry(day).or_default();
        // No copy of the name but for its first call of a day.
        if !trunks.contains_key(trunk) {
            trunks.insert(trunk.to_owned(), Tally::default());
        }
        trunks.get_mut(trunk).expect("just seen to be there")
    }
}

/// The rules by which a block says that the number is not the caller's.
fn says_not_the_callers(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::R02
            | Rule::R03
            | Rule::R04
            | Rule::R05
            | Rule::R06
            | Rule::R08
            | Rule::R09
            | Rule::R11
            | Rule::R14
    )
}
