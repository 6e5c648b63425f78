//! The living face. No engine is built in yet: where the gate is required it waits, and says so; else it is not asked.

use crate::gate::{Answer, Answered, Circumstances, Gate, Reason};

pub fn ask(around: &Circumstances) -> Answered {
    let answer = if around.asked.living_face { Answer::Wait } else { Answer::NotAsked };
    Answered { gate: Gate::LivingFace, answer, reason: Reason::NotConfigured, until_ms: None }
}
