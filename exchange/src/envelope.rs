//! Letters sealed and opened: compact JWS (RFC 7515) with EdDSA (RFC 8037) or ES256 (RFC 7518 section 3.4).
//!
//! The key is the one of the member's TLS certificate, so what was asked and answered can be shown to others later.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::message::MOST_NAME;
use crate::{Letter, MOST_ITEMS, VERSION};

/// How far a letter's time may be from the reader's clock, in milliseconds: clocks of members may be 40 s apart.
const FRESH_MS: i64 = 90_000;
/// A letter from 90 s ahead can be shown again for 90 s after its own time.
const GENERATION_MS: i64 = 2 * FRESH_MS;

/// Signs with a member's private key.
pub struct Signer {
    key: PrivateKey,
}

enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// Checks what the holder of one public key signed.
#[derive(Clone)]
pub struct Verifier {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

#[derive(Clone, Copy)]
enum Algorithm {
    EdDsa,
    Es256,
}

/// Why a whole letter is refused. Each is counted by its reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Not three parts of base64url without padding, no JSON header, or a `crit` header: no extension is known.
    NotAJws,
    /// The header names another algorithm than the one of the writer's key.
    WrongAlgorithm,
    WrongSignature,
    /// Signed, but no letter: not JSON, a field missing, unknown, twice, of the wrong type or too long.
    NotALetter,
    WrongVersion,
    /// Written in the name of another member than the one whose key signed it.
    NotFromYou,
    NotForMe,
    /// Written more than 90 s ago by the reader's clock.
    TooOld,
    /// Written more than 90 s ahead of the reader's clock.
    TooNew,
    /// Its `jti` was taken before.
    Replayed,
    /// More than [`MOST_ITEMS`].
    TooManyItems,
    NoItems,
    /// An answer to something else, an answer where questions are due, or questions where an answer is.
    WrongReply,
}

/// The `jti`s that one member used lately, so that each letter is taken once.
///
/// Two generations of at least 180 s each: a letter cannot be fresh after both are gone. When the young one is full it
/// becomes the old one early, so memory is bounded, and [`Seen::early`] counts that.
pub struct Seen {
    most: usize,
    hash: RandomState,
    young: HashSet<u64>,
    old: HashSet<u64>,
    young_since_ms: i64,
    early: u64,
}

impl Signer {
    /// Takes an Ed25519 or P-256 private key, PKCS#8 in DER, unencrypted. None if it is neither.
    pub fn from_pkcs8(der: &[u8]) -> Option<Signer> {
        let key = match Ed25519KeyPair::from_pkcs8(der) {
            Ok(pair) => PrivateKey::Ed25519(pair),
            Err(_) => PrivateKey::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?),
        };
        Some(Signer { key })
    }

    /// The payload as a compact JWS.
    pub fn sign(&self, payload: &[u8]) -> String {
        let header = match self.key {
            PrivateKey::Ed25519(_) => r#"{"alg":"EdDSA","typ":"JWT"}"#,
            PrivateKey::P256(_) => r#"{"alg":"ES256","typ":"JWT"}"#,
        };
        self.sign_under(header, payload)
    }

    fn sign_under(&self, header: &str, payload: &[u8]) -> String {
        let mut jws = URL_SAFE_NO_PAD.encode(header);
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut jws);
        let signature = match &self.key {
            PrivateKey::Ed25519(pair) => pair.sign(jws.as_bytes()),
            PrivateKey::P256(pair) => {
                pair.sign(&SystemRandom::new(), jws.as_bytes()).expect("the system has randomness")
            }
        };
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut jws);
        jws
    }
}

impl Verifier {
    /// Takes an Ed25519 or P-256 public key, an X.509 SubjectPublicKeyInfo in DER. None if it is neither.
    pub fn from_spki(der: &[u8]) -> Option<Verifier> {
        // The library would take bare keys too; 32 bytes are a bare Ed25519 key, and no SPKI is as short.
        if der.first() != Some(&0x30) || der.len() == 32 {
            return None;
        }
        let ed25519 = ParsedPublicKey::new(&ED25519, der).map(|key| (Algorithm::EdDsa, key));
        let (algorithm, key) = ed25519
            .or_else(|_| {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).map(|key| (Algorithm::Es256, key))
            })
            .ok()?;
        Some(Verifier { algorithm, key })
    }

    /// The payload of a compact JWS that this key signed. Refused as [`Refused::NotAJws`], [`Refused::WrongAlgorithm`]
    /// or [`Refused::WrongSignature`].
    pub fn open(&self, jws: &str) -> Result<Vec<u8>, Refused> {
        let (signed, signature) = jws.rsplit_once('.').ok_or(Refused::NotAJws)?;
        let (header, payload) = signed.split_once('.').ok_or(Refused::NotAJws)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::NotAJws);
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&header).map_err(|_| Refused::NotAJws)?;
        // RFC 7515 section 4.1.11: what is critical must be understood, and here nothing is.
        if header.contains_key("crit") {
            return Err(Refused::NotAJws);
        }
        // The key decides what is checked, never the header: RFC 8725 section 3.1.
        match header.get("alg").and_then(serde_json::Value::as_str) {
            Some(name) if name == self.algorithm.name() => {}
            Some(_) => return Err(Refused::WrongAlgorithm),
            None => return Err(Refused::NotAJws),
        }
        self.key.verify_sig(signed.as_bytes(), &signature).map_err(|_| Refused::WrongSignature)?;
        Ok(payload)
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
        }
    }
}

