//! The engine's threads: a few, with a short queue before them. Who finds it full is told to come again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use face::{Command, Embedding, Engine, MODEL_FILES, Outcome, PictureFault, Seen, Step, Thresholds};
use hyper::body::Bytes;
use lending::{FaceJudgement, FaceOutcome};
use tokio::sync::oneshot;

use crate::config::explain_io;
use crate::http::{Kind, Problem};

/// Pictures that may wait for each thread.
const WAITING: usize = 4;

type Looked = Result<Seen, PictureFault>;

struct Job {
    picture: Bytes,
    reply: oneshot::Sender<Looked>,
}

pub struct Pool {
    jobs: SyncSender<Job>,
    versions: Vec<String>,
    embedding_model: String,
}

impl Pool {
    /// Loads the models of a directory and starts the threads; the error is a line.
    pub fn start(directory: &Path, threads: usize) -> Result<Pool, String> {
        let engine = Arc::new(load(directory, threads)?);
        let (jobs, waiting) = sync_channel(WAITING * threads);
        let waiting = Arc::new(Mutex::new(waiting));
        for n in 0..threads {
            let (engine, waiting) = (engine.clone(), waiting.clone());
            let thread = std::thread::Builder::new().name(format!("face-{n}"));
            thread.spawn(move || work(&engine, &waiting)).map_err(|error| error.to_string())?;
        }
        let versions: Vec<String> = engine.versions().split(", ").map(str::to_owned).collect();
        let of_embedding = versions.iter().find(|version| version.contains("feature"));
        Ok(Pool { jobs, embedding_model: of_embedding.cloned().unwrap_or_default(), versions })
    }

    /// Looks at a picture; waits for the answer, not for a place in the queue.
    pub async fn see(&self, picture: Bytes) -> Result<Looked, Problem> {
        let busy = || Problem::new(Kind::FacesBusy, "too many pictures wait: send it again");
        let (reply, looked) = oneshot::channel();
        match self.jobs.try_send(Job { picture, reply }) {
            Ok(()) => looked.await.map_err(|_| busy()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(busy()),
        }
    }

    pub fn embedding_model(&self) -> &str {
        &self.embedding_model
    }
}

fn work(engine: &Engine, waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A picture that makes the engine stumble is one that cannot be used; the thread goes on.
        let looked = catch_unwind(AssertUnwindSafe(|| engine.see(&job.picture)));
        let _ = job.reply.send(looked.unwrap_or(Err(PictureFault::NotAPicture)));
    }
}

impl Pool {
    /// What the steps of a session come to.
    pub fn judge(
        &self,
        steps: &[Step],
        commands: &[Command],
        reference: &Embedding,
        thresholds: &Thresholds,
    ) -> FaceJudgement {
        let judged = face::judge(thresholds, reference, steps);
        let set = serde_json::to_value(thresholds).unwrap_or_default();
        let set = set.as_object().into_iter().flatten();
        let set = set.filter_map(|(name, value)| Some((name.clone(), thousandths(value.as_f64()? as f32))));
        let is_compared = judged.outcome != Outcome::TooLittle;
        FaceJudgement {
            outcome: outcome(judged.outcome),
            similarity: is_compared.then(|| thousandths(judged.similarity)),
            alive: is_compared.then(|| thousandths(judged.alive)),
            judged_by: "local".to_owned(),
            versions: self.versions.clone(),
            thresholds: set.collect(),
            commands: commands.iter().map(|command| command.name().to_owned()).collect(),
            pictures: steps.iter().map(|step| step.frames.len() as u32).sum(),
        }
    }
}

fn outcome(outcome: Outcome) -> FaceOutcome {
    match outcome {
        Outcome::Matched => FaceOutcome::Matched,
        Outcome::NotTheSame => FaceOutcome::NotTheSame,
        Outcome::Changed => FaceOutcome::Changed,
        Outcome::NotAlive => FaceOutcome::NotAlive,
        Outcome::CommandMissed => FaceOutcome::CommandMissed,
        Outcome::TooLittle => FaceOutcome::TooLittle,
    }
}

/// A score as it is kept.
pub fn thousandths(score: f32) -> i32 {
    if score.is_finite() { (score * 1000.0).round() as i32 } else { 0 }
}

/// Reads the models of a directory.
fn load(directory: &Path, threads: usize) -> Result<Engine, String> {
    let shown = |file: &str, what: &str| format!("models {}: {what}", directory.join(file).display());
    let mut files = Vec::new();
    for file in MODEL_FILES {
        let read = std::fs::read(directory.join(file));
        files.push(read.map_err(|error| shown(file, &explain_io(&error)))?);
    }
    let files = files.try_into().expect("as many as there are names");
    Engine::load(files, threads).map_err(|fault| shown(fault.file, &fault.what))
}
