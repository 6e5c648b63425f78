//! Numbers watched while they call: one thread takes the calls of all workers and writes what it thinks of numbers into the table
//! that R18 asks. What is thought how is in `hunting`; docs/hunting.md, "While calls last".
//!
//! A worker copies a call into a [`Ring`] of its own and goes on. What the node saw before a restart is read from its journal;
//! until that is done nobody has a score.

mod tail;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use call::Decided;
use hunting::{CallRecord, Judged, Live, Seen, Told};
use journal::Shown;
use numbering::{Number, Owner};
use screening::{Score, Scores};
use tokio::sync::oneshot;

use crate::config::{Journal, Setup, Watch};
use crate::list_file::Untold;
use crate::metrics::Page;
use crate::query::{self, Found};
use crate::store::keys::Keys;
use crate::store::{now_ms, stand_back};

use tail::Noted;
pub use tail::{Ring, Tail, is_callers_own, is_vouched_for};

/// How often rings are looked into.
const TICK: Duration = Duration::from_millis(20);
const DAY_MS: i64 = 86_400_000;
/// Calls of the journal in a batch, and batches that wait.
const BATCH: usize = 4096;
const BATCHES: usize = 4;
/// Batches of call records that wait.
const RECORDS: usize = 8;
/// What becomes of records, as counters name it.
const OUTCOMES: [(Told, &str); 4] = [
    (Told::Counted, "counted"),
    (Told::Unwatched, "not-watched"),
    (Told::Late, "late"),
    (Told::Repeated, "repeated"),
];

/// How it goes.
#[derive(Default)]
pub struct Counts {
    pub watched: AtomicU64,
    pub room: AtomicU64,
    pub scored: AtomicU64,
    pub evicted: AtomicU64,
    pub unwatched: AtomicU64,
    pub late: AtomicU64,
    /// Call records by what became of them, as in [`OUTCOMES`].
    records: [AtomicU64; OUTCOMES.len()],
    /// When scores were last written; ms since 1970.
    pub evaluated_ms: AtomicI64,
}

impl Counts {
    /// For `/metrics`.
    pub fn write(&self, page: &mut Page) {
        let mut of = |name, kind, help, cause: &str, count: &AtomicU64| {
            page.head(name, kind, help);
            page.value(name, &[("cause", cause)], count.load(Ordering::Relaxed));
        };
        let help = "Numbers by trunks that call so much that they are watched.";
        of("qalqan_behaviour_watched_numbers", "gauge", help, "", &self.watched);
        let help = "Numbers by trunks that can be watched at once.";
        of("qalqan_behaviour_room_numbers", "gauge", help, "", &self.room);
        let help = "Numbers by trunks with two kinds of evidence and more.";
        of("qalqan_behaviour_scored_numbers", "gauge", help, "", &self.scored);
        let help = "Numbers no longer watched, for others call more and there was no room.";
        of("qalqan_behaviour_evicted_numbers_total", "counter", help, "", &self.evicted);
        let (name, help) = (
            "qalqan_behaviour_unwatched_calls_total",
            "Calls that are not counted of their number, by cause.",
        );
        of(name, "counter", help, "no-room", &self.unwatched);
        of(name, "counter", help, "late", &self.late);
        let name = "qalqan_behaviour_call_records_total";
        page.head(name, "counter", "Call records that were sent, by what became of them.");
        for ((_, outcome), count) in OUTCOMES.iter().zip(&self.records) {
            page.value(name, &[("outcome", outcome)], count.load(Ordering::Relaxed));
        }
        let name = "qalqan_behaviour_evaluation_age_seconds";
        page.head(name, "gauge", "How long ago scores were last written.");
        let age_ms = now_ms().saturating_sub(self.evaluated_ms.load(Ordering::Relaxed)).max(0);
        page.value(name, &[], age_ms as f64 / 1000.0);
    }
}

/// Somebody asks what is thought of a number.
type Question = (u64, oneshot::Sender<Vec<Judged>>);

/// The thread that watches, and what workers and those who ask need of it.
pub struct Watching {
    rings: Arc<Mutex<Vec<Arc<Ring>>>>,
    pub counts: Arc<Counts>,
    asked: Sender<Question>,
    told: SyncSender<Vec<Recorded>>,
}

/// The record of a call, with the place of its trunk.
pub type Recorded = (CallRecord, u16);

