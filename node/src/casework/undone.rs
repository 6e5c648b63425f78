//! What persons take back about links and groups: a cut, a member of a group; and proposals they decline. What was decided before
//! stays on record.

use std::collections::{BTreeMap, BTreeSet};

use ::casework::{Act, Node, Proposal, propose};
use serde_json::{Value as Json, json};
use sqlx::Row;

use super::asked::{GroupDeclined, GroupMembers, Why};
use super::groups::{nodes, subject};
use super::identifiers::{node_name, node_of};
use super::office::{Done, Round, invalid, problem, text};
use super::store::Unit;
use crate::database::Fault;
use crate::http::Kind;

pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS cut_undone (cut BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL, who TEXT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS declined (id BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL, who TEXT NOT NULL, sealed TEXT NOT NULL)",
    // A node is a fact, a person, or a group that it would have joined.
    "CREATE TABLE IF NOT EXISTS declined_node (declined BIGINT NOT NULL, node TEXT NOT NULL, node_id BIGINT NOT NULL, \
     PRIMARY KEY (declined, node, node_id))",
];

/// A proposal that was declined.
#[derive(Default)]
pub(super) struct Declined {
    nodes: BTreeSet<Node>,
    joins: BTreeSet<i64>,
}

impl Declined {
    /// Whether this is no more than what was declined: with a case more it is news.
    pub(super) fn holds(&self, seen: &[Node], joins: &[i64]) -> bool {
        seen.iter().all(|node| self.nodes.contains(node))
            && joins.iter().all(|group| self.joins.contains(group))
    }
}

impl Unit<'_> {
    pub(super) async fn declined(&mut self) -> Result<Vec<Declined>, Fault> {
        let mut declined: BTreeMap<i64, Declined> = BTreeMap::new();
        for row in self.select("SELECT declined, node, node_id FROM declined_node", Vec::new()).await? {
            let one = declined.entry(row.try_get(0)?).or_default();
            match row.try_get::<String, _>(1)?.as_str() {
                "group" => drop(one.joins.insert(row.try_get(2)?)),
                name => drop(one.nodes.insert(node_of(name, row.try_get(2)?))),
            }
        }
        Ok(declined.into_values().collect())
    }
}

impl Round<'_> {
    /// A person says that a cut was wrong: what links there were count again, and the cut stays in the history.
    pub(super) async fn undo_cut(&mut self, id: i64, asked: &Why) -> Done<(u16, Json)> {
        let sql = "SELECT of_node, of_id FROM link_cut WHERE id = $1";
        let rows = self.unit.select(sql, vec![id.into()]).await?;
        let Some(row) = rows.first() else {
            self.allow(Act::Cut, None, format!("cut {id}"))?;
            return invalid("no such cut");
        };
        let of = node_of(&row.try_get::<String, _>(0)?, row.try_get(1)?);
        self.allow_node(Act::Cut, of).await?;
        let why = text("why", &asked.why)?;
        let undone = self.unit.select("SELECT cut FROM cut_undone WHERE cut = $1", vec![id.into()]).await?;
        if !undone.is_empty() {
            return problem(Kind::WrongState, "it was undone before");
        }
        let (sealed, by) = (self.unit.seal(&format!("cut undone {id}"), why), self.by());
        let row = [id.into(), by.now_ms.into(), by.who.into(), sealed.into()];
        self.unit.insert("INSERT INTO cut_undone (cut, at_ms, who, sealed)", vec![row]).await?;
        let body = json!({"cut": id, "why": why});
        self.unit.happened(&subject(of), "cut_undone", by, &body).await?;
        self.unit.changed().await?;
        Ok((200, json!({"id": id})))
    }

    /// A person says that what is proposed is no group; it is proposed again when links bring more to it.
    pub(super) async fn decline_group(&mut self, asked: &GroupDeclined) -> Done<(u16, Json)> {
        self.allow_ever(Act::ConfirmGroup, "group")?;
        let why = text("why", &asked.why)?;
        let nodes = nodes(&asked.facts, &asked.persons);
        for node in &nodes {
            self.allow_node(Act::ConfirmGroup, *node).await?;
        }
        let index = self.index().await?;
        let is_it = |proposal: &Proposal| {
            let seen = proposal.nodes.iter().filter(|node| self.may_see(&index, **node));
            proposal.joins == asked.joins
                && seen.copied().collect::<BTreeSet<_>>() == nodes.iter().copied().collect()
        };
        if nodes.is_empty() || !propose(index.found.clone(), &index.confirmed).iter().any(is_it) {
            let what = "no group is proposed of exactly these facts and persons, joining these groups";
            return problem(Kind::WrongState, what);
        }
        let id = self.unit.last_id("declined").await? + 1;
        let (sealed, by) = (self.unit.seal(&format!("declined {id}"), why), self.by());
        let row = [id.into(), by.now_ms.into(), by.who.into(), sealed.into()];
        self.unit.insert("INSERT INTO declined (id, at_ms, who, sealed)", vec![row]).await?;
        let named = nodes.iter().map(|node| node_name(*node));
        let rows = named.chain(asked.joins.iter().map(|group| ("group", *group)));
        let rows = rows.map(|(name, of)| [id.into(), name.into(), of.into()]).collect();
        self.unit.insert("INSERT INTO declined_node (declined, node, node_id)", rows).await?;
        for node in &nodes {
            let body = json!({"declined": id, "why": why});
            self.unit.happened(&subject(*node), "group_declined", by, &body).await?;
        }
        Ok((201, json!({"id": id})))
    }

    /// A person takes cases out of a confirmed group; links may propose them again.
    pub(super) async fn leave_group(&mut self, id: i64, asked: &GroupMembers) -> Done<(u16, Json)> {
        self.allow_group(Act::ConfirmGroup, id).await?;
        let why = text("why", &asked.why)?;
        let nodes = nodes(&asked.facts, &asked.persons);
        if nodes.is_empty() {
            return invalid("name facts or persons");
        }
        for node in &nodes {
            self.allow_node(Act::ConfirmGroup, *node).await?;
            let (name, node_id) = node_name(*node);
            let sql = "DELETE FROM member WHERE node = $1 AND node_id = $2 AND case_group = $3";
            if self.unit.run(sql, vec![name.into(), node_id.into(), id.into()]).await? == 0 {
                return problem(Kind::WrongState, format!("{} is not in group {id}", subject(*node)));
            }
        }
        let members: Vec<String> = nodes.iter().map(|node| subject(*node)).collect();
        let body = json!({"members": members, "why": why});
        self.unit.happened(&format!("group {id}"), "group_left", self.by(), &body).await?;
        self.unit.changed().await?;
        Ok((200, json!({"id": id, "facts": asked.facts, "persons": asked.persons})))
    }
}
