//! `[casework]`: the investigators' register, its store, keys and clients (docs/casework.md).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::casework::{Identifier, Weights, WorkDays, read_public};
use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};
use lending::{Rulebook, Vault};
use numbering::Plan;
use screening::ListName;
use serde::Deserialize;
use toml::Spanned;

use super::file::ConfigFile;
use super::nats::NatsTable;
use super::{Reader, explain_io};
use crate::casework::{Clients, FED};
use crate::clients::Issuer;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CaseworkTable {
    #[serde(default = "case_db")]
    pub store: Spanned<String>,
    pub keys: Spanned<String>,
    pub clients: Spanned<PathBuf>,
    #[serde(default = "super::loans::kz")]
    pub rulebook: Spanned<String>,
    pub public: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub links: Weights,
    #[serde(default = "saturday_and_sunday")]
    pub weekend: Vec<Spanned<String>>,
    #[serde(default)]
    pub holidays: Vec<Spanned<String>>,
    pub request_days: Option<Spanned<u64>>,
    pub import_mb: Option<Spanned<u64>>,
    pub keep_looks_days: Option<Spanned<u64>>,
    pub feed_list: Option<Spanned<ListName>>,
}

fn case_db() -> Spanned<String> {
    Spanned::new(0..0, "case.db".to_owned())
}

fn saturday_and_sunday() -> Vec<Spanned<String>> {
    ["saturday", "sunday"].map(|day| Spanned::new(0..0, day.to_owned())).into()
}

/// The register as it is configured.
pub struct Casework {
    /// A file of SQLite, or `postgres://…`.
    pub store: String,
    pub vault: Arc<Vault>,
    pub clients: Clients,
    /// Its plan, IIN rule and clock are what facts are read by.
    pub plan: Arc<Plan>,
    pub rulebook: Rulebook,
    pub days: WorkDays,
    pub public: Vec<Identifier>,
    pub weights: Weights,
    /// Working days that an operator or a bank has to answer.
    pub request_days: u32,
    /// The longest file of facts by HTTP, bytes.
    pub import_bytes: usize,
    /// None: looks are kept for good.
    pub keep_looks_ms: Option<i64>,
    /// The list's file that confirmed numbers are written to; none: they reach no list.
    pub feed: Option<PathBuf>,
}

impl Issuer for Casework {
    fn scopes(&self, id: &str, secret: &str) -> Option<Vec<&'static str>> {
        self.clients.with_secret(id, secret).map(|_| vec![crate::casework::SCOPE])
    }

    fn vault(&self) -> &Vault {
        &self.vault
    }
}

fn weekday(name: &str) -> Option<Weekday> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let place = NAMES.iter().position(|known| *known == name)?;
    Weekday::from_monday_zero_offset(place as i8).ok()
}

impl Reader<'_> {
    pub(super) fn casework(&mut self, file: &ConfigFile, utc_offset_min: i32) -> Option<Casework> {
        let table = file.casework.as_ref()?;
        let feed = self.feed(table, file);
        let vault = self.vault(&table.keys);
        let store = self.store_place(&table.store);
        let clients = self.client_file(&table.clients, Clients::read);
        let rulebook = self.rulebook(&table.rulebook);
        let public = table.public.as_ref().map_or(Some(Vec::new()), |path| self.public(path));
        let zone = Offset::from_seconds(utc_offset_min * 60).map(TimeZone::fixed).unwrap_or(TimeZone::UTC);
        let weekend: Vec<Option<Weekday>> = table
            .weekend
            .iter()
            .map(|day| {
                let what =
                    || (day.span(), format!("weekend: no day \"{}\": monday to sunday", day.get_ref()));
                let found = weekday(day.get_ref()).ok_or_else(what);
                self.told(found)
            })
            .collect();
        let holidays: Vec<Option<Date>> = table
            .holidays
            .iter()
            .map(|day| {
                let what = |_| {
                    (day.span(), format!("holidays: \"{}\" is no day, such as 2026-12-16", day.get_ref()))
                };
                let read = day.get_ref().parse::<Date>().map_err(what);
                self.told(read)
            })
            .collect();
        let request_days = self.bounded("request-days", table.request_days.as_ref(), 3, 1..=60);
        let import_mb = self.bounded("import-mb", table.import_mb.as_ref(), 64, 1..=1024);
        let keep_looks = table.keep_looks_days.as_ref();
        let keep_looks = keep_looks.map(|days| self.bounded("keep-looks-days", Some(days), 365, 30..=36_500));
        Some(Casework {
            store: store?,
            vault: Arc::new(vault?),
            clients: clients?,
            plan: self.plan.clone(),
            rulebook: rulebook?,
            days: WorkDays {
                zone,
                weekend: weekend.into_iter().collect::<Option<_>>()?,
                holidays: holidays.into_iter().collect::<Option<BTreeSet<Date>>>()?,
            },
            public: public?,
            weights: table.links.clone(),
            request_days: request_days as u32,
            import_bytes: import_mb as usize * 1024 * 1024,
            keep_looks_ms: keep_looks.map(|days| days as i64 * 86_400_000),
            feed,
        })
    }

    /// Where the list that is fed has its file.
    fn feed(&mut self, table: &CaseworkTable, file: &ConfigFile) -> Option<PathBuf> {
        let name = table.feed_list.as_ref()?;
        let follows = |nats: &NatsTable| nats.follow_lists.iter().any(|list| *list.get_ref() == FED);
        let what = match file.lists.get(&FED) {
            _ if *name.get_ref() != FED => "feed-list: confirmed numbers go to the list block, to no other",
            None => "feed-list: name a file for it: [lists] block = \"lists/block.csv\"",
            Some(_) if file.nats.as_ref().is_some_and(follows) => {
                "feed-list: [nats] follows the same list, and one would undo the other"
            }
            Some(path) => return Some(self.base.join(path.get_ref())),
        };
        self.faults.at(Some(name.span()), what);
        None
    }

    fn public(&mut self, path: &Spanned<PathBuf>) -> Option<Vec<Identifier>> {
        let full = self.base.join(path.get_ref());
        let text = std::fs::read_to_string(&full);
        let text = text.map_err(|error| (path.span(), format!("{}: {}", full.display(), explain_io(&error))));
        match read_public(&self.told(text)?, &self.plan) {
            Ok(public) => Some(public),
            Err(lines) => {
                for (line, what) in lines {
                    self.faults.elsewhere(&full.display().to_string(), line, &what.to_string());
                }
                None
            }
        }
    }
}

/// Whether a list's file that is not there yet is no fault: the register makes it.
pub(super) fn is_to_come(table: Option<&CaseworkTable>, name: ListName, path: &Path) -> bool {
    let feeds = |table: &CaseworkTable| table.feed_list.as_ref().is_some_and(|fed| *fed.get_ref() == name);
    table.is_some_and(feeds) && !path.exists()
}
