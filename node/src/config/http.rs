//! `[http]`: where HTTP is spoken, who may ask, and how much.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_rustls::rustls::ServerConfig;
use toml::Spanned;

use super::Reader;
use crate::http::Keys;
use crate::tls::{self, TlsTable};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HttpTable {
    pub listen: Vec<Spanned<String>>,
    pub workers: usize,
    pub tls: Option<TlsTable>,
    pub api_keys: Option<Spanned<PathBuf>>,
    pub body_kb: Spanned<u64>,
    pub connections: Spanned<u64>,
    pub header_s: Spanned<u64>,
    pub body_s: Spanned<u64>,
    pub idle_s: Spanned<u64>,
}

impl Default for HttpTable {
    fn default() -> HttpTable {
        let usual = |value| Spanned::new(0..0, value);
        HttpTable {
            listen: Vec::new(),
            workers: 1,
            tls: None,
            api_keys: None,
            body_kb: usual(1024),
            connections: usual(1000),
            header_s: usual(5),
            body_s: usual(10),
            idle_s: usual(60),
        }
    }
}

/// How HTTP is spoken.
#[derive(Clone)]
pub struct Http {
    /// None: no HTTP.
    pub listen: Vec<SocketAddr>,
    /// Threads for each listening address.
    pub workers: usize,
    pub tls: Option<Arc<ServerConfig>>,
    pub who: Who,
    pub body_bytes: usize,
    /// Open at once, on all addresses together.
    pub connections: u64,
    /// For the request line and header fields, from their first byte on.
    pub header: Duration,
    pub body: Duration,
    /// Between requests.
    pub idle: Duration,
}

/// Who may ask for verdicts.
#[derive(Clone, Default)]
pub struct Who {
    /// Those who hold a key of the file.
    pub keys: Option<Arc<Keys>>,
    /// Those whose client certificate was checked when the connection began.
    pub certificates: bool,
}

impl Reader<'_> {
    pub(super) fn http(&mut self, table: &HttpTable, trunks: &[String]) -> Http {
        let mut listen = Vec::new();
        for text in &table.listen {
            match text.get_ref().parse::<SocketAddr>() {
                Ok(address) if address.port() > 0 => listen.push(address),
                _ => {
                    let what = format!(
                        "listen \"{}\" is not an address and port, such as 127.0.0.1:8080",
                        text.get_ref()
                    );
                    self.faults.at(Some(text.span()), &what);
                }
            }
        }
        let tls = table.tls.as_ref().and_then(|tls| {
            let made = tls::server_config(tls, self.base, &[b"http/1.1"]);
            made.map_err(|(span, what)| self.faults.at(Some(span), &what)).ok()
        });
        let keys = table.api_keys.as_ref().and_then(|path| self.keys(path, trunks));
        let certificates = table.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if table.api_keys.is_none() && !certificates {
            for text in &table.listen {
                let open = text.get_ref().parse::<SocketAddr>().is_ok_and(|at| !at.ip().is_loopback());
                if open {
                    let what = format!(
                        "listen \"{}\" lets anybody ask: set api-keys, or client-ca in [http.tls], or listen on 127.0.0.1 only",
                        text.get_ref()
                    );
                    self.faults.at(Some(text.span()), &what);
                }
            }
        }
        let mut within = |name: &str, value: &Spanned<u64>, most: u64| {
            if !(1..=most).contains(value.get_ref()) {
                self.faults.at(Some(value.span()), &format!("{name} is not between 1 and {most}"));
            }
            *value.get_ref()
        };
        Http {
            body_bytes: within("body-kb", &table.body_kb, 65_536).saturating_mul(1024) as usize,
            connections: within("connections", &table.connections, 1_000_000),
            header: Duration::from_secs(within("header-s", &table.header_s, 3600)),
            body: Duration::from_secs(within("body-s", &table.body_s, 3600)),
            idle: Duration::from_secs(within("idle-s", &table.idle_s, 86_400)),
            listen,
            workers: match table.workers {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                n => n.min(256),
            },
            tls,
            who: Who { keys, certificates },
        }
    }

    fn keys(&mut self, path: &Spanned<PathBuf>, trunks: &[String]) -> Option<Arc<Keys>> {
        let shown = path.get_ref().display().to_string();
        let full = self.base.join(path.get_ref());
        match tls::read_secret(&full) {
            Err(what) => self.faults.at(Some(path.span()), &format!("{shown}: {what}")),
            Ok(bytes) => match Keys::read(&bytes, trunks) {
                Ok(keys) => return Some(Arc::new(keys)),
                Err(lines) => {
                    for (line, what) in lines {
                        self.faults.elsewhere(&full.display().to_string(), line, &what);
                    }
                }
            },
        }
        None
    }
}
