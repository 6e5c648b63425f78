//! Verdicts by HTTP from the real binary: what each question is answered, and that nothing is echoed or lost.

use crate::rig;

use rig::http::{Client, site};
use rig::{INTERNATIONAL, Invite, Switch, header};
use serde_json::{Value, json};

const FIXED: &str = r#"{"trunk":"international","calling":"+77272501234","called":"+77011234567"}"#;

#[test]
fn a_call_is_judged_kept_and_counted_as_by_sip() {
    let (site, address) = site("workers = 2\n");
    let node = site.serve();
    let mut http = Client::new(address);
    let abroad = Switch::on(INTERNATIONAL, &node);
    // Numbers as they stand on the wire, and the rule each should meet by the rule table.
    let numbers = [
        ("+77272501234", "R08"),
        ("+77011112233", "R12"),
        ("+14155550123", "R19"),
        ("+78301234567", "R03"),
        ("102", "R04"),
        ("7272501234", "R08"),
        ("anonymous", "R02"),
        ("alice", "R03"),
    ];
    for (index, (number, rule)) in numbers.iter().enumerate() {
        let by_sip = abroad.invite(&Invite {
            from: &format!("sip:{number}@x.example"),
            call_id: &format!("sip-{index}"),
            ..Invite::default()
        });
        let by_sip = header(&by_sip, "Qalqan-Verdict").unwrap();
        for form in [number.to_string(), format!("sip:{number}@x.example;user=phone")] {
            let call = json!({"trunk": "international", "presentation": form, "called": "+77011234567",
                              "call_id": format!("http-{index}")});
            let answer = http.screen(call.to_string());
            assert_eq!(answer.status, 200, "{answer:?}");
            let json = answer.json();
            assert_eq!(json["rule"], *rule);
            assert_eq!(by_sip.split(';').next(), json["verdict"].as_str());
            assert!(by_sip.contains(&format!("rule={rule};")), "{by_sip}");
            assert!(by_sip.contains(&format!("reason={}", json["sub_reason"].as_str().unwrap())), "{by_sip}");
            assert_eq!(
                json["label"].as_str(),
                by_sip.split(';').find_map(|part| part.strip_prefix("label="))
            );
        }
    }
    let kept = site.journal();
    for index in 0..numbers.len() {
        let of = |call_id: String| -> Vec<Value> {
            let of_call = kept.iter().filter(|record| record["call_id"] == call_id).cloned();
            of_call
                .map(|mut record| {
                    for key in ["time", "took_ns", "call_id"] {
                        record[key].take();
                    }
                    record
                })
                .collect()
        };
        let (by_sip, by_http) = (of(format!("sip-{index}")), of(format!("http-{index}")));
        assert_eq!((by_sip.len(), by_http.len()), (1, 2));
        assert!(by_http.iter().all(|record| *record == by_sip[0]), "{by_http:?} {by_sip:?}");
    }
    let counted = "qalqan_calls_total{trunk=\"international\",rule=\"R08\",verdict=\"block\"}";
    assert_eq!(http.metric(counted), 6.0, "two numbers, once by SIP and twice by HTTP");
    assert_eq!(http.metric("qalqan_verdict_duration_seconds_count{door=\"http\"}"), 16.0);
}

