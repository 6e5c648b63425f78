//! Captures of what passed on the wire, pcap and pcapng, read as calls and what the network answered them.
//!
//! [`file`] gives packets, [`frame`] what IP carries in them, [`fragments`] and [`streams`] put together what
//! was cut for the wire, [`calls`] hears the SIP in it. SIP is known by its content, on any port. Memory stays
//! bounded however long the file is: what waits too long for its other half is dropped and counted.

mod calls;
mod file;
mod fragments;
mod frame;
mod streams;

use std::io::Read;
use std::net::IpAddr;

use call::TrunkId;
use etherparse::ip_number;

pub use calls::{CallCounts, Judge, Outcome, Outcomes};
pub use file::{Stop, is_capture};
pub use streams::StreamCounts;

use crate::config::Setup;
use crate::records::Progress;
use calls::Calls;
use file::{Packet, Packets};
use fragments::Fragments;
use frame::{Ip, NotIp};
use streams::Streams;

/// A SIP message, or what may be one.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub bytes: &'a [u8],
    /// The capture did not keep its end.
    pub is_cut: bool,
    pub source: IpAddr,
    pub time_ms: i64,
    /// Number of the packet that made it whole.
    pub packet: u64,
}

/// What a capture held.
#[derive(Clone, Default, Debug)]
pub struct Heard {
    pub packets: u64,
    /// Packets of a link type that is not read; which, and where the first of them begins.
    pub of_unread_link: u64,
    pub unread_link: Option<(u16, u64)>,
    /// Packets that carry no IP, or a header that cannot be read.
    pub not_ip: u64,
    /// Packets of which the capture kept only the beginning.
    pub cut: u64,
    /// IP packets of which not every fragment was captured.
    pub fragments_lost: u64,
    /// Packets of interfaces that the file does not describe, and where the first of them begins.
    pub orphans: u64,
    pub first_orphan: u64,
    pub streams: StreamCounts,
    pub calls: CallCounts,
    pub outcomes: Outcomes,
    /// Why the file was not read to a clean end.
    pub stop: Option<Stop>,
}

/// Reads a capture of so many bytes and has every call in it judged; `only`: all calls are of this trunk.
pub fn read(
    reader: impl Read,
    length: u64,
    setup: &Setup,
    only: Option<TrunkId>,
    progress: &mut dyn Progress,
    judge: Judge,
) -> Result<Heard, String> {
    progress.total(length);
    let mut packets = Packets::open(reader).map_err(|stop| stop.to_string())?;
    let mut reading = Reading {
        heard: Heard::default(),
        calls: Calls::new(setup, only),
        fragments: Fragments::default(),
        streams: Streams::default(),
        judge,
        time_ms: 0,
    };
    let is_peer = |address| only.is_some() || setup.sources.trunk(address).is_some();
    let stop = loop {
        match packets.next() {
            Ok(Some(packet)) => reading.packet(&packet, &is_peer)?,
            Ok(None) => break None,
            Err(stop) => break Some(stop),
        }
        if reading.heard.packets.is_multiple_of(8192) {
            progress.done(packets.offset());
        }
    };
    progress.done(packets.offset());
    let mut heard = reading.end()?;
    (heard.orphans, heard.first_orphan, heard.stop) = (packets.orphans, packets.first_orphan, stop);
    Ok(heard)
}

struct Reading<'s, 'j> {
    heard: Heard,
    calls: Calls<'s>,
    fragments: Fragments,
    streams: Streams,
    judge: Judge<'j>,
    time_ms: i64,
}

