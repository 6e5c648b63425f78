//! Going over to another key: what stands under older ones is sealed and hashed again, page by page, while nodes run.

use ::casework::Identifier;
use lending::{Use, Vault};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::facts::Kept;
use super::store::{Store, Unit};
use crate::database::rows::Value;
use crate::database::{Fault, strange};

/// Rows at a time: others wait for no more.
const PAGE: i64 = 500;

type Result<T> = std::result::Result<T, Fault>;

/// A table whose rows hold nothing but sealed texts beside their keys.
struct Sealed {
    table: &'static str,
    /// Those of a row, as they stand in what it is sealed about.
    keys: &'static [&'static str],
    column: &'static str,
    about: fn(&[Value]) -> String,
}

fn words(keys: &[Value]) -> String {
    let word = |key: &Value| match key {
        Value::Int(int) => int.to_string(),
        Value::Text(text) => text.clone(),
        _ => String::new(),
    };
    keys.iter().map(word).collect::<Vec<_>>().join(" ")
}

const SEALED: &[Sealed] = &[
    Sealed { table: "happened", keys: &["subject", "n"], column: "sealed", about: words },
    Sealed {
        table: "link_cut",
        keys: &["id"],
        column: "sealed",
        about: |keys| format!("cut {}", words(keys)),
    },
    Sealed {
        table: "case_group",
        keys: &["id"],
        column: "sealed",
        about: |keys| format!("group {}", words(keys)),
    },
    Sealed {
        table: "seizure",
        keys: &["id"],
        column: "sealed",
        about: |keys| format!("seizure {}", words(keys)),
    },
    Sealed {
        table: "custody",
        keys: &["seizure", "n"],
        column: "sealed",
        about: |keys| format!("custody {}", words(keys)),
    },
    Sealed {
        table: "request",
        keys: &["id"],
        column: "sealed",
        about: |keys| format!("request {}", words(keys)),
    },
    Sealed {
        table: "request",
        keys: &["id"],
        column: "answer",
        about: |keys| format!("answer {}", words(keys)),
    },
    Sealed {
        table: "report",
        keys: &["id"],
        column: "sealed",
        about: |keys| format!("report {}", words(keys)),
    },
    Sealed {
        table: "confirmation",
        keys: &["n"],
        column: "sealed",
        about: |keys| format!("confirmation {}", words(keys)),
    },
    Sealed {
        table: "centre",
        keys: &["id"],
        column: "sealed",
        about: |keys| format!("centre {}", words(keys)),
    },
    Sealed {
        table: "cut_undone",
        keys: &["cut"],
        column: "sealed",
        about: |keys| format!("cut undone {}", words(keys)),
    },
    Sealed {
        table: "declined",
        keys: &["id"],
        column: "sealed",
        about: |keys| format!("declined {}", words(keys)),
    },
    Sealed {
        table: "answered",
        keys: &["client", "key"],
        column: "sealed",
        about: |_| "answered".to_owned(),
    },
];

impl Store {
    /// Seals and hashes again what stands under another key than the one in force. Gives how many rows it changed.
    pub async fn rotate(&self, vault: &Vault) -> Result<u64> {
        let mut changed = 0;
        let facts = "SELECT id, number, sealed, content FROM fact WHERE sealed NOT LIKE $1";
        let identifiers = "SELECT id, kind, sealed FROM identifier WHERE sealed NOT LIKE $1";
        let persons = "SELECT id, sealed FROM person WHERE sealed NOT LIKE $1";
        for select in [facts, identifiers, persons] {
            loop {
                let mut unit = self.begin(vault, true).await?;
                let rows = unit.under_older(select).await?;
                for row in &rows {
                    match select {
                        _ if select == facts => unit.rotate_fact(row).await?,
                        _ if select == identifiers => unit.rotate_identifier(row).await?,
                        _ => unit.rotate_person(row).await?,
                    }
                }
                unit.commit().await?;
                changed += rows.len() as u64;
                if rows.is_empty() {
                    break;
                }
            }
        }
        for sealed in SEALED {
            loop {
                let mut unit = self.begin(vault, true).await?;
                let n = unit.rotate_sealed(sealed).await?;
                unit.commit().await?;
                changed += n;
                if n == 0 {
                    break;
                }
            }
        }
        Ok(changed)
    }
}

