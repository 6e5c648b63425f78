//! A log: a header and slots of records, in any run of bytes.

use crate::{KeyId, Keystream, Nonce, NumbersKey, RECORD_LEN, Record};

/// Bytes before the first record.
pub const HEADER_LEN: usize = RECORD_LEN;

const MAGIC: &[u8; 16] = b"qalqan journal 2";
/// As MAGIC, with every number in clear and nothing behind the time.
const MAGIC_1: &[u8; 16] = b"qalqan journal 1";

/// Appends records to a run of bytes, most often a mapped file.
pub struct Log<B> {
    bytes: B,
    at: usize,
    /// On the heap: a log is moved between threads.
    keystream: Option<Box<Keystream>>,
}

/// Why bytes are not a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogError {
    NotALog,
    /// The header was changed or is of a later version.
    Header,
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LogError::NotALog => "not a journal log",
            LogError::Header => "the header of this log is damaged",
        })
    }
}

impl std::error::Error for LogError {}

/// What a log says of itself.
///
/// | at | length | what |
/// | --- | --- | --- |
/// | 0 | 16 | `qalqan journal 2` |
/// | 16 | 8 | when it was begun, ms since 1970 UTC |
/// | 24 | 1 | 1: the number words are encrypted |
/// | 32 | 8 | by which key |
/// | 40 | 12 | the nonce |
/// | 124 | 4 | CRC-32 of bytes 0 to 123 |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogHead {
    pub created_ms: i64,
    pub encrypted: Option<(KeyId, Nonce)>,
}

impl LogHead {
    fn write(&self, header: &mut [u8]) {
        header[..16].copy_from_slice(MAGIC);
        header[16..24].copy_from_slice(&self.created_ms.to_le_bytes());
        if let Some((key, nonce)) = self.encrypted {
            header[24] = 1;
            header[32..40].copy_from_slice(&key);
            header[40..52].copy_from_slice(&nonce);
        }
        let checksum = crc32fast::hash(&header[..124]);
        header[124..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
    }

    pub fn read(bytes: &[u8]) -> Result<LogHead, LogError> {
        let header = bytes.get(..HEADER_LEN).ok_or(LogError::NotALog)?;
        let created_ms = i64::from_le_bytes(header[16..24].try_into().expect("8 bytes"));
        if header.starts_with(MAGIC_1) {
            return Ok(LogHead { created_ms, encrypted: None });
        }
        if !header.starts_with(MAGIC) {
            return Err(LogError::NotALog);
        }
        if crc32fast::hash(&header[..124]).to_le_bytes() != header[124..] {
            return Err(LogError::Header);
        }
        let key = header[32..40].try_into().expect("8 bytes");
        let nonce = header[40..52].try_into().expect("12 bytes");
        Ok(LogHead { created_ms, encrypted: (header[24] == 1).then_some((key, nonce)) })
    }

    /// What is needed to read the numbers, as far as the keys at hand allow.
    pub fn opening(&self, keys: &[NumbersKey]) -> Opening {
        match self.encrypted {
            None => Opening::Clear,
            Some((id, nonce)) => match keys.iter().find(|key| key.id() == id) {
                Some(key) => Opening::Key(Box::new(key.of_log(nonce))),
                None => Opening::Closed,
            },
        }
    }
}

/// How the numbers of a log can be read.
pub enum Opening {
    Clear,
    Key(Box<Keystream>),
    /// Not at all: their key is not at hand.
    Closed,
}

impl Opening {
    pub fn is_closed(&self) -> bool {
        matches!(self, Opening::Closed)
    }
}

impl<B: AsMut<[u8]>> Log<B> {
    /// Begins a log in bytes that are all zero. With a key the numbers in it are encrypted; its nonce must be new.
    pub fn begin(mut bytes: B, created_ms: i64, key: Option<(&NumbersKey, Nonce)>) -> Log<B> {
        let encrypted = key.map(|(key, nonce)| (key.id(), nonce));
        LogHead { created_ms, encrypted }.write(&mut bytes.as_mut()[..HEADER_LEN]);
        Log { bytes, at: HEADER_LEN, keystream: key.map(|(key, nonce)| Box::new(key.of_log(nonce))) }
    }

