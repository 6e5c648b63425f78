//! Sifting call records by plans of Apache DataFusion, in this process or on a cluster of Apache DataFusion Ballista.
//!
//! One plan counts the calls of each number and day; another fetches the calls of those that are looked at closer. These few
//! are judged here, by the same code as without a cluster and with the same outcome.

mod functions;
pub(super) mod servers;

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, new_empty_array};
use arrow_schema::{DataType, Field, Schema};
use ballista::prelude::{SessionConfigExt, SessionContextExt};
use datafusion::common::Column as Name;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions_aggregate::expr_fn::{count, min, sum};
use datafusion::logical_expr::{Expr, col, lit, when};
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::calls::{CALLED, CALLING, Found, IMEI, Places, START, Source, at};
use super::fields::Column;
use crate::config::explain_io;
use crate::records::{Form, Recording};

/// What DataFusion may take in this process before it spills to disk, where nothing else is said.
pub const MEMORY: usize = 2 << 30;
/// The largest message of a cluster: a plan carries the numbers that are looked at closer, 16 bytes each or 32.
const MESSAGE: usize = 1 << 28;
/// Partitions of a plan on a cluster: as many cores can work on it.
const PARTITIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);
const DAY_MS: i64 = 86_400_000;
/// Days that are added so that none is negative, and dividing rounds all of them down.
const DAYS_BEFORE_1970: i64 = 1_000_000;
/// What a row is; all but the first are left out and counted.
const CALL: i64 = 0;
const FUTURE: i64 = 1;
const EARLIER: i64 = 2;
const WITHOUT_NUMBER: i64 = 3;
/// The column that is added to what is fetched: telephones of those who are looked at closer.
const TELEPHONE: &str = "qalqan telephone";

/// Where plans run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum On {
    Here,
    /// The scheduler of a cluster, `HOST:PORT`.
    Cluster(String),
}

impl FromStr for On {
    type Err = String;

    fn from_str(text: &str) -> Result<On, String> {
        match (text, text.strip_prefix("df://")) {
            ("datafusion", _) => Ok(On::Here),
            (_, Some(scheduler)) if has_port(scheduler) => Ok(On::Cluster(scheduler.to_owned())),
            _ => Err("write datafusion, or df://HOST:PORT of a scheduler".to_owned()),
        }
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// How it is sifted.
pub struct Sifting<'s> {
    pub on: &'s On,
    pub source: &'s Source<'s>,
    /// The text of the source's plan.
    pub plan: &'s str,
    pub offset_ms: i64,
    /// So many calls in 24 h are looked at closer.
    pub least: u32,
    /// Bytes that DataFusion may take in this process.
    pub memory: usize,
}

/// The calls of those who are looked at closer, a Parquet file for each that was sifted.
pub struct Sifted {
    pub paths: Vec<PathBuf>,
    /// Of all records.
    pub found: Found,
    /// Files in memory, which are there as long as they are open.
    _files: Vec<File>,
}

/// A file as DataFusion sees it.
struct Table<'s> {
    path: &'s Path,
    frame: DataFrame,
    names: Vec<String>,
    places: Places,
}

impl Table<'_> {
    fn field(&self, place: usize) -> Option<Expr> {
        self.places.0[place].map(|at| Expr::Column(Name::new_unqualified(&self.names[at])))
    }

    fn needed(&self, place: usize) -> Expr {
        self.field(place).expect("a file without it is refused")
    }
}

pub fn sift(sifting: &Sifting) -> Result<Sifted, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(sifting.run())
}

