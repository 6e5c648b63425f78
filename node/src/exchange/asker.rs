//! One question from this node: who is asked, what is known already, what the answer means to a rule.

use std::rc::Rc;
use std::sync::Arc;

use call::{Answer, Call, Fact, Initiation, Question, Roaming, TrunkClass, Unknown};
use exchange::{
    Cached, Check, Fault, Holder, IngressClass, Initiated, MemberId, Method, RoamingCheck, Role, Status,
    WhyUnknown, WireNumber, day,
};
use numbering::{Number, Owner, Party};
use tokio::time::Instant;

use super::counts::What;
use super::pending::Office;
use super::remote::{Failure, Lane, Remote};
use super::{Told, on_the_wire};
use crate::config::{Exchange, Setup};
use crate::store::now_ms;

/// How long a member may look for a call at first, ms.
const QUICK_MS: u32 = 1;

/// What came of a question, before a rule sees it.
enum Outcome<T> {
    Known(T),
    Unknown(Unknown),
}

impl Office {
    /// Asks whoever knows, and answers by `until` at the latest.
    pub async fn tell(&self, setup: &Arc<Setup>, call: &Call, question: Question, until: Instant) -> Told {
        let exchange = setup.exchange.as_ref();
        let until = exchange.map_or(until, |exchange| until.min(Instant::now() + exchange.question));
        let (about, kind) = match question {
            Question::Roaming(number) => (number, "roaming"),
            Question::Initiation { asked, .. } => (asked, "initiation"),
        };
        let Some(exchange) = exchange else { return unknown(question, Unknown::NoExchange) };
        let holder = exchange.holder(&setup.policy, about, now_ms());
        // Another one may keep the calls of that member.
        let holder = match (holder, question) {
            (Some(Holder::Member(id)), Question::Initiation { .. }) => {
                Some(Holder::Member(exchange.member(id).kept_by.unwrap_or(id)))
            }
            _ => holder,
        };
        // A foreign number is a guest's, perhaps: whoever sent the call is asked (R13).
        let is_foreign = || setup.policy.plan.standing(about).owner == Owner::Foreign;
        let holder = holder.or_else(|| match question {
            Question::Initiation { .. } if is_foreign() => setup.sender(call.trunk).map(Holder::Member),
            _ => None,
        });
        let told = match (holder, question) {
            (None, _) => unknown(question, Unknown::NotAMember),
            (Some(holder), Question::Roaming(number)) => {
                self.roaming(setup, exchange, holder, number, until).await
            }
            (Some(holder), Question::Initiation { asked, called }) => {
                self.initiation(setup, holder, call, asked, called, until).await
            }
        };
        let by = if told.by.is_empty() { "nobody" } else { &told.by };
        self.counts.add(What::Asked, by, kind, outcome_name(&told.answer));
        told
    }

    async fn roaming(
        &self,
        setup: &Setup,
        exchange: &Exchange,
        holder: Holder,
        number: Number,
        until: Instant,
    ) -> Told {
        let remembered = |status, visited, known_ms: i64| Told {
            answer: Answer::Roaming(of_status(status, None).into_fact()),
            by: name(exchange, holder),
            age_ms: Some(now_ms().abs_diff(known_ms)),
            method: Some(Method::Cache),
            visited,
        };
        let cached = self.cache.borrow_mut().get(number, now_ms());
        if let Some(Cached { status, visited, known_ms, .. }) = cached.filter(|cached| cached.by == holder) {
            return remembered(status, visited, known_ms);
        }
        if let Some(shared) = &self.shared
            && let Some((status, visited, known_ms)) = shared.roaming(number).await
        {
            return remembered(status, visited, known_ms);
        }
        let (outcome, age_ms, method, visited) = match holder {
            Holder::Us => {
                let found = self.whereabouts(setup, number, until).await;
                let age_ms = found.known_ms.map(|known_ms| now_ms().abs_diff(known_ms));
                let visited = found.visited;
                self.keep(number, holder, found.status, visited, found.method, age_ms);
                (of_status(found.status, found.reason), age_ms, Some(found.method), visited)
            }
            Holder::Member(id) => {
                let capabilities = exchange.member(id).capabilities;
                if capabilities.no_outbound_voice_roaming {
                    (Outcome::Known(Roaming::AtHome), None, None, None)
                } else if !capabilities.roaming_check {
                    (Outcome::Unknown(Unknown::Refused), None, None, None)
                } else {
                    self.ask_roaming(exchange, id, number, until).await
                }
            }
        };
        Told {
            answer: Answer::Roaming(outcome.into_fact()),
            by: name(exchange, holder),
            age_ms,
            method,
            visited,
        }
    }

