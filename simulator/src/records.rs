//! Call records of a country, with the truth about every number: who behaves like a fraudster, who only looks like one.
//!
//! Fraudsters do what real SIM-box programs do to hide: their SIMs call each other until they have answered incoming calls, the
//! IMEI changes with the SIM, SIMs rest and rotate. Look-alikes are couriers (new ones too), hospitals, hotlines, pollsters, autodiallers,
//! probes, doorbells, families with one telephone. Behaviour in numbers is ours, after what is published of both; one in a thousand
//! subscribers is bad.

use crate::chance::Draw;

const DAY_S: u64 = 86_400;

macro_rules! roles {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What a number is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Role { $($(#[$doc])* $variant,)* }

        impl Role {
            pub const ALL: &[Role] = &[$(Role::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Role::$variant => $name,)* }
            }
        }
    };
}

roles! {
    Person = "person",
    /// Carries parcels or people: many strangers a day, everywhere.
    Courier = "courier",
    /// The same, with a SIM of this week.
    NewCourier = "new-courier",
    /// A new shop: a SIM of this week, one place, many called and calling.
    NewShop = "new-shop",
    Hospital = "hospital",
    Hotline = "hotline",
    /// Asks strangers their opinion, in office hours, from one trunk.
    Pollster = "pollster",
    /// A company's numbers on one trunk, dialled by a machine: all go through one list of its customers, few answer or listen long.
    Autodialler = "autodialler",
    Probe = "probe",
    Doorbell = "doorbell",
    /// One telephone, a SIM for each of the family.
    Family = "family",
    /// A gateway that does not hide.
    SimBox = "sim-box",
    /// One that does.
    HidingSimBox = "hiding-sim-box",
    /// A call centre with mobile telephones in a flat.
    CallCentre = "call-centre",
    /// One on a trunk, its numbers hopping over one list.
    TrunkCallCentre = "trunk-call-centre",
}

impl Role {
    pub fn is_bad(self) -> bool {
        matches!(self, Role::SimBox | Role::HidingSimBox | Role::CallCentre | Role::TrunkCallCentre)
    }
}

/// A call as a switch records it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    pub calling: u64,
    pub called: u64,
    /// Seconds since 1970.
    pub start_s: u64,
    pub duration_s: u32,
    pub is_answered: bool,
    /// Q.850.
    pub cause: u8,
    pub trunk: Option<u32>,
    pub cell: Option<u32>,
    pub imei: Option<u64>,
    pub imsi: Option<u64>,
}

/// Numbers, their calls day by day.
pub struct CallRecords {
    seed: u64,
    subscribers: u64,
    first_day: u64,
    roles: Vec<Role>,
}

/// Numbers of one gang.
const GANG: u64 = 8;
const FIRST_NUMBER: u64 = 77_010_000_000;

impl CallRecords {
    /// A country of so many subscribers, at least 10,000; days count from `first_day` since 1970.
    pub fn new(seed: u64, subscribers: u64, first_day: u64) -> CallRecords {
        let subscribers = subscribers.max(10_000);
        let mut roles = vec![Role::Person; subscribers as usize];
        // For each thousand numbers so many; gangs have neighbouring places in this table, not neighbouring numbers.
        let shares = [
            (Role::Courier, 60),
            (Role::NewCourier, 20),
            (Role::NewShop, 10),
            (Role::Hospital, 10),
            (Role::Hotline, 2),
            (Role::Pollster, 8),
            (Role::Probe, 2),
            (Role::Doorbell, 30),
            (Role::Family, 200),
            (Role::Autodialler, 16),
        ];
        let mut place = 0;
        for (role, of_ten_thousand) in shares {
            let count = (subscribers * of_ten_thousand / 10_000) as usize;
            roles[place..place + count].fill(role);
            place += count;
        }
        // Those of one hand are neighbours in eights.
        place = place.next_multiple_of(GANG as usize);
        let gangs = (subscribers / 1000).div_ceil(GANG) as usize;
        let kinds = [Role::SimBox, Role::HidingSimBox, Role::CallCentre, Role::TrunkCallCentre];
        for gang in 0..gangs {
            roles[place..place + GANG as usize].fill(kinds[gang % kinds.len()]);
            place += GANG as usize;
        }
        CallRecords { seed, subscribers, first_day, roles }
    }

