//! The register of cases by HTTP: facts, links and groups, persons; who may ask what is decided with the register.

use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::loans::{parse, repeats};
use super::problem::{Kind, Problem};
use super::{Answer, Desk, Query, Route, is_file, is_json, language, plain, read, token, wrong_method};
use crate::casework::{Asked, Command, Form, Wanted};
use crate::store::now_ms;
use ::casework::CentreState;
use rules::Language;

/// No body but a file of facts is longer.
const BODY: usize = 256 * 1024;
/// Looks that one answer holds.
const LOOKS: i64 = 10_000;

/// The last part of a path that is an id.
fn id(text: &str) -> Option<i64> {
    let is_plain = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// What stands behind `/v1/case/`.
enum What<'p> {
    Get(&'p str, Option<i64>),
    Post(&'p str, Option<i64>),
    /// One posts, many are got.
    Both(&'p str, &'p str),
}

impl<'p> What<'p> {
    fn posted(&self) -> Option<(&'p str, Option<i64>)> {
        match *self {
            What::Post(what, id) => Some((what, id)),
            What::Both(what, _) => Some((what, None)),
            What::Get(..) => None,
        }
    }

    fn got(&self) -> Option<(&'p str, Option<i64>)> {
        match *self {
            What::Get(what, id) => Some((what, id)),
            What::Both(_, what) => Some((what, None)),
            What::Post(..) => None,
        }
    }
}

fn what<'p>(rest: &[&'p str]) -> Option<What<'p>> {
    Some(match *rest {
        ["facts", "search"] => What::Post("search", None),
        ["facts"] => What::Post("import", None),
        ["facts", fact] => What::Get("fact", Some(id(fact)?)),
        ["facts", fact, "links"] => What::Get("links", Some(id(fact)?)),
        ["facts", fact, act @ ("state" | "recovered" | "assign")] => What::Post(act, Some(id(fact)?)),
        ["cuts"] => What::Post("cut", None),
        ["cuts", cut, "undo"] => What::Post("undo-cut", Some(id(cut)?)),
        ["groups"] => What::Get("groups", None),
        ["groups", "confirm"] => What::Post("confirm-group", None),
        ["groups", "decline"] => What::Post("decline-group", None),
        ["groups", group] => What::Get("group", Some(id(group)?)),
        ["groups", group, act @ ("members" | "remove")] => What::Post(act, Some(id(group)?)),
        ["persons"] => What::Post("person", None),
        ["persons", "search"] => What::Post("search-persons", None),
        ["persons", person] => What::Get("person", Some(id(person)?)),
        ["persons", person, "identifiers"] => What::Post("identifiers", Some(id(person)?)),
        ["seizures"] => What::Post("seizure", None),
        ["seizures", seizure] => What::Get("seizure", Some(id(seizure)?)),
        ["seizures", seizure, "custody"] => What::Post("custody", Some(id(seizure)?)),
        ["requests"] => What::Both("request", "requests"),
        ["requests", request] => What::Get("request", Some(id(request)?)),
        ["requests", request, "answer"] => What::Post("answer", Some(id(request)?)),
        ["reports"] => What::Both("report", "reports"),
        ["reports", report] => What::Get("report", Some(id(report)?)),
        ["reports", report, act @ ("check" | "pass-on")] => What::Post(act, Some(id(report)?)),
        ["centres"] => What::Both("import-centres", "centres"),
        ["centres", centre] => What::Get("centre", Some(id(centre)?)),
        ["centres", centre, act @ ("judge" | "numbers")] => What::Post(act, Some(id(centre)?)),
        ["confirmed"] => What::Both("confirm", "confirmations"),
        ["confirmed", "retract"] => What::Post("retract", None),
        ["looks"] => What::Get("looks", None),
        _ => return None,
    })
}

fn posted(what: &str, id: Option<i64>, body: &Bytes, query: &Query) -> Result<Command, Problem> {
    let id = id.unwrap_or(0);
    Ok(match what {
        "import" => Command::Import(body.clone(), query.get("unit").map(str::to_owned)),
        "search" => Command::Search(parse(body)?),
        "state" => Command::ChangeState(id, parse(body)?),
        "recovered" => Command::Recover(id, parse(body)?),
        "assign" => Command::Assign(id, parse(body)?),
        "cut" => Command::Cut(parse(body)?),
        "undo-cut" => Command::UndoCut(id, parse(body)?),
        "decline-group" => Command::DeclineGroup(parse(body)?),
        "remove" => Command::LeaveGroup(id, parse(body)?),
        "confirm-group" => Command::ConfirmGroup(parse(body)?),
        "members" => Command::JoinGroup(id, parse(body)?),
        "person" => Command::KeepPerson(parse(body)?),
        "search-persons" => Command::SearchPersons(parse(body)?),
        "identifiers" => Command::AddIdentifiers(id, parse(body)?),
        "seizure" => Command::KeepSeizure(parse(body)?),
        "custody" => Command::HandOver(id, parse(body)?),
        "request" => Command::MakeRequest(parse(body)?),
        "answer" => Command::AnswerRequest(id, parse(body)?),
        "report" => Command::Report(parse(body)?),
        "check" => Command::CheckReport(id, parse(body)?),
        "pass-on" => Command::PassOn(id, parse(body)?),
        "import-centres" => Command::ImportCentres(body.clone(), query.get("unit").map(str::to_owned)),
        "judge" => Command::JudgeCentre(id, parse(body)?),
        "numbers" => Command::ConfirmCentre(id, parse(body)?),
        "confirm" => Command::Confirm(parse(body)?, true),
        "retract" => Command::Confirm(parse(body)?, false),
        _ => unreachable!("no other is posted"),
    })
}

