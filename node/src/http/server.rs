//! Listeners, threads and connections of the HTTP door.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::connection::{Pace, Paced, Paces};
use super::problem::{Kind, Problem};
use super::{Answered, Desk};
use crate::casework::Register;
use crate::config::Setup;
use crate::exchange::Line;
use crate::loans::Loans;
use crate::metrics::Watch;
use crate::stats::WorkerStats;
use crate::store::Writer;
use crate::stream::listen;

/// Head of a request: more is answered with 431.
const HEAD_BYTES: usize = 64 * 1024;
const TICK: Duration = Duration::from_millis(100);
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How long a stopping node still answers, saying in `/readyz` that it stops.
const DRAIN: Duration = Duration::from_secs(1);
/// How long requests may go on after that.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Bound sockets, for each worker one of every address.
pub struct Server(Vec<Vec<std::net::TcpListener>>);

impl Server {
    /// Opens the sockets.
    pub fn open(addresses: &[SocketAddr], workers: usize) -> io::Result<Server> {
        for &address in addresses {
            refuse_if_taken(address)?;
        }
        let open_one = |&address: &SocketAddr| listen(address).map_err(|error| place(address, error));
        let open = |_| addresses.iter().map(open_one).collect();
        let listeners: io::Result<Vec<_>> = (0..workers).map(open).collect();
        listeners.map(Server)
    }

    /// Starts a worker thread for each set of listeners and each of `counters`.
    pub fn start(
        self,
        setup: &Arc<ArcSwap<Setup>>,
        watch: &Arc<Watch>,
        counters: Vec<(Arc<WorkerStats>, Arc<Answered>)>,
        (line, loans, casework): (Option<&Line>, Option<&Loans>, Option<&Register>),
        writer: impl Fn() -> Writer,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let open = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for (index, (listeners, (stats, answered))) in self.0.into_iter().zip(counters).enumerate() {
            let (setup, watch, open, journal) = (setup.clone(), watch.clone(), open.clone(), writer());
            let (line, loans, casework) = (line.cloned(), loans.cloned(), casework.cloned());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                // For /metrics alone.
                .max_blocking_threads(2)
                .build()?;
            let thread = std::thread::Builder::new().name(format!("http-{index}"));
            threads.push(thread.spawn(move || {
                let desk = Desk {
                    setup: RefCell::new(arc_swap::Cache::new(setup)),
                    journal: RefCell::new(journal),
                    stats,
                    answered,
                    watch,
                    open,
                    line,
                    loans,
                    casework,
                };
                let worker = Rc::new(Worker { desk, paces: Paces::default() });
                LocalSet::new().block_on(&runtime, worker.run(listeners));
            })?);
        }
        Ok(threads)
    }
}

struct Worker {
    desk: Desk,
    paces: Paces,
}

impl Worker {
    async fn run(self: Rc<Worker>, listeners: Vec<std::net::TcpListener>) {
        let (stop, stopped) = watch::channel(false);
        let mut accepting = Vec::new();
        for listener in listeners {
            let listener = TcpListener::from_std(listener).expect("the runtime takes a socket");
            accepting.push(tokio::task::spawn_local(self.clone().accept(listener, stopped.clone())));
        }
        let mut swept = Instant::now();
        while !self.desk.watch.is_stopping() {
            tokio::time::sleep(TICK).await;
            self.desk.journal.borrow_mut().tick(crate::store::now_ms());
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                self.desk.stats.connections_slow.add(self.paces.sweep(&self.desk.setup().http));
            }
        }
        tokio::time::sleep(DRAIN).await;
        accepting.iter().for_each(|task| task.abort());
        let _ = stop.send(true);
        let end = Instant::now() + LAST_ANSWERS;
        let open = || self.desk.stats.connections_opened.get() > self.desk.stats.connections_closed.get();
        while open() && Instant::now() < end {
            tokio::time::sleep(TICK / 10).await;
        }
    }

    async fn accept(self: Rc<Worker>, listener: TcpListener, stopped: watch::Receiver<bool>) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                // A peer that went away, or no file descriptor left: do not spin on it.
                Err(error) => {
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        tokio::time::sleep(TICK).await;
                    }
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let desk = &self.desk;
            let setup = desk.setup();
            if desk.open.load(Ordering::Relaxed) >= setup.http.connections {
                desk.stats.connections_refused.add(1);
                turn_away(&stream, setup.http.tls.is_none());
                continue;
            }
            desk.open.fetch_add(1, Ordering::Relaxed);
            desk.stats.connections_opened.add(1);
            let (worker, stopped) = (self.clone(), stopped.clone());
            // Not the whole setup: a connection may outlive its lists.
            let (tls, patience) = (setup.http.tls.clone(), setup.http.header);
            tokio::task::spawn_local(async move {
                let leaving = Leaving(worker);
                leaving.0.serve((stream, peer.ip()), tls, patience, stopped).await;
            });
        }
    }

    async fn serve(
        &self,
        (stream, peer): (TcpStream, IpAddr),
        tls: Option<Arc<ServerConfig>>,
        patience: Duration,
        stopped: watch::Receiver<bool>,
    ) {
        let pace = Pace::begin();
        self.paces.add(&pace);
        let Some(tls) = tls else {
            return self.requests(Paced { stream, pace }, (false, peer), stopped).await;
        };
        // Who opens a connection has to say something at once: the limit is that of a request's head.
        let accepted = TlsAcceptor::from(tls).accept(stream);
        match tokio::time::timeout(patience, accepted).await {
            Ok(Ok(stream)) => {
                let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                self.requests(Paced { stream, pace }, (has_certificate, peer), stopped).await;
            }
            _ => self.desk.stats.handshakes_failed.add(1),
        }
    }

    async fn requests<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        stream: Paced<S>,
        (has_certificate, peer): (bool, IpAddr),
        mut stopped: watch::Receiver<bool>,
    ) {
        let pace = stream.pace.clone();
        let service = service_fn(|request| async {
            pace.request_begins();
            let answer = self.desk.answer(request, has_certificate, peer).await;
            pace.request_ends();
            Ok::<_, std::convert::Infallible>(answer)
        });
        let connection = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            // `Pace` keeps time without a timer for each request.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut is_open = true;
        loop {
            tokio::select! {
                biased;
                _ = connection.as_mut() => return,
                _ = pace.is_over() => return,
                _ = stopped.changed(), if is_open => {
                    is_open = false;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Counts a connection's end, however it ends.
struct Leaving(Rc<Worker>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.desk.open.fetch_sub(1, Ordering::Relaxed);
        self.0.desk.stats.connections_closed.add(1);
    }
}

/// Says in plain text why a connection is not taken; under TLS nothing can be said.
fn turn_away(stream: &TcpStream, is_plain: bool) {
    if is_plain {
        let what = "http.connections are open already: keep connections open and ask by fewer";
        let body = Problem::new(Kind::TooManyConnections, what).to_json();
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
             Retry-After: 1\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.try_write(&[head.as_bytes(), &body].concat());
    }
}

/// Workers share an address, so the kernel would let another program's socket of this user share it too.
fn refuse_if_taken(address: SocketAddr) -> io::Result<()> {
    std::net::TcpListener::bind(address).map(drop).map_err(|error| place(address, error))
}

fn place(address: SocketAddr, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("listening on {address} (HTTP): {error}"))
}
