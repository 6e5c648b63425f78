//! What an application's gates look at in the store, in one question: the ban, the changes of the phone, other applications.

use lending::{Ban, Change, Changes, Other, Sum, Use};
use sqlx::Row;

use super::store::{Applicant, Fault, Unit, of_ban};

/// A person's ban with whom it tells, the changes of the phone, the person's other applications.
#[derive(Default)]
pub struct Around {
    pub ban: Option<(Ban, Applicant)>,
    pub changes: Changes,
    pub others: Vec<Other>,
}

const AROUND: &str = "\
    SELECT 'ban' AS what, sealed AS a, '' AS b, set_ms AS m, lifts_ms AS n, CAST(0 AS BIGINT) AS k FROM ban \
    WHERE person = $1 \
    UNION ALL SELECT 'change', change, '', at_ms, NULL, 0 FROM phone_change WHERE phone = $2 \
    UNION ALL SELECT 'other', creditor, state, opened_ms, sum, counts FROM application \
    WHERE person = $1 AND opened_ms >= $3 AND id <> $4";

impl Unit<'_> {
    /// Other applications than `id`, from a moment on.
    pub async fn around(&mut self, id: &str, applicant: &Applicant, from_ms: i64) -> Result<Around, Fault> {
        let mut around = Around::default();
        let persons = self.vault.macs(Use::Index, applicant.iin.as_bytes());
        let phones = self.vault.macs(Use::Index, applicant.phone.as_bytes());
        for (person, phone) in persons.into_iter().zip(phones) {
            let rows = sqlx::query(AROUND).bind(person).bind(phone).bind(from_ms).bind(id);
            for row in rows.fetch_all(&mut *self.tx).await? {
                let (what, a): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                let at_ms: i64 = row.try_get(3)?;
                match what.as_str() {
                    "ban" if around.ban.is_none() => {
                        let ban = Ban { set_ms: at_ms, lifts_ms: row.try_get(4)? };
                        around.ban = Some((ban, of_ban(self.vault, &a)?));
                    }
                    "change" => {
                        if let Some(change) = Change::from_name(&a) {
                            let known = around.changes.entry(change).or_insert(at_ms);
                            *known = at_ms.max(*known);
                        }
                    }
                    "other" => {
                        let state: String = row.try_get(2)?;
                        let has_failed =
                            lending::State::from_name(&state).is_none_or(|state| state.is_failure());
                        around.others.push(Other {
                            creditor: a,
                            opened_ms: at_ms,
                            sum: Sum::of_hundredths(row.try_get(4)?),
                            counts: row.try_get::<i64, _>(5)? != 0 && !has_failed,
                        });
                    }
                    _ => {}
                }
            }
        }
        Ok(around)
    }

    /// The changes of a phone alone.
    pub async fn changes(&mut self, phone: &str) -> Result<Changes, Fault> {
        let mut changes = Changes::new();
        for phone in self.vault.macs(Use::Index, phone.as_bytes()) {
            let select = sqlx::query("SELECT change, at_ms FROM phone_change WHERE phone = $1").bind(phone);
            for row in select.fetch_all(&mut *self.tx).await? {
                if let Some(change) = Change::from_name(&row.try_get::<String, _>(0)?) {
                    let at_ms: i64 = row.try_get(1)?;
                    let known = changes.entry(change).or_insert(at_ms);
                    *known = at_ms.max(*known);
                }
            }
        }
        Ok(changes)
    }
}
