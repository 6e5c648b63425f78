//! What is asked of the register, as bodies say it.

use std::collections::BTreeSet;

use ::casework::{CentreState, FactKind, IdentifierKind, ItemKind, Node, PersonKind, Proceedings};
use hyper::body::Bytes;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Client, Form, Wanted};

/// Who asks for what.
pub struct Asked {
    pub client: Client,
    /// The request's key and hash, where a repeated one is answered as the first was.
    pub repeats: Option<(String, String)>,
    pub command: Command,
}

pub enum Command {
    /// CSV, and the unit of facts that name none.
    Import(Bytes, Option<String>),
    Search(FactSearch),
    Fact(i64),
    Links(i64),
    /// Those between cases of a package.
    LinksAmong(i64, BTreeSet<Node>),
    ChangeState(i64, StateChange),
    Recover(i64, RecoveredSum),
    Assign(i64, Assignment),
    Cut(LinkCut),
    UndoCut(i64, Why),
    Groups,
    Group(i64),
    DeclineGroup(GroupDeclined),
    LeaveGroup(i64, GroupMembers),
    ConfirmGroup(GroupConfirmed),
    JoinGroup(i64, GroupMembers),
    KeepPerson(NewPerson),
    Person(i64),
    AddIdentifiers(i64, MoreIdentifiers),
    SearchPersons(PersonSearch),
    KeepSeizure(NewSeizure),
    Seizure(i64),
    HandOver(i64, HandedOver),
    MakeRequest(NewRequest),
    Requests,
    Request(i64),
    AnswerRequest(i64, RequestAnswer),
    Report(NewReport),
    Reports,
    SeeReport(i64),
    CheckReport(i64, ReportCheck),
    PassOn(i64, ReportPassed),
    /// JSON lines of a hunt, and whose the centres are.
    ImportCentres(Bytes, Option<String>),
    Centres(Option<CentreState>),
    Centre(i64),
    JudgeCentre(i64, CentreJudged),
    ConfirmCentre(i64, CentreNumbers),
    /// Whether it is confirmed, or that is taken back.
    Confirm(IdentifierConfirmed, bool),
    /// Those behind a place.
    Confirmations(i64),
    Looks {
        since_ms: i64,
        limit: i64,
    },
    Statistics(Wanted, Form),
}

/// An identifier, written in any way that people write it.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseIdentifier {
    #[schema(value_type = String, pattern = "^(phone|imei|imsi|ip|account|card|wallet|web|messenger|email)$")]
    pub kind: IdentifierKind,
    #[schema(max_length = 512)]
    pub value: String,
}

/// Which facts; what is left out does not matter.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FactSearch {
    /// In the register of offences.
    pub number: Option<String>,
    #[serde(rename = "type")]
    #[schema(value_type = Option<String>, pattern = "^(advance-payment|bank-call|authority-call|loan-in-name|investment|phishing|acquaintance|other)$")]
    pub kind: Option<FactKind>,
    pub region: Option<String>,
    pub unit: Option<String>,
    #[schema(value_type = Option<String>, pattern = "^(registered|investigated|suspended|in-court|sentenced|terminated)$")]
    pub state: Option<Proceedings>,
    /// RFC 3339: from this moment on.
    pub from: Option<String>,
    /// RFC 3339: before this moment.
    pub until: Option<String>,
    /// What the fraudsters used, or the victim's phone.
    pub identifier: Option<CaseIdentifier>,
    pub victim_iin: Option<String>,
    /// Behind this id: `next` of the page before.
    pub after: Option<i64>,
    /// 100 as shipped, 1000 at most.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<i64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateChange {
    #[schema(value_type = String, pattern = "^(registered|investigated|suspended|in-court|sentenced|terminated)$")]
    pub state: Proceedings,
    pub why: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveredSum {
    /// All that was recovered of this fact so far, in units of the currency.
    #[schema(pattern = r"^[0-9]{1,13}(\.[0-9]{1,2})?$")]
    pub recovered: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The client of an investigator; null: nobody's.
    pub investigator: Option<String>,
}

/// A fact or a person: one of them.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseNode {
    #[serde(default)]
    pub fact: Option<i64>,
    #[serde(default)]
    pub person: Option<i64>,
}

