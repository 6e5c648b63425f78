//! A journal as a reader sees it: segments by their seals, and logs that no seal names yet.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use journal::{Entry, Event, Hidden, Numbers, NumbersKey, Record, Sealed, SealedLog, from_hex};

use super::logs::{LogFile, Slots, log_name, logs};
use super::shelf::{Shelf, name, number};

pub struct Reading {
    logs: Vec<(PathBuf, LogFile, Option<SealedLog>)>,
    shelves: Vec<Shelf>,
    /// Segments and the shelf each lies on; none: its Parquet file is nowhere.
    pub segments: BTreeMap<u64, (Sealed, Option<usize>)>,
    /// What is not as it should be, in a line each.
    pub complaints: Vec<String>,
}

impl Reading {
    /// Opens the logs of a directory, then the seals: a log that is sealed meanwhile is in one of the two, and
    /// whoever is in both is read once.
    pub fn open(directory: Option<&Path>, shelves: Vec<Shelf>) -> io::Result<Reading> {
        let mut complaints = Vec::new();
        let mut open = Vec::new();
        for path in directory.map_or(Ok(Vec::new()), logs)? {
            match LogFile::open(&path) {
                Ok(file) => open.push((path, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => complaints.push(format!("{}: {error}", path.display())),
            }
        }
        let mut segments = BTreeMap::new();
        let mut removed: Vec<(u64, u64)> = Vec::new();
        for (at, shelf) in shelves.iter().enumerate() {
            let names = match shelf.names() {
                Ok(names) => names,
                // A journal that never sealed anything.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let has =
                |n: u64| names.binary_search_by(|(file, _)| file.as_str().cmp(&name(n, "parquet"))).is_ok();
            let seals: Vec<String> = names
                .iter()
                .map(|(name, _)| name)
                .filter(|name| number(name, "seal").is_some())
                .cloned()
                .collect();
            for (file, seal) in shelf.read_all(&seals)?.into_iter().zip(&seals) {
                match Entry::read(&file).map(|entry| entry.event) {
                    Ok(Event::Segment(sealed)) => {
                        let n = number(seal, "seal").expect("a seal's name");
                        let place = has(n).then_some(at);
                        let entry = segments.entry(n).or_insert((*sealed, None));
                        entry.1 = entry.1.or(place);
                    }
                    Ok(Event::Retention(event)) => removed.extend(event.entries),
                    Ok(_) => {}
                    Err(what) => complaints.push(format!("{}/{seal}: {what}", shelf.shown())),
                }
            }
        }
        segments.retain(|n, (_, place)| {
            place.is_some() || !removed.iter().any(|(from, to)| (from..=to).contains(&n))
        });
        let mut sealed: BTreeMap<&str, &SealedLog> = BTreeMap::new();
        for log in segments.values().flat_map(|(segment, _)| &segment.logs) {
            sealed.insert(&log.name, log);
        }
        let logs = open
            .into_iter()
            .map(|(path, file)| {
                let done = sealed.get(log_name(&path).as_str()).map(|log| (*log).clone());
                (path, file, done)
            })
            .filter(|(_, _, done)| done.as_ref().is_none_or(|done| !done.whole))
            .collect();
        Ok(Reading { logs, shelves, segments, complaints })
    }

    /// Hands over every record that is in no segment yet; whether its numbers are closed comes with it.
    pub fn logs(&mut self, keys: &[NumbersKey], mut each: impl FnMut(Record, bool)) {
        for (path, file, done) in &self.logs {
            let from = done.as_ref().map_or(0, |done| done.to);
            let closed = file.head().ok().flatten().is_some_and(|head| head.opening(keys).is_closed());
            match file.read(keys, from, u64::MAX, |record| each(record, closed)) {
                Ok(Slots { damaged, .. }) if damaged.is_empty() => {}
                Ok(Slots { damaged, .. }) => self.complaints.push(format!(
                    "{}: {} slots hold no whole record",
                    path.display(),
                    damaged.len()
                )),
                Err(error) => self.complaints.push(format!("{}: {error}", path.display())),
            }
        }
    }

    /// The Parquet file of a segment; none where it is missing, which is a complaint.
    pub fn segment(&mut self, n: u64) -> io::Result<Option<Bytes>> {
        let (sealed, place) = &self.segments[&n];
        match place {
            Some(place) => self.shelves[*place].read(&sealed.file).map(Some),
            None => {
                self.complaints.push(format!("segment {n}: {} is missing", sealed.file));
                Ok(None)
            }
        }
    }
}

/// How the numbers of a segment can be read with the keys at hand.
pub fn hidden(sealed: &Sealed, keys: &[NumbersKey]) -> Hidden {
    let key = sealed
        .numbers_key
        .as_deref()
        .and_then(from_hex::<8>)
        .and_then(|id| keys.iter().find(|key| key.id() == id));
    match (sealed.numbers, key) {
        (Numbers::Clear, _) => Hidden::Clear,
        (Numbers::Hashed, Some(key)) => Hidden::Hashed(Box::new(key.tokens())),
        (Numbers::Encrypted, Some(key)) => match sealed.numbers_nonce.as_deref().and_then(from_hex) {
            Some(nonce) => Hidden::Encrypted(Box::new(key.of_segment(nonce))),
            None => Hidden::Closed,
        },
        (_, None) => Hidden::Closed,
    }
}
