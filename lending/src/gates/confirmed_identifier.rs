//! What investigators confirmed: an account, a phone, a device or an address of the application is known to be a fraudster's.

use crate::gate::{Answer, Answered, Circumstances, Confirmed, Gate, Reason};

pub fn ask(around: &Circumstances) -> Answered {
    let gate = Gate::ConfirmedIdentifier;
    match around.confirmed {
        Confirmed::NoRegister => {
            Answered { gate, answer: Answer::NotAsked, reason: Reason::NotConfigured, until_ms: None }
        }
        Confirmed::No => Answered::pass(gate, Reason::NoFraudstersIdentifier),
        // Never refused: investigators take back what was wrong, and then the loan goes on.
        Confirmed::Yes => Answered::wait(gate, Reason::FraudstersIdentifier, None),
        Confirmed::Unknown => Answered::wait(gate, Reason::IdentifiersNotKnown, None),
    }
}
