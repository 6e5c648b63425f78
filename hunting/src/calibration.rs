//! From the log-odds of the trees to probabilities that come true as often as they say.

use serde::{Deserialize, Serialize};

use crate::forest::sigmoid;

/// Beta calibration (Kull, Silva Filho, Flach, 2017): logit = a·ln p − b·ln(1 − p) + c with a, b ≥ 0, so that the order of
/// rows stays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    a: f64,
    b: f64,
    c: f64,
}

/// Keeps a and b at what the trees say unless rows say otherwise.
const RIDGE: f64 = 1.0;

impl Calibration {
    /// `rows`: log-odds of rows not seen by those who gave them, and the truth.
    pub fn of(rows: &[(f64, bool)]) -> Calibration {
        let fitted = fit(rows, [true, true]);
        // A slope below zero is none (Kull et al., section 4).
        let fitted = match (fitted.a < 0.0, fitted.b < 0.0) {
            (true, false) => fit(rows, [false, true]),
            (false, true) => fit(rows, [true, false]),
            _ => fitted,
        };
        let is_sound =
            fitted.a >= 0.0 && fitted.b >= 0.0 && fitted.a + fitted.b > 0.0 && fitted.c.is_finite();
        if is_sound { fitted } else { Calibration { a: 1.0, b: 1.0, c: 0.0 } }
    }

    pub fn probability(&self, margin: f64) -> f64 {
        let [up, down] = features(margin);
        sigmoid(self.a * up + self.b * down + self.c)
    }
}

/// ln p and −ln(1 − p) of log-odds.
fn features(margin: f64) -> [f64; 2] {
    let soft = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    [-soft(-margin), soft(margin)]
}

/// Newton's steps; the slopes that are not free are 0.
fn fit(rows: &[(f64, bool)], free: [bool; 2]) -> Calibration {
    let start = [f64::from(u8::from(free[0])), f64::from(u8::from(free[1])), 0.0];
    let mut at = start;
    for _ in 0..50 {
        let (mut gradient, mut hessian) = ([0.0; 3], [[0.0; 3]; 3]);
        for &(margin, truth) in rows {
            let [up, down] = features(margin);
            let x = [if free[0] { up } else { 0.0 }, if free[1] { down } else { 0.0 }, 1.0];
            let chance = sigmoid(at[0] * x[0] + at[1] * x[1] + at[2]);
            let weight = (chance * (1.0 - chance)).max(1e-12);
            for i in 0..3 {
                gradient[i] += (chance - f64::from(u8::from(truth))) * x[i];
                for j in 0..3 {
                    hessian[i][j] += weight * x[i] * x[j];
                }
            }
        }
        for i in 0..3 {
            let pull = if i < 2 { RIDGE } else { 1e-9 };
            gradient[i] += pull * (at[i] - start[i]);
            hessian[i][i] += pull;
        }
        let Some(step) = solve(hessian, gradient) else { break };
        let longest = step.iter().fold(0.0f64, |longest, step| longest.max(step.abs()));
        let scale = if longest > 2.0 { 2.0 / longest } else { 1.0 };
        for (at, step) in at.iter_mut().zip(step) {
            *at -= step * scale;
        }
        if longest < 1e-9 {
            break;
        }
    }
    Calibration { a: at[0], b: at[1], c: at[2] }
}

/// Gauss's elimination of three equations.
fn solve(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> Option<[f64; 3]> {
    for pivot in 0..3 {
        let best = (pivot..3).max_by(|&a, &b| matrix[a][pivot].abs().total_cmp(&matrix[b][pivot].abs()))?;
        matrix.swap(pivot, best);
        right.swap(pivot, best);
        if matrix[pivot][pivot].abs() < 1e-300 {
            return None;
        }
        let own = matrix[pivot];
        for row in (0..3).filter(|&row| row != pivot) {
            let share = matrix[row][pivot] / own[pivot];
            for (cell, own) in matrix[row].iter_mut().zip(own) {
                *cell -= share * own;
            }
            right[row] -= share * right[pivot];
        }
    }
    Some([0, 1, 2].map(|at| right[at] / matrix[at][at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    #[test]
    fn odds_that_are_three_times_too_sure_are_mended() {
        let mut chance = Chance::new(1);
        let mut uniform = || chance.word() as f64 / u64::MAX as f64;
        let rows: Vec<(f64, bool)> = (0..20_000)
            .map(|_| {
                let honest = uniform() * 6.0 - 3.0;
                (honest * 3.0, uniform() < sigmoid(honest))
            })
            .collect();
        let calibration = Calibration::of(&rows);
        for honest in [-2.0, -1.0, 0.0, 1.0, 2.0] {
            assert!(
                (calibration.probability(honest * 3.0) - sigmoid(honest)).abs() < 0.03,
                "{calibration:?}"
            );
        }
        let steps: Vec<f64> =
            (-300..300).map(|step| calibration.probability(f64::from(step) / 10.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] <= pair[1]), "the order stays");
    }
}
