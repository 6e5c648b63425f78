//! One decision tree over binned columns, grown leaf by leaf from histograms of gradients.

use serde::{Deserialize, Serialize};

use crate::bins::{GAP, Matrix};

/// Sums of one bin.
#[derive(Clone, Copy, Default)]
struct Sum {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

impl Sum {
    fn add(&mut self, other: &Sum) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.rows += other.rows;
    }

    fn without(&self, other: &Sum) -> Sum {
        Sum {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    fn score(&self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2)
    }
}

type Histogram = Vec<[Sum; 256]>;

/// Histograms that are used again: a new one would be memory from the kernel each time.
#[derive(Default)]
pub struct Pool(Vec<Histogram>);

/// Which bins go left.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Test {
    /// Bins 1 to this one, and gaps if said.
    UpTo(u8, bool),
    Among([u64; 4]),
}

impl Test {
    fn is_left(&self, bin: u8) -> bool {
        match self {
            Test::UpTo(_, gaps) if bin == GAP => *gaps,
            Test::UpTo(last, _) => bin <= *last,
            Test::Among(bins) => bins[usize::from(bin >> 6)] >> (bin & 63) & 1 == 1,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    /// What this node would say if it were a leaf.
    value: f32,
    /// Column, test, and the left child's place; the right one is next to it.
    split: Option<(u32, Test, u32)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tree(Vec<Node>);

/// How a tree may grow.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    pub leaves: usize,
    pub fewest_rows: u32,
    pub fewest_hessian: f64,
    pub l2: f64,
    pub rate: f64,
}

/// Added to a level's hessian when levels are put in order: few rows must not look extreme.
const LEVEL_SMOOTHING: f64 = 10.0;
/// Levels on the listed side of a split.
const MOST_LEVELS: usize = 32;

struct Found {
    gain: f64,
    column: u32,
    test: Test,
}

struct Leaf {
    node: usize,
    rows: Vec<u32>,
    total: Sum,
    histogram: Histogram,
    best: Option<Found>,
}

impl Tree {
    /// `columns`: which ones this tree may use.
    pub fn grow(
        matrix: &Matrix,
        columns: &[u32],
        gradients: &[(f32, f32)],
        rows: Vec<u32>,
        growth: &Growth,
        pool: &mut Pool,
    ) -> Tree {
        let mut nodes = Vec::with_capacity(2 * growth.leaves);
        let histogram = pool.count(matrix, columns, gradients, &rows);
        let mut total = Sum::default();
        for &row in &rows {
            let (gradient, hessian) = gradients[row as usize];
            total.add(&Sum { gradient: gradient.into(), hessian: hessian.into(), rows: 1 });
        }
        nodes.push(Node { value: value(&total, growth), split: None });
        let best = self::best(matrix, columns, &histogram, &total, growth);
        let mut leaves = vec![Leaf { node: 0, rows, total, histogram, best }];
        while leaves.len() < growth.leaves {
            let gain = |leaf: &Leaf| leaf.best.as_ref().map_or(0.0, |found| found.gain);
            let richest = (0..leaves.len()).max_by(|&a, &b| {
                // The earlier leaf where gains are equal.
                gain(&leaves[a]).total_cmp(&gain(&leaves[b])).then(b.cmp(&a))
            });
            let Some(place) = richest.filter(|&place| gain(&leaves[place]) > 0.0) else { break };
            let leaf = leaves.swap_remove(place);
            let Some(found) = leaf.best else { break };
            let bins = matrix.columns[found.column as usize];
            let (left, right): (Vec<u32>, Vec<u32>) =
                leaf.rows.iter().partition(|&&row| found.test.is_left(bins[row as usize]));
            // The smaller side is counted, the larger is what remains.
            let is_left_smaller = left.len() <= right.len();
            let (small, large) = if is_left_smaller { (left, right) } else { (right, left) };
            let small_histogram = pool.count(matrix, columns, gradients, &small);
            let mut large_histogram = leaf.histogram;
            for (large, small) in large_histogram.iter_mut().zip(&small_histogram) {
                for (large, small) in large.iter_mut().zip(small) {
                    *large = large.without(small);
                }
            }
            let mut small_total = Sum::default();
            if let Some(first) = small_histogram.first() {
                first.iter().for_each(|sum| small_total.add(sum));
            }
            let large_total = leaf.total.without(&small_total);
            let first = nodes.len();
            nodes[leaf.node].split = Some((found.column, found.test, first as u32));
            let (small_node, large_node) =
                if is_left_smaller { (first, first + 1) } else { (first + 1, first) };
            nodes.push(Node { value: 0.0, split: None });
            nodes.push(Node { value: 0.0, split: None });
            for (node, rows, total, histogram) in [
                (small_node, small, small_total, small_histogram),
                (large_node, large, large_total, large_histogram),
            ] {
                nodes[node].value = value(&total, growth);
                let best = match leaves.len() + 2 <= growth.leaves {
                    true => self::best(matrix, columns, &histogram, &total, growth),
                    false => None,
                };
                leaves.push(Leaf { node, rows, total, histogram, best });
            }
        }
        pool.0.extend(leaves.into_iter().map(|leaf| leaf.histogram));
        Tree(nodes)
    }

    pub fn predict(&self, matrix: &Matrix, row: usize) -> f32 {
        let mut node = &self.0[0];
        while let Some((column, test, left)) = &node.split {
            let is_left = test.is_left(matrix.columns[*column as usize][row]);
            node = &self.0[*left as usize + usize::from(!is_left)];
        }
        node.value
    }

    /// What each step down the tree changed, put down to the column that was asked; the root goes to `base`.
    pub fn contribute(&self, matrix: &Matrix, row: usize, base: &mut f64, by_column: &mut [f64]) {
        let mut node = &self.0[0];
        *base += f64::from(node.value);
        while let Some((column, test, left)) = &node.split {
            let is_left = test.is_left(matrix.columns[*column as usize][row]);
            let next = &self.0[*left as usize + usize::from(!is_left)];
            by_column[*column as usize] += f64::from(next.value - node.value);
            node = next;
        }
    }

    /// How often each column was asked.
    pub fn count_columns(&self, counts: &mut [f64]) {
        for (column, ..) in self.0.iter().filter_map(|node| node.split.as_ref()) {
            counts[*column as usize] += 1.0;
        }
    }

    /// Whether a broken file could lead beyond the nodes or columns, or in a circle.
    pub fn is_sound(&self, columns: usize) -> bool {
        !self.0.is_empty()
            && self.0.iter().enumerate().all(|(place, node)| match &node.split {
                None => true,
                Some((column, _, left)) => {
                    (*column as usize) < columns
                        && (*left as usize) > place
                        && (*left as usize) + 1 < self.0.len()
                }
            })
    }
}

fn value(total: &Sum, growth: &Growth) -> f32 {
    (-total.gradient / (total.hessian + growth.l2) * growth.rate) as f32
}

impl Pool {
    fn count(
        &mut self,
        matrix: &Matrix,
        columns: &[u32],
        gradients: &[(f32, f32)],
        rows: &[u32],
    ) -> Histogram {
        let mut histogram = self.0.pop().unwrap_or_default();
        histogram.resize(columns.len(), [Sum::default(); 256]);
        // Side by side in the order of the rows, so that only the bins are looked up far apart.
        let ordered: Vec<(f64, f64)> = rows
            .iter()
            .map(|&row| {
                let (gradient, hessian) = gradients[row as usize];
                (gradient.into(), hessian.into())
            })
            .collect();
        for (sums, &column) in histogram.iter_mut().zip(columns) {
            let bins = matrix.columns[column as usize];
            sums.fill(Sum::default());
            for (&row, &(gradient, hessian)) in rows.iter().zip(&ordered) {
                let sum = &mut sums[usize::from(bins[row as usize])];
                sum.gradient += gradient;
                sum.hessian += hessian;
                sum.rows += 1;
            }
        }
        histogram
    }
}

fn best(
    matrix: &Matrix,
    columns: &[u32],
    histogram: &Histogram,
    total: &Sum,
    growth: &Growth,
) -> Option<Found> {
    let mut best: Option<Found> = None;
    if total.rows < 2 * growth.fewest_rows {
        return None;
    }
    for (&column, sums) in columns.iter().zip(histogram) {
        let mut take = |gain: f64, test: &dyn Fn() -> Test| {
            if gain > 1e-9 && best.as_ref().is_none_or(|best| gain > best.gain) {
                best = Some(Found { gain, column, test: test() });
            }
        };
        match matrix.words[column as usize] {
            true => split_words(sums, total, growth, &mut take),
            false => split_numbers(sums, total, growth, &mut take),
        }
    }
    best
}

type Take<'t> = dyn FnMut(f64, &dyn Fn() -> Test) + 't;

fn gain(left: &Sum, total: &Sum, growth: &Growth, l2: f64) -> f64 {
    let right = total.without(left);
    let enough = |side: &Sum| side.rows >= growth.fewest_rows && side.hessian >= growth.fewest_hessian;
    if !enough(left) || !enough(&right) {
        return 0.0;
    }
    left.score(l2) + right.score(l2) - total.score(l2)
}

fn split_numbers(sums: &[Sum; 256], total: &Sum, growth: &Growth, take: &mut Take) {
    let last = (1..256).rev().find(|&bin| sums[bin].rows > 0).unwrap_or(0);
    let gaps = sums[usize::from(GAP)];
    let mut left = Sum::default();
    // Up to the last bin: there only gaps go the other way.
    for (bin, sum) in sums.iter().enumerate().take(last + 1).skip(1) {
        left.add(sum);
        if sum.rows == 0 {
            continue;
        }
        take(gain(&left, total, growth, growth.l2), &|| Test::UpTo(bin as u8, false));
        if gaps.rows > 0 && bin < last {
            let mut with_gaps = left;
            with_gaps.add(&gaps);
            take(gain(&with_gaps, total, growth, growth.l2), &|| Test::UpTo(bin as u8, true));
        }
    }
}

/// Levels in the order of their gradients, cut from either end (Fisher, 1958).
fn split_words(sums: &[Sum; 256], total: &Sum, growth: &Growth, take: &mut Take) {
    let mut order: Vec<usize> = (0..256).filter(|&bin| sums[bin].rows > 0).collect();
    let slope = |bin: usize| sums[bin].gradient / (sums[bin].hessian + LEVEL_SMOOTHING);
    order.sort_by(|&a, &b| slope(a).total_cmp(&slope(b)));
    for from_end in [false, true] {
        let (mut left, mut bins) = (Sum::default(), [0u64; 4]);
        for place in 0..order.len().saturating_sub(1).min(MOST_LEVELS) {
            let bin = order[if from_end { order.len() - 1 - place } else { place }];
            left.add(&sums[bin]);
            bins[bin >> 6] |= 1 << (bin & 63);
            take(gain(&left, total, growth, growth.l2 + LEVEL_SMOOTHING), &|| Test::Among(bins));
        }
    }
}
