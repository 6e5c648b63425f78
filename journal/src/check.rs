//! Checks of rows: each row carries four bytes over its place and its cells, the seal digests of columns and checks.
//!
//! The digests say that something is different, the checks say where: [`differences`] finds a place for each row that
//! was read and names rows that were changed, dropped, added or moved. A check has no secret. Who changes a row can
//! make its check fit; then the digest of its block of checks says in which block that was.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::tally::{CHECK_BLOCK, Digests, check};
use crate::{NAMES, sha256};

impl Digests {
    /// Columns that are not as the seal has them.
    pub fn columns_unlike<'a>(&'a self, sealed: &'a Digests) -> Vec<&'a str> {
        let mut unlike: Vec<&str> =
            NAMES.into_iter().filter(|name| self.columns.get(*name) != sealed.columns.get(*name)).collect();
        if self.checks != sealed.checks {
            unlike.push("check");
        }
        unlike
    }

    /// Blocks of checks that are not as the seal has them, from 0.
    fn blocks_unlike(&self, sealed: &Digests) -> Vec<u64> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let (ours, theirs) = (decode(&self.blocks), decode(&sealed.blocks));
        let count = ours.len().max(theirs.len()).div_ceil(8);
        let part = |bytes: &[u8], n: usize| bytes.get(8 * n..8 * n + 8).map(<[u8]>::to_vec);
        (0..count).filter(|&n| part(&ours, n) != part(&theirs, n)).map(|n| n as u64).collect()
    }
}

/// A row as it was read, for [`differences`].
pub struct Seen {
    pub check: u32,
    /// Its cells, where the check does not fit them at this row's place.
    pub misfit: Option<Box<[u8]>>,
}

/// What is different about rows; records are counted from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// A row is not what was sealed; where it stands now, and the columns that differ from the seal.
    Changed {
        record: u64,
        now: Option<u64>,
        columns: Vec<String>,
    },
    Dropped {
        from: u64,
        to: u64,
    },
    /// The row that now is the record-th was not sealed; perhaps a copy of a sealed one.
    Added {
        record: u64,
        copy_of: Option<u64>,
    },
    /// A sealed record stands in another's place.
    Moved {
        record: u64,
        now: u64,
    },
    /// Between these records rows were changed and their checks made to fit.
    Forged {
        from: u64,
        to: u64,
        columns: Vec<String>,
    },
    /// The rows are not those sealed, and their checks do not say which: the checks were made anew.
    ChecksForged {
        columns: Vec<String>,
    },
}

impl Difference {
    /// The row, counted from 0, that stands for it in the file as it was read.
    pub fn row(&self) -> Option<usize> {
        match self {
            Difference::Changed { record, now, .. } => now.or(Some(*record)).map(|now| now as usize - 1),
            Difference::Added { record, .. } => Some(*record as usize - 1),
            Difference::Moved { now, .. } => Some(*now as usize - 1),
            Difference::Dropped { .. } | Difference::Forged { .. } | Difference::ChecksForged { .. } => None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Changed { record, columns, .. } if columns.is_empty() => {
                write!(f, "record {record}: changed")
            }
            Difference::Changed { record, columns, .. } => {
                write!(f, "record {record}: changed: {}", columns.join(", "))
            }
            Difference::Dropped { from, to } if from == to => write!(f, "record {from}: dropped"),
            Difference::Dropped { from, to } => write!(f, "records {from} to {to}: dropped"),
            Difference::Added { record, copy_of: None } => {
                write!(f, "record {record}: added, it was never sealed")
            }
            Difference::Added { record, copy_of: Some(of) } => {
                write!(f, "record {record}: added, a copy of record {of}")
            }
            Difference::Moved { record, now } => {
                write!(f, "record {record}: reordered, it now stands as record {now}")
            }
            Difference::Forged { from, to, columns } => write!(
                f,
                "records {from} to {to}: changed, and their checks made to fit, so which of them cannot be told: {}",
                columns.join(", ")
            ),
            Difference::ChecksForged { columns } => write!(
                f,
                "records were changed, dropped or added and every check made anew, so which cannot be told: {}",
                columns.join(", ")
            ),
        }
    }
}

/// How far from where it stands a row is looked for; less where many rows fit nowhere.
const REACH: u64 = 4096;
const MISFITS_LOOKED_FOR: usize = 512;

