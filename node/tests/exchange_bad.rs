//! What a node answers other operators that are wrong, and attackers: docs/exchange.md by name and status, through its own
//! door. After all of it an honest question is answered, nothing has panicked, and memory is bounded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::exchange::{OF_ALPHA, OF_BETA, Operator};
use crate::exchange_member::{Answer, Peer, Piece, id, letter, now_ms, own_mb, request, sign};
use crate::rig::Node;
use crate::rig::http::{Client, wait_for_metric};

const JOSE: Option<&str> = Some("application/jose");
const PATH: &str = "/exchange/v1";

/// alpha, whose node runs, and its members beta and gamma, whose parts the test plays.
struct Stage {
    alpha: Operator,
    node: Node,
    beta: Operator,
    gamma: Operator,
}

impl Stage {
    fn new(more: &str, each: &str) -> Stage {
        let alpha = Operator::new("alpha", "\"7701\"");
        let (beta, gamma) = (Operator::new("beta", "\"7702\""), Operator::new("gamma", "\"7705\""));
        alpha.join_limited(&[&beta, &gamma], more, each);
        let node = alpha.site.serve();
        Stage { alpha, node, beta, gamma }
    }

    fn peer(&self, who: &Operator) -> Peer {
        Peer::new(Some((&who.certificate, &who.key)), self.alpha.exchange)
    }

    fn refusals(&self, member: &str, kind: &str, outcome: &str) -> f64 {
        let labels = format!("member=\"{member}\",kind=\"{kind}\",outcome=\"{outcome}\"");
        Client::new(self.alpha.http).metric(&format!("qalqan_exchange_refusals_total{{{labels}}}"))
    }

    fn answers(&self, kind: &str, outcome: &str) -> f64 {
        let labels = format!("member=\"beta\",kind=\"{kind}\",outcome=\"{outcome}\"");
        Client::new(self.alpha.http).metric(&format!("qalqan_exchange_answers_total{{{labels}}}"))
    }

    /// An honest member is answered, its call found.
    #[track_caller]
    fn is_well(&mut self, who: &str) {
        self.alpha.screen("access", OF_ALPHA, OF_BETA);
        let who = if who == "beta" { &self.beta } else { &self.gamma };
        let answer = self.peer(who).post(sign(&who.key, &letter(who.name, "alpha", json!([check()]))));
        assert_eq!(answer.items()[0]["result"], "initiated");
        assert!(self.node.is_running() && !self.node.log().contains("panicked"), "{}", self.node.log());
    }
}

fn check() -> Value {
    json!({"kind": "check", "id": id(), "role": "terminating", "calling": &OF_ALPHA[1..], "called": &OF_BETA[1..],
           "seen_ms": now_ms(), "ingress": "national", "deadline_ms": 200})
}

fn registration() -> Value {
    json!({"kind": "register", "id": id(), "role": "originating", "calling": &OF_BETA[1..],
           "called": &OF_ALPHA[1..], "time_ms": now_ms(), "trunk": "t", "ttl_s": 60})
}

