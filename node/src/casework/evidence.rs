//! Cases for an evidence package: seen with the rights of a client, each a look; what is personal only where it is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::casework::{Identifier, IdentifierKind, Node};
use arc_swap::ArcSwap;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use numbering::Number;
use serde_json::{Value as Json, json};

use super::asked::{Asked, Command};
use super::looks::Look;
use super::office::Office;
use super::store::Store;
use crate::config::Setup;
use crate::evidence::Sought;
use crate::store::now_ms;

/// Cases that are asked for by their ids.
#[derive(Default)]
pub struct Cases {
    pub facts: Vec<i64>,
    pub persons: Vec<i64>,
    pub seizures: Vec<i64>,
    /// Confirmed groups, with all of their cases that the client may see.
    pub groups: Vec<i64>,
    pub centres: Vec<i64>,
    /// Names, numbers and texts too.
    pub reveal: bool,
    pub why: String,
}

impl Cases {
    pub fn is_empty(&self) -> bool {
        [&self.facts, &self.persons, &self.seizures, &self.groups, &self.centres]
            .into_iter()
            .all(Vec::is_empty)
    }
}

/// What was seen.
#[derive(Default)]
pub struct Seen {
    /// By their names, such as `fact-12`.
    pub cases: Vec<(String, Json)>,
    /// Whose calls, of what days and files, each call centre is about.
    pub centres: Vec<Sought>,
}

/// What of each case is nobody's name, number or story.
const OPEN: [&[&str]; 4] = [
    &[
        "id",
        "number",
        "type",
        "time",
        "region",
        "unit",
        "assigned",
        "state",
        "damage",
        "recovered",
        "currency",
    ],
    &["id", "kind", "unit", "time", "who"],
    &["id", "unit", "fact", "item", "time", "hash", "changed"],
    &[
        "id",
        "unit",
        "state",
        "time",
        "who",
        "from",
        "until",
        "evidence",
        "trunks",
        "facts",
        "elsewhere",
        "groups",
        "sources",
        "records",
        "confirmed_numbers",
    ],
];

/// Sees the cases.
pub async fn cases(setup: Arc<Setup>, who: &str, asked: Cases) -> Result<Seen, String> {
    let settings = setup.casework.clone().ok_or("there is no [casework] in the configuration")?;
    let client = settings.clients.find(who).cloned();
    let client = client.ok_or_else(|| format!("--as {who}: no client of the register has this name"))?;
    let failed = |fault: crate::database::Fault| format!("casework: {fault}");
    let store = Store::open(&settings.store).await.map_err(failed)?;
    let office = Office {
        setup: Arc::new(ArcSwap::new(setup)),
        store,
        log: |line| eprintln!("{line}"),
        index: Default::default(),
        counts: Default::default(),
    };
    let ask = async |name: &str, command| -> Result<Json, String> {
        let asked = Asked { client: client.clone(), repeats: None, command };
        let (_, body) =
            office.answer(&asked).await.map_err(|problem| format!("{name}: {}", problem.detail))?;
        serde_json::from_str(&body).map_err(|error| format!("{name}: {error}"))
    };
    let (mut cases, mut centres) = (Vec::new(), Vec::new());
    let (mut facts, mut persons) = (asked.facts, asked.persons);
    if !asked.groups.is_empty() {
        for id in asked.groups {
            let mut group = ask(&format!("group {id}"), Command::Group(id)).await?;
            let ids = |name: &str| group[name].as_array().into_iter().flatten().filter_map(Json::as_i64);
            facts.extend(ids("facts"));
            persons.extend(ids("persons"));
            if !asked.reveal {
                withhold(&mut group, &["id", "time", "who", "facts", "persons", "elsewhere"]);
            }
            cases.push((format!("group-{id}"), group));
        }
    }
    type Make = fn(i64) -> Command;
    let kinds: [(&str, Vec<i64>, Make); 4] = [
        ("fact", facts, Command::Fact),
        ("person", persons, Command::Person),
        ("seizure", asked.seizures, Command::Seizure),
        ("centre", asked.centres, Command::Centre),
    ];
    let packed = kinds[0].1.iter().map(|id| Node::Fact(*id));
    let packed: BTreeSet<Node> = packed.chain(kinds[1].1.iter().map(|id| Node::Person(*id))).collect();
    for ((kind, mut ids, command), open) in kinds.into_iter().zip(OPEN) {
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let mut case = ask(&format!("{kind} {id}"), command(id)).await?;
            if kind == "fact" {
                case["links"] = ask(&format!("fact {id}"), Command::LinksAmong(id, packed.clone())).await?;
            }
            if kind == "centre" {
                centres.push(sought(id, &case, &settings.days.zone));
            }
            if !asked.reveal {
                hide(&mut case, open);
            }
            cases.push((format!("{kind}-{id}"), case));
        }
    }
    // That they leave the house is more than a look.
    let how = if asked.reveal { "revealed" } else { "masked" };
    let names: Vec<&str> = cases.iter().map(|(name, _)| name.as_str()).collect();
    let subject = format!("{} {how}: {}", names.join(" "), asked.why);
    let look = Look {
        at_ms: now_ms(),
        who: client.id.clone(),
        what: "pack-evidence".to_owned(),
        subject,
        was_refused: false,
    };
    let mut unit = office.store.begin(&settings.vault, false).await.map_err(failed)?;
    unit.keep_looks(&[look]).await.map_err(failed)?;
    unit.commit().await.map_err(failed)?;
    Ok(Seen { cases, centres })
}

