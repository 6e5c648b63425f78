//! HTTP, metrics and traces.
//!
//! Several files in one program: linking one takes longer than running most.

mod behaviour;
mod exchange;
mod exchange_bad;
mod exchange_forged;
mod exchange_kept;
mod exchange_member;
mod exchange_state;
mod http;
mod http_contract;
mod http_peers;
mod loans;
mod loans_bad;
mod loans_creditor;
mod loans_operator;
mod metrics;
mod one_time_passwords;
mod osmo_msc;
mod page;
mod page_engine;
mod page_face;
mod proxy_asking;
mod public_numbers;
mod register;
mod register_centres;
mod register_feed;
mod register_links;
mod register_work;
mod rig;
mod smpp;
mod smpp_breaks;
mod traces;
