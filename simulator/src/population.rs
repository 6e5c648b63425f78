//! A million subscribers nobody keeps in memory.
//!
//! A subscriber is a network and an index; number, habits and friends follow from the seed and those two.
//! The lower the index, the more somebody calls: a draw with a heavy tail over indices is a population in
//! which a few talk all day and most hardly ever.

use crate::abroad::Abroad;
use crate::block::{Block, Blocks};
use crate::chance::Draw;

/// Who serves a subscriber now: an index into [`Population::networks`].
pub(crate) type NetworkId = usize;

/// The network whose calls are screened.
pub(crate) const OWN: NetworkId = 0;
pub(crate) const FIXED: NetworkId = MOBILE_SUBSCRIBERS.len();
pub(crate) const VOIP: NetworkId = FIXED + 1;

/// Subscribers of the mobile operators, the own one first; no more of them than a ported block has lines.
const MOBILE_SUBSCRIBERS: [u64; 5] = [300_000, 250_000, 200_000, 60_000, 40_000];
const FIXED_SUBSCRIBERS: u64 = 120_000;
const VOIP_SUBSCRIBERS: u64 = 30_000;

/// How many of a hundred mobile subscribers took their number along from another operator.
const PORTED_PERCENT: u64 = 8;
/// One own subscriber in so many wants no calls from abroad.
const OPTED_OUT_ONE_IN: u64 = 997;
/// One in so many is abroad in any one week.
const ABROAD_ONE_IN: u64 = 50;

/// Ported numbers have lines from the ninth tenth on, so many for each operator.
const PORTED_FROM: u64 = 8_000_000;
const PORTED_LINES: u64 = 300_000;
/// Shares no factor with any count of lines, so that index and line go one to one.
const STRIDE: u64 = 1_234_567;

