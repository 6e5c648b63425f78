//! What is known of subscribers abroad, for as long as it may be believed.
//!
//! Roaming is believed for 15 minutes, at home or not assigned for 30 s, unknown never. A location update drops it.

use std::collections::HashMap;

use numbering::Number;

use crate::{Holder, Method, Status};

const ROAMING_MS: i64 = 15 * 60_000;
const NOT_ROAMING_MS: i64 = 30_000;

/// A roaming answer and where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cached {
    pub status: Status,
    /// ISO 3166-1 alpha-2 code of the country visited, in ASCII.
    pub visited: Option<[u8; 2]>,
    pub method: Method,
    /// Who said it.
    pub by: Holder,
    /// As of when it was true, milliseconds since 1970-01-01 UTC; from then on its time runs.
    pub known_ms: i64,
}

/// Roaming answers by number, a bounded count of them.
///
/// Two generations: when the young one holds half of what may be kept it becomes the old one, and the old one goes.
pub struct RoamingCache {
    half: usize,
    young: HashMap<Number, Cached>,
    old: HashMap<Number, Cached>,
}

impl RoamingCache {
    /// Keeps at most `most` answers, two at least.
    pub fn new(most: usize) -> RoamingCache {
        RoamingCache { half: (most / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// What is known of the number and may still be believed at `now_ms`.
    pub fn get(&mut self, number: Number, now_ms: i64) -> Option<Cached> {
        let cached = *self.young.get(&number).or_else(|| self.old.get(&number))?;
        if is_believed(&cached, now_ms) {
            return Some(cached);
        }
        self.forget(number);
        None
    }

    /// Remembers an answer in place of what was known; one that nobody may believe only makes that forgotten.
    pub fn put(&mut self, number: Number, cached: Cached, now_ms: i64) {
        self.forget(number);
        let cached = Cached { known_ms: cached.known_ms.min(now_ms), ..cached };
        if !is_believed(&cached, now_ms) {
            return;
        }
        if self.young.len() >= self.half {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(number, cached);
    }

    /// The subscriber moved: what was known of him is no longer so.
    pub fn forget(&mut self, number: Number) {
        self.young.remove(&number);
        self.old.remove(&number);
    }

    /// For how long an answer is believed, ms.
    pub fn lasts_ms(status: Status) -> i64 {
        match status {
            Status::Roaming => ROAMING_MS,
            Status::NotRoaming | Status::NotAssigned => NOT_ROAMING_MS,
            Status::Unknown => 0,
        }
    }

    /// Answers kept, some of which may have had their time.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An answer from the future was known before the clock went back: nobody can tell its age.
fn is_believed(cached: &Cached, now_ms: i64) -> bool {
    (0..RoamingCache::lasts_ms(cached.status)).contains(&now_ms.saturating_sub(cached.known_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(i: u64) -> Number {
        Number::from_digits(format!("7701{i:07}").as_bytes()).unwrap()
    }

    fn cached(status: Status, known_ms: i64) -> Cached {
        let (visited, method) = (Some(*b"TR"), Method::Hlr);
        Cached { status, visited, method, by: Holder::Us, known_ms }
    }

    #[test]
    fn believes_each_status_for_its_time() {
        let mut cache = RoamingCache::new(10);
        for (status, most_ms) in
            [(Status::Roaming, 900_000), (Status::NotRoaming, 30_000), (Status::NotAssigned, 30_000)]
        {
            cache.put(number(1), cached(status, 1_000), 1_000);
            assert_eq!(cache.get(number(1), 1_000 + most_ms - 1), Some(cached(status, 1_000)));
            assert_eq!(cache.get(number(1), 1_000 + most_ms), None);
            assert!(cache.is_empty());
        }
        cache.put(number(1), cached(Status::Unknown, 1_000), 1_000);
        assert!(cache.is_empty(), "unknown is never kept");
    }

    #[test]
    fn time_runs_from_when_it_was_known_not_from_when_it_came() {
        let mut cache = RoamingCache::new(10);
        cache.put(number(1), cached(Status::Roaming, 0), 890_000);
        assert!(cache.get(number(1), 899_999).is_some());
        assert!(cache.get(number(1), 900_000).is_none());
        cache.put(number(1), cached(Status::NotRoaming, 0), 30_000);
        assert!(cache.is_empty(), "too old when it came");
        cache.put(number(1), cached(Status::Roaming, 7_000), 5_000);
        assert_eq!(cache.get(number(1), 5_000).unwrap().known_ms, 5_000, "nothing is known ahead of time");
        assert!(cache.get(number(1), 4_999).is_none(), "the clock went back");
    }

    #[test]
    fn a_location_update_and_a_newer_answer_drop_what_was_known() {
        let mut cache = RoamingCache::new(2);
        cache.put(number(1), cached(Status::Roaming, 0), 0);
        cache.put(number(2), cached(Status::Roaming, 0), 0);
        cache.forget(number(1));
        assert!(cache.get(number(1), 1).is_none() && cache.get(number(2), 1).is_some());
        cache.put(number(2), cached(Status::Unknown, 1), 1);
        assert!(cache.get(number(2), 1).is_none());
    }

    #[test]
    fn keeps_the_latest_of_a_crowd() {
        let mut cache = RoamingCache::new(1000);
        for i in 0..100_000 {
            cache.put(number(i), cached(Status::Roaming, 0), 0);
            assert!(cache.len() <= 1000);
        }
        assert!((99_500..100_000).all(|i| cache.get(number(i), 0).is_some()));
    }
}
