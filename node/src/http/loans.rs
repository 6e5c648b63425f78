//! The loan gate by HTTP: tokens (RFC 6749 section 4.4), applications, self-bans, signals, changes of phones.

use ::casework::{Identifier, IdentifierKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use lending::{Change, CreditorClass, Kind as LoanKind, Purpose, Sum, code};
use numbering::Number;
use rules::Language;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::problem::{Kind, Problem, masked};
use super::{Answer, Desk, Route, is_json, language, plain, read, token, wrong_method};
use crate::config::{Loans as Settings, Setup};
use crate::loans::{Asked, Command, Opening, Reference, Scope, needs};
use crate::store::now_ms;

/// No body of a loan is longer.
const BODY: usize = 16 * 1024;
/// A reference photo of 2 MiB in base64, and some.
const REFERENCE: usize = 3 * 1024 * 1024;
/// A phone's change may be told so late, ms.
const PAST_MS: i64 = 31 * 86_400_000;

/// A loan applied for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoanApplication {
    /// The applicant's individual identification number.
    #[schema(pattern = "^[0-9]{12}$")]
    iin: String,
    /// The phone that confirms, E.164.
    #[schema(pattern = r"^\+[1-9][0-9]{6,14}$")]
    phone: String,
    /// In units of the currency, at most two decimals: `589800.00`.
    #[schema(pattern = r"^[0-9]{1,13}(\.[0-9]{1,2})?$")]
    sum: String,
    /// ISO 4217; that of the node's rulebook.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    #[schema(minimum = 1, maximum = 20000)]
    term_days: u32,
    /// unsecured, secured, goods, refinancing (at the same creditor), card-limit.
    #[schema(pattern = "^(unsecured|secured|goods|refinancing|card-limit)$")]
    kind: String,
    /// online or branch.
    #[schema(pattern = "^(online|branch)$")]
    channel: String,
    /// Of the applicant's texts: kk, ru, en.
    #[serde(default)]
    #[schema(pattern = "^(kk|ru|en)$")]
    language: Option<String>,
    /// Where the money is to be paid and what the application comes from: compared with what investigators confirmed, sealed, never shown.
    #[serde(default)]
    #[schema(max_items = 16)]
    identifiers: Vec<LoanIdentifier>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoanIdentifier {
    /// account, card, wallet, phone, imei, imsi, ip, web, messenger, email.
    #[schema(pattern = "^(phone|imei|imsi|ip|account|card|wallet|web|messenger|email)$")]
    kind: String,
    /// In any of the ways it is written.
    #[schema(max_length = 200, example = "KZ86 125K ZT50 0410 0100")]
    value: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendCode {
    /// The IP address the applicant comes from: codes are limited by it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    address: Option<std::net::IpAddr>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeLink {
    /// Whether the applicant is sent the link by SMS.
    #[serde(default)]
    send: bool,
}

/// A photo that a living face is compared with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferencePhoto {
    #[schema(pattern = "^[0-9]{12}$")]
    iin: String,
    /// JPEG or PNG in base64 (RFC 4648 section 4), at most 2 MiB.
    #[schema(pattern = "^[A-Za-z0-9+/]+=*$")]
    picture: String,
}

/// Whose photo is deleted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoPhoto {
    #[schema(pattern = "^[0-9]{12}$")]
    iin: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnteredCode {
    /// 6 digits; where an operator sends the codes, what it sends.
    #[schema(pattern = "^[0-9A-Za-z]{1,10}$")]
    code: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    #[schema(pattern = "^[0-9]{12}$")]
    iin: String,
    /// Where the person is told of attempts, E.164; only for setting a ban.
    #[serde(default)]
    #[schema(pattern = r"^\+[1-9][0-9]{6,14}$")]
    phone: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Phone {
    #[schema(pattern = r"^\+[1-9][0-9]{6,14}$")]
    phone: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PhoneChange {
    #[schema(pattern = r"^\+[1-9][0-9]{6,14}$")]
    phone: String,
    /// sim-swapped, ported or forwarded.
    #[schema(pattern = "^(sim-swapped|ported|forwarded)$")]
    change: String,
    /// RFC 3339.
    #[schema(format = "date-time")]
    time: String,
}

fn invalid(what: impl Into<String>) -> Problem {
    Problem::new(Kind::InvalidRequest, what)
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let kind = if error.is_data() { Kind::InvalidRequest } else { Kind::InvalidJson };
        Problem::new(kind, masked(&error.to_string()))
    })
}

fn phone(text: &str) -> Result<Number, Problem> {
    Number::parse(text).map_err(|_| invalid("phone is not in E.164: + and 7 to 15 digits"))
}

impl Desk {
    /// All that belongs to loans.
    pub(super) async fn lending(&self, route: Route, request: Request<Incoming>) -> Result<Answer, Problem> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let rest: Vec<&str> = path[route.path().len()..].split('/').skip(1).collect();
        let (gets, posts) = match (route, rest.as_slice()) {
            (Route::Loans, []) => (false, true),
            (Route::Loans, [id]) if is_id(id) => (true, false),
            (Route::Loans, [id, "document"]) if is_id(id) => (true, false),
            (Route::Loans, [id, "code" | "confirm" | "consent" | "cancel" | "link"]) if is_id(id) => {
                (false, true)
            }
            (Route::Loans, ["keys"]) => (true, false),
            (Route::Bans, ["set" | "lift" | "retrieve"]) => (false, true),
            (Route::Signals, ["scam"]) => (false, true),
            (Route::Phones, ["changes"]) => (false, true),
            (Route::References, [] | ["delete"]) => (false, true),
            _ => return Err(Problem::new(Kind::NotFound, "docs/lending.md says what is here")),
        };
        let fits = match head.method {
            Method::POST => posts,
            Method::GET | Method::HEAD => gets,
            _ => false,
        };
        if !fits {
            return Ok(wrong_method(route, if posts { "POST" } else { "GET, HEAD" }));
        }
        let shown = if rest == ["keys"] { String::new() } else { token::shown(&head.headers)? };
        let not_configured =
            || Problem::new(Kind::NotConfigured, "this node is no loan gate: configure [loans]");
        let (settings, loans) = setup.loans.as_ref().zip(self.loans.as_ref()).ok_or_else(not_configured)?;
        if rest == ["keys"] {
            let public = settings.signing.public();
            let key = serde_json::json!({"keys": [
                {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": public.id(), "x": public}
            ]});
            return Ok(plain("application/json", key.to_string()));
        }
        let known = settings.clients.of_token(&settings.vault, &shown, now_ms());
        let (client, scopes) = known.ok_or_else(token::unknown)?;
        let body = if posts {
            read(body, if route == Route::References { REFERENCE } else { BODY }, setup.http.body).await?
        } else {
            Bytes::new()
        };
        if posts && !(body.is_empty() && rest.len() == 2 && rest[1] != "confirm" && rest[1] != "consent") {
            is_json(&head.headers)?;
        }
        let asked = Question { settings, setup: &setup, route, rest: &rest, class: client.class };
        let command = asked.command(&body);
        let scope = match route {
            Route::Bans => Scope::Bans,
            Route::Signals => Scope::Signals,
            Route::Phones => Scope::Phones,
            Route::References => Scope::References,
            _ => Scope::Loans,
        };
        if !scopes.contains(&scope) {
            let what = format!("this needs a token of scope {}", scope.name());
            return Err(Problem::new(Kind::InsufficientScope, what));
        }
        let mut command = command?;
        debug_assert!(needs(&command) == scope);
        if let Command::KeepReference { reference, .. } = &mut command {
            loans.measure(reference).await?;
        }
        let repeats = repeats(&head.headers, path, &body)?;
        if repeats.is_none() && matches!(command, Command::Open(_)) {
            let what =
                "send an Idempotency-Key of 1 to 128 printable characters, a new one for each application";
            return Err(Problem::new(Kind::NoIdempotencyKey, what));
        }
        let language = language::of(&head.headers, setup.language);
        let is_document = matches!(command, Command::Document { .. });
        let (status, body) = loans.ask(Asked { client: client.clone(), language, repeats, command }).await?;
        let mut answer = if is_document {
            let jws: String = serde_json::from_str(&body).unwrap_or_default();
            plain("application/jose", jws)
        } else {
            let kind = if status < 400 { "application/json" } else { "application/problem+json" };
            plain(kind, body)
        };
        *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }
}

/// 32 hex digits.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The Idempotency-Key of a request, and the hash of what is asked with it.
pub(super) fn repeats(
    headers: &HeaderMap,
    path: &str,
    body: &[u8],
) -> Result<Option<(String, String)>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    // The draft has quotes around it; many leave them out.
    let bare = |text: &str| {
        let text = text.trim();
        let text = text.strip_prefix('"').unwrap_or(text);
        text.strip_suffix('"').unwrap_or(text).to_owned()
    };
    let text = value.to_str().ok().map(bare);
    let fine = |text: &String| {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
        (1..=128).contains(&text.len()) && text.bytes().all(is_plain)
    };
    match text.filter(fine) {
        Some(text) => {
            let hash = journal::sha256(&[path.as_bytes(), b"\n", body].concat());
            Ok(Some((text, journal::hex(&hash))))
        }
        None => Err(Problem::new(
            Kind::NoIdempotencyKey,
            "Idempotency-Key is not of 1 to 128 printable characters",
        )),
    }
}

