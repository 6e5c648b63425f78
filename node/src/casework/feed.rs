//! Back to the front: a phone that a head confirmed stands on the block list within seconds, and what he took back is off it; and the
//! loan gate knows whom it called before it stood there, and every identifier that he confirmed.
//!
//! The list's file is the operator's. Lines whose owner is `register` are ours and are kept as the confirmations are; all others
//! stay as they stand. A number that is public stands on no list, whoever confirmed it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::casework::{Identifier, IdentifierKind};
use ::lists::List;
use numbering::Number;
use screening::ListName;

use super::office::Office;
use crate::config::{Casework as Settings, Setup, explain_io};
use crate::list_file::{self, Reading, Untold};
use crate::loans::Suspects;
use crate::store::bases::write_whole;
use crate::store::now_ms;
use crate::store::stand_back;

/// Between looks for news.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// The list that is fed.
pub const FED: ListName = ListName::Block;
/// As the owner of our lines.
const OWNER: &str = "register";
const HEAD: [&str; 4] = ["number", "owner", "expires", "note"];

/// A list with the register's numbers in it, to be put in force.
pub struct Fed {
    pub path: PathBuf,
    pub list: Arc<List>,
    /// Numbers of the register that stand on it.
    pub numbers: usize,
}

/// Where lists wait for the node.
pub type Waiting = Arc<Mutex<Vec<Fed>>>;

/// What was confirmed so far.
pub(super) struct Feed {
    waiting: Waiting,
    suspects: Option<Arc<Suspects>>,
    /// The last confirmation that was looked at.
    n: i64,
    /// Numbers, and by which confirmation.
    confirmed: BTreeMap<Number, i64>,
    has_news: bool,
    fault: String,
}

impl Feed {
    pub(super) fn new(waiting: Waiting, suspects: Option<Arc<Suspects>>) -> Feed {
        Feed { waiting, suspects, n: 0, confirmed: BTreeMap::new(), has_news: true, fault: String::new() }
    }

    /// Looks once for news, and passes them on.
    pub(super) async fn look(&mut self, office: &Office) {
        let setup = office.setup.load_full();
        let Some(settings) = &setup.casework else { return };
        if settings.feed.is_none() && self.suspects.is_none() {
            return;
        }
        match self.pass_on(office, &setup, settings).await {
            Ok(()) => {
                self.fault.clear();
                office.counts.fed_ms.store(now_ms(), Ordering::Relaxed);
            }
            Err(fault) if fault != self.fault => {
                (office.log)(&format!(
                    "casework: confirmed numbers do not reach the front: {fault}; it is tried again"
                ));
                self.fault = fault;
            }
            Err(_) => {}
        }
    }

    async fn pass_on(
        &mut self,
        office: &Office,
        setup: &Arc<Setup>,
        settings: &Settings,
    ) -> Result<(), String> {
        // All of it, before anybody takes it for all: where the store fails in the middle it is read anew.
        let (mut n, mut news) = (self.n, Vec::new());
        loop {
            let since = office.store.confirmed_since(&settings.vault, n).await;
            let since = since.map_err(|fault| fault.to_string())?;
            let Some(last) = since.last() else { break };
            n = last.n;
            news.extend(since);
        }
        self.n = n;
        let (mut added, mut taken_back) = (Vec::new(), Vec::new());
        for one in news.iter().filter(|one| one.identifier.kind() == IdentifierKind::Phone) {
            let Ok(number) = Number::parse(one.identifier.reveal()) else { continue };
            self.has_news = true;
            if one.is_confirmed {
                self.confirmed.insert(number, one.n);
                added.push((number, one.at_ms));
            } else {
                self.confirmed.remove(&number);
                taken_back.push((number, one.at_ms));
            }
        }
        if let Some(suspects) = self.suspects.clone() {
            suspects.judge_identifiers(news.into_iter().map(|one| (one.identifier, one.is_confirmed)));
            // What was said of a number last is what counts.
            added.retain(|(number, _)| self.confirmed.contains_key(number));
            taken_back.retain(|(number, _)| !self.confirmed.contains_key(number));
            if !added.is_empty() || !taken_back.is_empty() {
                let journal = setup.journal.clone();
                let told = tokio::task::spawn_blocking(move || {
                    stand_back();
                    suspects.judge_callers(&journal, now_ms(), &added, &taken_back)
                });
                if let Err(what) =
                    told.await.map_err(|_| "reading the journal stumbled".to_owned()).and_then(|told| told)
                {
                    (office.log)(&format!(
                        "casework: whom confirmed numbers called before is not known to the loan gate: {what}"
                    ));
                }
            }
        }
        let Some(path) = settings.feed.clone().filter(|_| self.has_news) else { return Ok(()) };
        let (confirmed, public, setup) = (self.confirmed.clone(), settings.public.clone(), setup.clone());
        let written = tokio::task::spawn_blocking(move || {
            stand_back();
            written(&path, &confirmed, &public, &setup)
        });
        let fed = written.await.map_err(|_| "writing the list stumbled".to_owned())??;
        self.has_news = false;
        if let Some(fed) = fed {
            self.waiting.lock().expect("no panic inside").push(fed);
        }
        Ok(())
    }
}

