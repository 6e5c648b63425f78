//! What is done for each request, within one unit of work of the store.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::casework::{Act, Identifier, Place, Right};
use arc_swap::ArcSwap;
use serde_json::{Value as Json, json};

use super::asked::{Asked, CaseIdentifier, Command};
use super::counts::Counts;
use super::events::By;
use super::index::Index;
use super::looks::Look;
use super::store::{Store, Unit};
use super::{Client, Reply};
use crate::config::{Casework as Settings, Setup};
use crate::database::rows;
use crate::database::{Fault, answers};
use crate::http::{Kind, Problem};
use crate::store::now_ms;

/// A repeated request is answered as the first for so long.
const ANSWERED_MS: i64 = 3 * 86_400_000;

/// The thread's state.
pub struct Office {
    pub setup: Arc<ArcSwap<Setup>>,
    pub store: Store,
    pub log: fn(&str),
    /// Links, as of the last change that was seen.
    pub index: RefCell<Option<Rc<Index>>>,
    pub counts: Arc<Counts>,
}

/// Why a request is not done: nothing of it is kept.
pub(super) enum Stop {
    Problem(Problem),
    Store(Fault),
    /// Recorded as a look.
    Refused(Refused),
}

pub(super) struct Refused {
    act: Act,
    subject: String,
    right: Right,
}

impl Refused {
    pub(super) fn problem(&self) -> Problem {
        match self.right {
            Right::Hidden => Problem::new(Kind::NotFound, "nothing that you may see has this id"),
            _ => Problem::new(Kind::NotAllowed, format!("you may not {} here", self.act.name())),
        }
    }
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

pub(super) fn problem<T>(kind: Kind, what: impl Into<String>) -> Done<T> {
    Err(Stop::Problem(Problem::new(kind, what)))
}

pub(super) fn invalid<T>(what: impl Into<String>) -> Done<T> {
    problem(Kind::InvalidRequest, what)
}

/// Texts that people write.
pub(super) fn text<'t>(name: &str, text: &'t str) -> Done<&'t str> {
    match text.trim() {
        "" => invalid(format!("{name} is empty")),
        text if text.len() > 4000 => invalid(format!("{name} is longer than 4000 bytes")),
        text => Ok(text),
    }
}

pub(super) fn moment(name: &str, text: &str) -> Done<i64> {
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(at.as_millisecond()),
        Err(_) => invalid(format!("{name} is no time of RFC 3339, such as 2026-11-26T09:30:00Z")),
    }
}

/// What runs through the making of an answer.
pub(super) struct Round<'r> {
    pub(super) office: &'r Office,
    pub(super) settings: &'r Arc<Settings>,
    pub(super) client: &'r Client,
    pub(super) unit: Unit<'r>,
    pub(super) now_ms: i64,
    looks: Vec<Look>,
}

