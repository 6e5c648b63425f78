//! Loan applications opened a second: the node on SQLite and on PostgreSQL, the same rows written by pgbench (the floor), and by
//! FastAPI with asyncpg, which a creditor's engineer would write instead. And texts sent a second (`texts`).
//!
//! The node, the store and the load share the machine. Commits wait for the disk everywhere: an application that was answered
//! stands after a power failure.

mod load;
mod peers;
mod texts;

use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use journal::Record;
use qalqan::loans::{Suspects, is_suspicious};

use crate::servers::family;
use load::{Load, Outcome};
use peers::{FastApi, Node, Postgres};
pub use texts::{WINDOW, run as send, table as sent_table};

const SPOOL: &str = "sms-spool = \"sms\"";

/// What is measured.
pub struct Play<'p> {
    /// The binary `qalqan`.
    pub program: &'p Path,
    /// Directory of the repository.
    pub root: &'p Path,
    pub connections: usize,
    pub measured: Duration,
    pub rounds: usize,
    /// Texts sent over one SMPP bind.
    pub texts: usize,
}

/// One line of the table.
#[derive(Clone)]
pub struct Line {
    pub who: &'static str,
    pub store: &'static str,
    pub opened_per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// CPU time for an application, µs: of who answers, of PostgreSQL, of who asks.
    pub cpu_us: [f64; 3],
}

/// Plays every contender in turn, so many rounds; of each the round of the median rate.
pub fn run(play: &Play) -> io::Result<Vec<Line>> {
    let mut rounds: Vec<Vec<Line>> = Vec::new();
    for _ in 0..play.rounds {
        rounds.push(round(play)?);
    }
    let of = |n: usize| {
        let mut lines: Vec<Line> = rounds.iter().map(|round| round[n].clone()).collect();
        lines.sort_by(|a, b| a.opened_per_s.total_cmp(&b.opened_per_s));
        lines[lines.len() / 2].clone()
    };
    Ok((0..rounds[0].len()).map(of).collect())
}

fn round(play: &Play) -> io::Result<Vec<Line>> {
    let place = Place::new()?;
    let mut lines = Vec::new();
    {
        let directory = place.0.join("on-sqlite");
        fs::create_dir(&directory)?;
        let node = Node::start(play.program, &directory, "loans.db", SPOOL)?;
        lines.push(asked(play, "Qalqan", "SQLite", &node.load(play.connections)?, node.pid(), None)?);
    }
    let postgres = Postgres::start(&place.0.join("postgres"))?;
    {
        let directory = place.0.join("on-postgres");
        fs::create_dir(&directory)?;
        let node = Node::start(play.program, &directory, &postgres.url(), SPOOL)?;
        lines.push(asked(
            play,
            "Qalqan",
            "PostgreSQL",
            &node.load(play.connections)?,
            node.pid(),
            Some(postgres.pid()),
        )?);
    }
    if let Some(server) = FastApi::start(play.root, &postgres.url())? {
        let load = server.load(play);
        lines.push(asked(
            play,
            "FastAPI and asyncpg",
            "PostgreSQL",
            &load,
            server.pid(),
            Some(postgres.pid()),
        )?);
    }
    lines.push(postgres.floor(play)?);
    Ok(lines)
}

/// Loads who answers by HTTP.
fn asked(
    play: &Play,
    who: &'static str,
    store: &'static str,
    load: &Load,
    pid: u32,
    postgres: Option<u32>,
) -> io::Result<Line> {
    let cpus = || {
        let of = |pid: u32| family(pid).into_iter().map(cpu_s).sum::<f64>();
        [of(pid), postgres.map_or(0.0, of), cpu_s(std::process::id())]
    };
    let (mut before, mut after) = ([0.0; 3], [0.0; 3]);
    let Outcome { opened, waited_ms } = load::run(load, play.measured, |begins| match begins {
        true => before = cpus(),
        false => after = cpus(),
    })?;
    if opened == 0 {
        return Err(io::Error::other(format!("{who}: opened nothing")));
    }
    let at = |share: f64| waited_ms[((waited_ms.len() - 1) as f64 * share) as usize];
    Ok(Line {
        who,
        store,
        opened_per_s: opened as f64 / play.measured.as_secs_f64(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        cpu_us: [0, 1, 2].map(|n| (after[n] - before[n]) * 1e6 / opened as f64),
    })
}

/// CPU time of a process and of the children it has seen end, user and system, s.
fn cpu_s(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(11).take(4);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The lines as a table, each beside the floor.
pub fn table(lines: &[Line]) -> String {
    let floor = lines.last().map_or(f64::NAN, |line| line.opened_per_s);
    let mut text = String::from(
        "| who opens | store | applications/s | of the floor | p50, ms | p99, ms | CPU each, µs: who answers | PostgreSQL | who asks |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let shown = |value: f64| if value.is_nan() { "–".to_owned() } else { format!("{value:.0}") };
    for Line { who, store, opened_per_s, p50_ms, p99_ms, cpu_us: [own, postgres, asker] } in lines {
        let p99 = if p99_ms.is_nan() { "–".to_owned() } else { format!("{p99_ms:.1}") };
        text += &format!(
            "| {who} | {store} | {opened_per_s:.0} | {:.2} | {p50_ms:.1} | {p99} | {} | {} | {} |\n",
            opened_per_s / floor,
            shown(*own),
            shown(*postgres),
            shown(*asker),
        );
    }
    text
}

/// What a screening worker pays for the table of suspicious calls, ns a call: of the small country's calls, and of those alone
/// that screening marked or blocked.
pub fn note_ns() -> (f64, f64) {
    let all = crate::journal::records(65_536, 60_000_000, &crate::journal::hex_call_id);
    let of = |records: &[&Record]| {
        let suspects = Suspects::new(0, false);
        let rounds = (2_000_000 / records.len().max(1)).max(1);
        let began = Instant::now();
        for _ in 0..rounds {
            records.iter().for_each(|record| black_box(&suspects).note(black_box(record)));
        }
        began.elapsed().as_nanos() as f64 / (rounds * records.len()) as f64
    };
    let every: Vec<&Record> = all.iter().collect();
    let noted: Vec<&Record> = all.iter().filter(|record| is_suspicious(record.verdict.treatment)).collect();
    (of(&every), of(&noted))
}

/// A directory of one round, on the machine's disk and open to the user postgres.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Place> {
        let place = std::env::temp_dir().join(format!("qalqan-bench-loans-{}", std::process::id()));
        fs::create_dir_all(&place)?;
        Ok(Place(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
