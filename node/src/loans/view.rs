//! What creditors, banks and the signed document are shown. Personal data is masked everywhere but in the document.

use jiff::Timestamp;
use lending::{Answered, Application, Ban, Event, State, SuspectCall};
use numbering::Number;
use rules::Language;
use serde_json::{Value, json};

use super::store::Applicant;
use crate::config::Loans as Settings;

/// RFC 3339 with milliseconds.
pub fn time(at_ms: i64) -> String {
    format!("{:.3}", Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH))
}

pub fn gate(settings: &Settings, language: Option<Language>, answered: &Answered) -> Value {
    let mut shown = json!({
        "gate": answered.gate.name(),
        "answer": answered.answer.name(),
        "reason": answered.reason.name(),
    });
    if let Some(language) = language {
        shown["text"] = json!(settings.words(language).reasons.get(answered.reason.name()));
    }
    if let Some(until_ms) = answered.until_ms {
        shown["until"] = json!(time(until_ms));
    }
    shown
}

/// An event as it is shown: without the hash of a code.
fn event(settings: &Settings, at_ms: i64, event: &Event) -> Value {
    let mut shown = json!({"time": time(at_ms), "event": event.name()});
    match event {
        Event::GatesAnswered { answers } => {
            shown["gates"] = answers.iter().map(|answered| gate(settings, None, answered)).collect();
        }
        Event::CodeSent { purpose, .. } | Event::CodeMismatched { purpose } => {
            shown["purpose"] = json!(purpose.name());
        }
        Event::FaceJudged { judgement } => {
            let judged = serde_json::to_value(judgement).expect("plain values");
            judged.as_object().into_iter().flatten().for_each(|(name, value)| shown[name] = value.clone());
        }
        Event::LoanConfirmed { cooling_until_ms: Some(until_ms) } => {
            shown["cooling_until"] = json!(time(*until_ms))
        }
        Event::LoanRefused { gate, reason } => {
            shown["gate"] = json!(gate.name());
            shown["reason"] = json!(reason.name());
        }
        _ => {}
    }
    shown
}

/// pass, refuse or wait: the application as a whole.
pub fn answer(application: &Application) -> &'static str {
    match application.state {
        State::Approved => "pass",
        state if state.is_end() => "refuse",
        _ => "wait",
    }
}

pub fn masked_iin(iin: &str) -> String {
    format!("**********{}", iin.get(10..).unwrap_or(""))
}

pub fn masked_phone(phone: &str) -> String {
    Number::parse(phone).map_or_else(|_| String::new(), |phone| phone.to_string())
}

pub fn application(
    settings: &Settings,
    language: Language,
    id: &str,
    application: &Application,
    applicant: &Applicant,
    events: &[(i64, Event)],
) -> Value {
    let gates: Vec<Value> =
        application.gates.iter().map(|answered| gate(settings, Some(language), answered)).collect();
    let events: Vec<Value> = events.iter().map(|(at_ms, one)| event(settings, *at_ms, one)).collect();
    let mut shown = json!({
        "id": id,
        "answer": answer(application),
        "state": application.state.name(),
        "iin": masked_iin(&applicant.iin),
        "phone": masked_phone(&applicant.phone),
        "kind": application.kind.name(),
        "channel": if application.is_online { "online" } else { "branch" },
        "sum": application.sum.to_string(),
        "currency": settings.rulebook.currency,
        "term_days": application.term_days,
        "opened": time(application.opened_ms),
        "gates": gates,
        "events": events,
    });
    let purpose = application.purpose();
    let more = [
        ("code_consents_to", purpose.map(|purpose| purpose.name().to_owned())),
        ("cooling_until", application.cooling_until_ms.map(time)),
        ("ended", application.ended_ms.map(time)),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            shown[name] = json!(value);
        }
    }
    shown
}

/// What is signed: all of it, the person in full.
pub fn document(
    settings: &Settings,
    id: &str,
    creditor: &str,
    application: &Application,
    applicant: &Applicant,
    events: &[(i64, Event)],
) -> Value {
    let gates: Vec<Value> = application.gates.iter().map(|answered| gate(settings, None, answered)).collect();
    let events: Vec<Value> = events.iter().map(|(at_ms, one)| event(settings, *at_ms, one)).collect();
    json!({
        "version": 1,
        "id": id,
        "creditor": {"id": application.creditor, "name": creditor, "class": application.class.name()},
        "iin": applicant.iin,
        "phone": applicant.phone,
        "kind": application.kind.name(),
        "channel": if application.is_online { "online" } else { "branch" },
        "sum": application.sum.to_string(),
        "currency": settings.rulebook.currency,
        "term_days": application.term_days,
        "mci": settings.rulebook.mci(application.opened_ms).to_string(),
        "answer": answer(application),
        "state": application.state.name(),
        "opened": time(application.opened_ms),
        "ended": application.ended_ms.map(time),
        "gates": gates,
        "events": events,
    })
}

/// What a webhook says: nothing of the person.
pub fn webhook(
    settings: &Settings,
    id: &str,
    application: &Application,
    news: &[(i64, Event)],
    now_ms: i64,
) -> Value {
    let events: Vec<Value> = news.iter().map(|(at_ms, one)| event(settings, *at_ms, one)).collect();
    json!({
        "type": "loan_changed",
        "time": time(now_ms),
        "loan": id,
        "answer": answer(application),
        "state": application.state.name(),
        // Grows with each event: of two webhooks the greater is the later.
        "version": application.events,
        "events": events,
    })
}

pub fn ban(ban: Option<&Ban>, now_ms: i64) -> Value {
    let in_force = ban.filter(|ban| ban.is_in_force(now_ms));
    let mut shown = json!({"banned": in_force.is_some()});
    if let Some(ban) = in_force {
        shown["set"] = json!(time(ban.set_ms));
        if let Some(lifts_ms) = ban.lifts_ms {
            shown["lifts"] = json!(time(lifts_ms));
        }
    }
    shown
}

/// In bands, never the other number or the second.
pub fn scam(call: SuspectCall, now_ms: i64) -> Value {
    const MINUTE_MS: i64 = 60_000;
    let band = match call {
        SuspectCall::None => "none",
        SuspectCall::Unknown => "unknown",
        SuspectCall::At(at_ms) if now_ms - at_ms < 5 * MINUTE_MS => "within-5-min",
        SuspectCall::At(_) => "within-30-min",
    };
    json!({"suspicious_call": band})
}
