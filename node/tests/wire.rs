//! SIP by every transport, as redirect server and as proxy.
//!
//! Several files in one program: linking one takes longer than running most.

mod conformance;
mod proxy;
mod rig;
mod sip;
mod stream;
