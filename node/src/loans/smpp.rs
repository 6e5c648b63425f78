//! Sends texts over one connection to an SMSC (`smsc` makes it); what the session (crate `smpp`) says is written down by
//! `texts`.
//!
//! The order is what keeps a text from being sent twice: taken from the queue, marked in the store, then written to the
//! socket; an answer is written down before anything is sent because of it; a receipt is written down before it is answered.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use smpp::session::Over;
use smpp::{Address, Event, Receipt, Remedy, Session, Status, Submit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::counts::count;
use super::office::Office;
use super::outgoing::LEASE_MS;
use super::smpp_counts::Counts;
use super::smsc::{Stream, configured};
use super::store::{Fault, Outgoing};
use super::texts::{Kept, Outcome, Part, keyed};
use crate::config::{Loans as Settings, Smpp};
use crate::store::now_ms;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often the queue is looked at, and whether the configuration changed.
pub(super) const PAUSE: Duration = Duration::from_millis(200);
/// Texts taken from the queue at a time.
const MOST_TAKEN: usize = 100;
/// What is sent after a temporary fault waits so long, twice as long each time.
const LATER_MS: i64 = 2000;
const LONGEST_LATER_MS: i64 = 60_000;
/// How long a stop waits for answers, then for that to unbind.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
pub(super) const LAST_WORDS: Duration = Duration::from_secs(4);

/// A part ready to be submitted.
struct Ready {
    part: Part,
    message: Submit,
    until_ms: i64,
    tries: i64,
}

/// One connection.
pub(super) struct Link<'o> {
    office: &'o Office,
    smpp: Arc<Smpp>,
    stop: &'o AtomicBool,
    session: Session<(Part, i64)>,
    began: Instant,
    was_bound: bool,
    ready: VecDeque<Ready>,
    /// What is to be written down; kept until the store took it.
    outcomes: Vec<(Part, Outcome)>,
    look_at: Instant,
    /// The store failed: nothing is taken or submitted before.
    rest_until: Instant,
    /// How the store failed last.
    fault: String,
    /// Nothing more is submitted, since.
    closing: Option<Instant>,
    is_unbinding: bool,
}

