//! What is done for each request, within one unit of work of the store.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lending::{
    Application, Ban, Circumstances, Event, FaceReady, Fault as Refused, Gate, State, SuspectCall, Use,
    Vault, document,
};
use numbering::Number;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::around::Around;
use super::counts::count;
use super::faces::Faces;
use super::operator_codes::{Remote, not_known};
use super::phones::Question;
use super::store::{Applicant, Fault, Store, Unit, new_id};
use super::{Asked, Client, Command, Counts, Opening, Reply, Scope, Suspects, view};
use crate::config::{Loans as Settings, Setup};
use crate::http::{Kind, Problem};
use crate::store::now_ms;

const HOUR_MS: i64 = 3_600_000;
/// Texts that hurry nobody, and webhooks, are tried for so long.
const TEXT_MS: i64 = 24 * HOUR_MS;
const WEBHOOK_MS: i64 = 72 * HOUR_MS;

/// The thread's state.
pub struct Office {
    pub setup: Arc<ArcSwap<Setup>>,
    pub suspects: Arc<Suspects>,
    pub store: Store,
    /// None: no face can be judged here.
    pub faces: Option<Arc<Faces>>,
    pub counts: Arc<Counts>,
    pub log: fn(&str),
    /// Changes worked on at a time; who asks an operator holds none.
    pub places: Semaphore,
    /// Questions about phones that nobody waits for.
    pub later: RefCell<Vec<Question>>,
}

/// Why a request is not done: nothing of it is kept.
pub(super) enum Stop {
    Problem(Problem),
    Store(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Store(fault)
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Stop {
        Stop::Problem(problem)
    }
}

pub(super) type Done<T> = Result<T, Stop>;

/// An application at hand.
pub(super) struct Case {
    pub(super) id: String,
    pub(super) application: Application,
    pub(super) applicant: Applicant,
    /// All of them, and from which on they are new.
    events: Vec<(i64, Event)>,
    kept: usize,
}

impl Case {
    pub(super) fn take(&mut self, now_ms: i64, event: Event) {
        self.application.apply(now_ms, &event);
        self.events.push((now_ms, event));
    }

    pub(super) fn events(&self) -> &[(i64, Event)] {
        &self.events
    }

    /// As its creditor sees it.
    pub(super) fn shown(&self, settings: &Settings, language: rules::Language) -> serde_json::Value {
        let Case { id, application, applicant, events, .. } = self;
        view::application(settings, language, id, application, applicant, events)
    }
}

/// What runs through the making of an answer.
pub(super) struct Round<'r> {
    pub(super) settings: &'r Settings,
    pub(super) unit: Unit<'r>,
    pub(super) now_ms: i64,
    /// What an operator is to be asked once this change is done.
    pub(super) question: Option<Question>,
    pub(super) remote: Option<Remote>,
    /// Whether a repeated request is answered with this.
    pub(super) keeps_answer: bool,
}

impl<'r> Round<'r> {
    pub(super) async fn begin(store: &Store, settings: &'r Settings) -> Done<Round<'r>> {
        Round::begin_in_turn(store, settings, &[]).await
    }

    /// Behind whoever has one of these turns.
    pub(super) async fn begin_in_turn(
        store: &Store,
        settings: &'r Settings,
        turns: &[i64],
    ) -> Done<Round<'r>> {
        let now_ms = now_ms();
        let unit = store.begin_in_turn(&settings.vault, turns).await?;
        Ok(Round { settings, unit, now_ms, question: None, remote: None, keeps_answer: true })
    }
}

pub(super) fn problem<T>(kind: Kind, what: impl Into<String>) -> Done<T> {
    Err(Stop::Problem(Problem::new(kind, what)))
}

pub(super) fn not_found<T>() -> Done<T> {
    problem(Kind::NotFound, "no application of yours has this id")
}

impl Office {
    pub async fn answer(&self, asked: &Asked) -> Reply {
        let setup = self.setup.load_full();
        let Some(settings) = &setup.loans else {
            return Err(Problem::new(Kind::NotConfigured, "this node is no loan gate: configure [loans]"));
        };
        self.said(self.done(settings, asked).await)
    }

