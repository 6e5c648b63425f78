//! One country's numbering plan, read from a file such as `plans/kz.toml`.

use std::fmt;

use serde::Deserialize;

use crate::digits::Digits;
use crate::normalise::Dialled;
use crate::prefixes::PrefixTable;
use crate::world::country_codes;
use crate::{Number, Prefix, ShortCode};

/// A numbering plan ready to be asked: a few reads of memory a question.
pub struct Plan {
    /// ISO 3166 code of the home country.
    pub country: String,
    country_code: String,
    national_number_lengths: Vec<usize>,
    pub(crate) dialled: Dialled,
    emergency: Vec<ShortCode>,
    ranges: Vec<(Prefix, Kind, Option<Holder>)>,
    holders: Vec<String>,
    table: PrefixTable,
    standings: Vec<Standing>,
}

/// What the plan says about a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    pub owner: Owner,
    pub kind: Kind,
    /// ISO 3166 code of the country, `001` for a global service, empty where nobody holds it.
    pub country: Country,
    /// Who holds the range by default; number portability can say otherwise.
    pub holder: Option<Holder>,
    /// Bit n set: n digits with the country code are possible.
    lengths: u16,
}

/// Whose a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    Home,
    Foreign,
    /// Shared by the countries of one country code; not judged as either's.
    Shared,
    /// Held back by the countries of one country code: never valid.
    Reserve,
    /// No country has this code.
    Unassigned,
}

/// What a range is used for. Only home ranges have one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Fixed,
    Mobile,
    Voip,
    Freephone,
    Premium,
    SharedService,
    Pager,
    Personal,
    /// Home, and in no range of the plan.
    #[serde(skip)]
    Unallocated,
    /// Not home: the plan does not say.
    #[serde(skip)]
    Unknown,
}

/// An index into the plan's operators; see [`Plan::holder`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder(u16);

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Country([u8; 3]);

impl Standing {
    /// Whether a country has the code and its numbers can have this length.
    #[inline]
    pub fn fits(&self, number: Number) -> bool {
        self.lengths >> number.digits() & 1 == 1
    }
}

impl Country {
    fn new(text: &str) -> Country {
        let mut code = [0; 3];
        for (place, byte) in code.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        Country(code)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::str::from_utf8(&self.0).unwrap_or("");
        f.write_str(text.trim_end_matches('\0'))
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a plan file, in a line.
#[derive(Debug, PartialEq, Eq)]
pub struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

/// A plan file. `docs/recipes/plan.md` explains every key.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PlanFile {
    country: String,
    country_code: String,
    national_number_lengths: Vec<usize>,
    national_prefix: Option<String>,
    #[serde(default)]
    international_prefixes: Vec<String>,
    emergency: Vec<String>,
    short_code_lengths: Vec<usize>,
    #[serde(default)]
    split: Vec<SplitRow>,
    range: Vec<RangeRow>,
}

/// Whose the codes after the country code are, where countries share it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitRow {
    from: String,
    to: String,
    /// ISO 3166 code, or `shared`, or `reserve`.
    owner: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeRow {
    kind: Kind,
    holder: Option<String>,
    prefixes: Vec<String>,
}

impl Plan {
    /// Reads a plan from the text of its file.
    pub fn parse(text: &str) -> Result<Plan, PlanError> {
        let file: PlanFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            PlanError(format!("line {line}: {}", error.message()))
        })?;
        Builder::build(file)
    }

    #[inline]
    pub fn standing(&self, number: Number) -> Standing {
        self.standings[usize::from(self.table.find(number))]
    }

    #[inline]
    pub fn is_emergency(&self, code: ShortCode) -> bool {
        self.emergency.contains(&code)
    }

    /// The emergency numbers, the general one as the plan lists it.
    pub fn emergency(&self) -> &[ShortCode] {
        &self.emergency
    }

    /// The ranges in service, with their country code.
    pub fn ranges(&self) -> impl Iterator<Item = (Prefix, Kind, Option<Holder>)> + '_ {
        self.ranges.iter().copied()
    }

    pub fn holder(&self, holder: Holder) -> &str {
        &self.holders[usize::from(holder.0)]
    }

    pub fn country_code(&self) -> &str {
        &self.country_code
    }

    /// How many digits a home number can have after its country code.
    pub fn national_number_lengths(&self) -> &[usize] {
        &self.national_number_lengths
    }
}

struct Builder {
    entries: Vec<(Prefix, Standing)>,
    country_code: String,
}

impl Builder {
    fn build(file: PlanFile) -> Result<Plan, PlanError> {
        let fail = |text: String| Err(PlanError(text));
        if file.country.len() != 2 || !file.country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return fail(format!(
                "country \"{}\" is not an ISO 3166 code, two capital letters",
                file.country
            ));
        }
        if Number::from_digits(format!("{}000000000", file.country_code).as_bytes()).is_err() {
            return fail(format!("country-code \"{}\" is not 1 to 3 digits", file.country_code));
        }
        if let Some(n) = file.national_number_lengths.iter().find(|&&n| !(4..=14).contains(&n)) {
            return fail(format!("national-number-lengths: {n} is not between 4 and 14"));
        }
        if file.emergency.is_empty() {
            return fail(
                "emergency: at least one number is needed, or emergency calls could be refused".into(),
            );
        }
        let mut emergency = Vec::new();
        for text in &file.emergency {
            match ShortCode::from_digits(text.as_bytes()) {
                Some(code) => emergency.push(code),
                None => return fail(format!("emergency: \"{text}\" is not 1 to 6 digits")),
            }
        }

