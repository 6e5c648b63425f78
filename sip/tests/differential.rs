//! Two parsers by different hands read the same request the same way: this crate and ezk-sip-types.

#[path = "../../conformance/notation.rs"]
#[allow(dead_code)] // The rest is for the test that sends the messages.
mod notation;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use bytes::Bytes;
use ezk_sip_types::header::typed::{CSeq, CallID, Contact, FromTo, MaxForwards, Via as TheirVia};
use ezk_sip_types::host::HostPort;
use ezk_sip_types::msg::{Line, MessageLine, PullParser};
use ezk_sip_types::parse::Parse;
use ezk_sip_types::uri::{SipUri, SipUriUserPart};
use ezk_sip_types::{Headers, Name as TheirName};

use proptest::prelude::*;
use sip::{Address, Name, Parser, Scheme, Via, each_value, hop_count, unescape};

/// What was read, by field; a field that could not be read is not there.
type Seen = BTreeMap<&'static str, Vec<String>>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Scheme, user and host of an address, and its tag.
fn our_address(address: Address) -> String {
    let scheme = if address.scheme == Scheme::Sips { "sips" } else { "sip" };
    let tag = address.parameter(b"tag").map(text).unwrap_or_default();
    format!("{scheme} {:?} {} {tag:?}", unescape(address.user), our_host(&text(address.host)))
}

/// Host and port in one form, for IPv6 can be written in several.
fn our_host(text: &str) -> String {
    let close = text.rfind(']').unwrap_or(0);
    let (host, port) = text.split_at(text[close..].find(':').map_or(text.len(), |colon| close + colon));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<Ipv6Addr>().map_or_else(|_| text.to_owned(), |ip| format!("[{ip}]{port}"))
}

fn their_host(host: &HostPort) -> String {
    host.host.to_string() + &host.port.map(|port| format!(":{port}")).unwrap_or_default()
}

fn ours(message: &[u8]) -> Seen {
    let mut parser = Parser::new();
    let (request, outcome) = parser.parse(message);
    let request = request.unwrap_or_else(|| panic!("no request: {}", text(message)));
    assert_eq!((outcome, request.fault()), (Ok(()), None), "{}", text(message));
    let value = |name| request.value(name).unwrap_or_default();
    let address = |value: &[u8]| our_address(Address::parse(value).expect("an address"));
    let untagged =
        |value| our_address(Address { parameters: b"", ..Address::parse(value).expect("an address") });
    let vias = request.values(Name::Via).flat_map(each_value).map(|value| {
        let via = Via::parse(value).expect("a Via");
        let port = via.port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = our_host(&format!("{}{port}", text(via.host)));
        format!("{host} {:?} {}", text(via.branch), via.rport)
    });
    let cseq = text(value(Name::CSeq));
    let (number, method) = cseq.split_once(|c: char| !c.is_ascii_digit()).expect("a method");
    let hops = hop_count(&request).map(|hops| hops.to_string());
    BTreeMap::from([
        ("method", vec![text(request.method.as_bytes())]),
        ("uri", vec![our_address(Address::from_uri(request.uri).expect("a URI"))]),
        ("from", vec![address(value(Name::From))]),
        ("to", vec![address(value(Name::To))]),
        ("call-id", vec![text(value(Name::CallId))]),
        ("cseq", vec![format!("{} {}", number.parse::<u32>().unwrap(), method.trim())]),
        ("max-forwards", hops.into_iter().collect()),
        ("via", vias.collect()),
        ("contact", request.values(Name::Contact).flat_map(each_value).map(untagged).collect()),
    ])
}

fn their_address(uri: &SipUri, tag: Option<&str>) -> String {
    let scheme = if uri.sips { "sips" } else { "sip" };
    let user = match &uri.user_part {
        SipUriUserPart::Empty => "",
        SipUriUserPart::User(user) => user.as_str(),
        SipUriUserPart::UserPw(both) => both.user.as_str(),
    };
    format!("{scheme} {user:?} {} {:?}", their_host(&uri.host_port), tag.unwrap_or_default())
}

