//! The two shipped plans: what they say of numbers, and how they normalise what networks send.

use numbering::{Dialling, Kind, Number, Owner, Party, Plan};
use proptest::prelude::*;
use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber};

fn kz() -> Plan {
    Plan::parse(include_str!("../../plans/kz.toml")).unwrap()
}

fn gb() -> Plan {
    Plan::parse(include_str!("../../plans/gb.toml")).unwrap()
}

fn national() -> Dialling {
    Dialling { national: true, international_prefixes: vec![] }
}

fn international() -> Dialling {
    Dialling { national: false, international_prefixes: vec!["00".into(), "011".into()] }
}

#[track_caller]
fn check(plan: &Plan, dialling: &Dialling, rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        let got = plan.normalise(text, dialling);
        let form = if got.national_form { "national-form " } else { "" };
        let got = match got.party {
            Party::Absent => "absent".into(),
            Party::Malformed(bad) => format!("{:?}", bad.why),
            party => format!("{form}{}", party.reveal()),
        };
        assert_eq!(&got, expected, "{text:?} with {dialling:?}");
    }
}

#[test]
fn any_trunk_reads_full_numbers_short_codes_and_silence() {
    let rows = [
        ("+77272501234", "+77272501234"),
        ("+7-727-250-12-34", "+77272501234"),
        ("+7 (727) 250.12.34", "+77272501234"),
        ("77272501234", "+77272501234"),
        ("2501234;phone-context=+7727", "+77272501234"),
        ("77272501234;phone-context=operator.kz", "+77272501234"),
        ("+77272501234;npdi;rn=+77270000000", "+77272501234"),
        ("101", "101"),
        ("112", "112"),
        ("112;phone-context=+7", "112"),
        ("+7112", "112"),
        ("1414", "1414"),
        ("", "absent"),
        ("anonymous", "absent"),
        ("Anonymous", "absent"),
        ("unavailable", "absent"),
        ("restricted", "restricted"),
        ("alice", "NotANumber"),
        ("+7727250123x", "NotANumber"),
        ("+", "NotANumber"),
        ("+772725", "TooShort"),
        ("727250", "TooShort"),
        ("+7727250123456789", "TooLong"),
        ("+07272501234", "LeadingZero"),
        ("+14155550123", "+14155550123"),
    ];
    check(&kz(), &national(), &rows);
    check(&kz(), &international(), &rows);
}

#[test]
fn a_national_trunk_reads_home_forms() {
    let rows = [
        ("7272501234", "+77272501234"),
        ("87272501234", "+77272501234"),
        ("81077272501234", "+77272501234"),
        ("81014155550123", "+14155550123"),
        ("87011234567", "+77011234567"),
        ("14155550123", "+14155550123"),
        ("4951234567", "+74951234567"),
    ];
    check(&kz(), &national(), &rows);
}

#[test]
fn an_international_trunk_reads_full_numbers_first_and_says_when_a_home_one_came_in_national_form() {
    let rows = [
        ("7272501234", "national-form +77272501234"),
        ("7011234567", "national-form +77011234567"),
        ("4512345678", "+4512345678"),
        ("0077272501234", "+77272501234"),
        ("01114155550123", "+14155550123"),
        // 8 and ten digits is no form of an international trunk: it stays what it is, a code nobody has.
        ("87272501234", "+87272501234"),
    ];
    check(&kz(), &international(), &rows);
}

