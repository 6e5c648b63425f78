//! A list from CSV: `number,owner,expires,note`, checked whole.

use std::collections::HashMap;
use std::fmt;

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use numbering::{Key, Number, Party, Plan, Prefix};

use crate::table::Table;
use crate::{List, Terms, Version};

/// A line that keeps a list from being taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLine {
    pub line: u64,
    pub what: String,
}

/// Why a list was refused: its head, or every bad line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadError {
    Empty,
    MissingColumn(&'static str),
    BadLines(Vec<BadLine>),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Empty => {
                f.write_str("the file is empty: its first line must be number,owner,expires,note")
            }
            ReadError::MissingColumn(name) => {
                write!(
                    f,
                    "line 1: column \"{name}\" is missing: the header must be number,owner,expires,note"
                )
            }
            ReadError::BadLines(lines) => {
                for (index, BadLine { line, what }) in lines.iter().enumerate() {
                    write!(f, "{}line {line}: {what}", if index == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ReadError {}

const COLUMNS: [&str; 4] = ["number", "owner", "expires", "note"];

impl List {
    /// Reads a list from the bytes of its file.
    ///
    /// `flags` makes a number of each note, for lists whose notes mean something; its error makes the line bad.
    pub fn read(
        file: &[u8],
        plan: &Plan,
        flags: impl Fn(&str) -> Result<u32, String>,
    ) -> Result<List, ReadError> {
        let text = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(ReadError::Empty);
        }
        // Lines end at \n alone, so that they are counted right; the \r of Windows is trimmed off the last field.
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(text);
        let header = reader.byte_headers().cloned().unwrap_or_default();
        let mut places = [0; 4];
        for (place, name) in places.iter_mut().zip(COLUMNS) {
            *place = header
                .iter()
                .position(|column| column == name.as_bytes())
                .ok_or(ReadError::MissingColumn(name))?;
        }

        let mut draft = Draft::default();
        let mut bad = Vec::new();
        let mut record = csv::ByteRecord::new();
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    if record.len() == 1 && record[0].is_empty() {
                        continue;
                    } else if record.len() != header.len() {
                        let what = format!("{} fields where the header has {}", record.len(), header.len());
                        bad.push(BadLine { line, what });
                    } else if record.iter().any(|field| field.contains(&b'\n')) {
                        let what = "a quoted field goes on over the line's end: close its quote".to_owned();
                        bad.push(BadLine { line, what });
                    } else if let Err(what) = draft.add(&record, &places, plan, &flags) {
                        bad.push(BadLine { line, what });
                    }
                }
                Err(error) => {
                    bad.push(BadLine { line: reader.position().line(), what: error.to_string() });
                    break;
                }
            }
        }
        if !bad.is_empty() {
            return Err(ReadError::BadLines(bad));
        }
        Ok(draft.finish(Version::of(file)))
    }
}

#[derive(Default)]
struct Draft {
    numbers: Vec<(u64, u32)>,
    prefixes: Vec<(u64, u32)>,
    prefix_lengths: u16,
    terms: Vec<Terms>,
    known: HashMap<Terms, u32>,
    /// The fields after the number of the line before: most lists repeat them line after line.
    last: Option<(Vec<u8>, u32)>,
}

enum Entry {
    Number(Key),
    Prefix(Prefix),
}

impl Draft {
    fn add(
        &mut self,
        record: &csv::ByteRecord,
        places: &[usize; 4],
        plan: &Plan,
        flags: &impl Fn(&str) -> Result<u32, String>,
    ) -> Result<(), String> {
        let field = |column: usize| &record[places[column]];
        let entry = entry(field(0), plan)?;
        let terms = self.terms(field(1), field(2), field(3), flags)?;
        match entry {
            Entry::Number(key) => self.numbers.push((key.0, terms)),
            Entry::Prefix(prefix) => {
                self.prefix_lengths |= 1 << prefix.digits();
                self.prefixes.push((prefix.key().0, terms));
            }
        }
        Ok(())
    }

    fn terms(
        &mut self,
        owner: &[u8],
        expires: &[u8],
        note: &[u8],
        flags: &impl Fn(&str) -> Result<u32, String>,
    ) -> Result<u32, String> {
        let joined = || [owner, expires, note].join(&0);
        if let Some((last, terms)) = &self.last
            && last.len() == owner.len() + expires.len() + note.len() + 2
            && *last == joined()
        {
            return Ok(*terms);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let note = text(note);
        let flags = flags(&note)?;
        let terms = Terms { owner: text(owner), expires_ms: expires_ms(&text(expires))?, note, flags };
        let index = match self.known.get(&terms) {
            Some(&index) => index,
            None => {
                let index = self.terms.len() as u32;
                self.terms.push(terms.clone());
                self.known.insert(terms, index);
                index
            }
        };
        self.last = Some((joined(), index));
        Ok(index)
    }

    fn finish(self, version: Version) -> List {
        let lines = self.numbers.len() + self.prefixes.len();
        let longer = |a: u32, b: u32| {
            let expires = |terms: u32| self.terms[terms as usize].expires_ms;
            if expires(b) > expires(a) { b } else { a }
        };
        let numbers = Table::build(self.numbers.iter().copied(), longer);
        let prefixes = Table::build(self.prefixes.iter().copied(), longer);
        let duplicates = lines - numbers.len() - prefixes.len();
        List {
            numbers,
            prefixes,
            prefix_lengths: self.prefix_lengths,
            terms: self.terms,
            version,
            duplicates,
        }
    }
}

fn entry(field: &[u8], plan: &Plan) -> Result<Entry, String> {
    let text = || String::from_utf8_lossy(field).into_owned();
    if let Some(prefix) = field.strip_suffix(b"*") {
        let digits = prefix.strip_prefix(b"+").unwrap_or(prefix);
        return Prefix::from_digits(digits).map(Entry::Prefix).ok_or_else(|| {
            format!("\"{}\" is not a prefix: write + and 1 to 15 digits before the *", text())
        });
    }
    let Some(digits) = field.strip_prefix(b"+") else {
        // Without + only what cannot be misread is taken: a short code, or digits that are a whole number as they stand.
        let party = std::str::from_utf8(field).map(|text| plan.normalise(text, &Default::default()));
        return match party.map(|normalised| normalised.party) {
            Ok(Party::Short(code)) => Ok(Entry::Number(code.key())),
            Ok(Party::Number(number))
                if plan.standing(number).fits(number) && is_as_written(number, field) =>
            {
                Ok(Entry::Number(number.key()))
            }
            _ => Err(format!("\"{}\" is not a number in E.164: write + and the country code first", text())),
        };
    };
    Number::from_digits(digits)
        .map(|number| Entry::Number(number.key()))
        .map_err(|_| format!("\"{}\" is not a number in E.164: + and 7 to 15 digits", text()))
}

fn is_as_written(number: Number, field: &[u8]) -> bool {
    number.reveal().to_string().as_bytes()[1..] == *field
}

/// A date is the last day on which the entry counts, in UTC; a time is the moment from which it does not.
fn expires_ms(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(i64::MAX);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let date = text.parse::<Date>().ok().and_then(|date| date.tomorrow().ok());
    date.and_then(|next_day| next_day.to_zoned(TimeZone::UTC).ok())
        .map(|midnight| midnight.timestamp().as_millisecond())
        .ok_or_else(|| format!("expires \"{text}\" is not a date: write 2027-12-31, or 2027-12-31T18:00:00Z"))
}
