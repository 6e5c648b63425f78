//! The camera step of the citizen's page, and the contract with a provider that judges faces: a real browser with Chromium's own
//! made-up camera, pictures posted by hand, a provider that the test plays.

use crate::page::{Citizen, PAGE, code_in, link, open, opened, word};
use crate::rig;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rig::browser::Browser;
use rig::http::{Answer, Client};
use rig::loans::{Gate, gate, iin, loan, text_of};
use rig::postgres::Postgres;
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A provider: what it was asked (head and body), and what it answers next: status and body.
struct Provider {
    url: String,
    asked: Receiver<(String, String)>,
    answers: Sender<(u16, Value)>,
}

fn provider() -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/judge", listener.local_addr().unwrap());
    let ((send, asked), (answers, next)) = (channel(), channel::<(u16, Value)>());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let (head, body) = loop {
                let mut piece = [0; 65536];
                let read = stream.read(&mut piece).unwrap_or(0);
                bytes.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| {
                        line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
                    });
                    if length.is_some_and(|length| body.len() >= length) {
                        break (head.to_owned(), body.to_owned());
                    }
                }
                assert!(read > 0, "the request broke off");
            };
            let Ok((status, answer)) = next.recv() else { return };
            let answer = answer.to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                answer.len()
            );
            let _ = send.send((head, body));
        }
    });
    Provider { url, asked, answers }
}

/// A gate that asks for faces, judged by a provider.
fn gate_with(postgres: Option<Postgres>, provider: &Provider, more: &str) -> Gate {
    let table = format!(
        "living-face = \"required\"\n{PAGE}[loans.face]\nprovider = \"{}\"\nprovider-secret = \"faces.secret\"\n{more}",
        provider.url
    );
    Gate::with_files(postgres, &table, &[("faces.secret", SECRET)])
}

/// A citizen who entered his code: the face is awaited.
pub fn at_the_camera<'g>(gate: &'g Gate, key: &str, n: u32, phone: &str) -> (String, Citizen<'g>) {
    let id = gate.open(key, loan(&iin(n), phone, "1000"));
    let citizen = Citizen::open(gate, &link(gate, &id, phone));
    assert_eq!(citizen.post("face", "").problem(), "wrong-state", "the phone comes first");
    assert_eq!(citizen.post("code", "").status, 202);
    let entered = citizen.post("enter", &json!({"code": code_in(&gate.text(phone))}).to_string());
    assert_eq!(entered.json()["step"], "face", "{entered:?}");
    (id, citizen)
}

pub fn picture(citizen: &Citizen, nonce: &str, jpeg: &[u8]) -> Answer {
    let head = format!(
        "POST /confirm/face/{nonce} HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: image/jpeg",
        citizen.session
    );
    Client::new(citizen.gate.address).ask(&head, jpeg)
}

/// Bytes that begin as a JPEG; each is another's.
fn jpeg(n: u32) -> Vec<u8> {
    [&[0xff, 0xd8, 0xff, 0xe0][..], &n.to_be_bytes()].concat()
}

/// Posts pictures until the face is judged; gives the last answer and the commands in their order.
#[track_caller]
fn shown(citizen: &Citizen, from: u32) -> (Answer, Vec<Value>) {
    let begun = citizen.post("face", "");
    assert_eq!(begun.status, 201, "{begun:?}");
    let mut step = begun.json();
    assert_eq!((&step["step"], &step["steps"], &step["command"]), (&json!(0), &json!(4), &Value::Null));
    let mut commands = Vec::new();
    for n in from..from + 100 {
        let answer = picture(citizen, step["nonce"].as_str().unwrap(), &jpeg(n));
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        if told["nonce"].is_string() {
            step = told;
            commands.push(step["command"].clone());
        } else if !told["seen"].is_number() {
            return (answer, commands);
        }
    }
    panic!("never judged");
}

