//! The journal's keys on disk: who signs, and what hides numbers.
//!
//! | file | what |
//! | --- | --- |
//! | `first.pub.pem` | the public key that began the journal: `journal verify` needs this one and no other |
//! | `signing.pem`, `signing.pub.pem` | the pair in force: PKCS#8 and SPKI in PEM |
//! | `signing-ID.pub.pem` | public keys that were replaced |
//! | `numbers.key` | the secret of numbers in force: 64 hex digits |
//! | `numbers-ID.key` | secrets that were replaced: older segments are read with them |
//! | `signing-next.pem`, `numbers-next.key` | a rotation that no node has taken up yet |

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use journal::{NumbersKey, PublicKey, SigningKey, from_hex, hex};

use crate::config::explain_io;
use crate::tls::read_secret;

pub struct Keys {
    directory: PathBuf,
    pub signing: SigningKey,
    pub numbers: NumbersKey,
}

/// `PATH: what is wrong`.
type Result<T> = std::result::Result<T, String>;

fn at<T>(path: &Path, outcome: std::result::Result<T, impl ToString>) -> Result<T> {
    outcome.map_err(|what| format!("{}: {}", path.display(), what.to_string()))
}

impl Keys {
    /// Opens the keys of a directory; makes the first ones where there are none.
    pub fn open(directory: &Path) -> Result<Keys> {
        let [signing, numbers, first] =
            ["signing.pem", "numbers.key", "first.pub.pem"].map(|name| directory.join(name));
        if !signing.exists() && !first.exists() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            at(directory, made.map_err(|error| explain_io(&error)))?;
            if !numbers.exists() {
                write(&numbers, 0o600, &random_numbers_key()?)?;
            }
            let key = SigningKey::new(random()?);
            write(&directory.join("signing.pub.pem"), 0o644, &key.public().to_pem())?;
            write(&signing, 0o600, &key.to_pem())?;
            write(&first, 0o644, &key.public().to_pem())?;
            at(directory, sync_directory(directory))?;
        }
        Ok(Keys {
            directory: directory.to_owned(),
            signing: read_signing(&signing)?,
            numbers: read_numbers(&numbers)?,
        })
    }

    /// Every numbers key of a directory, for reading; none where there is no directory or it may not be read.
    pub fn of_numbers(directory: &Path) -> Result<Vec<NumbersKey>> {
        let Ok(entries) = fs::read_dir(directory) else { return Ok(Vec::new()) };
        let is_numbers = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            name.starts_with("numbers") && name.ends_with(".key") && name != "numbers-next.key"
        };
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(is_numbers)
            .map(|path| read_numbers(&path))
            .collect()
    }

    /// Those of a directory that somebody named, where one at least has to be.
    pub fn of_numbers_named(directory: &Path) -> Result<Vec<NumbersKey>> {
        let keys = Keys::of_numbers(directory)?;
        match keys.is_empty() {
            true => Err(format!("--keys {}: no numbers key is there", directory.display())),
            false => Ok(keys),
        }
    }

    /// Lays new keys ready for the node to take up.
    pub fn prepare_rotation(directory: &Path) -> Result<PublicKey> {
        let next = directory.join("signing-next.pem");
        if next.exists() {
            return Err(format!("{}: a rotation is waiting already: a node takes it up", next.display()));
        }
        Keys::open(directory)?;
        let key = SigningKey::new(random()?);
        write(&directory.join("numbers-next.key"), 0o600, &random_numbers_key()?)?;
        write(&next, 0o600, &key.to_pem())?;
        at(directory, sync_directory(directory))?;
        Ok(key.public())
    }

    /// The signing key of a rotation that waits.
    pub fn next_signing(&self) -> Result<Option<SigningKey>> {
        let next = self.directory.join("signing-next.pem");
        if next.exists() { read_signing(&next).map(Some) } else { Ok(None) }
    }

    /// Takes up the next signing key, once the chain says that it follows.
    pub fn take_signing(&mut self, next: SigningKey) -> Result<()> {
        let archive = format!("signing-{}.pub.pem", self.signing.public().id());
        write(&self.directory.join(archive), 0o644, &self.signing.public().to_pem())?;
        write(&self.directory.join("signing.pub.pem"), 0o644, &next.public().to_pem())?;
        self.rename("signing-next.pem", "signing.pem")?;
        self.signing = next;
        Ok(())
    }

    /// Takes up the next numbers key, if one waits; the old one stays for what it hides.
    pub fn take_numbers(&mut self) -> Result<bool> {
        let next = self.directory.join("numbers-next.key");
        if !next.exists() {
            return Ok(false);
        }
        let key = read_numbers(&next)?;
        let archive = format!("numbers-{}.key", hex(&self.numbers.id()));
        write(&self.directory.join(archive), 0o600, &format!("{}\n", hex(self.numbers.secret())))?;
        self.rename("numbers-next.key", "numbers.key")?;
        self.numbers = key;
        Ok(true)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let path = self.directory.join(from);
        at(&path, fs::rename(&path, self.directory.join(to)))?;
        at(&self.directory, sync_directory(&self.directory))
    }

    pub fn all_numbers(&self) -> Result<Vec<NumbersKey>> {
        Keys::of_numbers(&self.directory)
    }
}

/// Reads the public key that a journal is verified with.
pub fn read_public(path: &Path) -> Result<PublicKey> {
    let pem = at(path, fs::read(path).map_err(|error| explain_io(&error)))?;
    at(
        path,
        PublicKey::from_pem(&pem)
            .ok_or("no Ed25519 public key in PEM form: first.pub.pem of the keys is one"),
    )
}

/// Reads a private key that only its owner may read.
pub fn read_signing(path: &Path) -> Result<SigningKey> {
    let pem = at(path, read_secret(path))?;
    at(path, SigningKey::from_pem(&pem).ok_or("no Ed25519 private key in PEM form (PKCS#8)"))
}

fn read_numbers(path: &Path) -> Result<NumbersKey> {
    let text = at(path, read_secret(path))?;
    let secret = std::str::from_utf8(&text).ok().and_then(|text| from_hex(text.trim()));
    at(path, secret.map(NumbersKey::new).ok_or("not a key: 64 hex digits are expected"))
}

fn random_numbers_key() -> Result<String> {
    Ok(format!("{}\n", hex(&random::<32>()?)))
}

/// Random bytes of the system's.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes".to_owned())?;
    Ok(bytes)
}

/// Writes a file whole and durable, in place of one that was there.
fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    let draft = path.with_extension("draft");
    let written = || -> std::io::Result<()> {
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        own_like_directory(path, &file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    at(path, written().map_err(|error| explain_io(&error)))
}

/// Gives a new file to the owner of its directory: root may rotate keys for a node that runs as another user.
pub fn own_like_directory(path: &Path, file: &File) -> std::io::Result<()> {
    let directory = fs::metadata(path.parent().unwrap_or(Path::new(".")))?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (directory.uid(), directory.gid()) && own.uid() == 0 {
        fchown(file, Some(directory.uid()), Some(directory.gid()))?;
    }
    Ok(())
}

/// Makes names durable: what was created, renamed or removed in a directory.
pub fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}
