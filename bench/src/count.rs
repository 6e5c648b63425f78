//! The work of a call by itself, to be counted by callgrind: see `bench/tests/instructions.rs`.

use std::hint::black_box;
use std::sync::Arc;

use call::{Behaviour, Verdict};
use clap::ValueEnum;
use journal::Record;
use qalqan::watching::Ring;
use screening::{Score, Scores, screen};

use crate::corpus::{self, Invite};
use crate::judge;

/// Calls in a round.
pub const CALLS: usize = 2000;

#[derive(Clone, Copy, ValueEnum)]
pub enum Work {
    /// Finding the spans of an INVITE, and what is wrong with it
    Parse,
    /// Judging a call
    Judge,
    /// Judging a call where numbers are watched and some have a score, and noting it for whoever watches
    Watch,
    /// Writing an answer
    Answer,
}

/// Does the work for [`CALLS`] calls, so many times.
pub fn run(work: Work, rounds: u32) {
    let pairs = corpus::pairs(1);
    let pairs = &pairs[..CALLS];
    let messages: Vec<Vec<u8>> = pairs
        .iter()
        .map(|pair| {
            let mut message = Vec::new();
            Invite::new(pair, "127.0.0.1:5060").write(1, &mut message);
            message
        })
        .collect();
    let mut policy = judge::policy(8_000);
    let calls: Vec<_> = pairs.iter().map(|pair| judge::intake(&policy, pair, 0)).collect();
    let (mut parser, mut out) = (sip::Parser::new(), Vec::with_capacity(4096));
    let (tail, ring) = Ring::new();
    if matches!(work, Work::Watch) {
        policy.scores = Some(Arc::new(scores()));
    }
    for _ in 0..rounds {
        // Whoever watches takes what waits; counted too, and little.
        ring.take(|call| {
            black_box(call);
        });
        match work {
            Work::Parse => messages.iter().for_each(|message| {
                let (request, _) = parser.parse(black_box(message));
                black_box(request.expect("a request").fault());
            }),
            Work::Judge => calls.iter().for_each(|call| {
                black_box(screen(&policy, black_box(call)));
            }),
            Work::Watch => calls.iter().for_each(|call| {
                let verdict: Verdict = black_box(screen(&policy, black_box(call)));
                let record = Record::new(*call, verdict, 0, 0, b"");
                black_box(tail.note(0, black_box(&record)));
            }),
            Work::Answer => messages.iter().for_each(|message| {
                out.clear();
                let request = parser.parse(message).0.expect("a request");
                let via = request.value(sip::Name::Via).and_then(sip::Via::parse).expect("a Via");
                let source = "127.0.0.11:5060".parse().expect("an address");
                sip::Answer::start(&mut out, &request, &via, "302 Moved Temporarily", 7, source).finish();
                black_box(&out);
            }),
        }
    }
}

/// A thousand numbers that are thought something of, none of them among the callers.
fn scores() -> Scores {
    let scores = Scores::default();
    let number = |n: u64| {
        numbering::Number::from_digits((99_900_000_000 + n * 977).to_string().as_bytes()).expect("digits")
    };
    let behaviour = Behaviour { score: 90, signals: 2 };
    let all: Vec<Score> = (0..1000).map(|n| Score { number: number(n), trunk: 0, behaviour }).collect();
    scores.replace(&all, 0);
    scores
}
