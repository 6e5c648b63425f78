//! The packets of a capture file, in order, each with its time, its link type and the byte it begins at.
//!
//! pcap (draft-ietf-opsawg-pcap) in both byte orders, with micro- or nanoseconds; pcapng
//! (draft-ietf-opsawg-pcapng) with any number of sections and interfaces. Known by the first bytes, not by the
//! name. Only one packet is in memory at a time.

use std::io::Read;

/// A packet as it was captured.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// From 1, as Wireshark numbers frames.
    pub number: u64,
    /// Where its record begins in the file.
    pub offset: u64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// LINKTYPE_ value, see <https://www.tcpdump.org/linktypes.html>.
    pub link: u16,
    pub bytes: &'a [u8],
}

/// Why reading stopped before the end was reached cleanly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The file ends in the middle of a record, as after a capture that was interrupted.
    Cut {
        offset: u64,
        what: &'static str,
    },
    /// What stands there cannot be, and where the next record begins cannot be known.
    Damaged {
        offset: u64,
        what: String,
    },
    /// The file is no capture at all.
    Foreign(String),
    Unreadable(String),
}

/// No capture program keeps more of a packet (MAXIMUM_SNAPLEN of libpcap).
const LONGEST_PACKET: u32 = 262_144;
/// Names and secrets that pcapng keeps beside packets can be longer.
const LONGEST_BLOCK: u32 = 16 << 20;
const READ: usize = 1 << 18;
/// The end of the year 9999: what a damaged interface says beyond that is no time.
const LATEST_MS: i64 = 253_402_300_799_999;

pub struct Packets<R> {
    input: Input<R>,
    form: Form,
    /// Packets so far.
    number: u64,
    time_ms: i64,
    /// Packets that name an interface the file does not describe, or are longer than their block.
    pub orphans: u64,
    pub first_orphan: u64,
}

enum Form {
    /// `header` is the length of what stands before each packet; `fraction`: units of a millisecond.
    Pcap {
        is_big: bool,
        header: usize,
        fraction: u32,
        link: u16,
    },
    Pcapng {
        is_big: bool,
        interfaces: Vec<Interface>,
    },
}

struct Interface {
    link: u16,
    /// The most bytes kept of a packet; 0: no limit.
    snaplen: u32,
    resolution: u8,
    offset_s: i64,
}

/// Whether a file that begins so is a capture, or means to be one.
pub fn is_capture(head: &[u8]) -> bool {
    magic(head).is_some() || head.starts_with(&SECTION.to_le_bytes())
}

const SECTION: u32 = 0x0a0d_0d0a;

/// Byte order, length of a record's header, and fractions of a millisecond, by the first four bytes of pcap.
fn magic(head: &[u8]) -> Option<(bool, usize, u32)> {
    let first: [u8; 4] = head.get(..4)?.try_into().ok()?;
    [false, true].into_iter().find_map(|is_big| match number(is_big, &first) {
        0xa1b2_c3d4 => Some((is_big, 16, 1_000)),
        0xa1b2_3c4d => Some((is_big, 16, 1_000_000)),
        // Kuznetzov's form: eight bytes more before each packet.
        0xa1b2_cd34 => Some((is_big, 24, 1_000)),
        _ => None,
    })
}

impl<R: Read> Packets<R> {
    pub fn open(reader: R) -> Result<Packets<R>, Stop> {
        let mut input = Input { reader, held: Vec::with_capacity(READ), from: 0, offset: 0 };
        let head = input.want(24)?;
        let foreign = |what: &str| Stop::Foreign(what.to_owned());
        let form = match head {
            [] => return Err(foreign("the file is empty: no capture")),
            head if head.starts_with(&SECTION.to_le_bytes()) => {
                Form::Pcapng { is_big: false, interfaces: Vec::new() }
            }
            head => {
                let (is_big, header, fraction) = magic(head)
                    .ok_or_else(|| foreign("no capture: it begins neither as pcap nor as pcapng does"))?;
                if head.len() < 24 {
                    return Err(foreign("the file ends within the header of pcap: nothing was captured"));
                }
                // The upper half says how long a frame check sequence is.
                let link = number(is_big, &head[20..]) as u16;
                input.skip(24);
                Form::Pcap { is_big, header, fraction, link }
            }
        };
        Ok(Packets { input, form, number: 0, time_ms: 0, orphans: 0, first_orphan: 0 })
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.input.offset
    }

