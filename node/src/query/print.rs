//! What was found, as people and programs read it.

use std::io::{self, Write};

use call::Treatment;
use journal::Shown;
use numbering::Party;
use rules::{Language, reason_in_words, word};
use serde_json::{Value, json};

use super::found::Found;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Table,
    Csv,
    JsonLines,
}

pub fn head(form: Form, language: Language, out: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Table => {
            let w = |key| word(language, key);
            writeln!(
                out,
                "{:<24} {:<20} {:<16} {:<16} {:<10} {:<6} {}",
                w("time"),
                w("trunk"),
                w("calling"),
                w("called"),
                w("verdict"),
                w("rule"),
                w("reason")
            )
        }
        Form::Csv => writeln!(
            out,
            "time,trunk,calling,presentation,called,redirecting,verdict,label,rule,name,reason,would,took_ns,call_id,basis"
        ),
        Form::JsonLines => Ok(()),
    }
}

fn show(number: &Shown, reveal: bool) -> String {
    match number {
        Shown::Party(party) if reveal => party.reveal(),
        Shown::Party(Party::Absent) => String::new(),
        Shown::Party(party) => party.to_string(),
        Shown::Token(token) => token.clone(),
        Shown::Closed => "encrypted".to_owned(),
    }
}

pub fn row(
    found: &Found,
    reveal: bool,
    form: Form,
    language: Language,
    out: &mut impl Write,
) -> io::Result<()> {
    let verdict = &found.verdict;
    let trunk = &*found.trunk;
    let time = jiff::Timestamp::from_millisecond(found.time_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let numbers = [0, 1, 2, 3].map(|n| show(&found.numbers[n], reveal));
    let [calling, presentation, called, redirecting] = &numbers;
    let reason = reason_in_words(language, verdict.reason);
    let label = verdict.treatment.label().map_or("", |label| label.name());
    let call_id = &found.call_id;
    match form {
        Form::Table => {
            let shown = match verdict.treatment {
                Treatment::Mark(label) => format!("mark:{}", label.name()),
                treatment => treatment.name().to_owned(),
            };
            let would = verdict.would.map_or(String::new(), |would| {
                format!(" ({} {}: {})", word(language, "would"), would.treatment.name(), would.rule.id())
            });
            let rule = verdict.rule.id();
            writeln!(
                out,
                "{time:<24.3} {trunk:<20} {calling:<16} {called:<16} {shown:<10} {rule:<6} {reason}{would}"
            )
        }
        Form::Csv => {
            let would = verdict.would.map_or("", |would| would.rule.id());
            let mut row = csv::WriterBuilder::new().from_writer(&mut *out);
            row.write_record([
                &format!("{time:.3}"),
                trunk,
                calling,
                presentation,
                called,
                redirecting,
                verdict.treatment.name(),
                label,
                verdict.rule.id(),
                verdict.rule.name(),
                reason,
                would,
                &found.took_ns.to_string(),
                call_id,
                &format!("{:016x}", found.basis),
            ])?;
            row.flush()
        }
        Form::JsonLines => {
            let line = as_json(found, reveal, language);
            writeln!(out, "{line}")
        }
    }
}

/// All of a verdict, as programs read it.
pub fn as_json(found: &Found, reveal: bool, language: Language) -> Value {
    let verdict = &found.verdict;
    let time = jiff::Timestamp::from_millisecond(found.time_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let [calling, presentation, called, redirecting] = [0, 1, 2, 3].map(|n| show(&found.numbers[n], reveal));
    json!({
        "time": format!("{time:.3}"),
        "trunk": &*found.trunk,
        "class": found.class.name(),
        "calling": calling,
        "presentation": presentation,
        "called": called,
        "redirecting": redirecting,
        "verdict": verdict.treatment.name(),
        "label": verdict.treatment.label().map(|label| label.name()),
        "rule": verdict.rule.id(),
        "name": verdict.rule.name(),
        "sub_reason": verdict.reason.name(),
        "reason": reason_in_words(language, verdict.reason),
        "would": verdict.would.map(|would| json!({
            "verdict": would.treatment.name(),
            "rule": would.rule.id(),
            "sub_reason": would.reason.name(),
        })),
        "took_ns": found.took_ns,
        "call_id": found.call_id,
        "basis": format!("{:016x}", found.basis),
    })
}
