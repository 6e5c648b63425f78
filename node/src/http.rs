//! The HTTP door: verdicts for switches that ask by HTTP, and how the node is for those who look after it.
//!
//! A worker is a thread with a listener of its own on every address (SO_REUSEPORT), its own end of the journal
//! and its own counters, so no request waits for another worker. HTTP/1.1 with connections kept open.

mod answer;
mod aos;
mod asked;
mod behaviour;
mod case;
mod confirm;
mod connection;
mod keys;
mod language;
mod loans;
mod one_time_password;
mod openapi;
mod operators;
mod problem;
mod ready;
mod screen;
mod server;
mod token;

use std::cell::RefCell;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::casework::Register;
use crate::config::{Http, Setup};
use crate::exchange::Line;
use crate::loans::Loans;
use crate::metrics::Watch;
use crate::stats::{Counter, WorkerStats};
use crate::store::{Writer, now_ms};
use crate::traces::Origin;

pub use keys::{Keys, add as add_key};
pub use openapi::openapi;
pub use problem::{Kind, Problem};
use ready::Readiness;
use screen::{Asker, Bench};
pub use server::Server;

/// Of a body that came without a key no more is read, so that an emergency call can pass.
const UNKNOWN_BODY: usize = 4096;

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    Screen,
    Explain,
    SaveRequest,
    CheckRequest,
    Locations,
    RoamingStatus,
    Behaviour,
    CallRecords,
    Scorecard,
    /// Everything of [`loans`].
    Loans,
    Token,
    Bans,
    Signals,
    Phones,
    OneTimePassword,
    References,
    /// Everything of [`confirm`].
    Confirm,
    /// Everything of [`case`].
    Case,
    Stats,
    Healthz,
    Readyz,
    Metrics,
    OpenApi,
    Nothing,
}

impl Route {
    pub const ALL: [Route; 24] = [
        Route::Screen,
        Route::Explain,
        Route::SaveRequest,
        Route::CheckRequest,
        Route::Locations,
        Route::RoamingStatus,
        Route::Behaviour,
        Route::CallRecords,
        Route::Scorecard,
        Route::Loans,
        Route::Token,
        Route::Bans,
        Route::Signals,
        Route::Phones,
        Route::OneTimePassword,
        Route::References,
        Route::Confirm,
        Route::Case,
        Route::Stats,
        Route::Healthz,
        Route::Readyz,
        Route::Metrics,
        Route::OpenApi,
        Route::Nothing,
    ];

    fn of(path: &str) -> Route {
        let is = |route: &Route| match route {
            Route::Loans
            | Route::Bans
            | Route::Signals
            | Route::Phones
            | Route::OneTimePassword
            | Route::References
            | Route::Confirm
            | Route::Case => {
                let below = path.strip_prefix(route.path());
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            }
            _ => route.path() == path,
        };
        Route::ALL.into_iter().find(is).unwrap_or(Route::Nothing)
    }

    /// The path; empty for everything else.
    pub fn path(self) -> &'static str {
        match self {
            Route::Screen => "/v1/screen",
            Route::Explain => "/v1/screen/explain",
            Route::SaveRequest => "/aos/saveRequest",
            Route::CheckRequest => "/aos/checkRequest",
            Route::Locations => "/v1/locations",
            Route::RoamingStatus => "/device-roaming-status/v1/retrieve",
            Route::Behaviour => "/v1/behaviour",
            Route::CallRecords => "/v1/call-records",
            Route::Scorecard => "/v1/scorecard",
            Route::Loans => "/v1/loans",
            Route::Token => "/oauth2/token",
            Route::Bans => "/v1/bans",
            Route::Signals => "/v1/signals",
            Route::Phones => "/v1/phones",
            Route::OneTimePassword => "/one-time-password-sms/v1",
            Route::References => "/v1/references",
            Route::Confirm => "/confirm",
            Route::Case => "/v1/case",
            Route::Stats => "/v1/stats",
            Route::Healthz => "/healthz",
            Route::Readyz => "/readyz",
            Route::Metrics => "/metrics",
            Route::OpenApi => "/openapi.json",
            Route::Nothing => "",
        }
    }

    /// Whether something is asked that takes a key.
    fn is_question(self) -> bool {
        !matches!(
            self,
            Route::Scorecard
                | Route::Healthz
                | Route::Readyz
                | Route::Metrics
                | Route::OpenApi
                | Route::Nothing
        )
    }

    fn methods(self) -> &'static str {
        match self {
            route if route.is_question() => "POST",
            _ => "GET, HEAD",
        }
    }
}

