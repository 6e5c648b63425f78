//! One call as it enters the network.

use numbering::Party;

/// A call to be judged: numbers normalised, the trunk known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// When it entered, milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    pub trunk: TrunkId,
    /// The class of that trunk, which travels with the call.
    pub class: TrunkClass,
    /// The network number A: P-Asserted-Identity, or From where that is all there is.
    pub calling: Party,
    /// The presentation number: From, where a network number is present too; else absent.
    pub presentation: Party,
    /// The called number B.
    pub called: Party,
    /// Who diverted the call, when it was.
    pub redirecting: Party,
    /// The calling network asked that the number not be shown.
    pub privacy: bool,
    /// A home number came in national form on a trunk where full numbers are usual: a known loophole.
    pub national_form: bool,
}

/// An ingress trunk: an index into the configured trunks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TrunkId(pub u16);

/// What a trunk brings. It decides, never the digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TrunkClass {
    /// Public international interconnect.
    International,
    /// Brought in from abroad for one customer whose numbers are registered.
    InternationalDedicated,
    /// Another home operator.
    National,
    /// The operator's own customers.
    Access,
    Transit,
}

impl TrunkClass {
    pub const ALL: [TrunkClass; 5] = [
        TrunkClass::International,
        TrunkClass::InternationalDedicated,
        TrunkClass::National,
        TrunkClass::Access,
        TrunkClass::Transit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            TrunkClass::International => "international",
            TrunkClass::InternationalDedicated => "international-dedicated",
            TrunkClass::National => "national",
            TrunkClass::Access => "access",
            TrunkClass::Transit => "transit",
        }
    }

    pub fn from_name(name: &str) -> Option<TrunkClass> {
        TrunkClass::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Whether home national forms of numbers are usual on such a trunk.
    pub fn is_national(self) -> bool {
        matches!(self, TrunkClass::National | TrunkClass::Access)
    }

    #[inline]
    pub fn is_from_abroad(self) -> bool {
        matches!(self, TrunkClass::International | TrunkClass::InternationalDedicated)
    }
}
