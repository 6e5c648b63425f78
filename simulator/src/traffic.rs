//! The country's calls, one after another, on a clock of its own.
//!
//! Every call is one word of the seeded generator: the word says which story, and everything in it is drawn
//! from that word. So a seed and the number of a call are enough to see a call again.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::chance::Draw;
use crate::event::Event;
use crate::scene::Scene;
use crate::stories::{STORIES, Story, WHOLE};
use crate::{World, attacks, honest};

/// Monday 2026-03-02T00:00:00Z.
pub const START_MS: i64 = 1_772_409_600_000;

/// What a day carries unless asked otherwise.
pub const CALLS_PER_DAY: u64 = 1_000_000;

/// The home country's clock stands at UTC+5.
const HOME_OFFSET_MS: i64 = 5 * HOUR_MS;
const HOUR_MS: i64 = 3_600_000;

/// How busy each hour of the day is at home.
const DAY_CURVE: [u64; 24] =
    [6, 4, 2, 2, 2, 3, 6, 14, 30, 48, 60, 63, 58, 56, 58, 61, 63, 66, 60, 52, 42, 30, 18, 10];

/// The calls of a country, without end.
pub struct Traffic {
    world: Arc<World>,
    generator: Pcg64Mcg,
    time_us: i64,
    /// The mean time from call to call in each hour of the day.
    gap_us: [u64; 24],
    /// Where in 0..WHOLE each story ends.
    ends: Vec<u32>,
}

impl Traffic {
    pub(crate) fn new(world: Arc<World>, seed: u64) -> Traffic {
        let ends = STORIES.iter().scan(0, |end, row| {
            *end += row.share;
            Some(*end)
        });
        let traffic = Traffic {
            world,
            generator: Pcg64Mcg::seed_from_u64(seed),
            time_us: START_MS * 1000,
            gap_us: [0; 24],
            ends: ends.collect(),
        };
        traffic.calls_per_day(CALLS_PER_DAY)
    }

    /// Makes the day carry so many calls, more in the busy hour and few at night.
    pub fn calls_per_day(mut self, calls: u64) -> Traffic {
        let whole: u64 = DAY_CURVE.iter().sum();
        self.gap_us = DAY_CURVE.map(|busy| HOUR_MS as u64 * 1000 * whole / (busy * calls.max(1)));
        self
    }

    /// Lets the clock begin at another moment, for a country that calls a node in its own time.
    /// Lists are of [`START_MS`], so the clock cannot begin before.
    pub fn starting_at(mut self, time_ms: i64) -> Traffic {
        self.time_us = time_ms.max(START_MS) * 1000;
        self
    }

    /// Writes the next call over an old one, whose texts keep their memory.
    pub fn next_into(&mut self, event: &mut Event) {
        let mut draw = Draw::from_word(self.generator.next_u64());
        let at_home_ms = self.time_us / 1000 + HOME_OFFSET_MS;
        let hour = (at_home_ms / HOUR_MS % 24) as usize;
        self.time_us += gap(&mut draw, self.gap_us[hour]);

        let place = draw.below(u64::from(WHOLE)) as u32;
        let index = self.ends.iter().position(|&end| place < end).expect("the shares make a whole");
        let story = Story::ALL[index];
        event.clear(self.time_us / 1000, story);
        let week = (at_home_ms / HOUR_MS / 24 / 7) as u64;
        let mut scene = Scene { world: &self.world, event, draw, hour, week };
        if story.is_honest() {
            honest::tell(story, &mut scene);
        } else {
            attacks::tell(story, &mut scene);
        }
    }
}

impl Iterator for Traffic {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        self.next_into(&mut event);
        Some(event)
    }
}

/// The time to the next call: four times the mean times two even draws, nearly as uneven as an exponential
/// (a deviation of 0.88 of the mean) and the same on every machine.
fn gap(draw: &mut Draw, mean_us: u64) -> i64 {
    let word = draw.word();
    let product = (word >> 32) * (word & 0xffff_ffff);
    ((u128::from(mean_us) * u128::from(product)) >> 62) as i64
}
