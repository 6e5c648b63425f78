//! What a session came to: one living person who did what he was asked, and is the one of the reference photo.

use serde::{Deserialize, Serialize};

use crate::{Command, Embedding, Outcome, Seen, Step};

/// Where lines are drawn; measured in docs/face.md.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Thresholds {
    /// How much two pictures of one person have in common at least, -1 to 1.
    pub same: f32,
    /// The same between frames of one session, where light and camera are one.
    pub steady: f32,
    /// By passive anti-spoofing, the median of a session.
    pub alive: f32,
    /// Degrees beyond rest. A photo on paper turned by hand reached 19 (docs/face.md).
    pub turn: f32,
    pub tilt: f32,
    /// Eyes count as closed below, as open above.
    pub closed: f32,
    pub open: f32,
    /// More smile than at rest.
    pub smile: f32,
    /// As many times the size at rest.
    pub closer: f32,
    /// Frames for each step at least.
    pub frames: usize,
    /// Commands at least.
    pub commands: usize,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            same: 0.45,
            steady: 0.35,
            alive: 0.5,
            turn: 20.0,
            tilt: 12.0,
            closed: 0.35,
            open: 0.65,
            smile: 0.2,
            closer: 1.2,
            frames: 3,
            commands: 3,
        }
    }
}

/// What a session came to, and by what figures.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judgement {
    pub outcome: Outcome,
    /// With the reference, the median over frames; 0 where it came to no comparison.
    pub similarity: f32,
    /// The median of passive anti-spoofing.
    pub alive: f32,
    /// The first command that was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<Command>,
    /// The first frame, from 0 over all steps, that shows another person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<usize>,
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The face as it is held when nothing is asked.
struct Rest {
    yaw: f32,
    roll: f32,
    smile: f32,
    size: f32,
}

impl Rest {
    fn of(rest: &[Seen]) -> Rest {
        let middle = |of: fn(&Seen) -> f32| median(rest.iter().map(of).collect());
        Rest {
            yaw: middle(|seen| seen.yaw),
            roll: middle(|seen| seen.roll),
            smile: middle(|seen| seen.smile),
            size: middle(|seen| seen.size),
        }
    }
}

/// Whether a command was done in the frames since it was shown. A face already held so at rest has not moved, and one that turns
/// or tilts the other way too did not listen.
pub fn is_done(thresholds: &Thresholds, command: Command, rest: &[Seen], during: &[(u32, Seen)]) -> bool {
    let at_rest = Rest::of(rest);
    let most = |of: &dyn Fn(&Seen) -> f32| during.iter().map(|(_, seen)| of(seen)).fold(f32::MIN, f32::max);
    let moved = |of: &dyn Fn(&Seen) -> f32, by: f32| most(of) >= by && most(&|seen| -of(seen)) < by;
    // Of a face held askew the box grows, the mouth widens and lids seem to fall: none of that was asked for.
    let is_straight = |seen: &Seen| {
        (seen.yaw - at_rest.yaw).abs() < thresholds.turn && (seen.roll - at_rest.roll).abs() < thresholds.tilt
    };
    let most_straight = |of: &dyn Fn(&Seen) -> f32| {
        during.iter().filter(|(_, seen)| is_straight(seen)).map(|(_, seen)| of(seen)).fold(f32::MIN, f32::max)
    };
    match command {
        _ if rest.is_empty() || during.is_empty() => false,
        Command::TurnLeft => moved(&|seen| seen.yaw - at_rest.yaw, thresholds.turn),
        Command::TurnRight => moved(&|seen| at_rest.yaw - seen.yaw, thresholds.turn),
        Command::TiltLeft => moved(&|seen| seen.roll - at_rest.roll, thresholds.tilt),
        Command::TiltRight => moved(&|seen| at_rest.roll - seen.roll, thresholds.tilt),
        // Open, closed, open again: a picture with closed eyes does not blink.
        Command::Blink => {
            let is_closed = |seen: &Seen| is_straight(seen) && seen.eyes_open <= thresholds.closed;
            let closed = during.iter().position(|(_, seen)| is_closed(seen));
            let is_open = |(_, seen): &(u32, Seen)| seen.eyes_open >= thresholds.open;
            let was_open = rest.iter().any(|seen| seen.eyes_open >= thresholds.open);
            closed.is_some_and(|at| {
                (was_open || during[..at].iter().any(is_open)) && during[at..].iter().any(is_open)
            })
        }
        Command::Smile => most_straight(&|seen| seen.smile - at_rest.smile) >= thresholds.smile,
        Command::ComeCloser => most_straight(&|seen| seen.size / at_rest.size.max(0.01)) >= thresholds.closer,
    }
}

