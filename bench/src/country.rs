//! A country in a box: operators with a real Kamailio and a node each, asking each other, and a labelled day of calls.
//!
//! [`geography`] says who is who, [`day`] draws the calls, [`switch`] and [`node`] start the processes, [`relay`] is the
//! wire between nodes, [`caller`] plays the day through SIP, [`table`] says what came of it. docs/country.md explains.

mod caller;
mod day;
mod geography;
mod node;
mod process;
mod relay;
mod switch;
mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use qalqan::progress::Bar;
use qalqan::records::Progress;

use caller::Caller;
use geography::{MEMBERS, OPERATORS, Operator};
use process::Process;
use relay::Relay;
use table::Day;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub struct Options {
    /// Directory of the repository.
    pub root: PathBuf,
    /// Where nodes and switches keep what they write.
    pub work: PathBuf,
    pub seed: u64,
    pub calls: usize,
    pub calls_per_s: f64,
    /// The same day again under each fault.
    pub faults: bool,
}

/// What may be wrong with one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its node is killed, a third of the day gone.
    Killed,
    /// Its answers come 2 s late from then on.
    Slow,
    /// It denies every call of its own customers: its node is told of none of them.
    Forgetful,
    /// Another operator takes its numbers for a third one's.
    WrongRanges,
    /// Its certificate is out of date.
    Expired,
    /// From a third of the day on nothing gets through to it, and nothing from it.
    Partition,
    /// Its clock is 40 s ahead.
    Clock,
}

impl Fault {
    pub const ALL: [Fault; 7] = [
        Fault::Killed,
        Fault::Slow,
        Fault::Forgetful,
        Fault::WrongRanges,
        Fault::Expired,
        Fault::Partition,
        Fault::Clock,
    ];

    /// Who has it.
    pub const MEMBER: Operator = Operator::Beta;

    pub fn name(self) -> &'static str {
        match self {
            Fault::Killed => "beta's node killed",
            Fault::Slow => "beta 2 s late",
            Fault::Forgetful => "beta denying all its own calls",
            Fault::WrongRanges => "alpha taking beta's numbers for gamma's",
            Fault::Expired => "beta's certificate expired",
            Fault::Partition => "beta cut off",
            Fault::Clock => "beta's clock 40 s ahead",
        }
    }
}

/// Plays the day and says what came of it; true where no honest call was cut and all came as the catalogue says.
pub fn run(options: &Options) -> Result<bool> {
    let mut caller = Caller::open()?;
    let mut is_good = true;
    let mut days = Vec::new();
    let faults = if options.faults { &Fault::ALL[..] } else { &[] };
    for fault in std::iter::once(None).chain(faults.iter().copied().map(Some)) {
        eprintln!("the day with {}", fault.map_or("no fault", Fault::name));
        let day = play(options, &mut caller, fault)?;
        is_good &= day.cut() == 0;
        if fault.is_none() {
            println!("{}\n{}", day.confusion(), day.words());
            let surprises = day.surprises();
            for surprise in surprises.iter().take(20) {
                println!("not by the catalogue: {surprise}");
            }
            match day.journal_fits() {
                Ok(count) => println!("The journals hold the {count} verdicts that the switches went by.\n"),
                Err(what) => println!("{what}\n"),
            }
            is_good &= surprises.is_empty() && day.journal_fits().is_ok();
        } else {
            println!("With {}: {}", day.fault.map_or("", Fault::name), day.words());
        }
        days.push(day);
    }
    if options.faults {
        println!("{}", table::side_by_side(&days));
    }
    Ok(is_good)
}

