//! A running node: workers, the journal's keeper, signals.

use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{self, Origin, Setup};
use crate::stats::Stats;
use crate::store::{Store, now_ms};
use crate::udp;
use crate::worker::Worker;

/// How long a worker waits for a datagram before it looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// A node with its workers running.
pub struct Node {
    setup: Arc<ArcSwap<Setup>>,
    pub stats: Stats,
    pub store: Store,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Node {
    /// Opens sockets and journal, and starts the workers.
    pub fn start(setup: Setup) -> io::Result<Node> {
        let place = |error: io::Error, what: String| io::Error::new(error.kind(), format!("{what}: {error}"));
        let store = Store::open(&setup.journal)
            .map_err(|error| place(error, format!("journal {}", setup.journal.directory.display())))?;
        store.keep_basis(setup.policy.basis());
        let addresses: Vec<SocketAddr> = setup.sip.listen.clone();
        let workers = setup.sip.workers;
        let setup = Arc::new(ArcSwap::from_pointee(setup));
        let stop = Arc::new(AtomicBool::new(false));
        let state = RandomState::new();
        let mut node = Node { setup, stats: Stats::default(), store, stop, threads: Vec::new() };
        for &address in &addresses {
            refuse_if_taken(address)?;
            for index in 0..workers {
                let socket = udp::open(address, PATIENCE)
                    .map_err(|error| place(error, format!("listening on {address} (UDP)")))?;
                let stats: Arc<crate::stats::WorkerStats> = Arc::default();
                node.stats.0.push(stats.clone());
                let worker = Worker {
                    socket,
                    setup: node.setup.clone(),
                    journal: node.store.writer(),
                    stats,
                    state: state.clone(),
                    stop: node.stop.clone(),
                };
                let thread = std::thread::Builder::new().name(format!("sip-{index}"));
                node.threads.push(thread.spawn(move || worker.run())?);
            }
        }
        Ok(node)
    }

    pub fn setup(&self) -> Arc<Setup> {
        self.setup.load_full()
    }

    /// Swaps the configuration; sockets, workers and the journal's place stay as they are until a restart.
    pub fn swap(&self, setup: Setup) {
        setup.policy.inherit_caps(&self.setup().policy);
        self.store.keep_basis(setup.policy.basis());
        self.store.set_keep_days(setup.journal.keep_days);
        self.setup.store(Arc::new(setup));
    }

    /// Stops the workers once they have answered what they received.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Workers share an address, so the kernel would let another program's socket of this user share it too.
fn refuse_if_taken(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Err(io::Error::other(format!("listening on {address} (UDP): name a port")));
    }
    match std::net::UdpSocket::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("listening on {address} (UDP): {error}"))),
    }
}

/// `qalqan serve`: runs until SIGTERM or SIGINT; SIGHUP reads the configuration again.
pub fn serve(origin: &Origin) -> Result<(), Box<dyn std::error::Error>> {
    let setup = config::load(origin)?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let listening: Vec<String> = setup.sip.listen.iter().map(SocketAddr::to_string).collect();
    let trunks = setup.policy.trunks.len();
    let node = Node::start(setup)?;
    for (path, damaged) in &node.store.damaged {
        log(&format!("journal: {}: {damaged} slots hold no whole record", path.display()));
    }
    log(&format!(
        "ready: listening on {} (UDP), {trunks} trunks, configuration {origin}",
        listening.join(", ")
    ));

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
                    node.stop();
                    return Ok(());
                }
            }
        }
        std::thread::sleep(tick);
        since_report += tick;
        if since_report >= REPORT_EVERY {
            reporter.report(&node, since_report);
            since_report = Duration::ZERO;
        }
    }
}

fn reload(node: &Node, origin: &Origin) {
    match config::load(origin) {
        Ok(setup) => {
            let before = node.setup();
            if setup.sip.listen != before.sip.listen || setup.sip.workers != before.sip.workers {
                log("reload: listen and workers change at the next start");
            }
            node.swap(setup);
            log(&format!("reload: {origin} is in force, basis {:016x}", node.setup().policy.basis_id()));
        }
        Err(faults) => {
            for fault in faults.iter() {
                log(&format!("reload refused: {fault}"));
            }
            log("reload refused: the configuration before it stays in force");
        }
    }
}

/// Writes the counters to the log when they moved.
#[derive(Default)]
struct Reporter {
    calls: u64,
    troubles: [u64; 4],
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
        ];
        let names =
            ["verdicts the journal lost", "calls from unknown sources", "stumbles", "answers not sent"];
        for index in 0..troubles.len() {
            if troubles[index] != self.troubles[index] {
                log(&format!("{}: {}", names[index], troubles[index]));
            }
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
fn log(text: &str) {
    let now = jiff::Timestamp::from_millisecond(now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    eprintln!("{now:.3} {text}");
}
