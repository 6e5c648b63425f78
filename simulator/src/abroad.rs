//! Numbers of other countries, in lengths they really have.
//!
//! Russia shares the country code, so its codes stand apart: some differ from a home code by one digit, and
//! people, screens and careless rules take them for home.

use crate::block::Block;
use crate::chance::Draw;

/// Country code, digits after it, how often such a caller comes, and how numbers there begin.
const COUNTRIES: &[(&str, usize, u64, &[&str])] = &[
    ("998", 9, 120, &["90", "91", "97", "71"]),
    ("996", 9, 110, &["55", "70", "77"]),
    ("86", 11, 90, &["135", "138", "186"]),
    ("90", 10, 90, &["532", "212", "542"]),
    ("49", 11, 60, &["151", "176", "160"]),
    ("971", 9, 55, &["50", "55"]),
    ("375", 9, 45, &["29", "33", "17"]),
    ("380", 9, 40, &["50", "67", "44"]),
    ("992", 9, 35, &["90", "93"]),
    ("1", 10, 35, &["212", "415", "604"]),
    ("44", 10, 30, &["74", "77", "207"]),
    ("82", 10, 30, &["10"]),
    ("994", 9, 25, &["50", "55"]),
    ("995", 9, 20, &["59"]),
    ("374", 8, 15, &["91", "10"]),
    ("993", 8, 10, &["65"]),
    ("976", 8, 12, &["99", "88"]),
    ("91", 10, 15, &["98", "70"]),
    ("92", 10, 10, &["30", "33"]),
    ("98", 10, 10, &["91", "21"]),
    ("966", 9, 10, &["50", "55"]),
    ("972", 9, 10, &["54", "52"]),
    ("20", 10, 10, &["10", "12"]),
    ("33", 9, 10, &["6", "1"]),
    ("39", 10, 10, &["33", "34"]),
    ("34", 9, 8, &["6", "91"]),
    ("31", 9, 8, &["6", "20"]),
    ("48", 9, 12, &["5", "6"]),
    ("420", 9, 8, &["6", "7"]),
    ("41", 9, 6, &["76", "44"]),
    ("46", 9, 4, &["70", "73"]),
    ("47", 8, 4, &["4", "9"]),
    ("358", 9, 4, &["40", "50"]),
    ("371", 8, 4, &["2"]),
    ("370", 8, 4, &["6"]),
    ("372", 8, 3, &["5"]),
    ("373", 8, 6, &["69", "79"]),
    ("81", 10, 6, &["90", "80"]),
    ("852", 8, 6, &["5", "9"]),
    ("66", 9, 8, &["8", "9"]),
    ("84", 9, 6, &["9", "3"]),
    ("65", 8, 4, &["8", "9"]),
    ("61", 9, 3, &["4"]),
    ("55", 11, 2, &["119"]),
];

/// Russian codes people call from.
const RUSSIAN: &[&str] =
    &["903", "905", "916", "926", "965", "985", "999", "495", "499", "812", "343", "383", "351", "381"];

/// Russian codes one digit away from a home code such as +7 727 or +7 717.
const LOOK_ALIKE: &[&str] = &["272", "227", "277", "927", "977", "917", "271", "217"];

/// The digits of an Inmarsat number; country code 870 serves ships and aircraft.
const SATELLITE: (&str, usize) = ("87077", 12);

pub(crate) struct Abroad {
    countries: Vec<(u64, Vec<Block>)>,
    total: u64,
    russian: Vec<Block>,
    look_alike: Vec<Block>,
    satellite: Block,
}

impl Abroad {
    pub fn new() -> Abroad {
        let countries = COUNTRIES.iter().map(|&(code, digits, often, leads)| {
            let block = |lead: &&str| Block::new(&format!("{code}{lead}"), code.len() + digits);
            (often, leads.iter().map(block).collect())
        });
        let of_seven =
            |codes: &[&str]| codes.iter().map(|code| Block::new(&format!("7{code}"), 11)).collect();
        Abroad {
            countries: countries.collect(),
            total: COUNTRIES.iter().map(|&(_, _, often, _)| often).sum(),
            russian: of_seven(RUSSIAN),
            look_alike: of_seven(LOOK_ALIKE),
            satellite: Block::new(SATELLITE.0, SATELLITE.1),
        }
    }

    /// Somebody's number in another country than Russia.
    pub fn number(&self, draw: &mut Draw) -> u64 {
        let blocks = self.country(draw);
        subscriber(draw.one_of(blocks), draw)
    }

    /// Two numbers of one country, as a company there may have.
    pub fn two_numbers(&self, draw: &mut Draw) -> (u64, u64) {
        let blocks = self.country(draw);
        let block = draw.one_of(blocks);
        (subscriber(block, draw), subscriber(block, draw))
    }

    pub fn russian(&self, draw: &mut Draw) -> u64 {
        subscriber(draw.one_of(&self.russian), draw)
    }

    pub fn look_alike(&self, draw: &mut Draw) -> u64 {
        subscriber(draw.one_of(&self.look_alike), draw)
    }

    pub fn ship(&self, draw: &mut Draw) -> u64 {
        subscriber(self.satellite, draw)
    }

    /// A number that no ordinary subscriber has: the top tenth of each block is set aside for lists.
    pub fn set_aside(&self, draw: &mut Draw) -> u64 {
        let blocks = self.country(draw);
        let block = draw.one_of(blocks);
        block.in_tenth(9, draw.below(block.size / 10))
    }

    #[inline]
    fn country(&self, draw: &mut Draw) -> &[Block] {
        let mut left = draw.below(self.total);
        for (often, blocks) in &self.countries {
            if left < *often {
                return blocks;
            }
            left -= often;
        }
        unreachable!("the draw is below the sum")
    }
}

#[inline]
fn subscriber(block: Block, draw: &mut Draw) -> u64 {
    block.number(draw.below(block.size / 10 * 9))
}

#[cfg(test)]
mod tests {
    use numbering::{Number, Owner};

    use super::*;

    #[test]
    fn every_number_is_foreign_and_of_a_possible_length() {
        let plan = crate::shipped_plan();
        let abroad = Abroad::new();
        let mut blocks: Vec<Block> = abroad.countries.iter().flat_map(|(_, blocks)| blocks.clone()).collect();
        blocks.extend(&abroad.russian);
        blocks.extend(&abroad.look_alike);
        blocks.push(abroad.satellite);
        for block in blocks {
            for number in [block.first, block.first + block.size - 1] {
                let number = Number::from_digits(number.to_string().as_bytes()).unwrap();
                let standing = plan.standing(number);
                assert_eq!(standing.owner, Owner::Foreign, "{number}");
                assert!(standing.fits(number), "{}", number.reveal());
            }
        }
    }
}
