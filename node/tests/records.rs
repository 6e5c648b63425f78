//! The journal: logs, segments, what is left of them after harm.
//!
//! Several files in one program: linking one takes longer than running most.

mod evidence;
mod evidence_calls;
mod evidence_report;
mod journal;
mod nats_lists;
mod nats_verdicts;
mod rig;
mod sealed;
mod sealing;
mod segments_on_s3;
