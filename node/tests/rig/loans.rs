//! A loan gate under test: its keys and clients, a bank and a portal of citizens that ask it, and the spool of its texts.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use super::http::{Answer, Client, site, token};
use super::postgres::Postgres;
use super::{Node, Site, free_port, wait};

/// A loan gate, a bank and a portal of citizens.
pub struct Gate {
    pub site: Site,
    pub address: SocketAddr,
    pub node: Option<Node>,
    pub bank: (String, String),
    pub webhook_secret: String,
    pub portal: String,
    pub postgres: Option<Postgres>,
}

const SPOOL: &str = "sms";
const SPOOLED: &str = "sms-spool = \"sms\"";

impl Gate {
    pub fn new(postgres: Option<Postgres>, webhook: &str, more: &str) -> Gate {
        Gate::made(postgres, webhook, more, &[], SPOOLED)
    }

    /// With secret files beside the configuration.
    pub fn with_files(postgres: Option<Postgres>, more: &str, files: &[(&str, &str)]) -> Gate {
        Gate::made(postgres, "", more, files, SPOOLED)
    }

    /// A gate whose texts go another way: a line of `[loans]`, or a table behind it. `smpp.toml` are an SMSC's credentials.
    pub fn sending(postgres: Option<Postgres>, webhook: &str, more: &str, texts: &str) -> Gate {
        let credentials = "system-id = \"qalqan\"\npassword = \"secret\"\n";
        Gate::made(postgres, webhook, more, &[("smpp.toml", credentials)], texts)
    }

