//! Who opens applications: a node, FastAPI, pgbench; the PostgreSQL that keeps them, and the SMSC that takes texts.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::{Connection, Load};
use super::{Line, Play, cpu_s};
use crate::servers::family;

/// A process and its children, ended when dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> io::Result<Process> {
        Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    fn spawn(command: &mut Command) -> io::Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stderr(Stdio::null()).spawn();
        child.map(Process).map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // PostgreSQL ends its sessions on INT.
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait(what: &str, mut is_there: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_there() {
        if Instant::now() > end {
            return Err(io::Error::other(format!("{what} is not there after 30 s")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A node with `[loans]`, a bank among its clients.
pub struct Node {
    process: Process,
    address: SocketAddr,
    secret: String,
}

impl Node {
    /// `texts`: how they go, a line of `[loans]` or a table.
    pub fn start(program: &Path, directory: &Path, store: &str, texts: &str) -> io::Result<Node> {
        let (port, sip) = (free_port()?, free_port()?);
        let configuration = format!(
            "[sip]\nlisten = [\"127.0.0.1:{sip}\"]\nworkers = 1\n[http]\nlisten = [\"127.0.0.1:{port}\"]\nworkers = 1\n\
             [loans]\nstore = \"{store}\"\nkeys = \"loans.keys\"\nsigning-key = \"loans.pem\"\nclients = \"clients.csv\"\n\
             {texts}\n[trunk.international]\nclass = \"international\"\nsource = [\"127.0.0.11\"]\n"
        );
        fs::write(directory.join("qalqan.toml"), configuration)?;
        fs::create_dir_all(directory.join("sms"))?;
        let program = fs::canonicalize(program)?;
        let own = |arguments: &[&str]| -> io::Result<String> {
            let output = Command::new(&program).current_dir(directory).args(arguments).output()?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
                false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
            }
        };
        own(&["loan", "key", "loans.keys", "--signing-key", "loans.pem"])?;
        let bank =
            own(&["loan", "client", "clients.csv", "bank", "--name", "Bench bank", "--class", "bank"])?;
        let secret = bank.lines().find_map(|line| line.strip_prefix("client_secret "));
        let secret = secret.ok_or_else(|| io::Error::other("no client_secret"))?.to_owned();
        let process = Process::start(Command::new(&program).current_dir(directory).arg("serve"))?;
        wait("the node", || answers(port))?;
        Ok(Node { process, address: SocketAddr::from(([127, 0, 0, 1], port)), secret })
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn load(&self, connections: usize) -> io::Result<Load> {
        let form = format!("grant_type=client_credentials&client_id=bank&client_secret={}", self.secret);
        let kind = "application/x-www-form-urlencoded";
        let (_, body) = Connection::new(self.address)?.post("/oauth2/token", kind, "", &form)?;
        let token = body.split('"').skip_while(|part| *part != "access_token").nth(2);
        let token = token.ok_or_else(|| io::Error::other(format!("no token: {body}")))?.to_owned();
        Ok(Load { address: self.address, token, connections })
    }
}

/// The Python of `./test`.
fn python(root: &Path) -> io::Result<PathBuf> {
    Ok(fs::canonicalize(root)?.join("target/tools/bin/python"))
}

/// An SMSC by another hand (node/tests/peers/smsc.py): it answers each message and sends its receipt behind.
pub struct Smsc {
    process: Process,
    pub port: u16,
}

impl Smsc {
    pub fn start(root: &Path, port: u16) -> io::Result<Smsc> {
        let mut command = Command::new(python(root)?);
        command.arg(root.join("node/tests/peers/smsc.py")).arg(port.to_string());
        let mut process = Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut out = BufReader::new(process.0.stdout.take().expect("piped"));
        out.read_line(&mut String::new())?;
        // It tells of nothing more that would fill the pipe but a bind.
        process.0.stdin.as_mut().expect("piped").write_all(b"{\"auto\": true}\n")?;
        std::thread::spawn(move || io::copy(&mut out, &mut io::sink()));
        Ok(Smsc { process, port })
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// `bench/texts.py`: a client on python-smpplib with the same window, that keeps nothing. Gives messages a second.
    pub fn plain(&self, root: &Path, messages: usize) -> io::Result<(f64, f64)> {
        let mut client = Command::new(python(root)?);
        client.arg(root.join("bench/texts.py")).args([self.port.to_string(), messages.to_string()]);
        let output = client.stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut figures = text.split_whitespace().map_while(|word| word.parse().ok());
        let said = || io::Error::other(format!("bench/texts.py: {text}"));
        Ok((figures.next().ok_or_else(said)?, figures.next().ok_or_else(said)?))
    }
}

/// A PostgreSQL of this machine as it is shipped: every commit waits for the disk.
pub struct Postgres {
    process: Process,
    programs: PathBuf,
    port: u16,
}

/// PostgreSQL refuses to be root.
fn as_postgres(program: PathBuf) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

impl Postgres {
    pub fn start(directory: &Path) -> io::Result<Postgres> {
        let programs = fs::read_dir("/usr/lib/postgresql").map_err(|error| {
            io::Error::new(error.kind(), "no PostgreSQL here: apt-get install postgresql")
        })?;
        let programs =
            programs.flatten().map(|entry| entry.path().join("bin")).max().ok_or(io::ErrorKind::NotFound)?;
        fs::create_dir(directory)?;
        // Only root has to hand it over.
        let _ = Command::new("chown").arg("postgres").arg(directory).stderr(Stdio::null()).status();
        let data = directory.join("data");
        let made = as_postgres(programs.join("initdb"))
            .args(["-A", "trust", "-U", "qalqan", "-E", "UTF8", "--no-sync", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        let port = free_port()?;
        let process = Process::start(
            as_postgres(programs.join("postgres"))
                .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", "", "-D"])
                .arg(&data)
                .current_dir("/"),
        )?;
        let is_ready = || {
            let mut ready = Command::new(programs.join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
            ready.status().is_ok_and(|status| status.success())
        };
        wait("PostgreSQL", is_ready)?;
        Ok(Postgres { process, programs, port })
    }

    pub fn url(&self) -> String {
        format!("postgres://qalqan@127.0.0.1:{}/postgres", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// The same rows by pgbench, with prepared statements, into the tables that the node made: the least that a transaction of
    /// theirs costs.
    pub fn floor(&self, play: &Play) -> io::Result<Line> {
        let script = play.root.join("bench/loans.sql");
        let began = cpu_of(self.pid());
        let output = Command::new(self.programs.join("pgbench"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "qalqan", "-n", "-M", "prepared"])
            .args(["-c", "16", "-j", "1", "-T", &play.measured.as_secs().max(1).to_string(), "-f"])
            .arg(&script)
            .arg("postgres")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        };
        let fault = || io::Error::other(format!("pgbench: {}", String::from_utf8_lossy(&output.stderr)));
        let done = value("number of transactions actually processed: ").ok_or_else(fault)?;
        let cpu_us = (cpu_of(self.pid()) - began) * 1e6 / done;
        Ok(Line {
            who: "pgbench, the same rows: the floor",
            store: "PostgreSQL",
            opened_per_s: value("tps = ").ok_or_else(fault)?,
            p50_ms: value("latency average = ").ok_or_else(fault)?,
            p99_ms: f64::NAN,
            cpu_us: [f64::NAN, cpu_us, f64::NAN],
        })
    }
}

fn cpu_of(pid: u32) -> f64 {
    family(pid).into_iter().map(cpu_s).sum()
}

/// `bench/loans.py`, where FastAPI is installed.
pub struct FastApi {
    process: Process,
    port: u16,
}

impl FastApi {
    pub fn start(root: &Path, url: &str) -> io::Result<Option<FastApi>> {
        let python = python(root)?;
        let has = |python: &Path| {
            let mut ask = Command::new(python);
            ask.args(["-c", "import fastapi, uvicorn, asyncpg, cryptography"]).stderr(Stdio::null());
            ask.status().is_ok_and(|status| status.success())
        };
        if !has(&python) {
            return Ok(None);
        }
        let port = free_port()?;
        let mut command = Command::new(&python);
        command.args(["-m", "uvicorn", "loans:app", "--log-level", "warning", "--no-access-log", "--port"]);
        command.arg(port.to_string()).env("STORE", url).current_dir(root.join("bench"));
        let process = Process::start(&mut command)?;
        wait("FastAPI", || answers(port))?;
        Ok(Some(FastApi { process, port }))
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub fn load(&self, play: &Play) -> Load {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        Load { address, token: "bench".to_owned(), connections: play.connections }
    }
}
