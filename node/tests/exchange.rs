//! Operators that ask each other: nodes of several operators, by HTTP and by SIP, and what a member may not do.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde_json::json;

use crate::rig::http::Client;
use crate::rig::{INTERNATIONAL, Invite, NATIONAL, Node, Site, Switch, free_port, header, status, wait};

/// An operator of the country: who it is, where its node listens, what it holds.
pub struct Operator {
    pub name: &'static str,
    pub site: Site,
    pub http: SocketAddr,
    pub exchange: u16,
    ranges: &'static str,
    pub certificate: String,
    pub key: KeyPair,
}

impl Operator {
    pub fn new(name: &'static str, ranges: &'static str) -> Operator {
        // One signs with Ed25519, another with P-256: letters of both are taken.
        let key = match name {
            "alpha" => KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            _ => KeyPair::generate().unwrap(),
        };
        Operator::with_key(name, ranges, key, (2020, 2090))
    }

    pub fn with_key(name: &'static str, ranges: &'static str, key: KeyPair, years: (i32, i32)) -> Operator {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let certificate = params.self_signed(&key).unwrap().pem();
        let site = Site::new("");
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Operator { name, site, http, exchange: free_port(), ranges, certificate, key }
    }

    /// Writes the configuration of a node that knows `others`; `more` are keys of `[exchange]`.
    pub fn join(&self, others: &[&Operator], more: &str) {
        self.join_limited(others, more, "");
    }

    /// The same; `each` are keys of every member.
    pub fn join_limited(&self, others: &[&Operator], more: &str, each: &str) {
        self.site.write("own.pem", &self.certificate);
        self.site.write("own.key", self.key.serialize_pem());
        std::fs::set_permissions(self.site.path("own.key"), PermissionsExt::from_mode(0o600)).unwrap();
        let mut text = format!(
            "[http]\nlisten = [\"{}\"]\n[exchange]\nname = \"{}\"\nlisten = [\"127.0.0.1:{}\"]\n\
             certificate = \"own.pem\"\nkey = \"own.key\"\nranges = [{}]\n\
             capabilities = [\"roaming-check\", \"initiation-check\"]\n{more}\n",
            self.http, self.name, self.exchange, self.ranges
        );
        for other in others {
            self.site.write(&format!("{}.pem", other.name), &other.certificate);
            text += &format!(
                "[member.{0}]\nurl = \"https://localhost:{1}\"\ncertificate = \"{0}.pem\"\nranges = [{2}]\n\
                 capabilities = [\"roaming-check\", \"initiation-check\"]\n{each}\n",
                other.name, other.exchange, other.ranges
            );
        }
        self.site.configure(&text);
    }

    #[track_caller]
    pub fn screen(&self, trunk: &str, calling: &str, called: &str) -> serde_json::Value {
        self.ask(json!({"trunk": trunk, "calling": calling, "called": called}))
    }

