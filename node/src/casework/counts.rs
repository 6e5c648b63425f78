//! What `/metrics` says of the register.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ::casework::{CentreState, Proposal, propose};
use sqlx::Row;

use super::office::Office;
use crate::config::Casework as Settings;
use crate::database::Fault;

/// As of the last look into the store, but for what is counted as it happens.
#[derive(Default)]
pub struct Counts {
    facts: AtomicU64,
    groups_confirmed: AtomicU64,
    groups_proposed: AtomicU64,
    /// By [`CentreState`].
    centres: [AtomicU64; CentreState::ALL.len()],
    pub(super) refused: AtomicU64,
    /// When the front was last as confirmations say; 0: not yet, or it is not fed.
    pub(super) fed_ms: AtomicI64,
}

/// Name, type, labels, help, value.
pub type Line = (&'static str, &'static str, String, &'static str, f64);

impl Counts {
    /// In the form of `/metrics`.
    pub fn described(&self) -> Vec<Line> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let groups = "Groups of cases: those that persons confirmed, and those that links propose.";
        let of = |state: &str| format!("state=\"{state}\"");
        let mut lines = vec![
            (
                "qalqan_case_facts",
                "gauge",
                String::new(),
                "Facts of fraud in the register.",
                get(&self.facts),
            ),
            ("qalqan_case_groups", "gauge", of("confirmed"), groups, get(&self.groups_confirmed)),
            ("qalqan_case_groups", "gauge", of("proposed"), groups, get(&self.groups_proposed)),
        ];
        let centres = CentreState::ALL.iter().zip(&self.centres);
        lines.extend(centres.map(|(state, count)| {
            let help = "Call centres in the register.";
            ("qalqan_case_call_centres", "gauge", of(state.name()), help, get(count))
        }));
        let refused = "Looks at the register that were refused, since the start.";
        lines.push((
            "qalqan_case_looks_refused_total",
            "counter",
            String::new(),
            refused,
            get(&self.refused),
        ));
        let fed = "When confirmed numbers were last known to have reached the front; 0: they go nowhere.";
        let fed_s = self.fed_ms.load(Ordering::Relaxed) as f64 / 1000.0;
        lines.push(("qalqan_case_fed_timestamp_seconds", "gauge", String::new(), fed, fed_s));
        lines
    }
}

impl Office {
    /// Counts what is in the register now.
    pub(super) async fn count(&self) {
        let setup = self.setup.load_full();
        let Some(settings) = &setup.casework else { return };
        if let Err(fault) = self.counted(settings).await {
            (self.log)(&format!("casework: {fault}"));
        }
    }

    async fn counted(&self, settings: &Arc<Settings>) -> Result<(), Fault> {
        let mut unit = self.store.begin(&settings.vault, false).await?;
        let counts = &self.counts;
        let set = |counter: &AtomicU64, value: usize| counter.store(value as u64, Ordering::Relaxed);
        let facts = unit.select("SELECT COUNT(*) FROM fact", Vec::new()).await?;
        set(&counts.facts, facts[0].try_get::<i64, _>(0)? as usize);
        let states = unit.select("SELECT state, COUNT(*) FROM centre GROUP BY state", Vec::new()).await?;
        for (state, counter) in CentreState::ALL.iter().zip(&counts.centres) {
            let mut count = 0;
            for row in &states {
                if row.try_get::<String, _>(0)? == state.name() {
                    count = row.try_get::<i64, _>(1)?;
                }
            }
            set(counter, count as usize);
        }
        let index = self.index(&mut unit, settings).await?;
        set(&counts.groups_confirmed, index.confirmed.len());
        let declined = unit.declined().await?;
        let proposed = propose(index.found.clone(), &index.confirmed);
        let is_open = |proposal: &&Proposal| {
            !declined.iter().any(|declined| declined.holds(&proposal.nodes, &proposal.joins))
        };
        set(&counts.groups_proposed, proposed.iter().filter(is_open).count());
        Ok(())
    }
}
