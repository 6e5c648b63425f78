//! The table of rules of a loan, row by row: expectations are sums in MCI and hours as the law says them.

use lending::{
    Answer, Application, Asked, Ban, Change, Changes, Circumstances, Confirmed, CreditorClass, Event,
    FaceJudgement, FaceOutcome, FaceReady, Gate, Kind, Other, Purpose, Reason, Rulebook, State, Sum,
    SuspectCall,
};
use rules::Language;

const KZ: &str = include_str!("../../rulebook/loans/kz.toml");
const HOUR: i64 = 3_600_000;
/// 2025-06-10 12:00 in Kazakhstan, where one MCI is 3,932 tenge.
const NOON: i64 = 1_749_538_800_000;
const MCI: i64 = 3932 * 100;

fn rulebook() -> Rulebook {
    Rulebook::parse(KZ).unwrap()
}

fn opened(class: CreditorClass, kind: Kind, hundredths: i64, at_ms: i64) -> Application {
    let event = Event::ApplicationOpened {
        creditor: "own".to_owned(),
        class,
        kind,
        is_online: true,
        sum: Sum::of_hundredths(hundredths),
        term_days: 365,
        language: Language::Kk,
    };
    Application::open(at_ms, &event).unwrap()
}

fn around(rulebook: &Rulebook) -> Circumstances<'_> {
    Circumstances {
        rulebook,
        asked: Asked::default(),
        ban: None,
        changes: Changes::new(),
        phone_unknown_ms: None,
        suspect_call: SuspectCall::None,
        confirmed: Confirmed::No,
        face: FaceReady::NotConfigured,
        others: Vec::new(),
    }
}

fn other(creditor: &str, opened_ms: i64, hundredths: i64) -> Other {
    Other { creditor: creditor.to_owned(), opened_ms, sum: Sum::of_hundredths(hundredths), counts: true }
}

/// Confirms and gives for how many hours the loan cools; 0: it is approved at once.
#[track_caller]
fn cools(mut application: Application, around: &Circumstances) -> i64 {
    let now_ms = application.opened_ms + 60_000;
    application.settle(around, now_ms);
    application.apply(now_ms, &Event::PhoneConfirmed);
    application.settle(around, now_ms);
    match application.state {
        State::Approved => 0,
        State::Cooling => (application.cooling_until_ms.unwrap() - now_ms) / HOUR,
        state => panic!("{state:?} {:?}", application.gates),
    }
}

#[test]
fn cooling_off_begins_and_ends_at_the_laws_multiples() {
    let rulebook = rulebook();
    let around = around(&rulebook);
    use CreditorClass::{Bank, Microfinance};
    for (class, hundredths, hours) in [
        (Bank, 150 * MCI - 1, 0),
        (Bank, 150 * MCI, 8),
        (Bank, 255 * MCI, 8),
        (Bank, 255 * MCI + 1, 24),
        (Bank, 10_000 * MCI, 24),
        (Microfinance, 75 * MCI - 1, 0),
        (Microfinance, 75 * MCI, 0),
        (Microfinance, 75 * MCI + 1, 24),
        (Microfinance, 150 * MCI, 24),
    ] {
        let application = opened(class, Kind::Unsecured, hundredths, NOON);
        assert_eq!(cools(application, &around), hours, "{class:?} {hundredths}");
    }
}

#[test]
fn a_phone_that_the_operator_has_not_spoken_of_waits_and_a_known_change_says_more() {
    let rulebook = rulebook();
    let mut around = Circumstances {
        asked: Asked { phone_freshness: true, ..Asked::default() },
        phone_unknown_ms: Some(NOON + 5_000),
        ..around(&rulebook)
    };
    let application = opened(CreditorClass::Bank, Kind::Unsecured, MCI, NOON);
    let answered = |around: &Circumstances| {
        let all = lending::ask(&application, around, NOON);
        let one = all.into_iter().find(|answered| answered.gate == Gate::PhoneFreshness).unwrap();
        (one.answer, one.reason, one.until_ms)
    };
    assert_eq!(answered(&around), (Answer::Wait, Reason::PhoneNotKnown, Some(NOON + 5_000)));
    around.changes.insert(Change::SimSwapped, NOON - HOUR);
    assert_eq!(answered(&around), (Answer::Wait, Reason::SimSwapped, Some(NOON + 71 * HOUR)));
    around.changes.insert(Change::Forwarded, NOON - HOUR);
    assert_eq!(answered(&around).1, Reason::CallsForwarded);
    around.asked.phone_freshness = false;
    assert_eq!(answered(&around).0, Answer::NotAsked);
}

