//! What other operators reach: HTTP/2 with mutual TLS, one path, letters in and letters out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exchange::{Letter, Question, RateLimit, Refused, Seen, Verifier, open_letter};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::counts::What;
use super::pending::Office;
use crate::config::Setup;
use crate::letters;
use crate::store::now_ms;

/// How counters name whoever is no member.
const NOBODY: &str = "nobody";
/// The one path.
pub const PATH: &str = "/exchange/v1";
/// A letter is no longer.
pub const BODY_BYTES: usize = 256 * 1024;
/// For a handshake, and for a body.
const PATIENCE: Duration = Duration::from_secs(5);
/// Handshakes at once: of all together, and from one address.
const HANDSHAKES: u32 = 1024;
const HANDSHAKES_OF_ONE: u32 = 64;
/// Connections of one member at once, and of all who show a certificate that is no member's.
const CONNECTIONS: u32 = 64;
/// Letters of one member that are read or answered at once.
const LETTERS: u32 = 64;
/// A full letter is admitted, however few questions a second were agreed.
const LEAST_BURST: u32 = exchange::MOST_ITEMS as u32;
/// Ids of letters remembered for each member.
const SEEN: usize = 1 << 20;

/// Tasks of this thread.
#[derive(Clone, Copy)]
pub struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// What is remembered of a member that asks.
pub struct Guest {
    seen: Seen,
    rate: RateLimit,
    per_s: u32,
    /// Letters that are read or answered now.
    letters: Rc<Cell<u32>>,
    /// Since when it registers its calls here without a pause, and when it last did.
    registers: Option<(Instant, Instant)>,
}

/// How many handshakes and connections there are, and whose.
#[derive(Default)]
pub struct Crowd {
    handshakes: Rc<Cell<u32>>,
    handshakes_of: RefCell<HashMap<IpAddr, Rc<Cell<u32>>>>,
    connections_of: RefCell<HashMap<String, Rc<Cell<u32>>>>,
}

/// One of several that there may be at once; dropped, it makes room.
struct Place(Rc<Cell<u32>>);

