//! The digits that stood on the wire, in one wide word: cutting a prefix off and putting one in front are shifts.
//!
//! Nearly every number comes as plain digits, 8 to 16 of them with or without a `+`: those are read eight at a
//! time, and everything else one character after the other.

use crate::number::MAX_DIGITS;
use crate::{Malformed, Number, ShortCode, Why};

/// Up to 24 digits of four bits each from the top of the word down. Of longer text the rest is cut, which keeps it
/// longer than any number, with any prefix in front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Digits {
    word: u128,
    n: u32,
}

const MOST: u32 = MAX_DIGITS as u32 + 9;

/// The bits that the first `n` digits occupy.
#[inline]
fn mask(n: u32) -> u128 {
    !(u128::MAX >> (4 * n))
}

/// Eight digits packed into 32 bits; none if one of the characters is no digit.
#[inline]
fn eight(text: [u8; 8]) -> Option<u32> {
    let x = u64::from_be_bytes(text) ^ 0x3030_3030_3030_3030;
    // 0 to 9 stay below 0x80 when 0x76 is added; what is above already says so itself.
    if (x.wrapping_add(0x7676_7676_7676_7676) | x) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    let x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    Some((x | x >> 16) as u32)
}

impl Digits {
    /// Plain digits, 8 to 16 of them, and nothing else.
    #[inline]
    pub fn plain(text: &[u8]) -> Option<Digits> {
        if text.len() > 16 {
            return None;
        }
        // The two eights overlap where there are fewer than 16: the same digits fall on the same places.
        let (first, last) = (text.first_chunk()?, text.last_chunk()?);
        let n = text.len() as u32;
        let word = u128::from(eight(*first)?) << 96 | u128::from(eight(*last)?) << (128 - 4 * n);
        Some(Digits { word, n })
    }

    /// Digits with visual separators (RFC 3966 section 3) among them; none for other text, such as a name.
    pub fn separated(text: &[u8]) -> Option<Digits> {
        let mut digits = Digits { word: 0, n: 0 };
        for &byte in text {
            match byte {
                b'0'..=b'9' => digits.push(byte),
                b'-' | b'.' | b'(' | b')' | b' ' => {}
                _ => return None,
            }
        }
        (digits.n > 0).then_some(digits)
    }

    /// A prefix as a file names it, perhaps an empty one; none for what no number begins with.
    pub fn prefix(text: &str) -> Option<Digits> {
        let mut digits = Digits { word: 0, n: 0 };
        let fits = text.len() <= MOST as usize && text.bytes().all(|byte| byte.is_ascii_digit());
        text.bytes().for_each(|byte| digits.push(byte));
        fits.then_some(digits)
    }

    fn push(&mut self, digit: u8) {
        if self.n < MOST {
            self.word |= u128::from(digit & 0xf) << (124 - 4 * self.n);
            self.n += 1;
        }
    }

    #[inline]
    pub fn count(self) -> u32 {
        self.n
    }

    /// What follows the prefix, if these begin with it.
    #[inline]
    pub fn after(self, prefix: Digits) -> Option<Digits> {
        let begins = self.n >= prefix.n && (self.word ^ prefix.word) & mask(prefix.n) == 0;
        begins.then(|| Digits { word: self.word << (4 * prefix.n), n: self.n - prefix.n })
    }

    /// These behind a prefix.
    #[inline]
    pub fn behind(self, prefix: Digits) -> Digits {
        Digits { word: prefix.word | self.word >> (4 * prefix.n), n: prefix.n + self.n }
    }

    /// As [`Number::from_digits`].
    #[inline]
    pub fn number(self) -> Result<Number, Why> {
        match self.n {
            0 => Err(Why::NotANumber),
            _ if self.word >> 124 == 0 => Err(Why::LeadingZero),
            n if n < 7 => Err(Why::TooShort),
            n if n > MAX_DIGITS as u32 => Err(Why::TooLong),
            n => Ok(Number::from_bits_unchecked((self.word >> 64) as u64 | u64::from(n))),
        }
    }

    /// As [`ShortCode::from_digits`].
    #[inline]
    pub fn short_code(self) -> Option<ShortCode> {
        let fits = (1..=6).contains(&self.n);
        fits.then(|| ShortCode::from_bits_unchecked((self.word >> 64) as u64 | u64::from(self.n)))
    }

    pub fn malformed(self, why: Why) -> Malformed {
        Malformed::of_word(why, (self.word >> 64) as u64, self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(digits: Digits) -> String {
        (0..digits.n).map(|i| char::from(b'0' + (digits.word >> (124 - 4 * i) & 0xf) as u8)).collect()
    }

    proptest! {
        #[test]
        fn eight_at_a_time_reads_what_stands_there(text in "[0-9]{8,16}") {
            let read = Digits::plain(text.as_bytes());
            prop_assert_eq!(read.map(shown), Some(text.clone()));
            prop_assert_eq!(read, Digits::separated(text.as_bytes()));
        }

        #[test]
        fn eight_at_a_time_takes_nothing_but_digits(text in "[0-9]{8,16}", at in 0usize..16, byte in any::<u8>()) {
            let mut text = text.into_bytes();
            let at = at % text.len();
            text[at] = byte;
            prop_assert_eq!(Digits::plain(&text).is_some(), byte.is_ascii_digit());
        }

        #[test]
        fn eight_at_a_time_leaves_other_lengths_alone(text in "([0-9]{0,7}|[0-9]{17,30})") {
            prop_assert_eq!(Digits::plain(text.as_bytes()), None);
        }

        #[test]
        fn separators_leave_no_trace(text in "[-0-9.() ]{0,40}") {
            let mut bare: String = text.chars().filter(char::is_ascii_digit).collect();
            bare.truncate(24);
            prop_assert_eq!(Digits::separated(text.as_bytes()).map(shown), (!bare.is_empty()).then_some(bare));
        }

        #[test]
        fn cutting_and_joining_are_those_of_text(text in "[0-3]{1,24}", prefix in "[0-3]{0,3}") {
            let (digits, head) = (Digits::separated(text.as_bytes()).unwrap(), Digits::prefix(&prefix).unwrap());
            prop_assert_eq!(digits.after(head).map(shown), text.strip_prefix(&prefix).map(str::to_owned));
            prop_assert_eq!(shown(digits.behind(head)), format!("{prefix}{text}"));
        }

        #[test]
        fn numbers_and_codes_are_those_of_text(text in "[0-9]{1,24}") {
            let digits = Digits::separated(text.as_bytes()).unwrap();
            prop_assert_eq!(digits.number(), Number::from_digits(text.as_bytes()));
            prop_assert_eq!(digits.short_code(), ShortCode::from_digits(text.as_bytes()));
            let malformed = digits.malformed(Why::TooLong);
            prop_assert_eq!(malformed, Malformed::new(Why::TooLong, text.as_bytes()));
        }
    }
}