/// Writes the list's file anew and reads it; none: it stands as it should.
fn written(
    path: &Path,
    confirmed: &BTreeMap<Number, i64>,
    public: &[Identifier],
    setup: &Setup,
) -> Result<Option<Fed>, String> {
    let at = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let before = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(at(&explain_io(&error))),
    };
    if List::is_compact(&before) {
        return Err(at(&"it is a compact file: name one of CSV in [lists]"));
    }
    let is_public = |number: &String| {
        public.iter().any(|public| public.kind() == IdentifierKind::Phone && public.reveal() == number)
    };
    let ours: BTreeMap<String, i64> = confirmed
        .iter()
        .map(|(number, n)| (number.reveal().to_string(), *n))
        .filter(|(number, _)| !is_public(number))
        .collect();
    let after = merged(&before, &ours).map_err(|error| at(&error))?;
    let is_in_force =
        setup.policy.list(FED).is_some_and(|list| list.version() == ::lists::Version::of(&after));
    if after == before && is_in_force {
        return Ok(None);
    }
    if after != before {
        write_whole(path, &after).map_err(|error| at(&explain_io(&error)))?;
    }
    let reading = Reading { plan: &setup.policy.plan, plan_version: setup.plan_version, name: Some(FED) };
    let list = list_file::read(path, &reading, &mut Untold).map_err(|refused| at(&refused))?;
    Ok(Some(Fed { path: path.to_owned(), list: Arc::new(list), numbers: ours.len() }))
}

/// A list's file with our numbers in it. What others wrote stays as it is, also where it is no line of a list.
fn merged(before: &[u8], ours: &BTreeMap<String, i64>) -> Result<Vec<u8>, csv::Error> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(before);
    let mut head = reader.byte_headers()?.clone();
    if head.is_empty() {
        HEAD.iter().for_each(|name| head.push_field(name.as_bytes()));
    }
    let place = |name: &str| head.iter().position(|column| column.trim_ascii() == name.as_bytes());
    let owner = place("owner");
    let mut after = csv::Writer::from_writer(Vec::new());
    after.write_byte_record(&head)?;
    for record in reader.byte_records() {
        let record = record?;
        if owner
            .and_then(|owner| record.get(owner))
            .is_none_or(|owner| owner.trim_ascii() != OWNER.as_bytes())
        {
            after.write_byte_record(&record)?;
        }
    }
    for (number, n) in ours {
        let cell = |column: &[u8]| match column.trim_ascii() {
            b"number" => number.clone(),
            b"owner" => OWNER.to_owned(),
            b"note" => format!("confirmation {n}"),
            _ => String::new(),
        };
        after.write_record(head.iter().map(cell))?;
    }
    after.into_inner().map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_lines_stay_and_ours_follow_the_confirmations() {
        let of = |before: &str, ours: &[(&str, i64)]| {
            let after = merged(
                before.as_bytes(),
                &ours.iter().map(|(number, n)| ((*number).to_owned(), *n)).collect(),
            )
            .unwrap();
            String::from_utf8(after).unwrap()
        };
        let empty = of("", &[("+77011234567", 3)]);
        assert_eq!(empty, "number,owner,expires,note\n+77011234567,register,,confirmation 3\n");
        let own = "note,number,more,owner,expires\n\"a, \"\"b\"\"\",+14155550101,x,Fraud desk,2027-01-01\n";
        let both = of(own, &[("+77011234567", 3)]);
        assert_eq!(both, format!("{own}confirmation 3,+77011234567,,register,\n"));
        assert_eq!(of(&both, &[]), own, "taken back");
        assert_eq!(of(&both, &[("+77011234567", 3)]), both);
    }
}
