//! The contest of docs/performance.md: contenders in turn, several rounds, medians, as a table and a picture.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::load::{self, By, Load, Outcome};
use crate::servers::{self, Server};

/// One contender's rounds.
pub struct Result {
    pub name: &'static str,
    rounds: Vec<Round>,
}

struct Round {
    outcome: Outcome,
    cpu_us_per_call: f64,
    ready_ms: f64,
}

impl Result {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    pub fn cpu_us(&self) -> f64 {
        self.median(|round| round.cpu_us_per_call)
    }

    pub fn calls_per_s(&self) -> f64 {
        self.median(|round| round.outcome.calls_per_s)
    }

    pub fn ready_ms(&self) -> f64 {
        self.median(|round| round.ready_ms)
    }
}

/// What a contest needs.
pub struct Contest<'c> {
    pub root: &'c Path,
    pub work: &'c Path,
    pub program: &'c Path,
    pub lists: &'c Path,
    pub rounds: usize,
    pub warm_up: Duration,
    pub measured: Duration,
}

type Start<'s> = &'s dyn Fn() -> io::Result<Server>;

impl Contest<'_> {
    pub fn run(&self) -> io::Result<Vec<Result>> {
        let directory = self.work.join("qalqan");
        let qalqan = |workers, hop| servers::qalqan(self.program, &directory, self.lists, workers, hop);
        // In proxy mode the next hop is a third program on the two cores; only the proxy's own CPU time is counted.
        let hop = servers::hop()?;
        let one: Start = &|| qalqan(1, None);
        let start: [(&'static str, By, Start); 8] = [
            ("floor", By::Udp, &|| servers::floor(false)),
            ("floor, answers cut by the kernel", By::Udp, &|| servers::floor(true)),
            ("kamailio", By::Udp, &|| servers::kamailio(&self.root.join("bench/kamailio.cfg"))),
            ("qalqan", By::Udp, one),
            ("qalqan, two workers", By::Udp, &|| qalqan(2, None)),
            ("qalqan, TCP", By::Tcp, one),
            ("qalqan, TLS", By::Tls, one),
            ("qalqan, proxy", By::Udp, &|| qalqan(1, Some(hop.address))),
        ];
        let mut results: Vec<Result> =
            start.iter().map(|&(name, ..)| Result { name, rounds: Vec::new() }).collect();
        for round in 0..self.rounds {
            for (result, (name, by, start)) in results.iter_mut().zip(&start) {
                eprintln!("round {} of {}: {name}", round + 1, self.rounds);
                let server = start()?;
                let mut target = server.address;
                if *by == By::Tls {
                    target.set_port(servers::TLS_PORT);
                }
                if *by != By::Udp {
                    // It was asked by UDP whether it is there; its other doors open a moment later.
                    std::thread::sleep(Duration::from_millis(300));
                }
                let (warm_up, measured) = (self.warm_up, self.measured);
                let load = Load { target, by: *by, window: 256, warm_up, measured, seed: 1 };
                let mut marks = Vec::new();
                let outcome = load::run(&load, || marks.push(server.cpu_s()))?;
                let cpu_us_per_call = (marks[1] - marks[0]) * 1e6 / outcome.answered.max(1) as f64;
                result.rounds.push(Round { outcome, cpu_us_per_call, ready_ms: server.ready_ms });
            }
        }
        Ok(results)
    }
}

pub fn table(results: &[Result]) -> String {
    let mut out = "| window of 256 calls | calls/s | CPU per call, µs | p50, µs | p99, µs | p99.9, µs | lost | 3xx / 6xx / other |\n\
                   | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for result in results {
        let last = &result.rounds.last().expect("a round").outcome;
        let share = |n: u64| format!("{:.1} %", n as f64 * 100.0 / last.answered.max(1) as f64);
        let _ = writeln!(
            out,
            "| {} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} | {} | {} / {} / {} |",
            result.name,
            result.calls_per_s(),
            result.cpu_us(),
            result.median(|round| round.outcome.p50_us),
            result.median(|round| round.outcome.p99_us),
            result.median(|round| round.outcome.p999_us),
            result.rounds.iter().map(|round| round.outcome.lost).sum::<u64>(),
            share(last.redirected),
            share(last.refused),
            share(last.other),
        );
    }
    out
}

/// Bars of CPU time a call, as SVG.
pub fn picture(results: &[Result]) -> String {
    let most = results.iter().map(Result::cpu_us).fold(0.1, f64::max);
    let (row, left, wide) = (26, 230, 460.0);
    let high = results.len() * row + 40;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 780 {high}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>CPU time a call, microseconds: less is better</title>\n\
         <rect width=\"780\" height=\"{high}\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"20\" font-weight=\"bold\">CPU time a call, µs (less is better)</text>\n"
    );
    for (place, result) in results.iter().enumerate() {
        let (y, cpu) = (place * row + 34, result.cpu_us());
        let length = cpu / most * wide;
        let colour = if result.name.starts_with("qalqan") { "#00798c" } else { "#9aa5b1" };
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{left}\" y=\"{y}\" width=\"{length:.1}\" height=\"18\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{cpu:.2}</text>",
            left - 8,
            y + 14,
            result.name,
            left as f64 + length + 6.0,
            y + 14
        );
    }
    out + "</svg>\n"
}
