//! What was learned, kept in a file: it scores other tables with the same columns and says why.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bins::{Binning, Matrix};
use crate::calibration::Calibration;
use crate::features::{self, Known, LABEL_NAMES, ScoresAround};
use crate::forest::{Forest, sigmoid};
use crate::graph::Graph;
use crate::learn::{Run, gather};
use crate::table::{Table, Values};

#[derive(Serialize, Deserialize)]
pub struct Model {
    pub(crate) id_column: String,
    pub(crate) label_column: String,
    /// The label that a probability is of.
    pub(crate) positive: String,
    pub(crate) columns: Vec<(String, Binning)>,
    pub(crate) folds: u8,
    /// One a repeat and fold: those that see a subscriber's own columns.
    pub(crate) own: Vec<Forest>,
    pub(crate) own_calibration: Calibration,
    pub(crate) around: Option<Around>,
    /// The share of `around` in the log-odds.
    pub(crate) blend: f64,
    pub(crate) calibration: Calibration,
    /// Rows learned from, by id.
    pub(crate) members: Vec<Member>,
}

/// Forests that see a row's surroundings too.
#[derive(Serialize, Deserialize)]
pub(crate) struct Around {
    /// Places in the model's columns.
    pub chosen: Vec<u32>,
    pub features: Vec<(String, Binning)>,
    /// Of [`LABEL_NAMES`], one set a forest.
    pub label_binnings: Vec<Vec<Binning>>,
    pub forests: Vec<Forest>,
    pub prior: f64,
}

/// A row learned from: its label is known to its neighbours, and it is scored by forests that held it out.
#[derive(Serialize, Deserialize)]
pub(crate) struct Member {
    pub id: u64,
    pub bad: bool,
    /// By repeat.
    pub folds: Vec<u8>,
}

/// The first eight bytes of an id's SHA-256.
pub(crate) fn hash(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    digest.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// One row's result.
#[derive(Clone, Debug)]
pub struct Scored {
    pub probability: f64,
    /// The strongest first.
    pub reasons: Vec<Reason>,
}

/// A column, the row's value in it, and what that adds to the log-odds.
#[derive(Clone, Debug)]
pub struct Reason {
    pub column: String,
    pub value: String,
    pub weight: f64,
}

const MOST_REASONS: usize = 3;
const CHUNK: usize = 4096;

impl Model {
    pub fn id_column(&self) -> &str {
        &self.id_column
    }

    pub fn label_column(&self) -> &str {
        &self.label_column
    }

    pub fn positive(&self) -> &str {
        &self.positive
    }

    /// Whether it learned from calls as well, and they helped.
    pub fn looks_around(&self) -> bool {
        self.around.is_some()
    }

    /// The share of what is around a row in its log-odds.
    pub fn blend(&self) -> f64 {
        self.blend
    }

    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// How many rows it learned from that are in neither table nor calls.
    pub fn absent_members(&self, table: &Table) -> usize {
        let present: std::collections::HashSet<u64> = table.ids.iter().map(|id| hash(id)).collect();
        self.members.iter().filter(|member| !present.contains(&member.id)).count()
    }

    /// Whether a file that was changed by hand could make scoring stumble.
    pub fn is_sound(&self) -> bool {
        let own = self.columns.len();
        let jobs = self.own.len();
        let around = self.around.as_ref().is_none_or(|around| {
            let all = own + around.features.len() + LABEL_NAMES.len();
            around.forests.len() == jobs
                && around.label_binnings.len() == jobs
                && around.label_binnings.iter().all(|binnings| binnings.len() == LABEL_NAMES.len())
                && around.chosen.iter().all(|&column| (column as usize) < own)
                && around.forests.iter().all(|forest| forest.is_sound(all))
        });
        let repeats = jobs / usize::from(self.folds.max(1));
        self.folds > 0
            && jobs > 0
            && jobs == repeats * usize::from(self.folds)
            && self.own.iter().all(|forest| forest.is_sound(own))
            && around
            && self.members.iter().all(|member| {
                member.folds.len() == repeats && member.folds.iter().all(|fold| *fold < self.folds)
            })
    }

    /// Every row of the table, whose columns are the model's in its order. Without a graph, a model that learned from one
    /// says what a subscriber's own columns tell.
    pub fn score(&self, table: &Table, graph: Option<&Graph>, run: Run) -> Vec<Scored> {
        let rows = table.ids.len();
        let bins: Vec<Vec<u8>> = gather(run, self.columns.len(), |column| {
            self.columns[column].1.apply(&table.columns[column].values)
        });
        let mut matrix = Matrix::default();
        for (bins, (_, binning)) in bins.iter().zip(&self.columns) {
            matrix.push(bins, binning.are_words());
        }
        let members: HashMap<u64, &Member> = self.members.iter().map(|member| (member.id, member)).collect();
        let ids = table.ids.iter().chain(graph.map_or(&[][..], Graph::strangers));
        let nodes: Vec<Option<&Member>> = ids.map(|id| members.get(&hash(id)).copied()).collect();
        let around = match (&self.around, graph) {
            (Some(around), Some(graph)) => {
                Some(Prepared::of(self, around, table, graph, &matrix, &nodes, run))
            }
            _ => None,
        };
        let chunks = gather(run, rows.div_ceil(CHUNK), |chunk| {
            let rows = chunk * CHUNK..rows.min((chunk + 1) * CHUNK);
            let scorer = Scorer { model: self, table, matrix: &matrix, around: around.as_ref() };
            rows.map(|row| scorer.score(row, nodes[row])).collect::<Vec<Scored>>()
        });
        chunks.into_iter().flatten().collect()
    }

    /// The forests that may judge a node: all, or of each repeat the one that held it out.
    fn judges<'m>(&'m self, member: Option<&'m Member>) -> impl Iterator<Item = usize> + 'm {
        let folds = usize::from(self.folds);
        (0..self.own.len()).filter(move |job| {
            member.is_none_or(|member| usize::from(member.folds[job / folds]) == job % folds)
        })
    }
}

/// What is around every row, in bins.
struct Prepared<'p> {
    around: &'p Around,
    features: Vec<Vec<u8>>,
    /// By forest.
    labels: Vec<Vec<Vec<u8>>>,
}

