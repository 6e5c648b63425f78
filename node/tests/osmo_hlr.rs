//! A real HLR, osmo-hlr, asked where its subscribers are. They come to it as in a network: a VLR registers them
//! over GSUP, and gives them up again.

use crate::rig;

use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use exchange::{Method, Status, WhyUnknown};
use numbering::Number;
use qalqan::roaming::hlr::{Hlr, Settings};
use qalqan::roaming::networks::Networks;
use qalqan::roaming::{Source, Whereabouts};
use rig::hlr::{CONTROL, Frames, GSUP, Home};
use tokio::task::{LocalSet, spawn_local};

const PATIENT: Duration = Duration::from_secs(5);
/// Circuit switched, where calls are; packet switched.
const CS: u8 = 2;
const PS: u8 = 1;

/// Each with an IMSI that ends as his number does.
fn subscribe(home: &Home, numbers: impl Iterator<Item = u32>) {
    home.subscribe(numbers.map(|n| (imsi(n), digits(n))));
}

fn settings(home: &Home, last_known: bool) -> Settings {
    let countries = [("90", "TR"), ("7", "RU"), ("sgsn-istanbul", "TR")];
    let networks = Networks::new(&["7701000", "msc-home"], &countries).unwrap();
    Settings { address: format!("{}:{CONTROL}", home.address), networks, last_known }
}

fn hlr(home: &Home) -> Hlr {
    Hlr::start(settings(home, false))
}

fn imsi(n: u32) -> String {
    format!("4010{n:011}")
}

fn digits(n: u32) -> String {
    format!("7701{n:07}")
}

fn number(n: u32) -> Number {
    Number::from_digits(digits(n).as_bytes()).unwrap()
}

/// A VLR or SGSN connected to an HLR over GSUP (OsmoHLR's manual, "Generic Subscriber Update Protocol").
struct Visited(Frames);

impl Visited {
    fn connect(home: &Home, name: &str) -> Visited {
        let mut frames = Frames::connect(&home.address, GSUP);
        let (whose, asked) = frames.next();
        assert_eq!((whose, asked[0]), (0xfe, 0x04), "the HLR asks who we are");
        let mut identity = vec![0x05];
        for (tag, value) in [(8, "1/2/3"), (0, name)] {
            identity.extend([0, value.len() as u8 + 2, tag]);
            identity.extend(value.as_bytes());
            identity.push(0);
        }
        frames.send(0xfe, &identity);
        Visited(frames)
    }

    fn say(&mut self, kind: u8, n: u32, more: &[u8]) {
        let digits = format!("{}f", imsi(n)).into_bytes();
        let digit = |byte: u8| if byte == b'f' { 0xf } else { byte - b'0' };
        let imsi: Vec<u8> = digits.chunks(2).map(|two| digit(two[1]) << 4 | digit(two[0])).collect();
        self.0.send(0xee, &[&[0x05, kind, 0x01, imsi.len() as u8], &imsi[..], more].concat());
    }

    /// Registers a subscriber: update location, insert subscriber data and its result, and the result.
    fn register(&mut self, n: u32, domain: u8) {
        self.say(0x04, n, &[0x28, 1, domain]);
        assert_eq!(self.0.next().1[1], 0x10, "insert subscriber data");
        self.say(0x12, n, &[0x28, 1, domain]);
        assert_eq!(self.0.next().1[1], 0x06, "the result of update location");
    }

