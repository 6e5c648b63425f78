//! Who was lately called by a number that screening marked or blocked: one table, shared by threads without a lock.
//!
//! And what investigators confirmed to be fraudsters', for loans that name it.
//!
//! A place is one word: a fingerprint of 32 bits of the called number, keyed anew by each process, and the second it was
//! called, in 32 bits. A number has eight places; where all are others', the oldest goes.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};

use ::casework::{Identifier, IdentifierKind};
use call::{Label, Treatment};
use journal::{NumbersKey, Record};
use lending::{Confirmed, SuspectCall};
use numbering::Number;

use super::office::{Office, Round};
use super::store::Applicant;
use crate::config::Journal;
use crate::query::{self, Source};
use crate::store::keys::Keys;
use crate::store::shelf::Shelf;

const PLACES: usize = 8;
/// 1 MiB: 131,072 numbers.
const BUCKETS: usize = 1 << 14;

/// Half an hour and some: longer than any rulebook's window is not remembered by the journal's reading.
const PAST_MS: i64 = 35 * 60_000;

/// Whether screening marked or blocked a call. The mark `verified` speaks for its caller.
pub fn is_suspicious(treatment: Treatment) -> bool {
    matches!(treatment, Treatment::Mark(label) if label != Label::Verified) || treatment == Treatment::Block
}

/// Segments of so short a time ago lie in the directory, wherever they are taken later.
fn source(journal: &Journal, keys: &[NumbersKey]) -> Source {
    Source {
        directory: Some(journal.directory.clone()),
        shelves: vec![Shelf::Directory(journal.directory.join("segments"))],
        keys: keys.to_vec(),
    }
}

/// What the register said.
enum Heard {
    /// The node started without one.
    Never,
    NotYet,
    All(HashSet<Identifier>),
}

/// The table.
pub struct Suspects {
    hash: RandomState,
    words: Box<[AtomicU64]>,
    /// Numbers that stood on the block list and should not have.
    pardoned: Mutex<Vec<Number>>,
    /// What is known to be fraudsters'.
    confirmed: RwLock<Heard>,
    /// Calls before this moment are not known; ms since 1970.
    known_from_ms: AtomicI64,
}

impl Suspects {
    /// Knows nothing of what was before `now_ms`. A register that the node starts with will tell what is confirmed.
    pub fn new(now_ms: i64, has_register: bool) -> Suspects {
        Suspects {
            hash: RandomState::new(),
            pardoned: Mutex::default(),
            confirmed: RwLock::new(if has_register { Heard::NotYet } else { Heard::Never }),
            words: (0..BUCKETS * PLACES).map(|_| AtomicU64::new(0)).collect(),
            known_from_ms: AtomicI64::new(now_ms),
        }
    }

    /// Takes a verdict up.
    #[inline]
    pub fn note(&self, record: &Record) {
        if is_suspicious(record.verdict.treatment)
            && let Some(called) = record.call.called.number()
        {
            self.keep(called, record.call.time_ms);
        }
    }

    #[cold]
    pub fn keep(&self, called: Number, at_ms: i64) {
        let (places, fingerprint) = self.places(called);
        let at_s = (at_ms / 1000) as u64 & u64::from(u32::MAX);
        let mut oldest = &places[0];
        for place in places {
            let word = place.load(Ordering::Relaxed);
            if word >> 32 == fingerprint {
                // Of two threads the later second stays.
                place.fetch_max(fingerprint << 32 | at_s, Ordering::Relaxed);
                return;
            }
            if word as u32 <= oldest.load(Ordering::Relaxed) as u32 {
                oldest = place;
            }
        }
        oldest.store(fingerprint << 32 | at_s, Ordering::Relaxed);
    }

    /// When the number was last called so, to the second.
    pub fn last(&self, called: Number, since_ms: i64) -> SuspectCall {
        let (places, fingerprint) = self.places(called);
        let found = places.iter().map(|place| place.load(Ordering::Relaxed));
        let found = found.filter(|word| word >> 32 == fingerprint).map(|word| i64::from(word as u32) * 1000);
        match found.max() {
            Some(at_ms) if at_ms >= since_ms => SuspectCall::At(at_ms),
            _ if since_ms < self.known_from_ms.load(Ordering::Relaxed) => SuspectCall::Unknown,
            _ => SuspectCall::None,
        }
    }

