//! Rows of a segment in the making, as the bytes that their checks and the digests of columns are made over.
//!
//! The bytes are those that [`crate::Tally`] makes of cells. Most of a row is the same in thousands of rows, everything
//! but its time, its numbers, the time it took and its Call-ID: that is made once and copied.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::row::{shared_cells, text_head};
use crate::tally::{CHECK_BLOCK, Digests, Sums};
use crate::{CALL_ID_LEN, Cell, Cells, Hidden, NAMES, Record, Run, Text, pair};

const TIME: usize = 0;
const NUMBERS: usize = 3;
const TOOK_NS: usize = 18;
const CALL_ID: usize = 20;
/// The columns that rows share, by the pieces of a row that they stand together in.
const PIECES: [&[usize]; 3] = [&[1, 2], &[7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], &[19]];
/// The least a piece has room for, and the most that is copied of it without a call.
const PIECE: usize = 64;
const CELL: usize = 32;

/// Lays out rows one after the other.
pub struct Rows {
    segment: u64,
    hidden: Hidden,
    known: HashMap<Key, u32, BuildHasherDefault<Mix>>,
    kinds: Vec<Kind>,
    shared: Vec<Shared>,
    own: [Run; NAMES.len()],
    row: Run,
    /// The row before, where it waits to be checked together with this one.
    waiting: Run,
    in_pairs: bool,
    rows: u64,
    /// The kinds of the rows that wait to be digested.
    block: Vec<u32>,
    checks: Vec<u32>,
    lossy: Vec<u8>,
    sums: Sums,
}

/// A row that was laid out: its kind, and what is its own besides times.
pub struct Laid<'a> {
    pub kind: u32,
    pub numbers: [Option<Text>; 4],
    /// A text in a run of [`CALL_ID_LEN`] bytes at least.
    pub call_id: &'a [u8],
    pub call_id_len: usize,
}

/// Bytes with room behind them for a copy of a fixed size.
struct Piece {
    bytes: Vec<u8>,
    len: usize,
}

impl Piece {
    fn of<'a>(cells: impl Iterator<Item = &'a Cell<'a>>, room: usize) -> Piece {
        let mut bytes = Vec::new();
        cells.for_each(|cell| cell.put(&mut bytes));
        let len = bytes.len();
        bytes.resize(len.max(room), 0);
        Piece { bytes, len }
    }
}

/// What rows of one kind share.
struct Kind {
    pieces: [Piece; 3],
    cells: [Owned; NAMES.len()],
}

#[derive(PartialEq)]
enum Owned {
    Null,
    Bool(bool),
    Text(Box<str>),
}

/// A column that rows share, by kind.
struct Shared {
    column: usize,
    cells: Vec<Piece>,
    /// Where every kind has the same cell: that cell, as often as a block has rows.
    repeated: Option<Vec<u8>>,
    run: Run,
}

/// What makes the kind of a record.
type Key = (u64, u64, u64);

fn key(record: &Record) -> Key {
    let (call, verdict) = (&record.call, &record.verdict);
    let would = verdict.would.map_or(0, |would| {
        1 << 24
            | (would.rule as u64) << 16
            | u64::from(would.treatment.code()) << 8
            | u64::from(would.reason.code())
    });
    let what = (verdict.rule as u64) << 16
        | u64::from(verdict.treatment.code()) << 8
        | u64::from(verdict.reason.code());
    let call = u64::from(call.trunk.0) << 16
        | (call.class as u64) << 8
        | u64::from(call.privacy) << 2
        | u64::from(call.national_form) << 1
        | verdict.decided as u64;
    (record.basis, call << 32 | what, would << 32 | u64::from(verdict.monitored.0))
}