impl<'p> Prepared<'p> {
    fn of(
        model: &Model,
        around: &'p Around,
        table: &Table,
        graph: &Graph,
        matrix: &Matrix,
        nodes: &[Option<&Member>],
        run: Run,
    ) -> Prepared<'p> {
        let chosen: Vec<usize> = around.chosen.iter().map(|&column| column as usize).collect();
        let surroundings = features::surroundings(graph, &as_learned(model, table), &chosen);
        let features = surroundings
            .iter()
            .zip(&around.features)
            .map(|(feature, (_, binning))| binning.apply_numbers(&feature.values));
        let features = features.collect();
        let known: Vec<Known> = nodes.iter().map(|node| node.map(|member| member.bad)).collect();
        let folds = usize::from(model.folds);
        let mut labels = Vec::new();
        for repeat in 0..model.own.len() / folds {
            let assigned: Vec<Option<u8>> =
                nodes.iter().map(|node| node.map(|member| member.folds[repeat])).collect();
            let scores: Vec<ScoresAround> = gather(run, folds, |fold| {
                let forest = &model.own[repeat * folds + fold];
                let score = |row| sigmoid(forest.margin(matrix, row).into()) as f32;
                ScoresAround::of(graph, &(0..graph.rows()).map(score).collect::<Vec<f32>>())
            });
            labels.extend(gather(run, folds, |fold| {
                let columns = features::labels_around(
                    graph,
                    &known,
                    &assigned,
                    model.folds,
                    fold as u8,
                    around.prior,
                    &scores,
                );
                let binnings = &around.label_binnings[repeat * folds + fold];
                let bins =
                    binnings.iter().zip(&columns).map(|(binning, values)| binning.apply_numbers(values));
                bins.collect::<Vec<Vec<u8>>>()
            }));
        }
        Prepared { around, features, labels }
    }
}

