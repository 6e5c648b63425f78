//! Public numbers out of the register: questions in SQL over the facts of a period, each shown as it was asked.

use ::casework::{FactKind, Figure, Measure, Period, Seizure, Year, chart, csv, growth};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rules::{Language, word};
use serde_json::{Value as Json, json};
use sqlx::Row;

use super::store::{Store, Unit};
use crate::config::Casework as Settings;
use crate::database::rows::{self, Value};
use crate::database::{Fault, strange};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub period: Period,
    /// Counted from the first fact on; the period says only until when.
    pub is_cumulative: bool,
    pub region: Option<String>,
    pub kind: Option<FactKind>,
    /// Years before the period that it is compared with.
    pub years: u8,
}

/// What it comes to.
pub struct Statistics {
    pub wanted: Wanted,
    pub figures: Vec<Figure>,
    /// The period's facts beside those of the same days in years before.
    pub years: Vec<Year>,
}

/// How HTTP gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Json,
    Csv,
    Svg(Language),
}

/// The longest way back.
pub const MOST_YEARS: u8 = 50;

impl Wanted {
    /// Reads what a command line or a query says. The error says what is wrong with it.
    pub fn read(
        (year, from, until): (Option<&str>, Option<&str>, Option<&str>),
        (region, kind): (Option<&str>, Option<&str>),
        is_cumulative: bool,
        years: Option<&str>,
    ) -> Result<Wanted, String> {
        let day = |name: &str, text: &str| {
            text.parse::<Date>().map_err(|_| format!("{name} {text}: write a day such as 2023-01-31"))
        };
        let period = match (year, from, until) {
            (Some(year), None, None) => {
                let period = year.parse().ok().and_then(Period::of_year);
                period.ok_or_else(|| format!("year {year}: write one such as 2023"))?
            }
            (None, Some(from), Some(until)) => {
                Period { from: day("from", from)?, until: day("until", until)? }
            }
            _ => {
                return Err(
                    "say year, or from and until: the first day, and the one behind the last".to_owned()
                );
            }
        };
        if period.from >= period.until {
            return Err(format!("until {} is not behind from {}", period.until, period.from));
        }
        let kind = kind.map(|kind| {
            let names: Vec<&str> = FactKind::ALL.iter().map(|kind| kind.name()).collect();
            FactKind::from_name(kind).ok_or_else(|| format!("type {kind}: is none of {}", names.join(", ")))
        });
        let years = years.map(|years| {
            let read = years.parse().ok().filter(|years| *years <= MOST_YEARS);
            read.ok_or_else(|| format!("years {years}: is no number up to {MOST_YEARS}"))
        });
        Ok(Wanted {
            period,
            is_cumulative,
            region: region.map(str::to_owned),
            kind: kind.transpose()?,
            years: years.transpose()?.unwrap_or(7),
        })
    }

    /// "Facts of fraud, 2023, almaty, calls in a bank's name".
    pub fn title(&self, language: Language) -> String {
        let mut parts = vec![word(language, "stats-facts").to_owned(), self.period.to_string()];
        parts.extend(self.region.clone());
        parts.extend(self.kind.map(|kind| word(language, &format!("fact-{}", kind.name())).to_owned()));
        if self.is_cumulative {
            parts.push(word(language, "cumulative").to_owned());
        }
        parts.join(", ")
    }

    /// In ms: from, where it counts, and until.
    fn bounds(&self, period: Period, zone: &TimeZone) -> Result<(Option<i64>, i64), Fault> {
        let ms = |day: Date| {
            let at = day.to_zoned(zone.clone()).map_err(|_| strange("a day that no clock has"))?;
            Ok::<_, Fault>(at.timestamp().as_millisecond())
        };
        let from = if self.is_cumulative { None } else { Some(ms(period.from)?) };
        Ok((from, ms(period.until)?))
    }
}

/// A question: what stands before and behind its conditions, and its values.
struct Question {
    sql: String,
    values: Vec<Value>,
}

impl Question {
    /// Over facts: `{}` in `sql` stands for which of them.
    fn of_facts(sql: &str, wanted: &Wanted, (from, until): (Option<i64>, i64)) -> Question {
        let mut values = vec![Value::Int(until)];
        let mut which = String::from("fact.at_ms < $1");
        let more = [
            from.map(|from| ("at_ms >=", Value::Int(from))),
            wanted.region.clone().map(|region| ("region =", Value::Text(region))),
            wanted.kind.map(|kind| ("kind =", Value::Text(kind.name().to_owned()))),
        ];
        for (condition, value) in more.into_iter().flatten() {
            values.push(value);
            which += &format!(" AND fact.{condition} ${}", values.len());
        }
        Question { sql: sql.replace("{}", &which), values }
    }

