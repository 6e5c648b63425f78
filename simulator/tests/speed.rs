//! How fast the country calls and is screened: `cargo test --release -p simulator -- --ignored --nocapture`.

use std::time::Instant;

use call::TrunkId;
use screening::screen;
use simulator::{Country, Event, run};

#[test]
#[ignore = "measures"]
fn calls_per_second() {
    const CALLS: u64 = 2_000_000;
    let started = Instant::now();
    let country = Country::new(1);
    let policy = country.policy();
    println!("country and policy: {:?}", started.elapsed());

    let mut event = Event::default();
    let mut traffic = country.traffic();
    let started = Instant::now();
    (0..CALLS).for_each(|_| traffic.next_into(&mut event));
    println!("generated: {:.0}/s", CALLS as f64 / started.elapsed().as_secs_f64());

    let events: Vec<Event> = country.traffic().take(100_000).collect();
    let started = Instant::now();
    for event in &events {
        let call = policy.intake(event.time_ms, TrunkId(event.trunk as u16), &event.fields());
        std::hint::black_box(screen(&policy, &call));
    }
    println!("taken in and screened: {:.0}/s", events.len() as f64 / started.elapsed().as_secs_f64());

    let started = Instant::now();
    let report = run(1, CALLS);
    println!("run: {:.0}/s\n{report}", CALLS as f64 / started.elapsed().as_secs_f64());
}
