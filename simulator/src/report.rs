//! What came of a run, by story: a table for people, figures for tests.

use std::fmt;

use call::{Treatment, Verdict};

use crate::checker::Breach;
use crate::stories::{Row, STORIES, Story};

/// What a checker saw.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub calls: u64,
    /// The first and the last call on the country's clock.
    pub from_ms: i64,
    pub to_ms: i64,
    /// One a story, in the order of [`Story::ALL`].
    pub tallies: Vec<Tally>,
    /// The first of the verdicts against the law.
    pub violations: Vec<Violation>,
}

/// How the calls of one story were treated.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// By [`Treatment::code`]; refusals as asked are apart.
    pub treated: [u64; Treatment::ALL.len()],
    /// Refused as the called subscriber asked.
    pub as_asked: u64,
    pub violations: u64,
}

/// A verdict against the law, and how to see its call again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub seed: u64,
    /// Counted from 1 in the order of the traffic.
    pub call: u64,
    pub breach: Breach,
    pub verdict: Verdict,
    /// The call, its numbers masked.
    pub event: String,
}

impl Tally {
    pub fn calls(&self) -> u64 {
        self.treated.iter().sum::<u64>() + self.as_asked
    }

    pub fn of(&self, treatment: Treatment) -> u64 {
        self.treated[usize::from(treatment.code())]
    }

    pub fn marked(&self) -> u64 {
        let marks = Treatment::ALL.into_iter().filter(|treatment| treatment.label().is_some());
        marks.map(|treatment| self.of(treatment)).sum()
    }

    pub fn withheld(&self) -> u64 {
        self.of(Treatment::Withhold)
    }

    /// Refused by a rule, not as asked.
    pub fn blocked(&self) -> u64 {
        self.of(Treatment::Block)
    }

    /// Passed with the number shown: allowed or marked.
    pub fn shown(&self) -> u64 {
        self.of(Treatment::Allow) + self.marked()
    }
}

impl Report {
    pub fn of(&self, story: Story) -> &Tally {
        &self.tallies[story as usize]
    }

    /// Whether every verdict kept the law.
    pub fn holds(&self) -> bool {
        self.violation_count() == 0
    }

    pub fn violation_count(&self) -> u64 {
        self.sum(|_| true, |tally| tally.violations)
    }

    pub fn honest_calls(&self) -> u64 {
        self.sum(|row| row.honest, Tally::calls)
    }

    /// Honest calls refused, other than as the called subscriber asked. The law wants none.
    pub fn honest_cut(&self) -> u64 {
        self.sum(|row| row.honest, Tally::blocked)
    }

    pub fn honest_withheld(&self) -> u64 {
        self.sum(|row| row.honest, Tally::withheld)
    }

    pub fn refused_as_asked(&self) -> u64 {
        self.sum(|_| true, |tally| tally.as_asked)
    }

    pub fn attacks(&self) -> u64 {
        self.sum(|row| !row.honest, Tally::calls)
    }

    pub fn attacks_blocked(&self) -> u64 {
        self.sum(|row| !row.honest, Tally::blocked)
    }

    /// Attacks that rang, but with their number hidden.
    pub fn attacks_withheld(&self) -> u64 {
        self.sum(|row| !row.honest, Tally::withheld)
    }

    /// Attacks that rang with their number shown, marked or not.
    pub fn attacks_shown(&self) -> u64 {
        self.sum(|row| !row.honest, Tally::shown)
    }

    fn sum(&self, rows: impl Fn(&Row) -> bool, count: impl Fn(&Tally) -> u64) -> u64 {
        let pairs = STORIES.iter().zip(&self.tallies).filter(|(row, _)| rows(row));
        pairs.map(|(_, tally)| count(tally)).sum()
    }

    fn table(&self, f: &mut fmt::Formatter<'_>, title: &str, honest: bool) -> fmt::Result {
        writeln!(
            f,
            "\n{title:<26}{:>10}{:>10}{:>9}{:>9}{:>9}{:>10}{:>9}",
            "calls", "allowed", "marked", "withheld", "blocked", "as asked", "against"
        )?;
        for (row, tally) in STORIES.iter().zip(&self.tallies).filter(|(row, _)| row.honest == honest) {
            write!(f, "{:<26}{:>10}", row.name, tally.calls())?;
            for (count, width) in [
                (tally.of(Treatment::Allow), 10),
                (tally.marked(), 9),
                (tally.withheld(), 9),
                (tally.blocked(), 9),
                (tally.as_asked, 10),
                (tally.violations, 9),
            ] {
                match count {
                    0 => write!(f, "{:>width$}", "-")?,
                    count => write!(f, "{count:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// `name 12, name 3` of the rows with something to count.
    fn by_story(&self, rows: impl Fn(&Row) -> bool, count: impl Fn(&Tally) -> u64) -> String {
        let pairs = STORIES.iter().zip(&self.tallies).filter(|(row, tally)| rows(row) && count(tally) > 0);
        let parts: Vec<String> = pairs.map(|(row, tally)| format!("{} {}", row.name, count(tally))).collect();
        parts.join(", ")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = (self.to_ms - self.from_ms) as f64 / 3_600_000.0;
        writeln!(f, "seed {}: {} calls in {hours:.1} hours of the country's clock", self.seed, self.calls)?;
        self.table(f, "honest", true)?;
        self.table(f, "attacks", false)?;
        writeln!(f, "\nhonest calls cut: {} of {}", self.honest_cut(), self.honest_calls())?;
        let withheld = self.by_story(|row| row.honest, Tally::withheld);
        writeln!(f, "honest calls withheld: {} ({withheld})", self.honest_withheld())?;
        writeln!(f, "refused as the called subscriber asked: {}", self.refused_as_asked())?;
        let attacks = self.attacks();
        writeln!(f, "attacks blocked: {} of {attacks}", self.attacks_blocked())?;
        let withheld = self.by_story(|row| !row.honest, Tally::withheld);
        writeln!(f, "attacks that rang without a number: {} ({withheld})", self.attacks_withheld())?;
        let shown = self.by_story(|row| !row.honest, Tally::shown);
        writeln!(f, "attacks that rang with a number: {} ({shown})", self.attacks_shown())?;
        for row in STORIES.iter().filter(|row| !row.honest && row.mildest < Treatment::Withhold) {
            if self.of(row.story).shown() > 0 {
                writeln!(f, "    as expected of local rules, {}: {}", row.name, row.words)?;
            }
        }
        writeln!(f, "verdicts against the law: {}", self.violation_count())?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "    {violation}"))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { seed, call, breach, verdict, event } = self;
        let (treatment, rule, reason) = (verdict.treatment.name(), verdict.rule.id(), verdict.reason.name());
        write!(f, "seed {seed} call {call}: {breach}: {treatment} by {rule} ({reason}): {event}")
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Breach::HonestCut => "an honest call was cut",
            Breach::HonestTreatedOtherwise => "an honest call was treated otherwise than allowed",
            Breach::AttackPassed => "an attack got through",
            Breach::RefusedUnasked => "refused for a subscriber who did not ask",
            Breach::OptOutIgnored => "a subscriber who asked for no such calls got one",
        })
    }
}