    /// With its values in it: what psql and sqlite3 take.
    fn shown(&self) -> String {
        let mut text = self.sql.clone();
        // From the last on, for $1 stands in $10 too.
        for (n, value) in self.values.iter().enumerate().rev() {
            let literal = match value {
                Value::Int(int) => int.to_string(),
                Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
                _ => "NULL".to_owned(),
            };
            text = text.replace(&format!("${}", n + 1), &literal);
        }
        text
    }
}

const BY_TYPE: &str = "SELECT fact.kind, COUNT(*), CAST(SUM(fact.damage) AS BIGINT), CAST(SUM(fact.recovered) AS BIGINT) FROM fact \
                       WHERE {} GROUP BY fact.kind ORDER BY fact.kind";
const IN_COURT: &str = "SELECT fact.kind, COUNT(*) FROM fact WHERE {} AND fact.state IN ('in-court', 'sentenced') \
                        GROUP BY fact.kind ORDER BY fact.kind";
const PERSONS: &str = "SELECT person.kind, COUNT(DISTINCT person.id) FROM person \
                       JOIN member AS he ON he.node = 'person' AND he.node_id = person.id \
                       JOIN member AS it ON it.node = 'fact' AND it.case_group = he.case_group JOIN fact ON fact.id = it.node_id \
                       WHERE {} AND person.kind <> 'victim' AND fact.state IN ('in-court', 'sentenced') \
                       GROUP BY person.kind ORDER BY person.kind";
const GROUPS: &str = "SELECT it.case_group, COUNT(*) FROM member AS it JOIN fact ON fact.id = it.node_id \
                      WHERE it.node = 'fact' AND {} GROUP BY it.case_group ORDER BY COUNT(*) DESC";
const SEIZURES: &str = "SELECT seized.item, COUNT(*) FROM seized JOIN seizure ON seizure.id = seized.seizure \
                        JOIN fact ON fact.id = seizure.fact WHERE {} GROUP BY seized.item ORDER BY seized.item";
const ALL_SEIZURES: &str =
    "SELECT item, COUNT(*) FROM seized WHERE at_ms < $1 AND at_ms >= $2 GROUP BY item ORDER BY item";
const CENTRES: &str = "SELECT COUNT(DISTINCT centre.id) FROM centre JOIN centre_fact ON centre_fact.centre = centre.id \
                       JOIN fact ON fact.id = centre_fact.fact WHERE {} AND centre.state = 'confirmed'";
const ALL_CENTRES: &str =
    "SELECT COUNT(*) FROM centre WHERE at_ms < $1 AND at_ms >= $2 AND state = 'confirmed'";
const REPORTS: &str =
    "SELECT kind, COUNT(*) FROM report WHERE at_ms < $1 AND at_ms >= $2 GROUP BY kind ORDER BY kind";
const FACTS: &str = "SELECT COUNT(*) FROM fact WHERE {}";

