//! Whether the person in front of a camera is alive, does what is asked of him, and is the one of a reference photo.
//!
//! [`Engine::see`] reads one picture into what is [`Seen`]; [`judge`] looks at what was seen during the commands of one session.
//! No I/O: models and pictures are bytes, times are arguments.

use serde::{Deserialize, Serialize};

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
pub struct Embedding(pub Vec<f32>);

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
}

impl Embedding {
    /// Little-endian, four bytes a number.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Embedding> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        rest.is_empty().then(|| Embedding(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()))
    }
}

/// What is compared with what was seen.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Thresholds {}

/// What a session came to, with its scores.
pub struct Judgement {
    pub outcome: Outcome,
    pub similarity: Option<f32>,
    pub alive: Option<f32>,
}

/// None is built in yet, so there is none to ask.
pub enum Engine {}

impl Engine {
    pub fn see(&self, _picture: &[u8]) -> Result<Seen, PictureFault> {
        match *self {}
    }

    pub fn versions(&self) -> Vec<String> {
        match *self {}
    }

    pub fn embedding_version(&self) -> String {
        match *self {}
    }

    pub fn judge(&self, _: &[Step], _: &[Command], _: &Embedding, _: &Thresholds) -> Judgement {
        match *self {}
    }

    pub fn is_done(&self, _: &Step, _: Option<&Step>, _: &Thresholds) -> bool {
        match *self {}
    }
}
