//! The contract of the HTTP door: its description, and Schemathesis, which asks whatever the description allows and
//! forbids.

use crate::rig;

use std::path::PathBuf;
use std::process::Command;

use rig::http::{Client, site};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn the_description_is_the_committed_one() {
    let (site, address) = site("");
    let _node = site.serve();
    let given = Client::new(address).get("/openapi.json");
    assert_eq!(given.header("content-type"), Some("application/json"));
    let committed = std::fs::read_to_string(root().join("schema/openapi.json")).unwrap();
    assert!(
        given.body == committed,
        "curl http://…/openapi.json > schema/openapi.json, and look at what changed"
    );
    let json: Value = given.json();
    for path in ["/v1/screen", "/v1/screen/explain", "/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert!(json["paths"].get(path).is_some(), "{path}");
    }
    // Every problem that can be answered is explained.
    let docs = std::fs::read_to_string(root().join("docs/http.md")).unwrap();
    for kind in qalqan::http::Kind::ALL {
        let row = format!("| {} | `{}` |", kind.status(), kind.name());
        assert!(docs.contains(&row), "docs/http.md has no row {row}");
    }
}

#[test]
fn schemathesis_finds_nothing() {
    let (site, address) = site("api-keys = \"keys.csv\"\n");
    let key = site.ok(&["http", "key", "schemathesis"]).trim().to_owned();
    let mut node = site.serve();
    let here = root().join("node/tests/schemathesis");
    let output = Command::new(root().join("target/tools/bin/schemathesis"))
        .current_dir(site.directory.path())
        .env("SCHEMATHESIS_HOOKS", here.join("hooks.py"))
        .arg("--config-file")
        .arg(here.join("schemathesis.toml"))
        .args([
            "run",
            &format!("http://{address}/openapi.json"),
            "--checks",
            "all",
            "--seed",
            "1",
            "--no-color",
        ])
        .args([
            // The register has a test of its own, configured; here it would take the time of the others.
            "--exclude-path-regex",
            "^/v1/case",
            "--max-examples",
            "300",
            "--max-time",
            "120",
            "--header",
            &format!("Authorization: Bearer {key}"),
        ])
        .output()
        .expect("schemathesis of target/tools runs: ./test installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(node.is_running() && !node.log().contains("panicked"), "{}", node.log());
    let mut http = Client::new(address);
    assert!(http.metric("qalqan_http_requests_total{route=\"/v1/screen\",code=\"200\"}") > 20.0, "{said}");
    assert_eq!(http.metric("qalqan_fail_open_calls_total{cause=\"stumble\"}"), 0.0);
}
