//! Persons of the register: victims, suspects, drops and call-centre workers, and the identifiers that are theirs.

use ::casework::{Act, Identifier, Node, PersonKind, Place};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::asked::{CaseIdentifier, MoreIdentifiers, NewPerson, PersonSearch};
use super::identifiers::shown;
use super::office::{Done, Round, invalid, text};
use super::store::places;
use crate::database::rows::Value;
use crate::database::{Fault, strange};
use crate::loans::view::time;

pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS person (id BIGINT PRIMARY KEY, kind TEXT NOT NULL, unit TEXT NOT NULL, iin TEXT, \
     at_ms BIGINT NOT NULL, who TEXT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS person_iin ON person (iin)",
];

/// What of a person is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    iin: Option<String>,
    note: String,
}

struct Person {
    id: i64,
    kind: PersonKind,
    unit: String,
    at_ms: i64,
    who: String,
    sealed: String,
}

const SELECT: &str = "SELECT id, kind, unit, at_ms, who, sealed FROM person";

pub(super) fn subject(id: i64) -> String {
    format!("person {id}")
}

/// The number in what is sealed of a person.
pub(super) fn iin_of(kept: &str) -> Result<Option<String>, Fault> {
    let kept = serde_json::from_str::<Kept>(kept);
    kept.map(|kept| kept.iin).map_err(|_| strange("a person of another version"))
}

impl Person {
    fn of(row: &AnyRow) -> Result<Person, Fault> {
        let kind = PersonKind::from_name(&row.try_get::<String, _>(1)?);
        Ok(Person {
            id: row.try_get(0)?,
            kind: kind.ok_or_else(|| strange("a person of another version"))?,
            unit: row.try_get(2)?,
            at_ms: row.try_get(3)?,
            who: row.try_get(4)?,
            sealed: row.try_get(5)?,
        })
    }
}

