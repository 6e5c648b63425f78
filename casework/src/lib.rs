//! The investigators' register: facts of fraud, the identifiers they share, and who stands behind them.
//!
//! An [`Identifier`] is one thing however it was written. [`import`] reads a file of facts whole or not at all. [`Links`] tells
//! which facts and persons belong together, and why. No I/O: whoever keeps the register is above.

mod called;
mod fact;
mod identifier;
mod import;
mod links;

pub use called::{CalledVictims, Suspicion};
pub use fact::{Fact, FactKind, Proceedings};
pub use identifier::{Identifier, IdentifierFault, IdentifierKind};
pub use import::{BadRow, Reading, import};
pub use links::{Cut, Group, Link, Links, Node, Shared, Weights};
