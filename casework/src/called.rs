//! From facts to who called: the numbers that rang victims shortly before they were robbed, more than chance would have it.

use std::collections::{BTreeSet, HashMap};

use numbering::Number;

/// Who called victims in the time before their facts.
pub struct CalledVictims {
    before_ms: i64,
    victims: HashMap<Number, Vec<(i64, i64)>>,
    callers: HashMap<Number, Caller>,
    calls: u64,
    hits: u64,
}

#[derive(Default)]
struct Caller {
    calls: u32,
    facts: BTreeSet<i64>,
}

/// A number that called victims.
#[derive(Clone, PartialEq, Debug)]
pub struct Suspicion {
    pub number: Number,
    pub calls: u32,
    /// Facts whose victim it called in time.
    pub facts: BTreeSet<i64>,
    /// How much that many would surprise from one of so many callers that all call at random, in bits; above 10 it is no chance.
    pub bits: f64,
}

impl CalledVictims {
    /// A call counts that came at most `before_ms` before the fact, or at its very time.
    pub fn new(before_ms: i64) -> CalledVictims {
        CalledVictims { before_ms, victims: HashMap::new(), callers: HashMap::new(), calls: 0, hits: 0 }
    }

    /// A fact, when it happened and its victim's phone; all of them before the first call.
    pub fn victim(&mut self, fact: i64, at_ms: i64, phone: Number) {
        self.victims.entry(phone).or_default().push((at_ms, fact));
    }

    /// A call of the records, in any order.
    pub fn call(&mut self, calling: Number, called: Number, at_ms: i64) {
        self.calls += 1;
        let caller = self.callers.entry(calling).or_default();
        caller.calls = caller.calls.saturating_add(1);
        let Some(facts) = self.victims.get(&called) else { return };
        let mut is_hit = false;
        for &(fact_ms, fact) in facts {
            if (fact_ms - self.before_ms..=fact_ms).contains(&at_ms) {
                caller.facts.insert(fact);
                is_hit = true;
            }
        }
        self.hits += u64::from(is_hit);
    }

    /// Who called the victims of at least `least` facts, the most surprising first.
    pub fn ranked(&self, least: usize) -> Vec<Suspicion> {
        let share = self.hits as f64 / self.calls.max(1) as f64;
        // Somebody among so many is lucky.
        let looked_at = (self.callers.len().max(1) as f64).log2();
        let suspects = self.callers.iter().filter(|(_, caller)| caller.facts.len() >= least.max(1));
        let mut ranked: Vec<Suspicion> = suspects
            .map(|(&number, caller)| {
                let bits = surprise(caller.facts.len(), f64::from(caller.calls) * share) - looked_at;
                Suspicion { number, calls: caller.calls, facts: caller.facts.clone(), bits: bits.max(0.0) }
            })
            .collect();
        ranked.sort_by(|a, b| b.bits.total_cmp(&a.bits).then(a.number.cmp(&b.number)));
        ranked
    }
}

/// -log2 of the chance that a Poisson variable of this mean is `n` or more.
fn surprise(n: usize, mean: f64) -> f64 {
    if n == 0 || mean <= 0.0 {
        return 0.0;
    }
    if n as f64 <= mean {
        // More likely than not: no surprise.
        return 0.0;
    }
    // Terms fall by more than mean/n each, so the tail is the first term and what a few more add.
    let first = n as f64 * mean.ln() - mean - (1..=n).map(|k| (k as f64).ln()).sum::<f64>();
    let (mut term, mut sum, mut k) = (1.0, 1.0, n as f64);
    while term > 1e-12 {
        k += 1.0;
        term *= mean / k;
        sum += term;
    }
    -(first + f64::ln(sum)) / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: u64) -> Number {
        Number::parse(&format!("+7701{n:07}")).unwrap()
    }

    #[test]
    fn the_tail_of_poisson_is_right() {
        // 1 - e^-1 = 0.6321 is more likely than not by n = mean; from R: ppois(4, 1, lower.tail = FALSE) = 0.00365985,
        // ppois(9, 0.1, lower.tail = FALSE) = 2.5163e-17.
        assert!((surprise(5, 1.0) - -(0.003_659_85f64).log2()).abs() < 1e-4);
        assert!((surprise(10, 0.1) - -(2.5163e-17f64).log2()).abs() < 1e-3);
        assert_eq!(surprise(1, 1.0), 0.0);
    }

    #[test]
    fn a_call_centre_stands_out_and_a_taxi_does_not() {
        let mut called = CalledVictims::new(86_400_000);
        for fact in 0..500 {
            called.victim(fact, 1_000_000_000, number(fact as u64));
        }
        let mut random = 1u64;
        let mut any = |most: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % most
        };
        // A taxi and a thousand people call anybody of 100,000.
        for _ in 0..20_000 {
            called.call(number(5_000_000), number(any(100_000)), 999_999_000);
        }
        for person in 0..1000 {
            for _ in 0..50 {
                called.call(number(6_000_000 + person), number(any(100_000)), 999_999_000);
            }
        }
        // Two numbers of a call centre call 300 each, 20 of them victims; a third called them after the fact.
        for n in 0..300 {
            let victim = if n < 20 { n } else { 50_000 + n };
            called.call(number(7_000_001), number(victim), 999_000_000);
            called.call(number(7_000_002), number(victim + 100), 999_000_000);
            called.call(number(7_000_003), number(victim), 1_000_000_001);
        }
        let ranked = called.ranked(2);
        let sure: Vec<Number> = ranked.iter().filter(|one| one.bits > 10.0).map(|one| one.number).collect();
        assert_eq!(sure.len(), 2, "{ranked:?}");
        assert!(sure.contains(&number(7_000_001)) && sure.contains(&number(7_000_002)));
        assert_eq!(ranked[0].facts.len(), 20);
    }
}
