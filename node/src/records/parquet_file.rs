//! Recorded calls and verdicts in Parquet.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use arrow_array::builder::{StringBuilder, StringDictionaryBuilder, UInt64Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt64Type,
};
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use call::Verdict;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rules::{Language, reason_in_words};

use super::{Mapping, Progress, Recording, Row, time};
use crate::config::explain_io;

const ROWS: usize = 8192;
const BATCHES_AHEAD: usize = 2;
/// The thread that reads: where it stumbles over a broken file, an error in words is all that is to be said.
pub const READER: &str = "parquet-read";

pub fn read<Trunk: Copy>(
    recording: Recording,
    mapping: &Mapping,
    progress: &mut dyn Progress,
    trunk: impl Fn(&str) -> Result<Trunk, String>,
    mut each: impl FnMut(Row<Trunk>) -> Result<(), String>,
) -> Result<(), String> {
    if recording.length == 0 {
        return Err("the file is empty: no Parquet".to_owned());
    }
    let broken = |error: String| format!("not a whole Parquet file: {}", error.replace('\n', " "));
    let options = ArrowReaderOptions::new();
    let metadata = ArrowReaderMetadata::load(&recording.file, options.clone())
        .map_err(|error| broken(error.to_string()))?;
    let fields = metadata.schema().fields();
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    let places = mapping.places(&names)?;
    let schema = Schema::new(
        fields.iter().enumerate().map(|(index, field)| as_read(field, index, &places)).collect::<Vec<_>>(),
    );
    let metadata =
        ArrowReaderMetadata::try_new(metadata.metadata().clone(), options.with_schema(Arc::new(schema)))
            .map_err(|error| broken(error.to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(recording.file, metadata);
    progress.total(builder.metadata().file_metadata().num_rows().max(0) as u64);
    let mut wanted: Vec<usize> = places.iter().flatten().copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let projection = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
    let reader = builder.with_projection(projection).with_batch_size(ROWS);
    let reader = reader.build().map_err(|error| broken(error.to_string()))?;

    // One thread reads ahead while this one hands rows over.
    std::thread::scope(|scope| {
        let (send, batches) = mpsc::sync_channel(BATCHES_AHEAD);
        let read = move || {
            // The library stumbles over some files that are broken in the middle: an error like others.
            catch_unwind(AssertUnwindSafe(|| reader.into_iter().try_for_each(|batch| send.send(batch))))
        };
        let reading = thread::Builder::new().name(READER.to_owned()).spawn_scoped(scope, read);
        let reading = reading.map_err(|error| format!("no thread to read with: {error}"))?;
        let mut rows = 0u64;
        for batch in &batches {
            let batch = batch.map_err(|error| broken(error.to_string()))?;
            let column = |place: usize| -> (&str, &ArrayRef) {
                let index = wanted.iter().position(|&wanted| wanted == place).expect("projected");
                (&names[place], batch.column(index))
            };
            let (name, array) = column(places[0].expect("time cannot be left out"));
            let times = times(name, array)?;
            let (name, array) = column(places[1].expect("trunk cannot be left out"));
            let mut trunks = Trunks::of(name, array)?;
            let mut texts = [Texts(None), Texts(None), Texts(None), Texts(None)];
            for (texts, place) in texts.iter_mut().zip(&places[2..]) {
                if let Some(place) = place {
                    let (name, array) = column(*place);
                    *texts = Texts::of(name, array)?;
                }
            }
            let [calling, presentation, called, redirecting] = &texts;
            for (index, time) in times.into_iter().enumerate() {
                let at_row = |what: String| format!("row {}: {what}", rows + index as u64 + 1);
                let time_ms = time.ok_or_else(|| at_row("no time, or none that can be read".to_owned()))?;
                each(Row {
                    time_ms,
                    trunk: trunks.get(index, &trunk).map_err(at_row)?,
                    calling: calling.get(index),
                    presentation: presentation.get(index),
                    called: called.get(index),
                    redirecting: redirecting.get(index),
                })
                .map_err(at_row)?;
            }
            rows += batch.num_rows() as u64;
            progress.done(rows);
        }
        match reading.join() {
            Ok(Ok(_)) => Ok(()),
            _ => Err(broken("a page that cannot be read".to_owned())),
        }
    })
}

/// In what form a column is read: names of trunks as a dictionary, other texts one after the other.
fn as_read(field: &Arc<Field>, index: usize, places: &[Option<usize>; 6]) -> Arc<Field> {
    let is_text =
        |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let holds_text = match field.data_type() {
        DataType::Dictionary(_, value) => is_text(value),
        other => is_text(other),
    };
    if !holds_text || !places.contains(&Some(index)) {
        return field.clone();
    }
    let read = match places[1] == Some(index) {
        true => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        false => DataType::Utf8,
    };
    Arc::new(field.as_ref().clone().with_data_type(read))
}

/// The trunks of a batch: each name of its dictionary is looked up once.
struct Trunks<'a, Trunk> {
    keys: Option<&'a Int32Array>,
    names: Texts,
    known: Vec<Option<Trunk>>,
}

impl<'a, Trunk: Copy> Trunks<'a, Trunk> {
    fn of(name: &str, array: &'a ArrayRef) -> Result<Trunks<'a, Trunk>, String> {
        let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() else {
            return Ok(Trunks { keys: None, names: Texts::of(name, array)?, known: Vec::new() });
        };
        let names = Texts::of(name, dictionary.values())?;
        Ok(Trunks { keys: Some(dictionary.keys()), names, known: vec![None; dictionary.values().len()] })
    }

    #[inline]
    fn get(&mut self, index: usize, find: impl Fn(&str) -> Result<Trunk, String>) -> Result<Trunk, String> {
        let Some(keys) = self.keys else { return find(self.names.get(index)) };
        if keys.is_null(index) {
            return find("");
        }
        let key = keys.value(index) as usize;
        if let Some(trunk) = self.known[key] {
            return Ok(trunk);
        }
        let trunk = find(self.names.get(key))?;
        self.known[key] = Some(trunk);
        Ok(trunk)
    }
}

fn times(name: &str, array: &ArrayRef) -> Result<Vec<Option<i64>>, String> {
    macro_rules! scaled {
        ($type:ty, $scale:expr) => {
            array.as_primitive::<$type>().iter().map(|value| value.map($scale)).collect()
        };
    }
    Ok(match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => scaled!(TimestampMillisecondType, |ms| ms),
        DataType::Timestamp(TimeUnit::Microsecond, _) => scaled!(TimestampMicrosecondType, |us| us / 1000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => scaled!(TimestampNanosecondType, |ns| ns / 1_000_000),
        DataType::Timestamp(TimeUnit::Second, _) => scaled!(TimestampSecondType, |s| s * 1000),
        DataType::Int64 => scaled!(Int64Type, time::from_integer),
        _ => {
            let texts = Texts::of(name, array)?;
            (0..array.len()).map(|index| time::parse(texts.get(index))).collect()
        }
    })
}

/// A column of text; none: every row's is empty.
struct Texts(Option<StringArray>);

impl Texts {
    fn of(name: &str, array: &ArrayRef) -> Result<Texts, String> {
        Ok(Texts(match array.data_type() {
            DataType::Utf8 => Some(array.as_string().clone()),
            DataType::Null => None,
            // Numbers kept as numbers.
            DataType::Int64 => Some(rendered(array.as_primitive::<Int64Type>().iter())),
            DataType::UInt64 => Some(rendered(array.as_primitive::<UInt64Type>().iter())),
            other => return Err(format!("column \"{name}\" is of type {other}: text is expected")),
        }))
    }

    #[inline(always)]
    fn get(&self, index: usize) -> &str {
        match &self.0 {
            Some(array) if array.is_valid(index) => array.value(index),
            _ => "",
        }
    }
}

fn rendered<T: ToString>(values: impl Iterator<Item = Option<T>>) -> StringArray {
    values.map(|value| value.map(|value| value.to_string())).collect()
}

fn writer(path: &Path, schema: Arc<Schema>) -> Result<ArrowWriter<File>, String> {
    let file = File::create(path).map_err(|error| format!("{}: {}", path.display(), explain_io(&error)))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    ArrowWriter::try_new(file, schema, Some(properties)).map_err(|error| error.to_string())
}

fn text_field(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn name_field(name: &str) -> Field {
    Field::new_dictionary(name, DataType::Int32, DataType::Utf8, false)
}

type Names = StringDictionaryBuilder<Int32Type>;

/// Writes recorded calls with the columns that replay reads, and two that say the truth about each.
pub struct CallWriter {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    times: Vec<i64>,
    trunk: Names,
    texts: [StringBuilder; 4],
    story: Names,
    truth: Names,
}

impl CallWriter {
    pub fn create(path: &Path) -> Result<CallWriter, String> {
        let mut fields =
            vec![Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false)];
        fields.push(name_field("trunk"));
        fields.extend(COLUMNS_OF_TEXT.map(text_field));
        fields.extend(["story", "truth"].map(name_field));
        let schema = Arc::new(Schema::new(fields));
        Ok(CallWriter {
            writer: writer(path, schema.clone())?,
            schema,
            times: Vec::new(),
            trunk: Names::new(),
            texts: Default::default(),
            story: Names::new(),
            truth: Names::new(),
        })
    }

    pub fn write(&mut self, row: &Row, story: &str, truth: &str) -> Result<(), String> {
        self.times.push(row.time_ms);
        self.trunk.append_value(row.trunk);
        let texts = [row.calling, row.presentation, row.called, row.redirecting];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.append_value(text);
        }
        self.story.append_value(story);
        self.truth.append_value(truth);
        if self.times.len() == ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), String> {
        let times = TimestampMillisecondArray::from(std::mem::take(&mut self.times)).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(self.trunk.finish())];
        columns.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.story.finish()));
        columns.push(Arc::new(self.truth.finish()));
        write_batch(&mut self.writer, &self.schema, columns)
    }

    pub fn finish(mut self) -> Result<(), String> {
        self.flush()?;
        self.writer.close().map(|_| ()).map_err(|error| error.to_string())
    }
}

