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

use crate::digits::Digits;
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

/// What a plan says of how numbers are written, ready for comparing.
pub(crate) struct Dialled {
    pub country_code: Digits,
    pub national_prefix: Option<Digits>,
    pub international_prefixes: Vec<Digits>,
    /// Bit n set: n digits are possible.
    pub national_number_lengths: u32,
    pub short_code_lengths: u32,
}

impl Dialled {
    /// `lengths` of more digits than are kept of any text can never be met.
    pub fn lengths(lengths: &[usize]) -> u32 {
        lengths.iter().filter(|&&n| n < 32).fold(0, |mask, n| mask | 1 << n)
    }
}

#[inline]
fn plain(party: Party) -> Normalised {
    Normalised { party, national_form: false }
}

/// The text behind a `+`, and whether there was one.
#[inline]
fn behind_plus(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'+', rest @ ..] => (true, rest),
        rest => (false, rest),
    }
}

impl Plan {
    /// Normalises the text of a number field: the user part of a URI, or a column of a record.
    ///
    /// Parameters may follow a `;`: only `phone-context` is heeded (RFC 3966 section 5.1.5).
    #[inline]
    pub fn normalise(&self, text: &str, dialling: &Dialling) -> Normalised {
        let (plus, digits) = behind_plus(text.as_bytes());
        match Digits::plain(digits) {
            // More digits than a short code has, and nothing else there.
            Some(digits) if plus => plain(self.full(digits)),
            Some(digits) => self.without_plus(digits, dialling),
            None => self.normalise_text(text, dialling),
        }
    }

    fn normalise_text(&self, text: &str, dialling: &Dialling) -> Normalised {
        let (text, parameters) = match text.split_once(';') {
            Some((text, parameters)) => (text.trim(), parameters),
            None => (text.trim(), ""),
        };
        if text.is_empty()
            || text.eq_ignore_ascii_case("anonymous")
            || text.eq_ignore_ascii_case("unavailable")
        {
            return plain(Party::Absent);
        }
        if text.eq_ignore_ascii_case("restricted") {
            return plain(Party::Restricted);
        }
        let (plus, digits) = behind_plus(text.as_bytes());
        let Some(digits) = Digits::separated(digits) else {
            return plain(Party::Malformed(Malformed::new(Why::NotANumber, text.as_bytes())));
        };
        if plus {
            return plain(self.full(digits));
        }
        if let Some(code) = self.short_code(digits) {
            return plain(Party::Short(code));
        }
        if let Some(context) = phone_context(parameters) {
            return plain(self.full(digits.behind(context)));
        }
        self.without_plus(digits, dialling)
    }

    fn without_plus(&self, digits: Digits, dialling: &Dialling) -> Normalised {
        let own = dialling.international_prefixes.iter().filter_map(|prefix| Digits::prefix(prefix));
        let plan = self.dialled.international_prefixes.iter().filter(|_| dialling.national);
        for prefix in own.chain(plan.copied()) {
            // A prefix is stripped only where a whole number remains: 81012345678 may be 8 and ten digits.
            if let Some(number) = digits.after(prefix).and_then(|rest| self.assigned(rest)) {
                return plain(Party::Number(number));
            }
        }
        if dialling.national {
            let trunk_form = self.dialled.national_prefix.and_then(|prefix| digits.after(prefix));
            if let Some(number) = trunk_form.and_then(|national| self.home(national)) {
                return plain(Party::Number(number));
            }
            let with_code = digits.after(self.dialled.country_code);
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
    #[inline]
    fn full(&self, digits: Digits) -> Party {
        match digits.number() {
            Ok(number) => Party::Number(number),
            Err(why) => {
                // Some switches put the country code before an emergency number: it must pass all the same.
                let local = digits.after(self.dialled.country_code).and_then(Digits::short_code);
                match local.filter(|&code| self.is_emergency(code)) {
                    Some(code) => Party::Short(code),
                    None => Party::Malformed(digits.malformed(why)),
                }
            }
        }
    }

    /// A full number whose country code is assigned and whose length is possible there.
    fn assigned(&self, digits: Digits) -> Option<Number> {
        let number = digits.number().ok()?;
        self.standing(number).fits(number).then_some(number)
    }

    /// A national number of the home country with its country code in front.
    #[inline]
    fn home(&self, national: Digits) -> Option<Number> {
        if self.dialled.national_number_lengths >> national.count() & 1 == 0 {
            return None;
        }
        national.behind(self.dialled.country_code).number().ok()
    }

    fn short_code(&self, digits: Digits) -> Option<ShortCode> {
        let code = digits.short_code()?;
        let usual = self.dialled.short_code_lengths >> digits.count() & 1 == 1;
        (usual || self.is_emergency(code)).then_some(code)
    }
}

/// The digits of a global `phone-context`; a domain name says nothing about digits.
fn phone_context(parameters: &str) -> Option<Digits> {
    let context = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("phone-context").then_some(value.trim())
    })?;
    let digits = Digits::separated(context.strip_prefix('+')?.as_bytes())?;
    (digits.count() <= MAX_DIGITS as u32).then_some(digits)
}
