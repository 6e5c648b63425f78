//! A small country on a seed, whose calls the production code screens, and checkers that know the truth.
//!
//! Everybody who could tell whether a screen is any good is in it: people who call friends, roamers, diverted
//! calls, exchanges abroad, embassies and ships, who must get through, and attackers, each with one trick,
//! who must not. A [`Country`] gives what its operator would give: a configuration with lists, and calls as
//! networks send them. Beside every call stands what it truly is, and a [`Checker`] holds each verdict
//! against the table of [`STORIES`]. The same seed gives the same country and the same calls on any machine,
//! so a seed and the number of a call name a mistake.
//!
//! No clock, no files, no sockets: time is the country's own.

mod abroad;
mod attacks;
mod block;
mod chance;
mod checker;
mod configuration;
mod customers;
mod event;
mod honest;
mod population;
mod records;
mod report;
mod scene;
mod stories;
mod traffic;
mod trunks;

use std::sync::{Arc, LazyLock};

use call::TrunkId;
use numbering::{Plan, ShortCode};
use screening::{ListName, Policy, screen};

use crate::abroad::Abroad;
use crate::block::Blocks;
use crate::customers::Customers;
use crate::population::Population;
use crate::trunks::Trunks;

pub use checker::{Breach, Checker};
pub use event::{Event, Truth};
pub use records::{CallRecords, Recorded, Role};
pub use report::{Report, Tally, Violation};
pub use stories::{Row, STORIES, Story, WHOLE};
pub use traffic::{CALLS_PER_DAY, START_MS, Traffic};
pub use trunks::TrunkSpec;

const PLAN: &str = include_str!("../../plans/kz.toml");

/// A country with its networks, subscribers, customers and attackers.
pub struct Country {
    pub seed: u64,
    pub plan: Arc<Plan>,
    world: Arc<World>,
    lists: Vec<(ListName, String)>,
}

/// Everybody and everything that calls are made of.
pub(crate) struct World {
    blocks: Blocks,
    abroad: Abroad,
    population: Population,
    customers: Customers,
    trunks: Trunks,
    emergency: Vec<String>,
}

impl Country {
    /// A country with the shipped Kazakh numbering plan.
    pub fn new(seed: u64) -> Country {
        let plan = shipped_plan();
        let blocks = Blocks::of(&plan);
        let abroad = Abroad::new();
        let population = Population::new(seed, &blocks);
        let customers = Customers::new(seed, &blocks, &abroad);
        let trunks = Trunks::new(&population, &customers);
        let lists = configuration::lists(&customers, &population);
        let emergency = plan.emergency().iter().map(ShortCode::to_string).collect();
        let world = World { blocks, abroad, population, customers, trunks, emergency };
        Country { seed, plan, world: Arc::new(world), lists }
    }

    /// The ingress trunks; [`Event::trunk`] is an index into them.
    pub fn trunks(&self) -> &[TrunkSpec] {
        &self.world.trunks.specs
    }

    /// The operator's lists as CSV.
    pub fn lists(&self) -> &[(ListName, String)] {
        &self.lists
    }

    /// `qalqan.toml` and every list it names, as relative path and text.
    pub fn configuration(&self) -> Vec<(String, String)> {
        let mut files = vec![("qalqan.toml".into(), configuration::qalqan_toml(self.seed, self.trunks()))];
        files.extend(
            self.lists.iter().map(|(name, text)| (format!("lists/{}.csv", name.name()), text.clone())),
        );
        let dedicated = self.trunks().iter().filter_map(|trunk| Some((trunk, trunk.numbers.clone()?)));
        files.extend(dedicated.map(|(trunk, text)| (trunk.numbers_path(), text)));
        files
    }

    /// The policy a node makes of [`Country::configuration`]. Caps in it count calls: a new run wants a new one.
    pub fn policy(&self) -> Policy {
        configuration::policy(self.seed, &self.plan, PLAN, self.trunks(), &self.lists)
    }

    /// The country's calls from [`START_MS`] on, always the same.
    pub fn traffic(&self) -> Traffic {
        Traffic::new(Arc::clone(&self.world), self.seed)
    }
}

/// Makes a country, screens so many of its calls by local rules and checks every verdict.
pub fn run(seed: u64, calls: u64) -> Report {
    let country = Country::new(seed);
    run_under(&country, &country.policy(), calls)
}

/// The same under another policy, whose trunks are the country's.
pub fn run_under(country: &Country, policy: &Policy, calls: u64) -> Report {
    let mut traffic = country.traffic();
    let mut checker = Checker::new(country.seed);
    let mut event = Event::default();
    for _ in 0..calls {
        traffic.next_into(&mut event);
        let call = policy.intake(event.time_ms, TrunkId(event.trunk as u16), &event.fields());
        checker.observe(&event, &screen(policy, &call));
    }
    checker.report()
}

/// The shipped plan, read once.
pub(crate) fn shipped_plan() -> Arc<Plan> {
    static SHIPPED: LazyLock<Arc<Plan>> = LazyLock::new(|| {
        Arc::new(Plan::parse(PLAN).unwrap_or_else(|error| panic!("plans/kz.toml: {error}")))
    });
    Arc::clone(&SHIPPED)
}
