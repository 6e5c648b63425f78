//! The loan gate through its doors: HTTP as a creditor speaks it, texts as they lie in the spool, calls by SIP; on SQLite and on
//! a real PostgreSQL.

use crate::rig;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::channel;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rig::http::{Answer, Client, site};
use rig::loans::{Gate, gate, iin, loan, wrong_iin};
use rig::postgres::on_each_store;
use rig::{INTERNATIONAL, Invite, Switch, wait};
use serde_json::{Value, json};

/// From the application to the money, a crash after each step, and the document at the end.
#[test]
fn a_loan_is_confirmed_by_the_person_it_is_for() {
    on_each_store(|postgres| {
        let mut gate_ = Gate::new(postgres, "", "");
        let (iin, phone) = (iin(100), "+77011234567");
        // Above 150 MCI of any year until 2034 at the latest rate of growth, below 255 MCI of 2025.
        let id = gate_.open("first", loan(&iin, phone, "900000.00"));
        gate_.crash();
        gate_.start(0);
        let seen = gate_.look(&id);
        assert_eq!((&seen["state"], &seen["answer"]), (&json!("confirming"), &json!("wait")));
        assert_eq!(gate(&seen, "phone-possession")["reason"], "code-not-entered");
        assert_eq!(gate(&seen, "living-face")["answer"], "not-asked");
        let shown = seen.to_string();
        assert!(!shown.contains(&iin) && !shown.contains(phone), "{shown}");
        // The same request again is the same application.
        assert_eq!(gate_.open("first", loan(&iin, phone, "900000.00")), id);
        let other = gate_.bank("POST /v1/loans", "first", loan(&iin, phone, "900001.00"));
        assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-key-reused"));
        let none = gate_.bank("POST /v1/loans", "", loan(&iin, phone, "900000.00"));
        assert_eq!((none.status, none.problem().as_str()), (400, "no-idempotency-key"));

        assert_eq!(gate_.enter(&id, "confirm", "000000").problem(), "no-open-code");
        let code = gate_.code(&id, phone);
        gate_.crash();
        gate_.start(0);
        let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
        let answer = gate_.enter(&id, "confirm", &wrong);
        assert_eq!((answer.status, answer.problem().as_str()), (422, "wrong-code"));
        assert_eq!(gate_.enter(&id, "consent", &code).problem(), "wrong-state");
        let answer = gate_.enter(&id, "confirm", &code);
        assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("cooling")), "{answer:?}");
        assert_eq!(
            gate_.bank(&format!("POST /v1/loans/{id}/code"), "", Value::Null).problem(),
            "wrong-state"
        );
        assert_eq!(
            gate_.bank(&format!("GET /v1/loans/{id}/document"), "", Value::Null).problem(),
            "wrong-state"
        );
        gate_.crash();
        gate_.start(9);
        assert_eq!(gate_.look(&id)["state"], "consenting");
        let code = gate_.code(&id, phone);
        let answer = gate_.enter(&id, "consent", &code);
        assert_eq!(
            (answer.json()["state"].as_str(), answer.json()["answer"].as_str()),
            (Some("approved"), Some("pass")),
            "{answer:?}"
        );
        gate_.crash();
        gate_.start(9);
        assert_eq!(
            gate_.bank(&format!("POST /v1/loans/{id}/cancel"), "", Value::Null).problem(),
            "wrong-state"
        );
        let document = gate_.bank(&format!("GET /v1/loans/{id}/document"), "", Value::Null);
        assert_eq!(document.header("content-type"), Some("application/jose"));
        let parts: Vec<&str> = document.body.split('.').collect();
        let said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert_eq!((said["iin"].as_str(), said["state"].as_str()), (Some(iin.as_str()), Some("approved")));
        let events: Vec<&str> =
            said["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
        let order = [
            "application_opened",
            "code_sent",
            "code_mismatched",
            "phone_confirmed",
            "loan_confirmed",
            "cooling_off_ended",
            "code_sent",
            "second_consent_given",
            "loan_approved",
        ];
        let mut left = events.iter();
        assert!(order.iter().all(|wanted| left.any(|event| event == wanted)), "{events:?}");
        assert!(!said.to_string().contains("hash"));
        is_signed(&gate_, &document.body);
        // Who looked is written down, and no personal data stands in the open in the store.
        let looks = gate_.site.ok(&["loan", "looks", "--limit", "100000"]);
        for what in ["open", "look", "code", "confirm", "consent", "document"] {
            assert!(looks.contains(&format!("bank {what} {id}")), "{what}: {looks}");
        }
        if gate_.postgres.is_none() {
            drop(gate_.node.take());
            for file in ["loans.db", "loans.db-wal"] {
                let bytes = std::fs::read(gate_.site.path(file)).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                assert!(
                    !text.contains(&iin) && !text.contains("77011234567") && !text.contains(&code),
                    "{file}"
                );
            }
        }
    });
}

