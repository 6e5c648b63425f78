//! A database behind what a node keeps of people: SQLite or PostgreSQL by its URL, the same statements for both.
//!
//! A change is one transaction: a process that is killed has done all of it or nothing.

pub mod answers;
mod group;
pub mod rows;

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand;
use lending::Vault;
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyPool, AssertSqlSafe, Connection, Executor, Row, Transaction};

use group::Group;

pub use group::Tx;

/// What went wrong in the database, in its own words; no statement holds personal data.
pub type Fault = sqlx::Error;
type Result<T> = std::result::Result<T, Fault>;

/// An open database.
#[derive(Clone)]
pub struct Database {
    pub pool: AnyPool,
    /// Of SQLite; none: PostgreSQL.
    group: Option<Group>,
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A new name: 128 random bits in hex.
pub fn new_id() -> String {
    journal::hex(&random::<16>())
}

pub fn seal(vault: &Vault, about: &str, text: &str) -> String {
    vault.seal(random(), about, text)
}

/// What no statement can mend.
pub fn strange(what: &str) -> Fault {
    Fault::Protocol(what.to_owned())
}

/// What `CREATE TABLE IF NOT EXISTS name` and `CREATE INDEX IF NOT EXISTS name` make.
fn made_by(statement: &str) -> &str {
    let name = statement.split_once(" IF NOT EXISTS ").map_or("", |(_, rest)| rest);
    name.split([' ', '(']).next().unwrap_or_default()
}

impl Database {
    /// Opens the database of a URL, `postgres://…`, or of a file of SQLite, and makes what is missing of its tables.
    pub async fn open(place: &str, tables: impl Iterator<Item = &'static str>) -> Result<Database> {
        sqlx::any::install_default_drivers();
        let is_postgres = place.starts_with("postgres://") || place.starts_with("postgresql://");
        let options = AnyPoolOptions::new().acquire_timeout(Duration::from_secs(10));
        let pool = if is_postgres {
            // A connection in use is asked whether it is well by its next statement: that saves a round trip.
            let options = options.test_before_acquire(false).before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for > Duration::from_secs(1) {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            });
            options.max_connections(16).connect(place).await?
        } else {
            let path = Path::new(place);
            // Made here, so that nobody else may read it.
            OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(Fault::Io)?;
            // One connection: SQLite has one writer, and a second would only wait for it.
            let options = options.max_connections(1).after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute("PRAGMA journal_mode = WAL").await?;
                    connection.execute("PRAGMA synchronous = FULL").await?;
                    connection.execute("PRAGMA secure_delete = ON").await?;
                    connection.execute("PRAGMA busy_timeout = 10000").await?;
                    Ok(())
                })
            });
            options.connect(&format!("sqlite://{}", path.display())).await?
        };
        let group = (!is_postgres).then(|| Group::new(pool.clone()));
        let database = Database { pool, group };
        if is_postgres {
            // Nodes that start together make the tables in turn.
            let mut tx = database.pool.begin().await?;
            sqlx::query("SELECT pg_advisory_xact_lock(7237)").execute(&mut *tx).await?;
            // What is there is not made again: even to find that out CREATE INDEX locks its table, against nodes at work.
            let there = "SELECT CAST(relname AS TEXT) FROM pg_class WHERE relnamespace = to_regnamespace(current_schema())";
            let there = sqlx::query(there).fetch_all(&mut *tx).await?;
            let there = there.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<String>>>()?;
            for statement in tables.filter(|statement| !there.contains(made_by(statement))) {
                tx.execute(statement).await?;
            }
            tx.commit().await?;
        } else {
            for statement in tables {
                database.pool.execute(statement).await?;
            }
        }
        Ok(database)
    }

    pub fn is_postgres(&self) -> bool {
        self.group.is_none()
    }

    /// Begins and waits for these turns, in this order: on SQLite, which has one writer, there is one turn for all.
    pub async fn begin(&self, turns: &[i64]) -> Result<Tx> {
        Ok(match &self.group {
            Some(group) => Tx::Turn(group.begin().await?),
            None => {
                let locks = turns.iter().map(|turn| format!("; SELECT pg_advisory_xact_lock({turn})"));
                let begin = format!("BEGIN{}", locks.collect::<String>());
                Tx::Own(self.pool.begin_with(AssertSqlSafe(begin)).await?)
            }
        })
    }

    /// A transaction of its own, for what no unit of work is done in.
    pub async fn transaction(&self) -> Result<Transaction<'static, Any>> {
        match &self.group {
            None => self.pool.begin().await,
            Some(_) => self.pool.begin_with("BEGIN IMMEDIATE").await,
        }
    }
}
