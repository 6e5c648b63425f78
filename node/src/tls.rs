//! TLS (RFC 8446, RFC 5246): certificate and key from files, certificates of the other side where asked for.
//!
//! Its configuration is made when the configuration is read, so a broken certificate refuses a reload whole
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
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
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

/// A fault and the span of the value at fault.
type Fault = (std::ops::Range<usize>, String);

fn at(value: &Spanned<PathBuf>, what: impl std::fmt::Display) -> Fault {
    (value.span(), format!("{}: {what}", value.get_ref().display()))
}

/// The certificates of a PEM file, one at least; the path is relative to `base`.
pub fn certificates(path: &Spanned<PathBuf>, base: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = fs::read(base.join(path.get_ref())).map_err(|error| at(path, explain_io(&error)))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(at(path, "no certificate in PEM form")),
    }
}

/// Who this node is: its certificate, those between it and the authority, and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// Reads who this node is; nobody else may be able to read the key.
pub fn identity(
    certificate: &Spanned<PathBuf>,
    key: &Spanned<PathBuf>,
    base: &Path,
) -> Result<Identity, Fault> {
    let chain = certificates(certificate, base)?;
    let pem = read_secret(&base.join(key.get_ref())).map_err(|what| at(key, what))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| at(key, "no private key in PEM form"))?;
    Ok(Identity { chain, key })
}

/// Reads the files of a table, paths relative to `base`; a fault comes with the span of the value at fault.
pub fn server_config(table: &TlsTable, base: &Path, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, Fault> {
    let identity = identity(&table.certificate, &table.key, base)?;
    let clients = match &table.client_ca {
        None => None,
        Some(value) => {
            let roots = roots(&certificates(value, base)?).map_err(|what| at(value, what))?;
            Some((roots, table.clients))
        }
    };
    server(&identity, clients, alpn).map_err(|what| at(&table.certificate, what))
}

/// How other members of the exchange are answered: over HTTP/2, and only who shows a certificate under `roots`.
pub fn exchange_server(
    identity: &Identity,
    trusted: &[CertificateDer<'static>],
) -> Result<Arc<ServerConfig>, String> {
    server(identity, Some((roots(trusted)?, Clients::Required)), &[b"h2"])
}

/// How other members of the exchange are asked: over HTTP/2, showing this node's own certificate.
pub fn exchange_client(
    identity: &Identity,
    trusted: &[CertificateDer<'static>],
) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows the usual versions")
        .with_root_certificates(roots(trusted)?);
    let mut config = builder
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(|error| format!("does not go with its key: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// How a server under `trusted` is asked that wants no certificate of this node.
pub fn client(trusted: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows the usual versions");
    Ok(Arc::new(builder.with_root_certificates(roots(trusted)?).with_no_client_auth()))
}

fn roots(trusted: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for authority in trusted {
        roots.add(authority.clone()).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(roots))
}

fn server(
    identity: &Identity,
    clients: Option<(Arc<RootCertStore>, Clients)>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the usual versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((roots, clients)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match clients {
                Clients::Required => verifier,
                Clients::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
        }
    };
    let mut config = builder
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(|error| format!("does not go with its key: {error}"))?;
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
