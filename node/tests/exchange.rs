//! Operators that ask each other: nodes of several operators, by HTTP and by SIP, and what a member may not do.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
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

#[test]
fn a_scorecard_says_what_each_trunk_handed_over_and_outlives_a_restart() {
    let (site, http) = crate::rig::http::site("[lists]\nblock = \"block.csv\"\n");
    site.write("block.csv", "number,owner,expires,note\n+14155550199,us,,\n");
    let node = site.serve();
    let mut client = Client::new(http);
    let mut screen = |trunk: &str, calling: &str, times: usize| {
        for _ in 0..times {
            client.screen(json!({"trunk": trunk, "calling": calling, "called": OF_ALPHA}).to_string());
        }
    };
    screen("international", "+77272501234", 3); // R08: a home fixed number from abroad
    screen("international", "+14155550123", 900); // allowed, from abroad
    screen("international", "+14155550199", 2); // the operator's own list: blocked, nothing said of the trunk
    screen("international", "+77011112233", 195); // R12: nobody says
    screen("access", "+77011112233", 1);
    let row = |trunk: &str| {
        let answer = Client::new(http).get("/v1/scorecard").json();
        answer.as_array().unwrap().iter().find(|row| row["trunk"] == trunk).cloned().unwrap_or_default()
    };
    wait(|| row("international")["calls"] == 1100, || "1100 calls counted".to_owned());
    let abroad = row("international");
    let figures = ["blocked", "spoofed", "denied", "unknown"].map(|name| abroad[name].as_u64().unwrap());
    assert_eq!(figures, [5, 3, 0, 195], "{abroad}");
    assert_eq!((abroad["share"].as_f64(), abroad["advice"].as_str()), (Some(0.0027), Some("none")));
    screen("international", "+77272501234", 10);
    wait(|| row("international")["advice"] == "warn", || "13 of 1110: a warning".to_owned());
    // The journal counts the same.
    let counted = site.ok(&["scorecard", "--format", "csv"]);
    let day = abroad["day"].as_str().unwrap();
    assert!(counted.contains(&format!("{day},international,1110,15,13,0,195,0.0117,warn\n")), "{counted}");
    assert!(counted.contains(&format!("{day},access,1,0,0,0,0,0,none\n")), "{counted}");
    assert!(site.ok(&["scorecard", "--trunk", "access"]).lines().count() == 2);
    node.signal("-TERM");
    node.wait_for("stopping");
    wait(|| site.path("journal/scorecard.json").exists(), || "the scorecard on disk".to_owned());
    drop(node);
    let _node = site.serve();
    assert_eq!(row("international")["calls"], 1110);
}

