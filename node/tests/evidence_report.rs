//! The report of an evidence package, as poppler reads it and as `evidence verify` holds it.

use crate::rig;
use crate::sealed::some_calls;

use std::fs;
use std::process::Command;

use rig::postgres::on_each_store;
use rig::qalqan;
use rig::register::Register;
use serde_json::json;

/// What a reader copies out of a PDF, and how many pages it has.
#[track_caller]
pub fn read(path: &std::path::Path) -> (String, usize) {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(path).arg("-").output();
        let output = output.expect("poppler-utils: ./test installs it");
        // Poppler says on stderr whatever it had to mend.
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", path.display());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run("pdftotext", &["-layout"]).replace('\u{a0}', " ");
    let pages = text.matches('\u{c}').count();
    (text, pages)
}

/// Without regard to where lines end.
pub fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_report_says_in_each_language_what_the_package_holds_and_is_held_to_it() {
    on_each_store(|postgres| {
        let mut register = Register::new(postgres);
        // Kazakh letters, a text of many lines, and more facts than a page takes.
        let story =
            "Қаскүнем өзін банк қызметкері ретінде таныстырып жәбірленушіні ұзақ сөйлесуге көндірді. "
                .repeat(12);
        let mut csv = "number,type,when,region,unit,method,victim_phone,damage,phone,card\n".to_owned();
        for n in 1..=60 {
            let card = if n < 3 { "4111111111111111" } else { "" };
            csv += &format!(
                "2023/{n:03},bank-call,2023-11-15 01:{:02},Үшарал,almaty,{story},+7701555{n:04},1250000.50,+7701{n:07},{card}\n",
                n % 60
            );
        }
        assert_eq!(register.import("aigul", "", &csv).status, 201);
        let ids: Vec<i64> = (1..=60)
            .map(|n| {
                let found = register.found("aigul", json!({"number": format!("2023/{n:03}")}));
                found[0]["id"].as_i64().unwrap()
            })
            .collect();
        let seizure = json!({"item": "gsm-gateway", "serials": ["SER-1"], "place": "Өскемен", "by": "Lt Ospan",
                             "time": "2023-11-17T09:00:00Z"});
        let seizure = register.post("aigul", "seizures", seizure).json();
        let hand_over = json!({"time": "2023-11-18T09:00:00Z", "from": "Lt Ospan", "to": "Қойма", "place": "Өскемен", "why": "сақтау"});
        let handed = register.post("aigul", &format!("seizures/{}/custody", seizure["id"]), hand_over);
        assert_eq!(handed.status, 200, "{handed:?}");
        let custody = handed.json()["custody"][0]["hash"].as_str().unwrap().to_owned();
        register.node.take();
        some_calls(&register.site, 4);

        let facts: Vec<String> = ids.iter().map(i64::to_string).collect();
        let pack = |out: &str, facts: &[String], more: &[&str]| {
            let seizure = seizure["id"].to_string();
            let mut all = vec![
                "evidence",
                "pack",
                "--out",
                out,
                "--why",
                "Істі сотқа",
                "--as",
                "aigul",
                "--rule",
                "R08",
            ];
            all.extend(["--seizure", &seizure]);
            facts.iter().for_each(|fact| all.extend(["--fact", fact]));
            all.extend(more);
            register.site.ok(&all);
        };
        pack("open", &facts, &["--reveal"]);
        pack("masked", &facts[..2], &[]);

        let (kk, pages) = read(&register.site.path("open/report.kk.pdf"));
        let flat_kk = flat(&kk);
        for said in [
            "Дәлелдемелер топтамасы 1",
            "Алаяқтық фактілері",
            "Істі сотқа",
            "қызметкері",
            "Үшарал",
            "Қойма",
            "GSM-шлюздер",
        ] {
            assert!(flat_kk.contains(said), "{said}: {kk}");
        }
        for letter in "әғқңөұүһіӘҒҚҢӨҰҮ".chars().filter(|letter| !"ҺһҰҒӘҢ".contains(*letter))
        {
            assert!(kk.contains(letter), "{letter} is not in {kk}");
        }
        // Pages are numbered, and a table that goes on over pages says its columns again.
        assert!(pages > 5, "{pages}");
        for page in 1..=pages {
            assert!(flat_kk.contains(&format!("{page} / {pages}")), "{page}");
        }
        let with_facts: Vec<&str> = kk.split('\u{c}').filter(|page| page.contains("250 000.50")).collect();
        assert!(with_facts.len() >= 2, "{kk}");
        assert!(with_facts.iter().all(|page| page.contains("Іс жүргізу")), "{kk}");

        let (ru, _) = read(&register.site.path("open/report.ru.pdf"));
        let flat_ru = flat(&ru);
        // The clock of the register: 01:01 of the fifteenth, where UTC has the fourteenth.
        for said in [
            "Пакет доказательств 1",
            "UTC+05:00",
            "2023-11-15",
            "банковская карта 4111111111111111",
            "факт 2023/001 — факт 2023/002",
            "4111111111111111 (дел с ним: 2)",
            "SER-1",
            "Lt Ospan",
            "имени",
            "75 000 030.00",
            "qalqan evidence verify DIR --public-key first.pub.pem",
            "заблокирован",
            "Заблокировано вызовов:",
        ] {
            assert!(ru.contains(said) || flat_ru.contains(&flat(said)), "{said}: {ru}");
        }
        assert!(!ru.contains("2023-11-14"), "{ru}");
        // Long hashes are broken over lines, none of their letters lost.
        let manifest: serde_json::Value =
            serde_json::from_str(&register.site.read("open/manifest.json")).unwrap();
        let (raw, _) = read(&register.site.path("open/report.en.pdf"));
        let listed = manifest["files"].as_array().unwrap();
        assert_eq!(
            listed.iter().filter(|file| file["name"].as_str().unwrap().starts_with("report.")).count(),
            3
        );
        assert!(listed.iter().any(|file| raw.contains(file["sha256"].as_str().unwrap())), "{raw}");
        assert!(custody.len() == 64 && raw.contains(&custody[..8]), "{custody}: {raw}");

        let (masked, _) = read(&register.site.path("masked/report.ru.pdf"));
        for personal in ["4111111111111111", "SER-1", "Lt Ospan", "Қаскүнем", "7015550001", "77010000001"]
        {
            assert!(!masked.contains(personal), "{personal}: {masked}");
        }
        // Two phones that look the same masked are not told as one.
        let phones = masked.lines().filter(|line| line.trim_start().starts_with("телефон")).count();
        assert_eq!(phones, 2, "{masked}");
        assert!(masked.contains("2023/001") && masked.contains("скрыто"), "{masked}");

        // The same package, the same bytes; another machine holds a report to the manifest.
        for language in ["kk", "ru", "en"] {
            register.site.ok(&["--language", language, "evidence", "report", "open", "--out", "again.pdf"]);
            let packed = fs::read(register.site.path(&format!("open/report.{language}.pdf"))).unwrap();
            assert!(fs::read(register.site.path("again.pdf")).unwrap() == packed, "{language}");
        }
        let verify = || {
            let arguments = ["evidence", "verify", "open", "--public-key", "keys/first.pub.pem"];
            qalqan(&register.site.path("")).args(arguments).output().unwrap()
        };
        assert!(verify().status.success());
        let path = register.site.path("open/report.kk.pdf");
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
        let found = String::from_utf8(verify().stdout).unwrap();
        assert!(
            found.starts_with("open: report.kk.pdf: changed: it is not the file that was packed"),
            "{found}"
        );

        // Without a font nothing is packed, and the line says where one is to be had.
        let configuration = register.site.read("qalqan.toml");
        register.site.write("bare.toml", configuration + "\n[evidence]\nfont = \"nowhere.ttf\"\n");
        let bare =
            ["--config", "bare.toml", "evidence", "pack", "--out", "no", "--why", "x", "--rule", "R08"];
        let refused = register.site.refused(&bare);
        assert!(
            refused.contains("nowhere.ttf: no such file: install fonts-dejavu-core, or name another"),
            "{refused}"
        );
        assert!(!register.site.path("no").exists());
    });
}
