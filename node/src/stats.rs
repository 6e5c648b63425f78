//! Counters of a running node: each worker writes its own, anybody reads their sum.
//!
//! A counter that `/metrics` shows is one line in the table below: its words, its field, its name there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use call::{Reason, Rule, Treatment};
use journal::Record;

use crate::traces::{Origin, Tracer};
use crate::watching::Tail;

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

/// A counter as `/metrics` shows it.
pub struct Described {
    pub name: &'static str,
    /// `cause="stumble"`; empty: none.
    pub labels: &'static str,
    pub help: &'static str,
    pub of: fn(&WorkerStats) -> &Counter,
}

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $field:ident = $name:literal $(, $labels:literal)?;)*) => {
        /// What one worker has done since it started.
        pub struct WorkerStats {
            /// How its calls come in: `udp`, `tcp`, `tls`, `http`.
            pub door: &'static str,
            /// Calls by trunk, rule and treatment; and what the first monitored rule that hit would have done.
            verdicts: Table,
            would: Table,
            /// Every monitored rule that hit, by trunk and rule.
            monitored: Box<[Counter]>,
            /// Calls blocked by the operator's own list, by trunk: R04 says nothing of the trunk then.
            listed: Box<[Counter]>,
            latency: [Counter; BUCKETS + 1],
            pub calls: Counter,
            pub would_block: Counter,
            /// Time spent in verdicts, nanoseconds.
            pub took_ns: Counter,
            /// Takes copies of sampled calls; none where no traces are wanted.
            pub tracer: Option<Tracer>,
            /// Takes copies of calls; none where nobody watches numbers.
            pub tail: Option<Tail>,
            $($(#[doc = $help])+ pub $field: Counter,)*
        }

        impl WorkerStats {
            /// The counters of a worker whose calls come in by `door`.
            pub fn of(door: &'static str) -> WorkerStats {
                WorkerStats {
                    door,
                    verdicts: Table::default(),
                    would: Table::default(),
                    monitored: counters(TRUNKS * Rule::ALL.len()),
                    listed: counters(TRUNKS),
                    latency: std::array::from_fn(|_| Counter::default()),
                    calls: Counter::default(),
                    would_block: Counter::default(),
                    took_ns: Counter::default(),
                    tracer: None,
                    tail: None,
                    $($field: Counter::default(),)*
                }
            }

            /// The counters that stand by themselves.
            pub const DESCRIBED: &[Described] = &[$(Described {
                name: $name,
                labels: concat!($($labels)?),
                help: concat!($($help),+),
                of: |stats| &stats.$field,
            },)*];
        }
    };
}

counters! {
    /// INVITEs answered again from memory.
    retransmissions = "qalqan_retransmissions_total";
    /// ACKs taken.
    acks = "qalqan_acks_total";
    /// OPTIONS answered with the node's health.
    health_checks = "qalqan_health_checks_total";
    /// Requests answered with 4xx or 5xx and no verdict.
    refused_requests = "qalqan_refused_requests_total";
    /// Messages that are no request, or nobody to answer.
    ignored = "qalqan_ignored_messages_total";
    /// Calls from addresses or by names of no trunk.
    unknown_source = "qalqan_unknown_source_calls_total";
    /// Calls that went on unjudged because the node failed: each is a bug or a full socket.
    panics = "qalqan_fail_open_calls_total", "cause=\"stumble\"";
    /// Datagrams that the kernel dropped because more came than this worker can answer.
    shed = "qalqan_shed_datagrams_total";
    /// Calls that went on unjudged because the node failed: each is a bug or a full socket.
    unsent = "qalqan_fail_open_calls_total", "cause=\"answer-not-sent\"";
    /// Calls judged without asking other operators, because more of them waited for answers than may.
    unasked = "qalqan_exchange_unasked_calls_total";
    /// Requests passed on in proxy mode.
    passed_on = "qalqan_proxy_requests_total";
    /// Responses passed back in proxy mode.
    passed_back = "qalqan_proxy_responses_total";
    /// INVITEs sent to another next hop because the one before was silent.
    moved_on = "qalqan_proxy_moved_on_total";
    /// Verdicts that the journal could not keep.
    journal_lost = "qalqan_journal_lost_verdicts_total";
    /// HTTP requests with a key that is not in the file, or expired.
    wrong_keys = "qalqan_http_wrong_keys_total";
    /// HTTP connections taken.
    connections_opened = "qalqan_http_connections_opened_total";
    /// HTTP connections ended.
    connections_closed = "qalqan_http_connections_closed_total";
    /// HTTP connections turned away because there were too many.
    connections_refused = "qalqan_http_connections_refused_total";
    /// HTTP connections ended because a request, or nothing, took too long.
    connections_slow = "qalqan_http_connections_timed_out_total";
    /// TLS handshakes of HTTP connections that failed.
    handshakes_failed = "qalqan_http_handshakes_failed_total";
    /// Sampled calls that the queue of traces had no room for.
    traces_dropped = "qalqan_traces_dropped_total";
    /// Calls that whoever watches numbers did not see, because too many waited.
    unseen = "qalqan_behaviour_unseen_calls_total";
}

/// Trunks that are counted by name; the last two places are kept for those that have none here.
pub const TRUNKS: usize = 256;
/// The place of calls from no trunk.
pub const UNKNOWN: u16 = TRUNKS as u16 - 1;
/// The place of trunks beyond the first 254, counted together.
pub const OTHERS: u16 = TRUNKS as u16 - 2;

/// Buckets of the time a verdict took: 1.024 µs, doubled up to 1.07 s; what takes longer comes behind them.
pub const BUCKETS: usize = 21;

/// The upper bound of a bucket, included, in nanoseconds.
pub fn bucket_ns(bucket: usize) -> u64 {
    1024 << bucket
}

#[inline]
fn bucket_of(took_ns: u32) -> usize {
    let above = took_ns.saturating_sub(1) >> 10;
    (u32::BITS - above.leading_zeros()).min(BUCKETS as u32) as usize
}

fn counters(n: usize) -> Box<[Counter]> {
    std::iter::repeat_with(Counter::default).take(n).collect()
}

/// Counters by trunk, rule and treatment.
struct Table(Box<[Counter]>);

impl Default for Table {
    fn default() -> Table {
        Table(counters(TRUNKS * Rule::ALL.len() * Treatment::ALL.len()))
    }
}

impl Table {
    #[inline]
    fn at(&self, trunk: u16, rule: Rule, treatment: Treatment) -> &Counter {
        let row = usize::from(trunk).min(TRUNKS - 1) * Rule::ALL.len() + rule as usize;
        &self.0[row * Treatment::ALL.len() + usize::from(treatment.code())]
    }
}

impl Default for WorkerStats {
    fn default() -> WorkerStats {
        WorkerStats::of("udp")
    }
}

impl WorkerStats {
    /// Counts a verdict; `place` is that of its trunk ([`Setup::place`](crate::config::Setup::place)).
    #[inline]
    pub fn screened(&self, place: u16, record: &Record) {
        let verdict = &record.verdict;
        if let Some(tail) = &self.tail
            && !tail.note(place, record)
        {
            self.unseen.add(1);
        }
        self.calls.add(1);
        self.verdicts.at(place, verdict.rule, verdict.treatment).add(1);
        if verdict.reason == Reason::OnBlockList {
            self.listed[usize::from(place).min(TRUNKS - 1)].add(1);
        }
        self.took_ns.add(u64::from(record.took_ns));
        self.latency[bucket_of(record.took_ns)].add(1);
        if let Some(would) = verdict.would {
            self.would.at(place, would.rule, would.treatment).add(1);
            for rule in verdict.monitored.iter() {
                self.monitored[usize::from(place).min(TRUNKS - 1) * Rule::ALL.len() + rule as usize].add(1);
            }
            if would.treatment == Treatment::Block {
                self.would_block.add(1);
            }
        }
    }

    /// Hands a copy to those who trace, if this call is one of the sampled.
    #[inline]
    pub fn traced(&self, record: &Record, origin: Origin) {
        if let Some(tracer) = &self.tracer
            && !tracer.take(record, origin, self.door)
        {
            self.traces_dropped.add(1);
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

    /// Calls of one place among trunks.
    pub fn verdicts(&self, place: u16, rule: Rule, treatment: Treatment) -> u64 {
        self.sum(|worker| worker.verdicts.at(place, rule, treatment))
    }

    /// Calls that the first monitored rule would have treated so.
    pub fn would(&self, place: u16, rule: Rule, treatment: Treatment) -> u64 {
        self.sum(|worker| worker.would.at(place, rule, treatment))
    }

    pub fn monitored(&self, place: u16, rule: Rule) -> u64 {
        self.sum(|worker| &worker.monitored[usize::from(place) * Rule::ALL.len() + rule as usize])
    }

    /// Calls of a trunk blocked by the operator's own list.
    pub fn listed(&self, place: u16) -> u64 {
        self.sum(|worker| &worker.listed[usize::from(place)])
    }

    pub fn by_rule(&self, rule: Rule, treatment: Treatment) -> u64 {
        (0..TRUNKS as u16).map(|place| self.verdicts(place, rule, treatment)).sum()
    }

    /// Calls whose treatment has this name: allow, mark, withhold, block.
    pub fn by_treatment(&self, name: &str) -> u64 {
        let of_name = Treatment::ALL.into_iter().filter(|treatment| treatment.name() == name);
        of_name
            .map(|treatment| Rule::ALL.iter().map(|&rule| self.by_rule(rule, treatment)).sum::<u64>())
            .sum()
    }

    /// The doors that calls come in by, each once.
    pub fn doors(&self) -> Vec<&'static str> {
        let mut doors: Vec<_> = self.0.iter().map(|worker| worker.door).collect();
        doors.sort_unstable();
        doors.dedup();
        doors
    }

    /// Verdicts of a door by the time they took, one count a bucket, and the sum of their times in ns.
    pub fn latency(&self, door: &str) -> ([u64; BUCKETS + 1], u64) {
        let of_door = self.0.iter().filter(|worker| worker.door == door);
        let took_ns = of_door.clone().map(|worker| worker.took_ns.get()).sum();
        let count = |bucket: usize| of_door.clone().map(|worker| worker.latency[bucket].get()).sum();
        (std::array::from_fn(count), took_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_bound_and_nothing_above() {
        for bucket in 0..BUCKETS {
            let bound = bucket_ns(bucket) as u32;
            assert_eq!(bucket_of(bound), bucket);
            assert_eq!(bucket_of(bound + 1), bucket + 1);
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u32::MAX), BUCKETS);
    }
}
