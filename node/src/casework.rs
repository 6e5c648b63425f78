//! The investigators' register of a node (docs/casework.md): they ask by HTTP, the crate `casework` decides, a database keeps.
//!
//! One thread with a runtime of its own has the store. HTTP workers reach it by [`Register::ask`].

pub mod asked;
mod centres;
mod clients;
mod confirmed;
mod counts;
mod events;
mod evidence;
mod facts;
mod feed;
mod groups;
mod identifiers;
mod import;
mod index;
mod looks;
mod office;
mod persons;
mod reports;
mod requests;
mod rotation;
mod seizures;
mod statistics;
mod store;
mod undone;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::config::Setup;
use crate::http::{Kind, Problem};
use crate::loans::Suspects;

pub use asked::{Asked, Command};
pub use centres::{CentresImported, import_centres};
pub use clients::{Client, Clients, SCOPE, add as add_client};
pub use confirmed::Confirmation;
pub use counts::Counts;
pub use evidence::{Cases, Seen, cases};
pub use feed::FED;
pub use import::{Imported, import_file};
pub use looks::{Look, looks};
pub use statistics::{Form, Statistics, Wanted};
pub use store::Store;

use feed::{Fed, Feed, LOOK, Waiting};
use office::Office;

/// Requests that may wait for the thread.
const JOBS: usize = 256;
const TICK: Duration = Duration::from_millis(100);
/// How often what `/metrics` says of the register is counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// How often answers that nobody repeats any more are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Status and JSON, or why not.
pub type Reply = Result<(u16, String), Problem>;

/// A line to the thread.
#[derive(Clone)]
pub struct Register {
    jobs: mpsc::Sender<(Asked, oneshot::Sender<Reply>)>,
    waiting: Waiting,
    pub counts: Arc<Counts>,
}

impl Register {
    /// Opens the store and starts the thread; the node's configuration has `[casework]`.
    pub fn start(
        setup: Arc<ArcSwap<Setup>>,
        suspects: Option<Arc<Suspects>>,
        stop: Arc<AtomicBool>,
        log: fn(&str),
    ) -> io::Result<(Register, JoinHandle<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let place = setup.load().casework.as_ref().map(|case| case.store.clone()).unwrap_or_default();
        let store = runtime.block_on(Store::open(&place)).map_err(|fault| {
            // Not the URL: it may hold a password.
            io::Error::other(format!("casework: the store cannot be opened: {fault}"))
        })?;
        let (jobs, asked) = mpsc::channel(JOBS);
        let waiting = Waiting::default();
        let feed = Feed::new(waiting.clone(), suspects);
        let counts = Arc::new(Counts::default());
        let register = Register { jobs, waiting, counts: counts.clone() };
        let thread = std::thread::Builder::new().name("casework".to_owned()).spawn(move || {
            let office = Office { setup, store, log, index: Default::default(), counts };
            LocalSet::new().block_on(&runtime, run(Rc::new(office), feed, asked, stop));
        })?;
        Ok((register, thread))
    }

    /// Lists that confirmed numbers came onto or left, to be put in force.
    pub fn fed(&self) -> Vec<Fed> {
        std::mem::take(&mut self.waiting.lock().expect("no panic inside"))
    }

    /// Asks, and waits for what is answered.
    pub async fn ask(&self, asked: Asked) -> Reply {
        let (reply, answer) = oneshot::channel();
        let busy = || Problem::new(Kind::StoreAway, "too much waits already: send it again");
        self.jobs.try_send((asked, reply)).map_err(|_| busy())?;
        answer.await.unwrap_or_else(|_| Err(busy()))
    }
}

async fn run(
    office: Rc<Office>,
    mut feed: Feed,
    mut asked: mpsc::Receiver<(Asked, oneshot::Sender<Reply>)>,
    stop: Arc<AtomicBool>,
) {
    // Held by each request that is not answered yet.
    let under_way = Rc::new(());
    let mut forgotten: Option<Instant> = None;
    let counting = tokio::task::spawn_local({
        let office = office.clone();
        async move {
            loop {
                office.count().await;
                tokio::time::sleep(COUNT_EVERY).await;
            }
        }
    });
    let feeding = tokio::task::spawn_local({
        let office = office.clone();
        async move {
            loop {
                feed.look(&office).await;
                tokio::time::sleep(LOOK).await;
            }
        }
    });
    loop {
        if forgotten.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            office.forget().await;
            forgotten = Some(Instant::now());
        }
        tokio::select! {
            job = asked.recv() => {
                let Some((asked, reply)) = job else { break };
                let (office, is_under_way) = (office.clone(), under_way.clone());
                tokio::task::spawn_local(async move {
                    let _ = reply.send(office.answer(&asked).await);
                    drop(is_under_way);
                });
            }
            () = tokio::time::sleep(TICK) => {
                if stop.load(Ordering::Relaxed) && Rc::strong_count(&under_way) == 1 && asked.is_empty() {
                    break;
                }
            }
        }
    }
    feeding.abort();
    counting.abort();
}
