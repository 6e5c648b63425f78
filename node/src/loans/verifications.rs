//! Codes for the services of others: CAMARA one-time-password-sms 1.1 as its server.
//!
//! A verification is one code to one phone, of one client. The code goes out by the same queue as those of loans, within the
//! same limits, and is kept as a keyed hash. Another code for the same phone and client ends the one before.
//! <https://github.com/camaraproject/OTPValidation>, release r3.2.

use lending::{Per, Use, code};
use numbering::Number;
use serde_json::{Value, json};
use sqlx::Row;

use super::Client;
use super::codes::new_code;
use super::counts::count;
use super::limits::{Counted, too_many};
use super::office::{Done, Office, Round, turn_of};
use super::store::{Fault, Unit, new_id};

pub const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS verification (id TEXT PRIMARY KEY, client TEXT NOT NULL, phone TEXT NOT NULL, \
     hash TEXT NOT NULL, sent_ms BIGINT NOT NULL, tries BIGINT NOT NULL, is_over BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS verification_phone ON verification (phone, client)",
];

/// An answer of the API that is an error, `ErrorInfo`.
fn error(status: u16, code: &str, message: impl Into<String>) -> (u16, Value) {
    (status, json!({"status": status, "code": code, "message": message.into()}))
}

struct Verification {
    hash: String,
    sent_ms: i64,
    tries: u32,
    is_over: bool,
}

impl Office {
    /// `send-code`: `message` holds `{{code}}`.
    pub(super) async fn send_verification(
        &self,
        round: &mut Round<'_>,
        client: &Client,
        phone: Number,
        message: &str,
    ) -> Done<(u16, Value)> {
        let (settings, now_ms) = (round.settings, round.now_ms);
        let (vault, limits) = (&settings.vault, settings.rulebook.limits(now_ms));
        let phone = phone.reveal().to_string();
        round.unit.lock(turn_of(vault, &phone)).await?;
        round.unit.look_at(&client.id, "send-code", &phone, now_ms).await?;
        // The API does not say where the person comes from: no limit by address.
        let counted = Counted { phone: &phone, client: Some(&client.id), address: None };
        if let Some(rate) = round.count_code(&counted).await? {
            return Ok(match rate.per {
                Per::Number => error(403, "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED", too_many(rate)),
                _ => error(429, "TOO_MANY_REQUESTS", too_many(rate)),
            });
        }
        // 8-4-4-4-12, as the API's example.
        let mut id = new_id();
        [8, 13, 18, 23].into_iter().for_each(|at| id.insert(at, '-'));
        let code = new_code();
        let hash = code::hash(vault, &bound_to(&id), &code);
        round.unit.keep_verification((&id, &client.id, &phone), &hash, now_ms).await?;
        // A line feed is the one control character that a text can carry.
        let text: String = message
            .replace("{{code}}", &code)
            .chars()
            .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
            .collect();
        let body = json!({"to": phone, "text": text}).to_string();
        let until_ms = now_ms + i64::from(limits.code_s) * 1000;
        round.unit.queue("sms", &client.id, &body, now_ms, until_ms).await?;
        count(&self.counts.verifications_sent);
        Ok((200, json!({"authenticationId": id})))
    }

    /// `validate-code`. Each try counts before its outcome is said.
    pub(super) async fn validate_verification(
        &self,
        round: &mut Round<'_>,
        client: &Client,
        id: &str,
        entered: &str,
    ) -> Done<(u16, Value)> {
        let limits = round.settings.rulebook.limits(round.now_ms);
        round.unit.lock(turn_of(&round.settings.vault, id)).await?;
        let Some(found) = round.unit.verification(id, &client.id).await? else {
            return Ok(error(404, "NOT_FOUND", "No code of yours has this authenticationId."));
        };
        let until_ms = found.sent_ms + i64::from(limits.code_s) * 1000;
        if found.is_over || round.now_ms >= until_ms {
            let what = "The authenticationId is no longer valid: it was used, another code was sent, or its time is over.";
            return Ok(error(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED", what));
        }
        let no_try_left = || {
            let what =
                "The maximum number of attempts for this authenticationId was exceeded: send another code.";
            error(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED", what)
        };
        if found.tries >= limits.code_tries {
            return Ok(no_try_left());
        }
        let is_right = code::is_same(&round.settings.vault, &bound_to(id), entered, &found.hash);
        round.unit.try_verification(id, is_right).await?;
        if is_right {
            count(&self.counts.verifications_right);
            return Ok((204, Value::Null));
        }
        count(&self.counts.verifications_wrong);
        if found.tries + 1 >= limits.code_tries {
            return Ok(no_try_left());
        }
        Ok(error(
            400,
            "ONE_TIME_PASSWORD_SMS.INVALID_OTP",
            "The provided OTP is not valid for this authenticationId.",
        ))
    }
}

/// What a code is bound to, so that it opens nothing else.
fn bound_to(id: &str) -> String {
    format!("verification {id}")
}

impl Unit<'_> {
    async fn keep_verification(
        &mut self,
        (id, client, phone): (&str, &str, &str),
        hash: &str,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let vault = self.vault;
        for phone in vault.macs(Use::Index, phone.as_bytes()) {
            let update = sqlx::query("UPDATE verification SET is_over = 1 WHERE phone = $1 AND client = $2");
            update.bind(phone).bind(client).execute(&mut *self.tx).await?;
        }
        let insert = "INSERT INTO verification (id, client, phone, hash, sent_ms, tries, is_over) \
                      VALUES ($1, $2, $3, $4, $5, 0, 0)";
        let insert = sqlx::query(insert).bind(id).bind(client);
        let insert = insert.bind(vault.mac(Use::Index, phone.as_bytes())).bind(hash).bind(now_ms);
        insert.execute(&mut *self.tx).await.map(drop)
    }

    async fn verification(&mut self, id: &str, client: &str) -> Result<Option<Verification>, Fault> {
        let select = "SELECT hash, sent_ms, tries, is_over FROM verification WHERE id = $1 AND client = $2";
        let row = sqlx::query(select).bind(id).bind(client).fetch_optional(&mut *self.tx).await?;
        let read = |row: sqlx::any::AnyRow| {
            Ok(Verification {
                hash: row.try_get(0)?,
                sent_ms: row.try_get(1)?,
                tries: row.try_get::<i64, _>(2)? as u32,
                is_over: row.try_get::<i64, _>(3)? != 0,
            })
        };
        row.map(read).transpose()
    }

    async fn try_verification(&mut self, id: &str, is_right: bool) -> Result<(), Fault> {
        let update = sqlx::query("UPDATE verification SET tries = tries + 1, is_over = $1 WHERE id = $2");
        update.bind(i64::from(is_right)).bind(id).execute(&mut *self.tx).await.map(drop)
    }
}
