//! The loan gate: a loan is confirmed by the person it is for.
//!
//! A creditor opens an [`Application`]; [`gate::ask`] asks every gate, and each answers pass, refuse or wait with a reason.
//! What happens to an application is an [`Event`] each; time moves it on too. No I/O: a store keeps the events, sends the
//! codes and gathers [`Circumstances`]; `now_ms` is an argument, ms since 1970 UTC.

mod application;
mod ban;
pub mod code;
pub mod document;
mod face;
mod gate;
mod gates;
mod iin;
mod rulebook;
mod sum;
mod vault;

pub use application::{Application, CreditorClass, Event, Fault, Kind, Purpose, State};
pub use ban::Ban;
pub use face::{FaceJudgement, FaceOutcome, FaceReady};
pub use gate::{
    Answer, Answered, Asked, Change, Changes, Circumstances, Confirmed, Gate, Other, Reason, SuspectCall, ask,
};
pub use gates::cooling_off::counts;
pub use iin::{Iin, IinFault, IinRule};
pub use rulebook::{Limits, Per, Rate, Rulebook, Words};
pub use sum::Sum;
pub use vault::{Use, Vault};
