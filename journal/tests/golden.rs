//! What checks and digests are made over does not change: the figures were made by another program, from the words of
//! docs/journal.md and `check.rs`, and are those of every segment since the first.

use call::{Call, Decided, Reason, Rule, RuleSet, Treatment, TrunkClass, TrunkId, Verdict, Would};
use journal::{Hidden, Record, Rows};
use numbering::{Number, Party, ShortCode};

#[test]
fn checks_and_digests_stay_what_they_are() {
    let call = Call {
        time_ms: 1_700_000_000_123,
        trunk: TrunkId(3),
        class: TrunkClass::International,
        calling: Party::Number(Number::parse("+77272501234").unwrap()),
        presentation: Party::Absent,
        called: Party::Short(ShortCode::from_digits(b"112").unwrap()),
        redirecting: Party::Restricted,
        privacy: true,
        national_form: false,
    };
    let verdict = Verdict {
        treatment: Treatment::Block,
        rule: Rule::R08,
        reason: Reason::FixedFromAbroad,
        decided: Decided::ByNetworkNumber,
        would: Some(Would { treatment: Treatment::Allow, rule: Rule::R20, reason: Reason::FromAbroad }),
        monitored: RuleSet::default().with(Rule::R08).with(Rule::R19),
    };
    let record = Record::new(call, verdict, 0xab, 1234, b"a84b4c76e66710");
    let mut rows = Rows::new(7, Hidden::Clear);
    for _ in 0..3 {
        rows.lay(&record, &mut |_| "alpha".into());
    }
    let (checks, digests) = rows.finish();
    assert_eq!(checks, [0x4a8e_f23b, 0x9f0f_30b0, 0x798c_411e]);
    assert_eq!(digests.checks, "bd826aa277dc6641d60b7737ffefb64e48552488e7a6da45cffbf7a315a4c473");
    assert_eq!(digests.blocks, "vYJqonfcZkE");
    assert_eq!(digests.columns["calling"], "UTv7uqXIkHDCLBOIAyrHCw");
    assert_eq!(digests.columns["reason"], "FOjz4gi-w4h7IC6OWgag_A");
}
