//! One call while it is being written: the words in which stories are told.
//!
//! Say the trunk first: how a network writes a number depends on it.

use call::TrunkClass;

use crate::World;
use crate::chance::Draw;
use crate::event::Event;
use crate::population::{Circle, NetworkId, OWN, Subscriber};

pub(crate) struct Scene<'a> {
    pub world: &'a World,
    pub event: &'a mut Event,
    pub draw: Draw,
    /// The hour of the day at home, 0 to 23.
    pub hour: usize,
    pub week: u64,
}

/// The forms in which networks send a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// `+77272501234`
    Plus,
    /// `77272501234`
    Full,
    /// `7272501234`, home numbers only.
    National,
    /// `87272501234`, home numbers only.
    TrunkPrefix,
    /// `81077272501234`
    InternationalPrefix,
    /// `+7-727-250-12-34`
    Separated,
}

impl Scene<'_> {
    pub fn by(&mut self, trunk: usize) {
        self.event.trunk = trunk;
    }

    pub fn by_carrier(&mut self) {
        let carrier = self.draw.one_of(&self.world.trunks.carriers);
        self.by(carrier);
    }

    /// By the trunk of another home operator, whichever.
    pub fn by_national(&mut self) {
        let network = 1 + self.draw.below(self.world.trunks.national.len() as u64 - 1);
        self.by(self.world.trunks.national[network as usize]);
    }

    /// By a carrier mostly, sometimes by any other trunk.
    pub fn by_any(&mut self) {
        if self.draw.percent(70) {
            self.by_carrier();
        } else {
            let trunk = self.draw.below(self.world.trunks.specs.len() as u64);
            self.by(trunk as usize);
        }
    }

    pub fn calling(&mut self, number: u64) {
        let form = self.form(number);
        write_number(&mut self.event.calling, number, form);
    }

    pub fn calling_as(&mut self, number: u64, form: Form) {
        write_number(&mut self.event.calling, number, form);
    }

    pub fn calling_text(&mut self, text: &str) {
        self.event.calling.push_str(text);
    }

    pub fn presenting(&mut self, number: u64) {
        let form = self.form(number);
        write_number(&mut self.event.presentation, number, form);
    }

    pub fn presenting_text(&mut self, text: &str) {
        self.event.presentation.push_str(text);
    }

    pub fn called(&mut self, subscriber: Subscriber) {
        let number = self.world.population.number(subscriber);
        self.called_number(number);
        self.event.truth.opted_out = self.world.population.has_opted_out(subscriber);
    }

    pub fn called_number(&mut self, number: u64) {
        let form = self.form(number);
        write_number(&mut self.event.called, number, form);
    }

    pub fn called_text(&mut self, text: &str) {
        self.event.called.push_str(text);
    }

    pub fn diverted_by(&mut self, number: u64) {
        let form = self.form(number);
        write_number(&mut self.event.redirecting, number, form);
    }

    /// An own subscriber who would be on the telephone at this hour, at either end.
    pub fn own(&mut self) -> Subscriber {
        self.somebody(OWN)
    }

    /// A subscriber at home who would be on the telephone at this hour.
    pub fn somebody(&mut self, network: NetworkId) -> Subscriber {
        let mut subscriber = self.world.population.caller(&mut self.draw, network, self.hour);
        if self.world.population.is_abroad(subscriber, self.week) {
            // Those abroad this week are every fiftieth: a neighbour in the order is at home.
            subscriber.index ^= 1;
        }
        subscriber
    }

    pub fn contact(&mut self, subscriber: Subscriber, circle: Circle) -> Subscriber {
        self.world.population.contact(subscriber, circle, &mut self.draw)
    }

    pub fn number(&self, subscriber: Subscriber) -> u64 {
        self.world.population.number(subscriber)
    }

    /// A form in which the network behind the call's trunk would write the number.
    fn form(&mut self, number: u64) -> Form {
        let is_national = self.world.trunks.specs[self.event.trunk].class.is_national();
        let chance = self.draw.below(100);
        // Numbers of +7 have eleven digits, those of Russia too: at home people dial both alike.
        match (is_national, number / 10_000_000_000 == 7) {
            (true, true) => match chance {
                0..40 => Form::Plus,
                40..60 => Form::Full,
                60..84 => Form::National,
                84..99 => Form::TrunkPrefix,
                _ => Form::Separated,
            },
            (true, false) if chance < 70 => Form::Plus,
            (true, false) => Form::InternationalPrefix,
            (false, _) => match chance {
                0..70 => Form::Plus,
                70..98 => Form::Full,
                _ => Form::Separated,
            },
        }
    }

    pub fn class(&self) -> TrunkClass {
        self.world.trunks.specs[self.event.trunk].class
    }
}

#[inline]
fn write_number(text: &mut String, number: u64, form: Form) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut left = number;
    while left > 0 {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let digits = std::str::from_utf8(&digits[at..]).expect("digits");
    // A home country code of one digit: `number / 10_000_000_000 == 7` above.
    let national = digits.get(1..).unwrap_or("");
    match form {
        Form::Plus => text.push('+'),
        Form::TrunkPrefix => text.push('8'),
        Form::InternationalPrefix => text.push_str("810"),
        Form::Full | Form::National | Form::Separated => {}
    }
    match form {
        Form::Plus | Form::Full | Form::InternationalPrefix => text.push_str(digits),
        Form::National | Form::TrunkPrefix => text.push_str(national),
        Form::Separated => {
            text.push('+');
            for (index, digit) in digits.chars().enumerate() {
                if matches!(index, 1 | 4 | 7 | 9) {
                    text.push('-');
                }
                text.push(digit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_every_form() {
        for (form, expected) in [
            (Form::Plus, "+77272501234"),
            (Form::Full, "77272501234"),
            (Form::National, "7272501234"),
            (Form::TrunkPrefix, "87272501234"),
            (Form::InternationalPrefix, "81077272501234"),
            (Form::Separated, "+7-727-250-12-34"),
        ] {
            let mut text = String::new();
            write_number(&mut text, 77_272_501_234, form);
            assert_eq!(text, expected);
        }
    }
}
