//! The members' HLRs: real ones, osmo-hlr, in which a VLR at home and one abroad register the day's subscribers.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::geography::Operator;
use super::process::Process;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Osmocom's control protocol, and the protocol of VLRs (GSUP).
const CONTROL: u16 = 4259;
const GSUP: u16 = 4222;
/// How the numbers of VLRs at home and abroad begin.
const AT_HOME: &str = "7700";
const ABROAD: &str = "90532";

pub struct Hlr {
    operator: Operator,
    process: Process,
}

/// Starts an operator's HLR and waits until it answers. It knows nobody yet.
pub fn start_hlr(operator: Operator, directory: &Path) -> Result<Hlr> {
    let host = operator.hlr();
    let text = format!("line vty\n bind {host}\nctrl\n bind {host}\nhlr\n gsup\n  bind ip {host}\n");
    fs::write(directory.join("hlr.cfg"), text)?;
    let mut command = Command::new("osmo-hlr");
    command.current_dir(directory).args(["-c", "hlr.cfg", "-l", "hlr.db"]);
    let name = format!("{}'s HLR", operator.name());
    let mut process = Process::start(name, &mut command, &directory.join("hlr.log"))?;
    process.wait(|| [CONTROL, GSUP].into_iter().all(|port| TcpStream::connect((host, port)).is_ok()))?;
    Ok(Hlr { operator, process })
}

impl Hlr {
    /// What the node that asks it is told.
    pub fn configuration(&self) -> String {
        format!("[roaming]\nhlr = \"{}:{CONTROL}\"\nhome-vlrs = [\"{AT_HOME}\"]\n", self.operator.hlr())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Makes subscribers of numbers, and registers each where he is.
    pub fn register(&self, subscribers: &[(String, bool)]) -> Result<()> {
        let host = self.operator.hlr();
        let mut control = Frames::connect(host, CONTROL)?;
        let mut home = Visited::connect(host, &format!("{AT_HOME}0000001"))?;
        let mut abroad = Visited::connect(host, &format!("{ABROAD}1230000"))?;
        for (number, is_abroad) in subscribers {
            let digits = number.trim_start_matches('+');
            let imsi = format!("4010{digits}");
            for set in [
                format!("SET 1 subscriber.create {imsi}"),
                format!("SET 1 subscriber.by-imsi-{imsi}.msisdn {digits}"),
            ] {
                control.send(0xee, &[b"\x00", set.as_bytes()].concat())?;
                let said = control.next()?;
                if !said.starts_with(b"\x00SET_REPLY 1 ") {
                    return Err(format!("HLR: {}", String::from_utf8_lossy(&said)).into());
                }
            }
            if *is_abroad { abroad.register(&imsi)? } else { home.register(&imsi)? }
        }
        Ok(())
    }
}

/// Frames of the IPA multiplex over TCP.
struct Frames(TcpStream);

impl Frames {
    fn connect(host: Ipv4Addr, port: u16) -> io::Result<Frames> {
        let stream = TcpStream::connect((host, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Frames(stream))
    }

    fn send(&mut self, whose: u8, payload: &[u8]) -> io::Result<()> {
        let length = u16::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
        self.0.write_all(&[&length[..], &[whose], payload].concat())
    }

    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 3];
        self.0.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[0], head[1]]))];
        self.0.read_exact(&mut payload)?;
        Ok(payload)
    }
}

/// A VLR connected to an HLR over GSUP (OsmoHLR's manual, "Generic Subscriber Update Protocol").
struct Visited(Frames);

impl Visited {
    fn connect(host: Ipv4Addr, name: &str) -> Result<Visited> {
        let mut frames = Frames::connect(host, GSUP)?;
        // The HLR asks who we are.
        frames.next()?;
        let mut identity = vec![0x05];
        for (tag, value) in [(8, "1/2/3"), (0, name)] {
            identity.extend([0, value.len() as u8 + 2, tag]);
            identity.extend(value.as_bytes());
            identity.push(0);
        }
        frames.send(0xfe, &identity)?;
        Ok(Visited(frames))
    }

    /// Update location, the subscriber's data and its result, and the result of it all.
    fn register(&mut self, imsi: &str) -> Result<()> {
        for (says, hears) in [(0x04, 0x10), (0x12, 0x06)] {
            let digits: Vec<u8> = imsi.bytes().map(|byte| byte - b'0').chain([0xf]).collect();
            let packed: Vec<u8> = digits.chunks_exact(2).map(|two| two[1] << 4 | two[0]).collect();
            let message = [&[0x05, says, 0x01, packed.len() as u8][..], &packed, &[0x28, 1, 2]].concat();
            self.0.send(0xee, &message)?;
            let heard = self.0.next()?;
            if heard.get(1) != Some(&hears) {
                return Err(format!("HLR: {heard:02x?} where {hears:02x} was due").into());
            }
        }
        Ok(())
    }
}
