//! `[loans.page]` and `[loans.face]`: the citizen's page, and who judges faces (docs/lending.md).

use std::path::PathBuf;

use hyper::header::HeaderName;
use serde::Deserialize;
use toml::Spanned;

use super::Reader;
use crate::tls::read_secret;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PageTable {
    url: Spanned<String>,
    link_min: Option<Spanned<u64>>,
    session_min: Option<Spanned<u64>>,
    requests_per_min: Option<Spanned<u64>>,
    address_header: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FaceTable {
    models: Option<Spanned<PathBuf>>,
    provider: Option<Spanned<String>>,
    provider_secret: Option<Spanned<PathBuf>>,
    thresholds: Option<Spanned<face::Thresholds>>,
    workers: Option<Spanned<u64>>,
    command_s: Option<Spanned<u64>>,
    keep_pictures_h: Option<Spanned<u64>>,
    keep_references_h: Option<Spanned<u64>>,
}

/// The citizen's page as it is configured.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where citizens reach this node: scheme and host, without a slash at the end.
    pub url: String,
    pub link_ms: i64,
    pub session_ms: i64,
    /// Requests of one address.
    pub requests_per_min: u32,
    /// Where a proxy in front says whose request it is.
    pub address_header: Option<HeaderName>,
}

/// Who judges faces, and what is kept.
#[derive(Clone, Debug)]
pub struct Faces {
    pub models: Option<PathBuf>,
    pub provider: Option<Provider>,
    pub thresholds: face::Thresholds,
    pub workers: usize,
    /// For each command.
    pub command_ms: i64,
    /// 0: pictures are not kept.
    pub keep_pictures_ms: i64,
    /// 0: of a reference photo only its numbers are kept.
    pub keep_references_ms: i64,
}

/// An outside service of remote identification.
#[derive(Clone)]
pub struct Provider {
    pub url: String,
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").finish_non_exhaustive()
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// `https://host`, and `http://` for this machine alone: what goes there is personal.
fn is_safe(url: &str) -> bool {
    let host = |rest: &str| rest.split(['/', ':']).next().unwrap_or("").to_owned();
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => !host(rest).is_empty(),
        (_, Some(rest)) => matches!(host(rest).as_str(), "localhost" | "127.0.0.1"),
        _ => false,
    }
}

impl Reader<'_> {
    pub(super) fn page(&mut self, table: &PageTable) -> Option<Page> {
        let url = table.url.get_ref().trim_end_matches('/').to_owned();
        let what = || format!("url \"{url}\" is not https://… (http:// is taken for this machine alone)");
        let url = is_safe(&url).then(|| url.clone()).ok_or_else(|| (table.url.span(), what()));
        let header = table.address_header.as_ref().map(|name| {
            let what = || (name.span(), "address-header is no name of a header".to_owned());
            name.get_ref().parse::<HeaderName>().map_err(|_| what())
        });
        let (url, header) = (self.told(url), self.told(header.transpose()));
        let link_min = self.bounded("link-min", table.link_min.as_ref(), 60, 1..=4320);
        let session_min = self.bounded("session-min", table.session_min.as_ref(), 30, 5..=240);
        let per_min = self.bounded("requests-per-min", table.requests_per_min.as_ref(), 1200, 10..=1_000_000);
        Some(Page {
            url: url?,
            link_ms: link_min as i64 * MINUTE_MS,
            session_ms: session_min as i64 * MINUTE_MS,
            requests_per_min: per_min as u32,
            address_header: header?,
        })
    }

    pub(super) fn faces(&mut self, table: &FaceTable) -> Option<Faces> {
        let provider = match (&table.provider, &table.provider_secret) {
            (None, None) => Ok(None),
            (Some(url), Some(path)) => self.provider(url, path).map(Some),
            (Some(url), None) => Err((url.span(), "a provider needs provider-secret too".to_owned())),
            (None, Some(path)) => {
                Err((path.span(), "provider-secret is of no use without provider".to_owned()))
            }
        };
        let provider = self.told(provider);
        let workers = self.bounded("workers", table.workers.as_ref(), 1, 1..=256);
        let command_s = self.bounded("command-s", table.command_s.as_ref(), 8, 3..=30);
        let keep_pictures_h = self.bounded("keep-pictures-h", table.keep_pictures_h.as_ref(), 0, 0..=87_600);
        let keep_references_h =
            self.bounded("keep-references-h", table.keep_references_h.as_ref(), 0, 0..=876_000);
        Some(Faces {
            models: table.models.as_ref().map(|path| self.base.join(path.get_ref())),
            provider: provider?,
            thresholds: table.thresholds.as_ref().map(|set| set.get_ref().clone()).unwrap_or_default(),
            workers: workers as usize,
            command_ms: command_s as i64 * 1000,
            keep_pictures_ms: keep_pictures_h as i64 * HOUR_MS,
            keep_references_ms: keep_references_h as i64 * HOUR_MS,
        })
    }

    fn provider(
        &self,
        url: &Spanned<String>,
        path: &Spanned<PathBuf>,
    ) -> Result<Provider, (std::ops::Range<usize>, String)> {
        if !is_safe(url.get_ref()) {
            let what = "provider is not https://… (http:// is taken for this machine alone)";
            return Err((url.span(), what.to_owned()));
        }
        let shown = |what: String| (path.span(), format!("{}: {what}", path.get_ref().display()));
        let secret = read_secret(&self.base.join(path.get_ref())).map_err(shown)?;
        let secret = secret.trim_ascii().to_vec();
        if secret.len() < 32 {
            return Err(shown("shorter than 32 characters".to_owned()));
        }
        Ok(Provider { url: url.get_ref().clone(), secret })
    }
}
