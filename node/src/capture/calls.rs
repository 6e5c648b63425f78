//! From SIP messages to calls, each once, and to what the network answered them.
//!
//! An INVITE without a To tag from an address of a trunk is a call. The same INVITE again, sent again or captured
//! on another interface or hop, is the same call. Final responses are matched to it by Call-ID, From tag and CSeq
//! (RFC 3261 section 17.1.3 without the branch, which other hops change).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use call::{Call, Treatment, TrunkId, Verdict};
use memchr::memmem;
use sip::{Address, Method, Name, Parser, Request, Response};

use super::Message;
use crate::config::Setup;
use crate::door;
use crate::retransmission::identity;

/// A call waits so long for its answer, which is longer than any telephone rings.
const LIFE_MS: i64 = 600_000;
const MOST_CALLS: usize = 1 << 20;
/// So many addresses of no trunk are told apart.
const MOST_STRANGERS: usize = 1 << 12;

/// What the network answered to an INVITE in the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// 2xx.
    Answered,
    /// 487: the caller gave up.
    Cancelled,
    /// 3xx.
    Redirected,
    /// 401 and 407: asked who it is; the call comes again as another INVITE.
    Challenged,
    /// Any other refusal.
    Refused,
    /// No final response in the capture.
    Unknown,
}

impl Outcome {
    pub const ALL: [Outcome; 6] = [
        Outcome::Answered,
        Outcome::Refused,
        Outcome::Cancelled,
        Outcome::Redirected,
        Outcome::Challenged,
        Outcome::Unknown,
    ];

    /// Its key among the words.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Refused => "refused-by-network",
            Outcome::Cancelled => "cancelled",
            Outcome::Redirected => "redirected",
            Outcome::Challenged => "challenged",
            Outcome::Unknown => "no-final-answer",
        }
    }

    fn of_status(status: u16) -> Option<Outcome> {
        Some(match status {
            200..300 => Outcome::Answered,
            300..400 => Outcome::Redirected,
            401 | 407 => Outcome::Challenged,
            487 => Outcome::Cancelled,
            400..700 => Outcome::Refused,
            _ => return None,
        })
    }
}

/// What was heard besides calls.
#[derive(Clone, Default, Debug)]
pub struct CallCounts {
    /// INVITEs that are sent again or captured again.
    pub repeated: u64,
    /// INVITEs with a To tag.
    pub within_dialog: u64,
    /// INVITEs that a node would answer with 4xx and not judge.
    pub malformed: u64,
    /// INVITEs of which the capture kept too little.
    pub cut: u64,
    /// INVITEs from addresses of no trunk.
    pub of_no_trunk: u64,
    /// Addresses they came from, each with how many.
    pub strangers: HashMap<IpAddr, u64>,
    pub other_requests: u64,
    pub responses: u64,
}

/// Calls by what would be done with them (places of [`Treatment::ALL`], and last those that monitor mode alone
/// keeps from being blocked) and by what the network did.
pub type Outcomes = [[u64; Treatment::ALL.len() + 1]; Outcome::ALL.len()];

pub struct Calls<'s> {
    setup: &'s Setup,
    /// All calls are of this trunk, wherever they come from.
    only: Option<TrunkId>,
    parser: Parser,
    state: RandomState,
    judged: HashSet<u64>,
    dialogs: HashMap<u64, Dialog>,
    /// Calls and their dialogs in the order they came.
    queue: VecDeque<(i64, u64, u64)>,
    whole: Vec<u8>,
    pub counts: CallCounts,
    pub outcomes: Outcomes,
}

/// The calls of one Call-ID, From tag and CSeq: mostly one.
#[derive(Default)]
struct Dialog {
    verdicts: [u32; Treatment::ALL.len() + 1],
    outcome: Option<Outcome>,
    /// Entries of the queue.
    calls: u32,
}

/// Judges a call that was captured in a packet.
pub type Judge<'j> = &'j mut dyn FnMut(&Call, u64) -> Result<Verdict, String>;

impl<'s> Calls<'s> {
    pub fn new(setup: &'s Setup, only: Option<TrunkId>) -> Calls<'s> {
        Calls {
            setup,
            only,
            parser: Parser::new(),
            state: RandomState::new(),
            judged: HashSet::new(),
            dialogs: HashMap::new(),
            queue: VecDeque::new(),
            whole: Vec::new(),
            counts: CallCounts::default(),
            outcomes: Outcomes::default(),
        }
    }

    /// Hears one message, which may be no SIP at all.
    pub fn hear(&mut self, message: Message, judge: Judge) -> Result<(), String> {
        let lead = message.bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
        let bytes = &message.bytes[lead..];
        if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            return Ok(());
        }
        let mut parser = std::mem::take(&mut self.parser);
        let mut whole = std::mem::take(&mut self.whole);
        let outcome = match message.is_cut {
            false => self.read(&mut parser, bytes, &message, judge),
            true if memmem::find(bytes, b"\r\n\r\n").is_none() => {
                // Without all of its header fields nobody knows what a node would have read.
                self.counts.cut += u64::from(bytes.starts_with(b"INVITE "));
                Ok(())
            }
            true => {
                fill(&mut parser, bytes, &mut whole);
                self.read(&mut parser, &whole, &message, judge)
            }
        };
        (self.parser, self.whole) = (parser, whole);
        outcome
    }

