//! The ways into the own network, and what stands at the far end of each.

use call::TrunkClass;

use crate::customers::{Customers, Entry};
use crate::population::{NetworkId, OWN, Population};

/// An ingress trunk as the configuration names it.
#[derive(Clone, Debug)]
pub struct TrunkSpec {
    pub name: String,
    pub class: TrunkClass,
    /// The address its calls come from: one in 127.77.0.0/16 of its own.
    pub source: String,
    /// The numbers registered for a dedicated trunk, as CSV.
    pub numbers: Option<String>,
    /// Caps of R01 and R07, where they are set.
    pub caps: Option<[&'static str; 2]>,
}

impl TrunkSpec {
    /// Where the configuration keeps the registered numbers.
    pub fn numbers_path(&self) -> String {
        format!("lists/{}.csv", self.name)
    }
}

const CARRIERS: [&str; 3] = ["carrier-west", "carrier-north", "carrier-south"];

/// R01 and R07. Honest calls stay within up to some 10,000 calls a second in all, floods do not.
const CARRIER_CAPS: [&str; 2] = ["100/s", "50/s"];

/// The trunks by what they are for.
pub(crate) struct Trunks {
    pub specs: Vec<TrunkSpec>,
    pub carriers: Vec<usize>,
    pub bank_call_centre: usize,
    pub cloud: usize,
    /// By network; the own one has none.
    pub national: Vec<usize>,
    pub access_mobile: usize,
    pub access_business: usize,
    pub transit: usize,
}

impl Trunks {
    pub fn new(population: &Population, customers: &Customers) -> Trunks {
        let mut specs: Vec<TrunkSpec> = Vec::new();
        let mut add = |name: String, class: TrunkClass, numbers: Option<String>| {
            let nth = 1 + specs.iter().filter(|spec| spec.class == class).count();
            let source = format!("127.77.{}.{nth}", class as u8 + 1);
            let caps = (class == TrunkClass::International).then_some(CARRIER_CAPS);
            specs.push(TrunkSpec { name, class, source, numbers, caps });
            specs.len() - 1
        };
        let carriers = CARRIERS.map(|name| add(name.into(), TrunkClass::International, None)).into();
        let hundred = customers.cloud_hundred;
        let mut cloud_numbers = registered(&customers.cloud);
        cloud_numbers.push_str(&format!(
            "{},{},2035-12-31,a hundred\n",
            hundred.block.entry(),
            hundred.owner
        ));
        let mut dedicated =
            |name: &str, numbers| add(name.into(), TrunkClass::InternationalDedicated, Some(numbers));
        let bank_call_centre = dedicated("bank-call-centre", registered(&customers.call_centre));
        let cloud = dedicated("cloud-pbx", cloud_numbers);
        let others = population.networks().iter().enumerate();
        let national = others
            .map(|(network, spec)| match network {
                OWN => usize::MAX,
                _ => add(plain(&spec.name), TrunkClass::National, None),
            })
            .collect();
        let access_mobile = add("access-mobile".into(), TrunkClass::Access, None);
        let access_business = add("access-business".into(), TrunkClass::Access, None);
        let transit = add("transit".into(), TrunkClass::Transit, None);
        Trunks { specs, carriers, bank_call_centre, cloud, national, access_mobile, access_business, transit }
    }

    /// The trunk by which calls of a network's subscribers come.
    pub fn of(&self, network: NetworkId) -> usize {
        if network == OWN { self.access_mobile } else { self.national[network] }
    }
}

fn registered(entries: &[Entry]) -> String {
    let mut text = crate::configuration::HEADER.to_owned();
    for entry in entries {
        text.push_str(&format!("+{},{},{},registered\n", entry.number, entry.owner, entry.expires));
    }
    text
}

/// An operator's name as a key of the configuration.
fn plain(name: &str) -> String {
    name.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}
