//! Carries sealed segments to a store: put there, read back, and only then removed here. The last seal stays.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;

use super::shelf::{Bucket, Shelf, name, number};

pub struct Upload {
    shelf: Shelf,
}

impl Upload {
    pub fn open(url: &str) -> Result<Upload, String> {
        Ok(Upload { shelf: Shelf::open(url)? })
    }

    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    fn bucket(&self) -> Result<&Bucket, String> {
        match &self.shelf {
            Shelf::Bucket(bucket) => Ok(bucket),
            Shelf::Directory(path) => Err(format!("{}: not a store", path.display())),
        }
    }

    /// Carries what is sealed, in the order of the chain.
    pub fn round(&mut self, segments: &Path, news: &mut Vec<String>) -> Result<(), String> {
        let here = Shelf::Directory(segments.to_owned());
        let names = here.names().map_err(|error| format!("{}: {error}", segments.display()))?;
        let seals: Vec<u64> = names.iter().filter_map(|(name, _)| number(name, "seal")).collect();
        let Some((&last, before)) = seals.split_last() else { return Ok(()) };
        let is_waiting = |n: u64| !segments.join(name(n, "carried")).exists();
        for n in before.iter().copied().chain(Some(last).filter(|&last| is_waiting(last))) {
            if self.carry(segments, n, n == last).map_err(|error| error.to_string())? {
                news.push(format!("journal: segment {n} is carried to {}", self.shelf.shown()));
            }
        }
        Ok(())
    }

    /// Whether there was anything to put there.
    fn carry(&self, segments: &Path, n: u64, is_last: bool) -> io::Result<bool> {
        let bucket = self.bucket().map_err(io::Error::other)?;
        let mark = segments.join(name(n, "carried"));
        let is_new = !mark.exists();
        if is_new {
            // The seal goes last: a segment counts once it is there.
            for file in [name(n, "parquet"), name(n, "seal")] {
                match fs::read(segments.join(&file)) {
                    Ok(bytes) => bucket.put(&file, &Bytes::from(bytes))?,
                    // An entry without a segment, or one that was kept for its days already.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            fs::write(&mark, "")?;
        }
        match fs::remove_file(segments.join(name(n, "parquet"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The next entry follows the last seal: that one stays until there is a next.
        if !is_last {
            fs::remove_file(segments.join(name(n, "seal")))?;
            fs::remove_file(mark)?;
        }
        Ok(is_new)
    }
}