    /// Every number and what it is.
    pub fn truth(&self) -> impl Iterator<Item = (u64, Role)> + '_ {
        (0..self.subscribers).map(|who| (self.number(who), self.roles[who as usize]))
    }

    /// Spread over the range, each place to one number.
    fn number(&self, who: u64) -> u64 {
        // 7,919 and ten million have no common factor.
        FIRST_NUMBER + who * 7919 % 10_000_000
    }

    /// The calls of a day, subscriber after subscriber, not in the order of time.
    pub fn day(&self, day: u64, each: &mut dyn FnMut(&Recorded)) {
        for who in 0..self.subscribers {
            let mut draw = Draw::of(self.seed ^ 0x5ec0, day, who);
            self.calls_of(who, day, &mut draw, each);
        }
    }

    fn cell_of(&self, who: u64) -> u32 {
        Draw::of(self.seed, 0xce11, who).below(self.subscribers / 50 + 1) as u32
    }

    fn imei_of(&self, device: u64) -> u64 {
        35_000_000_000_000 + Draw::of(self.seed, 0x1e1, device).below(999_999_999_999)
    }

    fn calls_of(&self, who: u64, day: u64, draw: &mut Draw, each: &mut dyn FnMut(&Recorded)) {
        let role = self.roles[who as usize];
        let gang = who / GANG;
        let home = self.cell_of(who);
        let is_young = matches!(role, Role::NewCourier | Role::NewShop) || role.is_bad();
        // Young SIMs start on a day of the second week.
        let starts = Draw::of(self.seed, 0x40, if role.is_bad() { gang } else { who }).below(7) + 7;
        if is_young && day < starts {
            return;
        }
        let calls = match role {
            Role::Person | Role::Family => draw.leaning(12),
            Role::Courier | Role::NewCourier => 100 + draw.below(180),
            Role::NewShop => 60 + draw.below(120),
            Role::Hospital => 150 + draw.below(200),
            Role::Hotline => 300 + draw.below(600),
            Role::Pollster => 150 + draw.below(100),
            Role::Autodialler => 150 + draw.below(150),
            Role::Probe => 400 + draw.below(200),
            Role::Doorbell => 10 + draw.below(40),
            Role::SimBox => 180 + draw.below(200),
            // A SIM rests every third day.
            Role::HidingSimBox if (day + who).is_multiple_of(3) => 0,
            Role::HidingSimBox => 60 + draw.below(100),
            Role::CallCentre | Role::TrunkCallCentre => 180 + draw.below(150),
        };
        for n in 0..calls {
            let (called, is_answered, duration_s) = self.called(who, role, n, draw);
            let second = self.second(role, gang, day, draw);
            let cell = match role {
                Role::Courier | Role::NewCourier => Some(draw.below(self.subscribers / 50 + 1) as u32),
                Role::Hospital | Role::Hotline | Role::Pollster | Role::Probe => None,
                Role::Autodialler | Role::TrunkCallCentre => None,
                Role::Person | Role::Family if draw.percent(40) => {
                    Some((home + 1 + draw.below(6) as u32) % (self.subscribers / 50 + 1) as u32)
                }
                Role::SimBox | Role::HidingSimBox | Role::CallCentre => Some(self.cell_of(gang * GANG)),
                _ => Some(home),
            };
            let device = match role {
                // Four SIMs change about in one telephone.
                Role::Family => 1_000_000_000 + who / 4,
                // Eight SIMs rotate over two modems whose IMEI stays.
                Role::SimBox => 2_000_000_000 + gang * 2 + draw.below(2),
                // A new IMEI each day for each SIM.
                Role::HidingSimBox => 3_000_000_000 + who * 1000 + day,
                _ => who,
            };
            let is_mobile = cell.is_some();
            each(&Recorded {
                calling: self.number(who),
                called: self.number(called),
                start_s: (self.first_day + day) * DAY_S + second,
                duration_s: if is_answered { duration_s } else { 0 },
                is_answered,
                cause: if is_answered { 16 } else { 19 },
                trunk: match role {
                    Role::Pollster | Role::Autodialler => Some(900 + (gang % 50) as u32),
                    Role::TrunkCallCentre => Some(800 + (gang % 50) as u32),
                    Role::Hospital | Role::Hotline | Role::Probe => Some(700),
                    _ => None,
                },
                cell,
                imei: is_mobile.then(|| self.imei_of(device)),
                imsi: is_mobile.then_some(401_010_000_000_000 + who),
            });
            // Those who are known are called, or called back; few call a swindler.
            let back = match role {
                Role::Courier | Role::NewCourier => 15,
                Role::NewShop => 60,
                Role::Hospital => 40,
                Role::Hotline => 90,
                Role::Pollster => 1,
                // They see that a company they know has called.
                Role::Autodialler => 12,
                role if role.is_bad() => 2,
                _ => 0,
            };
            if draw.percent(back) && self.roles[called as usize] != Role::Probe {
                each(&Recorded {
                    calling: self.number(called),
                    called: self.number(who),
                    start_s: (self.first_day + day) * DAY_S + working(8, 22, draw),
                    duration_s: 30 + draw.below(120) as u32,
                    is_answered: true,
                    cause: 16,
                    trunk: None,
                    cell: Some(self.cell_of(called)),
                    imei: Some(self.imei_of(called)),
                    imsi: Some(401_010_000_000_000 + called),
                });
            }
        }
    }

    /// Whom (by place) a number calls, whether he answers and for how long they talk, s.
    fn called(&self, who: u64, role: Role, n: u64, draw: &mut Draw) -> (u64, bool, u32) {
        let anybody = |draw: &mut Draw| draw.below(self.subscribers);
        let gang = who / GANG;
        match role {
            Role::Person | Role::Family => {
                // One of twenty contacts, some more than others; they have him among theirs.
                let contact = draw.leaning(20);
                let other = (who ^ (1 + contact * contact)) % self.subscribers;
                (other, draw.percent(75), 10 + draw.heavy_tailed(900) as u32)
            }
            Role::Courier | Role::NewCourier => (anybody(draw), draw.percent(80), 15 + draw.below(60) as u32),
            Role::NewShop => (anybody(draw), draw.percent(75), 20 + draw.below(200) as u32),
            Role::Hospital => (anybody(draw), draw.percent(80), 40 + draw.below(200) as u32),
            Role::Hotline => (anybody(draw), draw.percent(70), 40 + draw.below(240) as u32),
            Role::Pollster => (anybody(draw), draw.percent(40), 20 + draw.below(220) as u32),
            Role::Autodialler => {
                let list = Draw::of(self.seed, 0xd1a1, gang).below(self.subscribers);
                // How many answer is another of each company: reminders do better than debts.
                let answers = 20 + Draw::of(self.seed, 0xd1a2, gang).below(30);
                let customer = (list + draw.below(1500)) % self.subscribers;
                (customer, draw.percent(answers), 4 + draw.heavy_tailed(60) as u32)
            }
            Role::Probe => (draw.below(20) + 500, true, 5),
            Role::Doorbell => ((who ^ 1) % self.subscribers, draw.percent(60), 10 + draw.below(30) as u32),
            Role::SimBox => (anybody(draw), draw.percent(65), 20 + draw.below(400) as u32),
            // The first calls go to its own other SIMs, so each has answered incoming calls.
            Role::HidingSimBox if n < 8 => {
                (gang * GANG + (who + 1 + n % 7) % GANG, true, 30 + draw.below(60) as u32)
            }
            Role::HidingSimBox => (anybody(draw), draw.percent(65), 25 + draw.below(400) as u32),
            Role::CallCentre | Role::TrunkCallCentre => {
                // All its numbers go through one list; who listens is kept long.
                let list = Draw::of(self.seed, 0x115, gang).below(self.subscribers);
                let victim = (list + draw.below(700)) % self.subscribers;
                let is_answered = draw.percent(28);
                let listens = draw.percent(20);
                (
                    victim,
                    is_answered,
                    if listens { 301 + draw.below(2000) as u32 } else { 3 + draw.below(11) as u32 },
                )
            }
        }
    }

    /// When in the day, seconds of local midnight.
    fn second(&self, role: Role, gang: u64, day: u64, draw: &mut Draw) -> u64 {
        match role {
            Role::Person | Role::Family | Role::Hotline => working(8, 23, draw),
            Role::Courier | Role::NewCourier => working(9, 21, draw),
            Role::Probe | Role::Doorbell => draw.below(DAY_S),
            Role::SimBox | Role::HidingSimBox => working(7, 24, draw),
            // Lunch for all at once, a quarter or two apart from day to day.
            Role::CallCentre | Role::TrunkCallCentre => loop {
                let lunch = 12 * 3600 + Draw::of(self.seed, day, gang).below(4) * 900;
                let second = working(9, 18, draw);
                if !(lunch..lunch + 3600).contains(&second) {
                    break second;
                }
            },
            _ => working(9, 18, draw),
        }
    }
}

/// A second of the day between two hours.
fn working(from: u64, to: u64, draw: &mut Draw) -> u64 {
    from * 3600 + draw.below((to - from) * 3600)
}
