//! `[loans.smpp]`: the SMSC that takes the loan gate's texts (docs/lending.md), checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use smpp::{Address, Long};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use toml::Spanned;

use super::Reader;
use super::operator::of_environment;
use crate::tls;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SmppTable {
    pub address: Spanned<String>,
    pub credentials: Spanned<String>,
    #[serde(default)]
    pub system_type: Option<Spanned<String>>,
    pub source: Spanned<String>,
    pub source_ton: Option<Spanned<u64>>,
    pub source_npi: Option<Spanned<u64>>,
    pub window: Option<Spanned<u64>>,
    pub per_second: Option<Spanned<u64>>,
    pub enquire_link_s: Option<Spanned<u64>>,
    pub response_s: Option<Spanned<u64>>,
    #[serde(default)]
    pub long_texts: LongTexts,
    pub user_message_reference: Option<bool>,
    pub ca: Option<Spanned<PathBuf>>,
    pub tls_name: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongTexts {
    #[default]
    Udh8,
    Udh16,
    Payload,
}

/// The file of `credentials`, or what its environment variable holds.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CredentialsFile {
    system_id: String,
    password: String,
}

const FORM: &str = "holds not system-id = \"…\" and password = \"…\" alone";

/// The SMSC and how it is spoken to.
#[derive(Clone, PartialEq)]
pub struct Smpp {
    /// host:port
    pub address: String,
    pub session: smpp::Settings,
    pub source: Address,
    pub long: Long,
    /// Whether messages carry user_message_reference.
    pub has_reference: bool,
    pub tls: Option<Tls>,
}

/// TLS to the SMSC.
#[derive(Clone)]
pub struct Tls {
    pub name: ServerName<'static>,
    pub config: Arc<ClientConfig>,
    trusted: Vec<CertificateDer<'static>>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        (&self.name, &self.trusted) == (&other.name, &other.trusted)
    }
}

impl Reader<'_> {
    pub(super) fn smpp(&mut self, table: &SmppTable) -> Option<Smpp> {
        let address = table.address.get_ref();
        let host =
            address.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if host.is_none() {
            self.faults.at(
                Some(table.address.span()),
                &format!("address \"{address}\" is not of the form host:port"),
            );
        }
        let host = host.map_or("", |(host, _)| host).trim_matches(['[', ']']);
        let credentials = self.smpp_credentials(&table.credentials);
        let system_type = table.system_type.as_ref().map_or("", |value| value.get_ref());
        if !is_c_string(system_type, 12) {
            self.faults.at(
                table.system_type.as_ref().map(Spanned::span),
                "system-type is not at most 12 characters of ASCII",
            );
        }
        let source = self.smpp_source(table);
        let tls = self.smpp_tls(table, host);
        let window = self.bounded("window", table.window.as_ref(), 50, 1..=10_000) as usize;
        let per_second = self.bounded("per-second", table.per_second.as_ref(), 50, 0..=100_000) as u32;
        let enquire_link_s = self.bounded("enquire-link-s", table.enquire_link_s.as_ref(), 30, 1..=3600);
        // Below the minute for which a text is taken: nobody else may find it under way.
        let response_s = self.bounded("response-s", table.response_s.as_ref(), 20, 1..=40);
        let (system_id, password) = credentials?;
        Some(Smpp {
            address: address.clone(),
            session: smpp::Settings {
                system_id,
                password,
                system_type: system_type.to_owned(),
                window,
                per_second,
                enquire_link_ms: enquire_link_s * 1000,
                response_ms: response_s * 1000,
            },
            source,
            long: match table.long_texts {
                LongTexts::Udh8 => Long::Udh8,
                LongTexts::Udh16 => Long::Udh16,
                LongTexts::Payload => Long::Payload,
            },
            has_reference: table.user_message_reference.unwrap_or(true),
            tls: tls?,
        })
    }

    fn smpp_credentials(&mut self, named: &Spanned<String>) -> Option<(String, String)> {
        let text = named.get_ref();
        let secret = of_environment(text).and_then(|secret| match secret {
            Some(secret) => Ok(secret),
            None => {
                let bytes =
                    tls::read_secret(&self.base.join(text)).map_err(|what| format!("{text}: {what}"))?;
                String::from_utf8(bytes).map_err(|_| format!("{text}: is no text"))
            }
        });
        let read = secret.and_then(|secret| {
            // What the parser shows of a secret file stays unsaid.
            let file: CredentialsFile = toml::from_str(&secret).map_err(|_| format!("{text}: {FORM}"))?;
            if !is_c_string(&file.system_id, 15) || file.system_id.is_empty() {
                return Err(format!("{text}: system-id is not 1 to 15 characters of ASCII"));
            }
            if !is_c_string(&file.password, 8) {
                return Err(format!(
                    "{text}: password is not at most 8 characters of ASCII: SMPP 3.4 has no room for more"
                ));
            }
            Ok((file.system_id, file.password))
        });
        self.told(read.map_err(|what| (named.span(), what)))
    }

    /// By its form: a number in E.164 is international, letters are alphanumeric, few digits are a short number.
    fn smpp_source(&mut self, table: &SmppTable) -> Address {
        let text = table.source.get_ref();
        let digits = text.strip_prefix('+').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let (ton, npi, most) = match (is_number, text.starts_with('+')) {
            (true, true) => (1, 1, 15),
            (true, false) => (3, 0, 20),
            // 11 septets fit the address field of a telephone (3GPP TS 23.040 section 9.1.2.5).
            (false, _) => (5, 0, 11),
        };
        if digits.is_empty() || !is_c_string(digits, most) {
            let what = format!("source \"{text}\" is not a number, +77…, nor 1 to 11 letters of ASCII");
            self.faults.at(Some(table.source.span()), &what);
        }
        Address {
            ton: self.bounded("source-ton", table.source_ton.as_ref(), ton, 0..=7) as u8,
            npi: self.bounded("source-npi", table.source_npi.as_ref(), npi, 0..=18) as u8,
            digits: digits.to_owned(),
        }
    }

    fn smpp_tls(&mut self, table: &SmppTable, host: &str) -> Option<Option<Tls>> {
        let Some(ca) = &table.ca else {
            if let Some(name) = &table.tls_name {
                self.faults.at(Some(name.span()), "tls-name without ca: name the authority of the SMSC");
            }
            return Some(None);
        };
        let trusted = tls::certificates(ca, self.base);
        let trusted = self.told(trusted)?;
        let config = tls::client(&trusted).map_err(|what| (ca.span(), what));
        let config = self.told(config)?;
        let (name, span) = table
            .tls_name
            .as_ref()
            .map_or((host, table.address.span()), |name| (name.get_ref().as_str(), name.span()));
        let name = ServerName::try_from(name.to_owned());
        let name = self
            .told(name.map_err(|_| (span, "no name that a certificate can have: set tls-name".to_owned())))?;
        Some(Some(Tls { name, config, trusted }))
    }
}

fn is_c_string(text: &str, most: usize) -> bool {
    text.len() <= most && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

impl Smpp {
    /// How long an answer is waited for.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.session.response_ms)
    }
}
