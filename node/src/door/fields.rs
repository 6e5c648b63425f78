//! From an INVITE to a call: which header carries which number.
//!
//! Network number: P-Asserted-Identity (RFC 3325). Presentation number: From. Called: Request-URI, To where
//! that holds none. Redirecting: Diversion (RFC 5806), then History-Info (RFC 7044). Privacy: RFC 3323.

use std::borrow::Cow;

use call::{Call, TrunkClass, TrunkId};
use numbering::{Dialling, Party};
use screening::{Fields, Policy};
use sip::{Address, Name, Request, Scheme, diverted_from, each_value, unescape};

pub fn read(policy: &Policy, request: &Request, trunk: TrunkId, now_ms: i64) -> Call {
    let calling = asserted(request);
    let presentation = request.value(Name::From).and_then(Address::parse).map(number).unwrap_or_default();
    let called = called(policy, request);
    let redirecting = redirecting(request).map(number).unwrap_or_default();
    let is_hidden = is_anonymous(&presentation) || privacy(request);
    // On this wire nothing but a number in P-Asserted-Identity makes a hidden number a present one.
    let presentation = if is_anonymous(&presentation) { Cow::Borrowed("") } else { presentation };
    policy.intake(
        now_ms,
        trunk,
        &Fields {
            calling: &calling,
            presentation: &presentation,
            called: &called,
            redirecting: &redirecting,
            privacy: is_hidden,
        },
    )
}

/// Stands for the trunk of a call from an address that no trunk claims.
pub const UNKNOWN_SOURCE: TrunkId = TrunkId(u16::MAX);

/// The call of an INVITE from an address of no trunk, if it is an emergency call.
pub fn emergency_from_anywhere(policy: &Policy, request: &Request, time_ms: i64) -> Option<Call> {
    emergency(policy, &called(policy, request), time_ms)
}

/// The call to a number as a record or a command line has it, if it is an emergency call.
pub fn emergency_call(policy: &Policy, called: &str, time_ms: i64) -> Option<Call> {
    emergency(policy, &from_text(policy, called), time_ms)
}

fn emergency(policy: &Policy, called: &str, time_ms: i64) -> Option<Call> {
    let called = policy.plan.normalise(called, &Dialling::default()).party;
    let is_emergency = matches!(called, Party::Short(code) if policy.plan.is_emergency(code));
    is_emergency.then_some(Call {
        time_ms,
        trunk: UNKNOWN_SOURCE,
        class: TrunkClass::Transit,
        calling: Party::Absent,
        presentation: Party::Absent,
        called,
        redirecting: Party::Absent,
        privacy: false,
        national_form: false,
    })
}

/// The number field of a record or of a command line, which may be a URI as it stood on the wire.
pub fn from_text<'a>(policy: &Policy, text: &'a str) -> Cow<'a, str> {
    if !text.contains(':') {
        return Cow::Borrowed(text);
    }
    match Address::parse(text.as_bytes()) {
        Some(uri) if is_emergency_service(&uri) => emergency_number(policy),
        Some(uri) if uri.scheme != Scheme::Other => number(uri),
        _ => Cow::Borrowed(text),
    }
}

/// The call of a record's fields, each as [`from_text`] reads it.
#[inline]
pub fn from_record(policy: &Policy, time_ms: i64, trunk: TrunkId, fields: &Fields) -> Call {
    let Fields { calling, presentation, called, redirecting, privacy } = *fields;
    if ![calling, presentation, called, redirecting].into_iter().any(has_colon) {
        return policy.intake(time_ms, trunk, fields);
    }
    let [calling, presentation, called, redirecting] =
        [calling, presentation, called, redirecting].map(|text| from_text(policy, text));
    let (calling, presentation) = (&*calling, &*presentation);
    let fields = Fields { calling, presentation, called: &called, redirecting: &redirecting, privacy };
    policy.intake(time_ms, trunk, &fields)
}

