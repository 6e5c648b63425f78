//! Questions between operators in the time of a call set-up, without sockets: `now` is an argument.
//!
//! A [`Letter`] carries up to 256 questions to a member, another the answers back in the same order; each is a signed
//! JWS ([`Signer`], [`Verifier`]) and taken once ([`Seen`]). [`Calls`] holds the calls of one's own customers for the
//! time in which others may ask about them, [`Directory`] says who holds a number, [`Breaker`] and [`RateLimit`] keep a
//! member that is ill or greedy from costing anybody else, [`RoamingCache`] remembers answers, and [`Scorecard`] counts
//! what each neighbour handed over. The protocol as another vendor needs it: docs/exchange.md.

mod cache;
mod calls;
mod directory;
mod envelope;
mod health;
mod message;
mod scorecard;
mod token;

pub use cache::{Cached, RoamingCache};
pub use calls::{CallKey, Calls};
pub use directory::{Directory, Holder, MemberId};
pub use envelope::{Refused, Seen, Signer, Verifier, open_letter};
pub use health::{Breaker, BreakerLimits, BreakerState, RateLimit};
pub use message::{
    Answer, Capabilities, Check, Fault, IngressClass, Initiated, Letter, MOST_ITEMS, Method, Question,
    Registration, RoamingCheck, Role, Status, VERSION, WhyUnknown, WireNumber,
};
pub use scorecard::{Advice, Scorecard, Tally, Thresholds};
pub use token::{TokenKey, day, days_around};
