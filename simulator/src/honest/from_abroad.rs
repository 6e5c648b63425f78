//! Honest calls that come in from abroad: most of what an attacker would like to look like.

use super::anybody;
use crate::customers::{Customers, Entry};
use crate::population::{Circle, FIXED, OWN, Subscriber};
use crate::scene::{Form, Scene};

/// Names that exchanges put where a number could stand.
const NAMES: [&str; 4] = ["reception", "sales", "alice", "Front Desk"];

pub(super) fn foreign_caller(s: &mut Scene, russian: bool) {
    let called = s.own();
    let population = &s.world.population;
    let caller = if russian {
        population.contact_in_russia(called, &s.world.abroad, &mut s.draw)
    } else {
        population.contact_abroad(called, &s.world.abroad, &mut s.draw)
    };
    s.by_carrier();
    s.calling(caller);
    s.called(called);
}

pub(super) fn foreign_pbx(s: &mut Scene) {
    s.by_carrier();
    let (main_line, extension) = s.world.abroad.two_numbers(&mut s.draw);
    match s.draw.below(4) {
        0 => {
            s.calling(main_line);
            s.presenting(extension);
        }
        1 => {
            s.calling(main_line);
            let name = s.draw.one_of(&NAMES);
            s.presenting_text(name);
        }
        2 => {
            s.calling(main_line);
            s.presenting(main_line);
        }
        _ => s.presenting(extension),
    }
    let called = s.own();
    s.called(called);
}

pub(super) fn home_roamer(s: &mut Scene) {
    let network = if s.draw.percent(60) { OWN } else { s.draw.below(FIXED as u64) as usize };
    let roamer = s.world.population.roamer(&mut s.draw, network, s.week);
    s.by_carrier();
    s.calling(s.number(roamer));
    let friend = s.contact(roamer, Circle::Own);
    s.called(friend);
}

pub(super) fn cloud_pbx(s: &mut Scene) {
    s.by(s.world.trunks.cloud);
    let (customers, now_ms) = (&s.world.customers, s.event.time_ms);
    if s.draw.percent(20) {
        let hundred = customers.cloud_hundred.block;
        s.calling(hundred.first);
        let extension = hundred.number(s.draw.below(hundred.size));
        s.presenting(extension);
    } else {
        let line = Customers::in_force(&customers.cloud, now_ms, &mut s.draw);
        s.calling(line);
        if s.draw.percent(40) {
            let shown = Customers::in_force(&customers.cloud, now_ms, &mut s.draw);
            s.presenting(shown);
        }
    }
    let customer = anybody(s);
    s.called(customer);
}

pub(super) fn bank_call_centre(s: &mut Scene) {
    s.by(s.world.trunks.bank_call_centre);
    let (numbers, now_ms) = (&s.world.customers.call_centre, s.event.time_ms);
    let line = Customers::in_force(numbers, now_ms, &mut s.draw);
    s.calling(line);
    if s.draw.percent(60) {
        let shown = Customers::in_force(numbers, now_ms, &mut s.draw);
        s.presenting(shown);
    }
    let customer = anybody(s);
    s.called(customer);
}

/// A friend at home calls a number abroad, which diverts to its owner's home number.
pub(super) fn diverted_abroad(s: &mut Scene) {
    let called = s.own();
    let circle = if s.draw.percent(20) { Circle::Fixed } else { Circle::Home };
    let caller = s.contact(called, circle);
    s.by_carrier();
    s.calling(s.number(caller));
    let diverting = s.world.population.contact_abroad(called, &s.world.abroad, &mut s.draw);
    s.diverted_by(diverting);
    s.called(called);
}

/// Whoever calls a visitor calls a number of the visitor's country, which sends the call here.
pub(super) fn roaming_number(s: &mut Scene) {
    s.by_carrier();
    match s.draw.below(10) {
        0 => {}
        1 => {
            let caller = s.world.population.anybody(&mut s.draw, FIXED);
            s.calling(s.number(caller));
        }
        2 => {
            let caller = s.world.population.any_mobile(&mut s.draw);
            s.calling(s.number(caller));
        }
        _ => {
            let caller = s.world.abroad.number(&mut s.draw);
            s.calling(caller);
        }
    }
    let pool = s.world.customers.roaming_numbers;
    let lent = pool.number(s.draw.below(pool.size));
    s.called_number(lent);
}

pub(super) fn private_abroad(s: &mut Scene) {
    s.by_carrier();
    // Restricted, not absent: the network number is there, and hidden from the called subscriber only.
    let caller = s.world.abroad.number(&mut s.draw);
    s.calling(caller);
    s.presenting_text("anonymous");
    s.event.privacy = true;
    let called = s.own();
    s.called(called);
}

pub(super) fn embassy(s: &mut Scene) {
    s.by_carrier();
    let line = Customers::in_force(&s.world.customers.embassies, s.event.time_ms, &mut s.draw);
    s.calling(line);
    let called = anybody_own(s);
    s.called(called);
}

pub(super) fn from_list(s: &mut Scene, list: impl Fn(&Customers) -> &[Entry]) {
    s.by_carrier();
    let entries = list(&s.world.customers);
    let number = entries[s.draw.below(entries.len() as u64) as usize].number;
    // Without + a number too long for its country could be read in another way.
    s.calling_as(number, Form::Plus);
    let called = anybody_own(s);
    s.called(called);
}

pub(super) fn ship(s: &mut Scene) {
    s.by_carrier();
    let caller = s.world.abroad.ship(&mut s.draw);
    s.calling(caller);
    let called = anybody_own(s);
    s.called(called);
}

pub(super) fn to_opted_out(s: &mut Scene) {
    s.by_carrier();
    let called = s.world.population.one_opted_out(&mut s.draw);
    let caller = match s.draw.below(3) {
        0 => {
            let roamer = s.world.population.roamer(&mut s.draw, OWN, s.week);
            s.number(roamer)
        }
        1 => s.world.abroad.russian(&mut s.draw),
        _ => s.world.abroad.number(&mut s.draw),
    };
    s.calling(caller);
    s.called(called);
}

/// Somebody of the own network who is at home.
fn anybody_own(s: &mut Scene) -> Subscriber {
    s.world.population.anybody(&mut s.draw, OWN)
}
