//! Values of columns, and statements whose number of values is known only when they are made.

use std::fmt::Write;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use super::Fault;

/// A value of a column.
#[derive(Clone)]
pub enum Value {
    Text(String),
    Int(i64),
    MaybeText(Option<String>),
    MaybeInt(Option<i64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Value {
        Value::Int(int)
    }
}

impl From<Option<i64>> for Value {
    fn from(int: Option<i64>) -> Value {
        Value::MaybeInt(int)
    }
}

/// SQLite takes 32,766 values in a statement, PostgreSQL 65,535; SQLite looks through all of them for each.
const MOST: usize = 1000;

/// The text of an `INSERT INTO table (columns)` of several rows with what stands behind them; `place` is the first value's.
pub fn write_insert(
    sql: &mut String,
    (insert, tail): (&str, &str),
    columns: usize,
    rows: usize,
    place: &mut usize,
) {
    let _ = write!(sql, "{insert} VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let _ = write!(sql, "{}${place}", if column == 0 { "" } else { ", " });
            *place += 1;
        }
        sql.push(')');
    }
    let _ = write!(sql, " {tail}");
}

fn bound(sql: String, values: impl IntoIterator<Item = Value>) -> Query<'static, Any, AnyArguments> {
    let query = sqlx::query::<Any>(AssertSqlSafe(sql));
    values.into_iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Int(int) => query.bind(int),
        Value::MaybeText(text) => query.bind(text),
        Value::MaybeInt(int) => query.bind(int),
    })
}

/// Runs a statement of words of this program and numbers, never of values; gives how many rows it changed.
pub async fn run(
    store: &mut AnyConnection,
    sql: String,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, Fault> {
    bound(sql, values).execute(store).await.map(|done| done.rows_affected())
}

/// The rows of a question, made as [`run`] makes statements.
pub async fn select(
    store: &mut AnyConnection,
    sql: String,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<AnyRow>, Fault> {
    bound(sql, values).fetch_all(store).await
}

/// Inserts any number of rows, many in a statement.
pub async fn insert<const N: usize>(
    store: &mut AnyConnection,
    insert: &str,
    rows: Vec<[Value; N]>,
    tail: &str,
) -> Result<(), Fault> {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let part: Vec<[Value; N]> = rows.by_ref().take(MOST / N).collect();
        let mut sql = String::new();
        write_insert(&mut sql, (insert, tail), N, part.len(), &mut 1);
        run(store, sql, part.into_iter().flatten()).await?;
    }
    Ok(())
}
