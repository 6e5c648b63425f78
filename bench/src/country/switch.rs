//! The operators' switches: Kamailio with the shipped example, into which the country's routes are put.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Fault;
use super::geography::{self, MEMBERS, OPERATORS, Operator, PHONES, Seat, Trunk, diverting};
use super::process::Process;

/// What a call may have been to a switch: the header that says what each switch on its way was told of it.
pub const JUDGED: &str = "Judged";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Puts `text` in place of a piece of the example that stands there once.
fn change(example: &mut String, piece: &str, text: &str) -> Result<()> {
    if example.matches(piece).count() != 1 {
        return Err(format!("examples/kamailio/kamailio.cfg no longer has {piece:?} once").into());
    }
    *example = example.replace(piece, text);
    Ok(())
}

/// The shipped example as an operator would adapt it.
pub fn script(operator: Operator, example: &str, fault: Option<Fault>) -> Result<String> {
    let mut text = example.to_owned();
    let name = operator.name();
    let mut listen = format!("listen=udp:{} name \"core\"\n", operator.core());
    for trunk in operator.trunks() {
        writeln!(listen, "listen=udp:{} name \"{}\"", operator.entry(trunk), trunk.name())?;
    }
    change(&mut text, "listen=LISTEN name \"core\"\n", &listen)?;
    change(&mut text, "listen=LISTEN_INTL name \"intl\"\n", "")?;
    change(&mut text, "listen=LISTEN_NATL name \"natl\"\n", "")?;
    change(
        &mut text,
        "\"gate=>size=3;autoexpire=5\")",
        "\"gate=>size=3;autoexpire=5\")\nmodparam(\"htable\", \"htable\", \"ported=>size=8\")\n\
         modparam(\"htable\", \"htable\", \"divert=>size=8\")",
    )?;

    // What each switch was told goes along, so that the end of the call sees it.
    change(
        &mut text,
        "onreply_route[FROM_QALQAN] {\n    remove_hf(\"Qalqan-Verdict\");",
        &format!(
            "onreply_route[FROM_QALQAN] {{\n    append_hf(\"{JUDGED}: {name};$hdr(Qalqan-Verdict)\\r\\n\");\n    \
             remove_hf(\"Qalqan-Verdict\");"
        ),
    )?;
    change(
        &mut text,
        "    if (!t_newtran()) exit;",
        "    if (!t_newtran()) exit;\n    $vn(verdict) = \"unjudged\";",
    )?;
    change(
        &mut text,
        "failure_route[ANSWERED] {",
        "failure_route[ANSWERED] {\n    $vn(verdict) = \"unjudged\";",
    )?;
    change(
        &mut text,
        "    $du = $def(NEXTHOP);",
        &format!("    append_hf(\"{JUDGED}: {name};$vn(verdict)\\r\\n\");\n    route(WHITHER);"),
    )?;
    let asked = match operator {
        Operator::Delta => "route(ONWARD);",
        // Its node is not told of the calls that its customers make.
        Fault::MEMBER if fault == Some(Fault::Forgetful) => {
            "if ($Rn == \"access\") route(ONWARD);\n    else route(ASK);"
        }
        _ => "route(ASK);",
    };
    change(&mut text, "    route(ASK);\n", &format!("    {asked}\n"))?;
    if operator == Operator::ASKS_ALL {
        // It leaves emergency calls to its node; the example lets them go on unasked.
        let unasked = "    cnt_inc(\"qalqan.emergency\");\n    route(ONWARD);\n";
        change(&mut text, unasked, "    route(ASK);\n")?;
    }
    text += &routes(operator)?;
    Ok(text)
}

/// Where calls go on to, by the number called.
fn routes(operator: Operator) -> Result<String> {
    let mut text = "\nevent_route[htable:mod-init] {\n".to_owned();
    for ported in geography::ported() {
        writeln!(text, "    $sht(ported=>{}) = \"{}\";", ported.number, ported.to.name())?;
    }
    if MEMBERS.contains(&operator) {
        for (number, to) in diverting(operator) {
            writeln!(text, "    $sht(divert=>{number}) = \"{to}\";")?;
        }
    }
    text += "}\n\nroute[WHITHER] {\n    $vn(holder) = $sht(ported=>$rU);\n    if ($vn(holder) == $null) {\n";
    for holder in OPERATORS {
        for range in holder.ranges() {
            writeln!(text, "        if ($rU =~ \"^\\+{range}\") $vn(holder) = \"{}\";", holder.name())?;
        }
    }
    text += "    }\n    switch ($vn(holder)) {\n";
    for other in OPERATORS.into_iter().filter(|&other| other != operator) {
        let entry = other.entry(Trunk::From(operator));
        writeln!(text, "        case \"{}\": $du = \"sip:{entry}\"; return;", other.name())?;
    }
    // An own subscriber diverts: the second leg is a call of this network, which asks about it as about any other.
    write!(
        text,
        "    }}\n    if ($sht(divert=>$rU) != $null) {{\n        \
         append_hf(\"Diversion: <sip:$rU@{0}.example>;reason=unconditional\\r\\n\");\n        \
         $rU = $sht(divert=>$rU);\n        $du = \"sip:{1}\";\n        return;\n    }}\n    $du = \"sip:{PHONES}\";\n}}\n",
        operator.name(),
        operator.entry(Trunk::Access)
    )?;
    Ok(text)
}

/// Starts an operator's switch and waits until it answers.
pub fn start(operator: Operator, root: &Path, directory: &Path, fault: Option<Fault>) -> Result<Process> {
    let example = fs::read_to_string(root.join("examples/kamailio/kamailio.cfg"))?;
    let path = directory.join("kamailio.cfg");
    fs::write(&path, script(operator, &example, fault)?)?;
    let run = directory.join("run");
    fs::create_dir_all(&run)?;
    let mut command = Command::new("kamailio");
    command.arg("-f").arg(path).args(["-DD", "-E", "-m", "64", "-M", "8", "-Y"]).arg(&run);
    command.args(["-A", "CHILDREN=1", "-A", &format!("QALQAN=sip:{}", Seat::of(operator).sip())]);
    // Longer than a node may take to ask others.
    command.args(["-A", "PATIENCE=2500"]);
    let name = format!("{}'s Kamailio", operator.name());
    let mut process = Process::start(name, &mut command, &directory.join("kamailio.log"))?;

    let socket = UdpSocket::bind((PHONES.ip().to_owned(), 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let own = socket.local_addr()?;
    let target = operator.core();
    let options = format!(
        "OPTIONS sip:probe@{target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bKprobe\r\nMax-Forwards: 70\r\n\
         From: <sip:probe@{own}>;tag=1\r\nTo: <sip:probe@{target}>\r\nCall-ID: probe\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    process.wait(|| {
        let _ = socket.send_to(options.as_bytes(), target);
        socket.recv(&mut [0; 2048]).is_ok()
    })?;
    Ok(process)
}
