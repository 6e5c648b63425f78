//! The keys of `qalqan.toml`. The shipped example explains them; every key but the trunks has a default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rules::Language;
use screening::ListName;
use serde::Deserialize;
use toml::Spanned;

use super::casework::CaseworkTable;
use super::exchange::{ExchangeTable, MemberTable};
use super::http::HttpTable;
use super::hunting::Hunting;
use super::journal::{EvidenceTable, JournalTable};
use super::loans::LoansTable;
use super::nats::NatsTable;
use super::roaming::RoamingTable;
use super::tracing::TracingTable;
use crate::tls::TlsTable;

/// Modes by rule, as written.
pub type Modes = BTreeMap<String, Spanned<String>>;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConfigFile {
    /// A shipped plan (kz, gb) or a path.
    #[serde(default = "kz")]
    pub plan: Spanned<String>,
    /// Of what people read: kk, ru, en.
    #[serde(default)]
    pub language: Language,
    #[serde(default)]
    pub sip: SipTable,
    #[serde(default)]
    pub journal: JournalTable,
    #[serde(default)]
    pub evidence: EvidenceTable,
    #[serde(default)]
    pub http: HttpTable,
    pub tracing: Option<TracingTable>,
    pub nats: Option<NatsTable>,
    pub exchange: Option<ExchangeTable>,
    pub roaming: Option<Spanned<RoamingTable>>,
    pub loans: Option<LoansTable>,
    pub casework: Option<CaseworkTable>,
    /// For `qalqan hunt` and for watching calls; its clock is the register's too.
    pub hunting: Option<Hunting>,
    #[serde(default)]
    pub member: BTreeMap<String, Spanned<MemberTable>>,
    #[serde(default)]
    pub rules: Modes,
    #[serde(default)]
    pub lists: BTreeMap<ListName, Spanned<PathBuf>>,
    #[serde(default)]
    pub trunk: BTreeMap<String, TrunkTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrunkTable {
    pub class: Spanned<String>,
    #[serde(default)]
    pub source: Vec<Spanned<String>>,
    pub numbers: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub international_prefixes: Vec<String>,
    pub onward: Option<Spanned<Onward>>,
    /// The member of the exchange behind the trunk.
    pub member: Option<Spanned<String>>,
    #[serde(default)]
    pub rules: Modes,
    #[serde(default)]
    pub caps: BTreeMap<String, Spanned<String>>,
    /// The behaviour score above which R18 blocks.
    pub behaviour_threshold: Option<Spanned<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SipTable {
    pub listen: Vec<Spanned<String>>,
    pub workers: usize,
    pub mode: Way,
    pub allow: Allow,
    pub block: Spanned<String>,
    pub marks: Marks,
    pub onward: Option<Spanned<Onward>>,
    pub unknown_source: UnknownSource,
    pub redress: Option<Spanned<String>>,
    pub tls: Option<TlsTable>,
    pub connections: ConnectionsTable,
    pub proxy: ProxyTable,
    /// Answers to blocks by single rules.
    pub answers: BTreeMap<String, Spanned<String>>,
}

impl Default for SipTable {
    fn default() -> SipTable {
        SipTable {
            listen: vec![unplaced("0.0.0.0:5060")],
            workers: 0,
            mode: Way::default(),
            allow: Allow::default(),
            block: unplaced("603"),
            marks: Marks::default(),
            onward: None,
            unknown_source: UnknownSource::default(),
            redress: None,
            tls: None,
            connections: ConnectionsTable::default(),
            proxy: ProxyTable::default(),
            answers: BTreeMap::new(),
        }
    }
}

/// One next hop, or several in the order in which they are tried.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a host and port, or a list of them")]
pub enum Onward {
    One(String),
    Several(Vec<String>),
}

impl Onward {
    pub fn hops(&self) -> &[String] {
        match self {
            Onward::One(hop) => std::slice::from_ref(hop),
            Onward::Several(hops) => hops,
        }
    }
}

/// Bounds on TCP and TLS connections.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ConnectionsTable {
    pub most: usize,
    pub most_per_source: usize,
    pub idle_s: u64,
    pub message_s: u64,
}

impl Default for ConnectionsTable {
    fn default() -> ConnectionsTable {
        ConnectionsTable { most: 20_000, most_per_source: 1000, idle_s: 900, message_s: 10 }
    }
}

/// How calls are passed on in proxy mode.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ProxyTable {
    /// Host and port that next hops answer to; by default the first address listened on.
    pub via: Option<Spanned<String>>,
    pub record_route: bool,
    /// Whether a mark is written into the display name of From.
    pub display: bool,
    pub probe_ms: u64,
    pub silent_ms: u64,
}

impl Default for ProxyTable {
    fn default() -> ProxyTable {
        ProxyTable { via: None, record_route: false, display: true, probe_ms: 1000, silent_ms: 1500 }
    }
}

/// How calls are handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The switch asks, and routes by the answer.
    #[default]
    Redirect,
    /// The node stands in the call's way and passes it on itself.
    Proxy,
}

/// How a call that may pass is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub enum Allow {
    /// Redirected to the onward target.
    #[default]
    #[serde(rename = "302")]
    Redirect,
    /// Route advance: the switch tries its next route.
    #[serde(rename = "404")]
    NotFound,
    #[serde(rename = "503")]
    Unavailable,
}

/// Where marks and withheld numbers stand in a 302.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Marks {
    #[default]
    Headers,
    /// In the Contact URI, as header fields of the next request (RFC 3261 section 19.1.1).
    Contact,
    Both,
}

/// What a request from an address of no trunk gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownSource {
    /// 403.
    #[default]
    Refuse,
    Silent,
}

fn unplaced(text: &str) -> Spanned<String> {
    Spanned::new(0..0, text.to_owned())
}

fn kz() -> Spanned<String> {
    unplaced("kz")
}
