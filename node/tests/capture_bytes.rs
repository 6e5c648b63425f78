//! What captures hold, written byte by byte: links, fragments, streams, forms of the file, and damage to all of them.
//! tshark reads the same files: it says whether the bytes are what they are meant to be.

use crate::frames;
use crate::rig;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::LazyLock;

use call::{Call, Verdict};
use frames::*;
use proptest::prelude::*;
use qalqan::capture::{self, Heard, Stop};
use qalqan::config::{self, Origin, Setup};
use qalqan::records::Progress;
use rig::Site;
use screening::screen;

/// A fixed number that comes from abroad: R08 blocks it.
const SPOOFED: &str = "+77272501234";
const ABROAD: &str = "198.51.100.7:5060";
const ABROAD_V6: &str = "[2001:db8::7]:5060";
const SWITCH: &str = "192.0.2.10:5060";
const SWITCH_V6: &str = "[2001:db8:1::10]:5060";

fn site() -> Site {
    let site = Site::new("");
    site.write(
        "qalqan.toml",
        "[trunk.abroad]\nclass = \"international\"\nsource = [\"198.51.100.0/24\", \"2001:db8::/64\"]\n\
         [trunk.home]\nclass = \"national\"\nsource = [\"203.0.113.0/24\"]\n",
    );
    site
}

fn setup() -> &'static Setup {
    static SETUP: LazyLock<Setup> = LazyLock::new(|| {
        config::load(&Origin::File(site().path("qalqan.toml"))).unwrap_or_else(|faults| panic!("{faults}"))
    });
    &SETUP
}

struct Silent;

impl Progress for Silent {
    fn total(&mut self, _: u64) {}
    fn done(&mut self, _: u64) {}
}

/// The packet of a call, and what was decided.
type Judged = (u64, Call, Verdict);

/// Every call, and what else was heard.
fn heard(setup: &Setup, bytes: &[u8]) -> Result<(Vec<Judged>, Heard), String> {
    let mut calls = Vec::new();
    let mut judge = |call: &Call, packet| {
        let verdict = screen(&setup.policy, call);
        calls.push((packet, *call, verdict));
        Ok(verdict)
    };
    let heard = capture::read(bytes, bytes.len() as u64, setup, None, &mut Silent, &mut judge)?;
    Ok((calls, heard))
}

/// How many INVITEs tshark finds in a file, on whatever port; its own decoding of SIP by content.
fn tshark_invites(bytes: &[u8]) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("oracle");
    std::fs::write(&path, bytes).unwrap();
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&path)
        .args(["-o", "tcp.reassemble_out_of_order:TRUE", "-T", "fields", "-e", "sip.Method"])
        .output()
        .expect("tshark is installed by ./test");
    // Several messages of one packet stand in one line, with commas between.
    String::from_utf8_lossy(&output.stdout).matches("INVITE").count()
}

/// One call, found and blocked, and found by tshark too.
#[track_caller]
fn is_one_spoofed_call(setup: &Setup, what: &str, bytes: &[u8]) {
    assert_eq!(tshark_invites(bytes), 1, "{what}: tshark");
    let (calls, heard) = heard(setup, bytes).unwrap();
    assert_eq!(calls.len(), 1, "{what}: {heard:?}");
    assert_eq!(calls[0].2.rule.id(), "R08", "{what}");
    assert_eq!(heard.stop, None, "{what}");
}

#[test]
fn every_link_type_and_both_versions_of_ip() {
    let setup = setup();
    let message = invite(SPOOFED, "link");
    for (from, to) in [(ABROAD, SWITCH), (ABROAD_V6, SWITCH_V6)] {
        let packet = datagram(at(from), at(to), &message);
        let by_version = if at(from).is_ipv4() { 228 } else { 229 };
        for link in [0, 1, 12, 101, 108, 113, 276, by_version] {
            let mut file = pcap(link, &[framed(link, &packet)]);
            is_one_spoofed_call(setup, &format!("link type {link} from {from}"), &file);
            // Bits above the link type say how long a frame check sequence is.
            file[23] = 0x24;
            assert_eq!(heard(setup, &file).unwrap().0.len(), 1, "link type {link} with a check sequence");
        }
        for tags in [&[0x8100][..], &[0x88a8, 0x8100], &[0x9100, 0x8100]] {
            let file = pcap(1, &[ethernet(tags, &packet)]);
            is_one_spoofed_call(setup, &format!("tags {tags:x?} from {from}"), &file);
        }
    }
    // Another port, and something that is no SIP on SIP's own.
    let elsewhere = datagram(at("198.51.100.7:40000"), at("192.0.2.10:5080"), &message);
    let noise = datagram(at(ABROAD), at(SWITCH), b"INVITE me to dinner\r\n\r\n");
    let (calls, heard) = heard(setup, &pcap(101, &[noise, elsewhere])).unwrap();
    assert_eq!((calls.len(), calls[0].0, heard.packets), (1, 2, 2));
}

