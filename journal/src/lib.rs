//! The journal: every verdict, as a record of 128 bytes in a log that is a run of bytes.
//!
//! Where the bytes live is the caller's: the node maps a file, so that a killed process loses nothing the
//! kernel has. A record counts once its checksum is written, which is last; slots that hold no record are
//! passed over and counted. Sealing full logs into signed segments has its place between [`Log`] and the readers.

mod log;
mod record;

pub use log::{HEADER_LEN, Log, LogError, Records, used_len};
pub use record::{CALL_ID_LEN, RECORD_LEN, Record};
