//! What the exchange remembers: scorecards, letters, where subscribers are, and what nodes of one operator share.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use serde_json::json;

use crate::exchange::{OF_ALPHA, OF_BETA, Operator, two};
use crate::rig::http::Client;
use crate::rig::{Running, free_port, start, wait};

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
    // Nobody listens there.
    let text = alpha.site.read("qalqan.toml");
    let hlr = format!("hlr = \"127.0.0.1:{}\"\nhome-vlrs = [\"7701\"]\n", free_port());
    alpha.site.write("qalqan.toml", format!("{text}{hlr}"));
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
    // Beta's source was asked once for each, not for what alpha remembered.
    let page = Client::new(beta.http).get("/metrics").body;
    for line in [
        "qalqan_roaming_questions_total{source=\"feed\",outcome=\"roaming\"} 1",
        "qalqan_roaming_questions_total{source=\"feed\",outcome=\"not-roaming\"} 1",
        "qalqan_roaming_answer_seconds_bucket{source=\"feed\",le=\"+Inf\"} 2",
        "qalqan_roaming_answer_seconds_count{source=\"feed\"} 2",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}:\n{page}");
    }
    assert_eq!(verdict("+77015559999").0, "R12");
    let page = Client::new(alpha.http).get("/metrics").body;
    let failed = "qalqan_roaming_questions_total{source=\"hlr\",outcome=\"source-failed\"} 1";
    assert!(page.lines().any(|one| one == failed), "{page}");
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

/// Primaries of a cluster, with a replica each where asked, or one server alone.
fn store(directory: &std::path::Path, primaries: usize, replicas: usize) -> (Vec<Running>, Vec<u16>) {
    let ports: Vec<u16> = (0..primaries * (1 + replicas)).map(|_| free_port()).collect();
    let mut running = Vec::new();
    for port in &ports {
        let home = directory.join(port.to_string());
        std::fs::create_dir(&home).unwrap();
        let mut command = Command::new("redis-server");
        command.current_dir(&home).args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"]);
        if primaries > 1 {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
            command.args(["--cluster-node-timeout", "1000"]);
        }
        running.push(start(command.stdout(Stdio::null())));
        wait(|| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok(), || "the store".to_owned());
    }
    if primaries > 1 {
        let nodes = ports.iter().map(|port| format!("127.0.0.1:{port}"));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes)
            .arg("--cluster-yes")
            .args(["--cluster-replicas", &replicas.to_string()])
            .output();
        assert!(made.unwrap().status.success());
        for (place, &port) in ports.iter().enumerate() {
            let is_whole = || {
                let is_replicated = replicas == 0
                    || place >= primaries
                    || redis_says(port, &["info", "replication"]).contains("state=online");
                is_replicated && redis_says(port, &["cluster", "info"]).contains("cluster_state:ok")
            };
            wait(is_whole, || format!("the cluster, server {place}"));
        }
    }
    (running, ports)
}

fn redis_says(port: u16, what: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(what).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Two nodes of beta that share what they know in a store.
fn two_nodes(urls: &[u16], alpha: &Operator, more: &str) -> (Operator, Operator) {
    let first = Operator::new("beta", "\"7702\"");
    let key = KeyPair::from_pem(&first.key.serialize_pem()).unwrap();
    let mut second = Operator::with_key("beta", "\"7702\"", key, (2020, 2090));
    second.certificate = first.certificate.clone();
    let urls: Vec<String> = urls.iter().map(|port| format!("\"redis://127.0.0.1:{port}\"")).collect();
    // The others know the second node alone.
    alpha.join(&[&second], "");
    for node in [&first, &second] {
        node.join(&[alpha], &format!("shared = [{}]\n{more}", urls.join(", ")));
    }
    (first, second)
}

/// A call is noted at one node and asked about at another while a primary of the store dies: it is never denied.
#[test]
fn a_store_that_fails_over_denies_no_honest_call() {
    let alpha = Operator::new("alpha", "\"7701\"");
    let (mut running, ports) = store(alpha.site.directory.path(), 3, 1);
    let (first, second) = two_nodes(&ports, &alpha, "ttl-s = 30");
    let _nodes = [alpha.site.serve(), first.site.serve(), second.site.serve()];
    let rule =
        |calling: &str| alpha.screen("national", calling, OF_ALPHA)["rule"].as_str().unwrap().to_owned();
    std::thread::sleep(Duration::from_secs(32));
    assert_eq!(rule("+77029999999"), "R14", "a spoofed call, while the store is whole");
    let honest = |round: usize| {
        let callers: Vec<String> = (0..12).map(|n| format!("+770211{round:03}{n:02}")).collect();
        callers.iter().for_each(|calling| drop(first.screen("access", calling, OF_ALPHA)));
        callers
    };
    let before = honest(0);
    before.iter().for_each(|calling| assert_eq!(rule(calling), "R20", "{calling}: found in the store"));
    running[0].0.kill().unwrap();
    let deadline = Instant::now() + Duration::from_secs(12);
    let mut rounds = 0;
    while Instant::now() < deadline {
        rounds += 1;
        for calling in honest(rounds).iter().chain(&before) {
            let rule = rule(calling);
            assert!(["R15", "R20"].contains(&&*rule), "{calling}: {rule} in round {rounds}");
        }
        if rounds == 2 {
            // What may have been lost is unknown, so a spoofed call passes too.
            assert_eq!(rule("+77029999998"), "R15");
        }
    }
    // A replica has taken over, and once no call from before can be asked about any more all is as it was.
    wait(
        || redis_says(ports[1], &["cluster", "info"]).contains("cluster_state:ok"),
        || "the failover".to_owned(),
    );
    std::thread::sleep(Duration::from_secs(32));
    let after = honest(999);
    after.iter().for_each(|calling| assert_eq!(rule(calling), "R20", "{calling}: after the failover"));
    assert_eq!(rule("+77029999997"), "R14");
}

#[test]
fn nodes_of_one_operator_share_what_they_know() {
    for primaries in [1, 3] {
        let alpha = Operator::new("alpha", "\"7701\"");
        let (mut running, ports) = store(alpha.site.directory.path(), primaries, 0);
        let (first, second) = two_nodes(&ports, &alpha, "");
        for node in [&first, &second] {
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
