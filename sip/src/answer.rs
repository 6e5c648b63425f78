//! Answers to requests (RFC 3261 section 8.2.6), written into a buffer that is used again.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use crate::address::parts;
use crate::find::{find, trim};
use crate::{Address, Name, Request, Via};

/// An answer under construction: the head is written, header fields follow, [`Answer::finish`] ends it.
pub struct Answer<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> Answer<'b> {
    /// Writes the status line and the header fields that an answer takes from its request, whose topmost Via
    /// is `via`. `source` is
    /// where the request came from (RFC 3261 section 18.2.1, RFC 3581 section 4), `tag` goes into To
    /// where there is none yet.
    pub fn start(
        out: &'b mut Vec<u8>,
        request: &Request,
        via: &Via,
        status: &str,
        tag: u64,
        source: SocketAddr,
    ) -> Answer<'b> {
        out.extend_from_slice(b"SIP/2.0 ");
        out.extend_from_slice(status.as_bytes());
        out.extend_from_slice(b"\r\n");
        for (index, (line, value)) in request.lines(Name::Via).enumerate() {
            match index {
                0 => top_via(out, value, via, source),
                _ => out.extend_from_slice(line),
            }
            out.extend_from_slice(b"\r\n");
        }
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            for (line, value) in request.lines(name) {
                out.extend_from_slice(line);
                if name == Name::To && !has_tag(value) {
                    out.extend_from_slice(b";tag=");
                    push_hex(out, tag);
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        Answer { out }
    }

    /// Adds a header field.
    pub fn header(&mut self, name: &str, value: std::fmt::Arguments) {
        self.field(name, |out| _ = Text(out).write_fmt(value));
    }

    /// Adds a header field whose value is written by hand, which is faster than by formatting.
    #[inline]
    pub fn field(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        value(self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Ends the answer; it has no body.
    pub fn finish(self) {
        self.out.extend_from_slice(b"Content-Length:");
        self.out.extend_from_slice(END);
    }
}

/// The end of every answer.
const END: &[u8] = b" 0\r\n\r\n";

/// Makes the answer that begins at `start` as long as the next multiple of `step` bytes, by spaces before the value of
/// its last header field, where any number of them may stand (RFC 3261 section 25.1, SWS): answers of one length can
/// leave as one packet. What ends otherwise stays as it is.
pub fn stretch(out: &mut Vec<u8>, start: usize, step: usize) {
    let more = (out.len() - start).next_multiple_of(step) - (out.len() - start);
    if out[start..].ends_with(END) {
        out.truncate(out.len() - END.len());
        out.resize(out.len() + more, b' ');
        out.extend_from_slice(END);
    }
}

/// Text appended to bytes, without the detour that `io::Write` makes.
pub struct Text<'b>(pub &'b mut Vec<u8>);

impl Write for Text<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A host and its port as a URI has them: IPv6 in brackets.
pub fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(_) => push_ip(out, address.ip()),
        IpAddr::V6(ip) => {
            out.push(b'[');
            push_ip(out, ip.into());
            out.push(b']');
        }
    }
    out.push(b':');
    push_number(out, address.port());
}

/// An address in text; IPv4, the usual one, by hand.
fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            for (index, octet) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_number(out, octet.into());
            }
        }
        IpAddr::V6(v6) => {
            let _ = write!(Text(out), "{v6}");
        }
    }
}

/// 16 digits.
pub(crate) fn push_hex(out: &mut Vec<u8>, number: u64) {
    let digits: [u8; 16] =
        std::array::from_fn(|n| b"0123456789abcdef"[(number >> (60 - 4 * n) & 0xf) as usize]);
    out.extend_from_slice(&digits);
}

fn push_number(out: &mut Vec<u8>, mut number: u16) {
    let (mut digits, mut at) = ([0; 5], 5);
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

fn has_tag(to: &[u8]) -> bool {
    Address::parse(to).is_some_and(|to| to.parameter(b"tag").is_some())
}

/// The address that a sent-by names, IPv6 with or without its brackets, IPv4 in IPv6 as IPv4.
fn ip_of(host: &[u8]) -> Option<IpAddr> {
    let bare = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host);
    Some(std::str::from_utf8(bare).ok()?.parse::<IpAddr>().ok()?.to_canonical())
}

