//! A retransmitted INVITE gets the same answer, and is neither judged nor written again.
//!
//! SIP over UDP repeats a request until it is answered, for up to 32 s (RFC 3261 section 17.1.1.2). The
//! table is direct-mapped: a call that lands on another's place takes it, and the other's retransmissions,
//! by then long answered, would be judged anew. 131,072 places last a second or more at any rate one core reaches.

use std::hash::{BuildHasher, Hasher, RandomState};

use call::{Call, Verdict};
use sip::{Name, Request, Via};

const PLACES: usize = 1 << 17;
const LIFE_MS: i64 = 32_000;

/// What identifies an INVITE and its CANCEL: never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Transaction(u64);

pub struct Recent {
    places: Box<[Option<Place>]>,
    state: RandomState,
}

#[derive(Clone, Copy)]
struct Place {
    transaction: Transaction,
    at_ms: i64,
    /// What was judged: another call under the same names is another call.
    call: [u64; 5],
    verdict: Verdict,
    /// Where a proxy sent it, as a place in its trunk's next hops.
    hop: u8,
    is_asked: bool,
}

/// A call that was judged lately.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub verdict: Verdict,
    pub at_ms: i64,
    pub hop: u8,
    /// Other operators were asked: the exchange's thread has the transaction, and this verdict means nothing.
    pub is_asked: bool,
}

/// What makes two calls under the same names the same call.
pub(crate) fn identity(call: &Call) -> [u64; 5] {
    let Call { calling, presentation, called, redirecting, trunk, .. } = call;
    let words = [calling, presentation, called, redirecting].map(|party| party.to_word());
    [words[0], words[1], words[2], words[3], trunk.0.into()]
}

impl Recent {
    /// Workers share the state, so that every worker gives a request the same To tag.
    pub fn new(state: RandomState) -> Recent {
        Recent { places: vec![None; PLACES].into(), state }
    }

    /// RFC 3261 section 17.2.3: branch and sent-by of the top Via. Call-ID beside them tells apart the calls of
    /// a peer that repeats its branches, and From those of a peer older than that section.
    pub fn transaction(&self, request: &Request, via: &Via) -> Transaction {
        let mut hasher = self.state.build_hasher();
        hasher.write(via.branch);
        hasher.write(via.host);
        hasher.write_u16(via.port.unwrap_or(0));
        hasher.write(request.value(Name::CallId).unwrap_or_default());
        if !via.branch.starts_with(b"z9hG4bK") {
            hasher.write(request.value(Name::From).unwrap_or_default());
        }
        let cseq = request.value(Name::CSeq).unwrap_or_default();
        hasher.write(&cseq[..cseq.iter().take_while(|byte| byte.is_ascii_digit()).count()]);
        let transaction = Transaction(hasher.finish());
        // What is known of it is asked for when the call has been read.
        lists::prefetch(&self.places[transaction.place()]);
        transaction
    }

    /// A mark on a Call-ID that nobody outside this process can make.
    pub fn mark(&self, call_id: &[u8]) -> u64 {
        self.state.hash_one(call_id)
    }

    /// What was decided of this very call, if it was lately.
    pub fn same_call(&self, transaction: Transaction, call: &Call, now_ms: i64) -> Option<Known> {
        self.place(transaction, now_ms).filter(|place| place.call == identity(call)).map(Known::of)
    }

    /// What was decided of the INVITE of this transaction, for its CANCEL and ACK.
    pub fn known(&self, transaction: Transaction, now_ms: i64) -> Option<Known> {
        self.place(transaction, now_ms).map(Known::of)
    }

    /// A proxy sent this INVITE somewhere else.
    pub fn moved(&mut self, transaction: Transaction, hop: u8) {
        if let Some(place) = &mut self.places[transaction.place()]
            && place.transaction == transaction
        {
            place.hop = hop;
        }
    }

    fn place(&self, transaction: Transaction, now_ms: i64) -> Option<Place> {
        let place = self.places[transaction.place()].filter(|place| place.transaction == transaction)?;
        // A clock that went back makes nothing stale.
        (now_ms - place.at_ms < LIFE_MS).then_some(place)
    }

    pub fn remember(&mut self, transaction: Transaction, call: &Call, known: Known) {
        let call = identity(call);
        let Known { verdict, at_ms, hop, is_asked } = known;
        self.places[transaction.place()] = Some(Place { transaction, at_ms, call, verdict, hop, is_asked });
    }
}

impl Known {
    fn of(place: Place) -> Known {
        let Place { verdict, at_ms, hop, is_asked, .. } = place;
        Known { verdict, at_ms, hop, is_asked }
    }
}

impl Transaction {
    fn place(self) -> usize {
        self.0 as usize % PLACES
    }

    /// The To tag of every answer to this request (RFC 3261 section 8.2.7: the same each time).
    pub fn tag(self) -> u64 {
        self.0.rotate_left(32) ^ 0x51a1_9a17
    }
}
