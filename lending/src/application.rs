//! An application for a loan: its states, and the events that lead from one to the next.
//!
//! An [`Application`] is what its events say, in their order; whoever keeps the events can make it again. Every method takes
//! `now_ms` and gives the events that follow, which [`Application::apply`] then takes in.
//!
//! ```text
//! confirming ──► cooling ──► consenting ──► approved
//!     │  └───────────────────────────────────►┘ (no cooling-off)
//!     ├─► refused (a gate)   ├─► void (no second consent in time)
//!     └─► expired            └─► cancelled, refused
//! ```

use rules::Language;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::face::{FaceJudgement, FaceOutcome};
use crate::gate::{Answer, Answered, Circumstances, Gate, Reason, ask, names};
use crate::gates::cooling_off;
use crate::rulebook::Limits;
use crate::sum::Sum;

const HOUR_MS: i64 = 3_600_000;
/// What waits for investigators is asked about again after so long.
const CONFIRMED_AGAIN_MS: i64 = 15_000;

names! {
    CreditorClass {
        Bank = "bank",
        Microfinance = "microfinance",
    }
}

names! {
    /// What the money is for.
    Kind {
        Unsecured = "unsecured",
        Secured = "secured",
        /// Paid to the seller of goods.
        Goods = "goods",
        /// Pays back a loan of the same creditor.
        Refinancing = "refinancing",
        CardLimit = "card-limit",
    }
}

names! {
    State {
        /// The gates are asked, the phone's code is awaited.
        Confirming = "confirming",
        Cooling = "cooling",
        /// Cooled: the second consent is awaited.
        Consenting = "consenting",
        /// Money may move.
        Approved = "approved",
        Refused = "refused",
        Cancelled = "cancelled",
        Expired = "expired",
        /// The contract is void: the second consent did not come in time.
        Void = "void",
    }
}

impl State {
    pub fn is_end(self) -> bool {
        !matches!(self, State::Confirming | State::Cooling | State::Consenting)
    }

    /// Ended without money.
    pub fn is_failure(self) -> bool {
        self.is_end() && self != State::Approved
    }
}

names! {
    /// What a one-time code consents to.
    Purpose {
        Confirm = "confirm",
        Consent = "consent",
    }
}

/// What happened to an application. None holds personal data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    ApplicationOpened {
        creditor: String,
        class: CreditorClass,
        kind: Kind,
        is_online: bool,
        sum: Sum,
        term_days: u32,
        #[serde(serialize_with = "code", deserialize_with = "language")]
        language: Language,
    },
    /// Gates that answered otherwise than before.
    GatesAnswered {
        answers: Vec<Answered>,
    },
    /// `hash` is a keyed hash of the code; empty where an operator sent a code of its own, which it calls `by_operator`.
    CodeSent {
        purpose: Purpose,
        hash: String,
        /// Sealed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_operator: Option<String>,
    },
    CodeMismatched {
        purpose: Purpose,
    },
    PhoneConfirmed,
    /// The applicant's face was looked at.
    FaceJudged {
        #[serde(flatten)]
        judgement: FaceJudgement,
    },
    LoanConfirmed {
        cooling_until_ms: Option<i64>,
    },
    CoolingOffEnded,
    SecondConsentGiven,
    LoanApproved,
    LoanRefused {
        gate: Gate,
        reason: Reason,
    },
    ApplicationCancelled,
    /// The person whose phone it is says that he did not ask for it.
    ApplicationDenied,
    ApplicationExpired,
    ContractVoided,
}

impl Event {
    pub fn name(&self) -> &'static str {
        match self {
            Event::ApplicationOpened { .. } => "application_opened",
            Event::GatesAnswered { .. } => "gates_answered",
            Event::CodeSent { .. } => "code_sent",
            Event::CodeMismatched { .. } => "code_mismatched",
            Event::PhoneConfirmed => "phone_confirmed",
            Event::FaceJudged { .. } => "face_judged",
            Event::LoanConfirmed { .. } => "loan_confirmed",
            Event::CoolingOffEnded => "cooling_off_ended",
            Event::SecondConsentGiven => "second_consent_given",
            Event::LoanApproved => "loan_approved",
            Event::LoanRefused { .. } => "loan_refused",
            Event::ApplicationCancelled => "application_cancelled",
            Event::ApplicationDenied => "application_denied",
            Event::ApplicationExpired => "application_expired",
            Event::ContractVoided => "contract_voided",
        }
    }
}

