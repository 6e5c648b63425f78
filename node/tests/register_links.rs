//! Links and groups of the register: why two facts belong together, what a person cut or confirmed, and a gang in 20,000 facts.

use crate::rig;

use std::time::Instant;

use rig::postgres::on_each_store;
use rig::register::Register;
use serde_json::{Value, json};

const HEAD: &str = "number,type,when,unit,damage,phone,card\n";

fn card(n: usize) -> String {
    let body = format!("411111{n:09}");
    let is_luhn = |text: &str| {
        let digit = |(n, byte): (usize, u8)| {
            let twice = u32::from(byte - b'0') << (n % 2);
            if twice > 9 { twice - 9 } else { twice }
        };
        text.bytes().rev().enumerate().map(digit).sum::<u32>() % 10 == 0
    };
    (0..10).map(|check| format!("{body}{check}")).find(|card| is_luhn(card)).unwrap()
}

/// A fact of a unit with its phones and cards.
fn fact(number: &str, unit: &str, phones: &str, card: &str) -> String {
    format!("{number},bank-call,2023-11-15,{unit},1000,{phones},{card}\n")
}

#[track_caller]
fn import(register: &Register, rows: &str) {
    let answer = register.import("chief", "", &format!("{HEAD}{rows}"));
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[track_caller]
fn id(register: &Register, number: &str) -> i64 {
    register.found("chief", json!({"number": number}))[0]["id"].as_i64().unwrap()
}

/// Numbers of the facts that a fact is linked to.
#[track_caller]
fn linked(register: &Register, who: &str, fact: i64) -> Vec<String> {
    let answer = register.get(who, &format!("facts/{fact}/links"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let links = answer.json()["links"].clone();
    let number = |link: &Value| link["fact"]["number"].as_str().unwrap_or("a person").to_owned();
    let mut numbers: Vec<String> = links.as_array().unwrap().iter().map(number).collect();
    numbers.sort();
    numbers
}

#[track_caller]
fn groups(register: &Register, who: &str) -> Value {
    let answer = register.get(who, "groups");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn links_say_why_and_what_is_cut_stays_cut() {
    on_each_store(|postgres| {
        // A hotline that was said to be public, however it is written, links nobody.
        let mut register = Register::with_public(postgres, "8 (7272) 99-99-99\nweb bank.example\n");
        let rows = [
            fact("1", "almaty", "+77272999999", &card(1)),
            fact("2", "almaty", "+77272999999;8 701 555 00 01", &card(1)),
            fact("3", "almaty", "+77272999999;+77015550001", ""),
            fact("4", "almaty", "+77272999999", ""),
            // Another unit's, by the same card.
            fact("5", "astana", "", &card(1)),
        ];
        import(&register, &rows.concat());
        let ids: Vec<i64> = (1..=5).map(|n| id(&register, &n.to_string())).collect();
        let answer = register.get("aigul", &format!("facts/{}/links", ids[0])).json();
        // log2(10000 / 3) for what three of a register hold that is taken to have 10,000 cases at least.
        assert_eq!(answer["links"][0]["bits"], 11.7, "{answer}");
        assert_eq!(
            answer["links"][0]["shared"],
            json!([{"kind": "card", "value": card(1), "holders": 3, "bits": 11.7}])
        );
        assert_eq!((&answer["elsewhere"], answer["links"].as_array().unwrap().len()), (&json!(1), 1));
        assert_eq!(linked(&register, "aigul", ids[1]), ["1", "3"]);
        assert_eq!(linked(&register, "chief", ids[1]), ["1", "3", "5"]);
        assert!(linked(&register, "chief", ids[3]).is_empty());
        assert_eq!(register.get("aigul", &format!("facts/{}/links", ids[4])).status, 403);

        // A person cuts 1 from 2, and says that the phone in 3 is not the fraudster's.
        let cut = |who: &str, body: Value| register.post(who, "cuts", body).status;
        let pair = json!({"of": {"fact": ids[0]}, "from": {"fact": ids[1]}, "why": "a shared family card"});
        assert_eq!(cut("ivan", pair.clone()), 403);
        assert_eq!(cut("bank", pair.clone()), 403);
        assert_eq!(cut("aigul", json!({"of": {"fact": ids[0]}, "from": {"fact": ids[1]}, "why": ""})), 422);
        assert_eq!(cut("aigul", json!({"of": {"fact": ids[0]}, "from": {"fact": ids[0]}, "why": "x"})), 422);
        assert_eq!(cut("aigul", pair), 201);
        assert_eq!(linked(&register, "chief", ids[0]), ["5"]);
        let phone = json!({"kind": "phone", "value": "87015550001"});
        assert_eq!(cut("aigul", json!({"of": {"fact": ids[2]}, "identifier": phone, "why": "his own"})), 201);
        assert!(linked(&register, "chief", ids[2]).is_empty());
        // They hold over a start and over what is imported later.
        register.crash();
        register.start();
        let more = [fact("6", "almaty", "+77015550001", &card(1)), fact("7", "almaty", "+77015550001", "")];
        import(&register, &more.concat());
        assert_eq!(linked(&register, "chief", ids[0]), ["5", "6"]);
        assert!(linked(&register, "chief", ids[2]).is_empty());
        let events = register.get("aigul", &format!("facts/{}", ids[0])).json()["events"].clone();
        assert_eq!(
            (&events[1]["event"], &events[1]["why"], &events[1]["who"]),
            (&json!("link_cut"), &json!("a shared family card"), &json!("aigul"))
        );
    });
}

#[test]
fn a_confirmed_group_stays_and_news_are_proposed_for_it() {
    on_each_store(|postgres| {
        let register = Register::new(postgres);
        // A ring: each shares a card with the next.
        let ring: String = (0..4)
            .map(|n| fact(&format!("r{n}"), "almaty", "", &format!("{};{}", card(n), card((n + 1) % 4))))
            .collect();
        import(&register, &ring);
        let suspect = json!({"kind": "suspect", "name": "Somebody", "identifiers": [{"kind": "card", "value": card(2)}]});
        let suspect = register.post("aigul", "persons", suspect);
        assert_eq!(suspect.status, 201, "{suspect:?}");
        let suspect = suspect.json()["id"].as_i64().unwrap();
        let ids: Vec<i64> = (0..4).map(|n| id(&register, &format!("r{n}"))).collect();
        let before = groups(&register, "aigul");
        assert_eq!(before["confirmed"], json!([]));
        let first = &before["proposed"][0];
        assert_eq!(
            (&first["facts"], &first["persons"], &first["joins"], &first["elsewhere"]),
            (&json!(ids), &json!([suspect]), &json!([]), &json!(0)),
            "{before}"
        );
        assert_eq!(before["proposed"].as_array().unwrap().len(), 1);
        // Who sees none of it is told of none.
        assert_eq!(groups(&register, "ivan")["proposed"], json!([]));
        assert_eq!(register.get("bank", "groups").status, 403);

        let group =
            json!({"name": "the ring", "why": "one handwriting", "facts": &ids[..3], "persons": [suspect]});
        assert_eq!(register.post("ivan", "groups/confirm", group.clone()).status, 403);
        let confirmed = register.post("aigul", "groups/confirm", group.clone());
        assert_eq!(confirmed.status, 201, "{confirmed:?}");
        let group_id = confirmed.json()["id"].as_i64().unwrap();
        // The refused try left nothing, and nobody is in two groups.
        assert_eq!(register.post("aigul", "groups/confirm", group).problem(), "wrong-state");
        let after = groups(&register, "aigul");
        assert_eq!(after["confirmed"].as_array().unwrap().len(), 1, "{after}");
        assert_eq!(
            (&after["confirmed"][0]["name"], &after["confirmed"][0]["facts"]),
            (&json!("the ring"), &json!(&ids[..3]))
        );
        assert_eq!(
            (&after["proposed"][0]["facts"], &after["proposed"][0]["joins"]),
            (&json!([ids[3]]), &json!([group_id]))
        );

        // What comes later by the same cards is proposed for it and changes it not.
        import(&register, &fact("r4", "almaty", "", &card(1)));
        let new = id(&register, "r4");
        let after = groups(&register, "aigul");
        assert_eq!(after["confirmed"][0]["facts"], json!(&ids[..3]));
        assert_eq!(
            (&after["proposed"][0]["facts"], &after["proposed"][0]["joins"]),
            (&json!([ids[3], new]), &json!([group_id]))
        );
        let members = json!({"facts": [new], "why": "the same card"});
        let path = format!("groups/{group_id}/members");
        assert_eq!(register.post("ivan", &path, members.clone()).status, 403);
        assert_eq!(register.post("aigul", "groups/999/members", members.clone()).status, 404);
        assert_eq!(register.post("aigul", &path, members).status, 200);
        let after = groups(&register, "aigul");
        assert_eq!(after["confirmed"][0]["facts"], json!([ids[0], ids[1], ids[2], new]));
        assert_eq!(after["proposed"][0]["facts"], json!([ids[3]]));
    });
}

/// The figures of the register's purpose: three suspects, more than fifty facts, in a register of 20,000.
#[test]
fn three_suspects_and_more_than_fifty_facts_are_found_in_twenty_thousand() {
    const FACTS: usize = 20_000;
    on_each_store(|postgres| {
        let store = if postgres.is_some() { "PostgreSQL" } else { "SQLite" };
        let register = Register::new(postgres);
        let mut csv = HEAD.to_owned();
        let is_theirs = |n: usize| n.is_multiple_of(370);
        for n in 0..FACTS {
            // Each has a number of its own, and every seventh names one hotline that nobody has said to be public.
            let mut phones = format!("+7702{n:07}");
            if n % 7 == 0 {
                phones += ";+77272300000";
            }
            let mut held = String::new();
            if is_theirs(n) {
                phones += &format!(";+770155500{:02}", n / 370 % 7);
                held = card(n / 370 % 3);
            }
            csv += &fact(&format!("23-{n}"), "almaty", &phones, &held);
        }
        register.site.write("facts.csv", &csv);
        let began = Instant::now();
        assert_eq!(
            register.site.ok(&["case", "import", "facts.csv"]),
            format!("{FACTS} facts are new, 0 were there already\n")
        );
        let imported = began.elapsed();
        for n in 0..3 {
            let suspect = json!({"kind": "suspect", "name": format!("Suspect {n}"), "identifiers": [{"kind": "card", "value": card(n)}]});
            assert_eq!(register.post("aigul", "persons", suspect).status, 201);
        }
        let began = Instant::now();
        let found = groups(&register, "aigul");
        eprintln!(
            "{store}: {FACTS} facts imported in {imported:.2?}, linked and grouped in {:.2?}",
            began.elapsed()
        );
        let first = &found["proposed"][0];
        assert_eq!(first["persons"].as_array().unwrap().len(), 3, "{first}");
        // Theirs are those of every 370th, and nobody else's.
        let theirs: Vec<i64> = (0..FACTS).filter(|n| is_theirs(*n)).map(|n| n as i64 + 1).collect();
        assert!(theirs.len() > 50);
        assert_eq!(first["facts"], json!(theirs));
        assert_eq!(found["proposed"].as_array().unwrap().len(), 1, "the hotline links nobody");
        // Another look at the same register, and at one fact's links.
        assert_eq!(linked(&register, "aigul", theirs[0]).len(), theirs.len() - 1 - not_shared(&theirs));
    });
}

/// Of the gang's facts, those that share neither card nor phone with the first: the first has card 0 and phone 0.
fn not_shared(theirs: &[i64]) -> usize {
    let place = |id: &i64| (*id as usize - 1) / 370;
    let apart = theirs.iter().filter(|id| place(id) % 3 != 0 && place(id) % 7 != 0).count();
    // The suspect who has card 0 is a link too.
    apart - 1
}

#[test]
fn what_persons_decided_is_taken_back_with_a_reason_and_stays_on_record() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        let rows = [
            fact("1", "almaty", "+77015550001", &card(1)),
            fact("2", "almaty", "+77015550002", &card(1)),
            fact("3", "almaty", "+77015550003", &card(2)),
            fact("4", "almaty", "+77015550004", &card(2)),
            fact("5", "astana", "+77015550005", &card(2)),
        ];
        import(&register, &rows.concat());
        let ids: Vec<i64> = ["1", "2", "3", "4", "5"].iter().map(|number| id(&register, number)).collect();
        let events = |fact: i64| {
            let fact = register.get("aigul", &format!("facts/{fact}")).json();
            fact["events"].as_array().unwrap().clone()
        };

        // A cut, and the cut undone: both stand in the history.
        let cut = json!({"of": {"fact": ids[0]}, "from": {"fact": ids[1]}, "why": "two shops"});
        let cut = register.post("aigul", "cuts", cut).json()["id"].clone();
        assert_eq!(linked(&register, "aigul", ids[0]), Vec::<String>::new());
        let undo =
            |who: &str, why: &str| register.post(who, &format!("cuts/{cut}/undo"), json!({"why": why}));
        assert_eq!((undo("ivan", "x").status, undo("aigul", " ").status), (403, 422));
        assert_eq!(register.post("aigul", "cuts/99/undo", json!({"why": "x"})).status, 404);
        assert_eq!(undo("aigul", "one owner").status, 200);
        assert_eq!(undo("aigul", "again").status, 409);
        assert_eq!(linked(&register, "aigul", ids[0]), ["2"]);
        let told = events(ids[0]);
        let last = &told[told.len() - 2..];
        assert_eq!((&last[0]["event"], &last[0]["why"]), (&json!("link_cut"), &json!("two shops")));
        assert_eq!(
            (&last[1]["event"], &last[1]["why"], &last[1]["cut"]),
            (&json!("cut_undone"), &json!("one owner"), &cut)
        );

        // Declined, a proposal is shown no more; to another unit, whose fact is in it too, it is.
        let proposed = |who: &str| groups(&register, who)["proposed"].as_array().unwrap().clone();
        let of = |proposals: &[Value], fact: i64| {
            proposals.iter().any(|one| one["facts"].as_array().unwrap().contains(&json!(fact)))
        };
        let decline = |facts: &[i64]| {
            register.post("aigul", "groups/decline", json!({"facts": facts, "why": "a shop's own card"}))
        };
        assert!(of(&proposed("aigul"), ids[2]));
        assert_eq!(decline(&[ids[2]]).status, 409, "it is of two");
        assert_eq!(decline(&[ids[2], ids[4]]).status, 403, "one is another unit's");
        assert_eq!(decline(&[ids[2], ids[3]]).status, 201);
        assert!(!of(&proposed("aigul"), ids[2]) && of(&proposed("aigul"), ids[0]));
        assert!(of(&proposed("ivan"), ids[4]) && of(&proposed("chief"), ids[2]));
        assert_eq!(events(ids[2]).last().unwrap()["event"], "group_declined");
        // With a fact more it is news.
        import(&register, &fact("6", "almaty", "+77015550006", &card(2)));
        assert!(of(&proposed("aigul"), ids[2]) && of(&proposed("aigul"), id(&register, "6")));

        // Out of a group again.
        let group = json!({"name": "g", "facts": [ids[0], ids[1], ids[3]], "why": "one card"});
        let group = register.post("aigul", "groups/confirm", group).json()["id"].clone();
        let remove = |who: &str, fact: i64, why: &str| {
            register.post(who, &format!("groups/{group}/remove"), json!({"facts": [fact], "why": why}))
        };
        assert_eq!((remove("ivan", ids[3], "x").status, remove("aigul", ids[3], "").status), (403, 422));
        assert_eq!(remove("aigul", ids[2], "x").status, 409, "it is in none");
        assert_eq!(remove("aigul", ids[3], "another card").status, 200);
        let seen = register.get("aigul", &format!("groups/{group}")).json();
        assert_eq!(seen["facts"], json!([ids[0], ids[1]]));
        let told = seen["events"].as_array().unwrap();
        assert_eq!((&told[1]["event"], &told[1]["why"]), (&json!("group_left"), &json!("another card")));
        assert_eq!(register.get("ivan", &format!("groups/{group}")).status, 403);
        assert_eq!(register.get("aigul", "groups/99").status, 404);
        // Free for another one.
        assert_eq!(
            register
                .post("aigul", "groups/confirm", json!({"name": "h", "facts": [ids[2], ids[3]], "why": "x"}))
                .status,
            201
        );
        register.node.take();
    });
}
