//! Facts of the register: found, seen, changed; each change an event.

use ::casework::{Act, FactKind, Node, Place, Proceedings, Role};
use lending::Sum;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::asked::{Assignment, FactSearch, RecoveredSum, StateChange};
use super::identifiers::shown;
use super::office::{Done, Round, invalid, moment, problem, text};
use super::store::{Unit, places};
use crate::database::rows::Value;
use crate::database::{Fault, strange};
use crate::http::Kind;
use crate::loans::view::time;

/// What of a fact is sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub method: String,
    pub source: String,
    pub victim: Option<String>,
    pub victim_phone: Option<String>,
    /// SHA-256 of all that the file said.
    pub content: String,
}

/// A fact's row.
pub(super) struct FactRow {
    pub id: i64,
    pub number: String,
    pub kind: FactKind,
    pub at_ms: i64,
    pub region: String,
    pub unit: String,
    pub assigned: Option<String>,
    pub state: Proceedings,
    pub damage: Sum,
    pub recovered: Sum,
    sealed: String,
}

const SELECT: &str =
    "SELECT id, number, kind, at_ms, region, unit, assigned, state, damage, recovered, sealed FROM fact";

/// As events and looks name a fact, and what it is sealed with.
pub(super) fn subject(id: i64) -> String {
    format!("fact {id}")
}

impl FactRow {
    fn of(row: &AnyRow) -> Result<FactRow, Fault> {
        let (kind, state): (String, String) = (row.try_get(2)?, row.try_get(7)?);
        let other = || strange("a fact of another version");
        Ok(FactRow {
            id: row.try_get(0)?,
            number: row.try_get(1)?,
            kind: FactKind::from_name(&kind).ok_or_else(other)?,
            at_ms: row.try_get(3)?,
            region: row.try_get(4)?,
            unit: row.try_get(5)?,
            assigned: row.try_get(6)?,
            state: Proceedings::from_name(&state).ok_or_else(other)?,
            damage: Sum::of_hundredths(row.try_get(8)?),
            recovered: Sum::of_hundredths(row.try_get(9)?),
            sealed: row.try_get(10)?,
        })
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { unit: &self.unit, assigned: self.assigned.as_deref(), outside: None }
    }

    /// Nothing personal.
    pub(super) fn shown(&self) -> Json {
        json!({
            "id": self.id,
            "number": self.number,
            "type": self.kind.name(),
            "time": time(self.at_ms),
            "region": self.region,
            "unit": self.unit,
            "assigned": self.assigned,
            "state": self.state.name(),
            "damage": self.damage.to_string(),
            "recovered": self.recovered.to_string(),
        })
    }
}

impl Unit<'_> {
    pub(super) async fn fact(&mut self, id: i64) -> Result<Option<FactRow>, Fault> {
        let rows = self.select(format!("{SELECT} WHERE id = $1"), vec![id.into()]).await?;
        rows.first().map(FactRow::of).transpose()
    }

    pub(super) async fn facts(&mut self, ids: impl IntoIterator<Item = i64>) -> Result<Vec<FactRow>, Fault> {
        let rows = self.select_in(&format!("{SELECT} WHERE id"), ids.into_iter().map(Value::from)).await?;
        rows.iter().map(FactRow::of).collect()
    }
}

