//! `qalqan journal …`: its arguments and what they lead to.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use call::Rule;
use clap::{Args, Subcommand, ValueEnum};
use qalqan::config::{self, Journal, Origin};
use qalqan::letters::{self, Wanted};
use qalqan::query::{Form, Query, Source, query, scorecard, segments_of};
use qalqan::store::keys::{Keys, read_public};
use qalqan::store::now_ms;
use qalqan::store::seal::Sealer;
use qalqan::store::shelf::Shelf;
use qalqan::verify::verify;
use rules::Language;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Subcommand)]
pub enum JournalCommand {
    /// Find verdicts; the newest come last
    Query(QueryArgs),
    /// Check that nothing sealed was changed, dropped, added or moved
    Verify(VerifyArgs),
    /// Show what was asked and answered between operators, as it was signed; the look is written down
    Letters(LettersArgs),
    /// Go over to new keys: for seals and for numbers
    RotateKeys,
}

/// The time asked about.
#[derive(Args)]
struct Period {
    /// From this time on: 2026-03-02T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Period {
    /// From, and until, in ms since 1970.
    fn read(&self) -> Result<(Option<i64>, Option<i64>), String> {
        Ok((time(self.from.as_ref(), "from")?, time(self.until.as_ref(), "until")?))
    }
}

/// Which verdicts.
#[derive(Args)]
pub struct WhichArgs {
    #[command(flatten)]
    period: Period,
    /// Calling, presentation, called or redirecting number in E.164; the search is written down
    #[arg(long, value_name = "N")]
    number: Option<String>,
    /// Decided by this rule, or hit by it in monitor mode: R08
    #[arg(long)]
    rule: Option<String>,
    /// allow, mark, withhold or block
    #[arg(long, value_name = "NAME")]
    verdict: Option<String>,
    /// Ingress trunk by its name
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
}

#[derive(Args)]
pub struct QueryArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Show every digit; the look is written down
    #[arg(long)]
    reveal: bool,
    #[arg(long, value_enum, default_value_t = OutputForm::Table)]
    format: OutputForm,
    /// Journal directory, or s3://bucket/prefix [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    directory: Option<String>,
    /// Directory of the keys that open numbers [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum OutputForm {
    Table,
    Csv,
    Jsonl,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// Directory of a journal or of its segments, or s3://bucket/prefix [default: the configuration's]
    #[arg(value_name = "DIR|URL")]
    place: Option<String>,
    /// The public key that the journal began with: first.pub.pem of its keys
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// The head that an earlier run gave: says whether the end was cut off since
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
}

pub fn run(
    command: JournalCommand,
    origin: &Origin,
    language: Option<Language>,
    out: &mut impl Write,
) -> Outcome {
    match command {
        JournalCommand::Query(args) => args.run(origin, language, out),
        JournalCommand::Verify(args) => args.run(origin, out),
        JournalCommand::Letters(args) => args.run(origin, out),
        JournalCommand::RotateKeys => rotate(origin, out),
    }
}

