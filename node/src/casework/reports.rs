//! What operators, banks or the police itself report: a drop's account, card or phone; a complaint about an operator's number. Each is
//! checked within two working days; one that is confirmed is passed on within two more.

use ::casework::{Act, Place, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::asked::{NewReport, ReportCheck, ReportPassed};
use super::identifiers::shown;
use super::office::{Done, Round, invalid, problem, text};
use crate::database::rows::Value;
use crate::database::{Fault, strange};
use crate::http::Kind;
use crate::loans::view::time;

pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS report (id BIGINT PRIMARY KEY, kind TEXT NOT NULL, identifier BIGINT NOT NULL, at_ms BIGINT NOT NULL, \
     who TEXT NOT NULL, check_due_ms BIGINT NOT NULL, checked_ms BIGINT, outcome TEXT, pass_due_ms BIGINT, passed_ms BIGINT, \
     sealed TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS report_identifier ON report (identifier)",
];

/// Working days to check a report, and to pass on what was confirmed.
const CHECK_DAYS: u32 = 2;
const PASS_DAYS: u32 = 2;
/// Reports in one list.
const MOST: usize = 1000;
const SELECT: &str = "SELECT id, kind, identifier, at_ms, who, check_due_ms, checked_ms, outcome, pass_due_ms, passed_ms, sealed \
                      FROM report";

/// What of a report is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    text: String,
}

struct Report {
    id: i64,
    kind: String,
    identifier: i64,
    at_ms: i64,
    who: String,
    check_due_ms: i64,
    checked_ms: Option<i64>,
    outcome: Option<String>,
    pass_due_ms: Option<i64>,
    passed_ms: Option<i64>,
    sealed: String,
}

fn subject(id: i64) -> String {
    format!("report {id}")
}

impl Report {
    fn of(row: &AnyRow) -> Result<Report, Fault> {
        Ok(Report {
            id: row.try_get(0)?,
            kind: row.try_get(1)?,
            identifier: row.try_get(2)?,
            at_ms: row.try_get(3)?,
            who: row.try_get(4)?,
            check_due_ms: row.try_get(5)?,
            checked_ms: row.try_get(6)?,
            outcome: row.try_get(7)?,
            pass_due_ms: row.try_get(8)?,
            passed_ms: row.try_get(9)?,
            sealed: row.try_get(10)?,
        })
    }

    fn place(&self) -> Place<'_> {
        Place { unit: "", assigned: None, outside: Some(&self.who) }
    }

    fn state(&self, now_ms: i64) -> &'static str {
        match (self.outcome.as_deref(), self.pass_due_ms, self.passed_ms) {
            (None, ..) if now_ms > self.check_due_ms => "check-overdue",
            (None, ..) => "to-check",
            (Some("unfounded"), ..) => "unfounded",
            (_, _, Some(_)) => "passed-on",
            (_, Some(due_ms), None) if now_ms > due_ms => "passing-on-overdue",
            _ => "confirmed",
        }
    }
}

