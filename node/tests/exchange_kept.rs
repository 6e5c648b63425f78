//! A small operator that nobody can reach: its calls are registered at a member that keeps them and answers for its numbers.

use std::time::Duration;

use serde_json::json;

use crate::exchange::{OF_ALPHA, Operator};
use crate::rig::http::Client;
use crate::rig::{ACCESS, Invite, NATIONAL, Switch, header, wait};

const OF_SMALL: &str = "+77071112233";

/// alpha asks, the hub keeps, the small one listens nowhere.
fn three() -> [Operator; 3] {
    let alpha = Operator::new("alpha", "\"7701\"");
    let hub = Operator::new("hub", "\"7705\"");
    let small = Operator::new("small", "\"7707\"");
    alpha.join(&[&hub], "");
    hub.join(&[&alpha], "ttl-s = 30");
    small.join(&[&hub], "ttl-s = 30\nregister-at = \"hub\"");
    let text = small.site.read("qalqan.toml");
    let listen = format!("listen = [\"127.0.0.1:{}\"]\n", small.exchange);
    assert!(text.contains(&listen));
    small.site.write("qalqan.toml", text.replace(&listen, ""));
    // Nobody has its address; only the hub has its certificate.
    let add = |to: &Operator, more: &str| {
        let text = to.site.read("qalqan.toml");
        to.site.write("qalqan.toml", format!("{text}[member.small]\nranges = [\"7707\"]\n{more}"));
    };
    hub.site.write("small.pem", &small.certificate);
    add(&hub, "certificate = \"small.pem\"\nkept-by = \"hub\"\n");
    add(&alpha, "kept-by = \"hub\"\n");
    [alpha, hub, small]
}

