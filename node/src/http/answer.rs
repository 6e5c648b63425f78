//! The body of an answer: a verdict, and for those who ask why everything it stood on.

use std::collections::BTreeMap;

use call::{Call, Decided, Question, Verdict, Would};
use rules::{Language, reason_in_words};
use screening::{Observation, Policy};
use serde::Serialize;
use utoipa::ToSchema;

use crate::exchange::{Told, about, outcome_name};

/// A verdict.
#[derive(Serialize, ToSchema)]
#[schema(as = Verdict)]
pub struct Answer {
    /// allow, mark, withhold or block.
    verdict: &'static str,
    /// Of a marked call: verified, international, not-verified or suspected.
    label: Option<&'static str>,
    /// The rule that decided, `R00` to `R20` or `ALLOW`.
    rule: &'static str,
    /// That rule's name.
    name: &'static str,
    /// The reason for programs.
    sub_reason: &'static str,
    /// The reason for people, in the language of Content-Language.
    reason: &'static str,
    /// What the first rule in monitor mode that hit would have done.
    would: Option<WouldAnswer>,
    /// What other operators said, in the order they were asked; left out where nobody was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answers: Vec<Heard>,
    /// What the verdict stood on: versions of rules, plan and lists, by the first 8 bytes of their hash.
    basis: String,
}

/// What another operator said of a number.
#[derive(Serialize, ToSchema)]
#[schema(as = Heard)]
pub struct Heard {
    /// roaming or initiation.
    question: &'static str,
    /// The number it was about, masked.
    about: String,
    /// roaming, not-roaming, not-assigned, initiated, not-initiated; or why it is not known: timeout, refused,
    /// not-a-member, no-such-number, bad-answer, unreachable.
    answer: &'static str,
    /// Who answered, by its name in the exchange; null: nobody holds the number.
    by: Option<String>,
    /// How old the knowledge is, ms.
    age_ms: Option<u64>,
    /// Where it comes from: hlr, camel, ims, camara, feed or cache.
    method: Option<&'static str>,
    /// Country visited, ISO 3166-1 alpha-2.
    visited: Option<String>,
}

impl Heard {
    pub fn new(question: &Question, told: &Told) -> Heard {
        Heard {
            question: match question {
                Question::Roaming(_) => "roaming",
                Question::Initiation { .. } => "initiation",
            },
            about: about(*question).to_string(),
            answer: outcome_name(&told.answer),
            by: (!told.by.is_empty()).then(|| told.by.clone()),
            age_ms: told.age_ms,
            method: told.method.map(|method| method.name()),
            visited: told.visited.map(|code| code.iter().map(|&letter| char::from(letter)).collect()),
        }
    }
}

/// What a rule in monitor mode would have done.
#[derive(Serialize, ToSchema)]
#[schema(as = Would)]
pub struct WouldAnswer {
    verdict: &'static str,
    label: Option<&'static str>,
    rule: &'static str,
    name: &'static str,
    sub_reason: &'static str,
    reason: &'static str,
}

impl Answer {
    pub fn new(verdict: &Verdict, basis: u64, answers: Vec<Heard>, language: Language) -> Answer {
        let Verdict { treatment, rule, reason, would, .. } = *verdict;
        Answer {
            verdict: treatment.name(),
            label: treatment.label().map(|label| label.name()),
            rule: rule.id(),
            name: rule.name(),
            sub_reason: reason.name(),
            reason: reason_in_words(language, reason),
            would: would.map(|Would { treatment, rule, reason }| WouldAnswer {
                verdict: treatment.name(),
                label: treatment.label().map(|label| label.name()),
                rule: rule.id(),
                name: rule.name(),
                sub_reason: reason.name(),
                reason: reason_in_words(language, reason),
            }),
            answers,
            basis: format!("{basis:016x}"),
        }
    }
}

/// A verdict with every fact it stood on. Numbers are masked.
#[derive(Serialize, ToSchema)]
pub struct Explained {
    #[serde(flatten)]
    answer: Answer,
    /// Which of the caller's numbers decided: `network number` or `presentation number`.
    decided_by: &'static str,
    calling: String,
    presentation: String,
    called: String,
    redirecting: String,
    /// A home number came in national form by a trunk where full numbers are usual.
    national_form: bool,
    trunk: String,
    class: &'static str,
    /// What the rules asked, in the order they asked.
    facts: Vec<FactFound>,
    versions: Versions,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Fact)]
pub struct FactFound {
    fact: String,
    found: String,
}

/// The versions under the basis's hash.
#[derive(Serialize, ToSchema)]
pub struct Versions {
    catalogue_version: u32,
    /// Country of the plan, and the SHA-256 of its file.
    plan: [String; 2],
    /// SHA-256 of the configuration file.
    configuration: String,
    /// Lists by name, the SHA-256 of each file.
    lists: BTreeMap<String, String>,
    /// Trunk names in the order of their index.
    trunks: Vec<String>,
}

impl Explained {
    /// `trunk` is the name to show; `language` that of reasons and facts.
    pub fn new(
        policy: &Policy,
        trunk: &str,
        call: &Call,
        answer: Answer,
        decided: Decided,
        facts: &[Observation],
        language: Language,
    ) -> Explained {
        let basis = policy.basis();
        Explained {
            answer,
            decided_by: match decided {
                Decided::ByNetworkNumber => "network number",
                Decided::ByPresentationNumber => "presentation number",
            },
            calling: call.calling.to_string(),
            presentation: call.presentation.to_string(),
            called: call.called.to_string(),
            redirecting: call.redirecting.to_string(),
            national_form: call.national_form,
            trunk: trunk.to_owned(),
            class: call.class.name(),
            facts: facts
                .iter()
                .map(|seen| FactFound { fact: seen.question(language), found: seen.answer(language) })
                .collect(),
            versions: Versions {
                catalogue_version: basis.catalogue_version,
                plan: [basis.plan.0.clone(), basis.plan.1.clone()],
                configuration: basis.configuration.clone(),
                lists: basis.lists.clone(),
                trunks: basis.trunks.clone(),
            },
        }
    }
}
