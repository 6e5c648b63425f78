//! What the citizen's page asks: the application its link was made for, codes, the face, the self-ban. A session sees one
//! application and nothing else.
//!
//! The fraudster may have given his own phone with somebody else's IIN, so a link and a code prove no more than that phone.
//! They may set a ban, which protects, and never change whom a ban tells; a ban is lifted by a code to the phone that the ban
//! names, and then still after the waiting period.

use std::net::IpAddr;

use lending::{Ban, Event, FaceJudgement, Fault as Refused, Gate, Limits, Purpose, State, code};
use rules::Language;
use serde_json::{Value, json};

use super::codes::new_code;
use super::counts::count;
use super::limits::{Counted, too_many};
use super::links::{Opened, Session};
use super::office::{Case, Done, Office, Round, problem, refused};
use super::store::Applicant;
use super::{Asked, Command, Reply, view};
use crate::config::{Loans as Settings, Page};
use crate::http::{Kind, Problem};

/// A question of the page.
pub struct PageAsked {
    /// The session's token; of [`Act::Open`] none.
    pub session: String,
    pub address: Option<IpAddr>,
    pub language: Language,
    pub act: Act,
}

pub enum Act {
    /// A link's token for a session.
    Open {
        token: String,
    },
    See,
    SendCode,
    EnterCode {
        code: String,
    },
    /// "I did not ask for this loan."
    Deny,
    SetBan,
    SendBanCode,
    LiftBan {
        code: String,
    },
    BeginFace,
    /// The pictures are kept where the configuration says so.
    FaceJudged {
        judgement: FaceJudgement,
        pictures: Vec<Vec<u8>>,
    },
}

impl Act {
    fn name(&self) -> &'static str {
        match self {
            Act::Open { .. } => "page-open",
            Act::See => "page-look",
            Act::SendCode => "page-code",
            Act::EnterCode { .. } => "page-enter",
            Act::Deny => "page-deny",
            Act::SetBan => "page-ban-set",
            Act::SendBanCode => "page-ban-code",
            Act::LiftBan { .. } => "page-ban-lift",
            Act::BeginFace => "page-face",
            Act::FaceJudged { .. } => "page-face-judged",
        }
    }
}

/// Who looks, in the record of looks.
const WHO: &str = "page";
/// Another code may be asked for after so long.
const RESEND_MS: i64 = 60_000;

impl Office {
    pub async fn answer_page(&self, asked: &PageAsked) -> Reply {
        let setup = self.setup.load_full();
        let configured = setup.loans.as_ref().and_then(|loans| Some((loans, loans.page.as_ref()?)));
        let Some((settings, page)) = configured else {
            let what = "this node has no citizen's page: configure [loans.page]";
            return Err(Problem::new(Kind::NotConfigured, what));
        };
        let done = async {
            if matches!(asked.act, Act::SendCode | Act::EnterCode { .. }) {
                let (status, body) = self.code_by_page(settings, asked).await?;
                if status >= 300 {
                    return Ok((status, body));
                }
                let (_, shown) = self.at_page(settings, page, asked, &Act::See).await?;
                return Ok((status, shown));
            }
            self.at_page(settings, page, asked, &asked.act).await
        };
        self.said(done.await)
    }

    /// Codes go the way that they go for the creditor, whichever that is, when the session is looked at.
    async fn code_by_page(&self, settings: &Settings, asked: &PageAsked) -> Done<(u16, String)> {
        let mut round = Round::begin(&self.store, settings).await?;
        let session = round.unit.session(&asked.session, round.now_ms).await?.ok_or_else(gone)?;
        let mut case = self.load(&mut round, &session.application).await?.ok_or_else(gone)?;
        round.unit.look(WHO, asked.act.name(), &case.id, round.now_ms).await?;
        self.settle(&mut round, &mut case).await?;
        self.end(round).await?;
        let id = session.application;
        let command = match &asked.act {
            Act::EnterCode { code } => match case.application.purpose() {
                Some(purpose) => Command::EnterCode { id, purpose, code: code.clone() },
                None => return refused(Refused::WrongState(case.application.state), &case.application),
            },
            _ => Command::SendCode { id, address: asked.address.map(|address| address.to_string()) },
        };
        let Some(client) = settings.clients.find(&case.application.creditor).cloned() else {
            return problem(Kind::NotFound, "the creditor is no client of this node any more");
        };
        self.done(settings, &Asked { client, language: asked.language, repeats: None, command }).await
    }

