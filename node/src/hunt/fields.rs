//! A field of call records, as text or an integer, and what it says.

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use numbering::{Dialling, Party, Plan};

use crate::records::{parse_time, time_of_integer};

/// How numbers in records are read where they have no plus.
pub const DIALLING: Dialling = Dialling { national: true, international_prefixes: Vec::new() };

/// A field as it came.
pub enum Cell<'c> {
    None,
    Text(&'c str),
    Integer(i64),
}

pub fn number(cell: &Cell, plan: &Plan, dialling: &Dialling) -> Option<u64> {
    match cell {
        Cell::None => None,
        // A number kept as one has lost nothing but its plus.
        Cell::Integer(digits) => u64::try_from(*digits).ok().filter(|digits| *digits >= 1_000_000),
        Cell::Text(text) => of_party(&plan.normalise(text, dialling).party),
    }
}

pub fn start_ms(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Integer(value) => Some(time_of_integer(*value)),
        Cell::Text(text) => parse_time(text),
        Cell::None => None,
    }
}

/// An IMEI's 14 digits of type and serial, from it with or without a check digit or a version.
pub fn telephone(cell: &Cell) -> Option<u64> {
    let imei = integer(cell).and_then(|imei| u64::try_from(imei).ok())?;
    Some(match imei {
        1_000_000_000_000_000.. => imei / 100,
        100_000_000_000_000.. => imei / 10,
        imei => imei,
    })
}

/// The name of a trunk or a cell as a number, the same in whatever order names come: signals look at the least ones.
pub fn name(cell: &Cell) -> Option<u32> {
    match cell {
        Cell::None | Cell::Text("") => None,
        Cell::Integer(value) => Some(*value as u32),
        Cell::Text(text) => Some(text.parse().unwrap_or_else(|_| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish() as u32
        })),
    }
}

pub fn of_party(party: &Party) -> Option<u64> {
    let key = party.number()?.key();
    key.integer().filter(|_| !key.is_short_code())
}

pub fn integer(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Integer(value) => Some(*value),
        // Seconds may come with a fraction.
        Cell::Text(text) => text.split('.').next()?.parse().ok(),
        Cell::None => None,
    }
}

pub fn truth(cell: &Cell) -> Option<bool> {
    match cell {
        Cell::Integer(value) => Some(*value != 0),
        Cell::Text(text) => match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "y" | "t" | "answered" => Some(true),
            "0" | "false" | "no" | "n" | "f" | "not answered" | "no answer" | "busy" | "failed" => {
                Some(false)
            }
            _ => None,
        },
        Cell::None => None,
    }
}

/// A column of a batch as texts or integers.
pub enum Column<'c> {
    Text(&'c arrow_array::StringArray),
    /// Keys, and the texts that they stand for.
    Names(&'c arrow_array::Int32Array, &'c arrow_array::StringArray),
    Integers(Vec<Option<i64>>),
}

impl<'c> Column<'c> {
    pub fn of(array: &'c ArrayRef) -> Option<Column<'c>> {
        macro_rules! integers {
            ($type:ty, $of:expr) => {
                Column::Integers(array.as_primitive::<$type>().iter().map(|value| value.map($of)).collect())
            };
        }
        Some(match array.data_type() {
            DataType::Utf8 => Column::Text(array.as_string()),
            DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8 => {
                let names = array.as_dictionary::<Int32Type>();
                Column::Names(names.keys(), names.values().as_string())
            }
            DataType::Boolean => {
                Column::Integers(array.as_boolean().iter().map(|value| value.map(i64::from)).collect())
            }
            DataType::Int32 => integers!(Int32Type, i64::from),
            DataType::Int64 => integers!(Int64Type, |value| value),
            DataType::UInt8 => integers!(UInt8Type, i64::from),
            DataType::UInt16 => integers!(UInt16Type, i64::from),
            DataType::UInt32 => integers!(UInt32Type, i64::from),
            DataType::UInt64 => integers!(UInt64Type, |value| i64::try_from(value).unwrap_or(i64::MAX)),
            DataType::Float64 => integers!(Float64Type, |value| value as i64),
            DataType::Timestamp(TimeUnit::Second, _) => integers!(TimestampSecondType, |value| value * 1000),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                integers!(TimestampMillisecondType, |value| value)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                integers!(TimestampMicrosecondType, |value| value / 1000)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                integers!(TimestampNanosecondType, |value| value / 1_000_000)
            }
            DataType::Null => Column::Integers(vec![None; array.len()]),
            _ => return None,
        })
    }

    pub fn get(&self, row: usize) -> Cell<'c> {
        match self {
            Column::Text(texts) if texts.is_valid(row) => Cell::Text(texts.value(row).trim()),
            Column::Names(keys, texts) if keys.is_valid(row) => {
                Cell::Text(texts.value(keys.value(row) as usize).trim())
            }
            Column::Integers(values) => values[row].map_or(Cell::None, Cell::Integer),
            _ => Cell::None,
        }
    }
}
