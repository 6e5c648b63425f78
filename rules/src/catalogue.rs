//! The rules, each with the sentence that `docs/rules.md` explains.

use call::{
    Behaviour, Call, Decided, Fact, Initiation, Label, Mode, Question, Reason, Roaming, Rule, RuleSet,
    Signature, Treatment, TrunkClass, Unknown, Verdict, Would,
};
use numbering::{Key, Kind, Number, Owner, Party, ShortCode, Standing, Why};

/// What rules ask about a call. Each answer is looked up when it is asked for.
pub trait Facts {
    fn is_emergency(&self, code: ShortCode) -> bool;
    fn standing(&self, number: Number) -> Standing;
    fn is_listed(&self, list: Listed, key: Key) -> bool;
    /// Rules switched off for this calling number by an exemption.
    fn exempted(&self, key: Key) -> RuleSet;
    /// Whether a rule with a cap on this trunk still has room for the call.
    fn within_cap(&self, rule: Rule) -> bool;
    fn roaming(&self, number: Number) -> Fact<Roaming>;
    fn initiation(&self, asked: Number) -> Fact<Initiation>;
    fn signature(&self) -> Fact<Signature>;
    fn behaviour(&self, number: Number) -> Fact<Behaviour>;
    /// The score from which R18 blocks on this trunk.
    fn behaviour_threshold(&self) -> u8;
}

/// The lists that rules ask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Listed {
    Allow,
    Block,
    DoNotOriginate,
    Unallocated,
    RoamingNumbers,
    NoOutboundRoaming,
    NoInternational,
    /// The dedicated set of the call's own trunk.
    RegisteredOnTrunk,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    Verdict(Verdict),
    /// Another operator has to be asked first; judge again with its answer, or without when time is up.
    Ask(Question),
}

/// Judges a call: the network number, and the presentation number where one is present and differs.
/// The worse verdict counts (block, withhold, mark, allow).
#[inline]
pub fn judge(call: &Call, facts: &impl Facts, modes: &Modes) -> Judgement {
    let network = judge_number(call, call.calling, Decided::ByNetworkNumber, facts, modes);
    if call.presentation == Party::Absent || call.presentation == call.calling {
        return network;
    }
    let Judgement::Verdict(network) = network else { return network };
    let presented = judge_number(call, call.presentation, Decided::ByPresentationNumber, facts, modes);
    let Judgement::Verdict(presented) = presented else { return presented };
    Judgement::Verdict(worse(network, presented))
}

fn worse(network: Verdict, presented: Verdict) -> Verdict {
    let harder = if presented.treatment > network.treatment { presented } else { network };
    let would = match (network.would, presented.would) {
        (Some(a), Some(b)) if b.treatment > a.treatment => Some(b),
        (a, b) => a.or(b),
    };
    Verdict { would, monitored: RuleSet(network.monitored.0 | presented.monitored.0), ..harder }
}

/// What a rule says of the call.
enum Finding {
    Miss,
    Hit(Treatment, Reason),
    Ask(Question),
}

use Finding::{Ask, Hit, Miss};
use Treatment::{Allow, Block, Withhold};

use crate::Modes;

/// A call looked at through one of its calling numbers.
struct Case<'a, F> {
    call: &'a Call,
    /// The calling number that is being judged.
    a: Party,
    /// What the plan says of it, asked once.
    standing: Option<Standing>,
    facts: &'a F,
}

#[inline]
fn judge_number(call: &Call, a: Party, decided: Decided, facts: &impl Facts, modes: &Modes) -> Judgement {
    let case = Case { call, a, standing: a.number().map(|number| facts.standing(number)), facts };
    let mut aside = Aside { would: None, monitored: RuleSet::default() };
    // Written out, so that what one rule asks of the call is known to the next: a loop costs three times as much.
    macro_rules! ask_in_order {
        ($($rule:ident)*) => {
            const _: () = assert!(is_the_order(&[$(Rule::$rule),*]));
            $(
                let mode = modes.of(Rule::$rule);
                if mode != Mode::Off {
                    match case.find(Rule::$rule) {
                        Miss => {}
                        Ask(question) => return Judgement::Ask(question),
                        Hit(treatment, reason) => {
                            let hit = Would { treatment, rule: Rule::$rule, reason };
                            if let Some(verdict) = case.weigh(hit, mode, decided, &mut aside) {
                                return Judgement::Verdict(verdict);
                            }
                        }
                    }
                }
            )*
        };
    }
    ask_in_order!(R00 R01 Allow R02 R03 R04 R05 R06 R07 R08 R09 R10 R11 R16 R12 R13 R14 R15 R17 R18 R19 R20);
    unreachable!("R20 hits every call and has no mode")
}

