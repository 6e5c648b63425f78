//! What a verdict stood on: every fact its rules asked for, in the order they asked.

use std::cell::RefCell;

use call::{Behaviour, Call, Fact, Initiation, Roaming, Rule, RuleSet, Signature, Verdict};
use numbering::{Key, Number, ShortCode, Standing};
use rules::{Facts, Judgement, Listed, judge};

use crate::facts::LocalFacts;
use crate::{ListName, Policy};

/// A fact that a rule asked for, and what was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    pub fact: String,
    pub found: String,
}

/// Judges a call as [`crate::screen`] does and says what the verdict stood on. Caps count the call too.
pub fn explain(policy: &Policy, call: &Call) -> (Verdict, Vec<Observation>) {
    let mut local = LocalFacts::new(policy, call);
    local.answers.closed = true;
    let witness = Witness { local: &local, policy, seen: RefCell::default() };
    let judgement = judge(call, &witness, &local.trunk.modes);
    let Judgement::Verdict(verdict) = judgement else { unreachable!("no question is open once time is up") };
    (verdict, witness.seen.into_inner())
}

struct Witness<'a> {
    local: &'a LocalFacts<'a>,
    policy: &'a Policy,
    seen: RefCell<Vec<Observation>>,
}

impl Witness<'_> {
    fn saw(&self, fact: &str, found: impl Into<String>) {
        let observation = Observation { fact: fact.to_owned(), found: found.into() };
        let mut seen = self.seen.borrow_mut();
        if !seen.contains(&observation) {
            seen.push(observation);
        }
    }

    fn saw_entry(&self, list: &str, entry: Option<&lists::Terms>) {
        let found = match entry {
            None => "no".to_owned(),
            Some(terms) => {
                let mut found = "yes".to_owned();
                for (what, text) in [("owner", &terms.owner), ("note", &terms.note)] {
                    if !text.is_empty() {
                        found.push_str(&format!(", {what} {text}"));
                    }
                }
                found
            }
        };
        self.saw(&format!("on list {list}"), found);
    }
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

fn words<T: std::fmt::Debug>(fact: Fact<T>) -> String {
    match fact {
        Fact::Known(value) => format!("{value:?}"),
        Fact::Unknown(why) => format!("unknown: {why:?}"),
        Fact::Open(_) => "asked".to_owned(),
    }
}

impl Facts for Witness<'_> {
    fn is_emergency(&self, code: ShortCode) -> bool {
        let found = self.local.is_emergency(code);
        self.saw(&format!("{code} is an emergency number"), if found { "yes" } else { "no" });
        found
    }

    fn standing(&self, number: Number) -> Standing {
        let standing = self.local.standing(number);
        let mut found = format!("{:?}", standing.owner).to_lowercase();
        for part in [standing.country.to_string(), format!("{:?}", standing.kind).to_lowercase()] {
            if !part.is_empty() && part != "unknown" {
                found.push_str(&format!(", {part}"));
            }
        }
        if let Some(holder) = standing.holder {
            found.push_str(&format!(", range of {}", self.policy.plan.holder(holder)));
        }
        self.saw(&format!("plan says of {number}"), found);
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
        if self.policy.lists.get(ListName::Exempt).is_some() {
            self.saw_entry("exempt", self.local.exemption(key));
        }
        self.local.exempted(key)
    }

    fn within_cap(&self, rule: Rule) -> bool {
        let found = self.local.within_cap(rule);
        self.saw(&format!("within the cap of {}", rule.id()), if found { "yes" } else { "no" });
        found
    }

    fn roaming(&self, number: Number) -> Fact<Roaming> {
        let fact = self.local.roaming(number);
        self.saw("roaming", words(fact));
        fact
    }

    fn initiation(&self, asked: Number) -> Fact<Initiation> {
        let fact = self.local.initiation(asked);
        self.saw("originated by its operator", words(fact));
        fact
    }

    fn signature(&self) -> Fact<Signature> {
        self.local.signature()
    }

    fn behaviour(&self, number: Number) -> Fact<Behaviour> {
        self.local.behaviour(number)
    }

    fn behaviour_threshold(&self) -> u8 {
        self.local.behaviour_threshold()
    }
}
