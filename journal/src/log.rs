//! A log: a header and slots of records, in any run of bytes.

use crate::{RECORD_LEN, Record};

/// Bytes before the first record.
pub const HEADER_LEN: usize = RECORD_LEN;

const MAGIC: &[u8; 16] = b"qalqan journal 1";

/// Appends records to a run of bytes, most often a mapped file.
pub struct Log<B> {
    bytes: B,
    at: usize,
}

/// Why bytes are not a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogError {
    NotALog,
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a journal log")
    }
}

impl std::error::Error for LogError {}

impl<B: AsMut<[u8]>> Log<B> {
    /// Begins a log in bytes that are all zero. `created_ms` is kept in its header.
    pub fn begin(mut bytes: B, created_ms: i64) -> Log<B> {
        let header = &mut bytes.as_mut()[..HEADER_LEN];
        header[..16].copy_from_slice(MAGIC);
        header[16..24].copy_from_slice(&created_ms.to_le_bytes());
        Log { bytes, at: HEADER_LEN }
    }

    /// Appends a record; false when the log is full.
    #[inline]
    pub fn append(&mut self, record: &Record) -> bool {
        let Some(slot) = self.bytes.as_mut().get_mut(self.at..self.at + RECORD_LEN) else { return false };
        record.write(slot.try_into().expect("a slot is 128 bytes"));
        self.at += RECORD_LEN;
        true
    }

    /// Bytes in use, the header among them.
    pub fn len(&self) -> usize {
        self.at
    }

    pub fn is_empty(&self) -> bool {
        self.at == HEADER_LEN
    }
}

/// Reads the records of a log in order, past slots that hold none: a power loss keeps pages in any order.
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    /// After the last record read.
    position: usize,
    damaged: usize,
    is_live: bool,
}

