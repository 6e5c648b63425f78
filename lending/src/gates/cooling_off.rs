//! Cooling-off: between the first consent and the money, hours in which a person may come to his senses; then a second
//! consent.

use crate::application::{Application, Kind};
use crate::gate::{Answered, Circumstances, Gate, Reason};
use crate::sum::Sum;

pub fn ask(application: &Application, around: &Circumstances) -> Answered {
    let gate = Gate::CoolingOff;
    if application.consented_ms.is_some() {
        return Answered::pass(gate, Reason::SecondConsentGiven);
    }
    match (application.confirmed_ms, application.cooling_until_ms) {
        (Some(_), Some(until_ms)) if application.is_cooling() => {
            Answered::wait(gate, Reason::CoolingOff, Some(until_ms))
        }
        (Some(_), Some(_)) => Answered::wait(gate, Reason::SecondConsentMissing, None),
        _ => match hours(application, around) {
            Ok(0) => Answered::pass(gate, Reason::BelowLimits),
            // It begins with the first consent.
            Ok(_) => Answered::wait(gate, Reason::CoolingOff, None),
            Err(Exempt) => Answered::pass(gate, Reason::Exempt),
        },
    }
}

/// The loan is of a kind that needs no cooling-off.
pub struct Exempt;

/// How many hours the loan has to cool, by the sum of the person's day; by the limits of the day it was opened.
pub fn hours(application: &Application, around: &Circumstances) -> Result<u32, Exempt> {
    let rulebook = around.rulebook;
    if !counts(application.kind, application.is_online, application.sum, rulebook, application.opened_ms) {
        return Err(Exempt);
    }
    let day = rulebook.day(application.opened_ms);
    let same_day = around.others.iter().filter(|other| other.counts && rulebook.day(other.opened_ms) == day);
    let total = same_day.fold(application.sum, |total, other| total.plus(other.sum));
    let mci = rulebook.mci(application.opened_ms);
    let steps = &rulebook.limits(application.opened_ms).cooling_off.steps;
    let own = steps.iter().filter(|step| step.creditor == application.class && step.covers(total, mci));
    Ok(own.map(|step| step.hours).max().unwrap_or(0))
}

/// Whether a loan falls under cooling-off at all: unsecured, online, and not exempt.
pub fn counts(
    kind: Kind,
    is_online: bool,
    sum: Sum,
    rulebook: &crate::rulebook::Rulebook,
    opened_ms: i64,
) -> bool {
    let card_limit = rulebook.mci(opened_ms).times(rulebook.limits(opened_ms).cooling_off.card_limit_mci);
    is_online
        && match kind {
            Kind::Unsecured => true,
            Kind::CardLimit => sum > card_limit,
            Kind::Goods | Kind::Refinancing | Kind::Secured => false,
        }
}