#[test]
fn extension_headers_are_passed() {
    let setup = setup();
    let (from, to) = (at(ABROAD_V6), at(SWITCH_V6));
    let payload = udp(from, to, &invite(SPOOFED, "extended"));
    // Hop-by-hop and destination options, each with padding alone (PadN).
    let options = |next: u8| [&[next, 0, 1, 4, 0, 0, 0, 0][..]].concat();
    let routing = |next: u8| vec![next, 0, 253, 0, 0, 0, 0, 0];
    let chain = [options(43), routing(60), options(UDP), payload.clone()].concat();
    is_one_spoofed_call(setup, "options and routing", &pcap(101, &[v6(from.ip(), to.ip(), 0, &chain)]));
    // RFC 6946: a fragment header, and nothing in fragments.
    let atomic = [&[UDP, 0, 0, 0, 0, 0, 0, 9][..], &payload].concat();
    is_one_spoofed_call(setup, "atomic fragment", &pcap(101, &[v6(from.ip(), to.ip(), 44, &atomic)]));
    // Options behind the fragment header are cut with the rest.
    let cut = v6_fragments(from.ip(), to.ip(), 60, 7, &[options(UDP), payload].concat(), 128);
    assert!(cut.len() > 2);
    is_one_spoofed_call(setup, "options in fragments", &pcap(101, &cut));
}

#[test]
fn fragments_in_any_order_once_or_twice() {
    let setup = setup();
    let long = |call_id: &str| {
        let message = String::from_utf8(invite(SPOOFED, call_id)).unwrap();
        message.replace("Max-Forwards", &format!("X-Long: {}\r\nMax-Forwards", "y".repeat(3000))).into_bytes()
    };
    for (from, to) in [(ABROAD, SWITCH), (ABROAD_V6, SWITCH_V6)] {
        let (from, to) = (at(from), at(to));
        let cut = |call_id: &str, id: u32| -> Vec<Vec<u8>> {
            let payload = udp(from, to, &long(call_id));
            match from {
                SocketAddr::V4(_) => v4_fragments(from.ip(), to.ip(), UDP, id as u16, &payload, 1400),
                SocketAddr::V6(_) => v6_fragments(from.ip(), to.ip(), UDP, id, &payload, 1400),
            }
        };
        let pieces = cut("f", 1);
        assert_eq!(pieces.len(), 3);
        is_one_spoofed_call(setup, "in order", &pcap(101, &pieces));
        let shuffled = vec![pieces[2].clone(), pieces[0].clone(), pieces[1].clone()];
        is_one_spoofed_call(setup, "out of order", &pcap(101, &shuffled));
        // Captured on two interfaces: each piece twice, and the call once.
        let twice: Vec<Vec<u8>> = pieces.iter().flat_map(|piece| [piece.clone(), piece.clone()]).collect();
        let (calls, told) = heard(setup, &pcap(101, &twice)).unwrap();
        assert_eq!((calls.len(), told.fragments_lost), (1, 0), "{told:?}");
        // Two packets, their pieces mixed; of a third one piece is missing.
        let (other, third) = (cut("g", 2), cut("h", 3));
        let mixed: Vec<Vec<u8>> =
            pieces.iter().zip(&other).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
        let (calls, told) = heard(setup, &pcap(101, &[mixed, third[..2].to_vec()].concat())).unwrap();
        assert_eq!((calls.len(), told.fragments_lost), (2, 1), "{told:?}");
    }
}

