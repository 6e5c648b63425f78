//! `qalqan loan try`: walks an application from its opening to the signed document, as a creditor does.

mod api;
mod own;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use journal::PublicKey;
use qalqan::tls::read_secret;
use rules::Language;
use serde_json::{Value, json};

use super::Outcome;
use api::{Api, Fault};
use own::Own;

/// Between looks at an application that waits.
const PAUSE: Duration = Duration::from_secs(1);
/// A text that smsd has not taken by then was none of this node.
const SPOOL_WAIT: Duration = Duration::from_secs(30);

const SECRET: &str = "QALQAN_CLIENT_SECRET";

#[derive(Args)]
pub struct TryArgs {
    /// Start a throw-away node with keys, a client and SQLite, and walk there: nothing has to be set up
    #[arg(long = "self", conflicts_with_all = ["url", "client", "secret_file", "spool", "id"])]
    own: bool,
    /// The node
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// client_id; the secret is taken from QALQAN_CLIENT_SECRET, a file, or asked for
    #[arg(long)]
    client: Option<String>,
    /// File that holds the client_secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Take codes from this spool of texts, where no phone is at hand
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Go on with an application that was opened before
    #[arg(long, conflicts_with_all = ["iin", "phone", "sum", "kind"])]
    id: Option<String>,
    /// Of the applicant
    #[arg(long)]
    iin: Option<String>,
    /// That confirms, E.164
    #[arg(long)]
    phone: Option<String>,
    /// In units of the currency
    #[arg(long)]
    sum: Option<String>,
    /// unsecured, secured, goods, refinancing, card-limit
    #[arg(long)]
    kind: Option<String>,
    #[arg(long, default_value = "KZT")]
    currency: String,
    #[arg(long, default_value_t = 365)]
    term_days: u32,
    /// online or branch
    #[arg(long, default_value = "online")]
    channel: String,
}

type Words = BTreeMap<String, String>;

fn words(language: Language) -> Words {
    let text = match language {
        Language::Kk => include_str!("../../../rulebook/loans/try/kk.toml"),
        Language::Ru => include_str!("../../../rulebook/loans/try/ru.toml"),
        Language::En => include_str!("../../../rulebook/loans/try/en.toml"),
    };
    toml::from_str(text).expect("shipped words are tested")
}

/// Somebody at the keyboard, or nobody.
struct Screen<'o, W> {
    out: &'o mut W,
    words: Words,
    has_colours: bool,
}

impl<W: Write> Screen<'_, W> {
    fn word(&self, name: &str, places: &[(&str, &str)]) -> String {
        let mut text = self.words.get(name).cloned().unwrap_or_else(|| name.to_owned());
        for (place, value) in places {
            text = text.replace(&format!("{{{place}}}"), value);
        }
        text
    }

    fn say(&mut self, name: &str, places: &[(&str, &str)]) -> std::io::Result<()> {
        let text = self.word(name, places);
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// A line from the keyboard.
    fn ask(&mut self, name: &str) -> Result<String, String> {
        let question = self.word(name, &[]);
        let shown = write!(self.out, "{question}: ").and_then(|()| self.out.flush());
        shown.map_err(|error| error.to_string())?;
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            _ => Err(format!("{question}: nothing was entered")),
        }
    }

    /// The gates that answered otherwise than shown last, as a small table.
    fn gates(&mut self, seen: &Value, shown: &mut BTreeMap<String, String>) -> std::io::Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let mut rows = Vec::new();
        for gate in seen["gates"].as_array().into_iter().flatten() {
            let (name, answer) = (text(&gate["gate"]), text(&gate["answer"]));
            let mut why = text(&gate["text"]);
            if let Some(until) = gate["until"].as_str() {
                why += &format!(", {}", self.word("until", &[("time", until)]));
            }
            if shown.insert(name.clone(), gate.to_string()) != Some(gate.to_string()) {
                rows.push((name, self.word(&answer, &[]), answer, why));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let width = |text: &str| text.chars().count();
        let heads = ["gate", "answer", "reason"].map(|name| self.word(name, &[]));
        let names = rows.iter().map(|row| width(&row.0)).chain([width(&heads[0])]).max().unwrap_or(0);
        let answers = rows.iter().map(|row| width(&row.1)).chain([width(&heads[1])]).max().unwrap_or(0);
        writeln!(self.out, "  {:names$}  {:answers$}  {}", heads[0], heads[1], heads[2])?;
        for (name, word, answer, why) in rows {
            let (on, off) = match answer.as_str() {
                _ if !self.has_colours => ("", ""),
                "pass" => ("\x1b[32m", "\x1b[0m"),
                "refuse" => ("\x1b[31m", "\x1b[0m"),
                "wait" => ("\x1b[33m", "\x1b[0m"),
                _ => ("\x1b[2m", "\x1b[0m"),
            };
            writeln!(self.out, "  {name:names$}  {on}{word:answers$}{off}  {why}")?;
        }
        self.out.flush()
    }
}

