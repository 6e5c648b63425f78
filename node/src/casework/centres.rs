//! Call centres: clusters that hunting found, kept once however often they are found again, tied to the facts whose victims they
//! called. A person confirms or dismisses each; a head says that the numbers of a confirmed one are a fraudster's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ::casework::{
    Act, CentreState, CentreTold, FoundCentre, Identifier, IdentifierKind, Place, Right, Units, known_as,
    read_centres,
};
use journal::file_hash;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::asked::{CentreJudged, CentreNumbers};
use super::events::By;
use super::identifiers::shown;
use super::import::{Importer, at_command_line, refuse};
use super::office::{Done, Round, invalid, problem, text};
use super::store::Unit;
use crate::config::Casework as Settings;
use crate::database::rows::Value;
use crate::database::{Fault, strange};
use crate::http::Kind;
use crate::loans::view::time;

pub(super) const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS centre (id BIGINT PRIMARY KEY, unit TEXT NOT NULL, state TEXT NOT NULL, at_ms BIGINT NOT NULL, \
     who TEXT NOT NULL, sealed TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS centre_holds (centre BIGINT NOT NULL, identifier BIGINT NOT NULL, PRIMARY KEY (centre, identifier))",
    "CREATE TABLE IF NOT EXISTS centre_fact (centre BIGINT NOT NULL, fact BIGINT NOT NULL, PRIMARY KEY (centre, fact))",
];

const SELECT: &str = "SELECT id, unit, state, at_ms, who, sealed FROM centre";
/// Centres in one list.
const MOST: usize = 1000;

/// What of a centre is sealed.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    told: CentreTold,
    /// SHA-256 of the files of clusters that it came in.
    sources: BTreeSet<String>,
}

struct Centre {
    id: i64,
    unit: String,
    state: CentreState,
    at_ms: i64,
    who: String,
    sealed: String,
}

fn subject(id: i64) -> String {
    format!("centre {id}")
}

impl Centre {
    fn of(row: &AnyRow) -> Result<Centre, Fault> {
        let state = CentreState::from_name(&row.try_get::<String, _>(2)?);
        Ok(Centre {
            id: row.try_get(0)?,
            unit: row.try_get(1)?,
            state: state.ok_or_else(|| strange("a call centre of another version"))?,
            at_ms: row.try_get(3)?,
            who: row.try_get(4)?,
            sealed: row.try_get(5)?,
        })
    }

    fn place(&self) -> Place<'_> {
        Place { unit: &self.unit, ..Place::default() }
    }
}

/// What came of a file of clusters.
#[derive(Default, Serialize)]
pub struct CentresImported {
    /// Ids of centres that nobody had found yet.
    pub new: Vec<i64>,
    /// Of those that were known, and have more now: numbers, telephones, trunks, days, evidence or facts.
    pub grown: Vec<i64>,
    /// Known with all of it.
    pub already_there: usize,
    /// Facts named as called that the register does not have, or that are not for who imports.
    pub facts_not_known: usize,
}