/// Opens and checks a whole letter, all but whether it was taken before: ask [`Seen::take`] for its `jti`.
///
/// `from` and `to` are the names it must bear; `re` is, for answers, the `jti` of the questions, for questions None.
/// `now_ms` is in milliseconds since 1970-01-01 UTC; a letter is fresh for 90,000 ms both ways.
pub fn open_letter<T: DeserializeOwned>(
    jws: &str,
    by: &Verifier,
    from: &str,
    to: &str,
    re: Option<&str>,
    now_ms: i64,
) -> Result<Letter<T>, Refused> {
    /// All that can be said of a letter of a version to come.
    #[derive(Deserialize)]
    struct AnyVersion {
        version: u32,
    }

    let payload = by.open(jws)?;
    let letter: Letter<T> = serde_json::from_slice(&payload).map_err(|_| {
        match serde_json::from_slice::<AnyVersion>(&payload) {
            Ok(any) if any.version != VERSION => Refused::WrongVersion,
            _ => Refused::NotALetter,
        }
    })?;
    let ahead_ms = letter.iat_ms.saturating_sub(now_ms);
    match () {
        () if letter.version != VERSION => Err(Refused::WrongVersion),
        () if letter.iss != from => Err(Refused::NotFromYou),
        () if letter.aud != to => Err(Refused::NotForMe),
        () if !(1..=MOST_NAME).contains(&letter.jti.len()) => Err(Refused::NotALetter),
        () if letter.re.as_deref() != re => Err(Refused::WrongReply),
        () if ahead_ms < -FRESH_MS => Err(Refused::TooOld),
        () if ahead_ms > FRESH_MS => Err(Refused::TooNew),
        () if letter.items.is_empty() => Err(Refused::NoItems),
        () if letter.items.len() > MOST_ITEMS => Err(Refused::TooManyItems),
        () => Ok(letter),
    }
}

impl Refused {
    pub const ALL: [Refused; 13] = [
        Refused::NotAJws,
        Refused::WrongAlgorithm,
        Refused::WrongSignature,
        Refused::NotALetter,
        Refused::WrongVersion,
        Refused::NotFromYou,
        Refused::NotForMe,
        Refused::TooOld,
        Refused::TooNew,
        Refused::Replayed,
        Refused::TooManyItems,
        Refused::NoItems,
        Refused::WrongReply,
    ];

    /// As problems and counters name it.
    pub fn name(self) -> &'static str {
        match self {
            Refused::NotAJws => "not-a-jws",
            Refused::WrongAlgorithm => "wrong-algorithm",
            Refused::WrongSignature => "wrong-signature",
            Refused::NotALetter => "not-a-letter",
            Refused::WrongVersion => "wrong-version",
            Refused::NotFromYou => "not-from-you",
            Refused::NotForMe => "not-for-me",
            Refused::TooOld => "too-old",
            Refused::TooNew => "too-new",
            Refused::Replayed => "replayed",
            Refused::TooManyItems => "too-many-items",
            Refused::NoItems => "no-items",
            Refused::WrongReply => "wrong-reply",
        }
    }
}

impl Seen {
    /// Remembers at least the last `most` letters, and at most twice as many, 16 bytes or so each.
    pub fn new(most: usize) -> Seen {
        let (young, old) = (HashSet::new(), HashSet::new());
        Seen { most: most.max(1), hash: RandomState::new(), young, old, young_since_ms: i64::MIN, early: 0 }
    }

    /// Takes the letter of this `jti` at `now_ms`. False: it was taken before.
    pub fn take(&mut self, jti: &str, now_ms: i64) -> bool {
        // A keyed hash, so that long ids cost no memory and nobody can aim at another's.
        let id = self.hash.hash_one(jti);
        if self.young.contains(&id) || self.old.contains(&id) {
            return false;
        }
        // A generation that began in the future did so before the clock went back.
        self.young_since_ms = self.young_since_ms.min(now_ms);
        let is_old = now_ms.saturating_sub(self.young_since_ms) >= GENERATION_MS;
        if is_old || self.young.len() >= self.most {
            self.early += u64::from(!is_old);
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_since_ms = now_ms;
        }
        self.young.insert(id)
    }

    /// How often a generation was full before its time: letters older than `most` could then be replayed.
    pub fn early(&self) -> u64 {
        self.early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.1, as PKCS#8 (RFC 8410 section 7).
    fn rfc_8037_key() -> Vec<u8> {
        let d = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        [&head[..], &d].concat()
    }

    #[test]
    fn signs_the_example_of_rfc_8037_byte_for_byte() {
        let signer = Signer::from_pkcs8(&rfc_8037_key()).unwrap();
        let jws = signer.sign_under(r#"{"alg":"EdDSA"}"#, b"Example of Ed25519 signing");
        assert_eq!(
            jws,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
             hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn takes_a_letter_once_while_it_can_be_fresh() {
        let mut seen = Seen::new(1000);
        let written_ms = 1_000_000;
        for first_ms in [written_ms - FRESH_MS, written_ms, written_ms + FRESH_MS] {
            let jti = format!("{first_ms}");
            assert!(seen.take(&jti, first_ms));
            for now_ms in (first_ms..=written_ms + FRESH_MS).step_by(7_000) {
                assert!(seen.take(&format!("{first_ms} {now_ms}"), now_ms));
                assert!(!seen.take(&jti, now_ms), "{first_ms} again at {now_ms}");
            }
        }
        assert_eq!(seen.early(), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_clock_may_go_back() {
        let mut seen = Seen::new(100);
        for i in 0..1000 {
            assert!(seen.take(&i.to_string(), 5_000_000 - i * 1000), "{i}");
            assert!(seen.young.len() + seen.old.len() <= 200);
        }
        assert!((900..1000).all(|i| !seen.take(&i.to_string(), 4_000_000)), "the last hundred are known");
        assert_eq!(seen.early(), 9);
        assert!(seen.take("5", 4_000_000), "long forgotten");
    }
}
