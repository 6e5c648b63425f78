//! Osmocom's control interface, as far as a question needs it: text in frames of the IPA multiplex over TCP.
//!
//! A frame is two bytes of length, one that says whose it is, and a payload. Whose: 0xee is Osmocom's, and its first
//! byte 0x00 then says control; 0xfe is the multiplex itself, with its pings. `GET 7 variable` brings
//! `GET_REPLY 7 variable value` or `ERROR 7 words`. Pure: bytes in, bytes out.

const OSMOCOM: u8 = 0xee;
const CONTROL: u8 = 0x00;
const MULTIPLEX: u8 = 0xfe;
const PING: u8 = 0x00;
/// Ours, in answer to a ping.
pub const PONG: [u8; 4] = [0x00, 0x01, MULTIPLEX, 0x01];
const HEAD: usize = 3;

/// The frame that asks for a variable.
pub fn get(id: u32, variable: &str) -> Vec<u8> {
    let text = format!("GET {id} {variable}");
    let length = u16::try_from(text.len() + 1).expect("a variable is short");
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend([OSMOCOM, CONTROL]);
    frame.extend(text.as_bytes());
    frame
}

/// What came in a frame.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming {
    Reply {
        id: u32,
        variable: String,
        value: String,
    },
    /// The question of this id failed, in the HLR's words.
    Failed {
        id: u32,
        words: String,
    },
    Ping,
    /// Traps, answers without an id, what nobody can read: to be passed over.
    Other,
}

/// A stream of bytes cut into frames. Holds one frame at most beyond what was just read: 64 KiB.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub fn take(&mut self) -> Option<Incoming> {
        let &[high, low, whose] = self.bytes.first_chunk::<HEAD>()?;
        let end = HEAD + usize::from(u16::from_be_bytes([high, low]));
        let payload = self.bytes.get(HEAD..end)?;
        let incoming = match (whose, payload) {
            (OSMOCOM, [CONTROL, text @ ..]) => read(&String::from_utf8_lossy(text)),
            (MULTIPLEX, [PING, ..]) => Incoming::Ping,
            _ => Incoming::Other,
        };
        self.bytes.drain(..end);
        Some(incoming)
    }
}

fn read(text: &str) -> Incoming {
    let understood = || {
        let (kind, rest) = text.split_once(' ')?;
        let (id, rest) = rest.split_once(' ')?;
        let id = id.parse().ok()?;
        match kind {
            "GET_REPLY" => {
                let (variable, value) = rest.split_once(' ')?;
                Some(Incoming::Reply { id, variable: variable.to_owned(), value: value.to_owned() })
            }
            "ERROR" => Some(Incoming::Failed { id, words: rest.to_owned() }),
            _ => None,
        }
    };
    understood().unwrap_or(Incoming::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(whose: u8, payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u16).to_be_bytes()[..], &[whose], payload].concat()
    }

    fn all(bytes: &[u8], step: usize) -> Vec<Incoming> {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for part in bytes.chunks(step) {
            frames.push(part);
            found.extend(std::iter::from_fn(|| frames.take()));
        }
        found
    }

    #[test]
    fn asks_as_the_interface_wants_it() {
        assert_eq!(get(7, "a.b"), b"\x00\x0a\xee\x00GET 7 a.b");
    }

    #[test]
    fn cuts_a_stream_however_it_comes() {
        let mut bytes = frame(0xee, b"\x00GET_REPLY 3 a.b \nid\t1\nimsi\t2");
        bytes.extend(frame(0xfe, b"\x00"));
        bytes.extend(frame(0xee, b"\x00ERROR 4 No such subscriber."));
        let expected = [
            Incoming::Reply { id: 3, variable: "a.b".to_owned(), value: "\nid\t1\nimsi\t2".to_owned() },
            Incoming::Ping,
            Incoming::Failed { id: 4, words: "No such subscriber.".to_owned() },
        ];
        for step in 1..=bytes.len() {
            assert_eq!(all(&bytes, step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn passes_over_what_it_cannot_read() {
        for payload in [
            &b""[..],
            b"\x00",
            b"\x01GET_REPLY 3 a b",
            b"\x00GET_REPLY",
            b"\x00GET_REPLY 3",
            b"\x00GET_REPLY 3 a",
            b"\x00GET_REPLY x a b",
            b"\x00GET_REPLY 99999999999 a b",
            b"\x00GET_REPLY -1 a b",
            b"\x00ERROR err Request type unknown",
            b"\x00TRAP 0 a b",
            b"\x00\xff\xfe \xff \xff \xff",
        ] {
            assert_eq!(all(&frame(0xee, payload), 1), [Incoming::Other], "{payload:?}");
        }
        assert_eq!(all(&frame(0x00, b"\x00GET_REPLY 3 a b"), 1), [Incoming::Other]);
        // Something that is no HLR: its first bytes read as a length that never comes.
        assert_eq!(all(b"HTTP/1.1 400 Bad Request\r\n\r\n", 5), []);
    }

    #[test]
    fn any_bytes_are_taken() {
        let mut word = 1u32;
        let mut bytes = Vec::new();
        for _ in 0..200_000 {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push((word >> 24) as u8 & 0x13 | if word & 1 == 0 { 0xee } else { 0 });
        }
        all(&bytes, 977);
    }
}
