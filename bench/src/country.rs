//! A country in a box: operators with a real Kamailio and a node each, asking each other, and a labelled day of calls.
//!
//! [`geography`] says who is who, [`day`] draws the calls, [`switch`], [`hlr`], [`store`] and [`node`] start the processes,
//! [`relay`] is the wire between nodes, [`caller`] plays the day through SIP, [`table`] says what came of it. docs/country.md explains.

mod caller;
mod day;
mod geography;
mod hlr;
mod node;
mod process;
mod relay;
mod store;
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
use geography::{MEMBERS, OPERATORS, Operator, Seat};
use hlr::Hlr;
use process::Process;
use relay::Relay;
use store::Store;
use table::Day;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One call of so many may be late on a day without a fault.
const LATE: usize = 10;

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
    /// Only the days with a fault whose name has these words.
    pub fault: Option<String>,
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
    /// Its HLR is killed, a third of the day gone.
    HlrKilled,
    /// It has two nodes, one for its switch and one for the others, that share calls through a cluster of Redis; a third
    /// of the day gone a primary is killed and its replica takes over.
    StoreFailsOver,
}

impl Fault {
    pub const ALL: [Fault; 9] = [
        Fault::Killed,
        Fault::Slow,
        Fault::Forgetful,
        Fault::WrongRanges,
        Fault::Expired,
        Fault::Partition,
        Fault::Clock,
        Fault::HlrKilled,
        Fault::StoreFailsOver,
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
            Fault::HlrKilled => "beta's HLR killed",
            Fault::StoreFailsOver => "beta's Redis failing over",
        }
    }
}

/// Plays the day and says what came of it; true where no honest call was cut and all came as the catalogue says.
pub fn run(options: &Options) -> Result<bool> {
    let mut caller = Caller::open()?;
    let mut is_good = true;
    let mut days = Vec::new();
    let faults = if options.faults { &Fault::ALL[..] } else { &[] };
    let mut wanted: Vec<_> = std::iter::once(None).chain(faults.iter().copied().map(Some)).collect();
    if let Some(words) = &options.fault {
        let named = Fault::ALL.into_iter().filter(|fault| fault.name().contains(words.as_str()));
        wanted = named.map(Some).collect();
    }
    for fault in wanted {
        eprintln!("the day with {}", fault.map_or("no fault", Fault::name));
        let day = play(options, &mut caller, fault)?;
        is_good &= day.cut() == 0 && day.emergencies_fit();
        if fault.is_none() {
            println!("{}\n{}{}", day.confusion(), day.words(), day.emergencies());
            let surprises = day.surprises();
            for surprise in surprises.iter().take(20) {
                println!("not by the catalogue: {surprise}");
            }
            let late = day.late();
            if late > 0 {
                println!("{late} calls were judged without an answer that came too late: a busy machine.");
            }
            // Where a switch went on alone, its node's verdict came all the same.
            let fits = if day.unjudged() == 0 { day.journal_fits() } else { Ok(0) };
            match &fits {
                Ok(0) => println!(),
                Ok(count) => println!("The journals hold the {count} verdicts that the switches went by.\n"),
                Err(what) => println!("{what}\n"),
            }
            is_good &= surprises.is_empty() && fits.is_ok() && late <= day.calls.len() / LATE;
        } else {
            println!("With {}: {}", day.fault.map_or("", Fault::name), day.words());
            day.cuts().iter().take(20).for_each(|cut| println!("cut: {cut}"));
            println!("{}", day.emergencies());
        }
        days.push(day);
    }
    if options.faults || options.fault.is_some() {
        println!("{}", table::side_by_side(&days));
    }
    Ok(is_good)
}

