//! The words of call screening. A [`Call`] comes in, [`Fact`]s are observed, a [`Verdict`] is decided.
//!
//! Plain values without behaviour of their own: rules, journal, screening and the wire all speak them.

mod event;
mod fact;
mod rule;
mod verdict;

pub use event::{Call, TrunkClass, TrunkId};
pub use fact::{Answer, Behaviour, Fact, Initiation, Question, Roaming, Signature, Unknown};
pub use rule::{Mode, Rule, RuleSet};
pub use verdict::{Decided, Label, Reason, Treatment, Verdict, Would};
