//! The SIP door: the one place that knows both SIP and calls.
//!
//! A request comes in, an answer goes out. An INVITE is read into a call, judged, kept in the journal and
//! answered with its verdict by redirect (RFC 3261 section 8.3); everything else gets what its RFC asks for.
//! The door holds no socket and no clock.

mod answers;
mod fields;

use std::net::SocketAddr;

use call::{Call, Reason, Rule, Treatment, Verdict};
use journal::Record;
use screening::screen;
use sip::{Address, Broken, Method, Name, Parser, Request, Scheme, Via};

use crate::config::{Setup, UnknownSource};
use crate::retransmission::{Recent, Transaction};
use crate::stats::WorkerStats;
use crate::store::Writer;

use answers::Reply;
pub use fields::{UNKNOWN_SOURCE, from_text};

/// What one worker needs to answer requests.
pub struct Door<'w> {
    pub setup: &'w Setup,
    pub recent: &'w mut Recent,
    pub journal: &'w mut Writer,
    pub stats: &'w WorkerStats,
    /// The journal cannot be written: said in answers to OPTIONS.
    pub journal_failing: bool,
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
        source: SocketAddr,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> SocketAddr {
        let (request, outcome) = parser.parse(message);
        let Some(request) = request else {
            self.stats.ignored.add(1);
            return source;
        };
        // Without a Via nobody knows where the answer belongs.
        let Some(via) = request.value(Name::Via).and_then(Via::parse) else {
            self.stats.ignored.add(1);
            return source;
        };
        // RFC 3261 section 18.2.2, RFC 3581 section 4.
        let port = if via.rport { source.port() } else { via.port.unwrap_or(5060) };
        let target = SocketAddr::new(source.ip(), port);
        let transaction = self.recent.transaction(&request, &via);
        let reply = Reply { setup: self.setup, request: &request, via: &via, tag: transaction.tag(), source };
        if request.method == Method::Ack {
            self.stats.acks.add(1);
            return target;
        }
        let fault = match outcome {
            Ok(()) => request.fault(),
            Err(Broken::Version) => {
                self.stats.refused_requests.add(1);
                reply.plain(out, "505 Version Not Supported");
                return target;
            }
            Err(Broken::Syntax(what)) => Some(what),
            Err(Broken::NotARequest) => unreachable!("a request was given"),
        };
        if let Some(what) = fault {
            self.stats.refused_requests.add(1);
            reply.bad(out, what);
            return target;
        }
        match request.method {
            Method::Invite => self.invite(&reply, transaction, moment, out),
            Method::Options => {
                self.stats.health_checks.add(1);
                reply.health(out, self.journal_failing);
            }
            Method::Cancel => {
                // The INVITE has its final answer; RFC 3261 section 9.2.
                let known = self.recent.is_known(transaction, moment.now_ms);
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

    fn invite(&mut self, reply: &Reply, transaction: Transaction, moment: Moment, out: &mut Vec<u8>) {
        let trunk = self.setup.sources.trunk(reply.source.ip());
        let call = match trunk {
            Some(trunk) => {
                if let Some(refusal) = not_a_call(reply.request) {
                    self.stats.refused_requests.add(1);
                    reply.plain(out, refusal);
                    return;
                }
                fields::read(&self.setup.policy, reply.request, trunk, moment.now_ms)
            }
            None => {
                self.stats.unknown_source.add(1);
                // An emergency call passes whoever sends it, and is written down like any other.
                let emergency =
                    fields::emergency_from_anywhere(&self.setup.policy, reply.request, moment.now_ms);
                let Some(call) = emergency else {
                    if self.setup.sip.unknown_source == UnknownSource::Refuse {
                        reply.plain(out, "403 Forbidden");
                    }
                    return;
                };
                call
            }
        };
        if let Some(verdict) = self.recent.verdict(transaction, &call, moment.now_ms) {
            self.stats.retransmissions.add(1);
            reply.verdict(out, &call, &verdict);
            return;
        }
        let verdict = match trunk {
            Some(_) => screen(&self.setup.policy, &call),
            None => Verdict::of_rule(Rule::R00, Treatment::Allow, Reason::EmergencyNumber),
        };
        reply.verdict(out, &call, &verdict);
        self.keep(&call, &verdict, reply.request, moment);
        self.recent.remember(transaction, &call, moment.now_ms, verdict);
    }

    /// Counts the verdict and writes it down before its answer is sent.
    fn keep(&mut self, call: &Call, verdict: &Verdict, request: &Request, moment: Moment) {
        let took_ns = u32::try_from(moment.started.elapsed().as_nanos()).unwrap_or(u32::MAX);
        let call_id = request.value(Name::CallId).unwrap_or_default();
        let record = Record::new(*call, *verdict, self.setup.policy.basis_id(), took_ns, call_id);
        if !self.journal.append(&record) {
            self.stats.journal_lost.add(1);
        }
        self.stats.screened(call.trunk, verdict, took_ns);
    }
}

/// Why an INVITE is no new call to judge.
fn not_a_call(request: &Request) -> Option<&'static str> {
    match Address::from_uri(request.uri).map(|uri| uri.scheme) {
        Some(Scheme::Sip | Scheme::Sips | Scheme::Tel | Scheme::Urn) => {}
        Some(Scheme::Other) => return Some("416 Unsupported URI Scheme"),
        None => return Some("400 Bad Request-URI"),
    }
    let to = request.value(Name::To).and_then(Address::parse);
    // A tag in To: within a dialog, and this server never makes one.
    to.and_then(|to| to.parameter(b"tag")).map(|_| "481 Call/Transaction Does Not Exist")
}
