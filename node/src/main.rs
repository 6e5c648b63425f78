//! The command line. Every command exits with 0, or prints what is wrong in a line and exits with 1.

mod evidence_commands;
mod journal_commands;
mod list_commands;
mod loan_commands;
mod roaming_commands;
mod stats_commands;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use evidence_commands::EvidenceCommand;
use journal_commands::{JournalCommand, ScorecardArgs};
use list_commands::ListsCommand;
use loan_commands::LoanCommand;
use qalqan::case_commands::{self, CaseCommand};
use qalqan::check::{Asked, check};
use qalqan::config::{self, Origin};
use qalqan::hunt::{self, HuntArgs};
use qalqan::records::Mapping;
use qalqan::{demo, http, manual, replay, serve, simulate};
use roaming_commands::RoamingCommand;
use rules::Language;
use screening::Fields;
use stats_commands::StatsArgs;

/// Qalqan stops telephone fraud: every call is judged as it enters the network.
#[derive(Parser)]
#[command(name = "qalqan", version, propagate_version = true, arg_required_else_help = true)]
struct CommandLine {
    /// Configuration file [default: ./qalqan.toml, /etc/qalqan/qalqan.toml, else the embedded example]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Language of what people read: kk, ru or en [default: the configuration's]
    #[arg(long, global = true, value_name = "LANGUAGE", value_parser = language)]
    language: Option<Language>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judge one call and say why
    Check(CheckArgs),
    /// Judge recorded calls from CSV, Parquet or a capture
    Replay(ReplayArgs),
    /// Run a node: SIP over UDP, redirect mode; HTTP
    Serve,
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The lists
    #[command(subcommand)]
    Lists(ListsCommand),
    /// Those who may ask by HTTP
    #[command(subcommand)]
    Http(HttpCommand),
    /// Call centres and SIM boxes in call records; fraudsters among subscribers by a learned model
    Hunt(HuntArgs),
    /// Facts of fraud: what belongs together, who called the victims; the investigators' register
    #[command(subcommand)]
    Case(CaseCommand),
    /// Evidence packages: chosen decisions and cases, signed and chained
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// The journal
    #[command(subcommand)]
    Journal(JournalCommand),
    /// What each trunk handed over by day: the share of spoofed calls
    Scorecard(ScorecardArgs),
    /// Public numbers of a period, from the register and the journal: facts, damage, blocks; growth over years
    Stats(StatsArgs),
    /// The loan gate: its keys, clients, and who looked at what
    #[command(subcommand)]
    Loan(LoanCommand),
    /// Where subscribers are: the sources that say so
    #[command(subcommand)]
    Roaming(RoamingCommand),
    /// Play a small country on a seed, without sockets, and check every verdict against the truth
    Simulate(simulate::SimulateArgs),
    /// Play the small country over real SIP against a real node, and watch
    Demo(demo::DemoArgs),
    /// Write man pages and shell completions, laid out as under /usr/share
    #[command(hide = true)]
    Manual { directory: PathBuf },
}

