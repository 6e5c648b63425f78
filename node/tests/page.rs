//! The citizen's page as a citizen has it: a real browser of a telephone's size, links and codes as they lie in the spool. Faces
//! are in `page_face.rs`.

use crate::rig;

use rig::browser::{Browser, Page};
use rig::http::{Answer, Client};
use rig::loans::{Gate, gate, iin, loan};
use rig::postgres::Postgres;
use serde_json::{Value, json};

pub const PAGE: &str = "[loans.page]\nurl = \"http://127.0.0.1\"\n";

/// A word of the page by its message file.
pub fn word(language: &str, name: &str) -> String {
    let file = rig::repository().join(format!("rulebook/loans/page/{language}.toml"));
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
    line.and_then(|rest| rest.strip_suffix('"')).unwrap_or_else(|| panic!("{language} {name}")).to_owned()
}

/// Has a link sent and gives its token.
#[track_caller]
pub fn link(gate: &Gate, id: &str, phone: &str) -> String {
    let made = gate.bank(&format!("POST /v1/loans/{id}/link"), "", json!({"send": true}));
    assert_eq!(made.status, 201, "{made:?}");
    let url = made.json()["url"].as_str().unwrap().to_owned();
    let text = gate.text(phone);
    assert!(text.contains(&url) && text.contains("Банк Один") && text.contains("KZT"), "{text}");
    url.strip_prefix("http://127.0.0.1/confirm#").expect("the address that is configured").to_owned()
}

pub fn opened<'b>(browser: &'b Browser, gate: &Gate, token: &str) -> Page<'b> {
    browser.page(&format!("http://{}/confirm#{token}", gate.address), "")
}

pub fn code_in(text: &str) -> String {
    let digits = |word: &&str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit());
    text.split(|c: char| !c.is_ascii_digit()).rfind(digits).expect("a code").to_owned()
}

/// The page's API by hand.
pub struct Citizen<'g> {
    pub gate: &'g Gate,
    pub session: String,
}

impl Citizen<'_> {
    #[track_caller]
    pub fn open<'g>(gate: &'g Gate, token: &str) -> Citizen<'g> {
        let answer = open(gate, token);
        assert_eq!(answer.status, 201, "{answer:?}");
        Citizen { gate, session: answer.json()["session"].as_str().unwrap().to_owned() }
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        let head = format!(
            "POST /confirm/{path} HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json",
            self.session
        );
        Client::new(self.gate.address).ask(&head, body)
    }

    pub fn state(&self) -> Answer {
        let mut http = Client::new(self.gate.address);
        http.ask(&format!("GET /confirm/state HTTP/1.1\r\nAuthorization: Bearer {}", self.session), "")
    }
}

pub fn open(gate: &Gate, token: &str) -> Answer {
    let head = "POST /confirm/session HTTP/1.1\r\nContent-Type: application/json";
    Client::new(gate.address).ask(head, json!({"token": token}).to_string())
}

#[test]
fn a_loan_is_confirmed_in_each_language_and_its_link_opens_once() {
    let gate_ = Gate::new(None, "", PAGE);
    let browser = Browser::start(&[]);
    for (n, language) in ["kk", "ru", "en"].into_iter().enumerate() {
        let (iin, phone) = (iin(800 + n as u32), format!("+7701555100{n}"));
        let mut asked = loan(&iin, &phone, "1000.50");
        asked["language"] = json!(language);
        let id = gate_.open(language, asked);
        let token = link(&gate_, &id, &phone);
        // A program that previews links fetches the page, with all it names: that uses nothing up.
        let preview = Client::new(gate_.address).get("/confirm");
        assert_eq!((preview.status, preview.header("referrer-policy")), (200, Some("no-referrer")));
        let policy = preview.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");

        let page = opened(&browser, &gate_, &token);
        page.wait_for_text(&word(language, "ask-no"));
        assert_eq!(page.value("[document.documentElement.lang, location.hash]"), json!([language, ""]));
        let text = page.text();
        assert!(text.contains("Банк Один") && text.contains("KZT") && text.contains(&iin[10..]), "{text}");
        assert!(!text.contains(&iin) && !text.contains(&phone[1..]), "{text}");
        page.is_accessible();
        page.press("#go");
        let code = code_in(&gate_.text(&phone));
        page.wait_for_text(&word(language, "code-label"));
        page.is_accessible();
        assert_eq!(page.value("document.activeElement.autocomplete"), "one-time-code");
        let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
        page.enter("#code", &wrong);
        page.wait_for_text(&word(language, "problem-wrong-code").replace("{tries}", "2"));
        page.is_accessible();
        page.enter("#code", &code);
        page.wait_for_text(&word(language, "end-approved"));
        page.is_accessible();
        assert_eq!(gate_.look(&id)["state"], "approved");
        // Each of the other languages at a touch.
        for other in ["kk", "ru", "en"] {
            page.press(&format!("[data-language={other}]"));
            page.wait_for_text(&word(other, "end-approved-text"));
            page.is_accessible();
        }
        let errors = page.value("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith(location.origin)).length");
        assert_eq!(errors, 0, "nothing from elsewhere");

        // The link was used; its tab goes on after a reload, another is told so.
        page.reload();
        page.wait_for_text(&word("en", "end-approved"));
        let again = opened(&browser, &gate_, &token);
        again.wait("document.querySelector('[data-step=broken]')?.checkVisibility()");
        again.press(&format!("[data-language={language}]"));
        again.wait_for_text(&word(language, "problem-link-used"));
        again.is_accessible();
    }
    let looks = gate_.site.ok(&["loan", "looks", "--limit", "100000"]);
    for what in ["page-open", "page-look", "page-code", "page-enter"] {
        assert!(looks.contains(&format!(" page {what} ")), "{what}: {looks}");
    }
}

