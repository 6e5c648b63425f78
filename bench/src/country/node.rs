//! The operators' Qalqan nodes: certificates, configuration, processes, what they counted.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

use super::Fault;
use super::geography::{self, MEMBERS, Operator, Seat, Trunk, cloud_numbers, roaming_pool};
use super::hlr::Hlr;
use super::process::Process;
use super::store::Store;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Seconds for which a call can be asked about: the least that the protocol allows. A node that has run for less has
/// forgotten nothing that it could be asked about, and until then denies no call.
pub const TTL_S: u64 = 30;

/// How long questions may take, ms: the most that the protocol allows, for a day measures no speed, and the machine may be
/// busy with something else.
const QUESTION_MS: u32 = 1000;

/// Keys and certificates of all members, as they were handed out.
pub struct Credentials(BTreeMap<Operator, (String, String)>);

impl Credentials {
    /// One signs with Ed25519, the others with P-256.
    pub fn make(fault: Option<Fault>) -> Result<Credentials> {
        let mut made = BTreeMap::new();
        for member in MEMBERS {
            let key = match member {
                Operator::Alpha => KeyPair::generate_for(&PKCS_ED25519)?,
                _ => KeyPair::generate()?,
            };
            let hosts = MEMBERS.map(|asker| member.seen_by(asker).ip().to_string());
            let mut params = CertificateParams::new(hosts)?;
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            let is_expired = fault == Some(Fault::Expired) && member == Fault::MEMBER;
            params.not_after = rcgen::date_time_ymd(if is_expired { 2021 } else { 2090 }, 1, 1);
            let certificate = params.self_signed(&key)?.pem();
            made.insert(member, (certificate, key.serialize_pem()));
        }
        Ok(Credentials(made))
    }
}

/// Writes what a member's node reads, in its own directory.
pub fn configure(
    seat: Seat,
    directory: &Path,
    credentials: &Credentials,
    hlr: &Hlr,
    fault: Option<Fault>,
) -> Result<()> {
    let operator = seat.operator;
    let write = |name: &str, text: &str| fs::write(directory.join(name), text);
    let (certificate, key) = &credentials.0[&operator];
    write("own.pem", certificate)?;
    write("own.key", key)?;
    fs::set_permissions(directory.join("own.key"), PermissionsExt::from_mode(0o600))?;

    let list = |lines: &mut dyn Iterator<Item = String>| {
        lines.fold("number,owner,expires,note\n".to_owned(), |text, line| text + &line + "\n")
    };
    let mut ported = geography::ported().map(|one| format!("{},{},,", one.number, one.to.name()));
    write("portability.csv", &list(&mut ported))?;
    let mut pools = MEMBERS.iter().map(|&member| format!("{}*,{},,", roaming_pool(member), member.name()));
    write("roaming-numbers.csv", &list(&mut pools))?;
    write("cloud.csv", &list(&mut cloud_numbers().map(|number| format!("{number},a company,,"))))?;

    let capabilities = "capabilities = [\"roaming-check\", \"initiation-check\"]";
    let mut text = format!(
        "plan = \"kz\"\n[sip]\nlisten = [\"udp:{}\"]\nworkers = 1\n[http]\nlisten = [\"{}\"]\n\
         [lists]\nroaming-numbers = \"roaming-numbers.csv\"\nportability = \"portability.csv\"\n\
         [exchange]\nname = \"{}\"\nlisten = [\"{}\"]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n\
         ranges = {:?}\n{capabilities}\nttl-s = {TTL_S}\nquestion-ms = {QUESTION_MS}\ndeadline-ms = {QUESTION_MS}\n",
        seat.sip(),
        seat.http(),
        operator.name(),
        seat.exchange(),
        operator.ranges(),
    );
    if fault == Some(Fault::StoreFailsOver) && operator == Fault::MEMBER {
        text += &Store::configuration();
    }
    text += &hlr.configuration();
    for member in MEMBERS.into_iter().filter(|&member| member != operator) {
        let name = member.name();
        write(&format!("{name}.pem"), &credentials.0[&member].0)?;
        let mut ranges = member.ranges().to_vec();
        if fault == Some(Fault::WrongRanges) && operator == Operator::Alpha {
            // It takes the member's numbers for those of another.
            match member {
                Fault::MEMBER => ranges.clear(),
                _ => ranges.extend(Fault::MEMBER.ranges()),
            }
        }
        write!(
            text,
            "[member.{name}]\nurl = \"https://{}\"\ncertificate = \"{name}.pem\"\nranges = {ranges:?}\n{capabilities}\n",
            member.seen_by(operator)
        )?;
    }
    for trunk in operator.trunks() {
        let class = match trunk {
            Trunk::Access => "access",
            Trunk::International => "international",
            Trunk::Dedicated => "international-dedicated",
            Trunk::From(_) => "national",
        };
        let (name, source) = (trunk.name(), operator.entry(trunk).ip().to_string());
        write!(text, "[trunk.{name}]\nclass = \"{class}\"\nsource = [\"{source}\"]\n")?;
        match trunk {
            Trunk::Dedicated => text += "numbers = \"cloud.csv\"\n",
            Trunk::From(other) if MEMBERS.contains(&other) => {
                writeln!(text, "member = \"{}\"", other.name())?;
            }
            _ => {}
        }
    }
    Ok(write("qalqan.toml", &text)?)
}

/// Starts a member's node and waits until it is ready.
pub fn start(seat: Seat, program: &Path, directory: &Path, fault: Option<Fault>) -> Result<Process> {
    let operator = seat.operator;
    let mut command = Command::new(program);
    command.current_dir(directory).arg("serve").args(["--config", "qalqan.toml"]);
    if fault == Some(Fault::Clock) && operator == Fault::MEMBER {
        command
            .env("LD_PRELOAD", faketime()?)
            .env("FAKETIME", "+40s")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    let name = format!("{}'s node", operator.name());
    let mut process = Process::start(name, &mut command, &directory.join("node.log"))?;
    process.wait(|| get(seat.http(), "/readyz").is_some_and(|(status, _)| status == 200))?;
    Ok(process)
}

fn faketime() -> Result<PathBuf> {
    let library = |machine: &str| PathBuf::from(format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1"));
    let found = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(library).into_iter().find(|path| path.exists());
    found.ok_or_else(|| "the package faketime is missing".into())
}

/// What came of a node's questions: (member, kind, outcome) and how many.
pub type Questions = BTreeMap<(String, String, String), u64>;

/// As the node counted them; none where nobody answers.
pub fn questions(operator: Operator) -> Option<Questions> {
    let (_, page) = get(Seat::of(operator).http(), "/metrics")?;
    let mut questions = Questions::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("qalqan_exchange_questions_total{") else { continue };
        let (labels, count) = rest.rsplit_once("} ")?;
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        questions
            .insert((label("member")?, label("kind")?, label("outcome")?), count.parse::<f64>().ok()? as u64);
    }
    Some(questions)
}

/// How many verdicts a node's journal has of each rule.
pub fn journal(program: &Path, directory: &Path) -> Result<BTreeMap<String, usize>> {
    let query = ["journal", "query", "--config", "qalqan.toml", "--format", "jsonl", "--limit", "10000000"];
    let output = Command::new(program).current_dir(directory).args(query).output()?;
    let mut rules = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let (_, rest) = line.split_once("\"rule\":\"").ok_or("a line of the journal without a rule")?;
        let rule = rest.split('"').next().unwrap_or("");
        *rules.entry(rule.to_owned()).or_default() += 1;
    }
    Ok(rules)
}

fn get(address: SocketAddrV4, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
