//! A next hop for proxy mode: refuses every call at once with 486, in batches, and does nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use qalqan::udp::{Inbox, Outbox, open};
use sip::{Answer, Method, Name, Parser, Via};

/// Answers until killed.
pub fn run(address: SocketAddr) -> std::io::Result<()> {
    let socket = open(address, Duration::from_millis(100))?;
    let (mut inbox, mut outbox, mut parser) = (Inbox::new(), Outbox::default(), Parser::new());
    loop {
        let received = inbox.receive(&socket)?;
        for index in 0..received {
            let (message, source) = inbox.message(index);
            let Some(request) = parser.parse(message).0 else { continue };
            let Some(via) = request.value(Name::Via).and_then(Via::parse) else { continue };
            let status = match request.method {
                Method::Invite => "486 Busy Here",
                Method::Options => "200 OK",
                _ => continue,
            };
            Answer::start(outbox.buffer(), &request, &via, status, 1, source).finish();
            outbox.commit(source);
        }
        if !outbox.is_empty() {
            outbox.send(&socket);
        }
    }
}
