//! Writes a segment: records of closed logs as a Parquet file, and what its seal says of it.
//!
//! The pages are made here, not by the writer of Arrow batches: rows come laid out already, which names stand in them is
//! known by their kinds, and neither is to be found out again for every row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use journal::{
    CALL_ID_LEN, Cell, Hidden, NAMES, Nonce, Numbers, NumbersKey, Record, Rows, Run, Sealed, Text, file_hash,
    hex,
};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::Encoding;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use zstd::bulk::Compressor;

use super::chunk::{Chunk, LEVEL};
use super::{give_way, pages, shelf};

/// Rows of a page: what a flipped byte can hide.
const PAGE_ROWS: usize = 8192;

/// What stands in a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Time,
    /// Few texts in many rows.
    Names,
    Texts,
    Bools,
    Nanoseconds,
    Checks,
}

fn holds(name: &str) -> Holds {
    match name {
        "time" => Holds::Time,
        "calling" | "presentation" | "called" | "redirecting" | "call_id" => Holds::Texts,
        "privacy" | "national_form" => Holds::Bools,
        "took_ns" => Holds::Nanoseconds,
        "check" => Holds::Checks,
        _ => Holds::Names,
    }
}

fn may_be_null(name: &str) -> bool {
    matches!(name, "calling" | "presentation" | "called" | "redirecting")
        || matches!(name, "label" | "would_verdict" | "would_rule" | "would_reason" | "monitored")
}

