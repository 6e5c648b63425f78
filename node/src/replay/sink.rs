//! The verdicts of a replay, written to a file: JSON lines or Parquet.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use call::Verdict;
use rules::{Language, reason_in_words};

use crate::records::VerdictWriter;

/// Where verdicts go: whole or not at all, so a draft is renamed at the end.
pub struct Sink {
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
    /// `has_packets`: each verdict names the packet of its call.
    pub fn create(path: &Path, language: Language, has_packets: bool) -> Result<Sink, String> {
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
            "parquet" => Form::Parquet(Box::new(VerdictWriter::create(&draft, language, has_packets)?)),
            _ => return Err(format!("--out {}: the name must end in .jsonl or .parquet", path.display())),
        };
        Ok(Sink { draft, path: path.to_owned(), form, language })
    }

    pub fn write(&mut self, n: u64, packet: Option<u64>, verdict: &Verdict) -> Result<(), String> {
        match &mut self.form {
            Form::JsonLines(out) => write_json(out, n, packet, verdict, self.language)
                .map_err(|error| format!("writing verdicts: {error}")),
            Form::Parquet(writer) => writer.write(n, packet, verdict),
        }
    }

    pub fn finish(self) -> Result<(), String> {
        let wrong = |error: std::io::Error| format!("writing verdicts: {error}");
        match self.form {
            Form::JsonLines(mut out) => out.flush().map_err(wrong)?,
            Form::Parquet(writer) => writer.finish()?,
        }
        fs::rename(&self.draft, &self.path).map_err(wrong)
    }

    pub fn abandon(self) {
        drop(self.form);
        let _ = fs::remove_file(self.draft);
    }
}

/// One verdict as a line of JSON. No text here holds a character that JSON escapes: a test of the words says so.
fn write_json(
    out: &mut impl Write,
    n: u64,
    packet: Option<u64>,
    verdict: &Verdict,
    language: Language,
) -> std::io::Result<()> {
    let (rule, reason) = (verdict.rule, reason_in_words(language, verdict.reason));
    write!(out, "{{\"n\":{n}")?;
    if let Some(packet) = packet {
        write!(out, ",\"packet\":{packet}")?;
    }
    write!(
        out,
        ",\"verdict\":\"{}\",\"rule\":\"{}\",\"name\":\"{}\",\"reason\":\"{reason}\"",
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