fn theirs(message: &[u8]) -> Seen {
    let bytes = Bytes::copy_from_slice(message);
    let mut lines = PullParser::new(&bytes, 0).map(|line| line.expect("a whole head"));
    let mut seen = Seen::new();
    let first = std::str::from_utf8(lines.next().expect("a start line")).expect("UTF-8");
    if let Ok((_, MessageLine::Request(line))) = MessageLine::parse(&bytes)(first) {
        seen.insert("method", vec![line.method.to_string()]);
        seen.insert("uri", vec![their_address(&line.uri, None)]);
    }
    let mut headers = Headers::new();
    for line in lines {
        let line = std::str::from_utf8(line).expect("UTF-8");
        let (_, line) = Line::parse(&bytes, line).expect("a header field");
        headers.insert(line.name, line.value);
    }
    let mut keep = |field, values: Option<Vec<String>>| values.map(|values| seen.insert(field, values));
    let party = |name| {
        let party = headers.get::<FromTo>(name).ok()?;
        Some(vec![their_address(&party.uri.uri, party.tag.as_ref().map(|tag| tag.as_str()))])
    };
    keep("from", party(TheirName::FROM));
    keep("to", party(TheirName::TO));
    keep("call-id", headers.get_named::<CallID>().ok().map(|id| vec![id.0.to_string()]));
    keep("cseq", headers.get_named::<CSeq>().ok().map(|cseq| vec![format!("{} {}", cseq.cseq, cseq.method)]));
    let hops = match headers.try_get_named::<MaxForwards>() {
        None => Some(Vec::new()),
        Some(hops) => hops.ok().map(|hops| vec![hops.0.to_string()]),
    };
    keep("max-forwards", hops);
    let vias = headers.get_named::<Vec<TheirVia>>().ok().map(|vias| {
        let via = |via: &TheirVia| {
            let branch = via.params.get_val("branch").map(|branch| branch.to_string()).unwrap_or_default();
            format!("{} {branch:?} {}", their_host(&via.sent_by), via.params.get("rport").is_some())
        };
        vias.iter().map(via).collect()
    });
    keep("via", vias);
    // A list that cannot be read to its end comes back short, without an error.
    let contacts = match headers.try_get_named::<Vec<Contact>>() {
        None => Some(Vec::new()),
        Some(Ok(contacts)) if contacts.len() >= headers.get_raw(&TheirName::CONTACT).len() => {
            Some(contacts.iter().map(|contact| their_address(&contact.uri.uri, None)).collect())
        }
        Some(_) => None,
    };
    keep("contact", contacts);
    seen
}

/// Where the other parser is wrong, and what the RFC says.
const THEIR_MISTAKES: [(&str, &str); 1] = [
    // RFC 4475 section 3.1.1.2: a % in a branch escapes nothing.
    ("intmeth", "via"),
];

/// What the other parser does not read: escaped quotes in a quoted string, three colons in an IPv6 reference.
const ONLY_OURS: [(&str, &str); 5] = [
    ("wsinv", "contact"),
    ("wsinv", "from"),
    ("ipv6-bug-abnf-3-colons", "method"),
    ("ipv6-bug-abnf-3-colons", "to"),
    ("ipv6-bug-abnf-3-colons", "uri"),
];

#[test]
fn the_valid_torture_messages_read_the_same() {
    let (mut read, mut only_ours) = (0, Vec::new());
    for case in notation::cases() {
        let mut parser = Parser::new();
        let (request, outcome) = parser.parse(&case.message);
        // What the RFCs call broken, and what is no request for a sip URI, is for the other tests.
        let is_for_both = request.is_some_and(|request| {
            let scheme = |value| Address::parse(value).map(|address| address.scheme);
            let to = request.value(Name::To).and_then(scheme);
            outcome.is_ok()
                && request.fault().is_none()
                && request.slip().is_none()
                && to == Some(Scheme::Sip)
        });
        if !is_for_both || case.expect.contains(&"416".to_owned()) {
            continue;
        }
        let (ours, theirs) = (ours(&case.message), theirs(&case.message));
        for (field, values) in &ours {
            let place = (case.name.as_str(), *field);
            match theirs.get(field) {
                Some(read) if THEIR_MISTAKES.contains(&place) => {
                    assert_ne!(values, read, "{place:?} is mended")
                }
                Some(read) => assert_eq!(values, read, "{place:?}"),
                None => only_ours.push((case.name.clone(), *field)),
            }
        }
        read += 1;
    }
    assert_eq!(read, 34, "requests that both read");
    let only_ours: Vec<_> = only_ours.iter().map(|(name, field)| (name.as_str(), *field)).collect();
    assert_eq!(only_ours, ONLY_OURS);
}