impl Unit<'_> {
    async fn asked(&mut self, question: &Question) -> Result<Vec<sqlx::any::AnyRow>, Fault> {
        self.select(question.sql.clone(), question.values.clone()).await
    }

    /// Counts rows of a name and a number, and all of them together.
    async fn counted(
        &mut self,
        measure: Measure,
        question: Question,
        period: Period,
    ) -> Result<Vec<Figure>, Fault> {
        let query = question.shown();
        let figure = |of: String, value| Figure { measure, of, period, value, query: query.clone() };
        let mut figures = vec![figure(String::new(), 0)];
        for row in self.asked(&question).await? {
            let value: i64 = row.try_get(1)?;
            figures[0].value += value;
            figures.push(figure(row.try_get(0)?, value));
        }
        Ok(figures)
    }

    /// Facts, and the money of each type.
    async fn of_types(&mut self, question: Question, period: Period) -> Result<Vec<Figure>, Fault> {
        let query = question.shown();
        let rows = self.asked(&question).await?;
        let mut figures = Vec::new();
        for (column, measure) in [(1, Measure::Facts), (2, Measure::Damage), (3, Measure::Recovered)] {
            let figure = |of: String, value| Figure { measure, of, period, value, query: query.clone() };
            let first = figures.len();
            figures.push(figure(String::new(), 0));
            for row in &rows {
                let value: i64 = row.try_get(column)?;
                figures[first].value += value;
                figures.push(figure(row.try_get(0)?, value));
            }
        }
        Ok(figures)
    }

    /// Of a region or a type, what hangs on its facts; else what is of the period by its own days.
    fn of_facts_or_days(
        wanted: &Wanted,
        bounds: (Option<i64>, i64),
        of_facts: &str,
        of_days: &str,
    ) -> Question {
        match wanted.region.is_some() || wanted.kind.is_some() {
            true => Question::of_facts(of_facts, wanted, bounds),
            false => Question {
                sql: of_days.to_owned(),
                values: vec![Value::Int(bounds.1), Value::Int(bounds.0.unwrap_or(i64::MIN))],
            },
        }
    }

    /// Seizures of before they were counted: opened once.
    async fn count_older_seizures(&mut self) -> Result<(), Fault> {
        let older = "SELECT seizure.id, seizure.sealed FROM seizure LEFT JOIN seized ON seized.seizure = seizure.id \
                     WHERE seized.seizure IS NULL";
        let mut counted = Vec::new();
        for row in self.select(older, Vec::new()).await? {
            let id: i64 = row.try_get(0)?;
            let seizure = self.open(&format!("seizure {id}"), &row.try_get::<String, _>(1)?)?;
            let seizure: Seizure =
                serde_json::from_str(&seizure).map_err(|_| strange("a seizure of another version"))?;
            counted.push([id.into(), seizure.item.name().into(), seizure.at_ms.into()]);
        }
        let insert = "INSERT INTO seized (seizure, item, at_ms)";
        rows::insert(&mut self.tx, insert, counted, "ON CONFLICT (seizure) DO NOTHING").await
    }

    pub(super) async fn statistics(&mut self, wanted: &Wanted, zone: &TimeZone) -> Result<Statistics, Fault> {
        self.count_older_seizures().await?;
        let (period, bounds) = (wanted.period, wanted.bounds(wanted.period, zone)?);
        let over = |sql: &str| Question::of_facts(sql, wanted, bounds);
        let mut figures = self.of_types(over(BY_TYPE), period).await?;
        figures.extend(self.counted(Measure::FactsInCourt, over(IN_COURT), period).await?);
        figures.extend(self.counted(Measure::PersonsBroughtToAccount, over(PERSONS), period).await?);
        let question = over(GROUPS);
        let query = question.shown();
        let groups = self.asked(&question).await?;
        let largest = groups.first().map_or(Ok(0), |row| row.try_get::<i64, _>(1))?;
        for (measure, value) in [(Measure::Groups, groups.len() as i64), (Measure::LargestGroup, largest)] {
            figures.push(Figure { measure, of: String::new(), period, value, query: query.clone() });
        }
        let seized = Self::of_facts_or_days(wanted, bounds, SEIZURES, ALL_SEIZURES);
        figures.extend(self.counted(Measure::Seizures, seized, period).await?);
        let centres = Self::of_facts_or_days(wanted, bounds, CENTRES, ALL_CENTRES);
        let value = self.asked(&centres).await?[0].try_get(0)?;
        let (measure, query) = (Measure::CallCentres, centres.shown());
        figures.push(Figure { measure, of: String::new(), period, value, query });
        // A report is of no region and no type.
        if wanted.region.is_none() && wanted.kind.is_none() {
            let values = vec![Value::Int(bounds.1), Value::Int(bounds.0.unwrap_or(0))];
            let question = Question { sql: REPORTS.to_owned(), values };
            figures.extend(self.counted(Measure::Reports, question, period).await?);
        }
        let mut years = Vec::new();
        for before in (0..=i16::from(wanted.years)).rev() {
            let Some(period) = period.years_before(before) else { continue };
            let question = Question::of_facts(FACTS, wanted, wanted.bounds(period, zone)?);
            years.push((period, self.asked(&question).await?[0].try_get(0)?));
        }
        Ok(Statistics { wanted: wanted.clone(), figures, years: growth(&years) })
    }
}

impl Store {
    /// For whoever has the register's file or URL, and its keys.
    pub async fn statistics(&self, settings: &Settings, wanted: &Wanted) -> Result<Statistics, Fault> {
        let mut unit = self.begin(&settings.vault, false).await?;
        let statistics = unit.statistics(wanted, &settings.days.zone).await?;
        unit.commit().await?;
        Ok(statistics)
    }
}

impl Statistics {
    /// The years as bars.
    pub fn svg(&self, language: Language) -> String {
        chart(&self.wanted.title(language), &self.years)
    }

    /// In a form that HTTP asks for; what is no JSON as a JSON string.
    pub(super) fn in_form(&self, form: Form) -> Json {
        match form {
            Form::Json => self.json(),
            Form::Csv => json!(self.csv()),
            Form::Svg(language) => json!(self.svg(language)),
        }
    }

    pub fn csv(&self) -> String {
        csv(&self.figures, self.wanted.is_cumulative)
    }

    pub fn json(&self) -> Json {
        let of = |figure: &Figure| {
            let value = match figure.measure.is_money() {
                true => json!(figure.shown()),
                false => json!(figure.value),
            };
            json!({"measure": figure.measure.name(), "of": figure.of, "value": value, "query": figure.query})
        };
        let year = |year: &Year| {
            json!({"from": year.period.from.to_string(), "until": year.period.until.to_string(), "facts": year.facts,
                   "growth": year.growth})
        };
        let Wanted { period, is_cumulative, region, kind, .. } = &self.wanted;
        json!({
            "from": period.from.to_string(),
            "until": period.until.to_string(),
            "cumulative": is_cumulative,
            "region": region,
            "type": kind.map(FactKind::name),
            "figures": self.figures.iter().map(of).collect::<Vec<_>>(),
            "years": self.years.iter().map(year).collect::<Vec<_>>(),
        })
    }
}
