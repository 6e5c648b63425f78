//! Requests to operators and banks, their clocks, and what was answered.

use ::casework::{Act, Place, Role, Units};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::asked::{NewRequest, RequestAnswer};
use super::identifiers::shown;
use super::office::{Done, Round, invalid, problem, text};
use super::store::places;
use crate::database::rows::Value;
use crate::database::{Fault, strange};
use crate::http::Kind;
use crate::loans::view::time;

pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS request (id BIGINT PRIMARY KEY, kind TEXT NOT NULL, addressee TEXT NOT NULL, unit TEXT NOT NULL, \
     fact BIGINT, at_ms BIGINT NOT NULL, who TEXT NOT NULL, due_ms BIGINT NOT NULL, answered_ms BIGINT, sealed TEXT NOT NULL, \
     answer TEXT)",
    "CREATE INDEX IF NOT EXISTS request_addressee ON request (addressee)",
];

const SELECT: &str =
    "SELECT id, kind, addressee, unit, fact, at_ms, who, due_ms, answered_ms, sealed, answer FROM request";
/// Requests in one list.
const MOST: i64 = 1000;

/// What of a request is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    identifier: Json,
    text: String,
}

struct Asked {
    id: i64,
    kind: String,
    addressee: String,
    unit: String,
    fact: Option<i64>,
    at_ms: i64,
    who: String,
    due_ms: i64,
    answered_ms: Option<i64>,
    sealed: String,
    answer: Option<String>,
}

fn subject(id: i64) -> String {
    format!("request {id}")
}

impl Asked {
    fn of(row: &AnyRow) -> Result<Asked, Fault> {
        Ok(Asked {
            id: row.try_get(0)?,
            kind: row.try_get(1)?,
            addressee: row.try_get(2)?,
            unit: row.try_get(3)?,
            fact: row.try_get(4)?,
            at_ms: row.try_get(5)?,
            who: row.try_get(6)?,
            due_ms: row.try_get(7)?,
            answered_ms: row.try_get(8)?,
            sealed: row.try_get(9)?,
            answer: row.try_get(10)?,
        })
    }

    fn place(&self) -> Place<'_> {
        Place { unit: &self.unit, assigned: None, outside: Some(&self.addressee) }
    }

    fn state(&self, now_ms: i64) -> &'static str {
        match self.answered_ms {
            Some(at_ms) if at_ms > self.due_ms => "answered-late",
            Some(_) => "answered",
            None if now_ms > self.due_ms => "overdue",
            None => "open",
        }
    }
}