#[test]
fn another_country_reads_its_own_forms_with_the_same_code() {
    let plan = gb();
    check(
        &plan,
        &national(),
        &[
            ("02079460000", "+442079460000"),
            ("2079460000", "+442079460000"),
            ("442079460000", "+442079460000"),
            ("07700900123", "+447700900123"),
            ("0077272501234", "+77272501234"),
            ("999", "999"),
            ("18000", "18000"),
        ],
    );
    let says = |text: &str| {
        let standing = plan.standing(Number::parse(text).unwrap());
        (standing.owner, standing.kind, standing.country.to_string())
    };
    assert_eq!(says("+442079460000"), (Owner::Home, Kind::Fixed, "GB".into()));
    assert_eq!(says("+447700900123"), (Owner::Home, Kind::Mobile, "GB".into()));
    assert_eq!(says("+445600900123"), (Owner::Home, Kind::Voip, "GB".into()));
    assert_eq!(says("+441481700000"), (Owner::Foreign, Kind::Unknown, "GG".into()));
    assert_eq!(says("+444000000000"), (Owner::Home, Kind::Unallocated, "GB".into()));
    assert_eq!(says("+77272501234"), (Owner::Foreign, Kind::Unknown, "RU".into()));
}

#[test]
fn the_codes_behind_plus_seven_have_owners() {
    let plan = kz();
    let rows = [
        ("+77272501234", Owner::Home, Kind::Fixed, "KZ"),
        ("+77104012345", Owner::Home, Kind::Fixed, "KZ"),
        ("+77011234567", Owner::Home, Kind::Mobile, "KZ"),
        ("+77511234567", Owner::Home, Kind::Voip, "KZ"),
        ("+77031234567", Owner::Home, Kind::Unallocated, "KZ"),
        ("+76001234567", Owner::Home, Kind::Unallocated, "KZ"),
        ("+70001234567", Owner::Home, Kind::Unallocated, "KZ"),
        ("+74951234567", Owner::Foreign, Kind::Unknown, "RU"),
        ("+79161234567", Owner::Foreign, Kind::Unknown, "RU"),
        ("+71001234567", Owner::Shared, Kind::Unknown, ""),
        ("+78001234567", Owner::Home, Kind::Freephone, "KZ"),
        ("+78091234567", Owner::Home, Kind::Premium, "KZ"),
        ("+78301234567", Owner::Reserve, Kind::Unknown, ""),
        ("+8721234567890", Owner::Unassigned, Kind::Unknown, ""),
        ("+14155550123", Owner::Foreign, Kind::Unknown, "US"),
        ("+870773111632", Owner::Foreign, Kind::Unknown, "001"),
    ];
    for (text, owner, kind, country) in rows {
        let standing = plan.standing(Number::parse(text).unwrap());
        assert_eq!(
            (standing.owner, standing.kind, standing.country.to_string().as_str()),
            (owner, kind, country),
            "{text}"
        );
    }
    let fits = |text: &str| {
        let number = Number::parse(text).unwrap();
        plan.standing(number).fits(number)
    };
    assert!(fits("+77272501234"));
    assert!(!fits("+7727250123"));
    assert!(!fits("+772725012345"));
    assert!(!fits("+78301234567"), "a reserve code is never valid");
    assert!(!fits("+1415555012"));
}

