//! An SMSC by another hand: node/tests/peers/smsc.py, on the codec of python-smpplib, told what to do with each message.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::peer::Peer;

pub struct Smsc {
    peer: Peer,
    pub port: u64,
}

/// A submit_sm, read by hand from its bytes (SMPP 3.4 section 4.4.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    pub source: (u8, u8, String),
    pub destination: (u8, u8, String),
    pub esm_class: u8,
    pub validity: String,
    pub registered_delivery: u8,
    pub data_coding: u8,
    pub message: Vec<u8>,
    pub tlvs: BTreeMap<u16, Vec<u8>>,
    pub raw: String,
}

impl Smsc {
    /// `arguments`: port, certificate and key; nothing: a free port, no TLS.
    pub fn start(arguments: &[&str]) -> Smsc {
        let peer = Peer::start("smsc.py", arguments);
        let port = peer.next("listening")["port"].as_u64().unwrap();
        Smsc { peer, port }
    }

    pub fn tell(&mut self, what: Value) {
        self.peer.tell(what);
    }

    #[track_caller]
    pub fn next(&self, kind: &str) -> Value {
        self.peer.next(kind)
    }

    #[track_caller]
    pub fn submitted(&self) -> Submitted {
        Submitted::read(self.next("submit_sm")["raw"].as_str().unwrap())
    }

    /// All parts of a text, and the text.
    #[track_caller]
    pub fn text(&self) -> (Vec<Submitted>, String) {
        let mut parts = vec![self.submitted()];
        while parts.len() < parts[0].place().0 {
            parts.push(self.submitted());
        }
        let text = parts.iter().map(Submitted::text).collect();
        (parts, text)
    }

    /// How many messages came in all.
    #[track_caller]
    pub fn count(&mut self) -> u64 {
        self.tell(json!({"count": true}));
        self.next("count")["submitted"].as_u64().unwrap()
    }
}

impl Submitted {
    fn read(raw: &str) -> Submitted {
        let bytes: Vec<u8> =
            (0..raw.len()).step_by(2).map(|at| u8::from_str_radix(&raw[at..at + 2], 16).unwrap()).collect();
        let mut rest = &bytes[16..];
        fn octet(rest: &mut &[u8]) -> u8 {
            let (first, after) = rest.split_first().expect("an octet");
            *rest = after;
            *first
        }
        fn string(rest: &mut &[u8]) -> String {
            let end = rest.iter().position(|byte| *byte == 0).expect("NUL");
            let text = String::from_utf8(rest[..end].to_vec()).unwrap();
            *rest = &rest[end + 1..];
            text
        }
        assert_eq!(string(&mut rest), "", "service_type");
        let source = (octet(&mut rest), octet(&mut rest), string(&mut rest));
        let destination = (octet(&mut rest), octet(&mut rest), string(&mut rest));
        let esm_class = octet(&mut rest);
        assert_eq!((octet(&mut rest), octet(&mut rest)), (0, 0), "protocol_id, priority_flag");
        assert_eq!(string(&mut rest), "", "schedule_delivery_time");
        let validity = string(&mut rest);
        let registered_delivery = octet(&mut rest);
        assert_eq!(octet(&mut rest), 0, "replace_if_present_flag");
        let data_coding = octet(&mut rest);
        assert_eq!(octet(&mut rest), 0, "sm_default_msg_id");
        let length = usize::from(octet(&mut rest));
        let message = rest[..length].to_vec();
        rest = &rest[length..];
        let mut tlvs = BTreeMap::new();
        while let [a, b, c, d, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*c, *d]));
            tlvs.insert(u16::from_be_bytes([*a, *b]), after[..length].to_vec());
            rest = &after[length..];
        }
        assert!(rest.is_empty());
        Submitted {
            source,
            destination,
            esm_class,
            validity,
            registered_delivery,
            data_coding,
            message,
            tlvs,
            raw: raw.to_owned(),
        }
    }

    /// Of how many parts this is which, by its user data header.
    pub fn place(&self) -> (usize, usize) {
        match (self.esm_class, self.message.as_slice()) {
            (0x40, [5, 0, 3, _, total, n, ..]) | (0x40, [6, 8, 4, _, _, total, n, ..]) => {
                (usize::from(*total), usize::from(*n))
            }
            _ => (1, 1),
        }
    }

    pub fn text(&self) -> String {
        let message = if self.message.is_empty() { &self.tlvs[&0x0424] } else { &self.message };
        let body = if self.esm_class == 0x40 { &message[usize::from(message[0]) + 1..] } else { message };
        match self.data_coding {
            8 => {
                let units: Vec<u16> =
                    body.chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
                String::from_utf16(&units).expect("no half of a pair")
            }
            _ => body.iter().map(|byte| char::from(*byte)).collect(),
        }
    }
}
