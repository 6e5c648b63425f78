//! The chain of seals, read back with nothing but the first public key: what stands, and every fault by its name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::check::file_hash;
use crate::seal::{Parsed, parse};
use crate::{Entry, Event, PublicKey, Sealed};

/// Something wrong with a journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The entry it is about; none: the journal as a whole.
    pub n: Option<u64>,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.n {
            Some(n) => write!(f, "segment {n}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// The entries that are signed by who may sign them, by number.
pub struct Chain {
    pub entries: BTreeMap<u64, Entry>,
    hashes: BTreeMap<u64, String>,
    pub findings: Vec<Finding>,
}

/// A seal and the number its name has.
pub type SealFile = (u64, Vec<u8>);

struct Doc {
    named: u64,
    hash: String,
    parsed: Parsed,
}

impl Chain {
    /// Checks seals in the order of their names: signatures, names, links. `first` is the key that began the journal.
    pub fn read(files: Vec<SealFile>, first: PublicKey, head: Option<&str>) -> Chain {
        let mut chain = Chain { entries: BTreeMap::new(), hashes: BTreeMap::new(), findings: Vec::new() };
        let last = files.iter().map(|(n, _)| *n).max();
        let named: std::collections::BTreeSet<u64> = files.iter().map(|(n, _)| *n).collect();
        let mut docs = Vec::new();
        for (named, file) in files {
            match parse(&file) {
                Ok(parsed) => docs.push(Doc { named, hash: file_hash(&file), parsed }),
                Err(what) => chain.find(named, format!("the seal is damaged: {what}")),
            }
        }
        docs.sort_by_key(|doc| (doc.parsed.entry.n, doc.named != doc.parsed.entry.n));
        chain.admit(docs, first);
        if let Some(last) = last {
            let gone: Vec<u64> = (0..=last).filter(|n| !named.contains(n)).collect();
            for n in gone {
                chain.find(n, "the seal is missing".to_owned());
            }
        }
        chain.links();
        if let Some(head) = head
            && !chain.hashes.values().any(|hash| hash == head)
        {
            let what = format!(
                "the head {head} is not in the chain: its end was cut off, or it is another journal's"
            );
            chain.findings.push(Finding { n: None, what });
        }
        chain.findings.sort_by_key(|finding| finding.n.unwrap_or(u64::MAX));
        chain
    }

    fn find(&mut self, n: u64, what: String) {
        self.findings.push(Finding { n: Some(n), what });
    }

    /// Takes up what is signed by the key in force at its place.
    fn admit(&mut self, docs: Vec<Doc>, first: PublicKey) {
        let mut key = first;
        let mut retired: HashMap<String, u64> = HashMap::new();
        for Doc { named, hash, parsed } in docs {
            let n = parsed.entry.n;
            if parsed.jws.key_id != key.id() {
                let what = match retired.get(&parsed.jws.key_id) {
                    Some(at) => format!(
                        "the seal is signed by key {}, which was replaced in entry {at}",
                        parsed.jws.key_id
                    ),
                    None => format!(
                        "the seal is signed by an unknown key {}: {} is expected",
                        parsed.jws.key_id,
                        key.id()
                    ),
                };
                self.find(named, what);
                continue;
            }
            if !parsed.jws.is_signed_by(key) {
                self.find(named, format!("the seal is forged: key {} did not sign it", parsed.jws.key_id));
                continue;
            }
            if named != n {
                let what = format!(
                    "the seal is that of segment {n} under another name: swapped, or an older one replayed"
                );
                self.find(named, what);
            }
            if self.entries.contains_key(&n) {
                continue;
            }
            if let Event::Rotation { key: next } = parsed.entry.event {
                retired.insert(key.id(), n);
                key = next;
            }
            self.hashes.insert(n, hash);
            self.entries.insert(n, parsed.entry);
        }
    }

    fn links(&mut self) {
        let mut found = Vec::new();
        let journal = self.entries.values().next().map(|entry| entry.journal.clone()).unwrap_or_default();
        for (&n, entry) in &self.entries {
            if entry.journal != journal {
                found.push((n, format!("the seal belongs to another journal, {}", entry.journal)));
            }
            let before = n.checked_sub(1).and_then(|n| self.hashes.get(&n));
            if before.is_some_and(|hash| *hash != entry.previous) {
                found.push((
                    n,
                    format!("the seal does not follow that of {}: one of them was replaced", n - 1),
                ));
            }
            if (n == 0) != matches!(entry.event, Event::Start { .. }) {
                found.push((n, "a journal begins with entry 0 and only there".to_owned()));
            }
        }
        for (n, what) in found {
            self.find(n, what);
        }
    }

    pub fn segments(&self) -> impl Iterator<Item = (u64, &Sealed)> {
        self.entries.iter().filter_map(|(&n, entry)| Some((n, entry.segment()?)))
    }

    /// Segments that retention entries say were deleted. A deletion before its time is a finding.
    pub fn removed(&mut self) -> std::collections::BTreeSet<u64> {
        let mut removed = std::collections::BTreeSet::new();
        let mut found = Vec::new();
        for (&at, entry) in &self.entries {
            let Event::Retention(event) = &entry.event else { continue };
            for n in event.entries.iter().flat_map(|&(from, to)| from..=to.min(at)) {
                let Some(sealed) = self.entries.get(&n).and_then(Entry::segment) else { continue };
                if sealed.last_ms.is_some_and(|last| last >= event.before_ms) {
                    found.push((n, format!("entry {at} deleted it before its time")));
                }
                removed.insert(n);
            }
        }
        for (n, what) in found {
            self.find(n, what);
        }
        removed
    }

    /// The key that signs after the last entry.
    pub fn key(&self) -> Option<PublicKey> {
        self.entries.values().rev().find_map(|entry| match entry.event {
            Event::Start { key } | Event::Rotation { key } => Some(key),
            _ => None,
        })
    }

    /// The SHA-256 of the last seal's file: who keeps it can see a cut-off end later.
    pub fn head(&self) -> Option<&str> {
        self.hashes.values().next_back().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Removed, SigningKey};

    fn keys() -> [SigningKey; 2] {
        [SigningKey::new([1; 32]), SigningKey::new([2; 32])]
    }

    /// Start, retention, rotation, then entries signed by the second key.
    fn chain() -> Vec<SealFile> {
        let [first, second] = keys();
        let retention = || Event::Retention(Removed { keep_days: 30, before_ms: 0, entries: Vec::new() });
        let events = [
            Event::Start { key: first.public() },
            retention(),
            Event::Rotation { key: second.public() },
            retention(),
            retention(),
        ];
        let mut files: Vec<SealFile> = Vec::new();
        for (n, event) in events.into_iter().enumerate() {
            let previous = files.last().map_or(String::new(), |(_, file)| file_hash(file));
            let key = if n <= 2 { &first } else { &second };
            files.push((n as u64, Entry::new("j", n as u64, previous, 5, event).sign(key).into_bytes()));
        }
        files
    }

    fn findings(files: Vec<SealFile>) -> Vec<String> {
        let [first, _] = keys();
        Chain::read(files, first.public(), None).findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn follows_keys_from_the_first() {
        assert_eq!(findings(chain()), [""; 0]);
        let [first, second] = keys();
        let read = Chain::read(chain(), first.public(), None);
        assert_eq!(read.head(), Some(file_hash(&chain()[4].1).as_str()));
        let stranger = Chain::read(chain(), second.public(), None);
        assert!(stranger.findings[0].to_string().contains("unknown key"));
    }

    #[test]
    fn names_every_way_a_chain_is_broken() {
        let after = |change: &dyn Fn(&mut Vec<SealFile>)| {
            let mut files = chain();
            change(&mut files);
            findings(files)
        };
        assert_eq!(after(&|files| drop(files.remove(1))), ["segment 1: the seal is missing"]);
        let swapped = after(&|files| {
            files[3].0 = 4;
            files[4].0 = 3;
        });
        assert!(
            swapped.len() == 2 && swapped.iter().all(|what| what.contains("under another name")),
            "{swapped:?}"
        );
        let replayed = after(&|files| files[4].1 = files[3].1.clone());
        assert!(
            replayed[0].starts_with("segment 4: the seal is that of segment 3 under another name"),
            "{replayed:?}"
        );
        let forged = after(&|files| {
            let at = files[3].1.len() - 10;
            files[3].1[at] = if files[3].1[at] == b'A' { b'B' } else { b'A' };
        });
        assert!(forged[0].starts_with("segment 3: the seal is forged"), "{forged:?}");
        let cut = after(&|files| files[3].1.truncate(40));
        assert!(cut[0].starts_with("segment 3: the seal is damaged: not a JWS"), "{cut:?}");
        let [first, _] = keys();
        let late = after(&|files| {
            let mut entry = Entry::read(&files[4].1).unwrap();
            entry.sealed_ms = 6;
            files[4].1 = entry.sign(&first).into_bytes();
        });
        assert!(late[0].contains("which was replaced in entry 2"), "{late:?}");
    }

    #[test]
    fn a_fork_by_who_has_the_key_breaks_the_link() {
        let [_, second] = keys();
        let mut files = chain();
        let mut entry = Entry::read(&files[3].1).unwrap();
        entry.sealed_ms = 6;
        files[3].1 = entry.sign(&second).into_bytes();
        assert_eq!(
            findings(files),
            ["segment 4: the seal does not follow that of 3: one of them was replaced"]
        );
    }

    #[test]
    fn a_noted_head_shows_a_cut_off_end() {
        let [first, _] = keys();
        let head = file_hash(&chain()[4].1);
        let read = |files| Chain::read(files, first.public(), Some(&head)).findings;
        assert!(read(chain()).is_empty());
        assert!(read(chain()[..4].to_vec())[0].to_string().contains("its end was cut off"));
    }
}