#[test]
fn a_provider_judges_what_the_camera_took() {
    let provider = provider();
    let gate_ = gate_with(None, &provider, "");
    let phone = "+77015552000";
    let (id, citizen) = at_the_camera(&gate_, "provider", 900, phone);
    // No answer, and one that is none of the contract, use no try up.
    for (status, said) in [(500, json!({})), (200, json!({"outcome": "perhaps"}))] {
        provider.answers.send((status, said)).unwrap();
        assert_eq!(shown(&citizen, u32::from(status) * 1000).0.problem(), "faces-busy");
        provider.asked.recv().unwrap();
    }
    let answer =
        json!({"outcome": "not-the-same", "similarity": 0.1234, "alive": 0.9, "versions": ["model 3"]});
    provider.answers.send((200, answer)).unwrap();
    let (judged, commands) = shown(&citizen, 900_000);
    assert_eq!((judged.status, &judged.json()["judged"]), (200, &json!("not-the-same")), "{judged:?}");
    assert_eq!((&judged.json()["step"], &judged.json()["face_tries_left"]), (&json!("face"), &json!(2)));
    let names: std::collections::BTreeSet<String> = commands.iter().map(Value::to_string).collect();
    assert_eq!((commands.len(), names.len()), (3, 3), "three different commands: {commands:?}");
    let (head, body) = provider.asked.recv().unwrap();
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&said["version"], &said["iin"], &said["commands"]),
        (&json!(1), &json!(iin(900)), &json!(commands))
    );
    let pictures = said["pictures"].as_array().unwrap();
    assert_eq!(STANDARD.decode(pictures[0]["jpeg"].as_str().unwrap()).unwrap(), jpeg(900_000));
    assert!(pictures[0]["command"].is_null() && pictures.last().unwrap()["command"] == commands[2]);
    // By another hand: openssl makes the same signature.
    let line = head.lines().find_map(|line| line.strip_prefix("qalqan-signature: ")).unwrap();
    let (time, tag) = line.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    gate_.site.write("said", format!("{time}.{body}"));
    let openssl = Command::new("openssl")
        .current_dir(gate_.site.directory.path())
        .args(["dgst", "-sha256", "-hmac", SECRET, "said"])
        .output()
        .expect("openssl runs");
    assert!(String::from_utf8_lossy(&openssl.stdout).trim().ends_with(tag), "{line}");

    provider.answers.send((200, json!({"outcome": "matched", "similarity": 0.8}))).unwrap();
    let (judged, _) = shown(&citizen, 910_000);
    assert_eq!((&judged.json()["judged"], &judged.json()["state"]), (&json!("matched"), &json!("approved")));
    provider.asked.recv().unwrap();
    let seen = gate_.look(&id);
    let kept: Vec<&Value> =
        seen["events"].as_array().unwrap().iter().filter(|event| event["event"] == "face_judged").collect();
    assert_eq!(kept.len(), 2);
    assert_eq!((&kept[0]["similarity"], &kept[0]["alive"]), (&json!(123), &json!(900)));
    assert_eq!((&kept[0]["versions"], &kept[0]["commands"]), (&json!(["model 3"]), &json!(commands)));
    assert_eq!(gate(&seen, "living-face")["reason"], "face-matched");
    let mut http = Client::new(gate_.address);
    assert_eq!(http.metric("qalqan_loans_faces_judged_total{outcome=\"not-the-same\"}"), 1.0);
    assert_eq!(http.metric("qalqan_loans_face_sessions"), 0.0);

    // Three failed tries refuse; a look at which nothing was to be seen is none.
    let (id, citizen) = at_the_camera(&gate_, "tries", 901, "+77015552001");
    for (n, (outcome, state)) in [
        ("not-alive", "confirming"),
        ("too-little", "confirming"),
        ("changed", "confirming"),
        ("command-missed", "refused"),
    ]
    .into_iter()
    .enumerate()
    {
        provider.answers.send((200, json!({"outcome": outcome}))).unwrap();
        let judged = shown(&citizen, 920_000 + n as u32 * 1000).0.json();
        assert_eq!((&judged["judged"], &judged["state"]), (&json!(outcome), &json!(state)));
        provider.asked.recv().unwrap();
    }
    assert_eq!(gate(&gate_.look(&id), "living-face")["reason"], "face-tries-used-up");
    assert_eq!(citizen.post("face", "").problem(), "wrong-state");
}

