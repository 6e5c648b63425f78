//! The document and the schema say every name and bound that the code has.

use exchange::{Fault, Letter, MOST_ITEMS, Question, Refused, VERSION};
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../../docs/exchange.md");

fn schema() -> Value {
    serde_json::from_str(include_str!("../../schema/exchange.schema.json")).unwrap()
}

#[test]
fn the_document_has_every_refusal_and_fault() {
    let names = Refused::ALL.map(Refused::name).into_iter().chain(Fault::ALL.map(Fault::name));
    for name in names {
        assert!(DOCUMENT.contains(&format!("`{name}`")), "docs/exchange.md: {name}");
    }
}

#[test]
fn the_schema_has_the_bounds_and_faults_of_the_code() {
    let schema = schema();
    let letter = &schema["$defs"]["questions"]["properties"];
    assert_eq!(letter["version"]["const"], VERSION);
    assert_eq!(letter["items"]["maxItems"], MOST_ITEMS);
    assert_eq!(schema["$defs"]["refused"]["properties"]["fault"]["enum"], json!(Fault::ALL.map(Fault::name)));
}

/// What the schema lets a field be, the code reads.
#[test]
fn every_word_of_the_schema_is_read() {
    let schema = schema();
    let defs = &schema["$defs"];
    let words = |kind: &str, field: &str| {
        let words = &defs[kind]["properties"][field]["enum"];
        words.as_array().unwrap_or_else(|| panic!("{kind} {field}")).clone()
    };
    let check = json!({"kind": "check", "id": "c", "role": "transit", "calling": "77272501234",
                       "called": "77012345678", "seen_ms": 0, "ingress": "national", "deadline_ms": 200});
    for field in ["role", "ingress"] {
        for word in words("check", field) {
            let mut check = check.clone();
            check[field] = word.clone();
            let read: Question = serde_json::from_value(check).unwrap_or_else(|_| panic!("{word}"));
            assert_eq!(serde_json::to_value(&read).unwrap()[field], word);
        }
    }
    for (kind, fields) in
        [("initiation", &["result", "reason"][..]), ("roaming", &["result", "reason", "method"])]
    {
        for &field in fields {
            for word in words(kind, field) {
                let mut answer = json!({"kind": kind, "id": "a", "result": "unknown"});
                answer[field] = word.clone();
                let read: exchange::Answer =
                    serde_json::from_value(answer).unwrap_or_else(|_| panic!("{word}"));
                assert_eq!(serde_json::to_value(&read).unwrap()[field], word);
            }
        }
    }
}

#[test]
fn the_longest_letter_fits_in_a_body() {
    // Every text at its longest, and of characters that JSON does not lengthen.
    let (name, number) = ("x".repeat(64), format!("~{}", "z".repeat(22)));
    let question = json!({"kind": "register", "id": name, "role": "originating", "calling": number,
        "presentation": number, "called": number, "redirecting": number, "time_ms": i64::MIN, "trunk": name,
        "ttl_s": 180});
    let question: Question = serde_json::from_value(question).unwrap();
    let letter = Letter::new(&name, &name, i64::MIN, name.clone(), vec![question; MOST_ITEMS]);
    // base64url makes four bytes of three; header and signature are 37 and 86 characters with their dots.
    let jws = letter.to_json().len().div_ceil(3) * 4 + 125;
    assert!(jws <= 262_144, "{jws}");
}
