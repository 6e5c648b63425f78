//! `[tracing]`: where traces of sampled calls go.

use serde::Deserialize;
use toml::Spanned;

use super::Reader;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TracingTable {
    pub url: Spanned<String>,
    #[serde(default = "one_in_a_hundred")]
    pub sample: Spanned<f64>,
}

fn one_in_a_hundred() -> Spanned<f64> {
    Spanned::new(0..0, 0.01)
}

/// Where traces go, and of how many calls.
#[derive(Clone, PartialEq, Debug)]
pub struct Tracing {
    /// The collector's address for OTLP over HTTP; `/v1/traces` is put behind it.
    pub url: String,
    /// The share of calls that is traced, 0 to 1.
    pub sample: f64,
}

impl Reader<'_> {
    pub(super) fn tracing(&mut self, table: Option<&TracingTable>) -> Option<Tracing> {
        let TracingTable { url, sample } = table?;
        let rest = ["http://", "https://"].iter().find_map(|scheme| url.get_ref().strip_prefix(scheme));
        let is_plain = |rest: &str| {
            !rest.is_empty()
                && !rest.starts_with(['/', ':'])
                && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        if !rest.is_some_and(is_plain) {
            let what = format!("url \"{}\" is not a URL, such as http://127.0.0.1:4318", url.get_ref());
            self.faults.at(Some(url.span()), &what);
        }
        if !(0.0..=1.0).contains(sample.get_ref()) {
            self.faults.at(Some(sample.span()), "sample is not between 0 (no call) and 1 (every call)");
        }
        Some(Tracing { url: url.get_ref().clone(), sample: *sample.get_ref() })
    }
}
