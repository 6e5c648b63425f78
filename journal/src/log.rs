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

/// Reads the records of a log in order.
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// How a log ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// At empty slots, or at the last byte.
    Clean,
    /// At a slot that holds bytes and no record: written halfway, or damaged.
    Torn,
}

impl<'a> Records<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Records<'a>, LogError> {
        match bytes.get(..MAGIC.len()) {
            Some(magic) if magic == MAGIC => Ok(Records { bytes, at: HEADER_LEN }),
            _ => Err(LogError::NotALog),
        }
    }

    /// Goes on where an earlier reader of the same log stopped, see [`Records::position`].
    pub fn resume(bytes: &'a [u8], position: usize) -> Records<'a> {
        Records { bytes, at: position.max(HEADER_LEN) }
    }

    /// Where the next record will stand.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How the log ends; asked after the last record.
    pub fn tail(&self) -> Tail {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let slot = &rest[..rest.len().min(RECORD_LEN)];
        if slot.iter().all(|&byte| byte == 0) { Tail::Clean } else { Tail::Torn }
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let slot = self.bytes.get(self.at..self.at + RECORD_LEN)?;
        let record = Record::read(slot.try_into().expect("a slot is 128 bytes"))?;
        self.at += RECORD_LEN;
        Some(record)
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
        assert_eq!(records.tail(), Tail::Clean);
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
            let torn = cut < 3 * RECORD_LEN && bytes[HEADER_LEN + whole * RECORD_LEN..].iter().any(|&b| b != 0);
            prop_assert_eq!(records.tail() == Tail::Torn, torn);
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
            Records::resume(&bytes, 0).count();
        }
    }
}
