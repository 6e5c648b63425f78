//! Bad days of the loan gate through its doors: codes guessed from everywhere, the same asked twice at once, a node killed at any
//! moment under load. On SQLite and on a real PostgreSQL.

use crate::rig;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::http::{Answer, Client};
use rig::loans::{Gate, iin, loan, wrong_iin};
use rig::postgres::on_each_store;
use rig::wait;
use serde_json::{Value, json};

/// Asks over a connection that stays open; none: it broke.
fn ask(client: &mut Client, token: &str, what: &str, key: &str, body: &str) -> Option<Answer> {
    let key = if key.is_empty() { String::new() } else { format!("Idempotency-Key: {key}\r\n") };
    client.send(format!(
        "{what} HTTP/1.1\r\nHost: qalqan\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{key}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.answer()
}

fn events(seen: &Value, name: &str) -> usize {
    seen["events"].as_array().unwrap().iter().filter(|event| event["event"] == name).count()
}

/// Refused before the store is asked, and nothing of it is kept there: not the answer, not the key, not a look.
#[test]
fn a_wrong_iin_is_refused_on_each_store() {
    on_each_store(|postgres| {
        let gate_ = Gate::new(postgres, "", "");
        for wrong in
            [wrong_iin(), iin(700)[..11].to_owned(), format!("{}0", iin(700)), "000000000000".to_owned()]
        {
            let answer = gate_.bank("POST /v1/loans", "wrong-iin", loan(&wrong, "+77015550007", "1000"));
            assert_eq!((answer.status, answer.problem().as_str()), (422, "invalid-request"), "{wrong}");
            assert!(answer.json()["detail"].as_str().unwrap().contains("iin"), "{answer:?}");
            for what in ["set", "lift", "retrieve"] {
                let answer = gate_.portal(&format!("POST /v1/bans/{what}"), json!({"iin": wrong}));
                assert_eq!(
                    (answer.status, answer.problem().as_str()),
                    (422, "invalid-request"),
                    "{what} {wrong}"
                );
            }
        }
        let looks =
            || gate_.site.ok(&["loan", "looks"]).lines().filter(|line| !line.contains("scam")).count();
        assert_eq!(looks(), 0);
        let id = gate_.open("wrong-iin", loan(&iin(700), "+77015550007", "1000"));
        assert_eq!(
            (&gate_.look(&id)["state"], looks()),
            (&json!("confirming"), 2),
            "the key was not used up"
        );
    });
}

/// 10,000 guesses over 100 connections of 100 addresses, with a new code asked for again and again.
#[test]
fn a_code_guessed_ten_thousand_times_confirms_nothing() {
    on_each_store(|postgres| {
        let gate = Gate::new(postgres, "", "");
        let phone = "+77017770001";
        let id = gate.open("guessed", loan(&iin(3000), phone, "1000"));
        let token = gate.token(&gate.bank.0, &gate.bank.1);
        let (wrong, refused) = (AtomicU32::new(0), AtomicU32::new(0));
        let guesses = |from: u32| {
            let mut client = Client::from(&format!("127.0.1.{}", 1 + from % 250), gate.address);
            for n in 0..100 {
                let body = json!({"code": format!("{:06}", from * 100 + n)}).to_string();
                let answer = ask(&mut client, &token, &format!("POST /v1/loans/{id}/confirm"), "", &body);
                let answer = answer.expect("the node goes on");
                match answer.status {
                    422 => wrong.fetch_add(1, Ordering::Relaxed),
                    409 => refused.fetch_add(1, Ordering::Relaxed),
                    _ => panic!("{answer:?}"),
                };
            }
        };
        let mut last = None;
        let mut sent = 0;
        for round in 0..10 {
            // Whoever asks for codes says another address each time.
            let body = json!({"address": format!("203.0.113.{round}")}).to_string();
            let what = format!("POST /v1/loans/{id}/code");
            let answer = ask(&mut Client::new(gate.address), &token, &what, "", &body).unwrap();
            if answer.status == 202 {
                sent += 1;
                let text = gate.text(phone);
                let code = text.split(|c: char| !c.is_ascii_digit()).rfind(|part| part.len() == 6).unwrap();
                // The right code is none of the guesses.
                if code.parse::<u32>().unwrap() < 10_000 {
                    continue;
                }
                last = Some(code.to_owned());
            } else {
                assert!(matches!(answer.status, 409 | 429), "{answer:?}");
            }
            std::thread::scope(|scope| {
                (0..10).for_each(|n| drop(scope.spawn(move || guesses(round * 10 + n))));
            });
        }
        assert_eq!(sent, 5, "codes for one consent");
        let (wrong, refused) = (wrong.into_inner(), refused.into_inner());
        assert!(wrong <= 15 && wrong + refused >= 9_000, "{wrong} {refused}");
        let answer = gate.enter(&id, "confirm", &last.expect("a code was sent"));
        assert_eq!(answer.status, 409, "the right code comes too late: {answer:?}");
        let seen = gate.look(&id);
        assert_ne!(seen["answer"], "pass");
        assert_eq!((events(&seen, "phone_confirmed"), events(&seen, "loan_approved")), (0, 0), "{seen}");
        // What was refused left nothing in the store.
        assert_eq!(events(&seen, "code_mismatched") as u32, wrong);
        let looks = gate.site.ok(&["loan", "looks", "--limit", "100000"]);
        let looks: Vec<&str> = looks.lines().filter(|line| line.contains(&id)).collect();
        assert!(looks.len() < 40, "{looks:?}");
    });
}

#[test]
fn the_same_asked_at_once_is_done_once() {
    on_each_store(|postgres| {
        let gate = Gate::new(postgres, "", "");
        let token = gate.token(&gate.bank.0, &gate.bank.1);
        let at_once = |what: &str, key: &str, body: &str| -> Vec<Answer> {
            std::thread::scope(|scope| {
                let one = || ask(&mut Client::new(gate.address), &token, what, key, body).expect("an answer");
                let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            })
        };
        for n in 0..4 {
            let phone = format!("+7701777010{n}");
            let body = loan(&iin(3100 + 20 * n), &phone, "1000").to_string();
            let answers = at_once("POST /v1/loans", &format!("at-once-{n}"), &body);
            let first = &answers[0];
            assert!(answers.iter().all(|one| one.status == 201 && one.body == first.body), "{answers:?}");
            let id = first.json()["id"].as_str().unwrap().to_owned();
            let code = gate.code(&id, &phone);
            let answers =
                at_once(&format!("POST /v1/loans/{id}/confirm"), "", &json!({"code": code}).to_string());
            let mut statuses: Vec<u16> = answers.iter().map(|one| one.status).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409], "{answers:?}");
            let seen = gate.look(&id);
            assert_eq!((events(&seen, "phone_confirmed"), events(&seen, "loan_approved")), (1, 1), "{seen}");
        }
        let looks = gate.site.ok(&["loan", "looks", "--limit", "100000"]);
        assert_eq!(looks.lines().filter(|line| line.contains(" bank open ")).count(), 4);
    });
}