/// Every status that is answered, as counters name them.
pub const STATUSES: [u16; 17] =
    [200, 201, 202, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503];

/// Answers of one worker by route and status.
#[derive(Default)]
pub struct Answered([[Counter; STATUSES.len()]; Route::ALL.len()]);

impl Answered {
    fn count(&self, route: Route, status: u16) {
        if let Some(place) = STATUSES.iter().position(|&known| known == status) {
            self.0[route as usize][place].add(1);
        }
    }

    pub fn get(&self, route: Route, status: usize) -> u64 {
        self.0[route as usize][status].get()
    }
}

/// What one worker answers with.
struct Desk {
    setup: RefCell<arc_swap::Cache<Arc<ArcSwap<Setup>>, Arc<Setup>>>,
    journal: RefCell<Writer>,
    stats: Arc<WorkerStats>,
    answered: Arc<Answered>,
    watch: Arc<Watch>,
    /// Connections open, of all workers together.
    open: Arc<AtomicU64>,
    /// To those who ask other operators.
    line: Option<Line>,
    /// To the loan gate.
    loans: Option<Loans>,
    /// To the register of cases.
    casework: Option<Register>,
}

type Answer = Response<Full<Bytes>>;

impl Desk {
    fn setup(&self) -> Arc<Setup> {
        self.setup.borrow_mut().load().clone()
    }

    /// Answers one request; nothing it holds can make this fail.
    async fn answer(&self, request: Request<Incoming>, has_certificate: bool, peer: IpAddr) -> Answer {
        let route = Route::of(request.uri().path());
        let outcome = self.route(route, request, has_certificate, peer).await;
        let mut answer = outcome.unwrap_or_else(|problem| refusal(route, &problem));
        if self.watch.is_stopping() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.answered.count(route, answer.status().as_u16());
        answer
    }

    async fn route(
        &self,
        route: Route,
        request: Request<Incoming>,
        has_certificate: bool,
        peer: IpAddr,
    ) -> Result<Answer, Problem> {
        if route == Route::Nothing {
            let what = "ask /v1/screen, /v1/screen/explain, /aos/saveRequest, /aos/checkRequest, /v1/locations, /device-roaming-status/v1/retrieve, /v1/behaviour, /v1/call-records, /v1/scorecard, /v1/loans, /v1/bans, /v1/signals, /v1/phones, /v1/references, /v1/case, /v1/stats, /confirm, /one-time-password-sms/v1, /oauth2/token, /healthz, /readyz, /metrics or /openapi.json";
            return Err(Problem::new(Kind::NotFound, what));
        }
        match route {
            Route::Loans | Route::Bans | Route::Signals | Route::Phones | Route::References => {
                return self.lending(route, request).await;
            }
            Route::Token => return self.token(request).await,
            Route::Case | Route::Stats => return self.case(route, request).await,
            Route::Confirm => return self.confirm(request, peer).await,
            Route::OneTimePassword => return Ok(self.one_time_password(request).await),
            _ => {}
        }
        let fits = match *request.method() {
            Method::POST => route.is_question(),
            Method::GET | Method::HEAD => !route.is_question(),
            _ => false,
        };
        if !fits {
            let what = format!("{} takes {}", route.path(), route.methods());
            return Err(Problem::new(Kind::MethodNotAllowed, what));
        }
        match route {
            Route::Screen | Route::Explain => {
                self.question(request, has_certificate, route == Route::Explain).await
            }
            Route::SaveRequest | Route::CheckRequest => {
                self.aos(request, has_certificate, route == Route::SaveRequest).await
            }
            Route::Locations => self.locations(request, has_certificate).await,
            Route::RoamingStatus => Ok(self.roaming_status(request, has_certificate).await),
            Route::Behaviour => self.behaviour(request, has_certificate).await,
            Route::CallRecords => self.call_records(request, has_certificate).await,
            Route::Scorecard => {
                self.asker(&self.setup().http, request.headers(), has_certificate)?;
                Ok(plain("application/json", serde_json::to_vec(&self.watch.scores()).expect("plain values")))
            }
            Route::Healthz => Ok(plain("text/plain; charset=utf-8", "alive\n")),
            Route::Readyz => self.ready(),
            Route::Metrics => {
                let watch = self.watch.clone();
                let journal_failing = self.journal.borrow().is_failing();
                // Sums of many counters and a look into /proc: not on the thread that answers calls.
                let text = tokio::task::spawn_blocking(move || watch.metrics(journal_failing)).await;
                let text = text.map_err(|_| stumble())?;
                Ok(plain("text/plain; version=0.0.4; charset=utf-8", text))
            }
            Route::OpenApi => Ok(plain("application/json", openapi())),
            _ => unreachable!("answered above"),
        }
    }

