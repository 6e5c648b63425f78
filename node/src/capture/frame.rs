//! From a captured frame to what an IP packet carries: link layers, VLAN tags, IPv4 and IPv6 with its extension
//! headers.

use std::net::IpAddr;

use etherparse::{
    IpAuthHeaderSlice, IpFragOffset, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, ip_number,
};

/// What an IP packet carries.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Of the payload: UDP, TCP and others.
    pub protocol: IpNumber,
    pub payload: &'a [u8],
    /// Bytes that the capture did not keep.
    pub missing: usize,
    pub fragment: Option<Fragment>,
}

/// The payload is a piece of a larger one.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    pub id: u32,
    pub offset: IpFragOffset,
    pub has_more: bool,
}

/// Why a frame holds nothing to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotIp {
    /// A link type that is not read.
    Link,
    /// ARP, LLDP, spanning tree, a header that is cut or wrong.
    Other,
}

/// The link types that are read, for those who meet another.
pub const LINKS: &str = "Ethernet (1), raw IP (12, 14, 101, 228, 229), null and loop (0, 108), \
     Linux cooked (113, 276)";

/// Reads one frame of a link type (LINKTYPE_ values).
pub fn ip(link: u16, frame: &[u8]) -> Result<Ip<'_>, NotIp> {
    let (ether_type, rest) = match link {
        1 => (half(frame, 12)?, after(frame, 14)?),
        // The family before each packet has as many values as there are systems; the version says the same.
        0 | 108 => return by_version(after(frame, 4)?),
        12 | 14 | 101 | 228 | 229 => return by_version(frame),
        113 => (half(frame, 14)?, after(frame, 16)?),
        276 => (half(frame, 0)?, after(frame, 20)?),
        _ => return Err(NotIp::Link),
    };
    let (mut ether_type, mut rest) = (ether_type, rest);
    // IEEE 802.1Q, 802.1ad and what stood for it before: tags in any number.
    while matches!(ether_type, 0x8100 | 0x88a8 | 0x9100) {
        (ether_type, rest) = (half(rest, 2)?, after(rest, 4)?);
    }
    match ether_type {
        0x0800 | 0x86dd => by_version(rest),
        _ => Err(NotIp::Other),
    }
}

fn half(bytes: &[u8], at: usize) -> Result<u16, NotIp> {
    let bytes = bytes.get(at..at + 2).ok_or(NotIp::Other)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn after(bytes: &[u8], length: usize) -> Result<&[u8], NotIp> {
    bytes.get(length..).ok_or(NotIp::Other)
}

fn by_version(packet: &[u8]) -> Result<Ip<'_>, NotIp> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => v4(packet),
        Some(6) => v6(packet),
        _ => Err(NotIp::Other),
    }
}

fn v4(packet: &[u8]) -> Result<Ip<'_>, NotIp> {
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| NotIp::Other)?;
    let head = header.slice().len();
    // 0 where the card cuts large segments itself, after the capture saw them.
    let (payload, missing) = match usize::from(header.total_len()) {
        0 => (&packet[head..], 0),
        total => bounded(&packet[head..], total.checked_sub(head).ok_or(NotIp::Other)?),
    };
    let is_fragment = header.more_fragments() || header.fragments_offset() != IpFragOffset::ZERO;
    let mut ip = Ip {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.protocol(),
        payload,
        missing,
        fragment: is_fragment.then(|| Fragment {
            id: header.identification().into(),
            offset: header.fragments_offset(),
            has_more: header.more_fragments(),
        }),
    };
    if !is_fragment {
        ip.skip_extensions()?;
    }
    Ok(ip)
}

fn v6(packet: &[u8]) -> Result<Ip<'_>, NotIp> {
    let header = Ipv6HeaderSlice::from_slice(packet).map_err(|_| NotIp::Other)?;
    let rest = &packet[header.slice().len()..];
    let (payload, missing) = match usize::from(header.payload_length()) {
        0 => (rest, 0),
        length => bounded(rest, length),
    };
    let mut ip = Ip {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.next_header(),
        payload,
        missing,
        fragment: None,
    };
    ip.skip_extensions()?;
    Ok(ip)
}

/// So many bytes of the beginning, and how many are missing; what is more pads an Ethernet frame.
fn bounded(bytes: &[u8], length: usize) -> (&[u8], usize) {
    let kept = length.min(bytes.len());
    (&bytes[..kept], length - kept)
}

impl<'a> Ip<'a> {
    /// Passes what stands between the IP header and the payload (RFC 8200 section 4, RFC 4302), up to a header
    /// that says that the rest is a fragment.
    pub fn skip_extensions(&mut self) -> Result<(), NotIp> {
        while self.fragment.is_none() {
            let (length, next) = match self.protocol {
                ip_number::IPV6_HOP_BY_HOP | ip_number::IPV6_DEST_OPTIONS | ip_number::IPV6_ROUTE => {
                    let header = Ipv6RawExtHeaderSlice::from_slice(self.payload).map_err(|_| NotIp::Other)?;
                    (header.slice().len(), header.next_header())
                }
                ip_number::AUTH => {
                    let header = IpAuthHeaderSlice::from_slice(self.payload).map_err(|_| NotIp::Other)?;
                    (header.slice().len(), header.next_header())
                }
                ip_number::IPV6_FRAG => {
                    let header =
                        Ipv6FragmentHeaderSlice::from_slice(self.payload).map_err(|_| NotIp::Other)?;
                    // RFC 6946: the only piece of a packet is the packet.
                    self.fragment = header.is_fragmenting_payload().then(|| Fragment {
                        id: header.identification(),
                        offset: header.fragment_offset(),
                        has_more: header.more_fragments(),
                    });
                    (header.slice().len(), header.next_header())
                }
                _ => return Ok(()),
            };
            (self.payload, self.protocol) = (&self.payload[length..], next);
        }
        Ok(())
    }
}