/// A column that was of words is looked at as one around a row too, whatever today's cells are.
fn as_learned(model: &Model, table: &Table) -> Table {
    let mut table = table.clone();
    for (column, (_, binning)) in table.columns.iter_mut().zip(&model.columns) {
        let bins = || binning.apply(&column.values);
        match (binning, &column.values) {
            (Binning::Words(levels), Values::Numbers(_) | Values::Times(_)) => {
                let code = |bin: u8| bin.checked_sub(1).map_or(Values::GAP, u32::from);
                let codes = bins().into_iter().map(code).collect();
                column.values = Values::Words { codes, levels: levels.clone() };
            }
            (Binning::Numbers(_), Values::Words { codes, .. }) => {
                column.values = Values::Numbers(vec![f64::NAN; codes.len()]);
            }
            _ => {}
        }
    }
    table
}

struct Scorer<'s> {
    model: &'s Model,
    table: &'s Table,
    matrix: &'s Matrix<'s>,
    around: Option<&'s Prepared<'s>>,
}

impl Scorer<'_> {
    fn score(&self, row: usize, member: Option<&Member>) -> Scored {
        let model = self.model;
        let own = model.columns.len();
        let features = self.around.map_or(0, |around| around.features.len() + LABEL_NAMES.len());
        let mut by_column = vec![0.0; own + features];
        let judges: Vec<usize> = model.judges(member).collect();
        let share = 1.0 / judges.len().max(1) as f64;
        let blend = self.around.map_or(0.0, |_| model.blend);
        let mut margin = 0.0;
        let mut added = vec![0.0; own];
        for &job in &judges {
            margin += (1.0 - blend) * share * f64::from(model.own[job].margin(self.matrix, row));
            model.own[job].contribute(self.matrix, row, &mut added);
        }
        for (sum, added) in by_column.iter_mut().zip(&added) {
            *sum += (1.0 - blend) * share * added;
        }
        if let Some(around) = self.around {
            let mut matrix = self.matrix.clone();
            around.features.iter().for_each(|bins| matrix.push(bins, false));
            let mut added = vec![0.0; own + features];
            for &job in &judges {
                matrix.columns.truncate(own + around.features.len());
                matrix.words.truncate(own + around.features.len());
                around.labels[job].iter().for_each(|bins| matrix.push(bins, false));
                let forest = &around.around.forests[job];
                margin += blend * share * f64::from(forest.margin(&matrix, row));
                forest.contribute(&matrix, row, &mut added);
            }
            for (sum, added) in by_column.iter_mut().zip(&added) {
                *sum += blend * share * added;
            }
        }
        let calibration = if self.around.is_some() { &model.calibration } else { &model.own_calibration };
        let probability = calibration.probability(margin);
        // Reasons for what is said: for an alarm what speaks for it, else what speaks against.
        let sign = if probability >= 0.5 { 1.0 } else { -1.0 };
        let mut order: Vec<usize> = (0..by_column.len()).filter(|&column| by_column[column] != 0.0).collect();
        order.sort_by(|&a, &b| (sign * by_column[b]).total_cmp(&(sign * by_column[a])).then(a.cmp(&b)));
        order.truncate(MOST_REASONS);
        let reasons = order.into_iter().map(|column| self.reason(row, column, by_column[column], judges[0]));
        Scored { probability, reasons: reasons.collect() }
    }

    fn reason(&self, row: usize, column: usize, weight: f64, job: usize) -> Reason {
        let own = self.model.columns.len();
        let (column, value) = match (column.checked_sub(own), self.around) {
            (Some(place), Some(around)) => match place.checked_sub(around.features.len()) {
                None => {
                    let (name, binning) = &around.around.features[place];
                    (name.clone(), binning.shown(around.features[place][row]))
                }
                Some(place) => {
                    let binning = &around.around.label_binnings[job][place];
                    (LABEL_NAMES[place].to_owned(), binning.shown(around.labels[job][place][row]))
                }
            },
            _ => (self.model.columns[column].0.clone(), self.table.columns[column].values.shown(row)),
        };
        Reason { column, value, weight }
    }
}
