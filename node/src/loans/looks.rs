//! Who looked at what: each request that sees an application, a ban or a signal is recorded.

use lending::Use;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::store::{Fault, Store, Unit};

type Result<T> = std::result::Result<T, Fault>;

impl Store {
    /// Who looked at what from a moment on, the newest last.
    pub async fn looks(&self, since_ms: i64, limit: i64) -> Result<Vec<(i64, String, String, String)>> {
        let select =
            "SELECT at_ms, who, what, subject FROM look WHERE at_ms >= $1 ORDER BY at_ms DESC LIMIT $2";
        let rows = sqlx::query(select).bind(since_ms).bind(limit).fetch_all(&self.pool).await?;
        let read = |row: &AnyRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        rows.iter().rev().map(read).collect()
    }
}

impl Unit<'_> {
    /// Of a person or a phone, known by its keyed hash.
    pub async fn look_at(&mut self, who: &str, what: &str, whom: &str, now_ms: i64) -> Result<()> {
        let subject = self.vault.mac(Use::Index, whom.as_bytes());
        self.look(who, what, &subject, now_ms).await
    }

    pub async fn look(&mut self, who: &str, what: &str, subject: &str, now_ms: i64) -> Result<()> {
        sqlx::query("INSERT INTO look (at_ms, who, what, subject) VALUES ($1, $2, $3, $4)")
            .bind(now_ms)
            .bind(who)
            .bind(what)
            .bind(subject)
            .execute(&mut *self.tx)
            .await
            .map(drop)
    }
}
