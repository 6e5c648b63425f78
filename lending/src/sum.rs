//! Sums of money, in hundredths of the currency's unit, so that limits are exact.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A sum in hundredths of a unit (tiyn of a tenge), 0 to 10^15.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Sum(i64);

const MOST: i64 = 1_000_000_000_000_000;

impl Sum {
    /// Reads digits, and after a point up to two more: `589800` or `589800.00`. Above 0, at most ten trillion units.
    pub fn parse(text: &str) -> Option<Sum> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain(whole) || !is_plain(part) || part.len() > 2 {
            return None;
        }
        let part: i64 = format!("{part:0<2}").parse().ok()?;
        let sum = whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(part)?;
        (1..=MOST).contains(&sum).then_some(Sum(sum))
    }

    pub fn of_hundredths(hundredths: i64) -> Sum {
        Sum(hundredths.clamp(0, MOST))
    }

    pub fn hundredths(self) -> i64 {
        self.0
    }

    pub fn plus(self, other: Sum) -> Sum {
        Sum(self.0.saturating_add(other.0))
    }

    pub fn times(self, n: u32) -> Sum {
        Sum(self.0.saturating_mul(i64::from(n)))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}
