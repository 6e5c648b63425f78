//! Who is who: four operators, their addresses on loopback, the numbers they hold.

use std::net::{Ipv4Addr, SocketAddrV4};

/// SIP of every switch and node of the country.
pub const SIP: u16 = 5460;
const HTTP: u16 = 8480;
const EXCHANGE: u16 = 7443;

/// Who makes the calls, and the telephones that are called.
pub const CALLER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, 1), SIP);
pub const PHONES: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, 2), SIP);

/// Called in an emergency, as the plan has it.
pub const EMERGENCY: &str = "112";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operator {
    Alpha,
    Beta,
    Gamma,
    /// Fixed lines; no node, and no member of the exchange.
    Delta,
}

use Operator::{Alpha, Beta, Delta, Gamma};

pub const OPERATORS: [Operator; 4] = [Alpha, Beta, Gamma, Delta];
pub const MEMBERS: [Operator; 3] = [Alpha, Beta, Gamma];

/// The ways by which calls come into an operator's network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trunk {
    /// Its own customers.
    Access,
    /// The gateway abroad.
    International,
    /// A cloud exchange abroad whose numbers are registered.
    Dedicated,
    From(Operator),
}

impl Trunk {
    /// What the switch calls the socket, and the node the trunk.
    pub fn name(self) -> String {
        match self {
            Trunk::Access => "access".to_owned(),
            Trunk::International => "international".to_owned(),
            Trunk::Dedicated => "dedicated".to_owned(),
            Trunk::From(operator) => format!("from-{}", operator.name()),
        }
    }
}

impl Operator {
    /// Whose switch asks its node about emergency calls too; the others let them go on unasked.
    pub const ASKS_ALL: Operator = Gamma;

    pub fn name(self) -> &'static str {
        ["alpha", "beta", "gamma", "delta"][self as usize]
    }

    /// The first digits of its numbers.
    pub fn ranges(self) -> &'static [&'static str] {
        [&["7701"][..], &["7702"], &["7705"], &["77272", "77172"]][self as usize]
    }

    pub fn trunks(self) -> Vec<Trunk> {
        let others = OPERATORS.into_iter().filter(|&other| other != self).map(Trunk::From);
        [Trunk::Access, Trunk::International, Trunk::Dedicated].into_iter().chain(others).collect()
    }

    fn host(self, place: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 1, 20 * (self as u8 + 1) + place)
    }

    /// Where its switch takes calls of a trunk, and the address that it asks its node from.
    pub fn entry(self, trunk: Trunk) -> SocketAddrV4 {
        let place = match trunk {
            Trunk::Access => 1,
            Trunk::International => 2,
            Trunk::Dedicated => 3,
            Trunk::From(other) => 4 + other as u8,
        };
        SocketAddrV4::new(self.host(place), SIP)
    }

    /// The address that calls leave its switch from.
    pub fn core(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.host(0), SIP)
    }

    pub fn hlr(self) -> Ipv4Addr {
        self.host(8)
    }

    /// Where its node answers other operators, as one asker reaches it: a relay in between can delay and drop.
    pub fn seen_by(self, asker: Operator) -> SocketAddrV4 {
        SocketAddrV4::new(self.host(10 + asker as u8), EXCHANGE)
    }
}

/// Where a node of an operator stands.
#[derive(Clone, Copy)]
pub struct Seat {
    pub operator: Operator,
    host: Ipv4Addr,
}

impl Seat {
    /// The node that the operator's switch asks.
    pub fn of(operator: Operator) -> Seat {
        Seat { operator, host: operator.host(9) }
    }

    /// Another one, for an operator that has two.
    pub fn second(operator: Operator) -> Seat {
        Seat { operator, host: operator.host(13) }
    }

    pub fn sip(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.host, SIP)
    }

    pub fn http(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.host, HTTP)
    }

    /// Where it answers other operators.
    pub fn exchange(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.host, EXCHANGE)
    }
}

/// How many numbers of each special kind an operator has.
pub const SPECIAL: u32 = 40;

/// A number of the first operator's range that was ported to the second.
pub struct Ported {
    pub number: String,
    pub to: Operator,
}

fn next(operator: Operator) -> Operator {
    MEMBERS[(operator as usize + 1) % MEMBERS.len()]
}

pub fn ported() -> impl Iterator<Item = Ported> {
    let of = |from: Operator| {
        (0..SPECIAL)
            .map(move |n| Ported { number: format!("+{}888{n:04}", from.ranges()[0]), to: next(from) })
    };
    MEMBERS.into_iter().flat_map(of)
}

/// Subscribers who divert all calls, each to a subscriber of the next operator.
pub fn diverting(operator: Operator) -> impl Iterator<Item = (String, String)> {
    let prefix = |operator: Operator| operator.ranges()[0];
    (0..SPECIAL).map(move |n| {
        (format!("+{}777{n:04}", prefix(operator)), format!("+{}666{n:04}", prefix(next(operator))))
    })
}

/// The pool that an operator lends to guests and roamers (MSRN).
pub fn roaming_pool(operator: Operator) -> String {
    format!("+{}9990", operator.ranges()[0])
}

/// Numbers of a company whose telephone exchange stands abroad.
pub fn cloud_numbers() -> impl Iterator<Item = String> {
    (0..SPECIAL).map(|n| format!("+7727277{n:04}"))
}

/// Who holds a number, after portability.
pub fn holder(number: &str) -> Option<Operator> {
    let digits = number.trim_start_matches('+');
    let by_range =
        || OPERATORS.into_iter().find(|one| one.ranges().iter().any(|range| digits.starts_with(range)));
    ported().find(|ported| ported.number == number).map(|ported| ported.to).or_else(by_range)
}

/// Whose trunk a call came in by.
pub fn taken_by(entry: SocketAddrV4) -> Option<Operator> {
    OPERATORS.into_iter().find(|one| one.trunks().into_iter().any(|trunk| one.entry(trunk) == entry))
}