/// By another hand: openssl checks the Ed25519 signature with the public half that `/v1/loans/keys` gives.
#[track_caller]
fn is_signed(gate: &Gate, jws: &str) {
    let keys = Client::new(gate.address).get("/v1/loans/keys").json();
    let x = URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &x].concat();
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    gate.site.write("key.der", spki);
    gate.site.write("signed", signed);
    gate.site.write("signature", URL_SAFE_NO_PAD.decode(signature).unwrap());
    let verify = |file: &str| {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(gate.site.directory.path());
        openssl.args([
            "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin", "-in", file,
        ]);
        openssl.args(["-sigfile", "signature"]).output().expect("openssl runs").status.success()
    };
    assert!(verify("signed"));
    gate.site.write("changed", signed.replacen('e', "f", 1));
    assert!(!verify("changed"));
}

#[test]
fn a_ban_refuses_and_tells_the_person() {
    on_each_store(|postgres| {
        let gate_ = Gate::new(postgres, "", "");
        let (iin, own) = (iin(200), "+77015550001");
        let under_way = gate_.open("before", loan(&iin, "+77015550009", "1000"));
        let ban = gate_.portal("POST /v1/bans/set", json!({"iin": iin, "phone": own}));
        assert_eq!((ban.status, &ban.json()["banned"]), (200, &json!(true)), "{ban:?}");
        assert_eq!(gate_.look(&under_way)["state"], "refused", "a ban is in force at once");
        assert!(gate_.text(own).contains("1000.00"));
        let id = gate_.open("after", loan(&iin, "+77015550009", "2000"));
        let seen = gate_.look(&id);
        assert_eq!(
            (&seen["answer"], &gate(&seen, "self-ban")["reason"]),
            (&json!("refuse"), &json!("ban-in-force"))
        );
        assert!(gate_.text(own).contains("2000.00"), "told on his own phone, not on the applicant's");
        let lift = gate_.portal("POST /v1/bans/lift", json!({"iin": iin})).json();
        assert!(lift["banned"] == true && lift["lifts"].is_string(), "{lift}");
        assert_eq!(gate_.portal("POST /v1/bans/retrieve", json!({"iin": iin})).json(), lift);
        // A bank may neither set bans nor see them.
        let answer = gate_.bank("POST /v1/bans/retrieve", "", json!({"iin": iin}));
        assert_eq!((answer.status, answer.problem().as_str()), (403, "insufficient-scope"));
    });
}

#[test]
fn a_code_cannot_be_guessed_and_two_answers_at_once_are_one() {
    on_each_store(|postgres| {
        let gate_ = Gate::new(postgres, "", "");
        let id = gate_.open("guess", loan(&iin(300), "+77015550002", "1000"));
        let mut tried = 0;
        loop {
            let sent = gate_.bank(&format!("POST /v1/loans/{id}/code"), "", Value::Null);
            if sent.status != 202 {
                assert_eq!((sent.status, sent.problem().as_str()), (429, "too-many-codes"), "{sent:?}");
                break;
            }
            let text = gate_.text("+77015550002");
            let mut guesses = (0..1000).map(|n| format!("{n:06}")).filter(|guess| !text.contains(guess));
            while gate_.enter(&id, "confirm", &guesses.next().unwrap()).problem() == "wrong-code" {
                tried += 1;
            }
            if gate_.look(&id)["state"] == "refused" {
                break;
            }
        }
        assert_eq!(tried, 15, "five codes of three tries");
        let seen = gate_.look(&id);
        assert_eq!(
            (&seen["state"], &gate(&seen, "phone-possession")["reason"]),
            (&json!("refused"), &json!("codes-used-up"))
        );
        // The number has had its five codes of this hour, whoever asks.
        let again = gate_.open("again", loan(&iin(300), "+77015550002", "1000"));
        let sent = gate_.bank(&format!("POST /v1/loans/{again}/code"), "", Value::Null);
        assert_eq!((sent.status, sent.problem().as_str()), (429, "too-many-codes"));

        let id = gate_.open("twice", loan(&iin(301), "+77015550003", "1000"));
        let code = gate_.code(&id, "+77015550003");
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let enter = || gate_.enter(&id, "confirm", &code);
            let both = [scope.spawn(enter), scope.spawn(enter)];
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{answers:?}");
        assert_eq!(gate_.look(&id)["state"], "approved");
    });
}

