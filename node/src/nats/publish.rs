//! `qalqan lists publish` and `lists history`: versions of lists for nodes that follow them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{self, ObjectMetadata, ObjectStore};
use async_nats::jetstream::stream::{Config, RawMessageErrorKind, StorageType, Stream};
use journal::{Jws, SigningKey, file_hash};
use screening::ListName;

use super::published::{BUCKET, HISTORY, Published, STREAM};
use super::{connect, one_line, runtime};
use crate::config::{Nats, Setup, explain_io};
use crate::list_file::{self, Reading, Untold};
use crate::store::now_ms;

/// What a person wants to publish.
pub enum Which<'a> {
    File(&'a Path),
    /// An earlier version, by the beginning of its hash.
    Earlier(&'a str),
}

pub struct Change<'a> {
    pub name: ListName,
    pub which: Which<'a>,
    pub author: &'a str,
    pub reason: &'a str,
}

/// Publishes a version; what is published is given back.
pub fn publish(setup: &Setup, change: &Change, key: &SigningKey) -> Result<Published, String> {
    let name = change.name.name();
    let file = match change.which {
        Which::File(path) => Some(read(setup, change.name, path)?),
        Which::Earlier(_) => None,
    };
    with_server(setup, async |context, nats| {
        let stream = stream(context, nats).await?;
        let history = history_of(&stream, name).await?;
        let own = |jws: &[u8]| Published::verify(jws, name, &[key.public()]);
        let known = history.values().filter_map(|jws| own(jws).ok());
        let bucket = bucket(context, nats).await?;
        let mut published = match (file, &change.which) {
            (Some((published, bytes)), _) => {
                put(&bucket, &published, &bytes).await?;
                published
            }
            (None, Which::Earlier(version)) => {
                let mut found: Vec<Published> =
                    known.filter(|known| known.version.starts_with(version)).collect();
                found.dedup_by(|a, b| a.version == b.version);
                found.pop().ok_or_else(|| {
                    format!("no version {version} of {name} that this key published is kept: qalqan lists history {name}")
                })?
            }
            (None, Which::File(_)) => unreachable!("read above"),
        };
        let last =
            history.values().filter_map(|jws| Published::read(jws, name).ok()).map(|last| last.published_ms);
        published.author = change.author.to_owned();
        published.reason = change.reason.to_owned();
        // Newer than what it replaces, also where a clock is behind.
        published.published_ms = last.max().map_or(now_ms(), |last| now_ms().max(last.saturating_add(1)));
        let subject = Published::subject(name);
        let wrong = |error: &dyn std::error::Error| format!("stream {STREAM}: {}", one_line(error));
        let ack =
            context.publish(subject, published.sign(key).into()).await.map_err(|error| wrong(&error))?;
        ack.await.map_err(|error| wrong(&error))?;
        tidy(&bucket, &stream, name, &history).await?;
        Ok(published)
    })
}

/// The versions of a list that are kept, the oldest first, each with the id of the key that signed it.
pub fn history(setup: &Setup, name: ListName) -> Result<Vec<(String, Published)>, String> {
    with_server(setup, async |context, nats| {
        let history = history_of(&stream(context, nats).await?, name.name()).await?;
        let read =
            |jws: &Vec<u8>| Some((Jws::parse(jws).ok()?.key_id, Published::read(jws, name.name()).ok()?));
        Ok(history.values().filter_map(read).collect())
    })
}

fn with_server<T>(
    setup: &Setup,
    work: impl AsyncFnOnce(&Context, &Nats) -> Result<T, String>,
) -> Result<T, String> {
    let nats =
        setup.nats.as_ref().ok_or("no [nats] in the configuration: name the url of the servers there")?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut last = String::new();
        for url in &nats.urls {
            match connect(nats, url, Default::default()).await {
                Ok(context) => return work(&context, nats).await,
                Err(what) => last = format!("{url}: {what}"),
            }
        }
        Err(last)
    });
    runtime.shutdown_background();
    outcome
}

