//! SMPP 3.4 ("Short Message Peer to Peer Protocol Specification v3.4") as an ESME that sends texts speaks it.
//!
//! No sockets and no clock: [`Session`] takes what was read and what time it is, and says what is to be written and what
//! happened. [`text`] cuts a text into parts, [`receipt`] reads what became of one, [`status`] says what an answer of an SMSC
//! asks for. Field by field PDUs are read and written by the crate rusmpp-core; [`wire`] cuts the stream into PDUs, so that
//! a malformed one costs that one alone.

pub mod receipt;
pub mod session;
pub mod status;
pub mod text;
pub mod wire;

pub use receipt::{MessageState, Receipt};
pub use session::{Event, Session, Settings};
pub use status::{Remedy, Status};
pub use text::{Long, Parts};
pub use wire::{Address, Deliver, Inbound, Submit};
