//! A file of facts into the register: the whole or nothing, and every fault of every row told.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use ::casework::{Fact, Identifier, Reading, Units, import};
use journal::{hex, sha256};
use lending::Use;
use serde_json::{Value as Json, json};
use sqlx::Row;

use super::events::By;
use super::facts::{Kept, subject};
use super::office::{Done, Round, Stop};
use super::store::{Store, Unit};
use crate::config::Casework as Settings;
use crate::config::explain_io;
use crate::database::rows::Value;
use crate::http::{Kind, Problem};
use crate::store::now_ms;

/// What came of a file.
pub struct Imported {
    pub new: usize,
    /// Facts that were there already, with the same content.
    pub known: usize,
}

/// Whose facts they are.
pub(super) struct Importer<'i> {
    pub by: By<'i>,
    pub units: &'i Units,
    /// Of facts that name none.
    pub unit: Option<&'i str>,
}

const FACT: &str = "INSERT INTO fact (id, number, kind, at_ms, region, unit, assigned, state, damage, recovered, victim, \
                    victim_phone, content, sealed)";

/// What is said of a file of which nothing is taken.
pub(super) fn refuse<T>(faults: Vec<String>) -> Done<T> {
    let what = format!("{} faults, and nothing was taken", faults.len());
    Err(Stop::Problem(Problem { faults, ..Problem::new(Kind::BadRows, what) }))
}

/// SHA-256 of all that a file says of a fact: the same again is no news.
fn content(fact: &Fact) -> String {
    let identifiers: Vec<(&str, &str)> =
        fact.identifiers.iter().map(|one| (one.kind().name(), one.reveal())).collect();
    let content = json!([
        fact.number,
        fact.kind.name(),
        fact.at_ms,
        fact.region,
        fact.unit,
        fact.method,
        fact.victim.map(lending::Iin::reveal),
        fact.victim_phone.as_ref().map(Identifier::reveal),
        fact.damage,
        fact.recovered,
        fact.proceedings.name(),
        fact.source,
        identifiers,
    ])
    .to_string();
    hex(&sha256(content.as_bytes()))
}

impl Unit<'_> {
    pub(super) async fn import(
        &mut self,
        settings: &Settings,
        file: &[u8],
        importer: &Importer<'_>,
    ) -> Done<Imported> {
        let (plan, iin, zone) = (&settings.plan, &settings.rulebook.iin, &settings.days.zone);
        let reading = Reading { plan, iin, zone, now_ms: importer.by.now_ms };
        let mut facts = match import(file, &reading) {
            Ok(facts) => facts,
            Err(bad) => return refuse(bad.iter().map(ToString::to_string).collect()),
        };
        let mut faults = Vec::new();
        for fact in &mut facts {
            if fact.unit.is_empty() {
                fact.unit = importer.unit.unwrap_or_default().to_owned();
            }
            match fact.unit.as_str() {
                "" => faults.push(format!("fact {}: unit: it names none, and none was said", fact.number)),
                unit if unit.contains(char::is_whitespace) => {
                    faults.push(format!("fact {}: unit: it has a space in it", fact.number));
                }
                unit if !importer.units.hold(unit) => {
                    faults.push(format!("fact {}: unit: \"{unit}\" is none of yours", fact.number));
                }
                _ => {}
            }
        }
        let known = self.known_facts(&facts, &mut faults).await?;
        if !faults.is_empty() {
            return refuse(faults);
        }
        facts.retain(|fact| !known.contains(&fact.number));
        let imported = Imported { new: facts.len(), known: known.len() };
        if !facts.is_empty() {
            self.insert_facts(&facts, importer.by).await?;
            self.changed().await?;
        }
        Ok(imported)
    }

    /// Numbers that the register has with the same content; a fault for each that it has with another.
    async fn known_facts(&mut self, facts: &[Fact], faults: &mut Vec<String>) -> Done<HashSet<String>> {
        let by_number: HashMap<&str, &Fact> = facts.iter().map(|fact| (fact.number.as_str(), fact)).collect();
        let numbers: Vec<Value> = facts.iter().map(|fact| fact.number.as_str().into()).collect();
        let mut known = HashSet::new();
        for row in self.select_in("SELECT number, content FROM fact WHERE number", numbers).await? {
            let (number, kept): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            match self.vault.is_mac(Use::Index, content(by_number[number.as_str()]).as_bytes(), &kept) {
                true => drop(known.insert(number)),
                false => faults.push(format!(
                    "fact {number}: number: the register has it with another content; its state and what was recovered are \
                     changed there"
                )),
            }
        }
        Ok(known)
    }

    async fn insert_facts(&mut self, facts: &[Fact], by: By<'_>) -> Done<()> {
        let first = self.last_id("fact").await? + 1;
        let mut seen = HashSet::new();
        let all =
            facts.iter().flat_map(|fact| &fact.identifiers).filter(|identifier| seen.insert(*identifier));
        let all: Vec<&Identifier> = all.collect();
        let ids = self.keep_identifiers(&all).await?;
        let (mut rows, mut held): (Vec<[Value; 14]>, Vec<[Value; 3]>) = Default::default();
        for (id, fact) in (first..).zip(facts) {
            let victim = fact.victim.map(lending::Iin::reveal);
            let victim_phone = fact.victim_phone.as_ref().map(|phone| phone.reveal().to_owned());
            let hash = |text: &Option<String>| Value::MaybeText(text.as_deref().map(|text| self.hash(text)));
            let (victim_hash, phone_hash) = (hash(&victim), hash(&victim_phone));
            let content = content(fact);
            let content_hash = self.hash(&content);
            let (method, source) = (fact.method.clone(), fact.source.clone());
            let kept = Kept { method, source, victim, victim_phone, content };
            let kept = serde_json::to_string(&kept).expect("plain values");
            let sum = |sum: Option<lending::Sum>| Value::Int(sum.unwrap_or_default().hundredths());
            rows.push([
                id.into(),
                fact.number.as_str().into(),
                fact.kind.name().into(),
                fact.at_ms.into(),
                fact.region.as_str().into(),
                fact.unit.as_str().into(),
                Value::MaybeText(None),
                fact.proceedings.name().into(),
                sum(fact.damage),
                sum(fact.recovered),
                victim_hash,
                phone_hash,
                content_hash.into(),
                self.seal(&subject(id), &kept).into(),
            ]);
            // A file's row names an identifier once: its reader sees to that.
            held.extend(fact.identifiers.iter().map(|one| ["fact".into(), id.into(), ids[one].into()]));
        }
        self.insert(FACT, rows).await?;
        self.insert("INSERT INTO held (node, node_id, identifier)", held).await?;
        let subjects = (first..).take(facts.len()).map(subject);
        Ok(self.all_happened(subjects, "fact_registered", by).await?)
    }
}

