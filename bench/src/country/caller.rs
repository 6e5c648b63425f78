//! Plays calls through real SIP: who calls, and the telephones that ring, on one socket each.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::day::{Call, Treatment};
use super::geography::{CALLER, PHONES};
use super::switch::JUDGED;

/// An INVITE is repeated after so long without any answer, then after twice as long each time (RFC 3261 timer A).
const REPEAT: Duration = Duration::from_millis(500);
/// A call without an answer is given up.
const PATIENCE: Duration = Duration::from_secs(12);

/// What one operator's node said of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    pub by: String,
    /// `allow`, `mark`, `withhold`, `block`, or `unjudged`.
    pub verdict: String,
    pub rule: String,
    pub reason: String,
}

/// What became of a call.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    /// The final answer.
    pub status: Option<u16>,
    /// What the telephone shows, once it rang.
    pub shown: Option<String>,
    pub judged: Vec<Judged>,
}

impl Outcome {
    /// None where the call was lost: refused by nobody, and no telephone rang.
    pub fn treatment(&self) -> Option<Treatment> {
        let some = |verdict: &str| self.judged.iter().any(|judged| judged.verdict == verdict);
        match &self.shown {
            Some(_) if !matches!(self.status, Some(200 | 486)) => None,
            Some(shown) if shown == "anonymous" => Some(Treatment::Withheld),
            Some(_) if some("mark") => Some(Treatment::Marked),
            Some(_) => Some(Treatment::Passed),
            None if self.status.is_some() && some("block") => Some(Treatment::Blocked),
            None => None,
        }
    }

    /// The verdict that decided: the hardest, the last of those.
    pub fn deciding(&self) -> Option<&Judged> {
        let order = ["unjudged", "allow", "mark", "withhold", "block"];
        self.judged.iter().max_by_key(|judged| order.iter().position(|verdict| *verdict == judged.verdict))
    }
}

struct Open {
    invite: String,
    started: Instant,
    due: Instant,
    wait: Duration,
    heard: bool,
}

pub struct Caller {
    caller: UdpSocket,
    phones: UdpSocket,
    /// Distinguishes the calls of one day from those of another.
    day: u32,
}

