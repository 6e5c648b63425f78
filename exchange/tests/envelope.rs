//! Letters sealed and opened, with the keys and examples of RFC 8037 and RFC 7515, and vectors that another program made.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use exchange::{Answer, Letter, Question, Refused, Seen, Signer, Verifier, open_letter};
use numbering::Number;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_MS: i64 = 1_795_000_000_000;

fn key(name: &str, part: &str) -> Vec<u8> {
    let keys: Value = serde_json::from_str(include_str!("vectors/keys.json")).unwrap();
    STANDARD.decode(keys[name][part].as_str().unwrap()).unwrap()
}

fn signer(name: &str) -> Signer {
    Signer::from_pkcs8(&key(name, "pkcs8")).unwrap()
}

fn verifier(name: &str) -> Verifier {
    Verifier::from_spki(&key(name, "spki")).unwrap()
}

/// A JWS of this header and payload that no key signed.
fn unsigned(header: &str, payload: &[u8], signature: &[u8]) -> String {
    [header.as_bytes(), payload, signature].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

fn letter() -> Value {
    json!({"version": 1, "iss": "north", "aud": "south", "iat_ms": NOW_MS, "jti": "j1",
           "items": [{"kind": "capabilities"}]})
}

fn opened(letter: &Value) -> Result<Letter<Question>, Refused> {
    opened_at(letter, NOW_MS)
}

fn opened_at(letter: &Value, now_ms: i64) -> Result<Letter<Question>, Refused> {
    let jws = signer("ed25519").sign(letter.to_string().as_bytes());
    open_letter(&jws, &verifier("ed25519"), "north", "south", None, now_ms)
}

#[test]
fn the_examples_of_the_rfcs_verify() {
    let jws = include_str!("vectors/rfc8037-a4.jws").trim_end();
    assert_eq!(verifier("ed25519").open(jws).unwrap(), b"Example of Ed25519 signing");
    let jws = include_str!("vectors/rfc7515-a3.jws").trim_end();
    let payload = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    assert_eq!(verifier("p256").open(jws).unwrap(), payload.as_bytes());
}

#[test]
fn the_vectors_are_reproduced_and_verify() {
    for (json, jws) in [
        (include_str!("vectors/questions.json"), include_str!("vectors/questions.eddsa.jws")),
        (include_str!("vectors/answers.json"), include_str!("vectors/answers.eddsa.jws")),
        (include_str!("vectors/registrations.json"), include_str!("vectors/registrations.eddsa.jws")),
        (include_str!("vectors/accepted.json"), include_str!("vectors/accepted.eddsa.jws")),
    ] {
        let (payload, jws) = (json.trim_end(), jws.trim_end());
        assert_eq!(signer("ed25519").sign(payload.as_bytes()), jws, "Ed25519 signs the same the same way");
        assert_eq!(verifier("ed25519").open(jws).unwrap(), payload.as_bytes());
    }
    let jws = include_str!("vectors/questions.es256.jws").trim_end();
    let payload = include_str!("vectors/questions.json").trim_end();
    assert_eq!(verifier("p256").open(jws).unwrap(), payload.as_bytes());
}

#[test]
fn questions_and_their_answers_open_as_letters() {
    let (north, south) = ("north-telecom", "south-mobile");
    let by = verifier("ed25519");
    let asked = include_str!("vectors/questions.eddsa.jws").trim_end();
    let questions: Letter<Question> = open_letter(asked, &by, north, south, None, NOW_MS).unwrap();
    let answered = include_str!("vectors/answers.eddsa.jws").trim_end();
    let answers: Letter<Answer> =
        open_letter(answered, &by, south, north, Some(&questions.jti), NOW_MS).unwrap();
    for (question, answer) in questions.items.iter().zip(&answers.items) {
        assert_eq!(question.id(), answer.id());
    }
    let wrong = |re| open_letter::<Answer>(answered, &by, south, north, re, NOW_MS).unwrap_err();
    assert_eq!(wrong(Some("another")), Refused::WrongReply);
    assert_eq!(wrong(None), Refused::WrongReply);
    let wrong = open_letter::<Question>(asked, &by, north, south, Some("j"), NOW_MS).unwrap_err();
    assert_eq!(wrong, Refused::WrongReply);
}

#[test]
fn each_key_opens_what_it_signed_and_nothing_else() {
    for (name, other) in [("ed25519", "p256"), ("p256", "ed25519")] {
        let jws = signer(name).sign(b"payload");
        assert_eq!(verifier(name).open(&jws).unwrap(), b"payload");
        assert_eq!(verifier(other).open(&jws), Err(Refused::WrongAlgorithm));
        assert_eq!(verifier(name).clone().open(&signer(name).sign(b"")).unwrap(), b"");
    }
    let stranger =
        aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let forged = Signer::from_pkcs8(stranger.as_ref()).unwrap().sign(b"payload");
    assert_eq!(verifier("ed25519").open(&forged), Err(Refused::WrongSignature));
}

#[test]
fn the_header_does_not_choose_the_algorithm() {
    let by = verifier("ed25519");
    for alg in ["none", "None", "HS256", "RS256", "ES256", "ES384", "eddsa", "EdDSA ", ""] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        for signature in [&b""[..], &[0; 64]] {
            let jws = unsigned(&header, b"{}", signature);
            assert_eq!(by.open(&jws), Err(Refused::WrongAlgorithm), "{alg}");
        }
    }
    // The public key as the secret of an HMAC: the confusion of RFC 8725 section 2.1.
    let signed = unsigned(r#"{"alg":"HS256"}"#, b"{}", b"");
    let signed = signed.trim_end_matches('.');
    let public = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key("ed25519", "spki"));
    let tag = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&public, signed.as_bytes()));
    assert_eq!(by.open(&format!("{signed}.{tag}")), Err(Refused::WrongAlgorithm));
    // ES256 with r = s = 0, which careless verifiers took (CVE-2022-21449).
    let zero = unsigned(r#"{"alg":"ES256"}"#, b"{}", &[0; 64]);
    assert_eq!(verifier("p256").open(&zero), Err(Refused::WrongSignature));
}