#[test]
fn a_suspicious_call_makes_a_loan_wait_and_is_known_after_a_crash() {
    let mut gate_ = Gate::new(None, "", "");
    let phone = "+77011112233";
    let scam = |gate: &Gate| {
        gate.bank("POST /v1/signals/scam", "", json!({"phone": phone})).json()["suspicious_call"].clone()
    };
    wait(|| scam(&gate_) == "none", || "the journal is read".to_owned());
    {
        let node = gate_.node.as_ref().unwrap();
        let switch = Switch::on(INTERNATIONAL, node);
        // A home fixed number from abroad: R08 blocks it.
        let answer = switch.invite(&Invite {
            from: "sip:+77272501234@abroad.example",
            to: phone,
            ..Invite::default()
        });
        assert!(answer.starts_with("SIP/2.0 603"), "{answer}");
    }
    assert_eq!(scam(&gate_), "within-5-min");
    gate_.crash();
    gate_.start(0);
    wait(|| scam(&gate_) == "within-5-min", || "the call of before the crash".to_owned());
    let id = gate_.open("lured", loan(&iin(400), phone, "1000"));
    assert!(gate_.text(phone).contains("алаяқ"), "he is warned in his language");
    let seen = gate_.look(&id);
    let call = gate(&seen, "suspicious-call");
    assert_eq!((&call["answer"], &call["reason"]), (&json!("wait"), &json!("call-with-suspect")));
    assert!(call["until"].is_string() && !seen.to_string().contains("7272501234"), "{seen}");
    let code = gate_.code(&id, phone);
    assert_eq!(gate_.enter(&id, "confirm", &code).json()["state"], "confirming");
    // Half an hour later the gate opens by itself.
    gate_.crash();
    gate_.start(1);
    wait(|| gate_.look(&id)["state"] == "approved", || gate_.look(&id).to_string());
}

#[test]
fn a_webhook_is_signed_and_sent_until_it_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (send, taken) = channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let length = |head: &str| {
                head.lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            };
            loop {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).unwrap_or(0);
                bytes.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let whole = text.split_once("\r\n\r\n").map(|(head, body)| (length(head), body.len()));
                if read == 0
                    || whole.is_some_and(|(length, body)| length.is_none_or(|length: usize| body >= length))
                {
                    break;
                }
            }
            let status = if n == 0 { "500 Later" } else { "204 Taken" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
            let _ = send.send(String::from_utf8(bytes).unwrap());
        }
    });
    let gate_ = Gate::new(None, &url, "");
    let id = gate_.open("hooked", loan(&iin(500), "+77015550004", "1000"));
    let [first, second] =
        [(); 2].map(|()| taken.recv_timeout(std::time::Duration::from_secs(20)).expect("a webhook"));
    let part = |request: &str| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        (field("qalqan-webhook-id").unwrap(), field("qalqan-signature").unwrap(), body.to_owned())
    };
    let ((first_id, ..), (id_again, signature, body)) = (part(&first), part(&second));
    assert_eq!(first_id, id_again, "what is sent again has the same id");
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&said["loan"], &said["type"], &said["state"]),
        (&json!(id), &json!("loan_changed"), &json!("confirming"))
    );
    let (time, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    gate_.site.write("said", format!("{time}.{body}"));
    let openssl = Command::new("openssl")
        .current_dir(gate_.site.directory.path())
        .args(["dgst", "-sha256", "-hmac", &gate_.webhook_secret, "said"])
        .output()
        .expect("openssl runs");
    assert!(String::from_utf8_lossy(&openssl.stdout).trim().ends_with(tag), "{signature}");
}

