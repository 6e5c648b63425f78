//! One look that says "on no list" for most numbers, before any list is asked.
//!
//! An ordinary call's numbers are on no list, and asking five lists of a million entries is five cache misses.
//! This is a Bloom filter with all of a key's bits in one word: one miss. It can only say "maybe": what it lets
//! through the lists settle exactly, so it never decides anything by itself.

use numbering::Key;

use crate::List;
use crate::table::hash;

/// The numbers of several lists, roughly: 2 bytes each.
#[derive(Default)]
pub struct Presence {
    words: Box<[u64]>,
}

/// At this many bits a key and four set, about one number in 100 that is on no list is looked up all the same.
const BITS_PER_KEY: usize = 16;

impl Presence {
    pub fn of<'l>(lists: impl Iterator<Item = &'l List> + Clone) -> Presence {
        let keys: usize = lists.clone().map(|list| list.numbers.len()).sum();
        if keys == 0 {
            return Presence::default();
        }
        let mut presence = Presence { words: vec![0; keys * BITS_PER_KEY / 64 + 1].into() };
        for key in lists.flat_map(|list| list.numbers.keys()) {
            let (word, bits) = presence.place(key);
            presence.words[word] |= bits;
        }
        presence
    }

    /// False: the number itself is on none of the lists (a prefix may still cover it).
    #[inline]
    pub fn may_hold(&self, key: Key) -> bool {
        if self.words.is_empty() {
            return false;
        }
        let (word, bits) = self.place(key.0);
        self.words[word] & bits == bits
    }

    #[inline]
    fn place(&self, key: u64) -> (usize, u64) {
        let hash = hash(key);
        let word = ((u128::from(hash) * self.words.len() as u128) >> 64) as usize;
        // The word takes the high bits of the hash; a second mix makes the bits within it another choice.
        let low = hash.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 40;
        let bits = [0, 6, 12, 18].iter().fold(0, |bits, shift| bits | 1 << ((low >> shift) & 63));
        (word, bits)
    }
}