pub fn run(args: TryArgs, language: Language, out: &mut impl Write) -> Outcome {
    let has_colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut screen = Screen { out, words: words(language), has_colours };
    let own = args.own.then(Own::start).transpose()?;
    let made_up = |value: &str| own.is_some().then(|| value.to_owned());
    let (url, client, secret, spool) = match &own {
        Some(own) => {
            screen.say("started", &[("url", &own.url)])?;
            (own.url.clone(), own.client.to_owned(), own.secret.clone(), Some(own.spool()))
        }
        None => {
            let client = args.client.map_or_else(|| screen.ask("ask-client"), Ok)?;
            let secret = secret(&args.secret_file, &mut screen)?;
            (args.url, client, secret, args.spool)
        }
    };
    let runtime = super::runtime()?;
    let api = Api::new(&url, &client, &secret, language)?;
    let mut walk = Walk { screen, runtime, api, spool };
    let id = match args.id {
        Some(id) => id,
        None => {
            let mut given = |said: Option<String>, usual: &str, name: &str| match said.or(made_up(usual)) {
                Some(value) => Ok(value),
                None => walk.screen.ask(name),
            };
            let body = json!({
                "iin": given(args.iin, "900101300007", "ask-iin")?,
                "phone": given(args.phone, "+77010000001", "ask-phone")?,
                "sum": given(args.sum, "250000.00", "ask-sum")?,
                "kind": given(args.kind, "unsecured", "ask-kind")?,
                "currency": args.currency,
                "term_days": args.term_days,
                "channel": args.channel,
                "language": language.code(),
            });
            walk.open(&body)?
        }
    };
    walk.walk_on(&id)
}

fn secret<W: Write>(file: &Option<PathBuf>, screen: &mut Screen<W>) -> Result<String, String> {
    if let Some(path) = file {
        let bytes = read_secret(path).map_err(|what| format!("{}: {what}", path.display()))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{}: not text", path.display()))?;
        return Ok(text.trim().to_owned());
    }
    if let Ok(secret) = std::env::var(SECRET) {
        return Ok(secret);
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!("no client_secret: put it into {SECRET}, or into a file named by --secret-file"));
    }
    // Nobody behind the applicant reads it.
    let hides = std::process::Command::new("stty").arg("-echo").status().is_ok_and(|status| status.success());
    let entered = screen.ask("ask-secret");
    if hides {
        let _ = std::process::Command::new("stty").arg("echo").status();
        let _ = writeln!(screen.out);
    }
    entered
}

struct Walk<'o, W> {
    screen: Screen<'o, W>,
    runtime: tokio::runtime::Runtime,
    api: Api,
    spool: Option<PathBuf>,
}