fn code<S: Serializer>(language: &Language, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(language.code())
}

fn language<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Language, D::Error> {
    let code = String::deserialize(deserializer)?;
    Language::from_code(&code).ok_or_else(|| serde::de::Error::custom("no language of ours"))
}

/// A code that was sent and may be entered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Code {
    pub purpose: Purpose,
    pub hash: String,
    pub by_operator: Option<String>,
    pub sent_ms: i64,
    pub mismatches: u32,
}

/// Why something asked of an application is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Not in this state.
    WrongState(State),
    /// Every code of this consent was sent.
    CodesUsedUp,
    /// None was sent, its time is over, or it was tried too often.
    NoCode,
}

/// An application as its events say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    pub creditor: String,
    pub class: CreditorClass,
    pub kind: Kind,
    pub is_online: bool,
    pub sum: Sum,
    pub term_days: u32,
    pub language: Language,
    pub opened_ms: i64,
    pub state: State,
    pub gates: Vec<Answered>,
    pub code: Option<Code>,
    /// Codes sent for each purpose.
    codes: [u32; 2],
    /// When the first consent was given.
    pub confirmed_ms: Option<i64>,
    pub face_matched_ms: Option<i64>,
    pub face_failures: u32,
    pub cooling_until_ms: Option<i64>,
    pub consented_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    /// The gate that refused.
    pub refused_by: Option<(Gate, Reason)>,
    /// How many events it stands on.
    pub events: u64,
}

impl Application {
    /// What an application is by its first event.
    pub fn open(at_ms: i64, event: &Event) -> Option<Application> {
        let Event::ApplicationOpened { creditor, class, kind, is_online, sum, term_days, language } = event
        else {
            return None;
        };
        Some(Application {
            creditor: creditor.clone(),
            class: *class,
            kind: *kind,
            is_online: *is_online,
            sum: *sum,
            term_days: *term_days,
            language: *language,
            opened_ms: at_ms,
            state: State::Confirming,
            gates: Vec::new(),
            code: None,
            codes: [0; 2],
            confirmed_ms: None,
            face_matched_ms: None,
            face_failures: 0,
            cooling_until_ms: None,
            consented_ms: None,
            ended_ms: None,
            refused_by: None,
            events: 1,
        })
    }

