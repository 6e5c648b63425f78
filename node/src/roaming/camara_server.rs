//! CAMARA Device Roaming Status 1.1, `POST /retrieve`, as its server: bodies in, bodies out.
//!
//! Whoever mounts it authenticates the asker first, sends the request's `x-correlator` back, and asks a source between
//! [`parse`] and [`respond`]. Only phone numbers are looked up; other ways of naming a device are checked and refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use exchange::Status;
use jiff::Timestamp;
use numbering::Number;
use serde_json::{Map, Value, json};

use super::{Whereabouts, mcc};

/// Who is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    pub number: Number,
    /// The request named the device in several ways, so the answer says which one was taken.
    pub is_one_of_several: bool,
}

/// What the API says instead of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CamaraError {
    /// HTTP status.
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl CamaraError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> CamaraError {
        CamaraError { status, code, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> CamaraError {
        CamaraError::new(400, "INVALID_ARGUMENT", message)
    }

    fn not_found() -> CamaraError {
        CamaraError::new(404, "IDENTIFIER_NOT_FOUND", "No subscriber here has this phone number.")
    }

    /// The body, `ErrorInfo` in the API.
    pub fn to_json(&self) -> Vec<u8> {
        let CamaraError { status, code, message } = self;
        json!({"status": status, "code": code, "message": message}).to_string().into_bytes()
    }
}

/// Reads a request. `subject`: the number that the access token itself is about; None for a token that is about nobody
/// in particular, which then leaves it to the body.
pub fn parse(body: &[u8], subject: Option<Number>) -> Result<Asked, CamaraError> {
    let request: Value =
        serde_json::from_slice(body).map_err(|_| CamaraError::invalid("The body is not JSON."))?;
    let Value::Object(request) = request else {
        return Err(CamaraError::invalid("The body is not a JSON object."));
    };
    let device = match (request.get("device"), subject) {
        (None, Some(number)) => return Ok(Asked { number, is_one_of_several: false }),
        (None, None) => {
            return Err(CamaraError::new(
                422,
                "MISSING_IDENTIFIER",
                "Neither body nor token names a device.",
            ));
        }
        (Some(Value::Object(device)), _) if !device.is_empty() => device,
        (Some(_), _) => {
            return Err(CamaraError::invalid("device is not an object with at least one identifier."));
        }
    };
    // What is malformed is said first: a caller learns that whatever else is wrong.
    for (name, is_sound) in IDENTIFIERS {
        if device.get(name).is_some_and(|value| !is_sound(value)) {
            return Err(CamaraError::invalid(format!("device.{name} is malformed.")));
        }
    }
    if subject.is_some() {
        return Err(CamaraError::new(
            422,
            "UNNECESSARY_IDENTIFIER",
            "The access token already names the device: leave it out.",
        ));
    }
    let Some(phone) = device.get(PHONE).and_then(Value::as_str) else {
        return Err(CamaraError::new(
            422,
            "UNSUPPORTED_IDENTIFIER",
            "Devices are found here by phoneNumber alone.",
        ));
    };
    // The API admits numbers of five and six digits, which no subscriber has.
    let number = Number::parse(phone).map_err(|_| CamaraError::not_found())?;
    let identifiers = IDENTIFIERS.iter().filter(|(name, _)| device.contains_key(*name));
    Ok(Asked { number, is_one_of_several: identifiers.count() > 1 })
}

/// The status and body of the answer, `RoamingStatusResponse` or `ErrorInfo`.
pub fn respond(asked: &Asked, found: &Whereabouts, now_ms: i64) -> (u16, Vec<u8>) {
    let is_roaming = match found.status {
        Status::Roaming => true,
        Status::NotRoaming => false,
        Status::NotAssigned => return refuse(&CamaraError::not_found()),
        Status::Unknown => {
            let message = "It is not known at this moment where the device is.";
            return refuse(&CamaraError::new(503, "UNAVAILABLE", message));
        }
    };
    let mut answer = Map::new();
    if asked.is_one_of_several {
        answer.insert("device".to_owned(), json!({PHONE: asked.number.reveal().to_string()}));
    }
    let known_ms = found.known_ms.map_or(now_ms, |known_ms| known_ms.min(now_ms));
    let known = Timestamp::from_millisecond(known_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    answer.insert("lastStatusTime".to_owned(), format!("{known:.3}").into());
    answer.insert("roaming".to_owned(), is_roaming.into());
    if let Some(country) = found.visited.filter(|_| is_roaming) {
        if let Some(code) = mcc::code_of(country) {
            answer.insert("countryCode".to_owned(), code.into());
        }
        answer.insert("countryName".to_owned(), json!([String::from_utf8_lossy(&country)]));
    }
    (200, Value::Object(answer).to_string().into_bytes())
}

fn refuse(error: &CamaraError) -> (u16, Vec<u8>) {
    (error.status, error.to_json())
}

const PHONE: &str = "phoneNumber";

/// The ways to name a device, and what each has to look like.
const IDENTIFIERS: [(&str, IsSound); 4] = [
    (PHONE, |value| value.as_str().is_some_and(is_phone)),
    ("networkAccessIdentifier", Value::is_string),
    ("ipv4Address", is_ipv4),
    ("ipv6Address", |value| value.as_str().is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())),
];

type IsSound = fn(&Value) -> bool;

/// `^\+[1-9][0-9]{4,14}$`
fn is_phone(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (5..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

/// A public address, and a private one or a port with it.
fn is_ipv4(value: &Value) -> bool {
    let address = |name: &str| {
        value.get(name).map(|value| value.as_str().is_some_and(|text| text.parse::<Ipv4Addr>().is_ok()))
    };
    let port = value.get("publicPort").map(|port| port.as_u64().is_some_and(|port| port <= 65_535));
    let private = address("privateAddress");
    address("publicAddress") == Some(true)
        && private != Some(false)
        && port != Some(false)
        && (private.is_some() || port.is_some())
}

#[cfg(test)]
mod tests {
    use exchange::{Method, WhyUnknown};

    use super::*;

    const NOW_MS: i64 = 1_780_000_000_000;

    fn number() -> Number {
        Number::parse("+77011234567").unwrap()
    }

    fn fault(body: &str) -> (u16, &'static str) {
        let error = parse(body.as_bytes(), None).unwrap_err();
        let said: Value = serde_json::from_slice(&error.to_json()).unwrap();
        assert_eq!(said["status"], error.status);
        assert_eq!(said["code"], error.code);
        assert!(said["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert!(!said.to_string().contains("7701"), "a number in an error: {said}");
        (error.status, error.code)
    }

    #[test]
    fn a_phone_number_is_taken() {
        let asked = parse(br#"{"device":{"phoneNumber":"+77011234567"}}"#, None).unwrap();
        assert_eq!(asked, Asked { number: number(), is_one_of_several: false });
        // Schemas of the API are open: what they do not name is passed over.
        let body = br#"{"more":1,"device":{"phoneNumber":"+77011234567","imei":"1"}}"#;
        assert_eq!(parse(body, None), Ok(asked));
        let body = br#"{"device":{"phoneNumber":"+77011234567","ipv6Address":"2001:db8::1"}}"#;
        assert!(parse(body, None).unwrap().is_one_of_several);
    }

    #[test]
    fn what_breaks_the_schema_is_an_invalid_argument() {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "\"+77011234567\"",
            r#"{"device":{}}"#,
            r#"{"device":null}"#,
            r#"{"device":"+77011234567"}"#,
            r#"{"device":{"phoneNumber":null}}"#,
            r#"{"device":{"phoneNumber":77011234567}}"#,
            r#"{"device":{"phoneNumber":"77011234567"}}"#,
            r#"{"device":{"phoneNumber":"+07011234567"}}"#,
            r#"{"device":{"phoneNumber":"+7701 1234567"}}"#,
            r#"{"device":{"phoneNumber":"+7701"}}"#,
            r#"{"device":{"phoneNumber":"+7701123456789012"}}"#,
            r#"{"device":{"phoneNumber":"+77011234567\n"}}"#,
            r#"{"device":{"phoneNumber":"+77011234567","ipv6Address":"no"}}"#,
            r#"{"device":{"ipv6Address":"192.0.2.1"}}"#,
            r#"{"device":{"ipv4Address":"192.0.2.1"}}"#,
            r#"{"device":{"ipv4Address":{"publicAddress":"192.0.2.1"}}}"#,
            r#"{"device":{"ipv4Address":{"publicPort":1}}}"#,
            r#"{"device":{"ipv4Address":{"publicAddress":"192.0.2.256","publicPort":1}}}"#,
            r#"{"device":{"ipv4Address":{"publicAddress":"192.0.2.1","publicPort":65536}}}"#,
            r#"{"device":{"ipv4Address":{"publicAddress":"192.0.2.1","publicPort":1,"privateAddress":"x"}}}"#,
            r#"{"device":{"networkAccessIdentifier":1}}"#,
        ] {
            assert_eq!(fault(body), (400, "INVALID_ARGUMENT"), "{body}");
        }
    }

    #[test]
    fn a_device_that_is_not_named_or_not_in_our_way_is_unprocessable() {
        assert_eq!(fault("{}"), (422, "MISSING_IDENTIFIER"));
        for body in [
            r#"{"device":{"ipv6Address":"2001:db8::1"}}"#,
            r#"{"device":{"ipv4Address":{"publicAddress":"192.0.2.1","publicPort":59765}}}"#,
            r#"{"device":{"ipv4Address":{"publicAddress":"192.0.2.1","privateAddress":"10.0.0.1"}}}"#,
            r#"{"device":{"networkAccessIdentifier":"1@example.com"}}"#,
            r#"{"device":{"imei":"1"}}"#,
        ] {
            assert_eq!(fault(body), (422, "UNSUPPORTED_IDENTIFIER"), "{body}");
        }
    }

    #[test]
    fn a_number_too_short_for_any_subscriber_is_not_found() {
        for phone in ["+12345", "+123456"] {
            let body = format!(r#"{{"device":{{"phoneNumber":"{phone}"}}}}"#);
            assert_eq!(fault(&body), (404, "IDENTIFIER_NOT_FOUND"));
        }
    }

    #[test]
    fn a_token_about_somebody_needs_no_device_and_takes_none() {
        let subject = Some(number());
        assert_eq!(parse(b"{}", subject), Ok(Asked { number: number(), is_one_of_several: false }));
        let named = br#"{"device":{"phoneNumber":"+77011234567"}}"#;
        assert_eq!(parse(named, subject).unwrap_err().code, "UNNECESSARY_IDENTIFIER");
        let other = br#"{"device":{"ipv6Address":"2001:db8::1"}}"#;
        assert_eq!(parse(other, subject).unwrap_err().status, 422);
        assert_eq!(parse(br#"{"device":{}}"#, subject).unwrap_err().status, 400);
    }

    fn answer(found: &Whereabouts) -> (u16, Value) {
        let asked = Asked { number: number(), is_one_of_several: false };
        let (status, body) = respond(&asked, found, NOW_MS);
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn answers_have_the_fields_that_the_schema_asks_for() {
        let roaming = Whereabouts {
            visited: Some(*b"DE"),
            known_ms: Some(NOW_MS - 1),
            ..Whereabouts::new(Method::Hlr, Status::Roaming)
        };
        let body = json!({
            "roaming": true, "countryCode": 262, "countryName": ["DE"], "lastStatusTime": "2026-05-28T20:26:39.999Z",
        });
        assert_eq!(answer(&roaming), (200, body));
        // At home no country is named, even if the source did; and no status was learnt in the future.
        let home = Whereabouts { status: Status::NotRoaming, known_ms: Some(NOW_MS + 5), ..roaming };
        let body = json!({"roaming": false, "lastStatusTime": "2026-05-28T20:26:40.000Z"});
        assert_eq!(answer(&home), (200, body.clone()));
        assert_eq!(answer(&Whereabouts { known_ms: None, ..home }), (200, body));
        let somewhere = Whereabouts { visited: None, ..roaming };
        assert_eq!(answer(&somewhere).1.as_object().unwrap().len(), 2);
        let of_several = Asked { number: number(), is_one_of_several: true };
        let said: Value = serde_json::from_slice(&respond(&of_several, &home, NOW_MS).1).unwrap();
        assert_eq!(said["device"], json!({"phoneNumber": "+77011234567"}));
    }

    #[test]
    fn what_is_no_status_is_an_error() {
        let (status, body) = answer(&Whereabouts::new(Method::Hlr, Status::NotAssigned));
        assert_eq!((status, &body["code"]), (404, &json!("IDENTIFIER_NOT_FOUND")));
        for reason in [WhyUnknown::Timeout, WhyUnknown::NotRegistered, WhyUnknown::SourceFailed] {
            let (status, body) = answer(&Whereabouts::unknown(Method::Hlr, reason));
            assert_eq!((status, &body["code"], &body["status"]), (503, &json!("UNAVAILABLE"), &json!(503)));
        }
    }
}