impl Round<'_> {
    pub(super) async fn import(&mut self, file: &[u8], unit: Option<&str>) -> Done<(u16, Json)> {
        let unit = unit.or(self.client.units.only());
        let importer = Importer { by: self.by(), units: &self.client.units, unit };
        let Imported { new, known } = self.unit.import(self.settings, file, &importer).await?;
        self.saw(::casework::Act::ImportFacts, format!("{new} facts"));
        Ok((201, json!({"registered": new, "already_there": known})))
    }
}

/// `qalqan case import`: the register need not be asked by HTTP for it, and may be in use meanwhile.
pub async fn import_file(settings: &Settings, path: &Path, unit: Option<&str>) -> Result<Imported, String> {
    at_command_line(settings, path, async |work, file, by| {
        let imported = work.import(settings, file, &Importer { by, units: &Units::All, unit }).await?;
        let look = format!("{} facts", imported.new);
        Ok((imported, ::casework::Act::ImportFacts, look))
    })
    .await
}

/// Takes a file in whole, with a look of the command line's, or not at all; the error has every fault.
pub(super) async fn at_command_line<T>(
    settings: &Settings,
    path: &Path,
    take: impl AsyncFnOnce(&mut Unit<'_>, &[u8], By<'_>) -> Done<(T, ::casework::Act, String)>,
) -> Result<T, String> {
    let shown = path.display();
    let file = std::fs::read(path).map_err(|error| format!("{shown}: {}", explain_io(&error)))?;
    let store = Store::open(&settings.store).await.map_err(|fault| fault.to_string())?;
    let by = By { who: "command-line", now_ms: now_ms() };
    let done = async {
        let mut work = store.begin(&settings.vault, true).await?;
        let (taken, act, subject) = take(&mut work, &file, by).await?;
        let (who, what) = (by.who.to_owned(), act.name().to_owned());
        work.keep_looks(&[super::Look { at_ms: by.now_ms, who, what, subject, was_refused: false }]).await?;
        work.commit().await?;
        Ok(taken)
    };
    done.await.map_err(|stop: Stop| match stop {
        Stop::Problem(problem) if problem.faults.is_empty() => format!("{shown}: {}", problem.detail),
        Stop::Problem(problem) => {
            let lines = problem.faults.iter().map(|fault| format!("{shown}: {fault}"));
            lines.chain([format!("{shown}: nothing was taken")]).collect::<Vec<_>>().join("\n")
        }
        Stop::Store(fault) => fault.to_string(),
        Stop::Refused(refused) => refused.problem().detail,
    })
}
