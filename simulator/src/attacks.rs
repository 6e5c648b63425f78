//! How attackers call. Each knows one weakness; the victim is an own subscriber.

use crate::customers::Customers;
use crate::population::{FIXED, OWN, Subscriber, VOIP};
use crate::scene::{Form, Scene};
use crate::stories::Story;

/// Texts that are no number, whoever reads them.
const BAD_TEXTS: [&str; 8] = [
    "+772725",
    "772725",
    "+772725012345678901",
    "+07272501234",
    "+7727250123",
    "+772725012345",
    "unknown-caller",
    "sip@bank",
];

const SHORT_CODES: [&str; 7] = ["102", "112", "101", "1414", "160", "+7102", "30300"];

pub(crate) fn tell(story: Story, scene: &mut Scene) {
    match story {
        Story::BankFromAbroad => by_carrier_from(scene, bank_line),
        Story::MobileFromAbroad => by_carrier_from(scene, mobile),
        Story::HoppingCentre => by_carrier_from(scene, |s| s.world.abroad.number(&mut s.draw)),
        Story::FixedFromAbroad => by_carrier_from(scene, fixed_or_voip),
        Story::DoNotOriginate => by_any_from(scene, hotline),
        Story::NeighbourMobile => neighbour(scene),
        Story::SpoofedNational => spoofed_national(scene),
        Story::LookAlike => by_carrier_from(scene, |s| s.world.abroad.look_alike(&mut s.draw)),
        Story::SpoofedPresentation => spoofed_presentation(scene),
        Story::Unallocated => by_any_from(scene, unallocated),
        Story::NationalForm => national_form(scene),
        Story::Malformed => malformed(scene),
        Story::NoNumber => no_number(scene),
        Story::SpoofedDiversion => spoofed_diversion(scene, mobile),
        Story::DivertedFixed => spoofed_diversion(scene, bank_line),
        Story::Unregistered => unregistered(scene),
        Story::ReserveCode => by_any_from(scene, reserve_code),
        Story::ShortCodeCaller => short_code_caller(scene),
        Story::ServiceCaller => by_any_from(scene, service),
        Story::GreyRoute => grey_route(scene),
        Story::BlockListed => by_any_from(scene, blocked),
        Story::HiddenNumber => hidden_number(scene),
        Story::MachineFromAbroad => by_carrier_from(scene, machine),
        Story::SpoofedTransit => spoofed_transit(scene),
        Story::ExpiredExemption => by_carrier_from(scene, closed_embassy),
        Story::SpoofedExempt => by_carrier_from(scene, open_embassy),
        _ => unreachable!("{} is honest", story.name()),
    }
}

fn by_carrier_from(s: &mut Scene, number: fn(&mut Scene) -> u64) {
    s.by_carrier();
    let number = number(s);
    s.calling(number);
    victim(s);
}

fn by_any_from(s: &mut Scene, number: fn(&mut Scene) -> u64) {
    s.by_any();
    let number = number(s);
    s.calling(number);
    victim(s);
}

fn victim(s: &mut Scene) -> Subscriber {
    let victim = s.world.population.anybody(&mut s.draw, OWN);
    s.called(victim);
    victim
}

/// The last digits of the victim's own number, changed.
fn neighbour(s: &mut Scene) {
    s.by_carrier();
    let victim = victim(s);
    let number = s.number(victim);
    let shifted = (number % 1000 + 1 + s.draw.below(998)) % 1000;
    s.calling(number - number % 1000 + shifted);
}

fn spoofed_national(s: &mut Scene) {
    s.by_national();
    let number = if s.draw.percent(50) { bank_line(s) } else { mobile(s) };
    s.calling(number);
    victim(s);
}

fn spoofed_transit(s: &mut Scene) {
    s.by(s.world.trunks.transit);
    let number = bank_line(s);
    s.calling(number);
    victim(s);
}

fn spoofed_presentation(s: &mut Scene) {
    s.by_carrier();
    let own = s.world.abroad.number(&mut s.draw);
    s.calling(own);
    let shown = if s.draw.percent(60) { bank_line(s) } else { fixed_or_voip(s) };
    s.presenting(shown);
    victim(s);
}

fn national_form(s: &mut Scene) {
    s.by_carrier();
    let number = bank_line(s);
    let form = if s.draw.percent(75) { Form::National } else { Form::TrunkPrefix };
    s.calling_as(number, form);
    victim(s);
}

fn malformed(s: &mut Scene) {
    s.by_any();
    match s.draw.below(4) {
        0 => {
            let code = s.draw.one_of(&s.world.blocks.unassigned);
            let number = code * 100_000_000 + s.draw.below(100_000_000);
            s.calling_as(number, Form::Plus);
        }
        1 => {
            // A number of the United States with too few digits, or too many.
            let number = if s.draw.percent(50) { 1_212_555_012 } else { 1_212_555_012_345 };
            let number = number + s.draw.below(100);
            s.calling_as(number, Form::Plus);
        }
        _ => {
            let text = s.draw.one_of(&BAD_TEXTS);
            s.calling_text(text);
        }
    }
    victim(s);
}

