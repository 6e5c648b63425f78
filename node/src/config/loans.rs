//! `[loans]`: the loan gate, its store, keys and clients (docs/lending.md).

use std::path::PathBuf;
use std::sync::Arc;

use ::journal::SigningKey;
use lending::{Asked, Rulebook, Vault, Words};
use rules::Language;
use serde::Deserialize;
use toml::Spanned;

use super::citizens::{FaceTable, Faces, Page, PageTable};
use super::operator::{OperatorTable, of_environment};
use super::smpp::{Smpp, SmppTable};
use super::{Reader, explain_io};
use crate::clients::Issuer;
use crate::loans::Clients;
use crate::loans::operator::{Api, Service};
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
    pub sms_spool: Option<Spanned<PathBuf>>,
    pub smpp: Option<SmppTable>,
    #[serde(default)]
    pub phone_freshness: Gate,
    #[serde(default)]
    pub living_face: Gate,
    pub keep_days: Option<Spanned<u64>>,
    pub one_time_password: Option<OperatorTable>,
    pub sim_swap: Option<OperatorTable>,
    pub call_forwarding: Option<OperatorTable>,
    pub phone_recheck_min: Option<Spanned<u64>>,
    pub page: Option<PageTable>,
    pub face: Option<FaceTable>,
}

fn loans_db() -> Spanned<String> {
    Spanned::new(0..0, "loans.db".to_owned())
}

pub(super) fn kz() -> Spanned<String> {
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
    /// Where texts are laid for an SMS program; none: `smpp` sends them.
    pub sms_spool: Option<PathBuf>,
    pub smpp: Option<Arc<Smpp>>,
    pub asked: Asked,
    pub keep_days: u64,
    /// Who sends and checks codes in place of texts of our own.
    pub one_time_password: Option<Arc<Api>>,
    /// Who is asked what happened to a phone.
    pub sim_swap: Option<Arc<Api>>,
    pub call_forwarding: Option<Arc<Api>>,
    /// What was said of a phone serves a consent for so long.
    pub phone_recheck_ms: i64,
    pub page: Option<Page>,
    pub faces: Option<Faces>,
}

impl Loans {
    pub fn words(&self, language: Language) -> &Words {
        &self.words[language as usize]
    }
}

impl Issuer for Loans {
    fn scopes(&self, id: &str, secret: &str) -> Option<Vec<&'static str>> {
        let client = self.clients.with_secret(id, secret)?;
        Some(client.scopes.iter().map(|scope| scope.name()).collect())
    }

    fn vault(&self) -> &Vault {
        &self.vault
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

impl Reader<'_> {
    pub(super) fn loans(&mut self, table: Option<&LoansTable>) -> Option<Loans> {
        let table = table?;
        let keys = &table.keys;
        let vault = self.vault(keys);
        let store = self.store_place(&table.store);
        let (path, span) = (table.signing_key.get_ref(), table.signing_key.span());
        let signing = read_secret(&self.base.join(path)).and_then(|pem| {
            SigningKey::from_pem(&pem)
                .ok_or_else(|| "no Ed25519 key in PEM: make one by qalqan loan key".to_owned())
        });
        let signing = self.told(signing.map_err(|what| (span, format!("{}: {what}", path.display()))));
        let clients = self.client_file(&table.clients, Clients::read);
        let rulebook = self.rulebook(&table.rulebook);
        let is_asked = table.phone_freshness == Gate::Required;
        for (name, api) in [("sim-swap", &table.sim_swap), ("call-forwarding", &table.call_forwarding)] {
            if let Some(api) = api.as_ref().filter(|_| !is_asked) {
                let what = format!(
                    "[loans.{name}] is asked for a gate that is off: set phone-freshness = \"required\""
                );
                self.faults.at(Some(api.url.span()), &what);
            }
        }
        let one_time_password = self.operator(Service::OneTimePassword, table.one_time_password.as_ref());
        let sim_swap = self.operator(Service::SimSwap, table.sim_swap.as_ref());
        let call_forwarding = self.operator(Service::CallForwarding, table.call_forwarding.as_ref());
        let recheck = self.bounded("phone-recheck-min", table.phone_recheck_min.as_ref(), 60, 1..=1440);
        let page = table.page.as_ref().map(|page| self.page(page));
        let faces = table.face.as_ref().map(|face| self.faces(face));
        let sms_spool = table.sms_spool.as_ref().map(|path| self.base.join(path.get_ref()));
        let smpp = table.smpp.as_ref().map(|table| self.smpp(table).map(Arc::new));
        match (&table.sms_spool, &table.smpp) {
            (None, None) => {
                self.faults.at(Some(keys.span()), "who sends texts: set sms-spool, or [loans.smpp]");
            }
            (Some(spool), Some(_)) => {
                self.faults.at(Some(spool.span()), "sms-spool and [loans.smpp]: texts go by one of them");
            }
            _ => {}
        }
        let smpp = match smpp {
            Some(smpp) => Some(smpp?),
            None => None,
        };
        let keep_days = self.bounded("keep-days", table.keep_days.as_ref(), 1825, 1..=36_500);
        Some(Loans {
            store: store?,
            vault: Arc::new(vault?),
            signing: signing?,
            clients: clients?,
            rulebook: rulebook?,
            words: words(),
            sms_spool,
            smpp,
            asked: Asked { phone_freshness: is_asked, living_face: table.living_face == Gate::Required },
            keep_days,
            one_time_password,
            sim_swap,
            call_forwarding,
            phone_recheck_ms: recheck as i64 * 60_000,
            page: page.map_or(Some(None), |page| page.map(Some))?,
            faces: faces.map_or(Some(None), |faces| faces.map(Some))?,
        })
    }

    /// The keys of personal data.
    pub(super) fn vault(&mut self, keys: &Spanned<String>) -> Option<Vault> {
        let secret = self.secret(keys)?;
        let vault = Vault::parse(&secret);
        self.told(vault.map_err(|what| (keys.span(), format!("keys {}: {what}", keys.get_ref()))))
    }

    /// A file of SQLite, a URL of PostgreSQL, or the environment variable that holds one of them.
    pub(super) fn store_place(&mut self, store: &Spanned<String>) -> Option<String> {
        let found = of_environment(store.get_ref()).map_err(|what| (store.span(), what));
        let place = self.told(found)?.unwrap_or_else(|| store.get_ref().clone());
        Some(match place.contains("://") {
            true => place,
            false => self.base.join(place).display().to_string(),
        })
    }

    pub(super) fn rulebook(&mut self, rulebook: &Spanned<String>) -> Option<Rulebook> {
        let named = rulebook.get_ref();
        let text = match named.as_str() {
            "kz" => Ok(KZ.to_owned()),
            path => std::fs::read_to_string(self.base.join(path)).map_err(|error| {
                format!(
                    "rulebook \"{path}\" is not the shipped one (kz), and as a file: {}",
                    explain_io(&error)
                )
            }),
        };
        let read =
            text.and_then(|text| Rulebook::parse(&text).map_err(|what| format!("rulebook {named}: {what}")));
        self.told(read.map_err(|what| (rulebook.span(), what)))
    }

    /// A client file, read by whose it is.
    pub(super) fn client_file<T>(
        &mut self,
        path: &Spanned<PathBuf>,
        read: impl Fn(&[u8]) -> Result<T, Vec<(u64, String)>>,
    ) -> Option<T> {
        let full = self.base.join(path.get_ref());
        let bytes = read_secret(&full);
        let bytes = bytes.map_err(|what| (path.span(), format!("{}: {what}", path.get_ref().display())));
        match read(&self.told(bytes)?) {
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
