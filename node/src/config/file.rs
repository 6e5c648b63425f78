//! The keys of `qalqan.toml`. The shipped example explains them; every key but the trunks has a default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rules::Language;
use screening::ListName;
use serde::Deserialize;
use toml::Spanned;

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
    pub onward: Option<Spanned<String>>,
    #[serde(default)]
    pub rules: Modes,
    #[serde(default)]
    pub caps: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SipTable {
    pub listen: Vec<Spanned<String>>,
    pub workers: usize,
    pub allow: Allow,
    pub block: Spanned<String>,
    pub marks: Marks,
    pub onward: Option<Spanned<String>>,
    pub unknown_source: UnknownSource,
    pub redress: Option<Spanned<String>>,
    /// Answers to blocks by single rules.
    pub answers: BTreeMap<String, Spanned<String>>,
}

impl Default for SipTable {
    fn default() -> SipTable {
        SipTable {
            listen: vec![unplaced("0.0.0.0:5060")],
            workers: 0,
            allow: Allow::default(),
            block: unplaced("603"),
            marks: Marks::default(),
            onward: None,
            unknown_source: UnknownSource::default(),
            redress: None,
            answers: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct JournalTable {
    pub directory: PathBuf,
    pub segment_mb: Spanned<u64>,
    pub keep_days: u32,
}

impl Default for JournalTable {
    fn default() -> JournalTable {
        JournalTable { directory: "journal".into(), segment_mb: Spanned::new(0..0, 16), keep_days: 30 }
    }
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
