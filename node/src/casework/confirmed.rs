//! Identifiers that a head says are a fraudster's, and those of whom he took that back: an event each, in their order, from which
//! lists and the loan gate can be fed.

use std::collections::HashMap;

use ::casework::{Act, Identifier};
use lending::Vault;
use serde_json::{Value as Json, json};
use sqlx::Row;

use super::asked::IdentifierConfirmed;
use super::identifiers::shown;
use super::office::{Done, Round, problem, text};
use super::store::{Store, Unit};
use crate::database::{Fault, strange};
use crate::http::Kind;
use crate::loans::view::time;

pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS confirmation (n BIGINT PRIMARY KEY, identifier BIGINT NOT NULL, confirmed BIGINT NOT NULL, \
     at_ms BIGINT NOT NULL, who TEXT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS confirmation_identifier ON confirmation (identifier)",
];

/// Confirmations at a time.
const MOST: i64 = 1000;

/// An identifier became a fraudster's, or was one no longer.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// Its place among them all; they are only ever appended.
    pub n: i64,
    pub identifier: Identifier,
    /// False: it was taken back.
    pub is_confirmed: bool,
    pub at_ms: i64,
    pub who: String,
    pub why: String,
}

impl Store {
    /// What was confirmed and taken back behind a place, in its order, up to a thousand of it; none behind: nothing is new.
    pub async fn confirmed_since(&self, vault: &Vault, n: i64) -> Result<Vec<Confirmation>, Fault> {
        self.begin(vault, false).await?.confirmed_since(n).await
    }
}

impl Unit<'_> {
    async fn confirmed_since(&mut self, n: i64) -> Result<Vec<Confirmation>, Fault> {
        let sql = format!(
            "SELECT n, identifier, confirmed, at_ms, who, sealed FROM confirmation WHERE n > $1 ORDER BY n LIMIT {MOST}"
        );
        let rows = self.select(sql, vec![n.into()]).await?;
        let mut ids: Vec<i64> = rows.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
        ids.sort_unstable();
        ids.dedup();
        let identifiers: HashMap<i64, Identifier> = self.identifiers(ids).await?;
        let mut since = Vec::new();
        for row in &rows {
            let n: i64 = row.try_get(0)?;
            let identifier = identifiers.get(&row.try_get(1)?).cloned();
            since.push(Confirmation {
                n,
                identifier: identifier.ok_or_else(|| strange("a confirmation of no identifier"))?,
                is_confirmed: row.try_get::<i64, _>(2)? != 0,
                at_ms: row.try_get(3)?,
                who: row.try_get(4)?,
                why: self.open(&format!("confirmation {n}"), &row.try_get::<String, _>(5)?)?,
            });
        }
        Ok(since)
    }
}

impl Round<'_> {
    /// A head confirms an identifier as a fraudster's, or takes that back.
    pub(super) async fn confirm(
        &mut self,
        asked: &IdentifierConfirmed,
        is_confirmed: bool,
    ) -> Done<(u16, Json)> {
        self.allow_ever(Act::ConfirmIdentifier, "identifier")?;
        let identifier = self.identifier(&asked.identifier)?;
        let why = text("why", &asked.why)?;
        self.saw(Act::ConfirmIdentifier, self.named(&identifier));
        let known = self.unit.keep_identifiers(&[&identifier]).await?;
        let id = known[&identifier];
        match self.say_confirmed(id, is_confirmed, why).await? {
            Some(n) => {
                Ok((201, json!({"n": n, "identifier": shown(&identifier), "confirmed": is_confirmed})))
            }
            None if is_confirmed => problem(Kind::WrongState, "it is confirmed already"),
            None => problem(Kind::WrongState, "it is not confirmed"),
        }
    }

    /// Appends that an identifier is a fraudster's, or is not; none: so it stood already.
    pub(super) async fn say_confirmed(
        &mut self,
        id: i64,
        is_confirmed: bool,
        why: &str,
    ) -> Done<Option<i64>> {
        let sql = "SELECT confirmed FROM confirmation WHERE identifier = $1 ORDER BY n DESC LIMIT 1";
        let rows = self.unit.select(sql, vec![id.into()]).await?;
        let was = rows.first().map_or(Ok(false), |row| row.try_get::<i64, _>(0).map(|was| was != 0))?;
        if was == is_confirmed {
            return Ok(None);
        }
        let rows = self.unit.select("SELECT COALESCE(MAX(n), 0) FROM confirmation", Vec::new()).await?;
        let n = rows[0].try_get::<i64, _>(0)? + 1;
        let sealed = self.unit.seal(&format!("confirmation {n}"), why);
        let by = self.by();
        let row = [
            n.into(),
            id.into(),
            i64::from(is_confirmed).into(),
            by.now_ms.into(),
            by.who.into(),
            sealed.into(),
        ];
        let insert = "INSERT INTO confirmation (n, identifier, confirmed, at_ms, who, sealed)";
        self.unit.insert(insert, vec![row]).await?;
        Ok(Some(n))
    }

    /// What was confirmed and taken back behind a place.
    pub(super) async fn confirmations(&mut self, after: i64) -> Done<(u16, Json)> {
        self.allow_ever(Act::SeeConfirmed, "confirmed")?;
        self.saw(Act::SeeConfirmed, format!("confirmed after {after}"));
        let since = self.unit.confirmed_since(after).await?;
        let told = since.iter().map(|one| {
            json!({"n": one.n, "identifier": shown(&one.identifier), "confirmed": one.is_confirmed, "time": time(one.at_ms),
                   "who": one.who, "why": one.why})
        });
        Ok((200, json!({"confirmations": told.collect::<Vec<_>>()})))
    }
}