        let mut builder = Builder { entries: Vec::new(), country_code: file.country_code.clone() };
        builder.world();
        let lengths = file.national_number_lengths.iter();
        let lengths = lengths.fold(0u16, |mask, n| mask | 1 << (n + file.country_code.len()));
        let home = |kind, holder| Standing {
            owner: Owner::Home,
            kind,
            country: Country::new(&file.country),
            holder,
            lengths,
        };
        let unallocated = home(Kind::Unallocated, None);
        let whole_code = builder.prefix("")?;
        builder.entries.push((whole_code, unallocated));
        for row in &file.split {
            builder.split(row, &file.country, unallocated)?;
        }

        let mut holders: Vec<String> = Vec::new();
        let mut ranges = Vec::new();
        for row in &file.range {
            let holder = row.holder.as_ref().map(|name| {
                let known = holders.iter().position(|holder| holder == name);
                Holder(known.unwrap_or_else(|| {
                    holders.push(name.clone());
                    holders.len() - 1
                }) as u16)
            });
            for text in &row.prefixes {
                let prefix = builder.prefix(text)?;
                if ranges.iter().any(|&(known, _, _)| known == prefix) {
                    return fail(format!("range prefix \"{text}\" is there twice"));
                }
                ranges.push((prefix, row.kind, holder));
                builder.entries.push((prefix, home(row.kind, holder)));
            }
        }

        let (table, standings) = builder.finish();
        let international_prefixes = file.international_prefixes.iter();
        let dialled = Dialled {
            country_code: Digits::prefix(&file.country_code).expect("checked above"),
            national_prefix: file.national_prefix.as_deref().and_then(Digits::prefix),
            international_prefixes: international_prefixes.filter_map(|text| Digits::prefix(text)).collect(),
            national_number_lengths: Dialled::lengths(&file.national_number_lengths),
            short_code_lengths: Dialled::lengths(&file.short_code_lengths),
        };
        Ok(Plan {
            country: file.country,
            country_code: file.country_code,
            national_number_lengths: file.national_number_lengths,
            dialled,
            emergency,
            ranges,
            holders,
            table,
            standings,
        })
    }

    fn prefix(&self, national: &str) -> Result<Prefix, PlanError> {
        Prefix::from_digits(format!("{}{national}", self.country_code).as_bytes()).ok_or_else(|| {
            PlanError(format!("\"{national}\" is not the leading digits of a national number"))
        })
    }

    fn world(&mut self) {
        for code in country_codes() {
            let standing = Standing {
                owner: Owner::Foreign,
                kind: Kind::Unknown,
                country: Country::new(&code.region),
                holder: None,
                lengths: code.lengths,
            };
            let prefix = Prefix::from_digits(code.digits.as_bytes()).expect("a country code is digits");
            self.entries.push((prefix, standing));
        }
    }

    fn split(&mut self, row: &SplitRow, home: &str, unallocated: Standing) -> Result<(), PlanError> {
        let wrong = || {
            PlanError(format!(
                "split from \"{}\" to \"{}\": two codes of equal length, in order",
                row.from, row.to
            ))
        };
        let (from, to): (u32, u32) = match (row.from.parse(), row.to.parse()) {
            (Ok(from), Ok(to)) if row.from.len() == row.to.len() && from <= to => (from, to),
            _ => return Err(wrong()),
        };
        let other = |owner, country| Standing { owner, kind: Kind::Unknown, country, ..unallocated };
        let standing = match row.owner.as_str() {
            owner if owner == home => unallocated,
            "shared" => other(Owner::Shared, Country::new("")),
            "reserve" => Standing { lengths: 0, ..other(Owner::Reserve, Country::new("")) },
            owner if owner.len() == 2 && owner.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                other(Owner::Foreign, Country::new(owner))
            }
            owner => {
                return Err(PlanError(format!(
                    "split owner \"{owner}\": a country's ISO 3166 code, shared or reserve"
                )));
            }
        };
        for code in from..=to {
            let prefix = self.prefix(&format!("{code:0width$}", width = row.from.len()))?;
            self.entries.push((prefix, standing));
        }
        Ok(())
    }

    fn finish(mut self) -> (PrefixTable, Vec<Standing>) {
        // Stable: of two entries for one prefix the later one, the plan's own, stays.
        self.entries.sort_by_key(|(prefix, _)| prefix.digits());
        let nobody = Standing {
            owner: Owner::Unassigned,
            kind: Kind::Unknown,
            country: Country::new(""),
            holder: None,
            lengths: 0,
        };
        let mut standings = vec![nobody];
        let mut table = PrefixTable::new(0);
        for (prefix, standing) in self.entries {
            let known = standings.iter().position(|other| *other == standing);
            let index = known.unwrap_or_else(|| {
                standings.push(standing);
                standings.len() - 1
            });
            table.insert(prefix, index as u16);
        }
        (table, standings)
    }
}
