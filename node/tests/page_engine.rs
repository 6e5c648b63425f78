//! Faces judged by the engine on the node, from the reference photo to the loan: real models, real photographs, a real browser before
//! which one photograph moves as it is asked to (`peers/person.js`).

use crate::page::{Citizen, PAGE, code_in, link, opened, word};
use crate::page_face::{at_the_camera, picture};
use crate::rig;

use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rig::browser::{Browser, Page};
use rig::loans::{Gate, gate, iin, loan, wrong_iin};
use rig::postgres::Postgres;
use serde_json::{Value, json};

fn file(name: &str) -> Vec<u8> {
    let path = rig::repository().join("target/faces").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; ./test brings it", path.display()))
}

/// A gate with models. One thread and a debug build take their time, so a command has all it may have.
fn gate_with_models(postgres: Option<Postgres>) -> Gate {
    let models = rig::repository().join("target/faces");
    let table = format!(
        "living-face = \"required\"\n{PAGE}[loans.face]\nmodels = \"{}\"\nworkers = 2\ncommand-s = 30\n",
        models.display()
    );
    Gate::with_files(postgres, &table, &[])
}

#[track_caller]
fn reference(gate: &Gate, iin: &str, name: &str) {
    let body = json!({"iin": iin, "picture": STANDARD.encode(file(name))});
    let kept = gate.portal("POST /v1/references", body);
    assert_eq!(kept.status, 201, "{kept:?}");
}

fn person<'b>(browser: &'b Browser, gate: &Gate, token: &str) -> Page<'b> {
    let script = std::fs::read_to_string(rig::repository().join("node/tests/peers/person.js")).unwrap();
    let script = script.replace("PHOTO\"", &format!("{}\"", STANDARD.encode(file("obama.jpg"))));
    browser.page(&format!("http://{}/confirm#{token}", gate.address), &script)
}

/// Shows the face until it is judged. A photograph that is bent is now and then taken for another face than the one at rest, and on a
/// busy machine a motion is missed between two pictures: a person would try again too, and 3 tries are his.
fn shows_the_face(page: &Page) {
    for _ in 0..3 {
        page.press("#camera-on");
        page.wait_at_most(
            "document.querySelector('[data-step=end]').checkVisibility() || document.querySelector('#said').innerText",
            240,
        );
        let shown = page.text();
        if !["face-changed", "face-command-missed"].iter().any(|chance| shown.contains(&word("kk", chance))) {
            return;
        }
    }
}

#[test]
fn a_face_is_compared_with_the_reference_photo() {
    let gate_ = gate_with_models(None);
    let browser = Browser::start(&[]);
    let (own, phone) = (iin(940), "+77015553000");
    let id = gate_.open("face", loan(&own, phone, "1000"));
    assert_eq!(gate(&gate_.look(&id), "living-face")["reason"], "no-reference-photo");
    reference(&gate_, &own, "obama2.jpg");
    let page = person(&browser, &gate_, &link(&gate_, &id, phone));
    page.press("#go");
    page.enter("#code", &code_in(&gate_.text(phone)));
    shows_the_face(&page);
    let seen = gate_.look(&id);
    assert_eq!(seen["state"], "approved", "{} {seen}", page.text());
    let judged =
        seen["events"].as_array().unwrap().iter().rfind(|event| event["event"] == "face_judged").unwrap();
    assert_eq!((&judged["outcome"], &judged["judged_by"]), (&json!("matched"), &json!("local")));
    assert!(judged["similarity"].as_i64() >= judged["thresholds"]["same"].as_i64(), "{judged}");
    assert!(judged["versions"].as_array().unwrap().len() == 5, "{judged}");

    // The same before the reference photo of another: his face does not open this person's loan.
    let (other, phone) = (iin(941), "+77015553001");
    reference(&gate_, &other, "biden.jpg");
    let id = gate_.open("other", loan(&other, phone, "1000"));
    let page = person(&browser, &gate_, &link(&gate_, &id, phone));
    page.press("#go");
    page.enter("#code", &code_in(&gate_.text(phone)));
    shows_the_face(&page);
    assert!(page.text().contains(&word("kk", "face-not-the-same")), "{}", page.text());
    assert_ne!(gate_.look(&id)["state"], "approved");
}

