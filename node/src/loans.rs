//! The loan gate of a node (docs/lending.md): creditors ask by HTTP, `lending` decides, the store keeps.
//!
//! One thread with a runtime of its own has the store. HTTP workers reach it by [`Loans::ask`]; the same thread moves
//! applications on when their time comes, and sends what was queued.

mod clients;
mod codes;
mod looks;
mod office;
mod outgoing;
mod rotation;
mod smpp;
mod smpp_counts;
mod store;
mod suspects;
mod texts;
mod view;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use lending::{Change, CreditorClass, Kind, Purpose, Sum};
use numbering::Number;
use rules::Language;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::LocalSet;

use crate::config::Setup;
use crate::http::Problem;
use crate::store::now_ms;

pub use clients::{Client, Clients, New, Scope, TOKEN_S, add as add_client, replace};
pub use store::{Store, random};
pub use suspects::{Suspects, is_suspicious};
pub use texts::TextSeen;

pub use office::needs;

use office::Office;

/// Requests that may wait for the thread.
const JOBS: usize = 1024;
/// Requests worked on at a time.
const AT_ONCE: usize = 64;
const TICK: Duration = Duration::from_millis(100);
/// How often what is old is looked for.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// A line to the thread.
#[derive(Clone)]
pub struct Loans {
    jobs: mpsc::Sender<(Asked, oneshot::Sender<Reply>)>,
    pub counts: Arc<Counts>,
}

/// Who asks for what.
pub struct Asked {
    pub client: Client,
    pub language: Language,
    /// The request's key and hash, where a repeated one is answered as the first was.
    pub repeats: Option<(String, String)>,
    pub command: Command,
}

/// What is asked.
pub enum Command {
    Open(Opening),
    Look { id: String },
    SendCode { id: String, address: Option<String> },
    EnterCode { id: String, purpose: Purpose, code: String },
    Cancel { id: String },
    Document { id: String },
    SetBan { iin: String, phone: Option<Number> },
    LiftBan { iin: String },
    SeeBan { iin: String },
    Scam { phone: Number },
    PhoneChanged { phone: Number, change: Change, at_ms: i64 },
}

/// A loan applied for; the IIN is checked.
pub struct Opening {
    pub iin: String,
    pub phone: Number,
    pub class: CreditorClass,
    pub kind: Kind,
    pub is_online: bool,
    pub sum: Sum,
    pub term_days: u32,
    pub language: Language,
}

/// Status and JSON, or why not.
pub type Reply = Result<(u16, String), Problem>;

/// What is counted.
#[derive(Default)]
pub struct Counts {
    pub opened: AtomicU64,
    pub approved: AtomicU64,
    pub refused: AtomicU64,
    pub ended_otherwise: AtomicU64,
    pub codes_sent: AtomicU64,
    pub codes_wrong: AtomicU64,
    pub sms_sent: AtomicU64,
    pub webhooks_sent: AtomicU64,
    pub sends_failed: AtomicU64,
    pub store_faults: AtomicU64,
    pub smpp: smpp_counts::Counts,
}

impl Counts {
    /// In the form of `/metrics`: name, labels, help, value.
    pub fn described(&self) -> [(&'static str, &'static str, &'static str, u64); 10] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ended = "Applications that ended, by how.";
        [
            ("qalqan_loans_opened_total", "", "Applications for loans that were opened.", get(&self.opened)),
            ("qalqan_loans_ended_total", "how=\"approved\"", ended, get(&self.approved)),
            ("qalqan_loans_ended_total", "how=\"refused\"", ended, get(&self.refused)),
            ("qalqan_loans_ended_total", "how=\"otherwise\"", ended, get(&self.ended_otherwise)),
            ("qalqan_loans_codes_sent_total", "", "One-time codes that were sent.", get(&self.codes_sent)),
            (
                "qalqan_loans_codes_wrong_total",
                "",
                "One-time codes that were entered wrong.",
                get(&self.codes_wrong),
            ),
            (
                "qalqan_loans_sms_sent_total",
                "",
                "Texts laid into the spool, or taken whole by the SMSC.",
                get(&self.sms_sent),
            ),
            ("qalqan_loans_webhooks_sent_total", "", "Webhooks that were taken.", get(&self.webhooks_sent)),
            (
                "qalqan_loans_send_failures_total",
                "",
                "Texts and webhooks that could not be sent; those that may yet go are tried again.",
                get(&self.sends_failed),
            ),
            (
                "qalqan_loans_store_faults_total",
                "",
                "Requests that the store failed.",
                get(&self.store_faults),
            ),
        ]
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Loans {
    /// Opens the store and starts the thread; the node's configuration has `[loans]`.
    pub fn start(
        setup: Arc<ArcSwap<Setup>>,
        suspects: Arc<Suspects>,
        stop: Arc<AtomicBool>,
        log: fn(&str),
    ) -> io::Result<(Loans, JoinHandle<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let place = setup.load().loans.as_ref().map(|loans| loans.store.clone()).unwrap_or_default();
        let store = runtime.block_on(Store::open(&place)).map_err(|fault| {
            // Not the URL: it may hold a password.
            io::Error::other(format!("loans: the store cannot be opened: {fault}"))
        })?;
        let (jobs, asked) = mpsc::channel(JOBS);
        let counts = Arc::new(Counts::default());
        let office = Office { setup, suspects, store, counts: counts.clone(), log };
        let thread = std::thread::Builder::new().name("loans".to_owned());
        let thread = thread.spawn(move || {
            let office = Rc::new(office);
            LocalSet::new().block_on(&runtime, run(office, asked, stop));
        })?;
        Ok((Loans { jobs, counts }, thread))
    }

    /// Asks, and waits for what is answered.
    pub async fn ask(&self, asked: Asked) -> Reply {
        let (reply, answer) = oneshot::channel();
        let busy = || Problem::new(crate::http::Kind::StoreAway, "too much waits already: send it again");
        self.jobs.try_send((asked, reply)).map_err(|_| busy())?;
        answer.await.unwrap_or_else(|_| Err(busy()))
    }
}

async fn run(
    office: Rc<Office>,
    mut asked: mpsc::Receiver<(Asked, oneshot::Sender<Reply>)>,
    stop: Arc<AtomicBool>,
) {
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let chores = tokio::task::spawn_local(chores(office.clone()));
    let sending = tokio::task::spawn_local(outgoing::run(office.clone()));
    let texting = tokio::task::spawn_local(smpp::run(office.clone(), stop.clone()));
    loop {
        tokio::select! {
            job = asked.recv() => {
                let Some((asked, reply)) = job else { break };
                let (office, places) = (office.clone(), places.clone());
                tokio::task::spawn_local(async move {
                    let _place = places.acquire().await;
                    let _ = reply.send(office.answer(&asked).await);
                });
            }
            () = tokio::time::sleep(TICK) => {
                // Workers that answer yet have a second; what is not done then was never answered.
                if stop.load(Ordering::Relaxed) && Rc::strong_count(&places) == 1 && asked.is_empty() {
                    break;
                }
            }
        }
    }
    chores.abort();
    sending.abort();
    // Answers on their way are waited for, then the SMSC is told.
    let _ = tokio::time::timeout(smpp::LAST_WORDS, texting).await;
}

/// Moves applications on when their time comes, and forgets what is old.
async fn chores(office: Rc<Office>) {
    let mut forgotten = None;
    loop {
        office.settle_due().await;
        if forgotten.is_none_or(|at: tokio::time::Instant| at.elapsed() >= FORGET_EVERY) {
            office.forget(now_ms()).await;
            forgotten = Some(tokio::time::Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
