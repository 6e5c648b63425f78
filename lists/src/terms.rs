//! Owner, expiry and note, kept once for all entries that share them.

use std::collections::HashMap;

use bytes::Bytes;

use crate::bits::{u32_at, u64_at};

/// What stands beside a number in its list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms<'l> {
    /// Milliseconds since 1970-01-01 UTC; from then on the entry no longer counts. `i64::MAX`: never.
    pub expires_ms: i64,
    /// What the reader of the list made of the note; see [`List::read`](crate::List::read).
    pub flags: u32,
    owner: &'l [u8],
    note: &'l [u8],
}

impl<'l> Terms<'l> {
    pub fn owner(&self) -> &'l str {
        std::str::from_utf8(self.owner).unwrap_or_default()
    }

    pub fn note(&self) -> &'l str {
        std::str::from_utf8(self.note).unwrap_or_default()
    }
}

/// All terms of a list by their index.
#[derive(Clone, Default)]
pub(crate) struct AllTerms {
    /// Of each, 32 bytes: expiry (8), flags (4), bytes of the owner (4), bytes of the note (4), nothing (4), where
    /// the owner begins in `text` (8); the note follows it.
    pub rows: Bytes,
    pub text: Bytes,
}

const ROW: usize = 32;

impl AllTerms {
    pub fn len(&self) -> usize {
        self.rows.len() / ROW
    }

    #[inline]
    pub fn expires_ms(&self, index: u32) -> Option<i64> {
        let at = index as usize * ROW;
        (at < self.rows.len()).then(|| u64_at(&self.rows, at) as i64)
    }

    /// None where there is no such index, as in bytes that are not as they were made.
    #[inline]
    pub fn get(&self, index: u32) -> Option<Terms<'_>> {
        let at = index as usize * ROW;
        let expires_ms = self.expires_ms(index)?;
        let lengths = u64_at(&self.rows, at + 12);
        let start = u64_at(&self.rows, at + 24) as usize;
        let middle = start.saturating_add(lengths as u32 as usize);
        let end = middle.saturating_add((lengths >> 32) as usize);
        let text = |start, end| self.text.get(start..end).unwrap_or_default();
        Some(Terms {
            expires_ms,
            flags: u32_at(&self.rows, at + 8),
            owner: text(start, middle),
            note: text(middle, end),
        })
    }
}

/// Gathers terms, each once.
#[derive(Default)]
pub(crate) struct Gathering {
    rows: Vec<u8>,
    text: Vec<u8>,
    expiries: Vec<i64>,
    known: HashMap<(String, i64, String), u32>,
}

impl Gathering {
    /// The index of these terms.
    pub fn add(&mut self, owner: String, expires_ms: i64, note: String, flags: u32) -> u32 {
        let next = self.expiries.len() as u32;
        let terms = (owner, expires_ms, note);
        if let Some(&known) = self.known.get(&terms) {
            return known;
        }
        let (owner, _, note) = &terms;
        self.rows.extend_from_slice(&expires_ms.to_le_bytes());
        for word in [flags, owner.len() as u32, note.len() as u32, 0] {
            self.rows.extend_from_slice(&word.to_le_bytes());
        }
        self.rows.extend_from_slice(&(self.text.len() as u64).to_le_bytes());
        self.text.extend_from_slice(owner.as_bytes());
        self.text.extend_from_slice(note.as_bytes());
        self.expiries.push(expires_ms);
        self.known.insert(terms, next);
        next
    }

    /// Of two terms of one number those that count: the later expiry, the earlier line where both are the same.
    pub fn longer(&self, first: u32, later: u32) -> u32 {
        if self.expiries[later as usize] > self.expiries[first as usize] { later } else { first }
    }

    pub fn finish(self) -> AllTerms {
        AllTerms { rows: self.rows.into(), text: self.text.into() }
    }
}
