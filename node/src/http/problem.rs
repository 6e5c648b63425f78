//! What a request that gets no verdict is told: RFC 9457, one stable `type` for each kind of problem.

use serde::Serialize;
use utoipa::ToSchema;

/// A kind of problem. Names are part of the contract and explained in docs/http.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    InvalidJson,
    InvalidCall,
    NoKey,
    WrongKey,
    ExpiredKey,
    TrunkNotKnown,
    NotConfigured,
    NotFound,
    MethodNotAllowed,
    BodyTooSlow,
    BodyTooLong,
    UnsupportedMediaType,
    Stumble,
    TooManyConnections,
    Stopping,
    NoIdempotencyKey,
    InvalidRequest,
    InsufficientScope,
    WrongState,
    NoOpenCode,
    WrongCode,
    KeyReused,
    TooManyCodes,
    StoreAway,
    OperatorAway,
    PhoneNotServed,
    LinkNotKnown,
    LinkUsed,
    NoSession,
    TooManyRequests,
    NoFaceSession,
    PictureRefused,
    FacesBusy,
    NotAllowed,
    BadRows,
}

impl Kind {
    pub const ALL: [Kind; 35] = [
        Kind::InvalidJson,
        Kind::InvalidCall,
        Kind::NoKey,
        Kind::WrongKey,
        Kind::ExpiredKey,
        Kind::TrunkNotKnown,
        Kind::NotConfigured,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::BodyTooSlow,
        Kind::BodyTooLong,
        Kind::UnsupportedMediaType,
        Kind::Stumble,
        Kind::TooManyConnections,
        Kind::Stopping,
        Kind::NoIdempotencyKey,
        Kind::InvalidRequest,
        Kind::InsufficientScope,
        Kind::WrongState,
        Kind::NoOpenCode,
        Kind::WrongCode,
        Kind::KeyReused,
        Kind::TooManyCodes,
        Kind::StoreAway,
        Kind::OperatorAway,
        Kind::PhoneNotServed,
        Kind::LinkNotKnown,
        Kind::LinkUsed,
        Kind::NoSession,
        Kind::TooManyRequests,
        Kind::NoFaceSession,
        Kind::PictureRefused,
        Kind::FacesBusy,
        Kind::NotAllowed,
        Kind::BadRows,
    ];

    /// Status code (RFC 9110), the last part of `type`, and title.
    fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Kind::InvalidJson => (400, "invalid-json", "The body is not JSON"),
            Kind::InvalidCall => (422, "invalid-call", "The body is not a call or calls"),
            Kind::NoKey => (401, "no-key", "A key is needed"),
            Kind::WrongKey => (401, "wrong-key", "The key is not known"),
            Kind::ExpiredKey => (401, "expired-key", "The key has expired"),
            Kind::TrunkNotKnown => (403, "trunk-not-known", "No such trunk for this asker"),
            Kind::NotConfigured => (403, "not-configured", "This node does not do this"),
            Kind::NotFound => (404, "not-found", "Nothing is here"),
            Kind::MethodNotAllowed => (405, "method-not-allowed", "Not with this method"),
            Kind::BodyTooSlow => (408, "body-too-slow", "The body did not come in time"),
            Kind::BodyTooLong => (413, "body-too-long", "The body is too long"),
            Kind::UnsupportedMediaType => (415, "unsupported-media-type", "The body is of another type"),
            Kind::Stumble => (500, "stumble", "The node failed on this request"),
            Kind::TooManyConnections => (503, "too-many-connections", "Too many connections"),
            Kind::Stopping => (503, "stopping", "The node is stopping"),
            Kind::NoIdempotencyKey => (400, "no-idempotency-key", "An Idempotency-Key is needed"),
            Kind::InvalidRequest => (422, "invalid-request", "The body is not what is asked for here"),
            Kind::InsufficientScope => (403, "insufficient-scope", "The token is not for this"),
            Kind::WrongState => (409, "wrong-state", "Not in this state of the application"),
            Kind::NoOpenCode => (409, "no-open-code", "No one-time code is open"),
            Kind::WrongCode => (422, "wrong-code", "The one-time code is wrong"),
            Kind::KeyReused => (422, "idempotency-key-reused", "The Idempotency-Key was another request's"),
            Kind::TooManyCodes => (429, "too-many-codes", "Too many one-time codes"),
            Kind::StoreAway => (503, "store-away", "The store does not answer"),
            Kind::OperatorAway => (503, "operator-away", "The operator does not answer"),
            Kind::PhoneNotServed => (422, "phone-not-served", "The operator sends nothing to this phone"),
            Kind::LinkNotKnown => (404, "link-not-known", "The link is not known or its time is over"),
            Kind::LinkUsed => (409, "link-used", "The link was used before"),
            Kind::NoSession => (401, "no-session", "The session is over"),
            Kind::TooManyRequests => (429, "too-many-requests", "Too many requests"),
            Kind::NoFaceSession => (409, "no-face-session", "No such session at the camera"),
            Kind::PictureRefused => (409, "picture-refused", "The picture is not taken"),
            Kind::NotAllowed => (403, "not-allowed", "Not for this client"),
            Kind::BadRows => (422, "bad-rows", "Rows of the file are at fault"),
            Kind::FacesBusy => (503, "faces-busy", "Faces cannot be judged now"),
        }
    }

    pub fn status(self) -> u16 {
        self.facts().0
    }

    pub fn name(self) -> &'static str {
        self.facts().1
    }
}

/// A problem and what was wrong, where, and how to mend it. No detail holds a number in full.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    /// Of a file: each of them.
    pub faults: Vec<String>,
}

/// The body of an answer without a verdict (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'p> {
    /// The kind of problem: `urn:qalqan:problem:` and a name that stays.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    /// The same as the answer's status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was wrong, where, and how to mend it.
    detail: &'p str,
    /// Of a file: each fault with its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    faults: Option<&'p [String]>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), faults: Vec::new() }
    }

    pub fn to_json(&self) -> Vec<u8> {
        let (status, name, title) = self.kind.facts();
        let kind = format!("urn:qalqan:problem:{name}");
        let faults = Some(self.faults.as_slice()).filter(|faults| !faults.is_empty());
        serde_json::to_vec(&ProblemBody { kind, title, status, detail: &self.detail, faults })
            .expect("plain values")
    }
}

/// A parser's words without what may be somebody's number: of five digits in a row and more none is left.
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().take(300).chain(['\0']) {
        if c.is_numeric() {
            digits.push(c);
            continue;
        }
        match digits.len() {
            0..=4 => out.push_str(&digits),
            _ => out.push_str("****"),
        }
        digits.clear();
        out.push(c);
    }
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_left_in_a_parsers_words() {
        assert_eq!(masked("invalid type: string \"+77272501234\""), "invalid type: string \"+****\"");
        assert_eq!(masked("at line 1 column 2024"), "at line 1 column 2024");
        assert_eq!(masked("٧٧٢٧٢٥٠١٢٣٤"), "****");
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::ALL.iter().filter(|other| other.name() == kind.name()).count(), 1);
            assert!((400..600).contains(&kind.status()));
        }
    }
}