impl<'r> Round<'r> {
    pub(super) fn by(&self) -> By<'r> {
        By { who: &self.client.id, now_ms: self.now_ms }
    }

    /// Records a look.
    pub(super) fn saw(&mut self, act: Act, subject: impl Into<String>) {
        self.looks.push(look(self.client, self.now_ms, act, subject.into(), false));
    }

    /// Goes on, and records it, if the client may do this there; none: with what is not there.
    pub(super) fn allow(&mut self, act: Act, place: Option<Place>, subject: impl Into<String>) -> Done<()> {
        let subject = subject.into();
        match self.client.reader().may(act, place) {
            Right::Allowed => {
                self.saw(act, subject);
                Ok(())
            }
            right => Err(Stop::Refused(Refused { act, subject, right })),
        }
    }

    /// Goes on if the client's role ever lets it do this.
    pub(super) fn allow_ever(&self, act: Act, subject: &str) -> Done<()> {
        match self.client.reader().may_ever(act) {
            true => Ok(()),
            false => Err(Stop::Refused(Refused { act, subject: subject.to_owned(), right: Right::Refused })),
        }
    }

    pub(super) fn identifier(&self, asked: &CaseIdentifier) -> Done<Identifier> {
        let read = Identifier::read(asked.kind, &asked.value, &self.settings.plan);
        read.or_else(|fault| invalid(format!("identifier: {}: {fault}", asked.kind.name())))
    }

    pub(super) fn iin(&self, name: &str, text: &str) -> Done<String> {
        let rulebook = &self.settings.rulebook;
        let iin = rulebook.iin.read(text, rulebook.day(self.now_ms));
        iin.map(lending::Iin::reveal).or_else(|fault| invalid(format!("{name}: {fault}")))
    }

    /// An identifier as looks name it: not in clear, and the same each time.
    pub(super) fn named(&self, identifier: &Identifier) -> String {
        format!("{identifier} {}", self.unit.hash(identifier.reveal()))
    }

    /// Does what is asked, or gives again what was answered to the same.
    async fn answer(&mut self, asked: &Asked) -> Done<(u16, String)> {
        let Some((key, hash)) = &asked.repeats else {
            return self.act(&asked.command).await.map(|(status, body)| (status, body.to_string()));
        };
        let (vault, id, now_ms) = (&self.settings.vault, &self.client.id, self.now_ms);
        if let Some((first, status, body)) = answers::find(&mut self.unit.tx, vault, id, key).await? {
            if first != *hash {
                let what = "another request was sent with this Idempotency-Key: make a key for each";
                return problem(Kind::KeyReused, what);
            }
            // What it shows was shown before, and is seen again.
            let (who, what, subject) = (id.clone(), "repeat".to_owned(), key.clone());
            self.looks.push(Look { at_ms: now_ms, who, what, subject, was_refused: false });
            return Ok((status, body));
        }
        let (status, body) = self.act(&asked.command).await?;
        let body = body.to_string();
        let row = answers::row(vault, (id, key, hash), (status, &body), now_ms);
        rows::insert(&mut self.unit.tx, answers::INSERT, vec![row], answers::AGAIN).await?;
        Ok((status, body))
    }

    async fn act(&mut self, command: &Command) -> Done<(u16, Json)> {
        match command {
            Command::Import(file, unit) => {
                self.allow_ever(Act::ImportFacts, "facts")?;
                self.import(file, unit.as_deref()).await
            }
            Command::Search(search) => self.search(search).await,
            Command::Fact(id) => self.see_fact(*id).await,
            Command::Links(id) => self.links(*id).await,
            Command::LinksAmong(id, nodes) => self.links_among(*id, nodes).await,
            Command::ChangeState(id, change) => self.change_state(*id, change).await,
            Command::Recover(id, sum) => self.recover(*id, sum).await,
            Command::Assign(id, assignment) => self.assign(*id, assignment).await,
            Command::Cut(cut) => self.cut(cut).await,
            Command::UndoCut(id, why) => self.undo_cut(*id, why).await,
            Command::Groups => self.groups().await,
            Command::Group(id) => self.see_group(*id).await,
            Command::DeclineGroup(group) => self.decline_group(group).await,
            Command::LeaveGroup(id, members) => self.leave_group(*id, members).await,
            Command::ConfirmGroup(group) => self.confirm_group(group).await,
            Command::JoinGroup(id, members) => self.join_group(*id, members).await,
            Command::KeepPerson(person) => self.keep_person(person).await,
            Command::Person(id) => self.see_person(*id).await,
            Command::AddIdentifiers(id, more) => self.add_identifiers(*id, more).await,
            Command::SearchPersons(search) => self.search_persons(search).await,
            Command::KeepSeizure(seizure) => self.keep_seizure(seizure).await,
            Command::Seizure(id) => self.see_seizure(*id).await,
            Command::HandOver(id, entry) => self.hand_over(*id, entry).await,
            Command::MakeRequest(request) => self.make_request(request).await,
            Command::Requests => self.requests().await,
            Command::Request(id) => self.see_request(*id).await,
            Command::AnswerRequest(id, answer) => self.answer_request(*id, answer).await,
            Command::Report(report) => self.report(report).await,
            Command::Reports => self.reports().await,
            Command::SeeReport(id) => self.see_report(*id).await,
            Command::CheckReport(id, check) => self.check_report(*id, check).await,
            Command::PassOn(id, to) => self.pass_on(*id, to).await,
            Command::ImportCentres(file, unit) => self.import_centres(file, unit.as_deref()).await,
            Command::Centres(state) => self.centres(*state).await,
            Command::Centre(id) => self.see_centre(*id).await,
            Command::JudgeCentre(id, judged) => self.judge_centre(*id, judged).await,
            Command::ConfirmCentre(id, numbers) => self.confirm_centre(*id, numbers).await,
            Command::Confirm(identifier, is_confirmed) => self.confirm(identifier, *is_confirmed).await,
            Command::Confirmations(after) => self.confirmations(*after).await,
            Command::Looks { since_ms, limit } => {
                self.allow_ever(Act::SeeLooks, "looks")?;
                self.saw(Act::SeeLooks, "looks");
                let looks = self.unit.looks(*since_ms, *limit).await?;
                Ok((200, json!({"looks": looks.iter().map(Look::shown).collect::<Vec<_>>()})))
            }
            Command::Statistics(wanted, form) => {
                self.allow_ever(Act::SeeStatistics, "statistics")?;
                self.saw(Act::SeeStatistics, "statistics");
                let statistics = self.unit.statistics(wanted, &self.settings.days.zone).await?;
                Ok((200, statistics.in_form(*form)))
            }
        }
    }
}

