//! What requests with an `Idempotency-Key` were answered, so that a repeated one is answered the same.

use lending::Vault;
use sqlx::{AnyConnection, Row};

use super::rows::Value;
use super::{Fault, seal};

pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS answered (client TEXT NOT NULL, key TEXT NOT NULL, hash TEXT NOT NULL, \
     status BIGINT NOT NULL, sealed TEXT NOT NULL, at_ms BIGINT NOT NULL, PRIMARY KEY (client, key))";
pub const INSERT: &str = "INSERT INTO answered (client, key, hash, status, sealed, at_ms)";
/// What stands behind the rows: the later answer counts.
pub const AGAIN: &str =
    "ON CONFLICT (client, key) DO UPDATE SET status = excluded.status, sealed = excluded.sealed";

/// The hash of the request, status and body.
pub async fn find(
    store: &mut AnyConnection,
    vault: &Vault,
    client: &str,
    key: &str,
) -> Result<Option<(String, u16, String)>, Fault> {
    let row = sqlx::query("SELECT hash, status, sealed FROM answered WHERE client = $1 AND key = $2")
        .bind(client)
        .bind(key)
        .fetch_optional(store)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let body = vault.open("answered", &row.try_get::<String, _>(2)?).unwrap_or_default();
    Ok(Some((row.try_get(0)?, row.try_get::<i64, _>(1)? as u16, body)))
}

/// A row of [`INSERT`].
pub fn row(
    vault: &Vault,
    (client, key, hash): (&str, &str, &str),
    (status, body): (u16, &str),
    now_ms: i64,
) -> [Value; 6] {
    let sealed = seal(vault, "answered", body);
    [client.into(), key.into(), hash.into(), i64::from(status).into(), sealed.into(), now_ms.into()]
}
