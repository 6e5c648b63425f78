//! `qalqan case`: facts of fraud from a file, what belongs together, and who called the victims; and the register.

mod register;

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ::casework::{CalledVictims, Fact, Links, Node, Reading, Weights, import, read_public};
use ::hunting::CallRecord;
use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use lending::Rulebook;
use numbering::Number;
use serde::Deserialize;

use crate::config::{self, Origin, explain_io};
use crate::hunt::calls::{Look, Source, mapping};
use crate::hunt::found;
use crate::progress::Bar;
use crate::store::now_ms;
use register::{CentresArgs, ClientArgs, ImportArgs, KeyArgs, LooksArgs};

#[derive(Subcommand)]
pub enum CaseCommand {
    /// Read facts of fraud, whole or not at all, and show which belong together and why
    Link(LinkArgs),
    /// Find who called the victims of facts shortly before them
    Called(CalledArgs),
    /// Put a new key in force for personal data of the register, in front of those there are
    Key(KeyArgs),
    /// Add a client of the register's API; its secret is printed once
    Client(ClientArgs),
    /// Take facts of fraud into the register, whole or not at all; a node may run meanwhile
    Import(ImportArgs),
    /// Take call centres that hunt found into the register; one that is known grows
    #[command(subcommand)]
    Centres(CentresCommand),
    /// Seal again, under the key in force, what is sealed under older ones; nodes may run meanwhile
    RotateKeys,
    /// Show who looked at what in the register, and who was refused
    Looks(LooksArgs),
}

#[derive(Subcommand)]
pub enum CentresCommand {
    /// JSON lines as `hunt --out` or `case called --out` wrote them, whole or not at all; a node may run meanwhile
    Import(CentresArgs),
}

#[derive(Args)]
struct FactsArgs {
    /// Facts: CSV whose first line names its columns; number, type and when have to be there
    #[arg(value_name = "FACTS")]
    facts: PathBuf,
}

#[derive(Args)]
pub struct LinkArgs {
    #[command(flatten)]
    facts: FactsArgs,
    /// Numbers of hotlines and authorities, one a line, as facts name them: they link nobody
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// How many groups are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
}

#[derive(Args)]
pub struct CalledArgs {
    #[command(flatten)]
    facts: FactsArgs,
    /// Call records, as hunt reads them
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// A column of the records that has another name there
    #[arg(long, value_name = "THEIRS=OURS")]
    map: Vec<String>,
    /// What `qalqan hunt --out` found, as JSON lines: the numbers of a cluster are looked at together
    #[arg(long, value_name = "FILE")]
    clusters: Option<PathBuf>,
    /// Where the clusters go again, each with the numbers of facts whose victims it called: for `case centres import`
    #[arg(long, value_name = "FILE", requires = "clusters")]
    out: Option<PathBuf>,
    /// Only calls so many hours before a fact
    #[arg(long, value_name = "HOURS", default_value_t = 72)]
    within: u32,
    /// How many numbers are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
}

/// Bits from which on chance is out of the question.
const SURE_BITS: f64 = 10.0;

pub fn run(command: &CaseCommand, origin: &Origin, out: &mut impl Write) -> Result<(), String> {
    match command {
        CaseCommand::Link(args) => link(args, origin, out),
        CaseCommand::Called(args) => called(args, origin, out),
        CaseCommand::Key(args) => register::key(args, out),
        CaseCommand::Client(args) => register::client(args, out),
        CaseCommand::Import(args) => register::import(args, origin, out),
        CaseCommand::Centres(CentresCommand::Import(args)) => register::import_found(args, origin, out),
        CaseCommand::RotateKeys => register::rotate_keys(origin, out),
        CaseCommand::Looks(args) => register::who_looked(args, origin, out),
    }
}

