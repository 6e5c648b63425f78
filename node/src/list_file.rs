//! Files of lists: CSV is read, compact files are mapped into memory, and one is made of the other.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use bytes::Bytes;
use lists::{CompactError, List, ReadError, Stamp, Version};
use memmap2::{Advice, Mmap};
use numbering::Plan;
use screening::ListName;

use crate::records::Progress;

/// What a list is read by, besides its file.
#[derive(Clone, Copy)]
pub struct Reading<'p> {
    pub plan: &'p Plan,
    pub plan_version: Version,
    /// None for the set of a dedicated trunk.
    pub name: Option<ListName>,
}

impl Reading<'_> {
    /// What a compact file of such a list is stamped with: 1 where notes name rules, 0 where they are free text.
    pub fn stamp(&self) -> Stamp {
        Stamp { notes: u32::from(self.name == Some(ListName::Exempt)), plan: self.plan_version }
    }

    fn flags(&self, note: &str) -> Result<u32, String> {
        self.name.map_or(Ok(0), |name| name.flags(note))
    }
}

/// Why a file gave no list.
#[derive(Debug)]
pub enum Refused {
    Io(io::Error),
    Csv(ReadError),
    Compact(CompactError),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Io(error)
    }
}

/// Reads a list from CSV, or opens its compact file: the file says which it is.
pub fn read(path: &Path, reading: &Reading, progress: &mut dyn Progress) -> Result<List, Refused> {
    let mut file = File::open(path)?;
    let mut beginning = Vec::new();
    (&mut file).take(8).read_to_end(&mut beginning)?;
    if List::is_compact(&beginning) {
        return List::open(map(&file)?, &reading.stamp()).map_err(Refused::Compact);
    }
    progress.total(file.metadata()?.len());
    let told = Told { file: beginning.chain(file), done: 0, progress };
    List::read(told, reading.plan, |note| reading.flags(note)).map_err(Refused::Csv)
}

/// The file in memory, as pages of it are touched.
fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: compact files are replaced by renaming and never written in place (docs/lists.md). Where one is all the
    // same, reading it gives other bytes, which `lists` takes any of; where it is cut short, the process is killed.
    let map = unsafe { Mmap::map(file)? };
    // Hints: huge pages need a kernel that has them for files, and all of the file is wanted soon.
    let _ = map.advise(Advice::HugePage);
    let _ = map.advise(Advice::PopulateRead);
    Ok(Bytes::from_owner(map))
}

/// Writes the compact file of a list: a draft, made durable, then renamed, so that nobody sees half of it.
pub fn pack(list: &List, stamp: &Stamp, path: &Path) -> io::Result<()> {
    let draft = path.with_added_extension("draft");
    let write = || -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&draft)?);
        for part in list.pack(stamp) {
            file.write_all(&part)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&draft, path)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}

/// A file that says how far it was read.
struct Told<'p, F> {
    file: F,
    done: u64,
    progress: &'p mut dyn Progress,
}

impl<F: Read> Read for Told<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        self.done += n as u64;
        self.progress.done(self.done);
        Ok(n)
    }
}

/// Nobody looks.
pub struct Untold;

impl Progress for Untold {
    fn total(&mut self, _: u64) {}
    fn done(&mut self, _: u64) {}
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Io(error) => f.write_str(&crate::config::explain_io(error)),
            Refused::Csv(error) => error.fmt(f),
            Refused::Compact(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}
