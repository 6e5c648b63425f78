//! Which SIMs were lately in a telephone, of those that watched numbers call with, in memory that does not grow.

use crate::chance::mixed;

/// Of one telephone so many SIMs are told apart; more are as good as many.
const SIMS: usize = 12;
/// Telephones that share a place: of those the one with the fewest SIMs gives way.
const TOGETHER: usize = 4;
/// A day in a word: 14 bits, 44 years.
const DAY_BITS: u32 = 14;
const DAY_MASK: u64 = (1 << DAY_BITS) - 1;
/// Days that a SIM counts.
const WINDOW: u64 = 7;
const DAY_MS: i64 = 86_400_000;

/// A telephone and hashes of its IMSIs, each with the day of its last call; 0: none.
#[derive(Clone, Copy, Default)]
struct Telephone {
    imei: u64,
    sims: [u64; SIMS],
}

impl Telephone {
    fn sims(&self, day: u64) -> u32 {
        let is_within = |word: &&u64| **word != 0 && day.wrapping_sub(**word) & DAY_MASK < WINDOW;
        self.sims.iter().filter(is_within).count() as u32
    }

    fn add(&mut self, imsi: u64, day: u64) {
        let word = mixed(imsi) << DAY_BITS | day & DAY_MASK;
        let age = |word: u64| day.wrapping_sub(word) & DAY_MASK;
        let known = self.sims.iter().position(|known| known >> DAY_BITS == word >> DAY_BITS);
        let oldest =
            || (0..SIMS).max_by_key(|n| if self.sims[*n] == 0 { u64::MAX } else { age(self.sims[*n]) });
        let place = known.or_else(oldest).expect("several");
        // What came late makes no SIM older.
        if known.is_none() || age(self.sims[place]) < WINDOW {
            self.sims[place] = word;
        }
    }
}

pub struct Telephones {
    places: Vec<[Telephone; TOGETHER]>,
}

fn day(at_ms: i64) -> u64 {
    at_ms.div_euclid(DAY_MS) as u64
}

impl Telephones {
    /// In at most so many bytes.
    pub fn new(bytes: usize) -> Telephones {
        let places = (bytes / size_of::<[Telephone; TOGETHER]>()).max(1);
        Telephones { places: vec![[Telephone::default(); TOGETHER]; 1 << places.ilog2()] }
    }

    fn place(&self, imei: u64) -> usize {
        mixed(imei) as usize & (self.places.len() - 1)
    }

    /// A call was made with a SIM in a telephone.
    pub fn see(&mut self, imei: u64, imsi: u64, at_ms: i64) {
        let (place, day) = (self.place(imei), day(at_ms));
        let together = &mut self.places[place];
        let known = together.iter().position(|one| one.imei == imei);
        let place = known.unwrap_or_else(|| {
            let fewest = (0..TOGETHER).min_by_key(|n| together[*n].sims(day)).expect("several");
            together[fewest] = Telephone { imei, ..Telephone::default() };
            fewest
        });
        together[place].add(imsi, day);
    }

    /// IMSIs of the last seven days.
    pub fn sims(&self, imei: u64, now_ms: i64) -> u32 {
        let known = self.places[self.place(imei)].iter().find(|one| one.imei == imei);
        known.map_or(0, |one| one.sims(day(now_ms)))
    }

    pub fn clear(&mut self) {
        self.places.fill([Telephone::default(); TOGETHER]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sims_count_for_a_week_and_a_telephone_with_many_stays() {
        let mut telephones = Telephones::new(1 << 16);
        for day in 0..10 {
            telephones.see(35, 100 + day, day as i64 * DAY_MS);
        }
        assert_eq!(telephones.sims(35, 9 * DAY_MS), 7);
        assert_eq!(telephones.sims(35, 12 * DAY_MS), 4);
        assert_eq!(telephones.sims(36, 9 * DAY_MS), 0);
        // The same SIM again, and a record that came late.
        telephones.see(35, 109, 9 * DAY_MS);
        telephones.see(35, 109, 8 * DAY_MS);
        assert_eq!(telephones.sims(35, 9 * DAY_MS), 7);
        // A whole network passes by.
        for n in 0..100_000 {
            telephones.see(1_000_000 + n, n, 9 * DAY_MS);
        }
        assert_eq!(telephones.sims(35, 9 * DAY_MS), 7);
        (0..100).for_each(|n| telephones.see(35, 500 + n, 9 * DAY_MS));
        assert_eq!(telephones.sims(35, 9 * DAY_MS), SIMS as u32);
        telephones.clear();
        assert_eq!(telephones.sims(35, 9 * DAY_MS), 0);
    }
}
