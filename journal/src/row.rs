//! A record as a row of a segment: cells that anybody reads, in a fixed order.
//!
//! The order is that of the columns and of [`NAMES`]. Checks are made over cells, not over the bytes of a file, so
//! they outlive a file that another program wrote anew.

use std::fmt::Write;

use call::Decided;
use numbering::{Malformed, Number, Party, ShortCode, Why};

use crate::numbers::{pack, unpack};
use crate::{Keystream, Record, Tokens};

/// The columns of a segment; `check` stands behind them.
pub const NAMES: [&str; 21] = [
    "time",
    "trunk",
    "class",
    "calling",
    "presentation",
    "called",
    "redirecting",
    "privacy",
    "national_form",
    "verdict",
    "label",
    "rule",
    "reason",
    "decided_by",
    "would_verdict",
    "would_rule",
    "would_reason",
    "monitored",
    "took_ns",
    "basis",
    "call_id",
];

/// What stands in one column of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell<'a> {
    Null,
    /// A time in ms since 1970 UTC, or nanoseconds.
    Integer(i64),
    Bool(bool),
    Text(&'a str),
}

pub type Cells<'a> = [Cell<'a>; NAMES.len()];

impl<'a> Cell<'a> {
    /// The bytes that checks are made over: a tag, and what it says is there.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Cell::Null => out.push(0),
            Cell::Integer(value) => {
                out.push(1);
                out.extend(value.to_le_bytes());
            }
            Cell::Bool(value) => out.extend([2, u8::from(*value)]),
            Cell::Text(text) => {
                out.push(3);
                out.extend((text.len() as u32).to_le_bytes());
                out.extend(text.as_bytes());
            }
        }
    }

    pub fn text(&self) -> Option<&'a str> {
        match self {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A short text without a heap: a number field of a row.
#[derive(Clone, Copy, Default)]
pub struct Text {
    bytes: [u8; 26],
    len: u8,
}

impl Text {
    fn of(text: &str) -> Text {
        let mut made = Text::default();
        let _ = made.write_str(text);
        made
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("written as text")
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let at = usize::from(self.len);
        let place = self.bytes.get_mut(at..at + text.len()).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len += text.len() as u8;
        Ok(())
    }
}

/// How the numbers of a segment are written, and read where there is a key.
pub enum Hidden {
    Clear,
    Hashed(Box<Tokens>),
    Encrypted(Box<Keystream>),
    /// Numbers hidden in either way, and no key at hand.
    Closed,
}

/// A number field as a reader finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    Party(Party),
    /// A keyed hash: the same for the same number.
    Token(String),
    /// Hidden, and the key is not at hand.
    Closed,
}

const RESTRICTED: &str = "restricted";
const MALFORMED: &str = "malformed:";

impl Hidden {
    /// The number fields of the row at a place, as its segment shows them; an absent one is none.
    ///
    /// What is nobody's number stays readable in every mode: `restricted` and short codes.
    pub fn show(&mut self, place: u64, parties: [Party; 4]) -> [Option<Text>; 4] {
        let keystream = match self {
            Hidden::Encrypted(keystream) => keystream.words(place),
            _ => [0; 4],
        };
        std::array::from_fn(|n| {
            let party = parties[n];
            Some(match party {
                Party::Absent => return None,
                Party::Restricted => Text::of(RESTRICTED),
                Party::Short(_) => Text::of(&party.reveal()),
                Party::Number(_) | Party::Malformed(_) => self.text(party, keystream[n]),
            })
        })
    }

    fn text(&self, party: Party, keystream: u64) -> Text {
        let mut text = Text::default();
        if !matches!(self, Hidden::Clear) && matches!(party, Party::Malformed(_)) {
            text = Text::of(MALFORMED);
        }
        let written = match self {
            Hidden::Clear => text.write_str(&party.reveal()),
            Hidden::Hashed(tokens) => {
                let mut bytes = [0; 8];
                bytes[1..].copy_from_slice(&tokens.of(party));
                write!(text, "{:014x}", u64::from_be_bytes(bytes))
            }
            Hidden::Encrypted(_) => {
                let packed = pack(party).expect("a number or a malformed field");
                write!(text, "{:014x}", packed ^ keystream >> 8)
            }
            Hidden::Closed => unreachable!("nothing is written without its key"),
        };
        written.expect("26 bytes are enough");
        text
    }

    /// Reads the number fields of the row at a place. A field that holds what nobody writes is read as closed.
    pub fn read(&mut self, place: u64, texts: [Option<&str>; 4]) -> [Shown; 4] {
        let keystream = match self {
            Hidden::Encrypted(keystream) => keystream.words(place),
            _ => [0; 4],
        };
        std::array::from_fn(|n| match texts[n] {
            None => Shown::Party(Party::Absent),
            Some(RESTRICTED) => Shown::Party(Party::Restricted),
            Some(text) if text.len() <= 6 => match ShortCode::from_digits(text.as_bytes()) {
                Some(code) => Shown::Party(Party::Short(code)),
                None => Shown::Closed,
            },
            Some(text) => self.open(text, keystream[n]),
        })
    }

    fn open(&self, text: &str, keystream: u64) -> Shown {
        let bare = text.strip_prefix(MALFORMED);
        match self {
            Hidden::Clear => match bare {
                // Why it is no number is not written; the reason of the verdict says it.
                Some(digits) => {
                    Shown::Party(Party::Malformed(Malformed::new(Why::NotANumber, digits.as_bytes())))
                }
                None => {
                    Number::parse(text).map_or(Shown::Closed, |number| Shown::Party(Party::Number(number)))
                }
            },
            Hidden::Hashed(_) => Shown::Token(text.to_owned()),
            Hidden::Encrypted(_) => {
                let packed = u64::from_str_radix(bare.unwrap_or(text), 16).unwrap_or(0) ^ keystream >> 8;
                unpack(packed & ((1 << 56) - 1)).map_or(Shown::Closed, Shown::Party)
            }
            Hidden::Closed => Shown::Closed,
        }
    }

