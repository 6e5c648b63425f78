//! Opens applications over connections that stay open, each with one request under way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What is loaded.
pub struct Load {
    pub address: SocketAddr,
    pub token: String,
    pub connections: usize,
}

/// What came of it.
pub struct Outcome {
    pub opened: usize,
    /// In order, ms.
    pub waited_ms: Vec<f64>,
}

const WARM_UP: Duration = Duration::from_millis(1000);

/// Loads for so long; `mark` is called with true when measuring begins and false when it ends.
pub fn run(load: &Load, measured: Duration, mut mark: impl FnMut(bool)) -> io::Result<Outcome> {
    let (counts, stops) = (AtomicBool::new(false), AtomicBool::new(false));
    let next = AtomicU32::new(0);
    let waited: io::Result<Vec<Vec<f64>>> = std::thread::scope(|scope| {
        let loading = (0..load.connections).map(|_| {
            scope.spawn(|| -> io::Result<Vec<f64>> {
                let mut connection = Connection::new(load.address)?;
                let mut waited = Vec::new();
                while !stops.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let sent = Instant::now();
                    let (status, body) = connection.open(&load.token, n)?;
                    if status != 201 {
                        return Err(io::Error::other(format!("answered with {status}: {body}")));
                    }
                    if counts.load(Ordering::Relaxed) {
                        waited.push(sent.elapsed().as_secs_f64() * 1000.0);
                    }
                }
                Ok(waited)
            })
        });
        let loading: Vec<_> = loading.collect();
        std::thread::sleep(WARM_UP);
        mark(true);
        counts.store(true, Ordering::Relaxed);
        std::thread::sleep(measured);
        counts.store(false, Ordering::Relaxed);
        mark(false);
        stops.store(true, Ordering::Relaxed);
        loading.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    let mut waited_ms = waited?.concat();
    waited_ms.sort_by(f64::total_cmp);
    Ok(Outcome { opened: waited_ms.len(), waited_ms })
}

/// A connection of HTTP/1.1.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn new(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection(BufReader::with_capacity(16 * 1024, stream)))
    }

    pub fn open(&mut self, token: &str, n: u32) -> io::Result<(u16, String)> {
        let body = format!(
            "{{\"iin\":\"{}\",\"phone\":\"+7701{:07}\",\"sum\":\"250000.00\",\"currency\":\"KZT\",\"term_days\":365,\
             \"kind\":\"unsecured\",\"channel\":\"online\",\"language\":\"kk\"}}",
            iin(n),
            n % 10_000_000
        );
        let head = format!("Authorization: Bearer {token}\r\nIdempotency-Key: bench-{n}\r\n");
        self.post("/v1/loans", "application/json", &head, &body)
    }

    pub fn post(&mut self, path: &str, kind: &str, head: &str, body: &str) -> io::Result<(u16, String)> {
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\n{head}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub fn get(&mut self, path: &str) -> io::Result<(u16, String)> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n"))
    }

    fn ask(&mut self, request: &str) -> io::Result<(u16, String)> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::Error::other("the connection ended"));
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            } else if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer)?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// An IIN by the rule in rulebook/loans/kz.toml: another person for each n, but for few.
fn iin(n: u32) -> String {
    const WEIGHTS: [[u32; 11]; 2] =
        [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2]];
    let (day, month, year) = (n % 28 + 1, n / 28 % 12 + 1, n / 336 % 40 + 60);
    for serial in n / 13_440.. {
        let eleven = format!("{year:02}{month:02}{day:02}3{:04}", serial % 10_000);
        for weights in WEIGHTS {
            let digits = eleven.bytes().map(|digit| u32::from(digit - b'0'));
            let check = digits.zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 11;
            if check < 10 {
                return format!("{eleven}{check}");
            }
        }
    }
    unreachable!("some serial has a check digit")
}
