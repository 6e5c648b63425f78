//! `qalqan hunt RECORDS…`: call centres and SIM boxes by named signals, ranked, with reasons.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use hunting::{Cluster, Given, Sieve, Signal, Suspect};
use numbering::Number;
use serde::Serialize;

use super::calls::{Found, Source, mapping};
use crate::config::{self, Origin, explain_io};
use crate::progress::Bar;
use crate::records::parse_time;
use crate::store::now_ms;

#[derive(Args)]
pub struct RecordsArgs {
    /// Call records: CSV or Parquet with calling, called and start, and as many of duration, answered, cause, trunk, imei, imsi and
    /// cell as there are
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// Only calls from then on: 2026-03-02T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The thresholds and the plan: [hunting] of this file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A column that has another name in the files
    #[arg(long, value_name = "THEIRS=OURS")]
    map: Vec<String>,
    /// How many clusters are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Where all clusters go, with whole numbers: JSON lines, one a cluster
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Bytes that the counting of the first reading takes at most.
const MOST_COUNTERS: usize = 1 << 28;
/// What columns give which signals.
const GIVEN_BY: [(&str, &[Signal]); 4] = [
    ("cell", &[Signal::OnePlace, Signal::SamePauses]),
    ("imei", &[Signal::ManySims]),
    ("imsi", &[Signal::ManySims]),
    ("duration", &[Signal::ShortOrLong]),
];

pub fn hunt(args: &RecordsArgs, out: &mut impl Write) -> Result<(), String> {
    let origin = Origin::find(args.config.clone());
    let (plan, settings) = config::load_hunting(&origin).map_err(|faults| faults.to_string())?;
    let since = args.since.as_deref().map(|text| parse_time(text).ok_or(text)).transpose();
    let since_ms =
        since.map_err(|text| format!("--since {text}: is no time, such as 2026-03-02T12:00:00Z"))?;
    let map = mapping(&args.map)?;
    let source = Source { files: &args.records, map: &map, plan: &plan, since_ms, now_ms: now_ms() };
    let counters = source.guess()?.saturating_mul(2).min(MOST_COUNTERS);
    let offset_ms = i64::from(settings.utc_offset_min) * 60_000;
    let mut sieve = Sieve::new(&settings.thresholds, offset_ms, counters);
    let mut bar = Bar::on_terminal();
    let found = source.read_beside(&mut bar, |record| sieve.see(record))?;
    tell(&found);
    if found.records == 0 {
        return Err("no call to look at".to_owned());
    }
    let mut closer = sieve.closer();
    source.read_beside(&mut bar, |record| closer.see(record))?;
    bar.clear();
    let repeated = closer.repeated;
    if repeated > 0 {
        eprintln!("qalqan: {repeated} calls of those looked at closer came twice, and count once");
    }
    let behaviours = closer.behaviours();
    let looked_at = behaviours.len();
    let clusters = hunting::hunt(behaviours, &settings.thresholds);
    if let Some(path) = &args.out {
        write_lines(&clusters, path)
            .map_err(|error| format!("{}: {}", path.display(), explain_io(&error)))?;
    }
    print(&clusters, args.top, out).map_err(|error| error.to_string())?;
    let alarms: usize = clusters.iter().map(Cluster::alarms).sum();
    writeln!(
        out,
        "{} calls, {looked_at} numbers looked at closer, {alarms} alarms in {} clusters",
        found.records,
        clusters.len()
    )
    .map_err(|error| error.to_string())
}

/// What is not as it should be, on standard error.
fn tell(found: &Found) {
    for (rows, what) in [
        (found.future, "start in the future or at no time that can be read, and are left out"),
        (found.without_number, "have no number calling or called, and are left out"),
        (found.earlier, "are older than --since"),
    ] {
        if rows > 0 {
            eprintln!("qalqan: {rows} records {what}");
        }
    }
    for (column, signals) in GIVEN_BY {
        if found.missing.contains(&column) {
            let names: Vec<&str> = signals.iter().map(|signal| signal.name()).collect();
            eprintln!("qalqan: no column {column}: without it there is no {}", names.join(", "));
        }
    }
    if ["answered", "cause", "duration"].iter().all(|column| found.missing.contains(column)) {
        eprintln!("qalqan: no column answered, cause or duration: without one there is no unanswered");
    }
}

fn number(digits: u64) -> Option<Number> {
    Number::from_digits(digits.to_string().as_bytes()).ok()
}

/// A signal as people read it.
fn worded(given: &Given) -> String {
    let figure = |value: f64| match value.fract() == 0.0 {
        true => format!("{value}"),
        false => format!("{value:.2}"),
    };
    format!("{} {} ({})", given.signal.name(), figure(given.figure), figure(given.threshold))
}

fn print(clusters: &[Cluster], top: usize, out: &mut impl Write) -> std::io::Result<()> {
    for (n, cluster) in clusters.iter().take(top).enumerate() {
        let ties: Vec<String> = cluster.ties.iter().map(name_of).collect();
        let ties = if ties.is_empty() { String::new() } else { format!(", tied by {}", ties.join(", ")) };
        writeln!(
            out,
            "{:>3}. {} numbers, {} alarms, {} kinds of evidence{ties}",
            n + 1,
            cluster.suspects.len(),
            cluster.alarms(),
            cluster.evidence
        )?;
        for suspect in cluster.suspects.iter().take(3) {
            let signals: Vec<String> = suspect.signals.iter().map(worded).collect();
            let shown = number(suspect.behaviour.number).map(|number| number.to_string()).unwrap_or_default();
            writeln!(out, "     {shown}  {} calls  {}", suspect.behaviour.outgoing, signals.join(", "))?;
        }
        if cluster.suspects.len() > 3 {
            writeln!(out, "     and {} more", cluster.suspects.len() - 3)?;
        }
    }
    if clusters.len() > top {
        writeln!(out, "     and {} more clusters: --out has all, --top N shows more", clusters.len() - top)?;
    }
    Ok(())
}

/// An enum as JSON names it.
fn name_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[derive(Serialize)]
struct ClusterLine<'c> {
    cluster: usize,
    evidence: usize,
    alarms: usize,
    ties: &'c std::collections::BTreeSet<hunting::Tie>,
    numbers: Vec<SuspectLine<'c>>,
}

