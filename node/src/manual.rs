//! Man pages and shell completions, from the command line itself, laid out as under `/usr/share`.
//!
//! The package is filled with them (`./package`); `qalqan manual ~/.local/share` does the same for one user.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::config::EXAMPLE;

/// Writes everything below `share`; what stands there already is written again.
pub fn write(command: Command, share: &Path) -> io::Result<()> {
    let command = shown(command);
    pages(&command, &share.join("man/man1"))?;
    put(&share.join("man/man5/qalqan.toml.5"), configuration(&command).render().as_bytes())?;
    for (shell, path) in [
        (Shell::Bash, "bash-completion/completions/qalqan"),
        (Shell::Zsh, "zsh/vendor-completions/_qalqan"),
        (Shell::Fish, "fish/vendor_completions.d/qalqan.fish"),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut command.clone(), command.get_name(), &mut script);
        put(&share.join(path), &script)?;
    }
    Ok(())
}

/// The command line without what `--help` does not show: completions would offer it.
fn shown(command: Command) -> Command {
    let visible: Vec<Command> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
    Command::new("qalqan")
        .about(command.get_about().cloned().unwrap_or_default())
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .args(command.get_arguments())
        .subcommands(visible)
}

/// `qalqan.1`, and one page for each command below it.
fn pages(command: &Command, directory: &Path) -> io::Result<()> {
    let mut built = command.clone();
    built.build();
    page(&built, directory)
}

fn page(command: &Command, directory: &Path) -> io::Result<()> {
    let man = Man::new(command.clone()).source(source(command)).manual("Qalqan");
    let mut text = Vec::new();
    man.render(&mut text)?;
    if command.get_subcommands().next().is_none() {
        see_also(&["qalqan(1)", "qalqan.toml(5)"]).to_writer(&mut text)?;
    } else {
        see_also(&["qalqan.toml(5)"]).to_writer(&mut text)?;
    }
    put(&directory.join(man.get_filename()), &text)?;
    command.get_subcommands().try_for_each(|sub| page(sub, directory))
}

fn see_also(pages: &[&str]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text([roman(pages.join(", "))]);
    roff
}

/// `qalqan.toml.5`: the shipped example, its comments as prose and its keys as they are written.
fn configuration(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", ["qalqan.toml", "5", "", &source(command), "Qalqan"]);
    roff.control("SH", ["NAME"]).text([roman("qalqan.toml - configuration of qalqan")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut keys: Vec<&str> = Vec::new();
    for line in EXAMPLE.lines() {
        match comment(line) {
            Some(prose) => {
                written(&mut roff, &mut keys);
                roff.text([roman(prose)]);
            }
            None => keys.push(line),
        }
    }
    written(&mut roff, &mut keys);
    roff.control("SH", ["FILES"]).control("TP", []);
    roff.text([bold("/etc/qalqan/qalqan.toml")])
        .text([roman("used when no other is named or stands in the directory")]);
    roff.control("SH", ["SEE ALSO"]).text([roman("qalqan(1), qalqan-config-check(1)")]);
    roff
}

/// The prose of a comment; none of a table in it, or of keys that are commented out.
fn comment(line: &str) -> Option<&str> {
    let text = line.strip_prefix("# ")?;
    let is_key = text.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    (!is_key && !text.starts_with([' ', '['])).then_some(text)
}

/// Puts lines of TOML down as they are, and begins a paragraph after them.
fn written(roff: &mut Roff, keys: &mut Vec<&str>) {
    while keys.last().is_some_and(|line| line.is_empty()) {
        keys.pop();
    }
    if !keys.is_empty() {
        roff.control("RS", ["4"]).control("nf", []);
        for line in keys.drain(..) {
            roff.text([if line.is_empty() { roman("") } else { bold(line) }]);
        }
        roff.control("fi", []).control("RE", []).control("PP", []);
    }
}

fn source(command: &Command) -> String {
    format!("qalqan {}", command.get_version().unwrap_or_default())
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    fs::create_dir_all(path.parent().expect("a directory in front")).map_err(told)?;
    fs::write(path, bytes).map_err(told)
}
