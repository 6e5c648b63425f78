//! Where roaming answers come from: the operator's own sources, asked while a call is set up. docs/roaming.md.
//!
//! A [`Source`] is asked of one number and says a [`Whereabouts`], always, and within the deadline: what went wrong is
//! an unknown with its reason. [`hlr`] asks an Osmocom HLR over its control interface, [`camara`] whoever offers the
//! CAMARA Device Roaming Status API; [`camara_server`] is the same API the other way round, and [`feed`] remembers
//! location updates that somebody sends here. All of it lives on one thread: call it within a `LocalSet`.

pub mod camara;
pub mod camara_server;
pub mod control;
pub mod counts;
pub mod feed;
pub mod hlr;
pub mod mcc;
pub mod networks;

use std::time::Duration;

use exchange::{Method, Status, WhyUnknown};
use numbering::Number;

/// What a source says of a subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Whereabouts {
    pub status: Status,
    /// Of [`Status::Unknown`]: why.
    pub reason: Option<WhyUnknown>,
    /// ISO 3166-1 alpha-2 code of the country visited, in ASCII, where the source can tell.
    pub visited: Option<[u8; 2]>,
    pub method: Method,
    /// When the source learnt it, milliseconds since 1970-01-01 UTC. None: it says what holds as it answers.
    pub known_ms: Option<i64>,
}

impl Whereabouts {
    pub fn unknown(method: Method, reason: WhyUnknown) -> Whereabouts {
        Whereabouts { reason: Some(reason), ..Whereabouts::new(method, Status::Unknown) }
    }

    pub(crate) fn new(method: Method, status: Status) -> Whereabouts {
        Whereabouts { status, reason: None, visited: None, method, known_ms: None }
    }
}

/// Whom we ask.
pub enum Source {
    Hlr(hlr::Hlr),
    Camara(Box<camara::Camara>),
}

impl Source {
    /// Asks of one number. Never longer than the deadline, never an error: a failure is unknown, with its reason.
    pub async fn ask(&self, number: Number, now_ms: i64, deadline: Duration) -> Whereabouts {
        match self {
            Source::Hlr(hlr) => hlr.ask(number, deadline).await,
            Source::Camara(camara) => camara.ask(number, now_ms, deadline).await,
        }
    }

    /// How counters and settings name it.
    pub fn name(&self) -> &'static str {
        match self {
            Source::Hlr(_) => "hlr",
            Source::Camara(_) => "camara",
        }
    }

    /// The last thing that went wrong, in words for an operator; it may be long past.
    pub fn last_fault(&self) -> Option<String> {
        match self {
            Source::Hlr(hlr) => hlr.last_fault(),
            Source::Camara(camara) => camara.last_fault(),
        }
    }
}

/// Reads a country as settings and feeds name it: two capital letters.
pub fn country(text: &str) -> Option<[u8; 2]> {
    let code: [u8; 2] = text.as_bytes().try_into().ok()?;
    code.iter().all(u8::is_ascii_uppercase).then_some(code)
}
