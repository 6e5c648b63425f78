//! What is counted of the connection to an SMSC, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use smpp::MessageState;

#[derive(Default)]
pub struct Counts {
    /// 1 while bound.
    pub bound: AtomicU64,
    pub window_used: AtomicU64,
    pub binds: AtomicU64,
    pub link_failures: AtomicU64,
    pub submitted: AtomicU64,
    pub throttled: AtomicU64,
    pub put_off: AtomicU64,
    pub failed: AtomicU64,
    pub unknown: AtomicU64,
    pub too_late: AtomicU64,
    receipts: [AtomicU64; 8],
    pub receipts_alone: AtomicU64,
    pub not_receipts: AtomicU64,
}

/// A metric: name, kind, label, help, value.
type Described = (&'static str, &'static str, String, &'static str, u64);

impl Counts {
    pub fn receipt(&self, state: MessageState) {
        self.receipts[state as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn described(&self) -> Vec<Described> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let parts = "Parts of texts, by what the SMSC answered; unknown: nothing.";
        let mut all: Vec<Described> = vec![
            (
                "qalqan_smpp_bound",
                "gauge",
                String::new(),
                "Whether the session with the SMSC stands.",
                get(&self.bound),
            ),
            (
                "qalqan_smpp_window_used",
                "gauge",
                String::new(),
                "Messages submitted and not answered yet.",
                get(&self.window_used),
            ),
            (
                "qalqan_smpp_binds_total",
                "counter",
                String::new(),
                "Sessions that were bound.",
                get(&self.binds),
            ),
            (
                "qalqan_smpp_link_failures_total",
                "counter",
                String::new(),
                "Connections to the SMSC that failed or were not made.",
                get(&self.link_failures),
            ),
        ];
        for (answer, counter) in [
            ("submitted", &self.submitted),
            ("throttled", &self.throttled),
            ("later", &self.put_off),
            ("failed", &self.failed),
            ("unknown", &self.unknown),
        ] {
            all.push((
                "qalqan_smpp_parts_total",
                "counter",
                format!("answer=\"{answer}\""),
                parts,
                get(counter),
            ));
        }
        for state in MessageState::ALL {
            let (label, help) = (format!("state=\"{}\"", state.name()), "Delivery receipts, by state.");
            all.push((
                "qalqan_smpp_receipts_total",
                "counter",
                label,
                help,
                get(&self.receipts[state as usize]),
            ));
        }
        for (name, help, counter) in [
            (
                "qalqan_smpp_receipts_unmatched_total",
                "Receipts that came before their message was known, or for none of ours.",
                &self.receipts_alone,
            ),
            (
                "qalqan_smpp_incoming_total",
                "Messages that were no receipts; nobody reads them.",
                &self.not_receipts,
            ),
            (
                "qalqan_smpp_too_late_total",
                "Texts whose time was over before they were sent.",
                &self.too_late,
            ),
        ] {
            all.push((name, "counter", String::new(), help, get(counter)));
        }
        all
    }
}
