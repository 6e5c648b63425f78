//! One message: its start line and the spans of its headers.

use crate::find::{find, find_any, trim};

/// Finds the spans of messages; one a worker, used again and again.
#[derive(Default)]
pub struct Parser {
    headers: Vec<Header>,
    places: Places,
}

/// Where each name stands first, so that a header field is had without a search.
#[derive(Clone, Copy, Debug)]
struct Places {
    first: [u16; Name::COUNT],
    /// Bit n set: the name with this number stands more than once.
    repeated: u32,
}

const NOWHERE: u16 = u16::MAX;

impl Default for Places {
    fn default() -> Places {
        Places { first: [NOWHERE; Name::COUNT], repeated: 0 }
    }
}

impl Places {
    #[inline]
    fn note(&mut self, name: Name, place: usize) {
        let first = &mut self.first[name as usize];
        match *first {
            // Fewer than this by far are ever taken: see MOST_HEADERS.
            NOWHERE => *first = place as u16,
            _ => self.repeated |= 1 << name as u32,
        }
    }

    /// The headers among which all of this name are, from the first on.
    #[inline]
    fn of<'a>(&self, name: Name, headers: &'a [Header]) -> &'a [Header] {
        let first = usize::from(self.first[name as usize]);
        match headers.get(first..) {
            None => &[],
            Some(rest) if self.repeated & 1 << name as u32 != 0 => rest,
            Some(rest) => &rest[..1],
        }
    }
}

/// One header field: which, and where in the message its value stands, folded lines and all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub name: Name,
    line: (u32, u32),
    value: (u32, u32),
}

macro_rules! names {
    ($($variant:ident $long:literal $($short:literal)?,)*) => {
        /// The header fields this server reads; the rest are kept as `Other`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Name { $($variant,)* Other }

        impl Name {
            const COUNT: usize = Name::Other as usize + 1;
            const KNOWN: [(&[u8], Name); Name::Other as usize] = [$(($long, Name::$variant),)*];

            fn read(name: &[u8]) -> Name {
                let (Some(first), Some(last)) = (name.first(), name.last()) else { return Name::Other };
                if name.len() == 1 {
                    return match first.to_ascii_lowercase() {
                        $($($short => Name::$variant,)?)*
                        _ => Name::Other,
                    };
                }
                match Name::KNOWN.get(usize::from(SLOTS[slot(name.len(), *first, *last)])) {
                    // As the RFC writes it is how nearly everybody does.
                    Some((known, found)) if name == *known || name.eq_ignore_ascii_case(known) => *found,
                    _ => Name::Other,
                }
            }
        }
    };
}

/// Length, first and last letter tell all known names apart.
const fn slot(length: usize, first: u8, last: u8) -> usize {
    (length * 5 + (first | 0x20) as usize * 3 + (last | 0x20) as usize) % 128
}

/// The place in `Name::KNOWN` of the only name that a slot can hold.
const SLOTS: [u8; 128] = {
    let mut slots = [u8::MAX; 128];
    let mut n = 0;
    while n < Name::KNOWN.len() {
        let name = Name::KNOWN[n].0;
        let slot = slot(name.len(), name[0], name[name.len() - 1]);
        assert!(slots[slot] == u8::MAX, "two names share a slot: choose other factors");
        slots[slot] = n as u8;
        n += 1;
    }
    slots
};

