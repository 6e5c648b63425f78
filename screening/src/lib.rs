//! One call's way through the screen, without I/O.
//!
//! A [`Policy`] is all that calls are judged by: plan, trunks, lists. [`Policy::intake`] makes a call of what
//! the wire or a record carried, [`screen`] judges it by local facts alone, and [`Screening`] is the longer
//! way for calls that another operator has to be asked about: one deadline for all of a call's questions,
//! no sockets, `now` an argument. [`Screening::explain`] judges once more and says every fact the verdict stood on.

mod cap;
mod explain;
mod facts;
mod intake;
mod policy;
mod scores;
mod screening;

pub use cap::{Cap, CapError};
pub use explain::{Found, Observation};
pub use intake::Fields;
pub use policy::{Basis, Exchange, ListName, Lists, Policy, Trunk};
pub use scores::{Score, Scores};
pub use screening::{Screening, screen};
