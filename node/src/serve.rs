//! A running node: workers, the journal's keeper, signals.

use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use socket2::Socket;

use crate::casework::{FED, Register};
use crate::config::{self, Listen, Origin, Setup, Transport};
use crate::connections::Connections;
use crate::exchange::{self, Counts, Line};
use crate::http;
use crate::loans::{Loans, Suspects};
use crate::metrics::{self, Places, Watch};
use crate::nats;
use crate::notify;
use crate::probe;
use crate::scorecard::Counted;
use crate::stats::{Stats, WorkerStats};
use crate::store::{Store, now_ms};
use crate::stream::{self, StreamWorker};
use crate::traces::Traces;
use crate::udp;
use crate::watching::Watching;
use crate::worker::{Desk, Worker};

/// How long a worker waits for a datagram before it looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// A node with its workers running.
pub struct Node {
    setup: Arc<ArcSwap<Setup>>,
    pub stats: Stats,
    pub store: Store,
    pub connections: Arc<Connections>,
    /// How the node is, for those who ask by HTTP.
    watch: Option<Arc<Watch>>,
    /// What was asked between operators.
    counts: Arc<Counts>,
    /// What each trunk handed over.
    scorecard: Arc<Counted>,
    places: Arc<Places>,
    stop: Arc<AtomicBool>,
    state: RandomState,
    threads: Vec<JoinHandle<()>>,
    /// To the thread that asks other operators.
    line: Option<Line>,
    /// To the thread that has the loans.
    loans: Option<Loans>,
    /// To the thread that has the register of cases.
    casework: Option<Register>,
    /// Watches numbers while they call.
    watching: Option<Arc<Watching>>,
    /// Ends after the workers, whose copies it sends.
    traces: Option<Traces>,
    /// Ends after the journal is sealed, which it sends.
    nats: Option<nats::Line>,
}

impl Node {
    /// Opens sockets and journal, and starts the workers.
    pub fn start(mut setup: Setup) -> io::Result<Node> {
        let place = |error: io::Error, what: String| io::Error::new(error.kind(), format!("{what}: {error}"));
        let journal = |error| place(error, format!("journal {}", setup.journal.directory.display()));
        if let Some(nats) = &setup.nats {
            nats::Position::begin(&setup.journal.directory, nats).map_err(journal)?;
        }
        let store = Store::open(&setup.journal).map_err(journal)?;
        store.keep_basis(setup.policy.basis());
        let scorecard = Arc::new(Counted::open(&setup.journal.directory));
        let (listen, workers) = (setup.sip.listen.clone(), setup.sip.workers);
        let has_proxy = setup.sip.proxy.is_some();
        let places = Arc::new(Places::default());
        places.take(&mut setup);
        setup.policy.scores = setup.watch.as_ref().map(|_| Arc::default());
        let setup = Arc::new(ArcSwap::from_pointee(setup));
        let traces = match &setup.load().tracing {
            Some(tracing) => Some(Traces::start(tracing, setup.clone())?),
            None => None,
        };
        let mut node = Node {
            setup,
            stats: Stats::default(),
            store,
            connections: Arc::default(),
            watch: None,
            counts: Arc::default(),
            scorecard,
            places,
            stop: Arc::new(AtomicBool::new(false)),
            state: RandomState::new(),
            threads: Vec::new(),
            line: None,
            loans: None,
            casework: None,
            watching: None,
            traces,
            nats: None,
        };
        node.start_watching()?;
        node.start_loans()?;
        node.start_casework()?;
        let open = |setup| exchange::open(setup, node.counts.clone());
        if let Some(opened) = node.setup().exchange.as_ref().map(open).transpose()? {
            // Its desk is the end of the line: there nobody is asked.
            let desk = node.desk("exchange", None);
            node.line = Some(opened.line.clone());
            let (setup, connections) = (node.setup.clone(), node.connections.clone());
            node.threads.push(opened.start(setup, desk, connections, node.stop.clone())?);
        }
        let mut datagrams = None;
        // UDP first: what connections bring is passed on from a UDP address in proxy mode.
        let (udp, streams): (Vec<Listen>, Vec<Listen>) =
            listen.into_iter().partition(|listen| listen.transport == Transport::Udp);
        for listen in udp.into_iter().chain(streams) {
            let Listen { transport, address } = listen;
            let placed = |error| place(error, format!("listening on {address} ({})", transport.name()));
            refuse_if_taken(listen).map_err(placed)?;
            for index in 0..workers {
                let (connections, stop) = (node.connections.clone(), node.stop.clone());
                match transport {
                    Transport::Udp => {
                        let socket = udp::open(address, PATIENCE).map_err(placed)?;
                        if has_proxy && datagrams.is_none() {
                            datagrams = Some(socket.try_clone().map_err(placed)?);
                        }
                        let own = match node.line {
                            Some(_) => Some(Arc::new(socket.try_clone().map_err(placed)?)),
                            None => None,
                        };
                        let desk = node.desk(transport.door(), own);
                        let worker = Worker { socket, desk, connections, stop };
                        node.spawn(format!("sip-{index}"), move || worker.run())?;
                    }
                    Transport::Tcp | Transport::Tls => {
                        let listener = stream::listen(address).map_err(placed)?;
                        let datagrams =
                            datagrams.as_ref().map(Socket::try_clone).transpose().map_err(placed)?;
                        let own = datagrams.as_ref().map(Socket::try_clone).transpose().map_err(placed)?;
                        let desk = node.desk(transport.door(), own.map(Arc::new));
                        let worker = StreamWorker { listener, transport, desk, connections, datagrams, stop };
                        node.spawn(format!("{}-{index}", transport.name().to_lowercase()), move || {
                            if let Err(error) = worker.run() {
                                log(&format!("{address} ({}): {error}", transport.name()));
                            }
                        })?;
                    }
                }
            }
        }
        if has_proxy {
            let (setup, stop) = (node.setup.clone(), node.stop.clone());
            node.spawn("probe".to_owned(), move || probe::run(&setup, &stop))?;
        }
        if let Some(nats) = node.setup().nats.clone() {
            node.nats = Some(nats::Line::start(nats, node.setup.clone())?);
        }
        node.start_http()?;
        Ok(node)
    }

