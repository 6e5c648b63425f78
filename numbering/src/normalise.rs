//! From the digits on the wire to a [`Party`], once, at the edge.
//!
//! Networks send one number in many forms: `+77272501234`, `77272501234`, `7272501234`, `87272501234`,
//! `81077272501234`. Which of them a form can be depends on the trunk it came by, so a trunk carries a
//! [`Dialling`]. Where a form fits two readings, the order below decides, and it is part of the contract:
//!
//! 1. nothing, or the words networks send instead of a number;
//! 2. `+`: as written; `;phone-context=+...` in front of local digits: as written too;
//! 3. an emergency number of the plan, then a short code by its length;
//! 4. an international prefix (of the trunk, and on national trunks of the plan) and a full number;
//! 5. on national trunks the home forms: trunk prefix and national number, country code and national
//!    number, national number alone;
//! 6. a full number without its `+`;
//! 7. on other trunks a home national number: a known loophole, so it is normalised and said.

use crate::number::MAX_DIGITS;
use crate::{Malformed, Number, Owner, Party, Plan, ShortCode, Why};

/// How the networks behind a trunk write numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialling {
    /// Home national forms are usual here (national and access trunks).
    pub national: bool,
    /// International prefixes of the sending network, such as `00` or `011`.
    pub international_prefixes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Normalised {
    pub party: Party,
    /// A home number came in national form by a trunk where only full numbers are usual.
    pub national_form: bool,
}

/// Digits with visual separators taken out; longer text than any number is cut, which keeps it too long.
struct Digits {
    digits: [u8; MAX_DIGITS + 9],
    n: usize,
    plus: bool,
}

impl Digits {
    /// None for text that is no number at all, such as a name.
    fn read(text: &str) -> Option<Digits> {
        let (plus, text) = match text.as_bytes() {
            [b'+', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let mut out = Digits { digits: [0; MAX_DIGITS + 9], n: 0, plus };
        for &byte in text {
            match byte {
                b'0'..=b'9' if out.n < out.digits.len() => {
                    out.digits[out.n] = byte;
                    out.n += 1;
                }
                b'0'..=b'9' => {}
                // RFC 3966 section 3: visual separators.
                b'-' | b'.' | b'(' | b')' | b' ' => {}
                _ => return None,
            }
        }
        (out.n > 0).then_some(out)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.n]
    }
}

impl Plan {
    /// Normalises the text of a number field: the user part of a URI, or a column of a record.
    ///
    /// Parameters may follow a `;`: only `phone-context` is heeded (RFC 3966 section 5.1.5).
    pub fn normalise(&self, text: &str, dialling: &Dialling) -> Normalised {
        let (text, parameters) = match text.split_once(';') {
            Some((text, parameters)) => (text.trim(), parameters),
            None => (text.trim(), ""),
        };
        let plain = |party| Normalised { party, national_form: false };
        if text.is_empty()
            || text.eq_ignore_ascii_case("anonymous")
            || text.eq_ignore_ascii_case("unavailable")
        {
            return plain(Party::Absent);
        }
        if text.eq_ignore_ascii_case("restricted") {
            return plain(Party::Restricted);
        }
        let Some(read) = Digits::read(text) else {
            return plain(Party::Malformed(Malformed::new(Why::NotANumber, text.as_bytes())));
        };
        let digits = read.as_bytes();
        if read.plus {
            return plain(self.full(digits));
        }
        if let Some(code) = self.short_code(digits) {
            return plain(Party::Short(code));
        }
        if let Some(context) = phone_context(parameters) {
            let mut whole = [0u8; 2 * (MAX_DIGITS + 9)];
            let n = context.n + digits.len();
            whole[..context.n].copy_from_slice(context.as_bytes());
            whole[context.n..n].copy_from_slice(digits);
            return plain(self.full(&whole[..n]));
        }
        self.without_plus(digits, dialling)
    }

    fn without_plus(&self, digits: &[u8], dialling: &Dialling) -> Normalised {
        let plain = |party| Normalised { party, national_form: false };
        let own = dialling.international_prefixes.iter();
        let plan = self.international_prefixes.iter().filter(|_| dialling.national);
        for prefix in own.chain(plan) {
            // A prefix is stripped only where a whole number remains: 81012345678 may be 8 and ten digits.
            if let Some(number) = digits.strip_prefix(prefix.as_bytes()).and_then(|rest| self.assigned(rest))
            {
                return plain(Party::Number(number));
            }
        }
        if dialling.national {
            let trunk_form =
                self.national_prefix.as_ref().and_then(|prefix| digits.strip_prefix(prefix.as_bytes()));
            if let Some(number) = trunk_form.and_then(|national| self.home(national)) {
                return plain(Party::Number(number));
            }
            let with_code = digits.strip_prefix(self.country_code.as_bytes());
            if let Some(number) = with_code.and_then(|national| self.home(national)) {
                return plain(Party::Number(number));
            }
            if let Some(number) = self.home(digits) {
                return plain(Party::Number(number));
            }
        }
        if let Some(number) = self.assigned(digits) {
            return plain(Party::Number(number));
        }
        if !dialling.national
            && let Some(number) = self.home(digits)
            && self.standing(number).owner == Owner::Home
        {
            return Normalised { party: Party::Number(number), national_form: true };
        }
        plain(self.full(digits))
    }

    /// The digits of a full number; malformed ones say why.
    fn full(&self, digits: &[u8]) -> Party {
        match Number::from_digits(digits) {
            Ok(number) => Party::Number(number),
            Err(why) => {
                // Some switches put the country code before an emergency number: it must pass all the same.
                let local = digits.strip_prefix(self.country_code.as_bytes());
                match local.and_then(ShortCode::from_digits).filter(|&code| self.is_emergency(code)) {
                    Some(code) => Party::Short(code),
                    None => Party::Malformed(Malformed::new(why, digits)),
                }
            }
        }
    }

    /// A full number whose country code is assigned and whose length is possible there.
    fn assigned(&self, digits: &[u8]) -> Option<Number> {
        let number = Number::from_digits(digits).ok()?;
        self.standing(number).fits(number).then_some(number)
    }

    /// A national number of the home country with its country code in front.
    fn home(&self, national: &[u8]) -> Option<Number> {
        if !self.national_number_lengths.contains(&national.len()) {
            return None;
        }
        let mut whole = [0u8; MAX_DIGITS];
        let n = self.country_code.len() + national.len();
        let whole = whole.get_mut(..n)?;
        whole[..self.country_code.len()].copy_from_slice(self.country_code.as_bytes());
        whole[self.country_code.len()..].copy_from_slice(national);
        Number::from_digits(whole).ok()
    }

    fn short_code(&self, digits: &[u8]) -> Option<ShortCode> {
        let code = ShortCode::from_digits(digits)?;
        (self.short_code_lengths.contains(&digits.len()) || self.is_emergency(code)).then_some(code)
    }
}

/// The digits of a global `phone-context`; a domain name says nothing about digits.
fn phone_context(parameters: &str) -> Option<Digits> {
    let context = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("phone-context").then_some(value.trim())
    })?;
    Digits::read(context).filter(|digits| digits.plus && digits.n <= MAX_DIGITS)
}
