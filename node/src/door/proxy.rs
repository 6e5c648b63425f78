//! Proxy mode: calls go through this node to the next hop, marked or with their number withheld.
//!
//! A stateless proxy (RFC 3261 section 16.11): nothing is kept of a call but what retransmissions need anyway.
//! A refusal is this node's own answer; everything else is passed on over UDP, and responses find their way
//! back by Via. Whatever goes wrong in judging, the call is passed on.

mod hidden;
mod mark;
mod route;

use std::fmt::Display;
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use aws_lc_rs::hmac;
use call::{Call, Label, Reason, Rule, Treatment, TrunkId, Verdict};
use sip::{Address, Forward, FromField, Method, Name, Parser, Request, hop_count, pass_back};

use hidden::{seal, unseal};
use mark::Dialog;
use route::{OwnUri, RecordRoute, Routed, address_of, is_this_node};

use super::answers::{Identity, Reply, words};
use super::{Destination, Door, Judged, Moment, Peer, UNKNOWN_SOURCE, is_within_dialog, read_call};
use crate::config::{Proxy, UnknownSource};
use crate::connections::ConnectionId;
use crate::retransmission::{Known, Transaction};

/// Nobody but this node says what it decided, and a number that is withheld must not stand elsewhere.
const CLAIMED: [Name; 1] = [Name::QalqanVerdict];
const MARKED: [Name; 2] = [Name::QalqanVerdict, Name::PAssertedIdentity];
const WITHHELD: [Name; 6] = [
    Name::QalqanVerdict,
    Name::PAssertedIdentity,
    Name::Privacy,
    Name::RemotePartyId,
    Name::PPreferredIdentity,
    Name::Identity,
];

