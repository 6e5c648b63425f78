//! Where loans are kept: SQLite or PostgreSQL by its URL, one schema, the same statements.
//!
//! A change is one transaction: its events, what they queue to be sent, and the answer that is given again to a repeated
//! request. A process that is killed has done all of it or nothing. Personal data stands only in `sealed` columns; `person`
//! and `phone` are keyed hashes.

use std::ops::Deref;

use ::casework::IdentifierKind;
use lending::{Application, Ban, Change, Event, Use, Vault};
use sqlx::Row;

use super::writes::Writes;
use super::{links, phones, references, texts, verifications};
use crate::database::{Database, Tx, answers, strange};

pub use crate::database::{Fault, new_id, random, seal};

type Result<T> = std::result::Result<T, Fault>;

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS application (id TEXT PRIMARY KEY, creditor TEXT NOT NULL, person TEXT NOT NULL, \
     phone TEXT NOT NULL, turn BIGINT NOT NULL, sealed TEXT NOT NULL, opened_ms BIGINT NOT NULL, sum BIGINT NOT NULL, \
     counts BIGINT NOT NULL, state TEXT NOT NULL, due_ms BIGINT, ended_ms BIGINT, document TEXT)",
    "CREATE INDEX IF NOT EXISTS application_person ON application (person, opened_ms)",
    "CREATE INDEX IF NOT EXISTS application_due ON application (due_ms)",
    "CREATE TABLE IF NOT EXISTS event (application TEXT NOT NULL, n BIGINT NOT NULL, at_ms BIGINT NOT NULL, \
     body TEXT NOT NULL, PRIMARY KEY (application, n))",
    "CREATE TABLE IF NOT EXISTS ban (person TEXT PRIMARY KEY, set_ms BIGINT NOT NULL, lifts_ms BIGINT, sealed TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS ban_event (person TEXT NOT NULL, at_ms BIGINT NOT NULL, event TEXT NOT NULL, client TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS phone_change (phone TEXT NOT NULL, change TEXT NOT NULL, at_ms BIGINT NOT NULL, \
     sealed TEXT NOT NULL, PRIMARY KEY (phone, change))",
    "CREATE TABLE IF NOT EXISTS code_sent (scope TEXT NOT NULL, at_ms BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS code_sent_scope ON code_sent (scope, at_ms)",
    "CREATE TABLE IF NOT EXISTS outgoing (id TEXT PRIMARY KEY, kind TEXT NOT NULL, client TEXT NOT NULL, \
     sealed TEXT NOT NULL, made_ms BIGINT NOT NULL, next_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL, tries BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS outgoing_next ON outgoing (next_ms)",
    answers::TABLE,
    "CREATE TABLE IF NOT EXISTS look (at_ms BIGINT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL)",
];

/// With the tables of those who keep something of their own.
fn tables() -> impl Iterator<Item = &'static str> {
    let own = [links::TABLES, references::TABLES, phones::SCHEMA, texts::SCHEMA, verifications::SCHEMA];
    SCHEMA.iter().chain(own.into_iter().flatten()).copied()
}

/// An open store.
#[derive(Clone)]
pub struct Store(Database);

impl Deref for Store {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0
    }
}

/// A unit of work: dropped, nothing of it is done.
pub struct Unit<'s> {
    pub(super) tx: Tx,
    is_postgres: bool,
    pub(super) vault: &'s Vault,
    /// Not yet in the store: read there only after [`Unit::flush`].
    writes: Writes,
}

/// What is sealed with an application.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Applicant {
    pub iin: String,
    pub phone: String,
    /// Accounts, devices and addresses that the application names, in the form that the register has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<(IdentifierKind, String)>,
}

impl Applicant {
    pub fn new(iin: String, phone: String) -> Applicant {
        Applicant { iin, phone, identifiers: Vec::new() }
    }
}

/// Something to be sent.
pub struct Outgoing {
    pub id: String,
    /// `sms` or `webhook`.
    pub kind: String,
    pub client: String,
    pub body: String,
    pub until_ms: i64,
    pub tries: i64,
}

