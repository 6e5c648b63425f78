//! A request as one change of the store, or as two with a question to an operator between them.

use super::office::{Done, Office, Round, Stop, problem, turn_of};
use super::operator_codes::{Heard, Remote};
use super::phones::{Question, Said};
use super::{Asked, Command};
use crate::config::Loans as Settings;
use crate::http::Kind;

/// What an operator said between the two changes of a request.
enum Told {
    Phone(Question, Said),
    Code(Heard),
}

impl Office {
    /// An operator that has to be asked is asked between two changes of the store, while nothing is held.
    pub(super) async fn done(&self, settings: &Settings, asked: &Asked) -> Done<(u16, String)> {
        let mut told = None;
        loop {
            let is_second = told.is_some();
            let stepped = self.step(settings, asked, told.take()).await;
            if is_second && matches!(stepped, Err(Stop::Problem(_))) {
                // The operator's answer is known, if not what was hoped for: the key is free again.
                self.free_key(settings, asked).await?;
            }
            let (reply, question, remote) = stepped?;
            // Who opens or consents waits for what is said of the phone; for others it is asked as a chore.
            let is_awaited = matches!(asked.command, Command::Open(_) | Command::EnterCode { .. });
            told = match (remote, question) {
                (Some(remote), question) => {
                    self.later.borrow_mut().extend(question);
                    Some(Told::Code(self.ask_remote(settings, remote).await))
                }
                (None, Some(question)) if is_awaited && reply.0 < 300 => {
                    let said = self.ask_operator(settings, &question).await;
                    Some(Told::Phone(question, said))
                }
                (None, question) => {
                    self.later.borrow_mut().extend(question);
                    return Ok(reply);
                }
            };
        }
    }

    /// One change of the store.
    async fn step(
        &self,
        settings: &Settings,
        asked: &Asked,
        told: Option<Told>,
    ) -> Done<((u16, String), Option<Question>, Option<Remote>)> {
        let _place = self.places.acquire().await.expect("never closed");
        let client = &asked.client;
        let mut turns = Vec::new();
        if told.is_none() {
            // Two that come at once with one key take turns, and two applications of one person.
            let key = asked.repeats.iter().map(|(key, _)| format!("{} {key}", client.id));
            turns.extend(key.map(|key| turn_of(&settings.vault, &key)));
            if let Command::Open(opening) = &asked.command {
                turns.push(turn_of(&settings.vault, &opening.iin));
            }
        }
        let mut round = Round::begin_in_turn(&self.store, settings, &turns).await?;
        if let Some((key, hash)) = asked.repeats.as_ref().filter(|_| told.is_none())
            && let Some((first, status, body)) = round.unit.answered(&client.id, key).await?
        {
            let what = "another request was sent with this Idempotency-Key: make a key for each";
            let first = (first == *hash).then_some(((status, body), None, None));
            return first.map_or_else(|| problem(Kind::KeyReused, what), Ok);
        }
        let (status, body) = match told {
            None => self.act(&mut round, asked).await?,
            Some(Told::Code(heard)) => {
                let (status, case, body) = self.heard(&mut round, client, &heard).await?;
                (status, case.map_or(body, |case| case.shown(settings, asked.language)))
            }
            Some(Told::Phone(question, said)) => {
                self.keep_said(&mut round, &question, &said).await?;
                let case = self.again(&mut round, &question.application).await?;
                let status = if matches!(asked.command, Command::Open(_)) { 201 } else { 200 };
                (status, case.shown(settings, asked.language))
            }
        };
        let body = body.to_string();
        match &asked.repeats {
            Some((key, hash)) if round.keeps_answer => {
                let answer = (status, body.as_str());
                round.unit.keep_answer((&client.id, key, hash), answer, round.now_ms).await?;
            }
            Some((key, _)) => round.unit.forget_answer(&client.id, key).await?,
            None => {}
        }
        let Round { unit, question, remote, .. } = round;
        unit.commit().await?;
        Ok(((status, body), question, remote))
    }

    async fn free_key(&self, settings: &Settings, asked: &Asked) -> Done<()> {
        if let Some((key, _)) = &asked.repeats {
            let mut unit = self.store.begin(&settings.vault).await?;
            unit.forget_answer(&asked.client.id, key).await?;
            unit.commit().await?;
        }
        Ok(())
    }
}
