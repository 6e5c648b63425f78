//! The node: everything of Qalqan that touches sockets, files and the clock.
//!
//! [`config`] makes a [`config::Setup`] of `qalqan.toml`; [`serve`] runs workers on it, each owning a UDP
//! socket and a [`store`] writer; [`door`] is the one place that knows both SIP and calls. [`replay`] judges
//! recorded traffic with the same setup, [`query`] reads the journal, [`verify`] checks it, [`demo`] plays a small
//! country against a running node. [`http`] is the door for those who ask by HTTP, [`metrics`] and [`traces`] show how a
//! node is. [`roaming`] asks the operator's own sources where its subscribers are.

pub mod capture;
pub mod case_commands;
pub mod casework;
pub mod check;
pub mod clients;
pub mod config;
pub mod connections;
mod database;
pub mod demo;
pub mod door;
pub mod evidence;
pub mod exchange;
pub mod http;
pub mod hunt;
pub mod letters;
pub mod list_file;
pub mod live;
pub mod loans;
pub mod manual;
pub mod metrics;
pub mod nats;
pub mod notify;
pub mod probe;
pub mod progress;
pub mod query;
pub mod records;
pub mod replay;
pub mod retransmission;
pub mod roaming;
pub mod scorecard;
pub mod serve;
pub mod simulate;
pub mod stats;
pub mod store;
pub mod stream;
pub mod tls;
pub mod traces;
pub mod udp;
pub mod verify;
pub mod watching;
pub mod worker;
