//! `qalqan evidence verify`: whether a package is what was packed, with nothing but the first public key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use journal::{Chain, Entry, Jws, NumbersKey, PublicKey, Sealed, file_hash};
use rules::Language;
use screening::Basis;
use serde_json::Value;

use super::{DECISIONS, FIRST_KEY, IN_FORCE, MANIFEST, Manifest, SEGMENTS, SIGNATURE, VERSION, at, names_of};
use crate::query::records_of;
use crate::store::shelf::{Shelf, name, number};
use crate::verify::{unless_stumbling, verify_part};

/// What a package comes to.
pub struct Checked {
    pub findings: Vec<String>,
    pub manifest: Manifest,
    /// SHA-256 of the manifest.
    pub hash: String,
    key_id: String,
    decisions: usize,
    cases: usize,
    bases: usize,
    /// What bases name and the package does not hold.
    absent: BTreeSet<String>,
}

/// Reads and checks a package, hidden numbers too with the keys that hide them; the error says why it is none.
pub fn check(place: &Path, first: PublicKey, keys: &[NumbersKey]) -> Result<Checked, String> {
    let path = place.join(MANIFEST);
    let bytes = at(&path, fs::read(&path))?;
    let jws = place.join(SIGNATURE);
    let jws = at(&jws, fs::read(&jws))?;
    let mut files = BTreeMap::new();
    let mut findings = Vec::new();
    walk(place, "", &mut files, &mut findings).map_err(|error| format!("{}: {error}", place.display()))?;

    let seal_of = |file: &str| number(file.strip_prefix(SEGMENTS)?.strip_prefix('/')?, "seal");
    let seals = files.iter().filter_map(|(file, bytes)| Some((seal_of(file)?, bytes.to_vec()))).collect();
    let chain = Chain::read(seals, first, None);
    let mut key_id = String::new();
    match Jws::parse_detached(&jws, &bytes) {
        Err(what) => findings.push(format!("{SIGNATURE}: {what}")),
        Ok(jws) => {
            let key = chain.key().unwrap_or(first);
            key_id = jws.key_id.clone();
            if jws.key_id != key.id() {
                findings.push(format!(
                    "{SIGNATURE}: signed by key {}: {}, the journal's key at its head, is expected",
                    jws.key_id,
                    key.id()
                ));
            } else if !jws.is_signed_by(key) {
                findings.push(format!("{MANIFEST}: it is not what key {key_id} signed in {SIGNATURE}"));
            }
        }
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
        let before = findings.iter().map(|finding| format!("{finding}\n")).collect::<String>();
        format!("{before}{}: no manifest of a package: {error}", path.display())
    })?;
    if manifest.version != VERSION {
        return Err(format!(
            "{}: its version is {}: this program knows {VERSION}",
            path.display(),
            manifest.version
        ));
    }
    let mut checked = Checked {
        findings,
        manifest,
        hash: file_hash(&bytes),
        key_id,
        decisions: 0,
        cases: files.keys().filter(|file| file.starts_with("register/")).count(),
        bases: 0,
        absent: BTreeSet::new(),
    };
    checked.files(&files);
    checked.chain(place, first)?;
    checked.records(&files, &chain, keys);
    checked.calls(&files);
    checked.bases(&files);
    let own = files.get(FIRST_KEY).and_then(|pem| PublicKey::from_pem(pem));
    if files.contains_key(FIRST_KEY) && own != Some(first) {
        checked.find(format!("{FIRST_KEY}: it is not the public key that --public-key names"));
    }
    Ok(checked)
}

/// Every file of a package by its name; what is neither file nor directory is a finding.
fn walk(
    place: &Path,
    within: &str,
    files: &mut BTreeMap<String, bytes::Bytes>,
    findings: &mut Vec<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = format!("{within}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), &format!("{name}/"), files, findings)?;
        } else if kind.is_file() {
            files.insert(name, fs::read(entry.path())?.into());
        } else {
            findings.push(format!("{name}: added: it is no plain file"));
        }
    }
    Ok(())
}

impl Checked {
    fn find(&mut self, finding: String) {
        self.findings.push(finding);
    }

    /// Each file against the manifest.
    fn files(&mut self, files: &BTreeMap<String, bytes::Bytes>) {
        let mut findings = Vec::new();
        let mut listed = BTreeSet::new();
        for file in &self.manifest.files {
            listed.insert(file.name.as_str());
            match files.get(&file.name) {
                None => findings.push(format!("{}: missing", file.name)),
                Some(bytes) if file_hash(bytes) != file.sha256 || bytes.len() as u64 != file.bytes => {
                    findings.push(format!("{}: changed: it is not the file that was packed", file.name));
                }
                Some(_) => {}
            }
        }
        let own = [MANIFEST, SIGNATURE];
        for file in
            files.keys().filter(|file| !listed.contains(file.as_str()) && !own.contains(&file.as_str()))
        {
            findings.push(format!("{file}: added: the manifest does not list it"));
        }
        self.findings.extend(findings);
    }

