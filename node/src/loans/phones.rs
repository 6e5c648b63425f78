//! What an operator says of the applicant's phone: whether its SIM was swapped (CAMARA sim-swap) and its calls are forwarded
//! (CAMARA call-forwarding-signal).
//!
//! Nothing is asked within a change of the store. A change that needs an answer claims the question, which keeps others from
//! asking the same, and the gate waits; the question is asked after it, and what was said is kept by a change of its own,
//! which lets the gates judge again. A node that is killed between leaves a claim that ends by itself: the gate's `until`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lending::{Change, Use};
use serde_json::{Value, json};
use sqlx::Row;

use super::office::{Case, Done, Office, Round, Stop};
use super::operator::{Api, Fault, How, Service};
use super::store::{self, Unit};
use crate::config::Loans as Settings;
use crate::store::now_ms;

pub const SCHEMA: &[&str] =
    &["CREATE TABLE IF NOT EXISTS phone_asked (phone TEXT NOT NULL, api TEXT NOT NULL, \
     answered_ms BIGINT, again_ms BIGINT NOT NULL, tries BIGINT NOT NULL, PRIMARY KEY (phone, api))"];

/// Between tries at an operator that does not answer: twice as long each time, from the first to the second, ms.
const PAUSES_MS: (i64, i64) = (5_000, 600_000);
/// Where it answers that it will not tell, there is no hurry.
const LATER_MS: i64 = 3_600_000;
/// A claim outlives its question by so much, ms.
const CLAIM_MS: i64 = 2_000;
const HOUR_MS: i64 = 3_600_000;

/// A question that is claimed.
pub struct Question {
    pub application: String,
    phone: String,
    services: Vec<Service>,
    /// How far back a swapped SIM counts, hours.
    sim_hours: u32,
}

/// What was said to it. A change has its time, or happened somewhere within the hours asked about.
pub type Said = Vec<(Service, Result<Option<(Change, Option<i64>)>, Fault>)>;

/// What is kept of asking one API about a phone.
#[derive(Clone, Copy, Default)]
struct Asked {
    answered_ms: Option<i64>,
    again_ms: i64,
    tries: i64,
}

impl Office {
    /// When the operator is asked again, if it has not said all that this application needs now. Claims what is to be asked.
    pub(super) async fn phone_unknown_ms(&self, round: &mut Round<'_>, case: &Case) -> Done<Option<i64>> {
        let (settings, now_ms) = (round.settings, round.now_ms);
        let apis = [&settings.sim_swap, &settings.call_forwarding];
        if apis.iter().all(|api| api.is_none()) {
            return Ok(None);
        }
        let asked = round.unit.asked(&case.applicant.phone).await?;
        // Until a consent is given, what was said when the application was opened will do.
        let application = &case.application;
        let from_ms = if application.is_given() { now_ms } else { application.opened_ms };
        let from_ms = from_ms - settings.phone_recheck_ms;
        let (mut unknown_ms, mut services) = (None, Vec::new());
        for api in apis.into_iter().flatten() {
            let mut known = asked.get(api.service.name()).copied().unwrap_or_default();
            if known.answered_ms.is_some_and(|at_ms| at_ms >= from_ms) {
                continue;
            }
            if known.again_ms <= now_ms {
                // Two operations may be needed.
                known.again_ms = now_ms + 2 * api.timeout.as_millis() as i64 + CLAIM_MS;
                round.unit.keep_asked(&case.applicant.phone, api.service, known).await?;
                services.push(api.service);
            }
            unknown_ms = unknown_ms.max(Some(known.again_ms));
        }
        if !services.is_empty() {
            let sim_hours = settings.rulebook.limits(now_ms).phone.sim_swapped.hours;
            let (application, phone) = (case.id.clone(), case.applicant.phone.clone());
            round.question = Some(Question { application, phone, services, sim_hours });
        }
        Ok(unknown_ms)
    }

