//! `qalqan stats`: public numbers of a period out of the register and the journal.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use ::casework::{Figure, Measure};
use call::Treatment;
use clap::Args;
use qalqan::casework::{Statistics, Store, Wanted};
use qalqan::config::{self, Origin};
use qalqan::list_file::Untold;
use qalqan::query;
use rules::{Language, word};

use crate::journal_commands;

#[derive(Args)]
pub struct StatsArgs {
    /// The year, by the clock of `[hunting] utc-offset-min`
    #[arg(long, value_name = "YEAR", conflicts_with_all = ["from", "until"])]
    year: Option<String>,
    /// From this day on
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Before this day
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
    /// Facts of this region alone
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Facts of this type alone: bank-call
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Count from the first fact on, not only those of the period
    #[arg(long)]
    cumulative: bool,
    /// Years before that facts are compared with [default: 7]
    #[arg(long, value_name = "N")]
    years: Option<String>,
    /// Also calls and blocks, by reason, out of the journal: all of it is read
    #[arg(long)]
    calls: bool,
    /// Write all figures, each with its question, as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draw the years as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

impl StatsArgs {
    pub fn run(self, origin: &Origin, language: Option<Language>, out: &mut impl Write) -> Outcome {
        let StatsArgs { year, from, until, region, kind, cumulative, years, calls, csv, svg } = self;
        let days = (year.as_deref(), from.as_deref(), until.as_deref());
        let wanted = Wanted::read(days, (region.as_deref(), kind.as_deref()), cumulative, years.as_deref())?;
        if calls && (region.is_some() || kind.is_some()) {
            return Err("--calls: a call is of no region and no type: leave those out".into());
        }
        let setup = config::load(origin).map_err(|faults| faults.to_string())?;
        let language = language.unwrap_or(setup.language);
        let settings = setup.casework.ok_or_else(|| format!("{origin}: no [casework]"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut statistics = runtime
            .block_on(async { Store::open(&settings.store).await?.statistics(&settings, &wanted).await })?;
        if calls {
            statistics.figures.extend(judged(origin, &wanted, &settings.days.zone)?);
        }
        if let Some(path) = csv {
            write(&path, &statistics.csv())?;
        }
        if let Some(path) = svg {
            write(&path, &statistics.svg(language))?;
        }
        print(&statistics, language, out)?;
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {}", path.display(), config::explain_io(&error)))
}

/// What screening decided in the period, from the journal.
fn judged(
    origin: &Origin,
    wanted: &Wanted,
    zone: &jiff::tz::TimeZone,
) -> Result<Vec<Figure>, Box<dyn std::error::Error>> {
    let period = wanted.period;
    let at = |day: jiff::civil::Date| Ok::<_, jiff::Error>(day.to_zoned(zone.clone())?.timestamp());
    let from = if wanted.is_cumulative { None } else { Some(at(period.from)?) };
    let until = at(period.until)?;
    let (mut calls, mut blocks) = (0, BTreeMap::new());
    let bounds = (from.map(jiff::Timestamp::as_millisecond), until.as_millisecond());
    let mut count = |query::Found { verdict, .. }: &query::Found| {
        calls += 1;
        if verdict.treatment == Treatment::Block {
            *blocks.entry(verdict.reason.name()).or_default() += 1;
        }
    };
    query::calls(journal_commands::configured(origin)?, bounds, &mut Untold, &mut count)?;
    let which = from.map(|from| format!(" AND time >= '{from}'")).unwrap_or_default();
    let asked = |what: &str, more: &str| {
        format!("SELECT {what} FROM 'segments/*.parquet' WHERE time < '{until}'{which}{more}")
    };
    let figure = |measure, of: &str, value, query: &str| Figure {
        measure,
        of: of.to_owned(),
        period,
        value,
        query: query.to_owned(),
    };
    let blocked = asked("reason, COUNT(*)", " AND verdict = 'block' GROUP BY reason");
    let mut figures = vec![
        figure(Measure::Calls, "", calls, &asked("COUNT(*)", "")),
        figure(Measure::CallsBlocked, "", blocks.values().sum(), &blocked),
    ];
    figures
        .extend(blocks.iter().map(|(reason, count)| figure(Measure::CallsBlocked, reason, *count, &blocked)));
    Ok(figures)
}

/// What a figure is of, in words where there are some: reasons stand as the journal names them.
fn of_in_words(figure: &Figure, language: Language) -> String {
    let prefix = match figure.measure {
        Measure::CallsBlocked => return figure.of.clone(),
        Measure::PersonsBroughtToAccount => "person",
        Measure::Seizures => "item",
        Measure::Reports => "report",
        _ => "fact",
    };
    word(language, &format!("{prefix}-{}", figure.of)).to_owned()
}

fn print(statistics: &Statistics, language: Language, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}", statistics.wanted.title(language))?;
    for figure in &statistics.figures {
        match figure.of.as_str() {
            "" => {
                let name = word(language, &format!("stats-{}", figure.measure.name()));
                writeln!(out, "{name:<44}{:>20}", figure.shown())?;
            }
            _ => writeln!(out, "  {:<42}{:>20}", of_in_words(figure, language), figure.shown())?,
        }
    }
    if statistics.years.len() > 1 {
        writeln!(out, "{}", word(language, "stats-years"))?;
        for year in &statistics.years {
            let growth = year.growth.map(|growth| format!("{:+.0} %", growth * 100.0)).unwrap_or_default();
            writeln!(out, "  {:<42}{:>20}{growth:>9}", year.period.to_string(), year.facts)?;
        }
    }
    Ok(())
}
