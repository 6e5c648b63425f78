//! Which facts and persons belong together, by the identifiers they share.
//!
//! A shared identifier weighs what it would surprise: of N cases in the register, two that both hold something which k hold share
//! log2(N/k) bits. A telephone number of one gang in ten facts says much, a bank's hotline named in thousands says nothing. Kinds
//! that can be forged or are shared innocently count for less. Two cases are linked where their bits come to [`Weights::least`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Deserialize;

use crate::{Identifier, IdentifierKind};

/// A case: what holds identifiers, by its id in the register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Node {
    Fact(i64),
    Person(i64),
}

/// How much sharing weighs.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Weights {
    /// Bits that link two cases.
    pub least: f64,
    /// A register with fewer cases is taken to have so many: in a small one everything looks rare.
    pub cases: f64,
    /// Shares of a kind's bits that count; 1 where none is named.
    pub kinds: BTreeMap<IdentifierKind, f64>,
}

impl Default for Weights {
    fn default() -> Weights {
        let kinds = [
            // The number shown can be anybody's.
            (IdentifierKind::Phone, 0.8),
            // Cloned ones exist, and the same test value stands in many.
            (IdentifierKind::Imei, 0.9),
            // One address may be a whole operator's.
            (IdentifierKind::Ip, 0.5),
            (IdentifierKind::Web, 0.7),
        ];
        Weights { least: 6.0, cases: 10_000.0, kinds: kinds.into() }
    }
}

/// What a person found wrong; it holds however often the register is linked anew.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Cut {
    /// These two have nothing to do with each other.
    Pair(Node, Node),
    /// This stands in the case, but it is not the fraudster's.
    Identifier(Node, Identifier),
}

/// An identifier that two cases share.
#[derive(Clone, PartialEq, Debug)]
pub struct Shared {
    pub identifier: Identifier,
    /// Cases that hold it.
    pub holders: usize,
    pub bits: f64,
}

/// Why two cases belong together.
#[derive(Clone, PartialEq, Debug)]
pub struct Link {
    pub to: Node,
    pub bits: f64,
    /// The heaviest first.
    pub shared: Vec<Shared>,
}

/// Cases that links hold together: a proposal, until a person confirms it.
#[derive(Clone, PartialEq, Debug)]
pub struct Group {
    /// In their order, facts first.
    pub nodes: Vec<Node>,
    /// What at least two of them share, that which most share first, with how many.
    pub shared: Vec<(Identifier, usize)>,
}

impl Group {
    pub fn facts(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node, Node::Fact(_))).count()
    }

    pub fn persons(&self) -> usize {
        self.nodes.len() - self.facts()
    }
}

/// The cases of a register and what they hold.
pub struct Links {
    weights: Weights,
    nodes: Vec<Node>,
    places: HashMap<Node, u32>,
    identifiers: Vec<Identifier>,
    ids: HashMap<Identifier, u32>,
    /// By case and by identifier, each once.
    held: Vec<Vec<u32>>,
    holders: Vec<Vec<u32>>,
    is_public: Vec<bool>,
    pairs_cut: HashSet<(u32, u32)>,
}

/// Identifiers too light to link alone are counted by pairs; held by more, they say next to nothing.
const PAIRED_MOST: usize = 400;

fn pair(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}

impl Links {
    pub fn new(weights: Weights) -> Links {
        Links {
            weights,
            nodes: Vec::new(),
            places: HashMap::new(),
            identifiers: Vec::new(),
            ids: HashMap::new(),
            held: Vec::new(),
            holders: Vec::new(),
            is_public: Vec::new(),
            pairs_cut: HashSet::new(),
        }
    }

