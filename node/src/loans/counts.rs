//! What the loan gate counts.

use std::sync::atomic::{AtomicU64, Ordering};

use lending::FaceOutcome;

use super::operator::{How, Operators, Service};
use super::smpp_counts;

/// The names of [`face::PictureFault`], in its order.
const FAULTS: [&str; 6] =
    ["too-large", "not-a-picture", "no-face", "several-faces", "upside-down", "not-clear"];

/// What is counted.
#[derive(Default)]
pub struct Counts {
    pub opened: AtomicU64,
    pub approved: AtomicU64,
    pub refused: AtomicU64,
    pub ended_otherwise: AtomicU64,
    pub codes_sent: AtomicU64,
    pub codes_wrong: AtomicU64,
    pub sms_sent: AtomicU64,
    pub webhooks_sent: AtomicU64,
    pub sends_failed: AtomicU64,
    pub store_faults: AtomicU64,
    pub verifications_sent: AtomicU64,
    pub verifications_right: AtomicU64,
    pub verifications_wrong: AtomicU64,
    pub operators: Operators,
    pub smpp: smpp_counts::Counts,
    pub links_made: AtomicU64,
    pub links_opened: AtomicU64,
    /// By [`FaceOutcome`].
    pub faces: [AtomicU64; FaceOutcome::ALL.len()],
    /// By [`face::PictureFault`].
    pub picture_faults: [AtomicU64; FAULTS.len()],
    /// Before the camera now.
    pub face_sessions: AtomicU64,
}

/// A line of `/metrics`: name, labels, help, value.
pub type Line = (&'static str, String, &'static str, u64);

impl Counts {
    /// In the form of `/metrics`; what ends on `_total` is a counter, the rest a gauge.
    pub fn described(&self) -> Vec<Line> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ended = "Applications that ended, by how.";
        let mut lines = vec![
            line("qalqan_loans_opened_total", "Applications for loans that were opened.", &self.opened),
            ("qalqan_loans_ended_total", "how=\"approved\"".to_owned(), ended, get(&self.approved)),
            ("qalqan_loans_ended_total", "how=\"refused\"".to_owned(), ended, get(&self.refused)),
            ("qalqan_loans_ended_total", "how=\"otherwise\"".to_owned(), ended, get(&self.ended_otherwise)),
            line("qalqan_loans_codes_sent_total", "One-time codes that were sent.", &self.codes_sent),
            line(
                "qalqan_loans_codes_wrong_total",
                "One-time codes that were entered wrong.",
                &self.codes_wrong,
            ),
            line(
                "qalqan_loans_sms_sent_total",
                "Texts laid into the spool, or taken whole by the SMSC.",
                &self.sms_sent,
            ),
            line("qalqan_loans_webhooks_sent_total", "Webhooks that were taken.", &self.webhooks_sent),
            line(
                "qalqan_loans_send_failures_total",
                "Texts and webhooks that could not be sent; those that may yet go are tried again.",
                &self.sends_failed,
            ),
            line("qalqan_loans_store_faults_total", "Requests that the store failed.", &self.store_faults),
            line(
                "qalqan_loans_links_made_total",
                "Links to the citizen's page that were made.",
                &self.links_made,
            ),
            line("qalqan_loans_links_opened_total", "Links that were opened.", &self.links_opened),
        ];
        let verified = "Codes of one-time-password-sms, by what became of them.";
        for (how, counter) in [
            ("sent", &self.verifications_sent),
            ("right", &self.verifications_right),
            ("wrong", &self.verifications_wrong),
        ] {
            let labels = format!("how=\"{how}\"");
            lines.push(("qalqan_loans_verifications_total", labels, verified, get(counter)));
        }
        let asked = "Questions to an operator's CAMARA APIs, by API and how they went.";
        for (service, how) in Service::ALL.into_iter().flat_map(|service| How::ALL.map(|how| (service, how)))
        {
            let labels = format!("api=\"{}\",how=\"{}\"", service.name(), how.name());
            lines.push((
                "qalqan_loans_operator_questions_total",
                labels,
                asked,
                self.operators.get(service, how),
            ));
        }
        let judged = "Faces that were judged, by outcome.";
        for (outcome, counter) in FaceOutcome::ALL.iter().zip(&self.faces) {
            let label = format!("outcome=\"{}\"", outcome.name());
            lines.push(("qalqan_loans_faces_judged_total", label, judged, get(counter)));
        }
        let faults = "Pictures of faces that could not be used, by fault.";
        for (fault, counter) in FAULTS.iter().zip(&self.picture_faults) {
            lines.push((
                "qalqan_loans_picture_faults_total",
                format!("fault=\"{fault}\""),
                faults,
                get(counter),
            ));
        }
        let sessions = "Citizens before the camera.";
        lines.push(line("qalqan_loans_face_sessions", sessions, &self.face_sessions));
        lines
    }
}

fn line(name: &'static str, help: &'static str, counter: &AtomicU64) -> Line {
    (name, String::new(), help, counter.load(Ordering::Relaxed))
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
