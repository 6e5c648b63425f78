//! `bench/run`: the table of docs/performance.md. Medians of several rounds, contenders in turn.

use std::path::PathBuf;
use std::time::Duration;

use bench::load::{By, Load, Outcome};
use bench::servers::{self, Server};
use bench::{floor, hop, journal, judge, lists, load};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "qalqan-bench", about = "Measures Qalqan beside what an engineer would pick instead")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything, as a table
    Run {
        /// One short round: shows that it works, not how fast it is
        #[arg(long)]
        quick: bool,
        /// Directory of the repository
        #[arg(long, default_value = ".")]
        root: PathBuf,
        /// Where contenders keep what they write
        #[arg(long, default_value = "target/bench")]
        work: PathBuf,
    },
    /// Answer datagrams and do nothing else
    Floor {
        address: std::net::SocketAddr,
        /// Let the kernel cut answers to one peer out of one large packet
        #[arg(long)]
        cuts: bool,
    },
    /// Refuse calls, as a next hop behind a proxy
    Hop { address: std::net::SocketAddr },
    /// The journal by itself: an append, a segment, the bytes of a call
    Journal {
        #[arg(long, default_value_t = 262_144)]
        records: usize,
        /// How many calls a day of the country's clock carries
        #[arg(long, default_value_t = 60_000_000)]
        calls_per_day: u64,
    },
    /// Lists by themselves: made from CSV, opened, asked by calls
    Lists {
        /// How many on all lists together; may be said several times
        #[arg(long, default_values_t = [1_000_000, 10_000_000, 100_000_000])]
        entries: Vec<usize>,
        /// Every so manieth number of the codes in use is on a list
        #[arg(long, default_values_t = [10, 100])]
        one_in: Vec<usize>,
        /// Calls that ask
        #[arg(long, default_value_t = 1_000_000)]
        calls: usize,
        /// Write the lines of CSV files in order, as most exports are
        #[arg(long)]
        in_order: bool,
        /// Where the files are put, 3.5 GB for 100 million entries
        #[arg(long, default_value = "target/bench/lists")]
        work: PathBuf,
    },
    /// Load one address
    Load {
        target: std::net::SocketAddr,
        /// Calls open at a time
        #[arg(long, default_value_t = 256)]
        window: usize,
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    match CommandLine::parse().command {
        Command::Run { quick, root, work } => run(quick, &root, &work),
        Command::Floor { address, cuts } => Ok(floor::run(address, cuts)?),
        Command::Hop { address } => Ok(hop::run(address)?),
        Command::Journal { records, calls_per_day } => {
            journal_table(records, calls_per_day);
            Ok(())
        }
        Command::Lists { entries, one_in, calls, in_order, work } => {
            lists_table(&entries, &one_in, calls, in_order, &work)
        }
        Command::Load { target, window, seconds } => {
            let measured = Duration::from_secs(seconds);
            let load =
                Load { target, by: By::Udp, window, warm_up: Duration::from_secs(1), measured, seed: 1 };
            println!("{:?}", load::run(&load, || {})?);
            Ok(())
        }
    }
}

type Start<'s> = &'s dyn Fn() -> std::io::Result<Server>;

/// One round of one contender.
struct Round {
    outcome: Outcome,
    cpu_us_per_call: f64,
}

