//! What is counted over the rows of a segment: a check of each, digests of each column and of the checks.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Cells, NAMES, sha256};

/// Rows whose checks share a digest in the seal.
pub const CHECK_BLOCK: usize = 1024;

/// The check of a row: SHA-256 over the segment's number, the row's place and its cells, cut to 4 bytes.
pub(crate) fn check(segment: u64, place: u64, cells: &[u8]) -> u32 {
    let mut context = Context::new(&SHA256);
    context.update(&segment.to_le_bytes());
    context.update(&place.to_le_bytes());
    context.update(cells);
    u32::from_be_bytes(context.finish().as_ref()[..4].try_into().expect("4 of 32 bytes"))
}

/// The digests of a segment, as its seal has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digests {
    /// By column, 16 bytes of SHA-256 in base64url.
    pub columns: BTreeMap<String, String>,
    /// SHA-256 over all checks, big-endian one after the other, in hex.
    pub checks: String,
    /// 8 bytes of SHA-256 over each block of checks, in base64url.
    pub blocks: String,
}

/// The digests in the making.
pub(crate) struct Sums {
    columns: [Context; NAMES.len()],
    checks: Context,
    /// The checks of the block that is not full yet.
    block: Vec<u8>,
    blocks: Vec<u8>,
    rows: u64,
}

impl Sums {
    pub fn new() -> Sums {
        Sums {
            columns: std::array::from_fn(|_| Context::new(&SHA256)),
            checks: Context::new(&SHA256),
            block: Vec::with_capacity(4 * CHECK_BLOCK),
            blocks: Vec::new(),
            rows: 0,
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes the cells of a column that come next.
    pub fn column(&mut self, column: usize, cells: &[u8]) {
        self.columns[column].update(cells);
    }

    /// Takes the check of the next row.
    #[inline]
    pub fn check(&mut self, check: u32) {
        self.block.extend(check.to_be_bytes());
        self.rows += 1;
        if self.block.len() == 4 * CHECK_BLOCK {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        self.checks.update(&self.block);
        self.blocks.extend(&sha256(&self.block)[..8]);
        self.block.clear();
    }

    pub fn finish(mut self) -> Digests {
        if !self.block.is_empty() {
            self.end_block();
        }
        let column = |context: Context| URL_SAFE_NO_PAD.encode(&context.finish().as_ref()[..16]);
        Digests {
            columns: NAMES.iter().map(|name| (*name).to_owned()).zip(self.columns.map(column)).collect(),
            checks: crate::hex(self.checks.finish().as_ref()),
            blocks: URL_SAFE_NO_PAD.encode(&self.blocks),
        }
    }
}

/// What is counted of rows that are read, cell by cell.
pub struct Tally {
    segment: u64,
    sums: Sums,
    waiting: [Vec<u8>; NAMES.len()],
    scratch: Vec<u8>,
}

impl Tally {
    pub fn new(segment: u64) -> Tally {
        Tally {
            segment,
            sums: Sums::new(),
            waiting: std::array::from_fn(|_| Vec::new()),
            scratch: Vec::new(),
        }
    }

    /// Takes the next row; gives its check.
    pub fn add(&mut self, cells: &Cells) -> u32 {
        let check = self.check(cells);
        self.sums.check(check);
        check
    }

    /// Takes the next row with the check that a file has of it; gives the row's bytes where the check does not fit.
    pub fn compare(&mut self, cells: &Cells, found: u32) -> Option<Box<[u8]>> {
        let fits = self.check(cells) == found;
        self.sums.check(found);
        (!fits).then(|| self.scratch.as_slice().into())
    }

    pub(crate) fn check(&mut self, cells: &Cells) -> u32 {
        self.scratch.clear();
        for (column, (cell, waiting)) in cells.iter().zip(&mut self.waiting).enumerate() {
            let from = self.scratch.len();
            cell.put(&mut self.scratch);
            waiting.extend(&self.scratch[from..]);
            // A digest takes long pieces faster than short ones.
            if waiting.len() >= 4096 {
                self.sums.column(column, waiting);
                waiting.clear();
            }
        }
        check(self.segment, self.sums.rows(), &self.scratch)
    }

    pub fn finish(mut self) -> Digests {
        for (column, waiting) in self.waiting.iter().enumerate() {
            self.sums.column(column, waiting);
        }
        self.sums.finish()
    }
}