impl<'o> Link<'o> {
    pub(super) fn new(office: &'o Office, smpp: Arc<Smpp>, stop: &'o AtomicBool) -> Link<'o> {
        let began = Instant::now();
        Link {
            office,
            stop,
            session: Session::new(smpp.session.clone(), 0),
            smpp,
            began,
            was_bound: false,
            ready: VecDeque::new(),
            outcomes: Vec::new(),
            look_at: began,
            rest_until: began,
            fault: String::new(),
            closing: None,
            is_unbinding: false,
        }
    }

    pub(super) fn was_bound(&self) -> bool {
        self.was_bound
    }

    /// Of the session's own clock.
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn counts(&self) -> &Counts {
        &self.office.counts.smpp
    }

    fn log(&self, what: &str) {
        (self.office.log)(&format!("loans: SMPP {}: {what}", self.smpp.address));
    }

    /// The store failed: it is asked again after a pause. Told once.
    fn failed(&mut self, fault: &Fault) {
        self.rest_until = Instant::now() + PAUSE;
        let fault = fault.to_string();
        if self.fault != fault {
            self.log(&format!("the store: {fault}; it is asked again"));
            self.fault = fault;
        }
    }

    /// Runs until the connection is gone, and says why it is.
    pub(super) async fn run(&mut self, stream: Box<dyn Stream>) -> String {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut buffer = vec![0; 16_384];
        loop {
            let over = self.events().await;
            if over.is_none() {
                self.wind_up();
                self.submit().await;
            }
            let out = self.session.take_output();
            if !out.is_empty() {
                let writing = async {
                    writer.write_all(&out).await?;
                    writer.flush().await
                };
                match timeout(PATIENCE, writing).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "it takes nothing more".to_owned(),
                }
            }
            self.counts().window_used.store(self.session.window_used() as u64, Ordering::Relaxed);
            if let Some(over) = over {
                let _ = timeout(PATIENCE, writer.shutdown()).await;
                return explain(over);
            }
            tokio::select! {
                read = reader.read(&mut buffer) => match read {
                    Ok(0) => return "the connection was closed".to_owned(),
                    Ok(length) => self.session.read(&buffer[..length], self.now()),
                    Err(error) => return error.to_string(),
                },
                () = sleep(self.wait()) => {}
            }
            self.session.tick(self.now());
        }
    }

    /// How long there is nothing to do.
    fn wait(&mut self) -> Duration {
        let now = self.now();
        let due = Duration::from_millis(self.session.due_ms().saturating_sub(now)).min(PAUSE);
        let rests = self.rest_until > Instant::now();
        match self.ready.is_empty() {
            _ if rests => due,
            true => due.min(self.look_at.saturating_duration_since(Instant::now())),
            // A throttle of so many a second lets the next one through soon.
            false if self.session.window_used() < self.smpp.session.window => {
                due.min(Duration::from_millis(5))
            }
            false => due,
        }
        .max(Duration::from_millis(1))
    }

    /// Ends politely when the node stops or the configuration changed.
    fn wind_up(&mut self) {
        let is_old = || configured(self.office).as_ref() != Some(&self.smpp);
        if self.closing.is_none() && (self.stop.load(Ordering::Relaxed) || is_old()) {
            self.closing = Some(Instant::now());
        }
        let Some(closing) = self.closing else { return };
        let is_quiet = self.session.window_used() == 0 || closing.elapsed() >= LAST_ANSWERS;
        if is_quiet && !self.is_unbinding {
            self.is_unbinding = true;
            self.session.unbind(self.now());
        }
    }

    /// Takes what happened, and writes it down.
    async fn events(&mut self) -> Option<Over> {
        let mut receipts = Vec::new();
        let mut over = None;
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Bound { system_id } => {
                    self.was_bound = true;
                    self.counts().bound.store(1, Ordering::Relaxed);
                    count(&self.counts().binds);
                    // Some SMSCs do not say who they are.
                    let whom =
                        if system_id.is_empty() { String::new() } else { format!(" to \"{system_id}\"") };
                    self.log(&format!("bound{whom}"));
                }
                Event::Answered { item: (part, tries), status, message_id } => {
                    let outcome = self.answered(tries, status, message_id);
                    self.outcomes.push((part, outcome));
                }
                Event::Unanswered { item: (part, _) } => self.lost(part),
                Event::Deliver(deliver) => match Receipt::of(&deliver) {
                    Some(receipt) => receipts.push((deliver.sequence, receipt)),
                    None => {
                        // A text from somebody: nobody here reads it.
                        count(&self.counts().not_receipts);
                        self.session.delivered(deliver.sequence, Status::OK);
                    }
                },
                Event::Over(why) => over = Some(why),
            }
        }
        self.write_down().await;
        self.receipts(receipts).await;
        over
    }

    fn answered(&mut self, tries: i64, status: Status, message_id: String) -> Outcome {
        let counts = self.counts();
        match status.remedy() {
            Remedy::None => {
                count(&counts.submitted);
                Outcome::Submitted { message_id }
            }
            Remedy::Throttle => {
                count(&counts.throttled);
                let pause_ms = self.session.throttled_until_ms().saturating_sub(self.now()) as i64;
                Outcome::Waiting { status: status.to_string(), pause_ms }
            }
            Remedy::Later => {
                count(&counts.put_off);
                let pause_ms = (LATER_MS << tries.clamp(0, 10)).min(LONGEST_LATER_MS);
                Outcome::Waiting { status: status.to_string(), pause_ms }
            }
            Remedy::Never => {
                count(&counts.failed);
                self.log(&format!("a text was refused: {status}"));
                Outcome::Failed { status: status.to_string() }
            }
        }
    }

    fn lost(&mut self, part: Part) {
        count(&self.counts().unknown);
        self.outcomes.push((part, Outcome::Unknown));
    }

    async fn write_down(&mut self) {
        if self.outcomes.is_empty() {
            return;
        }
        // What was thrown back is tried whole again later: the rest of its text waits with it.
        let back: HashSet<&str> = self
            .outcomes
            .iter()
            .filter_map(|(part, outcome)| {
                (!matches!(outcome, Outcome::Submitted { .. })).then_some(part.text.as_str())
            })
            .collect();
        self.ready.retain(|ready| !back.contains(ready.part.text.as_str()));
        match self.office.store.recorded(&self.outcomes, now_ms()).await {
            Ok((sent, failed)) => {
                self.office.counts.sms_sent.fetch_add(sent, Ordering::Relaxed);
                self.office.counts.sends_failed.fetch_add(failed, Ordering::Relaxed);
                self.outcomes.clear();
                self.fault.clear();
            }
            Err(fault) => self.failed(&fault),
        }
    }

    async fn receipts(&mut self, receipts: Vec<(u32, Receipt)>) {
        if receipts.is_empty() {
            return;
        }
        let setup = self.office.setup.load_full();
        let Some(settings) = &setup.loans else { return };
        let kept: Vec<Kept> = receipts
            .iter()
            .map(|(_, receipt)| Kept {
                message_id: receipt.message_id.clone(),
                phone: keyed(&settings.vault, &receipt.recipient),
                reference: receipt.reference,
                state: receipt.state,
            })
            .collect();
        let status = match self.office.store.receipts(&kept, now_ms()).await {
            Ok(alone) => {
                self.counts().receipts_alone.fetch_add(alone, Ordering::Relaxed);
                for (_, receipt) in &receipts {
                    self.counts().receipt(receipt.state);
                }
                Status::OK
            }
            Err(fault) => {
                self.failed(&fault);
                Status::TEMPORARY_APPLICATION_ERROR
            }
        };
        for (sequence, _) in receipts {
            self.session.delivered(sequence, status);
        }
    }

    /// Submits what there is room for.
    async fn submit(&mut self) {
        // What is not written down yet may be of the same texts.
        if self.closing.is_some() || !self.outcomes.is_empty() || Instant::now() < self.rest_until {
            return;
        }
        let room = self.session.room(self.now());
        if room == 0 {
            return;
        }
        if self.ready.is_empty() && Instant::now() >= self.look_at {
            match self.take(room.min(MOST_TAKEN)).await {
                // More may be there.
                Ok(true) => {}
                Ok(false) => self.look_at = Instant::now() + PAUSE,
                Err(fault) => return self.failed(&fault),
            }
        }
        let now = now_ms();
        // What is over meanwhile is found to be so when its lease ends.
        self.ready.retain(|ready| ready.until_ms - now >= 1000);
        let batch: Vec<Ready> = self.ready.drain(..room.min(self.ready.len())).collect();
        if batch.is_empty() {
            return;
        }
        let parts: Vec<Part> = batch.iter().map(|ready| ready.part.clone()).collect();
        match self.office.store.submitting(&parts, now, LEASE_MS).await {
            Ok(ours) => {
                self.fault.clear();
                let at = self.now();
                for (mut ready, _) in batch.into_iter().zip(ours).filter(|(_, is_ours)| *is_ours) {
                    ready.message.validity_s = (ready.until_ms - now) as u64 / 1000;
                    self.session.submit(&ready.message, (ready.part, ready.tries), at);
                }
            }
            // None is marked, so none is sent.
            Err(fault) => {
                self.failed(&fault);
                batch.into_iter().rev().for_each(|ready| self.ready.push_front(ready));
            }
        }
    }

    /// Takes texts from the queue. Gives whether more may be there.
    async fn take(&mut self, limit: usize) -> Result<bool, Fault> {
        let setup = self.office.setup.load_full();
        let Some(settings) = &setup.loans else { return Ok(false) };
        let store = &self.office.store;
        let taken = store.take_texts(&settings.vault, now_ms(), LEASE_MS, limit as i64).await?;
        let is_full = taken.len() == limit;
        for (n, outgoing) in taken.iter().enumerate() {
            if let Err(fault) = self.make_ready(settings, outgoing).await {
                // The rest is free again at once, if the store can do that.
                for outgoing in &taken[n..] {
                    let _ = store.send_later(&outgoing.id, now_ms()).await;
                }
                return Err(fault);
            }
        }
        Ok(is_full)
    }

    /// Makes what may be submitted of a text ready.
    async fn make_ready(&mut self, settings: &Settings, outgoing: &Outgoing) -> Result<(), Fault> {
        let store = &self.office.store;
        let orphans = store.orphaned(&outgoing.id, now_ms()).await?;
        self.counts().unknown.fetch_add(orphans, Ordering::Relaxed);
        if outgoing.until_ms - now_ms() < 1000 {
            // A code that counts no longer helps nobody.
            count(&self.counts().too_late);
            return store.too_late(&outgoing.id, now_ms()).await;
        }
        let Some(parts) = self.parts(settings, outgoing) else {
            count(&self.office.counts.sends_failed);
            self.log(&format!("a text of {} cannot be sent: no number, or too long", outgoing.client));
            return store.sent(&outgoing.id).await;
        };
        let gone = if outgoing.tries > 1 { store.submitted(&outgoing.id).await? } else { Vec::new() };
        let before = self.ready.len();
        self.ready.extend(parts.into_iter().filter(|ready| !gone.contains(&ready.part.n)));
        match self.ready.len() == before {
            true => store.settled(&outgoing.id, now_ms() + LEASE_MS).await,
            false => Ok(()),
        }
    }

    fn parts(&self, settings: &Settings, outgoing: &Outgoing) -> Option<Vec<Ready>> {
        let body: Value = serde_json::from_str(&outgoing.body).ok()?;
        let (to, text) = (body["to"].as_str()?, body["text"].as_str()?);
        let digits = to.trim_start_matches('+');
        if digits.is_empty() || digits.len() > 20 {
            return None;
        }
        // The same for each try: a telephone knows the parts of one text by it, and a receipt may give it back.
        let reference = u16::from_str_radix(outgoing.id.get(..4)?, 16).ok()?;
        let cut = smpp::text::parts(text, self.smpp.long, reference)?;
        let (total, phone) = (cut.parts.len() as i64, keyed(&settings.vault, digits));
        let ready = |(n, octets): (usize, Vec<u8>)| {
            let reference = reference.wrapping_add(n as u16);
            Ready {
                part: Part {
                    text: outgoing.id.clone(),
                    n: n as i64 + 1,
                    parts: total,
                    once: body["once"].as_bool().unwrap_or(false),
                    client: outgoing.client.clone(),
                    phone: phone.clone(),
                    reference,
                },
                message: Submit {
                    source: self.smpp.source.clone(),
                    destination: Address { ton: 1, npi: 1, digits: digits.to_owned() },
                    data_coding: cut.data_coding,
                    has_header: cut.has_header,
                    is_payload: cut.is_payload,
                    octets,
                    validity_s: 0,
                    reference: self.smpp.has_reference.then_some(reference),
                },
                until_ms: outgoing.until_ms,
                tries: outgoing.tries,
            }
        };
        Some(cut.parts.into_iter().enumerate().map(ready).collect())
    }

    /// The connection is gone: what was submitted and not answered is of unknown fate, what was not is free again.
    pub(super) async fn close(mut self) {
        let mut free: Vec<String> = self.ready.drain(..).map(|ready| ready.part.text).collect();
        free.dedup();
        self.events().await;
        let Link { office, session, mut outcomes, smpp, .. } = self;
        for (part, _) in session.left() {
            count(&office.counts.smpp.unknown);
            outcomes.push((part, Outcome::Unknown));
        }
        outcomes.sort_by(|(a, _), (b, _)| (&a.text, a.n).cmp(&(&b.text, b.n)));
        let until = Instant::now() + LAST_WORDS;
        while !outcomes.is_empty() {
            match office.store.recorded(&outcomes, now_ms()).await {
                Ok((sent, failed)) => {
                    office.counts.sms_sent.fetch_add(sent, Ordering::Relaxed);
                    office.counts.sends_failed.fetch_add(failed, Ordering::Relaxed);
                    break;
                }
                // They stay marked: whoever takes the text next finds them of unknown fate.
                Err(fault) if Instant::now() >= until => {
                    (office.log)(&format!("loans: SMPP {}: the store: {fault}", smpp.address));
                    break;
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
        for text in free {
            let _ = office.store.send_later(&text, now_ms()).await;
        }
    }
}

fn explain(over: Over) -> String {
    match over {
        Over::BindRefused(status) => format!("it refuses the bind: {status}"),
        Over::Silent => "it does not answer".to_owned(),
        Over::Garbage => "it does not speak SMPP".to_owned(),
        Over::UnboundByPeer => "it said good-bye".to_owned(),
        Over::Unbound => "unbound".to_owned(),
    }
}
