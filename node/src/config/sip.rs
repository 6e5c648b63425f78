//! How SIP is spoken: `[sip]` and its tables, checked.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use call::{Label, Rule, TrunkId};
use rules::word;
use tokio_rustls::rustls::ServerConfig;
use toml::Spanned;

use super::file::{ConfigFile, Onward};
use super::{Allow, Marks, Reader, UnknownSource, Way};
use crate::tls;

#[derive(Clone)]
pub struct Sip {
    pub listen: Vec<Listen>,
    /// Workers for each listening address.
    pub workers: usize,
    pub mode: Way,
    pub allow: Allow,
    pub marks: Marks,
    pub unknown_source: UnknownSource,
    /// Host and port that allowed calls are redirected to, by trunk; none: back to who asked.
    pub onward: Vec<Option<String>>,
    /// The status line a block by each rule is answered with.
    pub block: [Refusal; Rule::ALL.len()],
    /// Where a caller who was refused can turn: a URL, for 603+.
    pub redress: Option<String>,
    /// For new connections to `tls:` addresses.
    pub tls: Option<Arc<ServerConfig>>,
    pub limits: Limits,
    /// In proxy mode.
    pub proxy: Option<Arc<Proxy>>,
}

/// An address to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listen {
    pub transport: Transport,
    pub address: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// Bounds on TCP and TLS connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub connections: usize,
    pub connections_per_source: usize,
    /// How long a connection may say nothing.
    pub idle: Duration,
    /// How long a message, a handshake or a peer that does not read may take.
    pub message: Duration,
}

/// How calls are passed on.
#[derive(Debug)]
pub struct Proxy {
    /// Host and port as they stand in Via and Record-Route.
    pub via: String,
    /// The same as an address, where it is one.
    pub own: Option<SocketAddr>,
    pub record_route: bool,
    /// What From shows of a marked call, by label.
    pub display: [Option<&'static str>; 4],
    /// Every next hop once.
    pub hops: Vec<Hop>,
    /// Indices into `hops` by trunk, in the order in which they are tried.
    pub routes: Vec<Vec<u8>>,
    /// Those for calls of no trunk.
    pub route: Vec<u8>,
    /// Time between OPTIONS to each next hop; none: they are not asked.
    pub probe: Option<Duration>,
    /// After this time without any answer a repeated INVITE goes to the next hop after.
    pub silent_ms: i64,
}

/// Where calls go on to.
#[derive(Debug)]
pub struct Hop {
    /// Host and port as configured.
    pub name: String,
    pub address: SocketAddr,
    /// The address in text, for the Request-URI.
    pub text: String,
    /// It does not answer: calls go to another, if there is one.
    down: AtomicBool,
}

impl Hop {
    #[inline]
    pub fn is_up(&self) -> bool {
        !self.down.load(Ordering::Relaxed)
    }

    /// Notes whether it answers; true when that is news.
    pub fn note(&self, is_up: bool) -> bool {
        self.down.swap(!is_up, Ordering::Relaxed) == is_up
    }
}

/// How a refused call is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Code and reason phrase.
    pub status: &'static str,
    /// 603+: the answer says in a form for machines where to complain.
    pub is_network_blocked: bool,
}

const NETWORK_BLOCKED: Refusal = Refusal { status: "603 Network Blocked", is_network_blocked: true };

impl Sip {
    /// Where calls of a trunk go on to; none: back to who asked.
    pub fn onward(&self, trunk: TrunkId) -> Option<&str> {
        self.onward.get(usize::from(trunk.0))?.as_deref()
    }
}

impl Proxy {
    /// What is known of next hops goes on being known after a reload.
    pub fn inherit(&self, before: &Proxy) {
        for hop in &self.hops {
            if let Some(old) = before.hops.iter().find(|old| old.address == hop.address) {
                hop.note(old.is_up());
            }
        }
    }

    /// Whether a next hop has this address.
    pub fn is_hop(&self, ip: IpAddr) -> bool {
        self.hops.iter().any(|hop| hop.address.ip() == ip)
    }

    /// The next hops for calls of a trunk, the first first.
    pub fn route(&self, trunk: TrunkId) -> &[u8] {
        self.routes.get(usize::from(trunk.0)).map_or(&self.route, |route| route)
    }
}

impl Refusal {
    const fn new(status: &'static str) -> Refusal {
        Refusal { status, is_network_blocked: false }
    }

    /// Reads `603`, `603+`, `607`, `608`, `404`, `433`.
    pub fn parse(text: &str) -> Option<Refusal> {
        Some(match text {
            "603" => Refusal::new("603 Decline"),
            "603+" => NETWORK_BLOCKED,
            "607" => Refusal::new("607 Unwanted"),
            "608" => Refusal::new("608 Rejected"),
            "404" => Refusal::new("404 Not Found"),
            "433" => Refusal::new("433 Anonymity Disallowed"),
            "503" => Refusal::new("503 Service Unavailable"),
            _ => return None,
        })
    }
}