/// Says how the rows read differ from those sealed.
pub fn differences(
    segment: u64,
    sealed_rows: u64,
    rows: &[Seen],
    found: &Digests,
    sealed: &Digests,
) -> Vec<Difference> {
    let unlike: Vec<String> = found.columns_unlike(sealed).into_iter().map(str::to_owned).collect();
    if unlike.is_empty() && rows.len() as u64 == sealed_rows {
        return Vec::new();
    }
    let mut list = by_place(segment, sealed_rows, rows);
    let in_place = list.iter().all(|found| matches!(found, Difference::Changed { .. }));
    if in_place {
        // Nothing moved: the digests of columns are about the same rows in the same order, and tell columns apart.
        for difference in &mut list {
            if let Difference::Changed { columns, .. } = difference {
                *columns = unlike.clone();
            }
        }
        if rows.len() as u64 == sealed_rows {
            let named = |block: u64| {
                list.iter().any(|found| {
                    matches!(found, Difference::Changed { record, .. } if (record - 1) / CHECK_BLOCK as u64 == block)
                })
            };
            let forged: Vec<Difference> = found
                .blocks_unlike(sealed)
                .into_iter()
                .filter(|&block| !named(block))
                .map(|block| Difference::Forged {
                    from: block * CHECK_BLOCK as u64 + 1,
                    to: ((block + 1) * CHECK_BLOCK as u64).min(sealed_rows),
                    columns: unlike.clone(),
                })
                .collect();
            list.extend(forged);
        }
    }
    if list.is_empty() {
        list.push(Difference::ChecksForged { columns: unlike });
    }
    list
}

/// Finds the sealed place of each row and reads the differences off the places.
fn by_place(segment: u64, sealed_rows: u64, rows: &[Seen]) -> Vec<Difference> {
    let places = places(segment, sealed_rows, rows);
    let anchored: Vec<(usize, u64)> =
        places.iter().enumerate().filter_map(|(row, place)| Some((row, (*place)?))).collect();
    let in_order = longest_rising(&anchored);
    let mut claimed: HashMap<u64, usize> = in_order.iter().map(|&(row, place)| (place, row)).collect();
    let mut list = Vec::new();
    for &(row, place) in &anchored {
        match *claimed.entry(place).or_insert(row) {
            owner if owner != row => {
                list.push(Difference::Added { record: row as u64 + 1, copy_of: Some(place + 1) });
            }
            _ if in_order.binary_search(&(row, place)).is_err() => {
                list.push(Difference::Moved { record: place + 1, now: row as u64 + 1 });
            }
            _ => {}
        }
    }
    // Between two rows that stand in order: rows without a place took the places nobody claims; more rows were added,
    // more places were dropped.
    let ends = [(rows.len(), sealed_rows)];
    let (mut row_from, mut place_from) = (0, 0);
    for &(row, place) in in_order.iter().chain(&ends) {
        let mut strangers = (row_from..row).filter(|&row| places[row].is_none());
        let mut free = (place_from..place).filter(|place| !claimed.contains_key(place)).peekable();
        let mut dropped: Option<(u64, u64)> = None;
        while free.peek().is_some() {
            let place = free.next().expect("peeked");
            match strangers.next() {
                Some(row) => {
                    let (record, now) = (place + 1, Some(row as u64 + 1));
                    list.push(Difference::Changed { record, now, columns: Vec::new() });
                }
                None => {
                    dropped = Some(match dropped {
                        Some((from, to)) if to + 1 == place => (from, place),
                        Some((from, to)) => {
                            list.push(Difference::Dropped { from: from + 1, to: to + 1 });
                            (place, place)
                        }
                        None => (place, place),
                    });
                }
            }
        }
        if let Some((from, to)) = dropped {
            list.push(Difference::Dropped { from: from + 1, to: to + 1 });
        }
        list.extend(strangers.map(|row| Difference::Added { record: row as u64 + 1, copy_of: None }));
        (row_from, place_from) = (row + 1, place + 1);
    }
    list
}

/// The place each row's check fits; none: it fits nowhere near.
fn places(segment: u64, sealed_rows: u64, rows: &[Seen]) -> Vec<Option<u64>> {
    let mut shift = 0i64;
    let mut lost = 0;
    let short = sealed_rows as i64 - rows.len() as i64;
    let mut places = Vec::with_capacity(rows.len());
    for (row, seen) in rows.iter().enumerate() {
        let row = row as u64;
        let Some(cells) = &seen.misfit else {
            shift = 0;
            places.push(Some(row).filter(|&row| row < sealed_rows));
            continue;
        };
        let fits = |place: i64| {
            (0..sealed_rows as i64).contains(&place) && check(segment, place as u64, cells) == seen.check
        };
        let here = row as i64 + shift;
        let reach = if lost < MISFITS_LOOKED_FOR { REACH as i64 } else { 2 };
        let around = (1..=reach).flat_map(|n| [here + n, here - n]);
        let place = [here, row as i64 + short].into_iter().chain(around).find(|&place| fits(place));
        match place {
            Some(place) => shift = place - row as i64,
            None => lost += 1,
        }
        places.push(place.map(|place| place as u64));
    }
    places
}

