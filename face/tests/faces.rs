//! Real models on photos of real people: what is seen of them, against the same models run by another hand, and what a session comes to.
//!
//! ./test brings the models, the photos and the peer; where they lack, these tests fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::LazyLock;

use face::{Command, Engine, MODEL_FILES, Outcome, PictureFault, Seen, Step, Thresholds, is_done, judge};
use image::{DynamicImage, RgbImage, imageops};

static ROOT: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target"));

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let read = |file: &str| std::fs::read(ROOT.join("faces").join(file));
    let files = MODEL_FILES.map(|file| {
        read(file).unwrap_or_else(|error| {
            panic!("{file}: {error}; run ./test, or packaging/face-models target/faces")
        })
    });
    Engine::load(files, 1).unwrap_or_else(|fault| panic!("{fault}"))
});

fn photo(name: &str) -> Vec<u8> {
    let path = ROOT.join("faces").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; ./test brings it", path.display()))
}

fn opened(name: &str) -> DynamicImage {
    image::load_from_memory(&photo(name)).unwrap()
}

fn as_png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn peer(script: &str) -> Program {
    let mut python = Program::new(ROOT.join("tools/bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script));
    python
}

/// What one person, bent out of a photo, does: the frames of each act, 100 ms apart.
fn acts(name: &str) -> BTreeMap<String, Vec<(u32, Seen)>> {
    let made = tempfile::tempdir().unwrap();
    let mut actor = peer("act.py");
    actor.args([ROOT.join("faces"), ROOT.join("faces").join(name), made.path().to_owned()]);
    actor.arg("rest").args(Command::ALL.map(Command::name));
    assert!(actor.status().unwrap().success());
    let mut files: Vec<_> =
        std::fs::read_dir(made.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut acts = BTreeMap::<String, Vec<(u32, Seen)>>::new();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (act, n) = name[2..].rsplit_once('-').unwrap();
        let n: u32 = n.parse().unwrap();
        // Every other frame, as a page that sends five a second.
        if n.is_multiple_of(2) {
            let seen = ENGINE
                .see(&std::fs::read(&file).unwrap())
                .unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
            acts.entry(act.to_owned()).or_default().push((100 * n, seen));
        }
    }
    acts
}

static ACTS: LazyLock<BTreeMap<String, Vec<(u32, Seen)>>> = LazyLock::new(|| acts("biden.jpg"));

fn step(command: Option<Command>) -> Step {
    Step { command, frames: ACTS[command.map_or("rest", Command::name)].clone() }
}

fn session(commands: &[Command]) -> Vec<Step> {
    std::iter::once(None).chain(commands.iter().copied().map(Some)).map(step).collect()
}

#[test]
fn another_hand_sees_the_same() {
    let photos = ["obama.jpg", "obama2.jpg", "biden.jpg"];
    // Small enough that neither makes them smaller its own way.
    let small = tempfile::tempdir().unwrap();
    let at = |name: &str| small.path().join(name).with_extension("png");
    for name in photos {
        std::fs::write(at(name), as_png(opened(name).resize(900, 900, imageops::FilterType::Triangle)))
            .unwrap();
    }
    let mut python = peer("faces.py");
    python.arg("see").arg(ROOT.join("faces")).args(photos.map(at));
    let out = python.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for (line, name) in String::from_utf8(out.stdout).unwrap().lines().zip(photos) {
        let peer = &serde_json::from_str::<serde_json::Value>(line).unwrap()["seen"];
        let ours = ENGINE.see(&std::fs::read(at(name)).unwrap()).unwrap();
        let theirs: Vec<f32> = serde_json::from_value(peer["embedding"].clone()).unwrap();
        // Pixels between pixels are rounded otherwise.
        let similarity = ours.embedding.similarity(&face::Embedding::of(theirs));
        assert!(similarity > 0.995, "{name}: {similarity}");
        let near = |ours: f32, what: &str, by: f32| {
            let theirs = peer[what].as_f64().unwrap() as f32;
            assert!((ours - theirs).abs() <= by, "{name} {what}: {ours}, the peer {theirs}");
        };
        near(ours.yaw, "yaw", 1.0);
        near(ours.roll, "roll", 1.0);
        near(ours.size, "size", 0.005);
        near(ours.eyes_open, "eyes_open", 0.05);
        near(ours.smile, "smile", 0.05);
        near(ours.alive, "alive", 0.05);
    }
}

#[test]
fn one_person_is_like_himself_and_unlike_another() {
    let [one, again, other] =
        ["obama.jpg", "obama2.jpg", "biden.jpg"].map(|name| ENGINE.see(&photo(name)).unwrap().embedding);
    let same = Thresholds::default().same;
    assert!(one.similarity(&again) >= same, "{}", one.similarity(&again));
    assert!(one.similarity(&other) < same && again.similarity(&other) < same);
    let kept = face::Embedding::from_bytes(&one.to_bytes()).unwrap();
    assert!(kept.similarity(&one) > 0.999);
}

#[test]
fn what_cannot_be_used_is_said() {
    let photo = opened("obama.jpg").resize(600, 600, imageops::FilterType::Triangle);
    let is = |image: DynamicImage, fault| assert_eq!(ENGINE.see(&as_png(image)).err(), Some(fault));
    assert!(ENGINE.see(&as_png(photo.clone())).is_ok());
    is(photo.rotate180(), PictureFault::UpsideDown);
    is(photo.crop_imm(0, 0, photo.width(), photo.height() / 12), PictureFault::NoFace);
    is(RgbImage::from_pixel(320, 240, image::Rgb([90, 120, 60])).into(), PictureFault::NoFace);
    let mut two = RgbImage::new(2 * photo.width(), photo.height());
    imageops::replace(&mut two, &photo.to_rgb8(), 0, 0);
    imageops::replace(&mut two, &photo.to_rgb8(), i64::from(photo.width()), 0);
    is(two.into(), PictureFault::SeveralFaces);
    is(photo.blur(9.0), PictureFault::NotClear);
    is(photo.thumbnail(200, 200), PictureFault::NotClear);
    assert_eq!(ENGINE.see(b"no picture").err(), Some(PictureFault::NotAPicture));
}

#[test]
fn each_command_is_seen_and_no_other() {
    let thresholds = Thresholds::default();
    let rest: Vec<Seen> = ACTS["rest"].iter().map(|(_, seen)| seen.clone()).collect();
    for asked in Command::ALL {
        for done in Command::ALL {
            let is_seen = is_done(&thresholds, asked, &rest, &ACTS[done.name()]);
            assert_eq!(is_seen, asked == done, "asked {asked:?}, done {done:?}");
        }
        assert!(!is_done(&thresholds, asked, &rest, &ACTS["rest"]), "{asked:?} at rest");
    }
}

#[test]
fn a_session_comes_to_what_was_done_in_it() {
    let thresholds = Thresholds::default();
    let commands = [Command::TurnRight, Command::Blink, Command::ComeCloser];
    let reference = ENGINE.see(&photo("biden.jpg")).unwrap().embedding;
    let stranger = ENGINE.see(&photo("obama.jpg")).unwrap();
    let judged = judge(&thresholds, &reference, &session(&commands));
    assert_eq!(
        (judged.outcome, judged.missed, judged.changed_at),
        (Outcome::Matched, None, None),
        "{judged:?}"
    );
    assert_eq!(judge(&thresholds, &stranger.embedding, &session(&commands)).outcome, Outcome::NotTheSame);
    // A photo held still in front of the camera.
    let mut still = session(&commands);
    still.iter_mut().for_each(|step| step.frames = ACTS["rest"].clone());
    let judged = judge(&thresholds, &reference, &still);
    assert_eq!((judged.outcome, judged.missed), (Outcome::CommandMissed, Some(Command::TurnRight)));
    // Another person's face from frame 10 on: the second one of the second step.
    let mut changed = session(&commands);
    assert_eq!(changed[0].frames.len(), 10);
    changed
        .iter_mut()
        .flat_map(|step| &mut step.frames)
        .skip(11)
        .for_each(|(_, seen)| *seen = stranger.clone());
    let judged = judge(&thresholds, &reference, &changed);
    assert_eq!((judged.outcome, judged.changed_at), (Outcome::Changed, Some(11)));
}
