//! Who called whom: subscribers of the table and the numbers beyond it that they share.

use std::collections::HashMap;

use crate::table::Table;

/// Neighbours of each row, and of strangers: ids that calls name and the table does not have.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    rows: usize,
    starts: Vec<usize>,
    neighbours: Vec<u32>,
    called: Vec<u32>,
    callers: Vec<u32>,
    strangers: Vec<String>,
    /// Pairs of one id with itself, and pairs given again.
    pub loops: usize,
    pub again: usize,
}

pub struct GraphDraft<'t> {
    places: HashMap<&'t str, u32>,
    strange: HashMap<String, u32>,
    strangers: Vec<String>,
    rows: usize,
    pairs: Vec<(u32, u32)>,
    loops: usize,
}

impl<'t> GraphDraft<'t> {
    pub fn new(table: &'t Table) -> GraphDraft<'t> {
        let places = table.ids.iter().zip(0..).map(|(id, place)| (id.as_str(), place)).collect();
        GraphDraft {
            places,
            strange: HashMap::new(),
            strangers: Vec::new(),
            rows: table.ids.len(),
            pairs: Vec::new(),
            loops: 0,
        }
    }

    pub fn is_known(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    /// One pair: who called, who was called.
    pub fn push(&mut self, calling: &str, called: &str) {
        let (calling, called) = (self.node(calling), self.node(called));
        if calling == called {
            self.loops += 1;
        } else {
            self.pairs.push((calling, called));
        }
    }

    fn node(&mut self, id: &str) -> u32 {
        if let Some(&place) = self.places.get(id) {
            return place;
        }
        if let Some(&place) = self.strange.get(id) {
            return place;
        }
        let place = (self.rows + self.strangers.len()) as u32;
        self.strange.insert(id.to_owned(), place);
        self.strangers.push(id.to_owned());
        place
    }

    pub fn finish(mut self) -> Graph {
        let given = self.pairs.len();
        self.pairs.sort_unstable();
        self.pairs.dedup();
        let again = given - self.pairs.len();
        let nodes = self.rows + self.strangers.len();
        let (mut called, mut callers) = (vec![0; nodes], vec![0; nodes]);
        for &(from, to) in &self.pairs {
            called[from as usize] += 1;
            callers[to as usize] += 1;
        }
        let mut both: Vec<(u32, u32)> =
            self.pairs.iter().flat_map(|&(from, to)| [(from, to), (to, from)]).collect();
        drop(self.pairs);
        both.sort_unstable();
        both.dedup();
        let mut starts = vec![0; nodes + 1];
        for &(from, _) in &both {
            starts[from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let neighbours = both.into_iter().map(|(_, to)| to).collect();
        let (rows, loops, strangers) = (self.rows, self.loops, self.strangers);
        Graph { rows, starts, neighbours, called, callers, strangers, loops, again }
    }
}

impl Graph {
    pub fn nodes(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Ids in calls that the table does not have, from the place after its rows.
    pub fn strangers(&self) -> &[String] {
        &self.strangers
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Pairs of neighbours, each counted once.
    pub fn pairs(&self) -> usize {
        self.neighbours.len() / 2
    }

    pub fn neighbours(&self, node: usize) -> &[u32] {
        &self.neighbours[self.starts[node]..self.starts[node + 1]]
    }

    pub fn called(&self, node: usize) -> u32 {
        self.called[node]
    }

    pub fn callers(&self, node: usize) -> u32 {
        self.callers[node]
    }

    /// What spreads from the nodes that have some, after two steps and after eight: each step a node has the mean of its
    /// neighbours and, with `1 - PASS`, its own. `first` is one value a node.
    pub fn spread(&self, first: &[f32]) -> [Vec<f32>; 2] {
        const PASS: f32 = 0.8;
        let step = |now: &[f32]| -> Vec<f32> {
            let next = (0..self.nodes()).map(|node| {
                let around = self.neighbours(node);
                let sum: f32 = around.iter().map(|&other| now[other as usize]).sum();
                PASS * sum / around.len().max(1) as f32 + (1.0 - PASS) * first[node]
            });
            next.collect()
        };
        let near = step(&step(first));
        let far = (2..8).fold(near.clone(), |now, _| step(&now));
        [near, far]
    }
}
