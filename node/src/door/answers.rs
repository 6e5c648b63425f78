//! What goes back on the wire: verdicts as redirects or refusals, and the answers of other requests.

use std::fmt::Write;
use std::net::SocketAddr;

use call::{Call, Label, Reason, Rule, Treatment, Verdict};
use numbering::Party;
use rules::{Language, reason_in_words};
use sip::{Address, Answer, Request, Scheme, Text, Via, push_address};

use crate::config::{Allow, Marks, Setup};

use super::Peer;
use super::checks::Required;

const ALLOW: &str = "INVITE, ACK, CANCEL, OPTIONS";

/// A request that is being answered.
pub struct Reply<'r> {
    pub setup: &'r Setup,
    pub request: &'r Request<'r>,
    /// The request as it came.
    pub message: &'r [u8],
    pub via: &'r Via<'r>,
    pub tag: u64,
    pub peer: Peer,
}

impl Reply<'_> {
    fn start<'b>(&self, out: &'b mut Vec<u8>, status: &str) -> Answer<'b> {
        Answer::start(out, self.request, self.via, status, self.tag, self.peer.address)
    }

    /// An answer without more to say.
    pub fn plain(&self, out: &mut Vec<u8>, status: &str) {
        self.start(out, status).finish();
    }

    pub fn bad(&self, out: &mut Vec<u8>, what: &str) {
        self.warn(out, "400 Bad Request", what);
    }

    /// An answer that says in words what is wrong.
    pub fn warn(&self, out: &mut Vec<u8>, status: &str, what: &str) {
        let mut answer = self.start(out, status);
        // RFC 3261 section 20.43: 399, miscellaneous warning.
        answer.header("Warning", format_args!("399 qalqan \"{what}\""));
        answer.finish();
    }

    pub fn not_allowed(&self, out: &mut Vec<u8>, status: &str) {
        let mut answer = self.start(out, status);
        answer.header("Allow", format_args!("{ALLOW}"));
        answer.finish();
    }

    /// RFC 3261 section 8.2.2.3: the options asked for that nobody here has.
    pub fn unsupported(&self, out: &mut Vec<u8>, options: &Required) {
        let mut answer = self.start(out, "420 Bad Extension");
        answer.header("Unsupported", format_args!("{options}"));
        answer.finish();
    }

    /// OPTIONS: this node is alive, and how it is.
    pub fn health(&self, out: &mut Vec<u8>, journal_failing: bool) {
        let mut answer = self.start(out, "200 OK");
        answer.header("Allow", format_args!("{ALLOW}"));
        let journal = if journal_failing { "failing" } else { "ok" };
        answer.header("Qalqan-Node", format_args!("ready;journal={journal}"));
        answer.finish();
    }

    /// The answer to an INVITE that was judged.
    pub fn verdict(&self, out: &mut Vec<u8>, call: &Call, verdict: &Verdict) {
        match verdict.treatment {
            Treatment::Block => self.refuse(out, verdict),
            _ => self.pass(out, call, verdict),
        }
    }

    fn refuse(&self, out: &mut Vec<u8>, verdict: &Verdict) {
        let refusal = self.setup.sip.block[verdict.rule as usize];
        let mut answer = self.start(out, refusal.status);
        answer.field("Qalqan-Verdict", |out| words(verdict, out));
        // RFC 3326. Reason texts on the wire are English: ISUP gateways and peers abroad read them.
        let text = reason_in_words(Language::En, verdict.reason);
        let cause = cause(verdict);
        match &self.setup.sip.redress {
            // ATIS-1000099: the text of a 603+ is for machines, and says where to complain.
            Some(redress) if refusal.is_network_blocked => {
                answer.header(
                    "Reason",
                    format_args!("Q.850;cause={cause};text=\"v=analytics1;url={redress}\""),
                );
            }
            _ => answer.header("Reason", format_args!("Q.850;cause={cause};text=\"{text}\"")),
        }
        answer.finish();
    }

    fn pass(&self, out: &mut Vec<u8>, call: &Call, verdict: &Verdict) {
        let sip = &self.setup.sip;
        let identity = Identity::of(call, verdict, self.peer.address);
        let status = match sip.allow {
            Allow::Redirect => "302 Moved Temporarily",
            Allow::NotFound => "404 Not Found",
            Allow::Unavailable => "503 Service Unavailable",
        };
        let mut answer = self.start(out, status);
        if sip.allow == Allow::Redirect {
            answer.field("Contact", |out| {
                out.push(b'<');
                self.target(sip.onward(call.trunk), out);
                if let Some(identity) = &identity
                    && sip.marks != Marks::Headers
                {
                    out.push(b'?');
                    identity.write_in_uri(out);
                }
                out.push(b'>');
            });
        }
        answer.field("Qalqan-Verdict", |out| words(verdict, out));
        if let Some(identity) = &identity
            && (sip.marks != Marks::Contact || sip.allow != Allow::Redirect)
        {
            answer.field("P-Asserted-Identity", |out| identity.write(out));
            if identity.is_hidden() {
                answer.header("Privacy", format_args!("id"));
            }
        }
        answer.finish();
    }

    /// Where a call that passes goes on to: the called number as it came, at the next hop.
    fn target(&self, onward: Option<&str>, out: &mut Vec<u8>) {
        let uri = Address::from_uri(self.request.uri);
        match uri {
            // An emergency service has no number to redirect to: it goes on as it came.
            Some(uri) if uri.scheme == Scheme::Urn => {
                let is_kept = |byte: &&u8| byte.is_ascii_alphanumeric() || b":.-".contains(byte);
                return out.extend(uri.uri.iter().take_while(is_kept));
            }
            Some(uri) if !uri.user.is_empty() => {
                out.extend_from_slice(b"sip:");
                // RFC 3261 section 25: what a quote or bracket would break is kept out.
                let is_kept = |byte: &u8| byte.is_ascii_graphic() && !b"<>\"?@,".contains(byte);
                match uri.user.iter().all(|byte| byte.is_ascii_digit() || *byte == b'+') {
                    true => out.extend_from_slice(uri.user),
                    false => out.extend(uri.user.iter().filter(|byte| is_kept(byte))),
                }
                out.push(b'@');
            }
            _ => out.extend_from_slice(b"sip:"),
        }
        match onward {
            Some(onward) => out.extend_from_slice(onward.as_bytes()),
            None => push_address(out, self.peer.address),
        }
    }
}

