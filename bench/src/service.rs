//! What callers wait: at half of what the node can do, while it is disturbed, and beyond what it can do.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::load::{self, By, Load};
use crate::pace::{self, Pace, Waited};
use crate::servers::{self, HTTP_PORT, Server};

/// Calls a second that one worker is to carry; waiting is measured at half of it.
const ONE_WORKER: f64 = 140_000.0;

/// One line of the table.
pub struct Phase {
    pub name: &'static str,
    pub waited: Waited,
    pub own_mb: f64,
}

/// The phases in order, and how many calls a second the node could do before them.
///
/// The flood is ten times that, for as long as `flood`; the phase after it begins a second later.
pub fn run(
    program: &Path,
    directory: &Path,
    lists: &Path,
    measured: Duration,
    flood: Duration,
) -> io::Result<(f64, Vec<Phase>)> {
    let server = servers::qalqan(program, directory, lists, 1, None)?;
    let target = server.address;
    // The node has the first core for all its threads; the switch that asks it is another machine, and has the other.
    server.pin(0)?;
    let _restored = Pinned::on("1")?;
    let load = Load { target, by: By::Udp, window: 256, warm_up: Duration::from_secs(1), measured, seed: 1 };
    let most = load::run(&load, || {})?.calls_per_s;
    let at = |calls_per_s: f64, flood: bool, measured: Duration| Pace {
        target,
        calls_per_s,
        flood,
        warm_up: Duration::from_millis(500),
        measured,
        seed: 2,
    };
    let half = at(most.min(ONE_WORKER) / 2.0, false, measured);
    let mut phases = Vec::new();
    let mut phase = |name, waited| phases.push(Phase { name, waited, own_mb: server.own_mb() });
    phase("half load", pace::run(&half, || {})?);
    phase(
        "half load, lists swapped, metrics scraped",
        disturbed(&server, lists, || pace::run(&half, || {}))?,
    );
    phase("ten times what it can do", pace::run(&at(most * 10.0, true, flood), || {})?);
    std::thread::sleep(Duration::from_millis(500));
    phase("half load, a second later", pace::run(&half, || {})?);
    Ok((most, phases))
}

/// This process on one core, until it is dropped.
struct Pinned;

impl Pinned {
    fn on(core: &str) -> io::Result<Pinned> {
        servers::pin(std::process::id(), core).map(|()| Pinned)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = servers::pin(std::process::id(), "0,1");
    }
}

/// Runs a load while every list is swapped every two seconds and the metrics are read every second.
fn disturbed<T>(server: &Server, lists: &Path, load: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let disturbing = scope.spawn(|| -> io::Result<()> {
            for second in 1.. {
                std::thread::sleep(Duration::from_secs(1));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                scrape()?;
                if second % 2 == 0 {
                    // A file of its own under the old name: what is mapped is not written to.
                    for entry in fs::read_dir(lists)?.flatten() {
                        let fresh = entry.path().with_extension("fresh");
                        fs::copy(entry.path(), &fresh)?;
                        fs::rename(&fresh, entry.path())?;
                    }
                    Command::new("kill").arg("-HUP").arg(server.pid().to_string()).status()?;
                }
            }
            Ok(())
        });
        let outcome = load();
        stop.store(true, Ordering::Relaxed);
        disturbing.join().expect("no panic").and(outcome)
    })
}

fn scrape() -> io::Result<()> {
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], HTTP_PORT)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err(io::Error::other("/metrics did not answer 200")),
    }
}