    #[track_caller]
    pub fn ask(&self, call: serde_json::Value) -> serde_json::Value {
        let answer = Client::new(self.http).screen(call.to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }
}

/// Two operators whose nodes run and know each other.
pub fn two(more: &str) -> (Operator, Node, Operator, Node) {
    let alpha = Operator::new("alpha", "\"7701\"");
    let beta = Operator::new("beta", "\"7702\"");
    alpha.join(&[&beta], more);
    beta.join(&[&alpha], more);
    let (a, b) = (alpha.site.serve(), beta.site.serve());
    (alpha, a, beta, b)
}

pub const OF_ALPHA: &str = "+77011234567";
pub const OF_BETA: &str = "+77021112233";

#[test]
fn a_call_passes_when_its_operator_says_it_made_it() {
    let (alpha, _a, beta, _b) = two("");
    let made = beta.screen("access", OF_BETA, OF_ALPHA);
    assert_eq!(made["rule"], "R20", "{made}");
    let seen = alpha.screen("national", OF_BETA, OF_ALPHA);
    assert_eq!(seen["rule"], "R20", "{seen}");
    let heard = &seen["answers"][0];
    assert_eq!((heard["answer"].as_str(), heard["by"].as_str()), (Some("initiated"), Some("beta")), "{seen}");
    assert!(heard["age_ms"].as_u64().is_some_and(|age| age < 10_000), "{seen}");
    assert_eq!(heard["about"], "+77021****33", "{seen}");
}

#[test]
fn a_call_its_operator_did_not_make_is_blocked_once_memory_is_whole() {
    let (alpha, a, beta, _b) = two("ttl-s = 30");
    // Just started, an operator may have forgotten calls: nobody is cut for that.
    let early = alpha.screen("national", OF_BETA, OF_ALPHA);
    assert_eq!(
        (early["rule"].as_str(), early["sub_reason"].as_str()),
        (Some("R15"), Some("initiation-timeout"))
    );
    std::thread::sleep(Duration::from_secs(31));
    let spoofed = alpha.screen("national", OF_BETA, OF_ALPHA);
    assert_eq!(
        (spoofed["rule"].as_str(), spoofed["verdict"].as_str()),
        (Some("R14"), Some("block")),
        "{spoofed}"
    );

    // By SIP: 100 Trying at once, then the verdict; a repeated INVITE asks nothing again.
    let switch = Switch::on(NATIONAL, &a);
    let invite = Invite { from: "sip:+77021112233@beta.example", call_id: "spoofed", ..Invite::default() };
    let message = switch.render(&invite);
    assert_eq!(status(&switch.ask(&message)), "100 Trying");
    let answer = switch.answer().expect("a verdict");
    assert!(status(&answer).starts_with("603"), "{answer}");
    assert!(header(&answer, "Qalqan-Verdict").is_some_and(|verdict| verdict.contains("R14")), "{answer}");
    assert_eq!(status(&switch.ask(&message)), status(&answer));
    // Until its ACK comes the answer is repeated (RFC 3261 section 17.2.1), then no more.
    let again = switch.answer().expect("timer G");
    assert_eq!(again, answer);
    switch.send(message.replace("INVITE", "ACK"));
    std::thread::sleep(Duration::from_millis(100));
    switch.socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    assert_eq!(switch.answer(), None);

    // A call of its own that comes back by another's trunk is checked in its own memory.
    beta.screen("access", OF_BETA, OF_ALPHA);
    let own = beta.screen("national", OF_BETA, OF_ALPHA);
    assert_eq!(
        (own["rule"].as_str(), own["answers"][0]["by"].as_str()),
        (Some("R20"), Some("beta")),
        "{own}"
    );
    let not_own = beta.screen("national", "+77029999999", OF_ALPHA);
    assert_eq!(not_own["rule"], "R14", "{not_own}");

    // The call is registered while it is asked about: the answer waits for it.
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(|| alpha.screen("national", "+77021110000", OF_ALPHA));
        std::thread::sleep(Duration::from_millis(40));
        beta.screen("access", "+77021110000", OF_ALPHA);
        asking.join().unwrap()
    });
    assert_eq!(asking["rule"], "R20", "{asking}");

    // Diverted: the redirecting number's operator is asked.
    let diverted = json!({"calling": "+77051234567", "called": OF_ALPHA, "redirecting": OF_BETA});
    let with = |trunk: &str| {
        let mut call = diverted.clone();
        call["trunk"] = trunk.into();
        call
    };
    let spoofed = alpha.ask(with("national"));
    assert_eq!((spoofed["rule"].as_str(), spoofed["answers"][0]["by"].as_str()), (Some("R14"), Some("beta")));
    beta.ask(with("access"));
    let honest = alpha.ask(with("national"));
    assert_eq!(honest["rule"], "R20", "{honest}");
}

#[test]
fn what_nobody_answers_is_unknown_and_says_why() {
    let (alpha, a, _beta, b) = two("");
    let unknown = |calling: &str| {
        let answer = alpha.screen("national", calling, OF_ALPHA);
        (answer["rule"].as_str().unwrap().to_owned(), answer["sub_reason"].as_str().unwrap().to_owned())
    };
    let (r15, allow) = ("R15".to_owned(), "allow");
    assert_eq!(unknown("+77051234567"), (r15.clone(), "operator-not-a-member".to_owned()));
    b.kill();
    assert_eq!(unknown(OF_BETA), (r15.clone(), "operator-unreachable".to_owned()));
    let answer = alpha.screen("national", OF_BETA, OF_ALPHA);
    assert_eq!(answer["verdict"], allow);
    // From abroad the number is withheld instead, and an emergency call never waits.
    let abroad = alpha.screen("international", OF_BETA, OF_ALPHA);
    assert_eq!(
        (abroad["rule"].as_str(), abroad["sub_reason"].as_str()),
        (Some("R12"), Some("operator-unreachable"))
    );
    let switch = Switch::on(INTERNATIONAL, &a);
    let emergency =
        Invite { from: "sip:+77021112233@x", to: "112", call_id: "emergency", ..Invite::default() };
    assert!(status(&switch.invite(&emergency)).starts_with("302"));
}

