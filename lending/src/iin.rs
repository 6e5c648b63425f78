//! The individual identification number of a person: what its digits say, checked by the rule of a country's rulebook.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::Date;
use serde::Deserialize;

/// Digits of an IIN.
pub const DIGITS: usize = 12;

/// A person's number, checked. `Display` and `Debug` are masked; [`Iin::reveal`] gives every digit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Iin([u8; DIGITS]);

/// How a country makes these numbers: the `[iin]` of its rulebook.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IinRule {
    /// Two rows: the second is taken where the first gives 10.
    weights: [[u8; DIGITS - 1]; 2],
    /// By the digit after the birth date, the first year of a century.
    centuries: BTreeMap<String, i16>,
}

/// Why a text is no IIN. No message holds a digit of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IinFault {
    NotTwelveDigits,
    NoSuchCentury,
    NoSuchDate,
    /// The person is not born yet.
    BirthAhead,
    CheckDigit,
}

impl fmt::Display for IinFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IinFault::NotTwelveDigits => "an IIN has 12 digits and nothing else",
            IinFault::NoSuchCentury => "its 7th digit is of no century",
            IinFault::NoSuchDate => "its first 6 digits are no date of birth (YYMMDD)",
            IinFault::BirthAhead => "its date of birth is yet to come",
            IinFault::CheckDigit => "its last digit does not fit the others: look for a slip",
        })
    }
}

impl IinRule {
    /// Reads an IIN; `today` is the local day.
    pub fn read(&self, text: &str, today: Date) -> Result<Iin, IinFault> {
        let digits: [u8; DIGITS] = text.as_bytes().try_into().map_err(|_| IinFault::NotTwelveDigits)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(IinFault::NotTwelveDigits);
        }
        let digits = digits.map(|digit| digit - b'0');
        if self.check_digit(&digits) != Some(digits[DIGITS - 1]) {
            return Err(IinFault::CheckDigit);
        }
        let century = self.centuries.get(&text[6..7]).ok_or(IinFault::NoSuchCentury)?;
        let two = |at: usize| (digits[at] * 10 + digits[at + 1]) as i8;
        let birth = Date::new(century + i16::from(two(0)), two(2), two(4));
        match birth {
            Err(_) => Err(IinFault::NoSuchDate),
            Ok(birth) if birth > today => Err(IinFault::BirthAhead),
            Ok(_) => Ok(Iin(digits)),
        }
    }

    /// The check digit of the first 11; none where such a number is never issued.
    fn check_digit(&self, digits: &[u8; DIGITS]) -> Option<u8> {
        let sum = |row: &[u8; DIGITS - 1]| -> u32 {
            row.iter().zip(digits).map(|(weight, digit)| u32::from(*weight) * u32::from(*digit)).sum()
        };
        self.weights.iter().map(|row| sum(row) % 11).find(|check| *check < 10).map(|check| check as u8)
    }
}

impl Iin {
    /// Every digit, for those who are allowed to read it.
    pub fn reveal(self) -> String {
        self.0.iter().map(|digit| char::from(b'0' + digit)).collect()
    }
}

/// The last two digits.
impl fmt::Display for Iin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "**********{}{}", self.0[DIGITS - 2], self.0[DIGITS - 1])
    }
}

impl fmt::Debug for Iin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iin({self})")
    }
}
