//! Going over to another key: what stands under older ones is sealed and hashed again, page by page, while nodes run.

use lending::{Per, Use, Vault};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::store::{Applicant, Fault, Store, seal};

type Result<T> = std::result::Result<T, String>;

/// Rows at a time.
const PAGE: i64 = 500;

fn said(fault: Fault) -> String {
    fault.to_string()
}

impl Store {
    /// Seals and hashes again what stands under another key than the one in force. Gives how many rows it changed.
    pub async fn rotate(&self, vault: &Vault) -> Result<u64> {
        // A key's ID is of letters and digits alone.
        let current = format!("{}.%", vault.current());
        let mut changed = 0;
        let applications = "SELECT id, sealed, document FROM application \
                            WHERE sealed NOT LIKE $1 OR document NOT LIKE $1 LIMIT $2";
        let bans = "SELECT person, sealed FROM ban WHERE sealed NOT LIKE $1 LIMIT $2";
        let phones = "SELECT phone, change, sealed FROM phone_change WHERE sealed NOT LIKE $1 LIMIT $2";
        let outgoing = "SELECT id, sealed FROM outgoing WHERE sealed NOT LIKE $1 LIMIT $2";
        let answered = "SELECT client, key, sealed FROM answered WHERE sealed NOT LIKE $1 LIMIT $2";
        for select in [applications, bans, phones, outgoing, answered] {
            loop {
                let rows = sqlx::query(select).bind(&current).bind(PAGE).fetch_all(&self.pool);
                let rows = rows.await.map_err(said)?;
                if rows.is_empty() {
                    break;
                }
                for row in &rows {
                    match select {
                        _ if select == applications => self.rotate_application(vault, row).await?,
                        _ if select == bans => self.rotate_ban(vault, row).await?,
                        _ if select == phones => self.rotate_phone(vault, row).await?,
                        _ if select == outgoing => self.rotate_outgoing(vault, row).await?,
                        _ => self.rotate_answered(vault, row).await?,
                    }
                }
                changed += rows.len() as u64;
            }
        }
        Ok(changed + self.rotate_faces(vault).await?)
    }

    async fn rotate_application(&self, vault: &Vault, row: &AnyRow) -> Result<()> {
        let (id, sealed): (String, String) = (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
        let document: Option<String> = row.try_get(2).map_err(said)?;
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
        // The codes that the number has had count on.
        let counted = format!("{} {}", Per::Number.name(), applicant.phone);
        let now = vault.mac(Use::Index, counted.as_bytes());
        for before in vault.macs(Use::Index, counted.as_bytes()).into_iter().skip(1) {
            let update = sqlx::query("UPDATE code_sent SET scope = $1 WHERE scope = $2");
            update.bind(&now).bind(before).execute(&self.pool).await.map_err(said)?;
        }
        Ok(())
    }

    async fn rotate_ban(&self, vault: &Vault, row: &AnyRow) -> Result<()> {
        let (person, sealed): (String, String) =
            (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
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
        tx.commit().await.map_err(said)
    }

    /// A change told meanwhile under the key in force stays where it is the later one.
    async fn rotate_phone(&self, vault: &Vault, row: &AnyRow) -> Result<()> {
        let (old, change): (String, String) = (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
        let sealed: String = row.try_get(2).map_err(said)?;
        let phone = vault.open("phone", &sealed).ok_or("a phone is sealed with a key that is not at hand")?;
        let mut tx = self.pool.begin().await.map_err(said)?;
        sqlx::query(
            "INSERT INTO phone_change (phone, change, at_ms, sealed) \
             SELECT $1, change, at_ms, $2 FROM phone_change WHERE phone = $3 AND change = $4 \
             ON CONFLICT (phone, change) DO UPDATE SET at_ms = excluded.at_ms, sealed = excluded.sealed \
             WHERE excluded.at_ms > phone_change.at_ms",
        )
        .bind(vault.mac(Use::Index, phone.as_bytes()))
        .bind(seal(vault, "phone", &phone))
        .bind(&old)
        .bind(&change)
        .execute(&mut *tx)
        .await
        .map_err(said)?;
        let delete = sqlx::query("DELETE FROM phone_change WHERE phone = $1 AND change = $2");
        delete.bind(&old).bind(&change).execute(&mut *tx).await.map_err(said)?;
        tx.commit().await.map_err(said)
    }

    async fn rotate_outgoing(&self, vault: &Vault, row: &AnyRow) -> Result<()> {
        let (id, sealed): (String, String) = (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
        let body = vault.open(&id, &sealed).ok_or("a text is sealed with a key that is not at hand")?;
        let update = sqlx::query("UPDATE outgoing SET sealed = $1 WHERE id = $2");
        update.bind(seal(vault, &id, &body)).bind(&id).execute(&self.pool).await.map(drop).map_err(said)
    }

    async fn rotate_answered(&self, vault: &Vault, row: &AnyRow) -> Result<()> {
        let (client, key): (String, String) = (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
        let sealed: String = row.try_get(2).map_err(said)?;
        let body =
            vault.open("answered", &sealed).ok_or("an answer is sealed with a key that is not at hand")?;
        let update = sqlx::query("UPDATE answered SET sealed = $1 WHERE client = $2 AND key = $3");
        let update = update.bind(seal(vault, "answered", &body)).bind(client).bind(key);
        update.execute(&self.pool).await.map(drop).map_err(said)
    }
}