    fn purge(&mut self, n: u32, domain: u8) {
        self.say(0x0c, n, &[0x28, 1, domain]);
        assert_eq!(self.0.next().1[1], 0x0e, "the result of purge MS");
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

/// Asks with a connection of its own.
fn ask(settings: Settings, n: u32) -> Whereabouts {
    run(async { Source::Hlr(Hlr::start(settings)).ask(number(n), 0, PATIENT).await })
}

#[test]
fn where_his_vlr_is_the_subscriber_is() {
    let home = Home::new();
    subscribe(&home, 1..=5);
    let mut istanbul = Visited::connect(&home, "905321230000");
    let mut london = Visited::connect(&home, "447700900000");
    let mut almaty = Visited::connect(&home, "77010000001");
    let mut astana = Visited::connect(&home, "msc-home-astana");
    istanbul.register(1, CS);
    london.register(2, CS);
    almaty.register(3, CS);
    astana.register(4, CS);
    let found = |n| ask(settings(&home, false), n);
    let says =
        |status, visited| Whereabouts { status, reason: None, visited, method: Method::Hlr, known_ms: None };
    assert_eq!(found(1), says(Status::Roaming, Some(*b"TR")));
    assert_eq!(found(2), says(Status::Roaming, None));
    assert_eq!(found(3), says(Status::NotRoaming, None));
    assert_eq!(found(4), says(Status::NotRoaming, None));
    assert_eq!(found(5), Whereabouts::unknown(Method::Hlr, WhyUnknown::NotRegistered));
    assert_eq!(found(6), says(Status::NotAssigned, None));

    // He comes home; somebody else leaves with data alone.
    almaty.register(1, CS);
    assert_eq!(found(1), says(Status::NotRoaming, None));
    Visited::connect(&home, "sgsn-istanbul").register(5, PS);
    assert_eq!(found(5), says(Status::Roaming, Some(*b"TR")));

    // His telephone has been off for long, and the VLR gives him up.
    london.purge(2, CS);
    assert_eq!(found(2), Whereabouts::unknown(Method::Hlr, WhyUnknown::NotRegistered));
    assert_eq!(ask(settings(&home, true), 2), says(Status::Roaming, None));
}

#[test]
fn a_thousand_questions_share_one_connection() {
    let home = Home::new();
    subscribe(&home, 0..20);
    let mut istanbul = Visited::connect(&home, "905321230000");
    let mut almaty = Visited::connect(&home, "77010000001");
    for n in 0..20 {
        if n % 2 == 0 { istanbul.register(n, CS) } else { almaty.register(n, CS) }
    }
    run(async {
        let hlr = Rc::new(hlr(&home));
        let asking: Vec<_> = (0..1000)
            .map(|i| {
                let hlr = hlr.clone();
                spawn_local(async move { (i, hlr.ask(number(i % 30), PATIENT).await.status) })
            })
            .collect();
        for task in asking {
            let (i, status) = task.await.unwrap();
            let expected = match i % 30 {
                20.. => Status::NotAssigned,
                n if n % 2 == 0 => Status::Roaming,
                _ => Status::NotRoaming,
            };
            assert_eq!(status, expected, "{i}");
        }
    });
}

#[test]
fn an_hlr_that_goes_costs_no_deadline_and_is_found_when_it_comes_back() {
    let mut home = Home::new();
    subscribe(&home, 1..=1);
    Visited::connect(&home, "905321230000").register(1, CS);
    run(async {
        let hlr = hlr(&home);
        assert_eq!(hlr.ask(number(1), PATIENT).await.status, Status::Roaming);
        home.stop();
        let asked = Instant::now();
        let found = hlr.ask(number(1), PATIENT).await;
        assert_eq!(found, Whereabouts::unknown(Method::Hlr, WhyUnknown::SourceFailed));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        home.start();
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let found = hlr.ask(number(1), Duration::from_secs(1)).await;
            if found.status == Status::Roaming {
                break;
            }
            assert!(Instant::now() < until, "{found:?} {:?}", hlr.last_fault());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn the_command_line_asks_too() {
    let home = Home::new();
    subscribe(&home, 1..=2);
    Visited::connect(&home, "905321230000").register(1, CS);
    let control = format!("{}:{CONTROL}", home.address);
    let source =
        ["roaming", "ask", "--hlr", &control, "--home-vlrs", "7701,msc-home", "--countries", "90=TR"];
    let numbers = ["+77010000001", "+77010000002", "+77010000003"];
    let said = home.site.ok(&[&source[..], &numbers[..]].concat());
    let lines: Vec<&str> = said.lines().map(|line| line.rsplit_once(" ms=").unwrap().0).collect();
    assert_eq!(
        lines,
        [
            "+77010****01 roaming visited=TR method=hlr",
            "+77010****02 unknown reason=not-registered method=hlr",
            "+77010****03 not-assigned method=hlr",
        ]
    );
    let gone = home.site.run(&["roaming", "ask", "--hlr", "127.0.0.1:1", "--home-vlrs", "7701", numbers[0]]);
    let (said, complaint) = (String::from_utf8_lossy(&gone.stdout), String::from_utf8_lossy(&gone.stderr));
    assert!(said.starts_with("+77010****01 unknown reason=source-failed method=hlr ms="), "{said}");
    assert!(complaint.contains("127.0.0.1:1: Connection refused"), "{complaint}");
    for (arguments, fault) in [
        (&["roaming", "ask", "--hlr", "h:1", "--home-vlrs", "7", "77010000001"][..], "not a number of E.164"),
        (&["roaming", "ask", "--hlr", "h:1", "--home-vlrs", "", "+77010000001"], "beginning of a VLR"),
        (
            &["roaming", "ask", "--hlr", "h:1", "--home-vlrs", "7", "--countries", "90", "+77010000001"],
            "90=TR",
        ),
        (&["roaming", "ask", "--camara-url", "https://a/v1", "+77010000001"], "an authority to trust"),
    ] {
        assert!(
            home.site.refused(arguments).contains(fault),
            "{arguments:?}: {}",
            home.site.refused(arguments)
        );
    }
    assert!(!home.site.run(&["roaming", "ask", "+77010000001"]).status.success(), "no source is named");
}
