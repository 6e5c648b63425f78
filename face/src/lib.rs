//! Whether the person in front of a camera is alive, does what is asked of him, and is the one of a reference photo.
//!
//! [`Engine::see`] reads one picture into what is [`Seen`]; [`judge`] looks at what was seen during the commands of one session.
//! No I/O: models and pictures are bytes, times are arguments. docs/face.md says how well it does.

mod engine;
mod judge;
mod picture;

use serde::{Deserialize, Serialize};

pub use engine::{Engine, MODEL_FILES, ModelFault};
pub use judge::{Judgement, Thresholds, is_done, judge};
pub use picture::{MOST_BYTES, MOST_PIXELS, dimensions};

/// What a person is asked to do. Left and right are his own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    TurnLeft,
    TurnRight,
    /// The ear towards the left shoulder.
    TiltLeft,
    TiltRight,
    Blink,
    Smile,
    ComeCloser,
}

impl Command {
    pub const ALL: [Command; 7] = [
        Command::TurnLeft,
        Command::TurnRight,
        Command::TiltLeft,
        Command::TiltRight,
        Command::Blink,
        Command::Smile,
        Command::ComeCloser,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Command::TurnLeft => "turn-left",
            Command::TurnRight => "turn-right",
            Command::TiltLeft => "tilt-left",
            Command::TiltRight => "tilt-right",
            Command::Blink => "blink",
            Command::Smile => "smile",
            Command::ComeCloser => "come-closer",
        }
    }
}

/// Why a picture is of no use. None of them is the engine's own failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PictureFault {
    /// More bytes, or more pixels by its header, than are read.
    TooLarge,
    /// Neither JPEG nor PNG, or broken.
    NotAPicture,
    NoFace,
    SeveralFaces,
    UpsideDown,
    /// The face is too small, too dark or too blurred to be compared.
    NotClear,
}

/// A face as numbers, of length 1; compared by their scalar product.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Scaled to length 1; of nothing comes what is like nobody.
    pub fn of(mut values: Vec<f32>) -> Embedding {
        let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 && length.is_finite() {
            values.iter_mut().for_each(|value| *value /= length);
        } else {
            values.clear();
        }
        Embedding(values)
    }

    /// -1 to 1; 0 between embeddings of different models' sizes.
    pub fn similarity(&self, other: &Embedding) -> f32 {
        match self.0.len() == other.0.len() {
            true => self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum(),
            false => 0.0,
        }
    }

    /// Four bytes a number, little-endian: to be sealed and kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Embedding> {
        let (values, rest) = bytes.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        (rest.is_empty() && !values.is_empty() && values.iter().all(|value| value.is_finite()))
            .then(|| Embedding::of(values))
    }
}

/// What one picture shows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Degrees; positive: turned to the person's own left.
    pub yaw: f32,
    /// Degrees; positive: looking up.
    pub pitch: f32,
    /// Degrees; positive: tilted towards the person's own left shoulder.
    pub roll: f32,
    /// 0 closed to 1 wide open.
    pub eyes_open: f32,
    /// 0 none to 1 broad.
    pub smile: f32,
    /// The face's width as a share of the picture's.
    pub size: f32,
    /// By passive anti-spoofing: 0 a photo, a screen, a mask to 1 alive.
    pub alive: f32,
    pub embedding: Embedding,
}

/// What was seen for one command; the first step of a session has none: the face at rest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub command: Option<Command>,
    /// With ms since the command was shown.
    pub frames: Vec<(u32, Seen)>,
}

/// What a session came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Matched,
    /// Alive and one person, but not the one of the reference photo.
    NotTheSame,
    /// The person changed between frames.
    Changed,
    /// By passive anti-spoofing.
    NotAlive,
    CommandMissed,
    /// Frames too few, or none with the face at rest.
    TooLittle,
}
