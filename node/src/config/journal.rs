//! `[journal]`: where verdicts are kept, how their numbers are, for how long, and under which keys. `[evidence]`: what packages of
//! them are written with.

use std::path::{Path, PathBuf};

use journal::Numbers;
use serde::Deserialize;
use toml::Spanned;

use super::Faults;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct JournalTable {
    pub directory: PathBuf,
    /// Room that a log reserves.
    pub segment_mb: Spanned<u64>,
    /// After how long a log that is not full is sealed.
    pub seal_minutes: Spanned<u64>,
    /// 0: for ever.
    pub keep_days: u32,
    pub numbers: Numbers,
    pub keys: PathBuf,
    /// An S3 URL; left out: in the directory.
    pub segments: Option<Spanned<String>>,
}

impl Default for JournalTable {
    fn default() -> JournalTable {
        JournalTable {
            directory: "journal".into(),
            segment_mb: Spanned::new(0..0, 16),
            seal_minutes: Spanned::new(0..0, 10),
            keep_days: 30,
            numbers: Numbers::default(),
            keys: "keys".into(),
            segments: None,
        }
    }
}

/// Where verdicts are kept and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    pub directory: PathBuf,
    pub segment_bytes: usize,
    pub seal_ms: i64,
    pub keep_days: u32,
    pub numbers: Numbers,
    pub keys: PathBuf,
    /// `s3://bucket/prefix`.
    pub segments: Option<String>,
}

impl Journal {
    /// Takes the table as it stands, paths relative to `base`.
    pub fn new(table: &JournalTable, base: &Path) -> Journal {
        Journal {
            directory: base.join(&table.directory),
            segment_bytes: *table.segment_mb.get_ref() as usize * 1024 * 1024,
            seal_ms: *table.seal_minutes.get_ref() as i64 * 60_000,
            keep_days: table.keep_days,
            numbers: table.numbers,
            keys: base.join(&table.keys),
            segments: table.segments.as_ref().map(|url| url.get_ref().clone()),
        }
    }
}

impl JournalTable {
    pub(super) fn check(&self, faults: &mut Faults) {
        let mut range = |value: &Spanned<u64>, name: &str, range: std::ops::RangeInclusive<u64>| {
            if !range.contains(value.get_ref()) {
                let what = format!("{name} is not between {} and {}", range.start(), range.end());
                faults.at(Some(value.span()), &what);
            }
        };
        range(&self.segment_mb, "segment-mb", 1..=4096);
        range(&self.seal_minutes, "seal-minutes", 1..=1440);
        if let Some(url) = &self.segments
            && url.get_ref().strip_prefix("s3://").is_none_or(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            let what = format!("segments \"{}\" is not an address such as s3://bucket/prefix", url.get_ref());
            faults.at(Some(url.span()), &what);
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EvidenceTable {
    pub font: Option<PathBuf>,
    pub font_bold: Option<PathBuf>,
}

/// What reports of evidence packages are written with.
pub struct Evidence {
    pub font: PathBuf,
    pub bold: PathBuf,
    /// Minutes east of UTC.
    pub utc_offset_min: i32,
}

impl Evidence {
    pub fn new(table: &EvidenceTable, base: &Path, utc_offset_min: i32) -> Evidence {
        let path = |named: &Option<PathBuf>, debian: &str| {
            let debian = Path::new("/usr/share/fonts/truetype/dejavu").join(debian);
            named.as_ref().map_or(debian, |path| base.join(path))
        };
        Evidence {
            font: path(&table.font, "DejaVuSans.ttf"),
            bold: path(&table.font_bold, "DejaVuSans-Bold.ttf"),
            utc_offset_min,
        }
    }
}
