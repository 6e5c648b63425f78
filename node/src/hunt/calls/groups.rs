//! Call records in Parquet: each row group is read by one thread, several at once.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::super::fields::{Cell, Column};
use super::{CALLED, CALLING, Found, Intake, Look, Places, Source, threads};
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
        let groups = self.metadata.metadata().row_groups();
        let mut before: u64 = groups[..n].iter().map(|group| group.num_rows().max(0) as u64).sum();
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
            let rows = batch.num_rows();
            let cell = |n: usize, row| columns[n].as_ref().map_or(Cell::None, |column| column.get(row));
            for row in 0..rows {
                if !intake.passes_over(&cell(CALLING, row), &cell(CALLED, row)) {
                    intake.take(before + row as u64 + 1, &std::array::from_fn(|n| cell(n, row)));
                }
            }
            before += rows as u64;
            done(rows as u64);
        }
        Ok(())
    }
}

fn broken(error: &dyn std::fmt::Display) -> String {
    format!("not a whole Parquet file: {}", error.to_string().replace('\n', " "))
}
