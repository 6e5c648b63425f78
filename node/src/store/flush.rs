//! The flusher: a thread that has the kernel put onto the disk what workers appended, so that a power loss costs at
//! most a second.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{InUse, Shared};

/// From the end of one flush to the next; with the flush itself this bounds what a power loss costs.
const FLUSH_EVERY: Duration = Duration::from_millis(250);
/// What is promised of power loss: a flush that takes longer is said.
const FLUSH_LIMIT: Duration = Duration::from_millis(700);

/// The flusher's life: what was appended reaches the disk, off the workers.
pub fn flush(shared: &Shared) {
    loop {
        let is_last = shared.stop.load(Ordering::Relaxed);
        let logs: Vec<(Arc<File>, bool, PathBuf)> = {
            let in_use = shared.in_use.lock().expect("threads alive");
            let log = |log: &InUse| Some((log.file.clone()?, log.alive.strong_count() > 0, log.path.clone()));
            in_use.iter().filter_map(log).collect()
        };
        let started = Instant::now();
        let mut flushed = Vec::new();
        for (file, alive, path) in logs {
            match file.sync_data() {
                // One that nobody writes to any more is on the disk whole now, and can be sealed.
                Ok(()) if !alive => flushed.push(path),
                Ok(()) => {}
                Err(error) => shared.say(format!("journal: {}: flushing: {error}", path.display())),
            }
        }
        let took = started.elapsed();
        if took > FLUSH_LIMIT {
            let took = took.as_secs_f64();
            shared.say(format!("journal: a flush took {took:.1} s: a power loss would cost that much more"));
        }
        shared.in_use.lock().expect("threads alive").retain(|log| !flushed.contains(&log.path));
        if is_last {
            shared.flushed.store(true, Ordering::Relaxed);
            return;
        }
        std::thread::park_timeout(FLUSH_EVERY);
    }
}
