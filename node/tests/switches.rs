//! Real switches, telephones and registers.
//!
//! Several files in one program: linking one takes longer than running most.

mod inline;
mod kamailio;
mod osmo_hlr;
mod rig;