    /// The seals from the beginning up to the head, and each record of the segments against its seal.
    fn chain(&mut self, place: &Path, first: PublicKey) -> Result<(), String> {
        let shelf = Shelf::Directory(place.join(SEGMENTS));
        let which: BTreeSet<u64> = self.manifest.decisions.keys().copied().collect();
        match verify_part(&shelf, first, &self.manifest.journal.head, &which) {
            Ok(verified) => {
                let head = &self.manifest.journal;
                let is_at_head = verified.head == head.head && verified.entries == head.entries;
                let mut findings: Vec<String> =
                    verified.findings.iter().map(|finding| format!("{SEGMENTS}: {finding}")).collect();
                if findings.is_empty() && (!is_at_head || verified.journal != head.id) {
                    findings.push(format!(
                        "{SEGMENTS}: the chain has {} entries and ends at {}: the manifest says {} and {}",
                        verified.entries, verified.head, head.entries, head.head
                    ));
                }
                self.findings.extend(findings);
            }
            Err(error) => self.find(format!("{SEGMENTS}: {error}")),
        }
        Ok(())
    }

    /// Each decision against its record of the segment.
    fn records(&mut self, files: &BTreeMap<String, bytes::Bytes>, chain: &Chain, keys: &[NumbersKey]) {
        let Some(text) = files.get(DECISIONS) else { return };
        let mut wanted: BTreeSet<(u64, u64)> = BTreeSet::new();
        for (n, records) in &self.manifest.decisions {
            wanted.extend(records.iter().map(|record| (*n, *record)));
        }
        let language = Language::from_code(&self.manifest.language).unwrap_or_default();
        let form = (self.manifest.revealed, language);
        let mut sealed: BTreeMap<u64, BTreeMap<u64, Value>> = BTreeMap::new();
        for (n, records) in &self.manifest.decisions {
            let records: BTreeSet<u64> = records.iter().copied().collect();
            let entry = chain.entries.get(n).and_then(Entry::segment);
            if let (Some(entry), Some(bytes)) =
                (entry, files.get(&format!("{SEGMENTS}/{}", name(*n, "parquet"))))
            {
                sealed.insert(*n, read((*n, entry, bytes), keys, &records, form));
            }
        }
        let mut findings = Vec::new();
        let mut seen = BTreeSet::new();
        for (at, line) in String::from_utf8_lossy(text).lines().enumerate() {
            let line_is = |what: String| format!("{DECISIONS}: line {}: {what}", at + 1);
            let line: Value = match serde_json::from_str(line) {
                Ok(line) => line,
                Err(error) => {
                    findings.push(line_is(format!("no decision: {error}")));
                    continue;
                }
            };
            let (Some(n), Some(record)) = (line["segment"].as_u64(), line["record"].as_u64()) else {
                findings.push(line_is("it names no segment and record".to_owned()));
                continue;
            };
            let shown = format!("segment {n}, record {record}");
            if !wanted.contains(&(n, record)) || !seen.insert((n, record)) {
                findings.push(line_is(format!("{shown}: added")));
                continue;
            }
            let Some(own) = sealed.get(&n).and_then(|records| records.get(&record)) else { continue };
            for change in changes(&line, own) {
                findings.push(line_is(format!("{shown}: changed: {change}")));
            }
        }
        self.decisions = seen.len();
        for (n, record) in wanted.difference(&seen) {
            findings.push(format!("{DECISIONS}: segment {n}, record {record}: missing"));
        }
        self.findings.extend(findings);
    }

    /// Each call of records against its hash.
    fn calls(&mut self, files: &BTreeMap<String, bytes::Bytes>) {
        let known = self.manifest.records.iter().filter_map(|taken| Some((taken, files.get(&taken.file)?)));
        let found = known.flat_map(|(taken, bytes)| taken.differences(&String::from_utf8_lossy(bytes)));
        let found: Vec<String> = found.collect();
        self.findings.extend(found);
    }

