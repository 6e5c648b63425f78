//! The calls of one's own customers, for as long as other operators may ask about them. Shared by threads, no lock.
//!
//! A call is one word of 8 bytes in one of the two buckets that its hash names: a fingerprint of 38 bits, when it was
//! registered in steps of 16 ms (18 bits), its ttl in seconds (8 bits). A bucket is eight words, one cache line. The hash
//! is keyed anew by each process, so nobody can aim at a bucket; less than once in 10^10 a call that was never registered is
//! taken for one that was.
//!
//! The time wraps every 70 minutes, here called a period. Its number goes into the hash, so what is left from an earlier one
//! is never found again; a neighbouring period is looked into only near its border.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use numbering::{Number, Party};

use crate::WireNumber;

const WORDS: usize = 8;
const FINGERPRINT_BITS: u32 = 38;
const TIME_BITS: u32 = 18;
const TTL_BITS: u32 = 8;
const _: () = assert!(FINGERPRINT_BITS + TIME_BITS + TTL_BITS == u64::BITS);

const STEP_BITS: u32 = 4;
const STEP_MS: u64 = 1 << STEP_BITS;
const PERIOD_BITS: u32 = TIME_BITS + STEP_BITS;
const PERIOD_MS: i64 = 1 << PERIOD_BITS;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const MOST_TTL_S: u32 = (1 << TTL_BITS) - 1;
/// A clock may go back by so much, in milliseconds, before the calls it registered are forgotten.
const AHEAD_MS: i64 = 180_000;
/// 4 GiB.
const MOST_BUCKETS: usize = 1 << 26;

/// Which call is meant: who calls whom, and who diverted the call, each as one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallKey([u64; 3]);

/// Calls that are open to questions.
pub struct Calls {
    hash: RandomState,
    buckets: Box<[Bucket]>,
    evicted: AtomicU64,
}

/// One cache line.
#[derive(Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; WORDS]);

/// Where a call may stand in one period, and what its word begins with.
struct Places {
    buckets: [usize; 2],
    fingerprint: u64,
}

impl CallKey {
    /// Of a call as it was made. A `called` that is no number is told apart from all others.
    #[inline]
    pub fn of_numbers(calling: Number, called: Party, redirecting: Option<Number>) -> CallKey {
        CallKey([calling.key().0, called.to_word(), redirecting.map_or(0, |number| number.key().0)])
    }

    /// Of a call asked about. In clear it is the same as [`CallKey::of_numbers`]; tokens are only equal to themselves.
    pub fn of_wire(calling: &WireNumber, called: &WireNumber, redirecting: Option<&WireNumber>) -> CallKey {
        let word = |wire: &WireNumber| match wire.number() {
            Some(number) => number.key().0,
            None => {
                let mut hasher = DefaultHasher::new();
                hasher.write(wire.0.as_bytes());
                hasher.finish()
            }
        };
        CallKey([word(calling), word(called), redirecting.map_or(0, word)])
    }
}

impl CallKey {
    /// The calling, called and redirecting number as one word each: for who keeps calls elsewhere, under a hash.
    pub fn words(&self) -> [u64; 3] {
        self.0
    }
}

/// Shows no digits.
impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallKey").finish_non_exhaustive()
    }
}

impl Calls {
    /// Room for `places` calls, rounded up to a power of two, 8 bytes each. Twice as many as are open at once keep
    /// evictions away; at 2,300 calls/s and a ttl of 60 s that is 276,000.
    pub fn new(places: usize) -> Calls {
        let buckets = places.div_ceil(WORDS).clamp(1, MOST_BUCKETS).next_power_of_two();
        let buckets = (0..buckets).map(|_| Bucket::default()).collect();
        Calls { hash: RandomState::new(), buckets, evicted: AtomicU64::new(0) }
    }

    /// Opens a call to questions for `ttl_s` seconds from `now_ms` on; 1 to 255, what is beyond is brought within. Again,
    /// it begins anew. Where there is no room the call whose time would end first goes, and [`Calls::evicted`] says so.
    pub fn register(&self, call: CallKey, now_ms: i64, ttl_s: u32) {
        let ttl_s = u64::from(ttl_s.clamp(1, MOST_TTL_S));
        let period = now_ms >> PERIOD_BITS;
        let places = self.places(call, period);
        let word = places.fingerprint << (TIME_BITS + TTL_BITS) | steps(now_ms) << TTL_BITS | ttl_s;
        // Another thread that wins a place here makes this one look again.
        loop {
            let (place, old) = self.place_for(&places, now_ms);
            let is_lost = fingerprint(old) != places.fingerprint && is_open(old, now_ms);
            if place.compare_exchange(old, word, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                if is_lost {
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                }
                break;
            }
        }
        for near in periods_near(now_ms).filter(|&near| near != period) {
            self.forget(&self.places(call, near));
        }
    }

    /// How long ago the call was registered, in milliseconds, to 16 ms; None if it was not or its ttl is over.
    #[inline]
    pub fn check(&self, call: CallKey, now_ms: i64) -> Option<u32> {
        periods_near(now_ms).find_map(|period| {
            let places = self.places(call, period);
            let ages = self.words(&places).filter_map(|place| {
                let word = place.load(Ordering::Relaxed);
                if fingerprint(word) != places.fingerprint {
                    return None;
                }
                // The period is known here, so the age is exact: a word from its other end is not taken for a young one.
                let registered = period << TIME_BITS | (word >> TTL_BITS & TIME_MASK) as i64;
                let age_ms = ((now_ms >> STEP_BITS) - registered) << STEP_BITS;
                (-AHEAD_MS..=ttl_ms(word)).contains(&age_ms).then_some(age_ms.max(0))
            });
            // Two threads may have registered one call at the same moment: the younger counts.
            ages.min().map(|age| u32::try_from(age).expect("below 255 s"))
        })
    }