impl Reading<'_, '_> {
    fn packet(&mut self, packet: &Packet, is_peer: &dyn Fn(IpAddr) -> bool) -> Result<(), String> {
        self.heard.packets += 1;
        self.time_ms = packet.time_ms;
        let ip = match frame::ip(packet.link, packet.bytes) {
            Ok(ip) => ip,
            Err(NotIp::Link) => {
                self.heard.of_unread_link += 1;
                self.heard.unread_link.get_or_insert((packet.link, packet.offset));
                return Ok(());
            }
            Err(NotIp::Other) => {
                self.heard.not_ip += 1;
                return Ok(());
            }
        };
        self.heard.cut += u64::from(ip.missing > 0);
        if ip.fragment.is_none() {
            return self.transport(&ip, packet, is_peer);
        }
        // Half a fragment leaves a hole that nothing fills.
        if ip.missing > 0 {
            return Ok(());
        }
        let Some((protocol, payload)) = self.fragments.add(&ip, packet.time_ms) else { return Ok(()) };
        let mut whole = Ip { protocol, payload: &payload, fragment: None, ..ip };
        match whole.skip_extensions() {
            Ok(()) if whole.fragment.is_none() => self.transport(&whole, packet, is_peer),
            _ => {
                self.heard.not_ip += 1;
                Ok(())
            }
        }
    }

    fn transport(
        &mut self,
        ip: &Ip,
        packet: &Packet,
        is_peer: &dyn Fn(IpAddr) -> bool,
    ) -> Result<(), String> {
        let (calls, judge) = (&mut self.calls, &mut *self.judge);
        match ip.protocol {
            ip_number::UDP => {
                let Some((header, payload)) = ip.payload.split_at_checked(8) else { return Ok(()) };
                // 0 where the datagram is longer than its field can say.
                let length = match usize::from(u16::from_be_bytes([header[4], header[5]])) {
                    0..8 => payload.len(),
                    length => length - 8,
                };
                let message = Message {
                    bytes: &payload[..length.min(payload.len())],
                    is_cut: length > payload.len(),
                    source: ip.source,
                    time_ms: packet.time_ms,
                    packet: packet.number,
                };
                calls.hear(message, judge)
            }
            ip_number::TCP => {
                let mut hear = |message: Message| calls.hear(message, judge);
                self.streams.add(ip, packet.time_ms, packet.number, is_peer, &mut hear)
            }
            _ => Ok(()),
        }
    }

    fn end(mut self) -> Result<Heard, String> {
        let (calls, judge) = (&mut self.calls, &mut *self.judge);
        self.streams.end(self.time_ms, &mut |message| calls.hear(message, judge))?;
        self.fragments.end();
        self.calls.end();
        self.heard.fragments_lost = self.fragments.lost;
        self.heard.streams = self.streams.counts;
        self.heard.calls = self.calls.counts;
        self.heard.outcomes = self.calls.outcomes;
        Ok(self.heard)
    }
}

impl Heard {
    /// What the reader has to know about the file itself, in lines; what is an error stands last.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(stop @ Stop::Cut { .. }) = &self.stop {
            lines.push(stop.to_string());
        }
        if self.orphans > 0 {
            lines.push(format!(
                "byte {}: {} packets, of which this is the first, name an interface that the file does not \
                 describe, or are longer than their block: not read",
                self.first_orphan, self.orphans
            ));
        }
        if let (Some((link, offset)), None) = (self.unread_link, self.fault()) {
            lines.push(format!(
                "byte {offset}: {} packets, of which this is the first, are of link type {link}: not read",
                self.of_unread_link
            ));
        }
        lines
    }

    /// Why the file counts as broken: what could be read was judged all the same.
    pub fn fault(&self) -> Option<String> {
        match (&self.stop, self.unread_link) {
            (Some(stop @ (Stop::Damaged { .. } | Stop::Unreadable(_) | Stop::Foreign(_))), _) => {
                Some(stop.to_string())
            }
            (_, Some((link, _))) if self.of_unread_link == self.packets => Some(format!(
                "all packets are of link type {link}, which is not read; these are: {}",
                frame::LINKS
            )),
            _ => None,
        }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Cut { offset, what } => {
                write!(f, "byte {offset}: the file ends {what}: what stands before that was judged")
            }
            Stop::Damaged { offset, what } => {
                write!(f, "byte {offset}: {what}: what stands before that was judged, the rest was not read")
            }
            Stop::Foreign(what) | Stop::Unreadable(what) => f.write_str(what),
        }
    }
}
