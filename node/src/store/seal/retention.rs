//! Old segments: deleted once the chain says that they are, so that a deletion can be told from a loss.

use std::collections::BTreeMap;
use std::io;

use journal::{Entry, Event, Removed};

use super::Sealer;
use crate::store::shelf::{Shelf, name, number};
use crate::store::upload::Upload;

impl Sealer {
    /// Deletes segments that are older than they are kept, once the chain says so.
    pub(super) fn sweep(&mut self, keep_days: u32, now_ms: i64) -> Result<(), String> {
        let before_ms = now_ms - i64::from(keep_days) * 86_400_000;
        if self.kept.is_none() {
            self.kept = Some(self.look_for_segments()?);
        }
        let kept = self.kept.as_ref().expect("looked for");
        let old: Vec<u64> = kept.iter().filter(|(_, last)| **last < before_ms).map(|(&n, _)| n).collect();
        if old.is_empty() {
            return Ok(());
        }
        let mut entries: Vec<(u64, u64)> = Vec::new();
        for &n in &old {
            match entries.last_mut() {
                Some((_, to)) if *to + 1 == n => *to = n,
                _ => entries.push((n, n)),
            }
        }
        self.add(Event::Retention(Removed { keep_days, before_ms, entries }), now_ms)?;
        for n in old.iter().copied() {
            let file = name(n, "parquet");
            let local = Shelf::Directory(self.segments.clone());
            for shelf in [Some(&local), self.upload.as_ref().map(Upload::shelf)].into_iter().flatten() {
                match shelf.remove(&file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(format!("{file}: {error}"));
                    }
                    _ => {}
                }
            }
            self.kept.as_mut().expect("looked for").remove(&n);
        }
        self.news.push(format!("journal: {} segments older than {keep_days} days are deleted", old.len()));
        Ok(())
    }

    fn look_for_segments(&self) -> Result<BTreeMap<u64, i64>, String> {
        let mut kept = BTreeMap::new();
        let local = Shelf::Directory(self.segments.clone());
        for shelf in [Some(&local), self.upload.as_ref().map(Upload::shelf)].into_iter().flatten() {
            let place = |error: io::Error| format!("{}: {error}", shelf.shown());
            let names = shelf.names().map_err(place)?;
            let there: Vec<u64> = names.iter().filter_map(|(name, _)| number(name, "parquet")).collect();
            let has_seal = |n: &u64| names.iter().any(|(file, _)| number(file, "seal") == Some(*n));
            let seals: Vec<String> = there.iter().filter(|n| has_seal(n)).map(|&n| name(n, "seal")).collect();
            for file in shelf.read_all(&seals).map_err(place)? {
                // Damaged seals are for `journal verify` to name; what they sealed is not deleted.
                let Ok(entry) = Entry::read(&file) else { continue };
                if let Some(last) = entry.segment().and_then(|sealed| sealed.last_ms) {
                    kept.insert(entry.n, last);
                }
            }
        }
        Ok(kept)
    }
}