fn play(options: &Options, caller: &mut Caller, fault: Option<Fault>) -> Result<Day> {
    let calls = day::calls(options.seed, options.calls);
    let mut country = Country::start(options, fault)?;
    for (operator, hlr) in &country.hlrs {
        hlr.register(&day::subscribers(&calls, *operator))?;
    }
    wait(country.started + Duration::from_secs(node::TTL_S + 1));
    let third = calls.len() / 3;
    let mut bar = Bar::on_terminal();
    bar.total(calls.len() as u64);
    let mut outcomes = caller.play(&calls[..third], options.calls_per_s, |made| bar.done(made as u64))?;
    country.befall(fault);
    let rest = |made: usize| bar.done((third + made) as u64);
    outcomes.extend(caller.play(&calls[third..], options.calls_per_s, rest)?);
    bar.clear();

    let (questions, silent) = country.questions();
    // Whatever is ill, emergency calls ring, and nobody is asked about them.
    let emergencies = day::emergencies();
    outcomes.extend(caller.play(&emergencies, options.calls_per_s, |_| {})?);
    let asked_of_emergencies = country.questions().0 != questions;
    let calls: Vec<_> = calls.into_iter().chain(emergencies).collect();
    let mut journal = BTreeMap::new();
    for member in MEMBERS {
        // The second node of an operator is told of no call.
        for (rule, count) in node::journal(&program()?, &options.work.join(member.name()))? {
            *journal.entry(rule).or_default() += count;
        }
    }
    Ok(Day { fault, calls, outcomes, questions, asked_of_emergencies, silent, journal })
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
    hlrs: Vec<(Operator, Hlr)>,
    store: Option<Store>,
    /// The node that the others ask, where the member has two.
    _second: Option<Process>,
    /// When the last node was ready.
    started: Instant,
}

impl Country {
    fn start(options: &Options, fault: Option<Fault>) -> Result<Country> {
        let credentials = node::Credentials::make(fault)?;
        let (mut nodes, mut switches, mut relays) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut hlrs = Vec::new();
        for member in MEMBERS {
            for asker in MEMBERS.into_iter().filter(|&asker| asker != member) {
                let has_two = fault == Some(Fault::StoreFailsOver) && member == Fault::MEMBER;
                let answers = if has_two { Seat::second(member) } else { Seat::of(member) };
                let relay = Relay::start(member.seen_by(asker), answers.exchange())?;
                relays.push((asker, member, relay));
            }
        }
        let store = (fault == Some(Fault::StoreFailsOver))
            .then(|| Store::start(&fresh(options.work.join("redis"))?))
            .transpose()?;
        let mut second = None;
        for operator in OPERATORS {
            let directory = fresh(options.work.join(operator.name()))?;
            if MEMBERS.contains(&operator) {
                let hlr = hlr::start_hlr(operator, &directory)?;
                let seat = Seat::of(operator);
                node::configure(seat, &directory, &credentials, &hlr, fault)?;
                nodes.insert(operator, node::start(seat, &program()?, &directory, fault)?);
                if store.is_some() && operator == Fault::MEMBER {
                    let seat = Seat::second(operator);
                    let directory = fresh(options.work.join(format!("{}-2", operator.name())))?;
                    node::configure(seat, &directory, &credentials, &hlr, fault)?;
                    second = Some(node::start(seat, &program()?, &directory, fault)?);
                }
                hlrs.push((operator, hlr));
            }
            switches.push(switch::start(operator, &options.root, &directory, fault)?);
        }
        let (started, _switches, _second) = (Instant::now(), switches, second);
        Ok(Country { nodes, _switches, relays, hlrs, store, _second, started })
    }

    /// What all nodes asked, by kind and outcome, and those that did not say.
    fn questions(&self) -> (BTreeMap<(String, String), u64>, Vec<Operator>) {
        let (mut questions, mut silent) = (BTreeMap::new(), Vec::new());
        for member in MEMBERS {
            let Some(of_node) = node::questions(member) else {
                silent.push(member);
                continue;
            };
            for ((_, kind, outcome), count) in of_node {
                *questions.entry((kind, outcome)).or_default() += count;
            }
        }
        (questions, silent)
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
            Some(Fault::HlrKilled) => {
                let hlr = self.hlrs.iter_mut().find(|(operator, _)| *operator == Fault::MEMBER);
                hlr.into_iter().for_each(|(_, hlr)| hlr.kill());
            }
            Some(Fault::StoreFailsOver) => {
                if let Some(store) = &mut self.store {
                    store.kill_primary();
                }
            }
            _ => {}
        }
    }
}

/// An empty directory, by its whole path: Kamailio and the node run elsewhere than this program.
fn fresh(directory: PathBuf) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    Ok(fs::canonicalize(directory)?)
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