/// A stream from its beginning, in segments of these lengths.
fn segments(from: SocketAddr, to: SocketAddr, first: u32, stream: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut out = vec![ip(from.ip(), to.ip(), TCP, &tcp(from, to, first, SYN, b""))];
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < stream.len() {
        let end = (at + sizes.next().unwrap()).min(stream.len());
        let sequence = first.wrapping_add(1 + at as u32);
        out.push(ip(from.ip(), to.ip(), TCP, &tcp(from, to, sequence, ACK, &stream[at..end])));
        at = end;
    }
    out
}

fn stream_of(calls: usize) -> Vec<u8> {
    (0..calls).flat_map(|n| invite(SPOOFED, &format!("s{n}"))).collect()
}

#[test]
fn streams_cut_repeated_shuffled_and_with_holes() {
    let setup = setup();
    let (from, to) = (at("198.51.100.7:43210"), at("192.0.2.10:5080"));
    let stream = stream_of(5);
    // Several messages in a segment, and messages over many segments; sequence numbers that begin anew at 0.
    for sizes in [&[1400][..], &[100], &[1]] {
        let file = pcap(101, &segments(from, to, 0xffff_ff00, &stream, sizes));
        assert_eq!(heard(setup, &file).unwrap().0.len(), 5, "{sizes:?}");
    }
    // tshark follows the same bytes where the port says that they are SIP and lines stay whole.
    assert_eq!(tshark_invites(&pcap(101, &segments(from, at(SWITCH), 1, &stream, &[1400]))), 5);
    let mut begin = 0;
    let places: Vec<(usize, usize)> = (0..5)
        .map(|n| {
            let end = begin + invite(SPOOFED, &format!("s{n}")).len();
            (std::mem::replace(&mut begin, end), end)
        })
        .collect();
    let whole = segments(from, to, 77, &stream, &[300]);
    // In the middle: what stands before the first start line is lost, and nothing else.
    let (calls, told) = heard(setup, &pcap(101, &whole[3..])).unwrap();
    let after = places.iter().filter(|(begin, _)| *begin >= 600).count();
    assert_eq!((calls.len(), told.streams.begun_before), (after, 1), "{told:?}");
    // One segment is missing: the calls in it are, and the stream goes on.
    let mut holed = whole.clone();
    holed.remove(4);
    let (calls, told) = heard(setup, &pcap(101, &holed)).unwrap();
    let outside = places.iter().filter(|(begin, end)| *end <= 900 || *begin >= 1200).count();
    assert_eq!((calls.len(), told.streams.holes), (outside, 1), "{told:?}");
    // Both directions, and the beginning of another connection on the same ports.
    let answers: Vec<u8> = (0..5).flat_map(|n| response("200 OK", SPOOFED, &format!("s{n}"))).collect();
    let both = [whole.clone(), segments(to, from, 900, &answers, &[500])].concat();
    let (_, told) = heard(setup, &pcap(101, &both)).unwrap();
    assert_eq!((told.outcomes[0].iter().sum::<u64>(), told.calls.responses), (10 / 2, 5), "{told:?}");
    let again = segments(from, to, 5, &invite(SPOOFED, "again"), &[200]);
    assert_eq!(heard(setup, &pcap(101, &[whole, again].concat())).unwrap().0.len(), 6);
}

/// Half a call in each of very many streams, and half a packet of very many: dropped and counted, and the next is heard.
#[test]
fn what_never_becomes_whole_is_dropped() {
    let setup = setup();
    let to = at(SWITCH);
    let message = invite(SPOOFED, "half");
    let (mut streams, mut pieces) = (Vec::new(), Vec::new());
    for n in 0..70_000u32 {
        let from = SocketAddr::from(([10, 0, (n >> 14) as u8, 1], (n & 0x3fff) as u16 + 1024));
        streams.push(ip(from.ip(), to.ip(), TCP, &tcp(from, to, 1, ACK, &message[..120])));
        let payload = udp(from, to, &message);
        pieces.push(v4(from.ip(), to.ip(), UDP, n as u16, 0x2000, &payload[..120]));
    }
    let last = datagram(at(ABROAD), to, &invite(SPOOFED, "whole"));
    let (calls, told) = heard(setup, &pcap(101, &[streams, vec![last.clone()]].concat())).unwrap();
    assert_eq!(calls.len(), 1);
    assert!(told.streams.dropped > 30_000 && told.streams.dropped < 70_000, "{told:?}");
    let (calls, told) = heard(setup, &pcap(101, &[pieces, vec![last]].concat())).unwrap();
    assert_eq!(
        (calls.len(), told.fragments_lost),
        (1, 70_000),
        "every one is counted, in time or at the end"
    );
}

