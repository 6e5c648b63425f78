//! A provider of the API played by hyper and by hand: what it says, and how its connections fare.

use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::time::Instant;

use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::roaming::camara_server;

const NOW_MS: i64 = 1_780_000_000_000;
const PATIENT: Duration = Duration::from_secs(5);

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

fn number(i: u32) -> Number {
    Number::from_digits(format!("7701{i:07}").as_bytes()).unwrap()
}

fn camara(url: &str) -> Camara {
    let token = Some("secret-token\n".to_owned());
    Camara::new(Settings { url: url.to_owned(), token, tls: None }).unwrap()
}

/// What the provider saw of a request.
struct Seen {
    target: String,
    header: Box<dyn Fn(&str) -> String>,
    body: Vec<u8>,
}

/// A provider that answers as `answer` says; gives its port and counts its connections.
async fn provide(answer: impl Fn(&Seen) -> (u16, Vec<u8>) + 'static) -> (u16, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Rc::new(Cell::new(0));
    let (counted, answer) = (connections.clone(), Rc::new(answer));
    spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.set(counted.get() + 1);
            spawn_local(serve(stream, answer.clone()));
        }
    });
    (port, connections)
}

async fn serve<S, F>(stream: S, answer: Rc<F>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    F: Fn(&Seen) -> (u16, Vec<u8>) + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            assert_eq!(head.method, hyper::Method::POST);
            let headers = head.headers;
            let header = move |name: &str| {
                headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
            };
            let body = body.collect().await.unwrap().to_bytes().to_vec();
            let seen = Seen { target: head.uri.to_string(), header: Box::new(header), body };
            // Lets others ask before this one is answered.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let (status, body) = answer(&seen);
            let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

#[test]
fn asks_as_the_api_wants_it() {
    run(async {
        let correlators = Rc::new(RefCell::new(Vec::new()));
        let noted = correlators.clone();
        let (port, connections) = provide(move |seen| {
            assert_eq!(seen.target, "/device-roaming-status/v1/retrieve");
            assert_eq!((seen.header)("content-type"), "application/json");
            assert_eq!((seen.header)("authorization"), "Bearer secret-token");
            assert!((seen.header)("host").starts_with("127.0.0.1:"));
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            assert_eq!(body, json!({"device": {"phoneNumber": "+77010000001"}}));
            noted.borrow_mut().push((seen.header)("x-correlator"));
            let answer = json!({"roaming": true, "countryCode": 262, "countryName": ["DE"],
                "lastStatusTime": "2026-05-28T20:26:39.999Z"});
            (200, answer.to_string().into_bytes())
        })
        .await;
        let camara = camara(&format!("http://127.0.0.1:{port}/device-roaming-status/v1/"));
        let expected = Whereabouts {
            visited: Some(*b"DE"),
            known_ms: Some(NOW_MS - 1),
            ..Whereabouts::new(Method::Camara, Status::Roaming)
        };
        for _ in 0..20 {
            assert_eq!(camara.ask(number(1), NOW_MS, PATIENT).await, expected);
        }
        assert_eq!(connections.get(), 1, "the connection is used again");
        let correlators = correlators.borrow();
        let mut each = correlators.clone();
        each.sort();
        each.dedup();
        assert_eq!(each.len(), 20);
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_:;./<>{}".contains(c);
        assert!(
            each.iter().all(|text| !text.is_empty() && text.len() <= 256 && text.chars().all(is_allowed))
        );
    });
}

/// Our own server's answers, through our client: the two have to mean the same.
#[test]
fn server_and_client_understand_each_other() {
    run(async {
        let of = |digits: &str| match digits.as_bytes().last() {
            Some(b'1') => Whereabouts {
                visited: Some(*b"TR"),
                known_ms: Some(NOW_MS - 1000),
                ..Whereabouts::new(Method::Hlr, Status::Roaming)
            },
            Some(b'2') => Whereabouts::new(Method::Hlr, Status::NotRoaming),
            Some(b'3') => Whereabouts::new(Method::Hlr, Status::NotAssigned),
            _ => Whereabouts::unknown(Method::Hlr, WhyUnknown::NotRegistered),
        };
        let (port, _) = provide(move |seen| match camara_server::parse(&seen.body, None) {
            Ok(asked) => camara_server::respond(&asked, &of(&asked.number.reveal().to_string()), NOW_MS),
            Err(error) => (error.status, error.to_json()),
        })
        .await;
        let camara = camara(&format!("http://127.0.0.1:{port}/v1"));
        let mut found = Vec::new();
        for i in 1..=4 {
            let one = camara.ask(number(i), NOW_MS, PATIENT).await;
            assert_eq!(one.method, Method::Camara);
            found.push((one.status, one.visited, one.known_ms, one.reason));
        }
        assert_eq!(found[0], (Status::Roaming, Some(*b"TR"), Some(NOW_MS - 1000), None));
        assert_eq!(found[1], (Status::NotRoaming, None, Some(NOW_MS), None));
        assert_eq!(found[2], (Status::NotAssigned, None, None, None));
        assert_eq!(found[3], (Status::Unknown, None, None, Some(WhyUnknown::SourceFailed)));
        assert_eq!(camara.last_fault().unwrap(), "the API said 503 UNAVAILABLE");
    });
}

#[test]
fn no_more_connections_than_are_allowed() {
    run(async {
        let (port, connections) = provide(|_| (200, b"{\"roaming\":false}".to_vec())).await;
        let camara = Rc::new(camara(&format!("http://127.0.0.1:{port}")));
        let asking: Vec<_> = (0..100)
            .map(|i| {
                let camara = camara.clone();
                spawn_local(async move { camara.ask(number(i), NOW_MS, PATIENT).await })
            })
            .collect();
        for task in asking {
            assert_eq!(task.await.unwrap(), Whereabouts::new(Method::Camara, Status::NotRoaming));
        }
        assert!(connections.get() <= MOST, "{} connections", connections.get());
    });
}

#[test]
fn over_tls_to_whom_the_authority_vouches_for() {
    run(async {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        spawn_local(async move {
            let acceptor = TlsAcceptor::from(Arc::new(server));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    spawn_local(serve(stream, Rc::new(|_: &Seen| (200, b"{\"roaming\":true}".to_vec()))));
                }
            }
        });
        let asking = |pem: &str| {
            let url = format!("https://localhost:{port}/v1");
            Camara::new(Settings { url, token: None, tls: Some(trusting(pem.as_bytes()).unwrap()) }).unwrap()
        };
        let camara = asking(&signed.cert.pem());
        for _ in 0..3 {
            assert_eq!(camara.ask(number(1), NOW_MS, PATIENT).await.status, Status::Roaming);
        }
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let camara = asking(&other.cert.pem());
        let found = camara.ask(number(1), NOW_MS, PATIENT).await;
        assert_eq!(found.reason, Some(WhyUnknown::SourceFailed));
        assert!(camara.last_fault().unwrap().contains("certificate"), "{:?}", camara.last_fault());
    });
}

