//! What this node answers to other operators: its own calls, and where its own subscribers are.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use exchange::{
    Answer, CallKey, Check, Fault, Holder, Initiated, MemberId, Method, Question, Registration, RoamingCheck,
    Status, WhyUnknown,
};
use numbering::Number;
use tokio::time::{Instant, sleep};

use super::counts::What;
use super::pending::Office;
use super::shared::Looked;
use crate::config::{Exchange, Roaming, Setup};
use crate::roaming::camara::Camara;
use crate::roaming::feed::{Locations, Outcome, Update};
use crate::roaming::hlr::Hlr;
use crate::roaming::{Source, Whereabouts};
use crate::store::now_ms;

/// The registration of a call may come after the question about it, so long.
const WAIT: Duration = Duration::from_millis(100);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// And at other nodes of this operator.
const LOOK_ELSEWHERE: Duration = Duration::from_millis(25);

/// What is asked of where own subscribers are; another one after a reload.
pub struct Sources {
    of: Arc<Roaming>,
    hlr: Option<Source>,
    camara: Option<Source>,
}

impl Office {
    /// Answers one question of a member.
    pub async fn answer(self: Rc<Self>, setup: Arc<Setup>, by: MemberId, question: Question) -> Answer {
        let id = question.id().to_owned();
        let Some(exchange) = setup.exchange.as_ref() else {
            return Answer::Refused { id, fault: Fault::NotSupported };
        };
        let (kind, outcome) = match question.check(now_ms()) {
            Err(fault) => (kind(&question), Err(fault)),
            Ok(()) => match &question {
                Question::Register(registration) => {
                    ("register", self.take_registration(&setup, by, registration))
                }
                Question::Check(check) => ("check", self.check(&setup, check).await),
                Question::Roaming(check) => ("roaming", self.roaming_check(&setup, check).await),
                Question::Capabilities => ("capabilities", Ok(Answer::Capabilities(exchange.capabilities))),
                Question::Unknown => ("unknown", Err(Fault::NotSupported)),
            },
        };
        let answer = outcome.unwrap_or_else(|fault| Answer::Refused { id, fault });
        self.counts.add(What::Answered, &exchange.member(by).name, kind, answer_name(&answer));
        answer
    }

    fn take_registration(
        &self,
        setup: &Setup,
        by: MemberId,
        registration: &Registration,
    ) -> Result<Answer, Fault> {
        let Registration { id, calling, presentation, called, redirecting, time_ms, ttl_s, .. } =
            registration;
        let exchange = setup.exchange.as_ref().ok_or(Fault::NotSupported)?;
        let names = [Some(calling), presentation.as_ref(), Some(called), redirecting.as_ref()];
        if !names.into_iter().flatten().all(|name| exchange.is_agreed_form(name)) {
            return Err(Fault::NotThisForm);
        }
        let is_its_own = match redirecting.as_ref().unwrap_or(calling).number() {
            Some(number) => exchange.holder(&setup.policy, number, now_ms()) == Some(Holder::Member(by)),
            // A hash does not say whose number it is. Who answers for itself has nothing to register here.
            None => !exchange.member(by).capabilities.initiation_check,
        };
        if !is_its_own {
            return Err(Fault::NotYours);
        }
        if let Some(guest) = self.guests.borrow_mut().get_mut(&exchange.member(by).name) {
            guest.registered(Duration::from_secs(exchange.ttl_s.into()));
        }
        // By the writer's clock; never longer than its ttl from now.
        let now_ms = now_ms();
        let left_ms = (time_ms + i64::from(*ttl_s) * 1000 - now_ms).clamp(0, i64::from(*ttl_s) * 1000);
        for calling in [Some(calling), presentation.as_ref()].into_iter().flatten() {
            let key = CallKey::of_wire(calling, called, redirecting.as_ref());
            self.note(key, now_ms, (left_ms / 1000) as u32);
        }
        Ok(Answer::Accepted { id: id.clone() })
    }

