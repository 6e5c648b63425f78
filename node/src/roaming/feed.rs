//! Location updates that an operator sends here: who came to which network, and when. Pure: `now` is an argument.
//!
//! For those whose HLR is not to be asked in the time of a call. The newest update of a number counts, for as long as
//! it is fresh. A bounded number of numbers, 17 bytes each in a table that is never more than 7/8 full and grows twofold:
//! 20 to 40 bytes a number, 60 for the moment in which it grows and the old one still stands.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use exchange::{Method, Status};
use jiff::Timestamp;
use numbering::Number;
use serde_json::Value;

use super::{Whereabouts, country};

/// Updates that one body may carry.
pub const MOST_UPDATES: usize = 1000;
/// How far the sender's clock may be ahead.
const AHEAD_MS: i64 = 60_000;

/// Where a subscriber went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Update {
    pub status: Status,
    /// ISO 3166-1 alpha-2 code of the country visited, in ASCII.
    pub visited: Option<[u8; 2]>,
    /// When he did, milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
}

/// What became of an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Kept,
    /// A newer one is known.
    Older,
    /// It would not count any more.
    Stale,
    /// Its time is more than a minute ahead.
    Ahead,
    /// As many numbers are known as may be, all of them freshly.
    Full,
}

/// The last update of each number.
pub struct Locations {
    most: usize,
    fresh_ms: i64,
    known: HashMap<Number, Packed>,
    /// When those that are stale were last looked for.
    swept_ms: i64,
}

impl Locations {
    /// Knows at most `most` numbers; an update counts for `fresh_ms`.
    pub fn new(most: usize, fresh_ms: i64) -> Locations {
        Locations { most, fresh_ms, known: HashMap::new(), swept_ms: i64::MIN }
    }

    /// Takes an update, unless a newer one of the same number is known.
    pub fn update(&mut self, number: Number, update: Update, now_ms: i64) -> Outcome {
        if update.at_ms > now_ms.saturating_add(AHEAD_MS) {
            return Outcome::Ahead;
        }
        if !self.is_fresh(update.at_ms, now_ms) {
            return Outcome::Stale;
        }
        if self.known.len() >= self.most && !self.known.contains_key(&number) {
            self.sweep(now_ms);
            if self.known.len() >= self.most {
                return Outcome::Full;
            }
        }
        let packed = Packed::of(&update);
        match self.known.entry(number) {
            Entry::Occupied(mut known) => {
                if known.get().at_ms() > update.at_ms {
                    return Outcome::Older;
                }
                known.insert(packed);
            }
            Entry::Vacant(place) => {
                place.insert(packed);
            }
        }
        Outcome::Kept
    }

    /// What is known of a number and fresh at `now_ms`.
    pub fn get(&self, number: Number, now_ms: i64) -> Option<Whereabouts> {
        let Update { status, visited, at_ms } = self.known.get(&number)?.update();
        if !self.is_fresh(at_ms, now_ms) {
            return None;
        }
        Some(Whereabouts {
            visited,
            known_ms: Some(at_ms.min(now_ms)),
            ..Whereabouts::new(Method::Feed, status)
        })
    }

    /// Numbers known, some of which may be stale.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn is_fresh(&self, at_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(at_ms) < self.fresh_ms
    }

    /// Lets go of what is stale. It reads everything, so it is done 16 times in the time of freshness at most.
    fn sweep(&mut self, now_ms: i64) {
        let since_ms = now_ms.saturating_sub(self.swept_ms);
        if since_ms >= 0 && since_ms < self.fresh_ms / 16 {
            return;
        }
        self.swept_ms = now_ms;
        let fresh_ms = self.fresh_ms;
        self.known.retain(|_, packed| now_ms.saturating_sub(packed.at_ms()) < fresh_ms);
    }
}

/// An [`Update`] in a word: two bits of status, ten of the country, 52 of the time.
#[derive(Clone, Copy)]
struct Packed(u64);

