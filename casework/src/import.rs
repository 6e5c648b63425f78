//! Facts from CSV: the whole file or nothing, and every fault of every row said.
//!
//! The first line names the columns, in any order: `number`, `type`, `when` have to be there; `region`, `unit`, `method`,
//! `victim_iin`, `victim_phone`, `damage`, `recovered`, `state`, `source` and a column for each kind of identifier may be. A cell holds several
//! identifiers with `;` between them. `when` is `2023-11-15`, `2023-11-15 14:30` (local time) or of RFC 3339.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, tz::TimeZone};
use lending::{IinRule, Sum};
use numbering::Plan;

use crate::{Fact, FactKind, Identifier, IdentifierKind, Proceedings};

/// What rows are read by.
#[derive(Clone)]
pub struct Reading<'r> {
    pub plan: &'r Plan,
    pub iin: &'r IinRule,
    /// Of times without an offset.
    pub zone: &'r TimeZone,
    /// Nothing happened later; ms since 1970.
    pub now_ms: i64,
}

/// What is wrong, and where. No personal data of the row is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadRow {
    pub line: u64,
    /// Empty: the row as a whole.
    pub column: String,
    pub what: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match self.column.is_empty() {
            true => f.write_str(&self.what),
            false => write!(f, "{}: {}", self.column, self.what),
        }
    }
}

/// Texts longer than this are no names of places and no descriptions.
const LONGEST: usize = 4000;
const NEEDED: [&str; 3] = ["number", "type", "when"];
const MAY_BE: [&str; 9] =
    ["region", "unit", "method", "victim_iin", "victim_phone", "damage", "recovered", "state", "source"];

/// Reads a file of facts; the error has every fault, in the order of lines.
pub fn import(file: impl Read, reading: &Reading) -> Result<Vec<Fact>, Vec<BadRow>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let whole = |line: u64, what: String| BadRow { line, column: String::new(), what };
    let unreadable = |error: &csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                whole(line, format!("{len} fields, where line 1 has {expected_len}"))
            }
            csv::ErrorKind::Utf8 { .. } => whole(line, "not in UTF-8".to_owned()),
            _ => whole(line, format!("cannot be read: {error}")),
        }
    };
    let head = match reader.headers() {
        Ok(head) => {
            head.iter().map(|name| name.trim_start_matches('\u{feff}').to_lowercase()).collect::<Vec<_>>()
        }
        Err(error) => return Err(vec![unreadable(&error)]),
    };
    let mut bad = bad_head(&head);
    if !bad.is_empty() {
        return Err(bad);
    }
    let mut facts = Vec::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                bad.push(unreadable(&error));
                // What comes after a broken read has no place any more.
                if error.is_io_error() {
                    break;
                }
                continue;
            }
        };
        let line = row.position().map_or(0, csv::Position::line);
        let mut cells = Cells { head: &head, row: &row, line, reading, bad: Vec::new() };
        let fact = cells.fact();
        if let Some(first) = lines.insert(fact.number.clone(), line).filter(|_| !fact.number.is_empty()) {
            cells.fault("number", format!("stands in line {first} too"));
        }
        bad.append(&mut cells.bad);
        facts.push(fact);
    }
    if bad.is_empty() && facts.is_empty() {
        bad.push(whole(1, "no fact follows the head".to_owned()));
    }
    if bad.is_empty() { Ok(facts) } else { Err(bad) }
}

fn bad_head(head: &[String]) -> Vec<BadRow> {
    let wrong =
        |column: &str, what: &str| BadRow { line: 1, column: column.to_owned(), what: what.to_owned() };
    let is_known = |name: &str| {
        NEEDED.contains(&name) || MAY_BE.contains(&name) || IdentifierKind::from_name(name).is_some()
    };
    let mut bad = Vec::new();
    for (n, name) in head.iter().enumerate() {
        if !is_known(name) {
            bad.push(wrong(name, "no column of a fact has this name"));
        } else if head[..n].contains(name) {
            bad.push(wrong(name, "this column stands here twice"));
        }
    }
    let missing = NEEDED.iter().filter(|name| !head.iter().any(|known| known == *name));
    bad.extend(missing.map(|name| wrong(name, "this column is missing")));
    bad
}