    /// Comes before every worker: each has an end of its own to it.
    fn start_watching(&mut self) -> io::Result<()> {
        if let Some(watch) = &self.setup().watch {
            let (watching, thread) = Watching::start(watch, self.setup.clone(), self.stop.clone(), log)?;
            self.watching = Some(Arc::new(watching));
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Comes before every worker: they note who was called by whom for it.
    fn start_loans(&mut self) -> io::Result<()> {
        let setup = self.setup();
        if setup.loans.is_none() {
            return Ok(());
        }
        let suspects = Arc::new(Suspects::new(now_ms(), setup.casework.is_some()));
        self.store.suspects = Some(suspects.clone());
        let (loans, thread) = Loans::start(self.setup.clone(), suspects.clone(), self.stop.clone(), log)?;
        self.loans = Some(loans);
        self.threads.push(thread);
        let journal = setup.journal.clone();
        // Not waited for: until the journal is read, what was before the start is unknown.
        std::thread::Builder::new().name("suspects".to_owned()).spawn(move || {
            if let Err(error) = suspects.read_journal(&journal, now_ms()) {
                log(&format!("loans: calls before this start stay unknown for half an hour: {error}"));
            }
        })?;
        Ok(())
    }

    fn start_casework(&mut self) -> io::Result<()> {
        if self.setup().casework.is_some() {
            let suspects = self.store.suspects.clone();
            let (register, thread) = Register::start(self.setup.clone(), suspects, self.stop.clone(), log)?;
            self.casework = Some(register);
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Comes last: what it shows are the counters of all workers.
    fn start_http(&mut self) -> io::Result<()> {
        let http = self.setup().http.clone();
        let workers = if http.listen.is_empty() { 0 } else { http.workers };
        let server = http::Server::open(&http.listen, workers)?;
        let counters: Vec<_> = (0..workers).map(|_| (self.counters("http"), Arc::default())).collect();
        let answered = counters.iter().map(|(_, answered)| Arc::clone(answered)).collect();
        let (stats, connections, places) =
            (self.stats.clone(), self.connections.clone(), self.places.clone());
        let exchange = self.line.as_ref().map(|line| (self.counts.clone(), line.clone()));
        let watch = Watch::new(
            self.setup.clone(),
            stats,
            answered,
            connections,
            places,
            (exchange, self.loans.as_ref().map(|loans| loans.counts.clone())),
            self.scorecard.clone(),
        )
        .with_nats(self.nats.as_ref().map(nats::Line::counts))
        .with_watching(self.watching.clone())
        .with_casework(self.casework.as_ref().map(|register| register.counts.clone()));
        let watch = Arc::new(watch);
        self.watch = Some(watch.clone());
        self.threads.extend(server.start(
            &self.setup,
            &watch,
            counters,
            (self.line.as_ref(), self.loans.as_ref(), self.casework.as_ref()),
            || self.store.writer(),
        )?);
        Ok(())
    }

    /// What a worker needs to answer, with counters and an end of the journal of its own; answers from the exchange's
    /// thread leave by `datagrams`.
    fn desk(&mut self, door: &'static str, datagrams: Option<Arc<Socket>>) -> Desk {
        let stats = self.counters(door);
        let line = self.line.as_ref().map(|line| line.of(datagrams));
        Desk::new(self.setup.clone(), self.store.writer(), stats, self.state.clone(), line)
    }

    /// The counters of another worker, whose calls come in by `door`.
    fn counters(&mut self, door: &'static str) -> Arc<WorkerStats> {
        let mut stats = WorkerStats::of(door);
        stats.tracer = self.traces.as_ref().map(Traces::tracer);
        stats.tail = self.watching.as_ref().map(|watching| watching.tail());
        let stats = Arc::new(stats);
        self.stats.0.push(stats.clone());
        stats
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Says for `/metrics` that a configuration was read again.
    fn reloaded(&self, is_in_force: bool) {
        if let Some(watch) = &self.watch {
            watch.reloaded(is_in_force);
        }
    }

    pub fn setup(&self) -> Arc<Setup> {
        self.setup.load_full()
    }

    /// Swaps the configuration; sockets, workers and the journal's place stay as they are until a restart.
    pub fn swap(&self, mut setup: Setup) {
        self.places.take(&mut setup);
        let before = self.setup();
        setup.policy.inherit(&before.policy);
        if let (Some(proxy), Some(before)) = (&setup.sip.proxy, &before.sip.proxy) {
            proxy.inherit(before);
        }
        self.store.keep_basis(setup.policy.basis());
        self.store.set_keep_days(setup.journal.keep_days);
        self.setup.store(Arc::new(setup));
    }

    /// Puts lists in force that came from publishers and the register, each alone: the configuration stays as it was read.
    fn take_lists(&self) {
        let published = self.nats.iter().flat_map(nats::Line::taken);
        let published = published.map(|taken| {
            (taken.name, taken.path, taken.list, format!("version {}", taken.published.shown()))
        });
        let fed = self.casework.iter().flat_map(Register::fed);
        let fed =
            fed.map(|fed| (FED, fed.path, fed.list, format!("{} confirmed numbers are on it", fed.numbers)));
        for (name, path, list, what) in published.chain(fed) {
            self.swap(self.setup().with_list(name, &path, list));
            let basis = self.setup().policy.basis_id();
            log(&format!("list {}: in force, basis {basis:016x}: {what}", name.name()));
        }
    }

    /// Takes up what the workers counted, for the scorecard; writes it down now and then.
    fn count(&self, writes: bool) {
        self.scorecard.take(&self.stats, &self.places, self.setup().journal.keep_days);
        if writes && let Err(error) = self.scorecard.save() {
            log(&format!("scorecard: {error}"));
        }
    }

    /// Stops the workers once they have answered what they received, then seals the journal; gives its last news.
    pub fn stop(mut self) -> Vec<String> {
        self.end();
        let mut news = self.store.close();
        news.extend(self.nats.iter_mut().flat_map(nats::Line::close));
        news
    }

    fn end(&mut self) {
        let is_first = !self.stop.swap(true, Ordering::Relaxed);
        if let Some(watch) = &self.watch {
            watch.stop();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if is_first {
            self.count(true);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

/// Workers share an address, so the kernel would let another program's socket of this user share it too.
fn refuse_if_taken(listen: Listen) -> io::Result<()> {
    let Listen { transport, address } = listen;
    if address.port() == 0 {
        return Err(io::Error::other("name a port"));
    }
    match transport {
        Transport::Udp => std::net::UdpSocket::bind(address).map(drop),
        Transport::Tcp | Transport::Tls => std::net::TcpListener::bind(address).map(drop),
    }
}

/// As many files as the system lets this process have: a connection is one.
fn raise_file_limit() {
    // SAFETY: plain numbers in, plain numbers out.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// `qalqan serve`: runs until SIGTERM or SIGINT; SIGHUP reads the configuration again.
pub fn serve(origin: &Origin) -> Result<(), Box<dyn std::error::Error>> {
    let setup = config::load(origin)?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let sip = setup.sip.listen.iter();
    let sip = sip.map(|listen| format!("{} ({})", listen.address, listen.transport.name()));
    let http = setup.http.listen.iter().map(|address| format!("{address} (HTTP)"));
    let exchange = setup.exchange.iter().flat_map(|exchange| &exchange.listen);
    let exchange = exchange.map(|address| format!("{address} (exchange)"));
    let listening: Vec<String> = sip.chain(http).chain(exchange).collect();
    let mode = if setup.sip.proxy.is_some() { "proxy" } else { "redirect" };
    raise_file_limit();
    let trunks = setup.policy.trunks.len();
    let node = Node::start(setup)?;
    log(&format!(
        "ready: listening on {}, {mode} mode, {trunks} trunks, configuration {origin}",
        listening.join(", ")
    ));
    notify::tell("READY=1");

    let http = node.setup().http.clone();
    if let Some(most) = metrics::process::max_fds().filter(|most| http.connections + 100 > *most)
        && !http.listen.is_empty()
    {
        let wanted = http.connections;
        log(&format!(
            "http.connections is {wanted}, and {most} files may be open: raise that (ulimit -n, LimitNOFILE)"
        ));
    }

    let mut reporter = Reporter::default();
    let mut since_report = Duration::ZERO;
    let tick = Duration::from_millis(200);
    loop {
        for signal in signals.pending() {
            match signal {
                SIGHUP => reload(&node, origin),
                _ => {
                    reporter.report(&node, Duration::ZERO);
                    log("stopping");
                    notify::tell("STOPPING=1");
                    node.stop().iter().for_each(|line| log(line));
                    return Ok(());
                }
            }
        }
        node.store.news().iter().for_each(|line| log(line));
        node.nats.iter().flat_map(nats::Line::news).for_each(|line| log(&line));
        node.take_lists();
        std::thread::sleep(tick);
        since_report += tick;
        if since_report.subsec_millis() == 0 {
            node.count(since_report >= REPORT_EVERY);
        }
        if since_report >= REPORT_EVERY {
            reporter.report(&node, since_report);
            since_report = Duration::ZERO;
        }
    }
}

fn reload(node: &Node, origin: &Origin) {
    match config::load(origin) {
        Ok(setup) => {
            for what in setup.waits_for_restart(&node.setup()) {
                log(&format!("reload: {what}"));
            }
            node.swap(setup);
            node.reloaded(true);
            log(&format!("reload: {origin} is in force, basis {:016x}", node.setup().policy.basis_id()));
        }
        Err(faults) => {
            for fault in faults.iter() {
                log(&format!("reload refused: {fault}"));
            }
            log("reload refused: the configuration before it stays in force");
            node.reloaded(false);
        }
    }
}

/// Writes the counters to the log when they moved.
#[derive(Default)]
struct Reporter {
    calls: u64,
    troubles: [u64; 8],
    failing: bool,
}

impl Reporter {
    fn report(&mut self, node: &Node, period: Duration) {
        let stats = &node.stats;
        let calls = stats.sum(|worker| &worker.calls);
        if calls != self.calls {
            let rate = (calls - self.calls) as f64 / period.as_secs_f64().max(0.001);
            let rate = if period.is_zero() { String::new() } else { format!(" ({rate:.0}/s)") };
            let counts: Vec<String> = ["allow", "mark", "withhold", "block"]
                .map(|name| format!("{name} {}", stats.by_treatment(name)))
                .into();
            let would = stats.sum(|worker| &worker.would_block);
            let would = if would > 0 { format!(", would block {would}") } else { String::new() };
            let mean_us = stats.sum(|worker| &worker.took_ns) as f64 / calls as f64 / 1000.0;
            log(&format!("calls {calls}{rate}: {}{would}; {mean_us:.1} µs a verdict", counts.join(", ")));
        }
        self.calls = calls;
        let troubles = [
            stats.sum(|worker| &worker.journal_lost),
            stats.sum(|worker| &worker.unknown_source),
            stats.sum(|worker| &worker.panics),
            stats.sum(|worker| &worker.unsent),
            node.connections.refused.load(Ordering::Relaxed),
            node.connections.too_slow.load(Ordering::Relaxed),
            node.connections.unframed.load(Ordering::Relaxed),
            node.connections.failed_handshakes.load(Ordering::Relaxed),
        ];
        let names = [
            "verdicts the journal lost",
            "calls from unknown sources",
            "stumbles",
            "answers not sent",
            "connections turned away, there were too many",
            "connections closed, too slow",
            "connections closed, no end of a message to be found",
            "TLS handshakes failed",
        ];
        for index in 0..troubles.len() {
            if troubles[index] != self.troubles[index] {
                log(&format!("{}: {}", names[index], troubles[index]));
            }
        }
        if troubles[7] != self.troubles[7] {
            log(&format!("the last TLS handshake that failed: {}", node.connections.last_failure()));
        }
        self.troubles = troubles;
        let failing = node.store.failing();
        if failing.is_some() != self.failing {
            match &failing {
                Some(why) => log(&format!("journal failing: {why}; calls go on and are counted")),
                None => log("journal recovered"),
            }
            self.failing = failing.is_some();
        }
    }
}

/// One line to standard error with its time.
pub fn log(text: &str) {
    let now = jiff::Timestamp::from_millisecond(now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    eprintln!("{now:.3} {text}");
}