/// The calls that a centre is about: of its numbers, on its days, in the files that it was found in.
fn sought(id: i64, centre: &Json, zone: &TimeZone) -> Sought {
    let texts = |of: &Json| -> Vec<String> {
        of.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
    };
    let phones = centre["identifiers"].as_array().into_iter().flatten();
    let phones = phones.filter(|one| one["kind"] == IdentifierKind::Phone.name());
    let day = |name: &str| centre[name].as_str().and_then(|day| day.parse::<Date>().ok());
    let begin = |day: Date| day.to_zoned(zone.clone()).ok().map(|at| at.timestamp().as_millisecond());
    Sought {
        centre: Some(id),
        numbers: phones.filter_map(|one| Number::parse(one["value"].as_str()?).ok()).collect(),
        from_ms: day("from").and_then(begin),
        until_ms: day("until").and_then(|day| day.tomorrow().ok()).and_then(begin),
        files: texts(&centre["records"]).into_iter().collect(),
    }
}

/// Leaves what is open, and says what else there was.
fn withhold(of: &mut Json, open: &[&str]) {
    let Some(members) = of.as_object_mut() else { return };
    let hidden: Vec<String> = members.keys().filter(|name| !open.contains(&name.as_str())).cloned().collect();
    members.retain(|name, _| open.contains(&name.as_str()));
    if !hidden.is_empty() {
        of["withheld"] = json!(hidden);
    }
}

/// A case without what is personal: identifiers masked, of events and hand-overs when they were and by whom.
fn hide(case: &mut Json, open: &[&str]) {
    let each = |case: &Json, name: &str| case[name].as_array().cloned();
    let identifiers = each(case, "identifiers").map(|held| held.iter().map(masked).collect::<Vec<_>>());
    let rest = [("events", &["time", "who", "event"][..]), ("custody", &["time", "who", "hash"][..])];
    let rest = rest.map(|(name, open)| {
        let mut entries = each(case, name);
        entries.iter_mut().flatten().for_each(|entry| withhold(entry, open));
        (name, entries)
    });
    let mut links = case.as_object_mut().and_then(|case| case.remove("links"));
    let within = links.iter_mut().filter_map(|links| links["within"].as_array_mut()).flatten();
    for shared in within.filter_map(|link| link["shared"].as_array_mut()).flatten() {
        let mut shown = masked(shared);
        shown["holders"] = shared["holders"].take();
        shown["bits"] = shared["bits"].take();
        *shared = shown;
    }
    let kept: Vec<&str> = open.iter().copied().chain(["identifiers", "events", "custody"]).collect();
    withhold(case, &kept);
    if let Some(links) = links {
        case["links"] = links;
    }
    if let Some(identifiers) = identifiers {
        case["identifiers"] = json!(identifiers);
    }
    for (name, entries) in rest {
        if let Some(entries) = entries {
            case[name] = json!(entries);
        }
    }
}

fn masked(identifier: &Json) -> Json {
    let text = |name: &str| identifier[name].as_str().unwrap_or_default();
    let Some(kind) = IdentifierKind::from_name(text("kind")) else {
        return json!({"withheld": ["identifier"]});
    };
    let shown = Identifier::kept(kind, text("value").to_owned()).to_string();
    json!({"kind": kind.name(), "value": shown.split_once(' ').map_or("", |(_, value)| value)})
}