/// Facts and the plan they are read by; every fault of the file in one error.
fn read(args: &FactsArgs, origin: &Origin) -> Result<(Vec<Fact>, std::sync::Arc<numbering::Plan>), String> {
    let (plan, hunting) = config::load_hunting(origin).map_err(|faults| faults.to_string())?;
    let rulebook = Rulebook::parse(config::LOANS_KZ)?;
    let offset = jiff::tz::Offset::from_seconds(hunting.utc_offset_min * 60);
    let zone = TimeZone::fixed(offset.map_err(|error| format!("utc-offset-min: {error}"))?);
    let shown = args.facts.display();
    let file = File::open(&args.facts).map_err(|error| format!("{shown}: {}", explain_io(&error)))?;
    let reading = Reading { plan: &plan, iin: &rulebook.iin, zone: &zone, now_ms: now_ms() };
    let facts = import(file, &reading).map_err(|bad| {
        let lines: Vec<String> = bad.iter().map(|bad| format!("{shown}: {bad}")).collect();
        format!("{}\n{shown}: nothing was taken", lines.join("\n"))
    })?;
    Ok((facts, plan))
}

fn link(args: &LinkArgs, origin: &Origin, out: &mut impl Write) -> Result<(), String> {
    let (facts, plan) = read(&args.facts, origin)?;
    let mut links = Links::new(Weights::default());
    for (n, fact) in facts.iter().enumerate() {
        fact.identifiers.iter().for_each(|identifier| links.hold(Node::Fact(n as i64), identifier));
    }
    if let Some(path) = &args.public {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {}", path.display(), explain_io(&error)))?;
        let public = read_public(&text, &plan).map_err(|bad| {
            let lines = bad.iter().map(|(line, what)| format!("{}: line {line}: {what}", path.display()));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        public.iter().for_each(|public| links.make_public(public));
    }
    let groups = links.groups();
    let written = (|| {
        for (n, group) in groups.iter().take(args.top).enumerate() {
            let damage: i64 = group
                .nodes
                .iter()
                .filter_map(|node| match node {
                    Node::Fact(fact) => facts[*fact as usize].damage,
                    Node::Person(_) => None,
                })
                .map(lending::Sum::hundredths)
                .sum();
            writeln!(
                out,
                "{:>3}. {} facts, damage {}",
                n + 1,
                group.facts(),
                lending::Sum::of_hundredths(damage)
            )?;
            for (identifier, holders) in group.shared.iter().take(5) {
                writeln!(out, "     {identifier} in {holders}")?;
            }
            let numbers: Vec<&str> = group
                .nodes
                .iter()
                .filter_map(|node| match node {
                    Node::Fact(fact) => Some(facts[*fact as usize].number.as_str()),
                    Node::Person(_) => None,
                })
                .take(12)
                .collect();
            let more = if group.facts() > numbers.len() { " …" } else { "" };
            writeln!(out, "     facts {}{more}", numbers.join(", "))?;
        }
        let linked: usize = groups.iter().map(::casework::Group::facts).sum();
        writeln!(out, "{} facts, {linked} of them in {} groups", facts.len(), groups.len())
    })();
    written.map_err(|error: std::io::Error| error.to_string())
}

fn called(args: &CalledArgs, origin: &Origin, out: &mut impl Write) -> Result<(), String> {
    let (facts, plan) = read(&args.facts, origin)?;
    let mut victims_called = CalledVictims::new(i64::from(args.within) * 3_600_000);
    let mut victims = 0;
    for (n, fact) in facts.iter().enumerate() {
        let phone = fact.victim_phone.as_ref().and_then(|phone| Number::parse(phone.reveal()).ok());
        if let Some(phone) = phone {
            victims_called.victim(n as i64, fact.at_ms, phone);
            victims += 1;
        }
    }
    if victims == 0 {
        return Err(
            "no fact has a victim_phone: there is nobody whose callers could be looked for".to_owned()
        );
    }
    let clusters = args.clusters.as_deref().map_or(Ok(Vec::new()), clusters)?;
    // A cluster calls as one, by its first number.
    let heads: HashMap<Number, Number> = clusters
        .iter()
        .flat_map(|cluster| cluster.numbers.iter().map(|number| (*number, cluster.numbers[0])))
        .collect();
    let map = mapping(&args.map)?;
    let source =
        Source { files: &args.records, keys: None, map: &map, plan: &plan, since_ms: None, now_ms: now_ms() };
    let mut bar = Bar::on_terminal();
    let number = |digits: u64| Number::from_digits(digits.to_string().as_bytes()).ok();
    let shared = Mutex::new(victims_called);
    let look = |record: &CallRecord| {
        if let (Some(calling), Some(called)) = (number(record.calling), number(record.called)) {
            let caller = heads.get(&calling).copied().unwrap_or(calling);
            shared.lock().expect("no panic inside").call(caller, called, record.start_ms);
        }
    };
    let found = source.read(&mut bar, &Look::at_all(&[], &look))?;
    bar.clear();
    let ranked = shared.into_inner().expect("no panic inside").ranked(2);
    if let Some(path) = &args.out {
        let suspected = |cluster: &Cluster| {
            let sure =
                |one: &&::casework::Suspicion| one.number == cluster.numbers[0] && one.bits >= SURE_BITS;
            ranked.iter().find(sure)
        };
        let lines = clusters.iter().map(|cluster| {
            let mut line = cluster.line.clone();
            let called = suspected(cluster).map(|one| one.facts.iter());
            let called = called.into_iter().flatten().map(|fact| facts[*fact as usize].number.as_str());
            line["called"] = called.collect();
            format!("{line}\n")
        });
        let lines: String = lines.collect();
        found::private(path, |mut file| file.write_all(lines.as_bytes()).map(|()| file))
            .map_err(|error| format!("{}: {}", path.display(), explain_io(&error)))?;
    }
    let sure = ranked.iter().filter(|suspicion| suspicion.bits >= SURE_BITS).count();
    let written = (|| {
        for suspicion in ranked.iter().take(args.top.min(sure)) {
            let cluster = clusters.iter().find(|cluster| cluster.numbers[0] == suspicion.number);
            let who = match cluster {
                Some(Cluster { cluster, numbers, .. }) => {
                    format!("cluster {cluster}, {} numbers", numbers.len())
                }
                None => suspicion.number.to_string(),
            };
            writeln!(
                out,
                "{who}  {} calls, victims of {} facts, {:.0} bits",
                suspicion.calls,
                suspicion.facts.len(),
                suspicion.bits
            )?;
        }
        writeln!(
            out,
            "{} calls, {victims} victims with a phone, {sure} {} called more of them than chance would have it",
            found.records,
            if clusters.is_empty() { "numbers" } else { "numbers and clusters" }
        )
    })();
    written.map_err(|error: std::io::Error| error.to_string())
}

/// A cluster that `qalqan hunt` found.
struct Cluster {
    cluster: u64,
    /// At least one.
    numbers: Vec<Number>,
    /// As hunt wrote it.
    line: serde_json::Value,
}

fn clusters(path: &Path) -> Result<Vec<Cluster>, String> {
    #[derive(Deserialize)]
    struct Line {
        cluster: u64,
        numbers: Vec<Suspect>,
    }
    #[derive(Deserialize)]
    struct Suspect {
        number: String,
    }
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {}", explain_io(&error)))?;
    let mut clusters = Vec::new();
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = |what: &dyn std::fmt::Display| {
            format!("{shown}: line {}: {what}: give what hunt --out wrote", n + 1)
        };
        let Line { cluster, numbers } = serde_json::from_str(line).map_err(|error| at(&error))?;
        let line = serde_json::from_str(line).map_err(|error| at(&error))?;
        let read =
            |suspect: &Suspect| Number::parse(&suspect.number).map_err(|_| at(&"a number that is none"));
        let numbers = numbers.iter().map(read).collect::<Result<Vec<Number>, String>>()?;
        if !numbers.is_empty() {
            clusters.push(Cluster { cluster, numbers, line });
        }
    }
    Ok(clusters)
}