    pub(super) fn said(&self, done: Done<(u16, String)>) -> Reply {
        match done {
            Ok(reply) => Ok(reply),
            Err(Stop::Problem(problem)) => Err(problem),
            Err(Stop::Store(fault)) => {
                count(&self.counts.store_faults);
                (self.log)(&format!("loans: {fault}"));
                Err(Problem::new(Kind::StoreAway, "the store failed and nothing was done: send it again"))
            }
        }
    }

    pub(super) async fn act(&self, round: &mut Round<'_>, asked: &Asked) -> Done<(u16, Value)> {
        let (client, language) = (&asked.client, asked.language);
        match &asked.command {
            Command::Open(opening) => {
                let mut case = self.open(round, client, opening).await?;
                self.settle(round, &mut case).await?;
                count(&self.counts.opened);
                round.unit.look(&client.id, "open", &case.id, round.now_ms).await?;
                Ok((201, case.shown(round.settings, language)))
            }
            Command::Look { id } => {
                let case = self.case(round, client, id, "look").await?;
                Ok((200, case.shown(round.settings, language)))
            }
            Command::SendCode { id, address } => {
                let mut case = self.case(round, client, id, "code").await?;
                if round.settings.one_time_password.is_some() {
                    self.ask_to_send(round, &case, client, address.as_deref()).await?;
                    return Ok(not_known());
                }
                self.send_code(round, &mut case, client, address.as_deref()).await?;
                self.settle(round, &mut case).await?;
                Ok((202, case.shown(round.settings, language)))
            }
            Command::EnterCode { id, purpose, code } => {
                let mut case = self.case(round, client, id, purpose.name()).await?;
                if self.ask_to_validate(round, &case, *purpose, code)? {
                    return Ok(not_known());
                }
                let left = self.enter_code(round, &mut case, *purpose, code)?;
                self.settle(round, &mut case).await?;
                match left {
                    None => Ok((200, case.shown(round.settings, language))),
                    // The wrong try is kept, so this is no fault that undoes it.
                    Some(left) => {
                        count(&self.counts.codes_wrong);
                        let what =
                            format!("{left} tries are left for this code; the next one needs POST …/code");
                        let told = Problem::new(Kind::WrongCode, what).to_json();
                        Ok((Kind::WrongCode.status(), serde_json::from_slice(&told).expect("our own JSON")))
                    }
                }
            }
            Command::Cancel { id } => {
                let mut case = self.case(round, client, id, "cancel").await?;
                if case.application.state != State::Cancelled {
                    let event = case.application.cancel();
                    let event = event.or_else(|fault| refused(fault, &case.application))?;
                    case.take(round.now_ms, event);
                    self.settle(round, &mut case).await?;
                }
                Ok((200, case.shown(round.settings, language)))
            }
            Command::Document { id } => {
                self.case(round, client, id, "document").await?;
                match round.unit.document(id).await? {
                    Some(document) => Ok((200, Value::String(document))),
                    None => {
                        problem(Kind::WrongState, "the application has not ended: its document is made then")
                    }
                }
            }
            Command::MakeLink { id, send } => {
                let case = self.case(round, client, id, "link").await?;
                let link = self.make_link(round, &case, client, *send).await?;
                count(&self.counts.links_made);
                Ok((201, link))
            }
            Command::KeepReference { iin, reference } => {
                let turn = turn_of(&round.settings.vault, iin);
                round.unit.lock(turn).await?;
                round.unit.put_reference(&client.id, iin, reference, round.now_ms).await?;
                self.settle_others(round, iin).await?;
                Ok((201, json!({"model": reference.model})))
            }
            Command::DropReference { iin } => {
                round.unit.lock(turn_of(&round.settings.vault, iin)).await?;
                match round.unit.remove_reference(&client.id, iin, round.now_ms).await? {
                    true => Ok((200, json!({"deleted": true}))),
                    false => problem(Kind::NotFound, "this person has no reference photo"),
                }
            }
            Command::SetBan { iin, phone } => {
                round.unit.lock(turn_of(&round.settings.vault, iin)).await?;
                let before = round.unit.ban(iin).await?;
                let phone = phone.map(|phone| phone.reveal().to_string());
                let phone = phone.or(before.as_ref().map(|(_, applicant)| applicant.phone.clone()));
                // Set again while it is being lifted, it stays.
                let ban = match &before {
                    Some((ban, _)) if ban.lifts_ms.is_none() => *ban,
                    _ => Ban::set(round.now_ms),
                };
                let applicant = Applicant::new(iin.clone(), phone.unwrap_or_default());
                round.unit.keep_ban(ban, &applicant, ("ban_set", &client.id), round.now_ms).await?;
                self.settle_others(round, iin).await?;
                Ok((200, view::ban(Some(&ban), round.now_ms)))
            }
            Command::LiftBan { iin } => {
                round.unit.lock(turn_of(&round.settings.vault, iin)).await?;
                let Some((ban, applicant)) = round.unit.ban(iin).await? else {
                    return problem(Kind::NotFound, "this person has no ban");
                };
                let ban = ban.lift(&round.settings.rulebook, round.now_ms);
                round.unit.keep_ban(ban, &applicant, ("ban_lift_asked", &client.id), round.now_ms).await?;
                Ok((200, view::ban(Some(&ban), round.now_ms)))
            }
            Command::SeeBan { iin } => {
                let ban = round.unit.ban(iin).await?;
                round.unit.look_at(&client.id, "ban", iin, round.now_ms).await?;
                Ok((200, view::ban(ban.as_ref().map(|(ban, _)| ban), round.now_ms)))
            }
            Command::Scam { phone } => {
                let whom = phone.reveal().to_string();
                round.unit.look_at(&client.id, "scam-signal", &whom, round.now_ms).await?;
                Ok((200, view::scam(self.suspect_call(round, *phone), round.now_ms)))
            }
            Command::SendVerification { phone, message } => {
                self.send_verification(round, client, *phone, message).await
            }
            Command::ValidateVerification { id, code } => {
                self.validate_verification(round, client, id, code).await
            }
            Command::PhoneChanged { phone, change, at_ms } => {
                round.unit.keep_change(&phone.reveal().to_string(), *change, *at_ms).await?;
                Ok((
                    202,
                    json!({"phone": phone.to_string(), "change": change.name(), "time": view::time(*at_ms)}),
                ))
            }
        }
    }

