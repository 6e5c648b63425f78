//! `[nats]`: verdicts as events, and versions of lists, through NATS JetStream (docs/nats.md), checked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use journal::PublicKey;
use screening::ListName;
use serde::Deserialize;
use toml::Spanned;

use super::Reader;
use crate::store::keys::read_public;
use crate::tls;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NatsTable {
    pub url: Spanned<Urls>,
    pub credentials: Option<Spanned<PathBuf>>,
    pub ca: Option<Spanned<PathBuf>>,
    pub certificate: Option<Spanned<PathBuf>>,
    pub key: Option<Spanned<PathBuf>>,
    pub node: Option<Spanned<String>>,
    #[serde(default)]
    pub verdicts: Verdicts,
    pub verdict_stream: Option<Spanned<String>>,
    #[serde(default)]
    pub follow_lists: Vec<Spanned<ListName>>,
    #[serde(default)]
    pub list_publishers: Vec<Spanned<PathBuf>>,
    pub replicas: Option<Spanned<u64>>,
}

/// One server, or several of a cluster.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a URL such as nats://127.0.0.1:4222, or a list of them")]
pub enum Urls {
    One(String),
    Several(Vec<String>),
}

/// Which verdicts become events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdicts {
    #[default]
    All,
    /// Those that did something to the call, or would have if the rule were in force.
    NotAllowed,
    None,
}

/// The file of `credentials`: user and password, or a token.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CredentialsFile {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    None,
    Password { user: String, password: String },
    Token(String),
}

/// Where events and versions of lists go, and come from.
#[derive(Clone, PartialEq, Eq)]
pub struct Nats {
    pub urls: Vec<String>,
    pub credentials: Credentials,
    /// Authorities of the servers; none: those of the system.
    pub ca: Option<PathBuf>,
    /// Certificate and key that this node shows.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name of this node in subjects.
    pub node: String,
    pub verdicts: Verdicts,
    pub verdict_stream: String,
    /// Lists whose versions are taken, and the file that each is written to.
    pub follow_lists: Vec<(ListName, PathBuf)>,
    /// Whose versions of lists are taken.
    pub list_publishers: Vec<PublicKey>,
    /// Of streams that this node makes.
    pub replicas: usize,
}

