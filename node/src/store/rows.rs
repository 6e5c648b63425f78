//! Reads the rows of a segment, also of one that another program wrote anew or that somebody damaged.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, RecordBatch, StringArray};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use journal::{Cell, Cells, NAMES};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;

const BATCH: usize = 8192;

/// Part of a segment that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// None: the file as a whole.
    pub column: Option<String>,
    /// Records from and to, counted from 1.
    pub from: u64,
    pub to: u64,
    pub why: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.column {
            Some(column) => write!(
                f,
                "records {} to {}: column {column} cannot be decoded: {}",
                self.from, self.to, self.why
            ),
            None => f.write_str(&self.why),
        }
    }
}

/// Hands over every row with its check, until `each` says to stop.
pub fn read(bytes: &Bytes, each: &mut dyn FnMut(&Cells, u32) -> bool) -> Result<(), Vec<Unreadable>> {
    let whole = |why: String| vec![Unreadable { column: None, from: 1, to: 0, why: one_line(&why) }];
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .map_err(|error| whole(format!("not a whole Parquet file: {error}")))?;
    let schema = builder.schema().clone();
    for name in NAMES.into_iter().chain(["check"]) {
        if schema.field_with_name(name).is_err() {
            return Err(whole(format!("there is no column {name}")));
        }
    }
    let reader = builder.with_batch_size(BATCH).build().map_err(|error| whole(error.to_string()))?;
    for batch in reader {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Err(unreadable(bytes).unwrap_or_else(|| whole(error.to_string()))),
        };
        if !rows_of(&batch, each).map_err(whole)? {
            return Ok(());
        }
    }
    Ok(())
}

fn rows_of(batch: &RecordBatch, each: &mut dyn FnMut(&Cells, u32) -> bool) -> Result<bool, String> {
    let column = |name: &str| batch.column_by_name(name).expect("looked for before");
    let values: Vec<Values> =
        NAMES.iter().map(|name| Values::of(name, column(name))).collect::<Result<_, String>>()?;
    let checks = Values::of("check", column("check"))?;
    let mut cells = [Cell::Null; NAMES.len()];
    for row in 0..batch.num_rows() {
        for (cell, values) in cells.iter_mut().zip(&values) {
            *cell = values.cell(row);
        }
        let check = match checks.cell(row) {
            Cell::Integer(check) => check as u32,
            _ => 0,
        };
        if !each(&cells, check) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A column in any of the forms that programs choose for what stands in it.
enum Values<'a> {
    Integers(Vec<Option<i64>>),
    Bools(&'a BooleanArray),
    Texts(&'a StringArray),
    Large(&'a arrow_array::LargeStringArray),
    View(&'a arrow_array::StringViewArray),
    Names(&'a DictionaryArray<Int32Type>, &'a StringArray),
    Nulls,
}

impl<'a> Values<'a> {
    fn of(name: &str, array: &'a ArrayRef) -> Result<Values<'a>, String> {
        macro_rules! integers {
            ($type:ty, $map:expr) => {
                Values::Integers(array.as_primitive::<$type>().iter().map(|value| value.map($map)).collect())
            };
        }
        Ok(match array.data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => integers!(TimestampMillisecondType, |ms| ms),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                integers!(TimestampMicrosecondType, |us| us.div_euclid(1000))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                integers!(TimestampNanosecondType, |ns| ns.div_euclid(1_000_000))
            }
            DataType::UInt32 => integers!(UInt32Type, i64::from),
            DataType::Int64 => integers!(Int64Type, |value| value),
            DataType::UInt64 => integers!(UInt64Type, |value| value as i64),
            DataType::Boolean => Values::Bools(array.as_boolean()),
            DataType::Utf8 => Values::Texts(array.as_string()),
            DataType::LargeUtf8 => Values::Large(array.as_string()),
            DataType::Utf8View => Values::View(array.as_string_view()),
            DataType::Null => Values::Nulls,
            DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8 => {
                let array = array.as_dictionary::<Int32Type>();
                Values::Names(array, array.values().as_string())
            }
            other => return Err(format!("column {name} is of type {other}: a segment has none such")),
        })
    }

    fn cell(&self, row: usize) -> Cell<'a> {
        match self {
            Values::Integers(values) => values[row].map_or(Cell::Null, Cell::Integer),
            Values::Bools(array) if array.is_valid(row) => Cell::Bool(array.value(row)),
            Values::Texts(array) if array.is_valid(row) => Cell::Text(array.value(row)),
            Values::Large(array) if array.is_valid(row) => Cell::Text(array.value(row)),
            Values::View(array) if array.is_valid(row) => Cell::Text(array.value(row)),
            Values::Names(array, values) if array.is_valid(row) => {
                Cell::Text(values.value(array.keys().value(row) as usize))
            }
            _ => Cell::Null,
        }
    }
}

/// Looks column by column and page by page for what cannot be decoded; none: everything can.
fn unreadable(bytes: &Bytes) -> Option<Vec<Unreadable>> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load(bytes, options).ok()?;
    let parquet = metadata.metadata();
    let mut found = Vec::new();
    let mut first = 0u64;
    for (group, rows) in parquet.row_groups().iter().map(|group| group.num_rows().max(0) as u64).enumerate() {
        for column in 0..parquet.file_metadata().schema_descr().num_columns() {
            let name = parquet.file_metadata().schema_descr().column(column).name().to_owned();
            let index = parquet.offset_index().and_then(|index| index.get(group)?.get(column));
            let mut starts: Vec<u64> = index.map_or(Vec::new(), |index| {
                index.page_locations().iter().map(|page| page.first_row_index.max(0) as u64).collect()
            });
            if starts.first() != Some(&0) {
                starts = vec![0];
            }
            for (at, &from) in starts.iter().enumerate() {
                let to = starts.get(at + 1).copied().unwrap_or(rows);
                if let Err(why) = decode(bytes, &metadata, group, column, from, to) {
                    let (from, to) = (first + from + 1, first + to);
                    let why = one_line(&why);
                    match found.last_mut() {
                        // Pages side by side, or all of them behind a broken dictionary: say it once.
                        Some(Unreadable { column: Some(column), to: end, .. })
                            if *column == name && *end + 1 == from =>
                        {
                            *end = to;
                        }
                        _ => found.push(Unreadable { column: Some(name.clone()), from, to, why }),
                    }
                }
            }
        }
        first += rows;
    }
    (!found.is_empty()).then_some(found)
}

fn decode(
    bytes: &Bytes,
    metadata: &ArrowReaderMetadata,
    group: usize,
    column: usize,
    from: u64,
    to: u64,
) -> Result<(), String> {
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata.clone());
    let projection = ProjectionMask::leaves(builder.parquet_schema(), [column]);
    let reader = builder
        .with_row_groups(vec![group])
        .with_projection(projection)
        .with_offset(from as usize)
        .with_limit((to - from) as usize)
        .build()
        .map_err(|error| error.to_string())?;
    for batch in reader {
        batch.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}
