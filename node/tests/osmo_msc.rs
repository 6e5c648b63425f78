//! Texts through a real SMSC, that of osmo-msc, to a telephone: over SMPP to the MSC, from there over the A interface to a BSC with
//! telephones of our own (peers/phone.py), which osmo-hlr has as subscribers.

use crate::rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rig::hlr::Home;
use rig::http::Client;
use rig::loans::{Gate, iin, loan};
use rig::peer::Peer;
use rig::postgres::Postgres;
use rig::{Running, repository, start, wait};
use serde_json::{Value, json};

const SMPP: u16 = 2775;
const TERMINAL: u16 = 4254;
const A_INTERFACE: u16 = 5000;
const ALIYA: Subscriber = Subscriber { imsi: "001010000000001", number: "77011234567" };
const BERIK: Subscriber = Subscriber { imsi: "001010000000002", number: "77015550002" };

#[derive(Clone, Copy)]
struct Subscriber {
    imsi: &'static str,
    number: &'static str,
}

impl Subscriber {
    fn phone(self) -> String {
        format!("+{}", self.number)
    }
}

/// A mobile network: its register, its MSC with an SMSC, and the telephones.
struct Network {
    home: Home,
    phones: Peer,
    msc: Option<Running>,
}

impl Network {
    /// The telephones of Aliya, who is a subscriber, and of Berik, who is none yet.
    fn new(password: &str) -> Network {
        let home = Home::new();
        let address = home.address.clone();
        home.site.write("msc.cfg", configuration(&address, password));
        let path = |name: &str| home.site.path(name).display().to_string();
        let source = repository().join("node/tests/peers/no_sctp.c");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-o", &path("no_sctp.so")]).arg(source).status();
        assert!(compiled.expect("cc").success());
        let phones = Peer::start("phone.py", &[&address, &A_INTERFACE.to_string(), ALIYA.imsi, BERIK.imsi]);
        phones.next("listening");
        let mut network = Network { home, phones, msc: None };
        network.subscribe(ALIYA);
        network.start();
        assert_eq!(network.phones.next("registered")["imsi"], ALIYA.imsi);
        network
    }

    fn subscribe(&self, who: Subscriber) {
        self.home.subscribe(std::iter::once((who.imsi.to_owned(), who.number.to_owned())));
    }

    fn start(&mut self) {
        let mut msc = Command::new("osmo-msc");
        msc.current_dir(self.home.site.directory.path()).args(["-c", "msc.cfg"]);
        msc.env("LD_PRELOAD", self.home.site.path("no_sctp.so"));
        self.msc = Some(start(&mut msc));
        wait(|| TcpStream::connect((self.home.address.as_str(), SMPP)).is_ok(), || "osmo-msc".to_owned());
    }

    fn crash(&mut self) {
        let mut msc = self.msc.take().unwrap();
        msc.0.kill().unwrap();
        msc.0.wait().unwrap();
    }

    /// After a registration osmo-msc delivers one short message; the others once something wakes its queue.
    fn wake_queue(&self) {
        let mut terminal = TcpStream::connect((self.home.address.as_str(), TERMINAL)).unwrap();
        terminal.write_all(b"enable\nsms-queue trigger\nexit\n").unwrap();
        let _ = terminal.read_to_end(&mut Vec::new());
    }

    fn gate(&self, postgres: Option<Postgres>, more: &str) -> Gate {
        let table = format!(
            "[loans.smpp]\naddress = \"{}:{SMPP}\"\ncredentials = \"smpp.toml\"\nsource = \"Qalqan\"\nenquire-link-s = 1\n{more}",
            self.home.address
        );
        Gate::sending(postgres, "", "", &table)
    }

