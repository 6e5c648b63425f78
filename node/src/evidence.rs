//! `qalqan evidence`: chosen decisions and cases in a package that another machine checks with one public key.
//!
//! A package is a directory. Its manifest names every other file by SHA-256, the journal's head and the manifest of the package
//! before; the journal's key signs it. `evidence.jsonl` beside the journal has a line for each package that was made.

mod check;
mod paper;
mod records;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use journal::{Chain, Jws, PublicKey, file_hash};
use rules::Language;
use screening::Basis;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{Journal, explain_io};
use crate::query::{self, Chosen, Query, Source};
use crate::store::keys::{read_public, read_signing, sync_directory};
use crate::store::shelf::{Shelf, name, number};
use records::Taken;

pub use check::{Checked, check, follow};
pub use records::{Records, Sought};
pub use report::{Fonts, of_package as report};

const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.jws";
const DECISIONS: &str = "decisions.jsonl";
const SEGMENTS: &str = "journal/segments";
const FIRST_KEY: &str = "keys/first.pub.pem";
/// Versions of lists, plan and configuration that the bases name.
const IN_FORCE: &str = "in-force";
/// The packages made of a journal, beside it.
const LOG: &str = "evidence.jsonl";
const VERSION: u32 = 1;

/// What is signed.
#[derive(Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// Of this journal, from 1.
    package: u64,
    /// SHA-256 of the manifest of the package before; none: this is the first.
    previous: Option<String>,
    time: String,
    /// The user of the machine, and the client of the register whose rights counted.
    who: String,
    uid: u32,
    client: Option<String>,
    why: String,
    program: String,
    /// What was asked for.
    question: Value,
    revealed: bool,
    language: String,
    /// The clock of the reports, minutes east of UTC.
    #[serde(default)]
    utc_offset_min: i32,
    journal: Head,
    /// Records of each segment, from 1.
    decisions: BTreeMap<u64, Vec<u64>>,
    /// Decisions that matched and were not sealed yet: they are not in the package.
    not_sealed: u64,
    /// Files of call records that calls were taken of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    records: Vec<Taken>,
    files: Vec<Listed>,
}

/// The journal as it stood when the package was made.
#[derive(Serialize, Deserialize)]
struct Head {
    id: String,
    entries: u64,
    head: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Listed {
    name: String,
    sha256: String,
    bytes: u64,
}

/// A line of [`LOG`].
#[derive(Serialize, Deserialize)]
struct Logged {
    package: u64,
    time: String,
    who: String,
    why: String,
    manifest: String,
    previous: Option<String>,
}

/// What is packed.
pub struct Wanted<'w> {
    /// None: no decisions, but the chain all the same.
    pub query: Option<&'w Query>,
    /// Names and content of what the register shows.
    pub cases: Vec<(String, Value)>,
    /// Lists, plan and configuration as they were in force.
    pub in_force: &'w [PathBuf],
    pub records: Option<Records<'w>>,
    pub client: Option<String>,
    pub why: &'w str,
    /// What was asked, for the manifest.
    pub question: Value,
    pub revealed: bool,
    pub language: Language,
    /// Of the reports.
    pub fonts: &'w Fonts,
    pub utc_offset_min: i32,
}

/// What was packed.
pub struct Packed {
    pub package: u64,
    pub manifest: String,
    pub not_sealed: u64,
    pub checked: Checked,
}

fn at<T>(path: &Path, outcome: io::Result<T>) -> Result<T, String> {
    outcome.map_err(|error| format!("{}: {}", path.display(), explain_io(&error)))
}

/// Makes a package; it is there whole, and holds by its own check, or not at all.
pub fn pack(
    journal: &Journal,
    source: &dyn Fn() -> Result<Source, String>,
    out: &Path,
    wanted: Wanted,
) -> Result<Packed, String> {
    if out.exists() {
        return Err(format!("{}: it is there already: name a new directory", out.display()));
    }
    let log = journal.directory.join(LOG);
    let mut log = Log::open(&log)?;
    let draft = out.with_file_name(format!(
        ".{}.draft",
        out.file_name().and_then(|name| name.to_str()).ok_or("--out: name a directory")?
    ));
    let _ = fs::remove_dir_all(&draft);
    let packed = Draft { place: &draft, files: BTreeMap::new() }.pack(journal, source, wanted, &mut log);
    let packed = packed.and_then(|packed| at(out, fs::rename(&draft, out)).map(|()| packed));
    if packed.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    packed
}

struct Draft<'d> {
    place: &'d Path,
    files: BTreeMap<String, Listed>,
}

