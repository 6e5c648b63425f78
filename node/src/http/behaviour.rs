//! What is thought of a number that calls, and why: `POST /v1/behaviour`. Each look is written down beside the journal.

use hunting::Judged;
use hyper::Request;
use hyper::body::Incoming;
use numbering::{Dialling, Number};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::{Answer, Desk, is_json, plain, stumble};
use crate::config::Setup;
use crate::query;

/// Whose behaviour is asked about
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BehaviourQuestion {
    /// In E.164, with +, or as it is dialled at home.
    #[schema(example = "+77011234567")]
    number: String,
}

/// What is thought of a number
#[derive(Serialize, ToSchema)]
pub struct BehaviourAnswer {
    /// Masked.
    number: String,
    /// When scores were last written.
    #[schema(format = DateTime)]
    evaluated: String,
    /// Trunk by trunk; empty where it called too little to be watched.
    trunks: Vec<BehaviourByTrunk>,
}

#[derive(Serialize, ToSchema)]
pub struct BehaviourByTrunk {
    trunk: String,
    /// 0 to 100; R18 hits above `threshold` where `evidence` is two and more.
    score: u8,
    threshold: u8,
    /// Kinds of evidence.
    evidence: usize,
    /// Calls of the last 24 hours, since it is watched.
    outgoing: u32,
    incoming: u32,
    #[schema(format = DateTime)]
    last_call: String,
    signals: Vec<BehaviourSignal>,
}

#[derive(Serialize, ToSchema)]
pub struct BehaviourSignal {
    /// `many-called`, `seldom-called`, `number-runs`, `same-called`, `same-pool`.
    signal: &'static str,
    figure: f64,
    threshold: f64,
}

fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

impl BehaviourByTrunk {
    fn of(judged: &Judged, setup: &Setup) -> Option<BehaviourByTrunk> {
        let trunk = setup.policy.trunks.iter().find(|trunk| trunk.place == judged.trunk)?;
        let signals = judged.signals.iter().map(|given| BehaviourSignal {
            signal: given.signal.name(),
            figure: given.figure,
            threshold: given.threshold,
        });
        Some(BehaviourByTrunk {
            trunk: trunk.name.clone(),
            score: judged.score,
            threshold: trunk.behaviour_threshold,
            evidence: judged.evidence,
            outgoing: judged.outgoing,
            incoming: judged.incoming,
            last_call: time(judged.last_ms),
            signals: signals.collect(),
        })
    }
}

impl Desk {
    pub(super) async fn behaviour(
        &self,
        request: Request<Incoming>,
        has_certificate: bool,
    ) -> Result<Answer, Problem> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        let asker = self.asker(&setup.http, &head.headers, has_certificate)?;
        let body = self.body(&setup, true, body).await?;
        is_json(&head.headers)?;
        let number = read(&body, &setup)?;
        let Some((watching, _)) = self.watch.watching().zip(setup.watch.as_ref()) else {
            return Err(Problem::new(Kind::NotConfigured, "nobody watches numbers: set [hunting.live]"));
        };
        let look = json!({ "behaviour": number.to_string(), "key": asker.map(|key| key.name.as_str()) });
        let directory = setup.journal.directory.clone();
        let noted = tokio::task::spawn_blocking(move || query::note(Some(&directory), look)).await;
        if !matches!(noted, Ok(Ok(()))) {
            let what = "this look cannot be written down beside the journal, so nothing is shown";
            return Err(Problem::new(Kind::StoreAway, what));
        }
        let stopping = || Problem::new(Kind::Stopping, "ask another node");
        let judged = watching.ask(number).await.ok_or_else(stopping)?;
        let may_see = |judged: &&Judged| {
            let id = setup.policy.trunks.iter().position(|trunk| trunk.place == judged.trunk);
            id.is_some_and(|id| asker.is_none_or(|key| key.may_ask(call::TrunkId(id as u16))))
        };
        let trunks = judged.iter().filter(may_see).filter_map(|judged| BehaviourByTrunk::of(judged, &setup));
        let evaluated_ms = watching.counts.evaluated_ms.load(std::sync::atomic::Ordering::Relaxed);
        let answer = BehaviourAnswer {
            number: number.to_string(),
            evaluated: time(evaluated_ms),
            trunks: trunks.collect(),
        };
        let answer = serde_json::to_vec(&answer).map_err(|_| stumble())?;
        Ok(plain("application/json", answer))
    }
}

fn read(body: &[u8], setup: &Setup) -> Result<Number, Problem> {
    use serde_json::error::Category;
    let asked: BehaviourQuestion = serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => Problem::new(Kind::InvalidRequest, "write {\"number\": \"+77011234567\"}"),
        _ => Problem::new(Kind::InvalidJson, "write {\"number\": \"+77011234567\"}"),
    })?;
    let dialling = Dialling { national: true, international_prefixes: Vec::new() };
    let number = setup.policy.plan.normalise(&asked.number, &dialling).party.number();
    number.ok_or_else(|| Problem::new(Kind::InvalidRequest, "number is not a telephone number in E.164"))
}
