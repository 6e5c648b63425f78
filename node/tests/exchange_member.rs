//! A member of the exchange by hand: its connections, its letters and its answers are what a test says, sound or not.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use exchange::Signer;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What somebody shows: a certificate as PEM, and its key.
pub type Shown<'a> = (&'a str, &'a KeyPair);

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Never the same.
pub fn id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", now_ms(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn letter(from: &str, to: &str, items: Value) -> Value {
    json!({"version": 1, "iss": from, "aud": to, "iat_ms": now_ms(), "jti": id(), "items": items})
}

pub fn sign(key: &KeyPair, letter: &Value) -> String {
    Signer::from_pkcs8(key.serialized_der()).unwrap().sign(letter.to_string().as_bytes())
}

/// The payload of a letter, whoever signed it.
#[track_caller]
pub fn payload(jws: &[u8]) -> Value {
    let part = jws.split(|&byte| byte == b'.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// A body of so many bytes whose end may never come; its length is not said.
pub struct Piece {
    bytes: Option<Bytes>,
    ends: bool,
}

impl Piece {
    pub fn whole(bytes: impl Into<Bytes>) -> Piece {
        Piece { bytes: Some(bytes.into()), ends: true }
    }

    pub fn endless(bytes: impl Into<Bytes>) -> Piece {
        Piece { bytes: Some(bytes.into()), ends: false }
    }
}

impl Body for Piece {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)?.to_str().ok()
    }

    /// The problem's name, once the answer is checked to be one as docs/exchange.md says.
    #[track_caller]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(json["status"], self.status, "{self:?}");
        assert!(!json["title"].as_str().unwrap().is_empty());
        json["type"].as_str().unwrap().strip_prefix("urn:qalqan:exchange:").unwrap().to_owned()
    }

    /// The answers of a letter that was taken.
    #[track_caller]
    pub fn items(&self) -> Vec<Value> {
        assert_eq!((self.status, self.header("content-type")), (200, Some("application/jose")), "{self:?}");
        payload(&self.body)["items"].as_array().unwrap().clone()
    }
}

/// Connections of one who shows a certificate, or none.
pub struct Peer {
    runtime: Runtime,
    config: Arc<ClientConfig>,
    to: SocketAddr,
    open: Option<SendRequest<Piece>>,
}

impl Peer {
    pub fn new(shown: Option<Shown>, to: u16) -> Peer {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(anybody::Anybody));
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Peer { runtime, config: Arc::new(config), to: ([127, 0, 0, 1], to).into(), open: None }
    }

    /// A connection whose TLS stands, as far as this side can know.
    pub fn tls(&self) -> Option<TlsStream<TcpStream>> {
        self.runtime.block_on(tls(self.config.clone(), self.to))
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Sends a request; none where no answer comes.
    pub fn send(&mut self, request: Request<Piece>) -> Option<Answer> {
        let (config, to) = (self.config.clone(), self.to);
        let open = self.open.take().filter(|open| !open.is_closed());
        let (open, answer) = self.runtime.block_on(async {
            let mut open = match open {
                Some(open) => open,
                None => {
                    let stream = TokioIo::new(tls(config, to).await?);
                    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.ok()?;
                    tokio::spawn(connection);
                    sender
                }
            };
            open.ready().await.ok()?;
            let answer = open.send_request(request).await.ok()?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some((open, Answer { status: head.status.as_u16(), head: head.headers, body }))
        })?;
        self.open = Some(open);
        Some(answer)
    }

    /// Posts a letter as it should be posted.
    #[track_caller]
    pub fn post(&mut self, jws: impl Into<Bytes>) -> Answer {
        self.send(request("POST", "/exchange/v1", Some("application/jose"), Piece::whole(jws)))
            .expect("an answer")
    }
}

pub fn request(method: &str, path: &str, kind: Option<&str>, body: Piece) -> Request<Piece> {
    let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    request.body(body).unwrap()
}

async fn tls(config: Arc<ClientConfig>, to: SocketAddr) -> Option<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await.ok()
}

/// What a forged member says to a letter of questions: a status and a body.
pub type Forgery = Box<dyn Fn(&Value) -> (u16, Vec<u8>) + Send + Sync>;

/// A member's end that answers as `forge` says, until the test ends.
pub fn forged(shown: Shown, asker: &str, port: u16, forge: Forgery) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(asker.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(shown.0.as_bytes()).unwrap()],
            PrivateKeyDer::try_from(shown.1.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (tls, forge) = (TlsAcceptor::from(Arc::new(config)), Arc::new(forge));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, forge) = (tls.clone(), forge.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(|request: Request<Incoming>| {
                        let forge = forge.clone();
                        async move {
                            let body = request.into_body().collect().await?.to_bytes();
                            let (status, body) = forge(&payload(&body));
                            let answer = Response::builder()
                                .status(status)
                                .header("content-type", "application/jose")
                                .body(Full::new(Bytes::from(body)))
                                .unwrap();
                            Ok::<_, hyper::Error>(answer)
                        }
                    });
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
}

/// Resident memory of a process that is its own, MB.
pub fn own_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<f64>().unwrap() / 1024.0
}

mod anybody {
    use tokio_rustls::rustls::client::danger::{
        HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
    };
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use tokio_rustls::rustls::{DigitallySignedStruct, Error, SignatureScheme};

    /// Takes any server: what is tested is the server.
    #[derive(Debug)]
    pub struct Anybody;

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}
