//! Numbers as keyed hashes: two members who share a secret can match a number that neither writes down.
//!
//! The key changes daily, so that the same subscriber cannot be followed from one day to the next. Against those who have
//! the secret it hides nothing: there are few enough numbers to try them all. docs/exchange.md, "Tokens".

use std::ops::RangeInclusive;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use numbering::Number;

use crate::WireNumber;

const DAY_MS: i64 = 86_400_000;
/// How far members' times of one call may be apart, as in letters.
const APART_MS: i64 = 90_000;

/// The secret from which daily keys are made. All members of an exchange that hashes numbers share it.
#[derive(Clone)]
pub struct TokenKey(Key);

impl TokenKey {
    /// Any length; 32 random bytes are right.
    pub fn new(secret: &[u8]) -> TokenKey {
        TokenKey(Key::new(HMAC_SHA256, secret))
    }

    /// The number's token of a [`day`]: `~` and 22 characters of base64url, 128 bits.
    pub fn token(&self, number: Number, day: i64) -> WireNumber {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"qalqan-exchange-day");
        context.update(day.to_string().as_bytes());
        let daily = Key::new(HMAC_SHA256, context.sign().as_ref());
        let (digits, count) = number.reveal().digits();
        let hash = hmac::sign(&daily, &digits[..count]);
        let mut token = String::from("~");
        URL_SAFE_NO_PAD.encode_string(&hash.as_ref()[..16], &mut token);
        WireNumber(token)
    }
}

/// The UTC day of a time, counted from 1970-01-01; `ms` is in milliseconds since then.
pub fn day(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

/// The days on which another member may have seen the call of this time: two within 90 s of midnight, else one. Who
/// registers a call by tokens registers it for each.
pub fn days_around(ms: i64) -> RangeInclusive<i64> {
    day(ms.saturating_sub(APART_MS))..=day(ms.saturating_add(APART_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_utc_and_two_about_midnight() {
        assert_eq!((day(-1), day(0), day(DAY_MS - 1), day(DAY_MS)), (-1, 0, 0, 1));
        assert_eq!(days_around(DAY_MS / 2), 0..=0);
        assert_eq!(days_around(DAY_MS - 30_000), 0..=1);
        assert_eq!(days_around(DAY_MS + 30_000), 0..=1);
        assert_eq!(days_around(DAY_MS + 90_001), 1..=1);
    }
}