impl Sifting<'_> {
    async fn run(&self) -> Result<Sifted, String> {
        let context = self.context().await?;
        let sifted = self.sift(&context).await;
        match self.on {
            // What broke off says no more than that it broke off.
            On::Cluster(scheduler) if sifted.is_err() && status(scheduler).await?.is_none() => Err(format!(
                "df://{scheduler}: the scheduler went away during the hunt: start it again, and hunt anew"
            )),
            _ => sifted,
        }
    }

    async fn sift(&self, context: &SessionContext) -> Result<Sifted, String> {
        let mut tables = Vec::new();
        for path in self.source.files {
            tables.push(self.table(context, path).await.map_err(|what| at(path, what))?);
        }
        let (numbers, first_ms, found) = self.count(&tables).await?;
        let numbers_packed = functions::packed(&numbers);
        let wanted = |table: &Table| {
            let is_one = |place| functions::is_among(self.number(table, place), &numbers_packed);
            // The first call of all tells since when numbers can be known.
            let is_first = functions::start_of(table.needed(START)).eq(lit(first_ms));
            is_one(CALLING).or(is_one(CALLED)).or(is_first)
        };
        let mut telephones = HashSet::new();
        let mut sifted = Sifted { paths: Vec::new(), found, _files: Vec::new() };
        let mut writers = Vec::new();
        for table in &tables {
            let telephone = match table.field(IMEI) {
                Some(imei) => {
                    let is_one = functions::is_among(self.number(table, CALLING), &numbers_packed);
                    when(is_one, functions::telephone_of(imei)).end().map_err(|error| self.told(error))?
                }
                None => lit(datafusion::common::ScalarValue::UInt64(None)),
            };
            let file = memory().map_err(|error| explain_io(&error))?;
            sifted.paths.push(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
            let mut writer = self.writer(table, file.try_clone().map_err(|error| explain_io(&error))?)?;
            sifted._files.push(file);
            self.fetch(table, wanted(table), telephone, &mut writer, &mut telephones).await?;
            writers.push(writer);
        }
        let telephones_packed = functions::packed(&telephones);
        for (table, writer) in tables.iter().zip(&mut writers) {
            // Whose SIMs were in those telephones besides.
            if let Some(imei) = table.field(IMEI).filter(|_| !telephones.is_empty()) {
                let is_one = functions::is_among(functions::telephone_of(imei), &telephones_packed);
                let none = lit(datafusion::common::ScalarValue::UInt64(None));
                let rest = is_one.and(Expr::Not(Box::new(wanted(table))));
                self.fetch(table, rest, none, writer, &mut HashSet::new()).await?;
            }
        }
        for writer in writers {
            writer.close().map_err(|error| error.to_string())?;
        }
        Ok(sifted)
    }

    async fn context(&self) -> Result<SessionContext, String> {
        let options = |config: SessionConfig| {
            config.set_bool("datafusion.execution.parquet.schema_force_view_types", false)
        };
        let On::Cluster(scheduler) = self.on else {
            let runtime =
                RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(self.memory)));
            let runtime = runtime.build_arc().map_err(|error| self.told(error))?;
            return Ok(SessionContext::new_with_config_rt(options(SessionConfig::new()), runtime));
        };
        ready(scheduler).await?;
        let config = options(SessionConfig::new_with_ballista())
            .with_target_partitions(PARTITIONS)
            .with_ballista_job_name("qalqan hunt")
            .with_ballista_grpc_client_max_message_size(MESSAGE);
        let state = SessionStateBuilder::new().with_default_features().with_config(config).build();
        let url = format!("df://{scheduler}");
        SessionContext::remote_with_state(&url, state).await.map_err(|error| self.told(error))
    }

    async fn table<'s>(&self, context: &SessionContext, path: &'s Path) -> Result<Table<'s>, String> {
        let recording = Recording::open(path)?;
        let whole = path.canonicalize().map_err(|error| explain_io(&error))?;
        let url = reqwest::Url::from_file_path(&whole).map_err(|()| "has no path".to_owned())?;
        let frame = match recording.form {
            Form::Parquet => {
                let options = ParquetReadOptions::default().file_extension("");
                context.read_parquet(url.as_str(), options).await
            }
            Form::Csv => {
                let mut reader = csv::Reader::from_reader(recording.reader());
                let header = reader.byte_headers().map_err(|error| error.to_string())?;
                let texts = header.iter().map(|name| {
                    let name = String::from_utf8_lossy(name);
                    Field::new(name.trim_start_matches('\u{feff}').trim(), DataType::Utf8, true)
                });
                let schema = Schema::new(texts.collect::<Vec<_>>());
                let options = CsvReadOptions::new().schema(&schema).file_extension("");
                context.read_csv(url.as_str(), options).await
            }
            Form::Capture => return Err("a capture has packets, not call records".to_owned()),
        };
        let frame = frame.map_err(|error| self.told(error))?;
        let fields = frame.schema().fields().clone();
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let places = self.source.places(&names)?;
        if let Some(at) = (places.0.iter().flatten())
            .find(|at| Column::of(&new_empty_array(fields[**at].data_type())).is_none())
        {
            return Err(format!("column \"{}\" holds neither texts nor numbers nor times", names[*at]));
        }
        Ok(Table { path, frame, names, places })
    }

    fn number(&self, table: &Table, place: usize) -> Expr {
        functions::number_of(self.plan, table.needed(place))
    }

    /// Who makes so many calls in a day that it is worth looking closer, the first call of all, and what there is.
    async fn count(&self, tables: &[Table<'_>]) -> Result<(HashSet<u64>, i64, Found), String> {
        let made = (|| {
            let mut calls: Option<DataFrame> = None;
            for table in tables {
                let part = table.frame.clone().select(vec![
                    self.number(table, CALLING).alias("calling"),
                    self.number(table, CALLED).alias("called"),
                    functions::start_of(table.needed(START)).alias("start"),
                ])?;
                calls = Some(match calls {
                    Some(calls) => calls.union(part)?,
                    None => part,
                });
            }
            let is_future = col("start").is_null().or(col("start").gt(lit(self.source.now_ms)));
            let is_earlier = col("start").lt(lit(self.source.since_ms.unwrap_or(i64::MIN)));
            let is_without = col("calling").is_null().or(col("called").is_null());
            let kind = when(is_future, lit(FUTURE))
                .when(is_earlier, lit(EARLIER))
                .when(is_without, lit(WITHOUT_NUMBER))
                .otherwise(lit(CALL))?;
            let day = (col("start") + lit(self.offset_ms + DAYS_BEFORE_1970 * DAY_MS)) / lit(DAY_MS);
            let is_call = || col("kind").eq(lit(CALL));
            calls
                .expect("a file is asked for")
                .select(vec![kind.alias("kind"), col("calling"), col("start"), day.alias("day")])?
                .select(vec![
                    col("kind"),
                    when(is_call(), col("calling")).end()?.alias("calling"),
                    when(is_call(), col("day")).end()?.alias("day"),
                    col("start"),
                ])?
                .aggregate(
                    vec![col("kind"), col("calling"), col("day")],
                    vec![count(lit(1i64)).alias("calls"), min(col("start")).alias("first")],
                )?
                .select(vec![
                    col("kind"),
                    when(col("calls").gt_eq(lit(i64::from(self.least))), col("calling"))
                        .end()?
                        .alias("calling"),
                    col("calls"),
                    col("first"),
                ])?
                .aggregate(
                    vec![col("kind"), col("calling")],
                    vec![sum(col("calls")).alias("calls"), min(col("first")).alias("first")],
                )
        })();
        let wrong = |error| match tables {
            [table] => at(table.path, self.told(error)),
            _ => self.told(error),
        };
        let counted = made.map_err(wrong)?.collect().await;
        let (mut numbers, mut found, mut first_ms) = (HashSet::new(), Found::default(), i64::MAX);
        for batch in counted.map_err(wrong)? {
            let kinds = batch.column(0).as_primitive::<Int64Type>();
            let calling = batch.column(1).as_primitive::<UInt64Type>();
            let calls = batch.column(2).as_primitive::<Int64Type>();
            let first = batch.column(3).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let of_kind = match kinds.value(row) {
                    CALL => &mut found.records,
                    FUTURE => &mut found.future,
                    EARLIER => &mut found.earlier,
                    _ => &mut found.without_number,
                };
                *of_kind += calls.value(row) as u64;
                if kinds.value(row) == CALL {
                    first_ms = first_ms.min(first.value(row));
                    numbers.extend(calling.is_valid(row).then(|| calling.value(row)));
                }
            }
        }
        Ok((numbers, first_ms, found))
    }

    fn writer(&self, table: &Table, file: File) -> Result<ArrowWriter<File>, String> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        // Names that were kept once come back as plain texts.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let fields = table.wanted().map(|at| table.frame.schema().field(at).clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        ArrowWriter::try_new_with_options(file, schema, options).map_err(|error| at(table.path, error))
    }

    /// Takes the rows that are wanted, as they stand.
    async fn fetch(
        &self,
        table: &Table<'_>,
        wanted: Expr,
        telephone: Expr,
        writer: &mut ArrowWriter<File>,
        telephones: &mut HashSet<u64>,
    ) -> Result<(), String> {
        let wrong = |error| at(table.path, self.told(error));
        let columns = table.wanted().map(|at| Expr::Column(Name::new_unqualified(&table.names[at])));
        let columns: Vec<Expr> = columns.chain([telephone.alias(TELEPHONE)]).collect();
        let rows = table.frame.clone().filter(wanted).and_then(|rows| rows.select(columns));
        let mut rows = rows.map_err(wrong)?.execute_stream().await.map_err(wrong)?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(wrong)?;
            let last = batch.num_columns() - 1;
            telephones.extend(batch.column(last).as_primitive::<UInt64Type>().iter().flatten());
            let written = batch.project(&(0..last).collect::<Vec<_>>()).map_err(|error| error.to_string());
            written.and_then(|batch| writer.write(&batch).map_err(|error| error.to_string()))?;
        }
        Ok(())
    }

    /// An error of DataFusion in one line.
    fn told(&self, error: DataFusionError) -> String {
        let what = error.strip_backtrace();
        let what: Vec<&str> = what.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut what = what.join(" ");
        const MOST: usize = 400;
        if let Some((end, _)) = what.char_indices().nth(MOST) {
            what.truncate(end);
            what.push('…');
        }
        match self.on {
            On::Here => what,
            On::Cluster(scheduler) => format!("df://{scheduler}: {what}"),
        }
    }
}

