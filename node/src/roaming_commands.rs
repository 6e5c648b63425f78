//! `qalqan roaming …`: its arguments and what they lead to.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args, Subcommand};
use numbering::Number;
use qalqan::roaming::camara::{self, Camara};
use qalqan::roaming::hlr::{self, Hlr};
use qalqan::roaming::networks::Networks;
use qalqan::roaming::{Source, Whereabouts};
use qalqan::store::now_ms;
use qalqan::tls::read_secret;
use tokio::task::LocalSet;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Subcommand)]
pub enum RoamingCommand {
    /// Ask a source where subscribers are, a line for each; numbers are masked
    Ask(AskArgs),
}

#[derive(Args)]
#[command(group = ArgGroup::new("source").required(true).args(["hlr", "camara_url"]))]
pub struct AskArgs {
    /// Numbers in E.164, with +
    #[arg(required = true, value_name = "NUMBER")]
    numbers: Vec<String>,
    /// The control interface of an Osmocom HLR
    #[arg(long, value_name = "HOST:PORT", requires = "home_vlrs")]
    hlr: Option<String>,
    /// How numbers or names of the home network's VLRs and SGSNs begin
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    home_vlrs: Vec<String>,
    /// How others begin, and their country: 90=TR
    #[arg(long, value_name = "PREFIX=COUNTRY", value_delimiter = ',')]
    countries: Vec<String>,
    /// Take the last place of those whom their VLR gave up
    #[arg(long)]
    last_known: bool,
    /// The CAMARA Device Roaming Status API: https://api.example.com/device-roaming-status/v1
    #[arg(long, value_name = "URL")]
    camara_url: Option<String>,
    /// File with the bearer token of that API; only its owner may be able to read it
    #[arg(long, value_name = "FILE")]
    camara_token: Option<PathBuf>,
    /// Authorities whose certificates count over https, in PEM form
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// How long each answer may take
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    deadline_ms: u64,
}

pub fn run(command: RoamingCommand, out: &mut impl Write) -> Outcome {
    let RoamingCommand::Ask(args) = command;
    let numbers = args.numbers.iter().map(|text| {
        Number::parse(text).map_err(|_| format!("\"{text}\" is not a number of E.164: + and 7 to 15 digits"))
    });
    let numbers: Vec<Number> = numbers.collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let source = args.source()?;
        let deadline = Duration::from_millis(args.deadline_ms);
        for number in numbers {
            let asked = Instant::now();
            let found = source.ask(number, now_ms(), deadline).await;
            writeln!(out, "{}", line(number, &found, asked.elapsed()))?;
            out.flush()?;
        }
        if let Some(fault) = source.last_fault() {
            eprintln!("qalqan: {fault}");
        }
        Ok(())
    })
}

impl AskArgs {
    fn source(&self) -> Result<Source, Box<dyn std::error::Error>> {
        if let Some(address) = &self.hlr {
            let countries = self.countries.iter().map(|pair| {
                pair.split_once('=')
                    .ok_or_else(|| format!("\"{pair}\" is not a prefix, = and a country, as 90=TR"))
            });
            let countries: Vec<(&str, &str)> = countries.collect::<Result<_, _>>()?;
            let networks = Networks::new(&self.home_vlrs, &countries)?;
            let settings = hlr::Settings { address: address.clone(), networks, last_known: self.last_known };
            return Ok(Source::Hlr(Hlr::start(settings)));
        }
        let named = |path: &PathBuf, what: String| format!("{}: {what}", path.display());
        let token = match &self.camara_token {
            None => None,
            Some(path) => {
                let bytes = read_secret(path).map_err(|what| named(path, what))?;
                Some(String::from_utf8(bytes).map_err(|_| named(path, "no token".to_owned()))?)
            }
        };
        let tls = match &self.authorities {
            None => None,
            Some(path) => {
                let pem = fs::read(path).map_err(|error| named(path, error.to_string()))?;
                Some(camara::trusting(&pem).map_err(|what| named(path, what))?)
            }
        };
        let url = self.camara_url.clone().unwrap_or_default();
        Ok(Source::Camara(Box::new(Camara::new(camara::Settings { url, token, tls })?)))
    }
}

/// `+77011****67 roaming visited=TR method=hlr ms=1`
fn line(number: Number, found: &Whereabouts, took: Duration) -> String {
    let name = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let Whereabouts { status, reason, visited, method, known_ms } = *found;
    let mut line = format!("{number} {}", name(serde_json::json!(status)));
    if let Some(reason) = reason {
        line += &format!(" reason={}", name(serde_json::json!(reason)));
    }
    if let Some(country) = visited {
        line += &format!(" visited={}", String::from_utf8_lossy(&country));
    }
    line += &format!(" method={}", name(serde_json::json!(method)));
    if let Some(age_ms) = known_ms.map(|known_ms| now_ms().saturating_sub(known_ms)) {
        line += &format!(" age_ms={age_ms}");
    }
    format!("{line} ms={}", took.as_millis())
}
