//! From what was asked to verdicts: judged, kept and counted exactly as calls that come by SIP.
//!
//! A question is answered whole or refused whole. But an emergency call passes whatever else is wrong with the
//! question: an unknown trunk, a key that ran out last night, a field that nobody knows.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use call::{Call, Question, Reason, Rule, Treatment, Verdict};
use journal::Record;
use rules::Language;
use screening::{Fields, Screening};

use super::answer::{Answer, Explained, Heard};
use super::asked::{Asked, AskedCall};
use super::keys::Key;
use super::problem::{Kind, Problem};
use crate::config::Setup;
use crate::door::{UNKNOWN_SOURCE, emergency_call, from_text};
use crate::exchange::{Line, Told, about, until};
use crate::stats::WorkerStats;
use crate::store::Writer;
use crate::traces::Origin;

/// How far a call's own time may be from the node's clock, ms.
const PAST_MS: i64 = 86_400_000;
const FUTURE_MS: i64 = 60_000;

/// What a question is answered by.
pub struct Bench<'b> {
    pub setup: &'b Arc<Setup>,
    pub stats: &'b WorkerStats,
    /// To those who ask other operators.
    pub line: Option<&'b Line>,
    pub language: Language,
    pub origin: Origin,
    pub now_ms: i64,
}

/// Who asks: somebody with a key, or somebody who needs none.
pub type Asker<'k> = Option<&'k Key>;

/// The calls of a question, judged as far as this node knows by itself.
pub struct Judged<'b> {
    calls: Vec<JudgedCall<'b>>,
    is_array: bool,
}

struct JudgedCall<'b> {
    call: Call,
    call_id: Cow<'b, str>,
    /// What the journal keeps as its time.
    time_ms: i64,
    /// None: an emergency call from no trunk.
    screening: Option<Screening<'b>>,
    told: Vec<(Question, Told)>,
    took_ns: u64,
}

impl<'b> Bench<'b> {
    /// Reads a body and judges its calls.
    pub fn judge(&self, body: &'b [u8], asker: Asker) -> Result<Judged<'b>, Problem> {
        let ready = |call, what: &str| {
            self.ready(call, asker).map_err(|(kind, why)| Problem::new(kind, format!("{what}{why}")))
        };
        match Asked::read(body)? {
            Asked::One(call) => Ok(Judged { calls: vec![ready(call, "")?], is_array: false }),
            Asked::Many(calls) => {
                let calls = calls.into_iter().enumerate();
                let calls = calls.map(|(index, call)| ready(call, &format!("call {}: ", index + 1)));
                Ok(Judged { calls: calls.collect::<Result<_, _>>()?, is_array: true })
            }
        }
    }

    /// The call of a question that is refused, if it is an emergency call all the same.
    pub fn emergency(&self, body: &[u8]) -> Option<Judged<'b>> {
        let asked: serde_json::Value = serde_json::from_slice(body).ok()?;
        let called = asked.get("called")?.as_str()?;
        let call = emergency_call(&self.setup.policy, called, self.now_ms)?;
        let call_id = asked.get("call_id").and_then(|id| id.as_str()).unwrap_or_default();
        let call = self.screened(call, call_id.to_owned().into(), self.now_ms);
        Some(Judged { calls: vec![call], is_array: false })
    }