impl Watching {
    /// Starts the thread, which writes into the policy's table; `log` takes what people should read.
    pub fn start(
        watch: &Watch,
        setup: Arc<ArcSwap<Setup>>,
        stop: Arc<AtomicBool>,
        log: fn(&str),
    ) -> std::io::Result<(Watching, JoinHandle<()>)> {
        let (asked, questions) = channel();
        let (told, records) = sync_channel(RECORDS);
        let watching = Watching {
            rings: Arc::default(),
            counts: Arc::new(Counts { evaluated_ms: AtomicI64::new(now_ms()), ..Counts::default() }),
            asked,
            told,
        };
        let (give, before) = sync_channel(BATCHES);
        let (journal, scores) = (setup.load().journal.clone(), setup.load().policy.scores.clone());
        // Not waited for when the node ends.
        std::thread::Builder::new().name("watching-journal".to_owned()).spawn(move || {
            stand_back();
            if let Err(error) = read_journal(&journal, now_ms(), &give) {
                log(&format!("hunting.live: begins anew, for the journal does not say who called: {error}"));
            }
        })?;
        let watcher = Watcher {
            live: Live::new(watch.memory, watch.scale.thresholds.looked_at),
            setup,
            rings: watching.rings.clone(),
            before: Some(before),
            scores: scores.unwrap_or_default(),
            counts: watching.counts.clone(),
            questions,
            records,
            evaluated: None,
            log,
        };
        let thread = std::thread::Builder::new().name("watching".to_owned());
        Ok((watching, thread.spawn(move || watcher.run(&stop))?))
    }

    /// An end for another worker.
    pub fn tail(&self) -> Tail {
        let (tail, ring) = Ring::new();
        self.rings.lock().expect("no panic inside").push(ring);
        tail
    }

    /// Hands over how calls went; false: too many wait, and none of these was taken.
    pub fn tell(&self, records: Vec<Recorded>) -> bool {
        self.told.try_send(records).is_ok()
    }

    /// What is thought of a number, trunk by trunk; none: the thread is ending.
    pub async fn ask(&self, number: Number) -> Option<Vec<Judged>> {
        let (reply, judged) = oneshot::channel();
        self.asked.send((number.key().integer()?, reply)).ok()?;
        judged.await.ok()
    }
}

struct Watcher {
    live: Live,
    setup: Arc<ArcSwap<Setup>>,
    rings: Arc<Mutex<Vec<Arc<Ring>>>>,
    /// Calls of the last day out of the journal, while they come.
    before: Option<Receiver<Vec<Before>>>,
    scores: Arc<Scores>,
    counts: Arc<Counts>,
    questions: Receiver<Question>,
    records: Receiver<Vec<Recorded>>,
    evaluated: Option<Instant>,
    log: fn(&str),
}

/// A call of the journal, its trunk by name.
struct Before {
    call: Noted,
    trunk: Arc<str>,
}

