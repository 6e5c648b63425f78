//! Packed lists answer as a map of their lines would, from memory and from the compact file, at any density.

use std::collections::HashMap;

use bytes::Bytes;
use lists::{CompactError, List, Stamp, Version};
use numbering::{Key, Number, Plan};
use proptest::prelude::*;

const STAMP: Stamp = Stamp { notes: 7, plan: Version::of_hash([5; 32]) };
/// Owner and expiry of an entry; the dates end at these moments.
const TERMS: [(&str, &str, i64); 4] = [
    ("Bank", "", i64::MAX),
    ("Bank", "2026-12-30", 1_798_675_200_000),
    ("", "2026-12-31T12:00:00Z", 1_798_718_400_000),
    ("Operator", "1970-01-01", 86_400_000),
];

fn plan() -> Plan {
    Plan::parse(include_str!("../../plans/kz.toml")).unwrap()
}

fn key(integer: u64) -> Key {
    Number::from_digits(integer.to_string().as_bytes()).unwrap().key()
}

fn file(list: &List) -> Vec<u8> {
    list.pack(&STAMP).concat()
}

/// Numbers that follow one another or lie far apart: `count` of them, spread over `span` from `first` on.
#[derive(Clone, Debug)]
struct Cluster {
    first: u64,
    span: u64,
    count: usize,
    terms: usize,
}

fn cluster(most: usize) -> impl Strategy<Value = Cluster> {
    (1_000_000u64..900_000_000_000_000, 0u32..24, 1..most, 1usize..5).prop_map(
        |(first, span, count, terms)| Cluster { first: first >> (span % 20), span: 1 << span, count, terms },
    )
}

/// A plain generator of numbers: the lines of a list need no better one.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// The lines of a list, and what a map makes of them: of two lines of a number the later expiry, else the first.
fn lines(clusters: &[Cluster], seed: u64) -> (String, HashMap<u64, usize>, usize) {
    let mut state = seed;
    let mut csv = "number,owner,expires,note\n".to_owned();
    let mut map: HashMap<u64, usize> = HashMap::new();
    let mut count = 0;
    for Cluster { first, span, count: own, terms } in clusters {
        for _ in 0..*own {
            let number = first.max(&1_000_000) + next(&mut state) % span;
            let terms = next(&mut state) as usize % terms;
            let (owner, expires, ends) = TERMS[terms];
            csv.push_str(&format!("+{number},{owner},{expires},\n"));
            map.entry(number)
                .and_modify(|held| {
                    if ends > TERMS[*held].2 {
                        *held = terms;
                    }
                })
                .or_insert(terms);
            count += 1;
        }
    }
    (csv, map, count)
}

