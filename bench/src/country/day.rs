//! A day of calls on a seed, each with the truth about it and what the rule catalogue says of it.

use std::net::SocketAddrV4;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::Fault;
use super::geography::{
    self, EMERGENCY, MEMBERS, OPERATORS, Operator, Ported, SPECIAL, Trunk, cloud_numbers, diverting,
    roaming_pool,
};

/// What becomes of a call, from the softest to the hardest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Treatment {
    Passed,
    Marked,
    Withheld,
    Blocked,
}

pub const TREATMENTS: [Treatment; 4] =
    [Treatment::Passed, Treatment::Marked, Treatment::Withheld, Treatment::Blocked];

use Treatment::{Blocked, Marked, Passed, Withheld};

/// The truth about a call. Order and names are those of docs/country.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    National,
    FromFixed,
    Diverted,
    Ported,
    Visitor,
    Foreign,
    InTransit,
    Roamer,
    DivertedAbroad,
    RoamingNumber,
    CloudExchange,
    Emergency,
    EmergencyAsked,
    SpoofedFixed,
    SpoofedMobile,
    Hopping,
    Unallocated,
    SpoofedDiversion,
    SpoofedHome,
    SpoofedNonMember,
    SpoofedRedirecting,
    NotRegistered,
}

use Label as L;

/// Label, name, out of 1,000 calls, whether it is honest, the treatment and the rule that decides; none where no node is asked.
///
/// From the rule catalogue (docs/rules.md).
pub const LABELS: [(Label, &str, u32, bool, Treatment, &str); 22] = [
    (L::National, "national", 240, true, Passed, "R20"),
    (L::FromFixed, "from-fixed", 60, true, Passed, "R15"),
    (L::Diverted, "diverted", 70, true, Passed, "R20"),
    (L::Ported, "ported", 70, true, Passed, "R20"),
    (L::Visitor, "visitor", 40, true, Marked, "R13"),
    (L::Foreign, "foreign", 70, true, Marked, "R19"),
    (L::InTransit, "in-transit", 30, true, Marked, "R13"),
    (L::Roamer, "roamer", 60, true, Marked, "R10"),
    (L::DivertedAbroad, "diverted-abroad", 20, true, Withheld, "R07"),
    (L::RoamingNumber, "roaming-number", 30, true, Passed, "R01"),
    (L::CloudExchange, "cloud-exchange", 30, true, Passed, "R06"),
    (L::Emergency, "emergency", 10, true, Passed, ""),
    (L::EmergencyAsked, "emergency-asked", 5, true, Passed, "R00"),
    (L::SpoofedFixed, "spoofed-fixed", 60, false, Blocked, "R08"),
    (L::SpoofedMobile, "spoofed-mobile", 50, false, Blocked, "R11"),
    (L::Hopping, "hopping", 40, false, Marked, "R19"),
    (L::Unallocated, "unallocated", 20, false, Blocked, "R05"),
    (L::SpoofedDiversion, "spoofed-diversion", 20, false, Withheld, "R07"),
    (L::SpoofedHome, "spoofed-home", 50, false, Blocked, "R14"),
    (L::SpoofedNonMember, "spoofed-nonmember", 10, false, Passed, "R15"),
    (L::SpoofedRedirecting, "spoofed-redirecting", 20, false, Blocked, "R14"),
    (L::NotRegistered, "not-registered", 10, false, Blocked, "R06"),
];