#[test]
fn who_did_not_ask_says_so_and_bans_loans() {
    let gate_ = Gate::new(None, "", PAGE);
    let browser = Browser::start(&[]);
    let (iin, phone) = (iin(820), "+77015551010");
    let id = gate_.open("stolen", loan(&iin, phone, "5000"));
    let page = opened(&browser, &gate_, &link(&gate_, &id, phone));
    page.press("[data-deny]");
    page.wait_for_text(&word("kk", "end-denied"));
    page.is_accessible();
    let seen = gate_.look(&id);
    assert_eq!((&seen["state"], &seen["answer"]), (&json!("cancelled"), &json!("refuse")));
    assert!(seen["events"].as_array().unwrap().iter().any(|event| event["event"] == "application_denied"));

    page.press("#ban-set");
    page.wait_for_text(&word("kk", "ban-in-force").replace("{hours}", "24"));
    assert!(!gate_.text(phone).is_empty(), "he is told of the ban");
    assert_eq!(gate_.portal("POST /v1/bans/retrieve", json!({"iin": iin})).json()["banned"], true);
    let next = gate_.open("again", loan(&iin, "+77015551011", "5000"));
    assert_eq!(gate_.look(&next)["state"], "refused");
    assert!(gate_.text(phone).contains("5000.00"), "told of the attempt");

    page.press("#ban-lift");
    let code = code_in(&gate_.text(phone));
    page.enter("#ban-code", if code == "000000" { "000001" } else { "000000" });
    page.press("#ban-form button");
    page.wait_for_text(&word("kk", "problem-wrong-code").replace("{tries}", "2"));
    page.is_accessible();
    page.enter("#ban-code", &code);
    page.press("#ban-form button");
    page.wait("!document.querySelector('#ban-lift').checkVisibility() && document.querySelector('#ban-set').checkVisibility()");
    let ban = gate_.portal("POST /v1/bans/retrieve", json!({"iin": iin})).json();
    assert!(
        ban["banned"] == true && ban["lifts"].is_string(),
        "in force until the waiting period is over: {ban}"
    );

    // Somebody with the IIN and a phone of his own: a ban goes on telling whom it told, and its code goes there.
    let stolen = Citizen::open(&gate_, &link(&gate_, &next, "+77015551011"));
    let set = stolen.post("ban/set", "").json();
    assert!(set["ban"]["lifts"].is_null() && set["ban"]["phone"].as_str().unwrap().ends_with("10"), "{set}");
    gate_.text(phone);
    assert_eq!(stolen.post("ban/code", "").status, 202);
    assert!(code_in(&gate_.text(phone)).len() == 6, "to the phone of the ban");
}

/// The second consent by the same page and a new link, when the loan has cooled.
#[test]
fn a_second_consent_needs_a_link_of_its_own() {
    let mut gate_ = Gate::new(None, "", PAGE);
    let browser = Browser::start(&[]);
    let phone = "+77015551020";
    let id = gate_.open("large", loan(&iin(830), phone, "900000.00"));
    let page = opened(&browser, &gate_, &link(&gate_, &id, phone));
    page.press("#go");
    page.enter("#code", &code_in(&gate_.text(phone)));
    page.wait_for_text(&word("kk", "cooling-title"));
    page.is_accessible();
    gate_.crash();
    gate_.start(9);
    let page = opened(&browser, &gate_, &link(&gate_, &id, phone));
    page.wait("document.querySelector('#go')?.checkVisibility()");
    assert!(page.text().contains("екінші келісім"), "{}", page.text());
    page.press("#go");
    page.enter("#code", &code_in(&gate_.text(phone)));
    page.wait_for_text(&word("kk", "end-approved"));
    assert_eq!(gate_.look(&id)["state"], "approved");
}

