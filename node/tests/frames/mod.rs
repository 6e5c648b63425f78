//! Captures written byte by byte, as the standards draw them, without the code under test or its crates.
#![allow(dead_code)] // Each test file uses its part.

use std::net::{IpAddr, SocketAddr};

pub const UDP: u8 = 17;
pub const TCP: u8 = 6;

pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("address and port")
}

/// An INVITE of which everything but the numbers hangs on the Call-ID.
pub fn invite(calling: &str, call_id: &str) -> Vec<u8> {
    let body = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    format!(
        "INVITE sip:+77011234567@192.0.2.10 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call_id}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{calling}@192.0.2.1>;tag=f{call_id}\r\nTo: <sip:+77011234567@192.0.2.10>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A response to it.
pub fn response(status: &str, calling: &str, call_id: &str) -> Vec<u8> {
    format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call_id}\r\n\
         From: <sip:{calling}@192.0.2.1>;tag=f{call_id}\r\nTo: <sip:+77011234567@192.0.2.10>;tag=t\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(from.port().to_be_bytes());
    out.extend(to.port().to_be_bytes());
    out.extend((payload.len() as u16 + 8).to_be_bytes());
    out.extend([0, 0]);
    out.extend(payload);
    out
}

pub const SYN: u8 = 2;
pub const FIN: u8 = 1;
pub const ACK: u8 = 16;

pub fn tcp(from: SocketAddr, to: SocketAddr, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(from.port().to_be_bytes());
    out.extend(to.port().to_be_bytes());
    out.extend(sequence.to_be_bytes());
    out.extend([0; 4]);
    out.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(payload);
    out
}

/// A whole IP packet of either version.
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => v4(from, to, protocol, 1, 0, payload),
        _ => v6(from, to, protocol, payload),
    }
}

/// IPv4 with its identification and the field of flags and fragment offset.
pub fn v4(from: IpAddr, to: IpAddr, protocol: u8, id: u16, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else { panic!("IPv4") };
    let mut out = vec![0x45, 0];
    out.extend((payload.len() as u16 + 20).to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend(fragment.to_be_bytes());
    out.extend([64, protocol, 0, 0]);
    out.extend(from.octets());
    out.extend(to.octets());
    out.extend(payload);
    out
}

pub fn v6(from: IpAddr, to: IpAddr, next: u8, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else { panic!("IPv6") };
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((payload.len() as u16).to_be_bytes());
    out.extend([next, 64]);
    out.extend(from.octets());
    out.extend(to.octets());
    out.extend(payload);
    out
}

/// A UDP datagram in its IP packet.
pub fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    ip(from.ip(), to.ip(), UDP, &udp(from, to, payload))
}

