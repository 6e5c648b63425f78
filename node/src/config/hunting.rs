//! `[hunting]`: thresholds of signals, for call records and while calls last (docs/hunting.md).

use ::hunting::{Scale, Thresholds};
use serde::Deserialize;
use toml::Spanned;

use super::Reader;

/// Thresholds of signals in call records, and the clock that days and hours are of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Hunting {
    /// Minutes east of UTC.
    pub utc_offset_min: i32,
    pub thresholds: Thresholds,
    live: Option<Spanned<LiveTable>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct LiveTable {
    memory_mb: usize,
    every_s: u64,
    half_life_min: u32,
    spread: f64,
}

impl Default for LiveTable {
    fn default() -> LiveTable {
        LiveTable { memory_mb: 64, every_s: 15, half_life_min: 120, spread: 0.75 }
    }
}

/// How calls are watched as they come.
#[derive(Clone, PartialEq, Debug)]
pub struct Watch {
    pub memory: usize,
    pub every_s: u64,
    pub scale: Scale,
}

impl Reader<'_> {
    pub(super) fn watch(&mut self, hunting: Option<&Hunting>) -> Option<Watch> {
        let hunting = hunting?;
        let table = hunting.live.as_ref()?;
        let LiveTable { memory_mb, every_s, half_life_min, spread } = *table.get_ref();
        for (is_right, what) in [
            ((4..=65_536).contains(&memory_mb), "memory-mb is between 4 and 65536"),
            ((1..=60).contains(&every_s), "every-s is between 1 and 60: a score is at most a minute old"),
            ((1..=1440).contains(&half_life_min), "half-life-min is between 1 and 1440, a day"),
            ((0.5..=1.0).contains(&spread), "spread is between 0.5 and 1"),
        ] {
            if !is_right {
                self.faults.at(Some(table.span()), what);
            }
        }
        // Who goes through a list with others calls some again: of each by itself less is asked than of one alone in records.
        let thresholds = Thresholds { spread, ..hunting.thresholds.clone() };
        let half_life_ms = i64::from(half_life_min) * 60_000;
        Some(Watch { memory: memory_mb << 20, every_s, scale: Scale { thresholds, half_life_ms } })
    }
}
