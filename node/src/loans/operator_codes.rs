//! A loan's codes at an operator: CAMARA one-time-password-sms 1.1 as its client, in place of texts of our own.
//!
//! A request takes two changes of the store with the question between them, while nothing is held. The first checks and
//! counts, and keeps "it is not known" as the answer to a repeated `Idempotency-Key`; the second does what the operator said.
//! A node that is killed between has changed no state: a code that went out meanwhile opens nothing, and another is asked for.

use lending::{Application, Fault as Refused, Limits, Purpose};
use serde_json::{Value, json};

use super::Client;
use super::codes::words_of;
use super::counts::count;
use super::limits::{Counted, too_many};
use super::office::{Case, Done, Office, Round, not_found, problem, refused};
use super::operator::{Api, Fault, Service};
use super::store::seal;
use crate::config::Loans as Settings;
use crate::http::{Kind, Problem};

/// A question to the operator that a request needs.
pub(super) enum Remote {
    Send(Sending),
    Validate(Validating),
}

pub(super) struct Sending {
    application: String,
    phone: String,
    text: String,
    address: Option<String>,
    counted_ms: i64,
}

pub(super) struct Validating {
    application: String,
    purpose: Purpose,
    /// The code's name as the event keeps it, and as the operator knows it.
    sealed: String,
    authentication_id: String,
    code: String,
}

/// What came of it.
pub(super) enum Heard {
    Sent(Sending, Result<String, Fault>),
    Validated(Validating, Result<(), Fault>),
}

/// What a repeated request is told until the operator has answered, and for good where it never did.
pub(super) fn not_known() -> (u16, Value) {
    let what = "the operator has not answered, so it is not known whether it acted: ask for another code";
    said(Kind::OperatorAway, what)
}

/// A problem that does not undo what was done.
pub(super) fn said(kind: Kind, what: impl Into<String>) -> (u16, Value) {
    let json = Problem::new(kind, what).to_json();
    (kind.status(), serde_json::from_slice(&json).expect("our own JSON"))
}

impl Office {
    /// Checks and counts a code that the operator is to send.
    pub(super) async fn ask_to_send(
        &self,
        round: &mut Round<'_>,
        case: &Case,
        client: &Client,
        address: Option<&str>,
    ) -> Done<()> {
        let limits = round.settings.rulebook.limits(round.now_ms);
        let purpose = case.application.may_send_code(limits);
        let purpose = purpose.or_else(|fault| refused(fault, &case.application))?;
        let counted = Counted { phone: &case.applicant.phone, client: Some(&client.id), address };
        if let Some(rate) = round.count_code(&counted).await? {
            return problem(Kind::TooManyCodes, too_many(rate));
        }
        let name = format!("{}-by-operator", purpose.name());
        let text = words_of(round.settings, case, client, &name, "{{code}}");
        round.remote = Some(Remote::Send(Sending {
            application: case.id.clone(),
            phone: case.applicant.phone.clone(),
            text,
            address: address.map(str::to_owned),
            counted_ms: round.now_ms,
        }));
        Ok(())
    }

    /// Whether the code that may be entered is the operator's; then it is asked.
    pub(super) fn ask_to_validate(
        &self,
        round: &mut Round<'_>,
        case: &Case,
        purpose: Purpose,
        entered: &str,
    ) -> Done<bool> {
        let limits = round.settings.rulebook.limits(round.now_ms);
        let open = case.application.open_code(purpose, limits, round.now_ms);
        let Some(sealed) = open.ok().and_then(|open| open.by_operator.clone()) else { return Ok(false) };
        let authentication_id = round.settings.vault.open(&case.id, &sealed);
        let Some(authentication_id) =
            authentication_id.filter(|_| round.settings.one_time_password.is_some())
        else {
            return refused(Refused::NoCode, &case.application);
        };
        let (application, code) = (case.id.clone(), entered.to_owned());
        round.remote =
            Some(Remote::Validate(Validating { application, purpose, sealed, authentication_id, code }));
        Ok(true)
    }

    /// Asks the operator, with nothing held.
    pub(super) async fn ask_remote(&self, settings: &Settings, remote: Remote) -> Heard {
        let api = settings.one_time_password.as_deref();
        let heard = match remote {
            Remote::Send(sending) => {
                let sent = send(api, &sending).await;
                Heard::Sent(sending, sent)
            }
            Remote::Validate(validating) => {
                let validated = validate(api, &validating).await;
                Heard::Validated(validating, validated)
            }
        };
        let fault = match &heard {
            Heard::Sent(_, sent) => sent.as_ref().err(),
            Heard::Validated(_, validated) => validated.as_ref().err(),
        };
        self.note(Service::OneTimePassword, fault);
        heard
    }

    /// Does what the operator said.
    pub(super) async fn heard(
        &self,
        round: &mut Round<'_>,
        client: &Client,
        heard: &Heard,
    ) -> Done<(u16, Option<Case>, Value)> {
        match heard {
            Heard::Sent(sending, Ok(authentication_id)) => {
                let mut case = self.again(round, &sending.application).await?;
                let limits = round.settings.rulebook.limits(round.now_ms);
                let sealed = seal(&round.settings.vault, &case.id, authentication_id);
                let event = case.application.operator_sent_code(sealed, limits);
                let event = event.or_else(|fault| refused(fault, &case.application))?;
                case.take(round.now_ms, event);
                self.settle(round, &mut case).await?;
                Ok((202, Some(case), Value::Null))
            }
            Heard::Sent(sending, Err(fault)) => {
                if !matches!(fault, Fault::Away { was_sent: true, .. }) {
                    let Sending { phone, address, counted_ms, .. } = sending;
                    let counted = Counted { phone, client: Some(&client.id), address: address.as_deref() };
                    round.uncount_code(&counted, *counted_ms).await?;
                    round.keeps_answer = false;
                }
                let (status, body) = not_sent(fault);
                Ok((status, None, body))
            }
            Heard::Validated(validating, outcome) => self.validated(round, validating, outcome).await,
        }
    }

