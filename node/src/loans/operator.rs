//! A client of an operator's CAMARA API: an access token by client credentials (RFC 6749 section 4.4), then questions as
//! `POST` with JSON.
//!
//! One deadline holds for a question with all that belongs to it. A token is kept until shortly before its end; one that the
//! API refuses (401) is replaced once. No redirect is followed: it could lead a phone number to somebody else. After failures
//! in a row it is not asked for a while, so that nobody waits for an operator that is away.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use exchange::{Breaker, BreakerLimits};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Response, StatusCode, Url};
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::store::new_id;
use crate::store::now_ms;

/// Questions at a time; those beyond wait within their deadline.
const MOST: usize = 32;
/// No answer of these APIs is longer.
const MOST_BODY: usize = 64 * 1024;
/// A token is replaced so long before its end.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// Where `expires_in` is left out (RFC 6749 section 5.1).
const USUAL_TOKEN: u64 = 60;

/// Which API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Service {
    /// one-time-password-sms 1.1.
    OneTimePassword,
    /// sim-swap 2.1.
    SimSwap,
    /// call-forwarding-signal 0.4.
    CallForwarding,
}

impl Service {
    pub const ALL: [Service; 3] = [Service::OneTimePassword, Service::SimSwap, Service::CallForwarding];

    pub fn name(self) -> &'static str {
        match self {
            Service::OneTimePassword => "one-time-password-sms",
            Service::SimSwap => "sim-swap",
            Service::CallForwarding => "call-forwarding-signal",
        }
    }

    /// The scope that its operations need.
    fn scope(self) -> &'static str {
        match self {
            Service::OneTimePassword => "one-time-password-sms:send-validate",
            Service::SimSwap => "sim-swap",
            Service::CallForwarding => "call-forwarding-signal:unconditional-call-forwardings:read",
        }
    }
}

/// Whom we ask, and as whom.
pub struct Settings {
    /// The API's base, as `https://api.example.com/sim-swap/v2`.
    pub url: String,
    pub token_url: String,
    pub client_id: String,
    pub client_secret: String,
    /// Authorities to trust, in PEM; none: those of the system.
    pub ca: Option<Vec<u8>>,
    pub timeout: Duration,
    /// When it is not asked for a while.
    pub breaker: BreakerLimits,
}

/// The client.
pub struct Api {
    pub service: Service,
    pub timeout: Duration,
    http: reqwest::Client,
    url: String,
    token_url: Url,
    credentials: HeaderValue,
    token: Mutex<Option<(HeaderValue, Instant)>>,
    places: Semaphore,
    breaker: std::sync::Mutex<Breaker>,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The API said an error: status, `code` of its ErrorInfo, seconds of Retry-After.
    Said { status: u16, code: String, retry_s: Option<u64> },
    /// Nothing came that the API can say; whether the question was acted on is known where it was never sent.
    Away { what: String, was_sent: bool },
    /// It was not asked, for it has failed too often, and will not be for so many ms.
    Resting { for_ms: i64 },
}

impl Fault {
    fn unsent(what: impl Into<String>) -> Fault {
        Fault::Away { what: what.into(), was_sent: false }
    }

    fn broken(what: impl Into<String>) -> Fault {
        Fault::Away { what: what.into(), was_sent: true }
    }

    /// The error `code`, if the API said one.
    pub fn code(&self) -> &str {
        if let Fault::Said { code, .. } = self { code } else { "" }
    }

    /// In words for the log; holds no personal data.
    pub fn what(&self) -> String {
        match self {
            Fault::Said { status, code, .. } => format!("it said {status} {}", code.escape_debug()),
            Fault::Away { what, .. } => what.clone(),
            Fault::Resting { for_ms } => format!("it is not asked for {for_ms} ms, after failures"),
        }
    }

    /// Whether nothing is to be hoped for from another question now.
    fn is_failure(&self) -> bool {
        matches!(self, Fault::Away { .. } | Fault::Said { status: 500.., .. })
    }
}

