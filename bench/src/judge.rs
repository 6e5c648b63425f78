//! The verdict by itself: normalising and judging, no wire.

use std::hint::black_box;
use std::sync::Arc;

use call::{Call, Treatment, TrunkClass, TrunkId};
use lists::List;
use numbering::{Dialling, Plan};
use rules::Modes;
use screening::{Fields, ListName, Lists, Policy, Trunk, screen};

use crate::corpus::{self, Pair, TRUNKS};

/// A policy with every list set, `entries` of them in all.
pub fn policy(entries: usize) -> Policy {
    let plan = Arc::new(Plan::parse(include_str!("../../plans/kz.toml")).expect("a shipped plan"));
    let mut lists = Lists::default();
    let each = entries / ListName::ALL.len();
    for (place, name) in ListName::ALL.into_iter().enumerate() {
        let note = if name == ListName::Exempt { "R08" } else { "" };
        let mut csv = String::with_capacity(each * 40);
        csv.push_str("number,owner,expires,note\n");
        for n in 0..each {
            // Numbers of ranges that the corpus calls from, spread over them: a look-up misses in memory, not in cache.
            let subscriber = (n * 7919) % 10_000_000;
            csv.push_str(&format!("+77{:02}{subscriber:07},bench,2099-12-31,{note}\n", place + 10));
        }
        let list = List::read(csv.as_bytes(), &plan, |note| name.flags(note)).expect("a list of our own");
        lists.set(name, Arc::new(list));
    }
    Policy::new(plan, trunks(), lists, String::new(), String::new())
}

pub fn trunks() -> Vec<Trunk> {
    TRUNKS
        .iter()
        .map(|(_, class)| {
            let class = TrunkClass::from_name(class).expect("a class");
            Trunk {
                name: class.name().to_owned(),
                class,
                dialling: Dialling { national: class.is_national(), international_prefixes: Vec::new() },
                modes: Modes::default(),
                registered: None,
                roaming_number_cap: None,
                diverted_cap: None,
                behaviour_threshold: 80,
                place: 0,
            }
        })
        .collect()
}

pub fn intake(policy: &Policy, pair: &Pair, time_ms: i64) -> Call {
    let fields = Fields {
        calling: &pair.calling,
        presentation: &pair.calling,
        called: &pair.called,
        ..Fields::default()
    };
    policy.intake(time_ms, TrunkId(pair.trunk as u16), &fields)
}

/// Nanoseconds that this thread was on a core: what others take of a shared machine does not count.
pub fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds first")
}

pub struct Asked {
    /// Nanoseconds a call: judging alone, normalising and judging, normalising alone.
    pub judge_ns: f64,
    pub whole_ns: f64,
    pub intake_ns: f64,
    /// The share of calls that were blocked.
    pub blocked: f64,
}

/// Mean of `rounds`, each over `calls` mixed calls, rounded up to whole corpora: the more, the less stays in the cache from
/// the round before.
pub fn measure(policy: &Policy, calls: usize, rounds: usize) -> Asked {
    let seeds = calls.div_ceil(corpus::PAIRS) as u64;
    let pairs: Vec<Pair> = (1..=seeds).flat_map(corpus::pairs).collect();
    let calls: Vec<Call> = pairs.iter().map(|pair| intake(policy, pair, 0)).collect();
    let time = |work: &mut dyn FnMut()| {
        work();
        let start = cpu_ns();
        (0..rounds).for_each(|_| work());
        (cpu_ns() - start) as f64 / (rounds * pairs.len()) as f64
    };
    let blocked = calls.iter().filter(|call| screen(policy, call).treatment == Treatment::Block).count();
    Asked {
        blocked: blocked as f64 / calls.len() as f64,
        judge_ns: time(&mut || {
            calls.iter().for_each(|call| {
                black_box(screen(policy, black_box(call)));
            })
        }),
        whole_ns: time(&mut || {
            for pair in &pairs {
                let call = intake(policy, black_box(pair), 0);
                black_box(screen(policy, &call));
            }
        }),
        intake_ns: time(&mut || {
            for pair in &pairs {
                black_box(intake(policy, black_box(pair), 0));
            }
        }),
    }
}
