//! What each neighbour handed over, by day: the share of calls whose number was not the caller's. It advises; cutting a
//! neighbour off is a human decision.
//!
//! A running node counts as it judges, and keeps what it counted beside the journal, in `scorecard.json`; `qalqan scorecard`
//! counts the journal itself.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use call::{Rule, Treatment};
use exchange::{Scorecard, Tally, Thresholds, day};
use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::Places;
use crate::query::Form;
use crate::stats::Stats;
use crate::store::bases::write_whole;
use crate::store::now_ms;

/// A trunk on a day.
#[derive(Serialize, ToSchema)]
pub struct Score {
    /// In UTC.
    #[schema(format = Date)]
    day: String,
    trunk: String,
    calls: u64,
    /// Refused, by whatever rule.
    blocked: u64,
    /// Refused because the number is not the caller's.
    spoofed: u64,
    /// Denied by the number's operator (R11, R14).
    denied: u64,
    /// The number's operator did not say (R12, R15).
    unknown: u64,
    /// Spoofed calls of all, 0 to 1.
    share: f64,
    /// What the share suggests: none, warn, throttle or cut. A human decides.
    advice: &'static str,
}

/// The rows of a scorecard, by day and trunk.
pub fn scores(card: &Scorecard) -> Vec<Score> {
    let row = |(day, trunk, tally): (i64, &str, &Tally)| Score {
        day: date(day),
        trunk: trunk.to_owned(),
        calls: tally.calls,
        blocked: tally.blocked,
        spoofed: tally.spoofed,
        denied: tally.denied,
        unknown: tally.unknown,
        share: (tally.spoofed as f64 / tally.calls.max(1) as f64 * 10_000.0).round() / 10_000.0,
        advice: Scorecard::advice(tally, &Thresholds::default()).name(),
    };
    card.rows().map(row).collect()
}

fn date(day: i64) -> String {
    let time = jiff::Timestamp::from_second(day * 86_400).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_string().chars().take(10).collect()
}

/// Writes a scorecard for people or programs.
pub fn print(card: &Scorecard, form: Form, out: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Table => writeln!(
            out,
            "{:<11} {:<24} {:>12} {:>10} {:>10} {:>10} {:>10} {:>8}  advice",
            "day", "trunk", "calls", "blocked", "spoofed", "denied", "unknown", "share"
        )?,
        Form::Csv => writeln!(out, "day,trunk,calls,blocked,spoofed,denied,unknown,share,advice")?,
        Form::JsonLines => {}
    }
    for score in scores(card) {
        let Score { day, trunk, calls, blocked, spoofed, denied, unknown, share, advice } = &score;
        match form {
            Form::Table => writeln!(
                out,
                "{day:<11} {trunk:<24} {calls:>12} {blocked:>10} {spoofed:>10} {denied:>10} {unknown:>10} {:>7.2}%  {advice}",
                share * 100.0
            )?,
            Form::Csv => writeln!(
                out,
                "{day},{trunk},{calls},{blocked},{spoofed},{denied},{unknown},{share},{advice}"
            )?,
            Form::JsonLines => writeln!(out, "{}", serde_json::to_string(&score).expect("plain values"))?,
        }
    }
    Ok(())
}

/// The scorecard of a running node.
pub struct Counted {
    file: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    card: Scorecard,
    /// What the workers had counted when they were last looked at, by trunk.
    before: HashMap<String, Tally>,
}

/// A scorecard in a file: tallies by day and trunk.
type Kept = BTreeMap<i64, BTreeMap<String, Tally>>;

impl Counted {
    /// Goes on where a node with this journal left off.
    pub fn open(journal: &Path) -> Counted {
        let file = journal.join("scorecard.json");
        let kept: Option<Kept> =
            std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut card = Scorecard::default();
        for (day, trunks) in kept.unwrap_or_default() {
            trunks.iter().for_each(|(trunk, tally)| card.add(day, trunk, tally));
        }
        Counted { file, state: Mutex::new(State { card, before: HashMap::new() }) }
    }

    /// Takes up what the workers counted since the last time, as of this day; drops what is older than `keep_days` (0: nothing).
    pub fn take(&self, stats: &Stats, places: &Places, keep_days: u32) {
        let today = day(now_ms());
        let mut state = self.state.lock().expect("no panic inside");
        let State { card, before } = &mut *state;
        for (place, trunk) in places.named() {
            let mut now = Tally::default();
            for rule in Rule::ALL {
                for treatment in Treatment::ALL {
                    now.count(rule, treatment, stats.verdicts(place, rule, treatment));
                }
            }
            now.spoofed = now.spoofed.saturating_sub(stats.listed(place));
            let before = before.entry(trunk.clone()).or_default();
            if now.calls > before.calls {
                card.add(today, &trunk, &since(before, &now));
            }
            *before = now;
        }
        if keep_days > 0 {
            card.forget_before(today - i64::from(keep_days));
        }
    }

    /// Every row that is kept.
    pub fn scores(&self) -> Vec<Score> {
        scores(&self.state.lock().expect("no panic inside").card)
    }

    /// Writes it beside the journal.
    pub fn save(&self) -> io::Result<()> {
        let mut kept = Kept::new();
        for (day, trunk, tally) in self.state.lock().expect("no panic inside").card.rows() {
            kept.entry(day).or_default().insert(trunk.to_owned(), tally.clone());
        }
        write_whole(&self.file, &serde_json::to_vec(&kept)?)
    }
}

fn since(before: &Tally, now: &Tally) -> Tally {
    Tally {
        calls: now.calls.saturating_sub(before.calls),
        blocked: now.blocked.saturating_sub(before.blocked),
        spoofed: now.spoofed.saturating_sub(before.spoofed),
        denied: now.denied.saturating_sub(before.denied),
        unknown: now.unknown.saturating_sub(before.unknown),
    }
}
