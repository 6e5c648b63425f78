//! The wires between nodes: relays of TCP that can delay and drop what goes over them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What happens to bytes on a wire.
#[derive(Default)]
struct Weather {
    delay_ms: AtomicU64,
    drops: AtomicBool,
    is_over: AtomicBool,
}

/// A relay for connections from one operator to another.
pub struct Relay {
    listens: SocketAddrV4,
    weather: Arc<Weather>,
}

impl Relay {
    pub fn start(listens: SocketAddrV4, target: SocketAddrV4) -> io::Result<Relay> {
        let listener = TcpListener::bind(listens)?;
        let weather = Arc::new(Weather::default());
        let of_all = weather.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_all.is_over.load(Ordering::Relaxed) {
                    return;
                }
                // Nobody listens: the asker's connection ends as it would without a relay.
                let Ok(server) = TcpStream::connect(target) else { continue };
                let both = client.try_clone().and_then(|back| Ok((back, server.try_clone()?)));
                if let Ok((back, forth)) = both {
                    carry(client, forth, of_all.clone(), false);
                    carry(server, back, of_all.clone(), true);
                }
            }
        });
        Ok(Relay { listens, weather })
    }

    /// Answers come so much later.
    pub fn delay(&self, delay: Duration) {
        self.weather.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Nothing arrives any more, and nobody is told.
    pub fn drop_all(&self) {
        self.weather.drops.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.weather.is_over.store(true, Ordering::Relaxed);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.listens);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, weather: Arc<Weather>, is_answer: bool) {
    let _ = to.set_nodelay(true);
    let (give, take) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in take {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(n @ 1..) = from.read(&mut piece) {
            if weather.drops.load(Ordering::Relaxed) {
                continue;
            }
            let delay = if is_answer { weather.delay_ms.load(Ordering::Relaxed) } else { 0 };
            if give.send((Instant::now() + Duration::from_millis(delay), piece[..n].to_vec())).is_err() {
                break;
            }
        }
    });
}
