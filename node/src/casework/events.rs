//! What happened to a thing of the register: each change an event with who and when, never changed.

use serde_json::{Value as Json, json};
use sqlx::Row;

use super::store::Unit;
use crate::database::Fault;
use crate::loans::view::time;

const INSERT: &str = "INSERT INTO happened (subject, n, at_ms, who, event, sealed)";

/// Who did something, and when.
#[derive(Clone, Copy)]
pub struct By<'b> {
    pub who: &'b str,
    pub now_ms: i64,
}

impl Unit<'_> {
    /// Appends an event to those of a subject, such as `fact 12`.
    pub(super) async fn happened(
        &mut self,
        subject: &str,
        event: &str,
        by: By<'_>,
        body: &Json,
    ) -> Result<(), Fault> {
        let sql = "SELECT COUNT(*) FROM happened WHERE subject = $1";
        let n = 1 + self.select(sql, vec![subject.into()]).await?[0].try_get::<i64, _>(0)?;
        let sealed = self.seal(&format!("{subject} {n}"), &body.to_string());
        let row = [subject.into(), n.into(), by.now_ms.into(), by.who.into(), event.into(), sealed.into()];
        self.insert(INSERT, vec![row]).await
    }

    /// The first event of many new subjects.
    pub(super) async fn all_happened(
        &mut self,
        subjects: impl Iterator<Item = String>,
        event: &str,
        by: By<'_>,
    ) -> Result<(), Fault> {
        let rows = subjects.map(|subject| {
            let sealed = self.seal(&format!("{subject} 1"), "{}");
            [subject.into(), 1.into(), by.now_ms.into(), by.who.into(), event.into(), sealed.into()]
        });
        let rows = rows.collect();
        self.insert(INSERT, rows).await
    }

    /// The events of a subject as they are shown, in their order.
    pub(super) async fn events(&mut self, subject: &str) -> Result<Vec<Json>, Fault> {
        let sql = "SELECT n, at_ms, who, event, sealed FROM happened WHERE subject = $1 ORDER BY n";
        let mut events = Vec::new();
        for row in self.select(sql, vec![subject.into()]).await? {
            let about = format!("{subject} {}", row.try_get::<i64, _>(0)?);
            let body = self.open(&about, &row.try_get::<String, _>(4)?)?;
            let mut event: Json = serde_json::from_str(&body).unwrap_or_default();
            event["time"] = json!(time(row.try_get(1)?));
            event["who"] = json!(row.try_get::<String, _>(2)?);
            event["event"] = json!(row.try_get::<String, _>(3)?);
            events.push(event);
        }
        Ok(events)
    }
}
