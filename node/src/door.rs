//! The SIP door: the one place that knows both SIP and calls.
//!
//! A request comes in, an answer goes out. An INVITE is read into a call, judged, kept in the journal and
//! answered with its verdict by redirect (RFC 3261 section 8.3), or passed on where the node is a proxy;
//! everything else gets what its RFC asks for.
//! The door holds no socket and no clock.

mod answers;
mod checks;
mod fields;
mod proxy;

use std::net::SocketAddr;
use std::sync::Arc;

use call::{Call, Reason, Rule, Treatment, TrunkId, Verdict};
use journal::Record;
use screening::Screening;
use sip::{Address, Method, Name, Parser, Request, Via};

use crate::config::{Setup, UnknownSource};
use crate::connections::ConnectionId;
use crate::exchange::{HandedOver, Line};
use crate::retransmission::{Known, Recent, Transaction};
use crate::stats::WorkerStats;
use crate::store::Writer;
use crate::traces::Origin;

use answers::Reply;
pub use checks::Refusal;
use checks::Required;
pub use fields::{UNKNOWN_SOURCE, emergency_call, from_record, from_text, read as read_call};

/// What one worker needs to answer requests.
pub struct Door<'w> {
    pub setup: &'w Arc<Setup>,
    pub recent: &'w mut Recent,
    pub journal: &'w mut Writer,
    pub stats: &'w WorkerStats,
    /// The journal cannot be written: said in answers to OPTIONS.
    pub journal_failing: bool,
    /// To the thread that asks other operators; none where nobody is asked, and on that thread itself.
    pub line: Option<&'w Line>,
    /// What came of a call that others were asked about, for the next INVITE that is judged.
    pub settled: Option<Verdict>,
}

/// What judging an INVITE came to.
enum Judged {
    Verdict(Verdict),
    /// Other operators are asked; the answer comes from the exchange's thread.
    Asked,
}

/// Who sent a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// The connection it came by; none over UDP.
    pub connection: Option<ConnectionId>,
}

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    Datagram(SocketAddr),
    Connection(ConnectionId),
}

impl Peer {
    /// Back to the peer itself.
    pub fn destination(self) -> Destination {
        self.connection.map_or(Destination::Datagram(self.address), Destination::Connection)
    }

    /// Where an answer goes: by its connection; over UDP to the port that Via says (RFC 3261 section 18.2.2,
    /// RFC 3581 section 4).
    fn answer_to(self, via: &Via) -> Destination {
        match self.connection {
            Some(connection) => Destination::Connection(connection),
            None => {
                let port = if via.rport { self.address.port() } else { via.port.unwrap_or(5060) };
                Destination::Datagram(SocketAddr::new(self.address.ip(), port))
            }
        }
    }
}

/// When a message came.
#[derive(Clone, Copy)]
pub struct Moment {
    pub now_ms: i64,
    /// A monotonic clock, for the time a verdict took.
    pub started: std::time::Instant,
}