    /// What the telephones tell until so many whole texts came. When nothing happens the queue is waked.
    #[track_caller]
    fn until(&self, texts: usize) -> Vec<Value> {
        let mut told: Vec<Value> = Vec::new();
        let end = Instant::now() + Duration::from_secs(30);
        while told.iter().filter(|event| event["event"] == "text").count() < texts {
            match self.phones.event(Duration::from_secs(2)) {
                Some(event) => told.push(event),
                None => self.wake_queue(),
            }
            assert!(Instant::now() < end, "waited for {texts} texts: {told:?}");
        }
        told
    }

    /// The next whole text at a telephone.
    #[track_caller]
    fn text(&self, who: Subscriber) -> Value {
        let text = self.until(1).pop().unwrap();
        assert_eq!((&text["imsi"], &text["sender"]), (&json!(who.imsi), &json!("Qalqan")), "{text}");
        text
    }
}

fn configuration(address: &str, password: &str) -> String {
    format!(
        "line vty
 bind {address}
 no login
ctrl
 bind {address}
cs7 instance 0
 point-code 0.23.1
 asp bsc {A_INTERFACE} 0 ipa
  remote-ip {address}
  local-ip {address}
  role asp
  sctp-role client
 as bsc ipa
  asp bsc
  routing-key 0 0.23.1
  point-code override dpc 0.42.2
 as to-bsc ipa
  asp bsc
  routing-key 0 0.42.2
network
 network country code 001
 mobile network code 01
 encryption a5 0
 authentication optional
 mm info 0
msc
 no assign-tmsi
 timer geran X4 1
hlr
 remote-ip {address}
smsc
 database sms.db
smpp
 local-tcp-ip {address} {SMPP}
 policy closed
 esme qalqan
  password {password}
  default-route
"
    )
}

fn is_bound(gate: &Gate) -> bool {
    metric(gate, "qalqan_smpp_bound") == 1.0
}

#[track_caller]
fn wait_until_bound(gate: &Gate) {
    wait(|| is_bound(gate), || "bound".to_owned());
}

fn metric(gate: &Gate, name: &str) -> f64 {
    Client::new(gate.address).metric(name)
}

/// Opens a loan and asks for its code.
#[track_caller]
fn ask(gate: &Gate, n: u32, who: Subscriber, sum: &str) -> String {
    let id = gate.open(&format!("loan-{n}"), loan(&iin(n), &who.phone(), sum));
    let answer = gate.bank(&format!("POST /v1/loans/{id}/code"), "", Value::Null);
    assert_eq!(answer.status, 202, "{answer:?}");
    id
}

/// The code in a text.
fn code(text: &Value) -> String {
    let digits = |word: &&str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit());
    let text = text["text"].as_str().unwrap();
    text.split(|c: char| !c.is_ascii_digit()).rfind(digits).expect("a code").to_owned()
}

/// Waits until each text has so many parts, all in this state.
#[track_caller]
fn wait_for_texts(gate: &Gate, expected: &[(u64, &str)]) {
    let line = |(parts, state): &(u64, &str)| vec![*state; *parts as usize].join(", ");
    let expected: Vec<String> = expected.iter().map(line).collect();
    let seen = || gate.site.ok(&["loan", "texts"]);
    let is_so = || {
        let seen = seen();
        seen.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap()).eq(expected.iter())
    };
    wait(is_so, || format!("{expected:?}:\n{}", seen()));
}