    async fn ask_roaming(
        &self,
        exchange: &Exchange,
        id: MemberId,
        number: Number,
        until: Instant,
    ) -> (Outcome<Roaming>, Option<u64>, Option<Method>, Option<[u8; 2]>) {
        let remote = self.remote(exchange, id);
        let check = RoamingCheck {
            id: remote.id(),
            calling: WireNumber::clear(number),
            deadline_ms: patience(until),
            ingress: exchange.name.clone(),
        };
        match self.ask(&remote, exchange::Question::Roaming(check), Lane::Patient, until).await {
            Ok(exchange::Answer::Roaming { result, reason, age_ms, visited, method, .. }) => {
                let visited = visited.and_then(|code| code.as_bytes().try_into().ok());
                let visited = visited.filter(|code: &[u8; 2]| code.iter().all(u8::is_ascii_uppercase));
                let method_known = method.unwrap_or(Method::Hlr);
                self.keep(number, Holder::Member(id), result, visited, method_known, age_ms);
                (of_status(result, reason), age_ms, method, visited)
            }
            Ok(_) => (Outcome::Unknown(Unknown::BadAnswer), None, None, None),
            Err(failure) => (Outcome::Unknown(why(failure)), None, None, None),
        }
    }

    /// Remembers an answer from when it was true, so that a memory of a memory grows no older.
    fn keep(
        &self,
        number: Number,
        by: Holder,
        status: Status,
        visited: Option<[u8; 2]>,
        method: Method,
        age_ms: Option<u64>,
    ) {
        let now_ms = now_ms();
        let known_ms = now_ms.saturating_sub_unsigned(age_ms.unwrap_or(0));
        if let Some(shared) = self.shared.clone().filter(|_| status != Status::Unknown) {
            tokio::task::spawn_local(async move {
                shared.keep_roaming(number, status, visited, known_ms).await;
            });
        }
        self.cache.borrow_mut().put(number, Cached { status, visited, method, by, known_ms }, now_ms);
    }

    async fn initiation(
        &self,
        setup: &Setup,
        holder: Holder,
        call: &Call,
        asked: Number,
        called: Party,
        until: Instant,
    ) -> Told {
        let Some(exchange) = setup.exchange.as_ref() else {
            return unknown(Question::Initiation { asked, called }, Unknown::NoExchange);
        };
        let kept_since = self.kept_since(exchange, holder);
        let holder = if kept_since.is_some() { Holder::Us } else { holder };
        let by = name(exchange, holder);
        let told = |outcome: Outcome<Initiation>, age_ms| Told {
            answer: Answer::Initiation(outcome.into_fact()),
            by: by.clone(),
            age_ms,
            method: None,
            visited: None,
        };
        // A diverted call is asked about under its caller, a presentation number under itself.
        let redirecting = call.redirecting.number();
        let calling = if redirecting == Some(asked) { call.calling.number().unwrap_or(asked) } else { asked };
        let token_key = exchange.token_key.as_ref();
        let Some(called_number) = called.number() else {
            return told(Outcome::Unknown(Unknown::NoSuchNumber), None);
        };
        let id = match holder {
            Holder::Us => {
                let key = super::call_key(token_key, calling, called, redirecting, day(call.time_ms));
                let since = kept_since.unwrap_or(self.started);
                let (mut result, age_ms) = self.was_initiated(exchange, key, since, until).await;
                let mut reason = None;
                if result == Initiated::NotInitiated {
                    let held = exchange.holder(&setup.policy, asked, now_ms()) == Some(Holder::Us);
                    let own = Some(asked).filter(|_| redirecting.is_none() && held);
                    (result, reason) = self.denied(setup, own, until).await;
                }
                return told(of_initiated(result, reason), age_ms.map(u64::from));
            }
            Holder::Member(id) if !exchange.member(id).capabilities.initiation_check => {
                return told(Outcome::Unknown(Unknown::Refused), None);
            }
            Holder::Member(id) => id,
        };
        let remote = self.remote(exchange, id);
        let day = day(call.time_ms);
        let mut check = Check {
            id: remote.id(),
            role: Role::Terminating,
            calling: on_the_wire(token_key, calling, day),
            called: on_the_wire(token_key, called_number, day),
            redirecting: redirecting.map(|number| on_the_wire(token_key, number, day)),
            seen_ms: call.time_ms,
            ingress: ingress(call.class),
            deadline_ms: QUICK_MS.min(patience(until)),
        };
        let quick = self.ask(&remote, exchange::Question::Check(check.clone()), Lane::Quick, until).await;
        let is_there = !matches!(
            quick,
            Ok(exchange::Answer::Initiation {
                result: Initiated::NotInitiated | Initiated::Unknown,
                reason: None | Some(WhyUnknown::Timeout),
                ..
            })
        );
        let outcome = if is_there || Instant::now() >= until {
            quick
        } else {
            // Its registration may be on its way: the member waits for it, and no other call waits too.
            (check.id, check.deadline_ms) = (remote.id(), patience(until));
            self.ask(&remote, exchange::Question::Check(check), Lane::Patient, until).await
        };
        match outcome {
            Ok(exchange::Answer::Initiation { result, reason, age_ms, .. }) => {
                told(of_initiated(result, reason), age_ms.map(u64::from))
            }
            Ok(_) => told(Outcome::Unknown(Unknown::BadAnswer), None),
            Err(failure) => told(Outcome::Unknown(why(failure)), None),
        }
    }

