//! Freshness of the phone: whoever swapped its SIM, ported its number or forwarded its calls lately may be somebody else.

use crate::gate::{Answer, Answered, Change, Circumstances, Gate, Reason};
use crate::rulebook::Lately;

const HOUR_MS: i64 = 3_600_000;

pub fn ask(around: &Circumstances, now_ms: i64) -> Answered {
    if !around.asked.phone_freshness {
        let answer = Answer::NotAsked;
        return Answered {
            gate: Gate::PhoneFreshness,
            answer,
            reason: Reason::NotConfigured,
            until_ms: None,
        };
    }
    let limits = around.rulebook.limits(now_ms).phone;
    let mut worst = Answered::pass(Gate::PhoneFreshness, Reason::PhoneUnchanged);
    for (&change, &at_ms) in &around.changes {
        let (limit, reason) = match change {
            Change::SimSwapped => (limits.sim_swapped, Reason::SimSwapped),
            Change::Ported => (limits.ported, Reason::NumberPorted),
            Change::Forwarded => (limits.forwarded, Reason::CallsForwarded),
        };
        let until_ms = at_ms + i64::from(limit.hours) * HOUR_MS;
        if now_ms >= until_ms {
            continue;
        }
        match limit.answer {
            Lately::Refuse => return Answered::refuse(Gate::PhoneFreshness, reason),
            Lately::Wait if worst.until_ms.is_none_or(|other| other < until_ms) => {
                worst = Answered::wait(Gate::PhoneFreshness, reason, Some(until_ms));
            }
            Lately::Wait => {}
        }
    }
    // A change that is known says more than that something is not.
    match around.phone_unknown_ms {
        Some(again_ms) if worst.answer == Answer::Pass => {
            Answered::wait(Gate::PhoneFreshness, Reason::PhoneNotKnown, Some(again_ms))
        }
        _ => worst,
    }
}