const COLUMNS_OF_TEXT: [&str; 4] = ["calling", "presentation", "called", "redirecting"];

/// Writes verdicts: the columns are the keys of the JSON lines.
pub struct VerdictWriter {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    language: Language,
    n: UInt64Builder,
    /// Packets of a capture.
    packet: Option<UInt64Builder>,
    names: [Names; 5],
    would: Names,
}

impl VerdictWriter {
    pub fn create(path: &Path, language: Language, has_packets: bool) -> Result<VerdictWriter, String> {
        let mut fields = vec![Field::new("n", DataType::UInt64, false)];
        fields.extend(has_packets.then(|| Field::new("packet", DataType::UInt64, true)));
        fields.extend(["verdict", "rule", "name", "reason", "label"].map(name_field));
        fields.push(name_field("would"));
        let schema = Arc::new(Schema::new(fields));
        Ok(VerdictWriter {
            writer: writer(path, schema.clone())?,
            schema,
            language,
            n: UInt64Builder::new(),
            packet: has_packets.then(UInt64Builder::new),
            names: Default::default(),
            would: Names::new(),
        })
    }

    pub fn write(&mut self, n: u64, packet: Option<u64>, verdict: &Verdict) -> Result<(), String> {
        self.n.append_value(n);
        if let Some(column) = &mut self.packet {
            column.append_option(packet);
        }
        let names = [
            verdict.treatment.name(),
            verdict.rule.id(),
            verdict.rule.name(),
            reason_in_words(self.language, verdict.reason),
            verdict.treatment.label().map_or("", |label| label.name()),
        ];
        for (column, name) in self.names.iter_mut().zip(names) {
            column.append_value(name);
        }
        self.would.append_value(verdict.would.map_or("", |would| would.rule.id()));
        if n.is_multiple_of(ROWS as u64) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), String> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.n.finish())];
        columns.extend(self.packet.as_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.names.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.would.finish()));
        write_batch(&mut self.writer, &self.schema, columns)
    }

    pub fn finish(mut self) -> Result<(), String> {
        self.flush()?;
        self.writer.close().map(|_| ()).map_err(|error| error.to_string())
    }
}

fn write_batch(
    writer: &mut ArrowWriter<File>,
    schema: &Arc<Schema>,
    columns: Vec<ArrayRef>,
) -> Result<(), String> {
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(|error| error.to_string())?;
    writer.write(&batch).map_err(|error| error.to_string())
}
