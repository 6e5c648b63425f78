//! TLS as a server (RFC 8446, RFC 5246): certificate and key from files, client certificates where asked for.
//!
//! A [`ServerConfig`] is made when the configuration is read, so a broken certificate refuses a reload whole
//! and connections that stand keep what they began with.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use toml::Spanned;

use crate::config::explain_io;

/// `[sip.tls]`, `[http.tls]`: PEM files.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlsTable {
    /// The certificate, and those between it and the authority.
    pub certificate: Spanned<PathBuf>,
    /// Its private key; nobody else may be able to read the file.
    pub key: Spanned<PathBuf>,
    /// Authorities whose client certificates are taken; left out: none is asked for.
    pub client_ca: Option<Spanned<PathBuf>>,
    /// Whether a client without a certificate is turned away.
    #[serde(default)]
    pub clients: Clients,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clients {
    #[default]
    Required,
    Optional,
}

/// Reads the files of a table, paths relative to `base`; a fault comes with the span of the value at fault.
pub fn server_config(
    table: &TlsTable,
    base: &Path,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, (std::ops::Range<usize>, String)> {
    let at = |value: &Spanned<PathBuf>, what: String| {
        (value.span(), format!("{}: {what}", value.get_ref().display()))
    };
    let certificates = |value: &Spanned<PathBuf>| {
        let pem = fs::read(base.join(value.get_ref())).map_err(|error| at(value, explain_io(&error)))?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => Err(at(value, "no certificate in PEM form".to_owned())),
        }
    };
    let chain = certificates(&table.certificate)?;
    let pem = read_secret(&base.join(table.key.get_ref())).map_err(|what| at(&table.key, what))?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| at(&table.key, "no private key in PEM form".to_owned()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the usual versions");
    let builder = match &table.client_ca {
        None => builder.with_no_client_auth(),
        Some(value) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(value)? {
                roots.add(authority).map_err(|error| at(value, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match table.clients {
                Clients::Required => verifier,
                Clients::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| at(value, error.to_string()))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| at(&table.certificate, format!("does not go with its key: {error}")))?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Reads a file that only its owner may read: a key, a password.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<(u32, Vec<u8>)> { Ok((fs::metadata(path)?.mode(), fs::read(path)?)) };
    let (mode, bytes) = read().map_err(|error| explain_io(&error))?;
    match mode & 0o077 {
        0 => Ok(bytes),
        _ => Err(format!("others may read it (mode {:04o}): chmod 600 {}", mode & 0o7777, path.display())),
    }
}
