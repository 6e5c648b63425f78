//! The words of rules and reasons, from `rulebook/words/`: one file a language, the same keys in each.

use std::collections::HashMap;
use std::sync::LazyLock;

use call::{Reason, Rule};
use serde::Deserialize;

/// A language people read verdicts in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Kk,
    Ru,
    #[default]
    En,
}

impl Language {
    pub const ALL: [Language; 3] = [Language::Kk, Language::Ru, Language::En];

    /// ISO 639-1 code.
    pub fn code(self) -> &'static str {
        match self {
            Language::Kk => "kk",
            Language::Ru => "ru",
            Language::En => "en",
        }
    }

    pub fn from_code(code: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.code() == code)
    }
}

/// Why, in words, without any number in them.
pub fn reason_in_words(language: Language, reason: Reason) -> &'static str {
    BOOKS[language as usize].reasons[reason.code() as usize]
}

pub fn rule_title(language: Language, rule: Rule) -> &'static str {
    BOOKS[language as usize].rules[rule as usize]
}

/// A word of tables and screens by its key in the message files.
pub fn word(language: Language, key: &str) -> &'static str {
    BOOKS[language as usize].words.get(key).copied().unwrap_or_else(|| panic!("no word \"{key}\""))
}

struct Book {
    rules: Vec<&'static str>,
    reasons: Vec<&'static str>,
    words: HashMap<String, &'static str>,
}

static BOOKS: LazyLock<[Book; 3]> = LazyLock::new(|| {
    [
        Book::open(include_str!("../../rulebook/words/kk.toml")),
        Book::open(include_str!("../../rulebook/words/ru.toml")),
        Book::open(include_str!("../../rulebook/words/en.toml")),
    ]
});

impl Book {
    /// Panics on a missing text: the files are part of the binary, and a test opens them.
    fn open(text: &'static str) -> Book {
        let file: HashMap<String, HashMap<String, String>> = toml::from_str(text).expect("message file");
        let find = |table: &str, key: &str| -> &'static str {
            let text = file.get(table).and_then(|table| table.get(key));
            text.unwrap_or_else(|| panic!("message file: [{table}] {key} is missing")).clone().leak()
        };
        Book {
            rules: Rule::ALL.iter().map(|rule| find("rule", rule.id())).collect(),
            reasons: Reason::ALL.iter().map(|reason| find("reason", reason.name())).collect(),
            words: file["word"].keys().map(|key| (key.clone(), find("word", key))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_language_has_every_text_and_no_other() {
        let keys = |text: &str| -> BTreeSet<String> {
            let file: HashMap<String, HashMap<String, String>> = toml::from_str(text).unwrap();
            // Verdicts are written as JSON and as quoted SIP text without escaping: no text may need it.
            let is_plain = |text: &String| {
                !text.trim().is_empty() && !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'))
            };
            assert!(file.values().flat_map(|table| table.values()).all(is_plain));
            file.iter()
                .flat_map(|(table, texts)| texts.keys().map(move |key| format!("{table}.{key}")))
                .collect()
        };
        let english = keys(include_str!("../../rulebook/words/en.toml"));
        assert_eq!(keys(include_str!("../../rulebook/words/ru.toml")), english);
        assert_eq!(keys(include_str!("../../rulebook/words/kk.toml")), english);
        for language in Language::ALL {
            for rule in Rule::ALL {
                assert!(!rule_title(language, rule).is_empty());
            }
            for &reason in Reason::ALL {
                assert!(!reason_in_words(language, reason).is_empty());
            }
            assert!(!word(language, "block").is_empty());
        }
    }
}
