//! CAMARA one-time-password-sms offered by a loan gate: what its feature files ask for, and who guesses, steals and breaks.

use crate::rig;

use std::process::Command;

use rig::http::{Answer, Client};
use rig::loans::{Gate, iin, loan};
use rig::postgres::Postgres;
use rig::repository;
use serde_json::{Value, json};

const SCOPE: &str = "one-time-password-sms:send-validate";

/// A loan gate with two more clients, shop and other.
struct Otp {
    gate: Gate,
    secrets: [(&'static str, String); 2],
}

impl Otp {
    fn new(postgres: Option<Postgres>) -> Otp {
        let mut gate = Gate::new(postgres, "", "");
        let secrets = ["shop", "other"].map(|id| {
            let said =
                gate.site.ok(&["loan", "client", "clients.csv", id, "--name", "Shop", "--scopes", SCOPE]);
            let secret = said.lines().find_map(|line| line.strip_prefix("client_secret "));
            (id, secret.expect("a secret").to_owned())
        });
        gate.crash();
        gate.start(0);
        Otp { gate, secrets }
    }

    fn token(&self, id: &str) -> String {
        let (id, secret) = self.secrets.iter().find(|(known, _)| *known == id).expect("a client");
        self.gate.token(id, secret)
    }

    fn ask(&self, id: &str, operation: &str, body: &Value) -> Answer {
        ask(&self.gate, &self.token(id), operation, &body.to_string())
    }

    /// Sends a code; gives its name and the code of the text.
    #[track_caller]
    fn send(&self, id: &str, phone: &str) -> (String, String) {
        let body = json!({"phoneNumber": phone, "message": "{{code}} is your code at Shop"});
        let sent = self.ask(id, "send-code", &body);
        assert_eq!((sent.status, sent.header("x-correlator")), (200, Some("b4333c46-49c0")), "{sent:?}");
        let named = sent.json()["authenticationId"].as_str().unwrap().to_owned();
        assert!((16..=36).contains(&named.len()) && !sent.body.contains(phone), "{named}");
        let text = self.gate.text(phone);
        let (code, rest) = text.rsplit_once('\n').unwrap().1.split_once(' ').unwrap();
        assert!(code.len() == 6 && rest == "is your code at Shop", "{text}");
        (named, code.to_owned())
    }

    /// Status and error code of a validation.
    fn validate(&self, id: &str, named: &str, code: &str) -> (u16, String) {
        said(&self.ask(id, "validate-code", &json!({"authenticationId": named, "code": code})))
    }
}

fn ask(gate: &Gate, token: &str, operation: &str, body: &str) -> Answer {
    let head = format!(
        "POST /one-time-password-sms/v1/{operation} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nx-correlator: b4333c46-49c0"
    );
    let mut client = Client::new(gate.address);
    client.send(format!("{head}\r\nHost: qalqan\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    client.answer().unwrap_or_else(|| panic!("no answer to {operation} {body}"))
}

/// Status and error code, once the answer is checked to be an ErrorInfo or none.
#[track_caller]
fn said(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("x-correlator"), Some("b4333c46-49c0"), "{answer:?}");
    if answer.status < 300 {
        return (answer.status, String::new());
    }
    let json = answer.json();
    assert_eq!(json["status"], answer.status, "{answer:?}");
    assert!(!json["message"].as_str().unwrap().is_empty(), "{answer:?}");
    let code = json["code"].as_str().unwrap();
    (answer.status, code.strip_prefix("ONE_TIME_PASSWORD_SMS.").unwrap_or(code).to_owned())
}

fn wrong(code: &str, by: u32) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + by) % 1_000_000)
}