    async fn validated(
        &self,
        round: &mut Round<'_>,
        validating: &Validating,
        outcome: &Result<(), Fault>,
    ) -> Done<(u16, Option<Case>, Value)> {
        let purpose = validating.purpose;
        let tries_are_over = match outcome {
            Ok(()) => false,
            Err(fault) => match (fault.code(), fault) {
                // A code of another form than the operator's is a wrong one.
                ("ONE_TIME_PASSWORD_SMS.INVALID_OTP" | "INVALID_ARGUMENT" | "OUT_OF_RANGE", _) => false,
                ("ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED", _) => true,
                ("ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED", _) | (_, Fault::Said { status: 404, .. }) => {
                    let what = "the operator's code counts no longer: POST …/code sends another";
                    return problem(Kind::NoOpenCode, what);
                }
                _ => {
                    round.keeps_answer = matches!(fault, Fault::Away { was_sent: true, .. });
                    let (status, body) = match round.keeps_answer {
                        true => not_known(),
                        false => {
                            said(Kind::OperatorAway, "the operator could not check the code: enter it again")
                        }
                    };
                    return Ok((status, None, body));
                }
            },
        };
        let mut case = self.again(round, &validating.application).await?;
        let limits: &Limits = round.settings.rulebook.limits(round.now_ms);
        let open = case.application.open_code(purpose, limits, round.now_ms);
        let open = open.or_else(|fault| refused(fault, &case.application))?;
        if open.by_operator.as_ref() != Some(&validating.sealed) {
            // Another was sent meanwhile: this one counts no longer, right or wrong.
            return refused(Refused::NoCode, &case.application);
        }
        if outcome.is_ok() {
            let event = case.application.enter_code(purpose, true);
            case.take(round.now_ms, event);
            self.settle(round, &mut case).await?;
            return Ok((200, Some(case), Value::Null));
        }
        let mut left = tries_left(&case.application, limits);
        for _ in 0..if tries_are_over { left } else { 1 } {
            let event = case.application.enter_code(purpose, false);
            case.take(round.now_ms, event);
            left -= 1;
        }
        self.settle(round, &mut case).await?;
        count(&self.counts.codes_wrong);
        let what = format!("{left} tries are left for this code; the next one needs POST …/code");
        let (status, body) = said(Kind::WrongCode, what);
        Ok((status, None, body))
    }

    /// An application of which the first part of this request has assured itself.
    pub(super) async fn again(&self, round: &mut Round<'_>, id: &str) -> Done<Case> {
        let Some(mut case) = self.load(round, id).await? else { return not_found() };
        self.settle(round, &mut case).await?;
        Ok(case)
    }
}

fn tries_left(application: &Application, limits: &Limits) -> u32 {
    let mismatches = application.code.as_ref().map_or(0, |code| code.mismatches);
    limits.code_tries.saturating_sub(mismatches).max(1)
}

async fn send(api: Option<&Api>, sending: &Sending) -> Result<String, Fault> {
    let body = json!({"phoneNumber": sending.phone, "message": sending.text});
    let said = api.ok_or_else(gone)?.ask("send-code", &body).await?;
    let id = said["authenticationId"].as_str().filter(|id| (1..=36).contains(&id.chars().count()));
    id.map(str::to_owned).ok_or_else(|| strange("an answer without authenticationId"))
}

async fn validate(api: Option<&Api>, validating: &Validating) -> Result<(), Fault> {
    let Validating { authentication_id, code, .. } = validating;
    let body = json!({"authenticationId": authentication_id, "code": code});
    match api.ok_or_else(gone)?.ask("validate-code", &body).await? {
        Value::Null => Ok(()),
        // Right is 204 alone: nothing that a proxy may say in its place opens a loan.
        _ => Err(strange("an answer to validate-code that is not 204")),
    }
}

fn gone() -> Fault {
    Fault::Away { what: "it is configured no more".to_owned(), was_sent: false }
}

fn strange(what: &str) -> Fault {
    Fault::Away { what: what.to_owned(), was_sent: true }
}

fn not_sent(fault: &Fault) -> (u16, Value) {
    match (fault, fault.code()) {
        (_, "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED") | (Fault::Said { status: 429, .. }, _) => {
            said(Kind::TooManyCodes, "the operator sends no more codes now: wait, then send it again")
        }
        (
            _,
            code @ ("ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED"
            | "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED"),
        ) => said(
            Kind::PhoneNotServed,
            format!("the operator says {code}: open the application with another phone"),
        ),
        (Fault::Said { status: 404, .. }, _) => said(
            Kind::PhoneNotServed,
            "the operator has no such subscriber: open the application with another phone",
        ),
        (Fault::Away { was_sent: true, .. }, _) => not_known(),
        _ => said(Kind::OperatorAway, "the operator could not send the code: send it again"),
    }
}
