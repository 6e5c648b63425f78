//! Several applications: one person at many creditors within hours is a sign of a stolen identity.

use std::collections::BTreeMap;

use crate::application::Application;
use crate::gate::{Answered, Circumstances, Gate, Reason};

const HOUR_MS: i64 = 3_600_000;

pub fn ask(application: &Application, around: &Circumstances, now_ms: i64) -> Answered {
    let several = around.rulebook.limits(now_ms).several;
    let window_ms = i64::from(several.hours) * HOUR_MS;
    // The last time at each creditor; this application is one of them.
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for other in around.others.iter().filter(|other| other.opened_ms + window_ms > now_ms) {
        let at_ms = last.entry(&other.creditor).or_insert(other.opened_ms);
        *at_ms = other.opened_ms.max(*at_ms);
    }
    last.remove(application.creditor.as_str());
    let mut at_ms: Vec<i64> = last.into_values().collect();
    let count = at_ms.len() as u32 + 1;
    if count < several.creditors {
        return Answered::pass(Gate::SeveralApplications, Reason::FewCreditors);
    }
    // It waits until so many of the others are old that fewer than the limit are left.
    at_ms.sort_unstable();
    let until_ms = at_ms.get((count - several.creditors) as usize).map(|at_ms| at_ms + window_ms);
    Answered::wait(Gate::SeveralApplications, Reason::ManyCreditors, until_ms)
}
