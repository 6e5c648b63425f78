//! A client of CAMARA Device Roaming Status 1.1: `POST {url}/retrieve`, HTTP/1.1, plain or over TLS.
//!
//! Connections are kept and used again, [`MOST`] of them at a time; a question beyond waits for one within its deadline.
//! A kept connection that the server closed meanwhile costs a second try, on a fresh one.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use exchange::{Method, Status, WhyUnknown};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use numbering::Number;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Whereabouts, country, mcc};

/// Connections at a time.
const MOST: usize = 8;
/// No answer of the API is longer.
const MOST_BODY: usize = 64 * 1024;

/// Whom we ask.
#[derive(Clone)]
pub struct Settings {
    /// The API's base, as `https://api.example.com/device-roaming-status/v1`.
    pub url: String,
    /// What the file of the bearer token holds; white space around it is no part of it.
    pub token: Option<String>,
    /// Whom to trust over https.
    pub tls: Option<Arc<ClientConfig>>,
}

/// A client. Ask within a `LocalSet`: connections are tasks on it.
pub struct Camara {
    target: Uri,
    host: HeaderValue,
    address: (String, u16),
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: RefCell<Option<HeaderValue>>,
    kept: RefCell<Vec<Connection>>,
    places: Semaphore,
    correlators: (u64, Cell<u64>),
    fault: RefCell<Option<String>>,
}

type Connection = SendRequest<Full<Bytes>>;

impl Camara {
    /// The error is a line for whoever wrote the settings.
    pub fn new(settings: Settings) -> Result<Camara, String> {
        let Settings { url, token, tls } = settings;
        let wrong = |why: &str| format!("{url}: {why}");
        let target: Uri =
            format!("{}/retrieve", url.trim_end_matches('/')).parse().map_err(|_| wrong("not a URL"))?;
        let (Some(scheme), Some(authority)) = (target.scheme_str(), target.authority()) else {
            return Err(wrong("not the URL of an API: http:// or https:// and a host"));
        };
        if authority.as_str().contains('@') || target.query().is_some() {
            return Err(wrong("neither names of users nor a query have a place in it"));
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let (tls, usual_port) = match (scheme, tls) {
            ("http", _) => (None, 80),
            ("https", Some(config)) => {
                let server =
                    ServerName::try_from(name.to_owned()).map_err(|_| wrong("no name that TLS can check"))?;
                (Some((TlsConnector::from(config), server)), 443)
            }
            ("https", None) => return Err(wrong("https needs an authority to trust")),
            _ => return Err(wrong("neither http nor https")),
        };
        let camara = Camara {
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("not a host"))?,
            address: (name.to_owned(), authority.port_u16().unwrap_or(usual_port)),
            target: target.path().parse().map_err(|_| wrong("not a path"))?,
            tls,
            token: RefCell::new(None),
            kept: RefCell::default(),
            places: Semaphore::new(MOST),
            correlators: (RandomState::new().hash_one(0), Cell::new(0)),
            fault: RefCell::default(),
        };
        camara.set_token(token.as_deref())?;
        Ok(camara)
    }

