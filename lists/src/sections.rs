//! Most numbers of a list: packed, exact, and found with one miss of the cache.
//!
//! The integers of numbers are cut into sections of 2^20. A section that holds enough of them is stored one of two
//! ways: where more than one in 13 is there, as a bitmap; else in blocks of 2^k integers, k such that some forty
//! fall into a block, and in a block the low bits of each. A small directory says where a section stands, so a
//! look-up is the directory and, in blocks, the place of the block, which stay in the cache, and then one line of memory.
//! docs/lists.md describes the bytes.

use bytes::Bytes;

use crate::bits::{Packer, bits_at, bits_from, u16_at, u32_at, u64_at};
use crate::prefetch::prefetch;
use crate::table::hash;

/// Integers in a section, as a power of two.
pub(crate) const SECTION: u32 = 20;
/// Below this many numbers a section costs more than the same numbers in a [`Table`](crate::table::Table).
pub(crate) const LEAST: usize = 4;

/// Numbers from which a section is a bitmap: one in 12.5, so no more than 12.5 bits each.
const DENSE: usize = (1 << SECTION) * 2 / 25;
/// Blocks hold at least half as many numbers on average, and at most as many.
const BLOCK_LOAD: usize = 64;
/// Buckets of a block, as a power of two: its header says where each ends.
const BUCKETS: u32 = 4;

/// Bytes of the bitmap of a section, and of the ranks behind it.
const BITMAP: usize = 1 << (SECTION - 3);
const RANKS: usize = (1 << (SECTION - 9)) * 4;

/// Bytes of a slot of the directory: id + 1 (4; 0 where it is free), k (1; 0 for a bitmap), width of a value in bits
/// (1), nothing (2), base (4), the value of all numbers where the width is 0 (4).
const SLOT: usize = 16;

/// How a block is stored: the two high bits of its place.
const EMPTY: u32 = 3;
const BYTE_ENDS: u32 = 0;
const WORD_ENDS: u32 = 1;
const BLOCK_BITMAP: u32 = 2;
/// A place counts units of four bytes.
const PLACE: u32 = (1 << 30) - 1;

/// Integers with a value each.
#[derive(Clone, Default)]
pub(crate) struct Sections {
    /// Slots, found by hash and probed in a line.
    directory: Bytes,
    /// Of each block of each section, four bytes: how it is stored, and where in `data`.
    places: Bytes,
    data: Bytes,
    slots: usize,
}

struct Slot {
    id: u32,
    k: u32,
    width: u32,
    base: usize,
    value: u32,
}

impl Sections {
    /// None where a slot points outside: the bytes are no sections.
    pub fn from_bytes(directory: Bytes, places: Bytes, data: Bytes) -> Option<Sections> {
        let slots = directory.len() / SLOT;
        let sections = Sections { directory, places, data, slots };
        let whole = (0..slots).all(|index| {
            let Slot { id, k, width, base, .. } = sections.slot(index);
            let end = match k {
                0 => base.saturating_add(BITMAP) <= sections.data.len(),
                6..=SECTION => (base + (1 << (SECTION - k))) * 4 <= sections.places.len(),
                _ => false,
            };
            id == 0 || (end && width <= 32)
        });
        whole.then_some(sections)
    }

    pub fn parts(&self) -> [&Bytes; 3] {
        [&self.directory, &self.places, &self.data]
    }

    #[inline]
    fn slot(&self, index: usize) -> Slot {
        let low = u64_at(&self.directory, index * SLOT);
        let high = u64_at(&self.directory, index * SLOT + 8);
        let k = (low >> 32 & 0xff) as u32;
        let base = high as u32 as usize;
        Slot {
            id: low as u32,
            k,
            width: (low >> 40 & 0xff) as u32,
            // A bitmap's base counts lines of 64 bytes, that of blocks is the first of their places.
            base: if k == 0 { base * 64 } else { base },
            value: (high >> 32) as u32,
        }
    }

    #[inline]
    fn section(&self, integer: u64) -> Option<Slot> {
        if self.slots == 0 {
            return None;
        }
        let wanted = (integer >> SECTION) as u32 + 1;
        let mut index = first_slot(wanted, self.slots);
        for _ in 0..self.slots {
            let id = u32_at(&self.directory, index * SLOT);
            if id == wanted {
                return Some(self.slot(index));
            }
            if id == 0 {
                return None;
            }
            index += 1;
            if index == self.slots {
                index = 0;
            }
        }
        None
    }

    #[inline]
    fn fetch(&self, at: usize) {
        if let Some(byte) = self.data.get(at) {
            prefetch(byte);
        }
    }