impl Table<'_> {
    /// Where columns are that mean something, in the file's order.
    fn wanted(&self) -> impl Iterator<Item = usize> {
        let mut wanted: Vec<usize> = self.places.0.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.into_iter()
    }
}

/// A file in memory alone: what is sifted are calls of people, and no disk sees them here.
fn memory() -> std::io::Result<File> {
    // SAFETY: the name ends with a zero, and a descriptor that is given out is nobody else's.
    unsafe {
        match libc::memfd_create(c"qalqan hunt".as_ptr(), libc::MFD_CLOEXEC) {
            descriptor @ 0.. => Ok(File::from_raw_fd(descriptor)),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

/// A cluster is asked for nothing before it has an executor: what is asked would wait unheard.
async fn ready(scheduler: &str) -> Result<(), String> {
    match status(scheduler).await? {
        Some(200) => Ok(()),
        Some(503) => Err(format!(
            "df://{scheduler}: too few executors: start more with qalqan hunt executor --scheduler {scheduler}"
        )),
        Some(_) => Err(format!("df://{scheduler}: is no scheduler of qalqan hunt")),
        None => Err(format!(
            "df://{scheduler}: no scheduler answers: start one with qalqan hunt scheduler --listen {scheduler}"
        )),
    }
}

/// What it says of itself; none: nobody answers.
async fn status(scheduler: &str) -> Result<Option<u16>, String> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let client = client.map_err(|error| error.to_string())?;
    let answer = client.get(format!("http://{scheduler}/readyz")).send().await;
    Ok(answer.ok().map(|answer| answer.status().as_u16()))
}
