//! One session with an SMSC (SMPP 3.4 section 2.2): bound as transceiver, kept alive, ended.
//!
//! Everything takes `now_ms`, milliseconds of any clock that does not go back. [`Session::take_output`] is what is to be
//! written, [`Session::next_event`] what happened; call [`Session::tick`] at [`Session::due_ms`].

use std::collections::{HashMap, VecDeque};

use crate::status::{Remedy, Status};
use crate::wire::{self, Deliver, Frames, Inbound, Submit};

/// The first pause after ESME_RTHROTTLED or ESME_RMSGQFUL, and the longest.
const THROTTLE_MS: u64 = 1000;
const LONGEST_THROTTLE_MS: u64 = 30_000;
/// An answer that is late may still come for so long.
const LATE_MS: u64 = 600_000;
const LAST_SEQUENCE: u32 = 0x7fff_ffff;

#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub system_id: String,
    pub password: String,
    pub system_type: String,
    /// Messages submitted and not yet answered, at most.
    pub window: usize,
    /// Messages submitted a second, at most; 0: as many as there are.
    pub per_second: u32,
    pub enquire_link_ms: u64,
    /// An answer that takes longer is none.
    pub response_ms: u64,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    Bound {
        system_id: String,
    },
    /// The SMSC answered a message.
    Answered {
        item: T,
        status: Status,
        message_id: String,
    },
    /// It did not in time: whether it has the message is not known. An answer may still come.
    Unanswered {
        item: T,
    },
    /// A deliver_sm: answer it by [`Session::delivered`].
    Deliver(Box<Deliver>),
    /// Nothing more comes: write what is left, then close.
    Over(Over),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    BindRefused(Status),
    /// Neither an answer to enquire_link, bind nor unbind.
    Silent,
    /// Bytes that are no SMPP.
    Garbage,
    UnboundByPeer,
    Unbound,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Binding,
    Bound,
    Unbinding,
    Over,
}

struct Waiting<T> {
    item: T,
    sent_ms: u64,
    is_late: bool,
}

pub struct Session<T> {
    settings: Settings,
    state: State,
    frames: Frames,
    out: Vec<u8>,
    events: VecDeque<Event<T>>,
    sequence: u32,
    waiting: HashMap<u32, Waiting<T>>,
    late: usize,
    /// What may be submitted now by the throttle, in messages, and when that was so.
    allowance: f64,
    allowance_ms: u64,
    throttled_until_ms: u64,
    throttle_ms: u64,
    heard_ms: u64,
    /// A bind, enquire_link or unbind that waits for its answer, since.
    asked_ms: Option<u64>,
}

impl<T: Clone> Session<T> {
    /// A connection stands: the bind is to be written.
    pub fn new(settings: Settings, now_ms: u64) -> Session<T> {
        let mut session = Session {
            state: State::Binding,
            frames: Frames::default(),
            out: Vec::new(),
            events: VecDeque::new(),
            sequence: 0,
            waiting: HashMap::new(),
            late: 0,
            allowance: 1.0,
            allowance_ms: now_ms,
            throttled_until_ms: 0,
            throttle_ms: THROTTLE_MS,
            heard_ms: now_ms,
            asked_ms: Some(now_ms),
            settings,
        };
        let sequence = session.next_sequence();
        let who = (session.settings.system_id.as_str(), session.settings.password.as_str());
        wire::bind(&mut session.out, sequence, who, &session.settings.system_type);
        session
    }

    /// Takes what was read.
    pub fn read(&mut self, bytes: &[u8], now_ms: u64) {
        self.heard_ms = now_ms;
        self.frames.push(bytes);
        while self.state != State::Over {
            match self.frames.take() {
                Ok(Some(pdu)) => self.take(pdu, now_ms),
                Ok(None) => break,
                Err(_) => {
                    wire::nack(&mut self.out, 0, Status::INVALID_COMMAND_LENGTH);
                    self.over(Over::Garbage);
                }
            }
        }
    }