impl Draft<'_> {
    fn pack(
        mut self,
        journal: &Journal,
        source: &dyn Fn() -> Result<Source, String>,
        wanted: Wanted,
        log: &mut Log,
    ) -> Result<Packed, String> {
        let said = |error: io::Error| error.to_string();
        let (package, previous) = log.next();
        let chosen = match wanted.query {
            Some(query) => query::choose(source()?, query, wanted.language).map_err(said)?,
            None => Vec::new(),
        };
        let (sealed, open): (Vec<Chosen>, Vec<Chosen>) =
            chosen.into_iter().partition(|chosen| chosen.segment.is_some());
        let records = wanted.records.map_or(Ok(Vec::new()), |records| records.take(wanted.revealed))?;
        if wanted.query.is_some() && sealed.is_empty() && records.is_empty() {
            return Err(match open.len() {
                0 => "no decision matches".to_owned(),
                open => {
                    format!("{open} decisions match, and none is sealed yet: wait for seal-minutes to pass")
                }
            });
        }
        // The look is written down before anything is shown.
        let look = json!({"evidence": package, "question": wanted.question, "why": wanted.why,
                          "records": sealed.len(), "revealed": wanted.revealed,
                          "calls": records.iter().map(|(taken, _)| taken.calls.len()).sum::<usize>()});
        query::note(Some(&journal.directory), look)
            .map_err(|error| format!("this look cannot be written down, so nothing is packed: {error}"))?;

        let mut decisions: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let (mut lines, mut bases) = (String::new(), BTreeSet::new());
        for Chosen { segment, record, decision } in sealed {
            let n = segment.expect("those that are sealed");
            decisions.entry(n).or_default().push(record);
            bases.extend(decision["basis"].as_str().map(str::to_owned));
            let mut line = json!({"segment": n, "record": record});
            if let (Value::Object(line), Value::Object(decision)) = (&mut line, decision) {
                line.extend(decision);
            }
            lines += &format!("{line}\n");
        }
        self.add(DECISIONS, lines.as_bytes())?;
        let first = journal.keys.join("first.pub.pem");
        let key = read_public(&first)?;
        self.add(FIRST_KEY, key.to_pem().as_bytes())?;
        let chain = self.chain(&source()?.shelves, key, &decisions)?;
        let named = self.bases(&journal.directory, &bases)?;
        for path in wanted.in_force {
            let bytes = at(path, fs::read(path))?;
            let hash = file_hash(&bytes);
            if !named.contains_key(&hash) {
                return Err(format!(
                    "{}: no decision of the package stood on this version: its SHA-256 is {hash}",
                    path.display()
                ));
            }
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
            self.add(&format!("{IN_FORCE}/{}-{file}", &hash[..8]), &bytes)?;
        }
        for (name, case) in &wanted.cases {
            let text = serde_json::to_string_pretty(case).expect("plain values");
            self.add(&format!("register/{name}.json"), format!("{text}\n").as_bytes())?;
        }

        for (taken, lines) in &records {
            self.add(&taken.file, lines.as_bytes())?;
        }

        let mut manifest = Manifest {
            version: VERSION,
            package,
            previous: previous.clone(),
            time: jiff::Timestamp::now().to_string(),
            who: query::user(),
            // SAFETY: asks for nothing but a number.
            uid: unsafe { libc::getuid() },
            client: wanted.client,
            why: wanted.why.to_owned(),
            program: concat!("qalqan ", env!("CARGO_PKG_VERSION")).to_owned(),
            question: wanted.question,
            revealed: wanted.revealed,
            language: wanted.language.code().to_owned(),
            utc_offset_min: wanted.utc_offset_min,
            journal: chain,
            decisions,
            not_sealed: open.len() as u64,
            records: records.into_iter().map(|(taken, _)| taken).collect(),
            files: self.files.values().cloned().collect(),
        };
        for language in Language::ALL {
            let pages = report::report(self.place, &manifest, language, wanted.fonts)?;
            self.add(&report::file_name(language), &pages)?;
        }
        manifest.files = std::mem::take(&mut self.files).into_values().collect();
        let signing = read_signing(&journal.keys.join("signing.pem"))?;
        let bytes = format!("{}\n", serde_json::to_string_pretty(&manifest).expect("plain values"));
        self.write(MANIFEST, bytes.as_bytes())?;
        self.write(SIGNATURE, format!("{}\n", Jws::sign_detached(bytes.as_bytes(), &signing)).as_bytes())?;

        let checked = check(self.place, key, &source()?.keys)?;
        if let Some(finding) = checked.findings.first() {
            let count = checked.findings.len();
            return Err(format!(
                "nothing was packed, for the package would not hold ({count} findings): {finding}; `qalqan journal verify` says more"
            ));
        }
        let manifest_hash = file_hash(bytes.as_bytes());
        let Manifest { time, who, why, .. } = manifest;
        log.append(&Logged { package, time, who, why, manifest: manifest_hash.clone(), previous })?;
        Ok(Packed { package, manifest: manifest_hash, not_sealed: manifest.not_sealed, checked })
    }

    /// Every seal up to the head, and the segments that hold what was chosen.
    fn chain(
        &mut self,
        shelves: &[Shelf],
        first: PublicKey,
        decisions: &BTreeMap<u64, Vec<u64>>,
    ) -> Result<Head, String> {
        let said = |error: io::Error| error.to_string();
        let mut seals: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut segments: BTreeMap<u64, bytes::Bytes> = BTreeMap::new();
        for shelf in shelves {
            let names = match shelf.names() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                names => names.map_err(said)?,
            };
            let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
            let wanted: Vec<String> =
                names.iter().filter(|name| number(name, "seal").is_some()).cloned().collect();
            for (bytes, seal) in shelf.read_all(&wanted).map_err(said)?.into_iter().zip(&wanted) {
                seals.insert(number(seal, "seal").expect("a seal's name"), bytes.to_vec());
            }
            for n in names.iter().filter_map(|file| number(file, "parquet")) {
                if decisions.contains_key(&n) && !segments.contains_key(&n) {
                    segments.insert(n, shelf.read(&name(n, "parquet")).map_err(said)?);
                }
            }
        }
        for (n, bytes) in &seals {
            self.add(&format!("{SEGMENTS}/{}", name(*n, "seal")), bytes)?;
        }
        for n in decisions.keys() {
            let bytes =
                segments.get(n).ok_or_else(|| format!("segment {n} went away meanwhile: pack again"))?;
            self.add(&format!("{SEGMENTS}/{}", name(*n, "parquet")), bytes)?;
        }
        let chain = Chain::read(seals.into_iter().collect(), first, None);
        match (chain.entries.values().next_back(), chain.head()) {
            (Some(entry), Some(head)) => Ok(Head {
                id: entry.journal.clone(),
                entries: chain.entries.len() as u64,
                head: head.to_owned(),
            }),
            _ => Err("there is no sealed journal to chain a package to: run a node first".to_owned()),
        }
    }

    /// The bases that decisions name; what these name, by SHA-256.
    fn bases(
        &mut self,
        directory: &Path,
        ids: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut named = BTreeMap::new();
        for id in ids {
            let path = directory.join(format!("basis-{id}.json"));
            let bytes = at(&path, fs::read(&path))?;
            let basis: Basis = serde_json::from_slice(&bytes)
                .map_err(|error| format!("{}: not a basis: {error}", path.display()))?;
            named.extend(names_of(&basis));
            self.add(&format!("journal/basis-{id}.json"), &bytes)?;
        }
        Ok(named)
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.write(name, bytes)?;
        let listed = Listed { name: name.to_owned(), sha256: file_hash(bytes), bytes: bytes.len() as u64 };
        self.files.insert(name.to_owned(), listed);
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.place.join(name);
        let directory = path.parent().expect("within the package");
        at(directory, DirBuilder::new().recursive(true).mode(0o700).create(directory))?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        at(&path, file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())))
    }
}

