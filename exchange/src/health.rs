//! A member that is ill is not asked for a while; one that is greedy is answered no faster than agreed.
//!
//! Neither is anybody's fault to a subscriber: what is not asked is unknown, and the rules say what then.

const WINDOW_S: i64 = 10;
/// Of fewer questions in the window no share is reckoned.
const LEAST_ASKED: u32 = 40;
const MOST_REST_MS: i64 = 60_000;

/// When a member is not asked for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerLimits {
    /// So many failures in a row; or half of the questions of the last 10 s, if those were 40 or more.
    pub failures: u32,
    /// How long it is not asked then, in milliseconds; twice as long for each probe that fails, up to 60 s.
    pub rest_ms: i64,
}

/// Whether a member is asked. Feed it with the outcome of every question.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    in_a_row: u32,
    window: [Second; WINDOW_S as usize],
    rest: Option<Rest>,
}

/// How a member is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerState {
    /// As usual.
    Closed,
    /// Not at all.
    Resting,
    /// By one question, whose outcome decides.
    Probing,
}

/// A limit on what a member asks: so many a second, and a burst.
///
/// The generic cell rate algorithm (ITU-T I.371 annex A): one number says until when what was admitted keeps the rate busy.
#[derive(Debug)]
pub struct RateLimit {
    interval_ns: i64,
    burst_ns: i64,
    busy_until_ns: i64,
}

#[derive(Clone, Copy, Default, Debug)]
struct Second {
    of: i64,
    asked: u32,
    failed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    since_ms: i64,
    length_ms: i64,
    /// A probe was let through.
    probing: bool,
}

impl Default for BreakerLimits {
    fn default() -> BreakerLimits {
        BreakerLimits { failures: 20, rest_ms: 5_000 }
    }
}

impl Breaker {
    pub fn new(limits: BreakerLimits) -> Breaker {
        let limits = BreakerLimits {
            failures: limits.failures.max(1),
            rest_ms: limits.rest_ms.clamp(1, MOST_REST_MS),
        };
        Breaker { limits, in_a_row: 0, window: Default::default(), rest: None }
    }

    /// Whether to ask now. After a rest one question is let through, and another only when its outcome is known or, should
    /// it never be, a rest later.
    pub fn may_ask(&mut self, now_ms: i64) -> bool {
        let Some(rest) = &mut self.rest else { return true };
        // Nothing begins in the future: the clock went back, and the rest begins anew.
        rest.since_ms = rest.since_ms.min(now_ms);
        if now_ms - rest.since_ms < rest.length_ms {
            return false;
        }
        *rest = Rest { since_ms: now_ms, probing: true, ..*rest };
        true
    }

    /// A question was answered in time, whatever the answer. An answer that comes while the member rests says nothing
    /// of now, unless it is the probe's.
    pub fn answered(&mut self, now_ms: i64) {
        match self.rest {
            Some(Rest { probing: false, .. }) => {}
            Some(_) => *self = Breaker::new(self.limits),
            None => {
                self.in_a_row = 0;
                self.second(now_ms).asked += 1;
            }
        }
    }

    /// A question got no answer, one too late, or one that is none.
    pub fn failed(&mut self, now_ms: i64) {
        match &mut self.rest {
            // Asked before the rest began.
            Some(Rest { probing: false, .. }) => {}
            Some(rest) => {
                let length_ms = (rest.length_ms * 2).min(MOST_REST_MS);
                *rest = Rest { since_ms: now_ms, length_ms, probing: false };
            }
            None => {
                self.in_a_row += 1;
                let second = self.second(now_ms);
                second.asked += 1;
                second.failed += 1;
                if self.in_a_row >= self.limits.failures || self.is_half_lost(now_ms) {
                    let length_ms = self.limits.rest_ms;
                    self.rest = Some(Rest { since_ms: now_ms, length_ms, probing: false });
                }
            }
        }
    }

    /// For how many milliseconds more nothing is asked.
    pub fn rests_ms(&self, now_ms: i64) -> i64 {
        self.rest.map_or(0, |rest| rest.length_ms - now_ms.saturating_sub(rest.since_ms)).max(0)
    }

    /// How the member is asked at `now_ms`.
    pub fn state(&self, now_ms: i64) -> BreakerState {
        match self.rest {
            None => BreakerState::Closed,
            Some(rest) if rest.probing => BreakerState::Probing,
            Some(rest) if now_ms.saturating_sub(rest.since_ms) >= rest.length_ms => BreakerState::Probing,
            Some(_) => BreakerState::Resting,
        }
    }

    fn second(&mut self, now_ms: i64) -> &mut Second {
        let of = now_ms.div_euclid(1000);
        let second = &mut self.window[of.rem_euclid(WINDOW_S) as usize];
        if second.of != of {
            *second = Second { of, ..Second::default() };
        }
        second
    }

    fn is_half_lost(&self, now_ms: i64) -> bool {
        let now_s = now_ms.div_euclid(1000);
        let recent =
            self.window.iter().filter(|second| (0..WINDOW_S).contains(&now_s.saturating_sub(second.of)));
        let (asked, failed) =
            recent.fold((0, 0), |(asked, failed), second| (asked + second.asked, failed + second.failed));
        asked >= LEAST_ASKED && failed * 2 >= asked
    }
}

impl BreakerState {
    /// `closed`, `resting` or `probing`.
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Resting => "resting",
            BreakerState::Probing => "probing",
        }
    }
}

impl RateLimit {
    /// `per_s` a second on average, `burst` at once. A burst below the 256 items of a letter never admits a full one.
    pub fn new(per_s: u32, burst: u32) -> RateLimit {
        // Of no rate nothing is ever admitted.
        let burst = if per_s == 0 { 0 } else { burst };
        let interval_ns = 1_000_000_000 / i64::from(per_s.max(1));
        RateLimit { interval_ns, burst_ns: interval_ns * i64::from(burst), busy_until_ns: i64::MIN }
    }

    /// Counts `n` items at `now_ms` if they are within the limit; else counts none of them.
    pub fn admit(&mut self, n: u32, now_ms: i64) -> bool {
        let (next_ns, full_ns) = self.with(n, now_ms);
        if next_ns > full_ns {
            return false;
        }
        self.busy_until_ns = next_ns;
        true
    }

    /// In how many milliseconds `n` items would be admitted, if none are before them.
    pub fn wait_ms(&self, n: u32, now_ms: i64) -> i64 {
        let (next_ns, full_ns) = self.with(n, now_ms);
        (next_ns.saturating_sub(full_ns).max(0) + 999_999) / 1_000_000
    }

    /// Until when the rate would be busy with `n` more, and until when it may be.
    fn with(&self, n: u32, now_ms: i64) -> (i64, i64) {
        let now_ns = now_ms.saturating_mul(1_000_000);
        let full_ns = now_ns.saturating_add(self.burst_ns);
        // Further ahead than a burst was not admitted by this limit: the clock went back, and it begins anew.
        let busy_ns = if self.busy_until_ns > full_ns { now_ns } else { self.busy_until_ns.max(now_ns) };
        (busy_ns.saturating_add(self.interval_ns * i64::from(n)), full_ns)
    }
}
