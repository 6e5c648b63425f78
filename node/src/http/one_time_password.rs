//! CAMARA one-time-password-sms 1.1, as its server: codes sent and checked for clients of the loan gate's token endpoint.
//!
//! Bodies and errors are of that API's form, `ErrorInfo`. Properties that it does not name are refused, as its next release
//! asks for. <https://github.com/camaraproject/OTPValidation>, release r3.2.

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request};
use numbering::{Kind as Use, Number, Owner};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::loans::repeats;
use super::operators::{CORRELATOR, correlated, is_correlator};
use super::problem::{Problem, masked};
use super::{Answer, Desk, Route, UNKNOWN_BODY, is_json, key, read};
use crate::config::Setup;
use crate::loans::{Asked, Command, Scope};
use crate::roaming::camara_server::CamaraError;
use crate::store::now_ms;

/// No message is longer, in characters.
const MESSAGE: usize = 160;

/// A code to be sent
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = SendCodeBody)]
pub struct SendCode {
    /// E.164.
    #[schema(pattern = r"^\+[1-9][0-9]{4,14}$")]
    phone_number: String,
    /// The text, with `{{code}}` where the code goes. Control characters but line feeds become spaces.
    #[schema(pattern = r".*\{\{code\}\}.*", max_length = 160)]
    message: String,
}

/// A code that was entered
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ValidateCodeBody)]
pub struct ValidateCode {
    #[schema(max_length = 36)]
    authentication_id: String,
    #[schema(max_length = 10)]
    code: String,
}

/// What was sent is known by this name
#[derive(ToSchema)]
#[schema(as = SendCodeResponse, rename_all = "camelCase")]
#[allow(dead_code)]
pub struct CodeSent {
    #[schema(max_length = 36)]
    authentication_id: String,
}

/// Why there is no answer, as CAMARA says it
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct ErrorInfo {
    /// The same as the answer's status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// For programs: INVALID_ARGUMENT, ONE_TIME_PASSWORD_SMS.INVALID_OTP and so on.
    code: String,
    /// For people.
    message: String,
}

fn error(status: u16, code: &'static str, message: impl Into<String>) -> CamaraError {
    CamaraError { status, code, message: message.into() }
}

fn invalid(message: impl Into<String>) -> CamaraError {
    error(400, "INVALID_ARGUMENT", message)
}

/// A problem of this node in the words of CAMARA.
fn of_problem(problem: Problem) -> CamaraError {
    let (status, code) = match problem.kind.status() {
        415 => (415, "UNSUPPORTED_MEDIA_TYPE"),
        503 => (503, "UNAVAILABLE"),
        status @ 500.. => (status, "INTERNAL"),
        _ => (400, "INVALID_ARGUMENT"),
    };
    error(status, code, problem.detail)
}

impl Desk {
    pub(super) async fn one_time_password(&self, request: Request<Incoming>) -> Answer {
        let correlator = request.headers().get(CORRELATOR).cloned();
        let (status, body) = match self.verification(request).await {
            Ok((204, _)) => (204, Vec::new()),
            Ok((status, body)) => (status, body.into_bytes()),
            Err(error) => (error.status, error.to_json()),
        };
        let mut answer = correlated(status, body, correlator);
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            204 => drop(headers.remove(header::CONTENT_TYPE)),
            401 => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            405 => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST"))),
            503 => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => {}
        }
        answer
    }

    async fn verification(&self, request: Request<Incoming>) -> Result<(u16, String), CamaraError> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        if head.headers.get(CORRELATOR).is_some_and(|value| !is_correlator(value)) {
            return Err(invalid(
                "x-correlator is not of at most 256 letters, digits and - _ : ; . / < > { }.",
            ));
        }
        let path = head.uri.path();
        let operation = &path[Route::OneTimePassword.path().len()..];
        if !matches!(operation, "/send-code" | "/validate-code") {
            return Err(error(404, "NOT_FOUND", "Here are /send-code and /validate-code."));
        }
        if head.method != Method::POST {
            return Err(error(405, "METHOD_NOT_ALLOWED", "This takes POST."));
        }
        let unauthenticated = || {
            error(
                401,
                "UNAUTHENTICATED",
                "A valid access token of /oauth2/token is needed: Authorization: Bearer.",
            )
        };
        let token = key(&head.headers).and_then(|key| std::str::from_utf8(key).ok());
        let token = token.ok_or_else(unauthenticated)?;
        let (settings, loans) = setup.loans.as_ref().zip(self.loans.as_ref()).ok_or_else(|| {
            error(403, "PERMISSION_DENIED", "This node offers no one-time-password-sms: configure [loans].")
        })?;
        let known = settings.clients.of_token(&settings.vault, token, now_ms());
        let (client, scopes) = known.ok_or_else(unauthenticated)?;
        if !scopes.contains(&Scope::OneTimePasswords) {
            let what = format!("The token has not the scope {}.", Scope::OneTimePasswords.name());
            return Err(error(403, "PERMISSION_DENIED", what));
        }
        let body = read(body, UNKNOWN_BODY, setup.http.body).await.map_err(of_problem)?;
        if body.is_empty() {
            return Err(invalid("The body is missing."));
        }
        is_json(&head.headers).map_err(of_problem)?;
        let command = match operation {
            "/send-code" => sending(&setup, parse(&body)?)?,
            _ => validating(parse(&body)?)?,
        };
        let repeats = repeats(&head.headers, path, &body).map_err(of_problem)?;
        let asked = Asked { client: client.clone(), language: setup.language, repeats, command };
        loans.ask(asked).await.map_err(of_problem)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CamaraError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| invalid("The body is not JSON."))?;
    if !value.is_object() {
        return Err(invalid("The body is not a JSON object."));
    }
    serde_json::from_value(value).map_err(|error| invalid(masked(&error.to_string())))
}

fn sending(setup: &Setup, asked: SendCode) -> Result<Command, CamaraError> {
    let SendCode { phone_number, message } = asked;
    let is_phone = phone_number.strip_prefix('+').is_some_and(|digits| {
        (5..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    });
    if !is_phone {
        return Err(invalid("phoneNumber is not in E.164: + and 5 to 15 digits."));
    }
    if message.chars().count() > MESSAGE || !message.contains("{{code}}") {
        return Err(invalid("message is longer than 160 characters, or has no {{code}}."));
    }
    let elsewhere = || error(404, "NOT_FOUND", "No subscriber of this country has this phoneNumber.");
    let phone = Number::parse(&phone_number).map_err(|_| elsewhere())?;
    let standing = setup.policy.plan.standing(phone);
    match standing.kind {
        _ if standing.owner != Owner::Home || !standing.fits(phone) => Err(elsewhere()),
        Use::Unallocated | Use::Unknown => Err(elsewhere()),
        Use::Mobile => Ok(Command::SendVerification { phone, message }),
        _ => Err(error(
            403,
            "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED",
            "Only mobile numbers receive texts.",
        )),
    }
}

fn validating(asked: ValidateCode) -> Result<Command, CamaraError> {
    let ValidateCode { authentication_id: id, code } = asked;
    if id.chars().count() > 36 || code.chars().count() > 10 {
        return Err(invalid("authenticationId has at most 36 characters, code at most 10."));
    }
    Ok(Command::ValidateVerification { id, code })
}