    fn take(&mut self, pdu: Inbound, now_ms: u64) {
        match pdu {
            Inbound::BindResp { status, system_id, .. } if self.state == State::Binding => {
                self.asked_ms = None;
                if status == Status::OK {
                    self.state = State::Bound;
                    self.events.push_back(Event::Bound { system_id });
                } else {
                    self.over(Over::BindRefused(status));
                }
            }
            Inbound::GenericNack { status, .. } if self.state == State::Binding => {
                self.over(Over::BindRefused(status));
            }
            Inbound::SubmitResp { sequence, status, message_id } => {
                self.answered(sequence, status, message_id, now_ms);
            }
            // The SMSC could not read it, so it does not have it.
            Inbound::GenericNack { sequence, status } => {
                let status = if status == Status::OK { Status::SYSTEM_ERROR } else { status };
                self.answered(sequence, status, String::new(), now_ms);
            }
            Inbound::Deliver(deliver) => self.events.push_back(Event::Deliver(deliver)),
            Inbound::EnquireLink { sequence } => wire::enquire_link_resp(&mut self.out, sequence),
            Inbound::EnquireLinkResp { .. } if self.state == State::Bound => self.asked_ms = None,
            Inbound::Unbind { sequence } => {
                wire::unbind_resp(&mut self.out, sequence);
                self.over(Over::UnboundByPeer);
            }
            Inbound::UnbindResp { .. } if self.state == State::Unbinding => self.over(Over::Unbound),
            Inbound::Malformed { command, sequence, status } => match command {
                0x8000_0004 => self.answered(sequence, status, String::new(), now_ms),
                // It answered the bind, and that is what counts of it.
                0x8000_0009 if self.state == State::Binding => {
                    self.take(Inbound::BindResp { sequence, status, system_id: String::new() }, now_ms);
                }
                0x0000_0005 => wire::deliver_resp(&mut self.out, sequence, Status::INVALID_COMMAND_LENGTH),
                _ => {}
            },
            Inbound::Other { command, sequence } if command < 0x8000_0000 => {
                wire::nack(&mut self.out, sequence, Status::INVALID_COMMAND);
            }
            _ => {}
        }
    }

    fn answered(&mut self, sequence: u32, status: Status, message_id: String, now_ms: u64) {
        let Some(waiting) = self.waiting.remove(&sequence) else { return };
        self.late -= usize::from(waiting.is_late);
        match status.remedy() {
            // Of a whole window that is thrown back, the first one counts.
            Remedy::Throttle if now_ms >= self.throttled_until_ms => {
                self.throttled_until_ms = now_ms + self.throttle_ms;
                self.throttle_ms = (self.throttle_ms * 2).min(LONGEST_THROTTLE_MS);
            }
            Remedy::None if now_ms >= self.throttled_until_ms => self.throttle_ms = THROTTLE_MS,
            _ => {}
        }
        self.events.push_back(Event::Answered { item: waiting.item, status, message_id });
    }

    fn over(&mut self, why: Over) {
        self.state = State::Over;
        self.events.push_back(Event::Over(why));
    }