    /// What an application is by all its events, each with its time; none where the first opens none.
    pub fn of<'e>(events: impl IntoIterator<Item = (i64, &'e Event)>) -> Option<Application> {
        let mut events = events.into_iter();
        let (at_ms, first) = events.next()?;
        let mut application = Application::open(at_ms, first)?;
        events.for_each(|(at_ms, event)| application.apply(at_ms, event));
        Some(application)
    }

    /// Takes an event in.
    pub fn apply(&mut self, at_ms: i64, event: &Event) {
        self.events += 1;
        match event {
            Event::ApplicationOpened { .. } => {}
            Event::GatesAnswered { answers } => {
                for answered in answers {
                    match self.gates.iter_mut().find(|known| known.gate == answered.gate) {
                        Some(known) => *known = *answered,
                        None => self.gates.push(*answered),
                    }
                }
            }
            Event::CodeSent { purpose, hash, by_operator } => {
                self.codes[*purpose as usize] += 1;
                self.code = Some(Code {
                    purpose: *purpose,
                    hash: hash.clone(),
                    by_operator: by_operator.clone(),
                    sent_ms: at_ms,
                    mismatches: 0,
                });
            }
            Event::CodeMismatched { .. } => {
                if let Some(code) = &mut self.code {
                    code.mismatches += 1;
                }
            }
            Event::PhoneConfirmed => {
                self.code = None;
                self.confirmed_ms = Some(at_ms);
            }
            Event::FaceJudged { judgement } => {
                self.face_failures += u32::from(judgement.outcome.is_failed_try());
                if judgement.outcome == FaceOutcome::Matched {
                    self.face_matched_ms = Some(at_ms);
                }
            }
            Event::LoanConfirmed { cooling_until_ms } => {
                self.cooling_until_ms = *cooling_until_ms;
                if cooling_until_ms.is_some() {
                    self.state = State::Cooling;
                }
            }
            Event::CoolingOffEnded => self.state = State::Consenting,
            Event::SecondConsentGiven => {
                self.code = None;
                self.consented_ms = Some(at_ms);
            }
            Event::LoanApproved => self.end(State::Approved, at_ms),
            Event::LoanRefused { gate, reason } => {
                self.refused_by = Some((*gate, *reason));
                self.end(State::Refused, at_ms);
            }
            Event::ApplicationCancelled | Event::ApplicationDenied => self.end(State::Cancelled, at_ms),
            Event::ApplicationExpired => self.end(State::Expired, at_ms),
            Event::ContractVoided => self.end(State::Void, at_ms),
        }
    }

    fn end(&mut self, state: State, at_ms: i64) {
        self.state = state;
        self.code = None;
        self.ended_ms = Some(at_ms);
    }

    pub fn is_cooling(&self) -> bool {
        self.state == State::Cooling
    }

    /// What a code would consent to now.
    pub fn purpose(&self) -> Option<Purpose> {
        match self.state {
            State::Confirming if self.confirmed_ms.is_none() => Some(Purpose::Confirm),
            State::Consenting if self.consented_ms.is_none() => Some(Purpose::Consent),
            _ => None,
        }
    }

    /// Every code was sent, and the last can no longer be entered because of wrong tries.
    pub fn is_out_of_codes(&self, purpose: Purpose, limits: &Limits) -> bool {
        let is_spent = |code: &Code| code.purpose == purpose && code.mismatches >= limits.code_tries;
        self.codes[purpose as usize] >= limits.codes && self.code.as_ref().is_some_and(is_spent)
    }

    /// Sends another code; the one before counts no longer.
    pub fn send_code(&self, hash: String, limits: &Limits) -> Result<Event, Fault> {
        let purpose = self.may_send_code(limits)?;
        Ok(Event::CodeSent { purpose, hash, by_operator: None })
    }

    /// An operator sent a code of its own; `named` is its name there, sealed.
    pub fn operator_sent_code(&self, named: String, limits: &Limits) -> Result<Event, Fault> {
        let purpose = self.may_send_code(limits)?;
        Ok(Event::CodeSent { purpose, hash: String::new(), by_operator: Some(named) })
    }

    /// What another code would consent to.
    pub fn may_send_code(&self, limits: &Limits) -> Result<Purpose, Fault> {
        let purpose = self.purpose().ok_or(Fault::WrongState(self.state))?;
        if self.codes[purpose as usize] < limits.codes { Ok(purpose) } else { Err(Fault::CodesUsedUp) }
    }

    /// Whether the money waits for gates alone: the consent awaited in this state was given.
    pub fn is_given(&self) -> bool {
        match self.state {
            State::Confirming => self.confirmed_ms.is_some(),
            State::Consenting => self.consented_ms.is_some(),
            _ => false,
        }
    }

    /// The code that may be entered for a purpose now.
    pub fn open_code(&self, purpose: Purpose, limits: &Limits, now_ms: i64) -> Result<&Code, Fault> {
        if self.purpose() != Some(purpose) {
            return Err(Fault::WrongState(self.state));
        }
        let is_open = |code: &&Code| {
            code.purpose == purpose
                && code.mismatches < limits.code_tries
                && now_ms < code.sent_ms + i64::from(limits.code_s) * 1000
        };
        self.code.as_ref().filter(is_open).ok_or(Fault::NoCode)
    }

    /// A code was entered, and was or was not the one of [`Application::open_code`].
    pub fn enter_code(&self, purpose: Purpose, is_right: bool) -> Event {
        match (is_right, purpose) {
            (false, _) => Event::CodeMismatched { purpose },
            (true, Purpose::Confirm) => Event::PhoneConfirmed,
            (true, Purpose::Consent) => Event::SecondConsentGiven,
        }
    }

    pub fn cancel(&self) -> Result<Event, Fault> {
        match self.state.is_end() {
            true => Err(Fault::WrongState(self.state)),
            false => Ok(Event::ApplicationCancelled),
        }
    }

    /// The person whose phone it is did not ask for this loan.
    pub fn deny(&self) -> Result<Event, Fault> {
        match self.state.is_end() {
            true => Err(Fault::WrongState(self.state)),
            false => Ok(Event::ApplicationDenied),
        }
    }

    /// Takes up what a look at the face came to, where the gate waits for one.
    pub fn judge_face(&self, judgement: FaceJudgement) -> Result<Event, Fault> {
        match self.is_face_awaited() {
            true => Ok(Event::FaceJudged { judgement }),
            false => Err(Fault::WrongState(self.state)),
        }
    }

    /// The phone is confirmed, and the face is what the gate waits for.
    pub fn is_face_awaited(&self) -> bool {
        let waits = |answered: &Answered| {
            answered.gate == Gate::LivingFace && answered.reason == Reason::FaceNotShown
        };
        self.state == State::Confirming && self.confirmed_ms.is_some() && self.gates.iter().any(waits)
    }

    /// When an application that has not ended is looked at again, where nobody asks before.
    pub fn due_ms(&self, limits: &Limits, now_ms: i64) -> Option<i64> {
        let over_ms = match self.state {
            State::Confirming => self.opened_ms + i64::from(limits.confirm_h) * HOUR_MS,
            State::Cooling => self.cooling_until_ms?,
            State::Consenting => self.cooling_until_ms? + i64::from(limits.consent_h) * HOUR_MS,
            _ => return None,
        };
        // A consent was given, and gates wait that open by themselves: then it is asked again.
        let is_given = self.is_given();
        let waits = self.gates.iter().filter(|answered| answered.answer == Answer::Wait && is_given);
        // What investigators confirmed they may take back at any moment.
        let again_ms = |answered: &Answered| {
            (answered.gate == Gate::ConfirmedIdentifier).then_some(now_ms + CONFIRMED_AGAIN_MS)
        };
        let opens_ms = waits.filter_map(|answered| answered.until_ms.or_else(|| again_ms(answered))).max();
        Some(opens_ms.map_or(over_ms, |opens_ms| opens_ms.min(over_ms)))
    }

    /// All that follows by now from time and gates, with the time of each event; it is taken in already.
    pub fn settle(&mut self, around: &Circumstances, now_ms: i64) -> Vec<(i64, Event)> {
        let mut events = Vec::new();
        while let Some((at_ms, event)) = self.next(around, now_ms) {
            self.apply(at_ms, &event);
            events.push((at_ms, event));
        }
        events
    }

    fn next(&self, around: &Circumstances, now_ms: i64) -> Option<(i64, Event)> {
        if self.state.is_end() {
            return None;
        }
        let limits = around.rulebook.limits(self.opened_ms);
        let over_ms = match self.state {
            State::Cooling => self.cooling_until_ms?,
            State::Consenting => self.cooling_until_ms? + i64::from(limits.consent_h) * HOUR_MS,
            _ => self.opened_ms + i64::from(limits.confirm_h) * HOUR_MS,
        };
        if now_ms >= over_ms {
            let event = match self.state {
                State::Cooling => Event::CoolingOffEnded,
                State::Consenting => Event::ContractVoided,
                _ => Event::ApplicationExpired,
            };
            return Some((over_ms, event));
        }
        let answers = ask(self, around, now_ms);
        let is_news = |answered: &&Answered| !self.gates.contains(answered);
        let news: Vec<Answered> = answers.iter().filter(is_news).copied().collect();
        if !news.is_empty() {
            return Some((now_ms, Event::GatesAnswered { answers: news }));
        }
        if let Some(refused) = answers.iter().find(|answered| answered.answer == Answer::Refuse) {
            return Some((now_ms, Event::LoanRefused { gate: refused.gate, reason: refused.reason }));
        }
        let waits = |but: Option<Gate>| {
            answers.iter().any(|answered| answered.answer == Answer::Wait && Some(answered.gate) != but)
        };
        match self.state {
            State::Confirming if self.confirmed_ms.is_some() && !waits(Some(Gate::CoolingOff)) => {
                if self.cooling_until_ms.is_none()
                    && let Ok(hours @ 1..) = cooling_off::hours(self, around)
                {
                    let until_ms = now_ms + i64::from(hours) * HOUR_MS;
                    return Some((now_ms, Event::LoanConfirmed { cooling_until_ms: Some(until_ms) }));
                }
                Some((now_ms, Event::LoanApproved))
            }
            State::Consenting if self.consented_ms.is_some() && !waits(None) => {
                Some((now_ms, Event::LoanApproved))
            }
            _ => None,
        }
    }
}
