//! Counters of a running node: each worker writes its own, anybody reads their sum.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use call::{Rule, Treatment, TrunkId, Verdict};

/// A counter with one writer: no locked instruction.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Trunks that are counted by name; more are judged all the same and counted together.
pub const TRUNKS: usize = 256;

/// What one worker has done since it started.
pub struct WorkerStats {
    /// Calls by rule and treatment.
    verdicts: [[Counter; Treatment::ALL.len()]; Rule::ALL.len()],
    trunks: [[Counter; Treatment::ALL.len()]; TRUNKS],
    pub calls: Counter,
    pub would_block: Counter,
    /// INVITEs answered again from memory.
    pub retransmissions: Counter,
    pub acks: Counter,
    pub health_checks: Counter,
    /// Requests answered with 4xx or 5xx and no verdict.
    pub refused_requests: Counter,
    /// Datagrams that are no request, or nobody to answer.
    pub ignored: Counter,
    pub unknown_source: Counter,
    /// Messages that made the node stumble: each is a bug, and its call went on unjudged.
    pub panics: Counter,
    pub unsent: Counter,
    /// In proxy mode: requests and responses passed on, and INVITEs sent to another next hop because the one
    /// before was silent.
    pub passed_on: Counter,
    pub passed_back: Counter,
    pub moved_on: Counter,
    /// Verdicts that the journal could not keep.
    pub journal_lost: Counter,
    /// Time spent in verdicts, nanoseconds.
    pub took_ns: Counter,
}

impl Default for WorkerStats {
    fn default() -> WorkerStats {
        WorkerStats {
            verdicts: std::array::from_fn(|_| Default::default()),
            trunks: std::array::from_fn(|_| Default::default()),
            calls: Counter::default(),
            would_block: Counter::default(),
            retransmissions: Counter::default(),
            acks: Counter::default(),
            health_checks: Counter::default(),
            refused_requests: Counter::default(),
            ignored: Counter::default(),
            unknown_source: Counter::default(),
            panics: Counter::default(),
            unsent: Counter::default(),
            passed_on: Counter::default(),
            passed_back: Counter::default(),
            moved_on: Counter::default(),
            journal_lost: Counter::default(),
            took_ns: Counter::default(),
        }
    }
}

impl WorkerStats {
    #[inline]
    pub fn screened(&self, trunk: TrunkId, verdict: &Verdict, took_ns: u32) {
        let treatment = usize::from(verdict.treatment.code());
        self.calls.add(1);
        self.verdicts[verdict.rule as usize][treatment].add(1);
        self.trunks[usize::from(trunk.0).min(TRUNKS - 1)][treatment].add(1);
        self.took_ns.add(u64::from(took_ns));
        if verdict.would.is_some_and(|would| would.treatment == Treatment::Block) {
            self.would_block.add(1);
        }
    }
}

/// The counters of all workers.
#[derive(Clone, Default)]
pub struct Stats(pub Vec<Arc<WorkerStats>>);

impl Stats {
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.0.iter().map(|worker| counter(worker).get()).sum()
    }

    pub fn by_rule(&self, rule: Rule, treatment: Treatment) -> u64 {
        self.sum(|worker| &worker.verdicts[rule as usize][usize::from(treatment.code())])
    }

    pub fn by_trunk(&self, trunk: usize, treatment: Treatment) -> u64 {
        self.sum(|worker| &worker.trunks[trunk.min(TRUNKS - 1)][usize::from(treatment.code())])
    }

    /// Calls whose treatment has this name: allow, mark, withhold, block.
    pub fn by_treatment(&self, name: &str) -> u64 {
        let of_name = Treatment::ALL.into_iter().filter(|treatment| treatment.name() == name);
        of_name
            .map(|treatment| Rule::ALL.iter().map(|&rule| self.by_rule(rule, treatment)).sum::<u64>())
            .sum()
    }
}
