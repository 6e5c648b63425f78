//! What is signed: JWS, compact serialisation (RFC 7515), EdDSA (RFC 8037).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::{PublicKey, SigningKey};

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// A JWS taken apart; its signature is not checked yet.
pub struct Jws {
    /// The `kid` of who signed it.
    pub key_id: String,
    pub payload: Vec<u8>,
    signed: String,
    signature: Vec<u8>,
}

impl Jws {
    pub fn sign(payload: &[u8], key: &SigningKey) -> String {
        let header = Header { alg: "EdDSA".to_owned(), kid: key.public().id() };
        let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).expect("plain values"));
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Without its payload, which lies beside it (RFC 7515, appendix F).
    pub fn sign_detached(payload: &[u8], key: &SigningKey) -> String {
        let whole = Jws::sign(payload, key);
        let (header, rest) = whole.split_once('.').expect("three parts");
        let (_, signature) = rest.split_once('.').expect("three parts");
        format!("{header}..{signature}")
    }

    /// Reads what [`Jws::sign_detached`] writes, with the payload it is said to be over.
    pub fn parse_detached(text: &[u8], payload: &[u8]) -> Result<Jws, String> {
        let text = std::str::from_utf8(text).map_err(|_| "not a JWS".to_owned())?.trim_end();
        let parts =
            text.split_once("..").ok_or("not a detached JWS: two dots between header and signature")?;
        Jws::parse(format!("{}.{}.{}", parts.0, URL_SAFE_NO_PAD.encode(payload), parts.1).as_bytes())
    }

    pub fn parse(text: &[u8]) -> Result<Jws, String> {
        let text = std::str::from_utf8(text).map_err(|_| "not a JWS".to_owned())?.trim_end();
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("not a JWS: three parts with dots between them are expected".to_owned());
        };
        let decode = |part: &str, name: &str| {
            URL_SAFE_NO_PAD.decode(part).map_err(|_| format!("not a JWS: its {name} is no base64url"))
        };
        let header_bytes = decode(header, "header")?;
        let header: Header = serde_json::from_slice(&header_bytes)
            .map_err(|_| "not a JWS: no header with alg and kid".to_owned())?;
        if header.alg != "EdDSA" {
            return Err(format!("signed with \"{}\": EdDSA is expected", header.alg));
        }
        let signed = text[..text.rfind('.').expect("three parts")].to_owned();
        Ok(Jws {
            key_id: header.kid,
            payload: decode(payload, "payload")?,
            signed,
            signature: decode(signature, "signature")?,
        })
    }

    pub fn is_signed_by(&self, key: PublicKey) -> bool {
        key.has_signed(self.signed.as_bytes(), &self.signature)
    }
}
