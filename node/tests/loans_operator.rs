//! A loan gate that asks an operator: codes at another node of ours, and everything that an operator may say, be late with or
//! get wrong, at one in Python whose every request and answer openapi-core holds against the APIs' document.

use crate::rig;

use std::os::unix::fs::PermissionsExt;

use rig::http::Client;
use rig::loans::{Gate, gate, iin, loan};
use rig::operator::{CHECK, FORWARDED, Operator, RETRIEVE, SEND, VALIDATE, error, ok};
use rig::postgres::Postgres;
use rig::wait;
use serde_json::{Value, json};

const REQUIRED: &str = "phone-freshness = \"required\"\n";

/// Seconds since 1970 and an hour's distance from now, as RFC 3339.
fn hours_ago(hours: i64) -> (i64, String) {
    let at = jiff::Timestamp::now().as_second() - hours * 3600;
    (at, jiff::Timestamp::from_second(at).unwrap().to_string())
}

fn second(time: &Value) -> i64 {
    time.as_str().expect("a time").parse::<jiff::Timestamp>().unwrap().as_second()
}

fn freshness(seen: &Value) -> (&str, &str) {
    let answered = gate(seen, "phone-freshness");
    (answered["answer"].as_str().unwrap(), answered["reason"].as_str().unwrap())
}

/// Two nodes: the bank's gate, and the operator that sends its codes and checks them.
#[test]
fn another_node_sends_and_checks_the_codes() {
    for postgres in [None, Some(Postgres::start())] {
        let mut operator = Gate::new(None, "", "");
        let said = operator.site.ok(&[
            "loan",
            "client",
            "clients.csv",
            "gate",
            "--name",
            "Gate",
            "--scopes",
            "one-time-password-sms:send-validate",
        ]);
        let secret = said.lines().find_map(|line| line.strip_prefix("client_secret ")).unwrap();
        operator.site.write("secret", secret);
        let path = operator.site.path("secret");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        operator.crash();
        operator.start(0);
        let table = format!(
            "[loans.one-time-password]\nurl = \"http://{0}/one-time-password-sms/v1\"\n\
             token-url = \"http://{0}/oauth2/token\"\nclient-id = \"gate\"\nclient-secret = \"{1}\"\n",
            operator.address,
            path.display()
        );
        let mut gate_ = Gate::new(postgres, "", &table);
        let phone = "+77015557001";
        let id = gate_.open("two-nodes", loan(&iin(900), phone, "900000.00"));
        // The same request sent again is the same code: one text.
        let asked = format!("POST /v1/loans/{id}/code");
        let [first, again] = [(); 2].map(|()| gate_.bank(&asked, "code-1", Value::Null));
        assert_eq!((first.status, again.body == first.body), (202, true), "{first:?}");
        let code_of = |text: &str| {
            let mut words = text.split(|c: char| !c.is_ascii_digit());
            words.rfind(|word| word.len() == 6).expect("a code").to_owned()
        };
        let text = operator.text(phone);
        assert!(text.contains("Банк Один") && text.contains("900000.00"), "{text}");
        let code = code_of(text.split_once("\n\n").unwrap().1.replace("900000", "").as_str());
        assert_eq!(std::fs::read_dir(operator.site.path("sms")).unwrap().count(), 0, "one text");
        gate_.crash();
        gate_.start(0);
        operator.crash();
        let away = gate_.enter(&id, "confirm", &code);
        assert_eq!((away.status, away.problem().as_str()), (503, "operator-away"), "{away:?}");
        operator.start(0);
        let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
        let answer = gate_.enter(&id, "confirm", &wrong);
        assert_eq!((answer.status, answer.problem().as_str()), (422, "wrong-code"));
        assert!(answer.json()["detail"].as_str().unwrap().starts_with("2 tries"), "{answer:?}");
        // Two at once: the operator takes one.
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| gate_.enter(&id, "confirm", &code).status));
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        assert_eq!(gate_.look(&id)["state"], "cooling");
        // No code of ours was sent, and what the operator calls its own stands nowhere in the open.
        assert_eq!(std::fs::read_dir(gate_.site.path("sms")).unwrap().count(), 0);
        let events = gate_.look(&id)["events"].to_string();
        assert!(events.contains("code_sent") && !events.contains("by_operator"), "{events}");
        let mut http = Client::new(gate_.address);
        let metric = |http: &mut Client, how: &str| {
            http.metric(&format!(
                "qalqan_loans_operator_questions_total{{api=\"one-time-password-sms\",how=\"{how}\"}}"
            ))
        };
        assert!(metric(&mut http, "answered") >= 1.0 && metric(&mut http, "refused") >= 1.0);
        assert!(metric(&mut http, "away") >= 1.0);
    }
}

