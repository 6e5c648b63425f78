//! What small operators and those who look after subscribers ask by HTTP: the small operator's pair, location updates, and
//! the CAMARA API that says whether a subscriber roams.

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::problem::{Kind, Problem};
use super::{Answer, Desk, aos, is_json, plain};
use crate::roaming::camara_server::{CamaraError, parse, respond};
use crate::roaming::feed::parse_updates;
use crate::store::now_ms;

pub(super) const CORRELATOR: HeaderName = HeaderName::from_static("x-correlator");

fn no_exchange() -> Problem {
    Problem::new(Kind::NotConfigured, "this node is in no exchange: configure [exchange]")
}

/// An answer of a CAMARA API, its `x-correlator` sent back where it is one.
pub(super) fn correlated(status: u16, body: Vec<u8>, correlator: Option<HeaderValue>) -> Answer {
    let mut answer = plain("application/json", body);
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    if let Some(correlator) = correlator.filter(|value| !value.is_empty() && is_correlator(value)) {
        answer.headers_mut().insert(CORRELATOR, correlator);
    }
    answer
}

/// `^[a-zA-Z0-9-_:;.\/<>{}]{0,256}$`
pub(super) fn is_correlator(value: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:;/<>{}".contains(byte);
    value.len() <= 256 && value.as_bytes().iter().all(is_plain)
}

impl Desk {
    /// A call of a small operator, noted or asked about.
    pub(super) async fn aos(
        &self,
        request: Request<Incoming>,
        has_certificate: bool,
        saves: bool,
    ) -> Result<Answer, Problem> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        self.asker(&setup.http, &head.headers, has_certificate)?;
        let exchange = setup.exchange.as_ref().zip(self.line.as_ref());
        let (exchange, line) = exchange.ok_or_else(no_exchange)?;
        let body = self.body(&setup, true, body).await?;
        is_json(&head.headers)?;
        let call = aos::read(&body, now_ms())?;
        let result = match saves {
            true => aos::save(&setup, exchange, line, &call),
            false => aos::check(&setup, line, &call).await,
        };
        let answer = aos::AosAnswer::new(result, head.uri.query());
        Ok(plain("application/json", serde_json::to_vec(&answer).expect("plain values")))
    }

    /// Where own subscribers went.
    pub(super) async fn locations(
        &self,
        request: Request<Incoming>,
        has_certificate: bool,
    ) -> Result<Answer, Problem> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        self.asker(&setup.http, &head.headers, has_certificate)?;
        let is_fed = setup.roaming.as_ref().is_some_and(|roaming| roaming.feed.is_some());
        let Some(line) = self.line.as_ref().filter(|_| is_fed) else {
            return Err(Problem::new(Kind::NotConfigured, "no feed is taken: set feed-numbers in [roaming]"));
        };
        let body = self.body(&setup, true, body).await?;
        let updates = parse_updates(&body).map_err(|what| Problem::new(Kind::InvalidCall, what))?;
        let came = updates.len();
        let kept = line.locate(updates).await;
        let kept = kept.ok_or_else(|| Problem::new(Kind::Stopping, "too much waits: send it again"))?;
        let answer = serde_json::json!({"updates": came, "kept": kept});
        Ok(plain("application/json", answer.to_string()))
    }

    /// CAMARA Device Roaming Status: whether an own subscriber roams. Errors are of that API's form.
    pub(super) async fn roaming_status(&self, request: Request<Incoming>, has_certificate: bool) -> Answer {
        let correlator = request.headers().get(CORRELATOR).cloned();
        let (status, body) = match self.roamer(request, has_certificate).await {
            Ok(found) => found,
            Err(error) => (error.status, error.to_json()),
        };
        correlated(status, body, correlator)
    }

    async fn roamer(
        &self,
        request: Request<Incoming>,
        has_certificate: bool,
    ) -> Result<(u16, Vec<u8>), CamaraError> {
        let error = |status, code, message: &str| CamaraError { status, code, message: message.to_owned() };
        let setup = self.setup();
        let (head, body) = request.into_parts();
        if self.asker(&setup.http, &head.headers, has_certificate).is_err() {
            return Err(error(401, "UNAUTHENTICATED", "A valid key is needed: Authorization: Bearer."));
        }
        let body = self.body(&setup, true, body).await;
        let body = body.map_err(|_| error(400, "INVALID_ARGUMENT", "The body is too long or broke off."))?;
        let asked = parse(&body, None)?;
        let unavailable = || error(503, "UNAVAILABLE", "Nobody can be asked at this moment.");
        let (exchange, line) = setup.exchange.as_ref().zip(self.line.as_ref()).ok_or_else(unavailable)?;
        let holder = exchange.holder(&setup.policy, asked.number, now_ms());
        if holder != Some(exchange::Holder::Us) {
            return Err(error(404, "IDENTIFIER_NOT_FOUND", "The number is of no subscriber here."));
        }
        let until = Instant::now() + exchange.deadline;
        let found = line.whereabouts(&setup, asked.number, until).await.ok_or_else(unavailable)?;
        Ok(respond(&asked, &found, now_ms()))
    }
}
