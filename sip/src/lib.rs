//! SIP (RFC 3261) on the wire, as far as a server that answers requests needs it.
//!
//! [`Parser::parse`] finds the spans of one message in place: no copy, and after the first messages no
//! allocation. What a span means is read when it is asked for: [`Address`], [`Via`], [`diverted_from`]. [`Answer`]
//! writes a response into a buffer. Nothing here knows of fraud, sockets or time.

mod address;
mod answer;
mod fault;
mod find;
mod forward;
mod frame;
mod history;
mod message;
mod via;

pub use address::{Address, Scheme, each_value, unescape};
pub use answer::{Answer, Text, push_address, stretch};
pub use forward::{Forward, FromField, Next, hop_count, pass_back};
pub use frame::{Frame, LARGEST, Unframed, frame};
pub use history::diverted_from;
pub use message::{Broken, Header, Method, Name, Parser, Request, Response};
pub use via::Via;
