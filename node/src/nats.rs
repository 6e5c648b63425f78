//! Verdicts as events, and versions of lists, through NATS JetStream (docs/nats.md).
//!
//! One thread does it, at nice 10; no call waits for it or knows of it. Events are rows of sealed segments, so what the
//! journal has is what goes out. Each connection lives on a runtime of its own and ends with it: the client may not send
//! after a break what it still held, because events reach the stream in the journal's order. What went is written down
//! beside the journal.

mod counts;
mod lists;
pub mod publish;
mod published;
mod segments;
mod verdicts;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::lists::List;
use arc_swap::ArcSwap;
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, Event};
use screening::ListName;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use crate::config::{Credentials, Nats, Setup, Verdicts};
use crate::store::stand_back;
pub use counts::Counts;
pub use published::Published;
pub use verdicts::Position;

/// Between attempts to reach a server.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the thread looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long a node that stops goes on sending what it sealed last.
const AT_THE_END: Duration = Duration::from_secs(3);
const TIME_OUT: Duration = Duration::from_secs(5);

/// The thread of a running node.
pub struct Line {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A version of a list that lies ready, to be put in force.
pub struct Taken {
    pub name: ListName,
    pub path: PathBuf,
    pub list: Arc<List>,
    pub published: Published,
}

struct Shared {
    nats: Nats,
    setup: Arc<ArcSwap<Setup>>,
    counts: Arc<Counts>,
    stop: AtomicBool,
    /// Lines for the log of the node.
    news: Mutex<Vec<String>>,
    taken: Mutex<Vec<Taken>>,
}

impl Line {
    pub fn start(nats: Nats, setup: Arc<ArcSwap<Setup>>) -> io::Result<Line> {
        let shared = Arc::new(Shared {
            counts: Arc::new(Counts::new(&nats)),
            nats,
            setup,
            stop: AtomicBool::new(false),
            news: Mutex::default(),
            taken: Mutex::default(),
        });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("nats".to_owned()).spawn(move || run(&own))?;
        Ok(Line { shared, thread: Some(thread) })
    }

    pub fn counts(&self) -> Arc<Counts> {
        self.shared.counts.clone()
    }

    /// What there is to say since the last call.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.news.lock().expect("no panic inside"))
    }

    /// Lists to be put in force.
    pub fn taken(&self) -> Vec<Taken> {
        std::mem::take(&mut *self.shared.taken.lock().expect("no panic inside"))
    }

    /// Ends the thread once what is sealed is sent, or can not be now.
    pub fn close(&mut self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.news()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn say(&self, line: String) {
        let mut news = self.news.lock().expect("no panic inside");
        // Nobody may be listening.
        if news.len() < 1000 {
            news.push(line);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What goes wrong, said once until it is well again: several servers, and several causes, may take turns.
#[derive(Default)]
struct Trouble(BTreeSet<String>);

impl Trouble {
    fn note(&mut self, shared: &Shared, outcome: &Result<(), String>, well: &str) {
        match outcome {
            Ok(()) if self.0.is_empty() => {}
            Ok(()) => {
                self.0.clear();
                shared.say(format!("nats: {well}"));
            }
            Err(what) => {
                let has_room = self.0.len() < 100;
                if has_room && self.0.insert(what.clone()) {
                    shared.say(format!("nats: {what}"));
                }
            }
        }
    }
}

/// The thread's life: one connection after the other.
fn run(shared: &Arc<Shared>) {
    stand_back();
    let mut connection = Trouble(BTreeSet::from(["not connected yet".to_owned()]));
    let mut verdicts = Trouble::default();
    let mut lists = Trouble::default();
    for url in shared.nats.urls.iter().cycle() {
        let outcome = session(shared, url, &mut connection, &mut verdicts, &mut lists);
        shared.counts.connected.store(false, Ordering::Relaxed);
        if shared.is_stopping() {
            return;
        }
        if let Err(what) = outcome {
            shared.counts.broken.fetch_add(1, Ordering::Relaxed);
            let what = format!("{url}: {what}; calls go on, and what is to be sent waits in the journal");
            connection.note(shared, &Err(what), "");
        }
        let began = Instant::now();
        while began.elapsed() < PAUSE && !shared.is_stopping() {
            std::thread::sleep(LOOK);
        }
    }
}

/// One connection, from its beginning to its end.
fn session(
    shared: &Arc<Shared>,
    url: &str,
    connection: &mut Trouble,
    verdict_trouble: &mut Trouble,
    list_trouble: &mut Trouble,
) -> Result<(), String> {
    let runtime = runtime()?;
    let grace = if shared.nats.verdicts == Verdicts::None { Duration::ZERO } else { AT_THE_END };
    let outcome = runtime.block_on(async {
        let broken = Arc::new(Notify::new());
        let context = tokio::select! {
            context = connect(&shared.nats, url, broken.clone()) => context?,
            () = stopping(shared, Duration::ZERO) => return Ok(()),
        };
        shared.counts.connected.store(true, Ordering::Relaxed);
        connection.note(shared, &Ok(()), &format!("connected to {url}"));
        tokio::select! {
            () = broken.notified() => Err("the connection broke".to_owned()),
            () = verdicts::send(shared, &context, verdict_trouble) => Ok(()),
            () = lists::follow(shared, &context, list_trouble) => Ok(()),
            () = stopping(shared, grace) => Ok(()),
        }
    });
    // What reads a segment or a list on a thread of its own is not waited for: it ends by itself.
    runtime.shutdown_background();
    outcome
}

async fn stopping(shared: &Shared, grace: Duration) {
    while !shared.is_stopping() {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(grace).await;
}

fn runtime() -> Result<Runtime, String> {
    // One thread that may wait for a disk.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(2).enable_all().build().map_err(|error| error.to_string())
}

/// Connects to one server; `broken` is told when that connection ends, and it is not made anew.
async fn connect(nats: &Nats, url: &str, broken: Arc<Notify>) -> Result<Context, String> {
    // Taken once for the process; somebody may have been first.
    let _ = aws_lc_rs::default_provider().install_default();
    let is_up = Arc::new(AtomicBool::new(false));
    let was_up = is_up.clone();
    let mut options = ConnectOptions::new()
        .name(format!("qalqan {}", nats.node))
        .connection_timeout(TIME_OUT)
        .request_timeout(Some(TIME_OUT))
        .ping_interval(Duration::from_secs(10))
        .ignore_discovered_servers()
        // Never again after the first time: the runtime is given up before this is over.
        .reconnect_delay_callback(move |_| match was_up.load(Ordering::Relaxed) {
            true => Duration::from_secs(3600),
            false => Duration::ZERO,
        })
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                broken.notify_one();
            }
            std::future::ready(())
        });
    match &nats.credentials {
        Credentials::None => {}
        Credentials::Password { user, password } => {
            options = options.user_and_password(user.clone(), password.clone());
        }
        Credentials::Token(token) => options = options.token(token.clone()),
    }
    if let Some(ca) = &nats.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let Some((certificate, key)) = &nats.identity {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    let client = options.connect(url).await.map_err(|error| one_line(&error))?;
    is_up.store(true, Ordering::Relaxed);
    let context = jetstream::ContextBuilder::new().timeout(TIME_OUT).ack_timeout(TIME_OUT).build(client);
    Ok(context)
}

/// An error with its causes, in one line.
fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().replace('\n', " ")
}
