//! `qalqan simulate`: the small country without sockets, every verdict held against the truth.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use call::TrunkId;
use clap::Args;
use rules::Language;
use screening::screen;
use simulator::{CallRecords, Checker, Country, Event, Role, Row, STORIES};

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
    /// Instead of screening, write call records for hunt, CSV: honest people, those who look like fraudsters, and fraudsters, one
    /// number in a thousand; the last column says the truth
    #[arg(long, value_name = "FILE", conflicts_with_all = ["records", "country"])]
    call_records: Option<PathBuf>,
    /// Numbers in the call records, at least 10,000
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    subscribers: u64,
    /// Days of call records
    #[arg(long, value_name = "N", default_value_t = 15)]
    days: u64,
}

/// The first day of call records: 2026-03-02.
const FIRST_DAY: u64 = 20_514;

fn write_call_records(args: &SimulateArgs, path: &Path, out: &mut impl Write) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{}: {}", path.display(), explain_io(&error));
    let records = CallRecords::new(args.seed, args.subscribers, FIRST_DAY);
    let roles: std::collections::HashMap<u64, Role> = records.truth().collect();
    let mut file = std::io::BufWriter::new(fs::File::create(path).map_err(wrong)?);
    writeln!(file, "calling,called,start,duration,answered,cause,trunk,imei,imsi,cell,truth")
        .map_err(wrong)?;
    let mut bar = Bar::on_terminal();
    bar.total(args.days);
    let (mut count, mut outcome) = (0u64, Ok(()));
    for day in 0..args.days {
        records.day(day, &mut |call| {
            let text = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
            let written = writeln!(
                file,
                "+{},+{},{},{},{},{},{},{},{},{},{}",
                call.calling,
                call.called,
                call.start_s,
                call.duration_s,
                u8::from(call.is_answered),
                call.cause,
                text(call.trunk.map(u64::from)),
                text(call.imei),
                text(call.imsi),
                text(call.cell.map(u64::from)),
                roles[&call.calling].name()
            );
            count += 1;
            if outcome.is_ok() {
                outcome = written;
            }
        });
        bar.done(day + 1);
    }
    bar.clear();
    outcome.and_then(|()| file.flush()).map_err(wrong)?;
    let bad = roles.values().filter(|role| role.is_bad()).count();
    let numbers = roles.len();
    writeln!(
        out,
        "{}: {count} calls of {} days, {numbers} numbers, {bad} of them bad",
        path.display(),
        args.days
    )
    .map_err(|error| error.to_string())
}

/// Screens the country's calls and prints what came of them; an error when a verdict was against the law.
pub fn simulate(args: &SimulateArgs, _language: Language, out: &mut impl Write) -> Result<(), String> {
    if let Some(path) = &args.call_records {
        return write_call_records(args, path, out);
    }
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
