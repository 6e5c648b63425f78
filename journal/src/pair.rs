//! SHA-256 of two rows side by side (FIPS 180-4): the rounds of one message wait for each other, those of two do not,
//! and a processor with instructions for them does both in little more time than one.

use sha2::block_api::compress256;

use crate::{Run, sha256};

/// FIPS 180-4, 5.3.3.
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Whether this processor has those instructions; without them sha2 is slower than one after the other by aws-lc.
pub fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// The first four bytes of the SHA-256 of a message.
pub fn first_word(message: &[u8]) -> u32 {
    u32::from_be_bytes(sha256(message)[..4].try_into().expect("4 of 32 bytes"))
}

/// The first four bytes of the SHA-256 of two messages, which are padded on the way.
pub fn first_words(a: &mut Run, b: &mut Run) -> [u32; 2] {
    let [a, b] = [pad(a), pad(b)];
    let (mut of_a, mut of_b) = (START, START);
    let both = a.len().min(b.len());
    for n in 0..both {
        compress256(&mut of_a, &a[n..=n]);
        compress256(&mut of_b, &b[n..=n]);
    }
    compress256(&mut of_a, &a[both..]);
    compress256(&mut of_b, &b[both..]);
    [of_a[0], of_b[0]]
}

/// FIPS 180-4, 5.1.1.
fn pad(message: &mut Run) -> &[[u8; 64]] {
    const BIT_AND_ZEROS: [u8; 64] = {
        let mut bytes = [0; 64];
        bytes[0] = 0x80;
        bytes
    };
    let bits = 8 * message.len() as u64;
    let zeros = (64 + 55 - message.len() % 64) % 64;
    message.put::<64>(&BIT_AND_ZEROS, 1 + zeros);
    message.put::<8>(&bits.to_be_bytes(), 8);
    message.as_slice().as_chunks().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_are_as_one_and_one(messages in [proptest::collection::vec(any::<u8>(), 0..400), proptest::collection::vec(any::<u8>(), 0..400)]) {
            let mut runs = [Run::default(), Run::default()];
            runs.iter_mut().zip(&messages).for_each(|(run, message)| run.extend(message));
            let [a, b] = &mut runs;
            prop_assert_eq!(first_words(a, b), [first_word(&messages[0]), first_word(&messages[1])]);
        }
    }
}
