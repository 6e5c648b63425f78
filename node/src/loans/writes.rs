//! What a unit of work writes, held until its end: on PostgreSQL it leaves as one statement, on SQLite as one a table.
//!
//! A round trip costs PostgreSQL and the node more than the rows in it do.

use std::fmt::Write;

use lending::Application;
use sqlx::AnyConnection;

use super::store::Fault;
use crate::database::rows::{Value, run, write_insert};

/// Rows of one table.
struct Rows {
    /// `INSERT INTO table (columns)`.
    insert: &'static str,
    rows: Vec<Vec<Value>>,
    /// What comes behind the rows.
    tail: &'static str,
}

/// What becomes of an application.
struct Updated {
    id: String,
    state: &'static str,
    due_ms: Option<i64>,
    ended_ms: Option<i64>,
    /// Sealed.
    document: Option<String>,
}

#[derive(Default)]
pub struct Writes {
    inserts: Vec<Rows>,
    /// One a row: PostgreSQL takes a row once in a statement.
    updates: Vec<Updated>,
}

const APPLICATION: &str = "INSERT INTO application \
    (id, creditor, person, phone, turn, sealed, opened_ms, sum, counts, state, due_ms, ended_ms, document)";
const STATE: usize = 9;

impl Writes {
    pub fn insert<const N: usize>(&mut self, insert: &'static str, row: [Value; N], tail: &'static str) {
        let row = Vec::from(row);
        match self.inserts.iter_mut().find(|rows| rows.insert == insert) {
            Some(rows) => rows.rows.push(row),
            None => self.inserts.push(Rows { insert, rows: vec![row], tail }),
        }
    }

    /// A new application, as its columns stand in front of `state`.
    pub fn insert_application(&mut self, columns: [Value; STATE], state: &'static str) {
        let mut row = Vec::from(columns);
        row.extend([Value::from(state), None.into(), None.into(), Value::MaybeText(None)]);
        self.inserts.push(Rows { insert: APPLICATION, rows: vec![row], tail: "" });
    }

    pub fn update(
        &mut self,
        id: &str,
        application: &Application,
        due_ms: Option<i64>,
        document: Option<String>,
    ) {
        let (state, ended_ms) = (application.state.name(), application.ended_ms);
        let is_it = |row: &&mut Vec<Value>| matches!(&row[0], Value::Text(new) if new == id);
        let new = self.inserts.iter_mut().filter(|rows| rows.insert == APPLICATION);
        if let Some(row) = new.flat_map(|rows| &mut rows.rows).find(is_it) {
            row[STATE] = state.into();
            row[STATE + 1] = due_ms.into();
            row[STATE + 2] = ended_ms.into();
            if document.is_some() {
                row[STATE + 3] = Value::MaybeText(document);
            }
        } else if let Some(known) = self.updates.iter_mut().find(|known| known.id == id) {
            let document = document.or(known.document.take());
            *known = Updated { id: id.to_owned(), state, due_ms, ended_ms, document };
        } else {
            self.updates.push(Updated { id: id.to_owned(), state, due_ms, ended_ms, document });
        }
    }

    pub async fn flush(&mut self, store: &mut AnyConnection, is_postgres: bool) -> Result<(), Fault> {
        let mut statements = Vec::new();
        for Rows { insert, rows, tail } in std::mem::take(&mut self.inserts) {
            statements.push((Text::Insert(insert, rows[0].len(), rows.len(), tail), rows));
        }
        for Updated { id, state, due_ms, ended_ms, document } in std::mem::take(&mut self.updates) {
            let values =
                vec![state.into(), due_ms.into(), ended_ms.into(), Value::MaybeText(document), id.into()];
            statements.push((Text::Update, vec![values]));
        }
        if statements.is_empty() {
            return Ok(());
        }
        if !is_postgres {
            for (text, rows) in statements {
                let mut sql = String::new();
                text.write(&mut sql, &mut 1);
                run(store, sql, rows.into_iter().flatten()).await?;
            }
            return Ok(());
        }
        let (mut sql, mut place, mut values) = (String::new(), 1, Vec::new());
        let last = statements.len() - 1;
        for (n, (text, rows)) in statements.into_iter().enumerate() {
            if n < last {
                let _ = write!(sql, "{} w{n} AS (", if n == 0 { "WITH" } else { "," });
            }
            text.write(&mut sql, &mut place);
            sql.push_str(if n < last { ")" } else { "" });
            sql.push(' ');
            values.extend(rows);
        }
        run(store, sql, values.into_iter().flatten()).await.map(drop)
    }
}

/// The text of a statement: of words of this file and numbers, never of values.
enum Text {
    Insert(&'static str, usize, usize, &'static str),
    Update,
}

impl Text {
    fn write(&self, sql: &mut String, place: &mut usize) {
        match self {
            Text::Insert(insert, columns, rows, tail) => {
                write_insert(sql, (*insert, *tail), *columns, *rows, place);
            }
            Text::Update => {
                let mut next = |sql: &mut String| {
                    let _ = write!(sql, "${place}");
                    *place += 1;
                };
                let parts = ["UPDATE application SET state = ", ", due_ms = ", ", ended_ms = "];
                for part in parts {
                    sql.push_str(part);
                    next(sql);
                }
                sql.push_str(", document = COALESCE(");
                next(sql);
                sql.push_str(", document) WHERE id = ");
                next(sql);
            }
        }
    }
}
