//! The country as its operator configures it: `qalqan.toml`, the lists, and the policy they make.

use std::fmt::Write;
use std::sync::Arc;

use lists::{List, Version};
use numbering::{Dialling, Plan};
use rules::Modes;
use screening::{Cap, ListName, Lists, Policy, Trunk};

use crate::customers::{Customers, Entry};
use crate::population::Population;
use crate::trunks::TrunkSpec;

pub(crate) const HEADER: &str = "number,owner,expires,note\n";

/// The score from which R18 blocks, as the configuration leaves it.
const BEHAVIOUR_THRESHOLD: u8 = 80;

/// The lists that rules ask: no exchange is played, so nobody asks who holds a number.
fn played() -> impl Iterator<Item = ListName> {
    ListName::ALL.into_iter().filter(|&name| name != ListName::Portability)
}

/// The text of every list of the operator.
pub(crate) fn lists(customers: &Customers, population: &Population) -> Vec<(ListName, String)> {
    played().map(|name| (name, list(name, customers, population))).collect()
}

fn list(name: ListName, customers: &Customers, population: &Population) -> String {
    let mut text = HEADER.to_owned();
    let mut numbers = |entries: &[Entry], note: &str| {
        for Entry { number, owner, expires, .. } in entries {
            writeln!(text, "+{number},{owner},{expires},{note}").expect("a string takes all");
        }
    };
    match name {
        ListName::DoNotOriginate => numbers(&customers.hotlines, "only called"),
        ListName::Exempt => {
            numbers(&customers.embassies, "R08");
            numbers(&customers.test_sims, "R12");
        }
        ListName::Block => numbers(&customers.blocked, "confirmed"),
        ListName::Allow => numbers(&customers.allowed, "checked by hand"),
        ListName::NoInternational => {
            for subscriber in population.opted_out() {
                let number = population.number(subscriber);
                writeln!(text, "+{number},subscriber,,asked at the desk").expect("a string takes all");
            }
        }
        ListName::Portability => unreachable!("no exchange is played"),
        ListName::RoamingNumbers | ListName::NoOutboundRoaming | ListName::Unallocated => {
            let (blocks, note) = match name {
                ListName::RoamingNumbers => (std::slice::from_ref(&customers.roaming_numbers), "pool"),
                ListName::NoOutboundRoaming => (std::slice::from_ref(&customers.machines), "machines"),
                _ => (&customers.unissued[..], "not issued"),
            };
            for block in blocks {
                writeln!(text, "{},numbering,2035-12-31,{note}", block.entry()).expect("a string takes all");
            }
        }
    }
    text
}

/// `qalqan.toml`; everything it does not say is as shipped.
pub(crate) fn qalqan_toml(seed: u64, trunks: &[TrunkSpec]) -> String {
    let mut text = format!("# A small country, seed {seed}.\n\n[lists]\n");
    for name in played() {
        text.push_str(&format!("{0} = \"lists/{0}.csv\"\n", name.name()));
    }
    for trunk in trunks {
        let TrunkSpec { name, class, source, .. } = trunk;
        text.push_str(&format!("\n[trunk.{name}]\nclass = \"{}\"\nsource = [\"{source}\"]\n", class.name()));
        if trunk.numbers.is_some() {
            text.push_str(&format!("numbers = \"{}\"\n", trunk.numbers_path()));
        }
        if let Some([roaming_number, diverted]) = trunk.caps {
            text.push_str(&format!(
                "\n[trunk.{name}.caps]\nR01 = \"{roaming_number}\"\nR07 = \"{diverted}\"\n"
            ));
        }
    }
    text
}

/// The policy that a node makes of the same texts.
pub(crate) fn policy(
    seed: u64,
    plan: &Arc<Plan>,
    plan_text: &str,
    specs: &[TrunkSpec],
    texts: &[(ListName, String)],
) -> Policy {
    let read = |text: &str, flags: &dyn Fn(&str) -> Result<u32, String>| {
        let list = List::read(text.as_bytes(), plan, flags);
        Arc::new(list.unwrap_or_else(|error| panic!("seed {seed}: a list of the country is bad: {error}")))
    };
    let mut lists = Lists::default();
    for (name, text) in texts {
        lists.set(*name, read(text, &|note| name.flags(note)));
    }
    let trunks = specs.iter().map(|spec| {
        let cap = |rule: usize| {
            spec.caps.map(|caps| Arc::new(Cap::parse(caps[rule]).expect("caps of the country")))
        };
        Trunk {
            name: spec.name.clone(),
            class: spec.class,
            dialling: Dialling { national: spec.class.is_national(), international_prefixes: Vec::new() },
            modes: Modes::default(),
            registered: spec.numbers.as_deref().map(|text| read(text, &|_| Ok(0))),
            roaming_number_cap: cap(0),
            diverted_cap: cap(1),
            behaviour_threshold: BEHAVIOUR_THRESHOLD,
            place: 0,
        }
    });
    let version = |text: &str| Version::of(text.as_bytes()).to_string();
    let configuration = version(&qalqan_toml(seed, specs));
    Policy::new(Arc::clone(plan), trunks.collect(), lists, version(plan_text), configuration)
}
