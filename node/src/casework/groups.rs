//! Links and groups as they are asked for, cuts and groups as persons decide them.

use std::collections::{BTreeSet, HashMap};

use ::casework::{Act, Confirmed, Identifier, Link, Node, Place, Proposal, Right, Shared, propose};
use serde_json::{Value as Json, json};
use sqlx::Row;

use super::asked::{CaseNode, GroupConfirmed, GroupMembers, LinkCut};
use super::facts::FactRow;
use super::identifiers::{node_name, shown};
use super::index::{Index, id_of};
use super::office::{Done, Round, invalid, problem, text};
use crate::database::rows::Value;
use crate::database::strange;
use crate::http::Kind;
use crate::loans::view::time;

pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS link_cut (id BIGINT PRIMARY KEY, of_node TEXT NOT NULL, of_id BIGINT NOT NULL, from_node TEXT, \
     from_id BIGINT, identifier BIGINT, at_ms BIGINT NOT NULL, who TEXT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS case_group (id BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL, who TEXT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS member (node TEXT NOT NULL, node_id BIGINT NOT NULL, case_group BIGINT NOT NULL, \
     PRIMARY KEY (node, node_id))",
];

/// Links of one case, and proposals, that are shown.
const MOST: usize = 200;
/// Identifiers of a proposal.
const SHARED: usize = 10;

fn node(asked: CaseNode) -> Done<Node> {
    match (asked.fact, asked.person) {
        (Some(id), None) => Ok(Node::Fact(id)),
        (None, Some(id)) => Ok(Node::Person(id)),
        _ => invalid("say either fact or person"),
    }
}

pub(super) fn subject(node: Node) -> String {
    let (name, id) = node_name(node);
    format!("{name} {id}")
}

pub(super) fn nodes(facts: &[i64], persons: &[i64]) -> Vec<Node> {
    let mut nodes: Vec<Node> = facts.iter().map(|id| Node::Fact(*id)).collect();
    nodes.extend(persons.iter().map(|id| Node::Person(*id)));
    nodes.sort();
    nodes.dedup();
    nodes
}

/// Cases of a group that the client may see, and how many others there are.
struct Seen {
    facts: Vec<i64>,
    persons: Vec<i64>,
    elsewhere: usize,
}

impl Seen {
    fn is_anything(&self) -> bool {
        !self.facts.is_empty() || !self.persons.is_empty()
    }

    fn write(&self, shown: &mut Json) {
        shown["facts"] = json!(self.facts);
        shown["persons"] = json!(self.persons);
        shown["elsewhere"] = json!(self.elsewhere);
    }
}

impl Round<'_> {
    pub(super) fn may_see(&self, index: &Index, node: Node) -> bool {
        let act = if matches!(node, Node::Fact(_)) { Act::SeeFact } else { Act::SeePerson };
        self.client.reader().may(act, index.place(node)) == Right::Allowed
    }

    fn seen(&self, index: &Index, nodes: impl IntoIterator<Item = Node>) -> Seen {
        let mut seen = Seen { facts: Vec::new(), persons: Vec::new(), elsewhere: 0 };
        for node in nodes {
            match node {
                _ if !self.may_see(index, node) => seen.elsewhere += 1,
                Node::Fact(id) => seen.facts.push(id),
                Node::Person(id) => seen.persons.push(id),
            }
        }
        seen
    }

    /// Identifiers in clear by those that stand for them.
    async fn clear<'i>(
        &mut self,
        standing: impl Iterator<Item = &'i Identifier>,
    ) -> Done<HashMap<i64, Identifier>> {
        let mut ids: Vec<i64> = standing.map(id_of).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(self.unit.identifiers(ids).await?)
    }

    /// What a fact is linked to, and why.
    pub(super) async fn links(&mut self, id: i64) -> Done<(u16, Json)> {
        self.fact(Act::SeeLinks, id).await?;
        let index = self.index().await?;
        let links = index.links.of(Node::Fact(id));
        let (seen, others): (Vec<_>, Vec<_>) = links.iter().partition(|link| self.may_see(&index, link.to));
        let seen: Vec<&Link> = seen.into_iter().take(MOST).collect();
        let ids = seen.iter().filter_map(|link| match link.to {
            Node::Fact(id) => Some(id),
            Node::Person(_) => None,
        });
        let facts: HashMap<i64, FactRow> =
            self.unit.facts(ids).await?.into_iter().map(|fact| (fact.id, fact)).collect();
        let told = self.told_links(&seen, |to| match to {
            Node::Fact(id) => facts.get(&id).map_or(Json::Null, FactRow::shown),
            Node::Person(id) => json!({"id": id}),
        });
        Ok((200, json!({"links": told.await?, "elsewhere": others.len()})))
    }

    /// Links of a fact to these cases, which the client sees anyway; the rest are counted.
    pub(super) async fn links_among(&mut self, id: i64, nodes: &BTreeSet<Node>) -> Done<(u16, Json)> {
        self.fact(Act::SeeLinks, id).await?;
        let index = self.index().await?;
        let links = index.links.of(Node::Fact(id));
        let is_among = |link: &&Link| nodes.contains(&link.to) && self.may_see(&index, link.to);
        let (within, others): (Vec<_>, Vec<_>) = links.iter().partition(is_among);
        let told = self.told_links(&within, |to| json!(node_name(to).1)).await?;
        Ok((200, json!({"within": told, "elsewhere": others.len()})))
    }

    /// Links with what is shared; each is a look.
    async fn told_links(&mut self, links: &[&Link], to: impl Fn(Node) -> Json) -> Done<Vec<Json>> {
        let shared = links.iter().flat_map(|link| &link.shared);
        let clear = self.clear(shared.map(|one| &one.identifier)).await?;
        let why = |one: &Shared| {
            let mut why = clear.get(&id_of(&one.identifier)).map_or(Json::Null, shown);
            why["holders"] = json!(one.holders);
            why["bits"] = bits(one.bits);
            why
        };
        let mut told = Vec::new();
        for link in links {
            self.saw(Act::SeeLinks, subject(link.to));
            told.push(json!({node_name(link.to).0: to(link.to), "bits": bits(link.bits),
                             "shared": link.shared.iter().map(why).collect::<Vec<_>>()}));
        }
        Ok(told)
    }

    /// Where a case belongs, if it is there.
    async fn place_of(&mut self, node: Node) -> Done<Option<(String, Option<String>)>> {
        Ok(match node {
            Node::Fact(id) => self.unit.fact(id).await?.map(|fact| (fact.unit, fact.assigned)),
            Node::Person(id) => {
                let rows = self.unit.select("SELECT unit FROM person WHERE id = $1", vec![id.into()]).await?;
                rows.first().map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, None))).transpose()?
            }
        })
    }

    pub(super) async fn allow_node(&mut self, act: Act, node: Node) -> Done<()> {
        let found = self.place_of(node).await?;
        let place = found.as_ref().map(|(unit, assigned)| Place {
            unit,
            assigned: assigned.as_deref(),
            outside: None,
        });
        self.allow(act, place, subject(node))
    }

    /// A person says that a link is wrong: it stays cut whatever is imported later.
    pub(super) async fn cut(&mut self, asked: &LinkCut) -> Done<(u16, Json)> {
        let of = node(asked.of)?;
        self.allow_node(Act::Cut, of).await?;
        let why = text("why", &asked.why)?;
        let id = self.unit.last_id("link_cut").await? + 1;
        let none = || Value::MaybeText(None);
        let (other, columns) = match (asked.from, &asked.identifier) {
            (Some(from), None) => {
                let from = node(from)?;
                if from == of || self.place_of(from).await?.is_none() {
                    return invalid("from is the same case, or none that there is");
                }
                let (name, from_id) = node_name(from);
                (json!({name: from_id}), [name.into(), from_id.into(), Value::MaybeInt(None)])
            }
            (None, Some(identifier)) => {
                let identifier = self.identifier(identifier)?;
                let known = self.unit.keep_identifiers(&[&identifier]).await?;
                let id = known[&identifier];
                (json!({"identifier": id}), [none(), Value::MaybeInt(None), id.into()])
            }
            _ => return invalid("say either from or identifier"),
        };
        let [from_node, from_id, identifier] = columns;
        let (name, of_id) = node_name(of);
        let (sealed, by) = (self.unit.seal(&format!("cut {id}"), why), self.by());
        let row = [
            id.into(),
            name.into(),
            of_id.into(),
            from_node,
            from_id,
            identifier,
            by.now_ms.into(),
            by.who.into(),
            sealed.into(),
        ];
        let insert =
            "INSERT INTO link_cut (id, of_node, of_id, from_node, from_id, identifier, at_ms, who, sealed)";
        self.unit.insert(insert, vec![row]).await?;
        self.unit
            .happened(&subject(of), "link_cut", by, &json!({"cut": id, "from": other, "why": why}))
            .await?;
        self.unit.changed().await?;
        Ok((201, json!({"id": id})))
    }

    /// Groups that persons confirmed, and what links propose.
    pub(super) async fn groups(&mut self) -> Done<(u16, Json)> {
        self.allow_ever(Act::SeeGroups, "groups")?;
        self.saw(Act::SeeGroups, "groups");
        let index = self.index().await?;
        let (mut confirmed, mut proposed) = (Vec::new(), Vec::new());
        for group in &index.confirmed {
            if let Some(shown) = self.shown_group(&index, group).await? {
                self.saw(Act::SeeGroups, format!("group {}", group.id));
                confirmed.push(shown);
            }
        }
        let proposals = propose(index.found.clone(), &index.confirmed);
        let declined = self.unit.declined().await?;
        let is_news = |(proposal, seen): &(&Proposal, Seen)| {
            let nodes = nodes(&seen.facts, &seen.persons);
            !nodes.is_empty() && !declined.iter().any(|declined| declined.holds(&nodes, &proposal.joins))
        };
        let seen =
            proposals.iter().map(|proposal| (proposal, self.seen(&index, proposal.nodes.iter().copied())));
        let seen: Vec<_> = seen.filter(is_news).take(MOST).collect();
        let shared = seen.iter().flat_map(|(proposal, _)| proposal.shared.iter().take(SHARED));
        let clear = self.clear(shared.map(|(identifier, _)| identifier)).await?;
        for (proposal, seen) in seen {
            let why = proposal.shared.iter().take(SHARED).map(|(identifier, holders)| {
                let mut why = clear.get(&id_of(identifier)).map_or(Json::Null, shown);
                why["holders"] = json!(holders);
                why
            });
            let mut told = json!({"joins": proposal.joins, "shared": why.collect::<Vec<_>>()});
            seen.write(&mut told);
            seen.facts.iter().for_each(|id| self.saw(Act::SeeGroups, subject(Node::Fact(*id))));
            proposed.push(told);
        }
        Ok((200, json!({"confirmed": confirmed, "proposed": proposed})))
    }

    /// A confirmed group, with what of it the client may see; none: nothing of it.
    async fn shown_group(&mut self, index: &Index, group: &Confirmed) -> Done<Option<Json>> {
        let seen = self.seen(index, group.nodes.iter().copied());
        if !seen.is_anything() {
            return Ok(None);
        }
        let id = group.id;
        let sql = "SELECT at_ms, who, sealed FROM case_group WHERE id = $1";
        let rows = self.unit.select(sql, vec![id.into()]).await?;
        let row = rows.first().ok_or_else(|| strange("members of no group"))?;
        let name = self.unit.open(&format!("group {id}"), &row.try_get::<String, _>(2)?)?;
        let mut shown = json!({"id": id, "name": name, "time": time(row.try_get(0)?), "who": row.try_get::<String, _>(1)?});
        seen.write(&mut shown);
        Ok(Some(shown))
    }

    /// One confirmed group, and what happened to it.
    pub(super) async fn see_group(&mut self, id: i64) -> Done<(u16, Json)> {
        self.allow_group(Act::SeeGroups, id).await?;
        let index = self.index().await?;
        let group = index.confirmed.iter().find(|group| group.id == id);
        let mut shown = match group {
            Some(group) => self.shown_group(&index, group).await?.unwrap_or_default(),
            None => return invalid("no such group"),
        };
        shown["events"] = json!(self.unit.events(&format!("group {id}")).await?);
        Ok((200, shown))
    }

    /// A group is his who may see one of it.
    pub(super) async fn allow_group(&mut self, act: Act, id: i64) -> Done<()> {
        let index = self.index().await?;
        let group = index.confirmed.iter().find(|group| group.id == id);
        let mine = group.and_then(|group| group.nodes.iter().find(|node| self.may_see(&index, **node)));
        let some = group.and_then(|group| group.nodes.first());
        self.allow(act, mine.or(some).and_then(|node| index.place(*node)), format!("group {id}"))
    }

    /// A person confirms a group, whether or not links propose it.
    pub(super) async fn confirm_group(&mut self, asked: &GroupConfirmed) -> Done<(u16, Json)> {
        self.allow_ever(Act::ConfirmGroup, "group")?;
        let (name, why) = (text("name", &asked.name)?, text("why", &asked.why)?);
        let nodes = nodes(&asked.facts, &asked.persons);
        if nodes.len() < 2 {
            return invalid("a group is of two cases and more");
        }
        let id = self.unit.last_id("case_group").await? + 1;
        let (sealed, by) = (self.unit.seal(&format!("group {id}"), name), self.by());
        let row = [id.into(), by.now_ms.into(), by.who.into(), sealed.into()];
        self.unit.insert("INSERT INTO case_group (id, at_ms, who, sealed)", vec![row]).await?;
        self.join(id, "group_confirmed", &nodes, why).await?;
        Ok((201, json!({"id": id, "facts": asked.facts, "persons": asked.persons})))
    }

    /// A person adds to a confirmed group.
    pub(super) async fn join_group(&mut self, id: i64, asked: &GroupMembers) -> Done<(u16, Json)> {
        self.allow_group(Act::ConfirmGroup, id).await?;
        let why = text("why", &asked.why)?;
        let nodes = nodes(&asked.facts, &asked.persons);
        if nodes.is_empty() {
            return invalid("name facts or persons");
        }
        self.join(id, "group_joined", &nodes, why).await?;
        Ok((200, json!({"id": id, "facts": asked.facts, "persons": asked.persons})))
    }

    async fn join(&mut self, id: i64, event: &str, nodes: &[Node], why: &str) -> Done<()> {
        for node in nodes {
            self.allow_node(Act::ConfirmGroup, *node).await?;
            let (name, node_id) = node_name(*node);
            let sql = "SELECT case_group FROM member WHERE node = $1 AND node_id = $2";
            let taken = self.unit.select(sql, vec![name.into(), node_id.into()]).await?;
            if let Some(row) = taken.first() {
                let group: i64 = row.try_get(0)?;
                return problem(Kind::WrongState, format!("{} is in group {group}", subject(*node)));
            }
            let row = [name.into(), node_id.into(), id.into()];
            self.unit.insert("INSERT INTO member (node, node_id, case_group)", vec![row]).await?;
        }
        let members: Vec<String> = nodes.iter().map(|node| subject(*node)).collect();
        let body = json!({"members": members, "why": why});
        self.unit.happened(&format!("group {id}"), event, self.by(), &body).await?;
        Ok(self.unit.changed().await?)
    }
}

/// Tenths are as fine as weights are.
fn bits(bits: f64) -> Json {
    json!((bits * 10.0).round() / 10.0)
}
