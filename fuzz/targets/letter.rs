//! A letter between operators: what no key signed is not opened, and what is read can be judged and written again.
#![no_main]

use std::sync::LazyLock;

use exchange::{Answer, CallKey, Letter, Question, Verifier};
use libfuzzer_sys::fuzz_target;

/// SubjectPublicKeyInfo of the keys of RFC 8037 appendix A.1 and RFC 7515 appendix A.3.
const ED25519: [u8; 44] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00\xd7\x5a\x98\x01\x82\xb1\x0a\xb7\
\xd5\x4b\xfe\xd3\xc9\x64\x07\x3a\x0e\xe1\x72\xf3\xda\xa6\x23\x25\xaf\x02\x1a\x68\xf7\x07\x51\x1a";

static KEY: LazyLock<Verifier> = LazyLock::new(|| Verifier::from_spki(&ED25519).unwrap());

const NOW_MS: i64 = 1_795_000_000_000;

fuzz_target!(|data: &[u8]| {
    // A key in data's place is a key or none.
    let _ = Verifier::from_spki(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(payload) = KEY.open(text)
    {
        // Only the seeds are signed by the key; what the fuzzer makes of them must not be taken for them.
        assert!(payload.starts_with(b"{\"version\":1,") || payload == b"Example of Ed25519 signing");
    }
    if let Ok(letter) = serde_json::from_slice::<Letter<Question>>(data) {
        for item in &letter.items {
            let _ = (item.id(), format!("{item:?}"));
            let is_sound = item.check(NOW_MS).is_ok();
            match item {
                Question::Register(call) => {
                    assert!(!is_sound || (30..=180).contains(&call.ttl_s));
                    let _ = CallKey::of_wire(&call.calling, &call.called, call.redirecting.as_ref());
                }
                Question::Check(call) => {
                    assert!(!is_sound || (1..=1000).contains(&call.deadline_ms));
                    assert!(!is_sound || call.calling.is_token() || call.calling.number().is_some());
                }
                Question::Roaming(check) => assert!(!is_sound || check.calling.number().is_some()),
                Question::Capabilities => assert!(is_sound),
                Question::Unknown => assert!(!is_sound),
            }
        }
        let again: Letter<Question> = serde_json::from_slice(&letter.to_json()).expect("its own writing");
        assert_eq!(again, letter);
    }
    if let Ok(letter) = serde_json::from_slice::<Letter<Answer>>(data) {
        let again: Letter<Answer> = serde_json::from_slice(&letter.to_json()).expect("its own writing");
        assert_eq!(again, letter);
    }
});
