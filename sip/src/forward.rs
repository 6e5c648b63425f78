//! Passing messages on as a stateless proxy does (RFC 3261 section 16.11): requests with a Via more, responses
//! with one less.

use std::fmt::{Display, Write};
use std::net::SocketAddr;

use crate::answer::{Text, push_hex, top_via};
use crate::message::number;
use crate::{Address, Name, Request, Response, Via, each_value};

/// What changes in a request on its way.
pub struct Forward<'f> {
    /// Host and port of this node in its Via.
    pub via: &'f str,
    /// The same for every message of a transaction (RFC 3261 section 16.11).
    pub branch: u64,
    /// Written into the Via's parameter `c`; it comes back with the responses.
    pub connection: Option<u64>,
    /// Written into the Via's parameter `f`; [`pass_back`] hands it over so that From can be as it was.
    pub kept_from: Option<&'f str>,
    /// The topmost Via of the request, and where it really came from (section 18.2.1).
    pub previous: &'f Via<'f>,
    pub source: SocketAddr,
    /// In place of the Request-URI.
    pub uri: Option<&'f dyn Display>,
    /// The first Route value names this node (section 16.4).
    pub takes_route: bool,
    pub record_route: Option<&'f dyn Display>,
    pub from: FromField<'f>,
    /// Header fields that do not go on.
    pub dropped: &'f [Name],
}

/// What becomes of From; its tag stays in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromField<'f> {
    Keep,
    /// RFC 3323 section 4.1.1.3.
    Anonymous,
    /// Another display name, UTF-8 without quotes and backslashes.
    Display(&'f str),
}

/// Hops that are left to a request (RFC 3261 section 20.22): none where it says nothing readable.
pub fn hop_count(request: &Request) -> Option<u32> {
    number(request.value(Name::MaxForwards)?)
}

/// What a request without Max-Forwards gets (RFC 3261 section 16.6).
const HOPS: u32 = 70;

impl Forward<'_> {
    /// Writes the request as it goes on; `added` writes more header fields.
    pub fn write(&self, request: &Request, out: &mut Vec<u8>, added: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(request.method.as_bytes());
        out.push(b' ');
        match self.uri {
            Some(uri) => _ = write!(Text(out), "{uri}"),
            None => out.extend_from_slice(request.uri),
        }
        out.extend_from_slice(b" SIP/2.0\r\n");
        let (mut is_first_via, mut is_first_route, mut has_hops) = (true, true, false);
        for (name, line, value) in request.all_lines() {
            match name {
                name if self.dropped.contains(&name) => continue,
                Name::Via if is_first_via => {
                    is_first_via = false;
                    self.vias(out, value);
                }
                Name::Route if is_first_route && self.takes_route => {
                    is_first_route = false;
                    let Some(rest) = after_first(value) else { continue };
                    out.extend_from_slice(b"Route: ");
                    out.extend_from_slice(rest);
                }
                Name::MaxForwards if !has_hops => {
                    has_hops = true;
                    let hops = hop_count(request).unwrap_or(HOPS).saturating_sub(1);
                    let _ = write!(Text(out), "Max-Forwards: {hops}");
                }
                Name::From => self.from(out, line, value),
                _ => out.extend_from_slice(line),
            }
            out.extend_from_slice(b"\r\n");
        }
        if !has_hops {
            let _ = write!(Text(out), "Max-Forwards: {HOPS}\r\n");
        }
        added(out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(request.content());
    }

    /// This node's Via, its Record-Route, and the Via before it with what was seen of its sender.
    fn vias(&self, out: &mut Vec<u8>, value: &[u8]) {
        out.extend_from_slice(b"Via: SIP/2.0/UDP ");
        out.extend_from_slice(self.via.as_bytes());
        out.extend_from_slice(b";branch=z9hG4bKq");
        push_hex(out, self.branch);
        if let Some(connection) = self.connection {
            let _ = write!(Text(out), ";c={connection:x}");
        }
        if let Some(kept) = self.kept_from {
            let _ = write!(Text(out), ";f={kept}");
        }
        out.extend_from_slice(b"\r\n");
        if let Some(route) = self.record_route {
            let _ = write!(Text(out), "Record-Route: {route}\r\n");
        }
        top_via(out, value, self.previous, self.source);
    }

    fn from(&self, out: &mut Vec<u8>, line: &[u8], value: &[u8]) {
        let address = Address::parse(value);
        match (self.from, address) {
            (FromField::Keep, _) | (FromField::Display(_), None) => out.extend_from_slice(line),
            (FromField::Anonymous, address) => {
                out.extend_from_slice(b"From: \"Anonymous\" <sip:anonymous@anonymous.invalid>");
                if let Some(tag) = address.and_then(|address| address.parameter(b"tag")) {
                    out.extend_from_slice(b";tag=");
                    out.extend_from_slice(tag);
                }
            }
            (FromField::Display(name), Some(address)) => {
                let _ = write!(Text(out), "From: \"{name}\" <");
                out.extend_from_slice(address.uri);
                out.push(b'>');
                out.extend_from_slice(address.parameters);
            }
        }
    }
}