fn look(client: &Client, at_ms: i64, act: Act, subject: String, was_refused: bool) -> Look {
    // What was searched for is somebody's text, and looks are read a line each.
    let subject = subject.replace(char::is_control, " ");
    Look { at_ms, who: client.id.clone(), what: act.name().to_owned(), subject, was_refused }
}

impl Command {
    /// Whether it changes more than who looked.
    fn changes(&self) -> bool {
        !matches!(
            self,
            Command::Search(_)
                | Command::Fact(_)
                | Command::Links(_)
                | Command::LinksAmong(..)
                | Command::Groups
                | Command::Group(_)
                | Command::Person(_)
                | Command::SearchPersons(_)
                | Command::Seizure(_)
                | Command::Requests
                | Command::Request(_)
                | Command::Reports
                | Command::SeeReport(_)
                | Command::Centres(_)
                | Command::Centre(_)
                | Command::Confirmations(_)
                | Command::Looks { .. }
                | Command::Statistics(..)
        )
    }
}

impl Office {
    pub async fn answer(&self, asked: &Asked) -> Reply {
        let setup = self.setup.load_full();
        let Some(settings) = &setup.casework else {
            return Err(Problem::new(Kind::NotConfigured, "this node has no register: configure [casework]"));
        };
        self.done(settings, asked).await.map_err(|stop| match stop {
            Stop::Problem(problem) => problem,
            Stop::Refused(refused) => refused.problem(),
            Stop::Store(fault) => {
                (self.log)(&format!("casework: {fault}"));
                Problem::new(Kind::StoreAway, "the store failed and nothing was done: send it again")
            }
        })
    }

    async fn done(&self, settings: &Arc<Settings>, asked: &Asked) -> Done<(u16, String)> {
        let (client, now_ms) = (&asked.client, now_ms());
        let unit = self.store.begin(&settings.vault, asked.command.changes()).await?;
        let mut round = Round { office: self, settings, client, unit, now_ms, looks: Vec::new() };
        let outcome = round.answer(asked).await;
        let Round { mut unit, mut looks, .. } = round;
        match outcome {
            Err(Stop::Store(fault)) => return Err(Stop::Store(fault)),
            Ok(_) => {}
            // Nothing of it is kept but who looked.
            Err(ref stop) => {
                drop(unit);
                if let Stop::Refused(Refused { act, subject, .. }) = stop {
                    self.counts.refused.fetch_add(1, Ordering::Relaxed);
                    looks.push(look(client, now_ms, *act, subject.clone(), true));
                }
                unit = self.store.begin(&settings.vault, false).await?;
            }
        }
        unit.keep_looks(&looks).await?;
        unit.commit().await?;
        outcome
    }

    /// Forgets answers that are given again no longer, and looks that are not kept any longer.
    pub async fn forget(&self) {
        let before_ms = now_ms() - ANSWERED_MS;
        let gone = sqlx::query("DELETE FROM answered WHERE at_ms < $1").bind(before_ms);
        if let Err(fault) = gone.execute(&self.store.pool).await {
            (self.log)(&format!("casework: {fault}"));
        }
        let settings = self.setup.load().casework.clone();
        let Some((settings, keep_ms)) =
            settings.and_then(|it| it.keep_looks_ms.map(|keep_ms| (it.clone(), keep_ms)))
        else {
            return;
        };
        if let Err(fault) = self.forget_looks(&settings, now_ms() - keep_ms).await {
            (self.log)(&format!("casework: {fault}"));
        }
    }

    /// That they are gone is itself on record.
    async fn forget_looks(&self, settings: &Settings, before_ms: i64) -> Result<(), Fault> {
        let mut unit = self.store.begin(&settings.vault, true).await?;
        let gone = unit.run("DELETE FROM look WHERE at_ms < $1", vec![before_ms.into()]).await?;
        if gone > 0 {
            let subject = format!("{gone} looks before {}", crate::loans::view::time(before_ms));
            let (who, what) = ("qalqan".to_owned(), "forget-looks".to_owned());
            unit.keep_looks(&[Look { at_ms: now_ms(), who, what, subject, was_refused: false }]).await?;
        }
        unit.commit().await
    }
}