impl Api {
    /// The error is a line for whoever wrote the settings.
    pub fn new(service: Service, settings: Settings) -> Result<Api, String> {
        let sound = |url: &str| -> Result<Url, String> {
            let found = Url::parse(url).map_err(|_| format!("{url}: not a URL"))?;
            let is_here = matches!(found.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            if found.scheme() != "https" && !(found.scheme() == "http" && is_here) {
                return Err(format!(
                    "{url}: https://, or http:// on this machine: secrets and numbers go there"
                ));
            }
            if !found.username().is_empty() || found.query().is_some() || found.fragment().is_some() {
                return Err(format!("{url}: neither names of users nor a query have a place in it"));
            }
            Ok(found)
        };
        sound(&settings.url)?;
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.timeout)
            .user_agent("qalqan");
        if let Some(pem) = &settings.ca {
            let found = Certificate::from_pem_bundle(pem).unwrap_or_default();
            if found.is_empty() {
                return Err("ca: no certificate in PEM form".to_owned());
            }
            http = http.tls_certs_only(found);
        }
        // RFC 6749 section 2.3.1: both are form-encoded first.
        let form = |text: &str| url_encoded(text);
        let basic =
            STANDARD.encode(format!("{}:{}", form(&settings.client_id), form(&settings.client_secret)));
        let mut credentials = HeaderValue::from_str(&format!("Basic {basic}")).expect("base64");
        credentials.set_sensitive(true);
        Ok(Api {
            service,
            timeout: settings.timeout,
            http: http.build().map_err(|error| error.to_string())?,
            url: settings.url.trim_end_matches('/').to_owned(),
            token_url: sound(&settings.token_url)?,
            credentials,
            token: Mutex::new(None),
            places: Semaphore::new(MOST),
            breaker: std::sync::Mutex::new(Breaker::new(settings.breaker)),
        })
    }

    /// Asks one operation. An answer without a body is null.
    pub async fn ask(&self, operation: &str, body: &Value) -> Result<Value, Fault> {
        let breaker = || self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if !breaker().may_ask(now_ms()) {
            return Err(Fault::Resting { for_ms: breaker().rests_ms(now_ms()) });
        }
        let asked = timeout(self.timeout, self.asked(operation, body)).await;
        let asked = asked.unwrap_or_else(|_| Err(Fault::broken("no answer in time")));
        match asked.as_ref().is_err_and(Fault::is_failure) {
            true => breaker().failed(now_ms()),
            false => breaker().answered(now_ms()),
        }
        asked
    }

    async fn asked(&self, operation: &str, body: &Value) -> Result<Value, Fault> {
        let _place = self.places.acquire().await.expect("never closed");
        let token = self.token(None).await?;
        let response = self.post(operation, body, &token).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return read(response).await;
        }
        let token = self.token(Some(&token)).await?;
        read(self.post(operation, body, &token).await?).await
    }

    async fn post(&self, operation: &str, body: &Value, token: &HeaderValue) -> Result<Response, Fault> {
        let request = self.http.post(format!("{}/{operation}", self.url));
        let request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json");
        let request = request.header(AUTHORIZATION, token).header("x-correlator", new_id());
        request.body(body.to_string()).send().await.map_err(|error| failed(&error))
    }

    /// A token that counts; not the one that was refused.
    async fn token(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, Fault> {
        // Held while one is fetched: who comes meanwhile takes the same.
        let mut kept = self.token.lock().await;
        if let Some((token, until)) = &*kept
            && refused != Some(token)
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let unsent = |what: &str| Fault::unsent(format!("its token URL: {what}"));
        let scope = url_encoded(self.service.scope());
        let request = self.http.post(self.token_url.clone());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.header(ACCEPT, "application/json").header(AUTHORIZATION, &self.credentials);
        let request = request.body(format!("grant_type=client_credentials&scope={scope}"));
        let mut response = request.send().await.map_err(|error| {
            unsent(if error.is_timeout() { "no answer in time" } else { "cannot be reached" })
        })?;
        if response.status() != StatusCode::OK {
            return Err(unsent(&format!("it said {}", response.status().as_u16())));
        }
        let body = whole(&mut response).await.map_err(|what| unsent(&what))?;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_bearer = said["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        let token = said["access_token"].as_str().filter(|token| is_bearer && !token.is_empty());
        let token = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut token = token.ok_or_else(|| unsent("an answer without a bearer token"))?;
        token.set_sensitive(true);
        let counts = Duration::from_secs(said["expires_in"].as_u64().unwrap_or(USUAL_TOKEN).min(86_400));
        *kept = Some((token.clone(), Instant::now() + counts.saturating_sub(TOKEN_MARGIN)));
        Ok(token)
    }
}

/// How a question went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Answered,
    /// The API answered that it does not do this for this phone or code.
    Refused,
    /// No answer that helps: it is away, busy, or set up otherwise than this node.
    Away,
    /// Not asked, for it was away.
    Resting,
}

