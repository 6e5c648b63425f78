//! `qalqan hunt train` and `score`: what a table and calls teach, and what bad input is told.

use std::collections::HashMap;
use std::fmt::Write;

use crate::rig::{Site, qalqan};

/// Chance on a seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Subscribers `s0 …`, every fifth a fraudster who calls more people, with gaps, words, dates and a constant.
fn table(rows: usize, tells: f64) -> (String, Vec<bool>) {
    let mut chance = Chance(7);
    let (mut text, mut truth) = ("msisdn,calls,tariff,since,country,label\n".to_owned(), Vec::new());
    for row in 0..rows {
        let bad = row % 5 == 0;
        let calls = chance.uniform() * 100.0 + if bad { tells } else { 0.0 };
        let calls = if chance.uniform() < 0.1 { String::new() } else { format!("{calls:.1}") };
        let tariff = if bad == (chance.uniform() < 0.8) { "tourist" } else { "family" };
        let since = format!("2026-{:02}-11", row % 12 + 1);
        let label = if bad { "fraud" } else { "normal" };
        writeln!(text, "s{row},{calls},{tariff},{since},KZ,{label}").unwrap();
        truth.push(bad);
    }
    (text, truth)
}

fn scores(site: &Site, file: &str) -> HashMap<String, (f64, String)> {
    let mut reader = csv::Reader::from_reader(std::fs::File::open(site.path(file)).unwrap());
    assert_eq!(reader.headers().unwrap(), ["msisdn", "probability", "reasons"].as_slice());
    reader
        .records()
        .map(Result::unwrap)
        .map(|row| (row[0].to_owned(), (row[1].parse().unwrap(), row[2].to_owned())))
        .collect()
}

/// The chance that a bad one stands before a good one, by its definition.
fn roc_auc(scores: &HashMap<String, (f64, String)>, truth: &[bool], rows: impl Fn(usize) -> bool) -> f64 {
    let of = |wanted: bool| -> Vec<f64> {
        let found = (0..truth.len()).filter(|&row| rows(row) && truth[row] == wanted);
        found.map(|row| scores[&format!("s{row}")].0).collect()
    };
    let (bad, good) = (of(true), of(false));
    let before = |b: &f64| {
        good.iter()
            .map(|g| {
                if b > g {
                    1.0
                } else if b == g {
                    0.5
                } else {
                    0.0
                }
            })
            .sum::<f64>()
    };
    bad.iter().map(before).sum::<f64>() / (bad.len() * good.len()) as f64
}

const TRAIN: [&str; 8] = ["hunt", "train", "--table", "t.csv", "--id", "msisdn", "--label", "label"];
const SCORE: [&str; 8] = ["hunt", "score", "--model", "m", "--table", "t.csv", "--out", "s.csv"];

fn train(site: &Site, more: &[&str]) -> String {
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--out", "m"]);
    arguments.extend(more);
    site.ok(&arguments)
}

fn only(site: &Site, rows: usize, is_learned: impl Fn(usize) -> bool) {
    let ids: String = (0..rows).filter(|&row| is_learned(row)).map(|row| format!("s{row}\n")).collect();
    site.write("only.txt", ids);
}

#[test]
fn held_out_rows_are_told_apart_with_probabilities_and_reasons() {
    let site = Site::new("");
    let (text, truth) = table(1500, 60.0);
    site.write("t.csv", &text);
    only(&site, 1500, |row| row % 3 != 0);
    let said = train(&site, &["--only", "only.txt"]);
    assert!(said.contains("1000 rows: 200 \"fraud\", 800 \"normal\"; 500 rows held out"), "{said}");
    // Scored without labels, columns in another order, a level never seen and a number that is none.
    let mut lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    lines[1][2] = "never seen";
    lines[2][1] = "lots";
    let turned: String =
        lines.iter().map(|l| format!("{},{},{},{},{}\n", l[4], l[3], l[2], l[1], l[0])).collect();
    site.write("t.csv", turned);
    site.ok(&SCORE);
    let scores = scores(&site, "s.csv");
    assert_eq!(scores.len(), 1500);
    assert!(scores.values().all(|(probability, _)| (0.0..=1.0).contains(probability)));
    assert!(roc_auc(&scores, &truth, |row| row % 3 == 0) > 0.9);
    // Probabilities come true: as many fraudsters as they add up to.
    let sum: f64 = (0..1500).filter(|row| row % 3 == 0).map(|row| scores[&format!("s{row}")].0).sum();
    assert!((70.0..130.0).contains(&sum), "100 are bad, said {sum}");
    let surest = scores.values().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert!(surest.1.contains("calls = ") && surest.1.contains("tariff = tourist (+"), "{}", surest.1);
    assert!(!scores.values().any(|(_, reasons)| reasons.contains("country")), "a constant is no reason");
}

