//! The label column: which of its values is the bad one.

use crate::table::number;

const BAD: &[&str] = &[
    "1",
    "true",
    "yes",
    "y",
    "t",
    "fraud",
    "fraudster",
    "fraudulent",
    "positive",
    "bad",
    "scam",
    "spam",
    "anomaly",
    "malicious",
];
const GOOD: &[&str] = &[
    "0",
    "-1",
    "false",
    "no",
    "n",
    "f",
    "normal",
    "legit",
    "legitimate",
    "negative",
    "good",
    "benign",
    "honest",
    "ok",
];

/// What the label column said of each row.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Nothing for rows that are held out or have no label.
    pub known: Vec<Option<bool>>,
    pub positive: String,
    /// The other value, or "any other".
    pub negative: String,
    /// Rows in question whose cell is empty.
    pub gaps: usize,
}

impl Labels {
    /// `cells`: of rows to be trained on, else nothing: what a held-out row says is not looked at. With `positive`, all
    /// other values are negative.
    pub fn read(cells: &[Option<String>], positive: Option<&str>) -> Result<Labels, String> {
        let canonical = |cell: &str| match number(cell) {
            Some(number) if number.is_nan() => None,
            Some(number) => Some(number.to_string()),
            None => Some(cell.to_owned()),
        };
        let read: Vec<Option<String>> =
            cells.iter().map(|cell| cell.as_deref().and_then(|cell| canonical(cell.trim()))).collect();
        let gaps = cells.iter().zip(&read).filter(|(cell, read)| cell.is_some() && read.is_none()).count();
        let mut values: Vec<(String, usize)> = Vec::new();
        for value in read.iter().flatten() {
            match values.iter().position(|(known, _)| known == value) {
                Some(place) => values[place].1 += 1,
                None if values.len() == 64 => return Err(many(&values, true)),
                None => values.push((value.clone(), 1)),
            }
        }
        values.sort();
        let (positive, negative) = match positive {
            Some(asked) => {
                let asked = canonical(asked).unwrap_or_default();
                if !values.iter().any(|(value, _)| *value == asked) {
                    return Err(format!(
                        "no row has the label \"{asked}\" that --positive names: {}",
                        listed(&values)
                    ));
                }
                let mut others = values.iter().filter(|(value, _)| *value != asked);
                let negative = match (others.next(), others.next()) {
                    (Some((other, _)), None) => other.clone(),
                    _ => "any other".to_owned(),
                };
                (asked, negative)
            }
            None => match &values[..] {
                [] => return Err("no row has a label".to_owned()),
                [(one, count)] => {
                    return Err(format!(
                        "all {count} labels are \"{one}\": both kinds are needed to tell them apart"
                    ));
                }
                [a, b] => bad_one(a, b),
                _ => return Err(many(&values, false)),
            },
        };
        let known = read.into_iter().map(|value| value.map(|value| value == positive)).collect();
        Ok(Labels { known, positive, negative, gaps })
    }

    pub fn positives(&self) -> usize {
        self.known.iter().filter(|known| **known == Some(true)).count()
    }

    pub fn negatives(&self) -> usize {
        self.known.iter().filter(|known| **known == Some(false)).count()
    }
}

/// Of two values: the larger number, the one whose word says so, or the rarer one.
fn bad_one(a: &(String, usize), b: &(String, usize)) -> (String, String) {
    let is_in = |words: &[&str], value: &str| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    let leaning = |value: &str| i8::from(is_in(BAD, value)) - i8::from(is_in(GOOD, value));
    let (said_a, said_b) = (leaning(&a.0), leaning(&b.0));
    let is_a_bad = match (number(&a.0), number(&b.0)) {
        (Some(x), Some(y)) => x > y,
        _ if said_a != said_b => said_a > said_b,
        _ => a.1 < b.1,
    };
    if is_a_bad { (a.0.clone(), b.0.clone()) } else { (b.0.clone(), a.0.clone()) }
}

fn listed(values: &[(String, usize)]) -> String {
    let shown: Vec<String> =
        values.iter().take(8).map(|(value, count)| format!("\"{value}\" ({count})")).collect();
    format!("the column has {}{}", shown.join(", "), if values.len() > 8 { " and more" } else { "" })
}

fn many(values: &[(String, usize)], are_more: bool) -> String {
    let least = if are_more { "at least " } else { "" };
    format!(
        "the label has {least}{} values where two are needed: {}; say --positive VALUE to tell one from all others",
        values.len(),
        listed(values)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(cells: &[&str], positive: Option<&str>) -> Result<(String, String, usize), String> {
        let cells: Vec<Option<String>> = cells.iter().map(|cell| Some((*cell).to_owned())).collect();
        Labels::read(&cells, positive)
            .map(|labels| (labels.positive.clone(), labels.negative.clone(), labels.positives()))
    }

    #[test]
    fn the_bad_value_is_found() {
        for (cells, bad, good) in [
            (["0", "1", "1"], "1", "0"),
            (["1.0", "0.0", "1.0"], "1", "0"),
            (["-1", "1", "1"], "1", "-1"),
            (["True", "False", "False"], "True", "False"),
            (["normal", "Fraud", "Fraud"], "Fraud", "normal"),
            (["1", "2", "2"], "2", "1"),
            (["swan", "goose", "goose"], "swan", "goose"),
            (["yes", "no", "no"], "yes", "no"),
        ] {
            let (found, other, _) = labels(&cells, None).unwrap();
            assert_eq!((&found[..], &other[..]), (bad, good));
        }
        assert_eq!(
            labels(&["0", "1", "2", "2"], Some("2")).unwrap(),
            ("2".to_owned(), "any other".to_owned(), 2)
        );
        assert!(labels(&["0", "1", "2"], None).unwrap_err().contains("--positive"));
        assert!(labels(&["0", "0"], None).unwrap_err().contains("both kinds"));
        assert!(labels(&["0", "1"], Some("9")).unwrap_err().contains("\"9\""));
    }
}