    async fn ask(
        &self,
        remote: &Rc<Remote>,
        question: exchange::Question,
        lane: Lane,
        until: Instant,
    ) -> Result<exchange::Answer, Failure> {
        let started = Instant::now();
        let outcome = remote.ask(question, lane, until).await;
        self.counts.took(started.elapsed());
        self.counts.is_now(&remote.member.name, remote.state());
        outcome
    }

    /// The member as somebody to ask; another one after a reload that changed it.
    pub fn remote(&self, exchange: &Exchange, id: MemberId) -> Rc<Remote> {
        let member = exchange.member(id);
        let mut remotes = self.remotes.borrow_mut();
        if let Some(remote) = remotes.get(&member.name)
            && Arc::ptr_eq(&remote.member, member)
        {
            return remote.clone();
        }
        let (signer, counts, keeper) = (exchange.signer.clone(), self.counts.clone(), self.keeper.clone());
        let remote = Remote::new(member.clone(), &exchange.name, signer, counts, keeper);
        remotes.insert(member.name.clone(), remote.clone());
        remote
    }
}

impl<T> Outcome<T> {
    fn into_fact(self) -> Fact<T> {
        match self {
            Outcome::Known(value) => Fact::Known(value),
            Outcome::Unknown(why) => Fact::Unknown(why),
        }
    }
}

fn name(exchange: &Exchange, holder: Holder) -> String {
    match holder {
        Holder::Us => exchange.name.clone(),
        Holder::Member(id) => exchange.member(id).name.clone(),
    }
}

/// An answer that nobody gave.
pub fn unknown(question: Question, why: Unknown) -> Told {
    let answer = match question {
        Question::Roaming(_) => Answer::Roaming(Fact::Unknown(why)),
        Question::Initiation { .. } => Answer::Initiation(Fact::Unknown(why)),
    };
    Told { answer, by: String::new(), age_ms: None, method: None, visited: None }
}

fn patience(until: Instant) -> u32 {
    let left = until.saturating_duration_since(Instant::now()).as_millis();
    (left as u32).clamp(1, 1000)
}

fn of_status(status: Status, reason: Option<WhyUnknown>) -> Outcome<Roaming> {
    match status {
        Status::Roaming => Outcome::Known(Roaming::Abroad),
        Status::NotRoaming => Outcome::Known(Roaming::AtHome),
        Status::NotAssigned => Outcome::Known(Roaming::NotAssigned),
        Status::Unknown => Outcome::Unknown(of_why(reason)),
    }
}

fn of_initiated(result: Initiated, reason: Option<WhyUnknown>) -> Outcome<Initiation> {
    match result {
        Initiated::Initiated => Outcome::Known(Initiation::Initiated),
        Initiated::NotInitiated => Outcome::Known(Initiation::NotInitiated),
        Initiated::NotSupported => Outcome::Unknown(Unknown::Refused),
        Initiated::Unknown => Outcome::Unknown(of_why(reason)),
    }
}

/// The member is there, but what it would have to ask is not.
fn of_why(reason: Option<WhyUnknown>) -> Unknown {
    match reason {
        Some(WhyUnknown::NoSource) => Unknown::Refused,
        _ => Unknown::Timeout,
    }
}

fn why(failure: Failure) -> Unknown {
    match failure {
        Failure::Timeout => Unknown::Timeout,
        Failure::Unreachable => Unknown::Unreachable,
        Failure::Fault(Fault::NotHeld) => Unknown::NoSuchNumber,
        Failure::Refused | Failure::Fault(_) => Unknown::Refused,
        Failure::BadAnswer => Unknown::BadAnswer,
    }
}

fn ingress(class: TrunkClass) -> IngressClass {
    match class {
        TrunkClass::International => IngressClass::International,
        TrunkClass::InternationalDedicated => IngressClass::InternationalDedicated,
        TrunkClass::National => IngressClass::National,
        TrunkClass::Access => IngressClass::Access,
        TrunkClass::Transit => IngressClass::Transit,
    }
}

/// How counters name what came of a question.
pub fn outcome_name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Roaming(Fact::Known(Roaming::Abroad)) => "roaming",
        Answer::Roaming(Fact::Known(Roaming::AtHome)) => "not-roaming",
        Answer::Roaming(Fact::Known(Roaming::NotAssigned)) => "not-assigned",
        Answer::Initiation(Fact::Known(Initiation::Initiated)) => "initiated",
        Answer::Initiation(Fact::Known(Initiation::NotInitiated)) => "not-initiated",
        Answer::Roaming(Fact::Unknown(why)) | Answer::Initiation(Fact::Unknown(why)) => match why {
            Unknown::NoExchange => "no-exchange",
            Unknown::Timeout => "timeout",
            Unknown::Refused => "refused",
            Unknown::NotAMember => "not-a-member",
            Unknown::NoSuchNumber => "no-such-number",
            Unknown::BadAnswer => "bad-answer",
            Unknown::Unreachable => "unreachable",
        },
        Answer::Roaming(Fact::Open(_)) | Answer::Initiation(Fact::Open(_)) => "open",
    }
}
