//! Addresses: `"Name" <sip:user@host;parameters>;parameters`, and URIs by themselves.
//!
//! RFC 3261 sections 19.1 and 20.10, RFC 3966 for tel, RFC 5031 for urn:service.

use std::borrow::Cow;

use crate::find::{find, find_any, trim};

/// What kind of URI an address holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    Urn,
    Other,
}

/// An address in spans of the header value it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address<'a> {
    pub scheme: Scheme,
    /// The whole URI, without the angle brackets.
    pub uri: &'a [u8],
    /// sip: the user part with its own parameters, escapes as sent; tel: the number with its parameters;
    /// urn: what stands after `urn:`.
    pub user: &'a [u8],
    /// Host and port of a sip URI.
    pub host: &'a [u8],
    /// Parameters after the address.
    pub parameters: &'a [u8],
}

impl<'a> Address<'a> {
    /// Reads a name-addr or an addr-spec: the value of From, To, Contact, Diversion and others.
    pub fn parse(value: &'a [u8]) -> Option<Address<'a>> {
        let value = trim(value);
        let open = first_outside_quotes(value, b'<');
        let (uri, parameters) = match open {
            Some(open) => {
                let close = open + find(b'>', &value[open..])?;
                (&value[open + 1..close], &value[close + 1..])
            }
            // RFC 3261 section 20: without brackets, what follows a ; belongs to the header field. For tel the
            // number's own parameters stand there too, and say what it means: both may ask.
            None => match find_any([b';', b'"'], value) {
                // No URI holds a quote.
                Some(quote) if value[quote] == b'"' => return None,
                Some(semicolon) if has_scheme(value, b"tel") => (value, &value[semicolon..]),
                Some(semicolon) => (&value[..semicolon], &value[semicolon..]),
                None => (value, &b""[..]),
            },
        };
        let mut address = Address::from_uri(uri)?;
        address.parameters = parameters;
        Some(address)
    }

    /// Reads a URI by itself, such as a Request-URI.
    pub fn from_uri(uri: &'a [u8]) -> Option<Address<'a>> {
        let uri = trim(uri);
        let colon = find(b':', uri)?;
        let rest = &uri[colon + 1..];
        let scheme = match &uri[..colon] {
            b"sip" => Scheme::Sip,
            b"tel" => Scheme::Tel,
            name if name.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
            name if name.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            name if name.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
            name if name.eq_ignore_ascii_case(b"urn") => Scheme::Urn,
            name if !name.is_empty()
                && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) =>
            {
                Scheme::Other
            }
            _ => return None,
        };
        let (user, host) = match scheme {
            Scheme::Sip | Scheme::Sips => match find(b'@', rest) {
                Some(at) => (without_password(&rest[..at]), host(&rest[at + 1..])),
                None => (&b""[..], host(rest)),
            },
            _ => (rest, &b""[..]),
        };
        Some(Address { scheme, uri, user, host, parameters: b"" })
    }

    /// A parameter of the address (not of its URI), such as `tag`.
    pub fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        parameter(self.parameters, name)
    }

    /// A parameter of the URI, such as `cause` (RFC 4458) or `user`.
    pub fn uri_parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        let from = find(b'@', self.uri).unwrap_or(0);
        let rest = &self.uri[from..];
        let rest = &rest[..find(b'?', rest).unwrap_or(rest.len())];
        parameter(&rest[find(b';', rest)?..], name)
    }
}

fn has_scheme(uri: &[u8], scheme: &[u8]) -> bool {
    uri.len() > scheme.len() && uri[scheme.len()] == b':' && uri[..scheme.len()].eq_ignore_ascii_case(scheme)
}

/// RFC 3261 section 19.1.1: a password may follow the user; it is not part of a number.
fn without_password(user: &[u8]) -> &[u8] {
    match find(b':', user) {
        Some(colon) => &user[..colon],
        None => user,
    }
}

fn host(rest: &[u8]) -> &[u8] {
    let end = find_any([b';', b'?'], rest).unwrap_or(rest.len());
    trim(&rest[..end])
}

/// Whether the host can be told from its port (RFC 3261 section 25.1, `hostport`). Loose in the name of a host, which
/// nobody is asked for here, and in the number of colons in an IPv6 reference (RFC 5118 section 4.10).
pub(crate) fn is_host_port(text: &[u8]) -> bool {
    let port = match text {
        [b'[', rest @ ..] => {
            let Some(close) = find(b']', rest) else { return false };
            if !rest[..close].iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
                return false;
            }
            &rest[close + 1..]
        }
        _ => &text[find(b':', text).unwrap_or(text.len())..],
    };
    match port {
        [] => true,
        [b':', digits @ ..] => (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The value of the parameter of this name among parts that semicolons separate; empty where it has none.
pub(crate) fn parameter<'a>(parameters: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    parts(parameters).find_map(|part| {
        let (found, value) = match find(b'=', part) {
            Some(equals) => (&part[..equals], &part[equals + 1..]),
            None => (part, &b""[..]),
        };
        trim(found).eq_ignore_ascii_case(name).then(|| trim(value))
    })
}

