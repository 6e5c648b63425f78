//! Reference photos: what a living face is compared with, by person. The default of the port `References`: tables in the store
//! of loans, found by a keyed hash, sealed.
//!
//! Of a picture its numbers (an embedding) are made at once; the picture itself is kept only where the configuration says for
//! how long. Numbers belong to the model that made them: after another model came, they are made again from kept pictures,
//! or the photo is asked for anew. They come by HTTP or by `qalqan loan reference`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lending::{Use, Vault};
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::faces::Faces;
use super::office::turn_of;
use super::store::{Fault, Store, Unit, new_id, seal};
use super::view;
use crate::http::Problem;

pub(super) const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS reference (person TEXT PRIMARY KEY, model TEXT NOT NULL, sealed TEXT NOT NULL, \
     picture TEXT, picture_until_ms BIGINT, client TEXT NOT NULL, at_ms BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS picture (id TEXT PRIMARY KEY, application TEXT NOT NULL, until_ms BIGINT NOT NULL, \
     sealed TEXT NOT NULL)",
];

/// A person's reference photo as it is kept.
#[derive(Clone)]
pub struct Reference {
    /// The model whose numbers they are.
    pub model: String,
    pub embedding: Vec<u8>,
    /// The picture, and until when it is kept.
    pub picture: Option<(Vec<u8>, i64)>,
}

impl Reference {
    /// A picture that is not measured yet.
    pub fn of(picture: Vec<u8>) -> Reference {
        Reference { model: String::new(), embedding: Vec::new(), picture: Some((picture, 0)) }
    }
}

impl Faces {
    /// Makes numbers of a picture, and lets go of it where pictures are not kept.
    pub async fn measure(&self, reference: &mut Reference, now_ms: i64) -> Result<(), Problem> {
        let picture = reference.picture.take().map_or_else(Vec::new, |(picture, _)| picture);
        (reference.model, reference.embedding) = self.numbers(picture.clone().into()).await?;
        let keep_ms = self.keep_references_ms();
        reference.picture = (keep_ms > 0).then(|| (picture, now_ms + keep_ms));
        Ok(())
    }
}

/// What is sealed: with whose it is, so that it can be found under another key.
#[derive(Serialize, Deserialize)]
struct Kept {
    iin: String,
    numbers: String,
}

impl Kept {
    fn of(iin: &str, embedding: &[u8]) -> Kept {
        Kept { iin: iin.to_owned(), numbers: STANDARD.encode(embedding) }
    }

    fn open(vault: &Vault, sealed: &str) -> Option<Kept> {
        serde_json::from_str(&vault.open(ABOUT, sealed)?).ok()
    }

    fn seal(&self, vault: &Vault) -> String {
        seal(vault, ABOUT, &serde_json::to_string(self).expect("plain values"))
    }
}

/// A reference photo as it is listed: of its person the last digits.
pub struct ReferenceSeen {
    pub iin: String,
    pub at_ms: i64,
    pub client: String,
    pub model: String,
    /// Until when the picture is kept.
    pub picture_until_ms: Option<i64>,
}

/// At the command line, where no office is.
impl Store {
    pub async fn put_reference(
        &self,
        vault: &Vault,
        who: &str,
        iin: &str,
        reference: &Reference,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut unit = self.of_person(vault, iin).await?;
        unit.put_reference(who, iin, reference, now_ms).await?;
        unit.judge_again(iin, now_ms).await?;
        unit.commit().await
    }

    /// Whether there was one.
    pub async fn remove_reference(
        &self,
        vault: &Vault,
        who: &str,
        iin: &str,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        let mut unit = self.of_person(vault, iin).await?;
        let was_there = unit.remove_reference(who, iin, now_ms).await?;
        unit.judge_again(iin, now_ms).await?;
        unit.commit().await?;
        Ok(was_there)
    }

    /// The newest so many, the newest last.
    pub async fn references(
        &self,
        vault: &Vault,
        who: &str,
        limit: i64,
        now_ms: i64,
    ) -> Result<Vec<ReferenceSeen>, Fault> {
        let mut unit = self.begin(vault).await?;
        let select = "SELECT sealed, at_ms, client, model, picture_until_ms FROM reference ORDER BY at_ms DESC LIMIT $1";
        let mut seen = Vec::new();
        for row in sqlx::query(select).bind(limit).fetch_all(&mut *unit.tx).await? {
            let kept = Kept::open(vault, &row.try_get::<String, _>(0)?);
            seen.push(ReferenceSeen {
                iin: view::masked_iin(kept.as_ref().map_or("", |kept| &kept.iin)),
                at_ms: row.try_get(1)?,
                client: row.try_get(2)?,
                model: row.try_get(3)?,
                picture_until_ms: row.try_get(4)?,
            });
        }
        unit.look(who, "reference-list", "all", now_ms).await?;
        unit.commit().await?;
        seen.reverse();
        Ok(seen)
    }

    async fn of_person<'v>(&self, vault: &'v Vault, iin: &str) -> Result<Unit<'v>, Fault> {
        self.begin_in_turn(vault, &[turn_of(vault, iin)]).await
    }
}