    fn ready(&self) -> Result<Answer, Problem> {
        if self.watch.is_stopping() {
            return Err(Problem::new(Kind::Stopping, "ask another node"));
        }
        let readiness = Readiness::of(&self.setup(), self.journal.borrow().is_failing());
        Ok(plain("application/json", serde_json::to_vec(&readiness).expect("plain values")))
    }

    async fn question(
        &self,
        request: Request<Incoming>,
        has_certificate: bool,
        explained: bool,
    ) -> Result<Answer, Problem> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        let asker = self.asker(&setup.http, &head.headers, has_certificate);
        let body = match self.body(&setup, asker.is_ok(), body).await {
            Ok(body) => body,
            Err(problem) => return Err(asker.err().unwrap_or(problem)),
        };
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let language = language::choose(text(header::ACCEPT_LANGUAGE).unwrap_or(""), setup.language);
        let origin = match text(HeaderName::from_static("traceparent")) {
            Some(parent) => Origin::of_traceparent(parent),
            None => Origin::Here,
        };
        let (stats, line, now_ms) = (&*self.stats, self.line.as_ref(), now_ms());
        let bench = Bench { setup: &setup, stats, line, language, origin, now_ms };
        let caught = |_| {
            stats.panics.add(1);
            stumble()
        };
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let asked = asker.and_then(|asker| is_json(&head.headers).map(|()| asker));
            let judged = asked.and_then(|asker| bench.judge(&body, asker));
            judged.or_else(|problem| bench.emergency(&body).ok_or(problem))
        }));
        let mut judged = judged.map_err(caught)??;
        bench.ask(&mut judged).await;
        let answered = catch_unwind(AssertUnwindSafe(|| {
            bench.answer(judged, &mut self.journal.borrow_mut(), explained)
        }));
        let verdicts = answered.map_err(caught)?;
        let mut answer = plain("application/json", verdicts);
        let language = HeaderValue::from_static(language.code());
        answer.headers_mut().insert(header::CONTENT_LANGUAGE, language);
        Ok(answer)
    }

    /// A body; of one that came without a key no more is read than an emergency call takes.
    async fn body(&self, setup: &Setup, has_key: bool, body: Incoming) -> Result<Bytes, Problem> {
        let limit = if has_key { setup.http.body_bytes } else { setup.http.body_bytes.min(UNKNOWN_BODY) };
        read(body, limit, setup.http.body).await
    }

    /// Who asks, if he may.
    fn asker<'k>(
        &self,
        http: &'k Http,
        headers: &HeaderMap,
        has_certificate: bool,
    ) -> Result<Asker<'k>, Problem> {
        match (&http.who.keys, key(headers)) {
            (Some(keys), Some(key)) => keys.find(key, now_ms()).map(Some).map_err(|refused| {
                self.stats.wrong_keys.add(1);
                match refused {
                    keys::Refused::Unknown => Problem::new(
                        Kind::WrongKey,
                        "the key is not in the key file: make one by qalqan http key",
                    ),
                    keys::Refused::Expired => {
                        Problem::new(Kind::ExpiredKey, "its time is over: make another by qalqan http key")
                    }
                }
            }),
            _ if has_certificate => Ok(None),
            (None, _) if !http.who.certificates => Ok(None),
            _ => {
                let what = "send a key as Authorization: Bearer or X-Api-Key, or a client certificate";
                Err(Problem::new(Kind::NoKey, what))
            }
        }
    }
}

