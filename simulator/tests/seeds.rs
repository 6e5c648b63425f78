//! The law of the country holds on every seed tried; a seed that breaks it is named.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use call::TrunkId;
use lists::{List, Version};
use screening::{ListName, screen};
use simulator::{Checker, Country, Event, Report, START_MS, STORIES, Story, run};

fn check(report: &Report) {
    assert!(report.holds(), "seed {} breaks the law:\n{report}", report.seed);
    assert_eq!(report.honest_cut(), 0, "seed {}", report.seed);
    assert_eq!(report.tallies.iter().map(|tally| tally.calls()).sum::<u64>(), report.calls);
}

#[test]
fn forty_seeds_keep_the_law() {
    let mut told: HashSet<Story> = HashSet::new();
    for seed in 0..40 {
        let report = run(seed, 20_000);
        check(&report);
        told.extend(Story::ALL.iter().copied().filter(|&story| report.of(story).calls() > 0));
    }
    let untold: Vec<&str> =
        STORIES.iter().filter(|row| !told.contains(&row.story)).map(|row| row.name).collect();
    assert!(untold.is_empty(), "never told: {untold:?}");
}

#[test]
#[ignore = "long"]
fn a_thousand_seeds_keep_the_law() {
    (1000..2000).for_each(|seed| check(&run(seed, 20_000)));
}

#[test]
fn a_long_run_keeps_the_law_and_tells_every_story() {
    let report = run(300, 300_000);
    println!("{report}");
    check(&report);
    for row in STORIES {
        let calls = report.of(row.story).calls();
        let expected = 3.0 * f64::from(row.share);
        let slack = 5.0 * expected.sqrt();
        assert!((calls as f64 - expected).abs() < slack, "{}: {calls} calls, {expected} expected", row.name);
    }
    assert!(report.attacks_blocked() * 2 > report.attacks(), "{report}");
    assert!(report.refused_as_asked() > 0);
}

fn traffic_hash(seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    for event in Country::new(seed).traffic().take(20_000) {
        event.hash(&mut hasher);
    }
    hasher.finish()
}

#[test]
fn a_seed_is_one_country_and_no_other() {
    assert_eq!(traffic_hash(1), traffic_hash(1));
    assert_ne!(traffic_hash(1), traffic_hash(2));
    assert_eq!(Country::new(1).configuration(), Country::new(1).configuration());
    assert_ne!(Country::new(1).configuration(), Country::new(2).configuration());
}

#[test]
fn a_reused_event_is_the_same_as_a_new_one() {
    let country = Country::new(5);
    let mut filled = country.traffic();
    let mut event = Event::default();
    for fresh in country.traffic().take(5000) {
        filled.next_into(&mut event);
        assert_eq!(event, fresh);
    }
}

#[test]
fn the_clock_runs_forward_through_a_day_of_the_calls_asked_for() {
    let day_ms = 24 * 3_600_000;
    let mut by_hour = [0u64; 24];
    let mut last_ms = START_MS;
    for event in Country::new(6).traffic().calls_per_day(50_000) {
        assert!(event.time_ms >= last_ms);
        last_ms = event.time_ms;
        let into_ms = event.time_ms - START_MS;
        if into_ms >= day_ms {
            break;
        }
        by_hour[(into_ms / 3_600_000) as usize] += 1;
    }
    let calls: u64 = by_hour.iter().sum();
    assert!((47_000..53_000).contains(&calls), "{calls}");
    // Five in the evening at home is noon UTC; three at night is ten in the evening.
    assert!(by_hour[12] > 20 * by_hour[22], "{by_hour:?}");
}

fn run_at(seed: u64, start_ms: i64, calls_per_day: u64, calls: usize) -> Report {
    let country = Country::new(seed);
    let policy = country.policy();
    let mut checker = Checker::new(seed);
    let traffic = country.traffic().starting_at(start_ms).calls_per_day(calls_per_day);
    for event in traffic.take(calls) {
        let call = policy.intake(event.time_ms, TrunkId(event.trunk as u16), &event.fields());
        checker.observe(&event, &screen(&policy, &call));
    }
    checker.report()
}

#[test]
fn weeks_later_the_law_still_holds() {
    let report = run_at(8, START_MS, 2000, 30_000);
    assert!(report.to_ms - report.from_ms > 13 * 24 * 3_600_000);
    check(&report);
}

#[test]
fn caps_do_not_touch_a_busy_country() {
    check(&run_at(8, START_MS, 500_000_000, 300_000));
}

#[test]
fn another_day_will_do() {
    let year_ms = 365 * 24 * 3_600_000;
    let report = run_at(8, START_MS + year_ms, 1_000_000, 50_000);
    assert!(report.from_ms >= START_MS + year_ms);
    check(&report);
    assert!(run_at(8, 0, 1_000_000, 1).from_ms >= START_MS);
}

#[test]
fn the_policy_stands_on_every_text_of_the_configuration() {
    let country = Country::new(9);
    let configuration = country.configuration();
    let text = |path: &str| {
        let found = configuration.iter().find(|(known, _)| known == path);
        &found.unwrap_or_else(|| panic!("no {path}")).1
    };
    let version = |path: &str| Version::of(text(path).as_bytes()).to_string();
    let policy = country.policy();
    let basis = policy.basis();
    assert_eq!(basis.configuration, version("qalqan.toml"));
    assert_eq!(configuration.len(), 1 + basis.lists.len());
    // No exchange is played: nobody asks who holds a number.
    for name in ListName::ALL.into_iter().filter(|&name| name != ListName::Portability) {
        assert_eq!(basis.lists[name.name()], version(&format!("lists/{}.csv", name.name())));
        assert!(text("qalqan.toml").contains(&format!("\"lists/{}.csv\"", name.name())));
        let list = policy.list(name).expect("set");
        assert!(!list.is_empty() && list.duplicates() == 0, "{}", name.name());
        assert_eq!(list.audit(START_MS).without_owner, 0, "{}", name.name());
    }
    let sources: HashSet<&str> = country.trunks().iter().map(|trunk| trunk.source.as_str()).collect();
    assert_eq!(sources.len(), country.trunks().len());
    for (index, trunk) in country.trunks().iter().enumerate() {
        assert_eq!(policy.trunk_named(&trunk.name), Some(TrunkId(index as u16)));
        assert!(text("qalqan.toml").contains(&format!("[trunk.{}]", trunk.name)));
        let registered = policy.trunks[index].registered.as_deref();
        assert_eq!(
            registered.map(List::version),
            trunk.numbers.as_ref().map(|text| Version::of(text.as_bytes()))
        );
    }
    assert_eq!(country.trunks().iter().filter(|trunk| trunk.numbers.is_some()).count(), 2);
}
