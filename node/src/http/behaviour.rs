//! What is thought of a number that calls, and why: `POST /v1/behaviour`. Each look is written down beside the journal. And how its
//! calls went, by the switch's records of them: `POST /v1/call-records`.

use std::collections::HashMap;
use std::sync::Mutex;

use hunting::{CallRecord, Judged};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use numbering::{Dialling, Number};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::problem::{Kind, Problem, masked};
use super::screen::Asker;
use super::{Answer, Desk, Query, is_file, is_json, plain, stumble};
use crate::config::Setup;
use crate::hunt::calls;
use crate::query;
use crate::store::now_ms;
use crate::watching::{Recorded, Watching};

const DAY_MS: i64 = 86_400_000;

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
    /// `many-called`, `seldom-called`, `one-place`, `many-sims`, `unanswered`, `short-or-long`, `number-runs`, `same-called`,
    /// `same-pool`, `crowded-place`.
    signal: &'static str,
    figure: f64,
    threshold: f64,
}

/// What was read of a file of call records
#[derive(Serialize, ToSchema)]
pub struct RecordsTaken {
    /// Those that are looked at; what becomes of them is counted on /metrics.
    records: usize,
    /// Left out: with no number in a number's place.
    without_number: u64,
    /// Left out: of a trunk that is not in the configuration, that the key may not ask about, or of none.
    trunk_not_known: u64,
    /// Left out: that begin after now, or at no time that can be read.
    future: u64,
    /// Left out: that began more than 24 hours ago.
    late: u64,
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
    /// Who watches numbers here.
    fn watching(&self, setup: &Setup) -> Result<&Watching, Problem> {
        let watching = self.watch.watching().filter(|_| setup.watch.is_some());
        let what = "nobody watches numbers: set [hunting.live]";
        watching.ok_or_else(|| Problem::new(Kind::NotConfigured, what))
    }

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
        let watching = self.watching(&setup)?;
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

    pub(super) async fn call_records(
        &self,
        request: Request<Incoming>,
        has_certificate: bool,
    ) -> Result<Answer, Problem> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        let asker = self.asker(&setup.http, &head.headers, has_certificate)?;
        let body = self.body(&setup, true, body).await?;
        is_file(&head.headers, "text/csv")?;
        let watching = self.watching(&setup)?;
        let trunks = trunks(&setup, asker);
        let query = Query::of(head.uri.query());
        let usual = query.get("trunk").map(|name| {
            let place = calls::trunk(name).and_then(|trunk| trunks.get(&trunk).copied());
            let what = "?trunk= is not in the configuration, or the key may not ask about it";
            place.ok_or_else(|| Problem::new(Kind::TrunkNotKnown, what))
        });
        let usual = usual.transpose()?;
        // A long file: not on the thread that answers calls.
        let read = tokio::task::spawn_blocking({
            let setup = setup.clone();
            move || records(&body, &setup, &trunks, usual)
        });
        let (records, told) = read.await.map_err(|_| stumble())??;
        if !watching.tell(records) {
            let what = "records of before wait to be looked at: send these again in a second";
            return Err(Problem::new(Kind::TooManyRequests, what));
        }
        let told = serde_json::to_vec(&told).map_err(|_| stumble())?;
        let mut answer = plain("application/json", told);
        *answer.status_mut() = StatusCode::ACCEPTED;
        Ok(answer)
    }
}

/// Which trunk each of a policy's is in records: the place of those that may be told of.
fn trunks(setup: &Setup, asker: Asker) -> HashMap<u64, u16> {
    let all = setup.policy.trunks.iter().enumerate().map(|(id, trunk)| (call::TrunkId(id as u16), trunk));
    let allowed = all.filter(|(id, _)| asker.is_none_or(|key| key.may_ask(*id)));
    allowed.filter_map(|(_, trunk)| Some((calls::trunk(&trunk.name)?, trunk.place))).collect()
}

/// Records of a CSV file; `usual` is the trunk of those that name none.
fn records(
    csv: &[u8],
    setup: &Setup,
    trunks: &HashMap<u64, u16>,
    usual: Option<u16>,
) -> Result<(Vec<Recorded>, RecordsTaken), Problem> {
    let now_ms = now_ms();
    let taken = Mutex::new((Vec::new(), 0));
    let each = |record: &CallRecord| {
        let mut taken = taken.lock().expect("no panic inside");
        match record.trunk.map_or(usual, |trunk| trunks.get(&trunk).copied()) {
            Some(place) => taken.0.push((*record, place)),
            None => taken.1 += 1,
        }
    };
    let found = calls::read_csv(csv, &setup.policy.plan, now_ms - DAY_MS, now_ms, &each);
    let found = found.map_err(|what| Problem::new(Kind::BadRows, masked(&what)))?;
    let (records, trunk_not_known) = taken.into_inner().expect("no panic inside");
    let told = RecordsTaken {
        records: records.len(),
        without_number: found.without_number,
        trunk_not_known,
        future: found.future,
        late: found.earlier,
    };
    Ok((records, told))
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
