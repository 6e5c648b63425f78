//! What a list file says, and what keeps it from being taken.

use lists::{Atlas, List, ReadError};
use numbering::{Key, Number, Plan, ShortCode};
use proptest::prelude::*;

const DAY: i64 = 86_400_000;
/// 2026-12-31T00:00:00Z
const NEW_YEARS_EVE: i64 = 1_798_675_200_000;

fn read(file: &[u8]) -> Result<List, ReadError> {
    let plan = Plan::parse(include_str!("../../plans/kz.toml")).unwrap();
    List::read(file, &plan, |_| Ok(0))
}

fn key(text: &str) -> Key {
    Number::parse(text).unwrap().key()
}

#[test]
fn finds_numbers_prefixes_and_short_codes_with_their_terms() {
    let list = read(
        b"number,owner,expires,note\n\
          +77272501234,Bank,2026-12-31,call centre\n\
          +7700*,Operator,,test range\n\
          +77001*,Operator,2026-12-31,half of it\n\
          77015550000,Somebody,,without a plus\n\
          112,Emergency centre,,call-back\n",
    )
    .unwrap();
    assert_eq!((list.len(), list.prefix_count(), list.duplicates()), (5, 2, 0));
    let owner = |key: Key, now| list.find(key, now).map(|terms| terms.note());
    assert_eq!(owner(key("+77272501234"), 0), Some("call centre"));
    assert_eq!(owner(key("+77272501235"), 0), None);
    assert_eq!(owner(key("+77001234567"), 0), Some("half of it"), "the longest prefix");
    assert_eq!(owner(key("+77011234567"), 0), None);
    let plus_one = read(b"number,owner,expires,note\n+1*,A,,\n").unwrap();
    assert!(plus_one.find(key("+14155550123"), 0).is_some());
    assert!(plus_one.find(ShortCode::from_digits(b"112").unwrap().key(), 0).is_none());
    assert_eq!(owner(key("+77015550000"), 0), Some("without a plus"));
    assert_eq!(owner(ShortCode::from_digits(b"112").unwrap().key(), 0), Some("call-back"));
    // The named day still counts, the next does not; a shorter prefix takes over where a longer one has run out.
    assert_eq!(owner(key("+77272501234"), NEW_YEARS_EVE + DAY - 1), Some("call centre"));
    assert_eq!(owner(key("+77272501234"), NEW_YEARS_EVE + DAY), None);
    assert_eq!(owner(key("+77001234567"), NEW_YEARS_EVE + DAY), Some("test range"));
    let audit = list.audit(NEW_YEARS_EVE + DAY);
    assert_eq!((audit.expired, audit.without_owner, audit.without_expiry), (2, 0, 3));
}

#[test]
fn takes_any_column_order_windows_line_ends_quotes_and_a_byte_order_mark() {
    let list = read(
        b"\xef\xbb\xbfnote,number,colour,expires,owner\r\n\
          \"one, with a comma\",+77272501234,red,2026-12-31T12:00:00+05:00,\"Big \"\"Bank\"\"\"\r\n",
    )
    .unwrap();
    let bad = read(b"number,owner,expires,note\r\n\r\n+77272501234,a,,\r\nx,a,,\r\n").err().unwrap();
    assert_eq!(bad.to_string().split(':').next(), Some("line 4"));
    let terms = list.find(key("+77272501234"), 0).unwrap();
    assert_eq!((terms.owner(), terms.note()), ("Big \"Bank\"", "one, with a comma"));
    assert_eq!(terms.expires_ms, NEW_YEARS_EVE + 7 * 3_600_000);
}

#[test]
fn a_number_that_stands_twice_counts_until_its_later_expiry() {
    let list = read(b"number,owner,expires,note\n+77272501234,A,,\n+77272501234,B,2026-12-31,\n").unwrap();
    assert_eq!((list.len(), list.duplicates()), (1, 1));
    assert_eq!(list.find(key("+77272501234"), i64::MAX - 1).unwrap().owner(), "A");
}