#[test]
fn pictures_are_bound_to_their_session_and_time() {
    let provider = provider();
    let mut gate_ = gate_with(None, &provider, "command-s = 3\nkeep-pictures-h = 1\n");
    {
        let (_, citizen) = at_the_camera(&gate_, "bound", 910, "+77015552010");
        let (_, other) = at_the_camera(&gate_, "other", 911, "+77015552011");
        let nonce = citizen.post("face", "").json()["nonce"].as_str().unwrap().to_owned();
        let theirs = other.post("face", "").json()["nonce"].as_str().unwrap().to_owned();
        assert_eq!(picture(&citizen, &nonce, &jpeg(1)).json()["seen"], 1);
        // The session of somebody else, a picture that came before, one for another's step.
        assert_eq!(picture(&other, &nonce, &jpeg(2)).problem(), "no-face-session");
        assert_eq!(picture(&other, &theirs, &jpeg(1)).problem(), "picture-refused");
        assert_eq!(picture(&citizen, &"0".repeat(32), &jpeg(3)).problem(), "no-face-session");
        assert_eq!(picture(&citizen, &nonce, b"GIF89a").json()["again"], "not-a-picture");
        assert_eq!(picture(&citizen, &nonce, b"").json()["again"], "not-a-picture");
        let head =
            format!("POST /confirm/face/{nonce} HTTP/1.1\r\nAuthorization: Bearer {}", citizen.session);
        let png = Client::new(gate_.address).ask(&format!("{head}\r\nContent-Type: image/png"), jpeg(4));
        assert_eq!((png.status, png.problem().as_str()), (415, "unsupported-media-type"));
        // Refused by its length, before it is sent.
        let mut http = Client::new(gate_.address);
        http.send(format!(
            "{head}\r\nHost: q\r\nContent-Type: image/jpeg\r\nContent-Length: 20000000\r\n\r\n"
        ));
        assert_eq!(http.answer().unwrap().problem(), "body-too-long");
        // Two at once: one is looked at, or both one after the other; never more than that counts.
        std::thread::scope(|scope| {
            for n in [5, 6] {
                let (citizen, nonce) = (&citizen, &nonce);
                scope.spawn(move || {
                    let answer = picture(citizen, nonce, &jpeg(n));
                    assert!(answer.status == 200 || answer.problem() == "picture-refused", "{answer:?}");
                });
            }
        });
        // Begun anew, what came before counts no longer.
        let anew = citizen.post("face", "").json()["nonce"].as_str().unwrap().to_owned();
        assert_eq!(picture(&citizen, &nonce, &jpeg(7)).problem(), "no-face-session");
        assert_eq!(picture(&citizen, &anew, &jpeg(8)).json()["seen"], 1);
        // Too late by the node's clock: the look is over with what came.
        std::thread::sleep(std::time::Duration::from_secs(6));
        provider.answers.send((200, json!({"outcome": "too-little"}))).unwrap();
        assert_eq!(picture(&citizen, &anew, &jpeg(9)).json()["judged"], "too-little");
        let (_, body) = provider.asked.recv().unwrap();
        let said: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(said["pictures"].as_array().unwrap().len(), 1, "the late one is not among them");
        // Each beginning is counted, also those that came to nothing: twelve an application.
        let mut begun = 2;
        while citizen.post("face", "").status == 201 {
            begun += 1;
        }
        assert_eq!(begun, 12);
        assert_eq!(citizen.post("face", "").problem(), "too-many-requests");
    }
    // Killed before the camera, the citizen begins anew; his session stands.
    let (id, citizen) = at_the_camera(&gate_, "killed", 912, "+77015552012");
    let session = citizen.session.clone();
    let nonce = citizen.post("face", "").json()["nonce"].as_str().unwrap().to_owned();
    assert_eq!(picture(&citizen, &nonce, &jpeg(20)).json()["seen"], 1);
    gate_.crash();
    gate_.start(0);
    let citizen = Citizen { gate: &gate_, session };
    assert_eq!(picture(&citizen, &nonce, &jpeg(21)).problem(), "no-face-session");
    provider.answers.send((200, json!({"outcome": "matched"}))).unwrap();
    assert_eq!(shown(&citizen, 30_000).0.json()["judged"], "matched");
    assert_eq!(gate_.look(&id)["state"], "approved");
    drop(gate_.node.take());
    // Pictures that are kept go under a new key with everything else.
    gate_.site.ok(&["loan", "key", "loans.keys"]);
    let said = gate_.site.ok(&["loan", "rotate-keys"]);
    let rows = said.split(' ').next().and_then(|rows| rows.parse::<u32>().ok());
    assert!(rows.is_some_and(|rows| rows >= 3 + 32), "three applications, 32 pictures: {said}");
    // Pictures that are kept are sealed.
    for file in ["loans.db", "loans.db-wal"] {
        let bytes = std::fs::read(gate_.site.path(file)).unwrap_or_default();
        let text = STANDARD.encode(jpeg(30_001));
        assert!(!bytes.windows(8).any(|part| part == jpeg(30_001)), "{file}");
        assert!(!String::from_utf8_lossy(&bytes).contains(&text), "{file}");
    }
}