impl Unit<'_> {
    async fn under_older(&mut self, select: &str) -> Result<Vec<AnyRow>> {
        // A key's ID is of letters and digits alone.
        let current = format!("{}.%", self.vault.current());
        self.select(format!("{select} LIMIT {PAGE}"), vec![current.into()]).await
    }

    async fn rotate_sealed(&mut self, sealed: &Sealed) -> Result<u64> {
        let Sealed { table, keys, column, about } = sealed;
        let select = format!("SELECT {column}, {} FROM {table} WHERE {column} NOT LIKE $1", keys.join(", "));
        let rows = self.under_older(&select).await?;
        for row in &rows {
            let values = || -> Result<Vec<Value>> {
                let key = |n: usize| match row.try_get::<i64, _>(n + 1) {
                    Ok(int) => Ok(Value::Int(int)),
                    Err(_) => row.try_get::<String, _>(n + 1).map(Value::Text),
                };
                (0..keys.len()).map(key).collect()
            };
            let about = about(&values()?);
            let text = self.open(&about, &row.try_get::<String, _>(0)?)?;
            let places: Vec<String> =
                keys.iter().enumerate().map(|(n, key)| format!("{key} = ${}", n + 2)).collect();
            let sql = format!("UPDATE {table} SET {column} = $1 WHERE {}", places.join(" AND "));
            let mut bound = vec![Value::Text(self.seal(&about, &text))];
            bound.extend(values()?);
            self.run(sql, bound).await?;
        }
        Ok(rows.len() as u64)
    }

    async fn rotate_fact(&mut self, row: &AnyRow) -> Result<()> {
        let (id, sealed): (i64, String) = (row.try_get(0)?, row.try_get(2)?);
        let about = super::facts::subject(id);
        let text = self.open(&about, &sealed)?;
        let kept: Kept = serde_json::from_str(&text).map_err(|_| strange("a fact of another version"))?;
        let hash = |text: &Option<String>| Value::MaybeText(text.as_deref().map(|text| self.hash(text)));
        let values = vec![
            hash(&kept.victim),
            hash(&kept.victim_phone),
            self.hash(&kept.content).into(),
            self.seal(&about, &text).into(),
            id.into(),
        ];
        let sql = "UPDATE fact SET victim = $1, victim_phone = $2, content = $3, sealed = $4 WHERE id = $5";
        self.run(sql, values).await.map(drop)
    }

    async fn rotate_identifier(&mut self, row: &AnyRow) -> Result<()> {
        let id: i64 = row.try_get(0)?;
        let held = self.identifiers([id]).await?;
        let identifier: &Identifier = held.get(&id).ok_or_else(|| strange("an identifier that is gone"))?;
        let sealed = self.seal(&format!("identifier {id}"), identifier.reveal());
        let hash = self.hash(&super::identifiers::text(identifier));
        let sql = "UPDATE identifier SET hash = $1, sealed = $2 WHERE id = $3";
        self.run(sql, vec![hash.into(), sealed.into(), id.into()]).await.map(drop)
    }

    async fn rotate_person(&mut self, row: &AnyRow) -> Result<()> {
        let (id, sealed): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        let about = super::persons::subject(id);
        let text = self.open(&about, &sealed)?;
        let iin = super::persons::iin_of(&text)?;
        let hash = Value::MaybeText(iin.map(|iin| self.vault.mac(Use::Index, iin.as_bytes())));
        let sql = "UPDATE person SET iin = $1, sealed = $2 WHERE id = $3";
        self.run(sql, vec![hash, self.seal(&about, &text).into(), id.into()]).await.map(drop)
    }
}
