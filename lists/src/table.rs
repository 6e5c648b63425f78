//! Keys in one array, probed in a line from where their hash points: one cache miss a look-up.

/// A set of keys with a value each; never changed once built. Key 0 does not occur.
pub(crate) struct Table {
    keys: Box<[u64]>,
    values: Box<[u32]>,
    len: usize,
}

/// Slots per entry: at 0.7 full, a miss probes under six neighbouring keys on average.
const SLOTS_PER_10: usize = 14;

impl Table {
    /// `keep` chooses between two values for one key.
    pub fn build(
        entries: impl ExactSizeIterator<Item = (u64, u32)>,
        keep: impl Fn(u32, u32) -> u32,
    ) -> Table {
        if entries.len() == 0 {
            return Table { keys: Box::new([]), values: Box::new([]), len: 0 };
        }
        let slots = entries.len() * SLOTS_PER_10 / 10 + 1;
        let mut table = Table { keys: vec![0; slots].into(), values: vec![0; slots].into(), len: 0 };
        for (key, value) in entries {
            debug_assert_ne!(key, 0);
            let slot = table.slot(key);
            if table.keys[slot] == 0 {
                table.keys[slot] = key;
                table.values[slot] = value;
                table.len += 1;
            } else {
                table.values[slot] = keep(table.values[slot], value);
            }
        }
        table
    }

    #[inline]
    pub fn find(&self, key: u64) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let slot = self.slot(key);
        (self.keys[slot] == key).then(|| self.values[slot])
    }

    /// The key's slot, or the empty one where it would go.
    #[inline]
    fn slot(&self, key: u64) -> usize {
        // The high half of a product spreads over any number of slots without a division.
        let mut slot = ((u128::from(hash(key)) * self.keys.len() as u128) >> 64) as usize;
        loop {
            let found = self.keys[slot];
            if found == key || found == 0 {
                return slot;
            }
            slot += 1;
            if slot == self.keys.len() {
                slot = 0;
            }
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.keys.iter().copied().filter(|&key| key != 0)
    }

    pub fn values(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.iter().zip(&self.values).filter(|(key, _)| **key != 0).map(|(_, value)| *value)
    }

    pub fn memory(&self) -> usize {
        self.keys.len() * (size_of::<u64>() + size_of::<u32>())
    }
}

/// Fibonacci hashing: the high bits are the good ones.
#[inline]
pub(crate) fn hash(key: u64) -> u64 {
    (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn behaves_as_a_map(entries in proptest::collection::vec((1u64..500, any::<u32>()), 0..400), ask in 1u64..1000) {
            let table = Table::build(entries.iter().copied(), |old, new| old.max(new));
            let mut map: HashMap<u64, u32> = HashMap::new();
            for (key, value) in entries {
                map.entry(key).and_modify(|old| *old = value.max(*old)).or_insert(value);
            }
            prop_assert_eq!(table.find(ask), map.get(&ask).copied());
            prop_assert_eq!(table.len(), map.len());
            prop_assert_eq!(table.values().count(), map.len());
        }
    }
}