impl<W: Write> Walk<'_, W> {
    /// Asks, and where the node is away again until it is there.
    fn ask(&mut self, method: &str, path: &str, key: &str, body: &str) -> Result<Value, String> {
        let mut is_said = false;
        loop {
            match self.runtime.block_on(self.api.ask(method, path, key, body)) {
                Ok(value) => return Ok(value),
                Err(Fault::Refused(what)) => return Err(what),
                // What was sent may be done: only what can be asked twice is asked again.
                Err(Fault::Away(what)) if key.is_empty() && method != "GET" => return Err(what),
                Err(Fault::Away(_)) => {
                    if !is_said {
                        self.screen.say("away", &[]).map_err(|error| error.to_string())?;
                        is_said = true;
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    fn open(&mut self, body: &Value) -> Result<String, Box<dyn std::error::Error>> {
        let key = api::new_key();
        let opened = self.ask("POST", "/v1/loans", &key, &body.to_string())?;
        let id = opened["id"].as_str().ok_or("the node named no application")?.to_owned();
        self.screen.say("opened", &[("id", &id)])?;
        Ok(id)
    }

    fn walk_on(&mut self, id: &str) -> Outcome {
        let path = format!("/v1/loans/{id}");
        let mut shown = BTreeMap::new();
        let mut waits_for = String::new();
        loop {
            let seen = self.ask("GET", &path, "", "")?;
            self.screen.gates(&seen, &mut shown)?;
            let state = seen["state"].as_str().unwrap_or("").to_owned();
            match state.as_str() {
                "confirming" | "consenting" if seen["code_consents_to"].is_string() => {
                    self.consent(&path, &seen)?;
                    continue;
                }
                "cooling" if waits_for != "cooling" => {
                    let until = seen["cooling_until"].as_str().unwrap_or("");
                    self.screen.say("cooling", &[("time", until), ("id", id)])?;
                    waits_for = state;
                }
                "confirming" | "consenting" => {
                    let gates = seen["gates"].as_array().into_iter().flatten();
                    if let Some(gate) = gates.into_iter().find(|gate| gate["answer"] == "wait") {
                        let name = gate["gate"].as_str().unwrap_or("").to_owned();
                        if waits_for != name {
                            let why = gate["text"].as_str().unwrap_or("");
                            self.screen.say("waiting", &[("gate", &name), ("reason", why)])?;
                            waits_for = name;
                        }
                    }
                }
                "cooling" => {}
                _ => {
                    let answer = seen["answer"].as_str().unwrap_or("");
                    self.screen.say("ended", &[("state", &state), ("answer", answer)])?;
                    self.document(&path)?;
                    let says = if answer == "pass" { "pay-out" } else { "no-pay-out" };
                    return Ok(self.screen.say(says, &[])?);
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// A code is sent and entered, by hand or from the spool; a wrong one may be entered again.
    fn consent(&mut self, path: &str, seen: &Value) -> Outcome {
        let purpose = seen["code_consents_to"].as_str().unwrap_or("confirm").to_owned();
        let before = self.texts();
        self.ask("POST", &format!("{path}/code"), &api::new_key(), "")?;
        let phone = seen["phone"].as_str().unwrap_or("");
        self.screen.say(&format!("{purpose}-sent"), &[("phone", phone)])?;
        loop {
            let code = match self.spool.is_some() {
                true => self.code_of_spool(&before)?,
                false => self.screen.ask("enter")?,
            };
            let body = json!({"code": code}).to_string();
            match self.ask("POST", &format!("{path}/{purpose}"), &api::new_key(), &body) {
                Ok(_) if self.spool.is_some() => return Ok(self.screen.say("read", &[])?),
                Ok(_) => return Ok(()),
                Err(why) if self.spool.is_some() => return Err(why.into()),
                Err(why) => {
                    self.screen.say("wrong", &[("why", &why)])?;
                    // The code counts no longer, or the state is another: look again.
                    if !why.starts_with(api::WRONG_CODE) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Names of the texts that lie in the spool.
    fn texts(&self) -> Vec<PathBuf> {
        let entries = self.spool.iter().flat_map(std::fs::read_dir).flatten().flatten();
        let is_whole =
            |path: &PathBuf| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
        entries.map(|entry| entry.path()).filter(is_whole).collect()
    }

    fn code_of_spool(&mut self, before: &[PathBuf]) -> Result<String, Box<dyn std::error::Error>> {
        let end = std::time::Instant::now() + SPOOL_WAIT;
        while std::time::Instant::now() < end {
            for path in self.texts().into_iter().filter(|path| !before.contains(path)) {
                let file = std::fs::read_to_string(path).unwrap_or_default();
                let text = file.split_once("\n\n").map_or("", |(_, text)| text);
                let is_code = |part: &&str| part.len() == 6;
                if let Some(code) = text.split(|c: char| !c.is_ascii_digit()).rfind(is_code) {
                    self.screen.say("text", &[])?;
                    writeln!(self.screen.out, "  | {}", text.trim())?;
                    return Ok(code.to_owned());
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let spool = self.spool.as_ref().map(|spool| spool.display().to_string()).unwrap_or_default();
        Err(format!(
            "{spool}: no text with a code after {} s: is this the node's spool?",
            SPOOL_WAIT.as_secs()
        )
        .into())
    }

    fn document(&mut self, path: &str) -> Outcome {
        let jws = self.ask("GET", &format!("{path}/document"), "", "")?;
        let keys = self.ask("GET", "/v1/loans/keys", "", "")?;
        let jws = jws.as_str().ok_or("the document is no JWS")?;
        for key in keys["keys"].as_array().into_iter().flatten() {
            let Ok(public) = serde_json::from_value::<PublicKey>(key["x"].clone()) else { continue };
            if let Some(said) = lending::document::read(public, jws) {
                let text = |name: &str| said[name].as_str().unwrap_or("").to_owned();
                let (state, sum, currency) = (text("state"), text("sum"), text("currency"));
                let kid = key["kid"].as_str().unwrap_or("");
                let places = [("key", kid), ("state", &*state), ("sum", &*sum), ("currency", &*currency)];
                return Ok(self.screen.say("document", &places)?);
            }
        }
        Err(self.screen.word("no-document", &[]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_says_the_same() {
        let places = |language| -> Vec<(String, Vec<String>)> {
            let of = |text: &str| {
                let mut places: Vec<String> = text
                    .split('{')
                    .skip(1)
                    .filter_map(|part| Some(part.split_once('}')?.0.to_owned()))
                    .collect();
                places.sort();
                places
            };
            words(language).into_iter().map(|(name, text)| (name, of(&text))).collect()
        };
        let english = places(Language::En);
        assert_eq!(places(Language::Kk), english);
        assert_eq!(places(Language::Ru), english);
    }
}
