//! A text as parts of short messages: the GSM 7-bit default alphabet (3GPP TS 23.038) where the whole text fits it, else
//! UCS-2; a long one by concatenation (3GPP TS 23.040 section 9.2.3.24.1 and .8), or whole as message_payload.

/// data_coding of the SMSC's default alphabet, here GSM 7-bit, a septet an octet (SMPP 3.4 section 5.2.19).
pub const DEFAULT_ALPHABET: u8 = 0;
/// data_coding of UCS-2; sent as UTF-16, big end first, as telephones read it.
pub const UCS2: u8 = 8;

/// Parts that a concatenated message can have.
const MOST_PARTS: usize = 255;
/// What message_payload can hold (SMPP 3.4 section 5.3.2.32).
const PAYLOAD_OCTETS: usize = 65_535;

/// How a text longer than one short message is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Long {
    /// Parts under a user data header with a reference of 8 bits.
    #[default]
    Udh8,
    /// With a reference of 16 bits.
    Udh16,
    /// One message, in the parameter message_payload: the SMSC cuts it.
    Payload,
}

/// A text ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    pub data_coding: u8,
    /// Whether each part begins with a user data header (esm_class 0x40).
    pub has_header: bool,
    pub is_payload: bool,
    /// Octets of each, its header included.
    pub parts: Vec<Vec<u8>>,
}

/// Cuts a text. `reference` is what a telephone knows the parts of one text by. None: it is too long for any telephone.
pub fn parts(text: &str, long: Long, reference: u16) -> Option<Parts> {
    // Characters that must not be torn apart: an escape with what it escapes, a pair of surrogates.
    let (data_coding, whole, characters, widest) = match gsm7(text) {
        Some(characters) => (DEFAULT_ALPHABET, 160, characters, 153),
        None => (UCS2, 140, ucs2(text), 134),
    };
    let octets: usize = characters.iter().map(Vec::len).sum();
    let plain = |is_payload, octets: Vec<u8>| Parts {
        data_coding,
        has_header: false,
        is_payload,
        parts: vec![octets],
    };
    if octets <= whole {
        return Some(plain(false, characters.concat()));
    }
    if long == Long::Payload {
        return (octets <= PAYLOAD_OCTETS).then(|| plain(true, characters.concat()));
    }
    // The header is 6 or 7 octets, 7 or 8 septets, of 140 octets, 160 septets.
    let room = match (long, data_coding) {
        (Long::Udh16, DEFAULT_ALPHABET) => widest - 1,
        (Long::Udh16, _) => widest - 2,
        _ => widest,
    };
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    for character in characters {
        if parts.last().is_some_and(|part| part.len() + character.len() > room) {
            parts.push(Vec::new());
        }
        parts.last_mut()?.extend(character);
    }
    if parts.len() > MOST_PARTS {
        return None;
    }
    let total = parts.len() as u8;
    let [high, low] = reference.to_be_bytes();
    let with_header = |(n, part): (usize, Vec<u8>)| {
        let n = n as u8 + 1;
        match long {
            Long::Udh16 => [&[6, 8, 4, high, low, total, n][..], &part].concat(),
            _ => [&[5, 0, 3, low, total, n][..], &part].concat(),
        }
    };
    let parts = parts.into_iter().enumerate().map(with_header).collect();
    Some(Parts { data_coding, has_header: true, is_payload: false, parts })
}

/// Each character in UTF-16.
fn ucs2(text: &str) -> Vec<Vec<u8>> {
    let units = |c: char| c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes()).collect();
    text.chars().map(units).collect()
}

/// Each character in the default alphabet, one or two septets; none if one has no place there.
fn gsm7(text: &str) -> Option<Vec<Vec<u8>>> {
    text.chars().map(septets).collect()
}

