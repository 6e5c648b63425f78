//! A peer in Python that is told what to do, and tells what happened, by lines of JSON.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::repository;

pub struct Peer {
    child: Child,
    told: ChildStdin,
    events: Receiver<Value>,
}

impl Peer {
    /// Starts a script of node/tests/peers.
    pub fn start(script: &str, arguments: &[&str]) -> Peer {
        let mut child = Command::new(repository().join("target/tools/bin/python"))
            .arg(repository().join("node/tests/peers").join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("Python of ./test");
        let told = child.stdin.take().expect("piped");
        let (send, events) = channel();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Peer { child, told, events }
    }

    pub fn tell(&mut self, what: Value) {
        writeln!(self.told, "{what}").expect("it listens");
    }

    /// The next event of a kind; others on the way are passed over.
    #[track_caller]
    pub fn next(&self, kind: &str) -> Value {
        loop {
            let event = self.event(Duration::from_secs(20));
            let event = event.unwrap_or_else(|| panic!("waited for {kind} at the peer"));
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// The next event of any kind; none when nothing happens for so long.
    pub fn event(&self, patience: Duration) -> Option<Value> {
        self.events.recv_timeout(patience).ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