impl Store {
    /// Opens the store of a URL, `postgres://…`, or of a file of SQLite, and makes what is missing of its tables.
    pub async fn open(place: &str) -> Result<Store> {
        Ok(Store(Database::open(place, tables()).await?))
    }

    pub async fn begin<'s>(&self, vault: &'s Vault) -> Result<Unit<'s>> {
        self.begin_in_turn(vault, &[]).await
    }

    /// Begins and waits for these turns, in this order, as [`Unit::lock`] would.
    pub async fn begin_in_turn<'s>(&self, vault: &'s Vault, turns: &[i64]) -> Result<Unit<'s>> {
        let tx = self.0.begin(turns).await?;
        Ok(Unit { tx, is_postgres: self.is_postgres(), vault, writes: Writes::default() })
    }

    /// Applications that time has to move on.
    pub async fn due(&self, now_ms: i64) -> Result<Vec<String>> {
        let rows = sqlx::query("SELECT id FROM application WHERE due_ms <= $1 ORDER BY due_ms LIMIT 200")
            .bind(now_ms)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// It was sent, or never will be.
    pub async fn sent(&self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM outgoing WHERE id = $1").bind(id).execute(&self.pool).await.map(drop)
    }

    pub async fn send_later(&self, id: &str, next_ms: i64) -> Result<()> {
        let update = sqlx::query("UPDATE outgoing SET next_ms = $1 WHERE id = $2").bind(next_ms).bind(id);
        update.execute(&self.pool).await.map(drop)
    }

    /// Forgets what is old: applications that ended before `ended_ms`, the rest that only serves days before `served_ms`, and
    /// pictures whose time is over.
    pub async fn forget(&self, ended_ms: i64, served_ms: i64, now_ms: i64) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        for statement in [
            "DELETE FROM event WHERE application IN (SELECT id FROM application WHERE ended_ms < $1)",
            "DELETE FROM application WHERE ended_ms < $1",
            "DELETE FROM look WHERE at_ms < $1",
            "DELETE FROM ban_event WHERE at_ms < $1",
        ] {
            sqlx::query(statement).bind(ended_ms).execute(&mut *tx).await?;
        }
        for statement in [
            "DELETE FROM answered WHERE at_ms < $1",
            "DELETE FROM code_sent WHERE at_ms < $1",
            "DELETE FROM outgoing WHERE until_ms < $1",
            "DELETE FROM verification WHERE sent_ms < $1",
            "DELETE FROM phone_asked WHERE answered_ms < $1 OR (answered_ms IS NULL AND again_ms < $1)",
            "DELETE FROM ban WHERE lifts_ms < $1",
            "DELETE FROM link WHERE until_ms < $1",
            "DELETE FROM session WHERE until_ms < $1",
        ] {
            sqlx::query(statement).bind(served_ms).execute(&mut *tx).await?;
        }
        for statement in [
            "DELETE FROM picture WHERE until_ms < $1",
            "UPDATE reference SET picture = NULL, picture_until_ms = NULL WHERE picture_until_ms < $1",
        ] {
            sqlx::query(statement).bind(now_ms).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.forget_texts(served_ms).await
    }
}