impl Round<'_> {
    /// A fact that the client may do this with.
    pub(super) async fn fact(&mut self, act: Act, id: i64) -> Done<FactRow> {
        let found = self.unit.fact(id).await?;
        self.allow(act, found.as_ref().map(FactRow::place), subject(id))?;
        Ok(found.expect("what is not there is not allowed"))
    }

    pub(super) async fn see_fact(&mut self, id: i64) -> Done<(u16, Json)> {
        let fact = self.fact(Act::SeeFact, id).await?;
        Ok((200, self.whole(&fact).await?))
    }

    async fn whole(&mut self, fact: &FactRow) -> Done<Json> {
        let subject = subject(fact.id);
        let kept: Kept = serde_json::from_str(&self.unit.open(&subject, &fact.sealed)?)
            .map_err(|_| strange("a fact of another version"))?;
        let held = self.unit.held(Node::Fact(fact.id)).await?;
        let mut whole = fact.shown();
        whole["method"] = json!(kept.method);
        whole["source"] = json!(kept.source);
        whole["victim_iin"] = json!(kept.victim);
        whole["victim_phone"] = json!(kept.victim_phone);
        whole["currency"] = json!(self.settings.rulebook.currency);
        whole["identifiers"] = held.iter().map(shown).collect();
        whole["events"] = json!(self.unit.events(&subject).await?);
        Ok(whole)
    }

    /// Facts of the client's units, and those assigned to him.
    pub(super) async fn search(&mut self, asked: &FactSearch) -> Done<(u16, Json)> {
        self.allow_ever(Act::SearchFacts, "facts")?;
        let limit = asked.limit.unwrap_or(100);
        if !(1..=1000).contains(&limit) {
            return invalid("limit is not between 1 and 1000");
        }
        let mut found =
            Filter { sql: format!("{SELECT} WHERE id > $1"), values: vec![asked.after.unwrap_or(0).into()] };
        let mut said = Vec::new();
        for (column, value) in [
            ("number", asked.number.as_deref()),
            ("kind", asked.kind.map(FactKind::name)),
            ("region", asked.region.as_deref()),
            ("unit", asked.unit.as_deref()),
            ("state", asked.state.map(Proceedings::name)),
        ] {
            if let Some(value) = value {
                if value.len() > 200 {
                    return invalid(format!("{column} is longer than 200 bytes"));
                }
                found.and(&format!("{column} ="), value.into());
                said.push(format!("{column} {value}"));
            }
        }
        for (name, compare, value) in [("from", "at_ms >=", &asked.from), ("until", "at_ms <", &asked.until)]
        {
            if let Some(value) = value {
                found.and(compare, moment(name, value)?.into());
                said.push(format!("{name} {value}"));
            }
        }
        if let Some(iin) = &asked.victim_iin {
            let iin = self.iin("victim_iin", iin)?;
            found.and_in("victim", self.unit.hashes(&iin).into_iter().map(Value::from).collect());
            said.push(format!("victim {}", self.unit.hash(&iin)));
        }
        if let Some(identifier) = &asked.identifier {
            let identifier = self.identifier(identifier)?;
            said.push(self.named(&identifier));
            let ids: Vec<i64> = self.unit.known(&[&identifier]).await?.into_values().collect();
            let first = found.values.len() + 1;
            // An id that none has, where the register does not know it.
            found.values.push(ids.first().copied().unwrap_or(0).into());
            let hashes = self.unit.hashes(identifier.reveal());
            let victims = places(first + 1, hashes.len());
            found.values.extend(hashes.into_iter().map(Value::from));
            found.sql += &format!(
                " AND (id IN (SELECT node_id FROM held WHERE node = 'fact' AND identifier = ${first}) \
                 OR victim_phone IN ({victims}))"
            );
        }
        if let ::casework::Units::These(units) = &self.client.units {
            let first = found.values.len() + 1;
            found.values.push(self.client.id.as_str().into());
            found.values.extend(units.iter().map(|unit| Value::from(unit.as_str())));
            found.sql +=
                &format!(" AND (assigned = ${first} OR unit IN ({}))", places(first + 1, units.len()));
        }
        let Filter { sql, values } = found;
        let rows = self.unit.select(format!("{sql} ORDER BY id LIMIT {limit}"), values).await?;
        let facts = rows.iter().map(FactRow::of).collect::<Result<Vec<_>, Fault>>()?;
        self.saw(
            Act::SearchFacts,
            format!("facts by {}", if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }),
        );
        for fact in &facts {
            self.saw(Act::SearchFacts, subject(fact.id));
        }
        let next = facts.last().filter(|_| facts.len() as i64 == limit).map(|last| last.id);
        Ok((200, json!({"facts": facts.iter().map(FactRow::shown).collect::<Vec<_>>(), "next": next})))
    }

    pub(super) async fn change_state(&mut self, id: i64, change: &StateChange) -> Done<(u16, Json)> {
        let mut fact = self.fact(Act::ChangeFact, id).await?;
        let why = text("why", &change.why)?;
        if fact.state == change.state {
            return problem(Kind::WrongState, format!("the fact is {} already", change.state.name()));
        }
        self.set(id, "state", change.state.name().into()).await?;
        let body = json!({"from": fact.state.name(), "to": change.state.name(), "why": why});
        self.unit.happened(&subject(id), "state_changed", self.by(), &body).await?;
        fact.state = change.state;
        Ok((200, self.whole(&fact).await?))
    }

    pub(super) async fn recover(&mut self, id: i64, asked: &RecoveredSum) -> Done<(u16, Json)> {
        let mut fact = self.fact(Act::ChangeFact, id).await?;
        let Some(sum) = Sum::parse(&asked.recovered).filter(|sum| *sum <= fact.damage) else {
            return invalid("recovered is no sum such as 150000.00, or is more than the damage");
        };
        self.set(id, "recovered", sum.hundredths().into()).await?;
        let body = json!({"from": fact.recovered.to_string(), "to": sum.to_string()});
        self.unit.happened(&subject(id), "sum_recovered", self.by(), &body).await?;
        fact.recovered = sum;
        Ok((200, self.whole(&fact).await?))
    }

    pub(super) async fn assign(&mut self, id: i64, asked: &Assignment) -> Done<(u16, Json)> {
        let mut fact = self.fact(Act::AssignFact, id).await?;
        if let Some(name) = &asked.investigator {
            let known = self.settings.clients.find(name);
            if known.is_none_or(|client| client.role != Role::Investigator) {
                return invalid("investigator is no client of that role");
            }
        }
        self.set(id, "assigned", Value::MaybeText(asked.investigator.clone())).await?;
        let body = json!({"from": fact.assigned, "to": asked.investigator});
        self.unit.happened(&subject(id), "fact_assigned", self.by(), &body).await?;
        fact.assigned.clone_from(&asked.investigator);
        // Who sees a fact changes who sees what of its links.
        self.unit.changed().await?;
        Ok((200, self.whole(&fact).await?))
    }

    async fn set(&mut self, id: i64, column: &str, value: Value) -> Done<()> {
        let sql = format!("UPDATE fact SET {column} = $1 WHERE id = $2");
        self.unit.run(sql, vec![value, id.into()]).await?;
        Ok(())
    }
}

/// A question being made: of words of this file and values.
struct Filter {
    sql: String,
    values: Vec<Value>,
}

impl Filter {
    fn and(&mut self, compare: &str, value: Value) {
        self.values.push(value);
        self.sql += &format!(" AND {compare} ${}", self.values.len());
    }

    fn and_in(&mut self, column: &str, values: Vec<Value>) {
        self.sql += &format!(" AND {column} IN ({})", places(self.values.len() + 1, values.len()));
        self.values.extend(values);
    }
}
