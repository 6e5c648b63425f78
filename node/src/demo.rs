//! `qalqan demo`: the simulator's country over real SIP, in real time, against a real node.
//!
//! The country's switches are sockets on loopback addresses of their own, one a trunk; the node is the same
//! one that `qalqan serve` runs, with its journal; the view reads that journal. Since the country knows the
//! truth about each call, the last line says whether an honest one was cut.

use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use call::{Label, Reason, Rule, Treatment, Verdict};
use clap::Args;
use crossterm::event::{self, Event as Key, KeyCode, KeyModifiers};
use rules::{Language, word};
use simulator::{Checker, Country, Event, Traffic};

use crate::config::{self, Listen, Origin, Transport};
use crate::live::View;
use crate::serve::Node;
use crate::simulate::write_configuration;
use crate::store::keys::Keys;
use crate::store::logs::Follow;
use crate::store::now_ms;

#[derive(Args)]
pub struct DemoArgs {
    /// The country and its calls follow from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many calls the country makes in a day; Kazakhstan's 20 million people make some 60 to 80 million
    #[arg(long, value_name = "N", default_value_t = 60_000_000)]
    calls_per_day: u64,
    /// Stop after this time: 30s, 5m [default: until q; 30s where there is no terminal]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// Keep the configuration, the lists and the journal here
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let n: u64 = digits.parse().map_err(|_| "write 30s or 5m".to_owned())?;
    match unit {
        "s" | "" => Ok(Duration::from_secs(n)),
        "m" => Ok(Duration::from_secs(n * 60)),
        _ => Err("write 30s or 5m".to_owned()),
    }
}

pub fn demo(args: &DemoArgs, language: Language) -> Result<(), Box<dyn std::error::Error>> {
    if args.calls_per_day == 0 {
        return Err("--calls-per-day 0: at least 1".into());
    }
    let country = Country::new(args.seed);
    let scratch = std::env::temp_dir().join(format!("qalqan-demo-{}", std::process::id()));
    let directory = args.directory.clone().unwrap_or_else(|| scratch.clone());
    write_configuration(&country, &directory)?;
    let mut setup = config::load(&Origin::File(directory.join("qalqan.toml")))?;
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    setup.sip.listen = vec![Listen { transport: Transport::Udp, address }];
    setup.sip.workers = 1;
    let trunks: Vec<String> = setup.policy.trunks.iter().map(|trunk| trunk.name.clone()).collect();
    let journal = setup.journal.clone();
    let node = Node::start(setup)?;

    let title = format!("sip:{address}  {} {}", word(language, "seed"), args.seed);
    let mut show = Show {
        language,
        view: View::new(language, title, trunks),
        follow: Follow::new(journal.directory, Keys::of_numbers(&journal.keys)?),
        callers: Callers::new(&country, address, args.calls_per_day)?,
        node: &node,
        end: None,
    };
    let is_terminal = std::io::stdout().is_terminal();
    let time = args.time.or((!is_terminal).then(|| Duration::from_secs(30)));
    show.end = time.map(|time| Instant::now() + time);
    let outcome = if is_terminal { show.on_terminal() } else { show.in_lines() };
    show.callers.settle();
    let report = show.callers.checker.report();
    node.stop();
    if args.directory.is_none() {
        let _ = std::fs::remove_dir_all(scratch);
    }
    outcome?;
    writeln!(std::io::stdout(), "{report}")?;
    match report.holds() {
        true => Ok(()),
        false => {
            Err(format!("seed {}: {} verdicts against the law", args.seed, report.violation_count()).into())
        }
    }
}

/// The demo while it runs.
struct Show<'n> {
    language: Language,
    view: View,
    follow: Follow,
    callers: Callers,
    node: &'n Node,
    end: Option<Instant>,
}

/// How often callers are looked after; well under what anybody sees.
const STEP: Duration = Duration::from_millis(5);
const FRAME: Duration = Duration::from_millis(250);

impl Show<'_> {
    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// Makes calls for the length of a frame, then reads what the journal has of them.
    fn frame(&mut self, stop: &mut dyn FnMut() -> std::io::Result<bool>) -> std::io::Result<bool> {
        let end = Instant::now() + FRAME;
        while Instant::now() < end {
            self.callers.step()?;
            if stop()? {
                return Ok(true);
            }
            std::thread::sleep(STEP);
        }
        let view = &mut self.view;
        self.follow.read(|record| view.add(&record));
        view.lost = self.node.stats.sum(|worker| &worker.journal_lost);
        let report = self.callers.checker.report();
        let w = |key| word(self.language, key);
        view.footer = vec![format!(
            "{}: {} {of} {}   {}: {} {of} {} {}, {} {}, {} {}",
            w("honest-cut"),
            report.honest_cut(),
            report.honest_calls(),
            w("attacks"),
            report.attacks_blocked(),
            report.attacks(),
            w("block"),
            report.attacks_withheld(),
            w("rang-hidden"),
            report.attacks_shown(),
            w("rang-shown"),
            of = w("of"),
        )];
        Ok(self.is_over())
    }

    fn on_terminal(&mut self) -> std::io::Result<()> {
        let mut terminal = ratatui::try_init()?;
        let outcome = (|| {
            let mut frames = 0;
            loop {
                let stopped = self.frame(&mut quit_asked)?;
                frames += 1;
                if frames % 4 == 0 {
                    self.view.tick();
                }
                terminal.draw(|frame| self.view.draw(frame))?;
                if stopped {
                    return Ok(());
                }
            }
        })();
        ratatui::restore();
        outcome
    }

    fn in_lines(&mut self) -> std::io::Result<()> {
        let mut frames = 0;
        loop {
            let stopped = self.frame(&mut || Ok(false))?;
            frames += 1;
            if frames % 4 == 0 {
                self.view.tick();
                writeln!(std::io::stdout(), "{}", self.view.line())?;
            }
            if stopped {
                return Ok(());
            }
        }
    }
}

