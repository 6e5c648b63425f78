//! The models, and what they say of one picture.
//!
//! Files and what goes into them are those of docs/face.md; whoever brings others of the same shapes may.

use std::fmt;
use std::sync::Arc;

use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use sha2::{Digest, Sha256};

use crate::picture::{Area, Picture, Placing};
use crate::{Embedding, PictureFault, Seen};

/// The files of models, in their order.
pub const MODEL_FILES: [&str; 5] =
    ["fr_detect.onnx", "fr_landmark.onnx", "fr_feature.onnx", "fr_liveness.onnx", "fr_eye.onnx"];

/// A model file that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelFault {
    pub file: &'static str,
    pub what: String,
}

impl fmt::Display for ModelFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.what)
    }
}

struct Net {
    file: &'static str,
    model: Model,
    input: NodeId,
    outputs: Vec<NodeId>,
}

/// Reads faces in pictures. Made once, used by many at a time.
pub struct Engine {
    detect: Net,
    landmark: Net,
    feature: Net,
    liveness: Net,
    eye: Net,
    versions: String,
    options: RunOptions,
}

/// A face is one from this score on.
const SCORE: f32 = 0.65;
/// Boxes that cover each other by so much are one face.
const SAME: f32 = 0.4;
/// A second face counts from this share of the first one's area on: people in the background do not.
const SECOND: f32 = 0.2;
/// Pixels that a face is wide at least.
const NARROWEST: f32 = 72.0;
/// How light it is at least and at most, 0 to 255.
const LIGHT: std::ops::RangeInclusive<f32> = 35.0..=235.0;
/// The mean square of differences between neighbours in an aligned face of 112 pixels: below, it is blurred.
const SHARP: f32 = 12.0;

/// Where eyes, nose and corners of the mouth lie in an aligned face of 112 by 112 pixels (ArcFace, Deng and others, 2019).
const ALIGNED: [(f32, f32); 5] =
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)];

