//! What a node counts: read by Prometheus's own tools, explained by the docs, asked for by the dashboard.

use crate::rig;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rig::http::{Client, site, wait_for_metric};
use rig::{INTERNATIONAL, Invite, Site, Switch, free_port, wait};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A node in monitor mode with a list, after some calls of every kind.
fn busy() -> (Site, std::net::SocketAddr, rig::Node) {
    let (site, address) = site(
        "[trunk.watched]\nclass = \"international\"\n[trunk.watched.rules]\nall = \"monitor\"\n\
                                [lists]\nblock = \"block.csv\"\n[hunting.live]\nmemory-mb = 8\n",
    );
    site.write("block.csv", "number,owner,expires,note\n+14155550199,ops,,\n");
    let node = site.serve();
    let abroad = Switch::on(INTERNATIONAL, &node);
    abroad.invite(&Invite { from: "sip:+77272501234@x", ..Invite::default() });
    abroad.invite(&Invite { from: "sip:+77272501234@x", ..Invite::default() });
    let mut http = Client::new(address);
    for trunk in ["international", "watched", "nobody"] {
        http.screen(format!(r#"{{"trunk":"{trunk}","calling":"+77272501234","called":"+77011234567"}}"#));
    }
    http.get("/nowhere");
    (site, address, node)
}

/// Names of the metrics on a page, by their TYPE lines.
fn names(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn promtool_has_nothing_to_say_about_the_page() {
    let (site, address, _node) = busy();
    let page = Client::new(address).get("/metrics");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    site.write("page", &page.body);
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(site.path("page")).unwrap())
        .output()
        .expect("promtool runs: ./test installs it");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn the_docs_explain_every_metric_and_no_other() {
    let (_site, address, _node) = busy();
    let page = Client::new(address).get("/metrics").body;
    let docs = read("docs/metrics.md");
    let mut explained = BTreeSet::new();
    for line in docs.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        assert!(page.contains(&format!("# TYPE {name} {}\n", cells[2])), "{name}: not a {} there", cells[2]);
        for sample in page.lines().filter(|line| line.starts_with(&format!("{name}{{"))) {
            let labels = sample[name.len() + 1..].split('}').next().unwrap().split("\",");
            for label in labels.map(|label| label.split('=').next().unwrap()) {
                assert!(cells[3].contains(&format!("`{label}`")), "{name}: label {label} is not explained");
            }
        }
        explained.insert(name.to_owned());
    }
    assert_eq!(explained, names(&page));
}

#[test]
fn counters_are_right_and_keep_their_trunks_over_a_reload() {
    let (site, address, node) = busy();
    let mut http = Client::new(address);
    let calls = |trunk: &str, rule: &str, verdict: &str| {
        format!("qalqan_calls_total{{trunk=\"{trunk}\",rule=\"{rule}\",verdict=\"{verdict}\"}}")
    };
    assert_eq!(http.metric(&calls("international", "R08", "block")), 2.0, "one by SIP, one by HTTP");
    assert_eq!(http.metric(&calls("watched", "R20", "allow")), 1.0);
    assert_eq!(http.metric("qalqan_retransmissions_total"), 1.0);
    assert_eq!(http.metric("qalqan_unknown_source_calls_total"), 1.0);
    assert_eq!(http.metric("qalqan_http_requests_total{route=\"/v1/screen\",code=\"403\"}"), 1.0);
    assert_eq!(http.metric("qalqan_http_requests_total{code=\"404\"}"), 1.0);
    assert_eq!(http.metric("qalqan_list_entries{list=\"block\"}"), 1.0);
    assert_eq!(http.metric("qalqan_verdict_duration_seconds_bucket{door=\"udp\",le=\"+Inf\"}"), 1.0);
    assert!(http.metric("process_resident_memory_bytes") > 1e6);

    // A trunk in front of all others moves every index, and no counter.
    let more = "[trunk.aaa]\nclass = \"transit\"\nsource = [\"127.0.0.99\"]\n";
    site.write("qalqan.toml", site.read("qalqan.toml") + more);
    node.signal("-HUP");
    wait_for_metric(address, "qalqan_configuration_reloads_total{outcome=\"in-force\"}", 1.0);
    http.screen(r#"{"trunk":"aaa","called":"+77011234567"}"#);
    http.screen(r#"{"trunk":"international","calling":"+77272501234","called":"+77011234567"}"#);
    assert_eq!(http.metric(&calls("international", "R08", "block")), 3.0);
    assert_eq!(http.metric(&calls("aaa", "R20", "allow")), 1.0);
    site.write("qalqan.toml", "nonsense");
    node.signal("-HUP");
    wait_for_metric(address, "qalqan_configuration_last_reload_refused", 1.0);
    assert_eq!(http.metric("qalqan_configuration_reloads_total{outcome=\"refused\"}"), 1.0);
}

/// The questions of the dashboard, its variables filled in.
fn questions() -> Vec<String> {
    let board: Value = serde_json::from_str(&read("examples/grafana/qalqan.json")).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let expr = |target: &Value| target["expr"].as_str().unwrap().to_owned();
    targets.map(expr).map(|expr| expr.replace("$instance", ".*").replace("$__rate_interval", "1m")).collect()
}

#[test]
fn the_dashboard_and_the_alerts_name_only_what_there_is() {
    let (_site, address, _node) = busy();
    let mut known = names(&Client::new(address).get("/metrics").body);
    known.insert("up".to_owned());
    let mut texts = questions();
    texts.extend(read("examples/grafana/alerts.yml").lines().map(str::to_owned));
    let mut found = BTreeSet::new();
    for text in &texts {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let is_ours = ["qalqan_", "process_"].iter().any(|prefix| word.starts_with(prefix));
            if is_ours {
                let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
                let name = name.filter(|name| known.contains(*name)).unwrap_or(word);
                assert!(known.contains(name), "{word} is no metric: {text}");
                found.insert(name.to_owned());
            }
        }
    }
    assert!(found.len() >= 15, "{found:?}");
}

#[test]
fn the_alerts_are_raised_when_they_should_be() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(root().join("examples/grafana"))
            .output()
            .expect("promtool runs: ./test installs it");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    let (alerts, tests) = (read("examples/grafana/alerts.yml"), read("examples/grafana/alerts_test.yml"));
    for name in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("- alertname: {name}\n")), "{name} is never raised by a test");
    }
}

struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_prometheus_reads_a_node_and_answers_the_dashboard() {
    let (site, address, _node) = busy();
    let alerts = root().join("examples/grafana/alerts.yml");
    let config = read("examples/grafana/prometheus.yml")
        .replace("15s", "1s")
        .replace("[alerts.yml]", &format!("[\"{}\"]", alerts.display()))
        .replace("127.0.0.1:8080", &address.to_string());
    site.write("prometheus.yml", config);
    let own = format!("127.0.0.1:{}", free_port());
    let prometheus = Command::new("prometheus")
        .current_dir(site.directory.path())
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"])
        .arg(format!("--web.listen-address={own}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus runs: ./test installs it");
    let _prometheus = Prometheus(prometheus);
    let ask = |question: &str| -> Value {
        let output = Command::new("curl")
            .args([
                "-s",
                "--data-urlencode",
                &format!("query={question}"),
                &format!("http://{own}/api/v1/query"),
            ])
            .output()
            .expect("curl runs");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    };
    let first = |question: &str| ask(question)["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
    wait(|| first("up{job=\"qalqan\"}").as_deref() == Some("1"), || format!("{}", ask("up")));
    wait(
        || first("sum(qalqan_calls_total)").as_deref() == Some("3"),
        || format!("{}", ask("qalqan_calls_total")),
    );
    for question in questions() {
        let answer = ask(&question);
        assert_eq!(answer["status"], "success", "{question}: {answer}");
    }
    let rules = Command::new("curl").args(["-s", &format!("http://{own}/api/v1/rules")]).output().unwrap();
    let rules: Value = serde_json::from_slice(&rules.stdout).unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), read("examples/grafana/alerts.yml").matches("- alert:").count());
}
