//! Letters as docs/exchange.md describes them: every bound, every name, and nothing that comes from outside breaks reading.

use exchange::{
    Answer, Capabilities, Check, Fault, IngressClass, Initiated, Letter, Method, Question, Registration,
    RoamingCheck, Role, Status, WhyUnknown, WireNumber,
};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_MS: i64 = 1_795_000_000_000;

fn register() -> Value {
    json!({"kind": "register", "id": "g1", "role": "originating", "calling": "77272501234",
           "called": "77012345678", "time_ms": NOW_MS, "trunk": "south", "ttl_s": 60})
}

fn check() -> Value {
    json!({"kind": "check", "id": "c1", "role": "terminating", "calling": "77272501234", "called": "77012345678",
           "seen_ms": NOW_MS, "ingress": "national", "deadline_ms": 200})
}

fn roaming() -> Value {
    json!({"kind": "roaming", "id": "r1", "calling": "77012345678", "deadline_ms": 200, "ingress": "north"})
}

fn judged(mut question: Value, field: &str, value: impl Into<Value>) -> Result<(), Fault> {
    question[field] = value.into();
    let read: Question = serde_json::from_value(question).expect("of the right type");
    read.check(NOW_MS)
}

#[test]
fn the_examples_of_the_document_are_read_and_written_as_they_stand() {
    for (text, questions) in [
        (include_str!("vectors/questions.json"), true),
        (include_str!("vectors/registrations.json"), true),
        (include_str!("vectors/answers.json"), false),
        (include_str!("vectors/accepted.json"), false),
    ] {
        let written = if questions {
            let letter: Letter<Question> = serde_json::from_str(text).unwrap();
            assert!(letter.items.iter().all(|item| item.check(NOW_MS) == Ok(())));
            letter.to_json()
        } else {
            serde_json::from_str::<Letter<Answer>>(text).unwrap().to_json()
        };
        assert_eq!(String::from_utf8(written).unwrap(), text.trim_end());
    }
}

#[test]
fn ids_and_names_have_1_to_64_bytes() {
    for (question, field) in [
        (register(), "id"),
        (register(), "trunk"),
        (check(), "id"),
        (roaming(), "id"),
        (roaming(), "ingress"),
    ] {
        assert_eq!(judged(question.clone(), field, ""), Err(Fault::BadName), "{field}");
        assert_eq!(judged(question.clone(), field, "x".repeat(65)), Err(Fault::BadName), "{field}");
        assert_eq!(judged(question.clone(), field, "x"), Ok(()), "{field}");
        assert_eq!(judged(question.clone(), field, "x".repeat(64)), Ok(()), "{field}");
        assert_eq!(judged(question, field, "щ".repeat(33)), Err(Fault::BadName), "{field}: 66 bytes");
    }
}

#[test]
fn numbers_are_7_to_15_digits_or_a_token() {
    let fields = [
        (register(), "calling"),
        (register(), "called"),
        (register(), "presentation"),
        (register(), "redirecting"),
        (check(), "calling"),
        (check(), "called"),
        (check(), "redirecting"),
    ];
    let token = format!("~{}", "aZ0-_".repeat(5));
    for (question, field) in fields {
        for good in ["1234567", "123456789012345", &token[..23]] {
            assert_eq!(judged(question.clone(), field, good), Ok(()), "{field} {good}");
        }
        for bad in [
            "",
            "123456",
            "1234567890123456",
            "+77012345678",
            "07012345678",
            "7701234567a",
            "7701 2345678",
            "７７０１２３４５６７８",
            "~",
            &token[..22],
            &token[..24],
            "~aaaaaaaaaaaaaaaaaaaa+/",
            "~aaaaaaaaaaaaaaaaaaaa==",
        ] {
            assert_eq!(judged(question.clone(), field, bad), Err(Fault::BadNumber), "{field} {bad}");
        }
    }
    assert_eq!(judged(roaming(), "calling", "12"), Err(Fault::BadNumber));
    assert_eq!(
        judged(roaming(), "calling", &token[..23]),
        Err(Fault::NotThisForm),
        "roaming is asked in clear"
    );
}

