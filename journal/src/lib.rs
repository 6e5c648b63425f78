//! The journal: every verdict, as a record of 128 bytes in a log, then as a row of a sealed segment.
//!
//! Where the bytes live is the caller's: the node maps a file, so that a killed process loses nothing the kernel has.
//! A record counts once its checksum is written, which is last; slots that hold no record are passed over and
//! counted. Full logs become segments: [`Row`]s of cells, each with a check of its own. An [`Entry`] signs a segment and
//! names the entry before it; [`Chain`] reads entries back and says what is wrong with them.

mod chain;
mod check;
mod jws;
mod key;
mod log;
mod numbers;
mod pair;
mod record;
mod row;
mod rows;
mod run;
mod seal;
mod tally;

pub use chain::{Chain, Finding, SealFile};
pub use check::{Difference, Seen, differences, file_hash};
pub use jws::Jws;
pub use key::{PublicKey, SigningKey};
pub use log::{HEADER_LEN, Log, LogError, LogHead, Opening, Records, used_len};
pub use numbers::{KeyId, Keystream, Nonce, Numbers, NumbersKey, Tokens};
pub use record::{CALL_ID_LEN, RECORD_LEN, Record};
pub use row::{Cell, Cells, Hidden, NAMES, Shown, Text};
pub use rows::{Laid, Rows};
pub use run::Run;
pub use seal::{Entry, Event, JournalId, Removed, Sealed, SealedLog};
pub use tally::{CHECK_BLOCK, Digests, Tally};

/// The two hex digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    table
};

/// Bytes as people write them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| HEX[usize::from(byte)]).map(char::from).collect()
}

/// Reads what [`hex`] writes.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(bytes)
}

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}