fn quit_asked() -> std::io::Result<bool> {
    while event::poll(Duration::ZERO)? {
        if let Key::Key(key) = event::read()? {
            let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if ctrl_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The switches of the country's networks.
struct Callers {
    traffic: Traffic,
    next: Event,
    sockets: Vec<UdpSocket>,
    node: SocketAddr,
    /// Calls waiting for their answer, by number.
    open: std::collections::HashMap<u64, Event>,
    made: u64,
    checker: Checker,
}

impl Callers {
    fn new(country: &Country, node: SocketAddr, calls_per_day: u64) -> std::io::Result<Callers> {
        let sockets = country.trunks().iter().map(|trunk| {
            let socket = UdpSocket::bind((trunk.source.as_str(), 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let mut traffic = country.traffic().calls_per_day(calls_per_day).starting_at(now_ms());
        let mut next = Event::default();
        traffic.next_into(&mut next);
        Ok(Callers {
            traffic,
            next,
            sockets: sockets.collect::<std::io::Result<_>>()?,
            node,
            open: Default::default(),
            made: 0,
            checker: Checker::new(country.seed),
        })
    }

    /// Makes the calls that are due and takes the answers that came.
    fn step(&mut self) -> std::io::Result<()> {
        let now = now_ms();
        while self.next.time_ms <= now {
            self.made += 1;
            let event = std::mem::take(&mut self.next);
            let socket = &self.sockets[event.trunk];
            let message = invite(&event, self.made, socket.local_addr()?, self.node);
            if socket.send_to(message.as_bytes(), self.node).is_ok() {
                self.open.insert(self.made, event);
            }
            self.traffic.next_into(&mut self.next);
        }
        self.answers();
        Ok(())
    }

    fn answers(&mut self) {
        let mut buffer = [0; 4096];
        for socket in &self.sockets {
            while let Ok(n) = socket.recv(&mut buffer) {
                let answer = String::from_utf8_lossy(&buffer[..n]);
                let Some(number) = call_number(&answer) else { continue };
                let Some(event) = self.open.remove(&number) else { continue };
                let _ = socket.send_to(ack(&answer, self.node).as_bytes(), self.node);
                if let Some(verdict) = verdict(&answer) {
                    self.checker.observe(&event, &verdict);
                }
            }
        }
    }

    /// Waits a moment for the answers still on their way.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.answers();
            if self.open.is_empty() {
                return;
            }
            std::thread::sleep(STEP);
        }
    }
}

fn invite(event: &Event, number: u64, own: SocketAddr, node: SocketAddr) -> String {
    let Event { calling, presentation, called, redirecting, privacy, .. } = event;
    let host = own.ip();
    let from = match (presentation.as_str(), calling.as_str(), privacy) {
        (_, _, true) => "sip:anonymous@anonymous.invalid".to_owned(),
        ("", "", _) => format!("sip:{host}"),
        ("", number, _) | (number, _, _) => format!("sip:{number}@{host}"),
    };
    let mut more = String::new();
    if !calling.is_empty() {
        more.push_str(&format!("P-Asserted-Identity: <sip:{calling}@{host}>\r\n"));
    }
    if *privacy {
        more.push_str("Privacy: id\r\n");
    }
    if !redirecting.is_empty() {
        more.push_str(&format!("Diversion: <sip:{redirecting}@{host}>;reason=unconditional\r\n"));
    }
    format!(
        "INVITE sip:{called}@{node} SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <{from}>;tag={number}\r\nTo: <sip:{called}@{node}>\r\n\
         Call-ID: {number}@{host}\r\nCSeq: 1 INVITE\r\nContact: <sip:{own}>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn call_number(answer: &str) -> Option<u64> {
    header(answer, "Call-ID")?.split('@').next()?.parse().ok()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// RFC 3261 section 17.1.1.3: the ACK of an answer that ends a call.
fn ack(answer: &str, node: SocketAddr) -> String {
    let of = |name| header(answer, name).unwrap_or("");
    format!(
        "ACK sip:{node} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
        of("Via"),
        of("From"),
        of("To"),
        of("Call-ID")
    )
}

/// The verdict as the wire says it.
fn verdict(answer: &str) -> Option<Verdict> {
    let mut parts = header(answer, "Qalqan-Verdict")?.split(';');
    let name = parts.next()?;
    let (mut label, mut rule, mut reason) = (None, None, None);
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "label" => label = Some(value),
            "rule" => rule = Rule::from_id(value),
            "reason" => reason = Reason::ALL.iter().copied().find(|reason| reason.name() == value),
            _ => {}
        }
    }
    let treatment = Treatment::ALL
        .into_iter()
        .find(|treatment| treatment.name() == name && treatment.label().map(Label::name) == label)?;
    Some(Verdict::of_rule(rule?, treatment, reason?))
}