fn of(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_code_is_sent_checked_once_and_outlives_a_crash() {
    for postgres in [None, Some(Postgres::start())] {
        let mut otp = Otp::new(postgres);
        let phone = "+77015556001";
        let (named, code) = otp.send("shop", phone);
        assert_eq!(otp.validate("shop", &named, &wrong(&code, 1)), of(400, "INVALID_OTP"));
        otp.gate.crash();
        otp.gate.start(0);
        // Somebody else's, or nobody's.
        assert_eq!(otp.validate("other", &named, &code), of(404, "NOT_FOUND"));
        assert_eq!(otp.validate("shop", "ea0840f3-3663-4149-bd10-c7c6b8912105", &code), of(404, "NOT_FOUND"));
        let right = otp.ask("shop", "validate-code", &json!({"authenticationId": named, "code": code}));
        assert_eq!((right.status, right.body.as_str(), right.header("content-type")), (204, "", None));
        assert_eq!(otp.validate("shop", &named, &code), of(400, "VERIFICATION_EXPIRED"));
        // Another code for the same phone ends the one before; another client's does not.
        let (first, first_code) = otp.send("shop", phone);
        let (theirs, their_code) = otp.send("other", phone);
        let (second, second_code) = otp.send("shop", phone);
        assert_eq!(otp.validate("shop", &first, &first_code), of(400, "VERIFICATION_EXPIRED"));
        assert_eq!(otp.validate("other", &theirs, &their_code), of(204, ""));
        // Two at once: one is right.
        let mut both: Vec<(u16, String)> = std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| otp.validate("shop", &second, &second_code)));
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        both.sort();
        assert_eq!(both, [of(204, ""), of(400, "VERIFICATION_EXPIRED")]);
        // Three tries, whoever makes them: the third wrong one ends it, and then the right one opens nothing.
        let (named, code) = otp.send("shop", "+77015556002");
        let tries = [1, 2, 3, 0].map(|by| otp.validate("shop", &named, &wrong(&code, by)).1);
        assert_eq!(tries, ["INVALID_OTP", "INVALID_OTP", "VERIFICATION_FAILED", "VERIFICATION_FAILED"]);
        // A number has its codes of this hour, by loans and here together: four were sent above.
        let id = otp.gate.open("fifth", loan(&iin(800), phone, "1000"));
        otp.gate.code(&id, phone);
        let body = json!({"phoneNumber": phone, "message": "{{code}}"});
        assert_eq!(said(&otp.ask("shop", "send-code", &body)), of(403, "MAX_OTP_CODES_EXCEEDED"));
        // Its time is over.
        let (named, code) = otp.send("shop", "+77015556003");
        if otp.gate.postgres.is_none() {
            let bytes: Vec<u8> = ["loans.db", "loans.db-wal"]
                .iter()
                .flat_map(|file| std::fs::read(otp.gate.site.path(file)).unwrap_or_default())
                .collect();
            assert!(!String::from_utf8_lossy(&bytes).contains("77015556003"));
        }
        otp.gate.crash();
        otp.gate.start(1);
        assert_eq!(otp.validate("shop", &named, &code), of(400, "VERIFICATION_EXPIRED"));
        let looks = otp.gate.site.ok(&["loan", "looks", "--limit", "1000"]);
        assert!(looks.contains("shop send-code") && !looks.contains("7701555"), "{looks}");
    }
}

