//! SIP messages out of TCP segments: out of order, repeated, overlapping, or with pieces missing.
//!
//! Each direction of a connection is a stream of its own. A stream is known as SIP by its content; one whose
//! beginning was not captured, or that lost a piece, is taken up again at the next start line. Bounded: a hole is
//! given up when 256 segments or 5 seconds have gone past it, and of too many streams the oldest are dropped.

use std::collections::HashMap;
use std::net::SocketAddr;

use etherparse::TcpHeaderSlice;
use memchr::memchr;
use sip::{Frame, frame};

use super::Message;
use super::frame::Ip;

const MOST_STREAMS: usize = 65_536;
const MOST_BYTES: usize = 64 << 20;
/// How many segments, and how many bytes of them, wait for one that is missing.
const MOST_WAITING: usize = 256;
const MOST_WAITING_BYTES: usize = 1 << 18;
const PATIENCE_MS: i64 = 5_000;
/// A start line is shorter, and a stream that is SIP has one within so many bytes.
const LONGEST_LINE: usize = 8_192;
const SEEK: usize = 1 << 17;
/// Segments farther from the expected place than any window belong to another connection of the same ports.
const FARTHEST: u32 = 1 << 24;

#[derive(Default)]
pub struct Streams {
    streams: HashMap<Ends, Stream>,
    bytes: usize,
    pub counts: StreamCounts,
}

/// What became of streams, besides messages.
#[derive(Clone, Copy, Default, Debug)]
pub struct StreamCounts {
    /// Encrypted connections with one of the peers asked about.
    pub tls: u64,
    /// SIP streams whose beginning is not in the capture.
    pub begun_before: u64,
    /// Places where a stream lacks bytes.
    pub holes: u64,
    /// Messages that do not say where they end (RFC 3261 section 18.3).
    pub endless: u64,
    /// Streams dropped unfinished, because too many were open.
    pub dropped: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Ends {
    source: SocketAddr,
    destination: SocketAddr,
}

/// Where messages go; an error ends the reading.
type Sink<'s> = &'s mut dyn FnMut(Message) -> Result<(), String>;

struct Stream {
    kind: Kind,
    /// Sequence number of the first SYN seen.
    first: Option<u32>,
    /// Sequence number of the next byte; none until the first segment.
    next: Option<u32>,
    /// Bytes in order that made no whole message yet.
    bytes: Vec<u8>,
    /// How far [`frame`] has looked at them.
    looked: usize,
    /// Segments after a hole, in order.
    waiting: Vec<(u32, Vec<u8>)>,
    waiting_bytes: usize,
    waiting_since_ms: i64,
    last_packet: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Its first byte is the first of the connection.
    Beginning,
    /// In the middle: looks for a start line, in vain for so many bytes.
    Seeking {
        vain: usize,
        was_sip: bool,
    },
    Sip,
    /// TLS, or something else that is not read.
    Foreign,
}

/// Where and when a segment was seen.
#[derive(Clone, Copy)]
struct Seen {
    ends: Ends,
    time_ms: i64,
    packet: u64,
}

impl Streams {
    /// Takes the TCP segment in an IP packet. `is_peer` says whose encrypted connections are counted.
    pub fn add(
        &mut self,
        ip: &Ip,
        time_ms: i64,
        packet: u64,
        is_peer: &dyn Fn(std::net::IpAddr) -> bool,
        sink: Sink,
    ) -> Result<(), String> {
        let Ok(tcp) = TcpHeaderSlice::from_slice(ip.payload) else { return Ok(()) };
        let data = &ip.payload[tcp.slice().len()..];
        if data.is_empty() && ip.missing == 0 && !tcp.syn() {
            return Ok(());
        }
        let ends = Ends {
            source: SocketAddr::new(ip.source, tcp.source_port()),
            destination: SocketAddr::new(ip.destination, tcp.destination_port()),
        };
        if self.bytes > MOST_BYTES
            || (self.streams.len() >= MOST_STREAMS && !self.streams.contains_key(&ends))
        {
            self.shed(time_ms, sink)?;
        }
        let seen = Seen { ends, time_ms, packet };
        let stream = self.streams.entry(ends).or_insert_with(Stream::in_the_middle);
        let before = stream.held();
        stream.last_packet = packet;
        let mut sequence = tcp.sequence_number();
        if tcp.syn() {
            if stream.first != Some(sequence) {
                stream.finish(seen, &mut self.counts, sink)?;
                *stream = Stream { last_packet: packet, ..Stream::begun(sequence) };
            }
            sequence = sequence.wrapping_add(1);
        }
        if stream.kind != Kind::Foreign {
            stream.segment(sequence, data, ip.missing, seen, &mut self.counts, sink)?;
            let is_new = stream.kind == Kind::Foreign && is_tls(data);
            if is_new && (is_peer(ip.source) || is_peer(ip.destination)) {
                let back = Ends { source: ends.destination, destination: ends.source };
                // One connection, two streams.
                let is_counted = self.streams.get(&back).is_some_and(|back| back.kind == Kind::Foreign);
                self.counts.tls += u64::from(!is_counted);
            }
        }
        let after = self.streams.get(&ends).map_or(0, Stream::held);
        self.bytes = self.bytes + after - before;
        Ok(())
    }