fn roaming() -> Value {
    json!({"kind": "roaming", "id": id(), "calling": &OF_ALPHA[1..], "deadline_ms": 200, "ingress": "beta"})
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

fn without(mut object: Value, key: &str) -> Value {
    object.as_object_mut().unwrap().remove(key);
    object
}

#[test]
fn a_bad_letter_is_refused_by_its_name_and_counted() {
    let mut stage = Stage::new("", "");
    let before_mb = own_mb(stage.node.child.id());
    let key = &stage.beta.key;
    let sound = || letter("beta", "alpha", json!([check()]));
    let signed = |letter: Value| sign(key, &letter).into_bytes();
    let under = |header: &str, jws: String| {
        let rest = jws.split_once('.').unwrap().1;
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header)).into_bytes()
    };
    let raw = |payload: &str| exchange_signer(key).sign(payload.as_bytes()).into_bytes();
    let replayed = signed(sound());
    let mut peer = stage.peer(&stage.beta);
    assert_eq!(peer.post(replayed.clone()).status, 200);
    let stripped = format!("{}.", sign(key, &sound()).rsplit_once('.').unwrap().0);
    let twice = sound().to_string().replacen('{', "{\"version\":1,", 1);
    let mut broken = sign(key, &sound()).into_bytes();
    let middle = broken.len() / 2;
    broken[middle] = if broken[middle] == b'A' { b'B' } else { b'A' };
    let cases: Vec<(u16, &str, Vec<u8>)> = vec![
        (400, "not-a-jws", b"".to_vec()),
        (400, "not-a-jws", b"garbage".to_vec()),
        (400, "not-a-jws", vec![0xff; 1000]),
        (400, "not-a-jws", sound().to_string().into_bytes()),
        (400, "not-a-jws", [signed(sound()), b"\n".to_vec()].concat()),
        (400, "not-a-jws", [signed(sound()), b".x".to_vec()].concat()),
        (400, "not-a-jws", under(r#"{"alg":"ES256","crit":["exp"],"exp":1}"#, sign(key, &sound()))),
        (400, "not-a-jws", under(r#"{"typ":"JWT"}"#, sign(key, &sound()))),
        (400, "wrong-algorithm", under(r#"{"alg":"none"}"#, stripped)),
        (400, "wrong-algorithm", under(r#"{"alg":"HS256"}"#, sign(key, &sound()))),
        // alpha's key is of another kind than that of the connection's certificate, gamma's of the same.
        (400, "wrong-algorithm", sign(&stage.alpha.key, &sound()).into_bytes()),
        (401, "wrong-signature", sign(&stage.gamma.key, &sound()).into_bytes()),
        (401, "wrong-signature", broken),
        (400, "not-a-letter", raw("{\"version\":1,")),
        (400, "not-a-letter", raw("[]")),
        (400, "not-a-letter", raw(&twice)),
        (400, "not-a-letter", raw(&"[".repeat(100_000))),
        (400, "not-a-letter", signed(without(sound(), "iat_ms"))),
        (400, "not-a-letter", signed(with(sound(), "more", json!(1)))),
        (400, "not-a-letter", signed(with(sound(), "jti", json!("")))),
        (400, "not-a-letter", signed(with(sound(), "jti", json!("j".repeat(65))))),
        (400, "not-a-letter", signed(letter("beta", "alpha", json!([with(check(), "more", json!(1))])))),
        (400, "not-a-letter", signed(letter("beta", "alpha", json!([without(check(), "called")])))),
        (400, "wrong-version", signed(with(sound(), "version", json!(2)))),
        (400, "too-many-items", signed(letter("beta", "alpha", vec![check(); 257].into()))),
        (400, "no-items", signed(letter("beta", "alpha", json!([])))),
        (400, "wrong-reply", signed(with(sound(), "re", json!("1")))),
        (400, "too-old", signed(with(sound(), "iat_ms", json!(now_ms() - 91_000)))),
        (400, "too-new", signed(with(sound(), "iat_ms", json!(now_ms() + 95_000)))),
        (400, "too-old", signed(with(sound(), "iat_ms", json!(i64::MIN)))),
        (403, "not-from-you", signed(with(sound(), "iss", json!("gamma")))),
        (403, "not-for-me", signed(with(sound(), "aud", json!("gamma")))),
        (409, "replayed", replayed),
        (413, "body-too-long", vec![b'a'; 256 * 1024 + 1]),
    ];
    let mut counted = std::collections::BTreeMap::new();
    for (place, (status, name, body)) in cases.into_iter().enumerate() {
        let answer = peer.post(body);
        assert_eq!((answer.status, answer.problem().as_str()), (status, name), "case {place}");
        *counted.entry(name).or_insert(0.0) += 1.0;
    }
    for (name, n) in counted {
        assert_eq!(stage.refusals("beta", "letter", name), n, "{name}");
    }

    // Another's certificate and this one's letter; a path, a method, a kind of body that there is not.
    let answer = stage.peer(&stage.gamma).post(signed(sound()));
    assert_eq!((answer.status, answer.problem().as_str()), (401, "wrong-signature"));
    assert_eq!(stage.refusals("gamma", "letter", "wrong-signature"), 1.0);
    let ask = |peer: &mut Peer, method, path, kind| {
        peer.send(request(method, path, kind, Piece::whole(signed(sound())))).expect("an answer")
    };
    let kinds =
        [None, Some("application/json"), Some("application/jose+json"), Some("text/application/jose")];
    for (n, kind) in kinds.into_iter().enumerate() {
        let answer = ask(&mut peer, "POST", PATH, kind);
        assert_eq!((answer.status, answer.problem().as_str()), (415, "unsupported-media-type"), "{kind:?}");
        assert_eq!(stage.refusals("beta", "letter", "unsupported-media-type"), n as f64 + 1.0);
    }
    assert_eq!(ask(&mut peer, "POST", PATH, Some("Application/JOSE; v=1")).status, 200);
    let mut packed = request("POST", PATH, JOSE, Piece::whole(signed(sound())));
    packed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(peer.send(packed).unwrap().problem(), "unsupported-media-type");
    for path in ["/", "/exchange/v2", "/exchange/v1/", "/metrics", "/exchange/v1/../v1"] {
        let answer = ask(&mut peer, "POST", path, JOSE);
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(&mut peer, method, PATH, JOSE);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }

    // Ten megabytes, their length said or not, ten times: the connection or the next one is as good as before.
    for said in [true, false].repeat(5) {
        let mut long = request("POST", PATH, JOSE, Piece::whole(vec![b'a'; 10 << 20]));
        if said {
            long.headers_mut().insert("content-length", (10 << 20).into());
        }
        let answer = peer.send(long);
        assert!(answer.is_none_or(|answer| answer.status == 413));
        assert_eq!(peer.post(signed(sound())).status, 200);
    }
    assert!(stage.refusals("beta", "letter", "body-too-long") > 5.0);
    drop(peer);
    stage.is_well("beta");
    let grown_mb = own_mb(stage.node.child.id()) - before_mb;
    assert!(grown_mb < 48.0, "{grown_mb} MB more");
}

fn exchange_signer(key: &KeyPair) -> exchange::Signer {
    exchange::Signer::from_pkcs8(key.serialized_der()).unwrap()
}

#[test]
fn a_bad_question_is_refused_alone_and_counted() {
    let mut stage = Stage::new("", "");
    let cases: Vec<(&str, &str, Value)> = vec![
        ("check", "bad-number", with(check(), "calling", json!("0701234567"))),
        ("check", "bad-number", with(check(), "calling", json!("+77011234567"))),
        ("check", "bad-number", with(check(), "called", json!("112"))),
        ("check", "bad-number", with(check(), "called", json!("7701 123 45 67"))),
        ("check", "bad-number", with(check(), "called", json!("7701123456789012"))),
        ("check", "bad-number", with(check(), "redirecting", json!(""))),
        ("check", "bad-number", with(check(), "calling", json!("~S3oGOiOVOxEmc5Soi1AfM"))),
        ("check", "not-this-form", with(check(), "calling", json!("~S3oGOiOVOxEmc5Soi1AfMA"))),
        ("check", "not-held", with(check(), "calling", json!("77051234567"))),
        ("check", "not-held", with(check(), "redirecting", json!("77021112233"))),
        ("check", "bad-deadline", with(check(), "deadline_ms", json!(60_000))),
        ("check", "bad-deadline", with(check(), "deadline_ms", json!(0))),
        ("check", "bad-time", with(check(), "seen_ms", json!(now_ms() - 190_000))),
        ("check", "bad-time", with(check(), "seen_ms", json!(i64::MAX))),
        ("check", "bad-name", with(check(), "id", json!("i".repeat(65)))),
        ("check", "bad-name", with(check(), "id", json!(""))),
        ("register", "bad-ttl", with(registration(), "ttl_s", json!(31_536_000))),
        ("register", "bad-ttl", with(registration(), "ttl_s", json!(29))),
        ("register", "bad-name", with(registration(), "trunk", json!(""))),
        ("register", "bad-time", with(registration(), "time_ms", json!(0))),
        // Of the reader's own numbers, of another member's, of nobody's, in national form, diverted by another.
        ("register", "not-yours", with(registration(), "calling", json!(&OF_ALPHA[1..]))),
        ("register", "not-yours", with(registration(), "calling", json!("77051234567"))),
        ("register", "not-yours", with(registration(), "calling", json!("14155550123"))),
        ("register", "not-yours", with(registration(), "calling", json!("87021112233"))),
        ("register", "not-yours", with(registration(), "redirecting", json!("77051234567"))),
        ("register", "bad-number", with(registration(), "presentation", json!("8 702 111 22 33"))),
        ("roaming", "not-held", with(roaming(), "calling", json!("77051234567"))),
        ("roaming", "not-held", with(roaming(), "calling", json!("87011234567"))),
        ("roaming", "bad-number", with(roaming(), "calling", json!("+77011234567"))),
        ("roaming", "not-this-form", with(roaming(), "calling", json!("~S3oGOiOVOxEmc5Soi1AfMA"))),
        ("roaming", "bad-deadline", with(roaming(), "deadline_ms", json!(60_000))),
        ("roaming", "bad-name", with(roaming(), "ingress", json!(""))),
        ("unknown", "not-supported", json!({"kind": "gossip", "about": "everybody"})),
    ];
    stage.alpha.screen("access", OF_ALPHA, OF_BETA);
    // All in one letter, an honest question between each two: what is wrong with one is no other's matter.
    let items: Vec<Value> = cases.iter().flat_map(|case| [case.2.clone(), check()]).collect();
    let asked = letter("beta", "alpha", items.into());
    let answers = stage.peer(&stage.beta).post(sign(&stage.beta.key, &asked)).items();
    assert_eq!(answers.len(), 2 * cases.len());
    let mut counted = std::collections::BTreeMap::new();
    for (case, pair) in cases.iter().zip(answers.chunks(2)) {
        let id = case.2["id"].as_str().unwrap_or_default();
        assert_eq!(pair[0], json!({"kind": "refused", "id": id, "fault": case.1}), "{}", case.2);
        assert_eq!(pair[1]["result"], "initiated", "{}", pair[1]);
        *counted.entry((case.0, case.1)).or_insert(0.0) += 1.0;
    }
    for ((kind, fault), n) in counted {
        assert_eq!(stage.answers(kind, fault), n, "{kind} {fault}");
    }
    // A call that it was refused to register in another's name is none: asked about, its own number's operator says.
    let spoofed = stage.alpha.screen("national", OF_ALPHA, "+77011110000");
    assert_ne!(spoofed["answers"][0]["answer"], "initiated", "{spoofed}");
    stage.is_well("gamma");
}

#[test]
fn who_registers_its_calls_here_is_asked_about_here() {
    let alpha = Operator::new("alpha", "\"7701\"");
    let (beta, gamma) = (Operator::new("beta", "\"7702\""), Operator::new("gamma", "\"7705\""));
    alpha.join(&[&beta, &gamma], "");
    let text = alpha.site.read("qalqan.toml");
    let (head, tail) = text.split_once("[member.beta]").unwrap();
    let tail = tail.replacen("[\"roaming-check\", \"initiation-check\"]", "[]", 1);
    alpha.site.write("qalqan.toml", format!("{head}[member.beta]{tail}"));
    let stage = Stage { node: alpha.site.serve(), alpha, beta, gamma };
    let of_beta = || with(with(check(), "calling", json!(&OF_BETA[1..])), "called", json!(&OF_ALPHA[1..]));
    let ask = |who: &Operator, question: Value| {
        let asked = sign(&who.key, &letter(who.name, "alpha", json!([question])));
        stage.peer(who).post(asked).items()[0].clone()
    };
    // Nobody keeps its calls, and nobody's call is cut for that.
    assert_eq!(ask(&stage.gamma, of_beta())["fault"], "not-held");
    assert_eq!(stage.alpha.screen("national", OF_BETA, OF_ALPHA)["rule"], "R15");
    assert_eq!(ask(&stage.beta, registration())["kind"], "accepted");
    assert_eq!(ask(&stage.gamma, of_beta())["result"], "initiated");
    assert_eq!(stage.alpha.screen("national", OF_BETA, OF_ALPHA)["answers"][0]["answer"], "initiated");
    // It may have registered none before: of another call nothing is known yet.
    let another = ask(&stage.gamma, with(of_beta(), "called", json!("77010000000")));
    assert_eq!(
        (another["result"].as_str(), another["reason"].as_str()),
        (Some("unknown"), Some("just-started"))
    );
}

/// By hashes nobody sees whose number it is: a member that answers for itself could vouch for anybody's call.
#[test]
fn who_answers_for_itself_registers_no_hashes_here() {
    let alpha = Operator::new("alpha", "\"7701\"");
    let (beta, gamma) = (Operator::new("beta", "\"7702\""), Operator::new("gamma", "\"7705\""));
    alpha.join(&[&beta, &gamma], "hash-key = \"hash.key\"");
    alpha.site.write("hash.key", "0123456789abcdef0123456789abcdef\n");
    std::fs::set_permissions(alpha.site.path("hash.key"), PermissionsExt::from_mode(0o600)).unwrap();
    let text = alpha.site.read("qalqan.toml");
    let (head, tail) = text.split_once("[member.gamma]").unwrap();
    let tail = tail.replacen("[\"roaming-check\", \"initiation-check\"]", "[]", 1);
    alpha.site.write("qalqan.toml", format!("{head}[member.gamma]{tail}"));
    let stage = Stage { node: alpha.site.serve(), alpha, beta, gamma };
    let token = json!("~S3oGOiOVOxEmc5Soi1AfMA");
    let question = || with(with(registration(), "calling", token.clone()), "called", token.clone());
    let ask = |who: &Operator| {
        let asked = sign(&who.key, &letter(who.name, "alpha", json!([question()])));
        stage.peer(who).post(asked).items()[0].clone()
    };
    assert_eq!(ask(&stage.beta)["fault"], "not-yours");
    assert_eq!(ask(&stage.gamma)["kind"], "accepted");
}

#[test]
fn who_shows_no_members_certificate_gets_nowhere() {
    let mut stage = Stage::new("", "");
    let stranger = Operator::new("beta", "\"7702\"");
    let same_key = KeyPair::from_pem(&stage.gamma.key.serialize_pem()).unwrap();
    let expired = Operator::with_key("gamma", "\"7705\"", same_key, (2001, 2002));
    let sound = |who: &Operator| sign(&who.key, &letter("beta", "alpha", json!([check()])));
    let posted = |shown| {
        let body = Piece::whole(sound(&stage.beta));
        Peer::new(shown, stage.alpha.exchange).send(request("POST", PATH, JOSE, body))
    };
    assert!(posted(None).is_none());
    assert!(posted(Some((&stranger.certificate, &stranger.key))).is_none());
    // One of the same key is another certificate, and out of date.
    assert!(posted(Some((&expired.certificate, &expired.key))).is_none());
    let failed =
        "qalqan_exchange_refusals_total{member=\"nobody\",kind=\"connection\",outcome=\"handshake-failed\"}";
    wait_for_metric(stage.alpha.http, failed, 3.0);
    stage.is_well("beta");

    // A member whose own certificate ran out is refused as well.
    stage.alpha.join(&[&stage.beta, &expired], "");
    stage.node.signal("-HUP");
    stage.node.wait_for("reload");
    std::thread::sleep(Duration::from_millis(500));
    let mut peer = Peer::new(Some((&expired.certificate, &expired.key)), stage.alpha.exchange);
    let body = Piece::whole(sign(&expired.key, &letter("gamma", "alpha", json!([check()]))));
    assert!(peer.send(request("POST", PATH, JOSE, body)).is_none());
    wait_for_metric(stage.alpha.http, failed, 4.0);

    // Where an authority vouches for many, who is no member gets a problem.
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).unwrap();
    stage.alpha.site.write("ca.pem", format!("{}{}", root.pem(), stage.beta.certificate));
    stage.alpha.join(&[&stage.beta, &stage.gamma], "ca = \"ca.pem\"");
    stage.node.signal("-HUP");
    let issuer = rcgen::Issuer::new(params, authority);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let mut answer: Option<Answer> = None;
    crate::rig::wait(
        || {
            let mut peer = Peer::new(Some((&certificate, &key)), stage.alpha.exchange);
            answer = peer.send(request("POST", PATH, JOSE, Piece::whole(sign(&key, &json!({})))));
            answer.is_some()
        },
        || "an answer to who has the authority's certificate".to_owned(),
    );
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.problem().as_str()), (401, "unknown-certificate"));
    assert_eq!(stage.refusals("nobody", "letter", "unknown-certificate"), 1.0);
    stage.is_well("beta");
}

#[test]
fn who_asks_too_much_waits_and_nobody_else_does() {
    let mut stage = Stage::new("", "questions-per-s = 20");
    let many = |n: usize| {
        let items: Vec<Value> = (0..n).map(|_| json!({"kind": "capabilities"})).collect();
        sign(&stage.beta.key, &letter("beta", "alpha", items.into()))
    };
    // A full letter is taken once, however little was agreed.
    let mut peer = stage.peer(&stage.beta);
    assert_eq!(peer.post(many(256)).items().len(), 256);
    let late = many(100);
    let answer = peer.post(late.clone());
    assert_eq!((answer.status, answer.problem().as_str()), (429, "too-many-questions"));
    let wait_s = |answer: &Answer| -> u64 { answer.header("retry-after").expect("a wait").parse().unwrap() };
    assert_eq!(wait_s(&answer), 1);
    let started = Instant::now();
    let floods: Vec<String> = (0..300).map(|_| many(1)).collect();
    let taken = floods.into_iter().filter(|one| peer.post(one.clone()).status != 429).count();
    assert!(
        taken as f64 <= started.elapsed().as_secs_f64() * 20.0 + 3.0,
        "{taken} in {:?}",
        started.elapsed()
    );
    assert!(taken < 100, "{taken} of 300: not as fast as a flood");
    stage.is_well("gamma");
    // The letter that was refused was not taken: sent again it is no replay.
    std::thread::sleep(Duration::from_secs(1));
    let answer = peer.post(late.clone());
    assert!((3..=5).contains(&wait_s(&answer)), "{answer:?}");
    std::thread::sleep(Duration::from_secs(wait_s(&answer)));
    assert_eq!(peer.post(late).status, 200);
    assert!(stage.refusals("beta", "letter", "too-many-questions") >= 200.0);
}

#[test]
fn who_is_slow_is_let_go() {
    let mut stage = Stage::new("", "");
    // Handshakes that never begin, more than one address may have at once.
    let address = ("127.0.0.1", stage.alpha.exchange);
    let mut silent: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(address).unwrap()).collect();
    // A member behind another address is served meanwhile; so is one whose connection stood.
    let mut peer = stage.peer(&stage.beta);
    wait_for_metric(
        stage.alpha.http,
        "qalqan_exchange_refusals_total{member=\"nobody\",kind=\"connection\",outcome=\"too-many-handshakes\"}",
        16.0,
    );
    std::thread::sleep(Duration::from_secs(6));
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(0)) || stream.write(b"x").is_err(), "still open");
    }
    wait_for_metric(
        stage.alpha.http,
        "qalqan_exchange_refusals_total{member=\"nobody\",kind=\"connection\",outcome=\"handshake-too-slow\"}",
        64.0,
    );
    // A body that never ends.
    let started = Instant::now();
    let answer = peer.send(request("POST", PATH, JOSE, Piece::endless("eyJ"))).expect("an answer");
    assert_eq!((answer.status, answer.problem().as_str()), (408, "too-slow"));
    assert!((4..8).contains(&started.elapsed().as_secs()));
    stage.is_well("beta");

    // So many that no more letters of this member are read: another is answered all the same.
    let endless = stage.peer(&stage.beta);
    let mut stream = endless.tls().unwrap();
    endless.block_on(async {
        stream.write_all(&frames(64, false)).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    let sound = sign(&stage.beta.key, &letter("beta", "alpha", json!([check()])));
    assert_eq!(stage.peer(&stage.beta).post(sound.clone()).problem(), "too-many-questions");
    stage.is_well("gamma");
    drop((stream, endless));
    std::thread::sleep(Duration::from_secs(6));
    stage.is_well("beta");

    // As many connections as one may have, and one more.
    let sleeping = stage.peer(&stage.beta);
    let held: Vec<_> = (0..64).map(|_| sleeping.tls().unwrap()).collect();
    let too_many = || stage.refusals("beta", "connection", "too-many-connections");
    let answer = stage.peer(&stage.beta).send(request("POST", PATH, JOSE, Piece::whole(sound)));
    assert!(answer.is_none() && too_many() >= 1.0, "{answer:?}");
    stage.is_well("gamma");
    drop((held, sleeping));
    std::thread::sleep(Duration::from_millis(300));
    stage.is_well("beta");
}

/// The start of HTTP/2 (RFC 9113) and so many requests, their bodies to come; each taken back where `reset`.
fn frames(streams: u32, reset: bool) -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // POST, https, and two literals of the static table's names 4 (:path), 31 (content-type).
    let fields = [&b"\x83\x87\x04\x0c/exchange/v1\x01\x09localhost\x0f\x10\x10application/jose"[..]].concat();
    for stream in 0..streams {
        let id = (2 * stream + 1).to_be_bytes();
        out.extend_from_slice(&(fields.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(&[1, 4]);
        out.extend_from_slice(&id);
        out.extend_from_slice(&fields);
        if reset {
            out.extend_from_slice(b"\0\0\x04\x03\0");
            out.extend_from_slice(&id);
            out.extend_from_slice(&8u32.to_be_bytes());
        }
    }
    out
}

#[test]
fn ten_thousand_streams_cost_their_connection_and_nothing_else() {
    let mut stage = Stage::new("", "");
    let before_mb = own_mb(stage.node.child.id());
    for reset in [false, true] {
        for _ in 0..5 {
            let peer = stage.peer(&stage.beta);
            let mut stream = peer.tls().expect("a member's connection");
            let heard = peer.block_on(async {
                // The node may end the connection before all of it is written.
                let written = stream.write_all(&frames(10_000, reset)).await;
                let _ = stream.flush().await;
                let (mut heard, mut piece) = (Vec::new(), [0; 65_536]);
                let hear = async {
                    while let Ok(n @ 1..) = stream.read(&mut piece).await {
                        heard.extend_from_slice(&piece[..n]);
                    }
                };
                let ended = tokio::time::timeout(Duration::from_secs(2), hear).await.is_ok();
                (written.is_ok(), ended, heard.len())
            });
            // Ended, or all but 64 streams refused.
            assert!(heard.1 || heard.2 > 9_000 * 13 || reset, "{heard:?}");
        }
    }
    stage.is_well("gamma");
    std::thread::sleep(Duration::from_secs(5));
    stage.is_well("beta");
    let grown_mb = own_mb(stage.node.child.id()) - before_mb;
    assert!(grown_mb < 48.0, "{grown_mb} MB more");
}
