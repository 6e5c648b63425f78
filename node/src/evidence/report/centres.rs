//! Of call centres and of call records: what the register says of each centre, and which files calls were taken of.

use std::collections::BTreeMap;

use ::casework::CentreState;
use ::hunting::Signal;
use rules::word;
use serde_json::Value;

use super::{Writer, list, text};

/// What else than signals hunting takes for evidence: what ties numbers.
const TIES: [&str; 5] = ["telephone", "called-numbers", "pauses", "cell", "number-run"];

fn is_sign(name: &str) -> bool {
    TIES.contains(&name) || Signal::ALL.iter().any(|signal| signal.name() == name)
}

/// Those that look the same masked are counted.
fn values(identifiers: &Value, kind: &str) -> String {
    let mut values: BTreeMap<String, usize> = BTreeMap::new();
    for one in list(identifiers).filter(|one| one["kind"] == kind) {
        *values.entry(text(&one["value"])).or_default() += 1;
    }
    let shown = values.into_iter().map(|(value, count)| match count {
        1 => value,
        count => format!("{value} (×{count})"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

impl Writer<'_> {
    pub(super) fn centres(&mut self) {
        let centres = self.of("centre");
        if centres.is_empty() {
            return;
        }
        self.paper.heading(self.word("centres"));
        for (id, centre) in centres {
            let texts = |name: &str| list(&centre[name]).map(text).collect::<Vec<_>>().join(", ");
            let days = [&centre["from"], &centre["until"]].map(text);
            let signs = list(&centre["evidence"]).map(|sign| self.named("sign", is_sign, &text(sign)));
            let facts = list(&centre["facts"]).filter_map(Value::as_i64);
            let mut facts: Vec<String> = facts.map(|id| self.case_name("fact", id)).collect();
            facts.extend(centre["elsewhere"].as_u64().filter(|n| *n > 0).map(|n| format!("+{n}")));
            let rows = [
                (self.word("state-of-centre"), self.centre_state(&text(&centre["state"]))),
                (self.word("numbers"), values(&centre["identifiers"], "phone")),
                (self.word("telephones"), values(&centre["identifiers"], "imei")),
                (self.word("trunks"), texts("trunks")),
                (self.word("days"), days.join(" – ")),
                (self.word("signs"), signs.collect::<Vec<_>>().join(", ")),
                (self.word("called"), facts.join(", ")),
                (self.word("found-in"), texts("records")),
            ];
            let none = self.word("none");
            let row = |(head, value): (&str, String)| {
                let value = if value.is_empty() { none.to_owned() } else { value };
                vec![head.to_owned(), value]
            };
            let name = vec![self.word("what").to_owned(), self.case_name("centre", id)];
            let rows: Vec<Vec<String>> = std::iter::once(name).chain(rows.into_iter().map(row)).collect();
            self.paper.table(&[("", 3.0), ("", 7.0)], &rows);
            let judged: Vec<Vec<String>> =
                list(&centre["events"]).filter_map(|event| self.judgement(event)).collect();
            if !judged.is_empty() {
                let heads = ["when", "written-by", "state-of-centre", "why-judged"].map(|key| self.word(key));
                let columns = [(heads[0], 2.0), (heads[1], 2.0), (heads[2], 3.0), (heads[3], 4.0)];
                self.paper.table(&columns, &judged);
            }
        }
    }

    fn centre_state(&self, name: &str) -> String {
        self.named("centre", |name| CentreState::from_name(name).is_some(), name)
    }

    /// What a person said of a centre or of its numbers; other events are none.
    fn judgement(&self, event: &Value) -> Option<Vec<String>> {
        let said = match text(&event["event"]).as_str() {
            "numbers_confirmed" => self.word("numbers-confirmed").to_owned(),
            "numbers_retracted" => self.word("numbers-retracted").to_owned(),
            other => {
                let state = other.strip_prefix("centre_")?;
                CentreState::from_name(state).map(|_| self.centre_state(state))?
            }
        };
        Some(vec![self.time(&text(&event["time"])), text(&event["who"]), said, self.shown(event, "why")])
    }

    /// Files of records that calls of the package were taken of.
    pub(super) fn records(&mut self) {
        let manifest = self.manifest;
        if manifest.records.is_empty() {
            return;
        }
        self.paper.heading(self.word("records"));
        self.paper.paragraph(self.word("records-note"));
        let row = |taken: &super::super::Taken| {
            vec![
                taken.name.clone(),
                taken.sha256.clone(),
                taken.bytes.to_string(),
                taken.calls.len().to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = manifest.records.iter().map(row).collect();
        let columns = [
            (self.word("file"), 3.0),
            ("SHA-256", 5.0),
            (self.word("bytes"), 1.6),
            (word(self.language, "calls"), 1.8),
        ];
        self.paper.table(&columns, &rows);
    }
}