#[derive(Serialize)]
struct SuspectLine<'c> {
    number: String,
    is_alarm: bool,
    evidence: usize,
    /// The busiest 24 h.
    day: String,
    outgoing: u32,
    incoming: u32,
    answered: u32,
    signals: &'c [Given],
}

impl<'c> SuspectLine<'c> {
    fn of(suspect: &'c Suspect) -> SuspectLine<'c> {
        let behaviour = &suspect.behaviour;
        let day = jiff::Timestamp::from_second(behaviour.day * 86_400).unwrap_or_default();
        SuspectLine {
            number: format!("+{}", behaviour.number),
            is_alarm: suspect.is_alarm,
            evidence: suspect.evidence,
            day: day.strftime("%Y-%m-%d").to_string(),
            outgoing: behaviour.outgoing,
            incoming: behaviour.incoming,
            answered: behaviour.answered,
            signals: &suspect.signals,
        }
    }
}

/// Whole or not at all, and nobody else's to read: it has numbers.
fn write_lines(clusters: &[Cluster], path: &Path) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    let mut file = BufWriter::new(file);
    for (n, cluster) in clusters.iter().enumerate() {
        let line = ClusterLine {
            cluster: n + 1,
            evidence: cluster.evidence,
            alarms: cluster.alarms(),
            ties: &cluster.ties,
            numbers: cluster.suspects.iter().map(SuspectLine::of).collect(),
        };
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(part, path)
}
