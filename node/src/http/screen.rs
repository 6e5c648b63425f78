//! From what was asked to verdicts: judged, kept and counted exactly as calls that come by SIP.
//!
//! A question is answered whole or refused whole. But an emergency call passes whatever else is wrong with the
//! question: an unknown trunk, a key that ran out last night, a field that nobody knows.

use std::time::Instant;

use call::{Call, Reason, Rule, Treatment, Verdict};
use journal::Record;
use rules::Language;
use screening::{Fields, explain, screen};

use super::answer::{Answer, Explained};
use super::asked::{Asked, AskedCall};
use super::keys::Key;
use super::problem::{Kind, Problem};
use crate::config::Setup;
use crate::door::{UNKNOWN_SOURCE, emergency_call, from_text};
use crate::stats::WorkerStats;
use crate::store::Writer;
use crate::traces::Origin;

/// How far a call's own time may be from the node's clock, ms.
const PAST_MS: i64 = 86_400_000;
const FUTURE_MS: i64 = 60_000;

/// What a question is answered with and by.
pub struct Bench<'b> {
    pub setup: &'b Setup,
    pub journal: &'b mut Writer,
    pub stats: &'b WorkerStats,
    pub language: Language,
    pub origin: Origin,
    pub now_ms: i64,
    pub started: Instant,
}

/// Who asks: somebody with a key, or somebody who needs none.
pub type Asker<'k> = Option<&'k Key>;

/// A call that is ready to be judged; one from no trunk is an emergency call.
struct Ready<'a> {
    call: Call,
    call_id: &'a str,
    time_ms: i64,
}

impl Bench<'_> {
    /// Answers a body with the JSON of its verdicts.
    pub fn answer(&mut self, body: &[u8], asker: Asker, explained: bool) -> Result<Vec<u8>, Problem> {
        let mut out = Vec::with_capacity(512);
        match Asked::read(body)? {
            Asked::One(call) => {
                let ready = self.ready(&call, asker).map_err(|(kind, what)| Problem::new(kind, what))?;
                self.judge(&ready, explained, &mut out);
            }
            Asked::Many(calls) => {
                let mut ready = Vec::with_capacity(calls.len());
                for (index, call) in calls.iter().enumerate() {
                    let call = self.ready(call, asker);
                    ready.push(
                        call.map_err(|(kind, what)| {
                            Problem::new(kind, format!("call {}: {what}", index + 1))
                        })?,
                    );
                }
                out.push(b'[');
                for (index, call) in ready.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                        self.started = Instant::now();
                    }
                    self.judge(call, explained, &mut out);
                }
                out.push(b']');
            }
        }
        Ok(out)
    }

    /// The answer to a question that is refused, if it is about an emergency call all the same.
    pub fn emergency(&mut self, body: &[u8], explained: bool) -> Option<Vec<u8>> {
        let asked: serde_json::Value = serde_json::from_slice(body).ok()?;
        let called = asked.get("called")?.as_str()?;
        let call = emergency_call(&self.setup.policy, called, self.now_ms)?;
        let call_id = asked.get("call_id").and_then(|id| id.as_str()).unwrap_or_default();
        let mut out = Vec::with_capacity(512);
        self.judge(&Ready { call, call_id, time_ms: self.now_ms }, explained, &mut out);
        Some(out)
    }

    fn ready<'a>(&self, asked: &'a AskedCall, asker: Asker) -> Result<Ready<'a>, (Kind, String)> {
        let policy = &self.setup.policy;
        let call_id = &*asked.call_id.0;
        let known = policy.trunk_named(&asked.trunk);
        let Some(trunk) = known.filter(|&trunk| asker.is_none_or(|key| key.may_ask(trunk))) else {
            self.stats.unknown_source.add(1);
            if let Some(call) = emergency_call(policy, &asked.called, self.now_ms) {
                return Ok(Ready { call, call_id, time_ms: self.now_ms });
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
        let text = |text: &'a str| from_text(policy, text);
        let presentation = text(&asked.presentation.0);
        let is_hidden = presentation.eq_ignore_ascii_case("anonymous");
        let fields = Fields {
            calling: &text(&asked.calling.0),
            presentation: &presentation,
            called: &text(&asked.called),
            redirecting: &text(&asked.redirecting.0),
            privacy: asked.privacy.unwrap_or(false) || is_hidden,
        };
        Ok(Ready { call: policy.intake(self.now_ms, trunk, &fields), call_id, time_ms })
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

    /// Judges a call, keeps and counts the verdict, and writes the answer.
    fn judge(&mut self, ready: &Ready, explained: bool, out: &mut Vec<u8>) {
        let Bench { setup, language, .. } = *self;
        let policy = &setup.policy;
        let mut call = ready.call;
        let is_from_nowhere = call.trunk == UNKNOWN_SOURCE;
        let mut facts = Vec::new();
        let verdict = match is_from_nowhere {
            true => Verdict::of_rule(Rule::R00, Treatment::Allow, Reason::EmergencyNumber),
            false if explained => {
                let (verdict, found) = explain(policy, &call);
                facts = found;
                verdict
            }
            false => screen(policy, &call),
        };
        call.time_ms = ready.time_ms;
        self.keep(call, verdict, ready.call_id);
        let written = match explained {
            true => {
                let trunk = match is_from_nowhere {
                    true => "unknown-source",
                    false => &policy.trunk(call.trunk).name,
                };
                let answer = Explained::new(policy, trunk, &call, &verdict, &facts, language);
                serde_json::to_writer(out, &answer)
            }
            false => serde_json::to_writer(out, &Answer::new(&verdict, policy.basis_id(), language)),
        };
        written.expect("plain values into memory");
    }

    fn keep(&mut self, call: Call, verdict: Verdict, call_id: &str) {
        let took_ns = u32::try_from(self.started.elapsed().as_nanos()).unwrap_or(u32::MAX);
        let basis = self.setup.policy.basis_id();
        let record = Record::new(call, verdict, basis, took_ns, call_id.as_bytes());
        if !self.journal.append(&record) {
            self.stats.journal_lost.add(1);
        }
        self.stats.screened(self.setup.place(call.trunk), &record);
        self.stats.traced(&record, self.origin);
    }
}
