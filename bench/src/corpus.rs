//! Mixed calls from a seed: most honest, some spoofed, by three trunks.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Source address of each trunk; the class that the configurations give it.
pub const TRUNKS: [(&str, &str); 3] =
    [("127.0.0.11", "international"), ("127.0.0.12", "national"), ("127.0.0.13", "access")];

/// Calls in a corpus.
pub const PAIRS: usize = 20_000;

/// One call to make.
pub struct Pair {
    /// Index into [`TRUNKS`].
    pub trunk: usize,
    pub calling: String,
    pub called: String,
}

/// Numbers on the do-not-originate list that every contender holds, so that some calls hit it.
pub fn do_not_originate() -> impl Iterator<Item = String> {
    (0..10_000).map(|n| format!("+7727250{n:04}"))
}

pub fn pairs(seed: u64) -> Vec<Pair> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mobile = ["701", "702", "705", "707", "747", "771", "775", "776", "777", "778"];
    let fixed = ["7172", "7212", "7252", "7272", "7273"];
    let foreign =
        ["4420794", "4930123", "1415555", "9052123", "8613912", "9989012", "996312", "74951", "79161"];
    (0..PAIRS)
        .map(|_| {
            let digits = |rng: &mut Pcg64Mcg, n: usize| -> String {
                (0..n).map(|_| char::from(b'0' + rng.random_range(0..10u8))).collect()
            };
            let mobile_number = |rng: &mut Pcg64Mcg| {
                let code = mobile[rng.random_range(0..mobile.len())];
                format!("+7{code}{}", digits(rng, 7))
            };
            let fixed_number = |rng: &mut Pcg64Mcg| {
                let code = fixed[rng.random_range(0..fixed.len())];
                format!("+7{code}{}", digits(rng, 6))
            };
            let foreign_number = |rng: &mut Pcg64Mcg| {
                let code = foreign[rng.random_range(0..foreign.len())];
                let n = if code.starts_with('7') { 11 } else { 12 } - code.len();
                format!("+{code}{}", digits(rng, n))
            };
            let trunk = rng.random_range(0..TRUNKS.len());
            let calling = match (trunk, rng.random_range(0..100)) {
                (0, 0..60) => foreign_number(&mut rng),
                (0, 60..80) => mobile_number(&mut rng),
                (0, 80..92) => fixed_number(&mut rng),
                (0, 92..96) => format!("+7703{}", digits(&mut rng, 7)),
                (0, _) => format!("+77272{}", digits(&mut rng, 3)),
                (_, 0..2) => format!("+7727250{}", digits(&mut rng, 4)),
                (1, 2..10) => foreign_number(&mut rng),
                (_, 10..40) => fixed_number(&mut rng),
                _ => mobile_number(&mut rng),
            };
            let called =
                if rng.random_range(0..200) == 0 { "112".to_owned() } else { mobile_number(&mut rng) };
            Pair { trunk, calling, called }
        })
        .collect()
}

/// Digits of the sequence number in branch and Call-ID, so that one rendering serves every use of a pair.
pub const SEQUENCE_DIGITS: usize = 12;

/// An INVITE as a switch sends it, with its body: about a kilobyte.
pub struct Invite {
    bytes: Vec<u8>,
    /// Where the sequence number stands.
    places: [usize; 2],
}

impl Invite {
    pub fn new(pair: &Pair, target: &str) -> Invite {
        let Pair { trunk, calling, called } = pair;
        let host = TRUNKS[*trunk].0;
        let blank = "0".repeat(SEQUENCE_DIGITS);
        let body = format!(
            "v=0\r\no=- 1772452800 1772452800 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
             m=audio 40000 RTP/AVP 8 0 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
             a=rtpmap:18 G729/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n"
        );
        let text = format!(
            "INVITE sip:{called}@{target};user=phone SIP/2.0\r\n\
             Via: SIP/2.0/UDP {host}:5060;rport;branch=z9hG4bK{blank}\r\n\
             Max-Forwards: 69\r\n\
             From: <sip:{calling}@{host};user=phone>;tag=as58b1c2d3\r\n\
             To: <sip:{called}@{target};user=phone>\r\n\
             Contact: <sip:{calling}@{host}:5060>\r\n\
             Call-ID: {blank}@{host}\r\n\
             CSeq: 102 INVITE\r\n\
             User-Agent: softswitch/7.4\r\n\
             Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH\r\n\
             Supported: replaces, timer\r\n\
             P-Asserted-Identity: <sip:{calling}@{host};user=phone>\r\n\
             Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let first = text.find("z9hG4bK").expect("a branch") + 7;
        let second = text.find("Call-ID: ").expect("a Call-ID") + 9;
        Invite { bytes: text.into_bytes(), places: [first, second] }
    }

    /// Appends the INVITE with this sequence number.
    pub fn write(&self, sequence: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for place in self.places {
            let mut rest = sequence;
            for digit in out[start + place..start + place + SEQUENCE_DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
