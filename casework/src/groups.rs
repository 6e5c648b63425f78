//! Groups: what links hold together is proposed; what a person confirmed stays, and what would join it is proposed too.

use std::collections::BTreeSet;

use crate::{Group, Identifier, Node};

/// A group that a person confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Confirmed {
    pub id: i64,
    pub nodes: BTreeSet<Node>,
}

/// What links suggest and no person has confirmed.
#[derive(Clone, PartialEq, Debug)]
pub struct Proposal {
    /// Confirmed groups it would join, that with most in common first; none: a group of its own.
    pub joins: Vec<i64>,
    /// In no confirmed group yet.
    pub nodes: Vec<Node>,
    pub shared: Vec<(Identifier, usize)>,
}

/// What of the groups found is news to those confirmed, in the order in which they were found.
pub fn propose(found: Vec<Group>, confirmed: &[Confirmed]) -> Vec<Proposal> {
    let taken: BTreeSet<Node> = confirmed.iter().flat_map(|group| group.nodes.iter().copied()).collect();
    let proposal = |Group { nodes, shared }: Group| {
        let common = |group: &Confirmed| nodes.iter().filter(|node| group.nodes.contains(node)).count();
        let mut joins: Vec<(usize, i64)> = confirmed
            .iter()
            .map(|group| (common(group), group.id))
            .filter(|(common, _)| *common > 0)
            .collect();
        joins.sort_by_key(|&(common, id)| (usize::MAX - common, id));
        let nodes = nodes.into_iter().filter(|node| !taken.contains(node)).collect();
        Proposal { joins: joins.into_iter().map(|(_, id)| id).collect(), nodes, shared }
    };
    found.into_iter().map(proposal).filter(|proposal| !proposal.nodes.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IdentifierKind, Links, Weights};
    use proptest::prelude::*;

    fn card(n: i64) -> Identifier {
        Identifier::kept(IdentifierKind::Card, format!("{n:016}"))
    }

    fn links(facts: &[(i64, i64)]) -> Vec<Group> {
        let mut links = Links::new(Weights::default());
        facts.iter().for_each(|(fact, held)| links.hold(Node::Fact(*fact), &card(*held)));
        links.groups()
    }

    #[test]
    fn what_was_confirmed_stays_and_news_are_proposed_for_it() {
        let facts = [(1, 1), (2, 1), (3, 2), (4, 2)];
        let proposed = propose(links(&facts), &[]);
        assert_eq!(proposed.len(), 2);
        assert!(proposed.iter().all(|proposal| proposal.joins.is_empty() && proposal.nodes.len() == 2));
        let confirmed = Confirmed { id: 7, nodes: [Node::Fact(1), Node::Fact(2)].into() };
        let known = std::slice::from_ref(&confirmed);
        // Nothing new of it: only the other is proposed.
        assert_eq!(propose(links(&facts), known).len(), 1);
        let more = [(1, 1), (2, 1), (3, 2), (4, 2), (5, 1)];
        let proposed = propose(links(&more), known);
        let joining = proposed.iter().find(|proposal| !proposal.joins.is_empty()).unwrap();
        assert_eq!(
            (joining.joins.as_slice(), joining.nodes.as_slice()),
            ([7].as_slice(), [Node::Fact(5)].as_slice())
        );
        assert_eq!(joining.shared, [(card(1), 3)]);
    }

    proptest! {
        #[test]
        fn nobody_is_proposed_who_was_confirmed(
            facts in proptest::collection::vec((0..30i64, 0..20i64), 0..60),
            confirmed in proptest::collection::btree_set(0..30i64, 0..10),
        ) {
            let nodes: BTreeSet<Node> = confirmed.into_iter().map(Node::Fact).collect();
            let known = [Confirmed { id: 1, nodes: nodes.clone() }];
            let found = links(&facts);
            let proposed = propose(found.clone(), &known);
            prop_assert!(proposed.iter().flat_map(|proposal| &proposal.nodes).all(|node| !nodes.contains(node)));
            // And nobody else is left out.
            let all: BTreeSet<Node> = found.iter().flat_map(|group| group.nodes.iter().copied()).collect();
            let proposed: BTreeSet<Node> = proposed.into_iter().flat_map(|proposal| proposal.nodes).collect();
            prop_assert_eq!(proposed, all.difference(&nodes).copied().collect::<BTreeSet<Node>>());
        }
    }
}
