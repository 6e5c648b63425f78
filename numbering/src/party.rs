//! What stood in a number field of a call, once normalised.

use std::fmt;

use crate::number::{MAX_DIGITS, pack};
use crate::{Key, Number, ShortCode};

/// The content of a calling, presentation, called or redirecting number field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Party {
    /// No number was sent: empty, `anonymous`, `unavailable`.
    #[default]
    Absent,
    /// The sending network holds the number and hides it; not the same as absent.
    Restricted,
    Short(ShortCode),
    Number(Number),
    Malformed(Malformed),
}

/// Something that is no telephone number: why, and the digits it began with (at most 12).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    pub why: Why,
    head: u64,
}

/// Why digits are not an E.164 number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Why {
    /// A name or other text.
    NotANumber = 1,
    /// Fewer than 7 digits and no short code of the plan.
    TooShort = 2,
    /// More than 15 digits.
    TooLong = 3,
    /// No country code begins with 0.
    LeadingZero = 4,
}

impl Malformed {
    pub fn new(why: Why, text: &[u8]) -> Malformed {
        let mut head = [0u8; 12];
        let mut n = 0;
        for &byte in text.iter().filter(|byte| byte.is_ascii_digit()).take(head.len()) {
            head[n] = byte;
            n += 1;
        }
        Malformed { why, head: pack(&head[..n]) }
    }

    /// Of `n` digits packed from the top of the word.
    pub(crate) fn of_word(why: Why, word: u64, n: u32) -> Malformed {
        Malformed { why, head: (word & !0xffff) | u64::from(n.min(12)) }
    }
}

impl fmt::Debug for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} digits kept)", self.why, self.head & 0xf)
    }
}

/// Words of a packed party whose low four bits are zero: the kind stands in the next four.
const RESTRICTED: u64 = 0x10;
const SHORT: u64 = 0x20;
const MALFORMED: u64 = 0x30;

impl Party {
    #[inline]
    pub fn number(self) -> Option<Number> {
        match self {
            Party::Number(number) => Some(number),
            _ => None,
        }
    }

    /// What a list is asked about; nothing for an absent, restricted or malformed number.
    #[inline]
    pub fn key(self) -> Option<Key> {
        match self {
            Party::Number(number) => Some(number.key()),
            Party::Short(code) => Some(code.key()),
            _ => None,
        }
    }

    /// The party as one word, for fixed-size records; [`Party::from_word`] reads it back.
    pub fn to_word(self) -> u64 {
        match self {
            Party::Absent => 0,
            Party::Restricted => RESTRICTED,
            Party::Number(number) => number.bits(),
            // The count of digits moves up to make room for the kind; 6 digits leave it free.
            Party::Short(code) => (code.key().0 & !0xf) | (code.key().0 & 0xf) << 8 | SHORT,
            Party::Malformed(bad) => {
                (bad.head & !0xffff) | (bad.head & 0xf) << 12 | (bad.why as u64) << 8 | MALFORMED
            }
        }
    }

    pub fn from_word(word: u64) -> Option<Party> {
        let count = (word & 0xf) as usize;
        if count > 0 {
            return (count <= MAX_DIGITS).then(|| Party::Number(Number::from_bits_unchecked(word)));
        }
        Some(match word & 0xf0 {
            0 => Party::Absent,
            RESTRICTED => Party::Restricted,
            SHORT => Party::Short(ShortCode::from_bits_unchecked((word & !0xfff) | (word >> 8 & 0xf))),
            MALFORMED => {
                let why = match word >> 8 & 0xf {
                    1 => Why::NotANumber,
                    2 => Why::TooShort,
                    3 => Why::TooLong,
                    4 => Why::LeadingZero,
                    _ => return None,
                };
                Party::Malformed(Malformed { why, head: (word & !0xffff) | (word >> 12 & 0xf) })
            }
            _ => return None,
        })
    }

    /// The field with every digit: E.164, a short code, or the words that records use.
    pub fn reveal(self) -> String {
        match self {
            Party::Number(number) => number.reveal().to_string(),
            Party::Malformed(bad) => {
                let digits: String = (0..bad.head & 0xf)
                    .map(|i| char::from(b'0' + (bad.head >> (60 - 4 * i) & 0xf) as u8))
                    .collect();
                format!("malformed:{digits}")
            }
            other => other.to_string(),
        }
    }
}

/// Masked, as [`Number`] is.
impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Absent => f.write_str(""),
            Party::Restricted => f.write_str("restricted"),
            Party::Short(code) => code.fmt(f),
            Party::Number(number) => fmt::Display::fmt(number, f),
            Party::Malformed(_) => f.write_str("malformed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_survives_packing() {
        let parties = [
            Party::Absent,
            Party::Restricted,
            Party::Short(ShortCode::from_digits(b"112").unwrap()),
            Party::Short(ShortCode::from_digits(b"000001").unwrap()),
            Party::Number(Number::parse("+77272501234").unwrap()),
            Party::Malformed(Malformed::new(Why::TooLong, b"1234567890123456789")),
            Party::Malformed(Malformed::new(Why::NotANumber, b"alice")),
        ];
        for party in parties {
            assert_eq!(Party::from_word(party.to_word()), Some(party));
        }
        assert_eq!(parties[5].reveal(), "malformed:123456789012");
    }

    proptest! {
        #[test]
        fn no_word_is_misread(word in any::<u64>()) {
            if let Some(party) = Party::from_word(word) {
                let _ = party.to_string();
                prop_assert_eq!(Party::from_word(party.to_word()), Some(party));
            }
        }
    }
}
