//! Identifiers in the register: each kept once, found by a keyed hash, shared by facts and persons.

use std::collections::HashMap;

use ::casework::{Identifier, IdentifierKind, Node};
use serde_json::{Value as Json, json};
use sqlx::Row;

use super::store::Unit;
use crate::database::Fault;
use crate::database::rows::Value;

type Result<T> = std::result::Result<T, Fault>;

/// `fact` or `person`, and its id.
pub(super) fn node_name(node: Node) -> (&'static str, i64) {
    match node {
        Node::Fact(id) => ("fact", id),
        Node::Person(id) => ("person", id),
    }
}

pub(super) fn node_of(name: &str, id: i64) -> Node {
    if name == "fact" { Node::Fact(id) } else { Node::Person(id) }
}

/// What is hashed: one value may be of two kinds.
pub(super) fn text(identifier: &Identifier) -> String {
    format!("{} {}", identifier.kind().name(), identifier.reveal())
}

pub(super) fn shown(identifier: &Identifier) -> Json {
    json!({"kind": identifier.kind().name(), "value": identifier.reveal()})
}

impl Unit<'_> {
    /// The ids of those that the register knows.
    pub(super) async fn known(&mut self, identifiers: &[&Identifier]) -> Result<HashMap<Identifier, i64>> {
        let mut by_hash: HashMap<String, &Identifier> = HashMap::new();
        for identifier in identifiers {
            for hash in self.hashes(&text(identifier)) {
                by_hash.insert(hash, identifier);
            }
        }
        let hashes: Vec<Value> = by_hash.keys().map(|hash| hash.as_str().into()).collect();
        let rows = self.select_in("SELECT id, hash FROM identifier WHERE hash", hashes).await?;
        let mut known = HashMap::new();
        for row in rows {
            known.insert(by_hash[&row.try_get::<String, _>(1)?].clone(), row.try_get(0)?);
        }
        Ok(known)
    }

    /// The ids of these, new ones for those that the register does not know yet.
    pub(super) async fn keep_identifiers(
        &mut self,
        identifiers: &[&Identifier],
    ) -> Result<HashMap<Identifier, i64>> {
        let mut known = self.known(identifiers).await?;
        let mut id = self.last_id("identifier").await?;
        let mut rows = Vec::new();
        for identifier in identifiers {
            if known.contains_key(*identifier) {
                continue;
            }
            id += 1;
            known.insert((*identifier).clone(), id);
            let sealed = self.seal(&format!("identifier {id}"), identifier.reveal());
            let (kind, hash) = (identifier.kind().name(), self.hash(&text(identifier)));
            rows.push([id.into(), kind.into(), hash.into(), sealed.into()]);
        }
        self.insert("INSERT INTO identifier (id, kind, hash, sealed)", rows).await?;
        Ok(known)
    }

    /// Says that a case holds identifiers; what it holds already stays.
    pub(super) async fn hold(&mut self, node: Node, identifiers: &[Identifier]) -> Result<()> {
        let all: Vec<&Identifier> = identifiers.iter().collect();
        let ids = self.keep_identifiers(&all).await?;
        let (name, id) = node_name(node);
        let rows: Vec<[Value; 3]> =
            ids.into_values().map(|identifier| [name.into(), id.into(), identifier.into()]).collect();
        crate::database::rows::insert(
            &mut self.tx,
            "INSERT INTO held (node, node_id, identifier)",
            rows,
            "ON CONFLICT (node, node_id, identifier) DO NOTHING",
        )
        .await
    }

    /// Identifiers by their ids.
    pub(super) async fn identifiers(
        &mut self,
        ids: impl IntoIterator<Item = i64>,
    ) -> Result<HashMap<i64, Identifier>> {
        let select = "SELECT id, kind, sealed FROM identifier WHERE id";
        let mut found = HashMap::new();
        for row in self.select_in(select, ids.into_iter().map(Value::from)).await? {
            let id: i64 = row.try_get(0)?;
            let kind = IdentifierKind::from_name(&row.try_get::<String, _>(1)?);
            let kind = kind.ok_or_else(|| crate::database::strange("an identifier of another version"))?;
            let value = self.open(&format!("identifier {id}"), &row.try_get::<String, _>(2)?)?;
            found.insert(id, Identifier::kept(kind, value));
        }
        Ok(found)
    }

    /// What a case holds.
    pub(super) async fn held(&mut self, node: Node) -> Result<Vec<Identifier>> {
        let (name, id) = node_name(node);
        let sql = "SELECT identifier FROM held WHERE node = $1 AND node_id = $2";
        let rows = self.select(sql, vec![name.into(), id.into()]).await?;
        let ids: Result<Vec<i64>> = rows.iter().map(|row| row.try_get(0)).collect();
        let mut held: Vec<Identifier> = self.identifiers(ids?).await?.into_values().collect();
        held.sort();
        Ok(held)
    }
}