#[test]
fn every_bad_line_is_named_and_the_list_is_refused_whole() {
    let file = b"number,owner,expires,note\n\
        +77272501234,ok,,\n\
        87272501234,trunk prefix,,\n\
        +7727,short,,\n\
        +7727x*,no digits,,\n\
        *,nothing,,\n\
        +77272501235,date,31.12.2026,\n\
        +77272501236,fields\n\
        \"+77272501237\n\",newline kept out by trimming,,\n\
        \"+7727250\n1238\",newline within,,\n";
    let Err(ReadError::BadLines(bad)) = read(file) else { panic!("taken") };
    let lines: Vec<u64> = bad.iter().map(|bad| bad.line).collect();
    assert_eq!(lines[..6], [3, 4, 5, 6, 7, 8], "{bad:?}");
    assert_eq!(lines.last(), Some(&11));
    let open = read(b"number,owner,expires,note\n+77272501234,a,,\"oops\n+77272501235,a,,\n");
    assert!(open.err().unwrap().to_string().starts_with("line 2: a quoted field"));
    assert!(bad[0].what.contains("write + and the country code first"));
    assert!(bad[4].what.contains("31.12.2026"));
    assert!(bad[5].what.contains("2 fields where the header has 4"));
}

#[test]
fn a_note_can_be_refused_by_who_reads_the_list() {
    let plan = Plan::parse(include_str!("../../plans/kz.toml")).unwrap();
    let file = b"number,owner,expires,note\n+77272501234,A,,R08\n+77272501235,A,,R99\n";
    let flags = |note: &str| {
        if note == "R08" { Ok(8) } else { Err(format!("no rule {note}")) }
    };
    assert_eq!(List::read(&file[..], &plan, flags).err().unwrap().to_string(), "line 3: no rule R99");
}

#[test]
fn a_missing_column_and_an_empty_file_say_what_is_wanted() {
    assert_eq!(read(b"").err().unwrap(), ReadError::Empty);
    assert_eq!(read(b" \n\n").err().unwrap(), ReadError::Empty);
    assert_eq!(read(b"number,owner,note\n").err().unwrap(), ReadError::MissingColumn("expires"));
    assert!(read(b"number,owner,expires,note\n").unwrap().is_empty());
}

#[test]
fn the_version_is_the_files_sha256() {
    let list = read(b"number,owner,expires,note\n").unwrap();
    // printf 'number,owner,expires,note\n' | sha256sum
    assert_eq!(
        list.version().to_string(),
        "12f3d127cbd8052c8321f7597c0d431425424aa0fd9855d7a105f743f4638e4c"
    );
}

proptest! {
    /// An atlas may send too many look-ups to a list, never too few: with it and without it every answer is the same.
    #[test]
    fn an_atlas_changes_no_answer(
        a in proptest::collection::vec("[1-9][0-9]{6,9}", 0..200),
        b in proptest::collection::vec("[1-9][0-9]{6,9}", 0..200),
        prefixes in proptest::collection::vec("[1-9][0-9]{0,3}", 0..3),
        others in proptest::collection::vec("[1-9][0-9]{6,9}", 0..200),
    ) {
        let csv = |numbers: &[String], prefixes: &[String]| {
            let numbers = numbers.iter().map(|number| format!("+{number},,,\n"));
            let prefixes = prefixes.iter().map(|prefix| format!("+{prefix}*,,,\n"));
            format!("number,owner,expires,note\n{}", numbers.chain(prefixes).collect::<String>())
        };
        let lists = [read(csv(&a, &[]).as_bytes()).unwrap(), read(csv(&b, &prefixes).as_bytes()).unwrap()];
        let atlas = Atlas::of(lists.iter().enumerate());
        for number in a.iter().chain(&b).chain(&others) {
            let key = key(&format!("+{number}"));
            let sought = atlas.seek(key);
            for (place, list) in lists.iter().enumerate() {
                let found = list.find(key, 0);
                prop_assert_eq!(list.look_up(&sought, place, 0), found);
                prop_assert!(found.is_none() || sought.may_be_covered(place));
            }
        }
    }
}

#[test]
fn an_atlas_denies_numbers_of_sections_that_no_list_has() {
    let csv: String = (0..50_000).map(|n| format!("+7701{n:07},,,\n")).collect();
    let list = read(format!("number,owner,expires,note\n{csv}").as_bytes()).unwrap();
    let atlas = Atlas::of(std::iter::once((3, &list)));
    assert!(atlas.seek(key("+77010000000")).may_be_on(3));
    assert!(!atlas.seek(key("+77010000000")).may_be_on(2), "another list");
    assert!(!atlas.seek(key("+77050000000")).may_be_on(3), "another range");
    assert!(!Atlas::default().seek(key("+77050000000")).may_be_on(3));
}