#[test]
fn a_kept_connection_that_was_closed_costs_no_answer() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        spawn_local(async move {
            let mut is_patient = false;
            loop {
                // Promises to keep the connection, and closes it, now at once, now as the next question comes.
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 4096];
                let _ = stream.read(&mut bytes).await;
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"roaming\":false}";
                stream.write_all(answer.as_bytes()).await.unwrap();
                is_patient = !is_patient;
                if is_patient {
                    let _ = stream.read(&mut bytes).await;
                }
            }
        });
        let camara = camara(&format!("http://127.0.0.1:{port}"));
        for i in 0..20 {
            let found = camara.ask(number(i), NOW_MS, PATIENT).await;
            assert_eq!(found.status, Status::NotRoaming, "{:?}", camara.last_fault());
        }
    });
}

#[test]
fn who_does_not_answer_costs_the_deadline_and_a_stranger_no_panic() {
    for said in [
        &b""[..],
        b"\x00\xff\x00",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
    ] {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            spawn_local(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(said).await.unwrap();
                std::future::pending::<()>().await;
            });
            let camara = camara(&format!("http://127.0.0.1:{port}"));
            let began = Instant::now();
            let found = camara.ask(number(1), NOW_MS, Duration::from_millis(100)).await;
            assert_eq!(found.status, Status::Unknown);
            assert!(began.elapsed() < Duration::from_millis(250));
        });
    }
    run(async {
        let found = camara("http://127.0.0.1:1").ask(number(1), NOW_MS, PATIENT).await;
        assert_eq!(found.reason, Some(WhyUnknown::SourceFailed));
    });
}

