//! What a capture held besides calls, and what the network answered them, as tables for people.

use std::io::Write;
use std::net::IpAddr;

use call::Treatment;
use rules::{Language, word};

use super::summary::by_name;
use crate::capture::{Heard, Outcome};

const STRANGERS_SHOWN: usize = 3;

pub fn print(heard: &Heard, out: &mut impl Write, language: Language) -> std::io::Result<()> {
    let w = |key| word(language, key);
    let names = ["allow", "mark", "withhold", "block"];
    let monitored = format!("{} ({})", w("block"), w("in-monitor"));
    let width = monitored.chars().count() + 2;
    let [a, b, c, d] = names.map(w);
    writeln!(
        out,
        "\n{:<32} {:>12} {a:>12} {b:>12} {c:>12} {d:>14} {monitored:>width$}",
        w("network-answered"),
        w("calls")
    )?;
    for (outcome, counts) in Outcome::ALL.into_iter().zip(&heard.outcomes) {
        let (decided, would) = counts.split_at(Treatment::ALL.len());
        let decided = decided.try_into().expect("as many as treatments");
        let [a, b, c, d] = names.map(|name| by_name(decided, name));
        let sum = a + b + c + d;
        if sum > 0 {
            let title = w(outcome.word());
            writeln!(out, "{title:<32} {sum:>12} {a:>12} {b:>12} {c:>12} {d:>14} {:>width$}", would[0])?;
        }
    }

    let (calls, streams) = (&heard.calls, &heard.streams);
    writeln!(out, "\n{:<64} {:>12}", w("also-in-capture"), w("packets"))?;
    writeln!(out, "{:<64} {:>12}", w("packets-read"), heard.packets)?;
    for (key, n) in [
        ("invites-repeated", calls.repeated),
        ("invites-in-dialog", calls.within_dialog),
        ("invites-malformed", calls.malformed + streams.endless),
        ("invites-cut", calls.cut),
        ("invites-of-no-trunk", calls.of_no_trunk),
        ("other-requests", calls.other_requests),
        ("responses", calls.responses),
        ("tls-connections", streams.tls),
        ("streams-begun-before", streams.begun_before),
        ("streams-with-holes", streams.holes),
        ("streams-dropped", streams.dropped),
        ("fragments-lost", heard.fragments_lost),
        ("packets-cut", heard.cut),
        ("packets-not-ip", heard.not_ip),
        ("packets-unread", heard.of_unread_link + heard.orphans),
    ] {
        if n > 0 {
            writeln!(out, "{:<64} {n:>12}", w(key))?;
        }
        if key == "invites-of-no-trunk" {
            strangers(heard, out)?;
        }
    }
    Ok(())
}

/// The addresses that most INVITEs of no trunk came from: a trunk may lack its source.
fn strangers(heard: &Heard, out: &mut impl Write) -> std::io::Result<()> {
    let mut strangers: Vec<(u64, IpAddr)> =
        heard.calls.strangers.iter().map(|(address, n)| (*n, *address)).collect();
    strangers.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for (n, address) in strangers.into_iter().take(STRANGERS_SHOWN) {
        writeln!(out, "    {:<60} {n:>12}", address.to_string())?;
    }
    Ok(())
}
