//! What is observed about a call, and what has to be asked of others.

use numbering::{Number, Party};

/// Something known, or unknown for a reason that is always said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact<T> {
    Known(T),
    Unknown(Unknown),
    /// Asked of another operator, not answered yet: judging stops here until it is.
    Open(Question),
}

/// Why a fact is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Unknown {
    /// This node is in no exchange with other operators.
    NoExchange = 1,
    Timeout = 2,
    Refused = 3,
    NotAMember = 4,
    NoSuchNumber = 5,
    BadAnswer = 6,
    /// Its node cannot be reached, or is not asked for a while because it failed too often.
    Unreachable = 7,
}

/// One question to another operator; all of a call's questions share one deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Is the subscriber of this number abroad now?
    Roaming(Number),
    /// Did this number just call `called` from its own network?
    Initiation { asked: Number, called: Party },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Roaming(Fact<Roaming>),
    Initiation(Fact<Initiation>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Roaming {
    Abroad,
    AtHome,
    NotAssigned,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Initiation {
    Initiated,
    NotInitiated,
}

/// What came of checking the caller's signature (RFC 8224).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signature {
    Valid,
    Wrong,
}

/// What the hunters say of the calling number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Behaviour {
    /// 0 to 100.
    pub score: u8,
    /// How many independent signals it rests on.
    pub signals: u8,
}