fn run(quick: bool, root: &std::path::Path, work: &std::path::Path) -> Result<()> {
    let rounds = if quick { 1 } else { 5 };
    let (warm_up, measured) = match quick {
        true => (Duration::from_millis(300), Duration::from_millis(700)),
        false => (Duration::from_secs(1), Duration::from_secs(4)),
    };
    let program = std::env::current_exe()?.with_file_name("qalqan");
    let directory = work.join("qalqan");
    let qalqan = || servers::qalqan(&program, &directory, None);
    // In proxy mode the next hop is a third program on the two cores; only the proxy's own CPU time is counted.
    let hop = servers::hop()?;
    let start: [(&str, By, Start); 6] = [
        ("floor", By::Udp, &servers::floor),
        ("kamailio", By::Udp, &|| servers::kamailio(&root.join("bench/kamailio.cfg"))),
        ("qalqan", By::Udp, &qalqan),
        ("qalqan, TCP", By::Tcp, &qalqan),
        ("qalqan, TLS", By::Tls, &qalqan),
        ("qalqan, proxy", By::Udp, &|| servers::qalqan(&program, &directory, Some(hop.address))),
    ];
    let mut results: Vec<Vec<Round>> = start.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (index, (name, by, start)) in start.iter().enumerate() {
            eprintln!("round {} of {rounds}: {name}", round + 1);
            let server = start()?;
            let mut target = server.address;
            if *by == By::Tls {
                target.set_port(servers::TLS_PORT);
            }
            let load = Load { target, by: *by, window: 256, warm_up, measured, seed: 1 };
            let mut marks = Vec::new();
            let outcome = load::run(&load, || marks.push(server.cpu_s()))?;
            let cpu_us_per_call = (marks[1] - marks[0]) * 1e6 / outcome.answered.max(1) as f64;
            results[index].push(Round { outcome, cpu_us_per_call });
        }
    }

    println!(
        "| window of 256 calls | calls/s | CPU per call, µs | p50, µs | p99, µs | p99.9, µs | lost | 3xx / 6xx / other |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for ((name, ..), rounds) in start.iter().zip(&results) {
        let median = |of: &dyn Fn(&Round) -> f64| median(rounds.iter().map(of).collect());
        let last = &rounds.last().expect("a round").outcome;
        let share = |n: u64| format!("{:.1} %", n as f64 * 100.0 / last.answered.max(1) as f64);
        println!(
            "| {name} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} | {} | {} / {} / {} |",
            median(&|round| round.outcome.calls_per_s),
            median(&|round| round.cpu_us_per_call),
            median(&|round| round.outcome.p50_us),
            median(&|round| round.outcome.p99_us),
            median(&|round| round.outcome.p999_us),
            rounds.iter().map(|round| round.outcome.lost).sum::<u64>(),
            share(last.redirected),
            share(last.refused),
            share(last.other),
        );
    }
    let cpu =
        |index: usize| median(results[index].iter().map(|round: &Round| round.cpu_us_per_call).collect());
    println!();
    println!(
        "CPU per call: Qalqan takes 1/{:.1} of Kamailio's and {:.2} times the floor's.",
        cpu(1) / cpu(2),
        cpu(2) / cpu(0)
    );

    let rate = |index: usize| median(results[index].iter().map(|round| round.outcome.calls_per_s).collect());
    println!(
        "Calls/s: TCP {:.0} % and TLS {:.0} % of UDP. CPU per call: TCP {:.2}, TLS {:.2} and proxy mode {:.2} times UDP's by redirect.",
        rate(3) * 100.0 / rate(2),
        rate(4) * 100.0 / rate(2),
        cpu(3) / cpu(2),
        cpu(4) / cpu(2),
        cpu(5) / cpu(2)
    );

    let (entries, rounds) = if quick { (100_000, 2) } else { (1_000_000, 50) };
    let judge::Asked { judge_ns, whole_ns, .. } = judge::measure(&judge::policy(entries), 1, rounds);
    println!();
    println!("| the verdict alone, {entries} list entries | ns a call |");
    println!("| --- | ---: |");
    println!("| judging | {judge_ns:.0} |");
    println!("| normalising and judging | {whole_ns:.0} |");
    Ok(())
}

fn journal_table(count: usize, calls_per_day: u64) {
    let records = journal::records(count, calls_per_day, &journal::hex_call_id);
    println!(
        "| the journal, {count} records in a segment | append, ns | reading a log, ns | sealing, ns | records/s | bytes a call |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for measured in journal::measure(&records, 5) {
        println!(
            "| numbers {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} |",
            measured.numbers.name(),
            measured.append_ns,
            measured.read_ns,
            measured.seal_ns,
            1e9 / (measured.read_ns + measured.seal_ns),
            measured.bytes_a_call
        );
    }
}

fn lists_table(
    entries: &[usize],
    one_in: &[usize],
    calls: usize,
    in_order: bool,
    work: &std::path::Path,
) -> Result<()> {
    println!(
        "| entries | one number in | bits an entry | from CSV, entries/s | and to the compact file | open, ms | policy, ms | judging, ns | normalising, ns | both, ns | blocked |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for &one_in in one_in {
        for &entries in entries {
            let measured = lists::measure(work, entries, one_in, calls, in_order)?;
            println!(
                "| {} | {one_in} | {:.1} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} % |",
                measured.entries,
                measured.bits_an_entry,
                measured.read_per_s,
                measured.packed_per_s,
                measured.open_ms,
                measured.policy_ms,
                measured.judge_ns,
                measured.intake_ns,
                measured.whole_ns,
                measured.blocked * 100.0
            );
        }
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
