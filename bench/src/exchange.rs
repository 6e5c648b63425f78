//! Operators that ask each other: what the questions add to a call, what a slow member costs the others, what a million open
//! calls take.
//!
//! alpha gets calls by its national trunk and asks; beta answers, for the calls that went out by its access trunk before;
//! gamma answers the same behind a line that takes two seconds for every byte. A fourth node is in no exchange: the same
//! load on it is what questions are measured against.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::corpus::TRUNKS;
use crate::load::{percentiles, read};
use crate::servers::{Server, seconds_of};
use crate::wire::{Datagrams, Wire};

/// What is played.
pub struct Play<'a> {
    pub program: &'a Path,
    pub work: &'a Path,
    pub calls_per_s: f64,
    pub measured: Duration,
    /// Of so many the one whose p99 is the median stands in the table.
    pub rounds: usize,
    /// Calls that are open at once in the end.
    pub open: u32,
}

/// One line of the table.
pub struct Phase {
    pub name: &'static str,
    /// Answered of those sent, but for those to gamma.
    pub answered: usize,
    pub sent: u64,
    pub blocked: usize,
    /// Of all calls those that beta said it made.
    pub initiated: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// CPU time of a call at the node that is called and at beta.
    pub cpu_us: [f64; 2],
}

/// What open calls took.
pub struct Memory {
    pub open: f64,
    pub before_mb: f64,
    pub after_mb: f64,
}

const NATIONAL: usize = 1;
const ACCESS: usize = 2;
/// Pairs of numbers whose calls beta made.
const PAIRS: u32 = 20_000;
const WARM_UP: Duration = Duration::from_secs(2);
/// An answer is waited for so long after the last call.
const PATIENCE: Duration = Duration::from_millis(1500);
const BURST: usize = 64;
const SLOW: Duration = Duration::from_secs(2);

const INITIATED: &str = "outcome=\"initiated\"";

/// A node, and what of it others have to know.
struct Node {
    name: &'static str,
    range: &'static str,
    port: u16,
    /// Where others find it.
    reached: u16,
}

const PLAIN: Node = Node { name: "plain", range: "7707", port: 5080, reached: 0 };
const ALPHA: Node = Node { name: "alpha", range: "7701", port: 5083, reached: 5085 };
const BETA: Node = Node { name: "beta", range: "7702", port: 5086, reached: 5088 };
const GAMMA: Node = Node { name: "gamma", range: "7705", port: 5089, reached: 5092 };

impl Node {
    fn http(&self) -> u16 {
        self.port + 1
    }

    /// Starts it; `others` are its members.
    fn start(&self, play: &Play, others: &[&Node]) -> io::Result<Server> {
        let directory = play.work.join(self.name);
        let _ = fs::remove_dir_all(directory.join("journal"));
        fs::create_dir_all(&directory)?;
        let mut config = format!(
            "[sip]\nlisten = [\"127.0.0.1:{}\"]\nworkers = 1\n[http]\nlisten = [\"127.0.0.1:{}\"]\n",
            self.port,
            self.http()
        );
        if self.reached > 0 {
            config += &format!(
                "[exchange]\nname = {:?}\nlisten = [\"127.0.0.1:{}\"]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n\
                 ranges = [{:?}]\ncapabilities = [\"initiation-check\"]\nttl-s = 180\n",
                self.name,
                self.port + 2,
                self.range
            );
        }
        for other in others {
            config += &format!(
                "[member.{0}]\nurl = \"https://localhost:{1}\"\ncertificate = \"../{0}/own.pem\"\nranges = [{2:?}]\n\
                 capabilities = [\"initiation-check\"]\nquestions-per-s = 100000\n",
                other.name, other.reached, other.range
            );
        }
        for (address, class) in TRUNKS {
            config += &format!("[trunk.{class}]\nclass = {class:?}\nsource = [{address:?}]\n");
        }
        let path = directory.join("qalqan.toml");
        fs::write(&path, config)?;
        Server::start(self.name, self.port, Command::new(play.program).arg("serve").arg("--config").arg(path))
    }

