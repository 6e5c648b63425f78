//! How many one-time codes may be sent: to a number, for a client, for applicants at an address. Loans and
//! one-time-password-sms count together, so a number gets no more by the one for having had none by the other.

use lending::{Per, Rate, Use, Vault};
use sqlx::Row;

use super::office::{Done, Round};
use super::store::{Fault, Unit};

/// By what codes are limited.
pub(super) struct Counted<'c> {
    pub phone: &'c str,
    /// None: the person asks for himself.
    pub client: Option<&'c str>,
    pub address: Option<&'c str>,
}

impl Counted<'_> {
    /// Each with its keyed hashes, the one under the key in force first.
    fn scopes(&self, vault: &Vault) -> Vec<(Per, Vec<String>)> {
        let all =
            [(Per::Number, Some(self.phone)), (Per::Creditor, self.client), (Per::Address, self.address)];
        let scope = |(per, of): (Per, Option<&str>)| {
            Some((per, vault.macs(Use::Index, format!("{} {}", per.name(), of?).as_bytes())))
        };
        all.into_iter().filter_map(scope).collect()
    }
}

impl Round<'_> {
    /// Counts a code towards its limits; where it would break one it is not counted, and that limit is given.
    pub(super) async fn count_code(&mut self, counted: &Counted<'_>) -> Done<Option<Rate>> {
        let scopes = counted.scopes(&self.settings.vault);
        for rate in &self.settings.rulebook.limits(self.now_ms).rates {
            let Some((_, scopes)) = scopes.iter().find(|(per, _)| *per == rate.per) else { continue };
            let since_ms = self.now_ms - i64::from(rate.within_s) * 1000;
            if self.unit.codes_since(scopes, since_ms).await? >= rate.most {
                return Ok(Some(*rate));
            }
        }
        for (_, scopes) in &scopes {
            self.unit.code_sent(&scopes[0], self.now_ms).await?;
        }
        Ok(None)
    }

    /// Takes a code back that was counted at a moment and never sent.
    pub(super) async fn uncount_code(&mut self, counted: &Counted<'_>, at_ms: i64) -> Done<()> {
        for (_, scopes) in counted.scopes(&self.settings.vault) {
            self.unit.code_not_sent(&scopes, at_ms).await?;
        }
        Ok(())
    }
}

pub(super) fn too_many(rate: Rate) -> String {
    let (most, per, within_s) = (rate.most, rate.per.name(), rate.within_s);
    format!("at most {most} codes per {per} in {within_s} s: wait, then send it again")
}

impl Unit<'_> {
    /// How many codes were sent in a scope since a moment.
    pub(super) async fn codes_since(&mut self, scopes: &[String], since_ms: i64) -> Result<u32, Fault> {
        let mut count = 0;
        for scope in scopes {
            let select = sqlx::query("SELECT COUNT(*) FROM code_sent WHERE scope = $1 AND at_ms > $2");
            let row = select.bind(scope).bind(since_ms).fetch_one(&mut *self.tx).await?;
            count += row.try_get::<i64, _>(0)?;
        }
        Ok(count as u32)
    }

    pub(super) async fn code_sent(&mut self, scope: &str, now_ms: i64) -> Result<(), Fault> {
        let insert = sqlx::query("INSERT INTO code_sent (scope, at_ms) VALUES ($1, $2)").bind(scope);
        insert.bind(now_ms).execute(&mut *self.tx).await.map(drop)
    }

    async fn code_not_sent(&mut self, scopes: &[String], at_ms: i64) -> Result<(), Fault> {
        for scope in scopes {
            let delete = sqlx::query("DELETE FROM code_sent WHERE scope = $1 AND at_ms = $2").bind(scope);
            delete.bind(at_ms).execute(&mut *self.tx).await?;
        }
        Ok(())
    }
}