#[test]
fn exempt_loans_do_not_cool() {
    let rulebook = rulebook();
    let around = around(&rulebook);
    for (kind, hundredths, hours) in [
        (Kind::Goods, 1000 * MCI, 0),
        (Kind::Refinancing, 1000 * MCI, 0),
        (Kind::Secured, 1000 * MCI, 0),
        (Kind::CardLimit, 150 * MCI, 0),
        (Kind::CardLimit, 150 * MCI + 1, 8),
        (Kind::CardLimit, 300 * MCI, 24),
    ] {
        assert_eq!(cools(opened(CreditorClass::Bank, kind, hundredths, NOON), &around), hours, "{kind:?}");
    }
    let mut branch = opened(CreditorClass::Bank, Kind::Unsecured, 300 * MCI, NOON);
    branch.is_online = false;
    assert_eq!(cools(branch, &around), 0);
}

#[test]
fn the_loans_of_one_local_day_are_summed() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    let bank = |hundredths| opened(CreditorClass::Bank, Kind::Unsecured, hundredths, NOON);
    around.others = vec![other("second", NOON - HOUR, 100 * MCI)];
    assert_eq!(cools(bank(50 * MCI - 1), &around), 0);
    assert_eq!(cools(bank(50 * MCI), &around), 8);
    assert_eq!(cools(bank(155 * MCI + 1), &around), 24);
    // Midnight in Kazakhstan was 12 hours before; a moment earlier is another day.
    around.others[0].opened_ms = NOON - 12 * HOUR;
    assert_eq!(cools(bank(50 * MCI), &around), 8);
    around.others[0].opened_ms -= 1;
    assert_eq!(cools(bank(50 * MCI), &around), 0);
    around.others = vec![Other { counts: false, ..other("second", NOON, 300 * MCI) }];
    assert_eq!(cools(bank(50 * MCI), &around), 0);
}

#[test]
fn one_mci_is_that_of_the_year() {
    let rulebook = rulebook();
    let around = around(&rulebook);
    // 2026-01-01 00:00 in Kazakhstan, UTC+5.
    let new_year = 1_767_207_600_000;
    let sum = 150 * MCI;
    let at = |at_ms| cools(opened(CreditorClass::Bank, Kind::Unsecured, sum, at_ms), &around);
    assert_eq!(at(new_year - 1), 8);
    assert_eq!(at(new_year), 0);
    assert_eq!(rulebook.mci(NOON).to_string(), "3932.00");
}

#[track_caller]
fn answer(application: &Application, around: &Circumstances, now_ms: i64, gate: Gate) -> (Answer, Reason) {
    let answers = lending::ask(application, around, now_ms);
    let found = answers.iter().find(|answered| answered.gate == gate).unwrap();
    (found.answer, found.reason)
}

#[test]
fn a_ban_refuses_at_once_and_is_lifted_later() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    let mut application = opened(CreditorClass::Bank, Kind::Goods, MCI, NOON);
    around.ban = Some(Ban::set(NOON));
    let events = application.settle(&around, NOON);
    assert_eq!(application.state, State::Refused);
    let last = &events.last().unwrap().1;
    assert_eq!(*last, Event::LoanRefused { gate: Gate::SelfBan, reason: Reason::BanInForce });
    let lifting = Ban::set(NOON).lift(&rulebook, NOON + HOUR);
    assert!(lifting.is_in_force(NOON + HOUR) && lifting.is_in_force(NOON + 25 * HOUR - 1));
    assert!(!lifting.is_in_force(NOON + 25 * HOUR));
    // Asked twice, the first time counts.
    assert_eq!(lifting.lift(&rulebook, NOON + 9 * HOUR), lifting);
}