    /// What a number looks like in a segment of hashed numbers.
    pub fn token(&self, number: Number) -> Option<String> {
        let hashed = matches!(self, Hidden::Hashed(_));
        hashed.then(|| self.text(Party::Number(number), 0).as_str().to_owned())
    }
}

/// Room that the texts of a row are made in, used again for each.
#[derive(Default)]
pub struct Row {
    numbers: [Option<Text>; 4],
    monitored: String,
    basis: String,
    call_id: String,
}

impl Row {
    /// The cells of a record at a place of its segment, its trunk by name.
    pub fn cells<'r>(
        &'r mut self,
        record: &Record,
        trunk: &'r str,
        place: u64,
        hidden: &mut Hidden,
    ) -> Cells<'r> {
        let (call, verdict) = (&record.call, &record.verdict);
        self.numbers = hidden.show(place, [call.calling, call.presentation, call.called, call.redirecting]);
        self.monitored.clear();
        for rule in verdict.monitored.iter() {
            let space = if self.monitored.is_empty() { "" } else { " " };
            let _ = write!(self.monitored, "{space}{}", rule.id());
        }
        self.basis.clear();
        let _ = write!(self.basis, "{:016x}", record.basis);
        self.call_id.clear();
        self.call_id.push_str(&String::from_utf8_lossy(record.call_id()));
        let row = &*self;
        let maybe = |text: Option<&'r str>| text.map_or(Cell::Null, Cell::Text);
        let number = |n: usize| maybe(row.numbers[n].as_ref().map(Text::as_str));
        [
            Cell::Integer(call.time_ms),
            Cell::Text(trunk),
            Cell::Text(call.class.name()),
            number(0),
            number(1),
            number(2),
            number(3),
            Cell::Bool(call.privacy),
            Cell::Bool(call.national_form),
            Cell::Text(verdict.treatment.name()),
            maybe(verdict.treatment.label().map(|label| label.name())),
            Cell::Text(verdict.rule.id()),
            Cell::Text(verdict.reason.name()),
            Cell::Text(match verdict.decided {
                Decided::ByNetworkNumber => "network",
                Decided::ByPresentationNumber => "presentation",
            }),
            maybe(verdict.would.map(|would| would.treatment.name())),
            maybe(verdict.would.map(|would| would.rule.id())),
            maybe(verdict.would.map(|would| would.reason.name())),
            maybe(Some(row.monitored.as_str()).filter(|names| !names.is_empty())),
            Cell::Integer(i64::from(record.took_ns)),
            Cell::Text(&row.basis),
            Cell::Text(&row.call_id),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NumbersKey;
    use proptest::prelude::*;

    fn ways() -> [Hidden; 3] {
        let key = NumbersKey::new([5; 32]);
        [
            Hidden::Clear,
            Hidden::Hashed(Box::new(key.tokens())),
            Hidden::Encrypted(Box::new(key.of_segment([1; 12]))),
        ]
    }

    fn number(text: &str) -> Party {
        Party::Number(Number::parse(text).unwrap())
    }

    #[test]
    fn shows_what_the_setting_allows_and_no_more() {
        let parties = [number("+77272501234"), Party::Absent, number("+77011234567"), Party::Restricted];
        let [mut clear, mut hashed, mut encrypted] = ways();
        let texts = |way: &mut Hidden, place| {
            way.show(place, parties).map(|text| text.map_or(String::new(), |text| text.as_str().to_owned()))
        };
        assert_eq!(texts(&mut clear, 0), ["+77272501234", "", "+77011234567", "restricted"]);
        assert_eq!(texts(&mut hashed, 0), texts(&mut hashed, 1));
        assert_ne!(texts(&mut encrypted, 0)[0], texts(&mut encrypted, 1)[0]);
        for way in [&mut hashed, &mut encrypted] {
            let texts = texts(way, 3);
            assert_eq!((texts[0].len(), texts[1].as_str(), texts[3].as_str()), (14, "", "restricted"));
            assert!(!texts[0].contains("2501234"));
        }
    }

    proptest! {
        #[test]
        fn a_key_reads_every_field_back(text in "\\+[1-9][0-9]{6,14}", place in 0u64..1000) {
            let short = Party::Short(ShortCode::from_digits(b"112").unwrap());
            let bad = Party::Malformed(Malformed::new(Why::NotANumber, b"12345678901234567"));
            for parties in [[number(&text), Party::Absent, short, bad], [short, number(&text), Party::Restricted, Party::Absent]] {
                for mut way in ways() {
                    let shown = way.show(place, parties);
                    let texts = [0, 1, 2, 3].map(|n| shown[n].as_ref().map(Text::as_str));
                    let read = way.read(place, texts);
                    for n in 0..4 {
                        match (&way, parties[n]) {
                            (Hidden::Hashed(_), Party::Number(number)) => {
                                prop_assert_eq!(texts[n].map(str::to_owned), way.token(number));
                            }
                            (Hidden::Hashed(_), Party::Malformed(_)) => {}
                            (_, party) => prop_assert_eq!(&read[n], &Shown::Party(party)),
                        }
                    }
                }
            }
        }
    }
}
