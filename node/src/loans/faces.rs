//! Faces shown before a camera: what is asked for, which pictures came, and what they come to.
//!
//! A face session is a citizen's session at the camera. It lives in the memory of the node that began it: killed with the node,
//! it is begun anew. The first step is the face at rest; then come commands in random order, and the next one is told only when
//! the one before is done, each with a name of its own (a nonce) and a window of time by this node's clock. Pictures are
//! looked at by a pool of threads of its own, off the workers of HTTP and off the thread of the loans.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use face::{Command, Embedding, PictureFault, Seen, Step, Thresholds};
use hyper::body::Bytes;
use journal::{hex, sha256};
use lending::{FaceJudgement, FaceOutcome};
use serde_json::{Value, json};

use super::counts::{Counts, count};
use super::face_pool::Pool;
use super::provider::Service;
use super::store::random;
use crate::config;
use crate::http::{Kind, Problem};

/// Face sessions at once; each holds what was seen, and for a provider its pictures.
const MOST: usize = 500;
/// A session at the camera that went away.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// On its way a picture may take so long beyond the window.
const GRACE: Duration = Duration::from_secs(2);
/// One picture in so many ms counts, at most.
const FRAME_MS: i64 = 200;
/// Of the face at rest.
const FRAMES_REST: usize = 5;
/// Without an engine of our own a step is done by so many.
const FRAMES_BLIND: usize = 8;
/// Bytes of a picture. The page sends 640 pixels, some 60 KiB.
pub const PICTURE: usize = 512 * 1024;
/// So many pictures are remembered, so that none counts twice.
const REMEMBERED: usize = 100_000;
/// Visual commands of a session at least.
const COMMANDS: usize = 3;

/// Hashes of pictures that came, and their order.
type Came = (HashSet<[u8; 16]>, VecDeque<[u8; 16]>);

/// Who judges, and the sessions under way.
pub struct Faces {
    settings: config::Faces,
    pool: Option<Pool>,
    service: Option<Service>,
    sessions: Mutex<HashMap<String, FaceSession>>,
    came: Mutex<Came>,
    counts: Arc<Counts>,
}

struct FaceSession {
    /// For the provider alone.
    iin: String,
    reference: Option<Embedding>,
    commands: Vec<Command>,
    done: Vec<Step>,
    nonce: String,
    shown: Instant,
    frames: Vec<(u32, Seen)>,
    /// Of all steps; kept only where somebody needs them.
    pictures: Vec<Picture>,
    blind: usize,
    is_busy: bool,
}

/// A picture as it came, for a provider or to be kept.
pub struct Picture {
    pub command: Option<Command>,
    pub at_ms: u32,
    pub jpeg: Bytes,
}

/// What a picture leads to.
pub enum Next {
    /// For the page.
    Told(Value),
    Judged {
        judgement: FaceJudgement,
        pictures: Vec<Vec<u8>>,
    },
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_session() -> Problem {
    let what = "no such face session here: it ended, its time is over or another began; begin anew";
    Problem::new(Kind::NoFaceSession, what)
}

impl Faces {
    /// Gives nothing, and says why in a line, where no face can be judged.
    pub fn start(settings: Option<&config::Faces>, counts: Arc<Counts>) -> Result<Faces, String> {
        let settings = settings.ok_or("there is no [loans.face]")?.clone();
        let pool = match &settings.models {
            Some(directory) => Some(Pool::start(directory, settings.workers)?),
            None => None,
        };
        let service = settings.provider.as_ref().map(Service::new).transpose()?;
        if pool.is_none() && service.is_none() {
            return Err("[loans.face] has neither models nor provider".to_owned());
        }
        let (sessions, came) = (Mutex::default(), Mutex::default());
        Ok(Faces { settings, pool, service, sessions, came, counts })
    }

    /// The model whose numbers a reference photo has to have; none where a provider has its own.
    pub fn model(&self) -> Option<&str> {
        let pool = self.pool.as_ref().filter(|_| self.service.is_none());
        pool.map(Pool::embedding_model)
    }

    /// A session begins; one that was under way ends.
    pub fn begin(&self, session: &str, iin: &str, reference: Option<Vec<u8>>) -> Result<Value, Problem> {
        let reference = reference.as_deref().and_then(Embedding::from_bytes);
        if self.service.is_none() && reference.is_none() {
            return Err(Problem::new(Kind::WrongState, "there is no reference photo of the person"));
        }
        let mut sessions = locked(&self.sessions);
        sessions.retain(|_, other| other.shown.elapsed() < FORGOTTEN);
        if sessions.len() >= MOST && !sessions.contains_key(session) {
            return Err(Problem::new(Kind::FacesBusy, "too many are before the camera: try again soon"));
        }
        let fresh = FaceSession {
            iin: iin.to_owned(),
            reference,
            commands: draw(self.settings.thresholds.commands),
            done: Vec::new(),
            nonce: hex(&random::<16>()),
            shown: Instant::now(),
            frames: Vec::new(),
            pictures: Vec::new(),
            blind: 0,
            is_busy: false,
        };
        let told = fresh.told(&self.settings);
        sessions.insert(session.to_owned(), fresh);
        self.counts.face_sessions.store(sessions.len() as u64, Ordering::Relaxed);
        Ok(told)
    }

