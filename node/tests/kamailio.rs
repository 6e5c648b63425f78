//! A real proxy asks a real node: Kamailio with the shipped example, SIPp as caller and as next hop.

use crate::rig;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rig::{ACCESS, INTERNATIONAL, NATIONAL, Running, Site, repository, scenario, start, wait};

const NEXT_HOP: u16 = 15_080;
const PROXY_PORT: u16 = 15_060;

struct Country<'s> {
    site: &'s Site,
    _proxy: Running,
    _next_hop: Running,
}

impl<'s> Country<'s> {
    fn new(site: &'s Site) -> Country<'s> {
        let directory = site.directory.path();
        let run = site.path("run");
        fs::create_dir(&run).unwrap();
        let mut next_hop = Command::new("sipp");
        next_hop.current_dir(directory).arg("-sf").arg(scenario("uas.xml")).args([
            "-i",
            "127.0.0.1",
            "-p",
            &NEXT_HOP.to_string(),
            "-nostdin",
            "-trace_logs",
            "-log_file",
            "uas.log",
        ]);
        let mut proxy = Command::new("kamailio");
        proxy
            .arg("-f")
            .arg(repository().join("examples/kamailio/kamailio.cfg"))
            .args(["-DD", "-E", "-m", "64", "-M", "8", "-Y"])
            .arg(&run);
        for (name, value) in [
            ("CHILDREN", "2".to_owned()),
            ("LISTEN", format!("udp:{ACCESS}:{PROXY_PORT}")),
            ("LISTEN_INTL", format!("udp:{INTERNATIONAL}:{PROXY_PORT}")),
            ("LISTEN_NATL", format!("udp:{NATIONAL}:{PROXY_PORT}")),
            ("QALQAN", format!("sip:127.0.0.1:{}", site.port)),
            ("NEXTHOP", format!("sip:127.0.0.1:{NEXT_HOP}")),
        ] {
            proxy.args(["-A", &format!("{name}={value}")]);
        }
        let country = Country { site, _next_hop: start(&mut next_hop), _proxy: start(&mut proxy) };
        wait(|| run.join("kamailio_ctl").exists(), || "Kamailio's control socket".to_owned());
        std::thread::sleep(Duration::from_millis(700));
        country
    }

    fn sipp(&self, trunk: &str, file: &str, calling: &str, more: &[&str]) -> Command {
        let mut sipp = Command::new("sipp");
        sipp.current_dir(self.site.directory.path())
            .arg(format!("{trunk}:{PROXY_PORT}"))
            .arg("-sf")
            .arg(scenario(file))
            .args([
                "-i",
                "127.0.0.31",
                "-p",
                "0",
                "-d",
                "50",
                "-s",
                "87011112233",
                "-nostdin",
                "-timeout",
                "20",
            ])
            .args(["-key", "calling", calling, "-key", "more", ""])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        sipp
    }

    #[track_caller]
    fn connects(&self, trunk: &str, calling: &str) -> String {
        let before = self.log().lines().count();
        let status = self.sipp(trunk, "uac_connects.xml", calling, &["-m", "1"]).status().unwrap();
        assert!(status.success(), "{calling} by {trunk} must connect: {status}");
        let log = self.log();
        log.lines()
            .skip(before)
            .find(|line| line.starts_with("INVITE"))
            .expect("an INVITE at the next hop")
            .to_owned()
    }

    #[track_caller]
    fn is_refused(&self, trunk: &str, calling: &str) {
        let status = self.sipp(trunk, "uac_refused.xml", calling, &["-m", "1"]).status().unwrap();
        assert!(status.success(), "{calling} by {trunk} must be refused: {status}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.site.path("uas.log")).unwrap_or_default()
    }

    /// One of the example's counters.
    fn counter(&self, name: &str) -> u64 {
        let socket = format!("unix:{}", self.site.path("run/kamailio_ctl").display());
        let output =
            Command::new("kamcmd").args(["-s", &socket, "cnt.get", "qalqan", name]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse()
            .unwrap_or_else(|_| panic!("counter {name}: {text} {}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[test]
fn a_proxy_asks_for_each_call_and_goes_on_alone_when_nobody_answers() {
    let _alone = rig::alone();
    let site = Site::new("");
    let node = site.serve();
    let country = Country::new(&site);

    // Allowed: unchanged.
    let allowed = country.connects(ACCESS, "+77272501234");
    assert!(
        allowed.contains("+77272501234") && !allowed.contains("anonymous") && !allowed.contains("verstat"),
        "{allowed}"
    );
    // Marked.
    let marked = country.connects(INTERNATIONAL, "+14155550123");
    assert!(marked.contains("sip:+14155550123;verstat=No-TN-Validation@"), "{marked}");
    assert!(marked.contains("Qalqan-Verdict: mark;label=international;rule=R19"), "{marked}");
    // Withheld.
    let withheld = country.connects(INTERNATIONAL, "+77011234567");
    assert!(
        !withheld.contains("77011234567") && withheld.contains("anonymous@anonymous.invalid"),
        "{withheld}"
    );
    assert!(withheld.contains("Privacy: id"), "{withheld}");
    // Blocked by the trunk's class, and the same number from home allowed.
    country.is_refused(INTERNATIONAL, "+77272501234");
    country.connects(NATIONAL, "+77272501234");
    // A suspected foreign number on a national trunk.
    let suspected = country.connects(NATIONAL, "+14155550123");
    assert!(suspected.contains("Qalqan-Verdict: mark;label=suspected;rule=R13"), "{suspected}");
    assert_eq!(site.journal_len(), 6, "one verdict a call, no question asked twice");

    // Killed in the middle of traffic: every honest call still connects, and it is counted.
    let mut traffic =
        country.sipp(ACCESS, "uac_connects.xml", "+77272501234", &["-r", "40", "-m", "280", "-l", "200"]);
    let mut traffic = traffic.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    node.kill();
    std::thread::sleep(Duration::from_secs(2));
    let node = site.serve();
    let status = traffic.wait().unwrap();
    assert!(status.success(), "a call was lost while Qalqan was away: {status}");
    let silent = country.counter("silent");
    let unjudged = silent + country.counter("unasked") + country.counter("odd") + country.counter("unsent");
    assert!(silent > 0 && unjudged > 20, "{unjudged} calls went on unjudged, {silent} of them after waiting");

    // And back: asked again once the pause is over.
    wait(
        || {
            let sipp = &mut country.sipp(INTERNATIONAL, "uac_refused.xml", "+77272501234", &["-m", "1"]);
            sipp.status().unwrap().success()
        },
        || "a spoofed call to be refused again".to_owned(),
    );
    drop(node);
}
