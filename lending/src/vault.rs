//! Personal data at rest: sealed with AES-256-GCM, found by a keyed hash (blind index), under keys that can be replaced.
//!
//! A key file has a line `ID SECRET` a key, SECRET being 64 hex digits; the first is in force, the others open what was
//! sealed before. From each, HKDF-SHA-256 (RFC 5869) makes a key for each use.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use journal::from_hex;

/// What a keyed hash is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Looking people and phones up.
    Index,
    /// One-time codes.
    Code,
    /// Access tokens.
    Token,
}

impl Use {
    const ALL: [Use; 3] = [Use::Index, Use::Code, Use::Token];

    fn label(self) -> &'static [u8] {
        match self {
            Use::Index => b"qalqan loans index",
            Use::Code => b"qalqan loans code",
            Use::Token => b"qalqan loans token",
        }
    }
}

struct Key {
    id: String,
    seal: LessSafeKey,
    macs: [hmac::Key; 3],
}

/// The keys of a store, the one in force first.
pub struct Vault(Vec<Key>);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

impl Key {
    fn new(id: &str, secret: &[u8; 32]) -> Key {
        let root = Salt::new(HKDF_SHA256, b"qalqan loans").extract(secret);
        let derive = |label: &[u8]| {
            let mut bytes = [0; 32];
            let label = [label];
            let made = root.expand(&label, Bytes32).and_then(|okm| okm.fill(&mut bytes));
            made.expect("HKDF gives 32 bytes");
            bytes
        };
        let seal = UnboundKey::new(&AES_256_GCM, &derive(b"qalqan loans seal")).expect("32 bytes");
        Key {
            id: id.to_owned(),
            seal: LessSafeKey::new(seal),
            macs: Use::ALL.map(|usage| hmac::Key::new(hmac::HMAC_SHA256, &derive(usage.label()))),
        }
    }
}

impl Vault {
    /// Reads a key file; the error names the line.
    pub fn parse(text: &str) -> Result<Vault, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = |what: &str| format!("line {}: {what}", n + 1);
            let (id, secret) = line.split_once(' ').ok_or_else(|| place("not ID SECRET"))?;
            if id.is_empty() || id.len() > 32 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(place("an ID is of letters and digits, at most 32"));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(place("this ID stands here twice"));
            }
            let secret = from_hex::<32>(secret.trim()).ok_or_else(|| place("SECRET is not 64 hex digits"))?;
            keys.push(Key::new(id, &secret));
        }
        if keys.is_empty() { Err("no key: make one by qalqan loan key".to_owned()) } else { Ok(Vault(keys)) }
    }

    /// The key in force.
    pub fn current(&self) -> &str {
        &self.0[0].id
    }

    /// Seals under the key in force. `nonce` has to be random and new; `about` is what the text belongs to, and has to be
    /// said again to open it.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], about: &str, text: &str) -> String {
        let key = &self.0[0];
        let mut bytes = text.as_bytes().to_vec();
        let sealed = key.seal.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(about.as_bytes()),
            &mut bytes,
        );
        sealed.expect("texts here are short");
        format!("{}.{}", key.id, URL_SAFE_NO_PAD.encode([&nonce[..], &bytes].concat()))
    }

    /// Opens what [`Vault::seal`] made; none: another key, another `about`, or changed.
    pub fn open(&self, about: &str, sealed: &str) -> Option<String> {
        let (id, body) = sealed.split_once('.')?;
        let key = self.0.iter().find(|key| key.id == id)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.seal.open_in_place(nonce, Aad::from(about.as_bytes()), &mut text).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }

    /// The ID of the key that sealed or hashed a text.
    pub fn key_of(kept: &str) -> &str {
        kept.split_once('.').map_or("", |(id, _)| id)
    }

    /// A keyed hash under the key in force.
    pub fn mac(&self, usage: Use, bytes: &[u8]) -> String {
        mac(&self.0[0], usage, bytes)
    }

    /// The keyed hashes under every key: a row may have been written under any.
    pub fn macs(&self, usage: Use, bytes: &[u8]) -> Vec<String> {
        self.0.iter().map(|key| mac(key, usage, bytes)).collect()
    }

    /// Compares in constant time.
    pub fn is_mac(&self, usage: Use, bytes: &[u8], kept: &str) -> bool {
        let Some((id, tag)) = kept.split_once('.') else { return false };
        let Some(key) = self.0.iter().find(|key| key.id == id) else { return false };
        let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
        hmac::verify(&key.macs[usage as usize], bytes, &tag).is_ok()
    }
}

fn mac(key: &Key, usage: Use, bytes: &[u8]) -> String {
    let tag = hmac::sign(&key.macs[usage as usize], bytes);
    format!("{}.{}", key.id, URL_SAFE_NO_PAD.encode(tag.as_ref()))
}