    /// A picture came. `session` is the hash of a citizen's session, `nonce` names the step it is for.
    pub async fn see(&self, session: &str, nonce: &str, jpeg: Bytes) -> Result<Next, Problem> {
        let (is_late, expected) = {
            let mut sessions = locked(&self.sessions);
            let face = sessions.get_mut(session).filter(|face| face.nonce == nonce).ok_or_else(no_session)?;
            if face.is_busy {
                let what = "a picture of this session is being looked at: send one after the other";
                return Err(Problem::new(Kind::PictureRefused, what));
            }
            let window = Duration::from_millis(self.settings.command_ms as u64);
            let most = (self.settings.command_ms / FRAME_MS) as usize;
            let is_late = face.shown.elapsed() > window + GRACE || face.frames.len() >= most;
            if !is_late {
                self.note(&jpeg)?;
            }
            face.is_busy = true;
            (is_late, face.shown.elapsed().as_millis() as u32)
        };
        // Whatever comes of it, the session is free for the next picture.
        let free = Free { faces: self, session, nonce };
        if is_late {
            return self.end(free).await;
        }
        if !jpeg.starts_with(&[0xff, 0xd8, 0xff]) {
            count(&self.counts.picture_faults[PictureFault::NotAPicture as usize]);
            return Ok(Next::Told(json!({"again": PictureFault::NotAPicture})));
        }
        let seen = match &self.pool {
            Some(pool) => match pool.see(jpeg.clone()).await.inspect_err(|_| self.forget(&jpeg))? {
                Ok(seen) => Some(seen),
                Err(fault) => {
                    count(&self.counts.picture_faults[fault as usize]);
                    return Ok(Next::Told(json!({"again": fault})));
                }
            },
            None => None,
        };
        let is_last = {
            let mut sessions = locked(&self.sessions);
            let face = sessions.get_mut(session).filter(|face| face.nonce == nonce).ok_or_else(no_session)?;
            if self.service.is_some() || self.settings.keep_pictures_ms > 0 {
                face.pictures.push(Picture { command: face.command(), at_ms: expected, jpeg });
            }
            match seen {
                Some(seen) => face.frames.push((expected, seen)),
                None => face.blind += 1,
            }
            if !face.is_step_done(self.pool.is_some(), &self.settings.thresholds) {
                return Ok(Next::Told(json!({"seen": face.frames.len() + face.blind})));
            }
            let command = face.command();
            let frames = std::mem::take(&mut face.frames);
            face.done.push(Step { command, frames });
            let is_last = face.done.len() > face.commands.len();
            if !is_last {
                face.nonce = hex(&random::<16>());
                face.shown = Instant::now();
                face.blind = 0;
                face.is_busy = false;
                return Ok(Next::Told(face.told(&self.settings)));
            }
            is_last
        };
        debug_assert!(is_last);
        self.end(free).await
    }

    /// The session is over: what it comes to.
    async fn end(&self, free: Free<'_>) -> Result<Next, Problem> {
        let thresholds = &self.settings.thresholds;
        let mut face = {
            let mut sessions = locked(&self.sessions);
            let face = sessions.remove(free.session).ok_or_else(no_session)?;
            self.counts.face_sessions.store(sessions.len() as u64, Ordering::Relaxed);
            face
        };
        // Enough was seen of the last step, and still it was not done.
        let is_missed = face.command().is_some() && face.frames.len() >= thresholds.frames;
        if !face.frames.is_empty() {
            let (command, frames) = (face.command(), std::mem::take(&mut face.frames));
            face.done.push(Step { command, frames });
        }
        let commands: Vec<Command> = face.commands.clone();
        let keeps = self.settings.keep_pictures_ms > 0;
        let judgement = match &self.service {
            Some(service) => service.judge(&face.iin, &commands, &face.pictures).await?,
            None => {
                let pool = self.pool.as_ref().expect("one of both");
                let reference = face.reference.as_ref().expect("looked at when it began");
                let mut judged = pool.judge(&face.done, &commands, reference, thresholds);
                if is_missed && judged.outcome == FaceOutcome::TooLittle {
                    judged.outcome = FaceOutcome::CommandMissed;
                }
                judged
            }
        };
        let pictures = face.pictures.into_iter().filter(|_| keeps).map(|picture| picture.jpeg.to_vec());
        Ok(Next::Judged { judgement, pictures: pictures.collect() })
    }

