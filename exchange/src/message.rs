//! What travels between members: letters of questions, letters of answers. docs/exchange.md, "Messages".

use std::fmt;

use numbering::Number;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of the protocol this crate speaks.
pub const VERSION: u32 = 1;
/// Questions, and so answers, that one letter may carry.
pub const MOST_ITEMS: usize = 256;
/// Ids and names of members and trunks are no longer, in bytes.
pub(crate) const MOST_NAME: usize = 64;
/// How long a registration may stand, in seconds.
const TTL_S: std::ops::RangeInclusive<u32> = 30..=180;
/// What one call's questions may cost together, in milliseconds.
const MOST_DEADLINE_MS: u32 = 1000;

/// What a JWS between members carries: who wrote to whom and when, and up to [`MOST_ITEMS`] questions or answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letter<T> {
    pub version: u32,
    /// The member who wrote it.
    pub iss: String,
    /// The member it is for.
    pub aud: String,
    /// When it was written, milliseconds since 1970-01-01 UTC.
    pub iat_ms: i64,
    /// Its own id, never used twice by a member.
    pub jti: String,
    /// Of a letter of answers: the `jti` of the questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// Questions, or answers in the order of the questions.
    pub items: Vec<T>,
}

/// What is asked of a member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Question {
    /// A customer of the writer made this call.
    Register(Registration),
    /// Did this call come from the reader's network?
    Check(Check),
    /// Is the reader's subscriber abroad now?
    Roaming(RoamingCheck),
    /// What does the reader answer?
    Capabilities,
    /// A kind that this reader does not know: refused alone, not the letter it came in. Never written.
    #[serde(other)]
    Unknown,
}

/// A call of the writer's customer, so that others may ask about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The asker's name for the question, 1 to 64 bytes; the answer bears it too.
    pub id: String,
    pub role: Role,
    /// The network number A.
    pub calling: WireNumber,
    /// The presentation number, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presentation: Option<WireNumber>,
    pub called: WireNumber,
    /// Who diverted the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirecting: Option<WireNumber>,
    /// When the call was set up, milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    /// The trunk by which it left, as its operator calls it, 1 to 64 bytes.
    pub trunk: String,
    /// How long others may ask about it, seconds, 30 to 180.
    pub ttl_s: u32,
}

/// A call that came in, asked about at the operator whose number it bears.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// 1 to 64 bytes.
    pub id: String,
    pub role: Role,
    /// The network number A.
    pub calling: WireNumber,
    pub called: WireNumber,
    /// Who diverted the call; the question then goes to this number's operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirecting: Option<WireNumber>,
    /// When the asking network saw the call, milliseconds since 1970-01-01 UTC.
    pub seen_ms: i64,
    pub ingress: IngressClass,
    /// How long the asker waits for the answer, ms, 1 to 1000.
    pub deadline_ms: u32,
}

/// A subscriber whose number came in from abroad, asked about at his operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoamingCheck {
    /// 1 to 64 bytes.
    pub id: String,
    /// In clear always: its own operator knows it, and could not look it up otherwise.
    pub calling: WireNumber,
    /// How long the asker waits for the answer, ms, 1 to 1000.
    pub deadline_ms: u32,
    /// The operator whose gateway the call came in by, 1 to 64 bytes.
    pub ingress: String,
}

/// What the writer's network has to do with the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Originating,
    Transit,
    Terminating,
}

/// The class of the trunk by which a call came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IngressClass {
    International,
    InternationalDedicated,
    National,
    Access,
    Transit,
}

/// What is said to one question; it bears the question's id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Answer {
    /// To a registration: it stands.
    Accepted { id: String },
    /// To a check.
    Initiation {
        id: String,
        result: Initiated,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<WhyUnknown>,
        /// How long ago the call was registered, ms.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        age_ms: Option<u32>,
    },
    /// To a roaming check.
    Roaming {
        id: String,
        result: Status,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<WhyUnknown>,
        /// How old the knowledge is, ms.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        age_ms: Option<u64>,
        /// ISO 3166-1 alpha-2 code of the country visited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        visited: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<Method>,
    },
    /// To the question for them.
    Capabilities(Capabilities),
    /// To a question that cannot be taken, with the reason.
    Refused { id: String, fault: Fault },
}

/// Whether the call came from the network of the number it bears.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initiated {
    Initiated,
    NotInitiated,
    /// The operator keeps no register of calls.
    NotSupported,
    Unknown,
}

/// Where a subscriber is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Roaming,
    NotRoaming,
    NotAssigned,
    Unknown,
}

/// Where a roaming answer comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    Hlr,
    Camel,
    Ims,
    Camara,
    Feed,
    Cache,
}

impl Method {
    /// As it travels, and as answers by HTTP name it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Hlr => "hlr",
            Method::Camel => "camel",
            Method::Ims => "ims",
            Method::Camara => "camara",
            Method::Feed => "feed",
            Method::Cache => "cache",
        }
    }
}

/// Why a member does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyUnknown {
    /// What the member asks itself (its HLR) did not answer in time.
    Timeout,
    /// It has nothing to ask.
    NoSource,
    /// What it asks answered with an error.
    SourceFailed,
    /// The subscriber was not seen anywhere lately.
    NotRegistered,
    /// The member started less than a ttl ago and may have forgotten calls.
    JustStarted,
}