/// The longest part of the rows whose places rise: what stands in order.
fn longest_rising(rows: &[(usize, u64)]) -> Vec<(usize, u64)> {
    // Patience sorting: `tails[n]` is the row with the lowest place that ends a rise of n + 1.
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; rows.len()];
    for (index, &(_, place)) in rows.iter().enumerate() {
        let at = tails.partition_point(|&tail| rows[tail].1 < place);
        before[index] = at.checked_sub(1).map(|at| tails[at]);
        match tails.get_mut(at) {
            Some(tail) => *tail = index,
            None => tails.push(index),
        }
    }
    let mut rising: Vec<(usize, u64)> = std::iter::successors(tails.last().copied(), |&index| before[index])
        .map(|index| rows[index])
        .collect();
    rising.reverse();
    rising
}

/// SHA-256 of a file in hex, as seals name it.
pub fn file_hash(bytes: &[u8]) -> String {
    crate::hex(&sha256(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, Cells, Tally};

    type Plain = Vec<(i64, u32)>;

    fn cells(value: i64) -> Cells<'static> {
        let mut cells = [Cell::Null; NAMES.len()];
        cells[0] = Cell::Integer(value);
        cells[3] = Cell::Text("+77272501234");
        cells
    }

    fn seal(count: i64) -> (Plain, Digests) {
        let mut tally = Tally::new(7);
        let rows = (0..count).map(|value| (value, tally.add(&cells(value)))).collect();
        (rows, tally.finish())
    }

    fn found(sealed: &Digests, count: u64, rows: &Plain) -> Vec<String> {
        let mut tally = Tally::new(7);
        let seen: Vec<Seen> = rows
            .iter()
            .map(|&(value, check)| Seen { check, misfit: tally.compare(&cells(value), check) })
            .collect();
        let list = differences(7, count, &seen, &tally.finish(), sealed);
        list.iter().map(Difference::to_string).collect()
    }

    #[test]
    fn names_what_was_done_to_rows() {
        let (rows, sealed) = seal(3000);
        let after = |change: &dyn Fn(&mut Plain)| {
            let mut rows = rows.clone();
            change(&mut rows);
            found(&sealed, 3000, &rows)
        };
        assert_eq!(after(&|_| {}), [""; 0]);
        assert_eq!(after(&|rows| rows[1233].0 = -5), ["record 1234: changed: time"]);
        assert_eq!(after(&|rows| rows[8].1 ^= 1), ["record 9: changed: check"]);
        assert_eq!(
            after(&|rows| {
                rows.remove(99);
            }),
            ["record 100: dropped"]
        );
        assert_eq!(after(&|rows| drop(rows.drain(10..20))), ["records 11 to 20: dropped"]);
        assert_eq!(after(&|rows| rows.truncate(2990)), ["records 2991 to 3000: dropped"]);
        assert_eq!(after(&|rows| drop(rows.drain(..2500))), ["records 1 to 2500: dropped"]);
        assert_eq!(after(&|rows| rows.insert(5, (-1, 77))), ["record 6: added, it was never sealed"]);
        assert_eq!(after(&|rows| rows.insert(5, rows[50])), ["record 6: added, a copy of record 51"]);
        assert_eq!(
            after(&|rows| rows.swap(10, 900)),
            [
                "record 901: reordered, it now stands as record 11",
                "record 11: reordered, it now stands as record 901"
            ]
        );
        assert_eq!(
            after(&|rows| {
                rows[40].0 = -1;
                rows.remove(2000);
            }),
            ["record 41: changed", "record 2001: dropped"]
        );
    }

    #[test]
    fn says_plainly_when_the_checks_were_forged_too() {
        let (mut rows, sealed) = seal(3000);
        let honest = Tally::new(7).check(&cells(0));
        assert_eq!(honest, rows[0].1);
        let mut scratch = Vec::new();
        cells(-9).iter().for_each(|cell| cell.put(&mut scratch));
        rows[1500] = (-9, check(7, 1500, &scratch));
        let expected = "records 1025 to 2048: changed, and their checks made to fit, so which of them cannot be told: time, check";
        assert_eq!(found(&sealed, 3000, &rows), [expected]);
        let (other, _) = seal(2999);
        let shorter = found(&sealed, 3000, &other);
        assert_eq!(shorter, ["record 3000: dropped"]);
        let (longer, _) = seal(3001);
        assert_eq!(found(&sealed, 3000, &longer), ["record 3001: added, it was never sealed"]);
    }
}