#[test]
fn what_is_no_jws_is_refused() {
    let by = verifier("ed25519");
    let good = signer("ed25519").sign(b"{}");
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for bad in [
        String::new(),
        "..".into(),
        "...".into(),
        format!("{header}.{payload}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}.{payload}.{signature}\n"),
        format!(" {good}"),
        format!("{header}.{payload}.{}", signature.replace(['-', '_'], "+")) + "+",
        format!("!{header}.{payload}.{signature}"),
        unsigned("", b"{}", &[0; 64]),
        unsigned("[]", b"{}", &[0; 64]),
        unsigned("{}", b"{}", &[0; 64]),
        unsigned(r#"{"alg":1}"#, b"{}", &[0; 64]),
        unsigned(r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#, b"{}", &[0; 64]),
        unsigned(r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#, b"{}", &[0; 64]),
        unsigned(r#"{"alg":"EdDSA","crit":[]}"#, b"{}", &[0; 64]),
        unsigned(r#"{"alg":"EdDSA","crit":null}"#, b"{}", &[0; 64]),
    ] {
        assert_eq!(by.open(&bad), Err(Refused::NotAJws), "{bad}");
    }
    for short in [0, 1, 63, 65, 128] {
        let jws = format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(vec![1; short]));
        assert_eq!(by.open(&jws), Err(Refused::WrongSignature), "{short} bytes");
    }
}

#[test]
fn only_two_kinds_of_key_are_keys_here() {
    assert!(Verifier::from_spki(&key("p384", "spki")).is_none());
    let spki = key("ed25519", "spki");
    assert!(Verifier::from_spki(&spki[12..]).is_none(), "a bare key");
    let spki_256 = key("p256", "spki");
    assert!(Verifier::from_spki(&spki_256[26..]).is_none(), "a bare point");
    for bad in [&b""[..], b"0", &spki[..43], &spki_256[..90], &[0x30; 32]] {
        assert!(Verifier::from_spki(bad).is_none());
        assert!(Signer::from_pkcs8(bad).is_none());
    }
    assert!(Signer::from_pkcs8(&spki).is_none(), "a public key is no private one");
}

#[test]
fn a_letter_bears_the_names_time_and_items_that_it_must() {
    assert!(opened(&letter()).is_ok());
    let item = json!({"kind": "capabilities"});
    for (field, value, told) in [
        ("version", json!(2), Refused::WrongVersion),
        ("version", json!(0), Refused::WrongVersion),
        ("version", json!("1"), Refused::NotALetter),
        ("iss", json!("south"), Refused::NotFromYou),
        ("iss", json!("North"), Refused::NotFromYou),
        ("aud", json!("north"), Refused::NotForMe),
        ("re", json!("j0"), Refused::WrongReply),
        ("jti", json!(""), Refused::NotALetter),
        ("jti", json!("x".repeat(65)), Refused::NotALetter),
        ("iat_ms", json!(i64::MIN), Refused::TooOld),
        ("iat_ms", json!(i64::MAX), Refused::TooNew),
        ("iat_ms", json!(1.5), Refused::NotALetter),
        ("items", json!([]), Refused::NoItems),
        ("items", json!(vec![&item; 257]), Refused::TooManyItems),
        ("items", json!(null), Refused::NotALetter),
        ("more", json!(1), Refused::NotALetter),
    ] {
        let mut letter = letter();
        letter[field] = value.clone();
        assert_eq!(opened(&letter).unwrap_err(), told, "{field} {value}");
    }
    let mut full = letter();
    full["items"] = json!(vec![&item; 256]);
    assert_eq!(opened(&full).unwrap().items.len(), 256);
    // A letter of a version to come says so, whatever else has become of it.
    let strange = json!({"version": 7, "from": "north", "items": {"a": 1}});
    assert_eq!(opened(&strange).unwrap_err(), Refused::WrongVersion);
    assert_eq!(opened(&json!([])).unwrap_err(), Refused::NotALetter);
}

#[test]
fn a_letter_is_fresh_for_90_s_both_ways() {
    for (late_ms, told) in [
        (-90_001, Some(Refused::TooNew)),
        (-90_000, None),
        (40_000, None),
        (90_000, None),
        (90_001, Some(Refused::TooOld)),
    ] {
        assert_eq!(opened_at(&letter(), NOW_MS + late_ms).err(), told, "{late_ms}");
    }
}

#[test]
fn a_letter_is_taken_once() {
    let mut seen = Seen::new(10_000);
    let first = opened(&letter()).unwrap();
    assert!(seen.take(&first.jti, NOW_MS));
    let again = opened_at(&letter(), NOW_MS + 90_000).unwrap();
    assert!(!seen.take(&again.jti, NOW_MS + 90_000), "{}", Refused::Replayed.name());
    assert!(seen.take("j2", NOW_MS + 90_000));
}

#[test]
fn refusals_have_names_of_their_own() {
    let mut names: Vec<_> = Refused::ALL.iter().map(|refused| refused.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 13);
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
}

proptest! {
    #[test]
    fn a_changed_letter_is_never_taken_for_what_was_signed(place in 0usize..5000, other in any::<u8>()) {
        for (name, jws) in [
            ("ed25519", include_str!("vectors/questions.eddsa.jws")),
            ("p256", include_str!("vectors/questions.es256.jws")),
        ] {
            let mut changed = jws.trim_end().as_bytes().to_vec();
            let place = place % changed.len();
            prop_assume!(changed[place] != other);
            changed[place] = other;
            if let Ok(changed) = std::str::from_utf8(&changed) {
                prop_assert!(verifier(name).open(changed).is_err());
            }
        }
    }

    #[test]
    fn any_text_is_opened_or_refused(text in "[A-Za-z0-9_.{}\":-]{0,100}|.{0,50}", number in "[1-9][0-9]{6,14}") {
        prop_assert!(verifier("ed25519").open(&text).is_err());
        prop_assert!(verifier("p256").open(&text).is_err());
        // And any payload comes back as it was signed.
        let number = Number::from_digits(number.as_bytes()).unwrap();
        let payload = format!("{text}{}", number.reveal());
        for name in ["ed25519", "p256"] {
            prop_assert_eq!(verifier(name).open(&signer(name).sign(payload.as_bytes())).unwrap(), payload.as_bytes());
        }
    }
}