#[test]
fn a_code_reaches_the_telephone_whole_and_its_receipts_come_back() {
    for postgres in [None, Some(Postgres::start())] {
        let network = Network::new("secret");
        let gate = network.gate(postgres, "");
        wait_until_bound(&gate);
        let id = ask(&gate, 600, ALIYA, "900000.00");
        let text = network.text(ALIYA);
        let (parts, said) = (text["parts"].as_u64().unwrap(), text["text"].as_str().unwrap());
        assert!(parts > 1 && text["coding"] == 8, "{text}");
        assert!(said.contains("Банк Один") && said.contains("900000.00 KZT"), "{said}");
        assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "cooling");
        wait_for_texts(&gate, &[(parts, "delivered")]);
        assert_eq!(metric(&gate, "qalqan_smpp_receipts_total{state=\"delivered\"}"), parts as f64);
        assert_eq!(metric(&gate, "qalqan_smpp_receipts_unmatched_total"), 0.0);
        // Each text's receipts are its own, though osmo-msc gives every message the same id.
        let id = ask(&gate, 601, ALIYA, "1000.00");
        let text = network.text(ALIYA);
        let again = text["parts"].as_u64().unwrap();
        wait_for_texts(&gate, &[(parts, "delivered"), (again, "delivered")]);
        assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "approved");
        assert_eq!(metric(&gate, "qalqan_smpp_incoming_total"), 0.0);
    }
}

#[test]
fn a_text_in_the_default_alphabet_is_joined_by_the_telephone() {
    let network = Network::new("secret");
    let mut gate = network.gate(None, "");
    let scope = "one-time-password-sms:send-validate";
    let said = gate.site.ok(&["loan", "client", "clients.csv", "shop", "--name", "Shop", "--scopes", scope]);
    let secret = said.lines().find_map(|line| line.strip_prefix("client_secret ")).expect("a secret");
    gate.crash();
    gate.start(0);
    let ask = |operation: &str, body: Value| {
        let what = format!("POST /one-time-password-sms/v1/{operation}");
        gate.ask_as(&gate.token("shop", secret), &what, "", &body.to_string())
    };
    // A character behind an escape takes two septets, so this is two parts.
    let rest = format!("is your code at [Shop], {{été}}: {}", "€^".repeat(60));
    let sent =
        ask("send-code", json!({"phoneNumber": ALIYA.phone(), "message": format!("{{{{code}}}} {rest}")}));
    assert_eq!(sent.status, 200, "{sent:?}");
    let text = network.text(ALIYA);
    assert_eq!((&text["coding"], &text["parts"]), (&json!(0), &json!(2)), "{text}");
    let (code, after) = text["text"].as_str().unwrap().split_once(' ').unwrap();
    assert_eq!(after, rest);
    wait_for_texts(&gate, &[(2, "delivered")]);
    let entered = json!({"authenticationId": sent.json()["authenticationId"], "code": code});
    assert_eq!(ask("validate-code", entered).status, 204);
}

#[test]
fn many_messages_at_once_are_each_answered() {
    let mut network = Network::new("secret");
    let gate = network.gate(None, "window = 100\nper-second = 0\n");
    wait_until_bound(&gate);
    network.crash();
    for n in 0..30 {
        let phone = format!("+7702000{n:04}");
        let id = gate.open(&format!("loan-{n}"), loan(&iin(700 + n), &phone, "1000"));
        assert_eq!(gate.bank(&format!("POST /v1/loans/{id}/code"), "", Value::Null).status, 202);
    }
    network.start();
    wait(|| metric(&gate, "qalqan_loans_sms_sent_total") == 30.0, || gate.site.ok(&["loan", "texts"]));
    assert_eq!(metric(&gate, "qalqan_smpp_parts_total{answer=\"unknown\"}"), 0.0);
}

#[test]
fn a_wrong_password_is_said_and_tried_again_until_it_is_right() {
    let network = Network::new("other");
    let gate = network.gate(None, "");
    let refusal = format!(
        "SMPP {}:{SMPP}: it refuses the bind: ESME_RINVPASWD; it is tried again",
        network.home.address
    );
    gate.node.as_ref().unwrap().wait_for(&refusal);
    wait(|| metric(&gate, "qalqan_smpp_link_failures_total") >= 2.0, || "another try".to_owned());
    let id = ask(&gate, 610, ALIYA, "1000");
    gate.site.write("smpp.toml", "system-id = \"qalqan\"\npassword = \"other\"\n");
    gate.node.as_ref().unwrap().signal("-HUP");
    let text = network.text(ALIYA);
    assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "approved");
    let log = gate.node.as_ref().unwrap().log();
    assert_eq!(log.matches("refuses the bind").count(), 1, "said once: {log}");
}

