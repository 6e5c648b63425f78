//! Messages in a stream (RFC 3261 section 18.3): each ends where its Content-Length says.

use memchr::{memchr, memmem};

/// The largest message taken, header fields and body, in bytes: as much as a datagram can hold.
pub const LARGEST: usize = 65_535;

/// What stands at the beginning of what was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A whole message of so many bytes.
    Message(usize),
    /// A keep-alive of 4 bytes that wants one line end back (RFC 5626 section 3.5.1).
    Ping,
    /// Empty lines of so many bytes, which mean nothing (RFC 3261 section 7.5).
    Blank(usize),
    /// Not whole yet: ask again when more came, and say that so many bytes were seen.
    Partial(usize),
    /// Where the next message begins cannot be known: answer what stands in the first bytes, then close.
    Broken(Unframed),
}

/// Why a stream cannot be cut into messages any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unframed {
    /// Bytes that hold the readable part of the message at fault.
    pub head: usize,
    /// It is too large (513), not malformed (400).
    pub is_too_large: bool,
    pub what: &'static str,
}

/// Looks at the beginning of a stream; `seen` is what [`Frame::Partial`] said of it before, else 0.
pub fn frame(bytes: &[u8], seen: usize) -> Frame {
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return match bytes {
            [b'\r', b'\n', b'\r', b'\n', ..] => Frame::Ping,
            [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => Frame::Partial(0),
            [b'\r', b'\n', ..] => Frame::Blank(2),
            _ => Frame::Blank(1),
        };
    }
    // The empty line may have begun in the last bytes seen before.
    let from = seen.saturating_sub(2).min(bytes.len());
    let Some(end) = memmem::find(&bytes[from..], b"\n\r\n").map(|at| from + at + 3) else {
        return match bytes.len() > LARGEST {
            false => Frame::Partial(bytes.len()),
            // Up to the last whole line, so that what can be read of it can be answered.
            true => too_large(memchr::memrchr(b'\n', &bytes[..LARGEST]).map_or(LARGEST, |at| at + 1)),
        };
    };
    if end > LARGEST {
        return too_large(end);
    }
    let broken = |what| Frame::Broken(Unframed { head: end, is_too_large: false, what });
    match content_length(&bytes[..end]) {
        Ok(Some(length)) if length > LARGEST - end => too_large(end),
        Ok(Some(length)) if bytes.len() < end + length => Frame::Partial(0),
        Ok(Some(length)) => Frame::Message(end + length),
        Ok(None) => broken("Content-Length missing on a stream"),
        Err(what) => broken(what),
    }
}

fn too_large(head: usize) -> Frame {
    Frame::Broken(Unframed { head, is_too_large: true, what: "message too large" })
}

/// RFC 3261 section 20.14. Two that differ would let two readers see two messages where there is one.
fn content_length(head: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut found = None;
    let mut at = 0;
    while let Some(end) = memchr(b'\n', &head[at..]).map(|n| at + n) {
        let line = &head[at..end];
        at = end + 1;
        if !matches!(line.first(), Some(b'C' | b'c' | b'L' | b'l')) {
            continue;
        }
        let Some(colon) = memchr(b':', line) else { continue };
        let name = line[..colon].trim_ascii_end();
        if !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let digits = line[colon + 1..].trim_ascii();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err("Content-Length");
        }
        // What no machine can hold is too large in any case.
        let length = digits
            .iter()
            .fold(0usize, |n, &digit| n.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
        if found.is_some_and(|before| before != length) {
            return Err("Content-Length twice");
        }
        found = Some(length);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(fields: &str, body: &str) -> String {
        format!("INVITE sip:a@b SIP/2.0\r\n{fields}\r\n{body}")
    }

    #[test]
    fn a_message_ends_where_its_length_says() {
        let one = message("l: 4\r\nX: y\r\n", "body");
        let two = format!("{one}{one}");
        assert_eq!(frame(two.as_bytes(), 0), Frame::Message(one.len()));
        assert_eq!(frame(&one.as_bytes()[..one.len() - 1], 0), Frame::Partial(0));
        assert_eq!(frame(b"", 0), Frame::Partial(0));
        assert_eq!(frame(b"\r\n\r\nINVITE", 0), Frame::Ping);
        assert_eq!(frame(b"\r\nINVITE", 0), Frame::Blank(2));
        assert_eq!(frame(b"\r\n", 0), Frame::Partial(0));
    }

    #[test]
    fn what_cannot_be_cut_is_said() {
        let fault = |text: &str| match frame(text.as_bytes(), 0) {
            Frame::Broken(fault) => (fault.is_too_large, fault.what),
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(&message("", "")), (false, "Content-Length missing on a stream"));
        assert_eq!(fault(&message("Content-Length: -1\r\n", "")), (false, "Content-Length"));
        assert_eq!(fault(&message("l: 1\r\nContent-length : 2\r\n", "ab")), (false, "Content-Length twice"));
        assert!(fault(&message("Content-Length: 4294967296\r\n", "")).0);
        assert!(fault(&message("Content-Length: 99999999999999999999999999\r\n", "")).0);
        assert!(fault(&format!("INVITE sip:a@b SIP/2.0\r\nX: {}", "y".repeat(70_000))).0);
        assert!(fault(&message(&format!("X: {}\r\nl: 0\r\n", "y".repeat(66_000)), "")).0);
    }

    proptest! {
        /// However a stream arrives, the same messages come out of it.
        #[test]
        fn pieces_make_no_difference(bodies in proptest::collection::vec("[a-z\r\n]{0,40}", 1..6), cut in 1usize..50) {
            let messages: Vec<String> =
                bodies.iter().map(|body| message(&format!("Content-Length: {}\r\n", body.len()), body)).collect();
            let stream = messages.concat();
            let (mut found, mut held, mut seen) = (Vec::new(), Vec::new(), 0);
            for piece in stream.as_bytes().chunks(cut) {
                held.extend_from_slice(piece);
                seen = loop {
                    match frame(&held, seen) {
                        Frame::Message(length) => {
                            found.push(String::from_utf8(held.drain(..length).collect()).unwrap());
                            seen = 0;
                        }
                        Frame::Partial(seen) => break seen,
                        other => panic!("{other:?}"),
                    }
                };
            }
            prop_assert_eq!(found, messages);
        }

        #[test]
        fn random_bytes_end_or_wait(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Frame::Message(length) | Frame::Blank(length) = frame(&bytes, 0) {
                prop_assert!(length > 0 && length <= bytes.len());
            }
        }
    }
}
