//! What came of a day: the confusion table, and what it means.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Fault;
use super::caller::Outcome;
use super::day::{Call, LABELS, Label, TREATMENTS, Treatment};
use super::geography::{EMERGENCY, Operator};

/// A day that was played.
pub struct Day {
    pub fault: Option<Fault>,
    pub calls: Vec<Call>,
    pub outcomes: Vec<Outcome>,
    /// What came of questions, of all nodes together: (kind, outcome) and how many.
    pub questions: BTreeMap<(String, String), u64>,
    /// Somebody was asked while nothing but emergency calls was on its way.
    pub asked_of_emergencies: bool,
    /// Nodes that did not answer at the end of the day.
    pub silent: Vec<Operator>,
    /// Verdicts that the nodes' journals have, by rule.
    pub journal: BTreeMap<String, usize>,
}

/// Honest or spoofed calls of a day, counted.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Sum {
    pub calls: usize,
    /// By treatment, in the order of [`TREATMENTS`].
    pub treated: [usize; 4],
    /// Neither refused by a verdict nor rung.
    pub lost: usize,
    /// Blocked where the operator asked is the one that answers wrongly.
    pub denied: usize,
}

impl Day {
    fn each(&self) -> impl Iterator<Item = (&Call, &Outcome)> {
        self.calls.iter().zip(&self.outcomes)
    }

    fn sum(&self, wanted: impl Fn(&Call) -> bool) -> Sum {
        let mut sum = Sum::default();
        for (call, outcome) in self.each().filter(|(call, _)| wanted(call)) {
            sum.calls += 1;
            match outcome.treatment() {
                None => sum.lost += 1,
                Some(treatment) => sum.treated[treatment as usize] += 1,
            }
            if outcome.treatment() == Some(Treatment::Blocked) && self.is_denied_wrongly(call, outcome) {
                sum.denied += 1;
            }
        }
        sum
    }

    fn is_denied_wrongly(&self, call: &Call, outcome: &Outcome) -> bool {
        let by_its_word = outcome.deciding().is_some_and(|judged| ["R13", "R14"].contains(&&*judged.rule));
        self.fault == Some(Fault::Forgetful) && by_its_word && call.asked.contains(&Fault::MEMBER)
    }

    pub fn honest(&self) -> Sum {
        self.sum(|call| LABELS[call.label].3)
    }

    pub fn spoofed(&self) -> Sum {
        self.sum(|call| !LABELS[call.label].3)
    }

    /// Honest calls that did not ring, but for those that the wrong member denied.
    pub fn cut(&self) -> usize {
        let honest = self.honest();
        honest.treated[Treatment::Blocked as usize] + honest.lost - honest.denied
    }

    /// Calls of which something else came than the catalogue says, each with what came.
    pub fn surprises(&self) -> Vec<String> {
        let other = |call: &Call, outcome: &Outcome| {
            let decided = outcome.deciding().map_or("", |judged| &judged.rule);
            let is_other = outcome.treatment() != Some(call.expected.0) || decided != call.expected.1;
            is_other && !is_late(call, outcome)
        };
        self.told(other)
    }

    /// Calls that were judged without an answer that came too late, or by the switch alone: a busy machine.
    pub fn late(&self) -> usize {
        self.each().filter(|(call, outcome)| is_late(call, outcome)).count()
    }

    /// Honest calls that were cut, and nobody's wrong word is to blame.
    pub fn cuts(&self) -> Vec<String> {
        self.told(|call, outcome| {
            let rang = !matches!(outcome.treatment(), None | Some(Treatment::Blocked));
            LABELS[call.label].3 && !rang && !self.is_denied_wrongly(call, outcome)
        })
    }

    fn emergency_calls(&self) -> impl Iterator<Item = (&Call, &Outcome)> {
        self.each().filter(|(call, _)| is_emergency(call))
    }

    /// Whether every emergency call rang with its number, and nobody was asked about one.
    pub fn emergencies_fit(&self) -> bool {
        let passed = |(_, outcome): (&Call, &Outcome)| outcome.treatment() == Some(Treatment::Passed);
        self.emergency_calls().all(passed) && !self.asked_of_emergencies
    }

    /// What came of emergency calls, in words.
    pub fn emergencies(&self) -> String {
        let count = self.emergency_calls().count();
        let rang =
            self.emergency_calls().filter(|(_, outcome)| outcome.treatment() == Some(Treatment::Passed));
        let asked = if self.asked_of_emergencies { "SOMEBODY was asked" } else { "nobody was asked" };
        format!("Emergency calls that rang: {} of {count}; {asked} about one.\n", rang.count())
    }

    fn told(&self, wanted: impl Fn(&Call, &Outcome) -> bool) -> Vec<String> {
        let wanted = self.each().filter(|(call, outcome)| wanted(call, outcome));
        let told = wanted.map(|(call, outcome)| {
            let Call { label, calling, called, expected: (treatment, rule), .. } = call;
            let (label, came) = (LABELS[*label].1, outcome.treatment());
            format!(
                "{label} {calling} -> {called}: {treatment:?} {rule} expected, {came:?} came: {}",
                way(outcome)
            )
        });
        told.collect()
    }

    /// Calls that a node of the exchange should have judged and did not.
    pub fn unjudged(&self) -> usize {
        self.each().filter(|(call, outcome)| is_unjudged(call, outcome)).count()
    }