#[test]
fn the_camera_step_is_said_plainly_and_a_refused_camera_can_be_allowed() {
    let provider = provider();
    let gate_ = gate_with(None, &provider, "");
    let browser = Browser::start(&[]);
    let phone = "+77015552020";
    let id = gate_.open("camera", loan(&iin(920), phone, "1000"));
    let page = opened(&browser, &gate_, &link(&gate_, &id, phone));
    page.press("#go");
    page.enter("#code", &code_in(&gate_.text(phone)));
    page.wait_for_text(&word("kk", "face-title"));
    page.is_accessible();
    page.press("#camera-on");
    page.wait_for_text(&word("kk", "camera-refused"));
    page.is_accessible();
    browser.allow_camera(&format!("http://{}", gate_.address));
    provider.answers.send((200, json!({"outcome": "not-alive"}))).unwrap();
    page.press("#camera-on");
    page.wait_for_text(&word("kk", "command-rest"));
    page.is_accessible();
    page.wait("document.querySelector('#command-picture use').getAttribute('href') !== '#command-rest'");
    page.wait_for_text(&word("kk", "face-not-alive"));
    page.wait_for_text(&word("kk", "face-tries").replace("{tries}", "2"));
    page.is_accessible();
    assert_eq!(page.value("document.querySelector('#video').srcObject"), Value::Null, "the camera is off");
    let (_, body) = provider.asked.recv().unwrap();
    let said: Value = serde_json::from_str(&body).unwrap();
    let jpeg = STANDARD.decode(said["pictures"][0]["jpeg"].as_str().unwrap()).unwrap();
    assert!(jpeg.starts_with(&[0xff, 0xd8, 0xff]) && jpeg.len() < 200_000, "{}", jpeg.len());
    provider.answers.send((200, json!({"outcome": "matched"}))).unwrap();
    page.press("#camera-on");
    page.wait_for_text(&word("kk", "end-approved"));
    assert_eq!(gate_.look(&id)["state"], "approved");
}