#[test]
fn streams_that_are_not_sip_are_passed_over() {
    let setup = setup();
    let (from, to) = (at("198.51.100.7:43210"), at("192.0.2.10:5061"));
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 501]].concat();
    let tls = [segments(from, to, 1, &hello, &[512]), segments(to, from, 1, &hello, &[512])].concat();
    let web = segments(from, at("192.0.2.10:80"), 1, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[10]);
    let stranger = segments(at("192.0.2.99:4000"), to, 1, &hello, &[512]);
    let records: Vec<u8> = [0x17, 3, 3, 0, 100].into_iter().chain([9; 100]).collect();
    let later = segments(at("198.51.100.8:4000"), to, 1, &records, &[105])[1..].to_vec();
    let (calls, told) = heard(setup, &pcap(101, &[tls, web, stranger, later].concat())).unwrap();
    assert_eq!((calls.len(), told.streams.tls, told.streams.begun_before), (0, 2, 0), "{told:?}");
}

#[test]
fn every_form_of_the_file_gives_the_same_calls() {
    let setup = setup();
    let packets: Vec<Vec<u8>> =
        (0..3).map(|n| datagram(at(ABROAD), at(SWITCH), &invite(SPOOFED, &format!("c{n}")))).collect();
    let times = |bytes: &[u8]| -> Vec<(u64, i64)> {
        let (calls, told) = heard(setup, bytes).unwrap();
        assert_eq!((told.packets, told.stop), (3, None));
        calls.iter().map(|(packet, call, _)| (*packet, call.time_ms - BEGIN_MS as i64)).collect()
    };
    let expected = vec![(1, 0), (2, 20), (3, 40)];
    for is_big in [false, true] {
        for (magic, fraction) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1_000_000), (0xa1b2_cd34, 1_000)] {
            let file = pcap_in(is_big, magic, fraction, 101, &packets);
            assert_eq!(times(&file), expected, "{magic:x} {is_big}");
        }
        // Interfaces of unlike links and clocks: microseconds, 2^-20 s and nanoseconds, with an offset.
        let mut file = Pcapng::new(is_big);
        file.block(0x0000_0bad, b"from another mind");
        file.interface(1, 6, 0);
        file.interface(101, 0x80 | 20, 0);
        file.interface(113, 9, 1_000_000_000);
        file.packet(0, BEGIN_MS * 1000, &framed(1, &packets[0]));
        file.packet(1, ((BEGIN_MS + 20) << 20).div_ceil(1000), &packets[1]);
        let ns = (BEGIN_MS + 40) * 1_000_000 - 1_000_000_000_000_000_000;
        file.packet(2, ns, &framed(113, &packets[2]));
        assert_eq!(times(&file.bytes), expected, "pcapng {is_big}");
        assert_eq!(tshark_invites(&file.bytes), 3);
        // A second section has interfaces of its own; packets without a time, and of the first form.
        let mut file = Pcapng::new(is_big);
        file.interface(1, 6, 0);
        file.packet(0, BEGIN_MS * 1000, &framed(1, &packets[0]));
        file.section();
        file.interface(101, 6, 0);
        let simple = [&file.word(packets[1].len() as u32)[..], &packets[1]].concat();
        file.block(3, &simple);
        let ticks = (BEGIN_MS + 40) * 1000;
        let length = file.word(packets[2].len() as u32);
        let old = [
            &file.half(0)[..],
            &file.half(0),
            &file.word((ticks >> 32) as u32),
            &file.word(ticks as u32),
            &length,
            &length,
            &packets[2],
        ]
        .concat();
        file.block(2, &old);
        assert_eq!(times(&file.bytes), [(1, 0), (2, 0), (3, 40)], "sections {is_big}");
        assert_eq!(tshark_invites(&file.bytes), 3);
    }
}

