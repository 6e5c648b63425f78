//! A list from CSV: `number,owner,expires,note`, checked whole.
//!
//! Lines without a quote are cut here, and a line that repeats the one before but for its number costs little more
//! than reading its digits. From the first quote on the `csv` crate reads.

use std::fmt;
use std::io::{self, Read};

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use memchr::memchr;
use numbering::{Key, Number, Party, Plan, Prefix};
use sha2::{Digest, Sha256};

use crate::draft::Draft;
use crate::{List, Version};

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
    /// The file could not be read to its end.
    Unreadable(String),
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
            ReadError::Unreadable(why) => write!(f, "reading stopped: {why}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Unreadable(error.to_string())
    }
}

const COLUMNS: [&str; 4] = ["number", "owner", "expires", "note"];

/// Bytes taken from the file at a time.
const PIECE: usize = 1 << 20;

impl List {
    /// Reads a list from its file, a piece at a time.
    ///
    /// `flags` makes a number of each note, for lists whose notes mean something; its error makes the line bad.
    pub fn read(
        file: impl Read,
        plan: &Plan,
        flags: impl Fn(&str) -> Result<u32, String>,
    ) -> Result<List, ReadError> {
        let mut text = Text { file, hash: Sha256::new(), piece: Vec::new(), at: 0, ended: false };
        let mut lines = Lines {
            plan,
            flags,
            columns: 0,
            places: [0; 4],
            draft: Draft::default(),
            last: None,
            repeated: None,
            asked_plan: false,
            bad: Vec::new(),
        };
        text.fill()?;
        if text.rest().starts_with(b"\xef\xbb\xbf") {
            text.at = 3;
        }
        let mut line = 1;
        loop {
            let Some(header) = text.line()? else { return Err(ReadError::Empty) };
            if !header.trim_ascii().is_empty() {
                lines.header(header)?;
                break;
            }
            line += 1;
        }
        loop {
            // Repeats of the line before, as long as they come.
            line += lines.repeats(&mut text);
            line += 1;
            let Some(read) = text.line()? else { break };
            if memchr(b'"', read).is_none() {
                lines.plain(read, line);
                continue;
            }
            text.at -= read.len();
            lines.quoted(&mut text, line)?;
            break;
        }
        if !lines.bad.is_empty() {
            return Err(ReadError::BadLines(lines.bad));
        }
        Ok(lines.draft.finish(Version(text.hash.finalize().into()), lines.asked_plan))
    }
}

/// The file: a piece of it in memory, all of it hashed on the way.
struct Text<F> {
    file: F,
    hash: Sha256,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<F: Read> Text<F> {
    fn rest(&self) -> &[u8] {
        &self.piece[self.at..]
    }

    /// Reads on behind what is left.
    fn fill(&mut self) -> io::Result<()> {
        self.piece.drain(..self.at);
        self.at = 0;
        let held = self.piece.len();
        let added = (&mut self.file).take(PIECE as u64).read_to_end(&mut self.piece)?;
        self.hash.update(&self.piece[held..]);
        self.ended = added == 0;
        Ok(())
    }

    /// The next line with its end, which the last one may lack.
    fn line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = 0;
        let end = loop {
            match memchr(b'\n', &self.rest()[searched..]) {
                Some(at) => break searched + at + 1,
                None if self.ended => break self.rest().len(),
                None => {
                    searched = self.rest().len();
                    self.fill()?;
                }
            }
        };
        let start = self.at;
        self.at += end;
        Ok((end > 0).then(|| &self.piece[start..self.at]))
    }
}

/// What is left, hashed as it is read: for the `csv` crate.
impl<F: Read> Read for Text<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest().is_empty() && !self.ended {
            self.fill()?;
        }
        let n = self.rest().len().min(into.len());
        into[..n].copy_from_slice(&self.rest()[..n]);
        self.at += n;
        Ok(n)
    }
}

struct Lines<'p, N> {
    plan: &'p Plan,
    flags: N,
    columns: usize,
    /// Where each of [`COLUMNS`] stands.
    places: [usize; 4],
    draft: Draft,
    /// The fields after the number of the line before, and their terms: most lists repeat them line after line.
    last: Option<(Vec<u8>, u32)>,
    /// All that followed the number on the line before, from the comma on, where lines begin with the number.
    repeated: Option<(Vec<u8>, u32)>,
    asked_plan: bool,
    bad: Vec<BadLine>,
}

enum Entry {
    Number(Key),
    Prefix(Prefix),
}

