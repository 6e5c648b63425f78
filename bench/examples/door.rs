//! The door alone, without sockets: 20,000 INVITEs of the corpus, so often as the first argument says.
//!
//! For counting instructions: `valgrind --tool=callgrind target/release/examples/door 1`, then with 2; the
//! difference is what 20,000 calls cost.

use std::hash::RandomState;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bench::corpus::{Invite, TRUNKS, pairs};
use qalqan::config::{Origin, load};
use qalqan::door::{Door, Moment, Peer};
use qalqan::retransmission::Recent;
use qalqan::stats::WorkerStats;
use qalqan::store::{Store, now_ms};

fn main() {
    let rounds: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(50);
    let directory = std::env::temp_dir().join(format!("qalqan-door-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let file: PathBuf = directory.join("qalqan.toml");
    let trunks: String = TRUNKS
        .iter()
        .map(|(host, class)| format!("[trunk.{class}]\nclass = \"{class}\"\nsource = [\"{host}\"]\n"))
        .collect();
    let journal = directory.join("journal");
    let text = format!("[sip]\nonward = \"192.0.2.10\"\n[journal]\ndirectory = {journal:?}\n{trunks}");
    std::fs::write(&file, text).expect("a file");
    let setup = Arc::new(load(&Origin::File(file)).unwrap_or_else(|faults| panic!("{faults}")));
    let store = Store::open(&setup.journal).expect("a journal");
    let (mut writer, stats) = (store.writer(), WorkerStats::default());
    let mut recent = Recent::new(RandomState::new());
    let calls: Vec<(Invite, SocketAddr)> = pairs(7)
        .iter()
        .map(|pair| {
            let source = SocketAddr::new(TRUNKS[pair.trunk].0.parse().expect("an address"), 5060);
            (Invite::new(pair, "127.0.0.1:5060"), source)
        })
        .collect();

    let (mut parser, mut message, mut out) = (sip::Parser::new(), Vec::new(), Vec::new());
    let started = Instant::now();
    let mut answered = 0u64;
    for round in 0..rounds {
        for (place, (invite, source)) in calls.iter().enumerate() {
            message.clear();
            out.clear();
            invite.write(round * calls.len() as u64 + place as u64, &mut message);
            let mut door = Door {
                setup: &setup,
                recent: &mut recent,
                journal: &mut writer,
                stats: &stats,
                journal_failing: false,
                line: None,
                settled: None,
            };
            let moment = Moment { now_ms: now_ms(), started: Instant::now() };
            door.handle(&mut parser, &message, Peer { address: *source, connection: None }, moment, &mut out);
            answered += u64::from(out.starts_with(b"SIP/2.0 302") || out.starts_with(b"SIP/2.0 603"));
        }
    }
    let calls = rounds * calls.len() as u64;
    assert_eq!(answered, calls, "every call gets its verdict");
    println!("{calls} calls, {} ns each", started.elapsed().as_nanos() as u64 / calls.max(1));
    drop((writer, store));
    let _ = std::fs::remove_dir_all(directory);
}
