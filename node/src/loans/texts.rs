//! What became of each part of a text that went to an SMSC.
//!
//! A part is `submitting` in the store before its submit_sm is written, so that after a crash it is known to be of unknown fate.
//! Nothing but `waiting` parts, which the SMSC certainly does not have, is submitted again; of unknown ones only those of a
//! text that may come twice, once. A receipt is kept before it is answered, by whichever node got it, and meets its part
//! when both are there, in whatever order they came.

use lending::{Use, Vault};
use smpp::MessageState;
use smpp::receipt::{plain, spellings};
use sqlx::{Any, Row, Transaction};

use super::store::{Fault, Outgoing, Store, new_id};

type Result<T> = std::result::Result<T, Fault>;

/// Tables of this file.
pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS text_part (text TEXT NOT NULL, n BIGINT NOT NULL, parts BIGINT NOT NULL, once BIGINT NOT NULL, \
     client TEXT NOT NULL, phone TEXT NOT NULL, reference BIGINT NOT NULL, state TEXT NOT NULL, message_id TEXT, \
     status TEXT, tries BIGINT NOT NULL, made_ms BIGINT NOT NULL, at_ms BIGINT NOT NULL, PRIMARY KEY (text, n))",
    "CREATE INDEX IF NOT EXISTS text_part_message ON text_part (message_id)",
    "CREATE INDEX IF NOT EXISTS text_part_phone ON text_part (phone)",
    "CREATE INDEX IF NOT EXISTS text_part_made ON text_part (made_ms)",
    "CREATE TABLE IF NOT EXISTS text_receipt (id TEXT PRIMARY KEY, message_id TEXT NOT NULL, phone TEXT NOT NULL, \
     reference BIGINT, state TEXT NOT NULL, at_ms BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS text_receipt_message ON text_receipt (message_id)",
];

const SUBMITTING: &str = "submitting";
const WAITING: &str = "waiting";
const UNKNOWN: &str = "unknown";
const FAILED: &str = "failed";
const SUBMITTED: &str = "submitted";
const DELIVERED: &str = "delivered";
/// A part of unknown fate of a text that may come twice is submitted so often.
const TRIES: i64 = 2;

/// A part about to be submitted.
#[derive(Clone)]
pub(super) struct Part {
    /// The text's id.
    pub text: String,
    /// From 1.
    pub n: i64,
    pub parts: i64,
    /// Whether it must not come twice.
    pub once: bool,
    pub client: String,
    /// A keyed hash.
    pub phone: String,
    pub reference: u16,
}

/// What is known of a submitted part.
pub(super) enum Outcome {
    Submitted {
        message_id: String,
    },
    /// Not taken: it is submitted again after a pause.
    Waiting {
        status: String,
        pause_ms: i64,
    },
    Failed {
        status: String,
    },
    /// No answer: whether the SMSC has it is not known.
    Unknown,
}

/// A receipt to be kept.
pub(super) struct Kept {
    pub message_id: String,
    pub phone: String,
    pub reference: Option<u16>,
    pub state: MessageState,
}

/// A text and what became of it.
pub struct TextSeen {
    pub made_ms: i64,
    pub id: String,
    pub client: String,
    /// Each part's state, with the answer of the SMSC where it refused.
    pub parts: Vec<String>,
}