impl Listen {
    /// Reads `0.0.0.0:5060` (UDP and TCP, RFC 3261 section 18.2.1), `udp:…`, `tcp:…` or `tls:…`.
    fn parse(text: &str) -> Option<Vec<Listen>> {
        let (transports, address) = match text.split_once(':')? {
            ("udp", address) => (&[Transport::Udp][..], address),
            ("tcp", address) => (&[Transport::Tcp][..], address),
            ("tls", address) => (&[Transport::Tls][..], address),
            _ => (&[Transport::Udp, Transport::Tcp][..], text),
        };
        let address = address.parse().ok()?;
        Some(transports.iter().map(|&transport| Listen { transport, address }).collect())
    }
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// As counters name it.
    pub fn door(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }
}

impl Reader<'_> {
    pub(super) fn sip(&mut self, file: &ConfigFile) -> Sip {
        let table = &file.sip;
        let listen = self.listen(&table.listen);
        let tls = table.tls.as_ref().and_then(|tls| match tls::server_config(tls, self.base, &[]) {
            Ok(config) => Some(config),
            Err((span, what)) => {
                self.faults.at(Some(span), &what);
                None
            }
        });
        if table.tls.is_none() {
            let spans = table.listen.iter().filter(|listen| listen.get_ref().starts_with("tls:"));
            for listen in spans {
                self.faults
                    .at(Some(listen.span()), "a tls: address needs [sip.tls] with certificate and key");
            }
        }
        for onward in file.trunk.values().map(|row| &row.onward).chain([&table.onward]).flatten() {
            self.onward(onward, table.mode);
        }
        if let Some(redress) = &table.redress
            && redress.get_ref().contains(['"', '\r', '\n', '\\'])
        {
            self.faults.at(Some(redress.span()), "redress must have no quotes, backslashes or line ends");
        }
        let first = |onward: &Option<Spanned<Onward>>| onward.as_ref()?.get_ref().hops().first().cloned();
        Sip {
            workers: match table.workers {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                n => n.min(256),
            },
            mode: table.mode,
            allow: table.allow,
            marks: table.marks,
            unknown_source: table.unknown_source,
            onward: file
                .trunk
                .values()
                .map(|row| first(&row.onward).or_else(|| first(&table.onward)))
                .collect(),
            block: self.block(file),
            redress: table.redress.as_ref().map(|text| text.get_ref().clone()),
            tls,
            limits: Limits {
                connections: table.connections.most,
                connections_per_source: table.connections.most_per_source,
                idle: Duration::from_secs(table.connections.idle_s.max(1)),
                message: Duration::from_secs(table.connections.message_s.max(1)),
            },
            proxy: (table.mode == Way::Proxy).then(|| self.proxy(file, &listen)).flatten().map(Arc::new),
            listen,
        }
    }

    fn listen(&mut self, texts: &[Spanned<String>]) -> Vec<Listen> {
        let mut found = Vec::new();
        for text in texts {
            match Listen::parse(text.get_ref()) {
                Some(listen) => found.extend(listen),
                None => {
                    let what = format!(
                        "listen \"{}\" is not an address and port, such as 0.0.0.0:5060, or tcp: or tls: and one",
                        text.get_ref()
                    );
                    self.faults.at(Some(text.span()), &what);
                }
            }
        }
        found
    }

    fn block(&mut self, file: &ConfigFile) -> [Refusal; Rule::ALL.len()] {
        // In proxy mode no answer of this node's says "allow".
        let route_advance = match (file.sip.mode, file.sip.allow) {
            (Way::Proxy, _) | (_, Allow::Redirect) => "",
            (_, Allow::NotFound) => "404",
            (_, Allow::Unavailable) => "503",
        };
        let refusal = |reader: &mut Self, text: &Spanned<String>| {
            if text.get_ref() == route_advance {
                let what = format!(
                    "{route_advance} says that a call may pass (allow): a switch could not tell a block from it"
                );
                reader.faults.at(Some(text.span()), &what);
            }
            Refusal::parse(text.get_ref()).unwrap_or_else(|| {
                let what = format!("no answer \"{}\": 603, 603+, 607, 608, 404, 433 or 503", text.get_ref());
                reader.faults.at(Some(text.span()), &what);
                Refusal::new("603 Decline")
            })
        };
        let usual = refusal(self, &file.sip.block);
        let mut block = [usual; Rule::ALL.len()];
        // The catalogue's own: analytics blocks say where to complain (ATIS-1000099).
        block[Rule::R18 as usize] = NETWORK_BLOCKED;
        for (id, text) in &file.sip.answers {
            match Rule::from_id(id) {
                Some(rule) => block[rule as usize] = refusal(self, text),
                None => self.faults.at(Some(text.span()), &format!("no rule \"{id}\"")),
            }
        }
        block
    }

    fn onward(&mut self, onward: &Spanned<Onward>, mode: Way) {
        let hops = onward.get_ref().hops();
        for text in hops.iter().filter(|text| !is_host_and_port(text)) {
            let what = format!("onward \"{text}\" is not a host and port, such as 192.0.2.10:5060");
            self.faults.at(Some(onward.span()), &what);
        }
        if hops.len() > 1 && mode == Way::Redirect {
            self.faults.at(Some(onward.span()), "several next hops need mode = \"proxy\"");
        }
    }

    fn proxy(&mut self, file: &ConfigFile, listen: &[Listen]) -> Option<Proxy> {
        let table = &file.sip.proxy;
        let udp = listen.iter().find(|listen| listen.transport == Transport::Udp);
        if udp.is_none() {
            self.faults
                .at(None, "mode = \"proxy\" needs a UDP address in listen: next hops are spoken to over UDP");
        }
        let via = match &table.via {
            Some(via) if is_host_and_port(via.get_ref()) => via.get_ref().clone(),
            Some(via) => {
                let what =
                    format!("via \"{}\" is not a host and port, such as 192.0.2.5:5060", via.get_ref());
                self.faults.at(Some(via.span()), &what);
                return None;
            }
            None if udp.is_none_or(|udp| udp.address.ip().is_unspecified()) => {
                let what = "mode = \"proxy\": write via = \"HOST:PORT\" under [sip.proxy], where next hops can answer to: \
                            this node listens on every address";
                self.faults.at(None, what);
                return None;
            }
            None => udp?.address.to_string(),
        };
        let mut hops = Vec::new();
        let mut route = |reader: &mut Self, onward: &Option<Spanned<Onward>>| -> Vec<u8> {
            let Some(onward) = onward else { return Vec::new() };
            let names = onward.get_ref().hops().iter();
            names.flat_map(|name| reader.hop(name, onward.span(), &mut hops)).collect()
        };
        let usual = route(self, &file.sip.onward);
        let mut routes = Vec::new();
        for (name, row) in &file.trunk {
            let own = route(self, &row.onward);
            let own = if own.is_empty() { usual.clone() } else { own };
            if own.is_empty() {
                let what = format!(
                    "mode = \"proxy\": trunk {name} has no next hop: write onward under [sip] or [trunk.{name}]"
                );
                self.faults.at(Some(row.class.span()), &what);
            }
            routes.push(own);
        }
        let display = [Label::Verified, Label::International, Label::NotVerified, Label::Suspected]
            .map(|label| table.display.then(|| word(file.language, display_key(label))));
        Some(Proxy {
            own: via.parse().ok().or_else(|| Some(SocketAddr::new(via.parse().ok()?, 5060))),
            via,
            record_route: table.record_route,
            display,
            // Emergency calls from addresses of no trunk have to go somewhere.
            route: if usual.is_empty() && !hops.is_empty() { vec![0] } else { usual },
            hops,
            routes,
            probe: (table.probe_ms > 0).then(|| Duration::from_millis(table.probe_ms.max(50))),
            silent_ms: table.silent_ms as i64,
        })
    }

    /// The addresses of a next hop, as indices; each address stands in `hops` once.
    fn hop(&mut self, name: &str, span: Range<usize>, hops: &mut Vec<Hop>) -> Vec<u8> {
        if !is_host_and_port(name) {
            return Vec::new(); // Said already.
        }
        let has_port =
            name.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let whole = if has_port { name.to_owned() } else { format!("{name}:5060") };
        let addresses: Vec<SocketAddr> = match whole.to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                self.faults.at(Some(span), &format!("onward \"{name}\": {error}"));
                return Vec::new();
            }
        };
        let mut indices = Vec::new();
        for address in addresses {
            let known = hops.iter().position(|hop| hop.address == address);
            let index = known.unwrap_or_else(|| {
                let text = address.to_string();
                hops.push(Hop { name: whole.clone(), address, text, down: AtomicBool::new(false) });
                hops.len() - 1
            });
            match u8::try_from(index) {
                Ok(index) if !indices.contains(&index) => indices.push(index),
                Ok(_) => {}
                Err(_) => self.faults.at(Some(span.clone()), "more than 256 next hops"),
            }
        }
        indices
    }
}

/// Letters, digits and what hosts, ports and IPv6 references are made of.
fn is_host_and_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}

fn display_key(label: Label) -> &'static str {
    match label {
        Label::Verified => "display-verified",
        Label::International => "display-international",
        Label::NotVerified => "display-not-verified",
        Label::Suspected => "display-suspected",
    }
}