    /// The next packet; none at the end.
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, Stop> {
        let found = match self.form {
            Form::Pcap { is_big, header, fraction, link } => self.record(is_big, header, fraction, link)?,
            Form::Pcapng { .. } => self.block()?,
        };
        let Some(Found { offset, time_ms, link, from, length }) = found else { return Ok(None) };
        let bytes = &self.input.held[from..from + length];
        Ok(Some(Packet { number: self.number, offset, time_ms, link, bytes }))
    }

    fn record(
        &mut self,
        is_big: bool,
        header: usize,
        fraction: u32,
        link: u16,
    ) -> Result<Option<Found>, Stop> {
        let offset = self.input.offset;
        let head = self.input.want(header)?;
        if head.is_empty() {
            return Ok(None);
        }
        if head.len() < header {
            return Err(Stop::Cut { offset, what: "before a packet" });
        }
        let word = |at: usize| number(is_big, &head[at..]);
        let (seconds, part, length) = (word(0), word(4), word(8));
        if length > LONGEST_PACKET {
            let what = format!("a packet of {length} bytes: no packet is so long");
            return Err(Stop::Damaged { offset, what });
        }
        if head[..16] == [0; 16] {
            return Err(Stop::Damaged { offset, what: "zeroes where a packet should be".to_owned() });
        }
        let length = length as usize;
        if self.input.want(header + length)?.len() < header + length {
            return Err(Stop::Cut { offset, what: "in the middle of a packet" });
        }
        self.number += 1;
        let from = self.input.from + header;
        self.input.skip(header + length);
        let time_ms = i64::from(seconds) * 1000 + i64::from(part / fraction);
        Ok(Some(Found { offset, time_ms, link, from, length }))
    }

    /// The next block that holds a packet.
    fn block(&mut self) -> Result<Option<Found>, Stop> {
        loop {
            let Form::Pcapng { is_big, interfaces } = &mut self.form else {
                unreachable!("asked for pcapng")
            };
            let offset = self.input.offset;
            let head = self.input.want(12)?;
            if head.is_empty() {
                return Ok(None);
            }
            if head.len() < 12 {
                return Err(Stop::Cut { offset, what: "before a block" });
            }
            let damaged = |what: String| Err(Stop::Damaged { offset, what });
            let is_section = head.starts_with(&SECTION.to_le_bytes());
            if is_section {
                *is_big = match number(false, &head[8..]) {
                    0x1a2b_3c4d => false,
                    0x4d3c_2b1a => true,
                    other => {
                        return damaged(format!("a section of byte order {other:08x}, which there is none"));
                    }
                };
                interfaces.clear();
            }
            let (kind, length) = (number(*is_big, head), number(*is_big, &head[4..]));
            if length < 12 || !length.is_multiple_of(4) || length > LONGEST_BLOCK {
                return damaged(format!("a block of {length} bytes, which cannot be"));
            }
            let length = length as usize;
            if self.input.want(length)?.len() < length {
                return Err(Stop::Cut { offset, what: "in the middle of a block" });
            }
            let start = self.input.from;
            let block = &self.input.held[start..start + length];
            if number(*is_big, &block[length - 4..]) as usize != length {
                return damaged("a block whose two lengths differ".to_owned());
            }
            let body = &block[8..length - 4];
            let word = |at: usize| number(*is_big, &body[at..]);
            // Interface, time in its units, bytes kept, and where they stand in the body.
            let packet = match kind {
                1 if body.len() >= 8 => {
                    interfaces.push(Interface::read(*is_big, body));
                    None
                }
                6 if body.len() >= 20 => Some((word(0), Some((word(4), word(8))), word(12), 20)),
                // The form before that, given up in 2009 and still met: the interface is half a word.
                2 if body.len() >= 20 => {
                    let half = [body[0], body[1]];
                    let interface = if *is_big { u16::from_be_bytes(half) } else { u16::from_le_bytes(half) };
                    Some((interface.into(), Some((word(4), word(8))), word(12), 20))
                }
                3 if body.len() >= 4 => {
                    let snaplen = interfaces.first().map_or(0, |interface| interface.snaplen);
                    let most = if snaplen == 0 { u32::MAX } else { snaplen };
                    Some((0, None, word(0).min(most).min(body.len() as u32 - 4), 4))
                }
                _ => None,
            };
            let room = body.len();
            self.input.skip(length);
            let Some((interface, ticks, length, at)) = packet else { continue };
            self.number += 1;
            let length = length as usize;
            match interfaces.get(interface as usize) {
                Some(interface) if length <= room - at => {
                    // A simple packet has no time: it came no earlier than the one before it.
                    if let Some((high, low)) = ticks {
                        self.time_ms = interface.time_ms(u64::from(high) << 32 | u64::from(low));
                    }
                    let (time_ms, link) = (self.time_ms, interface.link);
                    return Ok(Some(Found { offset, time_ms, link, from: start + 8 + at, length }));
                }
                _ => {
                    if self.orphans == 0 {
                        self.first_orphan = offset;
                    }
                    self.orphans += 1;
                }
            }
        }
    }
}