    fn place(&mut self, node: Node) -> u32 {
        *self.places.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            self.held.push(Vec::new());
            self.nodes.len() as u32 - 1
        })
    }

    fn id(&mut self, identifier: &Identifier) -> u32 {
        if let Some(&id) = self.ids.get(identifier) {
            return id;
        }
        let id = self.identifiers.len() as u32;
        self.identifiers.push(identifier.clone());
        self.ids.insert(identifier.clone(), id);
        self.holders.push(Vec::new());
        self.is_public.push(false);
        id
    }

    /// A case holds an identifier; said twice, it holds it once.
    pub fn hold(&mut self, node: Node, identifier: &Identifier) {
        let (place, id) = (self.place(node), self.id(identifier));
        if !self.held[place as usize].contains(&id) {
            self.held[place as usize].push(id);
            self.holders[id as usize].push(place);
        }
    }

    /// A bank's hotline, an authority's number: it stands in many facts and links nobody.
    pub fn make_public(&mut self, identifier: &Identifier) {
        let id = self.id(identifier);
        self.is_public[id as usize] = true;
    }

    /// What was cut, whether or not it is there yet; has to be said after what is held.
    pub fn cut(&mut self, cut: &Cut) {
        match cut {
            Cut::Pair(a, b) => {
                let (a, b) = (self.place(*a), self.place(*b));
                self.pairs_cut.insert(pair(a, b));
            }
            Cut::Identifier(node, identifier) => {
                let (place, id) = (self.place(*node), self.id(identifier));
                self.held[place as usize].retain(|&held| held != id);
                self.holders[id as usize].retain(|&holder| holder != place);
            }
        }
    }

    /// What an identifier weighs between two that hold it.
    fn bits(&self, id: u32) -> f64 {
        let holders = self.holders[id as usize].len();
        if self.is_public[id as usize] || holders < 2 {
            return 0.0;
        }
        let share = self.weights.kinds.get(&self.identifiers[id as usize].kind()).copied().unwrap_or(1.0);
        let cases = self.weights.cases.max(self.nodes.len() as f64);
        share * (cases / holders as f64).log2().max(0.0)
    }

    /// The links of a case, the heaviest first.
    pub fn of(&self, node: Node) -> Vec<Link> {
        let Some(&place) = self.places.get(&node) else { return Vec::new() };
        let mut found: HashMap<u32, Vec<Shared>> = HashMap::new();
        for &id in &self.held[place as usize] {
            let bits = self.bits(id);
            let holders = &self.holders[id as usize];
            if bits == 0.0 || (bits < self.weights.least && holders.len() > PAIRED_MOST) {
                continue;
            }
            for &other in holders.iter().filter(|&&other| other != place) {
                let identifier = self.identifiers[id as usize].clone();
                found.entry(other).or_default().push(Shared { identifier, holders: holders.len(), bits });
            }
        }
        let mut links: Vec<Link> = found
            .into_iter()
            .filter(|(other, _)| !self.pairs_cut.contains(&pair(place, *other)))
            .map(|(other, mut shared)| {
                shared
                    .sort_by(|a, b| b.bits.total_cmp(&a.bits).then_with(|| a.identifier.cmp(&b.identifier)));
                Link { to: self.nodes[other as usize], bits: shared.iter().map(|one| one.bits).sum(), shared }
            })
            .filter(|link| link.bits >= self.weights.least)
            .collect();
        links.sort_by(|a, b| b.bits.total_cmp(&a.bits).then(a.to.cmp(&b.to)));
        links
    }

    /// All groups of two and more, the one with most facts first.
    pub fn groups(&self) -> Vec<Group> {
        let mut roots = Roots((0..self.nodes.len() as u32).collect());
        let cut: HashSet<u32> = self.pairs_cut.iter().flat_map(|&(a, b)| [a, b]).collect();
        let mut light: HashMap<(u32, u32), f64> = HashMap::new();
        for (id, holders) in self.holders.iter().enumerate() {
            let bits = self.bits(id as u32);
            let is_heavy = bits >= self.weights.least;
            if is_heavy && !holders.iter().any(|holder| cut.contains(holder)) {
                holders.windows(2).for_each(|two| roots.join(two[0], two[1]));
            } else if is_heavy || (bits > 0.0 && holders.len() <= PAIRED_MOST) {
                for (n, &a) in holders.iter().enumerate() {
                    for &b in &holders[n + 1..] {
                        let two = pair(a, b);
                        match self.pairs_cut.contains(&two) {
                            true => {}
                            false if is_heavy => roots.join(a, b),
                            false => *light.entry(two).or_default() += bits,
                        }
                    }
                }
            }
        }
        for ((a, b), bits) in light {
            // Light alone, or with what was left out because a cut stood beside it.
            if bits >= self.weights.least || self.linked_bits(a, b) >= self.weights.least {
                roots.join(a, b);
            }
        }
        let mut members: BTreeMap<u32, BTreeSet<Node>> = BTreeMap::new();
        for (place, &node) in self.nodes.iter().enumerate() {
            members.entry(roots.root(place as u32)).or_default().insert(node);
        }
        let groups = members.into_values().filter(|nodes| nodes.len() > 1);
        let mut groups: Vec<Group> = groups.map(|nodes| self.group(nodes.into_iter().collect())).collect();
        groups.sort_by(|a, b| {
            (b.facts(), b.persons()).cmp(&(a.facts(), a.persons())).then_with(|| a.nodes.cmp(&b.nodes))
        });
        groups
    }

    /// All that two share, heavy and light.
    fn linked_bits(&self, a: u32, b: u32) -> f64 {
        let both = self.held[a as usize].iter().filter(|id| self.held[b as usize].contains(id));
        both.map(|&id| self.bits(id)).sum()
    }

    fn group(&self, nodes: Vec<Node>) -> Group {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for node in &nodes {
            for &id in &self.held[self.places[node] as usize] {
                if self.bits(id) > 0.0 {
                    *counts.entry(id).or_default() += 1;
                }
            }
        }
        let shared = counts.into_iter().filter(|&(_, count)| count > 1);
        let mut shared: Vec<(Identifier, usize)> =
            shared.map(|(id, count)| (self.identifiers[id as usize].clone(), count)).collect();
        shared.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Group { nodes, shared }
    }
}

