//! A creditor's side of the HTTP interface (docs/lending.md): a token that is kept until it counts no longer, and questions.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use journal::hex;
use qalqan::loans::random;
use reqwest::{Method, StatusCode};
use rules::Language;
use serde_json::Value;

/// What stands in front of the refusal of a wrong code.
pub const WRONG_CODE: &str = "wrong-code";
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no answer.
pub enum Fault {
    /// The node said no, in its words.
    Refused(String),
    /// It did not say: it may be done or not.
    Away(String),
}

pub struct Api {
    http: reqwest::Client,
    url: String,
    basic: String,
    language: &'static str,
    token: Option<String>,
}

/// An Idempotency-Key: with it a request may be sent again.
pub fn new_key() -> String {
    hex(&random::<16>())
}

impl Api {
    pub fn new(url: &str, client: &str, secret: &str, language: Language) -> Result<Api, String> {
        let http = reqwest::Client::builder().timeout(PATIENCE).user_agent("qalqan loan try");
        Ok(Api {
            http: http.build().map_err(|error| error.to_string())?,
            url: url.trim_end_matches('/').to_owned(),
            basic: STANDARD.encode(format!("{client}:{secret}")),
            language: language.code(),
            token: None,
        })
    }

    /// Asks with a token, gets another where it counts no longer.
    pub async fn ask(&mut self, method: &str, path: &str, key: &str, body: &str) -> Result<Value, Fault> {
        for is_last in [false, true] {
            let token = match &self.token {
                Some(token) => token.clone(),
                None => self.new_token().await?,
            };
            let method = if method == "GET" { Method::GET } else { Method::POST };
            let mut request = self.http.request(method, format!("{}{path}", self.url));
            request = request
                .header("authorization", format!("Bearer {token}"))
                .header("accept-language", self.language);
            if !key.is_empty() {
                request = request.header("idempotency-key", key);
            }
            if !body.is_empty() {
                request = request.header("content-type", "application/json").body(body.to_owned());
            }
            let (status, text) = self.send(request).await?;
            if status == StatusCode::UNAUTHORIZED && !is_last {
                self.token = None;
                continue;
            }
            return read(status, text);
        }
        unreachable!("the last round returns")
    }

    async fn new_token(&mut self) -> Result<String, Fault> {
        let request = self
            .http
            .post(format!("{}/oauth2/token", self.url))
            .header("authorization", format!("Basic {}", self.basic))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials");
        let (status, text) = self.send(request).await?;
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(token) = said["access_token"].as_str() else {
            let error = said["error"].as_str().unwrap_or("no access token");
            return Err(Fault::Refused(format!("{}/oauth2/token: {status}: {error}", self.url)));
        };
        self.token = Some(token.to_owned());
        Ok(token.to_owned())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, String), Fault> {
        let away = |error: reqwest::Error| Fault::Away(format!("{}: {}", self.url, error.without_url()));
        let answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let text = answer.text().await.map_err(away)?;
        match status {
            StatusCode::SERVICE_UNAVAILABLE => Err(Fault::Away(format!("{}: {text}", self.url))),
            _ => Ok((status, text)),
        }
    }
}

/// JSON, a JWS as text, or why not: the name of the problem and what it says (RFC 9457).
fn read(status: StatusCode, text: String) -> Result<Value, Fault> {
    let said = serde_json::from_str(&text);
    if status.is_success() {
        return Ok(said.unwrap_or(Value::String(text)));
    }
    let said: Value = said.unwrap_or_default();
    let of = |name: &str| said[name].as_str().unwrap_or("").to_owned();
    let name = of("type").rsplit(':').next().unwrap_or("").to_owned();
    Err(Fault::Refused(format!("{name}: {}", of("detail"))))
}