#[test]
fn the_label_of_a_row_held_out_is_not_looked_at() {
    let site = Site::new("");
    let (text, truth) = table(600, 30.0);
    let mut chance = Chance(3);
    let mut edges = String::new();
    for row in 0..600 {
        writeln!(edges, "s{row},s{}", (chance.uniform() * 600.0) as usize).unwrap();
    }
    site.write("e.csv", edges);
    only(&site, 600, |row| row % 2 == 0);
    let mut models = Vec::new();
    for lie in [false, true] {
        let lines = text.lines().enumerate().map(|(line, text)| match line {
            // Line n has row n - 1.
            line if line > 0 && line % 2 == 0 && lie => {
                let told = text.rsplit_once(',').unwrap().0;
                format!("{told},{}\n", if truth[line - 1] { "normal" } else { "whatever" })
            }
            _ => format!("{text}\n"),
        });
        site.write("t.csv", lines.collect::<String>());
        train(&site, &["--only", "only.txt", "--edges", "e.csv"]);
        models.push(std::fs::read(site.path("m")).unwrap());
    }
    assert!(models[0] == models[1], "other labels of rows held out made another model");
    train(&site, &["--only", "only.txt", "--edges", "e.csv", "--seed", "2"]);
    assert!(models[0] != std::fs::read(site.path("m")).unwrap(), "the seed counts");
}

#[test]
fn calls_tell_what_columns_do_not() {
    let site = Site::new("");
    // Columns that say nothing; fraudsters of a gang call the same people, who are no subscribers.
    let (text, truth) = table(1500, 0.0);
    let text = text.replace("tourist", "family");
    site.write("t.csv", &text);
    let mut chance = Chance(5);
    let mut edges = "from,to,seconds\n".to_owned();
    for (row, &bad) in truth.iter().enumerate() {
        for _ in 0..6 {
            let other = (chance.uniform() * 400.0) as usize;
            match bad && chance.uniform() < 0.6 {
                true => writeln!(edges, "s{row},victim{},9", other % 60).unwrap(),
                false => writeln!(edges, "s{row},friend{other},60").unwrap(),
            }
        }
    }
    site.write("e.csv", edges);
    only(&site, 1500, |row| row % 3 != 0);
    train(&site, &["--only", "only.txt"]);
    site.ok(&SCORE);
    let blind = roc_auc(&scores(&site, "s.csv"), &truth, |row| row % 3 == 0);
    assert!((0.35..0.65).contains(&blind), "columns say nothing: {blind}");
    train(&site, &["--only", "only.txt", "--edges", "e.csv"]);
    let mut with_calls = SCORE.to_vec();
    with_calls.extend(["--edges", "e.csv"]);
    site.ok(&with_calls);
    let seen = scores(&site, "s.csv");
    let auc = roc_auc(&seen, &truth, |row| row % 3 == 0);
    assert!(auc > 0.9, "{auc}");
    let surest = seen.values().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert!(surest.1.contains("bad"), "neighbours are the reason: {}", surest.1);
    // Rows learned from are judged by trees that have not seen them: no better than others.
    let own = roc_auc(&seen, &truth, |row| row % 3 != 0);
    assert!((own - auc).abs() < 0.06, "{own} beside {auc}");
    // Without the rows learned from, their labels still tell.
    let few: String = text
        .lines()
        .enumerate()
        .filter(|(line, _)| line % 3 == 1 || *line == 0)
        .fold(String::new(), |text, (_, line)| text + line + "\n");
    site.write("t.csv", few);
    let output = qalqan(site.directory.path()).args(&with_calls).output().unwrap();
    assert!(output.status.success());
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(warned.contains("1000 rows that the model learned from are missing"), "{warned}");
}

