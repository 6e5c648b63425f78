//! Real switches and telephones.
//!
//! Several files in one program: linking one takes longer than running most.

mod inline;
mod kamailio;
mod rig;