    async fn check(&self, setup: &Setup, check: &Check) -> Result<Answer, Fault> {
        let Check { id, calling, called, redirecting, deadline_ms, .. } = check;
        let exchange = setup.exchange.as_ref().ok_or(Fault::NotSupported)?;
        let names = [Some(calling), Some(called), redirecting.as_ref()];
        if !names.into_iter().flatten().all(|name| exchange.is_agreed_form(name)) {
            return Err(Fault::NotThisForm);
        }
        let asked = redirecting.as_ref().unwrap_or(calling).number();
        let holder = asked.and_then(|number| exchange.holder(&setup.policy, number, now_ms()));
        let Some(since) = self.kept_since(exchange, holder.unwrap_or(Holder::Us)) else {
            return Err(Fault::NotHeld);
        };
        if !exchange.capabilities.initiation_check {
            let result = Initiated::NotSupported;
            return Ok(Answer::Initiation { id: id.clone(), result, reason: None, age_ms: None });
        }
        let key = CallKey::of_wire(calling, called, redirecting.as_ref());
        let until = Instant::now() + Duration::from_millis(u64::from(*deadline_ms));
        let (result, age_ms) = self.was_initiated(exchange, key, since, until).await;
        let own = calling.number().filter(|_| redirecting.is_none() && holder == Some(Holder::Us));
        let (result, reason) = match result {
            Initiated::NotInitiated => self.denied(setup, own, until).await,
            Initiated::Unknown => (result, Some(WhyUnknown::JustStarted)),
            _ => (result, None),
        };
        Ok(Answer::Initiation { id: id.clone(), result, reason, age_ms })
    }

    /// What is said of a call that was not found here. An own subscriber who is abroad calls from another network, and
    /// comes back by any gateway: nobody here can deny that he did.
    pub async fn denied(
        &self,
        setup: &Setup,
        own: Option<Number>,
        until: Instant,
    ) -> (Initiated, Option<WhyUnknown>) {
        let Some(number) = own.filter(|_| setup.roaming.is_some()) else {
            return (Initiated::NotInitiated, None);
        };
        let found = self.whereabouts(setup, number, until).await;
        match (found.status, found.reason) {
            (Status::Roaming, _) => (Initiated::Unknown, Some(WhyUnknown::NoSource)),
            (Status::Unknown, why @ Some(WhyUnknown::Timeout | WhyUnknown::SourceFailed)) => {
                (Initiated::Unknown, why)
            }
            _ => (Initiated::NotInitiated, None),
        }
    }

    /// Since when all calls of a holder's numbers are noted here; none where they are not.
    pub fn kept_since(&self, exchange: &Exchange, holder: Holder) -> Option<Instant> {
        let Holder::Member(id) = holder else { return Some(self.started) };
        let member = exchange.member(id);
        // Who answers for itself keeps its own; of the others, those who register their calls here.
        if member.capabilities.initiation_check {
            return None;
        }
        let guests = self.guests.borrow();
        guests.get(&member.name)?.registers_since(Duration::from_secs(exchange.ttl_s.into()))
    }

