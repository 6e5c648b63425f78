//! What the sources of roaming answers said, and how long they took, for `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use exchange::{Status, WhyUnknown};

use super::Whereabouts;

/// Upper bounds of the histogram, seconds.
const BOUNDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// Counters by source; one thread writes them.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<&'static str, OfSource>>);

#[derive(Default)]
struct OfSource {
    outcomes: BTreeMap<&'static str, u64>,
    /// By bound, the last beyond them all; and seconds in all.
    took: [u64; BOUNDS.len() + 1],
    took_s: f64,
}

impl Counts {
    pub fn add(&self, source: &'static str, said: &Whereabouts, took: Duration) {
        let mut sources = self.0.lock().expect("no panic inside");
        let of = sources.entry(source).or_default();
        *of.outcomes.entry(outcome(said)).or_default() += 1;
        let took_s = took.as_secs_f64();
        of.took[BOUNDS.iter().position(|&bound| took_s <= bound).unwrap_or(BOUNDS.len())] += 1;
        of.took_s += took_s;
    }

    /// In the text format of Prometheus.
    pub fn write(&self, out: &mut String) {
        let sources = self.0.lock().expect("no panic inside");
        if sources.is_empty() {
            return;
        }
        let name = "qalqan_roaming_questions_total";
        let help = "Questions where a subscriber is, by source and what it said.";
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for (source, of) in sources.iter() {
            for (outcome, n) in &of.outcomes {
                let _ = writeln!(out, "{name}{{source=\"{source}\",outcome=\"{outcome}\"}} {n}");
            }
        }
        let name = "qalqan_roaming_answer_seconds";
        let help = "Time that sources took to answer, the deadline where they did not.";
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (source, of) in sources.iter() {
            let mut so_far = 0;
            for (place, n) in of.took.iter().enumerate() {
                so_far += n;
                let bound = BOUNDS.get(place).map_or("+Inf".to_owned(), f64::to_string);
                let _ = writeln!(out, "{name}_bucket{{source=\"{source}\",le=\"{bound}\"}} {so_far}");
            }
            let _ = writeln!(out, "{name}_sum{{source=\"{source}\"}} {}", of.took_s);
            let _ = writeln!(out, "{name}_count{{source=\"{source}\"}} {so_far}");
        }
    }
}

fn outcome(said: &Whereabouts) -> &'static str {
    match (said.status, said.reason) {
        (Status::Roaming, _) => "roaming",
        (Status::NotRoaming, _) => "not-roaming",
        (Status::NotAssigned, _) => "not-assigned",
        (Status::Unknown, Some(WhyUnknown::Timeout)) => "timeout",
        (Status::Unknown, Some(WhyUnknown::SourceFailed)) => "source-failed",
        (Status::Unknown, Some(WhyUnknown::NotRegistered)) => "not-registered",
        (Status::Unknown, _) => "unknown",
    }
}