    /// Makes room: the streams that were silent longest go, to the half.
    fn shed(&mut self, time_ms: i64, sink: Sink) -> Result<(), String> {
        let mut ages: Vec<u64> = self.streams.values().map(|stream| stream.last_packet).collect();
        if ages.is_empty() {
            return Ok(());
        }
        let middle = ages.len() / 2;
        let (_, &mut newest_to_go, _) = ages.select_nth_unstable(middle);
        self.close(time_ms, newest_to_go, sink)
    }

    /// Nothing comes any more.
    pub fn end(&mut self, time_ms: i64, sink: Sink) -> Result<(), String> {
        let dropped = self.counts.dropped;
        self.close(time_ms, u64::MAX, sink)?;
        self.counts.dropped = dropped;
        Ok(())
    }

    /// Ends the streams that had nothing after a packet, in the order of their last ones.
    fn close(&mut self, time_ms: i64, packet: u64, sink: Sink) -> Result<(), String> {
        let mut old: Vec<(u64, Ends)> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.last_packet <= packet)
            .map(|(ends, stream)| (stream.last_packet, *ends))
            .collect();
        old.sort_unstable_by_key(|(last, _)| *last);
        for (packet, ends) in old {
            let Some(mut stream) = self.streams.remove(&ends) else { continue };
            self.bytes -= stream.held();
            self.counts.dropped += u64::from(stream.held() > 0);
            stream.finish(Seen { ends, time_ms, packet }, &mut self.counts, sink)?;
        }
        Ok(())
    }
}

impl Stream {
    fn in_the_middle() -> Stream {
        Stream {
            kind: Kind::Seeking { vain: 0, was_sip: false },
            first: None,
            next: None,
            bytes: Vec::new(),
            looked: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_since_ms: 0,
            last_packet: 0,
        }
    }

    fn begun(syn: u32) -> Stream {
        let (first, next) = (Some(syn), Some(syn.wrapping_add(1)));
        Stream { kind: Kind::Beginning, first, next, ..Stream::in_the_middle() }
    }

    fn held(&self) -> usize {
        self.bytes.len() + self.waiting_bytes
    }

