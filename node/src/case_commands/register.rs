//! `qalqan case …` that touches the register: its keys and clients, facts into it, who looked.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::casework::{CentresImported, Imported, Store, add_client, import_centres, import_file, looks};
use crate::clients::add_key;
use crate::config::{self, Casework, Origin};

#[derive(Args)]
pub struct KeyArgs {
    /// File of the keys
    file: PathBuf,
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
    /// investigator, head, operator, bank or auditor
    #[arg(long)]
    role: String,
    /// Of an investigator or a head: units he works in, or "*" for all
    #[arg(long, value_delimiter = ',', value_name = "UNIT")]
    units: Vec<String>,
}

#[derive(Args)]
pub struct ImportArgs {
    /// Facts: CSV whose first line names its columns; number, type and when have to be there
    #[arg(value_name = "FACTS")]
    file: PathBuf,
    /// The unit of facts that name none
    #[arg(long)]
    unit: Option<String>,
}

#[derive(Args)]
pub struct CentresArgs {
    /// JSON lines, a cluster each
    #[arg(value_name = "FOUND")]
    file: PathBuf,
    /// Whose the centres are
    #[arg(long)]
    unit: String,
}

#[derive(Args)]
pub struct LooksArgs {
    /// From this day (in UTC) or moment on
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: i64,
}

fn configured(origin: &Origin) -> Result<Arc<Casework>, String> {
    let setup = config::load(origin).map_err(|faults| faults.to_string())?;
    setup.casework.ok_or_else(|| format!("{origin}: no [casework]"))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|error| error.to_string())
}

fn said(error: std::io::Error) -> String {
    error.to_string()
}

pub fn key(args: &KeyArgs, out: &mut impl Write) -> Result<(), String> {
    let id = add_key(&args.file)?;
    writeln!(out, "{}: key {id} is in front", args.file.display()).map_err(said)
}

pub fn client(args: &ClientArgs, out: &mut impl Write) -> Result<(), String> {
    let ClientArgs { file, id, name, role, units } = args;
    let secret = add_client(file, id, name, role, &units.join(" "))?;
    writeln!(out, "client_id {id}\nclient_secret {secret}").map_err(said)
}

pub fn rotate_keys(origin: &Origin, out: &mut impl Write) -> Result<(), String> {
    let settings = configured(origin)?;
    let changed = runtime()?.block_on(async {
        let store = Store::open(&settings.store).await?;
        store.rotate(&settings.vault).await
    });
    let changed = changed.map_err(|fault| fault.to_string())?;
    writeln!(out, "{changed} rows are now sealed under key {}", settings.vault.current()).map_err(said)
}

pub fn import(args: &ImportArgs, origin: &Origin, out: &mut impl Write) -> Result<(), String> {
    let settings = configured(origin)?;
    let done = runtime()?.block_on(import_file(&settings, &args.file, args.unit.as_deref()));
    let Imported { new, known } = done?;
    writeln!(out, "{new} facts are new, {known} were there already").map_err(said)
}

pub fn import_found(args: &CentresArgs, origin: &Origin, out: &mut impl Write) -> Result<(), String> {
    let settings = configured(origin)?;
    let done = runtime()?.block_on(import_centres(&settings, &args.file, Some(&args.unit)));
    let CentresImported { new, grown, already_there, facts_not_known } = done?;
    let (new, grown) = (new.len(), grown.len());
    writeln!(out, "{new} call centres are new, {grown} have grown, {already_there} were there already")
        .map_err(said)?;
    if facts_not_known > 0 {
        writeln!(out, "{facts_not_known} facts that they called are not in the register").map_err(said)?;
    }
    Ok(())
}

pub fn who_looked(args: &LooksArgs, origin: &Origin, out: &mut impl Write) -> Result<(), String> {
    let settings = configured(origin)?;
    let since_ms = args.since.as_deref().map_or(Ok(0), since)?;
    let seen = runtime()?.block_on(async {
        let store = Store::open(&settings.store).await?;
        looks(&store, &settings.vault, since_ms, args.limit).await
    });
    for look in seen.map_err(|fault| fault.to_string())? {
        let time = Timestamp::from_millisecond(look.at_ms).map_err(|error| error.to_string())?;
        let outcome = if look.was_refused { "refused" } else { "allowed" };
        writeln!(out, "{time:.3} {} {} {outcome} {}", look.who, look.what, look.subject).map_err(said)?;
    }
    Ok(())
}

fn since(text: &str) -> Result<i64, String> {
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    let at = text.parse::<Timestamp>().ok().or_else(day);
    at.map(Timestamp::as_millisecond).ok_or_else(|| format!("since \"{text}\" is no day and no time"))
}