impl Round<'_> {
    pub(super) async fn report(&mut self, asked: &NewReport) -> Done<(u16, Json)> {
        self.allow_ever(Act::Report, "report")?;
        let identifier = self.identifier(&asked.identifier)?;
        let id = self.unit.last_id("report").await? + 1;
        self.saw(Act::Report, subject(id));
        let known = self.unit.keep_identifiers(&[&identifier]).await?;
        let kept = Kept { text: text("text", &asked.text)?.to_owned() };
        let sealed = self.unit.seal(&subject(id), &serde_json::to_string(&kept).expect("plain values"));
        let (by, none) = (self.by(), || Value::MaybeInt(None));
        let due_ms = self.settings.days.due_ms(self.now_ms, CHECK_DAYS);
        let row = [
            id.into(),
            asked.kind.name().into(),
            known[&identifier].into(),
            by.now_ms.into(),
            by.who.into(),
            due_ms.into(),
            none(),
            Value::MaybeText(None),
            none(),
            none(),
            sealed.into(),
        ];
        let insert = "INSERT INTO report (id, kind, identifier, at_ms, who, check_due_ms, checked_ms, outcome, pass_due_ms, \
                      passed_ms, sealed)";
        self.unit.insert(insert, vec![row]).await?;
        self.unit.happened(&subject(id), "reported", by, &json!({})).await?;
        Ok((201, self.shown_report(id).await?))
    }

    /// Those outside see their own, the police all.
    pub(super) async fn reports(&mut self) -> Done<(u16, Json)> {
        self.allow_ever(Act::SeeReport, "reports")?;
        self.saw(Act::SeeReport, "reports");
        let (filter, values) = match self.client.role {
            Role::Operator | Role::Bank => ("WHERE who = $1", vec![self.client.id.as_str().into()]),
            _ => ("", Vec::new()),
        };
        let rows =
            self.unit.select(format!("{SELECT} {filter} ORDER BY id DESC LIMIT {MOST}"), values).await?;
        let mut told = Vec::new();
        for row in &rows {
            let report = Report::of(row)?;
            self.saw(Act::SeeReport, subject(report.id));
            told.push(self.shown_of_report(&report).await?);
        }
        Ok((200, json!({"reports": told})))
    }

    pub(super) async fn see_report(&mut self, id: i64) -> Done<(u16, Json)> {
        self.one_report(Act::SeeReport, id).await?;
        Ok((200, self.shown_report(id).await?))
    }

    pub(super) async fn check_report(&mut self, id: i64, asked: &ReportCheck) -> Done<(u16, Json)> {
        let report = self.one_report(Act::CheckReport, id).await?;
        let why = text("why", &asked.why)?;
        if report.outcome.is_some() {
            return problem(Kind::WrongState, "the report was checked before");
        }
        let (outcome, due_ms) = match asked.confirmed {
            true => ("confirmed", Some(self.settings.days.due_ms(self.now_ms, PASS_DAYS))),
            false => ("unfounded", None),
        };
        let sql = "UPDATE report SET checked_ms = $1, outcome = $2, pass_due_ms = $3 WHERE id = $4";
        self.unit.run(sql, vec![self.now_ms.into(), outcome.into(), due_ms.into(), id.into()]).await?;
        let body = json!({"outcome": outcome, "why": why});
        self.unit.happened(&subject(id), "report_checked", self.by(), &body).await?;
        Ok((200, self.shown_report(id).await?))
    }

    pub(super) async fn pass_on(&mut self, id: i64, asked: &ReportPassed) -> Done<(u16, Json)> {
        let report = self.one_report(Act::CheckReport, id).await?;
        let to = text("to", &asked.to)?;
        if report.outcome.as_deref() != Some("confirmed") || report.passed_ms.is_some() {
            return problem(Kind::WrongState, "only what was confirmed is passed on, and once");
        }
        let sql = "UPDATE report SET passed_ms = $1 WHERE id = $2";
        self.unit.run(sql, vec![self.now_ms.into(), id.into()]).await?;
        self.unit.happened(&subject(id), "report_passed_on", self.by(), &json!({"to": to})).await?;
        Ok((200, self.shown_report(id).await?))
    }

    async fn load_report(&mut self, id: i64) -> Done<Option<Report>> {
        let rows = self.unit.select(format!("{SELECT} WHERE id = $1"), vec![id.into()]).await?;
        Ok(rows.first().map(Report::of).transpose()?)
    }

    async fn one_report(&mut self, act: Act, id: i64) -> Done<Report> {
        let found = self.load_report(id).await?;
        self.allow(act, found.as_ref().map(Report::place), subject(id))?;
        Ok(found.expect("what is not there is not allowed"))
    }

    async fn shown_report(&mut self, id: i64) -> Done<Json> {
        let Some(report) = self.load_report(id).await? else { return invalid("no such report") };
        self.shown_of_report(&report).await
    }

    async fn shown_of_report(&mut self, report: &Report) -> Done<Json> {
        let id = report.id;
        let kept: Kept = serde_json::from_str(&self.unit.open(&subject(id), &report.sealed)?)
            .map_err(|_| strange("a report of another version"))?;
        let identifiers = self.unit.identifiers([report.identifier]).await?;
        let mut told = json!({
            "id": id,
            "kind": report.kind,
            "identifier": identifiers.get(&report.identifier).map(shown),
            "text": kept.text,
            "time": time(report.at_ms),
            "who": report.who,
            "state": report.state(self.now_ms),
            "check_due": time(report.check_due_ms),
            "checked": report.checked_ms.map(time),
            "pass_on_due": report.pass_due_ms.map(time),
            "passed_on": report.passed_ms.map(time),
        });
        // Who checked it, and why it came to what it did, is the police's.
        if !matches!(self.client.role, Role::Operator | Role::Bank) {
            told["events"] = json!(self.unit.events(&subject(id)).await?);
        }
        Ok(told)
    }
}
