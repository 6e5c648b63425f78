//! The law of the country, held against every verdict.
//!
//! A checker knows what each call truly is and what its story's row allows. It counts all calls and keeps
//! those judged against the law, each with the seed and the number that bring it back.

use call::{Rule, Treatment, Verdict};

use crate::event::Event;
use crate::report::{Report, Tally, Violation};
use crate::stories::{STORIES, Story};

/// How a verdict breaks the law.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Breach {
    /// An honest call was refused.
    HonestCut,
    /// An honest call was treated in another way than its row says.
    HonestTreatedOtherwise,
    /// An attack got through more mildly than its row says.
    AttackPassed,
    /// A call was refused in the name of a subscriber who never asked for that.
    RefusedUnasked,
    /// A call from abroad reached a subscriber who asked for none.
    OptOutIgnored,
}

/// Violations kept in full; the rest is counted.
const KEPT: usize = 50;

pub struct Checker {
    seed: u64,
    calls: u64,
    from_ms: i64,
    to_ms: i64,
    tallies: Vec<Tally>,
    kept: Vec<Violation>,
}

impl Checker {
    pub fn new(seed: u64) -> Checker {
        let tallies = vec![Tally::default(); STORIES.len()];
        Checker { seed, calls: 0, from_ms: 0, to_ms: 0, tallies, kept: Vec::new() }
    }

    /// Takes a call and what was decided about it; calls come in the order of the traffic.
    pub fn observe(&mut self, event: &Event, verdict: &Verdict) {
        self.calls += 1;
        if self.calls == 1 {
            self.from_ms = event.time_ms;
        }
        self.to_ms = event.time_ms;
        let tally = &mut self.tallies[event.truth.story as usize];
        if is_as_asked(event, verdict) {
            tally.as_asked += 1;
            return;
        }
        tally.treated[usize::from(verdict.treatment.code())] += 1;
        if let Some(breach) = breach(event, verdict) {
            tally.violations += 1;
            if self.kept.len() < KEPT {
                let event = event.to_string();
                self.kept.push(Violation {
                    seed: self.seed,
                    call: self.calls,
                    breach,
                    verdict: *verdict,
                    event,
                });
            }
        }
    }

    pub fn report(&self) -> Report {
        Report {
            seed: self.seed,
            calls: self.calls,
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            tallies: self.tallies.clone(),
            violations: self.kept.clone(),
        }
    }
}

/// Refused because the called subscriber wants no calls from abroad.
fn is_as_asked(event: &Event, verdict: &Verdict) -> bool {
    verdict.rule == Rule::R16 && verdict.treatment == Treatment::Block && event.truth.opted_out
}

fn breach(event: &Event, verdict: &Verdict) -> Option<Breach> {
    let story = event.truth.story;
    if verdict.rule == Rule::R16 && verdict.treatment == Treatment::Block {
        return Some(Breach::RefusedUnasked);
    }
    if story == Story::OptedOut {
        return Some(if verdict.treatment == Treatment::Block {
            Breach::HonestCut
        } else {
            Breach::OptOutIgnored
        });
    }
    if story.allows(verdict.treatment) {
        return None;
    }
    Some(match (event.truth.honest, verdict.treatment) {
        (true, Treatment::Block) => Breach::HonestCut,
        (true, _) => Breach::HonestTreatedOtherwise,
        (false, _) => Breach::AttackPassed,
    })
}