names! {
    Via b"Via" b'v',
    From b"From" b'f',
    To b"To" b't',
    CallId b"Call-ID" b'i',
    CSeq b"CSeq",
    Contact b"Contact" b'm',
    MaxForwards b"Max-Forwards",
    ContentLength b"Content-Length" b'l',
    PAssertedIdentity b"P-Asserted-Identity",
    Privacy b"Privacy",
    Diversion b"Diversion",
    HistoryInfo b"History-Info",
    Require b"Require",
    RecordRoute b"Record-Route",
    Route b"Route",
    Identity b"Identity" b'y',
    RemotePartyId b"Remote-Party-ID",
    PPreferredIdentity b"P-Preferred-Identity",
    QalqanVerdict b"Qalqan-Verdict",
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method<'a> {
    Invite,
    Ack,
    Cancel,
    Options,
    /// Known to RFC 3261 or its extensions, and not for a server that only redirects.
    Known(&'a [u8]),
    Unknown(&'a [u8]),
}

impl<'a> Method<'a> {
    fn read(text: &'a [u8]) -> Method<'a> {
        match text {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            b"BYE" | b"REGISTER" | b"PRACK" | b"SUBSCRIBE" | b"NOTIFY" | b"PUBLISH" | b"INFO" | b"REFER"
            | b"MESSAGE" | b"UPDATE" => Method::Known(text),
            _ => Method::Unknown(text),
        }
    }

    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Method::Invite => b"INVITE",
            Method::Ack => b"ACK",
            Method::Cancel => b"CANCEL",
            Method::Options => b"OPTIONS",
            Method::Known(text) | Method::Unknown(text) => text,
        }
    }
}

/// A request whose spans are found; the message itself stays where it was received.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    message: &'a [u8],
    headers: &'a [Header],
    places: &'a Places,
    pub method: Method<'a>,
    /// The Request-URI.
    pub uri: &'a [u8],
    /// The body as far as it was received.
    pub body: &'a [u8],
}

/// A response on its way back through a proxy.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    message: &'a [u8],
    headers: &'a [Header],
    pub status: u16,
    /// Where the body begins.
    body: usize,
}

impl<'a> Response<'a> {
    /// The values of a header field, one a line, in order.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let message = self.message;
        self.headers
            .iter()
            .filter(move |header| header.name == name)
            .map(move |header| &message[header.value.0 as usize..header.value.1 as usize])
    }

    pub(crate) fn all_lines(&self) -> impl Iterator<Item = (Name, &'a [u8], &'a [u8])> + use<'a> {
        lines(self.message, self.headers)
    }

    /// The status line, without its line end.
    pub(crate) fn status_line(&self) -> &'a [u8] {
        let end = find(b'\n', self.message).unwrap_or(self.message.len());
        self.message[..end].trim_ascii_end()
    }

    pub fn body(&self) -> &'a [u8] {
        &self.message[self.body..]
    }
}

fn lines<'a>(
    message: &'a [u8],
    headers: &'a [Header],
) -> impl Iterator<Item = (Name, &'a [u8], &'a [u8])> + use<'a> {
    headers.iter().map(move |header| {
        let part = |(from, to): (u32, u32)| &message[from as usize..to as usize];
        (header.name, part(header.line), part(header.value))
    })
}

/// Why a message is not taken as a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// No SIP at all, a response, or a keep-alive: nobody to answer.
    NotARequest,
    /// A request of another SIP version: 505.
    Version,
    /// A header line that cannot be read, or a start line that is not one: 400.
    Syntax(&'static str),
}

/// A message with more header fields than this is refused as broken.
const MOST_HEADERS: usize = 1024;

impl Parser {
    pub fn new() -> Parser {
        Parser { headers: Vec::with_capacity(64), places: Places::default() }
    }

