//! One verdict in 128 bytes, little-endian.
//!
//! | at | length | what |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32 of the rest |
//! | 4 | 1 | version of this layout: 2 |
//! | 5 | 1 | flags: 1 privacy, 2 national form, 4 by presentation number, 8 a monitored rule hit |
//! | 6 | 2 | trunk, an index into the basis |
//! | 8 | 8 | time, ms since 1970 UTC |
//! | 16 | 32 | calling, presentation, called, redirecting number, packed; encrypted where the log says so |
//! | 48 | 8 | basis: what the verdict stood on, by the first 8 bytes of its hash |
//! | 56 | 3 | rule, treatment, reason |
//! | 59 | 3 | rule, treatment, reason of the first monitored rule that hit |
//! | 62 | 1 | trunk class |
//! | 63 | 1 | length of the Call-ID kept |
//! | 64 | 4 | every monitored rule that hit, one bit each |
//! | 68 | 4 | time it took, ns |
//! | 72 | 56 | Call-ID, its beginning |

use call::{Call, Decided, Reason, Rule, RuleSet, Treatment, TrunkClass, TrunkId, Verdict, Would};
use numbering::Party;

pub const RECORD_LEN: usize = 128;
/// How much of a Call-ID is kept.
pub const CALL_ID_LEN: usize = 56;

/// 1 is the same with every number in clear.
const LAYOUT: u8 = 2;
const PRIVACY: u8 = 1;
const NATIONAL_FORM: u8 = 2;
const BY_PRESENTATION: u8 = 4;
const MONITORED: u8 = 8;

/// A call, its verdict, and what the verdict stood on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    pub call: Call,
    pub verdict: Verdict,
    /// The versions of rules, plan and lists, by the first 8 bytes of their hash.
    pub basis: u64,
    /// From the moment its worker took the message up to the answer ready, nanoseconds.
    pub took_ns: u32,
    call_id: [u8; CALL_ID_LEN],
    call_id_len: u8,
}

impl Record {
    pub fn new(call: Call, verdict: Verdict, basis: u64, took_ns: u32, call_id: &[u8]) -> Record {
        let mut kept = [0; CALL_ID_LEN];
        let n = call_id.len().min(CALL_ID_LEN);
        kept[..n].copy_from_slice(&call_id[..n]);
        Record { call, verdict, basis, took_ns, call_id: kept, call_id_len: n as u8 }
    }

    /// The beginning of the Call-ID; the whole of it up to 56 bytes.
    pub fn call_id(&self) -> &[u8] {
        &self.call_id[..usize::from(self.call_id_len)]
    }

    /// All the room of the Call-ID, and how much of it is one.
    #[inline]
    pub(crate) fn call_id_room(&self) -> (&[u8; CALL_ID_LEN], usize) {
        (&self.call_id, usize::from(self.call_id_len))
    }

    /// The words of the numbers are laid under `keystream`; zeros leave them as they are.
    #[inline]
    pub(crate) fn write(&self, slot: &mut [u8; RECORD_LEN], keystream: [u64; 4]) {
        let Record { call, verdict, .. } = self;
        let mut flags = 0;
        flags |= if call.privacy { PRIVACY } else { 0 };
        flags |= if call.national_form { NATIONAL_FORM } else { 0 };
        flags |= if verdict.decided == Decided::ByPresentationNumber { BY_PRESENTATION } else { 0 };
        flags |= if verdict.would.is_some() { MONITORED } else { 0 };
        let mut bytes = [0u8; RECORD_LEN];
        bytes[4] = LAYOUT;
        bytes[5] = flags;
        bytes[6..8].copy_from_slice(&call.trunk.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&call.time_ms.to_le_bytes());
        let parties = [call.calling, call.presentation, call.called, call.redirecting];
        for ((place, party), hidden) in bytes[16..48].chunks_exact_mut(8).zip(parties).zip(keystream) {
            place.copy_from_slice(&(party.to_word() ^ hidden).to_le_bytes());
        }
        bytes[48..56].copy_from_slice(&self.basis.to_le_bytes());
        bytes[56] = verdict.rule as u8;
        bytes[57] = verdict.treatment.code();
        bytes[58] = verdict.reason.code();
        if let Some(would) = verdict.would {
            bytes[59] = would.rule as u8;
            bytes[60] = would.treatment.code();
            bytes[61] = would.reason.code();
        }
        bytes[62] = call.class as u8;
        bytes[63] = self.call_id_len;
        bytes[64..68].copy_from_slice(&verdict.monitored.0.to_le_bytes());
        bytes[68..72].copy_from_slice(&self.took_ns.to_le_bytes());
        bytes[72..].copy_from_slice(&self.call_id);
        let checksum = crc32fast::hash(&bytes[4..]);
        slot[4..].copy_from_slice(&bytes[4..]);
        // The checksum makes the record count, so it must not be written before the rest.
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::Release);
        slot[..4].copy_from_slice(&checksum.to_le_bytes());
    }

    /// None where the bytes are no whole record. Without a keystream the numbers of a log that hides them are
    /// read as absent.
    pub(crate) fn read(bytes: &[u8; RECORD_LEN], keystream: Option<[u64; 4]>) -> Option<Record> {
        if crc32fast::hash(&bytes[4..]).to_le_bytes() != bytes[..4] || !(1..=LAYOUT).contains(&bytes[4]) {
            return None;
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let flags = bytes[5];
        let party = |n: usize| match keystream {
            Some(keystream) => Party::from_word(word(16 + 8 * n) ^ keystream[n]),
            None => Some(Party::Absent),
        };
        let call = Call {
            time_ms: word(8) as i64,
            trunk: TrunkId(u16::from_le_bytes([bytes[6], bytes[7]])),
            class: *TrunkClass::ALL.get(usize::from(bytes[62]))?,
            calling: party(0)?,
            presentation: party(1)?,
            called: party(2)?,
            redirecting: party(3)?,
            privacy: flags & PRIVACY != 0,
            national_form: flags & NATIONAL_FORM != 0,
        };
        let decided = match flags & BY_PRESENTATION != 0 {
            true => Decided::ByPresentationNumber,
            false => Decided::ByNetworkNumber,
        };
        let would = match flags & MONITORED != 0 {
            true => Some(Would {
                rule: Rule::from_index(bytes[59])?,
                treatment: Treatment::from_code(bytes[60])?,
                reason: Reason::from_code(bytes[61])?,
            }),
            false => None,
        };
        let verdict = Verdict {
            rule: Rule::from_index(bytes[56])?,
            treatment: Treatment::from_code(bytes[57])?,
            reason: Reason::from_code(bytes[58])?,
            decided,
            would,
            monitored: RuleSet(half(64)),
        };
        let call_id_len = bytes[63].min(CALL_ID_LEN as u8);
        let call_id = bytes[72..].try_into().expect("56 bytes");
        Some(Record { call, verdict, basis: word(48), took_ns: half(68), call_id, call_id_len })
    }
}
