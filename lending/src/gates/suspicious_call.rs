//! On a suspicious call: who is led through a loan on the telephone is not asked for it meanwhile.

use crate::gate::{Answered, Circumstances, Gate, Reason, SuspectCall};

const MINUTE_MS: i64 = 60_000;

pub fn ask(around: &Circumstances, now_ms: i64) -> Answered {
    let window_ms = i64::from(around.rulebook.limits(now_ms).suspicious_call_min) * MINUTE_MS;
    match around.suspect_call {
        SuspectCall::At(at_ms) if now_ms < at_ms + window_ms => {
            Answered::wait(Gate::SuspiciousCall, Reason::CallWithSuspect, Some(at_ms + window_ms))
        }
        SuspectCall::At(_) | SuspectCall::None => {
            Answered::pass(Gate::SuspiciousCall, Reason::NoSuspiciousCall)
        }
        // Looked at again at the next full minute: knowing comes with time.
        SuspectCall::Unknown => {
            let soon_ms = (now_ms.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
            Answered::wait(Gate::SuspiciousCall, Reason::CallsNotKnown, Some(soon_ms))
        }
    }
}
