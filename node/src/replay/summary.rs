//! What a replay comes to: calls by rule, verdict, trunk and hour.

use std::collections::BTreeMap;
use std::io::Write;

use call::{Rule, Treatment, TrunkId, Verdict};
use rules::{Language, rule_title, word};

use crate::capture::Heard;

/// Counts of one replay.
pub struct Summary {
    pub calls: u64,
    trunks: Vec<String>,
    by_rule: [[u64; Treatment::ALL.len()]; Rule::ALL.len()],
    by_trunk: Vec<[u64; Treatment::ALL.len()]>,
    by_hour: BTreeMap<i64, [u64; Treatment::ALL.len()]>,
    /// Calls come mostly in the order of time: those of the hour that is being counted.
    hour: (i64, [u64; Treatment::ALL.len()]),
    would: [[u64; Treatment::ALL.len()]; Rule::ALL.len()],
    /// What else a capture held.
    pub heard: Option<Heard>,
}

const HOUR_MS: i64 = 3_600_000;

impl Summary {
    pub fn new(trunks: Vec<String>) -> Summary {
        let by_trunk = vec![Default::default(); trunks.len()];
        Summary {
            calls: 0,
            trunks,
            by_rule: Default::default(),
            by_trunk,
            by_hour: BTreeMap::new(),
            hour: Default::default(),
            would: Default::default(),
            heard: None,
        }
    }

    pub fn add(&mut self, time_ms: i64, trunk: TrunkId, verdict: &Verdict) {
        let treatment = usize::from(verdict.treatment.code());
        self.calls += 1;
        self.by_rule[verdict.rule as usize][treatment] += 1;
        self.by_trunk[usize::from(trunk.0)][treatment] += 1;
        let since = time_ms.wrapping_sub(self.hour.0.wrapping_mul(HOUR_MS));
        if !(0..HOUR_MS).contains(&since) {
            self.turn_to(time_ms.div_euclid(HOUR_MS));
        }
        self.hour.1[treatment] += 1;
        if let Some(would) = verdict.would {
            self.would[would.rule as usize][usize::from(would.treatment.code())] += 1;
        }
    }

    #[cold]
    fn turn_to(&mut self, hour: i64) {
        let (before, counts) = std::mem::replace(&mut self.hour, (hour, Default::default()));
        add(self.by_hour.entry(before).or_default(), &counts);
    }

    /// Calls by the name of their treatment.
    pub fn count(&self, name: &str) -> u64 {
        self.by_rule.iter().map(|counts| by_name(counts, name)).sum()
    }

    /// The summary as tables for people.
    pub fn print(&self, out: &mut impl Write, language: Language) -> std::io::Result<()> {
        let w = |key| word(language, key);
        let share = |n: u64| format!("{:.2} %", n as f64 * 100.0 / self.calls.max(1) as f64);
        writeln!(out, "{:<52} {:<10} {:>12} {:>9}", w("rule"), w("verdict"), w("calls"), w("share"))?;
        for rule in Rule::ALL {
            for treatment in Treatment::ALL {
                let n = self.by_rule[rule as usize][usize::from(treatment.code())];
                if n > 0 {
                    let title = format!("{:<5} {}", rule.id(), rule_title(language, rule));
                    writeln!(out, "{title:<52} {:<10} {n:>12} {:>9}", w(treatment.name()), share(n))?;
                }
            }
        }
        for rule in Rule::ALL {
            for treatment in Treatment::ALL {
                let n = self.would[rule as usize][usize::from(treatment.code())];
                if n > 0 {
                    let title =
                        format!("{:<5} {} ({})", rule.id(), rule_title(language, rule), w("in-monitor"));
                    writeln!(out, "{title:<52} {:<10} {n:>12} {:>9}", w(treatment.name()), share(n))?;
                }
            }
        }
        writeln!(out, "{:<52} {:<10} {:>12} {:>9}", w("total"), "", self.calls, "")?;
        let names = ["allow", "mark", "withhold", "block"];
        let head = |out: &mut dyn Write, first: &str| {
            let [a, b, c, d] = names.map(w);
            writeln!(out, "\n{first:<32} {:>12} {a:>12} {b:>12} {c:>12} {d:>14}", w("calls"))
        };
        let row = |out: &mut dyn Write, first: &str, counts: &[u64; Treatment::ALL.len()]| {
            let [a, b, c, d] = names.map(|name| by_name(counts, name));
            writeln!(out, "{first:<32} {:>12} {a:>12} {b:>12} {c:>12} {d:>14}", a + b + c + d)
        };
        head(out, w("trunk"))?;
        for (name, counts) in self.trunks.iter().zip(&self.by_trunk) {
            if counts.iter().any(|&n| n > 0) {
                row(out, name, counts)?;
            }
        }
        head(out, &format!("{} (UTC)", w("hour")))?;
        let mut by_hour = self.by_hour.clone();
        add(by_hour.entry(self.hour.0).or_default(), &self.hour.1);
        for (&hour, counts) in by_hour.iter().filter(|(_, counts)| counts.iter().any(|&n| n > 0)) {
            let time =
                jiff::Timestamp::from_millisecond(hour * HOUR_MS).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            row(out, &time.to_string()[..13].replace('T', " "), counts)?;
        }
        match &self.heard {
            Some(heard) => super::heard::print(heard, out, language),
            None => Ok(()),
        }
    }
}

fn add(sum: &mut [u64], counts: &[u64]) {
    sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
}

pub(super) fn by_name(counts: &[u64; Treatment::ALL.len()], name: &str) -> u64 {
    let of_name = Treatment::ALL.into_iter().filter(|treatment| treatment.name() == name);
    of_name.map(|treatment| counts[usize::from(treatment.code())]).sum()
}
