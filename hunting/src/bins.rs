//! Columns cut into at most 255 bins, so that a tree counts instead of sorting.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::table::{Values, short};

/// Bin 0: a gap, and for words also a level too rare to be known.
pub const GAP: u8 = 0;
const MOST: usize = 254;
/// Edges are the quantiles of so many values at most.
const SAMPLE: usize = 200_000;
/// A word must have been seen so often to be a level.
const FEWEST: usize = 4;

/// How the cells of one column become bins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Binning {
    /// Value `v` is in bin 1 + the number of edges below it.
    Numbers(Vec<f64>),
    /// The level in place `p` is bin 1 + p.
    Words(Vec<String>),
}

impl Binning {
    /// From rows that may be looked at.
    pub fn of(values: &Values, rows: &[u32]) -> Binning {
        match values {
            Values::Numbers(values) | Values::Times(values) => Binning::of_numbers(values, rows),
            Values::Words { codes, levels } => {
                let mut counts = vec![0usize; levels.len()];
                for &row in rows {
                    if let Some(count) = counts.get_mut(codes[row as usize] as usize) {
                        *count += 1;
                    }
                }
                let mut often: Vec<usize> =
                    (0..levels.len()).filter(|&level| counts[level] >= FEWEST).collect();
                often.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then_with(|| levels[a].cmp(&levels[b])));
                often.truncate(MOST);
                Binning::Words(often.into_iter().map(|level| levels[level].clone()).collect())
            }
        }
    }

    pub fn of_numbers(values: &[f64], rows: &[u32]) -> Binning {
        let step = rows.len().div_ceil(SAMPLE).max(1);
        let taken = rows.iter().step_by(step).map(|&row| values[row as usize]);
        let mut sorted: Vec<f64> = taken.filter(|value| !value.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut edges = Vec::new();
        // Midway between neighbours, so that neither a rounding nor an equal value decides.
        let mut edge = |low: f64, high: f64| {
            let middle = low + (high - low) / 2.0;
            if low < high && edges.last().is_none_or(|&last| last < middle) {
                edges.push(middle);
            }
        };
        let distinct = sorted.windows(2).filter(|pair| pair[0] < pair[1]).count() + 1;
        if distinct <= MOST {
            sorted.windows(2).for_each(|pair| edge(pair[0], pair[1]));
        } else {
            for cut in 1..MOST {
                let at = cut * sorted.len() / MOST;
                let high = sorted[at];
                let first = sorted.partition_point(|value| *value < high);
                if first > 0 {
                    edge(sorted[first - 1], high);
                }
            }
        }
        Binning::Numbers(edges)
    }

    pub fn apply(&self, values: &Values) -> Vec<u8> {
        match (self, values) {
            (Binning::Numbers(_), Values::Numbers(values) | Values::Times(values)) => {
                self.apply_numbers(values)
            }
            (Binning::Words(known), Values::Words { codes, levels }) => {
                let places: HashMap<&str, u8> =
                    known.iter().zip(1..).map(|(level, bin)| (level.as_str(), bin)).collect();
                let bins: Vec<u8> =
                    levels.iter().map(|level| places.get(level.as_str()).copied().unwrap_or(GAP)).collect();
                codes.iter().map(|&code| bins.get(code as usize).copied().unwrap_or(GAP)).collect()
            }
            // A column that was words and has numbers alone today, or the other way round.
            (Binning::Words(known), Values::Numbers(values) | Values::Times(values)) => {
                let place = |value: &f64| known.iter().position(|level| *level == value.to_string());
                values.iter().map(|value| place(value).map_or(GAP, |place| place as u8 + 1)).collect()
            }
            (Binning::Numbers(_), Values::Words { codes, levels }) => {
                let numbers: Vec<f64> =
                    levels.iter().map(|level| crate::table::number(level).unwrap_or(f64::NAN)).collect();
                let number = |&code: &u32| numbers.get(code as usize).copied().unwrap_or(f64::NAN);
                self.apply_numbers(&codes.iter().map(number).collect::<Vec<f64>>())
            }
        }
    }

    pub fn apply_numbers(&self, values: &[f64]) -> Vec<u8> {
        let Binning::Numbers(edges) = self else { return vec![GAP; values.len()] };
        let bin = |value: &f64| match value.is_nan() {
            true => GAP,
            false => edges.partition_point(|edge| edge < value) as u8 + 1,
        };
        values.iter().map(bin).collect()
    }

    /// A bin as people read it: the middle of its edges.
    pub fn shown(&self, bin: u8) -> String {
        let place = usize::from(bin).wrapping_sub(1);
        match self {
            _ if bin == GAP => "-".to_owned(),
            Binning::Words(levels) => levels.get(place).cloned().unwrap_or_default(),
            Binning::Numbers(edges) => match (place.checked_sub(1).map(|low| edges[low]), edges.get(place)) {
                (Some(low), Some(high)) => short(low + (high - low) / 2.0),
                (Some(low), None) => format!("over {}", short(low)),
                (None, Some(high)) => format!("under {}", short(*high)),
                (None, None) => "any".to_owned(),
            },
        }
    }

    pub fn are_words(&self) -> bool {
        matches!(self, Binning::Words(_))
    }
}

/// Columns of bins, side by side.
#[derive(Clone, Default)]
pub struct Matrix<'a> {
    pub columns: Vec<&'a [u8]>,
    /// Which columns are words: bins without an order.
    pub words: Vec<bool>,
}

impl<'a> Matrix<'a> {
    pub fn push(&mut self, column: &'a [u8], are_words: bool) {
        self.columns.push(column);
        self.words.push(are_words);
    }
}