    /// Registrations that went before their time, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Bytes that the table holds.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Calls>() + std::mem::size_of_val::<[Bucket]>(&self.buckets)
    }

    /// How many calls are open at `now_ms`. Walks the whole table and clears what is over: for metrics, not for calls.
    pub fn open(&self, now_ms: i64) -> usize {
        let mut open = 0;
        for place in self.buckets.iter().flat_map(|bucket| &bucket.0) {
            let word = place.load(Ordering::Relaxed);
            if is_open(word, now_ms) {
                open += 1;
            } else if word != 0 {
                // If it fails somebody just registered there.
                let _ = place.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
        open
    }

    /// The word to overwrite and what stands in it: this very call, or a free one of the emptier bucket, or the one whose
    /// time ends first.
    fn place_for(&self, places: &Places, now_ms: i64) -> (&AtomicU64, u64) {
        let mut first_to_end: Option<(&AtomicU64, u64, i64)> = None;
        let mut free: [Option<(&AtomicU64, u64)>; 2] = [None; 2];
        let mut count_free = [0; 2];
        for (side, &bucket) in places.buckets.iter().enumerate() {
            for place in &self.buckets[bucket].0 {
                let word = place.load(Ordering::Relaxed);
                // A word of 0 has no ttl, and no other is without.
                if word != 0 && fingerprint(word) == places.fingerprint {
                    return (place, word);
                }
                let left_ms = left_ms(word, now_ms);
                if left_ms < 0 {
                    free[side] = Some((place, word));
                    count_free[side] += 1;
                }
                if first_to_end.is_none_or(|(_, _, least)| left_ms < least) {
                    first_to_end = Some((place, word, left_ms));
                }
            }
        }
        let emptier = usize::from(count_free[1] > count_free[0]);
        free[emptier].unwrap_or_else(|| {
            let (place, word, _) = first_to_end.expect("a bucket has words");
            (place, word)
        })
    }

    fn forget(&self, places: &Places) {
        for place in self.words(places) {
            let word = place.load(Ordering::Relaxed);
            if word != 0 && fingerprint(word) == places.fingerprint {
                let _ = place.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    fn words<'a>(&'a self, places: &Places) -> impl Iterator<Item = &'a AtomicU64> {
        places.buckets.into_iter().flat_map(|bucket| &self.buckets[bucket].0)
    }

    #[inline]
    fn places(&self, call: CallKey, period: i64) -> Places {
        let mut hasher = self.hash.build_hasher();
        call.0.into_iter().for_each(|word| hasher.write_u64(word));
        hasher.write_i64(period);
        let hash = hasher.finish();
        let fingerprint = hash >> (u64::BITS - FINGERPRINT_BITS);
        // The 26 bits that are no fingerprint choose a bucket; the fingerprint says how far the other one is (a partial-key
        // cuckoo hash), by a multiplication whose upper half depends on all of its bits.
        let mask = self.buckets.len() - 1;
        let one = hash as usize & mask;
        let other = one ^ (fingerprint.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        Places { buckets: [one, other], fingerprint }
    }
}

/// The periods of registrations that can be open at `now_ms`, its own first.
#[inline]
fn periods_near(now_ms: i64) -> impl Iterator<Item = i64> {
    let period = now_ms >> PERIOD_BITS;
    let within_ms = now_ms & (PERIOD_MS - 1);
    let before = (within_ms <= i64::from(MOST_TTL_S) * 1000 + STEP_MS as i64).then_some(period - 1);
    let after = (within_ms >= PERIOD_MS - AHEAD_MS - STEP_MS as i64).then_some(period + 1);
    [Some(period), before, after].into_iter().flatten()
}

#[inline]
fn steps(ms: i64) -> u64 {
    (ms >> STEP_BITS) as u64 & TIME_MASK
}

#[inline]
fn fingerprint(word: u64) -> u64 {
    word >> (TIME_BITS + TTL_BITS)
}

/// How long the call of the word may be asked about; an empty word has no time at all, not even its first moment.
#[inline]
fn ttl_ms(word: u64) -> i64 {
    let ttl_s = (word & u64::from(MOST_TTL_S)) as i64;
    if ttl_s == 0 { i64::MIN } else { ttl_s * 1000 }
}

/// How long the call of a word of unknown period stays open, below 0 if it is over or the word is empty. One from up to
/// [`AHEAD_MS`] ahead was registered before the clock went back, or by a thread that read it later: its age is 0.
#[inline]
fn left_ms(word: u64, now_ms: i64) -> i64 {
    let age_ms = ((steps(now_ms).wrapping_sub(word >> TTL_BITS) & TIME_MASK) << STEP_BITS) as i64;
    let age_ms = if age_ms > PERIOD_MS - AHEAD_MS { 0 } else { age_ms };
    ttl_ms(word).saturating_sub(age_ms)
}

#[inline]
fn is_open(word: u64, now_ms: i64) -> bool {
    left_ms(word, now_ms) >= 0
}
