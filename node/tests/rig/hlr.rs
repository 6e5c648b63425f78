//! A real HLR, osmo-hlr, and frames that it speaks in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::{Running, Site, start, wait};

pub const CONTROL: u16 = 4259;
pub const GSUP: u16 = 4222;
const PATIENT: Duration = Duration::from_secs(5);

/// An HLR on an address of its own, for its ports are given.
pub struct Home {
    pub site: Site,
    pub address: String,
    running: Option<Running>,
}

impl Home {
    pub fn new() -> Home {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = format!("127.{}.{high}.{low}", 100 + NEXT.fetch_add(1, Ordering::Relaxed));
        let site = Site::new("");
        site.write(
            "hlr.cfg",
            format!("line vty\n bind {address}\nctrl\n bind {address}\nhlr\n gsup\n  bind ip {address}\n"),
        );
        let mut home = Home { site, address, running: None };
        home.start();
        home
    }

    pub fn start(&mut self) {
        let mut hlr = Command::new("osmo-hlr");
        hlr.current_dir(self.site.directory.path()).args(["-c", "hlr.cfg", "-l", "hlr.db"]);
        self.running = Some(start(&mut hlr));
        let reaches = |port| TcpStream::connect((self.address.as_str(), port)).is_ok();
        wait(|| reaches(CONTROL) && reaches(GSUP), || "osmo-hlr".to_owned());
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    /// New subscribers: IMSI and number.
    pub fn subscribe(&self, subscribers: impl Iterator<Item = (String, String)>) {
        let mut control = Frames::connect(&self.address, CONTROL);
        for (imsi, number) in subscribers {
            for set in [
                format!("SET 1 subscriber.create {imsi}"),
                format!("SET 1 subscriber.by-imsi-{imsi}.msisdn {number}"),
            ] {
                control.send(0xee, &[b"\x00", set.as_bytes()].concat());
                let (_, said) = control.next();
                assert!(said.starts_with(b"\x00SET_REPLY 1 "), "{}", String::from_utf8_lossy(&said));
            }
        }
    }
}

/// Frames of the IPA multiplex over TCP.
pub struct Frames(TcpStream);

impl Frames {
    pub fn connect(address: &str, port: u16) -> Frames {
        let stream = TcpStream::connect((address, port)).unwrap();
        stream.set_read_timeout(Some(PATIENT)).unwrap();
        Frames(stream)
    }

    pub fn send(&mut self, whose: u8, payload: &[u8]) {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length[..], &[whose], payload].concat()).unwrap();
    }

    pub fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 3];
        self.0.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[0], head[1]]))];
        self.0.read_exact(&mut payload).unwrap();
        (head[2], payload)
    }
}
