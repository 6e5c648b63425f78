//! A real PostgreSQL of this machine, for one test.

use std::path::Path;
use std::process::Command;

use super::{Running, free_port, start, wait};

pub struct Postgres {
    _running: Running,
    _directory: tempfile::TempDir,
    pub url: String,
}

/// Runs a test on SQLite and on a PostgreSQL of its own.
pub fn on_each_store(test: impl Fn(Option<Postgres>)) {
    test(None);
    test(Some(Postgres::start()));
}

/// PostgreSQL refuses to be root.
fn as_postgres(program: &Path) -> Command {
    // SAFETY: asks for nothing but a number.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

impl Postgres {
    pub fn start() -> Postgres {
        let programs = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL: ./test installs it");
        let programs = programs.flatten().map(|entry| entry.path().join("bin")).max().expect("a version");
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        // SAFETY: asks for nothing but a number.
        if unsafe { libc::geteuid() } == 0 {
            let owned = Command::new("chown").arg("postgres").arg(directory.path()).status();
            assert!(owned.expect("chown runs").success());
        }
        let made = as_postgres(&programs.join("initdb"))
            .args(["-A", "trust", "-U", "qalqan", "-E", "UTF8", "--no-sync", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let running = start(
            as_postgres(&programs.join("postgres"))
                .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""])
                .arg("-D")
                .arg(&data)
                .current_dir("/"),
        );
        let is_ready = || {
            let ready = Command::new(programs.join("pg_isready"));
            let mut ready = ready;
            ready
                .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status()
                .is_ok_and(|it| it.success())
        };
        wait(is_ready, || "PostgreSQL is up".to_owned());
        let url = format!("postgres://qalqan@127.0.0.1:{port}/postgres");
        Postgres { _running: running, _directory: directory, url }
    }
}