#[test]
fn the_page_takes_no_more_than_it_asks_for() {
    takes_no_more(None);
    takes_no_more(Some(Postgres::start()));
}

#[track_caller]
fn takes_no_more(postgres: Option<Postgres>) {
    let gate_ = Gate::new(postgres, "", &format!("{PAGE}requests-per-min = 60\n"));
    let phone = "+77015551030";
    let id = gate_.open("bad", loan(&iin(840), phone, "1000"));
    let token = link(&gate_, &id, phone);
    // Two that open one link at once: one has it.
    let both: Vec<u16> = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| open(&gate_, &token)));
        both.into_iter().map(|one| one.join().unwrap().status).collect()
    });
    assert!(both.contains(&201) && both.contains(&409), "{both:?}");
    assert_eq!(open(&gate_, &token).problem(), "link-used");
    assert_eq!(open(&gate_, &"A".repeat(43)).problem(), "link-not-known");
    assert_eq!(open(&gate_, "short").problem(), "link-not-known");
    // A new link voids the one before, and its session ends the other.
    let (first, second) = (link(&gate_, &id, phone), link(&gate_, &id, phone));
    assert_eq!(open(&gate_, &first).problem(), "link-used");
    let citizen = Citizen::open(&gate_, &second);
    let earlier = Citizen { gate: &gate_, session: "B".repeat(43) };
    assert_eq!((earlier.state().status, earlier.state().problem().as_str()), (401, "no-session"));
    assert_eq!(citizen.state().json()["step"], "code");
    assert_eq!(citizen.post("enter", "{\"code\":\"123456\"}").problem(), "no-open-code");
    assert_eq!(citizen.post("enter", "{\"code\":\"12345\"}").problem(), "invalid-request");
    assert_eq!(citizen.post("enter", "{").problem(), "invalid-json");
    assert_eq!(citizen.post("enter", &"x".repeat(5000)).problem(), "body-too-long");
    assert_eq!(citizen.post("face", "").problem(), "not-configured");
    assert_eq!(citizen.post("ban/lift", "{\"code\":\"123456\"}").problem(), "no-open-code");
    assert_eq!(citizen.post("ban/code", "").problem(), "wrong-state");
    assert_eq!(citizen.post("nothing", "").problem(), "not-found");
    assert_eq!(Client::new(gate_.address).get("/confirm/state").problem(), "no-session");
    assert_eq!(Client::new(gate_.address).get("/confirm/session").problem(), "method-not-allowed");
    // A session of one application sees no other, and a creditor sees no other's link.
    let other = gate_.open("other", loan(&iin(841), "+77015551031", "1000"));
    let theirs = Citizen::open(&gate_, &link(&gate_, &other, "+77015551031"));
    assert_ne!(theirs.state().json()["phone"], citizen.state().json()["phone"]);
    let portal = gate_.portal(&format!("POST /v1/loans/{id}/link"), json!({}));
    assert_eq!((portal.status, portal.problem().as_str()), (403, "insufficient-scope"));
    // Two answers at once: the right code counts once.
    assert_eq!(citizen.post("code", "").status, 202);
    let entered = json!({"code": code_in(&gate_.text(phone))}).to_string();
    let both: Vec<u16> = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| citizen.post("enter", &entered)));
        both.into_iter().map(|one| one.join().unwrap().status).collect()
    });
    assert!(both.contains(&200) && both.contains(&409), "{both:?}");
    assert_eq!(gate_.look(&id)["state"], "approved");
    assert_eq!(citizen.post("deny", "").problem(), "wrong-state");
    // Nothing of tokens in the clear.
    let kept = std::fs::read(gate_.site.path("loans.db-wal")).unwrap_or_default();
    let kept = String::from_utf8_lossy(&kept).into_owned();
    assert!(!kept.contains(&second) && !kept.contains(&citizen.session));
    // A minute may end among them.
    assert!((0..200).any(|_| citizen.state().status == 429));
}

#[test]
fn without_its_table_there_is_no_page() {
    let none = Gate::new(None, "", "");
    let id = none.open("none", loan(&iin(850), "+77015551040", "1000"));
    assert_eq!(none.bank(&format!("POST /v1/loans/{id}/link"), "", Value::Null).problem(), "not-configured");
    assert_eq!(Client::new(none.address).get("/confirm").problem(), "not-configured");
    assert_eq!(gate(&none.look(&id), "living-face")["answer"], "not-asked");
}