    /// Takes another token, as these are short-lived.
    pub fn set_token(&self, token: Option<&str>) -> Result<(), String> {
        let header = |token: &str| {
            let is_token = |byte: u8| byte.is_ascii_graphic();
            let token = Some(token.trim()).filter(|token| !token.is_empty() && token.bytes().all(is_token));
            let token = token.ok_or("the bearer token is empty or holds what no token can")?;
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "not a token")?;
            value.set_sensitive(true);
            Ok::<_, &str>(value)
        };
        *self.token.borrow_mut() = token.map(header).transpose()?;
        Ok(())
    }

    /// Where the subscriber is, as the API's provider says.
    pub async fn ask(&self, number: Number, now_ms: i64, deadline: Duration) -> Whereabouts {
        let found = match timeout(deadline, self.put(number)).await {
            Err(_) => return Whereabouts::unknown(Method::Camara, WhyUnknown::Timeout),
            Ok(answered) => answered.and_then(|(status, body)| read(status, &body, now_ms)),
        };
        found.unwrap_or_else(|fault| {
            *self.fault.borrow_mut() = Some(fault);
            Whereabouts::unknown(Method::Camara, WhyUnknown::SourceFailed)
        })
    }

    pub fn last_fault(&self) -> Option<String> {
        self.fault.borrow().clone()
    }

    async fn put(&self, number: Number) -> Result<(u16, Bytes), String> {
        let _place = self.places.acquire().await.expect("never closed");
        let body = json!({"device": {"phoneNumber": number.reveal().to_string()}}).to_string();
        let request = self.request(body.into());
        while let Some(mut connection) = self.take_kept() {
            // It may have been closed since; then the server saw no question, or will see it twice, which costs nothing.
            if connection.ready().await.is_ok()
                && let Ok(response) = connection.send_request(request.clone()).await
            {
                return self.finish(response, connection).await;
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await.map_err(|error| self.failed(&error))?;
        self.finish(response, connection).await
    }

    async fn finish(
        &self,
        response: Response<Incoming>,
        connection: Connection,
    ) -> Result<(u16, Bytes), String> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MOST_BODY).collect().await;
        let body = body.map_err(|error| format!("{}: {error}", self.address.0))?.to_bytes();
        if !connection.is_closed() {
            self.kept.borrow_mut().push(connection);
        }
        Ok((status, body))
    }

    fn take_kept(&self) -> Option<Connection> {
        self.kept.borrow_mut().pop()
    }

    async fn connect(&self) -> Result<Connection, String> {
        let (host, port) = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| self.failed(&error))?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.begin(stream).await,
            Some((tls, server)) => {
                let stream =
                    tls.connect(server.clone(), stream).await.map_err(|error| self.failed(&error))?;
                self.begin(stream).await
            }
        }
    }

    async fn begin<S>(&self, stream: S) -> Result<Connection, String>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let (connection, driver) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.failed(&error))?;
        tokio::task::spawn_local(async move {
            // Its end is seen by whoever asks next.
            let _ = driver.await;
        });
        Ok(connection)
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let (process, count) = &self.correlators;
        count.set(count.get() + 1);
        let mut request = Request::post(self.target.clone())
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .header("x-correlator", format!("{process:016x}-{:x}", count.get()));
        if let Some(token) = &*self.token.borrow() {
            request = request.header(AUTHORIZATION, token);
        }
        request.body(Full::new(body)).expect("checked as the settings were read")
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> String {
        let (host, port) = &self.address;
        format!("{host}:{port}: {error}")
    }
}

/// TLS as a client (RFC 8446, RFC 5246) that trusts the authorities of a PEM file, and no others.
pub fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "no certificate in PEM form")?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("no certificate in PEM form".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder =
        builder.with_safe_default_protocol_versions().expect("the provider knows the usual versions");
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// What an answer of the API says; the error is why it says nothing.
fn read(status: u16, body: &[u8], now_ms: i64) -> Result<Whereabouts, String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status != 200 {
        let code = answer["code"].as_str().filter(|code| code.len() <= 64).unwrap_or("no code");
        return match (status, code) {
            (404, "IDENTIFIER_NOT_FOUND") => Ok(Whereabouts::new(Method::Camara, Status::NotAssigned)),
            _ => Err(format!("the API said {status} {}", code.escape_debug())),
        };
    }
    let is_roaming = answer["roaming"].as_bool().ok_or("an answer without roaming: true or false")?;
    // 1.0 could leave the time out.
    let known = match &answer["lastStatusTime"] {
        Value::Null => None,
        time => Some(time.as_str().and_then(|time| time.parse::<Timestamp>().ok()).ok_or("no time")?),
    };
    let known_ms = known.map(|known| known.as_millisecond().min(now_ms));
    let status = if is_roaming { Status::Roaming } else { Status::NotRoaming };
    let visited = if is_roaming { visited(&answer) } else { None };
    Ok(Whereabouts { visited, known_ms, ..Whereabouts::new(Method::Camara, status) })
}

/// The one country that the answer names, or its code is of.
fn visited(answer: &Value) -> Option<[u8; 2]> {
    match answer["countryName"].as_array().map(Vec::as_slice) {
        Some([one]) => country(one.as_str()?),
        Some([_, ..]) => None,
        Some([]) | None => mcc::country_of(answer["countryCode"].as_u64()?.try_into().ok()?),
    }
}

#[cfg(test)]
mod tests;