/// What stands behind the first value of a line.
fn after_first(value: &[u8]) -> Option<&[u8]> {
    let second = each_value(value).nth(1)?;
    let at = second.as_ptr() as usize - value.as_ptr() as usize;
    Some(&value[at..])
}

/// Where a response goes on to once this node's Via is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Next {
    /// The parameter `c` of this node's Via.
    pub connection: Option<u64>,
    /// By the Via below it.
    pub address: Option<SocketAddr>,
}

/// Writes a response without its topmost Via, which must be this node's; none where it is not.
///
/// `from` makes the value of From, as it was when the request came (RFC 3261 section 8.2.6.2), of the Via's
/// parameter `f`.
pub fn pass_back(
    response: &Response,
    via: &str,
    from: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    out: &mut Vec<u8>,
) -> Option<Next> {
    let mut values = response.values(Name::Via).flat_map(each_value);
    let own = Via::parse(values.next()?)?;
    let below = Via::parse(values.next()?)?;
    if !is_sent_by(&own, via) {
        return None;
    }
    let connection =
        own.parameter(b"c").and_then(|id| u64::from_str_radix(std::str::from_utf8(id).ok()?, 16).ok());
    let from = own.parameter(b"f").and_then(from);
    out.extend_from_slice(response.status_line());
    out.extend_from_slice(b"\r\n");
    let mut is_first = true;
    for (name, line, value) in response.all_lines() {
        if name == Name::Via && is_first {
            is_first = false;
            let Some(rest) = after_first(value) else { continue };
            out.extend_from_slice(b"Via: ");
            out.extend_from_slice(rest);
        } else if name == Name::From
            && let Some(from) = &from
        {
            out.extend_from_slice(b"From: ");
            out.extend_from_slice(from);
        } else {
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(response.body());
    Some(Next { connection, address: below.response_address() })
}

fn is_sent_by(via: &Via, wanted: &str) -> bool {
    let rest = match wanted.as_bytes().get(..via.host.len()) {
        Some(host) if host.eq_ignore_ascii_case(via.host) => &wanted[via.host.len()..],
        _ => return false,
    };
    let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
    (rest.is_empty() || port.is_some()) && via.port.unwrap_or(5060) == port.unwrap_or(5060)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parser;

    const INVITE: &str = "INVITE sip:+77011234567@192.0.2.5 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport, SIP/2.0/TCP 10.0.0.2;branch=z9hG4bK0\r\n\
        Route: <sip:192.0.2.5;lr>, <sip:192.0.2.6;lr>\r\nMax-Forwards: 70\r\n\
        From: Alice <sip:+14155550123@g>;tag=1\r\nTo: <sip:t@u>\r\nRemote-Party-ID: <sip:+1@g>\r\n\
        Call-ID: c@d\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody";

    fn forward(from: FromField, takes_route: bool) -> String {
        let mut parser = Parser::new();
        let request = parser.parse(INVITE.as_bytes()).0.unwrap();
        let previous = Via::parse(request.value(Name::Via).unwrap()).unwrap();
        let mut out = Vec::new();
        let forward = Forward {
            via: "192.0.2.5:5060",
            branch: 0xab,
            connection: Some(0x1f),
            kept_from: Some("xyz"),
            previous: &previous,
            source: "198.51.100.1:7000".parse().unwrap(),
            uri: Some(&"sip:+77011234567@192.0.2.10:5080"),
            takes_route,
            record_route: Some(&"<sip:192.0.2.5;lr>"),
            from,
            dropped: &[Name::RemotePartyId],
        };
        forward.write(&request, &mut out, |out| out.extend_from_slice(b"Privacy: id\r\n"));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_gets_a_via_and_one_hop_less() {
        assert_eq!(
            forward(FromField::Anonymous, true),
            "INVITE sip:+77011234567@192.0.2.10:5080 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bKq00000000000000ab;c=1f;f=xyz\r\n\
             Record-Route: <sip:192.0.2.5;lr>\r\n\
             Via: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;received=198.51.100.1;rport=7000, SIP/2.0/TCP 10.0.0.2;branch=z9hG4bK0\r\n\
             Route: <sip:192.0.2.6;lr>\r\nMax-Forwards: 69\r\n\
             From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1\r\nTo: <sip:t@u>\r\n\
             Call-ID: c@d\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\nPrivacy: id\r\n\r\nbody"
        );
        let marked = forward(FromField::Display("Халықаралық"), false);
        assert!(marked.contains("\r\nFrom: \"Халықаралық\" <sip:+14155550123@g>;tag=1\r\n"), "{marked}");
        assert!(marked.contains("\r\nRoute: <sip:192.0.2.5;lr>, <sip:192.0.2.6;lr>\r\n"), "{marked}");
    }

    #[test]
    fn a_response_loses_this_nodes_via() {
        let response = |vias: &str| {
            let text =
                format!("SIP/2.0 180 Ringing\r\n{vias}From: <sip:a@b>;tag=1\r\nContent-Length: 0\r\n\r\n");
            let mut parser = Parser::new();
            let mut out = Vec::new();
            let from = |kept: &[u8]| (kept == b"xyz").then(|| b"<sip:before@b>;tag=1".to_vec());
            let next = pass_back(&parser.response(text.as_bytes())?, "192.0.2.5:5060", from, &mut out)?;
            Some((next, String::from_utf8(out).unwrap()))
        };
        let below = "SIP/2.0/UDP gw.example;branch=z9hG4bK1;received=198.51.100.1;rport=7000";
        let rest = "From: <sip:a@b>;tag=1\r\nContent-Length: 0\r\n\r\n";
        for vias in [
            format!("Via: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bKq1;c=1f\r\nVia: {below}\r\n"),
            format!("v: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKq1;c=1f, {below}\r\n"),
        ] {
            let (next, text) = response(&vias).unwrap();
            assert_eq!(text, format!("SIP/2.0 180 Ringing\r\nVia: {below}\r\n{rest}"));
            assert_eq!(next.connection, Some(0x1f));
            assert_eq!(next.address, "198.51.100.1:7000".parse().ok());
        }
        let (_, text) = response(&format!("v: SIP/2.0/UDP 192.0.2.5;f=xyz, {below}\r\n")).unwrap();
        assert!(text.contains("\r\nFrom: <sip:before@b>;tag=1\r\n"), "{text}");
        assert_eq!(response(&format!("Via: SIP/2.0/UDP 192.0.2.66:5060\r\nVia: {below}\r\n")), None);
        assert_eq!(response("Via: SIP/2.0/UDP 192.0.2.5:5060\r\n"), None, "nobody is below");
    }
}
