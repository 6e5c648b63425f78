//! Clients of the register: a file of names, hashes, roles and units, and `qalqan case client`, which adds one.

use std::path::Path;

use ::casework::{Reader, Role, Units};
use lending::Vault;

use crate::clients;

const HEADER: &str = "id,secret_sha256,name,role,units";
/// Of the register's tokens: another's count here no more than these do there.
pub const SCOPE: &str = "case";

#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    secret_sha256: [u8; 32],
    pub name: String,
    pub role: Role,
    pub units: Units,
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

    /// Whose token it is, if it counts here and the client is still in the file.
    pub fn of_token(&self, vault: &Vault, token: &str, now_ms: i64) -> Option<&Client> {
        let (id, mut scopes) = clients::of_token(vault, token, now_ms)?;
        self.find(id).filter(|_| scopes.any(|scope| scope == SCOPE))
    }
}

impl Client {
    fn of_row(row: &csv::StringRecord) -> Result<Client, String> {
        let (id, secret_sha256) = clients::of_row(row)?;
        let names: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
        let role = Role::from_name(&row[3]);
        let role = role.ok_or_else(|| format!("role \"{}\" is one of {}", &row[3], names.join(", ")))?;
        let units = Units::parse(&row[4]);
        let has_none = matches!(&units, Units::These(units) if units.is_empty());
        match role {
            Role::Investigator | Role::Head if has_none => {
                return Err("units: name those he works in, with spaces between them, or *".to_owned());
            }
            Role::Operator | Role::Bank | Role::Auditor if !has_none => {
                return Err(format!("units: a client of role {} has none", role.name()));
            }
            _ => {}
        }
        Ok(Client { id, secret_sha256, name: clients::name(&row[2])?, role, units })
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader { id: &self.id, role: self.role, units: &self.units }
    }
}

/// Makes a client, adds it to the file, and gives its secret.
pub fn add(path: &Path, id: &str, name: &str, role: &str, units: &str) -> Result<String, String> {
    clients::add(path, HEADER, (id, &[name, role, units]), |file| Clients::read(file).map(drop))
}
