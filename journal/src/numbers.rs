//! Numbers at rest: how the four number fields of a record are kept from who has no key.
//!
//! In logs each field is a word of 8 bytes, in segments a text. One secret of 32 bytes makes both: AES-256 in counter
//! mode (NIST SP 800-38A) over places, so that equal numbers do not look equal, or HMAC-SHA-256 cut to 56 bits, so
//! that they do. Integrity is not its matter: the checksum of a record and the seal of a segment see to that.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use numbering::Party;
use serde::{Deserialize, Serialize};

/// What a journal shows of a number to who reads its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// Nothing without the key.
    #[default]
    Encrypted,
    /// Whether two are the same: a keyed hash.
    Hashed,
    /// Every digit.
    Clear,
}

impl Numbers {
    pub fn name(self) -> &'static str {
        match self {
            Numbers::Encrypted => "encrypted",
            Numbers::Hashed => "hashed",
            Numbers::Clear => "clear",
        }
    }
}

/// Where a log's or a segment's keystream begins; never used twice with one key.
pub type Nonce = [u8; 12];

/// The name of a numbers key: the first 8 bytes of its hash.
pub type KeyId = [u8; 8];

/// The secret that opens numbers.
#[derive(Clone)]
pub struct NumbersKey {
    secret: [u8; 32],
    id: KeyId,
}

impl NumbersKey {
    pub fn new(secret: [u8; 32]) -> NumbersKey {
        let unnamed = NumbersKey { secret, id: [0; 8] };
        let hash = unnamed.derive(&[b"qalqan key id"]);
        NumbersKey { id: hash[..8].try_into().expect("8 of 32 bytes"), ..unnamed }
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    fn derive(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret));
        parts.iter().for_each(|part| context.update(part));
        context.sign().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    /// For the words of a log.
    pub fn of_log(&self, nonce: Nonce) -> Keystream {
        Keystream::new(self.derive(&[b"qalqan log numbers"]), nonce)
    }

    /// For the texts of a segment; the nonce is the segment's own.
    pub fn of_segment(&self, nonce: Nonce) -> Keystream {
        Keystream::new(self.derive(&[b"qalqan segment numbers", &nonce]), nonce)
    }

    /// The key of AES-256-GCM that letters of the exchange lie under.
    pub fn of_letters(&self) -> [u8; 32] {
        self.derive(&[b"qalqan exchange letters"])
    }

    pub fn tokens(&self) -> Tokens {
        Tokens(hmac::Key::new(hmac::HMAC_SHA256, &self.derive(&[b"qalqan number tokens"])))
    }
}

impl std::fmt::Debug for NumbersKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NumbersKey({})", crate::hex(&self.id))
    }
}

/// Bytes of keystream a record has: four words.
const RECORD_BYTES: usize = 32;
/// Records whose keystream is made at a time: one call in 64 pays about a microsecond, the others nothing.
const AHEAD: u64 = 64;

/// A keystream by the place of a record, made for many records at a time. Without allocation.
pub struct Keystream {
    key: EncryptingKey,
    nonce: Nonce,
    ready: [u8; RECORD_BYTES * AHEAD as usize],
    /// The place of the first record that `ready` is for; none yet: u64::MAX.
    first: u64,
}

impl Keystream {
    fn new(key: [u8; 32], nonce: Nonce) -> Keystream {
        let key = UnboundCipherKey::new(&AES_256, &key).and_then(EncryptingKey::ctr);
        let ready = [0; RECORD_BYTES * AHEAD as usize];
        Keystream { key: key.expect("a key of 32 bytes"), nonce, ready, first: u64::MAX }
    }

    /// The four words that hide, or show again, those of the record at a place (below 2^31).
    #[inline]
    pub fn words(&mut self, place: u64) -> [u64; 4] {
        let first = place - place % AHEAD;
        if first != self.first {
            self.make(first);
        }
        let at = (place - first) as usize * RECORD_BYTES;
        let word = |n: usize| {
            let bytes = &self.ready[at + 8 * n..at + 8 * n + 8];
            u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
        };
        [word(0), word(1), word(2), word(3)]
    }

    fn make(&mut self, first: u64) {
        // The counter block of SP 800-38A: 96 bits of nonce, 32 bits of block count, two blocks a record.
        let mut block = [0; 16];
        block[..12].copy_from_slice(&self.nonce);
        block[12..].copy_from_slice(&((first * 2) as u32).to_be_bytes());
        self.ready.fill(0);
        let context = EncryptionContext::Iv128(FixedLength::from(block));
        self.key.less_safe_encrypt(&mut self.ready, context).expect("counter mode takes any length");
        self.first = first;
    }
}

/// Makes the same token of the same number.
pub struct Tokens(hmac::Key);

