//! What is thought of numbers that lately behaved like a fraudster's: one table that workers read without a lock.
//!
//! A place is one word: what the bucket does not say of a number and its trunk, its score and how many kinds of evidence it rests
//! on. Mixing is one-to-one, so a number that is found is that number. Whoever watches calls writes the table every few seconds.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use call::Behaviour;
use numbering::Number;

const BUCKET_BITS: u32 = 12;
/// Words of a bucket: a line of the cache.
const PLACES: usize = 8;
/// 256 KiB: 32,768 numbers.
const BUCKETS: usize = 1 << BUCKET_BITS;
/// Below 10^15 takes 50 bits.
const NUMBER_BITS: u32 = 50;
/// Trunks are told apart by so many bits of their place.
const TRUNK_BITS: u32 = 10;
const SCORE_BITS: u32 = 7;
const SIGNAL_BITS: u32 = 3;
/// What nobody wrote for so long says nothing any more.
const FRESH_MS: u64 = 5 * 60_000;

/// The table.
pub struct Scores {
    words: Box<[AtomicU64]>,
    numbers: AtomicUsize,
    written_ms: AtomicI64,
}

/// A number by a trunk that is thought something of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Score {
    pub number: Number,
    pub trunk: u16,
    pub behaviour: Behaviour,
}

impl Default for Scores {
    fn default() -> Scores {
        let words = (0..BUCKETS * PLACES).map(|_| AtomicU64::new(0)).collect();
        Scores { words, numbers: AtomicUsize::new(0), written_ms: AtomicI64::new(0) }
    }
}

/// One-to-one within 60 bits: odd multiplications and shifts (as in SplitMix64's last step).
#[inline]
fn mixed(mut word: u64) -> u64 {
    const MASK: u64 = (1 << (NUMBER_BITS + TRUNK_BITS)) - 1;
    word ^= word >> 30;
    word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9) & MASK;
    word ^= word >> 27;
    word = word.wrapping_mul(0x94d0_49bb_1331_11eb) & MASK;
    word ^ word >> 31
}

/// The bucket of a number by a trunk, and the rest of it in a word's upper bits.
#[inline]
fn place(number: Number, trunk: u16) -> Option<(usize, u64)> {
    let key = number.key().integer()? << TRUNK_BITS | u64::from(trunk) & ((1 << TRUNK_BITS) - 1);
    let key = mixed(key);
    let bucket = key as usize & (BUCKETS - 1);
    Some((bucket * PLACES, key >> BUCKET_BITS << (SCORE_BITS + SIGNAL_BITS)))
}

const BEHAVIOUR: u64 = (1 << (SCORE_BITS + SIGNAL_BITS)) - 1;

impl Scores {
    /// What is thought of a number that calls by a trunk at a moment; none: nothing, or too long ago.
    #[inline]
    pub fn of(&self, number: Number, trunk: u16, now_ms: i64) -> Option<Behaviour> {
        // Nobody is thought anything of, nearly always.
        if self.numbers.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.find(number, trunk, now_ms)
    }

    #[inline(never)]
    fn find(&self, number: Number, trunk: u16, now_ms: i64) -> Option<Behaviour> {
        let (start, rest) = place(number, trunk)?;
        let words = self.words[start..start + PLACES].iter().map(|word| word.load(Ordering::Relaxed));
        let word = words.filter(|word| *word != 0).find(|word| word & !BEHAVIOUR == rest)?;
        let is_fresh = now_ms.abs_diff(self.written_ms.load(Ordering::Relaxed)) <= FRESH_MS;
        let score = (word & BEHAVIOUR) >> SIGNAL_BITS;
        let signals = word & ((1 << SIGNAL_BITS) - 1);
        is_fresh.then_some(Behaviour { score: score as u8, signals: signals as u8 })
    }

    /// Puts all that is thought now in the place of what was before. Gives how many there was no room for.
    pub fn replace(&self, scores: &[Score], now_ms: i64) -> usize {
        let mut words = vec![0u64; if scores.is_empty() { 0 } else { BUCKETS * PLACES }];
        let mut without_room = 0;
        for Score { number, trunk, behaviour } in scores {
            let Some((start, rest)) = place(*number, *trunk) else { continue };
            // A score of 0 is nothing to find.
            let score = u64::from(behaviour.score.clamp(1, 100));
            let word = rest | score << SIGNAL_BITS | u64::from(behaviour.signals.min(7));
            match words[start..start + PLACES].iter_mut().find(|word| **word == 0) {
                Some(free) => *free = word,
                None => without_room += 1,
            }
        }
        let is_empty = self.numbers.load(Ordering::Relaxed) == 0 && scores.is_empty();
        if !is_empty {
            for (place, word) in self.words.iter().enumerate() {
                place_word(word, words.get(place).copied().unwrap_or(0));
            }
        }
        self.written_ms.store(now_ms, Ordering::Relaxed);
        self.numbers.store(scores.len() - without_room, Ordering::Relaxed);
        without_room
    }
}

fn place_word(word: &AtomicU64, new: u64) {
    // Untouched lines stay in the caches of those who read.
    if word.load(Ordering::Relaxed) != new {
        word.store(new, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn behaviour(score: u8) -> Behaviour {
        Behaviour { score, signals: 2 }
    }

    proptest! {
        #[test]
        fn who_is_found_is_who_was_put_there(digits in proptest::collection::hash_set("[1-9][0-9]{6,14}", 1..60), other in "[1-9][0-9]{6,14}", trunk in 0u16..1024) {
            let number = |digits: &String| Number::from_digits(digits.as_bytes()).unwrap();
            let all: Vec<Score> = digits.iter().map(|digits| Score { number: number(digits), trunk, behaviour: behaviour(90) }).collect();
            let scores = Scores::default();
            prop_assert_eq!(scores.replace(&all, 1000), 0);
            for score in &all {
                prop_assert_eq!(scores.of(score.number, trunk, 2000), Some(behaviour(90)));
                prop_assert_eq!(scores.of(score.number, trunk ^ 1, 2000), None);
            }
            if !digits.contains(&other) {
                prop_assert_eq!(scores.of(number(&other), trunk, 2000), None);
            }
            scores.replace(&[], 3000);
            prop_assert!(all.iter().all(|score| scores.of(score.number, trunk, 3000).is_none()));
        }
    }

    #[test]
    fn what_nobody_writes_any_more_is_nothing() {
        let number = Number::parse("+77011234567").unwrap();
        let scores = Scores::default();
        scores.replace(&[Score { number, trunk: 3, behaviour: behaviour(84) }], 10_000_000);
        assert_eq!(scores.of(number, 3, 10_000_000 + 299_000), Some(behaviour(84)));
        // Whoever writes it has stopped, or the clock has jumped, either way.
        for now_ms in [10_000_000 + 301_000, 10_000_000 - 301_000, i64::MAX, i64::MIN] {
            assert_eq!(scores.of(number, 3, now_ms), None);
        }
    }
}