/// Q.850: 1 unallocated number, 28 invalid number format, 21 call rejected.
fn cause(verdict: &Verdict) -> u8 {
    match (verdict.rule, verdict.reason) {
        (Rule::R05, _) | (_, Reason::OperatorSaysNotAssigned) => 1,
        (Rule::R03, _) => 28,
        _ => 21,
    }
}

/// Writes the value of the Qalqan-Verdict header field.
pub(super) fn words(verdict: &Verdict, out: &mut Vec<u8>) {
    let Verdict { treatment, rule, reason, would, .. } = verdict;
    let mut add = |key: &str, value: &str| {
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(value.as_bytes());
    };
    add("", treatment.name());
    if let Some(label) = treatment.label() {
        add(";label=", label.name());
    }
    add(";rule=", rule.id());
    add(";name=", rule.name());
    add(";reason=", reason.name());
    if let Some(would) = would {
        add(";would=", would.treatment.name());
        add(";would-rule=", would.rule.id());
    }
}

/// What the network says of the caller after the verdict; none where the call passes unchanged.
pub(super) enum Identity {
    /// A number with the outcome of its verification (3GPP TS 24.229 section 7.2A.20).
    Number {
        number: Party,
        host: SocketAddr,
        verstat: &'static str,
    },
    Hidden,
}

impl Identity {
    pub(super) fn of(call: &Call, verdict: &Verdict, host: SocketAddr) -> Option<Identity> {
        let verstat = match verdict.treatment {
            Treatment::Allow | Treatment::Block => return None,
            Treatment::Withhold => return Some(Identity::Hidden),
            Treatment::Mark(Label::Verified) => "TN-Validation-Passed",
            // Nothing was validated that could have failed; a suspicion is said in Qalqan-Verdict.
            Treatment::Mark(_) => "No-TN-Validation",
        };
        let number = call.calling;
        number.number().map(|_| Identity::Number { number, host, verstat })
    }

    pub(super) fn is_hidden(&self) -> bool {
        matches!(self, Identity::Hidden)
    }
}

/// Where an identity is written: as it is, or escaped.
pub(super) trait Sink {
    fn put(&mut self, text: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }
}

impl Identity {
    /// The URI, in its brackets.
    pub(super) fn write(&self, out: &mut impl Sink) {
        let (number, host, verstat) = match self {
            Identity::Hidden => return out.put(b"<sip:anonymous@anonymous.invalid>"),
            Identity::Number { number, host, verstat } => {
                (number.number().expect("made of a number"), host, verstat)
            }
        };
        let (digits, count) = number.reveal().digits();
        out.put(b"<sip:+");
        out.put(&digits[..count]);
        out.put(b";verstat=");
        out.put(verstat.as_bytes());
        out.put(b"@");
        let mut text = std::io::Cursor::new([0; 48]);
        _ = match host {
            SocketAddr::V4(v4) => std::io::Write::write_fmt(&mut text, format_args!("{}", v4.ip())),
            SocketAddr::V6(v6) => std::io::Write::write_fmt(&mut text, format_args!("[{}]", v6.ip())),
        };
        out.put(&text.get_ref()[..text.position() as usize]);
        out.put(b";user=phone>");
    }

    /// The identity as header fields inside a URI (RFC 3261 section 19.1.1).
    fn write_in_uri(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"P-Asserted-Identity=");
        self.write(&mut Escaped(out));
        if self.is_hidden() {
            out.extend_from_slice(b"&Privacy=id");
        }
    }
}

struct Escaped<'b>(&'b mut Vec<u8>);

impl Sink for Escaped<'_> {
    fn put(&mut self, text: &[u8]) {
        for &byte in text {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' => {
                    self.0.push(byte);
                }
                _ => _ = write!(Text(self.0), "%{byte:02X}"),
            }
        }
    }
}