/// A citizen's requests spread over two nodes: only the camera stays where it began.
#[test]
fn a_session_begun_on_one_node_ends_on_another() {
    let provider = provider();
    let first = gate_with(Some(Postgres::start()), &provider, "");
    let second = first.beside();
    let phone = "+77015552040";
    let id = first.open("two-nodes", loan(&iin(940), phone, "1000"));
    let made = second.bank(&format!("POST /v1/loans/{id}/link"), "", json!({})).json();
    let token = made["url"].as_str().unwrap().rsplit_once('#').unwrap().1.to_owned();
    // One link, opened at both at once: one has it.
    let both: Vec<Answer> = std::thread::scope(|scope| {
        let both = [&first, &second].map(|gate| scope.spawn(|| open(gate, &token)));
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut statuses: Vec<u16> = both.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "{both:?}");
    let session = both.iter().find(|answer| answer.status == 201).unwrap().json()["session"]
        .as_str()
        .unwrap()
        .to_owned();
    let at = |gate| Citizen { gate, session: session.clone() };
    let (here, there) = (at(&first), at(&second));
    assert_eq!(here.post("code", "").status, 202);
    // Either node may lay the text into its spool.
    let entered = json!({"code": code_in(&text_of(&[&first, &second], phone))}).to_string();
    // Two answers at once, one at each node: one counts.
    let both: Vec<Answer> = std::thread::scope(|scope| {
        let both = [&here, &there].map(|citizen| scope.spawn(|| citizen.post("enter", &entered)));
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut statuses: Vec<u16> = both.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{both:?}");
    assert_eq!(
        (&here.state().json()["step"], &there.state().json()["step"]),
        (&json!("face"), &json!("face"))
    );
    // Pictures go to the node that began; another says so, and uses nothing up.
    let nonce = here.post("face", "").json()["nonce"].as_str().unwrap().to_owned();
    assert_eq!(picture(&there, &nonce, &jpeg(1)).problem(), "no-face-session");
    assert_eq!(picture(&here, &nonce, &jpeg(2)).json()["seen"], 1);
    provider.answers.send((200, json!({"outcome": "matched"}))).unwrap();
    assert_eq!(shown(&here, 940_000).0.json()["judged"], "matched");
    let seen = there.state().json();
    assert_eq!(seen["state"], "approved", "{seen}");
    assert_eq!(second.look(&id)["state"], "approved");
    assert_eq!(there.post("deny", "").problem(), "wrong-state");
}

#[test]
fn what_is_missing_is_said_in_a_line() {
    let gate_ = Gate::new(None, "", &format!("living-face = \"required\"\n{PAGE}"));
    gate_
        .node
        .as_ref()
        .unwrap()
        .wait_for("the gate living-face waits, for no face can be judged: there is no [loans.face]");
    let id = gate_.open("none", loan(&iin(930), "+77015552030", "1000"));
    assert_eq!(gate(&gate_.look(&id), "living-face")["reason"], "not-configured");
    let photo = gate_.portal("POST /v1/references", json!({"iin": iin(930), "picture": "AAAA"}));
    assert_eq!((photo.status, photo.problem().as_str()), (403, "not-configured"), "{photo:?}");
    let none = gate_.portal("POST /v1/references/delete", json!({"iin": iin(930)}));
    assert_eq!(none.problem(), "not-found");
    for (table, said) in [
        ("[loans.page]\nurl = \"http://bank.example\"", "is not https://"),
        ("[loans.page]\nurl = \"https://q.example\"\naddress-header = \"a b\"", "no name of a header"),
        ("[loans.page]\nurl = \"https://q.example\"\nlink-min = 0", "link-min"),
        ("[loans.face]\nprovider = \"ftp://q.example\"\nprovider-secret = \"short\"", "is not https://"),
        ("[loans.face]\nprovider = \"https://q.example\"", "needs provider-secret"),
        ("[loans.face]\nprovider = \"https://q.example\"\nprovider-secret = \"open\"", "chmod 600"),
        ("[loans.face]\nworkers = 0", "workers"),
    ] {
        let (site, _) = rig::http::site(&format!(
            "[loans]\nkeys = \"k\"\nsigning-key = \"s\"\nclients = \"c\"\nsms-spool = \"sms\"\n{table}\n"
        ));
        site.write("open", SECRET);
        let error = site.refused(&["config", "check"]);
        assert!(error.contains(said), "{table}: {error}");
    }
}
