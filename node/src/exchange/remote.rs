//! Another operator as somebody to ask: one connection, few letters under way, questions that wait travel together.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exchange::{Answer, Breaker, BreakerLimits, Fault, Letter, MOST_ITEMS, Question, Signer, open_letter};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::Ids;
use super::counts::{Counts, What};
use super::server::{BODY_BYTES, LocalExecutor, PATH};
use crate::config::{Credential, Member};
use crate::letters::{self, Keeper};
use crate::store::now_ms;

/// Questions that travel apart: one letter is answered when its slowest question is.
#[derive(Clone, Copy)]
pub enum Lane {
    /// Answered from memory.
    Quick,
    /// The member looks again, or asks somebody itself.
    Patient,
    /// Calls for the member to keep: nobody waits for the answers.
    Registrations,
}

const LANES: usize = 3;

/// Letters under way at once, by lane: what comes meanwhile travels together in the next.
const LETTERS: [usize; LANES] = [4, 16, 2];
/// From a letter to the next of its lane, unless that is full: a signature costs more than a question.
const GAP: Duration = Duration::from_millis(1);
/// Questions that may wait for one member, in each lane.
const WAITING: usize = 8192;
/// After so many letters without an answer a connection is given up.
const SILENT: u32 = 3;
/// For a connection and its handshakes.
const CONNECTING: Duration = Duration::from_secs(5);
/// A connection that says nothing for so long is asked, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    Timeout,
    /// No connection, or the member is not asked for a while.
    Unreachable,
    /// It refused the whole letter.
    Refused,
    /// It refused this question.
    Fault(Fault),
    BadAnswer,
}

pub struct Remote {
    pub member: Arc<Member>,
    own_name: String,
    signer: Arc<Signer>,
    counts: Arc<Counts>,
    keeper: Keeper,
    breaker: RefCell<Breaker>,
    waiting: [RefCell<VecDeque<Waiting>>; LANES],
    under_way: [Cell<usize>; LANES],
    /// When the last letter of each lane left, and whether its next waits for the gap to end.
    left: [Cell<Option<Instant>>; LANES],
    gaps: [Cell<bool>; LANES],
    /// Letters without an answer, one after another.
    silent: Cell<u32>,
    open: Mutex<Option<Open>>,
    ids: Ids,
}

struct Waiting {
    question: Question,
    until: Instant,
    reply: oneshot::Sender<Result<Answer, Failure>>,
}

#[derive(Clone)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    credential: Arc<Credential>,
}

impl Remote {
    pub fn new(
        member: Arc<Member>,
        own_name: &str,
        signer: Arc<Signer>,
        counts: Arc<Counts>,
        keeper: Keeper,
    ) -> Rc<Remote> {
        Rc::new(Remote {
            member,
            own_name: own_name.to_owned(),
            signer,
            counts,
            keeper,
            breaker: RefCell::new(Breaker::new(BreakerLimits::default())),
            waiting: Default::default(),
            under_way: Default::default(),
            left: Default::default(),
            gaps: Default::default(),
            silent: Cell::new(0),
            open: Mutex::new(None),
            ids: Ids::new(),
        })
    }

    pub fn state(&self) -> exchange::BreakerState {
        self.breaker.borrow().state(now_ms())
    }

    /// An id for a question or a letter.
    pub fn id(&self) -> String {
        self.ids.next()
    }

    /// Asks, and waits no longer than `until`.
    pub async fn ask(
        self: &Rc<Self>,
        question: Question,
        lane: Lane,
        until: Instant,
    ) -> Result<Answer, Failure> {
        if !self.breaker.borrow_mut().may_ask(now_ms()) {
            return Err(Failure::Unreachable);
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting[lane as usize].borrow_mut();
            if waiting.len() >= WAITING {
                waiting.retain(|waiting| !waiting.reply.is_closed());
            }
            if waiting.len() >= WAITING {
                return Err(Failure::Timeout);
            }
            waiting.push_back(Waiting { question, until, reply });
        }
        self.pump(lane);
        let outcome = match timeout_at(until, answer).await {
            Ok(Ok(outcome)) => outcome,
            _ => Err(Failure::Timeout),
        };
        let mut breaker = self.breaker.borrow_mut();
        match outcome {
            Err(Failure::Timeout | Failure::Unreachable | Failure::BadAnswer) => breaker.failed(now_ms()),
            // A refusal is an answer: the member is there.
            _ => breaker.answered(now_ms()),
        }
        outcome
    }