/// A piece of a request: how it is written, and what it means.
type Piece = (String, String);

fn host() -> impl Strategy<Value = Piece> {
    let name = prop_oneof![
        "[a-z][a-z0-9]{0,6}(\\.[a-z][a-z0-9]{0,5}){0,2}",
        "(25[0-5]|1?[0-9])\\.[1-9]\\.0\\.1[0-9]",
        Just("[2001:db8::10]".to_owned()),
        Just("[::ffff:192.0.2.2]".to_owned()),
        Just("[2001:DB8:0:0::1]".to_owned()),
    ];
    (name, proptest::option::of(1u16..)).prop_map(|(name, port)| {
        let text = name + &port.map(|port| format!(":{port}")).unwrap_or_default();
        (text.clone(), our_host(&text))
    })
}

/// A sip URI; a bare one has nothing that would need brackets.
fn uri(is_bare: bool) -> impl Strategy<Value = Piece> {
    let characters =
        if is_bare { "[a-zA-Z0-9+_.!~*'()&=$/-]{1,9}" } else { "[a-zA-Z0-9+_.!~*'()&=$,;?/-]{1,9}" };
    let escape = prop_oneof![
        Just(("%2B", "+")),
        Just(("%40", "@")),
        Just(("%3a", ":")),
        Just(("%20", " ")),
        Just(("", ""))
    ];
    let user = (characters, escape, if is_bare { "(:[a-z0-9&=+$]{0,4})?" } else { "(:[a-z0-9&=+$,]{0,4})?" });
    let parameters = if is_bare { "" } else { "(;user=phone)?(;transport=tcp)?(;x)?(\\?h=v)?" };
    (prop_oneof![Just("sip"), Just("SIP"), Just("sips")], proptest::option::of(user), host(), parameters)
        .prop_map(|(scheme, user, (host, meant_host), parameters)| {
            let (user, meant) = match user {
                Some((user, (escape, plain), password)) => {
                    (format!("{user}{escape}{password}@"), user + plain)
                }
                None => Default::default(),
            };
            let scheme_meant = scheme.to_ascii_lowercase();
            (format!("{scheme}:{user}{host}{parameters}"), format!("{scheme_meant} {meant:?} {meant_host}"))
        })
}

/// White space where the grammar has LWS, folded or not.
fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(" "), Just("\t"), Just("\r\n "), Just(" \r\n\t ")]
}

/// A value of From, To or Contact.
fn party() -> impl Strategy<Value = Piece> {
    let name = prop_oneof!["", "[a-zA-Z0-9.!%*_+`'~-]{1,8}( [a-z]{1,4})? ?", "\"[a-zA-Z ,;<>@=+.]{0,9}\" ?"];
    let bracketed = (name, uri(false)).prop_map(|(name, (uri, meant))| (format!("{name}<{uri}>"), meant));
    let tag = proptest::option::of("[a-z0-9.-]{1,7}");
    (prop_oneof![bracketed, uri(true)], tag, [space(), space(), space()], "(;p=[a-z]{1,3})?").prop_map(
        |((text, meant), tag, [a, b, c], more)| {
            let written = tag.as_ref().map(|tag| format!("{a};{b}tag{c}={a}{tag}")).unwrap_or_default();
            (format!("{text}{written}{more}"), format!("{meant} {:?}", tag.unwrap_or_default()))
        },
    )
}

fn via() -> impl Strategy<Value = Piece> {
    let branch = proptest::option::of("z9hG4bK[a-zA-Z0-9.!*_+`'~-]{0,9}");
    let received = "(;received=(192\\.0\\.2\\.1|2001:db8::9))?";
    (
        prop_oneof![Just("UDP"), Just("TLS"), Just("X-1")],
        host(),
        branch,
        any::<bool>(),
        received,
        [space(), space()],
    )
        .prop_map(|(transport, (host, meant), branch, rport, received, [a, b])| {
            let first = if rport { ";rport" } else { "" };
            let written =
                branch.as_ref().map(|branch| format!("{a};{b}branch{a}={b}{branch}")).unwrap_or_default();
            let text = format!("SIP{a}/{b}2.0{b}/{a}{transport} {host}{first}{written}{received}");
            (text, format!("{meant} {:?} {rport}", branch.unwrap_or_default()))
        })
}