impl Door<'_> {
    /// Passes a request on, or answers it in its stead; none where it is for this node itself.
    pub(super) fn pass(
        &mut self,
        proxy: &Proxy,
        reply: &Reply,
        transaction: Transaction,
        peer: Peer,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> Option<Destination> {
        let request = reply.request;
        let back = peer.answer_to(reply.via);
        let uri = Address::from_uri(request.uri);
        if request.method == Method::Options && uri.is_some_and(|uri| uri.user.is_empty()) {
            return None;
        }
        let trunk = self.setup.sources.trunk(peer.address.ip());
        let from_hop = proxy.is_hop(peer.address.ip().to_canonical());
        let refuse = |door: &mut Self, out: &mut Vec<u8>, status: &str| {
            door.stats.refused_requests.add(1);
            if request.method != Method::Ack {
                reply.plain(out, status);
            }
            Some(back)
        };
        if hop_count(request) == Some(0) {
            return refuse(self, out, "483 Too Many Hops");
        }
        let routed = Routed::of(request, proxy);
        let known = self.recent.known(transaction, moment.now_ms);
        let sender = Sender { proxy, peer, transaction, routed };
        // What belongs to an emergency call that this node passed on, whoever sends it.
        let is_emergency = routed
            .is_some_and(|routed| routed.sos == Some(self.recent.mark(call_id(request))))
            || matches!(request.method, Method::Cancel | Method::Ack) && known.is_some();
        match request.method {
            Method::Invite
                if (trunk.is_some() || !from_hop) && !self.was_judged(reply, routed, from_hop, moment) =>
            {
                self.pass_invite(reply, sender, moment, out)
            }
            // A call that was refused here went nowhere.
            Method::Cancel if known.is_some_and(|known| known.verdict.treatment == Treatment::Block) => None,
            _ if trunk.is_none() && !from_hop && !is_emergency => {
                self.stats.unknown_source.add(1);
                match self.setup.sip.unknown_source {
                    UnknownSource::Refuse => refuse(self, out, "403 Forbidden"),
                    UnknownSource::Silent => Some(back),
                }
            }
            _ => {
                let route = trunk.map(|trunk| proxy.route(trunk)).or((!from_hop).then_some(&*proxy.route));
                let hop = route.filter(|route| !route.is_empty()).map(|route| {
                    let place = known.map_or_else(|| first_up(proxy, route), |known| usize::from(known.hop));
                    proxy.hops[usize::from(route[place.min(route.len() - 1)])].address
                });
                let Some(target) = self.target(proxy, reply, routed, hop) else {
                    return refuse(self, out, "404 Not Found");
                };
                // CANCEL and ACK say of the caller what their INVITE said (RFC 3261 sections 9.1, 17.1.1.3).
                let hides = routed.is_some_and(|routed| routed.hides(request))
                    || known.is_some_and(|known| known.verdict.treatment == Treatment::Withhold);
                self.send(reply, sender, target, None, hides, out);
                Some(Destination::Datagram(target))
            }
        }
    }

    /// Whether an INVITE belongs to a dialog that was set up through this operator's nodes, by the mark that it carries, and
    /// shows no other number than was judged then. A tag in To alone says nothing: whoever calls can make one up.
    fn was_judged(&self, reply: &Reply, routed: Option<Routed>, from_hop: bool, moment: Moment) -> bool {
        let request = reply.request;
        let Some((key, (of, mark))) = self.dialog_key().zip(routed.and_then(|routed| routed.judged)) else {
            return false;
        };
        if !is_within_dialog(request) {
            return false;
        }
        let is_hidden = routed.is_some_and(|routed| routed.hidden == Some(of));
        let dialog = Dialog::of(key, request, of, is_hidden, moment.now_ms);
        let trunk = self.setup.sources.trunk(reply.peer.address.ip());
        let called = || request.value(Name::To).and_then(Address::parse).and_then(|to| to.parameter(b"tag"));
        match trunk {
            Some(trunk) if Routed::token(request).as_bytes() == of => {
                let call = read_call(&self.setup.policy, request, trunk, moment.now_ms);
                dialog.has_judged(mark, &call)
            }
            // The called side, whose number was dialled, not shown.
            _ => from_hop && called() == Some(of) && dialog.has(mark),
        }
    }

    /// What dialogs are marked with: only where others are asked, for all else is judged again at once, and alike.
    fn dialog_key(&self) -> Option<&hmac::Key> {
        self.setup.exchange.as_ref().map(|exchange| &exchange.dialog_key)
    }

    /// An INVITE from a trunk, or an emergency call from anywhere.
    fn pass_invite(
        &mut self,
        reply: &Reply,
        sender: Sender,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> Option<Destination> {
        let (request, proxy) = (reply.request, sender.proxy);
        let back = sender.peer.answer_to(reply.via);
        let trunk = self.setup.sources.trunk(sender.peer.address.ip());
        // Where others are asked dialogs are marked, and a tag in To without the mark is a new call's.
        let in_dialog = is_within_dialog(request) && self.dialog_key().is_none();
        let Some(call) = self.call(reply, trunk, moment, out) else { return Some(back) };
        let route = proxy.route(call.trunk);
        if route.is_empty() {
            // Only an emergency call from an address of no trunk comes here without a next hop.
            reply.plain(out, "503 Service Unavailable");
            return Some(back);
        }
        let mut known = self.recent.same_call(sender.transaction, &call, moment.now_ms);
        let verdict = match known {
            Some(known) => {
                self.stats.retransmissions.add(1);
                known.verdict
            }
            None => {
                match self.judge_or_pass(&call, trunk, Some((reply, sender.transaction)), moment) {
                    Judged::Verdict(verdict) => verdict,
                    // A stateless proxy sends no 100 (RFC 3261 section 16.11).
                    Judged::Asked => return Some(back),
                }
            }
        };
        // Within a dialog the number is judged again, or a tag in To would be a way around; but only a refusal
        // is written down, for the call was written down when it was set up.
        if known.is_none() && (!in_dialog || verdict.treatment == Treatment::Block) {
            self.keep(&call, &verdict, request, moment);
        }
        if verdict.treatment == Treatment::Block {
            let fresh = Known { verdict, at_ms: moment.now_ms, hop: 0, is_asked: false };
            self.recent.remember(sender.transaction, &call, known.unwrap_or(fresh));
            reply.verdict(out, &call, &verdict);
            return Some(back);
        }
        let place = match &mut known {
            Some(known) => self.place_again(proxy, route, sender.transaction, known, moment),
            None => {
                let place = first_up(proxy, route);
                let fresh = Known { verdict, at_ms: moment.now_ms, hop: place as u8, is_asked: false };
                self.recent.remember(sender.transaction, &call, fresh);
                place
            }
        };
        let hop = proxy.hops[usize::from(route[place.min(route.len() - 1)])].address;
        let target = self.target(proxy, reply, sender.routed, Some(hop)).unwrap_or(hop);
        let hides = verdict.treatment == Treatment::Withhold;
        self.send(reply, sender, target, Some((&call, &verdict)), hides, out);
        Some(Destination::Datagram(target))
    }

    /// The verdict; a mistake of ours lets the call pass, and is counted.
    fn judge_or_pass(
        &mut self,
        call: &Call,
        trunk: Option<TrunkId>,
        asked: Option<(&Reply, Transaction)>,
        moment: Moment,
    ) -> Judged {
        catch_unwind(AssertUnwindSafe(|| self.judge(call, trunk, asked, moment))).unwrap_or_else(|_| {
            self.stats.panics.add(1);
            Judged::Verdict(Verdict::of_rule(Rule::R20, Treatment::Allow, Reason::NothingAgainst))
        })
    }

    /// Where a repeated INVITE goes: on to the next of the trunk's hops when nobody answered for so long.
    fn place_again(
        &mut self,
        proxy: &Proxy,
        route: &[u8],
        transaction: Transaction,
        known: &mut Known,
        moment: Moment,
    ) -> usize {
        let waited = moment.now_ms - known.at_ms;
        let before = usize::from(known.hop);
        if proxy.silent_ms == 0 || waited < proxy.silent_ms || route.len() < 2 {
            return before;
        }
        let others = (1..route.len()).map(|step| (before + step) % route.len());
        let next =
            others.clone().find(|&place| is_up(proxy, route, place)).unwrap_or((before + 1) % route.len());
        self.stats.moved_on.add(1);
        self.recent.moved(transaction, next as u8);
        next
    }

    /// The address a request goes to: what Route or the Request-URI name (RFC 3261 section 16.6), as far as this
    /// sender may reach it: a trunk only next hops, a next hop anybody.
    fn target(
        &self,
        proxy: &Proxy,
        reply: &Reply,
        routed: Option<Routed>,
        hop: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        let named = match routed {
            Some(routed) => match routed.next {
                Some(route) => address_of(&route),
                None => Address::from_uri(reply.request.uri).and_then(|uri| address_of(&uri)),
            },
            // From a next hop outwards the Request-URI says where to; from a trunk the trunk's route does.
            None if hop.is_none() => Address::from_uri(reply.request.uri).and_then(|uri| address_of(&uri)),
            None => None,
        };
        let allowed = named.filter(|named| {
            let may = hop.is_none() || proxy.is_hop(named.ip());
            may && !is_this_node(proxy, *named)
        });
        allowed.or(hop)
    }

    /// Writes the request as it goes on to `target`.
    fn send(
        &mut self,
        reply: &Reply,
        sender: Sender,
        target: SocketAddr,
        judged: Option<(&Call, &Verdict)>,
        hides: bool,
        out: &mut Vec<u8>,
    ) {
        let (request, proxy) = (reply.request, sender.proxy);
        let identity = judged.and_then(|(call, verdict)| Identity::of(call, verdict, reply.peer.address));
        let label = judged.and_then(|(_, verdict)| verdict.treatment.label());
        let display = label.and_then(|label: Label| proxy.display[label as usize]);
        let from = match display {
            _ if hides => FromField::Anonymous,
            Some(display) => FromField::Display(display),
            None => FromField::Keep,
        };
        let uri = OwnUri::of(request, proxy, target);
        let sos = judged.filter(|(call, _)| call.trunk == UNKNOWN_SOURCE);
        let sos = sos.map(|_| self.recent.mark(call_id(request)));
        let of = Routed::token(request);
        let key = self.dialog_key().filter(|_| proxy.record_route && !of.is_empty());
        let known = judged.zip(key).map(|((call, verdict), key)| {
            Dialog::of(key, request, of.as_bytes(), hides, call.time_ms).mark(call, verdict)
        });
        let record_route = RecordRoute { via: &proxy.via, of, hides, known: known.as_deref(), sos };
        let kept = hides.then(|| request.value(Name::From).and_then(seal)).flatten();
        let connection = sender.peer.connection.map(|ConnectionId(id)| id);
        let forward = Forward {
            via: &proxy.via,
            branch: branch(reply),
            connection,
            kept_from: kept.as_deref(),
            previous: reply.via,
            source: reply.peer.address,
            uri: uri.as_ref().map(|uri| uri as &dyn Display),
            takes_route: sender.routed.is_some(),
            record_route: (proxy.record_route && request.method == Method::Invite).then_some(&record_route),
            from,
            dropped: match () {
                () if hides => &WITHHELD,
                () if identity.is_some() => &MARKED,
                () => &CLAIMED,
            },
        };
        forward.write(request, out, |out| {
            if let Some((_, verdict)) = judged {
                out.extend_from_slice(b"Qalqan-Verdict: ");
                words(verdict, out);
                out.extend_from_slice(b"\r\n");
            }
            match &identity {
                Some(identity) => {
                    out.extend_from_slice(b"P-Asserted-Identity: ");
                    identity.write(out);
                    out.extend_from_slice(b"\r\n");
                    if identity.is_hidden() {
                        out.extend_from_slice(b"Privacy: id\r\n");
                    }
                }
                None if hides => {
                    out.extend_from_slice(b"Privacy: id\r\n");
                }
                None => {}
            }
        });
        self.stats.passed_on.add(1);
    }

    /// A response on its way back (RFC 3261 section 16.11).
    pub(super) fn pass_back(
        &mut self,
        proxy: &Proxy,
        parser: &mut Parser,
        message: &[u8],
        peer: Peer,
        out: &mut Vec<u8>,
    ) -> Destination {
        let start = out.len();
        let is_expected = proxy.is_hop(peer.address.ip().to_canonical())
            || self.setup.sources.trunk(peer.address.ip()).is_some();
        let next = is_expected
            .then(|| parser.response(message))
            .flatten()
            .and_then(|response| pass_back(&response, &proxy.via, unseal, out));
        match next {
            Some(next) => {
                let by_connection = next.connection.map(|id| Destination::Connection(ConnectionId(id)));
                if let Some(to) = by_connection.or_else(|| next.address.map(Destination::Datagram)) {
                    self.stats.passed_back.add(1);
                    return to;
                }
            }
            None => self.stats.ignored.add(1),
        }
        out.truncate(start);
        peer.destination()
    }
}

/// Who sends a request, and how it came.
#[derive(Clone, Copy)]
struct Sender<'r> {
    proxy: &'r Proxy,
    peer: Peer,
    transaction: Transaction,
    routed: Option<Routed<'r>>,
}

