//! The keeper: a thread that has a spare log ready for each worker and takes full ones away.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use journal::Log;
use memmap2::MmapMut;

use super::bases::write_basis;
use super::keys::{random, sync_directory};
use super::{InUse, Mapped, Shared, Want, now_ms};

const RETRY: Duration = Duration::from_millis(500);

/// The keeper's life.
pub fn keep(shared: &Shared, wants: &Receiver<Want>) {
    let mut waiting: Vec<SyncSender<Mapped>> = Vec::new();
    loop {
        let is_idle = waiting.is_empty() && shared.bases.lock().expect("workers alive").is_empty();
        let want = if is_idle {
            wants.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            wants.recv_timeout(RETRY)
        };
        match want {
            Ok(Want::Log(give)) => waiting.push(give),
            Ok(Want::Close(full)) => {
                full.close();
                super::WAITING.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Want::Basis) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Want::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let outcome = serve_wants(shared, &mut waiting);
        let failing = outcome.is_err();
        if let Err(error) = outcome {
            *shared.why.lock().expect("workers alive") = error.to_string();
        }
        shared.failing.store(failing, Ordering::Relaxed);
    }
}

fn serve_wants(shared: &Shared, waiting: &mut Vec<SyncSender<Mapped>>) -> io::Result<()> {
    let mut bases = shared.bases.lock().expect("workers alive");
    while let Some(basis) = bases.last() {
        write_basis(&shared.directory, basis)?;
        bases.pop();
    }
    drop(bases);
    while let Some(give) = waiting.last() {
        let log = create(shared)?;
        // A writer that is gone wants nothing any more; its empty log is removed when it would be sealed.
        let _ = give.try_send(log);
        waiting.pop();
    }
    Ok(())
}

fn create(shared: &Shared) -> io::Result<Mapped> {
    let created_ms = now_ms();
    let sequence = shared.sequence.fetch_add(1, Ordering::Relaxed);
    let name = format!("{created_ms:013}-{}-{sequence:06}.log", std::process::id());
    let path = shared.directory.join(name);
    let key = shared.numbers.lock().expect("sealer alive").clone();
    let nonce = random().map_err(io::Error::other)?;
    // Named as in use before it is there: the sealer takes every other log for one that nobody writes to.
    let alive = Arc::new(());
    let in_use = InUse { path: path.clone(), alive: Arc::downgrade(&alive), file: None };
    shared.in_use.lock().expect("threads alive").push(in_use);
    let make = || -> io::Result<Mapped> {
        // Numbers are personal data: for this user's eyes.
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // SAFETY: the file is open for writing. Reserved space makes a full disk an error here, not a SIGBUS later.
        let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, shared.segment_bytes as libc::off_t) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        // SAFETY: the directory is locked for this process, and nothing in it shortens a log that is in use.
        let map = unsafe { MmapMut::map_mut(&file)? };
        let log = Log::begin(map, created_ms, key.as_ref().map(|key| (&**key, nonce)));
        // What a power loss leaves of a log begins with its name, its room and its header.
        file.sync_all()?;
        sync_directory(&shared.directory)?;
        Ok(Mapped { log, file: Arc::new(file), _in_use: alive })
    };
    let made = make();
    let mut in_use = shared.in_use.lock().expect("threads alive");
    match &made {
        Ok(mapped) => {
            let own = in_use.iter_mut().find(|log| log.path == path).expect("named above");
            own.file = Some(mapped.file.clone());
        }
        Err(_) => {
            let _ = fs::remove_file(&path);
            in_use.retain(|log| log.path != path);
        }
    }
    made
}