impl Unit<'_> {
    pub async fn commit(mut self) -> Result<()> {
        self.flush().await?;
        self.tx.commit().await
    }

    /// Puts what was written so far into the store.
    async fn flush(&mut self) -> Result<()> {
        self.writes.flush(&mut self.tx, self.is_postgres).await
    }

    /// Changes of one person come one after the other.
    pub async fn lock(&mut self, turn: i64) -> Result<()> {
        if self.is_postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(turn).execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    /// What a repeated request was answered: the hash of the request, status and body.
    pub async fn answered(&mut self, client: &str, key: &str) -> Result<Option<(String, u16, String)>> {
        answers::find(&mut self.tx, self.vault, client, key).await
    }

    pub async fn keep_answer(
        &mut self,
        repeats: (&str, &str, &str),
        answer: (u16, &str),
        now_ms: i64,
    ) -> Result<()> {
        self.writes.insert(
            answers::INSERT,
            answers::row(self.vault, repeats, answer, now_ms),
            answers::AGAIN,
        );
        Ok(())
    }

    /// A repeated request is done anew.
    pub async fn forget_answer(&mut self, client: &str, key: &str) -> Result<()> {
        let delete =
            sqlx::query("DELETE FROM answered WHERE client = $1 AND key = $2").bind(client).bind(key);
        delete.execute(&mut *self.tx).await.map(drop)
    }

    pub async fn insert(
        &mut self,
        id: &str,
        applicant: &Applicant,
        turn: i64,
        counts: bool,
        application: &Application,
    ) -> Result<()> {
        let sealed = serde_json::to_string(applicant).expect("plain values");
        let columns = [
            id.into(),
            application.creditor.as_str().into(),
            self.vault.mac(Use::Index, applicant.iin.as_bytes()).into(),
            self.vault.mac(Use::Index, applicant.phone.as_bytes()).into(),
            turn.into(),
            seal(self.vault, id, &sealed).into(),
            application.opened_ms.into(),
            application.sum.hundredths().into(),
            i64::from(counts).into(),
        ];
        self.writes.insert_application(columns, application.state.name());
        Ok(())
    }

    /// The turn that an application's changes take.
    pub async fn turn(&mut self, id: &str) -> Result<Option<i64>> {
        let row = sqlx::query("SELECT turn FROM application WHERE id = $1").bind(id);
        row.fetch_optional(&mut *self.tx).await?.map(|row| row.try_get(0)).transpose()
    }

    /// An application, whose it is, and its events with their times.
    pub async fn load(&mut self, id: &str) -> Result<Option<(Application, Applicant, Vec<(i64, Event)>)>> {
        self.flush().await?;
        let sealed = sqlx::query("SELECT sealed FROM application WHERE id = $1").bind(id);
        let Some(row) = sealed.fetch_optional(&mut *self.tx).await? else { return Ok(None) };
        let text = self.vault.open(id, &row.try_get::<String, _>(0)?);
        let applicant = text.and_then(|text| serde_json::from_str(&text).ok());
        let applicant = applicant.ok_or_else(|| strange("it is sealed with a key that is not at hand"))?;
        let rows = sqlx::query("SELECT at_ms, body FROM event WHERE application = $1 ORDER BY n").bind(id);
        let mut events = Vec::new();
        for row in rows.fetch_all(&mut *self.tx).await? {
            let event = serde_json::from_str(&row.try_get::<String, _>(1)?);
            events.push((row.try_get(0)?, event.map_err(|_| strange("an event of another version"))?));
        }
        let application = Application::of(events.iter().map(|(at_ms, event)| (*at_ms, event)));
        Ok(Some((application.ok_or_else(|| strange("no first event"))?, applicant, events)))
    }

    pub async fn document(&mut self, id: &str) -> Result<Option<String>> {
        self.flush().await?;
        let row = sqlx::query("SELECT document FROM application WHERE id = $1").bind(id);
        let Some(row) = row.fetch_optional(&mut *self.tx).await? else { return Ok(None) };
        Ok(row.try_get::<Option<String>, _>(0)?.and_then(|sealed| self.vault.open(id, &sealed)))
    }

    /// Appends events; two that append at once cannot both have the next place.
    pub async fn append(&mut self, id: &str, from: u64, events: &[(i64, Event)]) -> Result<()> {
        for (n, (at_ms, event)) in events.iter().enumerate() {
            let body = serde_json::to_string(event).expect("plain values");
            let row = [id.into(), ((from + n as u64) as i64).into(), (*at_ms).into(), body.into()];
            self.writes.insert("INSERT INTO event (application, n, at_ms, body)", row, "");
        }
        Ok(())
    }

    pub async fn update(
        &mut self,
        id: &str,
        application: &Application,
        due_ms: Option<i64>,
        document: Option<&str>,
    ) -> Result<()> {
        let document = document.map(|document| seal(self.vault, id, document));
        self.writes.update(id, application, due_ms, document);
        Ok(())
    }

    /// Applications of a person that have not ended.
    pub async fn under_way(&mut self, iin: &str) -> Result<Vec<String>> {
        self.flush().await?;
        let mut found = Vec::new();
        for person in self.vault.macs(Use::Index, iin.as_bytes()) {
            let select =
                sqlx::query("SELECT id FROM application WHERE person = $1 AND ended_ms IS NULL").bind(person);
            for row in select.fetch_all(&mut *self.tx).await? {
                found.push(row.try_get(0)?);
            }
        }
        Ok(found)
    }

    /// A person's ban and the phone that is to be told.
    pub async fn ban(&mut self, iin: &str) -> Result<Option<(Ban, Applicant)>> {
        for person in self.vault.macs(Use::Index, iin.as_bytes()) {
            let select = sqlx::query("SELECT set_ms, lifts_ms, sealed FROM ban WHERE person = $1");
            if let Some(row) = select.bind(person).fetch_optional(&mut *self.tx).await? {
                let ban = Ban { set_ms: row.try_get(0)?, lifts_ms: row.try_get(1)? };
                return Ok(Some((ban, of_ban(self.vault, &row.try_get::<String, _>(2)?)?)));
            }
        }
        Ok(None)
    }

    pub async fn keep_ban(
        &mut self,
        ban: Ban,
        applicant: &Applicant,
        (event, client): (&str, &str),
        now_ms: i64,
    ) -> Result<()> {
        let person = self.vault.mac(Use::Index, applicant.iin.as_bytes());
        for person in self.vault.macs(Use::Index, applicant.iin.as_bytes()) {
            sqlx::query("DELETE FROM ban WHERE person = $1").bind(person).execute(&mut *self.tx).await?;
        }
        sqlx::query("INSERT INTO ban (person, set_ms, lifts_ms, sealed) VALUES ($1, $2, $3, $4)")
            .bind(&person)
            .bind(ban.set_ms)
            .bind(ban.lifts_ms)
            .bind(seal(self.vault, "ban", &serde_json::to_string(applicant).expect("plain values")))
            .execute(&mut *self.tx)
            .await?;
        sqlx::query("INSERT INTO ban_event (person, at_ms, event, client) VALUES ($1, $2, $3, $4)")
            .bind(&person)
            .bind(now_ms)
            .bind(event)
            .bind(client)
            .execute(&mut *self.tx)
            .await
            .map(drop)
    }

    pub async fn keep_change(&mut self, phone: &str, change: Change, at_ms: i64) -> Result<()> {
        let sealed = seal(self.vault, "phone", phone);
        let phone = self.vault.mac(Use::Index, phone.as_bytes());
        let insert = "INSERT INTO phone_change (phone, change, at_ms, sealed) VALUES ($1, $2, $3, $4) \
                      ON CONFLICT (phone, change) DO UPDATE SET at_ms = excluded.at_ms \
                      WHERE excluded.at_ms > phone_change.at_ms";
        let insert = sqlx::query(insert).bind(phone).bind(change.name()).bind(at_ms).bind(sealed);
        insert.execute(&mut *self.tx).await.map(drop)
    }

    /// Queues something to be sent once this change is done.
    pub async fn queue(
        &mut self,
        kind: &str,
        client: &str,
        body: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<()> {
        let id = new_id();
        let sealed = seal(self.vault, &id, body);
        let insert = "INSERT INTO outgoing (id, kind, client, sealed, made_ms, next_ms, until_ms, tries)";
        let (kind, client) = (kind.into(), client.into());
        let row =
            [id.into(), kind, client, sealed.into(), now_ms.into(), now_ms.into(), until_ms.into(), 0.into()];
        self.writes.insert(insert, row, "");
        Ok(())
    }
}

/// Whom a ban tells.
pub fn of_ban(vault: &Vault, sealed: &str) -> Result<Applicant> {
    let text = vault.open("ban", sealed);
    let applicant = text.and_then(|text| serde_json::from_str(&text).ok());
    applicant.ok_or_else(|| strange("a ban is sealed with another key"))
}
