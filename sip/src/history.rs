//! History-Info (RFC 7044): who diverted a call, where no Diversion header says it.

use crate::{Address, Name, Request, each_value};

/// The address that the call was diverted from: the entry that the last one was mapped from (`mp`), or,
/// where the last one carries a diversion's cause in its URI (RFC 4458), the entry before it.
pub fn diverted_from<'a>(request: &Request<'a>) -> Option<Address<'a>> {
    let entries = || request.values(Name::HistoryInfo).flat_map(each_value).filter_map(Address::parse);
    let (mut before, mut last) = (None, None);
    for entry in entries() {
        before = last.replace(entry);
    }
    let last = last?;
    if let Some(index) = last.parameter(b"mp") {
        return entries().find(|entry| entry.parameter(b"index") == Some(index));
    }
    last.uri_parameter(b"cause").and(before)
}

#[cfg(test)]
mod tests {
    use crate::{Parser, diverted_from};

    fn diverted(history: &str) -> Option<String> {
        let message = format!("INVITE sip:a@b SIP/2.0\r\nHistory-Info: {history}\r\n\r\n");
        let mut parser = Parser::new();
        let request = parser.parse(message.as_bytes()).0.unwrap();
        diverted_from(&request).map(|address| String::from_utf8(address.user.to_vec()).unwrap())
    }

    #[test]
    fn finds_who_diverted_the_call() {
        // After RFC 7044 section 8.1 and RFC 4458 section 4.
        assert_eq!(diverted("<sip:+1@x>;index=1, <sip:+2@x;cause=302>;index=1.1;mp=1"), Some("+1".into()));
        assert_eq!(diverted("<sip:+1@x>;index=1, <sip:+2@x;cause=480>;index=1.1"), Some("+1".into()));
        assert_eq!(
            diverted("<sip:+1@x>;index=1,<sip:+2@x>;index=1.1;mp=1,<sip:+3@x>;index=1.2;mp=1.1"),
            Some("+2".into())
        );
        assert_eq!(diverted("<sip:+1@x>;index=1, <sip:+1@y>;index=1.1;rc=1"), None, "routed, not diverted");
        assert_eq!(diverted("<sip:+1@x>;index=1"), None);
    }
}
