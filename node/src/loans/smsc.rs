//! Connects to the SMSC that is configured, and again when the connection goes; `smpp` sends over it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::counts::count;
use super::office::Office;
use super::smpp::{Link, PATIENCE, PAUSE};
use super::store::random;
use crate::config::Smpp;

/// Between tries to connect; each is half to one and a half of what its turn says.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Sends until the node stops.
pub async fn run(office: Rc<Office>, stop: Arc<AtomicBool>) {
    let is_stopping = || stop.load(Ordering::Relaxed);
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    while !is_stopping() {
        let Some(smpp) = configured(&office) else {
            sleep(PAUSE).await;
            continue;
        };
        let mut was_bound = false;
        let why = match connect(&smpp).await {
            Ok(stream) => {
                let mut link = Link::new(&office, smpp.clone(), &stop);
                let why = link.run(stream).await;
                was_bound = link.was_bound();
                link.close().await;
                why
            }
            Err(error) => error.to_string(),
        };
        office.counts.smpp.bound.store(0, Ordering::Relaxed);
        office.counts.smpp.window_used.store(0, Ordering::Relaxed);
        if is_stopping() {
            return;
        }
        if was_bound {
            (pause, said) = (FIRST_PAUSE, String::new());
        }
        // A new configuration is no fault, and waits for nothing.
        if configured(&office).as_ref() == Some(&smpp) {
            count(&office.counts.smpp.link_failures);
            if said != why {
                (office.log)(&format!("loans: SMPP {}: {why}; it is tried again", smpp.address));
                said = why;
            }
            let part = u32::from(random::<1>()[0]) + 128;
            let until = Instant::now() + pause * part / 256;
            while Instant::now() < until && !is_stopping() && configured(&office).as_ref() == Some(&smpp) {
                sleep(PAUSE.min(until - Instant::now())).await;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

pub(super) fn configured(office: &Office) -> Option<Arc<Smpp>> {
    office.setup.load().loans.as_ref().and_then(|loans| loans.smpp.clone())
}

async fn connect(smpp: &Smpp) -> io::Result<Box<dyn Stream>> {
    let connecting = async {
        let stream = TcpStream::connect(&smpp.address).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &smpp.tls {
            None => Box::new(stream),
            Some(tls) => {
                let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
                Box::new(connector.connect(tls.name.clone(), stream).await?)
            }
        };
        Ok(stream)
    };
    timeout(PATIENCE, connecting).await.unwrap_or_else(|_| Err(io::Error::other("no connection in time")))
}