/// Table of 3GPP TS 23.038 section 6.2.1; its place 0x1b is the escape.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Extension table, section 6.2.1.1.
const EXTENSION: [(char, u8); 10] = [
    ('\u{c}', 0x0a),
    ('^', 0x14),
    ('{', 0x28),
    ('}', 0x29),
    ('\\', 0x2f),
    ('[', 0x3c),
    ('~', 0x3d),
    (']', 0x3e),
    ('|', 0x40),
    ('€', 0x65),
];

fn septets(c: char) -> Option<Vec<u8>> {
    if let Some(place) = BASIC.chars().position(|known| known == c && c != '\u{1b}') {
        return Some(vec![place as u8]);
    }
    EXTENSION.iter().find(|(known, _)| *known == c).map(|(_, septet)| vec![0x1b, *septet])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, long: Long) -> Parts {
        parts(text, long, 0x1234).unwrap()
    }

    #[test]
    fn the_default_alphabet_has_its_128_places() {
        assert_eq!(BASIC.chars().count(), 128);
        // From the table of TS 23.038.
        for (c, place) in [
            ('@', 0x00),
            ('\n', 0x0a),
            ('_', 0x11),
            (' ', 0x20),
            ('¤', 0x24),
            ('A', 0x41),
            ('¿', 0x60),
            ('à', 0x7f),
        ] {
            assert_eq!(septets(c), Some(vec![place]), "{c}");
        }
        assert_eq!(septets('€'), Some(vec![0x1b, 0x65]));
        assert_eq!(septets('\u{1b}'), None);
        assert_eq!(septets('ә'), None);
    }

    #[test]
    fn lengths_are_those_of_the_standard() {
        for (text, long, count) in [
            ("a".repeat(160), Long::Udh8, 1),
            ("a".repeat(161), Long::Udh8, 2),
            ("a".repeat(306), Long::Udh8, 2),
            ("a".repeat(307), Long::Udh8, 3),
            ("a".repeat(304), Long::Udh16, 2),
            ("a".repeat(305), Long::Udh16, 3),
            ("қ".repeat(70), Long::Udh8, 1),
            ("қ".repeat(71), Long::Udh8, 2),
            ("қ".repeat(134), Long::Udh8, 2),
            ("қ".repeat(135), Long::Udh8, 3),
            ("қ".repeat(132), Long::Udh16, 2),
            ("қ".repeat(133), Long::Udh16, 3),
            ("қ".repeat(1000), Long::Payload, 1),
            (String::new(), Long::Udh8, 1),
        ] {
            assert_eq!(cut(&text, long).parts.len(), count, "{} {long:?}", text.chars().count());
        }
        assert_eq!(parts(&"қ".repeat(67 * 255 + 1), Long::Udh8, 0), None);
        assert_eq!(parts(&"қ".repeat(32_768), Long::Payload, 0), None);
    }

    #[test]
    fn headers_say_reference_count_and_place() {
        let found = cut(&"қ".repeat(71), Long::Udh8);
        assert_eq!((found.data_coding, found.has_header), (8, true));
        assert_eq!(found.parts[0][..8], [5, 0, 3, 0x34, 2, 1, 0x04, 0x9b]);
        assert_eq!(found.parts[1][..6], [5, 0, 3, 0x34, 2, 2]);
        let found = cut(&"a".repeat(161), Long::Udh16);
        assert_eq!(found.parts[1][..8], [6, 8, 4, 0x12, 0x34, 2, 2, b'a']);
    }

    #[test]
    fn no_character_is_torn_apart() {
        // The 67th place of the first part would hold the first half of the pair.
        let found = cut(&format!("{}😀{}", "қ".repeat(66), "қ".repeat(10)), Long::Udh8);
        assert_eq!((found.parts[0].len(), &found.parts[1][6..10]), (6 + 132, &[0xd8, 0x3d, 0xde, 0x00][..]));
        let found = cut(&format!("{}€{}", "a".repeat(152), "a".repeat(10)), Long::Udh8);
        assert_eq!((found.parts[0].len(), &found.parts[1][6..8]), (6 + 152, &[0x1b, 0x65][..]));
    }
}
