//! Chance that can be repeated: words drawn one after another from a seed.
//!
//! Two uses, one type. What happens is drawn from a word of the traffic's generator, and what a subscriber is
//! like from the seed and the subscriber's own key: the same person comes out each time, and nobody has to be
//! kept in memory. Integers only, so that every machine draws the same.

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, figure 17).
#[derive(Clone)]
pub(crate) struct Draw(u64);

impl Draw {
    #[inline]
    pub fn from_word(word: u64) -> Draw {
        Draw(word)
    }

    /// The chances of one thing in the country: what it is, and which.
    #[inline]
    pub fn of(seed: u64, what: u64, which: u64) -> Draw {
        let mut draw = Draw(seed ^ what.wrapping_mul(0xd605_bbb5_8c8a_bbc9));
        let mixed = draw.word();
        Draw(mixed ^ which.wrapping_mul(0xa24b_aed4_963e_e407))
    }

    #[inline]
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// 0 to n - 1, each as likely.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        part(self.word(), n)
    }

    #[inline]
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// 0 to n - 1, the low ones more often: the first hundredth gets a tenth of the draws.
    #[inline]
    pub fn leaning(&mut self, n: u64) -> u64 {
        let word = self.word();
        part(part(word, word), n)
    }

    /// 0 to n - 1 with a heavy tail: the first thousandth gets a tenth of the draws.
    #[inline]
    pub fn heavy_tailed(&mut self, n: u64) -> u64 {
        let word = self.word();
        part(part(part(word, word), word), n)
    }

    #[inline]
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// As much of `whole` as `word` is of all words.
#[inline]
fn part(word: u64, whole: u64) -> u64 {
    ((u128::from(word) * u128::from(whole)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_as_skewed_as_they_say() {
        let mut draw = Draw::of(1, 2, 3);
        let share = |hits: usize| hits as f64 / 100_000.0;
        let leaning = (0..100_000).filter(|_| draw.leaning(1000) < 10).count();
        assert!((0.09..0.11).contains(&share(leaning)), "{leaning}");
        let heavy = (0..100_000).filter(|_| draw.heavy_tailed(100_000) < 100).count();
        assert!((0.09..0.11).contains(&share(heavy)), "{heavy}");
        let percent = (0..100_000).filter(|_| draw.percent(8)).count();
        assert!((0.075..0.085).contains(&share(percent)), "{percent}");
    }
}