    pub fn next_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// What is to be written; it is taken away.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub fn is_bound(&self) -> bool {
        self.state == State::Bound
    }

    /// Messages submitted that count in the window.
    pub fn window_used(&self) -> usize {
        self.waiting.len() - self.late
    }

    /// Until when an SMSC that throttles is left alone.
    pub fn throttled_until_ms(&self) -> u64 {
        self.throttled_until_ms
    }

    /// How many messages may be submitted now.
    pub fn room(&mut self, now_ms: u64) -> usize {
        if self.state != State::Bound || now_ms < self.throttled_until_ms {
            return 0;
        }
        let window = self.settings.window.saturating_sub(self.window_used());
        if self.settings.per_second == 0 {
            return window;
        }
        // A fifth of a second may be made up for: timers are coarse.
        let rate = f64::from(self.settings.per_second);
        let passed_ms = now_ms.saturating_sub(self.allowance_ms) as f64;
        self.allowance = (self.allowance + rate * passed_ms / 1000.0).min((rate / 5.0).max(1.0));
        self.allowance_ms = now_ms;
        window.min(self.allowance as usize)
    }

    /// Submits a message; [`Session::room`] said that there is room.
    pub fn submit(&mut self, message: &Submit, item: T, now_ms: u64) {
        let sequence = self.next_sequence();
        wire::submit(&mut self.out, sequence, message);
        self.allowance -= 1.0;
        self.waiting.insert(sequence, Waiting { item, sent_ms: now_ms, is_late: false });
    }

    /// Answers a deliver_sm.
    pub fn delivered(&mut self, sequence: u32, status: Status) {
        wire::deliver_resp(&mut self.out, sequence, status);
    }

    /// Says good-bye; `Over(Unbound)` comes when the SMSC has answered.
    pub fn unbind(&mut self, now_ms: u64) {
        if self.state != State::Bound {
            return self.over(Over::Unbound);
        }
        self.state = State::Unbinding;
        self.asked_ms = Some(now_ms);
        let sequence = self.next_sequence();
        wire::unbind(&mut self.out, sequence);
    }

    /// Does what time asks for.
    pub fn tick(&mut self, now_ms: u64) {
        if self.state == State::Over {
            return;
        }
        let patience_ms = self.settings.response_ms;
        let gone = |sent_ms: u64, ms: u64| now_ms.saturating_sub(sent_ms) >= ms;
        for waiting in self.waiting.values_mut().filter(|waiting| !waiting.is_late) {
            if gone(waiting.sent_ms, patience_ms) {
                waiting.is_late = true;
                self.late += 1;
                self.events.push_back(Event::Unanswered { item: waiting.item.clone() });
            }
        }
        if self.late > 0 {
            self.waiting.retain(|_, waiting| !waiting.is_late || !gone(waiting.sent_ms, LATE_MS));
            self.late = self.waiting.values().filter(|waiting| waiting.is_late).count();
        }
        match self.asked_ms {
            Some(asked_ms) if gone(asked_ms, patience_ms) => self.over(Over::Silent),
            None if self.state == State::Bound && gone(self.heard_ms, self.settings.enquire_link_ms) => {
                self.asked_ms = Some(now_ms);
                let sequence = self.next_sequence();
                wire::enquire_link(&mut self.out, sequence);
            }
            _ => {}
        }
    }

    /// When [`Session::tick`] has something to do at the latest.
    pub fn due_ms(&self) -> u64 {
        let answers = self.waiting.values().filter(|waiting| !waiting.is_late).map(|waiting| waiting.sent_ms);
        let answers = answers.chain(self.asked_ms).map(|sent_ms| sent_ms + self.settings.response_ms);
        answers.chain([self.heard_ms + self.settings.enquire_link_ms]).min().unwrap_or(0)
    }

    /// Messages that were submitted and not answered, when the connection is gone.
    pub fn left(self) -> impl Iterator<Item = T> {
        self.waiting.into_values().filter(|waiting| !waiting.is_late).map(|waiting| waiting.item)
    }

    fn next_sequence(&mut self) -> u32 {
        // From 1 to 0x7fffffff (section 3.2.1.4), none that still waits.
        loop {
            self.sequence = if self.sequence >= LAST_SEQUENCE { 1 } else { self.sequence + 1 };
            if !self.waiting.contains_key(&self.sequence) {
                return self.sequence;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Address;

    const RESPONSE_MS: u64 = 5000;

    fn settings(per_second: u32) -> Settings {
        let (system_id, password, system_type) = ("me".to_owned(), "secret".to_owned(), String::new());
        Settings {
            system_id,
            password,
            system_type,
            window: 3,
            per_second,
            enquire_link_ms: 30_000,
            response_ms: RESPONSE_MS,
        }
    }

    fn answer(command: u8, status: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
        let length = 16 + body.len() as u8;
        [&[0, 0, 0, length, 0x80, 0, 0, command, 0, 0, 0, status, 0, 0, 0, sequence][..], body].concat()
    }

    fn bound(per_second: u32) -> Session<u32> {
        let mut session = Session::new(settings(per_second), 0);
        session.read(&answer(9, 0, 1, b"smsc\0"), 0);
        assert_eq!(session.next_event(), Some(Event::Bound { system_id: "smsc".to_owned() }));
        session.take_output();
        session
    }

    fn message() -> Submit {
        let (source, destination) = (Address::default(), Address::default());
        let octets = b"a".to_vec();
        Submit {
            source,
            destination,
            data_coding: 0,
            has_header: false,
            is_payload: false,
            octets,
            validity_s: 60,
            reference: None,
        }
    }

    #[test]
    fn no_more_than_the_window_is_outstanding() {
        let mut session = bound(0);
        assert_eq!(session.room(0), 3);
        for item in 0..3 {
            session.submit(&message(), item, 0);
        }
        assert_eq!(session.room(0), 0);
        // Answers come in any order; sequence 1 was the bind.
        session.read(&answer(4, 0, 3, b"x\0"), 1);
        assert_eq!(
            session.next_event(),
            Some(Event::Answered { item: 1, status: Status::OK, message_id: "x".to_owned() })
        );
        assert_eq!(session.room(1), 1);
        let mut left: Vec<u32> = session.left().collect();
        left.sort_unstable();
        assert_eq!(left, [0, 2]);
    }

    #[test]
    fn no_more_than_the_rate_is_sent_in_a_second() {
        let mut session = bound(10);
        let mut sent = 0;
        for now_ms in 0..2000 {
            while session.room(now_ms) > 0 {
                session.submit(&message(), 0, now_ms);
                session.read(&answer(4, 0, 2 + sent, b"x\0"), now_ms);
                sent += 1;
            }
        }
        assert!((20..=21).contains(&sent), "{sent} in two seconds");
    }

    #[test]
    fn an_smsc_that_throttles_is_left_alone_longer_each_time() {
        let mut session = bound(0);
        let mut at = 0;
        let mut pauses = Vec::new();
        for sequence in 2..9 {
            session.submit(&message(), 0, at);
            session.read(&answer(4, 0x58, sequence, b""), at);
            assert_eq!(session.room(at), 0);
            pauses.push(session.throttled_until_ms() - at);
            at = session.throttled_until_ms();
            assert_eq!(session.room(at), 3);
        }
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        session.submit(&message(), 0, at);
        session.read(&answer(4, 0, 9, b"x\0"), at);
        session.submit(&message(), 0, at);
        session.read(&answer(4, 0x14, 10, b""), at);
        assert_eq!(session.throttled_until_ms() - at, 1000, "what was taken forgives");
    }

    #[test]
    fn a_silent_smsc_is_asked_then_given_up() {
        let mut session = bound(0);
        session.tick(29_999);
        assert!(session.take_output().is_empty());
        session.tick(30_000);
        assert_eq!(session.take_output()[4..8], [0, 0, 0, 0x15]);
        session.read(&answer(0x15, 0, 2, b""), 30_001);
        session.tick(60_001);
        assert!(!session.take_output().is_empty());
        session.tick(60_001 + RESPONSE_MS);
        assert_eq!(session.next_event(), Some(Event::Over(Over::Silent)));
    }

    #[test]
    fn a_late_answer_is_still_an_answer() {
        let mut session = bound(0);
        session.submit(&message(), 7, 0);
        session.tick(RESPONSE_MS);
        assert_eq!(session.next_event(), Some(Event::Unanswered { item: 7 }));
        assert_eq!(session.room(RESPONSE_MS), 3);
        session.read(&answer(4, 0, 2, b"x\0"), RESPONSE_MS + 1);
        assert!(matches!(session.next_event(), Some(Event::Answered { item: 7, .. })));
    }

    #[test]
    fn requests_of_the_smsc_are_answered() {
        let mut session = bound(0);
        for (command, answered) in [(0x15, 0x8000_0015_u32), (0x03, 0x8000_0000), (0x06, 0x8000_0006)] {
            let mut asked = answer(command, 0, 9, b"");
            asked[4] = 0;
            session.read(&asked, 0);
            let out = session.take_output();
            assert_eq!((&out[4..8], out[15]), (&answered.to_be_bytes()[..], 9), "{command:x}");
        }
        assert_eq!(session.next_event(), Some(Event::Over(Over::UnboundByPeer)));
        let mut refused: Session<u32> = Session::new(settings(0), 0);
        refused.read(&answer(9, 0x0d, 1, b""), 0);
        assert_eq!(refused.next_event(), Some(Event::Over(Over::BindRefused(Status(0x0d)))));
    }
}
