//! What is wrong with a configuration: every fault, each in a line with its place.

use std::fmt;
use std::ops::Range;

/// A fault and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub file: String,
    pub line: u64,
    /// Counted in characters from 1; 0 where the whole line is meant.
    pub column: u64,
    pub what: String,
}

/// The faults of one configuration.
#[derive(Debug)]
pub struct Faults {
    file: String,
    text: String,
    list: Vec<Fault>,
}

impl Faults {
    pub fn new(file: &str, text: &str) -> Faults {
        Faults { file: file.to_owned(), text: text.to_owned(), list: Vec::new() }
    }

    pub fn one(file: &str, what: String) -> Faults {
        let mut faults = Faults::new(file, "");
        faults.at(None, &what);
        faults
    }

    /// A fault in the configuration file itself; without a span, in the file as a whole.
    pub fn at(&mut self, span: Option<Range<usize>>, what: &str) {
        let (line, column) = match span {
            Some(span) => {
                let before = &self.text[..span.start.min(self.text.len())];
                let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                (before.matches('\n').count() as u64 + 1, before[line_start..].chars().count() as u64 + 1)
            }
            None => (0, 0),
        };
        self.list.push(Fault { file: self.file.clone(), line, column, what: what.replace('\n', " ") });
    }

    /// A fault in a file that the configuration names.
    pub fn elsewhere(&mut self, file: &str, line: u64, what: &str) {
        self.list.push(Fault { file: file.to_owned(), line, column: 0, what: what.replace('\n', " ") });
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { file, line, column, what } = self;
        match (line, column) {
            (0, _) => write!(f, "{file}: {what}"),
            (line, 0) => write!(f, "{file}:{line}: {what}"),
            (line, column) => write!(f, "{file}:{line}:{column}: {what}"),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