impl Round<'_> {
    pub(super) async fn make_request(&mut self, asked: &NewRequest) -> Done<(u16, Json)> {
        self.allow_ever(Act::MakeRequest, "request")?;
        let unit = match asked.fact {
            Some(fact) => self.fact(Act::MakeRequest, fact).await?.unit,
            None => self.own_unit(asked.unit.as_deref())?,
        };
        let id = self.unit.last_id("request").await? + 1;
        if asked.fact.is_none() {
            self.allow(Act::MakeRequest, Some(Place { unit: &unit, ..Place::default() }), subject(id))?;
        }
        let known = self.settings.clients.find(&asked.to);
        if known.is_none_or(|client| !matches!(client.role, Role::Operator | Role::Bank)) {
            return invalid("to is no client that is an operator or a bank");
        }
        let days = asked.days.unwrap_or(self.settings.request_days);
        if !(1..=60).contains(&days) {
            return invalid("days is not between 1 and 60");
        }
        let due_ms = self.settings.days.due_ms(self.now_ms, days);
        let identifier = asked.identifier.as_ref().map(|one| self.identifier(one)).transpose()?;
        let kept = Kept {
            identifier: identifier.as_ref().map_or(Json::Null, shown),
            text: text("text", &asked.text)?.to_owned(),
        };
        let sealed = self.unit.seal(&subject(id), &serde_json::to_string(&kept).expect("plain values"));
        let by = self.by();
        let row = [
            id.into(),
            asked.kind.name().into(),
            asked.to.as_str().into(),
            unit.into(),
            asked.fact.into(),
            by.now_ms.into(),
            by.who.into(),
            due_ms.into(),
            None.into(),
            sealed.into(),
            Value::MaybeText(None),
        ];
        let insert = "INSERT INTO request (id, kind, addressee, unit, fact, at_ms, who, due_ms, answered_ms, sealed, answer)";
        self.unit.insert(insert, vec![row]).await?;
        self.unit.happened(&subject(id), "request_made", by, &json!({})).await?;
        Ok((201, self.shown_request(id).await?))
    }

    /// Those that are the client's: directed to him, or of his units.
    pub(super) async fn requests(&mut self) -> Done<(u16, Json)> {
        self.allow_ever(Act::SeeRequest, "requests")?;
        let is_outside = matches!(self.client.role, Role::Operator | Role::Bank);
        let (filter, values): (String, Vec<Value>) = match &self.client.units {
            _ if is_outside => ("WHERE addressee = $1".to_owned(), vec![self.client.id.as_str().into()]),
            Units::These(units) => {
                let filter = format!("WHERE unit IN ({})", places(1, units.len()));
                (filter, units.iter().map(|unit| unit.as_str().into()).collect())
            }
            Units::All => (String::new(), Vec::new()),
        };
        let rows =
            self.unit.select(format!("{SELECT} {filter} ORDER BY id DESC LIMIT {MOST}"), values).await?;
        let mut told = Vec::new();
        self.saw(Act::SeeRequest, "requests");
        for row in &rows {
            let request = Asked::of(row)?;
            self.saw(Act::SeeRequest, subject(request.id));
            told.push(self.shown_of(&request)?);
        }
        Ok((200, json!({"requests": told})))
    }

    pub(super) async fn see_request(&mut self, id: i64) -> Done<(u16, Json)> {
        self.request(Act::SeeRequest, id).await?;
        Ok((200, self.shown_request(id).await?))
    }

    pub(super) async fn answer_request(&mut self, id: i64, asked: &RequestAnswer) -> Done<(u16, Json)> {
        let request = self.request(Act::AnswerRequest, id).await?;
        let answer = text("text", &asked.text)?;
        if request.answered_ms.is_some() {
            return problem(Kind::WrongState, "the request was answered before");
        }
        let sealed = self.unit.seal(&format!("answer {id}"), answer);
        let sql = "UPDATE request SET answer = $1, answered_ms = $2 WHERE id = $3";
        self.unit.run(sql, vec![sealed.into(), self.now_ms.into(), id.into()]).await?;
        self.unit.happened(&subject(id), "request_answered", self.by(), &json!({})).await?;
        Ok((200, self.shown_request(id).await?))
    }

    async fn load_request(&mut self, id: i64) -> Done<Option<Asked>> {
        let rows = self.unit.select(format!("{SELECT} WHERE id = $1"), vec![id.into()]).await?;
        Ok(rows.first().map(Asked::of).transpose()?)
    }

    async fn request(&mut self, act: Act, id: i64) -> Done<Asked> {
        let found = self.load_request(id).await?;
        self.allow(act, found.as_ref().map(Asked::place), subject(id))?;
        Ok(found.expect("what is not there is not allowed"))
    }

    async fn shown_request(&mut self, id: i64) -> Done<Json> {
        let Some(request) = self.load_request(id).await? else { return invalid("no such request") };
        self.shown_of(&request)
    }

    fn shown_of(&self, request: &Asked) -> Done<Json> {
        let id = request.id;
        let kept: Kept = serde_json::from_str(&self.unit.open(&subject(id), &request.sealed)?)
            .map_err(|_| strange("a request of another version"))?;
        let answer = request.answer.as_deref().map(|answer| self.unit.open(&format!("answer {id}"), answer));
        let mut told = json!({
            "id": id,
            "kind": request.kind,
            "to": request.addressee,
            "identifier": kept.identifier,
            "text": kept.text,
            "time": time(request.at_ms),
            "due": time(request.due_ms),
            "state": request.state(self.now_ms),
            "answered": request.answered_ms.map(time),
            "answer": answer.transpose()?,
        });
        // Which fact and who works on it is not for those outside.
        if !matches!(self.client.role, Role::Operator | Role::Bank) {
            told["fact"] = json!(request.fact);
            told["unit"] = json!(request.unit);
            told["who"] = json!(request.who);
        }
        Ok(told)
    }
}