/// What a basis names: SHA-256 and what it is of.
fn names_of(basis: &Basis) -> impl Iterator<Item = (String, String)> {
    let lists = basis.lists.iter().map(|(name, hash)| (hash.clone(), format!("list {name}")));
    let plan = (basis.plan.1.clone(), format!("plan {}", basis.plan.0));
    lists.chain([plan, (basis.configuration.clone(), "configuration".to_owned())])
}

/// The packages made so far; held by who adds one.
struct Log {
    file: File,
    path: PathBuf,
    last: Option<Logged>,
}

impl Log {
    fn open(path: &Path) -> Result<Log, String> {
        let opened = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path);
        let mut file = at(path, opened)?;
        at(path, file.lock())?;
        let mut text = String::new();
        at(path, file.read_to_string(&mut text))?;
        let mut last: Option<Logged> = None;
        for (n, line) in text.lines().enumerate() {
            let logged: Logged = serde_json::from_str(line)
                .map_err(|error| format!("{}: line {}: no package: {error}", path.display(), n + 1))?;
            let follows = logged.previous.as_ref() == last.as_ref().map(|last| &last.manifest)
                && logged.package == last.as_ref().map_or(1, |last| last.package + 1);
            if !follows {
                return Err(format!(
                    "{}: line {}: it does not follow the line before",
                    path.display(),
                    n + 1
                ));
            }
            last = Some(logged);
        }
        Ok(Log { file, path: path.to_owned(), last })
    }

    /// The number of the next package, and the manifest before it.
    fn next(&self) -> (u64, Option<String>) {
        self.last.as_ref().map_or((1, None), |last| (last.package + 1, Some(last.manifest.clone())))
    }

    fn append(&mut self, logged: &Logged) -> Result<(), String> {
        let line = serde_json::to_string(logged).expect("plain values");
        at(&self.path, writeln!(self.file, "{line}").and_then(|()| self.file.sync_all()))?;
        at(&self.path, sync_directory(self.path.parent().unwrap_or(Path::new("."))))
    }
}
