//! `qalqan loan …`: keys and clients of the loan gate, and its record of looks.

mod walk;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use journal::SigningKey;
use qalqan::clients::{add_key, replace};
use qalqan::config::{self, Loans, Origin};
use qalqan::loans::{New, Store, add_client, random};
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
    /// Show who looked at what
    Looks {
        /// The newest so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: i64,
    },
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
        LoanCommand::Looks { limit } => {
            let loans = configured(origin)?;
            let looks = runtime()?.block_on(async {
                let store = Store::open(&loans.store).await.map_err(|fault| fault.to_string())?;
                store.looks(limit).await.map_err(|fault| fault.to_string())
            })?;
            for (at_ms, who, what, subject) in looks {
                let time = jiff::Timestamp::from_millisecond(at_ms)?;
                writeln!(out, "{time:.3} {who} {what} {subject}")?;
            }
        }
    }
    Ok(())
}

fn configured(origin: &Origin) -> Result<Arc<Loans>, Box<dyn std::error::Error>> {
    let loans = config::load(origin)?.loans;
    Ok(loans.ok_or_else(|| format!("{origin}: no [loans]"))?)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
