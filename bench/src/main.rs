//! `bench/run`: the table of docs/performance.md. Medians of several rounds, contenders in turn.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bench::contest::{self, Contest};
use bench::load::{By, Load};
use bench::pace::Pace;
use bench::{count, country, exchange, flame, floor, hop, journal, judge, lists, load, loans, pace, service};
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
        /// Draw the CPU time of a call into this file, as SVG
        #[arg(long)]
        picture: Option<PathBuf>,
    },
    /// A country in a box: operators with a Kamailio and a node each, and a labelled day of calls (docs/country.md)
    Country {
        /// A short day
        #[arg(long)]
        quick: bool,
        /// The same day again under each fault of one member
        #[arg(long)]
        faults: bool,
        /// Only the days with a fault whose name in docs/country.md has these words: "Redis"
        #[arg(long)]
        fault: Option<String>,
        /// Another seed, another day
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Calls of the day, about; without --quick 1,200
        #[arg(long)]
        calls: Option<usize>,
        #[arg(long, default_value_t = 40.0)]
        calls_per_s: f64,
        /// Directory of the repository
        #[arg(long, default_value = ".")]
        root: PathBuf,
        /// Where nodes and switches keep what they write
        #[arg(long, default_value = "target/country")]
        work: PathBuf,
    },
    /// Draw what `perf script` printed of a worker: see bench/flame
    Flame { script: PathBuf, picture: PathBuf },
    /// Do the work of a call by itself, for counting instructions
    Count {
        work: count::Work,
        #[arg(long, default_value_t = 1)]
        rounds: u32,
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
    /// Operators that ask each other: what it adds to a call, a slow member, open calls
    Exchange {
        #[arg(long, default_value_t = 10_000.0)]
        calls_per_s: f64,
        /// For each line of the table
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Calls that are open at once in the end
        #[arg(long, default_value_t = 1_000_000)]
        open: u32,
        #[arg(long, default_value = "target/bench/exchange")]
        work: PathBuf,
    },
    /// Loan applications opened a second, beside the same rows by pgbench and by FastAPI
    Loans {
        /// One short round: shows that it works, not how fast it is
        #[arg(long)]
        quick: bool,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// For each line of the table
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Codes sent over one SMPP bind, at most 6,000
        #[arg(long, default_value_t = 3000)]
        texts: usize,
        /// Directory of the repository
        #[arg(long, default_value = ".")]
        root: PathBuf,
        /// The node; this program's neighbour if it is not said
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// Load one address
    Load {
        target: std::net::SocketAddr,
        /// Calls open at a time
        #[arg(long, default_value_t = 256)]
        window: usize,
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Calls come at this pace, answered or not, in place of a window
        #[arg(long)]
        calls_per_s: Option<f64>,
        /// With a pace that cannot be kept to
        #[arg(long)]
        flood: bool,
    },
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    match CommandLine::parse().command {
        Command::Run { quick, root, work, picture } => run(quick, &root, &work, picture.as_deref()),
        Command::Country { quick, faults, fault, seed, calls, calls_per_s, root, work } => {
            let calls = calls.unwrap_or(if quick { 200 } else { 1200 });
            let options = country::Options { root, work, seed, calls, calls_per_s, faults, fault };
            if country::run(&options)? { Ok(()) } else { Err("the day was not as it should be".into()) }
        }
        Command::Flame { script, picture } => {
            let frames = flame::read(&std::fs::read_to_string(&script)?, "worker::Worker::run");
            let title =
                format!("A UDP worker, {} samples: blue is Qalqan, orange the kernel", frames.samples());
            Ok(std::fs::write(picture, frames.svg(&title))?)
        }
        Command::Count { work, rounds } => {
            count::run(work, rounds);
            Ok(())
        }
        Command::Floor { address, cuts } => Ok(floor::run(address, cuts)?),
        Command::Hop { address } => Ok(hop::run(address)?),
        Command::Journal { records, calls_per_day } => {
            journal_table(records, calls_per_day);
            Ok(())
        }
        Command::Lists { entries, one_in, calls, in_order, work } => {
            lists_table(&entries, &one_in, calls, in_order, &work)
        }
        Command::Exchange { calls_per_s, seconds, rounds, open, work } => {
            let program = std::env::current_exe()?.with_file_name("qalqan");
            let measured = Duration::from_secs(seconds);
            let play = exchange::Play { program: &program, work: &work, calls_per_s, measured, rounds, open };
            let (phases, memory) = exchange::run(&play)?;
            print!("{}", exchange::table(&phases, &memory));
            Ok(())
        }
        Command::Loans { quick, connections, seconds, rounds, texts, root, program } => {
            let program = program.map_or_else(
                || Ok(std::env::current_exe()?.with_file_name("qalqan")),
                Ok::<_, std::io::Error>,
            )?;
            let (seconds, rounds, texts) = if quick { (2, 1, 100) } else { (seconds, rounds, texts) };
            let measured = Duration::from_secs(seconds);
            let play = loans::Play { program: &program, root: &root, connections, measured, rounds, texts };
            let (all, suspicious) = loans::note_ns();
            print!("{}", loans::table(&loans::run(&play)?));
            println!("\nTexts over one SMPP bind, window {}:\n", loans::WINDOW);
            print!("{}", loans::sent_table(&loans::send(&play)?));
            println!(
                "\nNoting who was called, on a screening worker: {all:.1} ns a call, {suspicious:.1} ns one that was marked or blocked."
            );
            Ok(())
        }
        Command::Load { target, window, seconds, calls_per_s, flood } => {
            let (warm_up, measured) = (Duration::from_secs(1), Duration::from_secs(seconds));
            match calls_per_s {
                None => {
                    let load = Load { target, by: By::Udp, window, warm_up, measured, seed: 1 };
                    println!("{:?}", load::run(&load, || {})?);
                }
                Some(calls_per_s) => {
                    let pace = Pace { target, calls_per_s, flood, warm_up, measured, seed: 1 };
                    println!("{:?}", pace::run(&pace, || {})?);
                }
            }
            Ok(())
        }
    }
}

fn run(quick: bool, root: &Path, work: &Path, picture: Option<&Path>) -> Result<()> {
    let (rounds, warm_up, measured) = match quick {
        true => (1, Duration::from_millis(300), Duration::from_millis(700)),
        false => (5, Duration::from_secs(1), Duration::from_secs(4)),
    };
    let program = std::env::current_exe()?.with_file_name("qalqan");
    let lists_in = work.join(if quick { "few" } else { "carrier" });
    lists::carrier(&lists_in, quick)?;
    let contest = Contest { root, work, program: &program, lists: &lists_in, rounds, warm_up, measured };
    let results = contest.run()?;
    println!("{}", contest::table(&results));
    let of = |name: &str| results.iter().find(|result| result.name == name).expect("a contender");
    let (floor, kamailio, qalqan) = (of("floor"), of("kamailio"), of("qalqan"));
    let times = |name: &str| of(name).cpu_us() / qalqan.cpu_us();
    println!(
        "CPU per call: Qalqan takes {:.2} times the floor's, 1/{:.1} of Kamailio's, and answers {:.0} ms after its start.",
        qalqan.cpu_us() / floor.cpu_us(),
        kamailio.cpu_us() / qalqan.cpu_us(),
        qalqan.ready_ms()
    );
    println!(
        "With two workers it takes {:.2} times the CPU per call of one, over TCP {:.2}, TLS {:.2}, as a proxy {:.2}.",
        times("qalqan, two workers"),
        times("qalqan, TCP"),
        times("qalqan, TLS"),
        times("qalqan, proxy")
    );
    if let Some(path) = picture {
        std::fs::write(path, contest::picture(&results))?;
    }

    let (measured, flood) = match quick {
        true => (Duration::from_millis(700), Duration::from_secs(1)),
        false => (Duration::from_secs(20), Duration::from_secs(60)),
    };
    let (most, phases) = service::run(&program, &work.join("qalqan"), &lists_in, measured, flood)?;
    println!(
        "\n| one worker that can do {most:.0} calls/s | came, calls/s | answered, calls/s | p50, µs | p99, µs | p99.9, µs | own memory, MB |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for service::Phase { name, waited, own_mb } in phases {
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {own_mb:.0} |",
            waited.offered_per_s, waited.answered_per_s, waited.p50_us, waited.p99_us, waited.p999_us
        );
    }

    let (entries, rounds) = if quick { (100_000, 2) } else { (1_000_000, 50) };
    let judge::Asked { judge_ns, whole_ns, .. } = judge::measure(&judge::policy(entries), 1, rounds);
    println!("\n| the verdict alone, {entries} list entries | ns a call |");
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

fn lists_table(entries: &[usize], one_in: &[usize], calls: usize, in_order: bool, work: &Path) -> Result<()> {
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