#[test]
fn a_call_of_an_operator_that_cannot_be_reached_is_answered_for_by_its_keeper() {
    let [alpha, hub, small] = three();
    let (a, _hub) = (alpha.site.serve(), hub.site.serve());
    let node = small.site.serve();
    let seen = |calling: &str| {
        let seen = alpha.screen("national", calling, OF_ALPHA);
        let answer = &seen["answers"][0];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
        (text(&seen["rule"]), text(&answer["answer"]), text(&answer["by"]))
    };
    let is = |rule: &str, answer: &str| (rule.to_owned(), answer.to_owned(), "hub".to_owned());
    // Nothing was ever registered: the hub does not know this operator's calls.
    assert_eq!(seen(OF_SMALL).0, "R15");

    // Made by HTTP and by SIP, seen by HTTP and by SIP.
    small.screen("access", OF_SMALL, OF_ALPHA);
    wait(|| seen(OF_SMALL) == is("R20", "initiated"), || format!("a call by HTTP: {:?}", seen(OF_SMALL)));
    let switch = Switch::on(ACCESS, &node);
    let made = switch.invite(&Invite { from: "sip:+77071110001@x", to: OF_ALPHA, ..Invite::default() });
    assert!(header(&made, "Qalqan-Verdict").is_some(), "{made}");
    wait(|| seen("+77071110001").1 == "initiated", || "a call by SIP".to_owned());
    let at_alpha = Switch::on(NATIONAL, &a);
    let from = Invite { from: "sip:+77071110001@x", to: OF_ALPHA, call_id: "seen", ..Invite::default() };
    let trying = at_alpha.invite(&from);
    assert!(trying.starts_with("SIP/2.0 100 "), "{trying}");
    let answer = at_alpha.answer().expect("a verdict");
    assert!(header(&answer, "Qalqan-Verdict").unwrap().starts_with("allow;rule=R20"), "{answer}");
    // By the customer who tells of his calls.
    let head = "POST /aos/saveRequest HTTP/1.1\r\nContent-Type: application/json";
    let told = Client::new(small.http).ask(head, r#"{"msisdnA":"77071110002","msisdnB":"77011234567"}"#);
    assert_eq!(told.body, r#"{"result":true}"#);
    wait(|| seen("+77071110002").1 == "initiated", || "a call told of".to_owned());
    // Diverted by its subscriber: it answers for this leg, whoever called.
    let diverted = json!({"calling": "+77779990001", "called": OF_ALPHA, "redirecting": OF_SMALL});
    let with = |trunk: &str| {
        let mut call = diverted.clone();
        call["trunk"] = trunk.into();
        call
    };
    small.ask(with("access"));
    wait(|| alpha.ask(with("national"))["rule"] == "R20", || "a diverted call".to_owned());

    // Another's number is not registered, and is none of the hub's business.
    let accepted = || {
        let page = Client::new(small.http).get("/metrics").body;
        let is_accepted = |line: &&str| {
            line.starts_with(
                "qalqan_exchange_questions_total{member=\"hub\",kind=\"register\",outcome=\"accepted\"}",
            )
        };
        page.lines().find(is_accepted).and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    wait(|| accepted() == Some(4.0), || format!("four registrations: {:?}", accepted()));
    small.screen("national", "+77779990001", "+77071112233");
    small.screen("access", "+77071112233", "112");
    // Registered without a pause as long as a call can be asked about, a call that is not found was not made.
    for _ in 0..7 {
        std::thread::sleep(Duration::from_secs(5));
        small.screen("access", OF_SMALL, OF_ALPHA);
    }
    wait(|| seen("+77079999999") == is("R14", "not-initiated"), || format!("{:?}", seen("+77079999999")));
    assert_eq!(seen(OF_SMALL), is("R20", "initiated"));
    assert_eq!(accepted(), Some(11.0));
    assert_eq!(Client::new(small.http).metric("qalqan_exchange_lost_registrations_total"), 0.0);
}

#[test]
fn a_registration_that_fails_is_sent_again_and_no_call_waits_for_it() {
    let [alpha, hub, small] = three();
    let (_alpha, _small) = (alpha.site.serve(), small.site.serve());
    // The hub is not there: the call passes all the same, at once.
    assert_eq!(small.screen("access", OF_SMALL, OF_ALPHA)["rule"], "R20");
    let failed = || {
        let page = Client::new(small.http).get("/metrics").body;
        page.contains("member=\"hub\",kind=\"register\",outcome=\"unreachable\"}")
    };
    wait(failed, || "a failure that is counted".to_owned());
    let _hub = hub.site.serve();
    let is_known = || {
        let head = "POST /aos/checkRequest HTTP/1.1\r\nContent-Type: application/json";
        let body = r#"{"msisdnA":"77071112233","msisdnB":"77011234567"}"#;
        Client::new(hub.http).ask(head, body);
        alpha.screen("national", OF_SMALL, OF_ALPHA)["answers"][0]["answer"] == "initiated"
    };
    wait(is_known, || "the registration, sent again".to_owned());
}

#[test]
fn a_keeper_that_is_nobody_is_refused() {
    let [alpha, _, small] = three();
    let refused = |of: &Operator, from: &str, to: &str| {
        let text = of.site.read("qalqan.toml");
        assert!(text.contains(from), "{text}");
        of.site.write("qalqan.toml", text.replace(from, to));
        let error = of.site.refused(&["config", "check"]);
        of.site.write("qalqan.toml", text);
        error
    };
    let error = refused(&small, "register-at = \"hub\"", "register-at = \"alpha\"");
    assert!(error.contains("register-at \"alpha\" is no member with a url"), "{error}");
    let error = refused(&alpha, "kept-by = \"hub\"", "kept-by = \"small\"");
    assert!(
        error.contains("kept-by \"small\" of member small is neither another member nor this node"),
        "{error}"
    );
    let error = refused(&alpha, "kept-by = \"hub\"", "capabilities = [\"roaming-check\"]\nkept-by = \"hub\"");
    assert!(error.contains("member small has capabilities and no url"), "{error}");
    let error = refused(&alpha, "kept-by = \"hub\"", "");
    assert!(error.contains("member small needs a certificate"), "{error}");
}
