//! Those who are known by name: banks, companies abroad, embassies, machines.
//!
//! Their numbers stand on the operator's lists, and attackers know some of them too. Lines of a fixed block
//! by tenth: 8th companies' own exchanges, 9th never issued, 10th the numbers on lists. Lines of a mobile
//! block from 95 on: tests, blocked, machines, roaming numbers, never issued.

use crate::abroad::Abroad;
use crate::block::{Block, Blocks};
use crate::chance::Draw;
use crate::population::OWN;
use crate::traffic::START_MS;

const BANKS: [&str; 6] = [
    "First Steppe Bank",
    "Apple City Bank",
    "Left Bank Credit",
    "Four Rivers Bank",
    "Bank of the Pass",
    "Silk Savings",
];
const CLOUD_CUSTOMERS: [&str; 8] = [
    "Parcel Post Express",
    "Blue Dome Hotels",
    "Eighth Lake Clinic",
    "North Gate Insurance",
    "Red Saddle Taxi",
    "White Yurt Travel",
    "Open Valley School",
    "Gold Eagle Tickets",
];
const EMBASSIES: [&str; 5] =
    ["Embassy in Ankara", "Embassy in Berlin", "Embassy in Seoul", "Consulate in Dubai", "Mission in Geneva"];

/// Days on which entries end, as the lists write them and as the clock counts.
const LONG: (&str, i64) = ("2035-12-31", i64::MAX);
const OVER: (&str, i64) = ("2026-02-28", START_MS - 1);
/// One registration ends while traffic runs.
const THIS_MORNING: (&str, i64) = ("2026-03-02T06:00:00Z", START_MS + 6 * 3_600_000);

/// A number on a list.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub number: u64,
    pub owner: String,
    /// As the list says it, and the moment from which it no longer counts.
    pub expires: &'static str,
    pub expires_ms: i64,
}

impl Entry {
    fn new(number: u64, owner: &str, (expires, expires_ms): (&'static str, i64)) -> Entry {
        Entry { number, owner: owner.to_owned(), expires, expires_ms }
    }
}

/// A hundred numbers in a row with one owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hundred {
    pub block: Block,
    pub owner: &'static str,
}

pub(crate) struct Customers {
    /// Numbers that are only ever called: bank hotlines, ministries.
    pub hotlines: Vec<Entry>,
    /// Numbers from which banks do call, at home.
    pub bank_lines: Vec<u64>,
    /// Registered for the dedicated trunks.
    pub call_centre: Vec<Entry>,
    pub cloud: Vec<Entry>,
    pub cloud_hundred: Hundred,
    /// Exchanges of companies on the own network: main line and extensions share their hundred.
    pub exchanges: Vec<Block>,
    /// Exempt from R08, the last one no longer.
    pub embassies: Vec<Entry>,
    /// The operator's SIMs abroad that test the way home: exempt from R12.
    pub test_sims: Vec<Entry>,
    /// Numbers on the allow list: too long for their country, or fixed and abroad.
    pub allowed: Vec<Entry>,
    pub blocked: Vec<Entry>,
    pub machines: Block,
    pub roaming_numbers: Block,
    /// Home blocks in service of which no number was issued yet.
    pub unissued: Vec<Block>,
}

