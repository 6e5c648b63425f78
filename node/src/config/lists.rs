//! The lists that a configuration names: CSV or compact files under the same keys.

use std::path::PathBuf;
use std::sync::Arc;

use lists::{List, ReadError};
use screening::ListName;

use super::{Faults, ListFile, Reader, explain_io};
use crate::list_file::{self, Reading, Refused, Untold};

impl Reader<'_> {
    /// `shown` names the list; `name` is its key in `[lists]`, none for the set of a trunk.
    pub(super) fn list(
        &mut self,
        shown: &str,
        name: Option<ListName>,
        path: &toml::Spanned<PathBuf>,
    ) -> Option<Arc<List>> {
        let full = self.base.join(path.get_ref());
        let reading = Reading { plan: &self.plan, plan_version: self.plan_version, name };
        match list_file::read(&full, &reading, &mut Untold) {
            Ok(list) => {
                let list = Arc::new(list);
                self.files.push(ListFile { name: shown.to_owned(), path: full, list: list.clone() });
                Some(list)
            }
            Err(Refused::Io(error)) => {
                let what = format!("list {}: {}", path.get_ref().display(), explain_io(&error));
                self.faults.at(Some(path.span()), &what);
                None
            }
            Err(refused) => {
                list_faults(&mut self.faults, &full.display().to_string(), &refused);
                None
            }
        }
    }
}

/// Names what is wrong with a list's file, each bad line with its place.
pub fn list_faults(faults: &mut Faults, file: &str, refused: &Refused) {
    match refused {
        Refused::Csv(ReadError::BadLines(lines)) => {
            lines.iter().for_each(|bad| faults.elsewhere(file, bad.line, &bad.what));
        }
        Refused::Csv(error @ (ReadError::Empty | ReadError::MissingColumn(_))) => {
            faults.elsewhere(file, 1, error.to_string().trim_start_matches("line 1: "));
        }
        other => faults.elsewhere(file, 0, &other.to_string()),
    }
}