    /// Asks the operator, with nothing held.
    pub(super) async fn ask_operator(&self, settings: &Settings, question: &Question) -> Said {
        let is_asked = |api: &&std::sync::Arc<Api>| question.services.contains(&api.service);
        let swap = settings.sim_swap.as_ref().filter(is_asked);
        let forwarding = settings.call_forwarding.as_ref().filter(is_asked);
        let (swap, forwarding) =
            tokio::join!(async { Some((Service::SimSwap, swapped(swap?, question).await)) }, async {
                Some((Service::CallForwarding, forwarded(forwarding?, question).await))
            },);
        let said: Said = [swap, forwarding].into_iter().flatten().collect();
        for (service, outcome) in &said {
            self.note(*service, outcome.as_ref().err());
        }
        said
    }

    /// Keeps what was said.
    pub(super) async fn keep_said(
        &self,
        round: &mut Round<'_>,
        question: &Question,
        said: &Said,
    ) -> Done<()> {
        let (phone, now_ms) = (&question.phone, round.now_ms);
        let before = round.unit.asked(phone).await?;
        let changes = round.unit.changes(phone).await?;
        for (service, outcome) in said {
            let known = before.get(service.name()).copied().unwrap_or_default();
            let kept = match outcome {
                Ok(change) => {
                    if let Some((change, at_ms)) = change {
                        // Counted from now, so not a moment too short; told again while it counts, it is the same one.
                        let lately_ms = now_ms - i64::from(question.sim_hours) * HOUR_MS;
                        let is_known = changes.get(change).is_some_and(|known_ms| *known_ms > lately_ms);
                        if at_ms.is_some() || !is_known {
                            round.unit.keep_change(phone, *change, at_ms.unwrap_or(now_ms)).await?;
                        }
                    }
                    Asked { answered_ms: Some(now_ms), ..Asked::default() }
                }
                Err(fault) => {
                    let again_ms = now_ms + pause_ms(*service, fault, known.tries);
                    let was_tried = !matches!(fault, Fault::Resting { .. });
                    Asked { again_ms, tries: known.tries + i64::from(was_tried), ..known }
                }
            };
            round.unit.keep_asked(phone, *service, kept).await?;
        }
        Ok(())
    }

    /// Asks, keeps what was said, and lets the application's gates judge again.
    pub async fn learn(&self, question: Question) {
        let setup = self.setup.load_full();
        let Some(settings) = &setup.loans else { return };
        let said = self.ask_operator(settings, &question).await;
        let kept = async {
            let mut round = Round::begin(&self.store, settings).await?;
            let case = self.load(&mut round, &question.application).await?;
            self.keep_said(&mut round, &question, &said).await?;
            if let Some(mut case) = case {
                self.settle(&mut round, &mut case).await?;
            }
            Ok::<(), Stop>(round.unit.commit().await?)
        };
        if let Err(Stop::Store(fault)) = kept.await {
            super::counts::count(&self.counts.store_faults);
            (self.log)(&format!("loans: application {}: {fault}", question.application));
        }
    }

    /// Counts how a question went, and says once that an operator is away.
    pub(super) fn note(&self, service: Service, fault: Option<&Fault>) {
        let how = How::of(service, fault);
        if self.counts.operators.count(service, how)
            && let Some(fault) = fault
        {
            (self.log)(&format!("loans: {}: {}; the next answer ends this", service.name(), fault.what()));
        }
    }
}

fn pause_ms(service: Service, fault: &Fault, tries: i64) -> i64 {
    let (first_ms, longest_ms) = PAUSES_MS;
    let pause_ms = (first_ms << tries.clamp(0, 16)).min(longest_ms);
    match fault {
        Fault::Said { retry_s: Some(after_s), .. } => {
            (after_s.saturating_mul(1000) as i64).clamp(first_ms, LATER_MS)
        }
        Fault::Resting { for_ms } => (*for_ms).max(first_ms),
        fault if How::of(service, Some(fault)) == How::Refused => LATER_MS,
        _ => pause_ms,
    }
}