    /// Reads one message. A broken one gives its readable part too, where an answer can be sent to it.
    pub fn parse<'a>(&'a mut self, message: &'a [u8]) -> (Option<Request<'a>>, Result<(), Broken>) {
        self.headers.clear();
        // RFC 3261 section 7.5: empty lines before the start line are ignored.
        let start = message.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(message.len());
        let Some(end) = find(b'\n', &message[start..]).map(|n| start + n) else {
            return (None, Err(Broken::NotARequest));
        };
        let whole = message[start..end].strip_suffix(b"\r").unwrap_or(&message[start..end]);
        // White space behind the version is wrong (RFC 4475 section 3.1.2.10), and no reason to be silent.
        let line = whole.trim_ascii_end();
        let Some((method, uri, version)) = start_line(line) else {
            return (None, Err(Broken::NotARequest));
        };
        if !is_sip_version(version) || is_sip_version(method) {
            return (None, Err(Broken::NotARequest));
        }
        let mut outcome = match version.eq_ignore_ascii_case(b"SIP/2.0") {
            true => Ok(()),
            false => Err(Broken::Version),
        };
        let is_token = !method.is_empty() && method.iter().all(|&byte| is_token(byte));
        if outcome.is_ok() && (!is_token || !is_one_uri(uri) || line.len() < whole.len()) {
            outcome = Err(Broken::Syntax("request line"));
        }

        let (body, fields) = self.fields(message, end + 1);
        outcome = outcome.and(fields);
        let request = Request {
            message,
            headers: &self.headers,
            places: &self.places,
            method: Method::read(method),
            uri,
            body: &message[body..],
        };
        (Some(request), outcome)
    }

    /// Reads one response (RFC 3261 section 7.2); none where the message is none.
    pub fn response<'a>(&'a mut self, message: &'a [u8]) -> Option<Response<'a>> {
        self.headers.clear();
        let status = message.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
        let status = std::str::from_utf8(status).ok()?.parse().ok()?;
        let end = find(b'\n', message)?;
        let (body, fields) = self.fields(message, end + 1);
        fields.ok()?;
        Some(Response { message, headers: &self.headers, status, body })
    }

    /// Finds the header fields from `at` on; gives where the body begins.
    fn fields(&mut self, message: &[u8], mut at: usize) -> (usize, Result<(), Broken>) {
        let mut outcome = Ok(());
        self.places = Places::default();
        loop {
            if at >= message.len() {
                return (message.len(), outcome);
            }
            let line_end = find(b'\n', &message[at..]).map_or(message.len(), |n| at + n);
            let mut next = (line_end + 1).min(message.len());
            let mut stop = line_end - usize::from(line_end > at && message[line_end - 1] == b'\r');
            if stop == at {
                return (next, outcome);
            }
            // RFC 3261 section 7.3.1: a line that begins with white space goes on with the one before.
            while next < message.len() && matches!(message[next], b' ' | b'\t') {
                let line_end = find(b'\n', &message[next..]).map_or(message.len(), |n| next + n);
                stop = line_end - usize::from(message[line_end - 1] == b'\r');
                next = (line_end + 1).min(message.len());
            }
            match header(message, at, stop) {
                Some(header) if self.headers.len() < MOST_HEADERS => {
                    self.places.note(header.name, self.headers.len());
                    self.headers.push(header);
                }
                Some(_) => outcome = outcome.and(Err(Broken::Syntax("too many header fields"))),
                None => outcome = outcome.and(Err(Broken::Syntax("header field"))),
            }
            at = next;
        }
    }
}

/// Method, URI and version: the first and the last word, and what stands between.
fn start_line(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = find(b' ', line)?;
    let last = line.iter().rposition(|&byte| byte == b' ')?;
    (first < last).then(|| (&line[..first], &line[first + 1..last], &line[last + 1..]))
}

fn is_sip_version(version: &[u8]) -> bool {
    version.len() > 4 && version[..4].eq_ignore_ascii_case(b"SIP/")
}

fn is_one_uri(uri: &[u8]) -> bool {
    !uri.is_empty() && uri[0] != b'<' && find_any([b' ', b'\t'], uri).is_none()
}

/// Digits and nothing else, as far as a header field's number goes (RFC 3261 section 25.1: `1*DIGIT`).
pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u32, digit: &u8| sum.checked_mul(10)?.checked_add(u32::from(digit - b'0'));
    if is_number { digits.iter().try_fold(0, add) } else { None }
}

