//! All that calls are judged by, swapped whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use call::{Rule, TrunkClass, TrunkId};
use lists::List;
use numbering::{Dialling, Plan};
use rules::Modes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Cap;

/// What calls are judged by. A new configuration or list makes a new one.
pub struct Policy {
    pub plan: Arc<Plan>,
    pub trunks: Vec<Trunk>,
    pub lists: Lists,
    /// None where this node asks no other operator.
    pub exchange: Option<Exchange>,
    basis: Basis,
    basis_id: u64,
}

/// An ingress trunk.
pub struct Trunk {
    pub name: String,
    pub class: TrunkClass,
    pub dialling: Dialling,
    pub modes: Modes,
    /// The numbers registered for a dedicated trunk.
    pub registered: Option<Arc<List>>,
    /// Caps of R01 and R07; none: no cap.
    pub roaming_number_cap: Option<Cap>,
    pub diverted_cap: Option<Cap>,
    /// The behaviour score above which R18 blocks, 0 to 100.
    pub behaviour_threshold: u8,
}

/// How other operators are asked.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// For all of a call's questions together.
    pub deadline_ms: i64,
}

/// The operator's lists by the name the configuration gives them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListName {
    DoNotOriginate,
    RoamingNumbers,
    NoOutboundRoaming,
    NoInternational,
    Unallocated,
    Exempt,
    Block,
    Allow,
}

impl ListName {
    pub const ALL: [ListName; 8] = [
        ListName::DoNotOriginate,
        ListName::RoamingNumbers,
        ListName::NoOutboundRoaming,
        ListName::NoInternational,
        ListName::Unallocated,
        ListName::Exempt,
        ListName::Block,
        ListName::Allow,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ListName::DoNotOriginate => "do-not-originate",
            ListName::RoamingNumbers => "roaming-numbers",
            ListName::NoOutboundRoaming => "no-outbound-roaming",
            ListName::NoInternational => "no-international",
            ListName::Unallocated => "unallocated",
            ListName::Exempt => "exempt",
            ListName::Block => "block",
            ListName::Allow => "allow",
        }
    }

    /// Makes flags of an entry's note: an exemption names the rules it switches off, `R08 R12`.
    pub fn flags(self, note: &str) -> Result<u32, String> {
        if self != ListName::Exempt {
            return Ok(0);
        }
        let mut rules = 0;
        for word in note.split_whitespace() {
            let rule =
                Rule::from_id(word).filter(|rule| !matches!(rule, Rule::R00 | Rule::R20 | Rule::Allow));
            match rule {
                Some(rule) => rules |= 1 << rule as u32,
                None => {
                    return Err(format!(
                        "note \"{note}\": \"{word}\" is not a rule that can be switched off"
                    ));
                }
            }
        }
        match rules {
            0 => Err("the note must name the rules to switch off, such as R08 R12".to_owned()),
            rules => Ok(rules),
        }
    }
}

/// The lists that are set, each a snapshot.
#[derive(Default, Clone)]
pub struct Lists([Option<Arc<List>>; ListName::ALL.len()]);

impl Lists {
    #[inline]
    pub fn get(&self, name: ListName) -> Option<&List> {
        self.0[name as usize].as_deref()
    }

    pub fn set(&mut self, name: ListName, list: Arc<List>) {
        self.0[name as usize] = Some(list);
    }
}

/// What verdicts stand on: kept beside the journal under its hash, so a verdict can be given again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Basis {
    pub catalogue_version: u32,
    /// Country of the plan, and the SHA-256 of its file.
    pub plan: (String, String),
    /// SHA-256 of the configuration file.
    pub configuration: String,
    /// Lists by name, the SHA-256 of each file.
    pub lists: BTreeMap<String, String>,
    /// Trunk names in the order of their index.
    pub trunks: Vec<String>,
}

impl Policy {
    /// `plan_version` and `configuration_version` are the SHA-256 of their files.
    pub fn new(
        plan: Arc<Plan>,
        trunks: Vec<Trunk>,
        lists: Lists,
        plan_version: String,
        configuration_version: String,
    ) -> Policy {
        let set =
            ListName::ALL.into_iter().filter_map(|name| Some((name.name().to_owned(), lists.get(name)?)));
        let dedicated = trunks.iter().filter_map(|trunk| {
            Some((format!("trunk.{}.numbers", trunk.name), trunk.registered.as_deref()?))
        });
        let basis = Basis {
            catalogue_version: rules::CATALOGUE_VERSION,
            plan: (plan.country.clone(), plan_version),
            configuration: configuration_version,
            lists: set.chain(dedicated).map(|(name, list)| (name, list.version().to_string())).collect(),
            trunks: trunks.iter().map(|trunk| trunk.name.clone()).collect(),
        };
        let basis_id = basis.id();
        Policy { plan, trunks, lists, exchange: None, basis, basis_id }
    }

    /// Lets caps go on counting where those of the policy before left off: a reload opens no gate.
    pub fn inherit_caps(&self, before: &Policy) {
        for trunk in &self.trunks {
            let Some(old) = before.trunk_named(&trunk.name).map(|id| before.trunk(id)) else { continue };
            let pairs = [
                (&trunk.roaming_number_cap, &old.roaming_number_cap),
                (&trunk.diverted_cap, &old.diverted_cap),
            ];
            for (new, old) in pairs {
                if let (Some(new), Some(old)) = (new, old) {
                    new.inherit(old);
                }
            }
        }
    }

    #[inline]
    pub fn trunk(&self, trunk: TrunkId) -> &Trunk {
        &self.trunks[usize::from(trunk.0)]
    }

    pub fn trunk_named(&self, name: &str) -> Option<TrunkId> {
        self.trunks.iter().position(|trunk| trunk.name == name).map(|index| TrunkId(index as u16))
    }

    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The first 8 bytes of the basis's hash, as journal records carry it.
    #[inline]
    pub fn basis_id(&self) -> u64 {
        self.basis_id
    }
}

impl Basis {
    pub fn id(&self) -> u64 {
        let json = serde_json::to_vec(self).expect("plain values");
        let hash = Sha256::digest(&json);
        u64::from_be_bytes(hash[..8].try_into().expect("8 of 32 bytes"))
    }
}