impl Caller {
    /// Takes the addresses of callers and telephones; waits while another country has them.
    pub fn open() -> io::Result<Caller> {
        let patience = Instant::now() + Duration::from_secs(120);
        let caller = loop {
            match UdpSocket::bind(CALLER) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(500));
                }
                outcome => break outcome?,
            }
        };
        let phones = UdpSocket::bind(PHONES)?;
        caller.set_nonblocking(true)?;
        phones.set_nonblocking(true)?;
        Ok(Caller { caller, phones, day: 0 })
    }

    /// Makes the calls one after another, so many a second, and tells `each` how many were made.
    pub fn play(
        &mut self,
        calls: &[Call],
        calls_per_s: f64,
        mut each: impl FnMut(usize),
    ) -> io::Result<Vec<Outcome>> {
        self.day += 1;
        let mut outcomes = vec![Outcome::default(); calls.len()];
        let mut open: HashMap<usize, Open> = HashMap::new();
        let started = Instant::now();
        let mut made = 0;
        while made < calls.len() || !open.is_empty() {
            let now = Instant::now();
            while made < calls.len() && started.elapsed().as_secs_f64() * calls_per_s >= made as f64 {
                let invite = self.invite(&calls[made], made);
                self.caller.send_to(invite.as_bytes(), calls[made].entry)?;
                open.insert(
                    made,
                    Open { invite, started: now, due: now + REPEAT, wait: REPEAT, heard: false },
                );
                made += 1;
                each(made);
            }
            self.ring(&mut outcomes)?;
            self.hear(calls, &mut open, &mut outcomes)?;
            open.retain(|_, one| now < one.started + PATIENCE);
            for (index, one) in &mut open {
                if !one.heard && now >= one.due {
                    self.caller.send_to(one.invite.as_bytes(), calls[*index].entry)?;
                    one.wait *= 2;
                    one.due = now + one.wait;
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(outcomes)
    }

    fn invite(&self, call: &Call, index: usize) -> String {
        let Call { entry, calling, called, redirecting, .. } = call;
        let (day, host) = (self.day, entry.ip());
        let diversion = redirecting.as_ref().map_or_else(String::new, |number| {
            format!("Diversion: <sip:{number}@{CALLER};user=phone>;reason=unconditional\r\n")
        });
        format!(
            "INVITE sip:{called}@{host};user=phone SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{day}-{index}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{calling}@{CALLER};user=phone>;tag=c{index}\r\n\
             To: <sip:{called}@{host};user=phone>\r\nCall-ID: {index}@day-{day}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{calling}@{CALLER}>\r\nP-Asserted-Identity: <sip:{calling}@{CALLER};user=phone>\r\n\
             {diversion}Content-Length: 0\r\n\r\n"
        )
    }

    /// Which of today's calls a message is about.
    fn index(&self, message: &str) -> Option<usize> {
        let (index, day) = header(message, "Call-ID")?.split_once("@day-")?;
        if day.parse() == Ok(self.day) { index.parse().ok() } else { None }
    }

    /// Telephones: half answer, half are busy.
    fn ring(&self, outcomes: &mut [Outcome]) -> io::Result<()> {
        while let Some((message, from)) = receive(&self.phones)? {
            let Some(index) = self.index(&message).filter(|&index| index < outcomes.len()) else { continue };
            let status = match message.split(' ').next() {
                Some("INVITE") => {
                    let number = |name| header(&message, name).and_then(user).unwrap_or("").to_owned();
                    let (presented, asserted) = (number("From"), number("P-Asserted-Identity"));
                    // Whoever can read either of the two knows who calls.
                    let hidden = [&presented, &asserted].iter().all(|&number| number == "anonymous");
                    let outcome = &mut outcomes[index];
                    outcome.shown = Some(if hidden { "anonymous".to_owned() } else { presented });
                    outcome.judged = judged(&message);
                    if index % 2 == 0 { "200 OK" } else { "486 Busy Here" }
                }
                Some("BYE") => "200 OK",
                _ => continue,
            };
            self.phones.send_to(answer(&message, status).as_bytes(), from)?;
        }
        Ok(())
    }

    fn hear(
        &self,
        calls: &[Call],
        open: &mut HashMap<usize, Open>,
        outcomes: &mut [Outcome],
    ) -> io::Result<()> {
        while let Some((message, _)) = receive(&self.caller)? {
            let Some(index) = self.index(&message).filter(|&index| index < calls.len()) else { continue };
            let status = message.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).unwrap_or(0);
            if !message.starts_with("SIP/2.0") || header(&message, "CSeq") != Some("1 INVITE") {
                continue;
            }
            if let Some(one) = open.get_mut(&index) {
                one.heard = true;
            }
            if status < 200 {
                continue;
            }
            let call = &calls[index];
            let to = header(&message, "To").unwrap_or_default();
            if status < 300 {
                // Within the call: by the way that the switches recorded.
                let uri = header(&message, "Contact").and_then(|contact| contact.split(['<', '>']).nth(1));
                let uri = uri.unwrap_or_default();
                let mut routes = headers(&message, "Record-Route");
                routes.reverse();
                self.within(call, index, ("ACK", 1, uri), to, &routes)?;
                self.within(call, index, ("BYE", 2, uri), to, &routes)?;
            } else {
                let uri = format!("sip:{}@{};user=phone", call.called, call.entry.ip());
                self.within(call, index, ("ACK", 1, &uri), to, &[])?;
            }
            if open.remove(&index).is_some() {
                outcomes[index].status = Some(status);
                if outcomes[index].shown.is_none() {
                    outcomes[index].judged = judged(&message);
                }
            }
        }
        Ok(())
    }

    fn within(
        &self,
        call: &Call,
        index: usize,
        (method, sequence, uri): (&str, u32, &str),
        to: &str,
        routes: &[&str],
    ) -> io::Result<()> {
        let (day, calling) = (self.day, &call.calling);
        // The ACK of a refusal belongs to its INVITE; all else is a transaction of its own.
        let branch = match routes.is_empty() && method == "ACK" {
            true => format!("{day}-{index}"),
            false => format!("{day}-{index}-{method}"),
        };
        let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let message = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
             {routes}From: <sip:{calling}@{CALLER};user=phone>;tag=c{index}\r\nTo: {to}\r\n\
             Call-ID: {index}@day-{day}\r\nCSeq: {sequence} {method}\r\nContent-Length: 0\r\n\r\n"
        );
        self.caller.send_to(message.as_bytes(), call.entry).map(|_| ())
    }
}

fn receive(socket: &UdpSocket) -> io::Result<Option<(String, SocketAddr)>> {
    let mut buffer = [0; 16_384];
    match socket.recv_from(&mut buffer) {
        Ok((n, from)) => Ok(Some((String::from_utf8_lossy(&buffer[..n]).into_owned(), from))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn headers<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    let lines = message.split("\r\n").skip(1).take_while(|line| !line.is_empty());
    let values = lines.filter_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    });
    values.collect()
}

fn header<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    headers(message, name).first().copied()
}

/// The user part of the first URI, without its parameters.
fn user(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("sip:")?;
    rest.split(['@', ';']).next()
}

fn judged(message: &str) -> Vec<Judged> {
    let read = |value: &str| {
        let mut parts = value.split(';');
        let (by, verdict) = (parts.next()?.to_owned(), parts.next().unwrap_or("").to_owned());
        let of = |name: &str| {
            let found = value.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or("").to_owned()
        };
        Some(Judged { by, verdict, rule: of("rule"), reason: of("reason") })
    };
    headers(message, JUDGED).into_iter().filter_map(read).collect()
}

fn answer(request: &str, status: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
        for value in headers(request, name) {
            let tag = if name == "To" && !value.contains(";tag=") { ";tag=phone" } else { "" };
            text += &format!("{name}: {value}{tag}\r\n");
        }
    }
    text + &format!("Contact: <sip:phone@{PHONES}>\r\nContent-Length: 0\r\n\r\n")
}
