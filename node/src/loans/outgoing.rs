//! Sends what was queued: texts into the spool of an SMS program, webhooks to creditors.
//!
//! A text becomes a file as SMS Server Tools 3 (smsd) takes them, put in place whole; its name is the text's id, so that
//! sending it again before smsd took it changes nothing. A webhook is tried until it is answered with 2xx, at growing
//! intervals.
//!
//! What is due is taken many at a time, by one statement and for a minute, so two nodes on one store do not send the same; what
//! became of many is kept by one change. Of each creditor so many webhooks are under way and no more are taken, so one that
//! is slow holds up no other.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use aws_lc_rs::hmac;
use lending::Vault;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::mpsc;

use super::counts::count;
use super::office::Office;
use super::store::{Fault, Outgoing, Store};
use crate::config::Loans as Settings;
use crate::store::now_ms;

pub(super) const LEASE_MS: i64 = 60_000;
const PAUSE: Duration = Duration::from_millis(200);
/// A creditor that has not answered by then is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE_MS: i64 = 3_600_000;
/// Who has so many webhooks under way is sent no more for now; at most as many again are taken at once.
const EACH: usize = 32;
/// Webhooks under way to all.
const MOST: usize = 512;
/// What is taken at once, and what is looked at for it.
const BATCH: (i64, i64) = (256, 4096);
/// What ends within so long is kept by one change.
const GATHER: Duration = Duration::from_millis(5);

/// What became of something; none: its time was over before it was sent.
type Ended = (Outgoing, Option<Result<(), String>>);