/// Why a question is refused. Each is counted by its asker and its reader.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// An empty or overlong id or name.
    BadName,
    /// Not E.164 digits without a sign, nor a token.
    BadNumber,
    /// A ttl that is not 30 to 180 s.
    BadTtl,
    /// More than 1000 ms, or none.
    BadDeadline,
    /// Too far from the reader's clock.
    BadTime,
    /// The reader does not hold the number that it is asked about.
    NotHeld,
    /// The writer registers a call of a number it does not hold.
    NotYours,
    /// A token where digits are needed, or digits where the exchange hashes numbers.
    NotThisForm,
    /// Too many questions from this member.
    TooMany,
    /// The member does not answer this.
    NotSupported,
}

impl Fault {
    pub const ALL: [Fault; 10] = [
        Fault::BadName,
        Fault::BadNumber,
        Fault::BadTtl,
        Fault::BadDeadline,
        Fault::BadTime,
        Fault::NotHeld,
        Fault::NotYours,
        Fault::NotThisForm,
        Fault::TooMany,
        Fault::NotSupported,
    ];

    /// As it travels, and as counters name it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::BadName => "bad-name",
            Fault::BadNumber => "bad-number",
            Fault::BadTtl => "bad-ttl",
            Fault::BadDeadline => "bad-deadline",
            Fault::BadTime => "bad-time",
            Fault::NotHeld => "not-held",
            Fault::NotYours => "not-yours",
            Fault::NotThisForm => "not-this-form",
            Fault::TooMany => "too-many",
            Fault::NotSupported => "not-supported",
        }
    }
}

/// What a member answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Capabilities {
    /// Answers roaming checks.
    pub roaming_check: bool,
    /// Answers checks of calls.
    pub initiation_check: bool,
    /// None of its subscribers can call from abroad.
    pub no_outbound_voice_roaming: bool,
}

/// A number as it travels: E.164 digits without a sign, or `~` and 22 characters of a keyed hash.
///
/// `Debug` is masked; the text is in the open field.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WireNumber(pub String);

impl WireNumber {
    /// In clear.
    pub fn clear(number: Number) -> WireNumber {
        let (digits, count) = number.reveal().digits();
        WireNumber(digits[..count].iter().map(|&digit| char::from(digit)).collect())
    }

    /// Whether it is a keyed hash.
    pub fn is_token(&self) -> bool {
        self.0.starts_with('~')
    }

    /// The number, where it is in clear.
    pub fn number(&self) -> Option<Number> {
        Number::from_digits(self.0.as_bytes()).ok()
    }

    fn is_sound(&self) -> bool {
        match self.0.strip_prefix('~') {
            Some(hash) => {
                let is_url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                hash.len() == 22 && hash.bytes().all(is_url)
            }
            None => self.number().is_some(),
        }
    }
}

impl fmt::Debug for WireNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("~"),
        }
    }
}

impl<T> Letter<T> {
    /// A letter of questions.
    pub fn new(iss: &str, aud: &str, iat_ms: i64, jti: String, items: Vec<T>) -> Letter<T> {
        let (iss, aud) = (iss.to_owned(), aud.to_owned());
        Letter { version: VERSION, iss, aud, iat_ms, jti, re: None, items }
    }
}

impl<T: DeserializeOwned + Serialize> Letter<T> {
    /// As it is signed.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain values")
    }
}

impl Question {
    /// The asker's name for it; empty where the kind has none.
    pub fn id(&self) -> &str {
        match self {
            Question::Register(registration) => &registration.id,
            Question::Check(check) => &check.id,
            Question::Roaming(roaming) => &roaming.id,
            Question::Capabilities | Question::Unknown => "",
        }
    }

    /// Whether every field is within its bounds, for a reader whose clock says `now_ms`.
    pub fn check(&self, now_ms: i64) -> Result<(), Fault> {
        let sound = |number: &WireNumber| if number.is_sound() { Ok(()) } else { Err(Fault::BadNumber) };
        let named = |name: &str| {
            if (1..=MOST_NAME).contains(&name.len()) { Ok(()) } else { Err(Fault::BadName) }
        };
        // Clocks of members may be 40 s apart and more, and a ttl is the furthest a call can be asked about.
        let timely = |time_ms: i64| match time_ms.abs_diff(now_ms) <= u64::from(*TTL_S.end()) * 1000 {
            true => Ok(()),
            false => Err(Fault::BadTime),
        };
        let patient = |ms: u32| match (1..=MOST_DEADLINE_MS).contains(&ms) {
            true => Ok(()),
            false => Err(Fault::BadDeadline),
        };
        match self {
            Question::Register(registration) => {
                named(&registration.id)?;
                named(&registration.trunk)?;
                sound(&registration.calling)?;
                sound(&registration.called)?;
                registration.presentation.iter().try_for_each(sound)?;
                registration.redirecting.iter().try_for_each(sound)?;
                if !TTL_S.contains(&registration.ttl_s) {
                    return Err(Fault::BadTtl);
                }
                timely(registration.time_ms)
            }
            Question::Check(check) => {
                named(&check.id)?;
                sound(&check.calling)?;
                sound(&check.called)?;
                check.redirecting.iter().try_for_each(sound)?;
                patient(check.deadline_ms)?;
                timely(check.seen_ms)
            }
            Question::Roaming(roaming) => {
                named(&roaming.id)?;
                named(&roaming.ingress)?;
                sound(&roaming.calling)?;
                if roaming.calling.is_token() {
                    return Err(Fault::NotThisForm);
                }
                patient(roaming.deadline_ms)
            }
            Question::Capabilities => Ok(()),
            Question::Unknown => Err(Fault::NotSupported),
        }
    }
}

impl Answer {
    /// The id of the question; empty where that has none.
    pub fn id(&self) -> &str {
        match self {
            Answer::Accepted { id }
            | Answer::Initiation { id, .. }
            | Answer::Roaming { id, .. }
            | Answer::Refused { id, .. } => id,
            Answer::Capabilities(_) => "",
        }
    }
}