impl Door<'_> {
    /// Answers one message; `out` stays empty where nothing is to be sent. Gives where the answer goes.
    pub fn handle(
        &mut self,
        parser: &mut Parser,
        message: &[u8],
        peer: Peer,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> Destination {
        let setup = self.setup;
        if let Some(proxy) = &setup.sip.proxy
            && message.starts_with(b"SIP/2.0 ")
        {
            return self.pass_back(proxy, parser, message, peer, out);
        }
        let (request, outcome) = parser.parse(message);
        let Some(request) = request else {
            self.stats.ignored.add(1);
            return peer.destination();
        };
        // Without a Via nobody knows where the answer belongs.
        let Some(via) = request.value(Name::Via).and_then(Via::parse) else {
            self.stats.ignored.add(1);
            return peer.destination();
        };
        let target = peer.answer_to(&via);
        let transaction = self.recent.transaction(&request, &via);
        let tag = transaction.tag();
        let reply = Reply { setup, request: &request, message, via: &via, tag, peer };
        if let Some(line) = self.line
            && matches!(request.method, Method::Invite | Method::Ack | Method::Cancel)
            && self.recent.known(transaction, moment.now_ms).is_some_and(|known| known.is_asked)
        {
            line.again(message, peer, transaction);
            return target;
        }
        if request.method == Method::Ack && (setup.sip.proxy.is_none() || is_own(&request, &transaction)) {
            self.stats.acks.add(1);
            return target;
        }
        if let Some(refusal) = Refusal::of(&request, outcome, setup.sip.proxy.is_some())
            && !(refusal.spares_emergencies() && self.is_emergency(&request, moment))
        {
            self.stats.refused_requests.add(1);
            // RFC 3261 section 17.1.1.3: an ACK is never answered.
            if request.method != Method::Ack {
                refusal.answer(&reply, out);
            }
            return target;
        }
        if let Some(proxy) = &setup.sip.proxy
            && let Some(destination) = self.pass(proxy, &reply, transaction, peer, moment, out)
        {
            return destination;
        }
        match request.method {
            Method::Invite => self.invite(&reply, transaction, moment, out),
            Method::Options => match Required::of(&request) {
                Some(options) => {
                    self.stats.refused_requests.add(1);
                    reply.unsupported(out, &options);
                }
                None => {
                    self.stats.health_checks.add(1);
                    reply.health(out, self.journal_failing);
                }
            },
            Method::Cancel => {
                // The INVITE has its final answer; RFC 3261 section 9.2.
                let known = self.recent.known(transaction, moment.now_ms).is_some();
                reply.plain(out, if known { "200 OK" } else { "481 Call/Transaction Does Not Exist" });
            }
            Method::Known(_) => {
                self.stats.refused_requests.add(1);
                reply.not_allowed(out, "405 Method Not Allowed");
            }
            Method::Unknown(_) => {
                self.stats.refused_requests.add(1);
                reply.not_allowed(out, "501 Not Implemented");
            }
            Method::Ack => unreachable!("absorbed above"),
        }
        target
    }

    /// Answers a message that a stream cannot be cut behind, as far as it can be read.
    pub fn refuse(
        &mut self,
        parser: &mut Parser,
        message: &[u8],
        peer: Peer,
        status: &str,
        what: &str,
        out: &mut Vec<u8>,
    ) {
        self.stats.refused_requests.add(1);
        let (Some(request), _) = parser.parse(message) else { return };
        let Some(via) = request.value(Name::Via).and_then(Via::parse) else { return };
        if request.method == Method::Ack {
            return;
        }
        let tag = self.recent.transaction(&request, &via).tag();
        let reply = Reply { setup: self.setup, request: &request, message, via: &via, tag, peer };
        reply.warn(out, status, what);
    }

    /// An emergency call passes though its INVITE is broken, as long as it says where it wants to go.
    fn is_emergency(&self, request: &Request, moment: Moment) -> bool {
        request.method == Method::Invite
            && fields::emergency_from_anywhere(&self.setup.policy, request, moment.now_ms).is_some()
    }

    fn invite(&mut self, reply: &Reply, transaction: Transaction, moment: Moment, out: &mut Vec<u8>) {
        let trunk = self.setup.sources.trunk(reply.peer.address.ip());
        // This server never makes a dialog.
        if trunk.is_some() && is_within_dialog(reply.request) {
            self.stats.refused_requests.add(1);
            reply.plain(out, "481 Call/Transaction Does Not Exist");
            return;
        }
        let Some(call) = self.call(reply, trunk, moment, out) else { return };
        if let Some(known) = self.recent.same_call(transaction, &call, moment.now_ms) {
            self.stats.retransmissions.add(1);
            reply.verdict(out, &call, &known.verdict);
            return;
        }
        let verdict = match self.judge(&call, trunk, Some((reply, transaction)), moment) {
            Judged::Verdict(verdict) => verdict,
            // RFC 3261 section 17.2.1: what takes longer than 200 ms is answered at once, provisionally.
            Judged::Asked => return reply.plain(out, "100 Trying"),
        };
        reply.verdict(out, &call, &verdict);
        self.keep(&call, &verdict, reply.request, moment);
        let known = Known { verdict, at_ms: moment.now_ms, hop: 0, is_asked: false };
        self.recent.remember(transaction, &call, known);
    }

    /// Judges a call. Where others have to be asked, hands the message `asked` about over to the thread that does;
    /// without it, or where that thread has too much to do, what they would say counts as unknown.
    fn judge(
        &mut self,
        call: &Call,
        trunk: Option<TrunkId>,
        asked: Option<(&Reply, Transaction)>,
        moment: Moment,
    ) -> Judged {
        if trunk.is_none() {
            return Judged::Verdict(Verdict::of_rule(Rule::R00, Treatment::Allow, Reason::EmergencyNumber));
        }
        if let Some(verdict) = self.settled.take() {
            return Judged::Verdict(verdict);
        }
        let policy = &self.setup.policy;
        let Some((line, (reply, transaction))) = self.line.zip(asked) else {
            return Judged::Verdict(screening::screen(policy, call));
        };
        let mut screening = Screening::start(policy, *call, moment.now_ms);
        if let Some(verdict) = screening.verdict() {
            return Judged::Verdict(verdict);
        }
        let (message, peer, setup) = (reply.message.into(), reply.peer, self.setup.clone());
        if !line.hand_over(HandedOver { message, peer, transaction, call: *call, moment, setup }) {
            self.stats.unasked.add(1);
            return Judged::Verdict(screening.close());
        }
        // The verdict is a stand-in: whoever finds `is_asked` hands the message on.
        let verdict = Verdict::of_rule(Rule::R20, Treatment::Allow, Reason::NothingAgainst);
        let known = Known { verdict, at_ms: moment.now_ms, hop: 0, is_asked: true };
        self.recent.remember(transaction, call, known);
        Judged::Asked
    }

    /// Answers a request by its status alone, whatever it is: a call that others are still asked about, and its CANCEL.
    pub fn answer_plainly(
        &mut self,
        parser: &mut Parser,
        message: &[u8],
        peer: Peer,
        status: &str,
        out: &mut Vec<u8>,
    ) -> Destination {
        let (Some(request), _) = parser.parse(message) else { return peer.destination() };
        let Some(via) = request.value(Name::Via).and_then(Via::parse) else { return peer.destination() };
        let tag = self.recent.transaction(&request, &via).tag();
        Reply { setup: self.setup, request: &request, message, via: &via, tag, peer }.plain(out, status);
        peer.answer_to(&via)
    }

    /// The call of an INVITE; none from an address of no trunk, but for an emergency: that is answered.
    fn call(&self, reply: &Reply, trunk: Option<TrunkId>, moment: Moment, out: &mut Vec<u8>) -> Option<Call> {
        let policy = &self.setup.policy;
        if let Some(trunk) = trunk {
            return Some(fields::read(policy, reply.request, trunk, moment.now_ms));
        }
        self.stats.unknown_source.add(1);
        // An emergency call passes whoever sends it, and is written down like any other.
        let emergency = fields::emergency_from_anywhere(policy, reply.request, moment.now_ms);
        if emergency.is_none() && self.setup.sip.unknown_source == UnknownSource::Refuse {
            reply.plain(out, "403 Forbidden");
        }
        emergency
    }

    /// Counts the verdict and writes it down before its answer is sent.
    fn keep(&mut self, call: &Call, verdict: &Verdict, request: &Request, moment: Moment) {
        let took_ns = u32::try_from(moment.started.elapsed().as_nanos()).unwrap_or(u32::MAX);
        let call_id = request.value(Name::CallId).unwrap_or_default();
        let record = Record::new(*call, *verdict, self.setup.policy.basis_id(), took_ns, call_id);
        if let Some(line) = self.line {
            line.register(self.setup, call, verdict);
        }
        if !self.journal.append(&record) {
            self.stats.journal_lost.add(1);
        }
        self.stats.screened(self.setup.place(call.trunk), &record);
        self.stats.traced(&record, Origin::Here);
    }
}

/// Whether an ACK is for an answer of this node's own, by its tag.
fn is_own(request: &Request, transaction: &Transaction) -> bool {
    let tag = request.value(Name::To).and_then(Address::parse).and_then(|to| to.parameter(b"tag"));
    tag.is_some_and(|tag| tag == format!("{:016x}", transaction.tag()).as_bytes())
}

/// Whether an INVITE has a tag in To: it belongs to a dialog, and is no new call.
fn is_within_dialog(request: &Request) -> bool {
    let to = request.value(Name::To).and_then(Address::parse);
    to.is_some_and(|to| to.parameter(b"tag").is_some())
}