/// Of each loan, the greatest version that a webhook told.
type Told = Arc<Mutex<BTreeMap<String, u64>>>;

/// A creditor's door for webhooks.
fn hook() -> (String, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let told = Told::default();
    let sink = told.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let sink = sink.clone();
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let (mut held, mut piece) = (Vec::new(), [0; 4096]);
                while let Ok(n @ 1..) = stream.read(&mut piece) {
                    held.extend_from_slice(&piece[..n]);
                    let text = String::from_utf8_lossy(&held).into_owned();
                    let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
                    let Ok(said) = serde_json::from_str::<Value>(body) else { continue };
                    let version = said["version"].as_u64().unwrap();
                    let mut told = sink.lock().unwrap();
                    let known = told.entry(said["loan"].as_str().unwrap().to_owned()).or_default();
                    *known = version.max(*known);
                    drop(told);
                    let _ = stream
                        .write_all(b"HTTP/1.1 204 Taken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    break;
                }
            });
        }
    });
    (url, told)
}

/// Opens so many loans over a few connections, as a client; gives their ids.
fn open_many(gate: &Gate, (id, secret): (&str, &str), serials: std::ops::Range<u32>) -> Vec<String> {
    let (token, next) = (gate.token(id, secret), AtomicU32::new(serials.start));
    let opening = || {
        let (mut client, mut opened) = (Client::new(gate.address), Vec::new());
        loop {
            let serial = next.fetch_add(1, Ordering::Relaxed);
            if serial >= serials.end {
                return opened;
            }
            let body = loan(&iin(serial * 2), &format!("+7702{serial:07}"), "1000").to_string();
            let answer =
                ask(&mut client, &token, "POST /v1/loans", &format!("{id}-{serial}"), &body).unwrap();
            assert_eq!(answer.status, 201, "{answer:?}");
            opened.push(answer.json()["id"].as_str().unwrap().to_owned());
        }
    };
    std::thread::scope(|scope| {
        let all = [(); 8].map(|()| scope.spawn(opening));
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    })
}