/// The first of a trunk's next hops that answers; the first of all where none does: better tried than not.
fn first_up(proxy: &Proxy, route: &[u8]) -> usize {
    (0..route.len()).find(|&place| is_up(proxy, route, place)).unwrap_or(0)
}

fn is_up(proxy: &Proxy, route: &[u8], place: usize) -> bool {
    proxy.hops[usize::from(route[place])].is_up()
}

fn call_id<'r>(request: &Request<'r>) -> &'r [u8] {
    request.value(Name::CallId).unwrap_or_default()
}

/// The same for every message of a transaction, whichever worker meets it and after a restart too.
fn branch(reply: &Reply) -> u64 {
    let request = reply.request;
    let mut hasher = DefaultHasher::new();
    for part in [reply.via.branch, reply.via.host, call_id(request)] {
        hasher.write(part);
        hasher.write_u8(0);
    }
    hasher.write_u16(reply.via.port.unwrap_or(0));
    // Peers older than RFC 3261 have no branch of their own for each transaction (section 16.11).
    let cseq = request.value(Name::CSeq).unwrap_or_default();
    hasher.write(&cseq[..cseq.iter().take_while(|byte| byte.is_ascii_digit()).count()]);
    hasher.write(request.value(Name::From).unwrap_or_default());
    hasher.finish()
}
