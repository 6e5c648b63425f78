//! Chance on a seed: the same on every machine and in every year.

/// One-to-one and well mixed: SplitMix64's last step.
pub fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// Under `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.word()) * bound as u128) >> 64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Each item with the chance of `share`, in order; at least one where there is any.
    pub fn some_of(&mut self, items: &[u32], share: f64) -> Vec<u32> {
        let bar = (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        let some: Vec<u32> = items.iter().copied().filter(|_| self.word() <= bar).collect();
        if some.is_empty() { items.to_vec() } else { some }
    }
}