#[test]
fn calls_that_are_chance_do_no_harm() {
    let site = Site::new("");
    let (text, truth) = table(1200, 60.0);
    site.write("t.csv", &text);
    let mut chance = Chance(11);
    let mut edges = String::new();
    for row in 0..1200 {
        for _ in 0..4 {
            writeln!(edges, "s{row};s{}", (chance.uniform() * 1200.0) as usize).unwrap();
        }
    }
    site.write("e.csv", edges);
    only(&site, 1200, |row| row % 2 == 0);
    let mut aucs = Vec::new();
    for calls in [&[][..], &["--edges", "e.csv"]] {
        train(&site, &[&["--only", "only.txt"][..], calls].concat());
        site.ok(&[&SCORE[..], calls].concat());
        aucs.push(roc_auc(&scores(&site, "s.csv"), &truth, |row| row % 2 == 1));
    }
    assert!(aucs[1] > aucs[0] - 0.01, "{aucs:?}");
}

#[test]
fn bad_input_is_told_in_a_line() {
    let site = Site::new("");
    let (good, _) = table(60, 50.0);
    let refused = |text: &str, more: &[&str]| -> String {
        site.write("t.csv", text);
        let mut arguments = TRAIN.to_vec();
        arguments.extend(["--out", "m"]);
        arguments.extend(more);
        let error = site.refused(&arguments);
        assert_eq!(error.trim().lines().count(), 1, "{error}");
        error
    };
    let lines: Vec<&str> = good.lines().collect();
    let with = |place: usize, line: &str| {
        let mut lines = lines.clone();
        lines[place] = line;
        lines.join("\n")
    };
    site.write("e.csv", "who,whom\nnobody,noone\n");
    site.write("one.csv", "s1,s2\ns3\n");
    site.write("empty", "");
    for (text, more, told) in [
        ("", &[][..], "t.csv: the file is empty"),
        (lines[0], &[], "no row after its first line"),
        (&good.replace("msisdn", "number"), &[], "no column \"msisdn\": the first line has number, calls"),
        (&good.replace(",label", ",verdict"), &[], "no column \"label\""),
        (&with(3, "s2,1,family"), &[], "t.csv: line 4: 3 fields where the first line has 6"),
        (&with(5, lines[2]), &[], "t.csv: line 6: the id of line 3 again"),
        (&with(5, ",1,family,,KZ,normal"), &[], "t.csv: line 6: no id"),
        (&good.replace("fraud", "normal"), &[], "all 60 labels are \"normal\""),
        (&with(1, "s0,1,family,,KZ,perhaps"), &[], "the label has 3 values where two are needed"),
        (&good, &["--positive", "scam"], "no row has the label \"scam\""),
        (&good, &["--only", "empty"], "empty: the file is empty"),
        (&good, &["--edges", "empty"], "empty: the file is empty"),
        (&good, &["--edges", "e.csv"], "e.csv: no line names an id of the table"),
        (&good, &["--edges", "one.csv"], "one.csv: line 2: one field where two ids are needed"),
        (&good, &["--without", "colour"], "no column \"colour\""),
        (&lines[..12].join("\n"), &[], "only 3 rows to learn from have the label \"fraud\""),
    ] {
        let error = refused(text, more);
        assert!(error.contains(told), "{told}: {error}");
        assert!(!site.path("m").exists(), "nothing is left of what was refused");
    }
    site.write("t.csv", with(1, "s0,1,family,,KZ,perhaps"));
    train(&site, &["--positive", "fraud"]);
    site.write("t.csv", good.replace("tariff", "plan"));
    assert!(site.refused(&SCORE).contains("columns that the model learned from are missing: \"tariff\""));
    site.write("t.csv", &good);
    let whole = std::fs::read(site.path("m")).unwrap();
    site.write("m", &whole[..whole.len() / 2]);
    assert!(site.refused(&SCORE).contains("m: the model is broken"));
    site.write("m", &good);
    assert!(site.refused(&SCORE).contains("m: is no model of this version"));
}