    /// Fetches what [`Sections::find`] will read.
    #[inline]
    pub fn prefetch(&self, integer: u64) {
        let Some(slot) = self.section(integer) else { return };
        let offset = (integer & !(u64::MAX << SECTION)) as usize;
        if slot.k == 0 {
            return self.fetch(slot.base + offset / 8);
        }
        let place = self.place(&slot, offset);
        let at = (place & PLACE) as usize * 4;
        match place >> 30 {
            EMPTY => {}
            BLOCK_BITMAP => self.fetch(at + (offset & !(usize::MAX << slot.k)) / 8),
            _ => {
                self.fetch(at);
                self.fetch(at + 63);
            }
        }
    }

    /// How the block of an offset is stored and where.
    #[inline]
    fn place(&self, slot: &Slot, offset: usize) -> u32 {
        u32_at(&self.places, (slot.base + (offset >> slot.k)) * 4)
    }

    #[inline]
    pub fn find(&self, integer: u64) -> Option<u32> {
        let slot = self.section(integer)?;
        let offset = (integer & !(u64::MAX << SECTION)) as usize;
        if slot.k == 0 {
            return self.find_in_bitmap(&slot, offset);
        }
        let place = self.place(&slot, offset);
        let at = (place & PLACE) as usize * 4;
        let offset = offset & !(usize::MAX << slot.k);
        match place >> 30 {
            EMPTY => None,
            BLOCK_BITMAP => {
                let words = at..at + offset / 64 * 8;
                let word = u64_at(&self.data, words.end);
                if word >> (offset % 64) & 1 == 0 {
                    return None;
                }
                let before = || words.step_by(8).map(|at| u64_at(&self.data, at).count_ones()).sum::<u32>();
                let rank = || before() + (word & !(u64::MAX << (offset % 64))).count_ones();
                Some(self.value(&slot, at * 8 + (1 << slot.k), rank))
            }
            form => self.find_in_buckets(&slot, form, at, offset),
        }
    }

    #[inline]
    fn find_in_bitmap(&self, slot: &Slot, offset: usize) -> Option<u32> {
        let word = u64_at(&self.data, slot.base + offset / 64 * 8);
        if word >> (offset % 64) & 1 == 0 {
            return None;
        }
        let rank = || {
            let line = offset / 512;
            let words = slot.base + line * 64..slot.base + offset / 64 * 8;
            let within: u32 = words.step_by(8).map(|at| u64_at(&self.data, at).count_ones()).sum();
            let before = u32_at(&self.data, slot.base + BITMAP + line * 4);
            before.wrapping_add(within + (word & !(u64::MAX << (offset % 64))).count_ones())
        };
        Some(self.value(slot, (slot.base + BITMAP + RANKS) * 8, rank))
    }

    /// `at`: where the block begins; `offset`: in the block.
    #[inline]
    fn find_in_buckets(&self, slot: &Slot, form: u32, at: usize, offset: usize) -> Option<u32> {
        let header = Header::of(form);
        let width = slot.k - BUCKETS;
        let bucket = offset >> width;
        let (mut start, mut end) = header.bounds(&self.data, at, bucket);
        let lows = (at + header.len()) * 8;
        let low = (offset & !(usize::MAX << width)) as u64;
        // A bucket is sorted: one that is crowded is halved until it is not.
        while end.saturating_sub(start) > 32 {
            let middle = (start + end) / 2;
            if bits_at(&self.data, lows + middle * width as usize, width) <= low {
                start = middle;
            } else {
                end = middle;
            }
        }
        // As many low parts as a word holds are compared at once: a field that equals `low` becomes zero.
        let ones = ONES[width as usize & 31];
        let at_once = (57 / width) as usize;
        while start < end {
            let fields = (end - start).min(at_once);
            let word = bits_from(&self.data, lows + start * width as usize) ^ low.wrapping_mul(ones);
            let tops = ones << (width - 1);
            let below = tops.wrapping_sub(ones);
            let zeros = !(((word & below).wrapping_add(below)) | word) & tops;
            let zeros = zeros & !(u64::MAX << (fields as u32 * width));
            if zeros != 0 {
                let rank = || (start as u32).wrapping_add(zeros.trailing_zeros() / width);
                let values = || lows + header.count(&self.data, at) * width as usize;
                return Some(if slot.width == 0 { slot.value } else { self.value(slot, values(), rank) });
            }
            start += fields;
        }
        None
    }

    /// The value of the number of a rank, where the values begin at the bit `values`.
    #[inline]
    fn value(&self, slot: &Slot, values: usize, rank: impl FnOnce() -> u32) -> u32 {
        if slot.width == 0 {
            return slot.value;
        }
        bits_at(&self.data, values + rank() as usize * slot.width as usize, slot.width) as u32
    }