    async fn at_page(
        &self,
        settings: &Settings,
        page: &Page,
        asked: &PageAsked,
        act: &Act,
    ) -> Done<(u16, String)> {
        let mut round = Round::begin(&self.store, settings).await?;
        let (status, body) = self.act_of_page(&mut round, page, asked, act).await?;
        self.end(round).await?;
        Ok((status, body.to_string()))
    }

    /// Keeps what was done; what an operator has to be asked for that is asked later.
    async fn end(&self, round: Round<'_>) -> Done<()> {
        let Round { unit, question, .. } = round;
        unit.commit().await?;
        self.later.borrow_mut().extend(question);
        Ok(())
    }

    async fn act_of_page(
        &self,
        round: &mut Round<'_>,
        page: &Page,
        asked: &PageAsked,
        act: &Act,
    ) -> Done<(u16, Value)> {
        if let Act::Open { token } = act {
            return self.open_page(round, page, token).await;
        }
        let session = round.unit.session(&asked.session, round.now_ms).await?.ok_or_else(gone)?;
        let mut case = self.load(round, &session.application).await?.ok_or_else(gone)?;
        round.unit.look(WHO, act.name(), &case.id, round.now_ms).await?;
        self.settle(round, &mut case).await?;
        // Once more, behind whoever had the application before: of two answers at once one sees the other's.
        let session = round.unit.session(&asked.session, round.now_ms).await?.ok_or_else(gone)?;
        let mut more = Value::Null;
        let mut status = 200;
        match act {
            Act::Open { .. } | Act::See | Act::SendCode | Act::EnterCode { .. } => {}
            Act::Deny => {
                if case.application.state != State::Cancelled {
                    let event = case.application.deny();
                    let event = event.or_else(|fault| refused(fault, &case.application))?;
                    case.take(round.now_ms, event);
                }
            }
            Act::SetBan => self.set_ban_here(round, &mut case).await?,
            Act::SendBanCode => {
                self.send_ban_code(round, &case, &session, asked).await?;
                status = 202;
            }
            Act::LiftBan { code } => {
                if let Some(left) = self.lift_ban_here(round, &case, &session, code).await? {
                    return Ok(wrong_code(left));
                }
            }
            Act::BeginFace => {
                more = self.begin_face(round, &case, &session).await?;
                status = 201;
            }
            Act::FaceJudged { judgement, pictures } => {
                let event = case.application.judge_face(judgement.clone());
                let event = event.or_else(|fault| refused(fault, &case.application))?;
                case.take(round.now_ms, event);
                let keep_ms = round.settings.faces.as_ref().map_or(0, |faces| faces.keep_pictures_ms);
                for picture in pictures.iter().filter(|_| keep_ms > 0) {
                    round.unit.keep_picture(&case.id, picture, round.now_ms + keep_ms).await?;
                }
                more = json!(judgement.outcome.name());
            }
        }
        self.settle(round, &mut case).await?;
        let session = round.unit.session(&asked.session, round.now_ms).await?.ok_or_else(gone)?;
        let mut shown = self.shown_on_page(round, asked.language, &case, &session).await?;
        match act {
            Act::BeginFace => shown = more,
            Act::FaceJudged { .. } => shown["judged"] = more,
            _ => {}
        }
        Ok((status, shown))
    }

    async fn open_page(&self, round: &mut Round<'_>, page: &Page, token: &str) -> Done<(u16, Value)> {
        match round.unit.open_link(token, round.now_ms, page.session_ms).await? {
            Opened::Session { token, application, until_ms } => {
                let over = || Problem::new(Kind::LinkNotKnown, "the application is not kept any more");
                let mut case = self.load(round, &application).await?.ok_or_else(over)?;
                round.unit.look(WHO, "page-open", &application, round.now_ms).await?;
                self.settle(round, &mut case).await?;
                count(&self.counts.links_opened);
                let language = case.application.language.code();
                let until = view::time(until_ms);
                Ok((201, json!({"session": token, "until": until, "language": language})))
            }
            Opened::Used => {
                let what = "this link was opened before, or another was made since: ask the creditor for one";
                problem(Kind::LinkUsed, what)
            }
            Opened::Over => problem(
                Kind::LinkNotKnown,
                "this link is not known, or its time is over: ask the creditor for another",
            ),
        }
    }

