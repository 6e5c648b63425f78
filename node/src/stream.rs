//! SIP over TCP and TLS: one thread a listening address and worker, many connections on it.
//!
//! What comes in is read into one buffer that all connections of the thread share, cut into messages
//! ([`sip::frame`]) and answered by the same door as datagrams; the answers of one reading leave in one
//! writing. A connection costs little while it is idle, and nobody can hold one for nothing: a message has to
//! be whole, and its answer taken, within `message-s`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sip::{Frame, frame};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use crate::config::{Limits, Transport};
use crate::connections::{Connections, Place};
use crate::door::{Destination, Peer};
use crate::worker::Desk;

/// Bytes read from a connection at a time.
const READING: usize = 128 * 1024;
/// A connection keeps no larger room than this while it is idle.
const KEPT: usize = 4096;
/// How often a thread looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(100);

/// What a thread of connections is given.
pub struct StreamWorker {
    pub listener: std::net::TcpListener,
    pub transport: Transport,
    pub desk: Desk,
    pub connections: Arc<Connections>,
    /// Sends what a proxy passes on over UDP, from the address that Via names.
    pub datagrams: Option<Socket>,
    pub stop: Arc<AtomicBool>,
}

/// A listening socket that several threads can open on one address.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// What the connections of a thread share; never held across an await.
struct Shared {
    desk: RefCell<Desk>,
    reading: RefCell<Box<[u8]>>,
    connections: Arc<Connections>,
    datagrams: Option<Socket>,
}

impl StreamWorker {
    /// Runs until `stop` is set.
    pub fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tasks = tokio::task::LocalSet::new();
        runtime.block_on(tasks.run_until(self.accept()))
    }

    async fn accept(self) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let shared = Rc::new(Shared {
            desk: RefCell::new(self.desk),
            reading: RefCell::new(vec![0; READING].into()),
            connections: self.connections,
            datagrams: self.datagrams,
        });
        let mut look = tokio::time::interval(LOOK);
        while !self.stop.load(Ordering::Relaxed) {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = look.tick() => {
                    shared.desk.borrow_mut().tick();
                    continue;
                }
            };
            let (stream, source) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: those that close make room.
                    eprintln!("accepting: {error}");
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
            };
            let setup = shared.desk.borrow().setup();
            let limits = setup.sip.limits;
            let tls = match self.transport {
                Transport::Tls => setup.sip.tls.clone().map(TlsAcceptor::from),
                _ => None,
            };
            if self.transport == Transport::Tls && tls.is_none() {
                continue; // A reload took [sip.tls] away: nobody may be answered in clear here.
            }
            let shared = shared.clone();
            tokio::task::spawn_local(async move {
                let connections = shared.connections.clone();
                let Some(place) = connections.admit(source.ip().to_canonical(), &limits) else { return };
                let _ = stream.set_nodelay(true);
                match tls {
                    None => shared.serve(stream, source, place, limits).await,
                    Some(acceptor) => shared.serve_tls(acceptor, stream, source, place, limits).await,
                }
            });
        }
        Ok(())
    }
}

