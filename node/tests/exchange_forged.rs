//! A member that answers what is no answer: its questions are unknown, counted by what is wrong, and no call is cut.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};

use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::exchange::{OF_ALPHA, Operator};
use crate::exchange_member::{Forgery, forged, id, now_ms, sign};
use crate::rig::http::Client;

/// Which answer is given: its place in `FORGERIES`.
type Which = Arc<Mutex<&'static str>>;

/// By name: what is said, and how it is counted of a letter; none where it is refused before it is one, or refuses.
const FORGERIES: [(&str, Option<&str>, &str); 20] = [
    ("wrong re", Some("wrong-reply"), "bad-answer"),
    ("no re", Some("wrong-reply"), "bad-answer"),
    ("wrong key", Some("wrong-signature"), "bad-answer"),
    ("garbage", Some("not-a-jws"), "bad-answer"),
    ("not UTF-8", Some("not-a-jws"), "bad-answer"),
    ("nothing", Some("not-a-jws"), "bad-answer"),
    ("two megabytes", Some("body-too-long"), "bad-answer"),
    ("in another's name", Some("not-from-you"), "bad-answer"),
    ("for another", Some("not-for-me"), "bad-answer"),
    ("old", Some("too-old"), "bad-answer"),
    ("of tomorrow", Some("too-new"), "bad-answer"),
    ("version 2", Some("wrong-version"), "bad-answer"),
    ("no items", Some("no-items"), "bad-answer"),
    ("too many", Some("wrong-count"), "bad-answer"),
    ("unknown kind", Some("not-a-letter"), "bad-answer"),
    ("another kind", Some("wrong-answer"), "bad-answer"),
    ("another id", Some("wrong-answer"), "bad-answer"),
    ("a refusal of another id", Some("wrong-answer"), "bad-answer"),
    ("a refusal", None, "refused"),
    ("503", None, "unreachable"),
];

fn forge(which: &'static str, beta: &KeyPair, other: &KeyPair, asked: &Value) -> (u16, Vec<u8>) {
    let questions = asked["items"].as_array().unwrap();
    let honest = |question: &Value| match question["kind"].as_str() {
        Some("roaming") => json!({"kind": "roaming", "id": question["id"], "result": "not-roaming"}),
        _ => json!({"kind": "initiation", "id": question["id"], "result": "not-initiated"}),
    };
    let mut letter = json!({"version": 1, "iss": "beta", "aud": "alpha", "iat_ms": now_ms(), "jti": id(),
        "re": asked["jti"], "items": questions.iter().map(honest).collect::<Vec<_>>()});
    let mut set = |key: &str, value: Value| letter[key] = value;
    let first = &questions[0];
    match which {
        "wrong re" => set("re", json!("another")),
        "no re" => drop(letter.as_object_mut().unwrap().remove("re")),
        "garbage" => return (200, b"garbage".to_vec()),
        "not UTF-8" => return (200, vec![0xff; 64]),
        "nothing" => return (200, Vec::new()),
        "two megabytes" => return (200, vec![b'a'; 2 << 20]),
        "in another's name" => set("iss", json!("gamma")),
        "for another" => set("aud", json!("gamma")),
        "old" => set("iat_ms", json!(now_ms() - 100_000)),
        "of tomorrow" => set("iat_ms", json!(now_ms() + 86_400_000)),
        "version 2" => set("version", json!(2)),
        "no items" => set("items", json!([])),
        "too many" => set("items", json!([honest(first), honest(first), honest(first)])),
        "unknown kind" => set("items", json!([{"kind": "gossip", "id": first["id"]}])),
        "another kind" => set("items", json!([{"kind": "accepted", "id": first["id"]}])),
        "another id" => set("items", json!([honest(&json!({"kind": first["kind"], "id": "another"}))])),
        "a refusal" => set("items", json!([{"kind": "refused", "id": first["id"], "fault": "too-many"}])),
        "a refusal of another id" => {
            set("items", json!([{"kind": "refused", "id": "another", "fault": "not-held"}]));
        }
        "503" => return (503, b"later".to_vec()),
        _ => {}
    }
    let key = if which == "wrong key" { other } else { beta };
    (200, sign(key, &letter).into_bytes())
}

#[test]
fn what_is_no_answer_is_unknown_and_the_call_passes() {
    let alpha = Operator::new("alpha", "\"7701\"");
    let (beta, other) = (Operator::new("beta", "\"7702\""), KeyPair::generate().unwrap());
    alpha.join(&[&beta], "question-ms = 1000\ndeadline-ms = 1000");
    let which: Which = Arc::new(Mutex::new("honest"));
    let key = KeyPair::from_pem(&beta.key.serialize_pem()).unwrap();
    let (own, says) = (KeyPair::from_pem(&key.serialize_pem()).unwrap(), which.clone());
    let forgery: Forgery = Box::new(move |asked| {
        let which = *says.lock().unwrap_or_else(PoisonError::into_inner);
        forge(which, &own, &other, asked)
    });
    forged((&beta.certificate, &key), &alpha.certificate, beta.exchange, forgery);
    let mut node = alpha.site.serve();

    let next = AtomicU32::new(0);
    let fresh = || format!("+7702{:07}", next.fetch_add(1, Ordering::Relaxed));
    let honest = || {
        let number = fresh();
        *which.lock().unwrap() = "honest";
        let denied = alpha.screen("national", &number, OF_ALPHA);
        assert_eq!(
            (denied["rule"].as_str(), denied["verdict"].as_str()),
            (Some("R14"), Some("block")),
            "{denied}"
        );
    };
    let mut refused = std::collections::BTreeMap::new();
    for (name, fault, outcome) in FORGERIES {
        // Half of the last questions lost, and the member would rest.
        (0..3).for_each(|_| honest());
        *which.lock().unwrap() = name;
        for (trunk, rule) in [("national", "R15"), ("international", "R12")] {
            let answer = alpha.screen(trunk, &fresh(), OF_ALPHA);
            assert_eq!(answer["rule"], rule, "{name}: {answer}");
            assert_ne!(answer["verdict"], "block", "{name}: {answer}");
            assert_eq!(answer["answers"][0]["answer"], outcome, "{name}: {answer}");
            if let Some(fault) = fault {
                *refused.entry(fault).or_insert(0.0) += 1.0;
            }
        }
    }
    honest();
    for (fault, n) in refused {
        let labels = format!("{{member=\"beta\",kind=\"answer\",outcome=\"{fault}\"}}");
        let metric = format!("qalqan_exchange_refusals_total{labels}");
        assert_eq!(Client::new(alpha.http).metric(&metric), n, "{fault}");
    }
    assert!(node.is_running() && !node.log().contains("panicked"), "{}", node.log());
}