    /// Appends a record; false when the log is full.
    #[inline]
    pub fn append(&mut self, record: &Record) -> bool {
        let Some(slot) = self.bytes.as_mut().get_mut(self.at..self.at + RECORD_LEN) else { return false };
        let place = ((self.at - HEADER_LEN) / RECORD_LEN) as u64;
        let keystream = self.keystream.as_mut().map_or([0; 4], |keystream| keystream.words(place));
        record.write(slot.try_into().expect("a slot is 128 bytes"), keystream);
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
    slots: &'a [u8],
    at: usize,
    /// The place in the log of the first of these slots.
    first: u64,
    /// After the last record read.
    position: usize,
    damaged: Vec<u64>,
    is_live: bool,
    opening: &'a mut Opening,
}

impl<'a> Records<'a> {
    /// Reads slots that begin at the place `first` of their log.
    pub fn of_slots(slots: &'a [u8], first: u64, opening: &'a mut Opening) -> Records<'a> {
        Records { slots, at: 0, first, position: 0, damaged: Vec::new(), is_live: false, opening }
    }

    /// Reads slots of a log that is being written, up to the first that holds no record yet;
    /// [`Records::position`] says how far that was.
    pub fn resume(slots: &'a [u8], first: u64, opening: &'a mut Opening) -> Records<'a> {
        Records { is_live: true, ..Records::of_slots(slots, first, opening) }
    }

