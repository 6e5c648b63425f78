//! What was asked and answered between operators, kept as it was signed: a file a day beside the journal.
//!
//! A line is a pair of letters under AES-256-GCM with a key of the journal's numbers key, so numbers lie here no more open
//! than there; the first line of each certificate is the certificate itself, so a signature can be shown years later.
//! docs/exchange.md, "What is kept".

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use exchange::{Answer, Letter, Question, Verifier, WireNumber, day};
use journal::{NumbersKey, from_hex, hex, sha256};
use numbering::Number;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::ParsedCertificate;

use crate::query::note;
use crate::store::keys::Keys;
use crate::store::now_ms;

/// Pairs that may wait for the disk.
const WAITING: usize = 8192;

/// A line of a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    /// The certificate of a member, DER in base64.
    Certificate(String),
    /// Letters under the numbers key of this id: nonce and text, each in base64.
    Letters { key: String, nonce: String, sealed: String },
}

/// A question and its answer, each a compact JWS.
#[derive(Serialize, Deserialize)]
pub struct Pair {
    /// When the answer was there, ms since 1970.
    pub at_ms: i64,
    /// The other one.
    pub member: String,
    /// Whether this node asked.
    pub is_ours: bool,
    /// SHA-256 of the certificate of the other one, in hex.
    pub certificate: String,
    pub question: String,
    pub answer: String,
}

/// Where the exchange's thread puts letters to be kept.
#[derive(Clone)]
pub struct Keeper {
    give: SyncSender<(Pair, Arc<[u8]>)>,
    /// Pairs that were not kept: the disk is full, or slower than letters come.
    lost: Arc<AtomicU64>,
}

impl Keeper {
    /// Starts the thread that writes; it ends when the last keeper is dropped.
    pub fn start(
        journal: &Path,
        keys: &Path,
        keep_days: u32,
        lost: Arc<AtomicU64>,
    ) -> io::Result<(Keeper, JoinHandle<()>)> {
        let (give, take) = sync_channel(WAITING);
        let directory = journal.join("letters");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let shelf = Shelf { directory, keys: keys.to_owned(), keep_days, open: None };
        let counted = lost.clone();
        let thread = std::thread::Builder::new().name("letters".to_owned());
        let thread = thread.spawn(move || shelf.run(&take, &counted))?;
        Ok((Keeper { give, lost }, thread))
    }

