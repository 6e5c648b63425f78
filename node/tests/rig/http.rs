//! HTTP by hand, so that what is sent is what a test says, byte for byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Site, free_port, wait};

/// A connection that stays open.
pub struct Client(BufReader<TcpStream>);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem's name, once the answer is checked to be a problem as RFC 9457 says.
    #[track_caller]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status, "{self:?}");
        assert!(!json["detail"].as_str().unwrap().is_empty() && !json["title"].as_str().unwrap().is_empty());
        json["type"].as_str().unwrap().strip_prefix("urn:qalqan:problem:").unwrap().to_owned()
    }
}

impl Client {
    #[track_caller]
    pub fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
        Client(BufReader::new(stream))
    }

    /// From an address of this machine.
    #[track_caller]
    pub fn from(source: &str, address: SocketAddr) -> Client {
        Client(BufReader::new(super::connect(source, address)))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// The next answer; none when the connection ends first.
    pub fn answer(&mut self) -> Option<Answer> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let answer = Answer { status, head, body: String::new() };
        // RFC 9110 section 8.6: 204 has neither a body nor its length.
        if status == 204 {
            return Some(answer);
        }
        let mut body = vec![0; answer.header("content-length")?.parse().ok()?];
        self.0.read_exact(&mut body).ok()?;
        Some(Answer { body: String::from_utf8(body).ok()?, ..answer })
    }

    /// Waits until the other side ends the connection; false if it says something or does not within 10 s.
    pub fn is_ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0)) || {
            // A reset ends it as well; only a time-out does not.
            self.0.get_ref().take_error().is_err()
        }
    }

    #[track_caller]
    pub fn ask(&mut self, head: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let head = format!("{head}\r\nHost: qalqan\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat());
        self.answer().unwrap_or_else(|| panic!("no answer to {head}"))
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: qalqan\r\n\r\n"));
        self.answer().unwrap_or_else(|| panic!("no answer to GET {path}"))
    }

    /// Asks for a verdict; `more` are header lines, each with its line end in front.
    #[track_caller]
    pub fn screen_with(&mut self, more: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask(&format!("POST /v1/screen HTTP/1.1\r\nContent-Type: application/json{more}"), body)
    }

    #[track_caller]
    pub fn screen(&mut self, body: impl AsRef<[u8]>) -> Answer {
        self.screen_with("", body)
    }

    /// The value of a metric by its name and labels as they stand on the page; 0 where it is not there.
    #[track_caller]
    pub fn metric(&mut self, name: &str) -> f64 {
        let page = self.get("/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

/// A site whose node speaks HTTP too; `more` are more keys of `[http]` and tables behind it.
pub fn site(more: &str) -> (Site, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let site = Site::new(&format!("[http]\nlisten = [\"{address}\"]\n{more}"));
    (site, address)
}

/// Waits until a metric has a value.
#[track_caller]
pub fn wait_for_metric(address: SocketAddr, name: &str, value: f64) {
    wait(|| Client::new(address).metric(name) == value, || format!("{name} {value}"));
}

/// An access token of a client.
#[track_caller]
pub fn token(address: SocketAddr, id: &str, secret: &str) -> String {
    let basic = STANDARD.encode(format!("{id}:{secret}"));
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nAuthorization: Basic {basic}\r\n\
         Content-Type: application/x-www-form-urlencoded"
    );
    let answer = Client::new(address).ask(&head, "grant_type=client_credentials");
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
    assert_eq!(answer.json()["token_type"], "Bearer");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}