impl Reader<'_> {
    pub(super) fn nats(
        &mut self,
        table: Option<&NatsTable>,
        lists: &BTreeMap<ListName, Spanned<PathBuf>>,
    ) -> Option<Nats> {
        let table = table?;
        let urls = match table.url.get_ref() {
            Urls::One(url) => vec![url.clone()],
            Urls::Several(urls) => urls.clone(),
        };
        if urls.is_empty() {
            self.faults.at(Some(table.url.span()), "url names no server");
        }
        for url in &urls {
            if let Err(what) = check_url(url) {
                self.faults.at(Some(table.url.span()), &format!("url \"{url}\" {what}"));
            }
        }
        let credentials = self.nats_credentials(table.credentials.as_ref());
        let ca = table.ca.as_ref().and_then(|path| {
            let read = tls::certificates(path, self.base);
            self.told(read).map(|_| self.base.join(path.get_ref()))
        });
        let identity = match (&table.certificate, &table.key) {
            (Some(certificate), Some(key)) => {
                let read = tls::identity(certificate, key, self.base);
                self.told(read)
                    .map(|_| (self.base.join(certificate.get_ref()), self.base.join(key.get_ref())))
            }
            (Some(alone), None) | (None, Some(alone)) => {
                self.faults.at(Some(alone.span()), "certificate and key go together: name both");
                None
            }
            (None, None) => None,
        };
        let node = table.node.as_ref().map_or_else(host_name, |node| node.get_ref().clone());
        if !is_token(&node) {
            let what = format!(
                "node \"{node}\" is not 1 to 64 letters, digits, - and _: it is one word of a subject, by default \
                 the name of the machine"
            );
            self.faults.at(table.node.as_ref().map(Spanned::span), &what);
        }
        let verdict_stream =
            table.verdict_stream.as_ref().map_or("QALQAN_VERDICTS".to_owned(), |name| name.get_ref().clone());
        if !is_token(&verdict_stream) {
            let what = format!("verdict-stream \"{verdict_stream}\" is not 1 to 64 letters, digits, - and _");
            self.faults.at(table.verdict_stream.as_ref().map(Spanned::span), &what);
        }
        let mut follow_lists = Vec::new();
        for name in &table.follow_lists {
            if let Some(path) = lists.get(name.get_ref()) {
                follow_lists.push((*name.get_ref(), self.base.join(path.get_ref())));
            } else {
                let list = name.get_ref().name();
                let what = format!(
                    "follow-lists: {list} is not in [lists]: name the file there that its versions are written to"
                );
                self.faults.at(Some(name.span()), &what);
            }
        }
        if let (Some(first), true) = (table.follow_lists.first(), table.list_publishers.is_empty()) {
            let what = "follow-lists without list-publishers: name the public keys whose versions are taken";
            self.faults.at(Some(first.span()), what);
        }
        let publishers = table.list_publishers.iter().filter_map(|path| {
            let read = read_public(&self.base.join(path.get_ref()));
            self.told(read.map_err(|_| {
                let what = "is no Ed25519 public key in PEM form that can be read";
                (path.span(), format!("{}: {what}", path.get_ref().display()))
            }))
        });
        let list_publishers = publishers.collect();
        Some(Nats {
            urls,
            credentials,
            ca,
            identity,
            node,
            verdicts: table.verdicts,
            verdict_stream,
            follow_lists,
            list_publishers,
            replicas: self.bounded("replicas", table.replicas.as_ref(), 1, 1..=5) as usize,
        })
    }

    fn nats_credentials(&mut self, path: Option<&Spanned<PathBuf>>) -> Credentials {
        let Some(path) = path else { return Credentials::None };
        let read = tls::read_secret(&self.base.join(path.get_ref())).and_then(|bytes| {
            let text = String::from_utf8(bytes).map_err(|_| "is no text".to_owned())?;
            // What the parser shows of a secret file stays unsaid.
            let file: CredentialsFile = toml::from_str(&text).map_err(|_| FORM.to_owned())?;
            match (file.user, file.password, file.token) {
                (Some(user), Some(password), None) => Ok(Credentials::Password { user, password }),
                (None, None, Some(token)) => Ok(Credentials::Token(token)),
                _ => Err(FORM.to_owned()),
            }
        });
        let read = read.map_err(|what| (path.span(), format!("{}: {what}", path.get_ref().display())));
        self.told(read).unwrap_or(Credentials::None)
    }
}

const FORM: &str = "holds not user = \"…\" and password = \"…\", nor token = \"…\"";

fn check_url(url: &str) -> Result<(), &'static str> {
    let rest = url.strip_prefix("nats://").or_else(|| url.strip_prefix("tls://"));
    let rest = rest.ok_or("is not of the form nats://host:port or tls://host:port")?;
    if rest.contains('@') {
        return Err("holds a secret: put user and password into the file of credentials");
    }
    match url.parse::<async_nats::ServerAddr>() {
        Ok(_) if !rest.is_empty() && !rest.starts_with(':') => Ok(()),
        _ => Err("is not of the form nats://host:port or tls://host:port"),
    }
}

/// One word of a subject, and a name of a stream.
fn is_token(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The first label of the machine's name.
fn host_name() -> String {
    // The unit of the package shows no /proc/sys.
    let read = |path: &str| fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname")).unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_owned()
}

/// Whether a list's file that is not there yet is no fault: its first version is still to come.
pub(super) fn is_to_come(table: Option<&NatsTable>, name: ListName, path: &Path) -> bool {
    let is_followed =
        table.is_some_and(|table| table.follow_lists.iter().any(|followed| *followed.get_ref() == name));
    is_followed && !path.exists()
}