impl Unit<'_> {
    async fn import_centres(
        &mut self,
        settings: &Settings,
        file: &[u8],
        importer: &Importer<'_>,
    ) -> Done<CentresImported> {
        let found = match std::str::from_utf8(file) {
            Ok(text) => read_centres(text, &settings.plan).or_else(refuse)?,
            Err(_) => return refuse(vec!["it is not UTF-8".to_owned()]),
        };
        let unit = match importer.unit {
            Some(unit) if !unit.is_empty() && !unit.contains(char::is_whitespace) => unit,
            _ => return invalid("unit: name one without spaces: whose the centres are"),
        };
        if !importer.units.hold(unit) {
            return invalid(format!("unit: \"{unit}\" is none of yours"));
        }
        let mut known = self.numbers_of_centres(unit).await?;
        let facts = self.facts_called(&found, importer).await?;
        let named: BTreeSet<&String> = found.iter().flat_map(|centre| &centre.called).collect();
        let mut imported =
            CentresImported { facts_not_known: named.len() - facts.len(), ..CentresImported::default() };
        let source = file_hash(file);
        for centre in &found {
            let all: Vec<&Identifier> = centre.numbers.iter().chain(&centre.devices).collect();
            let ids = self.keep_identifiers(&all).await?;
            let numbers: BTreeSet<i64> = centre.numbers.iter().map(|number| ids[number]).collect();
            let same = known_as(&numbers, &known);
            let id = match same {
                Some(id) => id,
                None => self.last_id("centre").await? + 1,
            };
            let called: BTreeSet<i64> =
                centre.called.iter().filter_map(|number| facts.get(number).copied()).collect();
            let held = ids.into_values().collect();
            let has_grown =
                self.keep_centre(id, same.is_none(), unit, centre, (held, called), &source, importer.by);
            match (has_grown.await?, same) {
                (_, None) => imported.new.push(id),
                (true, _) if !imported.grown.contains(&id) => imported.grown.push(id),
                (true, _) => {}
                (false, _) => imported.already_there += 1,
            }
            known.entry(id).or_default().extend(numbers);
        }
        Ok(imported)
    }

    /// Keeps a cluster as a new centre, or what of it is news to the one it is. Says whether anything was.
    #[allow(clippy::too_many_arguments)]
    async fn keep_centre(
        &mut self,
        id: i64,
        is_new: bool,
        unit: &str,
        found: &FoundCentre,
        (held, called): (BTreeSet<i64>, BTreeSet<i64>),
        source: &str,
        by: By<'_>,
    ) -> Done<bool> {
        let mut kept = Kept::default();
        if !is_new {
            let rows = self.select(format!("{SELECT} WHERE id = $1"), vec![id.into()]).await?;
            let centre = Centre::of(rows.first().ok_or_else(|| strange("a call centre that is gone"))?)?;
            kept = self.kept_of(&centre)?;
        }
        let (had_held, had_called) = (self.held_by(id).await?, self.called_by(id).await?);
        let held: Vec<i64> = held.difference(&had_held).copied().collect();
        let called: Vec<i64> = called.difference(&had_called).copied().collect();
        let before = kept.told.clone();
        kept.told.grow(&found.told);
        if !is_new && held.is_empty() && called.is_empty() && kept.told == before {
            return Ok(false);
        }
        kept.sources.insert(source.to_owned());
        let sealed = self.seal(&subject(id), &serde_json::to_string(&kept).expect("plain values"));
        if is_new {
            let state = CentreState::Proposed.name();
            let row = [id.into(), unit.into(), state.into(), by.now_ms.into(), by.who.into(), sealed.into()];
            self.insert("INSERT INTO centre (id, unit, state, at_ms, who, sealed)", vec![row]).await?;
        } else {
            let sql = "UPDATE centre SET sealed = $1 WHERE id = $2";
            self.run(sql, vec![sealed.into(), id.into()]).await?;
        }
        let body = json!({"source": source, "identifiers": held.len(), "facts": called.clone()});
        let pairs = |ids: Vec<i64>| {
            ids.into_iter().map(|other| [id.into(), other.into()]).collect::<Vec<[Value; 2]>>()
        };
        self.insert("INSERT INTO centre_holds (centre, identifier)", pairs(held)).await?;
        self.insert("INSERT INTO centre_fact (centre, fact)", pairs(called)).await?;
        let event = if is_new { "centre_found" } else { "centre_grown" };
        self.happened(&subject(id), event, by, &body).await?;
        Ok(true)
    }

    /// The phones of each centre of a unit.
    async fn numbers_of_centres(&mut self, unit: &str) -> Result<BTreeMap<i64, BTreeSet<i64>>, Fault> {
        let sql = "SELECT centre.id, centre_holds.identifier FROM centre JOIN centre_holds ON centre_holds.centre = centre.id \
                   JOIN identifier ON identifier.id = centre_holds.identifier WHERE centre.unit = $1 AND identifier.kind = 'phone'";
        let mut known: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for row in self.select(sql, vec![unit.into()]).await? {
            known.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?);
        }
        Ok(known)
    }

    /// Facts that clusters name as called, of those that are for who imports.
    async fn facts_called(
        &mut self,
        found: &[FoundCentre],
        importer: &Importer<'_>,
    ) -> Result<BTreeMap<String, i64>, Fault> {
        let named: BTreeSet<&String> = found.iter().flat_map(|centre| &centre.called).collect();
        let named = named.into_iter().map(|number| Value::from(number.as_str()));
        let mut facts = BTreeMap::new();
        for row in self.select_in("SELECT number, id, unit FROM fact WHERE number", named).await? {
            if importer.units.hold(&row.try_get::<String, _>(2)?) {
                facts.insert(row.try_get(0)?, row.try_get(1)?);
            }
        }
        Ok(facts)
    }

    async fn ids(&mut self, sql: &str, id: i64) -> Result<BTreeSet<i64>, Fault> {
        let rows = self.select(sql, vec![id.into()]).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    async fn held_by(&mut self, id: i64) -> Result<BTreeSet<i64>, Fault> {
        self.ids("SELECT identifier FROM centre_holds WHERE centre = $1", id).await
    }

    async fn called_by(&mut self, id: i64) -> Result<BTreeSet<i64>, Fault> {
        self.ids("SELECT fact FROM centre_fact WHERE centre = $1", id).await
    }

    fn kept_of(&self, centre: &Centre) -> Result<Kept, Fault> {
        let kept = self.open(&subject(centre.id), &centre.sealed)?;
        serde_json::from_str(&kept).map_err(|_| strange("a call centre of another version"))
    }
}

