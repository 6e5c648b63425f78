//! Public numbers: what the facts of a period come to. Each figure has its period, whether it counts from the beginning on, and
//! the question it answers, so that anybody who may read the register can ask it again.

use std::fmt::{self, Display, Formatter, Write};

use jiff::civil::Date;
use lending::Sum;

lending::names! {
    /// What is counted.
    Measure {
        Facts = "facts",
        Damage = "damage",
        Recovered = "recovered",
        /// Facts that are in court or were sentenced.
        FactsInCourt = "facts-in-court",
        /// Suspects, drops and workers of call centres in a confirmed group with such a fact.
        PersonsBroughtToAccount = "persons-brought-to-account",
        /// Confirmed groups with a fact of the period.
        Groups = "groups",
        /// The facts of the confirmed group that has most.
        LargestGroup = "largest-group",
        Seizures = "seizures",
        /// Call centres that a person confirmed.
        CallCentres = "call-centres",
        /// Of operators, banks and the police, about a number or a drop.
        Reports = "reports",
        /// Calls that were judged.
        Calls = "calls",
        CallsBlocked = "calls-blocked",
    }
}

impl Measure {
    pub fn is_money(self) -> bool {
        matches!(self, Measure::Damage | Measure::Recovered)
    }
}

/// Days from one on and before another, by the clock of the register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    pub from: Date,
    pub until: Date,
}

impl Period {
    pub fn of_year(year: i16) -> Option<Period> {
        let first = |year| Date::new(year, 1, 1).ok();
        Some(Period { from: first(year)?, until: first(year.checked_add(1)?)? })
    }

    /// The same days so many years before.
    pub fn years_before(self, years: i16) -> Option<Period> {
        let before = |day: Date| day.checked_sub(jiff::Span::new().years(years)).ok();
        Some(Period { from: before(self.from)?, until: before(self.until)? })
    }
}

/// As people read it: a year, or its first and last day.
impl Display for Period {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match Period::of_year(self.from.year()) == Some(*self) {
            true => write!(f, "{}", self.from.year()),
            false => write!(f, "{} – {}", self.from, self.until.yesterday().unwrap_or(self.until)),
        }
    }
}

/// One number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figure {
    pub measure: Measure,
    /// The type of facts, the kind of items, the reason of blocks; empty: all together.
    pub of: String,
    pub period: Period,
    /// Money in hundredths.
    pub value: i64,
    /// How it is asked for again.
    pub query: String,
}

impl Figure {
    pub fn shown(&self) -> String {
        match self.measure.is_money() {
            true => Sum::of_hundredths(self.value).to_string(),
            false => self.value.to_string(),
        }
    }
}

/// Figures as CSV (RFC 4180), a line each.
pub fn csv(figures: &[Figure], is_cumulative: bool) -> String {
    let mut text = String::from("measure,of,value,from,until,cumulative,query\r\n");
    for figure in figures {
        let Figure { measure, of, period: Period { from, until }, query, .. } = figure;
        let query = query.replace('"', "\"\"");
        let _ = write!(
            text,
            "{},{of},{},{from},{until},{is_cumulative},\"{query}\"\r\n",
            measure.name(),
            figure.shown()
        );
    }
    text
}

/// What a year came to, and how much more than the one before: 0.25 is a quarter more.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Year {
    pub period: Period,
    pub facts: i64,
    pub growth: Option<f64>,
}

/// Years in their order, each beside the one before it.
pub fn growth(years: &[(Period, i64)]) -> Vec<Year> {
    let before = std::iter::once(None).chain(years.iter().map(|(_, facts)| Some(*facts)));
    let of = |(&(period, facts), before): (&(Period, i64), Option<i64>)| {
        let growth = before.filter(|before| *before > 0).map(|before| facts as f64 / before as f64 - 1.0);
        Year { period, facts, growth }
    };
    years.iter().zip(before).map(of).collect()
}

const WIDTH: usize = 640;
const HEIGHT: usize = 320;
const MARGIN: usize = 48;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Facts of each year as bars: SVG 1.1, in itself, readable without colours.
pub fn chart(title: &str, years: &[Year]) -> String {
    let most = years.iter().map(|year| year.facts).max().unwrap_or(0).max(1) as f64;
    let step = (WIDTH - 2 * MARGIN) / years.len().max(1);
    let room = (HEIGHT - 2 * MARGIN) as f64;
    let title = escaped(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"13\"><title>{title}</title><text x=\"{MARGIN}\" y=\"24\" font-size=\"16\">{title}</text>"
    );
    for (n, year) in years.iter().enumerate() {
        let height = (year.facts as f64 / most * room).round() as usize;
        let (left, top) = (MARGIN + n * step + step / 6, HEIGHT - MARGIN - height);
        let (width, middle) = (step * 2 / 3, MARGIN + n * step + step / 2);
        let label = match Period::of_year(year.period.from.year()) == Some(year.period) {
            true => year.period.to_string(),
            false => year.period.from.to_string(),
        };
        let more = year.growth.map(|growth| format!(" ({:+.0} %)", growth * 100.0)).unwrap_or_default();
        let _ = write!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"#1f5f8b\"/>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
            top - 6,
            year.facts,
            HEIGHT - MARGIN + 18,
            HEIGHT - MARGIN + 34,
            more.trim()
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_beside_the_year_before() {
        let year = |year| Period::of_year(year).unwrap();
        let grown = growth(&[(year(2021), 0), (year(2022), 16_000), (year(2023), 20_000)]);
        let rates: Vec<Option<f64>> = grown.iter().map(|year| year.growth).collect();
        // From nothing there is no growth in per cent.
        assert_eq!(rates, [None, None, Some(0.25)]);
        assert_eq!(year(2023).years_before(7), Some(year(2016)));
        let leap = Period { from: Date::constant(2024, 2, 29), until: Date::constant(2024, 3, 1) };
        assert_eq!(leap.years_before(1).unwrap().from, Date::constant(2023, 2, 28));
    }

    #[test]
    fn csv_and_charts_survive_what_is_in_them() {
        let period = Period::of_year(2023).unwrap();
        let of = |measure, value| Figure {
            measure,
            of: String::new(),
            period,
            value,
            query: "SELECT \"a\", b".to_owned(),
        };
        let text = csv(&[of(Measure::Damage, 1_750_000_000_000), of(Measure::Facts, 20_000)], false);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(
            rows[0].iter().collect::<Vec<_>>(),
            ["damage", "", "17500000000.00", "2023-01-01", "2024-01-01", "false", "SELECT \"a\", b"]
        );
        assert_eq!(&rows[1][2], "20000");
        let svg = chart("Facts <&> \"all\"", &growth(&[(period, 20_000)]));
        assert!(
            svg.contains("Facts &lt;&amp;&gt; &quot;all&quot;")
                && svg.contains(">20000<")
                && svg.contains(">2023<")
        );
    }
}
