//! The electronic document of an application that has ended: what was asked, answered and consented to, signed.
//!
//! JWS compact serialisation (RFC 7515) with EdDSA over Ed25519 (RFC 8037), `kid` the JWK thumbprint (RFC 7638).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use journal::{PublicKey, SigningKey};
use serde::Serialize;
use serde_json::Value;

/// Signs a document.
pub fn sign(key: &SigningKey, document: &impl Serialize) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({"alg": "EdDSA", "kid": key.public().id(), "typ": "JOSE"});
    let payload = serde_json::to_value(document).expect("plain values");
    let signed = format!("{}.{}", part(header), part(payload));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// What a document says, if this key signed it.
pub fn read(key: PublicKey, jws: &str) -> Option<Value> {
    let (signed, signature) = jws.rsplit_once('.')?;
    let (_, payload) = signed.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !key.has_signed(signed.as_bytes(), &signature) {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