fn agrees(list: &List, map: &HashMap<u64, usize>, lines: usize, seed: u64) -> Result<(), TestCaseError> {
    prop_assert_eq!((list.len(), list.duplicates()), (map.len(), lines - map.len()));
    let mut state = seed;
    let near = map.keys().flat_map(|&number| [number, number + 1, number - 1, number ^ 1 << 20]);
    let far = (0..1000).map(|_| 10_000_000 + next(&mut state) * 1000);
    for number in near.chain(far).filter(|&number| number >= 1_000_000) {
        for now in [0, 86_400_000, 1_798_700_000_000] {
            let found = list.find(key(number), now).map(|terms| (terms.owner(), terms.expires_ms));
            let held = map.get(&number).map(|&held| (TERMS[held].0, TERMS[held].2));
            prop_assert_eq!(found, held.filter(|(_, ends)| now < *ends), "{} at {}", number, now);
        }
    }
    let audit = list.audit(86_400_000);
    let count = |is: &dyn Fn(usize) -> bool| map.values().filter(|&&held| is(held)).count();
    prop_assert_eq!(audit.expired, count(&|held| held == 3));
    prop_assert_eq!(audit.without_owner, count(&|held| held == 2));
    prop_assert_eq!(audit.without_expiry, count(&|held| held == 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn behaves_as_a_map_of_its_lines(clusters in proptest::collection::vec(cluster(300), 0..12), seed: u64) {
        let (csv, map, count) = lines(&clusters, seed);
        let list = List::read(csv.as_bytes(), &plan(), |_| Ok(0)).unwrap();
        agrees(&list, &map, count, seed)?;
        let opened = List::open(file(&list).into(), &STAMP).unwrap();
        agrees(&opened, &map, count, seed)?;
        prop_assert_eq!(opened.version(), Version::of(csv.as_bytes()));
        prop_assert_eq!(opened.verify(), Ok(()));
        prop_assert_eq!(opened.audit(1_798_700_000_000), list.audit(1_798_700_000_000));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Sections of every form: bitmaps, blocks of any size, blocks that a run of numbers fills.
    #[test]
    fn behaves_as_a_map_when_it_is_crowded(
        section in 1_000u64..100_000_000,
        density in 2u32..200,
        terms in 1usize..5,
        run in 0u64..1_000_000,
        seed: u64,
    ) {
        let first = section << 20;
        let span = 1 << 20;
        let clusters = [
            Cluster { first, span, count: (span / u64::from(density)) as usize, terms },
            Cluster { first: first + span + run, span: 3000, count: 9000, terms: 1 },
            Cluster { first: first + span, span, count: 3000, terms },
        ];
        let (csv, map, count) = lines(&clusters, seed);
        let list = List::read(csv.as_bytes(), &plan(), |_| Ok(0)).unwrap();
        agrees(&list, &map, count, seed)?;
        let opened = List::open(file(&list).into(), &STAMP).unwrap();
        agrees(&opened, &map, count, seed)?;
    }
}

fn mixed() -> (List, Vec<u64>) {
    let clusters = [
        Cluster { first: 77_010_000_000, span: 1 << 22, count: 3000, terms: 4 },
        Cluster { first: 77_050_000_000, span: 1 << 12, count: 3000, terms: 1 },
        Cluster { first: 4_420_000_000, span: 1 << 33, count: 30, terms: 2 },
    ];
    let (csv, map, _) = lines(&clusters, 1);
    let csv = format!("{csv}112,Emergency centre,,call-back\n+7700*,Operator,,test\n");
    (List::read(csv.as_bytes(), &plan(), |_| Ok(0)).unwrap(), map.into_keys().collect())
}

#[test]
fn a_compact_file_is_told_from_csv_and_says_what_it_was_made_under() {
    let (list, _) = mixed();
    let file = Bytes::from(file(&list));
    assert!(List::is_compact(&file) && !List::is_compact(b"number,owner,expires,note\n"));
    let open = |stamp: Stamp| List::open(file.clone(), &stamp).err();
    assert_eq!(open(STAMP), None);
    assert_eq!(open(Stamp { notes: 8, ..STAMP }), Some(CompactError::Notes(7)));
    let other = Version::of(b"another plan");
    assert_eq!(open(Stamp { plan: other, ..STAMP }), Some(CompactError::Plan), "112 is a code of the plan");
    let full = List::read(&b"number,owner,expires,note\n+77272501234,a,,\n"[..], &plan(), |_| Ok(0)).unwrap();
    let file = Bytes::from(full.pack(&STAMP).concat());
    assert!(List::open(file, &Stamp { plan: other, ..STAMP }).is_ok(), "every line says all of its number");
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let whole = file(&mixed().0);
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let cut = Bytes::copy_from_slice(&whole[..length]);
        assert!(List::open(cut, &STAMP).is_err(), "{length} of {} bytes", whole.len());
    }
    assert!(List::open([&whole[..], b"x"].concat().into(), &STAMP).is_err());
}

#[test]
fn a_changed_header_is_refused_and_changed_content_is_found_by_its_checksum() {
    let (list, _) = mixed();
    let whole = file(&list);
    for at in 0..256 {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        assert!(List::open(changed.into(), &STAMP).is_err(), "byte {at}");
    }
    let parts = list.pack(&STAMP);
    let mut start = 0;
    for (index, part) in parts.iter().enumerate() {
        // The header and, in turn, a part and what fills it up to a line.
        if index % 2 == 1 && !part.is_empty() {
            for at in [start, start + part.len() / 2, start + part.len() - 1] {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                let outcome = List::open(changed.into(), &STAMP).and_then(|list| list.verify());
                assert!(matches!(outcome, Err(CompactError::Content | CompactError::Damaged)), "byte {at}");
            }
        }
        start += part.len();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Whatever stands in the content: an answer, right or wrong, or a refusal.
    #[test]
    fn changed_content_never_makes_a_look_up_stumble(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..60),
        start in 256usize..2000,
    ) {
        thread_local!(static MIXED: (Vec<u8>, Vec<u64>) = {
            let (list, numbers) = mixed();
            (file(&list), numbers)
        });
        MIXED.with(|(whole, numbers)| {
            let mut changed = whole.clone();
            for (index, byte) in &changes {
                // Half of them near the front, where the directory is.
                let end = if byte % 2 == 0 { changed.len() } else { start + 3000 };
                let at = start.min(end - 1) + index.index(end - start.min(end - 1));
                changed[at] = *byte;
            }
            if let Ok(list) = List::open(changed.into(), &STAMP) {
                for &number in numbers.iter().step_by(7) {
                    let found = list.find(key(number), 0).map(|terms| (terms.owner().len(), terms.note().len()));
                    std::hint::black_box(found);
                }
                list.audit(0);
            }
        });
    }
}