impl How {
    pub const ALL: [How; 4] = [How::Answered, How::Refused, How::Away, How::Resting];

    pub fn of(service: Service, fault: Option<&Fault>) -> How {
        match fault {
            None => How::Answered,
            Some(Fault::Said { code, .. }) if code.starts_with("ONE_TIME_PASSWORD_SMS.") => How::Refused,
            Some(Fault::Said { status: 404, code, .. }) if code == "IDENTIFIER_NOT_FOUND" => How::Refused,
            // A number of another operator, or a code that it does not know; elsewhere a path that is not there.
            Some(Fault::Said { status: 404, code, .. })
                if code == "NOT_FOUND" && service == Service::OneTimePassword =>
            {
                How::Refused
            }
            Some(Fault::Said { status: 422, code, .. }) if code == "SERVICE_NOT_APPLICABLE" => How::Refused,
            Some(Fault::Resting { .. }) => How::Resting,
            Some(_) => How::Away,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            How::Answered => "answered",
            How::Refused => "refused",
            How::Away => "away",
            How::Resting => "resting",
        }
    }
}

/// Questions by service and how they went.
#[derive(Default)]
pub struct Operators {
    counts: [[AtomicU64; How::ALL.len()]; Service::ALL.len()],
    is_away: [AtomicBool; Service::ALL.len()],
}

impl Operators {
    /// Whether this is the first of a service's failures since it last answered.
    pub fn count(&self, service: Service, how: How) -> bool {
        self.counts[service as usize][how as usize].fetch_add(1, Ordering::Relaxed);
        let is_away = matches!(how, How::Away | How::Resting);
        !self.is_away[service as usize].swap(is_away, Ordering::Relaxed) && is_away
    }

    pub fn get(&self, service: Service, how: How) -> u64 {
        self.counts[service as usize][how as usize].load(Ordering::Relaxed)
    }
}

/// What an answer says.
async fn read(mut response: Response) -> Result<Value, Fault> {
    let status = response.status().as_u16();
    if status == 204 {
        return Ok(Value::Null);
    }
    if !(status == 200 || status >= 400) {
        return Err(Fault::broken(format!("it said {status}, which is no answer of this API")));
    }
    let after =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = whole(&mut response).await;
    if status >= 400 {
        let said: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        let code = said["code"].as_str().filter(|code| code.len() <= 64).unwrap_or("").to_owned();
        return Err(Fault::Said { status, code, retry_s: after });
    }
    serde_json::from_slice(&body.map_err(Fault::broken)?)
        .map_err(|_| Fault::broken("an answer that is no JSON"))
}

async fn whole(response: &mut Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|_| "an answer that broke off")? {
        if body.len() + piece.len() > MOST_BODY {
            return Err("an answer that is too long".to_owned());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Not the error itself: it holds the URL.
fn failed(error: &reqwest::Error) -> Fault {
    match error.is_connect() {
        true => Fault::unsent("cannot be reached"),
        false if error.is_timeout() => Fault::broken("no answer in time"),
        false => Fault::broken("the connection broke off"),
    }
}

/// application/x-www-form-urlencoded.
fn url_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
