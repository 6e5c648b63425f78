//! What tests of the binary stand on: a directory, a node, and a peer that speaks SIP by hand.
#![allow(dead_code)] // Each test file uses its part.

pub mod browser;
pub mod hlr;
pub mod hop;
pub mod http;
pub mod loans;
pub mod nats;
pub mod operator;
pub mod peer;
pub mod postgres;
pub mod register;
pub mod smsc;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const INTERNATIONAL: &str = "127.0.0.11";
pub const NATIONAL: &str = "127.0.0.12";
pub const ACCESS: &str = "127.0.0.13";

const TRUNKS: &str = "
[trunk.international]
class = \"international\"
source = [\"127.0.0.11\"]
[trunk.national]
class = \"national\"
source = [\"127.0.0.12\"]
[trunk.access]
class = \"access\"
source = [\"127.0.0.13\"]
";

/// A directory with a configuration; removed at the end.
pub struct Site {
    pub directory: TempDir,
    pub port: u16,
}

/// Ports for nodes under test: apart from each other within a process by counting, between processes by pid. Below those that the
/// kernel gives to whoever connects, which would take one between its choice and its node's start.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() % 110) as u16 * 200 + n % 200;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Site {
    /// A site with three trunks and one worker; `more` is put in front of the trunks.
    pub fn new(more: &str) -> Site {
        let site = Site { directory: tempfile::tempdir().expect("a directory"), port: free_port() };
        site.configure(more);
        site
    }

    pub fn configure(&self, more: &str) {
        let sip = format!("[sip]\nlisten = [\"127.0.0.1:{}\"]\nworkers = 1\n", self.port);
        self.write("qalqan.toml", format!("{sip}{more}\n{TRUNKS}"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs the binary in this directory to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        qalqan(self.directory.path()).args(arguments).output().expect("the binary runs")
    }

    /// Runs it and gives what it printed; fails when it did not exit with 0.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs it and gives its complaint; fails when it exits with 0 or panics.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
        error
    }

    pub fn serve(&self) -> Node {
        Node::start(qalqan(self.directory.path()).arg("serve"), self.port)
    }

    /// With a clock ahead, as faketime writes it: `+61s`; empty: not ahead.
    pub fn serve_ahead(&self, ahead: &str) -> Node {
        let mut command = qalqan(self.directory.path());
        if !ahead.is_empty() {
            let libraries = [
                "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
            ];
            let library = libraries.into_iter().find(|path| Path::new(path).exists());
            command.env("LD_PRELOAD", library.expect("the package faketime"));
            command.env("FAKETIME", ahead).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        Node::start(command.arg("serve"), self.port)
    }

    /// How many verdicts the journal holds; unlike reading numbers in full this writes nothing.
    pub fn journal_len(&self) -> usize {
        self.ok(&["journal", "query", "--format", "jsonl", "--limit", "1000000"]).lines().count()
    }

    /// Verdicts the journal holds, as JSON values, numbers in full.
    pub fn journal(&self) -> Vec<serde_json::Value> {
        let lines = self.ok(&["journal", "query", "--format", "jsonl", "--reveal", "--limit", "1000000"]);
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

pub fn qalqan(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qalqan"));
    command.current_dir(directory).stdin(Stdio::null());
    command
}

/// A running node; killed at the end of the test.
pub struct Node {
    pub child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Node {
    pub fn start(command: &mut Command, port: u16) -> Node {
        let mut child =
            command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("piped");
        let sink = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = sink.lock().expect("no panic");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let node = Node { child, address: SocketAddr::from(([127, 0, 0, 1], port)), log };
        // Not a word in which it stands, as in "already in use".
        node.wait_for(" ready: ");
        node
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// Waits until the log says something.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait(|| self.log().contains(text), || format!("\"{text}\" in the log:\n{}", self.log()));
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits up to 20 s for something to become true.
#[track_caller]
pub fn wait(mut is_true: impl FnMut() -> bool, what: impl Fn() -> String) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < end, "waited for {}", what());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A switch on one trunk.
pub struct Switch {
    pub socket: UdpSocket,
    node: SocketAddr,
}

/// What an INVITE says, beyond what every INVITE says.
#[derive(Clone, Copy)]
pub struct Invite<'a> {
    pub from: &'a str,
    pub to: &'a str,
    /// Header lines, each with its line end.
    pub more: &'a str,
    pub call_id: &'a str,
}

impl Default for Invite<'_> {
    fn default() -> Self {
        Invite { from: "sip:+14155550123@abroad.example", to: "+77011234567", more: "", call_id: "call-1" }
    }
}

impl Switch {
    pub fn on(source: &str, node: &Node) -> Switch {
        let socket = UdpSocket::bind((source, 0)).expect("a loopback address");
        socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a time");
        Switch { socket, node: node.address }
    }

    pub fn render(&self, invite: &Invite) -> String {
        let Invite { from, to, more, call_id } = invite;
        let host = self.socket.local_addr().expect("bound");
        format!(
            "INVITE sip:{to}@{} SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{call_id};rport\r\n\
             Max-Forwards: 70\r\nFrom: <{from}>;tag=1\r\nTo: <sip:{to}@{}>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 INVITE\r\n{more}Content-Length: 0\r\n\r\n",
            self.node, self.node
        )
    }

    pub fn send(&self, message: impl AsRef<[u8]>) {
        self.socket.send_to(message.as_ref(), self.node).expect("sent");
    }

    /// Sends to a node that may be dead.
    pub fn try_send(&self, message: &str) -> bool {
        self.socket.send_to(message.as_bytes(), self.node).is_ok()
    }

    /// The next answer; none when nothing comes within the socket's time.
    pub fn answer(&self) -> Option<String> {
        let mut buffer = [0; 65_536];
        let n = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    #[track_caller]
    pub fn ask(&self, message: impl AsRef<[u8]>) -> String {
        self.send(&message);
        self.answer().unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(message.as_ref())))
    }

    #[track_caller]
    pub fn invite(&self, invite: &Invite) -> String {
        self.ask(self.render(invite))
    }

    pub fn is_silent(&self, message: impl AsRef<[u8]>) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time");
        self.send(message);
        let silent = self.answer().is_none();
        self.socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a time");
        silent
    }
}

/// A switch's connection to a node, over TCP or anything that a TCP connection carries.
pub struct Line<S> {
    pub stream: S,
    held: Vec<u8>,
}

/// Connects from a trunk's address.
pub fn connect(source: &str, to: SocketAddr) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(source.parse().expect("an address"), 0).into()).expect("a loopback address");
    socket.connect(&to.into()).expect("the node listens");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    socket.into()
}

impl<S: Read + Write> Line<S> {
    pub fn new(stream: S) -> Line<S> {
        Line { stream, held: Vec::new() }
    }

    pub fn send(&mut self, message: impl AsRef<[u8]>) {
        self.stream.write_all(message.as_ref()).expect("written");
        self.stream.flush().expect("written");
    }

    /// The next answer, without a body; none at the end of the stream or when nothing comes in time.
    pub fn answer(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                return Some(
                    String::from_utf8_lossy(&self.held.drain(..end + 4).collect::<Vec<u8>>()).into(),
                );
            }
            let mut piece = [0; 65_536];
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.held.extend_from_slice(&piece[..n]),
            }
        }
    }

    #[track_caller]
    pub fn ask(&mut self, message: impl AsRef<[u8]>) -> String {
        self.send(&message);
        self.answer().unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(message.as_ref())))
    }

    /// Whether the node closes the connection, whatever it says before.
    pub fn is_closed(&mut self) -> bool {
        let mut piece = [0; 65_536];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// Held by a test whose peers stand on addresses of their own, which another has too.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A SIPp scenario.
pub fn scenario(name: &str) -> PathBuf {
    repository().join("node/tests/sipp").join(name)
}

/// A peer that is stopped at the end of the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // Kamailio's main process ends its children on TERM.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        std::thread::sleep(Duration::from_millis(300));
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn start(command: &mut Command) -> Running {
    Running(
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"),
    )
}

/// A header field of an answer.
pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

pub fn status(answer: &str) -> &str {
    answer.lines().next().and_then(|line| line.strip_prefix("SIP/2.0 ")).unwrap_or("")
}