    /// The ids of all sections: the integer of each number in it, shifted right.
    pub fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.slots).map(|index| self.slot(index).id).filter(|&id| id != 0).map(|id| u64::from(id - 1))
    }

    /// Every integer with its value, section by section.
    pub fn for_each(&self, mut each: impl FnMut(u64, u32)) {
        for index in 0..self.slots {
            let slot = self.slot(index);
            if slot.id == 0 {
                continue;
            }
            let first = u64::from(slot.id - 1) << SECTION;
            if slot.k == 0 {
                let values = (slot.base + BITMAP + RANKS) * 8;
                self.bits(slot.base, SECTION, &mut |offset, rank| {
                    each(first + offset as u64, self.value(&slot, values, || rank));
                });
                continue;
            }
            for block in 0..1usize << (SECTION - slot.k) {
                let place = u32_at(&self.places, (slot.base + block) * 4);
                let at = (place & PLACE) as usize * 4;
                let first = first + ((block as u64) << slot.k);
                match place >> 30 {
                    EMPTY => {}
                    BLOCK_BITMAP => self.bits(at, slot.k, &mut |offset, rank| {
                        each(first + offset as u64, self.value(&slot, at * 8 + (1 << slot.k), || rank));
                    }),
                    form => {
                        let header = Header::of(form);
                        let width = slot.k - BUCKETS;
                        let lows = (at + header.len()) * 8;
                        let values = lows + header.count(&self.data, at) * width as usize;
                        for bucket in 0..1 << BUCKETS {
                            let (start, end) = header.bounds(&self.data, at, bucket);
                            for rank in start..end {
                                let low = bits_at(&self.data, lows + rank * width as usize, width);
                                let offset = (bucket as u64) << width | low;
                                each(first + offset, self.value(&slot, values, || rank as u32));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Calls with the offset of each bit that is set in a bitmap of 2^k bits, and how many were before it.
    fn bits(&self, at: usize, k: u32, each: &mut impl FnMut(usize, u32)) {
        let mut rank = 0;
        for index in 0..1usize << (k - 6) {
            let mut word = u64_at(&self.data, at + index * 8);
            while word != 0 {
                each(index * 64 + word.trailing_zeros() as usize, rank);
                rank += 1;
                word &= word - 1;
            }
        }
    }
}

/// The header of a block: where each of its sixteen buckets ends, in bytes or in words of two.
#[derive(Clone, Copy)]
struct Header {
    wide: bool,
}

impl Header {
    #[inline]
    fn of(form: u32) -> Header {
        Header { wide: form == WORD_ENDS }
    }

    #[inline]
    fn len(self) -> usize {
        if self.wide { 2 << BUCKETS } else { 1 << BUCKETS }
    }

    #[inline]
    fn end(self, data: &[u8], at: usize, bucket: usize) -> usize {
        if self.wide {
            usize::from(u16_at(data, at + bucket * 2))
        } else {
            usize::from(data.get(at + bucket).copied().unwrap_or(0))
        }
    }

    #[inline]
    fn bounds(self, data: &[u8], at: usize, bucket: usize) -> (usize, usize) {
        let start = if bucket == 0 { 0 } else { self.end(data, at, bucket - 1) };
        (start, self.end(data, at, bucket))
    }

    #[inline]
    fn count(self, data: &[u8], at: usize) -> usize {
        self.end(data, at, (1 << BUCKETS) - 1)
    }
}

/// A one at the bottom of each field of n bits, as many fields as 57 bits hold.
const ONES: [u64; 32] = {
    let mut ones = [0; 32];
    let mut width = 1;
    while width <= 16 {
        let mut field = 0;
        while field < 57 / width {
            ones[width] |= 1 << (field * width);
            field += 1;
        }
        width += 1;
    }
    ones
};

#[inline]
fn first_slot(id: u32, slots: usize) -> usize {
    ((u128::from(hash(u64::from(id))) * slots as u128) >> 64) as usize
}

/// Makes [`Sections`], a section after the other.
#[derive(Default)]
pub(crate) struct Builder {
    slots: Vec<[u32; 4]>,
    places: Vec<u8>,
    data: Vec<u8>,
}

impl Builder {
    /// Takes a section: offsets in it with their values, sorted, each offset once.
    ///
    /// # Panics
    /// If the blocks of all sections take more than 4 GiB, some three thousand million numbers.
    pub fn add(&mut self, id: u64, entries: &[(u32, u32)]) {
        let first = entries.first().map_or(0, |entry| entry.1);
        let uniform = entries.iter().all(|entry| entry.1 == first);
        let most = entries.iter().map(|entry| entry.1).max().unwrap_or(0);
        // A width of 0 says that all are the same, so a single bit is the least else.
        let width = if uniform { 0 } else { 32 - most.leading_zeros() };
        let k = if entries.len() >= DENSE { 0 } else { block_size(entries.len()) };
        let base = if k == 0 {
            self.data.resize(self.data.len().next_multiple_of(64), 0);
            let base = self.data.len() / 64;
            self.bitmap(entries, SECTION, width);
            base
        } else {
            let base = self.places.len() / 4;
            self.blocks(entries, k, width);
            base
        };
        self.slots.push([id as u32 + 1, k | width << 8, base as u32, first]);
    }

    /// A bitmap of 2^k bits, the ranks of a whole section, the values.
    fn bitmap(&mut self, entries: &[(u32, u32)], k: u32, width: u32) {
        let at = self.data.len();
        self.data.resize(at + (1 << (k - 3)), 0);
        for &(offset, _) in entries {
            let offset = (offset & !(u32::MAX << k)) as usize;
            self.data[at + offset / 8] |= 1 << (offset % 8);
        }
        if width == 0 {
            return;
        }
        if k == SECTION {
            let mut rank = 0u32;
            for line in 0..RANKS / 4 {
                self.data.extend_from_slice(&rank.to_le_bytes());
                let words = (0..8).map(|word| u64_at(&self.data, at + line * 64 + word * 8));
                rank += words.map(u64::count_ones).sum::<u32>();
            }
        }
        let mut packer = Packer::on(&mut self.data);
        entries.iter().for_each(|&(_, value)| packer.push(value, width));
        packer.finish();
    }

    fn blocks(&mut self, mut entries: &[(u32, u32)], k: u32, width: u32) {
        for block in 0..1u32 << (SECTION - k) {
            let n = entries.partition_point(|&(offset, _)| offset >> k <= block);
            let (own, rest) = entries.split_at(n);
            entries = rest;
            self.data.resize(self.data.len().next_multiple_of(4), 0);
            let at = self.data.len() / 4;
            assert!(at < PLACE as usize, "a list of blocks of more than 4 GiB");
            let low_width = k - BUCKETS;
            let wide = n > usize::from(u8::MAX);
            let form = if n == 0 {
                EMPTY
            } else if n * low_width as usize + if wide { 256 } else { 128 } >= 1 << k {
                BLOCK_BITMAP
            } else {
                if wide { WORD_ENDS } else { BYTE_ENDS }
            };
            self.places.extend_from_slice(&(form << 30 | at as u32).to_le_bytes());
            match form {
                EMPTY => {}
                BLOCK_BITMAP => self.bitmap(own, k, width),
                _ => self.buckets(own, low_width, wide, width),
            }
        }
    }

    fn buckets(&mut self, entries: &[(u32, u32)], low_width: u32, wide: bool, width: u32) {
        let mut ends = [0u16; 1 << BUCKETS];
        for &(offset, _) in entries {
            ends[(offset >> low_width) as usize % ends.len()] += 1;
        }
        let mut sum = 0;
        for end in ends {
            sum += end;
            match wide {
                true => self.data.extend_from_slice(&sum.to_le_bytes()),
                false => self.data.push(sum as u8),
            }
        }
        let mut packer = Packer::on(&mut self.data);
        entries.iter().for_each(|&(offset, _)| packer.push(offset & !(u32::MAX << low_width), low_width));
        if width > 0 {
            entries.iter().for_each(|&(_, value)| packer.push(value, width));
        }
        packer.finish();
    }

    pub fn finish(mut self) -> Sections {
        if self.slots.is_empty() {
            return Sections::default();
        }
        // A read of eight bytes may begin at the last one.
        self.data.resize(self.data.len().next_multiple_of(4) + 8, 0);
        self.data.shrink_to_fit();
        self.places.shrink_to_fit();
        let slots = self.slots.len() * 3 / 2 + 1;
        let mut directory = vec![0; slots * SLOT];
        for slot in &self.slots {
            let mut index = first_slot(slot[0], slots);
            while u32_at(&directory, index * SLOT) != 0 {
                index = (index + 1) % slots;
            }
            for (place, word) in directory[index * SLOT..].chunks_exact_mut(4).zip(slot) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
        Sections { directory: directory.into(), places: self.places.into(), data: self.data.into(), slots }
    }
}

/// k such that half [`BLOCK_LOAD`] to all of it fall into a block on average.
fn block_size(count: usize) -> u32 {
    let mut k = SECTION;
    while k > 6 && (count >> (SECTION - k)) >= BLOCK_LOAD {
        k -= 1;
    }
    k
}
