//! Clients of the loan API, OAuth 2.0 client credentials (RFC 6749 section 4.4): a file of names and hashes, and `qalqan loan
//! client`, which adds one.
//!
//! The secret that signs webhooks has to be kept as it is: the file's mode is 0600.

use std::path::Path;

use journal::hex;
use lending::{CreditorClass, Vault};

use super::store::random;
use crate::clients;

const HEADER: &str = "id,secret_sha256,name,class,scopes,webhook,webhook_secret";

/// What a client may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Ask for loans.
    Loans,
    /// Set and lift self-bans.
    Bans,
    /// Ask whether somebody was on a suspicious call.
    Signals,
    /// Say that a phone changed.
    Phones,
    /// Have codes sent and checked, by the name of CAMARA.
    OneTimePasswords,
    /// Keep reference photos.
    References,
}

impl Scope {
    pub const ALL: [Scope; 6] = [
        Scope::Loans,
        Scope::Bans,
        Scope::Signals,
        Scope::Phones,
        Scope::OneTimePasswords,
        Scope::References,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scope::Loans => "loans",
            Scope::Bans => "bans",
            Scope::Signals => "signals",
            Scope::Phones => "phones",
            Scope::OneTimePasswords => "one-time-password-sms:send-validate",
            Scope::References => "references",
        }
    }

    pub fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    secret_sha256: [u8; 32],
    /// As people are told it.
    pub name: String,
    pub class: Option<CreditorClass>,
    pub scopes: Vec<Scope>,
    pub webhook: Option<(String, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct Clients(Vec<Client>);

impl Clients {
    /// Reads a client file, or gives every bad line with what is wrong.
    pub fn read(file: &[u8]) -> Result<Clients, Vec<(u64, String)>> {
        clients::read(file, HEADER, Client::of_row).map(Clients)
    }

    pub fn find(&self, id: &str) -> Option<&Client> {
        self.0.iter().find(|client| client.id == id)
    }

    /// The client of an ID and a secret.
    pub fn with_secret(&self, id: &str, secret: &str) -> Option<&Client> {
        self.find(id).filter(|client| clients::is_secret(&client.secret_sha256, secret))
    }

    /// Whose token it is and what for, if it counts and the client is still in the file.
    pub fn of_token(&self, vault: &Vault, token: &str, now_ms: i64) -> Option<(&Client, Vec<Scope>)> {
        let (id, scopes) = clients::of_token(vault, token, now_ms)?;
        let client = self.find(id)?;
        let scopes = scopes.filter_map(Scope::from_name);
        Some((client, scopes.filter(|scope| client.scopes.contains(scope)).collect()))
    }
}

impl Client {
    fn of_row(row: &csv::StringRecord) -> Result<Client, String> {
        let (id, secret_sha256) = clients::of_row(row)?;
        let scopes: Result<Vec<Scope>, String> = row[4]
            .split_whitespace()
            .map(|name| {
                Scope::from_name(name)
                    .ok_or_else(|| format!("no scope \"{name}\": {}", Scope::ALL.map(Scope::name).join(", ")))
            })
            .collect();
        let scopes = scopes?;
        let class = CreditorClass::from_name(&row[3]);
        if class.is_none() && (!row[3].is_empty() || scopes.contains(&Scope::Loans)) {
            return Err(format!("class \"{}\": who asks for loans is bank or microfinance", &row[3]));
        }
        let name = clients::name(&row[2])?;
        let webhook = match &row[5] {
            "" => None,
            url if (url.starts_with("https://") || url.starts_with("http://")) && row[6].len() >= 32 => {
                Some((url.to_owned(), row[6].to_owned()))
            }
            url => return Err(format!("webhook \"{url}\" is no URL, or its secret is shorter than 32")),
        };
        Ok(Client { id, secret_sha256, name, class, scopes, webhook })
    }
}

/// A client as `qalqan loan client` adds it.
pub struct New<'n> {
    pub id: &'n str,
    pub name: &'n str,
    pub class: &'n str,
    pub scopes: &'n str,
    pub webhook: &'n str,
}

/// Makes a client, adds it to the file, and gives its secret and that of its webhooks.
pub fn add(path: &Path, new: &New) -> Result<(String, Option<String>), String> {
    let webhook_secret = (!new.webhook.is_empty()).then(|| hex(&random::<32>()));
    let row = [new.name, new.class, new.scopes, new.webhook, webhook_secret.as_deref().unwrap_or("")];
    let secret = clients::add(path, HEADER, (new.id, &row), |file| Clients::read(file).map(drop))?;
    Ok((secret, webhook_secret))
}
