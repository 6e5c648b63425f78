//! `[exchange]` and `[member.NAME]`: this node among other operators (docs/exchange.md), checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use exchange::{Capabilities, Directory, Holder, MemberId, Signer, TokenKey, Verifier, WireNumber};
use journal::sha256;
use numbering::{Number, Prefix};
use screening::Policy;
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use toml::Spanned;

use super::Reader;
use crate::letters::thumbprint;
use crate::tls;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExchangeTable {
    pub name: Spanned<String>,
    #[serde(default)]
    pub listen: Vec<Spanned<String>>,
    pub certificate: Spanned<PathBuf>,
    pub key: Spanned<PathBuf>,
    pub ca: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub ranges: Vec<Spanned<String>>,
    #[serde(default)]
    pub capabilities: Vec<Spanned<String>>,
    pub hash_key: Option<Spanned<PathBuf>>,
    pub deadline_ms: Option<Spanned<u64>>,
    pub question_ms: Option<Spanned<u64>>,
    pub ttl_s: Option<Spanned<u64>>,
    pub open_calls: Option<Spanned<u64>>,
    pub register_at: Option<Spanned<String>>,
    #[serde(default)]
    pub shared: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MemberTable {
    pub url: Option<Spanned<String>>,
    pub certificate: Option<Spanned<PathBuf>>,
    /// Who keeps its calls, and answers for them.
    pub kept_by: Option<Spanned<String>>,
    #[serde(default)]
    pub ranges: Vec<Spanned<String>>,
    #[serde(default)]
    pub capabilities: Vec<Spanned<String>>,
    /// Questions a second that this member may ask.
    pub questions_per_s: Option<Spanned<u64>>,
}

/// This node among other operators.
#[derive(Clone)]
pub struct Exchange {
    /// The name others know this operator by.
    pub name: String,
    pub listen: Vec<SocketAddr>,
    pub server: Arc<ServerConfig>,
    pub signer: Arc<Signer>,
    /// What this operator answers.
    pub capabilities: Capabilities,
    /// In the order of their names: a [`MemberId`] is a place here.
    pub members: Vec<Arc<Member>>,
    directory: Directory,
    /// Where numbers of checks travel as daily hashes.
    pub token_key: Option<TokenKey>,
    /// For all questions of a call together.
    pub deadline: Duration,
    /// For one question.
    pub question: Duration,
    /// How long a call can be asked about, seconds.
    pub ttl_s: u32,
    /// Calls that can be asked about at once.
    pub open_calls: usize,
    /// Who is told of this operator's own calls, and answers for them.
    pub register_at: Option<MemberId>,
    /// URLs of the Valkey or Redis that nodes of this operator share; one is a server, several a cluster's.
    pub shared: Vec<String>,
    /// Known to nodes with this certificate alone.
    pub shared_secret: [u8; 32],
    /// The same, for what a proxy writes into dialogs.
    pub dialog_key: hmac::Key,
}

/// Another operator.
pub struct Member {
    pub name: String,
    /// None where it cannot be reached, and is asked nothing.
    pub host: Option<ServerName<'static>>,
    /// Host and port.
    pub authority: String,
    pub client: Arc<ClientConfig>,
    pub certificates: Vec<Arc<Credential>>,
    pub capabilities: Capabilities,
    /// The member that keeps its calls.
    pub kept_by: Option<MemberId>,
    pub questions_per_s: u32,
}

/// A member's certificate and what its key has signed.
pub struct Credential {
    pub certificate: CertificateDer<'static>,
    pub verifier: Verifier,
    /// Kept with the letters that it vouches for, under this SHA-256 in hex.
    pub der: Arc<[u8]>,
    pub thumbprint: String,
}

impl Exchange {
    pub fn member(&self, id: MemberId) -> &Arc<Member> {
        &self.members[usize::from(id.0)]
    }

    pub fn member_named(&self, name: &str) -> Option<MemberId> {
        let place = self.members.binary_search_by(|member| member.name.as_str().cmp(name)).ok()?;
        Some(MemberId(place as u16))
    }

    /// Whether a number of a check travels as members of this exchange agreed: as a hash, or in clear.
    pub fn is_agreed_form(&self, number: &WireNumber) -> bool {
        number.is_token() == self.token_key.is_some()
    }

    /// Who holds a number: portability first, then ranges.
    pub fn holder(&self, policy: &Policy, number: Number, now_ms: i64) -> Option<Holder> {
        match policy.ported_to(number, now_ms) {
            Some(name) if name == self.name => Some(Holder::Us),
            // A name that is nobody's: no member, whoever has the range.
            Some(name) => self.member_named(name).map(Holder::Member),
            None => self.directory.holder(number),
        }
    }

    /// The member, and the credential, of the one who showed this certificate.
    pub fn known(&self, certificate: &CertificateDer) -> Option<(MemberId, &Arc<Credential>)> {
        self.members.iter().enumerate().find_map(|(place, member)| {
            member.credential(certificate).map(|credential| (MemberId(place as u16), credential))
        })
    }
}

impl Member {
    pub fn credential(&self, certificate: &CertificateDer) -> Option<&Arc<Credential>> {
        self.certificates.iter().find(|known| known.certificate == *certificate)
    }
}

impl Reader<'_> {
    /// None where there is no `[exchange]`, or it is at fault.
    pub(super) fn exchange(
        &mut self,
        table: Option<&ExchangeTable>,
        members: &BTreeMap<String, Spanned<MemberTable>>,
    ) -> Option<Exchange> {
        let Some(table) = table else {
            if let Some(member) = members.values().next() {
                self.faults
                    .at(Some(member.span()), "a member without [exchange]: say there who this node is");
            }
            return None;
        };
        let name = table.name.get_ref().clone();
        if !is_name(&name) || members.contains_key(&name) {
            let what = format!("name \"{name}\" is not 1 to 64 of a-z, 0-9, . and -, or is a member's");
            self.faults.at(Some(table.name.span()), &what);
        }
        let listen = table.listen.iter().filter_map(|text| match text.get_ref().parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => Some(address),
            _ => {
                let what =
                    format!("listen \"{}\" is not an address and port, such as 0.0.0.0:7443", text.get_ref());
                self.faults.at(Some(text.span()), &what);
                None
            }
        });
        let listen: Vec<SocketAddr> = listen.collect();

        let mut directory = Directory::new();
        self.ranges(&mut directory, &table.ranges, Holder::Us);
        let mut credentials = Vec::new();
        for (place, (name, member)) in members.iter().enumerate() {
            let holder = Holder::Member(MemberId(place as u16));
            if !is_name(name) {
                let what = format!("member \"{name}\": names are 1 to 64 of a-z, 0-9, . and -");
                self.faults.at(Some(member.span()), &what);
            }
            self.ranges(&mut directory, &member.get_ref().ranges, holder);
            let certificate = &member.get_ref().certificate;
            credentials.push(match certificate {
                Some(path) => self.credentials(path)?,
                None => Vec::new(),
            });
        }
        // Without an authority each member's certificate vouches for itself.
        let roots: Vec<CertificateDer<'static>> = match &table.ca {
            Some(path) => self.told(tls::certificates(path, self.base))?,
            None => credentials.iter().flatten().map(|known| known.certificate.clone()).collect(),
        };
        let identity = self.told(tls::identity(&table.certificate, &table.key, self.base))?;
        let made = Signer::from_pkcs8(identity.key.secret_der());
        let signer = made.or_else(|| {
            let what = "is no Ed25519 or P-256 key in PKCS #8 form: letters are signed by it";
            self.faults.at(Some(table.key.span()), what);
            None
        })?;
        let at = table.certificate.span();
        let server = tls::exchange_server(&identity, &roots).map_err(|what| (at.clone(), what));
        let server = self.told(server)?;
        let mut list = Vec::new();
        for ((name, member), certificates) in members.iter().zip(credentials) {
            let (at_member, member) = (member.span(), member.get_ref());
            let kept_by = self.kept_by(name, &table.name, member, members);
            if member.certificate.is_none() && kept_by.is_none() {
                let what =
                    format!("member {name} needs a certificate: only one that is kept by another has none");
                self.faults.at(Some(at_member.clone()), &what);
            }
            if member.url.is_none() && !member.capabilities.is_empty() {
                let what = format!("member {name} has capabilities and no url: where is it asked?");
                self.faults.at(Some(at_member), &what);
            }
            let client = tls::exchange_client(&identity, &roots).map_err(|what| (at.clone(), what));
            let client = self.told(client)?;
            let (host, authority) = match &member.url {
                Some(url) => self.told(authority(url)).map(|(host, authority)| (Some(host), authority))?,
                None => (None, String::new()),
            };
            list.push(Arc::new(Member {
                name: name.clone(),
                host,
                authority,
                client,
                certificates,
                capabilities: self.capabilities(&member.capabilities),
                kept_by,
                questions_per_s: self.bounded(
                    "questions-per-s",
                    member.questions_per_s.as_ref(),
                    20_000,
                    1..=10_000_000,
                ) as u32,
            }));
        }
        let token_key = table.hash_key.as_ref().and_then(|path| {
            let secret = tls::read_secret(&self.base.join(path.get_ref()));
            let secret = secret.and_then(|secret| match secret.trim_ascii().len() {
                32.. => Ok(secret.trim_ascii().to_vec()),
                _ => Err("needs 32 bytes or more, the same for all members".to_owned()),
            });
            let secret =
                secret.map_err(|what| (path.span(), format!("{}: {what}", path.get_ref().display())));
            Some(TokenKey::new(&self.told(secret)?))
        });
        for url in &table.shared {
            if url.get_ref().strip_prefix("redis://").is_none_or(str::is_empty) {
                let what = format!("shared \"{}\" is not of the form redis://host:port", url.get_ref());
                self.faults.at(Some(url.span()), &what);
            }
        }
        let register_at = table.register_at.as_ref().and_then(|keeper| {
            let found =
                list.iter().position(|member| member.name == *keeper.get_ref() && member.host.is_some());
            if found.is_none() {
                let what = format!("register-at \"{}\" is no member with a url", keeper.get_ref());
                self.faults.at(Some(keeper.span()), &what);
            }
            found.map(|place| MemberId(place as u16))
        });
        let ms = |ms| Duration::from_millis(ms);
        let secret = |of: &[u8]| sha256(&[of, identity.key.secret_der()].concat());
        Some(Exchange {
            listen,
            server,
            signer: Arc::new(signer),
            capabilities: self.capabilities(&table.capabilities),
            members: list,
            directory,
            token_key,
            deadline: ms(self.bounded("deadline-ms", table.deadline_ms.as_ref(), 500, 1..=1000)),
            question: ms(self.bounded("question-ms", table.question_ms.as_ref(), 200, 1..=1000)),
            ttl_s: self.bounded("ttl-s", table.ttl_s.as_ref(), 60, 30..=180) as u32,
            open_calls: self.bounded("open-calls", table.open_calls.as_ref(), 1_000_000, 1000..=1_000_000_000)
                as usize,
            register_at,
            shared: table.shared.iter().map(|url| url.get_ref().clone()).collect(),
            shared_secret: secret(b"qalqan shared state"),
            dialog_key: hmac::Key::new(hmac::HMAC_SHA256, &secret(b"qalqan dialogs")),
            name,
        })
    }

    pub(super) fn told<T>(&mut self, outcome: Result<T, (std::ops::Range<usize>, String)>) -> Option<T> {
        outcome.map_err(|(span, what)| self.faults.at(Some(span), &what)).ok()
    }

    pub(super) fn bounded(
        &mut self,
        name: &str,
        value: Option<&Spanned<u64>>,
        usual: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> u64 {
        let Some(value) = value else { return usual };
        if !bounds.contains(value.get_ref()) {
            let what = format!("{name} is not between {} and {}", bounds.start(), bounds.end());
            self.faults.at(Some(value.span()), &what);
        }
        *value.get_ref()
    }

    fn ranges(&mut self, directory: &mut Directory, ranges: &[Spanned<String>], holder: Holder) {
        for range in ranges {
            let digits = range.get_ref().trim_start_matches('+');
            match Prefix::from_digits(digits.as_bytes()) {
                Some(prefix) => directory.add_range(prefix, holder),
                None => {
                    let what = format!(
                        "range \"{}\" is not the first digits of numbers, such as 7701",
                        range.get_ref()
                    );
                    self.faults.at(Some(range.span()), &what);
                }
            }
        }
    }

    /// The member that keeps another's calls; none where that is this node.
    fn kept_by(
        &mut self,
        name: &str,
        own: &Spanned<String>,
        member: &MemberTable,
        members: &BTreeMap<String, Spanned<MemberTable>>,
    ) -> Option<MemberId> {
        let keeper = member.kept_by.as_ref()?;
        let found = members.keys().position(|one| one == keeper.get_ref() && one != name);
        let is_asked = member.capabilities.iter().any(|one| one.get_ref() == "initiation-check");
        if is_asked || (found.is_none() && keeper.get_ref() != own.get_ref()) {
            let what = format!(
                "kept-by \"{}\" of member {name} is neither another member nor this node, or {name} answers itself \
                 (initiation-check)",
                keeper.get_ref()
            );
            self.faults.at(Some(keeper.span()), &what);
        }
        found.map(|place| MemberId(place as u16))
    }

    fn capabilities(&mut self, names: &[Spanned<String>]) -> Capabilities {
        let mut capabilities = Capabilities::default();
        for name in names {
            match name.get_ref().as_str() {
                "roaming-check" => capabilities.roaming_check = true,
                "initiation-check" => capabilities.initiation_check = true,
                "no-outbound-voice-roaming" => capabilities.no_outbound_voice_roaming = true,
                other => {
                    let what = format!(
                        "no capability \"{other}\": roaming-check, initiation-check, no-outbound-voice-roaming"
                    );
                    self.faults.at(Some(name.span()), &what);
                }
            }
        }
        capabilities
    }

    fn credentials(&mut self, path: &Spanned<PathBuf>) -> Option<Vec<Arc<Credential>>> {
        let certificates = self.told(tls::certificates(path, self.base))?;
        let mut credentials = Vec::new();
        for certificate in certificates {
            let spki = ParsedCertificate::try_from(&certificate).ok();
            let verifier = spki.and_then(|spki| Verifier::from_spki(&spki.subject_public_key_info()));
            let Some(verifier) = verifier else {
                let what = format!("{}: no certificate of an Ed25519 or P-256 key", path.get_ref().display());
                self.faults.at(Some(path.span()), &what);
                return None;
            };
            let (der, thumbprint) = ((&*certificate).into(), thumbprint(&certificate));
            credentials.push(Arc::new(Credential { certificate, verifier, der, thumbprint }));
        }
        Some(credentials)
    }
}

fn is_name(name: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

/// The host that a certificate must name, and host with port, of `https://host:port`.
fn authority(
    url: &Spanned<String>,
) -> Result<(ServerName<'static>, String), (std::ops::Range<usize>, String)> {
    let text = url.get_ref();
    let wrong = || (url.span(), format!("url \"{text}\" is not of the form https://host:port"));
    let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (rest, 443_u16),
    };
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| wrong())?;
    Ok((name, format!("{host}:{port}")))
}
