//! A list in the making: entries as lines give them, then packed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use numbering::{Key, Prefix};

use crate::atlas::word;
use crate::sections::{Builder, LEAST, SECTION};
use crate::table::{Table, hash};
use crate::terms::Gathering;
use crate::{List, Version};

/// Entries of a list in the order of their lines.
#[derive(Default)]
pub(crate) struct Draft {
    /// Where each section's entries are in `sections`.
    places: HashMap<u64, usize, BuildHasherDefault<Fibonacci>>,
    /// Id of a section and its entries: offset in the high half, terms in the low one.
    sections: Vec<(u64, Vec<u64>)>,
    /// The section of the entry before: lists tend to stay in one.
    last: Option<usize>,
    short_codes: Vec<(u64, u32)>,
    prefixes: Vec<(u64, u32)>,
    prefix_lengths: u16,
    pub terms: Gathering,
    lines: u64,
}

impl Draft {
    #[inline]
    pub fn add_integer(&mut self, integer: u64, terms: u32) {
        let id = integer >> SECTION;
        let place = match self.last {
            Some(place) if self.sections[place].0 == id => place,
            _ => *self.places.entry(id).or_insert_with(|| {
                self.sections.push((id, Vec::new()));
                self.sections.len() - 1
            }),
        };
        self.last = Some(place);
        let offset = integer & !(u64::MAX << SECTION);
        self.sections[place].1.push(offset << 32 | u64::from(terms));
        self.lines += 1;
    }

    pub fn add_key(&mut self, key: Key, terms: u32) {
        match key.integer() {
            Some(integer) => self.add_integer(integer, terms),
            None => {
                self.short_codes.push((word(key), terms));
                self.lines += 1;
            }
        }
    }

    pub fn add_prefix(&mut self, prefix: Prefix, terms: u32) {
        self.prefix_lengths |= 1 << prefix.digits();
        self.prefixes.push((prefix.key().0, terms));
        self.lines += 1;
    }

    /// Packs what was added. `asked_plan`: the plan had a say in some line.
    pub fn finish(self, version: Version, asked_plan: bool) -> List {
        let Draft { mut sections, short_codes, prefixes, prefix_lengths, terms, lines, .. } = self;
        let longer = |first, later| terms.longer(first, later);
        let mut lone = short_codes;
        let mut builder = Builder::default();
        let mut count = 0;
        let mut spare = Vec::new();
        let mut packed = Vec::new();
        sections.sort_unstable_by_key(|(id, _)| *id);
        for (id, mut entries) in sections {
            sort_by_offset(&mut entries, &mut spare);
            packed.clear();
            for entry in entries {
                let (offset, terms) = ((entry >> 32) as u32, entry as u32);
                match packed.last_mut() {
                    Some((last, held)) if *last == offset => *held = longer(*held, terms),
                    _ => packed.push((offset, terms)),
                }
            }
            if packed.len() < LEAST {
                lone.extend(packed.iter().map(|&(offset, terms)| (id << SECTION | u64::from(offset), terms)));
            } else {
                count += packed.len() as u64;
                builder.add(id, &packed);
            }
        }
        let lone = Table::build(&lone, longer);
        let prefixes = Table::build(&prefixes, longer);
        let prefix_count = prefixes.entries().count() as u64;
        let len = count + lone.entries().count() as u64 + prefix_count;
        List {
            sections: builder.finish(),
            lone,
            prefixes,
            prefix_lengths,
            terms: terms.finish(),
            version,
            len,
            prefix_count,
            duplicates: lines - len,
            asked_plan,
            content: None,
        }
    }
}

/// Sorts by the high half, entries of one offset in the order they are in: two rounds by ten bits.
fn sort_by_offset(entries: &mut Vec<u64>, spare: &mut Vec<u64>) {
    if entries.is_sorted_by_key(|entry| entry >> 32) {
        return;
    }
    if entries.len() < 1024 {
        return entries.sort_by_key(|entry| entry >> 32);
    }
    for shift in [32, 42] {
        let digit = |entry: u64| (entry >> shift & 1023) as usize;
        let mut next = [0usize; 1024];
        entries.iter().for_each(|&entry| next[digit(entry)] += 1);
        let mut sum = 0;
        for place in &mut next {
            sum += std::mem::replace(place, sum);
        }
        spare.resize(entries.len(), 0);
        for &entry in entries.iter() {
            let place = &mut next[digit(entry)];
            spare[*place] = entry;
            *place += 1;
        }
        std::mem::swap(entries, spare);
    }
}

/// Hashes an id of a section.
#[derive(Default)]
struct Fibonacci(u64);

impl Hasher for Fibonacci {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = hash(self.0 ^ id);
        self.0 ^= self.0 >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
