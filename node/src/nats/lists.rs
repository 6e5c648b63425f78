//! Versions of lists from others: looked for, checked, written down by renaming, handed over to be put in force.
//!
//! The last version that a publisher signed is in force; to go back, an earlier one is published again. Whatever is wrong
//! with a version leaves everything as it is, and is counted once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::lists::List;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use aws_lc_rs::digest::{self, SHA256};
use journal::hex;
use screening::ListName;
use tokio::io::AsyncReadExt;

use super::published::{BUCKET, Published, STREAM};
use super::{Shared, Taken, Trouble, one_line};
use crate::config::explain_io;
use crate::list_file::{self, Reading, Untold};
use crate::store::bases::write_whole;
use crate::store::stand_back;

/// Between looks for a newer version.
const LOOK: Duration = Duration::from_secs(2);
/// Time without a byte of a file after which it is begged for anew.
const SILENCE: Duration = Duration::from_secs(20);

/// Follows lists for as long as the connection stands.
pub(super) async fn follow(shared: &Arc<Shared>, context: &Context, trouble: &mut Trouble) {
    if shared.nats.follow_lists.is_empty() {
        std::future::pending::<()>().await;
    }
    let mut followed: Vec<Followed> =
        shared.nats.follow_lists.iter().map(|(name, path)| Followed::new(shared, *name, path)).collect();
    loop {
        let mut outcome = Ok(());
        match context.get_stream_no_info(STREAM).await {
            Ok(stream) => {
                for list in &mut followed {
                    let looked = list.look(shared, context, &stream).await;
                    outcome =
                        outcome.and(looked.map_err(|what| format!("list {}: {what}", list.name.name())));
                }
            }
            Err(error) => outcome = Err(format!("stream {STREAM}: {}", one_line(&error))),
        }
        trouble.note(shared, &outcome, "lists are followed again");
        tokio::time::sleep(LOOK).await;
    }
}

/// A list that is followed.
struct Followed {
    name: ListName,
    path: PathBuf,
    /// The last sequence of its subject that was looked at.
    seen: u64,
    /// Sequences whose fault was told.
    refused: BTreeSet<u64>,
    /// What is in force, where it was published.
    in_force: Option<Published>,
}

/// Why a version is not taken.
enum Fault {
    /// It never will be.
    Version(String),
    /// It may be later.
    Now(String),
}

impl Followed {
    fn new(shared: &Shared, name: ListName, path: &Path) -> Followed {
        let in_force = fs::read(note_path(path)).ok().and_then(|jws| {
            let known = Published::verify(&jws, name.name(), &shared.nats.list_publishers).ok();
            known.filter(|known| is_in_force(shared, name, known))
        });
        if let Some(published) = &in_force {
            shared.counts.in_force(name, published.published_ms);
        }
        Followed { name, path: path.to_owned(), seen: 0, refused: BTreeSet::new(), in_force }
    }

    /// Looks once whether there is a version to be taken.
    async fn look(
        &mut self,
        shared: &Arc<Shared>,
        context: &Context,
        stream: &Stream<()>,
    ) -> Result<(), String> {
        let subject = Published::subject(self.name.name());
        let wrong = |error: &dyn std::error::Error| format!("stream {STREAM}: {}", one_line(error));
        let last = match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => message.sequence,
            // Nobody has published anything.
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(()),
            Err(error) => match error.kind() {
                RawMessageErrorKind::JetStream(error) if error.code() == 404 => return Ok(()),
                _ => return Err(wrong(&error)),
            },
        };
        let is_as_published = |known: &Published| is_in_force(shared, self.name, known);
        if last == self.seen && self.in_force.as_ref().is_none_or(is_as_published) {
            return Ok(());
        }
        let mut messages = BTreeMap::new();
        let mut next = 1;
        while next <= last {
            match stream.get_first_raw_message_by_subject(&subject, next).await {
                Ok(message) => {
                    next = message.sequence + 1;
                    messages.insert(message.sequence, message.payload);
                }
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
                Err(error) => return Err(wrong(&error)),
            }
        }
        let mut newest: Option<(u64, Published, Vec<u8>)> = None;
        for (sequence, jws) in messages {
            match Published::verify(&jws, self.name.name(), &shared.nats.list_publishers) {
                Err(what) => self.refuse(shared, sequence, &what),
                Ok(published) => {
                    let before = newest.as_ref().map(|(_, newest, _)| newest.published_ms);
                    if before.is_some_and(|before| published.published_ms <= before) {
                        self.refuse(shared, sequence, "it is not newer than the one before it");
                    } else {
                        newest = Some((sequence, published, jws.to_vec()));
                    }
                }
            }
        }
        if let Some((sequence, published, jws)) = newest {
            match self.take(shared, context, published, jws).await {
                Ok(()) => {}
                Err(Fault::Version(what)) => self.refuse(shared, sequence, &what),
                Err(Fault::Now(what)) => return Err(what),
            }
        }
        self.seen = last;
        Ok(())
    }

    fn refuse(&mut self, shared: &Shared, sequence: u64, what: &str) {
        if self.refused.insert(sequence) {
            shared.counts.refused(self.name);
            let name = self.name.name();
            shared.say(format!("nats: list {name}: version refused: {what}; what is in force stays"));
        }
        while self.refused.len() > 1000 {
            self.refused.pop_first();
        }
    }

    /// Takes a version, unless it is in force.
    async fn take(
        &mut self,
        shared: &Arc<Shared>,
        context: &Context,
        published: Published,
        jws: Vec<u8>,
    ) -> Result<(), Fault> {
        if let Some(in_force) = &self.in_force {
            if *in_force == published && is_in_force(shared, self.name, &published) {
                return Ok(());
            }
            if published.published_ms < in_force.published_ms {
                return Err(Fault::Version("it is older than the one in force".to_owned()));
            }
        }
        let (path, name) = (self.path.clone(), self.name);
        let note = move |path: &Path| {
            write_whole(&note_path(path), &jws).map_err(|error| Fault::Now(at(path, &error)))
        };
        if is_in_force(shared, name, &published) {
            note(&path)?;
        } else {
            let draft = path.with_added_extension("coming");
            fetch(context, &published, &draft).await.inspect_err(|_| {
                let _ = fs::remove_file(&draft);
            })?;
            let (own, wanted) = (shared.clone(), published.clone());
            let taking = tokio::task::spawn_blocking(move || {
                stand_back();
                let list = check(&own, name, &wanted, &draft).inspect_err(|_| {
                    let _ = fs::remove_file(&draft);
                })?;
                fs::rename(&draft, &path)
                    .and_then(|()| crate::store::keys::sync_directory(directory(&path)))
                    .map_err(|error| Fault::Now(at(&path, &error)))?;
                note(&path)?;
                Ok(Taken { name, path, list, published: wanted })
            });
            let taken = taking.await.map_err(|_| Fault::Version("reading it stumbled".to_owned()))??;
            shared.taken.lock().expect("no panic inside").push(taken);
            shared.counts.taken(name);
        }
        shared.counts.in_force(name, published.published_ms);
        self.in_force = Some(published);
        Ok(())
    }
}

