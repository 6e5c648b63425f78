//! The dated limits of a country: what an IIN is, what an MCI is worth, and how long who waits.
//!
//! Shipped in `rulebook/loans/`; a node may be given another file.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde::Deserialize;

use crate::application::CreditorClass;
use crate::iin::IinRule;
use crate::sum::Sum;

/// A rulebook, read.
#[derive(Clone, Debug)]
pub struct Rulebook {
    /// ISO 4217.
    pub currency: String,
    pub iin: IinRule,
    zone: TimeZone,
    mci: Vec<(Date, Sum)>,
    limits: Vec<Limits>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    currency: String,
    utc_offset: String,
    iin: IinRule,
    mci: Vec<Mci>,
    limits: Vec<Limits>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mci {
    from: String,
    value: String,
}

/// The limits in force from a day on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    #[serde(deserialize_with = "day")]
    from: Date,
    /// How long a one-time code counts, s.
    pub code_s: u32,
    /// So many wrong tries end a code.
    pub code_tries: u32,
    /// Codes for each consent of an application.
    pub codes: u32,
    pub confirm_h: u32,
    pub consent_h: u32,
    pub ban_lift_h: u32,
    pub suspicious_call_min: u32,
    pub face: Face,
    pub several: Several,
    pub phone: Phone,
    pub cooling_off: CoolingOff,
    pub rates: Vec<Rate>,
}

/// How often a face may be shown for one application.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Face {
    /// So many failed tries refuse.
    pub tries: u32,
    /// Looks begun, also those that came to nothing.
    pub starts: u32,
}

/// At how many creditors within how many hours an application waits.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Several {
    pub creditors: u32,
    pub hours: u32,
}

/// What changes of a phone do.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Phone {
    pub sim_swapped: Change,
    pub ported: Change,
    pub forwarded: Change,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub hours: u32,
    pub answer: Lately,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lately {
    Wait,
    Refuse,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CoolingOff {
    pub steps: Vec<Step>,
    pub card_limit_mci: u32,
}

/// From or above a sum, so many hours.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    pub creditor: CreditorClass,
    from_mci: Option<u32>,
    above_mci: Option<u32>,
    pub hours: u32,
}

impl Step {
    pub fn covers(&self, sum: Sum, mci: Sum) -> bool {
        self.from_mci.is_none_or(|n| sum >= mci.times(n)) && self.above_mci.is_none_or(|n| sum > mci.times(n))
    }
}

/// At most so many codes within so many seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rate {
    pub per: Per,
    pub most: u32,
    pub within_s: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    Number,
    Creditor,
    Address,
}

impl Per {
    pub fn name(self) -> &'static str {
        match self {
            Per::Number => "number",
            Per::Creditor => "creditor",
            Per::Address => "address",
        }
    }
}

fn day<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom(format!("\"{text}\" is no day, such as 2026-01-01")))
}

impl Rulebook {
    /// Reads a rulebook; the error is a line for whoever wrote it.
    pub fn parse(text: &str) -> Result<Rulebook, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim().replace('\n', " "))?;
        let wrong_offset = || format!("utc-offset \"{}\" is no offset, such as +05:00", file.utc_offset);
        let (sign, clock) = file.utc_offset.split_at_checked(1).ok_or_else(wrong_offset)?;
        let (hours, minutes) = clock.split_once(':').ok_or_else(wrong_offset)?;
        let whole = |text: &str| text.parse::<i32>().ok().filter(|n| (0..60).contains(n));
        let seconds = (whole(hours).ok_or_else(wrong_offset)? * 60
            + whole(minutes).ok_or_else(wrong_offset)?)
            * if sign == "-" { -60 } else { 60 };
        let offset = Offset::from_seconds(seconds).map_err(|_| wrong_offset())?;
        let mut mci = Vec::new();
        for row in &file.mci {
            let from: Date = row.from.parse().map_err(|_| format!("mci: from \"{}\" is no day", row.from))?;
            let value =
                Sum::parse(&row.value).ok_or_else(|| format!("mci: value \"{}\" is no sum", row.value))?;
            mci.push((from, value));
        }
        let in_order = mci.is_sorted_by(|a, b| a.0 < b.0)
            && file.limits.is_sorted_by(|a, b| a.from < b.from)
            && !mci.is_empty()
            && !file.limits.is_empty();
        if !in_order {
            return Err("mci and limits need a row each, later rows with later days".to_owned());
        }
        for limits in &file.limits {
            let has_bound = |step: &Step| step.from_mci.is_some() != step.above_mci.is_some();
            if !limits.cooling_off.steps.iter().all(has_bound) {
                return Err("cooling-off: each step has either from-mci or above-mci".to_owned());
            }
            if limits.face.tries == 0 || limits.face.starts < limits.face.tries {
                return Err("face: tries is at least 1, starts at least tries".to_owned());
            }
            if limits.code_s == 0 || limits.code_tries == 0 || limits.codes == 0 {
                return Err("code-s, code-tries and codes are at least 1".to_owned());
            }
        }
        Ok(Rulebook {
            currency: file.currency,
            iin: file.iin,
            zone: TimeZone::fixed(offset),
            mci,
            limits: file.limits,
        })
    }

    /// The local day of a moment, ms since 1970.
    pub fn day(&self, at_ms: i64) -> Date {
        let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        at.to_zoned(self.zone.clone()).date()
    }

    /// When the local day of a moment begins, ms since 1970.
    pub fn day_begins_ms(&self, at_ms: i64) -> i64 {
        let begins = self.day(at_ms).to_zoned(self.zone.clone());
        begins.map_or(at_ms, |begins| begins.timestamp().as_millisecond())
    }

    /// One MCI on the day of a moment; before the first row, that of the first.
    pub fn mci(&self, at_ms: i64) -> Sum {
        let day = self.day(at_ms);
        self.mci.iter().rev().find(|(from, _)| *from <= day).unwrap_or(&self.mci[0]).1
    }

    /// The limits on the day of a moment; before the first row, those of the first.
    pub fn limits(&self, at_ms: i64) -> &Limits {
        let day = self.day(at_ms);
        self.limits.iter().rev().find(|limits| limits.from <= day).unwrap_or(&self.limits[0])
    }
}

/// Texts by name, of a language: what people are told, and the texts of SMS with `{places}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    pub sms: BTreeMap<String, String>,
    pub gates: BTreeMap<String, String>,
    pub reasons: BTreeMap<String, String>,
}

impl Words {
    pub fn parse(text: &str) -> Result<Words, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// A text of an SMS with its places filled.
    pub fn sms(&self, name: &str, places: &[(&str, &str)]) -> String {
        let text = self.sms.get(name).cloned().unwrap_or_default();
        places.iter().fold(text, |text, (place, value)| text.replace(&format!("{{{place}}}"), value))
    }
}
