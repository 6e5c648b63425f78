//! What verdicts stood on, in files of their own, and the names of trunks in them.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::Record;
use screening::Basis;

use super::keys::sync_directory;
use crate::door::UNKNOWN_SOURCE;

pub fn write_basis(directory: &Path, basis: &Basis) -> io::Result<()> {
    let path = basis_path(directory, basis.id());
    if path.exists() {
        return Ok(());
    }
    write_whole(&path, &serde_json::to_vec_pretty(basis)?)?;
    sync_directory(directory)
}

/// Writes a file that is there whole or not at all; only its owner may read it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(draft, path)
}

fn basis_path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("basis-{id:016x}.json"))
}

/// The basis that records of a journal name.
pub fn read_basis(directory: &Path, id: u64) -> Option<Basis> {
    serde_json::from_slice(&fs::read(basis_path(directory, id)).ok()?).ok()
}

/// Names of trunks, by basis and index.
pub struct TrunkNames {
    directory: PathBuf,
    by_basis: HashMap<u64, Vec<Arc<str>>>,
    unknown_source: Arc<str>,
}

impl TrunkNames {
    pub fn new(directory: PathBuf) -> TrunkNames {
        TrunkNames { directory, by_basis: HashMap::new(), unknown_source: "unknown-source".into() }
    }

    /// `#3` where the basis is not there.
    pub fn of(&mut self, record: &Record) -> Arc<str> {
        let trunk = record.call.trunk;
        if trunk == UNKNOWN_SOURCE {
            return self.unknown_source.clone();
        }
        let directory = &self.directory;
        let names = self.by_basis.entry(record.basis).or_insert_with(|| {
            let basis = read_basis(directory, record.basis);
            basis.map_or(Vec::new(), |basis| basis.trunks.iter().map(|name| name.as_str().into()).collect())
        });
        names.get(usize::from(trunk.0)).cloned().unwrap_or_else(|| format!("#{}", trunk.0).into())
    }
}
