//! Finding bytes in short texts.
//!
//! Most spans of a SIP message end within a few dozen bytes. There, a call into a general search costs more than the
//! search itself: this one is 16 bytes a step, inlined, and has no tail of single bytes.

const STEP: usize = 16;

/// Where the byte stands first.
#[inline]
pub(crate) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    find_any([byte], text)
}

/// Where one of the bytes stands first.
#[inline]
pub(crate) fn find_any<const N: usize>(wanted: [u8; N], text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let found = places(block, wanted);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += STEP;
    }
    // What is left is looked at from the end of the text, or from both of its ends: in the overlap a byte is found
    // at its first place first.
    if let Some(last) = text.last_chunk::<STEP>() {
        let found = places(last, wanted);
        return (found != 0).then(|| text.len() - STEP + found.trailing_zeros() as usize);
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        return from_ends(first, last, text.len(), wanted);
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        return from_ends(first, last, text.len(), wanted);
    }
    text.iter().position(|byte| wanted.contains(byte))
}

#[inline]
fn from_ends<const HALF: usize, const N: usize>(
    first: &[u8; HALF],
    last: &[u8; HALF],
    length: usize,
    wanted: [u8; N],
) -> Option<usize> {
    let mut block = [0; STEP];
    block[..HALF].copy_from_slice(first);
    block[HALF..2 * HALF].copy_from_slice(last);
    let found = places(&block, wanted) & ((1 << (2 * HALF)) - 1);
    let place = found.trailing_zeros() as usize;
    (found != 0).then(|| if place < HALF { place } else { length + place - 2 * HALF })
}

/// Without white space at both ends; most texts have none.
#[inline]
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    match (text.first(), text.last()) {
        (Some(b'!'..), Some(b'!'..)) => text,
        _ => text.trim_ascii(),
    }
}

/// Bit n set: byte n is one of those wanted.
#[cfg(target_arch = "x86_64")]
#[inline]
fn places<const N: usize>(block: &[u8; STEP], wanted: [u8; N]) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8};
    let word = u128::from_le_bytes(*block);
    // SAFETY: all these need is SSE2, which belongs to every x86-64; none takes a pointer.
    unsafe {
        let block = _mm_set_epi64x((word >> 64) as i64, word as i64);
        let mut found = _mm_set1_epi8(0);
        for byte in wanted {
            found = _mm_or_si128(found, _mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8)));
        }
        _mm_movemask_epi8(found) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn places<const N: usize>(block: &[u8; STEP], wanted: [u8; N]) -> u32 {
    (0..STEP).fold(0, |found, n| found | u32::from(wanted.contains(&block[n])) << n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_loop_finds(text in proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..70)) {
            prop_assert_eq!(find(1, &text), text.iter().position(|&byte| byte == 1));
            prop_assert_eq!(find(0, &text), text.iter().position(|&byte| byte == 0));
            prop_assert_eq!(find_any([2, 255], &text), text.iter().position(|byte| [2, 255].contains(byte)));
            prop_assert_eq!(find_any([1, 2, 3], &text), text.iter().position(|byte| [1, 2, 3].contains(byte)));
            prop_assert_eq!(trim(&text), text.trim_ascii());
        }
    }
}