    /// Whether bases have the ids that decisions name, and each file in force is one that they name.
    fn bases(&mut self, files: &BTreeMap<String, bytes::Bytes>) {
        let mut named = BTreeMap::new();
        for (file, bytes) in files {
            let id = file.strip_prefix("journal/basis-").and_then(|rest| rest.strip_suffix(".json"));
            let Some(id) = id else { continue };
            match serde_json::from_slice::<Basis>(bytes) {
                Ok(basis) if format!("{:016x}", basis.id()) == id => {
                    self.bases += 1;
                    named.extend(names_of(&basis));
                }
                Ok(basis) => {
                    self.find(format!("{file}: changed: what is in it has the id {:016x}", basis.id()));
                }
                Err(error) => self.find(format!("{file}: no basis: {error}")),
            }
        }
        let used: BTreeSet<String> = files.get(DECISIONS).map_or_else(BTreeSet::new, |text| {
            let text = String::from_utf8_lossy(text);
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter_map(|line| Some(format!("journal/basis-{}.json", line["basis"].as_str()?))).collect()
        });
        let listed: BTreeSet<&str> = self.manifest.files.iter().map(|file| file.name.as_str()).collect();
        let unknown: Vec<String> = used
            .into_iter()
            .filter(|file| !files.contains_key(file) && !listed.contains(file.as_str()))
            .collect();
        unknown.into_iter().for_each(|file| self.find(format!("{file}: missing: a decision names it")));
        let within = format!("{IN_FORCE}/");
        for (file, bytes) in files.iter().filter(|(file, _)| file.starts_with(&within)) {
            if named.remove(&file_hash(bytes)).is_none() {
                self.find(format!("{file}: no decision of the package stood on this version"));
            }
        }
        self.absent = named.into_iter().map(|(hash, of)| format!("{of} {hash}")).collect();
    }

    /// The summary of a package that holds.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let manifest = &self.manifest;
        writeln!(out, "package        {}, manifest {}", manifest.package, self.hash)?;
        writeln!(out, "previous       {}", manifest.previous.as_deref().unwrap_or("-"))?;
        let client = manifest.client.as_deref().map(|client| format!(", as {client}")).unwrap_or_default();
        writeln!(out, "packed         {} by {}{client}: {}", manifest.time, manifest.who, manifest.why)?;
        writeln!(out, "signed by      {}", self.key_id)?;
        writeln!(out, "files          {}, every one as it was packed, none added", manifest.files.len())?;
        writeln!(
            out,
            "journal        {}, {} entries, every one signed and in its place",
            manifest.journal.id, manifest.journal.entries
        )?;
        writeln!(out, "head           {}", manifest.journal.head)?;
        writeln!(
            out,
            "decisions      {} in {} segments, every one as it was sealed",
            self.decisions,
            manifest.decisions.len()
        )?;
        if manifest.not_sealed > 0 {
            writeln!(out, "not sealed     {} decisions matched and are not in it", manifest.not_sealed)?;
        }
        writeln!(out, "bases          {}", self.bases)?;
        for absent in &self.absent {
            writeln!(out, "not in it      {absent}")?;
        }
        writeln!(out, "cases          {}", self.cases)?;
        if !manifest.records.is_empty() {
            let calls: usize = manifest.records.iter().map(|taken| taken.calls.len()).sum();
            writeln!(out, "calls          {calls} of {} files of records", manifest.records.len())?;
        }
        writeln!(out, "OK")
    }
}

/// A file made to trip its reader is named by the check of its segment.
fn read(
    segment: (u64, &Sealed, &bytes::Bytes),
    keys: &[NumbersKey],
    records: &BTreeSet<u64>,
    form: (bool, Language),
) -> BTreeMap<u64, Value> {
    unless_stumbling(|| records_of(segment, keys, records, form)).unwrap_or_default()
}

/// What a decision says otherwise than its record. Of a hidden number only the packer's word can be had.
fn changes(line: &Value, own: &Value) -> Vec<String> {
    const PLACE: [&str; 2] = ["segment", "record"];
    const NUMBERS: [&str; 4] = ["calling", "presentation", "called", "redirecting"];
    let (Some(line), Some(own)) = (line.as_object(), own.as_object()) else {
        return vec!["it is no object".to_owned()];
    };
    let names: BTreeSet<&String> = line.keys().chain(own.keys()).collect();
    let is_open = |name: &str, value: &Value| NUMBERS.contains(&name) && value == "encrypted";
    let changed = names.into_iter().filter(|name| {
        let (said, sealed) = (line.get(*name), own.get(*name));
        !PLACE.contains(&name.as_str())
            && said != sealed
            && !(said.is_some() && sealed.is_some_and(|sealed| is_open(name, sealed)))
    });
    changed
        .map(|name| {
            let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            format!("{name} is {}, {} was sealed", text(line.get(name)), text(own.get(name)))
        })
        .collect()
}

/// Packages of one journal against each other: whether each follows the one before, and none between them was left out.
pub fn follow(packages: &mut [Checked]) -> Vec<String> {
    packages.sort_by_key(|package| package.manifest.package);
    let mut findings = Vec::new();
    for pair in packages.windows(2) {
        let (before, after) = (&pair[0].manifest, &pair[1].manifest);
        if before.journal.id != after.journal.id {
            findings.push(format!("packages {} and {} are of two journals", before.package, after.package));
        } else if after.package > before.package + 1 {
            let (from, to) = (before.package + 1, after.package - 1);
            findings.push(format!("packages {from} to {to} are left out"));
        } else if after.previous.as_ref() != Some(&pair[0].hash) {
            findings.push(format!(
                "package {} does not follow package {}: one of them was replaced",
                after.package, before.package
            ));
        }
    }
    findings
}
