//! `qalqan.toml` and everything it names, read whole: a [`Setup`], or every fault with its place.

mod casework;
mod citizens;
mod exchange;
mod faults;
mod file;
mod http;
mod hunting;
mod journal;
mod lists;
mod loans;
mod nats;
mod operator;
mod roaming;
mod sip;
mod smpp;
mod sources;
mod tracing;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::exchange::MemberId;
use ::lists::{List, Version};
use call::{TrunkClass, TrunkId};
use numbering::{Dialling, Plan};
use rules::{Language, Modes};
use screening::{Cap, ListName, Lists, Policy, Trunk};

pub use casework::Casework;
pub use citizens::{Faces, Page, Provider};
pub use exchange::{Credential, Exchange, Member};
pub use faults::{Fault, Faults};
pub use file::{Allow, Marks, UnknownSource, Way};
pub use http::{Http, Who};
pub use hunting::{Hunting, Watch};
pub use journal::{Evidence, Journal};
pub use lists::list_faults;
pub use loans::{KZ as LOANS_KZ, Loans};
pub use nats::{Credentials, Nats, Verdicts};
pub use roaming::Roaming;
pub use sip::{Hop, Limits, Listen, Proxy, Refusal, Sip, Transport};
pub use smpp::Smpp;
pub use sources::Sources;
pub use tracing::Tracing;

use file::ConfigFile;

/// A configuration in force: what calls are judged by and how the wire answers.
pub struct Setup {
    pub policy: Policy,
    /// SHA-256 of the plan's file: lists that come later are read by it too.
    pub plan_version: Version,
    pub sources: Sources,
    pub sip: Sip,
    pub journal: Journal,
    pub http: Http,
    /// None: this node asks no other operator and answers none.
    pub exchange: Option<Exchange>,
    /// Where events and versions of lists go; none: nothing of it is.
    pub nats: Option<Nats>,
    /// Where traces of sampled calls go; none: nowhere.
    pub tracing: Option<Tracing>,
    pub language: Language,
    /// The lists with the files they came from, trunk sets among them.
    pub files: Vec<ListFile>,
    /// Where own subscribers are looked for.
    pub roaming: Option<Arc<Roaming>>,
    /// The loan gate; none: this node is none.
    pub loans: Option<Arc<Loans>>,
    /// The investigators' register; none: this node has none.
    pub casework: Option<Arc<Casework>>,
    /// The member of the exchange behind each trunk, where one is named.
    pub senders: Vec<Option<MemberId>>,
    /// How numbers are watched while they call; none: nobody watches.
    pub watch: Option<Watch>,
}

