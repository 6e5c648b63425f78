//! From as it was, on its way to the next hop and back while it is withheld: in this node's Via, encrypted.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

/// The key that From travels under while it is withheld: of this process alone.
static KEY: LazyLock<RandomizedNonceKey> = LazyLock::new(|| {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).expect("the system has randomness");
    RandomizedNonceKey::new(&AES_256_GCM, &key).expect("32 bytes")
});

/// The longest From that is given back as it was.
const LONGEST_FROM: usize = 400;

/// A value that nobody but this process reads, in letters that a parameter may have.
pub(super) fn seal(value: &[u8]) -> Option<String> {
    use std::fmt::Write;
    if value.len() > LONGEST_FROM {
        return None;
    }
    let mut bytes = value.to_vec();
    let nonce = KEY.seal_in_place_append_tag(Aad::empty(), &mut bytes).ok()?;
    let mut text = String::with_capacity(2 * (NONCE_LEN + bytes.len()));
    nonce.as_ref().iter().chain(&bytes).try_for_each(|byte| write!(text, "{byte:02x}")).ok()?;
    Some(text)
}

pub(super) fn unseal(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes: Option<Vec<u8>> =
        text.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
    let bytes = bytes?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let length = KEY.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?.len();
    sealed.truncate(length);
    Some(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_here_is_read_again() {
        let from = b"\"A\" <sip:+77017654321@x>;tag=1";
        let text = seal(from).unwrap();
        assert!(!text.contains("7017654321") && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(unseal(text.as_bytes()).as_deref(), Some(&from[..]));
        assert_ne!(seal(from), Some(text.clone()), "the same number does not look the same twice");
        let mut changed = text.into_bytes();
        let last = changed.last_mut().unwrap();
        *last = if *last == b'0' { b'1' } else { b'0' };
        for text in [&changed[..], b"", b"abc", b"zz", &[b'0'; 80]] {
            assert_eq!(unseal(text), None);
        }
        assert_eq!(seal(&[b'x'; LONGEST_FROM + 1]), None);
    }
}
