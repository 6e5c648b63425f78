//! Tokens as docs/exchange.md defines them, by vectors that another program made.

use exchange::{TokenKey, day};
use numbering::Number;
use serde_json::Value;

#[test]
fn tokens_are_those_of_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/tokens.json")).unwrap();
    let secret: Vec<u8> = (0..32).collect();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(vectors["secret_hex"], hex);
    let key = TokenKey::new(&secret);
    for vector in vectors["tokens"].as_array().unwrap() {
        let number = Number::from_digits(vector["number"].as_str().unwrap().as_bytes()).unwrap();
        let token = key.token(number, vector["day"].as_i64().unwrap());
        assert_eq!(vector["token"], token.0);
        assert!(token.is_token() && token.number().is_none());
    }
}

#[test]
fn another_day_secret_or_number_gives_another_token() {
    let number = |text: &str| Number::from_digits(text.as_bytes()).unwrap();
    let (a, b) = (number("77012345678"), number("77012345679"));
    let (key, other) = (TokenKey::new(b"one"), TokenKey::new(b"two"));
    let today = day(1_795_000_000_000);
    assert_eq!(today, 20_775, "25 November 2026 + some hours");
    let all = [key.token(a, today), key.token(b, today), key.token(a, today + 1), other.token(a, today)];
    for (i, one) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|other| other != one), "{i}");
    }
    assert_eq!(key.token(a, today), all[0]);
}
