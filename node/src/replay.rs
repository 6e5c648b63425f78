//! `qalqan replay`: yesterday's calls through today's rules.

mod heard;
mod sink;
mod summary;

use std::path::Path;

use call::{TrunkId, Verdict};
use screening::{Fields, screen};

use crate::capture;
use crate::config::Setup;
use crate::door::from_record;
use crate::progress::Bar;
use crate::records::{self, Form, Mapping, Recording};
use sink::Sink;
pub use summary::Summary;

/// What is replayed and how.
pub struct Asked<'a> {
    pub path: &'a Path,
    /// Names of columns, for records.
    pub mapping: &'a Mapping,
    /// The trunk of all calls, for captures.
    pub trunk: Option<&'a str>,
    /// Where verdicts go.
    pub out: Option<&'a Path>,
}

/// Judges every call of a file in order; writes the verdicts to `out` where it is named.
pub fn replay(setup: &Setup, asked: &Asked) -> Result<Summary, String> {
    let shown = |what: String| format!("{}: {what}", asked.path.display());
    let recording = Recording::open(asked.path).map_err(shown)?;
    let is_capture = recording.form == Form::Capture;
    let only = match (asked.trunk, is_capture) {
        (Some(_), false) => {
            return Err(shown("records name their trunks: --trunk is for captures".to_owned()));
        }
        (None, _) => None,
        (Some(name), true) => Some(setup.policy.trunk_named(name).ok_or_else(|| {
            let names: Vec<&str> = setup.policy.trunks.iter().map(|trunk| trunk.name.as_str()).collect();
            format!("--trunk {name}: the configuration has no such trunk, but {}", names.join(", "))
        })?),
    };
    if is_capture && !asked.mapping.is_empty() {
        return Err(shown("a capture has no columns: --map is for CSV and Parquet".to_owned()));
    }
    let mut judged = Judged {
        sink: asked.out.map(|out| Sink::create(out, setup.language, is_capture)).transpose()?,
        summary: Summary::new(setup.policy.trunks.iter().map(|trunk| trunk.name.clone()).collect()),
    };
    let mut bar = Bar::on_terminal();
    let outcome = if is_capture {
        replay_capture(setup, recording, only, &mut bar, &mut judged)
    } else {
        replay_records(setup, recording, asked.mapping, &mut bar, &mut judged)
    };
    bar.clear();
    let Judged { sink, summary } = judged;
    match (outcome, sink) {
        (Ok(()), Some(sink)) => sink.finish()?,
        (Err(error), sink) => {
            if let Some(sink) = sink {
                sink.abandon();
            }
            return Err(shown(error));
        }
        (Ok(()), None) => {}
    }
    Ok(summary)
}

struct Judged {
    sink: Option<Sink>,
    summary: Summary,
}

impl Judged {
    fn add(
        &mut self,
        time_ms: i64,
        trunk: TrunkId,
        packet: Option<u64>,
        verdict: &Verdict,
    ) -> Result<(), String> {
        self.summary.add(time_ms, trunk, verdict);
        match &mut self.sink {
            Some(sink) => sink.write(self.summary.calls, packet, verdict),
            None => Ok(()),
        }
    }
}

fn replay_records(
    setup: &Setup,
    recording: Recording,
    mapping: &Mapping,
    bar: &mut Bar,
    judged: &mut Judged,
) -> Result<(), String> {
    let policy = &setup.policy;
    let trunk_named = |name: &str| {
        let unknown = || format!("trunk \"{name}\" is not in the configuration");
        policy.trunk_named(name).ok_or_else(unknown)
    };
    records::read(recording, mapping, bar, trunk_named, |row| {
        let fields = Fields {
            calling: row.calling,
            presentation: row.presentation,
            called: row.called,
            redirecting: row.redirecting,
            privacy: false,
        };
        let call = from_record(policy, row.time_ms, row.trunk, &fields);
        judged.add(row.time_ms, row.trunk, None, &screen(policy, &call))
    })
}

fn replay_capture(
    setup: &Setup,
    recording: Recording,
    only: Option<TrunkId>,
    bar: &mut Bar,
    judged: &mut Judged,
) -> Result<(), String> {
    let mut judge = |call: &call::Call, packet| {
        let verdict = screen(&setup.policy, call);
        judged.add(call.time_ms, call.trunk, Some(packet), &verdict)?;
        Ok(verdict)
    };
    let length = recording.length;
    let heard = capture::read(recording.reader(), length, setup, only, bar, &mut judge)?;
    judged.summary.heard = Some(heard);
    Ok(())
}
