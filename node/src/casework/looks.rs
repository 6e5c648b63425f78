//! Who looked at what: each request that sees or changes something of the register is recorded, and each that was refused.

use serde_json::{Value as Json, json};
use sqlx::Row;

use super::store::{Store, Unit};
use crate::database::Fault;
use crate::loans::view::time;

/// Somebody looked.
pub struct Look {
    pub at_ms: i64,
    pub who: String,
    pub what: String,
    pub subject: String,
    pub was_refused: bool,
}

impl Look {
    pub(super) fn shown(&self) -> Json {
        json!({"time": time(self.at_ms), "who": self.who, "what": self.what, "subject": self.subject,
               "refused": self.was_refused})
    }
}

impl Unit<'_> {
    pub(super) async fn keep_looks(&mut self, looks: &[Look]) -> Result<(), Fault> {
        let row = |look: &Look| {
            [
                look.at_ms.into(),
                look.who.as_str().into(),
                look.what.as_str().into(),
                look.subject.as_str().into(),
                i64::from(look.was_refused).into(),
            ]
        };
        self.insert("INSERT INTO look (at_ms, who, what, subject, refused)", looks.iter().map(row).collect())
            .await
    }

    /// Looks from a moment on, the newest last; of more than `limit` the newest.
    pub(super) async fn looks(&mut self, since_ms: i64, limit: i64) -> Result<Vec<Look>, Fault> {
        let sql = "SELECT at_ms, who, what, subject, refused FROM look WHERE at_ms >= $1 ORDER BY at_ms DESC LIMIT $2";
        let rows = self.select(sql, vec![since_ms.into(), limit.into()]).await?;
        let look = |row: &sqlx::any::AnyRow| {
            Ok(Look {
                at_ms: row.try_get(0)?,
                who: row.try_get(1)?,
                what: row.try_get(2)?,
                subject: row.try_get(3)?,
                was_refused: row.try_get::<i64, _>(4)? != 0,
            })
        };
        rows.iter().rev().map(look).collect()
    }
}

/// `qalqan case looks`.
pub async fn looks(
    store: &Store,
    vault: &lending::Vault,
    since_ms: i64,
    limit: i64,
) -> Result<Vec<Look>, Fault> {
    store.begin(vault, false).await?.looks(since_ms, limit).await
}
