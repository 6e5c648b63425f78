//! Who is asked: the longest range decides.

use std::collections::BTreeMap;

use exchange::{Directory, Holder, MemberId};
use numbering::{Number, Prefix};
use proptest::prelude::*;

fn number(text: &str) -> Number {
    Number::from_digits(text.as_bytes()).unwrap()
}

fn prefix(text: &str) -> Prefix {
    Prefix::from_digits(text.as_bytes()).unwrap()
}

#[test]
fn the_longest_range_decides_in_whatever_order_they_come() {
    let (ours, north, south) = (Holder::Us, Holder::Member(MemberId(0)), Holder::Member(MemberId(1)));
    let ranges = [("7701", ours), ("7", north), ("77012345", south), ("770123456789012", north)];
    for turn in 0..ranges.len() {
        let mut directory = Directory::new();
        assert_eq!(directory.holder(number("77012345678")), None);
        let mut turned = ranges;
        turned.rotate_left(turn);
        turned.into_iter().for_each(|(text, holder)| directory.add_range(prefix(text), holder));
        for (text, holder) in [
            ("77012345678", Some(south)),
            ("77012355678", Some(ours)),
            ("7702234", Some(north)),
            ("770123456789012", Some(north)),
            ("99890123456", None),
        ] {
            assert_eq!(directory.holder(number(text)), holder, "{text}");
        }
    }
    let mut directory = Directory::default();
    directory.add_range(prefix("7701"), north);
    directory.add_range(prefix("7701"), south);
    assert_eq!(directory.holder(number("77010000000")), Some(south), "said again, the last holds");
}

proptest! {
    #[test]
    fn holds_as_a_table_of_texts_does(
        ranges in prop::collection::btree_map("[1-3][0-4]{0,8}", 0u16..100, 0..40),
        digits in "[1-3][0-4]{6,14}",
    ) {
        let mut directory = Directory::new();
        for (text, &member) in &ranges {
            directory.add_range(prefix(text), Holder::Member(MemberId(member)));
        }
        let longest = |all: &BTreeMap<String, u16>| {
            (1..=digits.len()).rev().find_map(|n| all.get(&digits[..n]).copied())
        };
        let told = directory.holder(number(&digits));
        prop_assert_eq!(told, longest(&ranges).map(|member| Holder::Member(MemberId(member))));
    }
}
