//! Digits packed in one word: comparing, hashing and prefix tests are single instructions.
//!
//! Layout of the word: up to 15 digits of four bits each from the top down, unused ones zero, and the
//! count of digits in the lowest four bits. Sorting words sorts numbers as a telecom does, by prefix.

use std::fmt;

use crate::Why;

/// An E.164 number: 7 to 15 digits, the first not 0 (ITU-T E.164 section 6).
///
/// `Display` and `Debug` are masked; [`Number::reveal`] gives every digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

/// A short or emergency code such as 112 or 1414: dialled, never in E.164.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortCode(u64);

/// The leading digits of numbers, 1 to 15 of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(u64);

/// What a list is asked about: a number or a short code, as one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(pub u64);

/// Every digit of a number, for those who are allowed to read it.
pub struct Revealed(u64, &'static str);

pub(crate) const MAX_DIGITS: usize = 15;

#[inline]
pub(crate) fn pack(digits: &[u8]) -> u64 {
    debug_assert!(digits.len() <= MAX_DIGITS);
    let mut word = 0u64;
    for &digit in digits {
        word = word << 4 | u64::from(digit - b'0');
    }
    (word << (60 - 4 * digits.len()) << 4) | digits.len() as u64
}

#[inline]
fn count(word: u64) -> usize {
    (word & 0xf) as usize
}

#[inline]
fn digit(word: u64, index: usize) -> u8 {
    (word >> (60 - 4 * index) & 0xf) as u8
}

/// The bits that the first `n` digits occupy.
#[inline]
fn mask(n: usize) -> u64 {
    !(u64::MAX >> (4 * n))
}

impl Number {
    /// Reads `+` and 7 to 15 digits; nothing else is accepted.
    pub fn parse(text: &str) -> Result<Number, Why> {
        let digits = text.strip_prefix('+').ok_or(Why::NotANumber)?;
        Number::from_digits(digits.as_bytes())
    }

    /// Takes the digits of an E.164 number without its `+`.
    pub fn from_digits(digits: &[u8]) -> Result<Number, Why> {
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Why::NotANumber);
        }
        match digits {
            [] => Err(Why::NotANumber),
            [b'0', ..] => Err(Why::LeadingZero),
            _ if digits.len() < 7 => Err(Why::TooShort),
            _ if digits.len() > MAX_DIGITS => Err(Why::TooLong),
            _ => Ok(Number(pack(digits))),
        }
    }

    /// How many digits, 7 to 15.
    #[inline]
    pub fn digits(self) -> usize {
        count(self.0)
    }

    #[inline]
    pub fn key(self) -> Key {
        Key(self.0)
    }

    /// The first `n` digits; all of them when there are no more than `n`.
    #[inline]
    pub fn prefix(self, n: usize) -> Prefix {
        let n = n.min(self.digits());
        Prefix((self.0 & mask(n)) | n as u64)
    }

    /// The number with every digit, `+` in front.
    pub fn reveal(self) -> Revealed {
        Revealed(self.0, "+")
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn from_bits_unchecked(word: u64) -> Number {
        Number(word)
    }
}

impl ShortCode {
    /// Takes 1 to 6 digits.
    pub fn from_digits(digits: &[u8]) -> Option<ShortCode> {
        let fits = (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        fits.then(|| ShortCode(pack(digits)))
    }

    #[inline]
    pub fn key(self) -> Key {
        Key(self.0)
    }

    #[inline]
    pub(crate) fn from_bits_unchecked(word: u64) -> ShortCode {
        ShortCode(word)
    }
}

impl Prefix {
    /// Takes 1 to 15 digits.
    pub fn from_digits(digits: &[u8]) -> Option<Prefix> {
        let fits = (1..=MAX_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        fits.then(|| Prefix(pack(digits)))
    }

    #[inline]
    pub fn digits(self) -> usize {
        count(self.0)
    }

    #[inline]
    pub fn key(self) -> Key {
        Key(self.0)
    }

    #[inline]
    pub fn covers(self, number: Number) -> bool {
        number.digits() >= self.digits() && (number.0 ^ self.0) & mask(self.digits()) == 0
    }

    pub(crate) fn digit(self, index: usize) -> u8 {
        digit(self.0, index)
    }
}

impl Key {
    /// Short codes have at most 6 digits, numbers 7 at least.
    #[inline]
    pub fn is_short_code(self) -> bool {
        count(self.0) < 7
    }

