//! Keys of those who may ask by HTTP: a file of names and hashes, and `qalqan http key`, which adds one.
//!
//! A key is 256 random bits, so its bare SHA-256 tells nobody anything; the key itself is shown once and kept
//! nowhere.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use call::TrunkId;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};

use crate::tls::read_secret;

const HEADER: &str = "name,sha256,trunks,expires";

/// The keys of a file.
pub struct Keys(Vec<Key>);

pub struct Key {
    pub name: String,
    hash: [u8; 32],
    /// The trunks it may ask about; none: every one.
    trunks: Option<Vec<TrunkId>>,
    /// From this moment on it counts no longer, ms since 1970; `i64::MAX`: never.
    expires_ms: i64,
}

/// Why a key is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    Unknown,
    Expired,
}

impl Key {
    pub fn may_ask(&self, trunk: TrunkId) -> bool {
        self.trunks.as_ref().is_none_or(|trunks| trunks.contains(&trunk))
    }
}

impl Keys {
    /// Reads a key file, or gives every bad line with what is wrong; `trunks` are those of the configuration.
    pub fn read(file: &[u8], trunks: &[String]) -> Result<Keys, Vec<(u64, String)>> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(file);
        let header = reader.headers().map(|header| header.iter().collect::<Vec<_>>().join(","));
        if header.ok().as_deref() != Some(HEADER) {
            return Err(vec![(1, format!("the header must be {HEADER}"))]);
        }
        let mut keys: Vec<Key> = Vec::new();
        let mut bad = Vec::new();
        for row in reader.records() {
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    bad.push((line, "not four fields of UTF-8 text".to_owned()));
                    continue;
                }
            };
            let line = row.position().map_or(0, csv::Position::line);
            match Key::of_row(&row, trunks) {
                Ok(key) if keys.iter().any(|other| other.name == key.name) => {
                    bad.push((line, format!("key \"{}\" stands here twice", key.name)));
                }
                Ok(key) => keys.push(key),
                Err(what) => bad.push((line, what)),
            }
        }
        if bad.is_empty() { Ok(Keys(keys)) } else { Err(bad) }
    }

    /// Finds a key. Every hash is compared, each in constant time.
    pub fn find(&self, shown: &[u8], now_ms: i64) -> Result<&Key, Refused> {
        let hash = digest(&SHA256, shown);
        let mut found = None;
        for key in &self.0 {
            if verify_slices_are_equal(&key.hash, hash.as_ref()).is_ok() {
                found = Some(key);
            }
        }
        match found {
            Some(key) if now_ms < key.expires_ms => Ok(key),
            Some(_) => Err(Refused::Expired),
            None => Err(Refused::Unknown),
        }
    }
}

impl Key {
    fn of_row(row: &csv::StringRecord, known: &[String]) -> Result<Key, String> {
        let name = name(&row[0])?;
        let hash = unhex(&row[1]).ok_or("sha256 is not 64 hex digits")?;
        let mut trunks = Vec::new();
        for trunk in row[2].split_whitespace() {
            let index = known.iter().position(|known| known == trunk).ok_or_else(|| {
                format!("no trunk \"{trunk}\" in the configuration: it has {}", known.join(", "))
            })?;
            trunks.push(TrunkId(index as u16));
        }
        let trunks = (!trunks.is_empty()).then_some(trunks);
        Ok(Key { name: name.to_owned(), hash, trunks, expires_ms: expires_ms(&row[3])? })
    }
}

/// `qalqan http key`: makes a key, adds its hash to the file and gives the key.
pub fn add(path: &Path, name_of: &str, trunks: &[String], expires: &str) -> Result<String, String> {
    name(name_of)?;
    expires_ms(expires)?;
    if let Some(trunk) = trunks.iter().find(|trunk| trunk.is_empty() || trunk.contains([',', '"', ' ', '\n']))
    {
        return Err(format!("\"{trunk}\" cannot be a trunk of a key: no commas, quotes or spaces"));
    }
    let shown = |error: io::Error| format!("{}: {error}", path.display());
    let mut text = String::new();
    match path.exists() {
        false => text = format!("{HEADER}\n"),
        true => {
            let before = read_secret(path).map_err(|what| format!("{}: {what}", path.display()))?;
            let taken = String::from_utf8_lossy(&before);
            if taken.lines().any(|line| line.split(',').next().is_some_and(|name| name.trim() == name_of)) {
                return Err(format!("{}: key \"{name_of}\" stands there already", path.display()));
            }
            if !before.is_empty() && !before.ends_with(b"\n") {
                text.push('\n');
            }
        }
    }
    let mut secret = [0; 32];
    rand::fill(&mut secret).map_err(|_| "the system gives no random bytes".to_owned())?;
    let key = format!("qalqan_{}", hex(&secret));
    let hash = hex(digest(&SHA256, key.as_bytes()).as_ref());
    text.push_str(&format!("{name_of},{hash},{},{expires}\n", trunks.join(" ")));
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(shown)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(shown)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(shown)?;
    Ok(key)
}

fn name(text: &str) -> Result<&str, String> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.chars().all(fine) {
        true => Ok(text),
        false => Err(format!("\"{text}\" is no name of a key: letters, digits, - _ and .")),
    }
}

/// As in lists: a date is the last day on which the key counts, in UTC; a time is the moment it ends.
fn expires_ms(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(i64::MAX);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let next_day = text.parse::<Date>().ok().and_then(|date| date.tomorrow().ok());
    let midnight = next_day.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    midnight
        .map(|midnight| midnight.timestamp().as_millisecond())
        .ok_or_else(|| format!("expires \"{text}\" is not a date: write 2027-12-31, or 2027-12-31T18:00:00Z"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