fn schema() -> Schema {
    let field = |name: &str| {
        let may_be_null = may_be_null(name);
        let plain = |of: DataType| Field::new(name, of, may_be_null);
        match holds(name) {
            Holds::Time => plain(DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
            Holds::Names => Field::new_dictionary(name, DataType::Int32, DataType::Utf8, may_be_null),
            Holds::Texts => plain(DataType::Utf8),
            Holds::Bools => plain(DataType::Boolean),
            Holds::Nanoseconds | Holds::Checks => plain(DataType::UInt32),
        }
    };
    Schema::new(NAMES.into_iter().chain(["check"]).map(field).collect::<Vec<Field>>())
}

/// A column of texts that seldom come twice. Their lengths apart from their characters is what zstd likes: 16.0 bytes
/// for 32 random hex digits.
struct Texts {
    chunk: Chunk,
    may_be_null: bool,
    there: Vec<u32>,
    lens: Vec<i64>,
    characters: Run,
}

impl Texts {
    fn of(column: &ColumnDescPtr) -> Texts {
        Texts {
            chunk: Chunk::new(column.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY, true),
            may_be_null: may_be_null(column.name()),
            there: Vec::with_capacity(PAGE_ROWS),
            lens: Vec::with_capacity(PAGE_ROWS),
            characters: Run::default(),
        }
    }

    #[inline]
    fn push<const N: usize>(&mut self, text: &[u8], len: usize) {
        self.there.push(1);
        self.lens.push(len as i64);
        self.characters.put::<N>(text, len);
    }

    #[inline]
    fn push_number(&mut self, number: &Option<Text>) {
        match number {
            Some(text) => {
                let (room, len) = text.room();
                self.push::<{ Text::ROOM }>(room, len);
            }
            None => self.there.push(0),
        }
    }

    fn end_page(&mut self, body: &mut Vec<u8>, zstd: &mut Compressor) -> std::io::Result<()> {
        body.clear();
        if self.may_be_null {
            pages::levels(&self.there, body);
        }
        pages::deltas(&self.lens, body);
        body.extend_from_slice(self.characters.as_slice());
        self.chunk.page(body, self.there.len(), Some(self.characters.len()), zstd)?;
        self.there.clear();
        self.lens.clear();
        self.characters.clear();
        Ok(())
    }
}

/// A column that rows of a kind have the same in: names, or true and false.
struct Shared {
    place: usize,
    chunk: Chunk,
    may_be_null: bool,
    /// By kind; none: null. A name is a place in the dictionary.
    of_kind: Vec<Option<u32>>,
    places: HashMap<String, u32>,
    dictionary: Vec<u8>,
}

impl Shared {
    fn of(place: usize, column: &ColumnDescPtr) -> Shared {
        let encoding = match holds(column.name()) {
            Holds::Bools => Encoding::PLAIN,
            _ => Encoding::RLE_DICTIONARY,
        };
        Shared {
            place,
            chunk: Chunk::new(column.clone(), encoding, true),
            may_be_null: may_be_null(column.name()),
            of_kind: Vec::new(),
            places: HashMap::new(),
            dictionary: Vec::new(),
        }
    }

    /// Learns what kinds have here that were not met before.
    fn learn(&mut self, rows: &Rows) {
        for kind in self.of_kind.len()..rows.kinds() {
            let value = match rows.shared(kind, self.place) {
                Cell::Bool(value) => Some(u32::from(value)),
                Cell::Text(text) => Some(match self.places.get(text) {
                    Some(&place) => place,
                    None => {
                        let place = self.places.len() as u32;
                        self.places.insert(text.to_owned(), place);
                        self.dictionary.extend((text.len() as u32).to_le_bytes());
                        self.dictionary.extend(text.as_bytes());
                        place
                    }
                }),
                _ => None,
            };
            self.of_kind.push(value);
        }
    }

    fn end_page(
        &mut self,
        kinds: &[u32],
        values: &mut Vec<u32>,
        body: &mut Vec<u8>,
        zstd: &mut Compressor,
    ) -> std::io::Result<()> {
        body.clear();
        values.clear();
        let width = pages::width(self.places.len());
        let is_name = self.chunk.encoding() != Encoding::PLAIN;
        // Nothing to look up where every kind has the same: half of the columns, most of the time.
        if is_name && self.of_kind.iter().all(|of| *of == self.of_kind[0]) {
            if self.may_be_null {
                pages::level(self.of_kind[0].is_some(), kinds.len(), body);
            }
            body.push(width as u8);
            if let Some(value) = self.of_kind[0] {
                pages::run(value, kinds.len(), width, body);
            }
            return self.chunk.page(body, kinds.len(), None, zstd);
        }
        if self.may_be_null {
            values.extend(kinds.iter().map(|&kind| u32::from(self.of_kind[kind as usize].is_some())));
            pages::levels(values, body);
            values.clear();
        }
        values.extend(kinds.iter().filter_map(|&kind| self.of_kind[kind as usize]));
        if is_name {
            body.push(width as u8);
            pages::hybrid(values, width, body);
        } else {
            pages::bits(values, body);
        }
        self.chunk.page(body, kinds.len(), None, zstd)
    }
}

/// Integers as they are in memory, in columns without nulls.
struct Plain {
    chunk: Chunk,
    values: Vec<u8>,
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
pub fn make<'r>(
    n: u64,
    records: impl Iterator<Item = &'r Record>,
    trunk_name: &mut dyn FnMut(&Record) -> Arc<str>,
    hiding: &Hiding,
) -> Result<(Vec<u8>, Sealed), String> {
    let mut making = Making::new(n, hiding).map_err(|error| error.to_string())?;
    for record in records {
        making.push(record, trunk_name).map_err(|error| error.to_string())?;
    }
    making.finish(n, hiding).map_err(|error| error.to_string())
}

/// A segment in the making.
struct Making {
    schema: Schema,
    descr: SchemaDescriptor,
    rows: Rows,
    /// The times of all rows, and from which on they are in no page yet.
    times: Vec<i64>,
    paged: usize,
    kinds: Vec<u32>,
    time: Chunk,
    took: Plain,
    numbers: [Texts; 4],
    call_id: Texts,
    shared: Vec<Shared>,
    zstd: Compressor<'static>,
    body: Vec<u8>,
    values: Vec<u32>,
}

impl Making {
    fn new(n: u64, hiding: &Hiding) -> Result<Making, Box<dyn std::error::Error>> {
        let schema = schema();
        let descr = ArrowSchemaConverter::new().convert(&schema)?;
        let column = |name: &str| {
            let place = NAMES.iter().position(|own| *own == name).expect("a column");
            descr.column(place)
        };
        let shared = NAMES.iter().enumerate();
        let shared = shared.filter(|(_, name)| matches!(holds(name), Holds::Names | Holds::Bools));
        Ok(Making {
            rows: Rows::new(n, hiding.hidden()),
            times: Vec::new(),
            paged: 0,
            kinds: Vec::with_capacity(PAGE_ROWS),
            time: Chunk::new(column("time"), Encoding::DELTA_BINARY_PACKED, true),
            took: Plain {
                chunk: Chunk::new(column("took_ns"), Encoding::PLAIN, true),
                values: Vec::with_capacity(4 * PAGE_ROWS),
            },
            numbers: ["calling", "presentation", "called", "redirecting"]
                .map(|name| Texts::of(&column(name))),
            call_id: Texts::of(&column("call_id")),
            shared: shared.map(|(place, name)| Shared::of(place, &column(name))).collect(),
            zstd: Compressor::new(LEVEL)?,
            body: Vec::new(),
            values: Vec::new(),
            schema,
            descr,
        })
    }

    #[inline]
    fn push(
        &mut self,
        record: &Record,
        trunk_name: &mut dyn FnMut(&Record) -> Arc<str>,
    ) -> std::io::Result<()> {
        let laid = self.rows.lay(record, trunk_name);
        self.kinds.push(laid.kind);
        self.times.push(record.call.time_ms);
        self.took.values.extend_from_slice(&record.took_ns.to_le_bytes());
        for (column, number) in self.numbers.iter_mut().zip(&laid.numbers) {
            column.push_number(number);
        }
        self.call_id.push::<CALL_ID_LEN>(laid.call_id, laid.call_id_len);
        match self.kinds.len() == PAGE_ROWS {
            true => self.end_page(),
            false => Ok(()),
        }
    }

    fn end_page(&mut self) -> std::io::Result<()> {
        let rows = self.kinds.len();
        if rows == 0 {
            return Ok(());
        }
        let (body, zstd) = (&mut self.body, &mut self.zstd);
        body.clear();
        pages::deltas(&self.times[self.paged..], body);
        self.paged = self.times.len();
        self.time.page(body, rows, None, zstd)?;
        self.took.chunk.page(&self.took.values, rows, None, zstd)?;
        self.took.values.clear();
        for texts in self.numbers.iter_mut().chain([&mut self.call_id]) {
            texts.end_page(body, zstd)?;
            give_way();
        }
        for shared in &mut self.shared {
            shared.learn(&self.rows);
            shared.end_page(&self.kinds, &mut self.values, body, zstd)?;
            give_way();
        }
        self.kinds.clear();
        Ok(())
    }

    fn finish(mut self, n: u64, hiding: &Hiding) -> Result<(Vec<u8>, Sealed), Box<dyn std::error::Error>> {
        self.end_page()?;
        let records = self.times.len() as u64;
        let (first_ms, last_ms) = (self.times.iter().copied().min(), self.times.iter().copied().max());
        let mut zstd = self.zstd;
        // Noise: compressing it only costs time.
        let mut check = Chunk::new(self.descr.column(NAMES.len()), Encoding::PLAIN, false);
        let (checks, digests) = self.rows.finish();
        for page in checks.chunks(PAGE_ROWS) {
            let bytes: Vec<u8> = page.iter().flat_map(|check| check.to_le_bytes()).collect();
            check.page(&bytes, page.len(), None, &mut zstd)?;
        }
        let times = Statistics::int64(first_ms, last_ms, None, Some(0), false);
        let mut columns: Vec<Option<(Bytes, _)>> = (0..=NAMES.len()).map(|_| None).collect();
        let place = |name: &str| NAMES.iter().position(|own| *own == name).expect("a column");
        columns[place("time")] = Some(self.time.close(None, Some(times), &mut zstd)?);
        columns[place("took_ns")] = Some(self.took.chunk.close(None, None, &mut zstd)?);
        columns[place("call_id")] = Some(self.call_id.chunk.close(None, None, &mut zstd)?);
        for (n, texts) in self.numbers.into_iter().enumerate() {
            columns[place("calling") + n] = Some(texts.chunk.close(None, None, &mut zstd)?);
        }
        for shared in self.shared {
            let names = (shared.dictionary.as_slice(), shared.places.len());
            let dictionary = (shared.chunk.encoding() != Encoding::PLAIN).then_some(names);
            columns[shared.place] = Some(shared.chunk.close(dictionary, None, &mut zstd)?);
        }
        columns[NAMES.len()] = Some(check.close(None, None, &mut zstd)?);

        let mut properties = WriterProperties::builder()
            .set_created_by("qalqan".to_owned())
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .build();
        add_encoded_arrow_schema_to_metadata(&self.schema, &mut properties);
        let room = columns.iter().flatten().map(|(bytes, _)| bytes.len()).sum::<usize>() + (64 << 10);
        let file = Vec::with_capacity(room);
        let mut writer = SerializedFileWriter::new(file, self.descr.root_schema_ptr(), Arc::new(properties))?;
        if records > 0 {
            let mut group = writer.next_row_group()?;
            for (bytes, close) in columns.into_iter().map(|column| column.expect("made above")) {
                group.append_column(&bytes, close)?;
                give_way();
            }
            group.close()?;
        }
        let bytes = writer.into_inner()?;
        let is_hidden = hiding.numbers != Numbers::Clear;
        let sealed = Sealed {
            file: shelf::name(n, "parquet"),
            sha256: file_hash(&bytes),
            bytes: bytes.len() as u64,
            records,
            first_ms,
            last_ms,
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
}

#[cfg(test)]
mod tests;