    /// In these slots, after the last record read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The places in the log of slots passed over that hold bytes and no record: written halfway, changed, or of
    /// a later version.
    pub fn damaged(&self) -> &[u64] {
        &self.damaged
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
            let slot = self.slots.get(self.at..self.at + RECORD_LEN)?;
            let place = self.first + (self.at / RECORD_LEN) as u64;
            // A zero is no version: do not pay for the empty space of a log.
            let record = if slot[4] == 0 {
                None
            } else {
                let keystream = match self.opening {
                    Opening::Clear => Some([0; 4]),
                    Opening::Key(keystream) => Some(keystream.words(place)),
                    Opening::Closed => None,
                };
                Record::read(slot.try_into().expect("a slot is 128 bytes"), keystream)
            };
            if record.is_none() && self.is_live {
                return None;
            }
            self.at += RECORD_LEN;
            if record.is_some() {
                self.position = self.at;
                return record;
            }
            if slot.iter().any(|&byte| byte != 0) {
                self.damaged.push(place);
            }
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

    fn key() -> NumbersKey {
        NumbersKey::new([3; 32])
    }

    fn begin(bytes: &mut [u8]) -> Log<&mut [u8]> {
        Log::begin(bytes, 7, Some((&key(), [9; 12])))
    }

    /// Records read, how many damaged, after the last one.
    fn read(bytes: &[u8]) -> (Vec<Record>, usize, usize) {
        let mut opening = LogHead::read(bytes).unwrap().opening(&[key()]);
        let mut records = Records::of_slots(&bytes[HEADER_LEN..], 0, &mut opening);
        (records.by_ref().collect(), records.damaged().len(), records.position())
    }

    #[test]
    fn reads_back_what_was_appended_until_it_is_full() {
        let mut bytes = vec![0u8; HEADER_LEN + 2 * RECORD_LEN + 5];
        let mut log = begin(&mut bytes);
        assert!(log.append(&record(1)) && log.append(&record(-2)) && !log.append(&record(3)));
        assert_eq!(read(&bytes), (vec![record(1), record(-2)], 0, 2 * RECORD_LEN));
        assert_eq!(record(1).call_id(), [b'x'; 56]);
        assert_eq!(LogHead::read(&bytes).unwrap().created_ms, 7);
    }

    #[test]
    fn numbers_are_read_with_their_key_alone() {
        let mut clear = vec![0u8; HEADER_LEN + 2 * RECORD_LEN];
        let mut hidden = clear.clone();
        let mut log = Log::begin(&mut clear[..], 7, None);
        assert!(log.append(&record(1)) && log.append(&record(1)));
        let mut log = begin(&mut hidden);
        assert!(log.append(&record(1)) && log.append(&record(1)));
        assert_eq!(read(&clear).0, read(&hidden).0);
        let words = |bytes: &[u8], slot: usize| bytes[HEADER_LEN + slot * RECORD_LEN..][16..48].to_vec();
        assert_eq!(words(&clear, 0), words(&clear, 1));
        assert!(
            words(&hidden, 0).chunks(8).all(|word| !words(&hidden, 1).chunks(8).any(|other| word == other))
        );
        let mut opening = LogHead::read(&hidden).unwrap().opening(&[NumbersKey::new([4; 32])]);
        assert!(opening.is_closed());
        let closed = Records::of_slots(&hidden[HEADER_LEN..], 0, &mut opening).next().unwrap();
        assert_eq!((closed.call.calling, closed.verdict), (Party::Absent, record(1).verdict));
        hidden[40] ^= 1;
        assert_eq!(LogHead::read(&hidden), Err(LogError::Header));
    }

    /// Layout 1 had every number in clear, and a header of a name and a time.
    #[test]
    fn logs_of_layout_1_are_still_read() {
        let mut bytes = vec![0u8; HEADER_LEN + RECORD_LEN];
        assert!(Log::begin(&mut bytes[..], 7, None).append(&record(1)));
        bytes[..16].copy_from_slice(b"qalqan journal 1");
        bytes[24..HEADER_LEN].fill(0);
        let slot = &mut bytes[HEADER_LEN..];
        slot[4] = 1;
        let checksum = crc32fast::hash(&slot[4..]);
        slot[..4].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(read(&bytes), (vec![record(1)], 0, RECORD_LEN));
    }

    proptest! {
        /// What a kill in the middle of a write leaves: the records before it read, and the tail is seen.
        #[test]
        fn a_cut_log_keeps_its_whole_records(cut in 0usize..4 * RECORD_LEN, times in proptest::collection::vec(any::<i64>(), 3)) {
            let mut bytes = vec![0u8; HEADER_LEN + 4 * RECORD_LEN];
            let mut log = begin(&mut bytes);
            for &time in &times {
                log.append(&record(time));
            }
            bytes[HEADER_LEN + cut..].fill(0);
            let (records, damaged, _) = read(&bytes);
            let whole = records.len();
            prop_assert_eq!(whole, (cut / RECORD_LEN).min(3));
            let torn = bytes[HEADER_LEN + whole * RECORD_LEN..].iter().any(|&b| b != 0);
            prop_assert_eq!(damaged, usize::from(torn));
            prop_assert_eq!(used_len(&bytes), HEADER_LEN + (whole + usize::from(torn)) * RECORD_LEN);
        }

        /// A page that never reached the disk, or a changed byte: the records behind it still read.
        #[test]
        fn a_hole_hides_only_what_stood_there(from in 0usize..8, n in 1usize..4, filler in any::<u8>()) {
            let mut bytes = vec![0u8; HEADER_LEN + 10 * RECORD_LEN];
            let mut log = begin(&mut bytes);
            (0..8).for_each(|time| assert!(log.append(&record(time))));
            let to = (from + n).min(8);
            bytes[HEADER_LEN + from * RECORD_LEN..HEADER_LEN + to * RECORD_LEN].fill(filler);
            let times: Vec<i64> = read(&bytes).0.iter().map(|record| record.call.time_ms).collect();
            let kept: Vec<i64> = (0..8).filter(|time| !(from..to).contains(&(*time as usize))).collect();
            prop_assert_eq!(times, kept);
            let mut opening = LogHead::read(&bytes).unwrap().opening(&[key()]);
            let live = Records::resume(&bytes[HEADER_LEN..], 0, &mut opening).count();
            prop_assert_eq!(live, from, "who follows waits for the slot");
        }

        #[test]
        fn a_changed_byte_is_seen(at in 0usize..RECORD_LEN, bit in 0u8..8) {
            let mut bytes = vec![0u8; HEADER_LEN + RECORD_LEN];
            begin(&mut bytes).append(&record(1));
            bytes[HEADER_LEN + at] ^= 1 << bit;
            prop_assert_eq!(read(&bytes).0.len(), 0);
        }

        #[test]
        fn random_bytes_are_no_log(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = LogHead::read(&bytes);
            Records::resume(&bytes, 0, &mut Opening::Clear).count();
            Records::of_slots(&bytes, 0, &mut Opening::Closed).count();
        }
    }
}
