//! `qalqan hunt RECORDS…`: call centres and SIM boxes by named signals, ranked, with reasons.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use hunting::{Cluster, Given, Sieve, Signal};
use journal::NumbersKey;
use numbering::Number;
use serde_json::json;

use super::calls::{Found, Look, Source, mapping};
use super::cluster::{MEMORY, On, Sifting, sift};
use super::found::{self, name_of};
use crate::config::{self, Origin, explain_io};
use crate::progress::Bar;
use crate::query;
use crate::records::parse_time;
use crate::store::keys::Keys;
use crate::store::now_ms;

#[derive(Args)]
pub struct RecordsArgs {
    /// Call records: CSV or Parquet with calling, called and start, and as many of duration, answered, cause, trunk, imei, imsi and
    /// cell as there are; or the directory of a journal, in which the look is written down
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// Only calls from then on: 2026-03-02T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The thresholds and the plan: [hunting] of this file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the keys that open a journal's numbers [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// A column that has another name in the files
    #[arg(long, value_name = "THEIRS=OURS")]
    map: Vec<String>,
    /// How many clusters are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Where all clusters go, with whole numbers: FILE.parquet has a row a number, any other name JSON lines, one a cluster
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sift the records with Apache DataFusion: datafusion for in this process, df://HOST:PORT for a cluster's scheduler
    #[arg(long, value_name = "WHERE")]
    on: Option<On>,
    /// What --on datafusion may take, MB, before it spills to the temporary directory [default: 2048]
    #[arg(long, value_name = "MB", requires = "on", value_parser = clap::value_parser!(u64).range(16..=1 << 20))]
    memory: Option<u64>,
}

/// Bytes that the counting of the first reading takes at most.
const MOST_COUNTERS: usize = 1 << 28;
/// What columns give which signals.
const GIVEN_BY: [(&str, &[Signal]); 5] = [
    ("cell", &[Signal::OnePlace, Signal::CrowdedPlace]),
    ("trunk", &[Signal::SamePool]),
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
    if let Some(directory) = args.records.iter().find(|path| args.on.is_some() && path.is_dir()) {
        let shown = directory.display();
        return Err(format!("{shown}: is a directory: journals are hunted in without --on"));
    }
    if args.memory.is_some() && matches!(args.on, Some(On::Cluster(_))) {
        return Err("--memory: is for --on datafusion; an executor of a cluster has its own".to_owned());
    }
    let keys = keys(args, &origin)?;
    // Beside the reading: what one has read of a file the other finds in memory.
    let hashes = args.out.clone().map(|out| {
        let records = args.records.clone();
        std::thread::spawn(move || found::hashes(&records, &out))
    });
    let source = Source {
        files: &args.records,
        keys: Some(&keys),
        map: &map,
        plan: &plan,
        since_ms,
        now_ms: now_ms(),
    };
    let offset_ms = i64::from(settings.utc_offset_min) * 60_000;
    let sifted = match &args.on {
        Some(on) => {
            let text = config::plan_text(&origin).map_err(|faults| faults.to_string())?;
            let least = settings.thresholds.looked_at.min(255);
            let memory = args.memory.map_or(MEMORY, |mb| (mb as usize) << 20);
            Some(sift(&Sifting { on, source: &source, plan: &text, offset_ms, least, memory })?)
        }
        None => None,
    };
    // What a cluster fetched is read as any files are.
    let source = match &sifted {
        Some(sifted) => Source { files: &sifted.paths, ..source },
        None => source,
    };
    let counters = source.guess()?.saturating_mul(2).min(MOST_COUNTERS);
    let sieve = Sieve::new(&settings.thresholds, offset_ms, counters);
    let mut bar = Bar::on_terminal();
    let mut found = source.read(&mut bar, &Look::at_all(&["imei", "imsi"], &|record| sieve.see(record)))?;
    if let Some(sifted) = &sifted {
        found = Found { missing: found.missing, ..sifted.found.clone() };
    }
    tell(&found);
    if found.records == 0 {
        return Err("no call to look at".to_owned());
    }
    let closer = sieve.closer(&settings.thresholds);
    let concerns = |calling, called| closer.concerns(calling, called);
    let trunks = source.read(&mut bar, &Look::at_some(&concerns, &|record| closer.see(record)))?.trunks;
    bar.clear();
    let (behaviours, repeated) = closer.behaviours();
    if repeated > 0 {
        eprintln!("qalqan: {repeated} calls of those looked at closer came twice, and count once");
    }
    let looked_at = behaviours.len();
    let clusters = hunting::hunt(behaviours, &settings.thresholds);
    for directory in args.records.iter().filter(|path| path.is_dir()) {
        let look = json!({ "hunt": found.records, "revealed": args.out.is_some() });
        query::note(Some(directory), look).map_err(|error| {
            let shown = directory.display();
            format!("{shown}: this look cannot be written down, so nothing is shown: {}", explain_io(&error))
        })?;
    }
    if let (Some(path), Some(hashes)) = (&args.out, hashes) {
        let hashes = hashes.join().expect("no panic inside")?;
        found::write(&clusters, &trunks, &hashes, path)?;
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

/// The keys of journals, where one is read.
fn keys(args: &RecordsArgs, origin: &Origin) -> Result<Vec<NumbersKey>, String> {
    match &args.keys {
        Some(directory) => Keys::of_numbers_named(directory),
        None if args.records.iter().any(|path| path.is_dir()) => {
            let (journal, _) = config::load_journal(origin).map_err(|faults| faults.to_string())?;
            Keys::of_numbers(&journal.keys)
        }
        None => Ok(Vec::new()),
    }
}

/// What is not as it should be, on standard error.
fn tell(found: &Found) {
    for (rows, what) in [
        (found.future, "start in the future or at no time that can be read, and are left out"),
        (found.without_number, "have no number calling or called, and are left out"),
        (found.earlier, "are older than --since"),
        (found.forged, "were refused for a calling number that is not the caller's, and are left out"),
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
    let is_blind = |columns: &[&str]| columns.iter().all(|column| found.missing.contains(column));
    if is_blind(&["cell", "trunk"]) {
        eprintln!("qalqan: no column cell or trunk: without one there is no same-pauses");
    }
    if is_blind(&["answered", "cause", "duration"]) {
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