    /// The digits as an integer, below 10^15. A number has its own: its first digit is not 0. None for a short code.
    #[inline]
    pub fn integer(self) -> Option<u64> {
        let n = count(self.0);
        if n < 7 {
            return None;
        }
        // Pairs of digits, then of pairs: each step makes one place of two, from base 16 to base 10.
        let word = self.0 >> (64 - 4 * n);
        let word = word - 6 * (word >> 4 & 0x0f0f_0f0f_0f0f_0f0f);
        let word = word - 156 * (word >> 8 & 0x00ff_00ff_00ff_00ff);
        let word = word - 55_536 * (word >> 16 & 0x0000_ffff_0000_ffff);
        Some(word - 4_194_967_296 * (word >> 32))
    }

    /// The key of the first `n` digits of what this key stands for, to look a prefix up.
    #[inline]
    pub fn prefix(self, n: usize) -> Option<Key> {
        (n <= count(self.0)).then(|| Key((self.0 & mask(n)) | n as u64))
    }
}

fn write_digits(word: u64, f: &mut fmt::Formatter<'_>, hide: impl Fn(usize) -> bool) -> fmt::Result {
    let mut text = [0u8; MAX_DIGITS];
    let n = count(word);
    for (index, place) in text[..n].iter_mut().enumerate() {
        *place = if hide(index) { b'*' } else { b'0' + digit(word, index) };
    }
    f.write_str(std::str::from_utf8(&text[..n]).expect("ASCII digits"))
}

impl Revealed {
    /// The digits in ASCII, and how many there are: for those who write them without formatting.
    #[inline]
    pub fn digits(&self) -> ([u8; MAX_DIGITS], usize) {
        (std::array::from_fn(|index| b'0' + digit(self.0, index)), count(self.0))
    }
}

impl fmt::Display for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)?;
        write_digits(self.0, f, |_| false)
    }
}

/// Masked: the range and the last two digits, `+77272****34`, so that people can tell calls apart.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("+")?;
        let n = self.digits();
        write_digits(self.0, f, |index| index + 6 >= n && index + 2 < n)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_digits(self.0, f, |_| false)
    }
}

impl fmt::Debug for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("+")?;
        write_digits(self.0, f, |_| false)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_e164_and_nothing_else() {
        assert!(Number::parse("+77272501234").is_ok());
        assert_eq!(Number::parse("77272501234"), Err(Why::NotANumber));
        assert_eq!(Number::parse("+0772725012"), Err(Why::LeadingZero));
        assert_eq!(Number::parse("+772725"), Err(Why::TooShort));
        assert_eq!(Number::parse("+7727250123456789"), Err(Why::TooLong));
        assert_eq!(Number::parse("+7727250123a"), Err(Why::NotANumber));
        assert_eq!(Number::parse("+"), Err(Why::NotANumber));
    }

    #[test]
    fn shows_a_masked_number_unless_asked() {
        let number = Number::parse("+77272501234").unwrap();
        assert_eq!(number.to_string(), "+77272****34");
        assert_eq!(format!("{number:?}"), "+77272****34");
        assert_eq!(number.reveal().to_string(), "+77272501234");
    }

    proptest! {
        #[test]
        fn reads_back_what_it_shows(text in "\\+[1-9][0-9]{6,14}") {
            prop_assert_eq!(Number::parse(&text).unwrap().reveal().to_string(), text);
        }

        #[test]
        fn an_integer_is_its_digits(text in "[1-9][0-9]{6,14}") {
            let number = Number::from_digits(text.as_bytes()).unwrap();
            prop_assert_eq!(number.key().integer(), text.parse().ok());
        }

        #[test]
        fn sorts_like_text(a in "\\+[1-9][0-9]{6,14}", b in "\\+[1-9][0-9]{6,14}") {
            let (x, y) = (Number::parse(&a).unwrap(), Number::parse(&b).unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn a_prefix_covers_what_starts_with_it(a in "[1-9][0-9]{6,14}", p in "[0-9]{1,15}", n in 1usize..15) {
            let number = Number::from_digits(a.as_bytes()).unwrap();
            prop_assert_eq!(Prefix::from_digits(p.as_bytes()).unwrap().covers(number), a.starts_with(&p));
            let own = number.prefix(n);
            prop_assert!(own.covers(number));
            prop_assert_eq!(own.to_string(), format!("+{}", &a[..n.min(a.len())]));
        }
    }
}