#[test]
fn a_call_cancelled_while_others_are_asked_ends_with_487() {
    // Nobody answers there: the connection hangs until the deadline.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alpha = Operator::new("alpha", "\"7701\"");
    let mut beta = Operator::new("beta", "\"7702\"");
    beta.exchange = silent.local_addr().unwrap().port();
    alpha.join(&[&beta], "question-ms = 1000\ndeadline-ms = 1000");
    let node = alpha.site.serve();
    let switch = Switch::on(NATIONAL, &node);
    let invite = Invite { from: "sip:+77021112233@beta.example", call_id: "cancelled", ..Invite::default() };
    let message = switch.render(&invite);
    assert_eq!(status(&switch.ask(&message)), "100 Trying");
    assert_eq!(status(&switch.ask(&message)), "100 Trying");
    switch.send(message.replace("INVITE", "CANCEL"));
    let mut answers =
        [switch.answer().unwrap(), switch.answer().unwrap()].map(|answer| status(&answer).to_owned());
    answers.sort();
    assert_eq!(answers, ["200 OK", "487 Request Terminated"]);
    switch.send(message.replace("INVITE", "ACK"));
    // The verdict is there all the same when time is up, and nothing more is sent.
    wait(|| alpha.site.journal_len() == 1, || "the verdict in the journal".to_owned());
    switch.socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    assert_eq!(switch.answer(), None);
    // The next call meets the deadline and passes.
    let invite = Invite { from: "sip:+77021112234@beta.example", call_id: "late", ..Invite::default() };
    assert_eq!(status(&switch.invite(&invite)), "100 Trying");
    switch.socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let answer = switch.answer().expect("a verdict");
    assert!(status(&answer).starts_with("302"), "{answer}");
}

