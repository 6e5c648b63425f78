//! The breaker rests a member that is ill and probes it; the rate limit holds a greedy one.

use exchange::{Breaker, BreakerLimits, BreakerState, RateLimit};
use proptest::prelude::*;

const NOW_MS: i64 = 1_795_000_000_000;

fn broken_at(now_ms: i64) -> Breaker {
    let mut breaker = Breaker::new(BreakerLimits::default());
    for _ in 0..20 {
        assert!(breaker.may_ask(now_ms));
        breaker.failed(now_ms);
    }
    breaker
}

#[test]
fn twenty_failures_in_a_row_rest_a_member_for_five_seconds() {
    let mut breaker = Breaker::new(BreakerLimits::default());
    for _ in 0..19 {
        breaker.failed(NOW_MS);
    }
    assert_eq!(breaker.state(NOW_MS), BreakerState::Closed);
    breaker.answered(NOW_MS);
    for _ in 0..19 {
        // Far enough apart that no share is reckoned.
        breaker.failed(NOW_MS + 20_000);
    }
    assert!(breaker.may_ask(NOW_MS + 20_000), "an answer begins the row anew");
    breaker.failed(NOW_MS + 20_000);
    let rested = NOW_MS + 20_000;
    assert_eq!(breaker.state(rested), BreakerState::Resting);
    assert!(!breaker.may_ask(rested) && !breaker.may_ask(rested + 4_999));
    assert_eq!(breaker.state(rested + 5_000), BreakerState::Probing);
    assert!(breaker.may_ask(rested + 5_000), "one probe");
    assert!(!breaker.may_ask(rested + 5_001) && !breaker.may_ask(rested + 9_999));
    breaker.answered(rested + 5_200);
    assert_eq!(breaker.state(rested + 5_200), BreakerState::Closed);
    assert!((0..1000).all(|_| breaker.may_ask(rested + 5_200)));
}

#[test]
fn half_of_forty_lost_within_ten_seconds_rest_it_too() {
    let run = |asked: u32, every_ms: i64, lost_every: u32| {
        let mut breaker = Breaker::new(BreakerLimits::default());
        (0..asked).all(|i| {
            let now = NOW_MS + i64::from(i) * every_ms;
            // The last of each group fails, so that a share is full only at its end.
            if i % lost_every == lost_every - 1 {
                breaker.failed(now)
            } else {
                breaker.answered(now)
            }
            breaker.may_ask(now)
        })
    };
    assert!(run(39, 10, 2), "of 39 nothing is reckoned");
    assert!(!run(40, 10, 2), "20 of 40");
    assert!(run(400, 10, 3), "a third");
    assert!(run(400, 300, 2), "only 34 within 10 s");
}

#[test]
fn each_failed_probe_doubles_the_rest_up_to_a_minute() {
    let mut breaker = broken_at(NOW_MS);
    let mut now = NOW_MS;
    for rest_ms in [5_000, 10_000, 20_000, 40_000, 60_000, 60_000] {
        assert!(!breaker.may_ask(now + rest_ms - 1), "{rest_ms}");
        assert!(breaker.may_ask(now + rest_ms), "{rest_ms}");
        now += rest_ms + 200;
        breaker.failed(now);
    }
    assert!(breaker.may_ask(now + 60_000));
    breaker.answered(now + 60_000);
    for _ in 0..20 {
        breaker.failed(now + 60_000);
    }
    assert!(breaker.may_ask(now + 65_000), "well again, the next rest is short");
}

#[test]
fn late_outcomes_of_earlier_questions_neither_end_nor_prolong_a_rest() {
    let mut breaker = broken_at(NOW_MS);
    for _ in 0..100 {
        breaker.failed(NOW_MS + 900);
    }
    breaker.answered(NOW_MS + 950);
    assert_eq!(breaker.state(NOW_MS + 1_000), BreakerState::Resting);
    assert!(breaker.may_ask(NOW_MS + 5_000));
}

#[test]
fn a_probe_without_outcome_and_a_clock_that_went_back_do_not_silence_a_member_for_ever() {
    let mut breaker = broken_at(NOW_MS);
    assert!(breaker.may_ask(NOW_MS + 5_000) && !breaker.may_ask(NOW_MS + 9_999));
    assert!(breaker.may_ask(NOW_MS + 10_000), "another probe a rest later");
    let mut breaker = broken_at(NOW_MS);
    assert!(!breaker.may_ask(NOW_MS - 3_600_000));
    assert!(breaker.may_ask(NOW_MS - 3_600_000 + 5_000));
}

#[test]
fn limits_can_be_others() {
    let mut breaker = Breaker::new(BreakerLimits { failures: 2, rest_ms: 100 });
    breaker.failed(0);
    assert!(breaker.may_ask(0));
    breaker.failed(0);
    assert!(!breaker.may_ask(99) && breaker.may_ask(100));
    let names = [BreakerState::Closed, BreakerState::Resting, BreakerState::Probing].map(BreakerState::name);
    assert_eq!(names, ["closed", "resting", "probing"]);
}

#[test]
fn a_rate_limit_admits_its_burst_then_its_rate() {
    let mut limit = RateLimit::new(100, 256);
    assert!(limit.admit(256, NOW_MS), "a full letter");
    assert!(!limit.admit(1, NOW_MS) && !limit.admit(1, NOW_MS + 9));
    assert!(limit.admit(1, NOW_MS + 10));
    let admitted = (NOW_MS + 11..=NOW_MS + 1_010).filter(|&now| limit.admit(1, now)).count();
    assert_eq!(admitted, 100);
    assert!(!limit.admit(257, NOW_MS + 3_600_000), "never more than a burst at once");
    assert!(limit.admit(0, NOW_MS + 1_010));
    let earlier = NOW_MS - 900_000;
    assert!(limit.admit(256, earlier) && !limit.admit(1, earlier), "the clock went back: a fresh burst");
    let mut none = RateLimit::new(0, 100);
    assert!(!none.admit(1, NOW_MS));
}

proptest! {
    #[test]
    fn never_admits_more_than_a_burst_and_the_rate(
        per_s in 1u32..5000,
        burst in 1u32..500,
        asks in prop::collection::vec((0i64..300, 1u32..300), 1..200),
    ) {
        let mut limit = RateLimit::new(per_s, burst);
        let (mut now, mut admitted) = (NOW_MS, 0);
        for (wait, n) in asks {
            now += wait;
            if limit.admit(n, now) {
                admitted += i64::from(n);
            }
            // An interval is whole nanoseconds, which may make the rate a little higher.
            let most = i64::from(burst) + (now - NOW_MS) * i64::from(per_s) / 1000 + 1;
            prop_assert!(admitted <= most, "{} of {}", admitted, most);
        }
    }

    #[test]
    fn a_member_is_always_asked_again_within_a_minute(
        outcomes in prop::collection::vec((any::<bool>(), 0i64..3_000), 0..300),
    ) {
        let mut breaker = Breaker::new(BreakerLimits::default());
        let mut now = NOW_MS;
        for (answered, wait) in outcomes {
            now += wait;
            if breaker.may_ask(now) {
                if answered { breaker.answered(now) } else { breaker.failed(now) }
            }
            if breaker.state(now) == BreakerState::Resting {
                prop_assert!(!breaker.may_ask(now));
            }
        }
        prop_assert!(breaker.may_ask(now + 60_000));
    }
}
