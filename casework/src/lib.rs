//! The investigators' register: facts of fraud, the identifiers they share, and who stands behind them.
//!
//! An [`Identifier`] is one thing however it was written. [`import`] reads a file of facts whole or not at all. [`Links`] tells
//! which facts and persons belong together, and why; [`propose`] what of that no person has confirmed. [`Reader::may`] says who may
//! see what, [`FoundCentre`] is what hunting takes for a call centre, [`Custody`] who had a seized thing, [`WorkDays`] when a term ends,
//! [`Figure`] what the facts of a period come to. No I/O: whoever keeps the register is above.

mod access;
mod called;
mod centre;
mod custody;
mod fact;
mod groups;
mod identifier;
mod import;
mod links;
mod statistics;
mod workdays;

pub use access::{Act, Place, Reader, Right, Role, Units};
pub use called::{CalledVictims, Suspicion};
pub use centre::{CentreState, CentreTold, FoundCentre, known_as, read_centres};
pub use custody::{Custody, CustodyFault, HandOver, ItemKind, Seizure};
pub use fact::{Fact, FactKind, PersonKind, Proceedings};
pub use groups::{Confirmed, Proposal, propose};
pub use identifier::{Identifier, IdentifierFault, IdentifierKind, read_public};
pub use import::{BadRow, Reading, import};
pub use links::{Cut, Group, Link, Links, Node, Shared, Weights};
pub use statistics::{Figure, Measure, Period, Year, chart, csv, growth};
pub use workdays::WorkDays;
