//! The command line, captures, the package, and the laws of the house.
//!
//! Several files in one program: linking one takes longer than running most.

mod capture;
mod capture_bytes;
mod case;
mod command_line;
mod frames;
mod hunt;
mod hunt_cluster;
mod hunt_records;
mod laws;
mod package;
mod packed_lists;
mod rig;
mod scenarios;
