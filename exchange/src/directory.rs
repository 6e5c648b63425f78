//! Who is asked about a number: the holder of the longest range that covers it. Ported numbers are laid over it by the caller.

use std::collections::HashMap;

use numbering::{Number, Prefix};

/// A member's place among those configured, in order of name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct MemberId(pub u16);

/// Who holds a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// The operator whose node this is.
    Us,
    Member(MemberId),
}

/// Number ranges and their holders.
#[derive(Clone, Default)]
pub struct Directory {
    ranges: HashMap<Prefix, Holder>,
    /// The lengths that ranges have, bit n for n digits.
    lengths: u16,
}

impl Directory {
    pub fn new() -> Directory {
        Directory::default()
    }

    /// Says who holds the numbers that begin with `prefix`, in any order; said again, the last holds.
    pub fn add_range(&mut self, prefix: Prefix, holder: Holder) {
        self.lengths |= 1 << prefix.digits();
        self.ranges.insert(prefix, holder);
    }

    /// The holder of the longest prefix that covers the number; None where no range does.
    pub fn holder(&self, number: Number) -> Option<Holder> {
        let mut lengths = self.lengths & (u16::MAX >> (15 - number.digits()));
        while lengths != 0 {
            let longest = lengths.ilog2();
            if let Some(&holder) = self.ranges.get(&number.prefix(longest as usize)) {
                return Some(holder);
            }
            lengths ^= 1 << longest;
        }
        None
    }
}
