//! Who had a seized thing when: entries one behind the other, each with the hash of all before it.
//!
//! The hash of an entry stands in the answer to whoever made it, and so on paper: what is changed later, left out or put in between
//! shows.

use journal::{hex, sha256};
use serde::{Deserialize, Serialize};

lending::names! {
    /// What was seized.
    ItemKind {
        Laptop = "laptop",
        Phone = "phone",
        GsmGateway = "gsm-gateway",
        Sim = "sim",
        Network = "network-equipment",
        Storage = "storage",
        Other = "other",
    }
}

/// A seized thing, as it was taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seizure {
    pub item: ItemKind,
    pub serials: Vec<String>,
    pub place: String,
    pub at_ms: i64,
    /// Who took it, and has it until he hands it over.
    pub by: String,
    /// Random, so that nobody finds the rest out by trying.
    pub salt: String,
}

/// It went from one to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HandOver {
    pub at_ms: i64,
    pub from: String,
    pub to: String,
    pub place: String,
    pub why: String,
    /// Who wrote it down.
    pub who: String,
}

/// Why a hand-over is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CustodyFault {
    NotTheHolder,
    BeforeTheLast,
    YetToCome,
    ToHimself,
}

impl std::fmt::Display for CustodyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CustodyFault::NotTheHolder => "from is not who has it",
            CustodyFault::BeforeTheLast => "time is before the entry before it",
            CustodyFault::YetToCome => "time is yet to come",
            CustodyFault::ToHimself => "to is who has it already",
        })
    }
}

/// A thing's chain of custody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Custody {
    pub seizure: Seizure,
    /// Each with the hash that was kept.
    pub entries: Vec<(HandOver, String)>,
}

fn next(before: &str, entry: &impl Serialize) -> String {
    let entry = serde_json::to_string(entry).expect("plain values");
    hex(&sha256(format!("{before}\n{entry}").as_bytes()))
}

impl Custody {
    /// The hash of the seizure itself.
    pub fn begins(seizure: &Seizure) -> String {
        next("qalqan custody", seizure)
    }

    pub fn holder(&self) -> &str {
        self.entries.last().map_or(&self.seizure.by, |(last, _)| &last.to)
    }

    /// The hash of the next entry, if it may follow.
    pub fn hand_over(&self, entry: &HandOver, now_ms: i64) -> Result<String, CustodyFault> {
        let last_ms = self.entries.last().map_or(self.seizure.at_ms, |(last, _)| last.at_ms);
        match entry {
            _ if entry.from != self.holder() => Err(CustodyFault::NotTheHolder),
            _ if entry.to == entry.from => Err(CustodyFault::ToHimself),
            _ if entry.at_ms < last_ms => Err(CustodyFault::BeforeTheLast),
            _ if entry.at_ms > now_ms => Err(CustodyFault::YetToCome),
            _ => {
                let begins = Custody::begins(&self.seizure);
                let before = self.entries.last().map_or(begins, |(_, hash)| hash.clone());
                Ok(next(&before, entry))
            }
        }
    }

    /// The first entry, counted from 1, that is not as it was written down; 0: the seizure itself is not.
    pub fn changed(&self, begins: &str) -> Option<usize> {
        let mut before = Custody::begins(&self.seizure);
        if before != begins {
            return Some(0);
        }
        for (n, (entry, hash)) in self.entries.iter().enumerate() {
            before = next(&before, entry);
            if before != *hash {
                return Some(n + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn custody(n: usize) -> Custody {
        let seizure = Seizure {
            item: ItemKind::GsmGateway,
            serials: vec!["A1".to_owned()],
            place: "Astana".to_owned(),
            at_ms: 1000,
            by: "p0".to_owned(),
            salt: "00".to_owned(),
        };
        let mut custody = Custody { seizure, entries: Vec::new() };
        for n in 0..n {
            let entry = HandOver {
                at_ms: 1000 + n as i64,
                from: format!("p{n}"),
                to: format!("p{}", n + 1),
                place: "store".to_owned(),
                why: "examination".to_owned(),
                who: "ivan".to_owned(),
            };
            let hash = custody.hand_over(&entry, 10_000).unwrap();
            custody.entries.push((entry, hash));
        }
        custody
    }

    #[test]
    fn only_the_holder_hands_over_and_time_does_not_run_back() {
        let custody = custody(2);
        assert_eq!(custody.holder(), "p2");
        let entry = HandOver { from: "p2".to_owned(), to: "p9".to_owned(), ..custody.entries[1].0.clone() };
        let refused = |entry: &HandOver| custody.hand_over(entry, 10_000).unwrap_err();
        assert!(custody.hand_over(&entry, 10_000).is_ok());
        assert_eq!(refused(&HandOver { from: "p1".to_owned(), ..entry.clone() }), CustodyFault::NotTheHolder);
        assert_eq!(refused(&HandOver { to: "p2".to_owned(), ..entry.clone() }), CustodyFault::ToHimself);
        assert_eq!(refused(&HandOver { at_ms: 1000, ..entry.clone() }), CustodyFault::BeforeTheLast);
        assert_eq!(refused(&HandOver { at_ms: 20_000, ..entry }), CustodyFault::YetToCome);
    }

    proptest! {
        #[test]
        fn whatever_is_changed_shows(n in 1..6usize, at in 0..6usize, what in 0..4usize) {
            let whole = custody(n);
            let begins = Custody::begins(&whole.seizure);
            prop_assert_eq!(whole.changed(&begins), None);
            let mut changed = whole.clone();
            let at = at % n;
            let place = match what {
                0 => { changed.entries[at].0.to.push('x'); at + 1 }
                1 => { changed.entries[at].0.at_ms += 1; at + 1 }
                2 => { changed.seizure.serials[0].push('x'); 0 }
                _ => { changed.entries.remove(at); at + 1 }
            };
            let expected = if what == 3 && at == n - 1 { None } else { Some(place) };
            prop_assert_eq!(changed.changed(&begins), expected);
        }
    }
}