impl Place {
    fn of(taken: &Rc<Cell<u32>>, most: u32) -> Option<Place> {
        if taken.get() >= most {
            return None;
        }
        taken.set(taken.get() + 1);
        Some(Place(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Crowd {
    fn handshake(&self, from: IpAddr) -> Option<(Place, Place)> {
        let mut of = self.handshakes_of.borrow_mut();
        // Who has none under way is forgotten, so the table is no longer than they are.
        if of.len() > HANDSHAKES as usize {
            of.retain(|_, taken| taken.get() > 0);
        }
        let one = Place::of(of.entry(from).or_default(), HANDSHAKES_OF_ONE)?;
        Some((one, Place::of(&self.handshakes, HANDSHAKES)?))
    }

    fn connection(&self, of: &str) -> Option<Place> {
        Place::of(self.connections_of.borrow_mut().entry(of.to_owned()).or_default(), CONNECTIONS)
    }
}

/// Why a letter is not answered: a status, the last part of the problem's type, what to do, seconds to wait.
struct Refusal(StatusCode, &'static str, &'static str, Option<i64>);

/// Takes connections until the thread ends.
pub async fn accept(office: Rc<Office>, listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("the runtime takes a socket");
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            // Out of file descriptors, most likely: those that close make room.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let setup = office.setup.load_full();
        let Some(exchange) = &setup.exchange else { continue };
        let Some(handshake) = office.crowd.handshake(from.ip()) else {
            office.counts.add(What::Refused, NOBODY, "connection", "too-many-handshakes");
            continue;
        };
        let tls = TlsAcceptor::from(exchange.server.clone());
        let office = office.clone();
        tokio::task::spawn_local(async move { serve(office, tls, stream, handshake).await });
    }
}

async fn serve(office: Rc<Office>, tls: TlsAcceptor, stream: TcpStream, handshake: (Place, Place)) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        outcome => {
            let fault = if outcome.is_err() { "handshake-too-slow" } else { "handshake-failed" };
            office.counts.add(What::Refused, NOBODY, "connection", fault);
            return;
        }
    };
    drop(handshake);
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
    let shown: Option<Arc<CertificateDer<'static>>> = shown.map(|shown| Arc::new(shown.into_owned()));
    let who = {
        let setup = office.setup.load();
        let known = setup.exchange.as_ref().zip(shown.as_deref());
        let known = known.and_then(|(exchange, shown)| Some((exchange, exchange.known(shown)?.0)));
        known.map_or(NOBODY.to_owned(), |(exchange, id)| exchange.member(id).name.clone())
    };
    let Some(_place) = office.crowd.connection(&who) else {
        office.counts.add(What::Refused, &who, "connection", "too-many-connections");
        return;
    };
    let service = service_fn(|request| {
        let (office, shown) = (office.clone(), shown.clone());
        async move { Ok::<_, Infallible>(office.letter(request, shown.as_deref()).await) }
    });
    let _ = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(LETTERS)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Reply = Response<Full<Bytes>>;

impl Office {
    async fn letter(
        self: Rc<Self>,
        request: Request<Incoming>,
        shown: Option<&CertificateDer<'static>>,
    ) -> Reply {
        let setup = self.setup.load_full();
        match self.clone().taken(&setup, request, shown).await {
            Ok(jws) => {
                let mut reply = Response::new(Full::new(Bytes::from(jws)));
                reply
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/jose"));
                reply
            }
            Err((member, refusal)) => {
                self.counts.add(What::Refused, &member, "letter", refusal.1);
                problem(&refusal)
            }
        }
    }

    /// The letter of answers, or who is refused and why.
    async fn taken(
        self: Rc<Self>,
        setup: &Arc<Setup>,
        request: Request<Incoming>,
        shown: Option<&CertificateDer<'static>>,
    ) -> Result<String, (String, Refusal)> {
        let nobody = |refusal| (NOBODY.to_owned(), refusal);
        let known = setup.exchange.as_ref().zip(shown).and_then(|(exchange, shown)| {
            let (id, credential) = exchange.known(shown)?;
            Some((exchange, id, credential))
        });
        let Some((exchange, id, credential)) = known else {
            let what = "the certificate is no member's: give it to this operator";
            let refusal = Refusal(StatusCode::UNAUTHORIZED, "unknown-certificate", what, None);
            return Err(nobody(refusal));
        };
        let member = exchange.member(id);
        let refuse = |status, name, what| (member.name.clone(), Refusal(status, name, what, None));
        if request.uri().path() != PATH {
            return Err(refuse(StatusCode::NOT_FOUND, "not-found", "ask /exchange/v1"));
        }
        if request.method() != Method::POST {
            return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "POST a letter"));
        }
        let headers = request.headers();
        if !headers.get(header::CONTENT_TYPE).is_some_and(is_jose)
            || headers.contains_key(header::CONTENT_ENCODING)
        {
            let what = "send Content-Type: application/jose and no Content-Encoding";
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", what));
        }
        let too_many = |wait_s| {
            let what = "more questions or letters at once than were agreed: ask less";
            let status = StatusCode::TOO_MANY_REQUESTS;
            (member.name.clone(), Refusal(status, "too-many-questions", what, Some(wait_s)))
        };
        let _place = self.admit_letter(&member.name, member.questions_per_s).map_err(too_many)?;
        let too_long =
            || refuse(StatusCode::PAYLOAD_TOO_LARGE, "body-too-long", "at most 256 KiB: ask in parts");
        if request.body().size_hint().lower() > BODY_BYTES as u64 {
            return Err(too_long());
        }
        let body = match timeout(PATIENCE, Limited::new(request.into_body(), BODY_BYTES).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_long()),
            _ => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "too-slow", "the body broke off")),
        };
        let letter = open(&body, &credential.verifier, &member.name, &exchange.name);
        let letter = letter.map_err(|refused| (member.name.clone(), of_refused(refused)))?;
        // Before its jti is taken: whoever asked too much may send the same letter later.
        self.admit_items(&member.name, letter.items.len() as u32 - 1).map_err(too_many)?;
        if !self.is_first(&member.name, &letter.jti) {
            return Err((member.name.clone(), of_refused(Refused::Replayed)));
        }
        // Side by side, for some wait: for a registration on its way, for an HLR.
        let answer = |question| tokio::task::spawn_local(self.clone().answer(setup.clone(), id, question));
        let answering: Vec<_> = letter.items.into_iter().map(answer).collect();
        let mut answers = Vec::with_capacity(answering.len());
        for answer in answering {
            let stumble = || refuse(StatusCode::INTERNAL_SERVER_ERROR, "stumble", "a bug: it is counted");
            answers.push(answer.await.map_err(|_| stumble())?);
        }
        let own = self.next_id();
        let mut reply = Letter::new(&exchange.name, &member.name, now_ms(), own, answers);
        reply.re = Some(letter.jti);
        let answer = exchange.signer.sign(&reply.to_json());
        let question = String::from_utf8_lossy(&body).into_owned();
        let pair = letters::pair(&member.name, false, &credential.thumbprint, question, answer.clone());
        self.keeper.keep(pair, &credential.der);
        Ok(answer)
    }

    /// Counts a letter and its first question; else says how many seconds to wait.
    fn admit_letter(&self, member: &str, per_s: u32) -> Result<Place, i64> {
        let mut guests = self.guests.borrow_mut();
        if !guests.contains_key(member) {
            guests.insert(member.to_owned(), Guest::new(per_s));
        }
        let guest = guests.get_mut(member).expect("put there");
        if guest.per_s != per_s {
            (guest.rate, guest.per_s) = (rate(per_s), per_s);
        }
        let place = Place::of(&guest.letters, LETTERS).ok_or(1)?;
        guest.admit(1).map(|()| place)
    }

    fn admit_items(&self, member: &str, more: u32) -> Result<(), i64> {
        let mut guests = self.guests.borrow_mut();
        guests.get_mut(member).map_or(Ok(()), |guest| guest.admit(more))
    }

    fn is_first(&self, member: &str, jti: &str) -> bool {
        self.guests.borrow_mut().get_mut(member).is_some_and(|guest| guest.seen.take(jti, now_ms()))
    }
}

