//! `qalqan check`: one call judged before your eyes, with every fact the verdict stood on.

use std::io::{self, Write};

use call::{Call, Decided, Verdict};
use rules::{Language, reason_in_words, rule_title, word};
use screening::{Fields, Observation, Screening};
use serde_json::json;

use crate::config::Setup;
use crate::door::from_text;
use crate::store::now_ms;

/// The call to judge, as typed.
pub struct Asked<'a> {
    pub trunk: &'a str,
    pub fields: Fields<'a>,
}

/// A verdict and what it stood on.
pub struct Checked<'s> {
    setup: &'s Setup,
    call: Call,
    verdict: Verdict,
    facts: Vec<Observation>,
}

pub fn check<'s>(setup: &'s Setup, asked: &Asked) -> Result<Checked<'s>, String> {
    let policy = &setup.policy;
    let trunk = policy.trunk_named(asked.trunk).ok_or_else(|| {
        let names: Vec<&str> = policy.trunks.iter().map(|trunk| trunk.name.as_str()).collect();
        format!("trunk \"{}\" is not in the configuration: it has {}", asked.trunk, names.join(", "))
    })?;
    let Fields { calling, presentation, called, redirecting, privacy } = asked.fields;
    let fields = Fields {
        calling: &from_text(policy, calling),
        presentation: &from_text(policy, presentation),
        called: &from_text(policy, called),
        redirecting: &from_text(policy, redirecting),
        privacy,
    };
    let call = policy.intake(now_ms(), trunk, &fields);
    let (verdict, facts) = Screening::closed(policy, call).explain();
    Ok(Checked { setup, call, verdict, facts })
}

impl Checked<'_> {
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// For people.
    pub fn print(&self, out: &mut impl Write, language: Language) -> io::Result<()> {
        let w = |key: &str| word(language, key);
        let Verdict { treatment, rule, reason, would, .. } = self.verdict;
        let label = treatment.label().map_or(String::new(), |label| format!(" ({})", label.name()));
        let mut line = |key: &str, text: String| writeln!(out, "{:<14} {text}", w(key));
        line("verdict", format!("{}{label}", w(treatment.name())))?;
        line("rule", format!("{} {}: {}", rule.id(), rule.name(), rule_title(language, rule)))?;
        line("reason", reason_in_words(language, reason).to_owned())?;
        if let Some(would) = would {
            let reason = reason_in_words(language, would.reason);
            line(
                "would",
                format!("{}: {} {}: {reason}", w(would.treatment.name()), would.rule.id(), would.rule.name()),
            )?;
        }
        let call = &self.call;
        for (key, party) in [
            ("calling", call.calling),
            ("presentation", call.presentation),
            ("called", call.called),
            ("redirecting", call.redirecting),
        ] {
            if party != numbering::Party::Absent {
                line(key, party.to_string())?;
            }
        }
        line("trunk", format!("{}, {}", self.setup.policy.trunk(call.trunk).name, call.class.name()))?;
        writeln!(out, "{}", w("facts"))?;
        for seen in &self.facts {
            writeln!(out, "  {:<38} {}", seen.question(language), seen.answer(language))?;
        }
        if call.national_form {
            writeln!(out, "  {:<38} {}", w("national-form"), w("yes"))?;
        }
        Ok(())
    }

    /// For programs.
    pub fn json(&self, language: Language) -> serde_json::Value {
        let Verdict { treatment, rule, reason, decided, would, .. } = self.verdict;
        let basis = self.setup.policy.basis();
        let call = &self.call;
        json!({
            "verdict": treatment.name(),
            "label": treatment.label().map(|label| label.name()),
            "rule": rule.id(),
            "name": rule.name(),
            "sub_reason": reason.name(),
            "reason": reason_in_words(language, reason),
            "decided_by": match decided {
                Decided::ByNetworkNumber => "network number",
                Decided::ByPresentationNumber => "presentation number",
            },
            "would": would.map(|would| json!({
                "verdict": would.treatment.name(),
                "rule": would.rule.id(),
                "name": would.rule.name(),
                "reason": reason_in_words(language, would.reason),
            })),
            "calling": call.calling.to_string(),
            "presentation": call.presentation.to_string(),
            "called": call.called.to_string(),
            "redirecting": call.redirecting.to_string(),
            "national_form": call.national_form,
            "trunk": self.setup.policy.trunk(call.trunk).name,
            "class": call.class.name(),
            "facts": self.facts.iter().map(|seen| json!({"fact": seen.question(Language::En), "found": seen.answer(Language::En)})).collect::<Vec<_>>(),
            "versions": basis,
        })
    }
}
