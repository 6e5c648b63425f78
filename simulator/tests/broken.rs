//! The checker can fail: policies broken on purpose are found out, each by the breach it deserves.

use std::sync::Arc;

use lists::List;
use screening::{ListName, Policy};
use simulator::{Breach, Country, Report, Story, run_under};

fn run_broken(calls: u64, break_it: impl Fn(&Country, &mut Policy)) -> Report {
    let country = Country::new(17);
    let mut policy = country.policy();
    break_it(&country, &mut policy);
    run_under(&country, &policy, calls)
}

fn drop_list(name: ListName) -> impl Fn(&Country, &mut Policy) {
    move |country, policy| {
        let empty = List::read(&b"number,owner,expires,note\n"[..], &country.plan, |_| Ok(0));
        policy.replace_list(name, Arc::new(empty.unwrap()));
    }
}

fn set_rule(rule: &'static str, mode: &'static str) -> impl Fn(&Country, &mut Policy) {
    move |_, policy| policy.trunks.iter_mut().for_each(|trunk| trunk.modes.set(rule, mode).unwrap())
}

fn assert_found(report: &Report, breach: Breach, story: Story) {
    let tally = report.of(story);
    assert!(tally.violations > 0, "nothing found of {}:\n{report}", story.name());
    let named = report.violations.iter().find(|violation| violation.breach == breach);
    let named = named.unwrap_or_else(|| panic!("no {breach:?}:\n{report}")).to_string();
    assert!(named.contains("seed 17 call ") && named.contains("**"), "{named}");
}

#[test]
fn without_exemptions_embassies_are_cut() {
    let report = run_broken(30_000, drop_list(ListName::Exempt));
    assert_found(&report, Breach::HonestCut, Story::Embassy);
    assert!(report.of(Story::TestSim).violations > 0 && report.honest_cut() > 0);
}

#[test]
fn without_r08_bank_numbers_get_through() {
    let report = run_broken(30_000, set_rule("R08", "off"));
    assert_found(&report, Breach::AttackPassed, Story::BankFromAbroad);
    assert_eq!(report.honest_cut(), 0);
    let monitored = run_broken(30_000, set_rule("R08", "monitor"));
    assert_eq!(monitored.violation_count(), report.violation_count());
}

#[test]
fn r12_in_block_cuts_roamers() {
    let report = run_broken(30_000, set_rule("R12", "block"));
    assert_found(&report, Breach::HonestCut, Story::HomeRoamer);
}

#[test]
fn without_roaming_numbers_visitors_are_not_reached() {
    let report = run_broken(30_000, drop_list(ListName::RoamingNumbers));
    assert_found(&report, Breach::HonestCut, Story::RoamingNumber);
}

#[test]
fn without_opt_outs_subscribers_get_what_they_asked_not_to() {
    let report = run_broken(50_000, drop_list(ListName::NoInternational));
    assert_found(&report, Breach::OptOutIgnored, Story::OptedOut);
    assert_eq!(report.refused_as_asked(), 0);
}

#[test]
fn a_wrong_opt_out_list_refuses_unasked() {
    let report = run_broken(20_000, |country, policy| {
        let all = List::read(&b"number,owner,expires,note\n+7*,,,\n"[..], &country.plan, |_| Ok(0));
        policy.replace_list(ListName::NoInternational, Arc::new(all.unwrap()));
    });
    assert_found(&report, Breach::RefusedUnasked, Story::ForeignCaller);
}

#[test]
fn every_list_is_missed() {
    // No exchange is played: nobody asks who holds a number.
    for name in ListName::ALL.into_iter().filter(|&name| name != ListName::Portability) {
        let report = run_broken(100_000, drop_list(name));
        assert!(!report.holds(), "nobody misses {}", name.name());
    }
}

#[test]
fn every_local_rule_is_missed() {
    for rule in
        ["R01", "ALLOW", "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R09", "R16", "R12", "R13", "R19"]
    {
        let report = run_broken(100_000, set_rule(rule, "off"));
        assert!(!report.holds(), "nobody misses {rule}");
    }
}
