//! `/metrics`: what a node counts, in the text format of Prometheus (version 0.0.4).
//!
//! Names and units follow Prometheus's own conventions; docs/metrics.md explains each, and a test compares the
//! two. Counters that stand by themselves come from the table in [`crate::stats`].

pub mod process;
mod sockets;

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use call::{Rule, Treatment};

use crate::config::Setup;
use crate::connections::Connections;
use crate::exchange::{Counts, Line};
use crate::http::{Answered, Route, STATUSES};
use crate::nats;
use crate::scorecard::{Counted, Score};
use crate::stats::{BUCKETS, Described, OTHERS, Stats, TRUNKS, UNKNOWN, WorkerStats, bucket_ns};
use crate::store::now_ms;
use crate::watching::Watching;

/// What is counted between operators, and the line to the thread that asks them.
type Exchanging = (Arc<Counts>, Line);

/// What is looked at when somebody asks how a node is.
pub struct Watch {
    setup: Arc<ArcSwap<Setup>>,
    stats: Stats,
    answered: Vec<Arc<Answered>>,
    connections: Arc<Connections>,
    places: Arc<Places>,
    exchange: Option<Exchanging>,
    scorecard: Arc<Counted>,
    nats: Option<Arc<nats::Counts>>,
    loans: Option<Arc<crate::loans::Counts>>,
    watching: Option<Arc<Watching>>,
    casework: Option<Arc<crate::casework::Counts>>,
    loaded_ms: AtomicI64,
    reloads: AtomicU64,
    refused_reloads: AtomicU64,
    last_reload_refused: AtomicBool,
    stopping: AtomicBool,
}