impl Guest {
    fn new(per_s: u32) -> Guest {
        let (seen, letters) = (Seen::new(SEEN), Rc::default());
        Guest { seen, rate: rate(per_s), per_s, letters, registers: None }
    }
}

impl Guest {
    fn admit(&mut self, n: u32) -> Result<(), i64> {
        let now_ms = now_ms();
        match self.rate.admit(n, now_ms) {
            true => Ok(()),
            // One more: what was already counted of this letter is counted again when it comes again.
            false => Err((self.rate.wait_ms(n + 1, now_ms) + 999) / 1000),
        }
    }

    /// It registered a call; `pause`: so long without one, and it began anew.
    pub fn registered(&mut self, pause: Duration) {
        let since = self.registers_since(pause).unwrap_or_else(Instant::now);
        self.registers = Some((since, Instant::now()));
    }

    /// Since when its calls are all here; now, where it registers none any more.
    pub fn registers_since(&self, pause: Duration) -> Option<Instant> {
        let (since, last) = self.registers?;
        Some(if last.elapsed() < pause { since } else { Instant::now() })
    }
}

fn rate(per_s: u32) -> RateLimit {
    RateLimit::new(per_s, per_s.max(LEAST_BURST))
}

/// Whether a media type is that of letters; parameters say nothing here.
fn is_jose(kind: &header::HeaderValue) -> bool {
    let kind = kind.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/jose")
}

fn open(body: &[u8], by: &Verifier, from: &str, to: &str) -> Result<Letter<Question>, Refused> {
    let text = std::str::from_utf8(body).map_err(|_| Refused::NotAJws)?;
    open_letter(text, by, from, to, None, now_ms())
}

fn of_refused(refused: Refused) -> Refusal {
    let (status, what) = match refused {
        Refused::WrongSignature => (StatusCode::UNAUTHORIZED, "sign with the key of the TLS certificate"),
        Refused::WrongAlgorithm => (StatusCode::BAD_REQUEST, "alg has to be that of the certificate's key"),
        Refused::NotFromYou => (StatusCode::FORBIDDEN, "iss has to be the name of who shows the certificate"),
        Refused::NotForMe => (StatusCode::FORBIDDEN, "aud has to be this operator's name"),
        Refused::Replayed => (StatusCode::CONFLICT, "a jti is used once"),
        Refused::TooOld | Refused::TooNew => {
            (StatusCode::BAD_REQUEST, "iat_ms is too far from the clock here")
        }
        Refused::WrongVersion => (StatusCode::BAD_REQUEST, "version 1 is spoken here"),
        Refused::TooManyItems => (StatusCode::BAD_REQUEST, "at most 256 items: ask in parts"),
        Refused::NoItems => (StatusCode::BAD_REQUEST, "items has to hold a question"),
        Refused::NotAJws => (StatusCode::BAD_REQUEST, "the body has to be a compact JWS"),
        Refused::NotALetter | Refused::WrongReply => {
            (StatusCode::BAD_REQUEST, "the payload is no letter of questions")
        }
    };
    Refusal(status, refused.name(), what, None)
}

fn problem(refusal: &Refusal) -> Reply {
    let Refusal(status, name, what, wait_s) = refusal;
    let body = serde_json::json!({
        "type": format!("urn:qalqan:exchange:{name}"),
        "title": name,
        "status": status.as_u16(),
        "detail": what,
    });
    let mut reply = Response::new(Full::new(Bytes::from(body.to_string())));
    *reply.status_mut() = *status;
    let kind = header::HeaderValue::from_static("application/problem+json");
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    if let Some(wait_s) = wait_s {
        reply.headers_mut().insert(header::RETRY_AFTER, (*wait_s).into());
    }
    if *status == StatusCode::METHOD_NOT_ALLOWED {
        reply.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    }
    reply
}
