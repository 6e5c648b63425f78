//! A next hop of a node in proxy mode.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::Node;

/// A next hop that does what the test says.
pub struct NextHop(pub UdpSocket);

impl NextHop {
    pub fn new() -> NextHop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        NextHop(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn next(&self) -> Option<String> {
        let mut buffer = [0; 65_536];
        let (n, _) = self.0.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    #[track_caller]
    pub fn take(&self) -> String {
        self.next().expect("a request at the next hop")
    }

    /// Answers a request to the node's address, as Via says.
    pub fn answer(&self, node: &Node, request: &str, status: &str) {
        let kept = ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"];
        let lines: String = request
            .lines()
            .filter(|line| kept.iter().any(|name| line.starts_with(&format!("{name}:"))))
            .map(|line| format!("{line}\r\n").replace("To: <sip:+77011234567@", "To: <sip:+77011234567;x@"))
            .collect();
        let answer = format!("SIP/2.0 {status}\r\n{lines}Content-Length: 0\r\n\r\n");
        self.0.send_to(answer.as_bytes(), node.address).unwrap();
    }
}
