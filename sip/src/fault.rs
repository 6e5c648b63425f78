//! What is wrong with a request, looked for on purpose: finding spans accepts nearly everything.
//!
//! There are two kinds. A *fault* leaves open what the request says, or where its answer goes: 400 whoever asks. A
//! *slip* breaks the grammar and still reads in one way only. RFC 4475 lets a server choose there; see
//! [`Request::slip`] for when not to refuse. A From that holds no URI counts as one: the caller is then nobody, and
//! that has its verdict. Header fields that this server never reads are not checked.

use crate::address::{first_outside_quotes, is_closed, is_host_port};
use crate::find::{find, trim};
use crate::message::{is_token, number};
use crate::{Address, Method, Name, Request, Scheme, Via, each_value};

impl<'a> Request<'a> {
    /// What leaves open what the request says (RFC 3261 sections 8.1.1, 18.3, 19.1.1), or nothing.
    pub fn fault(&self) -> Option<&'static str> {
        if !self.values(Name::Via).all(is_via_list) {
            return Some("Via");
        }
        let [to, from, call_id, cseq, length] =
            [Name::To, Name::From, Name::CallId, Name::CSeq, Name::ContentLength]
                .map(|name| self.value(name));
        let is_twice =
            [Name::To, Name::From, Name::CallId, Name::CSeq].iter().any(|&name| self.is_repeated(name));
        // Said twice alike, a length is one length.
        if is_twice || self.values(Name::ContentLength).any(|value| Some(value) != length) {
            return Some("a header field that must stand once stands twice");
        }
        for (value, what) in
            [(to, "To missing"), (from, "From missing"), (call_id, "Call-ID missing"), (cseq, "CSeq missing")]
        {
            if value.is_none_or(<[u8]>::is_empty) {
                return Some(what);
            }
        }
        self.cseq_fault(cseq?).or_else(|| self.length_fault(length)).or_else(|| {
            match Address::parse(to?) {
                None => Some("To holds no URI"),
                // The tag of the answer is written behind it.
                Some(to) if !is_closed(to.parameters) => Some("To with an open quote"),
                Some(_) => uri_fault(self.uri),
            }
        })
    }

    fn cseq_fault(&self, cseq: &[u8]) -> Option<&'static str> {
        let digits = cseq.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // RFC 3261 section 8.1.1.5: less than 2**31.
        if number(&cseq[..digits]).is_none_or(|number| number >= 1 << 31) {
            return Some("CSeq number");
        }
        // RFC 4475 section 3.1.2.18: an unknown method is answered as one, whatever CSeq says.
        let is_other = trim(&cseq[digits..]) != self.method.as_bytes();
        (is_other && !matches!(self.method, Method::Unknown(_))).then_some("CSeq method does not match")
    }

    fn length_fault(&self, length: Option<&[u8]>) -> Option<&'static str> {
        match number(length?) {
            // RFC 3261 section 18.3: a datagram shorter than its Content-Length is an error.
            Some(length) if length as usize > self.body.len() => Some("Content-Length is more than the body"),
            Some(_) => None,
            None => Some("Content-Length"),
        }
    }

    /// The body as long as Content-Length says; what follows it in a datagram is noise (RFC 3261 section 18.3).
    pub fn content(&self) -> &'a [u8] {
        let length = self.value(Name::ContentLength).and_then(number);
        length.and_then(|length| self.body.get(..length as usize)).unwrap_or(self.body)
    }

    /// What breaks the grammar and still reads in one way only, or nothing.
    ///
    /// Not for an INVITE or its CANCEL: a call refused for a slip was not screened, so honest callers would
    /// lose by it and dishonest ones might win.
    pub fn slip(&self) -> Option<&'static str> {
        let mut has_hops = false;
        self.fields().find_map(|(name, value)| match name {
            Name::To => name_addr_slip(value).then_some("To is no name-addr"),
            Name::From => name_addr_slip(value).then_some("From is no name-addr"),
            // RFC 3261 section 20: a URI with header fields stands in brackets.
            Name::Contact => each_value(value)
                .any(|value| find(b'<', value).is_none() && find(b'?', value).is_some())
                .then_some("Contact without brackets"),
            Name::MaxForwards => {
                let is_second = std::mem::replace(&mut has_hops, true);
                (is_second || number(value).is_none()).then_some("Max-Forwards")
            }
            Name::Require => {
                let is_option = |option: &[u8]| option.iter().all(|&byte| is_token(byte));
                (!each_value(value).all(is_option)).then_some("Require")
            }
            _ => None,
        })
    }
}

