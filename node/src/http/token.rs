//! Access tokens for client credentials: RFC 6749 sections 2.3.1, 4.4, 5.1 and 5.2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use super::problem::{Kind, Problem};
use super::{Answer, Desk, Route, UNKNOWN_BODY, key, plain, read, wrong_method};
use crate::clients::{self, Issuer, TOKEN_S};
use crate::store::now_ms;

impl Desk {
    /// A token of the loan gate or of the register.
    pub(super) async fn token(&self, request: Request<Incoming>) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return Ok(wrong_method(Route::Token, "POST"));
        }
        let setup = self.setup();
        let loans = setup.loans.as_deref().filter(|_| self.loans.is_some()).map(|loans| loans as &dyn Issuer);
        let case =
            setup.casework.as_deref().filter(|_| self.casework.is_some()).map(|case| case as &dyn Issuer);
        let issuers: Vec<&dyn Issuer> = loans.into_iter().chain(case).collect();
        if issuers.is_empty() {
            let what = "this node is no loan gate and has no register: configure [loans] or [casework]";
            return Err(Problem::new(Kind::NotConfigured, what));
        }
        let body = read(body, UNKNOWN_BODY, setup.http.body).await?;
        Ok(answer(&issuers, &head.headers, &body, now_ms()))
    }
}

/// The access token that a request shows.
pub fn shown(headers: &HeaderMap) -> Result<String, Problem> {
    let text = key(headers).and_then(|key| std::str::from_utf8(key).ok()).map(str::to_owned);
    let what = "send an access token of /oauth2/token as Authorization: Bearer";
    text.ok_or_else(|| Problem::new(Kind::NoKey, what))
}

/// It counts no longer, or is none.
pub fn unknown() -> Problem {
    Problem::new(Kind::WrongKey, "the access token counts no longer, or is none: get another")
}

/// Answers a request for a token.
fn answer(issuers: &[&dyn Issuer], headers: &HeaderMap, body: &[u8], now_ms: i64) -> Answer {
    let (status, body) = match grant(issuers, headers, body, now_ms) {
        Ok(body) => (StatusCode::OK, body),
        Err((error, what)) => {
            let status =
                if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
            (status, json!({"error": error, "error_description": what}))
        }
    };
    let mut answer = plain("application/json", body.to_string());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        let basic = HeaderValue::from_static("Basic realm=\"qalqan\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    }
    answer
}

type Refused = (&'static str, &'static str);

fn grant(
    issuers: &[&dyn Issuer],
    headers: &HeaderMap,
    body: &[u8],
    now_ms: i64,
) -> Result<serde_json::Value, Refused> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if kind.split(';').next().is_none_or(|kind| kind.trim() != "application/x-www-form-urlencoded") {
        return Err(("invalid_request", "send Content-Type: application/x-www-form-urlencoded"));
    }
    let fields = form(body).ok_or(("invalid_request", "the body is no form"))?;
    let field = |name: &str| -> Result<Option<&str>, Refused> {
        let mut found = fields.iter().filter(|(key, _)| key == name);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(("invalid_request", "a parameter is sent twice")),
            (found, None) => Ok(found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())),
        }
    };
    match field("grant_type")? {
        Some("client_credentials") => {}
        Some(_) => return Err(("unsupported_grant_type", "only client_credentials")),
        None => return Err(("invalid_request", "grant_type is missing: client_credentials")),
    }
    let wrong = ("invalid_client", "the client is not known, or its secret is wrong");
    let basic = headers.get(header::AUTHORIZATION).map(|value| basic(value.as_bytes()).ok_or(wrong));
    let (id, secret) = match (basic.transpose()?, field("client_id")?, field("client_secret")?) {
        (Some(_), _, Some(_)) => return Err(("invalid_request", "authenticate in one way, not in two")),
        (Some((id, secret)), ..) => (id, secret),
        (None, Some(id), Some(secret)) => (id.to_owned(), secret.to_owned()),
        _ => return Err(wrong),
    };
    // One name may be a client of both, with a secret at each.
    let found = issuers.iter().find_map(|issuer| Some((issuer, issuer.scopes(&id, &secret)?)));
    let (issuer, all) = found.ok_or(wrong)?;
    let scopes = match field("scope")? {
        None => all,
        Some(names) => {
            let asked: Option<Vec<_>> =
                names.split(' ').map(|name| all.iter().copied().find(|scope| *scope == name)).collect();
            asked.ok_or(("invalid_scope", "not all of this client"))?
        }
    };
    Ok(json!({
        "access_token": clients::token(issuer.vault(), &id, &scopes, now_ms),
        "token_type": "Bearer",
        "expires_in": TOKEN_S,
        "scope": scopes.join(" "),
    }))
}

/// RFC 7617, with id and secret form-encoded within (RFC 6749 section 2.3.1).
fn basic(value: &[u8]) -> Option<(String, String)> {
    let (scheme, text) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(text.trim_ascii()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((decoded(id)?, decoded(secret)?))
}

/// application/x-www-form-urlencoded.
pub fn form(body: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(body).ok()?;
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(key)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (two, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?);
                rest = after;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}
