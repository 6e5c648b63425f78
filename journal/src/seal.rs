//! A seal: one entry of the chain, signed (JWS compact serialisation, RFC 7515; EdDSA, RFC 8037).
//!
//! Entry 0 begins a journal, a segment entry seals a Parquet file, a rotation hands over to the next key, a retention
//! entry says which segments were deleted on purpose. Each names the SHA-256 of the file before it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::{Digests, Numbers, PublicKey, SigningKey};

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

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// A seal taken apart; its signature is not checked yet.
pub(crate) struct Parsed {
    pub key_id: String,
    pub entry: Entry,
    signed: String,
    signature: Vec<u8>,
}

impl Parsed {
    pub(crate) fn is_signed_by(&self, key: PublicKey) -> bool {
        key.has_signed(self.signed.as_bytes(), &self.signature)
    }
}

impl Entry {
    pub fn new(journal: &str, n: u64, previous: String, sealed_ms: i64, event: Event) -> Entry {
        Entry { version: VERSION, journal: journal.to_owned(), n, previous, sealed_ms, event }
    }

    /// The file of this entry.
    pub fn sign(&self, key: &SigningKey) -> String {
        let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let header = Header { alg: "EdDSA".to_owned(), kid: key.public().id() };
        let header = part(serde_json::to_vec(&header).expect("plain values"));
        let signed = format!("{header}.{}", part(serde_json::to_vec(self).expect("plain values")));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
        format!("{signed}.{signature}\n")
    }

    /// Reads the file of an entry and believes it: for who only looks things up. [`crate::Chain`] checks.
    pub fn read(file: &[u8]) -> Result<Entry, String> {
        Ok(parse(file)?.entry)
    }

    /// The `kid` of who signed the file.
    pub fn key_id(file: &[u8]) -> Result<String, String> {
        Ok(parse(file)?.key_id)
    }

    pub fn segment(&self) -> Option<&Sealed> {
        match &self.event {
            Event::Segment(sealed) => Some(sealed),
            _ => None,
        }
    }
}

pub(crate) fn parse(file: &[u8]) -> Result<Parsed, String> {
    let text = std::str::from_utf8(file).map_err(|_| "not a JWS".to_owned())?.trim_end();
    let mut parts = text.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("not a JWS: three parts with dots between them are expected".to_owned());
    };
    let decode = |part: &str, name: &str| {
        URL_SAFE_NO_PAD.decode(part).map_err(|_| format!("not a JWS: its {name} is no base64url"))
    };
    let header_bytes = decode(header, "header")?;
    let header: Header = serde_json::from_slice(&header_bytes)
        .map_err(|_| "not a JWS: no header with alg and kid".to_owned())?;
    if header.alg != "EdDSA" {
        return Err(format!("signed with \"{}\": EdDSA is expected", header.alg));
    }
    let entry: Entry = serde_json::from_slice(&decode(payload, "payload")?)
        .map_err(|error| format!("its payload is no entry of a journal: {error}"))?;
    if entry.version != VERSION {
        return Err(format!("its version is {}: this program knows {VERSION}", entry.version));
    }
    let signed = text[..text.rfind('.').expect("three parts")].to_owned();
    Ok(Parsed { key_id: header.kid, entry, signed, signature: decode(signature, "signature")? })
}
