//! Gradient-boosted trees for the logistic loss, stopped when rows that are not trained on gain nothing more.

use serde::{Deserialize, Serialize};

use crate::bins::Matrix;
use crate::chance::Chance;
use crate::tree::{Growth, Pool, Tree};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forest {
    /// Log-odds before any tree.
    base: f32,
    trees: Vec<Tree>,
}

/// How a forest grows.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub growth: Growth,
    pub rows_share: f64,
    pub columns_share: f64,
    pub most_trees: usize,
    /// Trees without a gain on the rows held out, before growing ends.
    pub patience: usize,
}

impl Settings {
    /// By the size of the task alone: nothing is searched for.
    pub fn of(rows: usize, columns: usize) -> Settings {
        let is_large = rows > 200_000;
        let fewest_rows = (rows / 200).clamp(5, 20) as u32;
        let growth = Growth {
            leaves: if rows < 2_000 { 15 } else { 31 },
            fewest_rows,
            fewest_hessian: 0.5,
            l2: 1.0,
            rate: if is_large { 0.1 } else { 0.04 },
        };
        let columns_share = if columns < 8 {
            1.0
        } else if columns < 30 {
            0.7
        } else {
            0.5
        };
        Settings {
            growth,
            rows_share: if is_large { 0.5 } else { 0.8 },
            columns_share,
            most_trees: if is_large { 500 } else { 1500 },
            patience: if is_large { 25 } else { 60 },
        }
    }
}

impl Forest {
    /// Grown on `train`, ended by `held_out`; rows without a truth are in neither.
    pub fn grow(
        matrix: &Matrix,
        truth: &[bool],
        train: &[u32],
        held_out: &[u32],
        settings: &Settings,
        seed: u64,
    ) -> Forest {
        let mut chance = Chance::new(seed);
        let mut pool = Pool::default();
        let positives = train.iter().filter(|&&row| truth[row as usize]).count() as f64;
        let base = ((positives + 0.5) / (train.len() as f64 - positives + 0.5)).ln() as f32;
        let mut forest = Forest { base, trees: Vec::new() };
        let mut margins = vec![base; truth.len()];
        let mut gradients = vec![(0.0, 0.0); truth.len()];
        let (mut least, mut kept) = (loss(truth, &margins, held_out), 0);
        // Columns that say nothing are not drawn.
        let telling: Vec<u32> = (0..matrix.columns.len() as u32)
            .filter(|&column| {
                let bins = matrix.columns[column as usize];
                train
                    .first()
                    .is_some_and(|&first| train.iter().any(|&row| bins[row as usize] != bins[first as usize]))
            })
            .collect();
        let drawn = ((telling.len() as f64 * settings.columns_share).ceil() as usize).max(1);
        while !telling.is_empty() && forest.trees.len() < settings.most_trees {
            for &row in train {
                let row = row as usize;
                let chance = sigmoid(f64::from(margins[row]));
                let truth = f64::from(u8::from(truth[row]));
                gradients[row] = ((chance - truth) as f32, (chance * (1.0 - chance)).max(1e-6) as f32);
            }
            let rows = chance.some_of(train, settings.rows_share);
            let mut columns = telling.clone();
            chance.shuffle(&mut columns);
            columns.truncate(drawn);
            columns.sort_unstable();
            let tree = Tree::grow(matrix, &columns, &gradients, rows, &settings.growth, &mut pool);
            for &row in train.iter().chain(held_out) {
                margins[row as usize] += tree.predict(matrix, row as usize);
            }
            forest.trees.push(tree);
            let loss = loss(truth, &margins, held_out);
            if loss < least - 1e-7 {
                (least, kept) = (loss, forest.trees.len());
            } else if forest.trees.len() - kept >= settings.patience {
                break;
            }
        }
        forest.trees.truncate(kept);
        forest
    }

    /// Log-odds of a row.
    pub fn margin(&self, matrix: &Matrix, row: usize) -> f32 {
        self.base + self.trees.iter().map(|tree| tree.predict(matrix, row)).sum::<f32>()
    }

    /// What each column adds to the log-odds of a row.
    pub fn contribute(&self, matrix: &Matrix, row: usize, by_column: &mut [f64]) {
        let mut base = 0.0;
        self.trees.iter().for_each(|tree| tree.contribute(matrix, row, &mut base, by_column));
    }

    /// How often each column was asked, early trees counting more.
    pub fn weigh_columns(&self, weights: &mut [f64]) {
        let mut counts = vec![0.0; weights.len()];
        for (place, tree) in self.trees.iter().enumerate() {
            counts.fill(0.0);
            tree.count_columns(&mut counts);
            for (weight, count) in weights.iter_mut().zip(&counts) {
                *weight += count / (1.0 + place as f64 / 20.0);
            }
        }
    }

    pub fn is_sound(&self, columns: usize) -> bool {
        self.trees.iter().all(|tree| tree.is_sound(columns))
    }
}

pub fn sigmoid(margin: f64) -> f64 {
    1.0 / (1.0 + (-margin).exp())
}

/// Mean logistic loss.
pub fn loss(truth: &[bool], margins: &[f32], rows: &[u32]) -> f64 {
    let one = |&row: &u32| {
        let margin = f64::from(margins[row as usize]);
        let against = if truth[row as usize] { -margin } else { margin };
        // ln(1 + e^x) without overflow.
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    };
    rows.iter().map(one).sum::<f64>() / rows.len().max(1) as f64
}
