//! `qalqan hunt`: call centres and SIM boxes in call records, by signals; fraudsters among subscribers, by a model learned from
//! those who are known.

pub(crate) mod calls;
mod cluster;
mod fields;
mod files;
pub(crate) mod found;
mod records;
mod summary;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, Subcommand};
use hunting::{Graph, Labels, Model, Table, Task, Training};

use crate::progress::Bar;
use crate::records::Progress;
use cluster::servers::{self, ExecutorArgs, SchedulerArgs};
use files::{Sheet, edges, ids, read_model, sheet, write_model};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct HuntArgs {
    #[command(subcommand)]
    command: Option<HuntCommand>,
    #[command(flatten)]
    records: records::RecordsArgs,
}

#[derive(Subcommand)]
pub enum HuntCommand {
    /// Learn from a table of subscribers, some of whom are known
    Train(TrainArgs),
    /// Give every row of a table a probability and reasons
    Score(ScoreArgs),
    /// Part hunts that are told --on df:// among executors, and gather what they find
    Scheduler(SchedulerArgs),
    /// Do a part of the hunts of a scheduler
    Executor(ExecutorArgs),
}

#[derive(Args)]
pub struct TrainArgs {
    /// CSV with one row a subscriber: an id, a label, and any columns of numbers, dates and words; gaps are allowed
    #[arg(long, value_name = "FILE")]
    table: PathBuf,
    /// The column of ids
    #[arg(long, value_name = "COLUMN")]
    id: String,
    /// The column of labels: two values
    #[arg(long, value_name = "COLUMN")]
    label: String,
    /// The label that is looked for; all others count as the other kind
    #[arg(long, value_name = "VALUE")]
    positive: Option<String>,
    /// CSV of calls: the ids of who called and who was called in the first two columns
    #[arg(long, value_name = "FILE")]
    edges: Option<PathBuf>,
    /// Ids to learn from, one a line; the labels of others are not looked at
    #[arg(long, value_name = "FILE")]
    only: Option<PathBuf>,
    /// Columns that are not to be used
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    without: Vec<String>,
    /// Chance: the same seed and rows give the same model
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the model goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Args)]
pub struct ScoreArgs {
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// CSV with the columns that the model learned from
    #[arg(long, value_name = "FILE")]
    table: PathBuf,
    /// Calls, as in training
    #[arg(long, value_name = "FILE")]
    edges: Option<PathBuf>,
    /// Where the scores go: id,probability,reasons in the order of the table
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

pub fn run(args: HuntArgs, out: &mut impl Write) -> Outcome {
    match args.command {
        Some(HuntCommand::Train(args)) => train(&args, out),
        Some(HuntCommand::Score(args)) => score(&args, out),
        Some(HuntCommand::Scheduler(args)) => servers::scheduler(&args),
        Some(HuntCommand::Executor(args)) => servers::executor(&args),
        None => Ok(records::hunt(&args.records, out)?),
    }
}

fn train(args: &TrainArgs, out: &mut impl Write) -> Outcome {
    let shown = args.table.display();
    let wrong = |what: String| format!("{shown}: {what}");
    let only: Option<HashSet<String>> = args.only.as_deref().map(ids).transpose()?;
    let mut without: Vec<&str> = args.without.iter().map(String::as_str).collect();
    without.push(&args.label);
    let Sheet { table, label } = sheet(&args.table, &args.id, Some(&args.label), &without)?;
    for name in &args.without {
        if !label.names.contains(name) {
            return Err(
                wrong(format!("no column \"{name}\" to leave out: {}", label.names.join(", "))).into()
            );
        }
    }
    if let Some(only) = &only {
        let there: HashSet<&str> = table.ids.iter().map(String::as_str).collect();
        let missing = only.iter().filter(|id| !there.contains(id.as_str())).count();
        if missing > 0 {
            warn(args.only.as_deref(), &format!("{missing} ids are not in the table, and are left out"));
        }
    }
    let learned = |id: &String| only.as_ref().is_none_or(|only| only.contains(id));
    let cells = table.ids.iter().zip(label.cells).map(|(id, cell)| learned(id).then_some(cell));
    let labels = Labels::read(&cells.collect::<Vec<Option<String>>>(), args.positive.as_deref())
        .map_err(|what| wrong(format!("column \"{}\": {what}", args.label)))?;
    if labels.gaps > 0 {
        warn(Some(&args.table), &format!("{} rows have no label, and are not learned from", labels.gaps));
    }
    let graph = args.edges.as_deref().map(|path| graph(path, &table)).transpose()?;
    let task = Task {
        table: &table,
        labels: &labels,
        graph: graph.as_ref(),
        seed: args.seed,
        id_column: &args.id,
        label_column: &args.label,
    };
    let workers = Workers::new();
    let training = Training::run(&task, &|jobs, job| workers.run(jobs, job)).map_err(wrong)?;
    write_model(&training.model, &args.out)?;
    summary::print(out, &task, &training)?;
    writeln!(out, "model           {}", args.out.display())?;
    Ok(())
}

fn score(args: &ScoreArgs, out: &mut impl Write) -> Outcome {
    let shown = args.table.display();
    let model = read_model(&args.model)?;
    let Sheet { table, label } = sheet(&args.table, model.id_column(), None, &[model.label_column()])?;
    let table = arrange(&model, table)
        .map_err(|missing| format!("{shown}: {missing}; the table has {}", label.names.join(", ")))?;
    let graph = args.edges.as_deref().map(|path| graph(path, &table)).transpose()?;
    match (&graph, model.looks_around()) {
        (None, true) => warn(
            Some(&args.model),
            "learned from calls as well; without --edges only a subscriber's own columns are looked at",
        ),
        (Some(_), false) => {
            warn(Some(&args.model), "calls do not help this model, and are not looked at");
        }
        (Some(_), true) => {
            let absent = model.absent_members(&table);
            if absent > 0 {
                warn(
                    Some(&args.table),
                    &format!(
                        "{absent} rows that the model learned from are missing: their labels help their neighbours, \
                         their columns cannot"
                    ),
                );
            }
        }
        (None, false) => {}
    }
    let workers = Workers::new();
    let scored = model.score(&table, graph.as_ref(), &|jobs, job| workers.run(jobs, job));
    files::write_scores(&args.out, model.id_column(), &table.ids, &scored)?;
    let alarms = scored.iter().filter(|scored| scored.probability >= 0.5).count();
    writeln!(
        out,
        "{}: {} rows, {alarms} of them \"{}\" with a probability of 0.5 or more",
        args.out.display(),
        scored.len(),
        model.positive()
    )?;
    Ok(())
}

/// The model's columns in its order.
fn arrange(model: &Model, mut table: Table) -> Result<Table, String> {
    let mut columns = Vec::new();
    let mut missing = Vec::new();
    for name in model.column_names() {
        match table.columns.iter().position(|column| column.name == name) {
            Some(place) => columns.push(table.columns.swap_remove(place)),
            None => missing.push(format!("\"{name}\"")),
        }
    }
    if !missing.is_empty() {
        let (few, more) = missing.split_at(missing.len().min(5));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        return Err(format!("columns that the model learned from are missing: {}{more}", few.join(", ")));
    }
    table.columns = columns;
    Ok(table)
}

fn graph(path: &Path, table: &Table) -> Result<Graph, String> {
    let graph = edges(path, table)?;
    if !graph.strangers().is_empty() {
        let strangers = graph.strangers().len();
        warn(
            Some(path),
            &format!("{strangers} ids are not in the table: they count as contacts that rows share"),
        );
    }
    if graph.loops > 0 {
        warn(Some(path), &format!("{} pairs of an id with itself are left out", graph.loops));
    }
    Ok(graph)
}

fn warn(file: Option<&Path>, what: &str) {
    match file {
        Some(file) => eprintln!("qalqan: {}: {what}", file.display()),
        None => eprintln!("qalqan: {what}"),
    }
}

/// Threads, one a core, that take jobs until none is left, and a bar of what is done.
struct Workers {
    threads: usize,
}

impl Workers {
    fn new() -> Workers {
        Workers { threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }

    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut bar = Bar::on_terminal();
        bar.total(jobs as u64);
        let work = |tell: &mut dyn FnMut(u64)| {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                if place >= jobs {
                    break;
                }
                job(place);
                tell(done.fetch_add(1, Ordering::Relaxed) as u64 + 1);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(jobs) {
                scope.spawn(|| work(&mut |_| {}));
            }
            work(&mut |so_far| bar.done(so_far));
        });
        bar.clear();
    }
}