fn got(what: &str, id: Option<i64>, query: &Query, language: Language) -> Result<Command, Problem> {
    let id = id.unwrap_or(0);
    let wrong = |what: &str| Problem::new(Kind::InvalidRequest, what);
    Ok(match what {
        "fact" => Command::Fact(id),
        "links" => Command::Links(id),
        "groups" => Command::Groups,
        "group" => Command::Group(id),
        "person" => Command::Person(id),
        "seizure" => Command::Seizure(id),
        "requests" => Command::Requests,
        "request" => Command::Request(id),
        "reports" => Command::Reports,
        "report" => Command::SeeReport(id),
        "centres" => {
            let state = query.get("state").map(|state| CentreState::from_name(state).ok_or(state));
            let wrong = |_| wrong("state is none of proposed, confirmed and dismissed");
            Command::Centres(state.transpose().map_err(wrong)?)
        }
        "centre" => Command::Centre(id),
        "confirmations" => {
            let after = query.get("after").map_or(Ok(0), str::parse);
            Command::Confirmations(after.map_err(|_| wrong("after is no number"))?)
        }
        "looks" => {
            let since_ms = match query.get("since").map(str::parse::<jiff::Timestamp>) {
                None => 0,
                Some(Ok(since)) => since.as_millisecond(),
                Some(Err(_)) => return Err(wrong("since is no time such as 2026-11-26T09:30:00Z")),
            };
            let limit = query.get("limit").map_or(Ok(1000), str::parse);
            let limit = limit.ok().filter(|limit| (1..=LOOKS).contains(limit));
            let limit = limit.ok_or_else(|| wrong("limit is not between 1 and 10000"))?;
            Command::Looks { since_ms, limit }
        }
        "statistics" => {
            let wanted = Wanted::read(
                (query.get("year"), query.get("from"), query.get("until")),
                (query.get("region"), query.get("type")),
                query.get("cumulative") == Some("true"),
                query.get("years"),
            );
            let form = match query.get("form") {
                None | Some("json") => Form::Json,
                Some("csv") => Form::Csv,
                Some("svg") => Form::Svg(language),
                Some(_) => return Err(wrong("form is none of json, csv and svg")),
            };
            Command::Statistics(wanted.map_err(|what| wrong(&what))?, form)
        }
        _ => unreachable!("no other is got"),
    })
}

impl Desk {
    /// All that belongs to the register.
    pub(super) async fn case(&self, route: Route, request: Request<Incoming>) -> Result<Answer, Problem> {
        let setup = self.setup();
        let (head, body) = request.into_parts();
        let (path, query) = (head.uri.path(), Query::of(head.uri.query()));
        let whole = head.uri.path_and_query().map_or(path, |whole| whole.as_str());
        let rest: Vec<&str> = path[route.path().len()..].split('/').skip(1).collect();
        let is_stats = route == Route::Stats;
        let asked = if is_stats { Some(What::Get("statistics", None)) } else { what(&rest) };
        let asked =
            asked.ok_or_else(|| Problem::new(Kind::NotFound, "docs/casework.md says what is here"))?;
        let is_post = head.method == Method::POST;
        let is_fit = match head.method {
            Method::POST => asked.posted().is_some(),
            Method::GET | Method::HEAD => asked.got().is_some(),
            _ => false,
        };
        if !is_fit {
            let methods = match asked {
                What::Post(..) => "POST",
                What::Get(..) => "GET, HEAD",
                What::Both(..) => "GET, HEAD, POST",
            };
            return Ok(wrong_method(route, methods));
        }
        let shown = token::shown(&head.headers)?;
        let configured = setup.casework.as_ref().zip(self.casework.as_ref());
        let (settings, register) = configured.ok_or_else(|| {
            Problem::new(Kind::NotConfigured, "this node has no register: configure [casework]")
        })?;
        let client = settings.clients.of_token(&settings.vault, &shown, now_ms());
        let client = client.ok_or_else(token::unknown)?.clone();
        let (command, repeats) = if is_post {
            let (what, id) = asked.posted().expect("it fits");
            let file = match what {
                "import" => Some("text/csv"),
                "import-centres" => Some("application/x-ndjson"),
                _ => None,
            };
            let limit = if file.is_some() { settings.import_bytes } else { BODY };
            let body = read(body, limit, setup.http.body).await?;
            file.map_or_else(|| is_json(&head.headers), |kind| is_file(&head.headers, kind))?;
            (posted(what, id, &body, &query)?, repeats(&head.headers, whole, &body)?)
        } else {
            let (what, id) = asked.got().expect("it fits");
            let language = language::of(&head.headers, setup.language);
            (got(what, id, &query, language)?, None)
        };
        let kind = match command {
            Command::Statistics(_, Form::Csv) => "text/csv; charset=utf-8",
            Command::Statistics(_, Form::Svg(_)) => "image/svg+xml",
            _ => "application/json",
        };
        let (status, body) = register.ask(Asked { client, repeats, command }).await?;
        let body =
            if kind == "application/json" { body } else { serde_json::from_str(&body).expect("a text") };
        let mut answer = plain(kind, body);
        *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }
}
