//! Which mode each rule is in on a trunk.

use std::fmt;

use call::{Mode, Rule};

/// The mode of every rule on one trunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Modes([Mode; Rule::ALL.len()]);

impl Default for Modes {
    fn default() -> Modes {
        let mut modes = Modes([Mode::Catalogue; Rule::ALL.len()]);
        // A score is a reason to look: it stops no call before somebody who looked says so.
        modes.0[Rule::R18 as usize] = Mode::Monitor;
        modes
    }
}

/// Why a rule cannot be set so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ModeError {
    NoSuchRule(String),
    NoSuchMode(String),
    NotForRule(Rule, Mode),
}

impl Modes {
    /// `r08` and `Rule::R08` alike: an index into an array.
    #[inline]
    pub fn of(&self, rule: Rule) -> Mode {
        self.0[rule as usize]
    }

    /// Sets one rule, or `all` that can do harm to a call and can be in the mode: what lets calls pass stays.
    pub fn set(&mut self, rule: &str, mode: &str) -> Result<(), ModeError> {
        let mode = parse_mode(mode)?;
        if rule.eq_ignore_ascii_case("all") {
            for rule in Rule::ALL.into_iter().filter(|&rule| does_harm(rule) && allows(rule, mode)) {
                self.0[rule as usize] = mode;
            }
            return Ok(());
        }
        let rule =
            Rule::from_id(&rule.to_ascii_uppercase()).ok_or_else(|| ModeError::NoSuchRule(rule.into()))?;
        if !allows(rule, mode) {
            return Err(ModeError::NotForRule(rule, mode));
        }
        self.0[rule as usize] = mode;
        Ok(())
    }
}

fn parse_mode(text: &str) -> Result<Mode, ModeError> {
    match text {
        "catalogue" => Ok(Mode::Catalogue),
        "off" => Ok(Mode::Off),
        "monitor" => Ok(Mode::Monitor),
        "mark" => Ok(Mode::Mark),
        "withhold" => Ok(Mode::Withhold),
        "block" => Ok(Mode::Block),
        _ => Err(ModeError::NoSuchMode(text.into())),
    }
}

/// Emergency calls always pass and the last rule always answers; a rule that lets calls through cannot block.
fn allows(rule: Rule, mode: Mode) -> bool {
    match rule {
        Rule::R00 | Rule::R20 => false,
        _ if mode == Mode::Catalogue => true,
        Rule::R01 | Rule::Allow | Rule::R10 | Rule::R15 | Rule::R19 => {
            matches!(mode, Mode::Off | Mode::Monitor)
        }
        Rule::R12 => true,
        _ => mode != Mode::Mark,
    }
}

fn does_harm(rule: Rule) -> bool {
    !matches!(rule, Rule::R00 | Rule::R01 | Rule::Allow | Rule::R10 | Rule::R15 | Rule::R20)
}

impl fmt::Display for ModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModeError::NoSuchRule(text) => write!(f, "no rule \"{text}\": R01 to R19, ALLOW, or all"),
            ModeError::NoSuchMode(text) => {
                write!(f, "no mode \"{text}\": catalogue, off, monitor, withhold or block (R12 also mark)")
            }
            ModeError::NotForRule(rule @ Rule::R00, _) => {
                write!(f, "{} always passes emergency calls: it has no mode", rule.id())
            }
            ModeError::NotForRule(rule @ Rule::R20, _) => {
                write!(f, "{} answers what no other rule does: it has no mode", rule.id())
            }
            ModeError::NotForRule(rule, mode) if *mode == Mode::Mark => {
                write!(f, "{} cannot be in mode mark: only R12 can", rule.id())
            }
            ModeError::NotForRule(rule, mode) => {
                write!(f, "{} lets calls pass: it can be off or monitor, not {}", rule.id(), mode.name())
            }
        }
    }
}

impl std::error::Error for ModeError {}
