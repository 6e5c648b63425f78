//! Words in one array, probed in a line from where their hash points: one cache miss a look-up.
//!
//! For what no section holds: prefixes, short codes, and numbers with few neighbours.

use bytes::Bytes;

use crate::bits::{u32_at, u64_at};

/// A set of words with a value each, as it stands in a compact file: all words (8 bytes each, 0 where a slot is
/// free), then all values (4 bytes each).
#[derive(Clone, Default)]
pub(crate) struct Table {
    bytes: Bytes,
    slots: usize,
}

/// Slots per entry: at 0.7 full, a miss probes under six neighbouring words on average.
const SLOTS_PER_10: usize = 14;
const SLOT: usize = size_of::<u64>() + size_of::<u32>();

impl Table {
    /// `keep` chooses between two values for one word; words are not 0.
    pub fn build(entries: &[(u64, u32)], keep: impl Fn(u32, u32) -> u32) -> Table {
        if entries.is_empty() {
            return Table::default();
        }
        let slots = entries.len() * SLOTS_PER_10 / 10 + 1;
        let (mut words, mut values) = (vec![0; slots], vec![0; slots]);
        for &(word, value) in entries {
            debug_assert_ne!(word, 0);
            let mut slot = first_slot(word, slots);
            while words[slot] != 0 && words[slot] != word {
                slot = (slot + 1) % slots;
            }
            values[slot] = if words[slot] == 0 { value } else { keep(values[slot], value) };
            words[slot] = word;
        }
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        let bytes: Vec<u8> = words.chain(values.iter().flat_map(|value| value.to_le_bytes())).collect();
        Table { bytes: bytes.into(), slots }
    }

    /// Of bytes that [`Table::bytes`] gave; others make a table that answers nonsense, or nothing.
    pub fn from_bytes(bytes: Bytes) -> Table {
        let slots = bytes.len() / SLOT;
        Table { bytes, slots }
    }

    #[inline]
    pub fn find(&self, word: u64) -> Option<u32> {
        if self.slots == 0 {
            return None;
        }
        let mut slot = first_slot(word, self.slots);
        // Every table has a free slot; the count of probes is for bytes that are none.
        for _ in 0..self.slots {
            let found = u64_at(&self.bytes, slot * 8);
            if found == word {
                return Some(self.value(slot));
            }
            if found == 0 {
                return None;
            }
            slot += 1;
            if slot == self.slots {
                slot = 0;
            }
        }
        None
    }

    #[inline]
    pub fn prefetch(&self, word: u64) {
        if self.slots != 0
            && let Some(byte) = self.bytes.get(first_slot(word, self.slots) * 8)
        {
            crate::prefetch::prefetch(byte);
        }
    }

    #[inline]
    fn value(&self, slot: usize) -> u32 {
        u32_at(&self.bytes, self.slots * 8 + slot * 4)
    }

    pub fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// Words and values, in no order that means anything.
    pub fn entries(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let word = |slot: usize| u64_at(&self.bytes, slot * 8);
        (0..self.slots).map(move |slot| (word(slot), self.value(slot))).filter(|(word, _)| *word != 0)
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[inline]
fn first_slot(word: u64, slots: usize) -> usize {
    // The high half of a product spreads over any number of slots without a division.
    ((u128::from(hash(word)) * slots as u128) >> 64) as usize
}

/// Fibonacci hashing: the high bits are the good ones.
#[inline]
pub(crate) fn hash(word: u64) -> u64 {
    (word ^ word >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn behaves_as_a_map(entries in proptest::collection::vec((1u64..500, any::<u32>()), 0..400), ask in 1u64..1000) {
            let table = Table::build(&entries, |old, new| old.max(new));
            let mut map: HashMap<u64, u32> = HashMap::new();
            for (word, value) in entries {
                map.entry(word).and_modify(|old| *old = value.max(*old)).or_insert(value);
            }
            prop_assert_eq!(table.find(ask), map.get(&ask).copied());
            prop_assert_eq!(table.entries().collect::<HashMap<u64, u32>>(), map);
        }

        #[test]
        fn no_bytes_hold_a_look_up_up(bytes in proptest::collection::vec(any::<u8>(), 0..200), ask in 1u64..) {
            Table::from_bytes(bytes.into()).find(ask);
        }
    }
}