#[derive(Args)]
struct CheckArgs {
    /// Calling number (network number), as the wire has it; "" for none
    #[arg(allow_hyphen_values = true)]
    calling: String,
    /// Called number
    called: String,
    /// Ingress trunk by its name in the configuration
    #[arg(long, value_name = "NAME")]
    trunk: String,
    /// Redirecting number
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    redirecting: String,
    /// Presentation number
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    presentation: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ReplayArgs {
    /// CSV or Parquet with columns time, trunk, calling, presentation, called, redirecting; or a capture, pcap or
    /// pcapng, with SIP over UDP and TCP
    file: PathBuf,
    /// Write one verdict per call, in input order: .jsonl or .parquet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take their column for ours; an empty THEIRS says that there is none
    #[arg(long = "map", value_name = "THEIRS=OURS")]
    maps: Vec<String>,
    /// The trunk of all calls of a capture [default: by the address they come from]
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Read the configuration and all it names; name every fault
    Check,
}

#[derive(Subcommand)]
enum HttpCommand {
    /// Make a key, print it once, and add its hash to the key file; SIGHUP puts it in force
    Key(KeyArgs),
}

#[derive(Args)]
struct KeyArgs {
    /// Whose it is: letters, digits, - _ and .
    name: String,
    /// Trunks it may ask about [default: every one]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    trunks: Vec<String>,
    /// The last day on which it counts, in UTC, or the moment it ends [default: never]
    #[arg(long, value_name = "TIME", default_value = "", hide_default_value = true)]
    expires: String,
    /// Key file [default: the configuration's http.api-keys]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

fn language(text: &str) -> Result<Language, String> {
    Language::from_code(text).ok_or_else(|| "kk, ru or en".to_owned())
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |stumbled| {
        if std::thread::current().name() != Some(qalqan::records::READER) {
            say(stumbled);
        }
    }));
    let command_line = CommandLine::parse();
    match run(command_line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that went away (head, less) is no fault of ours to report.
            let closed =
                error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
            if !closed {
                eprintln!("qalqan: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command_line: CommandLine) -> Outcome {
    let CommandLine { config, language, command } = command_line;
    let origin = Origin::find(config);
    let load = || config::load(&origin);
    let mut out = BufWriter::new(io::stdout().lock());
    match command {
        Command::Check(args) => {
            let setup = load()?;
            let language = language.unwrap_or(setup.language);
            let fields = Fields {
                calling: &args.calling,
                presentation: &args.presentation,
                called: &args.called,
                redirecting: &args.redirecting,
                privacy: false,
            };
            let checked = check(&setup, &Asked { trunk: &args.trunk, fields })?;
            if args.json {
                writeln!(out, "{}", checked.json(language))?;
            } else {
                checked.print(&mut out, language)?;
            }
        }
        Command::Replay(args) => {
            let mapping = Mapping::parse(&args.maps)?;
            let setup = load()?;
            let asked = replay::Asked {
                path: &args.file,
                mapping: &mapping,
                trunk: args.trunk.as_deref(),
                out: args.out.as_deref(),
            };
            let summary = replay::replay(&setup, &asked)?;
            summary.print(&mut out, language.unwrap_or(setup.language))?;
            if let Some(heard) = &summary.heard {
                let shown = args.file.display();
                for warning in heard.warnings() {
                    eprintln!("qalqan: {shown}: {warning}");
                }
                if let Some(fault) = heard.fault() {
                    out.flush()?;
                    return Err(format!("{shown}: {fault}").into());
                }
            }
        }
        Command::Serve => {
            drop(out);
            return serve::serve(&origin);
        }
        Command::Config(ConfigCommand::Check) => {
            let setup = load()?;
            let trunks = setup.policy.trunks.len();
            writeln!(
                out,
                "{origin}: ok: {trunks} trunks, {} lists, basis {:016x}",
                setup.files.len(),
                setup.policy.basis_id()
            )?;
        }
        Command::Lists(command) => list_commands::run(command, &origin, &mut out)?,
        Command::Http(HttpCommand::Key(args)) => {
            let file = match args.file {
                Some(file) => file,
                None => config::load_api_keys(&origin)?.ok_or_else(|| {
                    format!("{origin}: no api-keys in [http]: name a file there, or say --file")
                })?,
            };
            writeln!(out, "{}", http::add_key(&file, &args.name, &args.trunks, &args.expires)?)?;
        }
        Command::Case(command) => case_commands::run(&command, &origin, &mut out)?,
        Command::Evidence(command) => evidence_commands::run(command, &origin, language, &mut out)?,
        Command::Hunt(args) => hunt::run(args, &mut out)?,
        Command::Journal(command) => journal_commands::run(command, &origin, language, &mut out)?,
        Command::Scorecard(args) => args.run(&origin, &mut out)?,
        Command::Stats(args) => args.run(&origin, language, &mut out)?,
        Command::Loan(command) => loan_commands::run(command, &origin, language, &mut out)?,
        Command::Roaming(command) => roaming_commands::run(command, &mut out)?,
        Command::Simulate(args) => simulate::simulate(&args, language.unwrap_or_default(), &mut out)?,
        Command::Demo(args) => {
            drop(out);
            return demo::demo(&args, language.unwrap_or_default());
        }
        Command::Manual { directory } => manual::write(CommandLine::command(), &directory)?,
    }
    out.flush()?;
    Ok(())
}