impl Shared {
    async fn serve_tls(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        source: SocketAddr,
        place: Place<'_>,
        limits: Limits,
    ) {
        match timeout(limits.message, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, source, place, limits).await,
            Ok(Err(error)) => self.connections.handshake_failed(format!("{source}: {error}")),
            Err(_) => self.connections.handshake_failed(format!("{source}: took too long")),
        }
    }

    /// One connection to its end.
    async fn serve(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        source: SocketAddr,
        mut place: Place<'_>,
        limits: Limits,
    ) {
        let peer = Peer { address: source, connection: Some(place.id) };
        let mut held = Held::default();
        let mut out: Vec<u8> = Vec::new();
        let mut sleep = pin!(tokio::time::sleep(limits.idle));
        let mut partial_since: Option<Instant> = None;
        loop {
            let came = tokio::select! {
                biased;
                read = poll_fn(|cx| self.poll_read(&mut stream, cx)) => Came::Bytes(read),
                message = place.outside.recv() => Came::Message(message),
                () = sleep.as_mut() => Came::Nothing,
            };
            let go_on = match came {
                Came::Bytes(Ok(0) | Err(_)) | Came::Message(None) => break,
                Came::Nothing => {
                    if partial_since.is_some() {
                        self.connections.too_slow.fetch_add(1, Ordering::Relaxed);
                    }
                    break;
                }
                Came::Bytes(Ok(n)) => self.answer(&self.reading.borrow()[..n], &mut held, peer, &mut out),
                Came::Message(Some(message)) => {
                    out.extend_from_slice(&message);
                    true
                }
            };
            // Also after bytes, or who sends without pause would never get what others have for it.
            while let Ok(message) = place.outside.try_recv() {
                out.extend_from_slice(&message);
            }
            if !out.is_empty() {
                let written = timeout(limits.message, async {
                    stream.write_all(&out).await?;
                    stream.flush().await
                });
                match written.await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break,
                    Err(_) => {
                        self.connections.too_slow.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
                out.clear();
                out.shrink_to(KEPT);
            }
            if !go_on {
                self.connections.unframed.fetch_add(1, Ordering::Relaxed);
                break;
            }
            let now = Instant::now();
            partial_since = (!held.bytes.is_empty()).then(|| partial_since.unwrap_or(now));
            sleep.as_mut().reset(match partial_since {
                Some(since) => since + limits.message,
                None => now + limits.idle,
            });
        }
        // Closed with bytes unread, the kernel would take the last answer away from the peer.
        let _ = timeout(LOOK, async {
            stream.shutdown().await?;
            while poll_fn(|cx| self.poll_read(&mut stream, cx)).await? > 0 {}
            io::Result::Ok(())
        })
        .await;
    }

    /// Reads what is there, up to the shared buffer's length; 0 at the end of the stream.
    fn poll_read(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut reading = self.reading.borrow_mut();
        let mut buffer = ReadBuf::new(&mut reading);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        // TLS gives a record at a time: take those that are there, so that their answers leave together.
        let mut before = 0;
        while buffer.filled().len() > before && buffer.remaining() > 0 {
            before = buffer.filled().len();
            if !matches!(Pin::new(&mut *stream).poll_read(cx, &mut buffer), Poll::Ready(Ok(()))) {
                break;
            }
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Answers every whole message, keeps the rest; false when the stream has to be closed.
    fn answer(&self, new: &[u8], held: &mut Held, peer: Peer, out: &mut Vec<u8>) -> bool {
        let mut desk = self.desk.borrow_mut();
        let mut joined = std::mem::take(&mut held.bytes);
        let is_joined = !joined.is_empty();
        if is_joined {
            joined.extend_from_slice(new);
        }
        let bytes = if is_joined { &joined[..] } else { new };
        let (mut at, mut seen) = (0, held.seen);
        let go_on = loop {
            match frame(&bytes[at..], seen) {
                Frame::Message(length) => {
                    self.one(&mut desk, &bytes[at..at + length], peer, out);
                    at += length;
                }
                Frame::Ping => {
                    out.extend_from_slice(b"\r\n");
                    at += 4;
                }
                Frame::Blank(length) => at += length,
                Frame::Partial(now_seen) => {
                    held.seen = now_seen;
                    break true;
                }
                Frame::Broken(fault) => {
                    let message = &bytes[at..at + fault.head];
                    let status = if fault.is_too_large { "513 Message Too Large" } else { "400 Bad Request" };
                    desk.refuse(message, peer, status, fault.what, out);
                    break false;
                }
            }
            seen = 0;
        };
        held.bytes = match is_joined {
            true => {
                joined.drain(..at);
                joined.shrink_to(KEPT);
                joined
            }
            false => new[at..].to_vec(),
        };
        go_on
    }

    fn one(&self, desk: &mut Desk, message: &[u8], peer: Peer, out: &mut Vec<u8>) {
        let start = out.len();
        match desk.answer(message, peer, out) {
            Destination::Connection(id) if Some(id) == peer.connection => return,
            _ if out.len() == start => return,
            Destination::Connection(id) => {
                if !self.connections.send(id, &out[start..]) {
                    desk.stats.unsent.add(1);
                }
            }
            Destination::Datagram(to) => {
                let sent = self
                    .datagrams
                    .as_ref()
                    .is_some_and(|socket| socket.send_to(&out[start..], &to.into()).is_ok());
                if !sent {
                    desk.stats.unsent.add(1);
                }
            }
        }
        out.truncate(start);
    }
}

enum Came {
    Bytes(io::Result<usize>),
    Message(Option<Vec<u8>>),
    Nothing,
}

/// The beginning of a message that is not whole yet.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    seen: usize,
}
