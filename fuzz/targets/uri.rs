//! An address: its parts lie inside it, and in brackets it reads as it does without.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::{Address, Scheme, Via, unescape};

fn assert_inside(part: &[u8], whole: &[u8]) {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    assert!(part.is_empty() || part.start >= whole.start && part.end <= whole.end);
}

fuzz_target!(|data: &[u8]| {
    for address in [Address::parse(data), Address::from_uri(data)].into_iter().flatten() {
        assert_inside(address.uri, data);
        assert_inside(address.user, address.uri);
        assert_inside(address.host, address.uri);
        assert_inside(address.parameters, data);
        for name in [&b"tag"[..], b"user", b"cause", b"index"] {
            address.parameter(name).inspect(|value| assert_inside(value, data));
            address.uri_parameter(name).inspect(|value| assert_inside(value, address.uri));
        }
        if !address.user.contains(&b'%') {
            assert_eq!(unescape(address.user), String::from_utf8_lossy(address.user));
        }
        if !matches!(address.scheme, Scheme::Sip | Scheme::Sips) {
            assert!(address.host.is_empty());
        }
    }
    // RFC 3261 section 20.10: brackets around a URI change nothing of it.
    if let Some(bare) = Address::from_uri(data).filter(|_| !data.iter().any(|byte| b"<>\"".contains(byte))) {
        let text = [b"\"a \\\" <b>\" <", bare.uri, b">;tag=1"].concat();
        let inside = Address::parse(&text).expect("the same URI in brackets");
        assert_eq!(
            (inside.scheme, inside.uri, inside.user, inside.host),
            (bare.scheme, bare.uri, bare.user, bare.host)
        );
        assert_eq!(inside.parameter(b"tag"), Some(&b"1"[..]));
    }
    if let Some(via) = Via::parse(data) {
        assert_inside(via.text, data);
        assert_inside(via.host, via.text);
        assert_inside(via.branch, via.text);
    }
});
