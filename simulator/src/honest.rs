//! How honest calls come about: who calls whom, by which trunk, with which numbers shown.
//!
//! Calls at home are here, those that cross the border in [`from_abroad`].

mod from_abroad;

use crate::population::{Circle, FIXED, OWN, Subscriber, VOIP};
use crate::scene::Scene;
use crate::stories::Story;

/// What people dial that is no telephone number of anybody.
const SERVICES: [&str; 4] = ["1414", "88000801234", "78000801234", "160"];

pub(crate) fn tell(story: Story, scene: &mut Scene) {
    match story {
        Story::OwnCall => own_call(scene),
        Story::NationalCall => to_own_from(scene, Circle::OtherMobile),
        Story::FixedCall => to_own_from(scene, Circle::Fixed),
        Story::VoipCall => to_own_from(scene, Circle::Voip),
        Story::PortedCaller => ported_caller(scene),
        Story::CompanyPbx => company_pbx(scene),
        Story::RussianCaller => from_abroad::foreign_caller(scene, true),
        Story::ForeignCaller => from_abroad::foreign_caller(scene, false),
        Story::ForeignPbx => from_abroad::foreign_pbx(scene),
        Story::HomeRoamer => from_abroad::home_roamer(scene),
        Story::BankAtHome => bank_at_home(scene),
        Story::DivertedAtHome => diverted_at_home(scene),
        Story::VisitorElsewhere => visitor(scene, true),
        Story::VisitorHere => visitor(scene, false),
        Story::CloudPbx => from_abroad::cloud_pbx(scene),
        Story::MachineAtHome => machine_at_home(scene),
        Story::BankCallCentre => from_abroad::bank_call_centre(scene),
        Story::TransitCall => transit_call(scene),
        Story::EmergencyCall => emergency_call(scene),
        Story::PrivateAtHome => private_at_home(scene),
        Story::WifiCalling => wifi_calling(scene),
        Story::DivertedAbroad => from_abroad::diverted_abroad(scene),
        Story::RoamingNumber => from_abroad::roaming_number(scene),
        Story::PrivateAbroad => from_abroad::private_abroad(scene),
        Story::Embassy => from_abroad::embassy(scene),
        Story::AllowListed => from_abroad::from_list(scene, |customers| &customers.allowed),
        Story::Ship => from_abroad::ship(scene),
        Story::TestSim => from_abroad::from_list(scene, |customers| &customers.test_sims),
        Story::OptedOut => from_abroad::to_opted_out(scene),
        _ => unreachable!("{} is an attack", story.name()),
    }
}

fn own_call(s: &mut Scene) {
    let caller = s.own();
    s.by(s.world.trunks.access_mobile);
    s.calling(s.number(caller));
    match s.draw.below(100) {
        0..3 => {
            let friend = s.world.population.contact_abroad(caller, &s.world.abroad, &mut s.draw);
            s.called_number(friend);
        }
        3..6 => {
            let service = s.draw.one_of(&SERVICES);
            s.called_text(service);
        }
        _ => {
            let friend = s.contact(caller, Circle::Home);
            s.called(friend);
        }
    }
}

/// Somebody of another network calls an own subscriber: one of the two knows the other.
fn to_own_from(s: &mut Scene, circle: Circle) {
    let called = s.own();
    let caller = s.contact(called, circle);
    s.by(s.world.trunks.of(caller.network));
    s.calling(s.number(caller));
    s.called(called);
}

fn ported_caller(s: &mut Scene) {
    let called = s.own();
    let caller = s.world.population.ported_contact(called, &mut s.draw);
    s.by(s.world.trunks.of(caller.network));
    s.calling(s.number(caller));
    s.called(called);
}

fn company_pbx(s: &mut Scene) {
    let exchanges = &s.world.customers.exchanges;
    let exchange = exchanges[s.draw.heavy_tailed(exchanges.len() as u64) as usize];
    s.by(s.world.trunks.access_business);
    s.calling(exchange.first);
    let extension = exchange.number(1 + s.draw.below(exchange.size - 1));
    s.presenting(extension);
    let customer = anybody(s);
    s.called(customer);
}

