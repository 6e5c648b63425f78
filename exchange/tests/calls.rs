//! Open calls: found while their time runs, never after, by many threads at once, in little memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use exchange::{CallKey, Calls, WireNumber};
use numbering::{Number, Party, ShortCode};
use proptest::prelude::*;

/// What a step of the table's clock may make of an age.
const STEP_MS: i64 = 16;
const NOW_MS: i64 = 1_795_000_000_000;

fn number(i: u64) -> Number {
    Number::from_digits(format!("7{:010}", 7_000_000_000 + i).as_bytes()).unwrap()
}

fn call(i: u64) -> CallKey {
    CallKey::of_numbers(number(i), Party::Number(number(i * 7 + 1)), None)
}

#[test]
fn a_call_is_the_same_from_the_switch_and_from_the_wire() {
    let (a, b, c) = (number(1), number(2), number(3));
    let wire = WireNumber::clear;
    let of = |calling, called, redirecting| CallKey::of_numbers(calling, Party::Number(called), redirecting);
    assert_eq!(of(a, b, None), CallKey::of_wire(&wire(a), &wire(b), None));
    assert_eq!(of(a, b, Some(c)), CallKey::of_wire(&wire(a), &wire(b), Some(&wire(c))));
    let all = [of(a, b, None), of(b, a, None), of(a, c, None), of(a, b, Some(c)), of(a, c, Some(b))];
    for (i, one) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|other| other != one), "{i}");
    }
    let short = |digits: &[u8]| Party::Short(ShortCode::from_digits(digits).unwrap());
    assert_ne!(CallKey::of_numbers(a, short(b"1414"), None), CallKey::of_numbers(a, short(b"1415"), None));
    assert_ne!(CallKey::of_numbers(a, Party::Absent, None), CallKey::of_numbers(a, Party::Restricted, None));
    let token = |text: &str| WireNumber(text.into());
    let (x, y) = (token("~AAAAAAAAAAAAAAAAAAAAAA"), token("~AAAAAAAAAAAAAAAAAAAAAQ"));
    assert_eq!(CallKey::of_wire(&x, &y, None), CallKey::of_wire(&x.clone(), &y.clone(), None));
    assert_ne!(CallKey::of_wire(&x, &y, None), CallKey::of_wire(&y, &x, None));
    assert_eq!(format!("{:?}", of(a, b, None)), "CallKey { .. }", "no digits");
}

#[test]
fn a_call_is_open_for_its_ttl_and_again_when_registered_again() {
    // The second moment is just before the border of a period of 2^22 ms.
    for start in [NOW_MS, (NOW_MS >> 22 << 22) - 5_000, 0, -3_000] {
        let calls = Calls::new(1000);
        assert_eq!(calls.check(call(1), start), None);
        calls.register(call(1), start, 60);
        for age in [0, 1000, 30_000, 60_000 - STEP_MS] {
            let told = i64::from(calls.check(call(1), start + age).expect("open"));
            assert!((told - age).abs() < STEP_MS, "{told} for {age}");
            assert_eq!(calls.check(call(2), start + age), None);
        }
        assert_eq!(calls.check(call(1), start + 60_000 + STEP_MS), None);
        calls.register(call(1), start + 50_000, 30);
        assert!(calls.check(call(1), start + 80_000 - STEP_MS).unwrap() < 30_000);
        assert_eq!(calls.check(call(1), start + 80_000 + STEP_MS), None);
        assert_eq!((calls.open(start + 50_000), calls.open(start + 90_000), calls.evicted()), (1, 0, 0));
    }
}

#[test]
fn nothing_comes_back_after_hours_though_nobody_swept() {
    let calls = Calls::new(64);
    calls.register(call(1), NOW_MS, 180);
    for now in (NOW_MS + 180_000 + STEP_MS..NOW_MS + 6 * 3_600_000).step_by(977) {
        assert_eq!(calls.check(call(1), now), None, "{} ms later", now - NOW_MS);
    }
}

#[test]
fn calls_outlive_a_small_step_of_the_clock_and_none_stays_for_ever() {
    for start in [NOW_MS, (NOW_MS >> 22 << 22) + 2_000] {
        let calls = Calls::new(64);
        calls.register(call(1), start, 60);
        assert_eq!(calls.check(call(1), start - 40_000), Some(0), "the clock went back 40 s");
        assert_eq!(calls.check(call(1), start - 200_000), None, "200 s");
        for back in [300_000, 3_600_000, 86_400_000] {
            let before = start - back;
            let open = (0..3_000).filter(|s| calls.check(call(1), before + s * 100).is_some()).count();
            assert!(open <= 2_400, "open for {open} tenths of a second after a step of {back} ms back");
        }
        assert_eq!(calls.open(start - 300_000), 0);
    }
}