impl Round<'_> {
    pub(super) fn identifiers(&self, asked: &[CaseIdentifier]) -> Done<Vec<Identifier>> {
        let mut read: Vec<Identifier> = asked.iter().map(|one| self.identifier(one)).collect::<Done<_>>()?;
        read.sort();
        read.dedup();
        Ok(read)
    }

    /// The unit named, or the client's only one.
    pub(super) fn own_unit(&self, named: Option<&str>) -> Done<String> {
        match named.or(self.client.units.only()) {
            Some(unit) if !unit.is_empty() && !unit.contains(char::is_whitespace) => Ok(unit.to_owned()),
            _ => invalid("unit: name one without spaces, for you work in several"),
        }
    }

    pub(super) async fn keep_person(&mut self, asked: &NewPerson) -> Done<(u16, Json)> {
        self.allow_ever(Act::KeepPerson, "person")?;
        let unit = self.own_unit(asked.unit.as_deref())?;
        let id = self.unit.last_id("person").await? + 1;
        self.allow(Act::KeepPerson, Some(Place { unit: &unit, ..Place::default() }), subject(id))?;
        let iin = asked.iin.as_deref().map(|iin| self.iin("iin", iin)).transpose()?;
        let held = self.identifiers(&asked.identifiers)?;
        let name = text("name", &asked.name)?.to_owned();
        let iin_hash = Value::MaybeText(iin.as_deref().map(|iin| self.unit.hash(iin)));
        let kept = Kept { name, iin, note: asked.note.clone() };
        let sealed = self.unit.seal(&subject(id), &serde_json::to_string(&kept).expect("plain values"));
        let by = self.by();
        let (kind, unit) = (asked.kind.name(), unit.as_str());
        let row =
            [id.into(), kind.into(), unit.into(), iin_hash, by.now_ms.into(), by.who.into(), sealed.into()];
        self.unit.insert("INSERT INTO person (id, kind, unit, iin, at_ms, who, sealed)", vec![row]).await?;
        self.unit.hold(Node::Person(id), &held).await?;
        self.unit.happened(&subject(id), "person_kept", by, &json!({})).await?;
        self.unit.changed().await?;
        Ok((201, self.whole_person(id).await?))
    }

    /// Says that identifiers are a person's.
    pub(super) async fn add_identifiers(&mut self, id: i64, asked: &MoreIdentifiers) -> Done<(u16, Json)> {
        self.person(Act::KeepPerson, id).await?;
        let why = text("why", &asked.why)?;
        let held = self.identifiers(&asked.identifiers)?;
        self.unit.hold(Node::Person(id), &held).await?;
        let body = json!({"identifiers": held.iter().map(shown).collect::<Vec<_>>(), "why": why});
        self.unit.happened(&subject(id), "identifiers_added", self.by(), &body).await?;
        self.unit.changed().await?;
        Ok((200, self.whole_person(id).await?))
    }

    pub(super) async fn see_person(&mut self, id: i64) -> Done<(u16, Json)> {
        self.person(Act::SeePerson, id).await?;
        Ok((200, self.whole_person(id).await?))
    }

    async fn load_person(&mut self, id: i64) -> Done<Option<Person>> {
        let rows = self.unit.select(format!("{SELECT} WHERE id = $1"), vec![id.into()]).await?;
        Ok(rows.first().map(Person::of).transpose()?)
    }

    async fn person(&mut self, act: Act, id: i64) -> Done<()> {
        let found = self.load_person(id).await?;
        let place = found.as_ref().map(|person| Place { unit: &person.unit, ..Place::default() });
        self.allow(act, place, subject(id))
    }

    async fn whole_person(&mut self, id: i64) -> Done<Json> {
        let Some(person) = self.load_person(id).await? else { return invalid("no such person") };
        let mut shown_person = self.shown_person(&person)?;
        let held = self.unit.held(Node::Person(id)).await?;
        shown_person["identifiers"] = held.iter().map(shown).collect();
        shown_person["events"] = json!(self.unit.events(&subject(id)).await?);
        Ok(shown_person)
    }

    fn shown_person(&self, person: &Person) -> Done<Json> {
        let kept: Kept = serde_json::from_str(&self.unit.open(&subject(person.id), &person.sealed)?)
            .map_err(|_| strange("a person of another version"))?;
        Ok(json!({
            "id": person.id,
            "kind": person.kind.name(),
            "unit": person.unit,
            "name": kept.name,
            "iin": kept.iin,
            "note": kept.note,
            "time": time(person.at_ms),
            "who": person.who,
        }))
    }

    /// Persons of the client's units by their number or an identifier.
    pub(super) async fn search_persons(&mut self, asked: &PersonSearch) -> Done<(u16, Json)> {
        self.allow_ever(Act::SeePerson, "persons")?;
        let (sql, values, said) = match (&asked.iin, &asked.identifier) {
            (Some(iin), None) => {
                let iin = self.iin("iin", iin)?;
                let hashes: Vec<Value> = self.unit.hashes(&iin).into_iter().map(Value::from).collect();
                (
                    format!("iin IN ({})", places(1, hashes.len())),
                    hashes,
                    format!("iin {}", self.unit.hash(&iin)),
                )
            }
            (None, Some(identifier)) => {
                let identifier = self.identifier(identifier)?;
                let known = self.unit.known(&[&identifier]).await?;
                let id = known.into_values().next().unwrap_or(0);
                let sql = "id IN (SELECT node_id FROM held WHERE node = 'person' AND identifier = $1)";
                (sql.to_owned(), vec![id.into()], self.named(&identifier))
            }
            _ => return invalid("say either iin or identifier"),
        };
        self.saw(Act::SeePerson, format!("persons by {said}"));
        let rows = self.unit.select(format!("{SELECT} WHERE {sql} ORDER BY id LIMIT 1000"), values).await?;
        let mut told = Vec::new();
        for row in &rows {
            let person = Person::of(row)?;
            if self.client.units.hold(&person.unit) {
                self.saw(Act::SeePerson, subject(person.id));
                told.push(self.shown_person(&person)?);
            }
        }
        Ok((200, json!({"persons": told})))
    }
}