/// The payload of an IPv4 packet in fragments of so many bytes.
pub fn v4_fragments(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    id: u16,
    payload: &[u8],
    size: usize,
) -> Vec<Vec<u8>> {
    assert_eq!(size % 8, 0);
    let last = payload.len().div_ceil(size) - 1;
    let piece = |(n, piece): (usize, &[u8])| {
        let more = if n < last { 0x2000 } else { 0 };
        v4(from, to, protocol, id, (n * size / 8) as u16 | more, piece)
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

/// The same for IPv6: `next` is the protocol of what is cut.
pub fn v6_fragments(
    from: IpAddr,
    to: IpAddr,
    next: u8,
    id: u32,
    payload: &[u8],
    size: usize,
) -> Vec<Vec<u8>> {
    assert_eq!(size % 8, 0);
    let last = payload.len().div_ceil(size) - 1;
    let piece = |(n, piece): (usize, &[u8])| {
        let mut out = vec![next, 0];
        out.extend(((n * size) as u16 | u16::from(n < last)).to_be_bytes());
        out.extend(id.to_be_bytes());
        out.extend(piece);
        v6(from, to, 44, &out)
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

fn ether_type(packet: &[u8]) -> u16 {
    if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }
}

/// An Ethernet frame with VLAN tags of these kinds.
pub fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (n, tag) in tags.iter().enumerate() {
        out.extend(tag.to_be_bytes());
        out.extend((100 + n as u16).to_be_bytes());
    }
    out.extend(ether_type(packet).to_be_bytes());
    out.extend(packet);
    // Short frames are padded to 60 bytes.
    out.resize(out.len().max(60), 0);
    out
}

/// A frame of a link type.
pub fn framed(link: u16, packet: &[u8]) -> Vec<u8> {
    let is_v4 = packet[0] >> 4 == 4;
    let kind = ether_type(packet).to_be_bytes();
    let mut out = match link {
        1 => return ethernet(&[], packet),
        // Address families of a little-endian FreeBSD, and of OpenBSD in network order.
        0 => vec![if is_v4 { 2 } else { 28 }, 0, 0, 0],
        108 => vec![0, 0, 0, if is_v4 { 2 } else { 24 }],
        113 => [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &kind].concat(),
        276 => [&kind[..], &[0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]].concat(),
        _ => Vec::new(),
    };
    out.extend(packet);
    out
}

/// Milliseconds of the first packet; each comes 20 ms after the one before.
pub const BEGIN_MS: u64 = 1_772_452_800_000;

/// pcap in little-endian with microseconds.
pub fn pcap(link: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    pcap_in(false, 0xa1b2_c3d4, 1_000, link, packets)
}

/// pcap in any of its forms; `fraction`: its units in a millisecond.
pub fn pcap_in(is_big: bool, magic: u32, fraction: u32, link: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    let word = |n: u32| if is_big { n.to_be_bytes() } else { n.to_le_bytes() };
    let half = |n: u16| if is_big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut out =
        [word(magic).as_slice(), &half(2), &half(4), &[0; 8], &word(262_144), &word(link.into())].concat();
    for (n, packet) in packets.iter().enumerate() {
        let time_ms = BEGIN_MS + n as u64 * 20;
        out.extend(word((time_ms / 1000) as u32));
        out.extend(word((time_ms % 1000) as u32 * fraction));
        out.extend(word(packet.len() as u32));
        out.extend(word(packet.len() as u32));
        if magic == 0xa1b2_cd34 {
            out.extend([0; 8]);
        }
        out.extend(packet);
    }
    out
}

/// Writes pcapng block by block.
pub struct Pcapng {
    is_big: bool,
    pub bytes: Vec<u8>,
}

impl Pcapng {
    pub fn new(is_big: bool) -> Pcapng {
        let mut file = Pcapng { is_big, bytes: Vec::new() };
        file.section();
        file
    }

    pub fn word(&self, n: u32) -> [u8; 4] {
        if self.is_big { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    pub fn half(&self, n: u16) -> [u8; 2] {
        if self.is_big { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    pub fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let length = self.word(padded as u32 + 12);
        self.bytes.extend(self.word(kind));
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(length);
    }

    pub fn section(&mut self) {
        let body = [&self.word(0x1a2b_3c4d)[..], &self.half(1), &self.half(0), &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body);
    }

    /// An interface with if_name, if_tsresol and if_tsoffset.
    pub fn interface(&mut self, link: u16, resolution: u8, offset_s: i64) {
        let offset = if self.is_big { offset_s.to_be_bytes() } else { offset_s.to_le_bytes() };
        let body = [
            &self.half(link)[..],
            &[0; 2],
            &self.word(0),
            &self.half(2),
            &self.half(5),
            b"eth0x\0\0\0",
            &self.half(9),
            &self.half(1),
            &[resolution, 0, 0, 0],
            &self.half(14),
            &self.half(8),
            &offset,
            &[0; 4],
        ];
        self.block(1, &body.concat());
    }

    /// An enhanced packet block, with a comment.
    pub fn packet(&mut self, interface: u32, ticks: u64, packet: &[u8]) {
        let length = self.word(packet.len() as u32);
        let mut body = [
            &self.word(interface)[..],
            &self.word((ticks >> 32) as u32),
            &self.word(ticks as u32),
            &length,
            &length,
            packet,
        ]
        .concat();
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(self.half(1));
        body.extend(self.half(4));
        body.extend(b"call");
        body.extend([0; 4]);
        self.block(6, &body);
    }
}
