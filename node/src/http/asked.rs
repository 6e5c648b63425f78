//! The body of a question: one call or an array of calls, read in place and strictly.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};
use utoipa::ToSchema;

use super::problem::{Kind, Problem, masked};

/// Calls that one array may hold.
pub const CALLS: usize = 1000;

/// One call, its numbers as the wire has them: digits in any form the trunk uses, or a SIP or tel URI.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Call)]
pub struct AskedCall<'a> {
    /// The ingress trunk by its name in the configuration.
    #[serde(borrow)]
    #[schema(example = "international")]
    pub trunk: Cow<'a, str>,
    /// Network number: P-Asserted-Identity, Calling Party Number.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "+77272501234")]
    pub calling: Text<'a>,
    /// Presentation number: From, Generic Number.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "sip:+77272501234@example.net")]
    pub presentation: Text<'a>,
    /// Called number.
    #[serde(borrow)]
    #[schema(example = "+77011234567")]
    pub called: Cow<'a, str>,
    /// Who diverted the call.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub redirecting: Text<'a>,
    /// The caller's network asked that the number not be shown.
    #[serde(default)]
    pub privacy: Option<bool>,
    /// Kept in the journal, up to 56 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub call_id: Text<'a>,
    /// When the call entered the network (RFC 3339), a day ago at most; left out: now. It is what the journal
    /// keeps; lists and caps are asked as of now.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Text<'a>>,
}

/// A text that may be left out or null, borrowed where it holds no escapes.
#[derive(Default)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// What was asked.
pub enum Asked<'a> {
    One(AskedCall<'a>),
    Many(Vec<AskedCall<'a>>),
}

impl<'a> Asked<'a> {
    pub fn read(body: &'a [u8]) -> Result<Asked<'a>, Problem> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            Problem::new(Kind::InvalidJson, format!("byte {} of the body is not UTF-8", at + 1))
        })?;
        let index = Cell::new(None);
        let outcome = match text.trim_ascii_start().as_bytes().first() {
            Some(b'{') => serde_json::from_str(text).map(Asked::One),
            Some(b'[') => {
                let mut deserializer = serde_json::Deserializer::from_str(text);
                let calls = deserializer.deserialize_seq(Calls { index: &index });
                calls.and_then(|calls| deserializer.end().map(|()| Asked::Many(calls)))
            }
            None => return Err(Problem::new(Kind::InvalidJson, "the body is empty: send a call")),
            Some(_) => {
                let is_json = serde_json::from_str::<de::IgnoredAny>(text).is_ok();
                let kind = if is_json { Kind::InvalidCall } else { Kind::InvalidJson };
                return Err(Problem::new(kind, "send a call as an object, or an array of calls"));
            }
        };
        outcome.map_err(|error| problem(&error, index.get()))
    }
}

/// The parser's complaint with its place, and no number in it.
fn problem(error: &serde_json::Error, index: Option<usize>) -> Problem {
    let kind = match error.classify() {
        serde_json::error::Category::Data => Kind::InvalidCall,
        _ => Kind::InvalidJson,
    };
    let call = index.map_or(String::new(), |index| format!("call {}: ", index + 1));
    Problem::new(kind, format!("{call}{}", masked(&error.to_string())))
}

/// An array of calls, read one by one so that a fault names its call.
struct Calls<'c> {
    index: &'c Cell<Option<usize>>,
}

impl<'de> Visitor<'de> for Calls<'_> {
    type Value = Vec<AskedCall<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of calls")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut calls = Vec::new();
        loop {
            self.index.set(Some(calls.len()));
            if calls.len() == CALLS {
                if array.next_element_seed(Nothing)?.is_some() {
                    self.index.set(None);
                    return Err(de::Error::custom(format_args!("more than {CALLS} calls: ask in parts")));
                }
                break;
            }
            match array.next_element()? {
                Some(call) => calls.push(call),
                None => break,
            }
        }
        self.index.set(None);
        match calls.is_empty() {
            true => Err(de::Error::custom("an array without a call: send at least one")),
            false => Ok(calls),
        }
    }
}

struct Nothing;

impl<'de> DeserializeSeed<'de> for Nothing {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(drop)
    }
}
