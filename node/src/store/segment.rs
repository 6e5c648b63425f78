//! Writes a segment: records of closed logs as a Parquet file, and what its seal says of it.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, StringBuilder, StringDictionaryBuilder, TimestampMillisecondBuilder, UInt32Builder,
};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use journal::{
    Cell, Cells, Hidden, NAMES, Nonce, Numbers, NumbersKey, Record, Row, Sealed, Tally, file_hash, hex,
};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::shelf;

/// Rows that are handed to the writer at a time.
const BATCH: usize = 8192;
/// Rows of a page: what a flipped byte can hide.
const PAGE_ROWS: usize = 8192;

/// A column being built.
enum Column {
    Time(TimestampMillisecondBuilder),
    Name(StringDictionaryBuilder<Int32Type>),
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Nanoseconds(UInt32Builder),
}

impl Column {
    fn of(name: &str) -> Column {
        match name {
            "time" => Column::Time(TimestampMillisecondBuilder::new().with_timezone("UTC")),
            "calling" | "presentation" | "called" | "redirecting" | "call_id" => {
                Column::Text(StringBuilder::new())
            }
            "privacy" | "national_form" => Column::Bool(BooleanBuilder::new()),
            "took_ns" => Column::Nanoseconds(UInt32Builder::new()),
            _ => Column::Name(StringDictionaryBuilder::new()),
        }
    }

    fn field(&self, name: &str) -> Field {
        let may_be_null = matches!(name, "calling" | "presentation" | "called" | "redirecting")
            || matches!(name, "label" | "would_verdict" | "would_rule" | "would_reason" | "monitored");
        match self {
            Column::Time(_) => {
                Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false)
            }
            Column::Name(_) => Field::new_dictionary(name, DataType::Int32, DataType::Utf8, may_be_null),
            Column::Text(_) => Field::new(name, DataType::Utf8, may_be_null),
            Column::Bool(_) => Field::new(name, DataType::Boolean, false),
            Column::Nanoseconds(_) => Field::new(name, DataType::UInt32, false),
        }
    }

    fn push(&mut self, cell: &Cell) {
        match (self, cell) {
            (Column::Time(column), Cell::Integer(ms)) => column.append_value(*ms),
            (Column::Name(column), Cell::Text(text)) => column.append_value(text),
            (Column::Name(column), _) => column.append_null(),
            (Column::Text(column), Cell::Text(text)) => column.append_value(text),
            (Column::Text(column), _) => column.append_null(),
            (Column::Bool(column), Cell::Bool(value)) => column.append_value(*value),
            (Column::Nanoseconds(column), Cell::Integer(ns)) => column.append_value(*ns as u32),
            _ => unreachable!("the cells of a row have the types of its columns"),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Time(column) => Arc::new(column.finish()),
            Column::Name(column) => Arc::new(column.finish()),
            Column::Text(column) => Arc::new(column.finish()),
            Column::Bool(column) => Arc::new(column.finish()),
            Column::Nanoseconds(column) => Arc::new(column.finish()),
        }
    }
}

fn properties() -> WriterProperties {
    let column = |name: &str| ColumnPath::from(name);
    let zstd = |level: i32| Compression::ZSTD(ZstdLevel::try_new(level).expect("a level of zstd"));
    let mut properties = WriterProperties::builder()
        .set_created_by("qalqan".to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(zstd(3))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(column("time"), EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(column("time"), false)
        .set_column_encoding(column("time"), Encoding::DELTA_BINARY_PACKED);
    // Numbers and Call-IDs seldom come twice. Their lengths apart from their characters is what zstd likes, and level
    // 1 is the one that looks for no matches in noise: 16.0 bytes for 32 random hex digits, level 3 takes 16.5.
    for name in ["calling", "presentation", "called", "redirecting", "call_id"] {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_compression(column(name), zstd(1))
            .set_column_encoding(column(name), Encoding::DELTA_LENGTH_BYTE_ARRAY);
    }
    for name in ["took_ns", "check"] {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::PLAIN);
    }
    // Noise: compressing it only costs time.
    properties.set_column_compression(column("check"), Compression::UNCOMPRESSED).build()
}

/// How the numbers of one segment are hidden.
pub struct Hiding<'k> {
    pub numbers: Numbers,
    pub key: &'k NumbersKey,
    pub nonce: Nonce,
}

impl Hiding<'_> {
    fn hidden(&self) -> Hidden {
        match self.numbers {
            Numbers::Clear => Hidden::Clear,
            Numbers::Hashed => Hidden::Hashed(Box::new(self.key.tokens())),
            Numbers::Encrypted => Hidden::Encrypted(Box::new(self.key.of_segment(self.nonce))),
        }
    }
}

/// Makes segment `n` of records in the order of their times; gives the file and what its seal says of it, but for the
/// logs it was made of.
pub fn make(
    n: u64,
    records: &[Record],
    trunk_name: &mut dyn FnMut(&Record) -> Arc<str>,
    hiding: &Hiding,
) -> Result<(Vec<u8>, Sealed), String> {
    let mut columns: Vec<Column> = NAMES.iter().map(|name| Column::of(name)).collect();
    let mut checks = UInt32Builder::new();
    let mut fields: Vec<Field> = columns.iter().zip(NAMES).map(|(column, name)| column.field(name)).collect();
    fields.push(Field::new("check", DataType::UInt32, false));
    let schema = Arc::new(Schema::new(fields));
    let text = |error: parquet::errors::ParquetError| error.to_string();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties())).map_err(text)?;

    let mut hidden = hiding.hidden();
    let mut tally = Tally::new(n);
    let mut row = Row::default();
    for (batch, records) in records.chunks(BATCH).enumerate() {
        for (index, record) in records.iter().enumerate() {
            let trunk = trunk_name(record);
            let place = (batch * BATCH + index) as u64;
            let cells: Cells = row.cells(record, &trunk, place, &mut hidden);
            columns.iter_mut().zip(&cells).for_each(|(column, cell)| column.push(cell));
            checks.append_value(tally.add(&cells));
        }
        let mut arrays: Vec<ArrayRef> = columns.iter_mut().map(Column::finish).collect();
        arrays.push(Arc::new(checks.finish()));
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(|error| error.to_string())?;
        writer.write(&batch).map_err(text)?;
    }
    let bytes = writer.into_inner().map_err(text)?;
    let digests = tally.finish();
    let is_hidden = hiding.numbers != Numbers::Clear;
    let sealed = Sealed {
        file: shelf::name(n, "parquet"),
        sha256: file_hash(&bytes),
        bytes: bytes.len() as u64,
        records: records.len() as u64,
        first_ms: records.iter().map(|record| record.call.time_ms).min(),
        last_ms: records.iter().map(|record| record.call.time_ms).max(),
        numbers: hiding.numbers,
        numbers_key: is_hidden.then(|| hex(&hiding.key.id())),
        numbers_nonce: (hiding.numbers == Numbers::Encrypted).then(|| hex(&hiding.nonce)),
        columns: digests.columns,
        checks: digests.checks,
        check_blocks: digests.blocks,
        logs: Vec::new(),
    };
    Ok((bytes, sealed))
}