/// What stands between semicolons that stand in no quotes: a value, then its parameters.
pub(crate) fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = first_outside_quotes(text, b';');
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// Whether every quoted string ends: what is written behind an open one would be part of it.
pub(crate) fn is_closed(text: &[u8]) -> bool {
    let Some(first) = find(b'"', text) else { return true };
    let (mut quoted, mut escaped) = (false, false);
    for &byte in &text[first..] {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    !quoted
}

/// Where a byte stands first outside quoted strings. Before any quote is met most, and found fastest.
pub(crate) fn first_outside_quotes(text: &[u8], wanted: u8) -> Option<usize> {
    let at = find_any([wanted, b'"'], text)?;
    if text[at] == wanted { Some(at) } else { position_outside_quotes(text, wanted) }
}

fn position_outside_quotes(text: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    text.iter().position(|&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return !quoted && byte == wanted,
        }
        false
    })
}

/// The values of one header line, split at commas that stand in no quotes and no brackets.
pub fn each_value(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        // Most lines are of one value.
        if find(b',', line).is_none() {
            rest = None;
            return Some(trim(line));
        }
        let (mut quoted, mut escaped, mut brackets) = (false, false, false);
        for (index, &byte) in line.iter().enumerate() {
            if escaped {
                escaped = false;
                continue;
            }
            match byte {
                b'\\' if quoted => escaped = true,
                b'"' if !brackets => quoted = !quoted,
                b'<' if !quoted => brackets = true,
                b'>' if !quoted => brackets = false,
                b',' if !quoted && !brackets => {
                    rest = Some(&line[index + 1..]);
                    return Some(line[..index].trim_ascii());
                }
                _ => {}
            }
        }
        rest = None;
        Some(line.trim_ascii())
    })
    .filter(|value| !value.is_empty())
}

/// Undoes `%41` escapes (RFC 3261 section 19.1.2); copies only where there are any.
pub fn unescape(text: &[u8]) -> Cow<'_, str> {
    if find(b'%', text).is_none() {
        return std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| (byte as char).to_digit(16));
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(value: &str) -> Option<(Scheme, String)> {
        Address::parse(value.as_bytes()).map(|a| (a.scheme, String::from_utf8(a.user.to_vec()).unwrap()))
    }

    #[test]
    fn reads_every_form_of_an_address() {
        let sip = |text: &str| Some((Scheme::Sip, text.to_owned()));
        assert_eq!(user("sip:+77272501234@gw"), sip("+77272501234"));
        assert_eq!(user("<sip:+77272501234@gw;user=phone>;tag=1"), sip("+77272501234"));
        assert_eq!(user("\"A <b> \\\" c\" <sip:+77272501234@gw>;tag=1"), sip("+77272501234"));
        assert_eq!(user("Bank <SIP:7272501234;phone-context=+7@gw>"), sip("7272501234;phone-context=+7"));
        assert_eq!(user("<sip:user:secret@gw>"), sip("user"));
        assert_eq!(user("<sip:gw.example>"), sip(""));
        assert_eq!(user("<sips:a@b>"), Some((Scheme::Sips, "a".into())));
        assert_eq!(user("tel:+7-727-250-12-34;ext=1"), Some((Scheme::Tel, "+7-727-250-12-34;ext=1".into())));
        assert_eq!(
            user("<tel:2501234;phone-context=+7727>"),
            Some((Scheme::Tel, "2501234;phone-context=+7727".into()))
        );
        assert_eq!(user("<urn:service:sos.police>"), Some((Scheme::Urn, "service:sos.police".into())));
        assert_eq!(user("<mailto:a@b>").map(|(scheme, _)| scheme), Some(Scheme::Other));
        assert_eq!(user("<sip:a@b"), None);
        assert_eq!(user("nothing"), None);
        let address = Address::parse(b"<sip:a@h:5070;cause=302?x=y>;tag=9;q").unwrap();
        assert_eq!(address.host, b"h:5070");
        assert_eq!(address.parameter(b"TAG"), Some(&b"9"[..]));
        assert_eq!(address.uri_parameter(b"cause"), Some(&b"302"[..]));
        assert_eq!(address.uri_parameter(b"x"), None);
        let address = Address::parse(b"tel:2501234;phone-context=+7727;tag=9").unwrap();
        assert_eq!(address.parameter(b"tag"), Some(&b"9"[..]), "a dialog is known by it");
        let address = Address::parse(b"<sip:a@h>;x=\"\\\";tag=1\";tag=2").unwrap();
        assert_eq!(address.parameter(b"tag"), Some(&b"2"[..]), "what is quoted is no parameter");
    }

    #[test]
    fn splits_values_at_commas_that_separate() {
        let split: Vec<_> = each_value(b"\"a, b\" <sip:x,y@z>, <tel:+1>,, c").collect();
        assert_eq!(split, [&b"\"a, b\" <sip:x,y@z>"[..], b"<tel:+1>", b"c"]);
        assert_eq!(each_value(b"").count(), 0);
    }

    #[test]
    fn undoes_escapes() {
        assert_eq!(unescape(b"%2B7727"), "+7727");
        assert_eq!(unescape(b"a%zz%4"), "a%zz%4");
    }
}
