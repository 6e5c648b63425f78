//! What this node knows by itself, looked up as rules ask.

use std::cell::Cell;

use call::{Behaviour, Fact, Initiation, Question, Roaming, Rule, RuleSet, Signature, Unknown};
use lists::{List, Sought, Terms};
use numbering::{Key, Number, Party, ShortCode, Standing};
use rules::{Facts, Listed};

use crate::policy::REGISTERED;
use crate::{Cap, ListName, Policy, Trunk};

/// The facts of one call: lists, plan and caps of the policy, and what others answered.
pub(crate) struct LocalFacts<'a> {
    pub policy: &'a Policy,
    pub trunk: &'a Trunk,
    time_ms: i64,
    called: Party,
    /// The calling and the called number, made ready for the lists.
    sought: [Option<Sought>; 2],
    /// A cap counts a call once, however often rules ask: R01, R07.
    caps: [Cell<Option<bool>>; 2],
    pub answers: Answers,
}

/// What came back so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Answers {
    /// Number asked, and the answer. At most the network and the presentation number of a call.
    pub roaming: [Option<(Number, Fact<Roaming>)>; 2],
    pub initiation: [Option<(Number, Fact<Initiation>)>; 2],
    /// Time is up: what was not answered is unknown.
    pub closed: bool,
}

impl<'a> LocalFacts<'a> {
    #[inline]
    pub fn new(policy: &'a Policy, call: &call::Call) -> LocalFacts<'a> {
        let trunk = policy.trunk(call.trunk);
        let sought = policy.seek(call);
        LocalFacts {
            policy,
            trunk,
            time_ms: call.time_ms,
            called: call.called,
            sought,
            caps: Default::default(),
            answers: Answers::default(),
        }
    }

    /// A list and its place in the atlas.
    #[inline(always)]
    fn list(&self, list: Listed) -> (Option<&'a List>, usize) {
        match named(list) {
            Some(name) => (self.policy.lists.get(name), name as usize),
            None => (self.trunk.registered.as_deref(), REGISTERED),
        }
    }

    /// The entry itself, for those who explain.
    #[inline]
    pub fn entry(&self, list: Listed, key: Key) -> Option<Terms<'a>> {
        let (list, place) = self.list(list);
        self.look_up(list?, place, key)
    }

    #[inline(always)]
    fn ready(&self, key: Key) -> Option<&Sought> {
        self.sought.iter().flatten().find(|sought| sought.key() == key)
    }

    #[inline(never)]
    fn look_up(&self, list: &'a List, place: usize, key: Key) -> Option<Terms<'a>> {
        match self.ready(key) {
            Some(sought) => list.look_up(sought, place, self.time_ms),
            None => list.look_up(&self.policy.atlas.seek(key), place, self.time_ms),
        }
    }

    pub fn is_set(&self, list: Listed) -> bool {
        self.list(list).0.is_some()
    }

    pub fn exemption(&self, key: Key) -> Option<Terms<'a>> {
        self.look_up(self.policy.lists.get(ListName::Exempt)?, ListName::Exempt as usize, key)
    }

    fn ask<T: Copy>(
        &self,
        known: &[Option<(Number, Fact<T>)>; 2],
        number: Number,
        question: Question,
    ) -> Fact<T> {
        if self.policy.exchange.is_none() {
            return Fact::Unknown(Unknown::NoExchange);
        }
        match known.iter().flatten().find(|(asked, _)| *asked == number) {
            Some((_, answer)) => *answer,
            None if self.answers.closed => Fact::Unknown(Unknown::Timeout),
            None => Fact::Open(question),
        }
    }
}

/// The name of a list that rules ask, where it has one: sets of trunks have none.
#[inline(always)]
fn named(list: Listed) -> Option<ListName> {
    Some(match list {
        Listed::Allow => ListName::Allow,
        Listed::Block => ListName::Block,
        Listed::DoNotOriginate => ListName::DoNotOriginate,
        Listed::Unallocated => ListName::Unallocated,
        Listed::RoamingNumbers => ListName::RoamingNumbers,
        Listed::NoOutboundRoaming => ListName::NoOutboundRoaming,
        Listed::NoInternational => ListName::NoInternational,
        Listed::RegisteredOnTrunk => return None,
    })
}

impl Facts for LocalFacts<'_> {
    #[inline]
    fn is_emergency(&self, code: ShortCode) -> bool {
        self.policy.plan.is_emergency(code)
    }

    #[inline]
    fn standing(&self, number: Number) -> Standing {
        self.policy.plan.standing(number)
    }

    // Always of a list known when this is compiled, and most numbers are on none: what remains is a bit's test.
    #[inline(always)]
    fn is_listed(&self, list: Listed, key: Key) -> bool {
        let (list, place) = self.list(list);
        match list {
            Some(list) if self.ready(key).is_none_or(|sought| sought.may_be_covered(place)) => {
                self.look_up(list, place, key).is_some()
            }
            _ => false,
        }
    }

    fn exempted(&self, key: Key) -> RuleSet {
        self.exemption(key).map_or(RuleSet::default(), |terms| RuleSet(terms.flags))
    }

    fn within_cap(&self, rule: Rule) -> bool {
        let (memo, cap): (_, Option<&Cap>) = match rule {
            Rule::R01 => (&self.caps[0], self.trunk.roaming_number_cap.as_deref()),
            Rule::R07 => (&self.caps[1], self.trunk.diverted_cap.as_deref()),
            _ => return true,
        };
        let Some(cap) = cap else { return true };
        if memo.get().is_none() {
            memo.set(Some(cap.admit(self.time_ms)));
        }
        memo.get() == Some(true)
    }

    #[inline]
    fn roaming(&self, number: Number) -> Fact<Roaming> {
        self.ask(&self.answers.roaming, number, Question::Roaming(number))
    }

    #[inline]
    fn initiation(&self, asked: Number) -> Fact<Initiation> {
        let question = Question::Initiation { asked, called: self.called };
        self.ask(&self.answers.initiation, asked, question)
    }

    #[inline]
    fn signature(&self) -> Fact<Signature> {
        Fact::Unknown(Unknown::NoExchange)
    }

    #[inline]
    fn behaviour(&self, number: Number) -> Fact<Behaviour> {
        let scores = self.policy.scores.as_ref();
        match scores.and_then(|scores| scores.of(number, self.trunk.place, self.time_ms)) {
            Some(behaviour) => Fact::Known(behaviour),
            None => Fact::Unknown(Unknown::NoSuchNumber),
        }
    }

    #[inline]
    fn behaviour_threshold(&self) -> u8 {
        self.trunk.behaviour_threshold
    }
}