    /// Keeps a pair; `certificate` is the other one's, in DER.
    pub fn keep(&self, pair: Pair, certificate: &Arc<[u8]>) {
        if self.give.try_send((pair, certificate.clone())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The files, on the side of the thread that writes.
struct Shelf {
    directory: PathBuf,
    keys: PathBuf,
    keep_days: u32,
    open: Option<Open>,
}

struct Open {
    day: i64,
    file: BufWriter<File>,
    key: NumbersKey,
    certificates: HashSet<String>,
}

impl Shelf {
    fn run(mut self, take: &Receiver<(Pair, Arc<[u8]>)>, lost: &AtomicU64) {
        while let Ok(first) = take.recv() {
            for (pair, certificate) in std::iter::once(first).chain(take.try_iter()) {
                if self.write(&pair, &certificate).is_err() {
                    self.open = None;
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            if self.open.as_mut().is_some_and(|open| open.file.flush().is_err()) {
                self.open = None;
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn write(&mut self, pair: &Pair, certificate: &[u8]) -> io::Result<()> {
        let today = day(pair.at_ms);
        if self.open.as_ref().is_none_or(|open| open.day != today) {
            let key = Keys::open(&self.keys).map_err(io::Error::other)?.numbers;
            let path = self.directory.join(name(today));
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
            self.open =
                Some(Open { day: today, file: BufWriter::new(file), key, certificates: HashSet::new() });
            self.forget(today)?;
        }
        let open = self.open.as_mut().expect("just opened");
        if open.certificates.insert(pair.certificate.clone()) {
            let line = Line::Certificate(BASE64.encode(certificate));
            writeln!(open.file, "{}", serde_json::to_string(&line)?)?;
        }
        writeln!(open.file, "{}", serde_json::to_string(&seal(pair, &open.key)?)?)
    }

    /// Removes the files whose time is over.
    fn forget(&self, today: i64) -> io::Result<()> {
        if self.keep_days == 0 {
            return Ok(());
        }
        let first = name(today - i64::from(self.keep_days));
        for (file, path) in files(&self.directory)? {
            if file < first {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn name(day: i64) -> String {
    let time = jiff::Timestamp::from_second(day * 86_400).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{:.10}.jsonl", time.to_string())
}

fn files(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| name.ends_with(".jsonl")) {
            files.push((name.to_owned(), entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

fn seal(pair: &Pair, key: &NumbersKey) -> io::Result<Line> {
    let mut text = serde_json::to_vec(pair)?;
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, &key.of_letters()).expect("32 bytes");
    let nonce = cipher.seal_in_place_append_tag(Aad::empty(), &mut text).map_err(io::Error::other)?;
    Ok(Line::Letters {
        key: hex(&key.id()),
        nonce: BASE64.encode(nonce.as_ref()),
        sealed: BASE64.encode(&text),
    })
}

/// Which letters are looked for.
pub struct Wanted {
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    pub number: Option<Number>,
    pub member: Option<String>,
}

/// Prints the letters that match, a line of JSON each, with whether the other one's signature holds; the look is written
/// down beside the journal.
pub fn print(journal: &Path, keys: &[NumbersKey], wanted: &Wanted, out: &mut impl Write) -> io::Result<()> {
    let directory = journal.join("letters");
    let mut found = Vec::new();
    let mut complaints = 0_u64;
    let days = |ms: Option<i64>, usual| ms.map_or(usual, |ms| name(day(ms)));
    let (first, last) = (days(wanted.from_ms, String::new()), days(wanted.until_ms, "~".to_owned()));
    for (file, path) in files(&directory)? {
        if file < first || file > last {
            continue;
        }
        let mut certificates = Vec::new();
        for line in BufReader::new(File::open(path)?).lines() {
            match serde_json::from_str(&line?) {
                Ok(Line::Certificate(der)) => certificates.extend(BASE64.decode(der)),
                Ok(Line::Letters { key, nonce, sealed }) => match open(&key, &nonce, &sealed, keys) {
                    Some(pair) if wanted.matches(&pair) => found.push(shown(&pair, &certificates)),
                    Some(_) => {}
                    None => complaints += 1,
                },
                Err(_) => complaints += 1,
            }
        }
    }
    note(
        Some(journal),
        serde_json::json!({
            "letters": found.len(),
            "number": wanted.number.map(|number| number.to_string()),
            "member": wanted.member,
        }),
    )?;
    for line in &found {
        writeln!(out, "{line}")?;
    }
    if complaints > 0 {
        eprintln!(
            "{complaints} lines cannot be read: broken, or under a key that is not at hand (--keys DIR)"
        );
    }
    Ok(())
}

fn open(key: &str, nonce: &str, sealed: &str, keys: &[NumbersKey]) -> Option<Pair> {
    let id = from_hex::<8>(key)?;
    let key = keys.iter().find(|key| key.id() == id)?;
    let nonce: [u8; NONCE_LEN] = BASE64.decode(nonce).ok()?.try_into().ok()?;
    let mut text = BASE64.decode(sealed).ok()?;
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, &key.of_letters()).expect("32 bytes");
    let text = cipher.open_in_place(Nonce::from(&nonce), Aad::empty(), &mut text).ok()?;
    serde_json::from_slice(text).ok()
}

impl Wanted {
    fn matches(&self, pair: &Pair) -> bool {
        let is_in_time = self.from_ms.is_none_or(|from| pair.at_ms >= from)
            && self.until_ms.is_none_or(|until| pair.at_ms < until);
        let is_of = self.member.as_ref().is_none_or(|member| *member == pair.member);
        is_in_time && is_of && self.number.is_none_or(|number| names(pair, number))
    }
}

/// Whether one of the questions names a number; one that travels as a hash is not found by it.
fn names(pair: &Pair, number: Number) -> bool {
    let wire = WireNumber::clear(number);
    let letter: Option<Letter<Question>> = payload(&pair.question);
    letter.into_iter().flat_map(|letter| letter.items).any(|question| match question {
        Question::Check(check) => {
            check.calling == wire || check.called == wire || check.redirecting.as_ref() == Some(&wire)
        }
        Question::Roaming(check) => check.calling == wire,
        Question::Register(call) => {
            call.calling == wire || call.called == wire || call.redirecting.as_ref() == Some(&wire)
        }
        Question::Capabilities | Question::Unknown => false,
    })
}

fn payload<T: serde::de::DeserializeOwned>(jws: &str) -> Option<T> {
    let middle = jws.split('.').nth(1)?;
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(middle).ok()?).ok()
}

/// A pair with what its letters say, and whether the other one really signed its own.
fn shown(pair: &Pair, certificates: &[Vec<u8>]) -> serde_json::Value {
    let certificate = certificates.iter().find(|der| hex(&sha256(der)) == pair.certificate);
    let verifier = certificate.and_then(|der| {
        let der = CertificateDer::from(der.as_slice());
        let parsed = ParsedCertificate::try_from(&der).ok()?;
        Verifier::from_spki(&parsed.subject_public_key_info())
    });
    let theirs = if pair.is_ours { &pair.answer } else { &pair.question };
    let signature = match verifier {
        None => "no certificate",
        Some(verifier) if verifier.open(theirs).is_ok() => "valid",
        Some(_) => "wrong",
    };
    let time = jiff::Timestamp::from_millisecond(pair.at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    serde_json::json!({
        "time": time.to_string(),
        "member": pair.member,
        "asked_by": if pair.is_ours { "us" } else { pair.member.as_str() },
        "signature": signature,
        "certificate": pair.certificate,
        "question": payload::<Letter<Question>>(&pair.question),
        "answer": payload::<Letter<Answer>>(&pair.answer),
        "question_jws": pair.question,
        "answer_jws": pair.answer,
    })
}

/// SHA-256 of a certificate in hex, as pairs name it.
pub fn thumbprint(der: &[u8]) -> String {
    hex(&sha256(der))
}

/// A pair as of now.
pub fn pair(member: &str, is_ours: bool, certificate: &str, question: String, answer: String) -> Pair {
    let (member, certificate) = (member.to_owned(), certificate.to_owned());
    Pair { at_ms: now_ms(), member, is_ours, certificate, question, answer }
}