    /// Takes up what the journal has of the last half hour.
    pub fn read_journal(&self, journal: &Journal, now_ms: i64) -> Result<(), String> {
        let from_ms = now_ms - PAST_MS;
        let pardoned = self.pardoned.lock().expect("no panic inside").clone();
        let keys = Keys::of_numbers(&journal.keys)?;
        let source = || source(journal, &keys);
        let called = query::suspects(&source, from_ms, &pardoned).map_err(|error| error.to_string())?;
        called.into_iter().for_each(|(called, at_ms)| self.keep(called, at_ms));
        self.known_from_ms.store(from_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Whom numbers called in the last half hour is suspicious, for they were found to be fraudsters' at a moment; what others did
    /// is so no longer for their standing on the block list, from a moment on.
    pub fn judge_callers(
        &self,
        journal: &Journal,
        now_ms: i64,
        fraudsters: &[(Number, i64)],
        others: &[(Number, i64)],
    ) -> Result<(), String> {
        let from_ms = now_ms - PAST_MS;
        // Whoever was taken back earlier has no call left that would count.
        let lately: Vec<Number> =
            others.iter().filter(|(_, at_ms)| *at_ms >= from_ms).map(|(number, _)| *number).collect();
        {
            let mut pardoned = self.pardoned.lock().expect("no panic inside");
            pardoned.retain(|number| !fraudsters.iter().any(|(fraudster, _)| fraudster == number));
            pardoned.extend(&lately);
        }
        if !lately.is_empty() {
            // Who called whom is not in the table: it is made anew.
            self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            self.read_journal(journal, now_ms)?;
        }
        let keys = Keys::of_numbers(&journal.keys)?;
        // What was before was blocked since, and is in the table by that.
        for (number, _) in fraudsters.iter().filter(|(_, at_ms)| *at_ms >= from_ms) {
            let called = query::called_by(source(journal, &keys), *number, from_ms);
            let called = called.map_err(|error| error.to_string())?;
            called.into_iter().for_each(|(called, at_ms)| self.keep(called, at_ms));
        }
        Ok(())
    }

    /// Investigators found that some are fraudsters', or took it back: all that they said since the last time.
    pub fn judge_identifiers(&self, news: impl IntoIterator<Item = (Identifier, bool)>) {
        let mut heard = self.confirmed.write().expect("no panic inside");
        if !matches!(*heard, Heard::All(_)) {
            *heard = Heard::All(HashSet::new());
        }
        let Heard::All(confirmed) = &mut *heard else { return };
        for (identifier, is_confirmed) in news {
            match is_confirmed {
                true => confirmed.insert(identifier),
                false => confirmed.remove(&identifier),
            };
        }
    }

    /// Whether one of these is a fraudster's.
    pub fn confirmed(&self, identifiers: &[Identifier]) -> Confirmed {
        match &*self.confirmed.read().expect("no panic inside") {
            Heard::Never => Confirmed::NoRegister,
            Heard::NotYet => Confirmed::Unknown,
            Heard::All(known) if identifiers.iter().any(|one| known.contains(one)) => Confirmed::Yes,
            Heard::All(_) => Confirmed::No,
        }
    }

    fn places(&self, called: Number) -> (&[AtomicU64], u64) {
        let hash = self.hash.hash_one(called.key().0);
        let bucket = (hash as usize & (BUCKETS - 1)) * PLACES;
        // 0 is an empty place.
        (&self.words[bucket..bucket + PLACES], (hash >> 32).max(1))
    }
}

impl Office {
    pub(super) fn suspect_call(&self, round: &Round<'_>, phone: Number) -> SuspectCall {
        let minutes = round.settings.rulebook.limits(round.now_ms).suspicious_call_min;
        self.suspects.last(phone, round.now_ms - i64::from(minutes) * 60_000)
    }

    /// Whether something of an application is a fraudster's, as the register's feed last said.
    pub(super) fn confirmed(&self, applicant: &Applicant) -> Confirmed {
        let setup = self.setup.load();
        let public = setup.casework.as_ref().map_or(&[][..], |register| &register.public);
        let phone = Identifier::kept(IdentifierKind::Phone, applicant.phone.clone());
        let named = applicant.identifiers.iter();
        let named = named.map(|(kind, value)| Identifier::kept(*kind, value.clone()));
        // What is public links nobody, whoever confirmed it.
        let of_his: Vec<Identifier> = named.chain([phone]).filter(|one| !public.contains(one)).collect();
        self.suspects.confirmed(&of_his)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_speaks_for_the_caller_is_none_against_him() {
        for (treatment, is) in [
            (Treatment::Allow, false),
            (Treatment::Mark(Label::Verified), false),
            (Treatment::Mark(Label::International), true),
            (Treatment::Mark(Label::NotVerified), true),
            (Treatment::Mark(Label::Suspected), true),
            (Treatment::Block, true),
        ] {
            assert_eq!(is_suspicious(treatment), is, "{treatment:?}");
        }
    }

    #[test]
    fn a_call_is_remembered_and_what_is_not_known_is_said() {
        let suspects = Suspects::new(1_000_000, false);
        let number = |n: u64| Number::parse(&format!("+7701{n:07}")).unwrap();
        assert_eq!(suspects.last(number(1), 999_000), SuspectCall::Unknown);
        assert_eq!(suspects.last(number(1), 1_000_000), SuspectCall::None);
        suspects.known_from_ms.store(0, Ordering::Relaxed);
        assert_eq!(suspects.last(number(1), 999_000), SuspectCall::None);
        for n in 0..20_000 {
            suspects.keep(number(n), 2_000_000 + n as i64);
        }
        suspects.keep(number(1), 1_500_000);
        // Some of 20,000 in 16,384 buckets of 8 may go; nearly none does.
        let found = (0..20_000).filter(|&n| suspects.last(number(n), 2_000_000) != SuspectCall::None).count();
        assert!(found > 19_900, "{found}");
        assert_eq!(suspects.last(number(1), 0), SuspectCall::At(2_000_000));
        assert_eq!(suspects.last(number(30_000), 0), SuspectCall::None);
    }
}