fn play(options: &Options, caller: &mut Caller, fault: Option<Fault>) -> Result<Day> {
    let mut country = Country::start(options, fault)?;
    wait(country.started + Duration::from_secs(node::TTL_S + 1));
    let calls = day::calls(options.seed, options.calls, country.has_hlr);
    let third = calls.len() / 3;
    let mut bar = Bar::on_terminal();
    bar.total(calls.len() as u64);
    let mut outcomes = caller.play(&calls[..third], options.calls_per_s, |made| bar.done(made as u64))?;
    country.befall(fault);
    let rest = |made: usize| bar.done((third + made) as u64);
    outcomes.extend(caller.play(&calls[third..], options.calls_per_s, rest)?);
    bar.clear();

    let mut questions = BTreeMap::new();
    let mut silent = Vec::new();
    for member in MEMBERS {
        match node::questions(member) {
            None => silent.push(member),
            Some(of_node) => {
                for ((_, kind, outcome), count) in of_node {
                    *questions.entry((kind, outcome)).or_default() += count;
                }
            }
        }
    }
    let mut journal = BTreeMap::new();
    for member in MEMBERS {
        for (rule, count) in node::journal(&program()?, &options.work.join(member.name()))? {
            *journal.entry(rule).or_default() += count;
        }
    }
    Ok(Day { fault, calls, outcomes, questions, silent, journal })
}

/// The node's binary, beside this one.
fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("qalqan"))
}

/// Processes that run; ended when dropped.
struct Country {
    nodes: BTreeMap<Operator, Process>,
    _switches: Vec<Process>,
    /// With the operators at their ends.
    relays: Vec<(Operator, Operator, Relay)>,
    has_hlr: bool,
    /// When the last node was ready.
    started: Instant,
}

impl Country {
    fn start(options: &Options, fault: Option<Fault>) -> Result<Country> {
        let credentials = node::Credentials::make(fault)?;
        let (mut nodes, mut switches, mut relays) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut has_hlr = true;
        for member in MEMBERS {
            for asker in MEMBERS.into_iter().filter(|&asker| asker != member) {
                let relay = Relay::start(member.seen_by(asker), member.exchange())?;
                relays.push((asker, member, relay));
            }
        }
        for operator in OPERATORS {
            let directory = options.work.join(operator.name());
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            fs::create_dir_all(&directory)?;
            // Kamailio and the node run elsewhere than this program.
            let directory = fs::canonicalize(directory)?;
            if MEMBERS.contains(&operator) {
                let hlr = node::start_hlr(operator, &directory)?;
                has_hlr &= hlr.is_some();
                node::configure(operator, &directory, &credentials, hlr.as_ref(), fault)?;
                nodes.insert(operator, node::start(operator, &program()?, &directory, fault)?);
            }
            switches.push(switch::start(operator, &options.root, &directory, fault)?);
        }
        Ok(Country { nodes, _switches: switches, relays, has_hlr, started: Instant::now() })
    }

    /// What happens in the middle of the day.
    fn befall(&mut self, fault: Option<Fault>) {
        match fault {
            Some(Fault::Killed) => {
                if let Some(node) = self.nodes.get_mut(&Fault::MEMBER) {
                    node.kill();
                }
            }
            Some(Fault::Slow) => {
                let of_member = self.relays.iter().filter(|(_, member, _)| *member == Fault::MEMBER);
                of_member.for_each(|(.., relay)| relay.delay(Duration::from_secs(2)));
            }
            Some(Fault::Partition) => {
                let at_either_end = self
                    .relays
                    .iter()
                    .filter(|(asker, member, _)| [*asker, *member].contains(&Fault::MEMBER));
                at_either_end.for_each(|(.., relay)| relay.drop_all());
            }
            _ => {}
        }
    }
}

/// A node that has just started denies no call; the day begins once it may.
fn wait(until: Instant) {
    let started = Instant::now();
    let total = until.saturating_duration_since(started);
    eprintln!("waiting {} s: a node that has just started denies no call", total.as_secs());
    let mut bar = Bar::on_terminal();
    bar.total(total.as_millis() as u64);
    while Instant::now() < until {
        bar.done(started.elapsed().as_millis() as u64);
        std::thread::sleep(Duration::from_millis(100));
    }
    bar.clear();
}