/// A request whose asker is known.
struct Question<'r> {
    settings: &'r Settings,
    setup: &'r Setup,
    route: Route,
    rest: &'r [&'r str],
    class: Option<CreditorClass>,
}

impl Question<'_> {
    fn command(&self, body: &[u8]) -> Result<Command, Problem> {
        let id = || self.rest[0].to_owned();
        Ok(match (self.route, self.rest) {
            (Route::Loans, []) => Command::Open(self.opening(parse(body)?)?),
            (Route::Loans, [_]) => Command::Look { id: id() },
            (Route::Loans, [_, "document"]) => Command::Document { id: id() },
            (Route::Loans, [_, "cancel"]) => Command::Cancel { id: id() },
            (Route::Loans, [_, "code"]) => {
                let asked: SendCode = if body.is_empty() { SendCode { address: None } } else { parse(body)? };
                Command::SendCode { id: id(), address: asked.address.map(|address| address.to_string()) }
            }
            (Route::Loans, [_, "link"]) => {
                let asked: MakeLink = if body.is_empty() { MakeLink::default() } else { parse(body)? };
                Command::MakeLink { id: id(), send: asked.send }
            }
            (Route::Loans, [_, purpose]) => {
                let EnteredCode { code } = parse(body)?;
                let is_code = match self.settings.one_time_password {
                    None => code::is_code(&code),
                    // CAMARA: at most 10 characters of the operator's choice.
                    Some(_) => {
                        (1..=10).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric())
                    }
                };
                if !is_code {
                    return Err(invalid(
                        "code is not of 6 digits, or of 1 to 10 letters and digits where an operator sends it",
                    ));
                }
                let purpose = if *purpose == "confirm" { Purpose::Confirm } else { Purpose::Consent };
                Command::EnterCode { id: id(), purpose, code }
            }
            (Route::Bans, [what]) => {
                let person: Person = parse(body)?;
                let iin = self.iin(&person.iin)?;
                match *what {
                    "set" => Command::SetBan { iin, phone: person.phone.as_deref().map(phone).transpose()? },
                    _ if person.phone.is_some() => return Err(invalid("phone is only for setting a ban")),
                    "lift" => Command::LiftBan { iin },
                    _ => Command::SeeBan { iin },
                }
            }
            (Route::References, []) => {
                let photo: ReferencePhoto = parse(body)?;
                let picture = STANDARD.decode(&photo.picture);
                let picture = picture.map_err(|_| invalid("picture is not in base64"))?;
                Command::KeepReference { iin: self.iin(&photo.iin)?, reference: Reference::of(picture) }
            }
            (Route::References, _) => {
                let photo: NoPhoto = parse(body)?;
                Command::DropReference { iin: self.iin(&photo.iin)? }
            }
            (Route::Signals, _) => {
                let asked: Phone = parse(body)?;
                Command::Scam { phone: phone(&asked.phone)? }
            }
            _ => {
                let told: PhoneChange = parse(body)?;
                let change = Change::from_name(&told.change);
                let change = change.ok_or_else(|| invalid("change is sim-swapped, ported or forwarded"))?;
                let time = told.time.parse::<jiff::Timestamp>();
                let at_ms = time.map_err(|_| invalid("time is not of RFC 3339"))?.as_millisecond();
                let now_ms = now_ms();
                if !(now_ms - PAST_MS..=now_ms + 60_000).contains(&at_ms) {
                    return Err(invalid("time is more than 31 days ago or a minute ahead"));
                }
                Command::PhoneChanged { phone: phone(&told.phone)?, change, at_ms }
            }
        })
    }

    fn iin(&self, text: &str) -> Result<String, Problem> {
        let rulebook = &self.settings.rulebook;
        let iin = rulebook.iin.read(text, rulebook.day(now_ms()));
        iin.map(|iin| iin.reveal()).map_err(|fault| invalid(format!("iin: {fault}")))
    }

    fn identifiers(&self, asked: &[LoanIdentifier]) -> Result<Vec<Identifier>, Problem> {
        if asked.len() > 16 {
            return Err(invalid("identifiers are at most 16"));
        }
        let read = asked.iter().enumerate().map(|(n, one)| {
            let kinds = "kind is phone, imei, imsi, ip, account, card, wallet, web, messenger or email";
            let kind = IdentifierKind::from_name(&one.kind);
            let kind = kind.ok_or_else(|| invalid(format!("identifiers[{n}]: {kinds}")))?;
            let read = Identifier::read(kind, &one.value, &self.setup.policy.plan);
            read.map_err(|fault| invalid(format!("identifiers[{n}]: {fault}")))
        });
        read.collect()
    }

    fn opening(&self, asked: LoanApplication) -> Result<Opening, Problem> {
        let class = self.class.ok_or_else(|| invalid("this client is no creditor: its class is empty"))?;
        let kinds = "kind is unsecured, secured, goods, refinancing or card-limit";
        let currency = &self.settings.rulebook.currency;
        if asked.currency != *currency {
            return Err(invalid(format!("currency is {currency} here")));
        }
        if !(1..=20_000).contains(&asked.term_days) {
            return Err(invalid("term_days is not between 1 and 20000"));
        }
        let language = match asked.language.as_deref() {
            None => self.setup.language,
            Some(code) => Language::from_code(code).ok_or_else(|| invalid("language is kk, ru or en"))?,
        };
        Ok(Opening {
            iin: self.iin(&asked.iin)?,
            phone: phone(&asked.phone)?,
            class,
            kind: LoanKind::from_name(&asked.kind).ok_or_else(|| invalid(kinds))?,
            is_online: match asked.channel.as_str() {
                "online" => true,
                "branch" => false,
                _ => return Err(invalid("channel is online or branch")),
            },
            sum: Sum::parse(&asked.sum).ok_or_else(|| {
                invalid("sum is not a sum, such as \"589800.00\": above 0, at most two decimals")
            })?,
            term_days: asked.term_days,
            language,
            identifiers: self.identifiers(&asked.identifiers)?,
        })
    }
}
