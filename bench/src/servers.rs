//! Those who answer: each a process, its CPU time read from /proc.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::corpus::TRUNKS;

/// A contender that is running; killed when dropped.
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    /// Milliseconds from its start to its first answer.
    pub ready_ms: f64,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        for pid in family(self.child.id()) {
            let _ = Command::new("kill").arg("-9").arg(pid.to_string()).stderr(Stdio::null()).status();
        }
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn start(name: &'static str, port: u16, command: &mut Command) -> io::Result<Server> {
        let started = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        let address = format!("127.0.0.1:{port}").parse().expect("an address");
        let mut server = Server { name, address, ready_ms: 0.0, child };
        server.wait_until_ready()?;
        server.ready_ms = started.elapsed().as_secs_f64() * 1000.0;
        Ok(server)
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let socket = UdpSocket::bind((TRUNKS[2].0, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        let host = socket.local_addr()?;
        let options = format!(
            "OPTIONS sip:probe@{0} SIP/2.0\r\nVia: SIP/2.0/UDP {host};rport;branch=z9hG4bKprobe\r\nMax-Forwards: 70\r\n\
             From: <sip:probe@{host}>;tag=1\r\nTo: <sip:probe@{0}>\r\nCall-ID: 000000000000@127.0.0.13.....\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            self.address
        );
        let patience = Instant::now() + Duration::from_secs(20);
        let mut buffer = [0; 2048];
        while Instant::now() < patience {
            socket.send_to(options.as_bytes(), self.address)?;
            if socket.recv(&mut buffer).is_ok() {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("{}: no answer to OPTIONS within 20 s", self.name)))
    }

    /// Keeps all threads of the server on one core.
    pub fn pin(&self, core: usize) -> io::Result<()> {
        pin(self.pid(), &core.to_string())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What of its memory is resident and its own, in MB: mapped files are the kernel's.
    pub fn own_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kb = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<f64>().ok());
        kb.unwrap_or(f64::NAN) / 1024.0
    }

    /// CPU time of the server and its children, user and system, seconds.
    pub fn cpu_s(&self) -> f64 {
        let ticks: u64 = family(self.child.id()).into_iter().filter_map(cpu_ticks).sum();
        // USER_HZ is 100 on every Linux that Rust's std runs on.
        ticks as f64 / 100.0
    }
}

/// CPU time of a server's threads, seconds, to the nanosecond; `/proc/PID/stat` counts in hundredths.
pub fn seconds_of(server: &Server) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).into_iter().flatten().flatten();
    let ran = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    ran.sum::<f64>() / 1e9
}

/// Keeps the threads that a process has now on these cores, and those that they will start.
pub fn pin(pid: u32, cores: &str) -> io::Result<()> {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", cores, &pid.to_string()])
        .stdout(Stdio::null())
        .status()?;
    if pinned.success() { Ok(()) } else { Err(io::Error::other("taskset pinned nothing")) }
}

/// A process and its direct children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(other) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{other}/stat")).unwrap_or_default();
        // The name in brackets may hold spaces: count from its end.
        let parent =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        if parent == Some(pid) {
            pids.push(other);
        }
    }
    pids
}

fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

pub const TLS_PORT: u16 = 5074;
pub const HTTP_PORT: u16 = 5076;

/// The next hop behind a proxy.
pub fn hop() -> io::Result<Server> {
    let port = 5075;
    let program = std::env::current_exe()?;
    Server::start("hop", port, Command::new(program).arg("hop").arg(format!("127.0.0.1:{port}")))
}

/// `cuts`: answers leave as large packets that the kernel cuts.
pub fn floor(cuts: bool) -> io::Result<Server> {
    let port = 5071;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("floor").arg(format!("127.0.0.1:{port}")).args(cuts.then_some("--cuts"));
    Server::start("floor", port, &mut command)
}

/// Kamailio answering by redirect from a stateless script, two workers.
pub fn kamailio(script: &Path) -> io::Result<Server> {
    let mut command = Command::new("kamailio");
    command.arg("-f").arg(script).args(["-DD", "-E", "-m", "128", "-M", "16"]);
    Server::start("kamailio", 5072, &mut command)
}

/// Qalqan with its journal on and the full catalogue, one worker for each address and transport.
///
/// UDP and TCP on one port, TLS on the next; as a proxy before a hop that refuses every call, where one is named. `lists`
/// holds what [`crate::lists::carrier`] made.
pub fn qalqan(
    program: &Path,
    directory: &Path,
    lists: &Path,
    workers: usize,
    hop: Option<SocketAddr>,
) -> io::Result<Server> {
    let port = TLS_PORT - 1;
    fs::create_dir_all(directory)?;
    if !directory.join("node.key").exists() {
        let request =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
        let made = Command::new("openssl")
            .current_dir(directory)
            .args(request)
            .args(["-subj", "/CN=qalqan.example", "-keyout", "node.key", "-out", "node.pem"])
            .stderr(Stdio::null())
            .status()?;
        if !made.success() {
            return Err(io::Error::other("openssl made no certificate"));
        }
    }
    let mut config = format!(
        "[sip]\nlisten = [\"127.0.0.1:{port}\", \"tls:127.0.0.1:{TLS_PORT}\"]\nworkers = {workers}\n"
    );
    if let Some(hop) = hop {
        config.push_str(&format!("mode = \"proxy\"\nonward = \"{hop}\"\n"));
    }
    config.push_str("[sip.tls]\ncertificate = \"node.pem\"\nkey = \"node.key\"\n");
    config.push_str(&format!("[http]\nlisten = [\"127.0.0.1:{HTTP_PORT}\"]\n[lists]\n"));
    let list = |name: &str| fs::canonicalize(lists.join(name).with_extension("list"));
    for name in ["do-not-originate", "no-international"] {
        config.push_str(&format!("{name} = {:?}\n", list(name)?));
    }
    for (address, class) in TRUNKS {
        config.push_str(&format!("[trunk.{class}]\nclass = \"{class}\"\nsource = [\"{address}\"]\n"));
    }
    config.push_str("[trunk.dedicated]\nclass = \"international-dedicated\"\nsource = [\"127.0.0.14\"]\n");
    config.push_str(&format!("numbers = {:?}\n", list("dedicated")?));
    let path = directory.join("qalqan.toml");
    fs::write(&path, config)?;
    Server::start("qalqan", port, Command::new(program).arg("serve").arg("--config").arg(path))
}
