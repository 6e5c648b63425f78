//! Call records in Parquet: each row group is read by one thread, several at once.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::{CALLED, CALLING, Cell, Found, Intake, Look, Places, Source, threads};
use crate::config::explain_io;
use crate::records::Progress;

const ROWS: usize = 8192;

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| explain_io(&error))
}

fn metadata(path: &Path) -> Result<ArrowReaderMetadata, String> {
    ArrowReaderMetadata::load(&open(path)?, ArrowReaderOptions::new()).map_err(|error| broken(&error))
}

/// How many rows a file says it has.
pub fn rows(path: &Path) -> Result<usize, String> {
    Ok(metadata(path)?.metadata().file_metadata().num_rows().max(0) as usize)
}

/// What has been handed out and done.
struct Taken<'t> {
    group: usize,
    rows: u64,
    progress: &'t mut (dyn Progress + Send),
    failed: Option<String>,
}

pub fn read(
    source: &Source,
    path: &Path,
    progress: &mut (dyn Progress + Send),
    look: &Look,
) -> Result<(Places, Found), String> {
    let metadata = metadata(path)?;
    let names: Vec<String> = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
    let places = source.places(&names)?;
    let group = Group { path, metadata: &metadata, names: &names, places: look.of(&places) };
    let groups = metadata.metadata().num_row_groups();
    progress.total(metadata.metadata().file_metadata().num_rows().max(0) as u64);
    let taken = Mutex::new(Taken { group: 0, rows: 0, progress, failed: None });
    let work = || {
        let mut intake = Intake::new(source, look);
        loop {
            let next = {
                let mut taken = taken.lock().expect("no panic inside");
                if taken.failed.is_some() || taken.group == groups {
                    return intake.found;
                }
                taken.group += 1;
                taken.group - 1
            };
            let read = group.read(next, &mut intake, &mut |rows| {
                let mut taken = taken.lock().expect("no panic inside");
                taken.rows += rows;
                let rows = taken.rows;
                taken.progress.done(rows);
            });
            if let Err(what) = read {
                taken.lock().expect("no panic inside").failed.get_or_insert(what);
            }
        }
    };
    let mut found = Found::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads().min(groups.max(1))).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| found.add(&worker.join().expect("no panic inside")));
    });
    match taken.into_inner().expect("no panic inside").failed {
        Some(what) => Err(what),
        None => Ok((places, found)),
    }
}

/// A file, and which of its columns are read.
struct Group<'g> {
    path: &'g Path,
    metadata: &'g ArrowReaderMetadata,
    names: &'g [String],
    places: Places,
}

impl Group<'_> {
    fn read(&self, n: usize, intake: &mut Intake, done: &mut dyn FnMut(u64)) -> Result<(), String> {
        let mut wanted: Vec<usize> = self.places.0.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        // Opened once more: what is read of a file that is shared moves its place for all.
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(open(self.path)?, self.metadata.clone());
        let projection = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
        let builder = builder.with_projection(projection).with_row_groups(vec![n]).with_batch_size(ROWS);
        for batch in builder.build().map_err(|error| broken(&error))? {
            let batch = batch.map_err(|error| broken(&error))?;
            let columns: Vec<Option<Column>> = (self.places.0.iter())
                .map(|place| {
                    let index = wanted.iter().position(|wanted| Some(*wanted) == *place)?;
                    let name = || self.names[place.expect("found")].clone();
                    Some(Column::of(batch.column(index)).ok_or_else(name))
                })
                .map(|column| column.transpose())
                .collect::<Result<_, String>>()
                .map_err(|name| format!("column \"{name}\" holds neither texts nor numbers nor times"))?;
            let cell = |n: usize, row| columns[n].as_ref().map_or(Cell::None, |column| column.get(row));
            for row in 0..batch.num_rows() {
                if !intake.passes_over(&cell(CALLING, row), &cell(CALLED, row)) {
                    intake.take(&std::array::from_fn(|n| cell(n, row)));
                }
            }
            done(batch.num_rows() as u64);
        }
        Ok(())
    }
}

fn broken(error: &dyn std::fmt::Display) -> String {
    format!("not a whole Parquet file: {}", error.to_string().replace('\n', " "))
}

/// A column of a batch as texts or integers.
enum Column<'c> {
    Text(&'c arrow_array::StringArray),
    /// Keys, and the texts that they stand for.
    Names(&'c arrow_array::Int32Array, &'c arrow_array::StringArray),
    Integers(Vec<Option<i64>>),
}

impl<'c> Column<'c> {
    fn of(array: &'c ArrayRef) -> Option<Column<'c>> {
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

    fn get(&self, row: usize) -> Cell<'c> {
        match self {
            Column::Text(texts) if texts.is_valid(row) => Cell::Text(texts.value(row)),
            Column::Names(keys, texts) if keys.is_valid(row) => {
                Cell::Text(texts.value(keys.value(row) as usize))
            }
            Column::Integers(values) => values[row].map_or(Cell::None, Cell::Integer),
            _ => Cell::None,
        }
    }
}
