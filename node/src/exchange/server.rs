//! What other operators reach: HTTP/2 with mutual TLS, one path, letters in and letters out.

use std::convert::Infallible;
use std::future::Future;
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
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::counts::What;
use super::pending::Office;
use crate::config::Setup;
use crate::letters;
use crate::store::now_ms;

/// The one path.
pub const PATH: &str = "/exchange/v1";
/// A letter is no longer.
pub const BODY_BYTES: usize = 256 * 1024;
/// For a handshake, and for a body.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once, of all members together.
const CONNECTIONS: usize = 1024;
/// Letters of one member that are answered at once.
const LETTERS: u32 = 64;
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
}

/// Why a letter is not answered: a status, the last part of the problem's type, what to do.
struct Refusal(StatusCode, &'static str, &'static str);

/// Takes connections until the thread ends.
pub async fn accept(office: Rc<Office>, listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("the runtime takes a socket");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: those that close make room.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let setup = office.setup.load_full();
        let Some(exchange) = &setup.exchange else { continue };
        if Rc::strong_count(&office) > CONNECTIONS {
            office.counts.add(What::Refused, "nobody", "connection", "too-many-connections");
            continue;
        }
        let tls = TlsAcceptor::from(exchange.server.clone());
        let office = office.clone();
        tokio::task::spawn_local(async move { serve(office, tls, stream).await });
    }
}

async fn serve(office: Rc<Office>, tls: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        outcome => {
            office.counts.add(
                What::Refused,
                "nobody",
                "connection",
                handshake_fault(outcome.err().is_some()),
            );
            return;
        }
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
    let shown: Option<Arc<CertificateDer<'static>>> = shown.map(|shown| Arc::new(shown.into_owned()));
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

fn handshake_fault(is_late: bool) -> &'static str {
    if is_late { "handshake-too-slow" } else { "handshake-failed" }
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
        let nobody = |refusal| ("nobody".to_owned(), refusal);
        let known = setup.exchange.as_ref().zip(shown).and_then(|(exchange, shown)| {
            let (id, credential) = exchange.known(shown)?;
            Some((exchange, id, credential))
        });
        let Some((exchange, id, credential)) = known else {
            let what = "the certificate is no member's: give it to this operator";
            return Err(nobody(Refusal(StatusCode::UNAUTHORIZED, "unknown-certificate", what)));
        };
        let member = exchange.member(id);
        let refuse = |status, name, what| (member.name.clone(), Refusal(status, name, what));
        if request.uri().path() != PATH {
            return Err(refuse(StatusCode::NOT_FOUND, "not-found", "ask /exchange/v1"));
        }
        if request.method() != Method::POST {
            return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "POST a letter"));
        }
        let is_jose = |kind: &header::HeaderValue| kind.as_bytes().starts_with(b"application/jose");
        if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_jose) {
            let what = "send Content-Type: application/jose";
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", what));
        }
        let too_many = || {
            refuse(StatusCode::TOO_MANY_REQUESTS, "too-many-questions", "more than questions-per-s: ask less")
        };
        if !self.admit(&member.name, member.questions_per_s, 1) {
            return Err(too_many());
        }
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
        if !self.is_first(&member.name, &letter.jti) {
            return Err((member.name.clone(), of_refused(Refused::Replayed)));
        }
        if letter.items.len() > 1
            && !self.admit(&member.name, member.questions_per_s, letter.items.len() as u32 - 1)
        {
            return Err(too_many());
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

    fn admit(&self, member: &str, per_s: u32, n: u32) -> bool {
        let mut guests = self.guests.borrow_mut();
        let guest = guests.entry(member.to_owned()).or_insert_with(|| Guest::new(per_s));
        if guest.per_s != per_s {
            (guest.rate, guest.per_s) = (RateLimit::new(per_s, per_s), per_s);
        }
        guest.rate.admit(n, now_ms())
    }

    fn is_first(&self, member: &str, jti: &str) -> bool {
        self.guests.borrow_mut().get_mut(member).is_some_and(|guest| guest.seen.take(jti, now_ms()))
    }
}

impl Guest {
    fn new(per_s: u32) -> Guest {
        Guest { seen: Seen::new(SEEN), rate: RateLimit::new(per_s, per_s), per_s }
    }
}

fn open(body: &[u8], by: &Verifier, from: &str, to: &str) -> Result<Letter<Question>, Refused> {
    let text = std::str::from_utf8(body).map_err(|_| Refused::NotAJws)?;
    open_letter(text.trim_end(), by, from, to, None, now_ms())
}

fn of_refused(refused: Refused) -> Refusal {
    let (status, what) = match refused {
        Refused::WrongSignature => (StatusCode::UNAUTHORIZED, "sign with the key of the TLS certificate"),
        Refused::WrongAlgorithm => (StatusCode::UNAUTHORIZED, "alg has to be that of the certificate's key"),
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
    Refusal(status, refused.name(), what)
}

fn problem(refusal: &Refusal) -> Reply {
    let Refusal(status, name, what) = refusal;
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
    reply
}