#[test]
fn a_call_with_a_suspect_waits_for_half_an_hour() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    let application = opened(CreditorClass::Bank, Kind::Goods, MCI, NOON);
    let mut asked = |call, now_ms| {
        around.suspect_call = call;
        answer(&application, &around, now_ms, Gate::SuspiciousCall)
    };
    let minute = 60_000;
    assert_eq!(asked(SuspectCall::None, NOON), (Answer::Pass, Reason::NoSuspiciousCall));
    assert_eq!(asked(SuspectCall::At(NOON), NOON), (Answer::Wait, Reason::CallWithSuspect));
    assert_eq!(asked(SuspectCall::At(NOON), NOON + 30 * minute - 1), (Answer::Wait, Reason::CallWithSuspect));
    assert_eq!(asked(SuspectCall::At(NOON), NOON + 30 * minute), (Answer::Pass, Reason::NoSuspiciousCall));
    assert_eq!(asked(SuspectCall::Unknown, NOON), (Answer::Wait, Reason::CallsNotKnown));
}

#[test]
fn a_changed_phone_waits_or_refuses_where_it_is_asked() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    let application = opened(CreditorClass::Bank, Kind::Goods, MCI, NOON);
    around.changes = Changes::from([(Change::SimSwapped, NOON - HOUR)]);
    let ask = |around: &Circumstances| answer(&application, around, NOON, Gate::PhoneFreshness);
    assert_eq!(ask(&around), (Answer::NotAsked, Reason::NotConfigured));
    around.asked.phone_freshness = true;
    assert_eq!(ask(&around), (Answer::Wait, Reason::SimSwapped));
    around.changes.insert(Change::Forwarded, NOON - 23 * HOUR);
    assert_eq!(ask(&around), (Answer::Refuse, Reason::CallsForwarded));
    around.changes =
        Changes::from([(Change::Ported, NOON - 72 * HOUR), (Change::Forwarded, NOON - 24 * HOUR)]);
    assert_eq!(ask(&around), (Answer::Pass, Reason::PhoneUnchanged));
}

#[test]
fn a_face_that_is_required_and_cannot_be_asked_waits() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    let mut application = opened(CreditorClass::Bank, Kind::Goods, MCI, NOON);
    assert_eq!(
        answer(&application, &around, NOON, Gate::LivingFace),
        (Answer::NotAsked, Reason::NotConfigured)
    );
    around.asked.living_face = true;
    assert_eq!(answer(&application, &around, NOON, Gate::LivingFace), (Answer::Wait, Reason::NotConfigured));
    application.apply(NOON, &Event::PhoneConfirmed);
    application.settle(&around, NOON + 1);
    assert_eq!(application.state, State::Confirming, "it never passes by itself");
}

#[test]
fn many_creditors_within_a_day_wait() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    let application = opened(CreditorClass::Bank, Kind::Goods, MCI, NOON);
    around.others =
        vec![other("a", NOON - 20 * HOUR, MCI), other("a", NOON - HOUR, MCI), other("own", NOON - HOUR, MCI)];
    let ask =
        |around: &Circumstances, now_ms| answer(&application, around, now_ms, Gate::SeveralApplications);
    assert_eq!(ask(&around, NOON), (Answer::Pass, Reason::FewCreditors));
    around.others.push(other("b", NOON - 10 * HOUR, MCI));
    assert_eq!(ask(&around, NOON), (Answer::Wait, Reason::ManyCreditors));
    let answers = lending::ask(&application, &around, NOON);
    let waits = answers.iter().find(|answered| answered.gate == Gate::SeveralApplications).unwrap();
    assert_eq!(waits.until_ms, Some(NOON + 14 * HOUR));
    assert_eq!(ask(&around, NOON + 14 * HOUR - 1).0, Answer::Wait);
    assert_eq!(ask(&around, NOON + 14 * HOUR).0, Answer::Pass);
}