/// RFC 3261 section 25.1: the characters of a token.
#[inline]
pub(crate) fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let (mut table, others) = ([false; 256], b"-.!%*_+`'~");
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut n = 0;
        while n < others.len() {
            table[others[n] as usize] = true;
            n += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

fn header(message: &[u8], from: usize, to: usize) -> Option<Header> {
    let line = &message[from..to];
    let colon = find(b':', line)?;
    let text = &line[..colon];
    let text = if text.last().is_some_and(|&byte| byte > b' ') { text } else { text.trim_ascii_end() };
    let name = Name::read(text);
    // The names that are known are tokens.
    if name == Name::Other && (text.is_empty() || !text.iter().all(|&byte| is_token(byte))) {
        return None;
    }
    let after = &line[colon + 1..];
    let value = trim(after.strip_prefix(b" ").unwrap_or(after));
    // Where it lies in the message: what was cut off its end is not in front of it.
    let start = value.as_ptr() as usize - message.as_ptr() as usize;
    let end = start + value.len();
    Some(Header { name, line: (from as u32, to as u32), value: (start as u32, end as u32) })
}

impl<'a> Request<'a> {
    /// The values of a header field, one a line, in order; a line can hold several, see [`crate::each_value`].
    #[inline]
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.lines(name).map(|(_, value)| value)
    }

    /// Whether a header field of this name stands more than once.
    pub(crate) fn is_repeated(&self, name: Name) -> bool {
        self.places.repeated & 1 << name as u32 != 0
    }

    #[inline]
    pub fn value(&self, name: Name) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// Every header line in order, without its line end.
    pub(crate) fn all_lines(&self) -> impl Iterator<Item = (Name, &'a [u8], &'a [u8])> + use<'a> {
        lines(self.message, self.headers)
    }

    /// The header lines of one name as they came, without their line end.
    #[inline]
    pub(crate) fn lines(&self, name: Name) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let message = self.message;
        let part = move |(from, to): (u32, u32)| &message[from as usize..to as usize];
        let headers = self.places.of(name, self.headers).iter().filter(move |header| header.name == name);
        headers.map(move |header| (part(header.line), part(header.value)))
    }

    /// Every header field that this server reads, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Name, &'a [u8])> + use<'a> {
        let message = self.message;
        self.headers
            .iter()
            .map(move |header| (header.name, &message[header.value.0 as usize..header.value.1 as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"\r\n\r\nINVITE sip:+77272501234@gw.example;user=phone SIP/2.0\r\n\
        v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK0,\r\n SIP/2.0/UDP 192.0.2.3\r\n\
        f:<sip:+14155550123@example>;tag=1\r\n\
        TO  :  <sip:+77272501234@gw.example>  \r\n\
        i: abc\r\nCSeq: 1 INVITE\r\nX-Other: y\r\nl: 4\r\n\r\nbody";

    #[test]
    fn finds_compact_folded_and_padded_fields() {
        let mut parser = Parser::new();
        let (request, outcome) = parser.parse(INVITE);
        let request = request.unwrap();
        assert_eq!(outcome, Ok(()));
        assert_eq!(request.method, Method::Invite);
        assert_eq!(request.uri, b"sip:+77272501234@gw.example;user=phone");
        assert_eq!(request.values(Name::Via).count(), 2);
        assert_eq!(request.value(Name::To), Some(&b"<sip:+77272501234@gw.example>"[..]));
        assert_eq!(request.value(Name::From), Some(&b"<sip:+14155550123@example>;tag=1"[..]));
        assert_eq!(request.body, b"body");
        assert_eq!(request.fault(), None);
    }

    #[test]
    fn says_what_is_broken() {
        let outcome = |message: &[u8]| Parser::new().parse(message).1;
        assert_eq!(outcome(b""), Err(Broken::NotARequest));
        assert_eq!(outcome(b"\r\n\r\n"), Err(Broken::NotARequest));
        assert_eq!(outcome(b"SIP/2.0 200 OK\r\n\r\n"), Err(Broken::NotARequest));
        assert_eq!(outcome(b"SIP/2.0 200 SIP/2.0\r\n\r\n"), Err(Broken::NotARequest));
        assert_eq!(outcome(b"INVITE sip:a@b SIP/2.0 \t\r\n\r\n"), Err(Broken::Syntax("request line")));
        assert_eq!(outcome(b"GET / HTTP/1.1\r\n\r\n"), Err(Broken::NotARequest));
        assert_eq!(outcome(b"INVITE sip:a@b SIP/7.0\r\n\r\n"), Err(Broken::Version));
        assert_eq!(outcome(b"INVITE  sip:a@b SIP/2.0\r\n\r\n"), Err(Broken::Syntax("request line")));
        assert_eq!(outcome(b"INVITE <sip:a@b> SIP/2.0\r\n\r\n"), Err(Broken::Syntax("request line")));
        assert_eq!(
            outcome(b"INVITE sip:a@b SIP/2.0\r\nno colon\r\n\r\n"),
            Err(Broken::Syntax("header field"))
        );
    }
}
