//! A register of cases under test: its keys, and clients of every role.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::http::{Answer, Client, site, token};
use super::postgres::Postgres;
use super::{Node, Site};

pub struct Register {
    pub site: Site,
    pub address: SocketAddr,
    pub node: Option<Node>,
    secrets: BTreeMap<&'static str, String>,
    pub postgres: Option<Postgres>,
}

/// Name, role and units of each client.
const CLIENTS: [(&str, &str, &str); 8] = [
    ("aigul", "investigator", "almaty"),
    ("ivan", "investigator", "astana"),
    ("head", "head", "almaty"),
    ("chief", "head", "*"),
    ("alpha", "operator", ""),
    ("bank", "bank", ""),
    ("other-bank", "bank", ""),
    ("auditor", "auditor", ""),
];

impl Register {
    pub fn new(postgres: Option<Postgres>) -> Register {
        Register::with_public(postgres, "")
    }

    /// With identifiers that are said to link nobody.
    pub fn with_public(postgres: Option<Postgres>, public: &str) -> Register {
        let store = postgres.as_ref().map_or("case.db", |postgres| &postgres.url).to_owned();
        let (site, address) = site(&format!(
            "[casework]\nstore = \"{store}\"\nkeys = \"case.keys\"\nclients = \"case-clients.csv\"\n\
             public = \"public.txt\"\n[hunting]\nutc-offset-min = 300\n"
        ));
        site.write("public.txt", public);
        site.ok(&["case", "key", "case.keys"]);
        let mut secrets = BTreeMap::new();
        for (name, role, units) in CLIENTS {
            let mut command =
                vec!["case", "client", "case-clients.csv", name, "--name", name, "--role", role];
            if !units.is_empty() {
                command.extend(["--units", units]);
            }
            let said = site.ok(&command);
            let secret = said.lines().find_map(|line| line.strip_prefix("client_secret ")).unwrap();
            secrets.insert(name, secret.to_owned());
        }
        let node = Some(site.serve());
        Register { site, address, node, secrets, postgres }
    }

    pub fn token(&self, who: &str) -> String {
        token(self.address, who, &self.secrets[who])
    }

    fn ask(&self, who: &str, what: &str, more: &str, body: &str) -> Answer {
        let head = format!("{what} HTTP/1.1\r\nAuthorization: Bearer {}{more}", self.token(who));
        Client::new(self.address).ask(&head, body)
    }

    #[track_caller]
    pub fn post(&self, who: &str, path: &str, body: Value) -> Answer {
        let what = format!("POST /v1/case/{path}");
        self.ask(who, &what, "\r\nContent-Type: application/json", &body.to_string())
    }

    #[track_caller]
    pub fn get(&self, who: &str, path: &str) -> Answer {
        self.ask(who, &format!("GET /v1/case/{path}"), "", "")
    }

    #[track_caller]
    pub fn stats(&self, who: &str, query: &str) -> Answer {
        self.ask(who, &format!("GET /v1/stats?{query}"), "", "")
    }

    #[track_caller]
    pub fn import(&self, who: &str, key: &str, csv: &str) -> Answer {
        let key = if key.is_empty() { String::new() } else { format!("\r\nIdempotency-Key: {key}") };
        self.ask(who, "POST /v1/case/facts", &format!("\r\nContent-Type: text/csv{key}"), csv)
    }

    /// What somebody finds, by pages.
    #[track_caller]
    pub fn found(&self, who: &str, mut search: Value) -> Vec<Value> {
        let mut found = Vec::new();
        loop {
            let answer = self.post(who, "facts/search", search.clone());
            assert_eq!(answer.status, 200, "{answer:?}");
            let page = answer.json();
            found.extend(page["facts"].as_array().unwrap().iter().cloned());
            match &page["next"] {
                Value::Null => return found,
                next => search["after"] = next.clone(),
            }
        }
    }

    /// Looks, the newest last, as the auditor reads them: who, what, subject, whether refused.
    #[track_caller]
    pub fn looks(&self) -> Vec<(String, String, String, bool)> {
        let answer = self.get("auditor", "looks?limit=10000");
        assert_eq!(answer.status, 200, "{answer:?}");
        let looks = answer.json();
        let text = |look: &Value, name: &str| look[name].as_str().unwrap().to_owned();
        let look = |look: &Value| {
            (text(look, "who"), text(look, "what"), text(look, "subject"), look["refused"] == true)
        };
        looks["looks"].as_array().unwrap().iter().map(look).collect()
    }

    pub fn crash(&mut self) {
        self.node.take().unwrap().kill();
    }

    pub fn start(&mut self) {
        self.start_ahead("");
    }

    /// With a clock ahead, as faketime writes it.
    pub fn start_ahead(&mut self, ahead: &str) {
        self.node = Some(self.site.serve_ahead(ahead));
    }
}