#[test]
fn codes_end_by_time_by_tries_and_by_number() {
    let rulebook = rulebook();
    let around = around(&rulebook);
    let limits = rulebook.limits(NOON);
    let mut application = opened(CreditorClass::Bank, Kind::Goods, MCI, NOON);
    application.settle(&around, NOON);
    for n in 0..5 {
        let sent_ms = NOON + n * 1000;
        let sent = application.send_code(format!("hash {n}"), limits).unwrap();
        application.apply(sent_ms, &sent);
        let open = |application: &Application, now_ms| {
            application.open_code(Purpose::Confirm, limits, now_ms).map(|code| code.hash.clone())
        };
        assert_eq!(open(&application, sent_ms + 180_000 - 1), Ok(format!("hash {n}")));
        assert_eq!(open(&application, sent_ms + 180_000), Err(lending::Fault::NoCode));
        for _ in 0..3 {
            assert!(open(&application, sent_ms).is_ok());
            application.apply(sent_ms, &application.enter_code(Purpose::Confirm, false));
        }
        assert_eq!(open(&application, sent_ms), Err(lending::Fault::NoCode));
        assert_eq!(
            application.open_code(Purpose::Consent, limits, sent_ms),
            Err(lending::Fault::WrongState(State::Confirming))
        );
    }
    assert_eq!(application.send_code("sixth".to_owned(), limits), Err(lending::Fault::CodesUsedUp));
    application.settle(&around, NOON + 6000);
    assert_eq!(application.refused_by, Some((Gate::PhonePossession, Reason::CodesUsedUp)));
}

#[test]
fn what_is_a_fraudsters_waits_until_investigators_take_it_back() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    let limits = rulebook.limits(NOON);
    let goods = || opened(CreditorClass::Bank, Kind::Goods, 100, NOON);
    let asked = |around: &Circumstances| answer(&goods(), around, NOON, Gate::ConfirmedIdentifier);
    around.confirmed = Confirmed::NoRegister;
    assert_eq!(asked(&around).0, Answer::NotAsked);
    for (confirmed, told, reason) in [
        (Confirmed::Yes, Answer::Wait, Reason::FraudstersIdentifier),
        (Confirmed::Unknown, Answer::Wait, Reason::IdentifiersNotKnown),
        (Confirmed::No, Answer::Pass, Reason::NoFraudstersIdentifier),
    ] {
        around.confirmed = confirmed;
        assert_eq!(asked(&around), (told, reason));
    }
    // The consent is given, the money waits; nothing more is written down while it does, and a word frees it.
    let mut application = goods();
    around.confirmed = Confirmed::Yes;
    application.apply(NOON, &Event::PhoneConfirmed);
    application.settle(&around, NOON);
    assert_eq!(
        (application.state, application.due_ms(limits, NOON)),
        (State::Confirming, Some(NOON + 15_000))
    );
    assert_eq!(application.settle(&around, NOON + 15_000), []);
    around.confirmed = Confirmed::No;
    application.settle(&around, NOON + 30_000);
    assert_eq!(application.state, State::Approved);
}

/// From opening to money, through a suspicious call, cooling-off and the second consent; and again from its events.
#[test]
fn a_loan_goes_its_way_and_its_events_tell_it() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    let limits = rulebook.limits(NOON);
    let first = Event::ApplicationOpened {
        creditor: "own".to_owned(),
        class: CreditorClass::Bank,
        kind: Kind::Unsecured,
        is_online: true,
        sum: Sum::of_hundredths(200 * MCI),
        term_days: 365,
        language: Language::Ru,
    };
    let mut application = Application::open(NOON, &first).unwrap();
    let mut events = vec![(NOON, first)];
    events.extend(application.settle(&around, NOON));
    assert_eq!(application.purpose(), Some(Purpose::Confirm));
    around.suspect_call = SuspectCall::At(NOON);
    application.apply(NOON + 1000, &Event::PhoneConfirmed);
    events.push((NOON + 1000, Event::PhoneConfirmed));
    events.extend(application.settle(&around, NOON + 1000));
    assert_eq!(application.state, State::Confirming);
    assert_eq!(
        application.due_ms(limits, NOON + 1000),
        Some(NOON + HOUR / 2),
        "asked again when the wait ends"
    );
    events.extend(application.settle(&around, NOON + HOUR / 2));
    assert_eq!(application.state, State::Cooling);
    assert_eq!(application.due_ms(limits, NOON + HOUR / 2), Some(NOON + HOUR / 2 + 8 * HOUR));
    assert_eq!(application.purpose(), None, "no second consent before it has cooled");
    let mut void = application.clone();
    events.extend(application.settle(&around, NOON + 9 * HOUR));
    assert_eq!(application.state, State::Consenting);
    application.apply(NOON + 9 * HOUR, &Event::SecondConsentGiven);
    events.push((NOON + 9 * HOUR, Event::SecondConsentGiven));
    events.extend(application.settle(&around, NOON + 9 * HOUR));
    assert_eq!(application.state, State::Approved);
    assert_eq!(application.cancel(), Err(lending::Fault::WrongState(State::Approved)));
    // Without the second consent the contract is void, at its time however late somebody looks.
    void.settle(&around, NOON + 1000 * HOUR);
    assert_eq!((void.state, void.ended_ms), (State::Void, Some(NOON + HOUR / 2 + 80 * HOUR)));
    // The events, written and read, make the same.
    let text = serde_json::to_string(&events).unwrap();
    let again: Vec<(i64, Event)> = serde_json::from_str(&text).unwrap();
    assert_eq!(Application::of(again.iter().map(|(at_ms, event)| (*at_ms, event))), Some(application));
}