    /// A certificate of its own, for a day.
    fn certify(&self, work: &Path) -> io::Result<()> {
        let directory = work.join(self.name);
        fs::create_dir_all(&directory)?;
        let request = "[req]\ndistinguished_name = dn\nx509_extensions = ext\nprompt = no\n[dn]\nCN = localhost\n\
                       [ext]\nsubjectAltName = DNS:localhost\nbasicConstraints = critical,CA:FALSE\n";
        fs::write(directory.join("request.cnf"), request)?;
        let made = Command::new("openssl")
            .current_dir(&directory)
            .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-config", "request.cnf"])
            .args(["-keyout", "own.key", "-out", "own.pem"])
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(format!("openssl: {}", String::from_utf8_lossy(&made.stderr))));
        }
        fs::set_permissions(directory.join("own.key"), PermissionsExt::from_mode(0o600))
    }

    /// The sum of a metric over all labels that contain `of`.
    fn metric(&self, name: &str, of: &str) -> io::Result<f64> {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.http())))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let values = page.lines().filter(|line| line.starts_with(name) && line.contains(of));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

/// A call that may be made.
#[derive(Clone, Copy)]
struct Pair {
    calling: u64,
    called: u64,
    /// Its answer is waited for by nobody who measures: gamma is asked about it.
    is_aside: bool,
}

impl Pair {
    fn of_beta(n: u32) -> Pair {
        Pair {
            calling: 77_020_000_000 + u64::from(n),
            called: 77_019_999_999 - u64::from(n),
            is_aside: false,
        }
    }

    fn write(&self, method: &str, trunk: usize, target: &str, sequence: u64, out: &mut Vec<u8>) {
        let host = TRUNKS[trunk].0;
        let Pair { calling, called, .. } = self;
        write!(
            out,
            "{method} sip:+{called}@{target};user=phone SIP/2.0\r\n\
             Via: SIP/2.0/UDP {host}:5060;rport;branch=z9hG4bK{sequence:012}\r\nMax-Forwards: 69\r\n\
             From: <sip:+{calling}@{host};user=phone>;tag=as58b1c2d3\r\nTo: <sip:+{called}@{target};user=phone>\r\n\
             Contact: <sip:+{calling}@{host}:5060>\r\nCall-ID: {sequence:012}@{host}\r\nCSeq: 102 {method}\r\n\
             P-Asserted-Identity: <sip:+{calling}@{host};user=phone>\r\nContent-Length: 0\r\n\r\n"
        )
        .expect("memory");
    }
}

/// Plays all of it: the phases, and what open calls took.
pub fn run(play: &Play) -> io::Result<(Vec<Phase>, Memory)> {
    [&ALPHA, &BETA, &GAMMA].into_iter().try_for_each(|node| node.certify(play.work))?;
    let plain = PLAIN.start(play, &[])?;
    let alpha = ALPHA.start(play, &[&BETA, &GAMMA])?;
    let beta = BETA.start(play, &[&ALPHA, &GAMMA])?;
    let gamma = GAMMA.start(play, &[&ALPHA, &BETA])?;
    slow_line(GAMMA.reached, GAMMA.port + 2)?;

    let made: Vec<Pair> = (0..PAIRS).map(Pair::of_beta).collect();
    // Nobody made those: beta waits for their registration, which does not come.
    let mut spoofed = made.clone();
    for (n, pair) in spoofed.iter_mut().enumerate().skip(50).step_by(100) {
        *pair = Pair { called: 77_010_000_000 + n as u64, is_aside: true, ..*pair };
    }
    let one_in_ten = |of: u64| {
        let mut pairs = made.clone();
        for pair in pairs.iter_mut().skip(5).step_by(10) {
            *pair = Pair { calling: pair.calling + of, is_aside: true, ..*pair };
        }
        pairs
    };
    // 7705 is gamma's, 7706 nobody's.
    let (of_gamma, of_nobody) = (one_in_ten(30_000_000), one_in_ten(40_000_000));
    let lines: [(&str, &Server, &[Pair]); 5] = [
        ("in no exchange", &plain, &made),
        ("every call asked about", &alpha, &made),
        ("one in a hundred was never made", &alpha, &spoofed),
        ("one in ten is of a member two seconds away", &alpha, &of_gamma),
        ("one in ten is of no member", &alpha, &of_nobody),
    ];
    let mut rounds: [Vec<Phase>; 5] = Default::default();
    for _ in 0..play.rounds {
        for ((name, server, pairs), phases) in lines.into_iter().zip(&mut rounds) {
            register(&beta, &made, 20_000.0)?;
            let load =
                Load { server, also: &beta, pairs, calls_per_s: play.calls_per_s, measured: play.measured };
            let initiated = || ALPHA.metric("qalqan_exchange_questions_total", INITIATED);
            let before = initiated()?;
            let mut phase = load.run(name)?;
            let calls = (WARM_UP + play.measured).as_secs_f64() * play.calls_per_s;
            phase.initiated = (initiated()? - before) / calls;
            phases.push(phase);
        }
    }
    let median = |mut phases: Vec<Phase>| {
        phases.sort_by(|one, other| one.p99_us.total_cmp(&other.p99_us));
        phases.swap_remove(phases.len() / 2)
    };
    let phases = rounds.map(median).into();
    drop((plain, alpha, gamma, beta));
    let beta = BETA.start(play, &[&ALPHA, &GAMMA])?;
    let before_mb = beta.own_mb();
    let many: Vec<Pair> = (0..play.open).map(Pair::of_beta).collect();
    register(&beta, &many, 40_000.0)?;
    std::thread::sleep(Duration::from_secs(1));
    let open = BETA.metric("qalqan_exchange_open_calls", "")?;
    Ok((phases, Memory { open, before_mb, after_mb: beta.own_mb() }))
}

