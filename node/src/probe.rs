//! Whether next hops answer: OPTIONS to each, every so often (RFC 3261 section 11).
//!
//! Any final answer but 503 says that a hop is there; silence twice in a row, or a refusal of the kernel's, that
//! it is not. The workers read the outcome when they choose where a call goes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::config::{Hop, Setup};
use crate::serve::log;

/// How long the thread sleeps at most before it looks whether it shall stop, or hops became others.
const LOOK: Duration = Duration::from_millis(50);
/// Unanswered questions in a row that make a hop count as down.
const SILENT: u32 = 2;

/// Runs until `stop` is set.
pub fn run(setup: &ArcSwap<Setup>, stop: &AtomicBool) {
    let mut probes: HashMap<SocketAddr, Probe> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let setup = setup.load();
        let Some(proxy) = &setup.sip.proxy else { continue };
        let Some(every) = proxy.probe else { continue };
        probes.retain(|address, _| proxy.hops.iter().any(|hop| hop.address == *address));
        for hop in &proxy.hops {
            let probe = match probes.entry(hop.address) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => match Probe::open(hop.address) {
                    Ok(probe) => place.insert(probe),
                    Err(_) => continue,
                },
            };
            if let Some(is_up) = probe.step(hop, every, Instant::now())
                && hop.note(is_up)
            {
                let others = if proxy.hops.len() > 1 { "calls go to others" } else { "there is no other" };
                match is_up {
                    true => log(&format!("next hop {} answers", hop.name)),
                    false => log(&format!("next hop {} does not answer: {others}", hop.name)),
                }
            }
        }
    }
}

/// One hop's questions.
struct Probe {
    socket: UdpSocket,
    asked: Option<Instant>,
    answered: bool,
    missed: u32,
    sequence: u32,
}

impl Probe {
    fn open(hop: SocketAddr) -> io::Result<Probe> {
        let any: SocketAddr = if hop.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        // Connected, so that the kernel says when nobody listens there.
        socket.connect(hop)?;
        socket.set_nonblocking(true)?;
        Ok(Probe { socket, asked: None, answered: true, missed: 0, sequence: 0 })
    }

    /// Reads answers, asks again when it is time; gives what is known now where something came of it.
    fn step(&mut self, hop: &Hop, every: Duration, now: Instant) -> Option<bool> {
        let mut outcome = None;
        let mut buffer = [0; 2048];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(n) => {
                    if let Some(status) = final_status(&buffer[..n]) {
                        self.answered = true;
                        self.missed = 0;
                        outcome = Some(status != 503);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    (self.answered, self.missed) = (true, SILENT);
                    outcome = Some(false);
                }
                Err(_) => break,
            }
        }
        if self.asked.is_none_or(|asked| now - asked >= every) {
            if !self.answered {
                self.missed += 1;
                if self.missed >= SILENT {
                    outcome = Some(false);
                }
            }
            self.asked = Some(now);
            self.answered = false;
            self.ask(hop.address);
        }
        outcome
    }

    fn ask(&mut self, hop: SocketAddr) {
        let Ok(own) = self.socket.local_addr() else { return };
        self.sequence += 1;
        let n = self.sequence;
        let options = format!(
            "OPTIONS sip:{hop} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKprobe{n};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:qalqan@{own}>;tag=probe\r\nTo: <sip:{hop}>\r\nCall-ID: probe-{}@{own}\r\n\
             CSeq: {n} OPTIONS\r\nContact: <sip:qalqan@{own}>\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n",
            std::process::id()
        );
        let _ = self.socket.send(options.as_bytes());
    }
}

fn final_status(answer: &[u8]) -> Option<u16> {
    let status = std::str::from_utf8(answer.strip_prefix(b"SIP/2.0 ")?.get(..3)?).ok()?.parse().ok()?;
    (status >= 200).then_some(status)
}
