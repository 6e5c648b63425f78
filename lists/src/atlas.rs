//! Which of many lists have a number's neighbours, so that the others need not be asked.
//!
//! An ordinary call's numbers are on no list, and most lists hold no number anywhere near: numbers from abroad, say,
//! or a range that another list is about. One look says so for all lists. It only says "not there": what it lets
//! through the lists settle exactly, so it never decides anything by itself.

use std::collections::HashMap;

use numbering::Key;

use crate::List;
use crate::sections::SECTION;
use crate::table::hash;

/// Up to sixteen lists, each by a place of its own.
#[derive(Default)]
pub struct Atlas {
    /// Section + 1 in the high 48 bits, the lists with a number in it in the low 16; 0 where it is free.
    slots: Box<[u64]>,
    /// The lists that have prefixes, which may cover any number.
    with_prefixes: u16,
}

/// A number or short code that lists are asked about, made ready once for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    pub(crate) key: Key,
    pub(crate) word: u64,
    lists: u16,
    with_prefixes: u16,
}

impl Sought {
    /// To ask any list.
    #[inline]
    pub fn new(key: Key) -> Sought {
        Sought { key, word: word(key), lists: u16::MAX, with_prefixes: u16::MAX }
    }

    #[inline]
    pub fn key(&self) -> Key {
        self.key
    }

    /// False: the number itself is not on the list of this place (a prefix may still cover it).
    #[inline]
    pub fn may_be_on(&self, place: usize) -> bool {
        self.lists >> (place & 15) & 1 == 1
    }

    /// False: neither the number nor a prefix of it is on the list of this place.
    #[inline]
    pub fn may_be_covered(&self, place: usize) -> bool {
        (self.lists | self.with_prefixes) >> (place & 15) & 1 == 1
    }

    #[inline]
    pub(crate) fn integer(&self) -> Option<u64> {
        (self.word < NUMBERS).then_some(self.word)
    }
}

/// Words below are the integers of numbers, those above are short codes.
const NUMBERS: u64 = 1_000_000_000_000_000;

/// What lists know a key by: the integer of a number, something above all of them for a short code.
#[inline]
pub(crate) fn word(key: Key) -> u64 {
    // The first digit of a key stands in its four highest bits and is 9 at most, so the complement is large.
    key.integer().unwrap_or(!key.0)
}

impl Atlas {
    /// Of lists by their places, 0 to 15. Several lists may share a place.
    pub fn of<'l>(lists: impl Iterator<Item = (usize, &'l List)>) -> Atlas {
        let mut sections: HashMap<u64, u16> = HashMap::new();
        let mut with_prefixes = 0;
        for (place, list) in lists {
            with_prefixes |= u16::from(list.prefix_lengths != 0) << (place & 15);
            let lone = list.lone.entries().map(|(word, _)| word).filter(|&word| word < NUMBERS);
            for section in list.sections.ids().chain(lone.map(|word| word >> SECTION)) {
                *sections.entry(section).or_default() |= 1 << (place & 15);
            }
        }
        let slots = if sections.is_empty() { 0 } else { sections.len() * 3 / 2 + 1 };
        let mut atlas = Atlas { slots: vec![0; slots].into(), with_prefixes };
        for (section, lists) in sections {
            let slot = atlas.slot(section);
            atlas.slots[slot] = (section + 1) << 16 | u64::from(lists);
        }
        atlas
    }

    /// Makes a key ready to be looked up on the lists.
    #[inline]
    pub fn seek(&self, key: Key) -> Sought {
        let word = word(key);
        let lists = match word {
            NUMBERS.. => u16::MAX,
            _ if self.slots.is_empty() => 0,
            _ => self.slots[self.slot(word >> SECTION)] as u16,
        };
        Sought { key, word, lists, with_prefixes: self.with_prefixes }
    }

    /// The section's slot, or the free one where it would go.
    #[inline]
    fn slot(&self, section: u64) -> usize {
        let mut slot = ((u128::from(hash(section)) * self.slots.len() as u128) >> 64) as usize;
        while self.slots[slot] != 0 && self.slots[slot] >> 16 != section + 1 {
            slot += 1;
            if slot == self.slots.len() {
                slot = 0;
            }
        }
        slot
    }

    /// Bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }
}
