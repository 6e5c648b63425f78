//! Hunting: who among many subscribers behaves like a fraudster, learned from those who are known.
//!
//! A [`Table`] has one row a subscriber and any columns; a [`Graph`] says who called whom. [`Training`] makes a [`Model`]
//! of them in jobs that may run side by side; the model gives every row a probability and reasons. No file, clock or
//! thread: the node brings the rows and runs the jobs. docs/hunting.md tells the whole.

mod bins;
mod calibration;
mod chance;
mod features;
mod forest;
mod graph;
mod label;
mod learn;
mod measure;
mod model;
mod table;
mod tree;

pub use graph::{Graph, GraphDraft};
pub use label::Labels;
pub use learn::{Run, Task, Training};
pub use measure::{Report, average_precision, roc_auc};
pub use model::{Model, Reason, Scored};
pub use table::{Column, Table, TableDraft, Values};
