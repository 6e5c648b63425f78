//! Texts sent a second over one SMPP bind: codes that wait in the store when the SMSC comes are sent, and their receipts kept;
//! beside a client that keeps nothing.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::peers::{Node, Postgres, Smsc, free_port};
use super::{Place, Play, cpu_s, load};
use crate::servers::family;

/// Messages submitted and not answered yet, at most.
pub const WINDOW: usize = 50;
/// Who queues the texts.
const CONNECTIONS: usize = 16;

/// One line of the table.
pub struct Sent {
    who: &'static str,
    store: &'static str,
    messages: f64,
    per_s: f64,
    /// CPU time for a message, µs: of who sends, of PostgreSQL, of the SMSC.
    cpu_us: [f64; 3],
}

pub fn run(play: &Play) -> io::Result<Vec<Sent>> {
    let place = Place::new()?;
    let mut lines = Vec::new();
    let directory = |name: &str| {
        let directory = place.0.join(name);
        fs::create_dir(&directory).map(|()| directory)
    };
    lines.push(sent(play, &directory("texts-on-sqlite")?, None)?);
    let postgres = Postgres::start(&place.0.join("postgres"))?;
    lines.push(sent(play, &directory("texts-on-postgres")?, Some(&postgres))?);
    drop(postgres);
    let smsc = Smsc::start(play.root, free_port()?)?;
    let (messages, began) = (lines[0].messages, cpu_of(smsc.pid()));
    let (per_s, cpu_s) = smsc.plain(play.root, messages as usize)?;
    let cpu_us = [cpu_s * 1e6 / messages, f64::NAN, (cpu_of(smsc.pid()) - began) * 1e6 / messages];
    lines.push(Sent { who: "python-smpplib", store: "none", messages, per_s, cpu_us });
    Ok(lines)
}

fn cpu_of(pid: u32) -> f64 {
    family(pid).into_iter().map(cpu_s).sum()
}

fn sent(play: &Play, directory: &Path, postgres: Option<&Postgres>) -> io::Result<Sent> {
    let port = free_port()?;
    let secret = directory.join("smpp.toml");
    fs::write(&secret, "system-id = \"qalqan\"\npassword = \"secret\"\n")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    let table = format!(
        "[loans.smpp]\naddress = \"127.0.0.1:{port}\"\ncredentials = \"smpp.toml\"\nsource = \"Qalqan\"\n\
         window = {WINDOW}\nper-second = 0\n"
    );
    let url = postgres.map(Postgres::url);
    let node = Node::start(play.program, directory, url.as_deref().unwrap_or("loans.db"), &table)?;
    queue(&node.load(CONNECTIONS)?, play.texts)?;
    let smsc = Smsc::start(play.root, port)?;
    let mut connection = load::Connection::new(node.address())?;
    let mut counted = || -> io::Result<[f64; 3]> {
        let (_, page) = connection.get("/metrics")?;
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        Ok([
            value("qalqan_smpp_parts_total{answer=\"submitted\"}"),
            value("qalqan_smpp_receipts_total{state=\"delivered\"}"),
            value("qalqan_loans_sms_sent_total"),
        ])
    };
    let cpus =
        || [cpu_of(node.pid()), postgres.map_or(f64::NAN, |one| cpu_of(one.pid())), cpu_of(smsc.pid())];
    let end = Instant::now() + Duration::from_secs(120);
    let mut first = None;
    loop {
        let [submitted, delivered, whole] = counted()?;
        let (began, before, cpu_before) = *first.get_or_insert_with(|| (Instant::now(), submitted, cpus()));
        if before == 0.0 && submitted == 0.0 {
            // It has not connected yet.
            first = None;
        } else if whole >= play.texts as f64 && delivered >= submitted {
            let messages = submitted - before;
            let cpu_us = std::array::from_fn(|n| (cpus()[n] - cpu_before[n]) * 1e6 / messages);
            let per_s = messages / began.elapsed().as_secs_f64();
            let store = if postgres.is_some() { "PostgreSQL" } else { "SQLite" };
            return Ok(Sent { who: "Qalqan", store, messages: submitted, per_s, cpu_us });
        }
        if Instant::now() > end {
            return Err(io::Error::other(format!(
                "of {} texts {whole} were sent in time, in {submitted} messages, {delivered} of them with a receipt",
                play.texts
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Opens applications and asks for their codes, which wait for the SMSC.
fn queue(load: &load::Load, texts: usize) -> io::Result<()> {
    let asked = |of: usize| -> io::Result<()> {
        let mut connection = load::Connection::new(load.address)?;
        for n in (of..texts).step_by(load.connections) {
            let (status, body) = connection.open(&load.token, 5_000_000 + n as u32)?;
            let id = body.split('"').skip_while(|part| *part != "id").nth(2).unwrap_or_default();
            let path = format!("/v1/loans/{id}/code");
            let head = format!("Authorization: Bearer {}\r\n", load.token);
            match (status, connection.post(&path, "application/json", &head, "")?) {
                (201, (202, _)) => {}
                (_, (status, answer)) => {
                    return Err(io::Error::other(format!("a code: {status}: {answer} after {body}")));
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..load.connections).map(|of| scope.spawn(move || asked(of))).collect();
        asking.into_iter().try_for_each(|one| one.join().expect("no panic"))
    })
}

/// The lines as a table, each beside the last.
pub fn table(lines: &[Sent]) -> String {
    let plain = lines.last().map_or(f64::NAN, |line| line.per_s);
    let mut text = String::from(
        "| who sends | store | messages | messages/s | of the last | CPU each, µs: who sends | PostgreSQL | the SMSC |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let shown = |value: f64| if value.is_nan() { "–".to_owned() } else { format!("{value:.0}") };
    for Sent { who, store, messages, per_s, cpu_us } in lines {
        let [own, postgres, smsc] = cpu_us.map(shown);
        let share = per_s / plain;
        text += &format!(
            "| {who} | {store} | {messages:.0} | {per_s:.0} | {share:.2} | {own} | {postgres} | {smsc} |\n"
        );
    }
    text
}