    /// Sets a ban for the applicant. Whom a ban told before, it goes on telling.
    async fn set_ban_here(&self, round: &mut Round<'_>, case: &mut Case) -> Done<()> {
        let iin = case.applicant.iin.clone();
        let before = round.unit.ban(&iin).await?;
        let (ban, phone) = match before {
            Some((ban, told)) if ban.lifts_ms.is_none() => (ban, told.phone),
            Some((_, told)) if !told.phone.is_empty() => (Ban::set(round.now_ms), told.phone),
            _ => (Ban::set(round.now_ms), case.applicant.phone.clone()),
        };
        let applicant = Applicant::new(iin.clone(), phone.clone());
        round.unit.keep_ban(ban, &applicant, ("ban_set", WHO), round.now_ms).await?;
        if !phone.is_empty() {
            let text = round.settings.words(case.application.language).sms("ban-set", &[]);
            self.text(round, case, &phone, text, 24 * 3_600_000).await?;
        }
        self.settle(round, case).await?;
        self.settle_others(round, &iin).await
    }

    /// Sends the code that lifts a ban, to the phone the ban names.
    async fn send_ban_code(
        &self,
        round: &mut Round<'_>,
        case: &Case,
        session: &Session,
        asked: &PageAsked,
    ) -> Done<()> {
        let (settings, now_ms) = (round.settings, round.now_ms);
        let found = round.unit.ban(&case.applicant.iin).await?;
        let Some((_, told)) = found.filter(|(ban, _)| ban.is_in_force(now_ms) && ban.lifts_ms.is_none())
        else {
            return problem(Kind::WrongState, "no ban is in force that is not being lifted already");
        };
        if told.phone.is_empty() {
            return problem(Kind::WrongState, "the ban names no phone: lift it where it was set");
        }
        let address = asked.address.map(|address| address.to_string());
        let counted = Counted { phone: &told.phone, client: None, address: address.as_deref() };
        if let Some(rate) = round.count_code(&counted).await? {
            return problem(Kind::TooManyCodes, too_many(rate));
        }
        let code = new_code();
        let kept = code::hash(&settings.vault, &bound_to(session), &code);
        round.unit.keep_ban_code(session, Some((&kept, now_ms, 0))).await?;
        let limits = settings.rulebook.limits(now_ms);
        let (minutes, hours) = ((limits.code_s / 60).max(1).to_string(), limits.ban_lift_h.to_string());
        let places = [("code", code.as_str()), ("minutes", &minutes), ("hours", &hours)];
        let text = settings.words(case.application.language).sms("ban-lift", &places);
        count(&self.counts.codes_sent);
        self.text(round, case, &told.phone, text, i64::from(limits.code_s) * 1000).await
    }

    /// None: it was right, and the ban is being lifted; else how many tries are left.
    async fn lift_ban_here(
        &self,
        round: &mut Round<'_>,
        case: &Case,
        session: &Session,
        entered: &str,
    ) -> Done<Option<u32>> {
        let limits: &Limits = round.settings.rulebook.limits(round.now_ms);
        let open = session.ban_code.as_ref().filter(|(_, sent_ms, tries)| {
            *tries < i64::from(limits.code_tries) && round.now_ms < sent_ms + i64::from(limits.code_s) * 1000
        });
        let Some((kept, sent_ms, tries)) = open else {
            return problem(Kind::NoOpenCode, "no code is open for lifting the ban: send one first");
        };
        if !code::is_same(&round.settings.vault, &bound_to(session), entered, kept) {
            count(&self.counts.codes_wrong);
            round.unit.keep_ban_code(session, Some((kept, *sent_ms, tries + 1))).await?;
            return Ok(Some(limits.code_tries.saturating_sub(*tries as u32 + 1)));
        }
        round.unit.keep_ban_code(session, None).await?;
        let Some((ban, told)) = round.unit.ban(&case.applicant.iin).await? else {
            return problem(Kind::WrongState, "no ban is in force");
        };
        let ban = ban.lift(&round.settings.rulebook, round.now_ms);
        round.unit.keep_ban(ban, &told, ("ban_lift_asked", WHO), round.now_ms).await?;
        Ok(None)
    }

    async fn text(
        &self,
        round: &mut Round<'_>,
        case: &Case,
        phone: &str,
        text: String,
        for_ms: i64,
    ) -> Done<()> {
        let body = json!({"to": phone, "text": text}).to_string();
        let until_ms = round.now_ms + for_ms;
        Ok(round.unit.queue("sms", &case.application.creditor, &body, round.now_ms, until_ms).await?)
    }