impl Store {
    /// Texts to be sent now, for `lease_ms`: no other node takes them meanwhile.
    pub(super) async fn take_texts(
        &self,
        vault: &Vault,
        now_ms: i64,
        lease_ms: i64,
        limit: i64,
    ) -> Result<Vec<Outgoing>> {
        let mut tx = self.transaction().await?;
        let select = "SELECT id, client, sealed, next_ms, until_ms, tries FROM outgoing \
                      WHERE next_ms <= $1 AND kind = 'sms' ORDER BY next_ms LIMIT $2";
        let rows = sqlx::query(select).bind(now_ms).bind(limit).fetch_all(&mut *tx).await?;
        let mut taken = Vec::new();
        for row in rows {
            let id: String = row.try_get(0)?;
            let update = "UPDATE outgoing SET next_ms = $1, tries = tries + 1 WHERE id = $2 AND next_ms = $3";
            let update =
                sqlx::query(update).bind(now_ms + lease_ms).bind(&id).bind(row.try_get::<i64, _>(3)?);
            if update.execute(&mut *tx).await?.rows_affected() == 1 {
                let body = vault.open(&id, &row.try_get::<String, _>(2)?).unwrap_or_default();
                taken.push(Outgoing {
                    id,
                    kind: "sms".to_owned(),
                    client: row.try_get(1)?,
                    body,
                    until_ms: row.try_get(4)?,
                    tries: row.try_get::<i64, _>(5)? + 1,
                });
            }
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// The parts of a text just taken that were submitted before and never answered, for whoever had them is gone. They are of
    /// unknown fate from now on; how many.
    pub(super) async fn orphaned(&self, text: &str, now_ms: i64) -> Result<u64> {
        let update =
            "UPDATE text_part SET state = 'unknown', at_ms = $1 WHERE text = $2 AND state = 'submitting'";
        let found = sqlx::query(update).bind(now_ms).bind(text).execute(&self.pool).await?.rows_affected();
        if found > 0 {
            for n in self.of_unknown_fate(text).await? {
                self.meet_part(text, n).await?;
            }
        }
        Ok(found)
    }

    async fn of_unknown_fate(&self, text: &str) -> Result<Vec<i64>> {
        let select = sqlx::query("SELECT n FROM text_part WHERE text = $1 AND state = 'unknown'").bind(text);
        select.fetch_all(&self.pool).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// Marks parts as being submitted, before they are. Gives which of them are now this node's to submit.
    pub(super) async fn submitting(&self, parts: &[Part], now_ms: i64, lease_ms: i64) -> Result<Vec<bool>> {
        let mut tx = self.transaction().await?;
        let mut marked = Vec::with_capacity(parts.len());
        let insert = "INSERT INTO text_part (text, n, parts, once, client, phone, reference, state, tries, made_ms, at_ms) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, 'submitting', 1, $8, $8) \
                      ON CONFLICT (text, n) DO UPDATE SET state = 'submitting', tries = text_part.tries + 1, at_ms = $8 \
                      WHERE text_part.state = 'waiting' \
                      OR (text_part.state = 'unknown' AND text_part.once = 0 AND text_part.tries < $9)";
        for part in parts {
            let insert = sqlx::query(insert)
                .bind(&part.text)
                .bind(part.n)
                .bind(part.parts)
                .bind(i64::from(part.once))
                .bind(&part.client)
                .bind(&part.phone)
                .bind(i64::from(part.reference))
                .bind(now_ms)
                .bind(TRIES);
            let is_ours = insert.execute(&mut *tx).await?.rows_affected() == 1;
            marked.push(is_ours);
            if is_ours {
                let update = sqlx::query("UPDATE outgoing SET next_ms = $1 WHERE id = $2");
                update.bind(now_ms + lease_ms).bind(&part.text).execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        Ok(marked)
    }

    /// Keeps what is known of parts. Gives how many texts are done with: every part taken, and how many failed.
    pub(super) async fn recorded(&self, outcomes: &[(Part, Outcome)], now_ms: i64) -> Result<(u64, u64)> {
        let mut tx = self.transaction().await?;
        // What came back waits to be answered no longer; a receipt that was quicker stays.
        let update = "UPDATE text_part SET state = $1, message_id = COALESCE($2, message_id), status = $3, at_ms = $4 \
                      WHERE text = $5 AND n = $6 AND state IN ('submitting', 'unknown')";
        for (part, outcome) in outcomes {
            let (state, id, status) = match outcome {
                Outcome::Submitted { message_id } => (SUBMITTED, Some(plain(message_id)), None),
                Outcome::Waiting { status, .. } => (WAITING, None, Some(status)),
                Outcome::Failed { status } => (FAILED, None, Some(status)),
                Outcome::Unknown => (UNKNOWN, None, None),
            };
            let update = sqlx::query(update).bind(state).bind(id.filter(|id| !id.is_empty())).bind(status);
            update.bind(now_ms).bind(&part.text).bind(part.n).execute(&mut *tx).await?;
        }
        let mut done = (0, 0);
        let mut last = "";
        for (part, _) in outcomes {
            if part.text == last {
                continue;
            }
            last = &part.text;
            let pauses = outcomes.iter().filter(|(other, _)| other.text == part.text);
            let pause_ms = pauses.filter_map(|(_, outcome)| match outcome {
                Outcome::Waiting { pause_ms, .. } => Some(*pause_ms),
                _ => None,
            });
            let pause_ms = pause_ms.max().unwrap_or(super::outgoing::LEASE_MS);
            match settle(&mut tx, &part.text, now_ms + pause_ms).await? {
                Settled::Sent => done.0 += 1,
                Settled::Failed => done.1 += 1,
                Settled::Open => {}
            }
        }
        tx.commit().await?;
        // Receipts that were quicker: looked for after what they wait for is there for everybody.
        for (part, outcome) in outcomes {
            if matches!(outcome, Outcome::Submitted { .. } | Outcome::Unknown) {
                self.meet_part(&part.text, part.n).await?;
            }
        }
        Ok(done)
    }

    /// A text whose time is over: nothing more of it is submitted.
    pub(super) async fn too_late(&self, text: &str, now_ms: i64) -> Result<()> {
        let mut tx = self.transaction().await?;
        let update = "UPDATE text_part SET state = 'failed', status = COALESCE(status, 'too late'), at_ms = $1 \
                      WHERE text = $2 AND state = 'waiting'";
        sqlx::query(update).bind(now_ms).bind(text).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM outgoing WHERE id = $1").bind(text).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// Which parts of a text are not to be submitted now.
    pub(super) async fn submitted(&self, text: &str) -> Result<Vec<i64>> {
        let select = "SELECT n FROM text_part WHERE text = $1 AND NOT (state = 'waiting' \
                      OR (state = 'unknown' AND once = 0 AND tries < $2))";
        let rows = sqlx::query(select).bind(text).bind(TRIES).fetch_all(&self.pool).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// A text of which nothing is left to submit.
    pub(super) async fn settled(&self, text: &str, next_ms: i64) -> Result<()> {
        let mut tx = self.transaction().await?;
        settle(&mut tx, text, next_ms).await?;
        tx.commit().await
    }

    /// Keeps receipts, then lets them meet their parts. Gives how many met none yet.
    pub(super) async fn receipts(&self, receipts: &[Kept], now_ms: i64) -> Result<u64> {
        let mut tx = self.transaction().await?;
        let mut ids = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let id = new_id();
            let insert = "INSERT INTO text_receipt (id, message_id, phone, reference, state, at_ms) \
                          VALUES ($1, $2, $3, $4, $5, $6)";
            sqlx::query(insert)
                .bind(&id)
                .bind(plain(&receipt.message_id))
                .bind(&receipt.phone)
                .bind(receipt.reference.map(i64::from))
                .bind(named(receipt.state))
                .bind(now_ms)
                .execute(&mut *tx)
                .await?;
            ids.push(id);
        }
        tx.commit().await?;
        let mut alone = 0;
        let mut tx = self.transaction().await?;
        for id in &ids {
            alone += u64::from(!meet_receipt(&mut tx, id).await?);
        }
        tx.commit().await?;
        Ok(alone)
    }

    /// Lets a part meet the receipts that came before it could be known by them.
    async fn meet_part(&self, text: &str, n: i64) -> Result<()> {
        let select = sqlx::query("SELECT message_id FROM text_part WHERE text = $1 AND n = $2");
        let Some(row) = select.bind(text).bind(n).fetch_optional(&self.pool).await? else { return Ok(()) };
        let message_id: Option<String> = row.try_get(0)?;
        let mut waiting: Vec<String> = Vec::new();
        for spelling in message_id.as_deref().map(spellings).unwrap_or_default() {
            let select = sqlx::query("SELECT id FROM text_receipt WHERE message_id = $1").bind(spelling);
            for row in select.fetch_all(&self.pool).await? {
                waiting.push(row.try_get(0)?);
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let mut tx = self.transaction().await?;
        for id in waiting {
            meet_receipt(&mut tx, &id).await?;
        }
        tx.commit().await
    }

    /// Forgets what is older than a moment.
    pub(super) async fn forget_texts(&self, before_ms: i64) -> Result<()> {
        for statement in
            ["DELETE FROM text_part WHERE made_ms < $1", "DELETE FROM text_receipt WHERE at_ms < $1"]
        {
            sqlx::query(statement).bind(before_ms).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// Texts that went to an SMSC, the newest last.
    pub async fn texts(&self, limit: i64) -> Result<Vec<TextSeen>> {
        let select = "SELECT made_ms, text, client, n, parts, state, status FROM text_part WHERE text IN \
                      (SELECT text FROM text_part WHERE n = 1 ORDER BY made_ms DESC LIMIT $1) ORDER BY text, n";
        let mut seen: Vec<TextSeen> = Vec::new();
        for row in sqlx::query(select).bind(limit).fetch_all(&self.pool).await? {
            let id: String = row.try_get(1)?;
            let (state, status): (String, Option<String>) = (row.try_get(5)?, row.try_get(6)?);
            let part = status.map_or(state.clone(), |status| format!("{state} ({status})"));
            match seen.last_mut().filter(|text| text.id == id) {
                Some(text) => text.parts.push(part),
                None => seen.push(TextSeen {
                    made_ms: row.try_get(0)?,
                    id,
                    client: row.try_get(2)?,
                    parts: vec![part],
                }),
            }
        }
        seen.sort_by_key(|text| text.made_ms);
        Ok(seen)
    }
}

enum Settled {
    Sent,
    Failed,
    Open,
}

/// Takes a text from what is to be sent, once each part is done with; else says when it is looked at again.
async fn settle(tx: &mut Transaction<'static, Any>, text: &str, next_ms: i64) -> Result<Settled> {
    let select = sqlx::query("SELECT state, parts, once, tries FROM text_part WHERE text = $1").bind(text);
    let rows = select.fetch_all(&mut **tx).await?;
    let (mut has_failed, mut under_way, mut to_send, mut parts) = (false, 0, 0, 0);
    for row in &rows {
        let state: String = row.try_get(0)?;
        let may_again = row.try_get::<i64, _>(2)? == 0 && row.try_get::<i64, _>(3)? < TRIES;
        parts = row.try_get::<i64, _>(1)?;
        has_failed |= state == FAILED;
        under_way += i64::from(state == SUBMITTING);
        to_send += i64::from(state == WAITING || (state == UNKNOWN && may_again));
    }
    let is_done = has_failed || (rows.len() as i64 == parts && under_way == 0 && to_send == 0);
    if is_done {
        let delete = sqlx::query("DELETE FROM outgoing WHERE id = $1").bind(text);
        // Done with before: counted once.
        if delete.execute(&mut **tx).await?.rows_affected() == 0 {
            return Ok(Settled::Open);
        }
        return Ok(if has_failed { Settled::Failed } else { Settled::Sent });
    }
    if under_way == 0 && to_send > 0 {
        let update = sqlx::query("UPDATE outgoing SET next_ms = $1 WHERE id = $2").bind(next_ms).bind(text);
        update.execute(&mut **tx).await?;
    }
    Ok(Settled::Open)
}

/// Lets a receipt meet the part it is of, if that is known. It is gone then.
async fn meet_receipt(tx: &mut Transaction<'static, Any>, id: &str) -> Result<bool> {
    let select =
        sqlx::query("SELECT message_id, phone, reference, state, at_ms FROM text_receipt WHERE id = $1")
            .bind(id);
    let Some(row) = select.fetch_optional(&mut **tx).await? else { return Ok(true) };
    let (message_id, phone): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let (reference, state): (Option<i64>, String) = (row.try_get(2)?, row.try_get(3)?);
    let at_ms: i64 = row.try_get(4)?;
    let Some((text, n, before)) = part_of(tx, &message_id, &phone, reference).await? else {
        return Ok(false);
    };
    // Delivered is delivered; else what was final first stays.
    let was_final = MessageState::ALL.iter().any(|state| named(*state) == before && state.is_final());
    if before != DELIVERED && (state == DELIVERED || !was_final) {
        let update = "UPDATE text_part SET state = $1, at_ms = $2 WHERE text = $3 AND n = $4";
        sqlx::query(update).bind(&state).bind(at_ms).bind(&text).bind(n).execute(&mut **tx).await?;
        settle(tx, &text, at_ms + super::outgoing::LEASE_MS).await?;
    }
    sqlx::query("DELETE FROM text_receipt WHERE id = $1").bind(id).execute(&mut **tx).await?;
    Ok(true)
}

/// The part of a message id; where no part has it, the one that went to this phone with this reference: its answer was lost,
/// or the SMSC gives one id in the answer and another in the receipt.
async fn part_of(
    tx: &mut Transaction<'static, Any>,
    message_id: &str,
    phone: &str,
    reference: Option<i64>,
) -> Result<Option<(String, i64, String)>> {
    let found = |row: &sqlx::any::AnyRow| Ok::<_, Fault>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    for (n, spelling) in spellings(message_id).into_iter().enumerate() {
        let select =
            "SELECT text, n, state, phone FROM text_part WHERE message_id = $1 ORDER BY made_ms DESC LIMIT 8";
        let rows = sqlx::query(select).bind(spelling).fetch_all(&mut **tx).await?;
        for row in &rows {
            if row.try_get::<String, _>(3)? == phone {
                return found(row).map(Some);
            }
        }
        // Some SMSCs write the number another way; an id as it was given is enough, a converted one is not.
        if let (0, Some(row)) = (n, rows.first()) {
            return found(row).map(Some);
        }
    }
    let Some(reference) = reference else { return Ok(None) };
    // The whole reference goes before its low octet, which is all that some SMSCs keep.
    let select = "SELECT text, n, state FROM text_part WHERE phone = $1 AND (reference = $2 OR reference % 256 = $2) \
                  AND state NOT IN ('waiting', 'failed', 'delivered') \
                  ORDER BY CASE WHEN reference = $2 THEN 0 ELSE 1 END, made_ms DESC LIMIT 1";
    let row = sqlx::query(select).bind(phone).bind(reference).fetch_optional(&mut **tx).await?;
    row.as_ref().map(found).transpose()
}

/// A state that a receipt says. One that says the SMSC lost track is no missing answer: it had the message.
fn named(state: MessageState) -> &'static str {
    match state {
        MessageState::Unknown => "lost by the SMSC",
        _ => state.name(),
    }
}

/// How a phone is looked for: its digits, keyed.
pub(super) fn keyed(vault: &Vault, phone: &str) -> String {
    vault.mac(Use::Index, phone.trim_start_matches('+').as_bytes())
}
