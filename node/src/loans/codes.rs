//! One-time codes: sent within limits, entered.

use lending::{Fault as Refused, Limits, Purpose, code};
use serde_json::json;

use super::Client;
use super::limits::{Counted, too_many};
use super::office::{Case, Done, Office, Round, problem, refused};
use super::store::random;
use crate::config::Loans as Settings;
use crate::http::Kind;

impl Office {
    pub(super) async fn send_code(
        &self,
        round: &mut Round<'_>,
        case: &mut Case,
        client: &Client,
        address: Option<&str>,
    ) -> Done<()> {
        let (settings, now_ms) = (round.settings, round.now_ms);
        let limits = settings.rulebook.limits(now_ms);
        let purpose = case.application.purpose();
        let Some(purpose) = purpose else {
            return refused(Refused::WrongState(case.application.state), &case.application);
        };
        let vault = &settings.vault;
        let counted = Counted { phone: &case.applicant.phone, client: Some(&client.id), address };
        if let Some(rate) = round.count_code(&counted).await? {
            return problem(Kind::TooManyCodes, too_many(rate));
        }
        let code = new_code();
        let hash = code::hash(vault, &bound_to(&case.id, purpose), &code);
        let event = case.application.send_code(hash, limits);
        let event = event.or_else(|fault| refused(fault, &case.application))?;
        case.take(now_ms, event);
        let text = words_of(settings, case, client, purpose.name(), &code);
        let body = json!({"to": case.applicant.phone, "text": text, "once": true}).to_string();
        let until_ms = now_ms + i64::from(limits.code_s) * 1000;
        Ok(round.unit.queue("sms", &client.id, &body, now_ms, until_ms).await?)
    }

    /// None: it was right; else how many tries are left.
    pub(super) fn enter_code(
        &self,
        round: &Round,
        case: &mut Case,
        purpose: Purpose,
        entered: &str,
    ) -> Done<Option<u32>> {
        let limits: &Limits = round.settings.rulebook.limits(round.now_ms);
        let open = case.application.open_code(purpose, limits, round.now_ms);
        let open = match open {
            Ok(open) => open,
            Err(fault) => return refused(fault, &case.application),
        };
        let is_right =
            code::is_same(&round.settings.vault, &bound_to(&case.id, purpose), entered, &open.hash);
        let left = limits.code_tries.saturating_sub(open.mismatches + 1);
        let event = case.application.enter_code(purpose, is_right);
        case.take(round.now_ms, event);
        Ok((!is_right).then_some(left))
    }
}

/// The text that brings a code.
pub(super) fn words_of(settings: &Settings, case: &Case, client: &Client, name: &str, code: &str) -> String {
    let application = &case.application;
    let minutes = (settings.rulebook.limits(application.opened_ms).code_s / 60).max(1).to_string();
    let sum = application.sum.to_string();
    let places = [
        ("creditor", client.name.as_str()),
        ("sum", &sum),
        ("currency", &settings.rulebook.currency),
        ("code", code),
        ("minutes", &minutes),
    ];
    settings.words(application.language).sms(name, &places)
}

pub(super) fn new_code() -> String {
    loop {
        if let Some(code) = code::of_random(random()) {
            break code;
        }
    }
}

/// What a code of an application is bound to.
fn bound_to(id: &str, purpose: Purpose) -> String {
    format!("{id} {}", purpose.name())
}