impl Engine {
    /// Makes an engine of the bytes of [`MODEL_FILES`], that computes on so many threads.
    pub fn load(files: [Vec<u8>; MODEL_FILES.len()], threads: usize) -> Result<Engine, ModelFault> {
        let versions = MODEL_FILES.iter().zip(&files).map(|(name, bytes)| {
            let hash = Sha256::digest(bytes);
            format!("{name} {:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
        });
        let versions = versions.collect::<Vec<_>>().join(", ");
        let shapes: [(&[usize], &[usize]); MODEL_FILES.len()] = [
            (&[1, 3, 240, 320], &[4420 * 2, 4420 * 4]),
            (&[1, 1, 64, 64], &[136]),
            (&[1, 3, 112, 112], &[512]),
            (&[1, 3, 128, 128], &[3]),
            (&[1, 1, 24, 24], &[2]),
        ];
        let pool = Arc::new(ThreadPool::with_num_threads(threads.max(1)));
        let options = RunOptions::default().with_thread_pool(Some(pool));
        let mut nets = Vec::new();
        for ((file, bytes), (input, outputs)) in MODEL_FILES.into_iter().zip(files).zip(shapes) {
            let net = Net::load(file, bytes)?;
            // Tried once with nothing, so that a wrong file is told at the start and not before a citizen.
            let empty = NdTensor::<f32, 4>::zeros(input.try_into().expect("four"));
            let made = net.run(&empty, &options).map_err(|what| ModelFault { file, what })?;
            let sizes: Vec<usize> = made.iter().map(Vec::len).collect();
            if sizes != outputs {
                return Err(ModelFault { file, what: format!("gives {sizes:?} numbers, not {outputs:?}") });
            }
            nets.push(net);
        }
        let [detect, landmark, feature, liveness, eye] =
            nets.try_into().unwrap_or_else(|_| unreachable!("as many as files"));
        Ok(Engine { detect, landmark, feature, liveness, eye, versions, options })
    }

    /// Which models these are: names and the first bytes of their SHA-256.
    pub fn versions(&self) -> &str {
        &self.versions
    }

    /// Reads one picture.
    pub fn see(&self, bytes: &[u8]) -> Result<Seen, PictureFault> {
        let picture = Picture::read(bytes)?;
        let mut faces = self.faces(&picture);
        let Some(face) = faces.first().copied() else {
            let is_turned = !self.faces(&picture.turned()).is_empty();
            return Err(if is_turned { PictureFault::UpsideDown } else { PictureFault::NoFace });
        };
        faces.retain(|other| other.size() >= SECOND * face.size());
        if faces.len() > 1 {
            return Err(PictureFault::SeveralFaces);
        }
        let points = self.points(&picture, face);
        let marks = Marks::of(&points);
        // Somebody upside down may be found too; his eyes are under his mouth.
        if marks.mouth().1 < marks.eyes().1 {
            return Err(PictureFault::UpsideDown);
        }
        if face.width() < NARROWEST {
            return Err(PictureFault::NotClear);
        }
        let (embedding, is_clear) = self.embedding(&picture, &marks);
        if !is_clear {
            return Err(PictureFault::NotClear);
        }
        Ok(Seen {
            yaw: marks.yaw(),
            pitch: marks.pitch(),
            roll: marks.roll(),
            eyes_open: self.eyes_open(&picture, &points),
            smile: marks.smile(),
            size: face.width() / picture.width as f32,
            alive: self.alive(&picture, face),
            embedding,
        })
    }

    fn run(&self, net: &Net, input: &NdTensor<f32, 4>) -> Vec<Vec<f32>> {
        // Shapes were tried when it was loaded.
        net.run(input, &self.options).unwrap_or_default()
    }

    /// Boxes of faces, the largest first.
    fn faces(&self, picture: &Picture) -> Vec<Area> {
        const WIDTH: usize = 320;
        const HEIGHT: usize = 240;
        let mut input = NdTensor::<f32, 4>::zeros([1, 3, HEIGHT, WIDTH]);
        picture.part(picture.whole(), (WIDTH, HEIGHT), |x, y, rgb| {
            (0..3).for_each(|n| input[[0, n, y, x]] = (rgb[n] - 127.0) / 128.0);
        });
        let made = self.run(&self.detect, &input);
        let [scores, boxes] = made.as_slice() else { return Vec::new() };
        let (width, height) = (picture.width as f32, picture.height as f32);
        let mut found: Vec<(f32, Area)> = scores
            .chunks_exact(2)
            .zip(boxes.chunks_exact(4))
            .filter(|(score, _)| score[1] >= SCORE)
            .map(|(score, corners)| {
                let area = Area {
                    left: corners[0] * width,
                    top: corners[1] * height,
                    right: corners[2] * width,
                    bottom: corners[3] * height,
                };
                (score[1], area)
            })
            .filter(|(_, area)| area.width() > 1.0 && area.height() > 1.0)
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut faces: Vec<Area> = Vec::new();
        for (_, area) in found {
            if faces.iter().all(|known| known.overlap(&area) < SAME) {
                faces.push(area);
            }
        }
        faces.sort_by(|a, b| b.size().total_cmp(&a.size()));
        faces
    }

    /// 68 points of a face (300-W, Sagonas and others, 2013), pixels.
    fn points(&self, picture: &Picture, face: Area) -> Vec<(f32, f32)> {
        let area = face.square(1.0, picture);
        let mut input = NdTensor::<f32, 4>::zeros([1, 1, 64, 64]);
        picture.part(area, (64, 64), |x, y, rgb| input[[0, 0, y, x]] = grey(rgb) / 256.0);
        let made = self.run(&self.landmark, &input);
        let points = made.first().map_or(&[][..], Vec::as_slice);
        let place =
            |point: &[f32]| (area.left + point[0] * area.width(), area.top + point[1] * area.height());
        points.chunks_exact(2).map(place).collect()
    }

    /// The face as numbers, and whether light and sharpness are enough for that.
    fn embedding(&self, picture: &Picture, marks: &Marks) -> (Embedding, bool) {
        const SIDE: usize = 112;
        // Fitted towards the aligned face, as the model was taught; the other way the scale would be another.
        let placing = Placing::fit(&marks.five, &ALIGNED).inverted();
        let mut input = NdTensor::<f32, 4>::zeros([1, 3, SIDE, SIDE]);
        let mut greys = vec![0.0; SIDE * SIDE];
        picture.warped(&placing, (SIDE, SIDE), |x, y, rgb| {
            (0..3).for_each(|n| input[[0, n, y, x]] = (rgb[n] - 127.0) / 128.0);
            greys[y * SIDE + x] = grey(rgb);
        });
        let light = greys.iter().sum::<f32>() / greys.len() as f32;
        let step = |from: usize, to: usize| (greys[from] - greys[to]).powi(2);
        let inner = (0..SIDE - 1).flat_map(|y| (0..SIDE - 1).map(move |x| y * SIDE + x));
        let steps: f32 = inner.map(|at| step(at, at + 1) + step(at, at + SIDE)).sum();
        let sharpness = steps / (2 * (SIDE - 1) * (SIDE - 1)) as f32;
        let made = self.run(&self.feature, &input);
        let values = made.into_iter().next().unwrap_or_default();
        (Embedding::of(values), LIGHT.contains(&light) && sharpness >= SHARP)
    }

    fn alive(&self, picture: &Picture, face: Area) -> f32 {
        let mut input = NdTensor::<f32, 4>::zeros([1, 3, 128, 128]);
        picture.part(face.square(2.7, picture), (128, 128), |x, y, rgb| {
            // Blue first: of photos through a simulated camera this takes 70 in 100 for alive, red first 48 (docs/face.md).
            (0..3).for_each(|n| input[[0, n, y, x]] = rgb[2 - n]);
        });
        softmax(self.run(&self.liveness, &input).first().map_or(&[][..], Vec::as_slice), ALIVE)
    }

    fn eyes_open(&self, picture: &Picture, points: &[(f32, f32)]) -> f32 {
        let eye = |first: usize| {
            let inner = [first + 1, first + 2, first + 4, first + 5].map(|n| points[n]);
            let middle = inner.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / 4.0, sum.1 + p.1 / 4.0));
            let half = (points[first + 3].0 - points[first].0).abs().max(4.0) * 0.8;
            let area = Area {
                left: middle.0 - half,
                top: middle.1 - half,
                right: middle.0 + half,
                bottom: middle.1 + half,
            };
            let mut input = NdTensor::<f32, 4>::zeros([1, 1, 24, 24]);
            picture.part(area, (24, 24), |x, y, rgb| input[[0, 0, y, x]] = grey(rgb) / 255.0);
            softmax(self.run(&self.eye, &input).first().map_or(&[][..], Vec::as_slice), OPEN)
        };
        (eye(36) + eye(42)) / 2.0
    }
}

