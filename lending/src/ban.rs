//! The self-ban: in force the moment it is set, lifted only after a waiting period.

use serde::{Deserialize, Serialize};

use crate::rulebook::Rulebook;

/// A person's ban on loans in his name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ban {
    pub set_ms: i64,
    /// From then on it is lifted; none: nobody asked for that.
    pub lifts_ms: Option<i64>,
}

impl Ban {
    pub fn set(now_ms: i64) -> Ban {
        Ban { set_ms: now_ms, lifts_ms: None }
    }

    /// Asked to be lifted; asked again, the first time counts.
    pub fn lift(self, rulebook: &Rulebook, now_ms: i64) -> Ban {
        let wait_ms = i64::from(rulebook.limits(now_ms).ban_lift_h) * 3_600_000;
        Ban { lifts_ms: Some(self.lifts_ms.unwrap_or(now_ms + wait_ms)), ..self }
    }

    pub fn is_in_force(&self, now_ms: i64) -> bool {
        self.lifts_ms.is_none_or(|lifts_ms| now_ms < lifts_ms)
    }
}
