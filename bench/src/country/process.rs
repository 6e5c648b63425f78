//! Processes of the country, each with a log file; ended when dropped.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::servers::family;

pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts it; what it says goes to `log`.
    pub fn start(name: String, command: &mut Command, log: &Path) -> io::Result<Process> {
        let log = File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        Ok(Process { name, child })
    }

    /// Waits until `is_ready`, which is asked again and again.
    pub fn wait(&mut self, mut is_ready: impl FnMut() -> bool) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("{} ended: {status}; see its log", self.name)));
            }
            if Instant::now() > end {
                return Err(io::Error::other(format!("{} is not ready after 20 s; see its log", self.name)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends it as a crash would, its children too.
    pub fn kill(&mut self) {
        for pid in family(self.child.id()) {
            let _ = Command::new("kill").arg("-9").arg(pid.to_string()).stderr(Stdio::null()).status();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}