#[test]
fn nobody_confirms_and_it_expires() {
    let rulebook = rulebook();
    let around = around(&rulebook);
    let mut application = opened(CreditorClass::Bank, Kind::Goods, MCI, NOON);
    application.settle(&around, NOON + 24 * HOUR - 1);
    assert_eq!(application.state, State::Confirming);
    application.settle(&around, NOON + 24 * HOUR);
    assert_eq!(application.state, State::Expired);
    assert_eq!(application.cancel(), Err(lending::Fault::WrongState(State::Expired)));
}

fn judgement(outcome: FaceOutcome) -> FaceJudgement {
    FaceJudgement {
        outcome,
        similarity: Some(700),
        alive: Some(900),
        judged_by: "local".to_owned(),
        versions: vec!["detector 1".to_owned()],
        thresholds: [("similarity".to_owned(), 500)].into(),
        commands: vec!["turn-left".to_owned(), "smile".to_owned(), "blink".to_owned()],
        pictures: 30,
    }
}

/// Three failed tries refuse; a look at which nothing could be seen is none; a match passes and stays.
#[test]
fn a_face_is_matched_or_its_tries_are_used_up() {
    let rulebook = rulebook();
    let mut around = around(&rulebook);
    around.asked.living_face = true;
    let fresh = || opened(CreditorClass::Bank, Kind::Goods, MCI, NOON);
    let said = |application: &Application| {
        let answered = application.gates.iter().find(|answered| answered.gate == Gate::LivingFace).unwrap();
        (answered.answer, answered.reason)
    };

    let mut early = fresh();
    early.settle(&around, NOON);
    assert!(early.judge_face(judgement(FaceOutcome::Matched)).is_err(), "the phone comes first");

    let confirmed = |around: &Circumstances| {
        let mut application = fresh();
        application.settle(around, NOON);
        application.apply(NOON, &Event::PhoneConfirmed);
        application.settle(around, NOON);
        application
    };
    for (face, reason) in [
        (FaceReady::NotConfigured, Reason::NotConfigured),
        (FaceReady::NoReference, Reason::NoReferencePhoto),
    ] {
        around.face = face;
        let application = confirmed(&around);
        assert_eq!(said(&application), (Answer::Wait, reason));
        assert!(application.judge_face(judgement(FaceOutcome::Matched)).is_err());
    }
    around.face = FaceReady::Ready;
    let mut application = confirmed(&around);
    assert_eq!(said(&application), (Answer::Wait, Reason::FaceNotShown));
    let mut take = |outcome| {
        let event = application.judge_face(judgement(outcome)).unwrap();
        application.apply(NOON, &event);
        application.settle(&around, NOON);
        (application.state, said(&application))
    };
    let waits = (State::Confirming, (Answer::Wait, Reason::FaceNotShown));
    for outcome in [FaceOutcome::NotTheSame, FaceOutcome::TooLittle, FaceOutcome::CommandMissed] {
        assert_eq!(take(outcome), waits);
    }
    assert_eq!(
        take(FaceOutcome::NotAlive),
        (State::Refused, (Answer::Refuse, Reason::FaceTriesUsedUp)),
        "the third failed try"
    );

    let mut application = confirmed(&around);
    let event = application.judge_face(judgement(FaceOutcome::Matched)).unwrap();
    let kept = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<Event>(&kept).unwrap(), event);
    application.apply(NOON, &event);
    around.face = FaceReady::NoReference;
    application.settle(&around, NOON);
    assert_eq!(
        (application.state, said(&application)),
        (State::Approved, (Answer::Pass, Reason::FaceMatched))
    );
}