impl Store {
    /// Seals again what stands under another key than the one in force; gives how many rows it changed.
    pub(super) async fn rotate_faces(&self, vault: &Vault) -> Result<u64, String> {
        let said = |fault: Fault| fault.to_string();
        let lost = || "a reference photo or picture is sealed with a key that is not at hand".to_owned();
        let current = |kept: &str| Vault::key_of(kept) == vault.current();
        let again = |about: &str, sealed: &str| {
            Ok::<_, String>(seal(vault, about, &vault.open(about, sealed).ok_or_else(lost)?))
        };
        let mut changed = 0;
        let rows = sqlx::query("SELECT person, sealed, picture FROM reference").fetch_all(&self.pool);
        for row in rows.await.map_err(said)? {
            let (person, sealed): (String, String) =
                (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
            let picture: Option<String> = row.try_get(2).map_err(said)?;
            if current(&sealed) && picture.as_deref().is_none_or(current) {
                continue;
            }
            let kept = Kept::open(vault, &sealed).ok_or_else(lost)?;
            let picture = picture.map(|picture| again(ABOUT, &picture)).transpose()?;
            sqlx::query("UPDATE reference SET person = $1, sealed = $2, picture = $3 WHERE person = $4")
                .bind(vault.mac(Use::Index, kept.iin.as_bytes()))
                .bind(kept.seal(vault))
                .bind(picture)
                .bind(person)
                .execute(&self.pool)
                .await
                .map_err(said)?;
            changed += 1;
        }
        let rows = sqlx::query("SELECT id, sealed FROM picture").fetch_all(&self.pool);
        for row in rows.await.map_err(said)? {
            let (id, sealed): (String, String) =
                (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
            if !current(&sealed) {
                let update = sqlx::query("UPDATE picture SET sealed = $1 WHERE id = $2");
                let update = update.bind(again(&id, &sealed)?).bind(&id);
                update.execute(&self.pool).await.map_err(said)?;
                changed += 1;
            }
        }
        Ok(changed)
    }
}

const ABOUT: &str = "reference";

impl Unit<'_> {
    /// Has a node judge the gates of a person's applications again.
    async fn judge_again(&mut self, iin: &str, now_ms: i64) -> Result<(), Fault> {
        for id in self.under_way(iin).await? {
            let update = sqlx::query("UPDATE application SET due_ms = $1 WHERE id = $2");
            update.bind(now_ms).bind(id).execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    /// Whether there is one that a model's numbers can be compared with.
    pub(super) async fn has_reference(&mut self, iin: &str, model: &str) -> Result<bool, Fault> {
        for person in self.vault.macs(Use::Index, iin.as_bytes()) {
            let select = sqlx::query("SELECT model FROM reference WHERE person = $1").bind(person);
            if let Some(row) = select.fetch_optional(&mut *self.tx).await? {
                return Ok(row.try_get::<String, _>(0)? == model);
            }
        }
        Ok(false)
    }

    /// The numbers of a person's reference photo, by this model.
    pub(super) async fn reference(&mut self, iin: &str, model: &str) -> Result<Option<Vec<u8>>, Fault> {
        for person in self.vault.macs(Use::Index, iin.as_bytes()) {
            let select =
                sqlx::query("SELECT sealed FROM reference WHERE person = $1 AND model = $2").bind(person);
            if let Some(row) = select.bind(model).fetch_optional(&mut *self.tx).await? {
                let kept = Kept::open(self.vault, &row.try_get::<String, _>(0)?);
                return Ok(kept.and_then(|kept| STANDARD.decode(kept.numbers).ok()));
            }
        }
        Ok(None)
    }

    /// Keeps a person's reference photo in place of the one before, and who did it.
    pub(super) async fn put_reference(
        &mut self,
        who: &str,
        iin: &str,
        reference: &Reference,
        now_ms: i64,
    ) -> Result<(), Fault> {
        self.drop_reference(iin).await?;
        self.look_at(who, "reference-put", iin, now_ms).await?;
        let picture = reference.picture.as_ref();
        let insert = "INSERT INTO reference (person, model, sealed, picture, picture_until_ms, client, at_ms) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7)";
        sqlx::query(insert)
            .bind(self.vault.mac(Use::Index, iin.as_bytes()))
            .bind(&reference.model)
            .bind(Kept::of(iin, &reference.embedding).seal(self.vault))
            .bind(picture.map(|(bytes, _)| seal(self.vault, ABOUT, &STANDARD.encode(bytes))))
            .bind(picture.map(|(_, until_ms)| *until_ms))
            .bind(who)
            .bind(now_ms)
            .execute(&mut *self.tx)
            .await
            .map(drop)
    }

    /// Whether there was one.
    pub(super) async fn remove_reference(
        &mut self,
        who: &str,
        iin: &str,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        self.look_at(who, "reference-remove", iin, now_ms).await?;
        self.drop_reference(iin).await
    }

    async fn drop_reference(&mut self, iin: &str) -> Result<bool, Fault> {
        let mut gone = 0;
        for person in self.vault.macs(Use::Index, iin.as_bytes()) {
            let delete = sqlx::query("DELETE FROM reference WHERE person = $1").bind(person);
            gone += delete.execute(&mut *self.tx).await?.rows_affected();
        }
        Ok(gone > 0)
    }

    /// Keeps a picture of a look, sealed.
    pub(super) async fn keep_picture(
        &mut self,
        application: &str,
        picture: &[u8],
        until_ms: i64,
    ) -> Result<(), Fault> {
        let id = new_id();
        sqlx::query("INSERT INTO picture (id, application, until_ms, sealed) VALUES ($1, $2, $3, $4)")
            .bind(&id)
            .bind(application)
            .bind(until_ms)
            .bind(seal(self.vault, &id, &STANDARD.encode(picture)))
            .execute(&mut *self.tx)
            .await
            .map(drop)
    }
}