    async fn open(&self, round: &mut Round<'_>, client: &Client, opening: &Opening) -> Done<Case> {
        let event = Event::ApplicationOpened {
            creditor: client.id.clone(),
            class: opening.class,
            kind: opening.kind,
            is_online: opening.is_online,
            sum: opening.sum,
            term_days: opening.term_days,
            language: opening.language,
        };
        let application = Application::open(round.now_ms, &event).expect("its first event");
        let counts = lending::counts(
            opening.kind,
            opening.is_online,
            opening.sum,
            &round.settings.rulebook,
            round.now_ms,
        );
        let identifiers = opening.identifiers.iter();
        let applicant = Applicant {
            identifiers: identifiers.map(|one| (one.kind(), one.reveal().to_owned())).collect(),
            ..Applicant::new(opening.iin.clone(), opening.phone.reveal().to_string())
        };
        // The turn was taken at the beginning.
        let (id, turn) = (new_id(), turn_of(&round.settings.vault, &opening.iin));
        round.unit.insert(&id, &applicant, turn, counts, &application).await?;
        Ok(Case { id, application, applicant, events: vec![(round.now_ms, event)], kept: 0 })
    }

    /// An application of this creditor, brought up to now; the look is recorded.
    async fn case(&self, round: &mut Round<'_>, client: &Client, id: &str, what: &str) -> Done<Case> {
        let Some(mut case) = self.load(round, id).await? else { return not_found() };
        if case.application.creditor != client.id {
            return not_found();
        }
        round.unit.look(&client.id, what, id, round.now_ms).await?;
        self.settle(round, &mut case).await?;
        Ok(case)
    }

    pub(super) async fn load(&self, round: &mut Round<'_>, id: &str) -> Done<Option<Case>> {
        let Some(turn) = round.unit.turn(id).await? else { return Ok(None) };
        round.unit.lock(turn).await?;
        let found = round.unit.load(id).await?;
        Ok(found.map(|(application, applicant, events)| {
            let kept = events.len();
            Case { id: id.to_owned(), application, applicant, events, kept }
        }))
    }

