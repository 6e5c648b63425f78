//! Updates read, kept and let go of.

use super::*;

const NOW_MS: i64 = 1_780_000_000_000;
const FRESH_MS: i64 = 3_600_000;

fn number(i: u64) -> Number {
    Number::from_digits(format!("7701{i:07}").as_bytes()).unwrap()
}

fn abroad(at_ms: i64) -> Update {
    Update { status: Status::Roaming, visited: Some(*b"TR"), at_ms }
}

#[test]
fn every_update_comes_back_as_it_was_put() {
    let mut locations = Locations::new(10_000, FRESH_MS);
    let letters = || b'A'..=b'Z';
    let mut i = 0;
    for (first, second) in letters().flat_map(|first| letters().map(move |second| (first, second))) {
        for status in STATUSES {
            let update = Update { status, visited: Some([first, second]), at_ms: NOW_MS - i };
            assert_eq!(Packed::of(&update).update(), update);
            i += 1;
        }
    }
    assert_eq!(locations.update(number(1), abroad(NOW_MS - 5), NOW_MS), Outcome::Kept);
    let known = Whereabouts {
        status: Status::Roaming,
        reason: None,
        visited: Some(*b"TR"),
        method: Method::Feed,
        known_ms: Some(NOW_MS - 5),
    };
    assert_eq!(locations.get(number(1), NOW_MS), Some(known));
    assert_eq!(locations.get(number(2), NOW_MS), None);
}

#[test]
fn the_newest_counts_in_whatever_order_they_come() {
    let mut locations = Locations::new(10, FRESH_MS);
    let home = |at_ms| Update { status: Status::NotRoaming, visited: None, at_ms };
    assert_eq!(locations.update(number(1), home(NOW_MS - 10), NOW_MS), Outcome::Kept);
    assert_eq!(locations.update(number(1), abroad(NOW_MS - 11), NOW_MS), Outcome::Older);
    assert_eq!(locations.get(number(1), NOW_MS).unwrap().status, Status::NotRoaming);
    // Of two at one time the later to come was sent later.
    assert_eq!(locations.update(number(1), abroad(NOW_MS - 10), NOW_MS), Outcome::Kept);
    assert_eq!(locations.get(number(1), NOW_MS).unwrap().status, Status::Roaming);
}

#[test]
fn what_is_old_or_from_the_future_does_not_count() {
    let mut locations = Locations::new(10, FRESH_MS);
    assert_eq!(locations.update(number(1), abroad(NOW_MS), NOW_MS), Outcome::Kept);
    assert!(locations.get(number(1), NOW_MS + FRESH_MS - 1).is_some());
    assert_eq!(locations.get(number(1), NOW_MS + FRESH_MS), None);
    assert_eq!(locations.update(number(2), abroad(NOW_MS - FRESH_MS), NOW_MS), Outcome::Stale);
    assert_eq!(locations.update(number(2), abroad(NOW_MS + 60_001), NOW_MS), Outcome::Ahead);
    assert_eq!(locations.update(number(2), abroad(i64::MAX), NOW_MS), Outcome::Ahead);
    assert_eq!(locations.update(number(2), abroad(i64::MIN), NOW_MS), Outcome::Stale);
    assert_eq!(locations.update(number(2), abroad(NOW_MS + 60_000), NOW_MS), Outcome::Kept);
    assert_eq!(locations.get(number(2), NOW_MS).unwrap().known_ms, Some(NOW_MS));
}

#[test]
fn a_full_table_takes_known_numbers_and_room_comes_of_stale_ones() {
    let mut locations = Locations::new(100, FRESH_MS);
    for i in 0..100 {
        let at_ms = if i < 50 { NOW_MS - FRESH_MS + 1000 } else { NOW_MS };
        assert_eq!(locations.update(number(i), abroad(at_ms), NOW_MS), Outcome::Kept);
    }
    assert_eq!(locations.update(number(100), abroad(NOW_MS), NOW_MS), Outcome::Full);
    assert_eq!(locations.update(number(3), abroad(NOW_MS - 1), NOW_MS), Outcome::Kept);
    assert_eq!(locations.len(), 100);
    let later_ms = NOW_MS + FRESH_MS / 16;
    assert_eq!(locations.update(number(100), abroad(later_ms), later_ms), Outcome::Kept);
    assert_eq!(locations.len(), 52);
    assert!(locations.get(number(3), later_ms).is_some());
    assert!(locations.get(number(4), later_ms).is_none());
}

