//! `[loans.one-time-password]`, `[loans.sim-swap]` and `[loans.call-forwarding]`: an operator's CAMARA APIs that the loan gate
//! asks (docs/lending.md).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use exchange::BreakerLimits;
use serde::Deserialize;
use toml::Spanned;

use super::{Reader, explain_io};
use crate::loans::operator::{Api, Service, Settings};
use crate::tls::read_secret;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OperatorTable {
    pub url: Spanned<String>,
    pub token_url: String,
    pub client_id: String,
    pub client_secret: Spanned<String>,
    pub ca: Option<Spanned<PathBuf>>,
    pub timeout_ms: Option<Spanned<u64>>,
    pub failures: Option<Spanned<u64>>,
    pub rest_s: Option<Spanned<u64>>,
}

/// What `env:NAME` stands for, or the text itself.
pub(super) fn of_environment(text: &str) -> Result<Option<String>, String> {
    let Some(name) = text.strip_prefix("env:") else { return Ok(None) };
    std::env::var(name).map(Some).map_err(|_| format!("no environment variable {name}"))
}

impl Reader<'_> {
    /// A secret text: `env:NAME`, or a file that nobody else may read.
    pub(super) fn secret(&mut self, place: &Spanned<String>) -> Option<String> {
        let text = place.get_ref();
        let secret = of_environment(text).and_then(|secret| match secret {
            Some(secret) => Ok(secret),
            None => {
                let bytes = read_secret(&self.base.join(text)).map_err(|what| format!("{text}: {what}"))?;
                String::from_utf8(bytes).map_err(|_| format!("{text}: not text"))
            }
        });
        self.told(secret.map_err(|what| (place.span(), what)))
    }

    pub(super) fn operator(&mut self, service: Service, table: Option<&OperatorTable>) -> Option<Arc<Api>> {
        let table = table?;
        let secret = self.secret(&table.client_secret)?.trim().to_owned();
        let ca = table.ca.as_ref().map(|path| {
            let pem = std::fs::read(self.base.join(path.get_ref()));
            self.told(pem.map_err(|error| {
                (path.span(), format!("{}: {}", path.get_ref().display(), explain_io(&error)))
            }))
        });
        let timeout_ms = self.bounded("timeout-ms", table.timeout_ms.as_ref(), 3000, 100..=30_000);
        let failures = self.bounded("failures", table.failures.as_ref(), 10, 1..=1000);
        let rest_s = self.bounded("rest-s", table.rest_s.as_ref(), 10, 1..=60);
        let breaker = BreakerLimits { failures: failures as u32, rest_ms: rest_s as i64 * 1000 };
        let settings = Settings {
            url: table.url.get_ref().clone(),
            token_url: table.token_url.clone(),
            client_id: table.client_id.clone(),
            client_secret: secret,
            ca: match ca {
                Some(pem) => Some(pem?),
                None => None,
            },
            timeout: Duration::from_millis(timeout_ms),
            breaker,
        };
        if settings.client_secret.is_empty() {
            self.faults.at(Some(table.client_secret.span()), "client-secret is empty");
        }
        let api = Api::new(service, settings).map_err(|what| (table.url.span(), what));
        self.told(api).map(Arc::new)
    }
}
