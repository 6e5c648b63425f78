//! `qalqan replay`: yesterday's calls through today's rules.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use call::{Rule, Treatment, TrunkId, Verdict};
use rules::{Language, reason_in_words, rule_title, word};
use screening::{Fields, screen};

use crate::config::Setup;
use crate::door::from_text;
use crate::progress::Bar;
use crate::records::{self, Mapping, VerdictWriter};

/// Judges every call of a file in order; writes the verdicts to `out` where it is named.
pub fn replay(setup: &Setup, path: &Path, mapping: &Mapping, out: Option<&Path>) -> Result<Summary, String> {
    let policy = &setup.policy;
    let mut sink = out.map(|out| Sink::create(out, setup.language)).transpose()?;
    let mut summary = Summary::new(policy.trunks.iter().map(|trunk| trunk.name.clone()).collect());
    let mut bar = Bar::on_terminal();
    // Rows of one trunk come in runs.
    let mut trunk = TrunkId(0);
    let outcome = records::read(path, mapping, &mut bar, |row| {
        if policy.trunk(trunk).name != row.trunk {
            trunk = policy
                .trunk_named(row.trunk)
                .ok_or_else(|| format!("trunk \"{}\" is not in the configuration", row.trunk))?;
        }
        let fields = Fields {
            calling: &from_text(policy, row.calling),
            presentation: &from_text(policy, row.presentation),
            called: &from_text(policy, row.called),
            redirecting: &from_text(policy, row.redirecting),
            privacy: false,
        };
        let call = policy.intake(row.time_ms, trunk, &fields);
        let verdict = screen(policy, &call);
        summary.add(row.time_ms, trunk, &verdict);
        match &mut sink {
            Some(sink) => sink.write(summary.calls, &verdict),
            None => Ok(()),
        }
    });
    bar.clear();
    match (outcome, sink) {
        (Ok(()), Some(sink)) => sink.finish()?,
        (Err(error), sink) => {
            if let Some(sink) = sink {
                sink.abandon();
            }
            return Err(error);
        }
        (Ok(()), None) => {}
    }
    Ok(summary)
}

/// Counts of one replay.
pub struct Summary {
    pub calls: u64,
    trunks: Vec<String>,
    by_rule: [[u64; Treatment::ALL.len()]; Rule::ALL.len()],
    by_trunk: Vec<[u64; Treatment::ALL.len()]>,
    by_hour: BTreeMap<i64, [u64; Treatment::ALL.len()]>,
    would: [[u64; Treatment::ALL.len()]; Rule::ALL.len()],
}

const HOUR_MS: i64 = 3_600_000;

impl Summary {
    fn new(trunks: Vec<String>) -> Summary {
        let by_trunk = vec![Default::default(); trunks.len()];
        Summary {
            calls: 0,
            trunks,
            by_rule: Default::default(),
            by_trunk,
            by_hour: BTreeMap::new(),
            would: Default::default(),
        }
    }

    fn add(&mut self, time_ms: i64, trunk: TrunkId, verdict: &Verdict) {
        let treatment = usize::from(verdict.treatment.code());
        self.calls += 1;
        self.by_rule[verdict.rule as usize][treatment] += 1;
        self.by_trunk[usize::from(trunk.0)][treatment] += 1;
        self.by_hour.entry(time_ms.div_euclid(HOUR_MS)).or_default()[treatment] += 1;
        if let Some(would) = verdict.would {
            self.would[would.rule as usize][usize::from(would.treatment.code())] += 1;
        }
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
        for (&hour, counts) in &self.by_hour {
            let time =
                jiff::Timestamp::from_millisecond(hour * HOUR_MS).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            row(out, &time.to_string()[..13].replace('T', " "), counts)?;
        }
        Ok(())
    }
}

fn by_name(counts: &[u64; Treatment::ALL.len()], name: &str) -> u64 {
    let of_name = Treatment::ALL.into_iter().filter(|treatment| treatment.name() == name);
    of_name.map(|treatment| counts[usize::from(treatment.code())]).sum()
}

/// Where verdicts go: whole or not at all, so a draft is renamed at the end.
struct Sink {
    draft: PathBuf,
    path: PathBuf,
    form: Form,
    language: Language,
}

enum Form {
    JsonLines(BufWriter<File>),
    Parquet(Box<VerdictWriter>),
}

impl Sink {
    fn create(path: &Path, language: Language) -> Result<Sink, String> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        let mut draft = path.as_os_str().to_owned();
        draft.push(".draft");
        let draft = PathBuf::from(draft);
        let form = match extension {
            "jsonl" => {
                let file = File::create(&draft);
                let file = file
                    .map_err(|error| format!("{}: {}", path.display(), crate::config::explain_io(&error)))?;
                Form::JsonLines(BufWriter::with_capacity(1 << 18, file))
            }
            "parquet" => Form::Parquet(Box::new(VerdictWriter::create(&draft, language)?)),
            _ => return Err(format!("--out {}: the name must end in .jsonl or .parquet", path.display())),
        };
        Ok(Sink { draft, path: path.to_owned(), form, language })
    }

    fn write(&mut self, n: u64, verdict: &Verdict) -> Result<(), String> {
        match &mut self.form {
            Form::JsonLines(out) => write_json(out, n, verdict, self.language)
                .map_err(|error| format!("writing verdicts: {error}")),
            Form::Parquet(writer) => writer.write(n, verdict),
        }
    }

    fn finish(self) -> Result<(), String> {
        let wrong = |error: std::io::Error| format!("writing verdicts: {error}");
        match self.form {
            Form::JsonLines(mut out) => out.flush().map_err(wrong)?,
            Form::Parquet(writer) => writer.finish()?,
        }
        fs::rename(&self.draft, &self.path).map_err(wrong)
    }

    fn abandon(self) {
        drop(self.form);
        let _ = fs::remove_file(self.draft);
    }
}

/// One verdict as a line of JSON. No text here holds a character that JSON escapes: a test of the words says so.
fn write_json(out: &mut impl Write, n: u64, verdict: &Verdict, language: Language) -> std::io::Result<()> {
    let (rule, reason) = (verdict.rule, reason_in_words(language, verdict.reason));
    write!(
        out,
        "{{\"n\":{n},\"verdict\":\"{}\",\"rule\":\"{}\",\"name\":\"{}\",\"reason\":\"{reason}\"",
        verdict.treatment.name(),
        rule.id(),
        rule.name(),
    )?;
    if let Some(label) = verdict.treatment.label() {
        write!(out, ",\"label\":\"{}\"", label.name())?;
    }
    if let Some(would) = verdict.would {
        let (treatment, rule) = (would.treatment.name(), would.rule);
        write!(
            out,
            ",\"would\":{{\"verdict\":\"{treatment}\",\"rule\":\"{}\",\"name\":\"{}\"}}",
            rule.id(),
            rule.name()
        )?;
    }
    out.write_all(b"}\n")
}