/// Every rule, in the order of [`Rule::ALL`].
const fn is_the_order(rules: &[Rule]) -> bool {
    let mut i = 0;
    while i < rules.len() && rules[i] as usize == i {
        i += 1;
    }
    i == rules.len() && i == Rule::ALL.len()
}

/// What rules in monitor mode said on the way.
struct Aside {
    would: Option<Would>,
    monitored: RuleSet,
}

impl<F: Facts> Case<'_, F> {
    /// The verdict that a rule's hit comes to in its mode; none where the next rule is to be asked.
    #[inline(never)]
    fn weigh(&self, hit: Would, mode: Mode, decided: Decided, aside: &mut Aside) -> Option<Verdict> {
        let Would { treatment, rule, reason } = hit;
        if treatment > Allow && self.is_exempt(rule) {
            return None;
        }
        let treatment = match mode {
            Mode::Catalogue | Mode::Off => treatment,
            Mode::Monitor => {
                aside.monitored = aside.monitored.with(rule);
                aside.would = aside.would.or(Some(hit));
                return None;
            }
            // R13 blocks only what the sending operator denies: its mark stays a mark in mode block.
            Mode::Block if rule == Rule::R13 => treatment,
            // A rule that can also let a call pass (R06) is set for the calls it does not.
            _ if treatment == Allow => treatment,
            Mode::Mark => Treatment::Mark(Label::NotVerified),
            Mode::Withhold => Withhold,
            Mode::Block => Block,
        };
        let Aside { would, monitored } = *aside;
        Some(Verdict { treatment, rule, reason, decided, would, monitored })
    }

    // Always of a rule known when this is compiled: one arm remains of it.
    #[inline(always)]
    fn find(&self, rule: Rule) -> Finding {
        match rule {
            Rule::R00 => self.emergency(),
            Rule::R01 => self.roaming_number(),
            Rule::Allow => self.allow_list(),
            Rule::R02 => self.no_calling_number(),
            Rule::R03 => self.malformed(),
            Rule::R04 => self.never_originates(),
            Rule::R05 => self.unallocated(),
            Rule::R06 => self.dedicated(),
            Rule::R07 => self.diverted_home(),
            Rule::R08 => self.fixed_from_abroad(),
            Rule::R09 => self.no_outbound_roaming(),
            Rule::R10 => self.roaming(),
            Rule::R11 => self.not_roaming(),
            Rule::R16 => self.no_international(),
            Rule::R12 => self.roaming_unknown(),
            Rule::R13 => self.foreign_on_national(),
            Rule::R14 => self.not_initiated(),
            Rule::R15 => self.initiation_unknown(),
            Rule::R17 => self.signature_failed(),
            Rule::R18 => self.behaviour(),
            Rule::R19 => self.international(),
            Rule::R20 => Hit(Allow, Reason::NothingAgainst),
        }
    }

    /// R00: B is an emergency number.
    fn emergency(&self) -> Finding {
        match self.call.called {
            Party::Short(code) if self.facts.is_emergency(code) => Hit(Allow, Reason::EmergencyNumber),
            _ => Miss,
        }
    }

    /// R01: B is in a national pool of roaming numbers, within the trunk's rate.
    fn roaming_number(&self) -> Finding {
        match self.call.called.number() {
            Some(b)
                if self.facts.is_listed(Listed::RoamingNumbers, b.key())
                    && self.facts.within_cap(Rule::R01) =>
            {
                Hit(Allow, Reason::RoamingNumberPool)
            }
            _ => Miss,
        }
    }

    fn allow_list(&self) -> Finding {
        if self.a_is_listed(Listed::Allow) { Hit(Allow, Reason::OnAllowList) } else { Miss }
    }

    /// R02: international, A absent; a restricted number is not absent.
    fn no_calling_number(&self) -> Finding {
        if self.is_international() && self.a == Party::Absent {
            Hit(Block, Reason::NoNumberFromAbroad)
        } else {
            Miss
        }
    }

    /// R03: A is not E.164, of a wrong length, of a reserve code, or of a country code nobody has.
    fn malformed(&self) -> Finding {
        if let Party::Malformed(bad) = self.a {
            return Hit(
                Block,
                match bad.why {
                    Why::NotANumber => Reason::NotANumber,
                    Why::TooShort => Reason::TooShort,
                    Why::TooLong => Reason::TooLong,
                    Why::LeadingZero => Reason::LeadingZero,
                },
            );
        }
        let (Some(number), Some(standing)) = (self.a.number(), self.standing) else { return Miss };
        match standing.owner {
            Owner::Reserve => Hit(Block, Reason::ReserveCode),
            Owner::Unassigned => Hit(Block, Reason::CountryCodeNotAssigned),
            _ if !standing.fits(number) => Hit(Block, Reason::WrongLength),
            _ => Miss,
        }
    }

    /// R04: A is a number that is only ever called, or on the do-not-originate or the block list.
    fn never_originates(&self) -> Finding {
        if let Party::Short(code) = self.a {
            let emergency = self.facts.is_emergency(code);
            return Hit(Block, if emergency { Reason::EmergencyAsCaller } else { Reason::ShortCodeAsCaller });
        }
        let service = match self.standing.map(|standing| standing.kind) {
            Some(Kind::Freephone) => Some(Reason::FreephoneAsCaller),
            Some(Kind::Premium) => Some(Reason::PremiumAsCaller),
            Some(Kind::SharedService) => Some(Reason::SharedServiceAsCaller),
            _ => None,
        };
        if let Some(reason) = service {
            Hit(Block, reason)
        } else if self.a_is_listed(Listed::DoNotOriginate) {
            Hit(Block, Reason::OnDoNotOriginateList)
        } else if self.a_is_listed(Listed::Block) {
            Hit(Block, Reason::OnBlockList)
        } else {
            Miss
        }
    }

    /// R05: A is a home number that no range or customer holds.
    fn unallocated(&self) -> Finding {
        if !self.a_is_home() {
            Miss
        } else if self.a_kind() == Some(Kind::Unallocated) {
            Hit(Block, Reason::NoSuchRange)
        } else if self.a_is_listed(Listed::Unallocated) {
            Hit(Block, Reason::OnUnallocatedList)
        } else {
            Miss
        }
    }

    /// R06: on a dedicated trunk, A in the trunk's registered set passes, anything else does not.
    fn dedicated(&self) -> Finding {
        if self.call.class != TrunkClass::InternationalDedicated {
            Miss
        } else if self.a_is_listed(Listed::RegisteredOnTrunk) {
            Hit(Allow, Reason::RegisteredOnTrunk)
        } else {
            Hit(Block, Reason::NotRegisteredOnTrunk)
        }
    }

    /// R07: international, diverted by a foreign number, A home, within the trunk's cap.
    fn diverted_home(&self) -> Finding {
        if !self.is_international() || !self.a_is_home() {
            return Miss;
        }
        let foreign = self.call.redirecting.number().is_some_and(|number| {
            let standing = self.facts.standing(number);
            standing.owner == Owner::Foreign && standing.fits(number)
        });
        if foreign && self.facts.within_cap(Rule::R07) { Hit(Withhold, Reason::DivertedAbroad) } else { Miss }
    }

    /// R08: international, A a home fixed or VoIP number: neither can roam.
    fn fixed_from_abroad(&self) -> Finding {
        match self.a_kind() {
            _ if !self.is_international() => Miss,
            Some(Kind::Fixed) => Hit(Block, Reason::FixedFromAbroad),
            Some(Kind::Voip) => Hit(Block, Reason::VoipFromAbroad),
            _ => Miss,
        }
    }

    /// R09: international, A a home mobile of an operator or range without voice roaming.
    fn no_outbound_roaming(&self) -> Finding {
        if self.is_home_mobile_from_abroad() && self.a_is_listed(Listed::NoOutboundRoaming) {
            Hit(Block, Reason::NoVoiceRoaming)
        } else {
            Miss
        }
    }

    /// R10: international, A a home mobile whose operator says it is abroad.
    fn roaming(&self) -> Finding {
        match self.ask_roaming() {
            Some(Fact::Known(Roaming::Abroad)) => {
                Hit(Treatment::Mark(Label::Verified), Reason::OperatorSaysRoaming)
            }
            Some(Fact::Open(question)) => Ask(question),
            _ => Miss,
        }
    }

    /// R11: its operator says it is not abroad, or not assigned.
    fn not_roaming(&self) -> Finding {
        match self.ask_roaming() {
            Some(Fact::Known(Roaming::AtHome)) => Hit(Block, Reason::OperatorSaysAtHome),
            Some(Fact::Known(Roaming::NotAssigned)) => Hit(Block, Reason::OperatorSaysNotAssigned),
            Some(Fact::Open(question)) => Ask(question),
            _ => Miss,
        }
    }

    /// R16: B's subscriber takes no international calls, and A is no verified home roamer.
    fn no_international(&self) -> Finding {
        match self.call.called.key() {
            Some(b) if self.is_international() && self.facts.is_listed(Listed::NoInternational, b) => {
                Hit(Block, Reason::OptedOutOfInternational)
            }
            _ => Miss,
        }
    }

    /// R12: international, A a home mobile, and no answer in time. The sub-reason says why there is none.
    fn roaming_unknown(&self) -> Finding {
        match self.ask_roaming() {
            Some(Fact::Unknown(why)) => {
                Hit(Withhold, not_known(why, Reason::RoamingTimeout, Reason::RoamingRefused))
            }
            Some(Fact::Open(question)) => Ask(question),
            _ => Miss,
        }
    }

    /// R13: national trunk, A foreign. A foreign roamer visiting looks the same, so only a denial blocks.
    fn foreign_on_national(&self) -> Finding {
        let Some(a) = self.a.number().filter(|_| self.call.class == TrunkClass::National) else {
            return Miss;
        };
        if self.standing.is_none_or(|standing| standing.owner != Owner::Foreign) {
            return Miss;
        }
        match self.facts.initiation(a) {
            Fact::Known(Initiation::NotInitiated) => Hit(Block, Reason::OperatorDeniesCall),
            Fact::Open(question) => Ask(question),
            _ => Hit(Treatment::Mark(Label::Suspected), Reason::ForeignOnNational),
        }
    }

    /// R14: national trunk, A home, and its operator did not originate this call. A diverted call is asked
    /// of the redirecting number's operator.
    fn not_initiated(&self) -> Finding {
        match self.ask_initiation() {
            Some(Fact::Known(Initiation::NotInitiated)) => Hit(Block, Reason::OperatorDeniesCall),
            Some(Fact::Open(question)) => Ask(question),
            _ => Miss,
        }
    }

    /// R15: the same, and no answer: the call passes, counted. Without an exchange nobody was asked.
    fn initiation_unknown(&self) -> Finding {
        match self.ask_initiation() {
            Some(Fact::Unknown(Unknown::NoExchange)) => Miss,
            Some(Fact::Unknown(why)) => {
                Hit(Allow, not_known(why, Reason::InitiationTimeout, Reason::InitiationRefused))
            }
            Some(Fact::Open(question)) => Ask(question),
            _ => Miss,
        }
    }

    /// R17: a signed call whose signature is wrong, on a home number.
    fn signature_failed(&self) -> Finding {
        match self.facts.signature() {
            Fact::Known(Signature::Wrong) if self.a_is_home() => Hit(Block, Reason::SignatureWrong),
            _ => Miss,
        }
    }

    /// R18: a behaviour score above the trunk's threshold, on two independent signals at least.
    fn behaviour(&self) -> Finding {
        let Some(a) = self.a.number() else { return Miss };
        match self.facts.behaviour(a) {
            Fact::Known(seen) if seen.score > self.facts.behaviour_threshold() && seen.signals >= 2 => {
                Hit(Block, Reason::BehaviourScore)
            }
            _ => Miss,
        }
    }

    /// R19: anything else from abroad.
    fn international(&self) -> Finding {
        if self.call.class.is_from_abroad() {
            Hit(Treatment::Mark(Label::International), Reason::FromAbroad)
        } else {
            Miss
        }
    }

    #[inline]
    fn ask_roaming(&self) -> Option<Fact<Roaming>> {
        let a = self.a.number().filter(|_| self.is_home_mobile_from_abroad())?;
        Some(self.facts.roaming(a))
    }

    #[inline]
    fn ask_initiation(&self) -> Option<Fact<Initiation>> {
        let a = self.a.number()?;
        if self.call.class != TrunkClass::National || !self.a_is_home() {
            return None;
        }
        Some(self.facts.initiation(self.call.redirecting.number().unwrap_or(a)))
    }

    #[inline]
    fn is_international(&self) -> bool {
        self.call.class == TrunkClass::International
    }

    #[inline]
    fn is_home_mobile_from_abroad(&self) -> bool {
        self.is_international() && self.a_kind() == Some(Kind::Mobile)
    }

    #[inline]
    fn a_is_home(&self) -> bool {
        self.standing.is_some_and(|standing| standing.owner == Owner::Home)
    }

    #[inline]
    fn a_kind(&self) -> Option<Kind> {
        self.standing.map(|standing| standing.kind)
    }

    #[inline(always)]
    fn a_is_listed(&self, list: Listed) -> bool {
        self.a.key().is_some_and(|key| self.facts.is_listed(list, key))
    }

    #[inline]
    fn is_exempt(&self, rule: Rule) -> bool {
        self.a.key().is_some_and(|key| self.facts.exempted(key).contains(rule))
    }
}

/// The sub-reason of an answer that did not come; what timed out or was refused depends on what was asked.
fn not_known(why: Unknown, timeout: Reason, refused: Reason) -> Reason {
    match why {
        Unknown::NoExchange => Reason::NoExchange,
        Unknown::Timeout => timeout,
        Unknown::Refused => refused,
        Unknown::NotAMember => Reason::OperatorNotAMember,
        Unknown::NoSuchNumber => Reason::NoSuchNumber,
        Unknown::BadAnswer => Reason::BadAnswer,
        Unknown::Unreachable => Reason::OperatorUnreachable,
    }
}