/// Every value of a Via line: all of them stand in the answer, and lead it home.
fn is_via_list(line: &[u8]) -> bool {
    // Nearly all lines are of one value that begins with the protocol.
    let is_plain =
        line.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP")) && find(b',', line).is_none();
    is_plain || each_value(line).all(|value| Via::parse(value).is_some())
}

/// RFC 3261 section 19.1.1: no header fields in a Request-URI, and a host that can be told from its port.
fn uri_fault(uri: &[u8]) -> Option<&'static str> {
    let Some(address) = Address::from_uri(uri) else { return Some("Request-URI") };
    if !matches!(address.scheme, Scheme::Sip | Scheme::Sips) {
        return None;
    }
    if !is_host_port(address.host) {
        return Some("Request-URI with a host that is none");
    }
    // A question mark may stand in a user part.
    let after = &uri[find(b'@', uri).unwrap_or(0)..];
    find(b'?', after).map(|_| "Request-URI with header fields")
}

/// RFC 3261 section 25.1: a display name is tokens or a quoted string, and a URI holds no white space.
fn name_addr_slip(value: &[u8]) -> bool {
    if Address::parse(value).is_none() {
        return true;
    }
    let Some(open) = first_outside_quotes(value, b'<') else {
        let end = find(b';', value).unwrap_or(value.len());
        return value[..end].trim_ascii().iter().any(u8::is_ascii_whitespace);
    };
    let name = match value[..open].first() {
        Some(b'"') => {
            &value[value[..open].iter().rposition(|&byte| byte == b'"').map_or(0, |quote| quote + 1)..open]
        }
        _ => &value[..open],
    };
    let uri = &value[open + 1..];
    let uri = &uri[..find(b'>', uri).unwrap_or(uri.len())];
    name.iter().any(|&byte| !is_token(byte) && !byte.is_ascii_whitespace())
        || uri.iter().any(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use crate::{Parser, hop_count};

    fn request(line: &str, more: &str) -> String {
        let method = line.split(' ').next().unwrap();
        let mut text = format!("{line}\r\n{more}");
        for (name, value) in [
            ("To", "<sip:a@b>".to_owned()),
            ("From", "<sip:c@d>;tag=1".to_owned()),
            ("Call-ID", "e".to_owned()),
            ("CSeq", format!("1 {method}")),
        ] {
            if !more.contains(&format!("{name}:")) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text + "\r\n"
    }

    fn fault(line: &str, more: &str) -> Option<&'static str> {
        Parser::new().parse(request(line, more).as_bytes()).0.unwrap().fault()
    }

    #[test]
    fn says_what_leaves_the_request_open() {
        let invite = |more: &str| fault("INVITE sip:a@b SIP/2.0", more);
        assert_eq!(invite(""), None);
        assert_eq!(invite("To: \r\n"), Some("To missing"));
        assert_eq!(invite("CSeq: 1 OPTIONS\r\n"), Some("CSeq method does not match"));
        assert_eq!(fault("BREW sip:a@b SIP/2.0", "CSeq: 1 OPTIONS\r\n"), None, "RFC 4475 section 3.1.2.18");
        assert_eq!(invite("CSeq: 36893488147419103232 INVITE\r\n"), Some("CSeq number"));
        assert_eq!(invite("CSeq: 2147483648 INVITE\r\n"), Some("CSeq number"));
        assert_eq!(invite("CSeq: 2147483647 INVITE\r\n"), None);
        for length in ["-1", "+0", "five", "0 0", "4294967296", ""] {
            assert_eq!(invite(&format!("l: {length}\r\n")), Some("Content-Length"), "{length}");
        }
        assert_eq!(invite("l: 9\r\n"), Some("Content-Length is more than the body"));
        let twice = Some("a header field that must stand once stands twice");
        assert_eq!(invite("l: 0\r\nContent-Length: 00\r\n"), twice);
        assert_eq!(invite("l: 0\r\nContent-Length: 0\r\n"), None, "one value, said twice");
        assert_eq!(invite("To: <sip:a@b>\r\nTo: <sip:a@b>\r\n"), twice);
        assert_eq!(invite("To: \"Mr. J. User <sip:a@b>\r\n"), Some("To holds no URI"));
        assert_eq!(
            invite("From: <http://x>;tag=1\r\nTo: isbn:2983792873\r\n"),
            None,
            "another scheme is a URI"
        );
        assert_eq!(invite("Via: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n"), Some("Via"));
        assert_eq!(invite("Via: SIP/2.0/UDP a;;branch=z9, SIP / 2.0 / TCP b\r\nv: SIP/2.0/UDP c\r\n"), None);
        assert_eq!(invite("Via: SIP/2.0/UDP a\r\nVia: nonsense\r\n"), Some("Via"));
    }

    #[test]
    fn knows_a_request_uri() {
        let fault = |uri: &str| fault(&format!("INVITE {uri} SIP/2.0"), "");
        for good in [
            "sip:+77011234567@[2001:db8::10]:5070;user=phone",
            "sip:[2001:db8:::192.0.2.1]",
            "sip:a?b@c",
            "sips:user:pass@gw_1.example",
            "sip:a@b:5060",
            "sip:a@",
            "tel:+7727;phone-context=x?y",
            "urn:service:sos",
            "http://a?b",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "sip:2001:db8::10",
            "sip:a@2001:db8::10",
            "sip:a@[2001:db8::10",
            "sip:a@b:",
            "sip:a@b:x",
            "sip:a@[g]",
        ] {
            assert_eq!(fault(bad), Some("Request-URI with a host that is none"), "{bad}");
        }
        assert_eq!(fault("sip:a@b?Route=%3Csip:c%3E"), Some("Request-URI with header fields"));
        assert_eq!(fault("nothing"), Some("Request-URI"));
    }

    #[test]
    fn tells_a_slip_from_a_fault() {
        let slip = |more: &str| {
            assert_eq!(fault("OPTIONS sip:a@b SIP/2.0", more), None, "{more}");
            Parser::new().parse(request("OPTIONS sip:a@b SIP/2.0", more).as_bytes()).0.unwrap().slip()
        };
        for good in [
            "From: \"Bell, Alexander\" <sip:a@b>;tag=1\r\n",
            "From: caller<sip:a@b>\r\n",
            "From: \"a \\\" b\"<sip:a@b>\r\n",
            "From: token1~` token2'+_ token3*%!.- <sip:a@b>\r\n",
            "To: sip:a@b ;\r\n tag = 1\r\n",
            "Contact: *\r\n",
            "Contact: <sip:a@b?Route=c>, sip:d@e\r\n",
            "Max-Forwards: 0068\r\n",
            "Require: 100rel,timer\r\n",
        ] {
            assert_eq!(slip(good), None, "{good}");
        }
        assert_eq!(slip("From: Bell, Alexander <sip:a@b>;tag=1\r\n"), Some("From is no name-addr"));
        assert_eq!(slip("From: <sip:a@b\r\n"), Some("From is no name-addr"));
        assert_eq!(slip("To: \"Watson\" < sip:a@b >\r\n"), Some("To is no name-addr"));
        assert_eq!(slip("To: sip:user @b\r\n"), Some("To is no name-addr"));
        assert_eq!(slip("Contact: sip:a@b?Route=%3Csip:c%3E\r\n"), Some("Contact without brackets"));
        assert_eq!(slip("Max-Forwards: many\r\n"), Some("Max-Forwards"));
        assert_eq!(slip("Max-Forwards: 70\r\nMax-Forwards: 5\r\n"), Some("Max-Forwards"));
        assert_eq!(slip("Require: a b\r\n"), Some("Require"));
    }

    #[test]
    fn reads_how_far_a_request_may_go() {
        let hops = |more: &str| {
            let text = request("OPTIONS sip:a@b SIP/2.0", more);
            hop_count(&Parser::new().parse(text.as_bytes()).0.unwrap())
        };
        assert_eq!(hops("MAX-forwards : 0000\r\n"), Some(0));
        assert_eq!(hops("Max-Forwards: 70\r\n"), Some(70));
        assert_eq!(hops("Max-Forwards: -1\r\n"), None);
        assert_eq!(hops("Max-Forwards: +1\r\n"), None);
        assert_eq!(hops(""), None);
    }

    #[test]
    fn what_follows_the_body_is_noise() {
        let content = |more: &str| {
            let text = request("INVITE sip:a@b SIP/2.0", more) + "bodyINVITE";
            let mut parser = Parser::new();
            String::from_utf8(parser.parse(text.as_bytes()).0.unwrap().content().to_vec()).unwrap()
        };
        assert_eq!(content("l: 4\r\n"), "body");
        assert_eq!(content("l: 0\r\n"), "");
        assert_eq!(content(""), "bodyINVITE");
        assert_eq!(content("l: 99\r\n"), "bodyINVITE");
    }
}
