//! Learning: forests over folds, on a subscriber's own columns and on what is around it, mixed as the folds say is best.

use std::sync::Mutex;

use crate::bins::{Binning, Matrix};
use crate::calibration::Calibration;
use crate::chance::Chance;
use crate::features::{self, Known, MOST_CHOSEN, ScoresAround};
use crate::forest::{Forest, Settings, loss, sigmoid};
use crate::graph::Graph;
use crate::label::Labels;
use crate::measure::Report;
use crate::model::{Around, Member, Model, hash};
use crate::table::Table;

/// Runs `jobs` jobs, side by side or one by one.
pub type Run<'r> = &'r (dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Sync);

/// What is learned from.
pub struct Task<'t> {
    pub table: &'t Table,
    pub labels: &'t Labels,
    pub graph: Option<&'t Graph>,
    pub seed: u64,
    pub id_column: &'t str,
    pub label_column: &'t str,
}

/// So many rows of either kind are needed at least.
const FEWEST: usize = 5;

/// A model, and how good its forests were on rows that they had not seen.
pub struct Training {
    pub model: Model,
    pub report: Report,
}

impl Training {
    pub fn run(task: &Task, run: Run) -> Result<Training, String> {
        let train: Vec<u32> = (0u32..)
            .zip(&task.labels.known)
            .filter(|(_, known)| known.is_some())
            .map(|(row, _)| row)
            .collect();
        for (count, value) in [
            (task.labels.positives(), &task.labels.positive),
            (task.labels.negatives(), &task.labels.negative),
        ] {
            if count < FEWEST {
                return Err(format!(
                    "only {count} rows to learn from have the label \"{value}\": {FEWEST} are needed at least"
                ));
            }
        }
        if task.table.columns.is_empty() && task.graph.is_none() {
            return Err("the table has no column besides id and label, and there are no calls".to_owned());
        }
        // Where few rows are of one kind, chance decides much about one way of folding: take the mean of several.
        let rarer = task.labels.positives().min(task.labels.negatives());
        let (folds, repeats) = match (train.len(), rarer) {
            (200_001.., _) => (3, 1),
            (30_001.., 300..) => (5, 1),
            (3_001.., _) => (5, 3),
            _ => (5, 5),
        };
        let truth: Vec<bool> = task.labels.known.iter().map(|known| known.unwrap_or(false)).collect();
        let assigned: Vec<Vec<Option<u8>>> =
            (0..repeats).map(|repeat| assign(task, &train, folds, repeat)).collect();
        let learner = Learner { task, run, train: &train, truth: &truth, folds, assigned: &assigned };
        Ok(learner.learn())
    }
}

/// Which fold holds a row out; both kinds of rows are spread evenly.
fn assign(task: &Task, train: &[u32], folds: u8, repeat: usize) -> Vec<Option<u8>> {
    let nodes = task.graph.map_or(task.table.ids.len(), Graph::nodes);
    let mut assigned = vec![None; nodes];
    let mut chance = Chance::new(task.seed.wrapping_add(repeat as u64 * 7919));
    let mut next = 0;
    for kind in [true, false] {
        let mut rows: Vec<u32> =
            train.iter().copied().filter(|&row| task.labels.known[row as usize] == Some(kind)).collect();
        chance.shuffle(&mut rows);
        for row in rows {
            assigned[row as usize] = Some(next);
            next = (next + 1) % folds;
        }
    }
    assigned
}

struct Learner<'l> {
    task: &'l Task<'l>,
    run: Run<'l>,
    train: &'l [u32],
    truth: &'l [bool],
    folds: u8,
    /// By repeat, then by node.
    assigned: &'l [Vec<Option<u8>>],
}