#[test]
fn a_text_waits_for_a_telephone_that_is_away_or_not_known_yet() {
    let mut network = Network::new("secret");
    let gate = network.gate(None, "");
    wait_until_bound(&gate);
    network.phones.tell(json!({"away": ALIYA.imsi}));
    let id = ask(&gate, 620, ALIYA, "1000");
    assert_eq!(network.phones.next("paged")["answers"], false);
    let states = || gate.site.ok(&["loan", "texts"]);
    wait(|| states().contains("submitted") && !states().contains("submitting"), states);
    network.phones.tell(json!({"back": ALIYA.imsi}));
    let text = network.text(ALIYA);
    let first = text["parts"].as_u64().unwrap();
    wait_for_texts(&gate, &[(first, "delivered")]);
    assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "approved");

    // Refused by the telephone, which is tried again; osmo-msc says nothing of it.
    network.phones.tell(json!({"refuse": true}));
    let id = ask(&gate, 621, ALIYA, "1000");
    network.phones.next("refused");
    let text = network.text(ALIYA);
    let second = text["parts"].as_u64().unwrap();
    wait_for_texts(&gate, &[(first, "delivered"), (second, "delivered")]);
    assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "approved");

    // A number that the network does not know: taken all the same, and delivered once it does.
    let id = ask(&gate, 622, BERIK, "1000");
    wait(|| states().contains("submitted") && !states().contains("submitting"), states);
    network.subscribe(BERIK);
    network.phones.tell(json!({"back": BERIK.imsi}));
    let text = network.text(BERIK);
    let third = text["parts"].as_u64().unwrap();
    wait_for_texts(&gate, &[(first, "delivered"), (second, "delivered"), (third, "delivered")]);
    assert_eq!(gate.enter(&id, "confirm", &code(&text)).json()["state"], "approved");
}

#[test]
fn an_smsc_that_is_killed_while_texts_wait_loses_none_and_sends_none_twice() {
    let mut network = Network::new("secret");
    let gate = network.gate(None, "");
    wait_until_bound(&gate);
    network.phones.tell(json!({"away": ALIYA.imsi}));
    let taken = ask(&gate, 630, ALIYA, "1000");
    assert_eq!(network.phones.next("paged")["answers"], false);
    let states = || gate.site.ok(&["loan", "texts"]);
    wait(|| states().contains("submitted") && !states().contains("submitting"), states);
    network.crash();
    wait(|| !is_bound(&gate), || "the link is down".to_owned());
    let waiting = ask(&gate, 631, ALIYA, "2000");
    network.start();
    wait_until_bound(&gate);
    wait(|| states().lines().count() == 2 && !states().contains("submitting"), states);
    network.phones.tell(json!({"back": ALIYA.imsi}));
    let mut told = network.until(2);
    let texts: Vec<Value> = told.iter().filter(|event| event["event"] == "text").cloned().collect();
    let parts = |text: &Value| text["parts"].as_u64().unwrap();
    wait_for_texts(&gate, &[(parts(&texts[0]), "delivered"), (parts(&texts[1]), "delivered")]);
    for (id, text) in [taken, waiting].iter().zip(&texts) {
        assert_eq!(gate.enter(id, "confirm", &code(text)).json()["state"], "approved", "{text}");
    }
    // What comes next shows that nothing more of those came.
    ask(&gate, 632, ALIYA, "3000");
    told.extend(network.until(1));
    let last = told.last().unwrap();
    assert!(last["text"].as_str().unwrap().contains("3000.00"), "{last}");
    let came = told.iter().filter(|event| event["event"] == "part").count() as u64;
    assert_eq!(came, parts(&texts[0]) + parts(&texts[1]) + parts(last), "each part once");
}
