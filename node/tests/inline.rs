//! Qalqan in the way of real calls: SIPp calls through Kamailio, Qalqan as proxy and another Kamailio to SIPp, and
//! to baresip, a telephone that shows what the subscriber sees.

use crate::rig;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rig::{INTERNATIONAL, Running, Site, repository, scenario, start, wait};

/// Where who stands: each on an address of its own.
const FAR_SWITCH: &str = "127.0.0.61";
const FAR_END: &str = "127.0.0.62";
const CALLER: &str = "127.0.0.63";
const PORT: u16 = 25_160;

struct Inline<'s> {
    site: &'s Site,
    _switches: [Running; 2],
}

impl<'s> Inline<'s> {
    /// A switch on the trunk before Qalqan, and one behind it that calls `far_end`.
    fn new(site: &'s Site) -> Inline<'s> {
        let switch = |name: &str, listen: &str, next: String, bypass: String| {
            let run = site.path(name);
            fs::create_dir(&run).unwrap();
            let mut kamailio = Command::new("kamailio");
            kamailio
                .arg("-f")
                .arg(repository().join("node/tests/kamailio/relay.cfg"))
                .args(["-DD", "-E", "-m", "64", "-M", "8", "-Y"])
                .arg(&run)
                .args(["-A", &format!("LISTEN=udp:{listen}:{PORT}")])
                .args(["-A", &format!("NEXTHOP=\"sip:{next}\""), "-A", &format!("BYPASS=\"sip:{bypass}\"")]);
            let running = start(&mut kamailio);
            wait(|| run.join("kamailio_ctl").exists(), || format!("{name}: Kamailio's control socket"));
            running
        };
        let far = format!("{FAR_END}:{PORT}");
        let switches = [
            switch("near", INTERNATIONAL, format!("127.0.0.1:{}", site.port), format!("{FAR_SWITCH}:{PORT}")),
            switch("far", FAR_SWITCH, far.clone(), far),
        ];
        std::thread::sleep(Duration::from_millis(700));
        Inline { site, _switches: switches }
    }

    fn sipp(&self, file: &str, calling: &str, more: &[&str]) -> Command {
        let mut sipp = Command::new("sipp");
        sipp.current_dir(self.site.directory.path())
            .arg(format!("{INTERNATIONAL}:{PORT}"))
            .arg("-sf")
            .arg(scenario(file))
            .args(["-i", CALLER, "-p", "0", "-d", "50", "-s", "+77011234567", "-nostdin", "-timeout", "20"])
            .args(["-key", "calling", calling, "-key", "more", ""])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        sipp
    }

    #[track_caller]
    fn succeeds(&self, file: &str, calling: &str) {
        let status = self.sipp(file, calling, &["-m", "1"]).status().unwrap();
        assert!(status.success(), "{calling} with {file}: {status}");
    }
}

fn site() -> Site {
    let site = Site::new("");
    let head = format!(
        "mode = \"proxy\"\nonward = \"{FAR_SWITCH}:{PORT}\"\n[sip.proxy]\nrecord-route = true\n[trunk.international]"
    );
    let text = site.read("qalqan.toml").replacen("[trunk.international]", &head, 1);
    site.write("qalqan.toml", format!("language = \"kk\"\n{text}"));
    site
}

/// One test, for both ends stand on the same addresses.
#[test]
fn real_calls_pass_through_and_the_telephone_shows_what_was_decided() {
    let _alone = rig::alone();
    let site = site();
    let node = site.serve();
    let inline = Inline::new(&site);
    let mut far_end = Command::new("sipp");
    far_end.current_dir(site.directory.path()).arg("-sf").arg(scenario("uas.xml")).args([
        "-i",
        FAR_END,
        "-p",
        &PORT.to_string(),
        "-nostdin",
        "-trace_logs",
        "-log_file",
        "uas.log",
    ]);
    let far_end = start(&mut far_end);
    std::thread::sleep(Duration::from_millis(300));
    // Set up, talk, hang up: marked, withheld; refused.
    inline.succeeds("uac_connects.xml", "+14155550123");
    inline.succeeds("uac_connects.xml", "+77017654321");
    inline.succeeds("uac_refused_through.xml", "+77272501234");
    let told = site.read("uas.log");
    assert!(
        told.contains("BYE | From: ") && !told.contains("77017654321"),
        "a withheld number was told: {told}"
    );
    // Not in the way of the dialog any longer, so that a node that dies takes no call with it that is set up.
    drop(node);
    site.write(
        "qalqan.toml",
        site.read("qalqan.toml").replace("record-route = true", "record-route = false"),
    );
    let node = site.serve();
    // Traffic, and a node that dies in the middle of it: the switch before it goes by, and what was on its way
    // comes through once it is started again, for it keeps nothing of a call.
    let traffic =
        inline.sipp("uac_connects.xml", "+14155550123", &["-r", "30", "-m", "150", "-l", "100"]).spawn();
    let mut traffic = traffic.unwrap();
    std::thread::sleep(Duration::from_secs(2));
    node.kill();
    std::thread::sleep(Duration::from_millis(1500));
    let node = site.serve();
    let status = traffic.wait().unwrap();
    assert!(status.success(), "calls were lost with the node: {status}");
    drop(far_end);
    let log = site.read("uas.log");
    let calls: Vec<&str> = log.lines().filter(|line| line.starts_with("INVITE")).collect();
    assert!(calls[0].contains("From: \"Халықаралық қоңырау\" <sip:+14155550123@"), "{}", calls[0]);
    assert!(calls[0].contains("sip:+14155550123;verstat=No-TN-Validation@"), "{}", calls[0]);
    assert!(
        calls[1].contains("anonymous@anonymous.invalid") && calls[1].contains("Privacy: id"),
        "{}",
        calls[1]
    );
    let (judged, passed_by): (Vec<&str>, Vec<&str>) =
        calls[2..].iter().partition(|call| call.contains("Qalqan-Verdict: mark"));
    assert!(
        judged.len() > 20 && passed_by.len() > 20,
        "{} judged, {} passed by",
        judged.len(),
        passed_by.len()
    );

    // The telephone.
    site.write(
        "phone/config",
        format!(
            "sip_listen {FAR_END}:{PORT}\naudio_player aufile,/dev/null\naudio_source aufile,/dev/null\n\
             module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule_app account.so\nmodule_app menu.so\n"
        ),
    );
    site.write("phone/accounts", format!("<sip:+77011234567@{FAR_END}:{PORT}>;regint=0;answermode=manual\n"));
    let screen = site.path("phone/screen");
    let mut phone = Command::new("baresip");
    phone.arg("-4").arg("-f").arg(site.path("phone")).stdin(Stdio::null());
    phone.stdout(fs::File::create(&screen).unwrap()).stderr(Stdio::null());
    let _phone = Running(phone.spawn().expect("baresip starts"));
    let shown = || fs::read_to_string(&screen).unwrap_or_default();
    wait(|| shown().contains("baresip is ready"), shown);
    for calling in ["+14155550123", "+77017654321"] {
        inline.succeeds("uac_cancels.xml", calling);
    }
    wait(|| shown().matches("Incoming call from").count() == 2, shown);
    assert!(shown().contains("Incoming call from: Халықаралық қоңырау sip:+14155550123@"), "{}", shown());
    assert!(shown().contains("Incoming call from: Anonymous sip:anonymous@anonymous.invalid"), "{}", shown());
    assert!(!shown().contains("77017654321"), "{}", shown());
    drop(node);
}