    /// Sends what waits, as far as letters may be under way.
    fn pump(self: &Rc<Self>, lane: Lane) {
        let under_way = &self.under_way[lane as usize];
        let left = &self.left[lane as usize];
        while under_way.get() < LETTERS[lane as usize] {
            let mut letter = Vec::new();
            {
                let waiting = self.waiting[lane as usize].borrow();
                let next = left.get().map(|left| left + GAP).filter(|&next| next > Instant::now());
                if let Some(next) = next.filter(|_| (1..MOST_ITEMS).contains(&waiting.len())) {
                    return self.pump_at(lane, next);
                }
            }
            {
                let mut waiting = self.waiting[lane as usize].borrow_mut();
                while letter.len() < MOST_ITEMS
                    && let Some(next) = waiting.pop_front()
                {
                    if !next.reply.is_closed() {
                        letter.push(next);
                    }
                }
            }
            if letter.is_empty() {
                return;
            }
            under_way.set(under_way.get() + 1);
            left.set(Some(Instant::now()));
            let remote = self.clone();
            tokio::task::spawn_local(async move {
                remote.carry(letter).await;
                let under_way = &remote.under_way[lane as usize];
                under_way.set(under_way.get() - 1);
                remote.pump(lane);
            });
        }
    }

    fn pump_at(self: &Rc<Self>, lane: Lane, when: Instant) {
        if self.gaps[lane as usize].replace(true) {
            return;
        }
        let remote = self.clone();
        tokio::task::spawn_local(async move {
            sleep_until(when).await;
            remote.gaps[lane as usize].set(false);
            remote.pump(lane);
        });
    }

    /// One letter there and its answers back.
    async fn carry(self: &Rc<Self>, letter: Vec<Waiting>) {
        let until = letter.iter().map(|waiting| waiting.until).max().expect("a letter has questions");
        let (questions, askers): (Vec<_>, Vec<_>) =
            letter.into_iter().map(|waiting| (waiting.question, waiting.reply)).unzip();
        let outcome = timeout_at(until, self.correspond(&questions)).await.unwrap_or(Err(Failure::Timeout));
        match outcome {
            Err(failure) => {
                self.silent.set(if failure == Failure::Timeout { self.silent.get() + 1 } else { 0 });
                if self.silent.get() >= SILENT {
                    // A partition, maybe: a new connection finds out sooner than TCP does.
                    self.silent.set(0);
                    self.close();
                }
                askers.into_iter().for_each(|asker| drop(asker.send(Err(failure))));
            }
            Ok(answers) => {
                self.silent.set(0);
                for ((asker, question), answer) in askers.into_iter().zip(&questions).zip(answers) {
                    let outcome = fitting(question, answer);
                    let _ = asker.send(outcome.ok_or_else(|| self.bad_answer("wrong-answer")).flatten());
                }
            }
        }
    }

