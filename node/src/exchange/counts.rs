//! What was asked, answered and refused between operators, for `/metrics` and the log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use exchange::BreakerState;

/// Counters of the exchange's thread, which alone writes them.
#[derive(Default)]
pub struct Counts {
    counted: Mutex<BTreeMap<Counted, u64>>,
    states: Mutex<BTreeMap<String, BreakerState>>,
    /// What the sources of where own subscribers are said.
    pub roaming: crate::roaming::counts::Counts,
    /// Microseconds that questions to members took, and how many were answered.
    took_us: AtomicU64,
    answers: AtomicU64,
    /// Looks into the shared store, and writes, that failed.
    pub shared_failures: AtomicU64,
    /// Calls that another member was to keep and was never told of.
    pub registrations_lost: AtomicU64,
    /// Letters that could not be kept.
    pub letters_lost: Arc<AtomicU64>,
}

/// A counter: what, which member, of which kind, with which outcome.
type Counted = (What, String, &'static str, &'static str);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Questions this node asked.
    Asked,
    /// Questions it answered.
    Answered,
    /// Letters and connections it refused.
    Refused,
}

impl What {
    fn metric(self) -> (&'static str, &'static str) {
        match self {
            What::Asked => {
                ("qalqan_exchange_questions_total", "Questions to other operators, by what came of them.")
            }
            What::Answered => {
                ("qalqan_exchange_answers_total", "Questions of other operators, by what was answered.")
            }
            What::Refused => {
                ("qalqan_exchange_refusals_total", "Letters of other operators that were refused.")
            }
        }
    }
}

impl Counts {
    pub fn add(&self, what: What, member: &str, kind: &'static str, outcome: &'static str) {
        let mut counted = self.counted.lock().expect("no panic inside");
        *counted.entry((what, member.to_owned(), kind, outcome)).or_default() += 1;
    }

    pub fn took(&self, time: std::time::Duration) {
        self.took_us.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_now(&self, member: &str, state: BreakerState) {
        let mut states = self.states.lock().expect("no panic inside");
        if states.get(member) != Some(&state) {
            states.insert(member.to_owned(), state);
        }
    }

    /// In the text format of Prometheus.
    pub fn write(&self, out: &mut String) {
        self.roaming.write(out);
        let counted = self.counted.lock().expect("no panic inside");
        let mut last = None;
        for ((what, member, kind, outcome), n) in counted.iter() {
            let (name, help) = what.metric();
            if last != Some(*what) {
                let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
                last = Some(*what);
            }
            let _ = writeln!(out, "{name}{{member=\"{member}\",kind=\"{kind}\",outcome=\"{outcome}\"}} {n}");
        }
        let states = self.states.lock().expect("no panic inside");
        let name = "qalqan_exchange_member_asked";
        let _ = writeln!(
            out,
            "# HELP {name} Whether a member is asked now: 0 while it rests.\n# TYPE {name} gauge"
        );
        for (member, state) in states.iter() {
            let asked = u8::from(*state != BreakerState::Resting);
            let _ = writeln!(out, "{name}{{member=\"{member}\"}} {asked}");
        }
        let name = "qalqan_exchange_shared_failures_total";
        let failures = self.shared_failures.load(Ordering::Relaxed);
        let help = "Looks into the shared store, and writes, that failed.";
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {failures}");
        let name = "qalqan_exchange_lost_registrations_total";
        let lost = self.registrations_lost.load(Ordering::Relaxed);
        let help = "Calls that the member who keeps them was never told of.";
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {lost}");
        let name = "qalqan_exchange_lost_letters_total";
        let lost = self.letters_lost.load(Ordering::Relaxed);
        let _ = writeln!(
            out,
            "# HELP {name} Letters that could not be kept.\n# TYPE {name} counter\n{name} {lost}"
        );
        let name = "qalqan_exchange_answer_seconds";
        let took = self.took_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "# HELP {name} Time that members took to answer.\n# TYPE {name} summary");
        let _ = writeln!(out, "{name}_sum {took}\n{name}_count {}", self.answers.load(Ordering::Relaxed));
    }
}