    fn made(
        postgres: Option<Postgres>,
        webhook: &str,
        more: &str,
        files: &[(&str, &str)],
        texts: &str,
    ) -> Gate {
        let store = postgres.as_ref().map_or("loans.db", |postgres| &postgres.url).to_owned();
        // A line has to come before tables, a table behind lines.
        let (line, behind) = if texts.starts_with('[') { ("", texts) } else { (texts, "") };
        let table = format!(
            "[loans]\nstore = \"{store}\"\nkeys = \"loans.keys\"\nsigning-key = \"signing.pem\"\n\
             clients = \"clients.csv\"\n{line}\n{more}\n{behind}\n"
        );
        let (site, address) = site(&table);
        std::fs::create_dir(site.path(SPOOL)).unwrap();
        for (name, text) in files {
            site.write(name, text);
            std::fs::set_permissions(site.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        site.ok(&["loan", "key", "loans.keys", "--signing-key", "signing.pem"]);
        let secret = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map(str::to_owned).unwrap_or_default()
        };
        let mut client =
            vec!["loan", "client", "clients.csv", "bank", "--name", "Банк Один", "--class", "bank"];
        client.extend(["--scopes", "loans,signals"]);
        if !webhook.is_empty() {
            client.extend(["--webhook", webhook]);
        }
        let bank = site.ok(&client);
        let portal = site.ok(&[
            "loan",
            "client",
            "clients.csv",
            "portal",
            "--name",
            "Portal",
            "--scopes",
            "bans,phones,references",
        ]);
        let node = Some(site.serve());
        let gate = Gate {
            bank: ("bank".to_owned(), secret(&bank, "client_secret")),
            webhook_secret: secret(&bank, "webhook_secret"),
            portal: secret(&portal, "client_secret"),
            site,
            address,
            node,
            postgres,
        };
        gate.wait_until_calls_are_known();
        gate
    }

    /// Another node on this one's PostgreSQL, with the same keys and clients.
    pub fn beside(&self) -> Gate {
        let site = Site { directory: tempfile::tempdir().expect("a directory"), port: free_port() };
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let configured = self.site.read("qalqan.toml");
        let configured = configured
            .replace(&format!("127.0.0.1:{}\"", self.site.port), &format!("127.0.0.1:{}\"", site.port));
        site.write("qalqan.toml", configured.replace(&self.address.to_string(), &address.to_string()));
        for file in std::fs::read_dir(self.site.directory.path())
            .unwrap()
            .flatten()
            .filter(|file| file.path().is_file())
        {
            let to = site.path(&file.file_name().to_string_lossy());
            if !to.exists() {
                // With its mode: keys are nobody else's.
                std::fs::copy(file.path(), to).unwrap();
            }
        }
        std::fs::create_dir(site.path(SPOOL)).unwrap();
        let node = Some(site.serve());
        let (bank, webhook_secret, portal) =
            (self.bank.clone(), self.webhook_secret.clone(), self.portal.clone());
        let gate = Gate { site, address, node, bank, webhook_secret, portal, postgres: None };
        gate.wait_until_calls_are_known();
        gate
    }

    /// A node that has just started reads its journal first; until then loans wait.
    fn wait_until_calls_are_known(&self) {
        let signal = || self.bank("POST /v1/signals/scam", "", json!({"phone": "+77010000000"})).json();
        wait(|| signal()["suspicious_call"] == "none", || "the journal is read".to_owned());
    }

    pub fn token(&self, id: &str, secret: &str) -> String {
        token(self.address, id, secret)
    }

    pub fn ask_as(&self, token: &str, what: &str, key: &str, body: &str) -> Answer {
        let key = if key.is_empty() { String::new() } else { format!("\r\nIdempotency-Key: {key}") };
        let head = format!(
            "{what} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json{key}"
        );
        Client::new(self.address).ask(&head, body)
    }

    pub fn bank(&self, what: &str, key: &str, body: Value) -> Answer {
        let token = self.token(&self.bank.0, &self.bank.1);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask_as(&token, what, key, &body)
    }

    pub fn portal(&self, what: &str, body: Value) -> Answer {
        self.ask_as(&self.token("portal", &self.portal), what, "", &body.to_string())
    }

    /// Opens an application and gives its id.
    #[track_caller]
    pub fn open(&self, key: &str, body: Value) -> String {
        let answer = self.bank("POST /v1/loans", key, body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub fn look(&self, id: &str) -> Value {
        self.bank(&format!("GET /v1/loans/{id}"), "", Value::Null).json()
    }

    /// The next text to a phone, once it lies in the spool; it is taken away.
    #[track_caller]
    pub fn text(&self, phone: &str) -> String {
        text_of(&[self], phone)
    }

    /// Sends a code and reads it from its text.
    #[track_caller]
    pub fn code(&self, id: &str, phone: &str) -> String {
        let answer = self.bank(&format!("POST /v1/loans/{id}/code"), "", Value::Null);
        assert_eq!(answer.status, 202, "{answer:?}");
        let text = self.text(phone);
        let digits = |word: &&str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit());
        let code = text.split(|c: char| !c.is_ascii_digit()).rfind(digits).expect("a code").to_owned();
        assert!(text.contains("Банк Один") && text.contains("KZT"), "{text}");
        code
    }

    pub fn enter(&self, id: &str, purpose: &str, code: &str) -> Answer {
        self.bank(&format!("POST /v1/loans/{id}/{purpose}"), "", json!({"code": code}))
    }

    /// Does something to the store behind the node's back.
    pub fn sql(&self, statement: &str) {
        let mut command = match &self.postgres {
            Some(postgres) => {
                let mut psql = Command::new("psql");
                psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-d", &postgres.url, "-c", statement]);
                psql
            }
            None => {
                let script =
                    "import sqlite3, sys; sqlite3.connect('loans.db', timeout=10).execute(sys.argv[1])";
                let mut python = Command::new("python3");
                python.args(["-c", script, statement]);
                python
            }
        };
        let output = command.current_dir(self.site.directory.path()).output().expect("psql, python3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn crash(&mut self) {
        self.node.take().unwrap().kill();
    }

    /// Starts the node again with a clock so many hours ahead.
    pub fn start(&mut self, hours: u32) {
        self.start_ahead(&if hours == 0 { String::new() } else { format!("+{hours}h") });
    }

    /// Starts the node again with a clock ahead, as faketime writes it: `+61s`.
    pub fn start_ahead(&mut self, ahead: &str) {
        self.node = Some(self.site.serve_ahead(ahead));
        self.wait_until_calls_are_known();
    }
}

/// The next text to a phone in the spool of one of these nodes; it is taken away.
#[track_caller]
pub fn text_of(gates: &[&Gate], phone: &str) -> String {
    let to = format!("To: {}\n", phone.trim_start_matches('+'));
    let mut found = None;
    let look = || {
        for entry in gates.iter().flat_map(|gate| std::fs::read_dir(gate.site.path(SPOOL)).unwrap().flatten())
        {
            let is_whole = !entry.file_name().to_string_lossy().starts_with('.');
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            if is_whole && text.starts_with(&to) {
                std::fs::remove_file(entry.path()).unwrap();
                found = Some(text);
                return true;
            }
        }
        false
    };
    wait(look, || format!("a text to {phone}"));
    found.unwrap()
}

/// An IIN by the rule of the law.
pub fn iin(n: u32) -> String {
    for serial in n.. {
        let eleven = format!("9001013{:04}", serial % 10_000);
        let digit = |at: usize| u32::from(eleven.as_bytes()[at] - b'0');
        let sum =
            |shift: usize| (0..11).map(|at| ((at + shift) % 11 + 1) as u32 * digit(at)).sum::<u32>() % 11;
        if let Some(check) = [sum(0), sum(2)].into_iter().find(|check| *check != 10) {
            return format!("{eleven}{check}");
        }
    }
    unreachable!()
}

/// One whose check digit does not fit.
pub fn wrong_iin() -> String {
    let fine = iin(700);
    format!("{}{}", &fine[..11], (fine.as_bytes()[11] - b'0' + 1) % 10)
}

pub fn loan(iin: &str, phone: &str, sum: &str) -> Value {
    json!({"iin": iin, "phone": phone, "sum": sum, "currency": "KZT", "term_days": 365, "kind": "unsecured",
           "channel": "online", "language": "kk"})
}

pub fn gate<'j>(loan: &'j Value, name: &str) -> &'j Value {
    loan["gates"].as_array().unwrap().iter().find(|gate| gate["gate"] == name).expect("a gate")
}
