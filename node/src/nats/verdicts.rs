//! Verdicts to a stream: in the journal's order, each once, whatever is killed meanwhile.
//!
//! A batch goes out at once, and the next when the stream has taken all of it; then the position is written down. After
//! a break the events that the stream has beyond the position are looked up and not sent again, so that nothing is there
//! twice, however long the break was. Within the stream's window `Nats-Msg-Id` says the same.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, RawMessageErrorKind, StorageType, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::segments::{Batch, MOST, Reading};
use super::{PAUSE, Shared, Trouble, one_line};
use crate::config::{Nats, Verdicts};
use crate::store::bases::write_whole;
use crate::store::shelf::number;

const FILE: &str = "nats-verdicts.json";
const MSG_ID: &str = "Nats-Msg-Id";
/// Batches that are read ahead.
const AHEAD: usize = 2;

/// How far verdicts went: beside the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Position {
    /// The entry of the journal that is read on, and how many of its records are done.
    segment: u64,
    record: u64,
    /// The stream, and the sequence of the last event that it has of this node; none: nothing went yet.
    stream: String,
    sequence: Option<u64>,
}

impl Position {
    /// Begins with what is sealed from now on, where nothing was ever sent. Called before the journal is opened.
    pub fn begin(directory: &Path, nats: &Nats) -> io::Result<()> {
        let path = directory.join(FILE);
        if nats.verdicts == Verdicts::None || path.exists() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let segments = match fs::read_dir(directory.join("segments")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries?),
        };
        let names = segments.into_iter().flatten().flatten().map(|entry| entry.file_name());
        let last = names.filter_map(|name| number(name.to_str()?, "seal")).max();
        let segment = last.map_or(0, |n| n + 1);
        let position = Position { segment, record: 0, stream: nats.verdict_stream.clone(), sequence: None };
        position.write(&path)
    }

    fn read(path: &Path) -> Result<Position, String> {
        let wrong = |what: String| {
            format!(
                "{}: {what}: write {{\"segment\":N,\"record\":0,\"stream\":\"\",\"sequence\":null}} to go on from segment N",
                path.display()
            )
        };
        let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        write_whole(path, &serde_json::to_vec(self).expect("plain values"))
    }
}

/// Sends for as long as the connection stands; comes back when the node stops and all is sent.
pub(super) async fn send(shared: &Arc<Shared>, context: &Context, trouble: &mut Trouble) {
    if shared.nats.verdicts == Verdicts::None {
        std::future::pending::<()>().await;
    }
    loop {
        let outcome = Sending::begin(shared, context, trouble).await;
        if outcome.is_ok() {
            return;
        }
        trouble.note(shared, &outcome, "");
        tokio::time::sleep(PAUSE).await;
    }
}

struct Sending<'s> {
    shared: &'s Arc<Shared>,
    context: &'s Context,
    path: PathBuf,
    position: Position,
    /// Events that the stream has beyond the position.
    there: HashSet<String>,
}

impl Sending<'_> {
    async fn begin(shared: &Arc<Shared>, context: &Context, trouble: &mut Trouble) -> Result<(), String> {
        let path = shared.setup.load().journal.directory.join(FILE);
        let mut position = Position::read(&path)?;
        let stream = stream(shared, context).await?;
        let last = stream.cached_info().state.last_sequence;
        if position.stream != shared.nats.verdict_stream {
            position.stream.clone_from(&shared.nats.verdict_stream);
            position.sequence = None;
        }
        // A stream that is shorter than it was is another one.
        position.sequence = match position.sequence {
            Some(sequence) if sequence > last => Some(0),
            None => Some(last),
            known => known,
        };
        position.write(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let there = beyond(shared, &stream, position.sequence.unwrap_or(last)).await?;
        let (give, mut batches) = mpsc::channel(AHEAD);
        let (segment, record) = (position.segment, position.record);
        let reading = Reading::new(shared.clone(), give);
        let read = tokio::task::spawn_blocking(move || reading.run(segment, record));
        let mut sending = Sending { shared, context, path, position, there };
        while let Some(batch) = batches.recv().await {
            let is_last = batch.is_last;
            sending.send(batch).await?;
            trouble.note(shared, &Ok(()), "verdicts go on being sent");
            if is_last {
                return Ok(());
            }
        }
        match read.await {
            Ok(Ok(())) => Err("reading segments ended".to_owned()),
            Ok(Err(what)) => Err(what),
            Err(_) => Err("reading segments stumbled".to_owned()),
        }
    }

    /// Sends a batch, and writes down that it went.
    async fn send(&mut self, batch: Batch) -> Result<(), String> {
        let stream = &self.shared.nats.verdict_stream;
        let wrong = |error: &dyn std::error::Error| format!("stream {stream}: {}", one_line(error));
        let mut acks = Vec::with_capacity(batch.messages.len());
        let all = batch.messages.len() as u64;
        for message in batch.messages {
            if self.there.remove(&message.id) {
                continue;
            }
            let mut headers = HeaderMap::new();
            headers.insert(MSG_ID, message.id.as_str());
            let ack = self.context.publish_with_headers(message.subject, headers, message.json.into()).await;
            acks.push(ack.map_err(|error| wrong(&error))?);
        }
        for ack in acks {
            let ack = ack.await.map_err(|error| wrong(&error))?;
            self.position.sequence = self.position.sequence.max(Some(ack.sequence));
        }
        self.shared.counts.sent.fetch_add(all, Ordering::Relaxed);
        let after = (batch.segment, batch.record);
        if after != (self.position.segment, self.position.record) {
            (self.position.segment, self.position.record) = after;
            self.position.write(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))?;
        }
        Ok(())
    }
}

/// The stream of verdicts, made where there is none.
async fn stream(shared: &Shared, context: &Context) -> Result<Stream, String> {
    let nats = &shared.nats;
    let name = &nats.verdict_stream;
    match context.get_stream(name).await {
        Ok(stream) => return Ok(stream),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.code() == 404 => {}
            _ => return Err(format!("stream {name}: {}", one_line(&error))),
        },
    }
    let days = u64::from(shared.setup.load().journal.keep_days);
    let made = context.create_stream(Config {
        name: name.clone(),
        description: Some("Verdicts of Qalqan, an event for each".to_owned()),
        subjects: vec!["qalqan.verdict.>".to_owned()],
        // Numbers in any form are not kept longer here than in the journal.
        max_age: Duration::from_secs(days * 86_400),
        storage: StorageType::File,
        num_replicas: nats.replicas,
        ..Config::default()
    });
    made.await.map_err(|error| format!("stream {name} cannot be made: {}", one_line(&error)))
}

/// The ids of this node's events behind a sequence: those of batches that were on their way when a connection broke.
async fn beyond(shared: &Shared, stream: &Stream, sequence: u64) -> Result<HashSet<String>, String> {
    let subject = format!("qalqan.verdict.{}.>", shared.nats.node);
    let mut ids = HashSet::new();
    let mut next = sequence + 1;
    while ids.len() < 2 * MOST {
        match stream.get_first_raw_message_by_subject(&subject, next).await {
            Ok(message) => {
                next = message.sequence + 1;
                ids.extend(message.headers.get(MSG_ID).map(|id| id.as_str().to_owned()));
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
            Err(error) => return Err(format!("stream {}: {}", shared.nats.verdict_stream, one_line(&error))),
        }
    }
    Ok(ids)
}