fn bank_at_home(s: &mut Scene) {
    let line = s.draw.one_of(&s.world.customers.bank_lines);
    s.by(s.world.trunks.of(FIXED));
    s.calling(line);
    let customer = s.own();
    s.called(customer);
}

fn diverted_at_home(s: &mut Scene) {
    let called = s.own();
    let diverting = s.contact(called, Circle::OtherMobile);
    let caller = s.contact(diverting, Circle::Home);
    s.by(s.world.trunks.of(diverting.network));
    s.calling(s.number(caller));
    s.diverted_by(s.number(diverting));
    s.called(called);
}

/// A visitor keeps the foreign number, and the network visited brings the call.
fn visitor(s: &mut Scene, elsewhere: bool) {
    if elsewhere {
        let network = 1 + s.draw.below(FIXED as u64 - 1) as usize;
        s.by(s.world.trunks.of(network));
    } else {
        s.by(s.world.trunks.access_mobile);
    }
    let called = s.own();
    let caller = if s.draw.percent(40) {
        s.world.population.contact_in_russia(called, &s.world.abroad, &mut s.draw)
    } else {
        s.world.population.contact_abroad(called, &s.world.abroad, &mut s.draw)
    };
    s.calling(caller);
    s.called(called);
}

fn machine_at_home(s: &mut Scene) {
    let machines = s.world.customers.machines;
    let machine = machines.number(s.draw.below(machines.size));
    s.by(s.world.trunks.access_mobile);
    s.calling(machine);
    let owner = anybody(s);
    s.called(owner);
}

fn transit_call(s: &mut Scene) {
    s.by(s.world.trunks.transit);
    let caller = s.world.abroad.number(&mut s.draw);
    s.calling(caller);
    if s.draw.percent(50) {
        let called = s.world.abroad.number(&mut s.draw);
        s.called_number(called);
    } else {
        let called = anybody(s);
        s.called(called);
    }
}

fn emergency_call(s: &mut Scene) {
    let codes = &s.world.emergency;
    let caller = s.own();
    match s.draw.below(10) {
        // A telephone without a SIM has no number.
        0 => s.by(s.world.trunks.access_mobile),
        1 => {
            s.by_national();
            let caller = s.contact(caller, Circle::OtherMobile);
            s.calling(s.number(caller));
        }
        // An exchange abroad that serves an office at home; its number may be missing or wrong.
        2 => {
            s.by_carrier();
            if s.draw.percent(50) {
                let number = s.world.customers.bank_lines[0];
                s.calling(number);
            }
        }
        _ => {
            s.by(s.world.trunks.access_mobile);
            s.calling(s.number(caller));
        }
    }
    let code = &codes[s.draw.below(codes.len() as u64) as usize];
    // Some switches put the country code before it.
    if s.draw.percent(5) || s.class().is_from_abroad() {
        s.called_text("+7");
    }
    s.called_text(code);
}

fn private_at_home(s: &mut Scene) {
    if s.draw.percent(50) {
        own_call(s);
    } else {
        to_own_from(s, Circle::OtherMobile);
    }
    s.presenting_text("anonymous");
    s.event.privacy = true;
}

fn wifi_calling(s: &mut Scene) {
    let caller = s.world.population.roamer(&mut s.draw, OWN, s.week);
    s.by(s.world.trunks.access_mobile);
    s.calling(s.number(caller));
    let friend = s.contact(caller, Circle::Home);
    s.called(friend);
}

/// Somebody of any home network.
fn anybody(s: &mut Scene) -> Subscriber {
    let network = match s.draw.below(10) {
        0..6 => OWN,
        _ => s.draw.below(VOIP as u64 + 1) as usize,
    };
    s.world.population.anybody(&mut s.draw, network)
}
