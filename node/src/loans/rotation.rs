//! Going over to another key: what stands under older ones is sealed and hashed again, row by row, while nodes run.

use lending::{Use, Vault};
use sqlx::Row;

use super::store::{Applicant, Fault, Store, seal};

impl Store {
    /// Seals and hashes again what stands under another key than the one in force. Gives how many rows it changed.
    pub async fn rotate(&self, vault: &Vault) -> std::result::Result<u64, String> {
        let said = |fault: Fault| fault.to_string();
        let current = |kept: &str| Vault::key_of(kept) == vault.current();
        let mut changed = 0;
        let rows = sqlx::query("SELECT id, sealed, document FROM application").fetch_all(&self.pool);
        for row in rows.await.map_err(said)? {
            let (id, sealed): (String, String) =
                (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
            let document: Option<String> = row.try_get(2).map_err(said)?;
            if current(&sealed) && document.as_deref().is_none_or(current) {
                continue;
            }
            let lost = || format!("application {id} is sealed with a key that is not in the key file");
            let text = vault.open(&id, &sealed).ok_or_else(lost)?;
            let applicant: Applicant = serde_json::from_str(&text).map_err(|_| lost())?;
            let document = match document {
                Some(document) => Some(seal(vault, &id, &vault.open(&id, &document).ok_or_else(lost)?)),
                None => None,
            };
            // A document that was made meanwhile is under the key in force already.
            sqlx::query(
                "UPDATE application SET person = $1, phone = $2, sealed = $3, document = COALESCE($4, document) \
                 WHERE id = $5",
            )
            .bind(vault.mac(Use::Index, applicant.iin.as_bytes()))
            .bind(vault.mac(Use::Index, applicant.phone.as_bytes()))
            .bind(seal(vault, &id, &text))
            .bind(document)
            .bind(&id)
            .execute(&self.pool)
            .await
            .map_err(said)?;
            changed += 1;
        }
        let rows = sqlx::query("SELECT person, sealed FROM ban").fetch_all(&self.pool);
        for row in rows.await.map_err(said)? {
            let (person, sealed): (String, String) =
                (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
            if current(&sealed) {
                continue;
            }
            let text = vault.open("ban", &sealed).ok_or("a ban is sealed with a key that is not at hand")?;
            let applicant: Applicant = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let now = vault.mac(Use::Index, applicant.iin.as_bytes());
            let mut tx = self.pool.begin().await.map_err(said)?;
            for (statement, sealed) in [
                (
                    "UPDATE ban SET person = $1, sealed = COALESCE($3, sealed) WHERE person = $2",
                    Some(seal(vault, "ban", &text)),
                ),
                ("UPDATE ban_event SET person = $1 WHERE person = $2 AND $3 IS NULL", None),
            ] {
                let update = sqlx::query(statement).bind(&now).bind(&person).bind(sealed);
                update.execute(&mut *tx).await.map_err(said)?;
            }
            tx.commit().await.map_err(said)?;
            changed += 1;
        }
        Ok(changed + self.rotate_faces(vault).await?)
    }
}