/// The key a request shows: RFC 6750 section 2.1, or X-Api-Key.
fn key(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let value = value.as_bytes();
        let (scheme, key) = value.split_at_checked(7)?;
        return scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii());
    }
    headers.get("x-api-key").map(|value| value.as_bytes().trim_ascii())
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    is_file(headers, "application/json")
}

/// Whether a body is said to be of a type, and not packed.
fn is_file(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let of = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let essence = of(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or("");
    if !essence.trim().eq_ignore_ascii_case(wanted) {
        return Err(Problem::new(Kind::UnsupportedMediaType, format!("send Content-Type: {wanted}")));
    }
    match of(header::CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(_) => Err(Problem::new(Kind::UnsupportedMediaType, "send the body without a Content-Encoding")),
    }
}

/// The parameters of a query; one that is no form has none.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: Option<&str>) -> Query {
        Query(token::form(text.unwrap_or("").as_bytes()).unwrap_or_default())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a body whole; most come in one piece with their head and are not copied.
async fn read(mut body: Incoming, limit: usize, time: Duration) -> Result<Bytes, Problem> {
    let too_long = || {
        let what = format!("at most {} KiB: ask in parts, or raise http.body-kb", limit / 1024);
        Problem::new(Kind::BodyTooLong, what)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_long());
    }
    let gather = async {
        let mut whole = Bytes::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::new(Kind::InvalidJson, "the body broke off"))?;
            let Ok(piece) = frame.into_data() else { continue };
            if whole.len() + piece.len() > limit {
                return Err(too_long());
            }
            whole = if whole.is_empty() { piece } else { [&whole[..], &piece[..]].concat().into() };
        }
        Ok(whole)
    };
    let late = |_| {
        let what = format!("it has to come within {} s (http.body-s)", time.as_secs());
        Problem::new(Kind::BodyTooSlow, what)
    };
    tokio::time::timeout(time, gather).await.map_err(late)?
}

fn plain(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn refusal(route: Route, problem: &Problem) -> Answer {
    let mut answer = plain("application/problem+json", problem.to_json());
    *answer.status_mut() = StatusCode::from_u16(problem.kind.status()).expect("a status");
    let more = match problem.kind {
        Kind::MethodNotAllowed => Some((header::ALLOW, route.methods())),
        // RFC 6750 section 3.
        Kind::NoKey => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"qalqan\"")),
        Kind::WrongKey | Kind::ExpiredKey => {
            Some((header::WWW_AUTHENTICATE, "Bearer realm=\"qalqan\", error=\"invalid_token\""))
        }
        Kind::InsufficientScope => {
            Some((header::WWW_AUTHENTICATE, "Bearer realm=\"qalqan\", error=\"insufficient_scope\""))
        }
        Kind::Stopping | Kind::TooManyConnections | Kind::StoreAway | Kind::FacesBusy => {
            Some((header::RETRY_AFTER, "1"))
        }
        _ => None,
    };
    if let Some((name, value)) = more {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// 405 where a route's methods depend on what is behind it.
fn wrong_method(route: Route, methods: &'static str) -> Answer {
    let problem = Problem::new(Kind::MethodNotAllowed, format!("this takes {methods}"));
    let mut answer = refusal(route, &problem);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn stumble() -> Problem {
    Problem::new(Kind::Stumble, "a bug: it is counted; let the call go on")
}