impl Round<'_> {
    pub(super) async fn import_centres(&mut self, file: &[u8], unit: Option<&str>) -> Done<(u16, Json)> {
        self.allow_ever(Act::ImportCentres, "centres")?;
        let unit = unit.or(self.client.units.only());
        let importer = Importer { by: self.by(), units: &self.client.units, unit };
        let imported = self.unit.import_centres(self.settings, file, &importer).await?;
        for id in imported.new.iter().chain(&imported.grown) {
            self.saw(Act::ImportCentres, subject(*id));
        }
        self.saw(Act::ImportCentres, format!("{} centres", imported.new.len()));
        Ok((201, json!(imported)))
    }

    /// Those that the client may see, the newest first.
    pub(super) async fn centres(&mut self, state: Option<CentreState>) -> Done<(u16, Json)> {
        self.allow_ever(Act::SeeCentre, "centres")?;
        self.saw(Act::SeeCentre, "centres");
        let rows = self.unit.select(format!("{SELECT} ORDER BY id DESC"), Vec::new()).await?;
        let mut told = Vec::new();
        for row in &rows {
            let centre = Centre::of(row)?;
            let is_seen = self.client.reader().may(Act::SeeCentre, Some(centre.place())) == Right::Allowed;
            if !is_seen || state.is_some_and(|state| state != centre.state) || told.len() == MOST {
                continue;
            }
            self.saw(Act::SeeCentre, subject(centre.id));
            told.push(self.shown_of_centre(&centre, false).await?);
        }
        Ok((200, json!({"centres": told})))
    }

    pub(super) async fn see_centre(&mut self, id: i64) -> Done<(u16, Json)> {
        let centre = self.one_centre(Act::SeeCentre, id).await?;
        Ok((200, self.shown_of_centre(&centre, true).await?))
    }

    /// A person confirms a centre or dismisses it, and may think otherwise later: each an event.
    pub(super) async fn judge_centre(&mut self, id: i64, asked: &CentreJudged) -> Done<(u16, Json)> {
        let centre = self.one_centre(Act::JudgeCentre, id).await?;
        let why = text("why", &asked.why)?;
        let state = asked.state;
        if state == CentreState::Proposed {
            return invalid("state: confirmed or dismissed");
        }
        if state == centre.state {
            return problem(Kind::WrongState, format!("it is {} already", state.name()));
        }
        if state == CentreState::Dismissed && self.fed_of(id).await? > 0 {
            let what = "numbers of it are confirmed as a fraudster's: take that back first";
            return problem(Kind::WrongState, what);
        }
        let sql = "UPDATE centre SET state = $1 WHERE id = $2";
        self.unit.run(sql, vec![state.name().into(), id.into()]).await?;
        let event = format!("centre_{}", state.name());
        self.unit.happened(&subject(id), &event, self.by(), &json!({"why": why})).await?;
        self.shown_centre(id).await
    }

    /// A head says of all numbers of a confirmed centre that they are a fraudster's, or takes that back.
    pub(super) async fn confirm_centre(&mut self, id: i64, asked: &CentreNumbers) -> Done<(u16, Json)> {
        let centre = self.one_centre(Act::ConfirmIdentifier, id).await?;
        let why = text("why", &asked.why)?;
        if asked.confirmed && centre.state != CentreState::Confirmed {
            return problem(Kind::WrongState, "confirm the call centre first");
        }
        let held = self.unit.held_by(id).await?;
        let (mut changed, mut as_before) = (0, 0);
        for (number, identifier) in BTreeMap::from_iter(self.unit.identifiers(held).await?) {
            if identifier.kind() != IdentifierKind::Phone {
                continue;
            }
            self.saw(Act::ConfirmIdentifier, self.named(&identifier));
            match self.say_confirmed(number, asked.confirmed, why).await? {
                Some(_) => changed += 1,
                None => as_before += 1,
            }
        }
        let event = if asked.confirmed { "numbers_confirmed" } else { "numbers_retracted" };
        let body = json!({"numbers": changed, "why": why});
        self.unit.happened(&subject(id), event, self.by(), &body).await?;
        Ok((200, json!({"id": id, "confirmed": asked.confirmed, "changed": changed, "as_before": as_before})))
    }

    /// How many of a centre's identifiers stand as a fraudster's.
    async fn fed_of(&mut self, id: i64) -> Done<i64> {
        let sql = "SELECT COUNT(*) FROM confirmation WHERE confirmed = 1 AND n IN (SELECT MAX(last.n) FROM confirmation AS last \
                   JOIN centre_holds ON centre_holds.identifier = last.identifier WHERE centre_holds.centre = $1 GROUP BY last.identifier)";
        Ok(self.unit.select(sql, vec![id.into()]).await?[0].try_get(0)?)
    }

    async fn one_centre(&mut self, act: Act, id: i64) -> Done<Centre> {
        let rows = self.unit.select(format!("{SELECT} WHERE id = $1"), vec![id.into()]).await?;
        let found = rows.first().map(Centre::of).transpose()?;
        self.allow(act, found.as_ref().map(Centre::place), subject(id))?;
        Ok(found.expect("what is not there is not allowed"))
    }

    async fn shown_centre(&mut self, id: i64) -> Done<(u16, Json)> {
        let rows = self.unit.select(format!("{SELECT} WHERE id = $1"), vec![id.into()]).await?;
        let Some(row) = rows.first() else { return invalid("no such centre") };
        Ok((200, self.shown_of_centre(&Centre::of(row)?, true).await?))
    }

    async fn shown_of_centre(&mut self, centre: &Centre, is_whole: bool) -> Done<Json> {
        let id = centre.id;
        let Kept { told, sources } = self.unit.kept_of(centre)?;
        let called = self.unit.called_by(id).await?;
        let (mut facts, mut elsewhere) = (Vec::new(), 0);
        for fact in self.unit.facts(called).await? {
            match self.client.reader().may(Act::SeeFact, Some(fact.place())) {
                Right::Allowed => facts.push(fact.id),
                _ => elsewhere += 1,
            }
        }
        facts.sort_unstable();
        let groups = "SELECT DISTINCT member.case_group FROM member JOIN centre_fact ON centre_fact.fact = member.node_id \
                      WHERE member.node = 'fact' AND centre_fact.centre = $1";
        let groups = self.unit.ids(groups, id).await?;
        let held = self.unit.held_by(id).await?;
        let mut shown_centre = json!({
            "id": id,
            "unit": centre.unit,
            "state": centre.state.name(),
            "time": time(centre.at_ms),
            "who": centre.who,
            "from": told.days.as_ref().map(|days| &days.0),
            "until": told.days.as_ref().map(|days| &days.1),
            "evidence": told.evidence,
            "trunks": told.trunks,
            "identifiers": held.len(),
            "facts": facts,
            "elsewhere": elsewhere,
            "groups": groups,
        });
        if is_whole {
            let mut identifiers: Vec<Identifier> = self.unit.identifiers(held).await?.into_values().collect();
            identifiers.sort();
            shown_centre["identifiers"] = identifiers.iter().map(shown).collect();
            shown_centre["sources"] = json!(sources);
            shown_centre["records"] = json!(told.records);
            shown_centre["confirmed_numbers"] = json!(self.fed_of(id).await?);
            shown_centre["events"] = json!(self.unit.events(&subject(id)).await?);
        }
        Ok(shown_centre)
    }
}

/// `qalqan case centres import`.
pub async fn import_centres(
    settings: &Settings,
    path: &Path,
    unit: Option<&str>,
) -> Result<CentresImported, String> {
    at_command_line(settings, path, async |work, file, by| {
        let importer = Importer { by, units: &Units::All, unit };
        let imported = work.import_centres(settings, file, &importer).await?;
        let look = format!("{} centres", imported.new.len());
        Ok((imported, Act::ImportCentres, look))
    })
    .await
}