/// Mixes the few words of a key; who sends calls has no choice of many keys.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are words");
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Rows {
    pub fn new(segment: u64, hidden: Hidden) -> Rows {
        let shared = |column| Shared { column, cells: Vec::new(), repeated: None, run: Run::default() };
        Rows {
            segment,
            hidden,
            known: HashMap::default(),
            kinds: Vec::new(),
            shared: PIECES.into_iter().flatten().map(|&column| shared(column)).collect(),
            own: std::array::from_fn(|_| Run::default()),
            row: Run::default(),
            waiting: Run::default(),
            in_pairs: pair::is_fast(),
            rows: 0,
            block: Vec::with_capacity(CHECK_BLOCK),
            checks: Vec::new(),
            lossy: Vec::new(),
            sums: Sums::new(),
        }
    }

    /// Lays out the next row; the name of a trunk is asked for once for each kind.
    #[inline]
    pub fn lay<'a>(
        &'a mut self,
        record: &'a Record,
        trunk: &mut dyn FnMut(&Record) -> std::sync::Arc<str>,
    ) -> Laid<'a> {
        let key = key(record);
        let kind = match self.known.get(&key) {
            Some(&kind) => kind,
            None => self.meet(key, record, &trunk(record)),
        };
        let [start, middle, basis] = &self.kinds[kind as usize].pieces;
        let place = self.rows;
        let call = &record.call;
        let parties = [call.calling, call.presentation, call.called, call.redirecting];
        let numbers = self.hidden.show(place, parties);

        let row = &mut self.row;
        row.put::<8>(&self.segment.to_le_bytes(), 8);
        row.put::<8>(&place.to_le_bytes(), 8);
        put_integer(row, call.time_ms);
        put_integer(&mut self.own[TIME], call.time_ms);
        row.put::<PIECE>(&start.bytes, start.len);
        for (number, column) in numbers.iter().zip(&mut self.own[NUMBERS..]) {
            let (cell, len) = number.as_ref().map_or((&[0; Text::CELL], 1), Text::cell);
            row.put::<{ Text::CELL }>(cell, len);
            column.put::<{ Text::CELL }>(cell, len);
        }
        row.put::<PIECE>(&middle.bytes, middle.len);
        put_integer(row, i64::from(record.took_ns));
        put_integer(&mut self.own[TOOK_NS], i64::from(record.took_ns));
        row.put::<PIECE>(&basis.bytes, basis.len);

        let (room, len) = record.call_id_room();
        let is_ascii = room.is_ascii();
        let call_id_len = if is_ascii {
            len
        } else {
            let text = String::from_utf8_lossy(&room[..len]);
            self.lossy.clear();
            self.lossy.extend(text.as_bytes());
            self.lossy.resize(text.len().max(CALL_ID_LEN), 0);
            text.len()
        };
        let call_id: &[u8] = if is_ascii { room } else { &self.lossy };
        for run in [row, &mut self.own[CALL_ID]] {
            run.put::<5>(&text_head(call_id_len), 5);
            run.put::<CALL_ID_LEN>(call_id, call_id_len);
        }
        self.rows += 1;
        if !self.in_pairs {
            self.check_one();
        } else if self.waiting.is_empty() {
            std::mem::swap(&mut self.row, &mut self.waiting);
        } else {
            for check in pair::first_words(&mut self.waiting, &mut self.row) {
                self.checks.push(check);
                self.sums.check(check);
            }
            self.waiting.clear();
            self.row.clear();
        }
        self.block.push(kind);
        if self.block.len() == CHECK_BLOCK {
            self.end_block();
        }
        Laid { kind, numbers, call_id: if is_ascii { room } else { &self.lossy }, call_id_len }
    }

    fn check_one(&mut self) {
        let check = pair::first_word(self.row.as_slice());
        self.checks.push(check);
        self.sums.check(check);
        self.row.clear();
    }

    /// A kind that was not seen before.
    #[cold]
    fn meet(&mut self, key: Key, record: &Record, trunk: &str) -> u32 {
        let monitored: Vec<&str> = record.verdict.monitored.iter().map(|rule| rule.id()).collect();
        let (monitored, basis) = (monitored.join(" "), crate::hex(&record.basis.to_be_bytes()));
        let cells: Cells = shared_cells(record, trunk, &monitored, &basis);
        let kind = self.kinds.len() as u32;
        self.kinds.push(Kind {
            pieces: PIECES.map(|columns| Piece::of(columns.iter().map(|&column| &cells[column]), PIECE)),
            cells: cells.map(|cell| match cell {
                Cell::Text(text) => Owned::Text(text.into()),
                Cell::Bool(value) => Owned::Bool(value),
                Cell::Null | Cell::Integer(_) => Owned::Null,
            }),
        });
        for shared in &mut self.shared {
            let cell = Piece::of([cells[shared.column]].iter(), CELL);
            let own = &cell.bytes[..cell.len];
            shared.repeated = match &shared.repeated {
                None if kind == 0 => Some(own.repeat(CHECK_BLOCK)),
                Some(all) if *own == shared.cells[0].bytes[..shared.cells[0].len] => Some(all.clone()),
                _ => None,
            };
            shared.cells.push(cell);
        }
        self.known.insert(key, kind);
        kind
    }

    fn end_block(&mut self) {
        for shared in &mut self.shared {
            match &shared.repeated {
                Some(repeated) => {
                    let len = shared.cells[0].len * self.block.len();
                    self.sums.column(shared.column, &repeated[..len]);
                }
                None => {
                    shared.run.clear();
                    for &kind in &self.block {
                        let cell = &shared.cells[kind as usize];
                        shared.run.put::<CELL>(&cell.bytes, cell.len);
                    }
                    self.sums.column(shared.column, shared.run.as_slice());
                }
            }
        }
        for (column, run) in self.own.iter_mut().enumerate() {
            self.sums.column(column, run.as_slice());
            run.clear();
        }
        self.block.clear();
    }

    /// How many kinds there are so far; each has a number below.
    pub fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// The cell that rows of a kind have in a column that rows share.
    pub fn shared(&self, kind: usize, column: usize) -> Cell<'_> {
        match &self.kinds[kind].cells[column] {
            Owned::Null => Cell::Null,
            Owned::Bool(value) => Cell::Bool(*value),
            Owned::Text(text) => Cell::Text(text),
        }
    }

    /// The checks of all rows and the digests.
    pub fn finish(mut self) -> (Vec<u32>, Digests) {
        if !self.waiting.is_empty() {
            std::mem::swap(&mut self.row, &mut self.waiting);
            self.check_one();
        }
        self.end_block();
        (self.checks, self.sums.finish())
    }
}

