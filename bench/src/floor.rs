//! The floor: receives and answers in batches, and does nothing else. No program on UDP can cost less.

use std::net::SocketAddr;
use std::time::Duration;

use qalqan::udp::{Inbox, Outbox, open};

/// Answers every datagram with an answer of usual size that carries its Call-ID, until killed. `cuts`: answers to one
/// peer leave as one packet that the kernel cuts apart.
pub fn run(address: SocketAddr, cuts: bool) -> std::io::Result<()> {
    let socket = open(address, Duration::from_millis(100))?;
    let mut inbox = Inbox::new();
    let mut outbox = if cuts { Outbox::default() } else { Outbox::without_cutting() };
    let filler = "x".repeat(330);
    loop {
        let received = inbox.receive(&socket)?;
        for index in 0..received {
            let (message, source) = inbox.message(index);
            let Some(at) = message.windows(9).position(|window| window == b"Call-ID: ") else { continue };
            let Some(call_id) = message.get(at..at + 33) else { continue };
            let out = outbox.buffer();
            out.extend_from_slice(b"SIP/2.0 302 Moved Temporarily\r\n");
            out.extend_from_slice(call_id);
            out.extend_from_slice(b"\r\nX: ");
            out.extend_from_slice(filler.as_bytes());
            out.extend_from_slice(b"\r\n\r\n");
            outbox.commit(source);
        }
        if !outbox.is_empty() {
            outbox.send(&socket);
        }
    }
}
