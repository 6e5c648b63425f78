//! What a package holds, for a judge or an investigator to read: a PDF in each language, made of the package's own files.

mod centres;
mod custody;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ::casework::{FactKind, IdentifierKind, PersonKind, Proceedings};
use call::{Reason, Rule};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use lending::Sum;
use rules::{Language, reason_in_words, rule_title, word};
use screening::Basis;
use serde_json::Value;

use super::paper::{About, Font, Paper};
use super::{DECISIONS, IN_FORCE, MANIFEST, Manifest, at};
use crate::config::Evidence;

/// The fonts of reports.
pub struct Fonts {
    regular: Font,
    bold: Font,
}

impl Fonts {
    pub fn read(settings: &Evidence) -> Result<Fonts, String> {
        Ok(Fonts { regular: Font::read(&settings.font)?, bold: Font::read(&settings.bold)? })
    }
}

/// The name of a report in its package.
pub fn file_name(language: Language) -> String {
    format!("report.{}.pdf", language.code())
}

fn is_report(name: &str) -> bool {
    Language::ALL.into_iter().any(|language| file_name(language) == name)
}

/// The report of a package that lies there, as it was packed with it.
pub fn of_package(place: &Path, language: Language, fonts: &Fonts) -> Result<Vec<u8>, String> {
    let path = place.join(MANIFEST);
    let bytes = at(&path, fs::read(&path))?;
    let manifest = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{}: no manifest of a package: {error}", path.display()))?;
    report(place, &manifest, language, fonts)
}

/// Made of the files at a place, and what the manifest says of them: the same package, the same bytes.
pub(super) fn report(
    place: &Path,
    manifest: &Manifest,
    language: Language,
    fonts: &Fonts,
) -> Result<Vec<u8>, String> {
    let offset = Offset::from_seconds(manifest.utc_offset_min * 60).unwrap_or(Offset::UTC);
    let mut writer = Writer {
        manifest,
        language,
        zone: TimeZone::fixed(offset),
        cases: cases(place, manifest)?,
        paper: Paper::new(&fonts.regular, &fonts.bold),
    };
    let title = format!("{} {}", writer.word("title"), manifest.package);
    writer.paper.title(&title);
    writer.about();
    writer.groups();
    writer.centres();
    writer.facts();
    writer.persons();
    writer.identifiers();
    writer.links();
    writer.seizures();
    writer.decisions(place)?;
    writer.records();
    writer.in_force(place)?;
    writer.check();
    writer.annex();
    let time = manifest.time.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let foot = format!("{title} · {}", writer.time(&manifest.time));
    writer.paper.finish(&About { title: &title, language: language.code(), time, foot: &foot })
}

/// What the register showed: kind, id, and itself, in their order.
fn cases(place: &Path, manifest: &Manifest) -> Result<Vec<(String, i64, Value)>, String> {
    let mut cases = Vec::new();
    for file in &manifest.files {
        let name = file.name.strip_prefix("register/").and_then(|name| name.strip_suffix(".json"));
        let Some((kind, id)) = name.and_then(|name| name.rsplit_once('-')) else { continue };
        let path = place.join(&file.name);
        let case: Value = serde_json::from_slice(&at(&path, fs::read(&path))?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        cases.push((kind.to_owned(), id.parse().unwrap_or_default(), case));
    }
    cases.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    Ok(cases)
}

struct Writer<'r> {
    manifest: &'r Manifest,
    language: Language,
    zone: TimeZone,
    cases: Vec<(String, i64, Value)>,
    paper: Paper<'r>,
}

fn list(of: &Value) -> impl Iterator<Item = &Value> {
    of.as_array().into_iter().flatten()
}

fn text(of: &Value) -> String {
    match of {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Thousands apart: 1 250 000.00.
fn money(of: &Value) -> String {
    let sum = text(of);
    let (whole, part) = sum.split_once('.').unwrap_or((&sum, ""));
    let mut shown = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n) % 3 == 0 && shown != "-" {
            shown.push('\u{a0}');
        }
        shown.push(digit);
    }
    if part.is_empty() { shown } else { format!("{shown}.{part}") }
}