    async fn correspond(self: &Rc<Self>, questions: &[Question]) -> Result<Vec<Answer>, Failure> {
        let jti = self.id();
        let letter =
            Letter::new(&self.own_name, &self.member.name, now_ms(), jti.clone(), questions.to_vec());
        let question = self.signer.sign(&letter.to_json());
        let body = Bytes::from(question.clone());
        // A connection that ended while nobody looked is opened again, once.
        let (status, bytes, credential) = match self.post(body.clone()).await {
            Err(Failure::Unreachable) => {
                self.close();
                self.post(body).await?
            }
            outcome => outcome?,
        };
        match status {
            StatusCode::OK => {}
            status if status.is_server_error() => return Err(Failure::Unreachable),
            _ => return Err(Failure::Refused),
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| self.bad_answer("not-a-jws"))?;
        let (from, to) = (&self.member.name, &self.own_name);
        let letter = open_letter::<Answer>(text, &credential.verifier, from, to, Some(&jti), now_ms());
        let answers = letter.map_err(|refused| self.bad_answer(refused.name()))?.items;
        let Credential { thumbprint, der, .. } = &*credential;
        self.keeper.keep(letters::pair(from, true, thumbprint, question, text.to_owned()), der);
        match answers.len() == questions.len() {
            true => Ok(answers),
            false => Err(self.bad_answer("wrong-count")),
        }
    }

    fn bad_answer(&self, fault: &'static str) -> Failure {
        self.counts.add(What::Refused, &self.member.name, "answer", fault);
        Failure::BadAnswer
    }

    async fn post(self: &Rc<Self>, body: Bytes) -> Result<(StatusCode, Bytes, Arc<Credential>), Failure> {
        let Open { mut sender, credential } = self.connection().await?;
        let request = Request::post(format!("https://{}{PATH}", self.member.authority))
            .header(header::CONTENT_TYPE, "application/jose")
            .body(Full::new(body))
            .expect("a well-formed request");
        sender.ready().await.map_err(|_| Failure::Unreachable)?;
        let answer = sender.send_request(request).await.map_err(|_| Failure::Unreachable)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY_BYTES).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => self.bad_answer("body-too-long"),
            false => Failure::Unreachable,
        });
        Ok((status, body?.to_bytes(), credential))
    }

    /// The open connection; else one is opened, and goes on being opened where its asker waits no longer: far away a
    /// handshake takes longer than a question may.
    async fn connection(self: &Rc<Self>) -> Result<Open, Failure> {
        if let Some(open) = self.open.try_lock().ok().and_then(|place| place.clone())
            && !open.sender.is_closed()
        {
            return Ok(open);
        }
        let remote = self.clone();
        let opening = tokio::task::spawn_local(async move {
            let mut place = remote.open.lock().await;
            if place.as_ref().is_none_or(|open| open.sender.is_closed()) {
                *place = timeout(CONNECTING, remote.connect()).await.ok().flatten();
            }
            place.clone()
        });
        opening.await.ok().flatten().ok_or(Failure::Unreachable)
    }

    /// Gives the connection up, unless another is being opened.
    fn close(&self) {
        if let Ok(mut place) = self.open.try_lock() {
            place.take();
        }
    }

    async fn connect(&self) -> Option<Open> {
        let stream = TcpStream::connect(&*self.member.authority).await.ok()?;
        let _ = stream.set_nodelay(true);
        let host = self.member.host.clone()?;
        let tls = TlsConnector::from(self.member.client.clone());
        let stream = tls.connect(host, stream).await.ok()?;
        // Whoever else the authority vouches for is not this member.
        let shown = stream.get_ref().1.peer_certificates()?.first()?;
        let credential = self.member.credential(shown)?.clone();
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .handshake(TokioIo::new(stream))
            .await
            .ok()?;
        tokio::task::spawn_local(connection);
        Some(Open { sender, credential })
    }
}

/// The answer, or why it is refused; none where it is not one to this question.
fn fitting(question: &Question, answer: Answer) -> Option<Result<Answer, Failure>> {
    let fits = match (question, &answer) {
        // The kind may be one that the member does not know: then it has read no id either.
        (_, Answer::Refused { id, fault }) => {
            return (id.is_empty() || id == question.id()).then_some(Err(Failure::Fault(*fault)));
        }
        (Question::Register(_), Answer::Accepted { .. })
        | (Question::Check(_), Answer::Initiation { .. })
        | (Question::Roaming(_), Answer::Roaming { .. })
        | (Question::Capabilities, Answer::Capabilities(_)) => question.id() == answer.id(),
        _ => false,
    };
    fits.then_some(Ok(answer))
}
