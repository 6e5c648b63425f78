//! Little-endian words and packed integers in a run of bytes. Reading outside it gives zero, never a panic.

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u16::from_le_bytes(*word))
}

/// The 57 bits from `bit` on, at least; what follows them is not to be used.
#[inline]
pub(crate) fn bits_from(bytes: &[u8], bit: usize) -> u64 {
    u64_at(bytes, bit / 8) >> (bit % 8)
}

/// The `width` bits from `bit` on; 57 at most.
#[inline]
pub(crate) fn bits_at(bytes: &[u8], bit: usize, width: u32) -> u64 {
    bits_from(bytes, bit) & !(u64::MAX << width)
}

/// Appends integers of any width up to 32 bits.
pub(crate) struct Packer<'o> {
    out: &'o mut Vec<u8>,
    word: u64,
    held: u32,
}

impl Packer<'_> {
    pub fn on(out: &mut Vec<u8>) -> Packer<'_> {
        Packer { out, word: 0, held: 0 }
    }

    #[inline]
    pub fn push(&mut self, value: u32, width: u32) {
        self.word |= u64::from(value) << self.held;
        self.held += width;
        if self.held >= 32 {
            self.out.extend_from_slice(&(self.word as u32).to_le_bytes());
            self.word >>= 32;
            self.held -= 32;
        }
    }

    /// Fills the last word up: what was packed ends on four bytes.
    pub fn finish(mut self) {
        if self.held > 0 {
            self.push(0, 32 - self.held);
        }
    }
}