impl Writer<'_> {
    fn word(&self, key: &str) -> &'static str {
        word(self.language, &format!("evidence-{key}"))
    }

    /// A word of a kind such as `fact-bank-call`; of a kind that another version knows, its name.
    fn named(&self, table: &str, is_known: fn(&str) -> bool, name: &str) -> String {
        match is_known(name) {
            true => word(self.language, &format!("{table}-{name}")).to_owned(),
            false => name.to_owned(),
        }
    }

    fn time(&self, moment: &str) -> String {
        let read = moment.parse::<Timestamp>();
        read.map_or(moment.to_owned(), |at| {
            at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        })
    }

    fn of(&self, kind: &str) -> Vec<(i64, Value)> {
        self.cases.iter().filter(|case| case.0 == kind).map(|case| (case.1, case.2.clone())).collect()
    }

    /// As the number in the register of offences where there is one: it is what people know a fact by.
    fn case_name(&self, kind: &str, id: i64) -> String {
        let case = self.cases.iter().find(|case| case.0 == kind && case.1 == id);
        match case.and_then(|case| case.2["number"].as_str()) {
            Some(number) => format!("{} {number}", self.word(kind)),
            None => format!("{} #{id}", self.word(kind)),
        }
    }

    fn table(&mut self, columns: &[(&str, f32)], rows: Vec<Vec<String>>) {
        match rows.is_empty() {
            true => self.paper.paragraph(self.word("none")),
            false => self.paper.table(columns, &rows),
        }
    }

    fn shown(&self, case: &Value, name: &str) -> String {
        match list(&case["withheld"]).any(|withheld| withheld == name) {
            true => self.word("withheld").to_owned(),
            false => text(&case[name]),
        }
    }

    fn about(&mut self) {
        let manifest = self.manifest;
        let question = &manifest.question["decisions"];
        let mut chosen = Vec::new();
        for kind in ["group", "centre", "fact", "person", "seizure"] {
            let member = format!("{kind}s");
            let ids = list(&manifest.question[&member]).filter_map(Value::as_i64);
            chosen.extend(ids.map(|id| self.case_name(kind, id)));
        }
        for (member, name) in [
            ("number", self.word("number")),
            ("rule", word(self.language, "rule")),
            ("verdict", word(self.language, "verdict")),
            ("trunk", word(self.language, "trunk")),
        ] {
            if let Some(said) = question[member].as_str() {
                let said = if member == "verdict" { self.verdict(said.to_owned()) } else { said.to_owned() };
                chosen.push(format!("{name}: {said}"));
            }
        }
        let ends = [&question["from"], &question["until"]].map(|end| match end.as_str() {
            Some(end) => self.time(end),
            None => "…".to_owned(),
        });
        let personal = self.word(if manifest.revealed { "whole" } else { "masked" });
        let mut rows = vec![
            ("chosen", chosen.join(", ")),
            ("period", ends.join(" – ")),
            ("why", manifest.why.clone()),
            ("packed-by", manifest.who.clone()),
            ("client", manifest.client.clone().unwrap_or_else(|| self.word("none").to_owned())),
            ("packed-at", self.time(&manifest.time)),
            ("clock", Timestamp::UNIX_EPOCH.to_zoned(self.zone.clone()).strftime("UTC%:z").to_string()),
            ("personal", personal.to_owned()),
            ("program", manifest.program.clone()),
            ("head", manifest.journal.head.clone()),
        ];
        if ends.iter().all(|end| end == "…") {
            rows.retain(|(key, _)| *key != "period");
        }
        rows.extend(manifest.previous.clone().map(|previous| ("previous", previous)));
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|(key, value)| vec![self.word(key).to_owned(), value]).collect();
        self.paper.table(&[("", 3.0), ("", 7.0)], &rows);
    }

    fn groups(&mut self) {
        let groups = self.of("group");
        if groups.is_empty() {
            return;
        }
        self.paper.heading(self.word("groups"));
        let row = |(id, group): &(i64, Value)| {
            let ids = |name: &str| list(&group[name]).filter_map(Value::as_i64).collect::<Vec<_>>();
            let facts = ids("facts").into_iter().map(|id| self.case_name("fact", id));
            let persons = ids("persons").into_iter().map(|id| self.case_name("person", id));
            let members = facts.chain(persons).collect::<Vec<_>>().join(", ");
            vec![self.case_name("group", *id), self.shown(group, "name"), members]
        };
        let rows = groups.iter().map(row).collect();
        self.table(
            &[(self.word("number"), 2.0), (self.word("name"), 3.0), (self.word("members"), 6.0)],
            rows,
        );
    }

    fn facts(&mut self) {
        let facts = self.of("fact");
        let l = self.language;
        self.paper.heading(word(l, "stats-facts"));
        let row = |(_, fact): &(i64, Value)| {
            vec![
                text(&fact["number"]),
                self.named("fact", |name| FactKind::from_name(name).is_some(), &text(&fact["type"])),
                self.time(&text(&fact["time"])),
                format!("{} {}", text(&fact["region"]), text(&fact["unit"])).trim().to_owned(),
                money(&fact["damage"]),
                money(&fact["recovered"]),
                self.named("state", |name| Proceedings::from_name(name).is_some(), &text(&fact["state"])),
            ]
        };
        let mut rows: Vec<Vec<String>> = facts.iter().map(row).collect();
        if rows.len() > 1 {
            let sum = |name: &str| {
                let sums = facts.iter().filter_map(|(_, fact)| Sum::parse(&text(&fact[name])));
                let all = sums.fold(0, |all, sum| all + sum.hundredths());
                money(&Value::String(Sum::of_hundredths(all).to_string()))
            };
            let total = format!("{}: {}", word(l, "total"), facts.len());
            let none = String::new;
            rows.push(vec![total, none(), none(), none(), sum("damage"), sum("recovered"), none()]);
        }
        let columns = [
            (self.word("number"), 2.1),
            (self.word("type"), 2.2),
            (self.word("when"), 1.8),
            (self.word("where"), 1.8),
            (word(l, "stats-damage"), 2.7),
            (word(l, "stats-recovered"), 2.3),
            (self.word("state"), 2.9),
        ];
        self.table(&columns, rows);
        let stories: Vec<Vec<String>> = facts
            .iter()
            .filter(|(_, fact)| !text(&fact["method"]).is_empty())
            .map(|(_, fact)| vec![text(&fact["number"]), text(&fact["method"])])
            .collect();
        if !stories.is_empty() {
            self.paper.table(&[(self.word("number"), 2.0), (self.word("how"), 9.0)], &stories);
        }
    }

    fn persons(&mut self) {
        let persons = self.of("person");
        if persons.is_empty() {
            return;
        }
        self.paper.heading(self.word("persons"));
        let row = |(id, person): &(i64, Value)| {
            vec![
                self.case_name("person", *id),
                self.named("person", |name| PersonKind::from_name(name).is_some(), &text(&person["kind"])),
                self.shown(person, "name"),
                self.shown(person, "iin"),
                self.shown(person, "note"),
            ]
        };
        let rows = persons.iter().map(row).collect();
        let heads = ["number", "type", "name"].map(|key| self.word(key));
        let columns =
            [(heads[0], 2.0), (heads[1], 2.6), (heads[2], 3.0), ("ИИН / ЖСН", 2.0), (self.word("note"), 3.0)];
        self.table(&columns, rows);
    }

    fn kind_of(&self, identifier: &Value) -> String {
        self.named("identifier", |name| IdentifierKind::from_name(name).is_some(), &text(&identifier["kind"]))
    }

    fn identifiers(&mut self) {
        self.paper.heading(self.word("identifiers"));
        // One that several hold is one row; masked, two that look the same need not be one.
        let mut held: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (n, (kind, id, case)) in self.cases.iter().enumerate() {
            for identifier in list(&case["identifiers"]) {
                let apart = if self.manifest.revealed { 0 } else { n };
                let shown = (self.kind_of(identifier), text(&identifier["value"]), apart);
                held.entry(shown).or_default().push((kind, self.case_name(kind, *id)));
            }
        }
        // Those that call centres alone hold stand with these.
        held.retain(|_, by| by.iter().any(|(kind, _)| *kind != "centre"));
        let names =
            |by: Vec<(&String, String)>| by.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(", ");
        let rows = held.into_iter().map(|((kind, value, _), by)| vec![kind, value, names(by)]).collect();
        let heads = ["type", "value", "held-by"].map(|key| self.word(key));
        self.table(&[(heads[0], 2.0), (heads[1], 4.0), (heads[2], 4.0)], rows);
    }

    fn links(&mut self) {
        self.paper.heading(self.word("links"));
        let (mut rows, mut elsewhere) = (Vec::new(), 0);
        for (id, fact) in self.of("fact") {
            elsewhere += fact["links"]["elsewhere"].as_u64().unwrap_or(0);
            for link in list(&fact["links"]["within"]) {
                let (kind, to) = match (link["fact"].as_i64(), link["person"].as_i64()) {
                    // Each link between two facts once.
                    (Some(to), _) if to > id => ("fact", to),
                    (None, Some(to)) => ("person", to),
                    _ => continue,
                };
                let why = list(&link["shared"]).map(|one| {
                    let (kind, holders) = (self.kind_of(one), text(&one["holders"]));
                    format!("{kind} {} ({}: {holders})", text(&one["value"]), self.word("holders"))
                });
                let why = why.collect::<Vec<_>>().join("\n");
                let linked = format!("{} — {}", self.case_name("fact", id), self.case_name(kind, to));
                rows.push(vec![linked, text(&link["bits"]), why]);
            }
        }
        let heads = ["link", "bits", "shared"].map(|key| self.word(key));
        self.table(&[(heads[0], 4.0), (heads[1], 1.5), (heads[2], 5.0)], rows);
        if elsewhere > 0 {
            self.paper.paragraph(&format!("{}: {elsewhere}.", self.word("elsewhere")));
        }
    }

    /// By verdict and rule: each decision itself is in its file.
    fn decisions(&mut self, place: &Path) -> Result<(), String> {
        let path = place.join(DECISIONS);
        let lines = String::from_utf8_lossy(&at(&path, fs::read(&path))?).into_owned();
        let mut counts: BTreeMap<(String, String, String), (u64, String, String)> = BTreeMap::new();
        let (mut all, mut blocked) = (0, 0);
        for line in lines.lines() {
            let decision: Value =
                serde_json::from_str(line).map_err(|error| format!("{}: {error}", path.display()))?;
            let [verdict, rule, reason, time] =
                ["verdict", "rule", "sub_reason", "time"].map(|name| text(&decision[name]));
            all += 1;
            blocked += u64::from(verdict == "block");
            let count =
                counts.entry((verdict, rule, reason)).or_insert_with(|| (0, time.clone(), time.clone()));
            count.0 += 1;
            count.1 = count.1.clone().min(time.clone());
            count.2 = count.2.clone().max(time);
        }
        let l = self.language;
        self.paper.heading(self.word("decisions"));
        for (key, count) in [("stats-calls", all), ("stats-calls-blocked", blocked)] {
            self.paper.paragraph(&format!("{}: {count}.", word(l, key)));
        }
        let row = |((verdict, rule, reason), (count, first, last)): (_, (u64, String, String))| {
            let (rule, reason): (String, String) = (rule, reason);
            let title =
                Rule::ALL.iter().find(|known| known.id() == rule).map_or("", |rule| rule_title(l, *rule));
            let why = Reason::ALL.iter().find(|known| known.name() == reason);
            let why = why.map_or(reason.as_str(), |reason| reason_in_words(l, *reason));
            let verdict = self.verdict(verdict);
            vec![
                verdict,
                format!("{rule} {title}: {why}"),
                count.to_string(),
                self.time(&first),
                self.time(&last),
            ]
        };
        let rows = counts.into_iter().map(row).collect();
        let columns = [
            (word(l, "verdict"), 2.0),
            (word(l, "rule"), 5.0),
            (word(l, "calls"), 2.1),
            (self.word("first"), 1.9),
            (self.word("last"), 1.9),
        ];
        self.table(&columns, rows);
        if self.manifest.not_sealed > 0 {
            self.paper.paragraph(&format!("{}: {}.", self.word("not-sealed"), self.manifest.not_sealed));
        }
        Ok(())
    }

    fn verdict(&self, name: String) -> String {
        match ["allow", "mark", "withhold", "block"].contains(&name.as_str()) {
            true => word(self.language, &name).to_owned(),
            false => name,
        }
    }

    fn in_force(&mut self, place: &Path) -> Result<(), String> {
        let mut named: BTreeSet<(String, String)> = BTreeSet::new();
        for file in self.manifest.files.iter().filter(|file| file.name.starts_with("journal/basis-")) {
            let path = place.join(&file.name);
            let basis: Basis = serde_json::from_slice(&at(&path, fs::read(&path))?)
                .map_err(|error| format!("{}: not a basis: {error}", path.display()))?;
            let lists = basis
                .lists
                .iter()
                .map(|(name, hash)| (format!("{} {name}", self.word("list")), hash.clone()));
            let plan = (format!("{} {}", self.word("plan"), basis.plan.0), basis.plan.1.clone());
            let configuration = (self.word("configuration").to_owned(), basis.configuration.clone());
            let rules = (self.word("rules").to_owned(), basis.catalogue_version.to_string());
            named.extend(lists.chain([plan, configuration, rules]));
        }
        self.paper.heading(self.word("in-force"));
        let row = |(what, hash): (String, String)| {
            let kept = hash.get(..8).map(|start| format!("{IN_FORCE}/{start}-"));
            let is_in =
                kept.is_some_and(|kept| self.manifest.files.iter().any(|file| file.name.starts_with(&kept)));
            vec![what, hash, word(self.language, if is_in { "yes" } else { "no" }).to_owned()]
        };
        let rows = named.into_iter().map(row).collect();
        self.table(&[(self.word("what"), 3.0), ("SHA-256", 6.0), (self.word("in-package"), 1.5)], rows);
        Ok(())
    }

    fn check(&mut self) {
        self.paper.heading(self.word("check"));
        self.paper.paragraph(self.word("check-how"));
        self.paper.paragraph("    qalqan evidence verify DIR --public-key first.pub.pem");
        self.paper.paragraph(self.word("check-says"));
    }

    fn annex(&mut self) {
        self.paper.heading(self.word("annex"));
        self.paper.paragraph(self.word("annex-note"));
        let files = self.manifest.files.iter().filter(|file| !is_report(&file.name));
        let rows =
            files.map(|file| vec![file.name.clone(), file.sha256.clone(), file.bytes.to_string()]).collect();
        let heads = ["file", "bytes"].map(|key| self.word(key));
        self.table(&[(heads[0], 4.0), ("SHA-256", 6.0), (heads[1], 1.3)], rows);
    }
}
