//! What reading and judging a call cost in instructions, counted by callgrind: a figure that no other work on the machine
//! moves. It may not grow unnoticed.
//!
//! Where it grew for a reason, or fell: run this test, and write down what it says.

use std::process::Command;

/// Instructions a call in the release profile, as they were counted last.
const COUNTED: [(&str, f64); 4] =
    [("parse", 4889.0), ("judge", 843.0), ("answer", 6689.0), ("watch", 1150.0)];

/// What is too much more.
const TOLERANCE: f64 = 1.1;

/// Instructions of the whole program where it does `rounds` rounds of the work.
fn instructions(work: &str, rounds: u32) -> f64 {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", env!("CARGO_BIN_EXE_qalqan-bench")])
        .args(["count", work, "--rounds", &rounds.to_string()])
        .output()
        .expect("valgrind runs: ./test installs it");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count in {text}"))
}

#[test]
fn a_call_costs_no_more_instructions_than_before() {
    if cfg!(debug_assertions) {
        eprintln!("only the release profile is counted");
        return;
    }
    let counted = COUNTED.map(|(work, before)| {
        // What a program does once falls out of the difference.
        let a_round = instructions(work, 3) - instructions(work, 1);
        let now = a_round / (2.0 * bench::count::CALLS as f64);
        println!("{work}: {now:.0} instructions a call, {before:.0} before");
        (work, now, before)
    });
    for (work, now, before) in counted {
        assert!(now > 100.0, "{work}: {now} instructions are none");
        assert!(now <= before * TOLERANCE, "{work}: {now:.0} instructions a call, {before:.0} before");
    }
}