#[test]
fn whatever_an_operator_says_of_a_code_is_one_clear_answer() {
    let operator = Operator::new();
    let gate_ = Gate::new(None, "", &operator.codes());
    let id = gate_.open("told", loan(&iin(910), "+77015557010", "1000"));
    let send = |key: &str| {
        let answer = gate_.bank(&format!("POST /v1/loans/{id}/code"), key, Value::Null);
        if answer.status == 202 { (202, String::new()) } else { (answer.status, answer.problem()) }
    };
    for (answer, status, problem) in [
        (error(403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED"), 422, "phone-not-served"),
        (error(403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED"), 422, "phone-not-served"),
        (error(404, "NOT_FOUND"), 422, "phone-not-served"),
        (error(403, "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED"), 429, "too-many-codes"),
        (error(429, "TOO_MANY_REQUESTS"), 429, "too-many-codes"),
        (error(400, "INVALID_ARGUMENT"), 503, "operator-away"),
        (error(401, "UNAUTHENTICATED"), 503, "operator-away"),
        (error(403, "PERMISSION_DENIED"), 503, "operator-away"),
        (error(503, "UNAVAILABLE"), 503, "operator-away"),
        (json!({"status": 503, "raw": "<html>"}), 503, "operator-away"),
    ] {
        operator.says(SEND, answer.clone());
        // None of them was sent, so none counts towards a limit, and the key may be used again.
        assert_eq!(send("again"), (status, problem.to_owned()), "{answer}");
    }
    // Late, broken and elsewhere: nobody knows whether a text went. It counts, and a repeated key sends no second one.
    for (n, answer) in [
        json!({"status": 200, "body": {"authenticationId": "late"}, "delay": 30}),
        json!({"status": 200, "raw": "{\"authenticationId\": \"brok"}),
        json!({"status": 302, "raw": "", "headers": {"Location": "/elsewhere"}}),
    ]
    .into_iter()
    .enumerate()
    {
        operator.says(SEND, answer.clone());
        let before = operator.asked(SEND).len();
        let key = format!("late-{n}");
        for _ in 0..2 {
            assert_eq!(send(&key), (503, "operator-away".to_owned()), "{answer}");
        }
        assert_eq!(operator.asked(SEND).len(), before + 1, "{answer}");
    }
    assert!(operator.asked("elsewhere").is_empty());
    operator.says(SEND, ok(json!({"authenticationId": "ea0840f3-3663-4149-bd10-c7c6b8912105"})));
    assert_eq!(send("").0, 202);
    let last = operator.asked(SEND).pop().unwrap();
    assert_eq!(last["phoneNumber"], "+77015557010");
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("Банк Один") && message.contains("{{code}}"), "{message}");

    // Only 204 is right; whatever else comes leaves the loan where it was.
    let enter = |code: &str| {
        let answer = gate_.enter(&id, "confirm", code);
        if answer.status == 200 { (200, String::new()) } else { (answer.status, answer.problem()) }
    };
    assert_eq!(enter("AJY3-"), (422, "invalid-request".to_owned()));
    assert_eq!(enter("AJY3AJY3AJY3"), (422, "invalid-request".to_owned()));
    for (answer, status, problem) in [
        (json!({"status": 200, "raw": "{}"}), 503, "operator-away"),
        (json!({"status": 200, "raw": "ok"}), 503, "operator-away"),
        (json!({"status": 302, "raw": "", "headers": {"Location": "/elsewhere"}}), 503, "operator-away"),
        (json!({"status": 204, "delay": 30}), 503, "operator-away"),
        (error(403, "PERMISSION_DENIED"), 503, "operator-away"),
        (error(429, "QUOTA_EXCEEDED"), 503, "operator-away"),
        (error(404, "NOT_FOUND"), 409, "no-open-code"),
        (error(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED"), 409, "no-open-code"),
        (error(400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP"), 422, "wrong-code"),
        (error(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED"), 422, "wrong-code"),
        // Its tries are over, so it is not asked again.
        (json!({"status": 204}), 409, "no-open-code"),
    ] {
        operator.says(VALIDATE, answer.clone());
        assert_eq!(enter("AJY3"), (status, problem.to_owned()), "{answer}");
        assert_eq!(gate_.look(&id)["state"], "confirming", "{answer}");
    }
    assert_eq!(send("").0, 202);
    operator.says(VALIDATE, json!({"status": 204}));
    assert_eq!(enter("AJY3").0, 200);
    assert_eq!(gate_.look(&id)["state"], "approved");
    let named = json!({"authenticationId": "ea0840f3-3663-4149-bd10-c7c6b8912105", "code": "AJY3"});
    assert_eq!(operator.asked(VALIDATE).pop(), Some(named));
    assert!(!gate_.site.ok(&["loan", "looks", "--limit", "100"]).contains("AJY3"));
    operator.has_no_fault();
}

#[test]
fn what_the_operator_says_of_the_phone_is_judged() {
    let operator = Operator::new();
    let gate_ = Gate::new(None, "", &format!("{REQUIRED}{}", operator.phones()));
    let (_, long_ago) = hours_ago(2000);
    let (yesterday_s, yesterday) = hours_ago(24);
    let mut n = 0;
    let mut opened = |swap: Value, check: Value, forwarded: Value| {
        operator.says(RETRIEVE, swap);
        operator.says(CHECK, check);
        operator.says(FORWARDED, forwarded);
        n += 1;
        let phone = format!("+7701555{:04}", 8000 + n);
        let id = gate_.open(&format!("phone-{n}"), loan(&iin(1000 + 20 * n), &phone, "1000"));
        let questions = |operation: &str| {
            let asked = operator.asked(operation);
            asked.into_iter().filter(|body| body["phoneNumber"] == phone.as_str()).collect::<Vec<_>>()
        };
        (gate_.look(&id), questions(CHECK))
    };
    let not_asked = || error(503, "UNAVAILABLE");
    let quiet = || ok(json!({"active": false}));
    let swapped = |at: &str| ok(json!({"latestSimChange": at}));

    let (seen, checks) = opened(swapped(&long_ago), not_asked(), quiet());
    assert_eq!((freshness(&seen), checks.len()), (("pass", "phone-unchanged"), 0), "{seen}");
    let (seen, _) = opened(swapped(&yesterday), not_asked(), quiet());
    assert_eq!(freshness(&seen), ("wait", "sim-swapped"));
    // 72 h after the swap, as the rulebook says.
    assert_eq!(second(&gate(&seen, "phone-freshness")["until"]), yesterday_s + 72 * 3600);
    // It watches longer than a swap counts, or does not say how long: none.
    for null in [json!({"latestSimChange": null, "monitoredPeriod": 120}), json!({"latestSimChange": null})] {
        let (seen, checks) = opened(ok(null), not_asked(), quiet());
        assert_eq!((freshness(&seen), checks.len()), (("pass", "phone-unchanged"), 0));
    }
    // It watches a day, or may not say when: whether, within the 72 h that count.
    for swap in [ok(json!({"latestSimChange": null, "monitoredPeriod": 1})), error(403, "PERMISSION_DENIED")]
    {
        let (seen, checks) = opened(swap.clone(), ok(json!({"swapped": false})), quiet());
        assert_eq!(freshness(&seen), ("pass", "phone-unchanged"));
        assert_eq!((checks.len(), &checks[0]["maxAge"]), (1, &json!(72)));
        let (seen, _) = opened(swap, ok(json!({"swapped": true})), quiet());
        assert_eq!(freshness(&seen), ("wait", "sim-swapped"));
    }
    let (seen, _) = opened(swapped(&long_ago), not_asked(), ok(json!({"active": true})));
    assert_eq!((freshness(&seen), &seen["state"]), (("refuse", "calls-forwarded"), &json!("refused")));

    // What does not say that nothing happened lets nothing pass.
    let unknown = [
        error(400, "INVALID_ARGUMENT"),
        error(404, "IDENTIFIER_NOT_FOUND"),
        error(404, "NOT_FOUND"),
        error(422, "SERVICE_NOT_APPLICABLE"),
        error(422, "UNNECESSARY_IDENTIFIER"),
        error(429, "TOO_MANY_REQUESTS"),
        error(503, "UNAVAILABLE"),
        json!({"status": 500, "raw": ""}),
        json!({"status": 200, "raw": "{\"latestSimCh"}),
        json!({"status": 200, "raw": "{\"latestSimChange\": \"yesterday\"}"}),
        json!({"status": 200, "raw": "{\"latestSimChange\": 5}"}),
        json!({"status": 200, "raw": "{}"}),
        json!({"status": 200, "raw": "x".repeat(100_000)}),
        json!({"status": 307, "raw": "", "headers": {"Location": "/elsewhere"}}),
        json!({"status": 200, "body": {"latestSimChange": null}, "delay": 30}),
    ];
    for answer in unknown {
        let (seen, _) = opened(answer.clone(), not_asked(), quiet());
        assert_eq!(freshness(&seen), ("wait", "phone-not-known"), "{answer}");
        let until_s = second(&gate(&seen, "phone-freshness")["until"]);
        assert!(until_s + 1 >= jiff::Timestamp::now().as_second(), "{answer}");
    }
    for answer in [error(404, "IDENTIFIER_NOT_FOUND"), ok(json!({})), json!({"status": 200, "raw": "[true]"})]
    {
        let (seen, _) = opened(swapped(&long_ago), not_asked(), answer.clone());
        assert_eq!(freshness(&seen), ("wait", "phone-not-known"), "{answer}");
    }
    assert!(operator.asked("elsewhere").is_empty(), "a number goes nowhere else");
    // A token that counts no longer is replaced; the local feed is judged beside the operator.
    assert_eq!(operator.tokens(), (2, 0), "one for each API, used again");
    operator.says("revoke", json!(true));
    let (seen, _) = opened(swapped(&long_ago), not_asked(), quiet());
    assert_eq!((freshness(&seen), operator.tokens()), (("pass", "phone-unchanged"), (4, 2)));
    let told = json!({"phone": "+77015558900", "change": "ported", "time": yesterday});
    assert_eq!(gate_.portal("POST /v1/phones/changes", told).status, 202);
    let id = gate_.open("ported", loan(&iin(2500), "+77015558900", "1000"));
    assert_eq!(freshness(&gate_.look(&id)), ("wait", "number-ported"));
    let mut http = Client::new(gate_.address);
    for how in ["answered", "refused", "away"] {
        let name = format!("qalqan_loans_operator_questions_total{{api=\"sim-swap\",how=\"{how}\"}}");
        assert!(http.metric(&name) >= 2.0, "{how}");
    }
    let log = gate_.node.as_ref().unwrap().log();
    assert!(log.contains("sim-swap") && !log.contains("7701555"), "{log}");
    operator.has_no_fault();
}

/// Killed while it waits for an operator that does not answer, and started again: the phone is asked about until it is known.
#[test]
fn a_confirmed_loan_waits_until_the_operator_answers() {
    for postgres in [None, Some(Postgres::start())] {
        let operator = Operator::new();
        let mut gate_ = Gate::new(postgres, "", &format!("{REQUIRED}{}", operator.phones()));
        operator.says(RETRIEVE, error(503, "UNAVAILABLE"));
        operator.says(FORWARDED, ok(json!({"active": false})));
        let phone = "+77015558950";
        let id = gate_.open("waits", loan(&iin(3000), phone, "1000"));
        let code = gate_.code(&id, phone);
        operator.says(RETRIEVE, json!({"status": 200, "body": {"latestSimChange": null}, "delay": 30}));
        let seen = gate_.enter(&id, "confirm", &code).json();
        assert_eq!((&seen["state"], freshness(&seen)), (&json!("confirming"), ("wait", "phone-not-known")));
        gate_.crash();
        gate_.start(0);
        operator.says(RETRIEVE, ok(json!({"latestSimChange": null})));
        wait(|| gate_.look(&id)["state"] == "approved", || gate_.look(&id).to_string());
        // What was said serves consents for an hour, and no longer.
        let asked = || operator.asked(FORWARDED).len();
        let before = asked();
        let second = gate_.open("soon", loan(&iin(3020), phone, "1000"));
        let code = gate_.code(&second, phone);
        assert_eq!(gate_.enter(&second, "confirm", &code).json()["state"], "approved");
        assert_eq!(asked(), before);
        let third = gate_.open("late", loan(&iin(3040), phone, "1000"));
        gate_.crash();
        gate_.start(2);
        operator.says(FORWARDED, ok(json!({"active": true})));
        let code = gate_.code(&third, phone);
        let answer = gate_.enter(&third, "confirm", &code).json();
        assert_eq!(
            (&answer["state"], freshness(&answer)),
            (&json!("refused"), ("refuse", "calls-forwarded"))
        );
        assert_eq!(asked(), before + 1);
        operator.has_no_fault();
    }
}

/// It is let alone, and nobody waits for it; each API by itself.
#[test]
fn an_operator_that_fails_is_not_asked_for_a_while() {
    let operator = Operator::new();
    let rest = "failures = 3\nrest-s = 60\n";
    let swap = operator.table("sim-swap", "sim-swap/v2");
    let forwarding = operator.table("call-forwarding", "call-forwarding-signal/v0.4");
    let gate_ =
        Gate::new(None, "", &format!("{REQUIRED}{swap}{rest}{forwarding}{rest}{}{rest}", operator.codes()));
    operator.says(FORWARDED, ok(json!({"active": false})));
    let open = |n: u32| {
        let id = gate_
            .open(&format!("rests-{n}"), loan(&iin(4000 + 20 * n), &format!("+770155590{n:02}"), "1000"));
        let seen = gate_.look(&id);
        assert_eq!(freshness(&seen), ("wait", "phone-not-known"), "{seen}");
        (id, second(&gate(&seen, "phone-freshness")["until"]))
    };
    // Late, broken and 5xx are failures in a row; what it answers otherwise is none, and ends a row.
    for (n, answer) in [
        error(503, "UNAVAILABLE"),
        json!({"status": 200, "raw": "{\"latestSimCh"}),
        error(429, "TOO_MANY_REQUESTS"),
        error(500, "INTERNAL"),
        json!({"status": 200, "raw": "{\"latestSimCh"}),
        json!({"status": 200, "body": {"latestSimChange": null}, "delay": 30}),
    ]
    .into_iter()
    .enumerate()
    {
        operator.says(RETRIEVE, answer);
        open(n as u32);
    }
    operator.says(RETRIEVE, ok(json!({"latestSimChange": null})));
    let now_s = jiff::Timestamp::now().as_second();
    for n in 6..10 {
        let (_, until_s) = open(n);
        // It rests for 60 s from a moment ago; who waits is told no earlier one.
        assert!(until_s > now_s + 30, "{until_s} {now_s}");
    }
    assert_eq!((operator.asked(RETRIEVE).len(), operator.asked(FORWARDED).len()), (6, 10));
    let (id, _) = open(10);
    let send = |key: &str| gate_.bank(&format!("POST /v1/loans/{id}/code"), key, Value::Null);
    operator.says(SEND, error(503, "UNAVAILABLE"));
    for _ in 0..3 {
        assert_eq!(send("again").problem(), "operator-away");
    }
    operator.says(SEND, ok(json!({"authenticationId": "ea0840f3-3663-4149-bd10-c7c6b8912105"})));
    for _ in 0..8 {
        // None of them counts towards a limit, and the key may be used again.
        assert_eq!(send("again").problem(), "operator-away");
    }
    assert_eq!(operator.asked(SEND).len(), 3);
    let mut http = Client::new(gate_.address);
    let mut metric = |api: &str, how: &str| {
        http.metric(&format!("qalqan_loans_operator_questions_total{{api=\"{api}\",how=\"{how}\"}}"))
    };
    assert_eq!(
        (metric("one-time-password-sms", "away"), metric("one-time-password-sms", "resting")),
        (3.0, 8.0)
    );
    assert!(metric("sim-swap", "resting") >= 5.0);
    assert_eq!(metric("call-forwarding-signal", "resting"), 0.0);
    let log = gate_.node.as_ref().unwrap().log();
    assert_eq!(log.matches("one-time-password-sms: ").count(), 1, "said once: {log}");
}

/// One question tries whether it is there again; if not, it rests for twice as long.
#[test]
fn one_question_tries_an_operator_that_rested() {
    let operator = Operator::new();
    let gate_ = Gate::new(None, "", &format!("{}failures = 2\nrest-s = 5\n", operator.codes()));
    let phone = "+77015559100";
    let id = gate_.open("tries", loan(&iin(4300), phone, "1000"));
    let send = || gate_.bank(&format!("POST /v1/loans/{id}/code"), "", Value::Null).status;
    operator.says(SEND, error(503, "UNAVAILABLE"));
    wait(
        || {
            assert_eq!(send(), 503);
            operator.asked(SEND).len() == 3
        },
        || "two failures and the question that tries".to_owned(),
    );
    operator.says(SEND, ok(json!({"authenticationId": "ea0840f3-3663-4149-bd10-c7c6b8912105"})));
    assert_eq!((send(), send(), operator.asked(SEND).len()), (503, 503, 3));
    wait(|| send() == 202, || "the operator is asked again".to_owned());
    assert_eq!((operator.asked(SEND).len(), send(), operator.asked(SEND).len()), (4, 202, 5));
    operator.has_no_fault();
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let fine = "url = \"https://a.example/sim-swap/v2\"\ntoken-url = \"https://a.example/token\"\nclient-id = \"x\"\n\
                client-secret = \"secret\"\n";
    for (from, to, said) in [
        ("https://a.example/sim-swap", "http://a.example/sim-swap", "https://, or http:// on this machine"),
        ("https://a.example/token", "ftp://a.example/token", "https://"),
        ("https://a.example/token", "https://u:p@a.example/token", "names of users"),
        ("https://a.example/sim-swap/v2", "sim-swap", "not a URL"),
        ("\"secret\"", "\"none\"", "no such file"),
        ("\"secret\"", "\"env:QALQAN_NO_SUCH\"", "no environment variable"),
        ("\"secret\"", "\"open\"", "chmod 600"),
        ("client-id = \"x\"\n", "", "missing field `client-id`"),
        ("client-id = \"x\"\n", "client-id = \"x\"\ntimeout-ms = 5\n", "timeout-ms is not between"),
        ("client-id = \"x\"\n", "client-id = \"x\"\nrest-s = 0\n", "rest-s is not between"),
        ("client-id = \"x\"\n", "client-id = \"x\"\nca = \"open\"\n", "no certificate"),
        ("client-id = \"x\"\n", "client-id = \"x\"\nmore = 1\n", "unknown field `more`"),
        ("", "", "set phone-freshness = \"required\""),
    ] {
        let required = if from.is_empty() { "" } else { REQUIRED };
        let (site, _) = rig::http::site(&format!(
            "[loans]\nkeys = \"k\"\nsigning-key = \"s\"\nclients = \"c\"\nsms-spool = \"sms\"\n{required}[loans.sim-swap]\n{}",
            if from.is_empty() { fine.to_owned() } else { fine.replace(from, to) }
        ));
        site.write("open", "a 00");
        site.write("secret", "s");
        std::fs::set_permissions(site.path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let error = site.refused(&["config", "check"]);
        assert!(error.contains(said), "{to}: {error}");
    }
}