#[test]
fn a_ttl_is_30_to_180_s_and_a_deadline_1_to_1000_ms() {
    for (ttl, told) in [(29, Err(Fault::BadTtl)), (30, Ok(())), (180, Ok(())), (181, Err(Fault::BadTtl))] {
        assert_eq!(judged(register(), "ttl_s", ttl), told, "{ttl}");
    }
    for question in [check(), roaming()] {
        for (ms, told) in
            [(0, Err(Fault::BadDeadline)), (1, Ok(())), (1000, Ok(())), (1001, Err(Fault::BadDeadline))]
        {
            assert_eq!(judged(question.clone(), "deadline_ms", ms), told, "{ms}");
        }
    }
}

#[test]
fn a_call_is_within_180_s_of_the_readers_clock() {
    for (question, field) in [(register(), "time_ms"), (check(), "seen_ms")] {
        for off in [-180_000, 180_000] {
            assert_eq!(judged(question.clone(), field, NOW_MS + off), Ok(()), "{off}");
            assert_eq!(
                judged(question.clone(), field, NOW_MS + off + off.signum()),
                Err(Fault::BadTime),
                "{off}"
            );
        }
        for absurd in [i64::MIN, i64::MAX] {
            assert_eq!(judged(question.clone(), field, absurd), Err(Fault::BadTime));
        }
    }
}

#[test]
fn an_unknown_kind_is_refused_alone_and_unknown_fields_refuse_the_letter() {
    let letter = |items: Value| {
        let head = json!({"version": 1, "iss": "a", "aud": "b", "iat_ms": 0, "jti": "j", "items": items});
        serde_json::from_value::<Letter<Question>>(head)
    };
    let read = letter(json!([{"kind": "weather", "id": "w", "where": ["x"]}, check()])).unwrap();
    assert_eq!(read.items[0].check(NOW_MS), Err(Fault::NotSupported));
    assert_eq!(read.items[1].check(NOW_MS), Ok(()));
    for mut question in [register(), check(), roaming()] {
        question["also"] = json!(1);
        assert!(letter(json!([question])).is_err());
        for field in question.clone().as_object().unwrap().keys().filter(|field| *field != "also") {
            let mut without = question.clone();
            without.as_object_mut().unwrap().remove("also");
            without.as_object_mut().unwrap().remove(field);
            assert!(letter(json!([without])).is_err(), "{field}");
        }
    }
    let twice = r#"{"version":1,"iss":"a","aud":"b","iat_ms":0,"jti":"j","jti":"k","items":[]}"#;
    assert!(serde_json::from_str::<Letter<Question>>(twice).is_err());
}

#[test]
fn faults_travel_by_their_names() {
    for fault in Fault::ALL {
        assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
    }
    let capabilities = Capabilities { roaming_check: true, ..Capabilities::default() };
    assert_eq!(
        serde_json::to_value(Answer::Capabilities(capabilities)).unwrap(),
        json!({"kind": "capabilities", "roaming-check": true, "initiation-check": false,
               "no-outbound-voice-roaming": false})
    );
}

#[test]
fn debug_shows_no_whole_number() {
    for question in [register(), check(), roaming()] {
        let shown = format!("{:?}", serde_json::from_value::<Question>(question).unwrap());
        assert!(!shown.contains("77272501234") && !shown.contains("77012345678"), "{shown}");
    }
    let shown = format!("{:?}", WireNumber("~S3oGOiOVOxEmc5Soi1AfMA".into()));
    assert!(!shown.contains("S3oG"), "{shown}");
}

fn wire() -> impl Strategy<Value = WireNumber> {
    prop_oneof!["[1-9][0-9]{6,14}", "~[A-Za-z0-9_-]{22}"].prop_map(WireNumber)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Originating), Just(Role::Transit), Just(Role::Terminating)]
}

