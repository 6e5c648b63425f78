//! A cap on how many calls a rule may let pass on a trunk, such as 50 a second.
//!
//! The generic cell rate algorithm (ITU-T I.371 annex A): one number says when the next call would be in
//! turn if calls came evenly; a call is within the cap while that moment is less than one period ahead.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

/// `calls` in `period_us`, all of them at once if they come so.
#[derive(Debug)]
pub struct Cap {
    interval_us: i64,
    period_us: i64,
    /// The theoretical arrival time of the next call.
    due_us: AtomicI64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CapError(String);

impl fmt::Display for CapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a cap: write calls per time, such as 50/s, 20/min or 100/h", self.0)
    }
}

impl std::error::Error for CapError {}

impl Cap {
    /// Reads `50/s`, `20/min`, `100/h`.
    pub fn parse(text: &str) -> Result<Cap, CapError> {
        let wrong = || CapError(text.to_owned());
        let (calls, unit) = text.split_once('/').ok_or_else(wrong)?;
        let calls: i64 = calls.trim().parse().map_err(|_| wrong())?;
        let period_us = match unit.trim() {
            "s" => 1_000_000,
            "min" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return Err(wrong()),
        };
        if !(1..=1_000_000).contains(&calls) {
            return Err(wrong());
        }
        Ok(Cap { interval_us: period_us / calls, period_us, due_us: AtomicI64::new(i64::MIN) })
    }

    /// Goes on counting where a cap of the same trunk left off.
    pub(crate) fn inherit(&self, before: &Cap) {
        self.due_us.store(before.due_us.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Counts a call at `now_ms` if it is within the cap. Workers share the cap without a lock.
    pub fn admit(&self, now_ms: i64) -> bool {
        let now = now_ms.saturating_mul(1000);
        let next = |due: i64| {
            // A moment further ahead than a period was not put there by this cap: the clock went back.
            let due = if due > now.saturating_add(self.period_us) { now } else { due.max(now) };
            let next = due + self.interval_us;
            (next - now <= self.period_us).then_some(next)
        };
        self.due_us.try_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn admits_its_rate_and_recovers_when_the_clock_jumps_back() {
        let cap = Cap::parse("10/s").unwrap();
        let admitted = |range: std::ops::Range<i64>| range.filter(|&now| cap.admit(now)).count();
        assert_eq!(admitted(1_000_000..1_000_050), 10, "a burst of one period");
        assert_eq!(admitted(1_000_050..1_001_050), 10, "then the rate");
        assert_eq!(admitted(500..1500), 19, "a quarter of an hour earlier: a fresh burst, then the rate");
    }

    #[test]
    fn refuses_what_is_no_cap() {
        for text in ["", "10", "0/s", "-1/s", "10/day", "x/s", "10/s/s"] {
            assert!(Cap::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_admits_more_than_a_burst_and_the_rate(calls in 1i64..50, steps in proptest::collection::vec(0i64..200, 1..300)) {
            let cap = Cap::parse(&format!("{calls}/s")).unwrap();
            let mut now = 0;
            let mut admitted = 0;
            for step in &steps {
                now += step;
                admitted += i64::from(cap.admit(now));
            }
            prop_assert!(admitted <= calls + now * calls / 1000 + 1, "{admitted} in {now} ms at {calls}/s");
        }
    }
}