#[test]
fn a_million_numbers_take_64_bytes_each_at_most() {
    let in_use = || {
        // SAFETY: it reads glibc's own counters.
        let counted = unsafe { libc::mallinfo2() };
        counted.uordblks + counted.hblkhd
    };
    let before = in_use();
    let mut locations = Locations::new(1_000_000, FRESH_MS);
    let mut capacity = 0;
    for i in 0..1_000_000u64 {
        assert_eq!(locations.update(number(i), abroad(NOW_MS), NOW_MS), Outcome::Kept);
        if locations.known.capacity() != capacity && i > 100_000 {
            capacity = locations.known.capacity();
            let each = in_use().saturating_sub(before) / (i as usize + 1);
            assert!(each <= 64, "{each} bytes a number at {i}");
        }
    }
    let each = in_use().saturating_sub(before) / locations.len();
    assert!((17..=64).contains(&each), "{each} bytes a number");
}

#[test]
fn bodies_are_arrays_or_lines() {
    let one = r#"{"number":"+77010000001","roaming":true,"visited":"TR","time":"2026-05-28T20:26:40Z"}"#;
    let two = r#"{"number":"+77010000002","roaming":false,"time":"2026-05-29T01:26:39.5+05:00"}"#;
    let expected = vec![
        (number(1), abroad(NOW_MS)),
        (number(2), Update { status: Status::NotRoaming, visited: None, at_ms: NOW_MS - 500 }),
    ];
    for body in [
        format!("[{one},{two}]"),
        format!(" \n[{one},\n{two}]\n"),
        format!("{one}\n{two}"),
        format!("{one}\r\n\r\n{two}\n"),
    ] {
        assert_eq!(parse_updates(body.as_bytes()).as_ref(), Ok(&expected), "{body}");
    }
    for empty in ["", "\n", "[]"] {
        assert_eq!(parse_updates(empty.as_bytes()), Ok(Vec::new()));
    }
    assert_eq!(parse_updates(format!("[{}]", vec![two; 1000].join(",")).as_bytes()).unwrap().len(), 1000);
    for many in [format!("[{}]", vec![two; 1001].join(",")), vec![two; 1001].join("\n")] {
        assert_eq!(parse_updates(many.as_bytes()).unwrap_err(), "more than 1000 updates in one body");
    }
}

#[test]
fn a_fault_is_named_with_its_place_and_no_number_in_full() {
    let sound = r#"{"number":"+77010000002","roaming":false,"time":"2026-05-28T20:26:40Z"}"#;
    for (faulty, fault) in [
        ("1", "not an object"),
        (r#"{"number":"77010000001","roaming":true,"time":"2026-05-28T20:26:40Z"}"#, "number is not +"),
        (r#"{"roaming":true,"time":"2026-05-28T20:26:40Z"}"#, "number is not +"),
        (r#"{"number":"+77010000001","time":"2026-05-28T20:26:40Z"}"#, "roaming is not"),
        (r#"{"number":"+77010000001","roaming":"yes","time":"2026-05-28T20:26:40Z"}"#, "roaming is not"),
        (r#"{"number":"+77010000001","roaming":true,"time":"2026-05-28 20:26:40"}"#, "time is not"),
        (r#"{"number":"+77010000001","roaming":true,"time":1780000000}"#, "time is not"),
        (r#"{"number":"+77010000001","roaming":true}"#, "time is not"),
        (r#"{"number":"+77010000001","roaming":true,"time":"1969-05-28T20:26:40Z"}"#, "before 1970"),
        (
            r#"{"number":"+77010000001","roaming":true,"visited":"tr","time":"2026-05-28T20:26:40Z"}"#,
            "visited is not",
        ),
        (
            r#"{"number":"+77010000001","roaming":true,"visited":286,"time":"2026-05-28T20:26:40Z"}"#,
            "visited is not",
        ),
        (
            r#"{"number":"+77010000001","roaming":false,"visited":"TR","time":"2026-05-28T20:26:40Z"}"#,
            "visited is given",
        ),
        (r#"{"number":"+77010000001","roaming":true,"vlr":"9","time":"2026-05-28T20:26:40Z"}"#, "field vlr"),
    ] {
        for body in [format!("[{sound},{faulty}]"), format!("{sound}\n{faulty}\n{sound}")] {
            let said = parse_updates(body.as_bytes()).unwrap_err();
            assert!(said.starts_with("update 2: ") && said.contains(fault), "{said}");
            assert!(!said.contains("0000001") && !said.contains('\n'), "{said}");
        }
    }
    for body in ["{", "[", "[{}", "nonsense", "\u{0}", "[1] 2", "{\"number\":\"+77010000001\""] {
        let said = parse_updates(body.as_bytes()).unwrap_err();
        assert!(!said.contains("7701") && !said.contains('\n'), "{body}: {said}");
    }
}
