//! Sends what was queued: texts into the spool of an SMS program, webhooks to creditors.
//!
//! A text becomes a file as SMS Server Tools 3 (smsd) takes them, put in place whole; its name is the text's id, so that
//! sending it again before smsd took it changes nothing. A webhook is tried until it is answered with 2xx, at growing
//! intervals. Each is taken for a minute, so two nodes on one store do not send the same.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::Value;

use super::counts::count;
use super::office::Office;
use super::store::Outgoing;
use crate::config::Loans as Settings;
use crate::store::now_ms;

pub(super) const LEASE_MS: i64 = 60_000;
const PAUSE: Duration = Duration::from_millis(200);
/// A creditor that has not answered by then is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE_MS: i64 = 3_600_000;
/// Webhooks under way at a time: one that hangs holds no other up for long.
const AT_ONCE: usize = 32;

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
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let setup = office.setup.load_full();
        let Some(settings) = &setup.loans else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Without a spool `smpp` sends texts.
        let except = if settings.sms_spool.is_some() { "" } else { "sms" };
        let taken = match office.store.take(&settings.vault, now_ms(), LEASE_MS, except).await {
            Ok(taken) => taken,
            Err(fault) => {
                (office.log)(&format!("loans: {fault}"));
                Vec::new()
            }
        };
        let is_idle = taken.is_empty();
        for outgoing in taken {
            if now_ms() >= outgoing.until_ms {
                // A code that counts no longer helps nobody.
                let _ = office.store.sent(&outgoing.id).await;
            } else if outgoing.kind == "sms" {
                let Some(spool) = &settings.sms_spool else { continue };
                let laid = lay(spool, &outgoing);
                ended(&office, &outgoing, laid.map_err(|error| error.to_string())).await;
            } else {
                let place = places.clone().acquire_owned().await;
                let (office, client, setup) = (office.clone(), client.clone(), setup.clone());
                tokio::task::spawn_local(async move {
                    let settings = setup.loans.as_ref().expect("looked at above");
                    let posted = post(settings, &client, &outgoing).await;
                    ended(&office, &outgoing, posted).await;
                    drop(place);
                });
            }
        }
        if is_idle {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn ended(office: &Office, outgoing: &Outgoing, outcome: Result<(), String>) {
    let stored = match outcome {
        Ok(()) => {
            let is_text = outgoing.kind == "sms";
            count(if is_text { &office.counts.sms_sent } else { &office.counts.webhooks_sent });
            office.store.sent(&outgoing.id).await
        }
        Err(what) => {
            count(&office.counts.sends_failed);
            if outgoing.tries == 1 {
                (office.log)(&format!(
                    "loans: {} of {}: {what}; it is tried again",
                    outgoing.kind, outgoing.client
                ));
            }
            let pause_ms = (1000 << outgoing.tries.clamp(0, 12)).min(LONGEST_PAUSE_MS);
            office.store.send_later(&outgoing.id, now_ms() + pause_ms).await
        }
    };
    if let Err(fault) = stored {
        (office.log)(&format!("loans: {fault}"));
    }
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
