//! What goes back on the wire: verdicts as redirects or refusals, and the answers of other requests.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use call::{Call, Label, Reason, Rule, Treatment, Verdict};
use numbering::Party;
use rules::{Language, reason_in_words};
use sip::{Address, Answer, Request, Scheme, Via};

use crate::config::{Allow, Marks, Setup};

use super::checks::Required;

const ALLOW: &str = "INVITE, ACK, CANCEL, OPTIONS";

/// A request that is being answered.
pub struct Reply<'r> {
    pub setup: &'r Setup,
    pub request: &'r Request<'r>,
    pub via: &'r Via<'r>,
    pub tag: u64,
    pub source: SocketAddr,
}

impl Reply<'_> {
    fn start<'b>(&self, out: &'b mut Vec<u8>, status: &str) -> Answer<'b> {
        Answer::start(out, self.request, self.via, status, self.tag, self.source)
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
        answer.header("Qalqan-Verdict", format_args!("{}", Words(verdict)));
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
        let identity = Identity::of(call, verdict, self.source);
        let status = match sip.allow {
            Allow::Redirect => "302 Moved Temporarily",
            Allow::NotFound => "404 Not Found",
            Allow::Unavailable => "503 Service Unavailable",
        };
        let mut answer = self.start(out, status);
        if sip.allow == Allow::Redirect {
            let target = Target { reply: self, onward: sip.onward(call.trunk) };
            match &identity {
                Some(identity) if sip.marks != Marks::Headers => {
                    answer.header("Contact", format_args!("<{target}?{}>", InUri(identity)));
                }
                _ => answer.header("Contact", format_args!("<{target}>")),
            }
        }
        answer.header("Qalqan-Verdict", format_args!("{}", Words(verdict)));
        if let Some(identity) = &identity
            && (sip.marks != Marks::Contact || sip.allow != Allow::Redirect)
        {
            answer.header("P-Asserted-Identity", format_args!("<{identity}>"));
            if identity.is_hidden() {
                answer.header("Privacy", format_args!("id"));
            }
        }
        answer.finish();
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

/// The value of the Qalqan-Verdict header field.
pub(super) struct Words<'v>(pub(super) &'v Verdict);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Verdict { treatment, rule, reason, would, .. } = self.0;
        f.write_str(treatment.name())?;
        if let Some(label) = treatment.label() {
            f.write_str(";label=")?;
            f.write_str(label.name())?;
        }
        for (key, value) in [(";rule=", rule.id()), (";name=", rule.name()), (";reason=", reason.name())] {
            f.write_str(key)?;
            f.write_str(value)?;
        }
        if let Some(would) = would {
            f.write_str(";would=")?;
            f.write_str(would.treatment.name())?;
            f.write_str(";would-rule=")?;
            f.write_str(would.rule.id())?;
        }
        Ok(())
    }
}

/// Where a call that passes goes on to: the called number as it came, at the next hop.
struct Target<'t> {
    reply: &'t Reply<'t>,
    onward: Option<&'t str>,
}

impl Display for Target<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let uri = Address::from_uri(self.reply.request.uri);
        match uri {
            // An emergency service has no number to redirect to: it goes on as it came.
            Some(uri) if uri.scheme == Scheme::Urn => {
                let is_kept = |byte: &&u8| byte.is_ascii_alphanumeric() || b":.-".contains(byte);
                return uri
                    .uri
                    .iter()
                    .take_while(is_kept)
                    .try_for_each(|&byte| write!(f, "{}", char::from(byte)));
            }
            Some(uri) if !uri.user.is_empty() => {
                f.write_str("sip:")?;
                // RFC 3261 section 25: what a quote or bracket would break is kept out.
                let is_kept = |byte: &u8| byte.is_ascii_graphic() && !b"<>\"?@,".contains(byte);
                match std::str::from_utf8(uri.user) {
                    Ok(user) if uri.user.iter().all(is_kept) => f.write_str(user)?,
                    _ => uri
                        .user
                        .iter()
                        .filter(|byte| is_kept(byte))
                        .try_for_each(|&byte| f.write_str(char::from(byte).encode_utf8(&mut [0; 4])))?,
                }
                f.write_str("@")?;
            }
            _ => f.write_str("sip:")?,
        }
        match self.onward {
            Some(onward) => f.write_str(onward),
            None => write!(f, "{}", self.reply.source),
        }
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

impl Display for Identity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Hidden => f.write_str("sip:anonymous@anonymous.invalid"),
            Identity::Number { number, host, verstat } => {
                let number = number.number().expect("made of a number");
                match host {
                    SocketAddr::V4(v4) => {
                        write!(f, "sip:{};verstat={verstat}@{};user=phone", number.reveal(), v4.ip())
                    }
                    SocketAddr::V6(v6) => {
                        write!(f, "sip:{};verstat={verstat}@[{}];user=phone", number.reveal(), v6.ip())
                    }
                }
            }
        }
    }
}

/// The identity as header fields inside a URI, escaped (RFC 3261 section 19.1.1).
struct InUri<'i>(&'i Identity);

impl Display for InUri<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_str("P-Asserted-Identity=")?;
        write!(Escaping(f), "<{}>", self.0)?;
        if self.0.is_hidden() { f.write_str("&Privacy=id") } else { Ok(()) }
    }
}

struct Escaping<'a, 'b>(&'a mut Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' => {
                self.0.write_char(char::from(byte))
            }
            _ => write!(self.0, "%{byte:02X}"),
        })
    }
}