fn no_number(s: &mut Scene) {
    s.by_carrier();
    match s.draw.below(4) {
        0 => s.calling_text("anonymous"),
        1 => s.calling_text("unavailable"),
        2 => s.presenting_text("anonymous"),
        _ => {}
    }
    victim(s);
}

fn spoofed_diversion(s: &mut Scene, number: fn(&mut Scene) -> u64) {
    s.by_carrier();
    let number = number(s);
    s.calling(number);
    let made_up = s.world.abroad.number(&mut s.draw);
    s.diverted_by(made_up);
    victim(s);
}

fn unregistered(s: &mut Scene) {
    let (customers, now_ms) = (&s.world.customers, s.event.time_ms);
    s.by(s.world.trunks.cloud);
    match s.draw.below(7) {
        0 => {
            let number = bank_line(s);
            s.calling(number);
        }
        // Registered, for the other trunk.
        1 => {
            let number = Customers::in_force(&customers.call_centre, now_ms, &mut s.draw);
            s.calling(number);
        }
        2 => {
            s.by(s.world.trunks.bank_call_centre);
            let number = Customers::in_force(&customers.cloud, now_ms, &mut s.draw);
            s.calling(number);
        }
        3 => {
            let number = Customers::expired(&customers.cloud, now_ms, &mut s.draw);
            s.calling(number);
        }
        4 => {
            let own = Customers::in_force(&customers.cloud, now_ms, &mut s.draw);
            s.calling(own);
            let shown = bank_line(s);
            s.presenting(shown);
        }
        5 => {
            let number = s.world.abroad.number(&mut s.draw);
            s.calling(number);
        }
        _ => s.calling_text("anonymous"),
    }
    victim(s);
}

fn short_code_caller(s: &mut Scene) {
    s.by_any();
    let code = s.draw.one_of(&SHORT_CODES);
    s.calling_text(code);
    victim(s);
}

fn grey_route(s: &mut Scene) {
    s.by_national();
    let number = if s.draw.percent(50) {
        s.world.abroad.number(&mut s.draw)
    } else {
        s.world.abroad.look_alike(&mut s.draw)
    };
    s.calling(number);
    victim(s);
}

fn hidden_number(s: &mut Scene) {
    s.by_carrier();
    let number = s.world.abroad.number(&mut s.draw);
    s.calling(number);
    s.presenting_text("anonymous");
    s.event.privacy = true;
    victim(s);
}

fn bank_line(s: &mut Scene) -> u64 {
    s.draw.one_of(&s.world.customers.bank_lines)
}

fn mobile(s: &mut Scene) -> u64 {
    let somebody = s.world.population.any_mobile(&mut s.draw);
    s.number(somebody)
}

fn fixed_or_voip(s: &mut Scene) -> u64 {
    let network = if s.draw.percent(80) { FIXED } else { VOIP };
    let somebody = s.world.population.anybody(&mut s.draw, network);
    s.number(somebody)
}

fn hotline(s: &mut Scene) -> u64 {
    let hotlines = &s.world.customers.hotlines;
    hotlines[s.draw.below(hotlines.len() as u64) as usize].number
}

fn unallocated(s: &mut Scene) -> u64 {
    let blocks = match s.draw.below(3) {
        0 => &s.world.blocks.gaps,
        1 => &s.world.blocks.empty_codes,
        _ => &s.world.customers.unissued,
    };
    let block = s.draw.one_of(blocks);
    block.number(s.draw.below(block.size))
}

fn reserve_code(s: &mut Scene) -> u64 {
    let block = s.draw.one_of(&s.world.blocks.reserve);
    block.number(s.draw.below(block.size))
}

fn service(s: &mut Scene) -> u64 {
    let block = s.draw.one_of(&s.world.blocks.service);
    block.number(s.draw.below(block.size))
}

fn blocked(s: &mut Scene) -> u64 {
    let blocked = &s.world.customers.blocked;
    blocked[s.draw.below(blocked.len() as u64) as usize].number
}

fn machine(s: &mut Scene) -> u64 {
    let machines = s.world.customers.machines;
    machines.number(s.draw.below(machines.size))
}

fn closed_embassy(s: &mut Scene) -> u64 {
    Customers::expired(&s.world.customers.embassies, s.event.time_ms, &mut s.draw)
}

fn open_embassy(s: &mut Scene) -> u64 {
    Customers::in_force(&s.world.customers.embassies, s.event.time_ms, &mut s.draw)
}