#[test]
fn bad_input_gets_the_error_that_camara_names() {
    let otp = Otp::new(None);
    let token = otp.token("shop");
    let fine = json!({"phoneNumber": "+77015556010", "message": "{{code}}"});
    let with = |name: &str, value: Value| {
        let mut body = fine.clone();
        body[name] = value;
        body.to_string()
    };
    for body in [
        String::new(),
        "{".to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        "[\"+77015556010\",\"{{code}}\"]".to_owned(),
        with("phoneNumber", json!("3301")),
        with("phoneNumber", json!("77015556010")),
        with("phoneNumber", json!("+07015556010")),
        with("phoneNumber", json!("+7701555601x")),
        with("phoneNumber", json!("+7701555601012345")),
        with("phoneNumber", Value::Null),
        with("message", json!("message without code")),
        with("message", json!("{code}")),
        with("message", json!(format!("{{{{code}}}}{}", "я".repeat(153)))),
        with("message", json!(1)),
        with("more", json!(1)),
    ] {
        assert_eq!(said(&ask(&otp.gate, &token, "send-code", &body)), of(400, "INVALID_ARGUMENT"), "{body}");
    }
    for body in [
        json!({}),
        json!({"code": "123456"}),
        json!({"authenticationId": "x"}),
        json!({"authenticationId": "x", "code": "thisCodeExceedsTenCharacters"}),
        json!({"authenticationId": "x".repeat(37), "code": "1"}),
        json!({"authenticationId": 1, "code": "1"}),
        json!({"authenticationId": "x", "code": "1", "more": 1}),
    ] {
        assert_eq!(said(&otp.ask("shop", "validate-code", &body)), of(400, "INVALID_ARGUMENT"), "{body}");
    }
    for (phone, error) in [
        // A landline of Almaty, a number of nobody here, one of another country, one too short for anybody.
        ("+77272501234", of(403, "PHONE_NUMBER_NOT_ALLOWED")),
        ("+14155550100", of(404, "NOT_FOUND")),
        ("+79161234567", of(404, "NOT_FOUND")),
        ("+77015", of(404, "NOT_FOUND")),
    ] {
        let answer = ask(&otp.gate, &token, "send-code", &with("phoneNumber", json!(phone)));
        assert_eq!(said(&answer), error, "{phone}");
        assert!(!answer.body.contains(phone), "{answer:?}");
    }
    // A message of 160 characters, not bytes; what a text cannot carry is a space in it.
    let message = format!("\u{7}{{{{code}}}} {{{{code}}}}\n{}", "я".repeat(141));
    let sent = ask(&otp.gate, &token, "send-code", &with("message", json!(message)));
    assert_eq!(sent.status, 200, "{sent:?}");
    let text = otp.gate.text("+77015556010");
    let words: Vec<&str> = text.split_once("\n\n").unwrap().1.split_whitespace().collect();
    assert!(words.len() == 3 && words[0] == words[1] && words[2].ends_with('я'), "{text}");

    let bank = otp.gate.token("bank", &otp.gate.bank.1);
    assert_eq!(said(&ask(&otp.gate, &bank, "send-code", &fine.to_string())), of(403, "PERMISSION_DENIED"));
    let loans =
        otp.gate.ask_as(&token, "POST /v1/loans", "k", &loan(&iin(801), "+77015556010", "1").to_string());
    assert_eq!(loans.problem(), "insufficient-scope");
    assert_eq!(said(&ask(&otp.gate, "wrong", "send-code", &fine.to_string())), of(401, "UNAUTHENTICATED"));
    assert_eq!(said(&ask(&otp.gate, &token, "send", &fine.to_string())), of(404, "NOT_FOUND"));
    let mut http = Client::new(otp.gate.address);
    let path = "/one-time-password-sms/v1/send-code";
    let get = http.get(path);
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    let none = http.ask(&format!("POST {path} HTTP/1.1\r\nContent-Type: application/json"), fine.to_string());
    assert_eq!((none.status, none.json()["code"].as_str()), (401, Some("UNAUTHENTICATED")));
    let empty = http.ask(&format!("POST {path} HTTP/1.1\r\nAuthorization: Bearer {token}"), "");
    assert_eq!((empty.status, empty.json()["code"].as_str()), (400, Some("INVALID_ARGUMENT")));
    let plain = http.ask(&format!("POST {path} HTTP/1.1\r\nAuthorization: Bearer {token}"), fine.to_string());
    assert_eq!((plain.status, plain.json()["code"].as_str()), (415, Some("UNSUPPORTED_MEDIA_TYPE")));
    // Sent again with its Idempotency-Key it is the same code, and one text.
    let head = format!(
        "POST {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nIdempotency-Key: k1"
    );
    let body = with("phoneNumber", json!("+77015556011"));
    let twice = [(); 2].map(|()| http.ask(&head, &body).body);
    assert_eq!(twice[0], twice[1]);
    assert_eq!(http.metric("qalqan_loans_verifications_total{how=\"sent\"}"), 2.0);
    assert_eq!(
        http.ask(&head, with("phoneNumber", json!("+77015556012"))).json()["code"],
        "INVALID_ARGUMENT"
    );
}

/// By another hand: whatever the description allows and forbids.
#[test]
fn schemathesis_finds_nothing_in_one_time_passwords() {
    let otp = Otp::new(None);
    let output = Command::new(repository().join("target/tools/bin/schemathesis"))
        .current_dir(otp.gate.site.directory.path())
        .env("SCHEMATHESIS_HOOKS", repository().join("node/tests/schemathesis/phones.py"))
        .arg("--config-file")
        .arg(repository().join("node/tests/schemathesis/one_time_password.toml"))
        .args(["run", &format!("http://{}/openapi.json", otp.gate.address)])
        .args([
            "--include-path-regex",
            "^/one-time-password-sms/",
            "--checks",
            "all",
            "--seed",
            "1",
            "--no-color",
        ])
        .args(["--max-examples", "100", "--max-time", "40"])
        .args(["--header", &format!("Authorization: Bearer {}", otp.token("shop"))])
        .output()
        .expect("schemathesis of target/tools runs: ./test installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let mut http = Client::new(otp.gate.address);
    assert!(http.metric("qalqan_loans_verifications_total{how=\"sent\"}") > 5.0, "{said}");
    assert!(!otp.gate.node.as_ref().unwrap().log().contains("panicked"));
}
