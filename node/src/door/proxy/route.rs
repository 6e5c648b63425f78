//! Where requests go: Route and Record-Route of this node, and URIs that name an address (RFC 3261 section 16).

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};

use sip::{Address, Name, Request, Scheme};

use crate::config::Proxy;

/// A request whose first Route value names this node: it belongs to a dialog that was set up through it.
#[derive(Clone, Copy)]
pub(super) struct Routed<'r> {
    pub(super) next: Option<Address<'r>>,
    /// The tag of the side whose number is withheld.
    pub(super) hidden: Option<&'r [u8]>,
    /// The tag of who called, and the mark that says what was judged.
    pub(super) judged: Option<(&'r [u8], &'r [u8])>,
    /// The mark of an emergency call from an address of no trunk.
    pub(super) sos: Option<u64>,
}

impl<'r> Routed<'r> {
    pub(super) fn of(request: &Request<'r>, proxy: &Proxy) -> Option<Routed<'r>> {
        let mut values = request.values(Name::Route).flat_map(sip::each_value).filter_map(Address::parse);
        let own = values.next()?;
        let is_own = own.host.eq_ignore_ascii_case(proxy.via.as_bytes())
            || own.host == proxy.via.strip_suffix(":5060").unwrap_or("").as_bytes();
        if !is_own {
            return None;
        }
        let hidden = own.uri_parameter(b"hide").and_then(|_| own.uri_parameter(b"of"));
        let sos = own.uri_parameter(b"sos").and_then(|mark| std::str::from_utf8(mark).ok());
        let sos = sos.and_then(|mark| u64::from_str_radix(mark, 16).ok());
        let of = own.uri_parameter(b"of").filter(|of| !of.is_empty());
        let judged = of.zip(own.uri_parameter(b"known"));
        Some(Routed { next: values.next(), hidden, judged, sos })
    }

    /// The tag of who sends the request, as it stands in Record-Route.
    pub(super) fn token<'a>(request: &Request<'a>) -> &'a str {
        let from = request.value(Name::From).and_then(Address::parse);
        let tag = from.and_then(|from| from.parameter(b"tag")).unwrap_or_default();
        let is_token = tag.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte));
        if is_token { std::str::from_utf8(tag).unwrap_or("") } else { "" }
    }

    /// Whether the sender of this request is the one whose number is withheld.
    pub(super) fn hides(&self, request: &Request) -> bool {
        self.hidden.is_some_and(|hidden| !hidden.is_empty() && hidden == Routed::token(request).as_bytes())
    }
}

/// The address a URI names, if it is one; names are not looked up in a call's time.
pub(super) fn address_of(address: &Address) -> Option<SocketAddr> {
    if !matches!(address.scheme, Scheme::Sip | Scheme::Sips) {
        return None;
    }
    let host = std::str::from_utf8(address.host).ok()?;
    let bare = || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    host.parse::<SocketAddr>().ok().or_else(|| Some(SocketAddr::new(bare()?, 5060)))
}

pub(super) fn is_this_node(proxy: &Proxy, address: SocketAddr) -> bool {
    proxy.own == Some(address)
}

/// A Request-URI that names this node, as it goes on: the same user at the next hop.
pub(super) struct OwnUri<'r> {
    pub(super) user: &'r str,
    pub(super) is_phone: bool,
    pub(super) target: SocketAddr,
    /// The target in text, where it is a next hop.
    pub(super) hop: Option<&'r str>,
}

impl<'r> OwnUri<'r> {
    pub(super) fn of(request: &Request<'r>, proxy: &'r Proxy, target: SocketAddr) -> Option<OwnUri<'r>> {
        let uri = Address::from_uri(request.uri)?;
        let names_this_node = matches!(uri.scheme, Scheme::Sip | Scheme::Sips)
            && (uri.host.eq_ignore_ascii_case(proxy.via.as_bytes())
                || address_of(&uri).is_some_and(|address| is_this_node(proxy, address)));
        if !names_this_node {
            return None;
        }
        let is_phone = uri.uri_parameter(b"user").is_some_and(|value| value.eq_ignore_ascii_case(b"phone"));
        let hop = proxy.hops.iter().find(|hop| hop.address == target).map(|hop| &*hop.text);
        Some(OwnUri { user: std::str::from_utf8(uri.user).ok()?, is_phone, target, hop })
    }
}

impl Display for OwnUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.user.is_empty() { "" } else { "@" };
        let phone = if self.is_phone { ";user=phone" } else { "" };
        for part in ["sip:", self.user, at] {
            f.write_str(part)?;
        }
        match self.hop {
            Some(hop) => f.write_str(hop)?,
            None => write!(f, "{}", self.target)?,
        }
        f.write_str(phone)
    }
}

/// This node in a dialog's route, and whose number in it is withheld.
pub(super) struct RecordRoute<'r> {
    pub(super) via: &'r str,
    /// The tag of who called.
    pub(super) of: &'r str,
    pub(super) hides: bool,
    /// What was judged of the call.
    pub(super) known: Option<&'r str>,
    pub(super) sos: Option<u64>,
}

impl Display for RecordRoute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordRoute { via, of, hides, known, sos } = self;
        write!(f, "<sip:{via};lr")?;
        if *hides || known.is_some() {
            write!(f, ";of={of}")?;
        }
        if *hides {
            f.write_str(";hide")?;
        }
        if let Some(known) = known {
            write!(f, ";known={known}")?;
        }
        if let Some(mark) = sos {
            write!(f, ";sos={mark:x}")?;
        }
        f.write_str(">")
    }
}
