//! What was decided about a call, and why.

use crate::{Rule, RuleSet};

/// What the wire does with the call, from the mildest to the hardest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Treatment {
    /// Pass unchanged.
    Allow,
    /// Pass with a label.
    Mark(Label),
    /// Pass, and hide the calling number.
    Withhold,
    /// Refuse.
    Block,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Label {
    /// The calling number is a home number abroad, and its operator says so.
    Verified,
    International,
    NotVerified,
    Suspected,
}

impl Label {
    pub fn name(self) -> &'static str {
        match self {
            Label::Verified => "verified",
            Label::International => "international",
            Label::NotVerified => "not-verified",
            Label::Suspected => "suspected",
        }
    }
}

impl Treatment {
    /// Every treatment; the place of each is its code in records.
    pub const ALL: [Treatment; 7] = [
        Treatment::Allow,
        Treatment::Mark(Label::Verified),
        Treatment::Mark(Label::International),
        Treatment::Mark(Label::NotVerified),
        Treatment::Mark(Label::Suspected),
        Treatment::Withhold,
        Treatment::Block,
    ];

    /// `allow`, `mark`, `withhold` or `block`.
    #[inline]
    pub fn name(self) -> &'static str {
        match self {
            Treatment::Allow => "allow",
            Treatment::Mark(_) => "mark",
            Treatment::Withhold => "withhold",
            Treatment::Block => "block",
        }
    }

    #[inline]
    pub fn label(self) -> Option<Label> {
        match self {
            Treatment::Mark(label) => Some(label),
            _ => None,
        }
    }

    #[inline]
    pub fn code(self) -> u8 {
        match self {
            Treatment::Allow => 0,
            Treatment::Mark(label) => 1 + label as u8,
            Treatment::Withhold => 5,
            Treatment::Block => 6,
        }
    }

    pub fn from_code(code: u8) -> Option<Treatment> {
        Treatment::ALL.get(usize::from(code)).copied()
    }
}

macro_rules! reasons {
    ($($variant:ident = $name:literal,)*) => {
        /// The sub-reason of a verdict. Its words in every language are in `rulebook/words/`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason { $($variant,)* }

        impl Reason {
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The name that records and message files use.
            #[inline]
            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    EmergencyNumber = "emergency-number",
    RoamingNumberPool = "roaming-number-pool",
    OnAllowList = "on-allow-list",
    NoNumberFromAbroad = "no-number-from-abroad",
    NotANumber = "not-a-number",
    TooShort = "too-short",
    TooLong = "too-long",
    LeadingZero = "leading-zero",
    WrongLength = "wrong-length",
    ReserveCode = "reserve-code",
    CountryCodeNotAssigned = "country-code-not-assigned",
    EmergencyAsCaller = "emergency-as-caller",
    ShortCodeAsCaller = "short-code-as-caller",
    FreephoneAsCaller = "freephone-as-caller",
    PremiumAsCaller = "premium-as-caller",
    SharedServiceAsCaller = "shared-service-as-caller",
    OnDoNotOriginateList = "on-do-not-originate-list",
    OnBlockList = "on-block-list",
    NoSuchRange = "no-such-range",
    OnUnallocatedList = "on-unallocated-list",
    RegisteredOnTrunk = "registered-on-trunk",
    NotRegisteredOnTrunk = "not-registered-on-trunk",
    DivertedAbroad = "diverted-abroad",
    FixedFromAbroad = "fixed-from-abroad",
    VoipFromAbroad = "voip-from-abroad",
    NoVoiceRoaming = "no-voice-roaming",
    OperatorSaysRoaming = "operator-says-roaming",
    OperatorSaysAtHome = "operator-says-at-home",
    OperatorSaysNotAssigned = "operator-says-not-assigned",
    OptedOutOfInternational = "opted-out-of-international",
    NoExchange = "no-exchange-configured",
    RoamingTimeout = "roaming-timeout",
    RoamingRefused = "roaming-refused",
    OperatorNotAMember = "operator-not-a-member",
    NoSuchNumber = "no-such-number",
    BadAnswer = "bad-answer",
    ForeignOnNational = "foreign-on-national-trunk",
    OperatorDeniesCall = "operator-denies-the-call",
    InitiationTimeout = "initiation-timeout",
    SignatureWrong = "signature-wrong",
    BehaviourScore = "behaviour-score",
    FromAbroad = "from-abroad",
    NothingAgainst = "nothing-against",
    // Codes stand in journals for years: what comes later comes last.
    InitiationRefused = "initiation-refused",
    OperatorUnreachable = "operator-unreachable",
}

impl Reason {
    #[inline]
    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn from_code(code: u8) -> Option<Reason> {
        Reason::ALL.get(usize::from(code)).copied()
    }
}

/// Which number of the call the verdict rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decided {
    ByNetworkNumber,
    ByPresentationNumber,
}

/// What a rule in monitor mode would have done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Would {
    pub treatment: Treatment,
    pub rule: Rule,
    pub reason: Reason,
}

/// What was decided about a call. Versions, times and answers stand beside it in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub treatment: Treatment,
    pub rule: Rule,
    pub reason: Reason,
    pub decided: Decided,
    /// What the first rule in monitor mode that hit would have done.
    pub would: Option<Would>,
    /// Every rule in monitor mode that hit.
    pub monitored: RuleSet,
}

impl Verdict {
    /// A verdict on the network number, with no rule in monitor mode.
    pub fn of_rule(rule: Rule, treatment: Treatment, reason: Reason) -> Verdict {
        let (decided, monitored) = (Decided::ByNetworkNumber, RuleSet::default());
        Verdict { treatment, rule, reason, decided, would: None, monitored }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back() {
        for treatment in Treatment::ALL {
            assert_eq!(Treatment::from_code(treatment.code()), Some(treatment));
        }
        for &reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert!(Treatment::ALL.is_sorted(), "the worse verdict counts");
    }
}
