//! A record as a row of a segment: cells that anybody reads, in a fixed order.
//!
//! The order is that of the columns and of [`NAMES`]. Checks are made over cells, not over the bytes of a file, so
//! they outlive a file that another program wrote anew.

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
                out.extend(text_head(text.len()));
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

/// A short text as the bytes of its cell, without a heap: a number field of a row.
#[derive(Clone, Copy)]
pub struct Text {
    cell: [u8; Text::CELL],
    len: u8,
}

impl Text {
    /// Bytes that the longest text has room in, with what stands before it in a cell.
    pub(crate) const CELL: usize = 32;
    const HEAD: usize = 5;
    /// Bytes that the longest text has room in.
    pub const ROOM: usize = Text::CELL - Text::HEAD;

    #[inline]
    fn of(text: &str) -> Text {
        let mut made = Text { cell: [0; Text::CELL], len: text.len() as u8 };
        made.cell[..Text::HEAD].copy_from_slice(&text_head(text.len()));
        made.cell[Text::HEAD..][..text.len()].copy_from_slice(text.as_bytes());
        made
    }

    /// 56 bits as 14 hex digits.
    #[inline]
    fn hex(value: u64) -> Text {
        const LEN: usize = 14;
        let (first, last) = (hex_digits((value >> 24) as u32), hex_digits((value << 8) as u32));
        // Words, not bytes: they are copied soon, and what was written in small pieces is slow to be read in large ones.
        let head = u64::from_le_bytes([3, LEN as u8, 0, 0, 0, 0, 0, 0]);
        let words = [head | first << 40, first >> 24 | last << 40, last >> 24 & 0xff_ffff];
        let mut made = Text { cell: [0; Text::CELL], len: LEN as u8 };
        for (place, word) in made.cell.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        made
    }

    #[cold]
    fn malformed(value: u64) -> Text {
        let digits = Text::hex(value);
        let mut text = [0; MALFORMED.len() + 14];
        text[..MALFORMED.len()].copy_from_slice(MALFORMED.as_bytes());
        text[MALFORMED.len()..].copy_from_slice(digits.as_bytes());
        Text::of(std::str::from_utf8(&text).expect("hex digits"))
    }

    /// `+` and the digits of a packed number.
    fn e164(word: u64) -> Text {
        let len = 1 + (word & 0xf) as usize;
        let mut made = Text { cell: [0; Text::CELL], len: len as u8 };
        made.cell[..Text::HEAD].copy_from_slice(&text_head(len));
        made.cell[Text::HEAD] = b'+';
        for (n, digit) in made.cell[Text::HEAD + 1..Text::HEAD + len].iter_mut().enumerate() {
            *digit = b'0' + (word >> (60 - 4 * n) & 0xf) as u8;
        }
        made
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("written as text")
    }

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.cell[Text::HEAD..Text::HEAD + usize::from(self.len)]
    }

    /// The text with room behind it, and how long it is.
    #[inline]
    pub fn room(&self) -> (&[u8; Text::ROOM], usize) {
        (self.cell.last_chunk().expect("what is behind the head"), usize::from(self.len))
    }

    /// The bytes of the cell, as [`Cell::put`] makes them, and how many they are.
    #[inline]
    pub(crate) fn cell(&self) -> (&[u8; Text::CELL], usize) {
        (&self.cell, Text::HEAD + usize::from(self.len))
    }
}

/// The eight hex digits of 32 bits as a word, the first digit lowest: all at once.
#[inline]
fn hex_digits(value: u32) -> u64 {
    let ones = 0x0101_0101_0101_0101;
    let mut x = u64::from(value.swap_bytes());
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = x >> 4 & 0x000f_000f_000f_000f | (x & 0x000f_000f_000f_000f) << 8;
    let letters = (x + 6 * ones) >> 4 & ones;
    x + u64::from(b'0') * ones + letters * u64::from(b'a' - b'9' - 1)
}

/// What stands before a text in its cell: the tag, and the length.
#[inline]
pub(crate) fn text_head(len: usize) -> [u8; 5] {
    let [a, b, c, d] = (len as u32).to_le_bytes();
    [3, a, b, c, d]
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

    #[inline]
    fn text(&self, party: Party, keystream: u64) -> Text {
        let hex = |value: u64| match party {
            Party::Malformed(_) => Text::malformed(value & ((1 << 56) - 1)),
            _ => Text::hex(value & ((1 << 56) - 1)),
        };
        match self {
            Hidden::Clear => match party {
                Party::Number(_) => Text::e164(party.to_word()),
                _ => Text::of(&party.reveal()),
            },
            Hidden::Hashed(tokens) => {
                let mut bytes = [0; 8];
                bytes[1..].copy_from_slice(&tokens.of(party));
                hex(u64::from_be_bytes(bytes))
            }
            Hidden::Encrypted(_) => {
                let packed = pack(party).expect("a number or a malformed field");
                hex(packed ^ keystream >> 8)
            }
            Hidden::Closed => unreachable!("nothing is written without its key"),
        }
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

/// The cells that a row shares with others, its trunk by name; its own are null.
pub(crate) fn shared_cells<'a>(
    record: &Record,
    trunk: &'a str,
    monitored: &'a str,
    basis: &'a str,
) -> Cells<'a> {
    let (call, verdict) = (&record.call, &record.verdict);
    let maybe = |text: Option<&'a str>| text.map_or(Cell::Null, Cell::Text);
    [
        Cell::Null,
        Cell::Text(trunk),
        Cell::Text(call.class.name()),
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Null,
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
        maybe(Some(monitored).filter(|names| !names.is_empty())),
        Cell::Null,
        Cell::Text(basis),
        Cell::Null,
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::NumbersKey;
    use proptest::prelude::*;

    pub(crate) fn ways() -> [Hidden; 3] {
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
        fn hex_is_that_of_the_standard_library(value in 0u64..1 << 56) {
            let (text, malformed) = (Text::hex(value), Text::malformed(value));
            prop_assert_eq!(text.as_str(), format!("{value:014x}"));
            prop_assert_eq!(malformed.as_str(), format!("malformed:{value:014x}"));
            for text in [text, malformed] {
                let mut plain = Vec::new();
                Cell::Text(text.as_str()).put(&mut plain);
                let (cell, len) = text.cell();
                prop_assert_eq!(&cell[..len], plain);
            }
        }

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
                        if let (Some(text), Hidden::Clear) = (texts[n], &way) {
                            prop_assert_eq!(text, parties[n].reveal());
                        }
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
