//! Where the register is kept: SQLite or PostgreSQL by its URL, one schema, the same statements.
//!
//! A change is one transaction. What people said and who they are stands only in `sealed` columns; `hash`, `victim` and
//! `victim_phone` are keyed hashes. Links are computed of what cases hold; what persons decided about them is kept. `seized` says in
//! clear what kind of thing was taken when.

use std::ops::Deref;

use lending::{Use, Vault};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::database::rows::{self, Value};
use crate::database::{Database, Fault, Tx, answers, seal, strange};

type Result<T> = std::result::Result<T, Fault>;

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS fact (id BIGINT PRIMARY KEY, number TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, \
     at_ms BIGINT NOT NULL, region TEXT NOT NULL, unit TEXT NOT NULL, assigned TEXT, state TEXT NOT NULL, damage BIGINT NOT NULL, \
     recovered BIGINT NOT NULL, victim TEXT, victim_phone TEXT, content TEXT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS fact_at ON fact (at_ms)",
    "CREATE INDEX IF NOT EXISTS fact_victim ON fact (victim)",
    "CREATE INDEX IF NOT EXISTS fact_victim_phone ON fact (victim_phone)",
    "CREATE TABLE IF NOT EXISTS identifier (id BIGINT PRIMARY KEY, kind TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, \
     sealed TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS held (node TEXT NOT NULL, node_id BIGINT NOT NULL, identifier BIGINT NOT NULL, \
     PRIMARY KEY (node, node_id, identifier))",
    "CREATE INDEX IF NOT EXISTS held_identifier ON held (identifier)",
    "CREATE TABLE IF NOT EXISTS happened (subject TEXT NOT NULL, n BIGINT NOT NULL, at_ms BIGINT NOT NULL, who TEXT NOT NULL, \
     event TEXT NOT NULL, sealed TEXT NOT NULL, PRIMARY KEY (subject, n))",
    "CREATE TABLE IF NOT EXISTS look (at_ms BIGINT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL, \
     refused BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS look_at ON look (at_ms)",
    "CREATE TABLE IF NOT EXISTS version (name TEXT PRIMARY KEY, n BIGINT NOT NULL)",
    answers::TABLE,
];

/// With the tables of those who keep something of their own.
fn tables() -> impl Iterator<Item = &'static str> {
    let own = [
        super::groups::SCHEMA,
        super::persons::SCHEMA,
        super::seizures::SCHEMA,
        super::requests::SCHEMA,
        super::reports::SCHEMA,
        super::confirmed::SCHEMA,
        super::centres::SCHEMA,
        super::undone::SCHEMA,
    ];
    SCHEMA.iter().chain(own.into_iter().flatten()).copied()
}

/// Whose changes come one after the other: ids are counted.
const TURN: i64 = 7238;
/// Values asked for in one question.
const AT_ONCE: usize = 1000;

/// An open register.
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
    pub(super) vault: &'s Vault,
}

impl Store {
    /// Opens the register of a URL, `postgres://…`, or of a file of SQLite, and makes what is missing of its tables.
    pub async fn open(place: &str) -> Result<Store> {
        Ok(Store(Database::open(place, tables()).await?))
    }

    /// Begins, behind whoever changes something where this does too.
    pub async fn begin<'s>(&self, vault: &'s Vault, changes: bool) -> Result<Unit<'s>> {
        let turns: &[i64] = if changes { &[TURN] } else { &[] };
        Ok(Unit { tx: self.0.begin(turns).await?, vault })
    }
}

/// `$1, $2, …` for so many values, from a place on.
pub(super) fn places(from: usize, count: usize) -> String {
    (from..from + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

impl Unit<'_> {
    pub async fn commit(self) -> Result<()> {
        self.tx.commit().await
    }

    pub(super) fn hash(&self, text: &str) -> String {
        self.vault.mac(Use::Index, text.as_bytes())
    }

    /// Under every key: a row may have been written under any.
    pub(super) fn hashes(&self, text: &str) -> Vec<String> {
        self.vault.macs(Use::Index, text.as_bytes())
    }

    pub(super) fn seal(&self, about: &str, text: &str) -> String {
        seal(self.vault, about, text)
    }

    pub(super) fn open(&self, about: &str, sealed: &str) -> Result<String> {
        let what = || strange(&format!("{about} is sealed with a key that is not at hand"));
        self.vault.open(about, sealed).ok_or_else(what)
    }

    pub(super) async fn select(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<Vec<AnyRow>> {
        rows::select(&mut self.tx, sql.into(), values).await
    }

    pub(super) async fn run(&mut self, sql: impl Into<String>, values: Vec<Value>) -> Result<u64> {
        rows::run(&mut self.tx, sql.into(), values).await
    }

    pub(super) async fn insert<const N: usize>(&mut self, insert: &str, rows: Vec<[Value; N]>) -> Result<()> {
        rows::insert(&mut self.tx, insert, rows, "").await
    }

    /// Rows whose `column` is one of many texts.
    pub(super) async fn select_in(
        &mut self,
        select: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<AnyRow>> {
        let (mut found, mut values) = (Vec::new(), values.into_iter().peekable());
        while values.peek().is_some() {
            let part: Vec<Value> = values.by_ref().take(AT_ONCE).collect();
            let sql = format!("{select} IN ({})", places(1, part.len()));
            found.extend(self.select(sql, part).await?);
        }
        Ok(found)
    }

    /// The last id of a table.
    pub(super) async fn last_id(&mut self, table: &str) -> Result<i64> {
        let rows = self.select(format!("SELECT COALESCE(MAX(id), 0) FROM {table}"), Vec::new()).await?;
        rows[0].try_get(0)
    }

    /// Grows with each change of what links are made of.
    pub(super) async fn version(&mut self) -> Result<i64> {
        let rows = self.select("SELECT n FROM version WHERE name = 'links'", Vec::new()).await?;
        rows.first().map_or(Ok(0), |row| row.try_get(0))
    }

    pub(super) async fn changed(&mut self) -> Result<()> {
        let sql = "INSERT INTO version (name, n) VALUES ('links', 1) \
                   ON CONFLICT (name) DO UPDATE SET n = version.n + 1";
        self.run(sql, Vec::new()).await.map(drop)
    }
}