/// Killed in the middle of many openings: a request sent again with its key is done once.
#[test]
fn nothing_is_lost_or_done_twice_when_it_is_killed_in_mid_request() {
    on_each_store(|postgres| {
        let mut gate_ = Gate::new(postgres, "", "");
        let token = gate_.token(&gate_.bank.0, &gate_.bank.1);
        let bodies: Vec<String> =
            (0..60).map(|n| loan(&iin(1000 + 20 * n), "+77015550005", "1000").to_string()).collect();
        let before: Vec<Option<String>> = std::thread::scope(|scope| {
            let (token, bodies, address) = (&token, &bodies, gate_.address);
            let opening = scope.spawn(move || {
                let mut client = Client::new(address);
                let mut ids = Vec::new();
                for (n, body) in bodies.iter().enumerate() {
                    client.send(format!(
                        "POST /v1/loans HTTP/1.1\r\nHost: qalqan\r\nAuthorization: Bearer {token}\r\n\
                         Content-Type: application/json\r\nIdempotency-Key: mid-{n}\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    ));
                    let answer = client.answer();
                    ids.push(answer.map(|answer| answer.json()["id"].as_str().unwrap().to_owned()));
                    if ids.last().unwrap().is_none() {
                        break;
                    }
                }
                ids
            });
            std::thread::sleep(std::time::Duration::from_millis(150));
            gate_.node.take().unwrap().kill();
            opening.join().unwrap()
        });
        gate_.start(0);
        let mut ids = Vec::new();
        for (n, body) in bodies.iter().enumerate() {
            let answer = gate_.ask_as(&token, "POST /v1/loans", &format!("mid-{n}"), body);
            assert_eq!(answer.status, 201, "{answer:?}");
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            if let Some(Some(answered)) = before.get(n) {
                assert_eq!(*answered, id, "answered before the crash");
            }
            ids.push(id);
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), bodies.len());
        let opened = gate_.site.ok(&["loan", "looks", "--limit", "100000"]);
        assert_eq!(opened.lines().filter(|line| line.contains(" bank open ")).count(), bodies.len());
    });
}

#[test]
fn keys_are_replaced_while_loans_go_on() {
    on_each_store(|postgres| {
        let mut gate_ = Gate::new(postgres, "", "phone-freshness = \"required\"\n");
        let (banned, phone, swapped) = (iin(600), "+77015550006", "+77015550016");
        gate_.portal("POST /v1/bans/set", json!({"iin": banned}));
        let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
        let now = String::from_utf8(now).unwrap().trim().to_owned();
        let change = json!({"phone": swapped, "change": "sim-swapped", "time": now});
        assert_eq!(gate_.portal("POST /v1/phones/changes", change).status, 202);
        let id = gate_.open("old-key", loan(&iin(601), phone, "1000"));
        // A text that cannot be laid stays queued, under the old key.
        std::fs::rename(gate_.site.path("sms"), gate_.site.path("away")).unwrap();
        assert_eq!(gate_.bank(&format!("POST /v1/loans/{id}/code"), "", Value::Null).status, 202);
        let old = gate_.site.read("loans.keys");
        gate_.site.ok(&["loan", "key", "loans.keys"]);
        gate_.crash();
        gate_.start(0);
        assert_eq!(gate_.portal("POST /v1/bans/retrieve", json!({"iin": banned})).json()["banned"], true);
        let said = gate_.site.ok(&["loan", "rotate-keys"]);
        assert!(said.starts_with("5 rows"), "application, ban, phone, text, answer: {said}");
        assert!(gate_.site.ok(&["loan", "rotate-keys"]).starts_with("0 rows"));
        // The old key is not needed any more.
        let keys = gate_.site.read("loans.keys");
        gate_.crash();
        gate_.site.write("loans.keys", keys.strip_suffix(&old).unwrap());
        std::fs::rename(gate_.site.path("away"), gate_.site.path("sms")).unwrap();
        // What was tried in vain waits; a minute later it is tried again.
        gate_.start_ahead("+61s");
        assert_eq!(gate_.portal("POST /v1/bans/retrieve", json!({"iin": banned})).json()["banned"], true);
        assert_eq!(gate_.look(&id)["state"], "confirming");
        assert_eq!(gate_.open("old-key", loan(&iin(601), phone, "1000")), id, "a repeated request is known");
        let other = gate_.open("swapped", loan(&iin(602), swapped, "1000"));
        assert_eq!(gate(&gate_.look(&other), "phone-freshness")["reason"], "sim-swapped");
        assert!(gate_.text(phone).contains("1000.00"), "the text of before is sent");
        let code = gate_.code(&id, phone);
        assert_eq!(gate_.enter(&id, "confirm", &code).json()["state"], "approved");
    });
}

#[test]
fn bad_input_gets_one_clear_answer() {
    let gate_ = Gate::new(None, "", "phone-freshness = \"required\"\nliving-face = \"required\"\n");
    let fine = iin(700);
    let wrong_digit = wrong_iin();
    for (field, value, said) in [
        ("iin", json!(wrong_digit), "does not fit"),
        ("iin", json!("123"), "12 digits"),
        ("phone", json!("87011234567"), "E.164"),
        ("sum", json!("0"), "above 0"),
        ("sum", json!("1,5"), "decimals"),
        ("currency", json!("USD"), "KZT"),
        ("kind", json!("gift"), "refinancing"),
        ("channel", json!("fax"), "branch"),
        ("term_days", json!(0), "term_days"),
        ("term_days", json!("x"), "invalid type"),
        ("language", json!("de"), "kk"),
    ] {
        let mut body = loan(&fine, "+77015550007", "1000");
        body[field] = value;
        let answer = gate_.bank("POST /v1/loans", "bad", body);
        assert_eq!((answer.status, answer.problem().as_str()), (422, "invalid-request"), "{answer:?}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(said) && !detail.contains(&fine[..11]), "{field}: {detail}");
    }
    let unknown = "0".repeat(32);
    assert_eq!(gate_.bank(&format!("GET /v1/loans/{unknown}"), "", Value::Null).problem(), "not-found");
    assert_eq!(gate_.bank("GET /v1/loans/1", "", Value::Null).problem(), "not-found");
    let mut http = Client::new(gate_.address);
    assert_eq!(http.get(&format!("/v1/loans/{unknown}")).problem(), "no-key");
    assert_eq!(gate_.ask_as("x", "POST /v1/loans", "k", "{}").problem(), "wrong-key");
    let form = "POST /oauth2/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
    for (body, status, error) in [
        ("grant_type=client_credentials&client_id=bank&client_secret=wrong", 401, "invalid_client"),
        ("grant_type=password&client_id=bank", 400, "unsupported_grant_type"),
        ("client_id=bank", 400, "invalid_request"),
        ("grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        ("grant_type=client_credentials&client_id=%zz", 400, "invalid_request"),
    ] {
        let answer = http.ask(form, body);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{body}");
    }
    let scope =
        format!("grant_type=client_credentials&client_id=bank&client_secret={}&scope=bans", gate_.bank.1);
    assert_eq!(http.ask(form, scope).json()["error"], "invalid_scope");

    // A gate that is required and cannot be asked waits; a changed phone waits.
    let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    let now = String::from_utf8(now).unwrap().trim().to_owned();
    let told = gate_.portal(
        "POST /v1/phones/changes",
        json!({"phone": "+77015550008", "change": "sim-swapped", "time": now}),
    );
    assert_eq!(told.status, 202, "{told:?}");
    let id = gate_.open("required", loan(&fine, "+77015550008", "1000"));
    let code = gate_.code(&id, "+77015550008");
    let seen = gate_.enter(&id, "confirm", &code).json();
    assert_eq!(seen["state"], "confirming");
    assert_eq!(
        (&gate(&seen, "phone-freshness")["answer"], &gate(&seen, "phone-freshness")["reason"]),
        (&json!("wait"), &json!("sim-swapped"))
    );
    assert_eq!(
        (&gate(&seen, "living-face")["answer"], &gate(&seen, "living-face")["reason"]),
        (&json!("wait"), &json!("not-configured"))
    );
    let cancelled = gate_.bank(&format!("POST /v1/loans/{id}/cancel"), "", Value::Null).json();
    assert_eq!((&cancelled["state"], &cancelled["answer"]), (&json!("cancelled"), &json!("refuse")));
    assert!(http.metric("qalqan_loans_opened_total") >= 1.0);
    let page = http.get("/metrics").body;
    let docs = std::fs::read_to_string(rig::repository().join("docs/lending.md")).unwrap();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE qalqan_loans")?.split(' ').next());
    let types: Vec<&str> = types.collect();
    assert!(
        types.len() > 5 && types.iter().all(|name| docs.contains(&format!("`qalqan_loans{name}`"))),
        "{types:?}"
    );

    for (table, said) in [
        ("keys = \"none\"", "no such file"),
        ("keys = \"env:QALQAN_NO_SUCH\"", "no environment variable"),
        ("keys = \"open\"", "chmod 600"),
        ("keys = \"loans.keys\"\nrulebook = \"xx\"", "not the shipped one"),
    ] {
        let (site, _) =
            site(&format!("[loans]\nsigning-key = \"s\"\nclients = \"c\"\nsms-spool = \"sms\"\n{table}\n"));
        site.write("open", "a 00");
        let error = site.refused(&["config", "check"]);
        assert!(error.contains(said), "{table}: {error}");
    }
}
