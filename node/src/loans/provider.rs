//! An outside service of remote identification, in place of the engine on this node. The contract is ours and small: it stands
//! in docs/lending.md.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use face::Command;
use lending::{FaceJudgement, FaceOutcome};
use serde::Deserialize;
use serde_json::json;

use super::face_pool::thousandths;
use super::faces::Picture;
use super::store::new_id;
use crate::config::Provider;
use crate::http::{Kind, Problem};
use crate::store::now_ms;

/// It looks at some thirty pictures.
const PATIENCE: Duration = Duration::from_secs(20);
/// Its answer is a few names and numbers.
const ANSWER: usize = 64 * 1024;

pub struct Service {
    client: reqwest::Client,
    url: String,
    host: String,
    key: hmac::Key,
}

#[derive(Deserialize)]
struct Answer {
    outcome: FaceOutcome,
    #[serde(default)]
    similarity: Option<f32>,
    #[serde(default)]
    alive: Option<f32>,
    #[serde(default)]
    versions: Vec<String>,
}

impl Service {
    pub fn new(provider: &Provider) -> Result<Service, String> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .user_agent("qalqan")
            .build();
        let host = provider.url.split("//").nth(1).and_then(|rest| rest.split(['/', '?']).next());
        Ok(Service {
            client: client.map_err(|error| format!("the provider cannot be asked: {error}"))?,
            url: provider.url.clone(),
            host: host.unwrap_or_default().to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &provider.secret),
        })
    }

    /// What it says; no answer of the contract is none, and uses no try up.
    pub async fn judge(
        &self,
        iin: &str,
        commands: &[Command],
        pictures: &[Picture],
    ) -> Result<FaceJudgement, Problem> {
        let shown: Vec<_> = pictures
            .iter()
            .map(|picture| {
                let jpeg = STANDARD.encode(&picture.jpeg);
                json!({"command": picture.command, "at_ms": picture.at_ms, "jpeg": jpeg})
            })
            .collect();
        let body =
            json!({"version": 1, "session": new_id(), "iin": iin, "commands": commands, "pictures": shown})
                .to_string();
        let at_s = now_ms() / 1000;
        let tag = hmac::sign(&self.key, format!("{at_s}.{body}").as_bytes());
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("qalqan-signature", format!("t={at_s},v1={}", journal::hex(tag.as_ref())))
            .body(body);
        let away =
            || Problem::new(Kind::FacesBusy, "the service that judges faces does not answer: begin anew");
        let mut answer = request.send().await.map_err(|_| away())?;
        if !answer.status().is_success() {
            return Err(away());
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|_| away())? {
            if bytes.len() + piece.len() > ANSWER {
                return Err(away());
            }
            bytes.extend_from_slice(&piece);
        }
        let said: Answer = serde_json::from_slice(&bytes).map_err(|_| away())?;
        let short = |text: String| text.chars().filter(|c| !c.is_control()).take(100).collect();
        Ok(FaceJudgement {
            outcome: said.outcome,
            similarity: said.similarity.map(thousandths),
            alive: said.alive.map(thousandths),
            judged_by: self.host.clone(),
            versions: said.versions.into_iter().take(16).map(short).collect(),
            thresholds: BTreeMap::new(),
            commands: commands.iter().map(|command| command.name().to_owned()).collect(),
            pictures: pictures.len() as u32,
        })
    }
}
