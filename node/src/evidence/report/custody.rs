//! Of seized things: what each is, and through whose hands it went.

use ::casework::ItemKind;
use serde_json::Value;

use super::{Writer, list, text};

impl Writer<'_> {
    pub(super) fn seizures(&mut self) {
        let seizures = self.of("seizure");
        if seizures.is_empty() {
            return;
        }
        self.paper.heading(self.word("custody"));
        for (id, seizure) in seizures {
            let serials = match list(&seizure["serials"]).map(text).collect::<Vec<_>>() {
                none if none.is_empty() => self.shown(&seizure, "serials"),
                serials => serials.join(", "),
            };
            let chain = match &seizure["changed"] {
                Value::Null => self.word("chain-whole").to_owned(),
                n => format!("{}: {n}", self.word("chain-changed")),
            };
            let item =
                self.named("item", |name| ItemKind::from_name(name).is_some(), &text(&seizure["item"]));
            let rows = vec![
                (self.word("item"), format!("{} #{id}: {item}", self.word("seizure"))),
                (self.word("serials"), serials),
                (self.word("when"), self.time(&text(&seizure["time"]))),
                (self.word("place"), self.shown(&seizure, "place")),
                (self.word("taken-by"), self.shown(&seizure, "by")),
                ("SHA-256", text(&seizure["hash"])),
                (self.word("chain"), chain),
            ];
            let rows: Vec<Vec<String>> =
                rows.into_iter().map(|(head, value)| vec![head.to_owned(), value]).collect();
            self.paper.table(&[("", 3.0), ("", 7.0)], &rows);
            let row = |entry: &Value| {
                let named = ["from", "to", "place", "why"].map(|name| self.shown(entry, name));
                let mut row = vec![self.time(&text(&entry["time"]))];
                row.extend(named);
                row.extend([text(&entry["who"]), text(&entry["hash"])]);
                row
            };
            let rows: Vec<Vec<String>> = list(&seizure["custody"]).map(row).collect();
            if !rows.is_empty() {
                let heads = ["when", "from", "to", "place", "why", "written-by", "hash"];
                let columns: Vec<(&str, f32)> = heads
                    .iter()
                    .zip([1.7, 1.8, 1.8, 1.8, 2.0, 1.5, 3.0])
                    .map(|(h, w)| (self.word(h), w))
                    .collect();
                self.paper.table(&columns, &rows);
            }
        }
    }
}
