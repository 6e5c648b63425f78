//! Clients of the loan API, OAuth 2.0 client credentials (RFC 6749 section 4.4): a file of names and hashes, and `qalqan loan
//! client`, which adds one.
//!
//! A secret is 256 random bits, so its bare SHA-256 tells nobody anything; it is shown once. The secret that signs webhooks has
//! to be kept as it is: the file's mode is 0600.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use journal::{from_hex, hex, sha256};
use lending::{CreditorClass, Use, Vault};

use super::store::random;
use crate::tls::read_secret;

const HEADER: &str = "id,secret_sha256,name,class,scopes,webhook,webhook_secret";
/// How long an access token counts, s.
pub const TOKEN_S: i64 = 600;

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
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(file);
        let header = reader.headers().map(|header| header.iter().collect::<Vec<_>>().join(","));
        if header.ok().as_deref() != Some(HEADER) {
            return Err(vec![(1, format!("the header must be {HEADER}"))]);
        }
        let (mut clients, mut bad): (Vec<Client>, Vec<(u64, String)>) = Default::default();
        for row in reader.records() {
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    bad.push((
                        error.position().map_or(0, csv::Position::line),
                        "not seven fields".to_owned(),
                    ));
                    continue;
                }
            };
            let line = row.position().map_or(0, csv::Position::line);
            match Client::of_row(&row) {
                Ok(client) if clients.iter().any(|other| other.id == client.id) => {
                    bad.push((line, format!("client \"{}\" stands here twice", client.id)));
                }
                Ok(client) => clients.push(client),
                Err(what) => bad.push((line, what)),
            }
        }
        if bad.is_empty() { Ok(Clients(clients)) } else { Err(bad) }
    }

    pub fn find(&self, id: &str) -> Option<&Client> {
        self.0.iter().find(|client| client.id == id)
    }

    /// The client of an ID and a secret, compared in constant time.
    pub fn with_secret(&self, id: &str, secret: &str) -> Option<&Client> {
        let hash = sha256(secret.as_bytes());
        self.find(id).filter(|client| verify_slices_are_equal(&client.secret_sha256, &hash).is_ok())
    }

    /// An access token: who it is, until when, for what, and a keyed hash over that; nothing has to be kept.
    pub fn token(vault: &Vault, client: &Client, scopes: &[Scope], now_ms: i64) -> String {
        let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        let claims = format!("{}~{}~{}", client.id, now_ms / 1000 + TOKEN_S, names.join("+"));
        let tag = vault.mac(Use::Token, claims.as_bytes());
        format!("{claims}~{tag}")
    }

    /// Whose token it is and what for, if it counts and the client is still in the file.
    pub fn of_token(&self, vault: &Vault, token: &str, now_ms: i64) -> Option<(&Client, Vec<Scope>)> {
        let (claims, tag) = token.rsplit_once('~')?;
        if !vault.is_mac(Use::Token, claims.as_bytes(), tag) {
            return None;
        }
        let mut parts = claims.split('~');
        let (id, until_s, scopes) = (parts.next()?, parts.next()?.parse::<i64>().ok()?, parts.next()?);
        let client = self.find(id).filter(|_| now_ms / 1000 < until_s)?;
        let scopes = scopes.split('+').filter_map(Scope::from_name);
        Some((client, scopes.filter(|scope| client.scopes.contains(scope)).collect()))
    }
}

impl Client {
    fn of_row(row: &csv::StringRecord) -> Result<Client, String> {
        let id = row[0].to_owned();
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if id.is_empty() || id.len() > 64 || !id.chars().all(fine) {
            return Err(format!("\"{id}\" is no id of a client: letters, digits, - _ and ., at most 64"));
        }
        let secret_sha256 = from_hex(&row[1]).ok_or("secret_sha256 is not 64 hex digits")?;
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
        let name = row[2].to_owned();
        if name.is_empty() || name.chars().count() > 40 || name.chars().any(char::is_control) {
            return Err("name: 1 to 40 characters, as people are told it".to_owned());
        }
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
    let shown = |what: String| format!("{}: {what}", path.display());
    let secret = hex(&random::<32>());
    let webhook_secret = (!new.webhook.is_empty()).then(|| hex(&random::<32>()));
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let before = match path.exists() {
        true => read_secret(path).map_err(shown)?,
        false => format!("{HEADER}\n").into_bytes(),
    };
    let row = [
        new.id,
        &hex(&sha256(secret.as_bytes())),
        new.name,
        new.class,
        new.scopes,
        new.webhook,
        webhook_secret.as_deref().unwrap_or(""),
    ];
    writer.write_record(row).map_err(|error| shown(error.to_string()))?;
    let line = writer.into_inner().map_err(|error| shown(error.to_string()))?;
    let mut whole = before;
    if !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    whole.extend(line);
    Clients::read(&whole)
        .map_err(|bad| shown(bad.into_iter().map(|(_, what)| what).collect::<Vec<_>>().join("; ")))?;
    super::replace(path, &whole).map_err(|error| shown(error.to_string()))?;
    Ok((secret, webhook_secret))
}

/// Writes a secret file anew, whole or not at all.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let next = path.with_extension("next");
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    std::fs::rename(next, path)
}
