//! Clients by OAuth 2.0 client credentials (RFC 6749 section 4.4): what the files and tokens of the loan gate and of the
//! register have in common.
//!
//! A secret is 256 random bits, so its bare SHA-256 tells nobody anything; it is shown once.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use journal::{from_hex, hex, sha256};
use lending::{Use, Vault};

use crate::database::random;
use crate::tls::read_secret;

/// How long an access token counts, s.
pub const TOKEN_S: i64 = 600;

/// Somebody who gives tokens to clients of its own.
pub trait Issuer {
    /// All scopes of the client of an ID and a secret.
    fn scopes(&self, id: &str, secret: &str) -> Option<Vec<&'static str>>;
    fn vault(&self) -> &Vault;
}

/// An access token: who it is, until when, for what, and a keyed hash over that; nothing has to be kept.
pub fn token(vault: &Vault, id: &str, scopes: &[&str], now_ms: i64) -> String {
    let claims = format!("{id}~{}~{}", now_ms / 1000 + TOKEN_S, scopes.join("+"));
    let tag = vault.mac(Use::Token, claims.as_bytes());
    format!("{claims}~{tag}")
}

/// Whose token it is and what for, if it counts.
pub fn of_token<'t>(
    vault: &Vault,
    token: &'t str,
    now_ms: i64,
) -> Option<(&'t str, impl Iterator<Item = &'t str>)> {
    let (claims, tag) = token.rsplit_once('~')?;
    if !vault.is_mac(Use::Token, claims.as_bytes(), tag) {
        return None;
    }
    let mut parts = claims.split('~');
    let (id, until_s, scopes) = (parts.next()?, parts.next()?.parse::<i64>().ok()?, parts.next()?);
    (now_ms / 1000 < until_s).then(|| (id, scopes.split('+')))
}

/// Compares in constant time.
pub fn is_secret(kept: &[u8; 32], secret: &str) -> bool {
    verify_slices_are_equal(kept, &sha256(secret.as_bytes())).is_ok()
}

/// ID and hash of the secret, the first two fields of every client file.
pub fn of_row(row: &csv::StringRecord) -> Result<(String, [u8; 32]), String> {
    let id = row[0].to_owned();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.len() > 64 || !id.chars().all(fine) {
        return Err(format!("\"{id}\" is no id of a client: letters, digits, - _ and ., at most 64"));
    }
    Ok((id, from_hex(&row[1]).ok_or("secret_sha256 is not 64 hex digits")?))
}

/// As people are told it.
pub fn name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.chars().count() > 40 || text.chars().any(char::is_control) {
        true => Err("name: 1 to 40 characters, as people are told it".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Reads a client file, or gives every bad line with what is wrong.
pub fn read<T>(
    file: &[u8],
    header: &str,
    of_row: impl Fn(&csv::StringRecord) -> Result<T, String>,
) -> Result<Vec<T>, Vec<(u64, String)>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(file);
    let found = reader.headers().map(|header| header.iter().collect::<Vec<_>>().join(","));
    if found.ok().as_deref() != Some(header) {
        return Err(vec![(1, format!("the header must be {header}"))]);
    }
    let (mut clients, mut bad): (Vec<T>, Vec<(u64, String)>) = Default::default();
    let mut ids: Vec<String> = Vec::new();
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let what = format!("not {} fields", header.split(',').count());
                bad.push((error.position().map_or(0, csv::Position::line), what));
                continue;
            }
        };
        let line = row.position().map_or(0, csv::Position::line);
        match of_row(&row) {
            Ok(_) if ids.iter().any(|id| *id == row[0]) => {
                bad.push((line, format!("client \"{}\" stands here twice", &row[0])));
            }
            Ok(client) => {
                ids.push(row[0].to_owned());
                clients.push(client);
            }
            Err(what) => bad.push((line, what)),
        }
    }
    if bad.is_empty() { Ok(clients) } else { Err(bad) }
}

/// Makes a client, adds it to the file if `is_fine` with the whole, and gives its secret. `row` follows ID and hash.
pub fn add(
    path: &Path,
    header: &str,
    (id, row): (&str, &[&str]),
    is_fine: impl Fn(&[u8]) -> Result<(), Vec<(u64, String)>>,
) -> Result<String, String> {
    let shown = |what: String| format!("{}: {what}", path.display());
    let secret = hex(&random::<32>());
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let mut whole = match path.exists() {
        true => read_secret(path).map_err(shown)?,
        false => format!("{header}\n").into_bytes(),
    };
    let hash = hex(&sha256(secret.as_bytes()));
    let fields = [id, &hash].into_iter().chain(row.iter().copied());
    writer.write_record(fields).map_err(|error| shown(error.to_string()))?;
    let line = writer.into_inner().map_err(|error| shown(error.to_string()))?;
    if !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    whole.extend(line);
    is_fine(&whole)
        .map_err(|bad| shown(bad.into_iter().map(|(_, what)| what).collect::<Vec<_>>().join("; ")))?;
    replace(path, &whole).map_err(|error| shown(error.to_string()))?;
    Ok(secret)
}

/// Puts a new key of personal data in front of those of a key file; gives its ID.
pub fn add_key(path: &Path) -> Result<String, String> {
    let shown = |what: String| format!("{}: {what}", path.display());
    let before = match path.exists() {
        true => {
            String::from_utf8(read_secret(path).map_err(shown)?).map_err(|_| shown("not text".to_owned()))?
        }
        false => String::new(),
    };
    let id = hex(&random::<4>());
    let text = format!("{id} {}\n{before}", hex(&random::<32>()));
    Vault::parse(&text).map_err(shown)?;
    replace(path, text.as_bytes()).map_err(|error| shown(error.to_string()))?;
    Ok(id)
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
