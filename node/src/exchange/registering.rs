//! Calls of this operator's own numbers, registered at the member that keeps them: `register-at` of `[exchange]`.
//!
//! For a node that others cannot reach. No call waits for it: registrations travel together, behind the call, and one that
//! fails is sent again until nobody could ask about the call any more.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use call::Call;
use exchange::{Answer, Holder, Question, Registration, Role, days_around};
use tokio::time::{Instant, sleep};

use super::counts::What;
use super::on_the_wire;
use super::pending::Office;
use super::remote::{Failure, Lane};
use crate::config::{Exchange, Setup};
use crate::store::now_ms;

/// Registrations that may be on their way.
const MOST: usize = 8192;
/// For one attempt, and until the next.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);

/// How many are on their way.
#[derive(Default)]
pub struct Registering(Cell<usize>);

impl Office {
    /// Registers a call where this operator's calls are kept, if it is one that others may ask about.
    pub fn register_elsewhere(self: &Rc<Self>, setup: &Arc<Setup>, call: &Call) {
        for registration in registrations(setup, call) {
            if self.registering.0.get() >= MOST {
                self.counts.registrations_lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.registering.0.set(self.registering.0.get() + 1);
            let office = self.clone();
            tokio::task::spawn_local(async move {
                if !office.is_registered(registration).await {
                    office.counts.registrations_lost.fetch_add(1, Ordering::Relaxed);
                }
                office.registering.0.set(office.registering.0.get() - 1);
            });
        }
    }

    /// Sends a registration until it is accepted or refused, or its time is over.
    async fn is_registered(&self, mut registration: Registration) -> bool {
        let until = Instant::now() + Duration::from_secs(registration.ttl_s.into());
        while Instant::now() < until {
            // Another keeper, or none any more, after a reload.
            let setup = self.setup.load_full();
            let Some((exchange, keeper)) = keeper(&setup) else { return false };
            let remote = self.remote(exchange, keeper);
            registration.id = remote.id();
            let question = Question::Register(registration.clone());
            let outcome = remote.ask(question, Lane::Registrations, Instant::now() + PATIENCE).await;
            self.counts.is_now(&remote.member.name, remote.state());
            let name = match &outcome {
                Ok(Answer::Accepted { .. }) => "accepted",
                Ok(_) | Err(Failure::BadAnswer) => "bad-answer",
                Err(Failure::Timeout) => "timeout",
                Err(Failure::Unreachable) => "unreachable",
                Err(Failure::Refused) => "refused",
                Err(Failure::Fault(fault)) => fault.name(),
            };
            self.counts.add(What::Asked, &remote.member.name, "register", name);
            match outcome {
                Ok(Answer::Accepted { .. }) => return true,
                // It would be refused again.
                Err(Failure::Fault(_)) => return false,
                _ => sleep(PAUSE).await,
            }
        }
        false
    }
}

/// The trunk that a call came by; none where a customer told of it by HTTP.
fn trunk(setup: &Setup, call: &Call) -> String {
    let trunk = setup.policy.trunks.get(usize::from(call.trunk.0));
    trunk.map_or("http", |trunk| &trunk.name).to_owned()
}

fn keeper(setup: &Setup) -> Option<(&Exchange, exchange::MemberId)> {
    let exchange = setup.exchange.as_ref()?;
    Some((exchange, exchange.register_at?))
}

/// What there is to register of a call: nothing where another operator answers for it, two by tokens near midnight.
fn registrations(setup: &Setup, call: &Call) -> Vec<Registration> {
    let redirecting = call.redirecting.number();
    let answering = redirecting.or(call.calling.number());
    let parts = keeper(setup).zip(call.calling.number()).zip(call.called.number()).zip(answering);
    let Some(((((exchange, _), calling), called), answering)) = parts else { return Vec::new() };
    if exchange.holder(&setup.policy, answering, now_ms()) != Some(Holder::Us) {
        return Vec::new();
    }
    let token_key = exchange.token_key.as_ref();
    let days = if token_key.is_some() { days_around(call.time_ms) } else { 0..=0 };
    let of_day = |day| {
        let wire = |number| on_the_wire(token_key, number, day);
        Registration {
            id: String::new(),
            role: Role::Originating,
            calling: wire(calling),
            presentation: call.presentation.number().filter(|&shown| shown != calling).map(wire),
            called: wire(called),
            redirecting: redirecting.map(wire),
            time_ms: call.time_ms,
            trunk: trunk(setup, call),
            ttl_s: exchange.ttl_s,
        }
    };
    days.map(of_day).collect()
}
