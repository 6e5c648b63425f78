//! How many calls each number made or took lately, for everybody, in memory that does not grow.
//!
//! A count-min sketch with conservative update (Cormode and Muthukrishnan, 2005; Estan and Varghese, 2002) for each quarter of the
//! window: it never says too few, and forgets a quarter at a time.

use crate::chance::mixed;

/// Quarters of a day, in hours.
const QUARTER: i64 = 6;
const QUARTERS: usize = 4;

pub struct Sketch {
    /// Counters of a byte; 255 is many.
    cells: Vec<u8>,
    mask: u64,
}

fn quarter(hour: i64) -> i64 {
    hour.div_euclid(QUARTER)
}

impl Sketch {
    /// In at most so many bytes.
    pub fn new(bytes: usize) -> Sketch {
        let a_quarter = (bytes / QUARTERS).max(1024);
        let a_quarter = 1usize << a_quarter.ilog2();
        Sketch { cells: vec![0; QUARTERS * a_quarter], mask: a_quarter as u64 - 1 }
    }

    pub fn bytes(&self) -> usize {
        self.cells.len()
    }

    fn places(&self, key: u64, quarter: i64) -> [usize; 2] {
        let start = quarter.rem_euclid(QUARTERS as i64) as usize * (self.mask as usize + 1);
        let (first, second) = (mixed(key), mixed(key ^ 0x9e37_79b9_7f4a_7c15));
        [start + (first & self.mask) as usize, start + (second & self.mask) as usize]
    }

    /// Counts one more in the quarter of `hour`.
    pub fn add(&mut self, key: u64, hour: i64) {
        let places = self.places(key, quarter(hour));
        let least = places.into_iter().fold(u8::MAX, |least, place| least.min(self.cells[place]));
        let more = least.saturating_add(1);
        places.into_iter().for_each(|place| self.cells[place] = self.cells[place].max(more));
    }

    /// How many there are at most in the quarter of `hour` and the three before.
    pub fn most(&self, key: u64, hour: i64) -> u32 {
        let of = |back: i64| {
            let places = self.places(key, quarter(hour) - back);
            places.into_iter().fold(u8::MAX, |least, place| least.min(self.cells[place]))
        };
        (0..QUARTERS as i64).map(|back| u32::from(of(back))).sum()
    }

    /// Forgets the quarters that come after `from` up to that of `hour`.
    pub fn slide(&mut self, from: i64, hour: i64) {
        let a_quarter = self.mask as usize + 1;
        let passed = (quarter(from) + 1..=quarter(hour)).take(QUARTERS);
        for passed in passed {
            let start = passed.rem_euclid(QUARTERS as i64) as usize * a_quarter;
            self.cells[start..start + a_quarter].fill(0);
        }
    }

    pub fn clear(&mut self) {
        self.cells.fill(0);
    }
}