impl Setup {
    /// What of this counts from the next start only, for it is not as it was before.
    pub fn waits_for_restart(&self, before: &Setup) -> Vec<&'static str> {
        let sip = |setup: &Setup| (setup.sip.listen.clone(), setup.sip.workers, setup.sip.mode);
        let http = |setup: &Setup| (setup.http.listen.clone(), setup.http.workers, setup.tracing.clone());
        let loans = |setup: &Setup| setup.loans.as_ref().map(|loans| loans.store.clone());
        let case = |setup: &Setup| setup.casework.as_ref().map(|case| case.store.clone());
        let exchange = |setup: &Setup| {
            setup.exchange.as_ref().map(|exchange| (exchange.listen.clone(), exchange.open_calls))
        };
        let all = [
            (sip(self) != sip(before), "listen, workers and mode change at the next start"),
            (http(self) != http(before), "http.listen, http.workers and tracing change at the next start"),
            (
                loans(self) != loans(before),
                "loans.store, and a first [loans], count from the next start: until then loans are kept where they were",
            ),
            (case(self) != case(before), "casework.store, and a first [casework], count from the next start"),
            (self.nats != before.nats, "nats changes at the next start"),
            (
                self.watch.as_ref().map(|watch| watch.memory)
                    != before.watch.as_ref().map(|watch| watch.memory),
                "hunting.live and its memory-mb count from the next start",
            ),
            (
                exchange(self) != exchange(before),
                "exchange.listen and exchange.open-calls, and a first [exchange], count from the next start",
            ),
        ];
        all.into_iter().filter_map(|(waits, what)| waits.then_some(what)).collect()
    }

    /// The same with another version of one list.
    pub fn with_list(&self, name: ListName, path: &Path, list: Arc<List>) -> Setup {
        let file = ListFile { name: name.name().to_owned(), path: path.to_owned(), list: list.clone() };
        let mut files = self.files.clone();
        match files.iter_mut().find(|known| known.name == file.name) {
            Some(known) => *known = file,
            None => files.push(file),
        }
        Setup {
            policy: self.policy.with_list(name, list),
            plan_version: self.plan_version,
            sources: self.sources.clone(),
            sip: self.sip.clone(),
            journal: self.journal.clone(),
            http: self.http.clone(),
            exchange: self.exchange.clone(),
            nats: self.nats.clone(),
            tracing: self.tracing.clone(),
            language: self.language,
            files,
            roaming: self.roaming.clone(),
            loans: self.loans.clone(),
            casework: self.casework.clone(),
            senders: self.senders.clone(),
            watch: self.watch.clone(),
        }
    }

    /// The member of the exchange that hands calls over by this trunk.
    pub fn sender(&self, trunk: TrunkId) -> Option<MemberId> {
        self.senders.get(usize::from(trunk.0)).copied().flatten()
    }

    /// Where the calls of a trunk are counted.
    #[inline]
    pub fn place(&self, trunk: TrunkId) -> u16 {
        self.policy.trunks.get(usize::from(trunk.0)).map_or(crate::stats::UNKNOWN, |trunk| trunk.place)
    }
}

#[derive(Clone)]
pub struct ListFile {
    pub name: String,
    pub path: PathBuf,
    pub list: Arc<List>,
}

/// The configuration that is used where none is given: the shipped example.
pub const EXAMPLE: &str = include_str!("../../examples/qalqan.toml");

const PLANS: [(&str, &str); 2] =
    [("kz", include_str!("../../plans/kz.toml")), ("gb", include_str!("../../plans/gb.toml"))];

/// Where a configuration comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    File(PathBuf),
    /// The example in the binary.
    Embedded,
}

impl Origin {
    /// The file named, or the first of `./qalqan.toml` and `/etc/qalqan/qalqan.toml`, or the example.
    pub fn find(named: Option<PathBuf>) -> Origin {
        let usual = ["qalqan.toml", "/etc/qalqan/qalqan.toml"].map(PathBuf::from);
        match named.or_else(|| usual.into_iter().find(|path| path.exists())) {
            Some(path) => Origin::File(path),
            None => Origin::Embedded,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Embedded => f.write_str("the embedded example"),
        }
    }
}

/// The text of a configuration and the directory its paths are relative to.
struct Source<'o> {
    text: String,
    shown: String,
    base: &'o Path,
}

impl Source<'_> {
    fn open(origin: &Origin) -> Result<Source<'_>, Faults> {
        match origin {
            Origin::Embedded => {
                let shown = "embedded example".to_owned();
                Ok(Source { text: EXAMPLE.to_owned(), shown, base: Path::new(".") })
            }
            Origin::File(path) => {
                let shown = path.display().to_string();
                let text =
                    fs::read_to_string(path).map_err(|error| Faults::one(&shown, explain_io(&error)))?;
                Ok(Source { text, shown, base: path.parent().unwrap_or(Path::new(".")) })
            }
        }
    }

    fn parse(&self, faults: &mut Faults) -> Option<ConfigFile> {
        let parsed = toml::from_str(&self.text);
        parsed.map_err(|error| faults.at(error.span(), error.message())).ok()
    }
}