#[test]
fn what_was_asked_and_answered_is_kept_as_it_was_signed() {
    let (alpha, _a, beta, _b) = two("");
    beta.screen("access", OF_BETA, OF_ALPHA);
    alpha.screen("national", OF_BETA, OF_ALPHA);
    let letters = |of: &Operator, more: &[&str]| -> Vec<serde_json::Value> {
        let text = of.site.ok(&[&["journal", "letters"], more].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait(|| !letters(&alpha, &[]).is_empty(), || "a pair of letters".to_owned());
    let asked = &letters(&alpha, &["--number", OF_BETA])[0];
    assert_eq!((asked["member"].as_str(), asked["asked_by"].as_str()), (Some("beta"), Some("us")), "{asked}");
    assert_eq!(asked["signature"], "valid");
    assert_eq!(asked["question"]["items"][0]["calling"], "77021112233");
    assert_eq!(asked["answer"]["items"][0]["result"], "initiated");
    // The other side kept the same letters; whoever has another's certificate can check them.
    let answered = &letters(&beta, &["--member", "alpha"])[0];
    assert_eq!(
        (answered["asked_by"].as_str(), answered["signature"].as_str()),
        (Some("alpha"), Some("valid"))
    );
    assert_eq!(
        (&answered["question_jws"], &answered["answer_jws"]),
        (&asked["question_jws"], &asked["answer_jws"])
    );
    assert!(letters(&alpha, &["--number", "+77029999999"]).is_empty());
    // Nothing lies there in clear, and every look is written down.
    let directory = std::fs::read_dir(alpha.site.path("journal/letters")).unwrap();
    let file = directory.flatten().next().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    let question = asked["question_jws"].as_str().unwrap();
    assert!(!text.contains("77021112233") && !text.contains(question) && !text.contains(&question[40..80]));
    assert!(alpha.site.read("journal/looks.jsonl").contains("+77021****33"));
    // A line that was changed is not shown, and said.
    let at = text.rfind("\"sealed\":\"").unwrap() + 40;
    let changed = if &text[at..at + 1] == "A" { "B" } else { "A" };
    std::fs::write(&file, format!("{}{changed}{}", &text[..at], &text[at + 1..])).unwrap();
    let output = alpha.site.run(&["journal", "letters"]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 lines cannot be read"));
}

#[test]
fn a_roamer_passes_and_a_spoofed_mobile_number_from_abroad_is_blocked() {
    let alpha = Operator::new("alpha", "\"7701\"");
    let beta = Operator::new("beta", "\"7702\"");
    alpha.join(&[&beta], "");
    beta.join(&[&alpha], "");
    for operator in [&alpha, &beta] {
        let text = operator.site.read("qalqan.toml");
        operator.site.write("qalqan.toml", format!("{text}[roaming]\nfeed-numbers = 1000\n"));
    }
    let (_a, _b) = (alpha.site.serve(), beta.site.serve());
    let post = |of: &Operator, path: &str, body: String| {
        let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nx-correlator: b4-27");
        Client::new(of.http).ask(&head, body)
    };
    let now = jiff::Timestamp::now();
    let update = |number: &str, roaming: bool| json!({"number": number, "roaming": roaming, "visited": "TR", "time": now.to_string()});
    let told = post(
        &beta,
        "/v1/locations",
        json!([update(OF_BETA, true), {"number": "+77021112244", "roaming": false, "time": now.to_string()}])
            .to_string(),
    );
    assert_eq!((told.status, told.json()), (200, json!({"updates": 2, "kept": 2})), "{}", told.body);

    let verdict = |calling: &str| {
        let seen = alpha.screen("international", calling, OF_ALPHA);
        let heard = seen["answers"][0].clone();
        (seen["rule"].as_str().unwrap().to_owned(), heard)
    };
    let (rule, heard) = verdict(OF_BETA);
    assert_eq!(
        (rule.as_str(), heard["visited"].as_str(), heard["method"].as_str()),
        ("R10", Some("TR"), Some("feed"))
    );
    assert_eq!(verdict("+77021112244").0, "R11");
    // What was heard is remembered, and asked again once its time is over: here it is not.
    assert_eq!(verdict(OF_BETA).1["method"], "cache");
    // Nobody fed this one: withheld, and the reason says so.
    let unknown = alpha.screen("international", "+77021110000", OF_ALPHA);
    assert_eq!(
        (unknown["rule"].as_str(), unknown["sub_reason"].as_str()),
        (Some("R12"), Some("roaming-refused"))
    );
    // Its own subscriber comes home: what is remembered of him is dropped.
    post(&alpha, "/v1/locations", update("+77015550000", true).to_string());
    assert_eq!(verdict("+77015550000").0, "R10");
    let later = jiff::Timestamp::now();
    let home = json!({"number": "+77015550000", "roaming": false, "time": later.to_string()});
    assert_eq!(post(&alpha, "/v1/locations", home.to_string()).json()["kept"], 1);
    assert_eq!(verdict("+77015550000").0, "R11");

    // The same by the CAMARA API.
    let path = "/device-roaming-status/v1/retrieve";
    let ask = |of: &Operator, number: &str| {
        let answer = post(of, path, json!({"device": {"phoneNumber": number}}).to_string());
        assert_eq!(answer.header("x-correlator"), Some("b4-27"));
        (answer.status, answer.json())
    };
    let (status, roamer) = ask(&beta, OF_BETA);
    assert_eq!((status, &roamer["roaming"], &roamer["countryName"]), (200, &json!(true), &json!(["TR"])));
    assert_eq!(roamer["countryCode"], 286, "Türkiye's mobile country code (ITU-T E.212)");
    assert_eq!(ask(&beta, "+77021112244").1["roaming"], false);
    let code = |of: &Operator, number: &str| {
        let (status, error) = ask(of, number);
        (status, error["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(code(&beta, OF_ALPHA), (404, "IDENTIFIER_NOT_FOUND".to_owned()));
    assert_eq!(code(&beta, "77021112233"), (400, "INVALID_ARGUMENT".to_owned()));
    assert_eq!(code(&beta, "+77021110000"), (503, "UNAVAILABLE".to_owned()));
    let wrong = post(&beta, "/v1/locations", "[{\"number\":\"+77021112233\"}]".to_owned());
    assert_eq!(wrong.status, 422);
    assert!(!wrong.body.contains("1112233"), "{}", wrong.body);
}

/// Three primaries of a cluster, or one server alone.
fn store(directory: &std::path::Path, primaries: usize) -> (Vec<Running>, Vec<u16>) {
    let ports: Vec<u16> = (0..primaries).map(|_| free_port()).collect();
    let mut running = Vec::new();
    for port in &ports {
        let home = directory.join(port.to_string());
        std::fs::create_dir(&home).unwrap();
        let mut command = Command::new("redis-server");
        command.current_dir(&home).args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"]);
        if primaries > 1 {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
        }
        running.push(start(command.stdout(Stdio::null())));
        wait(|| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok(), || "the store".to_owned());
    }
    if primaries > 1 {
        let nodes = ports.iter().map(|port| format!("127.0.0.1:{port}"));
        let made =
            Command::new("redis-cli").args(["--cluster", "create"]).args(nodes).arg("--cluster-yes").output();
        assert!(made.unwrap().status.success());
        let is_whole = || {
            let port = ports[0].to_string();
            let said =
                Command::new("redis-cli").args(["-p", &port, "cluster", "info"]).output().unwrap().stdout;
            String::from_utf8_lossy(&said).contains("cluster_state:ok")
        };
        wait(is_whole, || "the cluster".to_owned());
    }
    (running, ports)
}

#[test]
fn nodes_of_one_operator_share_what_they_know() {
    for primaries in [1, 3] {
        let alpha = Operator::new("alpha", "\"7701\"");
        let first = Operator::new("beta", "\"7702\"");
        let second = Operator::with_key(
            "beta",
            "\"7702\"",
            KeyPair::from_pem(&first.key.serialize_pem()).unwrap(),
            (2020, 2090),
        );
        let second = Operator { certificate: first.certificate.clone(), ..second };
        let (mut running, ports) = store(alpha.site.directory.path(), primaries);
        let urls: Vec<String> = ports.iter().map(|port| format!("\"redis://127.0.0.1:{port}\"")).collect();
        let shared = format!("shared = [{}]", urls.join(", "));
        // The others know the second node alone.
        alpha.join(&[&second], "");
        for node in [&first, &second] {
            node.join(&[&alpha], &shared);
            let text = node.site.read("qalqan.toml");
            node.site.write("qalqan.toml", format!("{text}[roaming]\nfeed-numbers = 1000\n"));
        }
        let _nodes = [alpha.site.serve(), first.site.serve(), second.site.serve()];
        // Stores are reached in the background: until then a node is alone.
        let seen = || {
            first.screen("access", OF_BETA, OF_ALPHA);
            alpha.screen("national", OF_BETA, OF_ALPHA)["answers"][0]["answer"] == "initiated"
        };
        wait(seen, || format!("a call noted at the first node, {primaries} primaries"));
        // Nobody can read a number in the store.
        for port in &ports {
            let keys =
                Command::new("redis-cli").args(["-p", &port.to_string(), "keys", "*"]).output().unwrap();
            let keys = String::from_utf8_lossy(&keys.stdout).into_owned();
            assert!(!keys.contains("7021112233"), "{keys}");
        }
        // One of them heard where a subscriber of alpha is; the other asks nobody.
        let update = json!({"number": OF_ALPHA, "roaming": true, "time": jiff::Timestamp::now().to_string()});
        let text = alpha.site.read("qalqan.toml");
        alpha.site.write("qalqan.toml", format!("{text}[roaming]\nfeed-numbers = 1000\n"));
        _nodes[0].signal("-HUP");
        _nodes[0].wait_for("is in force");
        let head = "POST /v1/locations HTTP/1.1\r\nContent-Type: application/json";
        assert_eq!(Client::new(alpha.http).ask(head, update.to_string()).status, 200);
        let heard =
            |of: &Operator| of.screen("international", OF_ALPHA, OF_BETA)["answers"][0]["method"].clone();
        assert_eq!(heard(&first), "feed");
        wait(|| heard(&second) == "cache", || "what the first node heard".to_owned());
        // The store dies: nodes go on alone, and no call waits for it.
        running.clear();
        let alone = first.screen("access", "+77021110001", OF_ALPHA);
        assert_eq!(alone["rule"], "R20");
        let unknown = alpha.screen("national", "+77021110001", OF_ALPHA);
        assert_eq!(
            (unknown["rule"].as_str(), unknown["verdict"].as_str()),
            (Some("R15"), Some("allow")),
            "{unknown}"
        );
        let failures = |of: &Operator| Client::new(of.http).metric("qalqan_exchange_shared_failures_total");
        wait(|| failures(&second) > 0.0, || "failures counted".to_owned());
    }
}
