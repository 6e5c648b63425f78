//! The text of a number field: what it becomes has one spelling, and that spelling means itself on every trunk.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use numbering::{Dialling, Party, Plan};

static PLANS: LazyLock<[Plan; 2]> = LazyLock::new(|| {
    [include_str!("../../plans/kz.toml"), include_str!("../../plans/gb.toml")]
        .map(|text| Plan::parse(text).unwrap())
});

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let plan = &PLANS[usize::from(choice & 1)];
    let trunk = |choice: u8| Dialling {
        national: choice & 2 != 0,
        international_prefixes: if choice & 4 != 0 { vec!["00".into(), "011".into()] } else { Vec::new() },
    };
    let normal = plan.normalise(text, &trunk(choice));
    assert!(!normal.national_form || choice & 2 == 0, "on a national trunk home forms are usual");
    match normal.party {
        Party::Number(number) => {
            let _ = plan.standing(number);
            let spelled = normal.party.reveal();
            assert!(
                spelled.starts_with('+') && spelled[1..].bytes().all(|byte| byte.is_ascii_digit()),
                "{spelled}"
            );
            for other in 0..8 {
                assert_eq!(plan.normalise(&spelled, &trunk(other)).party, normal.party, "{spelled}");
            }
        }
        Party::Short(code) => {
            let spelled = Party::Short(code).reveal();
            assert!(!spelled.is_empty() && spelled.len() <= text.len(), "{spelled}");
            assert_eq!(plan.normalise(&spelled, &trunk(choice)).party, normal.party, "{spelled}");
        }
        _ => {}
    }
    // Nothing that is shown shows more than it may: Debug and Display are masked.
    if let Party::Number(_) = normal.party {
        assert!(!format!("{:?} {}", normal.party, normal.party).contains(&normal.party.reveal()[1..]));
    }
});