#[test]
fn a_small_operator_takes_part_by_two_http_calls() {
    let (alpha, _a, beta, _b) = two("");
    let ask = |of: &Operator, path: &str, body: &str| {
        let head = format!("POST /aos/{path} HTTP/1.1\r\nContent-Type: application/json");
        let answer = Client::new(of.http).ask(&head, body);
        (answer.status, answer.body)
    };
    let ok = |text: &str| (200, text.to_owned());
    let call = r#"{"msisdnA":"77021112233","msisdnB":"77011234567"}"#;
    assert_eq!(ask(&beta, "saveRequest", call), ok(r#"{"result":true}"#));
    // Its own node answers, and any other that asks it.
    assert_eq!(ask(&beta, "checkRequest", call), ok(r#"{"result":true}"#));
    assert_eq!(ask(&alpha, "checkRequest?answer=string", call), ok(r#"{"result":"true"}"#));
    let seen = alpha.screen("national", OF_BETA, OF_ALPHA);
    assert_eq!(
        (seen["rule"].as_str(), seen["answers"][0]["answer"].as_str()),
        (Some("R20"), Some("initiated"))
    );
    // Another operator's number is not noted; what is not known passes; an empty redirecting number is none.
    assert_eq!(ask(&alpha, "saveRequest", call), ok(r#"{"result":false}"#));
    let unknown = r#"{"msisdnA":"77051112233","msisdnB":"77011234567","redirectingNumber":""}"#;
    assert_eq!(ask(&alpha, "checkRequest", unknown), ok(r#"{"result":true}"#));
    let emergency = r#"{"msisdnA":"77021110000","msisdnB":"112"}"#;
    assert_eq!(ask(&alpha, "checkRequest", emergency), ok(r#"{"result":true}"#));
    for wrong in [
        r#"{"msisdnA":"+77021112233","msisdnB":"77011234567"}"#,
        r#"{"msisdnA":"77021112233"}"#,
        r#"{"msisdnA":"77021112233","msisdnB":"77011234567","more":1}"#,
    ] {
        let (status, body) = ask(&beta, "saveRequest", wrong);
        assert_eq!(status, 422, "{wrong}: {body}");
        assert!(!body.contains("1112233"), "{body}");
    }
    assert_eq!(ask(&beta, "checkRequest", "{").0, 400);
}

#[test]
fn numbers_of_checks_travel_as_hashes_where_members_agree() {
    let alpha = Operator::new("alpha", "\"7701\"");
    let beta = Operator::new("beta", "\"7702\"");
    for (one, other) in [(&alpha, &beta), (&beta, &alpha)] {
        one.join(&[other], "hash-key = \"hash.key\"");
        one.site.write("hash.key", "0123456789abcdef0123456789abcdef\n");
        std::fs::set_permissions(one.site.path("hash.key"), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let (_a, b) = (alpha.site.serve(), beta.site.serve());
    beta.screen("access", OF_BETA, OF_ALPHA);
    let seen = alpha.screen("national", OF_BETA, OF_ALPHA);
    assert_eq!(
        (seen["rule"].as_str(), seen["answers"][0]["answer"].as_str()),
        (Some("R20"), Some("initiated"))
    );
    // A member that sends digits all the same is refused.
    b.kill();
    beta.join(&[&alpha], "");
    let _b = beta.site.serve();
    let seen = beta.screen("national", OF_ALPHA, OF_BETA);
    assert_eq!(
        (seen["rule"].as_str(), seen["sub_reason"].as_str()),
        (Some("R15"), Some("initiation-refused"))
    );
}

#[test]
fn a_ported_number_is_asked_of_who_holds_it_and_a_guest_of_who_sent_the_call() {
    let alpha = Operator::new("alpha", "\"7701\"");
    let beta = Operator::new("beta", "\"7702\"");
    alpha.join(&[&beta], "");
    beta.join(&[&alpha], "");
    let text = alpha.site.read("qalqan.toml");
    let text = text.replace("[trunk.national]", "[trunk.national]\nmember = \"beta\"");
    alpha.site.write("qalqan.toml", format!("{text}[lists]\nportability = \"ported.csv\"\n"));
    let ported =
        "number,owner,expires,note\n+77051234567,beta,,\n+77027654321,alpha,,\n+77029998877,nobody,,\n";
    alpha.site.write("ported.csv", ported);
    let (_a, _b) = (alpha.site.serve(), beta.site.serve());
    let by = |calling: &str| {
        let seen = alpha.screen("national", calling, OF_ALPHA);
        (
            seen["rule"].as_str().unwrap().to_owned(),
            seen["answers"][0]["by"].as_str().unwrap_or("-").to_owned(),
        )
    };
    beta.screen("access", "+77051234567", OF_ALPHA);
    assert_eq!(by("+77051234567"), ("R20".to_owned(), "beta".to_owned()));
    assert_eq!(by("+77027654321"), ("R15".to_owned(), "alpha".to_owned()));
    assert_eq!(by("+77029998877"), ("R15".to_owned(), "-".to_owned()));
    // A foreign guest's call: suspected, unless the sending operator denies it.
    assert_eq!(by("+14155550123"), ("R13".to_owned(), "beta".to_owned()));
}

#[test]
fn a_broken_exchange_is_refused_with_its_fault() {
    let alpha = Operator::new("alpha", "\"7701\"");
    let beta = Operator::new("beta", "\"7702\"");
    alpha.join(&[&beta], "");
    alpha.site.ok(&["config", "check"]);
    let good = alpha.site.read("qalqan.toml");
    for (from, to, complaint) in [
        ("name = \"alpha\"", "name = \"beta\"", "is a member's"),
        ("\"own.key\"", "\"none.key\"", "no such file"),
        ("certificate = \"own.pem\"", "certificate = \"beta.pem\"", "does not go with its key"),
        ("certificate = \"beta.pem\"", "certificate = \"qalqan.toml\"", "no certificate in PEM form"),
        ("[\"7701\"]", "[\"770x\"]", "not the first digits"),
        ("\"initiation-check\"]", "\"telepathy\"]", "no capability \"telepathy\""),
        ("https://localhost", "http://localhost", "https://host:port"),
        ("name = \"alpha\"", "name = \"alpha\"\nttl-s = 5", "ttl-s is not between 30 and 180"),
        ("name = \"alpha\"", "name = \"alpha\"\ndeadline-ms = 5000", "deadline-ms is not between 1 and 1000"),
        ("name = \"alpha\"", "name = \"alpha\"\nhash-key = \"own.pem\"", "others may read it"),
        ("class = \"national\"", "class = \"national\"\nmember = \"gamma\"", "\"gamma\" is not in [member"),
    ] {
        assert!(good.contains(from), "{from}");
        alpha.site.write("qalqan.toml", good.replacen(from, to, 1));
        let said = alpha.site.refused(&["config", "check"]);
        assert!(said.contains(complaint), "{to}: {said}");
    }
}