/// When the SIM was swapped, if the operator may say (`retrieve-date`); else whether, within the hours that count (`check`).
async fn swapped(api: &Api, question: &Question) -> Result<Option<(Change, Option<i64>)>, Fault> {
    let phone = &question.phone;
    match api.ask("retrieve-date", &json!({"phoneNumber": phone})).await {
        Ok(said) => {
            let at = match &said["latestSimChange"] {
                Value::String(at) => Some(at.parse::<Timestamp>().map_err(|_| strange("no time"))?),
                Value::Null if said.get("latestSimChange").is_some() => None,
                _ => return Err(strange("an answer without latestSimChange")),
            };
            if let Some(at) = at {
                return Ok(Some((Change::SimSwapped, Some(at.as_millisecond().min(now_ms())))));
            }
            // Null: none within the days that it watches; where it does not say how many, all that the law lets it keep.
            let watched = said["monitoredPeriod"].as_i64();
            if watched.is_none_or(|days| days.saturating_mul(24) >= i64::from(question.sim_hours)) {
                return Ok(None);
            }
        }
        // It may not say when, or its client has the scope of the other operation alone.
        Err(Fault::Said { status: 403, .. }) => {}
        Err(fault) => return Err(fault),
    }
    let hours = question.sim_hours.clamp(1, 2400);
    let said = api.ask("check", &json!({"phoneNumber": phone, "maxAge": hours})).await?;
    let was_swapped = said["swapped"].as_bool().ok_or_else(|| strange("an answer without swapped"))?;
    Ok(was_swapped.then_some((Change::SimSwapped, None)))
}

/// Whether all calls are forwarded now.
async fn forwarded(api: &Api, question: &Question) -> Result<Option<(Change, Option<i64>)>, Fault> {
    let said = api.ask("unconditional-call-forwardings", &json!({"phoneNumber": question.phone})).await?;
    let is_active = said["active"].as_bool().ok_or_else(|| strange("an answer without active"))?;
    Ok(is_active.then(|| (Change::Forwarded, Some(now_ms()))))
}

fn strange(what: &str) -> Fault {
    Fault::Away { what: what.to_owned(), was_sent: true }
}

impl Unit<'_> {
    async fn asked(&mut self, phone: &str) -> Result<BTreeMap<String, Asked>, store::Fault> {
        let mut found: BTreeMap<String, Asked> = BTreeMap::new();
        for phone in self.vault.macs(Use::Index, phone.as_bytes()) {
            let select =
                sqlx::query("SELECT api, answered_ms, again_ms, tries FROM phone_asked WHERE phone = $1");
            for row in select.bind(phone).fetch_all(&mut *self.tx).await? {
                let known =
                    Asked { answered_ms: row.try_get(1)?, again_ms: row.try_get(2)?, tries: row.try_get(3)? };
                let kept = found.entry(row.try_get(0)?).or_insert(known);
                if known.answered_ms > kept.answered_ms {
                    *kept = known;
                }
            }
        }
        Ok(found)
    }

    async fn keep_asked(&mut self, phone: &str, service: Service, asked: Asked) -> Result<(), store::Fault> {
        let phone = self.vault.mac(Use::Index, phone.as_bytes());
        let insert = "INSERT INTO phone_asked (phone, api, answered_ms, again_ms, tries) VALUES ($1, $2, $3, $4, $5) \
                      ON CONFLICT (phone, api) DO UPDATE SET answered_ms = excluded.answered_ms, \
                      again_ms = excluded.again_ms, tries = excluded.tries";
        let insert = sqlx::query(insert).bind(phone).bind(service.name()).bind(asked.answered_ms);
        insert.bind(asked.again_ms).bind(asked.tries).execute(&mut *self.tx).await.map(drop)
    }
}