impl Tokens {
    /// 56 bits: among 20 million numbers two share a token with odds of 1 to 360.
    pub fn of(&self, party: Party) -> [u8; 7] {
        let tag = hmac::sign(&self.0, &party.to_word().to_le_bytes());
        tag.as_ref()[..7].try_into().expect("7 of 32 bytes")
    }
}

/// Digits of four bits each as one integer: pairs of digits, then pairs of pairs, all at once.
#[inline]
fn decimal(digits: u64) -> u64 {
    let pair =
        |value: u64, bits: u32, mask: u64, weight: u64| (value & mask) + (value >> bits & mask) * weight;
    let value = pair(digits, 4, 0x0f0f_0f0f_0f0f_0f0f, 10);
    let value = pair(value, 8, 0x00ff_00ff_00ff_00ff, 100);
    let value = pair(value, 16, 0x0000_ffff_0000_ffff, 10_000);
    pair(value, 32, 0xffff_ffff, 100_000_000)
}

/// A number or malformed field in 56 bits: 15 digits as an integer, or 12 and why they are no number.
pub(crate) fn pack(party: Party) -> Option<u64> {
    let word = party.to_word();
    let digits = |count: u64| decimal(word.checked_shr(64 - 4 * count as u32).unwrap_or(0));
    match party {
        Party::Number(_) => Some(digits(word & 0xf)),
        Party::Malformed(_) => {
            let (why, count) = (word >> 8 & 0xf, word >> 12 & 0xf);
            Some(1 << 55 | why << 44 | count << 40 | digits(count))
        }
        Party::Absent | Party::Restricted | Party::Short(_) => None,
    }
}

pub(crate) fn unpack(packed: u64) -> Option<Party> {
    let lay = |mut value: u64, count: u64| {
        let mut word = 0;
        for n in (0..count).rev() {
            word |= (value % 10) << (60 - 4 * n);
            value /= 10;
        }
        (value == 0).then_some(word)
    };
    if packed >> 55 == 0 {
        let count = packed.checked_ilog10()? as u64 + 1;
        return Party::from_word(lay(packed, count.min(15))? | count)
            .filter(|party| party.number().is_some());
    }
    let (why, count) = (packed >> 44 & 0xf, packed >> 40 & 0xf);
    Party::from_word(lay(packed & 0xff_ffff_ffff, count.min(12))? | count << 12 | why << 8 | 0x30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use numbering::{Malformed, Number, Why};
    use proptest::prelude::*;

    /// NIST SP 800-38A, F.5.5: CTR-AES256, its first two blocks.
    #[test]
    fn the_keystream_is_that_of_the_standard() {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect()
        };
        let key = bytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, &key).unwrap()).unwrap();
        let counter: [u8; 16] = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
        let mut text = bytes("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let context = EncryptionContext::Iv128(FixedLength::from(counter));
        key.less_safe_encrypt(&mut text, context).unwrap();
        assert_eq!(text, bytes("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"));
    }

    #[test]
    fn no_two_places_and_no_two_nonces_share_a_keystream() {
        let key = NumbersKey::new([7; 32]);
        let mut seen = std::collections::HashSet::new();
        for nonce in 0..4u8 {
            let (mut log, mut segment) = (key.of_log([nonce; 12]), key.of_segment([nonce; 12]));
            for place in 0..300 {
                assert!(
                    log.words(place).into_iter().chain(segment.words(place)).all(|word| seen.insert(word))
                );
            }
            assert_eq!(log.words(5), key.of_log([nonce; 12]).words(5), "by place, in any order");
        }
    }

    proptest! {
        #[test]
        fn digits_make_an_integer(digits in proptest::collection::vec(0u64..16, 0..16)) {
            let word = digits.iter().fold(0, |word, digit| word << 4 | digit);
            prop_assert_eq!(decimal(word), digits.iter().fold(0, |sum, digit| sum * 10 + digit));
        }

        #[test]
        fn every_number_fits_56_bits(text in "\\+[1-9][0-9]{6,14}") {
            let party = Party::Number(Number::parse(&text).unwrap());
            let packed = pack(party).unwrap();
            prop_assert!(packed >> 56 == 0);
            prop_assert_eq!(unpack(packed), Some(party));
        }

        #[test]
        fn and_every_malformed_field(text in "[0-9a-z]{0,20}") {
            for why in [Why::NotANumber, Why::TooShort, Why::TooLong, Why::LeadingZero] {
                let party = Party::Malformed(Malformed::new(why, text.as_bytes()));
                prop_assert_eq!(unpack(pack(party).unwrap()), Some(party));
            }
        }

        #[test]
        fn no_bits_break_it(packed in 0u64..1 << 56) {
            let _ = unpack(packed);
        }
    }
}