/// A creditor's door that takes connections and never says a word.
fn silent_hook() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().flatten().collect();
        drop(held);
    });
    url
}

/// One creditor's door hangs with many webhooks before it; another creditor hears at once, of every loan.
#[test]
fn a_creditor_that_hangs_holds_up_no_other() {
    on_each_store(|postgres| {
        let (url, told) = hook();
        let gate = Gate::new(postgres, &url, "");
        let slow = gate.site.ok(&[
            "loan",
            "client",
            "clients.csv",
            "slow",
            "--name",
            "Slow",
            "--class",
            "bank",
            "--webhook",
            &silent_hook(),
        ]);
        let secret = slow.lines().find_map(|line| line.strip_prefix("client_secret ")).unwrap();
        gate.node.as_ref().unwrap().signal("-HUP");
        let is_known = || {
            let form = format!("grant_type=client_credentials&client_id=slow&client_secret={secret}");
            let head = "POST /oauth2/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
            Client::new(gate.address).ask(head, form).status == 200
        };
        wait(is_known, || "the second creditor is known".to_owned());
        open_many(&gate, ("slow", secret), 0..300);
        let ids = open_many(&gate, ("bank", &gate.bank.1), 1000..1040);
        wait(
            || ids.iter().all(|id| told.lock().unwrap().contains_key(id)),
            || format!("webhooks of {} loans; heard of {}", ids.len(), told.lock().unwrap().len()),
        );
        rig::http::wait_for_metric(gate.address, "qalqan_loans_webhooks_sent_total", 40.0);
    });
}

/// What a creditor was told with 2xx of an application.
#[derive(Default)]
struct Known {
    phone: String,
    codes: usize,
    /// The least that it has to be now.
    state: &'static str,
}

/// Opens, sends codes, confirms or cancels until the connection breaks.
fn play(
    gate: SocketAddr,
    token: &str,
    spool: &std::path::Path,
    n: u32,
    stop: &AtomicBool,
) -> Vec<(String, Known)> {
    let mut known = Vec::new();
    let mut client = Client::new(gate);
    for turn in 0..1000 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let serial = n * 1000 + turn;
        let phone = format!("+7702{serial:07}");
        let body = loan(&iin(serial * 2), &phone, "1000").to_string();
        let Some(opened) = ask(&mut client, token, "POST /v1/loans", &format!("kill-{serial}"), &body) else {
            break;
        };
        assert_eq!(opened.status, 201, "{opened:?}");
        let id = opened.json()["id"].as_str().unwrap().to_owned();
        known.push((id.clone(), Known { phone: phone.clone(), codes: 0, state: "confirming" }));
        let it = |what: &str| format!("POST /v1/loans/{id}/{what}");
        if turn % 3 == 0 {
            let Some(cancelled) = ask(&mut client, token, &it("cancel"), "", "") else { break };
            assert_eq!(cancelled.status, 200, "{cancelled:?}");
            known.last_mut().unwrap().1.state = "cancelled";
            continue;
        }
        let Some(sent) = ask(&mut client, token, &it("code"), "", "") else { break };
        assert_eq!(sent.status, 202, "{sent:?}");
        known.last_mut().unwrap().1.codes = 1;
        let mut code = None;
        while code.is_none() && !stop.load(Ordering::Relaxed) {
            code = texts(spool, &phone).pop();
            std::thread::sleep(Duration::from_millis(5));
        }
        let Some(code) = code else { break };
        let Some(confirmed) = ask(&mut client, token, &it("confirm"), "", &json!({"code": code}).to_string())
        else {
            break;
        };
        assert_eq!(confirmed.status, 200, "{confirmed:?}");
        known.last_mut().unwrap().1.state = "approved";
    }
    known
}

