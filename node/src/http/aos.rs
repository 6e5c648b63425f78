//! The small operator's pair: `POST /aos/saveRequest` notes a call that its customer makes, `POST /aos/checkRequest` asks
//! whether a call that comes in was made. docs/exchange.md, "Two HTTP calls".

use std::sync::Arc;
use std::time::Duration;

use call::{Answer, Call, Fact, Initiation, Question, TrunkClass};
use exchange::Holder;
use numbering::{Number, Party};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::problem::{Kind, Problem, masked};
use crate::config::{Exchange, Setup};
use crate::door::UNKNOWN_SOURCE;
use crate::exchange::Line;

/// A call, its numbers as E.164 digits without a sign.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AosCall {
    /// The calling number.
    #[schema(example = "77011234567", pattern = "^[1-9][0-9]{4,14}$")]
    msisdn_a: String,
    /// The called number.
    #[schema(example = "77272501234", pattern = "^[1-9][0-9]{4,14}$")]
    msisdn_b: String,
    /// Who diverted the call.
    #[serde(default)]
    redirecting_number: Option<String>,
}

/// Whether the call was noted; whether it may pass: false only where its operator says that it did not make it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum AosAnswer {
    Boolean {
        result: bool,
    },
    /// `"true"` or `"false"`, for those who ask with `?answer=string`.
    Text {
        result: &'static str,
    },
}

impl AosAnswer {
    pub fn new(result: bool, query: Option<&str>) -> AosAnswer {
        match query {
            Some("answer=string") => AosAnswer::Text { result: if result { "true" } else { "false" } },
            _ => AosAnswer::Boolean { result },
        }
    }
}

/// Reads the call of a request.
pub fn read(body: &[u8], now_ms: i64) -> Result<Call, Problem> {
    let wrong = |what: String| Problem::new(Kind::InvalidCall, what);
    let asked: AosCall = serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => wrong(masked(&error.to_string())),
        _ => Problem::new(Kind::InvalidJson, masked(&error.to_string())),
    })?;
    let number = |name: &str, text: &str| {
        let is_plain = (5..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_plain { Number::from_digits(text.as_bytes()).ok() } else { None };
        let what = || format!("{name} is not 5 to 15 digits of E.164 without a sign, such as 77011234567");
        number.ok_or_else(|| wrong(what()))
    };
    let redirecting = asked.redirecting_number.as_deref().filter(|text| !text.is_empty());
    Ok(Call {
        time_ms: now_ms,
        trunk: UNKNOWN_SOURCE,
        class: TrunkClass::National,
        calling: Party::Number(number("msisdnA", &asked.msisdn_a)?),
        presentation: Party::Absent,
        // An emergency number is short; whoever is called, an emergency call is asked about nowhere.
        called: match asked.msisdn_b.len() {
            0..5 => Party::Absent,
            _ => Party::Number(number("msisdnB", &asked.msisdn_b)?),
        },
        redirecting: match redirecting {
            Some(text) => Party::Number(number("redirectingNumber", text)?),
            None => Party::Absent,
        },
        privacy: false,
        national_form: false,
    })
}

/// Notes a call of an own or hosted number; false where another operator holds it.
pub fn save(setup: &Setup, exchange: &Exchange, line: &Line, call: &Call) -> bool {
    let Some(number) = call.redirecting.number().or(call.calling.number()) else { return false };
    if let Some(Holder::Member(_)) = exchange.holder(&setup.policy, number, call.time_ms) {
        return false;
    }
    line.note(setup, call);
    true
}

/// Whether a call may pass: false only where its operator says that it did not make it.
pub async fn check(setup: &Arc<Setup>, line: &Line, call: &Call) -> bool {
    let Some(asked) = call.redirecting.number().or(call.calling.number()) else { return true };
    if call.called == Party::Absent {
        return true;
    }
    let deadline = setup.exchange.as_ref().map_or(Duration::ZERO, |exchange| exchange.deadline);
    let question = Question::Initiation { asked, called: call.called };
    let Some(told) = line.ask(setup, call, question, Instant::now() + deadline) else { return true };
    let told = told.await.map(|told| told.answer);
    !matches!(told, Ok(Answer::Initiation(Fact::Known(Initiation::NotInitiated))))
}
