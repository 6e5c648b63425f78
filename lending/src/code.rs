//! One-time codes: six digits, kept as a keyed hash alone.

use crate::vault::{Use, Vault};

/// Digits of a code.
pub const DIGITS: usize = 6;

/// A code of random bytes; none where they would make some codes likelier than others: draw again.
pub fn of_random(bytes: [u8; 4]) -> Option<String> {
    const CODES: u32 = 1_000_000;
    let number = u32::from_be_bytes(bytes);
    (number < u32::MAX / CODES * CODES).then(|| format!("{:06}", number % CODES))
}

/// Whether a text can be a code at all.
pub fn is_code(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is kept of a code: bound to what it was sent for, so that it opens nothing else.
pub fn hash(vault: &Vault, bound_to: &str, code: &str) -> String {
    vault.mac(Use::Code, format!("{bound_to}:{code}").as_bytes())
}

/// Compares in constant time.
pub fn is_same(vault: &Vault, bound_to: &str, code: &str, kept: &str) -> bool {
    vault.is_mac(Use::Code, format!("{bound_to}:{code}").as_bytes(), kept)
}
