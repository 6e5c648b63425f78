//! The rule catalogue. [`judge`] turns a call and the facts about it into a verdict, and nothing else does.
//!
//! Judging is pure: the same call and facts give the same verdict. Facts are asked for as rules need them,
//! through [`Facts`], so an ordinary call costs a handful of look-ups. The words that explain a verdict to
//! people are in [`words`].

mod catalogue;
mod modes;
mod words;

pub use catalogue::{Facts, Judgement, Listed, judge};
pub use modes::{ModeError, Modes};
pub use words::{Language, reason_in_words, rule_title, word};

/// The version of the catalogue: raised whenever the same call and facts would give another verdict.
pub const CATALOGUE_VERSION: u32 = 1;
