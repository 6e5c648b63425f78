//! What the graph says of a subscriber: how many it calls, what its neighbours are like, and which of them are known.
//!
//! Nothing here may tell a row its own label. The label of a row is never among those its features are made of: direct
//! neighbours are others by nature, and what spreads further is made without the labels of the row's whole fold. Scores of
//! neighbours come from a forest that has not seen the row. So a row in training and a row never seen look alike.

use crate::bins::Binning;
use crate::graph::Graph;
use crate::table::{Table, Values};

/// Columns whose neighbours' values are looked at, by how much the trees asked for them.
pub const MOST_CHOSEN: usize = 24;

/// A column of features with its name.
pub struct Feature {
    pub name: String,
    pub values: Vec<f64>,
}

/// What needs no label: the shape of the graph, and mean, least and most of the neighbours' columns.
pub fn surroundings(graph: &Graph, table: &Table, chosen: &[usize]) -> Vec<Feature> {
    let rows = graph.rows();
    let each = |value: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..rows).map(value).collect() };
    let degree = |node: usize| graph.neighbours(node).len() as f64;
    let feature = |name: &str, values: Vec<f64>| Feature { name: name.to_owned(), values };
    let mean = |sum: f64, count: usize| if count == 0 { f64::NAN } else { sum / count as f64 };
    let mut features = vec![
        feature("neighbours", each(&degree)),
        feature("ids called", each(&|row| f64::from(graph.called(row)))),
        feature("ids calling", each(&|row| f64::from(graph.callers(row)))),
        feature(
            "neighbours' neighbours, mean",
            each(&|row| {
                let around = graph.neighbours(row);
                mean(around.iter().map(|&other| degree(other as usize)).sum(), around.len())
            }),
        ),
    ];
    for &column in chosen {
        let name = &table.columns[column].name;
        let rows_around = |row: usize| {
            graph.neighbours(row).iter().map(|&other| other as usize).filter(|&other| other < rows)
        };
        match &table.columns[column].values {
            Values::Numbers(values) | Values::Times(values) => {
                let [mut means, mut least, mut most] = [0; 3].map(|_| vec![f64::NAN; rows]);
                for row in 0..rows {
                    let (mut sum, mut count) = (0.0, 0);
                    for value in rows_around(row).map(|other| values[other]).filter(|value| !value.is_nan()) {
                        (sum, count) = (sum + value, count + 1);
                        // min and max of NaN and a number are the number.
                        least[row] = least[row].min(value);
                        most[row] = most[row].max(value);
                    }
                    means[row] = mean(sum, count);
                }
                features.push(feature(&format!("neighbours' {name}, mean"), means));
                features.push(feature(&format!("neighbours' {name}, least"), least));
                features.push(feature(&format!("neighbours' {name}, most"), most));
            }
            Values::Words { codes, .. } => {
                let same = each(&|row| {
                    let (mut same, mut count) = (0.0, 0);
                    for other in rows_around(row) {
                        same += f64::from(u8::from(codes[other] == codes[row] && codes[row] != Values::GAP));
                        count += 1;
                    }
                    mean(same, count)
                });
                features.push(feature(&format!("neighbours with the same {name}, share"), same));
            }
        }
    }
    features
}

/// Names of the features that labels and scores give.
pub const LABEL_NAMES: [&str; 8] = [
    "known neighbours",
    "bad neighbours",
    "bad among known neighbours, share",
    "bad within two steps, share",
    "bad further around, share",
    "neighbours' score, mean",
    "neighbours' score, most",
    "score within two steps",
];

/// A label of a node, where it may be used.
pub type Known = Option<bool>;

/// Known, bad and share of bad among direct neighbours.
fn neighbours_known(graph: &Graph, known: &[Known], prior: f64, row: usize) -> [f64; 3] {
    let (mut count, mut bad) = (0.0, 0.0);
    for label in graph.neighbours(row).iter().filter_map(|&other| known[other as usize]) {
        count += 1.0;
        bad += f64::from(u8::from(label));
    }
    [count, bad, if count == 0.0 { f64::NAN } else { (bad + prior) / (count + 1.0) }]
}

