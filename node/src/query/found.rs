//! One verdict as it was found, whether in a log or in a segment.

use std::collections::HashMap;
use std::sync::Arc;

use call::{Decided, Reason, Rule, RuleSet, Treatment, TrunkClass, Verdict, Would};
use journal::{Cell, Cells, Hidden, Record, Shown};
use numbering::Party;

use super::Query;
use crate::store::bases::TrunkNames;

pub struct Found {
    pub time_ms: i64,
    /// The segment it was in; a log: the last of all.
    pub segment: u64,
    /// Its row there, from 0.
    pub place: u64,
    pub trunk: Arc<str>,
    pub class: TrunkClass,
    /// Calling, presentation, called, redirecting.
    pub numbers: [Shown; 4],
    pub verdict: Verdict,
    pub took_ns: u32,
    pub call_id: String,
    pub basis: u64,
}

impl Found {
    pub fn of_record(record: &Record, closed: bool, trunks: &mut TrunkNames) -> Found {
        let call = &record.call;
        let number = |party: Party| if closed { Shown::Closed } else { Shown::Party(party) };
        Found {
            time_ms: call.time_ms,
            segment: u64::MAX,
            place: 0,
            trunk: trunks.of(record),
            class: call.class,
            numbers: [call.calling, call.presentation, call.called, call.redirecting].map(number),
            verdict: record.verdict,
            took_ns: record.took_ns,
            call_id: String::from_utf8_lossy(record.call_id()).into_owned(),
            basis: record.basis,
        }
    }
}

/// The words of a segment by their names.
pub struct Names {
    reasons: HashMap<&'static str, Reason>,
}

impl Default for Names {
    fn default() -> Names {
        Names { reasons: Reason::ALL.iter().map(|&reason| (reason.name(), reason)).collect() }
    }
}

// Places of the columns in `journal::NAMES`.
const TIME: usize = 0;
const TRUNK: usize = 1;
const CLASS: usize = 2;
const NUMBERS: usize = 3;
const VERDICT: usize = 9;
const LABEL: usize = 10;
const RULE: usize = 11;
const REASON: usize = 12;
const DECIDED_BY: usize = 13;
const WOULD: usize = 14;
const MONITORED: usize = 17;
const TOOK_NS: usize = 18;
const BASIS: usize = 19;
const CALL_ID: usize = 20;

impl Names {
    /// A row of a segment; none: it holds what no version of ours writes.
    pub fn found(&self, segment: u64, cells: &Cells, place: u64, hidden: &mut Hidden) -> Option<Found> {
        let text = |n: usize| cells[n].text();
        let treatment = |verdict: usize, label: Option<&str>| {
            let is_named = |treatment: &Treatment| {
                Some(treatment.name()) == text(verdict)
                    && label.is_none_or(|label| treatment.label().is_some_and(|own| own.name() == label))
            };
            Treatment::ALL.into_iter().find(is_named)
        };
        let reason = |n: usize| self.reasons.get(text(n)?).copied();
        let rule = |n: usize| Rule::from_id(text(n)?);
        let would = match text(WOULD) {
            // The label of a mark that was not made is not written.
            Some(_) => Some(Would {
                treatment: treatment(WOULD, None)?,
                rule: rule(WOULD + 1)?,
                reason: reason(WOULD + 2)?,
            }),
            None => None,
        };
        let monitored = text(MONITORED).unwrap_or("").split_whitespace().filter_map(Rule::from_id);
        Some(Found {
            time_ms: integer(&cells[TIME])?,
            segment,
            place,
            trunk: text(TRUNK)?.into(),
            class: TrunkClass::from_name(text(CLASS)?)?,
            numbers: hidden.read(place, [0, 1, 2, 3].map(|n| text(NUMBERS + n))),
            verdict: Verdict {
                treatment: treatment(VERDICT, text(LABEL))?,
                rule: rule(RULE)?,
                reason: reason(REASON)?,
                decided: match text(DECIDED_BY)? {
                    "presentation" => Decided::ByPresentationNumber,
                    _ => Decided::ByNetworkNumber,
                },
                would,
                monitored: monitored.fold(RuleSet::default(), RuleSet::with),
            },
            took_ns: integer(&cells[TOOK_NS])? as u32,
            call_id: text(CALL_ID)?.to_owned(),
            basis: u64::from_str_radix(text(BASIS)?, 16).ok()?,
        })
    }
}

fn integer(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Integer(value) => Some(*value),
        _ => None,
    }
}

impl Query {
    pub(super) fn matches(&self, found: &Found, token: Option<&str>) -> bool {
        let verdict = &found.verdict;
        self.from_ms.is_none_or(|from| found.time_ms >= from)
            && self.until_ms.is_none_or(|until| found.time_ms < until)
            && self.rule.is_none_or(|rule| verdict.rule == rule || verdict.monitored.contains(rule))
            && self.verdict.as_ref().is_none_or(|name| verdict.treatment.name() == name)
            && self.trunk.as_ref().is_none_or(|name| *found.trunk == **name)
            && self.number.is_none_or(|number| {
                found.numbers.iter().any(|shown| match shown {
                    Shown::Party(party) => *party == Party::Number(number),
                    Shown::Token(text) => Some(text.as_str()) == token,
                    Shown::Closed => false,
                })
            })
    }

    /// What can be said before a row is taken apart.
    pub(super) fn may_match(&self, cells: &Cells) -> bool {
        let time = integer(&cells[TIME]);
        self.from_ms.is_none_or(|from| time.is_none_or(|time| time >= from))
            && self.until_ms.is_none_or(|until| time.is_none_or(|time| time < until))
            && self.verdict.as_ref().is_none_or(|name| cells[VERDICT] == Cell::Text(name))
            && self.trunk.as_ref().is_none_or(|name| cells[TRUNK] == Cell::Text(name))
    }
}