impl Watcher {
    fn run(mut self, stop: &AtomicBool) {
        stand_back();
        while !stop.load(Ordering::Relaxed) {
            if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
                // A bug: what it made of calls may be wrong, so nobody has a score, and counting begins anew.
                self.scores.replace(&[], now_ms());
                if let Some(watch) = &self.setup.load().watch {
                    self.live = Live::new(watch.memory, watch.scale.thresholds.looked_at);
                }
                (self.log)("hunting.live: stumbled, and begins anew");
            }
            std::thread::sleep(TICK);
        }
    }

    fn turn(&mut self) {
        let (setup, now_ms) = (self.setup.load_full(), now_ms());
        self.live.tick(now_ms);
        // Before the rings are looked into: whoever asks has his answer from all calls of before.
        let questions: Vec<Question> = self.questions.try_iter().collect();
        let rings = self.rings.lock().expect("no panic inside").clone();
        for ring in rings {
            ring.take(|call| see(&mut self.live, &setup, call));
        }
        self.take_before(&setup);
        let Some(watch) = &setup.watch else {
            // Switched off by a reload.
            self.scores.replace(&[], now_ms);
            self.counts.scored.store(0, Ordering::Relaxed);
            self.records.try_iter().for_each(drop);
            return;
        };
        // One batch at a time: calls that come now do not wait for more.
        if let Ok(batch) = self.records.try_recv() {
            for (record, trunk) in batch {
                let told = self.live.tell(&record, trunk, &watch.scale.thresholds);
                let place = OUTCOMES.iter().position(|(outcome, _)| *outcome == told);
                self.counts.records[place.expect("all are there")].fetch_add(1, Ordering::Relaxed);
            }
        }
        let is_due = |evaluated: Instant| evaluated.elapsed() >= Duration::from_secs(watch.every_s);
        if self.before.is_none() && self.evaluated.is_none_or(is_due) {
            self.evaluated = Some(Instant::now());
            let scores: Vec<Score> =
                self.live.evaluate(&watch.scale, now_ms).iter().filter_map(score_of).collect();
            let without_room = self.scores.replace(&scores, now_ms);
            self.counts.scored.store((scores.len() - without_room) as u64, Ordering::Relaxed);
            self.counts.evaluated_ms.store(now_ms, Ordering::Relaxed);
        }
        for (number, reply) in questions {
            let _ = reply.send(self.live.of(number, &watch.scale, now_ms));
        }
        let (watched, room) = self.live.watched();
        for (count, value) in [
            (&self.counts.watched, watched as u64),
            (&self.counts.room, room as u64),
            (&self.counts.evicted, self.live.evicted),
            (&self.counts.unwatched, self.live.unwatched),
            (&self.counts.late, self.live.late),
        ] {
            count.store(value, Ordering::Relaxed);
        }
    }

    /// Some of what the journal has; calls that come now do not wait for it.
    fn take_before(&mut self, setup: &Setup) {
        let Some(before) = &self.before else { return };
        for _ in 0..BATCHES {
            match before.try_recv() {
                Ok(batch) => {
                    for Before { call, trunk } in batch {
                        let Some(id) = setup.policy.trunk_named(&trunk) else { continue };
                        see(&mut self.live, setup, Noted { trunk: setup.place(id), ..call });
                    }
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.before = None;
                    return;
                }
            }
        }
    }
}

fn number(digits: u64) -> Option<Number> {
    Number::from_digits(digits.to_string().as_bytes()).ok()
}

fn score_of(judged: &Judged) -> Option<Score> {
    let behaviour = call::Behaviour { score: judged.score, signals: judged.evidence.min(7) as u8 };
    Some(Score { number: number(judged.number)?, trunk: judged.trunk, behaviour })
}

/// Counts a call, but for one that shows a home number for which nobody vouched: its owner may not have called.
fn see(live: &mut Live, setup: &Setup, call: Noted) {
    let is_home = |number| setup.policy.plan.standing(number).owner == Owner::Home;
    if call.is_doubtful && number(call.calling).is_none_or(is_home) {
        return;
    }
    let Noted { calling, called, at_ms, trunk, .. } = call;
    live.see(&Seen { calling, called, trunk, at_ms });
}

/// Hands over the calls of the last day.
fn read_journal(journal: &Journal, now_ms: i64, give: &SyncSender<Vec<Before>>) -> Result<(), String> {
    let keys = Keys::of_numbers(&journal.keys)?;
    let source = query::Source::of_directory(&journal.directory, None, keys)?;
    let (mut batch, mut outcome) = (Vec::with_capacity(BATCH), Ok(()));
    let mut take = |found: &Found| match before(found) {
        Ok(Some(call)) => {
            batch.push(call);
            if batch.len() == BATCH {
                // Only a node that ends takes none.
                let _ = give.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
            }
        }
        Ok(None) => {}
        Err(what) => outcome = Err(what.to_owned()),
    };
    query::calls(source, (Some(now_ms - DAY_MS), now_ms), &mut Untold, &mut take)
        .map_err(|error| error.to_string())?;
    let _ = give.send(batch);
    outcome
}

fn before(found: &Found) -> Result<Option<Before>, &'static str> {
    let [calling, presentation, called, _] = &found.numbers;
    let judged = match found.verdict.decided {
        Decided::ByNetworkNumber => calling,
        Decided::ByPresentationNumber => presentation,
    };
    let number = |shown: &Shown| match shown {
        Shown::Party(party) => Ok(party.number().and_then(|number| number.key().integer())),
        Shown::Token(_) => Err("its numbers are hashed"),
        Shown::Closed => Err("its numbers are hidden, and their key is not at hand"),
    };
    let (Some(calling), Some(called)) = (number(judged)?, number(called)?) else { return Ok(None) };
    let is_doubtful = !is_vouched_for(found.class, &found.verdict);
    let call = Noted { calling, called, at_ms: found.time_ms, trunk: 0, is_doubtful };
    Ok(is_callers_own(&found.verdict).then(|| Before { call, trunk: found.trunk.clone() }))
}
