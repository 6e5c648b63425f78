//! From a number to the longest prefix that covers it, in at most five reads of memory.
//!
//! A trie that takes three digits a step: a node is a table of 4,096 cells indexed by three packed
//! digits. A cell holds a value, or the node that knows more.

use crate::{Number, Prefix};

pub(crate) struct PrefixTable {
    cells: Vec<u16>,
}

const NODE: usize = 4096;
const DEEPER: u16 = 0x8000;

impl PrefixTable {
    /// `default` answers for numbers that no prefix covers. Values are below 0x8000.
    pub fn new(default: u16) -> PrefixTable {
        PrefixTable { cells: vec![default; NODE] }
    }

    /// Inserts shorter prefixes before longer ones: a longer one overrides the part it covers.
    pub fn insert(&mut self, prefix: Prefix, value: u16) {
        debug_assert!(value < DEEPER);
        let mut node = 0;
        let mut done = 0;
        while prefix.digits() - done > 3 {
            let cell = node * NODE + three_digits(prefix, done, 3);
            node = self.child(cell);
            done += 3;
        }
        let rest = prefix.digits() - done;
        let first = three_digits(prefix, done, rest);
        for cell in first..first + (1 << (4 * (3 - rest))) {
            self.cells[node * NODE + cell] = value;
        }
    }

    #[inline]
    pub fn find(&self, number: Number) -> u16 {
        let mut word = number.bits();
        let mut node = 0;
        loop {
            let value = self.cells[node * NODE + (word >> 52) as usize];
            if value & DEEPER == 0 {
                return value;
            }
            node = usize::from(value & !DEEPER);
            word <<= 12;
        }
    }

    fn child(&mut self, cell: usize) -> usize {
        let value = self.cells[cell];
        if value & DEEPER != 0 {
            return usize::from(value & !DEEPER);
        }
        let node = self.cells.len() / NODE;
        self.cells.resize(self.cells.len() + NODE, value);
        self.cells[cell] = DEEPER | node as u16;
        node
    }
}

/// The place in a node of the `n` digits from `start`, missing ones zero.
fn three_digits(prefix: Prefix, start: usize, n: usize) -> usize {
    (0..3).fold(0, |place, i| place << 4 | if i < n { usize::from(prefix.digit(start + i)) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn finds_the_longest_prefix(
            prefixes in proptest::collection::btree_map("[1-3][0-4]{0,8}", 1u16..100, 0..40),
            digits in "[1-3][0-4]{6,14}",
        ) {
            let mut table = PrefixTable::new(0);
            let mut by_length: Vec<_> = prefixes.iter().collect();
            by_length.sort_by_key(|(text, _)| text.len());
            for (text, value) in by_length {
                table.insert(Prefix::from_digits(text.as_bytes()).unwrap(), *value);
            }
            let longest = |all: &BTreeMap<String, u16>| {
                (1..=digits.len()).rev().find_map(|n| all.get(&digits[..n]).copied()).unwrap_or(0)
            };
            prop_assert_eq!(table.find(Number::from_digits(digits.as_bytes()).unwrap()), longest(&prefixes));
        }
    }
}
