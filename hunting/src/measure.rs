//! How good scores are, beside the truth: figures that hold where one subscriber in a thousand is bad.

/// What came out for rows that the models had not seen.
#[derive(Clone, Debug)]
pub struct Report {
    pub rows: usize,
    pub positives: usize,
    pub roc_auc: f64,
    pub average_precision: f64,
    /// Recall where at least this share of the alarms is right.
    pub recall_at_precision: [(f64, f64); 2],
    /// Recall and precision with so many alarms per million rows.
    pub at_alarms_per_million: Vec<(u64, f64, f64)>,
    /// The mean of F1 over both kinds of rows at the probability 0.5, and the best with the probability it is at.
    pub macro_f1: f64,
    pub best_macro_f1: (f64, f64),
    /// Expected calibration error: mean distance of probability and truth, over ten bins with equally many rows.
    pub calibration_error: f64,
}

impl Report {
    /// `rows`: probability and truth.
    pub fn of(rows: &[(f64, bool)]) -> Report {
        let ranked = Ranked::of(rows);
        let (count, positives) = (rows.len(), ranked.positives);
        let at_alarms = [100, 1_000, 10_000, 100_000].into_iter().filter_map(|alarms: u64| {
            let most = (alarms as f64 * count as f64 / 1e6) as usize;
            (most > 0).then(|| {
                let right = ranked.right_among(most);
                (alarms, right / positives.max(1) as f64, right / most as f64)
            })
        });
        let at_alarms_per_million = at_alarms.collect();
        let mut best_macro_f1 = (0.0, 0.5);
        for cut in &ranked.cuts {
            let f1 = ranked.macro_f1(cut);
            if f1 > best_macro_f1.0 {
                best_macro_f1 = (f1, cut.least);
            }
        }
        let half = ranked.cuts.iter().rev().find(|cut| cut.least >= 0.5);
        Report {
            rows: count,
            positives,
            roc_auc: ranked.roc_auc(),
            average_precision: ranked.average_precision(),
            recall_at_precision: [0.95, 0.99].map(|precision| (precision, ranked.recall_at(precision))),
            at_alarms_per_million,
            macro_f1: ranked.macro_f1(half.unwrap_or(&Cut::default())),
            best_macro_f1,
            calibration_error: calibration_error(rows),
        }
    }
}

/// The chance that a bad row stands before a good one; equal scores count half.
pub fn roc_auc(rows: &[(f64, bool)]) -> f64 {
    Ranked::of(rows).roc_auc()
}

/// The mean of precision over the recall it is reached at, without interpolating.
pub fn average_precision(rows: &[(f64, bool)]) -> f64 {
    Ranked::of(rows).average_precision()
}

/// All rows whose score is at least `least`.
#[derive(Clone, Copy, Default)]
struct Cut {
    least: f64,
    alarms: usize,
    right: usize,
}

struct Ranked {
    rows: usize,
    positives: usize,
    /// One a distinct score, from the highest.
    cuts: Vec<Cut>,
}

impl Ranked {
    fn of(rows: &[(f64, bool)]) -> Ranked {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut cuts: Vec<Cut> = Vec::new();
        let mut right = 0;
        for (place, &(score, truth)) in sorted.iter().enumerate() {
            right += usize::from(truth);
            let cut = Cut { least: score, alarms: place + 1, right };
            match cuts.last_mut() {
                Some(last) if last.least == score => *last = cut,
                _ => cuts.push(cut),
            }
        }
        Ranked { rows: rows.len(), positives: right, cuts }
    }

    fn roc_auc(&self) -> f64 {
        let (mut area, mut before) = (0.0, Cut::default());
        for cut in &self.cuts {
            let right = (cut.right - before.right) as f64;
            let wrong = cut.alarms as f64 - before.alarms as f64 - right;
            area += wrong * (before.right as f64 + right / 2.0);
            before = *cut;
        }
        let pairs = self.positives as f64 * (self.rows - self.positives) as f64;
        if pairs == 0.0 { f64::NAN } else { area / pairs }
    }

    fn average_precision(&self) -> f64 {
        let (mut sum, mut before) = (0.0, 0);
        for cut in &self.cuts {
            sum += (cut.right - before) as f64 * cut.right as f64 / cut.alarms as f64;
            before = cut.right;
        }
        sum / self.positives.max(1) as f64
    }

    fn recall_at(&self, precision: f64) -> f64 {
        let good = self.cuts.iter().filter(|cut| cut.right as f64 >= precision * cut.alarms as f64);
        good.map(|cut| cut.right).max().unwrap_or(0) as f64 / self.positives.max(1) as f64
    }

    /// Bad rows among so many of the highest; of equal scores, their share.
    fn right_among(&self, most: usize) -> f64 {
        let mut before = Cut::default();
        for cut in &self.cuts {
            if cut.alarms >= most {
                let share = (most - before.alarms) as f64 / (cut.alarms - before.alarms) as f64;
                return before.right as f64 + share * (cut.right - before.right) as f64;
            }
            before = *cut;
        }
        before.right as f64
    }

    fn macro_f1(&self, cut: &Cut) -> f64 {
        let f1 = |right: usize, said: usize, are: usize| match said + are {
            0 => 0.0,
            sum => 2.0 * right as f64 / sum as f64,
        };
        let good = self.rows - self.positives;
        let right_good = good - (cut.alarms - cut.right);
        (f1(cut.right, cut.alarms, self.positives) + f1(right_good, self.rows - cut.alarms, good)) / 2.0
    }
}

fn calibration_error(rows: &[(f64, bool)]) -> f64 {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut error = 0.0;
    for bin in sorted.chunks(sorted.len().div_ceil(10).max(1)) {
        let said: f64 = bin.iter().map(|(probability, _)| probability).sum();
        let are = bin.iter().filter(|(_, truth)| *truth).count() as f64;
        error += (said - are).abs();
    }
    error / sorted.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_definitions() {
        // By hand: of 2 x 3 pairs, 0.9 beats three, 0.5 beats one and ties with one: (3 + 1.5) / 6.
        let rows = [(0.9, true), (0.7, false), (0.5, true), (0.5, false), (0.1, false)];
        assert!((roc_auc(&rows) - 0.75).abs() < 1e-12);
        // Precision 1 at the first, 2/4 at the tie.
        assert!((average_precision(&rows) - (1.0 + 0.5) / 2.0).abs() < 1e-12);
        let report = Report::of(&rows);
        assert_eq!(report.recall_at_precision, [(0.95, 0.5), (0.99, 0.5)]);
        // At 0.5: 4 alarms, 2 right: F1 of the bad 2·2/(4+2), of the good 2·1/(1+3).
        assert!((report.macro_f1 - (4.0 / 6.0 + 0.5) / 2.0).abs() < 1e-12);
        assert_eq!(report.best_macro_f1.1, 0.9);
        let certain = [(1.0, true), (0.0, false)];
        assert_eq!(Report::of(&certain).calibration_error, 0.0);
    }
}