#[test]
fn a_capture_cut_anywhere_gives_what_stands_before() {
    let setup = setup();
    let packets: Vec<Vec<u8>> =
        (0..3).map(|n| datagram(at(ABROAD), at(SWITCH), &invite(SPOOFED, &format!("c{n}")))).collect();
    let record = 16 + packets[0].len();
    let file = pcap(101, &packets);
    for length in 24..file.len() {
        let (calls, told) = heard(setup, &file[..length]).unwrap();
        let whole = (length - 24) / record;
        assert_eq!(calls.len(), whole, "{length}");
        match (length - 24) % record {
            0 => assert_eq!(told.stop, None, "{length}"),
            _ => match told.stop {
                Some(Stop::Cut { offset, .. }) => {
                    assert_eq!(offset as usize, 24 + whole * record, "{length}")
                }
                other => panic!("{length}: {other:?}"),
            },
        }
    }
    for length in 0..24 {
        assert!(heard(setup, &file[..length]).is_err(), "{length} bytes are no capture");
    }
    let mut blocks = Pcapng::new(false);
    blocks.interface(101, 6, 0);
    for packet in &packets {
        blocks.packet(0, BEGIN_MS * 1000, packet);
    }
    for length in 28..blocks.bytes.len() {
        let (calls, told) = heard(setup, &blocks.bytes[..length]).unwrap();
        assert!(calls.len() < 3 && !matches!(told.stop, Some(Stop::Damaged { .. })), "{length}: {told:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// However segments are cut, repeated, overlapped and reordered within a window, each call is heard once.
    #[test]
    fn reordering_makes_no_difference(
        sizes in proptest::collection::vec(1usize..900, 1..8),
        moves in proptest::collection::vec((0usize..100, 0usize..6), 0..20),
        overlaps in proptest::collection::vec((0usize..4000, 1usize..700), 0..6),
        first in any::<u32>(),
    ) {
        let setup = setup();
        let (from, to) = (at("198.51.100.7:43210"), at("192.0.2.10:5060"));
        let stream = stream_of(6);
        let mut packets = segments(from, to, first, &stream, &sizes);
        for (start, length) in overlaps {
            let start = start % stream.len();
            let end = (start + length).min(stream.len());
            let sequence = first.wrapping_add(1 + start as u32);
            let packet = ip(from.ip(), to.ip(), TCP, &tcp(from, to, sequence, ACK, &stream[start..end]));
            packets.insert(1 + start * (packets.len() - 1) / stream.len(), packet);
        }
        for (place, far) in moves {
            let place = 1 + place % (packets.len() - 1);
            let other = (place + far).min(packets.len() - 1);
            packets.swap(place, other);
        }
        let (calls, told) = heard(setup, &pcap(101, &packets)).unwrap();
        prop_assert_eq!(calls.len(), 6, "{:?}", told);
        prop_assert_eq!(told.streams.holes, 0);
    }

    /// Whatever bytes change, reading ends with calls or with a reason.
    #[test]
    fn damage_is_never_a_panic(
        changes in proptest::collection::vec((any::<u32>(), any::<u8>()), 1..40),
        is_pcapng in any::<bool>(),
        cut in any::<u32>(),
    ) {
        let setup = setup();
        let (from, to) = (at("198.51.100.7:43210"), at(SWITCH));
        let (from6, to6) = (at(ABROAD_V6), at(SWITCH_V6));
        let whole = udp(from6, to6, &invite(SPOOFED, "fragments"));
        let mut packets = segments(from, to, 9, &stream_of(2), &[200]);
        packets.extend(v6_fragments(from6.ip(), to6.ip(), UDP, 3, &whole, 128));
        packets.extend(v4_fragments(from.ip(), to.ip(), UDP, 3, &udp(from, to, &invite(SPOOFED, "four")), 128));
        let mut file = if is_pcapng {
            let mut file = Pcapng::new(false);
            file.interface(101, 6, 0);
            packets.iter().for_each(|packet| file.packet(0, BEGIN_MS * 1000, packet));
            file.bytes
        } else {
            pcap(101, &packets)
        };
        let length = file.len();
        for (place, byte) in changes {
            file[place as usize % length] = byte;
        }
        if cut.is_multiple_of(4) {
            file.truncate(cut as usize % length);
        }
        if let Ok((calls, told)) = heard(setup, &file) {
            prop_assert!(calls.len() as u64 <= told.packets + 4);
        }
    }
}