#[test]
fn an_array_is_answered_in_its_order() {
    let (site, address) = site("");
    let _node = site.serve();
    let mut http = Client::new(address);
    let call = |index: usize| {
        let calling = if index.is_multiple_of(3) { "+77272501234" } else { "+14155550123" };
        json!({"trunk": "international", "calling": calling, "called": "+77011234567", "call_id": index.to_string()})
    };
    let answer = http.screen(Value::Array((0..1000).map(call).collect()).to_string());
    assert_eq!(answer.status, 200);
    let verdicts = answer.json();
    assert_eq!(verdicts.as_array().unwrap().len(), 1000);
    for (index, verdict) in verdicts.as_array().unwrap().iter().enumerate() {
        assert_eq!(verdict["rule"], if index % 3 == 0 { "R08" } else { "R19" }, "{index}");
    }
    assert_eq!(site.journal_len(), 1000);

    // Refused whole: nothing of it is judged or kept.
    let too_many = http.screen(Value::Array((0..1001).map(call).collect()).to_string());
    assert_eq!((too_many.status, too_many.problem().as_str()), (422, "invalid-call"));
    let mut calls: Vec<Value> = (0..5).map(call).collect();
    calls[3]["trunk"] = json!("nobody");
    let unknown = http.screen(Value::Array(calls.clone()).to_string());
    assert_eq!((unknown.status, unknown.problem().as_str()), (403, "trunk-not-known"));
    assert!(unknown.json()["detail"].as_str().unwrap().starts_with("call 4: "));
    calls[3] = json!({"trunk": "international", "called": "+77011234567", "calling": 7});
    let wrong = http.screen(Value::Array(calls).to_string());
    assert!(wrong.json()["detail"].as_str().unwrap().starts_with("call 4: "), "{wrong:?}");
    assert_eq!(site.journal_len(), 1000);
}