    /// Whether the journals have the verdicts that the switches went by.
    pub fn journal_fits(&self) -> Result<usize, String> {
        let mut obeyed: BTreeMap<String, usize> = BTreeMap::new();
        for judged in self.outcomes.iter().flat_map(|outcome| &outcome.judged) {
            if !judged.rule.is_empty() {
                *obeyed.entry(judged.rule.clone()).or_default() += 1;
            }
        }
        match obeyed == self.journal {
            true => Ok(obeyed.values().sum()),
            false => Err(format!("the journals have {:?}, the switches went by {obeyed:?}", self.journal)),
        }
    }

    /// A line for each label.
    pub fn confusion(&self) -> String {
        let mut text =
            "| | label | calls | by the catalogue | passed | marked | withheld | blocked | lost |\n\
                        | --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |\n"
                .to_owned();
        for (index, (_, name, _, is_honest, ..)) in LABELS.iter().enumerate() {
            let sum = self.sum(|call| call.label == index);
            let (treatment, rule) = self
                .calls
                .iter()
                .find(|call| call.label == index)
                .map_or((Treatment::Passed, ""), |call| call.expected);
            let who = if *is_honest { "honest" } else { "spoofed" };
            let expected = format!("{treatment:?} {rule}").to_lowercase().replace(" r", " R");
            let expected = expected.trim_end();
            let _ = writeln!(
                text,
                "| {who} | {name} | {} | {expected} | {} | {} |",
                sum.calls,
                sum.treated.map(shown).join(" | "),
                shown(sum.lost)
            );
        }
        text
    }

    /// The same in words.
    pub fn words(&self) -> String {
        let (honest, spoofed) = (self.honest(), self.spoofed());
        let rang: Vec<String> = LABELS
            .iter()
            .enumerate()
            .filter(|(_, label)| !label.3)
            .map(|(index, label)| (label.1, self.sum(|call| call.label == index)))
            .flat_map(|(name, sum)| {
                let of = move |treatment: Treatment| (name, treatment, sum.treated[treatment as usize]);
                TREATMENTS[..3].iter().map(|&treatment| of(treatment)).collect::<Vec<_>>()
            })
            .filter(|(_, _, count)| *count > 0)
            .map(|(name, treatment, count)| format!("{name} {count} {treatment:?}").to_lowercase())
            .collect();
        let mut text = format!(
            "Honest calls cut: {} of {}. Spoofed calls blocked: {} of {}; rang: {}.\n",
            self.cut(),
            honest.calls,
            spoofed.treated[Treatment::Blocked as usize],
            spoofed.calls,
            rang.join(", ")
        );
        if honest.denied > 0 {
            let name = Fault::MEMBER.name();
            let _ = writeln!(
                text,
                "Beside those, {} honest calls of {name}'s subscribers and guests were cut by {name}'s own wrong word, nobody else's.",
                honest.denied
            );
        }
        let unknown = self.unknown();
        if !unknown.is_empty() {
            let _ = writeln!(text, "Questions without an answer: {unknown}.");
        }
        for silent in &self.silent {
            let _ = writeln!(text, "{}'s node did not say what it counted.", silent.name());
        }
        text
    }

    /// Questions that nobody answered, by kind and why.
    pub fn unknown(&self) -> String {
        let known = ["initiated", "not-initiated", "roaming", "not-roaming", "not-assigned"];
        let unknown = self.questions.iter().filter(|((_, outcome), _)| !known.contains(&&**outcome));
        let unknown: Vec<_> =
            unknown.map(|((kind, outcome), count)| format!("{kind} {outcome} {count}")).collect();
        unknown.join(", ")
    }
}

/// All days side by side.
pub fn side_by_side(days: &[Day]) -> String {
    let mut text = "| the day with | honest calls | cut | by the wrong member's word | spoofed calls | passed | marked | withheld | blocked | unjudged | questions without an answer |\n\
                    | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
        .to_owned();
    for day in days {
        let (honest, spoofed) = (day.honest(), day.spoofed());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            day.fault.map_or("no fault", Fault::name),
            honest.calls,
            day.cut(),
            shown(honest.denied),
            spoofed.calls,
            spoofed.treated.map(shown).join(" | "),
            shown(day.unjudged()),
            day.unknown()
        );
    }
    text
}

fn is_emergency(call: &Call) -> bool {
    call.called == EMERGENCY
}

/// An emergency call goes on unasked.
fn is_unjudged(call: &Call, outcome: &Outcome) -> bool {
    let is_to_be_judged = LABELS[call.label].0 != Label::Emergency;
    is_to_be_judged
        && outcome.judged.iter().any(|one| one.verdict == "unjudged" && one.by != Operator::Delta.name())
}

fn is_late(call: &Call, outcome: &Outcome) -> bool {
    is_unjudged(call, outcome) || outcome.judged.iter().any(|one| one.reason.ends_with("-timeout"))
}

fn shown(count: usize) -> String {
    if count == 0 { "-".to_owned() } else { count.to_string() }
}

/// The verdicts on a call's way, for whoever looks for a mistake.
fn way(outcome: &Outcome) -> String {
    let way: Vec<_> = outcome
        .judged
        .iter()
        .map(|judged| format!("{} {} {} {}", judged.by, judged.verdict, judged.rule, judged.reason))
        .collect();
    format!("{} [{}]", outcome.status.map_or("no answer".to_owned(), |code| code.to_string()), way.join(", "))
}
