//! `qalqan simulate`: the small country without sockets, every verdict held against the truth.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use call::TrunkId;
use clap::Args;
use rules::Language;
use screening::screen;
use simulator::{Checker, Country, Event, Row, STORIES};

use crate::config::explain_io;
use crate::progress::Bar;
use crate::records::{self, CallWriter, Progress};

#[derive(Args)]
pub struct SimulateArgs {
    /// The country and its calls follow from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many calls
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// How many calls a day of the country's clock carries
    #[arg(long, value_name = "N", default_value_t = simulator::CALLS_PER_DAY)]
    calls_per_day: u64,
    /// Write the calls, each with its story and its truth, as Parquet that replay reads
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Write the country's qalqan.toml and lists into this directory, for replay --config
    #[arg(long, value_name = "DIR")]
    country: Option<PathBuf>,
}

/// Screens the country's calls and prints what came of them; an error when a verdict was against the law.
pub fn simulate(args: &SimulateArgs, _language: Language, out: &mut impl Write) -> Result<(), String> {
    if args.calls_per_day == 0 {
        return Err("--calls-per-day 0: at least 1".to_owned());
    }
    let country = Country::new(args.seed);
    if let Some(directory) = &args.country {
        write_configuration(&country, directory)?;
    }
    let mut records = args.records.as_deref().map(CallWriter::create).transpose()?;
    let policy = country.policy();
    let mut traffic = country.traffic().calls_per_day(args.calls_per_day);
    let mut checker = Checker::new(country.seed);
    let mut event = Event::default();
    let mut bar = Bar::on_terminal();
    bar.total(args.calls);
    for n in 0..args.calls {
        traffic.next_into(&mut event);
        let call = policy.intake(event.time_ms, TrunkId(event.trunk as u16), &event.fields());
        checker.observe(&event, &screen(&policy, &call));
        if let Some(records) = &mut records {
            write(records, &country, &event)?;
        }
        if n.is_multiple_of(16_384) {
            bar.done(n);
        }
    }
    bar.clear();
    if let Some(records) = records {
        records.finish()?;
    }
    let report = checker.report();
    writeln!(out, "{report}").map_err(|error| error.to_string())?;
    match report.holds() {
        true => Ok(()),
        false => Err(format!("seed {}: {} verdicts against the law", args.seed, report.violation_count())),
    }
}

fn write(records: &mut CallWriter, country: &Country, event: &Event) -> Result<(), String> {
    let row = records::Row {
        time_ms: event.time_ms,
        trunk: country.trunks()[event.trunk].name.as_str(),
        calling: &event.calling,
        presentation: &event.presentation,
        called: &event.called,
        redirecting: &event.redirecting,
    };
    let story: &Row = &STORIES[event.truth.story as usize];
    records.write(&row, story.name, if event.truth.honest { "honest" } else { "attack" })
}

/// Writes what the country's operator would write: `qalqan.toml` and the lists it names.
pub fn write_configuration(country: &Country, directory: &Path) -> Result<(), String> {
    for (name, text) in country.configuration() {
        let path = directory.join(name);
        let wrong = |error: std::io::Error| format!("{}: {}", path.display(), explain_io(&error));
        fs::create_dir_all(path.parent().unwrap_or(directory)).map_err(wrong)?;
        fs::write(&path, text).map_err(wrong)?;
    }
    Ok(())
}
