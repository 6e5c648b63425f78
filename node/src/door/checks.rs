//! What is looked at before anybody asks what a request wants (RFC 3261 sections 8.2, 16.3).
//!
//! In this order: the version, the form, the scheme of the Request-URI, the hops left. An INVITE that can be read
//! for certain is judged whatever else it gets wrong: a switch goes on by itself after a 400, so a refusal here
//! would cost honest callers their screening and give dishonest ones a way around it.

use std::fmt::{self, Display, Formatter};

use sip::{Address, Broken, Method, Name, Request, Scheme, each_value, hop_count};

use super::answers::Reply;

/// Why a request is refused for itself, not for what it asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    Version,
    Malformed(&'static str),
    Scheme,
    Hops,
}

impl Refusal {
    /// What speaks against a request that was read with this outcome, or nothing. What is `passing` through to
    /// another may have slips: a call that stands must be able to end.
    pub fn of(request: &Request, outcome: Result<(), Broken>, passing: bool) -> Option<Refusal> {
        match outcome {
            Ok(()) => {}
            Err(Broken::Version) => return Some(Refusal::Version),
            Err(Broken::Syntax(what)) => return Some(Refusal::Malformed(what)),
            Err(Broken::NotARequest) => return Some(Refusal::Malformed("no request")),
        }
        let spared = passing || matches!(request.method, Method::Invite | Method::Cancel);
        let slip = || if spared { None } else { request.slip() };
        if let Some(what) = request.fault().or_else(slip) {
            return Some(Refusal::Malformed(what));
        }
        // A CANCEL goes where its INVITE went, and is as short of hops.
        if request.method == Method::Cancel {
            return None;
        }
        // Nearly every call is to a sip URI: no need to take it apart.
        let is_sip = request.uri.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"sip:"));
        if !is_sip && Address::from_uri(request.uri).is_some_and(|uri| uri.scheme == Scheme::Other) {
            return Some(Refusal::Scheme);
        }
        (hop_count(request) == Some(0)).then_some(Refusal::Hops)
    }

    /// Whether an emergency call goes on all the same: where it wants to go is known.
    pub fn spares_emergencies(self) -> bool {
        matches!(self, Refusal::Malformed(_) | Refusal::Hops)
    }

    pub fn answer(self, reply: &Reply, out: &mut Vec<u8>) {
        match self {
            Refusal::Version => reply.plain(out, "505 Version Not Supported"),
            Refusal::Malformed(what) => reply.bad(out, what),
            Refusal::Scheme => reply.plain(out, "416 Unsupported URI Scheme"),
            Refusal::Hops => reply.plain(out, "483 Too Many Hops"),
        }
    }
}

/// The options that the peer insists on (RFC 3261 section 8.2.2.3): this server has none.
pub struct Required<'r>(&'r Request<'r>);

impl<'r> Required<'r> {
    pub fn of(request: &'r Request<'r>) -> Option<Required<'r>> {
        request.values(Name::Require).flat_map(each_value).next().map(|_| Required(request))
    }
}

impl Display for Required<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, option) in self.0.values(Name::Require).flat_map(each_value).enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{}", String::from_utf8_lossy(option))?;
        }
        Ok(())
    }
}