    fn segment(
        &mut self,
        sequence: u32,
        data: &[u8],
        missing: usize,
        seen: Seen,
        counts: &mut StreamCounts,
        sink: Sink,
    ) -> Result<(), String> {
        let mut next = *self.next.get_or_insert(sequence);
        let ahead = |next: u32| sequence.wrapping_sub(next) as i32;
        if ahead(next).unsigned_abs() > FARTHEST {
            self.finish(seen, counts, sink)?;
            *self = Stream { last_packet: self.last_packet, next: Some(sequence), ..Stream::in_the_middle() };
            next = sequence;
        }
        if ahead(next) > 0 {
            self.hold(sequence, data, seen.time_ms);
            let is_old = seen.time_ms.saturating_sub(self.waiting_since_ms) > PATIENCE_MS;
            if is_old || self.waiting.len() > MOST_WAITING || self.waiting_bytes > MOST_WAITING_BYTES {
                self.give_up_hole(seen, counts, sink)?;
            }
            return Ok(());
        }
        self.take(sequence, data, seen, counts, sink)?;
        if missing > 0 {
            // What the capture cut off this segment comes no more.
            let end = sequence.wrapping_add((data.len() + missing) as u32);
            if self.next.is_some_and(|next| end.wrapping_sub(next) as i32 > 0) {
                self.lose(seen, counts, sink)?;
                self.next = Some(end);
            }
        }
        self.take_waiting(seen, counts, sink)
    }

    /// Takes a segment that begins at the expected byte or before it.
    fn take(
        &mut self,
        sequence: u32,
        data: &[u8],
        seen: Seen,
        counts: &mut StreamCounts,
        sink: Sink,
    ) -> Result<(), String> {
        let next = self.next.unwrap_or(sequence);
        let known = next.wrapping_sub(sequence) as usize;
        let Some(fresh) = data.get(known..).filter(|fresh| !fresh.is_empty()) else { return Ok(()) };
        self.next = Some(next.wrapping_add(fresh.len() as u32));
        self.bytes.extend_from_slice(fresh);
        self.cut(seen, counts, sink)
    }

    fn take_waiting(&mut self, seen: Seen, counts: &mut StreamCounts, sink: Sink) -> Result<(), String> {
        while let (Some((sequence, _)), Some(next)) = (self.waiting.first(), self.next) {
            if sequence.wrapping_sub(next) as i32 > 0 {
                break;
            }
            let (sequence, data) = self.waiting.remove(0);
            self.waiting_bytes -= data.len();
            self.waiting_since_ms = seen.time_ms;
            self.take(sequence, &data, seen, counts, sink)?;
        }
        Ok(())
    }

    fn hold(&mut self, sequence: u32, data: &[u8], time_ms: i64) {
        if self.waiting.is_empty() {
            self.waiting_since_ms = time_ms;
        }
        let place = self.waiting.partition_point(|(other, _)| (other.wrapping_sub(sequence) as i32) < 0);
        match self.waiting.get(place) {
            Some((other, held)) if *other == sequence && held.len() >= data.len() => {}
            _ => {
                self.waiting_bytes += data.len();
                self.waiting.insert(place, (sequence, data.to_vec()));
            }
        }
    }

    /// Goes on behind the first hole.
    fn give_up_hole(&mut self, seen: Seen, counts: &mut StreamCounts, sink: Sink) -> Result<(), String> {
        let Some(&(sequence, _)) = self.waiting.first() else { return Ok(()) };
        self.lose(seen, counts, sink)?;
        self.next = Some(sequence);
        self.take_waiting(seen, counts, sink)
    }

    /// Bytes are missing here: hands over what there is of a message and looks for the next.
    fn lose(&mut self, seen: Seen, counts: &mut StreamCounts, sink: Sink) -> Result<(), String> {
        self.looked = 0;
        let bytes = std::mem::take(&mut self.bytes);
        match self.kind {
            Kind::Sip => {
                counts.holes += 1;
                self.kind = Kind::Seeking { vain: 0, was_sip: true };
                match bytes.iter().all(u8::is_ascii_whitespace) {
                    true => Ok(()),
                    false => sink(seen.message(&bytes, true)),
                }
            }
            Kind::Beginning => {
                self.kind = Kind::Seeking { vain: 0, was_sip: false };
                Ok(())
            }
            Kind::Seeking { .. } | Kind::Foreign => Ok(()),
        }
    }

