//! Hunting: who among many subscribers behaves like a fraudster, learned from those who are known.
//!
//! A [`Table`] has one row a subscriber and any columns; a [`Graph`] says who called whom. [`Training`] makes a [`Model`]
//! of them in jobs that may run side by side; the model gives every row a probability and reasons.
//!
//! From call records, [`Sieve`] and [`Closer`] make the [`Behaviour`] of those who call much, and [`hunt`] finds alarms and
//! [`Cluster`]s by named signals; [`Live`] does while calls last, in memory that does not grow. No file, clock or thread: the node brings rows and runs jobs. docs/hunting.md tells the whole.

mod bins;
mod calibration;
mod chance;
mod clusters;
mod features;
mod forest;
mod graph;
mod label;
mod learn;
mod live;
mod measure;
mod model;
mod records;
mod sieve;
mod signals;
mod table;
mod tree;

pub use clusters::{Cluster, Suspect, Tie, hunt};
pub use graph::{Graph, GraphDraft};
pub use label::Labels;
pub use learn::{Run, Task, Training};
pub use live::{Judged, Live, Scale, Seen, Told};
pub use measure::{Report, average_precision, roc_auc};
pub use model::{Model, Reason, Scored};
pub use records::{Behaviour, CallRecord, Distinct, Few};
pub use sieve::{Closer, Sieve};
pub use signals::{Evidence, Given, Signal, Thresholds};
pub use table::{Column, Table, TableDraft, Values};
