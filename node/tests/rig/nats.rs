//! A NATS server of a test's own, and a client by hand: the protocol is lines of text.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Site, free_port, wait};

/// nats-server with JetStream, its files in the site's directory.
pub struct Server {
    pub port: u16,
    child: Option<Child>,
}

impl Server {
    /// Chooses a port; `start` starts it.
    pub fn new() -> Server {
        Server { port: free_port(), child: None }
    }

    pub fn started(site: &Site) -> Server {
        let mut server = Server::new();
        server.start(site);
        server
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it with what `nats-server.conf` of the site says, if that is there.
    pub fn start(&mut self, site: &Site) {
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"]).arg(site.path("nats"));
        if site.path("nats-server.conf").exists() {
            command.arg("-c").arg(site.path("nats-server.conf"));
        }
        let log = std::fs::File::options().create(true).append(true).open(site.path("nats.log")).unwrap();
        command.current_dir(site.directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("nats-server runs: ./test installs it"));
        let is_up = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        wait(is_up, || format!("nats-server listens: {}", site.read("nats.log")));
    }

    /// As kill -9 does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// A client without TLS and credentials.
    pub fn client(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
        stream.set_nodelay(true).expect("a socket");
        let mut client = Client { stream: BufReader::new(stream) };
        assert!(client.line().starts_with("INFO "));
        client.send(b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB reply 1\r\n");
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A message as a stream keeps it.
pub struct Stored {
    pub subject: String,
    /// The value of Nats-Msg-Id.
    pub id: String,
    pub data: Vec<u8>,
}

pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the server answers");
        line
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("written");
    }

    /// Publishes, and gives what comes back.
    pub fn request(&mut self, subject: &str, payload: &[u8]) -> Value {
        let head = format!("PUB {subject} reply {}\r\n", payload.len());
        self.send(&[head.as_bytes(), payload, b"\r\n"].concat());
        loop {
            let line = self.line();
            match line.split(' ').next().unwrap().trim() {
                "PING" => self.send(b"PONG\r\n"),
                // No stream answers: a status line and no more.
                kind @ ("MSG" | "HMSG") => {
                    let length: usize = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
                    let mut message = vec![0; length + 2];
                    self.stream.read_exact(&mut message).expect("the message");
                    return match kind {
                        "MSG" => serde_json::from_slice(&message[..length]).expect("JSON"),
                        _ => Value::Null,
                    };
                }
                "-ERR" => panic!("{line}"),
                _ => {}
            }
        }
    }

    pub fn api(&mut self, call: &str, request: &Value) -> Value {
        self.request(&format!("$JS.API.{call}"), request.to_string().as_bytes())
    }

    /// How many messages a stream has; 0 where there is none.
    pub fn count(&mut self, stream: &str) -> u64 {
        self.api(&format!("STREAM.INFO.{stream}"), &json!({}))["state"]["messages"].as_u64().unwrap_or(0)
    }

    /// All that a stream has, in its order.
    pub fn stored(&mut self, stream: &str) -> Vec<Stored> {
        let state = self.api(&format!("STREAM.INFO.{stream}"), &json!({}))["state"].clone();
        let (first, last) =
            (state["first_seq"].as_u64().unwrap_or(1), state["last_seq"].as_u64().unwrap_or(0));
        let mut found = Vec::new();
        for seq in first..=last {
            let message =
                self.api(&format!("STREAM.MSG.GET.{stream}"), &json!({"seq": seq}))["message"].clone();
            let Some(subject) = message["subject"].as_str() else { continue };
            let decode = |name: &str| BASE64_STANDARD.decode(message[name].as_str().unwrap_or("")).unwrap();
            let headers = String::from_utf8(decode("hdrs")).unwrap();
            let id = headers.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id: ")).unwrap_or("");
            found.push(Stored { subject: subject.to_owned(), id: id.to_owned(), data: decode("data") });
        }
        found
    }
}