impl<'a> Records<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Records<'a>, LogError> {
        match bytes.get(..MAGIC.len()) {
            Some(magic) if magic == MAGIC => Ok(Records::at(bytes, HEADER_LEN, false)),
            _ => Err(LogError::NotALog),
        }
    }

    /// Reads slots of a log that is being written, without its header, up to the first that holds no record
    /// yet; [`Records::position`] says how far that was.
    pub fn resume(slots: &'a [u8]) -> Records<'a> {
        Records::at(slots, 0, true)
    }

    fn at(bytes: &'a [u8], at: usize, is_live: bool) -> Records<'a> {
        Records { bytes, at, position: at, damaged: 0, is_live }
    }

    /// After the last record read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Slots passed over that hold bytes and no record: written halfway, changed, or of a later version.
    pub fn damaged(&self) -> usize {
        self.damaged
    }
}

/// Bytes of a log up to its last slot that holds anything: what may be cut off behind them is empty.
pub fn used_len(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    last.next_multiple_of(RECORD_LEN).min(bytes.len())
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let slot = self.bytes.get(self.at..self.at + RECORD_LEN)?;
            let record = Record::read(slot.try_into().expect("a slot is 128 bytes"));
            if record.is_none() && self.is_live {
                return None;
            }
            self.at += RECORD_LEN;
            if record.is_some() {
                self.position = self.at;
                return record;
            }
            self.damaged += usize::from(slot.iter().any(|&byte| byte != 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::{Call, Decided, Label, Reason, Rule, RuleSet, Treatment, TrunkClass, TrunkId, Verdict, Would};
    use numbering::{Number, Party};
    use proptest::prelude::*;

    fn record(time_ms: i64) -> Record {
        let call = Call {
            time_ms,
            trunk: TrunkId(3),
            class: TrunkClass::International,
            calling: Party::Number(Number::parse("+77272501234").unwrap()),
            presentation: Party::Absent,
            called: Party::Number(Number::parse("+77011234567").unwrap()),
            redirecting: Party::Restricted,
            privacy: true,
            national_form: true,
        };
        let verdict = Verdict {
            treatment: Treatment::Mark(Label::International),
            rule: Rule::R19,
            reason: Reason::FromAbroad,
            decided: Decided::ByPresentationNumber,
            would: Some(Would {
                treatment: Treatment::Block,
                rule: Rule::R08,
                reason: Reason::FixedFromAbroad,
            }),
            monitored: RuleSet::default().with(Rule::R08),
        };
        Record::new(call, verdict, 42, 1234, &[b'x'; 60])
    }

    #[test]
    fn reads_back_what_was_appended_until_it_is_full() {
        let mut bytes = vec![0u8; HEADER_LEN + 2 * RECORD_LEN + 5];
        let mut log = Log::begin(&mut bytes[..], 7);
        assert!(log.append(&record(1)) && log.append(&record(-2)) && !log.append(&record(3)));
        let mut records = Records::open(&bytes).unwrap();
        assert_eq!(records.by_ref().collect::<Vec<_>>(), [record(1), record(-2)]);
        assert_eq!((records.damaged(), records.position()), (0, HEADER_LEN + 2 * RECORD_LEN));
        assert_eq!(record(1).call_id(), [b'x'; 56]);
    }

    proptest! {
        /// What a kill in the middle of a write leaves: the records before it read, and the tail is seen.
        #[test]
        fn a_cut_log_keeps_its_whole_records(cut in 0usize..4 * RECORD_LEN, times in proptest::collection::vec(any::<i64>(), 3)) {
            let mut bytes = vec![0u8; HEADER_LEN + 4 * RECORD_LEN];
            let mut log = Log::begin(&mut bytes[..], 7);
            for &time in &times {
                log.append(&record(time));
            }
            bytes[HEADER_LEN + cut..].fill(0);
            let mut records = Records::open(&bytes).unwrap();
            let whole = records.by_ref().count();
            prop_assert_eq!(whole, (cut / RECORD_LEN).min(3));
            let torn = bytes[HEADER_LEN + whole * RECORD_LEN..].iter().any(|&b| b != 0);
            prop_assert_eq!(records.damaged(), usize::from(torn));
            prop_assert_eq!(used_len(&bytes), HEADER_LEN + (whole + usize::from(torn)) * RECORD_LEN);
        }

        /// A page that never reached the disk, or a changed byte: the records behind it still read.
        #[test]
        fn a_hole_hides_only_what_stood_there(from in 0usize..8, n in 1usize..4, filler in any::<u8>()) {
            let mut bytes = vec![0u8; HEADER_LEN + 10 * RECORD_LEN];
            let mut log = Log::begin(&mut bytes[..], 7);
            (0..8).for_each(|time| assert!(log.append(&record(time))));
            let to = (from + n).min(8);
            bytes[HEADER_LEN + from * RECORD_LEN..HEADER_LEN + to * RECORD_LEN].fill(filler);
            let times: Vec<i64> = Records::open(&bytes).unwrap().map(|record| record.call.time_ms).collect();
            let kept: Vec<i64> = (0..8).filter(|time| !(from..to).contains(&(*time as usize))).collect();
            prop_assert_eq!(times, kept);
            let live = Records::resume(&bytes[HEADER_LEN..]).count();
            prop_assert_eq!(live, from, "who follows waits for the slot");
        }

        #[test]
        fn a_changed_byte_is_seen(at in 0usize..RECORD_LEN, bit in 0u8..8) {
            let mut bytes = vec![0u8; HEADER_LEN + RECORD_LEN];
            Log::begin(&mut bytes[..], 7).append(&record(1));
            bytes[HEADER_LEN + at] ^= 1 << bit;
            prop_assert_eq!(Records::open(&bytes).unwrap().count(), 0);
        }

        #[test]
        fn random_bytes_are_no_log(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(records) = Records::open(&bytes) {
                records.count();
            }
            Records::resume(&bytes).count();
        }
    }
}