/// Where what was published of the file in force is kept.
fn note_path(path: &Path) -> PathBuf {
    path.with_added_extension("published")
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {}", path.display(), explain_io(error))
}

fn is_in_force(shared: &Shared, name: ListName, published: &Published) -> bool {
    let is_coming = shared.taken.lock().expect("no panic inside").iter().any(|taken| taken.name == name);
    let setup = shared.setup.load();
    !is_coming && setup.policy.list(name).is_some_and(|list| list.version().to_string() == published.version)
}

/// Brings the file of a version, and sees that it is that file.
async fn fetch(context: &Context, published: &Published, draft: &Path) -> Result<(), Fault> {
    let store =
        |error: &dyn std::error::Error| Fault::Now(format!("object store {BUCKET}: {}", one_line(error)));
    let bucket = context.get_object_store(BUCKET).await.map_err(|error| store(&error))?;
    let mut object = bucket.get(published.object()).await.map_err(|error| store(&error))?;
    let disk = |error: io::Error| Fault::Now(at(draft, &error));
    fs::create_dir_all(directory(draft)).map_err(disk)?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft).map_err(disk)?;
    let mut hash = digest::Context::new(&SHA256);
    let mut bytes = 0;
    let mut piece = vec![0; 128 << 10];
    loop {
        let n = match tokio::time::timeout(SILENCE, object.read(&mut piece)).await {
            Ok(Ok(n)) => n,
            // The store's own digest does not fit, among others: what it says of it is not asked for again.
            Ok(Err(error)) => {
                return Err(Fault::Version(format!("its file cannot be read: {}", one_line(&error))));
            }
            Err(_) => return Err(store(&io::Error::other("a file stopped coming"))),
        };
        if n == 0 {
            break;
        }
        bytes += n as u64;
        if bytes > published.file_bytes {
            break;
        }
        hash.update(&piece[..n]);
        file.write_all(&piece[..n]).map_err(disk)?;
    }
    file.sync_all().map_err(disk)?;
    if bytes != published.file_bytes || hex(hash.finish().as_ref()) != published.file_sha256 {
        return Err(Fault::Version("its file is not the one that was signed".to_owned()));
    }
    Ok(())
}

/// Reads a version as a start would, all of it.
fn check(shared: &Shared, name: ListName, published: &Published, draft: &Path) -> Result<Arc<List>, Fault> {
    let setup = shared.setup.load_full();
    let (plan, plan_version) = (&*setup.policy.plan, setup.plan_version);
    let reading = Reading { plan, plan_version, name: Some(name) };
    let list = list_file::read(draft, &reading, &mut Untold)
        .map_err(|refused| Fault::Version(format!("its file is bad: {refused}").replace('\n', "; ")))?;
    list.verify().map_err(|error| Fault::Version(format!("its file is bad: {error}")))?;
    if list.version().to_string() != published.version || list.len() as u64 != published.entries {
        return Err(Fault::Version("its file is of another version than it says".to_owned()));
    }
    Ok(Arc::new(list))
}