/// Reads a file as nodes will.
fn read(setup: &Setup, name: ListName, path: &Path) -> Result<(Published, Vec<u8>), String> {
    let place = |what: String| format!("{}: {what}", path.display());
    let plan = &*setup.policy.plan;
    let reading = Reading { plan, plan_version: setup.plan_version, name: Some(name) };
    let list = list_file::read(path, &reading, &mut Untold).map_err(|refused| place(refused.to_string()))?;
    list.verify().map_err(|error| place(error.to_string()))?;
    let bytes = fs::read(path).map_err(|error| place(explain_io(&error)))?;
    let (version, sha256) = (list.version().to_string(), file_hash(&bytes));
    Ok((Published::of(name.name(), version, sha256, bytes.len() as u64, list.len() as u64), bytes))
}

async fn stream(context: &Context, nats: &Nats) -> Result<Stream, String> {
    if let Ok(stream) = context.get_stream(STREAM).await {
        return Ok(stream);
    }
    let made = context.create_stream(Config {
        name: STREAM.to_owned(),
        description: Some("Published versions of Qalqan's lists, signed".to_owned()),
        subjects: vec!["qalqan.list.*".to_owned()],
        max_messages_per_subject: HISTORY,
        storage: StorageType::File,
        num_replicas: nats.replicas,
        ..Config::default()
    });
    made.await.map_err(|error| format!("stream {STREAM} cannot be made: {}", one_line(&error)))
}

async fn bucket(context: &Context, nats: &Nats) -> Result<ObjectStore, String> {
    if let Ok(bucket) = context.get_object_store(BUCKET).await {
        return Ok(bucket);
    }
    let made = context.create_object_store(object_store::Config {
        bucket: BUCKET.to_owned(),
        description: Some("Files of Qalqan's lists".to_owned()),
        num_replicas: nats.replicas,
        ..Default::default()
    });
    made.await.map_err(|error| format!("object store {BUCKET} cannot be made: {}", one_line(&error)))
}

/// What is kept of a list, by sequence.
async fn history_of(stream: &Stream, name: &str) -> Result<BTreeMap<u64, Vec<u8>>, String> {
    let mut history = BTreeMap::new();
    let mut next = 1;
    loop {
        match stream.get_first_raw_message_by_subject(Published::subject(name), next).await {
            Ok(message) => {
                next = message.sequence + 1;
                history.insert(message.sequence, message.payload.to_vec());
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(history),
            Err(error) => return Err(format!("stream {STREAM}: {}", one_line(&error))),
        }
    }
}

/// Puts a file there, in pieces, unless it is there.
async fn put(bucket: &ObjectStore, published: &Published, bytes: &[u8]) -> Result<(), String> {
    let name = published.object();
    if bucket.info(&name).await.is_ok_and(|info| !info.deleted && info.size == bytes.len()) {
        return Ok(());
    }
    let meta = ObjectMetadata { name, ..Default::default() };
    let put = bucket.put(meta, &mut &*bytes).await;
    put.map(drop).map_err(|error| format!("object store {BUCKET}: {}", one_line(&error)))
}

/// Removes files that no version names any more.
async fn tidy(
    bucket: &ObjectStore,
    stream: &Stream,
    name: &str,
    before: &BTreeMap<u64, Vec<u8>>,
) -> Result<(), String> {
    let after = history_of(stream, name).await?;
    let objects = |history: &BTreeMap<u64, Vec<u8>>| -> Vec<String> {
        history.values().filter_map(|jws| Some(Published::read(jws, name).ok()?.object())).collect()
    };
    let kept = objects(&after);
    for object in objects(before).iter().filter(|object| !kept.contains(object)) {
        // One that is gone already is as good.
        let _ = bucket.delete(object).await;
    }
    Ok(())
}
