//! What a package takes from the binary: man pages, completions, and its word to a supervisor.

use crate::rig;

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rig::{Site, Switch, qalqan, status};
use tempfile::TempDir;

/// A share directory as `qalqan manual` fills it.
fn manual() -> TempDir {
    let share = tempfile::tempdir().unwrap();
    let output = qalqan(share.path()).args(["manual", "."]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    share
}

/// What `--help` shows of a command.
fn help(command: &[&str]) -> String {
    let output = qalqan(Path::new("/")).args(command).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// First words of the lines below "Commands:".
fn commands(help: &str) -> Vec<String> {
    let below = help.split("Commands:\n").nth(1).unwrap_or("");
    let lines = below.lines().take_while(|line| !line.is_empty());
    let words = lines.filter_map(|line| line.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_owned).collect()
}

fn options(help: &str) -> BTreeSet<String> {
    let words =
        help.lines().filter(|line| line.trim_start().starts_with('-')).flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

/// A page as `man` shows it to a reader, on lines that do not end.
fn read(page: &Path) -> String {
    let output = Command::new("man")
        .args(["--warnings", "--no-hyphenation", "--local-file"])
        .arg(page)
        .env("MANWIDTH", "1000")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("man runs");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_has_a_page_with_every_option() {
    let share = manual();
    let pages = share.path().join("man/man1");
    let mut wanted: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = wanted.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = help(&words);
        let page = read(&pages.join(format!("{}.1", [&["qalqan"], &words[..]].concat().join("-"))));
        for option in options(&help) {
            assert!(page.contains(&option), "{words:?}: {option} is not in\n{page}");
        }
        for sub in commands(&help) {
            assert!(page.contains(&sub), "{words:?}: {sub} is not in\n{page}");
            wanted.push(words.iter().map(|word| (*word).to_owned()).chain([sub]).collect());
        }
        seen += 1;
    }
    assert_eq!(fs::read_dir(pages).unwrap().count(), seen, "a page for each, and no other");
}

#[test]
fn the_configurations_page_says_the_whole_example() {
    let share = manual();
    let page = read(&share.path().join("man/man5/qalqan.toml.5"));
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = squeeze(&page);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/qalqan.toml");
    let example = fs::read_to_string(example).unwrap();
    for line in example.lines().map(squeeze).filter(|line| !line.is_empty()) {
        // A comment is prose there, or a key that is commented out.
        let prose = line.trim_start_matches("# ");
        assert!(page.contains(&line) || line != prose && page.contains(prose), "{line} is not in\n{page}");
    }
}

/// Runs a shell where the completions were written; gives what it prints.
fn shell(directory: &Path, shell: &[&str], script: &str) -> String {
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .arg(script)
        .current_dir(directory)
        .env("HOME", directory)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", shell[0]));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{shell:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn shells_complete_commands_and_options() {
    let share = manual();
    let bash = |words: &str, current: &str| {
        let script = format!(
            "source bash-completion/completions/qalqan; COMP_WORDS=({words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _qalqan qalqan '{current}' ''; echo \"${{COMPREPLY[@]}}\""
        );
        shell(share.path(), &["bash", "-c"], &script)
    };
    assert_eq!(bash("qalqan jour", "jour").trim(), "journal");
    assert_eq!(bash("qalqan journal query --li", "--li").trim(), "--limit");
    let fish = |line: &str| {
        let script = format!("source fish/vendor_completions.d/qalqan.fish; complete -C '{line}'");
        shell(share.path(), &["fish", "--no-config", "-c"], &script)
    };
    assert!(fish("qalqan jour").starts_with("journal\t"));
    assert!(fish("qalqan journal query --re").starts_with("--reveal\t"));
    // What --help does not show is not offered.
    assert_eq!((bash("qalqan man", "man").trim(), fish("qalqan man").trim()), ("", ""));
    let zsh = "fpath=(zsh/vendor-completions $fpath); autoload -U compinit; compinit -D -u; \
               autoload +X _qalqan && whence -w _qalqan && print $_comps[qalqan]";
    assert_eq!(shell(share.path(), &["zsh", "-fc"], zsh), "_qalqan: function\n_qalqan\n");
    let zsh = fs::read_to_string(share.path().join("zsh/vendor-completions/_qalqan")).unwrap();
    assert!(zsh.contains("journal") && zsh.contains("--reveal"));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let site = Site::new("");
    site.write("taken", "a file");
    let error = site.refused(&["manual", "taken"]);
    assert!(error.contains("taken/man"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

/// The next word to a supervisor.
fn word(supervisor: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let n = supervisor.recv(&mut buffer).expect("a word within the time");
    String::from_utf8(buffer[..n].to_vec()).unwrap()
}

#[test]
fn a_supervisor_hears_when_calls_are_answered_and_when_no_more() {
    let site = Site::new("");
    let path: PathBuf = site.path("notify");
    let abstract_name = format!("qalqan-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    for (supervisor, socket) in [
        (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
        (UnixDatagram::bind_addr(&address).unwrap(), format!("@{abstract_name}")),
    ] {
        supervisor.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut command = qalqan(site.directory.path());
        let node = rig::Node::start(command.arg("serve").env("NOTIFY_SOCKET", socket), site.port);
        assert_eq!(word(&supervisor), "READY=1");
        let switch = Switch::on(rig::NATIONAL, &node);
        let answer =
            switch.invite(&rig::Invite { from: "sip:+77011234500@home.example", ..Default::default() });
        assert_eq!(status(&answer), "302 Moved Temporarily");
        node.signal("-TERM");
        assert_eq!(word(&supervisor), "STOPPING=1");
    }
}

#[test]
fn a_supervisor_that_is_gone_stops_no_node() {
    let site = Site::new("");
    let mut command = qalqan(site.directory.path());
    let mut node = rig::Node::start(command.arg("serve").env("NOTIFY_SOCKET", "/no/such/socket"), site.port);
    let switch = Switch::on(rig::NATIONAL, &node);
    switch.invite(&rig::Invite::default());
    assert!(node.is_running());
}
