//! A datagram, and a stream: spans lie inside, and the answer to what was read carries it home unchanged.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use sip::{Address, Answer, Frame, Name, Parser, Via, diverted_from, each_value, frame, hop_count};

const NAMES: [Name; 14] = [
    Name::Via,
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::Contact,
    Name::MaxForwards,
    Name::ContentLength,
    Name::PAssertedIdentity,
    Name::Privacy,
    Name::Diversion,
    Name::HistoryInfo,
    Name::Require,
    Name::RecordRoute,
];

fn assert_inside(part: &[u8], whole: &[u8]) {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    assert!(part.start >= whole.start && part.end <= whole.end);
}

fuzz_target!(|data: &[u8]| {
    if let Frame::Message(length) | Frame::Blank(length) = frame(data, 0) {
        assert!(length > 0 && length <= data.len());
    }
    let (mut parser, mut reader) = (Parser::new(), Parser::new());
    if let Some(response) = reader.response(data) {
        assert_inside(response.body(), data);
    }
    let (request, outcome) = parser.parse(data);
    let Some(request) = request else { return assert!(outcome.is_err()) };
    for name in NAMES {
        for value in request.values(name) {
            assert_inside(value, data);
            assert_eq!(value, value.trim_ascii());
        }
    }
    assert_inside(request.uri, data);
    assert_inside(request.body, data);
    let _ = (request.slip(), hop_count(&request), diverted_from(&request));
    let Some(via) = request.value(Name::Via).and_then(Via::parse) else { return };
    if outcome.is_err() || request.fault().is_some() {
        return;
    }
    // RFC 3261 section 8.2.6: what an answer takes from its request.
    let mut out = Vec::new();
    let source: SocketAddr = "192.0.2.9:7000".parse().unwrap();
    Answer::start(&mut out, &request, &via, "200 OK", 1, source).finish();
    let answer = reader.response(&out).expect("an answer that can be read");
    assert_eq!(answer.status, 200);
    for name in [Name::From, Name::CallId, Name::CSeq] {
        assert!(answer.values(name).eq(request.values(name)), "{name:?}");
    }
    let (asked, got) = (request.value(Name::To).unwrap(), answer.values(Name::To).next().unwrap());
    assert!(got.starts_with(asked));
    assert!(Address::parse(got).is_some_and(|to| to.parameter(b"tag").is_some()), "a tag");
    // A Via line may hold several values: all of them come back, the first with what was seen of the sender.
    let vias = |values: &mut dyn Iterator<Item = &[u8]>| -> Vec<Vec<u8>> {
        values.flat_map(each_value).map(<[u8]>::to_vec).collect()
    };
    let (asked, got) = (vias(&mut request.values(Name::Via)), vias(&mut answer.values(Name::Via)));
    assert_eq!(asked[1..], got[1..]);
    let back = Via::parse(&got[0]).expect("a Via");
    assert_eq!((back.host, back.port, back.branch, back.rport), (via.host, via.port, via.branch, via.rport));
});