/// How willing people of four habits are to call in each hour of their day, 0 to 9.
const RHYTHMS: [[u8; 24]; 4] = [
    [1, 1, 1, 1, 1, 1, 2, 4, 7, 9, 9, 9, 7, 7, 9, 9, 9, 9, 6, 4, 3, 2, 1, 1],
    [1, 1, 1, 1, 1, 1, 3, 4, 4, 4, 5, 5, 6, 5, 4, 5, 6, 7, 9, 9, 9, 6, 3, 1],
    [6, 5, 4, 3, 1, 1, 1, 1, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 7, 8, 9, 9, 9, 8],
    [1, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 8, 7, 6, 4, 2, 1],
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subscriber {
    pub network: NetworkId,
    pub index: u64,
}

/// Which of somebody's acquaintances: each circle is a phone book of its own.
#[derive(Clone, Copy)]
pub(crate) enum Circle {
    /// Subscribers of the own network.
    Own,
    /// Subscribers of the other mobile operators.
    OtherMobile,
    Fixed,
    Voip,
    /// Any network of the home country.
    Home,
}

pub(crate) struct Network {
    pub name: String,
    blocks: Vec<Block>,
    subscribers: u64,
}

pub(crate) struct Population {
    seed: u64,
    networks: Vec<Network>,
    /// Where this seed's lines begin.
    offset: u64,
}

/// What a draw is about, so that two draws for one subscriber differ.
const SEED_OFFSET: u64 = 1;
const PORTING: u64 = 2;
const HABITS: u64 = 3;
const FRIEND: u64 = 4;
const FRIEND_ABROAD: u64 = 8 << 40;

impl Population {
    pub fn new(seed: u64, blocks: &Blocks) -> Population {
        let mobile = blocks.mobile.iter().zip(MOBILE_SUBSCRIBERS);
        let mut networks: Vec<Network> = mobile
            .map(|((name, blocks), subscribers)| Network {
                name: name.clone(),
                blocks: blocks.clone(),
                subscribers,
            })
            .collect();
        let mut add = |name: &str, blocks: &[Block], subscribers| {
            networks.push(Network { name: name.into(), blocks: blocks.into(), subscribers });
        };
        add("fixed", &blocks.fixed, FIXED_SUBSCRIBERS);
        add("voip", &blocks.voip, VOIP_SUBSCRIBERS);
        Population { seed, networks, offset: Draw::of(seed, SEED_OFFSET, 0).below(1 << 30) }
    }

    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// The subscriber's number. Nobody else has it.
    pub fn number(&self, subscriber: Subscriber) -> u64 {
        let Subscriber { network, index } = subscriber;
        if let Some(former) = self.ported_from(subscriber) {
            let blocks = &self.networks[former].blocks;
            let line = (index * STRIDE + self.offset) % PORTED_LINES + network as u64 * PORTED_LINES;
            return blocks[index as usize % blocks.len()].number(PORTED_FROM + line);
        }
        let blocks = &self.networks[network].blocks;
        let block = blocks[index as usize % blocks.len()];
        // Above these tenths: ported numbers in mobile blocks, company exchanges in fixed ones.
        let tenths = if network < FIXED { 8 } else { 7 };
        block.number((index / blocks.len() as u64 * STRIDE + self.offset) % (block.size / 10 * tenths))
    }

    /// The operator that had the number before, where it is another.
    pub fn ported_from(&self, subscriber: Subscriber) -> Option<NetworkId> {
        if subscriber.network >= FIXED {
            return None;
        }
        let mut draw = Draw::of(self.seed, PORTING, key(subscriber));
        if !draw.percent(PORTED_PERCENT) {
            return None;
        }
        let other = draw.below(FIXED as u64 - 1) as NetworkId;
        Some(if other >= subscriber.network { other + 1 } else { other })
    }

    pub fn has_opted_out(&self, subscriber: Subscriber) -> bool {
        subscriber.network == OWN && subscriber.index % OPTED_OUT_ONE_IN == 5
    }

    pub fn opted_out(&self) -> impl Iterator<Item = Subscriber> + '_ {
        let indices = (0..self.networks[OWN].subscribers).map(|index| Subscriber { network: OWN, index });
        indices.filter(|&subscriber| self.has_opted_out(subscriber))
    }

    pub fn one_opted_out(&self, draw: &mut Draw) -> Subscriber {
        let index = draw.below(self.networks[OWN].subscribers / OPTED_OUT_ONE_IN) * OPTED_OUT_ONE_IN + 5;
        Subscriber { network: OWN, index }
    }

    pub fn is_abroad(&self, subscriber: Subscriber, week: u64) -> bool {
        subscriber.index % ABROAD_ONE_IN == week % ABROAD_ONE_IN
    }

    /// Somebody of a mobile network who is abroad this week.
    pub fn roamer(&self, draw: &mut Draw, network: NetworkId, week: u64) -> Subscriber {
        let trip = draw.heavy_tailed(self.networks[network].subscribers / ABROAD_ONE_IN);
        Subscriber { network, index: trip * ABROAD_ONE_IN + week % ABROAD_ONE_IN }
    }

    /// Somebody of a network who would call at this hour.
    pub fn caller(&self, draw: &mut Draw, network: NetworkId, hour: usize) -> Subscriber {
        let mut subscriber = self.anybody(draw, network);
        for _ in 0..3 {
            let rhythm = self.habits(subscriber).below(RHYTHMS.len() as u64) as usize;
            if draw.below(9) < u64::from(RHYTHMS[rhythm][hour]) {
                break;
            }
            subscriber = self.anybody(draw, network);
        }
        subscriber
    }

    /// Somebody of a network, the talkative more often.
    pub fn anybody(&self, draw: &mut Draw, network: NetworkId) -> Subscriber {
        Subscriber { network, index: draw.heavy_tailed(self.networks[network].subscribers) }
    }

    /// A mobile subscriber of whichever operator.
    pub fn any_mobile(&self, draw: &mut Draw) -> Subscriber {
        let network = self.network_in(Circle::Home, draw) % FIXED;
        self.anybody(draw, network)
    }

    /// Somebody the subscriber knows, close ones more often.
    pub fn contact(&self, subscriber: Subscriber, circle: Circle, draw: &mut Draw) -> Subscriber {
        let friend = draw.leaning(self.acquaintances(subscriber));
        self.acquaintance(subscriber, circle, friend)
    }

    /// An acquaintance whose number is ported; those of a few lines further on where nobody is.
    pub fn ported_contact(&self, subscriber: Subscriber, draw: &mut Draw) -> Subscriber {
        let first = draw.leaning(self.acquaintances(subscriber));
        let friends = (first..).map(|friend| self.acquaintance(subscriber, Circle::OtherMobile, friend));
        let mut ported = friends.filter(|&friend| self.ported_from(friend).is_some());
        ported.next().expect("one in twelve is ported")
    }

    /// The number of somebody in another country whom the subscriber knows.
    pub fn contact_abroad(&self, subscriber: Subscriber, abroad: &Abroad, draw: &mut Draw) -> u64 {
        let friend = draw.leaning(4);
        abroad.number(&mut Draw::of(self.seed, FRIEND_ABROAD + friend, key(subscriber)))
    }

    pub fn contact_in_russia(&self, subscriber: Subscriber, abroad: &Abroad, draw: &mut Draw) -> u64 {
        let friend = 4 + draw.leaning(4);
        abroad.russian(&mut Draw::of(self.seed, FRIEND_ABROAD + friend, key(subscriber)))
    }

    fn acquaintance(&self, subscriber: Subscriber, circle: Circle, friend: u64) -> Subscriber {
        let what = FRIEND + ((circle as u64) << 32 | friend << 8);
        let mut draw = Draw::of(self.seed, what, key(subscriber));
        let network = self.network_in(circle, &mut draw);
        Subscriber { network, index: draw.below(self.networks[network].subscribers) }
    }

    /// How many people somebody knows in a circle: a few, sometimes many.
    fn acquaintances(&self, subscriber: Subscriber) -> u64 {
        let mut habits = self.habits(subscriber);
        habits.word();
        3 + habits.heavy_tailed(80)
    }

    fn habits(&self, subscriber: Subscriber) -> Draw {
        Draw::of(self.seed, HABITS, key(subscriber))
    }

    fn network_in(&self, circle: Circle, draw: &mut Draw) -> NetworkId {
        let networks = match circle {
            Circle::Own => return OWN,
            Circle::Fixed => return FIXED,
            Circle::Voip => return VOIP,
            Circle::OtherMobile => OWN + 1..FIXED,
            Circle::Home => OWN..VOIP + 1,
        };
        let total = self.networks[networks.clone()].iter().map(|network| network.subscribers).sum();
        let mut left: u64 = draw.below(total);
        for network in networks {
            if left < self.networks[network].subscribers {
                return network;
            }
            left -= self.networks[network].subscribers;
        }
        unreachable!("the draw is below the sum")
    }
}

fn key(subscriber: Subscriber) -> u64 {
    (subscriber.network as u64) << 48 | subscriber.index
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nobody_has_anothers_number() {
        let population = Population::new(7, &Blocks::of(&crate::shipped_plan()));
        let mut seen = HashSet::new();
        let mut ported = 0;
        for network in 0..population.networks().len() {
            for index in 0..population.networks()[network].subscribers {
                let subscriber = Subscriber { network, index };
                ported += u64::from(population.ported_from(subscriber).is_some());
                assert!(seen.insert(population.number(subscriber)), "{subscriber:?}");
            }
        }
        assert_eq!(seen.len(), 1_000_000);
        assert!((60_000..76_000).contains(&ported), "{ported}");
    }
}
