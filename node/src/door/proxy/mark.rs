//! The mark in Record-Route by which a dialog is known again: it says what was judged when the dialog was set up.
//!
//! Nothing is kept of a call, so the dialog carries it. A mark is a keyed hash over the Call-ID, the caller's tag, whether
//! the number is withheld, and one of the numbers that were judged; nodes with one certificate of the exchange read each
//! other's, also after a restart. Whoever has it can show those numbers in that dialog again, that day and
//! the next, and nothing else.

use std::fmt::Write;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use call::{Call, Rule, Verdict};
use numbering::Party;
use sip::Request;

use super::call_id;

/// Bytes of a hash that stand in the mark.
const LENGTH: usize = 12;
const DAY_MS: i64 = 86_400_000;

/// A dialog as its requests name it.
pub(super) struct Dialog<'r> {
    pub(super) key: &'r hmac::Key,
    pub(super) call_id: &'r [u8],
    /// The tag of who called.
    pub(super) tag: &'r [u8],
    pub(super) hides: bool,
    /// Since 1970-01-01 UTC: a mark is good on its day and the next.
    pub(super) day: i64,
}

impl<'r> Dialog<'r> {
    pub(super) fn of(
        key: &'r hmac::Key,
        request: &Request<'r>,
        tag: &'r [u8],
        hides: bool,
        now_ms: i64,
    ) -> Dialog<'r> {
        Dialog { key, call_id: call_id(request), tag, hides, day: now_ms.div_euclid(DAY_MS) }
    }

    /// The mark of a dialog that is set up by this call.
    pub(super) fn mark(&self, call: &Call, verdict: &Verdict) -> String {
        // Where the called number alone decided, nobody has judged who calls.
        let is_by_called = matches!(verdict.rule, Rule::R00 | Rule::R01);
        let shown = [call.calling, call.presentation].into_iter().filter(|_| !is_by_called).filter_map(shown);
        let mut text = self.hash(None);
        for word in shown {
            let _ = write!(text, ".{}", self.hash(Some(word)));
        }
        text
    }

    /// Whether a mark is this dialog's.
    pub(super) fn has(&self, mark: &[u8]) -> bool {
        self.finds(mark, None)
    }

    /// Whether all numbers that a call shows were judged when this dialog was set up.
    pub(super) fn has_judged(&self, mark: &[u8], call: &Call) -> bool {
        let mut shown = [call.calling, call.presentation].into_iter().filter_map(shown);
        self.has(mark) && shown.all(|word| self.finds(mark, Some(word)))
    }

    fn finds(&self, mark: &[u8], word: Option<u64>) -> bool {
        let hashes = [self.day, self.day - 1].map(|day| Dialog { day, ..*self }.hash(word));
        let is_one =
            |one: &[u8]| hashes.iter().any(|hash| verify_slices_are_equal(one, hash.as_bytes()).is_ok());
        mark.split(|&byte| byte == b'.').any(is_one)
    }

    fn hash(&self, word: Option<u64>) -> String {
        let mut context = hmac::Context::with_key(self.key);
        for part in [self.call_id, self.tag] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.update(&[u8::from(self.hides), u8::from(word.is_some())]);
        context.update(&word.unwrap_or(0).to_be_bytes());
        context.update(&self.day.to_be_bytes());
        journal::hex(&context.sign().as_ref()[..LENGTH])
    }
}

/// What a telephone could show of a party.
fn shown(party: Party) -> Option<u64> {
    match party {
        Party::Absent | Party::Restricted => None,
        shown => Some(shown.to_word()),
    }
}