    fn ready(&self, asked: AskedCall<'b>, asker: Asker) -> Result<JudgedCall<'b>, (Kind, String)> {
        let policy = &self.setup.policy;
        let known = policy.trunk_named(&asked.trunk);
        let Some(trunk) = known.filter(|&trunk| asker.is_none_or(|key| key.may_ask(trunk))) else {
            self.stats.unknown_source.add(1);
            if let Some(call) = emergency_call(policy, &asked.called, self.now_ms) {
                return Ok(self.screened(call, asked.call_id.0, self.now_ms));
            }
            let what = "the trunk is not in the configuration, or the key may not ask about it";
            return Err((Kind::TrunkNotKnown, what.to_owned()));
        };
        let time_ms = match self.time_ms(asked.time.as_ref().map(|time| &*time.0)) {
            Ok(time_ms) => time_ms,
            // The time is no reason to keep an emergency call waiting.
            Err(_) if emergency_call(policy, &asked.called, self.now_ms).is_some() => self.now_ms,
            Err(what) => return Err((Kind::InvalidCall, what)),
        };
        let text = |text| from_text(policy, text);
        let presentation = text(&asked.presentation.0);
        let is_hidden = presentation.eq_ignore_ascii_case("anonymous");
        let fields = Fields {
            calling: &text(&asked.calling.0),
            presentation: &presentation,
            called: &text(&asked.called),
            redirecting: &text(&asked.redirecting.0),
            privacy: asked.privacy.unwrap_or(false) || is_hidden,
        };
        let call = policy.intake(self.now_ms, trunk, &fields);
        Ok(self.screened(call, asked.call_id.0, time_ms))
    }

    fn screened(&self, call: Call, call_id: Cow<'b, str>, time_ms: i64) -> JudgedCall<'b> {
        let started = Instant::now();
        let policy = &self.setup.policy;
        let screening = (call.trunk != UNKNOWN_SOURCE).then(|| match self.line {
            Some(_) => Screening::start(policy, call, self.now_ms),
            None => Screening::closed(policy, call),
        });
        let took_ns = started.elapsed().as_nanos() as u64;
        JudgedCall { call, call_id, time_ms, screening, told: Vec::new(), took_ns }
    }

    /// Asks other operators, side by side for all calls, until each has its verdict or its time is up.
    pub async fn ask(&self, judged: &mut Judged<'_>) {
        let Some(line) = self.line else { return };
        let started = Instant::now();
        loop {
            let mut asked = Vec::new();
            for (index, judged) in judged.calls.iter_mut().enumerate() {
                let Some(screening) = &mut judged.screening else { continue };
                let Some(question) = screening.poll_question() else { continue };
                match line.ask(self.setup, &judged.call, question, until(screening, self.now_ms)) {
                    Some(told) => asked.push((index, question, told)),
                    None => {
                        self.stats.unasked.add(1);
                        screening.close();
                    }
                }
            }
            if asked.is_empty() {
                return;
            }
            for (index, question, told) in asked {
                let judged = &mut judged.calls[index];
                let screening = judged.screening.as_mut().expect("it asked");
                match told.await {
                    Ok(told) => {
                        screening.handle_answer(about(question), told.answer);
                        judged.told.push((question, told));
                    }
                    // The thread that asks is ending.
                    Err(_) => drop(screening.close()),
                }
                judged.took_ns = started.elapsed().as_nanos() as u64;
            }
        }
    }

    /// Keeps and counts the verdicts, and writes them as JSON.
    pub fn answer(&self, judged: Judged<'_>, journal: &mut Writer, explained: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        if judged.is_array {
            out.push(b'[');
        }
        for (index, judged) in judged.calls.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.one(judged, journal, explained, &mut out);
        }
        if judged.is_array {
            out.push(b']');
        }
        out
    }

    fn time_ms(&self, text: Option<&str>) -> Result<i64, String> {
        let Some(text) = text else { return Ok(self.now_ms) };
        let time: jiff::Timestamp =
            text.parse().map_err(|_| "time is not of the form 2026-03-02T12:00:00Z (RFC 3339)".to_owned())?;
        let time_ms = time.as_millisecond();
        match (self.now_ms - PAST_MS..=self.now_ms + FUTURE_MS).contains(&time_ms) {
            true => Ok(time_ms),
            false => Err("time is more than a day ago or a minute ahead: leave it out, or judge recorded \
                          calls by qalqan replay"
                .to_owned()),
        }
    }

    fn one(&self, judged: JudgedCall<'_>, journal: &mut Writer, explained: bool, out: &mut Vec<u8>) {
        let Bench { setup, language, .. } = *self;
        let policy = &setup.policy;
        let JudgedCall { mut call, call_id, time_ms, screening, told, took_ns } = judged;
        let is_from_nowhere = screening.is_none();
        let (verdict, facts) = match screening {
            None => (Verdict::of_rule(Rule::R00, Treatment::Allow, Reason::EmergencyNumber), Vec::new()),
            Some(mut screening) if explained => screening.explain(),
            Some(mut screening) => (screening.close(), Vec::new()),
        };
        if let Some(line) = self.line {
            line.register(setup, &call, &verdict);
        }
        call.time_ms = time_ms;
        self.keep(call, verdict, &call_id, took_ns, journal);
        let heard = told.iter().map(|(question, told)| Heard::new(question, told)).collect();
        let answer = Answer::new(&verdict, policy.basis_id(), heard, language);
        let written = match explained {
            true => {
                let trunk = match is_from_nowhere {
                    true => "unknown-source",
                    false => &policy.trunk(call.trunk).name,
                };
                let answer = Explained::new(policy, trunk, &call, answer, verdict.decided, &facts, language);
                serde_json::to_writer(out, &answer)
            }
            false => serde_json::to_writer(out, &answer),
        };
        written.expect("plain values into memory");
    }

    fn keep(&self, call: Call, verdict: Verdict, call_id: &str, took_ns: u64, journal: &mut Writer) {
        let took_ns = u32::try_from(took_ns).unwrap_or(u32::MAX);
        let basis = self.setup.policy.basis_id();
        let record = Record::new(call, verdict, basis, took_ns, call_id.as_bytes());
        if !journal.append(&record) {
            self.stats.journal_lost.add(1);
        }
        self.stats.screened(self.setup.place(call.trunk), &record);
        self.stats.traced(&record, self.origin);
    }
}
