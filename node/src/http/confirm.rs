//! The citizen's page by HTTP: the page itself under `/confirm`, and what its script asks.
//!
//! The page is the same for everybody, and fetching it uses nothing up. The token of a link stands behind the `#`, which no
//! browser sends; the script posts it and is given a session, a bearer token (RFC 6750) that it keeps for its tab alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex, PoisonError};

use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use lending::code;
use rules::Language;
use serde::Deserialize;

use super::loans::parse;
use super::problem::{Kind, Problem};
use super::{Answer, Desk, Route, is_json, key, language, plain, read, refusal};
use crate::config::Page;
use crate::loans::{Act, Loans, Next, PICTURE, PageAsked, hash_of};
use crate::store::now_ms;

/// No body but a picture is longer.
const BODY: usize = 4096;

/// Nothing from anywhere else; the camera is this page's alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const FILES: [(&str, &str, &str); 5] = [
    ("", "text/html; charset=utf-8", include_str!("../../page/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("../../page/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../../page/page.js")),
    ("camera.js", "text/javascript; charset=utf-8", include_str!("../../page/camera.js")),
    ("server.js", "text/javascript; charset=utf-8", include_str!("../../page/server.js")),
];

/// The page's words as JSON, by language.
static WORDS: LazyLock<[String; 3]> = LazyLock::new(|| {
    // In the order of `Language`.
    [
        include_str!("../../../rulebook/loans/page/kk.toml"),
        include_str!("../../../rulebook/loans/page/ru.toml"),
        include_str!("../../../rulebook/loans/page/en.toml"),
    ]
    .map(|text| {
        let words: toml::Table = toml::from_str(text).expect("shipped words are tested");
        serde_json::to_string(&words).expect("plain values")
    })
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entered {
    code: String,
}

impl Entered {
    fn read(body: &[u8]) -> Result<String, Problem> {
        let Entered { code } = parse(body)?;
        match code::is_code(&code) {
            true => Ok(code),
            false => Err(Problem::new(Kind::InvalidRequest, "code is not of 6 digits")),
        }
    }
}

/// Requests of addresses within this minute, of all workers together.
static MINUTE: LazyLock<Mutex<(i64, HashMap<IpAddr, u32>)>> = LazyLock::new(Mutex::default);
/// So many addresses are counted; those beyond are not limited, so that a flood from many locks nobody out.
const ADDRESSES: usize = 100_000;

/// A token of 256 bits in base64url, or what may be one.
fn is_token(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn too_many(address: Option<IpAddr>, most: u32) -> bool {
    let Some(address) = address else { return false };
    let minute = now_ms() / 60_000;
    let mut counted = MINUTE.lock().unwrap_or_else(PoisonError::into_inner);
    if counted.0 != minute {
        *counted = (minute, HashMap::new());
    }
    if counted.1.len() >= ADDRESSES && !counted.1.contains_key(&address) {
        return false;
    }
    let count = counted.1.entry(address).or_default();
    *count += 1;
    *count > most
}

impl Desk {
    /// Whose request it is: the peer, or who a proxy in front says.
    fn client(&self, page: &Page, head: &hyper::http::request::Parts, peer: IpAddr) -> Option<IpAddr> {
        match &page.address_header {
            None => Some(peer),
            // What the last proxy added stands last.
            Some(name) => {
                let last = head.headers.get_all(name).iter().next_back()?.to_str().ok()?;
                last.rsplit(',').next()?.trim().parse().ok()
            }
        }
    }

    pub(super) async fn confirm(&self, request: Request<Incoming>, peer: IpAddr) -> Result<Answer, Problem> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        let rest = head.uri.path()[Route::Confirm.path().len()..].trim_start_matches('/').to_owned();
        let page = setup.loans.as_ref().and_then(|loans| loans.page.as_ref()).zip(self.loans.as_ref());
        let not_configured =
            || Problem::new(Kind::NotConfigured, "this node has no citizen's page: configure [loans.page]");
        let (page, loans) = page.ok_or_else(not_configured)?;
        let is_get = matches!(head.method, Method::GET | Method::HEAD);
        if let Some((kind, body)) = file(&rest) {
            return match is_get {
                true => Ok(shown(kind, body)),
                false => Ok(wrong_method("GET, HEAD")),
            };
        }
        let address = self.client(page, &head, peer);
        if too_many(address, page.requests_per_min) {
            return Err(Problem::new(
                Kind::TooManyRequests,
                "too many requests from your address: wait a minute",
            ));
        }
        let gets = matches!(rest.as_str(), "state");
        let path: Vec<&str> = rest.split('/').collect();
        let is_there = gets
            || matches!(
                path.as_slice(),
                ["session" | "code" | "enter" | "deny" | "face"]
                    | ["ban", "set" | "code" | "lift"]
                    | ["face", _]
            );
        if !is_there {
            return Err(Problem::new(Kind::NotFound, "docs/lending.md says what is here"));
        }
        if is_get != gets {
            return Ok(wrong_method(if gets { "GET, HEAD" } else { "POST" }));
        }
        let language = language::of(&head.headers, setup.language);
        let session = key(&head.headers).and_then(|key| std::str::from_utf8(key).ok()).unwrap_or("");
        let no_session = || Problem::new(Kind::NoSession, "send the session as Authorization: Bearer");
        if path != ["session"] && !is_token(session) {
            return Err(no_session());
        }
        let citizen = |act| PageAsked { session: session.to_owned(), address, language, act };
        if let ["face", nonce] = path.as_slice() {
            let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            if kind != Some("image/jpeg") {
                return Err(Problem::new(Kind::UnsupportedMediaType, "send Content-Type: image/jpeg"));
            }
            let picture = read(body, PICTURE, setup.http.body).await?;
            return picture_came(loans, session, nonce, picture, citizen).await;
        }
        let body = if gets { Bytes::new() } else { read(body, BODY, setup.http.body).await? };
        if !body.is_empty() {
            is_json(&head.headers)?;
        }
        let act = match path.as_slice() {
            ["session"] => {
                let Token { token } = parse(&body)?;
                if !is_token(&token) {
                    return Err(Problem::new(Kind::LinkNotKnown, "this is no link of ours: open it whole"));
                }
                Act::Open { token }
            }
            ["state"] => Act::See,
            ["code"] => Act::SendCode,
            ["enter"] => Act::EnterCode { code: Entered::read(&body)? },
            ["deny"] => Act::Deny,
            ["face"] => Act::BeginFace,
            ["ban", "set"] => Act::SetBan,
            ["ban", "code"] => Act::SendBanCode,
            _ => Act::LiftBan { code: Entered::read(&body)? },
        };
        let (status, body) = loans.ask_for_citizen(citizen(act)).await?;
        Ok(told(status, body))
    }
}

async fn picture_came(
    loans: &Loans,
    session: &str,
    nonce: &str,
    picture: Bytes,
    citizen: impl Fn(Act) -> PageAsked,
) -> Result<Answer, Problem> {
    let not_configured = || Problem::new(Kind::NotConfigured, "this node judges no faces");
    let faces = loans.faces.as_ref().ok_or_else(not_configured)?;
    match faces.see(&hash_of(session), nonce, picture).await? {
        Next::Told(told_) => Ok(told(200, told_.to_string())),
        Next::Judged { judgement, pictures } => {
            let act = Act::FaceJudged { judgement, pictures };
            let (status, body) = loans.ask_for_citizen(citizen(act)).await?;
            Ok(told(status, body))
        }
    }
}

fn told(status: u16, body: String) -> Answer {
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let mut answer = plain(kind, body);
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn wrong_method(methods: &'static str) -> Answer {
    let problem = Problem::new(Kind::MethodNotAllowed, format!("this takes {methods}"));
    let mut answer = refusal(Route::Confirm, &problem);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

/// A file of the page by its name.
fn file(name: &str) -> Option<(&'static str, &'static str)> {
    if let Some(code) = name.strip_prefix("words/") {
        let language = Language::from_code(code.strip_suffix(".json")?)?;
        return Some(("application/json", &WORDS[language as usize]));
    }
    FILES.into_iter().find(|(path, ..)| *path == name).map(|(_, kind, body)| (kind, body))
}

fn shown(kind: &'static str, body: &'static str) -> Answer {
    let mut answer = plain(kind, body);
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(), geolocation=()"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_same_words_in_every_language() {
        let keys = WORDS.each_ref().map(|text| {
            let words: std::collections::BTreeMap<String, String> = serde_json::from_str(text).unwrap();
            assert!(words.values().all(|word| !word.trim().is_empty()));
            words.into_keys().collect::<Vec<_>>()
        });
        assert!(keys[0] == keys[1] && keys[1] == keys[2]);
        // Every word that the page or its scripts name by data-word, word("…") or a prefix is there.
        for (_, _, text) in FILES {
            for (mark, end) in
                [("data-word=\"", '"'), ("data-label=\"", '"'), ("word(\"", '"'), ("filled(\"", '"')]
            {
                for name in text.split(mark).skip(1).filter_map(|rest| rest.split(end).next()) {
                    assert!(keys[0].iter().any(|key| key == name), "{name}");
                }
            }
        }
    }

    #[test]
    fn a_token_is_43_characters() {
        assert!(is_token(&"aZ0-_".repeat(9)[..43]));
        assert!(!is_token("") && !is_token(&"a".repeat(44)) && !is_token(&"ä".repeat(43)));
    }
}
