//! A seal: one entry of the chain, signed (JWS compact serialisation, RFC 7515; EdDSA, RFC 8037).
//!
//! Entry 0 begins a journal, a segment entry seals a Parquet file, a rotation hands over to the next key, a retention
//! entry says which segments were deleted on purpose. Each names the SHA-256 of the file before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digests, Jws, Numbers, PublicKey, SigningKey};

/// The version of entries.
const VERSION: u32 = 1;

/// One journal among others: 16 random bytes in hex.
pub type JournalId = String;

/// What is signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub version: u32,
    pub journal: JournalId,
    /// From 0, without gaps.
    pub n: u64,
    /// SHA-256 of the file of entry n - 1 in hex; empty in entry 0.
    pub previous: String,
    pub sealed_ms: i64,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// The journal begins.
    Start { key: PublicKey },
    /// A segment is sealed.
    Segment(Box<Sealed>),
    /// Entries after this one are signed by another key.
    Rotation { key: PublicKey },
    /// Segments were deleted because they were old.
    Retention(Removed),
}

/// What the seal of a segment says of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sealed {
    pub file: String,
    /// Of the Parquet file, in hex.
    pub sha256: String,
    pub bytes: u64,
    pub records: u64,
    /// The least and the greatest time of its calls; none where it has no record.
    pub first_ms: Option<i64>,
    pub last_ms: Option<i64>,
    pub numbers: Numbers,
    /// The key that hides the numbers, in hex.
    pub numbers_key: Option<String>,
    pub numbers_nonce: Option<String>,
    pub columns: BTreeMap<String, String>,
    pub checks: String,
    pub check_blocks: String,
    pub logs: Vec<SealedLog>,
}

impl Sealed {
    pub fn digests(&self) -> Digests {
        Digests {
            columns: self.columns.clone(),
            checks: self.checks.clone(),
            blocks: self.check_blocks.clone(),
        }
    }
}

/// The part of a log that a segment was made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SealedLog {
    pub name: String,
    /// The first slot and the one after the last.
    pub from: u64,
    pub to: u64,
    /// Whether that is all of the log.
    pub whole: bool,
    /// How many slots held bytes and no whole record: a torn tail, a lost or changed page.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub damaged: u64,
    /// The first of them, 16 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged_slots: Vec<u64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Segments deleted on purpose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Removed {
    pub keep_days: u32,
    /// Every call in them was before this.
    pub before_ms: i64,
    /// From and to, both included.
    pub entries: Vec<(u64, u64)>,
}

/// A seal taken apart; its signature is not checked yet.
pub(crate) struct Parsed {
    pub entry: Entry,
    pub jws: Jws,
}

impl Entry {
    pub fn new(journal: &str, n: u64, previous: String, sealed_ms: i64, event: Event) -> Entry {
        Entry { version: VERSION, journal: journal.to_owned(), n, previous, sealed_ms, event }
    }

    /// The file of this entry.
    pub fn sign(&self, key: &SigningKey) -> String {
        format!("{}\n", Jws::sign(&serde_json::to_vec(self).expect("plain values"), key))
    }

    /// Reads the file of an entry and believes it: for who only looks things up. [`crate::Chain`] checks.
    pub fn read(file: &[u8]) -> Result<Entry, String> {
        Ok(parse(file)?.entry)
    }

    /// The `kid` of who signed the file.
    pub fn key_id(file: &[u8]) -> Result<String, String> {
        Ok(parse(file)?.jws.key_id)
    }

    pub fn segment(&self) -> Option<&Sealed> {
        match &self.event {
            Event::Segment(sealed) => Some(sealed),
            _ => None,
        }
    }
}

pub(crate) fn parse(file: &[u8]) -> Result<Parsed, String> {
    let jws = Jws::parse(file)?;
    let entry: Entry = serde_json::from_slice(&jws.payload)
        .map_err(|error| format!("its payload is no entry of a journal: {error}"))?;
    if entry.version != VERSION {
        return Err(format!("its version is {}: this program knows {VERSION}", entry.version));
    }
    Ok(Parsed { entry, jws })
}
