//! What is written is read back: by our reader, row by row against its check, and column by column.

use super::*;
use crate::store::rows;
use call::{Reason, Rule, RuleSet, Treatment, TrunkId, Would};
use journal::Tally;
use numbering::{Malformed, Party, ShortCode, Why};
use screening::screen;
use simulator::{Country, Event};

/// Calls of the small country, some of them stranger than it has.
fn records(count: usize) -> Vec<Record> {
    let country = Country::new(1);
    let policy = country.policy();
    let mut traffic = country.traffic().calls_per_day(1_000_000);
    let mut event = Event::default();
    (0..count)
        .map(|n| {
            traffic.next_into(&mut event);
            let mut call = policy.intake(event.time_ms, TrunkId(event.trunk as u16), &event.fields());
            let mut verdict = screen(&policy, &call);
            if n % 7 == 3 {
                let (rule, treatment, reason) = (Rule::R08, Treatment::Block, Reason::FixedFromAbroad);
                verdict.would = Some(Would { rule, treatment, reason });
                verdict.monitored = RuleSet::default().with(Rule::R08).with(Rule::R19);
                call.privacy = n % 2 == 0;
                call.redirecting =
                    Party::Short(ShortCode::from_digits(b"112").expect("a short code of three digits"));
            }
            if n % 11 == 5 {
                call.presentation = Party::Malformed(Malformed::new(Why::TooLong, b"1234567890123456"));
                call.called = Party::Restricted;
            }
            let call_id = match n % 5 {
                0 => vec![b'x'; n % 60],
                1 => vec![0xff; n % 60],
                _ => format!("{n}@10.0.0.1").into_bytes(),
            };
            Record::new(call, verdict, policy.basis_id() + (n as u64 / 5000), n as u32, &call_id)
        })
        .collect()
}

#[test]
fn every_row_is_read_back_as_it_was_sealed() {
    let all = records(20_000);
    let key = NumbersKey::new([7; 32]);
    for numbers in [Numbers::Clear, Numbers::Hashed, Numbers::Encrypted] {
        let hiding = Hiding { numbers, key: &key, nonce: [2; 12] };
        for count in [0, 1, 2, 1023, 1025, 8192, 20_000] {
            let mut names = |record: &Record| Arc::from(format!("trunk {}", record.call.trunk.0));
            let (file, sealed) = make(9, all[..count].iter(), &mut names, &hiding).unwrap();
            let mut tally = Tally::new(9);
            let (mut place, mut nulls) = (0, 0);
            rows::read(&file.into(), &mut |cells, check| {
                assert_eq!(tally.compare(cells, check), None, "row {place} of {count}");
                assert_eq!(cells[0], Cell::Integer(all[place].call.time_ms));
                assert_eq!(cells[18], Cell::Integer(place as i64));
                nulls += cells.iter().filter(|cell| **cell == Cell::Null).count();
                place += 1;
                true
            })
            .unwrap();
            assert_eq!((place, sealed.records), (count, count as u64));
            assert!(nulls > 2 * count || count == 0);
            assert_eq!(tally.finish(), sealed.digests(), "{count} rows");
            assert_eq!(sealed.last_ms, all[..count].iter().map(|record| record.call.time_ms).max());
        }
    }
}
