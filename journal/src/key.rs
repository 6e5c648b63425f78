//! Ed25519 keys (RFC 8032) of seals, in the PEM forms that other programs read: PKCS#8 and SPKI (RFC 8410).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sha256;

/// RFC 8410 section 4: what stands in front of the 32 bytes of a public key in DER.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// RFC 8410 section 7: and in front of those of a private key.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Who signs is who has the private half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    pub fn from_pem(pem: &[u8]) -> Option<PublicKey> {
        let der = from_pem(pem, "PUBLIC KEY")?;
        Some(PublicKey(der.strip_prefix(&SPKI)?.try_into().ok()?))
    }

    pub fn to_pem(self) -> String {
        to_pem("PUBLIC KEY", &[&SPKI[..], &self.0].concat())
    }

    /// The JWK thumbprint (RFC 7638, RFC 8037 appendix A.3): the `kid` of what it signed.
    pub fn id(self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0);
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        URL_SAFE_NO_PAD.encode(sha256(jwk.as_bytes()))
    }

    pub fn has_signed(self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// As the `x` of a JWK (RFC 8037 section 2).
impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(PublicKey).ok_or_else(|| serde::de::Error::custom("no Ed25519 public key"))
    }
}

/// Signs seals.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
    seed: [u8; 32],
}

impl SigningKey {
    /// The key of 32 random bytes.
    pub fn new(seed: [u8; 32]) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed");
        let public = PublicKey(pair.public_key().as_ref().try_into().expect("32 bytes"));
        SigningKey { pair, public, seed }
    }

    pub fn from_pem(pem: &[u8]) -> Option<SigningKey> {
        let der = from_pem(pem, "PRIVATE KEY")?;
        Some(SigningKey::new(der.strip_prefix(&PKCS8)?.try_into().ok()?))
    }

    pub fn to_pem(&self) -> String {
        to_pem("PRIVATE KEY", &[&PKCS8[..], &self.seed].concat())
    }

    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// RFC 7468.
fn to_pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn from_pem(pem: &[u8], label: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A: one key, its thumbprint, a signature.
    #[test]
    fn makes_what_the_standard_shows() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = SigningKey::new(seed.try_into().unwrap());
        assert_eq!(
            serde_json::to_string(&key.public()).unwrap(),
            "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
        );
        assert_eq!(key.public().id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes())), signature);
        assert!(key.public().has_signed(input.as_bytes(), &key.sign(input.as_bytes())));
    }

    #[test]
    fn reads_the_pem_it_writes_and_that_of_rfc_8410() {
        let key = SigningKey::new([9; 32]);
        assert_eq!(SigningKey::from_pem(key.to_pem().as_bytes()).unwrap().public(), key.public());
        assert_eq!(PublicKey::from_pem(key.public().to_pem().as_bytes()), Some(key.public()));
        let theirs = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        assert_eq!(
            Some(SigningKey::from_pem(theirs.as_bytes()).unwrap().public()),
            PublicKey::from_pem(public.as_bytes())
        );
        assert!(PublicKey::from_pem(theirs.as_bytes()).is_none());
        assert!(SigningKey::from_pem(b"").is_none());
    }
}