/// A row being read; faults are gathered, not the first alone.
struct Cells<'c> {
    head: &'c [String],
    row: &'c csv::StringRecord,
    line: u64,
    reading: &'c Reading<'c>,
    bad: Vec<BadRow>,
}

impl<'c> Cells<'c> {
    fn fault(&mut self, column: &str, what: impl Into<String>) {
        self.bad.push(BadRow { line: self.line, column: column.to_owned(), what: what.into() });
    }

    fn cell(&self, column: &str) -> &'c str {
        let place = self.head.iter().position(|name| name == column);
        place.and_then(|place| self.row.get(place)).unwrap_or("")
    }

    fn text(&mut self, column: &str) -> String {
        let text = self.cell(column);
        if text.len() > LONGEST {
            self.fault(column, format!("longer than {LONGEST} bytes"));
        }
        text.to_owned()
    }

    fn fact(&mut self) -> Fact {
        let number = self.text("number");
        if number.is_empty() {
            self.fault("number", "is empty");
        } else if number.len() > 64 {
            self.fault("number", "longer than 64 bytes");
        }
        let kind = self.named("type", FactKind::from_name, FactKind::ALL.iter().map(|kind| kind.name()));
        let states = Proceedings::ALL.iter().map(|state| state.name());
        let proceedings = match self.cell("state") {
            "" => Proceedings::Registered,
            _ => self.named("state", Proceedings::from_name, states).unwrap_or(Proceedings::Registered),
        };
        let (damage, recovered) = (self.sum("damage"), self.sum("recovered"));
        if recovered.is_some_and(|recovered| recovered > damage.unwrap_or_default()) {
            self.fault("recovered", "more than the damage");
        }
        Fact {
            number,
            kind: kind.unwrap_or(FactKind::Other),
            at_ms: self.when(),
            region: self.text("region"),
            unit: self.text("unit"),
            method: self.text("method"),
            victim: self.victim(),
            victim_phone: self.identifiers("victim_phone", IdentifierKind::Phone).into_iter().next(),
            damage,
            recovered,
            proceedings,
            source: self.text("source"),
            identifiers: IdentifierKind::ALL
                .iter()
                .flat_map(|&kind| self.identifiers(kind.name(), kind))
                .collect(),
        }
    }

    fn named<T>(
        &mut self,
        column: &str,
        find: fn(&str) -> Option<T>,
        mut names: impl Iterator<Item = &'static str>,
    ) -> Option<T> {
        let found = find(self.cell(column));
        if found.is_none() {
            let first = names.next().unwrap_or_default().to_owned();
            let names = names.fold(first, |all, name| format!("{all}, {name}"));
            self.fault(column, format!("is one of {names}"));
        }
        found
    }

    fn when(&mut self) -> i64 {
        let text = self.cell("when");
        let local = |at: DateTime| self.reading.zone.to_ambiguous_timestamp(at).compatible().ok();
        let at = text.parse::<Timestamp>().ok();
        let at = at.or_else(|| {
            text.parse::<Date>().ok().filter(|_| text.len() == 10).and_then(|day| local(day.into()))
        });
        let at = at.or_else(|| text.parse::<DateTime>().ok().and_then(local));
        match at.map(Timestamp::as_millisecond) {
            None => self.fault("when", "is no time, such as 2023-11-15 14:30"),
            Some(at_ms) if at_ms > self.reading.now_ms => self.fault("when", "is yet to come"),
            Some(at_ms) => return at_ms,
        }
        0
    }

    fn victim(&mut self) -> Option<lending::Iin> {
        let text = self.cell("victim_iin");
        let now = Timestamp::from_millisecond(self.reading.now_ms).unwrap_or_default();
        let today = now.to_zoned(self.reading.zone.clone()).date();
        match self.reading.iin.read(text, today) {
            _ if text.is_empty() => None,
            Ok(iin) => Some(iin),
            Err(fault) => {
                self.fault("victim_iin", fault.to_string());
                None
            }
        }
    }

    fn sum(&mut self, column: &str) -> Option<Sum> {
        let text = self.cell(column);
        let none = text.is_empty() || text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let sum = Sum::parse(text);
        if sum.is_none() && !none {
            self.fault(column, "is no sum, such as 150000.00");
        }
        sum
    }

    fn identifiers(&mut self, column: &str, kind: IdentifierKind) -> Vec<Identifier> {
        let mut read: Vec<Identifier> = Vec::new();
        for text in self.cell(column).split(';').filter(|text| !text.trim().is_empty()) {
            match Identifier::read(kind, text, self.reading.plan) {
                Ok(identifier) if read.contains(&identifier) => {}
                Ok(identifier) => read.push(identifier),
                Err(fault) => self.fault(column, fault.to_string()),
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Fact>, Vec<String>> {
        let plan = Plan::parse(include_str!("../../plans/kz.toml")).unwrap();
        let rulebook = lending::Rulebook::parse(include_str!("../../rulebook/loans/kz.toml")).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(5));
        // 2026-01-01T00:00:00Z
        let reading = Reading { plan: &plan, iin: &rulebook.iin, zone: &zone, now_ms: 1_767_225_600_000 };
        import(text.as_bytes(), &reading).map_err(|bad| bad.iter().map(BadRow::to_string).collect())
    }

    #[test]
    fn facts_are_read() {
        let facts = read(
            "\u{feff}Number,when,type,damage,recovered,phone,card,victim_phone,state\n\
             1,2023-11-15 14:30,bank-call,150000.50,0,8 701 123 45 67; +77011234567 ;87021234567,4111 1111 1111 1111,87051112233,in-court\n\
             2,2023-11-15,loan-in-name,,,,,,\n\
             3,2023-11-15T14:30:00Z,other,10,5,,,,",
        )
        .unwrap();
        // 14:30 at +05:00 is 09:30 UTC.
        assert_eq!(facts[0].at_ms, "2023-11-15T09:30:00Z".parse::<Timestamp>().unwrap().as_millisecond());
        assert_eq!(facts[1].at_ms, "2023-11-14T19:00:00Z".parse::<Timestamp>().unwrap().as_millisecond());
        assert_eq!(facts[2].at_ms, "2023-11-15T14:30:00Z".parse::<Timestamp>().unwrap().as_millisecond());
        let revealed: Vec<&str> = facts[0].identifiers.iter().map(Identifier::reveal).collect();
        assert_eq!(revealed, ["+77011234567", "+77021234567", "4111111111111111"]);
        assert_eq!(facts[0].damage, Sum::parse("150000.50"));
        assert_eq!((facts[0].recovered, facts[2].recovered), (None, Sum::parse("5")));
        assert_eq!(facts[0].proceedings, Proceedings::InCourt);
        assert_eq!(facts[1].proceedings, Proceedings::Registered);
        assert_eq!(facts[0].victim_phone.as_ref().map(Identifier::reveal), Some("+77051112233"));
    }

    #[test]
    fn every_fault_is_said_and_nothing_is_taken() {
        let bad = read(
            "number,type,when,damage,recovered,phone,victim_iin\n\
             1,bank-call,2023-11-15,100,200,87011234567,\n\
             1,bank-fraud,2027-01-01,lots,,call me,123456789012\n\
             3,other,2023-02-30,,\n\
             ,other,yesterday,,,,",
        )
        .unwrap_err();
        assert_eq!(
            bad,
            [
                "line 2: recovered: more than the damage",
                "line 3: type: is one of advance-payment, bank-call, authority-call, loan-in-name, investment, phishing, \
                 acquaintance, other",
                "line 3: damage: is no sum, such as 150000.00",
                "line 3: when: is yet to come",
                "line 3: victim_iin: its last digit does not fit the others: look for a slip",
                "line 3: phone: it is no phone number of the plan, nor a full one such as +77011234567",
                "line 3: number: stands in line 2 too",
                "line 4: 5 fields, where line 1 has 7",
                "line 5: number: is empty",
                "line 5: when: is no time, such as 2023-11-15 14:30",
            ]
        );
        assert_eq!(
            read("number,kind,when,when\n1,2,3,4").unwrap_err(),
            [
                "line 1: kind: no column of a fact has this name",
                "line 1: when: this column stands here twice",
                "line 1: type: this column is missing"
            ]
        );
        assert_eq!(read("number,type,when\n").unwrap_err(), ["line 1: no fact follows the head"]);
    }
}
