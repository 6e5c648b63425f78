//! What a look at a living face came to, as an application keeps it: scores, versions and thresholds, nothing personal.
//!
//! Who looked, an engine on the node or a service outside, is the node's affair.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gate::names;

names! {
    FaceOutcome {
        Matched = "matched",
        /// Alive and one person, but not the one of the reference photo.
        NotTheSame = "not-the-same",
        /// The person changed between pictures.
        Changed = "changed",
        /// A photo, a screen or a mask.
        NotAlive = "not-alive",
        CommandMissed = "command-missed",
        /// Pictures too few to say anything.
        TooLittle = "too-little",
    }
}

impl FaceOutcome {
    /// Whether it uses up one of the tries: where nothing could be seen, nothing was tried.
    pub fn is_failed_try(self) -> bool {
        !matches!(self, FaceOutcome::Matched | FaceOutcome::TooLittle)
    }
}

/// What one look came to. Scores and thresholds are in thousandths, so that they are kept exactly.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaceJudgement {
    pub outcome: FaceOutcome,
    /// Between the pictures and the reference photo; none where it was not compared.
    pub similarity: Option<i32>,
    /// 0 a photo, a screen or a mask to 1000 alive.
    pub alive: Option<i32>,
    /// `local`, or the host of the service that judged.
    pub judged_by: String,
    /// Of models, or of the service.
    pub versions: Vec<String>,
    pub thresholds: BTreeMap<String, i32>,
    /// In the order in which they were shown.
    pub commands: Vec<String>,
    /// Pictures with a face that could be used.
    pub pictures: u32,
}

/// Whether a face can be judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FaceReady {
    /// No models and no service.
    #[default]
    NotConfigured,
    /// Nothing to compare the person with.
    NoReference,
    Ready,
}