impl Learner<'_> {
    fn learn(&self) -> Training {
        let Task { table, labels, graph, .. } = *self.task;
        let binnings: Vec<Binning> = gather(self.run, table.columns.len(), |column| {
            Binning::of(&table.columns[column].values, self.train)
        });
        let bins: Vec<Vec<u8>> = gather(self.run, table.columns.len(), |column| {
            binnings[column].apply(&table.columns[column].values)
        });
        let mut matrix = Matrix::default();
        for (bins, binning) in bins.iter().zip(&binnings) {
            matrix.push(bins, binning.are_words());
        }
        let jobs = self.assigned.len() * usize::from(self.folds);
        let grown: Vec<(Forest, Vec<f32>)> = gather(self.run, jobs, |job| {
            let forest = self.grow(&matrix, job, 1);
            // With a graph, neighbours' scores are features: every row's is needed.
            let margin = |row: usize| forest.margin(&matrix, row);
            let margins = match graph {
                Some(_) => (0..table.ids.len()).map(margin).collect(),
                None => self.held_out_margins(job, margin),
            };
            (forest, margins)
        });
        let (own, margins): (Vec<Forest>, Vec<Vec<f32>>) = grown.into_iter().unzip();
        let own_margins = self.unseen(&margins);
        let own_calibration = self.calibrate(&own_margins);

        let mut blend = 0.0;
        let mut calibration = own_calibration;
        let mut mixed = own_margins.clone();
        let mut around = None;
        if let Some(graph) = graph {
            let (model, margins) = self.look_around(graph, &matrix, &own, &margins);
            let margins = self.unseen(&margins);
            let mix = |share: f32| -> Vec<f32> {
                own_margins.iter().zip(&margins).map(|(own, around)| own + share * (around - own)).collect()
            };
            let worth = |mixed: &[f32]| {
                let calibration = self.calibrate(mixed);
                let calibrated = |&margin: &f32| {
                    let chance = calibration.probability(margin.into()).clamp(1e-9, 1.0 - 1e-9);
                    (chance / (1.0 - chance)).ln() as f32
                };
                loss(self.truth, &mixed.iter().map(calibrated).collect::<Vec<f32>>(), self.train)
            };
            let mut least = worth(&own_margins);
            for share in [0.25, 0.5, 0.75, 1.0] {
                let candidate = mix(share);
                let worth = worth(&candidate);
                if worth < least {
                    (least, blend, mixed) = (worth, f64::from(share), candidate);
                }
            }
            calibration = self.calibrate(&mixed);
            around = Some(model).filter(|_| blend > 0.0);
        }
        let scored: Vec<(f64, bool)> = self
            .train
            .iter()
            .map(|&row| (calibration.probability(mixed[row as usize].into()), self.truth[row as usize]))
            .collect();
        let members = self.train.iter().map(|&row| Member {
            id: hash(&table.ids[row as usize]),
            bad: self.truth[row as usize],
            folds: self.assigned.iter().map(|assigned| assigned[row as usize].unwrap_or(0)).collect(),
        });
        let mut members: Vec<Member> = members.collect();
        members.sort_by_key(|member| member.id);
        let model = Model {
            id_column: self.task.id_column.to_owned(),
            label_column: self.task.label_column.to_owned(),
            positive: labels.positive.clone(),
            columns: table.columns.iter().map(|column| column.name.clone()).zip(binnings).collect(),
            folds: self.folds,
            own,
            own_calibration,
            around,
            blend,
            calibration,
            members,
        };
        Training { model, report: Report::of(&scored) }
    }

    fn place(&self, job: usize) -> (usize, u8) {
        (job / usize::from(self.folds), (job % usize::from(self.folds)) as u8)
    }

    fn grow(&self, matrix: &Matrix, job: usize, stage: u64) -> Forest {
        let (repeat, fold) = self.place(job);
        let (held_out, train): (Vec<u32>, Vec<u32>) =
            self.train.iter().partition(|&&row| self.assigned[repeat][row as usize] == Some(fold));
        let settings = Settings::of(train.len(), matrix.columns.len());
        let seed = self.task.seed ^ (job as u64 + 1).wrapping_mul(0x9e37_79b9) ^ stage << 32;
        Forest::grow(matrix, self.truth, &train, &held_out, &settings, seed)
    }

    fn held_out_margins(&self, job: usize, margin: impl Fn(usize) -> f32) -> Vec<f32> {
        let (repeat, fold) = self.place(job);
        let mut margins = vec![0.0; self.truth.len()];
        for &row in self.train {
            if self.assigned[repeat][row as usize] == Some(fold) {
                margins[row as usize] = margin(row as usize);
            }
        }
        margins
    }

    /// The mean of what the forests that held a row out say of it.
    fn unseen(&self, margins: &[Vec<f32>]) -> Vec<f32> {
        let mut unseen = vec![0.0; self.truth.len()];
        for (repeat, assigned) in self.assigned.iter().enumerate() {
            for &row in self.train {
                let fold = usize::from(assigned[row as usize].unwrap_or(0));
                unseen[row as usize] += margins[repeat * usize::from(self.folds) + fold][row as usize];
            }
        }
        unseen.iter_mut().for_each(|margin| *margin /= self.assigned.len() as f32);
        unseen
    }

    fn calibrate(&self, margins: &[f32]) -> Calibration {
        let rows = self.train.iter().map(|&row| (margins[row as usize].into(), self.truth[row as usize]));
        Calibration::of(&rows.collect::<Vec<(f64, bool)>>())
    }

    /// Forests that see what is around a row as well.
    fn look_around(
        &self,
        graph: &Graph,
        matrix: &Matrix,
        own: &[Forest],
        margins: &[Vec<f32>],
    ) -> (Around, Vec<Vec<f32>>) {
        let table = self.task.table;
        let mut weights = vec![0.0; table.columns.len()];
        own.iter().for_each(|forest| forest.weigh_columns(&mut weights));
        let mut chosen: Vec<usize> = (0..weights.len()).filter(|&column| weights[column] > 0.0).collect();
        chosen.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
        chosen.truncate(MOST_CHOSEN);
        chosen.sort_unstable();
        let surroundings = features::surroundings(graph, table, &chosen);
        let (names, values): (Vec<String>, Vec<Vec<f64>>) =
            surroundings.into_iter().map(|feature| (feature.name, feature.values)).unzip();
        let (binnings, bins) = features::bin(&values, self.train);
        drop(values);
        let mut matrix = matrix.clone();
        bins.iter().for_each(|bins| matrix.push(bins, false));

        let mut known: Vec<Known> = self.task.labels.known.clone();
        known.resize(graph.nodes(), None);
        let prior = self.task.labels.positives() as f64 / self.train.len() as f64;
        let scores: Vec<ScoresAround> = gather(self.run, margins.len(), |job| {
            let scores: Vec<f32> = margins[job].iter().map(|&margin| sigmoid(margin.into()) as f32).collect();
            ScoresAround::of(graph, &scores)
        });
        let grown = gather(self.run, margins.len(), |job| {
            let (repeat, fold) = self.place(job);
            let (count, assigned) = (self.folds, &self.assigned[repeat]);
            let first = repeat * usize::from(count);
            let scores = &scores[first..first + usize::from(count)];
            let around = features::labels_around(graph, &known, assigned, count, fold, prior, scores);
            let (label_binnings, label_bins) = features::bin(&around, self.train);
            let mut matrix = matrix.clone();
            label_bins.iter().for_each(|bins| matrix.push(bins, false));
            let forest = self.grow(&matrix, job, 2);
            let margins = self.held_out_margins(job, |row| forest.margin(&matrix, row));
            ((forest, label_binnings), margins)
        });
        let (grown, margins): (Vec<_>, Vec<_>) = grown.into_iter().unzip();
        let (forests, label_binnings) = grown.into_iter().unzip();
        let chosen = chosen.into_iter().map(|column| column as u32).collect();
        let features = names.into_iter().zip(binnings).collect();
        (Around { chosen, features, label_binnings, forests, prior }, margins)
    }
}

/// The results of jobs in their order.
pub fn gather<T: Send>(run: Run, jobs: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let done: Mutex<Vec<Option<T>>> = Mutex::new((0..jobs).map(|_| None).collect());
    run(jobs, &|place| {
        let result = job(place);
        if let Ok(mut done) = done.lock() {
            done[place] = Some(result);
        }
    });
    done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_iter().flatten().collect()
}
