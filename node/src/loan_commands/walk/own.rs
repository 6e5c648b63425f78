//! A throw-away node for `qalqan loan try --self`: SQLite, keys and a client in a directory that is gone afterwards.

use std::fs::{self, DirBuilder, File};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use journal::{SigningKey, hex};
use qalqan::clients::replace;
use qalqan::loans::{New, add_client, random};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub struct Own {
    directory: PathBuf,
    node: Option<Child>,
    pub url: String,
    pub client: &'static str,
    pub secret: String,
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Own {
    pub fn start() -> Result<Own> {
        let directory = std::env::temp_dir().join(format!("qalqan-try-{}", hex(&random::<8>())));
        DirBuilder::new().mode(0o700).create(&directory)?;
        let (port, sip) = (free_port()?, free_port()?);
        let mut own = Own {
            directory,
            node: None,
            url: format!("http://127.0.0.1:{port}"),
            client: "try",
            secret: String::new(),
        };
        let at = |name: &str| own.directory.join(name);
        fs::create_dir(own.spool())?;
        fs::write(
            at("qalqan.toml"),
            format!(
                "[sip]\nlisten = [\"127.0.0.1:{sip}\"]\nworkers = 1\n[http]\nlisten = [\"127.0.0.1:{port}\"]\nworkers = 1\n\
                 [loans]\nkeys = \"loans.keys\"\nsigning-key = \"loans.pem\"\nclients = \"clients.csv\"\n\
                 sms-spool = \"sms\"\n[trunk.none]\nclass = \"international\"\nsource = [\"127.0.0.11\"]\n"
            ),
        )?;
        replace(&at("loans.keys"), format!("{} {}\n", hex(&random::<4>()), hex(&random::<32>())).as_bytes())?;
        replace(&at("loans.pem"), SigningKey::new(random()).to_pem().as_bytes())?;
        let new = New { id: own.client, name: "Qalqan Try", class: "bank", scopes: "loans", webhook: "" };
        let (secret, _) = add_client(&at("clients.csv"), &new)?;
        let log = at("log");
        own.secret = secret;
        let node = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg("--config")
            .arg(own.directory.join("qalqan.toml"))
            .current_dir(&own.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        own.node = Some(node);
        let end = Instant::now() + Duration::from_secs(20);
        while !fs::read_to_string(&log)?.contains("ready") {
            let has_ended = own.node.as_mut().is_some_and(|node| !matches!(node.try_wait(), Ok(None)));
            if has_ended || Instant::now() > end {
                return Err(
                    format!("the throw-away node did not start: {}", fs::read_to_string(&log)?).into()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(own)
    }

    pub fn spool(&self) -> PathBuf {
        self.directory.join("sms")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(node) = &mut self.node {
            let _ = node.kill();
            let _ = node.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
