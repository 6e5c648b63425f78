//! The loan gate of a node (docs/lending.md): creditors ask by HTTP, `lending` decides, the store keeps.
//!
//! One thread with a runtime of its own has the store. HTTP workers reach it by [`Loans::ask`]; the same thread moves
//! applications on when their time comes, and sends what was queued.

mod around;
mod clients;
mod codes;
mod counts;
mod face_pool;
mod faces;
mod limits;
mod links;
mod looks;
mod office;
pub mod operator;
mod operator_codes;
mod outgoing;
mod page;
mod phones;
mod provider;
mod references;
mod rotation;
mod smpp;
mod smpp_counts;
mod smsc;
mod steps;
mod store;
mod suspects;
mod texts;
mod verifications;
pub(crate) mod view;
mod writes;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ::casework::Identifier;
use arc_swap::ArcSwap;
use lending::{Change, CreditorClass, Kind, Purpose, Sum};
use numbering::Number;
use rules::Language;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::LocalSet;

use crate::config::Setup;
use crate::http::Problem;
use crate::store::now_ms;

pub use clients::{Client, Clients, New, Scope, add as add_client};
pub use counts::Counts;
pub use faces::{Faces, Next, PICTURE};
pub use links::hash_of;
pub use page::{Act, PageAsked};
pub use references::{Reference, ReferenceSeen};
pub use store::{Store, random};
pub use suspects::{Suspects, is_suspicious};
pub use texts::TextSeen;

pub use office::needs;

use office::Office;

/// Requests that may wait for the thread.
const JOBS: usize = 1024;
/// Changes of the store worked on at a time.
const AT_ONCE: usize = 64;
const TICK: Duration = Duration::from_millis(100);
/// How often what is old is looked for.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// A line to the thread.
#[derive(Clone)]
pub struct Loans {
    jobs: mpsc::Sender<(Job, oneshot::Sender<Reply>)>,
    /// Who judges faces; none: nobody.
    pub faces: Option<Arc<Faces>>,
    pub counts: Arc<Counts>,
}

enum Job {
    Creditor(Asked),
    Citizen(PageAsked),
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
    Look {
        id: String,
    },
    SendCode {
        id: String,
        address: Option<String>,
    },
    EnterCode {
        id: String,
        purpose: Purpose,
        code: String,
    },
    Cancel {
        id: String,
    },
    Document {
        id: String,
    },
    SetBan {
        iin: String,
        phone: Option<Number>,
    },
    LiftBan {
        iin: String,
    },
    SeeBan {
        iin: String,
    },
    Scam {
        phone: Number,
    },
    PhoneChanged {
        phone: Number,
        change: Change,
        at_ms: i64,
    },
    /// CAMARA one-time-password-sms; `message` holds `{{code}}`.
    SendVerification {
        phone: Number,
        message: String,
    },
    ValidateVerification {
        id: String,
        code: String,
    },
    MakeLink {
        id: String,
        send: bool,
    },
    KeepReference {
        iin: String,
        reference: Reference,
    },
    DropReference {
        iin: String,
    },
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
    /// Where the money goes, and where the application comes from.
    pub identifiers: Vec<Identifier>,
}

/// Status and JSON, or why not.
pub type Reply = Result<(u16, String), Problem>;

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
        let settings = setup.load_full();
        let faces = settings.loans.as_ref().and_then(|loans| loans.faces.as_ref());
        let faces = match Faces::start(faces, counts.clone()) {
            Ok(faces) => Some(Arc::new(faces)),
            Err(what) => {
                let is_meant =
                    |loans: &Arc<crate::config::Loans>| loans.asked.living_face || loans.faces.is_some();
                if settings.loans.as_ref().is_some_and(is_meant) {
                    log(&format!("loans: the gate living-face waits, for no face can be judged: {what}"));
                }
                None
            }
        };
        let (places, later) = (Semaphore::new(AT_ONCE), Default::default());
        let faces_here = faces.clone();
        let office =
            Office { setup, suspects, store, faces: faces_here, counts: counts.clone(), log, places, later };
        let thread = std::thread::Builder::new().name("loans".to_owned());
        let thread = thread.spawn(move || {
            let office = Rc::new(office);
            LocalSet::new().block_on(&runtime, run(office, asked, stop));
        })?;
        Ok((Loans { jobs, faces, counts }, thread))
    }

    /// Asks, and waits for what is answered.
    pub async fn ask(&self, asked: Asked) -> Reply {
        self.told(Job::Creditor(asked)).await
    }

    /// Asks for a citizen at his page.
    pub async fn ask_for_citizen(&self, asked: PageAsked) -> Reply {
        self.told(Job::Citizen(asked)).await
    }

    /// Makes numbers of a reference photo.
    pub async fn measure(&self, reference: &mut Reference) -> Result<(), Problem> {
        let what = "this node judges no faces: configure [loans.face]";
        let faces = self.faces.as_ref();
        let faces = faces.ok_or_else(|| Problem::new(crate::http::Kind::NotConfigured, what))?;
        faces.measure(reference, now_ms()).await
    }

    async fn told(&self, job: Job) -> Reply {
        let (reply, answer) = oneshot::channel();
        let busy = || Problem::new(crate::http::Kind::StoreAway, "too much waits already: send it again");
        self.jobs.try_send((job, reply)).map_err(|_| busy())?;
        answer.await.unwrap_or_else(|_| Err(busy()))
    }
}

async fn run(
    office: Rc<Office>,
    mut asked: mpsc::Receiver<(Job, oneshot::Sender<Reply>)>,
    stop: Arc<AtomicBool>,
) {
    // Held by each request that is not answered yet.
    let under_way = Rc::new(());
    let chores = tokio::task::spawn_local(chores(office.clone()));
    let sending = tokio::task::spawn_local(outgoing::run(office.clone()));
    let texting = tokio::task::spawn_local(smsc::run(office.clone(), stop.clone()));
    loop {
        tokio::select! {
            job = asked.recv() => {
                let Some((job, reply)) = job else { break };
                let (office, is_under_way) = (office.clone(), under_way.clone());
                tokio::task::spawn_local(async move {
                    let answer = match &job {
                        Job::Creditor(asked) => office.answer(asked).await,
                        Job::Citizen(asked) => office.answer_page(asked).await,
                    };
                    let _ = reply.send(answer);
                    drop(is_under_way);
                });
            }
            () = tokio::time::sleep(TICK) => {
                // Workers that answer yet have a second; what is not done then was never answered.
                if stop.load(Ordering::Relaxed) && Rc::strong_count(&under_way) == 1 && asked.is_empty() {
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
        for question in office.later.take() {
            let office = office.clone();
            tokio::task::spawn_local(async move { office.learn(question).await });
        }
        if forgotten.is_none_or(|at: tokio::time::Instant| at.elapsed() >= FORGET_EVERY) {
            office.forget(now_ms()).await;
            forgotten = Some(tokio::time::Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
