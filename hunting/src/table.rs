//! A table of subscribers: columns of numbers, dates and words, with gaps, as they come in text.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// What a cell says when it says nothing.
const GAPS: [&str; 9] = ["", "na", "n/a", "nan", "null", "none", "nil", "?", "-"];

/// A column whose cells are numbers (or dates) at least this often is one of numbers; its other cells are gaps.
const MOSTLY: f64 = 0.95;

/// Rows of columns.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub ids: Vec<String>,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub values: Values,
}

/// The cells of a column.
#[derive(Clone, Debug)]
pub enum Values {
    /// NaN is a gap.
    Numbers(Vec<f64>),
    /// Dates and times, as seconds since 1970; NaN is a gap.
    Times(Vec<f64>),
    /// Places in `levels`; `GAP` is a gap.
    Words { codes: Vec<u32>, levels: Vec<String> },
}

impl Values {
    pub const GAP: u32 = u32::MAX;

    pub fn len(&self) -> usize {
        match self {
            Values::Numbers(values) | Values::Times(values) => values.len(),
            Values::Words { codes, .. } => codes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cell as people read it; "-" for a gap.
    pub fn shown(&self, row: usize) -> String {
        match self {
            Values::Numbers(values) if values[row].is_nan() => "-".to_owned(),
            Values::Times(values) if values[row].is_nan() => "-".to_owned(),
            Values::Numbers(values) => short(values[row]),
            Values::Times(values) => match Timestamp::from_second(values[row] as i64) {
                Ok(time) => time.to_string(),
                Err(_) => short(values[row]),
            },
            Values::Words { codes, levels } => match codes[row] {
                Values::GAP => "-".to_owned(),
                code => levels[code as usize].clone(),
            },
        }
    }
}

/// Four significant digits are enough for a reason.
pub fn short(value: f64) -> String {
    if value == 0.0 || (value.fract() == 0.0 && value.abs() < 1e12) {
        return format!("{value}");
    }
    let places = (3 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A table on its way, row after row.
pub struct TableDraft {
    ids: Vec<String>,
    columns: Vec<(String, Draft)>,
}

/// A column is numbers until a cell says otherwise; numbers before it are then words as well.
enum Draft {
    Numbers(Vec<f64>),
    Words { codes: Vec<u32>, levels: Vec<String>, places: HashMap<String, u32> },
}

impl TableDraft {
    pub fn new(names: impl IntoIterator<Item = String>) -> TableDraft {
        let columns = names.into_iter().map(|name| (name, Draft::Numbers(Vec::new()))).collect();
        TableDraft { ids: Vec::new(), columns }
    }

    /// One row; as many cells as there are columns.
    pub fn push<'a>(&mut self, id: &str, cells: impl Iterator<Item = &'a str>) {
        self.ids.push(id.to_owned());
        for ((_, draft), cell) in self.columns.iter_mut().zip(cells) {
            draft.push(cell.trim());
        }
    }

    pub fn finish(self) -> Table {
        let columns = self.columns.into_iter().map(|(name, draft)| Column { name, values: draft.finish() });
        Table { ids: self.ids, columns: columns.collect() }
    }
}

impl Draft {
    fn push(&mut self, cell: &str) {
        let number = number(cell);
        match self {
            Draft::Numbers(values) => match number {
                Some(number) => values.push(number),
                None => {
                    let (mut levels, mut places) = (Vec::new(), HashMap::new());
                    let mut codes: Vec<u32> = Vec::with_capacity(values.capacity());
                    for &value in values.iter() {
                        codes.push(match value.is_nan() {
                            true => Values::GAP,
                            false => level(&mut levels, &mut places, &value.to_string()),
                        });
                    }
                    codes.push(level(&mut levels, &mut places, cell));
                    *self = Draft::Words { codes, levels, places };
                }
            },
            Draft::Words { codes, levels, places } => codes.push(match number {
                Some(number) if number.is_nan() => Values::GAP,
                // As above: 7 and 7.0 are one level wherever the first word of the column stands.
                Some(number) => level(levels, places, &number.to_string()),
                None => level(levels, places, cell),
            }),
        }
    }

    fn finish(self) -> Values {
        let (codes, levels) = match self {
            Draft::Numbers(values) => return Values::Numbers(values),
            Draft::Words { codes, levels, .. } => (codes, levels),
        };
        for (read, make) in [
            (number as fn(&str) -> Option<f64>, Values::Numbers as fn(Vec<f64>) -> Values),
            (time, Values::Times),
        ] {
            let read: Vec<Option<f64>> = levels.iter().map(|level| read(level)).collect();
            let (mut understood, mut filled) = (0usize, 0usize);
            for &code in codes.iter().filter(|&&code| code != Values::GAP) {
                filled += 1;
                understood += usize::from(read[code as usize].is_some());
            }
            if filled > 0 && understood as f64 >= MOSTLY * filled as f64 {
                let value = |&code: &u32| match code {
                    Values::GAP => f64::NAN,
                    code => read[code as usize].unwrap_or(f64::NAN),
                };
                return make(codes.iter().map(value).collect());
            }
        }
        Values::Words { codes, levels }
    }
}

fn level(levels: &mut Vec<String>, places: &mut HashMap<String, u32>, text: &str) -> u32 {
    if let Some(&place) = places.get(text) {
        return place;
    }
    let place = levels.len() as u32;
    levels.push(text.to_owned());
    places.insert(text.to_owned(), place);
    place
}

/// A number, NaN for a gap, nothing for a word. Infinity is a gap: no threshold parts it from others.
pub fn number(cell: &str) -> Option<f64> {
    if cell.len() < 5 && GAPS.iter().any(|gap| gap.eq_ignore_ascii_case(cell)) {
        return Some(f64::NAN);
    }
    let first = *cell.as_bytes().first()?;
    if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.' | b'i' | b'I')) {
        return None;
    }
    let value: f64 = cell.parse().ok()?;
    Some(if value.is_finite() { value } else { f64::NAN })
}

fn time(cell: &str) -> Option<f64> {
    if let Ok(time) = cell.parse::<Timestamp>() {
        return Some(time.as_second() as f64);
    }
    let time = match cell.parse::<DateTime>() {
        Ok(time) => time,
        Err(_) => cell.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
    };
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: &[&str]) -> Values {
        let mut draft = TableDraft::new(["c".to_owned()]);
        for (row, cell) in cells.iter().enumerate() {
            draft.push(&row.to_string(), [*cell].into_iter());
        }
        draft.finish().columns.remove(0).values
    }

    #[test]
    fn a_column_is_what_most_of_its_cells_are() {
        let Values::Numbers(values) = column(&["1", "", "2.5", "NaN", "-3e2", "inf"]) else { panic!() };
        assert_eq!((values[0], values[2], values[4]), (1.0, 2.5, -300.0));
        assert!(values[1].is_nan() && values[3].is_nan() && values[5].is_nan());
        let Values::Words { codes, levels } = column(&["7", "7.0", "lorry", "", "7"]) else { panic!() };
        assert_eq!(codes, [0, 0, 1, Values::GAP, 0]);
        assert_eq!(levels, ["7", "lorry"]);
        let mut mostly = vec!["4"; 99];
        mostly.push("unknown");
        assert!(matches!(column(&mostly), Values::Numbers(values) if values[99].is_nan()));
        let times = column(&["2026-03-02", "", "2026-03-02 12:00:00", "2026-03-02T12:00:00Z"]);
        let Values::Times(values) = times else { panic!() };
        assert_eq!(values[2] - values[0], 43200.0);
        assert_eq!(values[3], values[2]);
    }
}