/// beta makes these calls; what got no answer is made again, more slowly.
fn register(beta: &Server, pairs: &[Pair], calls_per_s: f64) -> io::Result<()> {
    let mut left = pairs.to_vec();
    for round in 0..6 {
        left = made(beta, &left, calls_per_s / f64::from(1 << round))?;
        if left.is_empty() {
            return Ok(());
        }
    }
    Err(io::Error::other(format!("beta did not answer {} of {} calls", left.len(), pairs.len())))
}

/// Makes calls, and gives back those that got no answer.
fn made(beta: &Server, pairs: &[Pair], calls_per_s: f64) -> io::Result<Vec<Pair>> {
    let target = beta.address.to_string();
    let mut wire = Datagrams::open(beta.address, PATIENCE)?;
    let (first, start) = (sequence_now(), Instant::now());
    let end_s = pairs.len() as f64 / calls_per_s + 0.5;
    let mut answered = vec![false; pairs.len()];
    let (mut sent, mut left) = (0, pairs.len());
    while left > 0 && start.elapsed().as_secs_f64() < end_s {
        let due = (start.elapsed().as_secs_f64() * calls_per_s) as usize;
        let end = due.min(pairs.len()).min(sent + BURST);
        for (n, pair) in pairs.iter().enumerate().take(end).skip(sent) {
            wire.write(ACCESS, &mut |out| pair.write("INVITE", ACCESS, &target, first + n as u64, out));
        }
        sent = end;
        wire.send()?;
        wire.receive(&mut |answer| {
            let n = read(answer).map(|(sequence, _)| sequence.wrapping_sub(first) as usize);
            if let Some(known) = n.and_then(|n| answered.get_mut(n)) {
                left -= usize::from(!std::mem::replace(known, true));
            }
        })?;
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(pairs.iter().zip(answered).filter(|(_, answered)| !answered).map(|(pair, _)| *pair).collect())
}

/// A number that no call before has: a node knows calls again for a while.
fn sequence_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_micros() as u64 % 100_000_000_000 * 10
}

struct Load<'a> {
    server: &'a Server,
    also: &'a Server,
    pairs: &'a [Pair],
    calls_per_s: f64,
    measured: Duration,
}