/// Two that have nothing to do with each other, or an identifier that is not the fraudster's.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkCut {
    pub of: CaseNode,
    /// Either this or `identifier`.
    #[serde(default)]
    pub from: Option<CaseNode>,
    #[serde(default)]
    pub identifier: Option<CaseIdentifier>,
    pub why: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    pub why: String,
}

/// A proposal as it is shown: its facts and persons, and the groups it would join.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupDeclined {
    pub why: String,
    #[serde(default)]
    pub facts: Vec<i64>,
    #[serde(default)]
    pub persons: Vec<i64>,
    #[serde(default)]
    pub joins: Vec<i64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfirmed {
    #[schema(max_length = 200)]
    pub name: String,
    pub why: String,
    #[serde(default)]
    pub facts: Vec<i64>,
    #[serde(default)]
    pub persons: Vec<i64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupMembers {
    pub why: String,
    #[serde(default)]
    pub facts: Vec<i64>,
    #[serde(default)]
    pub persons: Vec<i64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    #[schema(value_type = String, pattern = "^(victim|suspect|drop|call-centre-worker)$")]
    pub kind: PersonKind,
    pub name: String,
    #[serde(default)]
    #[schema(pattern = "^[0-9]{12}$")]
    pub iin: Option<String>,
    /// May be left out by who works in one unit.
    #[serde(default)]
    pub unit: Option<String>,
    #[serde(default)]
    pub note: String,
    #[serde(default)]
    pub identifiers: Vec<CaseIdentifier>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoreIdentifiers {
    pub identifiers: Vec<CaseIdentifier>,
    pub why: String,
}

/// By one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonSearch {
    #[serde(default)]
    #[schema(pattern = "^[0-9]{12}$")]
    pub iin: Option<String>,
    #[serde(default)]
    pub identifier: Option<CaseIdentifier>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSeizure {
    #[schema(value_type = String, pattern = "^(laptop|phone|gsm-gateway|sim|network-equipment|storage|other)$")]
    pub item: ItemKind,
    #[serde(default)]
    pub serials: Vec<String>,
    pub place: String,
    /// RFC 3339.
    pub time: String,
    /// Who took it.
    pub by: String,
    #[serde(default)]
    pub fact: Option<i64>,
    /// May be left out by who works in one unit.
    #[serde(default)]
    pub unit: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandedOver {
    /// Who has it.
    pub from: String,
    pub to: String,
    pub place: String,
    pub why: String,
    /// RFC 3339.
    pub time: String,
}

lending::names! {
    /// What an operator or a bank is asked for.
    RequestKind {
        Freeze = "freeze",
        SubscriberData = "subscriber-data",
        CallRecords = "call-records",
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// The client of an operator or a bank.
    pub to: String,
    #[schema(value_type = String, pattern = "^(freeze|subscriber-data|call-records)$")]
    pub kind: RequestKind,
    pub text: String,
    #[serde(default)]
    pub identifier: Option<CaseIdentifier>,
    #[serde(default)]
    pub fact: Option<i64>,
    /// Where no fact is named; may be left out by who works in one unit.
    #[serde(default)]
    pub unit: Option<String>,
    /// Working days to answer; `request-days` where left out.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 60)]
    pub days: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestAnswer {
    pub text: String,
}

lending::names! {
    /// What is reported.
    ReportKind {
        /// An account, a card or a phone of somebody who lends it to fraudsters.
        Drop = "drop",
        /// A complaint about an operator's number.
        Number = "number",
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReport {
    #[schema(value_type = String, pattern = "^(drop|number)$")]
    pub kind: ReportKind,
    pub identifier: CaseIdentifier,
    pub text: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportCheck {
    pub confirmed: bool,
    pub why: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportPassed {
    /// To whom it was passed on.
    pub to: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentifierConfirmed {
    pub identifier: CaseIdentifier,
    pub why: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CentreJudged {
    #[schema(value_type = String, pattern = "^(confirmed|dismissed)$")]
    pub state: CentreState,
    pub why: String,
}

/// All numbers of a confirmed call centre at once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CentreNumbers {
    /// False: that is taken back.
    pub confirmed: bool,
    pub why: String,
}
