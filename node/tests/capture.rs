//! Captures of real traffic: tcpdump listens while real peers call, and replay has to find what the node judged.

use crate::frames;
use crate::rig;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use frames::{at, datagram, framed, invite, pcap, response};
use rig::{INTERNATIONAL, Invite, NATIONAL, Site, Switch, qalqan, wait};

/// A running tcpdump.
struct Tap(Child);

impl Tap {
    fn on(site: &Site, interface: &str, file: &str, filter: &str) -> Tap {
        let mut child = Command::new("tcpdump")
            .args(["-i", interface, "-U", "-B", "32768", "-s", "0", "-Z", "root", "-w"])
            .arg(site.path(file))
            .arg(filter)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump is installed by ./test");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        assert!(log.any(|line| line.contains("listening on")), "tcpdump listens: run this test as root");
        // The rest has to be read, or tcpdump would wait for a reader.
        std::thread::spawn(move || log.count());
        Tap(child)
    }

    /// Ends it as Ctrl-C does, once the file holds a text so many times.
    fn end_after(mut self, file: &Path, text: &str, times: usize) {
        let found = || {
            let bytes = fs::read(file).unwrap_or_default();
            bytes.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
        };
        wait(|| found() >= times, || format!("{text} in {}, {times} times", file.display()));
        assert!(Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number at the end of the line of a summary that begins so; 0 where there is none.
fn count(summary: &str, label: &str) -> u64 {
    let line = summary.lines().find(|line| line.starts_with(label));
    line.map_or(0, |line| line.split_whitespace().next_back().unwrap().parse().unwrap())
}

/// Of the calls with an outcome: all, allowed, marked, withheld, blocked, blocked in monitor mode.
fn outcome(summary: &str, label: &str) -> Option<Vec<u64>> {
    let line = summary.lines().find(|line| line.starts_with(label))?;
    let numbers: Vec<u64> = line.split_whitespace().rev().map_while(|word| word.parse().ok()).collect();
    Some(numbers.into_iter().rev().collect())
}

fn verdicts(site: &Site) -> Vec<serde_json::Value> {
    site.read("v.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Verdicts by rule and treatment.
fn tally(verdicts: &[serde_json::Value]) -> BTreeMap<(String, String), usize> {
    let mut tally = BTreeMap::new();
    for verdict in verdicts {
        let text = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
        *tally.entry((text("rule"), text("verdict"))).or_default() += 1;
    }
    tally
}

/// INVITEs by source, as tshark sees them.
fn tshark_invites(file: &Path) -> BTreeMap<String, u64> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(file)
        .args(["-Y", "sip.Method", "-T", "fields", "-e", "ip.src", "-e", "ipv6.src", "-e", "sip.Method"])
        .output()
        .expect("tshark is installed by ./test");
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // A packet can hold several messages.
        let source = line.split_whitespace().next().unwrap_or_default();
        *found.entry(source.to_owned()).or_default() += line.matches("INVITE").count() as u64;
    }
    found
}

#[test]
fn replay_finds_in_a_capture_what_the_node_judged() {
    let site = Site::new("");
    let node = site.serve();
    let filter = format!("udp port {}", site.port);
    let (lo, any) = (site.path("lo.pcap"), site.path("any.pcap"));
    let taps = [Tap::on(&site, "lo", "lo.pcap", &filter), Tap::on(&site, "any", "any.pcap", &filter)];
    let (abroad, home) = (Switch::on(INTERNATIONAL, &node), Switch::on(NATIONAL, &node));
    let stranger = Switch::on("127.0.0.99", &node);
    for n in 0..30 {
        let call_id = format!("call-{n}");
        for (switch, from) in [
            (&abroad, "sip:+77272501234@x"),
            (&abroad, "sip:+14155550123@x"),
            (&abroad, "sip:+77011234567@x"),
            (&home, "sip:+77272501234@x"),
            (&home, "sip:+14155550123@x"),
        ] {
            let call_id = format!("{call_id}-{from}-{}", switch.socket.local_addr().unwrap().ip());
            let message = switch.render(&Invite { from, call_id: &call_id, ..Invite::default() });
            let answer = switch.ask(&message);
            if n % 10 == 0 {
                assert_eq!(switch.ask(&message), answer, "sent again");
            }
        }
    }
    stranger.ask(stranger.render(&Invite::default()));
    abroad.ask(abroad.render(&Invite { call_id: "last-of-all", ..Invite::default() }));
    taps.into_iter().zip([&lo, &any]).for_each(|(tap, file)| tap.end_after(file, "last-of-all", 1));

    let journal = site.journal();
    assert_eq!(journal.len(), 151);
    let summary = site.ok(&["replay", "lo.pcap", "--out", "v.jsonl"]);
    assert_eq!(tally(&verdicts(&site)), tally(&journal), "the same calls, the same verdicts");
    let seen = tshark_invites(&lo);
    assert_eq!(seen.values().sum::<u64>(), 151 + count(&summary, "INVITEs sent again") + 1);
    assert_eq!(count(&summary, "INVITEs sent again"), 15);
    assert_eq!(count(&summary, "INVITEs from addresses of no trunk"), seen["127.0.0.99"]);
    assert!(summary.contains("\n    127.0.0.99 "), "{summary}");
    // A node in redirect mode: 302 for what passes, 603 for what it blocks.
    assert_eq!(outcome(&summary, "refused"), Some(vec![30, 0, 0, 0, 30, 0]), "{summary}");
    assert_eq!(outcome(&summary, "redirected").unwrap()[0], 121);

    // -i any writes Linux cooked frames. Other tools write other forms; two interfaces show each packet twice.
    let edit = |tool: &str, arguments: &[&str]| {
        let status = Command::new(tool).current_dir(site.directory.path()).args(arguments).status();
        assert!(status.expect("./test installs it").success(), "{tool} {arguments:?}");
    };
    edit("editcap", &["-F", "nsecpcap", "lo.pcap", "nanoseconds"]);
    edit("editcap", &["-F", "pcapng", "lo.pcap", "blocks"]);
    edit("mergecap", &["-F", "pcapng", "-w", "both", "lo.pcap", "any.pcap"]);
    edit("editcap", &["-T", "rawip", "-C", "14", "-F", "pcap", "lo.pcap", "raw"]);
    let expected = site.read("v.jsonl");
    for (name, again) in
        [("any.pcap", 15), ("nanoseconds", 15), ("blocks", 15), ("raw", 15), ("both", 15 + 15 + 151)]
    {
        let summary = site.ok(&["replay", name, "--out", "v.jsonl"]);
        if name == "both" {
            assert_eq!(tally(&verdicts(&site)), tally(&journal));
        } else {
            assert_eq!(site.read("v.jsonl"), expected, "{name}");
        }
        assert_eq!(count(&summary, "INVITEs sent again"), again, "{name}\n{summary}");
    }
}

/// SIPp calls SIPp over TCP, by IPv4 and by IPv6; the network answers every call.
#[test]
fn calls_over_tcp_are_found_with_their_answers() {
    let site = Site::new("[trunk.six]\nclass = \"international\"\nsource = [\"::1\"]\n");
    for (name, server, client) in [("four.pcap", "127.0.0.1", INTERNATIONAL), ("six.pcap", "::1", "::1")] {
        let port = (site.port + 40).to_string();
        let tap = Tap::on(&site, "lo", name, &format!("tcp port {port}"));
        let sipp = |arguments: &[&str]| {
            let mut sipp = Command::new("sipp");
            sipp.current_dir(site.directory.path()).args(arguments).args(["-t", "t1", "-nostdin"]);
            sipp.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            sipp
        };
        let mut uas =
            sipp(&["-sn", "uas", "-i", server, "-p", &port]).spawn().expect("SIPp is installed by ./test");
        std::thread::sleep(std::time::Duration::from_millis(700));
        let target =
            if server.contains(':') { format!("[{server}]:{port}") } else { format!("{server}:{port}") };
        let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sipp/uac_connects.xml");
        let status = sipp(&[&target, "-sf", scenario, "-i", client, "-m", "40", "-r", "100", "-d", "50"])
            .args([
                "-s",
                "+77011112233",
                "-key",
                "calling",
                "+77272501234",
                "-key",
                "more",
                "",
                "-timeout",
                "20",
            ])
            .status()
            .unwrap();
        let _ = uas.kill();
        let _ = uas.wait();
        assert!(status.success(), "{name}: {status}");
        tap.end_after(&site.path(name), "CSeq: 2 BYE", 80);
        let summary = site.ok(&["replay", name]);
        assert_eq!(outcome(&summary, "answered"), Some(vec![40, 0, 0, 0, 40, 0]), "{name}\n{summary}");
        assert_eq!(tshark_invites(&site.path(name)).values().sum::<u64>(), 40);
        // Behind an SBC no address is a trunk's own.
        let named = site.ok(&["replay", name, "--trunk", "national"]);
        assert_eq!(outcome(&named, "answered"), Some(vec![40, 40, 0, 0, 0, 0]), "{name}\n{named}");
    }
}

/// A capture of three calls from abroad that were answered, refused, and not settled.
fn three_calls() -> Vec<u8> {
    let (abroad, switch) = (at("127.0.0.11:5060"), at("192.0.2.10:5060"));
    let spoofed = "+77272501234";
    let mut packets = Vec::new();
    for (call_id, answers) in [
        ("a", &["100 Trying", "180 Ringing", "200 OK", "486 Busy Here"][..]),
        ("b", &["100 Trying", "404 Not Found"]),
        ("c", &["183 Session Progress"]),
    ] {
        packets.push(framed(1, &datagram(abroad, switch, &invite(spoofed, call_id))));
        for status in answers {
            packets.push(framed(1, &datagram(switch, abroad, &response(status, spoofed, call_id))));
        }
    }
    pcap(1, &packets)
}

#[test]
fn the_summary_says_what_the_network_did_with_calls_that_would_be_refused() {
    let site = Site::new("");
    site.write("calls.pcap", three_calls());
    let summary = site.ok(&["replay", "calls.pcap", "--out", "v.jsonl"]);
    assert_eq!(outcome(&summary, "answered"), Some(vec![1, 0, 0, 0, 1, 0]), "{summary}");
    assert_eq!(outcome(&summary, "refused"), Some(vec![1, 0, 0, 0, 1, 0]));
    assert_eq!(outcome(&summary, "no final answer"), Some(vec![1, 0, 0, 0, 1, 0]));
    assert_eq!((count(&summary, "packets"), count(&summary, "responses")), (10, 7));
    // The number of the packet, by which Wireshark finds the call.
    let packets: Vec<u64> =
        verdicts(&site).iter().map(|verdict| verdict["packet"].as_u64().unwrap()).collect();
    assert_eq!(packets, [1, 6, 9]);
    site.ok(&["replay", "calls.pcap", "--out", "v.parquet"]);
    let columns = site.refused(&["replay", "v.parquet"]);
    assert!(columns.contains("the file has n, packet, verdict"), "{columns}");
    // In monitor mode nothing would be done, and what was held back is still beside the answer.
    site.configure("[rules]\nall = \"monitor\"\n");
    let monitored = site.ok(&["replay", "calls.pcap"]);
    assert_eq!(outcome(&monitored, "answered").unwrap()[4..], [0, 1], "{monitored}");
    for (language, word) in [("ru", "сеть ответила"), ("kk", "желінің жауабы")] {
        assert!(site.ok(&["replay", "calls.pcap", "--language", language]).contains(word));
    }
}

#[test]
fn replay_says_where_a_capture_is_broken() {
    let site = Site::new("");
    let whole = three_calls();
    let run = |name: &str, bytes: &[u8]| {
        site.write(name, bytes);
        let output = site.run(&["replay", name, "--out", "v.jsonl"]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (error, code) = (text(output.stderr), output.status.code());
        assert!(!error.contains("panicked"), "{error}");
        (code, text(output.stdout), error)
    };
    // Ctrl-C in the middle of a packet: usual.
    let (code, _, error) = run("cut.pcap", &whole[..whole.len() - 5]);
    assert_eq!((code, verdicts(&site).len()), (Some(0), 3), "{error}");
    assert!(
        error.contains("cut.pcap: byte ") && error.contains("the file ends in the middle of a packet"),
        "{error}"
    );
    // A packet of 4 GB, and zeroes: what came before is judged, and the command fails.
    let second = 24 + 16 + u32::from_le_bytes(whole[32..36].try_into().unwrap()) as usize;
    let mut huge = whole.clone();
    huge[second + 8..second + 12].fill(0xff);
    let (code, summary, error) = run("huge", &huge);
    assert_eq!((code, verdicts(&site).len(), error.lines().count()), (Some(1), 1, 1), "{error}");
    assert!(error.contains(&format!("huge: byte {second}: a packet of 4294967295 bytes")), "{error}");
    assert!(outcome(&summary, "no final answer").is_some(), "{summary}");
    let (code, _, error) = run("zeroes", &[&whole[..], &[0; 4096]].concat());
    assert_eq!((code, verdicts(&site).len()), (Some(1), 3), "{error}");
    assert!(error.contains(&format!("byte {}: zeroes", whole.len())), "{error}");
    let mut garbage = whole.clone();
    garbage[20] = 147;
    let (code, _, error) = run("link", &garbage);
    assert_eq!(code, Some(1));
    assert!(error.contains("all packets are of link type 147") && error.contains("Ethernet (1)"), "{error}");
    // No capture at all.
    for (name, bytes, expected) in [
        ("empty.pcap", &b""[..], "the file is empty"),
        ("text.pcap", b"time,trunk,calling,called\n", "neither as pcap nor as pcapng"),
        ("head.pcap", &whole[..20], "the file ends within the header"),
        ("calls.pcap.gz", &[0x1f, 0x8b, 8, 0], "packed with gzip: gzip -dc FILE | qalqan replay /dev/stdin"),
        ("head.pcapng", &[10, 13, 13, 10, 28, 0, 0, 0, 1, 2, 3, 4], "a section of byte order"),
    ] {
        let (code, summary, error) = run(name, bytes);
        assert_eq!((code, error.lines().count()), (Some(1), 1), "{name}: {error}");
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
        assert!(name == "head.pcapng" || summary.is_empty(), "{summary}");
    }
    // Cut by -s 200, in the header fields, and by -s 330, in the body.
    let snap = |length: usize| {
        let packet =
            framed(1, &datagram(at("127.0.0.11:5060"), at("192.0.2.10:5060"), &invite("+77272501234", "s")));
        pcap(1, &[packet[..length.min(packet.len())].to_vec()])
    };
    let (_, summary, _) = run("snap.pcap", &snap(200));
    assert_eq!((count(&summary, "INVITEs cut"), count(&summary, "packets cut")), (1, 1), "{summary}");
    let (_, summary, _) = run("snap.pcap", &snap(330));
    assert_eq!(
        (count(&summary, "INVITEs cut"), count(&summary, "packets cut"), verdicts(&site).len()),
        (0, 1, 1)
    );
}

#[test]
fn captures_and_records_are_told_apart() {
    let site = Site::new("");
    site.write("calls.pcap", three_calls());
    site.write(
        "calls.csv",
        "time,trunk,calling,presentation,called,redirecting\n1772452800,national,,,+77011234567,\n",
    );
    let error = site.refused(&["replay", "calls.csv", "--trunk", "national"]);
    assert!(error.contains("--trunk is for captures"), "{error}");
    let error = site.refused(&["replay", "calls.pcap", "--map", "a=calling"]);
    assert!(error.contains("--map is for CSV and Parquet"), "{error}");
    let error = site.refused(&["replay", "calls.pcap", "--trunk", "moon"]);
    assert!(error.contains("no such trunk, but access, international, national"), "{error}");
    // By a pipe, as from gzip -dc: the name says nothing, the first bytes do.
    for name in ["calls.pcap", "calls.csv"] {
        let mut child = qalqan(site.directory.path())
            .args(["replay", "/dev/stdin", "--out", "piped.jsonl"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&fs::read(site.path(name)).unwrap()).unwrap();
        assert!(child.wait().unwrap().success());
        site.ok(&["replay", name, "--out", "v.jsonl"]);
        assert_eq!(site.read("piped.jsonl"), site.read("v.jsonl"), "{name}");
    }
}