pub(crate) fn top_via(out: &mut Vec<u8>, line: &[u8], via: &Via, source: SocketAddr) {
    out.extend_from_slice(b"Via: ");
    let ip = source.ip().to_canonical();
    let mut kept = false;
    for (index, part) in parts(via.text).enumerate() {
        if index > 0 {
            let name = trim(&part[..find(b'=', part).unwrap_or(part.len())]);
            // What the sender wrote of itself is replaced by what was seen.
            if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
                continue;
            }
            out.push(b';');
        } else {
            kept = !via.rport && ip_of(via.host) == Some(ip);
        }
        out.extend_from_slice(part.trim_ascii_end());
    }
    if via.rport || !kept {
        out.extend_from_slice(b";received=");
        push_ip(out, ip);
    }
    if via.rport {
        out.extend_from_slice(b";rport=");
        push_number(out, source.port());
    }
    // The value may stand behind empty ones: what follows it is found by where it lies in the line.
    let end = via.text.as_ptr() as usize - line.as_ptr() as usize + via.text.len();
    out.extend_from_slice(line.get(end..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parser;

    fn answer(message: &str) -> String {
        let mut parser = Parser::new();
        let request = parser.parse(message.as_bytes()).0.unwrap();
        let via = Via::parse(request.value(Name::Via).unwrap()).unwrap();
        let mut out = Vec::new();
        let mut answer = Answer::start(
            &mut out,
            &request,
            &via,
            "302 Moved Temporarily",
            0xab,
            "192.0.2.9:7000".parse().unwrap(),
        );
        answer.header("Contact", format_args!("<sip:x@y>"));
        answer.finish();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn copies_what_an_answer_takes_from_its_request() {
        let text = answer(
            "INVITE sip:a@b SIP/2.0\r\n\
             v: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport, SIP/2.0/UDP 10.0.0.2\r\n\
             Via: SIP/2.0/UDP 10.0.0.3\r\nFrom: <sip:f@g>;tag=1\r\nt: <sip:t@u>\r\n\
             i: c@d\r\nCSeq: 1 INVITE\r\nContact: <sip:no@no>\r\n\r\n",
        );
        assert_eq!(
            text,
            "SIP/2.0 302 Moved Temporarily\r\n\
             Via: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;received=192.0.2.9;rport=7000, SIP/2.0/UDP 10.0.0.2\r\n\
             Via: SIP/2.0/UDP 10.0.0.3\r\nFrom: <sip:f@g>;tag=1\r\nt: <sip:t@u>;tag=00000000000000ab\r\n\
             i: c@d\r\nCSeq: 1 INVITE\r\nContact: <sip:x@y>\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn an_address_reads_as_the_library_writes_it() {
        for text in ["192.0.2.9:7000", "10.0.0.255:65535", "[2001:db8::1]:5060", "0.0.0.0:0"] {
            let mut out = Vec::new();
            push_address(&mut out, text.parse().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn an_answer_is_stretched_by_spaces_alone() {
        let message = answer("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z\r\n\r\n");
        let mut out = b"before".to_vec();
        out.extend_from_slice(message.as_bytes());
        stretch(&mut out, 6, 128);
        assert_eq!((out.len() - 6) % 128, 0);
        let text = String::from_utf8(out[6..].to_vec()).unwrap();
        assert!(text.ends_with(" 0\r\n\r\n") && text.contains("\r\nContent-Length: "), "{text}");
        assert_eq!(text.replace(' ', ""), message.replace(' ', ""));
        let mut request = Parser::new();
        let text = text.replacen("SIP/2.0 302 Moved Temporarily", "OPTIONS sip:a@b SIP/2.0", 1);
        let request = request.parse(text.as_bytes()).0.unwrap();
        assert_eq!(request.value(Name::ContentLength), Some(&b"0"[..]), "it still reads as 0");
        let mut other = b"SIP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nbody".to_vec();
        stretch(&mut other, 0, 128);
        assert!(other.ends_with(b": 4\r\n\r\nbody"));
    }

    #[test]
    fn keeps_a_tag_and_says_received_only_where_it_differs() {
        let text = answer(
            "BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z\r\nFrom: f\r\nTo: <sip:t@u>;tag=7\r\n\r\n",
        );
        assert!(text.contains("Via: SIP/2.0/UDP 192.0.2.9;branch=z\r\n"), "{text}");
        assert!(text.contains("To: <sip:t@u>;tag=7\r\n"), "{text}");
        let text = answer("BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP host.example;branch=z\r\n\r\n");
        assert!(text.contains("Via: SIP/2.0/UDP host.example;branch=z;received=192.0.2.9\r\n"), "{text}");
        let text =
            answer("BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP [::ffff:192.0.2.9]:70;received=[::1]\r\n\r\n");
        assert!(text.contains("Via: SIP/2.0/UDP [::ffff:192.0.2.9]:70\r\n"), "{text}");
    }
}
