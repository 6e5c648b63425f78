//! Numbers watched while they call, beside counting everything: who is suspected, what is counted, how much memory it takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashSet;

use hunting::{CallRecord, Judged, Live, Scale, Seen, Signal, Thresholds, Told};
use proptest::prelude::*;

/// Bytes that this thread holds: tests of one program run side by side.
struct Held;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn hold(bytes: isize) {
    HELD.set(HELD.get() + bytes);
}

// SAFETY: hands everything to the system allocator and counts.
unsafe impl GlobalAlloc for Held {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Held = Held;

const HOUR_MS: i64 = 3_600_000;
/// Ten in the morning of a day.
const MORNING: i64 = 492_000 * HOUR_MS;
const NIGHT: i64 = MORNING + 9 * HOUR_MS;

fn scale() -> Scale {
    Scale { thresholds: Thresholds { spread: 0.75, ..Thresholds::default() }, half_life_ms: 2 * HOUR_MS }
}

/// A stream of numbers that look like chance (a linear congruential generator, Knuth's constants).
fn chance(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(2) + 1;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// Calls of a working day in the order of time.
fn day(live: &mut Live, mut calls: Vec<Seen>) {
    calls.sort_by_key(|call| call.at_ms);
    for call in &calls {
        live.tick(call.at_ms);
        live.see(call);
    }
    live.tick(NIGHT);
}

/// `calls` of a number by a trunk, to whom `called` says.
fn working(calling: u64, trunk: u16, calls: u64, mut called: impl FnMut(u64) -> u64) -> Vec<Seen> {
    let at = |n: u64| MORNING + (n * 9 * HOUR_MS as u64 / calls) as i64;
    (0..calls).map(|n| Seen { calling, called: called(n), trunk, at_ms: at(n) }).collect()
}

const PEOPLE: u64 = 77_020_000_000;

/// Numbers on one trunk or several that go loosely through a list of 700.
fn gang(numbers: u64, calls: u64, trunk: impl Fn(u64) -> u16) -> Vec<Seen> {
    let one = |n: u64| {
        let mut chance = chance(n);
        working(77_010_000_000 + n * 1000, trunk(n), calls, move |_| PEOPLE + chance(700) * 97)
    };
    (0..numbers).flat_map(one).collect()
}

fn judged(calls: Vec<Seen>) -> Vec<Judged> {
    let mut live = Live::new(4 << 20, 40);
    day(&mut live, calls);
    live.evaluate(&scale(), NIGHT)
}

fn signals(judged: &Judged) -> HashSet<Signal> {
    judged.signals.iter().map(|given| given.signal).collect()
}

#[test]
fn numbers_that_go_through_one_list_on_one_trunk_are_suspected() {
    let found = judged(gang(8, 250, |_| 3));
    assert_eq!(found.len(), 8, "{found:?}");
    for one in &found {
        assert!(one.score > 80 && one.evidence == 2 && one.trunk == 3, "{one:?}");
        // Watched from the fortieth call on: what it did before is not counted.
        assert_eq!((one.outgoing, one.incoming), (211, 0));
        assert!(signals(one).is_superset(&HashSet::from([Signal::ManyCalled, Signal::SamePool])), "{one:?}");
    }
    // Three; on a trunk each; and a number that goes through the book by itself.
    assert!(judged(gang(3, 250, |_| 3)).is_empty());
    assert!(judged(gang(8, 250, |n| n as u16)).is_empty());
    let found = judged(working(77_010_000_000, 1, 250, |n| PEOPLE + n));
    assert_eq!((found.len(), found[0].evidence), (1, 2));
    assert!(signals(&found[0]).contains(&Signal::NumberRuns), "{found:?}");
}

#[test]
fn honest_numbers_that_call_as_much_are_not() {
    let strangers = |seed: u64| {
        let mut chance = chance(seed);
        move |_| PEOPLE + chance(10_000_000)
    };
    let mut calls = Vec::new();
    // Couriers and pollsters: strangers, and hardly anybody calls back; a school that calls each parent once.
    for n in 0..40 {
        calls.extend(working(77_010_000_000 + n * 1000, 1, 300, strangers(n)));
    }
    for n in 40..56 {
        calls.extend(working(77_010_000_000 + n * 1000, 9, 300, strangers(n)));
    }
    calls.extend(working(77_010_900_000, 4, 400, |n| PEOPLE + n * 31));
    // A probe, a doorbell, a family.
    calls.extend(working(77_010_910_000, 7, 500, |n| PEOPLE + n % 20));
    calls.extend(working(77_010_920_000, 1, 60, |_| PEOPLE));
    calls.extend(working(77_010_930_000, 1, 30, |n| PEOPLE + n % 8));
    // A bank's hotline: six numbers on one trunk through one list of customers, who call back.
    let bank = gang(6, 300, |_| 5);
    for call in bank.iter().step_by(2) {
        let back =
            Seen { calling: call.called, called: call.calling + 1_000_000, trunk: 1, at_ms: call.at_ms };
        calls.push(back);
    }
    calls.extend(bank.into_iter().map(|call| Seen { calling: call.calling + 1_000_000, ..call }));
    assert_eq!(judged(calls), []);
}

/// A call's record: where it was made and with what.
fn record(call: &Seen, cell: u64, imei: u64, imsi: u64, seconds: u32) -> CallRecord {
    CallRecord {
        calling: call.calling,
        called: call.called,
        start_ms: call.at_ms,
        duration_s: Some(seconds),
        is_answered: Some(seconds > 0),
        cell: Some(cell),
        imei: Some(imei),
        imsi: Some(imsi),
        ..CallRecord::default()
    }
}

#[test]
fn records_tell_a_sim_box_from_couriers() {
    let strangers = |seed: u64| {
        let mut chance = chance(seed);
        move |_| PEOPLE + chance(10_000_000)
    };
    // Six SIMs and six couriers do the same, as far as calls show.
    let (sims, couriers): (Vec<u64>, Vec<u64>) = (
        (0..6).map(|n| 77_010_000_000 + n * 1000).collect(),
        (6..12).map(|n| 77_010_000_000 + n * 1000).collect(),
    );
    let mut calls = Vec::new();
    for number in [&sims[..], &couriers[..]].concat() {
        calls.extend(working(number, 1, 300, strangers(number)));
    }
    let mut live = Live::new(4 << 20, 40);
    day(&mut live, calls.clone());
    assert_eq!(live.evaluate(&scale(), NIGHT), []);
    let thresholds = scale().thresholds;
    for (n, call) in calls.iter().enumerate() {
        let n = n as u64;
        // Six SIMs turn by turn in two modems of one cell; a courier's telephone goes through the town.
        let told = match sims.contains(&call.calling) {
            true => record(call, 7, 35_000_000_000_000 + n % 2, call.calling, 60),
            false => record(call, 100 + n % 40, call.calling, call.calling, 60),
        };
        let outcome = live.tell(&told, 1, &thresholds);
        assert!(matches!(outcome, Told::Counted | Told::Repeated), "{outcome:?}");
        assert_eq!(live.tell(&told, 1, &thresholds), Told::Repeated);
        // On another trunk it is nobody's call; one of yesterday is over.
        assert_eq!(live.tell(&told, 2, &thresholds), Told::Unwatched);
        let yesterday = CallRecord { start_ms: told.start_ms - 24 * HOUR_MS, ..told };
        assert_eq!(live.tell(&yesterday, 1, &thresholds), Told::Late);
    }
    let found = live.evaluate(&scale(), NIGHT);
    assert_eq!(found.iter().map(|one| one.number).collect::<HashSet<_>>(), sims.iter().copied().collect());
    for one in &found {
        let expected = [Signal::ManyCalled, Signal::OnePlace, Signal::ManySims, Signal::CrowdedPlace];
        assert!(signals(one).is_superset(&HashSet::from(expected)), "{one:?}");
        assert!(one.score > 80, "{one:?}");
        let figure = |signal| one.signals.iter().find(|given| given.signal == signal).unwrap().figure;
        assert_eq!(
            (figure(Signal::OnePlace), figure(Signal::ManySims), figure(Signal::CrowdedPlace)),
            (1.0, 6.0, 6.0)
        );
    }
    // Records go with the window as calls do.
    let morrow = MORNING + 24 * HOUR_MS;
    live.tick(morrow);
    live.see(&Seen { at_ms: morrow, ..calls[0] });
    live.evaluate(&scale(), morrow);
    let judged = live.of(sims[0], &scale(), morrow);
    assert!(judged[0].outgoing > 200 && signals(&judged[0]).contains(&Signal::OnePlace), "{judged:?}");
    live.tick(morrow + 9 * HOUR_MS);
    live.evaluate(&scale(), morrow + 9 * HOUR_MS);
    let judged = live.of(sims[0], &scale(), morrow + 9 * HOUR_MS);
    assert!(judged[0].outgoing < 40 && judged[0].signals.is_empty(), "{judged:?}");
}

#[test]
fn records_tell_how_talks_went() {
    let number = 77_010_000_000;
    let told = |seconds: &dyn Fn(u64) -> u32| {
        let mut chance = chance(5);
        let calls = working(number, 1, 200, move |_| PEOPLE + chance(10_000_000));
        let mut live = Live::new(4 << 20, 40);
        day(&mut live, calls.clone());
        for (n, call) in calls.iter().enumerate() {
            let record = CallRecord { cell: None, ..record(call, 0, 1, 2, seconds(n as u64)) };
            live.tell(&record, 1, &scale().thresholds);
        }
        live.evaluate(&scale(), NIGHT).first().map(signals)
    };
    assert_eq!(told(&|_| 90), None);
    assert!(told(&|n| if n % 5 == 0 { 90 } else { 0 }).unwrap().contains(&Signal::Unanswered));
    assert!(told(&|n| if n % 5 == 0 { 90 } else { 4 }).unwrap().contains(&Signal::ShortOrLong));
    assert!(told(&|n| if n % 5 == 0 { 90 } else { 400 }).unwrap().contains(&Signal::ShortOrLong));
}

#[test]
fn a_score_decays_and_goes_with_the_window() {
    let mut live = Live::new(4 << 20, 40);
    let last = working(0, 0, 250, |n| n).last().unwrap().at_ms;
    let calls = gang(8, 250, |_| 3);
    day(&mut live, calls.clone());
    let number = calls[0].calling;
    live.evaluate(&scale(), NIGHT);
    let score = |live: &Live, now_ms: i64| live.of(number, &scale(), now_ms).first().map(|one| one.score);
    let fresh = score(&live, last).unwrap();
    assert!(fresh > 80);
    // Half of it after a half-life, a quarter after two; before its last call it is no more than there.
    for (halves, share) in [(1, 2.0), (2, 4.0), (5, 32.0)] {
        let decayed = score(&live, last + halves * 2 * HOUR_MS).unwrap();
        assert!((f64::from(decayed) - f64::from(fresh) / share).abs() <= 1.0, "{decayed} of {fresh}");
    }
    assert_eq!(score(&live, last - HOUR_MS), Some(fresh));
    // It calls again, and is what it was.
    let again = Seen { at_ms: last + 4 * HOUR_MS, ..calls[249] };
    live.tick(again.at_ms);
    live.see(&again);
    assert_eq!(score(&live, again.at_ms), Some(fresh));
    // A day later nobody is watched.
    live.tick(again.at_ms + 25 * HOUR_MS);
    assert_eq!((live.watched().0, live.evaluate(&scale(), again.at_ms + 25 * HOUR_MS)), (0, Vec::new()));
}

#[test]
fn what_others_do_with_a_number_by_another_trunk_is_not_its_owners() {
    let mut calls = gang(8, 250, |_| 3);
    let owner = calls[0].calling;
    calls.extend(working(owner, 1, 60, |n| PEOPLE + 5_000_000 + n % 9));
    let mut live = Live::new(4 << 20, 40);
    day(&mut live, calls);
    live.evaluate(&scale(), NIGHT);
    let mut by_trunk = live.of(owner, &scale(), NIGHT);
    by_trunk.sort_by_key(|one| one.trunk);
    let evidence: Vec<(u16, usize)> = by_trunk.iter().map(|one| (one.trunk, one.evidence)).collect();
    assert_eq!(evidence, [(1, 0), (3, 2)]);
}

#[test]
fn a_million_numbers_and_one_that_never_stops_take_no_more_memory() {
    let bytes = 8 << 20;
    let before = HELD.get();
    let held = || HELD.get() - before;
    let mut live = Live::new(bytes, 3);
    live.tick(MORNING);
    for n in 0..1_000_000u64 {
        for call in 0..4 {
            live.see(&Seen {
                calling: 77_000_000_000 + n,
                called: PEOPLE + n * 7 + call,
                trunk: 1,
                at_ms: MORNING,
            });
        }
        // A gang among them is not pushed out by the many.
        if n % 4000 < 8 {
            live.see(&Seen {
                calling: 1_000_000_000 + n % 4000,
                called: PEOPLE + n / 4000,
                trunk: 3,
                at_ms: MORNING,
            });
        }
    }
    for n in 0..3_000_000 {
        live.see(&Seen { calling: 999_999_999_999_999, called: PEOPLE + n, trunk: 2, at_ms: MORNING });
    }
    assert!(held() <= bytes as isize, "{} bytes", held());
    let (watched, room) = live.watched();
    assert!(watched == room && live.evicted > 0, "{watched} of {room}, {} evicted", live.evicted);
    let of = |number| live.of(number, &scale(), MORNING);
    assert!((0..8).all(|n| of(1_000_000_000 + n)[0].outgoing >= 200), "{:?}", of(1_000_000_000));
    // Some calls passed before one that calls less was found among the many.
    let outgoing = of(999_999_999_999_999)[0].outgoing;
    assert!((2_999_000..=2_999_998).contains(&outgoing), "{outgoing}");
    live.evaluate(&scale(), MORNING);
    for n in 0..1_000_000 {
        let call = Seen { calling: 999_999_999_999_999, called: PEOPLE + n, trunk: 2, at_ms: MORNING };
        live.tell(&record(&call, n, n, n, 9), 2, &scale().thresholds);
    }
    assert!(held() <= bytes as isize, "{} bytes", held());
}

/// How often a number with so many calls to `share` of as many numbers is taken for one that calls strangers.
fn is_spread(calls: u64, share: f64, seed: u64) -> bool {
    let mut live = Live::new(4 << 20, 40);
    let mut chance = chance(seed);
    let offset = chance(1_000_000) * 1_000_003;
    let distinct = (calls as f64 * share) as u64;
    day(&mut live, working(77_010_000_000, 1, calls, |n| PEOPLE * 2 + offset + n % distinct * 1009));
    let judged = live.of(77_010_000_000, &scale(), NIGHT);
    judged[0].signals.iter().any(|given| given.signal == Signal::ManyCalled)
}

#[test]
fn samples_tell_who_calls_strangers() {
    // Up to 256 different ones nothing is sampled, and nothing is wrong.
    for (calls, seeds, most_wrong) in [(240, 50, 0), (3000, 100, 4), (40_000, 40, 2)] {
        for (share, is) in [(1.0, true), (0.5, false)] {
            let wrong = (0..seeds).filter(|seed| is_spread(calls, share, *seed) != is).count();
            assert!(wrong <= most_wrong, "{wrong} of {seeds} with {calls} calls, {share} of them to others");
        }
    }
}

/// A step of a clock that may jump, and a call by it.
#[derive(Clone, Debug)]
struct Step {
    ahead_ms: i64,
    calling: u64,
    called: u64,
    trunk: u16,
    late_ms: i64,
}

fn step() -> impl Strategy<Value = Step> {
    let ahead = prop_oneof![
        20 => 0..HOUR_MS,
        2 => 0..30 * HOUR_MS,
        1 => -30 * HOUR_MS..0,
        1 => Just(i64::MAX / 4),
        1 => Just(i64::MIN / 4),
    ];
    (ahead, 1u64..6, 1u64..6, 0u16..3, prop_oneof![4 => Just(0), 1 => -60_000..26 * HOUR_MS]).prop_map(
        |(ahead_ms, calling, called, trunk, late_ms)| Step { ahead_ms, calling, called, trunk, late_ms },
    )
}

proptest! {
    #[test]
    fn counts_are_those_of_the_window_whatever_the_clock_does(steps in proptest::collection::vec(step(), 1..400)) {
        let mut live = Live::new(1 << 16, 1);
        // Every call with its hour, as long as the window has it.
        let mut calls: Vec<(i64, Step)> = Vec::new();
        let (mut now_ms, mut newest) = (MORNING, None::<i64>);
        for step in steps {
            now_ms = now_ms.saturating_add(step.ahead_ms).clamp(i64::MIN / 2, i64::MAX / 2);
            let hour = now_ms.div_euclid(HOUR_MS);
            match newest {
                Some(last) if (last - 23..=last).contains(&hour) => {}
                Some(last) if hour < last || hour >= last + 24 => {
                    calls.clear();
                    newest = Some(hour);
                }
                _ => newest = Some(hour),
            }
            live.tick(now_ms);
            let at_ms = now_ms.saturating_sub(step.late_ms);
            let Step { calling, called, trunk, .. } = step;
            live.see(&Seen { calling, called, trunk, at_ms });
            let newest = newest.unwrap();
            calls.retain(|(hour, _)| *hour > newest - 24);
            let hour = at_ms.div_euclid(HOUR_MS).min(newest);
            if hour > newest - 24 {
                calls.push((hour, step));
            }
            live.evaluate(&scale(), now_ms);
            for number in 1..6 {
                for one in live.of(number, &scale(), now_ms) {
                    let of = |call: &&(i64, Step)| call.1.calling == number && call.1.trunk == one.trunk;
                    prop_assert_eq!(one.outgoing as usize, calls.iter().filter(of).count());
                    prop_assert!(one.score <= 100);
                }
            }
        }
    }
}
