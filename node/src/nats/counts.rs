//! What went through NATS, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use screening::ListName;

use crate::config::{Nats, Verdicts};
use crate::metrics::Page;

/// Counters that the thread of NATS writes.
pub struct Counts {
    sends_verdicts: bool,
    pub connected: AtomicBool,
    pub broken: AtomicU64,
    pub sent: AtomicU64,
    pub missed: AtomicU64,
    pub waiting_segments: AtomicU64,
    lists: Mutex<BTreeMap<&'static str, Versions>>,
}

/// Versions of one list.
#[derive(Default, Clone, Copy)]
struct Versions {
    taken: u64,
    refused: u64,
    published_ms: Option<i64>,
}

impl Counts {
    pub fn new(nats: &Nats) -> Counts {
        let lists = nats.follow_lists.iter().map(|(name, _)| (name.name(), Versions::default()));
        Counts {
            sends_verdicts: nats.verdicts != Verdicts::None,
            connected: AtomicBool::new(false),
            broken: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            waiting_segments: AtomicU64::new(0),
            lists: Mutex::new(lists.collect()),
        }
    }

    fn with(&self, name: ListName, change: impl FnOnce(&mut Versions)) {
        change(self.lists.lock().expect("no panic inside").entry(name.name()).or_default());
    }

    pub fn refused(&self, name: ListName) {
        self.with(name, |versions| versions.refused += 1);
    }

    pub fn taken(&self, name: ListName) {
        self.with(name, |versions| versions.taken += 1);
    }

    /// When the version in force was published.
    pub fn in_force(&self, name: ListName, published_ms: i64) {
        self.with(name, |versions| versions.published_ms = Some(published_ms));
    }

    pub fn write(&self, page: &mut Page) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.head("qalqan_nats_connected", "gauge", "1 while there is a connection to a NATS server.");
        page.value("qalqan_nats_connected", &[], u8::from(self.connected.load(Ordering::Relaxed)));
        let help = "Connections to NATS servers that could not be made or broke.";
        page.head("qalqan_nats_broken_connections_total", "counter", help);
        page.value("qalqan_nats_broken_connections_total", &[], of(&self.broken));
        if self.sends_verdicts {
            page.head("qalqan_nats_verdicts_total", "counter", "Verdicts that a stream has taken as events.");
            page.value("qalqan_nats_verdicts_total", &[], of(&self.sent));
            let help =
                "Verdicts that never become events: their segment was deleted or damaged before they went.";
            page.head("qalqan_nats_missed_verdicts_total", "counter", help);
            page.value("qalqan_nats_missed_verdicts_total", &[], of(&self.missed));
            let help = "Entries of the journal, segments most of them, that have not gone wholly.";
            page.head("qalqan_nats_waiting_segments", "gauge", help);
            page.value("qalqan_nats_waiting_segments", &[], of(&self.waiting_segments));
        }
        let lists = self.lists.lock().expect("no panic inside").clone();
        if lists.is_empty() {
            return;
        }
        let name = "qalqan_nats_list_versions_total";
        page.head(name, "counter", "Published versions of followed lists: taken, or refused.");
        for (list, versions) in &lists {
            page.value(name, &[("list", list), ("outcome", "taken")], versions.taken);
            page.value(name, &[("list", list), ("outcome", "refused")], versions.refused);
        }
        let name = "qalqan_nats_list_published_timestamp_seconds";
        page.head(name, "gauge", "When the version in force was published, since 1970.");
        for (list, versions) in &lists {
            if let Some(ms) = versions.published_ms {
                page.value(name, &[("list", list)], ms as f64 / 1000.0);
            }
        }
    }
}