impl Watch {
    pub fn new(
        setup: Arc<ArcSwap<Setup>>,
        stats: Stats,
        answered: Vec<Arc<Answered>>,
        connections: Arc<Connections>,
        places: Arc<Places>,
        (exchange, loans): (Option<Exchanging>, Option<Arc<crate::loans::Counts>>),
        scorecard: Arc<Counted>,
    ) -> Watch {
        Watch {
            setup,
            stats,
            answered,
            connections,
            places,
            exchange,
            scorecard,
            nats: None,
            loans,
            watching: None,
            casework: None,
            loaded_ms: AtomicI64::new(now_ms()),
            reloads: AtomicU64::new(0),
            refused_reloads: AtomicU64::new(0),
            last_reload_refused: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }

    /// With what goes through NATS.
    pub fn with_nats(self, nats: Option<Arc<nats::Counts>>) -> Watch {
        Watch { nats, ..self }
    }

    /// With whoever watches numbers while they call.
    pub fn with_watching(self, watching: Option<Arc<Watching>>) -> Watch {
        Watch { watching, ..self }
    }

    pub fn watching(&self) -> Option<&Watching> {
        self.watching.as_deref()
    }

    pub fn with_casework(self, casework: Option<Arc<crate::casework::Counts>>) -> Watch {
        Watch { casework, ..self }
    }

    /// Another configuration is in force, or was refused.
    pub fn reloaded(&self, is_in_force: bool) {
        self.last_reload_refused.store(!is_in_force, Ordering::Relaxed);
        match is_in_force {
            true => {
                self.reloads.fetch_add(1, Ordering::Relaxed);
                self.loaded_ms.store(now_ms(), Ordering::Relaxed);
            }
            false => {
                self.refused_reloads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// What each trunk handed over by day.
    pub fn scores(&self) -> Vec<Score> {
        self.scorecard.scores()
    }

    /// Everything, as Prometheus reads it.
    pub fn metrics(&self, journal_failing: bool) -> String {
        let mut page = Page(String::with_capacity(32_768));
        let setup = self.setup.load();
        self.verdicts(&mut page);
        self.latency(&mut page);
        for described in WorkerStats::DESCRIBED {
            let Described { name, labels, help, of } = described;
            page.head(name, "counter", help.trim());
            page.raw(name, labels, self.stats.sum(of));
        }
        self.http(&mut page);
        page.head("qalqan_journal_failing", "gauge", "1 while the journal takes no verdicts.");
        page.value("qalqan_journal_failing", &[], u8::from(journal_failing));
        let help = "Logs of the journal that are written to or wait to be sealed: more and more where sealing fails or does not keep up.";
        page.head("qalqan_journal_logs", "gauge", help);
        let logs = crate::store::logs::logs(&setup.journal.directory);
        page.value("qalqan_journal_logs", &[], logs.map_or(0, |logs| logs.len()));
        self.configuration(&mut page, &setup);
        sockets::write(&mut page, &setup.sip.listen);
        self.connections(&mut page);
        if let Some((counts, line)) = &self.exchange {
            counts.write(&mut page.0);
            let (help, calls) = ("Calls that other operators can ask about.", line.calls());
            page.head("qalqan_exchange_open_calls", "gauge", help);
            page.value("qalqan_exchange_open_calls", &[], calls.open(now_ms()));
            let help =
                "Calls forgotten before their time because too many were open: raise exchange.open-calls.";
            page.head("qalqan_exchange_forgotten_calls_total", "counter", help);
            page.value("qalqan_exchange_forgotten_calls_total", &[], calls.evicted());
        }
        if let Some(nats) = &self.nats {
            nats.write(&mut page);
        }
        if let Some(loans) = &self.loans {
            let mut named = "";
            for (name, labels, help, value) in loans.described() {
                if name != named {
                    page.head(name, if name.ends_with("_total") { "counter" } else { "gauge" }, help);
                    named = name;
                }
                page.raw(name, &labels, value);
            }
            if setup.loans.as_ref().is_some_and(|loans| loans.smpp.is_some()) {
                for (name, kind, labels, help, value) in loans.smpp.described() {
                    if name != named {
                        page.head(name, kind, help);
                        named = name;
                    }
                    page.raw(name, &labels, value);
                }
            }
        }
        if let Some(watching) = &self.watching {
            watching.counts.write(&mut page);
        }
        if let Some(casework) = &self.casework {
            let mut named = "";
            for (name, kind, labels, help, value) in casework.described() {
                if name != named {
                    page.head(name, kind, help);
                    named = name;
                }
                page.raw(name, &labels, value);
            }
        }
        process::write(&mut page);
        page.0
    }

    fn verdicts(&self, page: &mut Page) {
        let places = self.places.named();
        let mut table = |name, help, count: &dyn Fn(u16, Rule, Treatment) -> u64| {
            page.head(name, "counter", help);
            for (place, trunk) in &places {
                for rule in Rule::ALL {
                    for treatment in Treatment::ALL {
                        let n = count(*place, rule, treatment);
                        if n > 0 {
                            let label = treatment.label().map_or("", |label| label.name());
                            let labels = [
                                ("trunk", trunk.as_str()),
                                ("rule", rule.id()),
                                ("verdict", treatment.name()),
                                ("label", label),
                            ];
                            page.value(name, &labels, n);
                        }
                    }
                }
            }
        };
        let help = "Calls judged, by trunk, deciding rule and verdict.";
        table("qalqan_calls_total", help, &|place, rule, treatment| {
            self.stats.verdicts(place, rule, treatment)
        });
        let help = "Calls that the first rule in monitor mode that hit would have treated so.";
        table("qalqan_would_calls_total", help, &|place, rule, treatment| {
            self.stats.would(place, rule, treatment)
        });
        let name = "qalqan_monitored_hits_total";
        page.head(name, "counter", "Hits of rules in monitor mode, every one of a call.");
        for (place, trunk) in &places {
            for rule in Rule::ALL {
                let n = self.stats.monitored(*place, rule);
                if n > 0 {
                    page.value(name, &[("trunk", trunk), ("rule", rule.id())], n);
                }
            }
        }
    }

    fn latency(&self, page: &mut Page) {
        let name = "qalqan_verdict_duration_seconds";
        page.head(name, "histogram", "Time from a message taken up to its answer ready, by door.");
        for door in self.stats.doors() {
            let (counts, took_ns) = self.stats.latency(door);
            let mut so_far = 0;
            for (bucket, count) in counts.into_iter().enumerate() {
                so_far += count;
                let bound = match bucket {
                    BUCKETS => "+Inf".to_owned(),
                    bucket => format!("{}", bucket_ns(bucket) as f64 / 1e9),
                };
                page.value(&format!("{name}_bucket"), &[("door", door), ("le", &bound)], so_far);
            }
            page.value(&format!("{name}_sum"), &[("door", door)], took_ns as f64 / 1e9);
            page.value(&format!("{name}_count"), &[("door", door)], so_far);
        }
    }

    fn http(&self, page: &mut Page) {
        let name = "qalqan_http_requests_total";
        page.head(name, "counter", "HTTP requests answered, by route and status.");
        for route in Route::ALL {
            for (place, code) in STATUSES.iter().enumerate() {
                let n: u64 = self.answered.iter().map(|worker| worker.get(route, place)).sum();
                if n > 0 {
                    page.value(name, &[("route", route.path()), ("code", &code.to_string())], n);
                }
            }
        }
        let open = self.stats.sum(|worker| &worker.connections_opened)
            - self.stats.sum(|worker| &worker.connections_closed);
        page.head("qalqan_http_connections", "gauge", "HTTP connections open.");
        page.value("qalqan_http_connections", &[], open);
    }

    /// SIP over TCP and TLS.
    fn connections(&self, page: &mut Page) {
        page.head("qalqan_sip_connections", "gauge", "SIP connections open.");
        page.value("qalqan_sip_connections", &[], self.connections.count());
        let name = "qalqan_sip_connections_refused_total";
        page.head(name, "counter", "SIP connections turned away because there were too many.");
        page.value(name, &[], self.connections.refused.load(Ordering::Relaxed));
        let name = "qalqan_sip_connections_broken_total";
        page.head(name, "counter", "SIP connections ended by the node, by cause.");
        let of = &self.connections;
        for (cause, counter) in
            [("too-slow", &of.too_slow), ("unframed", &of.unframed), ("handshake", &of.failed_handshakes)]
        {
            page.value(name, &[("cause", cause)], counter.load(Ordering::Relaxed));
        }
    }

    fn configuration(&self, page: &mut Page, setup: &Setup) {
        let basis = setup.policy.basis();
        page.head("qalqan_build_info", "gauge", "The program: always 1.");
        let catalogue = basis.catalogue_version.to_string();
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("catalogue_version", &catalogue)];
        page.value("qalqan_build_info", &labels, 1);
        page.head("qalqan_configuration_info", "gauge", "What verdicts stand on: always 1.");
        let id = format!("{:016x}", setup.policy.basis_id());
        let labels = [
            ("basis", id.as_str()),
            ("configuration", short(&basis.configuration)),
            ("plan", &basis.plan.0),
            ("plan_version", short(&basis.plan.1)),
        ];
        page.value("qalqan_configuration_info", &labels, 1);
        let name = "qalqan_configuration_loaded_timestamp_seconds";
        page.head(name, "gauge", "When the configuration in force was read, since 1970.");
        page.value(name, &[], self.loaded_ms.load(Ordering::Relaxed) as f64 / 1000.0);
        let name = "qalqan_configuration_reloads_total";
        page.head(name, "counter", "Configurations read again: in force, or refused for their faults.");
        page.value(name, &[("outcome", "in-force")], self.reloads.load(Ordering::Relaxed));
        page.value(name, &[("outcome", "refused")], self.refused_reloads.load(Ordering::Relaxed));
        let name = "qalqan_configuration_last_reload_refused";
        page.head(name, "gauge", "1 when the last configuration read again was refused.");
        page.value(name, &[], u8::from(self.last_reload_refused.load(Ordering::Relaxed)));
        page.head(
            "qalqan_list_info",
            "gauge",
            "Lists in force with the beginning of their SHA-256: always 1.",
        );
        for file in &setup.files {
            let version = file.list.version().to_string();
            page.value("qalqan_list_info", &[("list", &file.name), ("version", short(&version))], 1);
        }
        page.head("qalqan_list_entries", "gauge", "Entries of lists in force, prefixes among them.");
        for file in &setup.files {
            page.value("qalqan_list_entries", &[("list", &file.name)], file.list.len());
        }
    }
}

/// The first 16 hex digits of a hash, as `lists check` prints it.
fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

/// The names of trunks by their place among the counters. A name keeps its place as long as the node runs,
/// whatever a reload does to the order of trunks.
#[derive(Default)]
pub struct Places(Mutex<Vec<String>>);

impl Places {
    /// The places of a setup's trunks; names that are new get the next free ones.
    pub fn take(&self, setup: &mut Setup) {
        let mut names = self.0.lock().expect("nobody panics with it");
        let mut place = |name: &String| {
            let known = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            });
            (known as u16).min(OTHERS)
        };
        setup.policy.trunks.iter_mut().for_each(|trunk| trunk.place = place(&trunk.name));
    }

    /// Every place with its name.
    pub fn named(&self) -> Vec<(u16, String)> {
        let names = self.0.lock().expect("nobody panics with it");
        let own = names.iter().take(TRUNKS - 2).cloned().enumerate().map(|(i, name)| (i as u16, name));
        own.chain([(OTHERS, "other".to_owned()), (UNKNOWN, "unknown-source".to_owned())]).collect()
    }
}

/// A page in the text format.
pub struct Page(String);

impl Page {
    /// Begins a metric; of two that follow each other with one name the second needs no head.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        let line = format!("# TYPE {name} {kind}\n");
        if !self.0.contains(&line) {
            self.write(format_args!("# HELP {name} {help}\n{line}"));
        }
    }

    pub fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut text = String::new();
        for (key, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            let comma = if text.is_empty() { "" } else { "," };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{comma}{key}=\"{value}\"");
        }
        self.raw(name, &text, value);
    }

    /// With labels as they stand in the text format.
    fn raw(&mut self, name: &str, labels: &str, value: impl Display) {
        match labels {
            "" => self.write(format_args!("{name} {value}\n")),
            labels => self.write(format_args!("{name}{{{labels}}} {value}\n")),
        }
    }

    fn write(&mut self, text: std::fmt::Arguments) {
        self.0.write_fmt(text).expect("memory takes it");
    }
}
