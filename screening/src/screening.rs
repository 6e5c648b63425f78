//! The way of one call to its verdict.

use call::{Answer, Call, Question, Verdict};
use rules::{Judgement, judge};

use crate::Policy;
use crate::explain::{Observation, observe};
use crate::facts::LocalFacts;

/// Judges a call by what this node knows. A question that another operator would have to answer counts as
/// unknown, so this always gives a verdict; [`Screening`] asks.
#[inline]
pub fn screen(policy: &Policy, call: &Call) -> Verdict {
    let mut facts = LocalFacts::new(policy, call);
    facts.answers.closed = true;
    match judge(call, &facts, &facts.trunk.modes) {
        Judgement::Verdict(verdict) => verdict,
        Judgement::Ask(_) => unreachable!("no question is open once time is up"),
    }
}

/// One call that may need answers of other operators.
///
/// Call [`poll_question`](Screening::poll_question) until it gives none, hand over what comes back, and ask
/// for the [`verdict`](Screening::verdict) after each; at [`poll_timeout`](Screening::poll_timeout) call
/// [`handle_timeout`](Screening::handle_timeout), and the verdict is there.
pub struct Screening<'p> {
    facts: LocalFacts<'p>,
    call: Call,
    deadline_ms: Option<i64>,
    verdict: Option<Verdict>,
    next: Option<Question>,
}

impl<'p> Screening<'p> {
    pub fn start(policy: &'p Policy, call: Call, now_ms: i64) -> Screening<'p> {
        let facts = LocalFacts::new(policy, &call);
        let deadline_ms = policy.exchange.map(|exchange| now_ms + exchange.deadline_ms);
        let mut screening = Screening { facts, call, deadline_ms, verdict: None, next: None };
        screening.judge();
        screening
    }

    /// A call that nobody is asked about: it has its verdict at once.
    pub fn closed(policy: &'p Policy, call: Call) -> Screening<'p> {
        let mut screening = Screening {
            facts: LocalFacts::new(policy, &call),
            call,
            deadline_ms: None,
            verdict: None,
            next: None,
        };
        screening.close();
        screening
    }

    /// Time is up, or nobody can be asked: what was not answered is unknown, and the verdict is there.
    pub fn close(&mut self) -> Verdict {
        self.facts.answers.closed = true;
        self.judge();
        self.verdict.expect("no question is open once time is up")
    }

    /// The verdict, and what it stood on: every fact its rules asked for, in the order they asked. Caps count the
    /// call once, however often it is judged.
    pub fn explain(&mut self) -> (Verdict, Vec<Observation>) {
        let verdict = self.close();
        (verdict, observe(&self.facts, &self.call))
    }

    /// The next question to ask, each once.
    pub fn poll_question(&mut self) -> Option<Question> {
        self.next.take()
    }

    /// Takes the answer about a number. What nobody asked is ignored.
    pub fn handle_answer(&mut self, about: numbering::Number, answer: Answer) {
        fn put<T>(place: &mut [Option<T>; 2], value: T) {
            if let Some(free) = place.iter_mut().find(|slot| slot.is_none()) {
                *free = Some(value);
            }
        }
        match answer {
            Answer::Roaming(fact) => put(&mut self.facts.answers.roaming, (about, fact)),
            Answer::Initiation(fact) => put(&mut self.facts.answers.initiation, (about, fact)),
        }
        self.judge();
    }

    /// When [`handle_timeout`](Screening::handle_timeout) is due; none once there is a verdict.
    pub fn poll_timeout(&self) -> Option<i64> {
        self.deadline_ms.filter(|_| self.verdict.is_none())
    }

    pub fn handle_timeout(&mut self, now_ms: i64) {
        if self.poll_timeout().is_some_and(|deadline| now_ms >= deadline) {
            self.close();
        }
    }

    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    fn judge(&mut self) {
        if self.verdict.is_some() {
            return;
        }
        match judge(&self.call, &self.facts, &self.facts.trunk.modes) {
            Judgement::Verdict(verdict) => self.verdict = Some(verdict),
            Judgement::Ask(question) => self.next = Some(question),
        }
    }
}