/// Disjoint sets, each known by its least member.
struct Roots(Vec<u32>);

impl Roots {
    fn root(&mut self, mut place: u32) -> u32 {
        while self.0[place as usize] != place {
            let above = self.0[self.0[place as usize] as usize];
            self.0[place as usize] = above;
            place = above;
        }
        place
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = pair(self.root(a), self.root(b));
        self.0[b as usize] = a;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(n: u64) -> Identifier {
        Identifier::kept(IdentifierKind::Phone, format!("+7701{n:07}"))
    }

    fn card(n: u64) -> Identifier {
        Identifier::kept(IdentifierKind::Card, format!("{n:016}"))
    }

    fn ip(n: u64) -> Identifier {
        Identifier::kept(IdentifierKind::Ip, format!("192.0.2.{n}"))
    }

    /// Facts `from..to` hold an identifier.
    fn hold(links: &mut Links, facts: std::ops::Range<i64>, identifier: &Identifier) {
        facts.for_each(|n| links.hold(Node::Fact(n), identifier));
    }

    #[test]
    fn sharing_something_rare_links_and_says_why() {
        let mut links = Links::new(Weights::default());
        hold(&mut links, 1..4, &phone(1));
        hold(&mut links, 3..5, &card(1));
        let of = links.of(Node::Fact(3));
        // log2(10000/2) for the card, 0.8 × log2(10000/3) for the phone that three hold.
        assert_eq!(
            of.iter().map(|link| link.to).collect::<Vec<_>>(),
            [Node::Fact(4), Node::Fact(1), Node::Fact(2)]
        );
        assert!((of[0].bits - 12.288).abs() < 0.001 && (of[1].bits - 9.362).abs() < 0.001, "{of:?}");
        assert_eq!(of[1].shared, [Shared { identifier: phone(1), holders: 3, bits: of[1].bits }]);
        let groups = links.groups();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].nodes, (1..5).map(Node::Fact).collect::<Vec<_>>());
        assert_eq!(groups[0].shared, [(phone(1), 3), (card(1), 2)]);
    }

    #[test]
    fn a_hotline_links_nobody() {
        let mut links = Links::new(Weights::default());
        // In a quarter of the facts, whether or not somebody said it is public.
        hold(&mut links, 0..2500, &phone(1));
        hold(&mut links, 0..3, &phone(2));
        links.make_public(&phone(2));
        assert!(links.of(Node::Fact(0)).is_empty() && links.groups().is_empty());
    }

    #[test]
    fn two_light_ones_link_where_one_does_not() {
        let mut links = Links::new(Weights::default());
        // 0.5 × log2(10000/20) = 4.5 bits each.
        hold(&mut links, 0..20, &ip(1));
        hold(&mut links, 18..38, &ip(2));
        let groups = links.groups();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].nodes, [Node::Fact(18), Node::Fact(19)]);
        assert_eq!(links.of(Node::Fact(18)).len(), 1);
        assert!(links.of(Node::Fact(0)).is_empty());
    }

    #[test]
    fn what_is_cut_stays_cut() {
        let build = |cuts: &[Cut]| {
            let mut links = Links::new(Weights::default());
            links.hold(Node::Person(1), &card(1));
            hold(&mut links, 1..3, &card(1));
            hold(&mut links, 2..4, &phone(1));
            cuts.iter().for_each(|cut| links.cut(cut));
            links
        };
        assert_eq!(build(&[]).groups()[0].nodes.len(), 4);
        let pair = Cut::Pair(Node::Fact(3), Node::Fact(2));
        let cut = build(std::slice::from_ref(&pair));
        assert_eq!(cut.groups().len(), 1);
        assert_eq!(cut.groups()[0].nodes, [Node::Fact(1), Node::Fact(2), Node::Person(1)]);
        assert!(cut.of(Node::Fact(3)).is_empty());
        let not_his = Cut::Identifier(Node::Fact(2), card(1));
        let cut = build(&[pair, not_his]);
        assert_eq!(cut.groups().len(), 1);
        assert_eq!(cut.groups()[0].nodes, [Node::Fact(1), Node::Person(1)]);
        assert!(cut.of(Node::Fact(2)).is_empty());
    }

    #[test]
    fn rings_of_links_end() {
        let mut links = Links::new(Weights::default());
        for n in 0..1000 {
            links.hold(Node::Fact(n), &phone(n as u64));
            links.hold(Node::Fact((n + 1) % 1000), &phone(n as u64));
        }
        assert_eq!(links.groups()[0].facts(), 1000);
    }

    #[test]
    fn three_suspects_and_more_than_fifty_facts_are_found_in_twenty_thousand() {
        let mut links = Links::new(Weights::default());
        let hotline = phone(9_999_999);
        for n in 0..20_000i64 {
            links.hold(Node::Fact(n), &phone(n as u64 / 2));
            if n % 7 == 0 {
                links.hold(Node::Fact(n), &hotline);
            }
        }
        // The gang: three suspects, each with a card of his own, seven telephones, 54 facts.
        for n in 0..54i64 {
            let fact = Node::Fact(n * 300);
            links.hold(fact, &phone(8_000_000 + n as u64 % 7));
            links.hold(fact, &card(n as u64 % 3));
        }
        (0..3).for_each(|n| links.hold(Node::Person(n), &card(n as u64)));
        let first = &links.groups()[0];
        assert_eq!(first.persons(), 3);
        // Each of the 54 shares its own number with one more fact.
        assert_eq!(first.facts(), 108);
    }
}
