//! Number blocks: all numbers behind one prefix, and which of their lines are whose.
//!
//! The lines of a block are split by tenths, the same way in every block, so that nobody's number is
//! another's: ordinary subscribers below, then company exchanges, lines never issued, and on top the numbers
//! that stand on lists. What a tenth means depends on the kind of block and is said where it is used.

use std::fmt::Write;

use numbering::{Kind, Number, Owner, Plan, Prefix};

/// Every number that begins with a prefix and has one length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    /// The lowest number, as E.164 digits.
    pub first: u64,
    /// How many numbers there are: a power of ten.
    pub size: u64,
}

impl Block {
    /// `digits` digits in all, beginning with `prefix`.
    pub fn new(prefix: &str, digits: usize) -> Block {
        let size = 10u64.pow((digits - prefix.len()) as u32);
        Block { first: prefix.parse::<u64>().expect("a prefix is digits") * size, size }
    }

    fn of(prefix: Prefix, digits: usize) -> Block {
        Block::new(&prefix.to_string()[1..], digits)
    }

    #[inline]
    pub fn number(self, line: u64) -> u64 {
        debug_assert!(line < self.size);
        self.first + line
    }

    /// Line `line` of the tenth that begins with digit `tenth`.
    #[inline]
    pub fn in_tenth(self, tenth: u64, line: u64) -> u64 {
        debug_assert!(line < self.size / 10);
        self.first + self.size / 10 * tenth + line
    }

    /// The part of the block whose lines begin with `digits`.
    pub fn part(self, digits: &str) -> Block {
        let size = self.size / 10u64.pow(digits.len() as u32);
        Block { first: self.first + digits.parse::<u64>().expect("digits") * size, size }
    }

    /// The block as an entry of a list: `+7701*`.
    pub fn entry(self) -> String {
        let mut text = String::new();
        write!(text, "+{}*", self.first / self.size).expect("a string takes all");
        text
    }
}

/// What the numbering plan offers honest people and others, ready to draw from.
pub(crate) struct Blocks {
    /// Mobile blocks by holder, the holder of most first.
    pub mobile: Vec<(String, Vec<Block>)>,
    pub fixed: Vec<Block>,
    pub voip: Vec<Block>,
    /// Freephone, premium and shared-service blocks: they never call.
    pub service: Vec<Block>,
    /// Gaps among the codes in service, and codes that are home and empty throughout.
    pub gaps: Vec<Block>,
    pub empty_codes: Vec<Block>,
    /// Codes never valid.
    pub reserve: Vec<Block>,
    /// Country codes nobody has, three digits each.
    pub unassigned: Vec<u64>,
}

impl Blocks {
    pub fn of(plan: &Plan) -> Blocks {
        let national = plan.national_number_lengths()[0];
        let digits = plan.country_code().len() + national;
        let of_kind = |wanted: &[Kind]| -> Vec<Block> {
            let ranges = plan.ranges().filter(|(_, kind, _)| wanted.contains(kind));
            ranges.map(|(prefix, _, _)| Block::of(prefix, digits)).collect()
        };
        let mut mobile: Vec<(String, Vec<Block>)> = Vec::new();
        for (prefix, kind, holder) in plan.ranges() {
            let (Kind::Mobile, Some(holder)) = (kind, holder) else { continue };
            let name = plan.holder(holder);
            let place = mobile.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                mobile.push((name.to_owned(), Vec::new()));
                mobile.len() - 1
            });
            mobile[place].1.push(Block::of(prefix, digits));
        }
        mobile.sort_by_key(|(_, blocks)| std::cmp::Reverse(blocks.len()));

        let standing = |block: Block| {
            let number = Number::from_digits(block.first.to_string().as_bytes());
            plan.standing(number.expect("a block begins with a number"))
        };
        let codes = |digits_of_code: usize| {
            (0..10u64.pow(digits_of_code as u32)).map(move |code| {
                Block::new(&format!("{}{code:0digits_of_code$}", plan.country_code()), digits)
            })
        };
        let (mut gaps, mut empty_codes, mut reserve) = (Vec::new(), Vec::new(), Vec::new());
        for code in codes(3) {
            let within = |part: u64| standing(code.part(&format!("{part:02}")));
            match standing(code).owner {
                Owner::Reserve => reserve.push(code),
                Owner::Home if (0..100).all(|part| within(part).kind == Kind::Unallocated) => {
                    empty_codes.push(code);
                }
                Owner::Home => {
                    let free = (0..100).filter(|&part| within(part).kind == Kind::Unallocated);
                    gaps.extend(free.map(|part| code.part(&format!("{part:02}"))));
                }
                _ => {}
            }
        }
        let unassigned = (200..1000).filter(|code| {
            let number = Number::from_digits(format!("{code}000000").as_bytes()).expect("nine digits");
            plan.standing(number).owner == Owner::Unassigned
        });
        Blocks {
            mobile,
            fixed: of_kind(&[Kind::Fixed]),
            voip: of_kind(&[Kind::Voip]),
            service: of_kind(&[Kind::Freephone, Kind::Premium, Kind::SharedService]),
            gaps,
            empty_codes,
            reserve,
            unassigned: unassigned.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_its_prefix_and_its_lines() {
        let block = Block::new("7701", 11);
        assert_eq!(block.number(42), 77_010_000_042);
        assert_eq!(block.in_tenth(9, 7), 77_019_000_007);
        assert_eq!(block.part("98").entry(), "+770198*");
    }

    #[test]
    fn the_shipped_plan_offers_every_kind() {
        let blocks = Blocks::of(&crate::shipped_plan());
        let owners: Vec<&str> = blocks.mobile.iter().map(|(name, _)| name.as_str()).take(3).collect();
        assert_eq!(owners, ["Tele2/Altel", "Beeline", "Kcell"]);
        assert!(blocks.fixed.len() > 100 && blocks.voip.len() == 1 && blocks.service.len() == 10);
        assert_eq!(blocks.reserve.len(), 26, "the agreement of 2024");
        assert!(blocks.gaps.len() > 100 && blocks.empty_codes.len() > 50 && blocks.unassigned.len() > 10);
    }
}
