//! Self-ban ("stop-credit"): who banned loans for himself gets none.

use crate::gate::{Answered, Circumstances, Gate, Reason};

pub fn ask(around: &Circumstances, now_ms: i64) -> Answered {
    match around.ban.as_ref().is_some_and(|ban| ban.is_in_force(now_ms)) {
        true => Answered::refuse(Gate::SelfBan, Reason::BanInForce),
        false => Answered::pass(Gate::SelfBan, Reason::NoBan),
    }
}