#[test]
fn a_plan_with_a_mistake_is_refused_in_one_line_that_names_it() {
    let good = include_str!("../../plans/kz.toml");
    let rows = [
        (
            "emergency = [\"112\", \"101\", \"102\", \"103\", \"104\"]",
            "emergency = []",
            "emergency: at least one number",
        ),
        ("country = \"KZ\"", "country = \"kz\"", "country \"kz\" is not an ISO 3166 code"),
        ("owner = \"RU\"", "owner = \"ru\"", "split owner \"ru\""),
        ("country-code = \"7\"", "country-code = \"07\"", "country-code \"07\" is not"),
        ("country-code = \"7\"", "country-cod = \"7\"", "line 5: unknown field `country-cod`"),
        (", \"747\"", ", \"74x\"", "\"74x\" is not the leading digits"),
        ("prefixes = [\"809\"]", "prefixes = [\"800\"]", "range prefix \"800\" is there twice"),
        ("from = \"000\", to = \"099\"", "from = \"099\", to = \"000\"", "split from \"099\" to \"000\""),
    ];
    for (from, to, expected) in rows {
        assert!(good.contains(from), "{from}");
        let error = Plan::parse(&good.replacen(from, to, 1)).err().expect(expected).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

/// Only where the tables this plan was typed from lie beside the project.
#[test]
fn the_kazakh_plan_agrees_with_its_sources() {
    let table = |name: &str| std::fs::read_to_string(format!("../../shared/domain/{name}"));
    let (Ok(split), Ok(ranges)) = (table("plus7-split.csv"), table("kz-ranges.csv")) else {
        return;
    };
    let plan = kz();
    let ranges: Vec<Vec<&str>> = ranges.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for row in split.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()) {
        for code in row[0].parse::<u32>().unwrap()..=row[1].parse().unwrap() {
            for rest in ["0000000", "0412345", "9999999"] {
                let national = format!("{code:03}{rest}");
                let got = plan.standing(Number::parse(&format!("+7{national}")).unwrap());
                let held = ranges
                    .iter()
                    .filter(|range| national.starts_with(range[0]))
                    .max_by_key(|range| range[0].len());
                let kind = match held.map(|range| range[1]) {
                    Some("mobile") => Kind::Mobile,
                    Some("fixed") => Kind::Fixed,
                    Some("voip") => Kind::Voip,
                    _ if row[2] == "kz" => Kind::Unallocated,
                    // Service codes are this plan's own addition.
                    _ if (800..=809).contains(&code) => got.kind,
                    _ => Kind::Unknown,
                };
                assert_eq!(got.kind, kind, "+7{national}");
                let owner = match row[2] {
                    "kz" => Owner::Home,
                    "ru" => Owner::Foreign,
                    "reserve" => Owner::Reserve,
                    _ if (800..=809).contains(&code) => got.owner,
                    _ => Owner::Shared,
                };
                assert_eq!(got.owner, owner, "+7{national}");
                let holder = got.holder.map_or("", |holder| plan.holder(holder));
                assert_eq!(holder, held.map_or("", |range| range[2]), "+7{national}");
            }
        }
    }
}

proptest! {
    /// The metadata library is the oracle: our table must say what it says, for every country but home.
    #[test]
    fn lengths_and_codes_abroad_are_the_librarys(digits in "[1-9][0-9]{6,14}") {
        let plan = kz();
        let number = Number::from_digits(digits.as_bytes()).unwrap();
        prop_assume!(!digits.starts_with('7'));
        let oracle = (1..=3).find_map(|n| {
            let country_code = digits[..n].parse().unwrap();
            // The library keeps leading zeros apart; lengths are what is asked, so take them out of the way.
            let national_number = format!("1{}", &digits[n + 1..]).parse().unwrap();
            let parsed = PhoneNumber { country_code, national_number, ..PhoneNumber::default() };
            PHONE_NUMBER_UTIL.get_region_for_country_code(parsed.country_code)?;
            Some(matches!(PHONE_NUMBER_UTIL.is_possible_number_with_reason(&parsed), Ok(NumberLengthType::IsPossible)))
        });
        let standing = plan.standing(number);
        prop_assert_eq!(standing.owner == Owner::Unassigned, oracle.is_none());
        prop_assert_eq!(standing.fits(number), oracle.unwrap_or(false));
    }

    #[test]
    fn no_text_breaks_normalising(text in "\\PC{0,40}") {
        for dialling in [national(), international()] {
            let _ = kz().normalise(&text, &dialling);
        }
    }

    #[test]
    fn what_is_normalised_stays_itself(text in "[+0-9]{1,18}") {
        let plan = kz();
        for dialling in [national(), international()] {
            if let Party::Number(number) = plan.normalise(&text, &dialling).party {
                let again = plan.normalise(&number.reveal().to_string(), &dialling);
                prop_assert_eq!(again.party, Party::Number(number));
            }
        }
    }
}