fn question() -> impl Strategy<Value = Question> {
    let ingress = prop_oneof![
        Just(IngressClass::International),
        Just(IngressClass::InternationalDedicated),
        Just(IngressClass::National),
        Just(IngressClass::Access),
        Just(IngressClass::Transit)
    ];
    let registration =
        (".{0,70}", role(), wire(), option::of(wire()), wire(), option::of(wire()), any::<i64>(), 0u32..200)
            .prop_map(|(id, role, calling, presentation, called, redirecting, time_ms, ttl_s)| {
                let trunk = "t".to_owned();
                Question::Register(Registration {
                    id,
                    role,
                    calling,
                    presentation,
                    called,
                    redirecting,
                    time_ms,
                    trunk,
                    ttl_s,
                })
            });
    let check = (".{0,70}", role(), wire(), wire(), option::of(wire()), any::<i64>(), ingress, any::<u32>())
        .prop_map(|(id, role, calling, called, redirecting, seen_ms, ingress, deadline_ms)| {
            Question::Check(Check { id, role, calling, called, redirecting, seen_ms, ingress, deadline_ms })
        });
    let roaming =
        (".{0,70}", wire(), any::<u32>(), ".{0,70}").prop_map(|(id, calling, deadline_ms, ingress)| {
            Question::Roaming(RoamingCheck { id, calling, deadline_ms, ingress })
        });
    prop_oneof![registration, check, roaming, Just(Question::Capabilities)]
}

fn answer() -> impl Strategy<Value = Answer> {
    let why = || {
        option::of(prop_oneof![
            Just(WhyUnknown::Timeout),
            Just(WhyUnknown::NoSource),
            Just(WhyUnknown::SourceFailed),
            Just(WhyUnknown::NotRegistered),
            Just(WhyUnknown::JustStarted)
        ])
    };
    let initiated = prop_oneof![
        Just(Initiated::Initiated),
        Just(Initiated::NotInitiated),
        Just(Initiated::NotSupported),
        Just(Initiated::Unknown)
    ];
    let status = prop_oneof![
        Just(Status::Roaming),
        Just(Status::NotRoaming),
        Just(Status::NotAssigned),
        Just(Status::Unknown)
    ];
    let method = prop_oneof![
        Just(Method::Hlr),
        Just(Method::Camel),
        Just(Method::Ims),
        Just(Method::Camara),
        Just(Method::Feed),
        Just(Method::Cache)
    ];
    prop_oneof![
        ".{0,9}".prop_map(|id| Answer::Accepted { id }),
        (".{0,9}", initiated, why(), option::of(any::<u32>()))
            .prop_map(|(id, result, reason, age_ms)| Answer::Initiation { id, result, reason, age_ms }),
        (".{0,9}", status, why(), option::of(any::<u64>()), option::of("[A-Z]{2}"), option::of(method))
            .prop_map(|(id, result, reason, age_ms, visited, method)| Answer::Roaming {
                id,
                result,
                reason,
                age_ms,
                visited,
                method
            }),
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(a, b, c)| Answer::Capabilities(
            Capabilities { roaming_check: a, initiation_check: b, no_outbound_voice_roaming: c }
        )),
        (".{0,9}", prop::sample::select(&Fault::ALL[..]))
            .prop_map(|(id, fault)| Answer::Refused { id, fault }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        questions in prop::collection::vec(question(), 0..5),
        answers in prop::collection::vec(answer(), 0..5),
        jti in ".{0,70}",
        iat_ms in any::<i64>(),
    ) {
        let letter = Letter::new("north", "south", iat_ms, jti.clone(), questions);
        prop_assert_eq!(serde_json::from_slice::<Letter<Question>>(&letter.to_json()).unwrap(), letter);
        let letter = Letter { re: Some(jti), ..Letter::new("north", "south", iat_ms, "j".into(), answers) };
        prop_assert_eq!(serde_json::from_slice::<Letter<Answer>>(&letter.to_json()).unwrap(), letter);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        place in 0usize..900,
        other in any::<u8>(),
    ) {
        let _ = serde_json::from_slice::<Letter<Question>>(&bytes);
        // One byte of a sound letter is another, or it ends early. The line end after it is no part of it.
        let mut letter = include_bytes!("vectors/questions.json").trim_ascii_end().to_vec();
        let place = place % letter.len();
        if let Ok(cut) = serde_json::from_slice::<Letter<Question>>(&letter[..place]) {
            prop_assert!(false, "half a letter: {:?}", cut);
        }
        letter[place] = other;
        if let Ok(letter) = serde_json::from_slice::<Letter<Question>>(&letter) {
            for item in &letter.items {
                let _ = (item.id(), item.check(NOW_MS), format!("{item:?}"));
            }
        }
    }
}
