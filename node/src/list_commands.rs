//! `qalqan lists …`: its arguments and what they lead to.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use qalqan::config::{self, Faults, Origin, Setup, list_faults};
use qalqan::list_file::{self, Reading, Refused};
use qalqan::nats::publish::{self, Change, Which};
use qalqan::progress::Bar;
use qalqan::store::keys::read_signing;
use qalqan::store::now_ms;
use screening::ListName;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Subcommand)]
pub enum ListsCommand {
    /// Read every list of the configuration; name every bad line, and every compact file that was changed
    Check,
    /// Make a compact file of a list's CSV file; [lists] names the one or the other
    Pack(PackArgs),
    /// Publish a version of a list through NATS, for every node that follows it; an earlier one to go back
    Publish(PublishArgs),
    /// Show the published versions of a list that are kept: which, when, by whom and why
    History {
        /// The key in [lists]
        #[arg(value_parser = name)]
        name: ListName,
    },
}

#[derive(Args)]
pub struct PackArgs {
    /// The list as CSV: number,owner,expires,note
    file: PathBuf,
    /// Where the compact file goes; one that is in force is replaced whole [default: FILE ending in .list]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The key in [lists] that it is for: the notes of "exempt" name rules
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<ListName>,
}

#[derive(Args)]
pub struct PublishArgs {
    /// The key in [lists] that it is a version of
    #[arg(value_parser = name)]
    name: ListName,
    /// The file, CSV or compact
    #[arg(required_unless_present = "earlier", conflicts_with = "earlier")]
    file: Option<PathBuf>,
    /// Publish an earlier version again, by the beginning of its SHA-256
    #[arg(long, value_name = "HASH")]
    earlier: Option<String>,
    /// Why, for those who look later
    #[arg(long)]
    reason: String,
    /// Who [default: SUDO_USER or USER]
    #[arg(long)]
    author: Option<String>,
    /// The Ed25519 private key that signs it, PKCS #8 in PEM form, mode 0600
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

fn name(text: &str) -> Result<ListName, String> {
    let found = ListName::ALL.into_iter().find(|name| name.name() == text);
    found.ok_or_else(|| format!("one of {}", ListName::ALL.map(ListName::name).join(", ")))
}

pub fn run(command: ListsCommand, origin: &Origin, out: &mut impl Write) -> Outcome {
    match command {
        ListsCommand::Check => check(&config::load(origin)?, out),
        ListsCommand::Pack(args) => pack(&args, origin, out),
        ListsCommand::Publish(args) => publish(&args, &config::load(origin)?, out),
        ListsCommand::History { name } => history(name, &config::load(origin)?, out),
    }
}

fn pack(args: &PackArgs, origin: &Origin, out: &mut impl Write) -> Outcome {
    let (plan, plan_version) = config::load_plan(origin)?;
    let reading = Reading { plan: &plan, plan_version, name: args.name };
    let shown = args.file.display().to_string();
    let target = args.out.clone().unwrap_or_else(|| args.file.with_extension("list"));
    let mut bar = Bar::on_terminal();
    let read = list_file::read(&args.file, &reading, &mut bar);
    bar.clear();
    let list = match read {
        Ok(list) if list.is_opened() => return Err(format!("{shown}: is a compact list already").into()),
        Ok(list) => list,
        Err(refused) => {
            let mut faults = Faults::new("", "");
            match refused {
                Refused::Compact(_) => return Err(format!("{shown}: is a compact list already").into()),
                refused => list_faults(&mut faults, &shown, &refused),
            }
            return Err(faults.into());
        }
    };
    let wrong = |what: String| format!("{}: {what}", target.display());
    if same_file(&args.file, &target) {
        return Err(wrong("is the CSV file itself: say --out".to_owned()).into());
    }
    list_file::pack(&list, &reading.stamp(), &target).map_err(|error| wrong(config::explain_io(&error)))?;
    // What was written is read back: a disk that lies is found out before the file is in force.
    let opened =
        list_file::read(&target, &reading, &mut list_file::Untold).map_err(|e| wrong(e.to_string()))?;
    opened.verify().map_err(|error| wrong(error.to_string()))?;
    writeln!(
        out,
        "{}: {} entries, {:.1} bits each, version {}",
        target.display(),
        opened.len(),
        opened.memory() as f64 * 8.0 / opened.len().max(1) as f64,
        opened.version()
    )?;
    Ok(())
}

fn publish(args: &PublishArgs, setup: &Setup, out: &mut impl Write) -> Outcome {
    let user = || std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).ok();
    let author = args.author.clone().or_else(user).filter(|author| !author.trim().is_empty());
    let author = author.ok_or("who publishes it? say --author")?;
    if args.reason.trim().is_empty() {
        return Err("why is it published? --reason says nothing".into());
    }
    let which = match (&args.file, &args.earlier) {
        (_, Some(version)) => Which::Earlier(version),
        (Some(file), None) => Which::File(file),
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let key = read_signing(&args.key)?;
    let change = Change { name: args.name, which, author: &author, reason: &args.reason };
    let published = publish::publish(setup, &change, &key)?;
    writeln!(out, "list {}: version {}", args.name.name(), published.shown())?;
    Ok(())
}

fn history(name: ListName, setup: &Setup, out: &mut impl Write) -> Outcome {
    for (key, published) in publish::history(setup, name)? {
        writeln!(out, "{}, key {key}", published.shown())?;
    }
    Ok(())
}

fn same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn check(setup: &Setup, out: &mut impl Write) -> Outcome {
    let mut faults = Faults::new("", "");
    for file in &setup.files {
        if let Err(error) = file.list.verify() {
            list_faults(&mut faults, &file.path.display().to_string(), &Refused::Compact(error));
        }
    }
    if !faults.is_empty() {
        return Err(faults.into());
    }
    writeln!(
        out,
        "{:<28} {:>10} {:>9} {:>8} {:>9} {:>10} {:>11}  version (SHA-256)",
        "list", "entries", "prefixes", "expired", "no owner", "no expiry", "duplicates"
    )?;
    for file in &setup.files {
        let audit = file.list.audit(now_ms());
        writeln!(
            out,
            "{:<28} {:>10} {:>9} {:>8} {:>9} {:>10} {:>11}  {}",
            file.name,
            file.list.len(),
            file.list.prefix_count(),
            audit.expired,
            audit.without_owner,
            audit.without_expiry,
            file.list.duplicates(),
            &file.list.version().to_string()[..16]
        )?;
    }
    Ok(())
}
