//! The laws of the house that a machine can check; each failure says what to do instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Floors from the ground up; see ARCHITECTURE.md.
const FLOORS: [(&str, u8); 16] = [
    ("numbering", 1),
    ("sip", 1),
    ("face", 1),
    ("smpp", 1),
    ("call", 2),
    ("lists", 2),
    ("rules", 3),
    ("journal", 3),
    ("screening", 4),
    ("exchange", 4),
    ("hunting", 4),
    ("lending", 4),
    ("casework", 5),
    ("simulator", 5),
    ("node", 6),
    ("bench", 7),
];

fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                files(&path, extension, found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn all(extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root(), extension, &mut found);
    assert!(!found.is_empty());
    let shown = |path: &PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    found.iter().map(|path| (shown(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn a_crate_uses_only_the_floors_below() {
    let floor = |name: &str| FLOORS.iter().find(|(floor, _)| *floor == name).map(|(_, floor)| *floor);
    let members = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for (name, own) in FLOORS {
        assert!(members.contains(&format!("\"{name}\"")), "{name} is not a member");
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let normal = manifest.split("[dev-dependencies]").next().unwrap();
        for line in normal.lines() {
            let used = line.split(['.', ' ', '=']).next().unwrap_or("");
            let used = if used == "qalqan" { "node" } else { used };
            if let Some(below) = floor(used) {
                assert!(
                    below < own,
                    "{name} (floor {own}) uses {used} (floor {below}): move the code down, or pass it in"
                );
            }
        }
        // Floors 1 to 4 have no I/O, no clock and no threads: what they need is an argument.
        if own <= 5 {
            for forbidden in ["tokio", "socket2", "memmap2", "signal-hook"] {
                assert!(!normal.contains(forbidden), "{name} may not use {forbidden}: do that in node");
            }
        }
    }
}

#[test]
fn only_the_node_touches_files_sockets_and_the_clock() {
    for (path, text) in all("rs") {
        let crate_name = path.split('/').next().unwrap();
        let inside =
            FLOORS.iter().any(|(name, floor)| *name == crate_name && *floor <= 5) && path.contains("/src/");
        let code = text.split("#[cfg(test)]").next().unwrap();
        for forbidden in [
            "std::fs",
            "std::net::Udp",
            "std::net::Tcp",
            "SystemTime::now",
            "Instant::now",
            "thread::",
            "std::env",
            "println!",
        ] {
            assert!(
                !inside || !code.contains(forbidden),
                "{path}: {forbidden} belongs to node; take what you need as an argument"
            );
        }
    }
}

#[test]
fn nothing_is_one_countrys_own() {
    for (path, text) in all("rs") {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let is_judging = [
            "numbering/src",
            "call/src",
            "lists/src",
            "rules/src",
            "screening/src",
            "sip/src",
            "lending/src",
        ]
        .iter()
        .any(|own| path.starts_with(own));
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for word in ["\"kz\"", "\"KZ\"", "\"RU\"", "\"+7", "\"112\"", "Kcell"] {
                assert!(
                    !is_judging || !line.contains(word),
                    "{path}: {word}: put it into a plan or a message file"
                );
            }
        }
    }
}

#[test]
fn files_hold_one_idea() {
    for (path, text) in all("rs") {
        let lines = text.lines().count();
        assert!(lines <= 520, "{path} has {lines} lines: split it by idea");
        for name in ["utils", "helpers", "common", "manager", "misc"] {
            assert!(!path.contains(name), "{path}: name the file after what is in it");
        }
        if path.contains("/src/") {
            assert!(text.starts_with("//!"), "{path}: begin with what it is for, in //! lines");
        }
    }
}

#[test]
fn docs_know_every_rule_reason_list_and_setting() {
    let docs: BTreeMap<String, String> = all("md").into_iter().collect();
    for rule in call::Rule::ALL {
        assert!(
            docs["docs/rules.md"].contains(rule.id()) && docs["docs/rules.md"].contains(rule.name()),
            "docs/rules.md: {}",
            rule.id()
        );
    }
    for reason in call::Reason::ALL {
        assert!(docs["docs/rules.md"].contains(reason.name()), "docs/rules.md: {}", reason.name());
    }
    for list in screening::ListName::ALL {
        assert!(docs["docs/lists.md"].contains(list.name()), "docs/lists.md: {}", list.name());
    }
    let manifests: String = all("toml")
        .into_iter()
        .filter(|(path, _)| path.ends_with("Cargo.toml"))
        .map(|(_, text)| text)
        .collect();
    for line in manifests.lines().filter(|line| line.contains("version = \"") || line.contains(" = \"")) {
        let Some((name, value)) = line.split_once(" = ") else { continue };
        let is_dependency = value.trim_start_matches("{ version = ").starts_with(['"'])
            && value.contains(|c: char| c.is_ascii_digit());
        let is_setting = [
            "version",
            "edition",
            "license",
            "name",
            "description",
            "resolver",
            "path",
            "publish",
            "lto",
            "debug",
            "panic",
        ]
        .contains(&name);
        if is_dependency && !is_setting {
            assert!(
                docs["docs/dependencies.md"].contains(name),
                "docs/dependencies.md does not say why {name}"
            );
        }
    }
}

/// Links between documents lead somewhere.
#[test]
fn links_lead_somewhere() {
    for (path, text) in all("md") {
        let here = root().join(&path);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(here.parent().unwrap().join(target).exists(), "{path}: link to {target}");
        }
    }
}
