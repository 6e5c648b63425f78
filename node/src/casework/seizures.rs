//! Seized things and who had them when: entries are appended, never changed, each with the hash of all before it.

use ::casework::{Act, Custody, HandOver, Place, Seizure};
use serde_json::{Value as Json, json};
use sqlx::Row;

use super::asked::{HandedOver, NewSeizure};
use super::office::{Done, Round, invalid, moment, problem, text};
use crate::database::{new_id, strange};
use crate::http::Kind;
use crate::loans::view::time;

pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS seizure (id BIGINT PRIMARY KEY, unit TEXT NOT NULL, fact BIGINT, hash TEXT NOT NULL, \
     at_ms BIGINT NOT NULL, who TEXT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS custody (seizure BIGINT NOT NULL, n BIGINT NOT NULL, hash TEXT NOT NULL, sealed TEXT NOT NULL, \
     PRIMARY KEY (seizure, n))",
    // What was taken and when it was, for counting: it names nobody.
    "CREATE TABLE IF NOT EXISTS seized (seizure BIGINT PRIMARY KEY, item TEXT NOT NULL, at_ms BIGINT NOT NULL)",
];

fn subject(id: i64) -> String {
    format!("seizure {id}")
}

/// A thing at hand.
struct Seized {
    unit: String,
    fact: Option<i64>,
    begins: String,
    custody: Custody,
}

impl Round<'_> {
    pub(super) async fn keep_seizure(&mut self, asked: &NewSeizure) -> Done<(u16, Json)> {
        self.allow_ever(Act::KeepSeizure, "seizure")?;
        let unit = self.own_unit(asked.unit.as_deref())?;
        let id = self.unit.last_id("seizure").await? + 1;
        self.allow(Act::KeepSeizure, Some(Place { unit: &unit, ..Place::default() }), subject(id))?;
        if let Some(fact) = asked.fact {
            self.fact(Act::KeepSeizure, fact).await?;
        }
        let at_ms = moment("time", &asked.time)?;
        if at_ms > self.now_ms {
            return invalid("time is yet to come");
        }
        let serials: Done<Vec<String>> =
            asked.serials.iter().map(|serial| Ok(text("serials", serial)?.to_owned())).collect();
        let seizure = Seizure {
            item: asked.item,
            serials: serials?,
            place: text("place", &asked.place)?.to_owned(),
            at_ms,
            by: text("by", &asked.by)?.to_owned(),
            salt: new_id(),
        };
        let hash = Custody::begins(&seizure);
        let sealed = self.unit.seal(&subject(id), &serde_json::to_string(&seizure).expect("plain values"));
        let by = self.by();
        let (unit, fact) = (unit.as_str(), asked.fact);
        let row = [
            id.into(),
            unit.into(),
            fact.into(),
            hash.into(),
            by.now_ms.into(),
            by.who.into(),
            sealed.into(),
        ];
        self.unit.insert("INSERT INTO seizure (id, unit, fact, hash, at_ms, who, sealed)", vec![row]).await?;
        let row = [id.into(), asked.item.name().into(), at_ms.into()];
        self.unit.insert("INSERT INTO seized (seizure, item, at_ms)", vec![row]).await?;
        Ok((201, self.shown_seizure(id).await?))
    }

    pub(super) async fn see_seizure(&mut self, id: i64) -> Done<(u16, Json)> {
        self.seizure(Act::SeeSeizure, id).await?;
        Ok((200, self.shown_seizure(id).await?))
    }

    pub(super) async fn hand_over(&mut self, id: i64, asked: &HandedOver) -> Done<(u16, Json)> {
        let seized = self.seizure(Act::HandOver, id).await?;
        if seized.custody.changed(&seized.begins).is_some() {
            return problem(Kind::WrongState, "an entry before this one was changed: see the seizure");
        }
        let entry = HandOver {
            at_ms: moment("time", &asked.time)?,
            from: text("from", &asked.from)?.to_owned(),
            to: text("to", &asked.to)?.to_owned(),
            place: text("place", &asked.place)?.to_owned(),
            why: text("why", &asked.why)?.to_owned(),
            who: self.client.id.clone(),
        };
        let hash =
            seized.custody.hand_over(&entry, self.now_ms).or_else(|fault| invalid(fault.to_string()))?;
        let n = seized.custody.entries.len() as i64 + 1;
        let sealed = self
            .unit
            .seal(&format!("custody {id} {n}"), &serde_json::to_string(&entry).expect("plain values"));
        let row = [id.into(), n.into(), hash.into(), sealed.into()];
        self.unit.insert("INSERT INTO custody (seizure, n, hash, sealed)", vec![row]).await?;
        Ok((200, self.shown_seizure(id).await?))
    }

    async fn load_seizure(&mut self, id: i64) -> Done<Option<Seized>> {
        let sql = "SELECT unit, fact, hash, sealed FROM seizure WHERE id = $1";
        let rows = self.unit.select(sql, vec![id.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let other = |_| strange("a seizure of another version");
        let seizure = self.unit.open(&subject(id), &row.try_get::<String, _>(3)?)?;
        let seizure: Seizure = serde_json::from_str(&seizure).map_err(other)?;
        let mut entries = Vec::new();
        let sql = "SELECT n, hash, sealed FROM custody WHERE seizure = $1 ORDER BY n";
        for row in self.unit.select(sql, vec![id.into()]).await? {
            let about = format!("custody {id} {}", row.try_get::<i64, _>(0)?);
            let entry = self.unit.open(&about, &row.try_get::<String, _>(2)?)?;
            entries.push((serde_json::from_str(&entry).map_err(other)?, row.try_get(1)?));
        }
        let custody = Custody { seizure, entries };
        Ok(Some(Seized { unit: row.try_get(0)?, fact: row.try_get(1)?, begins: row.try_get(2)?, custody }))
    }

    async fn seizure(&mut self, act: Act, id: i64) -> Done<Seized> {
        let found = self.load_seizure(id).await?;
        let place = found.as_ref().map(|seized| Place { unit: &seized.unit, ..Place::default() });
        self.allow(act, place, subject(id))?;
        Ok(found.expect("what is not there is not allowed"))
    }

    async fn shown_seizure(&mut self, id: i64) -> Done<Json> {
        let Some(seized) = self.load_seizure(id).await? else { return invalid("no such seizure") };
        let Custody { seizure, entries } = &seized.custody;
        let chain = entries.iter().map(|(entry, hash)| {
            json!({"time": time(entry.at_ms), "from": entry.from, "to": entry.to, "place": entry.place, "why": entry.why,
                   "who": entry.who, "hash": hash})
        });
        Ok(json!({
            "id": id,
            "unit": seized.unit,
            "fact": seized.fact,
            "item": seizure.item.name(),
            "serials": seizure.serials,
            "place": seizure.place,
            "time": time(seizure.at_ms),
            "by": seizure.by,
            "hash": seized.begins,
            "holder": seized.custody.holder(),
            "custody": chain.collect::<Vec<_>>(),
            // The first entry that is not as it was written down.
            "changed": seized.custody.changed(&seized.begins),
        }))
    }
}