    /// What the page shows: of the person no more than the last digits.
    async fn shown_on_page(
        &self,
        round: &mut Round<'_>,
        language: Language,
        case: &Case,
        session: &Session,
    ) -> Done<Value> {
        let (settings, now_ms) = (round.settings, round.now_ms);
        let Case { application, applicant, .. } = case;
        let limits = settings.rulebook.limits(application.opened_ms);
        let words = settings.words(language);
        let creditor = settings.clients.find(&application.creditor);
        let step = match application.purpose() {
            _ if application.state.is_end() => "end",
            Some(_) => "code",
            None if application.is_face_awaited() => "face",
            None => "wait",
        };
        let gates: Vec<Value> = application
            .gates
            .iter()
            .map(|answered| {
                let mut shown = view::gate(settings, Some(language), answered);
                shown["name"] = json!(words.gates.get(answered.gate.name()));
                shown
            })
            .collect();
        let open = application.code.as_ref().filter(|code| Some(code.purpose) == application.purpose());
        let code = open.map(|code| {
            let left_ms = |for_ms: i64| (code.sent_ms + for_ms - now_ms).max(0);
            json!({
                "tries_left": limits.code_tries.saturating_sub(code.mismatches),
                "valid_s": left_ms(i64::from(limits.code_s) * 1000) / 1000,
                "resend_s": left_ms(RESEND_MS) / 1000,
            })
        });
        let ban = round.unit.ban(&applicant.iin).await?;
        let mut shown_ban = view::ban(ban.as_ref().map(|(ban, _)| ban), now_ms);
        if let Some((_, told)) = ban {
            shown_ban["phone"] = json!(view::masked_phone(&told.phone));
        }
        shown_ban["lift_hours"] = json!(settings.rulebook.limits(now_ms).ban_lift_h);
        shown_ban["code_sent"] = json!(session.ban_code.is_some());
        let denied = case.events().iter().any(|(_, event)| *event == Event::ApplicationDenied);
        Ok(json!({
            "creditor": creditor.map_or(application.creditor.as_str(), |client| client.name.as_str()),
            "sum": application.sum.to_string(),
            "currency": settings.rulebook.currency,
            "term_days": application.term_days,
            "iin": view::masked_iin(&applicant.iin),
            "phone": view::masked_phone(&applicant.phone),
            "state": application.state.name(),
            "answer": view::answer(application),
            "denied": denied,
            "step": step,
            "consents_to": application.purpose().map(Purpose::name),
            "code": code,
            "face_tries_left": limits.face.tries.saturating_sub(application.face_failures),
            "gates": gates,
            "refused_by": application.refused_by.map(|(gate, _)| gate.name()),
            "cooling_until": application.cooling_until_ms.map(view::time),
            "ban": shown_ban,
            "session_until": view::time(session.until_ms),
        }))
    }

    /// A look at the face begins, where the gate waits for one.
    async fn begin_face(&self, round: &mut Round<'_>, case: &Case, session: &Session) -> Done<Value> {
        let Some(faces) = self.faces.as_ref() else {
            return problem(Kind::NotConfigured, "this node judges no faces: configure [loans.face]");
        };
        if !case.application.is_face_awaited() {
            let answered = case.application.gates.iter().find(|answered| answered.gate == Gate::LivingFace);
            let reason = answered.map_or("not-configured", |answered| answered.reason.name());
            return problem(Kind::WrongState, format!("no face is awaited: {reason}"));
        }
        let limits = round.settings.rulebook.limits(case.application.opened_ms);
        let scope = [format!("face {}", case.id)];
        let begun = round.unit.codes_since(&scope, case.application.opened_ms).await?;
        if begun >= limits.face.starts {
            let what = format!("the face was shown {begun} times: ask the creditor for another application");
            return problem(Kind::TooManyRequests, what);
        }
        round.unit.code_sent(&scope[0], round.now_ms).await?;
        let reference = match faces.model() {
            Some(model) => round.unit.reference(&case.applicant.iin, model).await?,
            None => None,
        };
        Ok(faces.begin(&session.token, &case.applicant.iin, reference)?)
    }
}

fn gone() -> Problem {
    Problem::new(Kind::NoSession, "the session is over: ask the creditor for another link")
}

/// What the code that lifts a ban is bound to.
fn bound_to(session: &Session) -> String {
    format!("{} ban", session.token)
}

/// The wrong try is kept, so this is no fault that undoes it.
fn wrong_code(left: u32) -> (u16, Value) {
    let told = Problem::new(Kind::WrongCode, format!("{left} tries are left for this code")).to_json();
    let mut told: Value = serde_json::from_slice(&told).expect("our own JSON");
    told["tries_left"] = json!(left);
    (Kind::WrongCode.status(), told)
}
