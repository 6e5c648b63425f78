// Reads the messages of this directory; README.md says how they are written. Used by several tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One message with what its RFC asks for.
pub struct Case {
    /// `rfc4475` or `rfc5118`.
    pub rfc: String,
    pub section: String,
    pub name: String,
    pub title: String,
    /// Status codes, the preferred one first, or `silence`.
    pub expect: Vec<String>,
    /// The sender's port that the answer goes to.
    pub port: u16,
    /// What Kamailio 5.6.3 answered: a status code or `silence`.
    pub kamailio: String,
    /// Why the expectation is not met yet.
    pub gap: Option<String>,
    pub message: Vec<u8>,
}

/// Every case, in the order of the RFCs.
pub fn cases() -> Vec<Case> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../conformance");
    let mut cases: Vec<Case> = ["rfc4475", "rfc5118"]
        .iter()
        .flat_map(|rfc| fs::read_dir(root.join(rfc)).unwrap().map(|entry| read(rfc, &entry.unwrap().path())))
        .collect();
    let numbers = |case: &Case| case.section.split('.').map(|n| n.parse().unwrap()).collect::<Vec<u32>>();
    cases.sort_by_key(|case| (case.rfc.clone(), numbers(case), case.name.clone()));
    cases
}

fn read(rfc: &str, path: &Path) -> Case {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let (head, message) =
        text.split_once("\n-----\n").unwrap_or_else(|| panic!("{name}: no line of five dashes"));
    let (section, title) = head.lines().next().unwrap().split_once(' ').unwrap();
    // A line that begins with white space goes on with the one before.
    let head = head.replace("\n ", " ");
    let key = |key: &str| head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let need = |name_of: &str| key(name_of).unwrap_or_else(|| panic!("{name}: no {name_of}:")).to_owned();
    need("is");
    need("asks");
    Case {
        rfc: rfc.to_owned(),
        section: section.to_owned(),
        title: title.to_owned(),
        expect: need("expect").split(" or ").map(str::to_owned).collect(),
        port: key("port").map_or(5060, |port| port.parse().unwrap()),
        kamailio: need("kamailio"),
        gap: key("gap").map(str::to_owned),
        message: decode(message),
        name,
    }
}

/// RFC 4475 section 2: lines end in CR LF; `<allOneLine>`, `<repeat count=N>` and `<hex>` stand for bytes.
pub fn decode(text: &str) -> Vec<u8> {
    let joined = between(text, "<allOneLine>\n", "\n</allOneLine>", |inside| inside.replace('\n', ""));
    let lines = joined.replace('\n', "\r\n");
    let repeated = between(&lines, "<repeat count=", "</repeat>", |inside| match inside.split_once('>') {
        Some((count, text)) => text.repeat(count.parse().expect("a count")),
        None => panic!("<repeat count={inside}"),
    });
    let mut message = Vec::new();
    let mut rest = repeated.as_str();
    while let Some((before, after)) = rest.split_once("<hex>") {
        let (digits, after) = after.split_once("</hex>").expect("an end of <hex>");
        message.extend_from_slice(before.as_bytes());
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hex digits");
        message.extend(digits.as_bytes().chunks(2).map(byte));
        rest = after;
    }
    message.extend_from_slice(rest.as_bytes());
    message
}

fn between(text: &str, open: &str, close: &str, inside: impl Fn(&str) -> String) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(open) {
        let (within, after) = after.split_once(close).unwrap_or_else(|| panic!("no {close} after {before}"));
        out.push_str(before);
        out.push_str(&inside(within));
        rest = after;
    }
    out + rest
}
