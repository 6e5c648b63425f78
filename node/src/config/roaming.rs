//! `[roaming]`: where this operator's own subscribers are looked for (docs/roaming.md).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{Reader, explain_io};
use crate::roaming::camara::{self, Camara};
use crate::roaming::hlr;
use crate::roaming::networks::Networks;
use crate::tls;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RoamingTable {
    pub hlr: Option<Spanned<String>>,
    #[serde(default)]
    pub home_vlrs: Vec<String>,
    #[serde(default)]
    pub countries: BTreeMap<String, String>,
    #[serde(default)]
    pub last_known: bool,
    pub camara_url: Option<Spanned<String>>,
    pub camara_token: Option<Spanned<PathBuf>>,
    pub camara_ca: Option<Spanned<PathBuf>>,
    pub feed_numbers: Option<Spanned<u64>>,
    pub feed_hours: Option<Spanned<u64>>,
}

/// Where own subscribers are looked for, in this order: the feed, the HLR, the API.
pub struct Roaming {
    /// How many numbers' location updates are remembered, and for how long, ms; none: the feed takes nothing.
    pub feed: Option<(usize, i64)>,
    pub hlr: Option<hlr::Settings>,
    pub camara: Option<camara::Settings>,
}

impl Reader<'_> {
    pub(super) fn roaming(
        &mut self,
        table: Option<&Spanned<RoamingTable>>,
        has_exchange: bool,
    ) -> Option<Roaming> {
        let table = table?;
        if !has_exchange {
            let what =
                "[roaming] without [exchange]: what is found here is for R10 to R12 and for other operators";
            self.faults.at(Some(table.span()), what);
        }
        let table = table.get_ref();
        let hlr = table.hlr.as_ref().and_then(|address| {
            let is_address = address.get_ref().rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            if !is_address {
                let what =
                    format!("hlr \"{}\" is not a host and port, such as 127.0.0.1:4259", address.get_ref());
                self.faults.at(Some(address.span()), &what);
            }
            let countries: Vec<_> = table.countries.iter().collect();
            let networks = Networks::new(&table.home_vlrs, &countries).map_err(|what| (address.span(), what));
            let networks = self.told(networks)?;
            Some(hlr::Settings { address: address.get_ref().clone(), networks, last_known: table.last_known })
        });
        let camara = table.camara_url.as_ref().and_then(|url| self.camara(url, table));
        let numbers = self.bounded("feed-numbers", table.feed_numbers.as_ref(), 0, 0..=1_000_000_000);
        let hours = self.bounded("feed-hours", table.feed_hours.as_ref(), 12, 1..=720);
        let feed = (numbers > 0).then_some((numbers as usize, hours as i64 * 3_600_000));
        Some(Roaming { feed, hlr, camara })
    }

    fn camara(&mut self, url: &Spanned<String>, table: &RoamingTable) -> Option<camara::Settings> {
        let at = |path: &Spanned<PathBuf>, what: String| {
            (path.span(), format!("{}: {what}", path.get_ref().display()))
        };
        let token = match &table.camara_token {
            None => None,
            Some(path) => {
                let bytes = tls::read_secret(&self.base.join(path.get_ref())).map_err(|what| at(path, what));
                let text = bytes.and_then(|bytes| {
                    String::from_utf8(bytes).map_err(|_| at(path, "holds no token".to_owned()))
                });
                Some(self.told(text)?)
            }
        };
        let tls = match &table.camara_ca {
            None => None,
            Some(path) => {
                let pem = std::fs::read(self.base.join(path.get_ref()));
                let pem = pem.map_err(|error| at(path, explain_io(&error)));
                let trusted = pem.and_then(|pem| camara::trusting(&pem).map_err(|what| at(path, what)));
                Some(self.told(trusted)?)
            }
        };
        let settings = camara::Settings { url: url.get_ref().clone(), token, tls };
        // Made once to find faults now, not when the first call comes.
        self.told(Camara::new(settings.clone()).map(drop).map_err(|what| (url.span(), what)))?;
        Some(settings)
    }
}