pub async fn run(office: Rc<Office>) {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .user_agent("qalqan")
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return (office.log)(&format!("loans: webhooks cannot be sent: {error}")),
    };
    let (tell, mut told) = mpsc::unbounded_channel::<Ended>();
    let mut under_way = HashMap::<String, usize>::new();
    let mut ended = Vec::new();
    loop {
        let setup = office.setup.load_full();
        let Some(settings) = &setup.loans else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while let Ok(one) = told.try_recv() {
            ended.push(one);
        }
        for (outgoing, _) in &ended {
            if let Some(n) = under_way.get_mut(&outgoing.client) {
                *n -= 1;
            }
        }
        under_way.retain(|_, n| *n > 0);
        keep(&office, settings, std::mem::take(&mut ended)).await;
        let taken = match under_way.values().sum::<usize>() < MOST {
            true => take(&office, settings, &under_way).await,
            false => Vec::new(),
        };
        let is_idle = taken.is_empty();
        let mut at_once = Vec::new();
        for outgoing in taken {
            if now_ms() >= outgoing.until_ms {
                // A code that counts no longer helps nobody.
                at_once.push((outgoing, None));
            } else if outgoing.kind == "sms" {
                let Some(spool) = &settings.sms_spool else { continue };
                let laid = lay(spool, &outgoing).map_err(|error| error.to_string());
                at_once.push((outgoing, Some(laid)));
            } else {
                *under_way.entry(outgoing.client.clone()).or_default() += 1;
                let (client, setup, tell) = (client.clone(), setup.clone(), tell.clone());
                tokio::task::spawn_local(async move {
                    let settings = setup.loans.as_ref().expect("looked at above");
                    let posted = post(settings, &client, &outgoing).await;
                    let _ = tell.send((outgoing, Some(posted)));
                });
            }
        }
        keep(&office, settings, at_once).await;
        if is_idle && let Ok(Some(one)) = tokio::time::timeout(PAUSE, told.recv()).await {
            ended.push(one);
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// What is due and has a place.
async fn take(office: &Office, settings: &Settings, under_way: &HashMap<String, usize>) -> Vec<Outgoing> {
    // Without a spool `smpp` sends texts.
    let except = if settings.sms_spool.is_some() { "" } else { "sms" };
    let full = under_way.iter().filter(|(_, n)| **n >= EACH).map(|(client, _)| client.as_str());
    let taken = office.store.take(&settings.vault, now_ms(), except, &full.collect::<Vec<_>>()).await;
    taken.unwrap_or_else(|fault| {
        (office.log)(&format!("loans: {fault}"));
        Vec::new()
    })
}

/// Counts, and keeps what became of them.
async fn keep(office: &Office, settings: &Settings, ended: Vec<Ended>) {
    let (mut gone, mut later) = (Vec::new(), Vec::new());
    for (outgoing, outcome) in ended {
        match outcome {
            None => gone.push(outgoing.id),
            Some(Ok(())) => {
                let is_text = outgoing.kind == "sms";
                count(if is_text { &office.counts.sms_sent } else { &office.counts.webhooks_sent });
                gone.push(outgoing.id);
            }
            Some(Err(what)) => {
                count(&office.counts.sends_failed);
                if outgoing.tries == 1 {
                    (office.log)(&format!(
                        "loans: {} of {}: {what}; it is tried again",
                        outgoing.kind, outgoing.client
                    ));
                }
                let pause_ms = (1000 << outgoing.tries.clamp(0, 12)).min(LONGEST_PAUSE_MS);
                later.push((outgoing.id, now_ms() + pause_ms));
            }
        }
    }
    if let Err(fault) = office.store.ended(&settings.vault, &gone, &later).await {
        (office.log)(&format!("loans: {fault}"));
    }
}

impl Store {
    /// Takes what is to be sent now, but of kind `except`, and no webhooks of clients that are `full`: nobody else takes it
    /// meanwhile. The oldest first, of each client no more than a few.
    async fn take(
        &self,
        vault: &Vault,
        now_ms: i64,
        except: &str,
        full: &[&str],
    ) -> Result<Vec<Outgoing>, Fault> {
        // What another node is taking is passed over; SQLite has one writer.
        let locked = if self.is_postgres() { "FOR UPDATE SKIP LOCKED" } else { "" };
        let others = match full.len() {
            0 => String::new(),
            n => format!("AND (kind = 'sms' OR client NOT IN ({}))", places(7, n)),
        };
        let sql = format!(
            "UPDATE outgoing SET next_ms = $1, tries = tries + 1 WHERE id IN (\
             SELECT id FROM outgoing WHERE next_ms <= $2 AND id IN (SELECT id FROM (\
             SELECT id, ROW_NUMBER() OVER (PARTITION BY kind, client ORDER BY next_ms) AS place FROM (\
             SELECT id, kind, client, next_ms FROM outgoing WHERE next_ms <= $2 AND kind <> $3 {others} \
             ORDER BY next_ms LIMIT $4) AS due) AS placed WHERE place <= $5 ORDER BY place LIMIT $6) {locked}) \
             RETURNING id, kind, client, sealed, until_ms, tries, made_ms"
        );
        let (most, looked_at) = BATCH;
        let mut update = sqlx::query(AssertSqlSafe(sql)).bind(now_ms + LEASE_MS).bind(now_ms).bind(except);
        update = update.bind(looked_at).bind(EACH as i64).bind(most);
        for client in full {
            update = update.bind(*client);
        }
        let mut unit = self.begin(vault).await?;
        let rows = update.fetch_all(&mut *unit.tx).await?;
        unit.commit().await?;
        let mut taken = Vec::new();
        for row in rows {
            let id: String = row.try_get(0)?;
            let body = vault.open(&id, &row.try_get::<String, _>(3)?).unwrap_or_default();
            let outgoing = Outgoing {
                id,
                kind: row.try_get(1)?,
                client: row.try_get(2)?,
                body,
                until_ms: row.try_get(4)?,
                tries: row.try_get(5)?,
            };
            taken.push((row.try_get::<i64, _>(6)?, outgoing));
        }
        taken.sort_by_key(|(made_ms, _)| *made_ms);
        Ok(taken.into_iter().map(|(_, outgoing)| outgoing).collect())
    }

    /// Forgets what was sent or never will be, and has the rest tried again at their times.
    async fn ended(&self, vault: &Vault, gone: &[String], later: &[(String, i64)]) -> Result<(), Fault> {
        if gone.is_empty() && later.is_empty() {
            return Ok(());
        }
        let mut unit = self.begin(vault).await?;
        if !gone.is_empty() {
            let sql = format!("DELETE FROM outgoing WHERE id IN ({})", places(1, gone.len()));
            let delete = gone.iter().fold(sqlx::query(AssertSqlSafe(sql)), |delete, id| delete.bind(id));
            delete.execute(&mut *unit.tx).await?;
        }
        for (id, next_ms) in later {
            let update =
                sqlx::query("UPDATE outgoing SET next_ms = $1 WHERE id = $2").bind(*next_ms).bind(id);
            update.execute(&mut *unit.tx).await?;
        }
        unit.commit().await
    }
}

/// So many places for values in a statement, from the `first` on.
fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// Lays a text into the spool.
fn lay(spool: &Path, outgoing: &Outgoing) -> io::Result<()> {
    let body: Value = serde_json::from_str(&outgoing.body)?;
    let (to, text) = (body["to"].as_str().unwrap_or(""), body["text"].as_str().unwrap_or(""));
    if to.is_empty() {
        return Err(io::Error::other("a text to nobody"));
    }
    // A name with a dot in front is none of smsd's until it is whole.
    let hidden = spool.join(format!(".{}", outgoing.id));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o640).open(&hidden)?;
    write!(file, "To: {}\nAlphabet: UTF-8\n\n{text}", to.trim_start_matches('+'))?;
    file.sync_all()?;
    std::fs::rename(hidden, spool.join(&outgoing.id))
}

/// Posts a webhook, signed: `Qalqan-Signature: t=SECONDS,v1=HEX`, HMAC-SHA-256 over `SECONDS.BODY`.
async fn post(settings: &Settings, client: &reqwest::Client, outgoing: &Outgoing) -> Result<(), String> {
    let found = settings.clients.find(&outgoing.client).and_then(|client| client.webhook.as_ref());
    // A creditor that has no webhook any more wants none.
    let Some((url, secret)) = found else { return Ok(()) };
    let at_s = now_ms() / 1000;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{at_s}.{}", outgoing.body).as_bytes());
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header("qalqan-webhook-id", &outgoing.id)
        .header("qalqan-signature", format!("t={at_s},v1={}", journal::hex(tag.as_ref())))
        .body(outgoing.body.clone());
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("answered with {}", answer.status().as_u16())),
        // Not the whole error: it holds the URL, which may hold a secret.
        Err(error) if error.is_timeout() => Err("no answer in time".to_owned()),
        Err(_) => Err("cannot be reached".to_owned()),
    }
}
