//! A call centre: numbers, telephones and trunks that hunting took for one hand's, and the facts whose victims they called.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use numbering::Plan;
use serde::{Deserialize, Serialize};

use crate::{Identifier, IdentifierKind};

lending::names! {
    /// What persons made of it.
    CentreState {
        Proposed = "proposed",
        Confirmed = "confirmed",
        Dismissed = "dismissed",
    }
}

/// A cluster as a hunt found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundCentre {
    /// Phones, two at least, and the telephones (IMEI) they were in.
    pub numbers: BTreeSet<Identifier>,
    pub devices: BTreeSet<Identifier>,
    pub told: CentreTold,
    /// Numbers of facts whose victims it called.
    pub called: BTreeSet<String>,
}

/// What else is known of it; it only grows.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct CentreTold {
    pub trunks: BTreeSet<String>,
    /// Signals of its numbers, and what ties them.
    pub evidence: BTreeSet<String>,
    /// The busiest days of its numbers, the first and the last.
    pub days: Option<(String, String)>,
    /// SHA-256 of the call records that it was found in.
    #[serde(default)]
    pub records: BTreeSet<String>,
}

impl CentreTold {
    /// Takes in what another hunt told.
    pub fn grow(&mut self, more: &CentreTold) {
        self.trunks.extend(more.trunks.iter().cloned());
        self.evidence.extend(more.evidence.iter().cloned());
        self.records.extend(more.records.iter().cloned());
        // Written as 2026-03-02, days are in the order of their texts.
        self.days = match (self.days.take(), more.days.clone()) {
            (Some(own), Some(other)) => Some((own.0.min(other.0), own.1.max(other.1))),
            (own, other) => own.or(other),
        };
    }
}

/// A line of what `hunt --out` writes; members that are not named are of no matter here.
#[derive(Deserialize)]
struct Line {
    numbers: Vec<Suspect>,
    #[serde(default)]
    ties: BTreeSet<String>,
    /// SHA-256 of the files that were hunted in.
    #[serde(default)]
    records: BTreeSet<String>,
    /// `case called --out` adds them.
    #[serde(default)]
    called: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Suspect {
    number: String,
    #[serde(default)]
    day: Option<String>,
    #[serde(default)]
    imeis: Vec<String>,
    #[serde(default)]
    trunks: BTreeSet<String>,
    #[serde(default)]
    signals: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    signal: String,
}

/// Reads JSON lines, a cluster each, whole or not at all; those of one number are no centres. The error has every fault.
pub fn read_centres(text: &str, plan: &Plan) -> Result<Vec<FoundCentre>, Vec<String>> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => match centre(line, plan) {
                Ok(centre) if centre.numbers.len() > 1 => found.push(centre),
                Ok(_) => {}
                Err(what) => faults.push(format!("line {}: {what}", n + 1)),
            },
            Err(error) => faults.push(format!("line {}: {error}: give what hunt --out wrote", n + 1)),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

fn centre(line: Line, plan: &Plan) -> Result<FoundCentre, String> {
    let Line { numbers: suspects, ties, records, called } = line;
    let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(other) = records.iter().find(|text| !is_hash(text)) {
        return Err(format!("records: \"{other}\" is no SHA-256 in 64 hex digits"));
    }
    let mut centre = FoundCentre {
        numbers: BTreeSet::new(),
        devices: BTreeSet::new(),
        told: CentreTold { evidence: ties, records, ..CentreTold::default() },
        called,
    };
    let read = |kind: IdentifierKind, text: &str| {
        Identifier::read(kind, text, plan).map_err(|fault| format!("{}: {fault}", kind.name()))
    };
    for suspect in suspects {
        centre.numbers.insert(read(IdentifierKind::Phone, &suspect.number)?);
        for imei in &suspect.imeis {
            centre.devices.insert(read(IdentifierKind::Imei, imei)?);
        }
        let evidence = suspect.signals.into_iter().map(|given| given.signal).collect();
        let days = suspect.day.map(|day| (day.clone(), day));
        if let Some((day, _)) = &days {
            day.parse::<Date>().map_err(|_| format!("day {day}: is none such as 2026-03-02"))?;
        }
        centre.told.grow(&CentreTold { trunks: suspect.trunks, evidence, days, ..CentreTold::default() });
    }
    Ok(centre)
}

/// Which of the centres known this cluster is, grown or shrunk: that with most numbers in common, where these are half of the
/// smaller one at least. Numbers change hands one by one, a centre not all at once.
pub fn known_as(numbers: &BTreeSet<i64>, known: &BTreeMap<i64, BTreeSet<i64>>) -> Option<i64> {
    let common = |of: &BTreeSet<i64>| of.intersection(numbers).count();
    let is_same = |of: &BTreeSet<i64>| {
        let common = common(of);
        common > 0 && 2 * common >= of.len().min(numbers.len())
    };
    let same = known.iter().filter(|(_, of)| is_same(of));
    // Of two alike, the older.
    same.max_by_key(|(id, of)| (common(of), std::cmp::Reverse(**id))).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(of: &[i64]) -> BTreeSet<i64> {
        of.iter().copied().collect()
    }

    #[test]
    fn a_cluster_that_grew_is_the_same_and_one_that_shares_a_number_is_not() {
        let known = BTreeMap::from([(1, set(&[1, 2, 3, 4])), (2, set(&[10, 11]))]);
        assert_eq!(known_as(&set(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), &known), Some(1));
        assert_eq!(known_as(&set(&[3, 4]), &known), Some(1));
        assert_eq!(known_as(&set(&[4, 20, 21, 22]), &known), None);
        // Of both, that with more in common.
        assert_eq!(known_as(&set(&[1, 2, 3, 10]), &known), Some(1));
        assert_eq!(known_as(&set(&[30, 31]), &known), None);
    }

    proptest! {
        #[test]
        fn the_same_cluster_is_always_itself(numbers in proptest::collection::btree_set(0..50i64, 1..20)) {
            let known = BTreeMap::from([(7, numbers.clone())]);
            prop_assert_eq!(known_as(&numbers, &known), Some(7));
            let more: BTreeSet<i64> = numbers.iter().copied().chain(100..140).collect();
            prop_assert_eq!(known_as(&more, &known), Some(7));
        }
    }
}
