//! The journal by itself: what an append costs a worker, how fast segments are made, and how small they are.
//!
//! The records are those of the small country, with Call-IDs of 128 random bits in hex and times it took as a loaded
//! worker has them: nothing that a compressor could make use of and a real journal would not have.

use std::hint::black_box;
use std::time::Instant;

use call::TrunkId;
use journal::{HEADER_LEN, Log, LogHead, Numbers, NumbersKey, RECORD_LEN, Record, Records};
use qalqan::store::segment::{self, Hiding};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use screening::screen;
use simulator::{Country, Event};

/// What one way of keeping numbers comes to.
pub struct Measured {
    pub numbers: Numbers,
    pub append_ns: f64,
    /// A closed log read: what the sealer begins with.
    pub read_ns: f64,
    /// The rest: rows laid out, hashed, encoded, compressed.
    pub seal_ns: f64,
    /// Parquet and seal.
    pub bytes_a_call: f64,
}

pub fn records(count: usize, calls_per_day: u64, call_id: &dyn Fn(u128) -> String) -> Vec<Record> {
    let country = Country::new(1);
    let policy = country.policy();
    let mut traffic = country.traffic().calls_per_day(calls_per_day);
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let mut event = Event::default();
    (0..count)
        .map(|_| {
            traffic.next_into(&mut event);
            let call = policy.intake(event.time_ms, TrunkId(event.trunk as u16), &event.fields());
            let verdict = screen(&policy, &call);
            // Most of a kind, and a long tail.
            let took_ns = 1_500.0 / (1.0 - random.random::<f64>()).powf(0.4);
            Record::new(call, verdict, policy.basis_id(), took_ns as u32, call_id(random.random()).as_bytes())
        })
        .collect()
}

pub fn hex_call_id(bits: u128) -> String {
    format!("{bits:032x}")
}

pub fn measure(records: &[Record], rounds: usize) -> Vec<Measured> {
    let key = NumbersKey::new([7; 32]);
    let trunks: Vec<std::sync::Arc<str>> =
        Country::new(1).trunks().iter().map(|trunk| trunk.name.as_str().into()).collect();
    [Numbers::Clear, Numbers::Hashed, Numbers::Encrypted]
        .into_iter()
        .map(|numbers| {
            let mut bytes = vec![0u8; HEADER_LEN + records.len() * RECORD_LEN];
            let log_key = (numbers != Numbers::Clear).then_some((&key, [1; 12]));
            let mut append_ns = f64::MAX;
            for _ in 0..rounds {
                let mut log = Log::begin(&mut bytes[..], 0, log_key);
                let started = Instant::now();
                for record in records {
                    black_box(log.append(black_box(record)));
                }
                append_ns = append_ns.min(started.elapsed().as_nanos() as f64 / records.len() as f64);
            }
            let opening = || LogHead::read(&bytes).expect("a log").opening(std::slice::from_ref(&key));
            let mut read: Vec<Record> = Vec::with_capacity(records.len());
            let mut read_ns = f64::MAX;
            for _ in 0..rounds {
                read.clear();
                let started = Instant::now();
                read.extend(Records::of_slots(&bytes[HEADER_LEN..], 0, &mut opening()));
                read_ns = read_ns.min(started.elapsed().as_nanos() as f64 / records.len() as f64);
            }
            assert_eq!(read.len(), records.len());
            let hiding = Hiding { numbers, key: &key, nonce: [2; 12] };
            let mut name = |record: &Record| trunks[usize::from(record.call.trunk.0)].clone();
            let mut seal_ns = f64::MAX;
            let mut made = None;
            for _ in 0..rounds {
                let started = Instant::now();
                let segment = segment::make(1, read.iter(), &mut name, &hiding).expect("records of our own");
                seal_ns = seal_ns.min(started.elapsed().as_nanos() as f64 / records.len() as f64);
                made = Some(segment);
            }
            let (file, sealed) = made.expect("a round at least");
            let entry =
                journal::Entry::new("", 1, String::new(), 0, journal::Event::Segment(Box::new(sealed)));
            let seal = entry.sign(&journal::SigningKey::new([1; 32]));
            let bytes_a_call = (file.len() + seal.len()) as f64 / records.len() as f64;
            if let Some(path) = std::env::var_os("KEEP_SEGMENT") {
                let path = std::path::Path::new(&path).join(format!("{}.parquet", numbers.name()));
                std::fs::write(path, file).expect("a directory");
            }
            Measured { numbers, append_ns, read_ns, seal_ns, bytes_a_call }
        })
        .collect()
}
