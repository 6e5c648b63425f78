//! What two nodes of one operator share: a real Redis cluster, three primaries with a replica each.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::process::Process;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PORT: u16 = 6479;
const SERVERS: u8 = 6;
/// A primary that is silent for so long is dead, and its replica takes over.
const NODE_TIMEOUT_MS: &str = "1000";

/// A running cluster.
pub struct Store {
    /// The first three are the primaries.
    servers: Vec<Process>,
}

fn host(place: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, 10 + place)
}

fn client(arguments: &[&str]) -> Result<String> {
    // It waits for a cluster for ever.
    let output = Command::new("timeout").args(["60", "redis-cli"]).args(arguments).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Store {
    /// Starts the servers, each in a directory of its own, and waits until they are a cluster whose replicas are up to date.
    pub fn start(directory: &Path) -> Result<Store> {
        let port = PORT.to_string();
        let mut servers = Vec::new();
        for place in 0..SERVERS {
            let (host, home) = (host(place), directory.join(format!("redis-{place}")));
            fs::create_dir_all(&home)?;
            let mut command = Command::new("redis-server");
            command.current_dir(&home).args(["--port", &port, "--bind", &host.to_string(), "--save", ""]);
            command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT_MS]);
            // Else the others take it for the address that its connections come from.
            command.args(["--cluster-announce-ip", &host.to_string()]);
            let mut server = Process::start(format!("Redis {host}"), &mut command, &home.join("redis.log"))?;
            server.wait(|| TcpStream::connect((host, PORT)).is_ok())?;
            servers.push(server);
        }
        let all: Vec<String> = (0..SERVERS).map(|place| format!("{}:{port}", host(place))).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(all.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        client(&create)?;
        let end = Instant::now() + Duration::from_secs(30);
        let is_whole = |place: u8| -> Result<bool> {
            let ask =
                |what: &[&str]| client(&[&["-h", &host(place).to_string(), "-p", &port], what].concat());
            let is_replicated = place >= 3 || ask(&["info", "replication"])?.contains("state=online");
            Ok(is_replicated && ask(&["cluster", "info"])?.contains("cluster_state:ok"))
        };
        for place in 0..SERVERS {
            while !is_whole(place)? {
                if Instant::now() > end {
                    return Err("the Redis cluster is not whole after 30 s".into());
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(Store { servers })
    }

    /// What the nodes that share it are told.
    pub fn configuration() -> String {
        let urls: Vec<String> = (0..SERVERS).map(|place| format!("redis://{}:{PORT}", host(place))).collect();
        format!("shared = {urls:?}\n")
    }

    /// Kills a primary as a crash would.
    pub fn kill_primary(&mut self) {
        self.servers[0].kill();
    }
}