#[test]
fn a_million_open_calls_fit_in_a_hundred_megabytes_and_none_is_lost() {
    let calls = Calls::new(2_000_000);
    assert!(calls.memory() < 100_000_000, "{}", calls.memory());
    assert!(calls.memory() <= 2_097_152 * 8 + 256, "8 bytes a place");
    for i in 0..1_000_000 {
        calls.register(call(i), NOW_MS + (i / 20) as i64, 60);
    }
    assert!(calls.evicted() <= 1, "{} of a million at half load", calls.evicted());
    let now = NOW_MS + 50_001;
    let lost = (0..1_000_000).filter(|&i| calls.check(call(i), now).is_none()).count() as u64;
    assert_eq!(lost, calls.evicted());
    let taken = (1_000_000..2_000_000).filter(|&i| calls.check(call(i), now).is_some()).count();
    assert_eq!(taken, 0, "never registered");
    assert_eq!(calls.open(now) as u64, 1_000_000 - calls.evicted());
    assert_eq!(calls.open(now + 120_000), 0);
}

#[test]
fn a_full_table_loses_those_that_end_first_and_says_how_many() {
    let calls = Calls::new(8);
    for i in 0..8 {
        calls.register(call(i), NOW_MS + i as i64 * 100, 60);
    }
    assert_eq!(calls.evicted(), 0);
    calls.register(call(100), NOW_MS + 1_000, 60);
    assert_eq!(calls.evicted(), 1);
    assert_eq!(calls.check(call(0), NOW_MS + 1_000), None, "the first to end went");
    assert!((1..8).all(|i| calls.check(call(i), NOW_MS + 1_000).is_some()));
    // Those that are over make room and are not counted.
    calls.register(call(101), NOW_MS + 70_000, 60);
    assert_eq!((calls.evicted(), calls.open(NOW_MS + 70_000)), (1, 1));
}

#[test]
fn threads_register_and_check_at_once() {
    const EACH: u64 = 20_000;
    let calls = Calls::new(400_000);
    let done: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for (writer, done) in done.iter().enumerate() {
            let calls = &calls;
            scope.spawn(move || {
                for i in 0..EACH {
                    // Every writer also registers one call that all have in common, again and again.
                    calls.register(call(writer as u64 * EACH + i), NOW_MS + i as i64 / 100, 60);
                    calls.register(call(1 << 30), NOW_MS + i as i64 / 100, 60);
                    done.store(i + 1, Ordering::Release);
                }
            });
        }
        for _ in 0..2 {
            let (calls, done) = (&calls, &done);
            scope.spawn(move || {
                while done.iter().any(|done| done.load(Ordering::Relaxed) < EACH) {
                    for (writer, done) in done.iter().enumerate() {
                        let so_far = done.load(Ordering::Acquire);
                        if so_far > 0 {
                            let last = call(writer as u64 * EACH + so_far - 1);
                            assert!(calls.check(last, NOW_MS + 300).is_some(), "{writer} {so_far}");
                            assert!(calls.check(call(1 << 30), NOW_MS + 300).is_some());
                        }
                    }
                    thread::yield_now();
                }
            });
        }
    });
    assert!((0..4 * EACH).all(|i| calls.check(call(i), NOW_MS + 300).is_some()));
    assert_eq!(calls.evicted(), 0);
    let open = calls.open(NOW_MS + 300) as u64;
    assert!((4 * EACH + 1..=4 * EACH + 4).contains(&open), "a call in common may have stood twice: {open}");
}

#[derive(Clone, Debug)]
enum Step {
    Register(u64, u32),
    Check(u64),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let waits = prop_oneof![6 => 0i64..20_000, 2 => 0i64..200_000, 1 => 4_100_000i64..4_300_000];
    prop_oneof![
        (0u64..40, 30u32..=180).prop_map(|(call, ttl)| Step::Register(call, ttl)),
        (0u64..50).prop_map(Step::Check),
        waits.prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn behaves_like_a_map(start in NOW_MS..NOW_MS + (1 << 22), steps in prop::collection::vec(step(), 1..150)) {
        let calls = Calls::new(1024);
        let mut model: HashMap<u64, (i64, i64)> = HashMap::new();
        let mut now = start;
        for step in steps {
            match step {
                Step::Wait(ms) => now += ms,
                Step::Register(i, ttl) => {
                    calls.register(call(i), now, ttl);
                    model.insert(i, (now, i64::from(ttl) * 1000));
                }
                Step::Check(i) => {
                    let told = calls.check(call(i), now).map(i64::from);
                    match model.get(&i).map(|&(since, ttl)| (now - since, ttl)) {
                        Some((age, ttl)) if age <= ttl - STEP_MS => {
                            let told = told.expect("open");
                            prop_assert!((told - age).abs() < STEP_MS, "{} for {}", told, age);
                        }
                        Some((age, ttl)) if age < ttl + STEP_MS => {}
                        _ => prop_assert_eq!(told, None),
                    }
                }
            }
        }
        prop_assert_eq!(calls.evicted(), 0);
    }
}
