//! The living face: the person of the reference photo did before the camera what he was asked to.

use crate::application::Application;
use crate::face::FaceReady;
use crate::gate::{Answer, Answered, Circumstances, Gate, Reason};

pub fn ask(application: &Application, around: &Circumstances) -> Answered {
    let gate = Gate::LivingFace;
    if !around.asked.living_face {
        let (answer, reason) = (Answer::NotAsked, Reason::NotConfigured);
        return Answered { gate, answer, reason, until_ms: None };
    }
    // What was judged stays so, whatever becomes of models and photo.
    if application.face_matched_ms.is_some() {
        return Answered::pass(gate, Reason::FaceMatched);
    }
    if application.face_failures >= around.rulebook.limits(application.opened_ms).face.tries {
        return Answered::refuse(gate, Reason::FaceTriesUsedUp);
    }
    let reason = match around.face {
        FaceReady::NotConfigured => Reason::NotConfigured,
        FaceReady::NoReference => Reason::NoReferencePhoto,
        FaceReady::Ready => Reason::FaceNotShown,
    };
    Answered::wait(gate, reason, None)
}