#[derive(Args)]
pub struct LettersArgs {
    #[command(flatten)]
    period: Period,
    /// Calling, called or redirecting number in E.164
    #[arg(long, value_name = "N")]
    number: Option<String>,
    /// The other operator by its name
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Journal directory [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Directory of the keys that open letters [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl LettersArgs {
    fn run(self, origin: &Origin, out: &mut impl Write) -> Outcome {
        let LettersArgs { period, number, member, directory, keys } = self;
        let configured = match (&directory, &keys) {
            (Some(_), Some(_)) => None,
            _ => Some(config::load_journal(origin)?.0),
        };
        let usual = |of: fn(&Journal) -> &PathBuf| configured.as_ref().map(of).cloned().unwrap_or_default();
        let directory = directory.unwrap_or_else(|| usual(|journal| &journal.directory));
        let keys = Keys::of_numbers(&keys.unwrap_or_else(|| usual(|journal| &journal.keys)))?;
        let (from_ms, until_ms) = period.read()?;
        let wanted = Wanted { from_ms, until_ms, number: number.as_deref().map(e164).transpose()?, member };
        let shown = directory.display().to_string();
        Ok(letters::print(&directory, &keys, &wanted, out)
            .map_err(|error| format!("{shown}: letters: {error}"))?)
    }
}

fn time(text: Option<&String>, name: &str) -> Result<Option<i64>, String> {
    let read = |text: &String| {
        qalqan::records::parse_time(text)
            .ok_or_else(|| format!("--{name} {text}: write 2026-03-02T12:00:00Z, or seconds since 1970"))
    };
    text.map(read).transpose()
}

fn e164(text: &str) -> Result<numbering::Number, String> {
    numbering::Number::parse(text)
        .map_err(|_| format!("--number {text}: write it in E.164, such as +77272501234"))
}

/// `qalqan scorecard`: which verdicts count, and how they are shown.
#[derive(Args)]
pub struct ScorecardArgs {
    #[command(flatten)]
    period: Period,
    /// Ingress trunk by its name
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    #[arg(long, value_enum, default_value_t = OutputForm::Table)]
    format: OutputForm,
    /// Journal directory, or s3://bucket/prefix [default: the configuration's]
    #[arg(long, value_name = "DIR")]
    directory: Option<String>,
}

/// The journal of the configuration.
pub fn configured(origin: &Origin) -> Result<Source, Box<dyn std::error::Error>> {
    let args = QueryArgs::of_all(Period { from: None, until: None }, None, OutputForm::Table, None);
    Ok(args.opened(origin)?.0)
}

impl ScorecardArgs {
    pub fn run(self, origin: &Origin, out: &mut impl Write) -> Outcome {
        let ScorecardArgs { period, trunk, format, directory } = self;
        let args = QueryArgs::of_all(period, trunk, format, directory);
        let wanted = args.which.query(args.limit, args.reveal)?;
        let (source, _) = args.opened(origin)?;
        Ok(qalqan::scorecard::print(&scorecard(source, &wanted)?, args.form(), out)?)
    }
}

impl QueryArgs {
    /// All verdicts of a period, masked.
    fn of_all(
        period: Period,
        trunk: Option<String>,
        format: OutputForm,
        directory: Option<String>,
    ) -> QueryArgs {
        QueryArgs {
            which: WhichArgs { period, number: None, rule: None, verdict: None, trunk },
            limit: usize::MAX,
            reveal: false,
            format,
            directory,
            keys: None,
        }
    }

    fn run(self, origin: &Origin, language: Option<Language>, out: &mut impl Write) -> Outcome {
        let wanted = self.which.query(self.limit, self.reveal)?;
        let (source, usual) = self.opened(origin)?;
        Ok(query(source, &wanted, self.form(), language.unwrap_or(usual), out)?)
    }

    fn form(&self) -> Form {
        match self.format {
            OutputForm::Table => Form::Table,
            OutputForm::Csv => Form::Csv,
            OutputForm::Jsonl => Form::JsonLines,
        }
    }

    /// The journal, and the language of its configuration.
    fn opened(&self, origin: &Origin) -> Result<(Source, Language), Box<dyn std::error::Error>> {
        // A journal can be read where its node's configuration is not: with --directory none is needed.
        Ok(match &self.directory {
            Some(url) if url.contains("://") => {
                let source = Source { directory: None, shelves: vec![Shelf::open(url)?], keys: self.keys()? };
                (source, Language::default())
            }
            Some(directory) => {
                let source = Source::of_directory(Path::new(directory), None, self.keys()?)?;
                (source, Language::default())
            }
            None => {
                let (Journal { directory, segments, keys, .. }, language) = config::load_journal(origin)?;
                let keys = if self.keys.is_some() { self.keys()? } else { Keys::of_numbers(&keys)? };
                (Source::of_directory(&directory, segments.as_deref(), keys)?, language)
            }
        })
    }

    fn keys(&self) -> Result<Vec<journal::NumbersKey>, String> {
        self.keys.as_deref().map_or(Ok(Vec::new()), Keys::of_numbers_named)
    }
}

impl WhichArgs {
    /// Whether anything narrows it.
    pub fn says_something(&self) -> bool {
        let WhichArgs { period, number, rule, verdict, trunk } = self;
        [&period.from, &period.until, number, rule, verdict, trunk].into_iter().any(Option::is_some)
    }

    /// The question as it was put; a number stays masked, as in looks.
    pub fn question(&self) -> serde_json::Value {
        let WhichArgs { period, number, rule, verdict, trunk } = self;
        let masked = |text: &String| e164(text).map(|number| number.to_string()).unwrap_or_default();
        serde_json::json!({"from": period.from, "until": period.until, "number": number.as_ref().map(masked),
                           "rule": rule, "verdict": verdict, "trunk": trunk})
    }

    pub fn query(&self, limit: usize, reveal: bool) -> Result<Query, String> {
        let rule = self.rule.as_ref().map(|id| {
            Rule::from_id(&id.to_ascii_uppercase())
                .ok_or_else(|| format!("--rule {id}: no such rule: R00 to R20, ALLOW"))
        });
        if let Some(name) = &self.verdict
            && !["allow", "mark", "withhold", "block"].contains(&name.as_str())
        {
            return Err(format!("--verdict {name}: allow, mark, withhold or block"));
        }
        let (from_ms, until_ms) = self.period.read()?;
        Ok(Query {
            from_ms,
            until_ms,
            number: self.number.as_deref().map(e164).transpose()?,
            rule: rule.transpose()?,
            verdict: self.verdict.clone(),
            trunk: self.trunk.clone(),
            limit,
            reveal,
        })
    }
}

impl VerifyArgs {
    fn run(self, origin: &Origin, out: &mut impl Write) -> Outcome {
        let key = read_public(&self.public_key).map_err(|what| format!("--public-key {what}"))?;
        let shelf = match &self.place {
            Some(url) if url.contains("://") => Shelf::open(url)?,
            Some(directory) => Shelf::Directory(segments_of(Path::new(directory))),
            None => {
                let (journal, _) = config::load_journal(origin)?;
                match &journal.segments {
                    Some(url) => Shelf::open(url)?,
                    None => Shelf::Directory(segments_of(&journal.directory)),
                }
            }
        };
        let verified = verify(&shelf, key, self.head.as_deref()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{}: no such directory", shelf.shown()),
            _ => error.to_string(),
        })?;
        if verified.findings.is_empty() {
            return Ok(verified.print(out)?);
        }
        for finding in &verified.findings {
            writeln!(out, "{finding}")?;
        }
        out.flush()?;
        Err(format!("{}: {} findings", shelf.shown(), verified.findings.len()).into())
    }
}

/// A running node takes new keys up by itself; where none runs, it is done here.
fn rotate(origin: &Origin, out: &mut impl Write) -> Outcome {
    let (journal, _) = config::load_journal(origin)?;
    let next = Keys::prepare_rotation(&journal.keys)?;
    match qalqan::store::lock(&journal.directory) {
        Ok(_lock) => {
            let mut sealer = Sealer::open(&journal)?;
            sealer.rotate(now_ms())?;
            for line in sealer.take_news() {
                writeln!(out, "{line}")?;
            }
        }
        Err(_) => {
            writeln!(
                out,
                "new keys are laid ready in {}; the running node takes them up",
                journal.keys.display()
            )?;
        }
    }
    writeln!(out, "next key {}; the first public key verifies the journal as before", next.id())?;
    Ok(())
}
