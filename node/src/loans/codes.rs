//! One-time codes: sent within limits, entered.

use lending::{Fault as Refused, Limits, Per, Purpose, Use, code};
use serde_json::json;

use super::Client;
use super::office::{Case, Done, Office, Round, problem, refused};
use super::store::random;
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
        let scopes: Vec<(Per, Vec<String>)> = [
            (Per::Number, Some(case.applicant.phone.as_str())),
            (Per::Creditor, Some(client.id.as_str())),
            (Per::Address, address),
        ]
        .into_iter()
        .filter_map(|(per, of)| {
            Some((per, vault.macs(Use::Index, format!("{} {}", per.name(), of?).as_bytes())))
        })
        .collect();
        for rate in &limits.rates {
            let Some((_, scopes)) = scopes.iter().find(|(per, _)| *per == rate.per) else { continue };
            let sent = round.unit.codes_since(scopes, now_ms - i64::from(rate.within_s) * 1000).await?;
            if sent >= rate.most {
                let (most, per, within_s) = (rate.most, rate.per.name(), rate.within_s);
                let what =
                    format!("at most {most} codes per {per} in {within_s} s: wait, then send it again");
                return problem(Kind::TooManyCodes, what);
            }
        }
        let code = loop {
            if let Some(code) = code::of_random(random()) {
                break code;
            }
        };
        let hash = code::hash(vault, &bound_to(&case.id, purpose), &code);
        let event = case.application.send_code(hash, limits);
        let event = event.or_else(|fault| refused(fault, &case.application))?;
        case.take(now_ms, event);
        for (_, scopes) in &scopes {
            round.unit.code_sent(&scopes[0], now_ms).await?;
        }
        let minutes = (limits.code_s / 60).max(1).to_string();
        let sum = case.application.sum.to_string();
        let places = [
            ("creditor", client.name.as_str()),
            ("sum", &sum),
            ("currency", &settings.rulebook.currency),
            ("code", &code),
            ("minutes", &minutes),
        ];
        let text = settings.words(case.application.language).sms(purpose.name(), &places);
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

/// What a code of an application is bound to.
fn bound_to(id: &str, purpose: Purpose) -> String {
    format!("{id} {}", purpose.name())
}
