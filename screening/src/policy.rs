//! All that calls are judged by, swapped whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use call::{Call, Rule, TrunkClass, TrunkId};
use lists::{Atlas, List, Sought};
use numbering::{Dialling, Number, Party, Plan};
use rules::Modes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Cap, Scores};

/// What calls are judged by. A new configuration or list makes a new one.
pub struct Policy {
    pub plan: Arc<Plan>,
    pub trunks: Vec<Trunk>,
    pub(crate) lists: Lists,
    /// Says of most numbers that they are on few lists or none. A list's place is its name's; see [`REGISTERED`].
    pub(crate) atlas: Atlas,
    /// None where this node asks no other operator.
    pub exchange: Option<Exchange>,
    /// What is thought of numbers that call, where somebody watches; none: nobody does.
    pub scores: Option<Arc<Scores>>,
    basis: Basis,
    basis_id: u64,
}

/// An ingress trunk.
#[derive(Clone)]
pub struct Trunk {
    pub name: String,
    pub class: TrunkClass,
    pub dialling: Dialling,
    pub modes: Modes,
    /// The numbers registered for a dedicated trunk.
    pub registered: Option<Arc<List>>,
    /// Caps of R01 and R07; none: no cap. A copy of the trunk counts on with them.
    pub roaming_number_cap: Option<Arc<Cap>>,
    pub diverted_cap: Option<Arc<Cap>>,
    /// The behaviour score above which R18 blocks, 0 to 100.
    pub behaviour_threshold: u8,
    /// Its place among trunks, where a running node counts its calls; kept by name.
    pub place: u16,
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
    /// Who holds a number that is not with the holder of its range: the owner of an entry is a member of the exchange.
    Portability,
}

impl ListName {
    pub const ALL: [ListName; 9] = [
        ListName::DoNotOriginate,
        ListName::RoamingNumbers,
        ListName::NoOutboundRoaming,
        ListName::NoInternational,
        ListName::Unallocated,
        ListName::Exempt,
        ListName::Block,
        ListName::Allow,
        ListName::Portability,
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
            ListName::Portability => "portability",
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

/// The lists that a calling number is looked up on whatever the trunk, and that calls from abroad add: for the
/// calling number, and for the called one.
const OF_CALLING: [ListName; 4] =
    [ListName::Unallocated, ListName::DoNotOriginate, ListName::Block, ListName::Allow];
const FROM_ABROAD: [ListName; 1] = [ListName::NoOutboundRoaming];
const TO_HOME: [ListName; 1] = [ListName::NoInternational];

/// The place in the atlas that the registered sets of all trunks share, behind those of the named lists.
pub(crate) const REGISTERED: usize = ListName::ALL.len();

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
        let mut basis = Basis {
            catalogue_version: rules::CATALOGUE_VERSION,
            plan: (plan.country.clone(), plan_version),
            configuration: configuration_version,
            lists: BTreeMap::new(),
            trunks: trunks.iter().map(|trunk| trunk.name.clone()).collect(),
        };
        for trunk in &trunks {
            if let Some(list) = &trunk.registered {
                basis.lists.insert(format!("trunk.{}.numbers", trunk.name), list.version().to_string());
            }
        }
        let atlas = Atlas::default();
        let mut policy =
            Policy { plan, trunks, lists, atlas, exchange: None, scores: None, basis, basis_id: 0 };
        policy.note_lists();
        policy
    }

    /// Bytes of memory that asking several lists at once takes besides the lists.
    pub fn atlas_memory(&self) -> usize {
        self.atlas.memory()
    }

    /// The member of the exchange that holds a ported number, by its name.
    pub fn ported_to(&self, number: Number, now_ms: i64) -> Option<&str> {
        let list = self.lists.get(ListName::Portability)?;
        let sought = self.atlas.seek(number.key());
        list.look_up(&sought, ListName::Portability as usize, now_ms).map(|terms| terms.owner())
    }

    pub fn list(&self, name: ListName) -> Option<&List> {
        self.lists.get(name)
    }

    /// Puts another list in the place of one; the basis becomes another.
    pub fn replace_list(&mut self, name: ListName, list: Arc<List>) {
        self.lists.set(name, list);
        self.note_lists();
    }

    /// The same with another list in the place of one; caps go on counting.
    pub fn with_list(&self, name: ListName, list: Arc<List>) -> Policy {
        let mut policy = Policy {
            plan: self.plan.clone(),
            trunks: self.trunks.clone(),
            lists: self.lists.clone(),
            atlas: Atlas::default(),
            exchange: self.exchange,
            scores: self.scores.clone(),
            basis: self.basis.clone(),
            basis_id: 0,
        };
        policy.replace_list(name, list);
        policy
    }

    fn note_lists(&mut self) {
        for name in ListName::ALL {
            if let Some(list) = self.lists.get(name) {
                self.basis.lists.insert(name.name().to_owned(), list.version().to_string());
            }
        }
        self.basis_id = self.basis.id();
        let of_trunks = self.trunks.iter().filter_map(|trunk| trunk.registered.as_deref());
        let of_trunks = of_trunks.map(|list| (REGISTERED, list));
        let named = self.lists.0.iter().enumerate();
        let named = named.filter_map(|(place, list)| list.as_deref().map(|list| (place, list)));
        self.atlas = Atlas::of(named.chain(of_trunks));
    }

    /// Makes a call's calling and called number ready for the lists, and has the memory fetched that looking them up
    /// will read: the misses of all lists then wait for one another no more.
    #[inline]
    pub(crate) fn seek(&self, call: &Call) -> [Option<Sought>; 2] {
        let fetch = |sought: &Sought, names: &[ListName]| {
            for &name in names {
                if sought.may_be_on(name as usize)
                    && let Some(list) = self.lists.get(name)
                {
                    list.prefetch(sought);
                }
            }
        };
        let seek = |party: Party| party.key().map(|key| self.atlas.seek(key));
        let [calling, called] = [seek(call.calling), seek(call.called)];
        let is_from_abroad = call.class == TrunkClass::International;
        if let Some(sought) = &calling {
            fetch(sought, &OF_CALLING);
            if is_from_abroad {
                fetch(sought, &FROM_ABROAD);
            }
        }
        if let Some(sought) = &called {
            fetch(sought, &[ListName::RoamingNumbers]);
            if is_from_abroad {
                fetch(sought, &TO_HOME);
            }
        }
        [calling, called]
    }

    /// Lets caps go on counting where those of the policy before left off, and keeps what is thought of numbers: a reload opens
    /// no gate.
    pub fn inherit(&mut self, before: &Policy) {
        self.scores = before.scores.clone();
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
