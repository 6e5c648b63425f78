//! The register's links in memory: made anew after each change of what they are made of, so they are never behind the facts.
//!
//! Identifiers stand in it by their ids: linking opens nothing that is sealed.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use ::casework::{Confirmed, Cut, Group, Identifier, IdentifierKind, Links, Node, Place};
use sqlx::Row;

use super::identifiers::node_of;
use super::office::{Done, Office, Round};
use super::store::Unit;
use crate::config::Casework as Settings;
use crate::database::{Fault, strange};

/// Links and groups as of a version.
pub struct Index {
    version: i64,
    settings: Arc<Settings>,
    pub(super) links: Links,
    pub(super) found: Vec<Group>,
    pub(super) confirmed: Vec<Confirmed>,
    /// The unit of a case, and whose it is.
    places: HashMap<Node, (String, Option<String>)>,
}

/// The id that stands for an identifier.
pub(super) fn id_of(identifier: &Identifier) -> i64 {
    identifier.reveal().parse().unwrap_or(0)
}

fn standing_for(kind: &str, id: i64) -> Result<Identifier, Fault> {
    let kind = IdentifierKind::from_name(kind).ok_or_else(|| strange("an identifier of another version"))?;
    Ok(Identifier::kept(kind, id.to_string()))
}

impl Index {
    async fn load(unit: &mut Unit<'_>, settings: &Arc<Settings>, version: i64) -> Result<Index, Fault> {
        let mut links = Links::new(settings.weights.clone());
        let held = "SELECT held.node, held.node_id, held.identifier, identifier.kind FROM held \
                    JOIN identifier ON identifier.id = held.identifier ORDER BY held.node, held.node_id, held.identifier";
        for row in unit.select(held, Vec::new()).await? {
            let node = node_of(&row.try_get::<String, _>(0)?, row.try_get(1)?);
            links.hold(node, &standing_for(&row.try_get::<String, _>(3)?, row.try_get(2)?)?);
        }
        let public: Vec<&Identifier> = settings.public.iter().collect();
        for (identifier, id) in unit.known(&public).await? {
            links.make_public(&standing_for(identifier.kind().name(), id)?);
        }
        let cuts = "SELECT of_node, of_id, from_node, from_id, identifier, identifier.kind FROM link_cut \
                    LEFT JOIN identifier ON identifier.id = link_cut.identifier \
                    WHERE link_cut.id NOT IN (SELECT cut FROM cut_undone)";
        for row in unit.select(cuts, Vec::new()).await? {
            let of = node_of(&row.try_get::<String, _>(0)?, row.try_get(1)?);
            let from: Option<String> = row.try_get(2)?;
            links.cut(&match from {
                Some(from) => Cut::Pair(of, node_of(&from, row.try_get(3)?)),
                None => Cut::Identifier(of, standing_for(&row.try_get::<String, _>(5)?, row.try_get(4)?)?),
            });
        }
        let mut confirmed: HashMap<i64, BTreeSet<Node>> = HashMap::new();
        for row in unit.select("SELECT node, node_id, case_group FROM member", Vec::new()).await? {
            let node = node_of(&row.try_get::<String, _>(0)?, row.try_get(1)?);
            confirmed.entry(row.try_get(2)?).or_default().insert(node);
        }
        let mut confirmed: Vec<Confirmed> =
            confirmed.into_iter().map(|(id, nodes)| Confirmed { id, nodes }).collect();
        confirmed.sort_by_key(|group| group.id);
        let mut places = HashMap::new();
        for row in unit.select("SELECT id, unit, assigned FROM fact", Vec::new()).await? {
            places.insert(Node::Fact(row.try_get(0)?), (row.try_get(1)?, row.try_get(2)?));
        }
        for row in unit.select("SELECT id, unit FROM person", Vec::new()).await? {
            places.insert(Node::Person(row.try_get(0)?), (row.try_get(1)?, None));
        }
        let found = links.groups();
        Ok(Index { version, settings: settings.clone(), links, found, confirmed, places })
    }

    pub(super) fn place(&self, node: Node) -> Option<Place<'_>> {
        let (unit, assigned) = self.places.get(&node)?;
        Some(Place { unit, assigned: assigned.as_deref(), outside: None })
    }
}

impl Office {
    /// The links as the register is now.
    pub(super) async fn index(
        &self,
        unit: &mut Unit<'_>,
        settings: &Arc<Settings>,
    ) -> Result<Rc<Index>, Fault> {
        let version = unit.version().await?;
        let known = self.index.borrow().clone();
        match known {
            Some(known) if known.version == version && Arc::ptr_eq(&known.settings, settings) => Ok(known),
            _ => {
                let made = Rc::new(Index::load(unit, settings, version).await?);
                *self.index.borrow_mut() = Some(made.clone());
                Ok(made)
            }
        }
    }
}

impl Round<'_> {
    pub(super) async fn index(&mut self) -> Done<Rc<Index>> {
        Ok(self.office.index(&mut self.unit, self.settings).await?)
    }
}