/// Whether there is a colon; numbers are short, so eight characters at a time in ordinary registers.
#[inline]
fn has_colon(text: &str) -> bool {
    let text = text.as_bytes();
    if text.is_empty() {
        return false;
    }
    let (Some(first), Some(last), 8..=16) = (text.first_chunk(), text.last_chunk(), text.len()) else {
        return text.contains(&b':');
    };
    let zero_at_colon = |eight: &[u8; 8]| u64::from_ne_bytes(*eight) ^ u64::from_ne_bytes([b':'; 8]);
    let has_zero = |x: u64| x.wrapping_sub(0x0101_0101_0101_0101) & !x & 0x8080_8080_8080_8080 != 0;
    has_zero(zero_at_colon(first)) || has_zero(zero_at_colon(last))
}

/// The text of the number an address holds; a name where it holds a name.
fn number<'a>(address: Address<'a>) -> Cow<'a, str> {
    match address.scheme {
        Scheme::Sip | Scheme::Sips | Scheme::Tel => unescape(address.user),
        Scheme::Urn | Scheme::Other => Cow::Borrowed(""),
    }
}

/// The asserted number; of two values (a sip and a tel URI) the first that looks like a number.
fn asserted<'a>(request: &Request<'a>) -> Cow<'a, str> {
    let values = || request.values(Name::PAssertedIdentity).flat_map(each_value).filter_map(Address::parse);
    let is_number =
        |address: &Address| address.user.first().is_some_and(|&byte| b"+0123456789%(".contains(&byte));
    values()
        .find(is_number)
        .or_else(|| values().next())
        .map(number)
        .filter(|text| !is_anonymous(text))
        .unwrap_or_default()
}

fn called<'a>(policy: &Policy, request: &Request<'a>) -> Cow<'a, str> {
    let uri = Address::from_uri(request.uri);
    if uri.as_ref().is_some_and(is_emergency_service) {
        return emergency_number(policy);
    }
    match uri.map(number) {
        Some(user) if !user.is_empty() => user,
        _ => request.value(Name::To).and_then(Address::parse).map(number).unwrap_or_default(),
    }
}

/// RFC 5031: `urn:service:sos` and its subservices.
fn is_emergency_service(uri: &Address) -> bool {
    let (user, head) = (uri.user, b"service:sos");
    uri.scheme == Scheme::Urn
        && user.len() >= head.len()
        && user[..head.len()].eq_ignore_ascii_case(head)
        && matches!(user.get(head.len()), None | Some(b'.'))
}

/// The general emergency number of the plan, which stands for the service.
fn emergency_number(policy: &Policy) -> Cow<'static, str> {
    let general = policy.plan.emergency().first().map(|code| Party::Short(*code).reveal());
    general.map(Cow::Owned).unwrap_or_default()
}

/// The latest diversion stands first (RFC 5806 section 4).
fn redirecting<'a>(request: &Request<'a>) -> Option<Address<'a>> {
    let diversion = request.values(Name::Diversion).flat_map(each_value).find_map(Address::parse);
    diversion.or_else(|| diverted_from(request))
}

fn is_anonymous(text: &str) -> bool {
    text.eq_ignore_ascii_case("anonymous") || text.eq_ignore_ascii_case("restricted")
}

fn privacy(request: &Request) -> bool {
    let tokens =
        request.values(Name::Privacy).flat_map(|line| line.split(|&byte| byte == b';' || byte == b','));
    tokens
        .map(<[u8]>::trim_ascii)
        .any(|token| [&b"id"[..], b"user", b"header"].iter().any(|hidden| token.eq_ignore_ascii_case(hidden)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn colons_are_found_wherever_they_stand(text in "[0-9:;<9=\\x01\u{80}]{0,20}") {
            prop_assert_eq!(has_colon(&text), text.chars().any(|char| char == ':'));
        }
    }
}
