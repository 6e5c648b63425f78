//! `[loans]`: the loan gate, its store, keys and clients (docs/lending.md).

use std::path::PathBuf;
use std::sync::Arc;

use ::journal::SigningKey;
use lending::{Asked, Rulebook, Vault, Words};
use rules::Language;
use serde::Deserialize;
use toml::Spanned;

use super::{Reader, explain_io};
use crate::loans::Clients;
use crate::tls::read_secret;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LoansTable {
    #[serde(default = "loans_db")]
    pub store: Spanned<String>,
    pub keys: Spanned<String>,
    pub signing_key: Spanned<PathBuf>,
    pub clients: Spanned<PathBuf>,
    #[serde(default = "kz")]
    pub rulebook: Spanned<String>,
    pub sms_spool: Spanned<PathBuf>,
    #[serde(default)]
    pub phone_freshness: Gate,
    #[serde(default)]
    pub living_face: Gate,
    pub keep_days: Option<Spanned<u64>>,
}

fn loans_db() -> Spanned<String> {
    Spanned::new(0..0, "loans.db".to_owned())
}

fn kz() -> Spanned<String> {
    Spanned::new(0..0, "kz".to_owned())
}

/// Whether a gate is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    #[default]
    Off,
    Required,
}

/// The loan gate as it is configured.
pub struct Loans {
    /// A file of SQLite, or `postgres://…`.
    pub store: String,
    pub vault: Arc<Vault>,
    pub signing: SigningKey,
    pub clients: Clients,
    pub rulebook: Rulebook,
    words: [Words; 3],
    pub sms_spool: PathBuf,
    pub asked: Asked,
    pub keep_days: u64,
}

impl Loans {
    pub fn words(&self, language: Language) -> &Words {
        &self.words[language as usize]
    }
}

/// The shipped rulebook.
pub const KZ: &str = include_str!("../../../rulebook/loans/kz.toml");

fn words() -> [Words; 3] {
    // In the order of `Language`.
    [
        include_str!("../../../rulebook/loans/kk.toml"),
        include_str!("../../../rulebook/loans/ru.toml"),
        include_str!("../../../rulebook/loans/en.toml"),
    ]
    .map(|text| Words::parse(text).expect("shipped words are tested"))
}

/// What `env:NAME` stands for, or the text itself.
fn of_environment(text: &str) -> Result<Option<String>, String> {
    let Some(name) = text.strip_prefix("env:") else { return Ok(None) };
    std::env::var(name).map(Some).map_err(|_| format!("no environment variable {name}"))
}

impl Reader<'_> {
    pub(super) fn loans(&mut self, table: Option<&LoansTable>) -> Option<Loans> {
        let table = table?;
        let (keys, text) = (&table.keys, table.keys.get_ref());
        let secret = of_environment(text).and_then(|secret| match secret {
            Some(secret) => Ok(secret),
            None => {
                let bytes = read_secret(&self.base.join(text)).map_err(|what| format!("{text}: {what}"))?;
                String::from_utf8(bytes).map_err(|_| format!("{text}: not text"))
            }
        });
        let vault =
            secret.and_then(|secret| Vault::parse(&secret).map_err(|what| format!("keys {text}: {what}")));
        let vault = self.told(vault.map_err(|what| (keys.span(), what)));
        let store = of_environment(table.store.get_ref()).map_err(|what| (table.store.span(), what));
        let store = self.told(store).map(|found| {
            let store = found.unwrap_or_else(|| table.store.get_ref().clone());
            match store.contains("://") {
                true => store,
                false => self.base.join(store).display().to_string(),
            }
        });
        let (path, span) = (table.signing_key.get_ref(), table.signing_key.span());
        let signing = read_secret(&self.base.join(path)).and_then(|pem| {
            SigningKey::from_pem(&pem)
                .ok_or_else(|| "no Ed25519 key in PEM: make one by qalqan loan key".to_owned())
        });
        let signing = self.told(signing.map_err(|what| (span, format!("{}: {what}", path.display()))));
        let clients = self.clients(&table.clients);
        let named = table.rulebook.get_ref();
        let text = match named.as_str() {
            "kz" => Ok(KZ.to_owned()),
            path => std::fs::read_to_string(self.base.join(path)).map_err(|error| {
                format!(
                    "rulebook \"{path}\" is not the shipped one (kz), and as a file: {}",
                    explain_io(&error)
                )
            }),
        };
        let rulebook =
            text.and_then(|text| Rulebook::parse(&text).map_err(|what| format!("rulebook {named}: {what}")));
        let rulebook = self.told(rulebook.map_err(|what| (table.rulebook.span(), what)));
        let keep_days = self.bounded("keep-days", table.keep_days.as_ref(), 1825, 1..=36_500);
        Some(Loans {
            store: store?,
            vault: Arc::new(vault?),
            signing: signing?,
            clients: clients?,
            rulebook: rulebook?,
            words: words(),
            sms_spool: self.base.join(table.sms_spool.get_ref()),
            asked: Asked {
                phone_freshness: table.phone_freshness == Gate::Required,
                living_face: table.living_face == Gate::Required,
            },
            keep_days,
        })
    }

    fn clients(&mut self, path: &Spanned<PathBuf>) -> Option<Clients> {
        let full = self.base.join(path.get_ref());
        let bytes = read_secret(&full);
        let bytes = bytes.map_err(|what| (path.span(), format!("{}: {what}", path.get_ref().display())));
        match Clients::read(&self.told(bytes)?) {
            Ok(clients) => Some(clients),
            Err(lines) => {
                for (line, what) in lines {
                    self.faults.elsewhere(&full.display().to_string(), line, &what);
                }
                None
            }
        }
    }
}
