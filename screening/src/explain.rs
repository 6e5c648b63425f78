//! What a verdict stood on: every fact its rules asked for, in the order they asked.

use std::cell::RefCell;

use call::{Behaviour, Call, Fact, Initiation, Roaming, Rule, RuleSet, Signature};
use numbering::{Key, Kind, Number, Owner, ShortCode, Standing};
use rules::{Facts, Language, Listed, judge, word};

use crate::ListName;
use crate::facts::LocalFacts;

/// A fact that a rule asked for, and what was found. Words are keys of the message files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    pub fact: &'static str,
    /// The number, list or rule it is about; empty where the fact is about the call.
    pub about: String,
    pub found: Vec<Found>,
}

/// A part of what was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A word by its key.
    Word(&'static str),
    /// As it stands: a country's code.
    Text(String),
    /// A word by its key, and what it names: the owner of an entry.
    Named(&'static str, String),
}

impl Observation {
    /// What was asked, in a language.
    pub fn question(&self, language: Language) -> String {
        format!("{} {}", word(language, self.fact), self.about).trim_end().to_owned()
    }

    /// What was found, in a language.
    pub fn answer(&self, language: Language) -> String {
        let parts = self.found.iter().map(|part| match part {
            Found::Word(key) => word(language, key).to_owned(),
            Found::Text(text) => text.clone(),
            Found::Named(key, text) => format!("{} {text}", word(language, key)),
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// Judges once more, by the same facts, and notes each that is asked for.
pub(crate) fn observe(local: &LocalFacts, call: &Call) -> Vec<Observation> {
    let witness = Witness { local, seen: RefCell::default() };
    judge(call, &witness, &local.trunk.modes);
    witness.seen.into_inner()
}

struct Witness<'a> {
    local: &'a LocalFacts<'a>,
    seen: RefCell<Vec<Observation>>,
}

impl Witness<'_> {
    fn saw(&self, fact: &'static str, about: impl ToString, found: Vec<Found>) {
        let observation = Observation { fact, about: about.to_string(), found };
        let mut seen = self.seen.borrow_mut();
        if !seen.contains(&observation) {
            seen.push(observation);
        }
    }

    fn saw_whether(&self, fact: &'static str, about: impl ToString, is_so: bool) {
        self.saw(fact, about, vec![Found::Word(if is_so { "yes" } else { "no" })]);
    }

    fn saw_entry(&self, list: &str, entry: Option<lists::Terms>) {
        let Some(terms) = entry else { return self.saw_whether("on-list", list, false) };
        let mut found = vec![Found::Word("yes")];
        for (key, text) in [("owner", terms.owner()), ("note", terms.note())] {
            if !text.is_empty() {
                found.push(Found::Named(key, text.to_owned()));
            }
        }
        self.saw("on-list", list, found);
    }
}

fn owner(owner: Owner) -> &'static str {
    match owner {
        Owner::Home => "home",
        Owner::Foreign => "foreign",
        Owner::Shared => "shared",
        Owner::Reserve => "reserve",
        Owner::Unassigned => "unassigned",
    }
}

fn kind(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Fixed => "fixed",
        Kind::Mobile => "mobile",
        Kind::Voip => "voip",
        Kind::Freephone => "freephone",
        Kind::Premium => "premium",
        Kind::SharedService => "shared-service",
        Kind::Pager => "pager",
        Kind::Personal => "personal",
        Kind::Unallocated => "unallocated",
        Kind::Unknown => return None,
    })
}

fn name(list: Listed) -> &'static str {
    match list {
        Listed::Allow => "allow",
        Listed::Block => "block",
        Listed::DoNotOriginate => "do-not-originate",
        Listed::Unallocated => "unallocated",
        Listed::RoamingNumbers => "roaming-numbers",
        Listed::NoOutboundRoaming => "no-outbound-roaming",
        Listed::NoInternational => "no-international",
        Listed::RegisteredOnTrunk => "numbers of the trunk",
    }
}

fn answer<T: std::fmt::Debug>(fact: Fact<T>) -> Vec<Found> {
    match fact {
        Fact::Known(value) => vec![Found::Text(format!("{value:?}"))],
        Fact::Unknown(why) => vec![Found::Named("unknown", format!("({why:?})"))],
        Fact::Open(_) => vec![Found::Word("unknown")],
    }
}

impl Facts for Witness<'_> {
    fn is_emergency(&self, code: ShortCode) -> bool {
        let found = self.local.is_emergency(code);
        self.saw_whether("emergency-number", code, found);
        found
    }

    fn standing(&self, number: Number) -> Standing {
        let standing = self.local.standing(number);
        let mut found = vec![Found::Word(owner(standing.owner))];
        let country = standing.country.to_string();
        if !country.is_empty() {
            found.push(Found::Text(country));
        }
        found.extend(kind(standing.kind).map(Found::Word));
        if let Some(holder) = standing.holder {
            found.push(Found::Named("range-of", self.local.policy.plan.holder(holder).to_owned()));
        }
        self.saw("plan-says-of", number, found);
        standing
    }

    fn is_listed(&self, list: Listed, key: Key) -> bool {
        let entry = self.local.entry(list, key);
        // A list that is not set says nothing: leave it out.
        if self.local.is_set(list) {
            self.saw_entry(name(list), entry);
        }
        entry.is_some()
    }

    fn exempted(&self, key: Key) -> RuleSet {
        if self.local.policy.lists.get(ListName::Exempt).is_some() {
            self.saw_entry("exempt", self.local.exemption(key));
        }
        self.local.exempted(key)
    }

    fn within_cap(&self, rule: Rule) -> bool {
        let found = self.local.within_cap(rule);
        self.saw_whether("within-cap-of", rule.id(), found);
        found
    }

    fn roaming(&self, number: Number) -> Fact<Roaming> {
        let fact = self.local.roaming(number);
        self.saw("roaming", number, answer(fact));
        fact
    }

    fn initiation(&self, asked: Number) -> Fact<Initiation> {
        let fact = self.local.initiation(asked);
        self.saw("originated-by-operator", asked, answer(fact));
        fact
    }

    fn signature(&self) -> Fact<Signature> {
        self.local.signature()
    }

    fn behaviour(&self, number: Number) -> Fact<Behaviour> {
        let fact = self.local.behaviour(number);
        if let Fact::Known(Behaviour { score, signals }) = fact {
            let above = self.local.behaviour_threshold();
            let of = |key, figure: u8| Found::Named(key, figure.to_string());
            let found = vec![
                Found::Text(score.to_string()),
                of("kinds-of-evidence", signals),
                of("blocks-above", above),
            ];
            self.saw("behaviour-score-of", number, found);
        }
        fact
    }

    fn behaviour_threshold(&self) -> u8 {
        self.local.behaviour_threshold()
    }
}