    /// Nothing comes any more: what waits is read without what is missing.
    fn finish(&mut self, seen: Seen, counts: &mut StreamCounts, sink: Sink) -> Result<(), String> {
        while !self.waiting.is_empty() {
            self.give_up_hole(seen, counts, sink)?;
        }
        if self.kind == Kind::Sip && !self.bytes.iter().all(u8::is_ascii_whitespace) {
            self.lose(seen, counts, sink)?;
        }
        Ok(())
    }

    /// Hands over the whole messages among the bytes.
    fn cut(&mut self, seen: Seen, counts: &mut StreamCounts, sink: Sink) -> Result<(), String> {
        let mut at = 0;
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            match self.kind {
                Kind::Beginning => match begins(rest) {
                    Some(true) => self.kind = Kind::Sip,
                    Some(false) => self.kind = Kind::Foreign,
                    None => break,
                },
                Kind::Seeking { vain, was_sip } => {
                    if vain == 0 && !was_sip && is_tls(rest) {
                        self.kind = Kind::Foreign;
                        continue;
                    }
                    let (passed, is_found) = seek(rest);
                    at += passed;
                    let vain = vain + passed;
                    match is_found {
                        true => {
                            counts.begun_before += u64::from(!was_sip);
                            self.kind = Kind::Sip;
                        }
                        false if vain > SEEK && !was_sip => self.kind = Kind::Foreign,
                        false => {
                            self.kind = Kind::Seeking { vain, was_sip };
                            break;
                        }
                    }
                }
                Kind::Sip => match frame(rest, self.looked) {
                    Frame::Message(length) => {
                        sink(seen.message(&rest[..length], false))?;
                        (at, self.looked) = (at + length, 0);
                    }
                    Frame::Ping => at += 4,
                    Frame::Blank(length) => at += length,
                    Frame::Partial(looked) => {
                        self.looked = looked;
                        break;
                    }
                    Frame::Broken(_) => {
                        counts.endless += 1;
                        self.looked = 0;
                        at += memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                        self.kind = Kind::Seeking { vain: 0, was_sip: true };
                    }
                },
                Kind::Foreign => at = self.bytes.len(),
            }
        }
        self.bytes.drain(..at);
        if self.kind == Kind::Foreign {
            (self.bytes, self.waiting, self.waiting_bytes) = (Vec::new(), Vec::new(), 0);
        }
        Ok(())
    }
}

impl Seen {
    fn message<'a>(&self, bytes: &'a [u8], is_cut: bool) -> Message<'a> {
        let Seen { ends, time_ms, packet } = *self;
        Message { bytes, is_cut, source: ends.source.ip(), time_ms, packet }
    }
}

/// Whether a connection begins as SIP does; none where that cannot be said yet.
fn begins(bytes: &[u8]) -> Option<bool> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let line = &bytes[start..];
    match memchr(b'\n', line) {
        Some(end) => Some(is_start_line(&line[..end])),
        None if line.len() > LONGEST_LINE || !line[0].is_ascii_alphabetic() => Some(false),
        None => None,
    }
}

/// Passes what stands before the first start line; says whether there is one.
fn seek(bytes: &[u8]) -> (usize, bool) {
    let mut at = 0;
    while let Some(end) = memchr(b'\n', &bytes[at..]) {
        if is_start_line(&bytes[at..at + end]) {
            return (at, true);
        }
        at += end + 1;
    }
    // The last line may be a start line once it is whole.
    if bytes.len() - at > LONGEST_LINE { (bytes.len(), false) } else { (at, false) }
}

/// RFC 3261 sections 7.1 and 7.2.
fn is_start_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.strip_prefix(b"SIP/2.0 ") {
        Some(status) => status.first().is_some_and(u8::is_ascii_digit),
        None => line.ends_with(b" SIP/2.0") && line[0].is_ascii_alphabetic(),
    }
}

/// The header of a TLS record (RFC 8446 section 5.1).
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x14..=0x17, 3, 0..=4, high, _, ..] if *high <= 0x48)
}