/// The share of bad among what spreads to a row, near and further around; a gap where nothing known is in reach.
fn spread_shares(graph: &Graph, value: &dyn Fn(usize) -> Option<f32>) -> [Vec<f64>; 2] {
    let all = (0..graph.nodes()).map(value);
    let (has, amount): (Vec<f32>, Vec<f32>) =
        all.map(|value| value.map_or((0.0, 0.0), |value| (1.0, value))).unzip();
    let (has, amount) = (graph.spread(&has), graph.spread(&amount));
    [0, 1].map(|reach| {
        let share = |row: usize| match has[reach][row] {
            has if has > 1e-6 => f64::from(amount[reach][row] / has),
            _ => f64::NAN,
        };
        (0..graph.rows()).map(share).collect()
    })
}

/// What neighbours' scores of one forest say: mean, most, and what spreads.
pub struct ScoresAround([Vec<f64>; 3]);

impl ScoresAround {
    /// `scores`: one a row.
    pub fn of(graph: &Graph, scores: &[f32]) -> ScoresAround {
        let rows = graph.rows();
        let [mut means, mut most] = [0; 2].map(|_| vec![f64::NAN; rows]);
        for row in 0..rows {
            let (mut sum, mut count) = (0.0, 0usize);
            for &other in graph.neighbours(row).iter().filter(|&&other| (other as usize) < rows) {
                let score = f64::from(scores[other as usize]);
                (sum, count) = (sum + score, count + 1);
                most[row] = most[row].max(score);
            }
            if count > 0 {
                means[row] = sum / count as f64;
            }
        }
        let [near, _] = spread_shares(graph, &|node| scores.get(node).copied());
        ScoresAround([means, most, near])
    }
}

/// Which rows belong to which fold; nothing for those that are not trained on.
pub type Folds = [Option<u8>];

/// The features of [`LABEL_NAMES`] as the forest that holds out `fold` may see them. `known` has the labels of all rows
/// trained on (and of strangers the model knows), `folds` a node each.
pub fn labels_around(
    graph: &Graph,
    known: &[Known],
    folds: &Folds,
    count: u8,
    fold: u8,
    prior: f64,
    scores: &[ScoresAround],
) -> Vec<Vec<f64>> {
    let without = |hidden: u8| -> Vec<Known> {
        let seen = known.iter().zip(folds).map(|(known, own)| match own {
            Some(own) if *own == fold || *own == hidden => None,
            _ => *known,
        });
        seen.collect()
    };
    let rows = graph.rows();
    let mut columns = vec![vec![f64::NAN; rows]; LABEL_NAMES.len()];
    let seen = without(fold);
    for row in 0..rows {
        let direct = neighbours_known(graph, &seen, prior, row);
        for (column, value) in columns.iter_mut().zip(direct) {
            column[row] = value;
        }
    }
    for hidden in 0..count {
        let of_this = |row: usize| folds[row].unwrap_or(fold) == hidden;
        if !(0..rows).any(of_this) {
            continue;
        }
        let seen = without(hidden);
        let label = |node: usize| seen[node].map(|bad| f32::from(u8::from(bad)));
        let [near, far] = spread_shares(graph, &label);
        let ScoresAround([mean, most, spread]) = &scores[usize::from(hidden)];
        for row in (0..rows).filter(|&row| of_this(row)) {
            let values = [near[row], far[row], mean[row], most[row], spread[row]];
            for (column, value) in columns[3..].iter_mut().zip(values) {
                column[row] = value;
            }
        }
    }
    columns
}

/// Features cut into bins by what some rows are.
pub fn bin(features: &[Vec<f64>], rows: &[u32]) -> (Vec<Binning>, Vec<Vec<u8>>) {
    let binnings: Vec<Binning> = features.iter().map(|values| Binning::of_numbers(values, rows)).collect();
    let bins = binnings.iter().zip(features).map(|(binning, values)| binning.apply_numbers(values));
    (binnings.clone(), bins.collect())
}
