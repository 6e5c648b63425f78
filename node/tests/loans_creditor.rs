//! A creditor's ways to a loan gate: `qalqan loan try` on the command line, and the examples in curl and in Python.

use crate::rig;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use aws_lc_rs::hmac;
use rig::http::Client;
use rig::loans::{Gate, iin, loan};
use rig::{free_port, qalqan, repository, wait};
use serde_json::{Value, json};

/// A program whose output is read while it runs.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    /// Ends when everything said was heard.
    hearing: Option<JoinHandle<()>>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let said = Arc::new(Mutex::new(String::new()));
        let (mut out, sink) = (child.stdout.take().unwrap(), said.clone());
        let hearing = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            let mut held = Vec::new();
            while let Ok(n @ 1..) = out.read(&mut piece) {
                held.extend_from_slice(&piece[..n]);
                *sink.lock().unwrap() = String::from_utf8_lossy(&held).into_owned();
            }
        });
        Running { child, said, hearing: Some(hearing) }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        wait(|| self.said().contains(text), || format!("\"{text}\" in:\n{}", self.said()));
    }

    fn enter(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    #[track_caller]
    fn ends_well(mut self) -> String {
        let is_well = self.child.wait().unwrap().success();
        self.hearing.take().unwrap().join().unwrap();
        assert!(is_well, "{}", self.said());
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn walk(gate: &Gate, arguments: &[&str]) -> Command {
    let mut command = qalqan(gate.site.directory.path());
    command.args(["loan", "try", "--client", "bank", "--url", &format!("http://{}", gate.address)]);
    command.args(arguments).env("QALQAN_CLIENT_SECRET", &gate.bank.1);
    command
}

/// One command, nothing set up, nothing left behind.
#[test]
fn a_newcomer_sees_a_loan_with_one_command() {
    for (language, ends) in [("en", "a creditor may pay out"), ("kk", "кредитор ақша бере алады")]
    {
        let directory = tempfile::tempdir().unwrap();
        let output = qalqan(directory.path())
            .args(["loan", "try", "--self", "--language", language])
            .env("TMPDIR", directory.path())
            .output()
            .unwrap();
        let (said, error) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}{error}");
        assert!(said.trim_end().ends_with(ends), "{said}");
        for gate in ["self-ban", "phone-possession", "suspicious-call", "cooling-off"] {
            assert!(said.contains(gate), "{gate}: {said}");
        }
        assert!(!said.contains('\x1b'), "no colours where no terminal is");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the node is gone");
    }
}

/// Two consents with cooling-off between, over a crash of the node; the code read from the spool.
#[test]
fn it_waits_through_cooling_off() {
    let mut gate = Gate::new(None, "", "");
    let person = iin(2000);
    let walked = Running::start(&mut walk(
        &gate,
        &[
            "--spool",
            "sms",
            "--iin",
            &person,
            "--phone",
            "+77016660001",
            "--sum",
            "900000.00",
            "--kind",
            "unsecured",
        ],
    ));
    walked.wait_for("cooling-off until");
    gate.crash();
    walked.wait_for("the node cannot be reached");
    gate.start(9);
    walked.wait_for("the second consent");
    let said = walked.ends_well();
    assert!(said.contains("ended: approved; answer pass"), "{said}");
    assert!(said.contains("and says: approved, 900000.00 KZT"), "{said}");
    assert!(!said.contains(&person) && !said.contains("+77016660001"), "{said}");
}

/// By hand: a wrong code is said to be wrong, the right one goes on; another day it is taken up by its id.
#[test]
fn a_code_is_entered_by_hand() {
    let gate = Gate::new(None, "", "");
    let phone = "+77016660002";
    let mut walked = Running::start(&mut walk(&gate, &["--phone", phone]));
    walked.wait_for("IIN: ");
    walked.enter(&iin(2020));
    walked.wait_for("sum, KZT: ");
    walked.enter("1000");
    walked.wait_for("card-limit: ");
    walked.enter("unsecured");
    walked.wait_for("the code: ");
    let code = code_of(&gate.text(phone));
    walked.enter(&format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000));
    walked.wait_for("2 tries are left");
    walked.enter(&code);
    let said = walked.ends_well();
    assert!(said.contains("ended: approved"), "{said}");
    let id = said.split("opened: application ").nth(1).unwrap()[..32].to_owned();
    assert_eq!(gate.look(&id)["state"], "approved");
    let again = walk(&gate, &["--id", &id]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stdout).contains("ended: approved"));

    let refused = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let all = ["--iin", "900101300008", "--phone", phone, "--sum", "1", "--kind", "unsecured"];
    assert!(refused(&mut walk(&gate, &all)).contains("does not fit"));
    assert!(refused(walk(&gate, &all).env("QALQAN_CLIENT_SECRET", "guessed")).contains("invalid_client"));
    assert!(refused(walk(&gate, &all).env_remove("QALQAN_CLIENT_SECRET")).contains("QALQAN_CLIENT_SECRET"));
}

fn code_of(text: &str) -> String {
    let is_code = |part: &&str| part.len() == 6;
    text.split(|c: char| !c.is_ascii_digit()).rfind(is_code).expect("a code").to_owned()
}