impl<N: Fn(&str) -> Result<u32, String>> Lines<'_, N> {
    fn header(&mut self, line: &[u8]) -> Result<(), ReadError> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(line);
        let mut header = csv::ByteRecord::new();
        let _ = reader.read_byte_record(&mut header);
        self.columns = header.len();
        for (place, name) in self.places.iter_mut().zip(COLUMNS) {
            *place = header
                .iter()
                .position(|column| column == name.as_bytes())
                .ok_or(ReadError::MissingColumn(name))?;
        }
        Ok(())
    }

    /// Takes lines of `+`, digits and exactly what followed them on the line before; gives how many.
    fn repeats<F>(&mut self, text: &mut Text<F>) -> u64 {
        let Some((repeated, terms)) = &self.repeated else { return 0 };
        let mut count = 0;
        loop {
            let rest = &text.piece[text.at..];
            let Some(number) = rest.strip_prefix(b"+") else { return count };
            let (mut integer, mut n) = (0u64, 0);
            while let Some(digit) = number.get(n).map(|byte| byte.wrapping_sub(b'0'))
                && digit < 10
                && n < 16
            {
                integer = integer * 10 + u64::from(digit);
                n += 1;
            }
            let is_number = (7..=15).contains(&n) && number[0] != b'0';
            if !is_number || !number[n..].starts_with(repeated) {
                return count;
            }
            self.draft.add_integer(integer, *terms);
            text.at += 1 + n + repeated.len();
            count += 1;
        }
    }

    /// A line without quotes.
    fn plain(&mut self, line: &[u8], number: u64) {
        self.repeated = None;
        let columns = line.split(|&byte| byte == b',').count();
        if columns == 1 && line.trim_ascii().is_empty() {
            return;
        }
        if columns != self.columns {
            return self.wrong_count(columns, number);
        }
        let mut fields = [&line[..0]; 4];
        for (index, field) in line.split(|&byte| byte == b',').enumerate() {
            // A column may serve but one of the four; a fifth is no one's.
            if let Some(place) = self.places.iter().position(|&place| place == index) {
                fields[place] = field.trim_ascii();
            }
        }
        match self.add(fields) {
            Ok(terms) => {
                let whole = self.places[0] == 0 && line[0] == b'+' && line.ends_with(b"\n");
                if let Some(comma) = memchr(b',', line).filter(|_| whole) {
                    self.repeated = Some((line[comma..].to_vec(), terms));
                }
            }
            Err(what) => self.bad.push(BadLine { line: number, what }),
        }
    }

    /// The rest of the file, where lines may have quotes.
    fn quoted<F: Read>(&mut self, text: &mut Text<F>, first_line: u64) -> Result<(), ReadError> {
        // Lines end at \n alone, so that they are counted right; the \r of Windows is trimmed off the last field.
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(text);
        let mut record = csv::ByteRecord::new();
        while reader
            .read_byte_record(&mut record)
            .map_err(|error| ReadError::Unreadable(error.to_string()))?
        {
            let line = first_line - 1 + record.position().map_or(0, csv::Position::line);
            if record.len() == 1 && record[0].is_empty() {
                continue;
            } else if record.len() != self.columns {
                self.wrong_count(record.len(), line);
            } else if record.iter().any(|field| field.contains(&b'\n')) {
                let what = "a quoted field goes on over the line's end: close its quote".to_owned();
                self.bad.push(BadLine { line, what });
            } else if let Err(what) = self.add(self.places.map(|place| &record[place])) {
                self.bad.push(BadLine { line, what });
            }
        }
        Ok(())
    }

    fn wrong_count(&mut self, columns: usize, line: u64) {
        let what = format!("{columns} fields where the header has {}", self.columns);
        self.bad.push(BadLine { line, what });
    }

    /// Takes the fields of a line in the order of [`COLUMNS`]; gives the index of its terms.
    fn add(&mut self, [number, owner, expires, note]: [&[u8]; 4]) -> Result<u32, String> {
        let entry = self.entry(number)?;
        let terms = self.terms(owner, expires, note)?;
        match entry {
            Entry::Number(key) => self.draft.add_key(key, terms),
            Entry::Prefix(prefix) => self.draft.add_prefix(prefix, terms),
        }
        Ok(terms)
    }

    fn terms(&mut self, owner: &[u8], expires: &[u8], note: &[u8]) -> Result<u32, String> {
        let joined = || [owner, expires, note].join(&0);
        if let Some((last, terms)) = &self.last
            && last.len() == owner.len() + expires.len() + note.len() + 2
            && *last == joined()
        {
            return Ok(*terms);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let words = text(note);
        let flags = (self.flags)(&words)?;
        let expires_ms = expires_ms(&text(expires))?;
        let index = self.draft.terms.add(text(owner), expires_ms, words, flags);
        self.last = Some((joined(), index));
        Ok(index)
    }

    fn entry(&mut self, field: &[u8]) -> Result<Entry, String> {
        let text = || String::from_utf8_lossy(field).into_owned();
        if let Some(prefix) = field.strip_suffix(b"*") {
            let digits = prefix.strip_prefix(b"+").unwrap_or(prefix);
            return Prefix::from_digits(digits).map(Entry::Prefix).ok_or_else(|| {
                format!("\"{}\" is not a prefix: write + and 1 to 15 digits before the *", text())
            });
        }
        if let Some(digits) = field.strip_prefix(b"+") {
            return Number::from_digits(digits)
                .map(|number| Entry::Number(number.key()))
                .map_err(|_| format!("\"{}\" is not a number in E.164: + and 7 to 15 digits", text()));
        }
        // Without + only what cannot be misread is taken: a short code, or digits that are a whole number as they stand.
        self.asked_plan = true;
        let party = std::str::from_utf8(field).map(|text| self.plan.normalise(text, &Default::default()));
        match party.map(|normalised| normalised.party) {
            Ok(Party::Short(code)) => Ok(Entry::Number(code.key())),
            Ok(Party::Number(number))
                if self.plan.standing(number).fits(number) && is_as_written(number, field) =>
            {
                Ok(Entry::Number(number.key()))
            }
            _ => Err(format!("\"{}\" is not a number in E.164: write + and the country code first", text())),
        }
    }
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
