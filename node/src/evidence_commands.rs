//! `qalqan evidence …`: its arguments and what they lead to.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use qalqan::casework::{Cases, Seen, cases};
use qalqan::config::{self, Origin};
use qalqan::evidence::{Checked, Fonts, Records, Sought, Wanted, check, follow, pack, report};
use qalqan::query::Query;
use qalqan::store::keys::{Keys, read_public};
use rules::Language;
use serde_json::json;

use crate::journal_commands::{self, WhichArgs};

#[derive(Subcommand)]
pub enum EvidenceCommand {
    /// Pack chosen decisions and cases with all that proves them; the look is written down
    Pack(Box<PackArgs>),
    /// Check packages with the public key alone; names each file and record that is not as it was
    Verify(VerifyArgs),
    /// Make the report of a package anew; the same font gives the bytes that were packed
    Report(ReportArgs),
}

#[derive(Args)]
pub struct PackArgs {
    /// Directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Why it is made: the case, the request
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    which: WhichArgs,
    /// A list, plan or configuration as it was in force then; decisions name it by its SHA-256
    #[arg(long = "with", value_name = "FILE")]
    with: Vec<PathBuf>,
    /// Client of the register whose rights count for cases
    #[arg(long = "as", value_name = "CLIENT")]
    client: Option<String>,
    /// Fact of the register by its id
    #[arg(long = "fact", value_name = "ID")]
    facts: Vec<i64>,
    /// Person of the register
    #[arg(long = "person", value_name = "ID")]
    persons: Vec<i64>,
    /// Seizure of the register
    #[arg(long = "seizure", value_name = "ID")]
    seizures: Vec<i64>,
    /// Confirmed group of the register, with its cases
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<i64>,
    /// Call centre of the register
    #[arg(long = "centre", value_name = "ID")]
    centres: Vec<i64>,
    /// Call records as hunt reads them: of these, calls of the centres' numbers on their days; without --centre those of --number
    #[arg(long = "records", value_name = "FILE")]
    records: Vec<PathBuf>,
    /// A column of the records that has another name there
    #[arg(long, value_name = "THEIRS=OURS")]
    map: Vec<String>,
    /// Show every digit, and names and texts of cases
    #[arg(long)]
    reveal: bool,
}

#[derive(Args)]
pub struct VerifyArgs {
    /// Packages; of several also whether one between them was left out
    #[arg(required = true, value_name = "DIR")]
    packages: Vec<PathBuf>,
    /// The public key that the journal began with: first.pub.pem of its keys
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// Directory of numbers keys, for who has them: hidden numbers are checked too
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

#[derive(Args)]
pub struct ReportArgs {
    /// Package to read
    #[arg(value_name = "DIR")]
    package: PathBuf,
    /// PDF to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

pub fn run(
    command: EvidenceCommand,
    origin: &Origin,
    language: Option<Language>,
    out: &mut impl Write,
) -> Outcome {
    match command {
        EvidenceCommand::Pack(args) => args.run(origin, language, out),
        EvidenceCommand::Verify(args) => args.run(out),
        EvidenceCommand::Report(ReportArgs { package, out: file }) => {
            let fonts = Fonts::read(&config::load_evidence(origin)?)?;
            let pages = report(&package, language.unwrap_or_default(), &fonts)?;
            std::fs::write(&file, pages).map_err(|error| format!("{}: {error}", file.display()).into())
        }
    }
}

impl PackArgs {
    fn run(self, origin: &Origin, language: Option<Language>, out: &mut impl Write) -> Outcome {
        let PackArgs { out: place, why, which, with, client, records, map, reveal, .. } = self;
        let PackArgs { facts, persons, seizures, groups, centres, .. } = self;
        if why.trim().is_empty() {
            return Err("--why: say what the package is for".into());
        }
        let asked = json!({"decisions": which.question(), "facts": facts, "persons": persons,
                           "seizures": seizures, "groups": groups, "centres": centres});
        let asked_cases = Cases { facts, persons, seizures, groups, centres, reveal, why: why.clone() };
        let query = which.says_something().then(|| which.query(usize::MAX, reveal)).transpose()?;
        if query.is_none() && asked_cases.is_empty() {
            return Err(
                "say which decisions, such as --from or --number, or which cases, such as --fact".into()
            );
        }
        let (journal, usual) = config::load_journal(origin)?;
        let settings = config::load_evidence(origin)?;
        let fonts = Fonts::read(&settings)?;
        let Seen { cases: found, centres } = match (&client, asked_cases.is_empty()) {
            (_, true) => Seen::default(),
            (None, false) => return Err("--as: name the client of the register whose rights count".into()),
            (Some(client), false) => {
                let setup = config::load(origin).map_err(|faults| faults.to_string())?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(cases(std::sync::Arc::new(setup), client, asked_cases))?
            }
        };
        let (plan, _) = config::load_hunting(origin).map_err(|faults| faults.to_string())?;
        let sought = match (centres, query.as_ref()) {
            (centres, _) if !centres.is_empty() => centres,
            (_, Some(Query { number: Some(number), from_ms, until_ms, .. })) => {
                vec![Sought::of_number(*number, *from_ms, *until_ms)]
            }
            _ if !records.is_empty() => {
                return Err("--records: say whose calls are packed: --centre or --number".into());
            }
            _ => Vec::new(),
        };
        let records =
            (!records.is_empty()).then(|| Records { files: &records, map: &map, plan: &plan, sought });
        let wanted = Wanted {
            query: query.as_ref(),
            cases: found,
            in_force: &with,
            records,
            client,
            why: &why,
            question: asked,
            revealed: reveal,
            language: language.unwrap_or(usual),
            fonts: &fonts,
            utc_offset_min: settings.utc_offset_min,
        };
        let source = || journal_commands::configured(origin).map_err(|error| error.to_string());
        let packed = pack(&journal, &source, &place, wanted)?;
        packed.checked.print(out)?;
        Ok(())
    }
}

impl VerifyArgs {
    fn run(self, out: &mut impl Write) -> Outcome {
        let key = read_public(&self.public_key).map_err(|what| format!("--public-key {what}"))?;
        let keys = match &self.keys {
            Some(directory) => match Keys::of_numbers(directory)? {
                keys if keys.is_empty() => {
                    return Err(format!("--keys {}: no numbers key is there", directory.display()).into());
                }
                keys => keys,
            },
            None => Vec::new(),
        };
        let mut checked: Vec<Checked> = Vec::new();
        let mut count = 0;
        for package in &self.packages {
            let one = check(package, key, &keys)?;
            for finding in &one.findings {
                writeln!(out, "{}: {finding}", package.display())?;
            }
            count += one.findings.len();
            checked.push(one);
        }
        for finding in follow(&mut checked) {
            writeln!(out, "{finding}")?;
            count += 1;
        }
        if count == 0 {
            checked.iter().try_for_each(|one| one.print(out))?;
            return Ok(());
        }
        out.flush()?;
        Err(format!("{count} findings: not as it was packed").into())
    }
}
