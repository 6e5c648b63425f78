//! `qalqan journal query`: what was decided, when, by which rule and why.
//!
//! Numbers are masked unless they are asked for in full; every such look, and every search by a number, is
//! itself written down in `looks.jsonl` beside the journal: who, when, what for.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use call::{Rule, Treatment};
use journal::Record;
use numbering::{Number, Party};
use rules::{Language, reason_in_words, word};
use screening::Basis;
use serde_json::json;

use crate::door::UNKNOWN_SOURCE;
use crate::store::{logs, now_ms, read_basis, read_log};

/// What is asked of the journal; everything left out matches.
#[derive(Default)]
pub struct Query {
    /// From this moment, and before that one; ms since 1970.
    pub from_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// Calling, presentation, called or redirecting number.
    pub number: Option<Number>,
    pub rule: Option<Rule>,
    /// allow, mark, withhold or block.
    pub verdict: Option<String>,
    pub trunk: Option<String>,
    pub limit: usize,
    /// Show every digit.
    pub reveal: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Table,
    Csv,
    JsonLines,
}

/// Finds records, the newest last; more than the limit are cut at the old end.
pub fn query(
    directory: &Path,
    query: &Query,
    form: Form,
    language: Language,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut bases: HashMap<u64, Option<Basis>> = HashMap::new();
    let mut found: Vec<Record> = Vec::new();
    let mut trunk_name = |record: &Record| -> String {
        if record.call.trunk == UNKNOWN_SOURCE {
            return "unknown-source".to_owned();
        }
        let basis = bases.entry(record.basis).or_insert_with(|| read_basis(directory, record.basis));
        let name = basis.as_ref().and_then(|basis| basis.trunks.get(usize::from(record.call.trunk.0)));
        name.cloned().unwrap_or_else(|| format!("#{}", record.call.trunk.0))
    };
    let mut matched = 0usize;
    for path in logs(directory)? {
        let outcome = read_log(&path, |record| {
            if query.matches(&record) && query.trunk.as_ref().is_none_or(|name| trunk_name(&record) == *name)
            {
                matched += 1;
                found.push(record);
                // Keep memory small however much matches: sort and cut now and then.
                if found.len() >= 4 * query.limit.max(1024) {
                    newest(&mut found, query.limit);
                }
            }
        });
        match outcome {
            Ok(0) => {}
            Ok(damaged) => eprintln!("{}: {damaged} slots hold no whole record", path.display()),
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
    }
    newest(&mut found, query.limit);
    if query.reveal || query.number.is_some() {
        note_look(directory, query, found.len()).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("this look cannot be written down, so nothing is shown: {error}"),
            )
        })?;
    }

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
            )?;
        }
        Form::Csv => writeln!(
            out,
            "time,trunk,calling,presentation,called,redirecting,verdict,label,rule,name,reason,would,took_ns,call_id,basis"
        )?,
        Form::JsonLines => {}
    }
    for record in &found {
        query.write(record, &trunk_name(record), form, language, out)?;
    }
    if matched > found.len() {
        eprintln!("{matched} verdicts match; these are the newest {}: --limit shows more", found.len());
    }
    Ok(())
}

fn newest(found: &mut Vec<Record>, limit: usize) {
    // Logs of several workers overlap in time; a clock that went back leaves order to the log.
    found.sort_by_key(|record| record.call.time_ms);
    let cut = found.len().saturating_sub(limit);
    found.drain(..cut);
}

impl Query {
    fn matches(&self, record: &Record) -> bool {
        let call = &record.call;
        self.from_ms.is_none_or(|from| call.time_ms >= from)
            && self.until_ms.is_none_or(|until| call.time_ms < until)
            && self
                .rule
                .is_none_or(|rule| record.verdict.rule == rule || record.verdict.monitored.contains(rule))
            && self.verdict.as_ref().is_none_or(|name| record.verdict.treatment.name() == name)
            && self.number.is_none_or(|number| {
                [call.calling, call.presentation, call.called, call.redirecting]
                    .contains(&Party::Number(number))
            })
    }

    fn show(&self, party: Party) -> String {
        if self.reveal { party.reveal() } else { party.to_string() }
    }

    fn write(
        &self,
        record: &Record,
        trunk: &str,
        form: Form,
        language: Language,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let (call, verdict) = (&record.call, &record.verdict);
        let time = jiff::Timestamp::from_millisecond(call.time_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let parties =
            [call.calling, call.presentation, call.called, call.redirecting].map(|party| self.show(party));
        let [calling, presentation, called, redirecting] = &parties;
        let reason = reason_in_words(language, verdict.reason);
        let label = verdict.treatment.label().map_or("", |label| label.name());
        let call_id = String::from_utf8_lossy(record.call_id());
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
                    &record.took_ns.to_string(),
                    &call_id,
                    &format!("{:016x}", record.basis),
                ])?;
                row.flush()
            }
            Form::JsonLines => {
                let line = json!({
                    "time": format!("{time:.3}"),
                    "trunk": trunk,
                    "class": call.class.name(),
                    "calling": calling,
                    "presentation": presentation,
                    "called": called,
                    "redirecting": redirecting,
                    "verdict": verdict.treatment.name(),
                    "label": verdict.treatment.label().map(|label| label.name()),
                    "rule": verdict.rule.id(),
                    "name": verdict.rule.name(),
                    "sub_reason": verdict.reason.name(),
                    "reason": reason,
                    "would": verdict.would.map(|would| json!({
                        "verdict": would.treatment.name(),
                        "rule": would.rule.id(),
                        "sub_reason": would.reason.name(),
                    })),
                    "took_ns": record.took_ns,
                    "call_id": call_id,
                    "basis": format!("{:016x}", record.basis),
                });
                writeln!(out, "{line}")
            }
        }
    }
}

/// Who looked, when, and for what; the number itself stays masked here too.
fn note_look(directory: &Path, query: &Query, shown: usize) -> io::Result<()> {
    let mut file =
        OpenOptions::new().create(true).append(true).mode(0o600).open(directory.join("looks.jsonl"))?;
    let line = json!({
        "time": jiff::Timestamp::from_millisecond(now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string(),
        "who": std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".into()),
        // SAFETY: asks for nothing but a number.
        "uid": unsafe { libc::getuid() },
        "number": query.number.map(|number| number.to_string()),
        "rule": query.rule.map(|rule| rule.id()),
        "trunk": query.trunk,
        "revealed": query.reveal,
        "records": shown,
    });
    writeln!(file, "{line}")
}