/// One call to make.
pub struct Call {
    /// Index into [`LABELS`].
    pub label: usize,
    /// Where it enters the country's networks.
    pub entry: SocketAddrV4,
    pub calling: String,
    pub called: String,
    /// Who diverted it, before it came to the entry.
    pub redirecting: Option<String>,
    pub expected: (Treatment, &'static str),
    /// Operators whose word others may go by.
    pub asked: Vec<Operator>,
}

/// A day of about `count` calls: every label occurs, and each `seed` is another day.
pub fn calls(seed: u64, count: usize) -> Vec<Call> {
    let mut draw = Draw(Pcg64Mcg::seed_from_u64(seed));
    let mut order = Vec::new();
    for (index, (_, _, weight, ..)) in LABELS.iter().enumerate() {
        let times = (*weight as usize * count).div_ceil(1000).max(2);
        order.extend(std::iter::repeat_n(index, times));
    }
    for last in (1..order.len()).rev() {
        order.swap(last, draw.0.random_range(0..=last));
    }
    order.into_iter().map(|index| draw.call(index)).collect()
}

/// 112 by every trunk of every operator.
pub fn emergencies() -> Vec<Call> {
    let entries =
        OPERATORS.into_iter().flat_map(|one| one.trunks().into_iter().map(move |trunk| (one, trunk)));
    let call = |(operator, trunk): (Operator, Trunk)| {
        // By a national trunk and from abroad numbers that others would be asked about, were it no emergency.
        let calling = format!("+{}4112112", Fault::MEMBER.ranges()[0]);
        let label = if operator == Operator::ASKS_ALL { L::EmergencyAsked } else { L::Emergency };
        let index = LABELS.iter().position(|one| one.0 == label).expect("of the list");
        let (called, expected) = (EMERGENCY.to_owned(), (LABELS[index].4, LABELS[index].5));
        let entry = operator.entry(trunk);
        Call { label: index, entry, calling, called, redirecting: None, expected, asked: Vec::new() }
    };
    entries.map(call).collect()
}

struct Draw(Pcg64Mcg);

/// A call before it is labelled: entry, calling number, called number, who diverted it.
type Bare = (SocketAddrV4, String, String, Option<String>);

impl Draw {
    fn call(&mut self, index: usize) -> Call {
        let (label, _, _, _, treatment, rule) = LABELS[index];
        let (entry, calling, called, redirecting) = self.bare(label);
        let expected = (treatment, rule);
        // Where the called one diverts, his operator answers for the second leg.
        let redirector = if label == L::Diverted { Some(&called) } else { redirecting.as_ref() };
        // For a number that nobody here holds whoever hands the call over answers.
        let of_caller = geography::holder(&calling).or_else(|| geography::taken_by(entry));
        let of_redirector = redirector.and_then(|number| geography::holder(number));
        let asked = [of_caller, of_redirector].into_iter().flatten().collect();
        Call { label: index, entry, calling, called, redirecting, expected, asked }
    }

