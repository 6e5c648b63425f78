//! Traces of calls, taken by a collector made of OpenTelemetry's own protocol definition.

use crate::rig;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rig::http::{Client, site};
use rig::{INTERNATIONAL, Invite, Switch, free_port, wait};
use serde_json::Value;

struct Collector {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    fn start(port: u16) -> Collector {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        let mut child = Command::new(root.join("target/tools/bin/python"))
            .arg(root.join("node/tests/otlp/receiver.py"))
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python of target/tools runs: ./test installs it");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, sink) = (child.stdout.take().unwrap(), lines.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let collector = Collector { child, lines };
        wait(|| !collector.lines.lock().unwrap().is_empty(), || "the collector".to_owned());
        collector
    }

    fn spans(&self) -> Vec<Value> {
        self.lines.lock().unwrap().iter().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    fn wait_for(&self, n: usize) -> Vec<Value> {
        wait(|| self.spans().len() >= n, || format!("{n} spans: {:?}", self.spans()));
        self.spans()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CALL: &str = r#"{"trunk":"international","calling":"+77272501234","called":"+77011234567"}"#;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[test]
fn every_call_is_traced_when_all_are_sampled_and_numbers_are_masked() {
    let port = free_port();
    let collector = Collector::start(port);
    let (site, address) = site(&format!("[tracing]\nurl = \"http://127.0.0.1:{port}\"\nsample = 1.0\n"));
    let node = site.serve();
    Switch::on(INTERNATIONAL, &node).invite(&Invite { from: "sip:+77272501234@x", ..Invite::default() });
    let spans = collector.wait_for(1);
    let sip = &spans[0];
    assert_eq!((sip["name"].as_str(), sip["kind"].as_str()), (Some("INVITE"), Some("SPAN_KIND_SERVER")));
    assert_eq!((sip["path"].as_str(), sip["scope"].as_str()), (Some("/v1/traces"), Some("qalqan")));
    assert_eq!(sip["content_type"], "application/x-protobuf");
    assert_eq!(sip["service"]["service.name"], "qalqan");
    assert_eq!((sip["trace_id"].as_str().unwrap().len(), sip["parent_span_id"].as_str()), (32, Some("")));
    let attributes = &sip["attributes"];
    for (key, value) in [
        ("network.protocol.name", "sip"),
        ("network.transport", "udp"),
        ("qalqan.trunk", "international"),
        ("qalqan.calling", "+77272****34"),
        ("qalqan.called", "+77011****67"),
        ("qalqan.verdict", "block"),
        ("qalqan.rule", "R08"),
    ] {
        assert_eq!(attributes[key], value, "{key}");
    }
    let ns = |key: &str| sip[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(ns("start_time_unix_nano") < ns("end_time_unix_nano"));

    // The caller's trace is gone on with, and his word whether it is taken counts.
    let mut http = Client::new(address);
    http.screen_with(&format!("\r\ntraceparent: 00-{TRACE}-{PARENT}-00"), CALL);
    http.screen_with(&format!("\r\ntraceparent: 00-{TRACE}-{PARENT}-01"), CALL);
    http.screen_with("\r\ntraceparent: nonsense", CALL);
    let spans = collector.wait_for(3);
    assert_eq!(spans.len(), 3);
    let (theirs, own) = (&spans[1], &spans[2]);
    assert_eq!((theirs["trace_id"].as_str(), theirs["parent_span_id"].as_str()), (Some(TRACE), Some(PARENT)));
    assert_eq!(theirs["name"], "POST /v1/screen");
    assert_eq!(theirs["attributes"]["http.request.method"], "POST");
    assert_eq!(theirs["attributes"]["http.route"], "/v1/screen");
    assert_ne!(own["trace_id"].as_str(), Some(TRACE));
    assert!(!collector.lines.lock().unwrap().concat().contains("727250"), "a number in full");
}

#[test]
fn a_share_of_the_calls_is_traced() {
    let port = free_port();
    let collector = Collector::start(port);
    let (site, address) = site(&format!("[tracing]\nurl = \"http://127.0.0.1:{port}/\"\nsample = 0.1\n"));
    let node = site.serve();
    let body = format!("[{}]", vec![CALL; 1000].join(","));
    let mut http = Client::new(address);
    for _ in 0..4 {
        assert_eq!(http.screen(&body).status, 200);
    }
    // What is in the queue is sent before the node ends.
    node.signal("-TERM");
    let mut node = node;
    wait(|| !node.is_running(), || "the node to end".to_owned());
    let taken = collector.spans().len();
    // 4,000 calls at 0.1: 400 with a deviation of 19; eight of them either way.
    assert!((248..=552).contains(&taken), "{taken}");
}

#[test]
fn a_collector_that_is_away_costs_no_call_and_is_counted() {
    let (site, address) = site("[tracing]\nurl = \"http://127.0.0.1:9\"\nsample = 1.0\n");
    let node = site.serve();
    let body = format!("[{}]", vec![CALL; 1000].join(","));
    let mut http = Client::new(address);
    for _ in 0..30 {
        assert_eq!(http.screen(&body).status, 200);
    }
    node.wait_for("traces are not taken");
    assert_eq!(
        http.metric("qalqan_calls_total{trunk=\"international\",rule=\"R08\",verdict=\"block\"}"),
        30_000.0
    );
    assert_eq!(site.journal_len(), 30_000);
}