#[inline(always)]
fn put_integer(run: &mut Run, value: i64) {
    run.put::<1>(&[1], 1);
    run.put::<8>(&value.to_le_bytes(), 8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tally;
    use crate::row::tests::ways;
    use call::{Call, Decided, Reason, Rule, RuleSet, Treatment, TrunkClass, TrunkId, Verdict, Would};
    use numbering::Party;
    use proptest::prelude::*;

    fn party() -> impl Strategy<Value = Party> {
        any::<u64>().prop_filter_map("a party", |word| {
            let digits = (0..15).fold(0, |digits, n| digits | (word >> (60 - 4 * n) & 7) << (60 - 4 * n));
            Party::from_word(match word % 4 {
                0 => 0,
                1 => 0x10,
                2 => digits & !0xffff | 12 << 12 | 1 << 8 | 0x30,
                _ => digits >> 20 << 20 | 11,
            })
        })
    }

    prop_compose! {
        fn record()(
            parties in [party(), party(), party(), party()],
            (time_ms, took_ns, basis, trunk) in (any::<i64>(), any::<u32>(), 0u64..3, 0u16..3),
            (class, rule, treatment, reason) in (0usize..TrunkClass::ALL.len(), 0u8..20, 0u8..7, 0u8..30),
            (privacy, national_form, decided, would) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
            monitored in 0u32..8,
            call_id in prop_oneof!["[a-z0-9@.]{0,70}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..70)],
        ) -> Record {
            let rule = Rule::from_index(rule).unwrap();
            let (treatment, reason) = (Treatment::from_code(treatment).unwrap(), Reason::from_code(reason).unwrap());
            let [calling, presentation, called, redirecting] = parties;
            let class = TrunkClass::ALL[class];
            let trunk = TrunkId(trunk);
            let call = Call { time_ms, trunk, class, calling, presentation, called, redirecting, privacy, national_form };
            let decided = if decided { Decided::ByNetworkNumber } else { Decided::ByPresentationNumber };
            let would = would.then_some(Would { rule, treatment, reason });
            let verdict = Verdict { treatment, rule, reason, decided, would, monitored: RuleSet(monitored) };
            Record::new(call, verdict, basis, took_ns, &call_id)
        }
    }

    fn name(trunk: u16) -> String {
        format!("trunk {}", "x".repeat(30 * usize::from(trunk)))
    }

    proptest! {
        /// The plain way: every cell made by itself, as a reader of the segment finds it.
        #[test]
        fn makes_the_checks_and_digests_of_plain_cells(records in proptest::collection::vec(record(), 1..40), times in 1usize..70, in_pairs in any::<bool>()) {
            for (mut hidden, rows_hidden) in ways().into_iter().zip(ways()) {
                let mut rows = Rows { in_pairs, ..Rows::new(7, rows_hidden) };
                let mut tally = Tally::new(7);
                let mut checks = Vec::new();
                // More rows than a block has, now and then.
                for (place, record) in records.iter().cycle().take(records.len() * times).enumerate() {
                    let call = &record.call;
                    let numbers = hidden.show(place as u64, [call.calling, call.presentation, call.called, call.redirecting]);
                    let monitored: Vec<&str> = record.verdict.monitored.iter().map(|rule| rule.id()).collect();
                    let (monitored, basis) = (monitored.join(" "), format!("{:016x}", record.basis));
                    let call_id = String::from_utf8_lossy(record.call_id()).into_owned();
                    let trunk = name(call.trunk.0);
                    let mut cells = shared_cells(record, &trunk, &monitored, &basis);
                    cells[TIME] = Cell::Integer(call.time_ms);
                    for (cell, number) in cells[NUMBERS..].iter_mut().zip(&numbers) {
                        *cell = number.as_ref().map_or(Cell::Null, |text| Cell::Text(text.as_str()));
                    }
                    cells[TOOK_NS] = Cell::Integer(i64::from(record.took_ns));
                    cells[CALL_ID] = Cell::Text(&call_id);
                    checks.push(tally.add(&cells));

                    let laid = rows.lay(record, &mut |record| name(record.call.trunk.0).into());
                    prop_assert_eq!(&laid.call_id[..laid.call_id_len], call_id.as_bytes());
                    prop_assert!(laid.call_id.len() >= CALL_ID_LEN);
                    let texts = laid.numbers.map(|text| text.map(|text| text.as_str().to_owned()));
                    prop_assert_eq!(texts, numbers.map(|text| text.map(|text| text.as_str().to_owned())));
                    let kind = laid.kind as usize;
                    for &column in PIECES.into_iter().flatten() {
                        prop_assert_eq!(rows.shared(kind, column), cells[column]);
                    }
                }
                prop_assert_eq!(rows.finish(), (checks, tally.finish()));
            }
        }
    }
}