    /// Whether a call is known here, and how long, ms. Its registration may come a moment later. Where calls are noted
    /// only `since` lately, one that is not found may be older.
    pub async fn was_initiated(
        &self,
        exchange: &Exchange,
        key: CallKey,
        since: Instant,
        until: Instant,
    ) -> (Initiated, Option<u32>) {
        let give_up = (Instant::now() + WAIT).min(until);
        let mut is_unseen = false;
        loop {
            if let Some(age_ms) = self.calls.check(key, now_ms()) {
                return (Initiated::Initiated, Some(age_ms));
            }
            if let Some(shared) = &self.shared {
                match shared.check(key, now_ms()).await {
                    Looked::Found(age_ms) => return (Initiated::Initiated, Some(age_ms)),
                    looked => is_unseen = looked == Looked::Failed,
                }
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            sleep(left.min(if self.shared.is_some() { LOOK_ELSEWHERE } else { LOOK })).await;
        }
        // What stood in the memory of the process before, or in a store that failed, is lost: nobody's call is cut for that.
        let since = self.shared.as_ref().map_or(since, |shared| since.max(shared.whole_since()));
        match is_unseen || since.elapsed() < Duration::from_secs(exchange.ttl_s.into()) {
            true => (Initiated::Unknown, None),
            false => (Initiated::NotInitiated, None),
        }
    }

    async fn roaming_check(&self, setup: &Setup, check: &RoamingCheck) -> Result<Answer, Fault> {
        let exchange = setup.exchange.as_ref().ok_or(Fault::NotSupported)?;
        let number = check.calling.number().ok_or(Fault::BadNumber)?;
        if exchange.holder(&setup.policy, number, now_ms()) != Some(Holder::Us) {
            return Err(Fault::NotHeld);
        }
        if !exchange.capabilities.roaming_check {
            return Err(Fault::NotSupported);
        }
        let until = Instant::now() + Duration::from_millis(u64::from(check.deadline_ms));
        let found = self.whereabouts(setup, number, until).await;
        Ok(Answer::Roaming {
            id: check.id.clone(),
            result: found.status,
            reason: found.reason,
            age_ms: found.known_ms.map(|known_ms| now_ms().abs_diff(known_ms)),
            visited: found.visited.map(|code| code.iter().map(|&letter| char::from(letter)).collect()),
            method: Some(found.method),
        })
    }

    /// Where an own subscriber is: what the feed said, else whom the configuration names, one after another.
    pub async fn whereabouts(&self, setup: &Setup, number: Number, until: Instant) -> Whereabouts {
        let nowhere = Whereabouts::unknown(Method::Hlr, WhyUnknown::NoSource);
        let Some(sources) = self.sources(setup) else { return nowhere };
        let fed = self.locations.borrow().as_ref().and_then(|known| known.get(number, now_ms()));
        if let Some(known) = fed {
            self.counts.roaming.add("feed", &known, Duration::ZERO);
            return known;
        }
        let mut last = nowhere;
        for source in [&sources.hlr, &sources.camara].into_iter().flatten() {
            let started = Instant::now();
            last = source.ask(number, now_ms(), until.saturating_duration_since(started)).await;
            self.counts.roaming.add(source.name(), &last, started.elapsed());
            if last.status != Status::Unknown {
                break;
            }
        }
        last
    }

    fn sources(&self, setup: &Setup) -> Option<Rc<Sources>> {
        let roaming = setup.roaming.as_ref()?;
        let mut place = self.sources.borrow_mut();
        if let Some(sources) = place.as_ref().filter(|sources| Arc::ptr_eq(&sources.of, roaming)) {
            return Some(sources.clone());
        }
        let mut locations = self.locations.borrow_mut();
        match roaming.feed {
            None => *locations = None,
            Some((most, fresh_ms)) if locations.is_none() => {
                *locations = Some(Locations::new(most, fresh_ms))
            }
            Some(_) => {}
        }
        let camara = roaming.camara.clone().and_then(|settings| Camara::new(settings).ok());
        let camara = camara.map(|camara| Source::Camara(Box::new(camara)));
        let hlr = roaming.hlr.clone().map(|settings| Source::Hlr(Hlr::start(settings)));
        let sources = Rc::new(Sources { of: roaming.clone(), hlr, camara });
        *place = Some(sources.clone());
        Some(sources)
    }

    /// Takes location updates; gives how many are news. What was remembered of those numbers is forgotten.
    pub fn locate(&self, updates: Vec<(Number, Update)>) -> usize {
        let setup = self.setup.load_full();
        if self.sources(&setup).is_none() {
            return 0;
        }
        let mut locations = self.locations.borrow_mut();
        let Some(locations) = locations.as_mut() else { return 0 };
        let mut kept = 0;
        for (number, update) in updates {
            if locations.update(number, update, now_ms()) == Outcome::Kept {
                kept += 1;
                self.cache.borrow_mut().forget(number);
                if let Some(shared) = self.shared.clone() {
                    tokio::task::spawn_local(async move { shared.forget_roaming(number).await });
                }
            }
        }
        kept
    }
}

fn kind(question: &Question) -> &'static str {
    match question {
        Question::Register(_) => "register",
        Question::Check(_) => "check",
        Question::Roaming(_) => "roaming",
        Question::Capabilities => "capabilities",
        Question::Unknown => "unknown",
    }
}

fn answer_name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Accepted { .. } => "accepted",
        Answer::Capabilities(_) => "capabilities",
        Answer::Refused { fault, .. } => fault.name(),
        Answer::Initiation { result, .. } => match result {
            Initiated::Initiated => "initiated",
            Initiated::NotInitiated => "not-initiated",
            Initiated::NotSupported => "not-supported",
            Initiated::Unknown => "unknown",
        },
        Answer::Roaming { result, .. } => match result {
            Status::Roaming => "roaming",
            Status::NotRoaming => "not-roaming",
            Status::NotAssigned => "not-assigned",
            Status::Unknown => "unknown",
        },
    }
}
