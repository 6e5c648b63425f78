//! One HTTP connection: what it is waiting for, and for how long it may.
//!
//! No request sets a timer. A connection notes what it waits for and since when; one sweep a worker, twice a
//! second, ends those that wait too long, so 10,000 idle connections cost next to nothing.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::config::Http;

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waiting {
    /// The next request.
    Idle,
    /// The rest of a request's head.
    Header,
    /// The body, which has its own limit, or the answer.
    Answer,
}

/// Where a connection stands, shared by its stream, its requests and the sweep.
pub struct Pace {
    waiting: Cell<Waiting>,
    since: Cell<Instant>,
    /// Its time is up.
    over: Notify,
}

impl Pace {
    pub fn begin() -> Rc<Pace> {
        let since = Cell::new(Instant::now());
        Rc::new(Pace { waiting: Cell::new(Waiting::Idle), since, over: Notify::new() })
    }

    fn turn(&self, waiting: Waiting) {
        self.waiting.set(waiting);
        self.since.set(Instant::now());
    }

    pub fn request_begins(&self) {
        self.waiting.set(Waiting::Answer);
    }

    pub fn request_ends(&self) {
        self.turn(Waiting::Idle);
    }

    pub async fn is_over(&self) {
        self.over.notified().await;
    }

    fn is_late(&self, now: Instant, http: &Http) -> bool {
        let allowed = match self.waiting.get() {
            Waiting::Idle => http.idle,
            Waiting::Header => http.header,
            Waiting::Answer => return false,
        };
        now.saturating_duration_since(self.since.get()) > allowed
    }
}

/// The connections of one worker.
#[derive(Default)]
pub struct Paces(RefCell<Vec<Weak<Pace>>>);

impl Paces {
    pub fn add(&self, pace: &Rc<Pace>) {
        self.0.borrow_mut().push(Rc::downgrade(pace));
    }

    /// Ends what is late; gives how many.
    pub fn sweep(&self, http: &Http) -> u64 {
        let now = Instant::now();
        let mut ended = 0;
        self.0.borrow_mut().retain(|pace| {
            let Some(pace) = pace.upgrade() else { return false };
            let is_late = pace.is_late(now, http);
            if is_late {
                ended += 1;
                pace.over.notify_one();
            }
            !is_late
        });
        ended
    }
}

/// A stream that notes when a request begins to come in.
pub struct Paced<S> {
    pub stream: S,
    pub pace: Rc<Pace>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.pace.waiting.get() == Waiting::Idle {
            self.pace.turn(Waiting::Header);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