/// Which output of the liveness model says alive, and of the eye model open; found out on pictures.
const ALIVE: usize = 0;
const OPEN: usize = 1;

impl Net {
    fn load(file: &'static str, bytes: Vec<u8>) -> Result<Net, ModelFault> {
        let fault = |what: String| ModelFault { file, what: what.replace('\n', " ") };
        let model = rten::ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load(bytes)
            .map_err(|error| fault(format!("is no model that can be run: {error}")))?;
        let input = *model.input_ids().first().ok_or_else(|| fault("has no input".to_owned()))?;
        let outputs = model.output_ids().to_vec();
        Ok(Net { file, model, input, outputs })
    }

    /// Every output, flat.
    fn run(&self, input: &NdTensor<f32, 4>, options: &RunOptions) -> Result<Vec<Vec<f32>>, String> {
        let inputs = vec![(self.input, input.view().into())];
        let made = self.model.run(inputs, &self.outputs, Some(options.clone()));
        let made = made.map_err(|error| format!("{}: {error}", self.file))?;
        let numbers = |value: rten::Value| -> Result<Vec<f32>, String> {
            let tensor: rten_tensor::Tensor<f32> =
                value.try_into().map_err(|_| format!("{}: gives no numbers", self.file))?;
            Ok(tensor.to_vec())
        };
        made.into_iter().map(numbers).collect()
    }
}