/// Reads a configuration and everything it names.
pub fn load(origin: &Origin) -> Result<Setup, Faults> {
    let source = Source::open(origin)?;
    let mut faults = Faults::new(&source.shown, &source.text);
    let Some(file) = source.parse(&mut faults) else { return Err(faults) };
    let mut reader = Reader::new(&source, faults);
    let setup = reader.setup(&file, &source.text);
    if reader.faults.is_empty() { Ok(setup) } else { Err(reader.faults) }
}

/// How a configuration keeps its journal, and its language: the journal can be read while a list is broken.
pub fn load_journal(origin: &Origin) -> Result<(Journal, Language), Faults> {
    let source = Source::open(origin)?;
    let mut faults = Faults::new(&source.shown, &source.text);
    let Some(file) = source.parse(&mut faults) else { return Err(faults) };
    file.journal.check(&mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok((Journal::new(&file.journal, source.base), file.language))
}

/// What reports of evidence packages are written with.
pub fn load_evidence(origin: &Origin) -> Result<Evidence, Faults> {
    let source = Source::open(origin)?;
    let mut faults = Faults::new(&source.shown, &source.text);
    let Some(file) = source.parse(&mut faults) else { return Err(faults) };
    Ok(Evidence::new(&file.evidence, source.base, file.hunting.unwrap_or_default().utc_offset_min))
}

/// The numbering plan of a configuration, and the version of its file: lists can be packed before they are named.
pub fn load_plan(origin: &Origin) -> Result<(Arc<Plan>, Version), Faults> {
    let source = Source::open(origin)?;
    let mut faults = Faults::new(&source.shown, &source.text);
    let Some(file) = source.parse(&mut faults) else { return Err(faults) };
    let mut reader = Reader::new(&source, faults);
    reader.plan(&file);
    if reader.faults.is_empty() { Ok((reader.plan, reader.plan_version)) } else { Err(reader.faults) }
}

/// The numbering plan of a configuration, and what it says of hunting.
pub fn load_hunting(origin: &Origin) -> Result<(Arc<Plan>, Hunting), Faults> {
    let source = Source::open(origin)?;
    let mut faults = Faults::new(&source.shown, &source.text);
    let Some(mut file) = source.parse(&mut faults) else { return Err(faults) };
    let hunting = file.hunting.take().unwrap_or_default();
    let mut reader = Reader::new(&source, faults);
    reader.plan(&file);
    if reader.faults.is_empty() { Ok((reader.plan, hunting)) } else { Err(reader.faults) }
}

/// The text of the numbering plan of a configuration that [`load_hunting`] took.
pub fn plan_text(origin: &Origin) -> Result<String, Faults> {
    let source = Source::open(origin)?;
    let mut faults = Faults::new(&source.shown, &source.text);
    let Some(file) = source.parse(&mut faults) else { return Err(faults) };
    let mut reader = Reader::new(&source, faults);
    reader.plan(&file).ok_or(reader.faults)
}

/// Where a configuration keeps the keys of those who ask by HTTP, which need not be there yet.
pub fn load_api_keys(origin: &Origin) -> Result<Option<PathBuf>, Faults> {
    let source = Source::open(origin)?;
    let mut faults = Faults::new(&source.shown, &source.text);
    let Some(file) = source.parse(&mut faults) else { return Err(faults) };
    Ok(file.http.api_keys.map(|path| source.base.join(path.get_ref())))
}

/// What an I/O error means to who wrote the path.
pub fn explain_io(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory: name a file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "may not be read: permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn shipped_plan(name: &str) -> Plan {
    let text = PLANS.iter().find(|(plan, _)| *plan == name).expect("a shipped plan").1;
    Plan::parse(text).expect("shipped plans are tested")
}

struct Reader<'a> {
    base: &'a Path,
    faults: Faults,
    files: Vec<ListFile>,
    plan: Arc<Plan>,
    plan_version: Version,
}

