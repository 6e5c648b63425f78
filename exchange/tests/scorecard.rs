//! What each neighbour handed over, and what that suggests.

use call::{Reason, Rule, Treatment, Verdict};
use exchange::{Advice, Scorecard, Tally, Thresholds};

const DAY_MS: i64 = 86_400_000;

fn block(rule: Rule, reason: Reason) -> Verdict {
    Verdict::of_rule(rule, Treatment::Block, reason)
}

fn counted(verdict: &Verdict) -> Tally {
    let mut scorecard = Scorecard::default();
    scorecard.count(0, "t", verdict);
    scorecard.rows().next().unwrap().2.clone()
}

#[test]
fn rows_are_days_and_trunks() {
    let mut scorecard = Scorecard::default();
    let allow = Verdict::of_rule(Rule::R20, Treatment::Allow, Reason::NothingAgainst);
    for (time, trunk) in [(2 * DAY_MS, "b"), (0, "b"), (DAY_MS - 1, "a"), (2 * DAY_MS, "b"), (-1, "a")] {
        scorecard.count(time, trunk, &allow);
    }
    let rows = |scorecard: &Scorecard| -> Vec<(i64, String, u64)> {
        scorecard.rows().map(|(day, trunk, tally)| (day, trunk.to_owned(), tally.calls)).collect()
    };
    let expected = [(-1, "a", 1), (0, "a", 1), (0, "b", 1), (2, "b", 2)];
    assert_eq!(rows(&scorecard), expected.map(|(day, trunk, calls)| (day, trunk.to_owned(), calls)));
    let more = Tally { calls: 10, blocked: 5, spoofed: 3, denied: 2, unknown: 1 };
    scorecard.add(2, "b", &more);
    scorecard.forget_before(2);
    let (_, _, tally) = scorecard.rows().next().unwrap();
    assert_eq!(*tally, Tally { calls: 12, ..more });
    assert_eq!(scorecard.rows().count(), 1);
}

#[test]
fn spoofed_is_a_block_that_says_the_number_is_not_the_callers() {
    let says_so = ["R02", "R03", "R04", "R05", "R06", "R08", "R09", "R11", "R14"];
    for rule in Rule::ALL {
        let tally = counted(&block(rule, Reason::NotANumber));
        assert_eq!((tally.calls, tally.blocked), (1, 1));
        assert_eq!(tally.spoofed == 1, says_so.contains(&rule.id()), "{}", rule.id());
        assert_eq!(tally.denied == 1, ["R11", "R14"].contains(&rule.id()), "{}", rule.id());
        assert_eq!(tally.unknown == 1, ["R12", "R15"].contains(&rule.id()), "{}", rule.id());
        let passed = counted(&Verdict::of_rule(rule, Treatment::Withhold, Reason::NotANumber));
        assert_eq!((passed.calls, passed.blocked, passed.spoofed), (1, 0, 0));
    }
    let unwanted = counted(&block(Rule::R04, Reason::OnBlockList));
    assert_eq!(
        (unwanted.blocked, unwanted.spoofed),
        (1, 0),
        "the operator's own list is no sign of spoofing"
    );
}

#[test]
fn advice_begins_at_1_5_and_20_percent_of_a_thousand_calls() {
    let thresholds = Thresholds::default();
    let advice =
        |spoofed, calls| Scorecard::advice(&Tally { calls, spoofed, ..Tally::default() }, &thresholds);
    for (spoofed, calls, expected) in [
        (999, 999, Advice::None),
        (0, 1000, Advice::None),
        (9, 1000, Advice::None),
        (10, 1000, Advice::Warn),
        (49, 1000, Advice::Warn),
        (50, 1000, Advice::Throttle),
        (199, 1000, Advice::Throttle),
        (200, 1000, Advice::Cut),
        (1000, 1000, Advice::Cut),
        (99_999, 10_000_000, Advice::None),
        (100_000, 10_000_000, Advice::Warn),
        (u64::MAX, u64::MAX, Advice::Cut),
    ] {
        assert_eq!(advice(spoofed, calls), expected, "{spoofed} of {calls}");
    }
    let none = Thresholds { least_calls: 0, ..thresholds };
    assert_eq!(Scorecard::advice(&Tally::default(), &none), Advice::None, "no calls, no share");
}
