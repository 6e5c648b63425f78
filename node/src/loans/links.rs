//! Links of one use that lead a citizen to his page, and the sessions they open. Both are 256 random bits, kept as their
//! SHA-256 alone.
//!
//! A link is made for an application and voids the one before; the first who shows its token gets a session. Fetching the
//! page uses nothing up, so a program that previews links does no harm.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use journal::{hex, sha256};
use serde_json::{Value, json};
use sqlx::Row;

use super::Client;
use super::office::{Case, Done, Office, Round, problem};
use super::store::{Fault, Unit, random};
use super::view;
use crate::http::Kind;

pub(super) const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS link (token TEXT PRIMARY KEY, application TEXT NOT NULL, until_ms BIGINT NOT NULL, \
     used_ms BIGINT)",
    "CREATE INDEX IF NOT EXISTS link_application ON link (application)",
    "CREATE TABLE IF NOT EXISTS session (token TEXT PRIMARY KEY, application TEXT NOT NULL, until_ms BIGINT NOT NULL, \
     ban_code TEXT, ban_code_ms BIGINT NOT NULL, ban_code_tries BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS session_application ON session (application)",
];

/// A citizen's session.
pub(super) struct Session {
    /// Its SHA-256.
    pub token: String,
    pub application: String,
    pub until_ms: i64,
    /// The code by which a ban is lifted: its keyed hash, when it was sent, wrong tries.
    pub ban_code: Option<(String, i64, i64)>,
}

/// What opening a link came to.
pub(super) enum Opened {
    Session {
        token: String,
        application: String,
        until_ms: i64,
    },
    /// Used before, or another link was made since.
    Used,
    /// Unknown, or its time is over.
    Over,
}

/// What is kept of a token.
pub fn hash_of(token: &str) -> String {
    hex(&sha256(token.as_bytes()))
}

fn new_token() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

impl Unit<'_> {
    async fn make_link(&mut self, application: &str, now_ms: i64, until_ms: i64) -> Result<String, Fault> {
        let token = new_token();
        sqlx::query("UPDATE link SET used_ms = $1 WHERE application = $2 AND used_ms IS NULL")
            .bind(now_ms)
            .bind(application)
            .execute(&mut *self.tx)
            .await?;
        sqlx::query("INSERT INTO link (token, application, until_ms) VALUES ($1, $2, $3)")
            .bind(hash_of(&token))
            .bind(application)
            .bind(until_ms)
            .execute(&mut *self.tx)
            .await?;
        Ok(token)
    }

    /// Uses a link up; of two at once one gets the session.
    pub(super) async fn open_link(
        &mut self,
        token: &str,
        now_ms: i64,
        session_ms: i64,
    ) -> Result<Opened, Fault> {
        let hash = hash_of(token);
        let select = sqlx::query("SELECT application, until_ms FROM link WHERE token = $1").bind(&hash);
        let Some(row) = select.fetch_optional(&mut *self.tx).await? else { return Ok(Opened::Over) };
        let (application, link_until_ms): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        if now_ms >= link_until_ms {
            return Ok(Opened::Over);
        }
        let update = "UPDATE link SET used_ms = $1 WHERE token = $2 AND used_ms IS NULL";
        let used = sqlx::query(update).bind(now_ms).bind(&hash).execute(&mut *self.tx).await?;
        if used.rows_affected() == 0 {
            return Ok(Opened::Used);
        }
        let (token, until_ms) = (new_token(), now_ms + session_ms);
        // Who opens a new link goes on there: the session before ends.
        sqlx::query("DELETE FROM session WHERE application = $1")
            .bind(&application)
            .execute(&mut *self.tx)
            .await?;
        let insert = "INSERT INTO session (token, application, until_ms, ban_code_ms, ban_code_tries) \
                      VALUES ($1, $2, $3, 0, 0)";
        sqlx::query(insert)
            .bind(hash_of(&token))
            .bind(&application)
            .bind(until_ms)
            .execute(&mut *self.tx)
            .await?;
        Ok(Opened::Session { token, application, until_ms })
    }

    /// The session of a token, while it counts.
    pub(super) async fn session(&mut self, token: &str, now_ms: i64) -> Result<Option<Session>, Fault> {
        let select = "SELECT application, until_ms, ban_code, ban_code_ms, ban_code_tries FROM session WHERE token = $1";
        let row = sqlx::query(select).bind(hash_of(token)).fetch_optional(&mut *self.tx).await?;
        let Some(row) = row else { return Ok(None) };
        let (code, sent_ms, tries) = (row.try_get::<Option<String>, _>(2)?, row.try_get(3)?, row.try_get(4)?);
        let session = Session {
            token: hash_of(token),
            application: row.try_get(0)?,
            until_ms: row.try_get(1)?,
            ban_code: code.map(|code| (code, sent_ms, tries)),
        };
        Ok(Some(session).filter(|session| now_ms < session.until_ms))
    }

    /// Keeps the code by which a ban is lifted, or that it was tried, or (none) that it counts no longer.
    pub(super) async fn keep_ban_code(
        &mut self,
        session: &Session,
        code: Option<(&str, i64, i64)>,
    ) -> Result<(), Fault> {
        let (code, sent_ms, tries) = code.map_or((None, 0, 0), |(code, at, tries)| (Some(code), at, tries));
        let update =
            "UPDATE session SET ban_code = $1, ban_code_ms = $2, ban_code_tries = $3 WHERE token = $4";
        sqlx::query(update)
            .bind(code)
            .bind(sent_ms)
            .bind(tries)
            .bind(&session.token)
            .execute(&mut *self.tx)
            .await
            .map(drop)
    }
}

impl Office {
    /// Makes the link to an application's page, and sends it where that is asked.
    pub(super) async fn make_link(
        &self,
        round: &mut Round<'_>,
        case: &Case,
        client: &Client,
        send: bool,
    ) -> Done<Value> {
        let Some(page) = &round.settings.page else {
            return problem(Kind::NotConfigured, "this node has no citizen's page: configure [loans.page]");
        };
        let until_ms = round.now_ms + page.link_ms;
        let token = round.unit.make_link(&case.id, round.now_ms, until_ms).await?;
        // Behind the #, so that the token is in no server's log and no Referer.
        let url = format!("{}/confirm#{token}", page.url);
        if send {
            let sum = case.application.sum.to_string();
            let minutes = (page.link_ms / 60_000).to_string();
            let places = [
                ("creditor", client.name.as_str()),
                ("sum", &sum),
                ("currency", &round.settings.rulebook.currency),
                ("url", &url),
                ("minutes", &minutes),
            ];
            let text = round.settings.words(case.application.language).sms("link", &places);
            let body = json!({"to": case.applicant.phone, "text": text}).to_string();
            round.unit.queue("sms", &client.id, &body, round.now_ms, until_ms).await?;
        }
        Ok(json!({"url": url, "until": view::time(until_ms), "sent": send}))
    }
}