/// Values on lines of their own or behind commas.
fn list(name: &'static [&'static str], values: Vec<Piece>, together: bool) -> (Vec<String>, Vec<String>) {
    let (texts, meant): (Vec<_>, Vec<_>) = values.into_iter().unzip();
    let lines = match together && !texts.is_empty() {
        true => vec![format!("{}: {}", name[0], texts.join(",\r\n "))],
        false => {
            texts.iter().zip(name.iter().cycle()).map(|(text, name)| format!("{name}: {text}")).collect()
        }
    };
    (lines, meant)
}

fn request() -> impl Strategy<Value = (Vec<u8>, Seen)> {
    // The other parser takes a known name at the beginning for the whole: BYE% for BYE.
    let other = "[A-Z]{3}[a-z0-9.!%*_+`'~-]{1,5}".prop_filter("begins with a known name", |method| {
        !method.starts_with("BYE") && !method.starts_with("ACK")
    });
    let method = prop_oneof![Just("INVITE".to_owned()), Just("OPTIONS".to_owned()), other];
    let lists = (
        proptest::collection::vec(via(), 1..5),
        proptest::collection::vec(party(), 0..4),
        any::<bool>(),
        any::<bool>(),
    );
    let numbers =
        (0u32..1 << 31, proptest::option::of(0u32..256), "[a-zA-Z0-9.-]{1,9}(@[a-z.]{1,5})?", space());
    let ends = (party(), party(), "[ -~]{0,20}");
    (method, uri(false), lists, numbers, ends, any::<prop::sample::Index>()).prop_map(
        |(
            method,
            (uri, meant_uri),
            (vias, contacts, one, two),
            (cseq, hops, call_id, gap),
            (from, to, body),
            order,
        )| {
            let uri = without_fields(&uri);
            let (mut lines, meant_vias) = list(&["Via", "v", "VIA "], vias, one);
            let (contact_lines, meant_contacts) = list(&["Contact", "m"], contacts, two);
            let mut rest = Vec::new();
            rest.push(format!("{}: {}", if one { "From" } else { "f " }, from.0));
            rest.push(format!("{}: {}", if two { "TO" } else { "t" }, to.0));
            rest.push(format!("Call-ID:{call_id}"));
            rest.push(format!("cseq: {cseq} {gap}{method}"));
            rest.extend(hops.map(|hops| format!("Max-Forwards: {hops:04}")));
            rest.push("X-Unknown: ;;,,;;,;".to_owned());
            rest.push(format!("l: {}", body.len()));
            let turn = order.index(rest.len());
            rest.rotate_left(turn);
            rest.splice(turn..turn, contact_lines);
            lines.extend(rest);
            let text = format!("{method} {uri} SIP/2.0\r\n{}\r\n\r\n{body}", lines.join("\r\n"));
            let untagged = |meant: String| format!("{} \"\"", meant.rsplit_once(' ').unwrap().0);
            let meant = BTreeMap::from([
                ("method", vec![method.clone()]),
                ("uri", vec![format!("{meant_uri} \"\"")]),
                ("from", vec![from.1]),
                ("to", vec![to.1]),
                ("call-id", vec![call_id]),
                ("cseq", vec![format!("{cseq} {method}")]),
                ("max-forwards", hops.into_iter().map(|hops| hops.to_string()).collect()),
                ("via", meant_vias),
                ("contact", meant_contacts.into_iter().map(untagged).collect()),
            ]);
            (text.into_bytes(), meant)
        },
    )
}

/// RFC 3261 section 19.1.1: header fields are not allowed in a Request-URI.
fn without_fields(uri: &str) -> String {
    let at = uri.find('@').unwrap_or(0);
    let end = uri[at..].find('?').map_or(uri.len(), |mark| at + mark);
    uri[..end].to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn generated_requests_read_the_same((message, meant) in request()) {
        prop_assert_eq!(&ours(&message), &meant, "{}", text(&message));
        prop_assert_eq!(&theirs(&message), &meant, "{}", text(&message));
    }
}