    fn read(
        &mut self,
        parser: &mut Parser,
        bytes: &[u8],
        message: &Message,
        judge: Judge,
    ) -> Result<(), String> {
        if bytes.starts_with(b"SIP/") {
            if let Some(response) = parser.response(bytes) {
                self.response(&response);
            }
            return Ok(());
        }
        let (Some(request), outcome) = parser.parse(bytes) else { return Ok(()) };
        if request.method != Method::Invite {
            self.counts.other_requests += 1;
            return Ok(());
        }
        let to = request.value(Name::To).and_then(Address::parse);
        if to.is_some_and(|to| to.parameter(b"tag").is_some()) {
            self.counts.within_dialog += 1;
            return Ok(());
        }
        let Some(trunk) = self.only.or_else(|| self.setup.sources.trunk(message.source)) else {
            self.counts.of_no_trunk += 1;
            let strangers = &mut self.counts.strangers;
            if strangers.len() < MOST_STRANGERS || strangers.contains_key(&message.source) {
                *strangers.entry(message.source).or_default() += 1;
            }
            return Ok(());
        };
        let passing = self.setup.sip.proxy.is_some();
        if door::Refusal::of(&request, outcome, passing).is_some() {
            self.counts.malformed += 1;
            return Ok(());
        }
        self.invite(&request, trunk, message, judge)
    }

    fn invite(
        &mut self,
        request: &Request,
        trunk: TrunkId,
        message: &Message,
        judge: Judge,
    ) -> Result<(), String> {
        let value = |name| request.value(name).unwrap_or_default();
        let dialog = self.dialog(value(Name::CallId), value(Name::From), value(Name::CSeq));
        let call = door::read_call(&self.setup.policy, request, trunk, message.time_ms);
        let key = self.state.hash_one((dialog, identity(&call)));
        self.forget(message.time_ms);
        if !self.judged.insert(key) {
            self.counts.repeated += 1;
            return Ok(());
        }
        let verdict = judge(&call, message.packet)?;
        let entry = self.dialogs.entry(dialog).or_default();
        entry.verdicts[usize::from(verdict.treatment.code())] += 1;
        if verdict.would.is_some_and(|would| would.treatment == Treatment::Block) {
            entry.verdicts[Treatment::ALL.len()] += 1;
        }
        entry.calls += 1;
        self.queue.push_back((message.time_ms, dialog, key));
        Ok(())
    }

    fn response(&mut self, response: &Response) {
        self.counts.responses += 1;
        let Some(outcome) = Outcome::of_status(response.status) else { return };
        let value = |name| response.values(name).next().unwrap_or_default();
        let cseq = value(Name::CSeq);
        if !cseq.ends_with(b"INVITE") {
            return;
        }
        let dialog = self.dialog(value(Name::CallId), value(Name::From), cseq);
        if let Some(dialog) = self.dialogs.get_mut(&dialog)
            // A fork that answers wins over those that refuse; of others the last is what the caller got.
            && dialog.outcome != Some(Outcome::Answered)
        {
            dialog.outcome = Some(outcome);
        }
    }

    fn dialog(&self, call_id: &[u8], from: &[u8], cseq: &[u8]) -> u64 {
        let tag = Address::parse(from).and_then(|from| from.parameter(b"tag")).unwrap_or_default();
        let digits = cseq.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut hasher = self.state.build_hasher();
        for part in [call_id, tag, &cseq[..digits]] {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    }

    /// Lets go of calls that are too old, or too many, for an answer to come.
    fn forget(&mut self, now_ms: i64) {
        while let Some(&(time_ms, dialog, key)) = self.queue.front() {
            if now_ms.saturating_sub(time_ms) < LIFE_MS && self.queue.len() < MOST_CALLS {
                return;
            }
            self.queue.pop_front();
            self.judged.remove(&key);
            self.settle(dialog);
        }
    }

    fn settle(&mut self, key: u64) {
        let Some(dialog) = self.dialogs.get_mut(&key) else { return };
        dialog.calls -= 1;
        if dialog.calls > 0 {
            return;
        }
        let outcome = dialog.outcome.unwrap_or(Outcome::Unknown);
        let place = Outcome::ALL.iter().position(|&other| other == outcome).unwrap_or(0);
        for (sum, n) in self.outcomes[place].iter_mut().zip(dialog.verdicts) {
            *sum += u64::from(n);
        }
        self.dialogs.remove(&key);
    }

    /// Nothing comes any more.
    pub fn end(&mut self) {
        while let Some((_, dialog, _)) = self.queue.pop_front() {
            self.settle(dialog);
        }
        self.judged.clear();
    }
}

/// A message whose body was cut off by the capture, with a body as long as it says.
fn fill(parser: &mut Parser, bytes: &[u8], whole: &mut Vec<u8>) {
    whole.clear();
    whole.extend_from_slice(bytes);
    let (Some(request), _) = parser.parse(bytes) else { return };
    let length = request.value(Name::ContentLength).and_then(|text| std::str::from_utf8(text).ok());
    let length = length.and_then(|text| text.parse::<usize>().ok()).unwrap_or(0).min(sip::LARGEST);
    let lacking = length.saturating_sub(request.body.len());
    whole.resize(bytes.len() + lacking, 0);
}