    /// A reference photo as numbers.
    pub async fn numbers(&self, picture: Bytes) -> Result<(String, Vec<u8>), Problem> {
        let Some(pool) = &self.pool else {
            let what = "reference photos are the provider's own here: this node has no models";
            return Err(Problem::new(Kind::NotConfigured, what));
        };
        match pool.see(picture).await? {
            Ok(seen) => Ok((pool.embedding_model().to_owned(), seen.embedding.to_bytes())),
            Err(fault) => {
                count(&self.counts.picture_faults[fault as usize]);
                let name = serde_json::to_value(fault).expect("a name");
                let name = name.as_str().unwrap_or_default();
                Err(Problem::new(Kind::InvalidRequest, format!("picture: {name}")))
            }
        }
    }

    /// How long a reference photo is kept as a picture, ms; 0: not at all.
    pub fn keep_references_ms(&self) -> i64 {
        self.settings.keep_references_ms
    }

    /// No picture counts twice, in whatever session.
    fn note(&self, jpeg: &[u8]) -> Result<(), Problem> {
        let hash = hash(jpeg);
        let mut came = locked(&self.came);
        if !came.0.insert(hash) {
            return Err(Problem::new(
                Kind::PictureRefused,
                "this very picture was sent before: take another",
            ));
        }
        came.1.push_back(hash);
        if came.1.len() > REMEMBERED
            && let Some(oldest) = came.1.pop_front()
        {
            came.0.remove(&oldest);
        }
        Ok(())
    }

    /// A picture that nobody looked at may be sent again.
    fn forget(&self, jpeg: &[u8]) {
        let hash = hash(jpeg);
        let mut came = locked(&self.came);
        if came.0.remove(&hash) {
            came.1.retain(|other| *other != hash);
        }
    }
}

fn hash(jpeg: &[u8]) -> [u8; 16] {
    sha256(jpeg)[..16].try_into().expect("16 bytes")
}

impl FaceSession {
    /// None: the face at rest.
    fn command(&self) -> Option<Command> {
        self.done.len().checked_sub(1).and_then(|n| self.commands.get(n)).copied()
    }

    fn is_step_done(&self, has_engine: bool, thresholds: &Thresholds) -> bool {
        if !has_engine {
            return self.blind >= FRAMES_BLIND;
        }
        let Some(command) = self.command() else {
            return self.frames.len() >= thresholds.frames.max(FRAMES_REST);
        };
        let at_rest = self.done.first().map_or(&[][..], |step| step.frames.as_slice());
        let at_rest: Vec<Seen> = at_rest.iter().map(|(_, seen)| seen.clone()).collect();
        self.frames.len() >= thresholds.frames && face::is_done(thresholds, command, &at_rest, &self.frames)
    }

    /// The step that is asked for now.
    fn told(&self, settings: &config::Faces) -> Value {
        json!({
            "step": self.done.len(),
            "steps": self.commands.len() + 1,
            "command": self.command(),
            "nonce": self.nonce,
            "within_ms": settings.command_ms,
        })
    }
}

/// Frees a session for its next picture.
struct Free<'f> {
    faces: &'f Faces,
    session: &'f str,
    nonce: &'f str,
}

impl Drop for Free<'_> {
    fn drop(&mut self) {
        let mut sessions = locked(&self.faces.sessions);
        if let Some(face) = sessions.get_mut(self.session).filter(|face| face.nonce == self.nonce) {
            face.is_busy = false;
        }
    }
}

/// What a sheet of paper held before the camera can do too.
const PAPER: [Command; 3] = [Command::TiltLeft, Command::TiltRight, Command::ComeCloser];

/// Different commands in random order, at least one of them such as paper cannot do.
fn draw(count: usize) -> Vec<Command> {
    loop {
        let mut left = Command::ALL.to_vec();
        let mut drawn = Vec::new();
        while drawn.len() < count.clamp(COMMANDS, Command::ALL.len()) {
            // Of 2^32 the remainder favours none of seven by more than one in 10^8.
            let n = u32::from_be_bytes(random()) as usize % left.len();
            drawn.push(left.swap_remove(n));
        }
        // One in 35 draws of three is drawn again.
        if !drawn.iter().all(|command| PAPER.contains(command)) {
            return drawn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paper_alone_never_meets_the_commands() {
        for _ in 0..2000 {
            let drawn = draw(3);
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 3);
            assert!(drawn.iter().any(|command| !PAPER.contains(command)), "{drawn:?}");
        }
    }
}