impl Load<'_> {
    /// Calls at a pace, each acknowledged when it is answered; a call waits from when it was due.
    fn run(&self, name: &'static str) -> io::Result<Phase> {
        let target = self.server.address.to_string();
        let mut wire = Datagrams::open(self.server.address, PATIENCE)?;
        let first = sequence_now();
        let due = |n: u64| Duration::from_secs_f64(n as f64 / self.calls_per_s);
        let pair = |n: u64| &self.pairs[n as usize % self.pairs.len()];
        let (begin, end) = (WARM_UP, WARM_UP + self.measured);
        let mut answered: Vec<bool> = vec![false; (end.as_secs_f64() * self.calls_per_s) as usize + 1];
        let mut latencies_ns: Vec<u32> = Vec::with_capacity(answered.len());
        let (mut next, mut sent, mut blocked, mut cpu) = (0u64, 0u64, 0, None::<[f64; 2]>);
        let mut acknowledge = Vec::new();
        let start = Instant::now();
        let cpu_now = || [seconds_of(self.server), seconds_of(self.also)];
        let mut cpu_s = [0.0; 2];
        loop {
            let now = start.elapsed();
            if cpu.is_none() && now >= begin {
                cpu = Some(cpu_now());
            }
            if let Some(begun) = cpu.filter(|_| now >= end && cpu_s == [0.0; 2]) {
                let over = cpu_now();
                cpu_s = [over[0] - begun[0], over[1] - begun[1]];
            }
            if now >= end + PATIENCE {
                break;
            }
            let before = next;
            while now < end && next - before < BURST as u64 && due(next) <= now {
                wire.write(NATIONAL, &mut |out| {
                    pair(next).write("INVITE", NATIONAL, &target, first + next, out);
                });
                sent += u64::from(due(next) >= begin && !pair(next).is_aside);
                next += 1;
            }
            wire.send()?;
            wire.receive(&mut |answer| {
                let Some((sequence, class)) = read(answer) else { return };
                let n = sequence.wrapping_sub(first);
                let Some(known) = answered.get_mut(n as usize) else { return };
                acknowledge.push(n);
                if std::mem::replace(known, true) || due(n) < begin {
                    return;
                }
                blocked += usize::from(class == b'6');
                if !pair(n).is_aside {
                    let late = start.elapsed().saturating_sub(due(n)).as_nanos();
                    latencies_ns.push(late.min(u128::from(u32::MAX)) as u32);
                }
            })?;
            let idle = before == next && acknowledge.is_empty();
            for n in acknowledge.drain(..) {
                wire.write(NATIONAL, &mut |out| pair(n).write("ACK", NATIONAL, &target, first + n, out));
            }
            wire.send()?;
            if idle {
                std::thread::sleep(Duration::from_micros(10));
            }
        }
        let calls = self.measured.as_secs_f64() * self.calls_per_s;
        let answered = latencies_ns.len();
        let [p50_us, p99_us, p999_us] = percentiles(&mut latencies_ns);
        let cpu_us = cpu_s.map(|seconds| seconds * 1e6 / calls);
        Ok(Phase { name, answered, sent, blocked, initiated: 0.0, p50_us, p99_us, p999_us, cpu_us })
    }
}

/// Carries every byte two seconds later, both ways, as long as this process lives.
fn slow_line(from: u16, to: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", from))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(beyond) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let (Ok(back), Ok(forth)) = (stream.try_clone(), beyond.try_clone()) else { continue };
            carry(stream, beyond);
            carry(forth, back);
        }
    });
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let (give, take) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut piece = [0; 16_384];
        while let Ok(n @ 1..) = from.read(&mut piece) {
            if give.send((Instant::now() + SLOW, piece[..n].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (when, piece) in take {
            std::thread::sleep(when.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// The table of docs/performance.md.
pub fn table(phases: &[Phase], memory: &Memory) -> String {
    let mut out = String::from(
        "| calls by a national trunk | answered | blocked | vouched for | p50, µs | p99, µs | p99.9, µs | CPU a call, µs | at beta, µs |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for phase in phases {
        let Phase { name, answered, sent, blocked, initiated, p50_us, p99_us, p999_us, cpu_us: [own, beta] } =
            phase;
        out += &format!(
            "| {name} | {:.2} % | {blocked} | {:.1} % | {p50_us:.0} | {p99_us:.0} | {p999_us:.0} | {own:.1} | {beta:.1} |\n",
            *answered as f64 * 100.0 / *sent as f64,
            initiated * 100.0
        );
    }
    let [plain, asked, spoofed, slow, absent] = phases else { return out };
    out += &format!(
        "\nA question adds {:.2} ms at p50 and {:.2} ms at p99. With one call in a hundred that nobody made p99 of the others \
         is {:.2} ms.\nThe slow member moves p99 of the others by {:+.0} %.\n{:.0} open calls took {:.0} MB: {:.0} before, {:.0} after.\n",
        (asked.p50_us - plain.p50_us) / 1000.0,
        (asked.p99_us - plain.p99_us) / 1000.0,
        spoofed.p99_us / 1000.0,
        (slow.p99_us / absent.p99_us - 1.0) * 100.0,
        memory.open,
        memory.after_mb - memory.before_mb,
        memory.before_mb,
        memory.after_mb
    );
    out
}