    async fn face_ready(&self, round: &mut Round<'_>, iin: &str) -> Done<FaceReady> {
        let Some(faces) = self.faces.as_ref().filter(|_| round.settings.asked.living_face) else {
            return Ok(FaceReady::NotConfigured);
        };
        Ok(match faces.model() {
            Some(model) if !round.unit.has_reference(iin, model).await? => FaceReady::NoReference,
            _ => FaceReady::Ready,
        })
    }

    /// Lets time and gates do what they do by now, and keeps what is new.
    pub(super) async fn settle(&self, round: &mut Round<'_>, case: &mut Case) -> Done<()> {
        let (settings, now_ms) = (round.settings, round.now_ms);
        let limits = settings.rulebook.limits(now_ms);
        if !case.application.state.is_end() {
            let from_ms = (now_ms - i64::from(limits.several.hours) * HOUR_MS)
                .min(settings.rulebook.day_begins_ms(case.application.opened_ms));
            let phone = Number::parse(&case.applicant.phone).ok();
            let Around { ban, changes, others } =
                round.unit.around(&case.id, &case.applicant, from_ms).await?;
            let around = Circumstances {
                rulebook: &settings.rulebook,
                asked: settings.asked,
                ban: ban.as_ref().map(|(ban, _)| *ban),
                phone_unknown_ms: self.phone_unknown_ms(round, case).await?,
                changes,
                face: self.face_ready(round, &case.applicant.iin).await?,
                confirmed: self.confirmed(&case.applicant),
                suspect_call: phone.map_or(SuspectCall::None, |phone| self.suspect_call(round, phone)),
                others,
            };
            let news = case.application.settle(&around, now_ms);
            case.events.extend(news);
            self.keep(round, case, ban.map(|(_, applicant)| applicant.phone)).await?;
        } else {
            self.keep(round, case, None).await?;
        }
        Ok(())
    }

    /// Keeps the new events of a case, and queues who is told of them.
    async fn keep(&self, round: &mut Round<'_>, case: &mut Case, ban_phone: Option<String>) -> Done<()> {
        let news = &case.events[case.kept..];
        if news.is_empty() {
            return Ok(());
        }
        let (settings, now_ms) = (round.settings, round.now_ms);
        let application = &case.application;
        round.unit.append(&case.id, case.kept as u64, news).await?;
        let client = settings.clients.find(&application.creditor);
        let name = client.map_or(application.creditor.as_str(), |client| client.name.as_str());
        let signed = application.state.is_end().then(|| {
            let whole = view::document(settings, &case.id, name, application, &case.applicant, &case.events);
            document::sign(&settings.signing, &whole)
        });
        let due_ms = application.due_ms(settings.rulebook.limits(application.opened_ms), now_ms);
        round.unit.update(&case.id, application, due_ms, signed.as_deref()).await?;
        let words = settings.words(application.language);
        let sum = application.sum.to_string();
        let places = [("creditor", name), ("sum", &sum), ("currency", settings.rulebook.currency.as_str())];
        for (_, event) in news {
            let text = match event {
                Event::LoanRefused { gate: Gate::SelfBan, .. } => {
                    let phone = ban_phone.clone().filter(|phone| !phone.is_empty());
                    Some(("ban-attempt", phone.unwrap_or_else(|| case.applicant.phone.clone())))
                }
                Event::GatesAnswered { answers } => answers
                    .iter()
                    .any(|answered| answered.reason == lending::Reason::CallWithSuspect)
                    .then(|| ("suspicious-call", case.applicant.phone.clone())),
                _ => None,
            };
            if let Some((name, phone)) = text {
                let body = json!({"to": phone, "text": words.sms(name, &places)}).to_string();
                round.unit.queue("sms", &application.creditor, &body, now_ms, now_ms + TEXT_MS).await?;
            }
            match event {
                Event::LoanApproved => count(&self.counts.approved),
                Event::LoanRefused { .. } => count(&self.counts.refused),
                Event::ApplicationCancelled
                | Event::ApplicationDenied
                | Event::ApplicationExpired
                | Event::ContractVoided => {
                    count(&self.counts.ended_otherwise);
                }
                Event::CodeSent { .. } => count(&self.counts.codes_sent),
                Event::FaceJudged { judgement } => count(&self.counts.faces[judgement.outcome as usize]),
                _ => {}
            }
        }
        if client.is_some_and(|client| client.webhook.is_some()) {
            let body = view::webhook(settings, &case.id, application, news, now_ms).to_string();
            round.unit.queue("webhook", &application.creditor, &body, now_ms, now_ms + WEBHOOK_MS).await?;
        }
        case.kept = case.events.len();
        Ok(())
    }

