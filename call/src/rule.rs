//! The rules by name, in the order in which they are asked, and the modes they can be in.

use std::fmt;

/// A rule of the catalogue. Its variants stand in the order of evaluation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Rule {
    R00,
    R01,
    /// The operator's own allow list, which wins over everything after R01.
    Allow,
    R02,
    R03,
    R04,
    R05,
    R06,
    R07,
    R08,
    R09,
    R10,
    R11,
    R16,
    R12,
    R13,
    R14,
    R15,
    R17,
    R18,
    R19,
    R20,
}

impl Rule {
    pub const ALL: [Rule; 22] = [
        Rule::R00,
        Rule::R01,
        Rule::Allow,
        Rule::R02,
        Rule::R03,
        Rule::R04,
        Rule::R05,
        Rule::R06,
        Rule::R07,
        Rule::R08,
        Rule::R09,
        Rule::R10,
        Rule::R11,
        Rule::R16,
        Rule::R12,
        Rule::R13,
        Rule::R14,
        Rule::R15,
        Rule::R17,
        Rule::R18,
        Rule::R19,
        Rule::R20,
    ];

    const IDS: [(&'static str, &'static str); 22] = [
        ("R00", "emergency"),
        ("R01", "roaming-number"),
        ("ALLOW", "allow-list"),
        ("R02", "no-calling-number"),
        ("R03", "malformed"),
        ("R04", "never-originates"),
        ("R05", "unallocated"),
        ("R06", "dedicated"),
        ("R07", "diverted-home"),
        ("R08", "fixed-from-abroad"),
        ("R09", "no-outbound-roaming"),
        ("R10", "roaming"),
        ("R11", "not-roaming"),
        ("R16", "no-international"),
        ("R12", "roaming-unknown"),
        ("R13", "foreign-on-national"),
        ("R14", "not-initiated"),
        ("R15", "initiation-unknown"),
        ("R17", "signature-failed"),
        ("R18", "behaviour"),
        ("R19", "international"),
        ("R20", "default"),
    ];

    /// `R08`.
    #[inline]
    pub fn id(self) -> &'static str {
        Rule::IDS[self as usize].0
    }

    /// `fixed-from-abroad`.
    #[inline]
    pub fn name(self) -> &'static str {
        Rule::IDS[self as usize].1
    }

    pub fn from_id(id: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.id() == id)
    }

    pub fn from_index(index: u8) -> Option<Rule> {
        Rule::ALL.get(usize::from(index)).copied()
    }
}

/// What a rule may do on a trunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// What the catalogue says.
    #[default]
    Catalogue,
    Off,
    /// Record what it would have done, and go on.
    Monitor,
    /// Pass with the label not-verified; only R12 knows this one.
    Mark,
    Withhold,
    Block,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Catalogue => "catalogue",
            Mode::Off => "off",
            Mode::Monitor => "monitor",
            Mode::Mark => "mark",
            Mode::Withhold => "withhold",
            Mode::Block => "block",
        }
    }
}

/// A few rules, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct RuleSet(pub u32);

impl RuleSet {
    #[inline]
    pub fn with(self, rule: Rule) -> RuleSet {
        RuleSet(self.0 | 1 << rule as u32)
    }

    #[inline]
    pub fn contains(self, rule: Rule) -> bool {
        self.0 >> rule as u32 & 1 == 1
    }

    pub fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.into_iter().filter(move |&rule| self.contains(rule))
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_in_order() {
        for (index, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, index);
            assert_eq!(Rule::from_id(rule.id()), Some(rule));
            if !matches!(rule, Rule::Allow) {
                assert_eq!(rule.id(), format!("{rule:?}"));
            }
        }
    }
}