#[test]
fn an_emergency_call_passes_whatever_else_is_wrong() {
    let (site, address) = site("api-keys = \"keys.csv\"\n");
    let key = site.ok(&["http", "key", "switch", "--trunks", "national"]).trim().to_owned();
    let old = site.ok(&["http", "key", "old", "--expires", "2020-01-01"]).trim().to_owned();
    let _node = site.serve();
    let mut http = Client::new(address);
    let bearer = |key: &str| format!("\r\nAuthorization: Bearer {key}");
    let good = r#"{"trunk":"national","calling":"+77272501234","called":"112"}"#;
    let cases = [
        (bearer(&key), good),
        (bearer(&key), r#"{"trunk":"nobody","called":"112"}"#),
        (bearer(&key), r#"{"trunk":"international","called":"urn:service:sos.police"}"#),
        (bearer(&key), r#"{"trunk":"national","called":"sip:112@x","time":"yesterday"}"#),
        (bearer(&key), r#"{"trunk":"national","called":"tel:112","colour":"red"}"#),
        (bearer(&key), r#"{"trunk":7,"called":"+7112"}"#),
        (bearer(&key), r#"{"called":"112"}"#),
        (bearer(&key), r#"[{"trunk":"nobody","called":"112"}]"#),
        (bearer("wrong"), good),
        (bearer(&old), good),
        (String::new(), good),
        ("\r\nX-Api-Key: wrong".to_owned(), good),
    ];
    let n = cases.len();
    for (more, body) in cases {
        let answer = http.screen_with(&more, body);
        assert_eq!(answer.status, 200, "{more} {body}: {answer:?}");
        let json = if body.starts_with('[') { answer.json()[0].take() } else { answer.json() };
        assert_eq!((json["verdict"].as_str(), json["rule"].as_str()), (Some("allow"), Some("R00")), "{body}");
    }
    let no_json = http.ask("POST /v1/screen/explain HTTP/1.1", good);
    assert_eq!((no_json.status, &no_json.json()["rule"]), (200, &json!("R00")));
    let kept = site.journal();
    assert_eq!(kept.len(), n + 1, "written down like any other");
    assert!(kept.iter().all(|record| record["called"] == "112"));

    // What is no emergency call gets no further without a key.
    assert_eq!(http.screen(FIXED).problem(), "no-key");
    assert_eq!(http.screen_with(&bearer("wrong"), FIXED).problem(), "wrong-key");
    assert_eq!(http.screen_with(&bearer(&old), FIXED).problem(), "expired-key");
    assert_eq!(http.screen_with(&bearer(&key), FIXED).problem(), "trunk-not-known");
    assert_eq!(http.metric("qalqan_http_wrong_keys_total"), 5.0);
}

#[test]
fn what_is_no_question_is_refused_cleanly() {
    let (site, address) = site("body-kb = 64\n");
    let node = site.serve();
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_object = r#"{"trunk":"#.to_owned() + &r#"{"a":"#.repeat(10_000);
    let deep_field = format!(r#"{{"trunk":"international","called":"1","calling":{deep}}}"#);
    let long = format!(r#"{{"trunk":"{}","called":"1"}}"#, "x".repeat(70_000));
    let call = |more: &str| format!(r#"{{"trunk":"international","called":"+77011234567"{more}}}"#);
    let cases: &[(&[u8], u16, &str)] = &[
        (b"", 400, "invalid-json"),
        (b"   ", 400, "invalid-json"),
        (b"{", 400, "invalid-json"),
        (b"nonsense", 400, "invalid-json"),
        (b"\"a call\"", 422, "invalid-call"),
        (b"null", 422, "invalid-call"),
        (b"12", 422, "invalid-call"),
        (b"[]", 422, "invalid-call"),
        (b"{}", 422, "invalid-call"),
        (b"[[]]", 422, "invalid-call"),
        (b"[1]", 422, "invalid-call"),
        (b"\xff\xfe{}", 400, "invalid-json"),
        (b"{\"trunk\":\"\xc3\x28\",\"called\":\"1\"}", 400, "invalid-json"),
        (b"{\"trunk\":\"\\ud800\",\"called\":\"1\"}", 400, "invalid-json"),
        (deep.as_bytes(), 422, "invalid-call"),
        (deep_object.as_bytes(), 422, "invalid-call"),
        (deep_field.as_bytes(), 422, "invalid-call"),
        (long.as_bytes(), 413, "body-too-long"),
        (br#"{"trunk":"international","called":"1"} {}"#, 400, "invalid-json"),
        (br#"{"trunk":"international","called":null}"#, 422, "invalid-call"),
        (br#"{"trunk":"nobody","called":"+77011234567"}"#, 403, "trunk-not-known"),
    ];
    for (body, status, name) in cases {
        let answer = Client::new(address).screen(body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert_eq!((answer.status, answer.problem().as_str()), (*status, *name), "{shown}: {answer:?}");
    }
    let fields = [
        r#","colour":"+77272501234""#,
        r#","+77272501234":1"#,
        r#","called":"+77272501234""#,
        r#","privacy":"+77272501234""#,
        r#","calling":77272501234"#,
        r#","calling":["+77272501234"]"#,
        r#","time":"+77272501234""#,
        r#","time":"2001-01-01T00:00:00Z""#,
        r#","time":"""#,
    ];
    let mut http = Client::new(address);
    for more in fields {
        let answer = http.screen(call(more));
        assert_eq!((answer.status, answer.problem().as_str()), (422, "invalid-call"), "{more}: {answer:?}");
        assert!(!answer.body.contains("727250"), "a number is echoed: {}", answer.body);
    }
    let nulls =
        r#","calling":null,"presentation":null,"redirecting":null,"privacy":null,"call_id":null,"time":null"#;
    assert_eq!(http.screen(call(nulls)).status, 200);
    assert_eq!(
        http.screen(call(r#","calling":"\u002b77272501234""#)).json()["rule"],
        "R08",
        "escapes are read"
    );
    assert!(!node.log().contains("727250"), "{}", node.log());
    assert_eq!(http.metric("qalqan_fail_open_calls_total{cause=\"stumble\"}"), 0.0);
}

#[test]
fn routes_methods_and_media_types_are_as_http_says() {
    let (site, address) = site("");
    let _node = site.serve();
    let mut http = Client::new(address);
    assert_eq!(http.get("/").problem(), "not-found");
    assert_eq!(http.get("/v1/screen/").status, 404);
    for (request, allow) in [
        ("GET /v1/screen", "POST"),
        ("DELETE /v1/screen/explain", "POST"),
        ("OPTIONS /v1/screen", "POST"),
        ("POST /metrics", "GET, HEAD"),
        ("PUT /healthz", "GET, HEAD"),
        ("BREW /readyz", "GET, HEAD"),
    ] {
        let answer = http.ask(&format!("{request} HTTP/1.1"), "");
        assert_eq!((answer.status, answer.problem().as_str()), (405, "method-not-allowed"), "{request}");
        assert_eq!(answer.header("allow"), Some(allow), "RFC 9110 section 15.5.6");
    }
    for kind in ["text/plain", "application/jsonp", "application/xml", ""] {
        let head = format!("POST /v1/screen HTTP/1.1\r\nContent-Type: {kind}");
        assert_eq!(http.ask(&head, FIXED).problem(), "unsupported-media-type", "{kind}");
    }
    assert_eq!(http.ask("POST /v1/screen HTTP/1.1", FIXED).status, 415);
    assert_eq!(http.screen_with("\r\nContent-Encoding: gzip", FIXED).status, 415);
    let head = "POST /v1/screen?x=1 HTTP/1.1\r\nContent-Type: Application/JSON; charset=utf-8";
    assert_eq!(http.ask(head, FIXED).status, 200);
    let chunked = format!(
        "POST /v1/screen HTTP/1.1\r\nHost: q\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
         10\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &FIXED[..16],
        FIXED.len() - 16,
        &FIXED[16..]
    );
    http.send(chunked);
    assert_eq!(http.answer().unwrap().json()["rule"], "R08");
    // Two requests in one segment are answered one after the other.
    http.send("GET /healthz HTTP/1.1\r\nHost: q\r\n\r\nGET /readyz HTTP/1.1\r\nHost: q\r\n\r\n");
    assert_eq!(http.answer().unwrap().body, "alive\n");
    assert_eq!(http.answer().unwrap().json()["journal"], "ok");
    http.send("this is not HTTP\r\n\r\n");
    assert_eq!(http.answer().unwrap().status, 400);
    let mut long = Client::new(address);
    long.send(format!("GET /{} HTTP/1.1\r\nHost: q\r\n\r\n", "x".repeat(70_000)));
    assert!(matches!(long.answer().unwrap().status, 414 | 431));
}

#[test]
fn reasons_come_in_the_language_that_is_asked_for() {
    let (site, address) = site("");
    let _node = site.serve();
    let mut http = Client::new(address);
    let words = |code: &str| {
        let text = std::fs::read_to_string(format!("../rulebook/words/{code}.toml")).unwrap();
        let book: toml::Table = text.parse().unwrap();
        book["reason"]["fixed-from-abroad"].as_str().unwrap().to_owned()
    };
    for (accepted, code) in [("kk", "kk"), ("de, ru;q=0.5", "ru"), ("en", "en"), ("de", "en")] {
        let answer = http.screen_with(&format!("\r\nAccept-Language: {accepted}"), FIXED);
        assert_eq!(answer.header("content-language"), Some(code));
        assert_eq!(answer.json()["reason"], words(code));
    }
}

#[test]
fn explain_says_every_fact_and_monitor_mode_what_would_have_been() {
    let (site, address) = site("[rules]\nall = \"monitor\"\n[lists]\ndo-not-originate = \"dno.csv\"\n");
    site.write("dno.csv", "number,owner,expires,note\n+77272501234,bank,,hotline\n");
    let _node = site.serve();
    let mut http = Client::new(address);
    let answer = http.ask("POST /v1/screen/explain HTTP/1.1\r\nContent-Type: application/json", FIXED);
    let json = answer.json();
    assert_eq!((json["verdict"].as_str(), json["rule"].as_str()), (Some("allow"), Some("R20")));
    assert_eq!(
        (json["would"]["verdict"].as_str(), json["would"]["rule"].as_str()),
        (Some("block"), Some("R04"))
    );
    let fact = json!({"fact": "on list do-not-originate", "found": "yes, owner bank, note hotline"});
    assert!(json["facts"].as_array().unwrap().contains(&fact), "{json}");
    assert_eq!(json["calling"], "+77272****34", "masked");
    assert_eq!(json["versions"]["lists"]["do-not-originate"].as_str().unwrap().len(), 64);
    let plain = http.screen(FIXED).json();
    assert_eq!(plain["would"], json["would"]);
    assert!(plain.get("facts").is_none());
    let would = "qalqan_would_calls_total{trunk=\"international\",rule=\"R04\",verdict=\"block\"}";
    assert_eq!(http.metric(would), 2.0);
    let hits = |rule: &str| format!("qalqan_monitored_hits_total{{trunk=\"international\",rule=\"{rule}\"}}");
    assert_eq!((http.metric(&hits("R04")), http.metric(&hits("R08"))), (2.0, 2.0));
}
