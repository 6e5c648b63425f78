//! The compact file: a list as memory holds it, with a header that says of which CSV file it was made.
//!
//! docs/lists.md describes every byte. Opening looks at the header and at the directory, not at the rest, so it
//! takes the same time for any size; reading bytes that are not as they were made gives wrong answers, or none, but
//! never leaves the file.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::bits::{u32_at, u64_at};
use crate::sections::Sections;
use crate::table::Table;
use crate::terms::AllTerms;
use crate::{List, Version};

/// A CSV file cannot begin so: its first line names columns.
const MAGIC: [u8; 8] = *b"QLQNLIST";
/// The form of the file that this program writes and reads.
const FORM: u32 = 1;
const HEADER: usize = 256;
/// Parts begin at multiples of a cache line.
const LINE: usize = 64;
const PARTS: usize = 7;

/// Places in the header.
mod at {
    pub const FORM: usize = 8;
    pub const NOTES: usize = 12;
    pub const VERSION: usize = 16;
    pub const PLAN: usize = 48;
    pub const LEN: usize = 80;
    pub const PREFIX_COUNT: usize = 88;
    pub const DUPLICATES: usize = 96;
    pub const PREFIX_LENGTHS: usize = 104;
    /// Of each part the bytes that it has.
    pub const PARTS: usize = 112;
    pub const CONTENT: usize = 208;
    pub const CHECK: usize = 240;
}

/// What a compact file was made under, besides its CSV file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// How notes were read: a number of the caller's.
    pub notes: u32,
    /// Version of the plan; it counts where some line could be read by the plan alone.
    pub plan: Version,
}

/// Why a compact file was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompactError {
    /// It does not begin as one.
    NotCompact,
    /// Written in another form, by another version of this program.
    Form(u32),
    /// Cut short, or its header was changed.
    Damaged,
    /// Its notes were read otherwise.
    Notes(u32),
    /// Some of its lines were read by another plan.
    Plan,
    /// Its content is not what was written.
    Content,
}

impl fmt::Display for CompactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CompactError::NotCompact => "is no compact list: pack it from its CSV file again",
            CompactError::Form(form) => {
                return write!(
                    f,
                    "is a compact list of form {form}, and this program reads form {FORM}: pack it from its CSV file again"
                );
            }
            CompactError::Damaged => {
                "is a compact list that was cut short or changed: pack it from its CSV file again"
            }
            CompactError::Notes(_) => "was packed for a list whose notes mean something else: pack it again",
            CompactError::Plan => {
                "was packed under another numbering plan, and has short codes or numbers without +: pack it again"
            }
            CompactError::Content => "is not what was packed, its checksum differs: pack it from its CSV file again",
        })
    }
}

impl std::error::Error for CompactError {}

impl List {
    /// Whether a file that begins so is a compact one.
    pub fn is_compact(beginning: &[u8]) -> bool {
        beginning.starts_with(&MAGIC)
    }

    /// Opens a compact file. Its content is taken on trust; see [`List::verify`].
    pub fn open(file: Bytes, stamp: &Stamp) -> Result<List, CompactError> {
        if !List::is_compact(&file) {
            return Err(CompactError::NotCompact);
        }
        let header = file.get(..HEADER).ok_or(CompactError::Damaged)?;
        let form = u32_at(header, at::FORM);
        if form != FORM {
            return Err(CompactError::Form(form));
        }
        if header[at::CHECK..] != check(header) {
            return Err(CompactError::Damaged);
        }
        let mut parts: [Bytes; PARTS] = Default::default();
        let mut start = HEADER as u64;
        for (index, part) in parts.iter_mut().enumerate() {
            let end = start.checked_add(length(header, index)).ok_or(CompactError::Damaged)?;
            if end > file.len() as u64 {
                return Err(CompactError::Damaged);
            }
            *part = file.slice(start as usize..end as usize);
            start = end.next_multiple_of(LINE as u64);
        }
        if start != file.len() as u64 {
            return Err(CompactError::Damaged);
        }
        let hash =
            |at: usize| -> [u8; 32] { header[at..at + 32].try_into().expect("32 bytes of the header") };
        let notes = u32_at(header, at::NOTES);
        if notes != stamp.notes {
            return Err(CompactError::Notes(notes));
        }
        let plan = hash(at::PLAN);
        let asked_plan = plan != [0; 32];
        if asked_plan && plan != stamp.plan.0 {
            return Err(CompactError::Plan);
        }
        let [directory, places, lone, prefixes, rows, text, data] = parts;
        Ok(List {
            sections: Sections::from_bytes(directory, places, data).ok_or(CompactError::Damaged)?,
            lone: Table::from_bytes(lone),
            prefixes: Table::from_bytes(prefixes),
            prefix_lengths: u32_at(header, at::PREFIX_LENGTHS) as u16,
            terms: AllTerms { rows, text },
            version: Version(hash(at::VERSION)),
            len: u64_at(header, at::LEN),
            prefix_count: u64_at(header, at::PREFIX_COUNT),
            duplicates: u64_at(header, at::DUPLICATES),
            asked_plan,
            content: Some(hash(at::CONTENT)),
        })
    }

    /// The bytes of the list's compact file, to be written one after the other.
    pub fn pack(&self, stamp: &Stamp) -> Vec<Bytes> {
        let mut header = vec![0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(at::FORM, &FORM.to_le_bytes());
        put(at::NOTES, &stamp.notes.to_le_bytes());
        put(at::VERSION, &self.version.0);
        if self.asked_plan {
            put(at::PLAN, &stamp.plan.0);
        }
        put(at::LEN, &self.len.to_le_bytes());
        put(at::PREFIX_COUNT, &self.prefix_count.to_le_bytes());
        put(at::DUPLICATES, &self.duplicates.to_le_bytes());
        put(at::PREFIX_LENGTHS, &self.prefix_lengths.to_le_bytes());
        let parts = self.parts();
        for (index, part) in parts.iter().enumerate() {
            put(at::PARTS + index * 8, &(part.len() as u64).to_le_bytes());
        }
        put(at::CONTENT, &content(parts));
        let check = check(&header);
        header[at::CHECK..].copy_from_slice(&check);
        let mut file = vec![Bytes::from(header)];
        for part in parts {
            file.push(part.clone());
            file.push(Bytes::from_static(&[0; LINE]).slice(..part.len().next_multiple_of(LINE) - part.len()));
        }
        file
    }

    /// Reads all of it and compares with the checksum it was packed with. A list from CSV is as it was read.
    pub fn verify(&self) -> Result<(), CompactError> {
        match self.content {
            Some(written) if written != content(self.parts()) => Err(CompactError::Content),
            _ => Ok(()),
        }
    }

    /// Whether the list comes from a compact file.
    pub fn is_opened(&self) -> bool {
        self.content.is_some()
    }

    pub(crate) fn parts(&self) -> [&Bytes; PARTS] {
        let [directory, places, data] = self.sections.parts();
        let AllTerms { rows, text } = &self.terms;
        [directory, places, self.lone.bytes(), self.prefixes.bytes(), rows, text, data]
    }
}

fn length(header: &[u8], part: usize) -> u64 {
    u64_at(header, at::PARTS + part * 8)
}

/// SHA-256 of the parts one after the other, without what fills up between them.
fn content(parts: [&Bytes; PARTS]) -> [u8; 32] {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
    hash.finalize().into()
}

/// Of the header in front of it.
fn check(header: &[u8]) -> [u8; HEADER - at::CHECK] {
    let hash = Sha256::digest(&header[..at::CHECK]);
    *hash.first_chunk().expect("16 bytes of 32")
}