impl Customers {
    pub fn new(seed: u64, blocks: &Blocks, abroad: &Abroad) -> Customers {
        let mut issue = Allocation { draw: Draw::of(seed, 0xc057, 0), fixed: &blocks.fixed, next: 0 };
        let mobile = &blocks.mobile[OWN].1;

        let mut hotlines = Vec::new();
        let mut bank_lines = Vec::new();
        let mut call_centre = Vec::new();
        for bank in BANKS {
            hotlines.extend((0..4).map(|_| issue.entry(bank, LONG)));
            bank_lines.extend((0..3).map(|_| issue.number()));
        }
        hotlines.extend((0..4).map(|_| issue.entry("Ministry of Finance", LONG)));
        call_centre.extend((0..40).map(|_| issue.entry(BANKS[0], LONG)));
        call_centre.extend((0..4).map(|_| issue.entry(BANKS[0], OVER)));
        let mut cloud = Vec::new();
        for customer in CLOUD_CUSTOMERS {
            cloud.extend((0..12).map(|_| issue.entry(customer, LONG)));
            cloud.push(issue.entry(customer, OVER));
        }
        cloud.extend((0..6).map(|_| issue.entry(CLOUD_CUSTOMERS[0], THIS_MORNING)));

        let mut embassies: Vec<Entry> = EMBASSIES.map(|owner| issue.entry(owner, LONG)).into();
        embassies.push(issue.entry("Closed consulate in Tbilisi", OVER));
        let test_sims = (0..3).map(|n| mobile[0].part("95").number(n));
        let mut allowed = vec![issue.entry("Weather service at sea", LONG)];
        // An exchange that appends its extension makes a number longer than any in its country.
        let extended = Block::new("121255501", 13);
        allowed.extend(
            (0..5).map(|n| Entry::new(extended.number(n * 37), "Partner exchange in New York", LONG)),
        );
        let mut blocked = Vec::new();
        for n in 0..30 {
            blocked.push(Entry::new(abroad.set_aside(&mut issue.draw), "hunters", LONG));
            blocked.push(Entry::new(mobile[0].part("96").number(n), "hunters", LONG));
        }

        let cloud_block = issue.draw.one_of(&blocks.fixed);
        let last = if cloud_block.size == 100_000 { "999" } else { "9999" };
        let cloud_block = cloud_block.part(last);
        let exchanges = (0..2000).map(|company| {
            let block = blocks.fixed[company % blocks.fixed.len()].part("7");
            let hundred = company / blocks.fixed.len();
            Block { first: block.number(hundred as u64 * 100), size: 100 }
        });
        let mut unissued: Vec<Block> = blocks.mobile.iter().flat_map(|(_, blocks)| blocks.clone()).collect();
        unissued = unissued.iter().map(|block| block.part("99")).collect();
        unissued.extend(blocks.fixed.iter().step_by(5).map(|block| block.part("8")));

        Customers {
            hotlines,
            bank_lines,
            call_centre,
            cloud,
            cloud_hundred: Hundred { block: cloud_block, owner: CLOUD_CUSTOMERS[1] },
            exchanges: exchanges.collect(),
            embassies,
            test_sims: test_sims.map(|number| Entry::new(number, "own network", LONG)).collect(),
            allowed,
            blocked,
            machines: mobile[mobile.len() - 1].part("97"),
            roaming_numbers: mobile[0].part("98"),
            unissued,
        }
    }

    /// A registered number that counts now.
    pub fn in_force(entries: &[Entry], now_ms: i64, draw: &mut Draw) -> u64 {
        loop {
            let entry = &entries[draw.below(entries.len() as u64) as usize];
            if now_ms < entry.expires_ms {
                return entry.number;
            }
        }
    }

    /// A number whose entry is over.
    pub fn expired(entries: &[Entry], now_ms: i64, draw: &mut Draw) -> u64 {
        loop {
            let entry = &entries[draw.below(entries.len() as u64) as usize];
            if now_ms >= entry.expires_ms {
                return entry.number;
            }
        }
    }
}

/// Hands out fixed numbers of the tenth that is kept for lists, each once.
struct Allocation<'a> {
    draw: Draw,
    fixed: &'a [Block],
    next: u64,
}

impl Allocation<'_> {
    fn number(&mut self) -> u64 {
        // The line tells numbers apart, the town is drawn.
        self.next += 7;
        self.draw.one_of(self.fixed).in_tenth(9, self.next)
    }

    fn entry(&mut self, owner: &str, expires: (&'static str, i64)) -> Entry {
        Entry::new(self.number(), owner, expires)
    }
}
