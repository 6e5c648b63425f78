//! Via (RFC 3261 section 20.42): where the answer goes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::address::{is_closed, parameter, parts};
use crate::each_value;
use crate::find::{find, find_any, trim};
use crate::message::is_token;

/// The topmost Via of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via<'a> {
    /// The value as it stands, up to the next value of the same line.
    pub text: &'a [u8],
    /// Host of sent-by, IPv6 references in their brackets.
    pub host: &'a [u8],
    /// Port of sent-by.
    pub port: Option<u16>,
    pub branch: &'a [u8],
    /// RFC 3581: the peer wants the answer at the port it sent from.
    pub rport: bool,
}

impl<'a> Via<'a> {
    /// Reads the first value of a Via line.
    pub fn parse(line: &'a [u8]) -> Option<Via<'a>> {
        let text = each_value(line).next()?;
        // A Via knows no brackets; with them, or with an open quote, nobody could say where its value ends.
        if find_any([b'<', b'>', b'"'], text).is_some()
            && (find_any([b'<', b'>'], text).is_some() || !is_closed(text))
        {
            return None;
        }
        let mut parts = parts(text);
        let head = trim(parts.next()?);
        // "SIP / 2.0 / UDP host:port": the protocol ends where the last slash's word ends.
        let slash = head.iter().rposition(|&byte| byte == b'/')?;
        let after = head[slash + 1..].trim_ascii_start();
        let space = after.iter().position(|byte| byte.is_ascii_whitespace())?;
        let sent_by = trim(&after[space..]);
        let (host, port) = split_port(sent_by)?;
        // Loose in what a name is made of, strict enough to keep quotes and the like out.
        if !host.iter().all(|&byte| is_token(byte) || matches!(byte, b':' | b'[' | b']')) {
            return None;
        }
        let mut via = Via { text, host, port, branch: b"", rport: false };
        for parameter in parts {
            let (name, value) = match find(b'=', parameter) {
                Some(equals) => (trim(&parameter[..equals]), trim(&parameter[equals + 1..])),
                None => (trim(parameter), &b""[..]),
            };
            if name.eq_ignore_ascii_case(b"branch") {
                via.branch = value;
            } else if name.eq_ignore_ascii_case(b"rport") {
                via.rport = true;
            }
        }
        Some(via)
    }

    /// A parameter, such as `received` (RFC 3261 section 18.2.1); empty where it has no value.
    pub fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        parameter(self.text, name)
    }

    /// Where a response goes next, where an address says so: `received` and `rport`, else sent-by (RFC 3261
    /// section 18.2.2, RFC 3581 section 4).
    pub fn response_address(&self) -> Option<SocketAddr> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
        let host = self.parameter(b"received").filter(|value| !value.is_empty()).unwrap_or(self.host);
        let ip: IpAddr = text(host)?.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        let rport = self.parameter(b"rport").and_then(text).and_then(|port| port.parse().ok());
        Some(SocketAddr::new(ip, rport.or(self.port).unwrap_or(5060)))
    }
}

fn split_port(sent_by: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = match sent_by.first()? {
        b'[' => find(b']', sent_by)? + 1,
        _ => find(b':', sent_by).unwrap_or(sent_by.len()),
    };
    let host = sent_by[..host_end].trim_ascii();
    let rest = sent_by[host_end..].trim_ascii();
    match rest {
        [] => Some((host, None)),
        [b':', port @ ..] => match std::str::from_utf8(port.trim_ascii()).ok()?.parse() {
            Ok(port) => Some((host, Some(port))),
            // An IPv6 address that lacks its brackets is all address: where a port begins nobody could tell.
            Err(_) => std::str::from_utf8(sent_by).ok()?.parse::<Ipv6Addr>().ok().map(|_| (sent_by, None)),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_value() {
        let via =
            Via::parse(b"SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1, SIP/2.0/UDP 192.0.2.2").unwrap();
        assert_eq!((via.host, via.port, via.rport), (&b"192.0.2.1"[..], Some(5070), true));
        assert_eq!(via.branch, b"z9hG4bK1");
        assert_eq!(via.text, b"SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1");
        let via = Via::parse(b"SIP  / 2.0\r\n / UDP [2001:db8::9:1]:6050 ;branch = z9 ").unwrap();
        assert_eq!((via.host, via.port, via.branch), (&b"[2001:db8::9:1]"[..], Some(6050), &b"z9"[..]));
        assert!(!via.rport);
        let via = Via::parse(b"SIP/2.0/UDP 2001:db8::9:1;branch=z9").unwrap();
        assert_eq!((via.host, via.port), (&b"2001:db8::9:1"[..], None));
        let via = Via::parse(b"SIP/2.0/UDP a;x=\"b,;branch=no\";branch=yes, SIP/2.0/UDP c").unwrap();
        assert_eq!(via.branch, b"yes");
        assert_eq!(Via::parse(b"SIP/2.0/UDP a<b;received=>, SIP/2.0/UDP c"), None);
        assert_eq!(Via::parse(b"SIP/2.0/UDP a;x=\"b;branch=z"), None);
        assert_eq!(Via::parse(b"\": SIP/2.0/UDP a;branch=z"), None);
        assert_eq!(Via::parse(b"SIP/2.0/UDP"), None);
        assert_eq!(Via::parse(b"SIP/2.0/UDP host:99999"), None);
    }
}