/// The codes in the texts to a phone that lie in the spool.
fn texts(spool: &std::path::Path, phone: &str) -> Vec<String> {
    let files = std::fs::read_dir(spool).unwrap().flatten();
    let whole = files.filter(|file| !file.file_name().to_string_lossy().starts_with('.'));
    let to = format!("To: {}\n", phone.trim_start_matches('+'));
    let texts = whole
        .filter_map(|file| std::fs::read_to_string(file.path()).ok()?.strip_prefix(&to).map(str::to_owned));
    let code = |text: String| {
        text.split(|c: char| !c.is_ascii_digit()).rfind(|part| part.len() == 6).map(str::to_owned)
    };
    texts.filter_map(code).collect()
}

#[test]
fn a_node_killed_at_any_moment_loses_nothing_it_answered() {
    on_each_store(|postgres| {
        let (url, told) = hook();
        let mut gate = Gate::new(postgres, &url, "");
        let spool = gate.site.path("sms");
        let mut known = Vec::new();
        for round in 0..5_u32 {
            let token = gate.token(&gate.bank.0, &gate.bank.1);
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let (address, token, spool, stop) = (gate.address, &token, &spool, &stop);
                let playing: Vec<_> = (0..4)
                    .map(|n| scope.spawn(move || play(address, token, spool, 100 + round * 4 + n, stop)))
                    .collect();
                // Another moment each round.
                std::thread::sleep(Duration::from_millis(u64::from(150 + 137 * round % 400)));
                gate.node.take().unwrap().kill();
                stop.store(true, Ordering::Relaxed);
                playing.into_iter().for_each(|one| known.extend(one.join().unwrap()));
            });
            gate.start(0);
        }
        assert!(known.len() > 20, "{} applications", known.len());
        for (id, Known { codes, state, .. }) in &known {
            let seen = gate.look(id);
            let now = seen["state"].as_str().unwrap_or_else(|| panic!("{id} is lost: {seen}"));
            // What was under way when it was killed may have been done, and not been answered.
            assert!(now == *state || *state == "confirming", "{id}: told {state}, is {now}");
            let ends = [("approved", "loan_approved"), ("cancelled", "application_cancelled")];
            for (end, event) in ends {
                assert_eq!(events(&seen, event), usize::from(now == end), "{id}: {seen}");
            }
            assert!(events(&seen, "code_sent") >= *codes, "{id}: {seen}");
        }
        // Each code that was sent is in a text, each event in a webhook: what a killed node had taken to send is sent once its
        // lease is over.
        gate.crash();
        gate.start_ahead("+61s");
        for (id, Known { phone, .. }) in &known {
            let seen = gate.look(id);
            let sent = events(&seen, "code_sent");
            wait(|| texts(&spool, phone).len() >= sent, || format!("the text to {phone}"));
            let version = seen["events"].as_array().unwrap().len() as u64;
            let heard = || told.lock().unwrap().get(id).copied().unwrap_or(0);
            wait(
                || heard() >= version,
                || format!("a webhook of {id}, version {version}; heard {}", heard()),
            );
        }
    });
}