fn grey(rgb: [f32; 3]) -> f32 {
    // ITU-R BT.601.
    0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
}

/// The share of one of several, 0 where there is none.
fn softmax(values: &[f32], which: usize) -> f32 {
    let most = values.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = values.iter().map(|value| (value - most).exp()).sum();
    values.get(which).map_or(0.0, |value| (value - most).exp() / sum)
}

/// What the points of a face say about how it is held.
struct Marks {
    /// The eye on the left of the picture, the other, the tip of the nose, the corners of the mouth.
    five: [(f32, f32); 5],
    /// The same, upright and measured in distances between the eyes, from the middle between them.
    upright: [(f32, f32); 5],
    roll: f32,
}

impl Marks {
    fn of(points: &[(f32, f32)]) -> Marks {
        let point = |n: usize| points.get(n).copied().unwrap_or_default();
        let middle = |places: &[usize]| {
            let n = places.len() as f32;
            places
                .iter()
                .map(|place| point(*place))
                .fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / n, sum.1 + p.1 / n))
        };
        let five = [
            middle(&[37, 38, 40, 41]),
            middle(&[43, 44, 46, 47]),
            point(30),
            middle(&[48, 60]),
            middle(&[54, 64]),
        ];
        let (dx, dy) = (five[1].0 - five[0].0, five[1].1 - five[0].1);
        let apart = dx.hypot(dy).max(1.0);
        let (cos, sin) = (dx / apart, dy / apart);
        let between = ((five[0].0 + five[1].0) / 2.0, (five[0].1 + five[1].1) / 2.0);
        let upright = five.map(|(x, y)| {
            let (x, y) = ((x - between.0) / apart, (y - between.1) / apart);
            (x * cos + y * sin, y * cos - x * sin)
        });
        Marks { five, upright, roll: dy.atan2(dx).to_degrees() }
    }

    fn eyes(&self) -> (f32, f32) {
        ((self.five[0].0 + self.five[1].0) / 2.0, (self.five[0].1 + self.five[1].1) / 2.0)
    }

    fn mouth(&self) -> (f32, f32) {
        ((self.five[3].0 + self.five[4].0) / 2.0, (self.five[3].1 + self.five[4].1) / 2.0)
    }

    /// The nose stands out by about 0.55 of the distance between the eyes, which shrinks as the head turns: its tip moves by
    /// 0.55 tan(yaw) of what is seen of that distance.
    fn yaw(&self) -> f32 {
        (self.upright[2].0 / 0.55).atan().to_degrees()
    }

    /// The tip of the nose is 0.60 below the eyes in a face that looks ahead, and rises as it looks up.
    fn pitch(&self) -> f32 {
        ((0.60 - self.upright[2].1) / 0.55).atan().to_degrees()
    }

    fn roll(&self) -> f32 {
        self.roll
    }

    /// A mouth at rest is about 0.8 as wide as the eyes are apart, a broad smile's 1.05 and more.
    fn smile(&self) -> f32 {
        let width = (self.upright[4].0 - self.upright[3].0).hypot(self.upright[4].1 - self.upright[3].1);
        // Of a face turned away, the eyes' distance shrinks as the mouth does.
        ((width - 0.6) / 0.7).clamp(0.0, 1.0)
    }
}
