//! Lists as carriers have them: made from CSV, opened from their compact files, and asked by calls.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lists::{List, Version};
use numbering::Plan;
use qalqan::list_file::{self, Reading, Untold};
use screening::{ListName, Lists, Policy};

use crate::{corpus, judge};

/// Of a thousand entries, how many are on each list: do-not-originate a tenth, opt-outs a hundredth, the rest numbers that
/// nobody holds.
const SHARES: [(ListName, usize); 4] = [
    (ListName::DoNotOriginate, 100),
    (ListName::NoInternational, 5),
    (ListName::NoOutboundRoaming, 5),
    (ListName::Unallocated, 890),
];

/// National codes that entries have, each for ten million numbers: those that calls of the corpus come from first.
const CODES: [u64; 10] = [701, 702, 705, 707, 747, 771, 775, 776, 777, 778];

pub struct Measured {
    pub entries: usize,
    pub one_in: usize,
    pub bits_an_entry: f64,
    /// From CSV on disk to the list in memory, and on to its compact file, made durable.
    pub read_per_s: f64,
    pub packed_per_s: f64,
    /// All lists from their compact files, and the policy of them, by the clock.
    pub open_ms: f64,
    pub policy_ms: f64,
    /// Judging calls that were taken in before; taking in and judging; taking in alone.
    pub judge_ns: f64,
    pub whole_ns: f64,
    pub intake_ns: f64,
    pub blocked: f64,
}

/// The entry of an index: one in so many numbers of the codes in use, which one is left to a hash.
fn number(index: u64, one_in: u64) -> u64 {
    let place = index * one_in + (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % one_in;
    let (code, subscriber) = (place / 10_000_000, place % 10_000_000);
    let code = match CODES.get(code as usize) {
        Some(&code) => code,
        // The others in turn: first the hundred that begin with 7, then all.
        None => {
            let order = (700..800).chain(0..700).chain(800..1000);
            let mut others = order.filter(|code| !CODES.contains(code));
            others.nth(code as usize - CODES.len()).expect("no more than a thousand codes")
        }
    };
    70_000_000_000 + code * 10_000_000 + subscriber
}

/// The lists that contenders hold, packed, in files named after the keys of `[lists]`: 10 million do-not-originate
/// numbers, a million opt-outs, and `dedicated.list`, 100,000 numbers of a dedicated trunk; a thousandth of it all where
/// it is `small`. Made once.
pub fn carrier(directory: &Path, small: bool) -> Result<(), Box<dyn std::error::Error>> {
    let scale = if small { 1000 } else { 1 };
    let text = include_str!("../../plans/kz.toml");
    let plan = Plan::parse(text)?;
    let all = [
        (Some(ListName::DoNotOriginate), 10_000_000 / scale, 100),
        (Some(ListName::NoInternational), 1_000_000 / scale, 1000),
        (None, 100_000 / scale, 50),
    ];
    std::fs::create_dir_all(directory)?;
    for (name, entries, one_in) in all {
        let packed = directory.join(name.map_or("dedicated", ListName::name)).with_extension("list");
        if packed.exists() {
            continue;
        }
        let mut csv = b"number,owner,expires,note\n".to_vec();
        for index in 0..entries {
            writeln!(csv, "+{},bench,,", number(index, one_in))?;
        }
        // What every contender lists.
        for number in corpus::do_not_originate().filter(|_| name == Some(ListName::DoNotOriginate)) {
            writeln!(csv, "{number},bench,,")?;
        }
        let reading = Reading { plan: &plan, plan_version: Version::of(text.as_bytes()), name };
        let list = List::read(&csv[..], &plan, |_| Ok(0))?;
        list_file::pack(&list, &reading.stamp(), &packed)?;
    }
    Ok(())
}

/// The CSV files of all lists, their lines in no order.
fn write_csv(directory: &Path, entries: usize, one_in: usize, in_order: bool) -> io::Result<()> {
    let mut files = Vec::new();
    for (name, share) in SHARES {
        let file = File::create(directory.join(format!("{}.csv", name.name())))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(b"number,owner,expires,note\n")?;
        files.push((file, share));
    }
    // Strides through all indices: a prime that does not divide how many there are.
    let stride = if in_order { 1 } else { 61_803_399 };
    let mut index = 0;
    for _ in 0..entries {
        index = (index + stride) % entries;
        let mut share = (index as u64).wrapping_mul(0xd6e8_feb8_6659_fd93) as usize >> 32;
        share %= 1000;
        for (file, own) in &mut files {
            if share < *own {
                writeln!(file, "+{},operator,2099-12-31,", number(index as u64, one_in as u64))?;
                break;
            }
            share -= *own;
        }
    }
    files.into_iter().try_for_each(|(mut file, _)| file.flush())
}

pub fn measure(
    directory: &Path,
    entries: usize,
    one_in: usize,
    calls: usize,
    in_order: bool,
) -> Result<Measured, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(directory)?;
    write_csv(directory, entries, one_in, in_order)?;
    let text = include_str!("../../plans/kz.toml");
    let plan = Arc::new(Plan::parse(text)?);
    let reading =
        |name| Reading { plan: &plan, plan_version: Version::of(text.as_bytes()), name: Some(name) };

    let (mut read_s, mut packed_s, mut count) = (0.0, 0.0, 0);
    for (name, _) in SHARES {
        let (csv, packed) = paths(directory, name);
        let start = judge::cpu_ns();
        let list = list_file::read(&csv, &reading(name), &mut Untold)?;
        read_s += (judge::cpu_ns() - start) as f64 / 1e9;
        count += list.len();
        list_file::pack(&list, &reading(name).stamp(), &packed)?;
        packed_s += (judge::cpu_ns() - start) as f64 / 1e9;
        std::fs::remove_file(&csv)?;
    }

    let start = Instant::now();
    let mut lists = Lists::default();
    let mut memory = 0;
    for (name, _) in SHARES {
        let list = list_file::read(&paths(directory, name).1, &reading(name), &mut Untold)?;
        memory += list.memory();
        lists.set(name, Arc::new(list));
    }
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let policy = Policy::new(plan.clone(), judge::trunks(), lists, String::new(), String::new());
    let policy_ms = start.elapsed().as_secs_f64() * 1e3;
    let asked = judge::measure(&policy, calls, 3);
    Ok(Measured {
        entries: count,
        one_in,
        bits_an_entry: (memory + policy.atlas_memory()) as f64 * 8.0 / count as f64,
        read_per_s: count as f64 / read_s,
        packed_per_s: count as f64 / packed_s,
        open_ms,
        policy_ms,
        judge_ns: asked.judge_ns,
        whole_ns: asked.whole_ns,
        intake_ns: asked.intake_ns,
        blocked: asked.blocked,
    })
}

fn paths(directory: &Path, name: ListName) -> (std::path::PathBuf, std::path::PathBuf) {
    let path = directory.join(name.name());
    (path.with_extension("csv"), path.with_extension("list"))
}
