//! Possession of the phone: the applicant entered the one-time code that was sent to it.

use crate::application::{Application, Purpose};
use crate::gate::{Answered, Circumstances, Gate, Reason};

pub fn ask(application: &Application, around: &Circumstances) -> Answered {
    let limits = around.rulebook.limits(application.opened_ms);
    if application.confirmed_ms.is_some() {
        Answered::pass(Gate::PhonePossession, Reason::CodeEntered)
    } else if application.is_out_of_codes(Purpose::Confirm, limits) {
        Answered::refuse(Gate::PhonePossession, Reason::CodesUsedUp)
    } else {
        Answered::wait(Gate::PhonePossession, Reason::CodeNotEntered, None)
    }
}
