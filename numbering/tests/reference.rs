//! Normalising beside a plain reading of its contract (the head of numbering/src/normalise.rs), digit by digit in text.

use numbering::{Dialling, Malformed, Number, Owner, Party, Plan, ShortCode, Why};
use proptest::prelude::*;
use std::sync::LazyLock;

struct Country {
    plan: Plan,
    code: &'static str,
    lengths: &'static [usize],
    trunk_prefix: &'static str,
    international: &'static str,
    emergency: &'static [&'static str],
    short_lengths: &'static [usize],
}

/// What the two plans' files say in their first lines.
static COUNTRIES: LazyLock<[Country; 2]> = LazyLock::new(|| {
    let plan = |text| Plan::parse(text).unwrap();
    [
        Country {
            plan: plan(include_str!("../../plans/kz.toml")),
            code: "7",
            lengths: &[10],
            trunk_prefix: "8",
            international: "810",
            emergency: &["112", "101", "102", "103", "104"],
            short_lengths: &[3, 4, 5],
        },
        Country {
            plan: plan(include_str!("../../plans/gb.toml")),
            code: "44",
            lengths: &[7, 9, 10],
            trunk_prefix: "0",
            international: "00",
            emergency: &["999", "112", "18000"],
            short_lengths: &[3, 4, 5, 6],
        },
    ]
});

impl Country {
    fn full(&self, digits: &str) -> Party {
        match Number::parse(&format!("+{digits}")) {
            Ok(number) => Party::Number(number),
            Err(why) => match digits.strip_prefix(self.code) {
                Some(local) if self.emergency.contains(&local) => short(local),
                _ => Party::Malformed(Malformed::new(why, digits.as_bytes())),
            },
        }
    }

    fn assigned(&self, digits: &str) -> Option<Party> {
        let number = Number::parse(&format!("+{digits}")).ok()?;
        self.plan.standing(number).fits(number).then_some(Party::Number(number))
    }

    fn home(&self, national: &str) -> Option<Party> {
        let fits = self.lengths.contains(&national.len());
        fits.then(|| Number::parse(&format!("+{}{national}", self.code)).ok()).flatten().map(Party::Number)
    }

    /// Of text that is digits, separators and perhaps a `+`.
    fn read(&self, text: &str, dialling: &Dialling) -> (Party, bool) {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if text.starts_with('+') {
            return (self.full(&digits), false);
        }
        if self.emergency.contains(&digits.as_str()) || self.short_lengths.contains(&digits.len()) {
            return (short(&digits), false);
        }
        let mut prefixes: Vec<&str> = dialling.international_prefixes.iter().map(String::as_str).collect();
        prefixes.extend(dialling.national.then_some(self.international));
        let mut forms: Vec<Option<Party>> = Vec::new();
        for prefix in prefixes {
            forms.push(digits.strip_prefix(prefix).and_then(|rest| self.assigned(rest)));
        }
        if dialling.national {
            forms.push(digits.strip_prefix(self.trunk_prefix).and_then(|rest| self.home(rest)));
            forms.push(digits.strip_prefix(self.code).and_then(|rest| self.home(rest)));
            forms.push(self.home(&digits));
        }
        forms.push(self.assigned(&digits));
        if let Some(party) = forms.into_iter().flatten().next() {
            return (party, false);
        }
        if let Some(Party::Number(number)) = self.home(&digits).filter(|_| !dialling.national)
            && self.plan.standing(number).owner == Owner::Home
        {
            return (Party::Number(number), true);
        }
        (self.full(&digits), false)
    }
}

fn short(digits: &str) -> Party {
    Party::Short(ShortCode::from_digits(digits.as_bytes()).unwrap())
}

fn forms() -> impl Strategy<Value = String> {
    let lead = prop_oneof![
        Just(""),
        Just("+"),
        Just("8"),
        Just("810"),
        Just("00"),
        Just("0"),
        Just("7"),
        Just("+7"),
        Just("44")
    ];
    let rest = prop_oneof![
        8 => "[0-9]{1,18}".boxed(),
        2 => "[78][0-9]{9}".boxed(),
        1 => "[0-9][-0-9.() ]{0,22}".boxed(),
        1 => "1(12|0[1-4])".boxed(),
    ];
    (lead, rest).prop_map(|(lead, rest)| format!("{lead}{rest}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn numbers_are_read_as_the_contract_says(text in forms(), national in any::<bool>(), own in any::<bool>()) {
        let international_prefixes = if own { vec!["00".to_owned(), "011".to_owned()] } else { vec![] };
        let dialling = Dialling { national, international_prefixes };
        let text = text.trim();
        for country in COUNTRIES.iter() {
            let got = country.plan.normalise(text, &dialling);
            prop_assert_eq!((got.party, got.national_form), country.read(text, &dialling), "{:?}", text);
        }
    }
}

#[test]
fn digits_beyond_any_number_are_too_long() {
    for country in COUNTRIES.iter() {
        let got = country.plan.normalise(&"7".repeat(60), &Dialling::default()).party;
        assert!(matches!(got, Party::Malformed(bad) if bad.why == Why::TooLong));
    }
}
