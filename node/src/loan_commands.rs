//! `qalqan loan …`: keys and clients of the loan gate, its reference photos and its record of looks.

mod walk;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use journal::SigningKey;
use qalqan::clients::{add_key, replace};
use qalqan::config::{self, Loans, Origin};
use qalqan::loans::{Faces, New, Reference, ReferenceSeen, Store, add_client, random};
use qalqan::records::parse_time;
use rules::Language;
use walk::TryArgs;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Subcommand)]
pub enum LoanCommand {
    /// Put a new key in force for personal data, in front of those there are; SIGHUP or a start takes it up
    Key {
        /// File of the keys
        file: PathBuf,
        /// Also make the key that signs documents in this file, where there is none
        #[arg(long, value_name = "FILE")]
        signing_key: Option<PathBuf>,
    },
    /// Add a client of the API; its secrets are printed once
    Client(ClientArgs),
    /// Walk an application to its end as a creditor does, and show the gates; --self needs nothing set up
    Try(TryArgs),
    /// Seal again, under the key in force, what is sealed under older ones; nodes may run meanwhile
    RotateKeys,
    /// Show what became of texts that went to an SMSC
    Texts {
        /// The newest so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Reference photos, which living faces are compared with
    #[command(subcommand)]
    Reference(ReferenceCommand),
    /// Show who looked at what
    Looks {
        /// Only looks from then on: 2026-03-02T12:00:00Z, or seconds since 1970
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// The newest so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
}

#[derive(Subcommand)]
pub enum ReferenceCommand {
    /// Put a person's photo in place of the one before; the IIN is asked for, or read from standard input
    Put {
        /// JPEG or PNG
        picture: PathBuf,
    },
    /// List them: of each person the last digits of the IIN
    List {
        /// The newest so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
    /// Remove a person's photo; the IIN is asked for, or read from standard input
    Remove,
}

#[derive(Args)]
pub struct ClientArgs {
    /// Client file
    file: PathBuf,
    /// client_id: letters, digits, - _ and .
    id: String,
    /// As people are told it
    #[arg(long)]
    name: String,
    /// Of a creditor: bank or microfinance
    #[arg(long, default_value = "", hide_default_value = true)]
    class: String,
    /// loans, bans, signals, phones, references
    #[arg(long, value_delimiter = ',', default_value = "loans")]
    scopes: Vec<String>,
    /// Where changes of its applications are posted
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    webhook: String,
}

pub fn run(
    command: LoanCommand,
    origin: &Origin,
    language: Option<Language>,
    out: &mut impl Write,
) -> Outcome {
    match command {
        LoanCommand::Key { file, signing_key } => {
            let id = add_key(&file)?;
            writeln!(out, "{}: key {id} is in front", file.display())?;
            if let Some(path) = signing_key.filter(|path| !path.exists()) {
                let key = SigningKey::new(random());
                replace(&path, key.to_pem().as_bytes())
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                write!(out, "{}: a new key; its public half:\n{}", path.display(), key.public().to_pem())?;
            }
        }
        LoanCommand::Client(args) => {
            let ClientArgs { file, id, name, class, scopes, webhook } = args;
            let scopes = scopes.join(" ");
            let new = New { id: &id, name: &name, class: &class, scopes: &scopes, webhook: &webhook };
            let (secret, webhook_secret) = add_client(&file, &new)?;
            writeln!(out, "client_id {id}\nclient_secret {secret}")?;
            if let Some(secret) = webhook_secret {
                writeln!(out, "webhook_secret {secret}")?;
            }
        }
        LoanCommand::Try(args) => walk::run(args, language.unwrap_or_default(), out)?,
        LoanCommand::RotateKeys => {
            let loans = configured(origin)?;
            let changed = runtime()?.block_on(async {
                let store = Store::open(&loans.store).await.map_err(|fault| fault.to_string())?;
                store.rotate(&loans.vault).await
            })?;
            writeln!(out, "{changed} rows are now sealed under key {}", loans.vault.current())?;
        }
        LoanCommand::Texts { limit } => {
            let loans = configured(origin)?;
            let texts = runtime()?.block_on(async {
                let store = Store::open(&loans.store).await.map_err(|fault| fault.to_string())?;
                store.texts(limit).await.map_err(|fault| fault.to_string())
            })?;
            for text in texts {
                let time = jiff::Timestamp::from_millisecond(text.made_ms)?;
                writeln!(out, "{time:.3} {} {} {}", text.client, text.id, text.parts.join(", "))?;
            }
        }
        LoanCommand::Reference(command) => reference(command, &*configured(origin)?, out)?,
        LoanCommand::Looks { since, limit } => {
            let since_ms = since.map_or(Ok(0), |text| {
                parse_time(&text).ok_or_else(|| {
                    format!("--since {text}: write 2026-03-02T12:00:00Z, or seconds since 1970")
                })
            })?;
            let loans = configured(origin)?;
            let looks = runtime()?.block_on(async {
                let store = Store::open(&loans.store).await.map_err(|fault| fault.to_string())?;
                store.looks(since_ms, limit).await.map_err(|fault| fault.to_string())
            })?;
            for (at_ms, who, what, subject) in looks {
                let time = jiff::Timestamp::from_millisecond(at_ms)?;
                writeln!(out, "{time:.3} {who} {what} {subject}")?;
            }
        }
    }
    Ok(())
}

fn reference(command: ReferenceCommand, loans: &Loans, out: &mut impl Write) -> Outcome {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let (vault, runtime, who) = (&loans.vault, runtime()?, who());
    let store = || async { Store::open(&loans.store).await.map_err(|fault| format!("the store: {fault}")) };
    let said = |fault: sqlx::Error| format!("the store: {fault}");
    match command {
        ReferenceCommand::Put { picture } => {
            let shown = |what: &dyn std::fmt::Display| format!("{}: {what}", picture.display());
            let bytes = std::fs::read(&picture).map_err(|error| shown(&config::explain_io(&error)))?;
            let iin = iin(loans, now_ms)?;
            let faces = Faces::start(loans.faces.as_ref(), Arc::default())?;
            let mut reference = Reference::of(bytes);
            runtime.block_on(async {
                let measured = faces.measure(&mut reference, now_ms).await;
                measured.map_err(|problem| shown(&problem.detail))?;
                store().await?.put_reference(vault, &who, &iin, &reference, now_ms).await.map_err(said)
            })?;
            writeln!(out, "kept, with the numbers of {}", reference.model)?;
        }
        ReferenceCommand::List { limit } => {
            let seen = runtime.block_on(async {
                store().await?.references(vault, &who, limit, now_ms).await.map_err(said)
            })?;
            for ReferenceSeen { iin, at_ms, client, model, picture_until_ms } in seen {
                let time = jiff::Timestamp::from_millisecond(at_ms)?;
                let picture = match picture_until_ms {
                    Some(until_ms) => {
                        format!("picture until {:.0}", jiff::Timestamp::from_millisecond(until_ms)?)
                    }
                    None => "no picture".to_owned(),
                };
                writeln!(out, "{time:.3} {iin} {client}, {model}, {picture}")?;
            }
        }
        ReferenceCommand::Remove => {
            let iin = iin(loans, now_ms)?;
            let was_there = runtime.block_on(async {
                store().await?.remove_reference(vault, &who, &iin, now_ms).await.map_err(said)
            })?;
            if !was_there {
                return Err("this person has no reference photo".into());
            }
            writeln!(out, "removed")?;
        }
    }
    Ok(())
}

/// Not an argument: those stand in lists of processes and histories of shells.
fn iin(loans: &Loans, now_ms: i64) -> Result<String, String> {
    if std::io::stdin().is_terminal() {
        eprint!("IIN: ");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| format!("IIN: {error}"))?;
    if line.trim().is_empty() {
        return Err("IIN: nothing was entered: write it to standard input".to_owned());
    }
    let iin = loans.rulebook.iin.read(line.trim(), loans.rulebook.day(now_ms));
    iin.map(|iin| iin.reveal()).map_err(|fault| format!("IIN: {fault}"))
}

/// Who sits at the command line, in the record of looks.
fn who() -> String {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default();
    let user: String = user.chars().filter(|c| c.is_alphanumeric() || "-_.".contains(*c)).collect();
    // A client_id holds no colon.
    format!("command-line:{}", if user.is_empty() { "unknown" } else { &user })
}

fn configured(origin: &Origin) -> Result<Arc<Loans>, Box<dyn std::error::Error>> {
    let loans = config::load(origin)?.loans;
    Ok(loans.ok_or_else(|| format!("{origin}: no [loans]"))?)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
