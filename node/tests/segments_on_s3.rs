//! Segments on an S3-compatible store: SeaweedFS, a real one, which `./test` installs from PyPI.

use crate::rig;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rig::{INTERNATIONAL, Invite, Node, Site, Switch, wait};

const WEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin/weed");

struct Store {
    child: Option<Child>,
    ports: Vec<u16>,
}

impl Store {
    fn new() -> Store {
        // SeaweedFS also listens 10,000 above each port, for gRPC.
        let is_free = |port: &u16| {
            let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
            free(*port) && free(*port + 10_000)
        };
        // Below the ports that the kernel gives to whoever connects, both ways.
        let start = 10_000 + (std::process::id() % 1000) as u16 * 10;
        Store { child: None, ports: (start..).filter(is_free).take(4).collect() }
    }

    fn start(&mut self, site: &Site) {
        let [master, volume, filer, s3] = [0, 1, 2, 3].map(|n| self.ports[n].to_string());
        let data = site.path("weed");
        fs::create_dir_all(&data).unwrap();
        site.write(
            "s3.json",
            r#"{"identities": [{"name": "qalqan", "credentials": [{"accessKey": "key", "secretKey": "secret"}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}"#,
        );
        let child = Command::new(WEED)
            .arg("server")
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-filer=true", "-volume.max=8"])
            .args(["-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0"])
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", site.path("s3.json").display()))
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-s3.port={s3}"))
            .current_dir(site.directory.path())
            .stdout(Stdio::null())
            .stderr(fs::File::create(site.path("weed.log")).unwrap())
            .spawn()
            .expect("target/tools: ./test makes it");
        self.child = Some(child);
        let port = self.ports[3];
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        // A large program, which takes its time on a busy machine.
        let started = std::time::Instant::now();
        while !listens() && started.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert!(listens(), "SeaweedFS does not listen: {}", site.read("weed.log"));
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn with<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.ports[3]))
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_REGION", "us-east-1")
    }

    fn run(&self, site: &Site, arguments: &[&str]) -> (bool, String) {
        let output = self.with(&mut rig::qalqan(site.directory.path())).args(arguments).output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("panicked"), "{text}");
        (output.status.success(), text)
    }

    fn serve(&self, site: &Site) -> Node {
        Node::start(self.with(rig::qalqan(site.directory.path()).arg("serve")), site.port)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

fn calls(node: &Node, names: &str, count: usize) {
    let abroad = Switch::on(INTERNATIONAL, node);
    for n in 0..count {
        abroad.invite(&Invite {
            from: "sip:+77272501234@x",
            call_id: &format!("{names}{n}"),
            ..Invite::default()
        });
    }
}

fn stop(mut node: Node) {
    node.signal("-TERM");
    wait(|| !node.is_running(), || "the node stops".to_owned());
}

#[test]
fn segments_are_carried_to_a_store_verified_and_read_there() {
    let url = "s3://calls/journal";
    let site = Site::new(&format!("[journal]\nsegment-mb = 1\nsegments = \"{url}\""));
    let mut store = Store::new();
    // While the store is down nothing is lost and no call waits.
    let node = store.serve(&site);
    node.wait_for("journal: sealing: s3://calls/journal");
    calls(&node, "a", 20);
    stop(node);
    assert_eq!(site.journal_len_without_store(), 20);
    store.start(&site);
    create_bucket(&store);
    let node = store.serve(&site);
    node.wait_for("segment 1 is carried to s3://calls/journal");
    calls(&node, "b", 30);
    stop(node);
    // The last one is carried by the next run, or was by this one.
    let node = store.serve(&site);
    node.wait_for(" ready: ");
    wait(|| local(&site, "parquet") == 0, || format!("segments are carried: {}", node.log()));
    assert_eq!(local(&site, "seal"), 1, "the last seal stays, for the next to follow");
    let query = |store: &Store, arguments: &[&str]| {
        let mut all = vec!["journal", "query", "--format", "jsonl"];
        all.extend(arguments);
        let (fine, text) = store.run(&site, &all);
        assert!(fine, "{text}");
        text.lines().filter(|line| line.starts_with('{')).count()
    };
    assert_eq!(query(&store, &[]), 50);
    assert_eq!(query(&store, &["--directory", url, "--keys", "keys", "--number", "+77272501234"]), 50);
    let verify = ["journal", "verify", url, "--public-key", "keys/first.pub.pem"];
    let (fine, text) = store.run(&site, &verify);
    assert!(fine && text.contains("records        50"), "{text}");
    // Without credentials, and over the network without encryption, there is a line that says so.
    let mut bare = rig::qalqan(site.directory.path());
    let output = bare.args(verify).env("AWS_ENDPOINT_URL", "http://store.example:8333").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not encrypted: use https"));
    // The store goes away in the middle: calls go on, segments stay here, and follow when it is back.
    store.stop();
    calls(&node, "c", 25);
    stop(node);
    let node = store.serve(&site);
    node.wait_for("journal: sealing: s3://calls/journal");
    calls(&node, "d", 5);
    assert!(local(&site, "parquet") >= 1);
    store.start(&site);
    node.wait_for("journal: sealing goes on");
    stop(node);
    let node = store.serve(&site);
    wait(|| local(&site, "parquet") == 0, || format!("segments are carried: {}", node.log()));
    assert_eq!(query(&store, &[]), 80);
    let (fine, text) = store.run(&site, &verify);
    assert!(fine && text.contains("records        80"), "{text}");
}

fn local(site: &Site, extension: &str) -> usize {
    let entries = fs::read_dir(site.path("journal/segments")).unwrap().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|own| own == extension)).count()
}

/// By the store's own shell.
fn create_bucket(store: &Store) {
    let master = format!("-master=127.0.0.1:{}", store.ports[0]);
    let filer = format!("-filer=127.0.0.1:{}", store.ports[2]);
    let made = || {
        let mut shell = Command::new(WEED)
            .args(["shell", &master, &filer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(
            &mut shell.stdin.take().unwrap(),
            b"s3.bucket.create -name calls\ns3.bucket.list\n",
        )
        .unwrap();
        String::from_utf8_lossy(&shell.wait_with_output().unwrap().stdout).contains("calls")
    };
    wait(made, || "a bucket".to_owned());
}

trait WithoutStore {
    fn journal_len_without_store(&self) -> usize;
}

impl WithoutStore for Site {
    fn journal_len_without_store(&self) -> usize {
        self.ok(&["journal", "query", "--format", "jsonl", "--directory", "journal"]).lines().count()
    }
}