const STATUSES: [Status; 4] = [Status::Unknown, Status::Roaming, Status::NotRoaming, Status::NotAssigned];

impl Packed {
    fn of(update: &Update) -> Packed {
        let status = STATUSES.iter().position(|&status| status == update.status).expect("all are there");
        let letter = |byte: u8| u64::from(byte & 0x1f);
        let country = update.visited.map_or(0, |[first, second]| letter(first) << 5 | letter(second));
        let at_ms = update.at_ms.clamp(0, (1 << 52) - 1) as u64;
        Packed(at_ms << 12 | country << 2 | status as u64)
    }

    fn at_ms(self) -> i64 {
        (self.0 >> 12) as i64
    }

    fn update(self) -> Update {
        let letter = |shift: u32| (self.0 >> shift & 0x1f) as u8 | 0x40;
        let visited = (self.0 >> 2 & 0x3ff != 0).then(|| [letter(7), letter(2)]);
        Update { status: STATUSES[(self.0 & 3) as usize], visited, at_ms: self.at_ms() }
    }
}

/// Reads a body of updates: a JSON array of objects, or objects one after another, a line each.
///
/// `{"number": "+…", "roaming": true, "visited": "TR", "time": "2026-11-20T08:00:00Z"}`, `visited` only of who is
/// roaming, if known. All or none: the error is a line that names the first faulty one, counted from 1, and never a
/// number in full.
pub fn parse_updates(body: &[u8]) -> Result<Vec<(Number, Update)>, String> {
    let mut updates = Vec::new();
    let mut add = |value: &Value| {
        let index = updates.len() + 1;
        if index > MOST_UPDATES {
            return Err(format!("more than {MOST_UPDATES} updates in one body"));
        }
        updates.push(read(value).map_err(|fault| format!("update {index}: {fault}"))?);
        Ok(())
    };
    let broken =
        |error: serde_json::Error| format!("not JSON: line {}, column {}", error.line(), error.column());
    if body.trim_ascii_start().starts_with(b"[") {
        let values: Vec<Value> = serde_json::from_slice(body).map_err(broken)?;
        values.iter().try_for_each(add)?;
    } else {
        for value in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
            add(&value.map_err(broken)?)?;
        }
    }
    Ok(updates)
}

fn read(value: &Value) -> Result<(Number, Update), String> {
    let fields = value.as_object().ok_or("not an object")?;
    if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let shown: String = name.chars().filter(|c| c.is_ascii_alphabetic()).take(24).collect();
        return Err(format!("field {shown} is none of {}", FIELDS.join(", ")));
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let number = text("number").and_then(|text| Number::parse(text).ok());
    let number = number.ok_or("number is not + and 7 to 15 digits of E.164")?;
    let of = |fault: &str| format!("{number}: {fault}");
    let is_roaming = fields.get("roaming").and_then(Value::as_bool);
    let is_roaming = is_roaming.ok_or_else(|| of("roaming is not true or false"))?;
    let visited = match fields.get("visited") {
        None | Some(Value::Null) => None,
        Some(_) if !is_roaming => return Err(of("visited is given of one who is not roaming")),
        Some(code) => {
            let code = code.as_str().and_then(country);
            Some(code.ok_or_else(|| of("visited is not two capital letters of ISO 3166-1"))?)
        }
    };
    let time = text("time").and_then(|text| text.parse::<Timestamp>().ok());
    let at_ms = time.ok_or_else(|| of("time is not as 2026-11-20T08:00:00Z"))?.as_millisecond();
    if at_ms < 0 {
        return Err(of("time is before 1970"));
    }
    let status = if is_roaming { Status::Roaming } else { Status::NotRoaming };
    Ok((number, Update { status, visited, at_ms }))
}

const FIELDS: [&str; 4] = ["number", "roaming", "visited", "time"];

#[cfg(test)]
mod tests;