/// Judges a session; the first step has no command, and shows the face at rest.
pub fn judge(thresholds: &Thresholds, reference: &Embedding, steps: &[Step]) -> Judgement {
    let frames: Vec<&Seen> = steps.iter().flat_map(|step| step.frames.iter().map(|(_, seen)| seen)).collect();
    let alive = median(frames.iter().map(|seen| seen.alive).collect());
    let mut judgement =
        Judgement { outcome: Outcome::TooLittle, similarity: 0.0, alive, missed: None, changed_at: None };
    let Some((first, asked)) = steps.split_first() else { return judgement };
    let is_enough = |step: &Step| step.frames.len() >= thresholds.frames;
    if first.command.is_some() || asked.len() < thresholds.commands || !steps.iter().all(is_enough) {
        return judgement;
    }
    let rest: Vec<Seen> = first.frames.iter().map(|(_, seen)| seen.clone()).collect();
    // Against all before it: a slow change from one person to another has to pass each of them.
    let is_other = |n: usize| {
        let before =
            median(frames[..n].iter().map(|seen| seen.embedding.similarity(&frames[n].embedding)).collect());
        n > 0 && before < thresholds.steady
    };
    judgement.changed_at = (0..frames.len()).find(|n| is_other(*n));
    judgement.similarity = median(frames.iter().map(|seen| seen.embedding.similarity(reference)).collect());
    let done =
        |step: &&Step| step.command.is_some_and(|command| is_done(thresholds, command, &rest, &step.frames));
    let missed = asked.iter().find(|step| !done(step));
    judgement.missed = missed.and_then(|step| step.command);
    judgement.outcome = if judgement.changed_at.is_some() {
        Outcome::Changed
    } else if missed.is_some() {
        Outcome::CommandMissed
    } else if alive < thresholds.alive {
        Outcome::NotAlive
    } else if judgement.similarity < thresholds.same {
        Outcome::NotTheSame
    } else {
        Outcome::Matched
    };
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(of: usize) -> Embedding {
        let mut values = vec![0.0; 512];
        values[of] = 1.0;
        Embedding::of(values)
    }

    fn seen() -> Seen {
        Seen {
            yaw: 2.0,
            pitch: 0.0,
            roll: -1.0,
            eyes_open: 0.9,
            smile: 0.1,
            size: 0.3,
            alive: 0.9,
            embedding: embedding(0),
        }
    }

    fn step(command: Option<Command>, change: impl Fn(&mut Seen)) -> Step {
        let frames = (0..6u32).map(|n| {
            let mut frame = seen();
            if (2..4).contains(&n) {
                change(&mut frame);
            }
            (200 * n, frame)
        });
        Step { command, frames: frames.collect() }
    }

    fn session() -> Vec<Step> {
        vec![
            step(None, |_| {}),
            step(Some(Command::TurnLeft), |seen| seen.yaw = 25.0),
            step(Some(Command::Blink), |seen| seen.eyes_open = 0.05),
            step(Some(Command::ComeCloser), |seen| seen.size = 0.4),
        ]
    }

    fn outcome(steps: &[Step]) -> Outcome {
        judge(&Thresholds::default(), &embedding(0), steps).outcome
    }

    #[test]
    fn one_living_person_who_listens_passes() {
        let judgement = judge(&Thresholds::default(), &embedding(0), &session());
        assert_eq!(judgement.outcome, Outcome::Matched);
        assert_eq!((judgement.missed, judgement.changed_at, judgement.similarity), (None, None, 1.0));
        assert_eq!(judge(&Thresholds::default(), &embedding(1), &session()).outcome, Outcome::NotTheSame);
    }

    #[test]
    fn who_does_not_move_or_moves_otherwise_does_not() {
        let mut still = session();
        still[1] = step(Some(Command::TurnLeft), |_| {});
        assert_eq!(judge(&Thresholds::default(), &embedding(0), &still).missed, Some(Command::TurnLeft));
        let mut other = session();
        other[1] = step(Some(Command::TurnLeft), |seen| seen.yaw = -25.0);
        assert_eq!(outcome(&other), Outcome::CommandMissed);
        // A loop of every motion turns both ways in one window.
        let mut looped = session();
        looped[1] = step(Some(Command::TurnLeft), |seen| seen.yaw = 25.0);
        looped[1].frames[5].1.yaw = -25.0;
        assert_eq!(outcome(&looped), Outcome::CommandMissed);
        let mut asleep = session();
        asleep.iter_mut().flat_map(|step| &mut step.frames).for_each(|(_, seen)| seen.eyes_open = 0.05);
        assert_eq!(outcome(&asleep), Outcome::CommandMissed);
    }

    #[test]
    fn another_person_after_frame_ten_is_seen() {
        let mut steps = session();
        steps
            .iter_mut()
            .flat_map(|step| &mut step.frames)
            .skip(10)
            .for_each(|(_, seen)| seen.embedding = embedding(7));
        let judgement = judge(&Thresholds::default(), &embedding(0), &steps);
        assert_eq!((judgement.outcome, judgement.changed_at), (Outcome::Changed, Some(10)));
    }

    #[test]
    fn a_picture_of_a_picture_is_not_alive_and_too_little_is_too_little() {
        let mut steps = session();
        steps.iter_mut().flat_map(|step| &mut step.frames).for_each(|(_, seen)| seen.alive = 0.1);
        assert_eq!(outcome(&steps), Outcome::NotAlive);
        assert_eq!(outcome(&session()[..3]), Outcome::TooLittle);
        assert_eq!(outcome(&session()[1..]), Outcome::TooLittle);
        let mut few = session();
        few[2].frames.truncate(2);
        assert_eq!(outcome(&few), Outcome::TooLittle);
        assert_eq!(outcome(&[]), Outcome::TooLittle);
    }
}