fn example(gate: &Gate, name: &str, arguments: &[&str]) -> Command {
    let path = repository().join("examples/creditor").join(name);
    let mut command = match name.ends_with(".py") {
        true => {
            let mut python = Command::new(python());
            python.arg(path);
            python
        }
        false => Command::new(path),
    };
    command.args(arguments).current_dir(gate.site.directory.path()).stdin(Stdio::null());
    command.env("QALQAN_URL", format!("http://{}", gate.address)).env("QALQAN_CLIENT", "bank");
    command.env("QALQAN_CLIENT_SECRET", &gate.bank.1).env("XDG_RUNTIME_DIR", gate.site.directory.path());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn python() -> PathBuf {
    repository().join("target/tools/bin/python")
}

#[track_caller]
fn said(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_examples_are_creditors() {
    let mut gate = Gate::new(None, "", "");
    for (n, name) in ["creditor.sh", "creditor.py"].into_iter().enumerate() {
        let (person, phone) = (iin(2100 + 40 * n as u32), format!("+7701666001{n}"));
        let run = |gate: &Gate, arguments: &[&str]| said(example(gate, name, arguments).output().unwrap());
        let open = ["open", &person, &phone, "1000.00", &format!("key-of-{name}")];
        let id = run(&gate, &open);
        assert_eq!(run(&gate, &open), id, "{name}: the same key is the same application");
        assert_eq!(run(&gate, &["code", &id]), "confirming");
        let code = code_of(&gate.text(&phone));
        let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
        let refused = example(&gate, name, &["confirm", &id, &wrong]).output().unwrap();
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("tries are left"), "{refused:?}");
        assert_eq!(run(&gate, &["confirm", &id, &code]), "approved");
        let looked = run(&gate, &["look", &id]);
        assert!(
            looked.starts_with("pass approved\n") && looked.contains("phone-possession: pass"),
            "{looked}"
        );
        let document: Value = serde_json::from_str(&run(&gate, &["document", &id])).unwrap();
        assert_eq!((&document["id"], &document["iin"]), (&json!(id), &json!(person)));
        assert_eq!(document["answer"], "pass");

        // The node is away when it is asked, and comes back.
        gate.crash();
        let opening = Running::start(&mut example(&gate, name, &["open", &person, &phone, "2000.00"]));
        gate.start(0);
        let later = opening.ends_well().trim().to_owned();
        assert_eq!(gate.look(&later)["sum"], "2000.00", "{name}: sent again until it was answered");
    }
}

/// Real webhooks are taken; forged, stale and repeated ones change nothing.
#[test]
fn the_example_refuses_webhooks_played_back() {
    let port = free_port();
    let gate = Gate::new(None, &format!("http://127.0.0.1:{port}/hook"), "");
    let mut listen = example(&gate, "creditor.py", &["listen", &port.to_string(), "webhooks.db"]);
    let taking = Running::start(listen.env("QALQAN_WEBHOOK_SECRET", &gate.webhook_secret));
    taking.wait_for("listening");
    let phone = "+77016660020";
    let id = gate.open("hooked", loan(&iin(2200), phone, "1000"));
    taking.wait_for(&format!("{id} wait confirming"));
    let code = gate.code(&id, phone);
    assert_eq!(gate.enter(&id, "confirm", &code).json()["state"], "approved");
    taking.wait_for(&format!("{id} pass approved"));

    let before = taking.said();
    let key = hmac::Key::new(hmac::HMAC_SHA256, gate.webhook_secret.as_bytes());
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let post = |name: &str, at_s: i64, body: &str, key: &hmac::Key| {
        let tag = hmac::sign(key, format!("{at_s}.{body}").as_bytes());
        let head = format!(
            "POST /hook HTTP/1.1\r\nContent-Type: application/json\r\nQalqan-Webhook-Id: {name}\r\n\
             Qalqan-Signature: t={at_s},v1={}",
            journal::hex(tag.as_ref())
        );
        Client::new(format!("127.0.0.1:{port}").parse().unwrap()).ask(&head, body).status
    };
    let body = |version: u32| {
        json!({"type": "loan_changed", "loan": "other", "answer": "pass", "state": "approved", "version": version})
            .to_string()
    };
    let forged = hmac::Key::new(hmac::HMAC_SHA256, b"another secret");
    assert_eq!(post("a", now_s, &body(7), &forged), 401);
    assert_eq!(post("a", now_s - 400, &body(7), &key), 401);
    assert_eq!(taking.said(), before);
    assert_eq!(post("a", now_s, &body(7), &key), 200);
    taking.wait_for("other pass approved 7");
    let before = taking.said();
    assert_eq!(post("a", now_s, &body(7), &key), 208, "played back");
    // Late, and therefore old news.
    assert_eq!(post("b", now_s, &body(6), &key), 200);
    assert_eq!(taking.said(), before);
    let lines: Vec<String> = BufReader::new(before.as_bytes()).lines().map(Result::unwrap).collect();
    assert!(lines.iter().filter(|line| line.starts_with("other")).count() == 1, "{lines:?}");
}