impl<'a> Reader<'a> {
    fn new(source: &Source<'a>, faults: Faults) -> Reader<'a> {
        let plan = Arc::new(shipped_plan("kz"));
        Reader { base: source.base, faults, files: Vec::new(), plan, plan_version: Version::of(b"") }
    }

    /// Goes on after a fault with a stand-in, so that one run names them all.
    fn setup(&mut self, file: &ConfigFile, text: &str) -> Setup {
        self.plan(file);
        let mut lists = Lists::default();
        for (name, path) in &file.lists {
            let full = self.base.join(path.get_ref());
            if nats::is_to_come(file.nats.as_ref(), *name, &full)
                || casework::is_to_come(file.casework.as_ref(), *name, &full)
            {
                continue;
            }
            if let Some(list) = self.list(name.name(), Some(*name), path) {
                lists.set(*name, list);
            }
        }
        let trunks = self.trunks(file);
        let sources = self.sources(file);
        let sip = self.sip(file);
        let names: Vec<String> = file.trunk.keys().cloned().collect();
        let http = self.http(&file.http, &names);
        let tracing = self.tracing(file.tracing.as_ref());
        let exchange = self.exchange(file.exchange.as_ref(), &file.member);
        let roaming = self.roaming(file.roaming.as_ref(), file.exchange.is_some()).map(Arc::new);
        let loans = self.loans(file.loans.as_ref()).map(Arc::new);
        let utc_offset_min = file.hunting.as_ref().map_or(0, |hunting| hunting.utc_offset_min);
        let casework = self.casework(file, utc_offset_min).map(Arc::new);
        if let (Some(loans), Some(case)) = (&file.loans, &file.casework)
            && loans.store.get_ref() == case.store.get_ref()
        {
            let what = "store is that of [loans]: give the register one of its own";
            self.faults.at(Some(case.store.span()), what);
        }
        let nats = self.nats(file.nats.as_ref(), &file.lists);
        let senders = file.trunk.values().map(|row| {
            let member = row.member.as_ref()?;
            let id = exchange.as_ref().and_then(|exchange| exchange.member_named(member.get_ref()));
            if id.is_none() {
                let what = format!("member \"{}\" is not in [member.…]", member.get_ref());
                self.faults.at(Some(member.span()), &what);
            }
            id
        });
        let senders = senders.collect();
        let configuration = Version::of(text.as_bytes()).to_string();
        let mut policy =
            Policy::new(self.plan.clone(), trunks, lists, self.plan_version.to_string(), configuration);
        policy.exchange = exchange
            .as_ref()
            .map(|exchange| screening::Exchange { deadline_ms: exchange.deadline.as_millis() as i64 });
        file.journal.check(&mut self.faults);
        Setup {
            policy,
            plan_version: self.plan_version,
            sources,
            sip,
            journal: Journal::new(&file.journal, self.base),
            http,
            exchange,
            nats,
            roaming,
            loans,
            casework,
            senders,
            tracing,
            language: file.language,
            watch: self.watch(file.hunting.as_ref()),
            files: std::mem::take(&mut self.files),
        }
    }

    /// Sets the plan and the version of its file; gives its text.
    fn plan(&mut self, file: &ConfigFile) -> Option<String> {
        let name = file.plan.get_ref();
        let text = match PLANS.iter().find(|(plan, _)| plan == name) {
            Some((_, text)) => (*text).to_owned(),
            None => match fs::read_to_string(self.base.join(name)) {
                Ok(text) => text,
                Err(error) => {
                    let what = format!(
                        "plan \"{name}\" is not a shipped one (kz, gb), and as a file: {}",
                        explain_io(&error)
                    );
                    self.faults.at(Some(file.plan.span()), &what);
                    return None;
                }
            },
        };
        match Plan::parse(&text) {
            Ok(plan) => self.plan = Arc::new(plan),
            Err(error) => self.faults.at(Some(file.plan.span()), &format!("plan {name}: {error}")),
        }
        self.plan_version = Version::of(text.as_bytes());
        Some(text)
    }

    fn trunks(&mut self, file: &ConfigFile) -> Vec<Trunk> {
        if file.trunk.is_empty() {
            self.faults.at(None, "no trunk: write [trunk.NAME] with class and source");
        }
        let mut base = Modes::default();
        self.modes(&mut base, &file.rules);
        let mut trunks = Vec::new();
        for (name, row) in &file.trunk {
            let class = TrunkClass::from_name(row.class.get_ref()).unwrap_or_else(|| {
                let names = TrunkClass::ALL.map(TrunkClass::name).join(", ");
                let what = format!("no trunk class \"{}\": {names}", row.class.get_ref());
                self.faults.at(Some(row.class.span()), &what);
                TrunkClass::Transit
            });
            let mut modes = base;
            self.modes(&mut modes, &row.rules);
            let dedicated = class == TrunkClass::InternationalDedicated;
            let registered = row.numbers.as_ref().and_then(|path| {
                if !dedicated {
                    self.faults.at(Some(path.span()), "only an international-dedicated trunk has numbers");
                }
                self.list(&format!("trunk.{name}.numbers"), None, path)
            });
            if dedicated && row.numbers.is_none() {
                let what = format!(
                    "trunk {name} is dedicated: numbers = \"lists/….csv\" must name its registered set"
                );
                self.faults.at(Some(row.class.span()), &what);
            }
            let mut trunk = Trunk {
                name: name.clone(),
                class,
                dialling: Dialling {
                    national: class.is_national(),
                    international_prefixes: row.international_prefixes.clone(),
                },
                modes,
                registered,
                roaming_number_cap: None,
                diverted_cap: None,
                behaviour_threshold: 80,
                place: (trunks.len() as u16).min(crate::stats::OTHERS),
            };
            if let Some(above) = &row.behaviour_threshold {
                trunk.behaviour_threshold = *above.get_ref();
                if *above.get_ref() > 100 {
                    self.faults.at(Some(above.span()), "behaviour-threshold is a score of 0 to 100");
                }
            }
            for (rule, cap) in &row.caps {
                match (rule.as_str(), Cap::parse(cap.get_ref())) {
                    ("R01", Ok(cap)) => trunk.roaming_number_cap = Some(Arc::new(cap)),
                    ("R07", Ok(cap)) => trunk.diverted_cap = Some(Arc::new(cap)),
                    (_, Ok(_)) => {
                        self.faults
                            .at(Some(cap.span()), &format!("{rule} has no cap: only R01 and R07 have"));
                    }
                    (_, Err(error)) => self.faults.at(Some(cap.span()), &error.to_string()),
                }
            }
            trunks.push(trunk);
        }
        trunks
    }

    /// `all` first, whatever its place, so that a rule named beside it wins.
    fn modes(&mut self, modes: &mut Modes, rows: &file::Modes) {
        let (all, named): (Vec<_>, Vec<_>) = rows.iter().partition(|(rule, _)| *rule == "all");
        for (rule, mode) in all.into_iter().chain(named) {
            if let Err(error) = modes.set(rule, mode.get_ref()) {
                self.faults.at(Some(mode.span()), &error.to_string());
            }
        }
    }

    fn sources(&mut self, file: &ConfigFile) -> Sources {
        let mut claims = Vec::new();
        for (index, (name, row)) in file.trunk.iter().enumerate() {
            for text in &row.source {
                match sources::parse(text.get_ref()) {
                    Ok(net) => claims.push((net, TrunkId(index as u16), name.as_str(), text.span())),
                    Err(what) => self.faults.at(Some(text.span()), &what),
                }
            }
        }
        for (index, (net, _, name, span)) in claims.iter().enumerate() {
            let other = claims[..index].iter().find(|(other, ..)| sources::overlap(other, net));
            if let Some((other_net, _, other_name, _)) = other {
                let what = format!(
                    "trunk {name} claims {net}, and trunk {other_name} claims {other_net}: one address, one trunk"
                );
                self.faults.at(Some(span.clone()), &what);
            }
        }
        Sources::new(claims.into_iter().map(|(net, trunk, ..)| (net, trunk)))
    }
}
