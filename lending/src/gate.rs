//! The gates, and what each is told: pass, refuse or wait, with a reason.
//!
//! A gate is a pure function in a file of its own under `gates/`. What it looks at is gathered beforehand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::application::Application;
use crate::ban::Ban;
use crate::face::FaceReady;
use crate::gates;
use crate::rulebook::Rulebook;
use crate::sum::Sum;

/// An enum whose variants have names: in files, in the API, in the store.
#[macro_export]
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$about:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub enum $type { $($(#[$about])* #[serde(rename = $name)] $variant,)* }

        impl $type {
            pub const ALL: &[$type] = &[$($type::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            pub fn from_name(name: &str) -> Option<$type> {
                $type::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}
pub(crate) use names;

names! {
    /// In the order in which they are asked.
    Gate {
        SelfBan = "self-ban",
        PhonePossession = "phone-possession",
        PhoneFreshness = "phone-freshness",
        SuspiciousCall = "suspicious-call",
        ConfirmedIdentifier = "confirmed-identifier",
        LivingFace = "living-face",
        SeveralApplications = "several-applications",
        CoolingOff = "cooling-off",
    }
}

names! {
    Answer {
        Pass = "pass",
        Refuse = "refuse",
        Wait = "wait",
        /// The node is set not to ask this gate.
        NotAsked = "not-asked",
    }
}

names! {
    Reason {
        NotConfigured = "not-configured",
        NoBan = "no-ban",
        BanInForce = "ban-in-force",
        CodeNotEntered = "code-not-entered",
        CodeEntered = "code-entered",
        CodesUsedUp = "codes-used-up",
        PhoneUnchanged = "phone-unchanged",
        SimSwapped = "sim-swapped",
        NumberPorted = "number-ported",
        CallsForwarded = "calls-forwarded",
        PhoneNotKnown = "phone-not-known",
        NoSuspiciousCall = "no-suspicious-call",
        CallWithSuspect = "call-with-suspect",
        CallsNotKnown = "calls-not-known",
        NoFraudstersIdentifier = "no-fraudsters-identifier",
        FraudstersIdentifier = "fraudsters-identifier",
        IdentifiersNotKnown = "identifiers-not-known",
        FaceNotShown = "face-not-shown",
        FaceMatched = "face-matched",
        FaceTriesUsedUp = "face-tries-used-up",
        NoReferencePhoto = "no-reference-photo",
        FewCreditors = "few-creditors",
        ManyCreditors = "many-creditors",
        Exempt = "exempt",
        BelowLimits = "below-limits",
        CoolingOff = "cooling-off",
        SecondConsentMissing = "second-consent-missing",
        SecondConsentGiven = "second-consent-given",
    }
}

/// What a gate answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answered {
    pub gate: Gate,
    pub answer: Answer,
    pub reason: Reason,
    /// For waits that end by themselves, when; ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until_ms: Option<i64>,
}

impl Answered {
    pub(crate) fn pass(gate: Gate, reason: Reason) -> Answered {
        Answered { gate, answer: Answer::Pass, reason, until_ms: None }
    }

    pub(crate) fn refuse(gate: Gate, reason: Reason) -> Answered {
        Answered { gate, answer: Answer::Refuse, reason, until_ms: None }
    }

    pub(crate) fn wait(gate: Gate, reason: Reason, until_ms: Option<i64>) -> Answered {
        Answered { gate, answer: Answer::Wait, reason, until_ms }
    }
}

/// Which gates a node asks. One that is required and cannot be asked waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    pub phone_freshness: bool,
    pub living_face: bool,
}

/// When each change of a phone was last seen, ms since 1970, by the names of [`Change`].
pub type Changes = BTreeMap<Change, i64>;

names! {
    /// What may have happened to a phone.
    Change {
        SimSwapped = "sim-swapped",
        Ported = "ported",
        Forwarded = "forwarded",
    }
}

/// When the applicant was last on a call with a number that screening marked or blocked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuspectCall {
    None,
    /// Ms since 1970.
    At(i64),
    /// The node does not know yet what was before it started.
    Unknown,
}

/// Whether investigators confirmed that something of an application is a fraudster's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirmed {
    /// The node has none to ask.
    NoRegister,
    No,
    Yes,
    /// The node has not heard yet what they confirmed.
    Unknown,
}

/// Another application of the same person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Other {
    pub creditor: String,
    pub opened_ms: i64,
    pub sum: Sum,
    /// Whether it counts towards the day's sum: an unsecured online loan, not exempt, not ended without money.
    pub counts: bool,
}

/// All that gates look at, beside the application.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    pub rulebook: &'a Rulebook,
    pub asked: Asked,
    pub ban: Option<Ban>,
    pub changes: Changes,
    /// The operator has not said yet what happened to the phone, and is asked again at this moment; none: all is said.
    pub phone_unknown_ms: Option<i64>,
    pub suspect_call: SuspectCall,
    pub confirmed: Confirmed,
    pub face: FaceReady,
    /// Of the person's local day and of the hours that `several` names.
    pub others: Vec<Other>,
}

/// Asks every gate.
pub fn ask(application: &Application, around: &Circumstances, now_ms: i64) -> Vec<Answered> {
    vec![
        gates::self_ban::ask(around, now_ms),
        gates::phone_possession::ask(application, around),
        gates::phone_freshness::ask(around, now_ms),
        gates::suspicious_call::ask(around, now_ms),
        gates::confirmed_identifier::ask(around),
        gates::living_face::ask(application, around),
        gates::several_applications::ask(application, around, now_ms),
        gates::cooling_off::ask(application, around),
    ]
}
