//! Measures Qalqan beside what an engineer would pick instead: the same corpus, in one run, on one machine.
//!
//! [`corpus`] makes mixed calls from a seed, [`load`] keeps a window of them open over a
//! [`wire`], [`servers`] starts
//! who answers and reads its CPU time from /proc, [`floor`] is the least any answerer can cost, [`hop`]
//! stands behind a proxy, [`judge`]
//! times the verdict by itself, [`journal`] what is kept of it, [`exchange`] operators that ask each other, [`loans`]
//! applications for loans. [`country`]
//! measures nothing: it shows that operators' nodes let honest calls through.

pub mod contest;
pub mod corpus;
pub mod count;
pub mod country;
pub mod exchange;
pub mod flame;
pub mod floor;
pub mod hop;
pub mod journal;
pub mod judge;
pub mod lists;
pub mod load;
pub mod loans;
pub mod pace;
pub mod servers;
pub mod service;
pub mod wire;
