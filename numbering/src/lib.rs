//! Telephone numbers: what they are, who owns them, and how the digits on the wire become one.
//!
//! A [`Number`] is E.164 and nothing else. A [`Party`] is what stood in a number field of a call: a
//! number, a short code, nothing, or something malformed. A [`Plan`] is one country's numbering plan
//! read from a file; it says what a number is ([`Standing`]) and normalises what the wire carries.
//! Nothing here does I/O and nothing here is Kazakh: see `plans/`.

mod digits;
mod normalise;
mod number;
mod party;
mod plan;
mod prefixes;
mod world;

pub use normalise::{Dialling, Normalised};
pub use number::{Key, Number, Prefix, Revealed, ShortCode};
pub use party::{Malformed, Party, Why};
pub use plan::{Holder, Kind, Owner, Plan, PlanError, Standing};