#[test]
fn pictures_of_no_use_are_told_apart() {
    let gate_ = gate_with_models(None);
    let (own, phone) = (iin(950), "+77015553010");
    reference(&gate_, &own, "obama2.jpg");
    let (id, citizen) = at_the_camera(&gate_, "useless", 950, phone);
    let nonce = citizen.post("face", "").json()["nonce"].as_str().unwrap().to_owned();
    let tell = |jpeg: &[u8]| {
        let answer = picture(&citizen, &nonce, jpeg);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    assert_eq!(tell(&file("obama.jpg"))["seen"], 1);
    assert_eq!(tell(&[&[0xff, 0xd8, 0xff][..], &[0; 500]].concat())["again"], "not-a-picture");
    assert_eq!(tell(&bomb())["again"], "too-large");
    let photo = image(&file("obama.jpg"));
    assert_eq!(tell(&jpeg(&photo.rotate180()))["again"], "upside-down");
    let nobody =
        image::RgbImage::from_fn(640, 480, |x, y| image::Rgb([(x % 251) as u8, (y % 241) as u8, 90]));
    assert_eq!(tell(&jpeg(&nobody.into()))["again"], "no-face");
    let mut two = image::RgbImage::new(photo.width() * 2, photo.height());
    image::imageops::replace(&mut two, &photo.to_rgb8(), 0, 0);
    image::imageops::replace(&mut two, &photo.to_rgb8(), i64::from(photo.width()), 0);
    assert_eq!(tell(&jpeg(&two.into()))["again"], "several-faces");
    // A reference photo is as exacting.
    for (body, said) in [("AAAA".to_owned(), "not-a-picture"), (STANDARD.encode(bomb()), "too-large")] {
        let refused = gate_.portal("POST /v1/references", json!({"iin": own, "picture": body}));
        assert_eq!((refused.status, refused.problem().as_str()), (422, "invalid-request"));
        assert!(refused.body.contains(said), "{refused:?}");
    }
    assert_eq!(gate_.portal("POST /v1/references/delete", json!({"iin": own})).status, 200);
    // What is under way goes on with the photo it began with; the next look has none.
    assert_eq!(citizen.post("face", "").problem(), "wrong-state");
    assert_eq!(gate(&gate_.look(&id), "living-face")["reason"], "no-reference-photo");
    let mut http = rig::http::Client::new(gate_.address);
    for fault in ["not-a-picture", "too-large", "upside-down", "no-face", "several-faces"] {
        let metric = format!("qalqan_loans_picture_faults_total{{fault=\"{fault}\"}}");
        assert!(http.metric(&metric) >= 1.0, "{fault}");
    }
    let kept = Citizen { gate: &gate_, session: citizen.session.clone() }.state();
    assert_eq!(kept.json()["step"], "wait", "{kept:?}");
    let _: Value = kept.json();
}

/// `qalqan loan reference` with an IIN on standard input; gives whether it went well, and what it said.
fn by_hand(gate: &Gate, arguments: &[&str], iin: &str) -> (bool, String) {
    let mut command = rig::qalqan(gate.site.directory.path());
    command.args(["loan", "reference"]).args(arguments).env("SUDO_USER", "aida").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses its arguments reads nothing.
    let _ = writeln!(child.stdin.take().unwrap(), "{iin}");
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Beside a running node, which goes on with what was put or taken away.
#[test]
fn a_reference_photo_is_put_listed_and_removed_by_hand() {
    for postgres in [None, Some(Postgres::start())] {
        let gate_ = gate_with_models(postgres);
        let own = iin(970);
        let id = gate_.open("by-hand", loan(&own, "+77015553030", "1000"));
        let reason = || gate(&gate_.look(&id), "living-face")["reason"].clone();
        assert_eq!(reason(), "no-reference-photo");
        for (name, bytes) in [("own.jpg", file("obama2.jpg")), ("none.jpg", b"GIF89a".to_vec())] {
            gate_.site.write(name, bytes);
        }
        let wrong = wrong_iin();
        for (arguments, iin, said) in [
            (&["put", "nowhere.jpg"][..], &own, "nowhere.jpg: "),
            (&["put", "none.jpg"], &own, "none.jpg: picture: not-a-picture"),
            (&["put", "own.jpg"], &wrong, "IIN: "),
            (&["put", "own.jpg"], &String::new(), "nothing was entered"),
            (&["remove"], &own, "has no reference photo"),
        ] {
            let (is_well, told) = by_hand(&gate_, arguments, iin);
            assert!(!is_well && told.contains(said) && told.lines().count() == 1, "{arguments:?}: {told}");
            assert!(!told.contains(&own[..11]), "{told}");
        }
        assert!(by_hand(&gate_, &["put", "own.jpg", &own], "").1.contains("unexpected argument"));
        let (is_well, told) = by_hand(&gate_, &["put", "own.jpg"], &own);
        assert!(is_well && told.contains("fr_feature.onnx"), "{told}");
        assert_eq!(reason(), "face-not-shown");
        let (_, listed) = by_hand(&gate_, &["list"], "");
        assert_eq!(listed.lines().count(), 1, "{listed}");
        assert!(listed.contains(&format!("**********{} command-line:aida, ", &own[10..])), "{listed}");
        assert!(listed.contains("no picture") && !listed.contains(&own[..11]), "{listed}");
        // What is put by hand serves as what a portal sent, and the other way round.
        assert!(by_hand(&gate_, &["remove"], &own).0);
        assert_eq!(reason(), "no-reference-photo");
        reference(&gate_, &own, "obama2.jpg");
        assert!(by_hand(&gate_, &["list"], "").1.contains(" portal, "));
        assert!(by_hand(&gate_, &["remove"], &own).0);

        let looks = |more: &[&str]| gate_.site.ok(&[&["loan", "looks", "--limit", "100000"], more].concat());
        let all = looks(&[]);
        for (what, times) in [("reference-put", 1), ("reference-list", 2), ("reference-remove", 3)] {
            let by = format!(" command-line:aida {what} ");
            assert_eq!(all.lines().filter(|line| line.contains(&by)).count(), times, "{what}: {all}");
        }
        assert!(all.contains(" portal reference-put ") && !all.contains(&own), "{all}");
        // From a moment on, that moment included.
        let (time, _) = all
            .lines()
            .rfind(|line| line.contains(" portal reference-put "))
            .unwrap()
            .split_once(' ')
            .unwrap();
        let since = looks(&["--since", time]);
        assert!(all.ends_with(&since) && since.lines().next().unwrap().starts_with(time), "{since}");
        assert!(since.lines().count() < all.lines().count() && since.contains(" reference-list "), "{since}");
        assert_eq!(looks(&["--since", "2100-01-01T00:00:00Z"]), "");
        assert!(gate_.site.refused(&["loan", "looks", "--since", "noon"]).contains("--since noon: write "));
    }
}

/// More pictures than the threads and their queue hold: each that finds no place is told so at once, and may come again.
#[test]
fn a_full_queue_of_pictures_is_said_plainly() {
    let gate_ = gate_with_models(None);
    let browser = Browser::start(&[]);
    browser.allow_camera(&format!("http://{}", gate_.address));
    let (own, phone) = (iin(960), "+77015553020");
    reference(&gate_, &own, "obama2.jpg");
    reference(&gate_, &iin(961), "obama2.jpg");
    let (_, citizen) = at_the_camera(&gate_, "busy", 960, phone);
    let id = gate_.open("busy-page", loan(&iin(961), "+77015553021", "1000"));
    let page = opened(&browser, &gate_, &link(&gate_, &id, "+77015553021"));
    page.press("#go");
    page.enter("#code", &code_in(&gate_.text("+77015553021")));
    page.wait_for_text(&word("kk", "face-title"));
    let nonce = citizen.post("face", "").json()["nonce"].as_str().unwrap().to_owned();
    let photo = file("obama.jpg");
    let token = gate_.token("portal", &gate_.portal);
    let other = json!({"iin": iin(962), "picture": STANDARD.encode(&photo)}).to_string();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Two threads look at pictures and four wait for each: sixteen at a time leave no place for long.
        for _ in 0..16 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let kept = gate_.ask_as(&token, "POST /v1/references", "", &other);
                    assert!(kept.status == 201 || kept.problem() == "faces-busy", "{kept:?}");
                }
            });
        }
        let _over = Over(&is_over);
        let mut refused = None;
        // A place may be free by chance; then another picture of the same person is sent.
        for n in 0..50_u8 {
            let answer = picture(&citizen, &nonce, &[&photo[..], &[n]].concat());
            if answer.status == 503 {
                refused = Some((n, answer));
                break;
            }
        }
        let (n, busy) = refused.expect("a queue that is full");
        assert_eq!((busy.problem().as_str(), busy.header("retry-after")), ("faces-busy", Some("1")));
        page.press("#camera-on");
        page.wait_for_text(&word("kk", "again-busy"));
        page.is_accessible();
        is_over.store(true, Ordering::Relaxed);
        // The very picture that found no place is taken when there is one.
        let again = [&photo[..], &[n]].concat();
        rig::wait(
            || picture(&citizen, &nonce, &again).status == 200,
            || "a place for the picture".to_owned(),
        );
    });
    // The page goes on by itself: the made-up camera shows nobody.
    page.wait_for_text(&word("kk", "again-no-face"));
}

/// Ends the flood also where the test fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn image(bytes: &[u8]) -> image::DynamicImage {
    image::load_from_memory(bytes).unwrap()
}

fn jpeg(picture: &image::DynamicImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 85);
    picture.to_rgb8().write_with_encoder(encoder).unwrap();
    bytes.into_inner()
}

/// A small JPEG whose header says 60,000 × 60,000 pixels.
fn bomb() -> Vec<u8> {
    let mut bytes = jpeg(&image::DynamicImage::new_rgb8(16, 16));
    // The frame header (ITU-T T.81 section B.2.2): marker, length, precision, then lines and samples a line.
    let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let size = 60_000u16.to_be_bytes();
    bytes[frame + 5..frame + 9].copy_from_slice(&[size, size].concat());
    bytes
}