    fn bare(&mut self, label: Label) -> Bare {
        let here = self.member();
        let other = self.member_but(here);
        let abroad = here.entry(Trunk::International);
        let delta = Operator::Delta.entry(Trunk::Access);
        match label {
            L::National => (other.entry(Trunk::Access), self.subscriber(other), self.subscriber(here), None),
            L::FromFixed | L::SpoofedNonMember => {
                (delta, self.subscriber(Operator::Delta), self.subscriber(here), None)
            }
            L::Diverted => {
                let (diverts, _) = diverting(here).nth(self.special()).expect("within");
                (other.entry(Trunk::Access), self.subscriber(other), diverts, None)
            }
            L::Ported => {
                let all: Vec<Ported> = geography::ported().collect();
                let Ported { number, to } = &all[self.0.random_range(0..all.len())];
                let peer = self.member_but(*to);
                match self.0.random_bool(0.5) {
                    true => (to.entry(Trunk::Access), number.clone(), self.subscriber(peer), None),
                    false => (peer.entry(Trunk::Access), self.subscriber(peer), number.clone(), None),
                }
            }
            L::Visitor => (other.entry(Trunk::Access), self.foreign(), self.subscriber(here), None),
            L::Foreign | L::Hopping => (abroad, self.foreign(), self.subscriber(here), None),
            L::InTransit => (other.entry(Trunk::International), self.foreign(), self.subscriber(here), None),
            L::Roamer => {
                let own = self.member();
                // Some come in by another operator's gateway.
                let gateway = if self.0.random_bool(0.2) { other } else { here };
                (gateway.entry(Trunk::International), self.subscriber(own), self.subscriber(here), None)
            }
            L::SpoofedMobile => {
                let own = self.member();
                (abroad, self.subscriber(own), self.subscriber(here), None)
            }
            L::DivertedAbroad | L::SpoofedDiversion => {
                let fixed = self.subscriber(Operator::Delta);
                (abroad, fixed, self.subscriber(here), Some(self.foreign()))
            }
            L::RoamingNumber => {
                let pool = roaming_pool(here) + &self.digits(3);
                (abroad, self.subscriber(Operator::Delta), pool, None)
            }
            L::CloudExchange => {
                let number = cloud_numbers().nth(self.special()).expect("within");
                (here.entry(Trunk::Dedicated), number, self.subscriber(here), None)
            }
            L::Emergency | L::EmergencyAsked => {
                let asks = |one: &Operator| (*one == Operator::ASKS_ALL) == (label == L::EmergencyAsked);
                let operators: Vec<Operator> = OPERATORS.into_iter().filter(asks).collect();
                let operator = operators[self.0.random_range(0..operators.len())];
                let trunks = operator.trunks();
                let entry = operator.entry(trunks[self.0.random_range(0..trunks.len())]);
                let calling = if self.0.random_bool(0.5) { self.subscriber(other) } else { self.foreign() };
                (entry, calling, EMERGENCY.to_owned(), None)
            }
            L::NotRegistered => {
                (here.entry(Trunk::Dedicated), self.subscriber(other), self.subscriber(here), None)
            }
            L::SpoofedFixed => (abroad, self.subscriber(Operator::Delta), self.subscriber(here), None),
            L::Unallocated => (abroad, format!("+7703{}", self.digits(7)), self.subscriber(here), None),
            L::SpoofedHome => {
                let own = self.member();
                (delta, self.subscriber(own), self.subscriber(here), None)
            }
            L::SpoofedRedirecting => {
                let redirecting = self.subscriber(other);
                (delta, self.subscriber(Operator::Delta), self.subscriber(here), Some(redirecting))
            }
        }
    }

    fn member(&mut self) -> Operator {
        MEMBERS[self.0.random_range(0..MEMBERS.len())]
    }

    fn member_but(&mut self, one: Operator) -> Operator {
        MEMBERS[(one as usize + self.0.random_range(1..MEMBERS.len())) % MEMBERS.len()]
    }

    fn special(&mut self) -> usize {
        self.0.random_range(0..SPECIAL as usize)
    }

    fn digits(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b'0' + self.0.random_range(0..10u8))).collect()
    }

    /// An ordinary subscriber: the special ones begin with 6 and above.
    fn subscriber(&mut self, operator: Operator) -> String {
        let ranges = operator.ranges();
        let range = ranges[self.0.random_range(0..ranges.len())];
        let first = self.0.random_range(1..=4);
        let rest = self.digits(10 - range.len());
        format!("+{range}{first}{rest}")
    }

    fn foreign(&mut self) -> String {
        let prefix = ["44207946", "4930901", "1415555", "7916", "7495", "99890123", "86139"];
        let prefix = prefix[self.0.random_range(0..prefix.len())];
        let length = if prefix.starts_with(['1', '7']) { 11 } else { 12 };
        let length = if prefix.starts_with("86") { 13 } else { length };
        format!("+{prefix}{}", self.digits(length - prefix.len()))
    }
}

/// Subscribers of an operator who matter to its HLR, and whether each is abroad.
pub fn subscribers(calls: &[Call], operator: Operator) -> Vec<(String, bool)> {
    let own = calls.iter().filter_map(|call| {
        let is_abroad = match LABELS[call.label].0 {
            L::Roamer => true,
            L::SpoofedMobile | L::SpoofedHome => false,
            _ => return None,
        };
        (geography::holder(&call.calling) == Some(operator)).then(|| (call.calling.clone(), is_abroad))
    });
    own.collect()
}