#[test]
fn answers_mean_what_the_api_says() {
    let ok = |body: &str| read(200, body.as_bytes(), NOW_MS);
    let visited = |more: &str| ok(&format!("{{\"roaming\":true{more}}}")).unwrap().visited;
    assert_eq!(visited(r#","countryName":["TR"]"#), Some(*b"TR"));
    assert_eq!(visited(r#","countryCode":286"#), Some(*b"TR"));
    assert_eq!(visited(r#","countryCode":286,"countryName":[]"#), Some(*b"TR"));
    assert_eq!(visited(r#","countryCode":340,"countryName":["GF","GP"]"#), None);
    assert_eq!(visited(r#","countryCode":901,"countryName":[]"#), None);
    assert_eq!(visited(r#","countryName":["Turkey"]"#), None);
    assert_eq!(visited(r#","countryName":[7],"countryCode":-1"#), None);
    assert_eq!(ok(r#"{"roaming":false,"countryName":["TR"]}"#).unwrap().visited, None);
    let timed = |time: &str| ok(&format!("{{\"roaming\":false,\"lastStatusTime\":{time}}}"));
    assert_eq!(timed("\"2027-05-28T20:26:40Z\"").unwrap().known_ms, Some(NOW_MS), "no later than now");
    assert!(timed("\"yesterday\"").is_err());
    assert!(timed("1780000000").is_err());
    for body in ["", "null", "[]", "{}", r#"{"roaming":"true"}"#, r#"{"roaming":1}"#] {
        assert!(ok(body).is_err(), "{body}");
    }
    let not_found = read(404, br#"{"status":404,"code":"IDENTIFIER_NOT_FOUND","message":"-"}"#, NOW_MS);
    assert_eq!(not_found.unwrap().status, Status::NotAssigned);
    // A path that is not there says nothing of the subscriber.
    for (status, code) in [
        (404, "NOT_FOUND"),
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (422, "SERVICE_NOT_APPLICABLE"),
        (429, "TOO_MANY_REQUESTS"),
        (503, "UNAVAILABLE"),
        (301, ""),
    ] {
        let body = json!({"status": status, "code": code, "message": "-"}).to_string();
        assert!(read(status, body.as_bytes(), NOW_MS).unwrap_err().contains(code));
    }
    assert!(read(404, b"<html>", NOW_MS).is_err());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let new = |url: &str, token: Option<&str>| {
        Camara::new(Settings { url: url.to_owned(), token: token.map(str::to_owned), tls: None }).map(drop)
    };
    for url in [
        "",
        "api.example.com",
        "/v1",
        "ftp://a/",
        "https://a/",
        "http://",
        "http://u:p@a/",
        "http://a/?b=c",
        "http://a b/",
    ] {
        assert!(new(url, None).is_err(), "{url}");
    }
    for url in ["http://a", "http://a/", "http://[::1]:8080/v1", "http://127.0.0.1:1/x/y"] {
        assert_eq!(new(url, None), Ok(()), "{url}");
    }
    for pem in [&b""[..], b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(trusting(pem).is_err());
    }
    for token in ["", "\n", "a b", "a\r\nX: y", "é"] {
        assert!(new("http://a", Some(token)).is_err(), "{token:?}");
    }
    assert_eq!(new("http://a", Some(" eyJ.a-b_c~+/=\n")), Ok(()));
}
