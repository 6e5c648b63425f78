//! How a node is, for those who send it calls.

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Setup;

/// The answer of `/readyz`.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`.
    status: &'static str,
    /// `ok`, or `failing`: the disk takes no more. Calls are judged all the same, and what is lost is counted.
    journal: &'static str,
    /// What verdicts stand on now.
    basis: String,
    trunks: usize,
}

impl Readiness {
    pub fn of(setup: &Setup, journal_failing: bool) -> Readiness {
        Readiness {
            status: "ready",
            journal: if journal_failing { "failing" } else { "ok" },
            basis: format!("{:016x}", setup.policy.basis_id()),
            trunks: setup.policy.trunks.len(),
        }
    }
}