/// Where a packet stands in what is held.
struct Found {
    offset: u64,
    time_ms: i64,
    link: u16,
    from: usize,
    length: usize,
}

impl Interface {
    fn read(is_big: bool, body: &[u8]) -> Interface {
        let half = |at: usize| {
            let bytes = [body[at], body[at + 1]];
            if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
        };
        let mut interface =
            Interface { link: half(0), snaplen: number(is_big, &body[4..]), resolution: 6, offset_s: 0 };
        let mut at = 8;
        while at + 4 <= body.len() {
            let (code, length) = (half(at), usize::from(half(at + 2)));
            let Some(value) = body.get(at + 4..at + 4 + length) else { break };
            match (code, value) {
                (0, _) => break,
                // if_tsresol and if_tsoffset.
                (9, [resolution, ..]) => interface.resolution = *resolution,
                (14, value) => {
                    if let Ok(bytes) = <[u8; 8]>::try_from(value) {
                        interface.offset_s =
                            if is_big { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) };
                    }
                }
                _ => {}
            }
            at += 4 + length.next_multiple_of(4);
        }
        interface
    }

    /// if_tsresol: units of a second as a negative power of 10, or of 2 where the highest bit is set.
    fn time_ms(&self, ticks: u64) -> i64 {
        let (ticks, power) = (u128::from(ticks), u32::from(self.resolution & 0x7f));
        let since_offset = match (self.resolution & 0x80 != 0, power) {
            (true, power) => (ticks * 1000).checked_shr(power).unwrap_or(0),
            (false, 0..=3) => ticks * 10u128.pow(3 - power),
            (false, power) => 10u128.checked_pow(power - 3).map_or(0, |unit| ticks / unit),
        };
        let since_offset = i64::try_from(since_offset).unwrap_or(i64::MAX);
        self.offset_s.saturating_mul(1000).saturating_add(since_offset).clamp(0, LATEST_MS)
    }
}

fn number(is_big: bool, bytes: &[u8]) -> u32 {
    let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// What was read and not used yet.
struct Input<R> {
    reader: R,
    held: Vec<u8>,
    from: usize,
    /// Of the first byte not used yet.
    offset: u64,
}

impl<R: Read> Input<R> {
    /// So many bytes, or all that are left.
    fn want(&mut self, length: usize) -> Result<&[u8], Stop> {
        if self.held.len() - self.from < length {
            self.held.drain(..self.from);
            self.from = 0;
            while self.held.len() < length {
                let more = length.max(READ) - self.held.len();
                let got = self.reader.by_ref().take(more as u64).read_to_end(&mut self.held);
                let got = got.map_err(|error| Stop::Unreadable(crate::config::explain_io(&error)))?;
                if got == 0 {
                    break;
                }
            }
        }
        let end = self.held.len().min(self.from + length);
        Ok(&self.held[self.from..end])
    }

    fn skip(&mut self, length: usize) {
        self.from += length;
        self.offset += length as u64;
    }
}
