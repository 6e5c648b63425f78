//! Sealing, keyed hashes, codes, documents, and the message files.

use journal::SigningKey;
use lending::{Gate, Reason, Sum, Use, Vault, Words, code, document};
use proptest::prelude::*;

const A: &str = "a 0000000000000000000000000000000000000000000000000000000000000001";
const B: &str = "b 0000000000000000000000000000000000000000000000000000000000000002";

#[test]
fn what_is_sealed_opens_with_its_key_and_its_place_alone() {
    let old = Vault::parse(A).unwrap();
    let both = Vault::parse(&format!("{B}\n{A}\n")).unwrap();
    let sealed = old.seal([7; 12], "application 1", "900101300123");
    assert!(!sealed.contains("900101"));
    assert_eq!(both.open("application 1", &sealed).as_deref(), Some("900101300123"));
    assert_eq!(both.open("application 2", &sealed), None);
    assert_eq!(Vault::parse(B).unwrap().open("application 1", &sealed), None);
    let mut changed = sealed.clone().into_bytes();
    let last = changed.len() - 3;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    assert_eq!(both.open("application 1", std::str::from_utf8(&changed).unwrap()), None);
    assert_eq!(Vault::key_of(&both.seal([8; 12], "", "x")), "b");
    // A person is found whichever key his row was written under, and hashes of one use are none of another.
    assert!(both.macs(Use::Index, b"900101300123").contains(&old.mac(Use::Index, b"900101300123")));
    assert_ne!(old.mac(Use::Index, b"1"), old.mac(Use::Code, b"1"));
    for wrong in ["", "a", "a zz", &format!("{A}\n{A}"), "ä 00"] {
        assert!(Vault::parse(wrong).is_err(), "{wrong}");
    }
    assert!(!format!("{both:?}").contains("0000"));
}

#[test]
fn a_code_is_bound_to_what_it_was_sent_for() {
    let vault = Vault::parse(A).unwrap();
    let kept = code::hash(&vault, "application 1 confirm", "012345");
    assert!(!kept.contains("012345"));
    assert!(code::is_same(&vault, "application 1 confirm", "012345", &kept));
    assert!(!code::is_same(&vault, "application 1 confirm", "012346", &kept));
    assert!(!code::is_same(&vault, "application 1 consent", "012345", &kept));
    assert!(!code::is_same(&vault, "application 1 confirm", "012345", "garbage"));
    // 4,294,000,000 is the greatest multiple of a million in 32 bits: what is beyond would favour small codes.
    assert_eq!(code::of_random(4_293_999_999u32.to_be_bytes()).as_deref(), Some("999999"));
    assert_eq!(code::of_random(4_294_000_000u32.to_be_bytes()), None);
    assert_eq!(code::of_random([0; 4]).as_deref(), Some("000000"));
}

#[test]
fn a_document_is_believed_only_as_it_was_signed() {
    let key = SigningKey::new([3; 32]);
    let jws = document::sign(&key, &serde_json::json!({"state": "approved"}));
    assert_eq!(document::read(key.public(), &jws).unwrap()["state"], "approved");
    assert_eq!(document::read(SigningKey::new([4; 32]).public(), &jws), None);
    let (head, rest) = jws.split_once('.').unwrap();
    assert_eq!(document::read(key.public(), &format!("{head}.x{rest}")), None);
    assert_eq!(document::read(key.public(), "nothing"), None);
}

#[test]
fn message_files_have_the_same_keys_and_a_text_for_every_gate_and_reason() {
    let files = [
        include_str!("../../rulebook/loans/kk.toml"),
        include_str!("../../rulebook/loans/ru.toml"),
        include_str!("../../rulebook/loans/en.toml"),
    ]
    .map(|text| Words::parse(text).unwrap());
    for words in &files {
        let gates: Vec<&str> = words.gates.keys().map(String::as_str).collect();
        let mut expected: Vec<&str> = Gate::ALL.iter().map(|gate| gate.name()).collect();
        expected.sort_unstable();
        assert_eq!(gates, expected);
        let mut reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        reasons.sort_unstable();
        assert_eq!(words.reasons.keys().map(String::as_str).collect::<Vec<_>>(), reasons);
        assert_eq!(words.sms.keys().collect::<Vec<_>>(), files[0].sms.keys().collect::<Vec<_>>());
        for name in ["confirm", "consent"] {
            for place in ["{creditor}", "{sum}", "{code}", "{minutes}"] {
                assert!(words.sms[name].contains(place), "{name} {place}");
            }
        }
    }
    let places =
        [("creditor", "Bank"), ("sum", "1.00"), ("currency", "KZT"), ("code", "123456"), ("minutes", "3")];
    assert!(!files[2].sms("confirm", &places).contains('{'));
    // What an operator sends for us may be of 160 characters, its {{code}} among them (CAMARA one-time-password-sms 1.1.1).
    let (creditor, sum) = ("Б".repeat(40), Sum::of_hundredths(i64::MAX).to_string());
    let longest = [("creditor", creditor.as_str()), ("sum", &sum), ("currency", "KZT"), ("code", "{{code}}")];
    for words in &files {
        for name in ["confirm-by-operator", "consent-by-operator"] {
            let text = words.sms(name, &longest);
            assert!(text.contains("{{code}}") && text.chars().count() <= 160, "{text}");
        }
    }
}

proptest! {
    #[test]
    fn sums_are_read_as_they_are_written(hundredths in 1i64..1_000_000_000_000_000) {
        let sum = Sum::of_hundredths(hundredths);
        prop_assert_eq!(Sum::parse(&sum.to_string()), Some(sum));
    }
}

#[test]
fn what_is_no_sum_is_none() {
    for text in ["", "0", "0.00", "-1", "+1", "1.", ".5", "1.001", "1,5", "1e3", "99999999999999999999", "١"]
    {
        assert_eq!(Sum::parse(text), None, "{text}");
    }
    assert_eq!(Sum::parse("1.5").unwrap().hundredths(), 150);
}
