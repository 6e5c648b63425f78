//! An operator with CAMARA APIs, in Python: what it answers is said by a test, what it was asked it tells.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use super::http::Client;
use super::{Running, free_port, repository, start, wait};

pub struct Operator {
    pub address: SocketAddr,
    _process: Running,
    directory: tempfile::TempDir,
}

pub const SEND: &str = "one-time-password-sms/v1/send-code";
pub const VALIDATE: &str = "one-time-password-sms/v1/validate-code";
pub const RETRIEVE: &str = "sim-swap/v2/retrieve-date";
pub const CHECK: &str = "sim-swap/v2/check";
pub const FORWARDED: &str = "call-forwarding-signal/v0.4/unconditional-call-forwardings";

impl Operator {
    pub fn new() -> Operator {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "s+e&cret\n").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut python = Command::new(repository().join("target/tools/bin/python"));
        python.arg(repository().join("node/tests/peers/camara_operator.py")).arg(address.port().to_string());
        let operator = Operator { address, _process: start(&mut python), directory };
        wait(|| std::net::TcpStream::connect(address).is_ok(), || "the operator listens".to_owned());
        operator
    }

    /// A table of `[loans]` that asks this operator.
    pub fn table(&self, name: &str, base: &str) -> String {
        let (address, secret) = (self.address, self.directory.path().join("secret"));
        format!(
            "[loans.{name}]\nurl = \"http://{address}/{base}\"\ntoken-url = \"http://{address}/oauth2/token\"\n\
             client-id = \"gate\"\nclient-secret = \"{}\"\ntimeout-ms = 3000\n",
            secret.display()
        )
    }

    pub fn codes(&self) -> String {
        self.table("one-time-password", "one-time-password-sms/v1")
    }

    /// Both that know of a phone.
    pub fn phones(&self) -> String {
        self.table("sim-swap", "sim-swap/v2") + &self.table("call-forwarding", "call-forwarding-signal/v0.4/")
    }

    /// What an operation answers from now on.
    pub fn says(&self, operation: &str, answer: Value) {
        let put = "PUT /behave HTTP/1.1\r\nContent-Type: application/json";
        let taken = Client::new(self.address).ask(put, json!({operation: answer}).to_string());
        assert_eq!(taken.status, 200, "{taken:?}");
    }

    fn seen(&self) -> Value {
        Client::new(self.address).get("/seen").json()
    }

    /// The bodies of the questions to an operation.
    pub fn asked(&self, operation: &str) -> Vec<Value> {
        let seen = self.seen();
        let asked = seen["asked"].as_array().unwrap().iter();
        asked.filter(|one| one[0] == operation).map(|one| one[1].clone()).collect()
    }

    /// Tokens that were given, and requests that were refused for theirs.
    pub fn tokens(&self) -> (u64, u64) {
        let seen = self.seen();
        (seen["tokens"].as_u64().unwrap(), seen["refused"].as_u64().unwrap())
    }

    /// Every request and answer was as the document says.
    #[track_caller]
    pub fn has_no_fault(&self) {
        assert_eq!(self.seen()["faults"], json!([]));
    }
}

pub fn ok(body: Value) -> Value {
    json!({"status": 200, "body": body})
}

/// An ErrorInfo.
pub fn error(status: u16, code: &str) -> Value {
    json!({"status": status, "body": {"status": status, "code": code, "message": "no"}})
}