    /// A ban ends what is under way at once.
    pub(super) async fn settle_others(&self, round: &mut Round<'_>, iin: &str) -> Done<()> {
        for id in round.unit.under_way(iin).await? {
            if let Some(mut case) = self.load(round, &id).await? {
                self.settle(round, &mut case).await?;
            }
        }
        Ok(())
    }

    /// Moves on what time has to move on.
    pub async fn settle_due(&self) {
        let setup = self.setup.load_full();
        let Some(settings) = &setup.loans else { return };
        let due = match self.store.due(now_ms()).await {
            Ok(due) => due,
            Err(fault) => return (self.log)(&format!("loans: {fault}")),
        };
        for id in due {
            let moved = async {
                let mut round = Round::begin(&self.store, settings).await?;
                if let Some(mut case) = self.load(&mut round, &id).await? {
                    self.settle(&mut round, &mut case).await?;
                    let limits = settings.rulebook.limits(case.application.opened_ms);
                    let due_ms = case.application.due_ms(limits, now_ms());
                    round.unit.update(&id, &case.application, due_ms, None).await?;
                }
                let Round { unit, question, .. } = round;
                unit.commit().await?;
                self.later.borrow_mut().extend(question);
                Ok::<(), Stop>(())
            };
            if let Err(Stop::Store(fault)) = moved.await {
                count(&self.counts.store_faults);
                (self.log)(&format!("loans: application {id}: {fault}"));
            }
        }
    }

    /// Forgets what is older than the configuration keeps.
    pub async fn forget(&self, now_ms: i64) {
        let setup = self.setup.load_full();
        let Some(settings) = &setup.loans else { return };
        let day_ms = 24 * HOUR_MS;
        let ended_ms = now_ms - settings.keep_days as i64 * day_ms;
        if let Err(fault) = self.store.forget(ended_ms, now_ms - 3 * day_ms, now_ms).await {
            (self.log)(&format!("loans: {fault}"));
        }
    }
}

/// Whose changes come one after the other: a number of a person or a key, keyed as people are looked up. The last key is the
/// one that nodes have in common while another is brought in.
pub(super) fn turn_of(vault: &Vault, text: &str) -> i64 {
    let mac = vault.macs(Use::Index, text.as_bytes()).pop().unwrap_or_default();
    let hash = journal::sha256(mac.as_bytes());
    i64::from_be_bytes(hash[..8].try_into().expect("8 bytes"))
}

pub(super) fn refused<T>(fault: Refused, application: &Application) -> Done<T> {
    let state = application.state.name();
    match fault {
        Refused::WrongState(_) => {
            problem(Kind::WrongState, format!("the application is {state}: this is not asked then"))
        }
        Refused::CodesUsedUp => {
            problem(Kind::TooManyCodes, "this application has had all its codes: open another")
        }
        Refused::NoCode => problem(
            Kind::NoOpenCode,
            "no code is open: none was sent, its time is over or it was tried too often; POST …/code sends one",
        ),
    }
}

/// What a scope lets a client ask.
pub fn needs(command: &Command) -> Scope {
    match command {
        Command::SetBan { .. } | Command::LiftBan { .. } | Command::SeeBan { .. } => Scope::Bans,
        Command::Scam { .. } => Scope::Signals,
        Command::PhoneChanged { .. } => Scope::Phones,
        Command::SendVerification { .. } | Command::ValidateVerification { .. } => Scope::OneTimePasswords,
        Command::KeepReference { .. } | Command::DropReference { .. } => Scope::References,
        _ => Scope::Loans,
    }
}
